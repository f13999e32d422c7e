#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real libvirt drives hanok: defines a domain, and does with it what virsh can.

    tools/libvirt/check.py [--emulator PATH] [--type qemu|kvm] [--suite SUITE] [--only NAME,...] BUILDDIR

Starts its own virtlogd and libvirtd, and stops them again: in mount and process namespaces of their
own, over empty folders where the system's libvirt has its files (made where there are none), so that
nothing of this machine is seen or changed, and nothing is left running however this ends. Needs root. --emulator checks the
test itself, with QEMU; --suite takes the libvirt of another Debian release (suite.sh makes a root for
it). The last line is "N passed, N failed".
"""
import argparse
import contextlib
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import xml.etree.ElementTree as ET

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.dirname(HERE))
from daemon import Daemons  # noqa: E402
from domain import Console, Failure, domain_xml, expect, until  # noqa: E402

NAME = "hanok-t1"
MIB = 1 << 20
BODY = b"hanok" * 20000


def serve():
    """An HTTP server on the loopback, for the guest's network to reach; returns its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Check:
    """The steps in order, one method each; a later one uses the domain as an earlier one left it."""

    def __init__(self, args, work, daemons):
        self.args, self.work, self.daemons = args, work, daemons
        self.emulator = os.path.abspath(args.emulator or f"{args.build}/qemu-system-x86_64")
        self.port = serve()
        self.console = None
        self.saved_uptime = None
        self.events_seen = 0
        self.disk = os.path.join(work, "disk.img")
        with open(self.disk, "wb") as disk:
            disk.truncate(64 * MIB)

    # helpers

    def virsh(self, *words, ok=True):
        return self.daemons.virsh(*words, ok=ok)

    def qmp(self, command, **arguments):
        request = {"execute": command}
        if arguments:
            request["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()}
        reply = json.loads(self.virsh("qemu-monitor-command", NAME, json.dumps(request)))
        expect("return" in reply, f"{command}: {reply}")
        return reply["return"]

    def stats(self, text):
        """The "key=value" or "key value" lines of virsh's statistics."""
        return dict(re.findall(r"^\s*(?:vda )?([\w.]+)[= ](\S+)$", text, re.M))

    def state(self):
        return self.virsh("domstate", NAME).strip()

    def guest(self, command, **options):
        return self.console.command(command, **options)

    def booted(self):
        """Waits for the shell of a guest that just started."""
        self.console.attach()
        self.console.wait_shell()

    def uptime(self):
        return float(self.guest("cut -d' ' -f1 /proc/uptime"))

    def events(self, pattern):
        """Waits until virsh event has told of what pattern says, in this step."""
        until(lambda: re.search(pattern, self.daemons.events()[self.events_seen:], re.S), f"no event '{pattern}'", 60)

    # steps

    def capabilities(self):
        root = ET.fromstring(self.virsh("capabilities"))
        emulators = [e.text for e in root.iter("emulator")]
        expect(self.daemons.found_emulator in emulators, f"not among the emulators {emulators}")
        types = {d.get("type") for d in root.iter("domain")}
        expect(self.args.type in types, f"domain type {self.args.type} is not among {types}")
        machines = {m.text for m in root.iter("machine")}
        expect("q35" in machines, f"q35 is not among the machines {machines}")

    def domcapabilities(self):
        root = ET.fromstring(self.virsh("domcapabilities", "--emulatorbin", self.emulator, "--machine", "q35",
                                        "--virttype", self.args.type))
        modes = {m.get("name") for m in root.iter("mode") if m.get("supported") == "yes"}
        expect("maximum" in modes, f"CPU modes {modes}")
        disk = [v.text for v in root.findall("./devices/disk/enum[@name='bus']/value")]
        expect("virtio" in disk, f"disk buses {disk}")
        rng = [v.text for v in root.findall("./devices/rng/enum[@name='backendModel']/value")]
        expect("random" in rng, f"rng back ends {rng}")
        vcpus = int(root.find("vcpu").get("max"))
        expect(vcpus >= 4, f"at most {vcpus} vCPUs")

    def define(self):
        path = os.path.join(self.work, "domain.xml")
        with open(path, "w") as file:
            file.write(domain_xml(NAME, self.args.type, self.emulator, self.args.guest, self.disk, self.work, self.port))
        self.virsh("define", path)
        root = ET.fromstring(self.virsh("dumpxml", NAME))
        machine = root.find("./os/type").get("machine")
        expect(machine.startswith("pc-q35-"), f"libvirt did not make the machine's name canonical: {machine}")
        expect(self.state() == "shut off", self.state())

    def start(self):
        self.virsh("start", NAME)
        expect(self.state() == "running", self.state())
        self.booted()
        expect(self.guest("grep -c ^processor /proc/cpuinfo") == "2", "the guest does not have 2 CPUs")
        self.events("Resumed Unpaused.*Started Booted")

    def console_log(self):
        with open(os.path.join(self.work, "serial.log"), errors="replace") as log:
            expect("guest: serving" in log.read(), "the serial port's log file does not have the guest's words")

    def devices(self):
        uuid = ET.fromstring(self.virsh("dumpxml", NAME)).find("uuid").text
        expect(self.guest("cat /sys/class/dmi/id/product_uuid").lower() == uuid, "another UUID in SMBIOS")
        ports = self.guest("for d in /sys/bus/pci/devices/*; do cat $d/class; done | grep -c 0x060400")
        expect(int(ports) >= 5, f"{ports} PCI bridges in the guest")
        expect("virtio_rng" in self.guest("cat /sys/class/misc/hw_random/rng_current"), "virtio-rng is not used")
        expect(int(self.guest("dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c")) > 0, "no random bytes")

    def network(self):
        text = self.guest("check_net", seconds=60)
        expect(f"fetched {len(BODY)} bytes" in text, f"the guest's network: {text}")
        expect("52:54:00:12:34:56" in text, "another hardware address")

    def block(self):
        before = self.stats(self.virsh("domblkstat", NAME, "vda"))
        text = self.guest("check_disk", seconds=60)
        expect("read back and equal" in text, text)
        after = self.stats(self.virsh("domblkstat", NAME, "vda"))
        for key in ("wr_bytes", "rd_bytes"):
            grown = int(after[key]) - int(before[key])
            expect(MIB <= grown < 16 * MIB, f"1 MiB moved, and {key} grew by {grown}")
        expect(int(after["wr_req"]) > int(before["wr_req"]), "no write requests counted")
        expect(int(after["flush_operations"]) > int(before["flush_operations"]), "no flush counted")
        expect(int(after["wr_total_times"]) > int(before["wr_total_times"]), "no time in writes counted")
        info = self.virsh("domblkinfo", NAME, "vda")
        expect(re.search(rf"Capacity:\s+{64 * MIB}$", info, re.M), info)

    def channel(self):
        path = None
        for source in ET.fromstring(self.virsh("dumpxml", NAME)).iter("channel"):
            path = source.find("source").get("path")
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as end:
            end.settimeout(60)
            end.connect(path)
            port = self.guest("basename $(dirname $(grep -l org.hanok.test /sys/class/virtio-ports/*/name))")
            self.guest(f"(read line </dev/{port}; echo got $line >/dev/{port}) & sleep 0")
            end.sendall(b"over the channel\n")
            text = b""
            while b"\n" not in text:
                text += end.recv(100)
            expect(text == b"got over the channel\n", f"channel: {text}")

    def suspend(self):
        self.virsh("suspend", NAME)
        expect(self.state() == "paused", self.state())
        expect(self.qmp("query-status")["status"] == "paused", "the monitor says otherwise")
        self.events("lifecycle.*Suspended Paused")
        expect(not self.console.answers(2), "a suspended guest answers")

    def resume(self):
        self.virsh("resume", NAME)
        expect(self.state() == "running", self.state())
        self.events("lifecycle.*Resumed Unpaused")
        self.console.wait_shell()

    def vcpus(self):
        cpus = self.qmp("query-cpus-fast")
        tids = [c["thread-id"] for c in cpus]
        pid = self.daemons.pid_of(NAME)
        expect(len(set(tids)) == 2 and pid not in tids, f"thread ids {tids} of process {pid}")
        info = self.virsh("vcpuinfo", NAME)
        expect(info.count("State:          running") == 2, info)
        times = [float(t) for t in re.findall(r"CPU time:\s+([\d.]+)s", info)]
        expect(len(times) == 2 and times[0] > 0, f"CPU times {times}")
        last = (os.cpu_count() or 1) - 1
        self.virsh("vcpupin", NAME, "1", str(last))
        self.virsh("emulatorpin", NAME, "0")
        iothread, = self.qmp("query-iothreads")
        self.virsh("iothreadpin", NAME, "1", str(last))

        def allowed(tid):
            with open(f"/proc/{pid}/task/{tid}/status") as status:
                return re.search(r"^Cpus_allowed_list:\s*(\S+)$", status.read(), re.M).group(1)

        expect(allowed(tids[1]) == str(last), f"vCPU 1 may run on {allowed(tids[1])}")
        expect(allowed(iothread["thread-id"]) == str(last), f"the I/O thread may run on {allowed(iothread['thread-id'])}")
        expect(allowed(pid) == "0", f"the emulator may run on {allowed(pid)}")
        expect(self.guest("echo $((6 * 7))") == "42", "the guest does not answer after pinning")

    def dominfo(self):
        info = self.virsh("dominfo", NAME)
        expect(re.search(r"^CPU\(s\):\s+2$", info, re.M), info)
        expect(re.search(r"^Max memory:\s+524288 KiB$", info, re.M), info)
        stats = self.stats(self.virsh("domstats", NAME))
        for key, value in {"state.state": 1, "balloon.current": 524288, "vcpu.current": 2, "block.count": 1,
                           "vcpu.0.state": 1, "block.0.capacity": 64 * MIB}.items():
            expect(stats.get(key) == str(value), f"domstats: {key} is {stats.get(key)}, wanted {value}")
        for key in ("cpu.time", "vcpu.0.time", "block.0.rd.reqs", "block.0.wr.bytes", "block.0.fl.reqs"):
            expect(int(stats.get(key, 0)) > 0, f"domstats: {key} is {stats.get(key)}")

    def dommemstat(self):
        def fresh():
            stats = self.stats(self.virsh("dommemstat", NAME))
            return stats if "available" in stats and int(stats["last_update"]) > 0 else None

        stats = until(fresh, "the balloon tells no statistics", 60)
        expect(stats["actual"] == "524288", stats)
        total = int(self.guest("sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"))
        expect(abs(int(stats["available"]) - total) < 4096, f"{stats['available']} KiB, and the guest has {total}")
        expect(0 < int(stats["unused"]) < total, stats)

    def setmem(self):
        total = "sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"
        before = int(self.guest(total))
        for size in (400, 512):
            self.virsh("setmem", NAME, f"{size}M", "--live")
            want = before - (512 - size) * 1024
            until(lambda w=want: abs(int(self.guest(total)) - w) < 2048, f"the guest's memory does not come to {want}", 60)
            until(lambda s=size: self.stats(self.virsh("dommemstat", NAME))["actual"] == str(s * 1024),
                  f"libvirt does not see {size} MiB", 20)

    def monitor(self):
        expect(self.qmp("query-status") == {"status": "running", "singlestep": False, "running": True} or
               self.qmp("query-status")["running"] is True, "query-status")
        expect("VM status: running" in self.virsh("qemu-monitor-command", NAME, "--hmp", "info status"), "info status")
        expect("virtio-disk0" in self.virsh("qemu-monitor-command", NAME, "--hmp", "info block"), "info block")
        bad = json.loads(self.virsh("qemu-monitor-command", NAME, '{"execute":"no-such-command"}'))
        expect(bad["error"]["class"] == "CommandNotFound", bad)

    def inject_nmi(self):
        self.virsh("inject-nmi", NAME)
        until(lambda: int(self.guest("dmesg | grep -c 'NMI received'")) > 0, "the guest sees no NMI", 30)

    def reconnect(self):
        """A new libvirtd finds the domain that the old one left running."""
        self.daemons.restart_libvirtd()
        expect(self.state() == "running", self.state())
        expect(len(self.qmp("query-cpus-fast")) == 2, "the monitor does not answer the new libvirtd")
        self.console.attach()
        self.console.wait_shell()

    def reset(self):
        before = self.uptime()
        self.virsh("reset", NAME)
        self.console.wait_shell(fresh=True)
        expect(self.uptime() < before, "the guest's clock went on over a reset")
        expect(self.state() == "running", self.state())
        self.events("event 'reboot' for domain")

    def guest_reboot(self):
        self.guest("touch /tmp/old; (sleep 1; reboot -f) &")
        self.console.wait_shell(fresh=True)
        expect(self.guest("ls /tmp/old 2>/dev/null | wc -l") == "0", "the guest did not reboot")
        expect(self.state() == "running", self.state())

    def reboot(self):
        self.guest("touch /tmp/old")
        self.virsh("reboot", NAME, "--mode", "acpi")
        self.console.wait_text("guest: power button", 60)
        self.console.wait_shell(fresh=True)
        expect(self.guest("ls /tmp/old 2>/dev/null | wc -l") == "0", "the guest did not reboot")
        expect(self.state() == "running", self.state())

    def managedsave(self):
        self.guest("token=kept-$((40 + 2)); head -c 20000000 /dev/urandom >/tmp/data")
        self.sum = self.guest("md5sum </tmp/data", seconds=60)
        self.saved_uptime = self.uptime()
        self.virsh("managedsave", NAME)
        expect(self.state() == "shut off", self.state())
        expect("yes" in re.search(r"^Managed save:.*$", self.virsh("dominfo", NAME), re.M).group(0), "no saved image")
        self.events("Suspended Paused.*Stopped Saved")

    def restore(self):
        self.virsh("start", NAME)
        expect(self.state() == "running", self.state())
        self.events("Started Restored.*Resumed")
        self.console.attach()
        self.console.wait_shell()
        expect(self.guest("echo $token") == "kept-42", "the shell's variable is gone: the guest booted anew")
        expect(self.guest("md5sum </tmp/data", seconds=60) == self.sum, "the guest's memory is another")
        expect(self.uptime() >= self.saved_uptime, "the guest's clock went back")
        expect("read back and equal" in self.guest("check_disk", seconds=60), "the disk after the restore")
        expect(f"fetched {len(BODY)} bytes" in self.guest("check_net", seconds=60), "the network after the restore")
        expect(int(self.guest("dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c")) > 0, "no random bytes")

    def shutdown(self):
        self.virsh("shutdown", NAME, "--mode", "acpi")
        self.console.wait_text("guest: power button", 60)
        until(lambda: self.state() == "shut off", "still there after a power-off", 60)
        self.events("Shutdown Finished after guest request.*Stopped Shutdown")

    def paused_destroy(self):
        self.virsh("start", NAME, "--paused")
        expect(self.state() == "paused", self.state())
        pid = self.daemons.pid_of(NAME)
        self.virsh("destroy", NAME)
        expect(self.state() == "shut off", self.state())
        expect(not os.path.exists(f"/proc/{pid}"), "the emulator lives on")
        self.events("lifecycle.*Stopped Destroyed")

    def refused(self):
        """What the emulator has against a configuration reaches virsh's user."""
        root = ET.fromstring(self.virsh("dumpxml", NAME))
        root.find("./os/kernel").text = "/nonexistent/vmlinuz"
        root.find("name").text = "hanok-t2"
        root.remove(root.find("uuid"))
        path = os.path.join(self.work, "refused.xml")
        ET.ElementTree(root).write(path)
        # libvirt reads the log as soon as the monitor closes, at times before virtlogd has written it.
        for _ in range(4):
            text = self.virsh("create", path, ok=False)
            if "/nonexistent/vmlinuz" in text:
                return
        raise Failure(text)

    def undefine(self):
        self.virsh("undefine", NAME)
        expect(NAME not in self.virsh("list", "--all"), "still in the list")

    STEPS = [capabilities, domcapabilities, define, start, console_log, devices, network, block, channel, suspend,
             resume, vcpus, dominfo, dommemstat, setmem, monitor, inject_nmi, reconnect, reset,
             guest_reboot, reboot, managedsave, restore, shutdown, paused_destroy, refused, undefine]

    def run(self):
        passed, failed = 0, 0
        only = set(self.args.only.split(",")) if self.args.only else None
        for step in self.STEPS:
            name = step.__name__.replace("_", "-")
            if only is not None and name not in only:
                continue
            begin = time.monotonic()
            self.events_seen = len(self.daemons.events())
            try:
                step(self)
                passed += 1
                print(f"ok   {name} ({time.monotonic() - begin:.1f} s)", flush=True)
            except (Failure, KeyError, ValueError, AttributeError, OSError, subprocess.SubprocessError) as error:
                failed += 1
                print(f"FAIL {name}: {type(error).__name__} {error}", flush=True)
                if name in ("capabilities", "define", "start") or (name == "restore" and not self.state() == "running"):
                    break
        if self.console:
            self.console.detach()
        return passed, failed


def inside(args):
    """The test itself, in the namespaces."""
    with tempfile.TemporaryDirectory(prefix="hanok-libvirt.") as work:
        os.chmod(work, 0o755)
        args.guest = os.path.join(work, "guest")
        os.mkdir(args.guest)
        for name in ("vmlinuz", "initrd.cpio"):
            shutil.copy(os.path.join(args.build, "guest", "native", name), args.guest)
        daemons = Daemons(work, os.path.abspath(args.emulator or f"{args.build}/qemu-system-x86_64"),
                          args.type == "kvm")
        passed, failed = 0, 1
        try:
            daemons.start()
            print(re.search(r"libvirt [\d.]+", daemons.virsh("version")).group(0), flush=True)
            check = Check(args, work, daemons)
            check.console = Console(daemons, NAME)
            passed, failed = check.run()
        except Failure as error:
            print(f"FAIL {error}")
        finally:
            daemons.stop()
            if failed:
                daemons.show_logs(check.console if "check" in locals() else None)
            if args.keep:
                shutil.copytree(work, args.keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*sock*", "run"))
        print(f"{passed} passed, {failed} failed")
        return 1 if failed or not passed else 0


def enter_suite(args):
    """Makes the other release's root this namespace's, and begins again there."""
    root = os.path.abspath(f"{args.build}/libvirt-{args.suite}")

    def mount(*words):
        subprocess.run(["mount", *words], check=True)

    mount("--bind", root, root)
    mount("-t", "proc", "proc", f"{root}/proc")
    for path in ("/dev", "/sys", os.path.dirname(os.path.dirname(HERE)), os.path.abspath(args.build)):
        os.makedirs(root + path, exist_ok=True)
        mount("--rbind", path, root + path)
    os.makedirs(f"{root}/.old", exist_ok=True)
    os.chdir(root)
    subprocess.run(["pivot_root", ".", ".old"], check=True)
    os.chdir("/")
    subprocess.run(["umount", "-l", "/.old"], check=True)
    words = [w for w in sys.argv[1:] if w not in ("--suite", args.suite)]
    os.execv("/usr/bin/python3", ["python3", os.path.abspath(__file__), *words])


def init(args):
    """Process 1 of the namespace: runs the test and reaps what it leaves behind, then all ends."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = inside(args)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xff)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--emulator", help="another emulator than BUILDDIR/qemu-system-x86_64")
    parser.add_argument("--type", default="qemu", choices=["qemu", "kvm"], help="the domain's type")
    parser.add_argument("--suite", help="the Debian release whose libvirt it is, this one's by default")
    parser.add_argument("--only", help="these steps alone, with commas between")
    parser.add_argument("--keep", help="a folder for a copy of all logs")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        return enter_suite(args) if args.suite else init(args)
    if os.geteuid() != 0:
        print("check.py: libvirtd and its namespaces need root", file=sys.stderr)
        return 1
    from check import fetch_guests
    fetch_guests(args.build, ["native"])
    if args.suite:
        subprocess.run([os.path.join(os.path.dirname(HERE), "need.sh"), "fresh"], check=True)
        subprocess.run([os.path.join(HERE, "suite.sh"), args.suite, f"{args.build}/libvirt-{args.suite}"], check=True)
        sys.argv[sys.argv.index(args.build)] = os.path.abspath(args.build)
    return subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation",
                           "private", sys.executable, os.path.abspath(__file__), "--inside", *sys.argv[1:]],
                          stdin=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots a Debian kernel in hanok and checks what the guest and the host see of it.

    tests/guest/boot.py HANOK SUITE CPUS [WHAT [OPTION...]]

WHAT: check (disk, network, power-off; the default), reboot, panic (ends with --no-reboot), qemu
(check through QEMU's command line; OPTIONs are added to it, disk=KEYVALS to its -drive,
blk=KEYVALS to a virtio-blk-pci device of its own), lockstep (the same, with the engine's translator
compared with its interpreter), button (the power button, by the monitor),
watchdog (an i6300esb that the guest does not feed), pvpanic (the panic is told; OPTION: the device).
A first OPTION machine=NAME[,KEYVALS] says on which board; q35 without.
Exit code 77 (skipped) when the kernel was not fetched (tools/check.py does that).
"""
import hashlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from web import serve  # noqa: E402

SKIP = 77
TIMEOUT = int(os.environ.get("HANOK_BOOT_TIMEOUT", "400"))
MIB = 1 << 20


class Boot:
    def __init__(self, hanok, guest, cpus, what, work, options):
        self.hanok, self.guest, self.cpus, self.what, self.work = hanok, guest, cpus, what, work
        machine = [o[8:] for o in options if o.startswith("machine=")]
        self.machine = machine[-1] if machine else "q35"
        self.options = [o for o in options if not o.startswith("machine=")]
        self.body = os.urandom(300000)
        self.server = serve(self.body)
        self.disk = os.path.join(work, "disk.img")
        with open(self.disk, "wb") as disk:
            disk.truncate(64 * MIB)

    def append(self, do):
        """Kernel arguments; the user network's gateway is this host, where our server listens."""
        fetch = f"hanok.fetch=10.0.2.2:{self.server.server_address[1]}/"
        return f"quiet panic=-1 hanok.do={do} {fetch}"

    def qemu_disk(self):
        """-drive and -device of the one disk, as the options shape them."""
        drive = [o[5:] for o in self.options if o.startswith("disk=")]
        blk = [o[4:] for o in self.options if o.startswith("blk=")]
        image = ",".join([f"file={self.disk},format=raw"] + drive)
        if not blk:
            return ["-drive", image + ",if=virtio"]
        return ["-drive", image + ",if=none,id=d0", "-device", "virtio-blk-pci,drive=d0," + blk[0]]

    def command(self, do):
        kernel, initrd = f"{self.guest}/vmlinuz", f"{self.guest}/initrd.cpio"
        if self.what == "qemu":
            qemu = os.path.join(self.work, "qemu-system-x86_64")
            os.symlink(os.path.abspath(self.hanok), qemu)
            return [qemu, "-M", self.machine, "-accel", "tcg", "-smp", str(self.cpus), "-m", "1G",
                    "-kernel", kernel, "-initrd", initrd,
                    "-append", "console=ttyS0 " + self.append(do), "-nographic",
                    *[o for o in self.options if not o.startswith(("disk=", "blk="))],
                    *self.qemu_disk(), "-nic", "user,model=virtio"]
        line = [self.hanok, "run", "--machine", self.machine, "--accel", "soft", "--kernel", kernel,
                "--initrd", initrd, "--disk", self.disk, "--cpus", str(self.cpus), "--memory", "512M"]
        if self.what == "check":
            line += ["--net", "user"]
        return line + ["--"] + self.append(do).split()

    def run(self, do):
        proc = subprocess.run(self.command(do), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=TIMEOUT)
        text = proc.stdout.decode(errors="replace").replace("\r", "")
        print(text)
        return proc.returncode, text


def expect(condition, message):
    if not condition:
        print(f"FAILED: {message}")
        sys.exit(1)


def line_of(text, key):
    found = re.findall(rf"^guest: {key} (.*)$", text, re.M)
    expect(found, f"the guest did not report '{key}'")
    return found[-1]


def check(boot):
    code, text = boot.run("check")
    expect(code == 0, f"exit code {code}, wanted 0 after a clean power-off")
    version = open(f"{boot.guest}/version").read().strip()
    expect(line_of(text, "kernel") == f"Linux {version}", "another kernel booted")
    expect(line_of(text, "cpus") == boot.cpus.split(",")[0], f"wanted {boot.cpus} CPUs")
    expect(line_of(text, "kernel-errors") == "0", "the kernel logged an error")
    disk = line_of(text, "disk")
    expect("read back and equal" in disk, "the disk check failed")
    with open(boot.disk, "rb") as image:
        image.seek(4 * 65536)
        expect(hashlib.md5(image.read(MIB)).hexdigest() == disk.split()[-1],
               "the host sees other data on the disk than the guest wrote")
    if boot.what in ("check", "qemu"):
        expect("address" in text, "no network address")
        fetched = line_of(text, "net").split()
        expect(fetched[:2] == ["fetched", str(len(boot.body))] and
               fetched[-1] == hashlib.md5(boot.body).hexdigest(),
               f"what the guest fetched over HTTP is not what this host served: {fetched}")
    expect("guest: done" in text, "the guest did not finish")
    return text


def lockstep(boot):
    """Nothing differs, and so much was compared that this says something."""
    boot.what, boot.options = "qemu", boot.options + ["-accel", "tcg,lockstep=on"]
    text = check(boot)
    told = re.search(r"lockstep: vCPU 0: .* compared in (\d+) runs .*: no difference", text)
    expect(told, "the engine did not say that it compared")
    expect(int(told[1]) > 1000000, f"only {told[1]} runs of blocks were compared")


def reboot(boot):
    """With panic=-1 and no --no-reboot a reset starts the kernel again: two greetings."""
    proc = subprocess.Popen(boot.command("reboot"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    timer = threading.Timer(TIMEOUT, proc.kill)
    timer.start()
    count = 0
    for line in proc.stdout:
        print(line.decode(errors="replace").rstrip())
        count += b"guest: rebooting" in line
        if count == 2:
            break
    proc.terminate()
    code = proc.wait(20)
    timer.cancel()
    expect(count == 2, "the machine did not come up again after a reboot")
    expect(code in (0, 1), f"exit code {code} after SIGTERM")


def panic(boot):
    """A panic with panic=-1 resets the machine; QEMU's -no-reboot makes that the end, exit code 0."""
    boot.what, boot.options = "qemu", boot.options + ["-no-reboot"]
    code, text = boot.run("panic")
    expect("guest: panicking" in text, "the guest did not come so far")
    expect(code == 0, f"exit code {code}, wanted 0 after a reset with -no-reboot")


def button(boot):
    """system_powerdown reaches the guest as a pressed button, by an event device or fixed hardware."""
    boot.what, path = "qemu", os.path.join(boot.work, "monitor")
    boot.options = boot.options + ["-monitor", f"unix:{path},server=on,wait=off"]
    proc = subprocess.Popen(boot.command("serve"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    timer = threading.Timer(TIMEOUT, proc.kill)
    timer.start()
    text = ""
    for line in proc.stdout:
        text += line.decode(errors="replace").replace("\r", "")
        print(line.decode(errors="replace").rstrip())
        if b"guest: serving" in line:
            with socket.socket(socket.AF_UNIX) as monitor:
                monitor.connect(path)
                monitor.sendall(b"system_powerdown\n")
                monitor.settimeout(20)
                monitor.recv(100)
    code = proc.wait(60)
    timer.cancel()
    expect("guest: power button" in text, "the guest did not see the button")
    expect(code == 0, f"exit code {code}, wanted 0 after the guest's power-off")


def converse(boot, lines):
    """Each time that the guest serves it is told the next line, up to its end: exit code and text."""
    boot.what = "qemu"
    proc = subprocess.Popen(boot.command("serve"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    timer = threading.Timer(TIMEOUT, proc.kill)
    timer.start()
    text, lines = "", list(lines)
    for line in proc.stdout:
        text += line.decode(errors="replace").replace("\r", "")
        print(line.decode(errors="replace").rstrip())
        if b"guest: serving" in line and lines:
            proc.stdin.write(lines.pop(0).encode() + b"\n")
            proc.stdin.flush()
    code = proc.wait(60)
    timer.cancel()
    return code, text


def watchdog(boot):
    """Linux's driver starts it, nobody feeds it: a reset, after which the driver knows why."""
    boot.options = boot.options + ["-device", "i6300esb", "-watchdog-action", "reset"]
    start = "rmmod i6300esb; insmod /modules/i6300esb.ko heartbeat=2 && exec 5>/dev/watchdog"
    ask = "say boot status $(cat /sys/class/watchdog/watchdog0/bootstatus); poweroff -f"
    code, text = converse(boot, [start, ask])
    expect(text.count("guest: serving") == 2, "the machine did not start a second time")
    expect(line_of(text, "boot") == "status 32", "the driver did not see that its card reset it")
    expect(code == 0, f"exit code {code}, wanted 0 after a clean power-off")


def pvpanic(boot):
    """Linux's driver tells of a panic, before the kernel would reboot by panic=-1."""
    boot.options = boot.options[1:] + ["-device", boot.options[0], "-action", "panic=exit-failure"]
    code, text = converse(boot, ["echo c >/proc/sysrq-trigger"])
    expect(text.count("guest: serving") == 1, "the machine started again")
    expect("the guest's kernel panicked" in text, "nobody was told of the panic")
    expect(code == 1, f"exit code {code}, wanted 1 after a panic with panic=exit-failure")


def main():
    hanok, suite, cpus = sys.argv[1], sys.argv[2], sys.argv[3]
    what = sys.argv[4] if len(sys.argv) > 4 else "check"
    guest = os.path.join(os.environ.get("HANOK_GUESTS", ""), suite)
    if not os.path.exists(f"{guest}/initrd.cpio"):
        print(f"skipped: no guest in '{guest}' (tools/check.py fetches them)")
        return SKIP
    with tempfile.TemporaryDirectory(prefix="hanok-boot.") as work:
        boot = Boot(hanok, guest, cpus, what, work, sys.argv[5:])
        if what == "reboot":
            reboot(boot)
        elif what == "panic":
            panic(boot)
        elif what == "lockstep":
            lockstep(boot)
        elif what in ("button", "watchdog", "pvpanic"):
            {"button": button, "watchdog": watchdog, "pvpanic": pvpanic}[what](boot)
        else:
            check(boot)
    return 0


if __name__ == "__main__":
    sys.exit(main())

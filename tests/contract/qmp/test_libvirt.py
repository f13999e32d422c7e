# SPDX-License-Identifier: Apache-2.0
"""What libvirt asks of an emulator before it defines a domain on it, and when it starts one.

The requests are those of libvirt 9.0 and 12.8, in their order; a reply that libvirt would stumble over,
or that takes its daemon down, fails here without one (tools/libvirt has the real one).
"""
import os
import signal
import subprocess
import tempfile
import time
import unittest

from common import Machine, main
from qmp import Qmp, QmpError

# Properties of types that libvirt asks for where the type is listed, or in any case.
DEVICES = ["virtio-blk-pci", "virtio-net-pci", "virtio-scsi-pci", "virtio-net-ccw", "virtio-scsi-ccw", "vfio-pci",
           "scsi-hd", "ide-hd", "PIIX4_PM", "usb-redir", "usb-storage", "kvm-pit", "VGA", "vmware-svga", "qxl",
           "virtio-gpu-pci", "virtio-gpu-device", "ICH9-LPC", "virtio-balloon-pci", "virtio-balloon-ccw",
           "virtio-balloon-device", "intel-iommu", "mch", "nvdimm", "pcie-root-port", "usb-host",
           "vhost-user-fs-device", "virtio-mem-pci", "virtio-iommu-pci", "scsi-block", "scsi-generic", "amd-iommu"]
# An error for one of these ends libvirtd.
OBJECTS = ["memory-backend-file", "memory-backend-memfd", "max-x86_64-cpu", "none-machine", "generic-pc-machine"]


class Probe(unittest.TestCase):
    def launch(self, accel):
        """The line of both versions; returns the monitor. The parent is back when all is ready."""
        folder = tempfile.mkdtemp(prefix="hanok-probe-")
        sock, pidfile = f"{folder}/qmp.monitor", f"{folder}/qmp.pid"
        subprocess.run([os.environ["HANOK"], "qemu", "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine",
                        f"none,accel={accel}", "-qmp", f"unix:{sock},server=on,wait=off", "-pidfile", pidfile,
                        "-daemonize"], check=True, stdin=subprocess.DEVNULL, timeout=60)
        with open(pidfile) as file:
            pid = int(file.read())
        self.addCleanup(subprocess.run, ["rm", "-rf", folder])
        self.addCleanup(self.end, pid)
        return Qmp(sock)

    def end(self, pid):
        os.kill(pid, signal.SIGTERM)
        for _ in range(300):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().split(") ")[1][0] == "Z":
                    return
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        self.fail("the emulator does not end by SIGTERM")

    def ask(self, vm, name, **args):
        """The reply, or the class of the error."""
        try:
            return vm.cmd(name, args)
        except QmpError as error:
            return error.cls

    def properties(self, vm):
        for name in DEVICES:
            reply = self.ask(vm, "device-list-properties", typename=name)
            if reply != "DeviceNotFound":
                for prop in reply:
                    self.assertTrue(isinstance(prop["name"], str) and isinstance(prop["type"], str))
        for name in OBJECTS:
            self.assertIsInstance(vm.cmd("qom-list-properties", typename=name), list)

    def schema(self, vm):
        """As libvirt walks it: names of commands to names of types."""
        entries = {e["name"]: e for e in vm.cmd("query-qmp-schema")}
        for e in entries.values():
            for name in [e.get("arg-type"), e.get("ret-type"), e.get("element-type"),
                         *[m.get("type") for m in e.get("members", []) if isinstance(m, dict)],
                         *[v["type"] for v in e.get("variants", [])]]:
                self.assertTrue(name is None or name in entries, e)
            if e["meta-type"] == "enum":
                self.assertEqual([m["name"] for m in e["members"]], e["values"])
        netdev = entries[entries["netdev_add"]["arg-type"]]
        self.assertIn("user", [v["case"] for v in netdev["variants"]])  # "netdev_add/+user"
        return entries

    def test_9_0(self):
        vm = self.launch("kvm:tcg")
        version = vm.cmd("query-version")
        self.assertGreaterEqual((version["qemu"]["major"], version["qemu"]["minor"]), (4, 2))
        self.assertIsInstance(version["package"], str)
        self.assertEqual(vm.cmd("query-target"), {"arch": "x86_64"})
        schema = self.schema(vm)
        commands = {c["name"] for c in vm.cmd("query-commands")}
        self.assertEqual(commands, {e["name"] for e in schema.values() if e["meta-type"] == "command"})
        self.assertLessEqual(set(vm.cmd("query-kvm")), {"enabled", "present"})
        types = {t["name"] for t in vm.cmd("qom-list-types")}
        self.assertTrue(any(t.endswith("-non-transitional") for t in types))
        self.properties(vm)
        machines = vm.cmd("query-machines")
        self.assertIn("pc.ram", [m.get("default-ram-id") for m in machines if m.get("alias") == "q35"])
        self.assertIn("max", [d["name"] for d in vm.cmd("query-cpu-definitions")])
        self.assertEqual((vm.cmd("query-tpm-models"), vm.cmd("query-tpm-types")), ([], []))
        self.assertIn("sandbox", [g["option"] for g in vm.cmd("query-command-line-options")])
        self.assertIn("events", [c["capability"] for c in vm.cmd("query-migrate-capabilities")])
        for name in ("query-sev-capabilities", "query-sgx-capabilities", "query-gic-capabilities"):
            self.assertNotIn(name, commands)  # it would be asked
        for kind, props in (("static", None), ("static", {"migratable": False}), ("full", {"migratable": False})):
            model = {"name": "host", **({"props": props} if props else {})}
            reply = vm.cmd("query-cpu-model-expansion", type=kind, model=model)["model"]
            self.assertTrue(reply["props"]["sse2"])
        vm.close()

    def test_12_8(self):
        vm = self.launch("kvm:mshv:tcg")
        self.assertGreaterEqual(vm.cmd("query-version")["qemu"]["major"], 8)
        self.schema(vm)
        accelerators = vm.cmd("query-accelerators")
        self.assertIn(accelerators["enabled"], accelerators["present"])
        self.properties(vm)
        vm.cmd("query-machines")
        for props in ({}, {"migratable": False}):
            vm.cmd("query-cpu-model-expansion", type="static", model={"name": "max", "props": props})
        vm.close()
        second = self.launch("tcg")
        second.cmd("query-cpu-definitions")
        self.assertEqual(second.cmd("query-kvm")["enabled"], False)
        second.close()


class Start(unittest.TestCase):
    """A domain's start, in libvirt's order, up to the guest's first instruction."""

    def test_start(self):
        with tempfile.NamedTemporaryFile() as disk, Machine(
                "-name", "guest=d,debug-threads=on", "-no-user-config", "-no-shutdown", "-boot", "strict=on",
                "-smp", "2,sockets=2,cores=1,threads=1", "-overcommit", "mem-lock=off", "-msg", "timestamp=on",
                "-rtc", "base=utc,driftfix=slew", "-global", "ICH9-LPC.disable_s3=1",
                "-device", "pcie-root-port,port=8,chassis=1,id=pci.1,bus=pcie.0,multifunction=on,addr=0x1",
                "-device", "pcie-root-port,port=9,chassis=2,id=pci.2,bus=pcie.0,addr=0x1.0x1",
                "-drive", f"file={disk.name},if=none,id=d0,format=raw" if disk.truncate(1 << 20) else "",
                "-device", "virtio-blk-pci,bus=pci.1,addr=0x0,drive=d0,id=virtio-disk0,bootindex=1",
                "-chardev", "pty,id=charserial1", "-device", "isa-serial,chardev=charserial1,id=serial1,index=1",
                "-audiodev", '{"id":"audio1","driver":"none"}',
                "-device", "virtio-balloon-pci,id=balloon0,bus=pci.2,addr=0x0") as vm:
            names = [c["capability"] for c in vm.cmd("query-migrate-capabilities")]
            self.assertIn("events", names)
            vm.cmd("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
            ptys = {c["label"]: c["filename"] for c in vm.cmd("query-chardev")}
            self.assertTrue(ptys["charserial1"].startswith("pty:/dev/"))
            cpus = vm.cmd("query-cpus-fast")
            self.assertEqual(len({c["thread-id"] for c in cpus} - {vm.proc.pid}), 2)
            flags = [p["name"] for p in vm.cmd("qom-list", path=cpus[0]["qom-path"]) if p["type"] == "bool"]
            for flag in flags:
                self.assertIsInstance(vm.cmd("qom-get", path=cpus[0]["qom-path"], property=flag), bool)
            self.assertEqual(vm.cmd("qom-get", path=cpus[0]["qom-path"], property="unavailable-features"), [])
            vm.cmd("query-iothreads")
            children = {p["name"]: p["type"] for p in vm.cmd("qom-list", path="/machine/peripheral")}
            for name in ("pci.1", "pci.2", "virtio-disk0", "serial1", "balloon0"):
                self.assertTrue(children[name].startswith("child<"))
            props = {p["name"] for p in vm.cmd("qom-list", path="/machine/peripheral/balloon0")}
            self.assertLessEqual({"guest-stats", "guest-stats-polling-interval"}, props)
            vm.cmd("qom-set", path="/machine/peripheral/balloon0", property="guest-stats-polling-interval", value=5)
            vm.cmd("balloon", value=64 << 20)
            self.assertEqual(vm.cmd("query-balloon"), {"actual": 64 << 20})
            vm.cmd("query-named-block-nodes", flat=True)
            vm.cmd("set-action", panic="pause")
            disk0, = vm.cmd("query-block", flat=True)
            self.assertEqual(disk0["qdev"], "/machine/peripheral/virtio-disk0/virtio-backend")
            self.assertEqual(vm.cmd("query-status")["status"], "prelaunch")
            vm.running()
            self.assertEqual(vm.cmd("query-status")["status"], "running")


if __name__ == "__main__":
    main()

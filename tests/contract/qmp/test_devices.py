# SPDX-License-Identifier: Apache-2.0
"""Devices as a client sees them: the balloon, threads of disks, places on PCI buses."""
import os
import tempfile
import unittest

from common import Machine, main

PORT = ["-device", "pcie-root-port,id=pci.1,chassis=1,addr=0x1"]


class Balloon(unittest.TestCase):
    def test_none(self):
        with Machine() as vm:
            for name, args in (("query-balloon", {}), ("balloon", {"value": 64 << 20})):
                self.assertEqual(vm.error(name, **args).cls, "DeviceNotActive")
            self.assertIn("no balloon", vm.hmp("info balloon"))

    def test_sizes(self):
        with Machine("-m", "128", *PORT, "-device", "virtio-balloon-pci,id=b0,bus=pci.1") as vm:
            self.assertEqual(vm.cmd("query-balloon"), {"actual": 128 << 20})
            vm.cmd("balloon", value=64 << 20)
            self.assertEqual(vm.cmd("query-balloon"), {"actual": 128 << 20})  # no driver, no change
            self.assertEqual(vm.hmp("info balloon"), "balloon: actual=128\n")
            self.assertEqual(vm.hmp("balloon 100"), "")
            for bad in (0, -1):
                self.assertIn("more than 0", vm.error("balloon", value=bad).desc)

    def test_statistics(self):
        with Machine(*PORT, "-device", "virtio-balloon-pci,id=b0,bus=pci.1") as vm:
            path = "/machine/peripheral/b0"
            self.assertEqual(vm.cmd("qom-get", path=path, property="guest-stats"), {"stats": {}, "last-update": 0})
            vm.cmd("qom-set", path=path, property="guest-stats-polling-interval", value=5)
            self.assertEqual(vm.cmd("qom-get", path=path, property="guest-stats-polling-interval"), 5)
            self.assertIn("seconds", vm.error("qom-set", path=path, property="guest-stats-polling-interval",
                                              value=-1).desc)


class Threads(unittest.TestCase):
    def test_iothreads(self):
        with tempfile.NamedTemporaryFile() as disk:
            disk.truncate(1 << 20)
            with Machine("-object", "iothread,id=t1,poll-max-ns=1000", "-object", "iothread,id=t2",
                         "-blockdev", f"driver=file,filename={disk.name},node-name=d0",
                         "-device", "virtio-blk-pci,drive=d0,iothread=t1") as vm:
                threads = {t["id"]: t for t in vm.cmd("query-iothreads")}
                self.assertEqual(set(threads), {"t1", "t2"})
                self.assertEqual(threads["t1"]["poll-max-ns"], 1000)
                tids = {t["thread-id"] for t in threads.values()}
                self.assertEqual(len(tids), 2)
                self.assertLessEqual(tids, {int(t) for t in os.listdir(f"/proc/{vm.proc.pid}/task")})
                name = open(f"/proc/{vm.proc.pid}/task/{threads['t2']['thread-id']}/comm").read()
                self.assertEqual(name, "IO t2\n")
                self.assertIn("in use by 1 device", vm.error("object-del", id="t1").desc)
                vm.cmd("object-del", id="t2")
                vm.cmd("object-add", {"qom-type": "iothread", "id": "t3"})
                self.assertEqual({t["id"] for t in vm.cmd("query-iothreads")}, {"t1", "t3"})


if __name__ == "__main__":
    main()

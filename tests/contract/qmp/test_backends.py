# SPDX-License-Identifier: Apache-2.0
"""Disks, chardevs and PCI functions, as query commands tell them."""
import os
import tempfile
import unittest

from common import Machine, main

MIB = 1 << 20


class Block(unittest.TestCase):
    def setUp(self):
        self.file = tempfile.NamedTemporaryFile(prefix="hanok-disk-")
        self.file.truncate(4 * MIB)
        self.addCleanup(self.file.close)

    def as_libvirt(self):
        return ["-blockdev", '{"driver":"file","filename":"%s","node-name":"n-storage","auto-read-only":true,'
                '"discard":"unmap"}' % self.file.name,
                "-blockdev", '{"node-name":"n-format","read-only":false,"driver":"raw","file":"n-storage"}',
                "-device", '{"driver":"virtio-blk-pci","drive":"n-format","id":"virtio-disk0","addr":"0x4"}']

    def test_nodes(self):
        with Machine(*self.as_libvirt()) as vm:
            disk, = vm.cmd("query-block", flat=True)
            self.assertEqual((disk["device"], disk["qdev"]), ("", "/machine/peripheral/virtio-disk0/virtio-backend"))
            self.assertEqual(vm.cmd("qom-get", path=disk["qdev"], property="type"), "virtio-blk-device")
            node = disk["inserted"]
            self.assertEqual((node["node-name"], node["drv"], node["ro"], node["file"]),
                             ("n-format", "raw", False, self.file.name))
            self.assertEqual((node["image"]["virtual-size"], node["image"]["actual-size"]),
                             (4 * MIB, os.stat(self.file.name).st_blocks * 512))
            self.assertEqual(node["cache"], {"writeback": True, "direct": False, "no-flush": False})
            nodes = vm.cmd("query-named-block-nodes", flat=True)
            self.assertEqual([(n["node-name"], n["drv"]) for n in nodes], [("n-format", "raw"), ("n-storage", "file")])
            text = vm.hmp("info block")
            self.assertIn("n-format: " + self.file.name + " (raw)", text)
            self.assertIn("virtio-disk0/virtio-backend", text)

    def test_stats(self):
        with Machine(*self.as_libvirt()) as vm:
            stats, = vm.cmd("query-blockstats")
            self.assertEqual(stats["qdev"], "/machine/peripheral/virtio-disk0/virtio-backend")
            self.assertEqual(stats["stats"]["rd_bytes"], 0)
            self.assertIn("rd_operations", stats["parent"]["stats"])
            names = [s["node-name"] for s in vm.cmd("query-blockstats", {"query-nodes": True})]
            self.assertEqual(sorted(names), ["n-format", "n-storage"])
            self.assertIn("n-format: rd_bytes=0", vm.hmp("info blockstats"))

    def test_drive(self):
        with Machine("-drive", f"file={self.file.name},format=raw,if=virtio,id=d0,readonly=on,cache=none") as vm:
            disk, = vm.cmd("query-block")
            self.assertEqual((disk["device"], disk["inserted"]["ro"]), ("d0", True))
            self.assertTrue(disk["qdev"].startswith("/machine/peripheral-anon/"))
            self.assertTrue(disk["inserted"]["cache"]["direct"])
            self.assertEqual(vm.cmd("query-named-block-nodes"), [])
            self.assertEqual(vm.cmd("query-blockstats")[0]["device"], "d0")

    def test_node_without_a_device(self):
        with Machine(*self.as_libvirt()[:2]) as vm:
            self.assertEqual(vm.cmd("query-block"), [])
            self.assertEqual(len(vm.cmd("query-named-block-nodes")), 1)


class Char(unittest.TestCase):
    def test_list(self):
        with Machine("-chardev", "pty,id=p0", "-device", "isa-serial,chardev=p0,index=1,id=s1",
                     "-chardev", "null,id=c0") as vm:
            chars = {c["label"]: c for c in vm.cmd("query-chardev")}
            self.assertRegex(chars["p0"]["filename"], r"^pty:/dev/pts/\d+$")
            self.assertTrue(os.path.exists(chars["p0"]["filename"][4:]))
            self.assertTrue(chars["p0"]["frontend-open"])
            self.assertFalse(chars["c0"]["frontend-open"])
            self.assertEqual(chars["c0"]["filename"], "null")
            self.assertIn("pty", {b["name"] for b in vm.cmd("query-chardev-backends")})
            self.assertIn("p0: filename=pty:/dev/pts/", vm.hmp("info chardev"))

    def test_port_that_no_guest_has_open(self):
        with Machine("-chardev", "null,id=c0", "-device", "virtio-serial-pci,id=vs",
                     "-device", "virtserialport,chardev=c0,bus=vs.0") as vm:
            chars = {c["label"]: c for c in vm.cmd("query-chardev")}
            self.assertFalse(chars["c0"]["frontend-open"])


class Pci(unittest.TestCase):
    def test_bridge(self):
        with Machine("-device", "pcie-root-port,id=rp1,addr=1.0,chassis=1", "-device", "virtio-rng-pci,id=rng0,bus=rp1",
                     "-device", "virtio-rng-pci,id=rng1,addr=7.0") as vm:
            bus, = vm.cmd("query-pci")
            by_id = {d["qdev_id"]: d for d in bus["devices"] if d["qdev_id"]}
            self.assertEqual(by_id["rng1"]["slot"], 7)
            self.assertEqual(by_id["rng1"]["id"]["vendor"], 0x1af4)
            bar = next(r for r in by_id["rng1"]["regions"] if r.get("mem_type_64"))
            self.assertTrue(bar["prefetch"] and bar["size"] >= 4096 and bar["address"] % bar["size"] == 0)
            bridge = by_id["rp1"]["pci_bridge"]
            self.assertEqual(by_id["rp1"]["class_info"]["class"], 0x604)
            self.assertEqual(bridge["bus"]["secondary"], bridge["devices"][0]["bus"])
            below = bridge["devices"][0]
            self.assertEqual((below["qdev_id"], below["slot"]), ("rng0", 0))
            for r in below["regions"]:
                window = bridge["bus"]["prefetchable_range" if r["prefetch"] else "memory_range"]
                self.assertTrue(window["base"] <= r["address"] <= window["limit"], r)
            classes = {d["class_info"]["class"] for d in bus["devices"]}
            self.assertTrue({0x600, 0x601} <= classes)
            text = vm.hmp("info pci")
            self.assertIn("PCI device 1af4:1044", text)
            self.assertIn('id "rng0"', text)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Disks, chardevs and PCI functions, as query commands tell them."""
import os
import shutil
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
            self.assertEqual(vm.hmp("info block n-format"), text)
            self.assertIn("n-storage: " + self.file.name + " (file)", vm.hmp("info block -n"))
            self.assertIn("\n\nn-storage: ", vm.hmp("info block -n"))
            self.assertIn("virtual size: 4 MiB (4194304 bytes)\ndisk size: 0 B\n",
                          vm.hmp("info block -v n-format"))
            self.assertEqual(vm.hmp("info block nosuch"), "Error: Device 'nosuch' not found\n")

    def test_stats(self):
        with Machine(*self.as_libvirt()) as vm:
            stats, = vm.cmd("query-blockstats")
            self.assertEqual(stats["qdev"], "/machine/peripheral/virtio-disk0/virtio-backend")
            self.assertEqual(stats["stats"]["rd_bytes"], 0)
            self.assertEqual(stats["stats"]["timed_stats"], [])
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
            self.assertEqual(chars.keys(), {"p0", "c0", "serial0", "compat_monitor0"})
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
            self.assertIn("      PCI subsystem 1af4:1100\n", text)
            self.assertIn("      secondary bus 1.\n", text)
            self.assertRegex(text, r"BAR4: 64 bit prefetchable memory at 0x[0-9a-f]{8} \[0x[0-9a-f]{8}\]\.")


class Coming(unittest.TestCase):
    """Back ends that are made and removed while the machine runs."""

    def test_netdev(self):
        with Machine() as vm:
            self.assertIn("spawn=allow", vm.error("netdev_add", {"type": "user", "id": "n0"}).desc)
        with Machine("-sandbox", "on,spawn=allow") as vm:
            vm.running()
            if shutil.which("passt"):
                vm.cmd("netdev_add", {"type": "user", "id": "n0"})
                self.assertIn("Duplicate", vm.error("netdev_add", {"type": "user", "id": "n0"}).desc)
                vm.cmd("netdev_del", id="n0")
                vm.cmd("netdev_add", {"type": "user", "id": "n0", "net": "10.9.0.0/24"})
                self.assertEqual(vm.hmp("netdev_del n0"), "")
                self.assertEqual(vm.hmp("netdev_add user,id=n1"), "")
                vm.cmd("netdev_del", id="n1")
            self.assertEqual(vm.error("netdev_del", id="n0").cls, "DeviceNotFound")
            for args, word in (({"type": "user"}, "'id' is missing"), ({"id": "n"}, "'type' is missing"),
                               ({"type": "user", "id": "1 2"}, "identifier"), ({"type": "wire", "id": "n"}, "wire"),
                               ({"type": "user", "id": "n", "nett": "x"}, "did you mean 'net'"),
                               ({"type": "user", "id": "n", "net": "x"}, "net=x"),
                               ({"type": "tap", "id": "n", "fd": "none"}, "none"),
                               ({"type": "tap", "id": "n", "fd": "1"}, "no tap")):
                self.assertIn(word, vm.error("netdev_add", args).desc)
            self.assertIn("Error", vm.hmp("netdev_add user"))
            vm.serial.tell("x")
            vm.serial.expect("x")

    def test_what_is_not_there(self):
        """Classes and the beginning of texts are QEMU's."""
        with Machine() as vm:
            for name, args, cls, text in (
                    ("netdev_del", {"id": "x"}, "DeviceNotFound", "Device 'x' not found"),
                    ("object-del", {"id": "x"}, "GenericError", "object 'x' not found"),
                    ("blockdev-del", {"node-name": "x"}, "GenericError",
                     "Failed to find node with node-name='x'"),
                    ("migrate", {"uri": "x"}, "GenericError",
                     "Parameter 'uri' expects a valid migration protocol"),
                    ("migrate-incoming", {"uri": "x"}, "GenericError",
                     "'-incoming' was not specified on the command line"),
                    ("migrate-continue", {"state": "pre-switchover"}, "GenericError",
                     "Migration not in expected state: none")):
                e = vm.error(name, args)
                self.assertEqual(e.cls, cls)
                self.assertTrue(e.desc.startswith(text), e.desc)

    def test_descriptor_that_is_no_tap(self):
        with Machine() as vm:
            with open("/dev/null") as null:
                vm.cmd("getfd", {"fdname": "f"}, fds=[null.fileno()])
            before = len(os.listdir(f"/proc/{vm.proc.pid}/fd"))
            self.assertIn("no tap", vm.error("netdev_add", {"type": "tap", "id": "n", "fd": "f"}).desc)
            self.assertEqual(len(os.listdir(f"/proc/{vm.proc.pid}/fd")), before - 1)
            self.assertIn("f", vm.error("netdev_add", {"type": "tap", "id": "n", "fd": "f"}).desc)

    def test_object(self):
        with Machine() as vm:
            vm.cmd("object-add", {"qom-type": "rng-random", "id": "o0", "filename": "/dev/urandom"})
            self.assertEqual(vm.cmd("qom-get", path="/objects/o0", property="filename"), "/dev/urandom")
            vm.cmd("object-add", {"qom-type": "memory-backend-ram", "id": "m0", "size": MIB})
            self.assertEqual([d["id"] for d in vm.cmd("query-memdev")], ["m0", "pc.ram"])
            vm.cmd("object-del", id="m0")
            self.assertEqual([d["id"] for d in vm.cmd("query-memdev")], ["pc.ram"])
            self.assertIn("did you mean 'rng-random'",
                          vm.error("object-add", {"qom-type": "rng-rando", "id": "o1"}).desc)
            self.assertEqual(vm.hmp("object_del o0"), "")
            self.assertEqual(vm.hmp("object_add secret,id=s0,data=abc"), "")
        with Machine("-object", "rng-random,id=o0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=o0,id=r") as vm:
            self.assertIn("in use by r", vm.error("object-del", id="o0").desc)

    def test_what_the_schema_says_of_objects(self):
        with Machine() as vm:
            schema = {e["name"]: e for e in vm.cmd("query-qmp-schema")}
            union = schema[schema["object-add"]["arg-type"]]
            tag = next(m["type"] for m in union["members"] if m["name"] == union["tag"])
            types = {t["name"] for t in vm.cmd("qom-list-types")}
            self.assertLessEqual(set(schema[tag]["values"]), types)
            for kind in schema[tag]["values"]:
                branch = next(v["type"] for v in union["variants"] if v["case"] == kind)
                said = {m["name"] for m in schema[branch]["members"]}
                there = {p["name"] for p in vm.cmd("qom-list-properties", typename=kind)} - {"type"}
                self.assertEqual(said, there, kind)

    def test_blockdev(self):
        with tempfile.NamedTemporaryFile(prefix="hanok-disk-") as file, Machine() as vm:
            file.truncate(MIB)
            vm.cmd("blockdev-add", {"driver": "file", "node-name": "s", "filename": file.name, "auto-read-only": True})
            vm.cmd("blockdev-add", {"driver": "raw", "node-name": "f", "file": "s", "read-only": True})
            self.assertEqual([n["node-name"] for n in vm.cmd("query-named-block-nodes")], ["f", "s"])
            self.assertIn("in use", vm.error("blockdev-del", {"node-name": "s"}).desc)
            vm.cmd("blockdev-del", {"node-name": "f"})
            vm.cmd("blockdev-del", {"node-name": "s"})
            self.assertEqual(vm.cmd("query-named-block-nodes"), [])
            self.assertIn("qcow2", vm.error("blockdev-add", {"driver": "qcow2", "node-name": "q", "file": "s"}).desc)
            self.assertIn("no-such", vm.error("blockdev-add", {"driver": "raw", "node-name": "q", "file": "no-such"}).desc)
            self.assertEqual(vm.cmd("query-named-block-nodes"), [])


if __name__ == "__main__":
    main()

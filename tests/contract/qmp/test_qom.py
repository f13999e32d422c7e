# SPDX-License-Identifier: Apache-2.0
"""The object model: types and their properties, objects under their paths, values."""
import unittest

from common import Machine, main

DEVICES = ["-chardev", "null,id=c0", "-chardev", "null,id=c1",
           "-device", "pcie-root-port,id=rp1,bus=pcie.0,addr=1.0,chassis=1,multifunction=on",
           "-device", "virtio-rng-pci,id=rng0,bus=rp1,queue_reset=off",
           "-device", "virtio-serial-pci,id=vs0",
           "-device", "virtserialport,bus=vs0.0,chardev=c0,id=port0,name=org.test.0",
           "-device", "virtio-rng-pci,addr=5"]


class Types(unittest.TestCase):
    def test_what_libvirt_takes_for_granted(self):
        """A missing one crashes its daemon."""
        with Machine() as vm:
            for name in ("memory-backend-file", "memory-backend-memfd", "generic-pc-machine", "none-machine",
                         "max-x86_64-cpu", "pc-q35-10.0-machine"):
                self.assertIn({"name": "type", "type": "string"}, vm.cmd("qom-list-properties", typename=name))
            types = {t["name"]: t for t in vm.cmd("qom-list-types")}
            for name in ("virtio-blk-pci", "virtio-blk-pci-non-transitional", "virtio-net-pci", "virtio-serial-pci",
                         "virtio-rng-pci", "pcie-root-port", "isa-serial", "rng-random", "tcg-accel", "kvm-accel",
                         "memory-backend-ram", "secret", "iothread", "none-machine", "ICH9-LPC", "mch"):
                self.assertIn(name, types)

    def test_tree(self):
        with Machine() as vm:
            types = {t["name"]: t for t in vm.cmd("qom-list-types", abstract=True)}
            for t in types.values():
                self.assertTrue(t["name"] == "object" or t["parent"] in types, t)
            concrete = {t["name"] for t in vm.cmd("qom-list-types")}
            self.assertEqual(concrete, {t["name"] for t in types.values() if not t.get("abstract")})
            pci = {t["name"] for t in vm.cmd("qom-list-types", implements="pci-device")}
            self.assertTrue({"virtio-rng-pci", "virtio-rng-pci-non-transitional"} <= pci <= concrete)
            self.assertNotIn("isa-serial", pci)

    def test_device_properties(self):
        with Machine() as vm:
            props = {p["name"]: p for p in vm.cmd("device-list-properties", typename="virtio-blk-pci")}
            self.assertEqual(props["drive"]["type"], "str")
            self.assertEqual(props["event_idx"], {"name": "event_idx", "type": "bool", "default-value": True,
                                                  "description": props["event_idx"]["description"]})
            self.assertEqual(props["write-cache"]["default-value"], "auto")
            self.assertNotIn("realized", props)
            self.assertIn("realized", {p["name"] for p in vm.cmd("qom-list-properties", typename="virtio-blk-pci")})
            self.assertEqual(vm.error("device-list-properties", typename="virtio-net-ccw").cls, "DeviceNotFound")
            self.assertEqual(vm.error("qom-list-properties", typename="nothing").cls, "DeviceNotFound")
            self.assertIn("non-abstract device type", vm.error("device-list-properties", typename="none-machine").desc)

    def test_every_type_has_a_list(self):
        with Machine() as vm:
            for t in vm.cmd("qom-list-types", abstract=True):
                names = [p["name"] for p in vm.cmd("qom-list-properties", typename=t["name"])]
                self.assertEqual(len(names), len(set(names)), t["name"])

    def test_non_transitional_is_a_device(self):
        with Machine("-device", "virtio-rng-pci-non-transitional,id=r") as vm:
            self.assertEqual(vm.cmd("qom-get", path="r", property="type"), "virtio-rng-pci")


class Objects(unittest.TestCase):
    def names(self, vm, path):
        return {p["name"]: p["type"] for p in vm.cmd("qom-list", path=path)}

    def test_paths(self):
        with Machine(*DEVICES, "-object", "rng-random,id=o0,filename=/dev/urandom") as vm:
            self.assertEqual(self.names(vm, "/machine/peripheral"),
                             {"type": "string", "rp1": "child<pcie-root-port>", "rng0": "child<virtio-rng-pci>",
                              "vs0": "child<virtio-serial-pci>", "port0": "child<virtserialport>"})
            self.assertEqual(self.names(vm, "/machine/peripheral-anon")["device[0]"], "child<pvpanic>")
            self.assertEqual(self.names(vm, "/machine/peripheral-anon")["device[1]"], "child<virtio-rng-pci>")
            self.assertEqual(self.names(vm, "/machine/peripheral/rng0")["virtio-backend"], "child<virtio-rng-device>")
            self.assertEqual(self.names(vm, "/objects"), {"type": "string", "o0": "child<rng-random>"})
            self.assertIn("c0", self.names(vm, "/chardevs"))
            unattached = self.names(vm, "/machine/unattached")
            self.assertIn("child<ICH9-LPC>", unattached.values())
            self.assertEqual(unattached["device[0]"], "child<default-x86_64-cpu>")
            for top in ("machine", "objects", "chardevs"):
                self.assertIn(top, self.names(vm, "/"))
            # the end of a path is enough where there is one such end
            for path in ("rng0", "peripheral/rng0", "/machine/peripheral/rng0/", "//machine/peripheral//rng0"):
                self.assertEqual(vm.cmd("qom-get", path=path, property="type"), "virtio-rng-pci")
            self.assertIn("ambiguous", vm.error("qom-list", path="device[1]").desc)
            for path in ("/machine/peripheral/none", "none", "/machine/peripheral/rng0/no", "", "/machine/x/rng0"):
                if path:
                    self.assertEqual(vm.error("qom-list", path=path).cls, "DeviceNotFound")

    def test_values(self):
        with Machine(*DEVICES) as vm:
            def get(path, name):
                return vm.cmd("qom-get", path=path, property=name)

            self.assertIs(get("rng0", "queue_reset"), False)
            self.assertIs(get("rng0", "event_idx"), True)
            self.assertIs(get("rng0", "realized"), True)
            self.assertEqual(get("rp1", "chassis"), 1)
            self.assertEqual(get("rp1", "addr"), "01.0")
            self.assertIs(get("rp1", "multifunction"), True)
            self.assertEqual(get("port0", "name"), "org.test.0")
            self.assertIn("not found", vm.error("qom-get", path="rng0", property="colour").desc)
            lists = vm.cmd("qom-list-get", paths=["rng0", "/machine/peripheral/rp1"])
            values = [{p["name"]: p.get("value") for p in entry["properties"]} for entry in lists]
            self.assertEqual((values[0]["type"], values[1]["chassis"]), ("virtio-rng-pci", 1))
            self.assertEqual(vm.error("qom-list-get", paths=["rng0", "no"]).cls, "DeviceNotFound")
            listed = self.names(vm, "rng0")
            for name, value in values[0].items():
                if not listed[name].startswith("child<"):
                    self.assertEqual(get("rng0", name), value)

    def test_set(self):
        with Machine(*DEVICES) as vm:
            self.assertIn("running machine", vm.error("qom-set", path="rng0", property="event_idx", value=False).desc)
            self.assertIn("not found", vm.error("qom-set", path="rng0", property="colour", value=1).desc)
            self.assertEqual(vm.error("qom-set", path="no", property="x", value=1).cls, "DeviceNotFound")


if __name__ == "__main__":
    main()

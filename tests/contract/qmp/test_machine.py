# SPDX-License-Identifier: Apache-2.0
"""What the machine is, by query commands: boards, CPUs and models, memory, options."""
import os
import unittest

from common import Machine, main


class Cpus(unittest.TestCase):
    def test_threads_and_topology(self):
        with Machine("-smp", "8,sockets=2,cores=2,threads=2") as vm:
            cpus = vm.cmd("query-cpus-fast")
            self.assertEqual([c["cpu-index"] for c in cpus], list(range(8)))
            self.assertEqual([tuple(c["props"][k] for k in ("socket-id", "core-id", "thread-id")) for c in cpus],
                             [(s, c, t) for s in range(2) for c in range(2) for t in range(2)])
            tids = {c["thread-id"] for c in cpus}
            tasks = {int(t) for t in os.listdir(f"/proc/{vm.proc.pid}/task")}
            self.assertEqual(len(tids), 8)
            self.assertNotIn(vm.proc.pid, tids)
            self.assertLessEqual(tids, tasks)
            for cpu in cpus:
                self.assertEqual(vm.cmd("qom-get", path=cpu["qom-path"], property="core-id"), cpu["props"]["core-id"])
            self.assertEqual({p["qom-path"] for p in vm.cmd("query-hotpluggable-cpus")},
                             {c["qom-path"] for c in cpus})

    def test_dies(self):
        with Machine("-smp", "4,sockets=1,dies=2,cores=2,threads=1") as vm:
            self.assertEqual([c["props"]["die-id"] for c in vm.cmd("query-cpus-fast")], [0, 0, 1, 1])

    def test_model_of_the_machine(self):
        with Machine("-cpu", "x86-64-v2,-popcnt") as vm:
            path = vm.cmd("query-cpus-fast")[0]["qom-path"]
            self.assertEqual(vm.cmd("qom-get", path=path, property="type"), "x86-64-v2-x86_64-cpu")
            self.assertIs(vm.cmd("qom-get", path=path, property="sse4.1"), True)
            self.assertIs(vm.cmd("qom-get", path=path, property="popcnt"), False)
            self.assertIs(vm.cmd("qom-get", path=path, property="avx2"), False)
            self.assertEqual(vm.cmd("qom-get", path=path, property="unavailable-features"), [])

    def test_expansion(self):
        with Machine("-cpu", "qemu64") as vm:
            names = {d["name"] for d in vm.cmd("query-cpu-definitions")}
            self.assertLessEqual({"max", "host", "base", "qemu64", "x86-64-v2"}, names)

            def expand(kind, name, **props):
                return vm.cmd("query-cpu-model-expansion", {"type": kind, "model": {"name": name, "props": props}})["model"]

            static = expand("static", "x86-64-v2")
            self.assertEqual(static["name"], "base")
            self.assertTrue(static["props"]["sse4.2"] and not static["props"]["avx"])
            # what it says is a model: expanded again it says the same
            self.assertEqual(expand("static", static["name"], **static["props"]), static)
            full = expand("full", "x86-64-v2", **{"sse4.2": False, "migratable": False})
            self.assertEqual(full["name"], "x86-64-v2")
            self.assertFalse(full["props"]["sse4.2"])
            for bad in ({"name": "no-such-model"}, {"name": "max", "props": {"no-such-feature": True}},
                        {"name": "max,avx=off"}, {"name": "max", "props": {"avx": [1]}},
                        {"name": "max", "props": {"a=b,c": True}}):
                self.assertEqual(vm.error("query-cpu-model-expansion", {"type": "full", "model": bad}).cls,
                                 "GenericError")

    def test_definition_fits_expansion(self):
        with Machine() as vm:
            types = {t["name"] for t in vm.cmd("qom-list-types", {"implements": "cpu"})}
            for d in vm.cmd("query-cpu-definitions"):
                self.assertIn(d["typename"], types)
                if not d["unavailable-features"] and d["name"] != "base":
                    vm.cmd("query-cpu-model-expansion", {"type": "full", "model": {"name": d["name"]}})


class Machines(unittest.TestCase):
    def test_list(self):
        with Machine() as vm:
            machines = {m["name"]: m for m in vm.cmd("query-machines")}
            q35 = next(m for m in machines.values() if m.get("alias") == "q35")
            self.assertTrue(q35["is-default"] and q35["name"].startswith("pc-q35-"))
            self.assertEqual(q35["default-ram-id"], "pc.ram")
            self.assertEqual(sum(m.get("is-default", False) for m in machines.values()), 1)
            self.assertIn("none", machines)
            types = {t["name"] for t in vm.cmd("qom-list-types", {"implements": "machine"})}
            self.assertEqual(types, {f"{name}-machine" for name in machines})
            self.assertEqual(vm.cmd("qom-get", path="/machine", property="type"), f"{q35['name']}-machine")

    def test_memory(self):
        with Machine("-m", "96") as vm:
            self.assertEqual(vm.cmd("query-memory-size-summary"), {"base-memory": 96 << 20, "plugged-memory": 0})
            dev, = vm.cmd("query-memdev")
            self.assertEqual((dev["id"], dev["size"], dev["prealloc"]), ("pc.ram", 96 << 20, False))
            self.assertEqual(vm.cmd("query-current-machine"), {"wakeup-suspend-support": False})
        with Machine("-m", "96", "-object", "memory-backend-ram,id=m0,size=96M,merge=on",
                     "-machine", "memory-backend=m0") as vm:
            dev, = vm.cmd("query-memdev")
            self.assertEqual((dev["id"], dev["size"], dev["merge"], dev["share"]), ("m0", 96 << 20, True, False))

    def test_options(self):
        with Machine() as vm:
            groups = {g["option"]: {p["name"] for p in g["parameters"]} for g in vm.cmd("query-command-line-options")}
            self.assertIn("accel", groups["machine"])
            one, = vm.cmd("query-command-line-options", option="mon")
            self.assertEqual({p["name"] for p in one["parameters"]}, groups["mon"])
            self.assertEqual((groups["device"], groups["global"]), (set(), {"driver", "property", "value"}))
            self.assertIn("no-such", vm.error("query-command-line-options", option="no-such").desc)

    def test_nothing_to_tell(self):
        with Machine() as vm:
            for name in ("query-iothreads", "query-tpm-models", "query-tpm-types", "query-jobs", "query-block-jobs",
                         "query-block", "query-blockstats", "query-named-block-nodes"):
                self.assertEqual(vm.cmd(name), [])


if __name__ == "__main__":
    main()

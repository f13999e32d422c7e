# SPDX-License-Identifier: Apache-2.0
"""What a guest costs: exits with their causes, and the engine's statistics."""
import os
import re
import struct
import unittest

from common import ACCEL, Machine, main


class Exits(unittest.TestCase):
    def test_a_guest_that_polls(self):
        with Machine() as vm:
            vm.running()
            before = vm.cmd("x-exits")
            vm.serial.tell("x" * 50)
            vm.serial.expect("x" * 50)
            after = vm.cmd("x-exits")
            self.assertGreater(after["elapsed"], before["elapsed"])
            reasons = {r["reason"]: r for r in after["reasons"]}
            # It looks at COM1 and at the power button again and again, and writes what it echoes.
            self.assertGreaterEqual(reasons["port-read"]["count"], 50)
            self.assertGreaterEqual(reasons["port-write"]["count"], 50)
            self.assertGreater(reasons["port-read"]["load"], 0)
            loads = [r["load"] for r in after["reasons"]]
            self.assertEqual(loads, sorted(loads, reverse=True))
            com1 = [s for s in after["sources"] if s["reason"] == "port-write" and s["first"] == 0x3f8]
            self.assertEqual(len(com1), 1)
            self.assertEqual(com1[0]["last"], 0x3ff)
            self.assertTrue(com1[0]["device"])
            # The guest's code lies from 1000000h.
            code = [s for s in after["code"] if s["reason"] == "port-read" and s["count"] >= 50]
            self.assertTrue(code)
            self.assertTrue(all(0x1000000 <= s["rip"] < 0x1001000 for s in code))
            self.assertIn("port-read", vm.hmp("info exits"))
            self.assertIn("0x3f8-0x3ff", vm.hmp("info exits"))

    def test_before_it_ran(self):
        with Machine() as vm:
            self.assertEqual(vm.cmd("x-exits")["reasons"], [])
            self.assertIn("by guest code", vm.hmp("info exits"))


class Translator(unittest.TestCase):
    def number(self, text, label):
        return int(re.search(rf"^{label} +(\d+)", text, re.M).group(1))

    @unittest.skipIf(ACCEL == "kvm", "of the soft engine")
    def test_what_it_did(self):
        with Machine("-smp", "2") as vm:
            self.assertEqual(self.number(vm.cmd("x-query-jit")["human-readable-text"], "TB count"), 0)
            vm.running()
            for _ in range(20):
                vm.serial.tell("x" * 50)
                vm.serial.expect("x" * 50)
            text = vm.hmp("info jit").replace("\r", "")
            # The guest's loop is translated, goes in circles there, and its IN is the interpreter's.
            self.assertGreater(self.number(text, "TB count"), 2)
            self.assertGreater(self.number(text, "gen code size"), 1000)
            self.assertGreater(self.number(text, "direct jump count"), 1)
            self.assertGreater(self.number(text, "left host code"), 1000)
            self.assertGreater(self.number(text, "  in"), 1000)
            self.assertGreater(self.number(text, "TLB fills"), 1)
            shares = [float(re.search(rf"^{s} +([0-9.]+)%", text, re.M).group(1))
                      for s in ("translated code", "translating", "interpreter, rest")]
            self.assertAlmostEqual(sum(shares), 100, delta=0.2)
            self.assertGreater(shares[0], 1)
            self.assertIn("(mode ", text)
            before = self.number(text, "TLB flushes")
            vm.cmd("system_reset")
            vm.serial.expect("ready\n")
            text = vm.hmp("info jit").replace("\r", "")
            self.assertGreater(self.number(text, "TLB flushes"), before)
            self.assertRegex(text, r"TLB flushes.*state \d")

    def map_lines(self, path):
        """{(address, size): name} of a file for perf; every line is one."""
        with open(path, encoding="ascii") as f:
            words = [line.split(" ") for line in f]
        self.assertTrue(all(len(w) == 3 and w[2].endswith("\n") for w in words))
        return {(int(w[0], 16), int(w[1], 16)): w[2][:-1] for w in words}

    def dump_records(self, path, pid):
        """The same of a jitdump file, with the code of each; and the ids of its records."""
        with open(path, "rb") as f:
            data = f.read()
        magic, version, at, machine, _, whose, _, flags = struct.unpack_from("<6I2Q", data)
        self.assertEqual((magic, version, machine, whose, flags), (0x4a695444, 1, 62, pid, 0))
        names, code, ids, then = {}, {}, [], 0
        while at < len(data):
            record, size, when = struct.unpack_from("<2IQ", data, at)
            self.assertGreaterEqual(when, then)
            then = when
            ids.append(record)
            if record == 0:
                owner, _, vma, address, length, _ = struct.unpack_from("<2I4Q", data, at + 16)
                self.assertEqual((owner, vma), (pid, address))
                end = data.index(b"\0", at + 56)
                names[address, length] = data[at + 56:end].decode()
                code[address] = data[end + 1:end + 1 + length]
                self.assertEqual(end + 1 + length, at + size)
            at += size
        self.assertEqual(at, len(data))
        return names, code, ids

    @unittest.skipIf(ACCEL == "kvm", "of the soft engine")
    def test_names_for_perf(self):
        with Machine("-perfmap", "-jitdump") as vm:
            pid = vm.proc.pid
            perf_map = f"/tmp/perf-{pid}.map"
            dump = os.path.join(vm.dir, f"jit-{pid}.dump")
            self.addCleanup(os.unlink, perf_map)
            vm.running()
            vm.serial.tell("x" * 500)
            vm.serial.expect("x" * 500)
            vm.cmd("stop")
            lines = self.map_lines(perf_map)
            names, code, ids = self.dump_records(dump, pid)
            self.assertEqual(names, lines)
            self.assertEqual(set(ids), {0})
            # Its code lies from 1000000h; host code is where the process has memory to run.
            self.assertRegex(" ".join(names.values()), r"guest-0000000001000[0-9a-f]{3}( |$)")
            self.assertIn("hanok-jit-lookup", names.values())
            with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
                runs = [[int(a, 16) for a in m.split()[0].split("-")] for m in f if " r-xs " in m]
            for address, size in names:
                self.assertTrue(any(a <= address and address + size <= b for a, b in runs))
                self.assertEqual(len(code[address]), size)
            vm.cmd("quit")
            vm.wait()
            self.assertEqual(self.dump_records(dump, pid)[2][-1], 3)

    @unittest.skipIf(ACCEL != "kvm", "of an engine without one")
    def test_none(self):
        with Machine("-perfmap") as vm:
            self.addCleanup(lambda path: os.path.exists(path) and os.unlink(path), f"/tmp/perf-{vm.proc.pid}.map")
            self.assertIn("-perfmap", vm.stderr())
            self.assertIn("accel=tcg", vm.error("x-query-jit").desc)
            self.assertIn("accel=tcg", vm.hmp("info jit"))


class Statistics(unittest.TestCase):
    @unittest.skipIf(ACCEL == "kvm", "of an engine without any")
    def test_none(self):
        with Machine() as vm:
            self.assertEqual(vm.cmd("query-stats-schemas"), [])
            for target in ("vm", "vcpu"):
                self.assertEqual(vm.cmd("query-stats", target=target), [])
            self.assertEqual(vm.cmd("query-stats", target="vcpu",
                                    providers=[{"provider": "kvm", "names": ["halt_poll_success_ns"]}]), [])
            self.assertIn("target", vm.error("query-stats").desc)
            self.assertIn("provider", vm.error("query-stats", target="vm",
                                               providers=[{"provider": "nobody"}]).desc)

    @unittest.skipIf(ACCEL != "kvm", "of KVM")
    def test_of_kvm(self):
        with Machine("-smp", "2") as vm:
            vm.running()
            schemas = {s["target"]: {v["name"]: v for v in s["stats"]} for s in vm.cmd("query-stats-schemas")}
            self.assertEqual(schemas["vcpu"]["exits"]["type"], "cumulative")
            vcpus = vm.cmd("query-stats", target="vcpu")
            self.assertEqual(len(vcpus), 2)
            names = {s["name"] for s in vcpus[0]["stats"]}
            self.assertEqual(names, set(schemas["vcpu"]))
            one = vm.cmd("query-stats", target="vcpu", vcpus=[vcpus[1]["qom-path"]],
                         providers=[{"provider": "kvm", "names": ["exits"]}])
            self.assertEqual([(r["qom-path"], [s["name"] for s in r["stats"]]) for r in one],
                             [(vcpus[1]["qom-path"], ["exits"])])
            self.assertTrue(vm.cmd("query-stats", target="vm"))
            self.assertIn("exits", vm.hmp("info kvm"))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Trace points of a running machine: switched by option, file, QMP and HMP; what their lines say."""
import collections
import os
import re
import subprocess
import tempfile
import unittest

from common import ACCEL, Machine, main


class Options(unittest.TestCase):
    def test_lines(self):
        """Of a running machine, in its sandbox; an events file has comments and takes back."""
        with tempfile.TemporaryDirectory() as folder:
            events, out = os.path.join(folder, "events"), os.path.join(folder, "out")
            with open(events, "w", encoding="utf-8") as f:
                f.write("# what is wanted\n\nvm_state*\nvirtio_*\n-virtio_*\nno_such_event\n")
            with Machine("-trace", f"events={events},file={out}", run=True) as vm:
                vm.cmd("stop")
                vm.cmd("cont")
                vm.serial.tell("x")
                self.assertEqual(vm.cmd("query-status")["running"], True)
                self.assertIn("trace event 'no_such_event' does not exist", vm.stderr())
            with open(out, encoding="utf-8") as f:
                said = f.read().splitlines()
        self.assertEqual(said[0:3], ["vm_state_notify running 1 reason running",
                                     "vm_state_notify running 0 reason paused",
                                     "vm_state_notify running 1 reason running"])


    def test_files(self):
        """Without file= the lines go where the log goes; with it, only they go there."""
        with tempfile.TemporaryDirectory() as folder:
            log, out = os.path.join(folder, "log"), os.path.join(folder, "out")
            for more, where in ((["-D", log], log), (["-trace", f"file={out}"], out),
                                (["-D", log, "-trace", f"runstate_set,file={out}"], out)):
                with Machine("-trace", "runstate_set", "-trace", "no_such_event", *more) as vm:
                    vm.cmd("cont")
                    vm.cmd("stop")
                    err = vm.stderr()
                said = {"err": err}
                for path in (log, out):
                    with open(path, "a+", encoding="utf-8") as f:
                        f.seek(0)
                        said[path] = f.read()
                    os.unlink(path)
                warned = log if "-D" in more else "err"
                for name, text in said.items():
                    self.assertEqual("runstate_set current_run_state prelaunch new_state running\n" in text,
                                     name == where, (more, name))
                    self.assertEqual("'no_such_event' does not exist" in text, name == warned, (more, name))

    def test_help(self):
        lists = [subprocess.run([os.environ["HANOK"], "qemu", *line], capture_output=True, text=True,
                                check=True).stdout.split() for line in
                 (["-trace", "help"], ["-trace", "?"], ["-d", "trace:help"], ["-d", "info,trace:help"])]
        self.assertIn("vm_state_notify", lists[0])
        for names in lists[1:]:
            self.assertEqual(names, lists[0])
        text = subprocess.run([os.environ["HANOK"], "qemu", "-d", "help"], capture_output=True, text=True,
                              check=True).stdout
        self.assertIn("trace:help", text)
        bad = subprocess.run([os.environ["HANOK"], "qemu", "-machine", "none", "-trace", "file=/no/such/file"],
                             capture_output=True, text=True, check=False)
        self.assertIn("-trace file=/no/such/file: ", bad.stderr)
        self.assertEqual(bad.returncode, 1)


class Switches(unittest.TestCase):
    def get(self, vm, name):
        return vm.cmd("trace-event-get-state", {"name": name})

    def set(self, vm, name, **more):
        return vm.cmd("trace-event-set-state", {"name": name, **more})

    def on(self, vm, pattern="*"):
        return sorted(e["name"] for e in self.get(vm, pattern)
                      if e["state"] == "enabled")

    def test_qmp(self):
        with Machine() as vm:
            names = [e["name"] for e in self.get(vm, "*")]
            self.assertEqual(len(names), len(set(names)))
            self.assertIn("vm_state_notify", names)
            self.assertEqual(self.on(vm), [])
            self.assertEqual(self.set(vm, "vm_state_notify", enable=True), {})
            self.assertEqual(self.get(vm, "vm_state_notify"),
                             [{"name": "vm_state_notify", "state": "enabled"}])
            self.set(vm, "virtio_?otify", enable=True, **{"ignore-unavailable": False})
            self.assertEqual(self.on(vm), ["virtio_notify", "vm_state_notify"])
            self.set(vm, "v*_notify", enable=False, **{"ignore-unavailable": True})
            self.assertEqual(self.on(vm), [])

    def test_patterns(self):
        """Only * and ? stand for something; a pattern that matches nothing is no error, a name is."""
        with Machine() as vm:
            for pattern in ("no_such*", "?", "[v]*", "vm_state_notif[xy]*", "\\vm*"):
                self.assertEqual(self.get(vm, pattern), [], pattern)
                self.set(vm, pattern, enable=True)
            self.assertEqual(self.on(vm), [])
            for command in ("get", "set"):
                more = {"enable": True} if command == "set" else {}
                e = vm.error(f"trace-event-{command}-state", {"name": "vm_state_notfy", **more})
                self.assertEqual((e.cls, e.desc), ("GenericError", 'unknown event "vm_state_notfy" '
                                                   '(did you mean "vm_state_notify"?)'))
            for name in ("", "[v]m_state_notify", "vm_state_notify\n", "\ud83d\ude00", "v" * 5000):
                self.assertIn("unknown event", vm.error("trace-event-get-state", {"name": name}).desc)
            self.assertIn("enable", vm.error("trace-event-set-state", {"name": "*"}).desc)
            self.assertIn("vcpu", vm.error("trace-event-get-state", {"name": "*", "vcpu": 0}).desc)

    def test_hmp(self):
        with Machine() as vm:
            self.assertEqual(vm.hmp("info trace-events vm_state_notif?"), "vm_state_notify : state 0\n")
            self.assertEqual(vm.hmp("trace-event vm_* on"), "")
            self.assertEqual(vm.hmp("info trace-events vm_state_notify"), "vm_state_notify : state 1\n")
            self.assertIn("virtio_notify : state 0\n", vm.hmp("info trace-events"))
            self.assertEqual(vm.hmp("trace-event * off"), "")
            self.assertEqual(self.on(vm), [])
            self.assertEqual(vm.hmp("log trace:vm_state_notify"), "")
            self.assertEqual(self.on(vm), ["vm_state_notify"])
            self.assertEqual(vm.hmp("log trace:-vm*"), "")
            self.assertEqual(self.on(vm), [])
            for line in ("trace-event no_such on", "info trace-events no_such", "log trace:no_such"):
                self.assertIn('Error: unknown event "no_such"', vm.hmp(line))
            self.assertIn("'on' or 'off'", vm.hmp("trace-event * maybe"))
            self.assertIn("argument 'state' is missing", vm.hmp("trace-event *"))

    def test_while_it_runs(self):
        """Lines come from when an event is switched on, and no longer than that."""
        with Machine() as vm:
            vm.running()
            vm.cmd("stop")
            vm.hmp("trace-event vm_state_notify on")
            vm.cmd("cont")
            vm.hmp("trace-event vm_state_notify off")
            vm.cmd("stop")
            said = [line for line in vm.stderr().splitlines() if line.startswith("vm_state_notify")]
            self.assertEqual(said, ["vm_state_notify running 1 reason running"])

    def test_what_is_said(self):
        """A byte from the serial port's other side to the guest and back."""
        with Machine("-trace", "serial_*", "-trace", "c*", "-msg", "timestamp=on") as vm:
            vm.running()
            vm.hmp("trace-event cpu_in off")
            vm.hmp("trace-event serial_read off")
            vm.hmp("stop")  # a line that was on its way is there now
            vm.hmp("cont")
            mark = len(vm.stderr())
            vm.serial.tell("x")
            vm.serial.expect("x")
            said = [line.split(":", 1) for line in vm.stderr()[mark:].splitlines()]
        for head, _ in said:
            self.assertRegex(head, r"^[0-9]+@[0-9]+\.[0-9]{6}$")
        texts = [text for _, text in said]
        self.assertEqual([t for t in texts if "cpu" in t or t.startswith("serial")],
                         ["cpu_out addr 0x3f8(b) value 120", "serial_write write addr 0x00 val 0x78"])
        read = next(t for t in texts if t.startswith("chr_read"))
        self.assertRegex(read, "^chr_read chardev [a-z0-9]+ len 1$")
        self.assertIn(read.replace("read", "write") + " taken 1", texts)
        cpu = {head.split("@")[0] for head, text in said if text.startswith("cpu_out")}
        self.assertEqual(len(cpu), 1)
        self.assertNotIn(next(head.split("@")[0] for head, text in said if text.startswith("chr_read")), cpu)


@unittest.skipIf(ACCEL == "kvm", "of the soft engine")
class Engine(unittest.TestCase):
    """-d int, in_asm, out_asm, exec, cpu: the guest's loop begins with INC of 1100000h, at LOOP."""

    def log(self, vm):
        with open(os.path.join(vm.dir, "log"), encoding="utf-8") as f:
            return f.read()

    def blocks(self, text):
        """How often each block ran, by its address."""
        return collections.Counter(re.findall(r"^Trace 0: \S+ \[00000000/([0-9a-f]{16})/[0-9a-f]{8}/", text, re.M))

    def test_code(self):
        with Machine("-D", "log", "-d", "in_asm,out_asm") as vm:
            vm.running()
            vm.serial.tell("x" * 20)
            vm.serial.expect("x" * 20)
            vm.cmd("stop")
            text = self.log(vm)
        self.assertEqual(len(re.findall(r"^IN: $", text, re.M)), len(re.findall(r"^-{16}$", text, re.M)))
        # INC qword, 1100000h: by the decoder's name, or in AT&T's form
        line = re.search(r"^0x0000000001000[0-9a-f]{3}:  48 ff 04 25 00 00 10 01 *(\S.*)$", text, re.M)
        self.assertRegex(line.group(1), "^inc")
        sizes = [int(n) for n in re.findall(r"^OUT: \[size=(\d+)\]$", text, re.M)]
        self.assertGreater(len(sizes), 2)
        if "OBJD-H: " in text:
            host = ["".join(re.findall(r"^OBJD-H: ([0-9a-f]+)$", part, re.M)) for part in text.split("OUT: ")[1:]]
            self.assertEqual([len(h) // 2 for h in host], sizes)

    def test_blocks(self):
        with Machine("-D", "log", "-d", "exec,cpu") as vm:
            vm.running()
            vm.serial.tell("x" * 20)
            vm.serial.expect("x" * 20)
            vm.hmp("log none")
            vm.serial.tell("y")
            vm.serial.expect("y")
            text = self.log(vm)
            # The loop is a block or two that come again and again, one line each time, also translated.
            often = [at for at, n in self.blocks(text).items() if n >= 20]
            self.assertTrue(often)
            self.assertTrue(all(0x1000000 <= int(at, 16) < 0x1001000 for at in often))
            self.assertRegex(text, r"Trace 0: 0x[0-9a-f]+ \[")
            self.assertGreater(len(re.findall(r"^RIP=[0-9a-f]{16} RFL=", text, re.M)), 100)
            self.assertEqual(self.log(vm), text)
            vm.serial.tell("z" * 200)
            vm.serial.expect("z" * 200)
            self.assertEqual(self.log(vm), text)
            self.assertRegex(vm.hmp("info jit"), r"TB flush count.*log \d")
            vm.hmp("log exec")
            vm.serial.tell("z")
            vm.serial.expect("z")
            vm.hmp("log none")
            more = self.log(vm)[len(text):]
            self.assertTrue(self.blocks(more))
            self.assertNotIn("RIP=", more)

    def test_no_chains(self):
        with Machine("-d", "nochain") as vm:
            vm.running()
            vm.serial.tell("x" * 20)
            vm.serial.expect("x" * 20)
            self.assertIn("(chained: 0, 0%)", vm.hmp("info jit"))
            vm.hmp("log none")
            vm.serial.tell("x" * 20)
            vm.serial.expect("x" * 20)
            self.assertNotIn("(chained: 0,", vm.hmp("info jit"))

    def test_events(self):
        with Machine("-D", "log", "-no-reboot", "-no-shutdown", "-d", "int") as vm:
            vm.running()
            vm.cmd("inject-nmi")
            vm.serial.expect("N")
            self.assertRegex(self.log(vm), r"(?m)^     0: v=02 e=0000 i=0 cpl=0 IP=[0-9a-f]{4}:0000000001000[0-9a-f]{3} "
                                           r"pc=0000000001000[0-9a-f]{3} SP=.*\nRAX=[0-9a-f]{16} RBX=")
            # No handler: #GP or #NP, then a double fault, then shutdown.
            vm.serial.tell("t")
            vm.event("SHUTDOWN")
            self.assertRegex(self.log(vm), r"(?m)^ +\d+: v=08 e=0000 i=0 cpl=0 ")


if __name__ == "__main__":
    main()

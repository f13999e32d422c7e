# SPDX-License-Identifier: Apache-2.0
"""Every trace event is emitted where somebody looks for it: by the tests of devices, in which all are
on (tests/lib/trace_to.c), or by a machine. Each line is of its event's form.

usage: test_trace_points.py TRACE.def PROGRAM...

Those of KVM need one: tools/kvm/check.py looks for them there."""
import collections
import os
import re
import subprocess
import sys
import tempfile
import threading
import unittest

from common import Machine
from qmp import TIMEOUT

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../tools"))
import trace_doc  # pylint: disable=wrong-import-position

DEF, *PROGRAMS = sys.argv[1:]
ENOUGH = 1000  # lines of an event that are looked at


class Lines:
    """How often there was each event; lines of a wrong form."""

    def __init__(self):
        self.forms = {e.name: re.compile(f"{e.name} {e.pattern()}\n?") for e in trace_doc.read(DEF)}
        self.seen = collections.Counter()
        self.wrong = []

    def take(self, lines):
        for line in lines:
            name = line.split(" ", 1)[0]
            if name not in self.forms:
                continue  # a message of the log
            self.seen[name] += 1
            if self.seen[name] <= ENOUGH and not self.forms[name].fullmatch(line):
                self.wrong.append(line)

    def run(self, program):
        """A test program, with everything on."""
        out, into = os.pipe()
        with open(out, encoding="utf-8", errors="replace") as f:
            reader = threading.Thread(target=self.take, args=(f,))
            reader.start()
            try:
                done = subprocess.run([program], pass_fds=[into], capture_output=True, text=True, check=False,
                                      env={**os.environ, "TRACE_TO": f"/proc/self/fd/{into}"}, timeout=TIMEOUT)
            finally:
                os.close(into)
                reader.join()
        return done


class Points(unittest.TestCase):
    def machines(self, folder):
        """What no test of a device comes by; without what the guest does all the time."""
        trace = [word for pattern in ("*", "-cpu_*", "-memory_region_*", "-serial_read") for word in ("-trace", pattern)]
        with Machine(*trace, "-trace", f"file={folder}/first", "-device", "ib700", "-action",
                     "watchdog=none") as vm:
            vm.running()
            vm.hmp("info status")
            for _ in range(2):  # the second has to wait: one comes in a second
                vm.serial.tell("w")
                vm.event("WATCHDOG")
            vm.cmd("system_powerdown")
            vm.serial.expect("B")
        with Machine(*trace, "-trace", f"file={folder}/second", "-incoming", "defer") as vm:
            with open(f"{folder}/bad", "wb") as f:
                f.write(b"no machine at all" * 100)
            vm.cmd("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
            vm.cmd("migrate-incoming", uri=f"file:{folder}/bad", exit_on_error=False)
            while vm.event("MIGRATION")["data"]["status"] != "failed":
                pass

    def test_all(self):
        lines = Lines()
        for program in PROGRAMS:
            with self.subTest(program):
                done = lines.run(program)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with tempfile.TemporaryDirectory() as folder:
            self.machines(folder)
            for name in ("first", "second"):
                with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as f:
                    lines.take(f)
        self.assertEqual(lines.wrong, [])
        missing = [name for name in lines.forms if not lines.seen[name] and not name.startswith("kvm_")]
        self.assertEqual(missing, [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hanok save and hanok restore, as people use them.

    tests/contract/migrate/test_people.py HANOK
"""
import os
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
from qmp import Hanok, Qmp  # noqa: E402
from tiny_kernel import kernel  # noqa: E402


class People(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory(prefix="hanok-save.")
        self.dir = self.tmp.name
        kernel(os.path.join(self.dir, "kernel"))
        with open(os.path.join(self.dir, "disk.img"), "wb") as f:
            f.truncate(1 << 20)
        self.env = dict(os.environ, XDG_RUNTIME_DIR=self.dir)
        self.procs = []

    def tearDown(self):
        for p in self.procs:
            p.kill()
            p.communicate()
        self.tmp.cleanup()

    def start(self, *words, **kw):
        p = subprocess.Popen([os.environ["HANOK"], *words], env=self.env, cwd=kw.get("cwd", self.dir),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        self.procs.append(p)
        return p

    def do(self, *words, code=0, **kw):
        p = self.start(*words, **kw)
        text = p.communicate(timeout=60)[0].decode()
        self.assertEqual(p.returncode, code, text)
        return text

    def wait_running(self, p, name="one"):
        """Until the machine of that name answers and runs; its monitor."""
        path = os.path.join(self.dir, "hanok", f"{name}.sock")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if p.poll() is not None:
                self.fail(p.communicate()[0].decode())
            try:
                q = Qmp(path)
            except OSError:
                time.sleep(0.02)
                continue
            if q.cmd("query-status")["status"] == "running":
                return q
            q.close()
            time.sleep(0.02)
        self.fail("it does not run")

    def run_one(self):
        # Relative paths: the file remembers where the machine was started.
        return self.start("run", "--accel", "soft", "--kernel", "kernel", "--disk", "disk.img",
                          "--memory", "64M", "--name", "one")

    def test_save_and_restore_by_name(self):
        p = self.run_one()
        self.wait_running(p).close()
        self.do("save", "one", "saved")
        self.assertEqual(p.wait(60), 0)
        self.assertEqual(os.stat(os.path.join(self.dir, "saved")).st_mode & 0o777, 0o600)
        for _ in range(3):
            p = self.start("restore", os.path.join(self.dir, "saved"), cwd="/")
            q = self.wait_running(p)
            self.assertEqual(q.cmd("query-name")["name"], "one")
            q.close()
            self.do("save", "one", os.path.join(self.dir, "saved"), cwd="/")
            self.assertEqual(p.wait(60), 0)

    def test_any_machine_by_its_socket(self):
        with Hanok(["-accel", "tcg", "-m", "64", "-nodefaults", "-kernel",
                    os.path.join(self.dir, "kernel")]) as vm:
            self.assertIn("another client", self.do("save", "--qmp", vm.socket_path, "saved", code=1))
            vm.close()  # it serves one client at a time
            self.do("save", "--qmp", vm.socket_path, "saved")
            self.assertEqual(vm.wait(), 0)
        with open(os.path.join(self.dir, "saved"), "rb") as f:
            self.assertIn(b"-nodefaults", f.read(4096))

    def test_no_secret_is_saved(self):
        for words in ("secret,id=s,data=hunter-22", '{"qom-type":"secret","id":"s","data":"hunter-22"}'):
            with Hanok(["-accel", "tcg", "-m", "64", "-nodefaults", "-object", words, "-kernel",
                        os.path.join(self.dir, "kernel")]) as vm:
                vm.close()
                self.do("save", "--qmp", vm.socket_path, "saved")
            with open(os.path.join(self.dir, "saved"), "rb") as f:
                self.assertNotIn(b"hunter-22", f.read())
            self.assertIn("-incoming", self.do("restore", "saved", code=1))

    def test_refusals(self):
        self.assertIn("no machine", self.do("save", "nobody", "saved", code=1))
        self.assertIn("usage", self.do("save", code=1))
        self.assertIn("usage", self.do("restore", code=1))
        self.assertIn("usage", self.do("save", "--help"))
        self.assertIn("usage", self.do("restore", "--help"))
        self.assertIn("no machine that hanok saved", self.do("restore", "disk.img", code=1))
        p = self.run_one()
        self.wait_running(p).close()
        self.assertIn("answers at", self.do("run", "--accel", "soft", "--kernel", "kernel", "--name",
                                            "one", code=1))
        self.assertIn("/nonexistent/x", self.do("save", "one", "/nonexistent/x", code=1))
        self.wait_running(p).close()  # and runs on
        self.do("save", "one", "saved")
        self.assertEqual(p.wait(60), 0)
        os.unlink(os.path.join(self.dir, "disk.img"))
        self.assertIn("disk.img", self.do("restore", "saved", code=1))


if __name__ == "__main__":
    os.environ["HANOK"] = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)

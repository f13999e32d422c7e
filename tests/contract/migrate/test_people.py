#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hanok save and hanok restore, as people use them.

    tests/contract/migrate/test_people.py HANOK
"""
import os
import resource
import select
import signal
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
                self.addCleanup(q.close)
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

    def slow(self):
        """A machine that takes long to save, and its monitor."""
        p = self.run_one()
        q = self.wait_running(p)
        q.cmd("migrate-set-parameters", max_bandwidth=50000)
        return p, q

    def test_killed_in_the_middle(self):
        p, q = self.slow()
        saved = os.path.join(self.dir, "saved")
        q.cmd("migrate", uri=f"file:{saved}")
        while q.cmd("query-migrate").get("ram", {}).get("transferred", 0) < 30000:
            time.sleep(0.01)
        p.kill()
        p.wait()
        q.close()
        self.assertRegex(self.do("restore", "saved", code=1), "ends at byte .* not written to its end")

    def test_given_up(self):
        p, q = self.slow()
        q.close()
        saver = self.start("save", "one", "saved")
        while not os.path.exists(os.path.join(self.dir, "saved")):
            time.sleep(0.01)
        time.sleep(0.3)  # it looks at the machine by now
        saver.send_signal(signal.SIGINT)
        self.assertIn("runs on", saver.communicate(timeout=60)[0].decode())
        self.assertEqual(saver.returncode, 1)
        self.assertFalse(os.path.exists(os.path.join(self.dir, "saved")))
        self.wait_running(p).close()

    def test_no_room(self):
        p = self.run_one()
        self.wait_running(p).close()
        self.assertIn("No space left", self.do("save", "one", "/dev/full", code=1))
        resource.prlimit(p.pid, resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
        self.assertIn("File too large", self.do("save", "one", "saved", code=1))
        self.assertFalse(os.path.exists(os.path.join(self.dir, "saved")))
        self.wait_running(p).close()
        resource.prlimit(p.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        self.do("save", "one", "saved")

    def test_progress_is_shown_to_people(self):
        self.wait_running(self.run_one()).close()
        main, side = os.openpty()
        for words in (["save", "one", "saved"], ["restore", "saved"]):
            p = subprocess.Popen([os.environ["HANOK"], *words], env=self.env, cwd=self.dir,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=side)
            self.procs.append(p)
            text = ""
            while "%" not in text:
                self.assertTrue(select.select([main], [], [], 60)[0], text)
                text += os.read(main, 1000).decode()
            if words[0] == "save":
                self.assertEqual(p.wait(60), 0)
        os.close(side)
        os.close(main)

    def test_damage_in_each_part(self):
        self.wait_running(self.run_one()).close()
        self.do("save", "one", "saved")
        with open(os.path.join(self.dir, "saved"), "rb") as f:
            data = f.read()
        text = 16 + int.from_bytes(data[12:16], "little")
        ram = data.index(b"HKRM")
        places = {"magic": 3, "version": 8, "text": text // 2, "its checksum": text + 1,
                  "state's head": text + 12, "objects": text + 300, "padding": ram - 1,
                  "chunk's head": ram + 40, "page": ram + 5000, "last chunk": len(data) - 28 - 4000,
                  "end": len(data) - 10}
        for what, at in places.items():
            bad = bytearray(data)
            bad[at] ^= 0x10
            for name, content in (("flipped", bad), ("cut", data[:at])):
                with self.subTest(what, how=name):
                    with open(os.path.join(self.dir, name), "wb") as f:
                        f.write(content)
                    said = self.do("restore", name, code=1)
                    self.assertRegex(said, "error: .*(damaged|ends at byte|no machine that hanok|version)")
        self.wait_running(self.start("restore", "saved")).close()

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

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Saving and loading through the monitor, in the words and the order of libvirt's managed save.

    tests/contract/migrate/test_qmp.py HANOK
"""
import os
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
from qmp import Hanok  # noqa: E402
from tiny_kernel import RESETS, kernel  # noqa: E402

LIBVIRT_BANDWIDTH = 9223372036853727232


class Migrate(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory(prefix="hanok-migrate.")
        self.dir = self.tmp.name
        self.kernel = os.path.join(self.dir, "kernel")
        self.file = os.path.join(self.dir, "saved")
        kernel(self.kernel)

    def tearDown(self):
        self.tmp.cleanup()

    def machine(self, *more, **kw):
        return Hanok(["-accel", "tcg", "-m", "64", "-nodefaults", "-display", "none", "-kernel",
                      self.kernel, "-device", "virtio-rng-pci,id=rng0", *more], **kw)

    @staticmethod
    def events_on(vm):
        caps = vm.cmd("query-migrate-capabilities")
        vm.cmd("migrate-set-capabilities",
               capabilities=[{"capability": c["capability"], "state": c["capability"] == "events"}
                             for c in caps])

    @staticmethod
    def names(vm):
        return [e["event"] + "".join(":" + str(v) for v in e.get("data", {}).values())
                for e in vm.events]

    def save(self, vm):
        self.events_on(vm)
        vm.cmd("migrate", uri=f"file:{self.file}")
        while vm.event("MIGRATION")["data"]["status"] != "completed":
            pass

    def test_managed_save_and_restore(self):
        with self.machine() as vm:
            self.assertEqual(vm.cmd("query-migrate"), {})
            vm.cmd("stop")
            self.events_on(vm)
            vm.cmd("migrate-set-parameters", max_bandwidth=LIBVIRT_BANDWIDTH)
            self.assertEqual(vm.cmd("query-migrate-parameters")["max-bandwidth"], LIBVIRT_BANDWIDTH)
            r, w = os.pipe()
            vm.cmd("getfd", {"fdname": "migrate"}, fds=[w])
            os.close(w)
            vm.events.clear()
            vm.cmd("migrate", uri="fd:migrate", detach=True, resume=False)
            self.assertEqual(self.names(vm), ["MIGRATION:setup"])  # in front of the reply
            with open(r, "rb") as pipe:
                saved = pipe.read()  # ends: the descriptor is closed
            vm.event("MIGRATION_PASS")
            while vm.event("MIGRATION")["data"]["status"] != "completed":
                pass
            info = vm.cmd("query-migrate")
            self.assertEqual(info["status"], "completed")
            ram = info["ram"]
            self.assertEqual(ram["total"], 64 << 20)
            self.assertEqual(ram["remaining"], 0)
            self.assertEqual(ram["transferred"], len(saved))
            self.assertEqual(ram["duplicate"] + ram["normal"], (64 << 20) // 4096)
            self.assertIn("downtime", info)
            self.assertEqual(vm.cmd("query-status"), {"status": "postmigrate", "running": False})
            vm.cmd("migrate-set-capabilities",
                   capabilities=[{"capability": "pause-before-switchover", "state": False}])
        with open(self.file, "wb") as f:
            f.write(b"a header of somebody else")
            start = f.tell()
            f.write(saved)
        with open(self.file, "rb") as f:
            os.lseek(f.fileno(), start, os.SEEK_SET)
            with self.machine("-S", "-incoming", "defer", fds=(f.fileno(),)) as vm:
                self.assertEqual(vm.cmd("query-status")["status"], "inmigrate")
                self.events_on(vm)
                vm.cmd("migrate-incoming", uri=f"fd:{f.fileno()}", exit_on_error=False)
                self.assertEqual(self.names(vm), ["MIGRATION:setup"])
                self.assertEqual(vm.event("MIGRATION")["data"]["status"], "setup")
                self.assertEqual(vm.event("MIGRATION")["data"]["status"], "active")
                self.assertEqual(vm.event("MIGRATION")["data"]["status"], "completed")
                self.assertEqual(vm.cmd("query-status"), {"status": "paused", "running": False})
                vm.cmd("cont")
                vm.event("RESUME")
                self.assertEqual(vm.cmd("query-status")["status"], "running")
                self.assertEqual(vm.cmd("query-migrate")["status"], "completed")

    def test_a_running_guest_stops_and_its_successor_runs(self):
        with self.machine() as vm:
            self.save(vm)
            self.assertIn("STOP", self.names(vm))
            vm.cmd("cont")  # it was saved, and goes on here
            self.assertEqual(vm.cmd("query-status")["status"], "running")
        with self.machine("-incoming", f"file:{self.file}") as vm:
            while vm.cmd("query-status")["status"] != "running":
                pass

    def test_memory_of_a_memfd(self):
        memfd = ("-object", "memory-backend-memfd,id=ram,size=64M", "-machine", "memory-backend=ram")
        with self.machine(*memfd) as vm:
            self.save(vm)
        with self.machine(*memfd, "-incoming", f"file:{self.file}") as vm:
            while vm.cmd("query-status")["status"] != "running":
                pass

    def test_errors_say_what_and_leave_the_guest_running(self):
        with self.machine() as vm:
            self.assertIn("spawn=allow", vm.error("migrate", uri="exec:true").desc)
        with self.machine("-sandbox", "on,spawn=allow") as vm:
            self.assertIn("protocol: 'nonsense' is none", vm.error("migrate", uri="nonsense").desc)
            self.assertIn("getfd", vm.error("migrate", uri="fd:unknown").desc)
            self.assertIn("-incoming defer", vm.error("migrate-incoming", uri="fd:0").desc)
            self.assertIn("none", vm.error("migrate-continue", state="pre-switchover").desc)
            vm.error("migrate-set-capabilities",
                     capabilities=[{"capability": "xbzrle", "state": True}])
            vm.cmd("migrate_cancel")  # nothing to cancel
            self.events_on(vm)
            vm.cmd("migrate", uri="exec:exit 7")
            while vm.event("MIGRATION")["data"]["status"] != "failed":
                pass
            self.assertIn("error-desc", vm.cmd("query-migrate"))
            self.assertEqual(vm.cmd("query-status")["status"], "running")
            self.assertIn("failed", vm.hmp("info migrate"))
            self.assertIn("events: on", vm.hmp("info migrate_capabilities"))
            vm.hmp("migrate_set_parameter max-bandwidth 5M")
            self.assertEqual(vm.cmd("query-migrate-parameters")["max-bandwidth"], 5 << 20)

    def test_no_machine(self):
        with Hanok(["-machine", "none", "-nodefaults"]) as vm:
            vm.cmd("stop")
            vm.cmd("cont")
            self.assertIn("nothing to save", vm.error("migrate", uri="exec:cat >/dev/null").desc)
            self.assertEqual(vm.cmd("query-migrate"), {})

    def test_a_slow_pipe_holds_nobody_up(self):
        with self.machine() as vm:
            r, w = os.pipe()
            vm.cmd("getfd", {"fdname": "slow"}, fds=[w])
            os.close(w)
            vm.cmd("migrate", uri="fd:slow")
            while vm.cmd("query-migrate")["status"] != "active":
                pass
            self.assertEqual(vm.cmd("query-status")["status"], "finish-migrate")
            vm.error("cont")
            vm.cmd("migrate_cancel")
            while vm.cmd("query-migrate")["status"] != "cancelled":
                pass
            self.assertEqual(vm.cmd("query-status")["status"], "running")
            os.close(r)

    def states(self, vm, wanted):
        """What query-migrate says until the job is over, each state once; bounded by its caller."""
        seen = {}
        while not seen or list(seen)[-1] not in wanted:
            info = vm.cmd("query-migrate")
            seen[info["status"]] = info
        return seen

    def test_query_migrate_in_every_state(self):
        fifo = os.path.join(self.dir, "fifo")
        os.mkfifo(fifo)
        numbers = {"total-time", "setup-time", "ram"}
        with self.machine() as vm:
            self.assertEqual(vm.cmd("query-migrate"), {})
            vm.cmd("migrate-set-capabilities",
                   capabilities=[{"capability": "pause-before-switchover", "state": True}])
            vm.cmd("migrate-set-parameters", max_bandwidth=100000)
            vm.cmd("migrate", uri=f"file:{fifo}")
            self.assertEqual(vm.cmd("query-migrate")["status"], "setup")
            self.assertEqual(vm.cmd("query-status")["status"], "running")
            r = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
            seen = self.states(vm, ["pre-switchover"])
            self.assertEqual(seen["pre-switchover"]["ram"]["transferred"], 0)
            self.assertEqual(vm.cmd("query-status")["status"], "finish-migrate")
            vm.cmd("migrate-continue", state="pre-switchover")
            info = vm.cmd("query-migrate")
            self.assertEqual(info["status"], "device")
            self.assertLessEqual(numbers | {"expected-downtime"}, set(info))
            self.assertEqual(info["ram"]["total"], 64 << 20)
            vm.cmd("migrate_cancel")
            seen = self.states(vm, ["cancelled"])
            self.assertLessEqual(set(seen), {"cancelling", "cancelled"})
            os.close(r)
            vm.cmd("migrate-set-capabilities",
                   capabilities=[{"capability": "pause-before-switchover", "state": False}])
            vm.cmd("migrate", uri="file:/dev/full")
            seen = self.states(vm, ["failed"])
            self.assertIn("No space left", seen["failed"]["error-desc"])
            self.assertEqual(vm.cmd("query-status")["status"], "running")
            vm.cmd("migrate", uri=f"file:{self.file}")
            seen = self.states(vm, ["active"])
            self.assertLessEqual(numbers | {"expected-downtime"}, set(seen["active"]))
            self.assertGreater(seen["active"]["ram"]["remaining"], 0)
            vm.cmd("migrate-set-parameters", max_bandwidth=0)
            seen = self.states(vm, ["completed"])
            self.assertLessEqual(numbers | {"downtime"}, set(seen["completed"]))
            self.assertEqual(seen["completed"]["ram"]["remaining"], 0)
            self.assertNotIn("error-desc", seen["completed"])
        with self.machine("-incoming", "defer") as vm:
            self.assertEqual(vm.cmd("query-migrate"), {})
            vm.cmd("migrate-incoming", uri=f"unix:{self.dir}/sock", exit_on_error=False)
            self.assertEqual(self.states(vm, ["active"])["active"], {"status": "active"})
            vm.cmd("migrate_cancel")
            self.states(vm, ["cancelled"])
            vm.cmd("migrate-incoming", uri=f"file:{self.file}")
            self.assertEqual(self.states(vm, ["completed"])["completed"], {"status": "completed"})

    def test_a_guest_that_resets_is_saved(self):
        """Whatever moment it is, the next process finds a guest that goes on resetting itself."""
        kernel(self.kernel, RESETS)
        with self.machine() as vm:
            for _ in range(10):
                vm.events.clear()
                vm.event("RESET")
                self.save(vm)
                with self.machine("-incoming", f"file:{self.file}") as after:
                    after.event("RESET")
                os.unlink(self.file)
                vm.cmd("cont")

    def test_bad_files_are_refused(self):
        with self.machine() as vm:
            self.save(vm)
        with open(self.file, "rb") as f:
            data = bytearray(f.read())
        data[-100] ^= 1
        with open(self.file, "wb") as f:
            f.write(data)
        with self.machine("-S", "-incoming", "defer") as vm:
            self.events_on(vm)
            vm.cmd("migrate-incoming", uri=f"file:{self.file}", exit_on_error=False)
            while vm.event("MIGRATION")["data"]["status"] != "failed":
                pass
            self.assertIn("damaged", vm.cmd("query-migrate")["error-desc"])
            self.assertEqual(vm.cmd("query-status")["status"], "inmigrate")
        vm = self.machine("-incoming", f"file:{self.file}", monitor=False)
        self.assertEqual(vm.wait(), 1)
        self.assertIn("damaged", vm.end())
        vm = self.machine("-incoming", f"file:{self.file}", "-m", "65", monitor=False)
        self.assertEqual(vm.wait(), 1)
        self.assertIn("memory", vm.end())


if __name__ == "__main__":
    os.environ["HANOK"] = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)

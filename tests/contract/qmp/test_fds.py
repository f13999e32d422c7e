# SPDX-License-Identifier: Apache-2.0
"""Descriptors that clients send: each belongs to the message that it rode on."""
import os
import signal
import tempfile
import time
import unittest

from common import Machine, main


def open_fds(vm):
    return len(os.listdir(f"/proc/{vm.proc.pid}/fd"))


def open_fds_at_rest(vm):
    """A vCPU's thread opens what it will read when it begins, which may be behind the greeting."""
    vm.cmd("query-cpus-fast")
    count = -1
    while count != open_fds(vm):
        count = open_fds(vm)
        time.sleep(0.1)
    return count


class Fds(unittest.TestCase):
    def setUp(self):
        self.file = tempfile.TemporaryFile()
        self.fd = self.file.fileno()

    def tearDown(self):
        self.file.close()

    def test_names(self):
        with Machine() as vm:
            before = open_fds_at_rest(vm)
            self.assertIn("No file descriptor supplied", vm.error("getfd", fdname="a").desc)
            vm.cmd("getfd", fdname="a", fds=[self.fd])
            vm.cmd("getfd", fdname="b", fds=[self.fd])
            self.assertEqual(open_fds(vm), before + 2)
            vm.cmd("getfd", fdname="a", fds=[self.fd])  # the one before is closed
            self.assertEqual(open_fds(vm), before + 2)
            vm.cmd("closefd", fdname="a")
            self.assertIn("'a' not found", vm.error("closefd", fdname="a").desc)
            self.assertIn("fdname", vm.error("getfd", fdname="0a", fds=[self.fd]).desc)
            self.assertEqual(open_fds(vm), before + 1)

    def test_rides_on_its_message(self):
        with Machine() as vm:
            before = open_fds_at_rest(vm)
            # one that nobody asked for is not the next one's
            vm.cmd("query-name", fds=[self.fd])
            self.assertIn("No file descriptor supplied", vm.error("getfd", fdname="a").desc)
            self.assertEqual(open_fds(vm), before)
            # several in a row, answered in order
            with tempfile.TemporaryFile() as other:
                vm.start("getfd", {"fdname": "x"}, [self.fd])
                vm.start("getfd", {"fdname": "y"}, [other.fileno()])
                vm.start("query-name")
                self.assertTrue(all("return" in vm.recv_reply() for _ in range(3)))
            # a flood is bounded
            for _ in range(100):
                vm.send(" ", [self.fd])
            vm.cmd("query-name")
            self.assertEqual(open_fds(vm), before + 2)
            # some send it in front, on a blank
            vm.send(" ", [self.fd])
            vm.cmd("getfd", fdname="z")
            self.assertEqual(open_fds(vm), before + 3)

    def test_is_not_taken_by_the_one_before(self):
        """Whether the monitor reads them together, or the second when the first is done."""
        for wait in (0, 0.2):
            with Machine() as vm:
                before = open_fds_at_rest(vm)
                # stopped, so that both are there when it looks
                vm.proc.send_signal(signal.SIGSTOP)
                first = vm.start("getfd", {"fdname": "without"})
                if wait:
                    vm.proc.send_signal(signal.SIGCONT)
                    time.sleep(wait)
                second = vm.start("getfd", {"fdname": "with"}, [self.fd])
                vm.proc.send_signal(signal.SIGCONT)
                self.assertIn("No file descriptor supplied", vm.recv_reply(first)["error"]["desc"])
                self.assertIn("return", vm.recv_reply(second))
                self.assertEqual(open_fds(vm), before + 1)
                # in many pieces
                text = b'{"execute": "getfd", "arguments": {"fdname": "piece"}}\n'
                vm.send(b'{"execute": "query-name"}' + text[:20])
                vm.recv_reply()
                vm.send(text[20:40], [self.fd])
                vm.send(text[40:] + b'{"execute": "closefd", "arguments": {"fdname": "piece"}}')
                self.assertEqual([vm.recv_reply() for _ in range(2)], [{"return": {}}] * 2)
                self.assertEqual(open_fds(vm), before + 1)

    def test_texts_are_bounded(self):
        with Machine() as vm:
            before = open_fds_at_rest(vm)
            vm.cmd("getfd", fdname="a" * 8192, fds=[self.fd])
            self.assertIn("up to 8192", vm.error("getfd", fdname="a" * 8193, fds=[self.fd]).desc)
            self.assertIn("up to 8192", vm.error("add-fd", opaque="a" * 8193, fds=[self.fd]).desc)
            for i in range(255):
                vm.cmd("getfd", fdname=f"n{i}", fds=[self.fd])
            self.assertIn("closefd some", vm.error("getfd", fdname="more", fds=[self.fd]).desc)
            self.assertEqual(open_fds(vm), before + 256)

    def test_sets(self):
        with Machine() as vm:
            before = open_fds_at_rest(vm)
            self.assertEqual(vm.cmd("query-fdsets"), [])
            first = vm.cmd("add-fd", opaque="rdonly:/x", fds=[self.fd])
            self.assertEqual(first["fdset-id"], 0)
            second = vm.cmd("add-fd", fdset_id=0, fds=[self.fd])
            third = vm.cmd("add-fd", fdset_id=7, fds=[self.fd])
            sets = {s["fdset-id"]: s["fds"] for s in vm.cmd("query-fdsets")}
            self.assertEqual(sorted(sets), [0, 7])
            self.assertIn({"fd": first["fd"], "opaque": "rdonly:/x"}, sets[0])
            self.assertIn({"fd": second["fd"]}, sets[0])
            vm.cmd("remove-fd", fdset_id=0, fd=first["fd"])
            self.assertEqual(open_fds(vm), before + 2)
            self.assertIn("not found", vm.error("remove-fd", fdset_id=0, fd=first["fd"]).desc)
            self.assertIn("fdset-id", vm.error("add-fd", fdset_id=-1, fds=[self.fd]).desc)
            vm.cmd("remove-fd", fdset_id=0)
            vm.cmd("remove-fd", fdset_id=7, fd=third["fd"])
            self.assertEqual(vm.cmd("query-fdsets"), [])
            self.assertEqual(open_fds(vm), before)

    def test_closed_with_the_client(self):
        with Machine() as vm:
            before = open_fds_at_rest(vm)
            vm.send('{"execute":', [self.fd] * 4)
            vm.sock.close()
            vm.buf, vm.sock = b"", vm.connect()
            vm.recv()
            vm.cmd("qmp_capabilities")
            self.assertEqual(open_fds(vm), before)


if __name__ == "__main__":
    main()

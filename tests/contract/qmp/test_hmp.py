# SPDX-License-Identifier: Apache-2.0
"""The human monitor: through QMP, on a socket, and on a terminal shared with the serial port."""
import os
import pty
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from common import Machine, Serial, line, main


class Terminal:
    """A terminal with hanok on it."""

    def __init__(self, *args):
        self.master, slave = pty.openpty()
        self.proc = subprocess.Popen([os.environ["HANOK"], "qemu", *args], stdin=slave, stdout=slave,
                                     stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(slave)
        self.said = b""

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, text):
        want, until = text.encode(), time.monotonic() + 60
        while want not in self.said:
            assert time.monotonic() < until, self.said
            self.said += os.read(self.master, 4096)
        head, self.said = self.said.split(want, 1)
        return head.decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGKILL)
        self.proc.wait()
        os.close(self.master)


class Commands(unittest.TestCase):
    def test_through_qmp(self):
        with Machine() as vm:
            self.assertEqual(vm.hmp("info status"), "VM status: paused (prelaunch)\n")
            self.assertEqual(vm.hmp("cont"), "")
            vm.event("RESUME")
            self.assertEqual(vm.hmp("info status"), "VM status: running\n")
            self.assertEqual(vm.hmp("s"), "")
            vm.event("STOP")
            self.assertEqual(vm.hmp("  info   status  "), "VM status: paused\n")
            self.assertEqual(vm.hmp(""), "")
            self.assertIn("unknown command: 'stpo'; did you mean 'stop'?", vm.hmp("stpo"))
            self.assertIn("extraneous characters", vm.hmp("stop now"))
            self.assertIn("Error: wake-up", vm.hmp("system_wakeup"))
            self.assertIn("argument 'index' is missing", vm.hmp("cpu"))
            self.assertIn("there is no CPU 7", vm.hmp("cpu 3+(2*2)"))
            self.assertIn("did you mean 'reset'?", vm.hmp("watchdog_action rset"))
            self.assertEqual(vm.hmp("watchdog_action pause"), "")
            self.assertEqual(vm.hmp("log debug,guest_errors"), "")
            self.assertEqual(vm.hmp("log info"), "")
            self.assertIn("Log items", vm.hmp("log help"))
            self.assertIn("there is no item 'in_asn'", vm.hmp("log in_asn"))
            self.assertIn("hanok", vm.hmp("info version"))
            self.assertIn("Error: No block device supports snapshots", vm.hmp("savevm x"))
            self.assertIn("Error: No block device supports snapshots", vm.hmp("loadvm x"))
            self.assertIn("no block device can store", vm.hmp("info snapshots"))
            self.assertIn("not in expected state: none", vm.hmp("migrate_continue pre-switchover"))
            self.assertEqual(vm.hmp("migrate_set_parameter downtime-limit 250"), "")
            self.assertEqual(vm.cmd("query-migrate-parameters")["downtime-limit"], 250)
            self.assertIn("'much' is no value of 'max-b", vm.hmp("migrate_set_parameter max-bandwidth much"))
            self.assertIn("cpu-index", vm.error("human-monitor-command", command_line="", cpu_index=1).desc)

    def test_registers(self):
        """In expressions; the guest's entry is where it was linked."""
        with Machine() as vm:
            self.assertIn("there is no CPU 16777216", vm.hmp("cpu $rip"))
            self.assertIn("there is no CPU 16777217", vm.hmp("cpu $pc+1"))
            self.assertIn("there is no CPU 1\n", vm.hmp("cpu $cr0&1"))
            for name in ("rsp", "esp", "sp"):
                self.assertEqual(vm.hmp("print $" + name), vm.hmp("print $rsp"))
            self.assertEqual(vm.hmp("print $eip"), vm.hmp("print $rip"))
            self.assertIn("unknown register '$rxx' (did you mean '$r", vm.hmp("cpu $rxx"))
            vm.running()
            self.assertIn("there is no CPU 167", vm.hmp("cpu $rip"))
            self.assertEqual(vm.cmd("query-status")["status"], "running")

    def test_help(self):
        with Machine() as vm:
            text = vm.hmp("help")
            self.assertIn("stop|s -- ", text)
            self.assertNotIn("info status", text)
            self.assertEqual(vm.hmp("help stop").count("\n"), 1)
            self.assertIn("info status -- ", vm.hmp("info"))
            self.assertIn("info status -- ", vm.hmp("help info"))
            self.assertIn("info status -- ", vm.hmp("info nothing"))
            self.assertIn("unknown command", vm.hmp("help nothing"))

    def test_hostile_lines(self):
        with Machine() as vm:
            for text in ("cpu " + "(" * 5000, "cpu " + "-" * 5000 + "1", "cpu 1/0", "cpu 1%(1-1)",
                         "cpu 99999999999999999999999999", "cpu $nothing", "cpu -9223372036854775808/-1",
                         'watchdog_action "', 'watchdog_action "\\', "help " + "x" * 5000, "x" * 100000,
                         "\x01\x02\x7f", "é", "info " * 1000, "/", "%s%n%s", "cpu '"):
                self.assertNotEqual(vm.hmp(text), None)
            self.assertEqual(vm.cmd("query-status")["status"], "prelaunch")


class Sessions(unittest.TestCase):
    def test_socket(self):
        with Machine("-monitor", "unix:mon.sock,server=on,wait=off") as vm:
            mon = Serial(os.path.join(vm.dir, "mon.sock"))
            mon.expect("(qemu) ")
            mon.tell("info status\n")
            mon.expect("VM status: paused (prelaunch)\r\n(qemu) ")
            mon.tell("cont\r\ninfo status\r")
            mon.expect("VM status: running\r\n(qemu) ")
            mon.sock.close()
            mon = Serial(os.path.join(vm.dir, "mon.sock"))
            mon.expect("(qemu) ")
            mon.tell("quit\n")
            self.assertEqual(vm.event("SHUTDOWN")["data"]["reason"], "host-qmp-quit")
            self.assertEqual(vm.wait(), 0)
            mon.sock.close()

    def test_line_that_takes_long(self):
        """migrate without -d ends when the machine is saved; what is typed meanwhile waits."""
        with Machine("-monitor", "unix:mon.sock,server=on,wait=off", "-initrd", self.noise()) as vm:
            mon = Serial(os.path.join(vm.dir, "mon.sock"))
            mon.expect("(qemu) ")
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(os.path.join(vm.dir, "to.sock"))
                server.listen()
                mon.tell('migrate "unix:to.sock"\ninfo status\n')
                peer = server.accept()[0]
                mon.expect("migrate \"unix:to.sock\"\r\n")
                self.assertTrue(mon.quiet())
                self.assertEqual(vm.cmd("query-migrate")["status"], "active")
                while peer.recv(1 << 20):
                    pass
                peer.close()
            mon.expect("(qemu) info status\r\nVM status: paused (postmigrate)\r\n(qemu) ")
            mon.tell("migrate unix:to.sock\n")
            mon.expect("migrate unix:to.sock\r\nError: ")
            mon.expect("\r\n(qemu) ")
            self.assertIn("continuing detached", vm.hmp("migrate file:saved"))
            mon.sock.close()

    def test_client_that_does_not_wait(self):
        """It is gone before its line ends; the next one finds a prompt."""
        with Machine("-monitor", "unix:mon.sock,server=on,wait=off", "-initrd", self.noise()) as vm:
            mon = Serial(os.path.join(vm.dir, "mon.sock"))
            mon.expect("(qemu) ")
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(os.path.join(vm.dir, "to.sock"))
                server.listen()
                mon.tell("migrate unix:to.sock\n")
                peer = server.accept()[0]
                mon.sock.close()
                mon = Serial(os.path.join(vm.dir, "mon.sock"))
                mon.expect("(qemu) ")
                peer.close()
            while vm.cmd("query-migrate")["status"] != "failed":
                pass
            mon.tell("info status\n")
            mon.expect("VM status: paused (prelaunch)\r\n(qemu) ")
            mon.sock.close()

    def noise(self):
        """A file that is no zeros: guest memory that has to be moved."""
        with tempfile.NamedTemporaryFile(delete=False) as f:
            f.write(os.urandom(8 << 20))
        self.addCleanup(os.unlink, f.name)
        return f.name

    def test_editing(self):
        with Terminal(*line("-S", "-monitor", "stdio")) as t:
            t.expect("(qemu) ")
            t.type("ino sta\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[Df\x05\ttus\x15info st\t\r")
            t.expect("VM status: paused (prelaunch)")
            t.expect("(qemu) ")
            t.type("cpu 5\r")
            t.expect("there is no CPU 5")
            t.type("\x1b[A\x1b[A\x1b[B\x7f6\r")  # up, up, down: the last line again
            t.expect("there is no CPU 6")
            t.type("sys\t\t")
            self.assertIn("system_powerdown", t.expect("system_wakeup"))
            t.type("\x03nonsense\x17he\tstop\r")
            t.expect("stop|s -- Stops the guest.")
            t.type("\x15watchdog_action sh\t\rlog no\t\t\rinfo block \t\rtrace-event vm_\tof\t\r")
            t.expect("watchdog_action shutdown")
            t.expect("log none")
            t.expect("trace-event vm_state_notify off")
            t.type("object_add rng-builtin,id=dice\robject_del d\tx\x7f\x7f\rmigrate_set_p\tmax\t1M\r")
            t.expect("object_del dice")
            t.expect("migrate_set_parameter max-bandwidth 1M")
            t.type("info migrate_p\t\r")
            t.expect("max-bandwidth: 1048576 bytes/second")
            t.type("q\r")
            self.assertEqual(t.proc.wait(60), 0)

    def test_nographic(self):
        """The serial port and the monitor share the terminal: Ctrl-A c changes."""
        with Terminal("-accel", "tcg", "-m", "64", "-kernel", os.environ["GUEST"], "-nographic", "-nic",
                      "none") as t:
            t.expect("ready")
            t.type("x")
            t.expect("x")
            t.type("\x01c")
            t.expect("(qemu) ")
            t.type("info status\r")
            t.expect("VM status: running")
            t.expect("(qemu) ")
            t.type("\x01cy")
            t.expect("y")
            t.type("\x01ch\x15quit\r")
            self.assertEqual(t.proc.wait(60), 0)


if __name__ == "__main__":
    main()

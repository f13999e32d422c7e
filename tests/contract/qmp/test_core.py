# SPDX-License-Identifier: Apache-2.0
"""The life of a machine by QMP: states, and the order of events and replies, as QEMU has them."""
import os
import signal
import unittest

from common import Machine, main, strip
from qmp import QmpError


def since(vm, mark):
    """What came since the log was mark long, without times and ids; short."""
    out = []
    for obj in vm.log[mark:]:
        obj = strip(obj)
        if "event" in obj:
            reason = obj.get("data", {})
            out.append(obj["event"] + (f" {reason.get('reason') or reason.get('action') or ''}"
                                       if reason else ""))
        else:
            out.append("return" if "return" in obj else "error")
    return out


class Life(unittest.TestCase):
    def status(self, vm, status):
        self.assertEqual(vm.cmd("query-status"), {"status": status, "running": status == "running"})

    def test_stop_and_cont(self):
        with Machine() as vm:
            self.status(vm, "prelaunch")
            self.assertTrue(vm.serial.quiet())
            mark = len(vm.log)
            vm.cmd("cont")
            vm.cmd("cont")
            vm.serial.expect("ready\n")
            vm.cmd("stop")
            vm.cmd("stop")
            self.assertEqual(since(vm, mark), ["RESUME", "return", "return", "STOP", "return", "return"])
            self.status(vm, "paused")
            vm.serial.tell("x")
            self.assertTrue(vm.serial.quiet())
            vm.cmd("cont")
            vm.serial.expect("x")
            self.status(vm, "running")

    def test_libvirts_reboot(self):
        with Machine("-no-shutdown") as vm:
            vm.running()
            mark = len(vm.log)
            vm.cmd("system_powerdown")
            self.assertEqual(since(vm, mark), ["POWERDOWN", "return"])
            vm.serial.expect("B")
            vm.serial.tell("p")
            vm.event("STOP")
            self.assertEqual(since(vm, mark)[2:], ["SHUTDOWN guest-shutdown", "STOP"])
            self.status(vm, "shutdown")
            self.assertIn("Resetting the Virtual Machine is required", vm.error("cont").desc)
            mark = len(vm.log)
            vm.cmd("system_reset")
            self.assertEqual(since(vm, mark), ["RESET host-qmp-system-reset", "return"])
            self.status(vm, "prelaunch")
            mark = len(vm.log)
            vm.running()
            self.assertEqual(since(vm, mark), ["RESUME", "return"])
            self.status(vm, "running")

    def test_power_off(self):
        with Machine() as vm:
            vm.running()
            vm.serial.tell("p")
            shutdown = vm.event("SHUTDOWN")
            self.assertEqual(shutdown["data"], {"guest": True, "reason": "guest-shutdown"})
            self.assertEqual(vm.wait(), 0)

    def test_guests_resets(self):
        with Machine() as vm:
            vm.running()
            for how in "rt":
                vm.serial.tell(how)
                vm.serial.expect("ready")
                self.assertEqual(vm.event("RESET")["data"], {"guest": True, "reason": "guest-reset"})
                self.status(vm, "running")

    def test_reset_of_one_that_stands(self):
        with Machine() as vm:
            vm.running()
            vm.cmd("stop")
            vm.cmd("system_reset")
            self.status(vm, "prelaunch")
            self.assertTrue(vm.serial.quiet())

    def test_no_reboot(self):
        with Machine("-no-reboot") as vm:
            vm.running()
            vm.serial.tell("r")
            self.assertEqual(vm.event("SHUTDOWN")["data"], {"guest": True, "reason": "guest-reset"})
            self.assertEqual(vm.wait(), 0)

    def test_neither(self):
        with Machine("-no-reboot", "-no-shutdown") as vm:
            vm.running()
            vm.serial.tell("r")
            vm.event("SHUTDOWN")
            vm.event("STOP")
            self.status(vm, "shutdown")

    def test_set_action(self):
        with Machine() as vm:
            vm.running()
            vm.cmd("set-action", shutdown="pause", panic="none")
            vm.serial.tell("c")
            self.assertEqual(vm.event("GUEST_PANICKED")["data"], {"action": "run"})
            vm.serial.tell("k")
            self.assertEqual(vm.event("GUEST_CRASHLOADED")["data"], {"action": "run"})
            self.status(vm, "running")
            vm.cmd("set-action", panic="pause")
            vm.serial.tell("c")
            self.assertEqual(vm.event("GUEST_PANICKED")["data"], {"action": "pause"})
            vm.event("STOP")
            self.status(vm, "guest-panicked")
            vm.cmd("cont")  # a debugger may want to see more
            vm.serial.tell("s")
            vm.event("GUEST_PVSHUTDOWN")
            self.assertEqual(vm.event("SHUTDOWN")["data"], {"guest": True, "reason": "guest-shutdown"})
            vm.event("STOP")
            vm.cmd("system_reset")
            vm.running()
            vm.cmd("set-action", reboot="shutdown", shutdown="poweroff")
            mark = len(vm.log)
            vm.cmd("system_reset")
            self.assertEqual(since(vm, mark), ["SHUTDOWN host-qmp-system-reset", "return"])
            self.assertEqual(vm.wait(), 0)

    def test_panic_ends(self):
        for action, code in ("shutdown", 0), ("exit-failure", 1):
            with Machine() as vm:
                vm.running()
                vm.cmd("set-action", panic=action)
                mark = len(vm.log)
                vm.serial.tell("c")
                vm.event("SHUTDOWN")
                self.assertEqual(since(vm, mark),
                                 ["GUEST_PANICKED poweroff", "STOP", "SHUTDOWN guest-panic"])
                self.assertEqual(vm.wait(), code)

    def test_quit(self):
        with Machine("-no-shutdown") as vm:
            mark = len(vm.log)
            vm.cmd("quit")
            self.assertEqual(since(vm, mark), ["SHUTDOWN host-qmp-quit", "return"])
            self.assertEqual(vm.wait(), 0)

    def test_signals(self):
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            with Machine("-no-shutdown") as vm:
                vm.running()
                vm.proc.send_signal(number)
                self.assertEqual(vm.event("SHUTDOWN")["data"],
                                 {"guest": False, "reason": "host-signal"})
                self.assertEqual(vm.wait(), 0)

    def test_shorter_file(self):
        """Memory that somebody takes away under the guest: the end, with the reason."""
        with Machine("-object", "memory-backend-file,id=m,size=64M,mem-path=memory,share=on",
                     "-machine", "memory-backend=m") as vm:
            vm.running()
            os.truncate(os.path.join(vm.dir, "memory"), 0)
            self.assertEqual(vm.wait(), -signal.SIGBUS)
            self.assertRegex(vm.stderr(), "error: guest memory at offset 0x[0-9a-f]+ is not there "
                             ".*a file under it was made shorter")

    def test_nmi(self):
        with Machine() as vm:
            vm.running()
            vm.cmd("inject-nmi")
            vm.serial.expect("N")
            vm.cmd("stop")
            vm.cmd("inject-nmi")
            vm.cmd("cont")
            vm.serial.expect("N")

    def test_wakeup(self):
        with Machine() as vm:
            self.assertIn("wake-up from suspend is not supported", vm.error("system_wakeup").desc)

    def test_identity(self):
        uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
        with Machine("-name", "guest=a name,debug-threads=on", "-uuid", uuid) as vm:
            self.assertEqual(vm.cmd("query-name"), {"name": "a name"})
            self.assertEqual(vm.cmd("query-uuid"), {"UUID": uuid})
            self.assertEqual(vm.cmd("query-target"), {"arch": "x86_64"})
            version = vm.cmd("query-version")
            self.assertEqual(version["qemu"]["major"], 10)
            self.assertTrue(version["package"].startswith("hanok "))
            accel = vm.cmd("query-accelerators")
            self.assertIn(accel["enabled"], accel["present"])
            kvm = vm.cmd("query-kvm")
            self.assertEqual(kvm["enabled"], accel["enabled"] == "kvm")
            self.assertEqual(kvm["present"], "kvm" in accel["present"])
        with Machine("-name", "caf\udce9") as vm:  # not UTF-8
            self.assertEqual(vm.cmd("query-name"), {"name": "caf?"})
        with Machine() as vm:
            self.assertEqual(vm.cmd("query-name"), {})
            self.assertRaises(QmpError, vm.cmd, "query-nam")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Watchdogs of the guest that are not fed, with each action, by each way to choose one."""
import time
import unittest

from common import Machine, main, strip

ib700 = ("-device", "ib700,id=wd")
i6300esb = ("-device", "i6300esb,id=wd,addr=5")


class Watchdog(unittest.TestCase):
    def log(self, vm):
        return [(e["event"], e.get("data")) for e in map(strip, vm.log) if "event" in e]

    def fired(self, vm, action, start="w"):
        """Lets it go off; what was said up to then is forgotten."""
        vm.log.clear()
        vm.serial.tell(start)
        self.assertEqual(vm.event("WATCHDOG")["data"], {"action": action})

    def test_reset(self):
        for dev, start in ((ib700, "w"), (i6300esb, "W")):
            with Machine(*dev) as vm:
                vm.running()
                for again in (False, True):
                    time.sleep(1.1 * again)  # WATCHDOG comes once a second
                    self.fired(vm, "reset", start)
                    self.assertEqual(vm.event("RESET")["data"], {"guest": True, "reason": "guest-reset"})
                    self.assertEqual([e for e, _ in self.log(vm)], ["WATCHDOG", "RESET"])
                    vm.serial.expect("ready\n")
                self.assertEqual(vm.cmd("query-status")["status"], "running")

    def test_reset_with_no_reboot(self):
        with Machine(*ib700, "-no-reboot") as vm:
            vm.running()
            self.fired(vm, "reset")
            self.assertEqual(vm.event("SHUTDOWN")["data"], {"guest": True, "reason": "guest-reset"})
            self.assertEqual(vm.wait(), 0)

    def test_shutdown(self):
        with Machine(*ib700, "-watchdog-action", "shutdown") as vm:
            vm.running()
            self.fired(vm, "shutdown")
            vm.event("POWERDOWN")
            self.assertEqual([e for e, _ in self.log(vm)], ["WATCHDOG", "POWERDOWN"])
            vm.serial.expect("B")
            self.assertEqual(vm.cmd("query-status")["status"], "running")

    def test_poweroff(self):
        with Machine(*ib700, "-action", "watchdog=poweroff", "-no-shutdown") as vm:
            vm.running()
            self.fired(vm, "poweroff")
            self.assertEqual(vm.wait(), 0)

    def test_pause(self):
        with Machine(*ib700, "-action", "watchdog=pause") as vm:
            vm.running()
            self.fired(vm, "pause")
            vm.event("STOP")
            self.assertEqual([e for e, _ in self.log(vm)], ["WATCHDOG", "STOP"])
            self.assertEqual(vm.cmd("query-status"), {"status": "watchdog", "running": False})
            self.assertEqual(vm.hmp("info status"), "VM status: paused (watchdog)\n")
            vm.cmd("cont")
            vm.serial.tell("a")
            vm.serial.expect("a")

    def test_debug_none_nmi(self):
        with Machine(*ib700) as vm:
            vm.running()
            vm.cmd("set-action", watchdog="inject-nmi")
            self.fired(vm, "inject-nmi")
            vm.serial.expect("N")
            vm.cmd("set-action", watchdog="none")
            self.fired(vm, "none")
            self.assertNotIn("timer fired", vm.stderr())
            vm.cmd("set-action", watchdog="debug")
            self.fired(vm, "debug")
            self.assertIn("watchdog: timer fired", vm.stderr())
            self.assertEqual(vm.cmd("query-status")["status"], "running")
            vm.serial.tell("a")
            vm.serial.expect("a")

    def test_chipset(self):
        for line, goes_off in (([], True), (["-global", "ICH9-LPC.noreboot=off"], True),
                               (["-global", "ICH9-LPC.noreboot=on"], False)):
            with Machine("-watchdog-action", "pause", *line) as vm:
                vm.running()
                vm.log.clear()
                vm.serial.tell("T")
                if goes_off:
                    self.assertEqual(vm.event("WATCHDOG")["data"], {"action": "pause"})
                    vm.event("STOP")
                else:
                    self.assertTrue(vm.serial.quiet(6))
                    self.assertEqual(vm.cmd("query-status")["status"], "running")
                    self.assertEqual(self.log(vm), [])

    def test_standing_still(self):
        """Time that the guest does not have does not count."""
        with Machine(*i6300esb) as vm:
            vm.running()
            vm.log.clear()
            vm.serial.tell("Wa")
            vm.serial.expect("a")
            vm.cmd("stop")
            self.assertTrue(vm.serial.quiet(3))
            self.assertEqual(vm.cmd("query-status")["status"], "paused")
            self.assertEqual([e for e, _ in self.log(vm)], ["STOP"])
            vm.cmd("cont")
            vm.event("WATCHDOG")


if __name__ == "__main__":
    main()

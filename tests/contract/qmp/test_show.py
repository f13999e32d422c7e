# SPDX-License-Identifier: Apache-2.0
"""What HMP tells of the machine's insides: registers, interrupt controllers, page tables, memory."""
import os
import re
import shutil
import unittest

from common import Machine, Serial, main

COUNTER = 0x1100000
ENTRY = 0x1000000


class Cpus(unittest.TestCase):
    def test_list(self):
        with Machine("-smp", "2") as vm:
            lines = vm.hmp("info cpus").splitlines()
            self.assertEqual(len(lines), 2)
            for i, (text, info) in enumerate(zip(lines, vm.cmd("query-cpus-fast"))):
                self.assertEqual(text, f"{'* '[i]} CPU #{i}: thread_id={info['thread-id']}")

    def test_registers(self):
        with Machine("-smp", "2") as vm:
            text = vm.hmp("info registers")
            self.assertIn(f"RIP={ENTRY:016x} RFL=", text)
            self.assertIn("CPL=0 II=0 A20=1 SMM=0 HLT=0", text)
            self.assertRegex(text, r"\nCS =0010 0{16} ffffffff 00a09[ab]00 DPL=0 CS64 \[-R[A-]\]\n")
            self.assertRegex(text, r"\nCR0=8[0-9a-f]{7} CR2=0{16} CR3=[0-9a-f]{16} CR4=[0-9a-f]{8}\n")
            self.assertRegex(text, r"\nEFER=0{13}[0-9a-f]{3}\nFCW=0040 FSW=0000 \[ST=0\]")
            for name in ("FPR7", "MM15", "DR7", "TR ", "LDT", "GDT", "IDT"):
                self.assertIn(name + "=", text)
            both = vm.hmp("info registers -a")
            self.assertTrue(both.startswith("CPU#0\n"))
            self.assertIn("\n\nCPU#1\n", both)
            self.assertEqual(vm.hmp("info registers 1"), both.split("\n\n")[1])
            self.assertIn("no CPU 2", vm.hmp("info registers 2"))
            self.assertIn("no CPU -1", vm.hmp("info registers -1"))
            # as the debugger's registers in expressions
            rsp = re.search("RSP=([0-9a-f]+)", text).group(1)
            self.assertEqual(vm.hmp("print/x $rsp"), f"{int(rsp, 16):#x}\n")

    def test_running(self):
        """A running guest is asked and goes on."""
        with Machine() as vm:
            vm.running()
            self.counts(vm, 0)  # until then the guest may still be where it says "ready"
            for _ in range(20):
                self.assertRegex(vm.hmp("info registers"), r"RIP=00000000010000[0-9a-f]{2} ")
            self.assertEqual(vm.cmd("query-status")["status"], "running")
            self.counts(vm, self.counter(vm))

    def counter(self, vm):
        return int(vm.hmp(f"xp /1xg {COUNTER}").split(": ")[1], 16)

    def counts(self, vm, seen):
        """Waits until the guest has counted past seen."""
        for _ in range(10000):  # a busy host may let it wait
            if self.counter(vm) > seen:
                return
        self.fail("the guest does not count")


class Interrupts(unittest.TestCase):
    def test_lapic(self):
        with Machine("-smp", "2") as vm:
            text = vm.hmp("info lapic")
            self.assertTrue(text.startswith("dumping local APIC state for CPU 0\n"))
            self.assertRegex(text, r"LVTT +0x00010000 .*masked")
            self.assertRegex(text, r"ISR +\(none\)\nIRR +\(none\)\n")
            self.assertIn("BSP", text)
            self.assertNotIn("BSP", vm.hmp("info lapic 1"))
            self.assertIn("no CPU 9", vm.hmp("info lapic 9"))

    def test_pic(self):
        with Machine() as vm:
            text = vm.hmp("info pic")
            self.assertEqual(len(re.findall(r"^  pin \d+ ", text, re.M)), 24)
            self.assertRegex(text, r"pic0: irr=00 imr=00 isr=00 hprio=0 irq_base=[0-9a-f]{2} ")
            self.assertIn("pic1: ", text)

    def test_irq(self):
        """The timer's line, which is up from the start."""
        with Machine() as vm:
            self.assertRegex(vm.hmp("info irq"), r"^IRQ statistics for gsi:\n 0: [1-9]\d*")


class Paging(unittest.TestCase):
    def test_tables(self):
        """The small guest has the identity map that a boot loader makes: large pages."""
        with Machine() as vm:
            pages = vm.hmp("info tlb").splitlines()
            found = {}
            for text in pages:
                m = re.fullmatch(r"([0-9a-f]{16}): ([0-9a-f]{16}) ([XGPDACTUW-]{9})", text)
                found[int(m.group(1), 16)] = (int(m.group(2), 16), m.group(3))
            self.assertEqual(found[ENTRY & ~0x1fffff][0], ENTRY & ~0x1fffff)
            self.assertIn("P", found[ENTRY & ~0x1fffff][1])
            ranges = vm.hmp("info mem").splitlines()
            self.assertRegex(ranges[0], r"^0{16}-[0-9a-f]{16} [0-9a-f]{16} [u-]rw$")
            total = sum(int(r.split()[1], 16) for r in ranges)
            self.assertEqual(total, len(pages) * 0x200000)
            self.assertEqual(vm.hmp(f"gva2gpa {ENTRY:#x}"), f"gpa: {ENTRY:#x}\n")
            self.assertEqual(vm.hmp("gva2gpa 0xffff800000000000"), "Unmapped\n")
            self.assertEqual(vm.hmp("gva2gpa 0x8000000000000000"), "Unmapped\n")


class Memory(unittest.TestCase):
    def test_formats(self):
        with Machine() as vm:
            self.assertEqual(vm.hmp("x /4xb $rip"), vm.hmp(f"xp /4xb {ENTRY}"))
            # cli; lea rip-relative
            self.assertEqual(vm.hmp(f"xp /4xb {ENTRY}"), f"{ENTRY:016x}: 0xfa 0x48 0x8d 0x25\n")
            self.assertEqual(vm.hmp(f"xp /xw {ENTRY}"), f"{ENTRY:016x}: 0x258d48fa\n")
            self.assertEqual(vm.hmp(f"xp {ENTRY}"), f"{ENTRY:016x}: 0x258d48fa\n")
            self.assertEqual(vm.hmp(f"xp /2uh {ENTRY}"), f"{ENTRY:016x}: 18682  9613\n")
            self.assertEqual(vm.hmp(f"xp /1db {ENTRY}"), f"{ENTRY:016x}:  -6\n")
            self.assertEqual(vm.hmp(f"xp /1ob {ENTRY}"), f"{ENTRY:016x}: 0372\n")
            self.assertEqual(vm.hmp("xp /2ob 0x2000000"), f"{0x2000000:016x}:   0   0\n")
            lines = vm.hmp(f"xp /9xb {ENTRY}").splitlines()
            self.assertEqual([text.split(":")[0] for text in lines],
                             [f"{ENTRY:016x}", f"{ENTRY + 8:016x}"])
            self.assertEqual(vm.hmp(f"xp /2c {ENTRY}"), f"{ENTRY:016x}: '\\xfa' 'H'\n")
            lines = vm.hmp(f"xp /6xg {ENTRY}").splitlines()
            self.assertEqual([text.split(":")[0] for text in lines],
                             [f"{ENTRY + 16 * i:016x}" for i in range(3)])

    def test_nothing_there(self):
        with Machine() as vm:
            self.assertIn("Cannot access memory", vm.hmp("xp /4xw 0xfec00000"))
            self.assertIn("Cannot access memory", vm.hmp("xp /4xw 0xfffffffffffffff0"))
            self.assertIn("Cannot access memory", vm.hmp("x /4xw 0xffff800000000000"))
            self.assertIn("Cannot access memory", vm.hmp("xp /8xg 0x3fffff0").splitlines()[1])
            self.assertIn("objdump", vm.hmp("x /4i $rip"))
            self.assertIn("at most", vm.hmp("xp /99999999xb 0"))
            self.assertIn("invalid char in format", vm.hmp("x /4z 0"))
            self.assertIn("argument 'addr' is missing", vm.hmp("x /4xb"))

    def test_print(self):
        with Machine() as vm:
            self.assertEqual(vm.hmp("p 3+4*2"), "0xb\n")
            self.assertEqual(vm.hmp("print/d -1"), "-1\n")
            self.assertEqual(vm.hmp("p/x 255"), "0xff\n")
            self.assertEqual(vm.hmp("p/u -1"), "18446744073709551615\n")
            self.assertEqual(vm.hmp("p/o 8"), "010\n")
            self.assertEqual(vm.hmp("p/c 0x41"), "'A'\n")


    def test_last_format(self):
        """A line without a format has that of the one before."""
        with Machine("-monitor", "unix:mon.sock,server=on,wait=off") as vm:
            mon = Serial(os.path.join(vm.dir, "mon.sock"))
            mon.expect("(qemu) ")
            mon.tell(f"xp /1db {ENTRY}\nxp {ENTRY}\nprint 255\nprint/x 255\nxp {ENTRY}\n")
            for text in ("-6\r\n", "-6\r\n", "\r\n255\r\n", "\r\n0xff\r\n", ": 0xfa\r\n"):
                mon.expect(text)
            mon.sock.close()


class Lists(unittest.TestCase):
    def test_mtree(self):
        with Machine() as vm:
            text = vm.hmp("info mtree")
            memory, ports = text.split("\naddress-space: I/O\n")
            self.assertRegex(memory, r"\n  0{16}-[0-9a-f]{16} \(prio -?\d+, ram\): ")
            self.assertRegex(memory, r"00000000fec00000-00000000fec00fff \(prio \d+, i/o\): ")
            self.assertRegex(ports, r"00000000000003f8-00000000000003ff \(prio \d+, i/o\): ")
            last = -1
            for m in re.finditer(r"^  ([0-9a-f]{16})-([0-9a-f]{16}) ", memory, re.M):
                self.assertGreater(int(m.group(1), 16), last)
                last = int(m.group(2), 16)

    def test_qtree(self):
        with Machine("-device", "pcie-root-port,id=port", "-device", "virtio-rng-pci,id=random,bus=port") as vm:
            text = vm.hmp("info qtree")
            self.assertIn("bus: main-system-bus\n  type System\n", text)
            outer, inner = text.split('dev: pcie-root-port, id "port"')
            self.assertNotIn("virtio-rng-pci", outer)
            self.assertRegex(inner, r'\n +bus: port\n +type PCIE\n +dev: virtio-rng-pci, id "random"\n')
            self.assertIn("addr = 00.0", inner)
            self.assertIn("period = 65536 (0x10000)\n", inner)
            self.assertIn("pvpanic", text)
            brief = vm.hmp("info qtree -b")
            self.assertNotIn(" = ", brief)
            self.assertEqual(brief.count("dev: "), text.count("dev: "))

    def test_others(self):
        with Machine() as vm:
            self.assertEqual(vm.hmp("info network"), "")
            self.assertIn("no keyboard", vm.hmp("sendkey ctrl-alt-delete"))

    @unittest.skipUnless(shutil.which("passt"), "needs passt")
    def test_network(self):
        with Machine("-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,id=net0") as vm:
            self.assertEqual(vm.hmp("info network"), "net0: index=0,type=nic,model=virtio-net-pci,"
                             "macaddr=52:54:00:12:34:56\n \\ n0: index=0,type=user\n")
            mac = vm.cmd("qom-get", path="/machine/peripheral/net0", property="mac")
            self.assertEqual(mac, "52:54:00:12:34:56")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Guest memory in files: dump-guest-memory, memsave and pmemsave, read back as others read them."""
import os
import shutil
import struct
import subprocess
import tempfile
import threading
import time
import unittest
import zlib

from common import GUEST, Machine, main
from qmp import QmpError, TIMEOUT

PT_LOAD, PT_NOTE = 1, 4
PAGE = 4096


def notes_of(data):
    at, notes = 0, []
    while at < len(data):
        namesz, descsz, kind = struct.unpack_from("<III", data, at)
        name = data[at + 12:at + 12 + namesz].rstrip(b"\0").decode()
        at += 12 + (namesz + 3 & ~3)
        notes.append((name, kind, data[at:at + descsz]))
        at += descsz + 3 & ~3
    assert at == len(data)
    return notes


class Core:
    """An ELF core file: its segments by guest-physical address, its notes."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        ident, kind, machine = struct.unpack_from("<16sHH", self.data)
        phoff, = struct.unpack_from("<Q", self.data, 32)
        phentsize, phnum = struct.unpack_from("<HH", self.data, 54)
        assert ident[:7] == b"\x7fELF\x02\x01\x01" and kind == 4 and machine == 62 and phentsize == 56
        self.loads, self.addresses, self.notes = [], [], []
        for i in range(phnum):
            p = struct.unpack_from("<IIQQQQQQ", self.data, phoff + i * phentsize)
            assert p[2] + p[5] <= len(self.data) and p[5] == p[6]
            if p[0] == PT_LOAD:
                self.loads.append((p[4], p[5], p[2]))
                self.addresses.append(p[3])
            elif p[0] == PT_NOTE:
                self.notes += notes_of(self.data[p[2]:p[2] + p[5]])

    def read(self, gpa, size):
        for start, length, off in self.loads:
            if start <= gpa and gpa + size <= start + length:
                return self.data[off + gpa - start:off + gpa - start + size]
        raise KeyError(hex(gpa))


def unflatten(data):
    """The file that a flattened one stands for."""
    assert data[:16] == b"makedumpfile\0\0\0\0" and struct.unpack_from(">QQ", data, 16) == (1, 1)
    out, at = bytearray(), PAGE
    while True:
        off, size = struct.unpack_from(">qq", data, at)
        at += 16
        if off == size == -1:
            assert at == len(data)
            return bytes(out)
        assert size > 0 and at + size <= len(data)
        out.extend(bytes(max(0, off + size - len(out))))
        out[off:off + size] = data[at:at + size]
        at += size


class Kdump:
    """A kdump file, not flattened: its pages by number, its notes."""

    def __init__(self, data):
        self.data = data
        assert data[:8] == b"KDUMP   " and struct.unpack_from("<I", data, 8) == (6,)
        assert [data[12 + i * 65:12 + (i + 1) * 65].rstrip(b"\0") for i in range(6)] == [
            b"Linux", b"?", b"?", b"?", b"x86_64", b""]
        status, block, sub, bitmaps, frames = struct.unpack_from("<5I", data, 424)
        self.cpus, = struct.unpack_from("<I", data, 460)
        phys_base, level, split, _, _, info, _, notes, notes_len = struct.unpack_from("<QII6Q", data, block)
        assert (status, block, phys_base, level, split, info) == (1, PAGE, 0, 1, 0, 0)
        assert struct.unpack_from("<Q", data, block + 96) == (frames,)
        assert notes + notes_len <= (1 + sub) * PAGE and bitmaps * PAGE * 4 >= frames > (bitmaps - 2) * PAGE * 4
        self.notes = notes_of(data[notes:notes + notes_len])
        first = (1 + sub) * PAGE
        descs = first + bitmaps * PAGE
        middle = first + bitmaps // 2 * PAGE
        bits = data[first:middle]
        assert bits == data[middle:descs] and not any(bits[frames + 7 >> 3:])
        numbers = [i for i in range(frames) if bits[i >> 3] >> (i & 7) & 1]
        self.pages = {n: struct.unpack_from("<QIIQ", data, descs + 24 * i) for i, n in enumerate(numbers)}
        assert max(numbers) == frames - 1
        # The first page behind the descriptors is zero, for all pages that are.
        self.zero = descs + 24 * len(numbers)
        assert data[self.zero:self.zero + PAGE] == bytes(PAGE)

    def page(self, number):
        off, size, flags, page_flags = self.pages[number]
        raw = self.data[off:off + size]
        assert flags in (0, 1) and page_flags == 0 and off >= self.zero and len(raw) == size
        page = zlib.decompress(raw) if flags else raw
        assert len(page) == PAGE and (size < PAGE) == (flags == 1) and (off == self.zero) == (not any(page))
        return page


class Dump(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def test_core(self):
        with Machine("-smp", "2") as vm:
            vm.running()
            path = self.path("core")
            vm.cmd("dump-guest-memory", paging=False, protocol=f"file:{path}")
            names = [e["event"] for e in vm.events if e["event"] in ("STOP", "DUMP_COMPLETED", "RESUME")]
            self.assertEqual(names, ["STOP", "DUMP_COMPLETED", "RESUME"])
            info = vm.cmd("query-dump")
            self.assertEqual(info["status"], "completed")
            self.assertEqual(info["completed"], info["total"])
            self.assertEqual(vm.cmd("query-status")["status"], "running")
            vm.cmd("stop")
            vm.cmd("dump-guest-memory", paging=False, protocol=f"file:{path}", format="elf")
            self.assertEqual(vm.cmd("query-status")["status"], "paused")
            core = Core(path)
            self.assertEqual(sum(n for _, n, _ in core.loads), vm.cmd("query-dump")["total"])
            # The guest's program lies where it was loaded.
            with open(GUEST, "rb") as f:
                guest = f.read()
            program = [struct.unpack_from("<IIQQQQQQ", guest, 64 + i * 56)
                       for i in range(struct.unpack_from("<H", guest, 56)[0])]
            _, _, off, _, paddr, size, _, _ = next(p for p in program if p[0] == PT_LOAD and p[1] & 1)
            self.assertEqual(core.read(paddr, size)[:64], guest[off:off + size][:64])
            # All of it is what pmemsave writes.
            for gpa, length, _ in core.loads:
                vm.cmd("pmemsave", val=gpa, size=length, filename=self.path("piece"))
                with open(self.path("piece"), "rb") as f:
                    self.assertTrue(f.read() == core.read(gpa, length), hex(gpa))
            self.check_notes(core, vm)

    def check_notes(self, core, vm):
        self.assertEqual([(n, k, len(d)) for n, k, d in core.notes],
                         [("CORE", 1, 336)] * 2 + [("QEMU", 0, 440)] * 2)
        said = vm.cmd("human-monitor-command", {"command-line": "info registers"})
        qemu = core.notes[2][2]
        self.assertEqual(struct.unpack_from("<II", qemu), (1, 440))
        rip, = struct.unpack_from("<Q", qemu, 8 + 16 * 8)
        cr3, = struct.unpack_from("<Q", qemu, 440 - 8 - 16)
        self.assertIn(f"RIP={rip:016x}", said)
        self.assertIn(f"CR3={cr3:016x}", said)
        self.assertEqual(struct.unpack_from("<Q", core.notes[0][2], 112 + 16 * 8)[0], rip)

    def kdumps(self, vm):
        """The machine as it stands: a file each, and what came through a pipe."""
        for name, kind in (("flat", "kdump-zlib"), ("raw", "kdump-raw-zlib")):
            vm.cmd("dump-guest-memory", paging=False, protocol="file:" + self.path(name), format=kind)
        r, w = os.pipe()
        vm.cmd("getfd", {"fdname": "pipe"}, fds=[w])
        os.close(w)
        got = []
        with open(r, "rb") as pipe:
            reader = threading.Thread(target=lambda: got.append(pipe.read()))
            reader.start()
            vm.cmd("dump-guest-memory", paging=False, protocol="fd:pipe", format="kdump-zlib")
            reader.join()
        files = []
        for name in ("flat", "raw"):
            with open(self.path(name), "rb") as f:
                files.append(f.read())
        return *files, got[0]

    def test_kdump(self):
        with open(self.path("noise"), "wb") as f:
            f.write(os.urandom(8 * PAGE))
        with Machine("-smp", "2", "-initrd", self.path("noise")) as vm:
            vm.running()
            vm.cmd("stop")
            flat, raw, piped = self.kdumps(vm)
            self.assertTrue(flat == piped)
            self.assertTrue(unflatten(flat) == raw)
            dump = Kdump(raw)
            path = self.path("core")
            vm.cmd("dump-guest-memory", paging=False, protocol=f"file:{path}")
            core = Core(path)
            self.assertEqual(dump.notes, core.notes)
            self.check_notes(dump, vm)
            self.assertEqual(dump.cpus, 2)
            seen = set()
            for gpa, length, _ in core.loads:
                memory = core.read(gpa, length)
                for at in range(0, length, PAGE):
                    self.assertTrue(dump.page((gpa + at) // PAGE) == memory[at:at + PAGE], hex(gpa + at))
                    seen.add((gpa + at) // PAGE)
            self.assertEqual(seen, set(dump.pages))
            # Noise does not become smaller; most else does.
            plain = [p for p in dump.pages.values() if p[0] != dump.zero and not p[2]]
            self.assertIn(len(plain), range(7, 20))
            self.assertLess(len(raw), vm.cmd("query-dump")["total"] // 8)
            self.read_with_makedumpfile()
            vm.events.clear()
            vm.hmp(f'dump-guest-memory -z -R "{path}"')
            vm.event("DUMP_COMPLETED", TIMEOUT)
            with open(path, "rb") as f:
                self.assertTrue(f.read() == raw)
            vm.events.clear()
            vm.cmd("dump-guest-memory", paging=False, protocol=f"file:{path}", format="kdump-zlib", detach=True)
            vm.event("DUMP_COMPLETED", TIMEOUT)
            size = len(seen) * PAGE
            self.assertEqual(vm.cmd("query-dump"), {"status": "completed", "completed": size, "total": size})
            with open(path, "rb") as f:
                self.assertTrue(f.read() == flat)

    def read_with_makedumpfile(self):
        """Where it is installed: it makes the one file of the other, and reads the headers."""
        if not shutil.which("makedumpfile"):
            return
        with open(self.path("flat"), "rb") as f:
            subprocess.run(["makedumpfile", "-R", self.path("again")], stdin=f, check=True, capture_output=True)
        with open(self.path("again"), "rb") as a, open(self.path("raw"), "rb") as b:
            self.assertTrue(a.read() == b.read())
        said = subprocess.run(["makedumpfile", "-D", "--dump-dmesg", self.path("raw"), self.path("log")],
                              capture_output=True, text=True).stdout
        self.assertRegex(said, r"header_version *: 6\n(.*\n)*kdump sub header")

    def test_paging(self):
        with Machine("-smp", "2") as vm:
            path = self.path("core")
            vm.running()  # its second CPU has no paging
            vm.cmd("stop")
            vm.cmd("dump-guest-memory", paging=True, protocol=f"file:{path}")
            core = Core(path)
            self.assertEqual(core.addresses, sorted(core.addresses))
            mapped = [[int(n, 16) for n in line.split()[0].split("-")]
                      for line in vm.hmp("info mem").splitlines()]
            for (gpa, size, off), address in zip(core.loads, core.addresses):
                self.assertTrue(any(start <= address and address + size <= end for start, end in mapped))
                vm.cmd("memsave", val=address, size=size, filename=self.path("piece"))
                with open(self.path("piece"), "rb") as f:
                    self.assertTrue(f.read() == core.data[off:off + size], hex(address))
                self.assertIn(f"{gpa:#x}", vm.hmp(f"gva2gpa {address:#x}"))
            self.assertTrue(any(start <= 0x1000000 < start + size
                                for (_, size, _), start in zip(core.loads, core.addresses)))
            vm.events.clear()
            vm.hmp(f'dump-guest-memory -p "{path}" 0x1000000 0x3000')
            vm.event("DUMP_COMPLETED", TIMEOUT)
            core = Core(path)
            self.assertEqual([(gpa, n) for gpa, n, _ in core.loads], [(0x1000000, 0x3000)] * len(core.loads))
            self.assertIn(0x1000000, core.addresses)

    def test_part_and_detach(self):
        with Machine() as vm:
            vm.running()
            path = self.path("part")
            vm.cmd("dump-guest-memory", paging=False, protocol=f"file:{path}", detach=True, begin=0x1000123,
                   length=5000)
            end = vm.event("DUMP_COMPLETED", TIMEOUT)["data"]
            self.assertEqual(end, {"result": {"status": "completed", "completed": 5000, "total": 5000}})
            core = Core(path)
            self.assertEqual([(a, n) for a, n, _ in core.loads], [(0x1000123, 5000)])

    def test_slow_reader(self):
        """The machine stands still, answers, and is let go when the reader goes away."""
        with Machine() as vm:
            vm.running()
            r, w = os.pipe()
            vm.cmd("getfd", {"fdname": "pipe"}, fds=[w])
            os.close(w)
            vm.cmd("dump-guest-memory", paging=False, protocol="fd:pipe", detach=True)
            self.assertEqual(vm.cmd("query-dump")["status"], "active")
            self.assertEqual(vm.cmd("query-status")["status"], "save-vm")
            for name, args in (("cont", {}), ("migrate", {"uri": "file:" + self.path("x")}),
                               ("dump-guest-memory", {"paging": False, "protocol": "file:" + self.path("x")}),
                               ("pmemsave", {"val": 0, "size": 1, "filename": self.path("x")})):
                with self.assertRaises(QmpError):
                    vm.cmd(name, args)
            os.close(r)
            end = vm.event("DUMP_COMPLETED", TIMEOUT)["data"]
            self.assertEqual(end["result"]["status"], "failed")
            self.assertIn("error", end)
            until = time.monotonic() + TIMEOUT
            while vm.cmd("query-status")["status"] != "running":
                self.assertLess(time.monotonic(), until)

    def test_memsave(self):
        with Machine() as vm:
            vm.running()
            vm.cmd("memsave", val=0x1000000, size=4096, filename=self.path("virtual"))
            vm.cmd("pmemsave", val=0x1000000, size=4096, filename=self.path("physical"))
            with open(self.path("virtual"), "rb") as a, open(self.path("physical"), "rb") as b:
                data = a.read()
                self.assertEqual(len(data), 4096)
                self.assertEqual(data[:64], b.read()[:64])
            vm.cmd("human-monitor-command", {"command-line": f'pmemsave 0x1000000 16 "{self.path("hmp")}"'})
            until = time.monotonic() + TIMEOUT
            while not os.path.exists(self.path("hmp")) or os.path.getsize(self.path("hmp")) != 16:
                self.assertLess(time.monotonic(), until)
                time.sleep(0.01)

    def test_refused(self):
        with Machine() as vm:
            vm.running()
            r, w = os.pipe()
            vm.cmd("getfd", {"fdname": "pipe"}, fds=[w])
            kdump = {"paging": False, "protocol": "file:" + self.path("y"), "format": "kdump-zlib"}
            for name, args, text in (
                    ("dump-guest-memory", {**kdump, "begin": 0, "length": 4096}, "filter"),
                    ("dump-guest-memory", {**kdump, "paging": True}, "filter"),
                    ("dump-guest-memory", {**kdump, "format": "kdump-raw-zlib", "protocol": "fd:pipe"},
                     "out of order"),
                    ("dump-guest-memory", {**kdump, "protocol": "file:/dev/full"}, "No space"),
                    ("dump-guest-memory", {**kdump, "format": "kdump-lzo"}, "kdump-lzo"),
                    ("dump-guest-memory", {"paging": True, "protocol": "file:" + self.path("y"),
                                           "begin": 1 << 50, "length": 1}, "no memory"),
                    ("dump-guest-memory", {"paging": False, "protocol": "tcp:1:2"}, "must start with"),
                    ("dump-guest-memory", {"paging": False, "protocol": "file:/nonexistent/x"}, "No such file"),
                    ("dump-guest-memory", {"paging": False, "protocol": "fd:none"}, "none"),
                    ("dump-guest-memory", {"paging": False, "protocol": "file:/x", "begin": 1}, "length"),
                    ("dump-guest-memory", {"paging": False, "protocol": "file:" + self.path("y"),
                                           "begin": 1 << 50, "length": 1}, "no memory"),
                    ("dump-guest-memory", {"paging": False, "protocol": "file:/dev/full"}, "No space"),
                    ("pmemsave", {"val": 1 << 50, "size": 1, "filename": self.path("y")}, "no memory at physical"),
                    ("pmemsave", {"val": -1, "size": 2, "filename": self.path("y")}, "no piece"),
                    ("memsave", {"val": 0, "size": -1, "filename": self.path("y")}, "no piece"),
                    ("memsave", {"val": -4096, "size": 1, "filename": self.path("y")}, "no memory at virtual"),
                    ("memsave", {"val": 1 << 62, "size": 1, "filename": self.path("y")}, "no memory at virtual"),
                    ("memsave", {"val": 0, "size": 1, "filename": self.path("y"), "cpu-index": 7}, "cpu-index")):
                with self.assertRaises(QmpError) as caught:
                    vm.cmd(name, args)
                self.assertIn(text, str(caught.exception), name)
                self.assertEqual(vm.cmd("query-status")["status"], "running", args)
            os.close(r)
            os.close(w)
            self.assertEqual(vm.cmd("query-dump-guest-memory-capability"),
                             {"formats": ["elf", "kdump-zlib", "kdump-raw-zlib"]})


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A 32-bit program as PID 1 of a guest says what it says on this host, with the translator beside the interpreter.

    tests/guest/program32.py HANOK PROGRAM SUITE [lockstep]

PROGRAM is built from program32.c. SUITE is a kernel of 64 or (NAME-i386) of 32 bits. Exit code 77 (skipped) when it
was not fetched (tools/check.py does that), or this host does not run 32-bit programs.
"""
import lzma
import os
import re
import struct
import subprocess
import sys
import tempfile

SKIP = 77
TIMEOUT = 300


def cpio(name, mode, data=b"", device=(0, 0)):
    fields = [1, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0]
    entry = b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
    entry += bytes(-len(entry) % 4) + data
    return entry + bytes(-len(entry) % 4)


def initrd(program):
    return (cpio("dev", 0o40755) + cpio("dev/console", 0o20600, device=(5, 1)) + cpio("init", 0o100755, program) +
            cpio("TRAILER!!!", 0))


def elf64(bzimage):
    """The 32-bit ELF file in a compressed kernel, as a 64-bit one: its way in is that of PVH, in 32-bit code."""
    at = (bzimage[0x1f1] + 1) * 512 + struct.unpack_from("<I", bzimage, 0x248)[0]
    elf = lzma.LZMADecompressor().decompress(bzimage[at:])
    entry, table = struct.unpack_from("<II", elf, 24)
    count = struct.unpack_from("<H", elf, 44)[0]
    head = elf[:4] + bytes([2, 1, 1]) + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, count, 0, 0, 0)
    for i in range(count):
        kind, off, lin, phys, size, room, flags, align = struct.unpack_from("<8I", elf, table + 32 * i)
        head += struct.pack("<IIQQQQQQ", kind, flags, off + 0x1000, lin, phys, size, room, align)
    return head.ljust(0x1000, b"\0") + elf


def on_host(program):
    try:
        return subprocess.run([program], stdout=subprocess.PIPE, timeout=60, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError) as e:
        print(f"this host does not run 32-bit programs: {e}")
        sys.exit(SKIP)


def main():
    hanok, program, suite = sys.argv[1:4]
    lockstep = sys.argv[4:] == ["lockstep"]
    kernel = os.path.join(os.environ.get("HANOK_GUESTS", ""), suite, "vmlinuz")
    if not os.path.exists(kernel):
        print(f"no kernel {kernel}")
        return SKIP
    want = on_host(program).split("\n")[:-1]
    with tempfile.TemporaryDirectory() as work:
        if suite.endswith("-i386"):
            with open(kernel, "rb") as packed, open(f"{work}/kernel", "wb") as f:
                f.write(elf64(packed.read()))
            kernel = f"{work}/kernel"
        with open(program, "rb") as code, open(f"{work}/initrd", "wb") as f:
            f.write(initrd(code.read()))
        os.symlink(os.path.abspath(hanok), f"{work}/qemu-system-x86_64")
        proc = subprocess.run(
            [f"{work}/qemu-system-x86_64", "-accel", "tcg,lockstep=on" if lockstep else "tcg", "-m", "512M",
             "-smp", "1" if lockstep else "2", "-kernel", kernel, "-initrd", f"{work}/initrd", "-nographic",
             "-append", "console=ttyS0 quiet panic=-1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT)
    text = proc.stdout.decode(errors="replace").replace("\r", "")
    print(text)
    names = "|".join({line.split()[0] for line in want})
    said = re.findall(rf"^(?:{names}) [0-9a-f]{{8}}$", text, re.M)
    if proc.returncode != 0 or said != want:
        print(f"FAILED: exit code {proc.returncode}; the host says:", *want, sep="\n")
        return 1
    if lockstep and not re.search(r"lockstep: vCPU 0: .*: no difference", text):
        print("FAILED: the engine did not say that it compared")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

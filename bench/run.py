#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measurements for docs/measurements.md, as ratios against QEMU's TCG where there is one.

    bench/run.py BUILDDIR [NAME...]

Names: ips, start, boot, memory, idle, ports. Runs of the two sides alternate; medians are printed with
their spread. CPU seconds, not wall time: machines are shared.
"""
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
GUEST_RAM_AT_LEAST = 128 << 20  # bytes


def cpu_of(command):
    """(CPU seconds of the process and its children, exit code, output) of a whole run."""
    with tempfile.TemporaryFile() as out:
        pid = os.posix_spawnp(command[0], command, os.environ,
                              file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                                            (os.POSIX_SPAWN_DUP2, out.fileno(), 1),
                                            (os.POSIX_SPAWN_DUP2, out.fileno(), 2)])
        _, status, usage = os.wait4(pid, 0)
        out.seek(0)
        text = out.read().decode(errors="replace")
    return usage.ru_utime + usage.ru_stime, os.waitstatus_to_exitcode(status), text


def show(name, values, unit):
    print(f"{name}: median {statistics.median(values):.3f} {unit} "
          f"(from {min(values):.3f} to {max(values):.3f}, {len(values)} runs)", flush=True)


SAY = bytes([0xb0, 0x7e, 0xe6, 0xe9])  # mov $'~',%al; out %al,$0xe9
HALT = bytes([0xfa, 0xf4, 0xeb, 0xfd])  # cli; hlt


def tiny_kernel(path, code=SAY + HALT):
    """An ELF kernel of these instructions; without them it writes '~' to the debug console and halts."""
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", 0x100000)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\177ELF\2\1\1", 2, 62, 1, 0x100000, 64, 0, 0, 64, 56, 2,
                       0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0x1000, 0x100000, 0x100000, len(code), len(code), 0x1000)
    notes = struct.pack("<IIQQQQQQ", 4, 4, 0x800, 0, 0, len(note), len(note), 4)
    image = bytearray(0x1000)
    image[:len(head + load + notes)] = head + load + notes
    image[0x800:0x800 + len(note)] = note
    with open(path, "wb") as out:
        out.write(bytes(image) + code)


def cpu_so_far(pid):
    """CPU milliseconds that the threads of a live process have had since its exec."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
            total += int(stat.read().split()[0])
    return total / 1e6


class Bench:
    def __init__(self, build):
        self.hanok = os.path.join(build, "hanok")
        self.build = build
        self.guest = os.path.join(build, "guest", "native")
        if not os.path.exists(f"{self.guest}/initrd.cpio"):
            subprocess.run([f"{TOP}/tools/guest_kernel.sh", "native", self.guest], check=True)
            subprocess.run([f"{TOP}/tools/guest_initrd.sh", self.guest, f"{self.guest}/initrd.cpio"],
                           check=True)

    def guest_args(self, do):
        return ["-M", "q35", "-accel", "tcg", "-m", "512M", "-smp", "1", "-nodefaults", "-display", "none",
                "-serial", "stdio", "-monitor", "none", "-no-reboot", "-kernel", f"{self.guest}/vmlinuz",
                "-initrd", f"{self.guest}/initrd.cpio", "-append",
                f"console=ttyS0 quiet hanok.do={do}"]

    def boot(self):
        """CPU time of a boot to init's report and power-off, no disk or network, both sides."""
        ours, theirs = [], []
        qemu = shutil.which("qemu-system-x86_64")
        for _ in range(RUNS):
            seconds, code, text = cpu_of([self.hanok, "qemu"] + self.guest_args("demo"))
            if code or "guest: done" not in text:
                print("boot: hanok's guest did not finish\n" + text[-2000:])
                return False
            ours.append(seconds)
            if qemu:
                theirs.append(cpu_of([qemu, "-cpu", "max"] + self.guest_args("demo"))[0])
        show("boot, hanok, CPU", ours, "s")
        if theirs:
            show("boot, QEMU TCG, CPU", theirs, "s")
            print(f"boot: hanok / TCG = {statistics.median(ours) / statistics.median(theirs):.2f}")
        return True

    def start(self):
        """CPU time from exec to the first guest instructions, of a guest that then halts for good."""
        with tempfile.TemporaryDirectory() as work:
            kernel = os.path.join(work, "tiny")
            tiny_kernel(kernel)
            line = [self.hanok, "qemu", "-accel", "tcg", "-m", "512M", "-nodefaults", "-display", "none", "-kernel", kernel,
                    "-chardev", "stdio,id=c", "-device", "isa-debugcon,chardev=c"]
            values = []
            for _ in range(RUNS * 4):
                proc = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, close_fds=False)
                first = proc.stdout.read(1)
                values.append(cpu_so_far(proc.pid))
                proc.terminate()
                proc.wait()
                if first != b"~":
                    print(f"start: the guest's first byte is {first}")
                    return False
        show("exec to first guest instruction, CPU", values, "ms")
        return True

    def ports(self):
        """CPU time of a read of COM1's line status, which is what an access to a device costs at the least."""
        loops = 2000000
        # mov $loops,%ecx; mov $0x3fd,%dx; 1: in (%dx),%al; in (%dx),%al; loop 1b
        code = SAY + struct.pack("<BI", 0xb9, loops) + bytes([0x66, 0xba, 0xfd, 0x03, 0xec, 0xec, 0xe2, 0xfc]) + SAY
        with tempfile.TemporaryDirectory() as work:
            kernel = os.path.join(work, "tiny")
            tiny_kernel(kernel, code + HALT)
            line = [self.hanok, "qemu", "-accel", "tcg", "-m", "64M", "-nodefaults", "-display", "none", "-serial",
                    "null", "-kernel", kernel, "-chardev", "stdio,id=c", "-device", "isa-debugcon,chardev=c"]
            values = []
            for _ in range(RUNS):
                proc = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, bufsize=0)
                times = [(proc.stdout.read(1), cpu_so_far(proc.pid)) for _ in range(2)]
                proc.terminate()
                proc.wait()
                if [said for said, _ in times] != [b"~", b"~"]:
                    print(f"ports: the guest said {times}")
                    return False
                values.append((times[1][1] - times[0][1]) * 1e6 / loops / 2)
        show("read of a serial port's register, CPU", values, "ns")
        return True

    def running(self, do, marker, measure):
        """Starts a guest, waits for marker on its console, returns measure(pid)."""
        proc = subprocess.Popen([self.hanok, "qemu"] + self.guest_args(do), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            for line in proc.stdout:
                if marker in line:
                    return measure(proc.pid)
            return None
        finally:
            proc.terminate()
            proc.wait()

    def memory(self):
        """Resident memory of the process that is not guest RAM, at the guest's prompt."""

        def beside_ram(pid):
            time.sleep(20)  # the prompt is there; the guest comes to rest, and is idle for long enough
            total, count = 0, False
            with open(f"/proc/{pid}/smaps") as maps:
                for line in maps:
                    area = re.match(r"^([0-9a-f]+)-([0-9a-f]+) ", line)
                    if area:
                        # Guest RAM is private memory without a name: nothing else is that large.
                        size = int(area[2], 16) - int(area[1], 16)
                        count = size < GUEST_RAM_AT_LEAST
                    elif line.startswith("Rss:") and count:
                        total += int(line.split()[1])
            return total / 1024

        values = [self.running("idle", b"guest: idle", beside_ram) for _ in range(3)]
        if None in values:
            return False
        show("resident memory beside guest RAM", values, "MiB")
        return True

    def idle(self):
        """Share of one core that an idle guest costs over ten seconds."""

        def share(pid):
            def ticks():
                with open(f"/proc/{pid}/stat") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
                return int(fields[11]) + int(fields[12])

            time.sleep(2)
            before, start = ticks(), time.monotonic()
            time.sleep(10)
            used = (ticks() - before) / os.sysconf("SC_CLK_TCK")
            return 100 * used / (time.monotonic() - start)

        values = [self.running("idle", b"guest: idle", share) for _ in range(3)]
        if None in values:
            return False
        show("idle guest, share of one core", values, "%")
        return True

    def ips(self):
        """Guest instructions per second in small loops (bench/ips.c)."""
        return subprocess.run([os.path.join(self.build, "bench", "bench-ips")]).returncode == 0


def main():
    bench = Bench(sys.argv[1])
    names = sys.argv[2:] or ["ips", "start", "boot", "memory", "idle", "ports"]
    ok = True
    for name in names:
        ok &= getattr(bench, name)()
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where a workload's time goes, and the host code that most of it is spent in, from turns.py's samples.

    bench/hot.py PROFILE [TOP]

PROFILE is a path that turns.py --profile made, without its suffix. First the shares of host code (by its part of the code
memory), of hanok's functions and of the host's kernel; then the TOP (20) hottest stretches of host code,
disassembled by objdump, with the samples of each instruction. Registers are as docs/engine.md has them.
"""
import bisect
import collections
import contextlib
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

GAP = 48  # bytes without a sample between two stretches
COLD = 64 << 20  # JIT_COLD of jit/code.h


def maps(pid):
    """(start, end) of a process's executable code memories."""
    with open(f"/proc/{pid}/maps") as text:
        for line in text:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r-xs .*hanok-code", line)
            if found:
                yield int(found[1], 16), int(found[2], 16)


def keep_code(pid, where):
    """Copies what host code there is, holes left out."""
    with open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for start, end in maps(pid):
            with open(f"{where}.code.{start:x}", "wb") as out:
                for at in range(start, end, 1 << 20):
                    mem.seek(at)
                    data = mem.read(min(1 << 20, end - at))
                    if data.strip(b"\0"):
                        out.seek(at - start)
                        out.write(data)


@contextlib.contextmanager
def recorded(machine, where):
    """Samples the machine's process meanwhile."""
    for old in glob.glob(f"{where}.code.*"):
        os.unlink(old)
    perf = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "3999", "-o", f"{where}.perf", "-p",
                             str(machine.proc.pid)], stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    try:
        yield
    finally:
        perf.send_signal(signal.SIGINT)
        perf.wait()
        keep_code(machine.proc.pid, where)


def codes(where):
    """start -> path of the copies of code memories."""
    return {int(path.rsplit(".", 1)[1], 16): path for path in glob.glob(f"{where}.code.*")}


def samples(where):
    """(address, symbol, dso) of each sample."""
    text = subprocess.run(["perf", "script", "-i", f"{where}.perf", "-F", "ip,sym,dso"], capture_output=True, text=True,
                          check=True).stdout
    for line in text.splitlines():
        found = re.match(r"\s*([0-9a-f]+) (.*?) \(([/\[].*)\)$", line)
        if found:
            yield int(found[1], 16), found[2], found[3]


def shares(all_samples, starts):
    by = collections.Counter()
    for ip, symbol, dso in all_samples:
        if "hanok-code" in dso:
            off = ip - starts[bisect.bisect(starts, ip) - 1]
            by["host code", "routines" if off < 8192 else "blocks" if off < COLD else "out of the way"] += 1
        else:
            by["kernel" if "kernel" in dso else os.path.basename(dso), symbol] += 1
    whole = sum(by.values())
    parts = collections.Counter()
    for (part, _), n in by.items():
        parts[part] += n
    for part, n in parts.most_common():
        print(f"{n / whole * 100:6.2f} % {part}")
        for (_, symbol), m in [x for x in by.most_common() if x[0][0] == part and x[1] * 300 > whole]:
            print(f"{m / whole * 100:15.2f} % {symbol}")


def disassembled(path, start, first, last):
    with open(path, "rb") as code, tempfile.NamedTemporaryFile() as part:
        code.seek(first - start)
        part.write(code.read(last - first + 16))
        part.flush()
        text = subprocess.run(["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "--no-show-raw-insn",
                               f"--adjust-vma={first:#x}", part.name], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^\s*([0-9a-f]+):\s+(.*)$", text, re.M)


def stretches(hits):
    """Lists of addresses with little between them."""
    group = []
    for ip in sorted(hits):
        if group and ip - group[-1] > GAP:
            yield group
            group = []
        group.append(ip)
    if group:
        yield group


def annotate(all_samples, where, starts, top):
    hits = collections.Counter(ip for ip, _, dso in all_samples if "hanok-code" in dso)
    groups = sorted(stretches(hits), key=lambda g: -sum(hits[ip] for ip in g))
    for group in groups[:top]:
        start = starts[bisect.bisect(starts, group[0]) - 1]
        print(f"\n{sum(hits[ip] for ip in group) / len(all_samples) * 100:.2f} %, offset {group[0] - start:#x}")
        for at, what in disassembled(codes(where)[start], start, group[0], group[-1]):
            print(f"{hits.get(int(at, 16), ''):>7} {at}  {what}")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    where, top = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
    found, starts = list(samples(where)), sorted(codes(where))
    shares(found, starts)
    annotate(found, where, starts, top)


if __name__ == "__main__":
    main()

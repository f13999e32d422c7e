#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How quick hanok's soft engine is beside QEMU's TCG, on the same kernel, root and binaries; native beside them.

    bench/compare.py [--runs N] [--quick] [--by cpu|wall] BUILDDIR [CLASS...]

Both guests (2 vCPUs, 2 GiB) are up at the same time; workload by workload runs on one, then on the other, then
on this host, so that whatever else the host does hits all. A ratio is of one such pair; medians of them are
printed with their spread (the middle half of the ratios). CPU seconds of the process that is the machine unless --by wall, which is the guest's
monotonic clock: machines are shared. All runs go to BUILDDIR/bench/runs-TIME.json. The exit code says only
whether everything ran and computed the same; this is no timed test.
"""
import argparse
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time

import machines
from workloads import CLASSES, KERNELS, MEANS, REAL, SETUP, WORKLOADS

SIDES = ["hanok", "tcg", "native"]


def geomean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def spread(values):
    """The middle half; of few values the smallest and the largest."""
    if len(values) < 4:
        return min(values), max(values)
    quarters = statistics.quantiles(values, n=4, method="inclusive")
    return quarters[0], quarters[2]


class Boots:
    """From exec to a marker on the console, each in a process of its own."""

    def __init__(self, build):
        self.build, guest = build, f"{build}/guest/native"
        native = ["-initrd", f"{guest}/initrd.cpio", "-serial", "stdio", "-append"]
        base = "console=ttyS0 quiet panic=-1"
        self.kinds = {
            "kernel to init": (native + [f"{base} hanok.do=idle"], b"guest: idle", "512M"),
            "systemd to login": (machines.root(build) + ["-serial", "stdio", "-append", f"{base} hanok.do=root"],
                                 b"login: ", "1G"),
            "demo to prompt": (["-nic", "user,model=virtio-net-pci"] + native + [f"{base} hanok.do=shell"], b"# ", "512M"),
        }

    def run(self, kind, which):
        more, marker, memory = self.kinds[kind]
        wall, cpu = machines.boot(machines.engine(self.build, which) + machines.board(self.build, 2, memory) + more,
                                  marker)
        return {"wall": wall, "cpu": cpu}


class Bench:
    def __init__(self, build, runs, by, classes):
        self.build, self.runs, self.by = build, runs, by
        self.classes = [c for c in CLASSES if not classes or c.name in classes]
        self.work = [w for w in WORKLOADS if w.of in {c.name for c in self.classes}]
        self.all = {}       # (class, workload) -> side -> list of {"wall", "cpu"}
        self.outputs = {}   # workload -> side -> output
        self.ok = True
        self.raw = os.path.join(build, "bench", time.strftime("runs-%Y%m%d-%H%M%S.json", time.gmtime()))
        self.about = {
            "host": cpu_name(), "kernel": platform.release(), "qemu": machines.qemu(build)[1],
            "guest kernel": open(f"{build}/guest/native/version").read().strip(), "by": by, "runs": runs,
            "hanok": subprocess.run(["git", "-C", machines.TOP, "describe", "--always", "--dirty"],
                                    capture_output=True, text=True).stdout.strip()}

    def keep(self, key, side, times):
        self.all.setdefault(key, {s: [] for s in SIDES})[side].append(times)

    def save(self):
        runs = [{"class": c, "workload": w, "runs": sides} for (c, w), sides in self.all.items()]
        with open(self.raw + ".new", "w") as out:
            json.dump({"about": self.about, "load": os.getloadavg(), "workloads": runs}, out, indent=1)
        os.rename(self.raw + ".new", self.raw)

    def boots(self):
        boots = Boots(self.build)
        for turn in range(self.runs):
            for kind in boots.kinds:
                for side in ("hanok", "tcg"):
                    self.keep(("boot", kind), side, boots.run(kind, side))
            self.save()
            print(f"bench: boots, run {turn + 1} of {self.runs}", file=sys.stderr, flush=True)

    def one(self, machine, w):
        result = machine.run(w.command)
        text = result.text
        if w.then and result.status == 0:
            after = machine.run(w.then)
            result = result._replace(status=after.status)
            text += after.text
        if result.status:
            print(f"bench: {w.name} on {machine.name}: status {result.status}: {text}")
            self.ok = False
            return
        self.outputs.setdefault(w.name, {})[machine.name] = text
        self.keep((w.of, w.name), machine.name, {"wall": result.wall, "cpu": result.cpu})

    def rounds(self):
        sides = []
        try:
            for make in (lambda: machines.Guest(self.build, "hanok"), lambda: machines.Guest(self.build, "tcg"),
                         lambda: machines.Native(self.build)):
                sides.append(make())
            for machine in sides:
                setup = machine.run(SETUP)
                if setup.status:
                    raise machines.Failed(f"{machine.name}: {setup}")
            for turn in range(self.runs):
                for w in self.work:
                    for machine in sides:
                        self.one(machine, w)
                self.save()
                print(f"bench: run {turn + 1} of {self.runs}", file=sys.stderr, flush=True)
            self.idle(sides[:2])
            self.translators(sides[1])
        finally:
            for machine in sides:
                machine.close()

    def idle(self, guests):
        for machine in guests:
            before = machine.used()
            time.sleep(5)
            self.about[f"idle {machine.name}"] = (machine.used() - before) / 5

    def translators(self, tcg):
        """What the two make of guest code: hanok by a program that translates its own text, TCG by its monitor."""
        ours = subprocess.run([f"{self.build}/bench/bench-xlat"], capture_output=True, text=True, check=True)
        expansion = re.search(r"expansion ratio: ([\d.]+)", tcg.monitor("info jit"))
        self.about["translator"] = ours.stdout.strip()
        self.about["TCG expansion"] = float(expansion[1]) if expansion else None

    def differ(self):
        for name, texts in self.outputs.items():
            if len(set(texts.values())) > 1:
                print(f"bench: {name} does not compute the same everywhere: {texts}")
                self.ok = False

    def ratios(self, key, by):
        sides = self.all[key]
        return [t[by] / h[by] for h, t in zip(sides["hanok"], sides["tcg"])]

    def median(self, key, side):
        times = [t[self.by] for t in self.all[key][side]]
        return f"{statistics.median(times) * 1000:9.1f}" if times else " " * 9

    def table(self):
        what = "CPU time of the machine's process" if self.by == "cpu" else "wall time by the guest's clock"
        other = "wall" if self.by == "cpu" else "cpu"
        print(f"{self.about['host']}, host kernel {self.about['kernel']}; guest kernel {self.about['guest kernel']}\n"
              f"TCG: {self.about['qemu']}, -accel tcg,thread=multi -cpu max\n"
              f"ms of {what}, medians of {self.runs}; ratio TCG / hanok with its middle half, and by {other} time\n")
        print(f"{'':13}{'workload':18}{'native':>9}{'hanok':>10}{'TCG':>10}{'ratio':>8}  {'spread':15}{other:>6}")
        means, misses, slower = {}, [], []
        for c in self.classes:
            of_class = []
            for key in [k for k in self.all if k[0] == c.name and self.all[k]["hanok"] and self.all[k]["tcg"]]:
                ratio = statistics.median(self.ratios(key, self.by))
                low, high = spread(self.ratios(key, self.by))
                beside = statistics.median(self.ratios(key, other))
                of_class.append(ratio)
                if ratio < 1:
                    slower.append(f"{key[1]} {ratio:.2f}")
                print(f"{'':13}{key[1]:18}{self.median(key, 'native')} {self.median(key, 'hanok')} "
                      f"{self.median(key, 'tcg')}{ratio:8.2f}  {f'{low:.2f} to {high:.2f}':15}{beside:6.2f}"
                      f"{'  SLOWER' if ratio < 1 else ''}")
            if of_class:
                self.verdict(c.name, geomean(of_class), c.floor, c.aim, misses)
                means.setdefault(c.group, []).extend(of_class)
        for group, (floor, aim) in MEANS.items():
            if group in means:
                self.verdict(f"geometric mean of {group}", geomean(means[group]), floor, aim, misses)
        demo = ("boot", "demo to prompt")
        if self.all.get(demo):
            for by in ("cpu", "wall"):
                hanok, tcg = (statistics.median(t[by] for t in self.all[demo][s]) for s in ("hanok", "tcg"))
                print(f"demo to its prompt, {by}: {hanok:.2f} s, TCG {tcg:.2f} s: {hanok / tcg:.2f} of it (goal 0.33)")
        for side in ("hanok", "tcg"):
            if f"idle {side}" in self.about:
                print(f"idle guest, share of one core: {side} {self.about[f'idle {side}'] * 100:.2f} %")
        if "translator" in self.about:
            print(f"hanok's translator: {self.about['translator']}\n"
                  f"TCG's: {self.about['TCG expansion']} host bytes for one of the guest")
        print(f"below their floor: {', '.join(misses) or 'none'}\nslower than TCG: {', '.join(slower) or 'none'}\n"
              f"raw runs: {self.raw}")

    def verdict(self, name, mean, floor, aim, misses):
        said = "aim reached" if mean >= aim else "floor reached" if mean >= floor else "BELOW ITS FLOOR"
        print(f"{name}: {mean:.2f} (floor {floor}, aim {aim}): {said}")
        if mean < floor:
            misses.append(f"{name} {mean:.2f} of {floor}")


def cpu_name():
    with open("/proc/cpuinfo") as info:
        return next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "?")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", metavar="BUILDDIR")
    parser.add_argument("classes", metavar="CLASS", nargs="*", help=", ".join(c.name for c in CLASSES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two runs")
    parser.add_argument("--by", choices=["cpu", "wall"], default="cpu")
    args = parser.parse_args()
    unknown = set(args.classes) - {c.name for c in CLASSES}
    if unknown:
        parser.error(f"no class {', '.join(sorted(unknown))}")
    build = os.path.abspath(args.build)
    subprocess.run([f"{machines.TOP}/bench/image.sh", build, "qemu"], check=True)
    bench = Bench(build, 2 if args.quick else args.runs, args.by, args.classes)
    if any(c.name == "boot" for c in bench.classes):
        bench.boots()
    if bench.work:
        bench.rounds()
    bench.save()
    bench.differ()
    bench.table()
    return 0 if bench.ok else 1


if __name__ == "__main__":
    sys.exit(main())

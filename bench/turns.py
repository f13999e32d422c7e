#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two or more builds of hanok beside each other on bench's workloads: what a change brings.

    bench/turns.py [--runs N] [--info] [--profile DIR] BUILDDIR[,DIR...] WORKLOAD[,WORKLOAD...]

The first directory is a build with bench's images (bench/compare.py makes them); the others need a `hanok` only, and
`tcg` stands for QEMU. All guests are up together; each run goes from one to the next. Printed are milliseconds
of CPU time of the machine's process: the first run, the median and the least of all, and what the median and the least are of
the first build's. Workloads by their names in workloads.py, or `gcc -O0`; a name's beginning will do.
"""
import argparse
import contextlib
import os
import statistics
import sys

import hot
import machines
from workloads import SETUP, STB, WORKLOADS, Workload

MORE = [Workload("compilers", "gcc -O0", (STB % ("STB_TRUETYPE", "tt", "stb_truetype")).replace("-O2", "-O0"), None)]


def guest(images, build, nr):
    """A guest of some build's hanok, or of QEMU, on the first build's images."""
    if build == "tcg":
        return machines.Guest(images, "tcg")
    made = machines.Guest(images, "hanok", program=os.path.join(build, "hanok"))
    made.name = f"{nr}-{os.path.basename(os.path.dirname(build))}"
    return made


def find(name):
    found = [w for w in MORE + WORKLOADS if w.name == name] or [w for w in WORKLOADS + MORE if w.name.startswith(name)]
    if not found:
        sys.exit(f"turns: no workload {name}; there are: {', '.join(w.name for w in WORKLOADS + MORE)}")
    return found[0]


def one(side, work, profile):
    """CPU ms of one run; profile: where perf's samples of it go, or None."""
    with hot.recorded(side, profile) if profile else contextlib.nullcontext():
        result = side.run(work.command)
    if result.status:
        sys.exit(f"turns: {work.name} on {side.name}: status {result.status}: {result.text}")
    return result.cpu * 1000


def compare(sides, work, runs, profile):
    times = {side.name: [] for side in sides}
    for turn in range(runs):
        for side in sides:
            where = os.path.join(profile, f"{side.name}.{work.name.replace(' ', '')}") if profile else None
            times[side.name].append(one(side, work, where if turn == runs - 1 else None))
    base = times[sides[0].name]
    for side in sides:
        t = times[side.name]
        print(f"{work.name:16}{side.name:16} first {t[0]:8.0f}  median {statistics.median(t):8.0f}  least {min(t):8.0f}"
              f"   {statistics.median(t) / statistics.median(base):6.3f} {min(t) / min(base):6.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds")
    parser.add_argument("workloads")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--info", action="store_true", help="what `info jit` says in the end")
    parser.add_argument("--profile", metavar="DIR", help="perf's samples of the last runs go there: see hot.py")
    args = parser.parse_args()
    builds = [b if b == "tcg" else os.path.abspath(b) for b in args.builds.split(",")]
    work = [find(w) for w in args.workloads.split(",")]
    if args.profile:
        os.makedirs(args.profile, exist_ok=True)
    sides = []
    try:
        for i, build in enumerate(builds):
            sides.append(guest(builds[0], build, i))
            sides[-1].run(SETUP)
        for w in work:
            compare(sides, w, args.runs, args.profile)
        for side in sides if args.info else []:
            print(side.name, side.monitor("info jit"))
    finally:
        for side in sides:
            side.close()


if __name__ == "__main__":
    main()

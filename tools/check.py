#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of a build directory and says in one line how they went.

    tools/check.py [--fast | --long] [--no-guests] BUILDDIR

--fast leaves the guest boots of other Debian releases, programs in guests and the long CPU-truth run out;
--long adds the long combinations. The last line is "N passed, N failed, N skipped".
"""
import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def fetch_guests(build, suites):
    """Kernel and initramfs of each suite under BUILDDIR/guest; a second run finds them there."""
    for suite in suites:
        out = os.path.join(build, "guest", suite)
        subprocess.run([f"{HERE}/guest_kernel.sh", suite, out], check=True)
        if suite.endswith("-i386"):
            continue  # the program that it runs is all that it has
        initrd = os.path.join(out, "initrd.cpio")
        parts = [f"{HERE}/guest/init", f"{HERE}/guest_initrd.sh"]
        if not os.path.exists(initrd) or os.path.getmtime(initrd) < max(map(os.path.getmtime, parts)):
            subprocess.run([f"{HERE}/guest_initrd.sh", out, initrd], check=True)


def run_meson(build, args):
    """Runs meson test; returns (passed, failed, skipped) from its log."""
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    subprocess.run(["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs"] + args)
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    if not os.path.exists(log):
        return 0, 1, 0
    with open(log) as lines:
        for line in lines:
            result = json.loads(line)["result"]
            key = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}.get(result, "failed")
            counts[key] += 1
    return counts["passed"], counts["failed"], counts["skipped"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--no-guests", action="store_true")
    args = parser.parse_args()

    options = []
    if args.fast:
        options += ["--no-suite", "truth"]
    if not args.long:
        options += ["--no-suite", "long"]
    if args.no_guests:
        options += ["--no-suite", "guest", "--no-suite", "long"]
    else:
        fetch_guests(args.build, ["native"] if args.fast else ["native", "trixie", "trixie-backports", "bookworm-i386"])
        if not args.fast:
            subprocess.run([f"{HERE}/../bench/image.sh", args.build], check=True)
        os.environ["HANOK_GUESTS"] = os.path.abspath(os.path.join(args.build, "guest"))
    passed, failed, skipped = run_meson(args.build, options)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())

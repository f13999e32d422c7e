#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""iasl takes the ACPI tables apart and together again without a warning.

    check_iasl.py DUMP_TABLES

Exit code 77 (skipped) when iasl is not installed.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile


def iasl(args, cwd):
    proc = subprocess.run(["iasl"] + args, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return proc.returncode, proc.stdout.decode(errors="replace")


def body(dsl):
    """The code of a disassembly, without the comment on top and the line that names the file."""
    with open(dsl) as text:
        return text.read().split("DefinitionBlock", 1)[1].split("\n", 1)[1]


def check(table, cwd):
    """Disassembles and reassembles one table; returns what is wrong with it, or None."""
    name = os.path.basename(table)
    code, text = iasl(["-d", name], cwd)
    if code or re.search(r"\b(Error|Warning)\b", text):
        return f"{name}: taken apart with complaints:\n{text}"
    if name.startswith("FACS"):
        return None
    code, text = iasl(["-we", "-oa", "-p", "again", name.replace(".dat", ".dsl")], cwd)
    summary = re.search(r"(\d+) Errors, (\d+) Warnings, (\d+) Remarks", text)
    if code or (summary and (summary.group(1) != "0" or summary.group(2) != "0")):
        return f"{name}: put together with complaints:\n{text}"
    if not summary and "Compilation" not in text and "successful" not in text:
        return f"{name}: no verdict from iasl:\n{text}"
    if name.startswith("DSDT"):
        iasl(["-d", "again.aml"], cwd)
        if body(f"{cwd}/again.dsl") != body(table.replace(".dat", ".dsl")):
            return f"{name}: comes out different when put together again"
    return None


def main():
    if not shutil.which("iasl"):
        print("skipped: no iasl")
        return 77
    bad = 0
    # A board with fixed hardware and PCI, and a hardware-reduced one without.
    for cpus, form, count in ((1, [], 6), (4, [], 6), (255, [], 6), (4, ["reduced"], 4)):
        with tempfile.TemporaryDirectory() as work:
            subprocess.run([sys.argv[1], work, str(cpus)] + form, check=True)
            tables = sorted(t for t in glob.glob(f"{work}/*.dat") if "_SM3" not in t)
            if len(tables) != count:
                print(f"expected {count} tables, found {tables}")
                bad += 1
            for table in tables:
                problem = check(table, work)
                if problem:
                    print(f"{cpus} CPUs: {problem}")
                    bad += 1
    print("iasl:", "no complaint" if not bad else f"{bad} complaints")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

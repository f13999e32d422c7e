#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""man/hanok.1 has the commands and options that --help has, all of them and no others.

    test_man.py HANOK HANOK.1
"""
import re
import subprocess
import sys


def said(*words):
    """What the program says to words."""
    return subprocess.run([sys.argv[1], *words, "--help"], capture_output=True, text=True, check=True).stdout


with open(sys.argv[2], encoding="utf-8") as source:
    # Without the fonts: options as they are read.
    page = re.sub(r"\\f[BIRP]", "", source.read().replace("\\-", "-"))
COMMANDS = ["run", "save", "restore", "qemu"]
helped = set(re.findall(r"--[a-z]+\b", said() + said("run") + said("save") + said("restore")))
written = set(re.findall(r"--[a-z]+\b", page))
commands = set(re.findall(r"hanok ([a-z]+)\b", said()))
wrong = 0
if helped != written:
    print("only in --help:", sorted(helped - written), "only in the page:", sorted(written - helped))
    wrong = 1
for command in COMMANDS:
    if command not in commands or f"hanok {command}" not in page:
        print(f"hanok {command} is missing in --help or in the page")
        wrong = 1
# The options of run have an entry each, headed by a line of their own.
heads = set(re.findall(r"^\.TP\n\.[BI]+ ?\"?(--[a-z]+)", page, re.M))
missing = set(re.findall(r"^  (--[a-z]+)", said("run"), re.M)) - heads
if missing:
    print("without an entry in the page:", sorted(missing))
    wrong = 1
print("wrong" if wrong else f"ok {len(helped)}")
sys.exit(wrong)

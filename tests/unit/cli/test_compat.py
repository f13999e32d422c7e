#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/compat.md has the options that -help has, all of them and no others.

    test_compat.py HANOK COMPAT.MD
"""
import re
import subprocess
import sys

said = subprocess.run([sys.argv[1], "qemu", "-help"], capture_output=True, text=True, check=True)
helped = set(re.findall(r"^(-[A-Za-z][a-z-]*)", said.stdout, re.M))
with open(sys.argv[2], encoding="utf-8") as text:
    cells = [row.split("|")[1] for row in text if row.startswith("| `-")]
written = {option for cell in cells for option in re.findall(r"`(-[A-Za-z][a-z-]*)`", cell)}
if helped != written or not helped:
    print("only in -help:", sorted(helped - written), "only in the table:", sorted(written - helped))
    sys.exit(1)
print("ok", len(helped))

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The state-coverage gate finds what is wrong in bad_state.c, and nothing in good tables.

    test_check_state.py CHECKER GOOD_ELF BAD_ELF
"""
import json
import subprocess
import sys

EXPECTED = [
    "table 'forgetful' (struct forgetful): member 'forgotten' is not in the table",
    "table 'forgetful' (struct forgetful): member 'in_anonymous' is not in the table",
    "table 'forgetful' (struct forgetful): member 'half.b' is not in the table",
    "table 'doubled' (struct doubled): fields 'b' and 'again' overlap",
    "table 'doubled' (struct doubled): field 'beyond' does not lie in the struct",
    "table 'doubled': field 'a' is not a struct forgetful",
    "table 'enlarged' (struct enlarged): the number of 'list' must be ST_HOST",
    "table 'nameless' (struct renamed_since): there is no struct renamed_since",
]


def run(*args):
    proc = subprocess.run([sys.executable, *args], stdout=subprocess.PIPE, text=True)
    return proc.returncode, proc.stdout


def main():
    checker, good, bad = sys.argv[1:]
    failed = []
    code, out = run(checker, good)
    if code or " 0 offences" not in out:
        failed.append(f"good tables were refused:\n{out}")
    code, out = run(checker, bad)
    if not code:
        failed.append("bad tables were accepted")
    for text in EXPECTED:
        if text not in out:
            failed.append(f"not found: {text}")
    for name in ("listed", "pad_before", "host", "half.a"):
        if f"'{name}' is not in" in out:
            failed.append(f"wrongly found: {name}")
    code, out = run(checker, "--list", good)
    table = json.loads(out).get("sample", {})
    kinds = {f["name"]: f["kind"] for f in table.get("fields", [])}
    if table.get("version") != 2 or kinds.get("u64") != "STATE_U64" or \
            kinds.get("host") != "STATE_HOST" or kinds.get("many") != "STATE_SUB":
        failed.append(f"the listed schema is wrong: {table}")
    print("\n".join(failed) or f"ok: {len(EXPECTED)} offences found")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The measurable part of docs/style.md: lengths, licences, headers that stand alone.

    tools/style.py

Prints the tree's figures; exit code 1 when a limit is broken.
"""
import fnmatch
import glob
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILE_CAP = 1000      # lines of a .c file
FUNCTION_CAP = 120   # lines of a function, unless marked "style: table" in the line above
COLUMNS = 110        # hard limit; 100 is what the formatter aims at


def lines_of(path):
    with open(path, encoding="utf-8") as text:
        return text.read().split("\n")


def function_lengths(lines):
    """(line number, length, name, exempt) of each function: '{' and '}' alone in column one."""
    start = None
    for i, line in enumerate(lines):
        if line == "{":
            start = i
        elif line == "}" and start is not None:
            head = " ".join(lines[max(0, start - 4):start])
            name = re.findall(r"(\w+)\(", head)
            yield start + 1, i - start, name[-1] if name else "?", "style: table" in head
            start = None


def check_file(path, problems, functions):
    lines = lines_of(path)
    rel = os.path.relpath(path, TOP)
    if "SPDX-License-Identifier: Apache-2.0" not in lines[0]:
        problems.append(f"{rel}:1: no SPDX line")
    if len(lines) > FILE_CAP:
        problems.append(f"{rel}: {len(lines)} lines, cap {FILE_CAP}")
    for i, line in enumerate(lines, 1):
        if len(line.expandtabs(8)) > COLUMNS and "http" not in line:
            problems.append(f"{rel}:{i}: {len(line.expandtabs(8))} columns, cap {COLUMNS}")
    for at, length, name, exempt in function_lengths(lines):
        functions.append(length)
        if length > FUNCTION_CAP and not exempt:
            problems.append(f"{rel}:{at}: {name}() has {length} lines, cap {FUNCTION_CAP}")
    return len(lines)


def check_headers(problems):
    """Every header compiles alone."""
    generated = [d for d in glob.glob(f"{TOP}/build*/src") if os.path.isdir(d)][:1]
    for path in sorted(glob.glob(f"{TOP}/src/**/*.h", recursive=True)):
        proc = subprocess.run(["gcc", "-std=gnu17", "-fsyntax-only", "-I", f"{TOP}/src", "-x", "c",
                               "-include", "base/base.h"] + [f"-I{d}" for d in generated] + [path],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if proc.returncode:
            problems.append(f"{os.path.relpath(path, TOP)}: does not compile alone:\n" +
                            proc.stdout.decode(errors="replace")[:400])


def check_format(paths, problems):
    """The layout of .clang-format, as version 14 (Debian 12's) makes it; others differ, so are not asked."""
    try:
        version = subprocess.run(["clang-format", "--version"], stdout=subprocess.PIPE, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return
    if b" version 14." not in version:
        return
    with open(f"{TOP}/.clang-format-ignore", encoding="utf-8") as text:
        ignored = [line.strip() for line in text if line.strip() and line[0] != "#"]
    wanted = [p for p in (os.path.relpath(path, TOP) for path in paths if path.endswith((".c", ".h")))
              if not any(fnmatch.fnmatch(p, pattern) for pattern in ignored)]
    proc = subprocess.run(["clang-format", "--dry-run", "--Werror", *wanted], cwd=TOP, stderr=subprocess.PIPE)
    for line in proc.stderr.decode(errors="replace").splitlines():
        if "-Wclang-format-violations" in line:
            problems.append(line.replace("code should be clang-formatted [-Wclang-format-violations]",
                                         "run clang-format -i on it"))


def main():
    problems, functions = [], []
    src = sorted(glob.glob(f"{TOP}/src/**/*.[ch]", recursive=True))
    tests = sorted(glob.glob(f"{TOP}/tests/**/*.[chS]", recursive=True) +
                   glob.glob(f"{TOP}/tests/**/*.py", recursive=True))
    code = sum(check_file(p, problems, functions) for p in src)
    test_lines = sum(len(lines_of(p)) for p in tests)
    check_headers(problems)
    check_format(src + tests, problems)
    functions.sort()
    if functions:
        print(f"style: {code} lines in src, {test_lines} in tests (ratio {test_lines / code:.2f}); "
              f"{len(functions)} functions, median {functions[len(functions) // 2]} lines, "
              f"p95 {functions[len(functions) * 95 // 100]}")
    for p in problems:
        print(p)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

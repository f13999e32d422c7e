#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Collects the notes "#syscalls ROLE...: CALL..." that stand beside system calls in src/.

    gen.py rules SRC OUT.inc            the rules as C initialisers, for compile.c
    gen.py doc SRC DOC.md               the table of docs/syscalls.md
    gen.py doc --check SRC DOC.md       exits 1 when the table is not what the notes say

A note is a comment of its own. Roles are those of sandbox.h in lower case; "all" is every role,
"start" is what is done before any thread takes on its role. Each ioctl(2) has a note in its file.
A call is one of

    name              allowed
    name(A)           allowed when the argument that selects the operation (SELECTOR) is A
    name(&A)          allowed when all bits of A are set in it
    name(!A)          allowed when no bit of A is set in it
    name=ERRNO        refused with that error instead of the thread's death
"""
import argparse
import os
import re
import sys

NOTE = re.compile(r"/\*\s*#syscalls\s+([a-z ]+?):\s*(.*?)\s*\*/", re.S)
CALL = re.compile(r"^([a-z0-9_]+)(?:\(([&!]?)([A-Z0-9_]+)\)|=(E[A-Z0-9]+))?$")
ROLES = ["control", "vcpu", "io", "worker", "migr"]
# The argument that selects: a name, or an expression that chooses between some.
IOCTL = re.compile(r"\b(?:kvm_)?ioctl\s*\([^,()]*(?:\([^()]*\))?[^,()]*,\s*([^,()]*)")
# What a thread makes later inherits its filter, so that one allows their calls as well.
INHERITED_BY = {"control": ["io", "worker", "migr"], "io": ["worker"]}
# Which argument says what a call does.
SELECTOR = {"ioctl": 1, "fcntl": 1, "prctl": 0, "socket": 0, "mmap": 2, "mprotect": 2, "clone": 0,
            "madvise": 2, "membarrier": 0, "futex": 1, "seccomp": 0, "tgkill": 2, "kill": 1,
            "fallocate": 1, "shutdown": 1, "lseek": 2}


class Rule:
    def __init__(self, role, text, where):
        match = CALL.match(text)
        if not match:
            sys.exit(f"{where}: '{text}' is no call; see src/sandbox/gen.py")
        self.role, self.text, self.where = role, text, where
        self.call, self.how, self.arg, self.errno = match.groups()
        if self.arg and self.call not in SELECTOR:
            sys.exit(f"{where}: {self.call} has no selecting argument in src/sandbox/gen.py")

    def c(self):
        action = f"SCMP_ACT_ERRNO({self.errno})" if self.errno else "SCMP_ACT_ALLOW"
        head = f'{{ "{self.role}", "{self.text}", SCMP_SYS({self.call}), {action}, '
        if not self.arg:
            return head + "0, { 0, 0, 0, 0 } }"
        at = SELECTOR[self.call]
        datum = {"": f"SCMP_CMP({at}, SCMP_CMP_MASKED_EQ, 0xffffffff, (uint32_t)({self.arg}))",
                 "&": f"SCMP_CMP({at}, SCMP_CMP_MASKED_EQ, {self.arg}, {self.arg})",
                 "!": f"SCMP_CMP({at}, SCMP_CMP_MASKED_EQ, {self.arg}, 0)"}[self.how]
        return head + f"1, {datum} }}"


def notes_of(path, name):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    for match in NOTE.finditer(text):
        where = f"{name}:{text.count(chr(10), 0, match.start()) + 1}"
        roles = match[1].split()
        for role in roles:
            if role not in ROLES + ["all", "start"]:
                sys.exit(f"{where}: there is no role '{role}'; roles are {' '.join(ROLES)}")
        for call in match[2].replace("\n *", " ").split():
            for role in ROLES if "all" in roles else roles:
                yield Rule(role, call, where)
    asked = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", " ".join(IOCTL.findall(text))))
    missing = asked - set(re.findall(r"ioctl\(([A-Z0-9_]+)\)", text))
    if missing:
        sys.exit(f"{name}: no #syscalls note says which threads make ioctl {', '.join(sorted(missing))}"
                 " (src/sandbox/gen.py)")


def collect(src):
    """Role -> call text -> the first Rule, and the files that want it; and all that was read."""
    found = {role: {} for role in ROLES}
    read = []
    for root, dirs, names in os.walk(src):
        dirs.sort()
        read.append(root)
        for name in sorted(names):
            if not name.endswith((".c", ".h")):
                continue
            path = os.path.join(root, name)
            read.append(path)
            for rule in notes_of(path, os.path.relpath(path, src)):
                if rule.role == "start":
                    continue
                entry = found[rule.role].setdefault(rule.text, (rule, []))
                file = rule.where.split(":")[0]
                if file not in entry[1]:
                    entry[1].append(file)
    return found, read


def without_narrower(texts):
    """A call that is allowed whatever its argument needs no rules for single arguments."""
    plain = {t for t in texts if t.isidentifier()}
    return sorted(t for t in texts if t in plain or CALL.match(t)[1] not in plain)


def write_rules(found, out):
    lines = []
    for role in ROLES:
        rules = {}
        for source in [role] + INHERITED_BY.get(role, []):
            for text, (rule, _) in found[source].items():
                rules[text] = rule
        for text in without_narrower(rules):
            rule = rules[text]
            rule = Rule(role, text, rule.where)
            lines.append(f"/* {rule.where} */ {rule.c()},")
    with open(out, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


def doc_text(found):
    out = ["# System calls by thread role", "",
           "Made by `src/sandbox/gen.py` from the notes beside the calls; `make check` compares. Each",
           "thread may make the calls of its role, and dies with the process at any other. `(X)`: only",
           "with that operation; `(&X)`: only with X set; `(!X)`: never with X; `=E`: refused with E.", ""]
    for role in ROLES:
        texts = without_narrower(found[role])
        names = {CALL.match(t)[1] for t in texts}
        out += [f"## {role}", "", f"{len(names)} system calls."]
        if role in INHERITED_BY:
            out[-1] += (" The threads that it makes later inherit its filter, so it allows the calls of "
                        + ", ".join(INHERITED_BY[role]) + " too.")
        out += ["", "| call | for |", "|---|---|"]
        for text in texts:
            files = found[role][text][1]
            shown = ", ".join(files[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else "")
            out.append(f"| `{text}` | {shown} |")
        out.append("")
    return "\n".join(out).rstrip("\n") + "\n"


def main():
    parser = argparse.ArgumentParser(description="system-call notes to rules and documentation")
    parser.add_argument("what", choices=["rules", "doc"])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--depfile", help="for ninja: what the output was made from")
    parser.add_argument("src")
    parser.add_argument("out")
    args = parser.parse_args()
    found, read = collect(args.src)
    if args.what == "rules":
        write_rules(found, args.out)
        if args.depfile:
            with open(args.depfile, "w", encoding="utf-8") as f:
                f.write(f"{args.out}: {' '.join(p.replace(' ', chr(92) + ' ') for p in read)}\n")
        return
    text = doc_text(found)
    if args.check:
        with open(args.out, encoding="utf-8") as f:
            if f.read() == text:
                return
        sys.exit(f"{args.out} is not what the notes in {args.src} say; run src/sandbox/gen.py doc src {args.out}")
    with open(args.out, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()

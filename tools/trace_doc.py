#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the table of docs/trace.md from src/base/trace.def.

    trace_doc.py TRACE.def DOC.md            writes everything behind the line MARK of DOC.md anew
    trace_doc.py --check TRACE.def DOC.md    exits 1 when that is not what TRACE.def says
"""
import re
import sys

MARK = "<!-- made by tools/trace_doc.py -->\n"
ITEM = re.compile(r"/\* ---- (?P<section>.*?) ---- \*/|/\* (?P<doc>[^*]+?) \*/\n"
                  r"TRACE_EVENT\((?P<name>\w+), \((?P<params>[^()]*)\),\s*(?P<rest>.*?)\)(?=\n)", re.S)
FORMAT = re.compile(r'"((?:[^"\\]|\\.)*)"|\b(PRI[a-z0-9]+)\b')


class Event:
    def __init__(self, section, doc, name, rest):
        self.section, self.doc, self.name = section, " ".join(doc.split()), name
        # The format is what stands in front of the first comma outside of its strings.
        text = re.match(r'(?:"(?:[^"\\]|\\.)*"|PRI\w+|\s+)+', rest)[0]
        self.format = "".join(m[1].replace('\\"', '"') if m[1] is not None else
                              m[2][3] for m in FORMAT.finditer(text))
        self.format = re.sub(r"%(0?[0-9]*)[zl]+", r"%\1", self.format)

    def pattern(self):
        """A regular expression that this event's lines match."""
        kind = {"d": "-?[0-9]+", "u": "[0-9]+", "x": "[0-9a-f]+", "c": ".", "s": ".*"}
        parts = re.split(r"(%[0-9]*[duxcs])", self.format)
        return "".join(kind[p[-1]] if i % 2 else re.escape(p) for i, p in enumerate(parts))


def read(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    events, section = [], None
    for m in ITEM.finditer(text):
        if m["section"]:
            section = m["section"]
        else:
            events.append(Event(section, m["doc"], m["name"], m["rest"]))
    names = [e.name for e in events]
    if len(names) != len(re.findall(r"^TRACE_EVENT\(", text, re.M)):
        sys.exit(f"{path}: each event needs a comment in front of it, and a section above")
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        sys.exit(f"{path}: {', '.join(twice)}: two events of one name")
    return events


def table(events):
    out, section = "", None
    for e in events:
        if e.section != section:
            section = e.section
            out += f"\n## {section[0].upper()}{section[1:]}\n| event | line | when |\n|---|---|---|\n"
        form = e.format.replace("|", "\\|")
        out += f"| `{e.name}` | {'`' + form + '`' if form != '%s' else ''} | {e.doc} |\n"
    return out


def main():
    args = [a for a in sys.argv[1:] if a != "--check"]
    if len(args) != 2:
        sys.exit(__doc__)
    with open(args[1], encoding="utf-8") as f:
        text = f.read()
    if MARK not in text:
        sys.exit(f"{args[1]}: the line '{MARK.strip()}' is missing")
    new = text[:text.index(MARK)] + MARK + table(read(args[0]))
    if "--check" in sys.argv:
        if new != text:
            sys.exit(f"{args[1]} is not what {args[0]} says; run tools/trace_doc.py {args[0]} {args[1]}")
        return
    with open(args[1], "w", encoding="utf-8") as f:
        f.write(new)


if __name__ == "__main__":
    main()

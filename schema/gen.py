#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From the monitor's schema (schema/*.json) to everything that must agree with it.

    schema/gen.py --header FILE --source FILE --man FILE SCHEMA.json...

The header declares argument structs and the handlers that src/mon/ defines; the source holds the
tables by which arguments are read and replies checked, the tables of commands and events, the reply
to query-qmp-schema, and the tables of HMP; the man page describes it all. README.md beside this file
says how entries look. Anything that does not make sense is refused with the entry's name.
"""
import argparse
import json
import re
import sys

INTS = {"int": (-2**63, 2**63 - 1), "int8": (-2**7, 2**7 - 1), "int16": (-2**15, 2**15 - 1),
        "int32": (-2**31, 2**31 - 1), "int64": (-2**63, 2**63 - 1)}
UINTS = {"uint8": 2**8 - 1, "uint16": 2**16 - 1, "uint32": 2**32 - 1, "uint64": 2**64 - 1,
         "size": 2**64 - 1}
SIMPLE = {"str": ("QMP_STR", "const char *", "string"), "bool": ("QMP_BOOL", "bool ", "boolean"),
          "number": ("QMP_NUMBER", "double ", "number"), "any": ("QMP_ANY", "json_t *", "value"),
          "null": ("QMP_NULL", "bool ", "null")}
JSON_TYPE = {"str": "string", "int": "int", "number": "number", "bool": "boolean", "null": "null",
             "any": "value"}
KINDS = ("enum", "struct", "union", "alternate", "command", "event", "hmp")
# What an HMP argument may be: C type, kind in the table.
HMP_ARGS = {"word": ("const char *", "HMP_WORD"), "rest": ("const char *", "HMP_REST"),
            "int": ("int64_t ", "HMP_INT"), "size": ("uint64_t ", "HMP_SIZE"),
            "bool": ("bool ", "HMP_BOOL"), "flag": ("bool ", "HMP_FLAG"),
            "format": ("struct hmp_format ", "HMP_FORMAT")}


class Bad(Exception):
    pass


def snake(name):
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    name = re.sub(r"([A-Z])([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


def c_member(name):
    word = snake(name)
    return word + "_" if word in ("default", "static", "int", "signed", "unsigned", "auto", "switch",
                                  "case", "long", "short", "float", "double", "register", "if",
                                  "for", "while", "do", "else", "return", "const", "struct",
                                  "union", "enum", "void", "volatile", "bool", "true",
                                  "false") else word


def c_str(text):
    return json.dumps(text)


class Member:
    def __init__(self, name, spec):
        self.optional = name.startswith("*")
        self.name = name.lstrip("*")
        if not isinstance(spec, dict):
            spec = {"type": spec}
        unknown = set(spec) - {"type", "doc", "features", "if"}
        if unknown or "type" not in spec:
            raise Bad(f"member {self.name}: {', '.join(unknown) or 'no type'}")
        self.type = spec["type"]
        self.doc = spec.get("doc", "")
        self.features = spec.get("features", [])

    @property
    def is_list(self):
        return isinstance(self.type, list)

    @property
    def elem(self):
        return self.type[0] if self.is_list else self.type


class Entry:
    def __init__(self, raw, where):
        self.raw = raw
        self.kind = next((k for k in KINDS if k in raw), None)
        if not self.kind:
            raise Bad(f"{where}: an entry is one of {', '.join(KINDS)}")
        self.name = raw[self.kind]
        self.where = f"{where}: {self.kind} {self.name}"
        allowed = {"enum": {"data", "features"},
                   "struct": {"data", "base", "features"},
                   "union": {"data", "base", "discriminator", "features"},
                   "alternate": {"data"},
                   "command": {"data", "returns", "oob", "features", "early", "any-args", "any-reply"},
                   "event": {"data", "rate-limit-ms", "rate-limit-key", "features"},
                   "hmp": {"args", "qmp", "alias"}}[self.kind]
        unknown = set(raw) - allowed - {self.kind, "doc", "since"}
        if unknown:
            raise Bad(f"{self.where}: unknown key {', '.join(sorted(unknown))}")
        self.doc = raw.get("doc", "")
        self.features = raw.get("features", [])
        data = raw.get("data")
        self.values = self.members = self.branches = None
        try:
            if self.kind == "enum":
                self.values = [v if isinstance(v, dict) else {"name": v} for v in data]
            elif self.kind in ("union", "alternate"):
                self.branches = data
                base = raw.get("base", {})
                self.members = [] if isinstance(base, str) else \
                    [Member(n, s) for n, s in base.items()]
            elif isinstance(data, dict) or data is None:
                self.members = [Member(n, s) for n, s in (data or {}).items()]
        except Bad as bad:
            raise Bad(f"{self.where}: {bad}") from None


class Schema:
    def __init__(self, paths, header_name):
        self.header_name = header_name
        self.entries = []
        self.types = {}
        names = {}
        for path in sorted(paths):
            with open(path, encoding="utf-8") as f:
                try:
                    raws = json.load(f)
                except ValueError as bad:
                    raise Bad(f"{path}: {bad}") from None
            if not isinstance(raws, list):
                raise Bad(f"{path}: a list of entries is expected")
            for raw in raws:
                entry = Entry(raw, path.rsplit("/", 1)[-1])
                key = (entry.kind in ("command", "event", "hmp") and entry.kind or "type", entry.name)
                if key in names:
                    raise Bad(f"{entry.where}: also in {names[key]}")
                names[key] = entry.where
                self.entries.append(entry)
                if key[0] == "type":
                    self.types[entry.name] = entry
        self.resolve()

    def of(self, kind):
        return sorted((e for e in self.entries if e.kind == kind), key=lambda e: e.name)

    def resolve(self):
        for e in self.entries:
            base = e.raw.get("base")
            if isinstance(base, str):
                if base not in self.types:
                    raise Bad(f"{e.where}: no type {base}")
                b = self.types[base]
                e.members = [Member(n, s) for n, s in b.raw["data"].items()] + \
                    ([] if e.kind == "union" else e.members)
            for m in e.members or []:
                self.check_type(e, m.elem)
            for b in (e.branches or {}).values():
                self.check_type(e, b)
            if e.kind == "command":
                for key in ("data", "returns"):
                    t = e.raw.get(key)
                    if isinstance(t, (str, list)):
                        self.check_type(e, t[0] if isinstance(t, list) else t)
            if e.kind == "union":
                tag = next((m for m in e.members if m.name == e.raw["discriminator"]), None)
                if not tag or tag.elem not in self.types or self.types[tag.elem].kind != "enum":
                    raise Bad(f"{e.where}: the discriminator is a member of base with an enum's type")
                e.tag = tag
                values = [v["name"] for v in self.types[tag.elem].values]
                for b in e.branches:
                    if b not in values:
                        raise Bad(f"{e.where}: {b} is no value of {tag.elem}")
            if e.kind == "hmp":
                for name, arg in e.raw.get("args", {}).items():
                    arg = arg if isinstance(arg, dict) else {"type": arg}
                    if arg["type"] not in HMP_ARGS:
                        raise Bad(f"{e.where}: argument {name}: type {arg['type']}")

    def check_type(self, e, name):
        if name not in self.types and name not in SIMPLE and name not in INTS and name not in UINTS:
            raise Bad(f"{e.where}: no type {name}")

    # ---- C ----

    def c_type(self, name):
        if name in SIMPLE:
            return SIMPLE[name][1]
        if name in INTS:
            return "int64_t "
        if name in UINTS:
            return "uint64_t "
        kind = self.types[name].kind
        return f"enum qmp_{snake(name)} " if kind == "enum" else f"const struct qmp_{snake(name)} *"

    def has_flag(self, m):
        """Whether absence needs a flag of its own; pointers are NULL."""
        return m.optional and not m.is_list and not self.c_type(m.elem).endswith("*")

    def c_members(self, members):
        out = []
        for m in members:
            if self.has_flag(m):
                out.append(f"\tbool has_{c_member(m.name)};")
            if m.is_list:
                if m.optional:
                    out.append(f"\tbool has_{c_member(m.name)};")
                out.append(f"\tstruct {{\n\t\tsize_t n;\n\t\t{self.c_type(m.elem)}const *v;\n\t}} "
                           f"{c_member(m.name)};")
            else:
                out.append(f"\t{self.c_type(m.elem)}{c_member(m.name)};")
        return out

    def header(self):
        guard = re.sub(r"[^A-Z0-9]", "_", self.header_name.upper())
        out = ["/* Made by schema/gen.py. */", f"#ifndef {guard}", f"#define {guard}", "",
               '#include "base/base.h"', '#include "mon/hmp_type.h"', '#include "mon/qmp_type.h"',
               "", "struct mon_cmd;", "struct hmp;", ""]
        for e in self.of("enum"):
            out += [f"enum qmp_{snake(e.name)} {{"]
            out += [f"\tQMP_{snake(e.name).upper()}_{snake(v['name']).upper()}," for v in e.values]
            out += ["};", f"extern const char *const qmp_{snake(e.name)}_names[{len(e.values)}];", ""]
        for e in self.entries:
            if e.kind in ("struct", "union", "alternate"):
                out += [f"struct qmp_{snake(e.name)};"]
        out += [""]
        for e in self.entries:
            if e.kind == "struct":
                out += [f"struct qmp_{snake(e.name)} {{"] + \
                    (self.c_members(e.members) or ["\tchar empty_;"]) + ["};", ""]
            elif e.kind == "union":
                out += [f"struct qmp_{snake(e.name)} {{"] + self.c_members(e.members) + ["\tunion {"]
                out += [f"\t\t{self.c_type(t)}{c_member(b)};" for b, t in e.branches.items()]
                out += ["\t\tconst void *any_;", "\t} u;", "};", ""]
            elif e.kind == "alternate":
                up = snake(e.name).upper()
                out += [f"enum qmp_{snake(e.name)}_kind {{"]
                out += [f"\tQMP_{up}_IS_{snake(b).upper()}," for b in e.branches]
                out += ["};", f"struct qmp_{snake(e.name)} {{",
                        f"\tenum qmp_{snake(e.name)}_kind is;", "\tunion {"]
                out += [f"\t\t{self.c_type(t)}{c_member(b)};" for b, t in e.branches.items()]
                out += ["\t} u;", "};", ""]
        for e in self.of("command"):
            out += self.command_decl(e)
        for e in self.of("hmp"):
            out += self.hmp_decl(e)
        out += ["#endif"]
        return "\n".join(out) + "\n"

    def args_struct(self, e):
        """The struct's name of what a command takes, or None."""
        data = e.raw.get("data")
        if isinstance(data, str):
            return f"qmp_{snake(data)}"
        return f"qmp_{snake(e.name)}_args" if e.members else None

    def handler(self, e):
        args = self.args_struct(e)
        ret = "json_t *" if "returns" in e.raw else "int "
        mid = "json_t *a, " if e.raw.get("any-args") else f"const struct {args} *a, " if args else ""
        return f"{ret}qmp_{snake(e.name)}(struct mon_cmd *c, {mid}struct err *e)"

    def command_decl(self, e):
        out = []
        if e.members and not e.raw.get("any-args"):
            out += [f"struct {self.args_struct(e)} {{"] + self.c_members(e.members) + ["};"]
        return out + [self.handler(e) + ";", ""]

    def hmp_args(self, e):
        return {n: a if isinstance(a, dict) else {"type": a} for n, a in e.raw.get("args", {}).items()}

    def hmp_decl(self, e):
        if "qmp" in e.raw:
            return []
        out = []
        args = self.hmp_args(e)
        if args:
            out += [f"struct hmp_{snake(e.name)}_args {{"]
            for n, a in args.items():
                ctype = HMP_ARGS[a["type"]][0]
                if n.startswith("*") and not ctype.endswith("*") and a["type"] not in ("flag",):
                    out += [f"\tbool has_{c_member(n.lstrip('*'))};"]
                out += [f"\t{ctype}{c_member(n.lstrip('*'))};"]
            out += ["};"]
        mid = f", const struct hmp_{snake(e.name)}_args *a" if args else ""
        return out + [f"void hmp_{snake(e.name)}(struct hmp *h{mid});", ""]

    # ---- tables ----

    def type_ref(self, name):
        return f"qmp_type_{snake(name)}"

    def used_builtins(self):
        return list(SIMPLE) + list(INTS) + list(UINTS)

    def builtin_tables(self):
        out = []
        for name, (kind, ctype, _) in SIMPLE.items():
            out.append(f"static const struct qmp_type {self.type_ref(name)} = {{ .kind = {kind}, "
                       f".name = \"{SIMPLE[name][2]}\", .size = sizeof({ctype.strip()}) }};")
        for name, (lo, hi) in INTS.items():
            lo_text = "INT64_MIN" if lo == -2**63 else str(lo)
            out.append(f"static const struct qmp_type {self.type_ref(name)} = {{ .kind = QMP_INT, "
                       f".name = \"integer\", .size = 8, .min = {lo_text}, .max = {hi} }};")
        for name, hi in UINTS.items():
            out.append(f"static const struct qmp_type {self.type_ref(name)} = {{ .kind = QMP_UINT, "
                       f".name = \"integer\", .size = 8, .max = {hi}u }};")
        return [line.replace("static const", "static const UNUSED") for line in out]

    def lists(self):
        """Element types of every array that is mentioned."""
        found = {}
        for e in self.entries:
            for m in e.members or []:
                if m.is_list:
                    found[m.elem] = True
            r = e.raw.get("returns")
            if isinstance(r, list):
                found[r[0]] = True
        return list(found)

    def ref(self, t):
        return f"&qmp_type_list_{snake(t[0])}" if isinstance(t, list) else f"&{self.type_ref(t)}"

    def member_table(self, struct, members):
        rows = []
        for m in members:
            has = f"offsetof(struct {struct}, has_{c_member(m.name)})" \
                if self.has_flag(m) or (m.is_list and m.optional) else "-1"
            rows.append(f"\t{{ {c_str(m.name)}, {self.ref(m.type)}, "
                        f"offsetof(struct {struct}, {c_member(m.name)}), {has}, "
                        f"{str(m.optional).lower()} }},")
        return rows

    def type_tables(self):
        out = self.builtin_tables() + [""]
        named = [e for e in self.entries if e.kind in ("enum", "struct", "union", "alternate")]
        out += [f"static const UNUSED struct qmp_type {self.type_ref(e.name)};" for e in named]
        for t in self.lists():
            out += [f"static const UNUSED struct qmp_type qmp_type_list_{snake(t)};"]
        for t in self.lists():
            out += [f"static const UNUSED struct qmp_type qmp_type_list_{snake(t)} = {{ .kind = "
                    f"QMP_ARRAY, .name = \"array\", .elem = &{self.type_ref(t)} }};"]
        out += [""]
        for e in named:
            out += getattr(self, e.kind + "_table")(e) + [""]
        return out

    def enum_table(self, e):
        s = snake(e.name)
        return [f"const char *const qmp_{s}_names[{len(e.values)}] = {{"] + \
            [f"\t{c_str(v['name'])}," for v in e.values] + ["};"] + \
            [f"static const UNUSED struct qmp_type {self.type_ref(e.name)} = {{ .kind = QMP_ENUM, "
             f".name = \"string\", .size = sizeof(enum qmp_{s}), .names = qmp_{s}_names, "
             f".n = {len(e.values)} }};"]

    def struct_table(self, e):
        s = snake(e.name)
        out = []
        if e.members:
            out += [f"static const struct qmp_member members_of_{s}[] = {{"] + \
                self.member_table(f"qmp_{s}", e.members) + ["};"]
        return out + [f"static const UNUSED struct qmp_type {self.type_ref(e.name)} = {{ .kind = "
                      f"QMP_STRUCT, .name = \"object\", .size = sizeof(struct qmp_{s}), "
                      f".members = {'members_of_' + s if e.members else 'NULL'}, "
                      f".n = {len(e.members)}, .tag = -1 }};"]

    def union_table(self, e):
        s = snake(e.name)
        values = self.types[e.tag.elem].values
        out = [f"static const struct qmp_member members_of_{s}[] = {{"] + \
            self.member_table(f"qmp_{s}", e.members) + ["};"]
        out += [f"static const struct qmp_type *const branches_of_{s}[] = {{"]
        for v in values:
            b = e.branches.get(v["name"])
            out += ["\tNULL," if b is None else f"\t&{self.type_ref(b)},"]
        tag = e.members.index(e.tag)
        return out + ["};", f"static const UNUSED struct qmp_type {self.type_ref(e.name)} = {{ .kind = "
                      f"QMP_STRUCT, .name = \"object\", .size = sizeof(struct qmp_{s}), .members = "
                      f"members_of_{s}, .n = {len(e.members)}, .tag = {tag}, .branches = "
                      f"branches_of_{s}, .branch_off = offsetof(struct qmp_{s}, u) }};"]

    def alternate_table(self, e):
        s = snake(e.name)
        out = [f"static const struct qmp_type *const branches_of_{s}[] = {{"]
        out += [f"\t&{self.type_ref(t)}," for t in e.branches.values()]
        names = " or ".join(JSON_TYPE.get(t, "object" if t in self.types else "integer")
                            for t in e.branches.values())
        return out + ["};", f"static const UNUSED struct qmp_type {self.type_ref(e.name)} = {{ .kind = "
                      f"QMP_ALTERNATE, .name = \"{names}\", .size = sizeof(struct qmp_{s}), "
                      f".n = {len(e.branches)}, .branches = branches_of_{s}, "
                      f".branch_off = offsetof(struct qmp_{s}, u) }};"]

    def command_tables(self):
        out = []
        rows = []
        for e in self.of("command"):
            s = snake(e.name)
            args = self.args_struct(e)
            takes = "NULL"
            call = "qmp_" + s + "(c, e)"
            if e.raw.get("any-args"):
                takes, call = "&qmp_type_any", f"qmp_{s}(c, *(json_t *const *)a, e)"
            elif args:
                call = f"qmp_{s}(c, a, e)"
                takes = f"&qmp_type_{s}_args" if e.members else f"&{self.type_ref(e.raw['data'])}"
            if e.members and not e.raw.get("any-args"):
                out += [f"static const struct qmp_member members_of_{s}_args[] = {{"] + \
                    self.member_table(args, e.members) + ["};"] + \
                    [f"static const struct qmp_type qmp_type_{s}_args = {{ .kind = QMP_STRUCT, .name "
                     f"= \"object\", .size = sizeof(struct {args}), .members = members_of_{s}_args, "
                     f".n = {len(e.members)}, .tag = -1 }};"]
            out += [f"static json_t *call_{s}(struct mon_cmd *c, const void *a, struct err *e)", "{"]
            out += [f"\treturn {call};" if "returns" in e.raw else
                    f"\treturn {call} < 0 ? NULL : json_object();", "}", ""]
            returns = e.raw.get("returns")
            gives = "NULL" if returns is None or e.raw.get("any-reply") else self.ref(returns)
            rows += [f"\t{{ {c_str(e.name)}, call_{s}, {takes}, {gives}, "
                     f"{str(bool(e.raw.get('oob'))).lower()} }},"]
        return out + ["const struct qmp_command qmp_commands[] = {"] + rows + [
            "};", f"const size_t qmp_nr_commands = {len(rows)};", ""]

    def event_tables(self):
        out, rows = [], []
        for e in self.of("event"):
            s = snake(e.name)
            gives = "NULL"
            if e.members:
                gives = f"&qmp_type_{s}_event"
                out += [f"static const struct qmp_member members_of_{s}_event[] = {{"] + \
                    [f"\t{{ {c_str(m.name)}, {self.ref(m.type)}, 0, -1, {str(m.optional).lower()} }},"
                     for m in e.members] + ["};"] + \
                    [f"static const struct qmp_type {gives[1:]} = {{ .kind = QMP_STRUCT, .name = "
                     f"\"object\", .members = members_of_{s}_event, .n = {len(e.members)}, "
                     ".tag = -1 };"]
            elif isinstance(e.raw.get("data"), str):
                gives = f"&{self.type_ref(e.raw['data'])}"
            key = e.raw.get("rate-limit-key")
            rows += [f"\t{{ {c_str(e.name)}, {gives}, {e.raw.get('rate-limit-ms', 0)}, "
                     f"{c_str(key) if key else 'NULL'} }},"]
        return out + ["const struct qmp_event_type qmp_events[] = {"] + rows + [
            "};", f"const size_t qmp_nr_events = {len(rows)};", ""]

    def hmp_tables(self):
        out, rows = [], []
        for e in self.of("hmp"):
            s = snake(e.name)
            args = self.hmp_args(e)
            struct = f"struct hmp_{s}_args"
            table, call, size = "NULL", "NULL", "0"
            if args:
                table, size = f"hmp_args_of_{s}", f"sizeof({struct})"
                out += [f"static const struct hmp_arg hmp_args_of_{s}[] = {{"]
                for n, a in args.items():
                    m = c_member(n.lstrip("*"))
                    optional = n.startswith("*")
                    flagged = optional and not HMP_ARGS[a["type"]][0].endswith("*") \
                        and a["type"] != "flag"
                    has = f"offsetof({struct}, has_{m})" if flagged else "-1"
                    out += [f"\t{{ {c_str(n.lstrip('*'))}, {HMP_ARGS[a['type']][1]}, "
                            f"{str(optional or a['type'] == 'flag').lower()}, "
                            f"offsetof({struct}, {m}), {has}, {c_str(a.get('complete', ''))} }},"]
                out += ["\t{ NULL },", "};"]
            if "qmp" not in e.raw:
                out += [f"static void hmp_call_{s}(struct hmp *h, const void *a)", "{",
                        f"\thmp_{s}(h{', a' if args else ''});", "}", ""]
                call = f"hmp_call_{s}"
            rows += [f"\t{{ {c_str(e.name)}, {c_str(e.raw['alias']) if 'alias' in e.raw else 'NULL'}, "
                     f"{c_str(self.hmp_usage(e))}, {c_str(e.doc)}, {table}, {size}, {call}, "
                     f"{c_str(e.raw['qmp']) if 'qmp' in e.raw else 'NULL'} }},"]
        return out + ["const struct hmp_command hmp_commands[] = {"] + rows + [
            "};", f"const size_t hmp_nr_commands = {len(rows)};", ""]

    def hmp_usage(self, e):
        words = []
        for n, a in self.hmp_args(e).items():
            name = n.lstrip("*")
            text = f"-{name}" if a["type"] == "flag" else f"/{name}" if a["type"] == "format" else name
            words.append(f"[{text}]" if n.startswith("*") or a["type"] == "flag" else text)
        return " ".join(words)

    def source(self):
        out = ["/* Made by schema/gen.py. */", f'#include "{self.header_name}"', ""]
        out += self.type_tables() + self.command_tables() + self.event_tables() + self.hmp_tables()
        text = json.dumps(Introspection(self).result(), separators=(", ", ": "))
        out += ["const char qmp_schema_json[] ="]
        out += ["\t" + c_str(text[i:i + 90]) for i in range(0, len(text), 90)]
        return "\n".join(out) + ";\n"


class Introspection:
    """The reply to query-qmp-schema: types under opaque names, reachable from commands and events."""

    def __init__(self, schema):
        self.s = schema
        self.names = {}
        self.queue = []
        self.out = []

    def name(self, t):
        if isinstance(t, list):
            inner = self.name(t[0])
            key = f"[{inner}]"
            if key not in self.names:
                self.names[key] = key
                self.queue.append(("array", key, inner))
            return key
        if t in INTS or t in UINTS:
            t = "int"
        if t in JSON_TYPE:
            if t not in self.names:
                self.names[t] = t
                self.queue.append(("builtin", t, None))
            return t
        if t not in self.names:
            self.names[t] = str(len(self.names))
            self.queue.append(("type", self.names[t], self.s.types[t]))
        return self.names[t]

    def anonymous(self, members):
        key = f"<{len(self.names)}>" if members else "<empty>"
        if key not in self.names:
            self.names[key] = str(len(self.names))
            self.queue.append(("members", self.names[key], members))
        return self.names[key]

    def member(self, m):
        r = {"name": m.name, "type": self.name(m.type)}
        if m.optional:
            r["default"] = None
        if m.features:
            r["features"] = m.features
        return r

    def args(self, e):
        data = e.raw.get("data")
        if isinstance(data, str):
            return self.name(data)
        return self.anonymous(e.members)

    def result(self):
        for e in self.s.of("command"):
            r = {"name": e.name, "ret-type": self.anonymous([]) if "returns" not in e.raw else
                 self.name(e.raw["returns"]), "meta-type": "command", "arg-type": self.args(e)}
            if e.raw.get("oob"):
                r["allow-oob"] = True
            self.add(r, e)
        for e in self.s.of("event"):
            self.add({"name": e.name, "meta-type": "event", "arg-type": self.args(e)}, e)
        while self.queue:
            kind, name, what = self.queue.pop(0)
            getattr(self, "put_" + kind)(name, what)
        return self.out

    def add(self, r, e):
        if e and e.features:
            r["features"] = e.features
        self.out.append(r)

    def put_builtin(self, name, what):
        self.add({"name": name, "meta-type": "builtin", "json-type": JSON_TYPE[name]}, None)

    def put_array(self, name, inner):
        self.add({"name": name, "meta-type": "array", "element-type": inner}, None)

    def put_members(self, name, members):
        self.add({"name": name, "members": [self.member(m) for m in members],
                  "meta-type": "object"}, None)

    def put_type(self, name, e):
        if e.kind == "enum":
            self.add({"name": name, "meta-type": "enum", "members": e.values,
                      "values": [v["name"] for v in e.values]}, e)
        elif e.kind == "alternate":
            self.add({"name": name, "meta-type": "alternate",
                      "members": [{"type": self.name(t)} for t in e.branches.values()]}, e)
        else:
            r = {"name": name, "members": [self.member(m) for m in e.members], "meta-type": "object"}
            if e.kind == "union":
                r["tag"] = e.tag.name
                empty = [v["name"] for v in self.s.types[e.tag.elem].values
                         if v["name"] not in e.branches]
                r["variants"] = [{"case": b, "type": self.name(t)} for b, t in e.branches.items()] + \
                    [{"case": v, "type": self.anonymous([])} for v in empty]
            self.add(r, e)


class Man:
    """hanok-qmp(7)."""

    def __init__(self, schema, version):
        self.s = schema
        self.out = [f'.TH HANOK-QMP 7 "" "hanok {version}" "hanok"', ".SH NAME",
                    "hanok-qmp \\- the monitor of a hanok virtual machine: commands, events, types",
                    ".SH DESCRIPTION",
                    "A program speaks QMP with a monitor: one JSON object a line, as QEMU does.",
                    "A person types the commands of the human monitor. Both are made with the options",
                    ".BR \\-qmp , \\-mon", "and", ".BR \\-monitor", "(see", ".BR hanok (1))."]

    def text(self, doc):
        line = doc.replace("\\", "\\\\").strip()
        return [("\\&" if line[:1] in ".'" else "") + line] if line else []

    def type_text(self, t):
        return f"[{t[0]}]" if isinstance(t, list) else t

    def members(self, members):
        for m in members:
            self.out += [".TP", f".BR {m.name} \" ({self.type_text(m.type)}"
                         f"{', optional' if m.optional else ''})\""]
            self.out += self.text(m.doc) or ["\\&"]

    def head(self, e, what):
        self.out += [f".SS {what}"] + self.text(e.doc)
        if e.features:
            self.out += [f"Features: {', '.join(f if isinstance(f, str) else f['name'] for f in e.features)}."]

    def page(self):
        self.out += [".SH COMMANDS"]
        for e in self.s.of("command"):
            self.head(e, e.name)
            if isinstance(e.raw.get("data"), str):
                self.out += [".PP", f"Takes {e.raw['data']}."]
            self.members(e.members or [])
            if "returns" in e.raw:
                self.out += [".PP", f"Returns {self.type_text(e.raw['returns'])}."]
            if e.raw.get("oob"):
                self.out += [".PP", "May be executed out of band."]
        self.out += [".SH EVENTS"]
        for e in self.s.of("event"):
            self.head(e, e.name)
            if "rate-limit-ms" in e.raw:
                self.out += [f"At most one in {e.raw['rate-limit-ms']} ms."]
            self.members(e.members or [])
        self.out += [".SH HUMAN MONITOR"]
        for e in self.s.of("hmp"):
            names = e.name + (f"|{e.raw['alias']}" if "alias" in e.raw else "")
            self.out += [".TP", f".B {names} {self.s.hmp_usage(e)}".rstrip()] + \
                (self.text(e.doc) or ["\\&"])
        self.out += [".SH TYPES"]
        for kind in ("enum", "struct", "union", "alternate"):
            for e in self.s.of(kind):
                self.head(e, f"{e.name} ({kind})")
                if kind == "enum":
                    self.out += [".PP", ", ".join(v["name"] for v in e.values)]
                self.members(e.members or [])
                for b, t in (e.branches or {}).items():
                    self.out += [".TP", f".B {b}", self.type_text(t)]
        return "\n".join(line.replace("-", "\\-") if not line.startswith(".TH") else line
                         for line in self.out).replace("hanok\\-qmp \\\\-", "hanok\\-qmp \\-") + "\n"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--header")
    p.add_argument("--source")
    p.add_argument("--man")
    p.add_argument("--introspection")
    p.add_argument("--version", default="")
    p.add_argument("--name", default="mon/qmp_gen.h", help="how the header is included")
    p.add_argument("files", nargs="+")
    a = p.parse_args()
    try:
        schema = Schema(a.files, a.name)
        texts = [(a.header, schema.header), (a.source, schema.source),
                 (a.man, Man(schema, a.version).page),
                 (a.introspection, lambda: json.dumps(Introspection(schema).result(), indent=1) + "\n")]
        for path, make in texts:
            if path:
                with open(path, "w", encoding="utf-8") as f:
                    f.write(make())
    except Bad as bad:
        sys.exit(f"schema: {bad}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The state-coverage gate: every member of a struct with a state table is accounted for.

    tools/check_state.py [--list] ELF...

Finds each variable of type `struct state_desc` by its DWARF, reads the table from the ELF image
(no execution), and compares it with the members of the struct that it names: each byte of each
member has to belong to exactly one field (state, ST_HOST or ST_DERIVED); padding does not count.
Needs readelf of binutils and an image with debug information. Exits 1 on an offence, or when an
image has no table at all. --list prints the tables as JSON: the state schema.
"""
import argparse
import json
import re
import struct
import subprocess
import sys

DIE = re.compile(r"^ *<([0-9a-f]+)><([0-9a-f]+)>: Abbrev Number: \d+ \((DW_TAG_\w+)\)")
NULL_DIE = re.compile(r"^ *<[0-9a-f]+><[0-9a-f]+>: Abbrev Number: 0")
ATTR = re.compile(r"^ *<[0-9a-f]+> +(DW_AT_\w+) *: ?(.*)$")
REF = re.compile(r"<0x([0-9a-f]+)>")
ADDR = re.compile(r"\(DW_OP_addr: ([0-9a-f]+)\)")
KEPT = ("DW_AT_name", "DW_AT_type", "DW_AT_byte_size", "DW_AT_data_member_location",
        "DW_AT_upper_bound", "DW_AT_count", "DW_AT_location", "DW_AT_specification",
        "DW_AT_declaration", "DW_AT_const_value", "DW_AT_bit_size")
TAGS = {"DW_TAG_compile_unit", "DW_TAG_structure_type", "DW_TAG_union_type", "DW_TAG_member",
        "DW_TAG_variable", "DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type",
        "DW_TAG_atomic_type", "DW_TAG_array_type", "DW_TAG_subrange_type", "DW_TAG_base_type",
        "DW_TAG_pointer_type", "DW_TAG_enumeration_type", "DW_TAG_enumerator"}

FIELD_NUMBERS = ("offset", "elem", "count", "count_at", "since", "sub")
POINTER = 8


class Die:
    __slots__ = ("tag", "unit", "attrs", "children")

    def __init__(self, tag, unit):
        self.tag, self.unit, self.attrs, self.children = tag, unit, {}, []

    def name(self):
        # "sub", "(indirect string, offset: 0x99): sub", "(strp) (offset: 0x99): sub", "(string) sub"
        return re.sub(r"^(\([^)]*\):? *)+", "", self.attrs.get("DW_AT_name", "")).strip()

    def number(self, attr):
        text = self.attrs.get(attr)
        if text is None:
            return None
        m = re.match(r"(?:\([^)]*\) )?(0x[0-9a-f]+|-?\d+)", text.strip())
        return int(m.group(1), 0) if m else None

    def ref(self, attr):
        m = REF.search(self.attrs.get(attr, ""))
        return int(m.group(1), 16) if m else None


class Dwarf:
    """The types and static variables of an ELF file, from readelf's dump."""

    def __init__(self, path):
        self.dies = {}
        proc = subprocess.Popen(["readelf", "--debug-dump=info", path], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, errors="replace")
        stack, unit, current = [], None, None
        for line in proc.stdout:
            m = DIE.match(line)
            if m:
                depth, offset, tag = int(m.group(1), 16), int(m.group(2), 16), m.group(3)
                if tag == "DW_TAG_compile_unit":
                    unit = offset
                current = Die(tag, unit)
                del stack[depth:]
                if tag in TAGS:
                    self.dies[offset] = current
                    if stack and stack[-1]:
                        stack[-1].children.append(current)
                stack.append(current)
                continue
            if NULL_DIE.match(line):
                current = None
                continue
            m = ATTR.match(line)
            if m and current and m.group(1) in KEPT:
                current.attrs[m.group(1)] = m.group(2)
        if proc.wait():
            raise SystemExit(f"check_state: readelf cannot read {path}")

    def strip(self, die):
        """Behind typedefs and qualifiers."""
        while die and die.tag in ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type",
                                  "DW_TAG_atomic_type"):
            die = self.dies.get(die.ref("DW_AT_type"))
        return die

    def type_of(self, die):
        return self.strip(self.dies.get(die.ref("DW_AT_type")))

    def size(self, die):
        die = self.strip(die)
        if die is None:
            return 0
        if die.tag == "DW_TAG_array_type":
            n = self.size(self.type_of(die))
            for sub in die.children:
                if sub.tag == "DW_TAG_subrange_type":
                    upper, count = sub.number("DW_AT_upper_bound"), sub.number("DW_AT_count")
                    n *= count if count is not None else (upper + 1 if upper is not None else 0)
            return n
        if die.tag == "DW_TAG_pointer_type":
            return die.number("DW_AT_byte_size") or 8
        return die.number("DW_AT_byte_size") or 0

    def structs(self):
        for die in self.dies.values():
            if die.tag == "DW_TAG_structure_type" and die.name() and \
                    "DW_AT_declaration" not in die.attrs:
                yield die

    def variables(self):
        """(die, name, type, address) of everything at a fixed address."""
        for die in self.dies.values():
            m = ADDR.search(die.attrs.get("DW_AT_location", ""))
            if die.tag != "DW_TAG_variable" or not m:
                continue
            spec = self.dies.get(die.ref("DW_AT_specification"))
            named = die if die.name() or not spec else spec
            kind = self.type_of(die) if die.ref("DW_AT_type") else self.type_of(named)
            yield die, named.name(), kind, int(m.group(1), 16)


class Image:
    """The initial memory of an ELF64 little-endian file, relocations applied."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = bytearray(f.read())
        if self.data[:6] != b"\x7fELF\x02\x01":
            raise SystemExit(f"check_state: {path} is no 64-bit little-endian ELF file")
        shoff, = struct.unpack_from("<Q", self.data, 0x28)
        size, count = struct.unpack_from("<HH", self.data, 0x3a)
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", self.data, shoff + i * size)
                         for i in range(count)]
        for sec in self.sections:
            if sec[1] == 4 and sec[2] & 2:  # SHT_RELA, SHF_ALLOC
                self.relocate(sec)

    def relocate(self, sec):
        for off in range(sec[4], sec[4] + sec[5], 24):
            where, info, addend = struct.unpack_from("<QQq", self.data, off)
            at = self.offset(where)
            if at is None:
                continue
            if info & 0xffffffff in (8, 1027, 3):  # x86-64, AArch64, RISC-V: RELATIVE
                struct.pack_into("<q", self.data, at, addend)
            elif info & 0xffffffff in (1, 257, 2):  # 64-bit symbol + addend
                symtab = self.sections[sec[6]]
                value, = struct.unpack_from("<Q", self.data, symtab[4] + (info >> 32) * 24 + 8)
                struct.pack_into("<Q", self.data, at, (value + addend) & (2 ** 64 - 1))

    def offset(self, addr):
        for sec in self.sections:
            if sec[1] != 8 and sec[2] & 2 and sec[3] <= addr < sec[3] + sec[5]:
                return sec[4] + addr - sec[3]
        return None

    def read(self, addr, size):
        at = self.offset(addr)
        return int.from_bytes(self.data[at:at + size], "little") if at is not None else 0

    def string(self, addr):
        at = self.offset(addr) if addr else None
        return self.data[at:self.data.index(0, at)].decode() if at is not None else None


class Checker:
    def __init__(self, path):
        self.path = path
        self.dwarf, self.image = Dwarf(path), Image(path)
        self.offences, self.tables = [], {}
        self.by_name = {}
        for die in self.dwarf.structs():
            self.by_name.setdefault(die.name(), []).append(die)
        self.desc_layout = self.layout("state_desc")
        self.field_layout = self.layout("state_field")
        self.kinds = {}
        for die in self.dwarf.dies.values():
            if die.tag == "DW_TAG_enumeration_type" and die.name() == "state_kind":
                self.kinds = {c.number("DW_AT_const_value"): c.name() for c in die.children}

    def layout(self, name):
        """Member -> (offset, size) of a struct, and its size under ''."""
        for die in self.by_name.get(name, ()):
            members = {c.name(): (c.number("DW_AT_data_member_location") or 0,
                                  self.dwarf.size(self.dwarf.type_of(c)))
                       for c in die.children if c.tag == "DW_TAG_member"}
            return {"": (0, self.dwarf.size(die)), **members}
        return None

    def get(self, base, layout, member):
        offset, size = layout[member]
        return self.image.read(base + offset, size)

    def offence(self, text):
        if text not in self.offences:
            self.offences.append(text)

    def read_fields(self, addr):
        lay, fields = self.field_layout, []
        while True:
            kind = self.kinds.get(self.get(addr, lay, "kind"))
            if kind in (None, "STATE_END") or len(fields) > 10000:
                return fields
            fields.append({"name": self.image.string(self.get(addr, lay, "name")), "kind": kind,
                           **{m: self.get(addr, lay, m) for m in FIELD_NUMBERS}})
            addr += lay[""][1]

    def find_struct(self, name, unit, label):
        all_of = self.by_name.get(name, [])
        own = [d for d in all_of if d.unit == unit]
        if not all_of:
            self.offence(f"{label}: there is no struct {name}")
            return None
        if not own and len({self.dwarf.size(d) for d in all_of}) > 1:
            self.offence(f"{label}: several files have a different struct {name}")
            return None
        return (own or all_of)[0]

    def members(self, die, base, prefix):
        """(name, offset, size, type) of the members; anonymous ones are taken apart."""
        for c in die.children:
            if c.tag != "DW_TAG_member":
                continue
            offset = base + (c.number("DW_AT_data_member_location") or 0)
            kind = self.dwarf.type_of(c)
            if not c.name() and kind is not None and kind.children:
                yield from self.members(kind, offset, prefix)
            else:
                yield prefix + c.name(), offset, self.dwarf.size(kind), kind

    def check_member(self, label, member, owner):
        name, offset, size, kind = member
        held = sum(1 for b in range(offset, offset + size) if b in owner)
        if held == size:
            return
        if held and kind is not None and kind.tag == "DW_TAG_structure_type":
            for inner in self.members(kind, offset, name + "."):
                self.check_member(label, inner, owner)
            return
        what = "is only partly in" if held else "is not in"
        self.offence(f"{label}: member '{name}' {what} the table; "
                     "list it as state, ST_HOST or ST_DERIVED")

    def check_table(self, label, die, fields):
        size, owner = self.dwarf.size(die), {}
        for f in fields:
            own = POINTER if f["kind"] == "STATE_SUBS" else f["elem"] * f["count"]
            end = f["offset"] + own
            if end > size or end == f["offset"]:
                self.offence(f"{label}: field '{f['name']}' does not lie in the struct")
                continue
            for b in range(f["offset"], end):
                if owner.setdefault(b, f["name"]) != f["name"]:
                    self.offence(f"{label}: fields '{owner[b]}' and '{f['name']}' overlap")
                    break
        for member in self.members(die, 0, ""):
            if member[2]:
                self.check_member(label, member, owner)
        host = {b for f in fields if f["kind"] == "STATE_HOST"
                for b in range(f["offset"], f["offset"] + f["elem"] * f["count"])}
        for f in fields:
            if f["kind"] == "STATE_SUBS" and f["count_at"] not in host:
                self.offence(f"{label}: the number of '{f['name']}' must be ST_HOST, "
                             "or a stream could enlarge it")

    def run(self):
        if not self.desc_layout or not self.field_layout:
            return
        subs = {}
        for die, name, kind, addr in self.dwarf.variables():
            if kind is None or kind.tag != "DW_TAG_structure_type" or kind.name() != "state_desc":
                continue
            get = lambda m: self.get(addr, self.desc_layout, m)
            struct_name = self.image.string(get("struct_name")) or ""
            struct_name = struct_name.removeprefix("struct ")
            table = self.image.string(get("name")) or name
            label = f"table '{table}' (struct {struct_name})"
            fields = self.read_fields(get("fields"))
            target = self.find_struct(struct_name, die.unit, label)
            self.tables[table] = {"struct": struct_name, "version": get("version"), "fields": fields}
            subs[addr] = (table, target)
            if not fields:
                self.offence(f"{label}: has no fields")
            elif target is not None:
                self.check_table(label, target, fields)
        self.check_subs(subs)

    def check_subs(self, subs):
        for table, t in self.tables.items():
            for f in t["fields"]:
                sub, _ = f.pop("sub"), f.pop("count_at")
                if f["kind"] not in ("STATE_SUB", "STATE_SUBS"):
                    continue
                name, target = subs.get(sub, (None, None))
                f["table"] = name
                if name is None:
                    self.offence(f"table '{table}': field '{f['name']}' has no table of its own")
                elif target is not None and self.dwarf.size(target) != f["elem"]:
                    self.offence(f"table '{table}': field '{f['name']}' is not a "
                                 f"struct {self.tables[name]['struct']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--list", action="store_true", help="print the tables as JSON")
    parser.add_argument("elf", nargs="+")
    args = parser.parse_args()
    failed = False
    for path in args.elf:
        c = Checker(path)
        c.run()
        for text in c.offences:
            print(f"{path}: {text}")
        if args.list:
            print(json.dumps(c.tables, indent=1, sort_keys=True))
        else:
            print(f"state: {len(c.tables)} tables in {path}, {len(c.offences)} offences")
        failed |= bool(c.offences) or not c.tables
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

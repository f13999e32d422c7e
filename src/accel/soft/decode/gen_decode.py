#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the mnemonics header and the decode tables from x86.tbl and evex.tbl.

usage: gen_decode.py mnemonics.h decode_tables.c table...

docs/decode.md describes the table; decode_tbl.h the structures that are filled here.
"""
import os
import re
import sys

MAPS = {'1B': 0, '0F': 1, '0F38': 2, '0F3A': 3, 'V0F': 4, 'V0F38': 5, 'V0F3A': 6,
        'E0F': 7, 'E0F38': 8, 'E0F3A': 9, 'EMAP5': 10, 'EMAP6': 11}

# What a map's entry may depend on: name, number of values. Same order as enum dec_sel.
DIMS = [('pp', 4), ('mod3', 2), ('reg', 8), ('rm', 8), ('w', 2), ('l', 3), ('m64', 2), ('b', 2)]
PP = {'NP': {0}, '66': {1}, 'F3': {2}, 'F2': {3}, 'NFx': {0, 1}}

CLASSES = {'INT', 'SYS', 'X87', 'MMX', 'SSE', 'AVX', 'BMI', 'EVEX', 'FPSTATE'}
VECTOR_CLASSES = {'SSE', 'AVX', 'EVEX'}

ATTRS = {'lock': 'LOCKABLE', 'no64': 'NO64', 'o64': 'ONLY64', 'd64': 'D64', 'f64': 'F64',
         'cpl0': 'CPL0', 'iopl': 'IOPL', 'branch': 'BRANCH', 'end': 'END', 'align': 'ALIGN',
         'fp': 'MXCSR', 'rep': 'REP', 'pe': 'PE', 'nots': 'NOTSX', 'flcond': 'FLCOND', 'ud3': 'UD3'}
# Attributes that only this program looks at.
LOCAL_ATTRS = {'modreg', 'unal', 'mem:bx', 'mem:ax', 'mem:di', 'novvvv'}

# What EVEX can do with an operation: EV_* of insn.h.
EVEX_ATTRS = {'k': 'MASK', 'kz': 'MASK | EV_ZERO', 'kreq': 'MASK | EV_MUST', 'er': 'ER', 'sae': 'SAE',
              'nf': 'WHOLE', 'novl': 'NOVL', 'packed': 'PACKED'}

FLAG_BITS = {'o': 'OF', 's': 'SF', 'z': 'ZF', 'a': 'AF', 'p': 'PF', 'c': 'CF', 'd': 'DF'}

KINDS = {'G': 'REG', 'E': 'RM', 'M': 'M', 'R': 'R', 'Z': 'OPREG', 'I': 'IMM', 'J': 'REL',
         'A': 'FAR', 'O': 'MOFFS', 'S': 'SREG', 'C': 'CREG', 'D': 'DREG', 'V': 'V', 'W': 'W',
         'H': 'H', 'L': 'L', 'U': 'U', 'P': 'P', 'Q': 'Q', 'N': 'N', 'X': 'STRSRC',
         'Y': 'STRDST', 'B': 'VVVV', 'MV': 'VSIB', 'KG': 'KREG', 'KE': 'KRM', 'KR': 'KR',
         'KV': 'KVVVV'}

SIZES = {'b': 1, 'w': 2, 'd': 4, 'q': 8, 't': 10, 'dq': 16, 'qq': 32, 'zz': 64, 'bs': 1,
         'v': 0, 'z': 0, 'y': 0, 'n': 0, 'x': 'OPSZ_VL', 'h': 'OPSZ_VL2', 'k': 'OPSZ_VL4',
         'e': 'OPSZ_VL8', 'p': 'OPSZ_PTR', 'a': 'OPSZ_2X', '2': 'OPSZ_2X', 's': 'OPSZ_DESC',
         'en': 'OPSZ_FPENV', 'sv': 'OPSZ_FPSAVE', 'fx': 'OPSZ_FX', 'xs': 'OPSZ_XS'}

FIXED = {'AL': ('FIX', 1, 0), 'CL': ('FIX', 1, 1), 'AX': ('FIX', 2, 0), 'DX': ('FIX', 2, 2),
         'rAX': ('FIX', 0, 0), 'eAX': ('FIX', 0, 0), '1': ('IMM', 1, 0),
         'ES': ('SREG', 2, 0), 'CS': ('SREG', 2, 1), 'SS': ('SREG', 2, 2), 'DS': ('SREG', 2, 3),
         'FS': ('SREG', 2, 4), 'GS': ('SREG', 2, 5), 'ST0': ('ST', 10, 0), 'STi': ('STI', 10, 0),
         'XMM0': ('FIXV', 16, 0)}

# Rows whose operand size does not follow from their operands.
OSZ_BY_SIZE = {'v': 'V', 'z': 'Z', 'y': 'Y', 'n': 'N', 'p': 'V', 'a': 'V', '2': 'Y', 's': 'V'}

# General registers of in: and out:, by number.
GPRS = {'ax': 0, 'cx': 1, 'dx': 2, 'bx': 3, 'sp': 4, 'bp': 5, 'si': 6, 'di': 7, 'r11': 11}

IMMS = {'Ib': 'U8', 'Ibs': 'S8', 'Iw': 'U16', 'Iz': 'Z', 'Iv': 'V', 'Jb': 'S8', 'Jz': 'Z',
        'Ap': 'FAR', '1': 'ONE'}


class TableError(Exception):
    pass


def gpr_mask(names):
    if names == 'all':
        return 0xffff
    return sum(1 << GPRS[n] for n in names.split(','))


class Operand:
    def __init__(self, text, first):
        self.text = text
        mark = text[0] if text[0] in '+-~=' else ''
        self.name = name = text[len(mark):]
        self.rw = {'+': 3, '-': 1, '=': 2, '~': 0, '': 2 if first else 1}[mark]
        self.size_code = ''
        if name in FIXED:
            self.kind, self.size, self.fix = FIXED[name]
            self.size_code = {'rAX': 'v', 'eAX': 'z'}.get(name, '')
            return
        letter = name[:2] if name[:2] in KINDS else name[0]
        self.size_code = name[len(letter):]
        if letter not in KINDS or self.size_code not in SIZES:
            raise TableError('unknown operand ' + name)
        self.kind, self.fix = KINDS[letter], 0
        self.size = SIZES[self.size_code]
        if self.kind in ('IMM', 'REL', 'FAR'):
            self.rw = 1


class Row:
    """One form of one instruction."""

    def __init__(self, line_nr, enc, insn, flags, words, default):
        self.line_nr = line_nr
        self.sel = {}
        self.cond = self.plus_reg = self.vex = self.evex = False
        self.parse_encoding(enc)
        self.parse_insn(insn)
        self.parse_flags(flags)
        self.parse_words(words, default)
        self.derive()

    # -- columns ------------------------------------------------------------------------------
    def parse_encoding(self, enc):
        tokens = enc.split()
        if tokens[0].startswith(('VEX.', 'EVEX.')):
            self.parse_vex(tokens.pop(0))
            code = [tokens.pop(0)]
        else:
            if tokens[0] in ('NP', 'NFx') or (tokens[0] in PP and len(tokens) > 1 and
                                              (tokens[1] in ('0F', '90'))):
                self.sel['pp'] = PP[tokens.pop(0)]
            code = []
            while tokens and re.fullmatch(r'[0-9A-F]{2}(\+r|\+cc)?', tokens[0]):
                code.append(tokens.pop(0))
            self.map = MAPS[''.join(code[:-1]) or '1B']
        m = re.fullmatch(r'([0-9A-F]{2})(\+r|\+cc)?', code[-1])
        first = int(m.group(1), 16)
        self.cond, self.plus_reg = m.group(2) == '+cc', m.group(2) == '+r'
        count = 16 if self.cond else 8 if self.plus_reg else 1
        self.opcodes = range(first, first + count)
        self.modrm = False
        for t in tokens:
            self.parse_constraint(t)

    def parse_vex(self, token):
        self.vex = True
        kind, length, pp, vmap, w = token.split('.')
        self.evex = kind == 'EVEX'
        self.map = MAPS[kind[0] + vmap]
        self.sel['pp'] = PP[pp]
        if length != 'LIG':
            self.sel['l'] = {{'128': 0, '256': 1, '512': 2}[length]}
        if w != 'WIG':
            self.sel['w'] = {int(w[1])}

    def parse_constraint(self, t):
        if re.fullmatch(r'/[0-7]', t):
            self.sel['reg'] = {int(t[1])}
        elif re.fullmatch(r'=[0-9A-F]{2}', t):
            v = int(t[1:], 16)
            self.sel.update({'mod3': {1}, 'reg': {v >> 3 & 7}, 'rm': {v & 7}})
        elif t in 'mr':
            self.sel['mod3'] = {0 if t == 'm' else 1}
        elif t in ('W0', 'W1'):
            self.sel['w'] = {int(t[1])}
        elif t in ('b0', 'b1'):
            self.sel['b'] = {int(t[1])}
            return
        else:
            raise TableError('unknown constraint ' + t)
        if t[0] != 'W':
            self.modrm = True

    def parse_insn(self, insn):
        self.mn, _, ops = insn.partition(' ')
        if not re.fullmatch(r'[A-Z][A-Z0-9_]*', self.mn):
            raise TableError('bad mnemonic ' + self.mn)
        names = [o for o in ops.strip().split(',') if o]
        self.operands = [Operand(o, i == 0) for i, o in enumerate(names)]
        if len(self.operands) > 5:
            raise TableError('more than five operands')

    def parse_flags(self, flags):
        self.flags = {'r': '', 'w': '', 'u': ''}
        for part in flags.replace('-', '').split():
            key, letters = part.split(':')
            if set(letters) - set(FLAG_BITS):
                raise TableError('unknown flag in ' + part)
            self.flags[key] += letters

    def parse_words(self, words, default):
        self.attrs, self.local, self.cls, self.feature = set(), set(), None, 'NONE'
        self.gprs, self.instead = {'in': 0, 'out': 0}, None
        self.ev, self.esize = set(), 0
        for w in default.split() + words.split():
            key, _, value = w.partition(':')
            if w in ATTRS:
                self.attrs.add(w)
            elif w in EVEX_ATTRS:
                self.ev.add(EVEX_ATTRS[w])
            elif re.fullmatch(r'[be][1248]', w):
                self.esize = int(w[1])
                self.ev |= {'BCAST'} if w[0] == 'b' else set()
            elif key in self.gprs:
                self.gprs[key] = gpr_mask(value)
            elif key == 'else':
                self.instead = value
            elif w in LOCAL_ATTRS:
                self.local.add(w)
            elif w in CLASSES and not (w in VECTOR_CLASSES | {'MMX'} and self.cls):
                self.cls = w
            elif re.fullmatch(r'[A-Z][A-Z0-9_]+', w):
                self.feature = w
            else:
                raise TableError('unknown attribute ' + w)

    # -- what follows from the columns -----------------------------------------------------------
    def kinds(self):
        return {o.kind for o in self.operands}

    def derive(self):
        kinds = self.kinds()
        if kinds & {'REG', 'RM', 'M', 'R', 'CREG', 'DREG', 'V', 'W', 'U', 'P', 'Q', 'N', 'VSIB',
                    'STI', 'KREG', 'KRM', 'KR'} or ('SREG' in kinds and any(o.name == 'Sw' for o in self.operands)):
            self.modrm = True
        if 'modreg' not in self.local and 'mod3' not in self.sel:
            if kinds & {'M', 'VSIB'}:
                self.sel['mod3'] = {0}
            elif kinds & {'R', 'U', 'N', 'STI', 'KR'}:
                self.sel['mod3'] = {1}
        if 'no64' in self.attrs:
            self.sel['m64'] = {0}
        if 'o64' in self.attrs:
            self.sel['m64'] = {1}
        if self.vex:
            self.attrs.add('pe')
        if 'branch' in self.attrs:
            self.attrs.add('end')
        if self.cls == 'SSE' and 'unal' not in self.local and not self.vex:
            if any(o.kind in ('W', 'M') and o.size in (16, 'OPSZ_VL') for o in self.operands):
                self.attrs.add('align')
        self.derive_encoding()

    def derive_encoding(self):
        self.imm = self.derive_imm()
        self.osz = self.derive_osz()
        self.mem = self.derive_mem()
        enc = set()
        kinds = self.kinds()
        for o in self.operands:
            if o.kind == 'FIX':
                self.gprs['in'] |= (o.rw & 1) << o.fix
                self.gprs['out'] |= (o.rw >> 1) << o.fix
            if o.kind == 'REG' and o.size == 1:
                enc.add('REG8')
            if o.kind in ('RM', 'R', 'OPREG') and o.size == 1:
                enc.add('RM8')
            if o.kind == 'P':
                enc.add('REG_LOW')
            if o.kind in ('Q', 'N', 'STI'):
                enc.add('RM_LOW')
            if o.kind == 'SREG' and o.name != 'Sw':
                enc.add('SREG_FIX')
        if 'OPREG' in kinds:
            enc.add('OPREG')
        if self.cond:
            enc.add('COND')
        if 'modreg' in self.local:
            enc.add('MOD_REG')
        if self.evex and 'V' in kinds:
            enc.add('REG_V')
        if self.evex and kinds & {'W', 'U'}:
            enc.add('RM_V')
        if 'KREG' in kinds:
            enc.add('REG_K')
        if kinds & {'KRM', 'KR'}:
            enc.add('RM_K')
        if 'KVVVV' in kinds:
            enc.add('VVVV_K')
        if self.vex and not kinds & {'H', 'VVVV', 'KVVVV'}:
            enc.add('NO_VVVV')
        if self.has_accumulator():
            if not kinds & {'RM', 'M', 'R', 'OPREG'}:
                enc.add('ACC_RM')
            if not kinds & {'REG'}:
                enc.add('ACC_REG')
        self.enc = enc
        self.check = self.derive_check()

    def has_accumulator(self):
        return any(o.kind == 'FIX' and o.fix == 0 for o in self.operands)

    def derive_imm(self):
        imms = [IMMS[o.name] for o in self.operands if o.name in IMMS]
        if 'MOFFS' in self.kinds():
            imms.append('MOFFS')
        if 'L' in self.kinds():
            imms.append('U8')
        if imms == ['U16', 'U8']:
            return 'ENTER'
        if imms == ['U8', 'U8']:
            return 'TWO'
        if len(imms) > 1:
            raise TableError('immediates ' + str(imms))
        return imms[0] if imms else 'NONE'

    def derive_osz(self):
        codes = [o.size_code for o in self.operands
                 if o.kind not in ('V', 'W', 'H', 'L', 'U', 'P', 'Q', 'N', 'FAR')]
        if self.cls in VECTOR_CLASSES and not (codes and self.operands[0].kind in
                                               ('REG', 'RM', 'R')):
            return 'Y' if 'y' in codes else 'X'
        if 'd64' in self.attrs:
            return 'V'
        for code, rule in OSZ_BY_SIZE.items():
            if code in codes:
                return rule
        for o in self.operands:
            if o.name == 'DX' or o.kind in ('IMM', 'REL', 'CREG', 'DREG', 'FAR'):
                continue
            if o.kind in ('P', 'Q', 'N'):
                return 'Q'
            rule = {1: 'B', 2: 'W', 4: 'D', 8: 'Q', 10: 'T'}.get(o.size)
            if o.kind == 'SREG' and o.name != 'Sw':
                rule = 'V'
            if rule:
                return rule
        return 'V'

    def derive_mem(self):
        for word, mem in (('mem:bx', 'BX'), ('mem:ax', 'AX'), ('mem:di', 'DI_SEG')):
            if word in self.local:
                return mem
        kinds = self.kinds()
        if 'STRSRC' in kinds:
            return 'SI'
        if 'STRDST' in kinds:
            return 'DI'
        if 'MOFFS' in kinds:
            return 'MOFFS'
        return 'VSIB' if 'VSIB' in kinds else 'MODRM' if self.modrm else 'NONE'

    def derive_check(self):
        first = self.operands[0] if self.operands else None
        for o in self.operands:
            if o.name == 'Sw':
                return 'SREG_DST' if o is first else 'SREG'
            if o.kind == 'CREG':
                return 'CREG'
            if o.kind == 'DREG':
                return 'DREG'
        if re.match('VFC?(MUL|MADD)C', self.mn):
            return 'APART'
        if 'VSIB' not in self.kinds() or first.kind == 'VSIB':
            return 'NONE'
        return 'VIDX' if self.evex else 'GATHER'

    def matches(self, values):
        return all(values[d] in allowed for d, allowed in self.sel.items() if d in values)


def split_forms(enc, insn, words):
    """Rd/Mb operands and AVX/AVX2 features stand for two rows each."""
    m = re.search(r'(\w+)/(M\w+)', insn)
    if m:
        mark = insn[m.start() - 1] if insn[m.start() - 1] in '+-~=' else ''
        yield from split_forms(enc + ' r', insn[:m.start()] + m.group(1) + insn[m.end():], words)
        yield from split_forms(enc + ' m', insn[:m.start()] + m.group(2) + insn[m.end():], words)
        return
    m = re.search(r'\b([A-Z0-9_]+)/([A-Z0-9_]+)\b', words)
    if m:
        for length, feature in (('128', m.group(1)), ('256', m.group(2))):
            if not enc.startswith('VEX.LIG.'):
                raise TableError('two features need VEX.LIG')
            yield (enc.replace('VEX.LIG.', f'VEX.{length}.'), insn,
                   words[:m.start()] + feature + words[m.end():])
        return
    yield enc, insn, words


def read_table(path):
    rows, default = [], ''
    with open(path, encoding='ascii') as f:
        for nr, line in enumerate(f, 1):
            line = line.split('#')[0].strip()
            if not line:
                continue
            try:
                if line.startswith('%default'):
                    default = line[len('%default'):].strip()
                    continue
                cols = [c.strip() for c in line.split('|')] + ['', '']
                for enc, insn, words in split_forms(cols[0], cols[1], cols[3]):
                    rows.append(Row(f'{os.path.basename(path)}:{nr}', enc, insn, cols[2], words, default))
            except (TableError, KeyError, ValueError, IndexError) as e:
                sys.exit(f'{path}:{nr}: {e!r}: {line}')
    return rows


class Nodes:
    """Selector nodes: [dimension, entry, entry, ...]; equal nodes are shared."""
    NODE = 0x8000

    def __init__(self):
        self.words = []
        self.known = {}

    def add(self, dim, entries):
        if all(e == entries[0] for e in entries):
            return entries[0]
        key = (dim, *entries)
        if key not in self.known:
            self.known[key] = len(self.words)
            self.words += key
        return self.NODE | self.known[key]

    def build(self, rows, ops, chosen, depth=0):
        """rows: candidates; chosen: the values selected so far."""
        if not rows:
            return 0
        if depth == len(DIMS):
            best = max(len(r.sel) for r in rows)
            rows = [r for r in rows if len(r.sel) == best]
            if len(rows) > 1:
                lines = ', '.join(str(r.line_nr) for r in rows)
                raise TableError(f'{lines}: ambiguous at {chosen}')
            return ops[rows[0]]
        name, count = DIMS[depth]
        if not any(name in r.sel for r in rows):
            return self.build(rows, ops, chosen, depth + 1)
        entries = []
        for v in range(count):
            sub = [r for r in rows if name not in r.sel or v in r.sel[name]]
            entries.append(self.build(sub, ops, {**chosen, name: v}, depth + 1))
        return self.add(depth, entries)


def build_maps(rows):
    ops = {r: i for i, r in enumerate(rows, 1)}
    nodes = Nodes()
    maps = [[0] * 256 for _ in MAPS]
    modrm = [[0] * 256 for _ in MAPS]
    for m in range(len(MAPS)):
        for opcode in range(256):
            here = [r for r in rows if r.map == m and opcode in r.opcodes]
            if not here:
                continue
            if len({r.modrm for r in here}) != 1:
                lines = ', '.join(str(r.line_nr) for r in here)
                sys.exit(f'{lines}: some with ModRM, some without')
            modrm[m][opcode] = int(here[0].modrm)
            try:
                maps[m][opcode] = nodes.build(here, ops, {})
            except TableError as e:
                sys.exit(str(e))
    return maps, modrm, nodes.words


# -- output --------------------------------------------------------------------------------------
HEAD = '/* SPDX-License-Identifier: Apache-2.0 */\n/* Made by gen_decode.py from x86.tbl. */\n'


def mnemonics(rows):
    return sorted({r.mn for r in rows})


def write_header(path, rows):
    with open(path, 'w', encoding='ascii') as f:
        f.write(HEAD + '#ifndef SOFT_DECODE_MNEMONICS_H\n#define SOFT_DECODE_MNEMONICS_H\n\n')
        f.write('enum x86_mn {\n\tMN_NONE,\n')
        f.writelines(f'\tMN_{n},\n' for n in mnemonics(rows))
        f.write('\tMN_NR\n};\n\n')
        f.write('/* Operations: rows of op_descs[]; 0 is none. */\n')
        f.write(f'enum {{ OP_NR = {len(rows) + 1} }};\n\n#endif\n')


def or_list(prefix, names):
    return ' | '.join(prefix + n for n in names) or '0'


def flag_list(letters):
    return or_list('FLAG_', [FLAG_BITS[c] for c in 'oszapcd' if c in letters])


def write_desc(f, r):
    attr = or_list('OPA_', sorted(ATTRS[a] for a in r.attrs))
    f.write(f'\t{{ MN_{r.mn}, OPC_{r.cls}, X86F_{r.feature},\n\t  {attr},\n')
    f.write(f'\t  {len(r.operands)}, {r.esize}, {or_list("EV_", sorted(r.ev))},\n\t  {flag_list(r.flags["r"])}, {flag_list(r.flags["w"])}, '
            f'{flag_list(r.flags["u"])},\n\t  {r.gprs["in"]:#x}, {r.gprs["out"]:#x},\n\t  {{ ')
    f.write(', '.join(f'{{ OPK_{o.kind}, {o.size}, {o.rw}, {o.fix} }}' for o in r.operands) or
            '{ 0 }')
    f.write(' } },\n')


def write_array(f, name, words, kind='uint16_t'):
    f.write(f'const {kind} {name}[] = {{\n')
    for i in range(0, len(words), 16):
        f.write('\t' + ', '.join(str(w) for w in words[i:i + 16]) + ',\n')
    f.write('};\n\n')


def write_encoding(f, r):
    """What the instruction generator needs and the decoder has in its maps."""
    def mask(dim, count):
        return hex(sum(1 << v for v in r.sel.get(dim, range(count))))
    masks = ', '.join(mask(d, 2 if d == 'l' and not r.evex else n) for d, n in DIMS)
    f.write(f'\t{{ {r.map}, {r.opcodes[0]:#x}, {len(r.opcodes)}, {int(r.modrm)}, {{ {masks} }} }},\n')


def instead(row, rows):
    """Index of the operation that else: names: same opcode, that mnemonic; 0 without."""
    if not row.instead:
        return 0
    for i, r in enumerate(rows, 1):
        if r.mn == row.instead and r.map == row.map and r.opcodes == row.opcodes:
            return i
    sys.exit(f'{row.line_nr}: no {row.instead} at this opcode')


def write_tables(path, rows):
    maps, modrm, nodes = build_maps(rows)
    with open(path, 'w', encoding='ascii') as f:
        f.write(HEAD + '#include "accel/soft/decode/decode_tbl.h"\n'
                '#include "isa/x86/cpuid.h"\n#include "isa/x86/x86.h"\n\n')
        f.write('const struct op_desc op_descs[OP_NR] = {\n\t{ 0 },\n')
        for r in rows:
            write_desc(f, r)
        f.write('};\n\nconst char mn_names[MN_NR][MN_NAME_SIZE] = {\n\t"(bad)",\n')
        f.writelines(f'\t"{n.lower()}",\n' for n in mnemonics(rows))
        f.write('};\n\nconst struct op_enc op_encs[OP_NR] = {\n\t{ 0 },\n')
        for r in rows:
            enc = or_list('ENC_', sorted(r.enc))
            f.write(f'\t{{ IMM_{r.imm}, OSZ_{r.osz}, MEM_{r.mem}, CHECK_{r.check}, {enc}, '
                    f'{instead(r, rows)} }},\n')
        f.write('};\n\nconst struct op_desc_encoding op_encodings[OP_NR] = {\n\t{ 0 },\n')
        for r in rows:
            write_encoding(f, r)
        f.write('};\n\n')
        f.write(f'const uint16_t dec_maps[DEC_MAPS][256] = {{\n')
        for m in maps:
            f.write('\t{ ' + ', '.join(str(e) for e in m) + ' },\n')
        f.write('};\n\nconst uint8_t dec_modrm[DEC_MAPS][256] = {\n')
        for m in modrm:
            f.write('\t{ ' + ', '.join(str(e) for e in m) + ' },\n')
        f.write('};\n\n')
        write_array(f, 'dec_nodes', nodes)


def main():
    header, tables = sys.argv[1:3]
    rows = [row for path in sys.argv[3:] for row in read_table(path)]
    write_header(header, rows)
    write_tables(tables, rows)


if __name__ == '__main__':
    main()

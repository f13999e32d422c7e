#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What gen_decode.py accepts and refuses. usage: test_gen.py gen_decode.py"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

GENERATOR = os.path.abspath(sys.argv.pop(1))


def generate(table):
    """Runs the generator; returns its exit status, messages, header and tables."""
    with tempfile.TemporaryDirectory() as d:
        paths = [os.path.join(d, n) for n in ('t.tbl', 'm.h', 't.c')]
        with open(paths[0], 'w', encoding='ascii') as f:
            f.write(table)
        p = subprocess.run([sys.executable, GENERATOR, *paths[1:], paths[0]], capture_output=True, text=True)
        texts = []
        for path in paths[1:]:
            texts.append(pathlib.Path(path).read_text('ascii') if os.path.exists(path) else '')
        return p.returncode, p.stderr, *texts


class Accepted(unittest.TestCase):
    def test_small_table(self):
        status, _, header, tables = generate(
            '%default INT\n'
            '01 | ADD +Ev,Gv | w:oszapc | lock  # comment\n'
            '70+cc | JCC Jb | r:oszpc | branch d64\n')
        self.assertEqual(status, 0)
        self.assertIn('\tMN_ADD,\n\tMN_JCC,\n\tMN_NR\n', header)
        self.assertIn('OP_NR = 3', header)
        self.assertIn('MN_ADD, OPC_INT, X86F_NONE', tables)
        self.assertIn('OPA_BRANCH | OPA_D64 | OPA_END', tables)
        self.assertIn('ENC_COND', tables)

    def test_row_with_more_constraints_wins(self):
        status, _, _, tables = generate(
            '%default INT\n0F BC | BSF Gv,Ev | - |\nF3 0F BC | TZCNT Gv,Ev | - | else:BSF\n')
        self.assertEqual(status, 0)
        # one node on the mandatory prefix: BSF but for F3
        self.assertIn('dec_nodes[] = {\n\t0, 1, 1, 2, 1,', tables)

    def test_two_rows_of_one(self):
        status, _, header, tables = generate(
            '%default SYS\n8C | MOV_SREG Rv/Mw,Sw | - |\n'
            'VEX.LIG.66.0F.WIG FC | VPADDB Vx,Hx,Wx | - | AVX/AVX2\n')
        self.assertEqual(status, 0)
        self.assertIn('OP_NR = 5', header)
        self.assertIn('X86F_AVX,', tables)
        self.assertIn('X86F_AVX2,', tables)

    def test_sse_memory_is_aligned(self):
        _, _, _, tables = generate('%default SSE\nNP 0F 28 | MOVAPS Vdq,Wdq | - | SSE\n')
        self.assertIn('OPA_ALIGN', tables)
        _, _, _, tables = generate('%default SSE\nNP 0F 10 | MOVUPS Vdq,Wdq | - | unal SSE\n')
        self.assertNotIn('OPA_ALIGN', tables)


class Refused(unittest.TestCase):
    def refuse(self, table, *words):
        status, err, _, _ = generate('%default INT\n' + table)
        self.assertNotEqual(status, 0)
        for w in words:
            self.assertIn(w, err)

    def test_unknown_operand(self):
        self.refuse('01 | ADD +Ef,Gv | - |\n', 't.tbl:2', 'Ef')

    def test_unknown_word(self):
        self.refuse('01 | ADD +Ev,Gv | - | lokc\n', 't.tbl:2', 'lokc')

    def test_unknown_flag(self):
        self.refuse('01 | ADD +Ev,Gv | w:x |\n', 't.tbl:2')

    def test_ambiguous(self):
        self.refuse('01 | ADD +Ev,Gv | - |\n01 | SUB +Ev,Gv | - |\n', 't.tbl:2, t.tbl:3', 'ambiguous')

    def test_modrm_or_not(self):
        self.refuse('01 | ADD +Ev,Gv | - |\n01 b1 | NOP | - |\n', 'ModRM')

    def test_instead_of_nothing(self):
        self.refuse('F3 0F BC | TZCNT Gv,Ev | - | else:BSF\n', 'BSF')

    def test_two_immediates(self):
        self.refuse('C8 | ENTER Ib,Iw | - |\n', 't.tbl:2')


if __name__ == '__main__':
    unittest.main()

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random valid encodings of the operations in the decode table.
 *
 *	for (unsigned op = 1; op < OP_NR; op++) {
 *		size_t len = insn_gen(op, 64, INSN_GEN_REG, &rng, bytes);
 *		if (len) ...
 *	}
 *
 * What comes out decodes to exactly that op (it is checked with decode_insn()).
 */
#ifndef TEST_INSN_GEN_H
#define TEST_INSN_GEN_H

#include "accel/soft/decode/insn.h"
#include "rng.h"

/* Restrictions; 0 = anything that is valid. */
#define INSN_GEN_REG   0x01 /* register form only */
#define INSN_GEN_MEM   0x02 /* memory form only */
#define INSN_GEN_PLAIN 0x04 /* no prefix that the operation does not need: no 66, 67, segment, REP */
#define INSN_GEN_NOLOCK 0x08
#define INSN_GEN_NORIP 0x10 /* no RIP-relative operand */
#define INSN_GEN_NO67  0x20
#define INSN_GEN_NOSEG 0x40
/* Memory operand is [base] or [base+disp8] with this base: INSN_GEN_BASE(RSI). */
#define INSN_GEN_BASE(n) (0x80 | (unsigned)(n) << 8)
/* With it: and this index, not RSP, times anything. */
#define INSN_GEN_INDEX(n) (0x1000 | (unsigned)(n) << 13)

/*
 * Writes an instruction for op_descs[op] in code of `bits` (16, 32, 64) to out; returns its length,
 * 0 when there is none (not in this mode, or no such form).
 */
size_t insn_gen(unsigned op, unsigned bits, unsigned restrict_to, struct rng *r, uint8_t out[15]);

#endif

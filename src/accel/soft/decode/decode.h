/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of one x86 instruction. Pure: no guest state but the code size. */
#ifndef SOFT_DECODE_DECODE_H
#define SOFT_DECODE_DECODE_H

#include "accel/soft/decode/insn.h"

enum { DECODE_UD = -1 /* #UD */, DECODE_MORE = -2 /* more bytes are needed */,
       DECODE_LONG = -3 /* over 15 bytes: #GP(0) */ };

/*
 * Decodes the instruction at bytes[0..avail) for code of `bits` (16, 32 or 64).
 * Fills all of *in but fn, native and next; a far pointer has its offset in imm[31:0] and its
 * selector in imm[63:48]; RIP-relative has base R_PC and disp as encoded (relative to the end of
 * the instruction). INSN_SEGCK is set outside 64-bit mode where there is a memory operand.
 * A LOCK prefix on what cannot be locked is DECODE_UD.
 * Returns the length, 1..15, or one of the values above.
 */
int decode_insn(const uint8_t *bytes, size_t avail, unsigned bits, struct insn *in);

/* Vector length in bytes. Of registers only with rounding: 64, which EVEX_LL does not say. */
unsigned insn_vl(const struct insn *in);

/*
 * Bytes that the memory operand of *in takes (0: none, or not accessed). For XSAVE areas 576, the
 * least; for strings one element.
 */
unsigned insn_mem_size(const struct insn *in);

/*
 * The general registers that *in reads and writes, as masks (bit n: register n), with those that
 * are implied and those in addresses. A write of 8 or 16 bits keeps the rest of the register, so it
 * counts as a read too; so do the registers of a REP prefix.
 */
void insn_gprs(const struct insn *in, unsigned *read, unsigned *written);

/* Of status flags that are `undefined` in front of an operation, and its own: those that are so behind it. */
static inline unsigned op_undefined(const struct op_desc *d, unsigned undefined)
{
	return (d->attr & OPA_FLCOND ? undefined : undefined & ~(unsigned)d->flags_w) | d->flags_u;
}

/*
 * Status flags that are not what they were behind an operation. Of those that these leave undefined, recent
 * processors keep some: a program that sees them sees what it had. All others make something of their own.
 */
static inline unsigned op_changes(const struct op_desc *d)
{
	switch (d->mn) {
	case MN_MUL:
	case MN_IMUL:
	case MN_BT:
	case MN_BTS:
	case MN_BTR:
	case MN_BTC:
	case MN_TZCNT:
	case MN_LZCNT:
		return d->flags_w;
	default:
		return d->flags_w | d->flags_u;
	}
}

/*
 * The operation that the same bytes mean on a CPU without the feature of op: TZCNT is BSF, LZCNT is
 * BSR there. 0: they are #UD. Operands are the same, so only insn.op needs to change.
 */
unsigned op_without_feature(unsigned op);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BT BTS BTR BTC BSF BSR. Intel SDM vol. 2. vCPU thread.
 *
 * With a memory operand and a register offset the offset is signed and reaches any bit of memory:
 * the access goes to the operand-sized word that holds the bit.
 */
#include "accel/soft/exec.h"
#include "accel/soft/hostops.h"

/* Linear address of the word with the bit. */
static inline uint64_t word_address(struct soft_cpu *c, const struct insn *in, unsigned size,
				    bool write)
{
	int64_t bit;

	if (in->flags & INSN_IMM)
		return ea_any(c, in, size, write);
	switch (size) {
	case 2:
		bit = (int16_t)R16(c, in->reg);
		break;
	case 4:
		bit = (int32_t)R32(c, in->reg);
		break;
	default:
		bit = (int64_t)R64(c, in->reg);
		break;
	}
	/* arithmetic shift: rounds down; in bytes */
	bit = (bit >> (size == 2 ? 4 : size == 4 ? 5 : 6)) * (int64_t)size;
	return ea_linear(c, in, ea_offset(c, in, (uint64_t)bit), size, write);
}

static inline uint64_t bit_offset(struct soft_cpu *c, const struct insn *in)
{
	return in->flags & INSN_IMM ? in->imm : R64(c, in->reg);
}

#define BT_FORMS(bits)                                                                   \
	HANDLER(bt##bits##_r)                                                            \
	{                                                                                \
		op_bt_##bits(&c->fl, R##bits(c, in->rm), (uint##bits##_t)bit_offset(c, in)); \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(bt##bits##_m)                                                            \
	{                                                                                \
		uint##bits##_t v = ld##bits(c, word_address(c, in, bits / 8, false));    \
                                                                                         \
		op_bt_##bits(&c->fl, v, (uint##bits##_t)bit_offset(c, in));              \
		NEXT();                                                                  \
	}
#define BTX_FORMS(op, bits)                                                              \
	HANDLER(op##bits##_r)                                                            \
	{                                                                                \
		SETR##bits(c, in->rm,                                                    \
			   op_##op##_##bits(&c->fl, R##bits(c, in->rm),                  \
					    (uint##bits##_t)bit_offset(c, in)));         \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_m)                                                            \
	{                                                                                \
		MEM_RMW(bits, word_address(c, in, bits / 8, true),                       \
			op_##op##_##bits(&c->fl, old_, (uint##bits##_t)bit_offset(c, in))); \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_lock)                                                         \
	{                                                                                \
		uint32_t fl = 0, was = c->fl;                                            \
                                                                                         \
		MEM_LOCKED(bits, word_address(c, in, bits / 8, true),                    \
			   (fl = was, op_##op##_##bits(&fl, old_,                        \
						       (uint##bits##_t)bit_offset(c, in)))); \
		c->fl = fl;                                                              \
		NEXT();                                                                  \
	}
#define BTX(op) BTX_FORMS(op, 16) BTX_FORMS(op, 32) BTX_FORMS(op, 64)

BT_FORMS(16)
BT_FORMS(32)
BT_FORMS(64)
BTX(bts)
BTX(btr)
BTX(btc)

/* A source of 0 leaves the destination as the host does; so all 64 bits of it go in. */
#define SCAN(op, bits, sfx, k)                                                           \
	HANDLER(op##bits)                                                                \
	{                                                                                \
		uint##bits##_t v = in->flags & INSN_MEM                                  \
					   ? ld##bits(c, ea_any(c, in, bits / 8, false)) \
					   : R##bits(c, in->rm);                         \
		uint64_t d = R64(c, in->reg);                                            \
		uint32_t f = c->fl;                                                      \
                                                                                         \
		asm(FL_IN #op sfx " %" k "[v], %" k "[d]" FL_OUT                         \
		    : [d] "+&r"(d), "+&a"(f)                                             \
		    : [v] "r"(v)                                                         \
		    : "cc");                                                             \
		R64(c, in->reg) = d;                                                     \
		c->fl = (uint16_t)f;                                                     \
		NEXT();                                                                  \
	}
SCAN(bsf, 16, "w", "w")
SCAN(bsf, 32, "l", "k")
SCAN(bsf, 64, "q", "q")
SCAN(bsr, 16, "w", "w")
SCAN(bsr, 32, "l", "k")
SCAN(bsr, 64, "q", "q")

#define BT_SET(b) { bt##b##_r, bt##b##_m, bt##b##_m }
#define BTX_SET(op, b) { op##b##_r, op##b##_m, op##b##_lock }
#define BTX_SETS(op) { { NULL }, BTX_SET(op, 16), BTX_SET(op, 32), BTX_SET(op, 64) }

static const insn_fn fns[4][4][3] = {
	{ { NULL }, BT_SET(16), BT_SET(32), BT_SET(64) },
	BTX_SETS(bts),
	BTX_SETS(btr),
	BTX_SETS(btc),
};

insn_fn bind_bit(struct soft_cpu *c, struct insn *in)
{
	static const insn_fn scan[2][4] = { { NULL, bsf16, bsf32, bsf64 },
					    { NULL, bsr16, bsr32, bsr64 } };
	unsigned w = size_index(in->opsize);
	unsigned form = !(in->flags & INSN_MEM) ? 0 : in->flags & INSN_LOCK ? 2 : 1;

	switch (op_descs[in->op].mn) {
	case MN_BT:
		return fns[0][w][form];
	case MN_BTS:
		return fns[1][w][form];
	case MN_BTR:
		return fns[2][w][form];
	case MN_BTC:
		return fns[3][w][form];
	case MN_BSF:
		return scan[0][w];
	case MN_BSR:
		return scan[1][w];
	default:
		return NULL;
	}
}

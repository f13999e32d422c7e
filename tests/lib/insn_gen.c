/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random valid instructions from the decode table, for tests. op_encodings[] says which values of
 * each selector lead to an operation; the rest of the bytes is chosen at random, and what the
 * decoder does not accept as this operation is thrown away and tried again.
 */
#include "insn_gen.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/decode/decode_tbl.h"

enum { TRIES = 64 };

struct gen {
	const struct op_desc_encoding *e;
	const struct op_desc *op;
	struct rng *r;
	unsigned bits, limit;
	unsigned sel[SEL_NR];
	uint8_t *p, *end;
};

static void put(struct gen *g, unsigned byte)
{
	if (g->p < g->end)
		*g->p++ = byte;
}

static unsigned pick(struct gen *g, unsigned mask)
{
	unsigned n = rng_below(g->r, __builtin_popcount(mask));

	while (n--)
		mask &= mask - 1;
	return __builtin_ctz(mask);
}

static bool choose_selectors(struct gen *g)
{
	for (unsigned i = 0; i < SEL_NR; i++) {
		unsigned mask = g->e->sel[i];

		if (i == SEL_PP && g->e->map < DEC_V0F && (mask & 1) &&
		    ((g->limit & INSN_GEN_PLAIN) || !rng_one_in(g->r, 4)))
			mask = 1;
		if (i == SEL_M64)
			mask &= g->bits == 64 ? 2 : 1;
		if ((i == SEL_W || i == SEL_B) && g->e->map < DEC_V0F && g->bits != 64)
			mask &= 1;
		if (i == SEL_MOD3 && g->e->modrm && (g->limit & INSN_GEN_REG))
			mask &= 2;
		if (i == SEL_MOD3 && g->e->modrm && (g->limit & INSN_GEN_MEM))
			mask &= 1;
		if (!mask)
			return false;
		g->sel[i] = pick(g, mask);
	}
	return true;
}

static void put_legacy_prefixes(struct gen *g)
{
	static const uint8_t segs[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
	static const uint8_t mandatory[] = {0, 0x66, 0xf3, 0xf2};
	bool plain = g->limit & INSN_GEN_PLAIN, vex = g->e->map >= DEC_V0F;

	if (!plain && !(g->limit & INSN_GEN_NOSEG) && rng_one_in(g->r, 12))
		put(g, segs[rng_below(g->r, 6)]);
	if (!plain && !(g->limit & INSN_GEN_NO67) && rng_one_in(g->r, 12))
		put(g, 0x67);
	if (vex)
		return;
	if (g->sel[SEL_PP] >= 2 && !plain && rng_one_in(g->r, 8))
		put(g, 0x66);
	if (g->sel[SEL_PP])
		put(g, mandatory[g->sel[SEL_PP]]);
	else if ((g->op->attr & OPA_REP) && !plain && rng_one_in(g->r, 2))
		put(g, rng_one_in(g->r, 2) ? 0xf2 : 0xf3);
	if ((g->op->attr & OPA_LOCKABLE) && !(g->limit & INSN_GEN_NOLOCK) && g->e->modrm &&
	    !g->sel[SEL_MOD3] && rng_one_in(g->r, 4))
		put(g, 0xf0);
}

/* R, X, B as 4, 2, 1. A memory base that the caller asks for decides B. */
static unsigned extensions(struct gen *g)
{
	unsigned rxb = rng_below(g->r, 8);

	if (g->e->sel[SEL_B] != 3)
		rxb = (rxb & 6) | g->sel[SEL_B];
	if ((g->limit & 0x80) && g->e->modrm && !g->sel[SEL_MOD3])
		rxb = (rxb & 4) | (g->limit >> 11 & 1) | (g->limit >> 15 & 2);
	return rxb;
}

static void put_rex(struct gen *g)
{
	unsigned rxb = extensions(g), w = g->sel[SEL_W] << 3;

	if (w || rng_one_in(g->r, 2) || (g->e->sel[SEL_B] != 3 && g->sel[SEL_B]) ||
	    (g->limit & 0x80))
		put(g, 0x40 | w | rxb);
}

static void put_vex(struct gen *g)
{
	unsigned rxb = g->bits == 64 ? extensions(g) : 0;
	bool fixed = op_encs[g->e - op_encodings].flags & ENC_NO_VVVV;
	unsigned vvvv = fixed ? 15 : rng_below(g->r, 16) | (g->bits == 64 ? 0 : 8);
	unsigned last = vvvv << 3 | g->sel[SEL_L] << 2 | g->sel[SEL_PP];

	if (g->e->map == DEC_V0F && !g->sel[SEL_W] && !(rxb & 3) && rng_one_in(g->r, 2)) {
		put(g, 0xc5);
		put(g, (rxb & 4 ? 0 : 0x80) | last);
		return;
	}
	put(g, 0xc4);
	put(g, (~rxb & 7) << 5 | (g->e->map - DEC_0F3A));
	put(g, g->sel[SEL_W] << 7 | last);
}

/* A mask or none, zeroing and the bit for broadcast and rounding where the operation has them. */
static unsigned evex_last(struct gen *g)
{
	unsigned ev = g->op->evex, last = g->sel[SEL_L] << 5;
	bool store = !g->sel[SEL_MOD3] && g->op->operand[0].rw & 2 &&
		     (g->op->operand[0].kind == OPK_W || g->op->operand[0].kind == OPK_M);

	if ((ev & EV_MUST) || ((ev & EV_MASK) && !rng_one_in(g->r, 3)))
		last |= 1 + rng_below(g->r, 7);
	if ((ev & EV_ZERO) && (last & 7) && !store && rng_one_in(g->r, 2))
		last |= 0x80;
	if (g->sel[SEL_MOD3] && (ev & (EV_ER | EV_SAE)) && rng_one_in(g->r, 3))
		last = (last & ~0x60u) | 0x10 | rng_below(g->r, 4) << 5;
	else if (!g->sel[SEL_MOD3] && (ev & EV_BCAST) && rng_one_in(g->r, 3))
		last |= 0x10;
	return last;
}

static void put_evex(struct gen *g)
{
	unsigned enc = op_encs[g->e - op_encodings].flags;
	bool vsib = op_encs[g->e - op_encodings].mem == MEM_VSIB;
	unsigned rxb = g->bits == 64 ? extensions(g) : 0, high = g->bits == 64 ? rng_below(g->r, 4) : 0;
	unsigned vvvv = enc & ENC_NO_VVVV ? 15 : rng_below(g->r, 16) | (g->bits == 64 ? 0 : 8);
	static const uint8_t maps[] = { 1, 2, 3, 5, 6 };

	if ((enc & ENC_NO_VVVV) && !vsib)
		high &= 1;
	if (!(enc & ENC_REG_V))
		high &= 2;
	if (enc & ENC_REG_K)
		rxb &= 3;
	put(g, 0x62);
	put(g, (~rxb & 7) << 5 | (high & 1 ? 0 : 0x10) | maps[g->e->map - DEC_E0F]);
	put(g, g->sel[SEL_W] << 7 | vvvv << 3 | 4 | g->sel[SEL_PP]);
	put(g, evex_last(g) | (high & 2 ? 0 : 8));
}

static void put_opcode(struct gen *g)
{
	static const uint8_t escape[] = {[DEC_0F38] = 0x38, [DEC_0F3A] = 0x3a};

	if (g->e->map >= DEC_E0F) {
		put_evex(g);
	} else if (g->e->map >= DEC_V0F) {
		put_vex(g);
	} else {
		if (g->bits == 64)
			put_rex(g);
		if (g->e->map != DEC_1B)
			put(g, 0x0f);
		if (g->e->map >= DEC_0F38)
			put(g, escape[g->e->map]);
	}
	put(g, g->e->opcode + rng_below(g->r, g->e->nr_opcodes));
}

/* The base that was asked for, and the index or none. */
static void put_base_sib(struct gen *g)
{
	unsigned index = g->limit & 0x1000 ? rng_below(g->r, 4) << 3 | (g->limit >> 13 & 7) : 4;

	put(g, index << 3 | (g->limit >> 8 & 7));
}

static void put_modrm(struct gen *g)
{
	unsigned mod = g->sel[SEL_MOD3] ? 3 : rng_below(g->r, 3), rm = g->sel[SEL_RM];
	bool vsib = op_encs[g->e - op_encodings].mem == MEM_VSIB;

	if (mod != 3 && (g->limit & 0x80)) {
		rm = g->limit & 0x1000 ? 4 : g->limit >> 8 & 7;
		mod = (g->limit >> 8 & 7) == 5 || rng_one_in(g->r, 2);
	}
	if (mod != 3 && vsib)
		rm = 4;
	if (mod == 0 && rm == 5 && (g->limit & INSN_GEN_NORIP))
		mod = 1;
	put(g, mod << 6 | g->sel[SEL_REG] << 3 | rm);
	if (mod == 3 || rm != 4)
		return;
	/* SIB; harmless displacement bytes in 16-bit addressing */
	if ((g->limit & 0x80) && !vsib)
		put_base_sib(g);
	else if (g->limit & 0x80)
		put(g, rng_below(g->r, 32) << 3 | (g->limit >> 8 & 7));
	else
		put(g, rng_below(g->r, 256));
}

static size_t try_one(struct gen *g, unsigned op, uint8_t out[15])
{
	struct insn in;

	g->p = out;
	g->end = out + 15;
	put_legacy_prefixes(g);
	put_opcode(g);
	if (g->e->modrm)
		put_modrm(g);
	while (g->p < g->end)
		put(g, rng_u64(g->r));
	int len = decode_insn(out, 15, g->bits, &in);

	if (len <= 0 || in.op != op)
		return 0;
	if ((g->limit & INSN_GEN_REG) && (in.flags & INSN_MEM))
		return 0;
	if ((g->limit & INSN_GEN_MEM) && !(in.flags & INSN_MEM))
		return 0;
	return len;
}

size_t insn_gen(unsigned op, unsigned bits, unsigned restrict_to, struct rng *r, uint8_t out[15])
{
	struct gen g = {.e = &op_encodings[op],
			.op = &op_descs[op],
			.r = r,
			.bits = bits,
			.limit = restrict_to};

	for (unsigned i = 0; i < TRIES; i++) {
		if (!choose_selectors(&g))
			return 0;
		size_t len = try_one(&g, op, out);

		if (len)
			return len;
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MUL IMUL DIV IDIV and the decimal adjustments. Intel SDM vol. 2, AMD APM vol. 3. vCPU thread.
 *
 * The host multiplies and divides (its undefined flags are then the guest's), after a check that
 * it would not raise #DE. 64-bit processors have no decimal adjustments, so these are in C.
 */
#include "accel/soft/exec.h"
#include "accel/soft/hostops.h"

/* The operand of the one-operand forms. */
static inline uint64_t operand(struct soft_cpu *c, const struct insn *in)
{
	if (in->flags & INSN_MEM)
		return mmu_ld(c, ea_any(c, in, in->opsize, false), in->opsize);
	return reg_get(c, in->rm, in->opsize);
}

/* lo:hi = lo * b, or lo:hi / b, with all flags in and out. */
#define HOST_WIDE_OP(name, op, bits, sfx, k)                                             \
	static inline void name##bits(uint32_t *fl, uint##bits##_t *lo, uint##bits##_t *hi, \
				      uint##bits##_t b)                                  \
	{                                                                                \
		uint32_t f = *fl;                                                        \
		uint64_t a = *lo, d = *hi;                                               \
                                                                                         \
		asm("mov %[a], %%r8\n\tmov %k[f], %%eax\n\t" FL_IN                       \
		    "mov %%r8, %%rax\n\t" op sfx " %" k "[b]\n\t"                        \
		    "mov %%rax, %%r8\n\t" FL_OUT "\n\tmov %%eax, %k[f]\n\tmov %%r8, %[a]" \
		    : [a] "+&r"(a), "+&d"(d), [f] "+&r"(f)                               \
		    : [b] "r"(b)                                                         \
		    : "cc", "rax", "r8");                                                \
		*lo = (uint##bits##_t)a;                                                 \
		*hi = (uint##bits##_t)d;                                                 \
		*fl = (uint16_t)f;                                                       \
	}

/* 8 bits work on AX alone. */
#define HOST_BYTE_OP(name, op)                                                           \
	static inline uint16_t name##8(uint32_t *fl, uint16_t ax, uint8_t b)             \
	{                                                                                \
		uint32_t f = *fl;                                                        \
		uint64_t a = ax;                                                         \
                                                                                         \
		asm("mov %[a], %%r8\n\tmov %k[f], %%eax\n\t" FL_IN                       \
		    "mov %%r8, %%rax\n\t" op "b %b[b]\n\t"                               \
		    "mov %%rax, %%r8\n\t" FL_OUT "\n\tmov %%eax, %k[f]\n\tmov %%r8, %[a]" \
		    : [a] "+&r"(a), [f] "+&r"(f)                                         \
		    : [b] "r"(b)                                                         \
		    : "cc", "rax", "r8");                                                \
		*fl = (uint16_t)f;                                                       \
		return (uint16_t)a;                                                      \
	}

HOST_WIDE(HOST_WIDE_OP, op_mul_, "mul")
HOST_WIDE(HOST_WIDE_OP, op_imul1_, "imul")
HOST_WIDE(HOST_WIDE_OP, op_div_, "div")
HOST_WIDE(HOST_WIDE_OP, op_idiv_, "idiv")
HOST_BYTE_OP(op_mul_, "mul")
HOST_BYTE_OP(op_imul1_, "imul")
HOST_BYTE_OP(op_div_, "div")
HOST_BYTE_OP(op_idiv_, "idiv")

#define WIDE_HANDLER(op, bits, check)                                                    \
	HANDLER(op##bits)                                                                \
	{                                                                                \
		uint##bits##_t b = (uint##bits##_t)operand(c, in);                       \
		uint##bits##_t lo = R##bits(c, R_OFF(RAX)), hi = R##bits(c, R_OFF(RDX)); \
                                                                                         \
		if (check##bits(lo, hi, b))                                              \
			cpu_raise(c, X86_DE);                                            \
		op_##op##_##bits(&c->fl, &lo, &hi, b);                                   \
		SETR##bits(c, R_OFF(RAX), lo);                                           \
		SETR##bits(c, R_OFF(RDX), hi);                                           \
		NEXT();                                                                  \
	}
#define BYTE_HANDLER(op, check)                                                          \
	HANDLER(op##8)                                                                   \
	{                                                                                \
		uint8_t b = (uint8_t)operand(c, in);                                     \
		uint16_t ax = R16(c, R_OFF(RAX));                                        \
                                                                                         \
		if (check##8(ax, b))                                                     \
			cpu_raise(c, X86_DE);                                            \
		R16(c, R_OFF(RAX)) = op_##op##_8(&c->fl, ax, b);                         \
		NEXT();                                                                  \
	}

#define CHECKS(bits, wide)                                                               \
	static inline bool no_check##bits(uint##bits##_t lo, uint##bits##_t hi,          \
					  uint##bits##_t b)                              \
	{                                                                                \
		return false;                                                            \
	}                                                                                \
	static inline bool div_check##bits(uint##bits##_t lo, uint##bits##_t hi,         \
					   uint##bits##_t b)                             \
	{                                                                                \
		return hi >= b; /* also b == 0 */                                        \
	}                                                                                \
	static inline bool idiv_check##bits(uint##bits##_t lo, uint##bits##_t hi,        \
					    uint##bits##_t b)                            \
	{                                                                                \
		return idiv_overflows((__int128)(wide)(((unsigned __int128)hi << bits) | lo), \
				      (int##bits##_t)b, bits);                           \
	}

/* n / d does not fit into bits, signed. Compares magnitudes: no 128-bit division. */
static bool idiv_overflows(__int128 n, int64_t d, unsigned bits)
{
	unsigned __int128 mag = n < 0 ? -(unsigned __int128)n : (unsigned __int128)n;
	uint64_t dm = d < 0 ? -(uint64_t)d : (uint64_t)d;
	bool negative = (n < 0) != (d < 0);
	/* the largest quotient: 2^(bits-1) - 1, or 2^(bits-1) when negative */
	unsigned __int128 max = ((unsigned __int128)1 << (bits - 1)) - (negative ? 0 : 1);

	if (!d)
		return true;
	return mag >= (max + 1) * dm;
}

CHECKS(16, int32_t)
CHECKS(32, int64_t)
CHECKS(64, __int128)

static inline bool no_check8(uint16_t ax, uint8_t b)
{
	return false;
}

static inline bool div_check8(uint16_t ax, uint8_t b)
{
	return (ax >> 8) >= b;
}

static inline bool idiv_check8(uint16_t ax, uint8_t b)
{
	return idiv_overflows((int16_t)ax, (int8_t)b, 8);
}

#define MULDIV(op, check)              \
	BYTE_HANDLER(op, check)        \
	WIDE_HANDLER(op, 16, check)    \
	WIDE_HANDLER(op, 32, check)    \
	WIDE_HANDLER(op, 64, check)

MULDIV(mul, no_check)
MULDIV(imul1, no_check)
MULDIV(div, div_check)
MULDIV(idiv, idiv_check)

/* IMUL with two and three operands. */
#define IMUL(bits)                                                                       \
	HANDLER(imul##bits##_2)                                                          \
	{                                                                                \
		uint##bits##_t b = (uint##bits##_t)operand(c, in);                       \
                                                                                         \
		SETR##bits(c, in->reg, op_imul_##bits(&c->fl, R##bits(c, in->reg), b));  \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(imul##bits##_3)                                                          \
	{                                                                                \
		uint##bits##_t b = (uint##bits##_t)operand(c, in);                       \
                                                                                         \
		SETR##bits(c, in->reg, op_imul_##bits(&c->fl, b, (uint##bits##_t)in->imm)); \
		NEXT();                                                                  \
	}
IMUL(16)
IMUL(32)
IMUL(64)

/* ---- decimal ---- */

static uint32_t set_bit_if(uint32_t fl, uint32_t bit, bool on)
{
	return on ? fl | bit : fl & ~bit;
}

/* SF, ZF and PF of AL. */
static uint32_t result_flags(uint32_t fl, uint8_t al)
{
	fl = set_bit_if(fl, FL_SF, al & 0x80);
	fl = set_bit_if(fl, FL_ZF, !al);
	return set_bit_if(fl, FL_PF, !(__builtin_popcount(al) & 1));
}

static void decimal_adjust(struct soft_cpu *c, int sign)
{
	uint8_t al = R8(c, R_OFF(RAX)), old = al;
	bool cf = c->fl & FL_CF, af = c->fl & FL_AF, out = false;

	if ((al & 15) > 9 || af) {
		out = cf || (sign < 0 ? old < 6 : old > 0xf9);
		al = (uint8_t)(al + sign * 6);
		af = true;
	} else {
		af = false;
	}
	if (old > 0x99 || cf) {
		al = (uint8_t)(al + sign * 0x60);
		out = true;
	} else if (sign > 0) {
		out = false;
	}
	R8(c, R_OFF(RAX)) = al;
	c->fl = set_bit_if(set_bit_if(result_flags(c->fl, al), FL_AF, af), FL_CF, out);
	c->fl &= ~FL_OF;
}

HANDLER(daa)
{
	decimal_adjust(c, 1);
	NEXT();
}

HANDLER(das)
{
	decimal_adjust(c, -1);
	NEXT();
}

static void ascii_adjust(struct soft_cpu *c, int sign)
{
	bool adjust = (c->r[RAX] & 15) > 9 || (c->fl & FL_AF);

	if (adjust)
		R16(c, R_OFF(RAX)) = (uint16_t)(R16(c, R_OFF(RAX)) + sign * 0x106);
	R8(c, R_OFF(RAX)) &= 15;
	c->fl = set_bit_if(c->fl, FL_CF, adjust);
	c->fl = set_bit_if(c->fl, FL_AF, adjust);
	c->fl = result_flags(c->fl, R8(c, R_OFF(RAX))) & ~FL_OF;
}

HANDLER(aaa)
{
	ascii_adjust(c, 1);
	NEXT();
}

HANDLER(aas)
{
	ascii_adjust(c, -1);
	NEXT();
}

HANDLER(aam)
{
	uint8_t base = (uint8_t)in->imm, al = R8(c, R_OFF(RAX));

	if (!base)
		cpu_raise(c, X86_DE);
	R16(c, R_OFF(RAX)) = (uint16_t)((al / base) << 8 | al % base);
	c->fl = result_flags(c->fl, al % base) & ~(FL_OF | FL_AF | FL_CF);
	NEXT();
}

HANDLER(aad)
{
	uint16_t ax = R16(c, R_OFF(RAX));
	uint8_t al = (uint8_t)((ax & 0xff) + (ax >> 8) * (uint8_t)in->imm);

	R16(c, R_OFF(RAX)) = al;
	c->fl = result_flags(c->fl, al) & ~(FL_OF | FL_AF | FL_CF);
	NEXT();
}

static insn_fn bind_imul(struct insn *in, unsigned w)
{
	static const insn_fn one[4] = { imul18, imul116, imul132, imul164 };
	static const insn_fn more[2][4] = { { NULL, imul16_2, imul32_2, imul64_2 },
					    { NULL, imul16_3, imul32_3, imul64_3 } };

	if (op_descs[in->op].operand[0].kind != OPK_REG)
		return one[w];
	return more[!!(in->flags & INSN_IMM)][w];
}

insn_fn bind_muldiv(struct soft_cpu *c, struct insn *in)
{
	static const insn_fn fns[3][4] = { { mul8, mul16, mul32, mul64 },
					   { div8, div16, div32, div64 },
					   { idiv8, idiv16, idiv32, idiv64 } };
	unsigned w = size_index(in->opsize);

	switch (op_descs[in->op].mn) {
	case MN_MUL:
		return fns[0][w];
	case MN_DIV:
		return fns[1][w];
	case MN_IDIV:
		return fns[2][w];
	case MN_IMUL:
		return bind_imul(in, w);
	case MN_DAA:
		return daa;
	case MN_DAS:
		return das;
	case MN_AAA:
		return aaa;
	case MN_AAS:
		return aas;
	case MN_AAM:
		return aam;
	case MN_AAD:
		return aad;
	default:
		return NULL;
	}
}

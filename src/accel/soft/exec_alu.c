/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ADD OR ADC SBB AND SUB XOR CMP TEST, INC DEC NEG NOT. Intel SDM vol. 2. vCPU thread.
 *
 * One handler for each operation, width and operand form; memory forms twice, for the fast and for
 * the general address computation.
 */
#include "accel/soft/exec.h"
#include "accel/soft/hostops.h"

/* Operand forms, index of the tables below. */
enum form { RR, RI, RM_F, RM_G, MR_F, MR_G, MI_F, MI_G, LOCK_R, LOCK_I, NR_FORMS };

#define ALU_REG_FORMS(op, bits)                                                          \
	HANDLER(op##bits##_rr)                                                           \
	{                                                                                \
		SETR##bits(c, in->rm,                                                    \
			   op_##op##_##bits(&c->fl, R##bits(c, in->rm), R##bits(c, in->reg))); \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_ri)                                                           \
	{                                                                                \
		SETR##bits(c, in->rm, op_##op##_##bits(&c->fl, R##bits(c, in->rm),       \
						       (uint##bits##_t)in->imm));        \
		NEXT();                                                                  \
	}
#define ALU_MEM_FORMS(op, bits, ea, x)                                                   \
	HANDLER(op##bits##_rm_##x)                                                       \
	{                                                                                \
		uint##bits##_t b = ld##bits(c, ea(c, in, bits / 8, false));              \
                                                                                         \
		SETR##bits(c, in->reg, op_##op##_##bits(&c->fl, R##bits(c, in->reg), b)); \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_mr_##x)                                                       \
	{                                                                                \
		MEM_RMW(bits, ea(c, in, bits / 8, true),                                 \
			op_##op##_##bits(&c->fl, old_, R##bits(c, in->reg)));            \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_mi_##x)                                                       \
	{                                                                                \
		MEM_RMW(bits, ea(c, in, bits / 8, true),                                 \
			op_##op##_##bits(&c->fl, old_, (uint##bits##_t)in->imm));        \
		NEXT();                                                                  \
	}
/* Flags go to a local first: ADC reads them each time round the loop. */
#define ALU_LOCK_FORMS(op, bits)                                                         \
	HANDLER(op##bits##_lock_r)                                                       \
	{                                                                                \
		uint32_t fl, was = c->fl;                                                \
                                                                                         \
		MEM_LOCKED(bits, EA_G(c, in, bits / 8, true),                            \
			   (fl = was, op_##op##_##bits(&fl, old_, R##bits(c, in->reg)))); \
		c->fl = fl;                                                              \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_lock_i)                                                       \
	{                                                                                \
		uint32_t fl, was = c->fl;                                                \
                                                                                         \
		MEM_LOCKED(bits, EA_G(c, in, bits / 8, true),                            \
			   (fl = was, op_##op##_##bits(&fl, old_, (uint##bits##_t)in->imm))); \
		c->fl = fl;                                                              \
		NEXT();                                                                  \
	}
#define ALU_WIDTH(op, bits)               \
	ALU_REG_FORMS(op, bits)           \
	ALU_MEM_FORMS(op, bits, EA_F, f)  \
	ALU_MEM_FORMS(op, bits, EA_G, g)  \
	ALU_LOCK_FORMS(op, bits)
#define ALU(op) ALU_WIDTH(op, 8) ALU_WIDTH(op, 16) ALU_WIDTH(op, 32) ALU_WIDTH(op, 64)

ALU(add)
ALU(or)
ALU(adc)
ALU(sbb)
ALU(and)
ALU(sub)
ALU(xor)

/* CMP and TEST only read. */
#define CMP_WIDTH(op, bits)                                                              \
	HANDLER(op##bits##_rr)                                                           \
	{                                                                                \
		op_##op##_##bits(&c->fl, R##bits(c, in->rm), R##bits(c, in->reg));       \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_ri)                                                           \
	{                                                                                \
		op_##op##_##bits(&c->fl, R##bits(c, in->rm), (uint##bits##_t)in->imm);   \
		NEXT();                                                                  \
	}                                                                                \
	CMP_MEM(op, bits, EA_F, f)                                                       \
	CMP_MEM(op, bits, EA_G, g)
#define CMP_MEM(op, bits, ea, x)                                                         \
	HANDLER(op##bits##_rm_##x)                                                       \
	{                                                                                \
		uint##bits##_t b = ld##bits(c, ea(c, in, bits / 8, false));              \
                                                                                         \
		op_##op##_##bits(&c->fl, R##bits(c, in->reg), b);                        \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_mr_##x)                                                       \
	{                                                                                \
		uint##bits##_t a = ld##bits(c, ea(c, in, bits / 8, false));              \
                                                                                         \
		op_##op##_##bits(&c->fl, a, R##bits(c, in->reg));                        \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_mi_##x)                                                       \
	{                                                                                \
		uint##bits##_t a = ld##bits(c, ea(c, in, bits / 8, false));              \
                                                                                         \
		op_##op##_##bits(&c->fl, a, (uint##bits##_t)in->imm);                    \
		NEXT();                                                                  \
	}
#define CMP(op) CMP_WIDTH(op, 8) CMP_WIDTH(op, 16) CMP_WIDTH(op, 32) CMP_WIDTH(op, 64)

CMP(cmp)
CMP(test)

/* NOT has no flags. */
#define HOST_NOT(bits)                                                                  \
	static inline uint##bits##_t op_not_##bits(uint32_t *fl, uint##bits##_t a)      \
	{                                                                               \
		return (uint##bits##_t)~a;                                              \
	}
HOST_NOT(8)
HOST_NOT(16)
HOST_NOT(32)
HOST_NOT(64)

#define UNARY_WIDTH(op, bits)                                                            \
	HANDLER(op##bits##_r)                                                            \
	{                                                                                \
		SETR##bits(c, in->rm, op_##op##_##bits(&c->fl, R##bits(c, in->rm)));     \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_m_f)                                                          \
	{                                                                                \
		MEM_RMW(bits, EA_F(c, in, bits / 8, true), op_##op##_##bits(&c->fl, old_)); \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_m_g)                                                          \
	{                                                                                \
		MEM_RMW(bits, EA_G(c, in, bits / 8, true), op_##op##_##bits(&c->fl, old_)); \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_lock)                                                         \
	{                                                                                \
		uint32_t fl, was = c->fl;                                                \
                                                                                         \
		MEM_LOCKED(bits, EA_G(c, in, bits / 8, true),                            \
			   (fl = was, op_##op##_##bits(&fl, old_)));                     \
		c->fl = fl;                                                              \
		NEXT();                                                                  \
	}
#define UNARY(op) UNARY_WIDTH(op, 8) UNARY_WIDTH(op, 16) UNARY_WIDTH(op, 32) UNARY_WIDTH(op, 64)

UNARY(inc)
UNARY(dec)
UNARY(neg)
UNARY(not)

#define FORMS(op, bits)                                                                  \
	{                                                                                \
		[RR] = op##bits##_rr, [RI] = op##bits##_ri, [RM_F] = op##bits##_rm_f,    \
		[RM_G] = op##bits##_rm_g, [MR_F] = op##bits##_mr_f,                      \
		[MR_G] = op##bits##_mr_g, [MI_F] = op##bits##_mi_f,                      \
		[MI_G] = op##bits##_mi_g, [LOCK_R] = op##bits##_lock_r,                  \
		[LOCK_I] = op##bits##_lock_i,                                            \
	}
#define READ_FORMS(op, bits)                                                             \
	{                                                                                \
		[RR] = op##bits##_rr, [RI] = op##bits##_ri, [RM_F] = op##bits##_rm_f,    \
		[RM_G] = op##bits##_rm_g, [MR_F] = op##bits##_mr_f,                      \
		[MR_G] = op##bits##_mr_g, [MI_F] = op##bits##_mi_f,                      \
		[MI_G] = op##bits##_mi_g,                                                \
	}
#define WIDTHS(f, op) { f(op, 8), f(op, 16), f(op, 32), f(op, 64) }

enum { ADD, OR, ADC, SBB, AND, SUB, XOR, CMP_, TEST_, NR_BINARY };

static const insn_fn binary[NR_BINARY][4][NR_FORMS] = {
	[ADD] = WIDTHS(FORMS, add),	   [OR] = WIDTHS(FORMS, or),
	[ADC] = WIDTHS(FORMS, adc),	   [SBB] = WIDTHS(FORMS, sbb),
	[AND] = WIDTHS(FORMS, and),	   [SUB] = WIDTHS(FORMS, sub),
	[XOR] = WIDTHS(FORMS, xor),	   [CMP_] = WIDTHS(READ_FORMS, cmp),
	[TEST_] = WIDTHS(READ_FORMS, test),
};

enum { U_R, U_MF, U_MG, U_LOCK };
#define UFORMS(op, bits) \
	{ op##bits##_r, op##bits##_m_f, op##bits##_m_g, op##bits##_lock }
static const insn_fn unary[4][4][4] = {
	WIDTHS(UFORMS, inc),
	WIDTHS(UFORMS, dec),
	WIDTHS(UFORMS, neg),
	WIDTHS(UFORMS, not),
};

static enum form binary_form(struct insn *in)
{
	const struct op_desc *d = &op_descs[in->op];
	bool fast = ea_is_fast(in), lock = in->flags & INSN_LOCK;

	if (in->flags & INSN_IMM) {
		if (!(in->flags & INSN_MEM))
			return RI;
		return lock ? LOCK_I : fast ? MI_F : MI_G;
	}
	if (in->flags & INSN_MEM) {
		if (d->operand[0].kind == OPK_REG)
			return fast ? RM_F : RM_G;
		return lock ? LOCK_R : fast ? MR_F : MR_G;
	}
	if (d->operand[0].kind == OPK_REG) { /* destination is always rm here */
		uint8_t t = in->reg;

		in->reg = in->rm;
		in->rm = t;
	}
	return RR;
}

static int binary_op(unsigned mn)
{
	switch (mn) {
	case MN_ADD:
		return ADD;
	case MN_OR:
		return OR;
	case MN_ADC:
		return ADC;
	case MN_SBB:
		return SBB;
	case MN_AND:
		return AND;
	case MN_SUB:
		return SUB;
	case MN_XOR:
		return XOR;
	case MN_CMP:
		return CMP_;
	case MN_TEST:
		return TEST_;
	default:
		return -1;
	}
}

static int unary_op(unsigned mn)
{
	switch (mn) {
	case MN_INC:
		return 0;
	case MN_DEC:
		return 1;
	case MN_NEG:
		return 2;
	case MN_NOT:
		return 3;
	default:
		return -1;
	}
}

insn_fn bind_alu(struct soft_cpu *c, struct insn *in)
{
	unsigned mn = op_descs[in->op].mn, w = size_index(in->opsize);
	int op = binary_op(mn);

	if (op >= 0)
		return binary[op][w][binary_form(in)];
	op = unary_op(mn);
	if (op < 0)
		return NULL;
	if (!(in->flags & INSN_MEM))
		return unary[op][w][U_R];
	if (in->flags & INSN_LOCK)
		return unary[op][w][U_LOCK];
	return unary[op][w][ea_is_fast(in) ? U_MF : U_MG];
}

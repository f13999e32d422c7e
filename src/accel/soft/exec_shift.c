/* SPDX-License-Identifier: Apache-2.0 */
/* ROL ROR RCL RCR SHL SHR SAR, SHLD SHRD. Intel SDM vol. 2. vCPU thread. */
#include "accel/soft/exec.h"
#include "accel/soft/hostops.h"

/* The count is an immediate, or CL. */
#define SHIFT_FORMS(op, bits, count, x)                                                  \
	HANDLER(op##bits##_r_##x)                                                        \
	{                                                                                \
		SETR##bits(c, in->rm,                                                    \
			   op_##op##_##bits(&c->fl, R##bits(c, in->rm), (uint8_t)(count))); \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_m_##x)                                                        \
	{                                                                                \
		MEM_RMW(bits, ea_any(c, in, bits / 8, true),                             \
			op_##op##_##bits(&c->fl, old_, (uint8_t)(count)));               \
		NEXT();                                                                  \
	}
#define SHIFT_WIDTH(op, bits)                           \
	SHIFT_FORMS(op, bits, in->imm, i)               \
	SHIFT_FORMS(op, bits, R8(c, R_OFF(RCX)), c)
#define SHIFT(op) SHIFT_WIDTH(op, 8) SHIFT_WIDTH(op, 16) SHIFT_WIDTH(op, 32) SHIFT_WIDTH(op, 64)

SHIFT(rol)
SHIFT(ror)
SHIFT(rcl)
SHIFT(rcr)
SHIFT(shl)
SHIFT(shr)
SHIFT(sar)

#define DOUBLE_FORMS(op, bits, count, x)                                                 \
	HANDLER(op##bits##_r_##x)                                                        \
	{                                                                                \
		SETR##bits(c, in->rm, op_##op##_##bits(&c->fl, R##bits(c, in->rm),       \
						       R##bits(c, in->reg),              \
						       (uint8_t)(count)));               \
		NEXT();                                                                  \
	}                                                                                \
	HANDLER(op##bits##_m_##x)                                                        \
	{                                                                                \
		MEM_RMW(bits, ea_any(c, in, bits / 8, true),                             \
			op_##op##_##bits(&c->fl, old_, R##bits(c, in->reg),              \
					 (uint8_t)(count)));                             \
		NEXT();                                                                  \
	}
#define DOUBLE_WIDTH(op, bits)                          \
	DOUBLE_FORMS(op, bits, in->imm, i)              \
	DOUBLE_FORMS(op, bits, R8(c, R_OFF(RCX)), c)
#define DOUBLE(op) DOUBLE_WIDTH(op, 16) DOUBLE_WIDTH(op, 32) DOUBLE_WIDTH(op, 64)

DOUBLE(shld)
DOUBLE(shrd)

enum { S_R_I, S_R_C, S_M_I, S_M_C };
#define FORMS(op, b) { op##b##_r_i, op##b##_r_c, op##b##_m_i, op##b##_m_c }
#define WIDTHS(op) { FORMS(op, 8), FORMS(op, 16), FORMS(op, 32), FORMS(op, 64) }
#define WIDE(op) { { NULL }, FORMS(op, 16), FORMS(op, 32), FORMS(op, 64) }

static const insn_fn fns[][4][4] = { WIDTHS(rol), WIDTHS(ror), WIDTHS(rcl),
				     WIDTHS(rcr), WIDTHS(shl), WIDTHS(shr),
				     WIDTHS(sar), WIDE(shld),  WIDE(shrd) };

static int shift_op(unsigned mn)
{
	switch (mn) {
	case MN_ROL:
		return 0;
	case MN_ROR:
		return 1;
	case MN_RCL:
		return 2;
	case MN_RCR:
		return 3;
	case MN_SHL:
		return 4;
	case MN_SHR:
		return 5;
	case MN_SAR:
		return 6;
	case MN_SHLD:
		return 7;
	case MN_SHRD:
		return 8;
	default:
		return -1;
	}
}

insn_fn bind_shift(struct soft_cpu *c, struct insn *in)
{
	int op = shift_op(op_descs[in->op].mn);
	unsigned form;

	if (op < 0)
		return NULL;
	form = in->flags & INSN_IMM ? S_R_I : S_R_C;
	if (in->flags & INSN_MEM)
		form += S_M_I;
	return fns[op][size_index(in->opsize)][form];
}

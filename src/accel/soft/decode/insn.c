/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions about a decoded instruction: size of its memory operand, general registers read and
 * written, what it means without its CPUID feature. All from op_descs[]. Stateless, any thread.
 */
#include "accel/soft/decode/decode.h"
#include "accel/soft/decode/decode_tbl.h"
#include "isa/x86/cpu_state.h"

unsigned insn_vl(const struct insn *in)
{
	if (in->flags & INSN_EVEX)
		return 16u << ((in->evex & EVEX_LL) >> 5);
	return in->flags & INSN_VEXL ? 32 : 16;
}

static unsigned special_size(const struct insn *in, unsigned size)
{
	unsigned vl = insn_vl(in);

	switch (size) {
	case 0:
		return in->opsize;
	case OPSZ_VL:
		return vl;
	case OPSZ_VL2:
		return vl / 2;
	case OPSZ_VL4:
		return vl / 4;
	case OPSZ_VL8:
		return vl / 8;
	case OPSZ_PTR:
		return in->opsize + 2;
	case OPSZ_2X:
		return in->opsize * 2;
	case OPSZ_DESC:
		return in->opsize == 8 ? 10 : 6;
	case OPSZ_FPENV:
		return in->opsize == 2 ? 14 : 28;
	case OPSZ_FPSAVE:
		return in->opsize == 2 ? 94 : 108;
	case OPSZ_FX:
		return 512;
	case OPSZ_XS:
		return 576;
	default:
		return size;
	}
}

unsigned insn_mem_size(const struct insn *in)
{
	const struct op_desc *op = &op_descs[in->op];

	if (!(in->flags & INSN_MEM))
		return 0;
	if (in->evex & EVEX_B)
		return op->esize;
	for (unsigned i = 0; i < op->nr_operands; i++) {
		const struct op_operand *o = &op->operand[i];

		switch (o->kind) {
		case OPK_RM:
		case OPK_M:
		case OPK_W:
		case OPK_Q:
		case OPK_MOFFS:
		case OPK_STRSRC:
		case OPK_STRDST:
		case OPK_VSIB:
		case OPK_KRM:
			return o->rw ? special_size(in, o->size) : 0;
		default:
			break;
		}
	}
	return 0;
}

/* Number of the register at an offset as in insn.reg; R_ZERO and R_PC are none. */
static unsigned gpr_bit(unsigned offset)
{
	unsigned n = offset / 8;

	return n < 16 ? 1u << n : 0;
}

static unsigned operand_gpr(const struct insn *in, const struct op_operand *o)
{
	switch (o->kind) {
	case OPK_REG:
		return gpr_bit(in->reg);
	case OPK_RM:
		return in->flags & INSN_MEM ? 0 : gpr_bit(in->rm);
	case OPK_R:
	case OPK_OPREG:
		return gpr_bit(in->rm);
	case OPK_VVVV:
		return 1u << in->vvvv;
	default:
		return 0;
	}
}

/* Implied accumulators are as wide as the operation; a narrow write keeps the rest. */
static bool narrow(const struct insn *in, const struct op_operand *o)
{
	unsigned size = o->size ? o->size : in->opsize;

	return size < 4;
}

void insn_gprs(const struct insn *in, unsigned *read, unsigned *written)
{
	const struct op_desc *op = &op_descs[in->op];
	unsigned r = op->gpr_r, w = op->gpr_w;

	for (unsigned i = 0; i < op->nr_operands; i++) {
		const struct op_operand *o = &op->operand[i];
		unsigned bit = o->kind == OPK_FIX ? 1u << o->fix : operand_gpr(in, o);

		if (o->rw & 1)
			r |= bit;
		if (o->rw & 2) {
			w |= bit;
			r |= narrow(in, o) ? bit : 0;
		}
	}
	/* what system instructions imply is written whole */
	if (in->opsize < 4 && op->cls == OPC_INT)
		r |= op->gpr_w;
	if (in->flags & INSN_MEM)
		r |= gpr_bit(in->base) | gpr_bit(in->index);
	if (in->flags & (INSN_REP | INSN_REPNE)) {
		r |= 1u << RCX;
		w |= 1u << RCX;
	}
	*read = r;
	*written = w;
}

unsigned op_without_feature(unsigned op)
{
	return op_encs[op].instead;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MOV and its kin: MOVZX MOVSX MOVSXD LEA CMOVcc SETcc BSWAP CBW CWD MOVBE MOVNTI MOVDIRI XLAT.
 * Intel SDM vol. 2. vCPU thread.
 */
#include "accel/soft/exec.h"

#define MOV_WIDTH(bits)                                                        \
	HANDLER(mov##bits##_rr)                                                \
	{                                                                      \
		SETR##bits(c, in->rm, R##bits(c, in->reg));                    \
		NEXT();                                                        \
	}                                                                      \
	HANDLER(mov##bits##_ri)                                                \
	{                                                                      \
		SETR##bits(c, in->rm, in->imm);                                \
		NEXT();                                                        \
	}                                                                      \
	MOV_MEM(bits, EA_F, f)                                                 \
	MOV_MEM(bits, EA_G, g)
#define MOV_MEM(bits, ea, x)                                                   \
	HANDLER(mov##bits##_rm_##x)                                            \
	{                                                                      \
		uint64_t lin = ea(c, in, bits / 8, false);                     \
                                                                               \
		SETR##bits(c, in->reg, ld##bits(c, lin));                      \
		NEXT();                                                        \
	}                                                                      \
	HANDLER(mov##bits##_mr_##x)                                            \
	{                                                                      \
		st##bits(c, ea(c, in, bits / 8, true), R##bits(c, in->reg));   \
		NEXT();                                                        \
	}                                                                      \
	HANDLER(mov##bits##_mi_##x)                                            \
	{                                                                      \
		st##bits(c, ea(c, in, bits / 8, true), (uint##bits##_t)in->imm); \
		NEXT();                                                        \
	}

MOV_WIDTH(8)
MOV_WIDTH(16)
MOV_WIDTH(32)
MOV_WIDTH(64)

/* MOVZX, MOVSX: from src bits to dst bits, with the cast that extends. */
#define EXTEND(name, type, dst, src)                                           \
	HANDLER(name##dst##_##src##_r)                                         \
	{                                                                      \
		SETR##dst(c, in->reg, (type)R##src(c, in->rm));                \
		NEXT();                                                        \
	}                                                                      \
	HANDLER(name##dst##_##src##_f)                                         \
	{                                                                      \
		SETR##dst(c, in->reg, (type)ld##src(c, ea_fast(c, in)));       \
		NEXT();                                                        \
	}                                                                      \
	HANDLER(name##dst##_##src##_g)                                         \
	{                                                                      \
		uint64_t lin = ea_any(c, in, src / 8, false);                  \
                                                                               \
		SETR##dst(c, in->reg, (type)ld##src(c, lin));                  \
		NEXT();                                                        \
	}

EXTEND(movzx, uint8_t, 16, 8)
EXTEND(movzx, uint8_t, 32, 8)
EXTEND(movzx, uint16_t, 16, 16)
EXTEND(movzx, uint16_t, 32, 16)
EXTEND(movsx, int8_t, 16, 8)
EXTEND(movsx, int8_t, 32, 8)
EXTEND(movsx, int8_t, 64, 8)
EXTEND(movsx, int16_t, 16, 16)
EXTEND(movsx, int16_t, 32, 16)
EXTEND(movsx, int16_t, 64, 16)
EXTEND(movsx, int32_t, 64, 32)
EXTEND(movsx, uint32_t, 32, 32) /* MOVSXD without REX.W */
/* MOVSXD with 66: reads 16 bits where AMD and Intel differ; memory of 16 bits is Intel's */
EXTEND(movsx, uint16_t, 16, 32)

HANDLER(lea16)
{
	SETR16(c, in->reg, ea_offset(c, in, 0));
	NEXT();
}

HANDLER(lea32)
{
	SETR32(c, in->reg, ea_offset(c, in, 0));
	NEXT();
}

HANDLER(lea64)
{
	R64(c, in->reg) = ea_offset(c, in, 0);
	NEXT();
}

HANDLER(lea64_f)
{
	R64(c, in->reg) = R64(c, in->base) + (R64(c, in->index) << in->scale) +
			  (uint64_t)(int64_t)in->disp;
	NEXT();
}

/* CMOVcc: the memory operand is read whatever the condition; 32 bits clear the upper half. */
#define CMOV(bits)                                                             \
	HANDLER(cmov##bits##_r)                                                \
	{                                                                      \
		if (fl_cond(c->fl, in->cc))                                    \
			SETR##bits(c, in->reg, R##bits(c, in->rm));            \
		else                                                           \
			SETR##bits(c, in->reg, R##bits(c, in->reg));           \
		NEXT();                                                        \
	}                                                                      \
	HANDLER(cmov##bits##_m)                                                \
	{                                                                      \
		uint##bits##_t v = ld##bits(c, ea_any(c, in, bits / 8, false)); \
                                                                               \
		if (!fl_cond(c->fl, in->cc))                                   \
			v = R##bits(c, in->reg);                               \
		SETR##bits(c, in->reg, v);                                     \
		NEXT();                                                        \
	}

CMOV(16)
CMOV(32)
CMOV(64)

HANDLER(setcc_r)
{
	R8(c, in->rm) = fl_cond(c->fl, in->cc);
	NEXT();
}

HANDLER(setcc_m)
{
	st8(c, ea_any(c, in, 1, true), fl_cond(c->fl, in->cc));
	NEXT();
}

/* BSWAP of 16 bits is undefined; processors clear the register's low half. */
HANDLER(bswap16)
{
	R16(c, in->rm) = 0;
	NEXT();
}

HANDLER(bswap32)
{
	SETR32(c, in->rm, __builtin_bswap32(R32(c, in->rm)));
	NEXT();
}

HANDLER(bswap64)
{
	R64(c, in->rm) = __builtin_bswap64(R64(c, in->rm));
	NEXT();
}

HANDLER(cbw)
{
	R16(c, R_OFF(RAX)) = (uint16_t)(int8_t)R8(c, R_OFF(RAX));
	NEXT();
}

HANDLER(cwde)
{
	SETR32(c, R_OFF(RAX), (int16_t)R16(c, R_OFF(RAX)));
	NEXT();
}

HANDLER(cdqe)
{
	c->r[RAX] = (uint64_t)(int64_t)(int32_t)c->r[RAX];
	NEXT();
}

HANDLER(cwd)
{
	R16(c, R_OFF(RDX)) = (int16_t)R16(c, R_OFF(RAX)) < 0 ? 0xffff : 0;
	NEXT();
}

HANDLER(cdq)
{
	c->r[RDX] = (int32_t)c->r[RAX] < 0 ? 0xffffffffu : 0;
	NEXT();
}

HANDLER(cqo)
{
	c->r[RDX] = (int64_t)c->r[RAX] < 0 ? UINT64_MAX : 0;
	NEXT();
}

static uint64_t swap_bytes(uint64_t v, unsigned size)
{
	return __builtin_bswap64(v) >> (64 - 8 * size);
}

HANDLER(movbe_load)
{
	uint64_t v = mmu_ld(c, ea_any(c, in, in->opsize, false), in->opsize);

	reg_set(c, in->reg, in->opsize, swap_bytes(v, in->opsize));
	NEXT();
}

HANDLER(movbe_store)
{
	mmu_st(c, ea_any(c, in, in->opsize, true),
	       swap_bytes(reg_get(c, in->reg, in->opsize), in->opsize), in->opsize);
	NEXT();
}

HANDLER(xlat)
{
	uint64_t off = ea_offset(c, in, R8(c, R_OFF(RAX)));

	R8(c, R_OFF(RAX)) = ld8(c, ea_linear(c, in, off, 1, false));
	NEXT();
}

/* 64 bytes, source and then destination: ES:reg (SDM: the reg operand, 64-byte aligned). */
HANDLER(movdir64b)
{
	uint8_t buf[64];
	uint64_t dst = reg_get(c, in->reg, in->flags & INSN_A16 ? 2 : in->flags & INSN_A32 ? 4 : 8);

	mmu_read(c, ea_any(c, in, 64, false), buf, 64);
	if (in->flags & INSN_SEGCK)
		dst = seg_linear(c, SEG_ES, dst, 64, true);
	if (dst & 63)
		cpu_raise_err(c, X86_GP, 0);
	mmu_write(c, dst, buf, 64);
	NEXT();
}

enum { M_RR, M_RI, M_RM_F, M_RM_G, M_MR_F, M_MR_G, M_MI_F, M_MI_G, M_NR };
#define MOV_FORMS(b)                                                           \
	{                                                                      \
		mov##b##_rr, mov##b##_ri, mov##b##_rm_f, mov##b##_rm_g,        \
		mov##b##_mr_f, mov##b##_mr_g, mov##b##_mi_f, mov##b##_mi_g     \
	}
static const insn_fn mov[4][M_NR] = { MOV_FORMS(8), MOV_FORMS(16), MOV_FORMS(32), MOV_FORMS(64) };

/* An absolute address operand has its address in imm: make it a displacement where it fits. */
static bool moffs_to_disp(struct insn *in)
{
	if ((int64_t)in->imm != (int32_t)in->imm && (in->flags & INSN_A64))
		return false;
	in->disp = (int32_t)in->imm;
	return true;
}

#define MOFFS(bits)                                                            \
	HANDLER(moffs_load##bits)                                              \
	{                                                                      \
		SETR##bits(c, R_OFF(RAX), ld##bits(c, in->imm + c->segbase[in->seg])); \
		NEXT();                                                        \
	}                                                                      \
	HANDLER(moffs_store##bits)                                             \
	{                                                                      \
		st##bits(c, in->imm + c->segbase[in->seg], R##bits(c, R_OFF(RAX))); \
		NEXT();                                                        \
	}
MOFFS(8)
MOFFS(16)
MOFFS(32)
MOFFS(64)
static const insn_fn moffs[4][2] = { { moffs_load8, moffs_store8 },
				     { moffs_load16, moffs_store16 },
				     { moffs_load32, moffs_store32 },
				     { moffs_load64, moffs_store64 } };

static insn_fn bind_mov_forms(struct insn *in)
{
	const struct op_desc *d = &op_descs[in->op];
	unsigned w = size_index(in->opsize);
	bool fast = ea_is_fast(in);

	if (d->operand[0].kind == OPK_MOFFS || d->operand[1].kind == OPK_MOFFS) {
		bool store = d->operand[0].kind == OPK_MOFFS;

		in->base = in->index = R_OFF(R_ZERO);
		in->reg = R_OFF(RAX);
		if (!moffs_to_disp(in))
			return moffs[w][store];
		fast = ea_is_fast(in);
		return mov[w][store ? (fast ? M_MR_F : M_MR_G) : (fast ? M_RM_F : M_RM_G)];
	}
	if (in->flags & INSN_IMM)
		return mov[w][!(in->flags & INSN_MEM) ? M_RI : fast ? M_MI_F : M_MI_G];
	if (in->flags & INSN_MEM) {
		if (d->operand[0].kind == OPK_REG)
			return mov[w][fast ? M_RM_F : M_RM_G];
		return mov[w][fast ? M_MR_F : M_MR_G];
	}
	if (d->operand[0].kind == OPK_REG) {
		uint8_t t = in->reg;

		in->reg = in->rm;
		in->rm = t;
	}
	return mov[w][M_RR];
}

#define EXT_FORMS(name, d, s) { name##d##_##s##_r, name##d##_##s##_f, name##d##_##s##_g }

/* A zero-extension to 64 bits is one to 32 bits. */
static insn_fn bind_extend(struct insn *in, unsigned mn)
{
	static const insn_fn zx[2][2][3] = {
		{ EXT_FORMS(movzx, 16, 8), EXT_FORMS(movzx, 32, 8) },
		{ EXT_FORMS(movzx, 16, 16), EXT_FORMS(movzx, 32, 16) },
	};
	static const insn_fn sx[3][3][3] = {
		{ EXT_FORMS(movsx, 16, 8), EXT_FORMS(movsx, 32, 8), EXT_FORMS(movsx, 64, 8) },
		{ EXT_FORMS(movsx, 16, 16), EXT_FORMS(movsx, 32, 16), EXT_FORMS(movsx, 64, 16) },
		{ EXT_FORMS(movsx, 16, 32), EXT_FORMS(movsx, 32, 32), EXT_FORMS(movsx, 64, 32) },
	};
	unsigned src = mn == MN_MOVSXD ? 2 : op_descs[in->op].operand[1].size == 1 ? 0 : 1;
	unsigned form = !(in->flags & INSN_MEM) ? 0 : ea_is_fast(in) ? 1 : 2;

	if (mn == MN_MOVZX)
		return zx[src][in->opsize != 2][form];
	return sx[src][in->opsize == 2 ? 0 : in->opsize == 4 ? 1 : 2][form];
}

static insn_fn bind_by_size(unsigned size, insn_fn f16, insn_fn f32, insn_fn f64)
{
	return size == 2 ? f16 : size == 4 ? f32 : f64;
}

static insn_fn bind_cmov(struct insn *in)
{
	if (in->flags & INSN_MEM)
		return bind_by_size(in->opsize, cmov16_m, cmov32_m, cmov64_m);
	return bind_by_size(in->opsize, cmov16_r, cmov32_r, cmov64_r);
}

static insn_fn bind_lea(struct insn *in)
{
	if (in->opsize == 8)
		return ea_is_fast(in) ? lea64_f : lea64;
	return in->opsize == 4 ? lea32 : lea16;
}

insn_fn bind_mov(struct soft_cpu *c, struct insn *in)
{
	const struct op_desc *d = &op_descs[in->op];

	switch (d->mn) {
	case MN_MOV:
		return bind_mov_forms(in);
	case MN_MOVNTI:
	case MN_MOVDIRI:
		return mov[size_index(in->opsize)][M_MR_G];
	case MN_MOVZX:
	case MN_MOVSX:
	case MN_MOVSXD:
		return bind_extend(in, d->mn);
	case MN_LEA:
		return bind_lea(in);
	case MN_CMOVCC:
		return bind_cmov(in);
	case MN_SETCC:
		return in->flags & INSN_MEM ? setcc_m : setcc_r;
	case MN_BSWAP:
		return bind_by_size(in->opsize, bswap16, bswap32, bswap64);
	case MN_CBW:
		return bind_by_size(in->opsize, cbw, cwde, cdqe);
	case MN_CWD:
		return bind_by_size(in->opsize, cwd, cdq, cqo);
	case MN_MOVBE:
		return d->operand[0].kind == OPK_REG ? movbe_load : movbe_store;
	case MN_XLAT:
		return xlat;
	case MN_MOVDIR64B:
		return movdir64b;
	default:
		return NULL;
	}
}

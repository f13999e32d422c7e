/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions on segment registers, descriptor tables and descriptors: MOV, PUSH, POP, LxS,
 * LGDT family, LLDT, LTR, VERR, VERW, LAR, LSL, ARPL. Intel SDM vol. 2. On the vCPU's thread.
 */
#include "accel/soft/sys.h"

static void umip(struct soft_cpu *c)
{
	if (c->cpl && c->s.cr4 & CR4_UMIP)
		cpu_raise_err(c, X86_GP, 0);
}

/* Stores a 16-bit value: registers take the operand size, memory two bytes. */
static const struct insn *store16(struct soft_cpu *c, const struct insn *in, uint64_t val)
{
	if (in->flags & INSN_MEM)
		mmu_st_slow(c, sys_lin(c, in, 0, 2, true), val & 0xffff, 2);
	else
		sys_set_reg(c, in->rm, val, in->opsize);
	return in + 1;
}

static const struct insn *sys_mov_from_sreg(struct soft_cpu *c, const struct insn *in)
{
	return store16(c, in, c->s.seg[in->reg_n].sel);
}

static const struct insn *sys_mov_to_sreg(struct soft_cpu *c, const struct insn *in)
{
	seg_load(c, in->reg_n, (uint16_t)sys_read_rm(c, in, 2));
	if (in->reg_n == SEG_SS)
		c->s.mov_ss_shadow = true;
	return sys_end(c);
}

static unsigned fixed_sreg(const struct insn *in)
{
	return op_descs[in->op].operand[0].fix;
}

static const struct insn *sys_push_sreg(struct soft_cpu *c, const struct insn *in)
{
	stk_push(c, c->s.seg[fixed_sreg(in)].sel, in->opsize);
	return in + 1;
}

static const struct insn *sys_pop_sreg(struct soft_cpu *c, const struct insn *in)
{
	unsigned seg = fixed_sreg(in), bits = c->stack_bits;
	uint16_t sel = (uint16_t)stack_peek(c, 0, in->opsize);

	seg_load(c, seg, sel);
	c->r[RSP] = stack_merge(c->r[RSP], c->r[RSP] + in->opsize, bits);
	if (seg == SEG_SS)
		c->s.mov_ss_shadow = true;
	return sys_end(c);
}

static const struct insn *load_far(struct soft_cpu *c, const struct insn *in, unsigned seg)
{
	uint64_t off = mmu_ld_slow(c, sys_lin(c, in, 0, in->opsize, false), in->opsize);
	uint16_t sel = (uint16_t)mmu_ld_slow(c, sys_lin(c, in, in->opsize, 2, false), 2);

	seg_load(c, seg, sel);
	sys_set_reg(c, in->reg, off, in->opsize);
	return sys_end(c);
}

static const struct insn *sys_les(struct soft_cpu *c, const struct insn *in)
{
	return load_far(c, in, SEG_ES);
}

static const struct insn *sys_lds(struct soft_cpu *c, const struct insn *in)
{
	return load_far(c, in, SEG_DS);
}

static const struct insn *sys_lss(struct soft_cpu *c, const struct insn *in)
{
	return load_far(c, in, SEG_SS);
}

static const struct insn *sys_lfs(struct soft_cpu *c, const struct insn *in)
{
	return load_far(c, in, SEG_FS);
}

static const struct insn *sys_lgs(struct soft_cpu *c, const struct insn *in)
{
	return load_far(c, in, SEG_GS);
}

static void load_table(struct soft_cpu *c, const struct insn *in, struct x86_dtable *t)
{
	unsigned size = c->code_bits == 64 ? 8 : 4;
	uint16_t limit;
	uint64_t base;

	need_cpl0(c);
	limit = (uint16_t)mmu_ld_slow(c, sys_lin(c, in, 0, 2, false), 2);
	base = mmu_ld_slow(c, sys_lin(c, in, 2, size, false), size);
	if (size == 4 && in->opsize == 2)
		base &= 0xffffff;
	if (size == 8 && !canonical(c, base))
		cpu_raise_err(c, X86_GP, 0);
	*t = (struct x86_dtable){ base, limit };
}

static void store_table(struct soft_cpu *c, const struct insn *in, const struct x86_dtable *t)
{
	unsigned size = c->code_bits == 64 ? 8 : 4;
	uint64_t at;

	umip(c);
	at = sys_lin(c, in, 2, size, true);
	mmu_probe_write(c, at, size);
	mmu_st_slow(c, sys_lin(c, in, 0, 2, true), t->limit, 2);
	mmu_st_slow(c, at, t->base, size);
}

static const struct insn *sys_lgdt(struct soft_cpu *c, const struct insn *in)
{
	load_table(c, in, &c->s.gdtr);
	return sys_end(c);
}

static const struct insn *sys_lidt(struct soft_cpu *c, const struct insn *in)
{
	load_table(c, in, &c->s.idtr);
	return sys_end(c);
}

static const struct insn *sys_sgdt(struct soft_cpu *c, const struct insn *in)
{
	store_table(c, in, &c->s.gdtr);
	return in + 1;
}

static const struct insn *sys_sidt(struct soft_cpu *c, const struct insn *in)
{
	store_table(c, in, &c->s.idtr);
	return in + 1;
}

/* These are unknown where there are no protected-mode segments. */
static void need_pe(struct soft_cpu *c)
{
	if (real_segs(c))
		cpu_raise(c, X86_UD);
}

static const struct insn *sys_sldt(struct soft_cpu *c, const struct insn *in)
{
	need_pe(c);
	umip(c);
	return store16(c, in, c->s.ldtr.sel);
}

static const struct insn *sys_str(struct soft_cpu *c, const struct insn *in)
{
	need_pe(c);
	umip(c);
	return store16(c, in, c->s.tr.sel);
}

static const struct insn *sys_smsw(struct soft_cpu *c, const struct insn *in)
{
	umip(c);
	if (in->flags & INSN_MEM)
		return store16(c, in, c->s.cr0);
	sys_set_reg(c, in->rm, c->s.cr0, in->opsize);
	return in + 1;
}

static const struct insn *sys_lldt(struct soft_cpu *c, const struct insn *in)
{
	need_pe(c);
	need_cpl0(c);
	seg_load_ldt(c, (uint16_t)sys_read_rm(c, in, 2));
	return sys_end(c);
}

static const struct insn *sys_ltr(struct soft_cpu *c, const struct insn *in)
{
	need_pe(c);
	need_cpl0(c);
	seg_load_tr(c, (uint16_t)sys_read_rm(c, in, 2));
	return sys_end(c);
}

static void set_zf(struct soft_cpu *c, bool on)
{
	c->fl = on ? c->fl | FL_ZF : c->fl & ~FL_ZF;
}

/* Whether sel names a descriptor that CPL and RPL let one see. */
static bool visible(struct soft_cpu *c, uint16_t sel, struct desc *d)
{
	unsigned dpl;

	if (sel_null(sel) || !desc_read(c, sel, d))
		return false;
	if (desc_is_code(d) && d->hi & DESC_CE)
		return true;
	dpl = desc_dpl(d);
	return dpl >= c->cpl && dpl >= (sel & 3u);
}

static const struct insn *sys_verr(struct soft_cpu *c, const struct insn *in)
{
	struct desc d;
	uint16_t sel;

	need_pe(c);
	sel = (uint16_t)sys_read_rm(c, in, 2);
	set_zf(c, visible(c, sel, &d) && d.hi & DESC_S &&
			  (d.hi & (DESC_CODE | DESC_RW)) != DESC_CODE);
	return in + 1;
}

static const struct insn *sys_verw(struct soft_cpu *c, const struct insn *in)
{
	struct desc d;
	uint16_t sel;

	need_pe(c);
	sel = (uint16_t)sys_read_rm(c, in, 2);
	set_zf(c, visible(c, sel, &d) && desc_is_writable_data(&d));
	return in + 1;
}

/* System descriptor types that LAR and LSL accept, as bit masks. */
#define LAR_LEGACY (BIT32(1) | BIT32(2) | BIT32(3) | BIT32(4) | BIT32(5) | BIT32(9) | BIT32(11) | \
		    BIT32(12))
#define LAR_LONG   (BIT32(2) | BIT32(9) | BIT32(11) | BIT32(12))
#define LSL_LEGACY (BIT32(1) | BIT32(2) | BIT32(3) | BIT32(9) | BIT32(11))
#define LSL_LONG   (BIT32(2) | BIT32(9) | BIT32(11))

static bool lar_ok(struct soft_cpu *c, const struct insn *in, uint32_t types, struct desc *d)
{
	uint16_t sel;

	need_pe(c);
	sel = (uint16_t)sys_read_rm(c, in, 2);
	if (!visible(c, sel, d))
		return false;
	return d->hi & DESC_S || types >> desc_type(d) & 1;
}

static const struct insn *sys_lar(struct soft_cpu *c, const struct insn *in)
{
	struct desc d;
	bool ok = lar_ok(c, in, c->long_mode ? LAR_LONG : LAR_LEGACY, &d);

	set_zf(c, ok);
	if (ok)
		sys_set_reg(c, in->reg, d.hi & 0x00f0ff00, in->opsize);
	return in + 1;
}

static const struct insn *sys_lsl(struct soft_cpu *c, const struct insn *in)
{
	struct desc d;
	bool ok = lar_ok(c, in, c->long_mode ? LSL_LONG : LSL_LEGACY, &d);

	set_zf(c, ok);
	if (ok)
		sys_set_reg(c, in->reg, seg_of_desc(0, &d).limit, in->opsize);
	return in + 1;
}

static const struct insn *sys_arpl(struct soft_cpu *c, const struct insn *in)
{
	uint16_t dst, rpl = R16(c, in->reg) & 3;
	uint64_t lin = 0;

	need_pe(c);
	if (in->flags & INSN_MEM) {
		lin = sys_lin(c, in, 0, 2, true);
		mmu_probe_write(c, lin, 2);
		dst = (uint16_t)mmu_ld_slow(c, lin, 2);
	} else {
		dst = R16(c, in->rm);
	}
	if ((dst & 3) < rpl) {
		dst = (uint16_t)((dst & ~3) | rpl);
		if (in->flags & INSN_MEM)
			mmu_st_slow(c, lin, dst, 2);
		else
			R16(c, in->rm) = dst;
		set_zf(c, true);
	} else {
		set_zf(c, false);
	}
	return in + 1;
}

insn_fn bind_sys_seg(const struct insn *in, unsigned mn)
{
	switch (mn) {
	case MN_MOV_SREG:
		return op_descs[in->op].operand[0].kind == OPK_SREG ? sys_mov_to_sreg :
								      sys_mov_from_sreg;
	case MN_PUSH_SREG:
		return sys_push_sreg;
	case MN_POP_SREG:
		return sys_pop_sreg;
	case MN_LES:
		return sys_les;
	case MN_LDS:
		return sys_lds;
	case MN_LSS:
		return sys_lss;
	case MN_LFS:
		return sys_lfs;
	case MN_LGS:
		return sys_lgs;
	case MN_LGDT:
		return sys_lgdt;
	case MN_LIDT:
		return sys_lidt;
	case MN_SGDT:
		return sys_sgdt;
	case MN_SIDT:
		return sys_sidt;
	case MN_SLDT:
		return sys_sldt;
	case MN_STR:
		return sys_str;
	case MN_SMSW:
		return sys_smsw;
	case MN_LLDT:
		return sys_lldt;
	case MN_LTR:
		return sys_ltr;
	case MN_VERR:
		return sys_verr;
	case MN_VERW:
		return sys_verw;
	case MN_LAR:
		return sys_lar;
	case MN_LSL:
		return sys_lsl;
	case MN_ARPL:
		return sys_arpl;
	default:
		return NULL;
	}
}

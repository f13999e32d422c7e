/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control and debug registers and what stands by them: MOV CR, MOV DR, CLTS, LMSW, INVLPG,
 * INVPCID, XSETBV. Intel SDM vol. 3A chapters 2, 4.10 and 10.8; AMD APM vol. 2 chapters 3 and 14.
 * On the vCPU's thread.
 */
#include "accel/soft/sys.h"
#include "accel/soft/soft_vm.h"

static _Noreturn void gp0(struct soft_cpu *c)
{
	cpu_raise_err(c, X86_GP, 0);
}

static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return cr0 & CR0_PG && cr4 & CR4_PAE && !(efer & EFER_LMA);
}

/* Turning paging on with EFER.LME enters long mode. */
static uint64_t enter_paging(struct soft_cpu *c, uint64_t cr0)
{
	uint64_t efer = c->s.efer;
	unsigned tss = c->s.tr.attr & SEG_TYPE;

	if (efer & EFER_LME) {
		if (!(c->s.cr4 & CR4_PAE) || c->s.seg[SEG_CS].attr & SEG_L ||
		    tss == DT_TSS16 || tss == DT_TSS16_BUSY)
			gp0(c);
		return efer | EFER_LMA;
	}
	if (pae_paging(cr0, c->s.cr4, efer) && !mmu_load_pdptes(c, c->s.cr3))
		gp0(c);
	return efer;
}

void cr0_write(struct soft_cpu *c, uint64_t val)
{
	uint64_t old = c->s.cr0, efer = c->s.efer;

	if (val >> 32)
		gp0(c);
	val = (val & (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW |
		      CR0_CD | CR0_PG)) | CR0_ET;
	if ((val & CR0_PG && !(val & CR0_PE)) || (val & CR0_NW && !(val & CR0_CD)))
		gp0(c);
	if (val & ~old & CR0_PG) {
		efer = enter_paging(c, val);
	} else if (old & ~val & CR0_PG) {
		if (c->code_bits == 64 || c->s.cr4 & CR4_PCIDE)
			gp0(c);
		efer &= ~EFER_LMA;
	} else if (pae_paging(val, c->s.cr4, efer) && (val ^ old) & (CR0_CD | CR0_NW)) {
		if (!mmu_load_pdptes(c, c->s.cr3))
			gp0(c);
	}
	c->s.cr0 = val;
	c->s.efer = efer;
	if ((val ^ old) & (CR0_PG | CR0_WP | CR0_PE))
		mmu_flush(c, true, TLB_WHY_MODE);
	cpu_mode_changed(c);
}

void cr3_write(struct soft_cpu *c, uint64_t val)
{
	bool pcids = c->s.cr4 & CR4_PCIDE, keep = pcids && val >> 63;

	if (c->long_mode) {
		if (pcids)
			val &= ~BIT64(63);
		if (val >> c->vm->model->phys_bits)
			gp0(c);
	} else {
		val = (uint32_t)val;
		if (pae_paging(c->s.cr0, c->s.cr4, c->s.efer) && !mmu_load_pdptes(c, val))
			gp0(c);
	}
	c->s.cr3 = val;
	if (pcids)
		mmu_switch(c, val & 0xfff);
	if (!keep)
		mmu_flush(c, false, TLB_WHY_CR3);
}

uint64_t cr4_allowed(const struct soft_cpu *c)
{
	static const struct {
		uint64_t bit;
		uint8_t feature;
	} bits[] = {
		{ CR4_VME, X86F_VME },	 { CR4_PVI, X86F_VME },	  { CR4_TSD, X86F_TSC },
		{ CR4_DE, X86F_DE },	 { CR4_PSE, X86F_PSE },	  { CR4_PAE, X86F_PAE },
		{ CR4_MCE, X86F_MCE },	 { CR4_PGE, X86F_PGE },	  { CR4_PCE, X86F_NONE },
		{ CR4_OSFXSR, X86F_FXSR }, { CR4_OSXMMEXCPT, X86F_SSE },
		{ CR4_UMIP, X86F_UMIP }, { CR4_LA57, X86F_LA57 },
		{ CR4_FSGSBASE, X86F_FSGSBASE }, { CR4_PCIDE, X86F_PCID },
		{ CR4_OSXSAVE, X86F_XSAVE }, { CR4_SMEP, X86F_SMEP }, { CR4_SMAP, X86F_SMAP },
	};
	uint64_t mask = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		if (cpu_has(c, bits[i].feature))
			mask |= bits[i].bit;
	return mask;
}

void cr4_write(struct soft_cpu *c, uint64_t val)
{
	uint64_t old = c->s.cr4, changed = val ^ old;

	if (val & ~cr4_allowed(c))
		gp0(c);
	if (c->long_mode && (changed & CR4_LA57 || !(val & CR4_PAE)))
		gp0(c);
	if (val & ~old & CR4_PCIDE && (!c->long_mode || c->s.cr3 & 0xfff))
		gp0(c);
	if (pae_paging(c->s.cr0, val, c->s.efer) &&
	    changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP) && !mmu_load_pdptes(c, c->s.cr3))
		gp0(c);
	c->s.cr4 = val;
	if (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_LA57))
		mmu_flush(c, true, TLB_WHY_MODE);
	cpu_mode_changed(c);
}

static uint64_t cr_read(struct soft_cpu *c, unsigned n)
{
	switch (n) {
	case 0:
		return c->s.cr0;
	case 2:
		return c->s.cr2;
	case 3:
		return c->s.cr3;
	case 4:
		return c->s.cr4;
	case 8:
		return c->vcpu->ops && c->vcpu->ops->get_tpr ? c->vcpu->ops->get_tpr(c->vcpu) :
							       c->s.cr8;
	default:
		cpu_raise(c, X86_UD);
	}
}

static void cr_write(struct soft_cpu *c, unsigned n, uint64_t val)
{
	switch (n) {
	case 0:
		cr0_write(c, val);
		break;
	case 2:
		c->s.cr2 = val;
		break;
	case 3:
		cr3_write(c, val);
		break;
	case 4:
		cr4_write(c, val);
		break;
	case 8:
		if (val > 15)
			gp0(c);
		c->s.cr8 = val;
		if (c->vcpu->ops && c->vcpu->ops->set_tpr)
			c->vcpu->ops->set_tpr(c->vcpu, val);
		break;
	default:
		cpu_raise(c, X86_UD);
	}
}

static unsigned creg_size(const struct soft_cpu *c)
{
	return c->code_bits == 64 ? 8 : 4;
}

static const struct insn *sys_mov_from_cr(struct soft_cpu *c, const struct insn *in)
{
	need_cpl0(c);
	sys_set_reg(c, R_OFF(in->rm_n), cr_read(c, in->reg_n), creg_size(c));
	return in + 1;
}

static const struct insn *sys_mov_to_cr(struct soft_cpu *c, const struct insn *in)
{
	uint64_t val = c->r[in->rm_n & 15];

	need_cpl0(c);
	cr_write(c, in->reg_n, c->code_bits == 64 ? val : (uint32_t)val);
	return sys_end(c);
}

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE; DR7.GD guards them all. */
static unsigned dr_number(struct soft_cpu *c, unsigned n)
{
	if (n > 7 || ((n == 4 || n == 5) && c->s.cr4 & CR4_DE))
		cpu_raise(c, X86_UD);
	need_cpl0(c);
	if (c->s.dr7 & DR7_GD)
		debug_raise(c, DR6_BD);
	return n == 4 || n == 5 ? n + 2 : n;
}

static const struct insn *sys_mov_from_dr(struct soft_cpu *c, const struct insn *in)
{
	unsigned n = dr_number(c, in->reg_n);
	uint64_t val = n < 4 ? c->s.dr[n] : n == 6 ? c->s.dr6 : c->s.dr7;

	sys_set_reg(c, R_OFF(in->rm_n), val, creg_size(c));
	return in + 1;
}

static const struct insn *sys_mov_to_dr(struct soft_cpu *c, const struct insn *in)
{
	unsigned n = dr_number(c, in->reg_n);
	uint64_t val = c->r[in->rm_n & 15];

	if (c->code_bits != 64)
		val = (uint32_t)val;
	if (n >= 6 && val >> 32)
		gp0(c);
	if (n < 4)
		c->s.dr[n] = val;
	else if (n == 6)
		c->s.dr6 = (val & 0xe00f) | 0xffff0ff0;
	else
		c->s.dr7 = (val & 0xffff2bff) | 0x400;
	cpu_mode_changed(c);
	return sys_end(c);
}

static const struct insn *sys_clts(struct soft_cpu *c, const struct insn *in)
{
	need_cpl0(c);
	c->s.cr0 &= ~CR0_TS;
	cpu_mode_changed(c);
	return sys_end(c);
}

static const struct insn *sys_lmsw(struct soft_cpu *c, const struct insn *in)
{
	uint64_t val;

	need_cpl0(c);
	val = sys_read_rm(c, in, 2);
	/* PE, MP, EM, TS; PE cannot be cleared */
	cr0_write(c, (c->s.cr0 & ~0xeull) | (val & 0xf));
	return sys_end(c);
}

static const struct insn *sys_invlpg(struct soft_cpu *c, const struct insn *in)
{
	uint64_t lin;

	need_cpl0(c);
	lin = c->segbase[in->seg] + sys_ea(c, in);
	if (c->code_bits != 64)
		lin = (uint32_t)lin;
	if (c->code_bits != 64 || canonical(c, lin))
		mmu_flush_page(c, lin);
	return sys_end(c);
}

static void invalidate(struct soft_cpu *c, uint64_t type, unsigned pcid, uint64_t lin)
{
	unsigned current = c->s.cr4 & CR4_PCIDE ? c->s.cr3 & 0xfff : 0;

	if (type == 3)
		mmu_forget_others(c);
	if (type < 2 && pcid != current)
		mmu_forget(c, pcid);
	else if (type == 0)
		mmu_flush_page(c, lin);
	else
		mmu_flush(c, type == 2, TLB_WHY_INVPCID);
}

static const struct insn *sys_invpcid(struct soft_cpu *c, const struct insn *in)
{
	uint64_t type, pcid, lin;

	need_cpl0(c);
	type = c->code_bits == 64 ? R64(c, in->reg) : R32(c, in->reg);
	pcid = mmu_ld_slow(c, sys_lin(c, in, 0, 8, false), 8);
	lin = mmu_ld_slow(c, sys_lin(c, in, 8, 8, false), 8);
	if (type > 3 || pcid >> 12)
		gp0(c);
	if (type < 2 && !(c->s.cr4 & CR4_PCIDE) && pcid)
		gp0(c);
	if (type == 0 && !canonical(c, lin))
		gp0(c);
	invalidate(c, type, (unsigned)pcid, lin);
	return sys_end(c);
}

static void need_osxsave(struct soft_cpu *c)
{
	if (!(c->s.cr4 & CR4_OSXSAVE))
		cpu_raise(c, X86_UD);
}

static const struct insn *sys_xgetbv(struct soft_cpu *c, const struct insn *in)
{
	uint32_t n = (uint32_t)c->r[RCX];

	need_osxsave(c);
	/* 1: components in use; saying "all" is allowed */
	if (n > 1 || (n == 1 && !cpu_has(c, X86F_XGETBV1)))
		gp0(c);
	c->r[RAX] = (uint32_t)c->s.xcr0;
	c->r[RDX] = c->s.xcr0 >> 32;
	return in + 1;
}

/* x87 always, AVX with SSE only, the three components of AVX-512 together and with AVX only. */
static bool xcr0_valid(uint64_t val)
{
	uint64_t avx512 = val & 0xe0;

	return (val & 1) && (val & 6) != 4 && (!avx512 || (avx512 == 0xe0 && (val & 6) == 6));
}

static const struct insn *sys_xsetbv(struct soft_cpu *c, const struct insn *in)
{
	uint64_t val = (uint32_t)c->r[RAX] | c->r[RDX] << 32;

	need_osxsave(c);
	need_cpl0(c);
	if ((uint32_t)c->r[RCX] || val & ~c->vm->model->xcr0 || !xcr0_valid(val))
		gp0(c);
	c->s.xcr0 = val;
	cpu_mode_changed(c);
	return sys_end(c);
}

static const struct insn *sys_cache(struct soft_cpu *c, const struct insn *in)
{
	need_cpl0(c);
	return in->flags & INSN_END ? sys_end(c) : in + 1;
}

insn_fn bind_sys_ctl(const struct insn *in, unsigned mn)
{
	unsigned kind = op_descs[in->op].operand[0].kind;

	switch (mn) {
	case MN_MOV_CR:
		return kind == OPK_CREG ? sys_mov_to_cr : sys_mov_from_cr;
	case MN_MOV_DR:
		return kind == OPK_DREG ? sys_mov_to_dr : sys_mov_from_dr;
	case MN_CLTS:
		return sys_clts;
	case MN_LMSW:
		return sys_lmsw;
	case MN_INVLPG:
		return sys_invlpg;
	case MN_INVPCID:
		return sys_invpcid;
	case MN_XGETBV:
		return sys_xgetbv;
	case MN_XSETBV:
		return sys_xsetbv;
	case MN_INVD:
	case MN_WBINVD:
	case MN_WBNOINVD:
		return sys_cache;
	default:
		return NULL;
	}
}

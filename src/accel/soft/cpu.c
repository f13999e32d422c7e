/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's state between its two forms - cpu_state for the world, the hot fields for the
 * interpreter - and what is derived from it: mode, privilege, TLB in use. Also RESET and INIT.
 * AMD APM vol. 2 chapter 14. vCPU thread, or at rest.
 */
#include "accel/soft/engine.h"
#include "accel/soft/fpu.h"
#include "accel/soft/jit/jit.h"
#include "accel/soft/mmu.h"
#include "isa/x86/reset.h"

/* mode_key: what decoding and binding depend on. */
#define KEY_CODE_SHIFT	0 /* 2 bits: 16, 32, 64 */
#define KEY_STACK_SHIFT 2
#define KEY_PROTECTED	BIT32(4) /* protected mode, not virtual-8086 */
#define KEY_SLOW	BIT32(5)
#define KEY_CPL_SHIFT	6
#define KEY_CPL		(3u << KEY_CPL_SHIFT)
#define KEY_CR0_SHIFT	8 /* MP, EM, TS */
#define KEY_OSFXSR	BIT32(11)
#define KEY_OSXSAVE	BIT32(12)
#define KEY_XCR0_SHIFT	13 /* x87, SSE, AVX */
#define KEY_LONG	BIT32(16)
#define KEY_SMAP	BIT32(17) /* what host code may keep of the software TLB */
#define KEY_AVX512	BIT32(18)
#define KEY_FLAT	BIT32(19) /* 32-bit code that host code can be made of; FS and GS by themselves */
#define KEY_FLAT_SEGS_SHIFT 20	  /* FS, GS */

static uint8_t bits_of_code(const struct soft_cpu *c)
{
	uint16_t attr = c->s.seg[SEG_CS].attr;

	if (c->long_mode && (attr & SEG_L))
		return 64;
	return attr & SEG_DB ? 32 : 16;
}

static uint8_t bits_of_stack(const struct soft_cpu *c)
{
	if (c->code_bits == 64)
		return 64;
	return c->s.seg[SEG_SS].attr & SEG_DB ? 32 : 16;
}

static uint8_t privilege(const struct soft_cpu *c)
{
	if (!(c->s.cr0 & CR0_PE))
		return 0;
	if (c->rflags & FLAG_VM)
		return 3;
	return (c->s.seg[SEG_SS].attr & SEG_DPL) >> SEG_DPL_SHIFT;
}

/*
 * Whether seg_linear() lets all accesses through but those that go beyond 4 GiB, which then are in two pages
 * if the base is 0: what is in one page needs no look. For FS and GS, whose base may be anything, it depends
 * on the processor whether those fault.
 */
static bool is_flat_data(const struct x86_seg *s)
{
	return s->limit == UINT32_MAX && (s->attr & (SEG_UNUSABLE | SEG_S | 0xe)) == (SEG_S | 2);
}

static void update_flat(struct soft_cpu *c)
{
	const struct x86_seg *cs = &c->s.seg[SEG_CS];
	const unsigned all = BIT32(SEG_ES) | BIT32(SEG_SS) | BIT32(SEG_DS);

	c->flat_segs = 0;
	c->flat = c->code_bits == 64;
	if (c->code_bits != 32 || c->stack_bits != 32 || !(c->s.cr0 & CR0_PE) || (c->rflags & FLAG_VM))
		return;
	for (unsigned i = 0; i < SEG_NR; i++)
		if (is_flat_data(&c->s.seg[i]) && (i >= SEG_FS || !c->s.seg[i].base))
			c->flat_segs |= (uint8_t)BIT32(i);
	c->flat = !cs->base && cs->limit == UINT32_MAX && (c->flat_segs & all) == all;
}

static uint32_t make_key(const struct soft_cpu *c)
{
	uint32_t key = (uint32_t)(c->code_bits >> 5) << KEY_CODE_SHIFT |
		       (uint32_t)(c->stack_bits >> 5) << KEY_STACK_SHIFT;

	if ((c->s.cr0 & CR0_PE) && !(c->rflags & FLAG_VM))
		key |= KEY_PROTECTED;
	if (c->slow)
		key |= KEY_SLOW;
	key |= (uint32_t)c->cpl << KEY_CPL_SHIFT;
	key |= (uint32_t)(c->s.cr0 >> 1 & 7) << KEY_CR0_SHIFT;
	if (c->s.cr4 & CR4_OSFXSR)
		key |= KEY_OSFXSR;
	if (c->s.cr4 & CR4_OSXSAVE)
		key |= KEY_OSXSAVE;
	key |= (uint32_t)(c->s.xcr0 & 7) << KEY_XCR0_SHIFT;
	if (c->long_mode)
		key |= KEY_LONG;
	if (c->s.cr4 & CR4_SMAP)
		key |= KEY_SMAP;
	if ((c->s.xcr0 & 0xe0) == 0xe0)
		key |= KEY_AVX512;
	if (c->flat && c->code_bits == 32)
		key |= KEY_FLAT | (uint32_t)(c->flat_segs >> SEG_FS) << KEY_FLAT_SEGS_SHIFT;
	return key;
}

static void set_key(struct soft_cpu *c, uint32_t key)
{
	c->mode_key = key;
	c->stamp = (c->stamp & ~(uint64_t)UINT32_MAX) | c->mode_key;
	c->stamp_global = (c->stamp_global & ~(uint64_t)UINT32_MAX) | c->mode_key;
}

static void update_key(struct soft_cpu *c)
{
	set_key(c, make_key(c));
}

void cpu_set_slow(struct soft_cpu *c, bool slow)
{
	if (c->slow != slow) {
		c->slow = slow;
		update_key(c);
	}
}

static void update_segments(struct soft_cpu *c)
{
	for (unsigned i = 0; i < SEG_NR; i++)
		c->segbase[i] = c->code_bits == 64 && i < SEG_FS ? 0 : c->s.seg[i].base;
	c->segbase[SEG_NONE] = 0;
}

static void update_tlb(struct soft_cpu *c)
{
	uint64_t rflags = c->rflags;
	bool checked = c->align_check;

	c->smap_lifted = c->cpl < 3 && (rflags & FLAG_AC);
	c->align_check = c->cpl == 3 && (rflags & FLAG_AC) && (c->s.cr0 & CR0_AM);
	c->tlb = &c->tlbs[tlb_array(c, mmu_priv(c))];
	if (c->align_check)
		c->tlb = &c->tlbs[TLB_NONE]; /* so that the slow path can check each access */
	if (c->align_check != checked)
		spots_drop(c);
}

/* Translations and jump cache entries made under other rules go. */
static void flush_if_stale(struct soft_cpu *c)
{
	uint64_t key = paging_key(c);
	/* R/W fields of DR7: data breakpoints that are on */
	bool watch = false;
	const struct x86_seg *cs = &c->s.seg[SEG_CS];
	bool cs_moved = c->code_bits != 64 &&
			(cs->base != c->cs_base_seen || cs->limit != c->cs_limit_seen);

	for (unsigned i = 0; i < 4; i++)
		watch |= (c->s.dr7 >> (2 * i) & 3) && (c->s.dr7 >> (16 + 4 * i) & 3);
	if (key != c->paging_key || watch || c->has_watch)
		mmu_flush(c, true, TLB_WHY_MODE);
	else if (cs_moved)
		mmu_new_generation(c); /* limits were checked for the old segment */
	c->paging_key = key;
	c->has_watch = watch;
	c->cs_base_seen = cs->base;
	c->cs_limit_seen = cs->limit;
}

void cpu_mode_changed(struct soft_cpu *c)
{
	c->long_mode = c->s.efer & EFER_LMA;
	c->code_bits = bits_of_code(c);
	c->stack_bits = bits_of_stack(c);
	c->cpl = privilege(c);
	if ((c->rflags & FLAG_TF) || (c->s.dr7 & 0xff))
		c->slow = true; /* the run loop takes it back */
	update_segments(c);
	update_flat(c);
	update_tlb(c);
	flush_if_stale(c);
	fpu_mode_changed(c);
	update_key(c);
}

/* From 64-bit code to 64-bit code decoding depends on CPL alone. */
void cpu_ring_changed(struct soft_cpu *c)
{
	if (c->code_bits != 64 || !(c->s.seg[SEG_CS].attr & SEG_L) || c->has_watch ||
	    (c->rflags & (FLAG_TF | FLAG_VM)) || (c->s.dr7 & 0xff)) {
		cpu_mode_changed(c);
		return;
	}
	c->cpl = (c->s.seg[SEG_SS].attr & SEG_DPL) >> SEG_DPL_SHIFT;
	c->segbase[SEG_FS] = c->s.seg[SEG_FS].base;
	c->segbase[SEG_GS] = c->s.seg[SEG_GS].base;
	update_tlb(c);
	set_key(c, (c->mode_key & ~KEY_CPL) | (uint32_t)c->cpl << KEY_CPL_SHIFT);
}

void cpu_set_rflags(struct soft_cpu *c, uint64_t rflags)
{
	uint64_t old = c->rflags;

	c->fl = flags_to_fl(rflags);
	c->rflags = (rflags & ~(uint64_t)FLAGS_STATUS) | FLAG_R1;
	if ((old ^ c->rflags) & (FLAG_TF | FLAG_AC | FLAG_VM))
		cpu_mode_changed(c);
}

void cpu_sync_out(struct soft_cpu *c)
{
	const struct vcpu_ops *ops = c->vcpu->ops;

	memcpy(c->s.gpr, c->r, sizeof(c->s.gpr));
	c->s.rip = c->rip;
	c->s.rflags = cpu_rflags(c);
	if (ops && ops->get_tpr)
		c->s.cr8 = ops->get_tpr(c->vcpu);
	fpu_sync_out(c);
}

void cpu_sync_in(struct soft_cpu *c)
{
	const struct vcpu_ops *ops = c->vcpu->ops;

	memcpy(c->r, c->s.gpr, sizeof(c->s.gpr));
	c->r[R_ZERO] = 0;
	c->rip = c->s.rip;
	c->fl = flags_to_fl(c->s.rflags);
	c->rflags = (c->s.rflags & ~(uint64_t)FLAGS_STATUS) | FLAG_R1;
	c->cur = NULL;
	c->poll = 1;
	atomic_store_explicit(&c->vcpu->tsc_offset, c->s.tsc_offset, memory_order_relaxed);
	if (ops && ops->set_tpr)
		ops->set_tpr(c->vcpu, c->s.cr8 & 15);
	fpu_sync_in(c);
	cpu_mode_changed(c);
	mmu_flush(c, true, TLB_WHY_STATE);
	c->walk_ram.first = 1;
	c->walk_ram.last = 0;
	if ((c->s.cr0 & CR0_PG) && (c->s.cr4 & CR4_PAE) && !c->long_mode)
		mmu_load_pdptes(c, c->s.cr3);
}

void cpu_reset(struct soft_cpu *c, bool init)
{
	uint32_t id[4];

	if (init)
		cpu_sync_out(c);
	cpu_cpuid(c, 1, 0, id);
	if (init)
		x86_init(&c->s, id[0]);
	else
		x86_power_on(&c->s, id[0], c->vcpu->index == 0);
	c->dr6_pending = 0;
	c->slow = false;
	cpu_sync_in(c);
}

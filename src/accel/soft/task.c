/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hardware task switches through 16-bit and 32-bit TSSs and task gates. Intel SDM vol. 3A
 * chapter 8. On the vCPU's thread. Faults before the commit point belong to the old task, those
 * behind it (#TS and friends on the new segments) to the new one.
 */
#include "accel/soft/sys.h"
#include "base/bytes.h"

/* Both layouts as one: where each field lies. */
struct tss_layout {
	uint8_t size;	/* of a register */
	uint8_t min_limit;
	uint8_t ip, flags, gpr, seg, nr_seg, ldt, cr3; /* cr3 0: none */
	uint8_t save_first, save_end; /* what a switch away from it stores */
};
static const struct tss_layout tss16 = { 2, 43, 14, 16, 18, 34, 4, 42, 0, 14, 42 };
static const struct tss_layout tss32 = { 4, 103, 32, 36, 40, 72, 6, 96, 28, 32, 96 };

struct tss_image {
	uint32_t ip, flags, gpr[8], cr3;
	uint16_t seg[6], ldt;
};

static const struct tss_layout *layout_of(unsigned type)
{
	return type & 8 ? &tss32 : &tss16;
}

static uint32_t tss_ld(struct soft_cpu *c, uint64_t base, unsigned off, unsigned size)
{
	return (uint32_t)mmu_ld_sys(c, (uint32_t)(base + off), size);
}

static void tss_st(struct soft_cpu *c, uint64_t base, unsigned off, uint32_t val, unsigned size)
{
	mmu_st_sys(c, (uint32_t)(base + off), val, size);
}

static void read_tss(struct soft_cpu *c, uint64_t base, const struct tss_layout *l,
		     struct tss_image *t)
{
	unsigned seg_step = l->size; /* selectors take a register's room in both layouts */

	memset(t, 0, sizeof(*t));
	t->ip = tss_ld(c, base, l->ip, l->size);
	t->flags = tss_ld(c, base, l->flags, l->size);
	for (unsigned i = 0; i < 8; i++)
		t->gpr[i] = tss_ld(c, base, l->gpr + i * l->size, l->size) |
			    (l->size == 2 ? 0xffff0000 : 0);
	for (unsigned i = 0; i < l->nr_seg; i++)
		t->seg[i] = (uint16_t)tss_ld(c, base, l->seg + i * seg_step, 2);
	t->ldt = (uint16_t)tss_ld(c, base, l->ldt, 2);
	if (l->cr3)
		t->cr3 = tss_ld(c, base, l->cr3, 4);
}

static void save_tss(struct soft_cpu *c, uint64_t base, const struct tss_layout *l, uint32_t ip,
		     uint32_t flags)
{
	tss_st(c, base, l->ip, ip, l->size);
	tss_st(c, base, l->flags, flags, l->size);
	for (unsigned i = 0; i < 8; i++)
		tss_st(c, base, l->gpr + i * l->size, (uint32_t)c->r[i], l->size);
	for (unsigned i = 0; i < l->nr_seg; i++)
		tss_st(c, base, l->seg + i * l->size, c->s.seg[i].sel, 2);
}

/* Sets or clears the busy bit of a TSS descriptor. */
static void set_busy(struct soft_cpu *c, uint64_t desc_lin, bool busy)
{
	unsigned b = (unsigned)mmu_ld_sys(c, desc_lin + 5, 1);

	mmu_st_sys(c, desc_lin + 5, busy ? b | 2u : b & ~2u, 1);
}

static _Noreturn void ts_fault(struct soft_cpu *c, unsigned sel, unsigned ext)
{
	cpu_raise_err(c, X86_TS, (sel & ~3u) | ext);
}

static void load_ldt(struct soft_cpu *c, uint16_t sel, unsigned ext)
{
	struct desc d;

	c->s.ldtr = (struct x86_seg){ .sel = sel, .attr = SEG_UNUSABLE };
	if (sel_null(sel))
		return;
	if (sel & 4 || !desc_read(c, sel, &d) || d.hi & DESC_S || desc_type(&d) != DT_LDT ||
	    !(d.hi & DESC_P))
		ts_fault(c, sel, ext);
	c->s.ldtr = seg_of_desc(sel, &d);
}

static void load_cs(struct soft_cpu *c, uint16_t sel, unsigned ext)
{
	unsigned rpl = sel & 3;
	struct desc d;

	if (sel_null(sel) || !desc_read(c, sel, &d) || !desc_is_code(&d))
		ts_fault(c, sel, ext);
	if (d.hi & DESC_CE ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl)
		ts_fault(c, sel, ext);
	if (!(d.hi & DESC_P))
		cpu_raise_err(c, X86_NP, (sel & ~3u) | ext);
	desc_set_accessed(c, &d);
	c->s.seg[SEG_CS] = seg_of_desc(sel, &d);
}

static void load_data(struct soft_cpu *c, unsigned seg, uint16_t sel, unsigned cpl, unsigned ext)
{
	struct desc d;

	if (sel_null(sel))
		return;
	if (!desc_read(c, sel, &d) || !(d.hi & DESC_S) ||
	    (d.hi & (DESC_CODE | DESC_RW)) == DESC_CODE)
		ts_fault(c, sel, ext);
	if ((d.hi & (DESC_CODE | DESC_CE)) != (DESC_CODE | DESC_CE) &&
	    ((sel & 3) > desc_dpl(&d) || cpl > desc_dpl(&d)))
		ts_fault(c, sel, ext);
	if (!(d.hi & DESC_P))
		cpu_raise_err(c, X86_NP, (sel & ~3u) | ext);
	desc_set_accessed(c, &d);
	c->s.seg[seg] = seg_of_desc(sel, &d);
}

/*
 * Fills the segment registers of the new task. All start as null, so a fault half-way leaves the
 * rest unusable; the handler sees the new task's state with the selectors as loaded.
 */
static void load_segments(struct soft_cpu *c, const struct tss_image *t, unsigned ext)
{
	unsigned cpl = t->seg[SEG_CS] & 3;

	if (t->flags & FLAG_VM) {
		for (unsigned i = 0; i < 6; i++)
			c->s.seg[i] = seg_real(c, i, t->seg[i]);
		load_ldt(c, t->ldt, ext);
		return;
	}
	for (unsigned i = 0; i < 6; i++)
		c->s.seg[i] = (struct x86_seg){ .sel = t->seg[i], .attr = SEG_UNUSABLE };
	c->s.seg[SEG_SS].attr = (uint16_t)(SEG_UNUSABLE | cpl << SEG_DPL_SHIFT);
	load_ldt(c, t->ldt, ext);
	load_cs(c, t->seg[SEG_CS], ext);
	cpu_mode_changed(c);
	c->s.seg[SEG_SS] = seg_check_ss(c, t->seg[SEG_SS], cpl, false, X86_TS, ext);
	load_data(c, SEG_ES, t->seg[SEG_ES], cpl, ext);
	load_data(c, SEG_DS, t->seg[SEG_DS], cpl, ext);
	load_data(c, SEG_FS, t->seg[SEG_FS], cpl, ext);
	load_data(c, SEG_GS, t->seg[SEG_GS], cpl, ext);
}

/* Checks that all that will be written can be, so that the commit below does not fault. */
static void probe(struct soft_cpu *c, const struct tss_layout *old, uint64_t old_base,
		  const struct tss_layout *now, uint64_t base, enum task_how how)
{
	/* one access in the first and one in the last byte cover both pages it may span */
	uint64_t first = (uint32_t)(old_base + old->save_first);
	uint64_t last = (uint32_t)(old_base + old->save_end - 1);

	mmu_st_sys(c, first, mmu_ld_sys(c, first, 1), 1);
	mmu_st_sys(c, last, mmu_ld_sys(c, last, 1), 1);
	mmu_ld_sys(c, (uint32_t)(base + now->min_limit), 1);
	if (how == TASK_CALL || how == TASK_EVENT)
		mmu_st_sys(c, (uint32_t)base, mmu_ld_sys(c, (uint32_t)base, 2), 2);
}

static void push_error(struct soft_cpu *c, const struct task_switch *ts, bool big)
{
	struct stack st = { .ss = &c->s.seg[SEG_SS], .sp = c->r[RSP], .bits = c->stack_bits };

	st.error = (uint16_t)ts->ext;
	stack_push(c, &st, ts->error, big ? 4 : 2);
	c->r[RSP] = stack_merge(c->r[RSP], st.sp, st.bits);
}

/* Registers of the new task; from here on faults are the new task's. */
static void enter_task(struct soft_cpu *c, const struct task_switch *ts, struct tss_image *t,
		       const struct x86_seg *tr, bool big)
{
	c->s.tr = *tr;
	c->s.tr.attr |= 2;
	if (ts->how == TASK_CALL || ts->how == TASK_EVENT)
		t->flags |= FLAG_NT;
	if (big && c->s.cr0 & CR0_PG && t->cr3 != c->s.cr3)
		cr3_write(c, t->cr3);
	for (unsigned i = 0; i < 8; i++)
		c->r[i] = t->gpr[i];
	c->rip = t->ip;
	c->cur = NULL; /* a fault from here on has this rip */
	c->s.cr0 |= CR0_TS;
	c->s.dr7 &= ~0x155ull; /* local breakpoints are the task's */
	cpu_set_rflags(c, (t->flags & 0x3f7fd5) | FLAG_R1);
}

void task_switch(struct soft_cpu *c, const struct task_switch *ts, struct desc *d)
{
	const struct tss_layout *old = layout_of(c->s.tr.attr & SEG_TYPE);
	const struct tss_layout *now = layout_of(desc_type(d));
	struct x86_seg tr = seg_of_desc(ts->sel, d);
	uint64_t old_base = c->s.tr.base;
	uint32_t flags = (uint32_t)cpu_rflags(c) | ts->rf;
	bool trap = false, nested = ts->how == TASK_CALL || ts->how == TASK_EVENT;
	struct tss_image t;
	struct desc old_desc;

	if (!(d->hi & DESC_P))
		cpu_raise_err(c, X86_NP, (ts->sel & ~3u) | ts->ext);
	if (tr.limit < now->min_limit)
		ts_fault(c, ts->sel, ts->ext);
	probe(c, old, old_base, now, tr.base, ts->how);
	read_tss(c, tr.base, now, &t);
	if (now->size == 4)
		trap = tss_ld(c, tr.base, 100, 2) & 1;
	if (ts->how == TASK_IRET)
		flags &= ~FLAG_NT;
	save_tss(c, old_base, old, (uint32_t)ts->rip, flags);
	if (!nested && desc_read(c, c->s.tr.sel, &old_desc))
		set_busy(c, old_desc.lin, false);
	if (nested)
		tss_st(c, tr.base, 0, c->s.tr.sel, 2);
	if (ts->how != TASK_IRET)
		set_busy(c, d->lin, true);
	enter_task(c, ts, &t, &tr, now->size == 4);
	load_segments(c, &t, ts->ext);
	cpu_mode_changed(c);
	if (t.ip > c->s.seg[SEG_CS].limit)
		cpu_raise_err(c, X86_GP, ts->ext);
	if (ts->has_error)
		push_error(c, ts, now->size == 4);
	if (trap)
		debug_raise(c, DR6_BT);
}

void task_gate(struct soft_cpu *c, struct task_switch *ts, const struct desc *gate)
{
	struct desc d;

	ts->sel = (uint16_t)(gate->lo >> 16);
	if (ts->sel & 4)
		cpu_raise_err(c, X86_GP, (ts->sel & ~3u) | ts->ext);
	desc_fetch(c, ts->sel, &d, X86_GP, ts->ext);
	if (d.hi & DESC_S || (desc_type(&d) != DT_TSS16 && desc_type(&d) != DT_TSS32))
		cpu_raise_err(c, X86_GP, (ts->sel & ~3u) | ts->ext);
	if (!(d.hi & DESC_P))
		cpu_raise_err(c, X86_NP, (ts->sel & ~3u) | ts->ext);
	task_switch(c, ts, &d);
}

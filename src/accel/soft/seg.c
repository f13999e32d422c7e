/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segmentation: descriptors, segment register loads with their checks, the check of an access,
 * and stacks that are found in a TSS. Intel SDM vol. 3A chapters 3, 5, 8; AMD APM vol. 2
 * chapter 4. On the vCPU's thread; state is in struct soft_cpu.
 */
#include "accel/soft/mmu.h"
#include "accel/soft/sys.h"

#define SEG_WRITABLE 0x2
#define SEG_DOWN     0x4
#define SEG_CODE     0x8

static uint32_t desc_limit(const struct desc *d)
{
	uint32_t limit = (d->lo & 0xffff) | (d->hi & 0xf0000);

	return d->hi & DESC_G ? limit << 12 | 0xfff : limit;
}

bool desc_read(struct soft_cpu *c, uint16_t sel, struct desc *d)
{
	uint64_t q, base = c->s.gdtr.base;
	uint32_t limit = c->s.gdtr.limit;

	if (sel & 4) {
		if (c->s.ldtr.attr & SEG_UNUSABLE)
			return false;
		base = c->s.ldtr.base;
		limit = c->s.ldtr.limit;
	}
	if ((sel | 7u) > limit)
		return false;
	d->lin = base + (sel & ~7u);
	if (!c->long_mode)
		d->lin = (uint32_t)d->lin;
	q = mmu_ld_sys(c, d->lin, 8);
	d->lo = (uint32_t)q;
	d->hi = (uint32_t)(q >> 32);
	return true;
}

void desc_fetch(struct soft_cpu *c, uint16_t sel, struct desc *d, unsigned vector, unsigned ext)
{
	if (!desc_read(c, sel, d))
		cpu_raise_err(c, vector, (sel & ~3u) | ext);
}

uint32_t desc_base_hi(struct soft_cpu *c, uint16_t sel, const struct desc *d)
{
	uint64_t q;

	if (!c->long_mode)
		return 0;
	if ((sel | 7u) + 8u > (sel & 4 ? c->s.ldtr.limit : c->s.gdtr.limit))
		cpu_raise_err(c, X86_GP, sel & ~3u);
	q = mmu_ld_sys(c, d->lin + 8, 8);
	if (q >> 40 & 0x1f) /* the type of the upper half must be 0 */
		cpu_raise_err(c, X86_GP, sel & ~3u);
	return (uint32_t)q;
}

void desc_set_accessed(struct soft_cpu *c, struct desc *d)
{
	if (d->hi & DESC_A)
		return;
	d->hi |= DESC_A;
	mmu_st_sys(c, d->lin + 5, d->hi >> 8 & 0xff, 1);
}

struct x86_seg seg_of_desc(uint16_t sel, const struct desc *d)
{
	struct x86_seg seg = {
		.base = d->lo >> 16 | (d->hi & 0xff) << 16 | (d->hi & 0xff000000),
		.limit = desc_limit(d),
		.sel = sel,
		.attr = (uint16_t)((d->hi >> 8 & 0xff) | (d->hi >> 12 & 0xf00)),
	};

	return seg;
}

/* In real mode a load changes selector and base only: that is how "unreal" limits survive. */
struct x86_seg seg_real(const struct soft_cpu *c, unsigned seg, uint16_t sel)
{
	struct x86_seg now = c->s.seg[seg];

	now.sel = sel;
	now.base = (uint32_t)sel << 4;
	if (in_v86(c)) {
		now.limit = 0xffff;
		now.attr = 0xf3;
	} else {
		if (now.attr & SEG_UNUSABLE)
			now.limit = 0xffff;
		now.attr = (now.attr & (SEG_G | SEG_DB)) | (seg == SEG_CS ? 0x9b : 0x93);
	}
	return now;
}

struct x86_seg seg_null_ss(uint16_t sel, unsigned cpl)
{
	return (struct x86_seg){ .sel = sel,
				 .attr = (uint16_t)(SEG_UNUSABLE | cpl << SEG_DPL_SHIFT) };
}

struct x86_seg seg_check_ss(struct soft_cpu *c, uint16_t sel, unsigned cpl, bool null_ok,
			    unsigned vector, unsigned ext)
{
	struct desc d;

	if (sel_null(sel)) {
		if (!null_ok || cpl == 3 || (sel & 3) != cpl)
			cpu_raise_err(c, vector, ext);
		return seg_null_ss(sel, cpl);
	}
	desc_fetch(c, sel, &d, vector, ext);
	if ((sel & 3) != cpl || !desc_is_writable_data(&d) || desc_dpl(&d) != cpl)
		cpu_raise_err(c, vector, (sel & ~3u) | ext);
	if (!(d.hi & DESC_P))
		cpu_raise_err(c, X86_SS, (sel & ~3u) | ext);
	desc_set_accessed(c, &d);
	return seg_of_desc(sel, &d);
}

/* DS, ES, FS, GS in protected mode. */
static struct x86_seg check_data(struct soft_cpu *c, uint16_t sel)
{
	unsigned dpl, rpl = sel & 3;
	struct desc d;

	if (sel_null(sel))
		return (struct x86_seg){ .sel = sel, .attr = SEG_UNUSABLE };
	desc_fetch(c, sel, &d, X86_GP, 0);
	if (!(d.hi & DESC_S) || (d.hi & (DESC_CODE | DESC_RW)) == DESC_CODE)
		cpu_raise_err(c, X86_GP, sel & ~3u);
	dpl = desc_dpl(&d);
	if ((d.hi & (DESC_CODE | DESC_CE)) != (DESC_CODE | DESC_CE) && (rpl > dpl || c->cpl > dpl))
		cpu_raise_err(c, X86_GP, sel & ~3u);
	if (!(d.hi & DESC_P))
		cpu_raise_err(c, X86_NP, sel & ~3u);
	desc_set_accessed(c, &d);
	return seg_of_desc(sel, &d);
}

void seg_load(struct soft_cpu *c, unsigned seg, uint16_t sel)
{
	struct x86_seg now;

	if (real_segs(c))
		now = seg_real(c, seg, sel);
	else if (seg == SEG_SS)
		now = seg_check_ss(c, sel, c->cpl, c->code_bits == 64, X86_GP, 0);
	else
		now = check_data(c, sel);
	/* 32-bit kernels load what is there on each way in. */
	if (!memcmp(&now, &c->s.seg[seg], sizeof(now)))
		return;
	c->s.seg[seg] = now;
	cpu_mode_changed(c);
}

void seg_drop_privileged(struct soft_cpu *c, unsigned cpl)
{
	static const uint8_t regs[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

	for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
		struct x86_seg *s = &c->s.seg[regs[i]];
		unsigned dpl = (s->attr & SEG_DPL) >> SEG_DPL_SHIFT;

		if (s->attr & SEG_UNUSABLE || dpl >= cpl)
			continue;
		if ((s->attr & (SEG_CODE | SEG_DOWN)) == (SEG_CODE | SEG_DOWN))
			continue; /* conforming */
		*s = (struct x86_seg){ .attr = SEG_UNUSABLE };
	}
}

void seg_set_base(struct soft_cpu *c, unsigned seg, uint64_t base)
{
	c->s.seg[seg].base = base;
	c->segbase[seg] = base;
}

void seg_load_ldt(struct soft_cpu *c, uint16_t sel)
{
	struct x86_seg seg;
	struct desc d;
	uint32_t hi;

	if (sel_null(sel)) {
		c->s.ldtr = (struct x86_seg){ .sel = sel, .attr = SEG_UNUSABLE };
		return;
	}
	if (sel & 4)
		cpu_raise_err(c, X86_GP, sel & ~3u);
	desc_fetch(c, sel, &d, X86_GP, 0);
	if (d.hi & DESC_S || desc_type(&d) != DT_LDT)
		cpu_raise_err(c, X86_GP, sel & ~3u);
	if (!(d.hi & DESC_P))
		cpu_raise_err(c, X86_NP, sel & ~3u);
	hi = desc_base_hi(c, sel, &d);
	seg = seg_of_desc(sel, &d);
	seg.base |= (uint64_t)hi << 32;
	if (c->long_mode && !canonical(c, seg.base))
		cpu_raise_err(c, X86_GP, sel & ~3u);
	c->s.ldtr = seg;
}

void seg_load_tr(struct soft_cpu *c, uint16_t sel)
{
	struct x86_seg seg;
	struct desc d;
	uint32_t hi;

	if (sel_null(sel))
		cpu_raise_err(c, X86_GP, 0);
	if (sel & 4)
		cpu_raise_err(c, X86_GP, sel & ~3u);
	desc_fetch(c, sel, &d, X86_GP, 0);
	if (d.hi & DESC_S || (desc_type(&d) != DT_TSS32 &&
			      (c->long_mode || desc_type(&d) != DT_TSS16)))
		cpu_raise_err(c, X86_GP, sel & ~3u);
	if (!(d.hi & DESC_P))
		cpu_raise_err(c, X86_NP, sel & ~3u);
	hi = desc_base_hi(c, sel, &d);
	d.hi |= DESC_BUSY;
	seg = seg_of_desc(sel, &d);
	seg.base |= (uint64_t)hi << 32;
	if (c->long_mode && !canonical(c, seg.base))
		cpu_raise_err(c, X86_GP, sel & ~3u);
	mmu_st_sys(c, d.lin + 5, d.hi >> 8 & 0xff, 1);
	c->s.tr = seg;
}

/* Whether [off, off + size) lies inside the segment. */
static bool in_limit(const struct x86_seg *s, uint64_t off, unsigned size)
{
	uint64_t last = off + size - 1;

	if ((s->attr & (SEG_S | SEG_CODE | SEG_DOWN)) == (SEG_S | SEG_DOWN))
		return off > s->limit && last <= (s->attr & SEG_DB ? 0xffffffffu : 0xffffu);
	return last <= s->limit;
}

static _Noreturn void access_fault(struct soft_cpu *c, unsigned seg)
{
	bool stack = seg == SEG_SS || (seg == SEG_NONE && mmu_insn_uses_stack(c));

	cpu_raise_err(c, stack ? X86_SS : X86_GP, 0);
}

uint64_t seg_linear(struct soft_cpu *c, unsigned seg, uint64_t ea, unsigned size, bool write)
{
	uint64_t lin = c->segbase[seg] + ea;
	const struct x86_seg *s;

	if (c->code_bits == 64) {
		if (unlikely(!canonical(c, lin) || !canonical(c, lin + size - 1)))
			access_fault(c, seg);
		return lin;
	}
	lin = (uint32_t)lin;
	if (seg == SEG_NONE)
		return lin;
	s = &c->s.seg[seg];
	if (in_protected(c)) {
		if (unlikely(s->attr & SEG_UNUSABLE))
			access_fault(c, seg);
		if (write && (s->attr & (SEG_CODE | SEG_WRITABLE)) != SEG_WRITABLE)
			access_fault(c, seg);
		if (!write && (s->attr & (SEG_CODE | SEG_WRITABLE)) == SEG_CODE)
			access_fault(c, seg);
	}
	if (unlikely(!in_limit(s, ea, size)))
		access_fault(c, seg);
	return lin;
}

void stack_push(struct soft_cpu *c, struct stack *st, uint64_t val, unsigned size)
{
	uint64_t sp = st->sp - size, lin;

	if (st->bits == 64) {
		lin = sp;
		if (!canonical(c, lin))
			cpu_raise_err(c, X86_SS, st->error);
	} else {
		sp = st->bits == 32 ? (uint32_t)sp : (uint16_t)sp;
		if (!in_limit(st->ss, sp, size))
			cpu_raise_err(c, X86_SS, st->error);
		lin = (uint32_t)(st->ss->base + sp);
	}
	if (st->super)
		mmu_st_sys(c, lin, val, size);
	else
		mmu_st_slow(c, lin, val, size);
	st->sp = sp;
}

uint64_t stack_peek(struct soft_cpu *c, unsigned off, unsigned size)
{
	uint64_t sp = c->r[RSP] + off;

	if (c->stack_bits != 64)
		sp = c->stack_bits == 32 ? (uint32_t)sp : (uint16_t)sp;
	return mmu_ld_slow(c, seg_linear(c, SEG_SS, sp, size, false), size);
}

uint64_t stack_merge(uint64_t old, uint64_t sp, unsigned bits)
{
	switch (bits) {
	case 16:
		return (old & ~0xffffull) | (sp & 0xffff);
	case 32:
		return (uint32_t)sp;
	default:
		return sp;
	}
}

struct x86_seg tss_stack(struct soft_cpu *c, unsigned cpl, uint64_t *sp, unsigned ext)
{
	const struct x86_seg *tr = &c->s.tr;
	bool big = (tr->attr & SEG_TYPE) & 8;
	unsigned off = big ? 4 + 8 * cpl : 2 + 4 * cpl, size = big ? 4 : 2;
	uint64_t base = (uint32_t)tr->base;
	uint16_t sel;

	if (off + size + 1 > tr->limit)
		cpu_raise_err(c, X86_TS, (tr->sel & ~3u) | ext);
	*sp = mmu_ld_sys(c, (uint32_t)(base + off), size);
	sel = (uint16_t)mmu_ld_sys(c, (uint32_t)(base + off + size), 2);
	return seg_check_ss(c, sel, cpl, false, X86_TS, ext);
}

uint64_t tss_stack64(struct soft_cpu *c, unsigned n, unsigned ext)
{
	unsigned off = n <= 2 ? 4 + 8 * n : 36 + 8 * (n - 4);
	uint64_t rsp;

	if (off + 7 > c->s.tr.limit)
		cpu_raise_err(c, X86_TS, (c->s.tr.sel & ~3u) | ext);
	rsp = mmu_ld_sys(c, c->s.tr.base + off, 8);
	if (!canonical(c, rsp))
		cpu_raise_err(c, X86_SS, ext);
	return rsp;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control transfers between segments: far JMP, CALL and RET, call gates of 16, 32 and 64 bits,
 * IRET in every mode, INT and its short forms. Intel SDM vol. 2 and vol. 3A chapter 5; AMD APM
 * vol. 2 chapter 4. On the vCPU's thread.
 */
#include "accel/soft/sys.h"

/* Where a transfer goes, after all checks. */
struct target {
	struct x86_seg cs;
	struct desc d;
	uint64_t rip;
};

static _Noreturn void gp(struct soft_cpu *c, unsigned sel)
{
	cpu_raise_err(c, X86_GP, sel & ~3u);
}

static uint64_t trim(uint64_t v, unsigned size)
{
	return size == 2 ? (uint16_t)v : size == 4 ? (uint32_t)v : v;
}

/* RIP must lie in the new code segment, or be canonical in 64-bit code. */
static void check_rip(struct soft_cpu *c, const struct x86_seg *cs, uint64_t rip)
{
	if (c->long_mode && cs->attr & SEG_L ? !canonical(c, rip) : rip > cs->limit)
		cpu_raise_err(c, X86_GP, 0);
}

/* L together with D is reserved in long mode. */
static void check_long_bits(struct soft_cpu *c, uint16_t sel, const struct desc *d)
{
	if (c->long_mode && (d->hi & (DESC_L | DESC_DB)) == (DESC_L | DESC_DB))
		gp(c, sel);
}

static void commit_target(struct soft_cpu *c, struct target *t)
{
	c->s.seg[SEG_CS] = t->cs;
	c->rip = t->rip;
}

static const struct insn *done(struct soft_cpu *c)
{
	cpu_mode_changed(c);
	return NULL;
}

static const struct insn *far_real(struct soft_cpu *c, uint16_t sel, uint64_t off)
{
	if (off > (in_v86(c) ? 0xffff : c->s.seg[SEG_CS].limit))
		cpu_raise_err(c, X86_GP, 0);
	c->s.seg[SEG_CS] = seg_real(c, SEG_CS, sel);
	c->rip = off;
	return done(c);
}

/* Direct transfer to a code segment of the same privilege (JMP, CALL). */
static void check_code_direct(struct soft_cpu *c, uint16_t sel, uint64_t off, struct target *t)
{
	unsigned dpl = desc_dpl(&t->d);

	if (t->d.hi & DESC_CE ? dpl > c->cpl : (sel & 3u) > c->cpl || dpl != c->cpl)
		gp(c, sel);
	check_long_bits(c, sel, &t->d);
	if (!(t->d.hi & DESC_P))
		cpu_raise_err(c, X86_NP, sel & ~3u);
	t->cs = seg_of_desc((uint16_t)((sel & ~3u) | c->cpl), &t->d);
	t->rip = off;
	check_rip(c, &t->cs, off);
}

struct gate {
	uint16_t sel;
	uint64_t off;
	unsigned size; /* 2, 4, 8 */
	unsigned params;
};

/* Reads a call gate, already known to be one by type. */
static void read_call_gate(struct soft_cpu *c, uint16_t sel, const struct desc *d, struct gate *g)
{
	unsigned dpl = desc_dpl(d);

	if (dpl < c->cpl || (sel & 3u) > dpl)
		gp(c, sel);
	if (!(d->hi & DESC_P))
		cpu_raise_err(c, X86_NP, sel & ~3u);
	g->sel = (uint16_t)(d->lo >> 16);
	g->off = d->lo & 0xffff;
	g->size = desc_type(d) == DT_CALL16 ? 2 : 4;
	if (g->size == 4)
		g->off |= d->hi & 0xffff0000;
	g->params = d->hi & 31;
	if (c->long_mode) {
		g->size = 8;
		g->off |= (uint64_t)desc_base_hi(c, sel, d) << 32;
		g->params = 0;
	}
}

/* The code segment that a gate names. */
static void gate_target(struct soft_cpu *c, const struct gate *g, bool call, struct target *t,
			unsigned *cpl)
{
	unsigned dpl;

	if (sel_null(g->sel))
		cpu_raise_err(c, X86_GP, 0);
	desc_fetch(c, g->sel, &t->d, X86_GP, 0);
	dpl = desc_dpl(&t->d);
	if (!desc_is_code(&t->d) || dpl > c->cpl)
		gp(c, g->sel);
	if (!call && !(t->d.hi & DESC_CE) && dpl != c->cpl)
		gp(c, g->sel);
	if (c->long_mode && (t->d.hi & (DESC_L | DESC_DB)) != DESC_L)
		gp(c, g->sel);
	if (!(t->d.hi & DESC_P))
		cpu_raise_err(c, X86_NP, g->sel & ~3u);
	*cpl = t->d.hi & DESC_CE ? c->cpl : dpl;
	t->cs = seg_of_desc((uint16_t)((g->sel & ~3u) | *cpl), &t->d);
	t->rip = g->off;
}

static bool is_tss(const struct desc *d)
{
	return desc_type(d) == DT_TSS16 || desc_type(d) == DT_TSS32;
}

/* JMP or CALL to a TSS or task gate. */
static const struct insn *far_task(struct soft_cpu *c, uint16_t sel, struct desc *d,
				   enum task_how how)
{
	struct task_switch ts = { .how = how, .sel = sel, .rip = cpu_next_rip(c) };

	if (desc_dpl(d) < c->cpl || (sel & 3u) > desc_dpl(d))
		gp(c, sel);
	if (desc_type(d) == DT_TASK) {
		if (!(d->hi & DESC_P))
			cpu_raise_err(c, X86_NP, sel & ~3u);
		task_gate(c, &ts, d);
	} else {
		if (sel & 4)
			gp(c, sel);
		task_switch(c, &ts, d);
	}
	return NULL;
}

static bool is_call_gate(const struct soft_cpu *c, const struct desc *d)
{
	return !(d->hi & DESC_S) &&
	       (desc_type(d) == DT_CALL32 || (!c->long_mode && desc_type(d) == DT_CALL16));
}

static bool is_task_thing(const struct soft_cpu *c, const struct desc *d)
{
	return !(d->hi & DESC_S) && !c->long_mode && (is_tss(d) || desc_type(d) == DT_TASK);
}

static const struct insn *far_jmp(struct soft_cpu *c, uint16_t sel, uint64_t off)
{
	struct target t;
	struct gate g;
	unsigned cpl;

	if (real_segs(c))
		return far_real(c, sel, off);
	if (sel_null(sel))
		cpu_raise_err(c, X86_GP, 0);
	desc_fetch(c, sel, &t.d, X86_GP, 0);
	if (desc_is_code(&t.d)) {
		check_code_direct(c, sel, off, &t);
	} else if (is_call_gate(c, &t.d)) {
		struct desc gate = t.d;

		read_call_gate(c, sel, &gate, &g);
		gate_target(c, &g, false, &t, &cpl);
		check_rip(c, &t.cs, t.rip);
	} else if (is_task_thing(c, &t.d)) {
		return far_task(c, sel, &t.d, TASK_JMP);
	} else {
		gp(c, sel);
	}
	desc_set_accessed(c, &t.d);
	commit_target(c, &t);
	return done(c);
}

static struct stack current_stack(struct soft_cpu *c)
{
	return (struct stack){ .ss = &c->s.seg[SEG_SS], .sp = c->r[RSP], .bits = c->stack_bits };
}

static const struct insn *far_call_real(struct soft_cpu *c, uint16_t sel, uint64_t off,
					unsigned size)
{
	struct stack st = current_stack(c);

	if (off > (in_v86(c) ? 0xffff : c->s.seg[SEG_CS].limit))
		cpu_raise_err(c, X86_GP, 0);
	stack_push(c, &st, c->s.seg[SEG_CS].sel, size);
	stack_push(c, &st, cpu_next_rip(c), size);
	c->r[RSP] = stack_merge(c->r[RSP], st.sp, st.bits);
	return far_real(c, sel, off);
}

/* CALL through a gate to more privileged code: new stack, parameters copied. */
static void call_inner(struct soft_cpu *c, const struct gate *g, unsigned cpl, struct target *t)
{
	struct stack st = { .super = true };
	uint64_t param[32];
	struct x86_seg ss;

	if (c->long_mode) {
		ss = seg_null_ss((uint16_t)cpl, cpl);
		st.sp = tss_stack64(c, cpl, 0);
		st.bits = 64;
	} else {
		ss = tss_stack(c, cpl, &st.sp, 0);
		st.bits = ss.attr & SEG_DB ? 32 : 16;
		st.error = ss.sel & ~3u;
	}
	st.ss = &ss;
	for (unsigned i = 0; i < g->params; i++)
		param[i] = stack_peek(c, i * g->size, g->size);
	stack_push(c, &st, c->s.seg[SEG_SS].sel, g->size);
	stack_push(c, &st, c->r[RSP], g->size);
	for (unsigned i = g->params; i > 0; i--)
		stack_push(c, &st, param[i - 1], g->size);
	stack_push(c, &st, c->s.seg[SEG_CS].sel, g->size);
	stack_push(c, &st, cpu_next_rip(c), g->size);
	check_rip(c, &t->cs, t->rip);
	desc_set_accessed(c, &t->d);
	c->s.seg[SEG_SS] = ss;
	c->r[RSP] = stack_merge(c->r[RSP], st.sp, st.bits);
}

static void call_same(struct soft_cpu *c, unsigned size, struct target *t)
{
	struct stack st = current_stack(c);

	/* a gate of compatibility mode leads to 64-bit code, whose stack is 64 bits wide */
	if (c->long_mode && t->cs.attr & SEG_L && size == 8)
		st.bits = 64;
	stack_push(c, &st, c->s.seg[SEG_CS].sel, size);
	stack_push(c, &st, cpu_next_rip(c), size);
	check_rip(c, &t->cs, t->rip);
	desc_set_accessed(c, &t->d);
	c->r[RSP] = stack_merge(c->r[RSP], st.sp, st.bits);
}

static const struct insn *far_call(struct soft_cpu *c, uint16_t sel, uint64_t off, unsigned size)
{
	struct target t;
	struct gate g;
	unsigned cpl;

	if (real_segs(c))
		return far_call_real(c, sel, off, size);
	if (sel_null(sel))
		cpu_raise_err(c, X86_GP, 0);
	desc_fetch(c, sel, &t.d, X86_GP, 0);
	if (desc_is_code(&t.d)) {
		check_code_direct(c, sel, off, &t);
		call_same(c, size, &t);
	} else if (is_call_gate(c, &t.d)) {
		struct desc gate = t.d;

		read_call_gate(c, sel, &gate, &g);
		gate_target(c, &g, true, &t, &cpl);
		if (cpl < c->cpl)
			call_inner(c, &g, cpl, &t);
		else
			call_same(c, g.size, &t);
	} else if (is_task_thing(c, &t.d)) {
		return far_task(c, sel, &t.d, TASK_CALL);
	} else {
		gp(c, sel);
	}
	commit_target(c, &t);
	return done(c);
}

static void far_operand(struct soft_cpu *c, const struct insn *in, uint16_t *sel, uint64_t *off)
{
	if (in->flags & INSN_MEM) {
		*off = mmu_ld_slow(c, sys_lin(c, in, 0, in->opsize, false), in->opsize);
		*sel = (uint16_t)mmu_ld_slow(c, sys_lin(c, in, in->opsize, 2, false), 2);
	} else {
		*off = trim(in->imm & 0xffffffff, in->opsize);
		*sel = (uint16_t)(in->imm >> 48);
	}
}

static const struct insn *sys_jmp_far(struct soft_cpu *c, const struct insn *in)
{
	uint64_t off;
	uint16_t sel;

	far_operand(c, in, &sel, &off);
	return far_jmp(c, sel, off);
}

static const struct insn *sys_call_far(struct soft_cpu *c, const struct insn *in)
{
	uint64_t off;
	uint16_t sel;

	far_operand(c, in, &sel, &off);
	return far_call(c, sel, off, in->opsize);
}

/* The code segment that RET or IRET goes back to; its RPL is the new CPL. */
static void return_target(struct soft_cpu *c, uint16_t sel, uint64_t rip, struct target *t)
{
	unsigned rpl = sel & 3, dpl;

	if (sel_null(sel))
		cpu_raise_err(c, X86_GP, 0);
	desc_fetch(c, sel, &t->d, X86_GP, 0);
	dpl = desc_dpl(&t->d);
	if (!desc_is_code(&t->d) || rpl < c->cpl ||
	    (t->d.hi & DESC_CE ? dpl > rpl : dpl != rpl))
		gp(c, sel);
	check_long_bits(c, sel, &t->d);
	if (!(t->d.hi & DESC_P))
		cpu_raise_err(c, X86_NP, sel & ~3u);
	t->cs = seg_of_desc(sel, &t->d);
	t->rip = rip;
}

static unsigned ss_bits(const struct soft_cpu *c, const struct x86_seg *cs,
			const struct x86_seg *ss)
{
	if (c->long_mode && cs->attr & SEG_L)
		return 64;
	return ss->attr & SEG_DB ? 32 : 16;
}

static const struct insn *ret_far(struct soft_cpu *c, unsigned size, unsigned extra)
{
	uint64_t rip = stack_peek(c, 0, size), sp;
	uint16_t sel = (uint16_t)stack_peek(c, size, size), ss_sel;
	unsigned cpl = sel & 3;
	struct x86_seg ss;
	struct target t;

	if (real_segs(c)) {
		if (rip > (in_v86(c) ? 0xffff : c->s.seg[SEG_CS].limit))
			cpu_raise_err(c, X86_GP, 0);
		sp = c->r[RSP] + 2 * size + extra;
		c->r[RSP] = stack_merge(c->r[RSP], sp, c->stack_bits);
		return far_real(c, sel, rip);
	}
	return_target(c, sel, rip, &t);
	if (cpl == c->cpl) {
		check_rip(c, &t.cs, rip);
		desc_set_accessed(c, &t.d);
		sp = c->r[RSP] + 2 * size + extra;
		c->r[RSP] = stack_merge(c->r[RSP], sp, c->stack_bits);
	} else {
		sp = stack_peek(c, 2 * size + extra, size);
		ss_sel = (uint16_t)stack_peek(c, 3 * size + extra, size);
		ss = seg_check_ss(c, ss_sel, cpl, c->long_mode && t.cs.attr & SEG_L, X86_GP, 0);
		check_rip(c, &t.cs, rip);
		desc_set_accessed(c, &t.d);
		c->s.seg[SEG_SS] = ss;
		c->r[RSP] = stack_merge(c->r[RSP], sp + extra, ss_bits(c, &t.cs, &ss));
		seg_drop_privileged(c, cpl);
	}
	commit_target(c, &t);
	return done(c);
}

static const struct insn *sys_ret_far(struct soft_cpu *c, const struct insn *in)
{
	return ret_far(c, in->opsize, in->flags & INSN_IMM ? in->imm & 0xffff : 0);
}

/* What IRET at this CPL and IOPL may change, for operand size 2, 4, 8. */
static uint64_t iret_mask(const struct soft_cpu *c, unsigned size)
{
	uint64_t mask = FLAGS_STATUS | FLAG_TF | FLAG_DF | FLAG_NT;

	if (size != 2)
		mask |= FLAG_RF | FLAG_AC | FLAG_ID;
	if (c->cpl <= cpu_iopl(c))
		mask |= FLAG_IF;
	if (c->cpl == 0) {
		mask |= FLAG_IOPL;
		if (size != 2)
			mask |= FLAG_VIF | FLAG_VIP;
	}
	return mask;
}

static void set_flags(struct soft_cpu *c, uint64_t val, uint64_t mask)
{
	uint64_t now = (cpu_rflags(c) & ~mask) | (val & mask) | FLAG_R1;

	/* RF matters to instruction breakpoints only; nothing would clear it without them */
	if (!debug_has_code_bp(c))
		now &= ~(uint64_t)FLAG_RF;
	c->fl = flags_to_fl(now); /* done() looks at the rest */
	c->rflags = now & ~(uint64_t)FLAGS_STATUS;
}

static const struct insn *iret_done(struct soft_cpu *c)
{
	c->s.nmi_masked = false;
	cpu_ring_changed(c);
	return NULL;
}

static const struct insn *iret_real(struct soft_cpu *c, unsigned size)
{
	uint64_t rip = stack_peek(c, 0, size), flags = stack_peek(c, 2 * size, size);
	uint16_t sel = (uint16_t)stack_peek(c, size, size);
	uint64_t mask = iret_mask(c, size);

	if (rip > c->s.seg[SEG_CS].limit)
		cpu_raise_err(c, X86_GP, 0);
	c->r[RSP] = stack_merge(c->r[RSP], c->r[RSP] + 3 * size, c->stack_bits);
	c->s.seg[SEG_CS] = seg_real(c, SEG_CS, sel);
	c->rip = rip;
	set_flags(c, flags, mask & ~(uint64_t)(FLAG_VIF | FLAG_VIP));
	return iret_done(c);
}

/* IRET executed by an 8086 program. */
static const struct insn *iret_v86(struct soft_cpu *c, unsigned size)
{
	uint64_t rip, flags, mask = FLAGS_STATUS | FLAG_TF | FLAG_DF | FLAG_NT;
	bool vme = cpu_iopl(c) < 3;
	uint16_t sel;

	if (vme && !(c->s.cr4 & CR4_VME && size == 2))
		cpu_raise_err(c, X86_GP, 0);
	rip = stack_peek(c, 0, size);
	sel = (uint16_t)stack_peek(c, size, size);
	flags = stack_peek(c, 2 * size, size);
	if (rip > 0xffff)
		cpu_raise_err(c, X86_GP, 0);
	if (vme) {
		if (flags & FLAG_TF || (flags & FLAG_IF && c->rflags & FLAG_VIP))
			cpu_raise_err(c, X86_GP, 0);
		flags = flags & FLAG_IF ? flags | FLAG_VIF : flags & ~(uint64_t)FLAG_VIF;
		mask |= FLAG_VIF;
	} else {
		mask |= FLAG_IF;
		if (size == 4)
			mask |= FLAG_RF | FLAG_AC | FLAG_ID;
	}
	c->r[RSP] = stack_merge(c->r[RSP], c->r[RSP] + 3 * size, 16);
	c->s.seg[SEG_CS] = seg_real(c, SEG_CS, sel);
	c->rip = rip;
	set_flags(c, flags, mask);
	return iret_done(c);
}

/* Back to a virtual-8086 program: nine doublewords. */
static const struct insn *iret_to_v86(struct soft_cpu *c, uint64_t rip, uint16_t cs, uint64_t flags)
{
	static const uint8_t order[] = { SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	uint64_t sp = stack_peek(c, 12, 4);
	uint16_t sel[ARRAY_SIZE(order)];

	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		sel[i] = (uint16_t)stack_peek(c, 16 + 4 * (unsigned)i, 4);
	set_flags(c, flags, iret_mask(c, 4) | FLAG_VM);
	c->r[RSP] = sp;
	c->s.seg[SEG_CS] = seg_real(c, SEG_CS, cs);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		c->s.seg[order[i]] = seg_real(c, order[i], sel[i]);
	c->rip = (uint16_t)rip;
	return iret_done(c);
}

static const struct insn *iret_task(struct soft_cpu *c)
{
	struct task_switch ts = { .how = TASK_IRET, .rip = cpu_next_rip(c) };
	struct desc d;

	ts.sel = (uint16_t)mmu_ld_sys(c, (uint32_t)c->s.tr.base, 2);
	if (ts.sel & 4 || sel_null(ts.sel))
		cpu_raise_err(c, X86_TS, ts.sel & ~3u);
	desc_fetch(c, ts.sel, &d, X86_TS, 0);
	if (d.hi & DESC_S || (desc_type(&d) != DT_TSS16_BUSY && desc_type(&d) != DT_TSS32_BUSY))
		cpu_raise_err(c, X86_TS, ts.sel & ~3u);
	task_switch(c, &ts, &d);
	c->s.nmi_masked = false;
	return NULL;
}

static const struct insn *sys_iret(struct soft_cpu *c, const struct insn *in)
{
	unsigned size = in->opsize, cpl;
	uint64_t rip, flags, sp, mask;
	struct x86_seg ss;
	struct target t;
	uint16_t sel;

	if (!in_protected(c))
		return iret_real(c, size);
	if (in_v86(c))
		return iret_v86(c, size);
	if (c->rflags & FLAG_NT) {
		if (c->long_mode)
			cpu_raise_err(c, X86_GP, 0);
		return iret_task(c);
	}
	rip = stack_peek(c, 0, size);
	sel = (uint16_t)stack_peek(c, size, size);
	flags = stack_peek(c, 2 * size, size);
	if (flags & FLAG_VM && size == 4 && c->cpl == 0 && !c->long_mode)
		return iret_to_v86(c, rip, sel, flags);
	return_target(c, sel, rip, &t);
	mask = iret_mask(c, size);
	cpl = sel & 3;
	if (cpl != c->cpl || c->code_bits == 64) {
		sp = stack_peek(c, 3 * size, size);
		ss = seg_check_ss(c, (uint16_t)stack_peek(c, 4 * size, size), cpl,
				  c->long_mode && t.cs.attr & SEG_L, X86_GP, 0);
		check_rip(c, &t.cs, rip);
		desc_set_accessed(c, &t.d);
		if (cpl != c->cpl)
			seg_drop_privileged(c, cpl);
		c->s.seg[SEG_SS] = ss;
		c->r[RSP] = stack_merge(c->r[RSP], sp, ss_bits(c, &t.cs, &ss));
	} else {
		check_rip(c, &t.cs, rip);
		desc_set_accessed(c, &t.d);
		c->r[RSP] = stack_merge(c->r[RSP], c->r[RSP] + 3 * size, c->stack_bits);
	}
	commit_target(c, &t);
	set_flags(c, flags, mask);
	return iret_done(c);
}

static const struct insn *software_event(struct soft_cpu *c, enum event_kind kind, unsigned vector)
{
	struct event ev = { .kind = kind, .vector = (uint8_t)vector, .rip = cpu_next_rip(c) };

	event_deliver(c, &ev);
	return NULL;
}

static const struct insn *sys_int(struct soft_cpu *c, const struct insn *in)
{
	return software_event(c, EVENT_INT_N, in->imm & 0xff);
}

static const struct insn *sys_int3(struct soft_cpu *c, const struct insn *in)
{
	return software_event(c, EVENT_INT_SHORT, X86_BP);
}

static const struct insn *sys_int1(struct soft_cpu *c, const struct insn *in)
{
	const struct insn *next = software_event(c, EVENT_INT1, X86_DB);

	c->s.dr7 &= ~DR7_GD;
	return next;
}

static const struct insn *sys_into(struct soft_cpu *c, const struct insn *in)
{
	if (c->fl & FL_OF)
		return software_event(c, EVENT_INT_SHORT, X86_OF);
	return sys_end(c);
}

insn_fn bind_sys_far(const struct insn *in, unsigned mn)
{
	switch (mn) {
	case MN_JMP_FAR:
		return sys_jmp_far;
	case MN_CALL_FAR:
		return sys_call_far;
	case MN_RET_FAR:
		return sys_ret_far;
	case MN_IRET:
		return sys_iret;
	case MN_INT:
		return sys_int;
	case MN_INT3:
		return sys_int3;
	case MN_INT1:
		return sys_int1;
	case MN_INTO:
		return sys_into;
	default:
		return NULL;
	}
}

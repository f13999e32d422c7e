/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery of exceptions and interrupts: IVT, 16/32/64-bit gates, task gates, stack switches,
 * virtual-8086 mode with its extensions, double and triple faults. Intel SDM vol. 3A chapter 6
 * and 20; AMD APM vol. 2 chapter 8. On the vCPU's thread; a delivery commits nothing but stack
 * memory before its last possible fault.
 */
#include "accel/soft/sys.h"
#include "accel/soft/tell.h"
#include "base/log.h"

static unsigned event_ext(const struct event *ev)
{
	return ev->kind == EVENT_EXCEPTION || ev->kind == EVENT_EXTERNAL || ev->kind == EVENT_INT1;
}

static bool event_checks_dpl(const struct event *ev)
{
	return ev->kind == EVENT_INT_N || ev->kind == EVENT_INT_SHORT;
}

/* RFLAGS as pushed: faults resume with RF set so that the same breakpoint does not hit twice. */
static uint64_t pushed_flags(const struct soft_cpu *c, const struct event *ev)
{
	uint64_t fl = cpu_rflags(c);

	if (ev->kind == EVENT_EXCEPTION && ev->vector != X86_DB)
		fl |= FLAG_RF;
	return fl;
}

static void enter_handler(struct soft_cpu *c, uint64_t rip, uint64_t clear)
{
	c->rip = rip;
	c->rflags &= ~clear; /* no status flags among them */
	c->s.sti_shadow = false;
	c->s.mov_ss_shadow = false;
	c->dr6_pending = 0;
	c->no_step = true;
	cpu_ring_changed(c);
}

/* Real mode, and INT n that virtual-8086 mode hands to the 8086 program itself. */
static void deliver_ivt(struct soft_cpu *c, const struct event *ev, uint64_t ivt, uint64_t flags)
{
	struct stack st = { .ss = &c->s.seg[SEG_SS], .sp = c->r[RSP], .bits = c->stack_bits };
	uint32_t far = (uint32_t)mmu_ld_sys(c, ivt + 4u * ev->vector, 4);

	stack_push(c, &st, flags & 0xffff, 2);
	stack_push(c, &st, c->s.seg[SEG_CS].sel, 2);
	stack_push(c, &st, ev->rip & 0xffff, 2);
	c->r[RSP] = stack_merge(c->r[RSP], st.sp, c->stack_bits);
	c->s.seg[SEG_CS] = seg_real(c, SEG_CS, (uint16_t)(far >> 16));
	c->rip = far & 0xffff;
}

static void deliver_real(struct soft_cpu *c, const struct event *ev)
{
	if (4u * ev->vector + 3 > c->s.idtr.limit)
		cpu_raise_err(c, ev->vector == X86_DF ? X86_DF : X86_GP, 8u * ev->vector + 2);
	deliver_ivt(c, ev, c->s.idtr.base, cpu_rflags(c));
	enter_handler(c, c->rip, FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
}

/* CR4.VME: whether the TSS says that INT n stays inside virtual-8086 mode. */
static bool v86_redirected(struct soft_cpu *c, unsigned vector)
{
	uint64_t base = (uint32_t)c->s.tr.base;
	uint32_t map;

	if (c->s.tr.limit < 103)
		cpu_raise_err(c, X86_GP, 0);
	map = (uint32_t)mmu_ld_sys(c, base + 102, 2);
	if (map < 32 || map - 32 + vector / 8 > c->s.tr.limit)
		cpu_raise_err(c, X86_GP, 0);
	return !(mmu_ld_sys(c, base + map - 32 + vector / 8, 1) >> (vector & 7) & 1);
}

/* INT n in virtual-8086 mode: true when it was delivered through the program's own IVT. */
static bool deliver_v86_int(struct soft_cpu *c, const struct event *ev)
{
	unsigned iopl = cpu_iopl(c);
	uint64_t flags = cpu_rflags(c);

	if (c->s.cr4 & CR4_VME && v86_redirected(c, ev->vector)) {
		uint64_t clear = FLAG_TF | FLAG_RF | (iopl == 3 ? FLAG_IF : FLAG_VIF);

		if (iopl < 3) { /* the program sees VIF as IF, and IOPL 3 */
			flags = (flags & ~(uint64_t)FLAG_IF) | FLAG_IOPL;
			if (c->rflags & FLAG_VIF)
				flags |= FLAG_IF;
		}
		deliver_ivt(c, ev, 0, flags);
		enter_handler(c, c->rip, clear);
		return true;
	}
	if (iopl < 3)
		cpu_raise_err(c, X86_GP, 0);
	return false;
}

/* Reads and checks the gate of an event outside long mode. */
static void read_gate(struct soft_cpu *c, const struct event *ev, struct desc *g)
{
	uint32_t code = 8u * ev->vector + 2 + event_ext(ev);
	uint64_t q;

	if (8u * ev->vector + 7 > c->s.idtr.limit)
		cpu_raise_err(c, X86_GP, code);
	g->lin = (uint32_t)(c->s.idtr.base + 8u * ev->vector);
	q = mmu_ld_sys(c, g->lin, 8);
	g->lo = (uint32_t)q;
	g->hi = (uint32_t)(q >> 32);
	if (g->hi & DESC_S)
		cpu_raise_err(c, X86_GP, code);
	switch (desc_type(g)) {
	case DT_TASK:
	case DT_INT16:
	case DT_TRAP16:
	case DT_INT32:
	case DT_TRAP32:
		break;
	default:
		cpu_raise_err(c, X86_GP, code);
	}
	if (event_checks_dpl(ev) && desc_dpl(g) < c->cpl)
		cpu_raise_err(c, X86_GP, code);
	if (!(g->hi & DESC_P))
		cpu_raise_err(c, X86_NP, code);
}

/* The code segment of a gate: its privilege is returned. */
static unsigned gate_code(struct soft_cpu *c, uint16_t sel, unsigned ext, bool need_long,
			  struct desc *cs)
{
	unsigned dpl;

	if (sel_null(sel))
		cpu_raise_err(c, X86_GP, ext);
	desc_fetch(c, sel, cs, X86_GP, ext);
	dpl = desc_dpl(cs);
	if (!desc_is_code(cs) || dpl > c->cpl)
		cpu_raise_err(c, X86_GP, (sel & ~3u) | ext);
	if (need_long && (cs->hi & (DESC_L | DESC_DB)) != DESC_L)
		cpu_raise_err(c, X86_GP, (sel & ~3u) | ext);
	if (!(cs->hi & DESC_P))
		cpu_raise_err(c, X86_NP, (sel & ~3u) | ext);
	if (cs->hi & DESC_CE)
		dpl = c->cpl;
	if (in_v86(c) && dpl)
		cpu_raise_err(c, X86_GP, (sel & ~3u) | ext);
	return dpl;
}

static void push_frame(struct soft_cpu *c, struct stack *st, const struct event *ev, bool inner,
		       unsigned size)
{
	if (inner) {
		if (in_v86(c)) {
			stack_push(c, st, c->s.seg[SEG_GS].sel, size);
			stack_push(c, st, c->s.seg[SEG_FS].sel, size);
			stack_push(c, st, c->s.seg[SEG_DS].sel, size);
			stack_push(c, st, c->s.seg[SEG_ES].sel, size);
		}
		stack_push(c, st, c->s.seg[SEG_SS].sel, size);
		stack_push(c, st, c->r[RSP], size);
	}
	stack_push(c, st, pushed_flags(c, ev), size);
	stack_push(c, st, c->s.seg[SEG_CS].sel, size);
	stack_push(c, st, ev->rip, size);
	if (ev->has_error)
		stack_push(c, st, ev->error, size);
}

static void deliver_gate(struct soft_cpu *c, const struct event *ev)
{
	unsigned ext = event_ext(ev), cpl, size;
	struct x86_seg ss = c->s.seg[SEG_SS], ncs;
	struct stack st = { .ss = &ss, .sp = c->r[RSP], .bits = c->stack_bits };
	struct desc g, cs;
	uint64_t off;
	bool inner;

	read_gate(c, ev, &g);
	if (desc_type(&g) == DT_TASK) {
		struct task_switch ts = { .how = TASK_EVENT, .ext = ext, .rip = ev->rip,
					  .has_error = ev->has_error, .error = ev->error,
					  .rf = pushed_flags(c, ev) & FLAG_RF };

		task_gate(c, &ts, &g);
		c->no_step = true;
		return;
	}
	size = desc_type(&g) >= DT_INT32 ? 4 : 2;
	off = (g.lo & 0xffff) | (size == 4 ? g.hi & 0xffff0000 : 0);
	cpl = gate_code(c, (uint16_t)(g.lo >> 16), ext, false, &cs);
	inner = cpl < c->cpl;
	if (inner) {
		ss = tss_stack(c, cpl, &st.sp, ext);
		st.bits = ss.attr & SEG_DB ? 32 : 16;
		st.error = (uint16_t)((ss.sel & ~3u) | ext);
		st.super = true;
	} else {
		st.error = (uint16_t)ext;
	}
	ncs = seg_of_desc((uint16_t)(((g.lo >> 16) & ~3u) | cpl), &cs);
	if (off > ncs.limit)
		cpu_raise_err(c, X86_GP, ext);
	push_frame(c, &st, ev, inner, size);
	desc_set_accessed(c, &cs);
	if (inner && in_v86(c)) {
		static const uint8_t regs[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

		for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
			c->s.seg[regs[i]] = (struct x86_seg){ .attr = SEG_UNUSABLE };
	}
	c->s.seg[SEG_CS] = ncs;
	c->s.seg[SEG_SS] = ss;
	c->r[RSP] = stack_merge(c->r[RSP], st.sp, st.bits);
	enter_handler(c, off, FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM |
				      (desc_type(&g) & 1 ? 0 : FLAG_IF));
}

static void deliver_long(struct soft_cpu *c, const struct event *ev)
{
	unsigned ext = event_ext(ev), code = 16u * ev->vector, type, cpl, ist;
	struct x86_seg ss = c->s.seg[SEG_SS];
	struct stack st = { .ss = &ss, .sp = c->r[RSP], .bits = 64, .error = (uint16_t)ext };
	uint64_t lo, off, lin = c->s.idtr.base + 16u * ev->vector;
	struct desc g, cs;
	uint16_t sel;

	if (code + 15 > c->s.idtr.limit)
		cpu_raise_err(c, X86_GP, 8u * ev->vector + 2 + ext);
	code = 8u * ev->vector + 2 + ext;
	lo = mmu_ld_sys(c, lin, 8);
	g.lo = (uint32_t)lo;
	g.hi = (uint32_t)(lo >> 32);
	type = desc_type(&g);
	if (g.hi & DESC_S || (type != DT_INT32 && type != DT_TRAP32))
		cpu_raise_err(c, X86_GP, code);
	if (event_checks_dpl(ev) && desc_dpl(&g) < c->cpl)
		cpu_raise_err(c, X86_GP, code);
	if (!(g.hi & DESC_P))
		cpu_raise_err(c, X86_NP, code);
	off = (g.lo & 0xffff) | (g.hi & 0xffff0000) | mmu_ld_sys(c, lin + 8, 4) << 32;
	sel = (uint16_t)(g.lo >> 16);
	cpl = gate_code(c, sel, ext, true, &cs);
	ist = g.hi & 7;
	if (ist)
		st.sp = tss_stack64(c, 3 + ist, ext);
	else if (cpl < c->cpl)
		st.sp = tss_stack64(c, cpl, ext);
	if (cpl < c->cpl)
		ss = seg_null_ss((uint16_t)cpl, cpl);
	st.super = cpl < 3;
	if (!canonical(c, off))
		cpu_raise_err(c, X86_GP, ext);
	st.sp &= ~15ull;
	push_frame(c, &st, ev, true, 8);
	desc_set_accessed(c, &cs);
	c->s.seg[SEG_CS] = seg_of_desc((uint16_t)((sel & ~3u) | cpl), &cs);
	c->s.seg[SEG_SS] = ss;
	c->r[RSP] = st.sp;
	enter_handler(c, off, FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM | (type & 1 ? 0 : FLAG_IF));
}

void event_deliver(struct soft_cpu *c, const struct event *ev)
{
	if (unlikely(log_is_on(LOG_INT)))
		tell_event(c, ev->vector, ev->error, ev->kind == EVENT_INT_N, ev->rip);
	if (!in_protected(c))
		deliver_real(c, ev);
	else if (c->long_mode)
		deliver_long(c, ev);
	else if (in_v86(c) && ev->kind == EVENT_INT_N && deliver_v86_int(c, ev))
		return;
	else
		deliver_gate(c, ev);
}

enum fault_class { CLASS_BENIGN, CLASS_CONTRIBUTORY, CLASS_PAGE, CLASS_DOUBLE };

static enum fault_class classify(unsigned vector)
{
	switch (vector) {
	case X86_DE:
	case X86_TS:
	case X86_NP:
	case X86_SS:
	case X86_GP:
		return CLASS_CONTRIBUTORY;
	case X86_PF:
		return CLASS_PAGE;
	case X86_DF:
		return CLASS_DOUBLE;
	default:
		return CLASS_BENIGN;
	}
}

/*
 * The event to deliver when `second` came up while `first` was being delivered; false: shutdown.
 * Intel SDM table 6-5.
 */
static bool combine(struct event *first, const struct event *second, uint64_t rip)
{
	enum fault_class a = first->kind == EVENT_EXCEPTION ? classify(first->vector) :
							      CLASS_BENIGN;
	enum fault_class b = classify(second->vector);

	if (b != CLASS_BENIGN) {
		if (a == CLASS_DOUBLE)
			return false;
		if (b == CLASS_DOUBLE || (a == CLASS_PAGE) ||
		    (a == CLASS_CONTRIBUTORY && b == CLASS_CONTRIBUTORY)) {
			*first = (struct event){ .kind = EVENT_EXCEPTION, .vector = X86_DF,
						 .has_error = true, .rip = rip };
			return true;
		}
	}
	*first = *second;
	first->rip = rip;
	return true;
}

/*
 * Delivers under the double-fault rules. *ev is the caller's, not a local of this function, so
 * that it survives the jumps.
 */
static __attribute__((noinline)) bool deliver_all(struct soft_cpu *c, struct event *ev)
{
	volatile unsigned rounds = 0;
	volatile bool alive = true;
	jmp_buf outer;

	memcpy(outer, c->on_fault, sizeof(outer));
	c->cur = NULL; /* rip is what counts */
	if (_setjmp(c->on_fault)) {
		struct event second = { .kind = EVENT_EXCEPTION, .vector = c->fault.vector,
					.has_error = c->fault.has_error, .error = c->fault.error };

		/* not ev->rip: a task switch may have been half of the delivery */
		alive = combine(ev, &second, c->rip) && rounds < 8;
	}
	rounds = rounds + 1;
	if (alive)
		event_deliver(c, ev);
	memcpy(c->on_fault, outer, sizeof(outer));
	return alive;
}

bool excp_deliver(struct soft_cpu *c)
{
	struct event ev = { .kind = EVENT_EXCEPTION, .vector = c->fault.vector,
			    .has_error = c->fault.has_error, .error = c->fault.error,
			    .rip = c->rip };

	if (c->s.mp_state == MP_HALTED) /* a #DB trap behind HLT ends it */
		c->s.mp_state = MP_RUNNABLE;
	if (deliver_all(c, &ev))
		return true;
	log_debug("vcpu%u: triple fault at %#" PRIx64, c->vcpu->index, ev.rip);
	return false;
}

/*
 * Delivery begun by whoever ran the guest before. RIP is that of an instruction which raises it
 * (INT n, INT3, INTO): it is executed again.
 */
bool excp_reinject(struct soft_cpu *c)
{
	struct event ev = { .kind = c->s.event_type == X86_EVENT_EXCEPTION ? EVENT_EXCEPTION :
									     EVENT_EXTERNAL,
			    .vector = c->s.event_vector, .has_error = c->s.event_has_error,
			    .error = c->s.event_error, .rip = c->rip };

	c->s.event_injected = c->s.event_has_error = false;
	if (c->s.event_type == X86_EVENT_SOFT ||
	    (ev.kind == EVENT_EXCEPTION && (ev.vector == X86_BP || ev.vector == X86_OF)))
		return true;
	if (c->s.event_type == X86_EVENT_NMI)
		c->s.nmi_masked = true;
	if (c->s.mp_state == MP_HALTED)
		c->s.mp_state = MP_RUNNABLE;
	return deliver_all(c, &ev);
}

bool excp_interrupt(struct soft_cpu *c, unsigned vector)
{
	struct event ev = { .kind = EVENT_EXTERNAL, .vector = (uint8_t)vector, .rip = c->rip };

	if (vector == X86_NMI)
		c->s.nmi_masked = true;
	return deliver_all(c, &ev);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local APIC: registers, priorities, interrupt acceptance.
 *
 * Models: xAPIC and x2APIC of Intel SDM vol. 3 chapter 10, six LVT entries, version 0x14.
 * Not modelled: a moved register page (the base address reads back as written, the page stays),
 * CMCI, directed EOI.
 *
 * Threads: see lapic.h. IRR and TMR bits are set by senders: TMR first, then IRR, then the kick.
 * An INIT from another processor only sets init_pending; the owner resets itself before it next
 * uses the LAPIC, and until then it accepts nothing.
 */
#include "base/base.h"
#include "base/trace.h"
#include "arch/x86/lapic.h"
#include "isa/x86/x86.h"

#define LAPIC_VERSION_VALUE 0x00050014u
#define SVR_WRITABLE	    0x1ffu
#define ESR_ILLEGAL_REG	    0x80u

static const uint32_t lvt_writable[6] = {
	LVT_VECTOR | LVT_MASKED | LVT_TIMER_MODE,
	LVT_VECTOR | LVT_MODE | LVT_MASKED,
	LVT_VECTOR | LVT_MODE | LVT_MASKED,
	LVT_VECTOR | LVT_MODE | LVT_LOW_ACTIVE | LVT_LEVEL | LVT_MASKED,
	LVT_VECTOR | LVT_MODE | LVT_LOW_ACTIVE | LVT_LEVEL | LVT_MASKED,
	LVT_VECTOR | LVT_MASKED,
};

static void init_registers(struct lapic *l)
{
	APIC_STORE(l->tpr, 0);
	if (!lapic_is_x2apic(l))
		APIC_STORE(l->ldr, 0);
	APIC_STORE(l->dfr, UINT32_MAX);
	APIC_STORE(l->svr, 0xff);
	l->esr = 0;
	l->esr_seen = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(l->lvt); i++)
		APIC_STORE(l->lvt[i], LVT_MASKED);
	l->icr_low = 0;
	l->icr_high = 0;
	l->timer_init = 0;
	l->timer_div = 0;
	l->tsc_deadline = 0;
	for (unsigned i = 0; i < 8; i++) {
		APIC_STORE(l->irr[i], 0);
		APIC_STORE(l->tmr[i], 0);
		l->isr[i] = 0;
	}
	lapic_timer_stop(l);
}

void lapic_reset(struct lapic *l, bool bsp)
{
	APIC_STORE(l->apic_base, LAPIC_DEFAULT_BASE | APIC_BASE_ENABLE | (bsp ? APIC_BASE_BSP : 0));
	__atomic_store_n(&l->init_pending, 0, __ATOMIC_RELAXED);
	APIC_STORE(l->lint0, 0);
	APIC_STORE(l->lint1, 0);
	l->timer_start_ns = 0;
	init_registers(l);
	/* As firmware leaves it for an OS that uses the PIC before the APIC: virtual wire. */
	if (bsp)
		APIC_STORE(l->lvt[LAPIC_LVT_LINT0 - LAPIC_LVT_TIMER],
			   APIC_DM_EXTINT << LVT_MODE_SHIFT);
}

/* Before every use on the owner's thread. */
static inline void settle(struct lapic *l)
{
	if (unlikely(__atomic_load_n(&l->init_pending, __ATOMIC_ACQUIRE))) {
		init_registers(l);
		__atomic_store_n(&l->init_pending, 0, __ATOMIC_RELEASE);
	}
}

bool lapic_hw_enabled(const struct lapic *l)
{
	return APIC_LOAD(l->apic_base) & APIC_BASE_ENABLE;
}

static bool sw_enabled(const struct lapic *l)
{
	return lapic_hw_enabled(l) && (APIC_LOAD(l->svr) & LAPIC_SVR_ENABLE);
}

static int top_bit(const uint32_t bits[8])
{
	for (int i = 7; i >= 0; i--) {
		uint32_t w = APIC_LOAD(bits[i]);

		if (w)
			return i * 32 + 31 - __builtin_clz(w);
	}
	return -1;
}

int lapic_isr_top(const struct lapic *l)
{
	return top_bit(l->isr);
}

int lapic_irr_top(const struct lapic *l)
{
	return top_bit(l->irr);
}

bool lapic_vector_is_level(const struct lapic *l, unsigned vector)
{
	return APIC_LOAD(l->tmr[vector / 32]) >> (vector % 32) & 1;
}

uint32_t lapic_ppr(struct lapic *l)
{
	int isr = lapic_isr_top(l);
	uint32_t isrv = isr < 0 ? 0 : (uint32_t)isr & 0xf0;

	return (l->tpr & 0xf0) >= isrv ? l->tpr : isrv;
}

/* The vector that would be delivered now, or -1. */
static int deliverable(struct lapic *l)
{
	int irr;

	if (!sw_enabled(l))
		return -1;
	irr = lapic_irr_top(l);
	if (irr < 0 || ((uint32_t)irr & 0xf0) <= (lapic_ppr(l) & 0xf0))
		return -1;
	return irr;
}

/* An ExtINT reaches the core through LINT0, or straight when the APIC is off. */
static bool extint_open(const struct lapic *l)
{
	uint32_t lint0;

	if (!lapic_hw_enabled(l))
		return true;
	lint0 = APIC_LOAD(l->lvt[LAPIC_LVT_LINT0 - LAPIC_LVT_TIMER]);
	return !(lint0 & LVT_MASKED) && (lint0 & LVT_MODE) == APIC_DM_EXTINT << LVT_MODE_SHIFT;
}

static bool extint_pending(const struct lapic *l)
{
	uint32_t lint0 = __atomic_load_n(&l->lint0, __ATOMIC_ACQUIRE);

	return (lint0 & LINT0_MSG) || ((lint0 & LINT0_LINE) && extint_open(l));
}

/* The owner changed something that may let an interrupt through. */
static void recheck(struct lapic *l)
{
	if (extint_pending(l) || deliverable(l) >= 0)
		vcpu_kick(l->vcpu, VCPU_EV_INTR);
}

bool lapic_has_intr(struct lapic *l)
{
	settle(l);
	return extint_pending(l) || deliverable(l) >= 0;
}

int lapic_get_intr(struct lapic *l)
{
	int vector = -1;

	settle(l);
	/* Cleared before looking, so that a request that comes meanwhile sets it again. */
	vcpu_clear(l->vcpu, VCPU_EV_INTR);
	if (extint_pending(l)) {
		__atomic_fetch_and(&l->lint0, ~LINT0_MSG, __ATOMIC_ACQ_REL);
		if (l->bus->pic_ack)
			vector = l->bus->pic_ack(l->bus->opaque);
	}
	if (vector < 0) {
		vector = deliverable(l);
		if (vector >= 0) {
			__atomic_fetch_and(&l->irr[vector / 32], ~BIT32(vector % 32),
					   __ATOMIC_ACQ_REL);
			l->isr[vector / 32] |= BIT32(vector % 32);
		}
	}
	if (vector >= 0)
		recheck(l);
	return vector;
}

void lapic_eoi(struct lapic *l)
{
	int vector;

	settle(l);
	vector = lapic_isr_top(l);
	if (vector < 0)
		return;
	l->isr[vector / 32] &= ~BIT32(vector % 32);
	if (lapic_vector_is_level(l, (unsigned)vector) && l->bus->eoi)
		l->bus->eoi(l->bus->opaque, (unsigned)vector);
	recheck(l);
}

void lapic_set_tpr(struct lapic *l, uint32_t tpr)
{
	settle(l);
	APIC_STORE(l->tpr, tpr & 0xff);
	recheck(l);
}

/* A LINT input rose whose LVT asks for something else than ExtINT. */
static void lint_rose(struct lapic *l, unsigned reg)
{
	uint32_t lvt = APIC_LOAD(l->lvt[reg - LAPIC_LVT_TIMER]);
	unsigned mode = (lvt & LVT_MODE) >> LVT_MODE_SHIFT;

	if ((lvt & LVT_MASKED) || mode == APIC_DM_EXTINT)
		return;
	trace_apic_local_deliver(reg - LAPIC_LVT_TIMER, mode);
	lapic_deliver(l, mode, lvt & LVT_VECTOR, mode == APIC_DM_FIXED && (lvt & LVT_LEVEL));
}

void lapic_lint0(struct lapic *l, int level)
{
	uint32_t old;

	if (!level) {
		__atomic_fetch_and(&l->lint0, ~LINT0_LINE, __ATOMIC_ACQ_REL);
		return;
	}
	old = __atomic_fetch_or(&l->lint0, LINT0_LINE, __ATOMIC_ACQ_REL);
	if (extint_open(l))
		vcpu_kick(l->vcpu, VCPU_EV_INTR);
	else if (!(old & LINT0_LINE))
		lint_rose(l, LAPIC_LVT_LINT0);
}

void lapic_lint1(struct lapic *l, int level)
{
	uint32_t old = __atomic_exchange_n(&l->lint1, level ? 1u : 0u, __ATOMIC_ACQ_REL);

	if (!level || old)
		return;
	if (lapic_hw_enabled(l))
		lint_rose(l, LAPIC_LVT_LINT1);
	else
		vcpu_kick(l->vcpu, VCPU_EV_NMI);
}

static uint32_t reg_read(struct lapic *l, unsigned reg)
{
	switch (reg) {
	case LAPIC_ID:
		return lapic_is_x2apic(l) ? l->vcpu->apic_id : l->vcpu->apic_id << 24;
	case LAPIC_VERSION:
		return LAPIC_VERSION_VALUE;
	case LAPIC_TPR:
		return l->tpr;
	case LAPIC_APR:
	case LAPIC_PPR:
		return lapic_ppr(l);
	case LAPIC_LDR:
		return l->ldr;
	case LAPIC_DFR:
		return l->dfr;
	case LAPIC_SVR:
		return l->svr;
	case LAPIC_ISR ... LAPIC_ISR + 7:
		return l->isr[reg - LAPIC_ISR];
	case LAPIC_TMR ... LAPIC_TMR + 7:
		return APIC_LOAD(l->tmr[reg - LAPIC_TMR]);
	case LAPIC_IRR ... LAPIC_IRR + 7:
		return APIC_LOAD(l->irr[reg - LAPIC_IRR]);
	case LAPIC_ESR:
		return l->esr_seen;
	case LAPIC_ICR:
		return l->icr_low;
	case LAPIC_ICR2:
		return l->icr_high;
	case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
		return l->lvt[reg - LAPIC_LVT_TIMER];
	case LAPIC_TICR:
		return l->timer_init;
	case LAPIC_TCCR:
		return lapic_timer_count(l);
	case LAPIC_TDCR:
		return l->timer_div;
	default:
		return 0;
	}
}

static void write_svr(struct lapic *l, uint32_t val)
{
	APIC_STORE(l->svr, val & SVR_WRITABLE);
	if (!(val & LAPIC_SVR_ENABLE))
		for (unsigned i = 0; i < ARRAY_SIZE(l->lvt); i++)
			APIC_STORE(l->lvt[i], l->lvt[i] | LVT_MASKED);
	recheck(l);
}

static void write_lvt(struct lapic *l, unsigned reg, uint32_t val)
{
	unsigned i = reg - LAPIC_LVT_TIMER;
	uint32_t old = l->lvt[i];

	val &= lvt_writable[i];
	if (!(l->svr & LAPIC_SVR_ENABLE))
		val |= LVT_MASKED;
	APIC_STORE(l->lvt[i], val);
	if (reg == LAPIC_LVT_TIMER)
		lapic_timer_lvt_written(l, old);
	else if (reg == LAPIC_LVT_LINT0)
		recheck(l);
}

/* Registers that both modes write alike. False when reg is none. */
static bool reg_write(struct lapic *l, unsigned reg, uint32_t val)
{
	switch (reg) {
	case LAPIC_TPR:
		lapic_set_tpr(l, val);
		return true;
	case LAPIC_EOI:
		lapic_eoi(l);
		return true;
	case LAPIC_SVR:
		write_svr(l, val);
		return true;
	case LAPIC_ESR:
		l->esr_seen = __atomic_exchange_n(&l->esr, 0, __ATOMIC_RELAXED);
		return true;
	case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
		write_lvt(l, reg, val);
		return true;
	case LAPIC_TICR:
		l->timer_init = val;
		lapic_timer_start(l);
		return true;
	case LAPIC_TDCR:
		l->timer_div = val & 0xb;
		if (l->timer_due_ns != UINT64_MAX)
			lapic_timer_start(l);
		return true;
	default:
		return false;
	}
}

uint32_t lapic_mmio_read(struct lapic *l, unsigned reg)
{
	uint32_t val;

	settle(l);
	if (!lapic_hw_enabled(l) || lapic_is_x2apic(l))
		return UINT32_MAX;
	val = reg_read(l, reg);
	trace_apic_register_read(reg, val);
	return val;
}

void lapic_mmio_write(struct lapic *l, unsigned reg, uint32_t val)
{
	settle(l);
	if (!lapic_hw_enabled(l) || lapic_is_x2apic(l))
		return;
	trace_apic_register_write(reg, val);
	switch (reg) {
	case LAPIC_LDR:
		APIC_STORE(l->ldr, val & 0xff000000);
		break;
	case LAPIC_DFR:
		APIC_STORE(l->dfr, val | 0x0fffffff);
		break;
	case LAPIC_ICR:
		l->icr_low = val & ~LVT_PENDING;
		apic_bus_icr(l, l->icr_low, l->icr_high >> 24);
		break;
	case LAPIC_ICR2:
		l->icr_high = val & 0xff000000;
		break;
	case LAPIC_ID: /* read only since the P4 */
	case LAPIC_RRD:
		break;
	default:
		if (!reg_write(l, reg, val))
			lapic_error(l, ESR_ILLEGAL_REG);
	}
}

static bool x2apic_readable(unsigned reg)
{
	switch (reg) {
	case LAPIC_ID:
	case LAPIC_VERSION:
	case LAPIC_TPR:
	case LAPIC_PPR:
	case LAPIC_LDR:
	case LAPIC_SVR:
	case LAPIC_ISR ... LAPIC_IRR + 7:
	case LAPIC_ESR:
	case LAPIC_ICR:
	case LAPIC_LVT_TIMER ... LAPIC_TCCR:
	case LAPIC_TDCR:
		return true;
	default:
		return false;
	}
}

static int x2apic_read(struct lapic *l, unsigned reg, uint64_t *val)
{
	if (!lapic_is_x2apic(l) || !x2apic_readable(reg))
		return -EINVAL;
	*val = reg_read(l, reg);
	if (reg == LAPIC_ICR)
		*val |= (uint64_t)l->icr_high << 32;
	trace_apic_register_read(reg, *val);
	return 0;
}

/* Bits that must be zero in a write; all of them for what is read only. */
static uint64_t x2apic_reserved(unsigned reg)
{
	switch (reg) {
	case LAPIC_TPR:
	case LAPIC_SELF_IPI:
		return ~0xffull;
	case LAPIC_SVR:
		return ~(uint64_t)(SVR_WRITABLE | 0x1200);
	case LAPIC_ICR:
		return 0xfff33000ull & ~(uint64_t)LVT_PENDING;
	case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
		return ~(uint64_t)(lvt_writable[reg - LAPIC_LVT_TIMER] | LVT_PENDING |
				   LVT_REMOTE_IRR);
	case LAPIC_TICR:
		return ~0xffffffffull;
	case LAPIC_TDCR:
		return ~0xbull;
	default: /* EOI and ESR take zero only */
		return UINT64_MAX;
	}
}

static int x2apic_write(struct lapic *l, unsigned reg, uint64_t val)
{
	if (!lapic_is_x2apic(l) || (val & x2apic_reserved(reg)))
		return -EINVAL;
	trace_apic_register_write(reg, val);
	switch (reg) {
	case LAPIC_ICR:
		l->icr_low = (uint32_t)val & ~LVT_PENDING;
		l->icr_high = (uint32_t)(val >> 32);
		apic_bus_icr(l, l->icr_low, l->icr_high);
		return 0;
	case LAPIC_SELF_IPI:
		lapic_deliver(l, APIC_DM_FIXED, (unsigned)val, false);
		return 0;
	default:
		return reg_write(l, reg, (uint32_t)val) ? 0 : -EINVAL;
	}
}

static int write_base(struct lapic *l, uint64_t val)
{
	uint64_t old = l->apic_base, mode = val & (APIC_BASE_ENABLE | APIC_BASE_X2APIC);
	uint64_t old_mode = old & (APIC_BASE_ENABLE | APIC_BASE_X2APIC);

	/* SDM 10.12.5: no x2APIC without enable, no step back from x2APIC but to disabled, no
	 * step from disabled straight to x2APIC. */
	if (val >> 52 || (val & 0x2ff) || mode == APIC_BASE_X2APIC ||
	    (old_mode == (APIC_BASE_ENABLE | APIC_BASE_X2APIC) && mode == APIC_BASE_ENABLE) ||
	    (!old_mode && mode == (APIC_BASE_ENABLE | APIC_BASE_X2APIC)))
		return -EINVAL;
	trace_cpu_set_apic_base(val);
	APIC_STORE(l->apic_base, val);
	if (mode == old_mode)
		return 0;
	if (!mode || !old_mode)
		init_registers(l);
	if (mode & APIC_BASE_X2APIC) {
		uint32_t id = l->vcpu->apic_id;

		APIC_STORE(l->ldr, id >> 4 << 16 | BIT32(id & 15));
	} else {
		APIC_STORE(l->ldr, 0);
	}
	recheck(l);
	return 0;
}

int lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *val)
{
	settle(l);
	switch (msr) {
	case MSR_APIC_BASE:
		*val = l->apic_base;
		return 0;
	case MSR_TSC_DEADLINE:
		*val = l->tsc_deadline;
		return 0;
	case MSR_X2APIC ... MSR_X2APIC + 0xff:
		return x2apic_read(l, msr - MSR_X2APIC, val);
	default:
		return -ENOENT;
	}
}

int lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t val)
{
	settle(l);
	switch (msr) {
	case MSR_APIC_BASE:
		return write_base(l, val);
	case MSR_TSC_DEADLINE:
		lapic_timer_set_deadline(l, val);
		return 0;
	case MSR_X2APIC ... MSR_X2APIC + 0xff:
		return x2apic_write(l, msr - MSR_X2APIC, val);
	default:
		return -ENOENT;
	}
}

/* ---- all registers at once ---- */

void lapic_get_regs(struct lapic *l, struct x86_lapic_regs *r)
{
	settle(l);
	/* A tick that is overdue would be lost with the time it was due. */
	if (l->timer_due_ns <= l->bus->now_ns())
		lapic_timer(l);
	*r = (struct x86_lapic_regs){ .apic_base = l->apic_base, .tsc_deadline = l->tsc_deadline };
	for (unsigned i = 0; i < X86_LAPIC_REGS; i++)
		r->reg[i] = reg_read(l, i);
	/* One that has fired stands still. */
	if (l->timer_due_ns == UINT64_MAX)
		r->reg[LAPIC_TICR] = 0;
}

void lapic_set_regs(struct lapic *l, const struct x86_lapic_regs *r)
{
	uint32_t id = l->vcpu->apic_id;

	__atomic_store_n(&l->init_pending, 0, __ATOMIC_RELAXED);
	APIC_STORE(l->apic_base, r->apic_base);
	APIC_STORE(l->tpr, r->reg[LAPIC_TPR] & 0xff);
	APIC_STORE(l->ldr, lapic_is_x2apic(l) ? id >> 4 << 16 | BIT32(id & 15) : r->reg[LAPIC_LDR]);
	APIC_STORE(l->dfr, r->reg[LAPIC_DFR]);
	APIC_STORE(l->svr, r->reg[LAPIC_SVR] & SVR_WRITABLE);
	l->esr = 0;
	l->esr_seen = r->reg[LAPIC_ESR];
	for (unsigned i = 0; i < ARRAY_SIZE(l->lvt); i++)
		APIC_STORE(l->lvt[i], r->reg[LAPIC_LVT_TIMER + i] & lvt_writable[i]);
	l->icr_low = r->reg[LAPIC_ICR] & ~LVT_PENDING;
	l->icr_high = r->reg[LAPIC_ICR2];
	for (unsigned i = 0; i < 8; i++) {
		l->isr[i] = r->reg[LAPIC_ISR + i];
		APIC_STORE(l->tmr[i], r->reg[LAPIC_TMR + i]);
		APIC_STORE(l->irr[i], r->reg[LAPIC_IRR + i]);
	}
	l->timer_init = r->reg[LAPIC_TICR];
	l->timer_div = r->reg[LAPIC_TDCR] & 0xb;
	l->tsc_deadline = r->tsc_deadline;
	lapic_timer_set_count(l, r->reg[LAPIC_TCCR]);
}

void lapic_resume(struct lapic *l)
{
	lapic_timer_resume(l);
	recheck(l);
}

static int lapic_check(void *obj, struct err *e)
{
	struct lapic *l = obj;
	uint64_t mode = l->apic_base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC);

	if (mode == APIC_BASE_X2APIC || (l->apic_base & 0x2ff))
		return err_set(e, EINVAL, "lapic: APIC base 0x%" PRIx64 " has no valid mode",
			       l->apic_base);
	if (l->tpr > 0xff || (l->svr & ~SVR_WRITABLE) || (l->timer_div & ~0xbu))
		return err_set(e, EINVAL, "lapic: a register has reserved bits set");
	for (unsigned i = 0; i < ARRAY_SIZE(l->lvt); i++)
		if (l->lvt[i] & ~lvt_writable[i])
			return err_set(e, EINVAL, "lapic: LVT entry %u is 0x%x", i, l->lvt[i]);
	return 0;
}

#define L struct lapic
const struct state_desc lapic_state = {
	.name = "lapic",
	.struct_name = "lapic",
	.version = 1,
	.post_load = lapic_check,
	.fields =
		(const struct state_field[]){
			ST_HOST(L, vcpu),	ST_HOST(L, bus),	 ST_U64(L, apic_base),
			ST_U32(L, tpr),		ST_U32(L, ldr),		 ST_U32(L, dfr),
			ST_U32(L, svr),		ST_U32(L, esr),		 ST_U32(L, esr_seen),
			ST_U32A(L, lvt),	ST_U32(L, icr_low),	 ST_U32(L, icr_high),
			ST_U32(L, timer_init),	ST_U32(L, timer_div),	 ST_NS(L, timer_start_ns),
			ST_NS(L, timer_due_ns), ST_U64(L, tsc_deadline), ST_U32A(L, irr),
			ST_U32A(L, isr),	ST_U32A(L, tmr),	 ST_U32(L, lint0),
			ST_U32(L, lint1),	ST_U32(L, init_pending), ST_END },
};
#undef L

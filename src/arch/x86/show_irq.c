/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt controllers and lines as text, in the form that QEMU's "info lapic" and "info pic"
 * have. Source: that output. Control thread; a local APIC is asked on its vCPU's thread, the
 * board's chips under their locks, KVM's as they are. State: none.
 */
#include "base/base.h"
#include "arch/x86/board.h"
#include "arch/x86/show.h"
#include "core/accel.h"

static const char *const modes[] = { "fixed", "lowest", "SMI",	   "...",
				     "NMI",   "INIT",	"StartUp", "ExtINT" };

/* ---- local APICs ---- */

static void say_lvt(FILE *out, const char *name, uint32_t lvt, bool timer)
{
	static const char *const timer_modes[] = { "one-shot", "periodic", "tsc-deadline", "..." };

	fprintf(out, "%-8s 0x%08" PRIx32 " %s %-5s %-6s %-7s", name, lvt,
		lvt & LVT_LOW_ACTIVE ? "active-lo" : "active-hi",
		lvt & LVT_LEVEL ? "level" : "edge", lvt & LVT_MASKED ? "masked" : "",
		lvt & LVT_PENDING ? "pending" : "");
	if (timer)
		fprintf(out, " %s", timer_modes[lvt >> 17 & 3]);
	else
		fprintf(out, " %s", modes[(lvt & LVT_MODE) >> LVT_MODE_SHIFT]);
	fprintf(out, " (vec %" PRIu32 ")\n", lvt & LVT_VECTOR);
}

static void say_vectors(FILE *out, const char *name, const uint32_t *reg, const uint32_t *tmr)
{
	bool any = false;

	fprintf(out, "%-8s", name);
	for (unsigned i = 0; i < 256; i++) {
		if (!(reg[i / 32] >> i % 32 & 1))
			continue;
		fprintf(out, " %u%s", i, tmr[i / 32] >> i % 32 & 1 ? "(level)" : "");
		any = true;
	}
	fprintf(out, "%s\n", any ? "" : " (none)");
}

static void say_icr(FILE *out, const struct x86_lapic_regs *r)
{
	static const char *const shorthands[] = { "no-shorthand", "self", "all-self", "all" };
	uint32_t icr = r->reg[LAPIC_ICR];

	fprintf(out, "ICR      0x%08" PRIx32 " %s %s %s %s %s (vec %" PRIu32 ")\n", icr,
		modes[icr >> 8 & 7], icr >> 11 & 1 ? "logical" : "physical",
		icr >> 15 & 1 ? "level" : "edge", icr >> 14 & 1 ? "assert" : "de-assert",
		shorthands[icr >> 18 & 3], icr & 0xff);
	fprintf(out, "ICR2     0x%08" PRIx32 "\n", r->reg[LAPIC_ICR2]);
}

void show_lapic_regs(FILE *out, unsigned cpu, const struct x86_lapic_regs *r)
{
	const uint32_t *reg = r->reg;
	uint32_t dcr = reg[LAPIC_TDCR], svr = reg[LAPIC_SVR];
	unsigned shift = (((dcr >> 1 & 4) | (dcr & 3)) + 1) & 7;

	fprintf(out, "dumping local APIC state for CPU %u\n\n", cpu);
	say_lvt(out, "LVT0", reg[LAPIC_LVT_LINT0], false);
	say_lvt(out, "LVT1", reg[LAPIC_LVT_LINT1], false);
	say_lvt(out, "LVTPC", reg[LAPIC_LVT_PERF], false);
	say_lvt(out, "LVTERR", reg[LAPIC_LVT_ERROR], false);
	say_lvt(out, "LVTTHMR", reg[LAPIC_LVT_THERMAL], false);
	say_lvt(out, "LVTT", reg[LAPIC_LVT_TIMER], true);
	fprintf(out,
		"Timer    DCR=0x%" PRIx32 " (divide by %u) initial_count = %" PRIu32
		" current_count = %" PRIu32 "\n",
		dcr, 1u << shift, reg[LAPIC_TICR], reg[LAPIC_TCCR]);
	if (r->tsc_deadline)
		fprintf(out, "Deadline 0x%016" PRIx64 "\n", r->tsc_deadline);
	fprintf(out, "BASE     0x%016" PRIx64 "%s%s%s\n", r->apic_base,
		r->apic_base & APIC_BASE_ENABLE ? " enabled" : " disabled",
		r->apic_base & APIC_BASE_X2APIC ? " x2APIC" : "",
		r->apic_base & APIC_BASE_BSP ? " BSP" : "");
	fprintf(out, "SPIV     0x%08" PRIx32 " APIC %s, focus=%s, spurious vec %" PRIu32 "\n", svr,
		svr >> 8 & 1 ? "enabled" : "disabled", svr >> 9 & 1 ? "on" : "off", svr & 0xff);
	say_icr(out, r);
	fprintf(out, "ESR      0x%08" PRIx32 "\n", reg[LAPIC_ESR]);
	say_vectors(out, "ISR", reg + LAPIC_ISR, reg + LAPIC_TMR);
	say_vectors(out, "IRR", reg + LAPIC_IRR, reg + LAPIC_TMR);
	fprintf(out,
		"\nAPR 0x%02" PRIx32 " TPR 0x%02" PRIx32 " DFR 0x%02" PRIx32 " LDR 0x%08" PRIx32
		" PPR 0x%02" PRIx32 "\n",
		reg[LAPIC_APR], reg[LAPIC_TPR], reg[LAPIC_DFR] >> 28, reg[LAPIC_LDR],
		reg[LAPIC_PPR]);
}

struct question {
	struct x86_lapic_regs *regs;
	int ret;
};

static void ask(struct vcpu *v, void *arg)
{
	const struct accel_irqchip *irqchip = v->vm->irqchip;
	struct question *q = arg;

	if (irqchip && irqchip->get_lapic)
		q->ret = irqchip->get_lapic(v, q->regs);
	else
		lapic_get_regs(&x86_vcpu(v)->lapic, q->regs);
}

int x86_ask_lapic(struct vcpu *v, struct x86_lapic_regs *r)
{
	struct question q = { .regs = r };

	vm_run_on(v, ask, &q);
	return q.ret;
}

int show_lapic(struct vcpu *v, FILE *out, struct err *e)
{
	struct x86_lapic_regs r = { 0 };
	int ret = x86_ask_lapic(v, &r);

	if (ret < 0)
		return err_set_errno(e, -ret, "the engine does not tell the local APIC of CPU %u",
				     v->index);
	show_lapic_regs(out, v->index, &r);
	return 0;
}

/* ---- IOAPIC and PICs ---- */

static void say_pins(FILE *out, const char *name, uint32_t pins)
{
	fprintf(out, "  %-10s", name);
	for (unsigned i = 0; i < X86_IOAPIC_PINS; i++)
		if (pins >> i & 1)
			fprintf(out, " %u", i);
	fprintf(out, "%s\n", pins ? "" : " (none)");
}

void show_ioapic_regs(FILE *out, const struct x86_ioapic_regs *r)
{
	uint32_t remote = 0;

	fprintf(out, "ioapic0: id=0x%02x sel=0x%02x\n", r->id, r->select);
	for (unsigned i = 0; i < X86_IOAPIC_PINS; i++) {
		uint64_t d = r->redir[i];

		fprintf(out,
			"  pin %-2u 0x%016" PRIx64 " dest=%-3u vec=%-3u %s %-5s %-6s %-7s %s\n", i,
			d, (unsigned)(d >> REDIR_DEST_SHIFT), (unsigned)(d & REDIR_VECTOR),
			d & REDIR_LOW_ACTIVE ? "active-lo" : "active-hi",
			d & REDIR_LEVEL ? "level" : "edge", d & REDIR_MASKED ? "masked" : "",
			modes[d >> REDIR_MODE_SHIFT & 7],
			d & REDIR_LOGICAL ? "logical" : "physical");
		if (d & REDIR_REMOTE_IRR)
			remote |= BIT32(i);
	}
	say_pins(out, "Inputs", r->line);
	say_pins(out, "Remote IRR", remote);
}

void show_pic_regs(FILE *out, unsigned n, const struct x86_pic_regs *r)
{
	fprintf(out,
		"pic%u: irr=%02x imr=%02x isr=%02x hprio=%u irq_base=%02x rr_sel=%d elcr=%02x "
		"fnm=%d\n",
		n, r->irr, r->imr, r->isr, r->priority_add, r->vector_base, r->read_isr, r->elcr,
		r->special_fully_nested);
}

static void get_board_chips(struct x86_board *b, struct x86_chips *c)
{
	if (b->ioapic) {
		pthread_mutex_lock(&b->ioapic->d.lock);
		ioapic_get_regs(&b->ioapic->chip, &c->ioapic);
		pthread_mutex_unlock(&b->ioapic->d.lock);
	}
	if (b->pic) {
		pthread_mutex_lock(&b->pic->d.lock);
		i8259_get_regs(&b->pic->chip, c->pic);
		pthread_mutex_unlock(&b->pic->d.lock);
	}
}

int show_chips(struct vm *vm, FILE *out, struct err *e)
{
	const struct accel_irqchip *irqchip = vm->irqchip;
	struct x86_board *b = x86_board(vm);
	struct x86_chips c = { 0 };
	int ret = 0;

	if (irqchip && irqchip->get_chips)
		ret = irqchip->get_chips(vm, &c);
	else
		get_board_chips(b, &c);
	if (ret < 0)
		return err_set_errno(e, -ret, "the engine does not tell its IOAPIC and PICs");
	if (b->ioapic)
		show_ioapic_regs(out, &c.ioapic);
	if (b->pic)
		for (unsigned i = 0; i < 2; i++)
			show_pic_regs(out, i, &c.pic[i]);
	return 0;
}

void show_lines(struct vm *vm, FILE *out)
{
	struct x86_gsi *g = &x86_board(vm)->gsi;
	uint64_t raised[X86_NR_GSI];
	uint32_t up = 0;

	pthread_mutex_lock(&g->lock);
	memcpy(raised, g->raised, sizeof(raised));
	for (unsigned i = 0; i < X86_NR_GSI; i++)
		if (g->sources[i] || (i >= GSI_PIRQ && g->pirq_sources[i - GSI_PIRQ]))
			up |= BIT32(i);
	pthread_mutex_unlock(&g->lock);
	fprintf(out, "IRQ statistics for gsi:\n");
	for (unsigned i = 0; i < X86_NR_GSI; i++)
		if (raised[i] || up >> i & 1)
			fprintf(out, "%2u: %" PRIu64 "%s\n", i, raised[i],
				up >> i & 1 ? " (up)" : "");
}

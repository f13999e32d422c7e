/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board's objects and an engine that has interrupt controllers or a paravirtual clock itself:
 * brings them up to date before a save, and lets the machine go on from them after a load
 * (core/arch.h). With the board's own controllers only their outputs, timers and pages that guests
 * look at are to be made anew. Control thread, everything at a stand. No state of its own.
 */
#include "base/base.h"
#include "arch/x86/board.h"
#include "core/accel.h"
#include "core/arch.h"

/* ---- what the lines are at, for controllers that were not told by us ---- */

static uint32_t ioapic_lines(const struct x86_gsi *g)
{
	uint32_t lines = 0;

	for (unsigned i = 0; i < X86_NR_GSI; i++)
		if (g->sources[i])
			lines |= BIT32(i ? i : GSI_PIT_PIN);
	for (unsigned i = 0; i < X86_NR_PIRQ; i++)
		if (g->pirq_sources[i])
			lines |= BIT32(GSI_PIRQ + i);
	return lines;
}

static void set_lines(struct x86_board *b, struct x86_chips *c)
{
	pthread_mutex_lock(&b->gsi.lock);
	c->ioapic.line = ioapic_lines(&b->gsi);
	c->pic[0].line = (uint8_t)((b->gsi.pic_level & ~4u) | (c->pic[0].line & 4u));
	c->pic[1].line = (uint8_t)(b->gsi.pic_level >> 8);
	pthread_mutex_unlock(&b->gsi.lock);
}

/* ---- from the engine ---- */

static int pull_chips(struct x86_board *b, struct err *e)
{
	const struct accel_irqchip *irqchip = b->vm->irqchip;
	struct x86_chips c;
	int r;

	if (!irqchip || !irqchip->get_chips)
		return 0;
	r = irqchip->get_chips(b->vm, &c);
	if (r < 0)
		return err_set_errno(e, -r, "the engine does not tell its IOAPIC and PICs");
	set_lines(b, &c);
	if (b->ioapic)
		ioapic_set_regs(&b->ioapic->chip, &c.ioapic);
	if (b->pic)
		i8259_set_regs(&b->pic->chip, c.pic);
	return 0;
}

static int pull_lapic(struct vcpu *v, struct err *e)
{
	const struct accel_irqchip *irqchip = v->vm->irqchip;
	struct x86_lapic_regs regs;
	int r;

	if (!irqchip || !irqchip->get_lapic) {
		pv_eoi_sync(v);
		return 0;
	}
	r = irqchip->get_lapic(v, &regs);
	if (r < 0)
		return err_set_errno(e, -r, "the engine does not tell the local APIC of vCPU %u",
				     v->index);
	lapic_set_regs(&x86_vcpu(v)->lapic, &regs);
	return 0;
}

static int pull_clock(struct x86_board *b, struct err *e)
{
	const struct accel_ops *accel = b->vm->accel;
	uint64_t ns, tsc;
	int r;

	if (!accel->get_clock)
		return 0;
	r = accel->get_clock(b->vm, &ns, &tsc);
	if (r < 0)
		return err_set_errno(e, -r, "the engine does not tell its paravirtual clock");
	pv_vm_set_clock(&b->pv, ns, tsc, b->vm->tsc_khz);
	return 0;
}

int arch_state_pull(struct vm *vm, struct err *e)
{
	struct x86_board *b = x86_board(vm);
	int r = pull_chips(b, e);

	for (unsigned i = 0; i < vm->nr_vcpus && !r; i++)
		r = pull_lapic(vm->vcpus[i], e);
	return r ? r : pull_clock(b, e);
}

/* ---- to the engine, or on by ourselves ---- */

/* The board's own send what is asked for. */
static void resume_chips(struct x86_board *b)
{
	if (b->ioapic) {
		pthread_mutex_lock(&b->ioapic->d.lock);
		ioapic_resume(&b->ioapic->chip);
		pthread_mutex_unlock(&b->ioapic->d.lock);
	}
	if (b->pic) {
		pthread_mutex_lock(&b->pic->d.lock);
		i8259_resume(&b->pic->chip);
		pthread_mutex_unlock(&b->pic->d.lock);
	}
}

static int push_chips(struct x86_board *b, struct err *e)
{
	const struct accel_irqchip *irqchip = b->vm->irqchip;
	struct x86_chips c = { .pic = { { .imr = 0xff }, { .imr = 0xff } } };

	if (!irqchip || !irqchip->set_chips) {
		resume_chips(b);
		return 0;
	}
	if (b->ioapic)
		ioapic_get_regs(&b->ioapic->chip, &c.ioapic);
	if (b->pic)
		i8259_get_regs(&b->pic->chip, c.pic);
	set_lines(b, &c);
	return irqchip->set_chips(b->vm, &c, e);
}

static int push_lapic(struct vcpu *v, struct err *e)
{
	const struct accel_irqchip *irqchip = v->vm->irqchip;
	struct lapic *l = &x86_vcpu(v)->lapic;
	struct x86_lapic_regs regs;

	if (!irqchip || !irqchip->set_lapic) {
		lapic_resume(l);
		return 0;
	}
	lapic_get_regs(l, &regs);
	/* From here on it is the engine's: nothing of ours is due or pending. */
	lapic_timer_stop(l);
	vcpu_clear(v, VCPU_EV_INTR);
	return irqchip->set_lapic(v, &regs, e);
}

static int push_clock(struct x86_board *b, struct err *e)
{
	const struct accel_ops *accel = b->vm->accel;
	uint64_t tsc = host_tsc();

	if (accel->set_clock)
		return accel->set_clock(b->vm, pv_vm_clock(&b->pv, tsc, b->vm->tsc_khz), tsc, e);
	for (unsigned i = 0; i < b->vm->nr_vcpus; i++)
		pv_resume(b->vm->vcpus[i]);
	return 0;
}

int arch_state_push(struct vm *vm, struct err *e)
{
	struct x86_board *b = x86_board(vm);
	int r = push_clock(b, e);

	for (unsigned i = 0; i < vm->nr_vcpus && !r; i++)
		r = push_lapic(vm->vcpus[i], e);
	/* Last: what the IOAPIC has to send goes to the local APICs. */
	return r ? r : push_chips(b, e);
}

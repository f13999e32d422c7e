/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State of KVM's interrupt controllers and of its paravirtual clock, to and from what belongs to no
 * implementation (isa/x86/irqchip.h); power-on states. Control thread, vCPUs at a stand. Source:
 * api.rst 4.27 and 4.28 (IOAPIC, PICs), 4.29 and 4.30 (clock), 4.57 and 4.58 (local APIC); Intel
 * SDM vol. 3, 11.4.7.1 (a local APIC after power-on).
 */
#include "base/base.h"
#include "accel/kvm/kvm_int.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "isa/x86/irqchip.h"
#include "isa/x86/x86.h"

/* #syscalls control vcpu: ioctl(KVM_GET_CLOCK) ioctl(KVM_GET_IRQCHIP) ioctl(KVM_GET_LAPIC)
 * ioctl(KVM_SET_CLOCK) ioctl(KVM_SET_IRQCHIP) ioctl(KVM_SET_LAPIC) */

#define REDIR_MASKED  BIT64(16)
#define REDIR_LEVEL   BIT64(15)
#define LVT_MASKED    BIT32(16)
#define LVT_EXTINT    0x700u
#define LAPIC_VERSION 0x50014u

/* Registers of the local APIC by number. */
enum { ID = 0x02, VERSION = 0x03, DFR = 0x0e, SVR = 0x0f, LVT = 0x32, LVT_LINT0 = 0x35 };
#define LVT_NR 6u

/* ---- IOAPIC and PICs ---- */

static int get_chip(struct kvm_vm *kv, uint32_t id, struct kvm_irqchip *chip)
{
	*chip = (struct kvm_irqchip){ .chip_id = id };
	return kvm_ioctl(kv->fd, KVM_GET_IRQCHIP, chip);
}

static void ioapic_from(const struct kvm_ioapic_state *k, struct x86_ioapic_regs *r)
{
	*r = (struct x86_ioapic_regs){ .select = (uint8_t)k->ioregsel, .id = (uint8_t)k->id };
	for (unsigned i = 0; i < X86_IOAPIC_PINS; i++)
		r->redir[i] = k->redirtbl[i].bits;
}

static void ioapic_to(const struct x86_ioapic_regs *r, struct kvm_ioapic_state *k)
{
	k->ioregsel = r->select;
	k->id = r->id;
	k->irr = 0;
	for (unsigned i = 0; i < X86_IOAPIC_PINS; i++) {
		k->redirtbl[i].bits = r->redir[i];
		if (r->redir[i] & REDIR_LEVEL)
			k->irr |= r->line & BIT32(i);
	}
}

/* KVM counts from 1 what we call by the word's number: it waits for ICW2, 3 or 4. */
static void pic_from(const struct kvm_pic_state *k, struct x86_pic_regs *r)
{
	*r = (struct x86_pic_regs){
		.line = k->last_irr,
		.irr = k->irr,
		.imr = k->imr,
		.isr = k->isr,
		.elcr = k->elcr,
		.priority_add = k->priority_add & 7,
		.vector_base = k->irq_base,
		.init_state = k->init_state ? (uint8_t)((k->init_state & 3) + 1) : 0,
		.init4 = k->init4,
		.read_isr = k->read_reg_select,
		.poll = k->poll,
		.special_mask = k->special_mask,
		.auto_eoi = k->auto_eoi,
		.rotate_on_auto_eoi = k->rotate_on_auto_eoi,
		.special_fully_nested = k->special_fully_nested_mode,
	};
}

static void pic_to(const struct x86_pic_regs *r, bool slave, struct kvm_pic_state *k)
{
	*k = (struct kvm_pic_state){
		.last_irr = r->line,
		.irr = r->irr,
		.imr = r->imr,
		.isr = r->isr,
		.elcr = r->elcr,
		.elcr_mask = slave ? 0xde : 0xf8,
		.priority_add = r->priority_add,
		.irq_base = r->vector_base,
		.init_state = r->init_state ? (uint8_t)(r->init_state - 1) : 0,
		.init4 = r->init4,
		.read_reg_select = r->read_isr,
		.poll = r->poll,
		.special_mask = r->special_mask,
		.auto_eoi = r->auto_eoi,
		.rotate_on_auto_eoi = r->rotate_on_auto_eoi,
		.special_fully_nested_mode = r->special_fully_nested,
	};
}

int kvm_chips_get(struct vm *vm, struct x86_chips *c)
{
	struct kvm_vm *kv = vm->accel_state;
	struct kvm_irqchip chip;
	int r;

	for (uint32_t id = KVM_IRQCHIP_PIC_MASTER; id <= KVM_IRQCHIP_IOAPIC; id++) {
		r = get_chip(kv, id, &chip);
		if (r < 0)
			return r;
		if (id == KVM_IRQCHIP_IOAPIC)
			ioapic_from(&chip.chip.ioapic, &c->ioapic);
		else
			pic_from(&chip.chip.pic, &c->pic[id]);
	}
	return 0;
}

static int write_chips(struct kvm_vm *kv, const struct x86_chips *c, struct err *e)
{
	static const char *const names[] = { "the first PIC", "the second PIC", "the IOAPIC" };
	struct kvm_irqchip chip;

	for (uint32_t id = KVM_IRQCHIP_PIC_MASTER; id <= KVM_IRQCHIP_IOAPIC; id++) {
		int r = get_chip(kv, id, &chip);

		if (r >= 0) {
			if (id == KVM_IRQCHIP_IOAPIC)
				ioapic_to(&c->ioapic, &chip.chip.ioapic);
			else
				pic_to(&c->pic[id], id == KVM_IRQCHIP_PIC_SLAVE, &chip.chip.pic);
			r = kvm_ioctl(kv->fd, KVM_SET_IRQCHIP, &chip);
		}
		if (r < 0)
			return err_set_errno(e, -r, "KVM does not take the state of %s (%s)",
					     names[id], "KVM_SET_IRQCHIP");
	}
	return 0;
}

static struct x86_chips power_on(void)
{
	struct x86_chips c = { .pic = { { .imr = 0 }, { .imr = 0 } } };

	for (unsigned i = 0; i < X86_IOAPIC_PINS; i++)
		c.ioapic.redir[i] = REDIR_MASKED;
	return c;
}

/* The lines go up while everything is masked, and the latches are set behind that. */
int kvm_chips_set(struct vm *vm, const struct x86_chips *c, struct err *e)
{
	struct kvm_vm *kv = vm->accel_state;
	struct x86_chips quiet = power_on();
	int r;

	atomic_store(&kv->begun, true);
	quiet.pic[0].imr = quiet.pic[1].imr = 0xff;
	r = write_chips(kv, &quiet, e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < X86_IOAPIC_PINS; i++)
		vm->irqchip->set_ioapic(vm, i, c->ioapic.line >> i & 1);
	for (unsigned i = 0; i < 16; i++)
		if (i != 2)
			vm->irqchip->set_pic(vm, i, c->pic[i / 8].line >> (i & 7) & 1);
	return write_chips(kv, c, e);
}

void kvm_chips_set_elcr(struct vm *vm, uint16_t levels)
{
	struct kvm_vm *kv = vm->accel_state;
	struct kvm_irqchip chip;

	for (uint32_t id = KVM_IRQCHIP_PIC_MASTER; id <= KVM_IRQCHIP_PIC_SLAVE; id++) {
		if (get_chip(kv, id, &chip) < 0)
			continue;
		chip.chip.pic.elcr = (uint8_t)(levels >> (id == KVM_IRQCHIP_PIC_SLAVE ? 8 : 0));
		kvm_ioctl(kv->fd, KVM_SET_IRQCHIP, &chip);
	}
}

/* ---- local APICs ---- */

static int one_msr(struct kvm_vcpu *c, unsigned long request, uint32_t msr, uint64_t *val)
{
	autofree struct kvm_msrs *m = xcalloc(1, sizeof(*m) + sizeof(m->entries[0]));
	int r;

	m->nmsrs = 1;
	m->entries[0] = (struct kvm_msr_entry){ .index = msr, .data = *val };
	r = kvm_ioctl(c->fd, request, m);
	*val = m->entries[0].data;
	return r == 1 ? 0 : r < 0 ? r : -ENOENT;
}

/* A CPU model without the deadline timer has none that is armed. */
static void get_deadline(struct kvm_vcpu *c, uint64_t *deadline)
{
	*deadline = 0;
	if (one_msr(c, KVM_GET_MSRS, MSR_TSC_DEADLINE, deadline))
		*deadline = 0;
}

int kvm_lapic_get(struct vcpu *v, struct x86_lapic_regs *regs)
{
	struct kvm_vcpu *c = kvm_vcpu(v);
	struct kvm_lapic_state s = { .regs = { 0 } };
	int r = kvm_ioctl(c->fd, KVM_GET_LAPIC, &s);

	if (r < 0)
		return r;
	regs->apic_base = 0;
	r = one_msr(c, KVM_GET_MSRS, MSR_APIC_BASE, &regs->apic_base);
	if (r < 0)
		return r;
	get_deadline(c, &regs->tsc_deadline);
	for (unsigned i = 0; i < X86_LAPIC_REGS; i++)
		regs->reg[i] = ld_le32((const uint8_t *)s.regs + 16 * i);
	return 0;
}

/* The mode first, as the registers mean what it says; the deadline last, as they switch it on. */
int kvm_lapic_set(struct vcpu *v, const struct x86_lapic_regs *regs, struct err *e)
{
	struct kvm_vcpu *c = kvm_vcpu(v);
	struct kvm_lapic_state s = { .regs = { 0 } };
	uint64_t base = regs->apic_base, deadline = regs->tsc_deadline;
	int r = one_msr(c, KVM_SET_MSRS, MSR_APIC_BASE, &base);

	atomic_store(&c->kv->begun, true);
	if (r < 0)
		return err_set(e, EINVAL,
			       "KVM does not take %#" PRIx64 " as the base of vCPU %u's local "
			       "APIC: CPU model '%s' may lack its mode (x2apic)",
			       regs->apic_base, v->index, c->kv->model.name);
	for (unsigned i = 0; i < X86_LAPIC_REGS; i++)
		st_le32((uint8_t *)s.regs + 16 * i, regs->reg[i]);
	st_le32((uint8_t *)s.regs + 16 * ID, v->apic_id << 24);
	st_le32((uint8_t *)s.regs + 16 * VERSION, LAPIC_VERSION);
	r = kvm_ioctl(c->fd, KVM_SET_LAPIC, &s);
	if (r < 0)
		return err_set_errno(e, -r,
				     "KVM does not take the local APIC of vCPU %u "
				     "(KVM_SET_LAPIC)",
				     v->index);
	if (deadline && one_msr(c, KVM_SET_MSRS, MSR_TSC_DEADLINE, &deadline))
		return err_set(e, EINVAL,
			       "vCPU %u has a TSC deadline, which KVM does not offer with CPU "
			       "model '%s' (tsc-deadline)",
			       v->index, c->kv->model.name);
	return 0;
}

/* LINT0 of the boot processor as firmware leaves it for an OS that uses the PIC: virtual wire. */
static void reset_lapic(struct vcpu *v)
{
	struct kvm_lapic_state s = { .regs = { 0 } };
	uint8_t *regs = (uint8_t *)s.regs;

	st_le32(regs + 16 * ID, v->apic_id << 24);
	st_le32(regs + 16 * VERSION, LAPIC_VERSION);
	st_le32(regs + 16 * DFR, UINT32_MAX);
	st_le32(regs + 16 * SVR, 0xff);
	for (unsigned i = 0; i < LVT_NR; i++)
		st_le32(regs + 16 * (LVT + i), LVT_MASKED);
	if (v->index == 0)
		st_le32(regs + 16 * LVT_LINT0, LVT_EXTINT);
	kvm_ioctl(kvm_vcpu(v)->fd, KVM_SET_LAPIC, &s);
}

void kvm_irqchip_reset(struct vm *vm)
{
	struct kvm_vm *kv = vm->accel_state;
	struct x86_chips c = power_on();
	struct err e = { 0 };

	if (!atomic_load(&kv->begun))
		return; /* so KVM has made them */
	if (!kv->split && write_chips(kv, &c, &e) < 0)
		log_error("machine reset: %s", e.msg);
	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		reset_lapic(vm->vcpus[i]);
}

/* ---- the paravirtual clock ---- */

/*
 * The clock and the host's TSC are read one after the other, and so it is with setting. When the
 * thread lost its processor in between, the guest would find its clock apart from its TSC, and
 * Linux gives up the TSC for less than 100 ms: so it is done again.
 */
#define CLOCK_TRIES 16

static bool close_enough(const struct vm *vm, uint64_t ticks)
{
	return ticks < vm->tsc_khz / 8; /* of a millisecond */
}

int kvm_get_clock(struct vm *vm, uint64_t *ns, uint64_t *tsc)
{
	const struct kvm_vm *kv = vm->accel_state;
	uint64_t best = UINT64_MAX;

	*ns = *tsc = 0;
	for (int i = 0; i < CLOCK_TRIES && !close_enough(vm, best); i++) {
		struct kvm_clock_data data = { .clock = 0 };
		uint64_t before = host_tsc(), took;
		int r = kvm_ioctl(kv->fd, KVM_GET_CLOCK, &data);

		if (r < 0)
			return r;
		took = host_tsc() - before;
		if (took >= best)
			continue;
		best = took;
		*ns = data.clock;
		*tsc = before + took / 2;
	}
	return 0;
}

int kvm_set_clock(struct vm *vm, uint64_t ns, uint64_t tsc, struct err *e)
{
	struct kvm_vm *kv = vm->accel_state;
	uint64_t took = UINT64_MAX;

	atomic_store(&kv->begun, true);
	for (int i = 0; i < CLOCK_TRIES && !close_enough(vm, took); i++) {
		uint64_t now = host_tsc();
		struct kvm_clock_data data = { .clock = ns + mul_div_u64(now - tsc, 1000000,
									 vm->tsc_khz) };
		int r = kvm_ioctl(kv->fd, KVM_SET_CLOCK, &data);

		if (r < 0)
			return err_set_errno(e, -r,
					     "KVM does not set the guests' clock to %llu ns "
					     "(KVM_SET_CLOCK)",
					     data.clock);
		took = host_tsc() - now;
	}
	return 0;
}

/* ---- while the machine stands still ---- */

/*
 * The guest's TSC goes on where it stood, and with it the deadline that KVM has for it, which is
 * set again: KVM's timer for it runs on the host's clock, and may even have ended meanwhile. A
 * count of the local APIC's timer runs on; its guest finds it early, and looks at its clock.
 */
static void hold_tsc(struct kvm_vcpu *c, uint64_t tsc)
{
	uint64_t offset, deadline;

	if (kvm_tsc_offset(c, KVM_GET_DEVICE_ATTR, &offset) < 0)
		return;
	offset -= tsc;
	if (kvm_tsc_offset(c, KVM_SET_DEVICE_ATTR, &offset) < 0)
		return;
	atomic_store(&c->vcpu->tsc_offset, offset);
	if (!c->kv->irqchip)
		return;
	get_deadline(c, &deadline);
	if (deadline)
		(void)one_msr(c, KVM_SET_MSRS, MSR_TSC_DEADLINE, &deadline);
}

void kvm_hold_time(struct vm *vm, uint64_t ns, uint64_t tsc)
{
	const struct kvm_vm *kv = vm->accel_state;
	struct err e = { 0 };
	uint64_t clock, at;

	/*
	 * On hosts that do not let us move the TSC, one clock that stands still is worse than none.
	 * And before its first instruction no guest has seen the time.
	 */
	if (!kv->has_tsc_offset || !atomic_load(&kv->begun))
		return;
	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpus[i]->engine)
			hold_tsc(kvm_vcpu(vm->vcpus[i]), tsc);
	if (kvm_get_clock(vm, &clock, &at) < 0 || kvm_set_clock(vm, clock - ns, at, &e) < 0)
		log_warn("the guest's clock (kvm-clock) ran on while the guest stood still");
}

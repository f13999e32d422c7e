/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between local APICs, IOAPIC and devices: who is addressed, and what arrives.
 * Intel SDM vol. 3, 10.6. Any thread, no locks: see lapic.h.
 */
#include "base/base.h"
#include "base/trace.h"
#include "arch/x86/lapic.h"

#define SVR_ENABLE	   0x100u
#define ICR_LOGICAL	   0x800u
#define ICR_ASSERT	   0x4000u
#define ICR_LEVEL	   0x8000u
#define ICR_SHORTHAND	   0xc0000u
#define ICR_SHORTHAND_SELF 0x40000u
#define ICR_SHORTHAND_ALL  0x80000u
#define ESR_SEND_ILLEGAL   0x20u
#define ESR_RECV_ILLEGAL   0x40u

static bool hw_enabled(const struct lapic *l)
{
	return APIC_LOAD(l->apic_base) & APIC_BASE_ENABLE;
}

static bool accepts(const struct lapic *l)
{
	return hw_enabled(l) && (APIC_LOAD(l->svr) & SVR_ENABLE) &&
	       !__atomic_load_n(&l->init_pending, __ATOMIC_ACQUIRE);
}

static bool deliver_fixed(struct lapic *l, unsigned vector, bool level)
{
	uint32_t bit = BIT32(vector % 32);

	if (!accepts(l))
		return false;
	if (vector < 16) {
		lapic_error(l, ESR_RECV_ILLEGAL);
		return false;
	}
	if (level)
		__atomic_fetch_or(&l->tmr[vector / 32], bit, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&l->tmr[vector / 32], ~bit, __ATOMIC_RELAXED);
	__atomic_fetch_or(&l->irr[vector / 32], bit, __ATOMIC_RELEASE);
	vcpu_kick(l->vcpu, VCPU_EV_INTR);
	return true;
}

bool lapic_deliver(struct lapic *l, unsigned mode, unsigned vector, bool level)
{
	switch (mode) {
	case APIC_DM_FIXED:
	case APIC_DM_LOWEST:
		return deliver_fixed(l, vector & 0xff, level);
	case APIC_DM_SMI:
		vcpu_kick(l->vcpu, VCPU_EV_SMI);
		return true;
	case APIC_DM_NMI:
		vcpu_kick(l->vcpu, VCPU_EV_NMI);
		return true;
	case APIC_DM_INIT:
		vcpu_clear(l->vcpu, VCPU_EV_SIPI);
		__atomic_store_n(&l->init_pending, 1, __ATOMIC_RELEASE);
		vcpu_kick(l->vcpu, VCPU_EV_INIT);
		return true;
	case APIC_DM_STARTUP:
		atomic_store(&l->vcpu->sipi_vector, vector & 0xff);
		vcpu_kick(l->vcpu, VCPU_EV_SIPI);
		return true;
	case APIC_DM_EXTINT:
		__atomic_fetch_or(&l->lint0, LINT0_MSG, __ATOMIC_ACQ_REL);
		vcpu_kick(l->vcpu, VCPU_EV_INTR);
		return true;
	default:
		return false;
	}
}

void lapic_error(struct lapic *l, uint32_t bit)
{
	uint32_t lvt = APIC_LOAD(l->lvt[LAPIC_LVT_ERROR - LAPIC_LVT_TIMER]);

	__atomic_fetch_or(&l->esr, bit, __ATOMIC_RELAXED);
	if (lvt & LVT_MASKED)
		return;
	if ((lvt & LVT_VECTOR) < 16) /* not again from here: that would be for ever */
		__atomic_fetch_or(&l->esr, ESR_RECV_ILLEGAL, __ATOMIC_RELAXED);
	else
		deliver_fixed(l, lvt & LVT_VECTOR, false);
}

static bool match_logical(const struct lapic *l, uint32_t dest)
{
	uint32_t ldr = APIC_LOAD(l->ldr);

	if (lapic_is_x2apic(l))
		return ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff);
	if (dest > 0xff)
		return false;
	ldr >>= 24;
	if (APIC_LOAD(l->dfr) >> 28 == 0xf)
		return ldr & dest; /* flat */
	if (dest >> 4 != 0xf && dest >> 4 != ldr >> 4)
		return false;
	return ldr & dest & 0xf; /* cluster */
}

static bool match(const struct lapic *l, const struct apic_msg *m)
{
	if (!hw_enabled(l))
		return false;
	if (m->dest == APIC_DEST_ALL)
		return true;
	return m->logical ? match_logical(l, m->dest) : l->vcpu->apic_id == m->dest;
}

struct lapic *apic_bus_find(struct apic_bus *bus, uint32_t apic_id)
{
	for (unsigned i = 0; i < bus->n; i++)
		if (bus->lapic[i]->vcpu->apic_id == apic_id)
			return bus->lapic[i];
	return NULL;
}

/* Of those addressed, one with the lowest task priority; equals take turns. */
static unsigned send_lowest(struct apic_bus *bus, const struct apic_msg *m)
{
	unsigned start = __atomic_fetch_add(&bus->turn, 1, __ATOMIC_RELAXED);
	struct lapic *best = NULL;
	uint32_t best_tpr = UINT32_MAX;

	for (unsigned i = 0; i < bus->n; i++) {
		struct lapic *l = bus->lapic[(start + i) % bus->n];
		uint32_t tpr = APIC_LOAD(l->tpr);

		if (match(l, m) && accepts(l) && tpr < best_tpr) {
			best = l;
			best_tpr = tpr;
		}
	}
	return best && lapic_deliver(best, APIC_DM_FIXED, m->vector, m->level);
}

unsigned apic_bus_send(struct apic_bus *bus, const struct apic_msg *m)
{
	unsigned n = 0;

	trace_apic_deliver_irq(m->dest, m->logical, m->mode, m->vector, m->level);
	if (m->mode == APIC_DM_INIT && m->deassert)
		return 0; /* sets arbitration ids, nothing since the P4 */
	if (m->mode == APIC_DM_LOWEST)
		return send_lowest(bus, m);
	for (unsigned i = 0; i < bus->n; i++)
		if (match(bus->lapic[i], m))
			n += lapic_deliver(bus->lapic[i], m->mode, m->vector, m->level);
	return n;
}

static void send_shorthand(struct lapic *from, const struct apic_msg *m, bool self_too)
{
	struct apic_bus *bus = from->bus;

	for (unsigned i = 0; i < bus->n; i++)
		if ((bus->lapic[i] != from || self_too) && hw_enabled(bus->lapic[i]))
			lapic_deliver(bus->lapic[i], m->mode, m->vector, m->level);
}

void apic_bus_icr(struct lapic *l, uint32_t low, uint32_t dest)
{
	struct apic_msg m = {
		.dest = dest,
		.vector = low & 0xff,
		.mode = low >> 8 & 7,
		.logical = low & ICR_LOGICAL,
		/* Only INIT knows level; other IPIs are edges on today's processors. */
		.level = false,
		.deassert = (low & ICR_LEVEL) && !(low & ICR_ASSERT),
	};
	uint32_t shorthand = low & ICR_SHORTHAND;

	if (m.mode == APIC_DM_RESERVED || m.mode == APIC_DM_EXTINT)
		return;
	if ((m.mode == APIC_DM_FIXED || m.mode == APIC_DM_LOWEST) && m.vector < 16) {
		lapic_error(l, ESR_SEND_ILLEGAL);
		return;
	}
	if (m.mode == APIC_DM_INIT && m.deassert)
		return;
	if (shorthand == ICR_SHORTHAND_SELF) {
		if (m.mode == APIC_DM_FIXED)
			lapic_deliver(l, m.mode, m.vector, false);
		return;
	}
	if (shorthand) {
		send_shorthand(l, &m, shorthand == ICR_SHORTHAND_ALL);
		return;
	}
	if (!lapic_is_x2apic(l) && dest == 0xff)
		m.dest = APIC_DEST_ALL;
	apic_bus_send(l->bus, &m);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt lines of the q35 board: ISA lines, PCI pins through PIRQs, and messages.
 * ICH9 datasheet 5.9 and 13.1 (PIRQx_ROUT); Intel SDM vol. 3, 10.11 (MSI).
 *
 * Threads: any; one lock around the counting, then PIC and IOAPIC under theirs.
 */
#include "base/base.h"
#include "base/trace.h"
#include "arch/x86/board.h"
#include "core/accel.h"

#define PIRQ_OFF 0x80u

void gsi_init(struct x86_board *b)
{
	pthread_mutex_init(&b->gsi.lock, NULL);
	for (unsigned i = 0; i < X86_NR_PIRQ; i++)
		b->gsi.pirq_route[i] = PIRQ_OFF;
}

static bool pirq_up(const struct x86_gsi *g, unsigned pirq)
{
	return g->pirq_sources[pirq];
}

static void ioapic_pin(struct x86_board *b, unsigned pin, bool level)
{
	if (b->vm->irqchip && b->vm->irqchip->set_ioapic)
		b->vm->irqchip->set_ioapic(b->vm, pin, level);
	else if (b->ioapic)
		ioapic_dev_set(b->ioapic, pin, level);
}

/* The engine has a PIC even for a board without one. */
static void pic_line(struct x86_board *b, unsigned n, bool level)
{
	if (!b->pic)
		return;
	if (b->vm->irqchip && b->vm->irqchip->set_pic)
		b->vm->irqchip->set_pic(b->vm, n, level);
	else
		pic_dev_set(b->pic, n, level);
}

/* Under the lock: what the PIC's input n should see. */
static void update_pic(struct x86_board *b, unsigned n)
{
	struct x86_gsi *g = &b->gsi;
	bool level = g->sources[n];

	for (unsigned i = 0; i < X86_NR_PIRQ; i++)
		if (g->pirq_route[i] == n && pirq_up(g, i))
			level = true;
	if (level == (g->pic_level >> n & 1))
		return;
	g->pic_level = (uint16_t)(g->pic_level ^ 1u << n);
	pic_line(b, n, level);
}

static bool gsi_up(const struct x86_gsi *g, unsigned gsi)
{
	return g->sources[gsi] || (gsi >= GSI_PIRQ && pirq_up(g, gsi - GSI_PIRQ));
}

static void set_gsi(void *opaque, int n, int level)
{
	struct x86_board *b = opaque;
	struct x86_gsi *g = &b->gsi;
	unsigned gsi = (unsigned)n & 31, source = (unsigned)n >> 5 & 31;
	bool was;

	pthread_mutex_lock(&g->lock);
	was = gsi_up(g, gsi);
	if (level)
		g->sources[gsi] |= BIT32(source);
	else
		g->sources[gsi] &= ~BIT32(source);
	if (gsi < GSI_PIRQ)
		update_pic(b, gsi);
	if (was != gsi_up(g, gsi)) {
		trace_x86_gsi_interrupt(gsi, !was);
		ioapic_pin(b, gsi ? gsi : GSI_PIT_PIN, !was);
	}
	g->raised[gsi] += !was && level;
	pthread_mutex_unlock(&g->lock);
}

struct irq gsi_line(struct x86_board *b, unsigned gsi)
{
	unsigned source = b->next_source++ & 31;

	return (struct irq){ .set = set_gsi,
			     .opaque = b,
			     .n = (int)(source << 5 | gsi % X86_NR_GSI) };
}

unsigned gsi_pci_pirq(unsigned slot, unsigned pin)
{
	/* Slots 0 to 24 take PIRQ E to H in turns; the chipset's own from 25 on A to D. */
	return ((slot + pin) & 3) + (slot < 25 ? 4 : 0);
}

void gsi_pci_intx(void *opaque, uint8_t devfn, unsigned pin, int level)
{
	struct x86_board *b = opaque;
	struct x86_gsi *g = &b->gsi;
	unsigned pirq = gsi_pci_pirq(devfn >> 3, pin & 3);
	uint8_t bit = (uint8_t)(1u << (pin & 3));
	bool was;

	pthread_mutex_lock(&g->lock);
	if (!level == !(g->pin_level[devfn] & bit)) {
		pthread_mutex_unlock(&g->lock);
		return;
	}
	was = gsi_up(g, GSI_PIRQ + pirq);
	g->pin_level[devfn] ^= bit;
	g->pirq_sources[pirq] = (uint16_t)(g->pirq_sources[pirq] + (level ? 1 : -1));
	if (g->pirq_route[pirq] < 16)
		update_pic(b, g->pirq_route[pirq]);
	if (gsi_up(g, GSI_PIRQ + pirq) != was) {
		trace_x86_gsi_interrupt(GSI_PIRQ + pirq, !was);
		ioapic_pin(b, GSI_PIRQ + pirq, !was);
	}
	g->raised[GSI_PIRQ + pirq] += !was && level;
	pthread_mutex_unlock(&g->lock);
}

void gsi_set_pirq_route(struct x86_board *b, unsigned pirq, uint8_t route)
{
	struct x86_gsi *g = &b->gsi;
	uint8_t old;

	pthread_mutex_lock(&g->lock);
	old = g->pirq_route[pirq];
	/* 0, 1, 2, 8 and 13 are reserved: no routing, as with the enable bit set. */
	if ((route & PIRQ_OFF) || !(0xdef8u >> (route & 15) & 1))
		route = PIRQ_OFF;
	else
		route &= 15;
	g->pirq_route[pirq] = route;
	if (old < 16)
		update_pic(b, old);
	if (route < 16)
		update_pic(b, route);
	pthread_mutex_unlock(&g->lock);
}

void gsi_set_elcr(struct x86_board *b, uint16_t levels)
{
	if (b->vm->irqchip && b->vm->irqchip->set_elcr)
		b->vm->irqchip->set_elcr(b->vm, levels);
	else
		pic_dev_set_elcr(b->pic, levels);
}

void x86_msi_send(void *opaque, const struct msi *msi)
{
	struct x86_board *b = opaque;
	uint32_t dest = msi->addr >> 12 & 0xff;
	struct apic_msg m = {
		.dest = dest == 0xff ? APIC_DEST_ALL : dest,
		.vector = msi->data & 0xff,
		.mode = msi->data >> 8 & 7,
		.logical = msi->addr >> 2 & 1,
		/* Level-triggered messages exist for bridges of lines only: an edge each time. */
		.level = false,
	};

	if (msi->addr >> 20 != 0xfee)
		return; /* a memory write like any other: devices may not DMA by interrupt */
	if (b->vm->irqchip) {
		b->vm->irqchip->send_msi(b->vm, msi);
		return;
	}
	apic_bus_send(&b->bus, &m);
}

static int gsi_check(void *obj, struct err *e)
{
	struct x86_gsi *g = obj;
	unsigned count[X86_NR_PIRQ] = { 0 };

	for (unsigned i = 0; i < 256 * 4; i++)
		if (g->pin_level[i / 4] >> (i & 3) & 1)
			count[gsi_pci_pirq(i / 4 >> 3, i & 3)]++;
	for (unsigned i = 0; i < X86_NR_PIRQ; i++)
		if (count[i] != g->pirq_sources[i] ||
		    (g->pirq_route[i] > 15 && g->pirq_route[i] != PIRQ_OFF))
			return err_set(e, EINVAL, "gsi: PIRQ%c does not fit its pins",
				       'A' + (int)i);
	return 0;
}

/* The sources set their lines again when they are loaded; what is kept is what they last said. */
#define S struct x86_gsi
const struct state_desc x86_gsi_state = {
	.name = "gsi",
	.struct_name = "x86_gsi",
	.version = 1,
	.post_load = gsi_check,
	.fields = (const struct state_field[]){ ST_HOST(S, lock), ST_U32A(S, sources),
						ST_U16A(S, pirq_sources), ST_U8A(S, pin_level),
						ST_U8A(S, pirq_route), ST_U16(S, pic_level),
						ST_HOST(S, raised), ST_END },
};
#undef S

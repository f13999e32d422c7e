/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a firmware does to the PCI tree before it starts a kernel: bus numbers, windows of bridges,
 * addresses. PCI-to-PCI Bridge Architecture 1.2 section 3.2.5; PCI Firmware 3.2.
 *
 * Two walks. measure() goes from the leaves up: how much of each kind a bus needs, packed with the
 * coarsest alignment first. place_bus() goes down and carves that out of what is above.
 *
 * Threads: the control thread, no vCPU runs. State: none but the configuration spaces.
 */
#include "base/base.h"
#include "pci/pci_int.h"

/* WIDE: where 64-bit addresses may go; below a bridge, its prefetchable window. */
enum kind { IO, MEM, WIDE, KINDS = PCI_BRIDGE_WINDOWS };

static const uint64_t granule[KINDS] = { [IO] = 4096, [MEM] = MIB(1), [WIDE] = MIB(1) };

/* What is left of a window. */
struct room {
	uint64_t at, left;
};

/* Something that needs addresses: BAR n of d, or with n < 0 d's window of that kind. */
struct item {
	struct pci_dev *d;
	int n;
	enum kind kind;
	uint64_t size, align;
};

#define MAX_ITEMS (256 * (PCI_NR_BARS + KINDS))

/* ---- bus numbers ---- */

static int number_buses(struct pci_bus *bus, unsigned *next, struct err *e)
{
	unsigned nr = *next;

	for (unsigned devfn = 0; devfn < 256; devfn++) {
		struct pci_dev *d = bus->dev[devfn];
		int ret;

		if (!d || !d->secondary)
			continue;
		if (++*next > 255)
			return err_set(e, ENOSPC,
				       "%s: there are more than 255 PCI buses; use"
				       " fewer ports",
				       d->d.path);
		d->cfg[PCI_PRIMARY_BUS] = (uint8_t)nr;
		d->cfg[PCI_SECONDARY_BUS] = (uint8_t)*next;
		d->cfg[PCI_SUBORDINATE_BUS] = 255;
		ret = number_buses(d->secondary, next, e);
		if (ret < 0)
			return ret;
		d->cfg[PCI_SUBORDINATE_BUS] = (uint8_t)*next;
	}
	return 0;
}

/* ---- sizes ---- */

static enum kind bar_kind(const struct pci_bus *bus, const struct pci_bar *b)
{
	if (b->kind == PCI_BAR_IO)
		return IO;
	return b->kind == PCI_BAR_MEM64 && (b->prefetch || !bus->above) ? WIDE : MEM;
}

static size_t collect(const struct pci_bus *bus, struct item *list)
{
	size_t count = 0;

	for (unsigned devfn = 0; devfn < 8 * bus->nr_slots; devfn++) {
		struct pci_dev *d = bus->dev[devfn];

		for (unsigned n = 0; d && n < pci_nr_bars(d); n++) {
			const struct pci_bar *b = &d->bar[n];

			if (b->kind != PCI_BAR_NONE)
				list[count++] = (struct item){ d, (int)n, bar_kind(bus, b), b->size,
							       b->size };
		}
		for (unsigned k = 0; d && d->secondary && k < KINDS; k++) {
			const struct pci_span *need = &d->secondary->need[k];

			if (need->size)
				list[count++] = (struct item){ d, -1, k, need->size, need->align };
		}
	}
	return count;
}

/* Those that can go above 4 GiB come last: they must not take the room of the others. */
static int compare(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if ((x->kind == WIDE) != (y->kind == WIDE))
		return x->kind == WIDE ? 1 : -1;
	if (x->align != y->align)
		return x->align < y->align ? 1 : -1;
	if (x->d->devfn != y->d->devfn)
		return x->d->devfn < y->d->devfn ? -1 : 1;
	return x->n < y->n ? -1 : x->n > y->n;
}

static bool carve(struct room *r, const struct item *i, uint64_t *out)
{
	uint64_t at = align_up(r->at, i->align), skip = at - r->at;

	if (at < r->at || r->left < skip || r->left - skip < i->size)
		return false;
	r->left -= skip + i->size;
	r->at = at + i->size;
	*out = at;
	return true;
}

static size_t sorted(const struct pci_bus *bus, struct item *list)
{
	size_t count = collect(bus, list);

	qsort(list, count, sizeof(*list), compare);
	return count;
}

static void measure(struct pci_bus *bus, struct item *list)
{
	struct room r[KINDS];
	size_t count;

	for (struct pci_bus *b = bus->child; b; b = b->sibling)
		measure(b, list);
	for (unsigned k = 0; k < KINDS; k++) {
		r[k] = (struct room){ 0, UINT64_MAX };
		bus->need[k] = (struct pci_span){ .align = granule[k] };
	}
	count = sorted(bus, list);
	for (size_t i = 0; i < count; i++) {
		struct pci_span *need = &bus->need[list[i].kind];
		uint64_t at;

		(void)carve(&r[list[i].kind], &list[i], &at);
		need->align = MAX(need->align, list[i].align);
		need->size = align_up(r[list[i].kind].at, granule[list[i].kind]);
	}
}

/* ---- places ---- */

static void set_bar(struct pci_dev *d, unsigned n, uint64_t addr)
{
	uint8_t *at = d->cfg + PCI_BAR0 + 4 * n;

	st_le32(at, (uint32_t)addr | pci_bar_flags(&d->bar[n]));
	if (d->bar[n].kind == PCI_BAR_MEM64)
		st_le32(at + 4, (uint32_t)(addr >> 32));
}

static void set_window(struct pci_dev *d, enum kind k, uint64_t base, uint64_t size)
{
	uint64_t limit = base + size - 1;
	uint8_t *c = d->cfg;

	switch (k) {
	case IO:
		c[PCI_IO_BASE] = (uint8_t)(base >> 8 & 0xf0);
		c[PCI_IO_BASE + 1] = (uint8_t)(limit >> 8 & 0xf0);
		break;
	case MEM:
		st_le16(c + PCI_MEM_BASE, (uint16_t)(base >> 16 & 0xfff0));
		st_le16(c + PCI_MEM_BASE + 2, (uint16_t)(limit >> 16 & 0xfff0));
		break;
	default:
		st_le16(c + PCI_PREF_BASE, (uint16_t)((base >> 16 & 0xfff0) | 1));
		st_le16(c + PCI_PREF_BASE + 2, (uint16_t)((limit >> 16 & 0xfff0) | 1));
		st_le32(c + PCI_PREF_BASE_HIGH, (uint32_t)(base >> 32));
		st_le32(c + PCI_PREF_LIMIT_HIGH, (uint32_t)(limit >> 32));
		break;
	}
}

static bool place(struct room *r, const struct item *i, bool root, uint64_t *at)
{
	/* On bus 0 not above 4 GiB unless it must be: a 32-bit kernel could not reach it. */
	if (i->kind == WIDE && root && carve(&r[MEM], i, at))
		return true;
	return carve(&r[i->kind], i, at);
}

static int no_room(const struct item *i, struct err *e)
{
	autofree char *what = i->n < 0 ? xasprintf("the window to the bus below")
				       : xasprintf("BAR %d", i->n);

	return err_set(e, ENOSPC,
		       "%s: no room for %s (%" PRIu64 " bytes) in the PCI window; use fewer"
		       " devices or less memory",
		       i->d->d.path, what, i->size);
}

static int place_bus(struct pci_bus *bus, struct room *r, struct err *e)
{
	autofree struct item *list = xnew_n(struct item, MAX_ITEMS);
	size_t count = sorted(bus, list);
	int ret = 0;

	for (struct pci_bus *b = bus->child; b; b = b->sibling)
		pci_bridge_close(b->above);
	for (size_t k = 0; k < count; k++) {
		const struct item *i = &list[k];
		uint64_t at;

		if (!place(r, i, !bus->above, &at))
			return no_room(i, e);
		if (i->n >= 0) {
			set_bar(i->d, (unsigned)i->n, at);
			continue;
		}
		set_window(i->d, i->kind, at, i->size);
		i->d->secondary->need[i->kind].base = at;
	}
	for (struct pci_bus *b = bus->child; b && !ret; b = b->sibling) {
		struct room below[KINDS];

		for (unsigned k = 0; k < KINDS; k++)
			below[k] = (struct room){ b->need[k].base, b->need[k].size };
		ret = place_bus(b, below, e);
	}
	return ret;
}

/* Bridges before what is below them; through the front door, so that devices' own hooks see it. */
static void enable_all(struct pci_bus *root, struct pci_bus *bus)
{
	for (unsigned devfn = 0; devfn < 8 * bus->nr_slots; devfn++) {
		struct pci_dev *d = bus->dev[devfn];
		uint16_t on = PCI_COMMAND_MASTER;

		if (!d)
			continue;
		for (unsigned n = 0; n < pci_nr_bars(d); n++)
			if (d->bar[n].kind != PCI_BAR_NONE)
				on |= d->bar[n].kind == PCI_BAR_IO ? PCI_COMMAND_IO
								   : PCI_COMMAND_MEM;
		if (d->secondary)
			on |= PCI_COMMAND_IO | PCI_COMMAND_MEM;
		pci_cfg_write(root, pci_bus_number(bus), (uint8_t)devfn, PCI_COMMAND,
			      pci_command(d) | on, 2);
		if (d->secondary)
			enable_all(root, d->secondary);
	}
}

int pci_assign(struct pci_bus *bus, const struct pci_window *w, struct err *e)
{
	autofree struct item *list = xnew_n(struct item, MAX_ITEMS);
	struct room r[KINDS] = { [IO] = { w->io_base, w->io_size },
				 [MEM] = { w->mem32_base, w->mem32_size },
				 [WIDE] = { w->mem64_base, w->mem64_size } };
	unsigned last = 0;
	int ret = number_buses(bus, &last, e);

	if (ret < 0)
		return ret;
	measure(bus, list);
	ret = place_bus(bus, r, e);
	if (ret < 0)
		return ret;
	map_begin(bus->vm->map);
	enable_all(bus, bus);
	map_commit(bus->vm->map);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base address registers: sizing, mapping, and assignment when no firmware does it.
 * PCI Local Bus 3.0 section 6.2.5.
 *
 * A BAR is on the map while the command register enables its space and its value is an address
 * where it fits. BARs have less priority than the board's own regions and RAM, so a guest that
 * moves one over those only hides it.
 *
 * Threads: a guest moves BARs inside a configuration access, under the device's lock.
 */
#include "base/base.h"
#include "pci/pci_int.h"

#define BAR_PRIO      (-1)
#define PHYS_LAST     (BIT64(52) - 1)
#define MEM32_LAST    0xfffffffeull /* a BAR that reads all ones below its size is being sized */
#define MEM64_FLAG    0x4u
#define PREFETCH_FLAG 0x8u

static uint32_t bar_flags(const struct pci_bar *b)
{
	if (b->kind == PCI_BAR_IO)
		return 1;
	return (b->kind == PCI_BAR_MEM64 ? MEM64_FLAG : 0) | (b->prefetch ? PREFETCH_FLAG : 0);
}

static int check_bar(const struct pci_dev *d, unsigned n, enum pci_bar_kind kind, uint64_t size,
		     struct err *e)
{
	bool wide = kind == PCI_BAR_MEM64;
	uint64_t min = kind == PCI_BAR_IO ? 4 : 4096;
	uint64_t max = kind == PCI_BAR_IO ? 256 : wide ? BIT64(40) : GIB(1);

	if (kind == PCI_BAR_NONE || n + wide >= PCI_NR_BARS || d->bar[n].kind != PCI_BAR_NONE ||
	    (wide && d->bar[n + 1].kind != PCI_BAR_NONE) ||
	    (n && d->bar[n - 1].kind == PCI_BAR_MEM64))
		return err_set(e, EINVAL, "%s: BAR %u is not free", d->d.path, n);
	if (!is_pow2(size) || size < min || size > max)
		return err_set(e, EINVAL, "%s: BAR %u cannot have %" PRIu64 " bytes", d->d.path, n,
			       size);
	return 0;
}

int pci_add_bar(struct pci_dev *d, unsigned n, enum pci_bar_kind kind, uint64_t size, bool prefetch,
		struct err *e)
{
	struct pci_bar *b;
	uint8_t *at = d->cfg + PCI_BAR0 + 4 * n, *mask = d->wmask + PCI_BAR0 + 4 * n;
	int ret = check_bar(d, n, kind, size, e);

	if (ret < 0)
		return ret;
	b = &d->bar[n];
	b->kind = kind;
	b->size = size;
	b->prefetch = prefetch && kind != PCI_BAR_IO;
	b->region.name = b->region.name ? b->region.name : d->d.path;
	b->region.space = kind == PCI_BAR_IO ? MAP_PIO : MAP_MEM;
	b->region.size = size;
	b->region.prio = BAR_PRIO;
	st_le32(at, bar_flags(b));
	st_le32(mask, (uint32_t) ~(size - 1));
	if (kind == PCI_BAR_MEM64)
		st_le32(mask + 4, (uint32_t)(~(size - 1) >> 32));
	return 0;
}

/* What the registers hold. */
static uint64_t bar_value(const struct pci_dev *d, unsigned n)
{
	const uint8_t *at = d->cfg + PCI_BAR0 + 4 * n;
	uint64_t v = ld_le32(at);

	if (d->bar[n].kind == PCI_BAR_MEM64)
		v |= (uint64_t)ld_le32(at + 4) << 32;
	return v & ~(d->bar[n].size - 1);
}

uint64_t pci_bar_addr(const struct pci_dev *d, unsigned n)
{
	const struct pci_bar *b = &d->bar[n];
	uint16_t enable = b->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEM;
	uint64_t addr, last, limit;

	if (b->kind == PCI_BAR_NONE || !(pci_command(d) & enable))
		return UINT64_MAX;
	addr = bar_value(d, n);
	last = addr + b->size - 1;
	limit = b->kind == PCI_BAR_IO ? 0xffff : b->kind == PCI_BAR_MEM32 ? MEM32_LAST : PHYS_LAST;
	/* Zero is "not assigned"; the top of the 32-bit space is what sizing leaves behind. */
	return !addr || last < addr || last > limit ? UINT64_MAX : addr;
}

void pci_bars_update(struct pci_dev *d)
{
	struct map *map = d->d.vm->map;
	struct err e;

	map_begin(map);
	for (unsigned n = 0; n < PCI_NR_BARS; n++) {
		struct map_region *r = &d->bar[n].region;
		uint64_t addr = pci_bar_addr(d, n);

		if (addr == UINT64_MAX)
			map_del(map, r);
		else if (map_move(map, r, addr, &e) < 0)
			dev_guest_error(&d->d, "BAR %u: %s", n, e.msg);
	}
	map_commit(map);
}

void pci_bars_unmap(struct pci_dev *d)
{
	struct map *map = d->d.vm->map;

	map_begin(map);
	for (unsigned n = 0; n < PCI_NR_BARS; n++)
		map_del(map, &d->bar[n].region);
	map_commit(map);
}

/* ---- assignment ---- */

struct to_assign {
	struct pci_dev *d;
	unsigned n;
	uint64_t size;
};

/* Those that can go above 4 GiB come last: they must not take the room of the others. */
static int compare_bars(const void *a, const void *b)
{
	const struct to_assign *x = a, *y = b;
	bool x_wide = x->d->bar[x->n].kind == PCI_BAR_MEM64;
	bool y_wide = y->d->bar[y->n].kind == PCI_BAR_MEM64;

	if (x_wide != y_wide)
		return x_wide - y_wide;
	if (x->size != y->size)
		return x->size < y->size ? 1 : -1;
	if (x->d->devfn != y->d->devfn)
		return x->d->devfn < y->d->devfn ? -1 : 1;
	return x->n < y->n ? -1 : x->n > y->n;
}

/* Takes size aligned bytes from the window at *base; 0 = no room. */
static uint64_t carve(uint64_t *base, uint64_t *left, uint64_t size)
{
	uint64_t at = align_up(*base, size), skip = at - *base;

	if (at < *base || *left < skip || *left - skip < size)
		return 0;
	*left -= skip + size;
	*base = at + size;
	return at;
}

static uint64_t place(struct pci_window *w, const struct pci_bar *b)
{
	uint64_t at = 0;

	if (b->kind == PCI_BAR_IO)
		return carve(&w->io_base, &w->io_size, b->size);
	/* Not above 4 GiB unless it must be: a 32-bit kernel could not reach it. */
	at = carve(&w->mem32_base, &w->mem32_size, b->size);
	if (!at && b->kind == PCI_BAR_MEM64)
		at = carve(&w->mem64_base, &w->mem64_size, b->size);
	return at;
}

static void set_bar(struct pci_dev *d, unsigned n, uint64_t addr)
{
	uint8_t *at = d->cfg + PCI_BAR0 + 4 * n;

	st_le32(at, (uint32_t)addr | bar_flags(&d->bar[n]));
	if (d->bar[n].kind == PCI_BAR_MEM64)
		st_le32(at + 4, (uint32_t)(addr >> 32));
}

static size_t collect(struct pci_bus *bus, struct to_assign *list)
{
	size_t count = 0;

	for (unsigned devfn = 0; devfn < 256; devfn++) {
		struct pci_dev *d = bus->dev[devfn];

		for (unsigned n = 0; d && n < PCI_NR_BARS; n++) {
			if (d->bar[n].kind == PCI_BAR_NONE)
				continue;
			list[count++] = (struct to_assign){ d, n, d->bar[n].size };
		}
	}
	return count;
}

static void enable_all(struct pci_bus *bus)
{
	map_begin(bus->vm->map);
	for (unsigned devfn = 0; devfn < 256; devfn++) {
		struct pci_dev *d = bus->dev[devfn];
		uint16_t on = PCI_COMMAND_MASTER;

		if (!d)
			continue;
		for (unsigned n = 0; n < PCI_NR_BARS; n++) {
			if (d->bar[n].kind != PCI_BAR_NONE)
				on |= d->bar[n].kind == PCI_BAR_IO ? PCI_COMMAND_IO
								   : PCI_COMMAND_MEM;
		}
		/* Through the front door: devices with own hooks see it too. */
		pci_cfg_write(bus, 0, (uint8_t)devfn, PCI_COMMAND, pci_command(d) | on, 2);
	}
	map_commit(bus->vm->map);
}

int pci_assign(struct pci_bus *bus, const struct pci_window *window, struct err *e)
{
	autofree struct to_assign *list = xnew_n(struct to_assign, 256 * PCI_NR_BARS);
	size_t count = collect(bus, list);
	struct pci_window w = *window;

	qsort(list, count, sizeof(*list), compare_bars);
	for (size_t i = 0; i < count; i++) {
		struct to_assign *a = &list[i];
		uint64_t at = place(&w, &a->d->bar[a->n]);

		if (!at)
			return err_set(e, ENOSPC,
				       "%s: no room for BAR %u (%" PRIu64 " bytes) in the PCI"
				       " window; use fewer devices or less memory",
				       a->d->d.path, a->n, a->size);
		set_bar(a->d, a->n, at);
	}
	enable_all(bus);
	return 0;
}

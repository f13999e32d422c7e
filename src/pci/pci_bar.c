/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base address registers: sizing and mapping. PCI Local Bus 3.0 section 6.2.5.
 *
 * A BAR is on the map while the command register enables its space, its value is an address where
 * it fits, and all bridges above pass accesses there on. BARs have less priority than the board's
 * own regions and RAM, so a guest that moves one over those only hides it.
 *
 * Threads: a guest moves BARs inside a configuration access, under the device's lock.
 */
#include "base/base.h"
#include "base/trace.h"
#include "pci/pci_int.h"

#define BAR_PRIO      (-1)
#define PHYS_LAST     (BIT64(52) - 1)
#define MEM32_LAST    0xfffffffeull /* a BAR that reads all ones below its size is being sized */
#define MEM64_FLAG    0x4u
#define PREFETCH_FLAG 0x8u

uint32_t pci_bar_flags(const struct pci_bar *b)
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

	if (kind == PCI_BAR_NONE || n + wide >= pci_nr_bars(d) || d->bar[n].kind != PCI_BAR_NONE ||
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
	st_le32(at, pci_bar_flags(b));
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
	if (!addr || last < addr || last > limit)
		return UINT64_MAX;
	return pci_bus_reaches(d->bus, b->kind == PCI_BAR_IO, addr, last) ? addr : UINT64_MAX;
}

static void trace_change(const struct pci_dev *d, unsigned n, bool was, uint64_t old)
{
	const struct map_region *r = &d->bar[n].region;

	if (was == r->added && (!was || old == r->addr))
		return;
	if (was)
		trace_pci_update_mappings_del(d->d.path, pci_bus_number(d->bus), d->devfn, n, old,
					      r->size);
	if (r->added)
		trace_pci_update_mappings_add(d->d.path, pci_bus_number(d->bus), d->devfn, n,
					      r->addr, r->size);
}

void pci_bars_update(struct pci_dev *d)
{
	struct map *map = d->d.vm->map;
	struct err e;

	map_begin(map);
	for (unsigned n = 0; n < PCI_NR_BARS; n++) {
		struct map_region *r = &d->bar[n].region;
		uint64_t addr = pci_bar_addr(d, n), old = r->addr;
		bool was = r->added;

		if (addr == UINT64_MAX)
			map_del(map, r);
		else if (map_move(map, r, addr, &e) < 0)
			dev_guest_error(&d->d, "BAR %u: %s", n, e.msg);
		trace_change(d, n, was, old);
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bridges: the header of type 1, windows, secondary bus reset. PCI-to-PCI Bridge Architecture 1.2,
 * chapter 3; PCI Express Base 5.0 sections 7.5.1.3 and 6.6.1 (hot reset).
 *
 * What a bridge lets through is decided where an access starts: a BAR below it is on the map only
 * while all windows above cover it. So a write to a window makes the functions below look again.
 *
 * Threads: a configuration write holds the bridge's lock and takes those of functions below it,
 * one after the other, never the other way round. State: the bytes of the configuration space.
 */
#include "base/base.h"
#include "pci/pci_int.h"

#define HEADER_BRIDGE  1u
#define PREF_64BIT     1u
#define CONTROL_PARITY 0x0001u
#define CONTROL_SERR   0x0002u
#define CONTROL_RESET  0x0040u
#define SEC_STATUS_W1C 0xf900u
#define WINDOWS_LEN    (PCI_PREF_LIMIT_HIGH + 4u - PCI_IO_BASE)

static void init_masks(struct pci_dev *d)
{
	uint8_t *w = d->wmask;

	memset(w + PCI_PRIMARY_BUS, 0xff, 3);
	w[PCI_IO_BASE] = w[PCI_IO_BASE + 1] = 0xf0; /* 16-bit addresses */
	st_le16(d->w1cmask + PCI_SEC_STATUS, SEC_STATUS_W1C);
	st_le32(w + PCI_MEM_BASE, 0xfff0fff0);
	st_le32(w + PCI_PREF_BASE, 0xfff0fff0);
	st_le64(w + PCI_PREF_BASE_HIGH, UINT64_MAX);
	st_le16(w + PCI_BRIDGE_CONTROL, CONTROL_PARITY | CONTROL_SERR | CONTROL_RESET);
}

/* Base behind limit in all three. */
void pci_bridge_close(struct pci_dev *d)
{
	pthread_mutex_lock(&d->irq_lock);
	st_le16(d->cfg + PCI_IO_BASE, 0x00f0);
	st_le32(d->cfg + PCI_MEM_BASE, 0x0000fff0);
	st_le32(d->cfg + PCI_PREF_BASE, (0x0000fff0 | PREF_64BIT << 16 | PREF_64BIT));
	st_le64(d->cfg + PCI_PREF_BASE_HIGH, 0);
	pthread_mutex_unlock(&d->irq_lock);
}

int pci_bridge_init(struct pci_dev *d, unsigned slots, struct err *e)
{
	const char *name = d->d.id ?: d->d.path;
	struct pci_bus **at = &d->bus->child;

	if (pci_bus_find(d->d.vm, name))
		return err_set(e, EEXIST,
			       "%s: there is a PCI bus of that name already; use"
			       " another id",
			       name);
	d->cfg[PCI_HEADER_TYPE] |= HEADER_BRIDGE;
	st_le32(d->cfg + PCI_SUBVENDOR, 0); /* other registers are there in this header */
	init_masks(d);
	pci_bridge_close(d);
	d->secondary = pci_bus_alloc(d->d.vm, name, slots);
	d->secondary->above = d;
	while (*at)
		at = &(*at)->sibling;
	*at = d->secondary;
	return 0;
}

void pci_bridge_fini(struct pci_dev *d)
{
	struct pci_bus *bus = d->secondary;

	if (!bus)
		return;
	pci_intx(d, 0);
	for (struct pci_bus **at = &d->bus->child; *at; at = &(*at)->sibling) {
		if (*at == bus) {
			*at = bus->sibling;
			break;
		}
	}
	/* A vCPU may still be in an access that it routed here. */
	map_synchronize(d->d.vm->map);
	d->secondary = pci_bus_free(bus);
}

bool pci_bridge_occupied(const struct pci_dev *d)
{
	for (unsigned i = 0; i < 8 * d->secondary->nr_slots; i++)
		if (d->secondary->dev[i])
			return true;
	return false;
}

static void look_again(struct pci_dev *d, bool master)
{
	pthread_mutex_lock(&d->d.lock);
	pthread_mutex_lock(&d->irq_lock);
	d->upstream_master = master;
	pthread_mutex_unlock(&d->irq_lock);
	pci_bars_update(d);
	pci_msix_update(d);
	if (d->secondary)
		pci_bridge_written(d, PCI_COMMAND, 2);
	/* As if its own bit of bus mastering had changed, which for the device is the same. */
	if (d->cfg_written)
		d->cfg_written(d, PCI_COMMAND, 2, pci_command(d));
	pthread_mutex_unlock(&d->d.lock);
}

void pci_bus_changed(struct pci_bus *bus)
{
	bool master = pci_bus_masters(bus);

	for (unsigned i = 0; i < 8 * bus->nr_slots; i++)
		if (bus->dev[i])
			look_again(bus->dev[i], master);
}

/* Bridge control's reset bit: devices are reset when it is set, and silent until it is cleared. */
static void secondary_reset(struct pci_dev *d)
{
	struct pci_bus *bus = d->secondary;
	bool held = ld_le16(d->cfg + PCI_BRIDGE_CONTROL) & CONTROL_RESET;

	if (held == bus->reset_held)
		return;
	__atomic_store_n(&bus->reset_held, held, __ATOMIC_RELAXED);
	for (unsigned i = 0; held && i < 8 * bus->nr_slots; i++)
		if (bus->dev[i] && bus->dev[i]->d.type->reset)
			bus->dev[i]->d.type->reset(&bus->dev[i]->d);
}

void pci_bridge_written(struct pci_dev *d, uint32_t off, unsigned size)
{
	if (pci_overlaps(off, size, PCI_BRIDGE_CONTROL, 2))
		secondary_reset(d);
	if (pci_overlaps(off, size, PCI_COMMAND, 2) ||
	    pci_overlaps(off, size, PCI_IO_BASE, WINDOWS_LEN))
		pci_bus_changed(d->secondary);
}

void pci_bridge_loaded(struct pci_dev *d)
{
	d->secondary->reset_held = ld_le16(d->cfg + PCI_BRIDGE_CONTROL) & CONTROL_RESET;
	pci_bus_changed(d->secondary);
}

void pci_bridge_reset(struct pci_dev *d)
{
	pthread_mutex_lock(&d->d.lock);
	pci_dev_reset(d);
	pci_bridge_close(d);
	for (unsigned i = 0; i < 3; i++)
		__atomic_store_n(&d->cfg[PCI_PRIMARY_BUS + i], 0, __ATOMIC_RELAXED);
	st_le16(d->cfg + PCI_BRIDGE_CONTROL, 0);
	__atomic_store_n(&d->secondary->reset_held, false, __ATOMIC_RELAXED);
	pci_bus_changed(d->secondary);
	pthread_mutex_unlock(&d->d.lock);
}

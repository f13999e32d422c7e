/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of buses: names, routing of configuration accesses by bus number, what reaches a bus
 * from above, and what interrupt pins become on the way up.
 * PCI-to-PCI Bridge Architecture 1.2, chapters 3 and 4, section 9.1 (interrupt pins).
 *
 * Threads: any. Bus numbers are bytes that a guest may change at any time: each access walks down
 * by what it finds. Windows are read under the bridge's irq_lock. State: the bridges' (pci.c);
 * pin counts are built up again by the functions that hold pins.
 */
#include "base/base.h"
#include "pci/pci_int.h"

struct pci_bus *pci_bus_alloc(struct vm *vm, const char *name, unsigned slots)
{
	struct pci_bus *bus = xnew(struct pci_bus);

	bus->vm = vm;
	bus->name = xstrdup(name);
	bus->nr_slots = slots;
	pthread_mutex_init(&bus->intx_lock, NULL);
	return bus;
}

struct pci_bus *pci_bus_new(struct vm *vm,
			    void (*intx)(void *opaque, uint8_t devfn, unsigned pin, int level),
			    void *opaque)
{
	struct pci_bus *bus = pci_bus_alloc(vm, "pcie.0", 32);

	bus->intx = intx;
	bus->opaque = opaque;
	bus->first_slot = 1;
	vm->pci = bus;
	return bus;
}

struct pci_bus *pci_bus_free(struct pci_bus *bus)
{
	if (!bus)
		return NULL;
	if (bus->vm->pci == bus)
		bus->vm->pci = NULL;
	pthread_mutex_destroy(&bus->intx_lock);
	free(bus->name);
	free(bus);
	return NULL;
}

struct pci_bus *pci_bus_of(struct vm *vm)
{
	return vm->pci;
}

static struct pci_bus *find_below(struct pci_bus *bus, const char *name)
{
	struct pci_bus *found = NULL;

	if (!strcmp(bus->name, name))
		return bus;
	for (struct pci_bus *b = bus->child; b && !found; b = b->sibling)
		found = find_below(b, name);
	return found;
}

struct pci_bus *pci_bus_find(struct vm *vm, const char *name)
{
	if (!vm->pci)
		return NULL;
	return strcmp(name, "pci.0") ? find_below(vm->pci, name) : vm->pci;
}

static char *list_below(char *list, const struct pci_bus *bus)
{
	for (const struct pci_bus *b = bus->child; b; b = b->sibling) {
		char *longer = xasprintf("%s, %s", list, b->name);

		free(list);
		list = list_below(longer, b);
	}
	return list;
}

char *pci_bus_list(const struct pci_bus *root)
{
	return list_below(xstrdup(root->name), root);
}

struct pci_dev *pci_bus_dev_find(struct pci_bus *bus, uint8_t devfn)
{
	return bus->dev[devfn];
}

/* ---- downwards ---- */

static uint8_t number_reg(const struct pci_bus *bus, unsigned reg)
{
	return __atomic_load_n(&bus->above->cfg[reg], __ATOMIC_RELAXED);
}

uint8_t pci_bus_number(const struct pci_bus *bus)
{
	return bus->above ? number_reg(bus, PCI_SECONDARY_BUS) : 0;
}

struct pci_bus *pci_bus_route(struct pci_bus *root, uint8_t busnr)
{
	struct pci_bus *bus = root;

	if (!busnr)
		return root;
	/* Each step goes one level down: the tree's depth bounds it, not what the guest wrote. */
	do {
		struct pci_bus *b = bus->child;

		while (b && (busnr < number_reg(b, PCI_SECONDARY_BUS) ||
			     busnr > number_reg(b, PCI_SUBORDINATE_BUS) ||
			     !number_reg(b, PCI_SECONDARY_BUS)))
			b = b->sibling;
		if (!b || __atomic_load_n(&b->reset_held, __ATOMIC_RELAXED))
			return NULL;
		bus = b;
	} while (busnr != number_reg(bus, PCI_SECONDARY_BUS));
	return bus;
}

static bool window_has(uint64_t base, uint64_t limit, uint64_t addr, uint64_t last)
{
	return addr >= base && last <= limit;
}

/* Whether one bridge passes it on: section 4. */
static bool forwards(struct pci_dev *bridge, bool io, uint64_t addr, uint64_t last)
{
	const uint8_t *c = bridge->cfg;
	uint64_t base, limit, pref_base, pref_limit;
	uint16_t command;

	pthread_mutex_lock(&bridge->irq_lock);
	command = pci_command(bridge);
	if (io) {
		base = (uint64_t)(c[PCI_IO_BASE] & 0xf0) << 8;
		limit = (uint64_t)(c[PCI_IO_BASE + 1] & 0xf0) << 8 | 0xfff;
	} else {
		base = (uint64_t)(ld_le16(c + PCI_MEM_BASE) & 0xfff0) << 16;
		limit = (uint64_t)(ld_le16(c + PCI_MEM_BASE + 2) & 0xfff0) << 16 | 0xfffff;
	}
	pref_base = (uint64_t)(ld_le16(c + PCI_PREF_BASE) & 0xfff0) << 16 |
		    (uint64_t)ld_le32(c + PCI_PREF_BASE_HIGH) << 32;
	pref_limit = (uint64_t)(ld_le16(c + PCI_PREF_BASE + 2) & 0xfff0) << 16 | 0xfffff |
		     (uint64_t)ld_le32(c + PCI_PREF_LIMIT_HIGH) << 32;
	pthread_mutex_unlock(&bridge->irq_lock);
	if (!(command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEM)))
		return false;
	return window_has(base, limit, addr, last) ||
	       (!io && window_has(pref_base, pref_limit, addr, last));
}

bool pci_bus_reaches(const struct pci_bus *bus, bool io, uint64_t addr, uint64_t last)
{
	for (; bus->above; bus = bus->above->bus)
		if (!forwards(bus->above, io, addr, last))
			return false;
	return true;
}

/* ---- upwards ---- */

bool pci_bus_masters(const struct pci_bus *bus)
{
	for (; bus->above; bus = bus->above->bus)
		if (!(pci_command(bus->above) & PCI_COMMAND_MASTER))
			return false;
	return true;
}

void pci_bus_intx(struct pci_bus *bus, uint8_t devfn, unsigned pin, int level)
{
	uint16_t *count;

	if (!bus->above) {
		if (bus->intx)
			bus->intx(bus->opaque, devfn, pin, level);
		return;
	}
	pin = (pin + (devfn >> 3)) & 3;
	count = &bus->intx_count[pin];
	pthread_mutex_lock(&bus->intx_lock);
	if (level && !(*count)++)
		pci_bus_intx(bus->above->bus, bus->above->devfn, pin, 1);
	else if (!level && *count && !--*count)
		pci_bus_intx(bus->above->bus, bus->above->devfn, pin, 0);
	pthread_mutex_unlock(&bus->intx_lock);
}

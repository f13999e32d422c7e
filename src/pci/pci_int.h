/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside src/pci: the buses, and what its files need of each other. */
#ifndef PCI_PCI_INT_H
#define PCI_PCI_INT_H

#include "base/base.h"
#include "base/bytes.h"
#include "core/vm.h"
#include "pci/pci.h"

#define PCI_FIRST_CAP	0x40u
#define PCIE_CAP_LEN	0x3cu
#define PCI_MSIX_MASKED 1u /* vector control of an MSI-X entry */

/* Addresses that a bus needs of one kind, and where the bridge above has its window for them. */
struct pci_span {
	uint64_t base, size, align;
};

#define PCI_BRIDGE_WINDOWS 3 /* ports, memory, prefetchable memory */

/*
 * The tree and the table of functions change on the control thread while no vCPU runs. What a
 * guest changes while others look (numbers, windows) are bytes of the bridge's configuration.
 */
struct pci_bus {
	struct vm *vm;
	char *name;
	struct pci_dev *above; /* the bridge; NULL: bus 0 */
	/* bus 0: the board's */
	void (*intx)(void *opaque, uint8_t devfn, unsigned pin, int level);
	void *opaque;
	unsigned first_slot, nr_slots;
	struct pci_dev *dev[256];
	struct pci_bus *child, *sibling; /* buses below bridges of this one */
	/* below a bridge */
	bool reset_held; /* by bridge control; under the bridge's lock, atomic for readers */
	pthread_mutex_t intx_lock; /* inside irq_lock, outside that of the bus above */
	uint16_t intx_count[4];	   /* pins held, as the bridge passes them on */
	struct pci_span need[PCI_BRIDGE_WINDOWS]; /* pci_assign.c's */
};

struct pci_bus *pci_bus_alloc(struct vm *, const char *name, unsigned slots);
char *pci_bus_list(const struct pci_bus *root); /* names of all, "a, b and c"; to be freed */
/* A bus number's bus as the guest has set the bridges; NULL = nobody answers. */
struct pci_bus *pci_bus_route(struct pci_bus *root, uint8_t busnr);
/* A pin of a function of this bus; goes up through the bridges to the board. irq_lock held. */
void pci_bus_intx(struct pci_bus *, uint8_t devfn, unsigned pin, int level);
/* The bridges above pass an access to [addr, last] on to this bus. */
bool pci_bus_reaches(const struct pci_bus *, bool io, uint64_t addr, uint64_t last);
/* All bridges above are masters. */
bool pci_bus_masters(const struct pci_bus *);
/* A bridge above changed: its devices look again what reaches them. Their locks are not held. */
void pci_bus_changed(struct pci_bus *);
/* Generic handling of a configuration write to a bridge. */
void pci_bridge_written(struct pci_dev *, uint32_t off, unsigned size);
void pci_bridge_loaded(struct pci_dev *);
/* Closes all windows. The device's lock held. */
void pci_bridge_close(struct pci_dev *);

static inline bool pci_overlaps(uint32_t off, unsigned size, uint32_t at, uint32_t len)
{
	return len && off < at + len && at < off + size;
}

static inline unsigned pci_nr_bars(const struct pci_dev *d)
{
	return d->secondary ? 2 : PCI_NR_BARS;
}

#define MSIX_CTRL_ENABLE 0x8000u
#define MSIX_CTRL_MASK	 0x4000u

static inline uint16_t pci_command(const struct pci_dev *d)
{
	return ld_le16(d->cfg + PCI_COMMAND);
}

/* Maps, moves and unmaps BARs as command register and BAR values say. Device lock held. */
void pci_bars_update(struct pci_dev *);
/* The low bits of a BAR's register: its kind. */
uint32_t pci_bar_flags(const struct pci_bar *);
/* Takes all BARs off the map. */
void pci_bars_unmap(struct pci_dev *);

/* The MSI-X control or command register changed: sends what became deliverable. */
void pci_msix_update(struct pci_dev *);
void pci_msix_reset(struct pci_dev *);
/* Tells the board the level of the INTx pin when it changed. */
void pci_intx_update(struct pci_dev *);

#endif

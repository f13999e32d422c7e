/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside src/pci: the bus, and what pci.c needs of pci_msix.c and pci_bar.c. */
#ifndef PCI_PCI_INT_H
#define PCI_PCI_INT_H

#include "base/base.h"
#include "base/bytes.h"
#include "core/vm.h"
#include "pci/pci.h"

#define PCI_FIRST_CAP 0x40u

struct pci_bus {
	struct vm *vm;
	void (*intx)(void *opaque, uint8_t devfn, unsigned pin, int level);
	void *opaque;
	unsigned first_slot;
	struct pci_dev *dev[256];
};

#define MSIX_CTRL_ENABLE 0x8000u
#define MSIX_CTRL_MASK	 0x4000u

static inline uint16_t pci_command(const struct pci_dev *d)
{
	return ld_le16(d->cfg + PCI_COMMAND);
}

/* Maps, moves and unmaps BARs as command register and BAR values say. Device lock held. */
void pci_bars_update(struct pci_dev *);
/* Takes all BARs off the map. */
void pci_bars_unmap(struct pci_dev *);

/* The MSI-X control or command register changed: sends what became deliverable. */
void pci_msix_update(struct pci_dev *);
void pci_msix_reset(struct pci_dev *);
/* Tells the board the level of the INTx pin when it changed. */
void pci_intx_update(struct pci_dev *);

#endif

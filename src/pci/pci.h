/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI and PCI Express: functions, configuration space, BARs, capabilities, INTx, MSI-X, one bus.
 * Host bridges (port CF8/CFC, ECAM) belong to the board and call pci_cfg_read/write.
 * Sources: PCI Local Bus 3.0, PCI Express Base 5.0 chapter 7.
 */
#ifndef PCI_PCI_H
#define PCI_PCI_H

#include "base/base.h"
#include "core/dev.h"
#include "core/irq.h"
#include "mem/map.h"

#define PCI_CFG_SIZE 256
#define PCIE_CFG_SIZE 4096
#define PCI_DEVFN(slot, fn) ((uint8_t)((slot) << 3 | (fn)))

struct pci_dev;
struct pci_bus;

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

struct pci_bar {
	enum pci_bar_kind kind;
	bool prefetch;
	uint64_t size; /* power of two; MEM >= 4096, IO >= 4 */
	struct map_region region; /* ops, opaque and lock are set by the device before pci_add_bar */
};

#define PCI_MSIX_MAX 2048
struct pci_msix_entry {
	uint64_t addr;
	uint32_t data, ctrl;
};

struct pci_dev {
	struct dev d; /* first */
	struct pci_bus *bus;
	uint8_t devfn;
	int addr; /* property: requested slot << 3 | fn, -1 = any */
	uint8_t cfg[PCIE_CFG_SIZE];
	uint8_t wmask[PCIE_CFG_SIZE];	/* bits the guest may write */
	uint8_t w1cmask[PCIE_CFG_SIZE]; /* bits the guest clears by writing one */
	struct pci_bar bar[6];
	uint16_t cap_msix, cap_exp; /* offsets, 0 = none */
	uint16_t next_cap;	    /* where the next capability goes */
	uint16_t last_cap;
	/* MSI-X */
	unsigned nr_msix;
	struct pci_msix_entry *msix;
	uint64_t *msix_pba;
	int msix_bar;
	uint32_t msix_table_off, msix_pba_off;
	bool msix_enabled, msix_masked; /* derived from cfg */
	bool intx_level;
	/* Optional: after the generic handling of a configuration write / before a read. */
	void (*cfg_written)(struct pci_dev *, uint32_t off, unsigned size, uint32_t val);
	void (*cfg_reading)(struct pci_dev *, uint32_t off, unsigned size);
};

struct pci_id {
	uint16_t vendor, device, subvendor, subdevice;
	uint32_t class_rev; /* class << 8 | revision */
};

/* The board's bus 0. intx(opaque, devfn, pin 0..3, level) routes a pin. */
struct pci_bus *pci_bus_new(struct vm *, void (*intx)(void *opaque, uint8_t devfn, unsigned pin, int level), void *opaque);
struct pci_bus *pci_bus_free(struct pci_bus *);
struct pci_bus *pci_bus_of(struct vm *); /* NULL when the board has none */

/* Puts a function on the bus at dev->addr (or the first free slot), with an empty header. */
int pci_dev_attach(struct pci_bus *, struct pci_dev *, const struct pci_id *, struct err *e) MUST_CHECK;
void pci_dev_detach(struct pci_dev *);
/* Clears command, BARs, MSI-X; for dev_type.reset. */
void pci_dev_reset(struct pci_dev *);

/* region.ops/opaque/lock of bar must be set. */
int pci_add_bar(struct pci_dev *, unsigned n, enum pci_bar_kind, uint64_t size, bool prefetch, struct err *e) MUST_CHECK;
/* Appends a capability of len bytes (data behind the two header bytes may be NULL = zeros). Returns its offset, or -ENOSPC. */
int pci_add_cap(struct pci_dev *, uint8_t id, const void *data, unsigned len);
int pci_add_pcie_endpoint_cap(struct pci_dev *);
/* MSI-X with n vectors, table and PBA in BAR bar at the offsets (the BAR's owner forwards
 * accesses there to pci_msix_read/write). */
int pci_add_msix(struct pci_dev *, unsigned n, unsigned bar, uint32_t table_off, uint32_t pba_off, struct err *e) MUST_CHECK;
bool pci_msix_covers(const struct pci_dev *, unsigned bar, uint64_t off); /* off is in table or PBA */
uint64_t pci_msix_read(struct pci_dev *, uint64_t off, unsigned size);
void pci_msix_write(struct pci_dev *, uint64_t off, uint64_t val, unsigned size);
void pci_msix_fire(struct pci_dev *, unsigned vector); /* any thread; respects masks */
bool pci_msix_on(const struct pci_dev *);
void pci_intx(struct pci_dev *, int level); /* any thread; respects INTx disable */

/* Configuration accesses; bus-absent functions read all ones. size 1, 2, 4 within one dword. */
uint32_t pci_cfg_read(struct pci_bus *, uint8_t busnr, uint8_t devfn, uint32_t off, unsigned size);
void pci_cfg_write(struct pci_bus *, uint8_t busnr, uint8_t devfn, uint32_t off, uint32_t val, unsigned size);

/* Where BARs go when no firmware assigns them (direct boot): windows given by the board. */
struct pci_window {
	uint64_t io_base, io_size, mem32_base, mem32_size, mem64_base, mem64_size;
};
int pci_assign(struct pci_bus *, const struct pci_window *, struct err *e) MUST_CHECK;

extern const struct state_desc pci_dev_state; /* for ST_SUB in device tables */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI and PCI Express: functions, configuration space, BARs, capabilities, INTx, MSI-X, the tree of
 * buses. Host bridges (port CF8/CFC, ECAM) belong to the board and call pci_cfg_read/write.
 * Sources: PCI Local Bus 3.0, PCI Express Base 5.0 chapter 7.
 */
#ifndef PCI_PCI_H
#define PCI_PCI_H

#include "base/base.h"
#include "core/dev.h"
#include "core/irq.h"
#include "core/msi_route.h"
#include "mem/map.h"

#define PCI_CFG_SIZE	    256
#define PCIE_CFG_SIZE	    4096
#define PCI_NR_BARS	    6
#define PCI_ANY_ADDR	    (-1)
#define PCI_DEVFN(slot, fn) ((uint8_t)((slot) << 3 | (fn)))

struct pci_dev;
struct pci_bus;

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

struct pci_bar {
	enum pci_bar_kind kind;
	bool prefetch;
	uint64_t size;		  /* power of two; MEM >= 4096, IO >= 4 */
	struct map_region region; /* ops, opaque and lock are set by the device before pci_add_bar */
};

#define PCI_MSIX_MAX 2048
struct pci_msix_entry {
	uint64_t addr;
	uint32_t data, ctrl;
	bool pending; /* its PBA bit */
	struct msi_route route;
};

struct pci_dev {
	struct dev d; /* first */
	struct pci_bus *bus;
	struct pci_bus *secondary; /* a bridge's: the bus below it; NULL for others */
	uint8_t devfn;
	int addr; /* board devices: slot << 3 | fn, or PCI_ANY_ADDR = first free slot */
	uint8_t cfg[PCIE_CFG_SIZE];
	uint8_t wmask[PCIE_CFG_SIZE];	/* bits the guest may write */
	uint8_t w1cmask[PCIE_CFG_SIZE]; /* bits the guest clears by writing one */
	uint8_t *cfg_before;		/* cfg before a load that is under way; or NULL */
	struct pci_bar bar[PCI_NR_BARS];
	/*
	 * Leaf lock of the interrupt state (MSI-X table and bits, INTx): interrupts are raised by
	 * threads that must not wait for the device lock.
	 */
	pthread_mutex_t irq_lock;
	uint16_t cap_msix, cap_exp; /* offsets, 0 = none */
	uint16_t next_cap;	    /* where the next capability goes */
	uint16_t last_cap;
	/* MSI-X */
	uint32_t nr_msix;
	struct pci_msix_entry *msix;
	unsigned msix_bar;
	uint32_t msix_table_off, msix_pba_off;
	bool msix_enabled, msix_masked; /* derived from cfg */
	bool msix_paused;		/* messages are there when they have been sent */
	bool upstream_master;		/* the bridges above pass its requests on; derived */
	bool intx_level;		/* what the device asserts */
	bool intx_out;			/* what the board was told: less when INTx is disabled */
	/* Optional: after the generic handling of a configuration write / before a read. */
	void (*cfg_written)(struct pci_dev *, uint32_t off, unsigned size, uint32_t val);
	void (*cfg_reading)(struct pci_dev *, uint32_t off, unsigned size);
};

struct pci_id {
	uint16_t vendor, device, subvendor, subdevice;
	uint32_t class_rev; /* class << 8 | revision */
};

/* The board's bus 0. intx(opaque, devfn, pin 0..3, level) routes a pin. */
struct pci_bus *pci_bus_new(struct vm *,
			    void (*intx)(void *opaque, uint8_t devfn, unsigned pin, int level),
			    void *opaque);
struct pci_bus *pci_bus_free(struct pci_bus *);
struct pci_bus *pci_bus_of(struct vm *); /* NULL when the board has none */
/* "pcie.0" or "pci.0" is bus 0; any other name is the id of the bridge above. NULL = none. */
struct pci_bus *pci_bus_find(struct vm *, const char *name);
/* The number that configuration accesses reach it by now: for a bus below a bridge, the guest's. */
uint8_t pci_bus_number(const struct pci_bus *);

/* The function at devfn, or NULL. */
struct pci_dev *pci_bus_dev_find(struct pci_bus *, uint8_t devfn);

/*
 * Puts a function on the bus, with an empty header. A device made from a configuration node goes
 * where its keys addr ("slot" or "slot.function", hexadecimal), bus (pci_bus_find()) and
 * multifunction say; others go to dev->addr, which the maker sets. Call it inside dev_type.init,
 * before the functions below that build the configuration space.
 */
int pci_dev_attach(struct pci_bus *, struct pci_dev *, const struct pci_id *,
		   struct err *e) MUST_CHECK;
/* Takes it off the bus and the map, and frees what this folder allocated; half-done is fine. */
void pci_dev_detach(struct pci_dev *);
/*
 * Every function of the tree can be found by a guest: where there is a function 1 to 7 there is a
 * function 0. For the board, when all devices are made.
 */
int pci_check_functions(struct vm *, struct err *e) MUST_CHECK;
/*
 * The guest lets the function read and write memory: bus mastering is on, here and in all bridges
 * above. Under the device's lock.
 */
bool pci_is_master(const struct pci_dev *);
/* Clears command, BARs, MSI-X; for dev_type.reset. */
void pci_dev_reset(struct pci_dev *);

/*
 * BAR n of kind and size. region.ops, opaque and lock of ->bar[n] must be set. The guest maps it
 * by writing its address and the command register's enable bits, also inside an access.
 */
int pci_add_bar(struct pci_dev *, unsigned n, enum pci_bar_kind, uint64_t size, bool prefetch,
		struct err *e) MUST_CHECK;
/* The address where BAR n decodes now, or UINT64_MAX. */
uint64_t pci_bar_addr(const struct pci_dev *, unsigned n);
/*
 * Appends a capability of len bytes in all (data: what comes behind the two header bytes, or NULL
 * for zeros). Returns its offset, or -ENOSPC.
 */
int pci_add_cap(struct pci_dev *, uint8_t id, const void *data, unsigned len);
/* An endpoint's: integrated on bus 0, at the end of a link below a port. */
int pci_add_pcie_endpoint_cap(struct pci_dev *);
/* Interrupt pin 'A' + pin, which the guest sees in the header. */
void pci_set_intx_pin(struct pci_dev *, unsigned pin);
/*
 * MSI-X with n vectors, table and PBA in BAR bar at the offsets (the BAR's owner forwards
 * accesses there to pci_msix_read/write).
 */
int pci_add_msix(struct pci_dev *, unsigned n, unsigned bar, uint32_t table_off, uint32_t pba_off,
		 struct err *e) MUST_CHECK;
/* The same in a 32-bit BAR of its own, which this folder serves. */
int pci_add_msix_bar(struct pci_dev *, unsigned n, unsigned bar, struct err *e) MUST_CHECK;
bool pci_msix_covers(const struct pci_dev *, unsigned bar,
		     uint64_t off); /* off is in table or PBA */
uint64_t pci_msix_read(struct pci_dev *, uint64_t off, unsigned size);
void pci_msix_write(struct pci_dev *, uint64_t off, uint64_t val, unsigned size);
/* Sends the vector's message, or makes it pending while masked or while bus mastering is off. Any
 * thread. */
void pci_msix_fire(struct pci_dev *, unsigned vector);
bool pci_msix_on(const struct pci_dev *);
/*
 * For dev_type.pause and resume: from here on no message is on its way to the interrupt
 * controllers when whoever has sent it goes on, so that they can be saved.
 */
void pci_msix_pause(struct pci_dev *);
void pci_msix_resume(struct pci_dev *);
void pci_intx(struct pci_dev *, int level); /* any thread; respects INTx disable */

/*
 * Configuration accesses: takes the device's lock. Absent functions read all ones. size 1, 2 or 4
 * within one dword; others read all ones and write nothing. Any vCPU thread.
 */
uint32_t pci_cfg_read(struct pci_bus *, uint8_t busnr, uint8_t devfn, uint32_t off, unsigned size);
void pci_cfg_write(struct pci_bus *, uint8_t busnr, uint8_t devfn, uint32_t off, uint32_t val,
		   unsigned size);

/* Registers of an ECAM window that begins at bus 0: a MAP_IO region's ops, opaque is the bus. */
extern const struct io_ops pci_ecam_ops;

/* Where BARs go when no firmware assigns them (direct boot): windows given by the board. */
struct pci_window {
	uint64_t io_base, io_size, mem32_base, mem32_size, mem64_base, mem64_size;
};
/*
 * What a firmware does: numbers the buses depth first, gives every BAR an address, large ones
 * first, and each bridge windows that cover what is below it; enables decoding and bus mastering.
 * A bridge with nothing below it keeps its windows closed. 64-bit BARs that find no room below
 * 4 GiB go above.
 */
int pci_assign(struct pci_bus *, const struct pci_window *, struct err *e) MUST_CHECK;

/*
 * Bridges (PCI-to-PCI Bridge Architecture 1.2). Called in dev_type.init behind pci_dev_attach():
 * makes the header one of type 1 and a bus below, which pci_bus_find() knows by the device's id.
 * slots: how many that bus has; PCI Express links have one.
 */
int pci_bridge_init(struct pci_dev *, unsigned slots, struct err *e) MUST_CHECK;
/* Before pci_dev_detach(); nothing may sit below any more. Half-done is fine. */
void pci_bridge_fini(struct pci_dev *);
/* Instead of pci_dev_reset(): also closes the windows and forgets the bus numbers. */
void pci_bridge_reset(struct pci_dev *);
/* Something is on the bus below. */
bool pci_bridge_occupied(const struct pci_dev *);
extern const struct dev_type pcie_root_port_type;

/* Standard header and capability numbers that devices and boards need. */
#define PCI_VENDOR_ID	     0x00
#define PCI_COMMAND	     0x04
#define PCI_COMMAND_IO	     0x0001u
#define PCI_COMMAND_MEM	     0x0002u
#define PCI_COMMAND_MASTER   0x0004u
#define PCI_COMMAND_PARITY   0x0040u
#define PCI_COMMAND_SERR     0x0100u
#define PCI_COMMAND_INTX_OFF 0x0400u
#define PCI_STATUS	     0x06
#define PCI_STATUS_INTX	     0x0008u
#define PCI_STATUS_CAPS	     0x0010u
#define PCI_CACHE_LINE	     0x0c
#define PCI_HEADER_TYPE	     0x0e
#define PCI_BAR0	     0x10
#define PCI_SUBVENDOR	     0x2c
#define PCI_CAP_PTR	     0x34
#define PCI_INT_LINE	     0x3c
#define PCI_INT_PIN	     0x3d
#define PCI_CAP_ID_VENDOR    0x09
#define PCI_CAP_ID_EXP	     0x10
#define PCI_PRIMARY_BUS	     0x18 /* header type 1 from here on */
#define PCI_SECONDARY_BUS    0x19
#define PCI_SUBORDINATE_BUS  0x1a
#define PCI_IO_BASE	     0x1c
#define PCI_SEC_STATUS	     0x1e
#define PCI_MEM_BASE	     0x20
#define PCI_PREF_BASE	     0x24
#define PCI_PREF_BASE_HIGH   0x28
#define PCI_PREF_LIMIT_HIGH  0x2c
#define PCI_BRIDGE_CONTROL   0x3e
#define PCI_CAP_ID_MSIX	     0x11

extern const struct state_desc pci_dev_state; /* for ST_SUB in device tables */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of virtio, for tests: rings in both layouts written after the specification
 * and not after src/virtio, a driver for the PCI transport, and a machine of RAM and a PCI bus.
 *
 * A test program lists the device types it wants to make by name:
 *	const struct dev_type *const dev_types[] = { &virtio_rng_pci, NULL };
 * Failures of the fixture itself end the program with a message.
 */
#ifndef TESTS_LIB_VIRTIO_DRIVER_H
#define TESTS_LIB_VIRTIO_DRIVER_H

#include "base/base.h"
#include "core/vm.h"
#include "pci/pci.h"
#include "virtio/virtio_pci.h"

/* ---- machine ---- */

#define VDRV_RAM    MIB(32)
#define VDRV_VECTORS 64

struct vdrv_vm {
	struct vm vm;
	struct map_region ram_region;
	uint64_t next; /* bump allocator of guest RAM */
	/* what arrived, by MSI data; any thread */
	_Atomic unsigned msi[VDRV_VECTORS];
	_Atomic int intx;	   /* sum of levels */
	_Atomic unsigned intx_edges; /* rising */
};

struct vdrv_vm *vdrv_vm_new(void);
struct vdrv_vm *vdrv_vm_free(struct vdrv_vm *); /* destroys its devices too */
/* Makes a device from "type,key=value,...", gives its BARs addresses and enables it. */
struct dev *vdrv_make(struct vdrv_vm *, const char *line);
/* The same; NULL with the reason in e when it is refused. */
struct dev *vdrv_try_make(struct vdrv_vm *, const char *line, struct err *e);
void *vdrv_mem(struct vdrv_vm *, uint64_t gpa);
/* Zeroed guest RAM, aligned (power of two). */
uint64_t vdrv_alloc(struct vdrv_vm *, uint64_t size, uint64_t align);
/* Saves d and loads it into fresh, a device made alike in another vm whose RAM becomes equal. */
void vdrv_migrate(struct vdrv_vm *from, struct dev *d, struct vdrv_vm *to, struct dev *fresh);

/* ---- rings ---- */

#define DRING_MAX 1024

struct dbuf {
	uint64_t gpa;
	uint32_t len;
};

/* One queue as a driver keeps it. */
struct dring {
	struct vdrv_vm *t;
	bool packed, event_idx;
	uint16_t size;
	uint64_t desc, driver, device; /* gpa */
	uint64_t tables;	       /* an indirect table of `size` entries for each id */
	uint16_t free_slots;
	uint16_t free_ids[DRING_MAX], nr_free_ids; /* split: descriptors, packed: ids */
	uint16_t next[DRING_MAX];		   /* split: how we linked */
	uint16_t ndesc[DRING_MAX];
	uint32_t token[DRING_MAX];
	uint16_t avail_idx, used_idx;
	bool avail_wrap, used_wrap;
	uint16_t added; /* entries (packed: slots) since the last kick */
};

/* A ring of size entries in fresh guest RAM. */
void dring_init(struct dring *, struct vdrv_vm *, uint16_t size, uint64_t features);
/* Makes a chain available: out buffers, then in buffers. False: no room. */
bool dring_add(struct dring *, const struct dbuf *, unsigned out, unsigned in, bool indirect,
	       uint32_t token);
/* Whether the device wants a kick for what was added since the last call. */
bool dring_kick_needed(struct dring *);
/* Takes the next used chain. */
bool dring_used(struct dring *, uint32_t *token, uint32_t *len);
bool dring_has_used(const struct dring *);
/* Interrupts off, or on for the next used chain (with EVENT_IDX: the n-th from now). */
void dring_irq_off(struct dring *);
void dring_irq_on(struct dring *, uint16_t nth);

/* ---- a device behind the PCI transport ---- */

struct vdrv {
	struct vdrv_vm *t;
	struct pci_dev *pci;
	struct virtio_pci *p; /* to look inside; a driver would not */
	uint64_t common, notify, isr, cfg; /* gpa of the parts, from the capabilities */
	uint32_t notify_mult;
	uint64_t features;
	struct dring q[16];
};

/* Finds the parts by the capabilities, resets the device, sets ACKNOWLEDGE and DRIVER. */
void vdrv_open(struct vdrv *, struct vdrv_vm *, struct dev *);
uint64_t vdrv_rd(struct vdrv *, uint64_t gpa, unsigned size);
void vdrv_wr(struct vdrv *, uint64_t gpa, uint64_t val, unsigned size);
uint64_t vdrv_offered(struct vdrv *);
/* Takes exactly `features`; false when the device did not keep FEATURES_OK. */
bool vdrv_negotiate(struct vdrv *, uint64_t features);
/* Sets MSI-X up: vector i sends data i. Queue n uses vector n + 1, configuration 0. */
void vdrv_enable_msix(struct vdrv *);
/* Sets queue n (< 16) up and enables it; size 0 = what the device offers. */
struct dring *vdrv_queue(struct vdrv *, unsigned n, uint16_t size);
void vdrv_driver_ok(struct vdrv *);
uint8_t vdrv_status(struct vdrv *);
void vdrv_kick(struct vdrv *, unsigned n); /* always, whatever the device wants */
/* Runs the vm's loop until queue n has something used, at most ms; false: time out. */
bool vdrv_wait_used(struct vdrv *, unsigned n, int ms);
/* negotiate + msix + queues 0..nr-1 + driver_ok, for devices that just have to work. */
void vdrv_start(struct vdrv *, struct vdrv_vm *, struct dev *, uint64_t features, unsigned nr);

#endif

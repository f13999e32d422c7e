/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine of RAM and a PCI bus, and a virtio driver for tests: it finds the device through its
 * capabilities, negotiates, and uses split rings in guest RAM, all by register accesses.
 */
#ifndef TESTS_DEVICE_VIRTIO_VDRV_H
#define TESTS_DEVICE_VIRTIO_VDRV_H

#include "base/base.h"
#include "base/bytes.h"
#include "core/vm.h"
#include "virtio/virtio_pci.h"

#define RIG_RAM	  MIB(8)
#define RIG_HEAP  MIB(1) /* below: rings */
#define VDRV_SIZE 64	 /* entries of a queue */
#define VDRV_MAXQ 8

struct rig {
	struct vm vm;
	struct map_region ram;
	unsigned msis; /* messages sent so far */
	uint32_t last_msi;
	int intx;
	uint64_t heap;
};

struct vdrv_queue {
	uint64_t desc, avail, used;
	uint16_t avail_idx, used_idx, free[VDRV_SIZE], nr_free;
	uint16_t chain_len[VDRV_SIZE];
};

struct vdrv {
	struct rig *rig;
	struct pci_dev *pci;
	uint64_t common, isr, device, notify;
	uint32_t notify_mult;
	unsigned nr_vqs;
	struct vdrv_queue q[VDRV_MAXQ];
};

struct vbuf {
	uint64_t gpa;
	uint32_t len;
	bool write; /* by the device */
};

void rig_init(struct rig *);
void rig_fini(struct rig *); /* devices, back ends and all */
/* Guest memory, never given back until rig_rewind(). */
uint64_t rig_alloc(struct rig *, uint64_t size);
void rig_rewind(struct rig *, uint64_t to);
void *rig_ptr(struct rig *, uint64_t gpa);
struct pci_dev *rig_device(struct rig *, const char *type, const char *const *kv, struct err *e);
void rig_spin(struct rig *, unsigned rounds);

void vdrv_find(struct vdrv *, struct rig *, struct pci_dev *);
uint64_t vdrv_offered(struct vdrv *);
/* Reset, negotiation of `features` plus VERSION_1, all queues, DRIVER_OK. False: refused. */
bool vdrv_start(struct vdrv *, uint64_t features);
void vdrv_enable_queue(struct vdrv *, unsigned n);
void vdrv_reset(struct vdrv *);
uint8_t vdrv_status(struct vdrv *);
uint64_t vdrv_cfg(struct vdrv *, unsigned off, unsigned size);
void vdrv_cfg_write(struct vdrv *, unsigned off, unsigned size, uint64_t val);
uint64_t vdrv_common_read(struct vdrv *, unsigned off, unsigned size);
void vdrv_common(struct vdrv *, unsigned off, unsigned size, uint64_t val);

/* Makes a chain available; its head, or -1 when the ring is full. */
int vdrv_add(struct vdrv *, unsigned q, const struct vbuf *, unsigned n);
void vdrv_kick(struct vdrv *, unsigned q);
/* The next used chain: its head and how much was written; -1 = none (yet). */
int vdrv_used(struct vdrv *, unsigned q, uint32_t *written);
/* Waits for it at most two seconds. */
int vdrv_wait(struct vdrv *, unsigned q, uint32_t *written);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio over memory-mapped registers, version 2 (non-legacy). VIRTIO 1.2 section 4.2. A board has
 * a row of places for such devices; who drives them is told by ACPI.
 */
#ifndef VIRTIO_VIRTIO_MMIO_H
#define VIRTIO_VIRTIO_MMIO_H

#include "core/dev.h"
#include "core/irq.h"
#include "mem/map.h"
#include "virtio/virtio.h"

#define VIRTIO_MMIO_SIZE      0x200u /* of one device: registers, then configuration space */
#define VIRTIO_MMIO_SLOTS_MAX 32u

struct virtio_mmio;

/* The places of a board, at vm->virtio_mmio. */
struct virtio_mmio_bus {
	uint64_t base; /* of place 0; the others follow every VIRTIO_MMIO_SIZE */
	unsigned nr_slots;
	struct virtio_mmio *slot[VIRTIO_MMIO_SLOTS_MAX];
	/* The level-triggered interrupt line of a place. */
	struct irq (*line)(void *opaque, unsigned slot);
	void *opaque;
};

struct virtio_mmio {
	struct dev d; /* first */
	struct virtio *v;
	struct map_region region;
	struct irq irq;
	unsigned slot;
	bool p_force_legacy;
	/* transport registers */
	uint32_t device_feature_sel, driver_feature_sel, queue_sel;
	uint32_t isr; /* any thread, atomic */
};

/* v->type, and struct virtio_mmio comes first in the device's dev; see virtio_dev.h. */
int virtio_mmio_init(struct virtio_mmio *, struct virtio *, const struct virtio_type *,
		     struct err *e) MUST_CHECK;
void virtio_mmio_dev_fini(struct dev *);
void virtio_mmio_dev_reset(struct dev *);
void virtio_mmio_dev_pause(struct dev *);
void virtio_mmio_dev_resume(struct dev *);

/* QEMU's word for legacy drivers, which we do not serve. */
#define VIRTIO_mmio_PROPS(type) \
	PROP_FLAG("force-legacy", type, t.p_force_legacy, 0, "the transport is version 2 only: off")

extern const struct state_desc virtio_mmio_state;

#endif

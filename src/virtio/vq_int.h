/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a virtqueue, and what a transport does with queues and negotiation.
 *
 * Ring memory is shared with a hostile guest on other threads. It is only touched by the ld_/st_
 * helpers here: each field once, atomically, into a local.
 */
#ifndef VIRTIO_VQ_INT_H
#define VIRTIO_VQ_INT_H

#include "base/base.h"
#include "virtio/virtio.h"

/* Status bits (2.1). */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER	  0x02u
#define VIRTIO_STATUS_DRIVER_OK	  0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED	  0x80u

/* Descriptor flags (2.7.5, 2.8): the same bits in both layouts. */
#define VQ_DESC_NEXT	 1u
#define VQ_DESC_WRITE	 2u
#define VQ_DESC_INDIRECT 4u
#define VQ_DESC_AVAIL	 (1u << 7) /* packed */
#define VQ_DESC_USED	 (1u << 15)

struct vq_desc { /* split, and the entries of its indirect tables */
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct vq_packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

/* A chain that IN_ORDER holds back until those before it are done. */
struct vq_done {
	uint16_t head, ndesc;
	uint32_t written;
	bool valid, writable;
};

struct vq {
	struct virtio *v;
	uint16_t index;
	/* What the driver sets up; refused while enabled, so that it is frozen then. */
	uint16_t size; /* entries */
	uint64_t desc, driver, device;
	uint16_t vector; /* the transport's */
	bool enabled;
	bool packed, event_idx, indirect, in_order; /* from the features, at enabling */
	/* Where we are. Split: free-running indices; packed: slots and wrap counters. */
	uint16_t avail_idx, used_idx;
	bool avail_wrap, used_wrap;
	uint32_t in_flight;   /* split: chains, packed: slots taken and not returned */
	uint32_t unsignalled; /* used entries (packed: slots) since the last vq_notify() */
	uint32_t pop_seq, push_seq;
	bool kick_off;
	bool event_published; /* the driver knows event_at */
	uint16_t event_at;
	struct vq_done *done; /* IN_ORDER: by seq */
	uint32_t done_mask;
	struct vq_desc *table; /* copy of the indirect table in work, v->vq_size entries */
	/* Ring parts in host memory, valid for one generation of the address map. */
	uint64_t map_generation;
	uint8_t *h_desc, *h_driver, *h_device;
};

/* One load or store of a field in shared memory. */
#define shared_ld(p)		__atomic_load_n((p), __ATOMIC_RELAXED)
#define shared_ld_acquire(p)	__atomic_load_n((p), __ATOMIC_ACQUIRE)
#define shared_st(p, v)		__atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define shared_st_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

static inline bool virtio_is_broken(const struct virtio *v)
{
	return __atomic_load_n(&v->broken, __ATOMIC_ACQUIRE);
}

/* Adds [gpa, gpa + len) to the chain; false when the driver broke a rule (and was told). */
bool vq_chain_add(struct vq *, struct vq_chain *, uint64_t gpa, uint32_t len, bool write);
/* Reads an indirect table of len bytes into vq->table; its number of entries, or 0 = broken. */
uint32_t vq_read_table(struct vq *, uint64_t gpa, uint32_t len);
/* Tells the address map that the device wrote to a ring part. */
void vq_wrote(struct vq *, const void *host, size_t len);

/* The two layouts (vq_split.c, vq_packed.c). has: 1 = a chain waits, 0 = none, -1 = broken. */
int vq_split_has(struct vq *);
int vq_split_pop(struct vq *, struct vq_chain *);
void vq_split_unpop(struct vq *, const struct vq_chain *);
void vq_split_put(struct vq *, const struct vq_done *);
bool vq_split_wants_irq(struct vq *);
void vq_split_publish(struct vq *); /* kick suppression as vq->kick_off says */
bool vq_split_map(struct vq *);

int vq_packed_has(struct vq *);
int vq_packed_pop(struct vq *, struct vq_chain *);
void vq_packed_unpop(struct vq *, const struct vq_chain *);
void vq_packed_put(struct vq *, const struct vq_done *);
bool vq_packed_wants_irq(struct vq *);
void vq_packed_publish(struct vq *);
bool vq_packed_map(struct vq *);

/* Host memory for len bytes at gpa that are contiguous there, aligned; NULL = not so. */
uint8_t *vq_map_part(struct vq *, uint64_t gpa, uint64_t len, unsigned align, bool write);

/* ---- for transports, under the device's lock ---- */

void vq_init(struct vq *, struct virtio *, uint16_t index);
/* Freezes the parameters and starts from the beginning; breaks the device if they are absurd. */
void vq_enable(struct vq *);
/* After a load of vq_state, once the features are known: what is derived. */
int vq_thaw(struct vq *, struct err *e) MUST_CHECK;
/* Disabled, everything forgotten. Nobody uses the queue. */
void vq_clear(struct vq *);

/* Allocates the queues. */
int virtio_init(struct virtio *, struct err *e) MUST_CHECK;
void virtio_fini(struct virtio *);
uint64_t virtio_offered(const struct virtio *);
/* The driver writes the status: negotiation, start, reset. */
void virtio_set_status(struct virtio *, uint8_t val);
uint8_t virtio_get_status(const struct virtio *);
void virtio_set_driver_features(struct virtio *, unsigned word, uint32_t val);
void virtio_reset(struct virtio *);
/* Quiesces and continues, without the driver noticing. */
void virtio_pause(struct virtio *);
void virtio_resume(struct virtio *);
/*
 * Whether the device may touch memory: off quiesces it as a pause does, on continues. Without a
 * word from the transport it may.
 */
void virtio_set_dma(struct virtio *, bool on);
/* RING_RESET of one queue. */
void virtio_reset_queue(struct virtio *, unsigned n);
/* The driver kicked queue n (any number: hostile). */
void virtio_kick(struct virtio *, unsigned n);

/* virtio_bell.c: the driver has started the device: kicks of its queues need no exit of a vCPU. */
void virtio_bells_start(struct virtio *);
/* Control thread, without the lock, which the loop may want: back to exits, for good. */
void virtio_bells_fini(struct virtio *);

extern const struct state_desc vq_state, virtio_state;

#endif

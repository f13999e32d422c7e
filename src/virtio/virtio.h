/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract between a virtio device and its transport, and the one ring implementation.
 * Source: Virtual I/O Device (VIRTIO) Version 1.2.
 *
 * A device type says its id, features, queues and configuration space; the transport (virtio_pci.c,
 * virtio_mmio.c) owns negotiation, queue set-up and interrupts. A device is
 *	struct virtio_blk { struct virtio v; ... };
 * and knows no transport: virtio_dev.h makes a dev_type of it for each. Queue parameters are copied
 *and frozen when the queue is enabled; nothing of a ring is read twice. A driver that breaks the
 *rules gets DEVICE_NEEDS_RESET and its queues stop; the VM goes on.
 */
#ifndef VIRTIO_VIRTIO_H
#define VIRTIO_VIRTIO_H

#include "base/base.h"
#include "core/dev.h"
#include "mem/map.h"
#include <sys/uio.h>

#define VIRTIO_F_INDIRECT_DESC	   28
#define VIRTIO_F_EVENT_IDX	   29
#define VIRTIO_F_VERSION_1	   32
#define VIRTIO_F_RING_PACKED	   34
#define VIRTIO_F_IN_ORDER	   35
#define VIRTIO_F_NOTIFICATION_DATA 38
#define VIRTIO_F_RING_RESET	   40

#define VQ_MAX_SIZE 1024
#define VQ_MAX_SEGS 1024 /* iovec entries of one chain, after splitting at RAM block ends */

struct virtio;
struct vq;

/* A buffer chain taken from a ring, validated and translated; iov points into guest RAM. */
struct vq_chain {
	uint16_t head;		  /* split: descriptor index; packed: buffer id */
	uint16_t ndesc;		  /* ring slots it took */
	uint32_t seq;		  /* order of pops, for IN_ORDER */
	unsigned out_n, in_n;	  /* device-readable, then device-writable entries of iov */
	uint64_t out_len, in_len; /* bytes */
	/*
	 * Room for VQ_MAX_SEGS, the caller's. vq_push() reads it again to tell the code watch of
	 * RAM what was written, so the device leaves it as it is until then.
	 */
	struct iovec *iov;
};

/* The device side of one type. All calls under the device lock of the transport. */
struct virtio_type {
	const char *name;
	uint16_t id;	    /* virtio device id */
	uint32_t pci_class; /* class, subclass, interface: 0x010000 for storage */
	/* Properties and v->dev are set; sets nr_vqs, vq_size, cfg_len. */
	int (*init)(struct virtio *, struct err *e);
	/* The transport has the device in the guest's reach. Optional. */
	int (*plugged)(struct virtio *, struct err *e);
	/* Before and after the transport takes it away; a half-done init is fine. Optional. */
	void (*unplug)(struct virtio *);
	void (*fini)(struct virtio *);
	/* The machine goes on after a pause, before queues start. Optional. */
	void (*resume)(struct virtio *);
	uint64_t (*features)(struct virtio *); /* device-specific bits offered */
	/* DRIVER_OK was set: queues may be used. */
	int (*start)(struct virtio *, struct err *e);
	/* Reset or pause: when it returns no request is in flight and no thread touches the rings. */
	void (*stop)(struct virtio *);
	/* The driver or the machine reset the device (after stop): forget what the driver set.
	 * Optional. */
	void (*reset)(struct virtio *);
	/* The size that queue n offers, where it is less than vq_size. Optional. */
	uint16_t (*queue_size)(const struct virtio *, unsigned n);
	/* The driver kicked queue n. May run on a vCPU thread: hand over quickly. */
	void (*kick)(struct virtio *, unsigned n);
	/* So little comes of a kick that another thread is not worth waking: see virtio_bell.c. */
	bool kick_in_place;
	/* RING_RESET of one queue: finish or drop what is in flight of it. Optional. */
	void (*queue_reset)(struct virtio *, unsigned n);
	/* Configuration space: cfg[] holds it; called after the driver wrote [off, off+len).
	 * Optional. */
	void (*cfg_written)(struct virtio *, unsigned off, unsigned len);
};

struct virtio {
	const struct virtio_type *type;
	struct vm *vm;
	struct dev *dev;   /* the transport's device, for messages and the lock */
	struct loop *loop; /* where its queues are served: the VM's, or what type->init chose */
	/* properties of every device */
	bool p_event_idx, p_indirect, p_packed, p_in_order, p_queue_reset, p_notify_data;
	/* set by type->init */
	unsigned nr_vqs;
	uint16_t vq_size; /* offered queue size, power of two <= VQ_MAX_SIZE */
	uint32_t vectors; /* interrupt vectors that make sense; 0 = one a queue and one */
	unsigned cfg_len;
	uint8_t cfg[256];
	uint8_t cfg_wmask[256]; /* bits of cfg the driver may write */
	/* the transport's */
	struct vq *vqs;		  /* nr_vqs */
	uint64_t ring_features;	  /* transport and ring bits offered besides the type's */
	uint64_t driver_features; /* what the driver has written so far */
	uint64_t features;	  /* negotiated; frozen at FEATURES_OK */
	uint8_t status;		  /* without NEEDS_RESET, which is `broken` */
	bool broken;		  /* any thread, atomic */
	bool started;		  /* between type->start and ->stop */
	bool may_dma;		  /* the bus lets it; see virtio_set_dma() */
	uint32_t cfg_generation;  /* any thread, atomic */
	/* Where the guest kicks queue n: doorbell n at off + n * step, or where it writes n. */
	struct map_region *bell_region;
	uint32_t bell_off, bell_step;
	bool bell_match;
	struct virtio_bells *bells; /* virtio_bell.c; NULL until a driver has started the device */
	/* interrupt: n = queue number, or -1 for configuration. Any thread. */
	void (*notify)(struct virtio *, int n);
};

static inline bool virtio_has(const struct virtio *v, unsigned bit)
{
	return v->features >> bit & 1;
}

/* The virtio device that d is the transport of, or NULL. */
struct virtio *virtio_of(struct dev *d);

/*
 * The configuration space changed on the device's initiative: generation, interrupt. The device
 * changes cfg[] and calls this under dev->lock.
 */
void virtio_cfg_changed(struct virtio *);
/* The driver broke the specification: NEEDS_RESET, queues stop. Any thread. */
void virtio_break(struct virtio *, const char *fmt, ...) PRINTF_LIKE(2, 3);

struct vq *virtio_vq(struct virtio *, unsigned n);
unsigned vq_index(const struct vq *);
bool vq_enabled(const struct vq *);
uint16_t vq_ring_size(const struct vq *); /* as the driver chose it, <= vq_max_size() */
uint16_t vq_max_size(const struct vq *);  /* as offered */

/*
 * Takes the next available chain; chain->iov must have room for VQ_MAX_SEGS entries.
 * 1 = got one, 0 = ring empty, -1 = the driver is broken (virtio_break() was called).
 * A queue is used by one thread at a time.
 */
int vq_pop(struct vq *, struct vq_chain *);
/* Puts the last popped chain back as if it had not been popped. */
void vq_unpop(struct vq *, const struct vq_chain *);
/* Returns a chain, with written bytes at the start of its device-writable part. */
void vq_push(struct vq *, const struct vq_chain *, uint32_t written);
/* Interrupts the driver if it wants that (EVENT_IDX, suppression flags); after one or more pushes. */
void vq_notify(struct vq *);
/*
 * Whether the driver should kick; enabling returns true when the ring has become non-empty. Kicks
 * start enabled; while they are, a driver with EVENT_IDX is asked for one whenever vq_pop() or
 * vq_empty() has found the ring empty. So a device pops until it gets 0, or comes back by itself.
 */
void vq_disable_kick(struct vq *);
bool vq_enable_kick(struct vq *);
bool vq_empty(struct vq *);

/* Copies between a chain's iov and memory; offsets in bytes; return bytes copied. */
size_t iov_to_buf(const struct iovec *, unsigned n, size_t off, void *to, size_t len);
size_t iov_from_buf(const struct iovec *, unsigned n, size_t off, const void *from, size_t len);

#endif

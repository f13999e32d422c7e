/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio block device: what its two files and its tests share. VIRTIO 1.2 section 5.2. */
#ifndef VIRTIO_VIRTIO_BLK_H
#define VIRTIO_VIRTIO_BLK_H

#include "block/block.h"
#include "virtio/virtio.h"

#define VBLK_MAX_QUEUES 256
#define VBLK_MAX_SEGS	32 /* of one discard or write zeroes */
#define VBLK_ID_LEN	20

struct obj_iothread;

struct vblk_queue {
	struct virtio_blk *b;
	struct loop_work work;
	unsigned index;
	bool stopped; /* by RING_RESET, until the next kick */
};

struct virtio_blk {
	struct virtio v; /* first */
	/* properties */
	char *drive, *serial, *iothread;
	uint16_t num_queues, queue_size;
	uint8_t write_cache; /* enum prop_onoffauto */
	uint32_t logical, physical, min_io, opt_io, bootindex;
	uint32_t max_discard, max_zeroes; /* sectors of 512 bytes */
	bool config_wce, discard, write_zeroes;
	/* host */
	struct blk_node *node;
	struct obj_iothread *io; /* where the queues and the node are, or NULL: the control loop */
	bool moved;		 /* the node is on io's loop */
	struct vblk_queue *queue;
	struct iovec *scratch;	/* VQ_MAX_SEGS: of the chain being looked at */
	struct vblk_req *spare; /* finished ones, to be used again */
	unsigned nr_spare;
	pthread_mutex_t lock; /* of the rings and everything above from node on; inside dev->lock */
	bool running, wce, wce_default;
	struct log_limit io_errors;
};

/* virtio_blk_req.c: takes what the ring has (up to a budget). True: there may be more. */
bool vblk_process(struct vblk_queue *);
void vblk_free_spare(struct virtio_blk *);

extern const struct dev_type virtio_blk_pci_type, virtio_blk_mmio_type;

#endif

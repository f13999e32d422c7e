/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block nodes. Here: raw files and block devices, through io_uring (fall-back: a worker pool).
 * Requests complete on the node's loop. Later formats and protocols become further types.
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include "base/base.h"
#include "core/conf.h"
#include "loop/loop.h"
#include <sys/uio.h>

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_ZERO };
#define BLK_NR_OPS 5

struct blk_node;

/* Embedded in its owner; the node's until done() is called. */
struct blk_req {
	enum blk_op op;
	uint64_t off, len;	 /* bytes; multiples of blk_info.sector */
	const struct iovec *iov; /* READ, WRITE: covers len */
	unsigned niov;
	bool unmap;				 /* ZERO: holes are fine */
	bool fua;				 /* WRITE, ZERO: on stable storage before done(0) */
	void (*done)(struct blk_req *, int ret); /* 0 or -errno; on the loop's thread,
						  * or on that of blk_drain() */
	/* node's */
	uint64_t priv[7];
	struct blk_req *next;
};

struct blk_info {
	uint64_t size;	   /* bytes */
	uint32_t sector;   /* logical sector: requests are multiples of it */
	uint32_t physical; /* preferred I/O unit */
	bool read_only, can_discard, can_zero, rotational, write_cache;
};

/* What a node has done since it was opened, and since it was last asked to do something. */
struct blk_stats {
	struct blk_op_stats {
		uint64_t done, bytes; /* completed without an error */
		uint64_t failed;      /* the host could not */
		uint64_t invalid;     /* refused: unaligned, beyond the end, read-only */
		uint64_t ns;	      /* from blk_submit() to done(), also of what failed */
	} op[BLK_NR_OPS];
	uint64_t wr_highest; /* end of the highest write that was done; bytes */
	uint64_t idle_ns;    /* since the last completion; 0 = there was none */
};

/*
 * Opens the node of a CONF_DRIVE (file, format=raw, readonly, cache, aio, discard). Takes a
 * lock on the file so that two VMs cannot write one image. NULL with e set on failure.
 */
struct blk_node *blk_open(struct loop *, struct conf_node *node, struct err *e);
/*
 * Opens a node of -blockdev: node->type is the driver (file, host_device or raw), node->id its
 * node-name. A raw node stands on another one, which graph gives by name, for this user alone, or
 * which the keys "file.driver" and so on describe.
 */
struct blk_graph {
	struct blk_node *(*take)(struct blk_graph *, const char *name, struct err *e);
};
struct blk_node *blk_open_dev(struct loop *, struct conf_node *node, struct blk_graph *graph,
			      struct err *e);
/* How the node's worker threads are confined; conf outlives the node. Before the first request. */
void blk_confine(struct blk_node *, const struct sandbox_conf *conf);
struct blk_node *blk_close(struct blk_node *); /* drains first */
/*
 * Moves the node, with what is below it, to another loop: first leave on the old one's thread (or
 * while it does not run), then join on the new one's, which does not fail on an epoll descriptor
 * that works. Requests that are submitted in between wait.
 */
void blk_leave_loop(struct blk_node *);
int blk_join_loop(struct blk_node *, struct loop *, struct err *e) MUST_CHECK;
/* The node that this one stands on, or NULL. */
struct blk_node *blk_child(const struct blk_node *);

/* What a node is, in the words of query-named-block-nodes. Strings are the node's. */
struct blk_desc {
	const char *driver;   /* "file", "host_device", "raw" */
	const char *filename; /* of the file at the bottom */
	uint64_t offset;      /* of a raw node in its child */
	bool direct, no_flush, discard;
	const char *detect_zeroes; /* "off", "on" or "unmap" */
};
void blk_describe(const struct blk_node *, struct blk_desc *);
const struct blk_info *blk_info(const struct blk_node *);

/* Any thread. Counters are each exact, and together as of about one moment. */
void blk_get_stats(const struct blk_node *, struct blk_stats *);
/* The path that the node was opened with. */
const char *blk_path(const struct blk_node *);
/* Bytes that the image takes on the host, as stat(2) says; 0 for a block device. */
uint64_t blk_allocated(const struct blk_node *);

/* "io_uring" or "threads": how the node does its I/O. */
const char *blk_engine(const struct blk_node *);
/* The keys of a CONF_DRIVE that blk_open() reads; NULL-terminated. */
extern const char *const blk_drive_keys[];

/*
 * Queues a request; what one round of the loop brings is sent to the kernel together. done() is
 * never called from inside blk_submit(). A request that is not aligned, reaches beyond the end or
 * writes to a read-only node completes with an error. Order between requests in flight is not
 * kept; FLUSH covers completed writes. Any thread.
 */
void blk_submit(struct blk_node *, struct blk_req *);
/* Waits until nothing is in flight; runs completions itself. Any thread, but not inside done(). */
void blk_drain(struct blk_node *);

#endif

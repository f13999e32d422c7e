/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside src/block only: the node, its synchronous operations, its two I/O engines. */
#ifndef BLOCK_BLOCK_INT_H
#define BLOCK_BLOCK_INT_H

#include "block/block.h"
#include <pthread.h>

#define BLK_POOL_MAX  16  /* worker threads of a node */
#define BLK_URING_LEN 128 /* requests of a node in the kernel at once */

struct blk_uring;

struct blk_reqs { /* a queue, linked by blk_req.next */
	struct blk_req *head, **tail;
};

struct blk_worker {
	struct blk_node *node;
	pthread_t thread;
	bool running, ended; /* ended: to be joined */
};

/* Everything in here is guarded by lock, but what says otherwise. */
struct blk_pool {
	pthread_mutex_t lock;
	pthread_cond_t work, finished;
	struct blk_reqs todo, done;
	struct blk_worker worker[BLK_POOL_MAX];
	/* todo's length; workers that wait for it; handed over and not on done yet */
	unsigned waiting, idle, pending;
	bool quit;
};

/* struct blk_stats while it grows: written with run_lock held, read by any thread. */
struct blk_counters {
	struct {
		_Atomic uint64_t done, bytes, failed, invalid, ns;
	} op[BLK_NR_OPS];
	_Atomic uint64_t wr_highest, last_ns;
};

enum blk_detect { BLK_DETECT_OFF, BLK_DETECT_ON, BLK_DETECT_UNMAP };

/* How to open a file. */
enum blk_aio { BLK_AIO_AUTO, BLK_AIO_THREADS, BLK_AIO_URING };
struct blk_options {
	const char *file;
	bool read_only, auto_read_only, direct, no_flush, writeback, discard, lock;
	enum blk_detect detect;
	enum blk_aio aio;
};

struct blk_node {
	struct loop *loop;
	const struct vm_conf *conf; /* for /dev/fdset/N */
	const char *driver;
	/* A raw node: offset bytes into child, which does everything; no more below matters. */
	struct blk_node *child;
	bool owns_child;
	uint64_t offset;
	enum blk_detect detect;
	bool auto_read_only; /* of read_only: may become so (blk_file_make_read_only()) */
	char *read_only_why; /* auto_read_only: why it could not be written, or NULL */
	char *path;
	int fd;
	struct blk_info info;
	bool is_dev, direct, no_flush, discard, locked;
	uint32_t mem_align; /* of buffers, for direct I/O */
	/* Set by any thread once the host said that it cannot. */
	atomic_bool no_punch, no_zero_range, no_dsync, flush_failed;

	const struct sandbox_conf *sandbox; /* of its workers; NULL: none */

	pthread_mutex_t run_lock; /* whoever starts requests and takes completions */
	/* The thread in blk_drain() may be a vCPU's, which makes no threads. Under run_lock. */
	bool draining;
	pthread_mutex_t lock;	 /* of queue; inner */
	struct blk_reqs queue;	 /* submitted, not yet with an engine */
	struct loop_fd wake;	 /* eventfd: something for the loop's thread to do */
	atomic_uint inflight;	 /* submitted and done() not called */
	struct blk_uring *uring; /* NULL: the pool does everything */
	struct blk_pool pool;
	struct blk_counters stats;
};

/* The node with the file, under all raw nodes. */
static inline struct blk_node *blk_bottom(const struct blk_node *n)
{
	while (n->child)
		n = n->child;
	return (struct blk_node *)n;
}

static inline void blk_reqs_init(struct blk_reqs *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

static inline void blk_reqs_add(struct blk_reqs *q, struct blk_req *r)
{
	r->next = NULL;
	*q->tail = r;
	q->tail = &r->next;
}

static inline struct blk_req *blk_reqs_pop(struct blk_reqs *q)
{
	struct blk_req *r = q->head;

	if (r && !(q->head = r->next))
		q->tail = &q->head;
	return r;
}

/* Use of blk_req.priv */
#define BLK_DONE(r)    ((r)->priv[0]) /* READ, WRITE: bytes that are through already */
#define BLK_RESULT(r)  ((r)->priv[1]) /* of the pool, as (uint64_t)(int64_t)ret */
#define BLK_SHIFT(r)   ((r)->priv[3]) /* how far raw nodes above moved off */
#define BLK_REFUSED(r) ((r)->priv[4]) /* errno: a raw node above does not take it */
#define BLK_ZEROES(r)  ((r)->priv[5]) /* a WRITE that became a ZERO; 2: unmap was not set before */
#define BLK_SCAN(r)    ((r)->priv[6]) /* a WRITE, begins with zeroes: enum blk_detect for a worker */
#define BLK_IGNORED    UINT64_MAX     /* as errno: done, without doing anything */
#define BLK_START(r)   ((r)->priv[2]) /* when it was submitted, CLOCK_MONOTONIC ns */

/* node.c: lets the loop's thread look at the node. Any thread. */
void blk_wake(struct blk_node *);
/* node.c: done(ret) and the accounting around it. run_lock held, as for all below. */
void blk_complete(struct blk_node *, struct blk_req *, int ret);

/* stats.c: r is complete, with ret. run_lock held. */
void blk_account(struct blk_node *, const struct blk_req *, int ret, bool refused);

/* node.c: nothing yet but what is needed for blk_close(). */
struct blk_node *blk_node_new(struct loop *, const struct vm_conf *);
/* node.c: why n does not take r: 0 or -errno. */
int blk_refuse(const struct blk_node *n, const struct blk_req *r);
/* open.c: opens the file of o, locks it, starts its engine. */
int blk_file_open(struct blk_node *, const struct blk_options *o, struct err *e);
/* open.c: an auto_read_only file that is open for writing becomes read-only; nothing is in flight. */
int blk_file_make_read_only(struct blk_node *, struct err *e);
/* open.c: the keys that all drivers and drives have in common. */
int blk_read_common(struct conf_node *, struct blk_options *o, struct err *e);
/*
 * detect.c: makes a WRITE of zeroes a ZERO, as detect says. What is too long for the thread that
 * submits it is left to blk_detect_rest(), which takes its time, by BLK_SCAN().
 */
void blk_detect(struct blk_req *r, enum blk_detect detect);
void blk_detect_rest(struct blk_req *r);

/* lock.c: see there. 0 or -errno with e set. */
int blk_lock_file(int fd, bool read_only, const char *path, struct err *e);

/* probe.c: fills info, is_dev and mem_align of an open node. */
int blk_probe(struct blk_node *, struct err *e);

/* file.c: carries a request out with blocking system calls. 0 or -errno. Any thread. */
int blk_file_do(struct blk_node *, struct blk_req *);
/* Can the kernel take the request's buffers as they are (direct I/O)? */
bool blk_iov_aligned(const struct blk_node *, const struct blk_req *);

/* pool.c: worker threads, started on demand, gone after a while without work. */
void blk_pool_init(struct blk_pool *);
void blk_pool_fini(struct blk_pool *);
void blk_pool_submit(struct blk_node *, struct blk_req *);
/* Completes what workers have finished; with wait set, waits for at least one. */
void blk_pool_reap(struct blk_node *, bool wait);
bool blk_pool_busy(struct blk_pool *);

/* uring.c. NULL with e set when the host does not let us. */
struct blk_uring *blk_uring_new(int eventfd, struct err *e);
struct blk_uring *blk_uring_free(struct blk_uring *);
/* Takes the request, or false: full, or not one for io_uring (see blk_uring_takes()). */
bool blk_uring_queue(struct blk_node *, struct blk_req *);
bool blk_uring_takes(const struct blk_node *, const struct blk_req *);
void blk_uring_submit(struct blk_node *);
void blk_uring_reap(struct blk_node *, bool wait);
bool blk_uring_busy(const struct blk_uring *);

/* What a completion of the kernel means for a request that it was given whole. */
enum blk_verdict { BLK_V_DONE, BLK_V_ERROR, BLK_V_REST };
enum blk_verdict blk_judge(struct blk_req *, int res);

#endif

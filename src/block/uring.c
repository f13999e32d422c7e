/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring engine: reads, writes and flushes of a node, one submission call for what a round of
 * the loop brought. Completions raise the node's eventfd.
 *
 * A transfer that the kernel did only in part, or interrupted, is finished by the worker pool,
 * which has one copy of that logic. Under the node's run_lock.
 */
#include "block/block_int.h"
#include "base/trace.h"

#include <limits.h>
#include <liburing.h>

/* #syscalls control vcpu io: io_uring_enter */
/* #syscalls control: io_uring_setup io_uring_register */

struct blk_uring {
	struct io_uring ring;
	unsigned queued;   /* prepared, not submitted */
	unsigned inflight; /* queued or in the kernel */
};

struct blk_uring *blk_uring_new(int eventfd, struct err *e)
{
	struct blk_uring *u = xnew(struct blk_uring);
	int ret = io_uring_queue_init(BLK_URING_LEN, &u->ring, IORING_SETUP_CLAMP);

	if (ret == 0) {
		ret = io_uring_register_eventfd(&u->ring, eventfd);
		if (ret == 0)
			return u;
		io_uring_queue_exit(&u->ring);
	}
	err_set_errno(e, -ret, "io_uring is not available (use aio=threads)");
	free(u);
	return NULL;
}

struct blk_uring *blk_uring_free(struct blk_uring *u)
{
	if (u) {
		io_uring_queue_exit(&u->ring);
		free(u);
	}
	return NULL;
}

bool blk_uring_takes(const struct blk_node *n, const struct blk_req *r)
{
	switch (r->op) {
	case BLK_READ:
	case BLK_WRITE:
		if (r->op == BLK_WRITE && r->fua && atomic_load(&n->no_dsync))
			return false;
		return r->niov <= IOV_MAX && blk_iov_aligned(n, r);
	case BLK_FLUSH:
		return !n->no_flush && !atomic_load(&n->flush_failed);
	default:
		return false;
	}
}

bool blk_uring_queue(struct blk_node *n, struct blk_req *r)
{
	struct blk_uring *u = n->uring;
	struct io_uring_sqe *sqe;

	if (u->inflight >= BLK_URING_LEN)
		return false;
	sqe = io_uring_get_sqe(&u->ring);
	if (!sqe)
		return false;
	switch (r->op) {
	case BLK_READ:
		io_uring_prep_readv(sqe, n->fd, r->iov, r->niov, r->off);
		break;
	case BLK_WRITE:
		io_uring_prep_writev2(sqe, n->fd, r->iov, r->niov, r->off, r->fua ? RWF_DSYNC : 0);
		break;
	default:
		io_uring_prep_fsync(sqe, n->fd, IORING_FSYNC_DATASYNC);
		break;
	}
	io_uring_sqe_set_data(sqe, r);
	u->queued++;
	u->inflight++;
	return true;
}

enum blk_verdict blk_judge(struct blk_req *r, int res)
{
	if (res == -EINTR || res == -EAGAIN)
		return BLK_V_REST;
	/* RWF_DSYNC unknown: the pool tries again, and notes it */
	if (res == -EOPNOTSUPP && r->op == BLK_WRITE && r->fua)
		return BLK_V_REST;
	if (res < 0)
		return BLK_V_ERROR;
	if (r->op == BLK_FLUSH || (uint64_t)res >= r->len)
		return BLK_V_DONE;
	BLK_DONE(r) = (uint64_t)res;
	return BLK_V_REST;
}

/* A direct transfer that stopped inside a sector can only have met the end of the file. */
static void to_pool(struct blk_node *n, struct blk_req *r)
{
	if (n->direct)
		BLK_DONE(r) = align_down(BLK_DONE(r), n->info.sector);
	blk_pool_submit(n, r);
}

static void finish(struct blk_node *n, struct blk_req *r, int res)
{
	switch (blk_judge(r, res)) {
	case BLK_V_DONE:
		blk_complete(n, r, 0);
		break;
	case BLK_V_ERROR:
		if (r->op == BLK_FLUSH && !n->direct)
			atomic_store(&n->flush_failed, true);
		blk_complete(n, r, res);
		break;
	case BLK_V_REST:
		to_pool(n, r);
		break;
	}
}

/* The kernel refused to take prepared entries for good: they must not be lost. */
static void fail_queued(struct blk_node *n, int ret)
{
	struct blk_uring *u = n->uring;
	struct io_uring_sq *sq = &u->ring.sq;
	unsigned mask = *sq->kring_mask;

	while (u->queued) {
		unsigned at = sq->sqe_tail - u->queued;
		struct blk_req *r = (void *)(uintptr_t)sq->sqes[at & mask].user_data;

		/* A no-op without an owner is all that may still reach the kernel. */
		io_uring_prep_nop(&sq->sqes[at & mask]);
		io_uring_sqe_set_data(&sq->sqes[at & mask], NULL);
		u->queued--;
		u->inflight--;
		blk_complete(n, r, ret);
	}
}

void blk_uring_submit(struct blk_node *n)
{
	struct blk_uring *u = n->uring;

	while (u->queued) {
		int ret = io_uring_submit(&u->ring);

		trace_luring_do_submit_done(n->path, ret);
		if (ret > 0) {
			u->queued -= MIN((unsigned)ret, u->queued);
		} else if (ret == -EBUSY || ret == -EAGAIN) {
			/* completions have to be taken first; the rest goes with the next round */
			blk_uring_reap(n, u->inflight > u->queued);
		} else if (ret != -EINTR) {
			fail_queued(n, ret < 0 ? ret : -EIO);
		}
	}
}

void blk_uring_reap(struct blk_node *n, bool wait)
{
	struct blk_uring *u = n->uring;
	struct io_uring_cqe *cqe;

	while (wait && io_uring_wait_cqe(&u->ring, &cqe) == -EINTR)
		;
	while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
		struct blk_req *r = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&u->ring, cqe);
		if (!r)
			continue;
		u->inflight--;
		trace_luring_process_completion(n->path, r->off, res);
		finish(n, r, res);
	}
}

bool blk_uring_busy(const struct blk_uring *u)
{
	return u && u->inflight;
}

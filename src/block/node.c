/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A raw block node: a regular file or block device of the host, byte for byte the guest's disk.
 *
 * Requests of any thread go to a queue; an eventfd brings the loop's thread here, which gives
 * them to io_uring or to the worker pool, and takes completions from both. A thread that drains
 * does the same work in its place; run_lock keeps the two apart, and is held around done(). The
 * node has no state of its own to save: devices drain it before they are saved.
 */
#include "block/block_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/trace.h"
#include <unistd.h>

void blk_wake(struct blk_node *n)
{
	uint64_t one = 1;
	ssize_t ret;

	do
		ret = write(n->wake.fd, &one, sizeof(one));
	while (ret < 0 && errno == EINTR); /* EAGAIN: it is awake */
}

static void complete(struct blk_node *n, struct blk_req *r, int ret, bool refused)
{
	r->off -= BLK_SHIFT(r);
	if (BLK_ZEROES(r)) {
		r->op = BLK_WRITE;
		r->unmap = BLK_ZEROES(r) != 2;
	}
	trace_blk_co_complete(n->path, r->off, r->len, ret);
	blk_account(n, r, ret, refused);
	atomic_fetch_sub(&n->inflight, 1);
	r->done(r, ret);
}

void blk_complete(struct blk_node *n, struct blk_req *r, int ret)
{
	complete(n, r, ret, false);
}

/* Why the node does not take a request; the device should have known. */
int blk_refuse(const struct blk_node *n, const struct blk_req *r)
{
	if (r->op == BLK_FLUSH)
		return 0;
	if (r->op != BLK_READ && n->info.read_only)
		return -EROFS;
	if ((r->off | r->len) & (n->info.sector - 1))
		return -EINVAL;
	if (r->off > n->info.size || r->len > n->info.size - r->off)
		return -ENXIO;
	return 0;
}

/* Gives r to an engine; false when it has to wait for room. */
static bool start(struct blk_node *n, struct blk_req *r)
{
	uint64_t above = BLK_REFUSED(r);
	int ret = above && above != BLK_IGNORED ? -(int)above : blk_refuse(n, r);

	if (ret || above || (r->op != BLK_FLUSH && !r->len)) {
		complete(n, r, ret, ret != 0);
		return true;
	}
	if (r->op == BLK_FLUSH && n->no_flush) {
		blk_complete(n, r, 0);
		return true;
	}
	r->fua = (r->fua || !n->info.write_cache) && !n->no_flush;
	if (n->uring && !BLK_SCAN(r) && blk_uring_takes(n, r))
		return blk_uring_queue(n, r);
	blk_pool_submit(n, r);
	return true;
}

/* Starts what is queued, as far as the engines take it. */
static void start_queued(struct blk_node *n)
{
	struct blk_reqs q;
	struct blk_req *r, *rest = NULL;

	pthread_mutex_lock(&n->lock);
	q = n->queue;
	blk_reqs_init(&n->queue);
	pthread_mutex_unlock(&n->lock);
	while ((r = q.head)) {
		struct blk_req *next = r->next;

		if (!start(n, r)) {
			rest = r;
			break;
		}
		q.head = next;
	}
	if (rest) { /* in front of what came meanwhile */
		pthread_mutex_lock(&n->lock);
		*q.tail = n->queue.head;
		if (n->queue.head)
			q.tail = n->queue.tail;
		n->queue.head = rest;
		n->queue.tail = q.tail;
		pthread_mutex_unlock(&n->lock);
	}
	if (n->uring)
		blk_uring_submit(n);
}

static bool queue_empty(struct blk_node *n)
{
	bool empty;

	pthread_mutex_lock(&n->lock);
	empty = !n->queue.head;
	pthread_mutex_unlock(&n->lock);
	return empty;
}

/* One round: completions first, which makes room. run_lock held. */
static void work(struct blk_node *n)
{
	if (n->uring)
		blk_uring_reap(n, false);
	blk_pool_reap(n, false);
	start_queued(n);
	if (!n->uring)
		return;
	blk_uring_reap(n, false); /* cached data is there at once */
	if (!queue_empty(n) && !blk_uring_busy(n->uring))
		blk_wake(n); /* nothing will complete and call us for the rest */
}

static void on_wake(struct loop_fd *f, uint32_t ready)
{
	struct blk_node *n = container_of(f, struct blk_node, wake);
	uint64_t count;

	if (read(f->fd, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR)
		log_error("'%s': eventfd: %s", n->path, strerror(errno));
	pthread_mutex_lock(&n->run_lock);
	work(n);
	pthread_mutex_unlock(&n->run_lock);
}

/* What a raw node does: to say no, and where in its child the request goes. */
static void pass_down(const struct blk_node *n, struct blk_req *r)
{
	int ret = BLK_REFUSED(r) ? 0 : blk_refuse(n, r);

	blk_detect(r, n->detect);
	if (ret)
		BLK_REFUSED(r) = (uint64_t)-ret;
	else if (r->op == BLK_DISCARD && !n->info.can_discard)
		BLK_REFUSED(r) = BLK_IGNORED;
	if (r->op != BLK_FLUSH && !BLK_REFUSED(r)) {
		r->off += n->offset;
		BLK_SHIFT(r) += n->offset;
	}
}

static void trace_submit(const struct blk_node *n, const struct blk_req *r)
{
	const char *path = blk_bottom(n)->path;

	switch (r->op) {
	case BLK_READ:
		trace_blk_co_preadv(path, r->off, r->len);
		break;
	case BLK_WRITE:
		trace_blk_co_pwritev(path, r->off, r->len);
		break;
	case BLK_FLUSH:
		trace_blk_co_flush(path);
		break;
	case BLK_DISCARD:
		trace_blk_co_pdiscard(path, r->off, r->len);
		break;
	case BLK_ZERO:
		trace_blk_co_pwrite_zeroes(path, r->off, r->len);
		break;
	}
}

void blk_submit(struct blk_node *n, struct blk_req *r)
{
	bool first;

	trace_submit(n, r);
	memset(r->priv, 0, sizeof(r->priv));
	for (; n->child; n = n->child)
		pass_down(n, r);
	blk_detect(r, n->detect);
	BLK_START(r) = clock_now_ns();
	atomic_fetch_add(&n->inflight, 1);
	pthread_mutex_lock(&n->lock);
	first = !n->queue.head;
	blk_reqs_add(&n->queue, r);
	pthread_mutex_unlock(&n->lock);
	if (first)
		blk_wake(n);
}

void blk_confine(struct blk_node *n, const struct sandbox_conf *conf)
{
	n->sandbox = conf;
}

void blk_drain(struct blk_node *n)
{
	n = blk_bottom(n);
	pthread_mutex_lock(&n->run_lock);
	n->draining = true;
	while (atomic_load(&n->inflight)) {
		start_queued(n);
		if (blk_uring_busy(n->uring))
			blk_uring_reap(n, true);
		if (blk_pool_busy(&n->pool))
			blk_pool_reap(n, true);
	}
	n->draining = false;
	pthread_mutex_unlock(&n->run_lock);
}

const struct blk_info *blk_info(const struct blk_node *n)
{
	return &n->info;
}

const char *blk_engine(const struct blk_node *n)
{
	return blk_bottom(n)->uring ? "io_uring" : "threads";
}

struct blk_node *blk_child(const struct blk_node *n)
{
	return n->child;
}

void blk_describe(const struct blk_node *n, struct blk_desc *d)
{
	static const char *const detect[] = { "off", "on", "unmap" };
	const struct blk_node *file = blk_bottom(n);

	*d = (struct blk_desc){ .driver = n->driver,
				.filename = file->path,
				.offset = n->offset,
				.direct = file->direct,
				.no_flush = file->no_flush,
				.discard = n->info.can_discard,
				.detect_zeroes = detect[n->detect] };
}

struct blk_node *blk_node_new(struct loop *loop, const struct vm_conf *conf)
{
	struct blk_node *n = xnew(struct blk_node);

	n->loop = loop;
	n->conf = conf;
	n->driver = "file";
	n->fd = n->wake.fd = -1;
	n->wake.events = EPOLLIN;
	n->wake.fn = on_wake;
	pthread_mutex_init(&n->lock, NULL);
	pthread_mutex_init(&n->run_lock, NULL);
	blk_reqs_init(&n->queue);
	blk_pool_init(&n->pool);
	return n;
}

void blk_leave_loop(struct blk_node *n)
{
	n = blk_bottom(n);
	loop_del(n->loop, &n->wake);
}

int blk_join_loop(struct blk_node *n, struct loop *loop, struct err *e)
{
	n = blk_bottom(n);
	n->loop = loop;
	return loop_add(loop, &n->wake, e);
}

struct blk_node *blk_close(struct blk_node *n)
{
	if (!n)
		return NULL;
	blk_drain(n);
	if (n->owns_child)
		blk_close(n->child);
	if (n->wake.fd >= 0) {
		loop_del(n->loop, &n->wake);
		close(n->wake.fd);
	}
	blk_pool_fini(&n->pool);
	blk_uring_free(n->uring);
	if (n->fd >= 0)
		close(n->fd);
	pthread_mutex_destroy(&n->lock);
	pthread_mutex_destroy(&n->run_lock);
	free(n->read_only_why);
	free(n->path);
	free(n);
	return NULL;
}

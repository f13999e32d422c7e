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
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

const char *const blk_drive_keys[] = {
	"file",	 "format",	 "readonly",	   "read-only",
	"cache", "cache.direct", "cache.no-flush", "cache.writeback",
	"aio",	 "discard",	 "locking",	   "detect-zeroes",
	NULL,
};

enum aio { AIO_AUTO, AIO_THREADS, AIO_URING };

struct options {
	const char *file;
	bool read_only, direct, no_flush, writeback, discard, lock;
	enum aio aio;
};

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
	blk_account(n, r, ret, refused);
	atomic_fetch_sub(&n->inflight, 1);
	r->done(r, ret);
}

void blk_complete(struct blk_node *n, struct blk_req *r, int ret)
{
	complete(n, r, ret, false);
}

/* Why the node does not take a request; the device should have known. */
static int refuse(const struct blk_node *n, const struct blk_req *r)
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
	int ret = refuse(n, r);

	if (ret || (r->op != BLK_FLUSH && !r->len)) {
		complete(n, r, ret, ret != 0);
		return true;
	}
	if (r->op == BLK_FLUSH && n->no_flush) {
		blk_complete(n, r, 0);
		return true;
	}
	r->fua = (r->fua || !n->info.write_cache) && !n->no_flush;
	if (n->uring && blk_uring_takes(n, r))
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

void blk_submit(struct blk_node *n, struct blk_req *r)
{
	bool first;

	memset(r->priv, 0, sizeof(r->priv));
	BLK_START(r) = clock_now_ns();
	atomic_fetch_add(&n->inflight, 1);
	pthread_mutex_lock(&n->lock);
	first = !n->queue.head;
	blk_reqs_add(&n->queue, r);
	pthread_mutex_unlock(&n->lock);
	if (first)
		blk_wake(n);
}

void blk_drain(struct blk_node *n)
{
	pthread_mutex_lock(&n->run_lock);
	while (atomic_load(&n->inflight)) {
		start_queued(n);
		if (blk_uring_busy(n->uring))
			blk_uring_reap(n, true);
		if (blk_pool_busy(&n->pool))
			blk_pool_reap(n, true);
	}
	pthread_mutex_unlock(&n->run_lock);
}

const struct blk_info *blk_info(const struct blk_node *n)
{
	return &n->info;
}

const char *blk_engine(const struct blk_node *n)
{
	return n->uring ? "io_uring" : "threads";
}

/* ---- opening ---- */

static int bad_value(struct err *e, const char *key, const char *val, const char *known)
{
	return err_set(e, EINVAL, "%s=%s is not known: %s takes %s", key, val, key, known);
}

static int read_cache_mode(struct conf_node *c, struct options *o, struct err *e)
{
	static const struct {
		const char *name;
		bool direct, no_flush, writeback;
	} modes[] = {
		{ "writeback", false, false, true },	 { "none", true, false, true },
		{ "writethrough", false, false, false }, { "directsync", true, false, false },
		{ "unsafe", false, true, true },
	};
	const char *val = conf_get(c, "cache");
	unsigned i;
	int ret;

	o->writeback = true;
	for (i = 0; val && i < ARRAY_SIZE(modes); i++)
		if (!strcmp(val, modes[i].name)) {
			o->direct = modes[i].direct;
			o->no_flush = modes[i].no_flush;
			o->writeback = modes[i].writeback;
			break;
		}
	if (val && i == ARRAY_SIZE(modes))
		return bad_value(e, "cache", val,
				 "writeback, none, writethrough, directsync or unsafe");
	ret = conf_get_bool(c, "cache.direct", &o->direct, e);
	if (!ret)
		ret = conf_get_bool(c, "cache.no-flush", &o->no_flush, e);
	if (!ret)
		ret = conf_get_bool(c, "cache.writeback", &o->writeback, e);
	return ret;
}

static int read_aio(struct conf_node *c, struct options *o, struct err *e)
{
	const char *val = conf_get(c, "aio");

	if (!val)
		o->aio = AIO_AUTO;
	else if (!strcmp(val, "threads"))
		o->aio = AIO_THREADS;
	else if (!strcmp(val, "io_uring"))
		o->aio = AIO_URING;
	else if (!strcmp(val, "native")) /* Linux AIO did what io_uring does: take the better one */
		o->aio = AIO_AUTO;
	else
		return bad_value(e, "aio", val, "threads, io_uring or native");
	return 0;
}

static int read_discard(struct conf_node *c, struct options *o, struct err *e)
{
	const char *val = conf_get(c, "discard");

	if (!val || !strcmp(val, "ignore") || !strcmp(val, "off"))
		o->discard = false;
	else if (!strcmp(val, "unmap") || !strcmp(val, "on"))
		o->discard = true;
	else
		return bad_value(e, "discard", val, "ignore or unmap");
	val = conf_get(c, "detect-zeroes");
	if (val && strcmp(val, "off") != 0)
		return bad_value(e, "detect-zeroes", val, "off");
	val = conf_get(c, "locking");
	if (!val || !strcmp(val, "auto") || !strcmp(val, "on"))
		o->lock = true;
	else if (strcmp(val, "off") != 0)
		return bad_value(e, "locking", val, "on, off or auto");
	return 0;
}

static int read_options(struct conf_node *c, struct options *o, struct err *e)
{
	const char *format = conf_get(c, "format");
	int ret;

	o->file = conf_get(c, "file");
	if (!o->file || !*o->file)
		return err_set(e, EINVAL, "no image: give file=<path>");
	if (format && strcmp(format, "raw") != 0)
		return err_set(e, ENOTSUP,
			       "format=%s is not supported: convert the image "
			       "(qemu-img convert -O raw %s disk.raw) and use format=raw",
			       format, o->file);
	ret = conf_get_bool(c, "readonly", &o->read_only, e);
	if (!ret)
		ret = conf_get_bool(c, "read-only", &o->read_only, e);
	if (!ret)
		ret = read_cache_mode(c, o, e);
	if (!ret)
		ret = read_aio(c, o, e);
	if (!ret)
		ret = read_discard(c, o, e);
	return ret;
}

static int open_error(int code, const struct options *o, struct err *e)
{
	const char *what = "";

	if (code == EINVAL && o->direct)
		what = " for direct I/O (the file system may not support it: use cache=writeback)";
	else if ((code == EACCES || code == EROFS || code == EPERM) && !o->read_only)
		what = " for writing (readonly=on opens it for reading only)";
	return err_set_errno(e, code, "cannot open '%s'%s", o->file, what);
}

static int open_file(struct blk_node *n, const struct options *o, struct err *e)
{
	int flags = (o->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY;

	if (o->direct)
		flags |= O_DIRECT;
	n->path = xstrdup(o->file);
	/* O_NONBLOCK: a FIFO or a serial line must not keep us waiting; blk_probe() refuses it */
	n->fd = open(o->file, flags | O_NONBLOCK);
	if (n->fd < 0)
		return open_error(errno, o, e);
	if (fcntl(n->fd, F_SETFL, flags & ~O_CLOEXEC) < 0)
		return err_set_errno(e, errno, "cannot set up '%s'", o->file);
	n->direct = o->direct;
	n->no_flush = o->no_flush;
	n->discard = o->discard && !o->read_only;
	n->info.read_only = o->read_only;
	n->info.write_cache = o->writeback;
	n->info.can_discard = n->discard;
	n->info.can_zero = !o->read_only;
	return 0;
}

static int open_engine(struct blk_node *n, enum aio aio, struct err *e)
{
	struct err why = { 0 };

	n->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (n->wake.fd < 0)
		return err_set_errno(e, errno, "cannot make an eventfd");
	n->wake.events = EPOLLIN;
	n->wake.fn = on_wake;
	if (aio != AIO_THREADS) {
		n->uring = blk_uring_new(n->wake.fd, &why);
		if (!n->uring && aio == AIO_URING)
			return err_set(e, why.code, "aio=io_uring: %s", why.msg);
		if (!n->uring)
			log_debug("'%s': %s: worker threads do the I/O", n->path, why.msg);
	}
	return loop_add(n->loop, &n->wake, e);
}

static int open_node(struct blk_node *n, struct conf_node *c, struct err *e)
{
	struct options o = { 0 };
	int ret = read_options(c, &o, e);

	if (!ret)
		ret = conf_check_unused(c, blk_drive_keys, e);
	if (!ret)
		ret = open_file(n, &o, e);
	if (!ret)
		ret = blk_probe(n, e);
	if (!ret && o.lock)
		ret = blk_lock_file(n->fd, o.read_only, n->path, e);
	if (!ret)
		ret = open_engine(n, o.aio, e);
	return ret;
}

struct blk_node *blk_open(struct loop *loop, struct conf_node *c, struct err *e)
{
	struct blk_node *n = xnew(struct blk_node);

	n->loop = loop;
	n->fd = n->wake.fd = -1;
	pthread_mutex_init(&n->lock, NULL);
	pthread_mutex_init(&n->run_lock, NULL);
	blk_reqs_init(&n->queue);
	blk_pool_init(&n->pool);
	return open_node(n, c, e) < 0 ? blk_close(n) : n;
}

struct blk_node *blk_close(struct blk_node *n)
{
	if (!n)
		return NULL;
	blk_drain(n);
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
	free(n->path);
	free(n);
	return NULL;
}

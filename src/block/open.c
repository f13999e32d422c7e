/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a file or block device as a node: the options that -drive and -blockdev have for it,
 * its lock, its I/O engine. Loop's thread.
 *
 * A file with auto-read-only is opened for writing where that is possible. Whoever stands on it
 * says later whether it writes; if not, the file is opened again for reading only, so that others
 * may read it too.
 */
#include "block/block_int.h"

#include "base/log.h"
#include "base/trace.h"
#include "core/fdset.h"
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

const char *const blk_drive_keys[] = {
	"file",	 "format",	 "readonly",	   "read-only",
	"cache", "cache.direct", "cache.no-flush", "cache.writeback",
	"aio",	 "discard",	 "locking",	   "detect-zeroes",
	NULL,
};

static int bad_value(struct err *e, const char *key, const char *val, const char *known)
{
	return err_set(e, EINVAL, "%s=%s is not known: %s takes %s", key, val, key, known);
}

static int read_cache_mode(struct conf_node *c, struct blk_options *o, struct err *e)
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

static int read_aio(struct conf_node *c, struct blk_options *o, struct err *e)
{
	const char *val = conf_get(c, "aio");

	if (!val)
		o->aio = BLK_AIO_AUTO;
	else if (!strcmp(val, "threads"))
		o->aio = BLK_AIO_THREADS;
	else if (!strcmp(val, "io_uring"))
		o->aio = BLK_AIO_URING;
	else if (!strcmp(val, "native")) /* Linux AIO did what io_uring does: take the better one */
		o->aio = BLK_AIO_AUTO;
	else
		return bad_value(e, "aio", val, "threads, io_uring or native");
	return 0;
}

static int read_discard(struct conf_node *c, struct blk_options *o, struct err *e)
{
	const char *val = conf_get(c, "discard");

	if (!val || !strcmp(val, "ignore") || !strcmp(val, "off"))
		o->discard = false;
	else if (!strcmp(val, "unmap") || !strcmp(val, "on"))
		o->discard = true;
	else
		return bad_value(e, "discard", val, "ignore or unmap");
	val = conf_get(c, "detect-zeroes");
	if (val && !strcmp(val, "on"))
		o->detect = BLK_DETECT_ON;
	else if (val && !strcmp(val, "unmap"))
		o->detect = o->discard ? BLK_DETECT_UNMAP : BLK_DETECT_ON;
	else if (val && strcmp(val, "off") != 0)
		return bad_value(e, "detect-zeroes", val, "off, on or unmap");
	val = conf_get(c, "locking");
	if (!val || !strcmp(val, "auto") || !strcmp(val, "on"))
		o->lock = true;
	else if (strcmp(val, "off") != 0)
		return bad_value(e, "locking", val, "on, off or auto");
	return 0;
}

int blk_read_common(struct conf_node *c, struct blk_options *o, struct err *e)
{
	int ret = conf_get_bool(c, "read-only", &o->read_only, e);

	if (!ret)
		ret = read_cache_mode(c, o, e);
	if (!ret)
		ret = read_aio(c, o, e);
	if (!ret)
		ret = read_discard(c, o, e);
	return ret;
}

static int read_drive(struct conf_node *c, struct blk_options *o, struct err *e)
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
	return ret < 0 ? ret : blk_read_common(c, o, e);
}

static int open_error(int code, const struct blk_options *o, struct err *e)
{
	const char *what = "";

	if (code == EINVAL && o->direct)
		what = " for direct I/O (the file system may not support it: use cache=writeback)";
	else if ((code == EACCES || code == EROFS || code == EPERM) && !o->read_only)
		what = " for writing (readonly=on opens it for reading only)";
	return err_set_errno(e, code, "cannot open '%s'%s", o->file, what);
}

static int open_file(struct blk_node *n, const struct blk_options *o, struct err *e)
{
	int flags = (o->read_only ? O_RDONLY : O_RDWR) | O_NOCTTY;

	if (o->direct)
		flags |= O_DIRECT;
	free(n->path);
	n->path = xstrdup(o->file);
	/* O_NONBLOCK: a FIFO or a serial line must not keep us waiting; blk_probe() refuses it */
	n->fd = fdset_open(n->conf, o->file, flags | O_NONBLOCK, 0, e);
	if (n->fd < 0)
		return open_error(errno, o, e);
	if (fcntl(n->fd, F_SETFL, flags) < 0)
		return err_set_errno(e, errno, "cannot set up '%s'", o->file);
	n->direct = o->direct;
	n->no_flush = o->no_flush;
	n->discard = o->discard && !o->read_only;
	n->info.read_only = o->read_only;
	n->info.write_cache = o->writeback;
	n->info.can_discard = n->discard;
	n->info.can_zero = !o->read_only;
	n->locked = o->lock;
	return 0;
}

static int open_engine(struct blk_node *n, enum blk_aio aio, struct err *e)
{
	struct err why = { 0 };

	n->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (n->wake.fd < 0)
		return err_set_errno(e, errno, "cannot make an eventfd");
	if (aio != BLK_AIO_THREADS) {
		n->uring = blk_uring_new(n->wake.fd, &why);
		if (!n->uring && aio == BLK_AIO_URING)
			return err_set(e, why.code, "aio=io_uring: %s", why.msg);
		if (!n->uring)
			log_debug("'%s': %s: worker threads do the I/O", n->path, why.msg);
	}
	return loop_add(n->loop, &n->wake, e);
}

static int open_and_lock(struct blk_node *n, const struct blk_options *o, struct err *e)
{
	int ret = open_file(n, o, e);

	if (!ret)
		ret = blk_probe(n, e);
	if (!ret && o->lock)
		ret = blk_lock_file(n->fd, o->read_only, n->path, e);
	if (ret < 0 && n->fd >= 0)
		close(take_fd(&n->fd));
	return ret;
}

/* May another try, for reading only, do better? */
static bool write_refused(int ret)
{
	return ret == -EACCES || ret == -EROFS || ret == -EPERM || ret == -EBUSY;
}

int blk_file_open(struct blk_node *n, const struct blk_options *o, struct err *e)
{
	struct err why = { 0 };
	int ret = open_and_lock(n, o, &why);

	if (write_refused(ret) && o->auto_read_only && !o->read_only) {
		struct blk_options again = *o;

		n->read_only_why = xstrdup(why.msg);
		again.read_only = true;
		ret = open_and_lock(n, &again, &why);
	}
	if (ret < 0) {
		if (e)
			*e = why;
		return ret;
	}
	n->detect = o->detect;
	n->auto_read_only = o->auto_read_only;
	trace_bdrv_open_common(n->path, n->info.read_only, n->driver);
	return open_engine(n, o->aio, e);
}

int blk_file_make_read_only(struct blk_node *n, struct err *e)
{
	struct blk_options o = { .read_only = true,
				 .direct = n->direct,
				 .no_flush = n->no_flush,
				 .writeback = n->info.write_cache,
				 .lock = n->locked };
	autofree char *path = xstrdup(n->path);

	o.file = path;
	close(take_fd(&n->fd)); /* and its lock, which would stand against ours */
	return open_and_lock(n, &o, e);
}

struct blk_node *blk_open(struct loop *loop, struct conf_node *c, struct err *e)
{
	struct blk_node *n = blk_node_new(loop, c->conf);
	struct blk_options o = { 0 };
	int ret = read_drive(c, &o, e);

	if (!ret)
		ret = conf_check_unused(c, blk_drive_keys, e);
	if (!ret)
		ret = blk_file_open(n, &o, e);
	return ret < 0 ? blk_close(n) : n;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests carried out with blocking system calls, for the worker pool.
 *
 * Reads beyond the end of the file give zeroes. Buffers that direct I/O cannot take go through a
 * bounce buffer of bounded size. Any thread; what the host turned out not to support is noted in
 * the node.
 */
#include "block/block_int.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* #syscalls control vcpu io worker: pread64 pwrite64 preadv preadv2 pwritev pwritev2 fdatasync
 * fsync fallocate ioctl(BLKDISCARD) ioctl(BLKZEROOUT) */

#define WINDOW	 64u	 /* iovec entries a call */
#define BOUNCE	 MIB(1)	 /* largest bounce buffer */
#define ZERO_BUF KIB(64) /* written again and again when the host cannot zero by itself */

/* Fills out[] with what lies behind the first skip bytes of the request's buffers. */
static unsigned iov_window(const struct blk_req *r, uint64_t skip, struct iovec out[WINDOW])
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->niov && n < WINDOW; i++) {
		if (skip >= r->iov[i].iov_len) {
			skip -= r->iov[i].iov_len;
			continue;
		}
		out[n].iov_base = (char *)r->iov[i].iov_base + skip;
		out[n++].iov_len = r->iov[i].iov_len - skip;
		skip = 0;
	}
	return n;
}

static void iov_zero_from(const struct blk_req *r, uint64_t skip)
{
	struct iovec v[WINDOW];
	unsigned n;

	while ((n = iov_window(r, skip, v)))
		for (unsigned i = 0; i < n; i++) {
			memset(v[i].iov_base, 0, v[i].iov_len);
			skip += v[i].iov_len;
		}
}

static void iov_copy(const struct blk_req *r, uint64_t skip, char *buf, uint64_t len, bool to_buf)
{
	struct iovec v[WINDOW];
	unsigned n;

	while (len && (n = iov_window(r, skip, v)))
		for (unsigned i = 0; i < n && len; i++) {
			uint64_t part = MIN((uint64_t)v[i].iov_len, len);

			if (to_buf)
				memcpy(buf, v[i].iov_base, part);
			else
				memcpy(v[i].iov_base, buf, part);
			buf += part;
			skip += part;
			len -= part;
		}
}

bool blk_iov_aligned(const struct blk_node *n, const struct blk_req *r)
{
	if (!n->direct)
		return true;
	for (unsigned i = 0; i < r->niov; i++)
		if (((uintptr_t)r->iov[i].iov_base & (n->mem_align - 1)) ||
		    (r->iov[i].iov_len & (n->info.sector - 1)))
			return false;
	return true;
}

static ssize_t rw_once(struct blk_node *n, bool write, bool fua, const struct iovec *v, unsigned nv,
		       uint64_t off)
{
	ssize_t ret;

	if (!write)
		ret = preadv(n->fd, v, nv, off);
	else if (fua && !atomic_load_explicit(&n->no_dsync, memory_order_relaxed))
		ret = pwritev2(n->fd, v, nv, off, RWF_DSYNC);
	else
		ret = pwritev(n->fd, v, nv, off);
	if (ret < 0 && (errno == EOPNOTSUPP || errno == ENOSYS) && write && fua) {
		atomic_store(&n->no_dsync, true);
		ret = pwritev(n->fd, v, nv, off);
	}
	return ret < 0 ? -errno : ret;
}

/* What a read or write call gave, in bytes > 0; 0 = end of file; or -errno. */
static ssize_t rw_retry(struct blk_node *n, bool write, bool fua, const struct iovec *v,
			unsigned nv, uint64_t off)
{
	ssize_t ret;

	do
		ret = rw_once(n, write, fua, v, nv, off);
	while (ret == -EINTR || ret == -EAGAIN);
	if (ret == 0 && write) /* no progress and no error: do not turn in circles */
		return -EIO;
	return ret;
}

/* Direct reads end in the middle of a sector only where the file ends. */
static bool at_eof(const struct blk_node *n, const struct blk_req *r, ssize_t ret)
{
	return ret == 0 || (r->op == BLK_READ && n->direct && (ret & (n->info.sector - 1)));
}

static int rw_direct(struct blk_node *n, struct blk_req *r)
{
	struct iovec v[WINDOW];

	while (BLK_DONE(r) < r->len) {
		unsigned nv = iov_window(r, BLK_DONE(r), v);
		ssize_t ret;

		if (!nv)
			return -EINVAL; /* iov shorter than len */
		ret = rw_retry(n, r->op == BLK_WRITE, r->fua, v, nv, r->off + BLK_DONE(r));
		if (ret < 0)
			return ret;
		BLK_DONE(r) += ret;
		if (at_eof(n, r, ret)) {
			iov_zero_from(r, BLK_DONE(r));
			return 0;
		}
	}
	return 0;
}

/* One chunk through the bounce buffer; a short read is filled up with zeroes. */
static int bounce_chunk(struct blk_node *n, struct blk_req *r, char *buf, uint64_t len)
{
	bool write = r->op == BLK_WRITE;
	uint64_t got = 0;

	if (write)
		iov_copy(r, BLK_DONE(r), buf, len, true);
	while (got < len) {
		struct iovec v = { buf + got, len - got };
		ssize_t ret = rw_retry(n, write, r->fua, &v, 1, r->off + BLK_DONE(r) + got);

		if (ret < 0)
			return ret;
		got += ret;
		if (at_eof(n, r, ret)) {
			memset(buf + got, 0, len - got);
			got = len;
		}
	}
	if (!write)
		iov_copy(r, BLK_DONE(r), buf, len, false);
	BLK_DONE(r) += len;
	return 0;
}

static int rw_bounce(struct blk_node *n, struct blk_req *r)
{
	uint64_t size = MIN(r->len - BLK_DONE(r), BOUNCE);
	autofree void *buf = NULL;
	int ret = 0;

	if (posix_memalign(&buf, 4096, size))
		return -ENOMEM;
	while (!ret && BLK_DONE(r) < r->len)
		ret = bounce_chunk(n, r, buf, MIN(r->len - BLK_DONE(r), size));
	return ret;
}

static int do_sync(struct blk_node *n)
{
	int ret;

	if (n->no_flush)
		return 0;
	/*
	 * After a failed fdatasync() the kernel takes lost pages for clean, and the next one
	 * would claim success. What was lost stays lost, so keep saying so.
	 */
	if (atomic_load(&n->flush_failed))
		return -EIO;
	do
		ret = fdatasync(n->fd);
	while (ret < 0 && errno == EINTR);
	if (ret == 0)
		return 0;
	ret = -errno;
	if (!n->direct)
		atomic_store(&n->flush_failed, true);
	return ret;
}

static int do_rw(struct blk_node *n, struct blk_req *r)
{
	int ret = blk_iov_aligned(n, r) ? rw_direct(n, r) : rw_bounce(n, r);

	if (!ret && r->op == BLK_WRITE && r->fua && atomic_load(&n->no_dsync))
		ret = do_sync(n);
	return ret;
}

static int falloc(struct blk_node *n, int mode, const struct blk_req *r)
{
	int ret;

	do
		ret = fallocate(n->fd, mode, r->off, r->len);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

static bool unsupported(int ret)
{
	return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -ENOTTY || ret == -ENODEV;
}

static int do_discard(struct blk_node *n, const struct blk_req *r)
{
	uint64_t range[2] = { r->off, r->len };
	int ret;

	if (!n->discard || atomic_load(&n->no_punch))
		return 0; /* a hint, which the guest cannot tell from one that was followed */
	if (n->is_dev)
		ret = ioctl(n->fd, BLKDISCARD, range) < 0 ? -errno : 0;
	else
		ret = falloc(n, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, r);
	if (!unsupported(ret))
		return ret;
	atomic_store(&n->no_punch, true);
	return 0;
}

static int zero_by_host(struct blk_node *n, const struct blk_req *r)
{
	uint64_t range[2] = { r->off, r->len };
	int ret;

	if (r->unmap && n->discard && !atomic_load(&n->no_punch)) {
		ret = falloc(n, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, r);
		if (!unsupported(ret))
			return ret;
		atomic_store(&n->no_punch, true);
	}
	if (atomic_load(&n->no_zero_range))
		return -EOPNOTSUPP;
	if (n->is_dev)
		ret = ioctl(n->fd, BLKZEROOUT, range) < 0 ? -errno : 0;
	else
		ret = falloc(n, FALLOC_FL_ZERO_RANGE, r);
	if (unsupported(ret))
		atomic_store(&n->no_zero_range, true);
	return ret;
}

static int zero_by_writing(struct blk_node *n, const struct blk_req *r)
{
	struct iovec v[16];
	autofree void *buf = NULL;
	uint64_t done = 0;

	if (posix_memalign(&buf, 4096, ZERO_BUF))
		return -ENOMEM;
	memset(buf, 0, ZERO_BUF);
	while (done < r->len) {
		uint64_t left = r->len - done;
		unsigned nv = 0;
		ssize_t ret;

		for (; nv < ARRAY_SIZE(v) && left; nv++) {
			v[nv].iov_base = buf;
			v[nv].iov_len = MIN(left, ZERO_BUF);
			left -= v[nv].iov_len;
		}
		ret = rw_retry(n, true, false, v, nv, r->off + done);
		if (ret < 0)
			return ret;
		done += ret;
	}
	return 0;
}

static int do_zero(struct blk_node *n, const struct blk_req *r)
{
	int ret = zero_by_host(n, r);

	if (unsupported(ret))
		ret = zero_by_writing(n, r);
	if (!ret && r->fua)
		ret = do_sync(n);
	return ret;
}

int blk_file_do(struct blk_node *n, struct blk_req *r)
{
	blk_detect_rest(r);
	switch (r->op) {
	case BLK_READ:
	case BLK_WRITE:
		return do_rw(n, r);
	case BLK_FLUSH:
		return do_sync(n);
	case BLK_DISCARD:
		return do_discard(n, r);
	case BLK_ZERO:
		return do_zero(n, r);
	}
	return -EOPNOTSUPP;
}

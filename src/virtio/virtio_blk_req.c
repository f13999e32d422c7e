/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of the virtio block device: from a chain of the ring to a request of the block node and
 * back. VIRTIO 1.2 section 5.2.6.
 *
 * Data goes from and to guest RAM in place. The header is copied once; lengths and places are
 * checked against the copy. Nonsense in the frame of a request (no header, no status byte) breaks
 * the device; nonsense in its content is answered with IOERR or UNSUPP.
 *
 * Threads: the loop's, or one that drains, under virtio_blk.lock. Nothing here is state: a device
 * is saved with no request in flight.
 */
#include "virtio/virtio_blk.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/trace.h"

#define SECTOR	   512u
#define HEADER_LEN 16u
#define SEG_LEN	   16u
#define MAX_SPARE  64u
#define BUDGET	   1024u /* requests of one queue before others have their turn */

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2, S_PENDING = 255 };
#define SEG_UNMAP 1u

struct vblk_req {
	struct blk_req r; /* first */
	struct vblk_queue *q;
	struct vq_chain c;
	struct vblk_req *next;
	uint32_t type;
	unsigned nseg, seg; /* of DISCARD, WRITE_ZEROES: how many, which is under way */
	struct {
		uint64_t sector;
		uint32_t sectors, flags;
	} segs[VBLK_MAX_SEGS];
	unsigned room; /* of iov: the chain's, then one to cut the data out of it */
	struct iovec iov[];
};

/* ---- storage ---- */

/* A request that owns a copy of the chain in the scratch buffer. */
static struct vblk_req *get_req(struct virtio_blk *b, const struct vq_chain *c)
{
	unsigned need = 2 * (c->out_n + c->in_n);
	struct vblk_req *q = b->spare;

	if (q && q->room >= need) {
		b->spare = q->next;
		b->nr_spare--;
	} else {
		unsigned room = MAX(need, 16u);

		q = malloc(sizeof(*q) + room * sizeof(q->iov[0]));
		if (!q)
			return NULL;
		q->room = room;
	}
	q->c = *c;
	q->c.iov = q->iov;
	memcpy(q->iov, c->iov, (c->out_n + c->in_n) * sizeof(q->iov[0]));
	return q;
}

static void put_req(struct virtio_blk *b, struct vblk_req *q)
{
	if (b->nr_spare == MAX_SPARE) {
		free(q);
		return;
	}
	q->next = b->spare;
	b->spare = q;
	b->nr_spare++;
}

void vblk_free_spare(struct virtio_blk *b)
{
	while (b->spare) {
		struct vblk_req *q = b->spare;

		b->spare = q->next;
		free(q);
	}
	b->nr_spare = 0;
}

/* ---- the end of a request ---- */

/* With the status in the last writable byte. The lock is held. */
static void finish(struct vblk_req *q, uint8_t status)
{
	struct virtio_blk *b = q->q->b;
	struct vq *vq = virtio_vq(&b->v, q->q->index);

	trace_virtio_blk_req_complete(b->v.dev->path, q->c.head, status);
	iov_from_buf(q->iov + q->c.out_n, q->c.in_n, q->c.in_len - 1, &status, 1);
	vq_push(vq, &q->c, (uint32_t)q->c.in_len);
	vq_notify(vq);
	put_req(b, q);
}

static void report(struct vblk_req *q, int ret)
{
	static const char *const names[] = { "read", "write", "flush", "discard", "write zeroes" };
	struct virtio_blk *b = q->q->b;

	if (log_allow(&b->io_errors))
		log_warn("%s: %s of %" PRIu64 " bytes at %" PRIu64 ": %s", b->v.dev->path,
			 names[q->r.op], q->r.len, q->r.off, strerror(-ret));
}

static uint8_t submit_seg(struct vblk_req *q);

static void on_done(struct blk_req *r, int ret)
{
	struct vblk_req *q = container_of(r, struct vblk_req, r);
	struct virtio_blk *b = q->q->b;
	uint8_t status = S_OK;

	pthread_mutex_lock(&b->lock);
	trace_virtio_blk_rw_complete(b->v.dev->path, q->c.head, ret);
	if (ret < 0) {
		report(q, ret);
		status = ret == -EOPNOTSUPP ? S_UNSUPP : S_IOERR;
	} else if (++q->seg < q->nseg) {
		status = submit_seg(q);
	}
	if (status != S_PENDING)
		finish(q, status);
	pthread_mutex_unlock(&b->lock);
}

/* ---- kinds of requests: the status, or S_PENDING ---- */

static bool in_range(const struct virtio_blk *b, uint64_t sector, uint64_t bytes)
{
	const struct blk_info *info = blk_info(b->node);
	uint64_t total = info->size / SECTOR;

	if (sector > total || bytes / SECTOR > total - sector)
		return false;
	return !((sector * SECTOR | bytes) & (b->logical - 1));
}

/* The part [skip, skip + len) of n entries, to out. */
static unsigned cut(const struct iovec *v, unsigned n, size_t skip, size_t len, struct iovec *out)
{
	unsigned k = 0;

	for (unsigned i = 0; i < n && len; i++) {
		size_t part;

		if (skip >= v[i].iov_len) {
			skip -= v[i].iov_len;
			continue;
		}
		part = MIN(v[i].iov_len - skip, len);
		out[k++] = (struct iovec){ (char *)v[i].iov_base + skip, part };
		len -= part;
		skip = 0;
	}
	return k;
}

static uint8_t submit_rw(struct vblk_req *q, uint64_t sector, bool write)
{
	struct virtio_blk *b = q->q->b;
	unsigned total = q->c.out_n + q->c.in_n;
	uint64_t len = write ? q->c.out_len - HEADER_LEN : q->c.in_len - 1;

	if (write)
		trace_virtio_blk_handle_write(b->v.dev->path, q->c.head, sector, len / SECTOR);
	else
		trace_virtio_blk_handle_read(b->v.dev->path, q->c.head, sector, len / SECTOR);
	if (!in_range(b, sector, len)) {
		dev_guest_error(b->v.dev, "%s of %" PRIu64 " bytes at sector %" PRIu64,
				write ? "write" : "read", len, sector);
		return S_IOERR;
	}
	if (write && blk_info(b->node)->read_only)
		return S_IOERR;
	q->r = (struct blk_req){ .op = write ? BLK_WRITE : BLK_READ,
				 .off = sector * SECTOR,
				 .len = len,
				 .fua = write && !b->wce,
				 .done = on_done,
				 .iov = q->iov + total };
	q->r.niov = write ? cut(q->iov, q->c.out_n, HEADER_LEN, len, q->iov + total)
			  : cut(q->iov + q->c.out_n, q->c.in_n, 0, len, q->iov + total);
	blk_submit(b->node, &q->r);
	return S_PENDING;
}

static uint8_t submit_flush(struct vblk_req *q)
{
	q->r = (struct blk_req){ .op = BLK_FLUSH, .done = on_done };
	blk_submit(q->q->b->node, &q->r);
	return S_PENDING;
}

static uint8_t get_id(struct vblk_req *q)
{
	const char *serial = q->q->b->serial ? q->q->b->serial : "";
	uint8_t id[VBLK_ID_LEN] = { 0 };

	memcpy(id, serial, strnlen(serial, sizeof(id)));
	iov_from_buf(q->iov + q->c.out_n, q->c.in_n, 0, id,
		     MIN(sizeof(id), (size_t)q->c.in_len - 1));
	return S_OK;
}

static uint8_t submit_seg(struct vblk_req *q)
{
	struct virtio_blk *b = q->q->b;
	bool zero = q->type == T_WRITE_ZEROES;

	q->r = (struct blk_req){ .op = zero ? BLK_ZERO : BLK_DISCARD,
				 .done = on_done,
				 .off = q->segs[q->seg].sector * SECTOR,
				 .len = (uint64_t)q->segs[q->seg].sectors * SECTOR,
				 .unmap = q->segs[q->seg].flags & SEG_UNMAP,
				 .fua = zero && !b->wce };
	blk_submit(b->node, &q->r);
	return S_PENDING;
}

static uint8_t check_seg(struct vblk_req *q, unsigned i, bool zero)
{
	struct virtio_blk *b = q->q->b;
	uint32_t limit = zero ? b->max_zeroes : b->max_discard;

	if (q->segs[i].flags & (zero ? ~SEG_UNMAP : ~0u))
		return S_UNSUPP;
	if (q->segs[i].sectors > limit ||
	    !in_range(b, q->segs[i].sector, (uint64_t)q->segs[i].sectors * SECTOR))
		return S_IOERR;
	return S_OK;
}

static uint8_t submit_ranges(struct vblk_req *q, bool zero)
{
	struct virtio_blk *b = q->q->b;
	uint64_t len = q->c.out_len - HEADER_LEN;
	uint8_t raw[VBLK_MAX_SEGS * SEG_LEN];

	if (!(zero ? b->write_zeroes : b->discard))
		return S_UNSUPP;
	if (!len || len % SEG_LEN || len > sizeof(raw) || blk_info(b->node)->read_only)
		return S_IOERR;
	iov_to_buf(q->iov, q->c.out_n, HEADER_LEN, raw, len);
	q->nseg = (unsigned)(len / SEG_LEN);
	for (unsigned i = 0; i < q->nseg; i++) {
		uint8_t status;

		q->segs[i].sector = ld_le64(raw + i * SEG_LEN);
		q->segs[i].sectors = ld_le32(raw + i * SEG_LEN + 8);
		q->segs[i].flags = ld_le32(raw + i * SEG_LEN + 12);
		status = check_seg(q, i, zero);
		if (status != S_OK)
			return status;
	}
	return submit_seg(q);
}

static uint8_t dispatch(struct vblk_req *q, uint64_t sector)
{
	switch (q->type) {
	case T_IN:
		return submit_rw(q, sector, false);
	case T_OUT:
		return submit_rw(q, sector, true);
	case T_FLUSH:
		return submit_flush(q);
	case T_GET_ID:
		return get_id(q);
	case T_DISCARD:
	case T_WRITE_ZEROES:
		return submit_ranges(q, q->type == T_WRITE_ZEROES);
	default:
		return S_UNSUPP;
	}
}

/* False: the driver is broken, or the host has no memory; the chain is gone either way. */
static bool start(struct vblk_queue *vbq, const struct vq_chain *c)
{
	struct virtio_blk *b = vbq->b;
	uint8_t header[HEADER_LEN], status;
	struct vblk_req *q;

	if (c->out_len < HEADER_LEN || !c->in_len) {
		virtio_break(&b->v,
			     "request of %" PRIu64 " readable and %" PRIu64 " writable bytes",
			     c->out_len, c->in_len);
		return false;
	}
	q = get_req(b, c);
	if (!q) {
		virtio_break(&b->v, "the host is out of memory");
		return false;
	}
	q->q = vbq;
	q->nseg = q->seg = 0;
	iov_to_buf(q->iov, q->c.out_n, 0, header, sizeof(header));
	q->type = ld_le32(header);
	status = dispatch(q, ld_le64(header + 8));
	if (status != S_PENDING)
		finish(q, status);
	return true;
}

bool vblk_process(struct vblk_queue *vbq)
{
	struct virtio_blk *b = vbq->b;
	struct vq *vq;

	if (!b->running || vbq->stopped) /* the queue may be gone */
		return false;
	vq = virtio_vq(&b->v, vbq->index);
	for (unsigned n = 0; n < BUDGET; n++) {
		struct vq_chain c = { .iov = b->scratch };

		if (vq_pop(vq, &c) <= 0 || !start(vbq, &c))
			return false;
	}
	return true;
}

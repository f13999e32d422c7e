/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtqueues: what both ring layouts share. VIRTIO 1.2 sections 2.6 to 2.10.
 *
 * Hostile drivers: parameters are frozen while a queue is enabled; a chain is at most as long as
 * the queue, an indirect table as long as the largest queue the device offers (drivers that make
 * their queues smaller keep sending tables of the former size) and is copied once, a chain has at
 * most VQ_MAX_SEGS pieces and 4 GiB; a queue never has more in flight than it has entries; buffers
 * are RAM or the device is broken.
 *
 * Threads: a queue is used by one thread at a time (its device sees to that), while vCPUs write
 * to the ring concurrently. State: indices and wrap counters; nothing is in flight when saved.
 */
#include "base/base.h"
#include "base/trace.h"
#include "core/state.h"
#include "core/vm.h"
#include "virtio/vq_int.h"

#define NO_VECTOR 0xffffu

uint8_t *vq_map_part(struct vq *vq, uint64_t gpa, uint64_t len, unsigned align, bool write)
{
	struct map *map = vq->v->vm->map;
	uint8_t *start = NULL, *next = NULL;

	if ((gpa & (align - 1)) || gpa + len < gpa)
		return NULL;
	/* Neighbouring regions of one RAM block are one piece. */
	while (len) {
		uint64_t run = 0;
		uint8_t *p = mem_view(map, gpa, len, write, &run);

		if (!p || !run || (next && p != next))
			return NULL;
		if (!start)
			start = p;
		next = p + run;
		gpa += run;
		len -= run;
	}
	return (uintptr_t)start & (align - 1) ? NULL : start;
}

void vq_wrote(struct vq *vq, const void *host, size_t len)
{
	mem_wrote_host(vq->v->vm->map, host, len);
}

/* Brings the host addresses up to date. False: broken. */
static bool vq_find(struct vq *vq)
{
	uint64_t generation = map_generation(vq->v->vm->map);

	if (likely(generation == vq->map_generation))
		return true;
	if (!(vq->packed ? vq_packed_map(vq) : vq_split_map(vq))) {
		virtio_break(vq->v, "queue %u: the ring is not in RAM", vq->index);
		return false;
	}
	vq->map_generation = generation;
	return true;
}

/* The same; false also when it is not in use. */
static bool vq_ready(struct vq *vq)
{
	return vq_enabled(vq) && !virtio_is_broken(vq->v) && vq_find(vq);
}

bool vq_chain_add(struct vq *vq, struct vq_chain *c, uint64_t gpa, uint32_t len, bool write)
{
	struct map *map = vq->v->vm->map;
	uint64_t left = len;

	if (!len || gpa + len < gpa) {
		virtio_break(vq->v, "queue %u: buffer of %" PRIu32 " bytes at %#" PRIx64, vq->index,
			     len, gpa);
		return false;
	}
	if (!write && c->in_n) {
		virtio_break(vq->v, "queue %u: readable buffer behind a writable one", vq->index);
		return false;
	}
	if (c->out_len + c->in_len + len > UINT32_MAX) {
		virtio_break(vq->v, "queue %u: chain of 4 GiB or more", vq->index);
		return false;
	}
	while (left) {
		uint64_t run = 0;
		void *p = mem_view(map, gpa, left, write, &run);
		unsigned n = c->out_n + c->in_n;

		if (!p || !run || n == VQ_MAX_SEGS) {
			virtio_break(vq->v, "queue %u: %s at %#" PRIx64, vq->index,
				     n == VQ_MAX_SEGS ? "too many pieces" : "buffer not in RAM",
				     gpa);
			return false;
		}
		c->iov[n] = (struct iovec){ .iov_base = p, .iov_len = run };
		*(write ? &c->in_n : &c->out_n) += 1;
		gpa += run;
		left -= run;
	}
	*(write ? &c->in_len : &c->out_len) += len;
	return true;
}

uint32_t vq_read_table(struct vq *vq, uint64_t gpa, uint32_t len)
{
	uint32_t n = len / sizeof(struct vq_desc);

	if (!vq->indirect || len % sizeof(struct vq_desc) || !n || n > vq->v->vq_size) {
		virtio_break(vq->v, "queue %u: indirect table of %" PRIu32 " bytes%s", vq->index,
			     len, vq->indirect ? "" : " without INDIRECT_DESC");
		return 0;
	}
	if (mem_read(vq->v->vm->map, gpa, vq->table, len) < 0) {
		virtio_break(vq->v, "queue %u: indirect table at %#" PRIx64 " is not in RAM",
			     vq->index, gpa);
		return 0;
	}
	return n;
}

/* ---- the driver's side of kicks ---- */

/* Where the driver should kick: at the descriptor we have not seen yet. */
static uint16_t event_position(const struct vq *vq)
{
	return vq->packed ? (uint16_t)(vq->avail_idx | vq->avail_wrap << 15) : vq->avail_idx;
}

static void publish(struct vq *vq)
{
	if (vq->packed)
		vq_packed_publish(vq);
	else
		vq_split_publish(vq);
	vq->event_published = true;
	vq->event_at = event_position(vq);
	/* Our request for a kick before our last look at the ring (2.7.10.1). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static int layout_has(struct vq *vq)
{
	return vq->packed ? vq_packed_has(vq) : vq_split_has(vq);
}

/* 1 = a chain waits, 0 = none and the driver will kick for the next, -1 = broken. */
static int vq_has(struct vq *vq)
{
	int has = layout_has(vq);

	if (has || vq->kick_off || !vq->event_idx ||
	    (vq->event_published && vq->event_at == event_position(vq)))
		return has;
	publish(vq);
	return layout_has(vq);
}

void vq_disable_kick(struct vq *vq)
{
	if (!vq_ready(vq) || vq->kick_off)
		return;
	vq->kick_off = true;
	publish(vq);
	vq->event_published = false;
}

bool vq_enable_kick(struct vq *vq)
{
	if (!vq_ready(vq))
		return false;
	if (vq->kick_off) {
		vq->kick_off = false;
		publish(vq);
	}
	return vq_has(vq) > 0;
}

bool vq_empty(struct vq *vq)
{
	return !vq_ready(vq) || vq_has(vq) <= 0;
}

/* ---- taking and returning ---- */

int vq_pop(struct vq *vq, struct vq_chain *c)
{
	int ret;

	if (!vq_ready(vq))
		return virtio_is_broken(vq->v) ? -1 : 0;
	ret = vq_has(vq);
	if (ret <= 0)
		return ret;
	if (vq->in_flight >= vq->size) {
		virtio_break(vq->v, "queue %u: more buffers than entries", vq->index);
		return -1;
	}
	c->out_n = c->in_n = 0;
	c->out_len = c->in_len = 0;
	ret = vq->packed ? vq_packed_pop(vq, c) : vq_split_pop(vq, c);
	if (ret > 0) {
		c->seq = vq->pop_seq++;
		trace_virtqueue_pop(vq->v->dev->path, vq->index, c->head, c->in_n, c->out_n);
	}
	return ret;
}

void vq_unpop(struct vq *vq, const struct vq_chain *c)
{
	if (!vq_enabled(vq) || c->seq + 1 != vq->pop_seq)
		return;
	vq->pop_seq--;
	if (vq->packed)
		vq_packed_unpop(vq, c);
	else
		vq_split_unpop(vq, c);
}

static void put(struct vq *vq, const struct vq_done *done)
{
	if (vq->packed)
		vq_packed_put(vq, done);
	else
		vq_split_put(vq, done);
}

/* With IN_ORDER, what was made available first is returned first (2.7.9). */
static void put_in_order(struct vq *vq, uint32_t seq, const struct vq_done *done)
{
	vq->done[seq & vq->done_mask] = *done;
	for (;;) {
		struct vq_done *next = &vq->done[vq->push_seq & vq->done_mask];

		if (vq->push_seq == vq->pop_seq || !next->valid)
			break;
		next->valid = false;
		vq->push_seq++;
		put(vq, next);
	}
}

void vq_push(struct vq *vq, const struct vq_chain *c, uint32_t written)
{
	struct vq_done done = { .head = c->head,
				.ndesc = c->ndesc,
				.valid = true,
				.written = (uint32_t)MIN((uint64_t)written, c->in_len),
				.writable = c->in_n > 0 };

	if (!vq_ready(vq))
		return;
	trace_virtqueue_fill(vq->v->dev->path, vq->index, c->head, done.written);
	for (unsigned i = 0; written && i < c->in_n; i++) {
		const struct iovec *v = &c->iov[c->out_n + i];

		mem_wrote_host(vq->v->vm->map, v->iov_base, v->iov_len);
	}
	if (vq->in_order) {
		put_in_order(vq, c->seq, &done);
	} else {
		vq->push_seq++;
		put(vq, &done);
	}
}

void vq_notify(struct vq *vq)
{
	bool wanted;

	if (!vq->unsignalled || !vq_ready(vq))
		return;
	/* Our used entries before our look at what the driver wants (2.7.7.2). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	wanted = vq->packed ? vq_packed_wants_irq(vq) : vq_split_wants_irq(vq);
	vq->unsignalled = 0;
	if (!wanted)
		return;
	trace_virtio_notify(vq->v->dev->path, vq->index);
	vq->v->notify(vq->v, vq->index);
}

/* ---- set-up ---- */

struct vq *virtio_vq(struct virtio *v, unsigned n)
{
	assert(n < v->nr_vqs);
	return &v->vqs[n];
}

unsigned vq_index(const struct vq *vq)
{
	return vq->index;
}

bool vq_enabled(const struct vq *vq)
{
	return __atomic_load_n(&vq->enabled, __ATOMIC_ACQUIRE);
}

uint16_t vq_ring_size(const struct vq *vq)
{
	return vq->size;
}

void vq_init(struct vq *vq, struct virtio *v, uint16_t index)
{
	memset(vq, 0, sizeof(*vq));
	vq->v = v;
	vq->index = index;
	vq_clear(vq);
}

uint16_t vq_max_size(const struct vq *vq)
{
	const struct virtio *v = vq->v;

	return v->type->queue_size ? v->type->queue_size(v, vq->index) : v->vq_size;
}

void vq_clear(struct vq *vq)
{
	struct virtio *v = vq->v;
	uint16_t index = vq->index;

	free(vq->done);
	free(vq->table);
	*vq = (struct vq){ .v = v, .index = index, .vector = NO_VECTOR };
	vq->size = vq_max_size(vq);
}

static const char *bad_size(const struct vq *vq)
{
	if (!vq->size || vq->size > vq_max_size(vq))
		return "out of range";
	if (!vq->packed && !is_pow2(vq->size))
		return "no power of two";
	return NULL;
}

/* What follows from the frozen parameters. */
static bool vq_freeze(struct vq *vq)
{
	const struct virtio *v = vq->v;
	const char *bad;

	vq->packed = virtio_has(v, VIRTIO_F_RING_PACKED);
	vq->event_idx = virtio_has(v, VIRTIO_F_EVENT_IDX);
	vq->indirect = virtio_has(v, VIRTIO_F_INDIRECT_DESC);
	vq->in_order = virtio_has(v, VIRTIO_F_IN_ORDER);
	bad = bad_size(vq);
	if (bad) {
		virtio_break(vq->v, "queue %u: size %u is %s", vq->index, vq->size, bad);
		return false;
	}
	free(take_ptr(vq->done));
	free(take_ptr(vq->table));
	if (vq->indirect)
		vq->table = xnew_n(struct vq_desc, v->vq_size);
	if (vq->in_order) {
		vq->done_mask = 1;
		while (vq->done_mask < vq->size)
			vq->done_mask *= 2;
		vq->done = xnew_n(struct vq_done, vq->done_mask);
		vq->done_mask--;
	}
	vq->event_published = false;
	vq->map_generation = 0; /* no generation of a map */
	return true;
}

void vq_enable(struct vq *vq)
{
	if (vq->enabled || !vq_freeze(vq))
		return;
	vq->avail_idx = vq->used_idx = 0;
	vq->avail_wrap = vq->used_wrap = true;
	vq->in_flight = vq->unsignalled = 0;
	vq->pop_seq = vq->push_seq = 0;
	vq->kick_off = false;
	(void)vq_find(vq); /* absurd addresses break the device now, not at the first kick */
	/* The device may run, on another thread, when the driver enables one more of its queues. */
	__atomic_store_n(&vq->enabled, true, __ATOMIC_RELEASE);
}

/* ---- state ---- */

/* Called by virtio's post_load, when the features are known. */
static int vq_post_load(void *obj, struct err *e)
{
	struct vq *vq = obj;

	/* What the driver has written and not enabled may be anything: vq_enable() looks at it. */
	if (vq->enabled && (!vq->size || vq->size > vq_max_size(vq)))
		return err_set(e, EINVAL, "queue %u has %u entries", vq->index, vq->size);
	if (vq->in_flight || vq->pop_seq != vq->push_seq)
		return err_set(e, EINVAL, "queue %u has requests in flight", vq->index);
	vq->event_published = false;
	vq->map_generation = 0;
	return 0;
}

/* The rest of a load: after virtio's own members. */
int vq_thaw(struct vq *vq, struct err *e)
{
	if (!vq->enabled)
		return 0;
	if (!vq_freeze(vq))
		return err_set(e, EINVAL, "queue %u does not fit the features", vq->index);
	if (vq->packed && (vq->avail_idx >= vq->size || vq->used_idx >= vq->size))
		return err_set(e, EINVAL, "queue %u: index behind the ring", vq->index);
	return 0;
}

const struct state_desc vq_state = {
	.name = "vq",
	.struct_name = "vq",
	.version = 1,
	.post_load = vq_post_load,
	.fields =
		(const struct state_field[]){
			ST_HOST(struct vq, v),
			ST_HOST(struct vq, index),
			ST_U16(struct vq, size),
			ST_U64(struct vq, desc),
			ST_U64(struct vq, driver),
			ST_U64(struct vq, device),
			ST_U16(struct vq, vector),
			ST_BOOL(struct vq, enabled),
			ST_DERIVED(struct vq, packed),
			ST_DERIVED(struct vq, event_idx),
			ST_DERIVED(struct vq, indirect),
			ST_DERIVED(struct vq, in_order),
			ST_U16(struct vq, avail_idx),
			ST_U16(struct vq, used_idx),
			ST_BOOL(struct vq, avail_wrap),
			ST_BOOL(struct vq, used_wrap),
			ST_U32(struct vq, in_flight),
			ST_U32(struct vq, unsignalled),
			ST_U32(struct vq, pop_seq),
			ST_U32(struct vq, push_seq),
			ST_BOOL(struct vq, kick_off),
			ST_DERIVED(struct vq, event_published),
			ST_DERIVED(struct vq, event_at),
			ST_DERIVED(struct vq, done),
			ST_DERIVED(struct vq, done_mask),
			ST_DERIVED(struct vq, table),
			ST_DERIVED(struct vq, map_generation),
			ST_DERIVED(struct vq, h_desc),
			ST_DERIVED(struct vq, h_driver),
			ST_DERIVED(struct vq, h_device),
			ST_END,
		},
};

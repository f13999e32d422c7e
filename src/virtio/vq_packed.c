/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed ring: one descriptor ring, and an event suppression structure for each side.
 * VIRTIO 1.2 section 2.8. vq.c has the rules for hostile drivers, threads and state.
 */
#include "base/base.h"
#include "virtio/vq_int.h"

enum { EVENT_ENABLE, EVENT_DISABLE, EVENT_DESC };

struct event {
	uint16_t off_wrap, flags;
};

static struct vq_packed_desc *desc_of(const struct vq *vq, uint16_t i)
{
	return (struct vq_packed_desc *)(void *)(vq->h_desc + 16u * i);
}

bool vq_packed_map(struct vq *vq)
{
	vq->h_desc = vq_map_part(vq, vq->desc, 16ull * vq->size, 16, true);
	vq->h_driver = vq_map_part(vq, vq->driver, 4, 4, false);
	vq->h_device = vq_map_part(vq, vq->device, 4, 4, true);
	return vq->h_desc && vq->h_driver && vq->h_device;
}

int vq_packed_has(struct vq *vq)
{
	uint16_t flags = shared_ld_acquire(&desc_of(vq, vq->avail_idx)->flags);
	bool avail = flags & VQ_DESC_AVAIL, used = flags & VQ_DESC_USED;

	return avail == vq->avail_wrap && used != vq->avail_wrap;
}

static struct vq_packed_desc read_desc(const struct vq *vq, uint16_t i)
{
	const uint64_t *p = (const uint64_t *)(void *)desc_of(vq, i);
	uint64_t hi = shared_ld_acquire(&p[1]), lo = shared_ld(&p[0]);

	return (struct vq_packed_desc){ .addr = lo,
					.len = (uint32_t)hi,
					.id = (uint16_t)(hi >> 32),
					.flags = (uint16_t)(hi >> 48) };
}

/* All entries of a table in order (2.8.7); only WRITE means something in their flags. */
static bool take_table(struct vq *vq, struct vq_chain *c, uint64_t gpa, uint32_t len)
{
	uint32_t n = vq_read_table(vq, gpa, len);

	for (uint32_t i = 0; i < n; i++) {
		/* Packed layout: id and flags stand where split has flags and next. */
		const struct vq_desc *d = &vq->table[i];

		if (!vq_chain_add(vq, c, d->addr, d->len, d->next & VQ_DESC_WRITE))
			return false;
	}
	return n != 0;
}

static bool walk(struct vq *vq, struct vq_chain *c)
{
	uint16_t i = vq->avail_idx;

	for (c->ndesc = 1; vq->in_flight + c->ndesc <= vq->size; c->ndesc++) {
		struct vq_packed_desc d = read_desc(vq, i);

		if (d.flags & VQ_DESC_INDIRECT) {
			if ((d.flags & VQ_DESC_NEXT) || c->ndesc > 1) {
				virtio_break(vq->v, "queue %u: table inside a chain", vq->index);
				return false;
			}
			c->head = d.id;
			return take_table(vq, c, d.addr, d.len);
		}
		if (!vq_chain_add(vq, c, d.addr, d.len, d.flags & VQ_DESC_WRITE))
			return false;
		c->head = d.id; /* the last one's counts */
		if (!(d.flags & VQ_DESC_NEXT))
			return true;
		if (++i == vq->size)
			i = 0;
	}
	virtio_break(vq->v, "queue %u: chain longer than the queue", vq->index);
	return false;
}

/* Moves an index by n <= size slots. */
static void advance(const struct vq *vq, uint16_t *idx, bool *wrap, uint16_t n)
{
	unsigned to = *idx + (unsigned)n;

	if (to >= vq->size) {
		to -= vq->size;
		*wrap = !*wrap;
	}
	*idx = (uint16_t)to;
}

int vq_packed_pop(struct vq *vq, struct vq_chain *c)
{
	if (!walk(vq, c))
		return -1;
	advance(vq, &vq->avail_idx, &vq->avail_wrap, c->ndesc);
	vq->in_flight += c->ndesc;
	return 1;
}

void vq_packed_unpop(struct vq *vq, const struct vq_chain *c)
{
	unsigned back = c->ndesc;

	if (vq->avail_idx < back) {
		vq->avail_idx = (uint16_t)(vq->avail_idx + vq->size - back);
		vq->avail_wrap = !vq->avail_wrap;
	} else {
		vq->avail_idx = (uint16_t)(vq->avail_idx - back);
	}
	vq->in_flight -= back;
}

void vq_packed_put(struct vq *vq, const struct vq_done *done)
{
	struct vq_packed_desc *d = desc_of(vq, vq->used_idx);
	uint16_t flags = vq->used_wrap ? VQ_DESC_AVAIL | VQ_DESC_USED : 0;

	/* The length counts only where something was writable (2.8.5). */
	if (done->writable)
		flags |= VQ_DESC_WRITE;
	shared_st(&d->id, done->head);
	shared_st(&d->len, done->written);
	shared_st_release(&d->flags, flags);
	vq_wrote(vq, d, sizeof(*d));
	advance(vq, &vq->used_idx, &vq->used_wrap, done->ndesc);
	vq->in_flight -= done->ndesc;
	vq->unsignalled += done->ndesc;
}

bool vq_packed_wants_irq(struct vq *vq)
{
	const struct event *ev = (const struct event *)(void *)vq->h_driver;
	uint16_t flags = shared_ld_acquire(&ev->flags), off_wrap;
	int32_t event, passed;

	if (flags != EVENT_DESC || !vq->event_idx)
		return flags != EVENT_DISABLE;
	off_wrap = shared_ld(&ev->off_wrap);
	event = off_wrap & 0x7fff;
	if (off_wrap >> 15 != vq->used_wrap)
		event -= vq->size; /* of the round before */
	/* Is the event among the slots used since the last time? (2.8.10) */
	passed = vq->used_idx - event - 1;
	return passed >= 0 && (uint32_t)passed < vq->unsignalled;
}

void vq_packed_publish(struct vq *vq)
{
	struct event *ev = (struct event *)(void *)vq->h_device;
	uint16_t flags = vq->kick_off ? EVENT_DISABLE : vq->event_idx ? EVENT_DESC : EVENT_ENABLE;

	if (flags == EVENT_DESC)
		shared_st(&ev->off_wrap, (uint16_t)(vq->avail_idx | vq->avail_wrap << 15));
	shared_st_release(&ev->flags, flags);
	vq_wrote(vq, ev, sizeof(*ev));
}

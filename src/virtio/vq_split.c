/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split ring: descriptor table, available ring, used ring. VIRTIO 1.2 section 2.7.
 * vq.c has the rules for hostile drivers, threads and state.
 */
#include "base/base.h"
#include "virtio/vq_int.h"

#define NO_INTERRUPT 1u /* avail.flags */
#define NO_NOTIFY    1u /* used.flags */

struct avail {
	uint16_t flags, idx, ring[];
	/* uint16_t used_event behind ring[size] */
};

struct used_elem {
	uint32_t id, len;
};

struct used {
	uint16_t flags, idx;
	struct used_elem ring[];
	/* uint16_t avail_event behind ring[size] */
};

static struct avail *avail_of(const struct vq *vq)
{
	return (struct avail *)(void *)vq->h_driver;
}

static struct used *used_of(const struct vq *vq)
{
	return (struct used *)(void *)vq->h_device;
}

bool vq_split_map(struct vq *vq)
{
	uint64_t n = vq->size;

	vq->h_desc = vq_map_part(vq, vq->desc, 16 * n, 16, false);
	vq->h_driver = vq_map_part(vq, vq->driver, 4 + 2 * n + 2, 2, false);
	vq->h_device = vq_map_part(vq, vq->device, 4 + 8 * n + 2, 4, true);
	return vq->h_desc && vq->h_driver && vq->h_device;
}

int vq_split_has(struct vq *vq)
{
	uint16_t waiting = (uint16_t)(shared_ld_acquire(&avail_of(vq)->idx) - vq->avail_idx);

	if (waiting > vq->size) {
		virtio_break(vq->v, "queue %u: %u buffers available in %u entries", vq->index,
			     waiting, vq->size);
		return -1;
	}
	return waiting != 0;
}

static struct vq_desc read_desc(const struct vq *vq, uint16_t i)
{
	const uint64_t *p = (const uint64_t *)(void *)(vq->h_desc + 16u * i);
	uint64_t lo = shared_ld(&p[0]), hi = shared_ld(&p[1]);

	return (struct vq_desc){ .addr = lo,
				 .len = (uint32_t)hi,
				 .flags = (uint16_t)(hi >> 32),
				 .next = (uint16_t)(hi >> 48) };
}

/* Follows a copied indirect table from its first entry. */
static bool walk_table(struct vq *vq, struct vq_chain *c, uint64_t gpa, uint32_t len)
{
	uint32_t n = vq_read_table(vq, gpa, len), i = 0, steps = 0;

	while (n) {
		const struct vq_desc *d = &vq->table[i];

		if (d->flags & VQ_DESC_INDIRECT) {
			virtio_break(vq->v, "queue %u: indirect table in a table", vq->index);
			return false;
		}
		if (!vq_chain_add(vq, c, d->addr, d->len, d->flags & VQ_DESC_WRITE))
			return false;
		if (!(d->flags & VQ_DESC_NEXT))
			return true;
		i = d->next;
		if (i >= n || ++steps >= n) {
			virtio_break(vq->v, "queue %u: loop or bad link in a table", vq->index);
			return false;
		}
	}
	return false;
}

static bool walk(struct vq *vq, struct vq_chain *c, uint16_t i)
{
	for (unsigned steps = 0; steps < vq->size; steps++) {
		struct vq_desc d;

		if (i >= vq->size) {
			virtio_break(vq->v, "queue %u: descriptor %u of %u", vq->index, i,
				     vq->size);
			return false;
		}
		d = read_desc(vq, i);
		if (d.flags & VQ_DESC_INDIRECT) {
			if (d.flags & VQ_DESC_NEXT) {
				virtio_break(vq->v, "queue %u: chain behind a table", vq->index);
				return false;
			}
			return walk_table(vq, c, d.addr, d.len);
		}
		if (!vq_chain_add(vq, c, d.addr, d.len, d.flags & VQ_DESC_WRITE))
			return false;
		if (!(d.flags & VQ_DESC_NEXT))
			return true;
		i = d.next;
	}
	virtio_break(vq->v, "queue %u: chain longer than the queue", vq->index);
	return false;
}

int vq_split_pop(struct vq *vq, struct vq_chain *c)
{
	c->head = shared_ld(&avail_of(vq)->ring[vq->avail_idx & (vq->size - 1)]);
	c->ndesc = 1;
	if (!walk(vq, c, c->head))
		return -1;
	vq->avail_idx++;
	vq->in_flight++;
	return 1;
}

void vq_split_unpop(struct vq *vq, const struct vq_chain *c)
{
	vq->avail_idx--;
	vq->in_flight--;
}

void vq_split_put(struct vq *vq, const struct vq_done *done)
{
	struct used *used = used_of(vq);
	struct used_elem *e = &used->ring[vq->used_idx & (vq->size - 1)];

	shared_st(&e->id, done->head);
	shared_st(&e->len, done->written);
	shared_st_release(&used->idx, ++vq->used_idx);
	vq_wrote(vq, e, sizeof(*e));
	vq_wrote(vq, used, 4);
	vq->in_flight--;
	vq->unsignalled++;
}

bool vq_split_wants_irq(struct vq *vq)
{
	const struct avail *avail = avail_of(vq);
	uint16_t event;

	if (!vq->event_idx)
		return !(shared_ld(&avail->flags) & NO_INTERRUPT);
	event = shared_ld(&avail->ring[vq->size]);
	/* Did used_idx pass event since the last time? (2.7.7.2) */
	return (uint16_t)(vq->used_idx - event - 1) < vq->unsignalled;
}

void vq_split_publish(struct vq *vq)
{
	struct used *used = used_of(vq);
	uint16_t *avail_event = (uint16_t *)(void *)&used->ring[vq->size];

	if (!vq->event_idx) {
		shared_st(&used->flags, vq->kick_off ? NO_NOTIFY : 0);
		vq_wrote(vq, &used->flags, sizeof(used->flags));
	} else {
		/* Kicks off: an event behind the driver, which stays silent for a whole round. */
		shared_st(avail_event, (uint16_t)(vq->avail_idx - vq->kick_off));
		vq_wrote(vq, avail_event, sizeof(*avail_event));
	}
}

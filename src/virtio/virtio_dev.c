/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the transports share: the life of a device behind one, its configuration space, and the
 * registers that set queues up. VIRTIO 1.2 sections 2.5, 4.1.4.3 and 4.2.2.
 *
 * Threads: under the device's lock. State: the device's own.
 */
#include "base/base.h"
#include "base/bytes.h"
#include "core/vm.h"
#include "virtio/virtio_dev.h"
#include "virtio/vq_int.h"

/* ---- life ---- */

static uint64_t ring_features(const struct virtio *v)
{
	return (v->p_event_idx ? BIT64(VIRTIO_F_EVENT_IDX) : 0) |
	       (v->p_indirect ? BIT64(VIRTIO_F_INDIRECT_DESC) : 0) |
	       (v->p_packed ? BIT64(VIRTIO_F_RING_PACKED) : 0) |
	       (v->p_in_order ? BIT64(VIRTIO_F_IN_ORDER) : 0) |
	       (v->p_queue_reset ? BIT64(VIRTIO_F_RING_RESET) : 0) |
	       (v->p_notify_data ? BIT64(VIRTIO_F_NOTIFICATION_DATA) : 0);
}

int virtio_dev_init(struct virtio *v, struct dev *d, const struct virtio_type *type,
		    void (*notify)(struct virtio *, int n), struct err *e)
{
	int ret;

	v->type = type;
	v->dev = d;
	v->vm = d->vm;
	v->loop = d->vm->loop;
	v->notify = notify;
	v->ring_features = ring_features(v);
	ret = type->init ? type->init(v, e) : 0;
	return ret < 0 ? ret : virtio_init(v, e);
}

void virtio_dev_unplug(struct virtio *v)
{
	if (!v)
		return;
	virtio_bells_fini(v);
	if (v->type->unplug)
		v->type->unplug(v);
	pthread_mutex_lock(&v->dev->lock);
	if (v->vqs)
		virtio_reset(v);
	pthread_mutex_unlock(&v->dev->lock);
}

void virtio_dev_fini(struct virtio *v)
{
	if (!v)
		return;
	virtio_fini(v);
	if (v->type->fini)
		v->type->fini(v);
}

void virtio_dev_resume(struct virtio *v)
{
	pthread_mutex_lock(&v->dev->lock);
	if (v->type->resume)
		v->type->resume(v);
	virtio_resume(v);
	pthread_mutex_unlock(&v->dev->lock);
}

struct virtio *virtio_of(struct dev *d)
{
	if (d->type->fini == virtio_pci_dev_fini)
		return container_of(d, struct virtio_pci, pci.d)->v;
	if (d->type->fini == virtio_mmio_dev_fini)
		return container_of(d, struct virtio_mmio, d)->v;
	return NULL;
}

/* ---- registers ---- */

uint32_t virtio_feature_word(uint64_t features, uint32_t word)
{
	return word > 1 ? 0 : (uint32_t)(features >> (32 * word));
}

uint64_t virtio_cfg_read(const struct virtio *v, uint64_t off, unsigned size)
{
	uint8_t buf[8] = { 0 };

	for (unsigned i = 0; i < size && off + i < v->cfg_len; i++)
		buf[i] = v->cfg[off + i];
	return ld_le(buf, size);
}

void virtio_cfg_write(struct virtio *v, uint64_t off, uint64_t val, unsigned size)
{
	if (off >= v->cfg_len || size > v->cfg_len - off)
		return;
	for (unsigned i = 0; i < size; i++) {
		uint8_t mask = v->cfg_wmask[off + i];

		v->cfg[off + i] =
			(uint8_t)((v->cfg[off + i] & ~mask) | ((uint8_t)(val >> (8 * i)) & mask));
	}
	if (v->type->cfg_written)
		v->type->cfg_written(v, (unsigned)off, size);
}

struct vq *virtio_selected(struct virtio *v, uint32_t sel)
{
	return sel < v->nr_vqs ? &v->vqs[sel] : NULL;
}

static void set_half(uint64_t *reg, bool high, uint32_t val)
{
	if (high)
		*reg = (uint32_t)*reg | (uint64_t)val << 32;
	else
		*reg = (*reg & ~0xffffffffull) | val;
}

/* Only before the queue is enabled: its parameters are frozen then. */
void virtio_queue_set(struct vq *vq, enum virtio_queue_reg reg, bool high, uint32_t val)
{
	if (vq->enabled) {
		dev_guest_error(vq->v->dev, "queue %u changed while enabled", vq->index);
		return;
	}
	switch (reg) {
	case VQ_REG_DESC:
		set_half(&vq->desc, high, val);
		break;
	case VQ_REG_DRIVER:
		set_half(&vq->driver, high, val);
		break;
	case VQ_REG_DEVICE:
		set_half(&vq->device, high, val);
		break;
	case VQ_REG_SIZE: /* checked at enabling; what is too large for it never fits */
	default:
		vq->size = (uint16_t)MIN(val, (uint32_t)UINT16_MAX);
		break;
	}
}

void virtio_queue_enable(struct vq *vq)
{
	if (!(vq->v->status & VIRTIO_STATUS_FEATURES_OK))
		dev_guest_error(vq->v->dev, "queue %u enabled before FEATURES_OK", vq->index);
	else
		vq_enable(vq);
}

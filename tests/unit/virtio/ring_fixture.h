/* SPDX-License-Identifier: Apache-2.0 */
/* One queue of a device without a transport, and its driver, for ring tests. */
#ifndef TESTS_UNIT_VIRTIO_RING_FIXTURE_H
#define TESTS_UNIT_VIRTIO_RING_FIXTURE_H

#include "virtio_driver.h"

#include "virtio/vq_int.h"

struct fixture {
	struct vdrv_vm *t;
	struct dev dev;
	struct virtio v;
	struct dring drv;
	unsigned irqs, cfg_irqs;
	struct iovec iov[VQ_MAX_SEGS];
};

static uint64_t fixture_features(struct virtio *v)
{
	return 0;
}

static void fixture_notify(struct virtio *v, int n)
{
	struct fixture *f = container_of(v, struct fixture, v);

	if (n < 0)
		__atomic_fetch_add(&f->cfg_irqs, 1, __ATOMIC_RELAXED);
	else
		__atomic_fetch_add(&f->irqs, 1, __ATOMIC_RELAXED);
}

static void fixture_kick(struct virtio *v, unsigned n)
{
}

static const struct virtio_type fixture_type = {
	.name = "test", .id = 63, .features = fixture_features, .kick = fixture_kick
};

#define ALL_RING_FEATURES                                                                          \
	(BIT64(VIRTIO_F_INDIRECT_DESC) | BIT64(VIRTIO_F_EVENT_IDX) | BIT64(VIRTIO_F_RING_PACKED) | \
	 BIT64(VIRTIO_F_IN_ORDER) | BIT64(VIRTIO_F_RING_RESET))

/* As after DRIVER_OK with these features; queue 0 is not set up yet. */
static void fixture_negotiate(struct fixture *f, uint64_t features)
{
	virtio_set_status(&f->v, 0);
	virtio_set_status(&f->v, 3);
	features |= BIT64(VIRTIO_F_VERSION_1);
	virtio_set_driver_features(&f->v, 0, (uint32_t)features);
	virtio_set_driver_features(&f->v, 1, (uint32_t)(features >> 32));
	virtio_set_status(&f->v, 0xb);
	virtio_set_status(&f->v, 0xf);
}

static struct fixture *fixture_new(void)
{
	struct fixture *f = xnew(struct fixture);
	static char path[] = "test";
	struct err e;

	f->t = vdrv_vm_new();
	f->dev.vm = &f->t->vm;
	f->dev.path = path;
	f->v.type = &fixture_type;
	f->v.dev = &f->dev;
	f->v.nr_vqs = 1;
	f->v.vq_size = VQ_MAX_SIZE;
	f->v.notify = fixture_notify;
	f->v.ring_features = ALL_RING_FEATURES;
	if (virtio_init(&f->v, &e) < 0)
		abort();
	return f;
}

static UNUSED struct fixture *fixture_free(struct fixture *f)
{
	virtio_fini(&f->v);
	vdrv_vm_free(f->t);
	free(f);
	return NULL;
}

static struct vq *fixture_vq(struct fixture *f)
{
	return virtio_vq(&f->v, 0);
}

/* A fresh ring of size entries, enabled. */
static UNUSED struct vq *fixture_ring(struct fixture *f, uint64_t features, uint16_t size)
{
	struct vq *vq = fixture_vq(f);

	f->t->next = 0x1000;
	fixture_negotiate(f, features);
	dring_init(&f->drv, f->t, size, features);
	vq->size = size;
	vq->desc = f->drv.desc;
	vq->driver = f->drv.driver;
	vq->device = f->drv.device;
	vq_enable(vq);
	return vq;
}

#endif

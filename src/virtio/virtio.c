/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all virtio transports share: negotiation, device status, start and stop, errors.
 * VIRTIO 1.2 sections 2.1, 2.2, 2.4, 2.6.1 and 3.1.
 *
 * Order is enforced: features are frozen by FEATURES_OK, which is refused when the driver took
 * bits that were not offered; queues are enabled after that; DRIVER_OK comes last. A device that
 * met a broken driver keeps its queues stopped until the driver resets it.
 *
 * Threads: under the device's lock, but virtio_break(). State: virtio_state.
 */
#include "base/base.h"
#include "base/trace.h"
#include "core/state.h"
#include "core/vm.h"
#include "virtio/vq_int.h"
#include <stdarg.h>
#include <stdio.h>

#define KNOWN_STATUS                                                                  \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK | \
	 VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

/* ---- any thread ---- */

void virtio_break(struct virtio *v, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dev_guest_error(v->dev, "virtio driver is broken: %s", text);
	if (__atomic_exchange_n(&v->broken, true, __ATOMIC_ACQ_REL))
		return;
	/* 2.1.2: the driver learns of it by a configuration interrupt, once it runs. */
	if (__atomic_load_n(&v->status, __ATOMIC_ACQUIRE) & VIRTIO_STATUS_DRIVER_OK)
		v->notify(v, -1);
}

void virtio_cfg_changed(struct virtio *v)
{
	__atomic_fetch_add(&v->cfg_generation, 1, __ATOMIC_RELEASE);
	if (__atomic_load_n(&v->status, __ATOMIC_ACQUIRE) & VIRTIO_STATUS_DRIVER_OK)
		v->notify(v, -1);
}

/* ---- life ---- */

int virtio_init(struct virtio *v, struct err *e)
{
	if (!v->nr_vqs || v->nr_vqs > 1024 || v->vq_size > VQ_MAX_SIZE || !is_pow2(v->vq_size) ||
	    v->cfg_len > sizeof(v->cfg))
		return err_set(e, EINVAL, "%s: %u queues of %u entries are not possible",
			       v->dev->path, v->nr_vqs, v->vq_size);
	v->vm = v->dev->vm;
	v->may_dma = true;
	v->vqs = xnew_n(struct vq, v->nr_vqs);
	for (unsigned i = 0; i < v->nr_vqs; i++)
		vq_init(&v->vqs[i], v, (uint16_t)i);
	return 0;
}

static void stop(struct virtio *v)
{
	if (!v->started)
		return;
	v->started = false;
	if (v->type->stop)
		v->type->stop(v);
}

void virtio_fini(struct virtio *v)
{
	if (!v->vqs)
		return;
	stop(v);
	for (unsigned i = 0; i < v->nr_vqs; i++)
		vq_clear(&v->vqs[i]);
	free(take_ptr(v->vqs));
}

static void start(struct virtio *v)
{
	struct err e = { 0 };

	if (v->started || !v->may_dma || virtio_is_broken(v))
		return;
	v->started = true;
	if (v->type->start && v->type->start(v, &e) < 0) {
		v->started = false;
		virtio_break(v, "the device did not start: %s", e.msg);
	}
	if (v->started)
		virtio_bells_start(v);
}

void virtio_reset(struct virtio *v)
{
	stop(v);
	for (unsigned i = 0; i < v->nr_vqs; i++)
		vq_clear(&v->vqs[i]);
	v->features = v->driver_features = 0;
	__atomic_store_n(&v->status, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&v->broken, false, __ATOMIC_RELEASE);
	if (v->type->reset)
		v->type->reset(v);
}

void virtio_pause(struct virtio *v)
{
	stop(v);
}

void virtio_resume(struct virtio *v)
{
	if (!(v->status & VIRTIO_STATUS_DRIVER_OK))
		return;
	start(v);
	/* What was made available before the pause has had its kick. */
	for (unsigned i = 0; v->started && i < v->nr_vqs; i++)
		virtio_kick(v, i);
}

void virtio_set_dma(struct virtio *v, bool on)
{
	if (v->may_dma == on)
		return;
	v->may_dma = on;
	if (!on)
		virtio_pause(v);
	else if (v->vm->going) /* else it starts when the machine goes on */
		virtio_resume(v);
}

/* ---- negotiation ---- */

uint64_t virtio_offered(const struct virtio *v)
{
	uint64_t type = v->type->features ? v->type->features((struct virtio *)v) : 0;

	return type | v->ring_features | BIT64(VIRTIO_F_VERSION_1);
}

void virtio_set_driver_features(struct virtio *v, unsigned word, uint32_t val)
{
	if (v->status & VIRTIO_STATUS_FEATURES_OK) {
		dev_guest_error(v->dev, "features written after FEATURES_OK");
		return;
	}
	if (word == 0)
		v->driver_features = (v->driver_features & ~0xffffffffull) | val;
	else if (word == 1)
		v->driver_features = (uint32_t)v->driver_features | (uint64_t)val << 32;
	else if (val)
		dev_guest_error(v->dev, "features above bit 63");
}

static bool accept_features(struct virtio *v)
{
	uint64_t f = v->driver_features, extra = f & ~virtio_offered(v);

	if (extra || !(f & BIT64(VIRTIO_F_VERSION_1))) {
		dev_guest_error(v->dev, "features %#" PRIx64 " refused (%s)", f,
				extra ? "not offered" : "VERSION_1 is missing");
		return false;
	}
	v->features = f;
	trace_virtio_set_features(v->dev->path, f);
	return true;
}

uint8_t virtio_get_status(const struct virtio *v)
{
	return v->status | (virtio_is_broken(v) ? VIRTIO_STATUS_NEEDS_RESET : 0);
}

void virtio_set_status(struct virtio *v, uint8_t val)
{
	uint8_t now = v->status, add;

	trace_virtio_set_status(v->dev->path, val);
	if (!val) {
		virtio_reset(v);
		return;
	}
	if (now & ~val)
		dev_guest_error(v->dev, "status bits %#x cleared without reset", now & ~val);
	add = val & ~now & KNOWN_STATUS;
	if ((add & VIRTIO_STATUS_FEATURES_OK) && !accept_features(v))
		add &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	if ((add & VIRTIO_STATUS_DRIVER_OK) && !((now | add) & VIRTIO_STATUS_FEATURES_OK)) {
		dev_guest_error(v->dev, "DRIVER_OK before FEATURES_OK");
		add &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
	}
	__atomic_store_n(&v->status, now | add, __ATOMIC_RELEASE);
	if (add & VIRTIO_STATUS_DRIVER_OK)
		start(v);
}

/* ---- queues ---- */

void virtio_kick(struct virtio *v, unsigned n)
{
	trace_virtio_queue_notify(v->dev->path, n);
	if (n >= v->nr_vqs || !v->started || !vq_enabled(&v->vqs[n]) || virtio_is_broken(v))
		return;
	v->type->kick(v, n);
}

void virtio_reset_queue(struct virtio *v, unsigned n)
{
	uint16_t vector;

	if (n >= v->nr_vqs || !v->vqs[n].enabled)
		return;
	if (v->started && v->type->queue_reset)
		v->type->queue_reset(v, n);
	/* The interrupt vector stays; size and addresses go back (2.6.1.1). */
	vector = v->vqs[n].vector;
	vq_clear(&v->vqs[n]);
	v->vqs[n].vector = vector;
}

/* ---- copying ---- */

static size_t copy(const struct iovec *iov, unsigned n, size_t off, uint8_t *buf, size_t len,
		   bool to_iov)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		size_t take;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		take = MIN(iov[i].iov_len - off, len - done);
		if (to_iov)
			memcpy((uint8_t *)iov[i].iov_base + off, buf + done, take);
		else
			memcpy(buf + done, (const uint8_t *)iov[i].iov_base + off, take);
		done += take;
		off = 0;
	}
	return done;
}

size_t iov_to_buf(const struct iovec *iov, unsigned n, size_t off, void *to, size_t len)
{
	return copy(iov, n, off, to, len, false);
}

size_t iov_from_buf(const struct iovec *iov, unsigned n, size_t off, const void *from, size_t len)
{
	return copy(iov, n, off, (void *)from, len, true);
}

/* ---- state ---- */

static int virtio_post_load(void *obj, struct err *e)
{
	struct virtio *v = obj;
	bool features_ok = v->status & VIRTIO_STATUS_FEATURES_OK;

	if (v->status & ~KNOWN_STATUS)
		return err_set(e, EINVAL, "device status %#x is not possible", v->status);
	if (v->features & ~virtio_offered(v))
		return err_set(e, EINVAL,
			       "the guest uses features %#" PRIx64
			       " that this device does not offer",
			       v->features & ~virtio_offered(v));
	if (!features_ok && (v->features || (v->status & VIRTIO_STATUS_DRIVER_OK)))
		return err_set(e, EINVAL, "features are in use before they were accepted");
	for (unsigned i = 0; i < v->nr_vqs; i++) {
		int ret;

		if (v->vqs[i].enabled && !features_ok)
			return err_set(e, EINVAL, "queue %u is in use before negotiation", i);
		ret = vq_thaw(&v->vqs[i], e);
		if (ret < 0)
			return ret;
	}
	return 0;
}

const struct state_desc virtio_state = {
	.name = "virtio",
	.struct_name = "virtio",
	.version = 1,
	.post_load = virtio_post_load,
	.fields =
		(const struct state_field[]){
			ST_HOST(struct virtio, type),
			ST_HOST(struct virtio, vm),
			ST_HOST(struct virtio, dev),
			ST_HOST(struct virtio, loop),
			ST_HOST(struct virtio, p_event_idx),
			ST_HOST(struct virtio, p_indirect),
			ST_HOST(struct virtio, p_packed),
			ST_HOST(struct virtio, p_in_order),
			ST_HOST(struct virtio, p_queue_reset),
			ST_HOST(struct virtio, p_notify_data),
			ST_HOST(struct virtio, nr_vqs),
			ST_HOST(struct virtio, vq_size),
			ST_HOST(struct virtio, vectors),
			ST_HOST(struct virtio, cfg_len),
			ST_U8A(struct virtio, cfg),
			ST_HOST(struct virtio, cfg_wmask),
			ST_SUBS(struct virtio, vqs, nr_vqs, &vq_state),
			ST_HOST(struct virtio, ring_features),
			ST_U64(struct virtio, driver_features),
			ST_U64(struct virtio, features),
			ST_U8(struct virtio, status),
			ST_BOOL(struct virtio, broken),
			ST_DERIVED(struct virtio, started),
			ST_DERIVED(struct virtio, may_dma),
			ST_U32(struct virtio, cfg_generation),
			ST_HOST(struct virtio, bell_region),
			ST_HOST(struct virtio, bell_off),
			ST_HOST(struct virtio, bell_step),
			ST_HOST(struct virtio, bell_match),
			ST_HOST(struct virtio, bells),
			ST_HOST(struct virtio, notify),
			ST_END,
		},
};

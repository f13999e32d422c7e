/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entropy device: fills the driver's buffers from the object that rng= names, or from the host's
 * getrandom(2). VIRTIO 1.2 section 5.4.
 *
 * A chain gets at most CHAIN_MAX bytes (the device may return less than asked for) and a kick at
 * most KICK_MAX; the rest follows on the control loop, so that a guest cannot hold a thread.
 *
 * Threads: vCPUs and the control loop, under the device's lock. State: the transport's only.
 */
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/trace.h"
#include "core/backend.h"
#include "core/object.h"
#include "core/vm.h"
#include "virtio/virtio_dev.h"
#include <sys/random.h>

#define CHAIN_MAX 4096u
#define KICK_MAX  65536u
#define POOL	  256u	   /* read from an object at once */
#define AGAIN_MS  20u	   /* an object that has nothing now is asked again */
#define CLASS_RNG 0x00ff00 /* unclassified, as other implementations say */

struct virtio_rng {
	struct virtio v; /* first */
	struct loop_work more;
	struct loop_timer again; /* when the source or the quota has something anew */
	struct iovec iov[VQ_MAX_SEGS];
	char *rng; /* id of the object, or NULL: getrandom(2) */
	struct obj *source;
	uint64_t max_bytes, quota, period_end_ns; /* bytes a period */
	uint32_t period;
	struct log_limit broken;
	uint8_t pool[POOL];
	size_t pool_len;
};

static struct virtio_rng *rng_of(struct virtio *v)
{
	return container_of(v, struct virtio_rng, v);
}

static size_t from_host(uint8_t *buf, size_t want)
{
	size_t have = 0;

	while (have < want) {
		ssize_t n = getrandom(buf + have, want - have, 0);

		if (n > 0)
			have += (size_t)n;
		else if (n == 0 || errno != EINTR)
			break;
	}
	return have;
}

static size_t from_pool(struct virtio_rng *s, uint8_t *buf, size_t want)
{
	size_t n = MIN(want, s->pool_len);

	s->pool_len -= n;
	memcpy(buf, s->pool + s->pool_len, n);
	explicit_bzero(s->pool + s->pool_len, n);
	return n;
}

/* Fills one chain; returns how many bytes: at least one, where there is room. */
static uint32_t fill(struct virtio_rng *s, const struct vq_chain *c)
{
	uint8_t buf[CHAIN_MAX];
	size_t want = (size_t)MIN(c->in_len, (uint64_t)sizeof(buf)), have;

	want = (size_t)MIN((uint64_t)want, s->quota);
	have = s->source ? from_pool(s, buf, want) : from_host(buf, want);
	s->quota -= have;
	return (uint32_t)iov_from_buf(c->iov + c->out_n, c->in_n, 0, buf, have);
}

/* A new period has a new quota. */
static void refresh_quota(struct virtio_rng *s, uint64_t now)
{
	if (now < s->period_end_ns)
		return;
	s->period_end_ns = now + s->period * NS_PER_MS;
	s->quota = s->max_bytes;
}

/* Is there a byte for a chain? If not, the timer comes back to it. */
static bool has_bytes(struct virtio_rng *s)
{
	uint64_t now = clock_now_ns();
	ssize_t n;

	refresh_quota(s, now);
	if (!s->quota) {
		loop_arm(s->v.vm->loop, &s->again, s->period_end_ns);
		return false;
	}
	if (!s->source || s->pool_len)
		return true;
	n = obj_rng_read(s->source, s->pool, sizeof(s->pool));
	if (n > 0) {
		s->pool_len = (size_t)n;
		return true;
	}
	if (n < 0 && log_allow(&s->broken))
		log_warn("%s: no random numbers from '%s': %s", s->v.dev->path, s->rng,
			 strerror((int)-n));
	loop_arm(s->v.vm->loop, &s->again, now + AGAIN_MS * NS_PER_MS);
	return false;
}

static void serve(struct virtio_rng *s)
{
	struct vq *vq = virtio_vq(&s->v, 0);
	struct vq_chain c = { .iov = s->iov };
	uint32_t done = 0;

	while (done < KICK_MAX && has_bytes(s) && vq_pop(vq, &c) > 0) {
		uint32_t n = fill(s, &c);

		trace_virtio_rng_pushed(s->v.dev->path, n);
		vq_push(vq, &c, n);
		done += MAX(n, 64u); /* a chain without room costs too */
	}
	vq_notify(vq);
	if (done >= KICK_MAX)
		loop_post(s->v.vm->loop, &s->more);
}

static void rng_kick(struct virtio *v, unsigned n)
{
	serve(rng_of(v));
}

static void serve_again(struct virtio_rng *s)
{
	pthread_mutex_lock(&s->v.dev->lock);
	if (s->v.started)
		serve(s);
	pthread_mutex_unlock(&s->v.dev->lock);
}

static void serve_more(struct loop_work *w)
{
	serve_again(container_of(w, struct virtio_rng, more));
}

static void serve_later(struct loop_timer *t)
{
	serve_again(container_of(t, struct virtio_rng, again));
}

static int rng_init(struct virtio *v, struct err *e)
{
	struct virtio_rng *s = rng_of(v);

	s->more.fn = serve_more;
	s->again.fn = serve_later;
	v->nr_vqs = 1;
	v->vq_size = 64;
	if (!s->rng)
		return 0;
	s->source = backend_claim(v->vm, BACKEND_OBJECT, s->rng, v->dev->path, e);
	if (!s->source)
		return -ENOENT;
	if (!obj_is_rng(s->source))
		return err_set(e, EINVAL, "rng=%s is a %s: rng-random or rng-builtin is needed",
			       s->rng, s->source->type->name);
	return 0;
}

static void rng_fini(struct virtio *v)
{
	struct virtio_rng *s = rng_of(v);

	loop_cancel(v->dev->vm->loop, &s->more);
	loop_disarm(v->dev->vm->loop, &s->again);
	if (s->source)
		backend_release(v->vm, BACKEND_OBJECT, s->rng);
	explicit_bzero(s->pool, sizeof(s->pool));
}

static const struct virtio_type rng_virtio = {
	.name = "virtio-rng",
	.id = 4,
	.pci_class = CLASS_RNG,
	.init = rng_init,
	.fini = rng_fini,
	.kick = rng_kick,
	.kick_in_place = true,
};

#define RNG_PROPS(type)                                                                      \
	PROP_STRING("rng", type, x.rng, NULL, "the rng-random or rng-builtin object"),       \
		PROP_UINT("max-bytes", type, x.max_bytes, PROP_U64, INT64_MAX, 1, INT64_MAX, \
			  "bytes at most in a period"),                                      \
		PROP_UINT("period", type, x.period, PROP_U32, 65536, 1, 0,                   \
			  "length of a period in ms"),

static const struct state_desc rng_state = {
	.name = "virtio-rng",
	.struct_name = "virtio_rng",
	.version = 1,
	.fields =
		(const struct state_field[]){
			ST_SUB(struct virtio_rng, v, &virtio_state),
			ST_HOST(struct virtio_rng, more),
			ST_HOST(struct virtio_rng, again),
			ST_HOST(struct virtio_rng, iov),
			ST_HOST(struct virtio_rng, rng),
			ST_HOST(struct virtio_rng, source),
			ST_HOST(struct virtio_rng, max_bytes),
			ST_HOST(struct virtio_rng, quota),
			ST_HOST(struct virtio_rng, period_end_ns),
			ST_HOST(struct virtio_rng, period),
			ST_HOST(struct virtio_rng, broken),
			ST_HOST(struct virtio_rng, pool),
			ST_HOST(struct virtio_rng, pool_len),
			ST_END,
		},
};

VIRTIO_DEVICE(virtio_rng, rng_virtio, rng_state, RNG_PROPS, "virtio-rng",
	      "random numbers from the host");

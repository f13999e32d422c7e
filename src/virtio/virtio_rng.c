/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entropy device: fills the driver's buffers from the host's getrandom(2). VIRTIO 1.2 section 5.4.
 *
 * A chain gets at most CHAIN_MAX bytes (the device may return less than asked for) and a kick at
 * most KICK_MAX; the rest follows on the control loop, so that a guest cannot hold a thread.
 *
 * Threads: vCPUs and the control loop, under the device's lock. State: the transport's only.
 */
#include "base/base.h"
#include "core/vm.h"
#include "virtio/virtio_dev.h"
#include <sys/random.h>

#define CHAIN_MAX 4096u
#define KICK_MAX  65536u
#define CLASS_RNG 0x00ff00 /* unclassified, as other implementations say */

struct virtio_rng {
	struct virtio v; /* first */
	struct loop_work more;
	struct iovec iov[VQ_MAX_SEGS];
};

static struct virtio_rng *rng_of(struct virtio *v)
{
	return container_of(v, struct virtio_rng, v);
}

/* Fills one chain; returns how many bytes. */
static uint32_t fill(const struct vq_chain *c)
{
	uint8_t buf[CHAIN_MAX];
	size_t want = (size_t)MIN(c->in_len, (uint64_t)sizeof(buf)), have = 0;

	while (have < want) {
		ssize_t n = getrandom(buf + have, want - have, 0);

		if (n > 0)
			have += (size_t)n;
		else if (n == 0 || errno != EINTR)
			break;
	}
	return (uint32_t)iov_from_buf(c->iov + c->out_n, c->in_n, 0, buf, have);
}

static void serve(struct virtio_rng *s)
{
	struct vq *vq = virtio_vq(&s->v, 0);
	struct vq_chain c = { .iov = s->iov };
	uint32_t done = 0;

	while (done < KICK_MAX && vq_pop(vq, &c) > 0) {
		uint32_t n = fill(&c);

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

static void serve_more(struct loop_work *w)
{
	struct virtio_rng *s = container_of(w, struct virtio_rng, more);

	pthread_mutex_lock(&s->v.dev->lock);
	if (s->v.started)
		serve(s);
	pthread_mutex_unlock(&s->v.dev->lock);
}

static int rng_init(struct virtio *v, struct err *e)
{
	rng_of(v)->more.fn = serve_more;
	v->nr_vqs = 1;
	v->vq_size = 64;
	return 0;
}

static void rng_fini(struct virtio *v)
{
	loop_cancel(v->dev->vm->loop, &rng_of(v)->more);
}

static const struct virtio_type rng_virtio = {
	.name = "virtio-rng",
	.id = 4,
	.pci_class = CLASS_RNG,
	.init = rng_init,
	.fini = rng_fini,
	.kick = rng_kick,
};

#define RNG_PROPS(type)

static const struct state_desc rng_state = {
	.name = "virtio-rng",
	.struct_name = "virtio_rng",
	.version = 1,
	.fields =
		(const struct state_field[]){
			ST_SUB(struct virtio_rng, v, &virtio_state),
			ST_HOST(struct virtio_rng, more),
			ST_HOST(struct virtio_rng, iov),
			ST_END,
		},
};

VIRTIO_DEVICE(virtio_rng, rng_virtio, rng_state, RNG_PROPS, "virtio-rng",
	      "entropy from the host's getrandom(2)");

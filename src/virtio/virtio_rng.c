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
#include "virtio/virtio_pci.h"
#include <sys/random.h>

#define CHAIN_MAX 4096u
#define KICK_MAX  65536u
#define CLASS_RNG 0x00ff00 /* unclassified, as other implementations say */

struct virtio_rng {
	struct virtio_pci p; /* first */
	struct loop_work more;
	struct iovec iov[VQ_MAX_SEGS];
};

static struct virtio_rng *rng_of(struct virtio *v)
{
	return container_of(virtio_to_pci(v), struct virtio_rng, p);
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
	struct vq *vq = virtio_vq(&s->p.v, 0);
	struct vq_chain c = { .iov = s->iov };
	uint32_t done = 0;

	while (done < KICK_MAX && vq_pop(vq, &c) > 0) {
		uint32_t n = fill(&c);

		vq_push(vq, &c, n);
		done += MAX(n, 64u); /* a chain without room costs too */
	}
	vq_notify(vq);
	if (done >= KICK_MAX)
		loop_post(s->p.v.vm->loop, &s->more);
}

static void rng_kick(struct virtio *v, unsigned n)
{
	serve(rng_of(v));
}

static void serve_more(struct loop_work *w)
{
	struct virtio_rng *s = container_of(w, struct virtio_rng, more);

	pthread_mutex_lock(&s->p.pci.d.lock);
	if (s->p.v.started)
		serve(s);
	pthread_mutex_unlock(&s->p.pci.d.lock);
}

static const struct virtio_type rng_virtio = { .name = "virtio-rng", .id = 4, .kick = rng_kick };

static int rng_init(struct dev *d, struct err *e)
{
	struct virtio_rng *s = container_of(d, struct virtio_rng, p.pci.d);

	s->more.fn = serve_more;
	s->p.v.type = &rng_virtio;
	s->p.v.nr_vqs = 1;
	s->p.v.vq_size = 64;
	return virtio_pci_init(&s->p, CLASS_RNG, e);
}

static void rng_fini(struct dev *d)
{
	struct virtio_rng *s = container_of(d, struct virtio_rng, p.pci.d);

	virtio_pci_fini(&s->p);
	loop_cancel(d->vm->loop, &s->more);
}

static const struct prop rng_props[] = {
	VIRTIO_PCI_PROPS(struct virtio_rng),
	PROPS_END,
};

static const struct state_desc rng_state = {
	.name = "virtio-rng",
	.struct_name = "virtio_rng",
	.version = 1,
	.fields =
		(const struct state_field[]){
			ST_SUB(struct virtio_rng, p, &virtio_pci_state),
			ST_HOST(struct virtio_rng, more),
			ST_HOST(struct virtio_rng, iov),
			ST_END,
		},
};

extern const struct dev_type virtio_rng_type;
const struct dev_type virtio_rng_type = {
	.name = "virtio-rng-pci",
	.alias = "virtio-rng",
	.bus = DEV_BUS_PCI,
	.help = "entropy from the host's getrandom(2)",
	.size = sizeof(struct virtio_rng),
	.props = rng_props,
	.state = &rng_state,
	.init = rng_init,
	.fini = rng_fini,
	.reset = virtio_pci_dev_reset,
	.pause = virtio_pci_dev_pause,
	.resume = virtio_pci_dev_resume,
};

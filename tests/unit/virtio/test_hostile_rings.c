/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile rings: random and half-right descriptors, loops, wild indices, while another thread
 * changes everything under the device's hands (double fetch). Whatever comes: every piece of a
 * chain is RAM that was named, sums are right, work is bounded, RAM nobody named stays as it was.
 *
 * HANOK_RINGS=n sets how many rings; the default is a slice that suits `make check`.
 */
#include "cmocka_all.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "ring_fixture.h"
#include "rng.h"
#include <pthread.h>
#include <stdio.h>

const struct dev_type *const dev_types[] = { NULL };

#define POOL	    MIB(16) /* what descriptors may name; also tables */
#define POOL_SIZE   MIB(4)
#define CANARY	    MIB(24) /* what nobody names */
#define CANARY_SIZE KIB(64)

struct hostile {
	struct fixture *f;
	struct rng rng;
	_Atomic bool racing, stop;
	uint64_t chains, broken;
};

static uint64_t wild_gpa(struct rng *rng)
{
	switch (rng_below(rng, 24)) {
	case 0:
		return VDRV_RAM - rng_below(rng, 64);
	case 1:
		return rng_u64(rng) | BIT64(40);
	case 2:
		return UINT64_MAX - rng_below(rng, 64);
	default:
		return POOL + (rng_u64(rng) % (POOL_SIZE - MIB(1)));
	}
}

static uint32_t wild_len(struct rng *rng)
{
	switch (rng_below(rng, 16)) {
	case 0:
		return 0;
	case 1:
		return 16 * rng_below(rng, 20);
	case 2:
		return (uint32_t)MIB(1) - 1;
	default:
		return 1 + rng_below(rng, 4096);
	}
}

/* One descriptor; in both layouts the last four bytes are flags and a number. */
static void wild_desc(struct hostile *h, uint8_t *d, unsigned size, bool packed, bool wrap)
{
	struct rng *rng = &h->rng;
	uint16_t flags = rng_one_in(rng, 2) ? 1 : 0, next = (uint16_t)rng_below(rng, size);

	flags |= rng_one_in(rng, 2) ? 2 : 0;
	if (rng_one_in(rng, 6))
		flags = 4;
	if (rng_one_in(rng, 40))
		flags = (uint16_t)rng_u64(rng);
	if (rng_one_in(rng, 40))
		next = (uint16_t)rng_u64(rng);
	if (packed)
		flags |= rng_one_in(rng, 10) ? (uint16_t)rng_u64(rng) : wrap ? 0x80 : 0x8000;
	st_le64(d, wild_gpa(rng));
	st_le32(d + 8, flags & 4 ? 16 * rng_below(rng, size + 2) : wild_len(rng));
	st_le16(d + 12, packed ? next : flags);
	st_le16(d + 14, packed ? flags : next);
}

static void wild_ring(struct hostile *h, unsigned size, bool packed)
{
	struct dring *r = &h->f->drv;
	uint8_t *avail = vdrv_mem(h->f->t, r->driver);

	for (unsigned i = 0; i < size; i++)
		wild_desc(h, vdrv_mem(h->f->t, r->desc + 16 * i), size, packed, true);
	for (unsigned i = 0; i < 64; i++) /* tables to be found in the pool */
		wild_desc(h, vdrv_mem(h->f->t, POOL + 16 * i + 4096 * rng_below(&h->rng, 512)),
			  size, packed, true);
	if (packed)
		return;
	for (unsigned i = 0; i < size; i++)
		st_le16(avail + 4 + 2 * i,
			(uint16_t)(rng_one_in(&h->rng, 50) ? rng_u64(&h->rng)
							   : rng_below(&h->rng, size)));
	st_le16(avail + 2, (uint16_t)rng_below(&h->rng, size + 2));
	st_le16(avail, (uint16_t)rng_below(&h->rng, 2));
}

static void check_chain(struct hostile *h, const struct vq_chain *c)
{
	const uint8_t *ram = h->f->t->vm.ram->host;
	uint64_t sum[2] = { 0 };

	assert_true(c->out_n + c->in_n >= 1 && c->out_n + c->in_n <= VQ_MAX_SEGS);
	assert_true(c->ndesc >= 1 && c->ndesc <= VQ_MAX_SIZE);
	for (unsigned i = 0; i < c->out_n + c->in_n; i++) {
		const uint8_t *p = c->iov[i].iov_base;

		assert_true(p >= ram && p < ram + VDRV_RAM);
		assert_true(c->iov[i].iov_len && c->iov[i].iov_len <= (size_t)(ram + VDRV_RAM - p));
		sum[i >= c->out_n] += c->iov[i].iov_len;
	}
	assert_int_equal(sum[0], c->out_len);
	assert_int_equal(sum[1], c->in_len);
	assert_true(sum[0] + sum[1] <= UINT32_MAX);
}

/* What a device does: pops, keeps some, pushes in any order, tells the driver. */
static void one_ring(struct hostile *h)
{
	static const unsigned bits[] = { VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX,
					 VIRTIO_F_IN_ORDER, VIRTIO_F_RING_PACKED };
	struct vq_chain c = { .iov = h->f->iov }, held[4];
	unsigned combo = rng_below(&h->rng, 16), nr_held = 0, pops = 0;
	uint16_t size = (uint16_t)(1u << rng_below(&h->rng, 5));
	uint64_t features = 0;
	struct vq *vq;

	for (unsigned b = 0; b < 4; b++)
		features |= combo >> b & 1 ? BIT64(bits[b]) : 0;
	vq = fixture_ring(h->f, features, size);
	assert_true(vq_enabled(vq));
	wild_ring(h, size, combo & 8);
	atomic_store(&h->racing, true);
	while (pops < 4u * size && vq_pop(vq, &c) > 0) {
		pops++;
		check_chain(h, &c);
		if (rng_one_in(&h->rng, 8)) {
			vq_unpop(vq, &c);
		} else if (nr_held < ARRAY_SIZE(held)) {
			held[nr_held] = c;
			held[nr_held++].in_n = 0; /* its iov is gone */
		} else {
			vq_push(vq, &c, (uint32_t)MIN(c.in_len, 64ull));
		}
		while (nr_held && rng_one_in(&h->rng, 2))
			vq_push(vq, &held[--nr_held], 0);
		vq_notify(vq);
	}
	(void)vq_enable_kick(vq);
	vq_disable_kick(vq);
	while (nr_held)
		vq_push(vq, &held[--nr_held], 0);
	vq_notify(vq);
	assert_true(vq->in_flight <= size);
	atomic_store(&h->racing, false);
	h->chains += pops;
	h->broken += h->f->v.broken;
}

/* Another vCPU: writes to ring and tables all the time. */
static void *race(void *arg)
{
	struct hostile *h = arg;
	struct rng rng = { 99 };

	while (!atomic_load(&h->stop)) {
		uint64_t gpa;

		if (!atomic_load(&h->racing))
			continue;
		gpa = (rng_one_in(&rng, 4) ? POOL : 0x1000) + 2 * rng_below(&rng, 512);
		__atomic_store_n((uint16_t *)vdrv_mem(h->f->t, gpa),
				 (uint16_t)(rng_one_in(&rng, 4) ? rng_u64(&rng)
								: rng_below(&rng, 32)),
				 __ATOMIC_RELAXED);
	}
	return NULL;
}

static unsigned rings_wanted(void)
{
	const char *text = getenv("HANOK_RINGS");

	return text ? (unsigned)strtoul(text, NULL, 10) : 60000;
}

static void run(bool racing)
{
	struct hostile *h = xnew(struct hostile);
	unsigned rings = rings_wanted();
	uint64_t slowest = 0;
	pthread_t thread;

	h->f = fixture_new();
	h->rng.state = racing ? 1 : 2;
	memset(vdrv_mem(h->f->t, CANARY), 0x5a, CANARY_SIZE);
	if (racing)
		pthread_create(&thread, NULL, race, h);
	for (unsigned i = 0; i < rings; i++) {
		uint64_t start = clock_now_ns();

		one_ring(h);
		slowest = MAX(slowest, clock_now_ns() - start);
	}
	atomic_store(&h->stop, true);
	if (racing)
		pthread_join(thread, NULL);
	for (unsigned i = 0; i < CANARY_SIZE; i++)
		assert_int_equal(*(uint8_t *)vdrv_mem(h->f->t, CANARY + i), 0x5a);
	/* The generator must reach both: chains that are good and rings that are not. */
	assert_true(h->chains > rings / 4 && h->broken > rings / 10);
	print_message("%u rings, %" PRIu64 " chains, %" PRIu64 " broken, slowest %" PRIu64 " us\n",
		      rings, h->chains, h->broken, slowest / 1000);
	assert_true(slowest < NS_PER_SEC);
	fixture_free(h->f);
	free(h);
}

static void hostile(void **state)
{
	run(false);
}

static void hostile_and_racing(void **state)
{
	run(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile),
		cmocka_unit_test(hostile_and_racing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

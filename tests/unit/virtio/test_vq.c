/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring against an independent model of the driver: random chains in both layouts with every
 * combination of features, in random order of completion; wake-ups are never lost; what breaks
 * the rules breaks the device and nothing else.
 */
#include "cmocka_all.h"

#include "base/bytes.h"
#include "core/state.h"
#include "ring_fixture.h"
#include "rng.h"

const struct dev_type *const dev_types[] = { NULL };

#define MAX_CHAIN 6
#define STEPS	  6000

/* What the driver knows of one chain that is out. */
struct posted {
	struct dbuf buf[MAX_CHAIN];
	unsigned out, in;
	uint32_t out_len, in_len, written, seq;
	uint8_t seed;
	bool used;
};

struct run {
	struct fixture *f;
	struct vq *vq;
	struct rng rng;
	uint64_t features;
	struct posted posted[DRING_MAX];
	struct vq_chain held[DRING_MAX]; /* popped, not pushed */
	uint32_t held_token[DRING_MAX];
	unsigned nr_held, nr_posted;
	uint32_t next_seq, expect_seq;
	bool device_sleeps;
	unsigned done;
};

static uint8_t pattern(uint8_t seed, unsigned i)
{
	return (uint8_t)(seed + 7 * i);
}

/* Buffers live in a pool of RAM of their own, one 4 KiB cell for each token. */
static uint64_t cell(uint32_t token)
{
	return MIB(16) + 4096ull * token;
}

static int free_token(const struct run *r)
{
	for (int i = 0; i < DRING_MAX; i++) {
		if (!r->posted[i].used)
			return i;
	}
	return -1;
}

static void driver_adds(struct run *r)
{
	int token = free_token(r);
	struct posted *p;
	uint64_t at = cell((uint32_t)token);
	bool indirect = (r->features & BIT64(VIRTIO_F_INDIRECT_DESC)) && rng_one_in(&r->rng, 2);
	unsigned max = MIN((unsigned)MAX_CHAIN, (unsigned)r->f->drv.size), n;

	if (token < 0)
		return;
	p = &r->posted[token];
	memset(p, 0, sizeof(*p));
	n = 1 + rng_below(&r->rng, max);
	p->out = rng_below(&r->rng, n + 1);
	p->in = n - p->out;
	p->seed = (uint8_t)rng_u64(&r->rng);
	memset(vdrv_mem(r->f->t, at), 0xcc, 4096);
	for (unsigned i = 0; i < n; i++) {
		p->buf[i] = (struct dbuf){ at + 8, 1 + rng_below(&r->rng, 300) };
		*(i < p->out ? &p->out_len : &p->in_len) += p->buf[i].len;
		for (unsigned b = 0; i < p->out && b < p->buf[i].len; b++)
			*(uint8_t *)vdrv_mem(r->f->t, at + 8 + b) =
				pattern(p->seed, p->out_len - p->buf[i].len + b);
		at += 8 + p->buf[i].len;
	}
	if (!dring_add(&r->f->drv, p->buf, p->out, p->in, indirect, (uint32_t)token))
		return;
	p->used = true;
	p->seq = r->next_seq++;
	r->nr_posted++;
}

/* The device is woken as a driver would wake it; a lost wake-up shows as a ring it never sees. */
static void driver_kicks(struct run *r)
{
	if (dring_kick_needed(&r->f->drv))
		r->device_sleeps = false;
}

/* Which posted chain this is, by its first buffer. */
static uint32_t token_of(struct run *r, const struct vq_chain *c)
{
	uint64_t gpa = (uint64_t)((uint8_t *)c->iov[0].iov_base - r->f->t->vm.ram->host);
	uint32_t token = (uint32_t)((gpa - MIB(16)) / 4096);

	assert_true(gpa >= MIB(16) && token < DRING_MAX && r->posted[token].used);
	return token;
}

static void check_chain(struct run *r, const struct vq_chain *c, const struct posted *p)
{
	uint8_t buf[MAX_CHAIN * 300];

	assert_int_equal(c->out_n, p->out);
	assert_int_equal(c->in_n, p->in);
	assert_int_equal(c->out_len, p->out_len);
	assert_int_equal(c->in_len, p->in_len);
	assert_int_equal(iov_to_buf(c->iov, c->out_n, 0, buf, sizeof(buf)), p->out_len);
	for (unsigned i = 0; i < p->out_len; i++)
		assert_int_equal(buf[i], pattern(p->seed, i));
	for (unsigned i = 0; i < p->in; i++)
		assert_ptr_equal(c->iov[p->out + i].iov_base,
				 vdrv_mem(r->f->t, p->buf[p->out + i].gpa));
}

static void device_pops(struct run *r)
{
	struct vq_chain *c = &r->held[r->nr_held];
	int ret;

	if (r->device_sleeps)
		return;
	c->iov = c->iov ? c->iov : xnew_n(struct iovec, VQ_MAX_SEGS);
	ret = vq_pop(r->vq, c);
	assert_true(ret >= 0);
	if (ret == 0) {
		r->device_sleeps = true;
		return;
	}
	r->held_token[r->nr_held] = token_of(r, c);
	check_chain(r, c, &r->posted[r->held_token[r->nr_held]]);
	if (rng_one_in(&r->rng, 8))
		vq_unpop(r->vq, c);
	else
		r->nr_held++;
}

static void device_pushes(struct run *r)
{
	unsigned i, last;
	struct vq_chain c;
	struct posted *p;

	if (!r->nr_held)
		return;
	i = rng_below(&r->rng, r->nr_held);
	last = --r->nr_held;
	p = &r->posted[r->held_token[i]];
	p->written = rng_below(&r->rng, p->in_len + 1);
	for (unsigned b = 0; b < p->written; b++) {
		uint8_t v = pattern((uint8_t)~p->seed, b);

		iov_from_buf(r->held[i].iov + p->out, p->in, b, &v, 1);
	}
	vq_push(r->vq, &r->held[i], p->written);
	c = r->held[i];
	r->held[i] = r->held[last];
	r->held[last] = c;
	r->held_token[i] = r->held_token[last];
}

/* Bytes written are the device's, the others of the cell are as they were. */
static void check_written(struct run *r, const struct posted *p)
{
	unsigned at = 0;

	for (unsigned i = p->out; i < p->out + p->in; i++) {
		const uint8_t *m = vdrv_mem(r->f->t, p->buf[i].gpa);

		assert_int_equal(m[-1], i ? m[-1] : 0xcc);
		for (unsigned b = 0; b < p->buf[i].len; b++, at++)
			assert_int_equal(m[b],
					 at < p->written ? pattern((uint8_t)~p->seed, at) : 0xcc);
		assert_int_equal(m[p->buf[i].len], 0xcc);
	}
}

static void driver_takes(struct run *r)
{
	uint32_t token, len;

	while (dring_used(&r->f->drv, &token, &len)) {
		struct posted *p = &r->posted[token];

		assert_true(p->used);
		assert_int_equal(len, p->written);
		check_written(r, p);
		if (r->features & BIT64(VIRTIO_F_IN_ORDER))
			assert_int_equal(p->seq, r->expect_seq++);
		p->used = false;
		r->nr_posted--;
		r->done++;
	}
}

/* After its notify, a device has woken a driver that sleeps for the nth entry, if that is there. */
static void notify_and_check(struct run *r)
{
	struct dring *d = &r->f->drv;
	uint16_t nth = d->event_idx ? (uint16_t)(1 + rng_below(&r->rng, d->size)) : 1;
	unsigned before;

	driver_takes(r);
	if (rng_one_in(&r->rng, 4)) {
		dring_irq_off(d);
		device_pushes(r);
		before = r->f->irqs;
		vq_notify(r->vq);
		if (!d->event_idx)
			assert_int_equal(r->f->irqs, before);
		driver_takes(r);
		return;
	}
	if (d->packed)
		nth = 1; /* slots, not chains */
	dring_irq_on(d, nth);
	vq_notify(r->vq); /* of older entries */
	if (dring_has_used(d))
		return;
	before = r->f->irqs;
	for (unsigned i = 0; i < nth; i++)
		device_pushes(r);
	vq_notify(r->vq);
	if (d->packed ? dring_has_used(d)
		      : (uint16_t)(ld_le16(vdrv_mem(r->f->t, d->device + 2)) - d->used_idx) >= nth)
		assert_int_equal(r->f->irqs, before + 1);
	else
		assert_int_equal(r->f->irqs, before);
}

static void drain(struct run *r)
{
	while (r->nr_posted) {
		r->device_sleeps = false;
		device_pops(r);
		device_pushes(r);
		vq_notify(r->vq);
		driver_takes(r);
	}
}

static void random_run(struct fixture *f, uint64_t features, uint16_t size, uint64_t seed)
{
	struct run *r = xnew(struct run);

	r->f = f;
	r->features = features;
	r->rng.state = seed;
	r->vq = fixture_ring(f, features, size);
	assert_true(vq_enabled(r->vq));
	for (unsigned i = 0; i < STEPS; i++) {
		switch (rng_below(&r->rng, 8)) {
		case 0:
		case 1:
			driver_adds(r);
			break;
		case 2:
		case 3:
			driver_kicks(r);
			break;
		case 4:
		case 5:
			device_pops(r);
			break;
		case 6:
			device_pushes(r);
			break;
		default:
			notify_and_check(r);
			break;
		}
		/* With everything kicked and the device asleep, nothing waits. */
		if (r->device_sleeps && !f->drv.added)
			assert_true(vq_empty(r->vq));
	}
	drain(r);
	assert_true(r->done > STEPS / 50);
	assert_int_equal(f->drv.free_slots, size);
	assert_false(f->v.broken);
	for (unsigned i = 0; i < DRING_MAX; i++)
		free(r->held[i].iov);
	free(r);
}

static void against_model(void **state)
{
	static const uint16_t sizes[] = { 1, 2, 8, 64, 256 };
	static const unsigned bits[] = { VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX,
					 VIRTIO_F_IN_ORDER, VIRTIO_F_RING_PACKED };
	struct fixture *f = fixture_new();

	for (unsigned combo = 0; combo < 16; combo++) {
		uint64_t features = 0;

		for (unsigned b = 0; b < 4; b++)
			features |= combo >> b & 1 ? BIT64(bits[b]) : 0;
		for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++)
			random_run(f, features, sizes[s], combo * 100 + s);
		if (combo & 8) /* packed rings have any size */
			random_run(f, features, 7, combo);
	}
	fixture_free(f);
}

/* ---- kicks ---- */

static void kick_suppression(void **state)
{
	struct fixture *f = fixture_new();

	for (unsigned combo = 0; combo < 4; combo++) {
		uint64_t features = (combo & 1 ? BIT64(VIRTIO_F_EVENT_IDX) : 0) |
				    (combo & 2 ? BIT64(VIRTIO_F_RING_PACKED) : 0);
		struct vq *vq = fixture_ring(f, features, 8);
		struct vq_chain c = { .iov = f->iov };
		struct dbuf b = { MIB(16), 64 };

		assert_true(dring_add(&f->drv, &b, 1, 0, false, 1));
		assert_true(dring_kick_needed(&f->drv));
		assert_int_equal(vq_pop(vq, &c), 1);
		vq_push(vq, &c, 0);
		assert_int_equal(vq_pop(vq, &c), 0);
		vq_disable_kick(vq);
		assert_true(dring_add(&f->drv, &b, 1, 0, false, 2));
		assert_false(dring_kick_needed(&f->drv));
		assert_true(vq_enable_kick(vq)); /* came while we did not listen */
		assert_int_equal(vq_pop(vq, &c), 1);
		assert_false(vq_enable_kick(vq));
		assert_true(vq_empty(vq));
		assert_true(dring_add(&f->drv, &b, 1, 0, false, 3));
		assert_true(dring_kick_needed(&f->drv));
		assert_false(vq_empty(vq));
	}
	fixture_free(f);
}

/* ---- drivers that break the rules ---- */

static void put_split(struct fixture *f, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags,
		      uint16_t next)
{
	uint8_t *d = vdrv_mem(f->t, f->drv.desc + 16 * i);

	st_le64(d, gpa);
	st_le32(d + 8, len);
	st_le16(d + 12, flags);
	st_le16(d + 14, next);
}

static void avail_split(struct fixture *f, uint16_t head, uint16_t idx)
{
	st_le16(vdrv_mem(f->t, f->drv.driver + 4), head);
	st_le16(vdrv_mem(f->t, f->drv.driver + 2), idx);
}

static void expect_broken(struct fixture *f, const char *what)
{
	struct vq_chain c = { .iov = f->iov };
	struct vq *vq = fixture_vq(f);
	unsigned cfg_irqs = f->cfg_irqs;

	if (vq_pop(vq, &c) != -1)
		fail_msg("%s: accepted", what);
	assert_true(f->v.broken);
	assert_true(virtio_get_status(&f->v) & VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(f->cfg_irqs, cfg_irqs + 1);
	assert_int_equal(vq_pop(vq, &c), -1); /* and stays so, silently */
	assert_true(vq_empty(vq));
	vq_push(vq, &c, 0);
	vq_notify(vq);
	assert_int_equal(f->cfg_irqs, cfg_irqs + 1);
	virtio_set_status(&f->v, 0);
	assert_false(f->v.broken);
}

static void bad_split(void **state)
{
	static const struct {
		const char *what;
		uint64_t gpa;
		uint32_t len;
		uint16_t flags, next, head, idx;
	} cases[] = {
		{ "loop", MIB(16), 64, 1, 0, 0, 1 },
		{ "bad link", MIB(16), 64, 1, 8, 0, 1 },
		{ "bad head", MIB(16), 64, 0, 0, 8, 1 },
		{ "index distance", MIB(16), 64, 0, 0, 0, 9 },
		{ "index backwards", MIB(16), 64, 0, 0, 0, 0xffff },
		{ "zero length", MIB(16), 0, 0, 0, 0, 1 },
		{ "behind RAM", VDRV_RAM, 64, 0, 0, 0, 1 },
		{ "across the end of RAM", VDRV_RAM - 8, 64, 2, 0, 0, 1 },
		{ "wraps around", UINT64_MAX - 8, 64, 0, 0, 0, 1 },
		{ "a register BAR", 0xc0000000, 64, 0, 0, 0, 1 },
		{ "indirect and next", MIB(16), 64, 5, 1, 0, 1 },
		{ "indirect length", MIB(16), 63, 4, 0, 0, 1 },
		{ "empty table", MIB(16), 0, 4, 0, 0, 1 },
		{ "table too long", MIB(16), 16 * (VQ_MAX_SIZE + 1), 4, 0, 0, 1 },
		{ "table behind RAM", VDRV_RAM, 16, 4, 0, 0, 1 },
	};
	struct fixture *f = fixture_new();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fixture_ring(f, BIT64(VIRTIO_F_INDIRECT_DESC), 8);
		put_split(f, 0, cases[i].gpa, cases[i].len, cases[i].flags, cases[i].next);
		avail_split(f, cases[i].head, cases[i].idx);
		expect_broken(f, cases[i].what);
	}
	/* Without the feature no tables. */
	fixture_ring(f, 0, 8);
	put_split(f, 0, MIB(16), 16, 4, 0);
	avail_split(f, 0, 1);
	expect_broken(f, "indirect without the feature");
	/* Readable behind writable. */
	fixture_ring(f, 0, 8);
	put_split(f, 0, MIB(16), 16, 3, 1);
	put_split(f, 1, MIB(16), 16, 0, 0);
	avail_split(f, 0, 1);
	expect_broken(f, "readable behind writable");
	/* More than 4 GiB in all: the same 32 MiB again and again. */
	fixture_ring(f, 0, 256);
	for (unsigned i = 0; i < 256; i++)
		put_split(f, i, 0, (uint32_t)VDRV_RAM, i < 255, (uint16_t)(i + 1));
	avail_split(f, 0, 1);
	expect_broken(f, "4 GiB");
	fixture_free(f);
}

/* A table that changes after it was copied, or points to itself. */
static void bad_tables(void **state)
{
	struct fixture *f = fixture_new();
	uint8_t *table;

	for (unsigned i = 0; i < 3; i++) {
		fixture_ring(f, BIT64(VIRTIO_F_INDIRECT_DESC), 8);
		table = vdrv_mem(f->t, MIB(16));
		memset(table, 0, 64);
		st_le64(table, MIB(17));
		st_le32(table + 8, 16);
		st_le16(table + 12, i == 0 ? 4 : 1); /* nested; loop; link out of the table */
		st_le16(table + 14, i == 1 ? 0 : 4);
		put_split(f, 0, MIB(16), 64, 4, 0);
		avail_split(f, 0, 1);
		expect_broken(f, "table");
	}
	fixture_free(f);
}

static void put_packed(struct fixture *f, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags)
{
	put_split(f, i, gpa, len, 0, flags);
}

/* A queue made smaller than what is offered: tables keep to what the device can do. */
static void tables_longer_than_the_queue(void **state)
{
	struct fixture *f = fixture_new();
	const unsigned n = 20;

	for (int packed = 0; packed < 2; packed++) {
		struct vq_chain c = { .iov = f->iov };
		struct vq *vq;

		vq = fixture_ring(f,
				  BIT64(VIRTIO_F_INDIRECT_DESC) |
					  (packed ? BIT64(VIRTIO_F_RING_PACKED) : 0),
				  8);
		for (unsigned i = 0; i < n; i++) {
			uint8_t *d = vdrv_mem(f->t, MIB(16) + 16 * i);

			st_le64(d, MIB(17) + 64 * i);
			st_le32(d + 8, 64);
			st_le16(d + 12, packed ? 0 : i < n - 1);
			st_le16(d + 14, packed ? 0 : (uint16_t)(i + 1));
		}
		if (packed) {
			put_packed(f, 0, MIB(16), 16 * n, 0x84);
		} else {
			put_split(f, 0, MIB(16), 16 * n, 4, 0);
			avail_split(f, 0, 1);
		}
		assert_int_equal(vq_pop(vq, &c), 1);
		assert_int_equal(c.out_n, n);
		assert_int_equal(c.out_len, 64 * n);
		assert_ptr_equal(c.iov[n - 1].iov_base, vdrv_mem(f->t, MIB(17) + 64 * (n - 1)));
	}
	fixture_free(f);
}

static void bad_packed(void **state)
{
	uint64_t features = BIT64(VIRTIO_F_RING_PACKED) | BIT64(VIRTIO_F_INDIRECT_DESC);
	struct fixture *f = fixture_new();

	fixture_ring(f, features, 8);
	for (unsigned i = 0; i < 8; i++)
		put_packed(f, i, MIB(16), 64, 0x81); /* NEXT all around */
	expect_broken(f, "endless chain");
	fixture_ring(f, features, 8);
	put_packed(f, 0, MIB(16), 16, 0x85);
	expect_broken(f, "indirect and next");
	fixture_ring(f, features, 8);
	put_packed(f, 0, MIB(16), 16, 0x81);
	put_packed(f, 1, MIB(16), 16, 0x84);
	expect_broken(f, "table inside a chain");
	fixture_ring(f, features, 8);
	put_packed(f, 0, VDRV_RAM, 16, 0x80);
	expect_broken(f, "behind RAM");
	fixture_free(f);
}

/* Taking everything again and again without giving back: bounded by the ring's size. */
static void too_many_in_flight(void **state)
{
	struct fixture *f = fixture_new();
	struct vq *vq = fixture_ring(f, 0, 8);
	struct vq_chain c = { .iov = f->iov };

	put_split(f, 0, MIB(16), 16, 0, 0);
	for (unsigned i = 0; i < 8; i++)
		st_le16(vdrv_mem(f->t, f->drv.driver + 4 + 2 * i), 0);
	avail_split(f, 0, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(vq_pop(vq, &c), 1);
	avail_split(f, 0, 9);
	expect_broken(f, "more in flight than entries");
	fixture_free(f);
}

static void bad_parameters(void **state)
{
	static const struct {
		uint16_t size;
		uint64_t desc, driver, device, features;
	} cases[] = {
		{ 0, 0x1000, 0x2000, 0x3000, 0 },
		{ 3, 0x1000, 0x2000, 0x3000, 0 },
		{ 2048, 0x1000, 0x2000, 0x3000, 0 },
		{ 8, 0x1008, 0x2000, 0x3000, 0 },
		{ 8, 0x1000, 0x2001, 0x3000, 0 },
		{ 8, 0x1000, 0x2000, 0x3002, 0 },
		{ 8, VDRV_RAM - 64, 0x2000, 0x3000, 0 },
		{ 8, 0x1000, VDRV_RAM, 0x3000, 0 },
		{ 8, 0x1000, 0x2000, UINT64_MAX - 3, 0 },
		{ 8, 0x1000, 0x2002, 0x3000, BIT64(VIRTIO_F_RING_PACKED) },
		{ 0, 0x1000, 0x2000, 0x3000, BIT64(VIRTIO_F_RING_PACKED) },
		{ 1025, 0x1000, 0x2000, 0x3000, BIT64(VIRTIO_F_RING_PACKED) },
	};
	struct fixture *f = fixture_new();
	struct vq *vq = fixture_vq(f);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fixture_negotiate(f, cases[i].features);
		vq->size = cases[i].size;
		vq->desc = cases[i].desc;
		vq->driver = cases[i].driver;
		vq->device = cases[i].device;
		vq_enable(vq);
		if (!f->v.broken)
			fail_msg("case %zu was accepted", i);
	}
	fixture_free(f);
}

/* RAM that goes away under a ring in use breaks the device. */
static void ring_leaves_ram(void **state)
{
	struct fixture *f = fixture_new();
	struct vq *vq = fixture_ring(f, 0, 8);
	struct vq_chain c = { .iov = f->iov };
	struct err e;

	assert_int_equal(vq_pop(vq, &c), 0);
	map_del(f->t->vm.map, &f->t->ram_region);
	assert_int_equal(vq_pop(vq, &c), -1);
	assert_true(f->v.broken);
	assert_int_equal(map_add(f->t->vm.map, &f->t->ram_region, &e), 0);
	fixture_free(f);
}

/* A buffer over the seam of two RAM regions is two pieces; a ring over it is one if they touch. */
static void seams(void **state)
{
	struct fixture *f = fixture_new();
	struct map_region alias = { .name = "alias",
				    .space = MAP_MEM,
				    .kind = MAP_RAM,
				    .addr = VDRV_RAM,
				    .size = MIB(1),
				    .rb = f->t->vm.ram,
				    .rb_off = MIB(8) };
	struct vq_chain c = { .iov = f->iov };
	struct dbuf b = { VDRV_RAM - 100, 300 };
	struct vq *vq;
	struct err e;

	assert_int_equal(map_add(f->t->vm.map, &alias, &e), 0);
	vq = fixture_ring(f, 0, 8);
	assert_true(dring_add(&f->drv, &b, 0, 1, false, 1));
	assert_int_equal(vq_pop(vq, &c), 1);
	assert_int_equal(c.in_n, 2);
	assert_int_equal(c.iov[0].iov_len, 100);
	assert_ptr_equal(c.iov[1].iov_base, f->t->vm.ram->host + MIB(8));
	vq->enabled = false;
	vq->desc = VDRV_RAM - 64;
	vq_enable(vq); /* the two parts of the table are not neighbours in host memory */
	assert_true(f->v.broken);
	map_del(f->t->vm.map, &alias);
	fixture_free(f);
}

/* ---- state ---- */

static void state_round_trip(void **state)
{
	struct fixture *f = fixture_new();

	for (unsigned combo = 0; combo < 8; combo++) {
		uint64_t features = (combo & 1 ? BIT64(VIRTIO_F_EVENT_IDX) : 0) |
				    (combo & 2 ? BIT64(VIRTIO_F_RING_PACKED) : 0) |
				    (combo & 4 ? BIT64(VIRTIO_F_IN_ORDER) : 0);
		struct vq *vq = fixture_ring(f, features, 8);
		struct vq_chain c = { .iov = f->iov };
		struct dbuf b[3] = { { MIB(16), 64 }, { MIB(17), 64 }, { MIB(18), 64 } };
		struct state_buf buf = { 0 };
		const uint8_t *pos;
		uint32_t token, len;
		struct err e = { 0 };

		for (uint32_t i = 0; i < 20; i++) {
			assert_true(dring_add(&f->drv, b, 2, 1, false, i));
			assert_int_equal(vq_pop(vq, &c), 1);
			vq_push(vq, &c, 5);
			if (i % 7 == 3) { /* away and back with a fresh object */
				buf.len = 0;
				state_save(&buf, "v", &virtio_state, &f->v);
				virtio_fini(&f->v);
				assert_int_equal(virtio_init(&f->v, &e), 0);
				pos = buf.data;
				if (state_load(&pos, buf.data + buf.len, "v", &virtio_state, &f->v,
					       &e))
					fail_msg("%s", e.msg);
				vq = fixture_vq(f);
			}
			assert_true(dring_used(&f->drv, &token, &len));
			assert_int_equal(token, i);
			assert_int_equal(len, 5);
		}
		state_buf_fini(&buf);
	}
	fixture_free(f);
}

/* Streams with indices, sizes or features that cannot be are refused. */
static void hostile_state(void **state)
{
	struct fixture *f = fixture_new();
	struct vq *vq;

	for (unsigned i = 0; i < 7; i++) {
		struct state_buf buf = { 0 };
		const uint8_t *pos;
		struct err e = { 0 };

		vq = fixture_ring(f, BIT64(VIRTIO_F_RING_PACKED), 8);
		switch (i) {
		case 0:
			vq->avail_idx = 8;
			break;
		case 1:
			vq->used_idx = 0xffff;
			break;
		case 2:
			vq->size = 2000;
			break;
		case 3:
			vq->in_flight = 1;
			break;
		case 4:
			f->v.features |= BIT64(63);
			break;
		case 5:
			f->v.status = 0;
			break;
		default:
			f->v.status |= 0x40;
			break;
		}
		state_save(&buf, "v", &virtio_state, &f->v);
		pos = buf.data;
		assert_true(state_load(&pos, buf.data + buf.len, "v", &virtio_state, &f->v, &e) <
			    0);
		assert_true(e.msg[0]);
		state_buf_fini(&buf);
		virtio_reset(&f->v);
	}
	fixture_free(f);
}

static void iov_copies(void **state)
{
	uint8_t a[5] = "abcde", b[3] = "fgh", out[8] = { 0 };
	struct iovec iov[3] = { { a, 5 }, { NULL, 0 }, { b, 3 } };

	assert_int_equal(iov_to_buf(iov, 3, 0, out, 8), 8);
	assert_memory_equal(out, "abcdefgh", 8);
	assert_int_equal(iov_to_buf(iov, 3, 4, out, 8), 4);
	assert_memory_equal(out, "efgh", 4);
	assert_int_equal(iov_to_buf(iov, 3, 8, out, 8), 0);
	assert_int_equal(iov_from_buf(iov, 3, 3, "XYZ", 3), 3);
	assert_memory_equal(a, "abcXY", 5);
	assert_memory_equal(b, "Zgh", 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_model),
		cmocka_unit_test(kick_suppression),
		cmocka_unit_test(bad_split),
		cmocka_unit_test(bad_tables),
		cmocka_unit_test(tables_longer_than_the_queue),
		cmocka_unit_test(bad_packed),
		cmocka_unit_test(too_many_in_flight),
		cmocka_unit_test(bad_parameters),
		cmocka_unit_test(ring_leaves_ram),
		cmocka_unit_test(seams),
		cmocka_unit_test(state_round_trip),
		cmocka_unit_test(hostile_state),
		cmocka_unit_test(iov_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

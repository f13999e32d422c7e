/* SPDX-License-Identifier: Apache-2.0 */
/* The address map: rendering against a brute-force model, accesses, DMA, concurrent readers. */
#include "base/base.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "mem/map.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* A device that records its accesses and reads as its offsets. */
struct recorder {
	struct map_region r;
	char log[1024];
	pthread_mutex_t lock;
	bool locked_in_fn;
};

static uint64_t rec_read(void *opaque, uint64_t off, unsigned size)
{
	struct recorder *d = opaque;
	size_t len = strlen(d->log);
	uint64_t val = 0;

	snprintf(d->log + len, sizeof(d->log) - len, "r%" PRIx64 ".%u ", off, size);
	for (unsigned i = 0; i < size; i++)
		val |= (uint64_t)((off + i) & 0xff) << 8 * i;
	d->locked_in_fn = d->r.lock && pthread_mutex_trylock(d->r.lock) != 0;
	return val;
}

static void rec_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct recorder *d = opaque;
	size_t len = strlen(d->log);

	snprintf(d->log + len, sizeof(d->log) - len, "w%" PRIx64 ".%u=%" PRIx64 " ", off, size,
		 val);
}

static const struct io_ops ops_any = { .read = rec_read, .write = rec_write };
static const struct io_ops ops_4 = { .read = rec_read, .write = rec_write, .min = 4, .max = 4 };
static const struct io_ops ops_1 = { .read = rec_read, .write = rec_write, .min = 1, .max = 1 };
static const struct io_ops ops_2_4 = { .read = rec_read, .write = rec_write, .min = 2, .max = 4 };

static void recorder_init(struct recorder *d, enum map_space space, uint64_t addr, uint64_t size,
			  const struct io_ops *ops)
{
	memset(d, 0, sizeof(*d));
	d->r = (struct map_region){ .name = "rec",
				    .space = space,
				    .kind = MAP_IO,
				    .addr = addr,
				    .size = size,
				    .ops = ops,
				    .opaque = d };
}

static struct map *new_map(void)
{
	struct err e = { 0 };
	struct map *m = map_new(&e);

	assert_non_null(m);
	return m;
}

/* One access; compares what the device saw. */
static uint64_t access_logs(struct map *m, struct recorder *d, uint64_t addr, uint64_t val,
			    unsigned size, bool write, const char *log)
{
	uint8_t data[8] = { 0 };

	d->log[0] = 0;
	st_le64(data, val);
	map_access(m, d->r.space, addr, data, size, write);
	assert_string_equal(d->log, log);
	return ld_le64(data);
}

static void splits_and_widens(void **state)
{
	struct map *m = new_map();
	struct recorder any, four, one, two;
	struct err e = { 0 };

	recorder_init(&any, MAP_MEM, 0x1000, 0x100, &ops_any);
	recorder_init(&four, MAP_MEM, 0x2000, 0x100, &ops_4);
	recorder_init(&one, MAP_MEM, 0x3000, 0x100, &ops_1);
	recorder_init(&two, MAP_MEM, 0x4000, 0x100, &ops_2_4);
	assert_int_equal(map_add(m, &any.r, &e), 0);
	assert_int_equal(map_add(m, &four.r, &e), 0);
	assert_int_equal(map_add(m, &one.r, &e), 0);
	assert_int_equal(map_add(m, &two.r, &e), 0);

	assert_int_equal(access_logs(m, &any, 0x1010, 0, 8, false, "r10.8 "), 0x1716151413121110);
	assert_int_equal(access_logs(m, &any, 0x1011, 0, 4, false, "r11.1 r12.2 r14.1 "),
			 0x14131211);
	assert_int_equal(access_logs(m, &any, 0x1010, 0, 3, false, "r10.2 r12.1 "), 0x121110);
	access_logs(m, &any, 0x1012, 0xaabbccdd, 4, true, "w12.2=ccdd w14.2=aabb ");

	assert_int_equal(access_logs(m, &four, 0x2008, 0, 8, false, "r8.4 rc.4 "),
			 0x0f0e0d0c0b0a0908);
	assert_int_equal(access_logs(m, &four, 0x2009, 0, 1, false, "r8.4 "), 0x09);
	assert_int_equal(access_logs(m, &four, 0x200a, 0, 4, false, "r8.4 rc.4 "), 0x0d0c0b0a);
	access_logs(m, &four, 0x2009, 0x77, 1, true, "w8.4=7700 ");
	access_logs(m, &four, 0x200e, 0x44332211, 4, true, "wc.4=22110000 w10.4=4433 ");

	assert_int_equal(access_logs(m, &one, 0x3000, 0, 4, false, "r0.1 r1.1 r2.1 r3.1 "),
			 0x03020100);
	access_logs(m, &one, 0x3000, 0x0201, 2, true, "w0.1=1 w1.1=2 ");

	assert_int_equal(access_logs(m, &two, 0x4001, 0, 4, false, "r0.2 r2.2 r4.2 "), 0x04030201);
	access_logs(m, &two, 0x4004, 0x1122334455667788, 8, true, "w4.4=55667788 w8.4=11223344 ");
	map_free(m);
}

static void holes_and_borders(void **state)
{
	struct map *m = new_map();
	struct recorder a, b;
	struct err e = { 0 };
	uint8_t data[8];

	recorder_init(&a, MAP_MEM, 0x1000, 4, &ops_any);
	recorder_init(&b, MAP_MEM, 0x1006, 4, &ops_any);
	assert_int_equal(map_add(m, &a.r, &e), 0);
	assert_int_equal(map_add(m, &b.r, &e), 0);
	/* last two of a, two unclaimed, first two of b */
	memset(data, 0, 8);
	assert_false(map_access(m, MAP_MEM, 0x1002, data, 6, false));
	assert_memory_equal(data, "\x02\x03\xff\xff\x00\x01\x00\x00", 8);
	assert_string_equal(a.log, "r2.2 ");
	assert_string_equal(b.log, "r0.2 ");
	assert_false(map_access(m, MAP_MEM, 0x5000, data, 8, false));
	assert_memory_equal(data, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
	assert_false(map_access(m, MAP_PIO, 0x1000, data, 1, false)); /* other space */
	assert_true(map_access(m, MAP_MEM, 0x1000, data, 4, false));
	map_free(m);
}

static void end_of_the_space(void **state)
{
	struct map *m = new_map();
	struct recorder top, pio;
	struct err e = { 0 };
	uint8_t data[8];

	recorder_init(&top, MAP_MEM, UINT64_MAX - 3, 4, &ops_any);
	recorder_init(&pio, MAP_PIO, 0xfffe, 2, &ops_any);
	assert_int_equal(map_add(m, &top.r, &e), 0);
	assert_int_equal(map_add(m, &pio.r, &e), 0);
	assert_true(map_access(m, MAP_MEM, UINT64_MAX - 3, data, 4, false));
	assert_false(map_access(m, MAP_MEM, UINT64_MAX - 1, data, 4, false));
	assert_memory_equal(data, "\x02\x03\xff\xff", 4);
	assert_false(map_access(m, MAP_PIO, 0xfffe, data, 4, false));
	assert_memory_equal(data, "\x00\x01\xff\xff", 4);
	map_free(m);
}

static void refuses_bad_regions(void **state)
{
	struct map *m = new_map();
	struct err e = { 0 };
	struct ram_block *rb = ram_new("rb", 4096, &e);
	struct recorder d;

	recorder_init(&d, MAP_MEM, 0x1000, 0, &ops_any);
	assert_int_equal(map_add(m, &d.r, &e), -EINVAL);
	recorder_init(&d, MAP_MEM, UINT64_MAX, 2, &ops_any);
	assert_int_equal(map_add(m, &d.r, &e), -EINVAL);
	recorder_init(&d, MAP_PIO, 0xffff, 2, &ops_any);
	assert_int_equal(map_add(m, &d.r, &e), -EINVAL);
	recorder_init(&d, MAP_MEM, 0, 6, &ops_4);
	assert_int_equal(map_add(m, &d.r, &e), -EINVAL);
	recorder_init(&d, MAP_MEM, 0, 4, NULL);
	assert_int_equal(map_add(m, &d.r, &e), -EINVAL);
	recorder_init(&d, MAP_MEM, 0, 4096, NULL);
	d.r.kind = MAP_RAM;
	assert_int_equal(map_add(m, &d.r, &e), -EINVAL);
	d.r.rb = rb;
	d.r.rb_off = 1;
	assert_int_equal(map_add(m, &d.r, &e), -EINVAL);
	d.r.rb_off = 0;
	assert_int_equal(map_add(m, &d.r, &e), 0);
	assert_int_equal(map_add(m, &d.r, &e), -EEXIST);
	assert_int_equal(map_move(m, &d.r, UINT64_MAX, &e), -EINVAL);
	map_del(m, &d.r);
	map_del(m, &d.r); /* twice is fine */
	map_free(m);
	ram_free(rb);
}

static void takes_the_lock(void **state)
{
	struct map *m = new_map();
	struct recorder d;
	struct err e = { 0 };
	uint8_t b;

	recorder_init(&d, MAP_MEM, 0, 4, &ops_any);
	pthread_mutex_init(&d.lock, NULL);
	d.r.lock = &d.lock;
	assert_int_equal(map_add(m, &d.r, &e), 0);
	map_access(m, MAP_MEM, 0, &b, 1, false);
	assert_true(d.locked_in_fn);
	assert_int_equal(pthread_mutex_trylock(&d.lock), 0); /* and gives it back */
	pthread_mutex_unlock(&d.lock);
	pthread_mutex_destroy(&d.lock);
	map_free(m);
}

static void ram_rom_and_dma(void **state)
{
	struct map *m = new_map();
	struct err e = { 0 };
	struct ram_block *rb = ram_new("rb", 4 * 4096, &e);
	struct recorder flash, io;
	struct map_region lo = { .name = "lo", .kind = MAP_RAM, .addr = 0, .size = 4096, .rb = rb },
			  hi = { .name = "hi",
				 .kind = MAP_RAM,
				 .addr = 4096,
				 .size = 4096,
				 .rb = rb,
				 .rb_off = 2 * 4096 };
	uint8_t buf[8192];
	uint64_t run;

	recorder_init(&flash, MAP_MEM, 0x10000, 4096, &ops_any);
	flash.r.kind = MAP_ROM;
	flash.r.rb = rb;
	flash.r.rb_off = 4096;
	recorder_init(&io, MAP_MEM, 0x20000, 4096, &ops_any);
	assert_int_equal(map_add(m, &lo, &e) | map_add(m, &hi, &e) | map_add(m, &flash.r, &e) |
				 map_add(m, &io.r, &e),
			 0);

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7);
	ram_watch(rb, 2 * 4096, 64);
	assert_int_equal(mem_write(m, 0, buf, sizeof(buf)), 0); /* over two blocks' pieces */
	assert_memory_equal(rb->host, buf, 4096);
	assert_memory_equal(rb->host + 2 * 4096, buf + 4096, 4096);
	assert_int_equal(rb->gen[2], 1);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(mem_read(m, 0, buf, sizeof(buf)), 0);
	assert_memory_equal(buf, rb->host, 4096);
	assert_int_equal(mem_read(m, 1, buf, 8192), -EFAULT);
	assert_int_equal(mem_write(m, 8191, buf, 2), -EFAULT);
	assert_int_equal(mem_read(m, 0x10000, buf, 4096), 0);
	assert_int_equal(mem_write(m, 0x10000, buf, 1), -EFAULT);
	assert_int_equal(mem_read(m, 0x20000, buf, 1), -EFAULT); /* never a device */
	assert_string_equal(io.log, "");
	assert_int_equal(mem_read(m, UINT64_MAX, buf, 2), -EFAULT);
	assert_int_equal(mem_read(m, 0x50000, buf, 0), 0);

	assert_ptr_equal(mem_view(m, 4000, 1000, true, &run), rb->host + 4000);
	assert_int_equal(run, 96);
	assert_ptr_equal(mem_view(m, 4096, 10, false, &run), rb->host + 2 * 4096);
	assert_int_equal(run, 10);
	assert_int_equal(mem_view(m, 4096, UINT64_MAX, false, &run) == NULL, 0);
	assert_int_equal(run, 4096);
	assert_null(mem_view(m, 0x10000, 4, true, &run));
	assert_null(mem_view(m, 0x30000, 4, false, &run));
	assert_null(mem_view(m, 0, 0, false, &run));
	ram_watch(rb, 0, 64);
	mem_wrote(m, 0, 4);
	assert_int_equal(rb->gen[0], 1);

	/* CPU accesses reach RAM too, tell the watch, and go through ROM writes to its ops. */
	ram_watch(rb, 0, 64);
	memcpy(buf, "\x11\x22\x33\x44", 4);
	assert_true(map_access(m, MAP_MEM, 1, buf, 4, true));
	assert_memory_equal(rb->host + 1, "\x11\x22\x33\x44", 4);
	assert_int_equal(rb->gen[0], 2);
	assert_true(map_access(m, MAP_MEM, 4094, buf, 4, false));
	assert_memory_equal(buf, rb->host + 4094, 2);
	assert_memory_equal(buf + 2, rb->host + 8192, 2);
	buf[0] = 0x55;
	assert_true(map_access(m, MAP_MEM, 0x10004, buf, 1, true));
	assert_string_equal(flash.log, "w4.1=55 ");
	map_free(m);
	ram_free(rb);
}

/* ---- rendering against a model ---- */

static uint64_t rng_state = 0x9e3779b97f4a7c15;

static uint64_t rnd(uint64_t below)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state % below;
}

#define MODEL_SPACE   256
#define MODEL_REGIONS 24

struct model {
	struct recorder d[MODEL_REGIONS];
	uint64_t order[MODEL_REGIONS]; /* 0 = not there */
	uint64_t next;
};

static const struct map_region *model_winner(const struct model *mo, uint64_t addr)
{
	int best = -1;

	for (int i = 0; i < MODEL_REGIONS; i++) {
		const struct map_region *r = &mo->d[i].r;

		if (!mo->order[i] || addr < r->addr || addr >= r->addr + r->size)
			continue;
		if (best < 0 || r->prio > mo->d[best].r.prio ||
		    (r->prio == mo->d[best].r.prio && mo->order[i] > mo->order[best]))
			best = i;
	}
	return best < 0 ? NULL : &mo->d[best].r;
}

static void check_view(struct map *m, const struct model *mo)
{
	const struct map_view *v = map_view(m);

	for (size_t i = 0; i + 1 < v->n[MAP_MEM]; i++)
		assert_true(v->range[MAP_MEM][i].last < v->range[MAP_MEM][i + 1].first);
	for (uint64_t a = 0; a < MODEL_SPACE; a++) {
		const struct map_range *r = map_find(v, MAP_MEM, a);

		assert_ptr_equal(r ? r->region : NULL, model_winner(mo, a));
		if (r)
			assert_int_equal(r->addr, r->region->addr);
	}
}

static void random_change(struct map *m, struct model *mo)
{
	int i = (int)rnd(MODEL_REGIONS);
	struct recorder *d = &mo->d[i];
	struct err e = { 0 };

	if (!mo->order[i]) {
		uint64_t addr = rnd(MODEL_SPACE - 1);

		recorder_init(d, MAP_MEM, addr, 1 + rnd(MIN(64ul, MODEL_SPACE - addr)), &ops_any);
		d->r.prio = (int16_t)((int)rnd(5) - 2);
		assert_int_equal(map_add(m, &d->r, &e), 0);
		mo->order[i] = ++mo->next;
	} else if (rnd(2)) {
		map_del(m, &d->r);
		mo->order[i] = 0;
	} else {
		assert_int_equal(map_move(m, &d->r, rnd(MODEL_SPACE - d->r.size + 1), &e), 0);
	}
}

static void rendering_matches_model(void **state)
{
	for (int round = 0; round < 40; round++) {
		struct map *m = new_map();
		struct model *mo = xnew(struct model);
		struct qsbr_reader reader;

		qsbr_register(map_qsbr(m), &reader);
		for (int step = 0; step < 60; step++) {
			if (rnd(4) == 0) { /* several changes, one commit */
				map_begin(m);
				random_change(m, mo);
				map_begin(m);
				random_change(m, mo);
				map_commit(m);
				map_commit(m);
			} else {
				random_change(m, mo);
			}
			check_view(m, mo);
			qsbr_quiescent(&reader);
		}
		qsbr_unregister(&reader);
		map_free(m);
		free(mo);
	}
}

/* ---- listeners and generations ---- */

struct listener {
	struct map_listener l;
	unsigned calls;
	uint64_t old, now;
};

static void on_commit(struct map_listener *l, const struct map_view *old,
		      const struct map_view *now)
{
	struct listener *me = container_of(l, struct listener, l);

	me->calls++;
	me->old = old->generation;
	me->now = now->generation;
}

static void listeners_hear_each_commit(void **state)
{
	struct map *m = new_map();
	struct listener l = { .l.commit = on_commit };
	struct recorder a, b;
	struct err e = { 0 };

	map_add_listener(m, &l.l);
	recorder_init(&a, MAP_MEM, 0, 4, &ops_any);
	recorder_init(&b, MAP_MEM, 8, 4, &ops_any);
	map_begin(m);
	assert_int_equal(map_add(m, &a.r, &e), 0);
	assert_int_equal(map_add(m, &b.r, &e), 0);
	assert_int_equal(l.calls, 0);
	assert_null(map_find(map_view(m), MAP_MEM, 0)); /* not before the commit */
	map_commit(m);
	assert_int_equal(l.calls, 1);
	assert_int_equal(l.now, l.old + 1);
	map_begin(m);
	map_commit(m); /* nothing changed */
	assert_int_equal(map_move(m, &a.r, 0, &e), 0);
	assert_int_equal(l.calls, 1);
	assert_int_equal(map_move(m, &a.r, 100, &e), 0);
	assert_int_equal(l.calls, 2);
	map_del_listener(m, &l.l);
	map_del(m, &a.r);
	assert_int_equal(l.calls, 2);
	map_free(m);
}

/* ---- readers while a BAR moves, from inside its own access ---- */

static struct {
	struct map *m;
	struct recorder bar;
	struct map_region ctl;
	atomic_bool stop;
	_Atomic uint64_t hits, moves;
} st;

static uint64_t bar_read(void *opaque, uint64_t off, unsigned size)
{
	return 0x5a5a5a5a;
}

static void bar_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
}

static void ctl_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct err e = { 0 };

	if (map_move(st.m, &st.bar.r, 0x1000 + val % 8 * 0x100, &e) == 0)
		atomic_fetch_add(&st.moves, 1);
}

static const struct io_ops bar_ops = { .read = bar_read, .write = bar_write };
static const struct io_ops ctl_ops = { .read = bar_read, .write = ctl_write };

static void *cpu(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	struct qsbr_reader reader;
	bool registered = seed != 3;

	if (registered) {
		qsbr_register(map_qsbr(st.m), &reader);
		qsbr_online(&reader);
	}
	while (!atomic_load(&st.stop)) {
		uint32_t val = (uint32_t)(seed = seed * 6364136223846793005 + 1442695040888963407);

		if (val % 16 == 0) {
			map_access(st.m, MAP_MEM, 0, &val, 4, true);
		} else if (map_access(st.m, MAP_MEM, 0x1000 + val % 8 * 0x100, &val, 4, false)) {
			atomic_fetch_add(&st.hits, 1);
			if (val != 0x5a5a5a5a)
				abort();
		}
		if (registered)
			qsbr_quiescent(&reader);
	}
	if (registered)
		qsbr_unregister(&reader);
	return NULL;
}

static void readers_while_a_bar_moves(void **state)
{
	struct err e = { 0 };
	uint64_t until = clock_now_ns() + 300 * NS_PER_MS;
	pthread_t t[3];

	st.m = new_map();
	recorder_init(&st.bar, MAP_MEM, 0x1000, 0x100, &bar_ops);
	st.ctl = (struct map_region){ .name = "ctl", .addr = 0, .size = 4, .ops = &ctl_ops };
	assert_int_equal(map_add(st.m, &st.bar.r, &e) | map_add(st.m, &st.ctl, &e), 0);
	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, cpu, (void *)(i + 1));
	while (clock_now_ns() < until || atomic_load(&st.moves) < 100 ||
	       atomic_load(&st.hits) < 100)
		map_synchronize(st.m);
	atomic_store(&st.stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&map_qsbr(st.m)->garbage), 0);
	map_free(st.m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(splits_and_widens),
		cmocka_unit_test(holes_and_borders),
		cmocka_unit_test(end_of_the_space),
		cmocka_unit_test(refuses_bad_regions),
		cmocka_unit_test(takes_the_lock),
		cmocka_unit_test(ram_rom_and_dma),
		cmocka_unit_test(rendering_matches_model),
		cmocka_unit_test(listeners_hear_each_commit),
		cmocka_unit_test(readers_while_a_bar_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

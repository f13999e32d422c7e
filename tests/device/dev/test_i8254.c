/* SPDX-License-Identifier: Apache-2.0 */
/* 8254: modes, byte orders, latches, read-back, gates, edges of channel 0, state. */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "dev/i8254.h"
#include "base/clock.h"

#define MS 1000000ull

struct rig {
	struct i8254 s;
	struct fm_line out;
	uint64_t now;
};

static int setup(void **state)
{
	struct rig *r = xnew(struct rig);

	r->now = 5000 * MS;
	r->s.out = fm_irq(&r->out);
	i8254_reset(&r->s, r->now);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void w(struct rig *r, unsigned port, uint8_t val)
{
	i8254_write(&r->s, port, val, r->now);
}

static uint8_t rd(struct rig *r, unsigned port)
{
	return i8254_read(&r->s, port, r->now);
}

static void program(struct rig *r, unsigned ch, unsigned mode, uint16_t count)
{
	w(r, 0x43, (uint8_t)(ch << 6 | 0x30 | mode << 1));
	w(r, 0x40 + ch, (uint8_t)count);
	w(r, 0x40 + ch, (uint8_t)(count >> 8));
}

static uint16_t count(struct rig *r, unsigned ch)
{
	uint8_t low;

	w(r, 0x43, (uint8_t)(ch << 6)); /* latch */
	low = rd(r, 0x40 + ch);
	return (uint16_t)(low | rd(r, 0x40 + ch) << 8);
}

static bool out(struct rig *r, unsigned ch)
{
	return i8254_out(&r->s.ch[ch], r->now);
}

/* To when `ticks` input ticks are over. */
static void pass(struct rig *r, uint64_t ticks)
{
	r->now += ticks * NS_PER_SEC / PIT_HZ + 1;
}

static void test_mode0(void **state)
{
	struct rig *r = *state;

	program(r, 0, 0, 1000);
	assert_false(out(r, 0));
	pass(r, 400);
	assert_int_equal(count(r, 0), 600);
	assert_false(out(r, 0));
	pass(r, 600);
	assert_true(out(r, 0));
	pass(r, 1);
	assert_in_range(count(r, 0), 0xfff0, 0xffff); /* goes on */
	/* The first byte of a new count stops it. */
	program(r, 0, 0, 10);
	w(r, 0x40, 0x20);
	pass(r, 100);
	assert_false(out(r, 0));
	w(r, 0x40, 0);
	pass(r, 33);
	assert_true(out(r, 0));
}

static void test_mode2(void **state)
{
	struct rig *r = *state;

	program(r, 0, 2, 100);
	assert_true(out(r, 0));
	pass(r, 98);
	assert_true(out(r, 0));
	pass(r, 1);
	assert_false(out(r, 0)); /* one tick low */
	pass(r, 1);
	assert_true(out(r, 0));
	assert_int_equal(count(r, 0), 100);
	program(r, 0, 2, 1); /* illegal: taken as 2 */
	assert_int_equal(r->s.ch[0].count, 2);
}

static void test_mode3(void **state)
{
	struct rig *r = *state;

	program(r, 0, 3, 101); /* 51 high, 50 low */
	pass(r, 50);
	assert_true(out(r, 0));
	pass(r, 1);
	assert_false(out(r, 0));
	pass(r, 49);
	assert_false(out(r, 0));
	pass(r, 1);
	assert_true(out(r, 0));
	program(r, 0, 3, 1000);
	pass(r, 250);
	assert_int_equal(count(r, 0), 500); /* by twos */
}

static void test_modes_1_and_5(void **state)
{
	struct rig *r = *state;

	program(r, 2, 1, 100);
	assert_true(out(r, 2)); /* waits for its gate */
	w(r, 0x61, 1);
	assert_false(out(r, 2));
	pass(r, 101);
	assert_true(out(r, 2));
	w(r, 0x61, 0);
	program(r, 2, 5, 100);
	pass(r, 200);
	assert_true(out(r, 2));
	w(r, 0x61, 1);
	pass(r, 100);
	assert_false(out(r, 2));
	pass(r, 1);
	assert_true(out(r, 2));
}

static void test_mode4(void **state)
{
	struct rig *r = *state;

	program(r, 0, 4, 100);
	assert_true(out(r, 0));
	pass(r, 100);
	assert_false(out(r, 0));
	pass(r, 1);
	assert_true(out(r, 0));
}

static void test_gate(void **state)
{
	struct rig *r = *state;

	program(r, 2, 0, 1000); /* gate closed: does not count */
	pass(r, 500);
	assert_int_equal(count(r, 2), 1000);
	w(r, 0x61, 1);
	pass(r, 300);
	w(r, 0x61, 0);
	pass(r, 5000);
	assert_in_range(count(r, 2), 699, 700);
	w(r, 0x61, 1);
	pass(r, 701);
	assert_int_equal(rd(r, 0x61) & 0x21, 0x21);
	/* Square wave with a closed gate: high and still. */
	w(r, 0x61, 0);
	program(r, 2, 3, 1000);
	pass(r, 700);
	assert_true(out(r, 2));
	assert_int_equal(rd(r, 0x61) & 0x0f, 0);
}

static void test_access_modes(void **state)
{
	struct rig *r = *state;

	w(r, 0x43, 0x14); /* low byte only, mode 2 */
	w(r, 0x40, 0x80);
	assert_int_equal(r->s.ch[0].count, 0x80);
	assert_int_equal(rd(r, 0x40), 0x80);
	assert_int_equal(rd(r, 0x40), 0x80);
	w(r, 0x43, 0x24); /* high byte only */
	w(r, 0x40, 0x12);
	assert_int_equal(r->s.ch[0].count, 0x1200);
	assert_int_equal(rd(r, 0x40), 0x12);
	w(r, 0x43, 0x34); /* zero is the most */
	w(r, 0x40, 0);
	w(r, 0x40, 0);
	assert_int_equal(r->s.ch[0].count, 0x10000);
	w(r, 0x43, 0x35); /* BCD */
	w(r, 0x40, 0x34);
	w(r, 0x40, 0x12);
	assert_int_equal(r->s.ch[0].count, 1234);
	assert_int_equal(count(r, 0), 0x1234);
	assert_int_equal(rd(r, 0x43), 0);
}

static void test_latch_holds(void **state)
{
	struct rig *r = *state;
	uint8_t low;

	program(r, 0, 2, 0x1234);
	w(r, 0x43, 0);
	pass(r, 100);
	w(r, 0x43, 0); /* a second latch changes nothing */
	low = rd(r, 0x40);
	pass(r, 100);
	assert_int_equal(low | rd(r, 0x40) << 8, 0x1234);
	assert_int_not_equal(count(r, 0), 0x1234);
}

static void test_read_back(void **state)
{
	struct rig *r = *state;

	program(r, 0, 2, 0x1234);
	w(r, 0x43, 0xc2); /* count and status of channel 0 */
	assert_int_equal(rd(r, 0x40), 0x80 | 0x30 | 2 << 1);
	assert_int_equal(rd(r, 0x40), 0x34);
	assert_int_equal(rd(r, 0x40), 0x12);
	w(r, 0x43, 0x30 | 4 << 1); /* written mode, no count yet: null count */
	w(r, 0x43, 0xe2);
	assert_int_equal(rd(r, 0x40) & 0x40, 0x40);
}

static void test_edges(void **state)
{
	struct rig *r = *state;
	uint64_t next;

	program(r, 0, 2, 11932); /* 100 Hz */
	next = i8254_update(&r->s, r->now);
	assert_in_range(next, r->now + 9999000, r->now + 10001000);
	program(r, 0, 0, 11932);
	next = i8254_update(&r->s, r->now);
	assert_int_equal(r->out.level, 0);
	assert_in_range(next, r->now + 9999000, r->now + 10001000);
	r->now = next;
	assert_int_equal(i8254_update(&r->s, r->now), UINT64_MAX); /* it is over */
	assert_int_equal(r->out.level, 1);
	/* Counts too short to follow are spread. */
	program(r, 0, 2, 2);
	assert_true(i8254_update(&r->s, r->now) >= r->now + 100000);
	/* One-shots that wait for a gate channel 0 does not have. */
	program(r, 0, 1, 100);
	assert_int_equal(i8254_update(&r->s, r->now), UINT64_MAX);
}

static void test_refresh_toggles(void **state)
{
	struct rig *r = *state;
	unsigned changes = 0;
	uint8_t last = rd(r, 0x61) & 0x10;

	for (unsigned i = 0; i < 1000; i++) {
		r->now += 1000;
		changes += (rd(r, 0x61) & 0x10) != last;
		last = rd(r, 0x61) & 0x10;
	}
	assert_in_range(changes, 60, 70);
}

static void test_state(void **state)
{
	struct rig *r = *state;
	struct i8254 other = { 0 };

	program(r, 1, 3, 777);
	i8254_reset(&other, 0);
	assert_true(fm_round_trip(&i8254_state, &r->s, &other));
	r->s.ch[1].count = 0;
	assert_false(fm_round_trip(&i8254_state, &r->s, &other));
	r->s.ch[1].count = 77;
	r->s.ch[1].mode = 6;
	assert_false(fm_round_trip(&i8254_state, &r->s, &other));
}

static void test_device(void **state)
{
	struct fm *m = fm_new(0, 0, false);
	struct fm_line out = { 0 };
	uint64_t end = clock_now_ns() + 5 * NS_PER_SEC;
	struct pit_dev *s;
	struct err e = { 0 };
	struct dev *d;

	assert_int_equal(dev_create_internal(&m->vm, &pit_dev_type, NULL, NULL, NULL, &d, &e), 0);
	s = container_of(d, struct pit_dev, d);
	s->chip.out = fm_irq(&out);
	fm_out(m, 0x43, 0x34, 1);
	fm_out(m, 0x40, 0xa9, 1); /* 1000 Hz */
	fm_out(m, 0x40, 0x04, 1);
	while (out.rises < 5 && clock_now_ns() < end)
		loop_once(m->vm.loop, 50);
	assert_true(out.rises >= 5);
	d->type->pause(d);
	out.rises = 0;
	loop_once(m->vm.loop, 5);
	assert_int_equal(out.rises, 0);
	d->type->resume(d);
	d->type->reset(d);
	fm_free(m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_mode0),	   T(test_mode2), T(test_mode3),	   T(test_modes_1_and_5),
		T(test_mode4),	   T(test_gate),  T(test_access_modes),	   T(test_latch_holds),
		T(test_read_back), T(test_edges), T(test_refresh_toggles), T(test_state),
		T(test_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

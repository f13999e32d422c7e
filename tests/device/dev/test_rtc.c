/* SPDX-License-Identifier: Apache-2.0 */
/* Real-time clock: time in every format, setting it, flags and interrupts, CMOS, state. */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "dev/rtc.h"
#include "base/clock.h"

/* 2026-11-22 22:13:45 UTC, a Sunday. */
#define DATE 1795385625ull

struct rig {
	struct rtc s;
	struct fm_line line;
	uint64_t now;
};

static int setup(void **state)
{
	struct rig *r = xnew(struct rig);

	r->now = DATE * NS_PER_SEC + 1000;
	r->s.irq = fm_irq(&r->line);
	rtc_init(&r->s, 0, r->now);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static uint8_t rd(struct rig *r, uint8_t reg)
{
	rtc_write(&r->s, 0, reg, r->now);
	return rtc_read(&r->s, 1, r->now);
}

static void w(struct rig *r, uint8_t reg, uint8_t val)
{
	rtc_write(&r->s, 0, reg, r->now);
	rtc_write(&r->s, 1, val, r->now);
}

static void test_time_bcd(void **state)
{
	struct rig *r = *state;

	assert_int_equal(rd(r, 0), 0x45);
	assert_int_equal(rd(r, 2), 0x13);
	assert_int_equal(rd(r, 4), 0x22);
	assert_int_equal(rd(r, 6), 1);
	assert_int_equal(rd(r, 7), 0x22);
	assert_int_equal(rd(r, 8), 0x11);
	assert_int_equal(rd(r, 9), 0x26);
	assert_int_equal(rd(r, RTC_CENTURY), 0x20);
	assert_int_equal(rd(r, 0x0d), 0x80); /* valid RAM and time */
	r->now += 20 * NS_PER_SEC;
	assert_int_equal(rd(r, 0), 0x05);
	assert_int_equal(rd(r, 2), 0x14);
}

static void test_time_binary_and_12h(void **state)
{
	struct rig *r = *state;

	w(r, 0x0b, 0x06);
	assert_int_equal(rd(r, 0), 45);
	assert_int_equal(rd(r, 4), 22);
	w(r, 0x0b, 0x00);		  /* BCD, 12 h */
	assert_int_equal(rd(r, 4), 0x90); /* 10 pm */
	r->now += 3600 * 2 * NS_PER_SEC;
	assert_int_equal(rd(r, 4), 0x12); /* midnight */
}

static void test_update_in_progress(void **state)
{
	struct rig *r = *state;
	unsigned up = 0;

	assert_int_equal(rd(r, 0x0a), 0x26);
	r->now = DATE * NS_PER_SEC + NS_PER_SEC - 100000;
	assert_int_equal(rd(r, 0x0a), 0xa6);
	r->now += 100000;
	assert_int_equal(rd(r, 0x0a), 0x26);
	for (unsigned i = 0; i < 10000; i++, r->now += 100000)
		up += rd(r, 0x0a) >> 7;
	assert_in_range(up, 2, 3); /* 244 us of each second */
	w(r, 0x0b, 0x82);	   /* SET */
	r->now = (DATE + 5) * NS_PER_SEC - 100000;
	assert_int_equal(rd(r, 0x0a), 0x26);
}

static void test_set_time(void **state)
{
	struct rig *r = *state;
	static const uint8_t value[][2] = { { 0, 0x56 },	  { 2, 0x34 }, { 4, 0x12 },
					    { 7, 0x29 },	  { 8, 0x02 }, { 9, 0x28 },
					    { RTC_CENTURY, 0x20 } };

	w(r, 0x0b, 0x82);
	for (unsigned i = 0; i < ARRAY_SIZE(value); i++)
		w(r, value[i][0], value[i][1]);
	r->now += 100 * NS_PER_SEC; /* stands still meanwhile */
	assert_int_equal(rd(r, 0), 0x56);
	w(r, 0x0b, 0x02);
	r->now += 4 * NS_PER_SEC;
	assert_int_equal(rd(r, 0), 0x00);
	assert_int_equal(rd(r, 2), 0x35);
	assert_int_equal(rd(r, 4), 0x12);
	assert_int_equal(rd(r, 6), 3); /* a Tuesday: it follows from the date */
	r->now += 86400 * NS_PER_SEC;
	assert_int_equal(rd(r, 7), 0x01);
	assert_int_equal(rd(r, 8), 0x03);
	/* Written while it runs: at once. */
	w(r, 4, 0x05);
	assert_int_equal(rd(r, 4), 0x05);
	/* Nonsense is no harm. */
	for (unsigned i = 0; i < 10; i++)
		w(r, (uint8_t)i, 0xff);
	rd(r, 0);
	w(r, RTC_CENTURY, 0);
	rd(r, 9);
}

static void test_update_interrupt(void **state)
{
	struct rig *r = *state;
	uint64_t wait;

	w(r, 0x0b, 0x12);
	wait = rtc_update(&r->s, r->now);
	assert_in_range(wait, NS_PER_SEC - 2000, NS_PER_SEC);
	r->now += wait;
	rtc_update(&r->s, r->now);
	assert_int_equal(r->line.level, 1);
	assert_int_equal(rd(r, 0x0c) & 0xb0, 0x90); /* periods pass, too */
	assert_int_equal(r->line.level, 0);
	assert_int_equal(rd(r, 0x0c), 0);
	w(r, 0x0b, 0x02);
	assert_int_equal(rtc_update(&r->s, r->now), UINT64_MAX);
	r->now += NS_PER_SEC;
	assert_int_equal(rd(r, 0x0c) & 0xb0, 0x10); /* flags come without interrupts, too */
	assert_int_equal(r->line.level, 0);
}

static void test_alarm(void **state)
{
	struct rig *r = *state;

	w(r, 1, 0x50); /* 22:13:50 */
	w(r, 3, 0x13);
	w(r, 5, 0x22);
	w(r, 0x0b, 0x22);
	r->now += 4 * NS_PER_SEC;
	rtc_update(&r->s, r->now);
	assert_int_equal(r->line.level, 0);
	r->now += 10 * NS_PER_SEC; /* found behind us, too */
	rtc_update(&r->s, r->now);
	assert_int_equal(r->line.level, 1);
	assert_int_equal(rd(r, 0x0c) & 0xa0, 0xa0);
	w(r, 1, 0xff); /* every second */
	w(r, 3, 0xc0);
	w(r, 5, 0xff);
	r->now += NS_PER_SEC;
	rtc_update(&r->s, r->now);
	assert_int_equal(rd(r, 0x0c) & 0x20, 0x20);
	/* Years asleep are one day's work. */
	w(r, 1, 0x61); /* never */
	r->now += 86400ull * 3650 * NS_PER_SEC;
	rtc_update(&r->s, r->now);
	assert_int_equal(rd(r, 0x0c) & 0x20, 0);
}

static void test_periodic(void **state)
{
	struct rig *r = *state;
	unsigned n = 0;

	w(r, 0x0a, 0x26); /* 1024 Hz */
	w(r, 0x0b, 0x42);
	for (uint64_t end = r->now + NS_PER_SEC; r->now < end;) {
		r->now += rtc_update(&r->s, r->now);
		rtc_update(&r->s, r->now);
		n += rd(r, 0x0c) >> 6 & 1;
	}
	assert_in_range(n, 1023, 1026);
	w(r, 0x0a, 0x20); /* rate 0: none */
	assert_int_equal(rtc_update(&r->s, r->now), UINT64_MAX);
	w(r, 0x0a, 0x76); /* divider held in reset: the clock stands */
	assert_int_equal(rtc_update(&r->s, r->now), UINT64_MAX);
}

static void test_cmos(void **state)
{
	struct rig *r = *state;

	w(r, 0x40, 0xab);
	assert_int_equal(rd(r, 0x40), 0xab);
	assert_int_equal(rd(r, 0xc0), 0xab); /* bit 7 of the index masks NMI */
	rtc_write(&r->s, 2, 0x40, r->now);   /* the second bank is another place */
	rtc_write(&r->s, 3, 0xcd, r->now);
	assert_int_equal(rtc_read(&r->s, 3, r->now), 0xcd);
	rtc_write(&r->s, 2, 0x0b, r->now);
	rtc_write(&r->s, 3, 0xff, r->now);
	assert_int_equal(rd(r, 0x0b), 0x02);
	assert_int_equal(rd(r, 0x40), 0xab);
	w(r, 0x0d, 0);
	assert_int_equal(rd(r, 0x0d), 0x80);
	assert_int_equal(rtc_read(&r->s, 0, r->now), 0xff);
	w(r, 0x0b, 0x72);
	rtc_reset(&r->s, r->now);
	assert_int_equal(rd(r, 0x0b), 0x02); /* interrupts off, the rest has a battery */
	assert_int_equal(rd(r, 0x40), 0xab);
}

static void test_base(void **state)
{
	uint64_t now = DATE * NS_PER_SEC;
	struct err e = { 0 };
	int64_t off = 1;

	assert_int_equal(rtc_base_offset(NULL, now, &off, &e), 0);
	assert_int_equal(off, 0);
	assert_int_equal(rtc_base_offset("2026-11-22T22:13:46", now, &off, &e), 0);
	assert_int_equal(off, NS_PER_SEC);
	assert_int_equal(rtc_base_offset("2026-11-22", now, &off, &e), 0);
	assert_int_equal(off, -(int64_t)(22 * 3600 + 13 * 60 + 45) * (int64_t)NS_PER_SEC);
	assert_int_equal(rtc_base_offset("localtime", now, &off, &e), 0);
	assert_int_equal(rtc_base_offset("yesterday", now, &off, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "yesterday"));
	assert_int_equal(rtc_base_offset("2026-13-01", now, &off, &e), -EINVAL);
	assert_int_equal(rtc_base_offset("2026-11-22x", now, &off, &e), -EINVAL);
	assert_int_equal(rtc_base_offset("2026-11-22T22:13:46x", now, &off, &e), -EINVAL);
}

static void test_state(void **state)
{
	struct rig *r = *state;
	struct rtc other = { 0 };

	w(r, 0x40, 0xab);
	assert_true(fm_round_trip(&rtc_state, &r->s, &other));
	assert_int_equal(other.cmos[0x40], 0xab);
	r->s.index = 128;
	assert_false(fm_round_trip(&rtc_state, &r->s, &other));
	r->s.index = 0;
	r->s.second = UINT64_MAX;
	assert_false(fm_round_trip(&rtc_state, &r->s, &other));
}

static void test_device(void **state)
{
	struct fm *m = fm_new(0, 0, false);
	uint64_t end = clock_now_ns() + 5 * NS_PER_SEC;
	struct fm_line line = { 0 };
	struct rtc_dev *s;
	struct err e = { 0 };
	struct dev *d;

	assert_int_equal(dev_create_internal(&m->vm, &rtc_dev_type, NULL, NULL, NULL, &d, &e), 0);
	s = container_of(d, struct rtc_dev, d);
	s->chip.irq = fm_irq(&line);
	rtc_dev_set_memory(s, GIB(2), GIB(6), 4);
	fm_out(m, 0x70, 0x35, 1);
	assert_int_equal(fm_in(m, 0x71, 1), 0x7f); /* (2 GiB - 16 MiB) / 64 KiB */
	fm_out(m, 0x70, 0x5c, 1);
	assert_int_equal(fm_in(m, 0x71, 1), 0x80); /* 6 GiB / 64 KiB = 0x18000 */
	fm_out(m, 0x70, 0x5f, 1);
	assert_int_equal(fm_in(m, 0x71, 1), 3);
	fm_out(m, 0x70, 0x0b, 1);
	fm_out(m, 0x71, 0x42, 1); /* periodic */
	while (!line.rises && clock_now_ns() < end)
		loop_once(m->vm.loop, 50);
	assert_int_equal(line.level, 1);
	d->type->pause(d);
	d->type->resume(d);
	d->type->reset(d);
	assert_int_equal(line.level, 0);
	fm_free(m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_time_bcd),
		T(test_time_binary_and_12h),
		T(test_update_in_progress),
		T(test_set_time),
		T(test_update_interrupt),
		T(test_alarm),
		T(test_periodic),
		T(test_cmos),
		T(test_base),
		T(test_state),
		T(test_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

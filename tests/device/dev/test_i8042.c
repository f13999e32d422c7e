/* SPDX-License-Identifier: Apache-2.0 */
/* Keyboard controller: self test, command byte, probes of absent devices, reset, A20, state. */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "dev/i8042.h"

struct rig {
	struct i8042 s;
	struct fm_line kbd, aux;
	unsigned resets;
};

static void on_reset(void *opaque)
{
	struct rig *r = opaque;

	r->resets++;
}

static int setup(void **state)
{
	struct rig *r = xnew(struct rig);

	r->s.irq[0] = fm_irq(&r->kbd);
	r->s.irq[1] = fm_irq(&r->aux);
	r->s.reset_line = on_reset;
	r->s.opaque = r;
	i8042_reset(&r->s);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void cmd(struct rig *r, uint8_t v)
{
	i8042_write(&r->s, 0x64, v);
}

static void data(struct rig *r, uint8_t v)
{
	i8042_write(&r->s, 0x60, v);
}

static uint8_t status(struct rig *r)
{
	return i8042_read(&r->s, 0x64);
}

static uint8_t take(struct rig *r)
{
	assert_true(status(r) & 1);
	return i8042_read(&r->s, 0x60);
}

static void test_controller(void **state)
{
	struct rig *r = *state;

	assert_false(status(r) & 1);
	cmd(r, 0xaa);
	assert_int_equal(take(r), 0x55);
	assert_true(status(r) & 4);
	assert_false(status(r) & 1);
	cmd(r, 0x60);
	data(r, 0x64); /* no interrupts, translated */
	cmd(r, 0x20);
	assert_int_equal(take(r), 0x64);
	assert_int_equal(r->kbd.rises, 1); /* of the self test's answer only */
	cmd(r, 0xad);
	cmd(r, 0xa7);
	cmd(r, 0x20);
	assert_int_equal(take(r), 0x74);
	cmd(r, 0xae);
	cmd(r, 0xa8);
	cmd(r, 0x20);
	assert_int_equal(take(r), 0x44);
	cmd(r, 0xab);
	assert_int_equal(take(r), 0);
	cmd(r, 0xa9);
	assert_int_equal(take(r), 0);
	cmd(r, 0xc0);
	assert_int_equal(take(r), 0x80);
	cmd(r, 0x33); /* no such command */
	assert_false(status(r) & 1);
	assert_true(status(r) & 8); /* the last write was a command */
}

static void test_no_devices(void **state)
{
	struct rig *r = *state;

	data(r, 0xf2); /* identify */
	assert_true(status(r) & 0x40);
	assert_int_equal(r->kbd.level, 1);
	assert_int_equal(take(r), 0xfe);
	assert_int_equal(r->kbd.level, 0);
	cmd(r, 0xd4);
	data(r, 0xf2);
	assert_int_equal(status(r) & 0x61, 0x61);
	assert_int_equal(r->aux.level, 1);
	assert_int_equal(r->kbd.level, 0);
	assert_int_equal(take(r), 0xfe);
	cmd(r, 0xd3); /* loop-back of the mouse port, by which Linux finds it */
	data(r, 0x5a);
	assert_int_equal(status(r) & 0x21, 0x21);
	assert_int_equal(take(r), 0x5a);
	cmd(r, 0xd2);
	data(r, 0x1c);
	assert_int_equal(status(r) & 0x61, 0x01);
	assert_int_equal(take(r), 0x1c);
}

static void test_reset_and_a20(void **state)
{
	struct rig *r = *state;

	cmd(r, 0xfe);
	assert_int_equal(r->resets, 1);
	cmd(r, 0xff); /* pulses nothing */
	cmd(r, 0xf1);
	assert_int_equal(r->resets, 1);
	cmd(r, 0xd1);
	data(r, 0xde);
	assert_int_equal(r->resets, 2);
	cmd(r, 0xdd);
	assert_int_equal(i8042_read(&r->s, 0x92), 0);
	cmd(r, 0xd0);
	assert_int_equal(take(r) & 2, 0);
	cmd(r, 0xdf);
	assert_int_equal(i8042_read(&r->s, 0x92), 2);
	i8042_write(&r->s, 0x92, 0);
	assert_int_equal(i8042_read(&r->s, 0x92), 0);
	i8042_write(&r->s, 0x92, 3);
	assert_int_equal(r->resets, 3);
}

static void test_state(void **state)
{
	struct rig *r = *state;
	struct i8042 other = { 0 };

	data(r, 0xf2);
	assert_true(fm_round_trip(&i8042_state, &r->s, &other));
	assert_int_equal(i8042_read(&other, 0x60), 0xfe);
	r->s.source = 0xff;
	assert_false(fm_round_trip(&i8042_state, &r->s, &other));
}

static void test_device(void **state)
{
	struct fm *m = fm_new(0, 0, false);
	struct err e = { 0 };
	struct dev *d;

	assert_int_equal(dev_create_internal(&m->vm, &i8042_dev_type, NULL, NULL, NULL, &d, &e), 0);
	fm_out(m, 0x64, 0xaa, 1);
	assert_int_equal(fm_in(m, 0x60, 1), 0x55);
	assert_int_equal(fm_in(m, 0x92, 1), 2);
	assert_int_equal(atomic_load(&m->vm.requests), 0);
	fm_out(m, 0x64, 0xfe, 1);
	assert_int_equal(atomic_load(&m->vm.requests) >> 24, 1); /* a reset */
	d->type->reset(d);
	assert_int_equal(fm_in(m, 0x64, 1) & 4, 0);
	fm_free(m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { T(test_controller), T(test_no_devices),
					    T(test_reset_and_a20), T(test_state), T(test_device) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* 8259 pair: initialization, priorities, cascade, modes, ELCR, polling, state. */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "arch/x86/i8259.h"

struct rig {
	struct i8259_pair s;
	struct fm_line out;
};

static void w(struct rig *r, unsigned port, uint8_t val)
{
	i8259_write(&r->s, port, val);
}

static uint8_t rd(struct rig *r, unsigned port)
{
	return i8259_read(&r->s, port);
}

/* As Linux sets them up: vectors 0x30 and 0x38. */
static void init(struct rig *r, uint8_t icw4)
{
	w(r, 0x20, 0x11);
	w(r, 0x21, 0x30);
	w(r, 0x21, 0x04);
	w(r, 0x21, icw4);
	w(r, 0xa0, 0x11);
	w(r, 0xa1, 0x38);
	w(r, 0xa1, 0x02);
	w(r, 0xa1, icw4);
	w(r, 0x21, 0);
	w(r, 0xa1, 0);
}

static int setup(void **state)
{
	struct rig *r = xnew(struct rig);

	r->s.out = fm_irq(&r->out);
	i8259_reset(&r->s);
	init(r, 1);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void test_edge(void **state)
{
	struct rig *r = *state;

	i8259_set(&r->s, 4, 1);
	assert_int_equal(r->out.level, 1);
	assert_int_equal(i8259_ack(&r->s), 0x34);
	assert_int_equal(r->out.level, 0);
	w(r, 0x20, 0x0b); /* read ISR */
	assert_int_equal(rd(r, 0x20), 0x10);
	w(r, 0x20, 0x20);
	assert_int_equal(rd(r, 0x20), 0);
	assert_int_equal(r->out.level, 0); /* the same edge does not come twice */
	i8259_set(&r->s, 4, 0);
	i8259_set(&r->s, 4, 1);
	i8259_set(&r->s, 4, 0); /* a pulse stays latched */
	assert_int_equal(r->out.level, 1);
	assert_int_equal(i8259_ack(&r->s), 0x34);
}

static void test_priority(void **state)
{
	struct rig *r = *state;

	i8259_set(&r->s, 6, 1);
	i8259_set(&r->s, 3, 1);
	assert_int_equal(i8259_ack(&r->s), 0x33);
	assert_int_equal(r->out.level, 0); /* 6 waits */
	i8259_set(&r->s, 1, 1);
	assert_int_equal(r->out.level, 1); /* 1 may interrupt 3 */
	assert_int_equal(i8259_ack(&r->s), 0x31);
	w(r, 0x20, 0x61); /* specific EOI of 1 */
	w(r, 0x20, 0x20); /* of 3 */
	assert_int_equal(i8259_ack(&r->s), 0x36);
}

static void test_mask(void **state)
{
	struct rig *r = *state;

	w(r, 0x21, 0x10);
	assert_int_equal(rd(r, 0x21), 0x10);
	i8259_set(&r->s, 4, 1);
	assert_int_equal(r->out.level, 0);
	w(r, 0x20, 0x0a); /* read IRR */
	assert_int_equal(rd(r, 0x20), 0x10);
	w(r, 0x21, 0);
	assert_int_equal(r->out.level, 1);
}

static void test_cascade(void **state)
{
	struct rig *r = *state;

	i8259_set(&r->s, 12, 1);
	assert_int_equal(r->out.level, 1);
	assert_int_equal(i8259_ack(&r->s), 0x3c);
	i8259_set(&r->s, 8, 1);
	assert_int_equal(r->out.level, 0); /* the master holds back its input 2 */
	w(r, 0xa0, 0x20);
	assert_int_equal(r->out.level, 0);
	w(r, 0x20, 0x20);
	assert_int_equal(r->out.level, 1);
	assert_int_equal(i8259_ack(&r->s), 0x38);
	i8259_set(&r->s, 2, 1); /* no such line */
	i8259_set(&r->s, 16, 1);
	assert_int_equal(r->out.level, 0);
}

static void test_spurious(void **state)
{
	struct rig *r = *state;

	assert_int_equal(i8259_ack(&r->s), 0x37);
	w(r, 0x20, 0x0b);
	assert_int_equal(rd(r, 0x20), 0);
}

static void test_level(void **state)
{
	struct rig *r = *state;

	w(r, 0x4d0, 0xff);
	w(r, 0x4d1, 0xff);
	assert_int_equal(rd(r, 0x4d0), 0xf8); /* 0, 1 and 2 are edges for ever */
	assert_int_equal(rd(r, 0x4d1), 0xde);
	i8259_set(&r->s, 11, 1);
	assert_int_equal(i8259_ack(&r->s), 0x3b);
	w(r, 0xa0, 0x20);
	w(r, 0x20, 0x20);
	assert_int_equal(r->out.level, 1); /* still asks */
	assert_int_equal(i8259_ack(&r->s), 0x3b);
	i8259_set(&r->s, 11, 0);
	w(r, 0xa0, 0x20);
	w(r, 0x20, 0x20);
	assert_int_equal(r->out.level, 0);
}

static void test_auto_eoi(void **state)
{
	struct rig *r = *state;

	init(r, 3);
	i8259_set(&r->s, 5, 1);
	assert_int_equal(i8259_ack(&r->s), 0x35);
	w(r, 0x20, 0x0b);
	assert_int_equal(rd(r, 0x20), 0);
	/* Rotating: what was served comes last. */
	w(r, 0x20, 0x80);
	i8259_set(&r->s, 5, 0);
	i8259_set(&r->s, 5, 1);
	assert_int_equal(i8259_ack(&r->s), 0x35);
	i8259_set(&r->s, 5, 0);
	i8259_set(&r->s, 5, 1);
	i8259_set(&r->s, 6, 1);
	assert_int_equal(i8259_ack(&r->s), 0x36);
}

static void test_rotation(void **state)
{
	struct rig *r = *state;

	w(r, 0x20, 0xc3); /* 3 becomes lowest */
	i8259_set(&r->s, 1, 1);
	i8259_set(&r->s, 4, 1);
	assert_int_equal(i8259_ack(&r->s), 0x34);
	w(r, 0x20, 0xa0); /* rotate on non-specific EOI */
	assert_int_equal(r->s.pic[0].priority_add, 5);
	assert_int_equal(i8259_ack(&r->s), 0x31);
	w(r, 0x20, 0xe1); /* rotate on specific EOI */
	assert_int_equal(r->s.pic[0].priority_add, 2);
}

static void test_special_mask(void **state)
{
	struct rig *r = *state;

	i8259_set(&r->s, 1, 1);
	assert_int_equal(i8259_ack(&r->s), 0x31);
	i8259_set(&r->s, 7, 1);
	assert_int_equal(r->out.level, 0);
	w(r, 0x20, 0x68); /* special mask on */
	w(r, 0x21, 0x02);
	assert_int_equal(r->out.level, 1);
	assert_int_equal(i8259_ack(&r->s), 0x37);
	w(r, 0x20, 0x48);
	assert_false(r->s.pic[0].special_mask);
}

static void test_special_fully_nested(void **state)
{
	struct rig *r = *state;

	init(r, 0x11);
	i8259_set(&r->s, 12, 1);
	assert_int_equal(i8259_ack(&r->s), 0x3c);
	i8259_set(&r->s, 8, 1); /* higher, of the same slave */
	assert_int_equal(r->out.level, 1);
	assert_int_equal(i8259_ack(&r->s), 0x38);
}

static void test_poll(void **state)
{
	struct rig *r = *state;

	w(r, 0x20, 0x0c);
	assert_int_equal(rd(r, 0x20), 0);
	i8259_set(&r->s, 3, 1);
	w(r, 0x20, 0x0c);
	assert_int_equal(rd(r, 0x20), 0x83);
	assert_int_equal(r->out.level, 0);
	w(r, 0x20, 0x0b);
	assert_int_equal(rd(r, 0x20), 0x08); /* in service: polled once */
}

static void test_init_clears(void **state)
{
	struct rig *r = *state;

	w(r, 0x21, 0xff);
	i8259_set(&r->s, 4, 1);
	w(r, 0x20, 0x11);
	w(r, 0x20, 0x0a);
	assert_int_equal(rd(r, 0x20), 0); /* the edge sense is cleared */
	assert_int_equal(rd(r, 0x21), 0); /* and the mask */
	/* Single, without ICW4. */
	w(r, 0x20, 0x12);
	w(r, 0x21, 0x50);
	w(r, 0x21, 0xaa); /* already OCW1 */
	assert_int_equal(rd(r, 0x21), 0xaa);
}

static void test_state(void **state)
{
	struct rig *r = *state;
	struct i8259_pair other = { 0 };

	i8259_set(&r->s, 9, 1);
	i8259_ack(&r->s);
	i8259_reset(&other);
	assert_true(fm_round_trip(&i8259_pair_state, &r->s, &other));
	r->s.pic[0].priority_add = 8;
	assert_false(fm_round_trip(&i8259_pair_state, &r->s, &other));
	r->s.pic[0].priority_add = 0;
	r->s.pic[1].init_state = 1;
	assert_false(fm_round_trip(&i8259_pair_state, &r->s, &other));
}

static void test_device(void **state)
{
	struct fm *m = fm_new(0, 0, false);
	struct fm_line out = { 0 };
	struct pic_dev *s;
	struct err e = { 0 };
	struct dev *d;

	assert_int_equal(dev_create_internal(&m->vm, &pic_dev_type, NULL, NULL, NULL, &d, &e), 0);
	s = container_of(d, struct pic_dev, d);
	s->chip.out = fm_irq(&out);
	fm_out(m, 0xa1, 0x5a, 1);
	assert_int_equal(fm_in(m, 0xa1, 1), 0x5a);
	pic_dev_set_elcr(s, 0x0e00);
	assert_int_equal(fm_in(m, 0x4d0, 2), 0x0e00);
	pic_dev_set(s, 4, 1);
	assert_int_equal(out.level, 1);
	assert_int_equal(pic_dev_ack(s), 0x0c);
	d->type->reset(d);
	assert_int_equal(fm_in(m, 0xa1, 1), 0);
	assert_int_equal(fm_in(m, 0x4d1, 1), 0);
	fm_free(m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_edge),	      T(test_priority),
		T(test_mask),	      T(test_cascade),
		T(test_spurious),     T(test_level),
		T(test_auto_eoi),     T(test_rotation),
		T(test_special_mask), T(test_special_fully_nested),
		T(test_poll),	      T(test_init_clears),
		T(test_state),	      T(test_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

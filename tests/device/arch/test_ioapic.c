/* SPDX-License-Identifier: Apache-2.0 */
/* I/O APIC: edge and level inputs, masks, remote IRR, EOI, registers, state. */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "arch/x86/ioapic.h"

struct rig {
	struct ioapic s;
	struct apic_msg last;
	unsigned sent;
};

static unsigned record(void *opaque, const struct apic_msg *m)
{
	struct rig *r = opaque;

	r->last = *m;
	r->sent++;
	return 1;
}

static int setup(void **state)
{
	struct rig *r = xnew(struct rig);

	r->s.send = record;
	r->s.opaque = r;
	ioapic_reset(&r->s);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void reg_write(struct rig *r, unsigned reg, uint32_t val)
{
	ioapic_write(&r->s, 0, reg);
	ioapic_write(&r->s, 0x10, val);
}

static uint32_t reg_read(struct rig *r, unsigned reg)
{
	ioapic_write(&r->s, 0, reg);
	return ioapic_read(&r->s, 0x10);
}

static void route(struct rig *r, unsigned pin, uint64_t e)
{
	reg_write(r, 0x11 + 2 * pin, (uint32_t)(e >> 32));
	reg_write(r, 0x10 + 2 * pin, (uint32_t)e);
}

static void test_registers(void **state)
{
	struct rig *r = *state;

	assert_int_equal(reg_read(r, 1), 0x00170020);
	reg_write(r, 0, 0xff000000);
	assert_int_equal(reg_read(r, 0), 0x0f000000);
	assert_int_equal(reg_read(r, 0x10), 0x10000); /* masked */
	route(r, 5, 0xffffffffffffffff);
	assert_int_equal(reg_read(r, 0x1a), 0x1afff); /* read-only bits do not take */
	assert_int_equal(reg_read(r, 0x1b), 0xff000000);
	assert_int_equal(reg_read(r, 0x40), 0); /* past the last pin */
	reg_write(r, 0x40, 1);
	assert_int_equal(ioapic_read(&r->s, 0x20), 0);
	assert_int_equal(ioapic_read(&r->s, 0), 0x40);
}

static void test_edge(void **state)
{
	struct rig *r = *state;

	ioapic_set(&r->s, 4, 1);
	ioapic_set(&r->s, 4, 0);
	assert_int_equal(r->sent, 0);
	route(r, 4, 2ull << 56 | 0x34);
	assert_int_equal(r->sent, 0); /* an edge under the mask is lost */
	ioapic_set(&r->s, 4, 1);
	assert_int_equal(r->sent, 1);
	assert_int_equal(r->last.vector, 0x34);
	assert_int_equal(r->last.dest, 2);
	assert_false(r->last.level || r->last.logical);
	ioapic_set(&r->s, 4, 1);
	assert_int_equal(r->sent, 1);
	ioapic_set(&r->s, 4, 0);
	ioapic_set(&r->s, 4, 1);
	assert_int_equal(r->sent, 2); /* without an EOI */
	ioapic_set(&r->s, 24, 1);     /* no such pin */
	ioapic_set(&r->s, 1000, 1);
	assert_int_equal(r->sent, 2);
}

static void test_level(void **state)
{
	struct rig *r = *state;

	route(r, 16, 0xffull << 56 | REDIR_LEVEL | REDIR_LOGICAL | 1u << 8 | 0x61);
	ioapic_set(&r->s, 16, 1);
	assert_int_equal(r->sent, 1);
	assert_int_equal(r->last.dest, APIC_DEST_ALL);
	assert_true(r->last.level && r->last.logical);
	assert_int_equal(r->last.mode, APIC_DM_LOWEST);
	assert_true(reg_read(r, 0x30) & REDIR_REMOTE_IRR);
	ioapic_set(&r->s, 16, 0);
	ioapic_set(&r->s, 16, 1);
	assert_int_equal(r->sent, 1); /* waits for the EOI */
	ioapic_eoi(&r->s, 0x62);      /* another vector */
	assert_int_equal(r->sent, 1);
	ioapic_eoi(&r->s, 0x61);
	assert_int_equal(r->sent, 2); /* still high */
	ioapic_set(&r->s, 16, 0);
	ioapic_write(&r->s, 0x40, 0x61); /* by the EOI register */
	assert_int_equal(r->sent, 2);
	assert_false(reg_read(r, 0x30) & REDIR_REMOTE_IRR);
}

static void test_level_under_mask(void **state)
{
	struct rig *r = *state;

	route(r, 9, REDIR_LEVEL | REDIR_MASKED | 0x41);
	ioapic_set(&r->s, 9, 1);
	assert_int_equal(r->sent, 0);
	route(r, 9, REDIR_LEVEL | 0x41);
	assert_int_equal(r->sent, 1); /* a level is not lost */
	/* Linux masks, turns to edge and back to clear remote IRR. */
	route(r, 9, REDIR_MASKED | 0x41);
	assert_false(reg_read(r, 0x22) & REDIR_REMOTE_IRR);
	route(r, 9, REDIR_LEVEL | 0x41);
	assert_int_equal(r->sent, 2);
}

static void test_state(void **state)
{
	struct rig *r = *state;
	struct ioapic other;

	route(r, 9, 1ull << 56 | REDIR_LEVEL | 0x41);
	ioapic_set(&r->s, 9, 1);
	memset(&other, 0, sizeof(other));
	other.send = record;
	assert_true(fm_round_trip(&ioapic_state, &r->s, &other));
	assert_ptr_equal(other.send, record);
	r->s.redir[3] = BIT64(40);
	assert_false(fm_round_trip(&ioapic_state, &r->s, &other));
	r->s.redir[3] = 0;
	r->s.irr = BIT32(24);
	assert_false(fm_round_trip(&ioapic_state, &r->s, &other));
}

static void test_device(void **state)
{
	struct fm *m = fm_new(0, 0, false);
	struct rig *r = *state;
	struct ioapic_dev *s;
	struct err e = { 0 };
	struct dev *d;

	assert_int_equal(dev_create_internal(&m->vm, &ioapic_dev_type, NULL, NULL, NULL, &d, &e),
			 0);
	s = container_of(d, struct ioapic_dev, d);
	s->chip.send = record;
	s->chip.opaque = r;
	fm_st(m, IOAPIC_BASE, 0x14, 4);
	fm_st(m, IOAPIC_BASE + 0x10, 0x77, 4);
	assert_int_equal(fm_ld(m, IOAPIC_BASE + 0x10, 4), 0x77);
	assert_int_equal(fm_ld(m, IOAPIC_BASE, 1), 0x14);
	ioapic_dev_set(s, 2, 1);
	assert_int_equal(r->last.vector, 0x77);
	d->type->reset(d);
	assert_int_equal(fm_ld(m, IOAPIC_BASE, 4), 0);
	assert_true(s->chip.line == BIT32(2)); /* who holds the line holds it still */
	ioapic_dev_eoi(s, 0x77);
	fm_free(m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_registers),	  T(test_edge),	 T(test_level),
		T(test_level_under_mask), T(test_state), T(test_device)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

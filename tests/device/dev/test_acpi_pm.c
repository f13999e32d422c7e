/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI PM block: status and enable bits, SCI, timer, sleep, GPE, SMI and TCO registers, state. */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "dev/acpi_pm.h"
#include "base/clock.h"

struct rig {
	struct acpi_pm s;
	struct fm_line sci;
	unsigned offs, smis, expired;
	uint64_t now;
};

static void off(void *opaque)
{
	((struct rig *)opaque)->offs++;
}

static void smi(void *opaque)
{
	((struct rig *)opaque)->smis++;
}

static void expire(void *opaque)
{
	((struct rig *)opaque)->expired++;
}

static int setup(void **state)
{
	struct rig *r = xnew(struct rig);

	r->now = 77 * NS_PER_SEC;
	r->s.sci = fm_irq(&r->sci);
	r->s.power_off = off;
	r->s.smi = smi;
	r->s.tco_expired = expire;
	r->s.opaque = r;
	acpi_pm_reset(&r->s, r->now);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void w(struct rig *r, unsigned reg, unsigned size, uint32_t val)
{
	for (unsigned i = 0; i < size; i++)
		acpi_pm_write(&r->s, reg + i, (uint8_t)(val >> i * 8), r->now);
}

static uint32_t rd(struct rig *r, unsigned reg, unsigned size)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (uint32_t)acpi_pm_read(&r->s, reg + i, r->now) << i * 8;
	return v;
}

static void test_button_and_sci(void **state)
{
	struct rig *r = *state;

	w(r, 4, 2, 1); /* SCI_EN */
	acpi_pm_button(&r->s);
	assert_int_equal(r->sci.level, 0); /* not enabled */
	w(r, 2, 2, 0x100);
	assert_int_equal(r->sci.level, 1);
	assert_int_equal(rd(r, 0, 2), 0x100);
	w(r, 0, 2, 0x001);
	assert_int_equal(r->sci.level, 1);
	w(r, 0, 2, 0x100);
	assert_int_equal(r->sci.level, 0);
	acpi_pm_button(&r->s);
	w(r, 4, 2, 0);
	assert_int_equal(r->sci.level, 0);
	w(r, 2, 2, 0xffff);
	assert_int_equal(rd(r, 2, 2), 0x4721); /* reserved bits do not take */
}

static void test_timer(void **state)
{
	struct rig *r = *state;
	uint64_t next;

	assert_int_equal(rd(r, 8, 4), 0);
	r->now += NS_PER_SEC;
	assert_int_equal(rd(r, 8, 4), 3579545);
	w(r, 8, 4, 0); /* read only */
	assert_int_equal(rd(r, 8, 4), 3579545);
	r->now += 4 * NS_PER_SEC;
	assert_int_equal(rd(r, 8, 4), (5 * 3579545) & 0xffffff); /* 24 bits */
	/* The carry of bit 23 sets TMR_STS, looked at or not. */
	assert_true(rd(r, 0, 2) & 1);
	assert_int_equal(acpi_pm_update(&r->s, r->now), UINT64_MAX); /* nobody waits for it */
	w(r, 4, 2, 1);
	w(r, 0, 2, 1);
	w(r, 2, 2, 1);
	assert_int_equal(r->sci.level, 0);
	next = acpi_pm_update(&r->s, r->now);
	assert_true(next > r->now && next - r->now < 3 * NS_PER_SEC);
	r->now = next;
	acpi_pm_update(&r->s, r->now);
	assert_int_equal(r->sci.level, 1);
}

static void test_sleep(void **state)
{
	struct rig *r = *state;

	w(r, 4, 2, 1 << 10 | 1 << 13);
	assert_int_equal(r->offs, 0);
	w(r, 4, 2, 0);
	assert_int_equal(r->offs, 0);
	w(r, 4, 2, 1 << 13);
	assert_int_equal(r->offs, 1);
	w(r, 4, 2, 7 << 10 | 1 << 13);
	assert_int_equal(r->offs, 2);
	assert_int_equal(rd(r, 4, 2), 7 << 10); /* SLP_EN reads as zero */
	w(r, 5, 1, 1 << 5);
	assert_int_equal(r->offs, 3); /* by bytes, too */
}

static void test_gpe(void **state)
{
	struct rig *r = *state;

	w(r, 4, 2, 1);
	acpi_pm_gpe(&r->s, 9);
	acpi_pm_gpe(&r->s, 64); /* no such event */
	assert_int_equal(rd(r, 0x20, 4), 0x200);
	w(r, 0x28, 4, 0x200);
	assert_int_equal(r->sci.level, 1);
	w(r, 0x21, 1, 2);
	assert_int_equal(r->sci.level, 0);
	assert_int_equal(rd(r, 0x28, 4), 0x200);
}

static void test_apm_and_smi(void **state)
{
	struct rig *r = *state;

	acpi_pm_apm_write(&r->s, 0, 2);
	assert_int_equal(rd(r, 4, 2) & 1, 1);
	assert_int_equal(r->smis, 0);
	w(r, 0x30, 4, 0x21);
	acpi_pm_apm_write(&r->s, 0, 3);
	assert_int_equal(rd(r, 4, 2) & 1, 0);
	assert_int_equal(r->smis, 1);
	assert_int_equal(rd(r, 0x34, 4), 0x20);
	w(r, 0x34, 4, 0x20);
	assert_int_equal(rd(r, 0x34, 4), 0);
	w(r, 4, 2, 4); /* GBL_RLS */
	assert_int_equal(rd(r, 0x34, 4), 4);
	acpi_pm_apm_write(&r->s, 1, 0x99);
	assert_int_equal(r->s.apm_sts, 0x99);
}

static void test_tco_and_holes(void **state)
{
	struct rig *r = *state;

	assert_int_equal(rd(r, 0x72, 2), 4);
	assert_int_equal(rd(r, 0x68, 2), 0x0800);
	w(r, 0x68, 2, 0x1800);
	w(r, 0x68, 2, 0x0800);
	assert_int_equal(rd(r, 0x68, 2), 0x1800); /* the lock stays */
	w(r, 0x72, 2, 0xffff);
	assert_int_equal(rd(r, 0x72, 2), 0x03ff);
	w(r, 0x64, 2, 0xffff);
	assert_int_equal(rd(r, 0x64, 2), 0);
	w(r, 0x70, 1, 0x33);
	assert_int_equal(rd(r, 0x70, 1), 0x33);
	w(r, 0x50, 4, 0xffffffff);
	assert_int_equal(rd(r, 0x50, 4), 0);
}

static void pass(struct rig *r, uint64_t ns)
{
	r->now += ns;
	acpi_pm_update(&r->s, r->now);
}

#define TICK (600 * NS_PER_MS)

static void test_watchdog(void **state)
{
	struct rig *r = *state;

	w(r, 0x72, 2, 10);
	w(r, 0x60, 2, 1); /* reload: halted, so nothing runs */
	assert_int_equal(rd(r, 0x60, 2), 10);
	assert_int_equal(acpi_pm_update(&r->s, r->now), UINT64_MAX);
	w(r, 0x68, 2, 0);
	assert_int_equal(acpi_pm_update(&r->s, r->now), r->now + 10 * TICK);
	pass(r, 3 * TICK);
	assert_int_equal(rd(r, 0x60, 2), 7);
	w(r, 0x68, 2, 0x0800); /* a halt keeps the count */
	pass(r, 50 * TICK);
	assert_int_equal(rd(r, 0x60, 2), 7);
	w(r, 0x68, 2, 0);
	pass(r, 7 * TICK - 1);
	assert_int_equal(rd(r, 0x64, 2), 0);
	pass(r, 1);
	assert_int_equal(rd(r, 0x64, 2), 8);
	w(r, 0x64, 2, 8); /* fed in the first timeout */
	w(r, 0x60, 2, 0);
	pass(r, 10 * TICK);
	assert_int_equal(r->expired, 0);
	assert_int_equal(rd(r, 0x64, 2), 8);
	pass(r, 10 * TICK);
	assert_int_equal(r->expired, 1);
	assert_int_equal(rd(r, 0x66, 2), 6);
	assert_int_equal(acpi_pm_update(&r->s, r->now), UINT64_MAX);
	acpi_pm_reset(&r->s, r->now);
	assert_int_equal(rd(r, 0x66, 2), 6); /* until it is cleared */
	assert_int_equal(rd(r, 0x64, 2), 0);
	w(r, 0x66, 2, 6);
	assert_int_equal(rd(r, 0x66, 2), 0);
}

static void test_watchdog_without_effect(void **state)
{
	struct rig *r = *state;

	r->s.tco_no_reboot = true;
	w(r, 0x30, 4, 0x2001); /* TCO_EN, GBL_SMI_EN */
	w(r, 0x72, 2, 0);      /* too little: four ticks */
	w(r, 0x68, 2, 0);
	w(r, 0x60, 2, 1);
	pass(r, 4 * TICK);
	assert_int_equal(r->smis, 1);
	assert_int_equal(rd(r, 0x34, 4), 0x2000);
	pass(r, 4 * TICK);
	pass(r, 4 * TICK);
	assert_int_equal(r->smis, 3);
	assert_int_equal(r->expired, 0);
	assert_int_equal(rd(r, 0x66, 2), 6);
}

static void test_state(void **state)
{
	struct rig *r = *state;
	struct acpi_pm other = { 0 };

	acpi_pm_button(&r->s);
	w(r, 0x68, 2, 0);
	assert_true(fm_round_trip(&acpi_pm_state, &r->s, &other));
	assert_int_equal(other.pm1_sts, 0x100);
	r->s.pm1_cnt = 0xffff;
	assert_false(fm_round_trip(&acpi_pm_state, &r->s, &other));
}

static void test_device(void **state)
{
	struct fm *m = fm_new(0, 0, false);
	struct fm_line sci = { 0 };
	struct acpi_pm_dev *s;
	struct err e = { 0 };
	struct dev *d;
	uint32_t t;

	assert_int_equal(dev_create_internal(&m->vm, &acpi_pm_dev_type, NULL, NULL, NULL, &d, &e),
			 0);
	s = container_of(d, struct acpi_pm_dev, d);
	s->chip.sci = fm_irq(&sci);
	assert_int_equal(fm_in(m, 0x604, 2), 0xffff); /* placed nowhere */
	assert_int_equal(acpi_pm_dev_place(s, 0x600, &e), 0);
	t = fm_in(m, 0x608, 4);
	assert_true(t < 0x1000000);
	acpi_pm_dev_acpi_mode(s);
	assert_int_equal(fm_in(m, 0x604, 2), 1);
	fm_out(m, 0x602, 0x101, 2);
	acpi_pm_dev_button(s);
	assert_int_equal(sci.level, 1);
	fm_out(m, 0xb2, 3, 1);
	assert_int_equal(fm_in(m, 0xb2, 1), 3);
	assert_int_equal(sci.level, 0);
	fm_out(m, 0x604, 1 << 13, 2);
	assert_int_equal(atomic_load(&m->vm.requests) >> 24, 2); /* a shutdown */
	d->type->reset(d);
	assert_int_equal(fm_in(m, 0x602, 2), 0);
	assert_int_equal(acpi_pm_dev_place(s, 0, &e), 0);
	assert_int_equal(fm_in(m, 0x602, 2), 0xffff);
	fm_free(m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_button_and_sci), T(test_timer),
		T(test_sleep),		T(test_gpe),
		T(test_apm_and_smi),	T(test_tco_and_holes),
		T(test_state),		T(test_device),
		T(test_watchdog),	T(test_watchdog_without_effect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

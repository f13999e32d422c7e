/* SPDX-License-Identifier: Apache-2.0 */
/* Watchdogs: the 6300ESB's chip and its PCI function, the IB700's ports; and pvpanic-pci. */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "base/clock.h"
#include "core/event.h"
#include "dev/i6300esb.h"

#define PRELOAD1  0x00u
#define PRELOAD2  0x04u
#define INTERRUPT 0x08u
#define RELOAD	  0x0cu
#define FAST	  4u
#define NO_INT	  3u
#define NO_OUTPUT 0x20u
#define ENABLE	  2u
#define LOCKED	  1u
#define FREE_RUN  4u

struct rig {
	struct i6300esb s;
	unsigned fired;
	uint64_t now;
};

static void fire(void *opaque)
{
	((struct rig *)opaque)->fired++;
}

static int chip_setup(void **state)
{
	struct rig *r = xnew(struct rig);

	r->now = 77 * NS_PER_SEC;
	r->s.expired = fire;
	r->s.opaque = r;
	i6300esb_reset(&r->s);
	*state = r;
	return 0;
}

static int chip_teardown(void **state)
{
	free(*state);
	return 0;
}

static void unlocked(struct rig *r, unsigned reg, uint32_t val, unsigned size)
{
	i6300esb_write(&r->s, RELOAD, 0x80, 1, r->now);
	i6300esb_write(&r->s, RELOAD, 0x86, 1, r->now);
	i6300esb_write(&r->s, reg, val, size, r->now);
}

/* The length of a stage of so many counts. */
static uint64_t ns_of(uint32_t count, unsigned shift)
{
	return mul_div_u64((uint64_t)count << shift, NS_PER_SEC, 33000000);
}

static void wait_ns(struct rig *r, uint64_t ns)
{
	r->now += ns;
	i6300esb_update(&r->s, r->now);
}

static void test_unlock(void **state)
{
	struct rig *r = *state;

	assert_int_equal(i6300esb_read(&r->s, PRELOAD1, 4), 0xfffff);
	i6300esb_write(&r->s, PRELOAD1, 1, 4, r->now); /* locked */
	i6300esb_write(&r->s, RELOAD, 0x86, 1, r->now);
	i6300esb_write(&r->s, PRELOAD1, 1, 4, r->now); /* half a sequence */
	i6300esb_write(&r->s, RELOAD, 0x80, 2, r->now);
	i6300esb_write(&r->s, PRELOAD1, 1, 4, r->now); /* the other half */
	i6300esb_write(&r->s, RELOAD, 0x86, 2, r->now);
	i6300esb_write(&r->s, PRELOAD1, 1, 4, r->now);
	assert_int_equal(i6300esb_read(&r->s, PRELOAD1, 4), 0xfffff);
	unlocked(r, PRELOAD1, 0xfff12345, 4);
	assert_int_equal(i6300esb_read(&r->s, PRELOAD1, 4), 0x12345);
	i6300esb_write(&r->s, PRELOAD1, 7, 4, r->now); /* one write only */
	assert_int_equal(i6300esb_read(&r->s, PRELOAD1, 4), 0x12345);
	unlocked(r, PRELOAD2 + 1, 0xab, 1);
	assert_int_equal(i6300esb_read(&r->s, PRELOAD2, 4), 0xfabff);
	assert_int_equal(i6300esb_read(&r->s, PRELOAD2 + 1, 1) & 0xff, 0xab);
	i6300esb_write(&r->s, RELOAD, 0x80, 1, r->now);
	i6300esb_write(&r->s, RELOAD, 0x80, 1, r->now); /* begins anew */
	i6300esb_write(&r->s, RELOAD, 0x86, 1, r->now);
	i6300esb_write(&r->s, PRELOAD1, 9, 4, r->now);
	assert_int_equal(i6300esb_read(&r->s, PRELOAD1, 4), 9);
}

static void test_two_stages(void **state)
{
	struct rig *r = *state;
	uint64_t stage1 = ns_of(2000, 15), stage2 = ns_of(5000, 15);

	unlocked(r, PRELOAD1, 2000, 4);
	unlocked(r, PRELOAD2, 5000, 4);
	i6300esb_set_config(&r->s, 0xffd8); /* only what there is; slow, an interrupt */
	assert_int_equal(r->s.config, 0);
	i6300esb_set_lock(&r->s, ENABLE, r->now);
	assert_int_equal(i6300esb_update(&r->s, r->now), r->now + stage1);
	wait_ns(r, stage1 - 1);
	assert_int_equal(i6300esb_read(&r->s, INTERRUPT, 4), 0);
	unlocked(r, RELOAD, 0x100, 2); /* fed in time */
	wait_ns(r, stage1 - 1);
	assert_int_equal(i6300esb_read(&r->s, INTERRUPT, 4), 0);
	wait_ns(r, 1);
	assert_int_equal(i6300esb_read(&r->s, INTERRUPT, 4), 1);
	assert_int_equal(i6300esb_update(&r->s, r->now), r->now + stage2);
	unlocked(r, INTERRUPT, 1, 4);
	assert_int_equal(i6300esb_read(&r->s, INTERRUPT, 4), 0);
	wait_ns(r, stage2 - 1);
	assert_int_equal(r->fired, 0);
	assert_int_equal(i6300esb_read(&r->s, RELOAD, 2), 0);
	wait_ns(r, 1);
	assert_int_equal(r->fired, 1);
	/* It stands still, and can be started again as it was. */
	assert_int_equal(i6300esb_update(&r->s, r->now), UINT64_MAX);
	assert_int_equal(r->s.lock, 0);
	i6300esb_set_lock(&r->s, ENABLE, r->now);
	assert_int_equal(i6300esb_update(&r->s, r->now), r->now + stage1);
	/* It says that it went off until that is cleared, also over a reset. */
	i6300esb_reset(&r->s);
	assert_int_equal(i6300esb_read(&r->s, RELOAD, 2), 0x1200);
	unlocked(r, RELOAD, 0x200, 2);
	assert_int_equal(i6300esb_read(&r->s, RELOAD, 2), 0);
}

static void test_stop_and_lock(void **state)
{
	struct rig *r = *state;

	i6300esb_set_config(&r->s, FAST | NO_INT);
	i6300esb_set_lock(&r->s, ENABLE, r->now);
	assert_int_equal(i6300esb_update(&r->s, r->now), r->now + ns_of(0xfffff, 5));
	i6300esb_set_lock(&r->s, 0, r->now);
	assert_int_equal(i6300esb_update(&r->s, r->now), UINT64_MAX);
	unlocked(r, RELOAD, 0x100, 2); /* off: nothing starts */
	assert_int_equal(i6300esb_update(&r->s, r->now), UINT64_MAX);
	i6300esb_set_lock(&r->s, ENABLE | LOCKED, r->now);
	i6300esb_set_lock(&r->s, 0, r->now);
	assert_int_equal(r->s.lock, ENABLE | LOCKED);
	wait_ns(r, ns_of(0xfffff, 5));
	assert_false(r->s.interrupt);
	wait_ns(r, ns_of(0xfffff, 5));
	assert_int_equal(r->fired, 1);
}

static void test_free_running(void **state)
{
	struct rig *r = *state;

	unlocked(r, PRELOAD1, 0, 4);
	unlocked(r, PRELOAD2, 0, 4); /* as short as it goes: spread */
	i6300esb_set_config(&r->s, FAST);
	i6300esb_set_lock(&r->s, ENABLE | FREE_RUN, r->now);
	for (unsigned i = 1; i <= 100; i++) {
		uint64_t next = i6300esb_update(&r->s, r->now);

		assert_true(next >= r->now + 10 * NS_PER_MS);
		r->now = next;
		i6300esb_update(&r->s, r->now);
		assert_int_equal(r->fired, i);
	}
	assert_false(r->s.interrupt); /* the first stage is not used */
	i6300esb_set_config(&r->s, FAST | NO_OUTPUT);
	wait_ns(r, NS_PER_SEC);
	assert_int_equal(r->fired, 100);
}

static void test_output_off(void **state)
{
	struct rig *r = *state;

	i6300esb_set_config(&r->s, FAST | NO_OUTPUT);
	i6300esb_set_lock(&r->s, ENABLE, r->now);
	wait_ns(r, 2 * NS_PER_SEC);
	wait_ns(r, 2 * NS_PER_SEC);
	assert_int_equal(r->fired, 0);
	assert_false(r->s.timed_out);
	assert_int_equal(i6300esb_update(&r->s, r->now), UINT64_MAX);
	unlocked(r, RELOAD, 0x100, 2);
	assert_int_equal(i6300esb_update(&r->s, r->now), r->now + ns_of(0xfffff, 5));
}

static void test_chip_state(void **state)
{
	struct rig *r = *state;
	struct i6300esb other = { 0 };

	i6300esb_set_lock(&r->s, ENABLE, r->now);
	i6300esb_write(&r->s, RELOAD, 0x80, 1, r->now);
	assert_true(fm_round_trip(&i6300esb_state, &r->s, &other));
	assert_int_equal(other.deadline_ns, r->s.deadline_ns);
}

/* ---- in a machine ---- */

static void nobody(struct loop_work *w)
{
}

static int machine_setup(void **state)
{
	struct fm *m = fm_new(1, MIB(4), false);
	struct err e = { 0 };

	m->board = true;
	m->vm.request_work.fn = nobody; /* the test itself looks what is asked for */
	if (arch_board_init(&m->vm, &e))
		fail_msg("%s", e.msg);
	*state = m;
	return 0;
}

static int machine_teardown(void **state)
{
	fm_free(*state);
	return 0;
}

static struct dev *make(struct fm *m, const char *type)
{
	struct conf_node *n = conf_add(m->vm.conf, CONF_DEVICE, type, NULL, "-device");
	struct err e = { 0 };
	struct dev *d;

	if (dev_create(&m->vm, n, &d, &e))
		fail_msg("%s", e.msg);
	dev_reset_all(&m->vm);
	return d;
}

static uint32_t cfg(struct dev *d, unsigned reg, unsigned size)
{
	struct pci_dev *p = container_of(d, struct pci_dev, d);

	return pci_cfg_read(p->bus, 0, p->devfn, reg, size);
}

static void set_cfg(struct dev *d, unsigned reg, unsigned size, uint32_t val)
{
	struct pci_dev *p = container_of(d, struct pci_dev, d);

	pci_cfg_write(p->bus, 0, p->devfn, reg, val, size);
}

static uint32_t place_bar(struct dev *d)
{
	set_cfg(d, PCI_BAR0, 4, 0xd0000000);
	set_cfg(d, PCI_COMMAND, 2, PCI_COMMAND_MEM);
	return 0xd0000000;
}

/* Lets the loop run until something is asked of the machine, for at most two seconds. */
static bool asked(struct fm *m)
{
	uint64_t end = clock_now_ns() + 2 * NS_PER_SEC;

	while (!atomic_load(&m->vm.asks) && clock_now_ns() < end)
		loop_once(m->vm.loop, 20);
	return atomic_exchange(&m->vm.asks, 0);
}

static void test_i6300esb(void **state)
{
	struct fm *m = *state;
	struct dev *d = make(m, "i6300esb");
	uint32_t at = place_bar(d);

	assert_int_equal(cfg(d, 0, 4), 0x25ab8086);
	assert_int_equal(cfg(d, 10, 2), 0x0880);
	for (unsigned reg = 0; reg < 8; reg += 4) {
		fm_st(m, at + RELOAD, 0x80, 2);
		fm_st(m, at + RELOAD, 0x86, 2);
		fm_st(m, at + reg, 1, 4);
	}
	assert_int_equal(fm_ld(m, at, 4), 1);
	set_cfg(d, I6300ESB_CONFIG, 2, 0xfff7 & ~NO_OUTPUT);
	assert_int_equal(cfg(d, I6300ESB_CONFIG, 2), FAST | NO_INT);
	set_cfg(d, I6300ESB_LOCK, 1, ENABLE | LOCKED);
	set_cfg(d, I6300ESB_LOCK, 1, 0); /* refused, and it reads so */
	assert_int_equal(cfg(d, I6300ESB_LOCK, 1), ENABLE | LOCKED);
	fm_resave(m);
	assert_true(asked(m));
	assert_int_equal(cfg(d, I6300ESB_LOCK, 1), 0);
	assert_int_equal(fm_ld(m, at + RELOAD, 2), 0x1200);
	d->type->reset(d);
	place_bar(d);
	assert_int_equal(fm_ld(m, at + RELOAD, 2), 0x1200);
	fm_st(m, at + RELOAD, 0x80, 2);
	fm_st(m, at + RELOAD, 0x86, 2);
	fm_st(m, at + RELOAD, 0x200, 2);
	assert_int_equal(fm_ld(m, at + RELOAD, 2), 0);
}

/* While the machine stands still so does the timer; afterwards it goes on. */
static void test_pause(void **state)
{
	struct fm *m = *state;
	struct dev *d = make(m, "ib700");
	uint64_t end;

	fm_out(m, 0x443, 15, 1);
	d->type->pause(d);
	end = clock_now_ns() + 50 * NS_PER_MS;
	while (clock_now_ns() < end)
		loop_once(m->vm.loop, 20);
	assert_int_equal(atomic_load(&m->vm.asks), 0);
	d->type->resume(d);
	assert_true(asked(m));
}

static void test_ib700(void **state)
{
	struct fm *m = *state;
	struct dev *d = make(m, "ib700");
	uint64_t before = clock_now_ns();

	fm_out(m, 0x443, 15, 1);
	fm_resave(m);
	assert_true(asked(m));
	assert_true(clock_now_ns() - before >= 10 * NS_PER_MS);
	fm_out(m, 0x443, 0x1e, 1); /* two seconds: only four bits count */
	fm_out(m, 0x441, 0, 1);
	assert_int_equal(fm_in(m, 0x443, 1), 0xff);
	fm_out(m, 0x443, 15, 1);
	d->type->reset(d);
	loop_once(m->vm.loop, 50);
	loop_once(m->vm.loop, 50);
	assert_int_equal(atomic_load(&m->vm.asks), 0);
}

static void test_pvpanic_pci(void **state)
{
	struct fm *m = *state;
	struct dev *d = make(m, "pvpanic-pci");
	uint32_t at = place_bar(d);

	assert_int_equal(cfg(d, 0, 4), 0x00111b36);
	assert_int_equal(fm_ld(m, at, 1), 7);
	fm_st(m, at, 2, 1);
	fm_st(m, at, 8, 1);
	assert_int_equal(atomic_load(&m->vm.requests), 0);
	fm_st(m, at, 1, 1);
	assert_int_equal(atomic_exchange(&m->vm.requests, 0) >> 8, 2u << 16 | VM_CAUSE_GUEST_PANIC);
	fm_st(m, at, 4, 1);
	assert_int_equal(atomic_exchange(&m->vm.requests, 0) >> 8,
			 2u << 16 | VM_CAUSE_GUEST_SHUTDOWN);
}

#define C(f) cmocka_unit_test_setup_teardown(f, chip_setup, chip_teardown)
#define M(f) cmocka_unit_test_setup_teardown(f, machine_setup, machine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { C(test_unlock),	   C(test_two_stages),
					    C(test_stop_and_lock), C(test_free_running),
					    C(test_output_off),	   C(test_chip_state),
					    M(test_i6300esb),	   M(test_ib700),
					    M(test_pause),	   M(test_pvpanic_pci) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

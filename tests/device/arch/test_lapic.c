/* SPDX-License-Identifier: Apache-2.0 */
/* Local APIC: priorities, destinations, IPIs, timer, modes, state. */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "arch/x86/board.h"
#include "isa/x86/x86.h"

static uint64_t now;
static unsigned eois[256];
static int pic_vector;

static uint64_t fake_now(void)
{
	return now;
}

static uint64_t fake_tsc(const struct vcpu *v)
{
	return now * 2; /* 2 GHz */
}

static void note_eoi(void *opaque, unsigned vector)
{
	eois[vector]++;
}

static int give_vector(void *opaque)
{
	return pic_vector;
}

static struct lapic *lapic(struct fm *m, unsigned n)
{
	return &x86_vcpu(m->v[n])->lapic;
}

static int setup(void **state)
{
	struct fm *m = fm_new(4, 0, false);
	struct apic_bus *bus = &x86_board(&m->vm)->bus;

	now = 1000000000;
	memset(eois, 0, sizeof(eois));
	bus->now_ns = fake_now;
	bus->tsc = fake_tsc;
	bus->tsc_khz = 2000000;
	bus->eoi = note_eoi;
	bus->pic_ack = give_vector;
	for (unsigned i = 0; i < 4; i++)
		lapic_mmio_write(lapic(m, i), LAPIC_SVR, 0x1ff);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	fm_free(*state);
	return 0;
}

static void wr(struct fm *m, unsigned cpu, unsigned reg, uint32_t val)
{
	lapic_mmio_write(lapic(m, cpu), reg, val);
}

static uint32_t rd(struct fm *m, unsigned cpu, unsigned reg)
{
	return lapic_mmio_read(lapic(m, cpu), reg);
}

static void x2apic(struct fm *m, unsigned cpu)
{
	struct lapic *l = lapic(m, cpu);

	assert_int_equal(lapic_msr_write(l, MSR_APIC_BASE, l->apic_base | APIC_BASE_X2APIC), 0);
}

static bool has(struct fm *m, unsigned cpu, unsigned vector)
{
	return APIC_LOAD(lapic(m, cpu)->irr[vector / 32]) >> vector % 32 & 1;
}

static void test_reset_values(void **state)
{
	struct fm *m = *state;
	uint64_t v;

	lapic_reset(lapic(m, 1), false);
	assert_int_equal(rd(m, 1, LAPIC_ID), 1u << 24);
	assert_int_equal(rd(m, 1, LAPIC_VERSION), 0x50014);
	assert_int_equal(rd(m, 1, LAPIC_SVR), 0xff);
	assert_int_equal(rd(m, 1, LAPIC_DFR), UINT32_MAX);
	assert_int_equal(rd(m, 1, LAPIC_LVT_TIMER), LVT_MASKED);
	assert_int_equal(rd(m, 1, LAPIC_LVT_LINT0), LVT_MASKED);
	assert_int_equal(lapic_msr_read(lapic(m, 1), MSR_APIC_BASE, &v), 0);
	assert_int_equal(v, 0xfee00800);
	assert_int_equal(lapic_msr_read(lapic(m, 0), MSR_APIC_BASE, &v), 0);
	assert_int_equal(v, 0xfee00900);
}

static void test_priorities(void **state)
{
	struct fm *m = *state;
	struct lapic *l = lapic(m, 0);

	assert_int_equal(lapic_get_intr(l), -1);
	lapic_deliver(l, APIC_DM_FIXED, 0x41, false);
	lapic_deliver(l, APIC_DM_FIXED, 0x62, false);
	lapic_deliver(l, APIC_DM_FIXED, 0x63, true);
	assert_true(vcpu_events(m->v[0]) & VCPU_EV_INTR);
	assert_true(lapic_has_intr(l));
	assert_int_equal(lapic_get_intr(l), 0x63);
	/* Same class waits, lower waits. */
	assert_false(lapic_has_intr(l));
	assert_int_equal(rd(m, 0, LAPIC_PPR), 0x60);
	lapic_deliver(l, APIC_DM_FIXED, 0x70, false);
	assert_int_equal(lapic_get_intr(l), 0x70);
	vcpu_clear(m->v[0], VCPU_EV_INTR);
	wr(m, 0, LAPIC_EOI, 0); /* of 0x70 */
	assert_int_equal(eois[0x70], 0);
	assert_false(lapic_has_intr(l));
	wr(m, 0, LAPIC_EOI, 0); /* of 0x63, level */
	assert_int_equal(eois[0x63], 1);
	assert_true(vcpu_events(m->v[0]) & VCPU_EV_INTR); /* asked again by the EOI */
	assert_int_equal(lapic_get_intr(l), 0x62);
	wr(m, 0, LAPIC_EOI, 0);
	/* The task priority holds back its class and below. */
	wr(m, 0, LAPIC_TPR, 0x40);
	assert_int_equal(lapic_get_intr(l), -1);
	vcpu_clear(m->v[0], VCPU_EV_INTR);
	lapic_set_tpr(l, 0x30);
	assert_true(vcpu_events(m->v[0]) & VCPU_EV_INTR);
	assert_int_equal(lapic_get_intr(l), 0x41);
	wr(m, 0, LAPIC_EOI, 0);
	wr(m, 0, LAPIC_EOI, 0); /* nothing in service: ignored */
	assert_int_equal(lapic_isr_top(l), -1);
}

static void test_get_intr_raises_again(void **state)
{
	struct fm *m = *state;
	struct lapic *l = lapic(m, 0);

	lapic_deliver(l, APIC_DM_FIXED, 0x41, false);
	lapic_deliver(l, APIC_DM_FIXED, 0x91, false);
	assert_int_equal(lapic_get_intr(l), 0x91);
	assert_false(vcpu_events(m->v[0]) & VCPU_EV_INTR); /* 0x41 cannot come now */
	lapic_deliver(l, APIC_DM_FIXED, 0xa1, false);
	lapic_deliver(l, APIC_DM_FIXED, 0xb1, false);
	assert_int_equal(lapic_get_intr(l), 0xb1);
	wr(m, 0, LAPIC_EOI, 0);
	assert_true(vcpu_events(m->v[0]) & VCPU_EV_INTR);
	assert_int_equal(lapic_get_intr(l), 0xa1);
}

static void test_disabled_drops(void **state)
{
	struct fm *m = *state;
	struct lapic *l = lapic(m, 1);

	wr(m, 1, LAPIC_LVT_ERROR, 0x33);
	wr(m, 1, LAPIC_SVR, 0xff);
	assert_true(rd(m, 1, LAPIC_LVT_ERROR) & LVT_MASKED);
	wr(m, 1, LAPIC_LVT_ERROR, 0x33); /* cannot be unmasked while off */
	assert_true(rd(m, 1, LAPIC_LVT_ERROR) & LVT_MASKED);
	assert_false(lapic_deliver(l, APIC_DM_FIXED, 0x55, false));
	assert_true(lapic_deliver(l, APIC_DM_NMI, 0, false));
	assert_true(vcpu_events(m->v[1]) & VCPU_EV_NMI);
	/* Off as a whole: registers read as nothing. */
	assert_int_equal(lapic_msr_write(l, MSR_APIC_BASE, LAPIC_DEFAULT_BASE), 0);
	assert_int_equal(rd(m, 1, LAPIC_VERSION), UINT32_MAX);
	assert_false(lapic_hw_enabled(l));
}

static void test_illegal_vectors(void **state)
{
	struct fm *m = *state;

	wr(m, 0, LAPIC_LVT_ERROR, 0xfe);
	assert_false(lapic_deliver(lapic(m, 0), APIC_DM_FIXED, 3, false));
	assert_int_equal(lapic_get_intr(lapic(m, 0)), 0xfe); /* each error is an interrupt */
	wr(m, 0, LAPIC_EOI, 0);
	wr(m, 0, LAPIC_ICR, 0x0000000f | 0x40000); /* self, vector 15 */
	assert_int_equal(lapic_get_intr(lapic(m, 0)), 0xfe);
	wr(m, 0, LAPIC_EOI, 0);
	wr(m, 0, LAPIC_RRD + 0x20, 0);		  /* no such register: 0x2c */
	assert_int_equal(rd(m, 0, LAPIC_ESR), 0); /* latched by a write only */
	wr(m, 0, LAPIC_ESR, 0);
	assert_int_equal(rd(m, 0, LAPIC_ESR), 0x40 | 0x20 | 0x80);
	assert_int_equal(lapic_get_intr(lapic(m, 0)), 0xfe);
	wr(m, 0, LAPIC_ESR, 0);
	assert_int_equal(rd(m, 0, LAPIC_ESR), 0);
	/* The error's own vector may be illegal: a bit more, no interrupt. */
	wr(m, 0, LAPIC_EOI, 0);
	wr(m, 0, LAPIC_LVT_ERROR, 0x05);
	wr(m, 0, LAPIC_ICR, 0x0000000f | 0x40000);
	wr(m, 0, LAPIC_ESR, 0);
	assert_int_equal(rd(m, 0, LAPIC_ESR), 0x40 | 0x20);
	assert_int_equal(lapic_get_intr(lapic(m, 0)), -1);
}

static unsigned send(struct fm *m, struct apic_msg msg)
{
	return apic_bus_send(&x86_board(&m->vm)->bus, &msg);
}

static void test_destinations(void **state)
{
	struct fm *m = *state;

	assert_int_equal(send(m, (struct apic_msg){ .dest = 2, .vector = 0x50 }), 1);
	assert_true(has(m, 2, 0x50));
	assert_false(has(m, 1, 0x50));
	assert_int_equal(send(m, (struct apic_msg){ .dest = 9, .vector = 0x50 }), 0);
	assert_int_equal(send(m, (struct apic_msg){ .dest = APIC_DEST_ALL, .vector = 0x51 }), 4);
	/* Flat: a bit each. */
	for (unsigned i = 0; i < 4; i++)
		wr(m, i, LAPIC_LDR, 1u << (24 + i));
	assert_int_equal(
		send(m, (struct apic_msg){ .dest = 0x0a, .vector = 0x52, .logical = true }), 2);
	assert_true(has(m, 1, 0x52) && has(m, 3, 0x52) && !has(m, 0, 0x52) && !has(m, 2, 0x52));
	/* Cluster: high nibble the cluster, low nibble its members. */
	for (unsigned i = 0; i < 4; i++) {
		wr(m, i, LAPIC_DFR, 0x0fffffff);
		wr(m, i, LAPIC_LDR, (i / 2 << 4 | 1u << i % 2) << 24);
	}
	assert_int_equal(
		send(m, (struct apic_msg){ .dest = 0x13, .vector = 0x53, .logical = true }), 2);
	assert_true(has(m, 2, 0x53) && has(m, 3, 0x53) && !has(m, 0, 0x53));
	assert_int_equal(
		send(m, (struct apic_msg){ .dest = 0xf1, .vector = 0x54, .logical = true }), 2);
	assert_true(has(m, 0, 0x54) && has(m, 2, 0x54));
	/* x2APIC: the logical id follows from the APIC id. */
	x2apic(m, 3);
	assert_int_equal(lapic(m, 3)->ldr, 1u << 3);
	assert_int_equal(send(m, (struct apic_msg){ .dest = 8, .vector = 0x55, .logical = true }),
			 1);
	assert_true(has(m, 3, 0x55));
	assert_int_equal(
		send(m, (struct apic_msg){ .dest = 0x10008, .vector = 0x56, .logical = true }), 0);
}

static void test_lowest_priority(void **state)
{
	struct fm *m = *state;
	struct apic_msg msg = { .dest = APIC_DEST_ALL, .vector = 0x60, .mode = APIC_DM_LOWEST };

	for (unsigned i = 0; i < 4; i++)
		wr(m, i, LAPIC_TPR, i == 2 ? 0x10 : 0x20);
	assert_int_equal(send(m, msg), 1);
	assert_true(has(m, 2, 0x60));
	/* Equals take turns. */
	for (unsigned i = 0; i < 4; i++)
		wr(m, i, LAPIC_TPR, 0);
	msg.vector = 0x61;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(send(m, msg), 1);
	for (unsigned i = 0; i < 4; i++)
		assert_true(has(m, i, 0x61));
	/* Nobody there: lost. */
	for (unsigned i = 0; i < 4; i++)
		wr(m, i, LAPIC_SVR, 0xff);
	assert_int_equal(send(m, msg), 0);
}

static void test_ipis(void **state)
{
	struct fm *m = *state;

	wr(m, 0, LAPIC_ICR2, 1u << 24);
	wr(m, 0, LAPIC_ICR, 0x4045);
	assert_true(has(m, 1, 0x45));
	assert_int_equal(rd(m, 0, LAPIC_ICR), 0x4045); /* delivery status idle */
	wr(m, 0, LAPIC_ICR, 0x40046);		       /* self */
	assert_true(has(m, 0, 0x46) && !has(m, 1, 0x46));
	wr(m, 0, LAPIC_ICR, 0x80047); /* all with self */
	assert_true(has(m, 0, 0x47) && has(m, 3, 0x47));
	wr(m, 0, LAPIC_ICR, 0xc0048); /* all but self */
	assert_true(!has(m, 0, 0x48) && has(m, 1, 0x48) && has(m, 3, 0x48));
	wr(m, 0, LAPIC_ICR2, 2u << 24);
	wr(m, 0, LAPIC_ICR, 0x4400); /* NMI */
	assert_true(vcpu_events(m->v[2]) & VCPU_EV_NMI);
	wr(m, 0, LAPIC_ICR, 0x4200); /* SMI */
	assert_true(vcpu_events(m->v[2]) & VCPU_EV_SMI);
	wr(m, 0, LAPIC_ICR2, 0xffu << 24); /* broadcast */
	wr(m, 0, LAPIC_ICR, 0x49);
	for (unsigned i = 0; i < 4; i++)
		assert_true(has(m, i, 0x49));
}

static void test_init_and_sipi(void **state)
{
	struct fm *m = *state;

	wr(m, 3, LAPIC_TPR, 0x20);
	lapic_deliver(lapic(m, 3), APIC_DM_FIXED, 0x88, false);
	wr(m, 0, LAPIC_ICR2, 3u << 24);
	wr(m, 0, LAPIC_ICR, 0xc500); /* INIT, level assert */
	assert_true(vcpu_events(m->v[3]) & VCPU_EV_INIT);
	/* Until it has reset itself it takes nothing. */
	assert_false(lapic_deliver(lapic(m, 3), APIC_DM_FIXED, 0x89, false));
	vcpu_clear(m->v[3], VCPU_EV_INIT);
	wr(m, 0, LAPIC_ICR, 0x8500); /* de-assert: nothing */
	assert_false(vcpu_events(m->v[3]) & VCPU_EV_INIT);
	wr(m, 0, LAPIC_ICR, 0x4699); /* start-up */
	assert_true(vcpu_events(m->v[3]) & VCPU_EV_SIPI);
	assert_int_equal(atomic_load(&m->v[3]->sipi_vector), 0x99);
	assert_int_equal(rd(m, 3, LAPIC_TPR), 0);
	assert_int_equal(rd(m, 3, LAPIC_SVR), 0xff);
	assert_false(lapic_has_intr(lapic(m, 3)));
	/* INIT keeps the mode. */
	x2apic(m, 2);
	wr(m, 0, LAPIC_ICR2, 2u << 24);
	wr(m, 0, LAPIC_ICR, 0xc500);
	assert_false(lapic_has_intr(lapic(m, 2)));
	assert_true(lapic_is_x2apic(lapic(m, 2)));
	assert_int_equal(lapic(m, 2)->ldr, 1u << 2);
}

static void test_timer_oneshot_and_periodic(void **state)
{
	struct fm *m = *state;
	struct lapic *l = lapic(m, 0);

	wr(m, 0, LAPIC_TDCR, 3); /* by 16 */
	wr(m, 0, LAPIC_LVT_TIMER, 0x31);
	wr(m, 0, LAPIC_TICR, 1000000);
	assert_int_equal(atomic_load(&m->v[0]->deadline_ns), now + 16000000);
	now += 4000000;
	assert_int_equal(rd(m, 0, LAPIC_TCCR), 750000);
	now += 12000000;
	lapic_timer(l);
	assert_int_equal(lapic_get_intr(l), 0x31);
	assert_int_equal(rd(m, 0, LAPIC_TCCR), 0);
	assert_int_equal(atomic_load(&m->v[0]->deadline_ns), UINT64_MAX);
	wr(m, 0, LAPIC_EOI, 0);

	wr(m, 0, LAPIC_TDCR, 0xb); /* by 1 */
	wr(m, 0, LAPIC_LVT_TIMER, 0x32 | LVT_TIMER_PERIODIC);
	wr(m, 0, LAPIC_TICR, 1000000);
	now += 5400000; /* four are lost */
	lapic_timer(l);
	assert_int_equal(lapic_get_intr(l), 0x32);
	assert_int_equal(atomic_load(&m->v[0]->deadline_ns), now + 600000);
	assert_int_equal(rd(m, 0, LAPIC_TCCR), 600000);
	wr(m, 0, LAPIC_EOI, 0);
	/* Absurdly short periods are stretched. */
	wr(m, 0, LAPIC_TICR, 1);
	assert_int_equal(atomic_load(&m->v[0]->deadline_ns), now + 100000);
	/* Masked, it runs without an interrupt; zero stops it. */
	wr(m, 0, LAPIC_LVT_TIMER, 0x32 | LVT_MASKED);
	wr(m, 0, LAPIC_TICR, 5000);
	now += 5000;
	lapic_timer(l);
	assert_int_equal(lapic_get_intr(l), -1);
	wr(m, 0, LAPIC_TICR, 50);
	wr(m, 0, LAPIC_TICR, 0);
	assert_int_equal(atomic_load(&m->v[0]->deadline_ns), UINT64_MAX);
}

static void test_timer_deadline(void **state)
{
	struct fm *m = *state;
	struct lapic *l = lapic(m, 0);
	uint64_t v;

	assert_int_equal(lapic_msr_write(l, MSR_TSC_DEADLINE, now * 2 + 100), 0);
	assert_int_equal(lapic_msr_read(l, MSR_TSC_DEADLINE, &v), 0);
	assert_int_equal(v, 0); /* another mode: ignored */
	wr(m, 0, LAPIC_LVT_TIMER, 0x40 | LVT_TIMER_DEADLINE);
	lapic_msr_write(l, MSR_TSC_DEADLINE, now * 2 + 2000);
	assert_in_range(atomic_load(&m->v[0]->deadline_ns), now + 1000, now + 1001);
	wr(m, 0, LAPIC_TICR, 77); /* no meaning in this mode */
	assert_int_equal(rd(m, 0, LAPIC_TCCR), 0);
	now += 500;
	lapic_timer(l); /* too early: armed again */
	assert_int_equal(lapic_get_intr(l), -1);
	assert_in_range(atomic_load(&m->v[0]->deadline_ns), now + 500, now + 501);
	now += 502;
	lapic_timer(l);
	assert_int_equal(lapic_get_intr(l), 0x40);
	lapic_msr_read(l, MSR_TSC_DEADLINE, &v);
	assert_int_equal(v, 0);
	wr(m, 0, LAPIC_EOI, 0);
	/* In the past: at once. Zero: off. The far future: armed, whatever it overflows. */
	lapic_msr_write(l, MSR_TSC_DEADLINE, 1);
	assert_int_equal(lapic_get_intr(l), 0x40);
	wr(m, 0, LAPIC_EOI, 0);
	lapic_msr_write(l, MSR_TSC_DEADLINE, UINT64_MAX);
	assert_int_equal(atomic_load(&m->v[0]->deadline_ns), UINT64_MAX - 1);
	lapic_msr_write(l, MSR_TSC_DEADLINE, 0);
	assert_int_equal(atomic_load(&m->v[0]->deadline_ns), UINT64_MAX);
	/* A change of mode stops it. */
	lapic_msr_write(l, MSR_TSC_DEADLINE, now * 2 + 2000);
	wr(m, 0, LAPIC_LVT_TIMER, 0x40);
	assert_int_equal(atomic_load(&m->v[0]->deadline_ns), UINT64_MAX);
}

static void test_x2apic_registers(void **state)
{
	struct fm *m = *state;
	struct lapic *l = lapic(m, 1);
	uint64_t v;

	assert_int_equal(lapic_msr_read(l, MSR_X2APIC + LAPIC_ID, &v), -EINVAL);
	x2apic(m, 1);
	assert_int_equal(rd(m, 1, LAPIC_VERSION), UINT32_MAX); /* the page is gone */
	assert_int_equal(lapic_msr_read(l, MSR_X2APIC + LAPIC_ID, &v), 0);
	assert_int_equal(v, 1);
	assert_int_equal(lapic_msr_write(l, MSR_X2APIC + LAPIC_ID, 2), -EINVAL);
	assert_int_equal(lapic_msr_write(l, MSR_X2APIC + LAPIC_EOI, 1), -EINVAL);
	assert_int_equal(lapic_msr_write(l, MSR_X2APIC + LAPIC_EOI, 0), 0);
	assert_int_equal(lapic_msr_read(l, MSR_X2APIC + LAPIC_EOI, &v), -EINVAL);
	assert_int_equal(lapic_msr_write(l, MSR_X2APIC + LAPIC_TPR, 0x100), -EINVAL);
	assert_int_equal(lapic_msr_read(l, MSR_X2APIC + LAPIC_DFR, &v), -EINVAL);
	assert_int_equal(lapic_msr_read(l, MSR_X2APIC + LAPIC_ICR2, &v), -EINVAL);
	assert_int_equal(lapic_msr_write(l, MSR_X2APIC + LAPIC_ICR, 2ull << 32 | 0x4c), 0);
	assert_true(has(m, 2, 0x4c));
	assert_int_equal(lapic_msr_read(l, MSR_X2APIC + LAPIC_ICR, &v), 0);
	assert_int_equal(v, 2ull << 32 | 0x4c);
	assert_int_equal(lapic_msr_write(l, MSR_X2APIC + LAPIC_SELF_IPI, 0x4d), 0);
	assert_true(has(m, 1, 0x4d));
	assert_int_equal(lapic_msr_read(l, MSR_X2APIC + LAPIC_SELF_IPI, &v), -EINVAL);
	assert_int_equal(lapic_msr_read(l, 0x10, &v), -ENOENT);
	assert_int_equal(lapic_msr_write(l, 0x10, 0), -ENOENT);
}

static void test_mode_transitions(void **state)
{
	struct fm *m = *state;
	struct lapic *l = lapic(m, 1);
	uint64_t base = LAPIC_DEFAULT_BASE;

	assert_int_equal(lapic_msr_write(l, MSR_APIC_BASE, base | APIC_BASE_X2APIC), -EINVAL);
	assert_int_equal(lapic_msr_write(l, MSR_APIC_BASE, base | APIC_BASE_ENABLE | 1), -EINVAL);
	x2apic(m, 1);
	assert_int_equal(lapic_msr_write(l, MSR_APIC_BASE, base | APIC_BASE_ENABLE), -EINVAL);
	assert_int_equal(lapic_msr_write(l, MSR_APIC_BASE, base), 0);
	assert_int_equal(lapic_msr_write(l, MSR_APIC_BASE,
					 base | APIC_BASE_ENABLE | APIC_BASE_X2APIC),
			 -EINVAL);
	assert_int_equal(lapic_msr_write(l, MSR_APIC_BASE, base | APIC_BASE_ENABLE), 0);
	assert_int_equal(rd(m, 1, LAPIC_SVR), 0xff); /* off and on is a reset */
}

static void test_extint(void **state)
{
	struct fm *m = *state;
	struct lapic *l = lapic(m, 0);

	pic_vector = 0x28;
	lapic_lint0(l, 1); /* LINT0 of the boot CPU is ExtINT from reset on */
	assert_true(lapic_has_intr(l));
	assert_int_equal(lapic_get_intr(l), 0x28);
	assert_int_equal(lapic_isr_top(l), -1); /* the PIC keeps that */
	wr(m, 0, LAPIC_LVT_LINT0, LVT_MASKED);
	assert_false(lapic_has_intr(l));
	wr(m, 0, LAPIC_LVT_LINT0, 0x700);
	assert_true(lapic_has_intr(l));
	lapic_lint0(l, 0);
	assert_false(lapic_has_intr(l));
	/* As a message from the IOAPIC: once. */
	lapic_deliver(l, APIC_DM_EXTINT, 0, false);
	assert_int_equal(lapic_get_intr(l), 0x28);
	assert_int_equal(lapic_get_intr(l), -1);
	/* Other modes of the pin. */
	wr(m, 0, LAPIC_LVT_LINT0, 0x400);
	lapic_lint0(l, 1);
	assert_true(vcpu_events(m->v[0]) & VCPU_EV_NMI);
	vcpu_clear(m->v[0], VCPU_EV_NMI);
	lapic_lint0(l, 1); /* no edge */
	assert_false(vcpu_events(m->v[0]) & VCPU_EV_NMI);
	wr(m, 0, LAPIC_LVT_LINT1, 0x400);
	lapic_lint1(l, 1);
	assert_true(vcpu_events(m->v[0]) & VCPU_EV_NMI);
	/* With the APIC off the pins go straight to the core. */
	lapic_msr_write(l, MSR_APIC_BASE, LAPIC_DEFAULT_BASE | APIC_BASE_BSP);
	assert_true(lapic_has_intr(l));
}

static void test_state(void **state)
{
	struct fm *m = *state;
	struct lapic a = *lapic(m, 0), b = *lapic(m, 1);

	a.tpr = 0x55;
	a.irr[2] = 0x1234;
	a.lvt[0] = 0x40031;
	assert_true(fm_round_trip(&lapic_state, &a, &b));
	assert_int_equal(b.lvt[0], 0x40031);
	assert_ptr_equal(b.vcpu, m->v[1]); /* wiring stays */
	a.apic_base = APIC_BASE_X2APIC;
	assert_false(fm_round_trip(&lapic_state, &a, &b));
	a.apic_base = LAPIC_DEFAULT_BASE;
	a.lvt[3] = 0x80000000;
	assert_false(fm_round_trip(&lapic_state, &a, &b));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_reset_values),
		T(test_priorities),
		T(test_get_intr_raises_again),
		T(test_disabled_drops),
		T(test_illegal_vectors),
		T(test_destinations),
		T(test_lowest_priority),
		T(test_ipis),
		T(test_init_and_sipi),
		T(test_timer_oneshot_and_periodic),
		T(test_timer_deadline),
		T(test_x2apic_registers),
		T(test_mode_transitions),
		T(test_extint),
		T(test_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

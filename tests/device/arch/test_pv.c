/* SPDX-License-Identifier: Apache-2.0 */
/* KVM's paravirtual features: clock, steal time, PV EOI, IPIs, kick, TLB flush, CPUID. */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "arch/x86/board.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "isa/x86/x86.h"

#define AT 0x10000u

static int setup(void **state)
{
	struct fm *m = fm_new(3, MIB(1), true);

	for (unsigned i = 0; i < 3; i++)
		lapic_mmio_write(&x86_vcpu(m->v[i])->lapic, LAPIC_SVR, 0x1ff);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	fm_free(*state);
	return 0;
}

static int wrmsr(struct fm *m, unsigned cpu, uint32_t msr, uint64_t val)
{
	return m->v[cpu]->ops->write_msr(m->v[cpu], msr, val);
}

static uint64_t rdmsr(struct fm *m, unsigned cpu, uint32_t msr)
{
	uint64_t v = 0;

	assert_int_equal(m->v[cpu]->ops->read_msr(m->v[cpu], msr, &v), 0);
	return v;
}

static const uint8_t *ram(struct fm *m, uint64_t gpa)
{
	return m->vm.ram->host + gpa;
}

/* The clock as a guest reads it. */
static uint64_t guest_clock(const uint8_t *t, uint64_t tsc)
{
	uint64_t delta = tsc - ld_le64(t + 8);
	int8_t shift = (int8_t)t[28];

	delta = shift >= 0 ? delta << shift : delta >> -shift;
	return ld_le64(t + 16) + (uint64_t)((unsigned __int128)delta * ld_le32(t + 24) >> 32);
}

static void test_cpuid(void **state)
{
	struct fm *m = *state;
	uint32_t r[4] = { 0, 0, 0, BIT32(9) };

	m->v[0]->ops->cpuid(m->v[0], 0x40000001, 0, r);
	assert_int_equal(r[0], 0x01003aea);
	m->v[0]->ops->cpuid(m->v[0], 0x40000010, 0, r);
	assert_int_equal(r[0], 2000000);
	assert_int_equal(r[1], 1000000);
	r[3] = BIT32(9) | 1;
	m->v[0]->ops->cpuid(m->v[0], 1, 0, r);
	assert_int_equal(r[3], BIT32(9) | 1);
	wrmsr(m, 0, MSR_APIC_BASE, LAPIC_DEFAULT_BASE);
	m->v[0]->ops->cpuid(m->v[0], 1, 0, r);
	assert_int_equal(r[3], 1);
}

static void test_clock(void **state)
{
	struct fm *m = *state;
	struct pv_vm *pv = &x86_board(&m->vm)->pv;
	uint64_t clock;

	atomic_store(&m->v[1]->tsc_offset, 5000);
	assert_int_equal(wrmsr(m, 0, MSR_KVM_SYSTEM_TIME_NEW, AT | 1), 0);
	assert_int_equal(wrmsr(m, 1, MSR_KVM_SYSTEM_TIME_NEW, (AT + 64) | 1), 0);
	assert_int_equal(rdmsr(m, 1, MSR_KVM_SYSTEM_TIME_NEW), (AT + 64) | 1);
	assert_int_equal(ld_le32(ram(m, AT)) & 1, 0); /* version: stable */
	assert_int_not_equal(ld_le32(ram(m, AT)), 0);
	assert_int_equal(ram(m, AT)[29], 1); /* comparable between vCPUs */
	/* 2 GHz: two ticks a ns, within one in 10^6. */
	clock = guest_clock(ram(m, AT), pv->tsc0 + 2000000000ull);
	assert_in_range(clock, 999999000ull, 1000001000ull);
	/* At the same moment both read the same. */
	assert_int_equal(clock, guest_clock(ram(m, AT + 64), pv->tsc0 + 5000 + 2000000000ull));
	assert_int_equal(wrmsr(m, 0, MSR_KVM_SYSTEM_TIME_NEW, AT | 1), 0);
	assert_int_equal(ld_le32(ram(m, AT)), 4); /* a new version each time */
	/* Addresses that are no RAM do no harm; nor does switching it off. */
	assert_int_equal(wrmsr(m, 0, MSR_KVM_SYSTEM_TIME_NEW, 0xfffffffffffffff1), 0);
	assert_int_equal(wrmsr(m, 0, MSR_KVM_SYSTEM_TIME_NEW, 0), 0);
}

static void test_clock_rates(void **state)
{
	static const uint64_t khz[] = { 100000, 999999, 1000000, 1000001, 3700000, 8000000 };
	struct fm *m = *state;
	struct pv_vm *pv = &x86_board(&m->vm)->pv;

	for (unsigned i = 0; i < ARRAY_SIZE(khz); i++) {
		m->vm.tsc_khz = khz[i];
		wrmsr(m, 0, MSR_KVM_SYSTEM_TIME_NEW, AT | 1);
		assert_in_range(guest_clock(ram(m, AT), pv->tsc0 + khz[i] * 1000), 999999900ull,
				1000000100ull);
	}
}

static void test_wall_clock(void **state)
{
	struct fm *m = *state;
	uint64_t t, up = clock_now_ns() - x86_board(&m->vm)->pv.ns0;

	assert_int_equal(wrmsr(m, 0, MSR_KVM_WALL_CLOCK_NEW, AT), 0);
	assert_int_equal(rdmsr(m, 0, MSR_KVM_WALL_CLOCK_NEW), AT);
	assert_int_equal(ld_le32(ram(m, AT)), 2);
	t = ld_le32(ram(m, AT + 4)) * NS_PER_SEC + ld_le32(ram(m, AT + 8)) + up;
	assert_true(t <= clock_ns_of(CLOCK_REALTIME));
	assert_true(clock_ns_of(CLOCK_REALTIME) - t < 10 * NS_PER_SEC);
	assert_true(ld_le32(ram(m, AT + 8)) < NS_PER_SEC);
}

static void test_steal_time(void **state)
{
	struct fm *m = *state;
	uint8_t *t = (uint8_t *)(uintptr_t)ram(m, AT);

	assert_int_equal(wrmsr(m, 0, MSR_KVM_STEAL_TIME, AT | 3), -EINVAL);
	assert_int_equal(wrmsr(m, 0, MSR_KVM_STEAL_TIME, AT | 1), 0);
	assert_int_equal(rdmsr(m, 0, MSR_KVM_STEAL_TIME), AT | 1);
	assert_int_equal(ld_le32(t + 8), 2);
	m->v[0]->ops->halt(m->v[0], true);
	assert_int_equal(t[16], 1); /* preempted */
	m->v[0]->ops->halt(m->v[0], false);
	assert_int_equal(t[16], 0);
	assert_false(vcpu_events(m->v[0]) & VCPU_EV_TLB);
	/* Another vCPU leaves a flush instead of an IPI. */
	m->v[0]->ops->halt(m->v[0], true);
	t[16] |= 2;
	m->v[0]->ops->halt(m->v[0], false);
	assert_int_equal(t[16], 0);
	assert_true(vcpu_events(m->v[0]) & VCPU_EV_TLB);
	/* Off: the byte is left alone. */
	assert_int_equal(wrmsr(m, 0, MSR_KVM_STEAL_TIME, 0), 0);
	m->v[0]->ops->halt(m->v[0], true);
	assert_int_equal(t[16], 0);
	assert_int_equal(wrmsr(m, 0, MSR_KVM_STEAL_TIME, GIB(64) | 1), 0); /* no RAM there */
	m->v[0]->ops->halt(m->v[0], true);
	m->v[0]->ops->halt(m->v[0], false);
}

static void test_pv_eoi(void **state)
{
	struct fm *m = *state;
	struct lapic *l = &x86_vcpu(m->v[0])->lapic;
	uint8_t *flag = (uint8_t *)(uintptr_t)ram(m, AT);
	const struct vcpu_ops *ops = m->v[0]->ops;

	assert_int_equal(wrmsr(m, 0, MSR_KVM_PV_EOI_EN, AT | 2), -EINVAL);
	assert_int_equal(wrmsr(m, 0, MSR_KVM_PV_EOI_EN, AT | 1), 0);
	lapic_deliver(l, APIC_DM_FIXED, 0x50, false);
	assert_int_equal(ops->get_intr(m->v[0]), 0x50);
	assert_int_equal(*flag, 1);
	*flag = 0; /* the guest ends it */
	assert_int_equal(lapic_isr_top(l), 0x50);
	assert_false(ops->has_intr(m->v[0]));
	assert_int_equal(lapic_isr_top(l), -1);
	/* A second one comes before the guest has ended the first: the offer is withdrawn. */
	lapic_deliver(l, APIC_DM_FIXED, 0x50, false);
	assert_int_equal(ops->get_intr(m->v[0]), 0x50);
	lapic_deliver(l, APIC_DM_FIXED, 0x48, false);
	assert_int_equal(ops->get_intr(m->v[0]), -1);
	assert_int_equal(*flag, 0);
	assert_int_equal(lapic_isr_top(l), 0x50);
	lapic_mmio_write(l, LAPIC_EOI, 0);
	assert_true(vcpu_events(m->v[0]) & VCPU_EV_INTR);
	assert_int_equal(ops->get_intr(m->v[0]), 0x48);
	*flag = 0;
	/* Never for levels: the IOAPIC waits. Nor while another request waits. */
	lapic_deliver(l, APIC_DM_FIXED, 0x60, true);
	assert_int_equal(ops->get_intr(m->v[0]), 0x60);
	assert_int_equal(*flag, 0);
	lapic_deliver(l, APIC_DM_FIXED, 0x52, false);
	lapic_deliver(l, APIC_DM_FIXED, 0x72, false);
	assert_int_equal(ops->get_intr(m->v[0]), 0x72);
	assert_int_equal(*flag, 0);
}

static void test_hypercalls(void **state)
{
	struct fm *m = *state;
	const struct vcpu_ops *ops = m->v[0]->ops;
	uint64_t ipi[4] = { 6, 0, 0, 0x4055 }, kick[4] = { 0, 2 }, none[4] = { 0 };

	assert_int_equal(ops->hypercall(m->v[0], 10, ipi, true), 2);
	assert_int_equal(lapic_irr_top(&x86_vcpu(m->v[1])->lapic), 0x55);
	assert_int_equal(lapic_irr_top(&x86_vcpu(m->v[2])->lapic), 0x55);
	assert_int_equal(lapic_irr_top(&x86_vcpu(m->v[0])->lapic), -1);
	/* a 32-bit guest's second register goes on where the first ends */
	ipi[0] = 0;
	ipi[1] = 3;
	ipi[2] = (uint32_t)-31;
	ipi[3] = 0x4057;
	assert_int_equal(ops->hypercall(m->v[0], 10, ipi, false), 2);
	assert_int_equal(lapic_irr_top(&x86_vcpu(m->v[1])->lapic), 0x57);
	assert_int_equal(lapic_irr_top(&x86_vcpu(m->v[2])->lapic), 0x57);
	ipi[2] = 0xffffffff; /* ids that wrap or are not there */
	ipi[0] = ipi[1] = UINT64_MAX;
	ipi[3] = 0x0056;
	assert_int_equal(ops->hypercall(m->v[0], 10, ipi, true), 3); /* 0, 1, 2 by wrapping */
	ipi[2] = 0;
	ipi[3] = 0x0456; /* NMI */
	assert_int_equal(ops->hypercall(m->v[0], 10, ipi, true), 3);
	assert_true(vcpu_events(m->v[2]) & VCPU_EV_NMI);
	ipi[3] = 0x0556; /* INIT is not for this call */
	assert_int_equal((int64_t)ops->hypercall(m->v[0], 10, ipi, true), -EINVAL);
	assert_int_equal(ops->hypercall(m->v[0], 5, kick, true), 0);
	assert_true(vcpu_events(m->v[2]) & VCPU_EV_WAKE);
	kick[1] = 77;
	assert_int_equal(ops->hypercall(m->v[0], 5, kick, true), 0);
	assert_int_equal(ops->hypercall(m->v[0], 11, none, true), 0);
	assert_int_equal((int64_t)ops->hypercall(m->v[0], 12345, none, true), -1000);
}

static void test_other_msrs(void **state)
{
	struct fm *m = *state;
	uint64_t v;

	assert_int_equal(rdmsr(m, 0, MSR_KVM_POLL_CONTROL), 1);
	assert_int_equal(wrmsr(m, 0, MSR_KVM_POLL_CONTROL, 2), -EINVAL);
	assert_int_equal(wrmsr(m, 0, MSR_KVM_POLL_CONTROL, 0), 0);
	assert_int_equal(rdmsr(m, 0, MSR_KVM_POLL_CONTROL), 0);
	assert_int_equal(wrmsr(m, 0, MSR_KVM_ASYNC_PF_EN, 1), -ENOENT);
	assert_int_equal(m->v[0]->ops->read_msr(m->v[0], MSR_EFER, &v), -ENOENT);
}

/* The count goes on from what the guest's memory says, and the clock from what it was set to. */
static void test_state(void **state)
{
	struct fm *m = *state;
	struct pv_vm a = x86_board(&m->vm)->pv, b = { 0 };
	struct err e = { 0 };
	uint64_t tsc = host_tsc();
	uint32_t version;

	fm_st(m, AT, 5000000000ull, 8);
	fm_st(m, AT + 8, 7, 4); /* left odd by whoever wrote last */
	assert_int_equal(wrmsr(m, 0, MSR_KVM_STEAL_TIME, AT | 1), 0);
	assert_true(fm_ld(m, AT, 8) >= 5000000000ull);
	assert_int_equal(fm_ld(m, AT + 8, 4), 10);

	assert_int_equal(wrmsr(m, 0, MSR_KVM_SYSTEM_TIME_NEW, (AT + 64) | 1), 0);
	version = (uint32_t)fm_ld(m, AT + 64, 4);
	pv_vm_set_clock(&x86_board(&m->vm)->pv, 1000 * NS_PER_SEC, tsc, m->vm.tsc_khz);
	assert_int_equal(arch_state_push(&m->vm, &e), 0);
	assert_int_equal(fm_ld(m, AT + 64, 4), version + 2);
	assert_int_equal(fm_ld(m, AT + 64 + 8, 8), x86_board(&m->vm)->pv.tsc0);
	assert_in_range(pv_vm_clock(&x86_board(&m->vm)->pv, tsc, m->vm.tsc_khz),
			1000 * NS_PER_SEC - 1, 1000 * NS_PER_SEC + 1);
	/* Both of its beginnings are the same moment. */
	assert_in_range(clock_now_ns() - x86_board(&m->vm)->pv.ns0,
			pv_vm_clock(&x86_board(&m->vm)->pv, tsc, m->vm.tsc_khz),
			pv_vm_clock(&x86_board(&m->vm)->pv, host_tsc(), m->vm.tsc_khz) +
				100 * NS_PER_MS);
	assert_true(fm_round_trip(&pv_vm_state, &a, &b));
	assert_int_equal(b.tsc0, a.tsc0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_cpuid),	    T(test_clock),	T(test_clock_rates),
		T(test_wall_clock), T(test_steal_time), T(test_pv_eoi),
		T(test_hypercalls), T(test_other_msrs), T(test_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

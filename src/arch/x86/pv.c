/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paravirtual features with KVM's interface, which Linux, the BSDs and others use unasked:
 * kvmclock, steal time, PV EOI, PV unhalt, IPIs and TLB flushes by hypercall and shared memory,
 * poll control. Source: Linux Documentation/virt/kvm/x86/{cpuid,msr,hypercalls}.rst.
 *
 * Not offered: asynchronous page faults, the old clock MSRs, migration control.
 *
 * State: a vCPU's MSRs are part of its cpu_state, counts and versions stand in the guest's memory,
 * and what is left is pv_vm_state.
 *
 * Threads: all of a pv_vcpu is its vCPU thread's. pv_vm is set once; the wall clock MSR is a plain
 * store of any vCPU.
 *
 * Guest memory: every structure is written through the map and may lie anywhere; an address that
 * is no RAM makes the feature do nothing.
 */
#include "base/base.h"
#include "arch/x86/board.h"
#include "arch/x86/pv.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "isa/x86/x86.h"
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

/* #syscalls vcpu: pread64 */

/* CPUID 0x40000001:EAX */
#define FEATURE_NOP_IO_DELAY	   BIT32(1)
#define FEATURE_CLOCKSOURCE2	   BIT32(3)
#define FEATURE_STEAL_TIME	   BIT32(5)
#define FEATURE_PV_EOI		   BIT32(6)
#define FEATURE_PV_UNHALT	   BIT32(7)
#define FEATURE_PV_TLB_FLUSH	   BIT32(9)
#define FEATURE_PV_SEND_IPI	   BIT32(11)
#define FEATURE_POLL_CONTROL	   BIT32(12)
#define FEATURE_PV_SCHED_YIELD	   BIT32(13)
#define FEATURE_CLOCKSOURCE_STABLE BIT32(24)

#define HC_VAPIC_POLL_IRQ 1
#define HC_KICK_CPU	  5
#define HC_SEND_IPI	  10
#define HC_SCHED_YIELD	  11
#define HC_ENOSYS	  1000

#define MSR_ENABLE	   1ull
#define PVCLOCK_TSC_STABLE 1u
#define PVCLOCK_SIZE	   32u

/* struct kvm_steal_time */
#define STEAL_STEAL	0
#define STEAL_VERSION	8
#define STEAL_FLAGS	12
#define STEAL_PREEMPTED 16
#define STEAL_SIZE	64u
#define STEAL_RESERVED	0x3eull
#define VCPU_PREEMPTED	1u
#define VCPU_FLUSH_TLB	2u
#define STEAL_EVERY_NS	(20 * NS_PER_MS)

void pv_vm_init(struct pv_vm *p)
{
	struct host_moment now = host_now();

	p->tsc0 = now.tsc;
	p->ns0 = now.ns;
	p->wall_msr = 0;
}

uint64_t pv_vm_clock(const struct pv_vm *p, uint64_t tsc, uint64_t tsc_khz)
{
	return mul_div_u64(tsc - p->tsc0, 1000000, tsc_khz);
}

void pv_vm_set_clock(struct pv_vm *p, uint64_t ns, uint64_t tsc, uint64_t tsc_khz)
{
	struct host_moment now = host_now();

	p->tsc0 = tsc - mul_div_u64(ns, tsc_khz, 1000000);
	p->ns0 = now.ns - pv_vm_clock(p, now.tsc, tsc_khz);
}

void pv_vcpu_init(struct pv_vcpu *p)
{
	p->schedstat_fd = -1;
	pv_vcpu_reset(p);
}

void pv_vcpu_fini(struct pv_vcpu *p)
{
	if (p->schedstat_fd >= 0)
		close(p->schedstat_fd);
	p->schedstat_fd = -1;
}

void pv_vcpu_reset(struct pv_vcpu *p)
{
	p->system_time_msr = 0;
	p->steal_msr = 0;
	p->eoi_msr = 0;
	p->poll_control = 1;
	p->steal_seen_ns = 0;
	p->steal_next_ns = 0;
	p->eoi_pending = false;
}

void pv_cpuid(uint32_t r[4])
{
	r[0] = FEATURE_NOP_IO_DELAY | FEATURE_CLOCKSOURCE2 | FEATURE_STEAL_TIME | FEATURE_PV_EOI |
	       FEATURE_PV_UNHALT | FEATURE_PV_TLB_FLUSH | FEATURE_PV_SEND_IPI |
	       FEATURE_POLL_CONTROL | FEATURE_PV_SCHED_YIELD | FEATURE_CLOCKSOURCE_STABLE;
	r[1] = 0;
	r[2] = 0;
	r[3] = 0;
}

/* ns = (ticks << shift) * mul >> 32, for a clock of khz. */
static void pvclock_scale(uint64_t khz, uint32_t *mul, int8_t *shift)
{
	uint64_t hz = khz * 1000, base = NS_PER_SEC;
	int s = 0;

	while (hz > base * 2) {
		hz >>= 1;
		s--;
	}
	while (hz <= base) {
		hz <<= 1;
		s++;
	}
	/* Now base <= hz / 1 < 2 base: the fraction fits 32 bits. */
	*mul = (uint32_t)(((unsigned __int128)base << 32) / hz);
	*shift = (int8_t)s;
}

/*
 * The clock of all vCPUs runs from one pair (TSC, ns) at one rate, so that their readings can be
 * compared without care (the stable bit).
 */
static void write_pvclock(struct vcpu *v, uint64_t gpa)
{
	struct x86_board *b = x86_board(v->vm);
	struct map *map = v->vm->map;
	uint8_t t[PVCLOCK_SIZE] = { 0 };
	uint32_t mul, version;
	int8_t shift;

	pvclock_scale(v->vm->tsc_khz, &mul, &shift);
	/* Odd while it changes. */
	if (mem_read(map, gpa, t, 4))
		return;
	version = (ld_le32(t) + 1) | 1;
	st_le32(t, version);
	if (mem_write(map, gpa, t, 4))
		return;
	st_le64(t + 8, b->pv.tsc0 + atomic_load(&v->tsc_offset));
	st_le64(t + 16, 0);
	st_le32(t + 24, mul);
	t[28] = (uint8_t)shift;
	t[29] = PVCLOCK_TSC_STABLE;
	if (mem_write(map, gpa + 4, t + 4, PVCLOCK_SIZE - 4))
		return;
	atomic_thread_fence(memory_order_release);
	st_le32(t, version + 1);
	if (mem_write(map, gpa, t, 4))
		return;
}

/* struct pvclock_wall_clock: the time of day when the system time was zero. */
static void write_wall_clock(struct vcpu *v, uint64_t gpa)
{
	struct x86_board *b = x86_board(v->vm);
	uint64_t wall = clock_ns_of(CLOCK_REALTIME) - (clock_now_ns() - b->pv.ns0);
	uint8_t t[12] = { 0 };
	uint32_t version;

	if (mem_read(v->vm->map, gpa, t, 4))
		return;
	version = (ld_le32(t) + 1) | 1;
	st_le32(t, version);
	if (mem_write(v->vm->map, gpa, t, 4))
		return;
	st_le32(t + 4, (uint32_t)(wall / NS_PER_SEC));
	st_le32(t + 8, (uint32_t)(wall % NS_PER_SEC));
	if (mem_write(v->vm->map, gpa + 4, t + 4, 8))
		return;
	st_le32(t, version + 1);
	if (mem_write(v->vm->map, gpa, t, 4))
		return;
}

/* ---- steal time ---- */

void pv_thread_start(struct pv_vcpu *p)
{
	p->schedstat_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
}

/* How long this thread was runnable and did not run: second field of schedstat. */
static uint64_t host_run_delay(struct pv_vcpu *p)
{
	char buf[96];
	ssize_t n;
	char *at;

	if (p->schedstat_fd < 0)
		return 0; /* not there: steal time stays zero */
	n = pread(p->schedstat_fd, buf, sizeof(buf) - 1, 0);
	if (n <= 0)
		return 0;
	buf[n] = 0;
	at = strchr(buf, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}

/* The guest's preempted byte in place, for atomic exchange; NULL when it is no RAM. */
static uint8_t *preempted_byte(struct vcpu *v)
{
	struct pv_vcpu *p = &x86_vcpu(v)->pv;
	uint64_t run;

	if (!(p->steal_msr & MSR_ENABLE))
		return NULL;
	return mem_view(v->vm->map, (p->steal_msr & ~63ull) + STEAL_PREEMPTED, 1, true, &run);
}

static void steal_update(struct vcpu *v)
{
	struct pv_vcpu *p = &x86_vcpu(v)->pv;
	uint64_t gpa = p->steal_msr & ~63ull, seen = host_run_delay(p);
	uint64_t more = seen > p->steal_seen_ns ? seen - p->steal_seen_ns : 0;
	uint8_t t[16] = { 0 };
	uint32_t version;

	p->steal_seen_ns = seen;
	/* The count is kept in the guest's memory, so that whoever runs the guest next goes on. */
	if (mem_read(v->vm->map, gpa, t, sizeof(t)))
		return;
	version = (ld_le32(t + STEAL_VERSION) + 1) | 1;
	st_le32(t + STEAL_VERSION, version);
	if (mem_write(v->vm->map, gpa + STEAL_VERSION, t + STEAL_VERSION, 4))
		return;
	st_le64(t, ld_le64(t) + more);
	if (mem_write(v->vm->map, gpa + STEAL_STEAL, t, 8))
		return;
	st_le32(t + STEAL_VERSION, version + 1);
	if (mem_write(v->vm->map, gpa + STEAL_VERSION, t + STEAL_VERSION, 4))
		return;
}

void pv_steal_poll(struct vcpu *v)
{
	struct pv_vcpu *p = &x86_vcpu(v)->pv;
	uint64_t now;

	if (!(p->steal_msr & MSR_ENABLE))
		return;
	now = clock_now_ns();
	if (now < p->steal_next_ns)
		return;
	p->steal_next_ns = now + STEAL_EVERY_NS;
	steal_update(v);
}

/*
 * While a vCPU sleeps, others may leave a TLB flush in its preempted byte instead of an IPI. They
 * do it by compare and exchange with PREEMPTED set, so the exchange here loses none.
 */
void pv_halt(struct vcpu *v, bool asleep)
{
	uint8_t *byte = preempted_byte(v), was;

	if (!byte)
		return;
	was = __atomic_exchange_n(byte, asleep ? VCPU_PREEMPTED : 0, __ATOMIC_SEQ_CST);
	mem_wrote(v->vm->map, (x86_vcpu(v)->pv.steal_msr & ~63ull) + STEAL_PREEMPTED, 1);
	if (!asleep) {
		if (was & VCPU_FLUSH_TLB)
			vcpu_kick(v, VCPU_EV_TLB);
		pv_steal_poll(v);
	}
}

static int write_steal_msr(struct vcpu *v, uint64_t val)
{
	struct pv_vcpu *p = &x86_vcpu(v)->pv;

	if (val & STEAL_RESERVED)
		return -EINVAL;
	p->steal_msr = val;
	if (!(val & MSR_ENABLE))
		return 0;
	p->steal_seen_ns = host_run_delay(p);
	p->steal_next_ns = 0;
	pv_steal_poll(v);
	return 0;
}

/* ---- PV EOI ---- */

void pv_eoi_sync(struct vcpu *v)
{
	struct x86_vcpu *x = x86_vcpu(v);
	uint64_t gpa = x->pv.eoi_msr & ~3ull;
	uint8_t flag;

	if (likely(!x->pv.eoi_pending))
		return;
	x->pv.eoi_pending = false;
	if (mem_read(v->vm->map, gpa, &flag, 1))
		return;
	if (!(flag & 1)) {
		lapic_eoi(&x->lapic);
		return;
	}
	/* Still in service: from now on the guest has to tell us. */
	flag &= (uint8_t)~1u;
	if (mem_write(v->vm->map, gpa, &flag, 1))
		return;
}

void pv_eoi_offer(struct vcpu *v, int vector)
{
	struct x86_vcpu *x = x86_vcpu(v);
	uint64_t gpa = x->pv.eoi_msr & ~3ull;
	uint8_t flag;

	/* Only when nothing else waits for this EOI: no request, and no IOAPIC. */
	if (!(x->pv.eoi_msr & MSR_ENABLE) || lapic_isr_top(&x->lapic) != vector ||
	    lapic_irr_top(&x->lapic) >= 0 || lapic_vector_is_level(&x->lapic, (unsigned)vector))
		return;
	if (mem_read(v->vm->map, gpa, &flag, 1))
		return;
	flag |= 1;
	if (mem_write(v->vm->map, gpa, &flag, 1))
		return;
	x->pv.eoi_pending = true;
}

/* ---- MSRs and hypercalls ---- */

int pv_msr_read(struct vcpu *v, uint32_t msr, uint64_t *val)
{
	struct pv_vcpu *p = &x86_vcpu(v)->pv;

	switch (msr) {
	case MSR_KVM_WALL_CLOCK_NEW:
		*val = x86_board(v->vm)->pv.wall_msr;
		return 0;
	case MSR_KVM_SYSTEM_TIME_NEW:
		*val = p->system_time_msr;
		return 0;
	case MSR_KVM_STEAL_TIME:
		*val = p->steal_msr;
		return 0;
	case MSR_KVM_PV_EOI_EN:
		*val = p->eoi_msr;
		return 0;
	case MSR_KVM_POLL_CONTROL:
		*val = p->poll_control;
		return 0;
	default:
		return -ENOENT;
	}
}

int pv_msr_write(struct vcpu *v, uint32_t msr, uint64_t val)
{
	struct pv_vcpu *p = &x86_vcpu(v)->pv;

	switch (msr) {
	case MSR_KVM_WALL_CLOCK_NEW:
		__atomic_store_n(&x86_board(v->vm)->pv.wall_msr, val, __ATOMIC_RELAXED);
		write_wall_clock(v, val);
		return 0;
	case MSR_KVM_SYSTEM_TIME_NEW:
		p->system_time_msr = val;
		if (val & MSR_ENABLE)
			write_pvclock(v, val & ~MSR_ENABLE);
		return 0;
	case MSR_KVM_STEAL_TIME:
		return write_steal_msr(v, val);
	case MSR_KVM_PV_EOI_EN:
		if (val & 2)
			return -EINVAL;
		pv_eoi_sync(v);
		p->eoi_msr = val;
		return 0;
	case MSR_KVM_POLL_CONTROL:
		if (val & ~1ull)
			return -EINVAL;
		p->poll_control = val;
		return 0;
	default:
		return -ENOENT;
	}
}

/* Two registers of destinations above the lowest id: 128 bits, or 64 of a 32-bit guest. */
static uint64_t send_ipi(struct vcpu *v, const uint64_t arg[4], bool wide)
{
	struct apic_bus *bus = &x86_board(v->vm)->bus;
	uint32_t icr = (uint32_t)arg[3];
	unsigned mode = icr >> 8 & 7, bits = wide ? 64 : 32;
	uint64_t n = 0;

	/* Fixed vectors and NMIs to physical destinations only. */
	if ((mode != APIC_DM_FIXED && mode != APIC_DM_NMI) || (icr & 0xc0000))
		return (uint64_t)-EINVAL;
	for (unsigned i = 0; i < 2 * bits; i++) {
		struct lapic *l;

		if (!(arg[i / bits] >> (i % bits) & 1))
			continue;
		l = apic_bus_find(bus, (uint32_t)arg[2] + i);
		if (l)
			n += lapic_deliver(l, mode, icr & 0xff, false);
	}
	return n;
}

uint64_t pv_hypercall(struct vcpu *v, uint64_t nr, const uint64_t arg[4], bool wide)
{
	struct lapic *l;

	switch (nr) {
	case HC_VAPIC_POLL_IRQ:
		return 0;
	case HC_KICK_CPU:
		l = apic_bus_find(&x86_board(v->vm)->bus, (uint32_t)arg[1]);
		if (l)
			vcpu_kick(l->vcpu, VCPU_EV_WAKE);
		return 0;
	case HC_SEND_IPI:
		return send_ipi(v, arg, wide);
	case HC_SCHED_YIELD:
		sched_yield();
		return 0;
	default:
		return (uint64_t)-HC_ENOSYS;
	}
}

void pv_resume(struct vcpu *v)
{
	struct pv_vcpu *p = &x86_vcpu(v)->pv;

	if (p->system_time_msr & MSR_ENABLE)
		write_pvclock(v, p->system_time_msr & ~MSR_ENABLE);
}

#define S struct pv_vm
const struct state_desc pv_vm_state = {
	.name = "pv-vm",
	.struct_name = "pv_vm",
	.version = 1,
	.fields = (const struct state_field[]){ ST_TSC(S, tsc0), ST_NS(S, ns0), ST_U64(S, wall_msr),
						ST_END },
};
#undef S

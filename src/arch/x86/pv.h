/* SPDX-License-Identifier: Apache-2.0 */
/* The paravirtual features of a KVM guest. See pv.c. */
#ifndef ARCH_X86_PV_H
#define ARCH_X86_PV_H

#include "base/base.h"
#include "core/state.h"
#include "core/vcpu.h"

struct lapic;
struct x86_board;

/* Master pair of host times that every vCPU's clock starts from, so that all agree. */
struct pv_vm {
	uint64_t tsc0; /* host TSC */
	uint64_t ns0;  /* CLOCK_MONOTONIC, guest nanosecond 0 */
	uint64_t wall_msr;
};

struct pv_vcpu {
	uint64_t system_time_msr, steal_msr, eoi_msr, poll_control;
	uint64_t steal_seen_ns; /* what the host's counter stood at */
	uint64_t steal_next_ns; /* when to look again */
	bool eoi_pending;	/* the guest may end the interrupt by clearing its flag */
	int schedstat_fd;	/* -1 = not open */
};

extern const struct state_desc pv_vm_state;

void pv_vm_init(struct pv_vm *);
/* The guests' clock reads ns where the host's TSC reads tsc. */
uint64_t pv_vm_clock(const struct pv_vm *, uint64_t tsc, uint64_t tsc_khz);
void pv_vm_set_clock(struct pv_vm *, uint64_t ns, uint64_t tsc, uint64_t tsc_khz);
void pv_vcpu_init(struct pv_vcpu *);
void pv_vcpu_fini(struct pv_vcpu *);
void pv_vcpu_reset(struct pv_vcpu *);
/* On the vCPU's thread, once, before it is confined: opens the host's account of it. */
void pv_thread_start(struct pv_vcpu *);

/* CPUID 0x40000001. */
void pv_cpuid(uint32_t r[4]);
/* 0, -EINVAL (#GP), -ENOENT (not ours). Owner thread, as all below. */
int pv_msr_read(struct vcpu *, uint32_t msr, uint64_t *val);
int pv_msr_write(struct vcpu *, uint32_t msr, uint64_t val);
uint64_t pv_hypercall(struct vcpu *, uint64_t nr, const uint64_t arg[4], bool wide);
void pv_halt(struct vcpu *, bool asleep);
/* Brings steal time up to date when it is due. */
void pv_steal_poll(struct vcpu *);
/* The clock was set: what the guest looks at is written anew. At a stand. */
void pv_resume(struct vcpu *);
/* PV EOI: take in what the guest did; offer it for the interrupt that is delivered now. */
void pv_eoi_sync(struct vcpu *);
void pv_eoi_offer(struct vcpu *, int vector);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM engine's own structures. One file a job: kvm.c (life cycle), kvm_mem.c (memory slots),
 * kvm_irqchip.c and kvm_chips.c (its interrupt controllers and their state), kvm_cpuid.c (what
 * guests are told), kvm_run.c (the loop around KVM_RUN and its exits), kvm_state.c and kvm_msr.c
 * (state in and out). Source of every interface: Linux Documentation/virt/kvm/api.rst.
 */
#ifndef KVM_INT_H
#define KVM_INT_H

#include "accel/accel.h"
#include "base/log.h"
#include "core/vm.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/cpuid.h"
#include "mem/map.h"
#include <linux/kvm.h>

#define KVM_MAX_CPUID 256

/* A memory slot as KVM knows it; free when size is 0. */
struct kvm_slot {
	uint64_t gpa, size;
	const uint8_t *host;
	struct ram_block *rb; /* that host lies in */
	bool read_only;
	bool bound; /* KVM takes the pages from a guest_memfd, and not through host */
};

/* A write that KVM turns into a signal; see struct map_doorbell. */
struct kvm_bell {
	enum map_space space;
	uint64_t addr, val;
	uint32_t size;
	bool match;
	int fd;
};

/* What a GSI is sent as; those of eventfds have one. */
struct kvm_route {
	bool used;
	int fd;
	struct msi msi;
	char user[48];
};

struct kvm_vm {
	struct vm *vm;
	int sys_fd, fd;
	size_t run_size; /* bytes of a vCPU's shared page */
	struct x86_cpu_model model;
	struct kvm_cpuid2 *supported; /* the most that CPUID may say */
	struct x86_cpu_source source; /* the same, for CPU models */
	size_t xsave_size;
	bool irqchip; /* interrupt controllers are KVM's */
	bool split;   /* no others than local APICs */
	pthread_mutex_t routes_lock;
	struct kvm_route *routes; /* by GSI */
	unsigned nr_routes;
	bool has_tsc_offset, has_sregs2;
	/* A vCPU has run, or state was loaded: controllers and clock are not as KVM made them. */
	_Atomic bool begun;
	/*
	 * Slots that change in a way that guests could see half done: everybody stays out of the
	 * guest. holding is set under the lock, and looked at behind a store to in_guest.
	 */
	pthread_mutex_t hold_lock;
	pthread_cond_t hold_changed;
	_Atomic bool holding;
	/* memory slots, changed by the thread that commits a view */
	struct map_listener listener;
	pthread_mutex_t slots_lock; /* guards what follows; a leaf but for hold_lock */
	bool smm_memory;	    /* system management mode has the slots too */
	struct kvm_slot *slots;
	unsigned nr_slots, max_slots; /* the latter 0 until it is asked for */
	bool has_memfd;		      /* there is memory of a guest_memfd */
	/* dirty pages: kvm_dirty.c */
	bool logging;	   /* slots say that KVM logs */
	bool clears_bits;  /* what was read of a bitmap is protected when we say so */
	uint32_t ring_len; /* entries of a vCPU's ring; 0: bitmaps */
	struct kvm_bell *bells;
	unsigned nr_bells;
};

struct kvm_vcpu {
	struct vcpu *vcpu;
	struct kvm_vm *kv;
	int fd;
	int stats_fd; /* -1: nobody has asked, or this host's KVM keeps none */
	struct kvm_run *run;
	bool touched;  /* KVM's state is not as it made it; till then the vCPU is in its power-on
			  state */
	bool told_smm; /* KVM was given a state with system management mode or interrupt in it */
	enum x86_mp_state mp_state; /* with the board's interrupt controllers, halting is ours */
	pthread_t thread;	    /* that runs it; set before in_guest */
	_Atomic uint32_t in_guest;  /* somebody who kicks has to interrupt KVM_RUN */
	bool completing;  /* an access that left the guest is finished by the next entry */
	bool tried_again; /* after an event that KVM could not deliver, since the last other exit */
	/* the timer that ends KVM_RUN when the board's is due; made on the vCPU's thread */
	int timer_id;
	bool has_timer;
	uint64_t timer_ns; /* what it is set to; UINT64_MAX = off */
	void *xsave;	   /* kv->xsave_size bytes */
	struct log_limit smi_log, msr_log;
	struct kvm_dirty_gfn *ring; /* kv->ring_len entries, or NULL */
	uint32_t ring_at;	    /* the next that we look at */
	/* the last KVM_RUN: when it came back, and how long it took (0: cut short), in TSC cycles */
	uint64_t left, trip;
};

/* kvm_dirty.c */
int kvm_dirty_init(struct kvm_vm *, struct err *e) MUST_CHECK; /* before the vCPUs */
int kvm_dirty_vcpu_init(struct kvm_vcpu *, struct err *e) MUST_CHECK;
void kvm_dirty_vcpu_fini(struct kvm_vcpu *);
int kvm_dirty_start(struct vm *, struct err *e) MUST_CHECK;
int kvm_dirty_sync(struct vm *, struct ram_block *, struct err *e) MUST_CHECK;
void kvm_dirty_stop(struct vm *);
/* With slots_lock: of a slot that KVM has just forgotten. */
void kvm_dirty_slot_gone(struct kvm_vm *, const struct kvm_slot *);
/* On a vCPU's thread: its ring is full. */
void kvm_dirty_ring_full(struct kvm_vm *);

/* kvm_stats.c */
struct stats;
int kvm_stats(struct vm *, struct vcpu *, struct stats *, struct err *e) MUST_CHECK;

static inline struct kvm_vcpu *kvm_vcpu(struct vcpu *v)
{
	return v->engine;
}

/* ioctl(2) with a pointer, a number or nothing; 0 or more, or -errno. */
int kvm_ioctl(int fd, unsigned long request, const void *arg);
/* Whether the VM has a capability, and how much of it; 0 = no. */
int kvm_cap(const struct kvm_vm *, unsigned cap);

/* kvm_mem.c */
/* Control thread: all slots anew, with logging or without. */
int kvm_slots_set_logging(struct kvm_vm *, bool on);
int kvm_memory_fd(struct vm *, uint64_t size, struct err *e);
int kvm_mem_init(struct kvm_vm *, struct err *e) MUST_CHECK;
void kvm_mem_fini(struct kvm_vm *);
/* A vCPU is to enter system management mode: it has memory there. Any thread. */
int kvm_mem_smm(struct kvm_vm *);

/* kvm_event.c */
/* On the thread that commits, under slots_lock. */
void kvm_doorbells_follow(struct kvm_vm *, const struct map_view *);

/* kvm_irqchip.c */
int kvm_irqchip_init(struct kvm_vm *, struct err *e) MUST_CHECK; /* before the vCPUs */
/* KVM's own controllers: the vCPU's next HLT, or this one, ends at once. */
void kvm_pv_wake(struct vcpu *);
int kvm_get_mp_state_of(struct kvm_vcpu *, struct cpu_state *);
int kvm_set_mp_state_of(struct kvm_vcpu *, const struct cpu_state *, struct err *e) MUST_CHECK;

/* kvm_chips.c */
int kvm_chips_get(struct vm *, struct x86_chips *);
int kvm_chips_set(struct vm *, const struct x86_chips *, struct err *e) MUST_CHECK;
void kvm_chips_set_elcr(struct vm *, uint16_t levels);
int kvm_lapic_get(struct vcpu *, struct x86_lapic_regs *);
int kvm_lapic_set(struct vcpu *, const struct x86_lapic_regs *, struct err *e) MUST_CHECK;
void kvm_irqchip_reset(struct vm *);
int kvm_get_clock(struct vm *, uint64_t *ns, uint64_t *tsc);
int kvm_set_clock(struct vm *, uint64_t ns, uint64_t tsc, struct err *e) MUST_CHECK;
void kvm_hold_time(struct vm *, uint64_t ns, uint64_t tsc);

/* kvm_cpuid.c */
int kvm_cpuid_init(struct kvm_vm *, const char *model, struct err *e) MUST_CHECK;
const struct x86_cpu_model *kvm_cpuid_model(const struct vm *, const struct x86_cpu_source **src);
int kvm_cpuid_vcpu(struct kvm_vcpu *, struct err *e) MUST_CHECK;
void kvm_cpuid_leaf(struct vcpu *, uint32_t leaf, uint32_t subleaf, uint32_t r[4]);
bool kvm_has_pv_unhalt(struct vcpu *); /* guests may wake each other out of HLT */

/* kvm_run.c */
enum vcpu_exit kvm_run_guest(struct vcpu *);
void kvm_kick(struct vcpu *);
/* Any thread but one that runs the guest: no vCPU executes until kvm_release(). */
void kvm_hold(struct kvm_vm *);
void kvm_release(struct kvm_vm *);
/* Once a process: the signal that ends KVM_RUN does nothing else. */
int kvm_kick_init(struct err *e) MUST_CHECK;
void kvm_run_fini(struct kvm_vcpu *);

/* kvm_state.c */
int kvm_get_state(struct vcpu *, struct cpu_state *);
int kvm_set_state(struct vcpu *, const struct cpu_state *, struct err *e);
int kvm_get_extra(struct vcpu *, void *buf, size_t cap);
int kvm_set_extra(struct vcpu *, const void *buf, size_t len, struct err *e);
/* The same without vcpu->events, in which others may set bits: for the vCPU's own thread. */
int kvm_read_state(struct vcpu *, struct cpu_state *);
int kvm_write_state(struct vcpu *, const struct cpu_state *, struct err *e) MUST_CHECK;
/* The state of a machine that has just been switched on. */
void kvm_power_on(struct vcpu *, struct cpu_state *);
/* request: KVM_GET_DEVICE_ATTR or KVM_SET_DEVICE_ATTR. *offset is kept where KVM has none to give. */
int kvm_tsc_offset(struct kvm_vcpu *, unsigned long request, uint64_t *offset);

/* kvm_msr.c */
struct x86_mce;
int kvm_inject_mce(struct vcpu *, const struct x86_mce *);
int kvm_msr_filter(struct kvm_vm *, struct err *e) MUST_CHECK; /* behind the irqchip */
int kvm_msr_vcpu(struct kvm_vcpu *, struct err *e) MUST_CHECK;
/* What KVM leaves to us of the access in run->msr: whether it is done, else it is #GP. */
bool kvm_msr_exit(struct kvm_vcpu *, bool write, uint64_t *val);
int kvm_msrs_get(struct kvm_vcpu *, struct cpu_state *);
/* Power-on: KVM stops writing paravirtual clocks and counters to the guest's memory. */
void kvm_msrs_reset(struct kvm_vcpu *);
/* Into *s, which is to be set: what KVM does not let change any more (Linux 6.14 on). */
void kvm_msrs_keep(struct kvm_vcpu *, struct cpu_state *s);
int kvm_msrs_set(struct kvm_vcpu *, const struct cpu_state *, struct err *e) MUST_CHECK;

#endif

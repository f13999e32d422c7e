/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual CPU: a host thread that runs the engine, a word of pending events that any thread may
 * set, and the hooks through which an engine reaches the board's processor-side hardware (local
 * APIC, paravirtual features) when the engine has none of its own.
 */
#ifndef CORE_VCPU_H
#define CORE_VCPU_H

#include "base/base.h"
#include "base/qsbr.h"
#include "core/exits.h"
#include <pthread.h>

struct vm;
struct vcpu;

/* Bits of vcpu->events. An engine looks at the word between guest instructions. */
#define VCPU_EV_REQ    BIT32(0) /* leave the engine: pause, exit, reset (run returns VCPU_EXIT_INTR) */
#define VCPU_EV_INTR   BIT32(1) /* ask ops->get_intr() when the guest takes interrupts */
#define VCPU_EV_NMI    BIT32(2)
#define VCPU_EV_SMI    BIT32(3)
#define VCPU_EV_INIT   BIT32(4)
#define VCPU_EV_SIPI   BIT32(5) /* vector in vcpu->sipi_vector */
#define VCPU_EV_TLB    BIT32(6) /* drop every cached translation (map change, PV flush) */
#define VCPU_EV_WAKE   BIT32(7) /* end a halt, or the next one, without an interrupt (PV unhalt) */
#define VCPU_EV_ENGINE BIT32(8) /* the engine's own: one vCPU wants another one's attention */

/* Why an engine's run() came back. */
enum vcpu_exit {
	VCPU_EXIT_INTR,	    /* VCPU_EV_REQ was set */
	VCPU_EXIT_SHUTDOWN, /* triple fault */
	VCPU_EXIT_DEBUG,
	VCPU_EXIT_FAIL, /* the engine cannot go on; vcpu->fail says why */
};

/*
 * What the board does for an engine that models the CPU core only. All run on the vCPU's thread.
 * MSR and CPUID hooks return -ENOENT for what is not theirs, -EINVAL for #GP.
 */
struct vcpu_ops {
	/* Its thread has begun and is not confined yet: opens what it reads later. Optional. */
	void (*thread_start)(struct vcpu *);
	/* Acknowledges and returns the vector to deliver now, or -1. Re-raises VCPU_EV_INTR when
	 * more is pending. */
	int (*get_intr)(struct vcpu *);
	/* Whether get_intr() would return one. */
	bool (*has_intr)(struct vcpu *);
	/* The guest ended a level-triggered interrupt in a local APIC that is the engine's. */
	void (*eoi)(struct vcpu *, unsigned vector);
	/* vcpu->deadline_ns has passed; core has set it to UINT64_MAX. */
	void (*timer)(struct vcpu *);
	uint64_t (*get_tpr)(struct vcpu *); /* CR8: 0..15 */
	void (*set_tpr)(struct vcpu *, uint64_t tpr);
	int (*read_msr)(struct vcpu *, uint32_t msr, uint64_t *val);
	int (*write_msr)(struct vcpu *, uint32_t msr, uint64_t val);
	/* VMCALL/VMMCALL at CPL 0, wide: in 64-bit code. Returns what the guest gets in RAX. */
	uint64_t (*hypercall)(struct vcpu *, uint64_t nr, const uint64_t arg[4], bool wide);
	/* Adjusts what the CPU model says (APIC id, x2APIC bit, PV leaves). */
	void (*cpuid)(struct vcpu *, uint32_t leaf, uint32_t subleaf, uint32_t r[4]);
	/* The engine is about to sleep in HLT / has woken (steal time, PV state). */
	void (*halt)(struct vcpu *, bool asleep);
};

enum vcpu_run_state { VCPU_STOPPED, VCPU_RUNNING };

struct vcpu {
	struct vm *vm;
	unsigned index;
	uint32_t apic_id;
	_Atomic uint32_t events;
	_Atomic uint32_t sipi_vector;
	_Atomic uint64_t deadline_ns; /* CLOCK_MONOTONIC for ops->timer; UINT64_MAX = none */
	/* Guest TSC = host TSC + this. The engine keeps it (IA32_TSC and TSC_ADJUST writes). */
	_Atomic uint64_t tsc_offset;
	const struct vcpu_ops *ops;
	void *ops_opaque;
	void *engine; /* the engine's own struct */
	char fail[512];
	/*
	 * The engine's: this thread is where a SIGBUS is the guest's, and not ours. If one comes,
	 * lost is the host address, with bit 0 set, for vcpu_memory_lost() (core/memory_lost.h).
	 */
	_Atomic bool guest_faults;
	_Atomic uintptr_t lost;
	struct exits exits; /* written by this vCPU's thread */
	/* core's */
	pthread_t thread;
	bool has_thread;
	pid_t tid;		   /* see vcpu_tid() */
	_Atomic uint32_t sleeping; /* futex word */
	pthread_mutex_t lock;	   /* leaf: guards what follows */
	pthread_cond_t changed;
	enum vcpu_run_state want, state;
	bool quit;
	void (*job)(struct vcpu *, void *); /* vm_run_on() */
	void *job_arg;
	struct qsbr_reader reader; /* of vm->map */
};

/* The vCPU whose thread this is, or NULL. */
struct vcpu *vcpu_current(void);

/* Sets events and makes the engine notice within microseconds; wakes a halted vCPU. Any thread. */
void vcpu_kick(struct vcpu *, uint32_t events);

static inline uint32_t vcpu_events(const struct vcpu *v)
{
	return atomic_load_explicit(&v->events, memory_order_acquire);
}

static inline void vcpu_clear(struct vcpu *v, uint32_t events)
{
	atomic_fetch_and_explicit(&v->events, ~events, memory_order_acq_rel);
}

/*
 * For engines, on the vCPU's thread: sleeps until an event of mask is pending or deadline_ns has
 * passed, and runs ops->timer when it has. The thread holds no view of the map afterwards.
 */
void vcpu_wait(struct vcpu *, uint32_t mask);
/* The same, but until then at the latest (clock_now_ns()): false when that is why it came back. */
bool vcpu_wait_until(struct vcpu *, uint32_t mask, uint64_t until_ns);
/* For engines, now and then while running: the timer hook if due, and a quiescent point. */
void vcpu_poll(struct vcpu *);

/* For core/vm.c, on the control thread. */
struct vcpu *vcpu_new(struct vm *, unsigned index, struct err *e);
struct vcpu *vcpu_free(struct vcpu *); /* ends the thread; returns NULL */
void vcpu_end_thread(struct vcpu *);
int vcpu_start_thread(struct vcpu *, struct err *e); /* it stands still at first */
/* The id of its thread for the host; 0: it has none. Waits for a thread that is just beginning. */
pid_t vcpu_tid(struct vcpu *);
void vcpu_want(struct vcpu *, enum vcpu_run_state); /* any thread; does not wait */
void vcpu_wait_stopped(struct vcpu *);

#endif

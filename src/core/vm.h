/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine: its parts and its life cycle.
 *
 * The control thread (the one in vm_run()) owns everything here but what says "any thread".
 * vCPU threads run the engine; they are started by vm_start() and paused by vm_pause().
 */
#ifndef CORE_VM_H
#define CORE_VM_H

#include "base/base.h"
#include "base/log.h"
#include "core/conf.h"
#include "core/irq.h"
#include "core/vcpu.h"
#include "loop/loop.h"
#include "mem/map.h"

struct accel_irqchip;
struct accel_ops;
struct dump;
struct lease;
struct memory_lost;
struct migr;
struct pci_bus;
struct virtio_mmio_bus;
struct backend;
struct dev;

/*
 * QEMU's run states. In VM_RUNNING the guest runs (but for moments of vm_pause()); in all others
 * it stands still, and the state says why.
 */
enum vm_state {
	VM_PRELAUNCH, /* never ran, or reset while it stood still */
	VM_INMIGRATE, /* waits for a saved machine */
	VM_RUNNING,
	VM_PAUSED, /* the user's stop */
	VM_DEBUG,
	VM_SHUTDOWN, /* the guest switched itself off, or the VM has ended */
	VM_GUEST_PANICKED,
	VM_INTERNAL_ERROR, /* of the CPU engine */
	VM_IO_ERROR,
	VM_SAVE_VM,
	VM_RESTORE_VM,
	VM_FINISH_MIGRATE, /* the last part of a save */
	VM_POSTMIGRATE,	   /* saved: it goes on elsewhere */
	VM_SUSPENDED,
	VM_WATCHDOG,
};
#define VM_NR_STATES 15

/* Why the guest stops; in QEMU's words for events and logs. */
enum vm_cause {
	VM_CAUSE_NONE,
	VM_CAUSE_HOST_QUIT,  /* the user asked hanok to end */
	VM_CAUSE_HOST_RESET, /* the user asked for a reset */
	VM_CAUSE_HOST_SIGNAL,
	VM_CAUSE_GUEST_SHUTDOWN, /* S5 */
	VM_CAUSE_GUEST_RESET,	 /* reset port, PSCI, ... */
	VM_CAUSE_GUEST_PANIC,	 /* pvpanic */
	VM_CAUSE_TRIPLE_FAULT,
	VM_CAUSE_ENGINE_FAILURE,
	VM_CAUSE_DEBUG_EXIT, /* isa-debug-exit: exit code in vm->exit_code */
};

/* What to do when something happens to the guest: -action, -no-reboot, -no-shutdown, set-action. */
enum vm_reboot_action { REBOOT_RESET, REBOOT_SHUTDOWN };
enum vm_shutdown_action { SHUTDOWN_POWEROFF, SHUTDOWN_PAUSE };
enum vm_panic_action { PANIC_PAUSE, PANIC_SHUTDOWN, PANIC_EXIT_FAILURE, PANIC_NONE };
enum vm_watchdog_action {
	WATCHDOG_RESET,
	WATCHDOG_SHUTDOWN, /* asks the guest, as the power button does */
	WATCHDOG_POWEROFF,
	WATCHDOG_PAUSE,
	WATCHDOG_DEBUG, /* only tells */
	WATCHDOG_NONE,
	WATCHDOG_INJECT_NMI,
};

struct vm_actions {
	enum vm_reboot_action reboot;
	enum vm_shutdown_action shutdown;
	enum vm_panic_action panic;
	enum vm_watchdog_action watchdog;
};

/* Called on the control thread at a machine reset, in order of registration. */
struct vm_reset_hook {
	void (*fn)(struct vm_reset_hook *);
	struct vm_reset_hook *next;
};

struct vm {
	struct vm_conf *conf; /* owned */
	bool bare;	      /* machine "none": no RAM, no CPUs, no board; only to be asked */
	struct loop *loop;    /* owned: the control loop */
	struct map *map;
	struct ram_block *ram; /* conf->mem_size bytes */
	const struct accel_ops *accel;
	void *accel_state;
	const struct accel_irqchip *irqchip; /* the engine's, or NULL: the board's own are used */
	struct vcpu **vcpus;
	unsigned nr_vcpus;
	struct dev *devs; /* all devices, newest first */
	struct msi_sink msi;
	struct pci_bus *pci;		     /* bus 0, or NULL */
	struct virtio_mmio_bus *virtio_mmio; /* or NULL */
	unsigned virtio_bus; /* enum dev_bus: where "virtio-blk" and the like go; 0 = PCI */
	struct vm_reset_hook *reset_hooks;
	bool confined; /* the control thread has its filter: it starts no programs any more */
	/* Guest TSC = host TSC + tsc_offset (vCPUs start equal); its rate. */
	uint64_t tsc_khz;
	struct dump *dump;   /* migr/dump.h: the job of writing its memory to a file */
	struct migr *migr;   /* migr/migr.h: the job of saving or loading it */
	void *board;	     /* the architecture's */
	enum vm_state state; /* changed by vm_set_state() */
	bool going;	     /* vCPUs and devices are let go: VM_RUNNING, but for moments */
	bool ended;	     /* vm_run() returns */
	enum vm_cause cause; /* why it ended, or switched itself off */
	int exit_code;
	struct vm_actions actions;
	struct log_limit watchdog_log; /* a guest lets its watchdog go off as often as it likes */
	struct vm_observer *observers; /* core/event.h */
	struct vm_event_queue *event_queue;
	pthread_t control; /* the thread that made the VM */
	/* Where the guest's time stands while it does not run: clock and TSC of the host. */
	uint64_t stopped_ns, stopped_tsc;
	struct backend *backends; /* core/backend.h */
	struct memory_lost *lost; /* core/memory_lost.h */
	struct lease *leases;	  /* core/lease.h */
	/* requests from any thread, carried out by the control thread */
	_Atomic uint32_t requests;
	_Atomic uint32_t asks; /* bits: requests that do not exclude each other */
	struct loop_work request_work;
	/* the control thread as a reader of the map */
	struct qsbr_reader reader;
	struct loop_idle idle;
};

/*
 * Builds a machine from conf (taken, also on failure): map, RAM, engine, vCPUs, board, devices.
 * Nothing runs yet. NULL with e set on failure.
 */
struct vm *vm_new_take(struct vm_conf *conf, struct err *e);
struct vm *vm_free(struct vm *); /* returns NULL */

/* The vCPUs' threads, which stand still. Optional: vm_start() makes those that are not there. */
int vm_start_threads(struct vm *, struct err *e);
/* Starts the vCPUs' threads, and the guest unless conf->start_paused or it waits for a save. */
int vm_start(struct vm *, struct err *e);
/*
 * Everything stands still for a moment: returns when every vCPU and device does. The run state
 * stays and nobody is told. vm_resume() lets go again, also what did not run before.
 */
void vm_pause(struct vm *);
void vm_resume(struct vm *);
/* Runs the control loop until the VM ends; returns the process exit code. */
int vm_run(struct vm *);

/* Control thread. QEMU's name of a run state ("guest-panicked"), and of a cause ("guest-reset"). */
const char *vm_state_name(enum vm_state);
const char *vm_cause_name(enum vm_cause);
bool vm_cause_by_guest(enum vm_cause);
/* The state of a machine that stands still becomes another one (migration). No event. */
void vm_set_state(struct vm *, enum vm_state);
/* A running guest stops, for the reason why, and observers hear STOP; otherwise nothing. */
void vm_stop(struct vm *, enum vm_state why);
/*
 * The machine stands still for a job (VM_FINISH_MIGRATE, VM_SAVE_VM), whatever it did; *before is
 * what that was. What its vCPUs and devices had asked for until then is carried out first: a guest
 * does not ask a second time for a reset that was lost on the way. -ECANCELED when that ended the
 * machine.
 */
int vm_stop_for(struct vm *, enum vm_state job, enum vm_state *before, struct err *e) MUST_CHECK;
/*
 * The user lets the guest run (QEMU's cont): observers hear RESUME before it does. -EINVAL with the
 * reason when it must be reset first, or its state is not to be run now. Nothing when it runs.
 */
int vm_cont(struct vm *, struct err *e);
/* What is asked for is done now, before this returns, with its events. Control thread. */
void vm_carry_out(struct vm *);

void vm_add_reset_hook(struct vm *, struct vm_reset_hook *);
/* A machine reset: engine, devices, hooks, arch_board_boot(). All vCPUs stand still. */
int vm_reset_machine(struct vm *, struct err *e);

/*
 * Any thread, also inside a register access: all vCPUs leave the guest at their next chance, and
 * the control thread acts soon. Of several requests exit wins over shutdown over reset.
 *
 * How vm_run() ends (its result is the exit code of the process): host quit, signal, guest
 * shutdown and panic 0, as QEMU has it; reset and triple fault restart the machine; engine failure
 * 1. vm->actions change that: a reboot may be a shutdown, and a shutdown that the user did not ask
 * for may leave the machine paused. What happened is told to observers in any case.
 */
void vm_request_reset(struct vm *, enum vm_cause);
void vm_request_shutdown(struct vm *, enum vm_cause);
void vm_request_exit(struct vm *, int exit_code, enum vm_cause);
/* The guest stops because of a device's trouble: why is VM_IO_ERROR or VM_DEBUG. Any thread. */
void vm_request_stop(struct vm *, enum vm_state why);
/* The user presses the power button. Any thread. */
void vm_request_powerdown(struct vm *);
/* A watchdog of the guest was not fed: vm->actions.watchdog says what happens. Any thread. */
void vm_watchdog_expired(struct vm *);
/* An NMI for every vCPU that takes those from outside (arch_takes_nmi()). Control thread. */
void vm_inject_nmi(struct vm *);
/* Runs fn(vcpu, arg) on v's thread, outside the engine, and waits. Control thread. */
void vm_run_on(struct vcpu *v, void (*fn)(struct vcpu *, void *), void *arg);

/*
 * For core and whoever loads a machine. From the first on the guest's time stands still, as far as
 * the engine can hold it: what devices keep as moments of the host is moved by the second.
 */
void vm_time_stops(struct vm *);
void vm_time_goes_on(struct vm *);

/* The host's TSC now. */
uint64_t host_tsc(void);
/* Both clocks of the host at one moment: CLOCK_MONOTONIC and the time stamp counter. */
struct host_moment {
	uint64_t ns, tsc;
};
struct host_moment host_now(void);
/*
 * Host TSC rate in kHz: known, what the engine says of it, else from CPUID, else measured (20 ms).
 */
uint64_t host_tsc_khz(uint64_t known);

#endif

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
#include "core/conf.h"
#include "core/irq.h"
#include "core/vcpu.h"
#include "loop/loop.h"
#include "mem/map.h"

struct accel_irqchip;
struct accel_ops;
struct pci_bus;
struct backend;
struct dev;

enum vm_state { VM_PRELAUNCH, VM_RUNNING, VM_PAUSED, VM_SHUTDOWN };

/* Why the guest stops; in QEMU's words for events and logs. */
enum vm_cause {
	VM_CAUSE_NONE,
	VM_CAUSE_HOST_QUIT, /* the user asked hanok to end */
	VM_CAUSE_HOST_SIGNAL,
	VM_CAUSE_GUEST_SHUTDOWN, /* S5 */
	VM_CAUSE_GUEST_RESET,	 /* reset port, PSCI, ... */
	VM_CAUSE_GUEST_PANIC,	 /* pvpanic */
	VM_CAUSE_TRIPLE_FAULT,
	VM_CAUSE_ENGINE_FAILURE,
	VM_CAUSE_DEBUG_EXIT, /* isa-debug-exit: exit code in vm->exit_code */
};

/* Called on the control thread at a machine reset, in order of registration. */
struct vm_reset_hook {
	void (*fn)(struct vm_reset_hook *);
	struct vm_reset_hook *next;
};

struct vm {
	struct vm_conf *conf; /* owned */
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
	struct pci_bus *pci; /* bus 0, or NULL */
	struct vm_reset_hook *reset_hooks;
	/* Guest TSC = host TSC + tsc_offset (vCPUs start equal); its rate. */
	uint64_t tsc_khz;
	void *board; /* the architecture's */
	enum vm_state state;
	enum vm_cause cause; /* why it ended */
	int exit_code;
	struct backend *backends; /* core/backend.h */
	/* requests from any thread, carried out by the control thread */
	_Atomic uint32_t requests;
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

int vm_start(struct vm *, struct err *e);
void vm_pause(struct vm *); /* returns when every vCPU stands still */
void vm_resume(struct vm *);
/* Runs the control loop until the VM ends; returns the process exit code. */
int vm_run(struct vm *);

void vm_add_reset_hook(struct vm *, struct vm_reset_hook *);
/* A machine reset: engine, devices, hooks, arch_board_boot(). All vCPUs stand still. */
int vm_reset_machine(struct vm *, struct err *e);

/*
 * Any thread, also inside a register access: all vCPUs leave the guest at their next chance, and
 * the control thread acts soon. Of several requests exit wins over shutdown over reset.
 *
 * How vm_run() ends (its result is the exit code of the process): host quit, signal, guest
 * shutdown and panic 0, as QEMU has it (with no_shutdown the guest's own only pause); reset and
 * triple fault restart the machine, or with no_reboot end as a shutdown, 0; engine failure 1.
 */
void vm_request_reset(struct vm *, enum vm_cause);
void vm_request_shutdown(struct vm *, enum vm_cause);
void vm_request_exit(struct vm *, int exit_code, enum vm_cause);
/* Runs fn(vcpu, arg) on v's thread, outside the engine, and waits. Control thread. */
void vm_run_on(struct vcpu *v, void (*fn)(struct vcpu *, void *), void *arg);

/* Host TSC rate in kHz (CPUID, else measured against CLOCK_MONOTONIC). */
uint64_t host_tsc_khz(void);

#endif

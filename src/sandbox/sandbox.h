/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread may ask of the kernel. Every thread of a VM takes on its role before it serves the
 * guest: no new privileges, no capabilities, no file system but for the control thread (Landlock,
 * where the kernel has it), and a seccomp filter that lets the calls of its role pass and ends the
 * process at any other. The first thread (control) opens files for the others.
 *
 * The calls of a role are noted beside the code that makes them (src/sandbox/gen.py); the build
 * turns the notes into filters, and into docs/syscalls.md.
 */
#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

#include "base/base.h"

enum sandbox_role {
	SANDBOX_CONTROL, /* the control loop and the monitors */
	SANDBOX_VCPU,
	SANDBOX_IO,	/* a loop that serves devices (-object iothread) */
	SANDBOX_WORKER, /* blocking I/O for a block node */
	SANDBOX_MIGR,	/* writes or reads the stream of a saved machine */
};

/* How the user wants it (-sandbox); the same for all threads of a VM. */
struct sandbox_conf {
	bool on;
	/* Programs may be started while the guest runs (exec: of a migration): then the control
	 * thread gains no privileges, and that is all, because they would inherit the rest. */
	bool spawn;
	bool lock_memory; /* CAP_IPC_LOCK stays: memory is to be locked as it comes */
	bool dropped;	  /* by sandbox_drop(): of the control thread, and so of the vCPUs */
};

/*
 * The control thread, before it makes those of the vCPUs, which inherit it: no new privileges, and
 * no capabilities. -errno with e set. Optional: sandbox_enter() does what was not done.
 */
int sandbox_drop(struct sandbox_conf *, struct err *e) MUST_CHECK;

/*
 * The calling thread takes on role, for good. A thread made by one that has done so has that one's
 * filter too; control's allows what io, worker and migr need. -errno with e set when the kernel
 * refuses no_new_privs or the filter; nothing but those is required. Any thread.
 */
int sandbox_enter(const struct sandbox_conf *, enum sandbox_role, struct err *e) MUST_CHECK;

#endif

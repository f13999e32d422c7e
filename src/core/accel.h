/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What core asks of a CPU engine. The engine runs a vCPU until something needs core; register and
 * port accesses an engine makes itself with map_access().
 */
#ifndef CORE_ACCEL_H
#define CORE_ACCEL_H

#include "base/base.h"
#include "core/irq.h"
#include "core/vcpu.h"
#include <stdio.h>

struct vm;
struct ram_block;
struct stats;
struct cpu_state; /* isa/<guest>/cpu_state.h */
struct x86_cpu_model;
struct x86_cpu_source; /* isa/x86/cpuid.h */
struct x86_chips;      /* isa/x86/irqchip.h */
struct x86_lapic_regs;
struct x86_mce; /* isa/x86/mce.h */

/*
 * Interrupt controllers that an engine has itself, local APICs among them: the board hands lines
 * and messages to these instead of to its own. Any thread.
 *
 * A machine is saved by the board's structs, whoever has the controllers. So what follows
 * "state" is asked by the board alone, in arch_state_pull() and arch_state_push() (core/arch.h).
 */
struct accel_irqchip {
	/* NULL, and so set_pic and set_elcr: only the local APICs are the engine's. */
	void (*set_ioapic)(struct vm *, unsigned pin, int level);
	void (*set_pic)(struct vm *, unsigned line, int level);
	void (*send_msi)(struct vm *, const struct msi *);
	/* Control thread, vCPUs at a stand: which PIC lines are level-triggered, as firmware says. */
	void (*set_elcr)(struct vm *, uint16_t levels);
	/*
	 * Of an engine that has the local APICs only: what a level on this pin of the board's
	 * IOAPIC is sent as, so that its end is told (vcpu_ops.eoi). Optional; any thread.
	 */
	void (*set_ioapic_route)(struct vm *, unsigned pin, const struct msi *);
	/*
	 * From here on whoever signals the eventfd - the kernel or another process too - sends msi,
	 * and no thread of ours has a part in it. user: whose it is, for messages. Returns a number
	 * for the other two. An eventfd serves one message only: -EBUSY when it has one already. A
	 * message that is none of an interrupt is refused. What was signalled before irqfd_del() is
	 * in the interrupt controllers when that returns. Any thread; optional.
	 */
	int (*irqfd_add)(struct vm *, int fd, const char *user, const struct msi *, struct err *e);
	int (*irqfd_set)(struct vm *, int id, const struct msi *, struct err *e);
	void (*irqfd_del)(struct vm *, int id);
	/* State. Control thread, vCPUs at a stand; set_lapic behind set_state(), set_chips last. */
	int (*get_lapic)(struct vcpu *, struct x86_lapic_regs *);
	int (*set_lapic)(struct vcpu *, const struct x86_lapic_regs *, struct err *e);
	int (*get_chips)(struct vm *, struct x86_chips *);
	/* Also sets the input lines, which makes no edges. */
	int (*set_chips)(struct vm *, const struct x86_chips *, struct err *e);
};

#define ACCEL_EXTRA_MAX 16384u

struct accel_ops {
	const char *name, *alias;    /* "soft", "tcg" */
	bool doorbells;		     /* writes can signal eventfds: see struct map_doorbell */
	int (*probe)(struct err *e); /* can it run here? Optional; vm_init() finds out too */
	/* model: the CPU model string of the configuration, checked here. -ENODEV: not here. */
	int (*vm_init)(struct vm *, const char *model, struct err *e);
	void (*vm_fini)(struct vm *);
	/* The rate of guests' TSC, in kHz, as the host's kernel knows it; 0: it does not. Optional.
	 */
	uint64_t (*tsc_khz)(struct vm *);
	int (*vcpu_init)(struct vcpu *, struct err *e);
	void (*vcpu_fini)(struct vcpu *);
	/* On the vCPU's thread. */
	enum vcpu_exit (*run)(struct vcpu *);
	/* Any thread: make run() notice vcpu->events soon. Optional. */
	void (*kick)(struct vcpu *);
	/*
	 * While the vCPU stands still, or on its own thread. Events that are on their way to the
	 * vCPU (NMI, SMI, INIT, SIPI, wake) are part of the state, be they in vcpu->events or in
	 * the engine: set_state() puts exactly those of the new state there. Interrupts are not:
	 * whoever has the local APIC asks for them again.
	 */
	int (*get_state)(struct vcpu *, struct cpu_state *);
	int (*set_state)(struct vcpu *, const struct cpu_state *, struct err *e);
	/*
	 * State that only this engine has: that of a guest which runs guests. Optional. get: bytes
	 * written to buf (ACCEL_EXTRA_MAX are enough), 0 = there is none, which any engine can go
	 * on from. set: behind set_state().
	 */
	int (*get_extra)(struct vcpu *, void *buf, size_t cap);
	int (*set_extra)(struct vcpu *, const void *buf, size_t len, struct err *e);
	/* Power-on state (also for INIT when init is true, which keeps what INIT keeps). */
	void (*reset)(struct vcpu *, bool init);
	/* At a machine reset, behind the vCPUs' own: the engine's interrupt controllers. Optional. */
	void (*reset_irqchip)(struct vm *);
	/*
	 * The VM's CPU model, and what models can be made of on this engine here (fills *src, valid
	 * as long as the VM is; NULL: all that the soft engine has).
	 */
	const struct x86_cpu_model *(*model)(const struct vm *, const struct x86_cpu_source **src);
	/*
	 * The guests' paravirtual clock of an engine that keeps one itself: it reads ns where the
	 * host's TSC reads tsc. Control thread. Optional: else it is the board's.
	 */
	int (*get_clock)(struct vm *, uint64_t *ns, uint64_t *tsc);
	int (*set_clock)(struct vm *, uint64_t ns, uint64_t tsc, struct err *e);
	/*
	 * vCPUs at a stand: the host's TSC (and its clock, in ns) ran on by so much in which the
	 * guest's time stood still. Optional: without it guests see pauses pass.
	 */
	void (*hold_time)(struct vm *, uint64_t ns, uint64_t tsc);
	/* What CPUID gives this vCPU's guest. */
	void (*cpuid)(struct vcpu *, uint32_t leaf, uint32_t subleaf, uint32_t r[4]);
	/* The engine's own numbers (core/stats.h). Optional. */
	int (*stats)(struct vm *, struct vcpu *, struct stats *, struct err *e);
	/* What an engine that translates code says of that, in lines. Optional; control thread. */
	void (*show_jit)(struct vm *, FILE *out);
	/*
	 * Puts a machine check into its bank; an uncorrected one is the exception #MC next. The
	 * guest's registers allow it (arch_memory_lost()). On the vCPU's thread. 0 or -errno.
	 */
	int (*inject_mce)(struct vcpu *, const struct x86_mce *);
	/*
	 * A file of size bytes of guest memory that belongs to this VM (ram_options.engine_fd): its
	 * pages are found without a look at this process's page tables. The caller's to close.
	 * Optional. Control thread.
	 */
	int (*memory_fd)(struct vm *, uint64_t size, struct err *e);
	/*
	 * Dirty pages (core/dirty.h), for an engine whose guests' writes do not come by
	 * ram_written(): start logging them; report those of one block so far with
	 * ram_mark_dirty(), each once; stop. All three or none. Control thread.
	 */
	int (*dirty_start)(struct vm *, struct err *e);
	int (*dirty_sync)(struct vm *, struct ram_block *, struct err *e);
	void (*dirty_stop)(struct vm *);
};

/* Every engine of this build, the preferred one first; NULL-terminated (accel/engines.c). */
extern const struct accel_ops *const accel_engines[];

#endif

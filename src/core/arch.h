/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Link-time hooks: what core calls in layers above it. One definition of each per binary, by the
 * guest architecture's folder (arch_*) and by the folder that knows the back ends (backend_open).
 * All run on the control thread with every vCPU standing still.
 */
#ifndef CORE_ARCH_H
#define CORE_ARCH_H

#include "base/base.h"
#include "core/irq.h"
#include <stdio.h>

struct conf_node;
struct dev_type;
struct err;
struct state_desc;
struct vcpu;
struct vm;

/*
 * The order in vm_new_take(): map, RAM block, engine, vCPUs with arch_vcpu_init() each, back ends
 * with backend_open() each, arch_board_init(), the user's devices, arch_board_finish(), and the
 * first machine reset (vm_reset_machine()). fini hooks accept a half-done or absent init.
 */

/* The guest's architecture, as QEMU calls it. */
extern const char arch_name[];

/* Sets v->apic_id, v->ops and what belongs to the processor itself (local interrupt controller). */
int arch_vcpu_init(struct vcpu *v, struct err *e) MUST_CHECK;
void arch_vcpu_fini(struct vcpu *v);

/* Checks conf->machine, maps RAM (vm->ram), makes the board's buses and devices, sets vm->msi. */
int arch_board_init(struct vm *vm, struct err *e) MUST_CHECK;
/* Every device exists: assign resources, make firmware tables, check kernel and initrd images. */
int arch_board_finish(struct vm *vm, struct err *e) MUST_CHECK;
/* After all devices are gone. */
void arch_board_fini(struct vm *vm);

/*
 * The last step of each machine reset, after the engine, every device and the reset hooks: puts
 * firmware tables and images (again) into RAM and the boot CPU at their entry.
 */
int arch_board_boot(struct vm *vm, struct err *e) MUST_CHECK;

/* Boards that -machine takes: name i and what it is, NULL behind the last. Any thread. */
const char *arch_machine(unsigned i, const char **what);

/*
 * A register of v by its name, without a $; -ENOENT when there is none. The vCPU is asked between
 * two instructions. The names, NULL behind the last.
 */
int arch_read_register(struct vcpu *v, const char *name, uint64_t *out) MUST_CHECK;
const char *arch_register_name(unsigned i);

/*
 * For people, as text in QEMU's form: what v, or the machine, holds. v is asked between two
 * instructions; the guest may run on meanwhile. Listings are bounded, whatever the guest has made.
 */
enum arch_view {
	ARCH_SHOW_REGISTERS,
	ARCH_SHOW_LAPIC, /* v's local interrupt controller */
	ARCH_SHOW_CHIPS, /* the machine's interrupt controllers */
	ARCH_SHOW_LINES, /* how often interrupt lines went up */
	ARCH_SHOW_TLB,	 /* v's page tables, page by page */
	ARCH_SHOW_MEM,	 /* the same as ranges of equal rights */
};
int arch_show(struct vcpu *v, enum arch_view, FILE *out, struct err *e) MUST_CHECK;

/* The address space that v runs in now, for whoever reads it: tables are walked at each look. */
struct arch_space {
	uint64_t word[10];
};
int arch_space_of(struct vcpu *v, struct arch_space *, struct err *e) MUST_CHECK;
/* Where addr leads and how many bytes lead on from there; -EFAULT. Any thread that may read the
 * map. */
int arch_space_find(const struct arch_space *, uint64_t addr, uint64_t *gpa,
		    uint64_t *run) MUST_CHECK;
/* Whether there are tables; else addresses are physical. */
bool arch_space_paged(const struct arch_space *);
/*
 * All pages that the tables lead to, whichever their sizes, in the order of their addresses. What
 * fn says when that is not 0; -E2BIG when there are more than *tables, which counts down: a guest
 * can have them lead through each other for ever. It stands still. Any thread that may read the map.
 */
typedef int arch_space_fn(void *arg, uint64_t addr, uint64_t gpa, uint64_t len);
int arch_space_walk(const struct arch_space *, unsigned *tables, arch_space_fn *fn,
		    void *arg) MUST_CHECK;

/*
 * The registers of every vCPU as notes of an ELF core file; the caller frees them, also after an
 * error. With the guest standing still. Control thread.
 */
int arch_core_notes(struct vm *, uint8_t **notes, size_t *len, struct err *e) MUST_CHECK;

/* The user presses the power button: the guest is told as the board tells it. */
void arch_board_power_button(struct vm *vm);
/*
 * Whether an NMI from outside (a user's, a watchdog's) reaches v: its interrupt controller may keep
 * it away. v is asked on its own thread. Control thread.
 */
bool arch_takes_nmi(struct vcpu *v);

/* What became of telling a guest that memory was lost. */
enum arch_mce {
	ARCH_MCE_INJECTED,
	ARCH_MCE_IGNORED, /* it is being told of another, or does not want to hear */
	ARCH_MCE_RESET,	  /* it cannot go on, and has no handler for this */
	ARCH_MCE_NONE,	  /* its processors have no way to say it */
};
/*
 * Tells v's guest that its page at gpa is lost; required: v cannot go on without it. *recursive: it
 * has not yet dealt with the one before. On v's thread.
 */
enum arch_mce arch_memory_lost(struct vcpu *v, uint64_t gpa, bool required, bool *recursive);
/* Whether all processors hear of it; if so, what the others hear. On v's thread. */
bool arch_memory_lost_is_for_all(const struct vm *vm);
void arch_memory_lost_elsewhere(struct vcpu *v);

/* A board, by a name whose hardware stays the same for ever. */
struct arch_machine {
	const char *name, *alias, *help;
	const char *parent; /* type that its type derives from: "generic-pc-machine" */
	unsigned cpu_max;
	bool is_default, acpi;
	const char *ram_id; /* of the memory that -machine memory-backend= replaces; or NULL */
};
/* Board i, NULL behind the last; the one of vm. Any thread. */
const struct arch_machine *arch_machine_info(unsigned i);
const struct arch_machine *arch_machine_of(const struct vm *vm);

/* Device types that boards make themselves and whose names clients know; NULL-terminated. */
extern const struct dev_type *const arch_board_types[];

/* CPU models that -cpu takes: name i and what it is, NULL behind the last. Any thread. */
const char *arch_cpu_model(unsigned i, const char **what);
/* Whether model i has the same features on every host that can run it. */
bool arch_cpu_model_fixed(unsigned i);
/* Calls fn for each feature that model i needs and vm's engine does not have on this host. */
void arch_cpu_missing(const struct vm *vm, unsigned i, void (*fn)(void *arg, const char *feature),
		      void *arg);
/*
 * Calls fn for every feature there is, on or off as text, words of -cpu, has it on vm's engine
 * (NULL: the VM's own CPUs). Names are as QEMU's properties: "lahf-lm". Control thread.
 */
int arch_cpu_features(const struct vm *vm, const char *text,
		      void (*fn)(void *arg, const char *feature, bool on), void *arg,
		      struct err *e) MUST_CHECK;
/* Behind a model's name in that of its type: "x86_64-cpu". */
extern const char arch_cpu_type_suffix[];

/*
 * A saved machine. What is neither a device nor RAM are named objects with state tables: the
 * board's own and, of each vCPU, its state and what belongs to it, on every engine the same.
 *
 * Save: collect (reads the engine; objects that it holds itself are brought up to date), visit,
 * release. Load: visit (fn fills the objects), apply (checks them once more and gives them to the
 * engine: lines, controllers, timers and clocks go on; RAM must be there), release. ns and tsc are
 * by how much the host's clocks are ahead of those at the time of the save (see state_shift()).
 * Control thread, everything at a stand.
 */
typedef int arch_state_fn(void *arg, const char *id, const struct state_desc *, void *obj,
			  struct err *e);
int arch_state_collect(struct vm *vm, struct err *e) MUST_CHECK;
int arch_state_visit(struct vm *vm, arch_state_fn *fn, void *arg, struct err *e) MUST_CHECK;
int arch_state_apply(struct vm *vm, uint64_t ns, uint64_t tsc, struct err *e) MUST_CHECK;
void arch_state_release(struct vm *vm);
/*
 * Inside those: pull, before the tables are saved; push, when every table was loaded and
 * set_state() was called for every vCPU.
 */
int arch_state_pull(struct vm *vm, struct err *e) MUST_CHECK;
int arch_state_push(struct vm *vm, struct err *e) MUST_CHECK;
/* The guest's time stood still meanwhile: moves what of these objects are moments of the host. */
void arch_time_moved(struct vm *vm, uint64_t ns, uint64_t tsc);
/* What the guest sees of its machine and processor, as keys and values, to compare two machines. */
void arch_describe(struct vm *vm, void (*fn)(void *arg, const char *key, const char *val),
		   void *arg);

/*
 * A legacy interrupt line (ISA: 0..15) for one source: a shared line is up while any source holds
 * it up. Unconnected when the machine has no such lines.
 */
struct irq arch_isa_irq(struct vm *vm, unsigned line);

/*
 * Opens the back end that node (CONF_DRIVE, CONF_NETDEV, CONF_CHARDEV, CONF_OBJECT) describes and
 * gives it to the VM with backend_add_take() (core/backend.h). Called in the order of the
 * configuration, character devices first.
 */
int backend_open(struct vm *vm, struct conf_node *node, struct err *e) MUST_CHECK;

#endif

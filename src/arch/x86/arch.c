/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x86 definitions of core's link-time hooks (core/arch.h): which board, and how it starts.
 *
 * Threads: control thread with every vCPU at a stand.
 */
#include "base/base.h"
#include "arch/x86/board.h"
#include "arch/x86/mch.h"
#include "arch/x86/show.h"
#include "core/accel.h"
#include "core/arch.h"
#include "isa/x86/cpu_state.h"

static const struct x86_board_type *const boards[] = { &q35_board, &microvm_board };

const char *arch_machine(unsigned i, const char **what)
{
	if (i >= ARRAY_SIZE(boards))
		return NULL;
	if (what)
		*what = boards[i]->help;
	return boards[i]->name;
}

static const struct arch_machine no_board = {
	.name = "none",
	.help = "empty machine",
	.parent = "machine",
	.cpu_max = 1,
};

const struct arch_machine *arch_machine_info(unsigned i)
{
	return i < ARRAY_SIZE(boards)	 ? &boards[i]->info
	       : i == ARRAY_SIZE(boards) ? &no_board
					 : NULL;
}

/* Versioned names of the same board are one board here. */
static bool is_board(const struct x86_board_type *t, const char *name)
{
	return !strcmp(name, t->name) ||
	       (t->versions && !strncmp(name, t->versions, strlen(t->versions)));
}

static const struct x86_board_type *find_board(const char *name)
{
	if (!name)
		name = boards[0]->name;
	for (unsigned i = 0; i < ARRAY_SIZE(boards); i++)
		if (is_board(boards[i], name))
			return boards[i];
	return NULL;
}

const struct arch_machine *arch_machine_of(const struct vm *vm)
{
	const struct x86_board_type *t = find_board(vm->conf->machine);

	return t ? &t->info : &no_board;
}

const struct dev_type *const arch_board_types[] = { &mch_type, &lpc_type, NULL };

const char arch_name[] = "x86_64";

int arch_board_init(struct vm *vm, struct err *e)
{
	const char *machine = vm->conf->machine, *names[ARRAY_SIZE(boards) + 1] = { NULL }, *near;
	struct x86_board *b = x86_board(vm);

	b->type = find_board(machine);
	if (b->type)
		return board_init(b, e);
	for (unsigned i = 0; i < ARRAY_SIZE(boards); i++)
		names[i] = boards[i]->name;
	near = nearest_word(machine, names);
	return err_set(e, EINVAL, "there is no machine '%s' here; %s %s", machine,
		       near ? "did you mean" : "there are microvm and", near ?: "q35");
}

int arch_board_finish(struct vm *vm, struct err *e)
{
	autofree char *append = NULL;
	struct x86_board *b = x86_board(vm);
	struct pci_window w;

	board_describe(b, &w);
	if (pci_check_functions(vm, e) < 0)
		return -EINVAL;
	if (!vm->conf->kernel)
		return err_set(
			e, ENOENT,
			"there is nothing to boot: give a kernel (this version boots kernels "
			"directly, it has no firmware)");
	append = b->type->append ? b->type->append(b, vm->conf->append ?: "")
				 : xstrdup(vm->conf->append ?: "");
	b->boot = fw_boot_new(vm->conf->kernel, vm->conf->initrd, append, &b->fwb, e);
	return b->boot ? 0 : -EINVAL;
}

void arch_board_fini(struct vm *vm)
{
	struct x86_board *b = x86_board(vm);

	if (!b)
		return;
	b->boot = fw_boot_free(b->boot);
	board_fini(b);
	b->ioapic = NULL;
	b->pic = NULL;
}

void arch_board_power_button(struct vm *vm)
{
	struct x86_board *b = x86_board(vm);

	b->type->power_button(b);
}

/*
 * As the chipset's NMI line: to LINT1 of each local APIC. One that nobody switched on is as
 * firmware leaves it, with LINT1 open.
 */
bool arch_takes_nmi(struct vcpu *v)
{
	struct x86_lapic_regs r = { 0 };
	uint32_t lvt;

	if (x86_ask_lapic(v, &r) < 0 || !(r.reg[LAPIC_SVR] & LAPIC_SVR_ENABLE))
		return true;
	lvt = r.reg[LAPIC_LVT_LINT1];
	return !(lvt & LVT_MASKED) && (lvt & LVT_MODE) >> LVT_MODE_SHIFT == APIC_DM_NMI;
}

#define MTRR_ENABLE	BIT64(11) /* IA32_MTRR_DEF_TYPE.E */
#define MTRR_VALID	BIT64(11) /* IA32_MTRR_PHYSMASKn.V */
#define MTRR_WRITE_BACK 6

/*
 * As PC firmware leaves the memory types on every processor: write-back, but for the PCI hole
 * below 4 GiB. Without that Linux takes MTRRs and PAT for switched off. SDM vol. 3, 12.11.
 */
static void set_memory_types(struct vcpu *v, struct cpu_state *s)
{
	const uint64_t(*hole)[2] = x86_board(v->vm)->type->uncached;
	uint32_t r[4] = { 0 };
	uint64_t phys;

	v->vm->accel->cpuid(v, 0x80000008, 0, r);
	phys = BIT64(r[0] & 0x3f) - 1;
	s->mtrr_def_type = MTRR_ENABLE | MTRR_WRITE_BACK;
	for (unsigned i = 0; i < 2 && hole[i][1]; i++) {
		s->mtrr_base[i] = hole[i][0]; /* type 0: uncacheable */
		s->mtrr_mask[i] = (phys & ~(hole[i][1] - 1)) | MTRR_VALID;
	}
}

/* Application processors wait for their start-up IPI. */
static int park_vcpu(struct vcpu *v, struct err *e)
{
	autofree struct cpu_state *s = NULL;
	int r;

	s = aligned_alloc(64, align_up(sizeof(*s), 64));
	if (!s)
		return err_set(e, ENOMEM, "no memory for a processor state");
	r = v->vm->accel->get_state(v, s);
	if (r)
		return err_set_errno(e, -r, "cannot read the state of CPU %u", v->index);
	set_memory_types(v, s);
	s->mp_state = MP_WAIT_SIPI;
	return v->vm->accel->set_state(v, s, e);
}

static int boot_vcpu(struct x86_board *b, struct vcpu *v, struct err *e)
{
	autofree struct cpu_state *s = NULL;
	int r;

	s = aligned_alloc(64, align_up(sizeof(*s), 64));
	if (!s)
		return err_set(e, ENOMEM, "no memory for a processor state");
	r = v->vm->accel->get_state(v, s);
	if (r)
		return err_set_errno(e, -r, "cannot read the state of CPU %u", v->index);
	r = fw_boot_place(b->boot, b->vm, s, e);
	if (r)
		return r;
	set_memory_types(v, s);
	s->mp_state = MP_RUNNABLE;
	return v->vm->accel->set_state(v, s, e);
}

int arch_board_boot(struct vm *vm, struct err *e)
{
	struct x86_board *b = x86_board(vm);
	struct pci_window w;
	int r;

	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		x86_vcpu_reset(vm->vcpus[i]);
	if (b->type->firmware_defaults)
		b->type->firmware_defaults(b);
	board_describe(b, &w);
	r = b->pci ? pci_assign(b->pci, &w, e) : 0;
	for (unsigned i = 1; i < vm->nr_vcpus && !r; i++)
		r = park_vcpu(vm->vcpus[i], e);
	return r ? r : boot_vcpu(b, vm->vcpus[0], e);
}

struct irq arch_isa_irq(struct vm *vm, unsigned line)
{
	if (!vm->board)
		return (struct irq){ 0 };
	return gsi_line(vm->board, line & 15);
}

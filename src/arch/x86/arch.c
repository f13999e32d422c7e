/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x86 definitions of core's link-time hooks (core/arch.h): which board, and how it starts.
 *
 * Threads: control thread with every vCPU at a stand.
 */
#include "base/base.h"
#include "arch/x86/board.h"
#include "core/accel.h"
#include "core/arch.h"
#include "dev/acpi_pm.h"
#include "isa/x86/cpu_state.h"

static const char *const machines[] = { "q35", NULL };

static bool is_q35(const char *name)
{
	/* Versioned names of the same board are one board here. */
	return !name || !strcmp(name, "q35") || !strncmp(name, "pc-q35-", 7);
}

const char arch_name[] = "x86_64";

int arch_board_init(struct vm *vm, struct err *e)
{
	const char *machine = vm->conf->machine, *near;

	if (!is_q35(machine)) {
		near = nearest_word(machine, machines);
		return err_set(e, EINVAL, "there is no machine '%s' here; %s q35", machine,
			       near ? "did you mean" : "the one there is is");
	}
	return q35_init(x86_board(vm), e);
}

int arch_board_finish(struct vm *vm, struct err *e)
{
	struct x86_board *b = x86_board(vm);
	struct pci_window w;

	q35_describe(b, &w);
	if (pci_check_functions(vm, e) < 0)
		return -EINVAL;
	if (!vm->conf->kernel)
		return err_set(
			e, ENOENT,
			"there is nothing to boot: give a kernel (this version boots kernels "
			"directly, it has no firmware)");
	b->boot = fw_boot_new(vm->conf->kernel, vm->conf->initrd, vm->conf->append, &b->fwb, e);
	return b->boot ? 0 : -EINVAL;
}

void arch_board_fini(struct vm *vm)
{
	struct x86_board *b = x86_board(vm);

	if (!b)
		return;
	b->boot = fw_boot_free(b->boot);
	q35_fini(b);
	b->ioapic = NULL;
	b->pic = NULL;
}

void arch_board_power_button(struct vm *vm)
{
	acpi_pm_dev_button(x86_board(vm)->pm);
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
	static const uint64_t hole[][2] = { { 0xb0000000, MIB(256) }, { 0xc0000000, GIB(1) } };
	uint32_t r[4] = { 0 };
	uint64_t phys;

	v->vm->accel->cpuid(v, 0x80000008, 0, r);
	phys = BIT64(r[0] & 0x3f) - 1;
	s->mtrr_def_type = MTRR_ENABLE | MTRR_WRITE_BACK;
	for (unsigned i = 0; i < ARRAY_SIZE(hole); i++) {
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
	q35_firmware_defaults(b);
	q35_describe(b, &w);
	r = pci_assign(b->pci, &w, e);
	for (unsigned i = 1; i < vm->nr_vcpus && !r; i++)
		r = park_vcpu(vm->vcpus[i], e);
	return r ? r : boot_vcpu(b, vm->vcpus[0], e);
}

struct irq arch_isa_irq(struct vm *vm, unsigned line)
{
	if (!vm->board)
		return (struct irq){ 0 };
	return gsi_isa_line(vm->board, line);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the host has lost, as a PC's processors tell it: a machine check with the page's
 * address. What software must act on now is an exception; what nobody has used yet Intel's
 * processors tell all processors of, and AMD's leave in a bank that kernels look at now and then.
 * Which guests can be told, and what becomes of the others, is as QEMU has it. On the vCPU's
 * thread. State: none, banks are the engine's. Source: isa/x86/mce.h.
 */
#include "base/base.h"
#include "core/accel.h"
#include "core/arch.h"
#include "core/vm.h"
#include "isa/x86/mce.h"
#include "isa/x86/x86.h"

#define BANK	   2u
#define BANK_OTHER 1u

static struct x86_mce page_lost(const struct x86_cpu_model *m, uint64_t gpa, bool required)
{
	struct x86_mce mce = { .bank = BANK,
			       .status = MCI_STATUS_VAL | MCI_STATUS_EN | MCI_STATUS_MISCV |
					 MCI_STATUS_ADDRV,
			       .addr = gpa,
			       .misc = MCI_MISC_PHYS_PAGE,
			       .mcg_status = MCG_STATUS_MCIP | MCG_STATUS_RIPV };

	if (required)
		mce.mcg_status |= MCG_STATUS_EIPV; /* at the instruction that touched it */
	if (m->vendor == X86_VENDOR_AMD)
		mce.status |= MCI_STATUS_POISON | (required ? MCI_STATUS_UC : MCI_STATUS_DEFERRED);
	else
		mce.status |= MCI_STATUS_UC | MCI_STATUS_S |
			      (required ? MCI_STATUS_AR | MCI_DATA_LOAD : MCI_MEMORY_SCRUB);
	return mce;
}

/* Whether software has switched the report of uncorrected errors on. */
static bool reports(const struct cpu_state *s, unsigned bank)
{
	return s->mcg_ctl == UINT64_MAX && s->mc_ctl[bank] == UINT64_MAX;
}

enum arch_mce arch_memory_lost(struct vcpu *v, uint64_t gpa, bool required, bool *recursive)
{
	const struct accel_ops *accel = v->vm->accel;
	const struct x86_cpu_source *src;
	const struct x86_cpu_model *m = accel->model(v->vm, &src);
	struct x86_mce mce = page_lost(m, gpa, required);
	struct cpu_state s;

	*recursive = false;
	if (!x86_model_has(m, X86F_MCE) || !x86_model_has(m, X86F_MCA) ||
	    accel->get_state(v, &s) < 0)
		return ARCH_MCE_NONE;
	*recursive = s.mcg_status & MCG_STATUS_MCIP;
	if (!required && *recursive)
		return ARCH_MCE_IGNORED;
	if (mce.status & MCI_STATUS_UC) {
		if (!reports(&s, BANK))
			return required ? ARCH_MCE_RESET : ARCH_MCE_IGNORED;
		if (!(s.cr4 & CR4_MCE) || *recursive)
			return ARCH_MCE_RESET;
	}
	if (s.mc_status[BANK] & MCI_STATUS_VAL)
		mce.status |= MCI_STATUS_OVER;
	return accel->inject_mce(v, &mce) < 0 ? ARCH_MCE_NONE : ARCH_MCE_INJECTED;
}

bool arch_memory_lost_is_for_all(const struct vm *vm)
{
	const struct x86_cpu_source *src;

	return vm->accel->model(vm, &src)->vendor == X86_VENDOR_INTEL;
}

void arch_memory_lost_elsewhere(struct vcpu *v)
{
	const struct x86_mce mce = { .bank = BANK_OTHER,
				     .status = MCI_STATUS_VAL | MCI_STATUS_UC,
				     .mcg_status = MCG_STATUS_MCIP | MCG_STATUS_RIPV };
	struct cpu_state s;

	/* One that was not started, or is in its handler already, would be reset by it. */
	if (v->vm->accel->get_state(v, &s) < 0 || s.mp_state == MP_WAIT_SIPI ||
	    !(s.cr4 & CR4_MCE) || (s.mcg_status & MCG_STATUS_MCIP) || !reports(&s, BANK_OTHER))
		return;
	v->vm->accel->inject_mce(v, &mce);
}

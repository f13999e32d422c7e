/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of RDMSR, WRMSR, CPUID, time stamps and counters. Intel SDM vol. 2. On the vCPU's
 * thread.
 */
#include "accel/soft/sys.h"
#include "accel/soft/soft_vm.h"
#include <x86intrin.h>

static void set_edx_eax(struct soft_cpu *c, uint64_t val)
{
	c->r[RAX] = (uint32_t)val;
	c->r[RDX] = val >> 32;
}

static const struct insn *sys_rdmsr(struct soft_cpu *c, const struct insn *in)
{
	uint64_t val = 0, start = __rdtsc();
	uint32_t msr = (uint32_t)c->r[RCX];
	bool ok;

	need_cpl0(c);
	ok = msr_read(c, msr, &val);
	cpu_note_exit(c, ok ? EXIT_RDMSR : EXIT_RDMSR_REFUSED, msr, start);
	if (!ok)
		cpu_raise_err(c, X86_GP, 0);
	set_edx_eax(c, val);
	return in->flags & INSN_END ? sys_end(c) : in + 1;
}

static const struct insn *sys_wrmsr(struct soft_cpu *c, const struct insn *in)
{
	uint32_t msr = (uint32_t)c->r[RCX];
	uint64_t start = __rdtsc();
	bool ok;

	need_cpl0(c);
	ok = msr_write(c, msr, (uint32_t)c->r[RAX] | c->r[RDX] << 32);
	cpu_note_exit(c, ok ? EXIT_WRMSR : EXIT_WRMSR_REFUSED, msr, start);
	if (!ok)
		cpu_raise_err(c, X86_GP, 0);
	return sys_end(c);
}

static const struct insn *sys_cpuid(struct soft_cpu *c, const struct insn *in)
{
	uint32_t r[4], leaf = (uint32_t)c->r[RAX];
	uint64_t start = __rdtsc();

	cpu_cpuid(c, leaf, (uint32_t)c->r[RCX], r);
	cpu_note_exit(c, EXIT_CPUID, leaf, start);
	c->r[RAX] = r[0];
	c->r[RBX] = r[1];
	c->r[RCX] = r[2];
	c->r[RDX] = r[3];
	return in->flags & INSN_END ? sys_end(c) : in + 1;
}

static void tsc_allowed(struct soft_cpu *c)
{
	if (c->cpl && c->s.cr4 & CR4_TSD)
		cpu_raise_err(c, X86_GP, 0);
}

static const struct insn *sys_rdtsc(struct soft_cpu *c, const struct insn *in)
{
	tsc_allowed(c);
	set_edx_eax(c, cpu_tsc(c));
	return in + 1;
}

static const struct insn *sys_rdtscp(struct soft_cpu *c, const struct insn *in)
{
	tsc_allowed(c);
	set_edx_eax(c, cpu_tsc(c));
	c->r[RCX] = (uint32_t)c->s.tsc_aux;
	return in + 1;
}

static const struct insn *sys_rdpid(struct soft_cpu *c, const struct insn *in)
{
	R64(c, in->rm) = (uint32_t)c->s.tsc_aux;
	return in + 1;
}

/* There are no counters, so every index is a wrong one. */
static const struct insn *sys_rdpmc(struct soft_cpu *c, const struct insn *in)
{
	cpu_raise_err(c, X86_GP, 0);
}

insn_fn bind_sys_msr(const struct insn *in, unsigned mn)
{
	switch (mn) {
	case MN_RDMSR:
		return sys_rdmsr;
	case MN_WRMSR:
		return sys_wrmsr;
	case MN_CPUID:
		return sys_cpuid;
	case MN_RDTSC:
		return sys_rdtsc;
	case MN_RDTSCP:
		return sys_rdtscp;
	case MN_RDPID:
		return sys_rdpid;
	case MN_RDPMC:
		return sys_rdpmc;
	default:
		return NULL;
	}
}

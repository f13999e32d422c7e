/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fast system calls and what kernels use around them: SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS,
 * FS and GS bases, hypercalls, RSM, MONITOR, MWAIT. Intel SDM vol. 2, AMD APM vol. 3.
 * SYSENTER in long mode exists with Intel only, SYSCALL outside 64-bit mode with AMD only.
 * On the vCPU's thread.
 */
#include "accel/soft/sys.h"
#include "accel/soft/soft_vm.h"
#include <x86intrin.h>

#define FLAT_CODE (SEG_P | SEG_S | SEG_G | 0xb)
#define FLAT_DATA (SEG_P | SEG_S | SEG_G | SEG_DB | 0x3)

static struct x86_seg flat(unsigned sel, unsigned dpl, unsigned attr)
{
	return (struct x86_seg){ .limit = 0xffffffff, .sel = (uint16_t)sel,
				 .attr = (uint16_t)(attr | dpl << SEG_DPL_SHIFT) };
}

static void set_code(struct soft_cpu *c, unsigned cs, unsigned ss, unsigned dpl, bool wide)
{
	c->s.seg[SEG_CS] = flat(cs, dpl, FLAT_CODE | (wide ? SEG_L : SEG_DB));
	c->s.seg[SEG_SS] = flat(ss, dpl, FLAT_DATA);
}

/* RFLAGS bits cleared on the way into a kernel; a TF that goes takes its trap along. */
static void clear_flags(struct soft_cpu *c, uint64_t clear)
{
	uint64_t flags = cpu_rflags(c);

	if (flags & clear & FLAG_TF)
		c->no_step = true;
	flags = (flags & ~clear) | FLAG_R1;
	c->fl = flags_to_fl(flags);
	c->rflags = flags & ~(uint64_t)FLAGS_STATUS;
}

static const struct insn *sys_syscall(struct soft_cpu *c, const struct insn *in)
{
	unsigned cs = (c->s.star >> 32) & 0xfffc;
	uint64_t next = cpu_next_rip(c);

	if (!(c->s.efer & EFER_SCE) || !in_protected(c) || (c->code_bits != 64 && !cpu_is_amd(c)))
		cpu_raise(c, X86_UD);
	if (c->long_mode) {
		c->r[RCX] = next;
		c->r[R11] = cpu_rflags(c) & ~(uint64_t)FLAG_RF;
		c->rip = c->code_bits == 64 ? c->s.lstar : c->s.cstar;
		set_code(c, cs, cs + 8, 0, true);
		clear_flags(c, (uint32_t)c->s.sfmask | FLAG_RF);
	} else {
		c->r[RCX] = (uint32_t)next;
		c->rip = (uint32_t)c->s.star;
		set_code(c, cs, cs + 8, 0, false);
		clear_flags(c, FLAG_VM | FLAG_IF | FLAG_RF);
	}
	cpu_ring_changed(c);
	return NULL;
}

static void sysret_flags(struct soft_cpu *c)
{
	uint64_t flags = (c->r[R11] & 0x3c7fd7) | FLAG_R1;

	c->fl = flags_to_fl(flags);
	c->rflags = flags & ~(uint64_t)FLAGS_STATUS;
}

static const struct insn *sys_sysret(struct soft_cpu *c, const struct insn *in)
{
	unsigned sel = (c->s.star >> 48) & 0xffff;

	if (!(c->s.efer & EFER_SCE) || (c->code_bits != 64 && !cpu_is_amd(c)))
		cpu_raise(c, X86_UD);
	if (!in_protected(c) || c->cpl)
		cpu_raise_err(c, X86_GP, 0);
	if (in->opsize == 8) {
		/* Intel checks here and faults in ring 0; AMD faults at the user's fetch */
		if (!canonical(c, c->r[RCX]) && !cpu_is_amd(c))
			cpu_raise_err(c, X86_GP, 0);
		c->rip = c->r[RCX];
		set_code(c, (sel + 16) | 3, (sel + 8) | 3, 3, true);
	} else {
		c->rip = (uint32_t)c->r[RCX];
		set_code(c, sel | 3, (sel + 8) | 3, 3, false);
	}
	if (c->long_mode)
		sysret_flags(c);
	else
		c->rflags |= FLAG_IF;
	cpu_ring_changed(c);
	return NULL;
}

static const struct insn *sys_sysenter(struct soft_cpu *c, const struct insn *in)
{
	unsigned cs = c->s.sysenter_cs & 0xfffc;

	if (c->long_mode && cpu_is_amd(c))
		cpu_raise(c, X86_UD);
	if (!in_protected(c) || !cs)
		cpu_raise_err(c, X86_GP, 0);
	c->rip = c->long_mode ? c->s.sysenter_eip : (uint32_t)c->s.sysenter_eip;
	c->r[RSP] = c->long_mode ? c->s.sysenter_esp : (uint32_t)c->s.sysenter_esp;
	set_code(c, cs, cs + 8, 0, c->long_mode);
	clear_flags(c, FLAG_VM | FLAG_IF | FLAG_RF);
	cpu_mode_changed(c);
	return NULL;
}

static const struct insn *sys_sysexit(struct soft_cpu *c, const struct insn *in)
{
	unsigned cs = c->s.sysenter_cs & 0xfffc;
	bool wide = in->opsize == 8;

	if (c->long_mode && cpu_is_amd(c))
		cpu_raise(c, X86_UD);
	if (!in_protected(c) || c->cpl || !cs)
		cpu_raise_err(c, X86_GP, 0);
	if (wide && (!canonical(c, c->r[RDX]) || !canonical(c, c->r[RCX])))
		cpu_raise_err(c, X86_GP, 0);
	c->rip = wide ? c->r[RDX] : (uint32_t)c->r[RDX];
	c->r[RSP] = wide ? c->r[RCX] : (uint32_t)c->r[RCX];
	set_code(c, (cs + (wide ? 32 : 16)) | 3, (cs + (wide ? 40 : 24)) | 3, 3, wide);
	cpu_mode_changed(c);
	return NULL;
}

static const struct insn *sys_swapgs(struct soft_cpu *c, const struct insn *in)
{
	uint64_t base = c->s.seg[SEG_GS].base;

	need_cpl0(c);
	seg_set_base(c, SEG_GS, c->s.kernel_gs_base);
	c->s.kernel_gs_base = base;
	return in->flags & INSN_END ? sys_end(c) : in + 1;
}

static void need_fsgsbase(struct soft_cpu *c)
{
	if (!(c->s.cr4 & CR4_FSGSBASE) || c->code_bits != 64)
		cpu_raise(c, X86_UD);
}

static const struct insn *read_base(struct soft_cpu *c, const struct insn *in, unsigned seg)
{
	need_fsgsbase(c);
	sys_set_reg(c, in->rm, c->s.seg[seg].base, in->opsize);
	return in + 1;
}

static const struct insn *write_base(struct soft_cpu *c, const struct insn *in, unsigned seg)
{
	uint64_t base = in->opsize == 8 ? R64(c, in->rm) : R32(c, in->rm);

	need_fsgsbase(c);
	if (!canonical(c, base))
		cpu_raise_err(c, X86_GP, 0);
	seg_set_base(c, seg, base);
	return in->flags & INSN_END ? sys_end(c) : in + 1;
}

static const struct insn *sys_rdfsbase(struct soft_cpu *c, const struct insn *in)
{
	return read_base(c, in, SEG_FS);
}

static const struct insn *sys_rdgsbase(struct soft_cpu *c, const struct insn *in)
{
	return read_base(c, in, SEG_GS);
}

static const struct insn *sys_wrfsbase(struct soft_cpu *c, const struct insn *in)
{
	return write_base(c, in, SEG_FS);
}

static const struct insn *sys_wrgsbase(struct soft_cpu *c, const struct insn *in)
{
	return write_base(c, in, SEG_GS);
}

/* Not at CPL 0: -EPERM of the KVM interface (-1), as its guests expect. */
static const struct insn *sys_vmcall(struct soft_cpu *c, const struct insn *in)
{
	static const uint8_t regs[] = { RBX, RCX, RDX, RSI };
	const struct vcpu_ops *ops = c->vcpu->ops;
	uint64_t mask = c->code_bits == 64 ? UINT64_MAX : UINT32_MAX, arg[4];
	uint64_t start = __rdtsc(), nr = c->r[RAX] & mask;

	if (!ops || !ops->hypercall)
		cpu_raise(c, X86_UD);
	for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
		arg[i] = c->r[regs[i]] & mask;
	if (c->cpl)
		c->r[RAX] = (uint64_t)-1 & mask;
	else
		c->r[RAX] = ops->hypercall(c->vcpu, nr, arg, c->code_bits == 64) & mask;
	cpu_note_exit(c, EXIT_HYPERCALL, nr, start);
	return sys_end(c);
}

static const struct insn *sys_rsm(struct soft_cpu *c, const struct insn *in)
{
	if (!c->s.in_smm)
		cpu_raise(c, X86_UD);
	smm_leave(c);
	return NULL;
}

static const struct insn *sys_monitor(struct soft_cpu *c, const struct insn *in)
{
	if (c->cpl)
		cpu_raise(c, X86_UD);
	if ((uint32_t)c->r[RCX])
		cpu_raise_err(c, X86_GP, 0);
	mmu_ld_slow(c, sys_lin(c, in, 0, 1, false), 1);
	return in + 1;
}

/* Going on at once is a legal wake-up. */
static const struct insn *sys_mwait(struct soft_cpu *c, const struct insn *in)
{
	if (c->cpl)
		cpu_raise(c, X86_UD);
	if ((uint32_t)c->r[RCX] > 1)
		cpu_raise_err(c, X86_GP, 0);
	return sys_end(c);
}

static const struct insn *sys_clzero(struct soft_cpu *c, const struct insn *in)
{
	static const uint8_t zero[64];
	uint64_t lin = sys_lin(c, in, 0, 1, true) & ~63ull;

	mmu_write(c, lin, zero, sizeof(zero));
	return in + 1;
}

insn_fn bind_sys_call(const struct insn *in, unsigned mn)
{
	switch (mn) {
	case MN_SYSCALL:
		return sys_syscall;
	case MN_SYSRET:
		return sys_sysret;
	case MN_SYSENTER:
		return sys_sysenter;
	case MN_SYSEXIT:
		return sys_sysexit;
	case MN_SWAPGS:
		return sys_swapgs;
	case MN_RDFSBASE:
		return sys_rdfsbase;
	case MN_RDGSBASE:
		return sys_rdgsbase;
	case MN_WRFSBASE:
		return sys_wrfsbase;
	case MN_WRGSBASE:
		return sys_wrgsbase;
	case MN_VMCALL:
	case MN_VMMCALL:
		return sys_vmcall;
	case MN_RSM:
		return sys_rsm;
	case MN_MONITOR:
		return sys_monitor;
	case MN_MWAIT:
		return sys_mwait;
	case MN_CLZERO:
		return sys_clzero;
	default:
		return NULL;
	}
}

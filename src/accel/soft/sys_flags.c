/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions on RFLAGS that are not arithmetic: CLI, STI, PUSHF, POPF, CLAC, STAC, and HLT.
 * With the rules of IOPL, virtual-8086 extensions and protected-mode virtual interrupts.
 * Intel SDM vol. 2, vol. 3A chapter 20. On the vCPU's thread.
 */
#include "accel/soft/sys.h"

static _Noreturn void gp0(struct soft_cpu *c)
{
	cpu_raise_err(c, X86_GP, 0);
}

enum if_target { IF_REAL, IF_VIRTUAL };

/* Which flag CLI and STI mean here; #GP when they may not. */
static enum if_target if_target(struct soft_cpu *c)
{
	if (c->cpl <= cpu_iopl(c))
		return IF_REAL;
	if (in_v86(c) ? c->s.cr4 & CR4_VME : c->cpl == 3 && c->s.cr4 & CR4_PVI)
		return IF_VIRTUAL;
	gp0(c);
}

static const struct insn *sys_cli(struct soft_cpu *c, const struct insn *in)
{
	if (if_target(c) == IF_REAL) {
		c->rflags &= ~(uint64_t)FLAG_IF;
		c->ev_mask &= ~VCPU_EV_INTR;
	} else {
		c->rflags &= ~(uint64_t)FLAG_VIF;
	}
	return in->flags & INSN_END ? sys_end(c) : in + 1;
}

/*
 * Events are looked at behind blocks: with the next instruction in the same block its shadow is there
 * without being kept.
 */
static const struct insn *sys_sti(struct soft_cpu *c, const struct insn *in)
{
	bool last = in->flags & INSN_END;

	if (if_target(c) == IF_VIRTUAL) {
		if (c->rflags & FLAG_VIP)
			gp0(c);
		c->rflags |= FLAG_VIF;
	} else {
		c->s.sti_shadow = last && !(c->rflags & FLAG_IF);
		c->rflags |= FLAG_IF;
		c->ev_mask |= VCPU_EV_INTR;
	}
	return last ? sys_end(c) : in + 1;
}

static const struct insn *sys_pushf(struct soft_cpu *c, const struct insn *in)
{
	uint64_t flags = cpu_rflags(c);

	if (in_v86(c) && cpu_iopl(c) < 3) {
		if (!(c->s.cr4 & CR4_VME) || in->opsize != 2)
			gp0(c);
		flags = (flags & ~(uint64_t)FLAG_IF) | FLAG_IOPL;
		if (flags & FLAG_VIF)
			flags |= FLAG_IF;
	}
	stk_push(c, flags & 0xfcffff, in->opsize);
	return in + 1;
}

/* POPF in virtual-8086 mode under CR4.VME: IF goes to VIF. */
static uint64_t popf_vme(struct soft_cpu *c, uint64_t val)
{
	if (val & FLAG_TF || (val & FLAG_IF && c->rflags & FLAG_VIP))
		gp0(c);
	return val & FLAG_IF ? val | FLAG_VIF : val & ~(uint64_t)FLAG_VIF;
}

static const struct insn *sys_popf(struct soft_cpu *c, const struct insn *in)
{
	uint64_t mask = FLAGS_STATUS | FLAG_TF | FLAG_DF | FLAG_NT, val;
	bool vme = in_v86(c) && cpu_iopl(c) < 3;

	if (vme && (!(c->s.cr4 & CR4_VME) || in->opsize != 2))
		gp0(c);
	val = stack_peek(c, 0, in->opsize);
	if (vme) {
		val = popf_vme(c, val);
		mask |= FLAG_VIF;
	} else {
		if (in->opsize != 2)
			mask |= FLAG_AC | FLAG_ID | FLAG_RF;
		if (c->cpl <= cpu_iopl(c))
			mask |= FLAG_IF;
		if (c->cpl == 0)
			mask |= FLAG_IOPL;
		val &= ~(uint64_t)FLAG_RF;
	}
	c->r[RSP] = stack_merge(c->r[RSP], c->r[RSP] + in->opsize, c->stack_bits);
	cpu_set_rflags(c, (cpu_rflags(c) & ~mask) | (val & mask) | FLAG_R1);
	return sys_end(c);
}

static const struct insn *set_ac(struct soft_cpu *c, const struct insn *in, bool on)
{
	if (c->cpl)
		cpu_raise(c, X86_UD);
	if (!!(c->rflags & FLAG_AC) != on)
		cpu_set_rflags(c, cpu_rflags(c) ^ FLAG_AC);
	return in->flags & INSN_END ? sys_end(c) : in + 1;
}

static const struct insn *sys_clac(struct soft_cpu *c, const struct insn *in)
{
	return set_ac(c, in, false);
}

static const struct insn *sys_stac(struct soft_cpu *c, const struct insn *in)
{
	return set_ac(c, in, true);
}

static const struct insn *sys_hlt(struct soft_cpu *c, const struct insn *in)
{
	need_cpl0(c);
	c->s.mp_state = MP_HALTED;
	return sys_end(c);
}

insn_fn bind_sys_flags(const struct insn *in, unsigned mn)
{
	switch (mn) {
	case MN_CLI:
		return sys_cli;
	case MN_STI:
		return sys_sti;
	case MN_PUSHF:
		return sys_pushf;
	case MN_POPF:
		return sys_popf;
	case MN_CLAC:
		return sys_clac;
	case MN_STAC:
		return sys_stac;
	case MN_HLT:
		return sys_hlt;
	default:
		return NULL;
	}
}

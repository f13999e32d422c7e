/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port instructions: IN, OUT, INS, OUTS, with the I/O permission bitmap of the TSS. Intel SDM
 * vol. 1 chapter 19. On the vCPU's thread.
 */
#include "accel/soft/sys.h"
#include "mem/map.h"

/* Elements of a repeated INS or OUTS between two looks at pending events. */
#define REP_BUDGET 1024

static void check_port(struct soft_cpu *c, uint16_t port, unsigned size)
{
	uint32_t map, bits, last;

	if (!in_protected(c) || (!in_v86(c) && c->cpl <= cpu_iopl(c)))
		return;
	if (!((c->s.tr.attr & SEG_TYPE) & 8) || c->s.tr.limit < 103)
		cpu_raise_err(c, X86_GP, 0);
	map = (uint32_t)mmu_ld_sys(c, c->s.tr.base + 102, 2);
	/* two bytes are read, for ports that straddle one */
	last = map + port / 8u + 1;
	if (last > c->s.tr.limit)
		cpu_raise_err(c, X86_GP, 0);
	bits = (uint32_t)mmu_ld_sys(c, c->s.tr.base + map + port / 8u, 2);
	if (bits >> (port & 7) & ((1u << size) - 1))
		cpu_raise_err(c, X86_GP, 0);
}

static uint64_t port_in(struct soft_cpu *c, uint16_t port, unsigned size)
{
	uint64_t val = 0;

	cpu_access(c, MAP_PIO, port, &val, size, false);
	debug_io(c, port, size);
	return val;
}

static void port_out(struct soft_cpu *c, uint16_t port, uint64_t val, unsigned size)
{
	cpu_access(c, MAP_PIO, port, &val, size, true);
	debug_io(c, port, size);
}

static uint16_t port_of(struct soft_cpu *c, const struct insn *in)
{
	return in->flags & INSN_IMM ? in->imm & 0xff : (uint16_t)c->r[RDX];
}

static const struct insn *io_done(struct soft_cpu *c, const struct insn *in)
{
	return in->flags & INSN_END ? sys_end(c) : in + 1;
}

static const struct insn *sys_in(struct soft_cpu *c, const struct insn *in)
{
	uint16_t port = port_of(c, in);

	check_port(c, port, in->opsize);
	sys_set_reg(c, R_OFF(RAX), port_in(c, port, in->opsize), in->opsize);
	return io_done(c, in);
}

static const struct insn *sys_out(struct soft_cpu *c, const struct insn *in)
{
	uint16_t port = port_of(c, in);

	check_port(c, port, in->opsize);
	port_out(c, port, c->r[RAX], in->opsize);
	return io_done(c, in);
}

/* A register as wide as addresses are. */
static uint64_t addr_get(const struct soft_cpu *c, const struct insn *in, unsigned reg)
{
	uint64_t v = c->r[reg];

	return in->flags & INSN_A16 ? (uint16_t)v : in->flags & INSN_A32 ? (uint32_t)v : v;
}

static void addr_add(struct soft_cpu *c, const struct insn *in, unsigned reg, int64_t delta)
{
	uint64_t v = c->r[reg] + (uint64_t)delta;

	if (in->flags & INSN_A16)
		c->r[reg] = (c->r[reg] & ~0xffffull) | (v & 0xffff);
	else
		c->r[reg] = in->flags & INSN_A32 ? (uint32_t)v : v;
}

static void one_in(struct soft_cpu *c, const struct insn *in, int64_t step)
{
	uint16_t port = (uint16_t)c->r[RDX];
	/* ES cannot be overridden; in 64-bit mode its base is 0 */
	uint64_t lin = seg_linear(c, c->code_bits == 64 ? SEG_NONE : SEG_ES,
				  addr_get(c, in, RDI), in->opsize, true);

	mmu_probe_write(c, lin, in->opsize);
	mmu_st_slow(c, lin, port_in(c, port, in->opsize), in->opsize);
	addr_add(c, in, RDI, step);
}

static void one_out(struct soft_cpu *c, const struct insn *in, int64_t step)
{
	uint64_t lin = seg_linear(c, in->seg, addr_get(c, in, RSI), in->opsize, false);

	port_out(c, (uint16_t)c->r[RDX], mmu_ld_slow(c, lin, in->opsize), in->opsize);
	addr_add(c, in, RSI, step);
}

/*
 * Registers move with each element, so a fault or an interrupt between two leaves the rest to be
 * done by the same instruction.
 */
static const struct insn *io_string(struct soft_cpu *c, const struct insn *in,
				    void (*one)(struct soft_cpu *, const struct insn *, int64_t))
{
	int64_t step = c->rflags & FLAG_DF ? -(int64_t)in->opsize : in->opsize;
	unsigned budget = REP_BUDGET;

	check_port(c, (uint16_t)c->r[RDX], in->opsize);
	if (!(in->flags & (INSN_REP | INSN_REPNE))) {
		one(c, in, step);
		return io_done(c, in);
	}
	while (addr_get(c, in, RCX)) {
		if (!budget-- || c->slow) {
			if (!c->slow)
				break;
			one(c, in, step);
			addr_add(c, in, RCX, -1);
			break;
		}
		one(c, in, step);
		addr_add(c, in, RCX, -1);
	}
	if (!addr_get(c, in, RCX))
		return io_done(c, in);
	c->rflags |= FLAG_RF; /* as for MOVS: its breakpoint has been */
	c->rip = cpu_cur_rip(c);
	return NULL;
}

static const struct insn *sys_ins(struct soft_cpu *c, const struct insn *in)
{
	return io_string(c, in, one_in);
}

static const struct insn *sys_outs(struct soft_cpu *c, const struct insn *in)
{
	return io_string(c, in, one_out);
}

insn_fn bind_sys_io(const struct insn *in, unsigned mn)
{
	switch (mn) {
	case MN_IN:
		return sys_in;
	case MN_OUT:
		return sys_out;
	case MN_INS:
		return sys_ins;
	case MN_OUTS:
		return sys_outs;
	default:
		return NULL;
	}
}

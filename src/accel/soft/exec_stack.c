/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUSH POP PUSHA POPA ENTER LEAVE, and the stack accessors of cpu.h. Intel SDM vol. 2, vol. 1
 * chapter 6. vCPU thread. rSP changes when all accesses have succeeded.
 */
#include "accel/soft/exec.h"

/* rSP cut to the stack's width. */
static inline uint64_t cut_sp(const struct soft_cpu *c, uint64_t sp)
{
	if (c->stack_bits == 64)
		return sp;
	return c->stack_bits == 32 ? (uint32_t)sp : (uint16_t)sp;
}

static inline void set_sp(struct soft_cpu *c, uint64_t sp)
{
	if (c->stack_bits == 64)
		c->r[RSP] = sp;
	else if (c->stack_bits == 32)
		SETR32(c, R_OFF(RSP), sp);
	else
		SETR16(c, R_OFF(RSP), sp);
}

static void stack_store(struct soft_cpu *c, uint64_t sp, uint64_t val, unsigned size)
{
	uint64_t lin = sp;
	const struct tlb_entry *e;

	if (c->stack_bits != 64)
		lin = seg_linear(c, SEG_SS, sp, size, true);
	e = tlb_slot(c->tlb, TLB_WRITE, lin);
	if (tlb_hit(e, lin, size))
		mmu_st(c, lin, val, size);
	else
		mmu_st_stack(c, lin, val, size);
}

static uint64_t stack_load(struct soft_cpu *c, uint64_t sp, unsigned size)
{
	uint64_t lin = sp;
	const struct tlb_entry *e;

	if (c->stack_bits != 64)
		lin = seg_linear(c, SEG_SS, sp, size, false);
	e = tlb_slot(c->tlb, TLB_READ, lin);
	if (tlb_hit(e, lin, size))
		return mmu_ld(c, lin, size);
	return mmu_ld_stack(c, lin, size);
}

void stk_push(struct soft_cpu *c, uint64_t val, unsigned size)
{
	uint64_t sp = cut_sp(c, c->r[RSP] - size);

	stack_store(c, sp, val, size);
	set_sp(c, sp);
}

uint64_t stk_pop(struct soft_cpu *c, unsigned size)
{
	uint64_t val = stack_load(c, cut_sp(c, c->r[RSP]), size);

	set_sp(c, c->r[RSP] + size);
	return val;
}

HANDLER(push_r64)
{
	uint64_t sp = c->r[RSP] - 8, v = R64(c, in->rm);
	const struct tlb_entry *e = tlb_slot(c->tlb, TLB_WRITE, sp);

	if (tlb_hit(e, sp, 8)) {
		*(gmem64 *)(uintptr_t)(sp + e->addend) = v;
		mmu_stored(c, e, sp, 8);
	} else {
		mmu_st_stack(c, sp, v, 8);
	}
	c->r[RSP] = sp;
	NEXT();
}

HANDLER(pop_r64)
{
	uint64_t sp = c->r[RSP], v;
	const struct tlb_entry *e = tlb_slot(c->tlb, TLB_READ, sp);

	if (tlb_hit(e, sp, 8))
		v = *(gmem64 *)(uintptr_t)(sp + e->addend);
	else
		v = mmu_ld_stack(c, sp, 8);
	c->r[RSP] = sp + 8;
	R64(c, in->rm) = v;
	NEXT();
}

HANDLER(push_r)
{
	stk_push(c, reg_get(c, in->rm, in->opsize), in->opsize);
	NEXT();
}

HANDLER(push_i)
{
	stk_push(c, in->imm, in->opsize);
	NEXT();
}

HANDLER(push_m)
{
	stk_push(c, mmu_ld(c, ea_any(c, in, in->opsize, false), in->opsize), in->opsize);
	NEXT();
}

HANDLER(pop_r)
{
	uint64_t v = stk_pop(c, in->opsize);

	reg_set(c, in->rm, in->opsize, v);
	NEXT();
}

/* An address that uses rSP uses the value behind the pop. */
HANDLER(pop_m)
{
	unsigned size = in->opsize;
	uint64_t v = stack_load(c, cut_sp(c, c->r[RSP]), size);
	uint64_t off = ea_offset(c, in, in->base == R_OFF(RSP) ? size : 0);

	mmu_st(c, ea_linear(c, in, off, size, true), v, size);
	set_sp(c, c->r[RSP] + size);
	NEXT();
}

HANDLER(pusha)
{
	static const uint8_t order[8] = { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };
	unsigned size = in->opsize;
	uint64_t sp = c->r[RSP];

	/* The lowest address first: what faults there has written nothing. */
	for (int i = 7; i >= 0; i--)
		mmu_probe_write(c, seg_linear(c, SEG_SS, cut_sp(c, sp - size * ((unsigned)i + 1)),
					      size, true), size);
	for (unsigned i = 0; i < 8; i++)
		stack_store(c, cut_sp(c, sp - size * (i + 1)),
			    reg_get(c, R_OFF(order[i]), size), size);
	set_sp(c, sp - 8 * size);
	NEXT();
}

HANDLER(popa)
{
	static const uint8_t order[8] = { RDI, RSI, RBP, RSP, RBX, RDX, RCX, RAX };
	unsigned size = in->opsize;
	uint64_t sp = c->r[RSP], v[8];

	for (unsigned i = 0; i < 8; i++)
		v[i] = stack_load(c, cut_sp(c, sp + size * i), size);
	for (unsigned i = 0; i < 8; i++) {
		if (order[i] != RSP)
			reg_set(c, R_OFF(order[i]), size, v[i]);
	}
	set_sp(c, sp + 8 * size);
	NEXT();
}

HANDLER(enter)
{
	unsigned size = in->opsize, level = in->imm2 & 31;
	uint64_t sp = cut_sp(c, c->r[RSP] - size), bp = c->r[RBP], frame = sp;

	stack_store(c, sp, reg_get(c, R_OFF(RBP), size), size);
	for (unsigned i = 1; i < level; i++) {
		uint64_t v;

		bp -= size;
		v = stack_load(c, cut_sp(c, bp), size);
		sp = cut_sp(c, sp - size);
		stack_store(c, sp, v, size);
	}
	if (level) {
		sp = cut_sp(c, sp - size);
		stack_store(c, sp, frame, size);
	}
	sp = cut_sp(c, sp - (in->imm & 0xffff));
	/* The new top must be writable. */
	mmu_probe_write(c, c->stack_bits == 64 ? sp : seg_linear(c, SEG_SS, sp, size, true), size);
	if (c->stack_bits == 64 && size == 8)
		c->r[RBP] = frame;
	else if (size == 2 || c->stack_bits == 16)
		R16(c, R_OFF(RBP)) = (uint16_t)frame;
	else
		SETR32(c, R_OFF(RBP), frame);
	set_sp(c, sp);
	NEXT();
}

HANDLER(leave)
{
	uint64_t sp = cut_sp(c, c->r[RBP]);
	uint64_t v = stack_load(c, sp, in->opsize);

	set_sp(c, sp + in->opsize);
	reg_set(c, R_OFF(RBP), in->opsize, v);
	NEXT();
}

static insn_fn bind_push(struct soft_cpu *c, struct insn *in)
{
	if (in->flags & INSN_MEM)
		return push_m;
	if (in->flags & INSN_IMM)
		return push_i;
	return c->stack_bits == 64 && in->opsize == 8 ? push_r64 : push_r;
}

static insn_fn bind_pop(struct soft_cpu *c, struct insn *in)
{
	if (in->flags & INSN_MEM)
		return pop_m;
	return c->stack_bits == 64 && in->opsize == 8 ? pop_r64 : pop_r;
}

insn_fn bind_stack(struct soft_cpu *c, struct insn *in)
{
	switch (op_descs[in->op].mn) {
	case MN_PUSH:
		return bind_push(c, in);
	case MN_POP:
		return bind_pop(c, in);
	case MN_PUSHA:
		return pusha;
	case MN_POPA:
		return popa;
	case MN_ENTER:
		return enter;
	case MN_LEAVE:
		return leave;
	default:
		return NULL;
	}
}

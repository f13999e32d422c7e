/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Near control flow: JMP Jcc CALL RET LOOPcc JrCXZ, BOUND, UD0 UD1 UD2. Intel SDM vol. 2.
 * vCPU thread. A branch whose target may not be executed faults itself.
 */
#include "accel/soft/block.h"
#include "accel/soft/exec.h"

/* Out of line: a target that is not canonical, or beyond the limit of CS. */
static _Noreturn __attribute__((noinline, cold)) void bad_target(struct soft_cpu *c)
{
	cpu_raise_err(c, X86_GP, 0);
}

static inline void check_target(struct soft_cpu *c, uint64_t rip)
{
	if (c->code_bits == 64) {
		if (unlikely(!mmu_canonical(c, rip)))
			bad_target(c);
	} else if (unlikely(rip > c->s.seg[SEG_CS].limit)) {
		bad_target(c);
	}
}

static inline uint64_t cut_rip(uint64_t rip, const struct insn *in)
{
	if (in->opsize == 8)
		return rip;
	return in->opsize == 4 ? (uint32_t)rip : (uint16_t)rip;
}

static inline uint64_t relative(const struct soft_cpu *c, const struct insn *in)
{
	return cut_rip(c->r[R_PC] + in->next + in->imm, in);
}

HANDLER(jmp_rel)
{
	uint64_t to = relative(c, in);

	check_target(c, to);
	END_BLOCK(to);
}

HANDLER(jmp_rel64)
{
	END_BLOCK(c->r[R_PC] + in->next + in->imm);
}

HANDLER(jcc)
{
	uint64_t to;

	if (!fl_cond(c->fl, in->cc))
		END_BLOCK(cpu_next_rip(c));
	to = relative(c, in);
	check_target(c, to);
	END_BLOCK(to);
}

#define JCC64(n)                                                               \
	HANDLER(jcc64_##n)                                                     \
	{                                                                      \
		uint64_t rip = c->r[R_PC] + in->next;                          \
                                                                               \
		c->rip = fl_cond(c->fl, n) ? rip + in->imm : rip;              \
		return NULL;                                                   \
	}
JCC64(0)
JCC64(1)
JCC64(2)
JCC64(3)
JCC64(4)
JCC64(5)
JCC64(6)
JCC64(7)
JCC64(8)
JCC64(9)
JCC64(10)
JCC64(11)
JCC64(12)
JCC64(13)
JCC64(14)
JCC64(15)

static const insn_fn jcc64[16] = { jcc64_0,  jcc64_1,  jcc64_2,	 jcc64_3, jcc64_4,  jcc64_5,
				   jcc64_6,  jcc64_7,  jcc64_8,	 jcc64_9, jcc64_10, jcc64_11,
				   jcc64_12, jcc64_13, jcc64_14, jcc64_15 };

/* The operand of an indirect branch. */
static inline uint64_t target_operand(struct soft_cpu *c, const struct insn *in)
{
	if (in->flags & INSN_MEM)
		return mmu_ld(c, ea_any(c, in, in->opsize, false), in->opsize);
	return reg_get(c, in->rm, in->opsize);
}

HANDLER(jmp_ind)
{
	uint64_t to = target_operand(c, in);

	check_target(c, to);
	END_BLOCK(to);
}

HANDLER(call_rel)
{
	uint64_t to = relative(c, in);

	check_target(c, to);
	stk_push(c, cut_rip(cpu_next_rip(c), in), in->opsize);
	END_BLOCK(to);
}

HANDLER(call_ind)
{
	uint64_t to = target_operand(c, in);

	check_target(c, to);
	stk_push(c, cut_rip(cpu_next_rip(c), in), in->opsize);
	END_BLOCK(to);
}

HANDLER(call_rel64)
{
	uint64_t rip = c->r[R_PC] + in->next, sp = c->r[RSP] - 8;
	const struct tlb_entry *e = tlb_slot(c->tlb, TLB_WRITE, sp);

	if (tlb_hit(e, sp, 8)) {
		*(gmem64 *)(uintptr_t)(sp + e->addend) = rip;
		mmu_stored(c, e, sp, 8);
	} else {
		mmu_st_stack(c, sp, rip, 8);
	}
	c->r[RSP] = sp;
	END_BLOCK(rip + in->imm);
}

/* The stack pointer after a return that drops extra bytes. */
static void drop_stack(struct soft_cpu *c, uint64_t bytes)
{
	uint64_t sp = c->r[RSP] + bytes;

	if (c->stack_bits == 64)
		c->r[RSP] = sp;
	else if (c->stack_bits == 32)
		SETR32(c, R_OFF(RSP), sp);
	else
		SETR16(c, R_OFF(RSP), sp);
}

HANDLER(ret)
{
	uint64_t old = c->r[RSP], to = stk_pop(c, in->opsize);

	if (unlikely(c->code_bits == 64 ? !mmu_canonical(c, to) : to > c->s.seg[SEG_CS].limit)) {
		c->r[RSP] = old;
		bad_target(c);
	}
	if (in->flags & INSN_IMM)
		drop_stack(c, in->imm & 0xffff);
	END_BLOCK(to);
}

HANDLER(ret64)
{
	uint64_t sp = c->r[RSP], to;
	const struct tlb_entry *e = tlb_slot(c->tlb, TLB_READ, sp);

	if (tlb_hit(e, sp, 8))
		to = *(gmem64 *)(uintptr_t)(sp + e->addend);
	else
		to = mmu_ld_stack(c, sp, 8);
	if (unlikely(!mmu_canonical(c, to)))
		bad_target(c);
	c->r[RSP] = sp + 8;
	END_BLOCK(to);
}

/* LOOP and JrCXZ count in the register of the address size. */
static unsigned count_size(const struct insn *in)
{
	return in->flags & INSN_A16 ? 2 : in->flags & INSN_A32 ? 4 : 8;
}

static inline const struct insn *loop_if(struct soft_cpu *c, const struct insn *in, bool flag)
{
	unsigned size = count_size(in);
	uint64_t count = reg_get(c, R_OFF(RCX), size) - 1, to = cpu_next_rip(c);

	if (size < 8)
		count &= BIT64(8 * size) - 1;
	if (count && flag) {
		to = relative(c, in);
		check_target(c, to);
	}
	reg_set(c, R_OFF(RCX), size, count);
	END_BLOCK(to);
}

HANDLER(loop)
{
	return loop_if(c, in, true);
}

HANDLER(loope)
{
	return loop_if(c, in, c->fl & FL_ZF);
}

HANDLER(loopne)
{
	return loop_if(c, in, !(c->fl & FL_ZF));
}

HANDLER(jcxz)
{
	uint64_t to = cpu_next_rip(c);

	if (!reg_get(c, R_OFF(RCX), count_size(in))) {
		to = relative(c, in);
		check_target(c, to);
	}
	END_BLOCK(to);
}

HANDLER(bound)
{
	unsigned size = in->opsize;
	uint64_t lin = ea_any(c, in, 2 * size, false);
	int64_t low, high, i;

	if (size == 2) {
		i = (int16_t)R16(c, in->reg);
		low = (int16_t)ld16(c, lin);
		high = (int16_t)ld16(c, lin + 2);
	} else {
		i = (int32_t)R32(c, in->reg);
		low = (int32_t)ld32(c, lin);
		high = (int32_t)ld32(c, lin + 4);
	}
	if (i < low || i > high)
		cpu_raise(c, X86_BR);
	NEXT();
}

const struct insn *exec_ud(struct soft_cpu *c, const struct insn *in)
{
	cpu_raise(c, X86_UD);
}

const struct insn *exec_gp0(struct soft_cpu *c, const struct insn *in)
{
	cpu_raise_err(c, X86_GP, 0);
}

const struct insn *exec_leave(struct soft_cpu *c, const struct insn *in)
{
	END_BLOCK(c->r[R_PC] + in->next - in->len);
}

static bool plain64(const struct soft_cpu *c, const struct insn *in)
{
	return c->code_bits == 64 && in->opsize == 8;
}

static insn_fn bind_call(struct soft_cpu *c, struct insn *in)
{
	if (op_descs[in->op].operand[0].kind != OPK_REL)
		return call_ind;
	return plain64(c, in) ? call_rel64 : call_rel;
}

static insn_fn bind_jmp(struct soft_cpu *c, struct insn *in)
{
	if (op_descs[in->op].operand[0].kind != OPK_REL)
		return jmp_ind;
	return plain64(c, in) ? jmp_rel64 : jmp_rel;
}

insn_fn bind_flow(struct soft_cpu *c, struct insn *in)
{
	switch (op_descs[in->op].mn) {
	case MN_JCC:
		return plain64(c, in) ? jcc64[in->cc] : jcc;
	case MN_JMP:
		return bind_jmp(c, in);
	case MN_CALL:
		return bind_call(c, in);
	case MN_RET:
		return plain64(c, in) && !(in->flags & INSN_IMM) ? ret64 : ret;
	case MN_LOOP:
		return loop;
	case MN_LOOPE:
		return loope;
	case MN_LOOPNE:
		return loopne;
	case MN_JCXZ:
		return jcxz;
	case MN_BOUND:
		return bound;
	case MN_UD0:
	case MN_UD1:
	case MN_UD2:
		return exec_ud;
	default:
		return NULL;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop that a block is in, if any, and which registers walk through it in small steps: an access by way
 * of those is likely to be in the page of the last turn's. What comes from memory in the loop (a list's
 * next element), or is somebody's product, is elsewhere each time. vCPU thread.
 */
#include "accel/soft/jit/xlat.h"
#include "accel/soft/mmu.h"

#define LOOP_BLOCKS 8

static const struct block *behind(struct xlat *x, const struct block *o)
{
	int32_t next = o->in[o->nr - 1].next;

	return next < 0x1000 ? block_known(x->c, x->b, (unsigned)next) : NULL;
}

/* Where the block, or what is known to follow it in the page, branches back to, or over it; -1: nowhere. */
static int32_t loop_start(struct xlat *x)
{
	const int32_t start = (int32_t)(x->b->gpa & PAGE_OFF);
	const struct block *o = x->b;

	for (unsigned n = 0; o && n < LOOP_BLOCKS; n++, o = behind(x, o)) {
		const struct insn *in = &o->in[o->nr - 1];
		unsigned mn = op_descs[in->op].mn;

		if ((mn == MN_JCC || mn == MN_JMP) && x_is_direct(in)) {
			int32_t to = x_direct_target(in);

			if (to <= start && to >= 0)
				return to;
		}
	}
	return -1;
}

/* Whether its result is near what it is made of, register by register. */
static bool walks(const struct insn *in)
{
	switch (op_descs[in->op].mn) {
	case MN_ADD: case MN_SUB: case MN_INC: case MN_DEC: case MN_LEA: case MN_MOV: case MN_MOVSXD:
	case MN_MOVZX: case MN_MOVSX: case MN_SHL: case MN_SHR: case MN_SAR: case MN_CBW:
		return true;
	default:
		return false;
	}
}

/* Adds registers that the instruction makes jump, those that do already being known. */
static unsigned jumping(const struct insn *in, unsigned jump)
{
	const struct op_desc *d = &op_descs[in->op];
	unsigned written = form_written(in) & ~BIT32(RSP);
	unsigned from = form_named(in, OPRW_R) | d->gpr_r;

	if (!written)
		return jump;
	if (d->mn == MN_LEA)
		from = BIT32(in->base / 8) | BIT32(in->index / 8);
	else if (in->flags & INSN_MEM)
		return jump | written;
	if (d->mn == MN_POP || !walks(in) || (from & jump))
		return jump | written;
	/* by a register's value: a step of any size */
	if ((d->mn == MN_ADD || d->mn == MN_SUB) && d->operand[1].kind != OPK_IMM)
		return jump | written;
	return jump;
}

/* Over the loop from page offset to on, until it comes to its way back; a call may change anything. */
static unsigned jumping_from(struct xlat *x, int32_t to, unsigned jump)
{
	const int32_t start = (int32_t)(x->b->gpa & PAGE_OFF);
	const struct block *o = to == start ? x->b : block_known(x->c, x->b, (unsigned)to);

	for (unsigned n = 0; o && n < 2 * LOOP_BLOCKS; n++, o = behind(x, o)) {
		const struct insn *last = &o->in[o->nr - 1];

		for (const struct insn *in = o->in; in <= last; in++)
			jump = jumping(in, jump);
		if (op_descs[last->op].mn == MN_CALL || op_descs[last->op].cls == OPC_SYS)
			return UINT32_MAX;
		if (op_descs[last->op].mn == MN_JCC && x_is_direct(last) && x_direct_target(last) == to)
			break;
	}
	return jump;
}

bool x_walks(struct xlat *x, const struct insn *in)
{
	if (!x->loop_known) {
		int32_t to = loop_start(x);

		x->loop_known = true;
		/* twice: a register may come to another one by the way back */
		x->jump = to < 0 ? UINT32_MAX : jumping_from(x, to, jumping_from(x, to, 0));
	}
	return !(x->jump & (BIT32(in->base / 8) | BIT32(in->index / 8)));
}

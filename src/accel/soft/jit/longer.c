/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks that go on: what is behind a block that is translated, and is most often come to from there, becomes
 * a part of it. That is behind a conditional jump, where compilers put what is likely, or where a block was
 * cut for its length; in code that much time is spent in also where a jump leads to, and a loop's next turn.
 * Flags, looks at memory and loaded registers are known there then, and there is no jump. vCPU thread.
 */
#include "accel/soft/jit/lockstep.h"
#include "accel/soft/jit/xlat.h"
#include "accel/soft/mmu.h"

#define PARTS 20
#define TURNS 4

/* Whether an interrupt may come in between, behind STI. */
static bool lets_in(const struct block *b)
{
	return b->nr > 1 && op_descs[b->in[b->nr - 2].op].mn == MN_STI;
}

/* Whether the block's last instruction is a jump to a place that is known, and that host code does. */
static bool branches(const struct soft_cpu *c, const struct block *b, unsigned mn)
{
	const struct insn *last = &b->in[b->nr - 1];

	return last->op && op_descs[last->op].mn == mn && x_is_direct(last) && c->flat && !lets_in(b) &&
	       last->opsize == (c->code_bits == 64 ? 8 : 4);
}

/* Whether host code may go on behind the block's last instruction as if nothing had been there. */
static bool goes_on(const struct soft_cpu *c, const struct block *b)
{
	const struct insn *last = &b->in[b->nr - 1];
	int32_t to = x_direct_target(last);

	if (!last->op || last->next >= 0x1000 || lets_in(b))
		return false;
	if (!(last->flags & INSN_END))
		return true;
	/* A loop's way back is most often taken. */
	return branches(c, b, MN_JCC) && (to > last->next || to < 0);
}

/*
 * Whether o, behind b, is come to by way of b in at least half of b's runs, and not by itself. Where much
 * time is spent it may have code of its own as well.
 */
static bool belongs(const struct soft_cpu *c, const struct block *b, const struct block *o, bool hot)
{
	if (!o->in[0].op || (c->lockstep && lockstep_alone(&o->in[0])))
		return false;
	return hot || (!o->code && o->runs * 2 >= b->runs);
}

/* What goes on behind end, the last part of b by now; NULL: nothing does. */
static const struct block *next_part(struct soft_cpu *c, const struct block *b, const struct block *end,
				     bool hot)
{
	const struct insn *last = &end->in[end->nr - 1];
	int32_t to = x_direct_target(last);
	const struct block *o = NULL;

	if (goes_on(c, end))
		o = block_known(c, b, last->next);
	else if (hot && branches(c, end, MN_JMP) && to >= last->next && to < 0x1000)
		o = block_known(c, b, (unsigned)to);
	return o && belongs(c, end, o, hot) ? o : NULL;
}

/* Whether the last part goes back to the first one. */
static bool closes(const struct soft_cpu *c, const struct block *b, const struct block *end)
{
	const struct insn *last = &end->in[end->nr - 1];
	int32_t to = x_direct_target(last);

	return !b->crosses && (branches(c, end, MN_JMP) || branches(c, end, MN_JCC)) &&
	       to == (int32_t)(b->gpa & PAGE_OFF) && to < last->next && last->next < 0x1000;
}

/*
 * A loop that much time is spent in is put there a few times: accesses of neighbouring turns share a look,
 * and one of them looks at the clock. Returns the number of parts then.
 */
static unsigned go_round(const struct soft_cpu *c, const struct block **parts, unsigned n, unsigned nr)
{
	const struct block *b = parts[0], *end = parts[n - 1];
	const unsigned turn = n, size = nr;

	if (!closes(c, b, end))
		return n;
	for (unsigned t = 1; t < TURNS && n + turn <= PARTS && nr + size <= LONG_MAX; t++) {
		memcpy(&parts[n], parts, turn * sizeof(parts[0]));
		n += turn;
		nr += size;
	}
	return n;
}

struct block *jit_longer(struct soft_cpu *c, struct block *b)
{
	const bool hot = (b->looped || c->jit->eager) && !c->lockstep;
	const struct block *parts[PARTS] = { b }, *o;
	unsigned n = 1, nr = b->nr;
	struct block *whole;

	if (c->telling)
		return b;
	while (n < PARTS && (o = next_part(c, b, parts[n - 1], hot)) && nr + o->nr <= LONG_MAX) {
		nr += o->nr;
		parts[n++] = o;
	}
	if (hot)
		n = go_round(c, parts, n, nr);
	if (n == 1)
		return b;
	whole = block_join(c, parts, n);
	return whole ? whole : b;
}

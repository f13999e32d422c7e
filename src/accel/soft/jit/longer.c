/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks that go on: what is behind a block that is translated, and is most often come to from there, becomes
 * a part of it. That is behind a conditional jump, where compilers put what is likely, or where a block was
 * cut for its length. Flags, looks at memory and loaded registers are known there then, and there is no jump.
 * vCPU thread.
 */
#include "accel/soft/jit/lockstep.h"
#include "accel/soft/jit/xlat.h"

#define PARTS 20

/* Whether host code may go on behind the block's last instruction as if nothing had been there. */
static bool goes_on(const struct soft_cpu *c, const struct block *b)
{
	const struct insn *last = &b->in[b->nr - 1];
	int32_t to = x_direct_target(last);

	if (!last->op || last->next >= 0x1000)
		return false;
	if (b->nr > 1 && op_descs[b->in[b->nr - 2].op].mn == MN_STI)
		return false; /* an interrupt may come in between */
	if (!(last->flags & INSN_END))
		return true;
	/* A loop's way back is most often taken. */
	return op_descs[last->op].mn == MN_JCC && x_is_direct(last) && c->flat &&
	       (to > last->next || to < 0);
}

/* Whether o, behind b, is come to by way of b in at least half of b's runs, and not by itself. */
static bool belongs(const struct soft_cpu *c, const struct block *b, const struct block *o)
{
	return !o->code && o->runs * 2 >= b->runs && o->in[0].op &&
	       !(c->lockstep && lockstep_alone(&o->in[0]));
}

struct block *jit_longer(struct soft_cpu *c, struct block *b)
{
	const struct block *parts[PARTS] = { b }, *o;
	unsigned n = 1, nr = b->nr;
	struct block *whole;

	while (n < PARTS && !c->telling && goes_on(c, parts[n - 1])) {
		o = block_known(c, b, parts[n - 1]->in[parts[n - 1]->nr - 1].next);
		if (!o || nr + o->nr > LONG_MAX || !belongs(c, b, o))
			break;
		nr += o->nr;
		parts[n++] = o;
	}
	if (n == 1)
		return b;
	whole = block_join(c, parts, n);
	return whole ? whole : b;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a vCPU was when it had to look at the clock is a sample of where its time goes. A block that is met
 * in many of them is a loop that runs for long, or a part of one: it is made again, together with what it
 * goes on to, for what does not pay elsewhere. That is a spot for each access (xspot.c), and registers that
 * change places sooner (xhome.c). An access that turns out to be in another page each time (block.roams) has
 * none when the block is made once more. vCPU thread.
 */
#include "accel/soft/jit/xlat.h"
#include "accel/soft/mmu.h"

/* A block and what it goes on to in its page. */
#define REGION 16
struct region {
	struct block *b[REGION];
	unsigned nr;
};

/* Makes code of a loop for b, if it has other code; or anew, if more of its accesses are known to roam. */
static void make_loop(struct soft_cpu *c, struct block *b)
{
	struct block *whole = jit_whole(c, b);

	if ((b->looped && !whole->roamed) || !jit_has_room(c))
		return;
	memcpy(b->roams, whole->roams, sizeof(b->roams));
	whole->roamed = b->roamed = false;
	b->looped = true;
	c->n.looped += jit_translate_again(c, c->jit, b, c->rip);
}

static void region_add(struct soft_cpu *c, struct region *r, const struct block *from, int32_t off)
{
	struct block *b = off >= 0 && off < 0x1000 ? block_known(c, from, (unsigned)off) : NULL;

	if (!b || !b->code || r->nr == REGION)
		return;
	for (unsigned i = 0; i < r->nr; i++)
		if (r->b[i] == b)
			return;
	r->b[r->nr++] = b;
	make_loop(c, b);
}

static void make_region(struct soft_cpu *c, struct block *b)
{
	struct region r = { .nr = 0 };

	region_add(c, &r, b, (int32_t)(b->gpa & PAGE_OFF));
	for (unsigned n = 0; n < r.nr; n++) {
		const struct block *whole = jit_whole(c, r.b[n]);
		const struct insn *last = &whole->in[whole->nr - 1];

		if (x_is_direct(last))
			region_add(c, &r, whole, x_direct_target(last));
		if (op_descs[last->op].mn != MN_RET && op_descs[last->op].mn != MN_JMP)
			region_add(c, &r, whole, last->next);
	}
}

/* In so many of the last JIT_SAMPLES; what is known to roam by then is seen to each SEE_TO samples. */
#define LOOP_SAMPLES 8
#define SEE_TO	     16

void jit_sample(struct soft_cpu *c, struct block *b)
{
	unsigned met = 0;

	c->jr.polled = 0;
	c->jr.sampled[c->jr.nr_sampled++ % JIT_SAMPLES] = b;
	if (b->looped && c->jr.nr_sampled % SEE_TO)
		return;
	for (unsigned i = 0; i < JIT_SAMPLES; i++)
		met += c->jr.sampled[i] == b;
	if (met >= LOOP_SAMPLES)
		make_region(c, b);
}

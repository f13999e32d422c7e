/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An instruction of host code that is the interpreter's, between others that are not: system instructions,
 * strings, state of the FPU. Called from host code with all guest registers in soft_cpu. vCPU thread.
 */
#include "accel/soft/jit/code.h"
#include "accel/soft/jit/lockstep.h"
#include "accel/soft/mmu.h"

static const void *routine(const struct jit *j, const uint8_t *at)
{
	return j->rx + (at - j->rw);
}

/* Host code at c->rip by the jump cache, as the routine lookup finds it. */
static const void *code_at_rip(struct soft_cpu *c)
{
	const struct jump_entry *je = jump_slot(c->blocks, c->rip);

	if (unlikely(c->lockstep) || unlikely(c->telling) || c->code_bits != 64 || je->lin != c->rip ||
	    (je->stamp != c->stamp && je->stamp != c->stamp_global) || !block_valid(je->b))
		return NULL;
	return je->b->code;
}

/* Behind an instruction that ended its block, perhaps in another mode. */
static const void *go_on(struct soft_cpu *c)
{
	const struct jit *j = c->jit;
	const void *code;

	c->jr.id = JIT_NO_ID;
	if (!cpu_settle(c) || (vcpu_events(c->vcpu) & c->ev_mask) || !--c->poll)
		return routine(j, j->go.leave_poll);
	code = code_at_rip(c);
	if (!code)
		return routine(j, j->go.leave_rip);
	c->r[R_PC] = c->rip & PAGE_ADDR;
	return code;
}

const void *jit_step(struct soft_cpu *c, uint32_t id)
{
	struct block *b = jit_id_block(c->blocks, id);
	const struct insn *in = &b->in[id & 63], *next;
	uint64_t left = (uint64_t)(&b->in[b->nr] - in);

	if (unlikely(c->lockstep) && lockstep_trying(c->lockstep)) {
		c->jr.id = id;
		return routine(c->jit, c->jit->go.leave_bail);
	}
	c->n.left[op_descs[in->op].mn]++;
	c->blk = b;
	c->cur = in;
	c->insns += left; /* less what a fault takes back */
	next = in->fn(c, in);
	c->insns -= left - 1;
	if (next && unlikely(!block_valid(b))) {
		c->rip = cpu_next_rip(c);
		next = NULL;
	}
	c->cur = NULL;
	return next ? NULL : go_on(c);
}

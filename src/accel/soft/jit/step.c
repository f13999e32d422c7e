/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What host code calls: the interpreter, for one instruction between others that are not its own, and the
 * page tables, for an address that is not in the software TLB. All guest registers are in soft_cpu then.
 * vCPU thread.
 */
#include "accel/soft/jit/code.h"
#include "accel/soft/jit/lockstep.h"
#include "accel/soft/mmu.h"

static const void *routine(const struct jit *j, const uint8_t *at)
{
	return j->rx + (at - j->rw);
}

/* Host code at c->rip, which goes on there; or NULL: the run loop's. */
static const void *find_code(struct soft_cpu *c)
{
	const uint64_t flushes = c->blocks->flushes;
	const struct jump_entry *j = &c->blocks->jump[jump_index(c->rip)];
	const struct block *b;

	if (unlikely(c->jr.alone) || !c->flat || !mmu_canonical(c, c->rip))
		return NULL;
	if (jump_renew(c, c->rip) && j->code != jit_cold(c->jit)) {
		c->r[R_PC] = c->rip & PAGE_ADDR;
		return j->code;
	}
	b = block_find(c);
	if (c->blocks->flushes != flushes)
		return NULL;
	c->r[R_PC] = c->rip & PAGE_ADDR;
	return b->code;
}

const void *jit_find(struct soft_cpu *c)
{
	const struct jit *j = c->jit;
	const void *code;
	uint8_t vec_live;

	jit_vecs_lent(c);
	vec_live = c->hc.vec_live;
	c->hc.vec_live = JIT_VEC_NONE; /* should it fault or leave */
	if (!--c->poll)
		return routine(j, j->go.leave_poll);
	code = find_code(c);
	if (!code)
		return routine(j, j->go.leave_rip);
	c->hc.vec_live = vec_live;
	return code;
}

/* Behind an instruction that ended its block, perhaps in another mode. */
static const void *go_on(struct soft_cpu *c)
{
	const struct jit *j = c->jit;
	const void *code;

	c->hc.id = JIT_NO_ID;
	if (!cpu_settle(c) || (vcpu_events(c->vcpu) & c->ev_mask) || !--c->poll)
		return routine(j, j->go.leave_poll);
	code = find_code(c);
	return code ? code : routine(j, j->go.leave_rip);
}

/* Stands in for the instruction behind one that is executed alone. */
static const struct insn *stop(struct soft_cpu *c, const struct insn *in)
{
	return in;
}

void jit_unstop(struct soft_cpu *c)
{
	if (!c->jr.stopped)
		return;
	c->jr.stopped->fn = c->jr.stopped_fn;
	c->jr.stopped = NULL;
}

static const struct insn *execute(struct soft_cpu *c, struct insn *in)
{
	const struct insn *next;

	c->cur = in;
	c->jr.stopped = in + 1;
	c->jr.stopped_fn = in[1].fn;
	in[1].fn = stop;
	next = in->fn(c, in);
	jit_unstop(c);
	return next;
}

static const void *step(struct soft_cpu *c, struct block *b, struct insn *in)
{
	uint64_t stamp = c->stamp, unmapped = c->unmapped;
	uint64_t left = (uint64_t)(&b->in[b->nr] - in);
	const struct insn *next;

	c->jr.lull_until = 0; /* it may set a timer */
	c->blk = b;
	c->insns += left; /* less what a fault takes back */
	next = execute(c, in);
	c->insns -= left - 1;
	/* Code or mappings changed: what calls left behind may be wrong. */
	if (next && unlikely(!block_valid(b) || c->stamp != stamp || c->unmapped != unmapped)) {
		c->cur = in;
		c->rip = cpu_next_rip(c);
		next = NULL;
	}
	c->cur = NULL;
	if (!next)
		return go_on(c);
	if (unlikely(vcpu_events(c->vcpu) & c->ev_mask))
		c->poll = 1; /* its own doing: nobody else told host code */
	return NULL;
}

/*
 * Programs have strings between vector instructions, which look at no vector registers: these come back then.
 * Behind what leads into a kernel they are seldom needed soon.
 */
static bool is_string(const struct insn *in)
{
	unsigned mn = op_descs[in->op].mn;

	return mn == MN_STOS || mn == MN_MOVS || mn == MN_SCAS || mn == MN_CMPS || mn == MN_LODS;
}

static const void *step_lent(struct soft_cpu *c, uint32_t id, bool over)
{
	struct block *b = jit_id_block(c->blocks, id);
	struct insn *in = &b->in[jit_id_insn(id)];
	const void *to;
	uint8_t vec_live;

	jit_vecs_lent(c);
	vec_live = c->hc.vec_live;
	c->hc.vec_live = JIT_VEC_NONE; /* should it fault or leave */
	if (unlikely(c->lockstep) && lockstep_trying(c->lockstep)) {
		c->hc.id = id;
		return routine(c->jit, c->jit->go.leave_bail);
	}
	to = step(c, b, in);
	if (to || !(over || is_string(in)))
		return to;
	c->hc.vec_live = vec_live;
	jit_vecs_lent(c);
	return NULL;
}

const void *jit_step(struct soft_cpu *c, uint32_t id)
{
	const struct block *b = jit_id_block(c->blocks, id);

	c->n.left[op_descs[b->in[jit_id_insn(id)].op].mn]++;
	return step_lent(c, id, false);
}

const void *jit_step_over(struct soft_cpu *c, uint32_t id)
{
	c->n.stepped_over++;
	return step_lent(c, id, true);
}

bool jit_miss(struct soft_cpu *c, uint64_t lin, unsigned kind)
{
	jit_vecs_lent(c);
	return mmu_fill(c, lin, (enum tlb_kind)kind);
}

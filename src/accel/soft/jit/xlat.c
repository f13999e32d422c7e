/* SPDX-License-Identifier: Apache-2.0 */
/* The translation of a block: which flags are read where, then one instruction after the other. */
#include "accel/soft/jit/xlat.h"
#include "accel/soft/mmu.h"
#include "accel/soft/tell.h"
#include <stdio.h>

static void find_live_flags(struct xlat *x)
{
	const struct block *b = x->b;
	uint16_t live = x_live_out(x);

	x->l->live[b->nr] = live;
	for (unsigned i = b->nr; i-- > 0;) {
		const struct op_desc *d = &op_descs[b->in[i].op];

		if (!(d->attr & OPA_FLCOND))
			live &= (uint16_t)~op_changes(d);
		live |= d->flags_r & FLAGS_STATUS;
		/* System instructions may save the flags, or raise what does. */
		if (!b->in[i].op || (d->cls == OPC_SYS && !x_sys_inline(x, &b->in[i])))
			live = FLAGS_ALL;
		if (d->mn == MN_JCC && x_is_inside(x, i))
			live |= x_live_aside(x, i);
		x->l->live[i] = live;
	}
}

/* Returns false when the block ends here for host code. */
static bool put_insn(struct xlat *x)
{
	const struct insn *in = x_insn(x);

	if (in->fn == exec_ud || in->fn == exec_gp0) {
		x_bail(x);
		return false;
	}
	if (x_is_branch(in))
		return x_branch(x) ? x_is_inside(x, x->i) : x_step(x);
	return x_stack(x) || x_general(x) || x_string(x) || x_sys(x) || x_step(x);
}

static void note_behind(struct xlat *x)
{
	struct behind *be = &x->l->behind[x->i];

	*be = (struct behind){ .at = x->a.p, .x87_ok = x->x87_ok };
	for (unsigned i = 0; i < ARRAY_SIZE(be->held); i++)
		be->held[i] = x->held_at == x->a.p ? x->held[i] : NO_GUEST;
}

static void put_block(struct xlat *x, unsigned first)
{
	const struct block *b = x->b;

	for (x->i = first; x->i < b->nr; x->i++) {
		unsigned next = x->run_next, stubs = x->nr_stubs;
		bool more;

		x->due = x->i;
		x->now = NULL;
		if (next == x->i)
			x->run_next = 0;
		if (!next)
			x_look_early(x);
		more = put_insn(x);
		if (next && (next == x->i ? !x->now : stubs != x->nr_stubs))
			x->a.full = true; /* dropped: the last store is not looked at; cannot be */
		note_behind(x);
		x->l->pcs[x->i] = jit_pc_word((size_t)(x->a.p - x->start), x->op_flags);
		x->a.full |= x->a.p - x->start > JIT_PC_MAX;
		if (!more)
			return;
	}
	x->i = x->due = b->nr - 1u;
	x_exit(x, b->in[x->i].next);
}

/* Whether flags that are live come to memory before somebody reads them. */
static bool keeps_first(const struct xlat *x)
{
	const struct block *b = x->b;

	if (x_looks_first(x))
		return true;
	for (unsigned i = 0; i < b->nr; i++) {
		const struct insn *in = &b->in[i];
		unsigned mn = op_descs[in->op].mn;

		if ((in->flags & INSN_MEM) || mn == MN_PUSH || mn == MN_POP || mn == MN_RET || mn == MN_CALL)
			return true;
		if (op_descs[in->op].flags_r & FLAGS_STATUS)
			return false;
	}
	return false;
}

/*
 * Where the block is come to: by the jump cache with flags in soft_cpu.fl, by jumps of the same page with
 * flags in the host's.
 */
static void put_head(struct xlat *x)
{
	struct block *b = x->b;
	const uint8_t *start = x->a.p;

	b->skip = 0;
	b->code = x->j->rx + (start - x->j->rw);
	if (!x->l->live[0])
		return;
	if (keeps_first(x)) {
		jit_put_flags_out(&x->a, T);
		x->host_ok = false;
		x->env_ok = true;
		b->skip = (int16_t)(start - x->a.p);
		b->code = x->j->rx + (x->a.p - x->j->rw);
	} else {
		jit_put_flags_in(&x->a, T);
		b->skip = (int16_t)(x->a.p - start);
	}
}

/*
 * An instruction in two pages is come to by the jump cache alone, which knows that they are mapped behind
 * each other; jumps of its page go by way of that. The second page's generation is looked at here.
 */
static void put_crossing_head(struct xlat *x)
{
	struct block *b = x->b;
	const uint8_t *start = x->a.p;

	x_go_to_itself(x);
	b->skip = (int16_t)(start - x->a.p);
	b->code = x->j->rx + (x->a.p - x->j->rw);
	x_put_gen_check(x, b->gen2_at, b->gen2, STUB_CHANGED);
	x->host_ok = false;
	x->env_ok = true;
}

/* The words for traps, and where they are. */
static void keep_span(struct xlat *x)
{
	struct jit *j = x->j;
	struct jit_span *s = &j->spans[j->nr_spans++];
	size_t pcs = align_up((uint64_t)(x->a.p - j->rw), 2);
	size_t size = x->b->nr * sizeof(x->l->pcs[0]);

	memcpy(j->rw + pcs, x->l->pcs, size);
	*s = (struct jit_span){ .start = (uint32_t)(x->start - j->rw), .pcs = (uint32_t)pcs,
				.id = jit_id(x->c->blocks, x->b, 0) };
	j->used = align_up(pcs + size, 16);
}

static void note_made(struct xlat *x, size_t cold)
{
	struct soft_counts *n = &x->c->n;

	n->made++;
	n->made_insns += x->b->left < x->b->nr ? x->b->left : x->b->nr;
	n->made_guest += x->b->bytes;
	n->made_host += (size_t)(x->j->rw + x->j->used - x->start) + cold;
	for (unsigned i = 0; i < x->nr_stubs; i++)
		n->jumps += x->l->stubs[i].kind == STUB_LINK;
}

static void tell_perf(const struct xlat *x, uint64_t lin, const uint8_t *cold, size_t cold_size)
{
	char name[40];

	snprintf(name, sizeof(name), "guest-%016" PRIx64 "%s", lin, x->c->cpl == 3 ? "-user" : "");
	jit_perf_note(x->j->perf, name, x->j->rx + (x->start - x->j->rw), (size_t)(x->a.p - x->start));
	if (cold_size)
		jit_perf_note(x->j->perf, name, cold, cold_size);
}

/* What is seldom come to, with the rest of its kind: returns its size, and is back where it was. */
static size_t put_cold(struct xlat *x)
{
	uint8_t *hot = x->a.p, *start = x->j->rw + x->j->cold;
	size_t size;

	x->a.p = start;
	x->a.end = x->j->rw + JIT_CODE_SIZE;
	x_put_stubs(x);
	size = (size_t)(x->a.p - start);
	x->j->cold = align_up(x->j->cold + size, 16);
	x->a.p = hot;
	return size;
}

/* From instruction first on, with all that is behind the block; false: there is no room. */
static bool put_all(struct xlat *x, unsigned first, uint64_t lin)
{
	const uint8_t *cold = x->j->rx + x->j->cold;
	size_t cold_size;

	put_block(x, first);
	x_put_exits(x);
	cold_size = put_cold(x);
	if (x->a.full)
		return false;
	keep_span(x);
	note_made(x, cold_size);
	if (x->j->perf)
		tell_perf(x, lin, cold, cold_size);
	if (unlikely(log_is_on(LOG_OUT_ASM)))
		tell_made(x->b, (size_t)(x->a.p - x->start));
	return true;
}

static void begin(struct xlat *x, bool moves)
{
	x->start = x->j->rw + x->j->used;
	x->bytes = block_bytes(x->b);
	x->a = (struct as){ .p = x->start, .end = x->j->rw + JIT_COLD };
	for (unsigned i = 0, from = 0; i < x->b->nr; from += x->b->in[i++].len) {
		x->l->from[i] = (uint16_t)from;
		x->l->operand[i].share = x->l->stacked[i].share = NULL;
		x->l->pcs[i] = 0;
	}
	x->knows_behind = true;
	x_find_homes(x, x->b->looped);
	if (!moves)
		x->nr_moves = 0;
	find_live_flags(x);
}

bool jit_translate(struct soft_cpu *c, struct jit *j, struct block *b, uint64_t lin)
{
	struct xlat_lists lists __attribute__((uninitialized));
	struct xlat x = { .c = c, .j = j, .l = &lists, .host_ok = true };
	struct block *whole;

	if (!b->in[0].op)
		return false;
	x.b = whole = jit_longer(c, b);
	whole->left = UINT8_MAX;
	begin(&x, true);
	x_find_shares(&x);
	if (b->crosses)
		put_crossing_head(&x);
	else
		put_head(&x);
	x_move_in(&x);
	x.body = x.a.p;
	if (!put_all(&x, 0, (lin & PAGE_ADDR) | (b->gpa & PAGE_OFF))) {
		whole->code = NULL;
		return false;
	}
	b->code = whole->code;
	b->skip = whole->skip;
	return true;
}

static void jump_over(struct jit *j, const uint8_t *old, const uint8_t *code)
{
	uint8_t *place = jit_writable(j, old);

	*place = 0xe9; /* jmp */
	as_patch(place + 1, jit_writable(j, code));
}

bool jit_translate_again(struct soft_cpu *c, struct jit *j, struct block *b, uint64_t lin)
{
	const uint8_t *old = b->code;
	int16_t skip = b->skip;

	if (!jit_translate(c, j, b, lin)) {
		b->code = old;
		b->skip = skip;
		return false;
	}
	jump_over(j, old, b->code);
	if (skip)
		jump_over(j, old + skip, (const uint8_t *)b->code + b->skip);
	return true;
}

static const uint8_t *make_careful(struct soft_cpu *c, struct block *b, unsigned first)
{
	struct xlat_lists lists __attribute__((uninitialized));
	struct xlat x = { .c = c, .j = c->jit, .b = b, .l = &lists, .careful = true };
	const struct insn *in = &b->in[first];

	begin(&x, false);
	x.env_ok = x.l->live[first];
	return put_all(&x, first, c->r[R_PC] + in->next - in->len) ? x.start : NULL;
}

const void *jit_careful(struct soft_cpu *c)
{
	struct jit *j = c->jit;
	uint8_t *place = j->rw + c->jr.site;
	const uint8_t *code = NULL;

	jit_vecs_lent(c);
	if (jit_has_room(c))
		code = make_careful(c, jit_id_block(c->blocks, c->hc.id), jit_id_insn(c->hc.id));
	if (!code) {
		c->hc.vec_live = JIT_VEC_NONE;
		return j->rx + (j->go.leave_bail - j->rw);
	}
	*place = 0xe9; /* jmp */
	as_patch(place + 1, code);
	return j->rx + (code - j->rw);
}

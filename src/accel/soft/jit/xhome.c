/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers that change places. Five guest registers are in memory, as the host has no more. Where a block
 * uses one of them often, and there is one that it does not use, it has that one's home while the block runs,
 * from behind its head until it is left; a loop of one block goes round inside. Whoever leaves host code
 * from such a block puts both back first, so that nobody else hears of it. vCPU thread.
 */
#include "accel/soft/decode/decode.h"
#include "accel/soft/jit/xlat.h"
#include "accel/soft/mmu.h"

/* How much oftener a register is read or written, to be worth what changing places takes: four accesses. */
#define WORTH	   8
#define WORTH_HOT  5
#define WORTH_LOOP 2

/* Who makes room; the last ones only if they are not used at all. RAX, RCX, RDX are implied by too much. */
static const uint8_t hosts[] = { R12, R13, R14, RBX, RDI, RSI, RBP };
#define MAY_BE_USED (BIT32(R12) | BIT32(R13) | BIT32(R14))
static const uint8_t homeless[MAX_MOVES] = { R8, R9, R10, R11, R15 };

bool x_is_loop(const struct xlat *x)
{
	const struct insn *last = &x->b->in[x->b->nr - 1];
	unsigned mn = op_descs[last->op].mn;

	return (mn == MN_JCC || mn == MN_JMP) && x_is_direct(last) &&
	       x_direct_target(last) == (int32_t)(x->b->gpa & PAGE_OFF);
}

struct usage {
	uint8_t times[16];
	bool traps; /* the host may, and then finds registers by the place alone (jit_trap()) */
};

static bool may_trap(const struct insn *in)
{
	const struct op_desc *d = &op_descs[in->op];

	if (d->cls == OPC_SSE || d->cls == OPC_AVX || d->cls == OPC_EVEX)
		return (in->flags & INSN_MEM) && in->pad[1]; /* native.c's alignment */
	return d->mn == MN_DIV || d->mn == MN_IDIV || d->cls == OPC_X87 || d->cls == OPC_MMX;
}

static void count(const struct xlat *x, struct usage *u)
{
	for (unsigned i = 0; i < x->b->nr; i++) {
		const struct insn *in = &x->b->in[i];
		unsigned r, w;

		if (!x_is_inside(x, i) && x_is_branch(in))
			break; /* they are back by then */
		insn_gprs(in, &r, &w);
		u->traps |= may_trap(in);
		for (; r; r &= r - 1)
			u->times[__builtin_ctz(r)]++;
		for (; w; w &= w - 1)
			u->times[__builtin_ctz(w)]++;
	}
}

static unsigned busiest(const struct usage *u)
{
	unsigned best = homeless[0];

	for (unsigned n = 1; n < ARRAY_SIZE(homeless); n++)
		if (u->times[homeless[n]] > u->times[best])
			best = homeless[n];
	return best;
}

/* The one that is used least, or that is not to be had. */
static unsigned idlest(const struct usage *u, unsigned gone)
{
	unsigned best = hosts[0];

	for (unsigned n = 1; n < ARRAY_SIZE(hosts); n++) {
		unsigned reg = hosts[n], had = gone & BIT32(best);

		if ((gone & BIT32(reg)) || (u->times[reg] && !(MAY_BE_USED & BIT32(reg))))
			continue;
		if (had || u->times[reg] < u->times[best])
			best = reg;
	}
	return best;
}

/* By the block alone, and whether it is for a loop: jit_settle() has to find the same. */
void x_find_homes(struct xlat *x, bool hot)
{
	unsigned worth = x_is_loop(x) ? WORTH_LOOP : hot ? WORTH_HOT : WORTH, gone = 0;
	struct usage u = { .traps = false };

	for (unsigned reg = 0; reg < ARRAY_SIZE(x->home); reg++)
		x->home[reg] = host_reg(reg);
	if (2u * x->b->nr < worth)
		return; /* each reads and writes it at most */
	count(x, &u);
	while (!u.traps && x->nr_moves < MAX_MOVES) {
		unsigned in = busiest(&u), out = idlest(&u, gone);

		if ((gone & BIT32(out)) || u.times[in] < u.times[out] + worth)
			return;
		x->moves[x->nr_moves++] = (struct move){ (uint8_t)in, (uint8_t)out };
		u.times[in] = 0;
		gone |= BIT32(out);
	}
}

void x_set_moved(struct xlat *x, bool moved)
{
	x->moved = moved;
	for (unsigned n = 0; n < x->nr_moves; n++) {
		const struct move *m = &x->moves[n];
		int host = host_reg(m->out);

		x->home[m->in] = moved ? host : -1;
		x->home[m->out] = moved ? -1 : host;
	}
}

static void change_places(struct xlat *x, bool in)
{
	for (unsigned n = 0; n < x->nr_moves; n++) {
		const struct move *m = &x->moves[n];
		unsigned host = (unsigned)host_reg(m->out);

		as_rm(&x->a, true, AS_STORE, host, ENV, OFF_R(in ? m->out : m->in));
		as_rm(&x->a, true, AS_LOAD, host, ENV, OFF_R(in ? m->in : m->out));
	}
	x_set_moved(x, in);
}

void x_move_in(struct xlat *x)
{
	if (x->nr_moves)
		change_places(x, true);
}

bool x_move_out(struct xlat *x)
{
	bool moved = x->moved;

	if (moved)
		change_places(x, false);
	return moved;
}

void x_call(struct xlat *x, const uint8_t *routine)
{
	bool moved = x_move_out(x);

	as_call(&x->a, routine);
	if (moved)
		x_move_in(x);
}

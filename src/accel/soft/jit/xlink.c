/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jumps and calls to other pages that know where they went: from this page to that code, or to this address.
 * A link (struct link) says whether that is still so, as long as nothing was unmapped; a generation in the
 * code, whether it is still the same code. Else C finds the way, and notes it (link.c). So is what a jump
 * needs beside its code in a fourth of a cache line; the jump cache takes a line for each target.
 *
 * Where a jump by way of a register or memory goes to many places, it asks the jump cache, which is aside: or
 * in place, when it is known by then (struct block's wanders). vCPU thread.
 */
#include "accel/soft/jit/xlat.h"

static enum jit_whose whose(const struct xlat *x)
{
	/* Firmware has no global pages. */
	return x->c->cpl == 3 ? JIT_LOCAL : x_wide(x) ? JIT_GLOBAL : JIT_ANY;
}

/*
 * By the jump cache to the address in EA, which is looked up in place: the host's processor then foresees for
 * each jump by itself where it goes, be it of an interpreter's operations or of a call to another page.
 * known: the instruction has it from its operand.
 */
void x_lookup(struct xlat *x, bool call, bool known)
{
	uint8_t *miss[JIT_LOOKUP_MISSES];
	unsigned n = jit_put_lookup(&x->a, whose(x), miss);
	struct as *a = &x->a;
	struct stub *s;

	jit_put_go(a, call);
	s = x_stub(x, STUB_LOOKUP_POLL, miss[--n]);
	s->back = s->place + 4;
	while (n) {
		s = x_stub(x, STUB_LOOKUP, miss[--n]);
		s->back = a->p;
		s->call = call;
		s->known = known;
	}
}

/* Its end is where link.c expects it. */
static void check_shape(struct xlat *x, const uint8_t *start, size_t size)
{
	if ((size_t)(x->a.p - start) != size)
		x->a.full = true; /* cannot be, as no displacement depends on anything */
}

static uint8_t *put_go(struct as *a, bool call)
{
	if (!call)
		return as_jmp(a);
	as_call(a, a->p);
	return a->p - 4;
}

/* Compares the generation at ENT or T with what link.c fills in. Returns a jump's place, if they differ. */
static uint8_t *put_gen_of(struct as *a, unsigned at)
{
	AS(a, 0x41, 0x81); /* cmp dword [at], imm32 */
	as_mem(a, 7, at, 0);
	as_u32(a, 0);
	return as_jcc(a, CC_NE);
}

static struct stub *put_poll(struct xlat *x, enum stub_kind kind)
{
	struct stub *s = x_stub(x, kind, jit_put_poll(&x->a, CC_E));

	s->back = x->a.p;
	return s;
}

/* Forward nobody comes back to where he was, but for calls. */
static void look_around(struct xlat *x, int32_t off, bool call)
{
	if (call || off < x_insn(x)->next || x_behind_sti(x))
		put_poll(x, STUB_FAR_POLL)->off = off;
}

void x_go_far(struct xlat *x, int32_t off, bool call)
{
	struct as *a = &x->a;
	const uint8_t *start;
	struct stub *s;

	look_around(x, off, call);
	start = a->p;
	as_rm(a, true, AS_LOAD, T, ENV, OFF_R(R_PC));
	as_rm(a, true, 0x3b, T, ENV, LINK_OFF(NO_LINK, from));
	s = x_stub(x, STUB_FAR, as_jcc(a, CC_NE));
	as_rm(a, true, AS_LOAD, ENT, ENV, LINK_OFF(NO_LINK, gen_at));
	s->place2 = put_gen_of(a, ENT);
	as_rm(a, true, 0x81, 0, ENV, OFF_R(R_PC)); /* add qword [R_PC], simm32 */
	as_u32(a, (uint32_t)(off & -4096));
	put_go(a, call);
	s->back = a->p;
	s->off = off;
	s->call = call;
	s->site = (uint32_t)(start - x->j->rw);
	check_shape(x, start, FAR_SIZE);
}

/* To places in this page that are known, by jumps that the host's processor foresees best. */
static void go_near(struct xlat *x)
{
	struct as *a = &x->a;

	if (!x->b->near[0])
		return;
	as_mov(a, T, EA);
	as_rm(a, true, 0x2b, T, ENV, OFF_R(R_PC));
	put_poll(x, STUB_LOOKUP_POLL);
	for (unsigned i = 0; i < NEAR && x->b->near[i]; i++) {
		unsigned off = x->b->near[i] - 1u;
		const struct block *b = block_known(x->c, x->b, off);

		if (!b || !b->code)
			continue;
		as_alu_imm(a, true, 7, T, (int32_t)off);
		as_patch(as_jcc(a, CC_E), jit_writable(x->j, b->code));
	}
}

void x_go_to(struct xlat *x, bool call)
{
	struct as *a = &x->a;
	const uint8_t *start;
	struct stub *s;
	unsigned n;

	if (!x_wide(x) || x->b->wanders) {
		if (!call)
			go_near(x);
		x_lookup(x, call, true);
		return;
	}
	n = jit_new_link(x->c);
	put_poll(x, STUB_LOOKUP_POLL);
	start = a->p;
	as_rm(a, true, 0x3b, EA, ENV, LINK_OFF(n, from));
	s = x_stub(x, STUB_WAY, as_jcc(a, CC_NE));
	as_rm(a, true, AS_LOAD, T, ENV, LINK_OFF(n, gen_at));
	s->place2 = put_gen_of(a, T);
	as_alu_imm(a, true, 4, EA, -4096);
	as_rm(a, true, AS_STORE, EA, ENV, OFF_R(R_PC));
	put_go(a, call);
	s->back = a->p;
	s->off = (int32_t)n;
	s->call = call;
	s->known = true;
	s->site = (uint32_t)(start - x->j->rw);
	check_shape(x, start, WAY_SIZE);
}

/* ---- out of the way ---- */

void x_stub_far_poll(struct xlat *x, const struct stub *s)
{
	x_stub_lull(x, s);
	x_page_address(x, s->off);
	as_jmp_to(&x->a, x->j->go.poll);
}

static void go_or_call(struct xlat *x, const struct stub *s, const uint8_t *to)
{
	if (!s->call) {
		as_jmp_to(&x->a, to);
		return;
	}
	as_call(&x->a, to);
	as_jmp_to(&x->a, s->back);
}

static void put_link(struct xlat *x, const struct stub *s, uint32_t kind)
{
	as_mov_imm32(&x->a, ENT, s->known ? x_id(x) : JIT_NO_ID);
	as_mov_imm32(&x->a, T, s->site | kind);
	go_or_call(x, s, x->j->go.link);
}

void x_stub_far(struct xlat *x, const struct stub *s)
{
	as_patch(s->place2, x->a.p);
	x_page_address(x, s->off);
	put_link(x, s, 0);
}

void x_stub_lookup(struct xlat *x, const struct stub *s)
{
	const struct jit_routines *go = &x->j->go;

	if (s->known)
		as_mov_imm32(&x->a, T, x_id(x));
	go_or_call(x, s, s->known ? go->lookup_from : go->lookup);
}

/* The jump cache is asked; after some times the way is found anew, or it is found that there is none. */
void x_stub_way(struct xlat *x, const struct stub *s)
{
	struct link_info *info = &x->c->link_infos[s->off];
	uint8_t *again, *miss[JIT_LOOKUP_MISSES];
	struct as *a = &x->a;
	unsigned n;

	as_rm(a, false, 0x83, 5, ENV, OFF(link_infos) + s->off * (int32_t)sizeof(*info) +
	      (int32_t)offsetof(struct link_info, misses)); /* sub dword [misses], 1 */
	as_byte(a, 1);
	again = as_jcc(a, CC_E);
	info->lookup = (uint32_t)(a->p - x->j->rw);
	n = jit_put_lookup(a, whose(x), miss);
	jit_put_go(a, s->call);
	if (s->call)
		as_jmp_to(a, s->back);
	as_patch(miss[--n], x->j->go.poll);
	while (n)
		as_patch(miss[--n], a->p);
	x_stub_lookup(x, s);
	as_patch(again, a->p);
	as_patch(s->place2, a->p);
	put_link(x, s, LINK_WAY);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory operands by spots: what one place in host code last looked up in the software TLB is kept for
 * it alone. So the look at the next access is short, its branch is predicted, and, where the address is
 * a register, nothing of it is in the way of the access. Accesses by way of RSP share one spot for loads and
 * one for stores. A miss costs several looks into the TLB, so only places that are likely to stay in
 * their page have a spot: those of loops, and what is at a fixed address.
 *
 * In 32-bit code an access is at EA and ENT, always: addresses are cut to 32 bits.
 *
 * A spot is a copy of a TLB entry that outlives it: whatever takes entries away for their contents
 * takes all spots (spots_drop()). Not for supervisor code under SMAP, whose rights change with EFLAGS.AC.
 * vCPU thread.
 */
#include "accel/soft/jit/xlat.h"
#include "accel/soft/mmu.h"

#define SPOT_OFF(at, field) ((at) + (int32_t)offsetof(struct spot, field))

/* off: from ENV on. */
static struct spot *spot_at(struct soft_cpu *c, uint32_t off)
{
	return (struct spot *)(void *)((char *)c + ENV_AT + off);
}

static struct spot_info *info_of(struct soft_cpu *c, uint32_t off)
{
	return &c->spot_infos[spot_at(c, off) - c->spots];
}

void spots_drop(struct soft_cpu *c)
{
	for (uint32_t at = c->spots_used; at; at = info_of(c, at)->next)
		spot_at(c, at)->limit = 0;
	c->spots_used = 0;
}

static bool has_spots(const struct xlat *x)
{
	return x->c->cpl == 3 || !(x->c->s.cr4 & CR4_SMAP);
}

/*
 * Whether the place of the instruction's operand is likely to be in the same page the next time. The stack's
 * is not, where it had to be made again with care: the frame is in two pages.
 */
static bool stays(struct xlat *x)
{
	const struct insn *in = x_insn(x);
	unsigned base = in->base / 8;

	if ((x->b->roams[x->i / 64] >> x->i % 64 & 1) || (x->careful && base == RSP))
		return false;
	return (in->index / 8 == R_ZERO && (base == R_ZERO || base == R_PC || base == RSP)) ||
	       x->b->looped || x->j->eager;
}

/* ---- the access ---- */

/* An access, and where its code begins. */
struct access {
	unsigned base, size, align;
	int32_t disp;
	bool write;
	uint8_t off; /* of a share that is looked up: where it is from there on; size is all of its */
	uint8_t *start;
};

static int32_t spot_offset(unsigned n)
{
	return OFF(spots) + (int32_t)(n * sizeof(struct spot));
}

static int32_t new_spot(struct xlat *x, const struct access *w)
{
	unsigned n = cpu_apart(offsetof(struct soft_cpu, spots), sizeof(struct spot), x->j->nr_spots);

	if (n >= SPOTS) {
		x->a.full = true; /* cannot be, by jit_has_room() */
		return spot_offset(0);
	}
	x->j->nr_spots = n + 1;
	x->c->spot_infos[n] = (struct spot_info){
		.full = 0x1000 - w->size + 1, .disp = w->disp, .base = (uint8_t)w->base,
		.insn = (uint8_t)x->i, .write = w->write, .moved = x->moved, .hot = x->b->looped,
		.shared = x->now, .off = w->off,
		.place = (uint32_t)(w->start - x->j->rw),
	};
	return spot_offset(n);
}

/* What push, pop, call and ret have in common. */
static int32_t stack_spot(struct xlat *x, bool write)
{
	unsigned n = !x_wide(x) * 4u + (x->c->cpl != 3) * 2u + write;

	x->c->spot_infos[n].full = 0x1000 - (uint32_t)x_word(x) + 1;
	return spot_offset(n);
}

/* The limit of the spots for RSP is for a word. EA is the offset in the page. */
static void put_range(struct xlat *x, unsigned size)
{
	as_alu_imm(&x->a, false, 7, EA, 0x1000 - (int32_t)size);
	x_stub(x, STUB_CAREFUL, as_jcc(&x->a, CC_A));
}

/*
 * EA is the address without s->fold, which is in the spot's base. Leaves in EA the offset in the page,
 * and in ENT what the spot has to add.
 */
static void put_check(struct xlat *x, int32_t spot, int32_t fold, bool flat, const struct access *w)
{
	struct as *a = &x->a;
	uint8_t *place;
	struct stub *s;

	as_rm(a, true, 0x2b, EA, ENV, SPOT_OFF(spot, base));
	as_rm(a, true, 0x3b, EA, ENV, SPOT_OFF(spot, limit));
	place = as_jcc(a, CC_AE);
	s = x_stub(x, STUB_SPOT, place);
	s->back = a->p;
	s->base = (uint8_t)w->base;
	s->off = w->disp;
	s->write = w->write;
	s->spot = spot;
	s->fold = fold;
	s->flat = flat;
	s->shared = x->now;
	x->ent = NULL;
	as_rm(a, true, AS_LOAD, ENT, ENV, SPOT_OFF(spot, add));
	info_of(x->c, (uint32_t)spot)->back = (uint32_t)(a->p - x->j->rw);
	if (w->size > (unsigned)x_word(x) && spot < spot_offset(STACK_SPOTS))
		put_range(x, w->size);
	if (w->align && w->off)
		as_lea(a, true, EA, EA, -1, 0, w->off);
	x_check_align(x, w->align);
	x->spot = spot;
	x->fold = fold;
	x->host_ok = false;
}

/* [host register + disp] */
static void reach_reg(struct xlat *x, struct access *w, bool stack)
{
	int32_t spot, fold = 0;

	w->start = x->a.p;
	if (stack) {
		spot = stack_spot(x, w->write);
		as_lea(&x->a, x_wide(x), EA, (int)w->base, -1, 0, w->disp);
	} else {
		spot = new_spot(x, w);
		fold = w->disp;
		as_mov(&x->a, EA, w->base);
	}
	put_check(x, spot, fold, x_wide(x), w);
	if (x_wide(x))
		x->at = (struct as_addr){ (int)w->base, ENT, w->disp };
	else
		x->at = (struct as_addr){ EA, ENT, 0 };
}

/* What is looked up is the whole range of a share. */
static void widen(const struct xlat *x, struct access *w)
{
	w->disp += x_range_from(x);
	w->size = x_range_size(x);
	w->off = (uint8_t)-x_range_from(x);
}

/* [host register + disp], a word. */
static void look_stack(struct xlat *x, unsigned base, int32_t disp, bool write)
{
	struct access w = { .base = base, .disp = disp, .size = (unsigned)x_word(x), .write = write };

	if (x->now)
		widen(x, &w);
	if (has_spots(x) && base == H_R12 && !x->careful) {
		reach_reg(x, &w, true);
		return;
	}
	as_lea(&x->a, x_wide(x), EA, (int)base, -1, 0, w.disp);
	x_find_entry(x, w.size, write);
	x->spot = 0;
}

void x_reach_stack(struct xlat *x, unsigned base, int32_t disp, bool write)
{
	struct share *s = x_share(x, &x->l->stacked[x->i], (unsigned)x_word(x), write);

	if (!s || !s->open) {
		x_keep_flags(x, x->l->live[x->i]);
		look_stack(x, base, disp, write);
		if (!s && !x->spot)
			x_add_entry(x, write);
		if (!s)
			return;
		x_open_share(x, s, SEG_NONE);
	}
	x_shared_stack(x, s, base, disp);
}

/* Whether it can have the stack's spot. */
static bool by_stack_spot(const struct xlat *x, const struct access *w)
{
	return x_insn(x)->base / 8 == RSP && w->size <= (unsigned)x_word(x) && !w->align;
}

static bool in_register(const struct xlat *x, const struct access *w)
{
	const struct insn *in = x_insn(x);

	return in->index / 8 == R_ZERO && x_seg(in) == SEG_NONE && in->base / 8 < R_ZERO &&
	       x->home[in->base / 8] >= 0 && (x_wide(x) || by_stack_spot(x, w));
}

/* The instruction's operand, by a spot whose place has its address in a register. */
static void look_operand_reg(struct xlat *x, struct access *w)
{
	const struct insn *in = x_insn(x);
	bool stack = by_stack_spot(x, w);

	w->base = (unsigned)x->home[in->base / 8];
	w->disp = in->disp;
	if (x->now)
		widen(x, w);
	reach_reg(x, w, stack);
}

/* The same for any address, but that of a look that is early: its place would be another instruction's. */
static void look_operand_any(struct xlat *x, struct access *w)
{
	widen(x, w);
	w->start = x->a.p;
	x_ea(x);
	if (w->disp)
		as_lea(&x->a, true, EA, EA, -1, 0, w->disp);
	put_check(x, new_spot(x, w), 0, true, w);
}

static void look_operand_shared(struct xlat *x, struct access *w)
{
	bool spot = has_spots(x) && stays(x);

	if (spot && in_register(x, w)) {
		look_operand_reg(x, w);
		return;
	}
	if (spot && x_wide(x) && x->i == x->due && x->b->looped) {
		look_operand_any(x, w);
		return;
	}
	x_ea(x);
	x_check_align(x, w->align);
	if (x_range_from(x))
		as_lea(&x->a, x_wide(x), EA, EA, -1, 0, x_range_from(x));
	x_find_entry(x, x_range_size(x), w->write);
	x->spot = 0;
}

static void reach_alone(struct xlat *x, struct access *w)
{
	if (!has_spots(x) || !stays(x)) {
		x_ea(x);
		x_check(x, w->size, w->write, w->align);
	} else if (in_register(x, w)) {
		look_operand_reg(x, w);
	} else {
		w->start = x->a.p;
		x_ea(x);
		put_check(x, new_spot(x, w), 0, false, w);
		x->at = (struct as_addr){ EA, ENT, 0 };
	}
}

void x_reach(struct xlat *x, unsigned size, bool write, unsigned align)
{
	struct access w = { .base = NO_BASE, .size = size, .write = write, .align = align };
	struct share *s = x_share(x, &x->l->operand[x->i], size, write);

	if (s && s->open) {
		x_shared_operand(x, s, align);
		return;
	}
	x_keep_flags(x, x->l->live[x->i]);
	if (!s) {
		reach_alone(x, &w);
		return;
	}
	look_operand_shared(x, &w);
	x_open_share(x, s, x_seg(x_insn(x)));
	x_shared_operand(x, s, 0);
}

/* The first part of what the other two do, for another instruction. */
void x_look(struct xlat *x, struct share *s)
{
	struct access w = { .base = NO_BASE, .size = x->size, .write = s->write };
	const struct insn *in = x_insn(x);
	unsigned mn = op_descs[in->op].mn;

	if (!s->stack)
		look_operand_shared(x, &w);
	else if (mn == MN_PUSH || mn == MN_CALL)
		look_stack(x, H_R12, -x_word(x), true);
	else
		look_stack(x, mn == MN_LEAVE ? H_RBP : H_R12, 0, false);
	x_open_share(x, s, s->stack ? SEG_NONE : x_seg(in));
}

/* ---- out of the way ---- */

/* The access's address into EA, from the same registers again. */
static void put_address(struct xlat *x, unsigned base, int32_t disp)
{
	if (base == NO_BASE) {
		x_ea(x);
		base = EA;
	}
	if (base != EA || disp)
		as_lea(&x->a, x_wide(x), EA, (int)base, -1, 0, disp);
}

void x_stub_spot(struct xlat *x, const struct stub *s)
{
	struct as *a = &x->a;
	uint8_t *fail, *restless;

	put_address(x, s->base, s->off);
	as_lea(a, true, ENT, ENV, -1, 0, s->spot);
	AS(a, 0x49, 0xc7, 0xc3); /* mov r11, simm32 */
	as_u32(a, (uint32_t)s->fold);
	x_call(x, x->j->go.fill[s->write][s->flat]);
	fail = as_jcc(a, CC_NE);
	as_jmp_to(a, s->back);
	as_patch(fail, a->p);
	as_rm(a, false, 0x83, 7, ENV, OFF(jr.restless)); /* cmp dword [restless], 0 */
	as_byte(a, 0);
	restless = as_jcc(a, CC_NE);
	if (s->shared)
		x_stub_careful(x);
	else
		x_step_over(x);
	x_set_moved(x, s->moved);
	as_patch(restless, a->p);
	x_put_bail(x);
}

/*
 * A place that is in another page each time is better off without: its code becomes a jump to a look into
 * the TLB. The address is then in EA, and what to add in ENT, which suits the access either way.
 */
void jit_settle(struct soft_cpu *c, uint32_t spot, uint32_t id)
{
	struct jit *j = c->jit;
	struct spot_info *info = info_of(c, spot);
	struct block *b = jit_id_block(c->blocks, id);
	struct xlat_lists lists __attribute__((uninitialized));
	struct xlat x = { .c = c, .j = j, .b = b, .l = &lists, .bytes = block_bytes(b),
			  .i = jit_id_insn(id), .due = jit_id_insn(id) };
	uint8_t *place = j->rw + info->place;
	struct as *a = &x.a;

	info->place = 0;
	b->roams[info->insn / 64] |= BIT64(info->insn % 64);
	b->roamed = true;
	if (!jit_has_room(c))
		return;
	x_find_homes(&x, info->hot);
	x_set_moved(&x, info->moved);
	*a = (struct as){ .p = j->rw + j->used, .end = j->rw + JIT_COLD };
	put_address(&x, info->base, info->disp);
	x_find_entry(&x, 0x1001 - info->full, info->write);
	lists.stubs[0].shared = info->shared;
	lists.stubs[0].off = info->off;
	if (info->write) {
		as_rm(a, true, AS_LOAD, T, ENT, TLB_MORE(TLB_WRITE, watch));
		as_rm(a, true, AS_STORE, T, ENV, SPOT_OFF((int32_t)spot, watch));
	}
	as_rm(a, true, AS_LOAD, ENT, ENT, TLB_OFF(info->write ? TLB_WRITE : TLB_READ, addend));
	as_jmp_to(a, j->rw + info->back);
	x_put_stubs(&x);
	spot_at(c, spot)->base = (uint64_t)-(int64_t)(info->base == NO_BASE ? 0 : info->disp);
	*place = 0xe9;
	as_patch(place + 1, j->rw + j->used);
	j->used = align_up((uint64_t)(a->p - j->rw), 16);
}

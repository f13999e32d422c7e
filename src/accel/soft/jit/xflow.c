/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where host code goes from a block: to another block of the same page by a jump that is patched when
 * there is code, to elsewhere by the jump cache, or out. And the instructions that use the stack.
 * vCPU thread.
 */
#include "accel/soft/jit/xlat.h"
#include "accel/soft/mmu.h"

struct stub *x_stub(struct xlat *x, enum stub_kind kind, uint8_t *place)
{
	struct stub *s;

	if (x->nr_stubs == MAX_STUBS) {
		x->a.full = true; /* dropped; cannot be, by MAX_STUBS */
		return &x->l->stubs[0];
	}
	s = &x->l->stubs[x->nr_stubs++];
	*s = (struct stub){ .kind = kind, .i = (uint8_t)x->due, .moved = x->moved, .host_ok = x->host_ok,
			    .env_ok = x->env_ok, .place = place };
	return s;
}

void x_put_bail(struct xlat *x)
{
	x_move_out(x);
	as_mov_imm32(&x->a, ENT, x_id(x));
	as_jmp_to(&x->a, x->j->go.exit_bail);
}

void x_bail(struct xlat *x)
{
	x->b->left = (uint8_t)x->i;
	x_keep_flags(x, x->l->live[x->i]);
	x_put_bail(x);
}

/* ---- flags behind the block ---- */

static uint16_t live_from(struct xlat *x, int32_t off, unsigned depth);

/* Flags that are read behind a block's last instruction, by where that goes. */
static uint16_t live_behind(struct xlat *x, const struct insn *in, unsigned depth)
{
	unsigned mn = op_descs[in->op].mn;

	if (!(in->flags & INSN_END))
		return live_from(x, in->next, depth);
	if (!x_is_direct(in))
		return FLAGS_ALL;
	if (mn == MN_JCC || mn == MN_JCXZ)
		return live_from(x, in->next, depth) | live_from(x, x_direct_target(in), depth);
	return mn == MN_JMP || mn == MN_CALL ? live_from(x, x_direct_target(in), depth) : FLAGS_ALL;
}

static uint16_t live_from(struct xlat *x, int32_t off, unsigned depth)
{
	const struct block *b = NULL;
	unsigned live = 0, killed = 0;

	if (depth && off >= 0 && off < 0x1000)
		b = block_known(x->c, x->b, (unsigned)off);
	if (!b)
		return FLAGS_ALL;
	for (unsigned i = 0; i < b->nr && killed != FLAGS_ALL; i++) {
		const struct op_desc *d = &op_descs[b->in[i].op];

		if (b->in[i].op == 0 || d->cls == OPC_SYS)
			return (uint16_t)(live | (FLAGS_ALL & ~killed));
		live |= d->flags_r & FLAGS_STATUS & ~killed;
		if (!(d->attr & OPA_FLCOND))
			killed |= op_changes(d) & FLAGS_STATUS;
	}
	if (killed != FLAGS_ALL)
		live |= live_behind(x, &b->in[b->nr - 1], depth - 1) & ~killed;
	return (uint16_t)live;
}

/* Flags that code at page offset off reads before it writes them, as far as the interpreter knows it. */
static uint16_t live_at(struct xlat *x, int32_t off)
{
	return live_from(x, off, LIVE_DEPTH);
}

uint16_t x_live_out(struct xlat *x)
{
	return live_behind(x, &x->b->in[x->b->nr - 1], LIVE_DEPTH);
}

/* Whether the block goes on where conditional jump i is taken to: with a loop's next turn. */
static bool comes_back(const struct xlat *x, unsigned i)
{
	const struct insn *in = &x->b->in[i];
	int32_t to = x_direct_target(in);

	return to >= 0 && to < in->next && (!x_is_inside(x, i) || in[1].next - in[1].len == to);
}

/* The page offset that it goes to else. */
static int32_t other_way(const struct xlat *x, unsigned i)
{
	const struct insn *in = &x->b->in[i];

	return comes_back(x, i) ? in->next : x_direct_target(in);
}

uint16_t x_live_aside(struct xlat *x, unsigned i)
{
	return live_at(x, other_way(x, i));
}

/* ---- ways out ---- */

/* RET to the address in EA, which is not where the last CALL said. */
static void put_unpaired(struct xlat *x)
{
	as_mov_imm32(&x->a, T, x_id(x));
	as_jmp_to(&x->a, x->j->go.unpaired);
}

void x_page_address(struct xlat *x, int32_t off)
{
	as_rm(&x->a, true, AS_LOAD, EA, ENV, OFF_R(R_PC));
	as_lea(&x->a, x_wide(x), EA, EA, -1, 0, off);
}

static void exit_far(struct xlat *x, int32_t off)
{
	x_keep_flags(x, FLAGS_ALL);
	if (x_wide(x)) {
		x_go_far(x, off, false);
		return;
	}
	x_page_address(x, off);
	x_lookup(x, false, false);
}

void x_go_to_itself(struct xlat *x)
{
	const struct insn *in = x_insn(x);

	x->env_ok = false;
	x_keep_flags(x, FLAGS_ALL);
	x_page_address(x, in->next - in->len);
	x_lookup(x, false, false);
}

void x_put_gen_check(struct xlat *x, const _Atomic uint32_t *gen_at, uint32_t gen, enum stub_kind changed)
{
	struct as *a = &x->a;

	as_mov_imm64(a, ENT, (uint64_t)(uintptr_t)gen_at);
	AS(a, 0x41, 0x81); /* cmp dword [r13], imm32 */
	as_mem(a, 7, ENT, 0);
	as_u32(a, gen);
	x_stub(x, changed, as_jcc(a, CC_NE));
}

/* A loop's way back: now and then something has to be looked at. */
static void look_around(struct xlat *x, int32_t off, unsigned live)
{
	struct stub *s;

	x_keep_flags(x, live);
	s = x_stub(x, STUB_POLL, jit_put_poll(&x->a, CC_E));
	s->off = off;
	s->back = x->a.p;
	x->host_ok = false;
}

/* Whether the way there is the way back of a loop, inside which registers stay where they are. */
static bool goes_round(const struct xlat *x, int32_t off)
{
	return x->moved && x_is_loop(x) && off == (int32_t)(x->b->gpa & PAGE_OFF) && !x->c->lockstep &&
	       !x->c->telling;
}

/* Both in one jump, where nothing has to be done in between. */
static void look_and_go(struct xlat *x, int32_t off)
{
	uint8_t *again = x->a.p, *place = jit_put_poll(&x->a, CC_NE);
	struct stub *s;

	if (goes_round(x, off))
		as_patch(place, x->body);
	else
		x_stub(x, STUB_LINK, place)->off = off;
	s = x_stub(x, STUB_POLL, as_jmp(&x->a));
	s->off = off;
	s->back = again;
}

void x_exit(struct xlat *x, int32_t off)
{
	const struct insn *in = x_insn(x);
	unsigned live = live_at(x, off);
	bool looks = off < in->next || x_behind_sti(x);

	if (off < 0 || off >= 0x1000) {
		x_move_out(x);
		exit_far(x, off);
		return;
	}
	if (looks && !live && (!x->moved || goes_round(x, off))) {
		look_and_go(x, off);
		return;
	}
	if (looks)
		look_around(x, off, live);
	if (live)
		x_need_flags(x);
	if (goes_round(x, off)) {
		as_jmp_to(&x->a, x->body);
		return;
	}
	x_move_out(x);
	x_stub(x, STUB_LINK, as_jmp(&x->a))->off = off;
}

/* A loop's way back goes on here, and what comes behind the loop aside: one jump less each time. */
static void put_jcc(struct xlat *x)
{
	const struct insn *in = x_insn(x);
	int32_t to = x_direct_target(in);
	bool inside = x_is_inside(x, x->i), back = comes_back(x, x->i);
	int32_t aside = other_way(x, x->i), ahead = back ? to : in->next;
	bool near = aside >= in->next && aside < 0x1000 && !x_behind_sti(x);
	uint8_t *place;

	x_need_flags(x);
	place = as_jcc(&x->a, back ? in->cc ^ 1u : in->cc);
	x_stub(x, near && !x->moved ? STUB_LINK : STUB_EXIT, place)->off = aside;
	if (!inside)
		x_exit(x, ahead);
}

/* It has a short displacement only, and touches no flags. */
static void put_jcxz(struct xlat *x)
{
	const struct insn *in = x_insn(x);

	if (in->flags & INSN_A32)
		as_byte(&x->a, 0x67);
	AS(&x->a, 0xe3, 5); /* jrcxz over the jump */
	x_stub(x, STUB_EXIT, as_jmp(&x->a))->off = in->next;
	x_exit(x, x_direct_target(in));
}

/* ---- the stack ---- */

/* A store of a word below RSP, from T; RSP moves. */
static void check_push(struct xlat *x)
{
	x_reach_stack(x, H_R12, -x_word(x), true);
}

/* RSP = host register + disp */
static void move_stack(struct xlat *x, unsigned base, int32_t disp)
{
	as_lea(&x->a, x_wide(x), H_R12, (int)base, -1, 0, disp);
}

static void finish_push(struct xlat *x, unsigned reg)
{
	as_at(&x->a, x_wide(x), AS_STORE, reg, &x->at);
	move_stack(x, H_R12, -x_word(x));
	x_stored(x);
}

/* Loads the value of the instruction's memory operand, a word, into EA. */
static void load_operand(struct xlat *x)
{
	x_reach(x, (unsigned)x_word(x), false, 0);
	as_at(&x->a, x_wide(x), AS_LOAD, EA, &x->at);
}

void x_push_tmp(struct xlat *x)
{
	check_push(x);
	as_rm(&x->a, true, AS_LOAD, T, ENV, OFF(hc.tmp));
	finish_push(x, T);
}

static bool put_push(struct xlat *x)
{
	const struct insn *in = x_insn(x);

	if (in->flags & INSN_MEM) {
		if (!x_plain_address(x, in))
			return false;
		load_operand(x);
		as_rm(&x->a, true, AS_STORE, EA, ENV, OFF(hc.tmp));
		x_push_tmp(x);
		return true;
	}
	check_push(x);
	if (in->flags & INSN_IMM) { /* mov [at], simm32 */
		as_at(&x->a, x_wide(x), 0xc7, 0, &x->at);
		as_u32(&x->a, (uint32_t)in->imm);
		move_stack(x, H_R12, -x_word(x));
		x_stored(x);
		return true;
	}
	finish_push(x, x_reg(x, in->rm / 8, T));
	return true;
}

static bool put_pop(struct xlat *x)
{
	const struct insn *in = x_insn(x);
	unsigned guest = in->rm / 8;
	int host = x->home[guest];

	if (in->flags & INSN_MEM)
		return false;
	x_reach_stack(x, H_R12, 0, false);
	as_at(&x->a, x_wide(x), AS_LOAD, host < 0 ? T : (unsigned)host, &x->at);
	if (guest != RSP)
		move_stack(x, H_R12, x_word(x));
	if (host < 0)
		as_rm(&x->a, true, AS_STORE, T, ENV, OFF_R(guest));
	return true;
}

static bool put_leave(struct xlat *x)
{
	x_reach_stack(x, H_RBP, 0, false);
	move_stack(x, H_RBP, x_word(x));
	as_at(&x->a, x_wide(x), AS_LOAD, H_RBP, &x->at);
	return true;
}

bool x_stack(struct xlat *x)
{
	const struct insn *in = x_insn(x);

	if (in->opsize != x_word(x))
		return false;
	switch (op_descs[in->op].mn) {
	case MN_PUSH:
		return put_push(x);
	case MN_POP:
		return put_pop(x);
	case MN_LEAVE:
		return put_leave(x);
	default:
		return false;
	}
}

/* ---- calls, returns, indirect jumps: all flags may be read behind them ---- */

static void put_next_rip(struct xlat *x)
{
	as_rm(&x->a, true, AS_LOAD, T, ENV, OFF_R(R_PC));
	as_lea(&x->a, x_wide(x), T, T, -1, 0, x_insn(x)->next);
}

/*
 * Calls and returns in pairs, so that the host's processor foresees where a return goes: host code of CALL
 * pushes the guest's return address and calls. RET compares, and returns. What comes back that way
 * finds mapping and mode as they were: whoever changes those forgets all pairs (step.c, and each way out of
 * host code). It has to look at the page's generation, as all ways into a page.
 *
 * All calls count down to a look at the clock, for which host code is left after some of these
 * (jit_begin_lull()): so that many are on the stack at most, and a return, which has to have had a call, need
 * not count.
 */
static void put_return_address(struct xlat *x)
{
	check_push(x);
	put_next_rip(x);
	as_at(&x->a, x_wide(x), AS_STORE, T, &x->at);
	AS(&x->a, 0x41, 0x53); /* push r11 */
	move_stack(x, H_R12, -x_word(x));
	x_stored(x);
}

static uint8_t *put_host_call(struct xlat *x)
{
	as_call(&x->a, x->a.p);
	return x->a.p - 4;
}

/* Behind the call: its return is to here. Flags are in c->fl. */
static void put_back(struct xlat *x)
{
	const struct insn *in = x_insn(x);
	struct as *a = &x->a;

	x->host_ok = false;
	x->env_ok = true;
	AS(a, 0x41, 0x5e); /* pop r14 */
	if (in->next >= 0x1000) {
		x_lookup(x, false, false);
		return;
	}
	x_put_gen_check(x, x->b->gen_at, x->b->gen, STUB_STALE);
	as_alu_imm(a, true, 4, EA, -4096);
	as_rm(a, true, AS_STORE, EA, ENV, OFF_R(R_PC));
	x_exit(x, in->next);
}

static void put_ret(struct xlat *x)
{
	const struct insn *in = x_insn(x);
	int32_t extra = in->flags & INSN_IMM ? (int32_t)(in->imm & 0xffff) : 0;

	x_reach_stack(x, H_R12, 0, false);
	as_at(&x->a, x_wide(x), AS_LOAD, EA, &x->at);
	move_stack(x, H_R12, x_word(x) + extra);
	x_keep_flags(x, FLAGS_ALL);
	if (x_behind_sti(x)) { /* which looks at events */
		put_unpaired(x);
		return;
	}
	as_rm(&x->a, true, 0x3b, EA, H_RSP, 8);
	x_stub(x, STUB_UNPAIRED, as_jcc(&x->a, CC_NE));
	as_byte(&x->a, 0xc3);
	x->host_ok = false;
}

/* The target of an indirect branch, into EA. */
static void put_target(struct xlat *x)
{
	const struct insn *in = x_insn(x);
	unsigned reg = in->rm / 8;

	if (in->flags & INSN_MEM)
		load_operand(x);
	else
		as_rr(&x->a, x_wide(x), AS_LOAD, EA, x_reg(x, reg, EA));
}

static void put_direct_call(struct xlat *x)
{
	int32_t off = x_direct_target(x_insn(x));
	bool far = off < 0 || off >= 0x1000;
	unsigned live = far ? FLAGS_ALL : live_at(x, off);

	put_return_address(x);
	x_keep_flags(x, live); /* which a shared look does not */
	if (!far)
		look_around(x, off, live);
	if (far && x_wide(x)) {
		x_go_far(x, off, true);
	} else if (far) {
		x_page_address(x, off);
		x_lookup(x, true, false);
	} else {
		if (live)
			x_need_flags(x);
		x_stub(x, STUB_LINK, put_host_call(x))->off = off;
	}
	put_back(x);
}

static bool put_call(struct xlat *x)
{
	const struct insn *in = x_insn(x);

	if (x_is_direct(in)) {
		put_direct_call(x);
		return true;
	}
	if ((in->flags & INSN_MEM) && !x_plain_address(x, in))
		return false;
	put_target(x);
	as_rm(&x->a, true, AS_STORE, EA, ENV, OFF(call_target));
	put_return_address(x);
	x_keep_flags(x, FLAGS_ALL);
	as_rm(&x->a, true, AS_LOAD, EA, ENV, OFF(call_target));
	x_go_to(x, true);
	put_back(x);
	return true;
}

static bool put_jmp(struct xlat *x)
{
	const struct insn *in = x_insn(x);

	if (x_is_direct(in)) {
		if (!x_is_inside(x, x->i)) /* else the block goes on there */
			x_exit(x, x_direct_target(in));
		return true;
	}
	if ((in->flags & INSN_MEM) && !x_plain_address(x, in))
		return false;
	put_target(x);
	x_keep_flags(x, FLAGS_ALL);
	x_go_to(x, false);
	return true;
}

bool x_is_branch(const struct insn *in)
{
	unsigned mn = op_descs[in->op].mn;

	return mn == MN_JCC || mn == MN_JCXZ || mn == MN_JMP || mn == MN_CALL || mn == MN_RET;
}

/* Over 2 GiB forward from the page's start, and not from the instruction. */
static bool leads_too_far(const struct xlat *x, const struct insn *in)
{
	return x_wide(x) && x_is_direct(in) && (int64_t)in->imm + in->next > INT32_MAX;
}

bool x_branch(struct xlat *x)
{
	const struct insn *in = x_insn(x);

	if (in->opsize != x_word(x) || leads_too_far(x, in))
		return false;
	if (!x_is_direct(in) || op_descs[in->op].mn == MN_CALL)
		x_move_out(x);
	switch (op_descs[in->op].mn) {
	case MN_JCC:
		put_jcc(x);
		return true;
	case MN_JCXZ:
		if (in->flags & INSN_A16)
			return false;
		put_jcxz(x);
		return true;
	case MN_RET:
		put_ret(x);
		return true;
	case MN_CALL:
		return put_call(x);
	default:
		return put_jmp(x);
	}
}

/* ---- behind the block ---- */

static void stub_stored(struct xlat *x, const struct stub *s)
{
	if (s->kind == STUB_STORED_RCX) {
		as_rm(&x->a, true, AS_LOAD, H_RCX, ENV, OFF(hc.tmp));
		jit_put_flags_out(&x->a, T);
	}
	if (s->shared) {
		x_stored_linear(x, s);
	} else if (s->spot) {
		as_rm(&x->a, true, 0x03, EA, ENV, s->spot + (int32_t)offsetof(struct spot, base));
		as_lea(&x->a, true, EA, EA, -1, 0, s->fold);
	} else {
		as_rm(&x->a, true, 0x2b, EA, ENT, TLB_OFF(TLB_WRITE, addend));
	}
	x_move_out(x);
	as_store_imm32(&x->a, ENV, OFF(jr.stored), s->size);
	as_mov_imm32(&x->a, ENT, x_id(x));
	as_jmp_to(&x->a, x->j->go.exit_store);
}

static void stub_link(struct xlat *x, const struct stub *s)
{
	as_mov_imm32(&x->a, ENT, (uint32_t)s->off);
	as_mov_imm32(&x->a, T, (uint32_t)(s->place - x->j->rw));
	as_jmp_to(&x->a, x->j->go.exit_link);
}

static void stub_vec(struct xlat *x, const struct stub *s)
{
	bool moved = x_move_out(x);
	uint8_t *back;

	AS(&x->a, 0x4c, 0x8d, 0x1d); /* lea r11, [rip + back] */
	as_u32(&x->a, 0);
	back = x->a.p - 4;
	as_mov_imm32(&x->a, ENT, x_id(x));
	as_jmp_to(&x->a, x->j->go.exit_vec);
	if (!moved) {
		as_patch(back, s->back);
		return;
	}
	as_patch(back, x->a.p);
	x_move_in(x);
	as_jmp_to(&x->a, s->back);
}

void x_stub_lull(struct xlat *x, const struct stub *s)
{
	as_call(&x->a, x->j->go.lull);
	as_patch(as_jcc(&x->a, CC_E), s->back);
}

static void put_stub(struct xlat *x, struct stub *s)
{
	switch (s->kind) {
	case STUB_BAIL:
		x_put_bail(x);
		break;
	case STUB_MISS:
		x_stub_miss(x, s);
		break;
	case STUB_SPOT:
		x_stub_spot(x, s);
		break;
	case STUB_CAREFUL:
		x_stub_careful(x);
		break;
	case STUB_STORED:
	case STUB_STORED_RCX:
		stub_stored(x, s);
		break;
	case STUB_STORED_STRING:
		x_stub_stored_string(x);
		break;
	case STUB_STEP_OVER:
		x_step_over(x);
		break;
	case STUB_VEC:
		stub_vec(x, s);
		break;
	case STUB_LINK:
		stub_link(x, s);
		break;
	case STUB_POLL:
		x_stub_lull(x, s);
		x_move_out(x);
		as_mov_imm32(&x->a, ENT, (uint32_t)s->off);
		as_jmp_to(&x->a, x->j->go.exit_off);
		break;
	case STUB_STALE:
		as_jmp_to(&x->a, x->j->go.lookup);
		break;
	case STUB_CHANGED:
		x_page_address(x, x_insn(x)->next - x_insn(x)->len);
		as_jmp_to(&x->a, x->j->go.cold);
		break;
	case STUB_LOOKUP_POLL:
		x_stub_lull(x, s);
		as_jmp_to(&x->a, x->j->go.poll);
		break;
	case STUB_UNPAIRED:
		put_unpaired(x);
		break;
	case STUB_LOOKUP:
		x_stub_lookup(x, s);
		break;
	case STUB_FAR:
		x_stub_far(x, s);
		break;
	case STUB_FAR_POLL:
		x_stub_far_poll(x, s);
		break;
	case STUB_WAY:
		x_stub_way(x, s);
		break;
	case STUB_EXIT:
		x->host_ok = s->host_ok;
		x->env_ok = s->env_ok;
		x_exit(x, s->off);
		break;
	}
}

static void put_stubs(struct xlat *x, bool exits)
{
	for (unsigned n = 0; n < x->nr_stubs && !x->a.full; n++) {
		struct stub *s = &x->l->stubs[n];

		if ((s->kind == STUB_EXIT) != exits)
			continue;
		x->i = x->due = s->i;
		x_set_moved(x, s->moved);
		as_patch(s->place, x->a.p);
		put_stub(x, s);
	}
}

void x_put_exits(struct xlat *x)
{
	put_stubs(x, true);
}

void x_put_stubs(struct xlat *x)
{
	put_stubs(x, false);
}

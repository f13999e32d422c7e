/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accesses of a block by way of the same registers share one look into the software TLB: the first one looks
 * whether all of them are in its page, and keeps what they add to their addresses (soft_cpu.hc.shares). Those
 * behind it have nothing more to look at, nor do they touch flags. When they are not in one page, or when
 * there is code in it and some are stores, the rest of the block is made a second time without that
 * (jit_careful()).
 *
 * Registers are followed through the block by value numbers with a known distance: so what is pushed, and
 * what is addressed by RSP or by a frame pointer, counts as one. vCPU thread.
 */
#include "accel/soft/jit/xlat.h"

#define SLOT_SIZE ((int32_t)sizeof(struct share_look))
#define SPAN	 240	   /* bytes at most between the first and the last one of those that share */
#define FARTHEST BIT32(30) /* displacements that are nobody's structure */

/* ---- which accesses go together ---- */

/* What a register holds: a value that is not known, and how far from it. */
struct value {
	uint16_t nr;
	int32_t delta;
};

struct finder {
	struct xlat *x;
	struct value v[R_NR];
	uint16_t nr;	/* of the last value */
	uint8_t closed; /* shares that get no more members */
};

static void forget(struct finder *f, unsigned reg)
{
	f->v[reg] = (struct value){ ++f->nr, 0 };
}

static void forget_all(struct finder *f)
{
	for (unsigned r = 0; r < R_NR; r++)
		forget(f, r);
	f->closed = f->x->nr_shares;
}

static void set(struct finder *f, unsigned reg, struct value v, int64_t more)
{
	int64_t delta = v.delta + more;

	if (delta > -(int64_t)FARTHEST && delta < (int64_t)FARTHEST)
		f->v[reg] = (struct value){ v.nr, (int32_t)delta };
	else
		forget(f, reg);
}

static bool joins(const struct share *s, const struct share *m)
{
	int32_t lo = MIN(s->lo, m->lo), hi = MAX(s->hi, m->hi);

	return s->base == m->base && s->index == m->index && s->scale == m->scale && s->seg == m->seg &&
	       (s->write || !m->write) && hi - lo <= SPAN;
}

static bool is_far(int64_t off)
{
	return off <= -(int64_t)FARTHEST || off >= (int64_t)FARTHEST;
}

/* m: a share of one access at off. */
static void note(struct finder *f, unsigned i, struct share m, int64_t off, unsigned size)
{
	struct xlat *x = f->x;
	struct member *to = m.stack ? &x->l->stacked[i] : &x->l->operand[i];
	struct share *s;

	if (is_far(off))
		return;
	m.lo = (int32_t)off;
	m.hi = (int32_t)(off + size);
	for (s = &x->l->shares[f->closed]; s < &x->l->shares[x->nr_shares] && !joins(s, &m); s++)
		;
	if (s == &x->l->shares[x->nr_shares]) {
		if (x->nr_shares == CANDIDATES)
			return;
		*s = m;
		s->first = (uint8_t)i;
		x->nr_shares++;
	}
	s->lo = MIN(s->lo, m.lo);
	s->hi = MAX(s->hi, m.hi);
	s->last = (uint8_t)i;
	s->left = ++s->nr;
	*to = (struct member){ s, (int32_t)off };
}

static void note_stack(struct finder *f, unsigned i, unsigned reg, int32_t disp, bool write)
{
	const struct value *v = &f->v[reg];
	struct share m = { .base = v->nr, .index = f->v[R_ZERO].nr, .seg = SEG_NONE, .write = write,
			   .stack = true };

	note(f, i, m, (int64_t)v->delta + disp, (unsigned)x_word(f->x));
}

static bool writes_memory(const struct op_desc *d)
{
	for (unsigned i = 0; i < d->nr_operands; i++) {
		const struct op_operand *o = &d->operand[i];

		if ((o->kind == OPK_RM || o->kind == OPK_M || o->kind == OPK_W || o->kind == OPK_KRM ||
		     o->kind == OPK_MOFFS) && (o->rw & 2))
			return true;
	}
	return false;
}

/* Who stores and changes a register may change what the address was. */
static void note_operand(struct finder *f, unsigned i, const struct insn *in)
{
	const struct op_desc *d = &op_descs[in->op];
	const struct value *base = &f->v[in->base / 8], *index = &f->v[in->index / 8];
	unsigned size = insn_mem_size(in);
	bool write = writes_memory(d);
	struct share m = { .base = base->nr, .index = index->nr, .scale = in->scale,
			   .seg = (uint8_t)x_seg(in), .write = write };

	if (!(in->flags & INSN_MEM) || !size || size > 64 || !x_plain_address(f->x, in) || d->mn == MN_LEA ||
	    d->mn == MN_NOP || d->mn == MN_PREFETCH || (write && form_written(in)) || is_far(in->disp))
		return;
	if (d->cls != OPC_INT && d->cls != OPC_SSE && d->cls != OPC_AVX && d->cls != OPC_BMI &&
	    d->cls != OPC_EVEX)
		return;
	note(f, i, m, (int64_t)in->disp + base->delta + ((int64_t)index->delta << in->scale), size);
}

static bool is_stack(const struct insn *in)
{
	unsigned mn = op_descs[in->op].mn;

	return mn == MN_PUSH || mn == MN_POP || mn == MN_LEAVE || mn == MN_CALL || mn == MN_RET;
}

/* Whether what is known of registers, and of memory, is worth nothing behind it. */
static bool breaks(const struct xlat *x, const struct insn *in)
{
	const struct op_desc *d = &op_descs[in->op];

	if (!in->op || d->cls == OPC_SYS || d->cls == OPC_FPSTATE)
		return true;
	if (is_stack(in))
		return in->opsize != x_word(x) || (d->mn == MN_POP && (in->flags & INSN_MEM));
	return d->cls == OPC_INT && !x_is_int(d->mn) && d->mn != MN_LEA && d->mn != MN_NOP &&
	       d->mn != MN_PREFETCH && !x_is_branch(in);
}

static void follow_stack(struct finder *f, unsigned i, const struct insn *in)
{
	const struct value rsp = f->v[RSP];
	const int32_t word = x_word(f->x);

	switch (op_descs[in->op].mn) {
	case MN_PUSH:
	case MN_CALL:
		note_stack(f, i, RSP, -word, true);
		set(f, RSP, rsp, -word);
		break;
	case MN_POP:
		note_stack(f, i, RSP, 0, false);
		set(f, RSP, rsp, word);
		forget(f, in->rm / 8);
		break;
	case MN_LEAVE:
		note_stack(f, i, RBP, 0, false);
		set(f, RSP, f->v[RBP], word);
		forget(f, RBP);
		break;
	default:
		note_stack(f, i, RSP, 0, false);
		break;
	}
}

/* Instructions on all bits of addresses whose result is a known distance from what was there. */
static bool follow_known(struct finder *f, const struct insn *in)
{
	const struct op_desc *d = &op_descs[in->op];
	unsigned first = d->operand[0].kind, second = d->operand[1].kind;
	bool mem = in->flags & INSN_MEM;

	if (in->opsize != x_word(f->x) || d->cls != OPC_INT)
		return false;
	if (d->mn == MN_LEA && x_plain_address(f->x, in) && in->index / 8 == R_ZERO &&
	    in->base / 8 < R_ZERO) {
		set(f, in->reg_n, f->v[in->base / 8], in->disp);
		return true;
	}
	if (mem || first != OPK_RM)
		goto other_mov;
	if ((d->mn == MN_ADD || d->mn == MN_SUB) && second == OPK_IMM) {
		set(f, in->rm_n, f->v[in->rm_n], d->mn == MN_ADD ? (int64_t)in->imm : -(int64_t)in->imm);
		return true;
	}
	if (d->mn == MN_INC || d->mn == MN_DEC) {
		set(f, in->rm_n, f->v[in->rm_n], d->mn == MN_INC ? 1 : -1);
		return true;
	}
	if (d->mn == MN_MOV && second == OPK_REG) {
		set(f, in->rm_n, f->v[in->reg_n], 0);
		return true;
	}
	return false;
other_mov:
	if (mem || d->mn != MN_MOV || first != OPK_REG || second != OPK_RM)
		return false;
	set(f, in->reg_n, f->v[in->rm_n], 0);
	return true;
}

static void follow(struct finder *f, unsigned i, const struct insn *in)
{
	unsigned w;

	if (breaks(f->x, in)) {
		forget_all(f);
		return;
	}
	note_operand(f, i, in);
	if (is_stack(in)) {
		follow_stack(f, i, in);
		return;
	}
	if (follow_known(f, in))
		return;
	w = form_written(in) | (op_descs[in->op].cls == OPC_X87 ? BIT32(RAX) : 0);
	for (; w; w &= w - 1)
		forget(f, (unsigned)__builtin_ctz(w));
}

/* Registers that the first access of a share is addressed by. */
static unsigned address_of(const struct share *s, const struct insn *in)
{
	unsigned mn = op_descs[in->op].mn;

	if (s->stack)
		return mn == MN_LEAVE ? BIT32(RBP) : BIT32(RSP);
	return (BIT32(in->base / 8) | BIT32(in->index / 8)) & 0xffff;
}

/*
 * A look clobbers status flags. Where they are needed at the first access, and not in front of an instruction
 * before it, from which on its address is the same, the look is better done there: nobody has to keep them.
 * Or they are kept once for all looks, at the block's beginning.
 */
static uint8_t place_early(const struct xlat *x, const struct share *s)
{
	const struct insn *in = x->b->in;
	unsigned regs = address_of(s, &in[s->first]);

	if (!x->l->live[s->first])
		return NOT_EARLY;
	for (unsigned i = s->first; i-- > 0;) {
		if (breaks(x, &in[i]) || is_stack(&in[i]) || x_is_branch(&in[i]) ||
		    (form_written(&in[i]) & regs))
			break;
		/* what is not accessed in the end must not become dirty */
		if (s->write && (in[i].flags & INSN_MEM))
			break;
		if (!x->l->live[i] || !i)
			return (uint8_t)i;
	}
	return NOT_EARLY;
}

/* From where to where what was looked up is kept. */
static unsigned begin_of(const struct share *s)
{
	return s->early == NOT_EARLY ? s->first : s->early;
}
static bool overlaps(const struct share *s, const struct share *o)
{
	return begin_of(s) <= o->last && begin_of(o) <= s->last;
}

/* A slot that none has meanwhile. */
static uint8_t free_slot(const struct xlat *x, const struct share *s, unsigned nr_slots)
{
	uint32_t taken = 0;

	for (unsigned n = 0; n < x->nr_shares; n++) {
		const struct share *o = &x->l->shares[n];

		if (o->slot != NO_SLOT && overlaps(s, o))
			taken |= BIT32(o->slot);
	}
	taken = ~taken & (BIT32(nr_slots) - 1);
	return taken ? (uint8_t)__builtin_ctz(taken) : NO_SLOT;
}

/* Those that save most come first. */
static void give_slots(struct xlat *x)
{
	const unsigned nr_slots = x->b->looped ? MAX_SHARES : FEW_SHARES;
	uint8_t most = 0;

	for (unsigned n = 0; n < x->nr_shares; n++)
		most = MAX(most, x->l->shares[n].nr);
	for (unsigned nr = most; nr > 1; nr--) {
		for (unsigned n = 0; n < x->nr_shares; n++) {
			struct share *s = &x->l->shares[n];

			if (s->nr != nr)
				continue;
			s->slot = free_slot(x, s, nr_slots);
			if (s->slot != NO_SLOT && s->early != NOT_EARLY)
				x->early[s->early / 64] |= BIT64(s->early % 64);
		}
	}
}

static bool has_two_accesses(const struct block *b)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < b->nr && nr < 2; i++)
		nr += (b->in[i].flags & INSN_MEM) || is_stack(&b->in[i]);
	return nr == 2;
}

void x_find_shares(struct xlat *x)
{
	struct finder f = { .x = x };

	if (!has_two_accesses(x->b))
		return;
	forget_all(&f);
	for (unsigned i = 0; i < x->b->nr; i++)
		follow(&f, i, &x->b->in[i]);
	for (unsigned n = 0; n < x->nr_shares; n++) {
		struct share *s = &x->l->shares[n];

		s->slot = NO_SLOT;
		s->early = s->nr > 1 ? place_early(x, s) : NOT_EARLY;
	}
	give_slots(x);
}

/* ---- code for them ---- */

static int32_t slot_off(const struct share *s)
{
	int32_t at = s->slot < FEW_SHARES ? OFF(hc.shares) : OFF(more_shares) - FEW_SHARES * SLOT_SIZE;

	return at + s->slot * SLOT_SIZE;
}

#define SHARE_OFF(s, field) (slot_off(s) + (int32_t)offsetof(struct share_look, field))

struct share *x_share(struct xlat *x, const struct member *m, unsigned size, bool write)
{
	struct share *s = m->share;

	x->now = NULL;
	if (!s || s->slot == NO_SLOT)
		return NULL;
	s->left--;
	if (m->off < s->lo || m->off + (int32_t)size > s->hi || (write && !s->write))
		return NULL;
	if (!s->open && (!s->left || (s->write && !write)))
		return NULL;
	x->now = s;
	x->off = m->off;
	x->size = (uint8_t)size;
	return s;
}

static void look_early(struct xlat *x, struct share *s)
{
	x_keep_flags(x, x->l->live[x->i]);
	x->i = s->first;
	x->now = s;
	x->off = (s->stack ? x->l->stacked : x->l->operand)[x->i].off;
	x->size = (uint8_t)(s->stack ? (unsigned)x_word(x) : insn_mem_size(x_insn(x)));
	x_look(x, s);
	x->i = x->due;
	x->now = NULL;
}

static bool looks_early(const struct xlat *x, unsigned i)
{
	return x->early[i / 64] >> i % 64 & 1;
}

bool x_looks_first(const struct xlat *x)
{
	return x->early[0] & 1;
}

void x_look_early(struct xlat *x)
{
	if (!looks_early(x, x->i))
		return;
	for (unsigned n = 0; n < x->nr_shares; n++) {
		struct share *s = &x->l->shares[n];

		if (s->early == x->i && s->slot != NO_SLOT && !s->open)
			look_early(x, s);
	}
}

void x_close_shares(struct xlat *x)
{
	x->ent = NULL;
	for (unsigned n = 0; n < x->nr_shares; n++)
		x->l->shares[n].open = false;
}

/* The linear address of the access in hand, and more, into EA. */
static void put_linear(struct xlat *x, int32_t more)
{
	struct insn flat = *x_insn(x);

	flat.disp += more;
	x_ea_to(x, &flat, EA, x_wide(x));
}

/* T: the page's watch. Stores go where there is no code. */
static void put_unwatched(struct xlat *x, const struct share *s)
{
	struct as *a = &x->a;

	as_rm(a, true, AS_STORE, T, ENV, SHARE_OFF(s, watch));
	as_rm(a, true, 0x83, 7, T, 0); /* cmp qword [watch], 0 */
	as_byte(a, 0);
	x_stub(x, STUB_CAREFUL, as_jcc(a, CC_NE));
}

/*
 * The look is done: ENT is the TLB entry, or with a spot what it has to add: in 32-bit code to offsets in the
 * page. There a segment's base is in the access's address, which is cut behind it.
 */
void x_open_share(struct xlat *x, struct share *s, unsigned seg)
{
	struct as *a = &x->a;

	if (s->write) {
		if (x->spot)
			as_rm(a, true, AS_LOAD, T, ENV, x->spot + (int32_t)offsetof(struct spot, watch));
		else
			as_rm(a, true, AS_LOAD, T, ENT, TLB_MORE(TLB_WRITE, watch));
		put_unwatched(x, s);
	}
	if (!x->spot)
		as_rm(a, true, AS_LOAD, ENT, ENT, TLB_OFF(s->write ? TLB_WRITE : TLB_READ, addend));
	else if (!x_wide(x))
		as_rm(a, true, 0x2b, ENT, ENV, x->spot + (int32_t)offsetof(struct spot, base));
	if (seg != SEG_NONE && x_wide(x))
		as_rm(a, true, 0x03, ENT, ENV, OFF(segbase) + (int32_t)(8 * seg));
	as_rm(a, true, AS_STORE, ENT, ENV, SHARE_OFF(s, add));
	x->spot = 0;
	x->host_ok = false;
	x->ent = s;
	s->open = true;
}

/* What an open share adds comes into ENT, if it is not there. */
static void need_add(struct xlat *x, struct share *s)
{
	if (x->ent != s)
		as_rm(&x->a, true, AS_LOAD, ENT, ENV, SHARE_OFF(s, add));
	x->ent = s;
}

void x_shared_stack(struct xlat *x, struct share *s, unsigned base, int32_t disp)
{
	need_add(x, s);
	x->spot = 0;
	x->at = (struct as_addr){ (int)base, ENT, disp };
	if (x_wide(x))
		return;
	as_lea(&x->a, false, EA, (int)base, -1, 0, disp);
	x->at = (struct as_addr){ EA, ENT, 0 };
}

static void shared_operand32(struct xlat *x, struct share *s, unsigned align)
{
	bool clobbers = align || x_seg(x_insn(x)) != SEG_NONE;

	if (clobbers) {
		x_keep_flags(x, x->l->live[x->i]);
		x->host_ok = false;
	}
	x_ea(x);
	x_check_align(x, align);
	need_add(x, s);
	x->at = (struct as_addr){ EA, ENT, 0 };
}

void x_shared_operand(struct xlat *x, struct share *s, unsigned align)
{
	const struct insn *in = x_insn(x);
	unsigned base = in->base / 8;
	struct insn flat = *in;

	x->spot = 0;
	if (!x_wide(x)) {
		shared_operand32(x, s, align);
		return;
	}
	if (align) {
		x_keep_flags(x, x->l->live[x->i]);
		x_ea(x);
		x_check_align(x, align);
		x->host_ok = false;
	}
	flat.seg = SEG_NONE;
	x->at = (struct as_addr){ EA, ENT, 0 };
	if (in->index / 8 != R_ZERO) {
		x_ea_to(x, &flat, EA, true);
	} else if (base == R_ZERO) {
		x->at = (struct as_addr){ ENT, -1, in->disp };
	} else {
		x->at.base = (int)x_reg(x, base, EA);
		x->at.disp = in->disp;
	}
	need_add(x, s);
}

/* ---- behind stores ---- */

/* Whether instruction i has an operand of an open share, with nothing to look at. */
static bool is_open(const struct xlat *x, unsigned i)
{
	const struct insn *in = &x->b->in[i];
	const struct share *s = x->l->operand[i].share;

	return s && s->open && x_wide(x) && !(in->flags & INSN_LOCK) &&
	       (op_descs[in->op].cls == OPC_INT || !in->pad[1]);
}

static bool stores_to(const struct xlat *x, unsigned i, const struct share *s)
{
	const struct insn *in = &x->b->in[i];
	const struct op_desc *d = &op_descs[in->op];

	if (d->mn == MN_PUSH && !(in->flags & INSN_MEM))
		return x->l->stacked[i].share == s;
	if (!(in->flags & INSN_MEM) || x->l->operand[i].share != s || !writes_memory(d))
		return false;
	return d->cls == OPC_INT ? d->mn == MN_MOV && d->operand[0].kind == OPK_RM && in->opsize >= 4 :
				   is_open(x, i) && x_is_native(x, i);
}

/* Whether host code of instruction i cannot be left in the middle. */
static bool stays_inside(const struct xlat *x, unsigned i)
{
	const struct insn *in = &x->b->in[i];
	const struct op_desc *d = &op_descs[in->op];

	if (looks_early(x, i))
		return false;
	if (d->mn == MN_NOP || d->mn == MN_PREFETCH)
		return true;
	if (d->mn == MN_LEA)
		return in->opsize >= 4 && x_plain_address(x, in);
	if ((in->flags & INSN_MEM) && (writes_memory(d) || !is_open(x, i)))
		return false;
	return x_is_native(x, i);
}

#define ROW 16

/*
 * The next instruction that stores to the same share, if nothing can be left in between: then one look at
 * the watch is enough for both. Nobody can have run what the first one wrote meanwhile: there was no code.
 * 0: none.
 */
static unsigned next_in_row(const struct xlat *x)
{
	for (unsigned i = x->i + 1; i < x->b->nr && i < x->i + ROW; i++) {
		if (stores_to(x, i, x->now))
			return i;
		if (!stays_inside(x, i))
			return 0;
	}
	return 0;
}

bool x_stored_share(struct xlat *x)
{
	if (x->run_lo == x->run_hi)
		x->run_lo = x->run_hi = x->off;
	x->run_lo = MIN(x->run_lo, x->off);
	x->run_hi = MAX(x->run_hi, x->off + x->size);
	x->run_next = (uint8_t)next_in_row(x);
	if (!x->run_next)
		as_rm(&x->a, true, AS_LOAD, T, ENV, SHARE_OFF(x->now, watch));
	return x->run_next;
}

void x_stored_linear(struct xlat *x, const struct stub *s)
{
	if (is_stack(x_insn(x))) /* RSP has moved */
		as_lea(&x->a, x_wide(x), EA, H_R12, -1, 0, s->off);
	else
		put_linear(x, s->off);
}

/* ---- what does without ---- */

void x_stub_careful(struct xlat *x)
{
	const uint8_t *start;

	x_move_out(x);
	start = x->a.p;
	as_mov_imm32(&x->a, ENT, x_id(x));
	as_mov_imm32(&x->a, T, (uint32_t)(start - x->j->rw));
	as_jmp_to(&x->a, x->j->go.careful);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that stay what they are: copied, with other registers where a guest register has no host
 * register, and with a host address in place of their memory operand. vCPU thread.
 */
#include "accel/soft/fpu.h"
#include "accel/soft/jit/xlat.h"

/* Guest registers that are not in the host's of that name, as an implied operand: RSP, R8 to R15. */
#define NOT_IN_PLACE (BIT32(RSP) | 0xff00u)

/* A general register operand: its guest register and what becomes of it. */
struct slot {
	bool used, read, written;
	bool high; /* AH..BH */
	unsigned guest;
	int host; /* what goes into the encoding; -1: as it is */
	bool back; /* to be stored */
};

struct plan {
	struct form f;
	struct slot reg, rm, vvvv;
	bool mem, store, vec, mmx, gpr;
	bool swap; /* AH..BH and AL..BL around it */
	unsigned size, align;
};

bool x_is_int(unsigned mn)
{
	switch (mn) {
	case MN_ADD: case MN_OR: case MN_ADC: case MN_SBB: case MN_AND: case MN_SUB: case MN_XOR:
	case MN_CMP: case MN_INC: case MN_DEC: case MN_TEST: case MN_NOT: case MN_NEG:
	case MN_MUL: case MN_DIV: case MN_IDIV: case MN_IMUL: case MN_ROL: case MN_ROR:
	case MN_RCL: case MN_RCR: case MN_SHL: case MN_SHR: case MN_SAR: case MN_CBW:
	case MN_CWD: case MN_MOV: case MN_MOVSXD: case MN_XCHG: case MN_CMOVCC: case MN_SETCC:
	case MN_BT: case MN_BTS: case MN_BTR: case MN_BTC: case MN_SHLD: case MN_SHRD:
	case MN_CMPXCHG: case MN_CMPXCHG8B: case MN_MOVZX: case MN_MOVSX: case MN_BSF:
	case MN_BSR: case MN_XADD: case MN_MOVNTI: case MN_BSWAP: case MN_MOVBE: case MN_LFENCE:
	case MN_MFENCE: case MN_SFENCE: case MN_CMC: case MN_CLC: case MN_STC: case MN_LAHF:
	case MN_SAHF:
		return true;
	default:
		return false;
	}
}

static bool native_op(const struct op_desc *d)
{
	if (d->cls != OPC_SSE && d->cls != OPC_AVX && d->cls != OPC_BMI && d->cls != OPC_EVEX &&
	    d->cls != OPC_MMX)
		return false;
	switch (d->mn) { /* what masked.c does in its own way */
	case MN_VPMASKMOVD: case MN_VPMASKMOVQ: case MN_VMASKMOVPS: case MN_VMASKMOVPD:
	case MN_MASKMOVDQU: case MN_VMASKMOVDQU: case MN_MASKMOVQ:
		return false;
	default:
		return true;
	}
}

static unsigned gpr_size(const struct plan *p, const struct op_operand *o)
{
	if (o->size)
		return o->size;
	if (p->f.d->cls == OPC_INT)
		return p->f.in->opsize;
	return p->f.w ? 8 : p->f.p66 && !p->f.vex ? 2 : 4;
}

static void take_slot(struct plan *p, struct slot *s, const struct op_operand *o, unsigned n)
{
	unsigned size = gpr_size(p, o);

	s->used = true;
	s->guest = form_gpr(p->f.in, n, size, &s->high);
	s->written = o->rw & 2;
	s->read = (o->rw & 1) || size < 4;
	s->host = -1;
	p->gpr = true;
}

static void take_mem(struct plan *p, const struct op_operand *o)
{
	p->mem = true;
	p->store = o->rw & 2;
}

static bool take_operand(struct plan *p, const struct op_operand *o)
{
	const struct insn *in = p->f.in;
	bool mem = in->flags & INSN_MEM;

	switch (o->kind) {
	case OPK_REG:
		take_slot(p, &p->reg, o, in->reg_n);
		return true;
	case OPK_RM:
		if (mem)
			take_mem(p, o);
		else
			take_slot(p, &p->rm, o, in->rm_n);
		return true;
	case OPK_R:
	case OPK_OPREG:
		take_slot(p, &p->rm, o, in->rm_n);
		return true;
	case OPK_VVVV:
		take_slot(p, &p->vvvv, o, in->vvvv);
		return true;
	case OPK_M:
		take_mem(p, o);
		return true;
	case OPK_MOFFS:
		take_mem(p, o);
		return in->flags & INSN_A32;
	case OPK_W:
	case OPK_KRM:
		if (mem)
			take_mem(p, o);
		p->vec = true;
		return true;
	case OPK_Q:
		if (mem)
			take_mem(p, o);
		p->mmx = true;
		return true;
	case OPK_P:
	case OPK_N:
		p->mmx = true;
		return true;
	case OPK_V:
	case OPK_H:
	case OPK_L:
	case OPK_U:
	case OPK_FIXV:
	case OPK_KREG:
	case OPK_KR:
	case OPK_KVVVV:
		p->vec = true;
		return true;
	case OPK_FIX:
		return !(BIT32(o->fix) & NOT_IN_PLACE);
	case OPK_IMM:
	case OPK_NONE:
		return true;
	default:
		return false;
	}
}

/*
 * A lock over two lines is the interpreter's (exec.h). Where the processor asks for alignment the host's
 * does, too, and its trap leads to the interpreter (jit_trap()), which raises what is due.
 */
static unsigned alignment(const struct plan *p)
{
	const struct op_desc *d = p->f.d;

	if (d->cls != OPC_INT)
		return 0;
	if (d->mn == MN_CMPXCHG8B)
		return p->size - 1;
	if ((p->f.in->flags & INSN_LOCK) || d->mn == MN_XCHG)
		return p->size - 1;
	return 0;
}

/* As native.c found it; VZEROUPPER and VZEROALL have no operand to tell by. */
static enum fpu_need need_of(const struct insn *in)
{
	return op_descs[in->op].cls == OPC_AVX && in->pad[0] == FPN_BMI ? FPN_AVX : in->pad[0];
}

/*
 * What means something else in 64-bit code, with registers beyond the eighth: VZEROUPPER is for them too, W
 * makes general registers wide, and the fourth register of a VEX instruction has a bit more.
 */
static bool only_32(const struct form *f)
{
	const struct op_desc *d = f->d;

	if (d->mn == MN_VZEROUPPER || d->mn == MN_VZEROALL ||
	    (f->w && (d->mn == MN_VPCMPESTRI || d->mn == MN_VPCMPESTRM)))
		return true;
	for (unsigned i = 0; i < d->nr_operands; i++) {
		unsigned kind = d->operand[i].kind;

		if (f->w && (kind == OPK_REG || kind == OPK_RM || kind == OPK_R || kind == OPK_VVVV))
			return true;
		if (kind == OPK_L && (f->imm[f->nr_imm - 1] & 0x80))
			return true;
	}
	return false;
}

static bool make_plan(const struct xlat *x, const struct insn *in, struct plan *p)
{
	const struct op_desc *d = &op_descs[in->op];

	*p = (struct plan){ .mem = false };
	form_parse(&p->f, in, x_bytes(x, in), x->c->code_bits);
	if (d->cls == OPC_INT ? !x_is_int(d->mn) : !native_op(d))
		return false;
	if ((d->gpr_r | d->gpr_w) & NOT_IN_PLACE)
		return false;
	if (!x_plain_address(x, in) || (!x_wide(x) && only_32(&p->f)))
		return false;
	for (unsigned i = 0; i < d->nr_operands; i++)
		if (!take_operand(p, &d->operand[i]))
			return false;
	if (p->mmx && p->vec)
		return false;
	p->vec |= d->cls == OPC_SSE || d->cls == OPC_AVX || d->cls == OPC_EVEX;
	if (d->cls != OPC_INT && fpu_denied(x->c, need_of(in)) >= 0)
		return false;
	/* The address of a bit string depends on the bit. */
	if (p->mem && p->reg.used && (d->mn == MN_BT || d->mn == MN_BTS || d->mn == MN_BTR ||
				      d->mn == MN_BTC))
		return false;
	p->size = p->mem ? insn_mem_size(in) : 0;
	p->align = p->mem ? alignment(p) : 0;
	return !p->mem || (p->size && p->size <= 64 && !(p->store && p->vvvv.used));
}

static void let_go(struct xlat *x)
{
	x->held[0] = x->held[1] = NO_GUEST;
}

/* A guest register without a home, into scratch: from memory, or from where the last instruction had it. */
static void load_scratch(struct xlat *x, unsigned scratch, unsigned guest)
{
	for (unsigned i = 0; i < ARRAY_SIZE(x->held); i++) {
		if (x->held[i] != guest)
			continue;
		if (x_holder(i) != scratch)
			as_mov(&x->a, scratch, x_holder(i));
		return;
	}
	as_rm(&x->a, true, AS_LOAD, scratch, ENV, OFF_R(guest));
}

/* Which host register an operand is in; loads what has none. */
static void place_slot(struct xlat *x, struct slot *s, unsigned scratch)
{
	if (!s->used || s->high)
		return;
	s->host = x->home[s->guest];
	if (s->host >= 0)
		return;
	s->host = (int)scratch;
	s->back = s->written;
	if (scratch == ENT)
		x->ent = NULL;
	if (s->read)
		load_scratch(x, scratch, s->guest);
	for (unsigned i = 0; i < ARRAY_SIZE(x->held); i++)
		if (x_holder(i) == scratch)
			x->held[i] = s->read ? (uint8_t)s->guest : NO_GUEST;
}

static void store_slot(struct xlat *x, const struct slot *s)
{
	if (!s->back)
		return;
	as_rm(&x->a, true, AS_STORE, (unsigned)s->host, ENV, OFF_R(s->guest));
	for (unsigned i = 0; i < ARRAY_SIZE(x->held); i++)
		if ((int)x_holder(i) == s->host)
			x->held[i] = (uint8_t)s->guest;
		else if (x->held[i] == s->guest)
			x->held[i] = NO_GUEST;
}

/* A register for the third operand, which what x->at is made of leaves, or the second one. */
static unsigned third_scratch(struct xlat *x, const struct plan *p)
{
	struct as_addr *m = &x->at;
	bool ea = m->base == EA || m->index == EA, ent = m->base == ENT || m->index == ENT;

	if (p->rm.host == EA)
		return ENT;
	if (!p->mem || !p->vvvv.used || x->home[p->vvvv.guest] >= 0 || !ea)
		return EA;
	if (ent) {
		as_lea(&x->a, true, EA, m->base, m->index, 0, m->disp);
		*m = (struct as_addr){ EA, -1, 0 };
	}
	return ENT;
}

/*
 * A guest register in memory as ModRM.rm can be an operand there. Not where that would be another operation,
 * or of 32 bits and written, as then the upper half is, too.
 */
static bool stays_in_memory(const struct xlat *x, const struct plan *p)
{
	const struct slot *s = &p->rm;
	const struct op_desc *d = p->f.d;

	if (p->mem || !s->used || s->high || x->home[s->guest] >= 0 || !p->f.has_modrm || p->f.high8)
		return false;
	if (x->held[0] == s->guest || x->held[1] == s->guest)
		return false;
	if (d->mn == MN_BT || (d->cls != OPC_INT && d->cls != OPC_BMI))
		return false;
	if (s->written)
		return d->mn == MN_MOV && !s->read && p->f.in->opsize == 8;
	for (unsigned i = 0; i < d->nr_operands; i++)
		if (d->operand[i].kind == OPK_RM)
			return true;
	return false;
}

/* ADD to CMP, and MOV, have an encoding for each direction: what is in memory becomes ModRM.rm. */
static void turn(const struct xlat *x, struct plan *p)
{
	const uint8_t op = p->f.opcode;
	const struct slot reg = p->reg;

	if (p->mem || p->f.map || p->f.vex || ((op & 0xc4) && (op & 0xfc) != 0x88) || p->f.high8)
		return;
	if (!reg.used || !p->rm.used || reg.written || x->home[reg.guest] >= 0 || x->home[p->rm.guest] < 0)
		return;
	p->f.opcode ^= 2;
	p->reg = p->rm;
	p->rm = reg;
}

/* AH..BH change places with AL..BL, as these can be beside a REX prefix. */
static void put_swapped(struct xlat *x, struct plan *p)
{
	const unsigned n = p->reg.guest;
	const uint8_t xchg[2] = { 0x86, (uint8_t)(0xc0 | (n + 4) << 3 | n) };

	as_bytes(&x->a, xchg, 2);
	p->f.high8 = false;
	if (!form_put(&x->a, &p->f, (int)n, -1, -1, &x->at))
		x->a.full = true;
	as_bytes(&x->a, xchg, 2);
}

static void put_operation(struct xlat *x, struct plan *p)
{
	const struct insn *in = p->f.in;
	bool in_memory;

	if (p->swap) {
		put_swapped(x, p);
		return;
	}
	if (x->held_at != x->a.p)
		let_go(x);
	if (!p->gpr && !p->mem && p->vec && x_wide(x)) {
		as_bytes(&x->a, p->f.bytes, in->len);
		x->held_at = x->a.p;
		return;
	}
	turn(x, p);
	in_memory = stays_in_memory(x, p);
	if (in_memory)
		x->at = (struct as_addr){ ENV, -1, OFF_R(p->rm.guest) };
	place_slot(x, &p->reg, T);
	if (!in_memory)
		place_slot(x, &p->rm, EA);
	place_slot(x, &p->vvvv, third_scratch(x, p));
	if (!form_put(&x->a, &p->f, p->reg.used ? p->reg.host : -1, p->rm.used ? p->rm.host : -1,
		      p->vvvv.used ? p->vvvv.host : -1, p->mem || in_memory ? &x->at : NULL)) {
		x->a.full = true; /* make_plan() keeps these away */
		return;
	}
	store_slot(x, &p->vvvv);
	store_slot(x, &p->reg);
	store_slot(x, &p->rm);
	x->held_at = x->a.p;
}

/* AH..BH beside an operand that needs a REX prefix. */
static bool needs_rex(const struct slot *s)
{
	return s->used && !s->high && (s->guest >= 8 || host_reg(s->guest) != (int)s->guest);
}

/* AH..BH beside memory, which is addressed by high registers; what else it is of must stay in place then. */
static bool can_swap(const struct xlat *x, const struct plan *p)
{
	const struct insn *in = p->f.in;
	const unsigned n = p->reg.guest;

	if (!p->mem || !p->reg.high || p->f.w || ((p->f.d->gpr_r | p->f.d->gpr_w) & BIT32(n)))
		return false;
	return !x_wide(x) || (in->base / 8 != n && in->index / 8 != n);
}

static bool high8_clash(const struct xlat *x, struct plan *p)
{
	p->swap = p->f.high8 && can_swap(x, p);
	if (!p->f.high8 || p->swap)
		return false;
	return p->mem || p->f.w || needs_rex(&p->reg) || needs_rex(&p->rm);
}

bool x_is_native(const struct xlat *x, unsigned i)
{
	const struct insn *in = &x->b->in[i];
	const struct op_desc *d = &op_descs[in->op];
	struct plan p;

	if (x_is_mxcsr(in) || x_is_branch(in) || d->mn == MN_DIV || d->mn == MN_IDIV || in->fn == exec_ud ||
	    in->fn == exec_gp0 || !make_plan(x, in, &p) || high8_clash(x, &p) || p.mmx)
		return false;
	return !p.vec || x->vec_ok >= (d->cls == OPC_EVEX ? VEC_ALL : VEC_SOME);
}

void x_flags_done(struct xlat *x)
{
	const struct op_desc *d = &op_descs[x_insn(x)->op];

	if ((d->flags_w | d->flags_u) & FLAGS_STATUS) {
		x->host_ok = true;
		x->env_ok = false;
	}
}

/* An address as a number: of 32 bits, or of 64. */
static bool put_lea(struct xlat *x)
{
	const struct insn *in = x_insn(x);
	unsigned to = in->reg / 8;
	int host = x->home[to];
	struct insn flat = *in;

	if (in->opsize < 4 || !x_plain_address(x, in))
		return false;
	flat.seg = SEG_NONE;
	x_ea_to(x, &flat, host < 0 ? EA : (unsigned)host, in->opsize == 8);
	if (host < 0)
		as_rm(&x->a, true, AS_STORE, EA, ENV, OFF_R(to));
	return true;
}

bool x_general(struct xlat *x)
{
	const struct insn *in = x_insn(x);
	const struct op_desc *d = &op_descs[in->op];
	unsigned reads = d->flags_r & FLAGS_STATUS, writes = (d->flags_w | d->flags_u) & FLAGS_STATUS;
	struct plan p;

	if (d->mn == MN_NOP || d->mn == MN_PREFETCH)
		return true;
	if (d->mn == MN_LEA)
		return put_lea(x);
	if (x_is_mxcsr(in))
		return x_mxcsr(x);
	if (x_is_x87(in))
		return x_x87(x);
	if (d->mn == MN_EMMS)
		return x_emms(x);
	if (!make_plan(x, in, &p) || high8_clash(x, &p))
		return false;
	if (p.mmx)
		x_need_x87(x);
	if (p.vec)
		x_need_vec(x, d->cls == OPC_EVEX);
	if (p.mem)
		x_reach(x, p.size, p.store, p.align);
	/* Flags that it reads, or that it leaves while it writes others. */
	if (reads || (writes && x->l->live[x->i]))
		x_need_flags(x);
	x->op_flags = x->host_ok;
	put_operation(x, &p);
	x_flags_done(x);
	if (p.store)
		x_stored(x);
	return true;
}

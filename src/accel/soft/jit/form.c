/* SPDX-License-Identifier: Apache-2.0 */
/* Encodings taken apart and put together again (form.h). Stateless. */
#include "accel/soft/jit/form.h"

static bool is_prefix(uint8_t b)
{
	return b == 0x66 || b == 0x67 || b == 0xf2 || b == 0xf3 || b == 0xf0 || b == 0x26 ||
	       b == 0x2e || b == 0x36 || b == 0x3e || b == 0x64 || b == 0x65;
}

static const uint8_t *parse_vex(struct form *f, const uint8_t *p)
{
	uint8_t last = p[1];

	f->vex = true;
	f->map = 1;
	if (p[0] == 0xc4) {
		f->map = p[1] & 31;
		last = p[2];
		f->w = last & 0x80;
		p++;
	}
	f->vex_l = last & 4;
	f->pp = last & 3;
	return p + 2;
}

static const uint8_t *parse_evex(struct form *f, const uint8_t *p)
{
	f->vex = f->evex = true;
	f->w = p[2] & 0x80;
	memcpy(f->ev, p + 1, sizeof(f->ev));
	return p + 4;
}

static const uint8_t *parse_legacy(struct form *f, const uint8_t *p)
{
	if (*p != 0x0f)
		return p;
	f->map = 1;
	p++;
	if (*p == 0x38 || *p == 0x3a) {
		f->map = *p == 0x38 ? 2 : 3;
		p++;
	}
	return p;
}

/* Whether operands are in a ModRM byte; the rest is of the opcode or fixed. */
static bool needs_modrm(const struct op_desc *d)
{
	for (unsigned i = 0; i < d->nr_operands; i++) {
		switch (d->operand[i].kind) {
		case OPK_NONE:
		case OPK_OPREG:
		case OPK_FIX:
		case OPK_IMM:
		case OPK_REL:
		case OPK_FAR:
		case OPK_MOFFS:
		case OPK_STRSRC:
		case OPK_STRDST:
		case OPK_FIXV:
			break;
		default:
			return true;
		}
	}
	return false;
}

/* Bytes of ModRM, SIB and displacement. */
static unsigned address_len(const uint8_t *p)
{
	unsigned mod = p[0] >> 6, rm = p[0] & 7, n = 1;

	if (mod == 3)
		return 1;
	if (rm == 4) {
		n++;
		if (mod == 0 && (p[1] & 7) == 5)
			return n + 4;
	} else if (mod == 0 && rm == 5) {
		return n + 4;
	}
	return n + (mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

static void find_low8(struct form *f)
{
	for (unsigned i = 0; i < f->d->nr_operands; i++) {
		const struct op_operand *o = &f->d->operand[i];
		unsigned size = o->size ? o->size : f->in->opsize;
		bool reg = o->kind == OPK_REG;
		bool rm = o->kind == OPK_OPREG || ((o->kind == OPK_RM || o->kind == OPK_R) &&
						   !(f->in->flags & INSN_MEM));

		bool high;

		if (size != 1 || !(reg || rm))
			continue;
		form_gpr(f->in, reg ? f->in->reg_n : f->in->rm_n, 1, &high);
		f->low8 = true;
		f->high8 |= high;
	}
}

static void give_modrm(struct form *f, uint8_t opcode, unsigned modrm)
{
	f->opcode = opcode;
	f->modrm = (uint8_t)modrm;
	f->has_modrm = true;
}

/*
 * Of 32-bit code, for 64-bit code: INC and DEC by what are REX prefixes there, the second opcode of ADD to
 * CMP, and addresses that are of 64 bits there. Bits for registers beyond the eighth are ignored in VEX and
 * EVEX prefixes.
 */
static void from_32(struct form *f)
{
	const uint8_t op = f->opcode;

	if (f->evex) {
		f->ev[0] |= 0xf0;
		f->ev[1] |= 0x40;
	}
	if (f->vex || f->map)
		return;
	if ((op & 0xf0) == 0x40) {
		give_modrm(f, 0xff, 0xc0u | (op & 15));
	} else if (op == 0x82) {
		f->opcode = 0x80;
	} else if ((op & 0xfc) == 0xa0) {
		give_modrm(f, (uint8_t)(0x88 | (op & 1) | (op & 2 ? 0 : 2)), 0);
		f->nr_imm = 0;
	}
}

void form_parse(struct form *f, const struct insn *in, const uint8_t *bytes, unsigned bits)
{
	const uint8_t *p = bytes;

	*f = (struct form){ .in = in, .d = &op_descs[in->op], .bytes = bytes };
	for (; is_prefix(*p); p++) {
		if (*p == 0x66)
			f->p66 = true;
		else if (*p == 0xf2 || *p == 0xf3)
			f->rep = *p;
	}
	while (bits == 64 && (*p & 0xf0) == 0x40)
		f->w = *p++ & 8;
	if (in->flags & INSN_EVEX)
		p = parse_evex(f, p);
	else
		p = in->flags & INSN_VEX ? parse_vex(f, p) : parse_legacy(f, p);
	f->opcode = *p++;
	f->has_modrm = needs_modrm(f->d);
	if (f->has_modrm) {
		f->modrm = *p;
		p += address_len(p);
	}
	f->imm = p;
	f->nr_imm = (uint8_t)(bytes + in->len - p);
	if (bits == 32)
		from_32(f);
	/* TZCNT and LZCNT mean these on a CPU model without them. */
	if (f->d->mn == MN_BSF || f->d->mn == MN_BSR)
		f->rep = 0;
	/* REP XCHG R12, RAX with R8 in R12's place would be a PAUSE. */
	if (f->d->mn == MN_XCHG)
		f->rep = 0;
	find_low8(f);
}

static void put_vex(struct as *a, const struct form *f, unsigned rex, unsigned vvvv)
{
	as_byte(a, 0xc4);
	as_byte(a, (~rex << 5 & 0xe0) | f->map);
	as_byte(a, (f->w ? 0x80u : 0) | (~vvvv & 15) << 3 | (f->vex_l ? 4u : 0) | f->pp);
}

static void put_legacy(struct as *a, const struct form *f, unsigned rex, bool need_rex)
{
	if (f->p66)
		as_byte(a, 0x66);
	if (f->rep)
		as_byte(a, f->rep);
	if (f->in->flags & INSN_LOCK)
		as_byte(a, 0xf0);
	if (rex != 0x40 || need_rex)
		as_byte(a, rex);
	if (f->map)
		as_byte(a, 0x0f);
	if (f->map >= 2)
		as_byte(a, f->map == 2 ? 0x38 : 0x3a);
}

/* EVEX counts short displacements in its own way: these are of 32 bits. */
static void put_evex_address(struct as *a, unsigned reg, const struct as_addr *m)
{
	unsigned b = (unsigned)m->base & 7, mod = !m->disp && b != 5 ? 0 : 2;
	bool sib = m->index >= 0 || b == 4;

	as_byte(a, mod << 6 | (reg & 7) << 3 | (sib ? 4 : b));
	if (sib)
		as_byte(a, (m->index >= 0 ? (unsigned)m->index & 7 : 4) << 3 | b);
	if (mod == 2)
		as_u32(a, (uint32_t)m->disp);
}

/* The bits of vector registers stay, unless a general register or memory takes their place. */
static void put_evex(struct as *a, const struct form *f, int reg, int rm, const struct as_addr *mem)
{
	unsigned r = reg >= 0 ? (unsigned)reg : f->modrm >> 3 & 7u, first = f->ev[0];
	unsigned b = mem ? (unsigned)mem->base : rm >= 0 ? (unsigned)rm : f->modrm & 7u;
	unsigned index = mem && mem->index >= 0 ? (unsigned)mem->index : 0;

	if (reg >= 0)
		first = (first & ~0x90u) | 0x10 | (r & 8 ? 0 : 0x80);
	if (mem || rm >= 0)
		first = (first & ~0x60u) | (index & 8 ? 0 : 0x40) | (b & 8 ? 0 : 0x20);
	AS(a, 0x62, (uint8_t)first, f->ev[1], f->ev[2], f->opcode);
	if (mem)
		put_evex_address(a, r, mem);
	else
		as_byte(a, 0xc0 | (r & 7) << 3 | (b & 7));
	as_bytes(a, f->imm, f->nr_imm);
}

bool form_put(struct as *a, const struct form *f, int reg, int rm, int vvvv,
	      const struct as_addr *mem)
{
	const struct insn *in = f->in;
	unsigned r = reg >= 0 ? (unsigned)reg : in->reg_n;
	unsigned b = mem ? 0 : rm >= 0 ? (unsigned)rm : in->rm_n;
	unsigned v = vvvv >= 0 ? (unsigned)vvvv : in->vvvv;
	unsigned rex;
	bool need_rex = f->low8 && !f->high8;

	if (f->evex) {
		put_evex(a, f, reg, rm, mem);
		return true;
	}
	/* What ModRM.reg or rm says may be a part of the opcode, or of AH..BH. */
	if (reg < 0)
		r = f->has_modrm ? (f->modrm >> 3 & 7) | (in->reg_n & 8) : 0;
	if (!mem && rm < 0 && f->has_modrm)
		b = (f->modrm & 7) | (in->rm_n & 8);
	if (!mem && rm < 0 && !f->has_modrm)
		b = 0;
	rex = mem ? as_rex_at(f->w, r, mem) : as_rex(f->w, r, 0, b);
	if (f->high8 && rex != 0x40)
		return false;
	if (f->vex)
		put_vex(a, f, rex, v);
	else
		put_legacy(a, f, rex, need_rex);
	if (!f->has_modrm && rm >= 0)
		as_byte(a, (f->opcode & ~7u) | (b & 7));
	else
		as_byte(a, f->opcode);
	if (f->has_modrm && mem)
		as_modrm(a, r, mem);
	else if (f->has_modrm)
		as_byte(a, 0xc0 | (r & 7) << 3 | (b & 7));
	as_bytes(a, f->imm, f->nr_imm);
	return true;
}

static unsigned named_by(const struct insn *in, const struct op_operand *o)
{
	unsigned size = o->size ? o->size : in->opsize;
	bool high;

	switch (o->kind) {
	case OPK_REG:
		return BIT32(form_gpr(in, in->reg_n, size, &high));
	case OPK_RM:
		return in->flags & INSN_MEM ? 0 : BIT32(form_gpr(in, in->rm_n, size, &high));
	case OPK_R:
	case OPK_OPREG:
		return BIT32(form_gpr(in, in->rm_n, size, &high));
	case OPK_VVVV:
		return BIT32(in->vvvv);
	case OPK_FIX:
		return BIT32(o->fix);
	default:
		return 0;
	}
}

unsigned form_written(const struct insn *in)
{
	const struct op_desc *d = &op_descs[in->op];
	unsigned written = d->gpr_w;

	for (unsigned i = 0; i < d->nr_operands; i++)
		if (d->operand[i].rw & 2)
			written |= named_by(in, &d->operand[i]);
	return written;
}

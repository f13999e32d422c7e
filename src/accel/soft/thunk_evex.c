/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thunks (thunk.c) of AVX-512: ModRM.reg, ModRM.rm and EVEX.vvvv become ZMM1..ZMM3, K2..K4 or R10 and R11,
 * memory becomes [rsi], and the mask K1, which is where rcx points to. All of a register is loaded, also of
 * one that is only written, for the elements that a mask leaves. Intel SDM vol. 2, 2.7.
 */
#include "accel/soft/thunk_int.h"

enum { V_REG = 1, V_RM, V_VVVV };
enum { K_MASK = 1, K_REG, K_RM, K_VVVV };

/* An operand's place in the encoding: which register file, and who points to it. */
enum file { F_NONE, F_VEC, F_MASK, F_GPR, F_MEM };
struct slot {
	enum file file;
	uint8_t reg; /* the host's */
	uint8_t ptr;
	bool written;
};
struct slots {
	struct slot reg, rm, vvvv;
};

static struct slot slot(const struct op_operand *o, enum file file, unsigned reg, unsigned ptr)
{
	return (struct slot){ file, (uint8_t)reg, (uint8_t)ptr, o->rw & 2 };
}

static void place(struct slots *s, const struct op_operand *o, bool mem)
{
	switch (o->kind) {
	case OPK_V:
		s->reg = slot(o, F_VEC, V_REG, H_RDI);
		break;
	case OPK_KREG:
		s->reg = slot(o, F_MASK, K_REG, H_RDI);
		break;
	case OPK_REG:
		s->reg = slot(o, F_GPR, H_R10, H_RDI);
		break;
	case OPK_W:
	case OPK_U:
		s->rm = slot(o, mem ? F_MEM : F_VEC, V_RM, H_RSI);
		break;
	case OPK_KRM:
	case OPK_KR:
		s->rm = slot(o, mem ? F_MEM : F_MASK, K_RM, H_RSI);
		break;
	case OPK_RM:
	case OPK_R:
		s->rm = slot(o, mem ? F_MEM : F_GPR, H_R11, H_RSI);
		break;
	case OPK_M:
		s->rm = slot(o, F_MEM, 0, H_RSI);
		break;
	case OPK_H:
		s->vvvv = slot(o, F_VEC, V_VVVV, H_RDX);
		break;
	case OPK_KVVVV:
		s->vvvv = slot(o, F_MASK, K_VVVV, H_RDX);
		break;
	default:
		break;
	}
}

static struct slots slots_of(const struct op_desc *d, bool mem)
{
	struct slots s = { .reg = { F_NONE } };

	for (unsigned i = 0; i < d->nr_operands; i++)
		place(&s, &d->operand[i], mem);
	return s;
}

/* ---- the instruction ---- */

/* The guest's encoding taken apart. */
struct parts {
	uint8_t map, pp, opcode, modrm, l;
	bool w;
};

static struct parts parse(const uint8_t *p)
{
	struct parts e = { .map = 1 };

	while (*p != 0x62 && *p != 0xc4 && *p != 0xc5)
		p++;
	if (*p == 0x62) {
		e.map = p[1] & 7;
		e.w = p[2] & 0x80;
		e.pp = p[2] & 3;
		p += 4;
	} else {
		if (*p == 0xc4) {
			e.map = *++p & 31;
			e.w = p[1] & 0x80;
		}
		e.l = p[1] >> 2 & 1;
		e.pp = p[1] & 3;
		p += 2;
	}
	e.opcode = p[0];
	e.modrm = p[1];
	return e;
}

unsigned thunk_evex_encode(const struct insn *in, const uint8_t *bytes, unsigned bits, uint8_t out[15])
{
	bool mem = in->flags & INSN_MEM;
	struct slots s = slots_of(&op_descs[in->op], mem);
	struct parts e = parse(bytes);
	unsigned r = s.reg.file ? s.reg.reg : e.modrm >> 3 & 7, b = mem ? H_RSI : s.rm.reg;
	unsigned v = s.vvvv.file ? s.vvvv.reg : 0, ext = 0xf0;
	uint8_t *p = out;

	if (bits != 64 && (s.reg.file == F_GPR || s.rm.file == F_GPR))
		e.w = false; /* 64-bit registers are not there */
	ext &= (r & 8 ? ~0x80u : ~0u) & (b & 8 ? ~0x20u : ~0u);
	if (in->flags & INSN_EVEX) {
		*p++ = 0x62;
		*p++ = (uint8_t)(ext | e.map);
		*p++ = (uint8_t)((e.w ? 0x80 : 0) | (~v & 15) << 3 | 4 | e.pp);
		*p++ = (uint8_t)((in->evex & (EVEX_Z | EVEX_LL | EVEX_B)) | 8 |
				 (in->evex & EVEX_MASK ? K_MASK : 0));
	} else {
		*p++ = 0xc4;
		*p++ = (uint8_t)((ext & 0xe0) | e.map);
		*p++ = (uint8_t)((e.w ? 0x80 : 0) | (~v & 15) << 3 | e.l << 2 | e.pp);
	}
	*p++ = e.opcode;
	*p++ = (uint8_t)((mem ? 0 : 0xc0) | (r & 7) << 3 | (b & 7));
	if (in->flags & INSN_IMM)
		*p++ = (uint8_t)in->imm;
	return (unsigned)(p - out);
}

/* ---- around it ---- */

/* kmovq k, [ptr] and back */
static void put_mask(struct code *c, unsigned k, unsigned ptr, bool store)
{
	PUT(c, 0xc4, 0xe1, 0xf8, store ? 0x91 : 0x90, (uint8_t)(k << 3 | ptr));
}

static void put_slot(struct code *c, const struct slot *s, bool store)
{
	switch (s->file) {
	case F_VEC:
		put_zmm(c, s->reg, s->ptr, store);
		break;
	case F_MASK:
		put_mask(c, s->reg, s->ptr, store);
		break;
	case F_GPR:
		put_gpr(c, s->reg, s->ptr, store);
		break;
	default:
		break;
	}
}

void thunk_evex(struct code *c, const struct op_desc *d, const uint8_t *insn, unsigned len)
{
	bool evex = insn[0] == 0x62;
	struct slots s = slots_of(d, (insn[evex ? 5 : 4] & 0xc0) != 0xc0);
	const struct slot *const all[] = { &s.vvvv, &s.reg, &s.rm };

	if (evex && (insn[3] & EVEX_MASK))
		put_mask(c, K_MASK, H_RCX, false);
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		put_slot(c, all[i], false);
	put(c, len, insn);
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i]->written)
			put_slot(c, all[i], true);
	if (d->flags_w)
		put_flags_out(c);
	PUT(c, 0xc5, 0xf8, 0x77, 0xc3); /* vzeroupper; ret */
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x86 instruction decoder: prefixes, opcode, ModRM and immediates to a struct insn.
 *
 * Intel SDM vol. 2 chapter 2 (2.7: EVEX), AMD APM vol. 3 chapter 1. Where the two differ (near branches with
 * 66 in 64-bit mode) it follows AMD. Stateless, any thread.
 *
 * The meaning of an opcode is found by walking the selector nodes of the generated tables
 * (decode_tbl.h); all that an operation needs from the bytes is in op_encs[].
 */
#include "accel/soft/decode/decode.h"
#include "accel/soft/decode/decode_tbl.h"
#include "isa/x86/cpu_state.h"

enum { MAX_LEN = 15 };

struct dec {
	const uint8_t *p, *end;
	uint8_t bits;
	uint8_t seg; /* override, SEG_NONE without */
	bool p66, p67, lock;
	uint8_t rep;     /* 0, 0xf2, 0xf3: the last one */
	uint8_t r, x, b; /* REX or VEX extensions: 0 or 8 */
	uint8_t r2;	 /* EVEX: 0 or 16; of vvvv and the index, v2 */
	uint8_t v2;
	bool rex, vex, w;
	uint8_t l;
	bool is_evex;
	uint8_t evex; /* the prefix's last byte */
	bool vvvv_used; /* its four bits are not 1111 */
	uint8_t vvvv;
	uint8_t map, opcode;
	uint8_t mod, reg, rm; /* ModRM fields, not extended */
	uint8_t sel[SEL_NR];
};

enum { P_NONE, P_SEG, P_66, P_67, P_LOCK, P_REP, P_REX };

static const uint8_t prefix_kind[256] = {
    [0x26] = P_SEG,  [0x2e] = P_SEG, [0x36] = P_SEG, [0x3e] = P_SEG,
    [0x64] = P_SEG,  [0x65] = P_SEG, [0x66] = P_66,  [0x67] = P_67,
    [0xf0] = P_LOCK, [0xf2] = P_REP, [0xf3] = P_REP, [0x40 ... 0x4f] = P_REX,
};

/* In 64-bit mode only FS and GS count, and the others do not cancel them. */
static void seg_prefix(struct dec *d, uint8_t byte)
{
	if (byte >= 0x64)
		d->seg = byte == 0x64 ? SEG_FS : SEG_GS;
	else if (d->bits != 64)
		d->seg = (byte >> 3) & 3;
}

/* Leaves p at the opcode. REX counts only right before it. */
static int parse_prefixes(struct dec *d)
{
	uint8_t rex = 0;

	for (;; d->p++) {
		if (d->p == d->end)
			return DECODE_MORE;
		uint8_t byte = *d->p;
		uint8_t kind = prefix_kind[byte];

		if (likely(kind == P_NONE) || (kind == P_REX && d->bits != 64))
			break;
		rex = 0;
		switch (kind) {
		case P_SEG:
			seg_prefix(d, byte);
			break;
		case P_66:
			d->p66 = true;
			break;
		case P_67:
			d->p67 = true;
			break;
		case P_LOCK:
			d->lock = true;
			break;
		case P_REP:
			d->rep = byte;
			break;
		default:
			rex = byte;
		}
	}
	if (rex) {
		d->rex = true;
		d->w = rex & 8;
		d->r = (rex & 4) << 1;
		d->x = (rex & 2) << 2;
		d->b = (rex & 1) << 3;
	}
	return 0;
}

/* C4 and C5, p behind that byte. */
static int parse_vex(struct dec *d, bool three)
{
	const uint8_t *p = d->p;

	if (d->end - p < (three ? 3 : 2))
		return DECODE_MORE;
	if (d->lock || d->p66 || d->rep || d->rex)
		return DECODE_UD;
	d->vex = true;
	d->r = ~p[0] >> 4 & 8;
	uint8_t last = p[0], map = DEC_V0F;
	if (three) {
		d->x = ~p[0] >> 3 & 8;
		d->b = ~p[0] >> 2 & 8;
		map = (p[0] & 31) + DEC_0F3A;
		if (map < DEC_V0F || map > DEC_V0F3A)
			return DECODE_UD;
		last = *++p;
		d->w = last & 0x80;
	}
	d->vvvv = ~last >> 3 & 15;
	d->vvvv_used = d->vvvv;
	if (d->bits != 64) { /* eight registers: the bits for more are ignored */
		d->r = d->x = d->b = 0;
		d->vvvv &= 7;
	}
	d->l = last >> 2 & 1;
	d->sel[SEL_PP] = last & 3;
	d->map = map;
	d->opcode = p[1];
	d->p = p + 2;
	return 0;
}

/* 62, p behind that byte. */
static int parse_evex(struct dec *d)
{
	static const uint8_t maps[8] = {
		[1] = DEC_E0F, [2] = DEC_E0F38, [3] = DEC_E0F3A, [5] = DEC_EMAP5, [6] = DEC_EMAP6,
	};
	const uint8_t *p = d->p;

	if (d->end - p < 4)
		return DECODE_MORE;
	d->map = maps[p[0] & 7];
	if (d->lock || d->p66 || d->rep || d->rex || !d->map || (p[0] & 8) || !(p[1] & 4))
		return DECODE_UD;
	d->vex = d->is_evex = true;
	d->r = ~p[0] >> 4 & 8;
	d->x = ~p[0] >> 3 & 8;
	d->b = ~p[0] >> 2 & 8;
	d->r2 = ~p[0] & 0x10;
	d->w = p[1] & 0x80;
	d->vvvv = ~p[1] >> 3 & 15;
	d->vvvv_used = d->vvvv;
	d->v2 = (~p[2] & 8) << 1;
	if (d->bits != 64) {
		if (d->v2)
			return DECODE_UD;
		d->r = d->x = d->b = d->r2 = 0;
		d->vvvv &= 7;
	}
	d->l = p[2] >> 5 & 3;
	d->evex = p[2];
	d->sel[SEL_PP] = p[1] & 3;
	d->opcode = p[3];
	d->p = p + 4;
	return 0;
}

/* Opcode map and opcode; p behind the opcode. */
static int parse_opcode(struct dec *d)
{
	uint8_t byte = *d->p++;

	d->map = DEC_1B;
	d->opcode = byte;
	d->sel[SEL_PP] = d->rep ? (d->rep == 0xf3 ? 2 : 3) : d->p66;
	if (byte == 0x0f) {
		if (d->p == d->end)
			return DECODE_MORE;
		byte = *d->p++;
		d->map = DEC_0F;
		if (byte == 0x38 || byte == 0x3a) {
			if (d->p == d->end)
				return DECODE_MORE;
			d->map = byte == 0x38 ? DEC_0F38 : DEC_0F3A;
			byte = *d->p++;
		}
		d->opcode = byte;
	} else if ((byte & 0xfe) == 0xc4) {
		/* outside 64-bit mode LES and LDS, unless the "ModRM" names a register */
		if (d->p == d->end)
			return DECODE_MORE;
		if (d->bits == 64 || *d->p >= 0xc0)
			return parse_vex(d, byte == 0xc4);
	} else if (byte == 0x62) { /* the same with BOUND */
		if (d->p == d->end)
			return DECODE_MORE;
		if (d->bits == 64 || *d->p >= 0xc0)
			return parse_evex(d);
	}
	return 0;
}

static int select_op(struct dec *d, struct insn *in)
{
	unsigned e = dec_maps[d->map][d->opcode];

	if (dec_modrm[d->map][d->opcode] && e) {
		if (d->p == d->end)
			return DECODE_MORE;
		uint8_t modrm = *d->p++;

		d->mod = modrm >> 6;
		d->reg = modrm >> 3 & 7;
		d->rm = modrm & 7;
		d->sel[SEL_MOD3] = d->mod == 3;
		d->sel[SEL_REG] = d->reg;
		d->sel[SEL_RM] = d->rm;
	}
	/* With registers this bit says how to round, and that vectors are long. */
	if ((d->evex & EVEX_B) && d->mod == 3)
		d->l = 2;
	if (unlikely(d->l == 3))
		return DECODE_UD;
	d->sel[SEL_W] = d->w;
	d->sel[SEL_L] = d->l;
	d->sel[SEL_M64] = d->bits == 64;
	d->sel[SEL_B] = d->b >> 3;
	while (e & DEC_NODE) {
		const uint16_t *node = &dec_nodes[e & ~DEC_NODE];

		e = node[1 + d->sel[node[0]]];
	}
	in->op = e;
	return e ? 0 : DECODE_UD;
}

static unsigned operand_size(const struct dec *d, unsigned rule, unsigned attr)
{
	bool small = (d->bits == 16) != d->p66;
	bool w = d->w && d->bits == 64;

	switch (rule) {
	case OSZ_B:
		return 1;
	case OSZ_W:
		return 2;
	case OSZ_D:
		return 4;
	case OSZ_Q:
		return 8;
	case OSZ_T:
		return 10;
	case OSZ_V:
		if (w)
			return 8;
		if (d->bits == 64 && (attr & (OPA_D64 | OPA_F64)))
			return small && !(attr & OPA_F64) ? 2 : 8;
		return small ? 2 : 4;
	case OSZ_Z:
		return small && !w ? 2 : 4;
	case OSZ_Y:
		return w ? 8 : 4;
	case OSZ_N:
		return d->bits == 64 ? 8 : 4;
	default:
		return 16u << d->l;
	}
}

static uint64_t load(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, p, size);
	return v;
}

static int64_t sign_extend(uint64_t v, unsigned size)
{
	return (int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size);
}

static void set_segment(const struct dec *d, struct insn *in, unsigned def)
{
	in->flags |= INSN_MEM;
	if (d->bits == 64) {
		in->seg = d->seg;
	} else {
		in->seg = d->seg != SEG_NONE ? d->seg : def;
		in->flags |= INSN_SEGCK;
	}
}

static int take_disp(struct dec *d, struct insn *in, unsigned size)
{
	if (d->end - d->p < size)
		return DECODE_MORE;
	if (size)
		in->disp = sign_extend(load(d->p, size), size);
	d->p += size;
	return 0;
}

/* 16-bit addressing: BX+SI, BX+DI, BP+SI, BP+DI, SI, DI, BP or disp16, BX. */
static int parse_mem16(struct dec *d, struct insn *in)
{
	static const uint8_t base[8] = {RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX};
	static const uint8_t index[8] = {RSI, RDI, RSI, RDI, R_ZERO, R_ZERO, R_ZERO, R_ZERO};
	bool abs = d->mod == 0 && d->rm == 6;

	in->base = R_OFF(abs ? R_ZERO : base[d->rm]);
	in->index = R_OFF(index[d->rm]);
	set_segment(d, in, in->base == R_OFF(RBP) ? SEG_SS : SEG_DS);
	return take_disp(d, in, abs ? 2 : d->mod);
}

static int parse_sib(struct dec *d, struct insn *in, bool vsib)
{
	if (d->p == d->end)
		return DECODE_MORE;
	uint8_t sib = *d->p++;
	unsigned index = (sib >> 3 & 7) + d->x, base = sib & 7;

	in->scale = sib >> 6;
	if (vsib)
		in->vidx = index + d->v2;
	else if (index != RSP)
		in->index = R_OFF(index);
	else
		in->scale = 0;
	if (base == RBP && d->mod == 0)
		in->base = R_OFF(R_ZERO);
	else
		in->base = R_OFF(base + d->b);
	return 0;
}

/* 32- and 64-bit addressing. */
static int parse_mem(struct dec *d, struct insn *in, bool vsib)
{
	unsigned disp_size = d->mod == 1 ? 1 : d->mod == 2 ? 4 : 0;

	in->index = R_OFF(R_ZERO);
	if (d->rm == RSP) {
		int err = parse_sib(d, in, vsib);

		if (err)
			return err;
		if (in->base == R_OFF(R_ZERO))
			disp_size = 4;
	} else if (vsib) {
		return DECODE_UD;
	} else if (d->rm == RBP && d->mod == 0) {
		disp_size = 4;
		in->base = R_OFF(R_ZERO);
		if (d->bits == 64) {
			in->base = R_OFF(R_PC);
			in->flags |= INSN_RIPREL;
		}
	} else {
		in->base = R_OFF(d->rm + d->b);
	}
	set_segment(d, in, in->base == R_OFF(RSP) || in->base == R_OFF(RBP) ? SEG_SS : SEG_DS);
	return take_disp(d, in, disp_size);
}

static unsigned gpr_offset(const struct dec *d, unsigned n, bool byte)
{
	return byte && !d->rex && !d->vex && n >= 4 && n < 8 ? R_OFF(n - 4) + 1 : R_OFF(n);
}

static void set_registers(const struct dec *d, struct insn *in, unsigned enc)
{
	in->reg_n = d->reg + (enc & ENC_REG_LOW ? 0 : d->r);
	in->rm_n = d->rm + (enc & ENC_RM_LOW ? 0 : d->b);
	if (enc & ENC_OPREG)
		in->rm_n = (d->opcode & 7) + d->b;
	if (enc & ENC_REG_V)
		in->reg_n += d->r2;
	if (enc & ENC_RM_V)
		in->rm_n += d->x << 1;
	if (enc & ENC_RM_K)
		in->rm_n = d->rm;
	in->vvvv = d->vvvv + d->v2;
	in->reg = gpr_offset(d, in->reg_n, enc & ENC_REG8);
	in->rm = gpr_offset(d, in->rm_n, enc & ENC_RM8);
	if (enc & (ENC_ACC_RM | ENC_ACC_REG)) {
		if (enc & ENC_ACC_RM)
			in->rm = R_OFF(RAX), in->rm_n = RAX;
		if (enc & ENC_ACC_REG)
			in->reg = R_OFF(RAX), in->reg_n = RAX;
	}
	if (enc & ENC_COND)
		in->cc = d->opcode & 15;
	if (enc & ENC_SREG_FIX)
		in->reg_n = op_descs[in->op].operand[0].fix;
}

static void set_fixed_mem(const struct dec *d, struct insn *in, unsigned reg)
{
	in->base = R_OFF(reg);
	in->index = R_OFF(R_ZERO);
	set_segment(d, in, SEG_DS);
}

static int parse_operands(struct dec *d, struct insn *in, const struct op_enc *enc)
{
	switch (enc->mem) {
	case MEM_MODRM:
	case MEM_VSIB:
		if (d->mod == 3 || (enc->flags & ENC_MOD_REG))
			return 0;
		if (in->flags & INSN_A16)
			return enc->mem == MEM_VSIB ? DECODE_UD : parse_mem16(d, in);
		return parse_mem(d, in, enc->mem == MEM_VSIB);
	case MEM_MOFFS:
		set_fixed_mem(d, in, R_ZERO);
		break;
	case MEM_SI:
		set_fixed_mem(d, in, RSI);
		break;
	case MEM_DI:
		set_fixed_mem(d, in, RDI);
		in->seg = d->bits == 64 ? SEG_NONE : SEG_ES;
		break;
	case MEM_DI_SEG:
		set_fixed_mem(d, in, RDI);
		break;
	case MEM_BX:
		set_fixed_mem(d, in, RBX);
		break;
	case MEM_AX:
		set_fixed_mem(d, in, RAX);
		break;
	default:
		break;
	}
	return 0;
}

static int take_imm(struct dec *d, struct insn *in, unsigned size, bool sign)
{
	if (d->end - d->p < size)
		return DECODE_MORE;
	in->imm = load(d->p, size);
	if (sign)
		in->imm = sign_extend(in->imm, size);
	d->p += size;
	in->flags |= INSN_IMM;
	return 0;
}

static int take_imm2(struct dec *d, struct insn *in, unsigned first)
{
	int err = take_imm(d, in, first, false);

	if (err)
		return err;
	if (d->p == d->end)
		return DECODE_MORE;
	in->imm2 = *d->p++;
	return 0;
}

static int take_far(struct dec *d, struct insn *in)
{
	unsigned size = in->opsize == 2 ? 2 : 4;

	if (d->end - d->p < size + 2)
		return DECODE_MORE;
	in->imm = load(d->p, size) | load(d->p + size, 2) << 48;
	in->flags |= INSN_IMM;
	d->p += size + 2;
	return 0;
}

static int parse_imm(struct dec *d, struct insn *in, unsigned kind)
{
	switch (kind) {
	case IMM_NONE:
		return 0;
	case IMM_ONE:
		in->imm = 1;
		in->flags |= INSN_IMM;
		return 0;
	case IMM_U8:
		return take_imm(d, in, 1, false);
	case IMM_S8:
		return take_imm(d, in, 1, true);
	case IMM_U16:
		return take_imm(d, in, 2, false);
	case IMM_Z:
		return take_imm(d, in, MIN(in->opsize, 4), true);
	case IMM_V:
		return take_imm(d, in, in->opsize, true);
	case IMM_FAR:
		return take_far(d, in);
	case IMM_ENTER:
		return take_imm2(d, in, 2);
	case IMM_TWO:
		return take_imm2(d, in, 1);
	default: /* IMM_MOFFS */
		return take_imm(d, in,
				in->flags & INSN_A64   ? 8
				: in->flags & INSN_A32 ? 4
						       : 2,
				false);
	}
}

static bool registers_valid(const struct dec *d, struct insn *in, const struct op_enc *enc)
{
	switch (enc->check) {
	case CHECK_SREG_DST:
		if (d->reg == SEG_CS)
			return false;
		__attribute__((fallthrough));
	case CHECK_SREG:
		in->reg_n = d->reg;
		return d->reg <= SEG_GS;
	case CHECK_CREG:
		return in->reg_n == 0 || (in->reg_n >= 2 && in->reg_n <= 4) || in->reg_n == 8;
	case CHECK_DREG:
		return in->reg_n < 8;
	case CHECK_VIDX:
		return in->reg_n != in->vidx;
	case CHECK_APART:
		return in->reg_n != in->vvvv && ((in->flags & INSN_MEM) || in->reg_n != in->rm_n);
	case CHECK_GATHER:
		return in->reg_n != in->vidx && in->reg_n != in->vvvv && in->vidx != in->vvvv;
	default:
		return true;
	}
}

static void set_flags(const struct dec *d, struct insn *in, unsigned attr)
{
	unsigned f = in->flags;

	f |= d->vex ? INSN_VEX : 0;
	f |= d->is_evex ? INSN_EVEX : 0;
	f |= d->l == 1 ? INSN_VEXL : 0;
	f |= d->w ? INSN_W : 0;
	f |= d->rex ? INSN_REX : 0;
	f |= attr & OPA_END ? INSN_END : 0;
	f |= d->lock ? INSN_LOCK : 0;
	if (d->rep && (attr & OPA_REP))
		f |= d->rep == 0xf3 ? INSN_REP : INSN_REPNE;
	in->flags = f;
}

/* Whether what a VEX or EVEX prefix says beyond the opcode is allowed there. */
static bool prefix_valid(const struct dec *d, const struct op_desc *op, unsigned enc)
{
	unsigned mask = d->evex & EVEX_MASK;
	bool mem = d->mod != 3, vsib = op_encs[op - op_descs].mem == MEM_VSIB;

	if ((enc & ENC_NO_VVVV) && (d->vvvv_used || (d->v2 && !vsib)))
		return false;
	if ((enc & ENC_VVVV_K) && d->vvvv >= 8)
		return false;
	if ((enc & ENC_REG_K) && (d->r || d->r2))
		return false;
	if (!d->is_evex)
		return true;
	if (!(enc & (ENC_REG_V | ENC_REG_K)) && op->operand[0].kind == OPK_REG && d->r2)
		return false;
	if ((d->evex & EVEX_B) && !(op->evex & (mem ? EV_BCAST : EV_ER | EV_SAE)))
		return false;
	if (mask ? !(op->evex & EV_MASK) : op->evex & EV_MUST)
		return false;
	if (!(d->evex & EVEX_Z))
		return true;
	return mask && (op->evex & EV_ZERO) &&
	       !(mem && (op->operand[0].kind == OPK_W || op->operand[0].kind == OPK_M));
}

/* A displacement of 8 bits counts operands, or elements where only those are in memory. */
static int32_t scaled_disp8(const struct insn *in)
{
	const struct op_desc *op = &op_descs[in->op];

	return in->disp * (int32_t)(op->evex & EV_PACKED ? op->esize : insn_mem_size(in));
}

static int decode_parts(struct dec *d, struct insn *in)
{
	int err = parse_prefixes(d);

	if (unlikely(err))
		return err;
	err = parse_opcode(d);
	if (unlikely(err))
		return err;
	err = select_op(d, in);
	if (unlikely(err))
		return err;

	const struct op_enc *enc = &op_encs[in->op];
	unsigned attr = op_descs[in->op].attr;

	if (unlikely(d->vex && !prefix_valid(d, &op_descs[in->op], enc->flags)))
		return DECODE_UD;
	in->opsize = operand_size(d, enc->osz, attr);
	if (d->bits == 64)
		in->flags = d->p67 ? INSN_A32 : INSN_A64;
	else
		in->flags = (d->bits == 32) != d->p67 ? INSN_A32 : INSN_A16;
	set_registers(d, in, enc->flags);
	err = parse_operands(d, in, enc);
	if (unlikely(err))
		return err;
	if (enc->check && !registers_valid(d, in, enc))
		return DECODE_UD;
	if (unlikely(d->lock) && (!(attr & OPA_LOCKABLE) || !(in->flags & INSN_MEM)))
		return DECODE_UD;
	set_flags(d, in, attr);
	if (d->is_evex) {
		in->evex = d->evex & (EVEX_MASK | EVEX_B | EVEX_LL | EVEX_Z);
		if (d->mod == 1)
			in->disp = scaled_disp8(in);
	}
	return parse_imm(d, in, enc->imm);
}

int decode_insn(const uint8_t *bytes, size_t avail, unsigned bits, struct insn *in)
{
	size_t size = MIN(avail, (size_t)MAX_LEN);
	struct dec d = { .p = bytes, .end = bytes + size, .bits = bits, .seg = SEG_NONE };

	memset(in, 0, sizeof(*in));
	in->seg = SEG_NONE;
	in->base = in->index = R_OFF(R_ZERO);
	int err = decode_parts(&d, in);

	if (unlikely(err))
		return err == DECODE_MORE && avail >= MAX_LEN ? DECODE_LONG : err;
	in->len = d.p - bytes;
	return in->len;
}

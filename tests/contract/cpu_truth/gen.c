/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random states and instructions. Most instructions must run through, so memory operands are aimed
 * at the scratch region, stack and string registers too, and branches at a place that leads back;
 * a few are aimed at holes, read-only pages, page ends and addresses that are not canonical.
 */
#include "truth.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/decode/decode_tbl.h"
#include "base/bytes.h"
#include "insn_gen.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/x86.h"

/* What a program cannot do here without harm, or what is not the same twice. */
static const uint16_t unwanted[] = {
	MN_CPUID, MN_RDRAND, MN_RDSEED, MN_INT, MN_INT1, MN_INT3, MN_JMP_FAR, MN_CALL_FAR,
	MN_RET_FAR, MN_IRET, MN_MOV_SREG, MN_POP_SREG, MN_PUSH_SREG, MN_LSS, MN_LFS, MN_LGS,
	MN_MOVDIR64B, MN_XSAVES, MN_XRSTORS,
};

bool gen_wanted(unsigned op, unsigned bits)
{
	const struct op_desc *d = &op_descs[op];

	if (d->cls == OPC_SYS || (d->attr & (bits == 64 ? OPA_NO64 : OPA_ONLY64)))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(unwanted); i++)
		if (d->mn == unwanted[i])
			return false;
	return true;
}

/* ---- values ---- */

static uint64_t gen_int(struct rng *r)
{
	static const uint64_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
					 0x80000000, 0xffffffff, INT64_MAX, 1ull << 63, UINT64_MAX};
	uint64_t v = rng_u64(r);

	switch (rng_below(r, 8)) {
	case 0:
		return edges[v % ARRAY_SIZE(edges)];
	case 1:
		return v & 0xff;
	case 2:
		return (uint64_t)((int64_t)v >> (v & 63));
	default:
		return v;
	}
}

static void gen_bytes(struct rng *r, uint8_t *p, size_t n)
{
	for (; n >= 8; n -= 8, p += 8)
		st_le64(p, rng_u64(r));
}

/* Bits that mean something as integers or as floats of either size. */
static void gen_half(struct rng *r, uint8_t v[32])
{
	static const uint32_t f32[] = {0x3f800000, 0xbf800000, 0, 0x80000000, 0x7f800000, 0x7fc00001,
				       0x7f800001, 1, 0x00800000, 0x7f7fffff, 0x4f000000, 0x40490fdb};
	static const uint64_t f64[] = {0x3ff0000000000000, 0xbff0000000000000, 0, 1ull << 63,
				       0x7ff0000000000000, 0x7ff8000000000001, 0x7ff0000000000001,
				       1, 0x0010000000000000, 0x7fefffffffffffff,
				       0x41e0000000000000, 0x400921fb54442d18};
	unsigned kind = rng_below(r, 5);

	gen_bytes(r, v, 32);
	if (kind == 0)
		for (unsigned i = 0; i < 8; i++)
			st_le32(v + 4 * i, f32[rng_below(r, ARRAY_SIZE(f32))]);
	else if (kind == 1)
		for (unsigned i = 0; i < 4; i++)
			st_le64(v + 8 * i, f64[rng_below(r, ARRAY_SIZE(f64))]);
	else if (kind == 2) /* exponents near one */
		for (unsigned i = 0; i < 8; i++)
			st_le32(v + 4 * i, (ld_le32(v + 4 * i) & 0x80ffffff) | 0x3f000000);
	else if (kind == 3)
		for (unsigned i = 0; i < 4; i++)
			st_le64(v + 8 * i, (ld_le64(v + 8 * i) & 0x800fffffffffffff) |
						   (uint64_t)(0x3f0 + rng_below(r, 32)) << 52);
}

static void gen_vector(struct rng *r, uint8_t v[64])
{
	gen_half(r, v);
	gen_half(r, v + 32);
}

static uint64_t gen_mask(struct rng *r)
{
	uint64_t v = rng_u64(r);

	switch (rng_below(r, 6)) {
	case 0:
		return UINT64_MAX;
	case 1:
		return v & rng_u64(r) & rng_u64(r);
	case 2:
		return rng_one_in(r, 4) ? 0 : BIT64(v & 7);
	default:
		return v;
	}
}

void gen_clear_upper(struct truth_state *s)
{
	for (unsigned i = 0; i < 16; i++)
		memset(s->vec[i] + 32, 0, 32);
	if (truth_zmm())
		return;
	memset(s->vec[16], 0, sizeof(s->vec) / 2);
	memset(s->k, 0, sizeof(s->k));
}

static void gen_st(struct rng *r, uint8_t st[16])
{
	static const uint16_t exponents[] = {0, 1, 0x3fff, 0x3ffe, 0x4000, 0x403e, 0x7ffe, 0x7fff};
	uint64_t mant = rng_u64(r);
	unsigned exp = exponents[rng_below(r, ARRAY_SIZE(exponents))];

	if (rng_one_in(r, 2))
		exp = 0x3fff - 40 + rng_below(r, 80);
	if (rng_one_in(r, 3))
		mant &= 0xffffull << 48;
	if (exp && !rng_one_in(r, 16))
		mant |= 1ull << 63;
	if (rng_one_in(r, 8))
		mant = exp = 0;
	memset(st, 0, 16);
	st_le64(st, mant);
	st_le16(st + 8, (uint16_t)(exp | (rng_u64(r) & 0x8000)));
}

static void gen_x87(struct rng *r, struct truth_state *s)
{
	unsigned flags = (unsigned)rng_u64(r) & 0x7f;

	s->fcw = (uint16_t)(0x7f | (rng_u64(r) & 0xf00));
	if (rng_one_in(r, 24))
		s->fcw &= (uint16_t)~(rng_u64(r) & 0x3f);
	if (!rng_one_in(r, 4))
		flags = 0;
	s->fsw = (uint16_t)((rng_u64(r) & 0x7f00) | flags);
	if (rng_one_in(r, 3))
		s->fsw &= 0xc7ff; /* TOP 0, as after MMX */
	if (flags & ~s->fcw & 0x3f)
		s->fsw |= 0x8080;
	s->ftw = rng_one_in(r, 3) ? (uint8_t)rng_u64(r) : rng_one_in(r, 2) ? 0xff : 0xc7;
	s->fop = rng_u64(r) & 0x7ff;
	s->fip = rng_u64(r) >> 17;
	s->fdp = rng_u64(r) >> 17;
	for (unsigned i = 0; i < 8; i++)
		gen_st(r, s->st[i]);
}

void gen_state(struct rng *r, struct truth_state *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = gen_int(r);
	for (unsigned i = 0; i < 32; i++)
		gen_vector(r, s->vec[i]);
	gen_x87(r, s);
	s->rflags = FLAG_R1 | FLAG_IF;
	s->mxcsr = 0x1f80;
}

static void vary(struct rng *r, const struct truth_case *c, struct truth_state *s)
{
	for (unsigned i = 0; i < 4; i++)
		s->gpr[rng_below(r, 16)] = gen_int(r);
	s->rflags = FLAG_R1 | FLAG_IF | (rng_u64(r) & (FLAGS_STATUS | FLAG_DF));
	if (op_descs[c->in.op].cls < OPC_X87)
		return;
	gen_vector(r, s->vec[c->in.reg_n]);
	gen_vector(r, s->vec[c->in.rm_n & 31]);
	gen_vector(r, s->vec[c->in.vvvv & 31]);
	gen_vector(r, s->vec[rng_below(r, 32)]);
	for (unsigned i = 0; i < 8; i++)
		s->k[i] = gen_mask(r);
	s->mxcsr = 0x1f80 | (rng_u64(r) & 0xe07f);
	if (rng_one_in(r, 48))
		s->mxcsr = rng_u64(r) & 0xffff;
	if (c->touches_fp)
		gen_x87(r, s);
}

/* ---- instructions ---- */

static bool touches_x87(const struct op_desc *d)
{
	if (d->cls == OPC_X87 || d->cls == OPC_MMX || d->cls == OPC_FPSTATE)
		return true;
	for (unsigned i = 0; i < d->nr_operands; i++)
		if (d->operand[i].kind >= OPK_P && d->operand[i].kind <= OPK_N)
			return true;
	return false;
}

/* Replaces the displacement of a branch; false: this one leads nowhere useful. */
static bool aim_branch(struct truth_case *c)
{
	unsigned imm = op_encs[c->in.op].imm;

	unsigned mn = op_descs[c->in.op].mn;

	if (c->in.opsize == 2)
		return false;
	/* F2 and F3 turn the condition of LOOPE and LOOPNE round on some processors */
	if ((mn == MN_LOOPE || mn == MN_LOOPNE) && 
	    (memchr(c->bytes, 0xf2, c->len) || memchr(c->bytes, 0xf3, c->len)))
		return false;
	if (!(c->in.flags & INSN_IMM) || op_descs[c->in.op].mn == MN_RET)
		return true;
	if (imm == IMM_S8)
		c->bytes[c->len - 1] = CODE_TAKEN;
	else
		st_le32(c->bytes + c->len - 4, CODE_TAKEN);
	return true;
}

/* Replaces the 32-bit displacement by another; false when it is not found. */
static bool set_disp(struct truth_case *c, uint32_t disp)
{
	struct insn in;

	for (unsigned i = c->len - 4; i > 0; i--) {
		if (ld_le32(c->bytes + i) != (uint32_t)c->in.disp)
			continue;
		uint8_t old[4];

		memcpy(old, c->bytes + i, 4);
		st_le32(c->bytes + i, disp);
		if (decode_insn(c->bytes, c->len, 64, &in) == (int)c->len &&
		    (uint32_t)in.disp == disp && in.op == c->in.op && in.imm == c->in.imm) {
			c->in = in;
			return true;
		}
		memcpy(c->bytes + i, old, 4);
	}
	return false;
}

static bool no_register(const struct insn *in)
{
	return (in->base == R_OFF(R_ZERO) || in->base == R_OFF(R_PC)) &&
	       in->index == R_OFF(R_ZERO);
}

/*
 * Where the decoder does as AMD's processors (docs/decode.md): on Intel's F3 with REX.B and 90 is
 * PAUSE, and MOVSXD to 16 bits reads no more.
 */
bool gen_other_on_intel(const struct truth_case *c)
{
	unsigned mn = op_descs[c->in.op].mn;

	if (!__builtin_cpu_is("intel"))
		return false;
	if (mn == MN_MOVSXD)
		return c->in.opsize == 2 && (c->in.flags & INSN_MEM);
	return mn == MN_XCHG && c->bytes[c->len - 1] == 0x90 && memchr(c->bytes, 0xf3, c->len);
}

bool gen_case(struct rng *r, unsigned op, struct truth_case *c)
{
	const struct op_desc *d = &op_descs[op];

	c->len = (unsigned)insn_gen(op, 64, INSN_GEN_NOSEG, r, c->bytes);
	if (!c->len || decode_insn(c->bytes, c->len, 64, &c->in) != (int)c->len)
		return false;
	c->rip = CODE + 0x100 + 0x80 * rng_below(r, 16);
	c->touches_fp = touches_x87(d);
	c->zmm = truth_zmm() && (d->cls == OPC_EVEX || rng_one_in(r, 2));
	if ((d->attr & OPA_BRANCH) && !aim_branch(c))
		return false;
	if (decode_insn(c->bytes, c->len, 64, &c->in) != (int)c->len)
		return false;
	if ((c->in.flags & INSN_MEM) && no_register(&c->in) && op_encs[op].mem == MEM_MODRM) {
		uint64_t to = SCRATCH_DATA + (rng_u64(r) & 0x1fc0);

		if (c->in.flags & INSN_RIPREL)
			to -= c->rip + c->len;
		if (!set_disp(c, (uint32_t)to))
			return false;
	}
	if (gen_other_on_intel(c))
		return false;
	return !(c->in.flags & INSN_MEM) || op_encs[op].mem != MEM_MOFFS;
}

/* ---- aiming operands ---- */

static uint64_t gen_target(struct rng *r, unsigned size, unsigned align)
{
	uint64_t t = SCRATCH_DATA + rng_below(r, 0x2000 - MIN(size, 0x1000u));

	switch (rng_below(r, 64)) {
	case 0:
		t = SCRATCH_DATA + 0x2000 - rng_below(r, size + 1); /* into the read-only page */
		break;
	case 1:
		t = SCRATCH_DATA - rng_below(r, size + 1); /* out of the hole */
		break;
	case 2:
		return (SCRATCH_DATA + 0x3000 - rng_below(r, size + 1)); /* behind the end */
	case 3:
		return rng_u64(r) | 1ull << 60;
	default:
		if (rng_one_in(r, 2))
			return t & ~15ull;
	}
	return align && !rng_one_in(r, 32) ? t & ~(uint64_t)(align - 1) : t;
}

unsigned alignment_of(const struct insn *in)
{
	switch (op_descs[in->op].mn) {
	case MN_FXSAVE:
	case MN_FXRSTOR:
	case MN_CMPXCHG8B:
		return 16;
	case MN_XSAVE:
	case MN_XSAVEOPT:
	case MN_XSAVEC:
	case MN_XRSTOR:
		return 64;
	default:
		return op_descs[in->op].attr & OPA_ALIGN ? insn_mem_size(in) : 0;
	}
}

static uint64_t *reg_at(struct truth_state *s, unsigned off)
{
	return &s->gpr[off / 8 & 15];
}

static uint64_t address_of(const struct truth_case *c, struct truth_state *s)
{
	const struct insn *in = &c->in;
	uint64_t ea = (uint64_t)(int64_t)in->disp;

	if (in->flags & INSN_RIPREL)
		ea += c->rip + c->len;
	else if (in->base < R_OFF(R_ZERO))
		ea += *reg_at(s, in->base);
	if (in->index < R_OFF(R_ZERO))
		ea += *reg_at(s, in->index) << in->scale;
	return in->flags & INSN_A32 ? (uint32_t)ea : ea;
}

static void aim_memory(struct rng *r, const struct insn *in, struct truth_state *s, uint64_t to)
{
	bool base = in->base < R_OFF(R_ZERO), index = in->index < R_OFF(R_ZERO);

	to -= (uint64_t)(int64_t)in->disp;
	if (base && index && in->base == in->index)
		*reg_at(s, in->base) = to / ((1u << in->scale) + 1);
	else if (base)
		*reg_at(s, in->base) = to - (index ? *reg_at(s, in->index) << in->scale : 0);
	else if (index)
		*reg_at(s, in->index) = to >> in->scale;
	if ((in->flags & INSN_A32) && base && in->base != in->index)
		*reg_at(s, in->base) |= rng_u64(r) << 32;
}

static void poke(uint8_t *host_mem, uint8_t *soft_mem, uint64_t lin, uint64_t v)
{
	if (lin - SCRATCH_DATA > 0x2ff8)
		return;
	st_le64(host_mem + (lin - SCRATCH_DATA), v);
	st_le64(soft_mem + (lin - SCRATCH_DATA), v);
}

static void aim_gather(struct rng *r, const struct insn *in, struct truth_state *s)
{
	bool qword = strstr(op_name(in->op), "gatherq") || strstr(op_name(in->op), "scatterq");
	uint8_t *v = s->vec[in->vidx & 31];

	for (unsigned i = 0; i < 64; i += qword ? 8 : 4) {
		int64_t idx = (int64_t)rng_below(r, 256) - 128;

		if (rng_one_in(r, 64))
			idx = (int64_t)rng_u64(r);
		st_le(v + i, (uint64_t)idx, qword ? 8 : 4);
	}
}

/* Save areas that load must have a header and an MXCSR that make sense. */
static void aim_area(struct rng *r, const struct insn *in, struct truth_state *s, uint64_t to,
		     uint8_t *host_mem, uint8_t *soft_mem)
{
	unsigned mn = op_descs[in->op].mn;
	const uint64_t all = truth_zmm() ? 0xe7 : 7;
	uint64_t comp = 0, bv = rng_u64(r) & all;

	if (mn == MN_FXRSTOR || mn == MN_XRSTOR)
		poke(host_mem, soft_mem, to + 24, 0x1f80 | (rng_u64(r) & 0x607f));
	if (mn == MN_XSAVE || mn == MN_XSAVEOPT || mn == MN_XSAVEC || mn == MN_XRSTOR) {
		s->gpr[RAX] = rng_u64(r) & (all | UINT64_MAX << 32);
		s->gpr[RDX] = rng_u64(r) & ~0xffffffffull;
	}
	if (mn == MN_LDMXCSR || mn == MN_VLDMXCSR)
		poke(host_mem, soft_mem, to, (rng_u64(r) & 0xfffdffff) & (rng_one_in(r, 16) ? ~0ull : 0xffff));
	if (mn != MN_XRSTOR && mn != MN_XSAVE && mn != MN_XSAVEOPT)
		return;
	if (mn == MN_XRSTOR && rng_one_in(r, 2))
		comp = 1ull << 63 | (rng_u64(r) & all) | (rng_one_in(r, 8) ? 0 : bv);
	for (unsigned i = 0; i < 64; i += 8)
		poke(host_mem, soft_mem, to + 512 + i, 0);
	poke(host_mem, soft_mem, to + 512, bv | (rng_one_in(r, 32) ? 1ull << 62 : 0));
	poke(host_mem, soft_mem, to + 520, comp);
	if (rng_one_in(r, 32))
		poke(host_mem, soft_mem, to + 528 + 8 * rng_below(r, 6), 1);
}

static void aim_special(struct rng *r, const struct truth_case *c, struct truth_state *s)
{
	const struct insn *in = &c->in;

	switch (op_descs[in->op].mn) {
	case MN_BT:
	case MN_BTS:
	case MN_BTR:
	case MN_BTC:
		*reg_at(s, in->reg) = (uint64_t)((int64_t)rng_below(r, 4096) - 2048);
		break;
	case MN_DIV:
		s->gpr[RDX] = rng_one_in(r, 16) ? s->gpr[RDX] : 0;
		break;
	case MN_IDIV:
		s->gpr[RDX] = rng_one_in(r, 16) ? s->gpr[RDX] : (uint64_t)((int64_t)s->gpr[RAX] >> 63);
		break;
	default:
		break;
	}
	if (op_descs[in->op].attr & OPA_REP)
		s->gpr[RCX] = rng_below(r, 40) | (in->flags & INSN_A32 ? rng_u64(r) << 32 : 0);
}

static void aim_branch_target(struct rng *r, const struct truth_case *c, struct truth_state *s,
			      uint64_t to, uint8_t *host_mem, uint8_t *soft_mem)
{
	uint64_t taken = c->rip + c->len + CODE_TAKEN;

	if (op_descs[c->in.op].mn == MN_RET)
		poke(host_mem, soft_mem, s->gpr[RSP], taken);
	else if (c->in.flags & INSN_MEM)
		poke(host_mem, soft_mem, to, taken);
	else if (!(c->in.flags & INSN_IMM))
		*reg_at(s, c->in.rm) = taken;
}

static uint64_t stack_target(struct rng *r)
{
	return gen_target(r, 64, 0) & (rng_one_in(r, 8) ? ~0ull : ~7ull);
}

static unsigned operand_size(const struct insn *in)
{
	unsigned size = MAX(insn_mem_size(in), 1u);

	return size == 576 && truth_zmm() ? 2752 : size; /* of XSAVE: the most it may be */
}

void gen_operands(struct rng *r, struct truth_case *c, struct truth_state *s, uint8_t *host_mem,
		  uint8_t *soft_mem)
{
	const struct insn *in = &c->in;
	const struct op_desc *d = &op_descs[in->op];
	uint64_t to = gen_target(r, operand_size(in), alignment_of(in));

	vary(r, c, s);
	s->rip = c->rip;
	s->gpr[RSP] = stack_target(r);
	s->gpr[RBP] = stack_target(r);
	if (d->attr & OPA_REP) {
		s->gpr[RSI] = gen_target(r, 8, 0);
		s->gpr[RDI] = gen_target(r, 8, 0);
	}
	aim_special(r, c, s);
	if (op_encs[in->op].mem == MEM_VSIB)
		aim_gather(r, in, s);
	if ((in->flags & INSN_MEM) && !no_register(in) && !(d->attr & OPA_REP))
		aim_memory(r, in, s, to);
	else if (in->flags & INSN_MEM)
		to = address_of(c, s);
	aim_area(r, in, s, to, host_mem, soft_mem);
	if (d->mn == MN_POPF)
		poke(host_mem, soft_mem, s->gpr[RSP],
		     (rng_u64(r) & (FLAGS_STATUS | FLAG_DF)) | FLAG_IF);
	if (d->attr & OPA_BRANCH)
		aim_branch_target(r, c, s, to, host_mem, soft_mem);
	if (!c->zmm)
		gen_clear_upper(s);
	s->rip = c->rip;
	c->to = address_of(c, s); /* where what XSAVE asks for may have moved it */
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that nearly always come to their end: registers that address memory, count loops or are the
 * stack's are written by nobody else; flags that an instruction leaves undefined are read by none.
 */
#include "prog.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/decode/decode_tbl.h"
#include "base/bytes.h"
#include "insn_gen.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/x86.h"

#define MAX_PENDING 4
#define MAX_SUBS    2

struct branch {
	unsigned item, left; /* it leads behind so many more */
	uint16_t undefined;
};

struct gen {
	struct rng *r;
	struct prog *p;
	uint16_t keep; /* registers that are not to be written */
	uint16_t undefined;
	bool full;
	struct branch pending[MAX_PENDING];
	unsigned nr_pending;
	unsigned loop_at, loop_left;
	unsigned sub_call[MAX_SUBS], nr_subs; /* items of calls */
	bool in_sub;
};

/* Beside gen_wanted()'s: other ways to memory, the stack, what is not the same twice. */
static const uint16_t unwanted[] = {
	MN_ENTER, MN_LEAVE, MN_XLAT, MN_RDTSC, MN_RDTSCP, MN_RDPMC, MN_RDPID, MN_XGETBV, MN_PUSH, MN_POP,
	MN_PUSHF, MN_POPF, MN_STD, MN_CLD, MN_MASKMOVQ, MN_MASKMOVDQU, MN_VMASKMOVDQU, MN_FNSTENV,
	MN_FLDENV, MN_FNSAVE, MN_FRSTOR, MN_LDMXCSR, MN_VLDMXCSR, MN_FLDCW, MN_CMPXCHG8B, MN_PUSHA, MN_POPA,
	MN_BOUND, MN_INTO,
};

static bool is_unwanted(unsigned mn)
{
	for (size_t i = 0; i < ARRAY_SIZE(unwanted); i++)
		if (unwanted[i] == mn)
			return true;
	return false;
}

/* ---- bytes ---- */

static void put(struct gen *g, const void *bytes, unsigned len)
{
	struct prog *p = g->p;

	if (p->nr == PROG_ITEMS || p->len + len > PROG_MAX) {
		g->full = true;
		return;
	}
	p->starts[p->len / 8] |= (uint8_t)(1u << p->len % 8);
	p->item[p->nr++] = (struct prog_item){ (uint16_t)p->len, (uint8_t)len };
	memcpy(p->bytes + p->len, bytes, len);
	p->len += len;
}

/* The same, but that 32-bit code has no REX prefix, which the first byte is. */
static void put_rex(struct gen *g, const uint8_t *bytes, unsigned len)
{
	unsigned rex = g->p->bits == 64;

	put(g, bytes + !rex, len - !rex);
}

/* An opcode with a register in its low bits and 32 bits behind: mov $imm, %reg. */
static void put_mov(struct gen *g, unsigned reg, uint32_t imm)
{
	uint8_t b[6] = { (uint8_t)(0x40 | reg >> 3), (uint8_t)(0xb8 | (reg & 7)) };

	st_le32(b + 2, imm);
	put_rex(g, b, 6);
}

static unsigned free_reg(struct gen *g)
{
	static const uint8_t regs[] = { RAX, RCX, RDX, RSI, RDI };

	return regs[rng_below(g->r, g->p->bits == 64 ? ARRAY_SIZE(regs) : 3)];
}

/* The rel32 at the end of an item leads to an offset. */
static void aim(struct gen *g, unsigned item, unsigned to)
{
	const struct prog_item *it = &g->p->item[item];

	st_le32(g->p->bytes + it->at + it->len - 4, to - (it->at + it->len));
}

/* ---- plain instructions ---- */

static unsigned pick_op(struct gen *g)
{
	static const uint8_t classes[] = { OPC_INT, OPC_INT, OPC_INT, OPC_INT, OPC_INT, OPC_INT,
					   OPC_SSE, OPC_SSE, OPC_AVX, OPC_BMI, OPC_X87, OPC_MMX };
	unsigned cls = classes[rng_below(g->r, ARRAY_SIZE(classes))], op;

	if (g->p->bits == 32 && truth_zmm() && rng_one_in(g->r, 16))
		cls = OPC_EVEX;
	do
		op = 1 + rng_below(g->r, OP_NR - 1);
	while (op_descs[op].cls != cls);
	return op;
}

static bool op_fits(struct gen *g, unsigned op)
{
	const struct op_desc *d = &op_descs[op];

	if (!gen_wanted(op, g->p->bits) || !soft_has(op) || is_unwanted(d->mn) ||
	    (d->attr & (OPA_BRANCH | OPA_REP | OPA_END)) || op_encs[op].mem == MEM_VSIB ||
	    op_encs[op].mem == MEM_MOFFS)
		return false;
	if ((d->mn == MN_DIV || d->mn == MN_IDIV) && !rng_one_in(g->r, 8))
		return false;
	return !(d->flags_r & g->undefined);
}

/* Memory is addressed by a pointer, as aligned as the instruction likes it but for once in a while. */
static bool memory_fits(struct gen *g, const struct insn *in, unsigned base)
{
	unsigned align = alignment_of(in), mn = op_descs[in->op].mn;
	bool aligned = base == g->p->pointer[0] && in->index == R_OFF(R_ZERO) &&
		       !(in->disp & (int32_t)(align - 1));

	if (!(in->flags & INSN_MEM))
		return true;
	/* Where GS begins is put_below()'s affair. */
	if (in->base != R_OFF(base) || in->seg == SEG_GS || op_encs[in->op].mem != MEM_MODRM)
		return false;
	if ((mn == MN_BT || mn == MN_BTS || mn == MN_BTR || mn == MN_BTC) && !(in->flags & INSN_IMM))
		return false;
	return !align || aligned || rng_one_in(g->r, 24);
}

/* VEX.W where there are no registers of 64 bits: some processors ignore it, others do not. */
static bool w_in_32(struct gen *g, const struct insn *in)
{
	const struct op_desc *d = &op_descs[in->op];

	for (unsigned i = 0; i < d->nr_operands; i++)
		if (d->operand[i].kind >= OPK_REG && d->operand[i].kind <= OPK_R)
			return g->p->bits == 32 && (in->flags & INSN_W);
	return false;
}

/* One that addresses memory, if any, by base. */
static bool try_plain(struct gen *g, unsigned base)
{
	unsigned limit = INSN_GEN_NORIP | INSN_GEN_BASE(base), bits = g->p->bits, read, written;
	unsigned op = pick_op(g);
	struct truth_case c = { .len = 0 };
	const struct insn *in = &c.in;

	if (!op_fits(g, op))
		return false;
	if (bits == 64)
		limit |= INSN_GEN_NOSEG;
	if (rng_one_in(g->r, 3))
		limit |= INSN_GEN_INDEX(g->p->index);
	if (rng_one_in(g->r, 2))
		limit |= INSN_GEN_MEM;
	c.len = (unsigned)insn_gen(op, bits, limit, g->r, c.bytes);
	if (!c.len || decode_insn(c.bytes, c.len, bits, &c.in) != (int)c.len || gen_other_on_intel(&c) ||
	    !memory_fits(g, in, base) || w_in_32(g, in))
		return false;
	insn_gprs(in, &read, &written);
	if (written & g->keep)
		return false;
	g->undefined = (uint16_t)op_undefined(&op_descs[op], g->undefined);
	put(g, c.bytes, c.len);
	return true;
}

static void put_plain(struct gen *g)
{
	unsigned base = rng_one_in(g->r, 5) && !g->in_sub ? RSP : g->p->pointer[rng_below(g->r, 3)];

	for (unsigned i = 0; i < 64 && !try_plain(g, base); i++)
		;
}

/* By a register that points to a page's end, a hole, or where no address is. */
static void put_fault(struct gen *g)
{
	uint8_t far[10] = { 0x48 };
	unsigned reg = free_reg(g);
	uint16_t keep = g->keep;

	if (g->p->bits == 64 && rng_one_in(g->r, 4)) {
		far[1] = (uint8_t)(0xb8 | reg);
		st_le64(far + 2, 0x4000000000000000ull | rng_u64(g->r) >> 4);
		put(g, far, 10);
	} else {
		put_mov(g, reg, (uint32_t)(SCRATCH_DATA + 0x1000 * rng_below(g->r, 4)) - 16 +
					rng_below(g->r, 24));
	}
	g->keep |= (uint16_t)(1u << reg);
	for (unsigned i = 0; i < 64 && !try_plain(g, reg); i++)
		;
	g->keep = keep;
}

/* ---- the pointers, the stack, strings ---- */

static void put_adjust(struct gen *g)
{
	static const int32_t steps[] = { 64, -64, 128, 192, -128 };
	unsigned reg = g->p->pointer[rng_below(g->r, 3)];
	int32_t step = steps[rng_below(g->r, ARRAY_SIZE(steps))];
	uint8_t add[7] = { (uint8_t)(0x48 | reg >> 3), 0x81, (uint8_t)(0xc0 | (reg & 7)) };
	uint8_t lea[8] = { (uint8_t)(0x48 | reg >> 3 | reg >> 3 << 2), 0x8d,
			   (uint8_t)(0x80 | (reg & 7) << 3 | (reg & 7)) };

	if ((reg & 7) == RSP || rng_one_in(g->r, 2)) {
		st_le32(add + 3, (uint32_t)step);
		put_rex(g, add, 7);
		g->undefined = 0;
	} else {
		st_le32(lea + 3, (uint32_t)step);
		put_rex(g, lea, 7);
	}
}

static void put_stack(struct gen *g)
{
	unsigned reg = rng_below(g->r, g->p->bits / 4), ptr = g->p->pointer[1];
	uint8_t rex = (uint8_t)(0x40 | reg >> 3);
	uint8_t push[2] = { rex, (uint8_t)(0x50 | (reg & 7)) }, pop[2] = { rex, (uint8_t)(0x58 | (reg & 7)) };
	uint8_t imm[5] = { 0x68 }, pushf[1] = { 0x9c };
	uint8_t mem[7] = { (uint8_t)(0x40 | ptr >> 3), 0xff, (uint8_t)(0xb0 | (ptr & 7)) };

	switch (rng_below(g->r, 6)) {
	case 0:
		st_le32(imm + 1, (uint32_t)rng_u64(g->r));
		put(g, imm, 5);
		break;
	case 1: /* push or pop of memory */
		if ((ptr & 7) == RSP)
			break;
		if (rng_one_in(g->r, 2)) {
			mem[1] = 0x8f;
			mem[2] = (uint8_t)(0x80 | (ptr & 7));
		}
		st_le32(mem + 3, rng_below(g->r, 64));
		put_rex(g, mem, 7);
		break;
	case 2:
		if (!g->undefined)
			put(g, pushf, 1);
		break;
	case 3:
	case 4:
		if (!(g->keep >> reg & 1))
			put_rex(g, pop, 2);
		break;
	default:
		put_rex(g, push, 2);
		break;
	}
}

/* 32-bit code has RSI and RDI in use as a counter and an index: not in a loop, and with a new index behind. */
static void put_string(struct gen *g)
{
	static const uint8_t ops[] = { 0xa4, 0xaa, 0xac, 0xa6, 0xae };
	uint8_t op[3] = { rng_one_in(g->r, 2) ? 0xf3 : 0xf2, rng_one_in(g->r, 2) ? 0x48 : 0x40,
			  (uint8_t)(ops[rng_below(g->r, ARRAY_SIZE(ops))] | rng_below(g->r, 2)) };
	bool down = rng_one_in(g->r, 8);

	if (g->p->bits == 32 && (g->loop_left || g->in_sub))
		return;
	put_mov(g, RSI, (uint32_t)(SCRATCH_DATA + 0x200) + rng_below(g->r, 0x1b00));
	put_mov(g, RDI, (uint32_t)(SCRATCH_DATA + 0x200) + rng_below(g->r, 0x1b00));
	put_mov(g, RCX, 1 + rng_below(g->r, 40));
	if (down)
		put(g, "\xfd", 1);
	if (g->p->bits == 32)
		op[1] = op[0];
	put_rex(g, op, 3);
	if (down)
		put(g, "\xfc", 1);
	if (g->p->bits == 32)
		put_mov(g, g->p->index, rng_below(g->r, 32));
	if ((op[2] & 0xfe) == 0xa6 || (op[2] & 0xfe) == 0xae)
		g->undefined = 0;
}

/* ---- control flow ---- */

static uint16_t flags_of(unsigned cc)
{
	static const uint16_t flags[] = { FLAG_OF, FLAG_CF, FLAG_ZF, FLAG_CF | FLAG_ZF, FLAG_SF, FLAG_PF,
					  FLAG_SF | FLAG_OF, FLAG_ZF | FLAG_SF | FLAG_OF };

	return flags[cc >> 1];
}

static void put_branch(struct gen *g)
{
	unsigned cc = rng_below(g->r, 16);
	uint8_t jcc[6] = { 0x0f, (uint8_t)(0x80 | cc) }, jmp[5] = { 0xe9 };
	bool always = rng_one_in(g->r, 8);

	if (g->nr_pending == MAX_PENDING || (!always && (flags_of(cc) & g->undefined)))
		return;
	put(g, always ? jmp : jcc, always ? 5 : 6);
	if (!g->full)
		g->pending[g->nr_pending++] = (struct branch){ g->p->nr - 1, 1 + rng_below(g->r, 5),
							       g->undefined };
}

/* Branches that lead here. all: that have not come to their place yet, too. */
static void land(struct gen *g, bool all)
{
	for (unsigned i = 0; i < g->nr_pending;) {
		struct branch *b = &g->pending[i];

		if (!all && b->left--) {
			i++;
			continue;
		}
		aim(g, b->item, g->p->len);
		g->undefined |= b->undefined;
		*b = g->pending[--g->nr_pending];
	}
}

static void begin_loop(struct gen *g)
{
	land(g, true);
	put_mov(g, g->p->counter, 1 + rng_below(g->r, 6));
	g->loop_at = g->p->len;
	g->loop_left = 2 + rng_below(g->r, 6);
	g->undefined = FLAGS_STATUS;
}

static void end_loop(struct gen *g)
{
	unsigned n = g->p->counter;
	uint8_t dec[3] = { (uint8_t)(0x48 | n >> 3), 0xff, (uint8_t)(0xc8 | (n & 7)) };
	uint8_t sub[4] = { dec[0], 0x83, (uint8_t)(0xe8 | (n & 7)), 1 };
	uint8_t jnz[6] = { 0x0f, 0x85 };

	if (rng_one_in(g->r, 2)) {
		put_rex(g, dec, 3);
		g->undefined &= FLAG_CF;
	} else {
		put_rex(g, sub, 4);
		g->undefined = 0;
	}
	put(g, jnz, 6);
	if (!g->full)
		aim(g, g->p->nr - 1, g->loop_at);
}

/* lea to(%rip), reg; jmp or call by it, or by memory. to is behind the branch, or a subroutine. In 32-bit
 * code, mov $to, reg. */
static void put_indirect(struct gen *g)
{
	unsigned reg = free_reg(g), ptr = g->p->pointer[2];
	uint8_t lea[7] = { 0x48, 0x8d, (uint8_t)(0x05 | reg << 3) };
	uint8_t jmp[2] = { 0xff, (uint8_t)(0xe0 | reg) };
	uint8_t store[7] = { (uint8_t)(0x48 | ptr >> 3), 0x89, (uint8_t)(0x80 | reg << 3 | (ptr & 7)) };
	uint8_t by[7] = { (uint8_t)(0x40 | ptr >> 3), 0xff, (uint8_t)(0xa0 | (ptr & 7)) };
	bool memory = (ptr & 7) != RSP && rng_one_in(g->r, 2);
	unsigned at = g->p->nr;

	if (g->p->bits == 64)
		put(g, lea, 7);
	else
		put_mov(g, reg, 0);
	if (memory)
		put_rex(g, store, 7);
	if (memory)
		put_rex(g, by, 7);
	else
		put(g, jmp, 2);
	if (g->full)
		return;
	if (g->p->bits == 64)
		aim(g, at, g->p->len);
	else
		st_le32(g->p->bytes + g->p->item[at].at + 1, (uint32_t)g->p->at + g->p->len);
}

static void put_call(struct gen *g)
{
	uint8_t call[5] = { 0xe8 };

	if (g->in_sub || g->nr_subs == MAX_SUBS)
		return;
	put(g, call, 5);
	if (!g->full)
		g->sub_call[g->nr_subs++] = g->p->nr - 1;
	g->undefined = FLAGS_STATUS;
}

/* ---- what 32-bit code has beside ---- */

/* An absolute address, in moffs or ModRM; by GS too. */
static void put_absolute(struct gen *g)
{
	unsigned way = rng_below(g->r, 6), reg = rng_below(g->r, 3);
	uint8_t b[7] = { 0x65 }, *p = b + 1;
	bool gs = rng_one_in(g->r, 3);
	uint32_t to = (uint32_t)SCRATCH_DATA + (rng_one_in(g->r, 8) ? 0xff0 : 0) + rng_below(g->r, 64);

	if (way < 4) {
		*p++ = (uint8_t)(0xa0 | way);
	} else {
		*p++ = way == 4 ? 0x8b : 0x01;
		*p++ = (uint8_t)(reg << 3 | 5);
		g->undefined = way == 4 ? g->undefined : 0;
	}
	st_le32(p, gs ? to - PROG_GS : to);
	put(g, gs ? b : b + 1, (unsigned)(p + 4 - b) - !gs);
}

/* By GS and a register. */
static void put_below(struct gen *g)
{
	uint8_t b[7] = { 0x65, 0x8b, (uint8_t)(0x80 | rng_below(g->r, 3) << 3 | g->p->pointer[0]) };

	st_le32(b + 3, (uint32_t)-PROG_GS + rng_below(g->r, 32));
	if (rng_one_in(g->r, 2))
		b[1] = 0x89;
	put(g, b, 7);
}

/* A frame by EBP, which is a pointer else. */
static void put_frame(struct gen *g)
{
	put(g, "\x55", 1);
	put(g, "\x89\xe5", 2);
	for (unsigned i = 0; i < 64 && !try_plain(g, RBP); i++)
		;
	put(g, "\xc9", 1);
}

static void put_32(struct gen *g)
{
	switch (rng_below(g->r, 4)) {
	case 0:
	case 1:
		put_absolute(g);
		break;
	case 2:
		put_below(g);
		break;
	default:
		if (!g->in_sub)
			put_frame(g);
		break;
	}
}

/* ---- the whole ---- */

static void put_any(struct gen *g)
{
	if (g->p->bits == 32 && rng_one_in(g->r, 6)) {
		put_32(g);
		return;
	}
	switch (rng_below(g->r, 40)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
		put_branch(g);
		break;
	case 5:
		put_indirect(g);
		break;
	case 6:
	case 7:
		put_call(g);
		break;
	case 8:
	case 9:
		put_adjust(g);
		break;
	case 10:
	case 11:
	case 12:
	case 13:
		if (!g->in_sub) /* where the way back is */
			put_stack(g);
		break;
	case 14:
		put_string(g);
		break;
	case 15:
		if (rng_one_in(g->r, 6))
			put_fault(g);
		break;
	case 16:
		if (!g->loop_left)
			begin_loop(g);
		break;
	default:
		put_plain(g);
		break;
	}
}

static void put_body(struct gen *g, unsigned n)
{
	while (n--) {
		put_any(g);
		if (g->loop_left && !--g->loop_left)
			end_loop(g);
		land(g, false);
	}
	if (g->loop_left)
		end_loop(g);
	g->loop_left = 0;
	land(g, true);
}

static void choose_registers32(struct gen *g)
{
	unsigned first = rng_one_in(g->r, 2) ? RBX : RBP;
	struct prog *p = g->p;

	p->pointer[0] = (uint8_t)first;
	p->pointer[1] = p->pointer[2] = (uint8_t)(first ^ RBX ^ RBP);
	p->index = RDI;
	p->counter = RSI;
	g->keep = 1u << RSP | 1u << RBX | 1u << RBP | 1u << RSI | 1u << RDI;
}

static void choose_registers(struct gen *g)
{
	uint8_t regs[] = { RBX, RBP, 8, 9, 10, 11, 12, 13, 14, 15 };
	struct prog *p = g->p;
	unsigned n = ARRAY_SIZE(regs);
	uint8_t *out[] = { &p->pointer[0], &p->pointer[1], &p->pointer[2], &p->index, &p->counter };

	g->keep = 1u << RSP;
	for (size_t i = 0; i < ARRAY_SIZE(out); i++) {
		unsigned k = rng_below(g->r, n);

		*out[i] = regs[k];
		g->keep |= (uint16_t)(1u << regs[k]);
		regs[k] = regs[--n];
	}
}

static uint64_t choose_place(struct rng *r)
{
	return PROG_CODE + rng_below(r, 0x1000 * PROG_PAGES - PROG_MAX);
}

bool prog_gen(struct rng *r, unsigned bits, struct prog *p)
{
	struct gen g = { .r = r, .p = p };
	uint8_t jmp[5] = { 0xe9 };

	memset(p, 0, sizeof(*p));
	p->bits = bits;
	if (bits == 64) {
		choose_registers(&g);
	} else {
		choose_registers32(&g);
		p->at = choose_place(r);
	}
	put_body(&g, 2 + rng_below(r, 28));
	put(&g, jmp, 5);
	if (!g.full)
		aim(&g, p->nr - 1, 0); /* set below: where it lies is not known yet */
	unsigned last = p->nr - 1;

	g.in_sub = true;
	for (unsigned i = 0; i < g.nr_subs && !g.full; i++) {
		aim(&g, g.sub_call[i], p->len);
		g.undefined = FLAGS_STATUS;
		put(&g, "\x51", 1); /* push %rcx, pop %rdx */
		put_body(&g, 1 + rng_below(r, 6));
		put(&g, "\x5a", 1);
		put(&g, "\xc3", 1);
	}
	if (bits == 64)
		p->at = choose_place(r);
	if (g.full)
		return false;
	st_le32(p->bytes + p->item[last].at + 1,
		(uint32_t)(PROG_EXIT - (p->at + p->item[last].at + 5)));
	return true;
}

void prog_state(struct rng *r, const struct prog *p, struct truth_state *s)
{
	gen_state(r, s);
	if (!truth_zmm() || !rng_one_in(r, 4))
		gen_clear_upper(s);
	for (unsigned i = 0; i < 3; i++)
		s->gpr[p->pointer[i]] = SCRATCH_DATA + 0x400 + (rng_below(r, 0x1800) & ~63u) +
					(i && rng_one_in(r, 2) ? rng_below(r, 64) : 0);
	if (rng_one_in(r, 4))
		s->gpr[p->pointer[1]] = SCRATCH_DATA + 0x1000 - rng_below(r, 64);
	s->gpr[p->index] = rng_below(r, 32);
	s->gpr[p->counter] = 1 + rng_below(r, 4);
	s->gpr[RSP] = SCRATCH_DATA + 0x400 + (rng_below(r, 0x1800) & ~7u);
	if (rng_one_in(r, 4))
		s->gpr[RSP] = SCRATCH_DATA + 0x1000 + 8 * rng_below(r, 8) - 32 + (rng_one_in(r, 4) ? 3 : 0);
	s->rflags |= rng_u64(r) & FLAGS_STATUS;
	s->rip = p->at;
	s->fcw |= 0x3f;
	s->fsw &= 0x7f00;
	if (rng_one_in(r, 24))
		s->mxcsr = 0x1f80 & rng_u64(r);
	for (unsigned i = 0; i < 16 && p->bits == 32; i++)
		s->gpr[i] = i < 8 ? (uint32_t)s->gpr[i] : 0;
}

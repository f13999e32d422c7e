/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of the decoder: single encodings with the fields that they must give, limits of
 * length, LOCK, what follows AMD rather than Intel, and the generator of instructions.
 */
#include "base/base.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/decode/decode_tbl.h"
#include "insn_gen.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/x86.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define NO R_ZERO

/* A case: code in hexadecimal, and what comes out. */
struct expect {
	unsigned bits;
	const char *code;
	int len;
	unsigned mn;
	uint8_t opsize;
	uint8_t reg, rm; /* R_OFF, +1 for AH to BH; 0xff: not looked at */
	uint64_t imm;
	unsigned flags; /* these must be set */
	/* with INSN_MEM */
	uint8_t base, index, scale, seg;
	int32_t disp;
};

#define X 0xff
#define G(n) R_OFF(n)
#define HIGH(n) (R_OFF(n) + 1)

static const struct expect cases[] = {
	/* registers: REX, AH and SPL, opcode registers, accumulators */
	{ 64, "88e0", 2, MN_MOV, 1, HIGH(RAX), G(RAX) },
	{ 64, "4088e0", 3, MN_MOV, 1, G(RSP), G(RAX), 0, INSN_REX },
	{ 64, "4d89c8", 3, MN_MOV, 8, G(9), G(8), 0, INSN_W },
	{ 64, "0fb6fc", 3, MN_MOVZX, 4, G(RDI), HIGH(RAX) },
	{ 64, "b7ff", 2, MN_MOV, 1, X, HIGH(RBX), 0xff, INSN_IMM },
	{ 64, "41b7ff", 3, MN_MOV, 1, X, G(15), 0xff, INSN_IMM },
	{ 64, "3c80", 2, MN_CMP, 1, X, G(RAX), 0x80, INSN_IMM },
	{ 64, "483d000000ff", 6, MN_CMP, 8, X, G(RAX), 0xffffffffff000000, INSN_IMM },
	{ 64, "4990", 2, MN_XCHG, 8, G(RAX), G(8) },
	{ 64, "90", 1, MN_NOP, 4, X, X },
	{ 64, "f390", 2, MN_PAUSE, 4, X, X },
	{ 64, "f34190", 3, MN_XCHG, 4, G(RAX), G(8) },
	{ 64, "410fc8", 3, MN_BSWAP, 4, X, G(8) },
	{ 64, "d1e0", 2, MN_SHL, 4, X, G(RAX), 1, INSN_IMM },
	{ 64, "0f94c4", 3, MN_SETCC, 1, X, HIGH(RAX) },
	/* REX that is not last does not count */
	{ 64, "486689c8", 4, MN_MOV, 2, G(RCX), G(RAX) },

	/* immediates */
	{ 64, "48b88877665544332211", 10, MN_MOV, 8, X, G(RAX), 0x1122334455667788, INSN_IMM },
	{ 64, "48c7c0ffffffff", 7, MN_MOV, 8, X, G(RAX), UINT64_MAX, INSN_IMM },
	{ 64, "6683c8ff", 4, MN_OR, 2, X, G(RAX), UINT64_MAX, INSN_IMM },
	{ 64, "6aff", 2, MN_PUSH, 8, X, X, UINT64_MAX, INSN_IMM },
	{ 64, "6668ff00", 4, MN_PUSH, 2, X, X, 0xff, INSN_IMM },
	{ 64, "68ffffffff", 5, MN_PUSH, 8, X, X, UINT64_MAX, INSN_IMM },
	{ 64, "c2f0ff", 3, MN_RET, 8, X, X, 0xfff0, INSN_END },
	{ 64, "cd80", 2, MN_INT, 4, X, X, 0x80, INSN_END },
	{ 32, "9a785634122301", 7, MN_CALL_FAR, 4, X, X, 0x0123000012345678, INSN_END },
	{ 16, "ea5bf000f0", 5, MN_JMP_FAR, 2, X, X, 0xf00000000000f05b, INSN_END },

	/* branches: 66 counts in 64-bit mode, as on AMD */
	{ 64, "e8fcffffff", 5, MN_CALL, 8, X, X, (uint64_t)-4, INSN_END },
	{ 64, "66e8fcff", 4, MN_CALL, 2, X, X, (uint64_t)-4, INSN_END },
	{ 64, "6648e8fcffffff", 7, MN_CALL, 8, X, X, (uint64_t)-4, INSN_END },
	{ 16, "e8fcff", 3, MN_CALL, 2, X, X, (uint64_t)-4, INSN_END },
	{ 16, "66e8fcffffff", 6, MN_CALL, 4, X, X, (uint64_t)-4, INSN_END },
	{ 64, "ffd0", 2, MN_CALL, 8, X, G(RAX), 0, INSN_END },
	{ 64, "75fe", 2, MN_JCC, 8, X, X, (uint64_t)-2, INSN_END },
	{ 64, "67e3fe", 3, MN_JCXZ, 8, X, X, (uint64_t)-2, INSN_A32 },

	/* memory: 64-bit forms */
	{ 64, "8b00", 2, MN_MOV, 4, G(RAX), X, 0, INSN_MEM | INSN_A64, G(RAX), G(NO), 0, SEG_NONE },
	{ 64, "8b4424f8", 4, MN_MOV, 4, G(RAX), X, 0, INSN_MEM, G(RSP), G(NO), 0, SEG_NONE, -8 },
	{ 64, "4a8b84e110000000", 8, MN_MOV, 8, G(RAX), X, 0, INSN_MEM, G(RCX), G(12), 3, SEG_NONE,
	  16 },
	{ 64, "8b0510000000", 6, MN_MOV, 4, G(RAX), X, 0, INSN_MEM | INSN_RIPREL, G(R_PC), G(NO), 0,
	  SEG_NONE, 16 },
	{ 64, "678b0510000000", 7, MN_MOV, 4, G(RAX), X, 0, INSN_MEM | INSN_RIPREL | INSN_A32,
	  G(R_PC), G(NO), 0, SEG_NONE, 16 },
	{ 64, "65488b042528000000", 9, MN_MOV, 8, G(RAX), X, 0, INSN_MEM, G(NO), G(NO), 0, SEG_GS,
	  0x28 },
	{ 64, "643e488b00", 5, MN_MOV, 8, G(RAX), X, 0, INSN_MEM, G(RAX), G(NO), 0, SEG_FS },
	{ 64, "418b4500", 4, MN_MOV, 4, G(RAX), X, 0, INSN_MEM, G(13), G(NO), 0, SEG_NONE },
	{ 64, "48a18877665544332211", 10, MN_MOV, 8, G(RAX), G(RAX), 0x1122334455667788,
	  INSN_MEM | INSN_A64, G(NO), G(NO), 0, SEG_NONE },
	{ 64, "67a188776655", 6, MN_MOV, 4, G(RAX), G(RAX), 0x55667788, INSN_MEM | INSN_A32, G(NO),
	  G(NO), 0, SEG_NONE },

	/* memory: 16 and 32 bits, default segments */
	{ 16, "8b4208", 3, MN_MOV, 2, G(RAX), X, 0, INSN_MEM | INSN_A16 | INSN_SEGCK, G(RBP),
	  G(RSI), 0, SEG_SS, 8 },
	{ 16, "8b0e3412", 4, MN_MOV, 2, G(RCX), X, 0, INSN_MEM, G(NO), G(NO), 0, SEG_DS, 0x1234 },
	{ 16, "2e8b07", 3, MN_MOV, 2, G(RAX), X, 0, INSN_MEM, G(RBX), G(NO), 0, SEG_CS },
	{ 16, "678b4424f8", 5, MN_MOV, 2, G(RAX), X, 0, INSN_MEM | INSN_A32, G(RSP), G(NO), 0,
	  SEG_SS, -8 },
	{ 32, "8b0510000000", 6, MN_MOV, 4, G(RAX), X, 0, INSN_MEM, G(NO), G(NO), 0, SEG_DS, 16 },
	{ 32, "678b4602", 4, MN_MOV, 4, G(RAX), X, 0, INSN_MEM | INSN_A16, G(RBP), G(NO), 0, SEG_SS,
	  2 },
	{ 32, "8b4500", 3, MN_MOV, 4, G(RAX), X, 0, INSN_MEM, G(RBP), G(NO), 0, SEG_SS },
	{ 32, "8b440500", 4, MN_MOV, 4, G(RAX), X, 0, INSN_MEM, G(RBP), G(RAX), 0, SEG_SS },

	/* strings and implied addresses */
	{ 64, "f348a5", 3, MN_MOVS, 8, X, X, 0, INSN_MEM | INSN_REP, G(RSI), G(NO), 0, SEG_NONE },
	{ 32, "64a4", 2, MN_MOVS, 1, X, X, 0, INSN_MEM, G(RSI), G(NO), 0, SEG_FS },
	{ 32, "64aa", 2, MN_STOS, 1, X, G(RAX), 0, INSN_MEM, G(RDI), G(NO), 0, SEG_ES },
	{ 32, "f2ae", 2, MN_SCAS, 1, X, G(RAX), 0, INSN_MEM | INSN_REPNE, G(RDI), G(NO), 0, SEG_ES },
	{ 32, "26d7", 2, MN_XLAT, 4, X, X, 0, INSN_MEM, G(RBX), G(NO), 0, SEG_ES },

	/* mandatory prefixes: F2 and F3 before 66, the last one of them */
	{ 64, "0f10c1", 3, MN_MOVUPS, 16, X, X },
	{ 64, "660f10c1", 4, MN_MOVUPD, 16, X, X },
	{ 64, "66f30f10c1", 5, MN_MOVSS, 16, X, X },
	{ 64, "f3f20f10c1", 5, MN_MOVSD, 16, X, X },
	{ 64, "66f30fb8c1", 5, MN_POPCNT, 2, G(RAX), G(RCX) },
	{ 64, "66f2480f38f1c1", 7, MN_CRC32, 8, G(RAX), G(RCX) },
	{ 64, "f20fbcc1", 4, MN_BSF, 4, G(RAX), G(RCX) },
	{ 64, "f30f1efa", 4, MN_NOP, 4, X, X },

	/* VEX */
	{ 64, "c5fc58c1", 4, MN_VADDPS, 32, X, X, 0, INSN_VEX | INSN_VEXL },
	{ 64, "c4e2f8f2c1", 5, MN_ANDN, 8, G(RAX), G(RCX), 0, INSN_VEX | INSN_W },
	{ 32, "c4e2f8f2c1", 5, MN_ANDN, 4, G(RAX), G(RCX), 0, INSN_VEX },
	{ 32, "c500", 2, MN_LDS, 4, G(RAX), X, 0, INSN_MEM, G(RAX), G(NO), 0, SEG_DS },
	{ 32, "6200", 2, MN_BOUND, 4, G(RAX), X, 0, INSN_MEM, G(RAX), G(NO), 0, SEG_DS },
	{ 64, "c4e26990048d10000000", 10, MN_VPGATHERDD, 16, X, X, 0, INSN_MEM, G(NO), G(NO), 2,
	  SEG_NONE, 16 },

	/* system */
	{ 64, "0f20d8", 3, MN_MOV_CR, 8, X, G(RAX) },
	{ 64, "440f22c0", 4, MN_MOV_CR, 8, X, G(RAX), 0, INSN_END },
	{ 32, "0f2018", 3, MN_MOV_CR, 4, X, G(RAX) }, /* mod is ignored */
	{ 64, "0f0138", 3, MN_INVLPG, 1, X, X, 0, INSN_MEM, G(RAX), G(NO), 0, SEG_NONE },
	{ 64, "0f01f8", 3, MN_SWAPGS, 4, X, X },
	{ 64, "48cf", 2, MN_IRET, 8, X, X, 0, INSN_END },
	{ 32, "66cf", 2, MN_IRET, 2, X, X, 0, INSN_END },
	{ 64, "480fc70f", 4, MN_CMPXCHG8B, 8, X, X, 0, INSN_MEM, G(RDI), G(NO), 0, SEG_NONE },
	{ 64, "f0480fb10f", 5, MN_CMPXCHG, 8, G(RCX), X, 0, INSN_MEM | INSN_LOCK, G(RDI), G(NO), 0,
	  SEG_NONE },
};

static size_t unhex(const char *s, uint8_t *out)
{
	size_t n = 0;

	for (; s[0] && s[1]; s += 2) {
		unsigned v;

		assert_int_equal(sscanf(s, "%2x", &v), 1);
		out[n++] = v;
	}
	return n;
}

static int decode_hex(unsigned bits, const char *code, struct insn *in)
{
	uint8_t b[32];
	size_t n = unhex(code, b);

	return decode_insn(b, n, bits, in);
}

static bool as_expected(const struct expect *e, const struct insn *in, int len)
{
	if (len != e->len || op_descs[in->op].mn != e->mn || in->opsize != e->opsize)
		return false;
	if ((e->reg != X && in->reg != e->reg) || (e->rm != X && in->rm != e->rm))
		return false;
	if (in->imm != e->imm || (in->flags & e->flags) != e->flags)
		return false;
	if (!(e->flags & INSN_MEM))
		return !(in->flags & INSN_MEM);
	return in->base == e->base && in->index == e->index && in->scale == e->scale &&
	       in->seg == e->seg && in->disp == e->disp;
}

static void test_fields(void **state)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct insn in;
		int len = decode_hex(cases[i].bits, cases[i].code, &in);

		if (len > 0 && as_expected(&cases[i], &in, len))
			continue;
		print_error("%u bit %s: len %d %s opsize %u reg %u rm %u imm %" PRIx64
			    " flags %x base %u index %u scale %u seg %u disp %d\n",
			    cases[i].bits, cases[i].code, len, op_name(in.op), in.opsize,
			    in.reg, in.rm, in.imm, in.flags, in.base, in.index, in.scale, in.seg,
			    in.disp);
		bad++;
	}
	assert_int_equal(bad, 0);
}

static void test_undefined(void **state)
{
	static const struct {
		unsigned bits;
		const char *code;
	} ud[] = {
		{ 64, "06" }, { 64, "27" }, { 64, "60" }, { 64, "62f97c4858c0" }, { 64, "82c001" },
		{ 64, "9a0000000000000000" }, { 64, "d6" }, { 64, "ce" }, { 64, "0f04" },
		{ 64, "8fc8" }, { 64, "fed0" }, { 64, "fff8" }, { 64, "0fbac000" },
		{ 64, "8cf0" }, { 64, "8ec8" }, { 64, "0f20c8" }, { 64, "440f21c0" },
		{ 64, "8dc0" }, { 64, "660f01d0" },
		/* LOCK: what cannot be locked, and registers */
		{ 64, "f08900" }, { 64, "f001c0" }, { 64, "f03900" }, { 64, "f00fa300" },
		{ 64, "f00fb1c1" }, { 64, "f0f0c3" },
		/* VEX: prefixes before it, vvvv, L, W, maps */
		{ 64, "66c5f858c1" }, { 64, "f3c5f858c1" }, { 64, "f0c5f858c1" },
		{ 64, "48c5f858c1" }, { 64, "c5f02800" }, { 64, "c5fc7ec0" },
		{ 64, "c4e37d00c000" }, { 64, "c4e4780000" }, { 64, "c4e27a00c0" },
		/* EVEX: a reserved bit, a length that is none, zeroing without a mask, a mask where none can be */
		{ 64, "62f1784858c0" }, { 64, "62f17c6858c0" }, { 64, "62f17c8858c0" },
		{ 64, "62f17d096ec0" },
		/* gathers with two equal registers */
		{ 64, "c4e26990140d00000000" }, { 64, "c4e26990041500000000" },
		{ 64, "c4e26990040500000000" }, { 64, "c4e26990c1" },
		/* 66 or F3 on what has no such form */
		{ 64, "660fc300" }, { 64, "f30f14c0" }, { 64, "f20f28c0" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(ud); i++) {
		struct insn in;
		int len = decode_hex(ud[i].bits, ud[i].code, &in);

		if (len != DECODE_UD)
			print_error("%s: %d %s\n", ud[i].code, len, op_name(in.op));
		assert_int_equal(len, DECODE_UD);
	}
}

/* Each piece of an instruction asks for more; 15 bytes are the limit. */
static void test_lengths(void **state)
{
	static const char *const whole[] = {
		"48b88877665544332211", "4a8b84e110000000", "c4e26990048d10000000", "0f01f8",
		"f348a5", "c5fc58c1", "66f2480f38f1c1", "480fc70f", "c8000001",
	};
	struct insn in;

	for (unsigned i = 0; i < ARRAY_SIZE(whole); i++) {
		uint8_t b[15];
		int n = unhex(whole[i], b);

		assert_int_equal(decode_insn(b, n, 64, &in), n);
		while (n--)
			assert_int_equal(decode_insn(b, n, 64, &in), DECODE_MORE);
	}
	assert_int_equal(decode_hex(64, "666666666666666666666666666690", &in), 15);
	assert_int_equal(decode_hex(64, "66666666666666666666666666666690", &in), DECODE_LONG);
	assert_int_equal(decode_hex(64, "666666666666666666666666666666", &in), DECODE_LONG);
	assert_int_equal(decode_hex(64, "6666666666666666666666666666", &in), DECODE_MORE);
	/* the last byte of the displacement is the 16th */
	assert_int_equal(decode_hex(64, "2e2e2e2e2e2e2e2e2ec7802211000000112233", &in), DECODE_LONG);
}

static void test_second_immediates(void **state)
{
	struct insn in;

	assert_int_equal(decode_hex(64, "c8341205", &in), 4);
	assert_int_equal(in.imm, 0x1234);
	assert_int_equal(in.imm2, 5);
	assert_int_equal(decode_hex(64, "f20f78c10708", &in), 6);
	assert_int_equal(op_descs[in.op].mn, MN_INSERTQ);
	assert_int_equal(in.imm, 7);
	assert_int_equal(in.imm2, 8);
	assert_int_equal(decode_hex(64, "0f8f00000000", &in), 6);
	assert_int_equal(in.cc, 15);
	assert_int_equal(decode_hex(64, "c4e2699004cd00000000", &in), 10);
	assert_int_equal(in.vidx, 1);
	assert_int_equal(in.scale, 3);
}

static void test_mem_size(void **state)
{
	static const struct {
		unsigned bits;
		const char *code;
		unsigned size;
	} c[] = {
		{ 64, "8b00", 4 }, { 64, "488b00", 8 }, { 64, "8bc0", 0 }, { 64, "488d00", 0 },
		{ 64, "0fb600", 1 }, { 64, "0f0110", 10 }, { 32, "0f0110", 6 }, { 64, "ff18", 6 },
		{ 64, "48ff18", 10 }, { 16, "ff1f", 4 }, { 64, "480fc70f", 16 }, { 64, "0fc70f", 8 },
		{ 64, "c5fc1000", 32 }, { 64, "c5f81000", 16 }, { 64, "c5fc5a00", 16 },
		{ 64, "c4e27d2100", 8 }, { 64, "c4e2792200", 2 }, { 64, "f30f5800", 4 },
		{ 64, "d920", 28 }, { 16, "d920", 14 }, { 64, "dd30", 108 }, { 64, "db28", 10 },
		{ 64, "0fae00", 512 }, { 64, "a5", 4 }, { 64, "48a5", 8 }, { 64, "0f0d00", 0 },
		{ 64, "660f38f800", 64 }, { 64, "0fa300", 4 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		struct insn in;

		assert_true(decode_hex(c[i].bits, c[i].code, &in) > 0);
		if (insn_mem_size(&in) != c[i].size)
			print_error("%s\n", c[i].code);
		assert_int_equal(insn_mem_size(&in), c[i].size);
	}
}

static void check_gprs(const char *code, unsigned read, unsigned written)
{
	struct insn in;
	unsigned r, w;

	assert_true(decode_hex(64, code, &in) > 0);
	insn_gprs(&in, &r, &w);
	if (r != read || w != written)
		print_error("%s: read %x written %x\n", code, r, w);
	assert_int_equal(r, read);
	assert_int_equal(w, written);
}

static void test_register_sets(void **state)
{
	const unsigned ax = 1, cx = 2, dx = 4, bx = 8, sp = 16, si = 64, di = 128;

	check_gprs("4801c8", ax | cx, ax);		/* add rax, rcx */
	check_gprs("89c8", cx, ax);			/* mov eax, ecx */
	check_gprs("88e8", ax | cx, ax);		/* mov al, ch */
	check_gprs("488b04cb", bx | cx, ax);		/* mov rax, [rbx + rcx * 8] */
	check_gprs("488904cb", ax | bx | cx, 0);	/* mov [rbx + rcx * 8], rax */
	check_gprs("53", bx | sp, sp);			/* push rbx */
	check_gprs("48f7e1", ax | cx, ax | dx);		/* mul rcx */
	check_gprs("f3a4", cx | si | di, cx | si | di); /* rep movsb */
	check_gprs("0fa2", ax | cx, ax | bx | cx | dx); /* cpuid */
	check_gprs("c4e2f8f2c1", cx | ax, ax);		/* andn rax, rax, rcx */
}

static bool is_memory_kind(unsigned kind)
{
	return kind == OPK_RM || kind == OPK_M || kind == OPK_W || kind == OPK_Q ||
	       kind == OPK_VSIB || kind == OPK_MOFFS || kind == OPK_STRSRC || kind == OPK_STRDST;
}

/* What must hold for each row, whatever it says. */
static const char *row_fault(unsigned op)
{
	const struct op_desc *d = &op_descs[op];
	const struct op_operand *o = d->operand;
	unsigned memory = 0;

	for (unsigned i = 0; i < d->nr_operands; i++) {
		if (o[i].kind == OPK_NONE || o[i].rw > 3)
			return "bad operand";
		if ((o[i].kind == OPK_IMM || o[i].kind == OPK_REL) && o[i].rw != 1)
			return "writes an immediate";
		memory += is_memory_kind(o[i].kind);
	}
	if (memory > 2 || (memory == 2 && d->mn != MN_MOVS && d->mn != MN_CMPS))
		return "two memory operands";
	if ((d->attr & OPA_LOCKABLE) && (!is_memory_kind(o[0].kind) || o[0].rw != 3))
		return "LOCK without a read-modify-write of memory";
	if ((d->attr & OPA_ALIGN) && !memory)
		return "aligned without memory";
	if ((d->attr & OPA_NO64) && (d->attr & OPA_ONLY64))
		return "in no mode";
	if ((d->attr & OPA_BRANCH) && !(d->attr & OPA_END))
		return "a branch that does not end the block";
	if ((d->attr & OPA_CPL0) && d->cls == OPC_INT)
		return "privileged, but of class INT";
	if ((op_encodings[op].map >= DEC_V0F) != (d->cls == OPC_AVX || (d->attr & OPA_PE)) &&
	    d->cls != OPC_SYS)
		return "VEX and class do not agree";
	if ((d->flags_r | d->flags_w | d->flags_u) & ~(FLAGS_STATUS | FLAG_DF))
		return "flags that are none";
	return NULL;
}

static void test_rows(void **state)
{
	unsigned bad = 0;

	for (unsigned op = 1; op < OP_NR; op++) {
		const char *why = row_fault(op);

		if (why)
			print_error("op %u %s: %s\n", op, op_name(op), why);
		bad += !!why;
	}
	assert_int_equal(bad, 0);
}

/* Every operation has an encoding in some mode, and the generator finds it. */
static void test_every_op_can_be_generated(void **state)
{
	struct rng r = { 1 };
	unsigned missing = 0;

	for (unsigned op = 1; op < OP_NR; op++) {
		uint8_t b[15];
		size_t n = insn_gen(op, 64, 0, &r, b) + insn_gen(op, 32, 0, &r, b) +
			   insn_gen(op, 16, 0, &r, b);

		if (!n) {
			print_error("no encoding of op %u %s\n", op, op_name(op));
			missing++;
		}
	}
	assert_int_equal(missing, 0);
}

static void check_restrictions(unsigned op, const uint8_t *b, unsigned restrict_to)
{
	struct insn in;

	assert_true(decode_insn(b, 15, 64, &in) > 0);
	assert_int_equal(in.op, op);
	if (restrict_to & INSN_GEN_REG)
		assert_false(in.flags & INSN_MEM);
	if (restrict_to & INSN_GEN_NOLOCK)
		assert_false(in.flags & INSN_LOCK);
	if (restrict_to & INSN_GEN_NO67)
		assert_true(in.flags & INSN_A64);
	if ((restrict_to & 0x80) && op_encs[in.op].mem == MEM_MODRM && (in.flags & INSN_MEM)) {
		assert_int_equal(in.base, R_OFF(restrict_to >> 8));
		assert_int_equal(in.index, R_OFF(R_ZERO));
	}
}

static void test_generator_restrictions(void **state)
{
	static const unsigned sets[] = {
		INSN_GEN_REG, INSN_GEN_NOLOCK | INSN_GEN_NO67,
		INSN_GEN_MEM | INSN_GEN_NO67 | INSN_GEN_BASE(RSI), INSN_GEN_MEM | INSN_GEN_BASE(12),
		INSN_GEN_MEM | INSN_GEN_BASE(13) | INSN_GEN_PLAIN,
	};
	struct rng r = { 5 };
	uint8_t b[15];

	for (unsigned n = 0; n < 20; n++)
		for (unsigned op = 1; op < OP_NR; op++)
			for (unsigned i = 0; i < ARRAY_SIZE(sets); i++)
				if (insn_gen(op, 64, sets[i], &r, b))
					check_restrictions(op, b, sets[i]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_undefined),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_second_immediates),
		cmocka_unit_test(test_mem_size),
		cmocka_unit_test(test_register_sets),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_every_op_can_be_generated),
		cmocka_unit_test(test_generator_restrictions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

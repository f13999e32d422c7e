/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder against an independent one (Zydis): every opcode and ModRM byte under many prefixes,
 * generated instructions and random bytes, in 16-, 32- and 64-bit code. Compared: validity, length,
 * mnemonic, operand size, memory operand. Where the two differ on purpose is in exceptions below.
 */
#include "base/base.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/decode/decode_tbl.h"
#include "insn_gen.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/x86.h"
#include <Zydis/Zydis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum { MAX_KINDS = 512 };

struct ctx {
	ZydisDecoder dec[3];
	uint64_t compared, valid;
	struct {
		char what[80];
		uint64_t count;
	} kinds[MAX_KINDS];
	unsigned nr_kinds;
};

static unsigned bits_of(unsigned mode)
{
	return 16u << mode;
}

/* Instruction sets that hanok decodes in full. */
static const ZydisISASet supported_sets[] = {
	ZYDIS_ISA_SET_ADOX_ADCX, ZYDIS_ISA_SET_AES, ZYDIS_ISA_SET_AMD, ZYDIS_ISA_SET_AVX,
	ZYDIS_ISA_SET_AVX2, ZYDIS_ISA_SET_AVX2GATHER, ZYDIS_ISA_SET_AVXAES,
	ZYDIS_ISA_SET_AVX_GFNI, ZYDIS_ISA_SET_AVX_VNNI, ZYDIS_ISA_SET_BMI1, ZYDIS_ISA_SET_BMI2,
	ZYDIS_ISA_SET_CLFLUSHOPT, ZYDIS_ISA_SET_CLFSH, ZYDIS_ISA_SET_CLWB, ZYDIS_ISA_SET_CMOV,
	ZYDIS_ISA_SET_CMPXCHG16B, ZYDIS_ISA_SET_F16C, ZYDIS_ISA_SET_FAT_NOP, ZYDIS_ISA_SET_FCMOV,
	ZYDIS_ISA_SET_FMA, ZYDIS_ISA_SET_FXSAVE, ZYDIS_ISA_SET_FXSAVE64, ZYDIS_ISA_SET_GFNI,
	ZYDIS_ISA_SET_I186, ZYDIS_ISA_SET_I286PROTECTED, ZYDIS_ISA_SET_I286REAL,
	ZYDIS_ISA_SET_I386, ZYDIS_ISA_SET_I486, ZYDIS_ISA_SET_I486REAL, ZYDIS_ISA_SET_I86,
	ZYDIS_ISA_SET_INVPCID, ZYDIS_ISA_SET_LAHF, ZYDIS_ISA_SET_LONGMODE, ZYDIS_ISA_SET_LZCNT,
	ZYDIS_ISA_SET_MONITOR, ZYDIS_ISA_SET_MOVBE, ZYDIS_ISA_SET_MOVDIR, ZYDIS_ISA_SET_PAUSE,
	ZYDIS_ISA_SET_PCLMULQDQ, ZYDIS_ISA_SET_PENTIUMMMX, ZYDIS_ISA_SET_PENTIUMREAL,
	ZYDIS_ISA_SET_POPCNT, ZYDIS_ISA_SET_PPRO, ZYDIS_ISA_SET_RDPID, ZYDIS_ISA_SET_RDPMC,
	ZYDIS_ISA_SET_RDRAND, ZYDIS_ISA_SET_RDSEED, ZYDIS_ISA_SET_RDTSCP, ZYDIS_ISA_SET_RDWRFSGS,
	ZYDIS_ISA_SET_SHA, ZYDIS_ISA_SET_SMAP, ZYDIS_ISA_SET_SSE, ZYDIS_ISA_SET_SSE2,
	ZYDIS_ISA_SET_SSE2MMX, ZYDIS_ISA_SET_SSE3, ZYDIS_ISA_SET_SSE3X87, ZYDIS_ISA_SET_SSE4,
	ZYDIS_ISA_SET_SSE42, ZYDIS_ISA_SET_SSE4A, ZYDIS_ISA_SET_SSEMXCSR,
	ZYDIS_ISA_SET_SSE_PREFETCH, ZYDIS_ISA_SET_SSSE3, ZYDIS_ISA_SET_SSSE3MMX,
	ZYDIS_ISA_SET_VAES, ZYDIS_ISA_SET_VPCLMULQDQ, ZYDIS_ISA_SET_X87, ZYDIS_ISA_SET_XSAVE,
	ZYDIS_ISA_SET_XSAVEC, ZYDIS_ISA_SET_XSAVEOPT, ZYDIS_ISA_SET_XSAVES,
};

/* #UD is right for all others. */
static bool set_unsupported(const ZydisDecodedInstruction *z)
{
	switch (z->encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_MVEX:
	case ZYDIS_INSTRUCTION_ENCODING_XOP:
	case ZYDIS_INSTRUCTION_ENCODING_3DNOW:
		return true;
	default:
		break;
	}
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_JKZD:
	case ZYDIS_MNEMONIC_JKNZD:
	case ZYDIS_MNEMONIC_VPERMIL2PS:
	case ZYDIS_MNEMONIC_VPERMIL2PD:
		return true;
	default:
		break;
	}
	switch (z->meta.isa_set) {
	/* Xeon Phi's, and what no processor at hand has */
	case ZYDIS_ISA_SET_AVX512ER_512:
	case ZYDIS_ISA_SET_AVX512ER_SCALAR:
	case ZYDIS_ISA_SET_AVX512PF_512:
	case ZYDIS_ISA_SET_AVX512_4FMAPS_512:
	case ZYDIS_ISA_SET_AVX512_4FMAPS_SCALAR:
	case ZYDIS_ISA_SET_AVX512_4VNNIW_512:
	case ZYDIS_ISA_SET_AVX512_VP2INTERSECT_128:
	case ZYDIS_ISA_SET_AVX512_VP2INTERSECT_256:
	case ZYDIS_ISA_SET_AVX512_VP2INTERSECT_512:
		return true;
	case ZYDIS_ISA_SET_VTX:
		return z->mnemonic != ZYDIS_MNEMONIC_VMCALL;
	case ZYDIS_ISA_SET_SVM:
		return z->mnemonic != ZYDIS_MNEMONIC_VMMCALL;
	case ZYDIS_ISA_SET_CLZERO: /* with F2 or F3, as the hardware has it */
		return true;
	default:
		break;
	}
	if (z->meta.isa_set >= ZYDIS_ISA_SET_AVX512BW_128 &&
	    z->meta.isa_set <= ZYDIS_ISA_SET_AVX512_VPOPCNTDQ_512)
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(supported_sets); i++)
		if (z->meta.isa_set == supported_sets[i])
			return false;
	return true;
}

/* Our mnemonic and the one of Zydis where they are not the same word; * stands for any ending. */
static const char *const aliases[][2] = {
	{ "jcc", "j*" }, { "setcc", "set*" }, { "cmovcc", "cmov*" }, { "movs", "movs*" },
	{ "cmps", "cmps*" }, { "stos", "stos*" }, { "lods", "lods*" }, { "scas", "scas*" },
	{ "ins", "ins*" }, { "outs", "outs*" }, { "mov_sreg", "mov" }, { "mov_cr", "mov" },
	{ "mov_dr", "mov" }, { "push_sreg", "push" }, { "pop_sreg", "pop" }, { "pusha", "pusha*" },
	{ "popa", "popa*" }, { "pushf", "pushf*" }, { "popf", "popf*" }, { "cbw", "cbw" },
	{ "cbw", "cwde" }, { "cbw", "cdqe" }, { "cwd", "cwd" }, { "cwd", "cdq" }, { "cwd", "cqo" },
	{ "iret", "iret*" }, { "jcxz", "j*cxz" }, { "cmpxchg8b", "cmpxchg*b" },
	{ "call_far", "call" }, { "jmp_far", "jmp" }, { "ret_far", "ret" },
	{ "prefetch", "prefetch*" }, { "nop", "prefetchit*" }, { "fxsave", "fxsave64" }, { "fxrstor", "fxrstor64" },
	{ "xsave", "xsave64" }, { "xrstor", "xrstor64" }, { "xsaveopt", "xsaveopt64" },
	{ "xsavec", "xsavec64" }, { "xsaves", "xsaves64" }, { "xrstors", "xrstors64" },
	{ "sysret", "sysret*" }, 
	{ "fcom2", "fcom" }, { "fcomp3", "fcomp" }, { "fcomp5", "fcomp" }, { "fxch4", "fxch" },
	{ "fxch7", "fxch" }, { "fstp8", "fstp" }, { "fstp9", "fstp" },
	{ "wbnoinvd", "wbinvd" }, { "xchg", "pause" }, /* F3 41 90, as the hardware has it */
	{ "fneni", "feni8087_nop" }, { "fndisi", "fdisi8087_nop" }, { "fnsetpm", "fsetpm287_nop" },
};

static bool glob(const char *pattern, const char *s)
{
	const char *star = strchr(pattern, '*');

	if (!star)
		return !strcmp(pattern, s);
	size_t tail = strlen(star + 1), n = strlen(s);

	return !strncmp(pattern, s, star - pattern) && n >= tail && !strcmp(s + n - tail, star + 1);
}

static bool same_mnemonic(const char *ours, const char *theirs)
{
	if (!strcmp(ours, theirs))
		return true;
	for (unsigned i = 0; i < ARRAY_SIZE(aliases); i++)
		if (!strcmp(ours, aliases[i][0]) && glob(aliases[i][1], theirs))
			return true;
	return false;
}

/* Number of a GPR of any width, R_PC for rIP, R_ZERO for none. */
static int reg_number(ZydisRegister reg)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return R_ZERO;
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return R_PC;
	return ZydisRegisterGetId(reg);
}

static int seg_number(const ZydisDecodedOperand *o, unsigned bits)
{
	static const int map[] = { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS };
	int n = ZydisRegisterGetId(o->mem.segment);

	if (o->mem.segment == ZYDIS_REGISTER_NONE || n < 0 || n > 5)
		return SEG_NONE;
	return bits == 64 && map[n] < SEG_FS ? SEG_NONE : map[n];
}

static bool same_address(const struct insn *in, uint64_t moffs)
{
	unsigned unused = in->flags & INSN_A64 ? 0 : in->flags & INSN_A32 ? 32 : 48;

	return moffs << unused == in->imm << unused;
}

static const char *compare_mem(const struct insn *in, const ZydisDecodedOperand *o, unsigned bits)
{
	bool vsib = o->mem.type == ZYDIS_MEMOP_TYPE_VSIB;
	int base = reg_number(o->mem.base), index = vsib ? R_ZERO : reg_number(o->mem.index);
	unsigned scale = o->mem.scale ? __builtin_ctz(o->mem.scale) : 0;

	if (op_encs[in->op].mem == MEM_MOFFS)
		return same_address(in, o->mem.disp.value) ? NULL : "moffs";
	if (op_encs[in->op].mem == MEM_BX)
		index = R_ZERO;
	/* Zydis takes base 101 with mod 00 for R13D under 67 and VEX.B; it is disp32 without base. */
	if (in->base == R_OFF(R_ZERO) && o->mem.base == ZYDIS_REGISTER_R13D)
		return NULL;
	if (in->base != R_OFF(base))
		return "base";
	if (in->index != R_OFF(index))
		return "index";
	if (vsib && in->vidx != ZydisRegisterGetId(o->mem.index))
		return "vector index";
	if ((vsib || index != R_ZERO) && in->scale != scale)
		return "scale";
	if (in->disp != o->mem.disp.value)
		return "displacement";
	if (o->mem.type != ZYDIS_MEMOP_TYPE_AGEN && in->seg != seg_number(o, bits))
		return "segment";
	return NULL;
}

/* The operand sizes are meant differently where there is no GPR operand. */
static bool size_comparable(const struct insn *in)
{
	const struct op_desc *op = &op_descs[in->op];

	if (op->cls != OPC_INT && op->cls != OPC_SYS && op->cls != OPC_BMI)
		return false;
	/* Zydis calls the operand of branches and of INS, OUTS by other names. */
	if (op->attr & (OPA_BRANCH | OPA_REP))
		return false;
	switch (op_encs[in->op].osz) {
	case OSZ_V:
	case OSZ_Z:
	case OSZ_Y:
		return op->mn != MN_NOP;
	case OSZ_B:
		return insn_mem_size(in);
	default:
		return false;
	}
}

/* Where Zydis knows no 32-bit minimum. */
static unsigned zydis_size(const struct insn *in, const ZydisDecodedInstruction *z)
{
	return op_encs[in->op].osz == OSZ_Y ? MAX(z->operand_width, 32) : z->operand_width;
}

enum { FLAGS_R = 1, FLAGS_W = 2, FLAGS_U = 4, GPRS = 8 };

/* What Zydis 4.0 says otherwise, and why we do not follow it. */
static const struct {
	uint16_t mn, what;
} not_compared[] = {
	/* flags that a condition reads: Zydis has one row per condition, see insn.cc */
	{ MN_JCC, FLAGS_R }, { MN_SETCC, FLAGS_R }, { MN_CMOVCC, FLAGS_R | GPRS },
	/* OF and AF are undefined only for some counts */
	{ MN_ROL, FLAGS_U }, { MN_ROR, FLAGS_U }, { MN_RCL, FLAGS_U }, { MN_RCR, FLAGS_U },
	{ MN_SHL, FLAGS_U }, { MN_SHR, FLAGS_U }, { MN_SAR, FLAGS_U },
	/* SDM: SBB sets AF; BEXTR clears CF and OF; VPTEST, VTESTPx clear what PTEST does */
	{ MN_SBB, FLAGS_U }, { MN_BEXTR, FLAGS_U }, { MN_VPTEST, FLAGS_W },
	{ MN_VTESTPS, FLAGS_W }, { MN_VTESTPD, FLAGS_W },
	/* the index registers of strings are missing, ZF is no input of their repetition */
	{ MN_CMPS, FLAGS_R | GPRS }, { MN_SCAS, FLAGS_R | GPRS }, { MN_INS, GPRS },
	{ MN_OUTS, GPRS },
	/* the stack of exception delivery */
	{ MN_INT, GPRS }, { MN_INT1, GPRS }, { MN_INT3, GPRS }, { MN_INTO, GPRS },
	{ MN_RSM, GPRS },
	/* hypercalls take and return registers */
	{ MN_VMCALL, FLAGS_W | GPRS }, { MN_VMMCALL, GPRS },
	/* legacy SYSCALL has no R11, which is no matter there */
	{ MN_SYSCALL, GPRS },
	/* AMD: the destination stays as it is for a source of 0 */
	{ MN_BSF, GPRS }, { MN_BSR, GPRS },
	/* conditional writes keep the register otherwise; LEAVE of 16 bits keeps part of ESP */
	{ MN_LAR, GPRS }, { MN_LSL, GPRS }, { MN_LEAVE, GPRS },
	/* operands that are not accessed */
	{ MN_NOP, GPRS }, { MN_UD0, GPRS }, { MN_UD1, GPRS },
};

static unsigned exempt(unsigned mn)
{
	for (unsigned i = 0; i < ARRAY_SIZE(not_compared); i++)
		if (not_compared[i].mn == mn)
			return not_compared[i].what;
	return 0;
}

/* Flags that an instruction may leave undefined count as written. */
static const char *compare_flags(const struct insn *in, const ZydisDecodedInstruction *z)
{
	const struct op_desc *op = &op_descs[in->op];
	const uint32_t all = FLAGS_STATUS | FLAG_DF;
	const ZydisAccessedFlags *f = z->cpu_flags;

	unsigned not = exempt(op->mn);

	if (!(not & FLAGS_R) && op->flags_r != (f->tested & all))
		return "flags read";
	if (!(not & FLAGS_W) &&
	    ((op->flags_w | op->flags_u) & all) !=
	    ((f->modified | f->set_0 | f->set_1 | f->undefined) & all))
		return "flags written";
	if (not & FLAGS_U)
		return NULL;
	return op->flags_u == (f->undefined & all) ? NULL : "flags undefined";
}

static void add_gpr(ZydisRegister reg, unsigned *mask)
{
	ZydisRegisterClass cls = ZydisRegisterGetClass(reg);

	if (cls != ZYDIS_REGCLASS_GPR8 && cls != ZYDIS_REGCLASS_GPR16 &&
	    cls != ZYDIS_REGCLASS_GPR32 && cls != ZYDIS_REGCLASS_GPR64)
		return;
	int n = ZydisRegisterGetId(reg);

	if (cls == ZYDIS_REGCLASS_GPR8 && n >= 4)
		n -= 4; /* AH to BH have the numbers 4 to 7, SPL and on follow */
	*mask |= 1u << n;
}

static const char *compare_gprs(const struct insn *in, const ZydisDecodedInstruction *z,
				const ZydisDecodedOperand *ops)
{
	unsigned r, w, zr = 0, zw = 0, narrow = 0;

	/* the R13D of compare_mem(); PAUSE for F3 41 90 */
	if ((exempt(op_descs[in->op].mn) & GPRS) || z->mnemonic == ZYDIS_MNEMONIC_PAUSE ||
	    ((in->flags & (INSN_MEM | INSN_A32)) == (INSN_MEM | INSN_A32) &&
	     in->base == R_OFF(R_ZERO)))
		return NULL;
	insn_gprs(in, &r, &w);
	for (unsigned i = 0; i < z->operand_count; i++) {
		const ZydisDecodedOperand *o = &ops[i];

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			add_gpr(o->mem.base, &zr);
			add_gpr(o->mem.index, &zr);
		} else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER) {
			if (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
				add_gpr(o->reg.value, &zr);
			if (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
				add_gpr(o->reg.value, &zw);
			if ((o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) && o->size < 32)
				add_gpr(o->reg.value, &narrow);
		}
	}
	if (w != zw)
		return "registers written";
	return r == (zr | narrow) ? NULL : "registers read";
}

/* What Zydis has no size for, or another idea of it. */
static bool mem_comparable(const struct insn *in)
{
	const struct op_desc *op = &op_descs[in->op];

	switch (op->mn) {
	case MN_NOP:
	case MN_XLAT:
		return false;
	case MN_CALL:
	case MN_JMP:
		return in->opsize != 2; /* AMD, as the hardware has it */
	default:
		return op->nr_operands;
	}
}

static const char *compare_access(const struct insn *in, const ZydisDecodedOperand *o)
{
	const struct op_desc *op = &op_descs[in->op];
	unsigned rw = 0, zrw = 0;

	if (!mem_comparable(in) || !insn_mem_size(in) || o->mem.type != ZYDIS_MEMOP_TYPE_MEM)
		return NULL;
	for (unsigned i = 0; i < op->nr_operands && !rw; i++)
		if (op->operand[i].kind == OPK_RM || op->operand[i].kind == OPK_M ||
		    op->operand[i].kind == OPK_W || op->operand[i].kind == OPK_Q)
			rw = op->operand[i].rw;
	if (!rw)
		return NULL;
	zrw |= o->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? 1 : 0;
	zrw |= o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? 2 : 0;
	if (rw != zrw)
		return "memory direction";
	return insn_mem_size(in) * 8 == o->size ? NULL : "memory size";
}

static const char *compare_operands(const struct insn *in, const ZydisDecodedInstruction *z,
				    const ZydisDecodedOperand *ops, unsigned bits)
{
	const ZydisDecodedOperand *mem = NULL;

	for (unsigned i = 0; i < z->operand_count && !mem; i++)
		if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    (i < z->operand_count_visible || op_encs[in->op].mem > MEM_VSIB))
			mem = &ops[i];
	if (op_encs[in->op].mem == MEM_SI && mem && mem[0].mem.base != ZYDIS_REGISTER_NONE &&
	    ZydisRegisterGetId(mem->mem.base) == RDI)
		for (mem++; mem->type != ZYDIS_OPERAND_TYPE_MEMORY; mem++)
			;
	if (op_encs[in->op].mem != MEM_AX && !mem != !(in->flags & INSN_MEM))
		return "memory operand or not";
	if (size_comparable(in) && in->opsize * 8 != zydis_size(in, z))
		return "operand size";
	if (z->address_width != (in->flags & INSN_A16 ? 16 : in->flags & INSN_A32 ? 32 : 64))
		return "address size";
	const char *why = mem ? compare_mem(in, mem, bits) : NULL;

	if (!why && mem)
		why = compare_access(in, mem);
	if (!why)
		why = compare_flags(in, z);
	return why ? why : compare_gprs(in, z, ops);
}

static const char *compare_one(struct ctx *c, unsigned mode, const uint8_t *b, size_t avail,
			       const char **name)
{
	ZydisDecodedInstruction z;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	struct insn in;
	unsigned bits = bits_of(mode);
	int len = decode_insn(b, avail, bits, &in);
	bool ok = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&c->dec[mode], b, avail, &z, ops));

	c->compared++;
	*name = len > 0 ? op_name(in.op) : ok ? ZydisMnemonicGetString(z.mnemonic) : "-";
	if (len <= 0 && !ok)
		return NULL;
	if (len <= 0)
		return set_unsupported(&z) ? NULL : "we refuse";
	if (!ok) /* SDM: EVEX.W of conversions from and to general registers is ignored in 32-bit code */
		return bits != 64 && (in.flags & INSN_EVEX) && (in.flags & INSN_W) ? NULL : "only we accept";
	c->valid++;
	if (!same_mnemonic(*name, ZydisMnemonicGetString(z.mnemonic)))
		return ZydisMnemonicGetString(z.mnemonic);
	if (len != z.length)
		return "length";
	return compare_operands(&in, &z, ops, bits);
}

static void record(struct ctx *c, unsigned mode, const uint8_t *b, const char *name,
		   const char *why)
{
	char what[80];
	unsigned i;

	snprintf(what, sizeof(what), "%s: %s (%u bit)", name, why, bits_of(mode));
	for (i = 0; i < c->nr_kinds && strcmp(what, c->kinds[i].what); i++)
		;
	if (i < c->nr_kinds) {
		c->kinds[i].count++;
		return;
	}
	print_error("%-40s", what);
	for (unsigned k = 0; k < 15; k++)
		print_error(" %02x", b[k]);
	print_error("\n");
	if (c->nr_kinds < MAX_KINDS) {
		snprintf(c->kinds[c->nr_kinds].what, sizeof(what), "%s", what);
		c->kinds[c->nr_kinds++].count = 1;
	}
}

static void check(struct ctx *c, unsigned mode, const uint8_t *b)
{
	const char *name, *why = compare_one(c, mode, b, 15, &name);

	if (why)
		record(c, mode, b, name, why);
}

/* Every opcode and ModRM byte of the legacy maps behind these prefixes. */
static void test_legacy_walk(void **state)
{
	static const char *const prefixes[] = {
		"", "\x66", "\xf3", "\xf2", "\x67", "\xf0", "\x66\xf3", "\xf2\x66", "\x64",
		"\x48", "\x41", "\x44", "\x66\x48", "\xf3\x48", "\xf2\x4f", "\xf0\x48", "\x40",
		"\x26\x66", "\xf2\xf3", "\x48\x66",
	};
	static const char *const maps[] = { "", "\x0f", "\x0f\x38", "\x0f\x3a" };
	struct ctx *c = *state;
	uint8_t b[15];

	for (unsigned n = 0; n < ARRAY_SIZE(prefixes) * 4 * 65536; n++) {
		const char *p = prefixes[n >> 18], *m = maps[n >> 16 & 3];
		size_t at = 0;

		for (unsigned i = 0; i < sizeof(b); i++)
			b[i] = 0x11 * i + 0x24;
		while (*p)
			b[at++] = *p++;
		while (*m)
			b[at++] = *m++;
		b[at++] = n >> 8;
		b[at] = n;
		for (unsigned mode = 0; mode < 3; mode++)
			check(c, mode, b);
	}
	assert_int_equal(c->nr_kinds, 0);
}

/* Every opcode of the VEX maps with all pp, L, W, with vvvv free and used, and ModRM samples. */
static void test_vex_walk(void **state)
{
	static const uint8_t rxb[] = { 0xe0, 0xc0, 0x60, 0xa0 };
	struct ctx *c = *state;
	uint8_t b[15];

	for (unsigned n = 0; n < 1u << 23; n++) {
		unsigned modrm = n & 63, rest = n >> 22;

		for (unsigned i = 0; i < sizeof(b); i++)
			b[i] = 0x11 * i + 0x24;
		b[0] = 0xc4;
		b[1] = rxb[n >> 20 & 3] | ((n >> 18 & 3) + (rest ? 1 : 0));
		b[2] = (n >> 14 & 15) << 4 >> 4;
		b[2] = (n & 0x4000 ? 0x80 : 0) | (n & 0x8000 ? 0x78 : n & 1 ? 0x38 : 0x50) | (n >> 16 & 3) |
		       (rest ? 4 : 0);
		b[3] = n >> 6;
		/* mod 0 and 3 alternate with every register */
		b[4] = (modrm & 0x38) | (modrm & 1 ? 0xc0 : 0) | (modrm & 6);
		for (unsigned mode = 0; mode < 3; mode++)
			check(c, mode, b);
	}
	assert_int_equal(c->nr_kinds, 0);
}

/* Every opcode of the EVEX maps with all pp, L and W, under random masks, registers and addresses. */
static void test_evex_walk(void **state)
{
	struct ctx *c = *state;
	struct rng r = { 4 };
	uint8_t b[15];

	for (unsigned n = 0; n < 1u << 21; n++) {
		uint64_t v = rng_u64(&r);

		for (unsigned i = 0; i < sizeof(b); i++)
			b[i] = 0x11 * i + 0x24;
		b[0] = 0x62;
		b[1] = (v & 0xf0) | (n >> 14 & 7);
		b[2] = (n >> 8 & 0x80) | (v & 0x100 ? 0x78 : v >> 9 & 0x78) | 4 | (n >> 8 & 3);
		b[3] = v >> 16;
		if (v & 0x1000000) /* mostly valid ones */
			b[3] = (b[3] & 0x60) | 8 | (v >> 25 & 7);
		b[4] = n;
		b[5] = v >> 32;
		b[6] = v >> 40;
		for (unsigned mode = 0; mode < 3; mode++)
			check(c, mode, b);
	}
	assert_int_equal(c->nr_kinds, 0);
}

static void test_generated(void **state)
{
	struct ctx *c = *state;
	struct rng r = { 2 };
	uint8_t b[15];

	for (unsigned n = 0; n < 60; n++)
		for (unsigned op = 1; op < OP_NR; op++)
			for (unsigned mode = 0; mode < 3; mode++)
				if (insn_gen(op, bits_of(mode), 0, &r, b))
					check(c, mode, b);
	assert_int_equal(c->nr_kinds, 0);
}

static void test_random_bytes(void **state)
{
	struct ctx *c = *state;
	struct rng r = { 3 };

	for (unsigned n = 0; n < 1000000; n++) {
		uint64_t v[2] = { rng_u64(&r), rng_u64(&r) };

		for (unsigned mode = 0; mode < 3; mode++)
			check(c, mode, (uint8_t *)v);
	}
	assert_int_equal(c->nr_kinds, 0);
	assert_true(c->valid > c->compared / 4);
}

static int setup(void **state)
{
	static struct ctx c;
	static const ZydisMachineMode modes[] = { ZYDIS_MACHINE_MODE_LEGACY_16,
						  ZYDIS_MACHINE_MODE_LEGACY_32,
						  ZYDIS_MACHINE_MODE_LONG_64 };
	static const ZydisStackWidth stacks[] = { ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32,
						  ZYDIS_STACK_WIDTH_64 };

	memset(&c, 0, sizeof(c));
	for (unsigned i = 0; i < 3; i++) {
		ZydisDecoderInit(&c.dec[i], modes[i], stacks[i]);
		ZydisDecoderEnableMode(&c.dec[i], ZYDIS_DECODER_MODE_AMD_BRANCHES, ZYAN_TRUE);
		ZydisDecoderEnableMode(&c.dec[i], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(&c.dec[i], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
		ZydisDecoderEnableMode(&c.dec[i], ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
		ZydisDecoderEnableMode(&c.dec[i], ZYDIS_DECODER_MODE_WBNOINVD, ZYAN_TRUE);
	}
	*state = &c;
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_generated, setup),
		cmocka_unit_test_setup(test_legacy_walk, setup),
		cmocka_unit_test_setup(test_vex_walk, setup),
		cmocka_unit_test_setup(test_evex_walk, setup),
		cmocka_unit_test_setup(test_random_bytes, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decoded x86 instruction, and the description of the operation that it is an instance of.
 *
 * x86.tbl is the single source: gen_decode.py makes from it the table of operations (op_descs[]),
 * the mnemonic enumeration (MN_*) and the opcode maps. The interpreter, the tests and the
 * translator all read these. Source of the table: Intel SDM vol. 2, AMD APM vol. 3 to 5.
 */
#ifndef SOFT_DECODE_INSN_H
#define SOFT_DECODE_INSN_H

#include "base/base.h"
#include "accel/soft/decode/mnemonics.h" /* generated: enum x86_mn, MN_NR, OP_NR */

struct soft_cpu;
struct insn;

/* Executes one instruction; returns the next one to execute (in the block), or NULL = block over. */
typedef const struct insn *(*insn_fn)(struct soft_cpu *, const struct insn *);

/*
 * Registers as byte offsets into soft_cpu.r[], so that AH..BH need no special case.
 * A base or index that is absent is R_ZERO, which always holds 0; RIP-relative is base R_PC, which
 * holds the RIP of the first byte of the block's page (disp is adjusted by the decoder's caller).
 */
enum { R_ZERO = 16, R_PC = 17, R_NR = 18 };
#define R_OFF(n) ((uint8_t)((n) * 8))

#define SEG_NONE 6 /* soft_cpu.segbase[] slot that is always 0 */

/* insn.flags */
#define INSN_MEM   0x0001 /* ModRM or moffs or string operand in memory: base/index/scale/disp/seg */
#define INSN_LOCK  0x0002
#define INSN_REP   0x0004 /* F3 as a repeat prefix */
#define INSN_REPNE 0x0008
#define INSN_END   0x0010 /* last of its block: control flow, or state that decoding depends on */
#define INSN_A32   0x0020 /* effective address is truncated to 32 bits (67 in long mode, or 32-bit) */
#define INSN_A16   0x0040
#define INSN_SEGCK 0x0080 /* segment limit and type must be checked (not 64-bit mode) */
#define INSN_VEXL  0x0100 /* VEX.L = 1 (256 bit) */
#define INSN_W	   0x0200 /* REX.W / VEX.W */
#define INSN_REX   0x0400
#define INSN_IMM   0x0800 /* an immediate is present */
#define INSN_RIPREL 0x1000
#define INSN_VEX   0x2000
#define INSN_A64   0x4000 /* 64-bit addressing */
#define INSN_EVEX  0x8000 /* INSN_VEX is set too */

struct insn {
	insn_fn fn;
	union {
		uint64_t imm; /* immediate, sign-extended as the instruction says; branch displacement */
		void *native; /* the native thunk of the engine (class NATIVE) */
	};
	int32_t disp;
	uint16_t op;	/* index in op_descs[] */
	uint16_t flags; /* INSN_* */
	uint16_t next;	/* offset of the following instruction in the page */
	uint8_t len;	/* 1..15 */
	uint8_t opsize; /* effective operand size in bytes: 1, 2, 4, 8 (16, 32 for vectors) */
	uint8_t reg;	/* R_OFF of ModRM.reg as a GPR of opsize (AH..BH: +1) */
	uint8_t rm;	/* R_OFF of the r/m, opcode-embedded or fixed register operand (no INSN_MEM) */
	uint8_t base, index; /* R_OFF */
	uint8_t scale;	/* 0..3 */
	uint8_t seg;	/* SEG_* or SEG_NONE (64-bit mode but FS/GS) */
	uint8_t reg_n, rm_n, vvvv; /* raw register numbers, extended by REX/VEX */
	uint8_t cc;	/* condition 0..15 of Jcc, SETcc, CMOVcc */
	uint8_t imm2;	/* second immediate: ENTER, far selector is in imm bits 63:48 - see decode.h */
	uint8_t vidx;	/* vector index register of a VSIB operand (index is R_ZERO then) */
	uint8_t evex;	/* EVEX_*; 0 without EVEX */
	uint8_t pad[2];
};

/* insn.evex: the last byte of the prefix, but that V' is in vvvv or vidx. */
#define EVEX_MASK  0x07 /* mask register; 0: no masking */
#define EVEX_B	   0x10 /* memory: one element for all; registers: rounding in EVEX_LL, or no exceptions */
#define EVEX_LL	   0x60 /* vector length, 0 to 2; a rounding mode */
#define EVEX_Z	   0x80 /* elements that are masked out become zeros */


/* Operand kinds in op_desc. */
enum opk {
	OPK_NONE,
	OPK_REG,   /* GPR, ModRM.reg */
	OPK_RM,	   /* GPR or memory, ModRM.rm */
	OPK_M,	   /* memory only */
	OPK_R,	   /* GPR only, ModRM.rm */
	OPK_OPREG, /* GPR, low opcode bits: decoded into rm */
	OPK_FIX,   /* fixed GPR (accumulator, CL, DX): op_desc.operand.fix */
	OPK_VVVV,  /* GPR in VEX.vvvv (BMI) */
	OPK_IMM,
	OPK_REL,
	OPK_FAR,   /* ptr16:16/32 immediate */
	OPK_MOFFS, /* absolute address in imm */
	OPK_SREG, OPK_CREG, OPK_DREG,
	OPK_V,	   /* XMM/YMM, ModRM.reg */
	OPK_W,	   /* XMM/YMM or memory, ModRM.rm */
	OPK_H,	   /* XMM/YMM, VEX.vvvv */
	OPK_L,	   /* XMM/YMM, imm8[7:4] */
	OPK_U,	   /* XMM/YMM register only, ModRM.rm */
	OPK_P, OPK_Q, OPK_N, /* MMX: reg, reg/mem, rm register only */
	OPK_ST, OPK_STI,     /* x87 */
	OPK_STRSRC, OPK_STRDST, /* string operands: seg:rSI, ES:rDI */
	OPK_VSIB,  /* memory with a vector index */
	OPK_FIXV,  /* fixed XMM register: XMM0 */
	OPK_KREG, OPK_KRM, OPK_KR, OPK_KVVVV, /* mask: ModRM.reg; rm; rm, register only; VEX.vvvv */
};

/* Operand sizes that are not a number of bytes; insn_mem_size() (decode.h) resolves them. */
#define OPSZ_VL	    0xff /* vector length */
#define OPSZ_VL2    0xfe /* a half, a quarter, an eighth of it */
#define OPSZ_VL4    0xfd
#define OPSZ_VL8    0xfc
#define OPSZ_PTR    0xfb /* selector and offset: operand size + 2 */
#define OPSZ_2X	    0xfa /* twice the operand size: BOUND, CMPXCHG8B */
#define OPSZ_DESC   0xf9 /* table limit and base: 6 or 10 */
#define OPSZ_FPENV  0xf8 /* 14 or 28 */
#define OPSZ_FPSAVE 0xf7 /* 94 or 108 */
#define OPSZ_FX	    0xf6 /* 512 */
#define OPSZ_XS	    0xf5 /* XSAVE area */

struct op_operand {
	uint8_t kind; /* enum opk */
	uint8_t size; /* bytes; 0 = operand size, or OPSZ_* */
	uint8_t rw;   /* 1 read, 2 written */
	uint8_t fix;  /* register number of OPK_FIX */
};

enum op_class {
	OPC_INT,    /* integer and control flow: C handlers, user level */
	OPC_SYS,    /* privileged, or changes segments, modes, tables */
	OPC_X87, OPC_MMX, OPC_SSE, OPC_AVX, OPC_BMI, /* run natively */
	OPC_EVEX, /* the same: AVX-512, also its VEX instructions on mask registers */
	OPC_FPSTATE, /* fxsave, xsave, ldmxcsr, emms, ... */
};

/* op_desc.attr */
#define OPA_LOCKABLE 0x0001
#define OPA_NO64     0x0002
#define OPA_ONLY64   0x0004
#define OPA_D64	     0x0008 /* default operand size 64 in 64-bit mode */
#define OPA_F64	     0x0010 /* forced 64 */
#define OPA_CPL0     0x0020 /* #GP(0) unless CPL 0 */
#define OPA_IOPL     0x0040 /* IOPL-sensitive */
#define OPA_BRANCH   0x0080
#define OPA_END	     0x0100 /* ends a block */
#define OPA_ALIGN    0x0200 /* memory operand must be aligned to its size (#GP) */
#define OPA_MXCSR    0x0400 /* reads or writes MXCSR: may raise #XM */
#define OPA_REP	     0x0800 /* takes rep prefixes */
#define OPA_PE	     0x1000 /* #UD in real and virtual-8086 mode */
#define OPA_NOTSX    0x2000 /* does not check CR0.TS (integer) */
#define OPA_FLCOND   0x4000 /* a count of 0 leaves the flags as they are */
#define OPA_UD3	     0x8000 /* #UD unless CPL 0 */

/* op_desc.evex: what the prefix may ask for, and how memory is accessed under a mask. */
#define EV_MASK	  0x0001 /* a mask */
#define EV_ZERO	  0x0002 /* zeroing */
#define EV_MUST	  0x0004 /* k0 as the mask is #UD */
#define EV_ER	  0x0008 /* rounding */
#define EV_SAE	  0x0010 /* suppressing exceptions */
#define EV_BCAST  0x0020 /* a memory operand of one element, of esize bytes */
#define EV_WHOLE  0x0040 /* all of a memory operand can fault, whatever the mask says */
#define EV_NOVL	  0x0080 /* 128 and 256 bits do not need AVX512VL */
#define EV_PACKED 0x0100 /* in memory are only the elements that the mask has */

#define MN_NAME_SIZE 20

struct op_desc {
	uint16_t mn;	 /* MN_*; its text is mn_names[mn] */
	uint8_t cls;	 /* enum op_class */
	uint8_t feature; /* enum x86_feature that CPUID must show (isa/x86/cpuid.h); 0 = base */
	uint16_t attr;	 /* OPA_* */
	uint8_t nr_operands;
	uint8_t esize; /* bytes of an element in memory, where a mask or broadcasting asks for it */
	uint16_t evex; /* EV_* */
	uint16_t flags_r, flags_w, flags_u; /* FLAGS_STATUS bits read, written, left undefined; DF too */
	/* General registers used beside the operands in reg, rm and vvvv; bit n: register n. For all
	 * of an instruction's: insn_gprs() in decode.h. */
	uint16_t gpr_r, gpr_w;
	struct op_operand operand[5];
};

/* No pointers in here: a table of this size costs a start its relocations. */
extern const struct op_desc op_descs[];
/* Mnemonics in lower case, by MN_*. */
extern const char mn_names[][MN_NAME_SIZE];

static inline const char *op_name(unsigned op)
{
	return mn_names[op_descs[op].mn];
}

#endif

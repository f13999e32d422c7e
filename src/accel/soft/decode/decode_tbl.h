/* SPDX-License-Identifier: Apache-2.0 */
/* The tables that gen_decode.py makes beside op_descs[]: for decode.c and the generator of tests. */
#ifndef SOFT_DECODE_DECODE_TBL_H
#define SOFT_DECODE_DECODE_TBL_H

#include "accel/soft/decode/insn.h"

/* Opcode maps. A VEX map holds only VEX forms, an EVEX map only EVEX forms. */
enum {
	DEC_1B, DEC_0F, DEC_0F38, DEC_0F3A, DEC_V0F, DEC_V0F38, DEC_V0F3A,
	DEC_E0F, DEC_E0F38, DEC_E0F3A, DEC_EMAP5, DEC_EMAP6, DEC_MAPS
};

/* What the meaning of an opcode can depend on; same order as DIMS in gen_decode.py. */
enum dec_sel {
	SEL_PP,	  /* mandatory prefix as VEX.pp: none, 66, F3, F2 */
	SEL_MOD3, /* ModRM.mod == 3 */
	SEL_REG,  /* ModRM.reg */
	SEL_RM,	  /* ModRM.rm */
	SEL_W,
	SEL_L,
	SEL_M64,  /* 64-bit mode */
	SEL_B,	  /* REX.B */
	SEL_NR
};

/*
 * An entry of a map or node: 0 is #UD, below DEC_NODE an operation, else dec_nodes[entry &
 * ~DEC_NODE] is { enum dec_sel, entry for value 0, entry for value 1, ... }.
 */
#define DEC_NODE 0x8000
extern const uint16_t dec_maps[DEC_MAPS][256];
extern const uint8_t dec_modrm[DEC_MAPS][256]; /* 1: a ModRM byte follows */
extern const uint16_t dec_nodes[];

enum dec_imm {
	IMM_NONE, IMM_ONE /* the 1 of D0 and D1 */, IMM_U8, IMM_S8, IMM_U16,
	IMM_Z /* 2 or 4 bytes by operand size, sign-extended */, IMM_V /* up to 8 */,
	IMM_FAR, IMM_ENTER, IMM_TWO /* two bytes */, IMM_MOFFS
};

/* How the operand size follows from mode, 66 and W. */
enum dec_osz {
	OSZ_B, OSZ_W, OSZ_D, OSZ_Q, OSZ_T, OSZ_V /* 2, 4, 8 */, OSZ_Z /* 2, 4 */, OSZ_Y /* 4, 8 */,
	OSZ_N /* 8 in 64-bit mode, else 4 */, OSZ_X /* vector length */
};

enum dec_mem {
	MEM_NONE, MEM_MODRM, MEM_VSIB, MEM_MOFFS, MEM_SI, MEM_DI /* ES:rDI */,
	MEM_DI_SEG /* DS:rDI */, MEM_BX, MEM_AX
};

/* Register numbers that are #UD. */
enum dec_check {
	CHECK_NONE, CHECK_SREG, CHECK_SREG_DST, CHECK_CREG, CHECK_DREG, CHECK_GATHER,
	CHECK_VIDX, /* the index is not the destination */
	CHECK_APART /* no source is the destination */
};

#define ENC_REG8     0x0001 /* ModRM.reg is a byte register */
#define ENC_RM8	     0x0002 /* ModRM.rm or the opcode's register is */
#define ENC_REG_LOW  0x0004 /* REX.R does not extend ModRM.reg (MMX) */
#define ENC_RM_LOW   0x0008 /* REX.B does not extend ModRM.rm (MMX, x87) */
#define ENC_OPREG    0x0010 /* register in the low opcode bits */
#define ENC_COND     0x0020 /* condition in the low opcode bits */
#define ENC_MOD_REG  0x0040 /* ModRM.mod is ignored: always a register */
#define ENC_NO_VVVV  0x0080 /* VEX.vvvv must be 1111 */
#define ENC_ACC_RM   0x0100 /* the accumulator is the rm operand */
#define ENC_ACC_REG  0x0200 /* the accumulator is the reg operand */
#define ENC_SREG_FIX 0x0400 /* segment register named by the opcode: reg_n */
#define ENC_REG_V    0x0800 /* EVEX: ModRM.reg is one of 32 vector registers */
#define ENC_RM_V     0x1000 /* and ModRM.rm */
#define ENC_REG_K    0x2000 /* mask registers, of which there are eight */
#define ENC_RM_K     0x4000
#define ENC_VVVV_K   0x8000

/* How an operation is encoded, as far as op_desc does not say. */
struct op_enc {
	uint8_t imm;   /* enum dec_imm */
	uint8_t osz;   /* enum dec_osz */
	uint8_t mem;   /* enum dec_mem */
	uint8_t check; /* enum dec_check */
	uint16_t flags; /* ENC_* */
	uint16_t instead; /* operation to do where the CPU model hides this one; 0: #UD */
};
extern const struct op_enc op_encs[];

/* Where an operation is in the maps; for making instructions (insn_gen.h). */
struct op_desc_encoding {
	uint8_t map, opcode, nr_opcodes, modrm;
	uint8_t sel[SEL_NR]; /* bit n: value n of the enum dec_sel is allowed */
};
extern const struct op_desc_encoding op_encodings[];

#endif

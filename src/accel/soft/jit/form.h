/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest instruction's encoding taken apart, to be written again with other registers or another
 * memory operand. Intel SDM vol. 2, 2.1 to 2.3.
 */
#ifndef SOFT_JIT_FORM_H
#define SOFT_JIT_FORM_H

#include "accel/soft/decode/decode.h"
#include "accel/soft/jit/asm.h"

struct form {
	const struct insn *in;
	const struct op_desc *d;
	const uint8_t *bytes, *imm; /* the whole instruction; what is behind its address */
	uint8_t nr_imm;
	bool p66, w, vex, evex, vex_l, has_modrm;
	uint8_t ev[3]; /* EVEX: the bytes behind 62 */
	bool low8; /* a register operand of 8 bits: SPL..DIL need a REX prefix, AH..BH forbid one */
	bool high8; /* AH..BH are among them */
	uint8_t rep;	/* F2 or F3, as a part of the opcode */
	uint8_t map;	/* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
	uint8_t pp, opcode, modrm;
};

/*
 * The general register (and 1 for AH..BH) that an operand of size bytes in ModRM.reg or rm is, by its
 * number. The interpreter's binding exchanges insn.reg and rm where that suits it.
 */
static inline unsigned form_gpr(const struct insn *in, unsigned n, unsigned size, bool *high)
{
	*high = size == 1 && !(in->flags & (INSN_REX | INSN_VEX)) && n >= 4 && n < 8;
	return *high ? n - 4 : n;
}

/* The general registers that it writes, named or implied; a bit for each. */
unsigned form_written(const struct insn *in);

/*
 * bits: of the code it is from, 64 or 32. What is encoded in another way in 64-bit code, or there only, is
 * as that would have it.
 */
void form_parse(struct form *, const struct insn *, const uint8_t *bytes, unsigned bits);

/*
 * Writes it with general registers in place of its own: reg (ModRM.reg), rm (ModRM.rm, or in the opcode),
 * vvvv; each < 0: as it is. mem: its memory operand, NULL: it has none. Returns false when that has no
 * encoding (AH..BH with a register that needs a prefix); nothing is written then.
 */
bool form_put(struct as *, const struct form *, int reg, int rm, int vvvv,
	      const struct as_addr *mem);

#endif

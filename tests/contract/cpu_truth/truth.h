/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU truth: one instruction is executed by the soft engine and by the processor it runs on, from
 * the same state, and everything is compared.
 *
 * Both sides see the same linear addresses: a scratch region of some pages and a code page, mapped
 * low in the address space of this process and, with memory of its own, in the guest's page tables.
 */
#ifndef CPU_TRUTH_H
#define CPU_TRUTH_H

#include "accel/soft/decode/insn.h"
#include "base/base.h"
#include "rng.h"

#define SCRATCH	     0x20000000ul
#define SCRATCH_RW   2 /* pages that may be written, behind one that is not mapped */
#define SCRATCH_SIZE 0x4000ul /* hole, RW, RW, RO; a hole behind it */
#define SCRATCH_DATA (SCRATCH + 0x1000)
#define CODE	     0x30000000ul
#define CODE_TAKEN   0x20 /* where relative branches go, from the end of the instruction */

/* The state of a user-level program. */
struct truth_state {
	uint64_t gpr[16];
	uint64_t rip, rflags;
	uint16_t fcw, fsw, fop;
	uint8_t ftw;
	uint64_t fip, fdp;
	uint32_t mxcsr;
	uint8_t st[8][16];
	uint8_t vec[32][64]; /* without AVX-512: the first 16, 32 bytes of each */
	uint64_t k[8];
};

/* vector -1: no exception */
struct truth_result {
	int vector;
	uint32_t error;
	uint64_t cr2;
	uint16_t undefined; /* status flags of which nothing is said; of programs that were interpreted */
};

struct truth_case {
	uint8_t bytes[16];
	unsigned len;
	struct insn in; /* decoded */
	uint64_t rip;	/* where it is */
	bool touches_fp;
	bool zmm; /* the upper halves of ZMM registers are not all zero */
	uint64_t to; /* where the memory operand is, by gen_operands() */
};

/* host.c */
int host_init(void);
/* Once soft_init() has been called too. */
void host_find_components(void);
uint8_t *host_scratch(void); /* SCRATCH_DATA, writable also where the case sees it read-only */
/* Puts the instruction at c->rip. */
void host_code(const struct truth_case *c);
void host_run(const struct truth_case *c, struct truth_state *s, struct truth_result *r);

/* soft_side.c */
int soft_init(void);
uint8_t *soft_scratch(void);
/* Whether the CPU model shows an operation's feature (else it is #UD whatever the host says). */
bool soft_has(unsigned op);
/* Whether it and the host have AVX-512. */
bool truth_zmm(void);
/* From now on by the translator, and how many cases it took. */
void soft_jit(void);
uint64_t soft_translated(void);
/* Binds the instruction. */
void soft_code(const struct truth_case *c);
void soft_run_case(const struct truth_case *c, struct truth_state *s, struct truth_result *r);

/* gen.c */
void gen_state(struct rng *, struct truth_state *);
/* A new instruction of the operation op; false: not one for this test. */
bool gen_case(struct rng *, unsigned op, struct truth_case *c);
/* Points registers and memory to where the instruction makes sense. mem: both copies. */
void gen_operands(struct rng *, struct truth_case *c, struct truth_state *s, uint8_t *host_mem,
		  uint8_t *soft_mem);
bool gen_wanted(unsigned op, unsigned bits);
/* Upper halves of ZMM0 to 15 become zeros, and all that hosts without AVX-512 do not have. */
void gen_clear_upper(struct truth_state *);
/* Whether the host is of Intel's and decodes it as the engine's decoder does not. */
bool gen_other_on_intel(const struct truth_case *);

/* What the instruction's memory operand must be aligned to; 0: nothing. */
unsigned alignment_of(const struct insn *);

/* level.c */
struct truth_memory {
	uint8_t *host, *soft; /* both scratch regions */
};
/* Makes what the host did (h, hr) like the engine's where both are ways of processors. */
void level_case(const struct truth_case *c, const struct truth_state *before,
		struct truth_state *h, struct truth_result *hr, const struct truth_state *s,
		const struct truth_result *sr, const struct truth_memory *m);

/* report.c */
/* Whether a fault is one that an access to 8 bytes at either address can have. */
bool truth_explains(const struct truth_result *r, uint64_t a, uint64_t b);
void report(const struct truth_case *c, const struct truth_state *before,
	    const struct truth_state *host, const struct truth_result *hr,
	    const struct truth_state *soft, const struct truth_result *sr, const char *what);

#endif

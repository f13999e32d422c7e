/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random programs: some dozens of instructions with branches, loops, calls, the stack and several accesses
 * by the same registers. Each is run by the interpreter, by the translator and by the processor.
 */
#ifndef CPU_TRUTH_PROG_H
#define CPU_TRUTH_PROG_H

#include "truth.h"

#define PROG_CODE  CODE
#define PROG_PAGES 2
#define PROG_EXIT  (CODE + 0x3000) /* nothing is there for the engine, the way back for the host */
#define PROG_GS	   (SCRATCH_DATA + 0x840) /* GS's base in 32-bit programs; FS is null there */
#define PROG_MAX   0x600
#define PROG_ITEMS 128

struct prog_item {
	uint16_t at;
	uint8_t len;
};

struct prog {
	unsigned bits; /* 64 or 32 */
	uint8_t bytes[PROG_MAX];
	unsigned len, nr;
	struct prog_item item[PROG_ITEMS]; /* its instructions, and what the test may replace by NOPs */
	uint64_t at;			   /* the linear address of bytes[0], where it begins */
	uint8_t starts[PROG_MAX / 8];	   /* a bit an offset: an instruction begins there */
	/* Registers that the program relies on: three that point into the scratch region, a small index,
	 * and a counter. Of 32-bit programs the last two pointers are one. */
	uint8_t pointer[3], index, counter;
};

/* Whether one of its instructions begins at a linear address. */
static inline bool prog_begins(const struct prog *p, uint64_t lin)
{
	uint64_t off = lin - p->at;

	return off < p->len && (p->starts[off / 8] >> off % 8 & 1);
}

/* A new program of so many bits. False: this seed makes none that fits. */
bool prog_gen(struct rng *, unsigned bits, struct prog *);
/* A state in which it makes sense. */
void prog_state(struct rng *, const struct prog *, struct truth_state *);

/* Before programs of so many bits run. False: the host cannot run them. */
bool host_prog_bits(unsigned bits);
bool soft_prog_bits(unsigned bits);
/* Its code, in the host's memory and in the guest's. */
void host_prog(const struct prog *);
void soft_prog(const struct prog *);
/* r->vector -1: it came to PROG_EXIT. */
void host_run_prog(const struct prog *, struct truth_state *, struct truth_result *r);
/*
 * hot: after how many runs blocks are translated; JIT_NEVER: by the interpreter. False: it went elsewhere,
 * did not come to its end in time, or wrote over its code.
 */
bool soft_run_prog(const struct prog *, unsigned hot, struct truth_state *, struct truth_result *r);

void prog_print(const struct prog *);

#endif

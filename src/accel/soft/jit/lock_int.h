/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the lockstep share: the states to compare, and the copies of memory. */
#ifndef SOFT_JIT_LOCK_INT_H
#define SOFT_JIT_LOCK_INT_H

#include "accel/soft/block.h"
#include "accel/soft/jit/lockstep.h"

#define LOCK_PAGES 32

/* All that an instruction of a block that has host code may change, but memory. */
struct lock_state {
	uint64_t r[R_NR], rip, rflags;
	uint32_t fl, poll, ev_mask;
	struct cpu_state s;
};

/* Of a page: what host code made of it, and the interpreter. */
struct lock_page {
	uint8_t *host; /* the guest's */
	uint64_t lin;  /* one of its addresses */
	_Alignas(64) uint8_t t1[0x1000]; /* as much as an instruction can ask for */
	_Alignas(64) uint8_t t0[0x1000];
};

/* A run of a block by both: of its first nr instructions, from `before`. */
struct lock_run {
	const struct block *b;
	unsigned nr;
	unsigned t0_nr; /* what the interpreter did of them: less when a branch is taken before the end */
	bool t0_faulted;
	struct lock_state before, t1, t0;
	unsigned nr_pages;
	struct lock_page pages[LOCK_PAGES];
};

/* lockdiff.c: whether the two differ; if so it is logged, and what (size) gets the first difference. */
bool lock_differs(struct soft_cpu *c, const struct lock_run *run, char *what, size_t size);

#endif

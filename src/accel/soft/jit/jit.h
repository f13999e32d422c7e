/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The translator: host code for blocks that the interpreter has run a few times.
 *
 * It is a rewriter. A guest instruction stays what it is: one without a memory operand is copied, one
 * with gets its address checked in the software TLB first and is then run on the host's address. Guest
 * registers are in host registers all the time, status flags in the host's. What it does not know, the
 * interpreter's handler executes, called from host code. An access that faults or is of a device is left
 * to the interpreter from that instruction to the end of the block: so a fault needs no tables here,
 * and a device access no code.
 *
 * Registers in host code: the guest's RAX RCX RDX RBX RBP RSI RDI in those of the same name, its RSP in
 * R12, its R12 to R14 in R8 to R10; its R8 to R11 and R15 stay in soft_cpu.r[] and come into R11, R13 or R14
 * for an instruction. R15 points into the soft_cpu. Code knows its own addresses only relative to its page,
 * whose linear address is in soft_cpu.r[R_PC], so it serves wherever the page is mapped.
 *
 * Validity. Whoever enters a page (jit_lookup in host code, block_find() in C) looks at the page's
 * generation; blocks of one page jump to each other without looking. A vCPU's own stores to watched
 * code leave host code at once; those of others are seen at the next way into the page, or at the
 * next interrupt. Each vCPU has its own code; vCPU thread only.
 */
#ifndef SOFT_JIT_JIT_H
#define SOFT_JIT_JIT_H

#include "accel/soft/block.h"

struct jit;
struct jit_perf;

/*
 * Memory for host code, twice mapped (to write, to run). perf (borrowed, or NULL) hears of all code. NULL: e
 * says why.
 */
struct jit *jit_new(struct jit_perf *perf, struct err *e);
struct jit *jit_free(struct jit *); /* returns NULL */
/* Forgets all code; release: and gives its memory back. No block may be left that has any. */
void jit_flush(struct soft_cpu *, bool release);
/* What a jump cache entry has for code when its block has none. */
const void *jit_cold(struct jit *);
/* What host code has copied from the software TLB may be wrong from here on. */
void spots_drop(struct soft_cpu *);
/*
 * What jumps of host code to other pages know may be wrong from here on; global_too: also of global pages.
 * And: nothing is known.
 */
void links_drop(struct soft_cpu *, bool global_too);
void links_drop_page(struct soft_cpu *, uint64_t lin); /* the same of one page */
void links_reset(struct soft_cpu *);
/* Whether the largest block is certain to fit. */
bool jit_has_room(const struct soft_cpu *);

/* Of host code, with what is beside it; and how many blocks have any. */
size_t jit_bytes(const struct jit *);
unsigned jit_blocks(const struct jit *);

/*
 * Counts an execution of b by the interpreter; true: it has host code (now). c: between blocks, in the
 * mode that b is for.
 */
bool jit_wants(struct soft_cpu *c, struct block *b);
/*
 * Runs guest code from b on, which has host code and is at c->rip, until something has to be looked at.
 * Raises what the guest's instructions raise. False: attend to events and modes first.
 */
bool jit_run(struct soft_cpu *c, struct block *b);

/* The clock was just looked at: for a while host code need not come back for that. */
void jit_begin_lull(struct soft_cpu *c);

/* Behind a fault of the instruction that host code had the interpreter execute. */
void jit_unstop(struct soft_cpu *c);

/*
 * The host trapped at pc: when that is an instruction of the guest's in host code, where to go on instead,
 * with *id in R13, so that the interpreter takes the instruction and raises what is due. NULL: not ours.
 * rflags: as they were. Async-signal-safe; the vCPU's thread.
 */
const void *jit_trap(struct soft_cpu *c, uintptr_t pc, uint64_t rflags, uint32_t *id);

/*
 * For tests. After how many runs a block is translated; the largest: never (what counts them starts anew).
 * Translates b, and runs its host code alone.
 */
#define JIT_NEVER ((unsigned)UINT8_MAX)
void jit_set_hot(struct jit *, unsigned runs);
bool jit_make(struct soft_cpu *c, struct block *b);
bool jit_run_once(struct soft_cpu *c, struct block *b);
/*
 * The same, but leaves to the caller what is the interpreter's: returns how many instructions are done. Those
 * of b that are known to store to code count as done, without what follows from it.
 */
unsigned jit_try(struct soft_cpu *c, struct block *b);

#endif

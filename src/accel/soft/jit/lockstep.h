/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lockstep: the translator beside the interpreter, over a whole guest. Before a block's host code runs, it
 * runs on copies of the memory that it touches, and so does the interpreter over the same
 * instructions; then registers, flags, vectors, x87 and those copies are compared, all is put back, and the
 * block runs as ever, but alone: no block goes on to the next in host code.
 *
 * A try sees only what is in the software TLB, as host code does, so no device is touched, nothing faults,
 * and what the interpreter does is done once. For who works on the engine: -accel tcg,lockstep=on.
 * vCPU thread.
 */
#ifndef SOFT_JIT_LOCKSTEP_H
#define SOFT_JIT_LOCKSTEP_H

#include "accel/soft/cpu.h"

struct block;
struct lockstep;

/* For a new vCPU: everything is translated at once, and compared. To be put in c->lockstep. */
struct lockstep *lockstep_new(struct soft_cpu *c);
/*
 * Whether an instruction is a block by itself then: one that the interpreter does, or that cannot be done
 * twice. It is not compared.
 */
bool lockstep_alone(const struct insn *in);
/* Says how much was compared; returns NULL. */
struct lockstep *lockstep_free(struct lockstep *);

/*
 * jit_run() when c->lockstep is set. When the two differ, this is logged in full, vcpu->fail has it in short,
 * and lockstep_failed() says so from then on: the guest cannot go on.
 */
bool lockstep_run(struct soft_cpu *c, struct block *b);
bool lockstep_failed(const struct lockstep *);
/* While host code runs on copies: nothing else may be touched. */
bool lockstep_trying(const struct lockstep *);
/* Runs of blocks that were compared. */
uint64_t lockstep_compared(const struct lockstep *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine without a board for tests of the CPU engines: RAM at 0, 1..8 vCPUs, tables for flat
 * code in 16, 32 and 64 bits, and an end: HLT stops the run. Exceptions end in a handler that
 * halts, one per vector, so that a test sees which came (tvm_vector()).
 */
#ifndef TESTS_LIB_SOFT_VM_H
#define TESTS_LIB_SOFT_VM_H

#include "accel/accel.h"
#include "accel/soft/cpu.h"
#include "core/vm.h"

#define TVM_RAM	     MIB(16)
#define TVM_MAX_CPUS 8

/* Where things are in guest memory. Flat: linear = physical, below 4 GiB. */
#define TVM_GDT	     0x0600 /* selectors below */
#define TVM_IDT	     0x1000
#define TVM_HANDLERS 0x2000 /* vector v: HLT at TVM_HANDLERS + v */
#define TVM_PML4     0x3000 /* PML4, PDPT, 4 page directories of 2 MiB pages: to 0x9000 */
#define TVM_TSS	     0x9000
#define TVM_CODE     0x10000
#define TVM_STACK    0x80000  /* top; less 0x1000 per vCPU */
#define TVM_DATA     0x100000 /* free from here on */

#define TVM_SEL_CODE32	 0x08
#define TVM_SEL_DATA	 0x10
#define TVM_SEL_CODE64	 0x18
#define TVM_SEL_UCODE32	 0x23
#define TVM_SEL_UDATA	 0x2b
#define TVM_SEL_UCODE64	 0x33
#define TVM_SEL_TSS	 0x38 /* 16 bytes */

struct tvm {
	struct vm vm;
	struct map_region ram_region;
	struct ram_block *ram;
	struct vcpu *v[TVM_MAX_CPUS];
	unsigned n;
	enum vcpu_exit exit[TVM_MAX_CPUS]; /* of the last run */
	_Atomic int intr[TVM_MAX_CPUS];	   /* vector for get_intr() + 1; 0 = none */
	bool keep_halted;		   /* HLT sleeps as on a real machine */
	struct vcpu_ops ops;
};

/* Ends the test process when it cannot be made. model: NULL is "max". */
struct tvm *tvm_new(unsigned cpus, const char *model);
/* The same on another engine than soft, which must work here; tvm_cpu() is not for it. */
struct tvm *tvm_new_on(const struct accel_ops *accel, unsigned cpus, const char *model);
/* The same with memory of the engine's own (accel_ops.memory_fd). */
struct tvm *tvm_new_engines(const struct accel_ops *accel, unsigned cpus, const char *model);
/* The same with what a configuration says of the engine; conf stays the caller's. */
struct tvm *tvm_new_conf(const struct accel_ops *accel, struct vm_conf *conf);
/* Whether accel can do what conf asks: 0, or what its vm_init() fails with, and e says why. */
int tvm_try_conf(const struct accel_ops *accel, struct vm_conf *conf, struct err *e);
struct tvm *tvm_free(struct tvm *); /* returns NULL */

static inline struct soft_cpu *tvm_cpu(struct tvm *t, unsigned i)
{
	return soft_cpu(t->v[i]);
}

/*
 * Writes the tables and puts vCPU i at rip in flat code of `bits` at CPL 0 with a stack: 64-bit
 * with identity 2 MiB pages (all user, writable), 32-bit without paging, 16-bit real mode.
 */
void tvm_setup(struct tvm *, unsigned i, unsigned bits, uint64_t rip);
/* The same at CPL 3 (32 and 64 bits). */
void tvm_setup_user(struct tvm *, unsigned i, unsigned bits, uint64_t rip);
/* Applies a change of state: get, change, set. */
void tvm_get(struct tvm *, unsigned i, struct cpu_state *);
void tvm_set(struct tvm *, unsigned i, const struct cpu_state *);

/* Copies code or data into guest memory, as a DMA would. */
void tvm_put(struct tvm *, uint64_t gpa, const void *data, size_t len);
void *tvm_mem(struct tvm *, uint64_t gpa);

/* Runs vCPU i on this thread until HLT (VCPU_EXIT_INTR), or another exit. */
enum vcpu_exit tvm_run(struct tvm *, unsigned i);
/* Runs all vCPUs, a thread each, until all have stopped. */
void tvm_run_all(struct tvm *);

/* Code from an array of bytes at TVM_CODE: set up, run, on vCPU 0. */
enum vcpu_exit tvm_exec(struct tvm *, unsigned bits, const void *code, size_t len);

/* The vector whose handler vCPU i stands in (behind its HLT), or -1. */
int tvm_vector(struct tvm *, unsigned i);
/* What the 64-bit (or 32-bit) exception frame on the stack holds, error code included. */
uint64_t tvm_frame(struct tvm *, unsigned i, unsigned slot);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floating point and vectors of a vCPU: where the state lives, and the thunks that run guest
 * instructions on the host.
 *
 * Vector and mask registers live in soft_cpu.s.vec[] and s.k[]. x87/MMX state and MXCSR live in soft_cpu.s
 * until an instruction needs them; then they move to the host's own registers and stay there ("live")
 * while the vCPU's thread interprets. FIP, FDP, FOP, FCS and FDS are never taken from the host,
 * which would give addresses of ours: they are kept in s by the handlers.
 *
 * Outside fpu.c and fpstate.c nobody reads s.st, s.fcw, s.fsw, s.ftw or s.mxcsr without calling
 * fpu_spill() first. Code of the monitor that may use floating point (devices, timers) runs with
 * the host's MXCSR: fpu_host() before it.
 */
#ifndef SOFT_FPU_H
#define SOFT_FPU_H

#include "accel/soft/cpu.h"

#define FPU_LIVE_X87   0x01u
#define FPU_LIVE_MXCSR 0x02u

/*
 * What an instruction needs before it may run; a bit of fpu.ready says that all of it holds, so
 * that a handler has one test.
 */
enum fpu_need {
	FPN_NONE, /* POPCNT and the like */
	FPN_BMI,  /* VEX on general registers */
	FPN_X87, FPN_MMX,
	FPN_SSE, FPN_SSE_MX /* with MXCSR */, FPN_SSE_MM /* with MXCSR and MMX registers */,
	FPN_AVX, FPN_AVX_MX,
	FPN_EVEX, FPN_EVEX_MX, /* and mask registers */
	FPN_FXSAVE, FPN_XSAVE,
	FPN_WAIT,
};

struct thunks;

struct fpu {
	uint16_t ready; /* bit fpu_need: neither forbidden now nor waiting for state to be live */
	uint8_t live;	/* FPU_LIVE_* */
	uint64_t ready_key; /* what ready was made from; 0: nothing */
	uint8_t fault_trap; /* host trap number of a thunk's fault */
	uint32_t host_mxcsr;
	struct thunks *thunks;
	/* for operands that are not plain RAM in one page, at the same place in 16 bytes */
	uint8_t bounce[64 + 16] __attribute__((aligned(64)));
	/* legacy region and header of an XSAVE image, to load and store x87 */
	uint8_t image[1024] __attribute__((aligned(64)));
};

/*
 * Declared in cpu.h:
 * fpu_new(): for a new vCPU, to be put in c->fpu; sets power-on values in s. NULL: e says why.
 * fpu_sync_out() brings s up to date and leaves nothing live; on the vCPU's thread only.
 * fpu_sync_in(): s has new contents; what was live is dropped.
 */
/* Power-on and INIT values of x87, vectors and MXCSR (INIT leaves them alone: do not call). */
void fpu_reset(struct soft_cpu *);

/* On the vCPU's thread, around the interpretation: run() calls them first and last. */
void fpu_enter(struct soft_cpu *);
void fpu_leave(struct soft_cpu *);
/* The process's handlers for what host code may raise; fpu_new() calls it. */
int fpu_catch_traps(struct err *e) MUST_CHECK;
/* Brings s up to date; nothing is live afterwards. */
void fpu_spill(struct soft_cpu *);
/* After CR0, CR4, XCR0 or EFLAGS.VM changed: cpu_mode_changed() calls it. */
void fpu_mode_changed(struct soft_cpu *);

void fpu_unlive_mxcsr(struct soft_cpu *);
/* Before code of the monitor that may use floating point. */
static inline void fpu_host(struct soft_cpu *c)
{
	if (c->fpu->live & FPU_LIVE_MXCSR)
		fpu_unlive_mxcsr(c);
}

/* Slow path of fpu_need: raises #UD or #NM, or makes the state live. */
void fpu_prepare(struct soft_cpu *, enum fpu_need);
static inline void fpu_require(struct soft_cpu *c, enum fpu_need need)
{
	if (unlikely(!(c->fpu->ready >> need & 1)))
		fpu_prepare(c, need);
}
/* MXCSR as it is now. */
uint32_t fpu_mxcsr(const struct soft_cpu *);
/* The vector that an instruction of this need raises now, or -1. */
int fpu_denied(const struct soft_cpu *, enum fpu_need);

/*
 * thunk.c. A thunk runs one guest instruction with its register operands taken from and put to
 * where the pointers say: reg and rm as the ModRM fields (rm also memory), vvvv of VEX, is4 the
 * register in imm8[7:4] or the mask of EVEX. Implicit operands and flags are taken from the cpu. All
 * encodings that differ in registers, displacement or segment only share one thunk.
 */
typedef void (*thunk_fn)(void *reg, void *rm, void *vvvv, void *is4, struct soft_cpu *);

/* zmm: registers are of 64 bytes, so that VEX instructions have to clear the upper half of them. */
struct thunks *thunks_new(bool zmm, struct err *e);
struct thunks *thunks_free(struct thunks *); /* returns NULL */
/* The thunk of a decoded instruction at bytes[], or NULL: no room, or it cannot be one. */
thunk_fn thunk_get(struct thunks *, const struct insn *, const uint8_t *bytes, unsigned bits);
/* Whether n more are certain to fit. */
bool thunks_have_room(const struct thunks *, unsigned n);
/* Forgets all of them: no decoded instruction may be left that has one. */
void thunks_flush(struct thunks *);
/* Memory in use. */
size_t thunks_bytes(const struct thunks *);
/* Whether a host code address is in a thunk. */
bool thunks_contain(const struct thunks *, uintptr_t pc);

/* fpstate.c: XINUSE of XCR0's components, as XGETBV(1) shows it. */
uint64_t fpu_xinuse(struct soft_cpu *);

#define FXSAVE_SIZE 512
#define MXCSR_MASK  0xffffu
#define MXCSR_INIT  0x1f80u
#define MXCSR_MASKS 0x1f80u /* of all exceptions */

#endif

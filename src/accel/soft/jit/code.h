/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the translator share: the code memory, the routines at its front, and the
 * conventions of host code (jit.h).
 */
#ifndef SOFT_JIT_CODE_H
#define SOFT_JIT_CODE_H

#include "accel/soft/jit/asm.h"
#include "accel/soft/jit/jit.h"
#include "accel/soft/jit/perf.h"

/* Scratch registers and the vCPU's structure. */
enum { T = H_R11, ENT = H_R13, EA = H_R14, ENV = H_R15 };

/*
 * ENV is in the middle of what host code uses most, so that a byte of displacement gets there: code of a
 * compiler is more than the host's caches hold, and its size counts.
 */
#define ENV_AT	   (offsetof(struct soft_cpu, r[8]) + 128)
_Static_assert(offsetof(struct soft_cpu, spots[2]) <= ENV_AT + 128, "near ENV");
/* A field of soft_cpu as a displacement. */
#define OFF(field) ((int32_t)(offsetof(struct soft_cpu, field) - ENV_AT))
#define OFF_R(n)   (OFF(r) + 8 * (int32_t)(n))

/* A field of a TLB entry, from the entry of the same index for reads (which ENT is). */
#define TLB_OFF(kind, field) \
	((int32_t)((kind) * TLB_SIZE * sizeof(struct tlb_entry) + offsetof(struct tlb_entry, field)))
/* The same of its struct tlb_more. */
#define TLB_MORE(kind, field)                                                                   \
	((int32_t)(offsetof(struct soft_tlb, more) + (kind) * TLB_SIZE * sizeof(struct tlb_more) + \
		   offsetof(struct tlb_more, field)))
/* An address shifted by so much has its entry's offset in bits TLB_MASK. */
#define TLB_SHIFT (12 - 4)
#define TLB_MASK  ((int32_t)((TLB_SIZE - 1) << 4))
_Static_assert(sizeof(struct tlb_entry) == 1 << 4, "the shift");

/*
 * The host register that a guest register is in, or -1: in memory. Compilers use R12 to R14 twice as often as
 * R8 to R10.
 */
static inline int host_reg(unsigned guest)
{
	static const int8_t homes[16] = {
		H_RAX, H_RCX, H_RDX, H_RBX, H_R12, H_RBP, H_RSI, H_RDI, -1, -1, -1, -1, H_R8, H_R9, H_R10, -1,
	};

	return guest < ARRAY_SIZE(homes) ? homes[guest] : -1;
}

/*
 * soft_cpu.hc.vec_live. When all upper halves are zero they are made so by VZEROUPPER, as the guest
 * most likely had them: on many processors old SSE instructions are slow while one was loaded.
 * From the first AVX-512 instruction on, or when the upper halves of ZMM0 to 15 are not zero, all 32 and the
 * mask registers are the host's.
 */
enum { JIT_VEC_NONE, JIT_VEC_YMM, JIT_VEC_XMM, JIT_VEC_ZMM, JIT_VEC_ZMM_LOW /* beside it as XMM */ };

typedef unsigned (*jit_enter_fn)(struct soft_cpu *, const void *code);

/* Routines at the front of the code memory; addresses in the writable mapping. */
struct jit_routines {
	/*
	 * The way in, and to the guest's address in EA; with the flags in c->fl, for the block to get. From
	 * instruction T, which faults if no code can be there.
	 */
	uint8_t *enter, *lookup, *lookup_from;
	uint8_t *link; /* the same by jit_link(); its site in T, its id in ENT */
	uint8_t *exit_off;   /* JIT_POLL at page offset ENT (signed) */
	uint8_t *exit_link;  /* JIT_LINK at page offset ENT, site in T; flags are the host's */
	uint8_t *exit_bail;  /* id in ENT */
	uint8_t *exit_store; /* id in ENT, linear address in EA */
	uint8_t *exit_vec;   /* id in ENT, where to resume in T */
	/*
	 * Fills the spot at ENT from the TLB for address EA, less T. ZF: done, and EA is as its place wants
	 * it. Else the interpreter is due; jr.restless says whether the spot is no use.
	 */
	uint8_t *fill[2][2]; /* write, flat */
	uint8_t *cold;	     /* JIT_RIP at the address in EA */
	/*
	 * Instruction ENT is the interpreter's, the rest is not: step is called and comes back behind it, or
	 * goes where it leads; step_end is jumped to. Flags are in c->fl, before and behind.
	 */
	uint8_t *step, *step_end;
	/* Called: step where an access is not in one page. Flags and vectors stay the host's. */
	uint8_t *step_over;
	/* Called: gets EA into the TLB for reads or writes; ZF: cannot be. T and ENT are clobbered. */
	uint8_t *miss[2];
	uint8_t *leave_rip, *leave_poll, *leave_bail; /* JIT_RIP, JIT_POLL, JIT_BAIL, all in place */
	uint8_t *poll;	   /* JIT_POLL at the address in EA, flags in c->fl */
	/* Called where poll is 0. ZF: nothing is due, and it counts down anew. Registers stay. */
	uint8_t *lull;
	uint8_t *careful;  /* jit_careful() from instruction ENT on; site in T */
	uint8_t *unpaired; /* RET T to EA, which is not where the last CALL said: lookup */
};

/*
 * Where a block's host code is, for traps of the host inside it: in front of the code's end there is a word
 * for each instruction, see jit_pc_word().
 */
struct jit_span {
	uint32_t start, pcs; /* offsets in the code memory: first byte; words of 16 bits */
	uint32_t id;	     /* of the block's first instruction */
};
#define JIT_PC_MAX 0x7fff
/* Offset behind an instruction's code, from the block's first byte; and whether flags are in EFLAGS. */
static inline uint16_t jit_pc_word(size_t end, bool host_flags)
{
	return (uint16_t)(end | (host_flags ? 0x8000 : 0));
}

struct jit {
	uint8_t *rw, *rx; /* the same memory */
	struct jit_span *spans; /* by start */
	unsigned nr_spans;
	size_t used, first; /* first: behind the routines */
	size_t cold;	    /* as used, of the part from JIT_COLD on */
	size_t ahead, ahead_cold; /* what of them the host has given beforehand */
	unsigned nr_spots;
	bool reused;
	unsigned hot; /* executions by the interpreter before a block is worth host code */
	bool eager;   /* all code is made as that of loops */
	bool bmi2;    /* the host has RORX */
	struct jit_perf *perf; /* or NULL */
	unsigned sample; /* ways in until one is timed */
	struct jit_routines go;
};

/* Where host code is to be written to. */
static inline uint8_t *jit_writable(const struct jit *j, const void *code)
{
	return j->rw + ((const uint8_t *)code - j->rx);
}

#define JIT_CODE_SIZE  MIB(128)
/*
 * From here on is what blocks seldom come to, about as much as the rest: beside each other it would have half
 * of the host's cache lines and pages of code.
 */
#define JIT_COLD       (JIT_CODE_SIZE / 2)
#define JIT_BLOCK_ROOM KIB(192) /* more than the largest block takes */
#define JIT_SPANS      KIB(512)

/* routines.c: writes them; j->used is behind them. */
void jit_put_routines(struct jit *);
/* flags of the host to c->fl and back; the first uses `scratch`, the second too. */
void jit_put_flags_out(struct as *, unsigned scratch);
void jit_put_flags_in(struct as *, unsigned scratch);

/*
 * Looks for the address in EA in the jump cache: an entry made under this paging and mode, of a block that is
 * still valid. ENT is the entry then, to whose code jit_put_go() goes; or goes by the jumps at these places
 * with EA as it was, the last one as jit_put_poll()'s. Clobbers ENT and T.
 */
enum jit_whose { JIT_ANY, JIT_LOCAL, JIT_GLOBAL }; /* pages: other entries are not taken */
#define JIT_LOOKUP_MISSES 4
unsigned jit_put_lookup(struct as *a, enum jit_whose, uint8_t *miss[JIT_LOOKUP_MISSES]);
void jit_put_go(struct as *a, bool call);

/* Counts down soft_cpu.poll: returns the place of a jump, which with CC_E is taken at 0. */
uint8_t *jit_put_poll(struct as *, unsigned cc);

/* Compares soft_cpu.hc.vec_live with a JIT_VEC_*. */
void jit_put_vec_test(struct as *, unsigned value);

/*
 * step.c: executes an instruction by the interpreter's handler. NULL: host code goes on behind it; else where
 * it goes on, with the flags in c->fl. Raises what the instruction raises.
 */
const void *jit_step(struct soft_cpu *c, uint32_t id);
const void *jit_step_over(struct soft_cpu *c, uint32_t id);
/*
 * step.c: host code at c->rip, which the jump cache does not know; or the way out. Raises what fetching
 * raises.
 */
const void *jit_find(struct soft_cpu *c);
/*
 * xlat.c: host code for the block of hc.id, from that instruction on, whose accesses are looked up one by
 * one, as they are not in one page or there is code in it. jr.site goes there from now on.
 */
const void *jit_careful(struct soft_cpu *c);
/* xspot.c: the place of a spot does without from here on; id: of its instruction. */
void jit_settle(struct soft_cpu *c, uint32_t spot, uint32_t id);
/* step.c: whether lin is in the software TLB now, for accesses of enum tlb_kind. */
bool jit_miss(struct soft_cpu *c, uint64_t lin, unsigned kind);

/*
 * Vector registers are in memory for a moment, and go back as hc.vec_live says: upper halves that were zero
 * when they came to the host's may not be any more.
 */
void jit_vecs_lent(struct soft_cpu *c);

/* longer.c: b with what most likely follows it, to be translated in its place; or b. */
struct block *jit_longer(struct soft_cpu *c, struct block *b);
/* hot.c: b, which has host code, is where the clock was looked at. */
void jit_sample(struct soft_cpu *c, struct block *b);
/* jit.c: what it was, from b's host code. */
struct block *jit_whole(struct soft_cpu *c, const struct block *b);
/* xlat.c: host code for b; false: not worth it, or not possible. lin: an address in its page, for perf. */
bool jit_translate(struct soft_cpu *c, struct jit *j, struct block *b, uint64_t lin);
/* The same in place of the host code that it has. */
bool jit_translate_again(struct soft_cpu *c, struct jit *j, struct block *b, uint64_t lin);

/* link.c: a link that nobody has. */
unsigned jit_new_link(struct soft_cpu *c);
/*
 * link.c: as jit_find(), for the jump at jr.site (with LINK_WAY: by way of a register or memory), which
 * knows the way from here on. hc.id: its instruction, or JIT_NO_ID where it cannot fault.
 */
const void *jit_link(struct soft_cpu *c);
#define LINK_WAY   BIT32(31)
#define LINKS_ROOM 256u /* in front of a flush */

/* Offsets of what link.c fills in, from a jump's first byte (xlink.c), and where it ends. */
enum { FAR_FROM = 7, FAR_GEN_AT = 20, FAR_GEN = 28, FAR_TO = 47, FAR_SIZE = 51 };
enum { WAY_FROM = 3, WAY_GEN = 23, WAY_TO = 45, WAY_SIZE = 49 };
#define LINK_OFF(n, field) \
	(OFF(links) + (int32_t)((n) * sizeof(struct link) + offsetof(struct link, field)))

#define JIT_NO_ID UINT32_MAX

/* Which instruction of which block, in 32 bits: LONG_MAX is below 256, blocks are at multiples of 64. */
static inline uint32_t jit_id(const struct block_cache *bc, const struct block *b, unsigned i)
{
	return (uint32_t)(((uintptr_t)b - (uintptr_t)bc->arena) >> 6 << 8) | i;
}
static inline struct block *jit_id_block(const struct block_cache *bc, uint32_t id)
{
	return (struct block *)(bc->arena + ((size_t)(id >> 8) << 6));
}
static inline unsigned jit_id_insn(uint32_t id)
{
	return id & 0xff;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of decoded instructions: a per-vCPU cache keyed by the physical address of the first byte
 * and by what decoding depends on (mode_key). A block ends with its page, at a branch, at an
 * instruction that changes what decoding depends on, behind the one that follows STI, or after BLOCK_MAX
 * instructions.
 *
 * Validity: ram.h's code watch. A block keeps the generation its page had before it was decoded;
 * a block whose page has another generation now is void. An instruction that crosses into the next
 * page is a block by itself and keeps both pages' generations and addresses.
 */
#ifndef SOFT_BLOCK_H
#define SOFT_BLOCK_H

#include "accel/soft/cpu.h"

#define BLOCK_MAX 32
#define LONG_MAX  127 /* the same of those that block_join() makes */

/* Finding a block that was not used for long waits for memory: what that looks at is in one cache line. */
struct block {
	_Alignas(64) _Atomic uint32_t *gen_at; /* the page's generation word */
	_Atomic uint32_t *gen2_at; /* of the second page; the same as gen_at when there is none */
	uint32_t gen, gen2;
	uint32_t key;	 /* mode_key */
	uint16_t nr;	 /* instructions */
	uint16_t bytes;	 /* of guest code */
	uint64_t gpa;
	struct block *hash_next;
	const void *code; /* host code, or NULL */
	bool crosses;	 /* into a second page */
	bool check;	 /* its last instruction may have changed what the run loop looks at */
	bool kept;	 /* in the cache */
	bool looped;	 /* its host code is for a loop that much time is spent in */
	uint8_t runs;	 /* by the interpreter, up to where the translator looks at it */
	uint8_t left;	 /* the instruction that host code leaves to the interpreter, if any */
	int16_t skip;	 /* to host code for who comes from the same page, with flags in the host's */
	uint64_t gpa2;	 /* of the second page */
	uint64_t roams[2]; /* bits of instructions whose accesses are in another page each time */
	bool roamed;	 /* one more since its host code was made */
	bool wanders;	 /* its last instruction jumps to many places */
	uint16_t near[NEAR]; /* some of these that are in its page: offset + 1; 0: no more */
	struct insn in[]; /* nr of them and one that leaves the block; then the code's bytes */
};
_Static_assert(offsetof(struct block, gpa2) <= 64, "one cache line");

/* The code that a block was made of. */
static inline const uint8_t *block_bytes(const struct block *b)
{
	return (const uint8_t *)&b->in[b->nr + 1];
}

static inline bool block_valid(const struct block *b)
{
	return likely(atomic_load_explicit(b->gen_at, memory_order_relaxed) == b->gen) &&
	       likely(atomic_load_explicit(b->gen2_at, memory_order_relaxed) == b->gen2);
}

/* A compiler goes through tens of thousands of blocks again and again. */
#define JUMP_CACHE_BITS 16
#define JUMP_CACHE_SIZE (1u << JUMP_CACHE_BITS)

/* What host code looks at on its way, but for the generation itself: a cache line. */
struct jump_entry {
	_Alignas(64) uint64_t lin;
	uint64_t stamp;
	_Atomic uint32_t *gen_at; /* gen_at, gen: the block's */
	uint32_t gen;
	const void *code; /* the block's, or the translator's way out */
	uint64_t page;	  /* lin's, as soft_cpu.r[R_PC] has it */
};

struct block_cache {
	struct jump_entry jump[JUMP_CACHE_SIZE];
	struct block *jump_block[JUMP_CACHE_SIZE]; /* whose each entry is */
	struct block **hash;
	uint8_t *arena;
	size_t used, ahead; /* of the arena; with what the host has given for it beforehand */
	uint64_t flushes; /* how often all blocks went */
};

/* NULL with e set when the host has no memory. */
struct block_cache *block_cache_new(struct err *e);
struct block_cache *block_cache_free(struct block_cache *); /* returns NULL */

/* Forgets all decoded and translated code. Between blocks. */
void block_cache_flush(struct soft_cpu *, enum code_why);
/* Of decoded code, and of finding it; of what was mapped, not more than what was touched. */
size_t block_cache_bytes(const struct block_cache *);

/*
 * Gives the memory of all decoded code back to the host. For a vCPU that is about to sleep for
 * long: what it runs when it wakes is decoded again within a millisecond.
 */
bool block_cache_trim(struct soft_cpu *);

/* Functions begin at multiples of 16, returns anywhere: all of the lower 48 bits count. */
#define JUMP_HASH_FACTOR 0x9e3779b1u /* as a signed number */
#define JUMP_HASH_SHIFT	 32

static inline unsigned jump_index(uint64_t lin)
{
	uint64_t h = lin * (uint64_t)(int32_t)JUMP_HASH_FACTOR;

	return (unsigned)(h >> JUMP_HASH_SHIFT) & (JUMP_CACHE_SIZE - 1);
}

/*
 * The block at c->rip: from the cache, or decoded now. Raises what fetching raises (c->cur must
 * be NULL). Fills the jump cache.
 */
struct block *block_find_slow(struct soft_cpu *c, uint64_t lin);

/* The block of an entry for lin and a stamp, if that is what there is. */
static inline struct block *jump_find(const struct block_cache *bc, uint64_t lin, uint64_t stamp)
{
	unsigned i = jump_index(lin);
	const struct jump_entry *j = &bc->jump[i];

	if (likely(j->lin == lin && j->stamp == stamp && block_valid(bc->jump_block[i])))
		return bc->jump_block[i];
	return NULL;
}

static inline struct block *block_find(struct soft_cpu *c)
{
	uint64_t lin = c->rip + c->segbase[SEG_CS];
	struct block *b = jump_find(c->blocks, lin, c->stamp);

	return likely(b) ? b : block_find_slow(c, lin);
}

/*
 * Whether the entry that lin has in the jump cache is valid, be it only now, as its page is where it was:
 * a flush of the TLB, or another process of the same program, leaves most of them. Raises what fetching
 * raises.
 */
bool jump_renew(struct soft_cpu *c, uint64_t lin);
/* Forgets the entries of a page. */
void jump_drop_page(struct soft_cpu *c, uint64_t lin);

/* The block at a page offset of b's page, if it is known and as old as b; else NULL. */
struct block *block_known(struct soft_cpu *c, const struct block *b, unsigned off);
/* So many blocks, one behind the other, are looked at for who reads status flags. */
#define LIVE_DEPTH 3

/*
 * Makes one of blocks that follow each other in a page, where each begins where the one before it goes on:
 * by itself, by its branch, or by not taking that. Their instructions may be anywhere in the page, also more
 * than once. It is nowhere but in the arena, and as old as the first; the interpreter does not run it from
 * its first instruction on. NULL: there is no room.
 */
struct block *block_join(struct soft_cpu *c, const struct block *const *parts, unsigned n);

/*
 * To be called after a store that hit decoded code: when it was the executing block's, the
 * instructions behind the current one are replaced by one that leaves the block.
 */
void block_check_current(struct soft_cpu *c);

/* bind.c: chooses in->fn for a decoded instruction. bytes: its encoding. */
void bind_insn(struct soft_cpu *, struct insn *in, const uint8_t *bytes);
/* Leaves the block in front of in. */
const struct insn *exec_leave(struct soft_cpu *, const struct insn *in);
const struct insn *exec_ud(struct soft_cpu *, const struct insn *in);
const struct insn *exec_gp0(struct soft_cpu *, const struct insn *in);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear memory, the fast path: a hit in the software TLB is one compare, one add and the host's
 * own load or store of the full width (so x86 memory order holds by itself). Everything else is in
 * mmu.c. Private to the interpreter core.
 */
#ifndef SOFT_MMU_H
#define SOFT_MMU_H

#include "accel/soft/cpu.h"
#include "accel/soft/block.h"
#include "mem/map.h"

#define PAGE_OFF  0xfffull
#define PAGE_ADDR (~PAGE_OFF)

/* Guest memory at any alignment, aliasing everything; volatile: exactly one access, in order. */
typedef volatile uint8_t __attribute__((may_alias)) gmem8;
typedef volatile uint16_t __attribute__((may_alias, aligned(1))) gmem16;
typedef volatile uint32_t __attribute__((may_alias, aligned(1))) gmem32;
typedef volatile uint64_t __attribute__((may_alias, aligned(1))) gmem64;

/* tlb_entry.gpa, low bits */
#define TLBE_GLOBAL 1u
#define TLBE_LARGE  2u

static inline struct tlb_entry *tlb_slot(struct soft_tlb *t, enum tlb_kind kind, uint64_t lin)
{
	return &t->e[kind][(lin >> 12) & (TLB_SIZE - 1)];
}

/* Which of soft_cpu.tlbs[] is of a privilege, now. */
static inline unsigned tlb_array(const struct soft_cpu *c, enum tlb_priv priv)
{
	return priv == TLB_USER ? TLB_USER + c->context : priv;
}

/* Pages that have entries in the jump cache since mmu_new_generation(), and some that have none. */
static inline unsigned jump_page_bit(uint64_t lin)
{
	return (unsigned)((lin >> 12) * 0x9e3779b97f4a7c15ull >> 32) & (JUMP_PAGES - 1);
}
static inline void jump_page_note(struct soft_cpu *c, uint64_t lin)
{
	c->jump_pages[jump_page_bit(lin) / 64] |= BIT64(jump_page_bit(lin) % 64);
}
static inline bool jump_page_seen(const struct soft_cpu *c, uint64_t lin)
{
	return c->jump_pages[jump_page_bit(lin) / 64] >> (jump_page_bit(lin) % 64) & 1;
}

/* The compare takes the last byte's page: an access that crosses never matches its slot. */
static inline bool tlb_hit(const struct tlb_entry *e, uint64_t lin, unsigned size)
{
	return likely(e->tag == ((lin + size - 1) & PAGE_ADDR));
}

/* A store went to a page of which some lines hold decoded code. */
void mmu_code_write(struct soft_cpu *, const struct tlb_entry *, uint64_t lin, unsigned size);

static inline void mmu_stored(struct soft_cpu *c, const struct tlb_entry *e, uint64_t lin,
			      unsigned size)
{
	atomic_signal_fence(memory_order_seq_cst);
	if (unlikely(atomic_load_explicit(tlb_more(e)->watch, memory_order_relaxed)))
		mmu_code_write(c, e, lin, size);
}

#define MMU_ACCESSORS(bits)                                                              \
	static inline uint##bits##_t ld##bits(struct soft_cpu *c, uint64_t lin)          \
	{                                                                                \
		const struct tlb_entry *e = tlb_slot(c->tlb, TLB_READ, lin);             \
                                                                                         \
		if (tlb_hit(e, lin, bits / 8))                                           \
			return *(gmem##bits *)(uintptr_t)(lin + e->addend);              \
		return (uint##bits##_t)mmu_ld_slow(c, lin, bits / 8);                    \
	}                                                                                \
	static inline void st##bits(struct soft_cpu *c, uint64_t lin, uint##bits##_t v)  \
	{                                                                                \
		const struct tlb_entry *e = tlb_slot(c->tlb, TLB_WRITE, lin);            \
                                                                                         \
		if (tlb_hit(e, lin, bits / 8)) {                                         \
			*(gmem##bits *)(uintptr_t)(lin + e->addend) = v;                 \
			mmu_stored(c, e, lin, bits / 8);                                 \
		} else {                                                                 \
			mmu_st_slow(c, lin, v, bits / 8);                                \
		}                                                                        \
	}

MMU_ACCESSORS(8)
MMU_ACCESSORS(16)
MMU_ACCESSORS(32)
MMU_ACCESSORS(64)

static inline uint64_t mmu_ld(struct soft_cpu *c, uint64_t lin, unsigned size)
{
	switch (size) {
	case 1:
		return ld8(c, lin);
	case 2:
		return ld16(c, lin);
	case 4:
		return ld32(c, lin);
	default:
		return ld64(c, lin);
	}
}

static inline void mmu_st(struct soft_cpu *c, uint64_t lin, uint64_t v, unsigned size)
{
	switch (size) {
	case 1:
		st8(c, lin, (uint8_t)v);
		break;
	case 2:
		st16(c, lin, (uint16_t)v);
		break;
	case 4:
		st32(c, lin, (uint32_t)v);
		break;
	default:
		st64(c, lin, v);
		break;
	}
}

/* Where a page of linear memory is. */
struct mmu_page {
	uint64_t gpa;  /* of the byte asked for */
	uint8_t *host; /* its host address, NULL: not plain memory for this access */
	struct ram_block *rb;
	uint64_t rb_off;
};

/* walk.c: the result of a page walk. */
struct walk {
	uint64_t gpa; /* of the byte */
	bool global, large, dirty, writable;
};
/*
 * Walks the page tables for an access, sets A and D. Returns -1 when it may be done, else the
 * error code of the #PF. set_ad false: no A/D update (debuggers).
 */
int walk_pages(struct soft_cpu *, uint64_t lin, enum tlb_kind kind, enum tlb_priv priv, bool set_ad,
	       struct walk *w);
uint64_t paging_key(const struct soft_cpu *);

/* Translates lin for an access at priv, fills the TLB, raises the faults. */
void mmu_xlat(struct soft_cpu *, uint64_t lin, enum tlb_kind kind, enum tlb_priv priv,
	      struct mmu_page *pg);
/*
 * For an access of the current privilege that missed: true: it would hit now. False: it faults, or is not
 * for the TLB.
 */
bool mmu_fill(struct soft_cpu *, uint64_t lin, enum tlb_kind kind);
/* The slow path for stack accesses: not canonical is #SS. */
uint64_t mmu_ld_stack(struct soft_cpu *, uint64_t lin, unsigned size);
void mmu_st_stack(struct soft_cpu *, uint64_t lin, uint64_t val, unsigned size);
/* Raises what an access would. */
void mmu_probe(struct soft_cpu *, uint64_t lin, unsigned size, bool write);
void *mmu_ptr_slow(struct soft_cpu *, uint64_t lin, unsigned size, bool write);
enum tlb_priv mmu_priv(const struct soft_cpu *);
/* Whether the current instruction addresses the stack segment with its ModRM operand (64 bits). */
bool mmu_insn_uses_stack(const struct soft_cpu *);
bool mmu_canonical(const struct soft_cpu *, uint64_t lin);

/* tlb.c */
int mmu_init(struct soft_cpu *);
/* Gives the memory of the TLB back to the host: a flush of everything. */
void mmu_trim(struct soft_cpu *);
/* Makes the jump cache stale, all of it. */
void mmu_new_generation(struct soft_cpu *);
void mmu_fini(struct soft_cpu *);
void tlb_fill(struct soft_cpu *, enum tlb_kind kind, enum tlb_priv priv, uint64_t lin,
	      const struct walk *w, const struct mmu_page *pg);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the handlers (exec_*.c) are made of.
 *
 * A handler that goes on calls the next instruction's handler as a tail call, which compilers turn
 * into a jump; where they do not (no optimisation, sanitizers) the stack grows by at most a block's
 * length. A handler that ends the block sets rip and returns NULL.
 */
#ifndef SOFT_EXEC_H
#define SOFT_EXEC_H

#include "accel/soft/cpu.h"
#include "accel/soft/mmu.h"

/* Zeroing the used registers on each return (a hardening flag) costs a third of the speed here. */
#if defined(__has_attribute)
#if __has_attribute(zero_call_used_regs)
#define HANDLER_ATTR __attribute__((zero_call_used_regs("skip"), hot))
#endif
#endif
#ifndef HANDLER_ATTR
#define HANDLER_ATTR __attribute__((hot))
#endif
#define HANDLER(name) \
	HANDLER_ATTR static const struct insn *name(struct soft_cpu *c, const struct insn *in)

#define NEXT()                                   \
	do {                                     \
		c->cur = in + 1;                 \
		return in[1].fn(c, in + 1);      \
	} while (0)

#define END_BLOCK(new_rip)          \
	do {                        \
		c->rip = (new_rip); \
		return NULL;        \
	} while (0)

/* Register writes by width: 32 bits clear the upper half. */
#define SETR8(c, off, v)  (R8(c, off) = (uint8_t)(v))
#define SETR16(c, off, v) (R16(c, off) = (uint16_t)(v))
#define SETR32(c, off, v) (R64(c, off) = (uint32_t)(v))
#define SETR64(c, off, v) (R64(c, off) = (uint64_t)(v))

static inline uint64_t reg_get(struct soft_cpu *c, unsigned off, unsigned size)
{
	switch (size) {
	case 1:
		return R8(c, off);
	case 2:
		return R16(c, off);
	case 4:
		return R32(c, off);
	default:
		return R64(c, off);
	}
}

static inline void reg_set(struct soft_cpu *c, unsigned off, unsigned size, uint64_t v)
{
	switch (size) {
	case 1:
		SETR8(c, off, v);
		break;
	case 2:
		SETR16(c, off, v);
		break;
	case 4:
		SETR32(c, off, v);
		break;
	default:
		SETR64(c, off, v);
		break;
	}
}

/* 64-bit mode, 64-bit addressing: all of base, index, displacement and FS/GS, branch-free. */
static inline uint64_t ea_fast(struct soft_cpu *c, const struct insn *in)
{
	return R64(c, in->base) + (R64(c, in->index) << in->scale) + (uint64_t)(int64_t)in->disp +
	       c->segbase[in->seg];
}

static inline bool ea_is_fast(const struct insn *in)
{
	return !(in->flags & (INSN_A32 | INSN_A16 | INSN_SEGCK));
}

/* The offset in the segment, with extra added before it is cut to the address size. */
static inline uint64_t ea_offset(struct soft_cpu *c, const struct insn *in, uint64_t extra)
{
	uint64_t ea = R64(c, in->base) + (R64(c, in->index) << in->scale) +
		      (uint64_t)(int64_t)in->disp + extra;

	if (in->flags & INSN_A16)
		return (uint16_t)ea;
	if (in->flags & INSN_A32)
		return (uint32_t)ea;
	return ea;
}

/* Any mode. */
static inline uint64_t ea_linear(struct soft_cpu *c, const struct insn *in, uint64_t off,
				 unsigned size, bool write)
{
	if (in->flags & INSN_SEGCK)
		return seg_linear(c, in->seg, off, size, write);
	return c->segbase[in->seg] + off;
}

static inline uint64_t ea_any(struct soft_cpu *c, const struct insn *in, unsigned size, bool write)
{
	return ea_linear(c, in, ea_offset(c, in, 0), size, write);
}

/* The two forms as macros for handler templates. */
#define EA_F(c, in, size, write) ea_fast(c, in)
#define EA_G(c, in, size, write) ea_any(c, in, size, write)

/* Read-modify-write without LOCK: expr makes the new value of old_ (uintN_t). */
#define MEM_RMW(bits, lin, expr)                                                         \
	do {                                                                             \
		const uint64_t lin_ = (lin);                                             \
		const struct tlb_entry *e_ = tlb_slot(c->tlb, TLB_WRITE, lin_);          \
		uint##bits##_t old_;                                                     \
                                                                                         \
		if (tlb_hit(e_, lin_, bits / 8)) {                                       \
			gmem##bits *p_ = (gmem##bits *)(uintptr_t)(lin_ + e_->addend);   \
			old_ = *p_;                                                      \
			*p_ = (expr);                                                    \
			mmu_stored(c, e_, lin_, bits / 8);                               \
		} else {                                                                 \
			mmu_probe_write(c, lin_, bits / 8);                              \
			old_ = (uint##bits##_t)mmu_ld_slow(c, lin_, bits / 8);           \
			mmu_st_slow(c, lin_, (expr), bits / 8);                          \
		}                                                                        \
	} while (0)

/* lock cmpxchg: true when *p was old and is now new; else old is what it was. */
#define DEFINE_CAS(bits, sfx)                                                            \
	static inline bool cas##bits(volatile void *p, uint##bits##_t *old,              \
				     uint##bits##_t now)                                 \
	{                                                                                \
		bool ok;                                                                 \
                                                                                         \
		asm volatile("lock cmpxchg" sfx " %[now], %[mem]"                        \
			     : "=@ccz"(ok), "+a"(*old),                                  \
			       [mem] "+m"(*(gmem##bits *)p)                              \
			     : [now] "r"(now)                                            \
			     : "memory");                                                \
		return ok;                                                               \
	}
DEFINE_CAS(8, "b")
DEFINE_CAS(16, "w")
DEFINE_CAS(32, "l")
DEFINE_CAS(64, "q")

/*
 * Host address for a locked access, or NULL. A lock across two cache lines is not done on the
 * host either: some hosts kill the process for it.
 */
static inline void *lock_ptr(struct soft_cpu *c, uint64_t lin, unsigned size)
{
	void *p = mmu_ptr(c, lin, size, true);

	return (lin & 63) + size > 64 ? NULL : p;
}

/*
 * LOCKed read-modify-write: a compare-and-exchange loop on the host's memory; where that is not
 * possible (page crossing, devices) with the world stopped. expr may set flags each time it is
 * evaluated: the last one counts.
 */
#define MEM_LOCKED(bits, lin, expr)                                                      \
	do {                                                                             \
		const uint64_t lin_ = (lin);                                             \
		void *p_ = lock_ptr(c, lin_, bits / 8);                             \
		uint##bits##_t old_, now_;                                               \
                                                                                         \
		if (likely(p_ != NULL)) {                                                \
			old_ = *(gmem##bits *)p_;                                        \
			do {                                                             \
				now_ = (uint##bits##_t)(expr);                           \
			} while (!cas##bits(p_, &old_, now_));                           \
			mmu_wrote(c, lin_, bits / 8);                                    \
		} else {                                                                 \
			mmu_probe_write(c, lin_, bits / 8);                              \
			cpu_exclusive_begin(c);                                          \
			old_ = (uint##bits##_t)mmu_ld_slow(c, lin_, bits / 8);           \
			now_ = (uint##bits##_t)(expr);                                   \
			mmu_st_slow(c, lin_, now_, bits / 8);                            \
			cpu_exclusive_end(c);                                            \
		}                                                                        \
	} while (0)

/* Whether condition cc (0..15, as in Jcc) holds. */
static inline bool fl_cond(uint32_t fl, unsigned cc)
{
	bool r;

	switch (cc >> 1) {
	case 0:
		r = fl & FL_OF;
		break;
	case 1:
		r = fl & FL_CF;
		break;
	case 2:
		r = fl & FL_ZF;
		break;
	case 3:
		r = fl & (FL_CF | FL_ZF);
		break;
	case 4:
		r = fl & FL_SF;
		break;
	case 5:
		r = fl & FL_PF;
		break;
	case 6:
		r = (fl >> 15 ^ fl) & 1;
		break;
	default:
		r = ((fl >> 15 ^ fl) & 1) || (fl & FL_ZF);
		break;
	}
	return r ^ (cc & 1);
}

static inline unsigned size_index(unsigned size)
{
	return size == 8 ? 3 : size >> 1; /* 1 2 4 8 -> 0 1 2 3 */
}

/* Each file's mnemonics; NULL for what it does not know. */
insn_fn bind_alu(struct soft_cpu *, struct insn *);
insn_fn bind_mov(struct soft_cpu *, struct insn *);
insn_fn bind_xchg(struct soft_cpu *, struct insn *);
insn_fn bind_shift(struct soft_cpu *, struct insn *);
insn_fn bind_muldiv(struct soft_cpu *, struct insn *);
insn_fn bind_bit(struct soft_cpu *, struct insn *);
insn_fn bind_flow(struct soft_cpu *, struct insn *);
insn_fn bind_stack(struct soft_cpu *, struct insn *);
insn_fn bind_string(struct soft_cpu *, struct insn *);
insn_fn bind_misc(struct soft_cpu *, struct insn *);

#endif

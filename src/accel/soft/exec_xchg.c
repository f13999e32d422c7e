/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B. Intel SDM vol. 2. vCPU thread.
 *
 * XCHG with memory is always locked. The others are done atomically with and without LOCK: that is
 * stronger than asked for and costs little, as they are rare without.
 */
#include "accel/soft/exec.h"
#include "accel/soft/hostops.h"
#include "isa/x86/cpuid.h"

#define XCHG(bits)                                                             \
	HANDLER(xchg##bits##_r)                                                \
	{                                                                      \
		uint##bits##_t t = R##bits(c, in->rm);                         \
                                                                               \
		SETR##bits(c, in->rm, R##bits(c, in->reg));                    \
		SETR##bits(c, in->reg, t);                                     \
		NEXT();                                                        \
	}                                                                      \
	HANDLER(xchg##bits##_m)                                                \
	{                                                                      \
		uint64_t lin = ea_any(c, in, bits / 8, true);                  \
		uint##bits##_t t = 0;                                          \
                                                                               \
		MEM_LOCKED(bits, lin, (t = old_, R##bits(c, in->reg)));        \
		SETR##bits(c, in->reg, t);                                     \
		NEXT();                                                        \
	}                                                                      \
	HANDLER(xadd##bits##_r)                                                \
	{                                                                      \
		uint##bits##_t d = R##bits(c, in->rm), s = R##bits(c, in->reg); \
                                                                               \
		SETR##bits(c, in->reg, d);                                     \
		SETR##bits(c, in->rm, op_add_##bits(&c->fl, d, s));            \
		NEXT();                                                        \
	}                                                                      \
	HANDLER(xadd##bits##_m)                                                \
	{                                                                      \
		uint64_t lin = ea_any(c, in, bits / 8, true);                  \
		uint##bits##_t t = 0;                                          \
		uint32_t fl = 0;                                               \
                                                                               \
		MEM_LOCKED(bits, lin,                                          \
			   (t = old_, op_add_##bits(&fl, old_, R##bits(c, in->reg)))); \
		c->fl = fl;                                                    \
		SETR##bits(c, in->reg, t);                                     \
		NEXT();                                                        \
	}

XCHG(8)
XCHG(16)
XCHG(32)
XCHG(64)

/* Registers only: the host's instruction on copies, so that upper halves come out as they do. */
#define CMPXCHG_R(bits, sfx, k)                                                          \
	HANDLER(cmpxchg##bits##_r)                                                       \
	{                                                                                \
		uint64_t acc = c->r[RAX], dst;                                           \
		uint##bits##_t src = R##bits(c, in->reg);                                \
		uint32_t f;                                                              \
                                                                                         \
		if (in->rm == R_OFF(RAX)) { /* equal by construction */                  \
			op_cmp_##bits(&c->fl, R##bits(c, in->rm), R##bits(c, in->rm));   \
			SETR##bits(c, in->rm, src);                                      \
			NEXT();                                                          \
		}                                                                        \
		dst = R##bits(c, in->rm);                                                \
		if (bits == 32)                                                          \
			dst = R64(c, in->rm);                                            \
		asm("cmpxchg" sfx " %" k "[src], %" k "[dst]\n\t"                        \
		    "mov %%rax, %[acc]" FL_OUT                                           \
		    : [dst] "+&r"(dst), "=&a"(f), [acc] "=&r"(acc)                       \
		    : [src] "r"(src), "1"(acc)                                           \
		    : "cc");                                                             \
		c->fl = (uint16_t)f;                                                     \
		c->r[RAX] = acc;                                                         \
		if (bits == 32)                                                          \
			R64(c, in->rm) = dst;                                            \
		else                                                                     \
			SETR##bits(c, in->rm, dst);                                      \
		NEXT();                                                                  \
	}

/* Memory: one compare-and-exchange; the accumulator gets what was there when it differs. */
#define CMPXCHG_M(bits)                                                                  \
	HANDLER(cmpxchg##bits##_m)                                                       \
	{                                                                                \
		uint64_t lin = ea_any(c, in, bits / 8, true);                            \
		uint##bits##_t acc = R##bits(c, R_OFF(RAX)), src = R##bits(c, in->reg);  \
		uint##bits##_t old = acc;                                                \
		void *p = lock_ptr(c, lin, bits / 8);                               \
                                                                                         \
		if (likely(p != NULL)) {                                                 \
			if (cas##bits(p, &old, src))                                     \
				mmu_wrote(c, lin, bits / 8);                             \
		} else {                                                                 \
			mmu_probe_write(c, lin, bits / 8);                               \
			cpu_exclusive_begin(c);                                          \
			old = (uint##bits##_t)mmu_ld_slow(c, lin, bits / 8);             \
			mmu_st_slow(c, lin, old == acc ? src : old, bits / 8);           \
			cpu_exclusive_end(c);                                            \
		}                                                                        \
		op_cmp_##bits(&c->fl, acc, old);                                         \
		if (old != acc)                                                          \
			SETR##bits(c, R_OFF(RAX), old);                                  \
		NEXT();                                                                  \
	}

CMPXCHG_R(8, "b", "b")
CMPXCHG_R(16, "w", "w")
CMPXCHG_R(32, "l", "k")
CMPXCHG_R(64, "q", "q")
CMPXCHG_M(8)
CMPXCHG_M(16)
CMPXCHG_M(32)
CMPXCHG_M(64)

static void set_zf(struct soft_cpu *c, bool zf)
{
	c->fl = (c->fl & ~FL_ZF) | (zf ? FL_ZF : 0);
}

HANDLER(cmpxchg8b)
{
	uint64_t lin = ea_any(c, in, 8, true);
	uint64_t want = (uint32_t)c->r[RAX] | c->r[RDX] << 32, old = want;
	uint64_t now = (uint32_t)c->r[RBX] | c->r[RCX] << 32;
	void *p = lock_ptr(c, lin, 8);

	if (likely(p != NULL)) {
		if (cas64(p, &old, now))
			mmu_wrote(c, lin, 8);
	} else {
		mmu_probe_write(c, lin, 8);
		cpu_exclusive_begin(c);
		old = mmu_ld_slow(c, lin, 8);
		mmu_st_slow(c, lin, old == want ? now : old, 8);
		cpu_exclusive_end(c);
	}
	set_zf(c, old == want);
	if (old != want) {
		c->r[RAX] = (uint32_t)old;
		c->r[RDX] = old >> 32;
	}
	NEXT();
}

static bool cas128(void *p, uint64_t old[2], const uint64_t now[2])
{
	bool ok;

	asm volatile("lock cmpxchg16b %[mem]"
		     : "=@ccz"(ok), "+a"(old[0]), "+d"(old[1]),
		       [mem] "+m"(*(volatile unsigned __int128 *)p)
		     : "b"(now[0]), "c"(now[1])
		     : "memory");
	return ok;
}

/* A 16-byte device access is two of 8: nobody has seen one, but it must not end the process. */
static void slow_cas128(struct soft_cpu *c, uint64_t lin, uint64_t old[2], const uint64_t now[2])
{
	uint64_t was[2];

	mmu_probe_write(c, lin, 16);
	cpu_exclusive_begin(c);
	mmu_read(c, lin, was, 16);
	mmu_write(c, lin, was[0] == old[0] && was[1] == old[1] ? now : was, 16);
	cpu_exclusive_end(c);
	memcpy(old, was, sizeof(was));
}

HANDLER(cmpxchg16b)
{
	uint64_t lin = ea_any(c, in, 16, true);
	uint64_t want[2] = { c->r[RAX], c->r[RDX] }, old[2] = { want[0], want[1] };
	const uint64_t now[2] = { c->r[RBX], c->r[RCX] };
	bool equal;
	void *p;

	if (lin & 15)
		cpu_raise_err(c, X86_GP, 0);
	p = mmu_ptr(c, lin, 16, true);
	if (likely(p != NULL)) {
		if (cas128(p, old, now))
			mmu_wrote(c, lin, 16);
	} else {
		slow_cas128(c, lin, old, now);
	}
	equal = old[0] == want[0] && old[1] == want[1];
	set_zf(c, equal);
	if (!equal) {
		c->r[RAX] = old[0];
		c->r[RDX] = old[1];
	}
	NEXT();
}

#define BY_WIDTH(name, f) { name##8##f, name##16##f, name##32##f, name##64##f }

insn_fn bind_xchg(struct soft_cpu *c, struct insn *in)
{
	static const insn_fn fns[3][2][4] = {
		{ BY_WIDTH(xchg, _r), BY_WIDTH(xchg, _m) },
		{ BY_WIDTH(xadd, _r), BY_WIDTH(xadd, _m) },
		{ BY_WIDTH(cmpxchg, _r), BY_WIDTH(cmpxchg, _m) },
	};
	unsigned w = size_index(in->opsize), mem = !!(in->flags & INSN_MEM);

	switch (op_descs[in->op].mn) {
	case MN_XCHG:
		return fns[0][mem][w];
	case MN_XADD:
		return fns[1][mem][w];
	case MN_CMPXCHG:
		return fns[2][mem][w];
	case MN_CMPXCHG8B:
		if (in->opsize == 8 && !cpu_has(c, X86F_CX16))
			return NULL;
		return in->opsize == 8 ? cmpxchg16b : cmpxchg8b;
	default:
		return NULL;
	}
}

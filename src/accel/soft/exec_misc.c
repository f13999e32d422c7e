/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left of the user-level instructions: flag bits, LAHF SAHF SALC, NOP PAUSE, fences,
 * prefetches and cache line flushes, RDRAND RDSEED. Intel SDM vol. 2. vCPU thread.
 */
#include "accel/soft/exec.h"
#include "accel/soft/hostops.h"
#include "isa/x86/cpuid.h"

#define FL_AH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF)

HANDLER(nop)
{
	NEXT();
}

/* A spinning vCPU may be waiting for one whose thread is not running. */
HANDLER(pause_)
{
	asm volatile("pause");
	NEXT();
}

HANDLER(cmc)
{
	c->fl ^= FL_CF;
	NEXT();
}

HANDLER(clc)
{
	c->fl &= ~FL_CF;
	NEXT();
}

HANDLER(stc)
{
	c->fl |= FL_CF;
	NEXT();
}

HANDLER(cld)
{
	c->rflags &= ~(uint64_t)FLAG_DF;
	NEXT();
}

HANDLER(std_)
{
	c->rflags |= FLAG_DF;
	NEXT();
}

HANDLER(lahf)
{
	R8(c, R_OFF(RAX) + 1) = (uint8_t)((c->fl & FL_AH) >> 8 | FLAG_R1);
	NEXT();
}

HANDLER(sahf)
{
	c->fl = (c->fl & FL_OF) | ((uint32_t)R8(c, R_OFF(RAX) + 1) << 8 & FL_AH);
	NEXT();
}

HANDLER(salc)
{
	R8(c, R_OFF(RAX)) = c->fl & FL_CF ? 0xff : 0;
	NEXT();
}

/* Host loads and stores are the guest's, in the guest's order: only these need a host fence. */
HANDLER(mfence)
{
	asm volatile("mfence" : : : "memory");
	NEXT();
}

HANDLER(lfence)
{
	asm volatile("lfence" : : : "memory");
	NEXT();
}

HANDLER(sfence)
{
	asm volatile("sfence" : : : "memory");
	NEXT();
}

/* The line is only looked at: faults are those of a load. Memory is coherent. */
HANDLER(clflush)
{
	mmu_probe(c, ea_any(c, in, 1, false), 1, false);
	asm volatile("mfence" : : : "memory");
	NEXT();
}

#define RANDOM(op, bits)                                                                 \
	HANDLER(op##bits)                                                                \
	{                                                                                \
		uint##bits##_t v;                                                        \
		uint32_t f;                                                              \
                                                                                         \
		asm volatile(#op " %[v]" FL_OUT : [v] "=&r"(v), "=&a"(f) : : "cc");      \
		c->fl = (uint16_t)f;                                                     \
		SETR##bits(c, in->rm, v);                                                \
		NEXT();                                                                  \
	}
RANDOM(rdrand, 16)
RANDOM(rdrand, 32)
RANDOM(rdrand, 64)
RANDOM(rdseed, 16)
RANDOM(rdseed, 32)
RANDOM(rdseed, 64)

static insn_fn by_size(unsigned size, insn_fn f16, insn_fn f32, insn_fn f64)
{
	return size == 2 ? f16 : size == 4 ? f32 : f64;
}

static insn_fn bind_flag_bits(struct soft_cpu *c, unsigned mn)
{
	switch (mn) {
	case MN_CMC:
		return cmc;
	case MN_CLC:
		return clc;
	case MN_STC:
		return stc;
	case MN_CLD:
		return cld;
	case MN_STD:
		return std_;
	case MN_LAHF:
	case MN_SAHF:
		if (c->code_bits == 64 && !cpu_has(c, X86F_LAHF_LM))
			return NULL;
		return mn == MN_LAHF ? lahf : sahf;
	case MN_SALC:
		return salc;
	default:
		return NULL;
	}
}

insn_fn bind_misc(struct soft_cpu *c, struct insn *in)
{
	unsigned mn = op_descs[in->op].mn;

	switch (mn) {
	case MN_NOP:
	case MN_PREFETCH:
		return nop;
	case MN_PAUSE:
		return pause_;
	case MN_MFENCE:
		return mfence;
	case MN_LFENCE:
		return lfence;
	case MN_SFENCE:
		return sfence;
	case MN_CLFLUSH:
	case MN_CLFLUSHOPT:
	case MN_CLWB:
		return clflush;
	case MN_RDRAND:
		return by_size(in->opsize, rdrand16, rdrand32, rdrand64);
	case MN_RDSEED:
		return by_size(in->opsize, rdseed16, rdseed32, rdseed64);
	default:
		return bind_flag_bits(c, mn);
	}
}

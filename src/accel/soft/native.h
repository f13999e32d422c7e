/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of native execution share. */
#ifndef SOFT_NATIVE_H
#define SOFT_NATIVE_H

#include "accel/soft/cpu.h"

/* The effective address: offset in the segment. */
static inline uint64_t native_ea(const struct soft_cpu *c, const struct insn *in)
{
	uint64_t ea = R64(c, in->base) + (R64(c, in->index) << in->scale) + (uint64_t)(int64_t)in->disp;

	if (in->flags & INSN_A32)
		return (uint32_t)ea;
	return in->flags & INSN_A16 ? (uint16_t)ea : ea;
}

static inline uint64_t native_linear(struct soft_cpu *c, const struct insn *in, unsigned size,
				     bool write)
{
	uint64_t ea = native_ea(c, in);

	if (unlikely(in->flags & INSN_SEGCK))
		return seg_linear(c, in->seg, ea, size, write);
	return ea + c->segbase[in->seg];
}

/* #GP(0) for a misaligned operand, before anything else that the address may be wrong in. */
static inline void native_check_align(struct soft_cpu *c, uint64_t lin, unsigned mask)
{
	if (unlikely(lin & mask))
		cpu_raise_err(c, X86_GP, 0);
}

/*
 * Raises #MF when an unmasked x87 exception is pending; x87 must be live. Before memory is touched,
 * and before waiting instructions of C code, where the host's exception would be our own.
 */
static inline void native_check_mf(struct soft_cpu *c)
{
	uint16_t sw;

	__asm__ volatile("fnstsw %0" : "=a"(sw));
	if (unlikely(sw & 0x80))
		cpu_raise(c, X86_MF);
}

/* masked.c: operations whose memory access depends on a mask, and VZEROALL and VZEROUPPER. */
insn_fn bind_masked(struct soft_cpu *, struct insn *, const uint8_t *bytes);
/* evex.c: class OPC_EVEX */
insn_fn bind_evex(struct soft_cpu *, struct insn *, const uint8_t *bytes);

#endif

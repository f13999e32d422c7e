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

/* Raises #UD. */
const struct insn *native_ud(struct soft_cpu *, const struct insn *);

/* masked.c: operations whose memory access depends on a mask, and VZEROALL and VZEROUPPER. */
insn_fn bind_masked(struct soft_cpu *, struct insn *, const uint8_t *bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug registers and single-step: instruction, data and I/O breakpoints, #DB with DR6.
 * Intel SDM vol. 3B chapter 18; AMD APM vol. 2 chapter 13. On the vCPU's thread.
 */
#include "accel/soft/sys.h"

enum bp_type { BP_EXEC, BP_WRITE, BP_IO, BP_ACCESS };

static bool bp_on(const struct soft_cpu *c, unsigned i)
{
	return c->s.dr7 >> (2 * i) & 3;
}

static enum bp_type bp_type(const struct soft_cpu *c, unsigned i)
{
	return c->s.dr7 >> (16 + 4 * i) & 3;
}

static unsigned bp_len(const struct soft_cpu *c, unsigned i)
{
	static const uint8_t len[] = { 1, 2, 8, 4 };

	return len[c->s.dr7 >> (18 + 4 * i) & 3];
}

void debug_raise(struct soft_cpu *c, uint64_t dr6_bits)
{
	c->s.dr6 = (c->s.dr6 & ~0xfull) | dr6_bits;
	c->s.dr7 &= ~DR7_GD;
	c->dr6_pending = 0;
	cpu_raise(c, X86_DB);
}

void debug_fetch(struct soft_cpu *c, uint64_t lin)
{
	uint64_t hit = 0;

	c->no_step = false;
	if (c->code_bits != 64)
		lin = (uint32_t)lin;
	if (c->rflags & FLAG_RF || c->s.mov_ss_shadow)
		return;
	for (unsigned i = 0; i < 4; i++)
		if (bp_on(c, i) && bp_type(c, i) == BP_EXEC && c->s.dr[i] == lin)
			hit |= BIT64(i);
	if (hit)
		debug_raise(c, hit);
}

void debug_trap(struct soft_cpu *c, bool tf)
{
	uint64_t bits = c->dr6_pending;

	if (c->s.mov_ss_shadow)
		return; /* what is pending comes behind the next instruction */
	if (tf && !c->no_step)
		bits |= DR6_BS;
	c->no_step = false;
	if (bits)
		debug_raise(c, bits);
}

/* The first byte and the length that breakpoint i covers: aligned to its length. */
static uint64_t bp_base(const struct soft_cpu *c, unsigned i)
{
	return c->s.dr[i] & ~(uint64_t)(bp_len(c, i) - 1);
}

static bool is_data(enum bp_type t)
{
	return t == BP_WRITE || t == BP_ACCESS;
}

bool debug_page_watched(const struct soft_cpu *c, uint64_t lin)
{
	for (unsigned i = 0; i < 4; i++)
		if (bp_on(c, i) && is_data(bp_type(c, i)) && (bp_base(c, i) ^ lin) >> 12 == 0)
			return true;
	return false;
}

static bool overlap(uint64_t a, unsigned alen, uint64_t b, unsigned blen)
{
	return a < b + blen && b < a + alen;
}

void debug_access(struct soft_cpu *c, uint64_t lin, unsigned size, bool write)
{
	for (unsigned i = 0; i < 4; i++) {
		enum bp_type t = bp_type(c, i);

		if (!bp_on(c, i) || !is_data(t) || (t == BP_WRITE && !write))
			continue;
		if (overlap(lin, size, bp_base(c, i), bp_len(c, i)))
			c->dr6_pending |= BIT64(i);
	}
}

void debug_io(struct soft_cpu *c, uint16_t port, unsigned size)
{
	if (likely(!(c->s.dr7 & 0xff)) || !(c->s.cr4 & CR4_DE))
		return;
	for (unsigned i = 0; i < 4; i++)
		if (bp_on(c, i) && bp_type(c, i) == BP_IO &&
		    overlap(port, size, bp_base(c, i), bp_len(c, i)))
			c->dr6_pending |= BIT64(i);
}

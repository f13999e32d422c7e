/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What processors may do in several ways by their manuals, and what some (Intel's Sapphire Rapids,
 * AMD's Zen 4) were seen to do beside it; each such rule says so. The host's side of such a case is
 * made like the engine's once it is known that the host did one of these things; what is compared
 * afterwards must be equal.
 * Where the vendors differ for the guest to see, the engine does as the vendor and no rule is here.
 */
#include "truth.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/decode/decode_tbl.h"
#include "base/bytes.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/x86.h"

#define MEM_SIZE 0x3000
#define FSW_TOP	 0x3800
#define FSW_ES	 0x80
#define MX_FLAGS 0x3f

static unsigned mnemonic(const struct truth_case *c)
{
	return op_descs[c->in.op].mn;
}

static void same(const struct truth_memory *m, uint64_t lin, unsigned n)
{
	if (lin - SCRATCH_DATA + n <= MEM_SIZE && lin >= SCRATCH_DATA)
		memcpy(m->host + (lin - SCRATCH_DATA), m->soft + (lin - SCRATCH_DATA), n);
}

/* What a faulting instruction may have stored: a part of ten bytes (Intel SDM vol. 3 9.1.1). */
static void level_fault_store(const struct truth_case *c, const struct truth_result *hr,
			      const struct truth_memory *m)
{
	if ((mnemonic(c) == MN_FSTP || mnemonic(c) == MN_FBSTP) && hr->vector == X86_PF &&
	    insn_mem_size(&c->in) == 10)
		same(m, c->to, 10);
}

/*
 * Seen: below the stack pointer, a call may have pushed before it finds that its target is not
 * canonical. Intel's does, AMD's and the engine do at times.
 */
static void level_call(const struct truth_case *c, const struct truth_state *h,
		       const struct truth_result *hr, const struct truth_memory *m)
{
	uint64_t slot = h->gpr[RSP] - 8, at = slot - SCRATCH_DATA, next = c->rip + c->len;

	if (mnemonic(c) == MN_CALL && hr->vector == X86_GP && at < MEM_SIZE - 8 &&
	    (ld_le64(m->host + at) == next || ld_le64(m->soft + at) == next))
		same(m, slot, 8);
}

/* ---- which fault ---- */

static bool canonical(uint64_t lin)
{
	return (lin + (1ull << 47)) >> 48 == 0;
}

/* Whether a fault is one that an access to n bytes at lin can have. */
static bool access_has(const struct truth_result *r, uint64_t lin, unsigned n)
{
	if (r->vector == X86_PF)
		return r->cr2 - lin < n;
	return (r->vector == X86_GP || r->vector == X86_SS) && !canonical(lin);
}

static bool cmps_has(const struct truth_case *c, const struct truth_state *h,
		     const struct truth_result *r)
{
	uint64_t mask = c->in.flags & INSN_A32 ? UINT32_MAX : UINT64_MAX;

	return access_has(r, h->gpr[RSI] & mask, 8) || access_has(r, h->gpr[RDI] & mask, 8);
}

/* An area at the end of 4 GiB goes on at 0 if its address has 32 bits. */
static bool area_has(const struct truth_case *c, const struct truth_result *r)
{
	if (r->vector == X86_PF && (c->in.flags & INSN_A32))
		return (uint32_t)(r->cr2 - c->to) < 4096;
	return access_has(r, c->to, 4096) ||
	       (r->vector == X86_GP && (c->to & (alignment_of(&c->in) - 1)));
}

/* Only elements whose mask bit is set are accessed. */
static bool masked_store_has(const struct truth_case *c, const struct truth_state *h,
			     const struct truth_result *r)
{
	unsigned mn = mnemonic(c), size = mn == MN_VPMASKMOVQ || mn == MN_VMASKMOVPD ? 8 : 4;
	const uint8_t *mask = h->vec[c->in.vvvv];

	for (unsigned i = 0; i < (c->in.flags & INSN_VEXL ? 32 : 16); i += size)
		if ((mask[i + size - 1] & 0x80) && access_has(r, c->to + i, size))
			return true;
	return false;
}

/* Seen: any byte of a masked operand is told of, also the last. */
static bool evex_has(const struct truth_case *c, const struct truth_result *r)
{
	return access_has(r, c->to, 64);
}

static bool operand_has(const struct truth_case *c, const struct truth_state *h,
			const struct truth_result *r)
{
	switch (mnemonic(c)) {
	case MN_CMPS:
		return cmps_has(c, h, r);
	case MN_CALL: /* the target that is no address, or the slot that it is pushed to */
		return r->vector == X86_GP || access_has(r, h->gpr[RSP] - 8, 8);
	case MN_FNSTENV:
	case MN_FLDENV:
	case MN_FNSAVE:
	case MN_FRSTOR:
		return access_has(r, c->to, 128);
	case MN_MASKMOVQ:
	case MN_MASKMOVDQU:
	case MN_VMASKMOVDQU:
		return access_has(r, c->to, 16);
	case MN_VPMASKMOVD:
	case MN_VPMASKMOVQ:
	case MN_VMASKMOVPS:
	case MN_VMASKMOVPD:
		return masked_store_has(c, h, r);
	case MN_VCVTPS2PH:
		return r->vector == X86_XM || access_has(r, c->to, c->in.flags & INSN_EVEX ? 32 : 16);
	default:
		if (op_descs[c->in.op].cls == OPC_EVEX)
			return evex_has(c, r);
		return op_descs[c->in.op].cls == OPC_FPSTATE && area_has(c, r);
	}
}

/*
 * The faults of executing an instruction are one class, in which "exceptions are
 * implementation-dependent" (Intel SDM vol. 3 6.9): of two operands, of bytes of a large one, of
 * alignment, address and computation, any may be told.
 */
static void level_fault(const struct truth_case *c, const struct truth_state *h,
			struct truth_result *hr, const struct truth_result *sr)
{
	if (operand_has(c, h, hr) && operand_has(c, h, sr))
		*hr = *sr;
}

/*
 * The same for x87: an unmasked exception keeps a store from happening, is pending then, and the
 * operand may not have been looked at.
 */
static void level_x87_store(const struct truth_case *c, const struct truth_state *before,
			    struct truth_state *h, struct truth_result *hr,
			    const struct truth_result *sr)
{
	if (hr->vector >= 0 || op_descs[c->in.op].cls != OPC_X87 || (before->fsw & FSW_ES) ||
	    !(h->fsw & FSW_ES) || !access_has(sr, c->to, 10))
		return;
	*h = *before;
	*hr = *sr;
}

/* ---- registers that a faulting instruction changed ---- */

/* Seen: an MMX store that faults has made TOP 0 already. */
static void level_mmx_store(const struct truth_case *c, struct truth_state *h,
			    const struct truth_state *s)
{
	unsigned top = (s->fsw & FSW_TOP) >> 11;

	if (op_descs[c->in.op].cls != OPC_MMX || h->fsw != (s->fsw & ~FSW_TOP))
		return;
	for (unsigned i = 0; i < 8; i++)
		if (memcmp(h->st[i], s->st[(i - top) & 7], 16) != 0)
			return;
	h->fsw = s->fsw;
	memcpy(h->st, s->st, sizeof(h->st));
}

/* Seen: a conversion has set its flags in MXCSR before its store faults. */
static void level_conversion(const struct truth_case *c, struct truth_state *h,
			     const struct truth_state *s)
{
	if (mnemonic(c) == MN_VCVTPS2PH && (h->mxcsr & ~MX_FLAGS) == (s->mxcsr & ~MX_FLAGS) &&
	    !(s->mxcsr & ~h->mxcsr))
		h->mxcsr = s->mxcsr;
}

/*
 * Seen: a gather to 256 bits or less that faults has cleared the upper part of its destination, as
 * one that ends does.
 */
static void level_gather(const struct truth_case *c, struct truth_state *h,
			 const struct truth_state *s)
{
	static const uint8_t zeros[64];
	uint8_t *to = h->vec[c->in.reg_n];
	unsigned from = 16;

	if (op_encs[c->in.op].mem != MEM_VSIB)
		return;
	while (from < 64 && memcmp(to + from, zeros, 64 - from) != 0)
		from *= 2;
	memcpy(to + from, s->vec[c->in.reg_n] + from, 64 - from);
}

static void level_intel(const struct truth_case *c, const struct truth_state *before,
			struct truth_state *h, struct truth_result *hr, const struct truth_state *s,
			const struct truth_result *sr, const struct truth_memory *m)
{
	level_x87_store(c, before, h, hr, sr);
	if (hr->vector < 0 || sr->vector < 0)
		return;
	level_fault_store(c, hr, m);
	level_fault(c, h, hr, sr);
	level_mmx_store(c, h, s);
	level_conversion(c, h, s);
}

/*
 * Seen (Zen 4): XSAVEC and XSAVEOPT look for the page of a component that is asked for and, being
 * as after INIT, is not stored.
 */
static void level_amd(const struct truth_case *c, struct truth_state *h, struct truth_result *hr,
		      const struct truth_state *s, const struct truth_result *sr,
		      const struct truth_memory *m)
{
	unsigned mn = mnemonic(c);

	if ((mn != MN_XSAVEC && mn != MN_XSAVEOPT) || sr->vector >= 0 || !area_has(c, hr))
		return;
	same(m, c->to, (unsigned)(SCRATCH_DATA + MEM_SIZE - c->to));
	*h = *s;
	*hr = *sr;
}

void level_case(const struct truth_case *c, const struct truth_state *before,
		struct truth_state *h, struct truth_result *hr, const struct truth_state *s,
		const struct truth_result *sr, const struct truth_memory *m)
{
	if (__builtin_cpu_is("intel"))
		level_intel(c, before, h, hr, s, sr, m);
	else
		level_amd(c, h, hr, s, sr, m);
	if (hr->vector < 0 || sr->vector < 0)
		return;
	level_call(c, h, hr, m);
	level_gather(c, h, s);
}

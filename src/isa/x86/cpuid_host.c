/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine that runs guests on the processor can give beyond the table of features: bits
 * that have no name here, for "host", and the layout of the XSAVE area, which is the processor's.
 * Source: Intel SDM vol. 1 chapter 13, vol. 2A CPUID; AMD APM vol. 3 appendix E. No threads, no
 * state.
 */
#include "isa/x86/cpuid_int.h"
#include <cpuid.h>

/*
 * Leaves that are features throughout, with the registers of them that are, and the bits that stay
 * out: what follows a control register (OSXSAVE, OSPKE), the mirror of leaf 1, what has to do with
 * performance counters or tracing, and what has state that struct cpu_state does not keep: MPX,
 * SGX, CET, AMX, LBR, FRED, XFD.
 */
static const struct {
	uint32_t leaf, sub, keep[4];
} feature_leaves[X86_RAW_LEAVES] = {
	{ 1, 0, { 0, 0, ~(BIT32(27) | BIT32(15) | BIT32(2)), ~(BIT32(21) | BIT32(28)) } },
	{ 7,
	  0,
	  { 0, ~(BIT32(2) | BIT32(14) | BIT32(25)), ~(BIT32(4) | BIT32(7) | BIT32(30)),
	    ~(BIT32(19) | BIT32(20) | BIT32(22) | BIT32(24) | BIT32(25)) } },
	{ 7, 1, { ~(BIT32(17) | BIT32(21)), ~0u, ~0u, ~(BIT32(8) | BIT32(18) | BIT32(19)) } },
	{ 7, 2, { 0, 0, 0, ~0u } },
	{ 0xd, 1, { 15, 0, 0, 0 } },
	{ 0x80000001, 0, { 0, 0, ~(BIT32(1) | BIT32(22) | BIT32(23) | BIT32(24) | BIT32(28)),
			   ~0x0183f3ffu } },
	{ 0x80000007, 0, { 0, ~0u, 0, ~BIT32(8) } },
	{ 0x80000008, 0, { 0, ~0u, 0, 0 } },
	{ 0x80000021, 0, { ~0u, 0, ~0u, 0 } },
};

void x86_host_features(struct x86_cpu_model *m, const struct x86_cpu_source *src)
{
	for (size_t i = 0; i < X86_RAW_LEAVES; i++) {
		struct x86_raw_leaf *raw = &m->raw[i];
		uint32_t named[4] = { 0 };

		*raw = (struct x86_raw_leaf){ feature_leaves[i].leaf, feature_leaves[i].sub, { 0 } };
		src->leaf(src, raw->leaf, raw->sub, raw->r);
		x86_named_bits(raw->leaf, raw->sub, named);
		for (unsigned k = 0; k < 4; k++)
			raw->r[k] &= feature_leaves[i].keep[k] & ~named[k];
	}
	src->leaf(src, 0x8000000a, 0, m->svm);
}

void x86_host_xsave(struct x86_cpu_model *m, const struct x86_cpu_source *src)
{
	for (uint32_t n = 2; n < X86_XSAVE_COMPONENTS; n++) {
		uint32_t r[4];

		src->leaf(src, 0xd, n, r);
		m->xsave[n] = (struct x86_xsave_part){ r[0], r[1], r[2] };
	}
}

void x86_avx512_xsave(struct x86_cpu_model *m)
{
	for (uint32_t n = 5; n <= 7; n++) {
		uint32_t r[4];

		__cpuid_count(0xd, n, r[0], r[1], r[2], r[3]);
		m->xsave[n] = (struct x86_xsave_part){ r[0], r[1], r[2] };
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Model-specific registers that are the same on every engine. */
#ifndef ISA_X86_MSR_H
#define ISA_X86_MSR_H

#include "isa/x86/cpuid.h"

/* Reads as a value; a write is #GP when read_only, else it vanishes. */
struct x86_msr_const {
	bool read_only;
	uint64_t value;
};

/* NULL: none of these. */
const struct x86_msr_const *x86_msr_const(enum x86_vendor vendor, uint32_t msr);

#endif

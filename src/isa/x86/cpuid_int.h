/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of CPU models share. */
#ifndef ISA_X86_CPUID_INT_H
#define ISA_X86_CPUID_INT_H

#include "isa/x86/cpuid.h"

/* Sets the bits of a leaf that have a name in the table of features. */
void x86_named_bits(uint32_t leaf, uint32_t sub, uint32_t r[4]);
/* Fills m->raw and m->svm. */
void x86_host_features(struct x86_cpu_model *m, const struct x86_cpu_source *src);
/* Fills m->xsave. The second: of AVX-512, as this processor has it. */
void x86_host_xsave(struct x86_cpu_model *m, const struct x86_cpu_source *src);
void x86_avx512_xsave(struct x86_cpu_model *m);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The states that a processor starts from. Source: Intel SDM vol. 3, table 11-1. */
#ifndef ISA_X86_RESET_H
#define ISA_X86_RESET_H

#include "isa/x86/cpu_state.h"

/* signature: CPUID.1:EAX, which EDX starts with. bsp: the boot processor, others wait for a SIPI. */
void x86_power_on(struct cpu_state *, uint32_t signature, bool bsp);
/* INIT: the power-on state but for what INIT leaves alone, the boot processor's mark among it. */
void x86_init(struct cpu_state *, uint32_t signature);
/* A start-up IPI, to a processor that waits for one. */
void x86_sipi(struct cpu_state *, uint8_t vector);

#endif

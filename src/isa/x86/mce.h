/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machine checks as this project has them: banks, capabilities, and the registers of one.
 * Sources: Intel SDM vol. 3B chapter 17 (15 before 2023); AMD APM vol. 2 chapter 9.
 */
#ifndef ISA_X86_MCE_H
#define ISA_X86_MCE_H

#include "isa/x86/cpu_state.h"
#include "isa/x86/cpuid.h"

#define MCG_CTL_P BIT64(8)  /* MCG_CTL is there */
#define MCG_SER_P BIT64(24) /* Intel: software can recover from some errors */

#define MCG_STATUS_RIPV BIT64(0)
#define MCG_STATUS_EIPV BIT64(1)
#define MCG_STATUS_MCIP BIT64(2)

#define MCI_STATUS_VAL	    BIT64(63)
#define MCI_STATUS_OVER	    BIT64(62)
#define MCI_STATUS_UC	    BIT64(61)
#define MCI_STATUS_EN	    BIT64(60)
#define MCI_STATUS_MISCV    BIT64(59)
#define MCI_STATUS_ADDRV    BIT64(58)
#define MCI_STATUS_S	    BIT64(56)	   /* Intel: signalled */
#define MCI_STATUS_AR	    BIT64(55)	   /* Intel: action required */
#define MCI_STATUS_DEFERRED BIT64(44)	   /* AMD: nobody has used the data yet */
#define MCI_STATUS_POISON   BIT64(43)	   /* AMD: the data is marked as bad */
#define MCI_DATA_LOAD	    0x134u	   /* Intel's code: data read, L0 cache */
#define MCI_MEMORY_SCRUB    0xc0u	   /* Intel's code: found by scrubbing */
#define MCI_MISC_PHYS_PAGE  (2u << 6 | 12) /* the address is physical; a page of 2^12 bytes */

#define MC_BANKS ARRAY_SIZE(((struct cpu_state *)0)->mc_ctl)

/* One machine check, as software finds it. */
struct x86_mce {
	unsigned bank; /* below MC_BANKS */
	uint64_t status, addr, misc, mcg_status;
};

/* What MSR MCG_CAP says. */
static inline uint64_t x86_mcg_cap(const struct x86_cpu_model *m)
{
	return MC_BANKS | MCG_CTL_P | (m->vendor == X86_VENDOR_INTEL ? MCG_SER_P : 0);
}

#endif

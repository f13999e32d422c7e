/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model-specific registers without anything behind them (msr.h). Intel SDM vol. 4, AMD APM vol. 2
 * appendix A, AMD processor references. No threads, no state.
 */
#include "isa/x86/msr.h"
#include "isa/x86/x86.h"

/*
 * Bits of vendors say who has them: kernels touch many without asking CPUID when the signature is
 * that of a real CPU.
 */
#define INTEL BIT32(X86_VENDOR_INTEL)
#define AMD   BIT32(X86_VENDOR_AMD)

struct row {
	uint32_t first, last;
	uint8_t vendors;
	struct x86_msr_const is;
};

static const struct row consts[] = {
	{ 0x00, 0x01, INTEL | AMD, { false, 0 } }, /* P5 machine check */
	{ 0x17, 0x17, INTEL, { true, 0 } },	   /* PLATFORM_ID */
	{ 0x2a, 0x2a, INTEL, { false, 0 } },	   /* EBL_CR_POWERON */
	{ 0x33, 0x34, INTEL, { false, 0 } },	   /* TEST_CTRL, SMI_COUNT */
	{ 0x35, 0x35, INTEL, { true, 0x10001 } },  /* CORE_THREAD_COUNT */
	{ 0x79, 0x79, INTEL, { false, 0 } },	   /* BIOS_UPDT_TRIG: updates are not for guests */
	{ MSR_BIOS_SIGN_ID, MSR_BIOS_SIGN_ID, INTEL, { false, 0x100000000 } },
	{ MSR_BIOS_SIGN_ID, MSR_BIOS_SIGN_ID, AMD, { false, 0x01000065 } },
	{ 0xcd, 0xcd, INTEL, { true, 3 } },	      /* FSB_FREQ: 100 MHz */
	{ 0xce, 0xce, INTEL, { true, 0 } },	      /* PLATFORM_INFO */
	{ 0x122, 0x122, INTEL, { false, 0 } },	      /* TSX_CTRL */
	{ 0x140, 0x140, INTEL, { false, 0 } },	      /* MISC_FEATURES_ENABLES */
	{ 0x198, 0x198, INTEL, { true, 0 } },	      /* PERF_STATUS */
	{ 0x199, 0x19d, INTEL, { false, 0 } },	      /* PERF_CTL, clock modulation, thermal */
	{ 0x1a2, 0x1a2, INTEL, { true, 100 << 16 } }, /* TEMPERATURE_TARGET */
	{ 0x1a4, 0x1a4, INTEL, { false, 0 } },	      /* MISC_FEATURE_CONTROL (prefetch) */
	{ 0x1ad, 0x1ad, INTEL, { true, 0 } },	      /* TURBO_RATIO_LIMIT */
	{ 0x1b0, 0x1b2, INTEL, { false, 0 } },	      /* ENERGY_PERF_BIAS, package thermal */
	{ 0x1db, 0x1de, INTEL | AMD, { true, 0 } },   /* last branch, last interrupt */
	{ 0x606, 0x606, INTEL, { true, 0 } },	      /* RAPL_POWER_UNIT */
	{ 0x610, 0x614, INTEL, { true, 0 } },
	{ 0x618, 0x61c, INTEL, { true, 0 } },
	{ 0x638, 0x642, INTEL, { true, 0 } },
	{ 0xc0000408, 0xc000040a, AMD, { false, 0 } },	  /* MC4_MISC1..3 */
	{ 0xc0010000, 0xc0010007, AMD, { false, 0 } },	  /* K7 performance counters: none */
	{ 0xc0010016, 0xc0010019, AMD, { false, 0 } },	  /* IORR */
	{ 0xc001001f, 0xc001001f, AMD, { false, 0 } },	  /* NB_CFG */
	{ 0xc0010020, 0xc0010020, AMD, { false, 0 } },	  /* PATCH_LOADER */
	{ 0xc0010044, 0xc0010049, AMD, { false, 0 } },	  /* MCi_CTL_MASK */
	{ 0xc0010055, 0xc0010055, AMD, { false, 0 } },	  /* INT_PENDING_MSG */
	{ 0xc0010058, 0xc0010058, AMD, { false, 0 } },	  /* MMIO_CONF_BASE */
	{ 0xc0010061, 0xc0010061, AMD, { true, 0 } },	  /* PSTATE_CUR_LIMIT */
	{ 0xc0010062, 0xc001006b, AMD, { false, 0 } },	  /* P-states: no frequency control */
	{ 0xc0010112, 0xc0010113, AMD, { false, 0 } },	  /* TSEG: the board has its own */
	{ 0xc0010114, 0xc0010114, AMD, { false, 0x10 } }, /* VM_CR: SVM disabled */
	{ 0xc0010117, 0xc0010117, AMD, { false, 0 } },	  /* VM_HSAVE_PA */
	{ 0xc0010131, 0xc0010131, AMD, { true, 0 } },	  /* SEV_STATUS */
	{ 0xc0010140, 0xc0010141, AMD, { false, 0 } },	  /* OSVW */
	{ 0xc0010200, 0xc001020b, AMD, { false, 0 } },	  /* performance counters: none */
	{ 0xc0010299, 0xc001029b, AMD, { true, 0 } },	  /* RAPL */
	{ 0xc0011004, 0xc0011006, AMD, { false, 0 } },	  /* CPUID overrides */
	{ 0xc0011020, 0xc0011023, AMD, { false, 0 } },	  /* LS_CFG, IC_CFG, DC_CFG, BU_CFG */
	{ 0xc001102a, 0xc001102d, AMD, { false, 0 } },	  /* BU_CFG2, LS_CFG2, ... */
	{ 0xc00110e3, 0xc00110e3, AMD, { false, 0 } },	  /* speculative sharing */
};

const struct x86_msr_const *x86_msr_const(enum x86_vendor vendor, uint32_t msr)
{
	for (size_t i = 0; i < ARRAY_SIZE(consts); i++)
		if (msr >= consts[i].first && msr <= consts[i].last &&
		    consts[i].vendors & BIT32(vendor))
			return &consts[i].is;
	return NULL;
}

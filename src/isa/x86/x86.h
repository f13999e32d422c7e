/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of the x86 architecture. Source: Intel SDM vol. 3 and 4, AMD APM vol. 2. */
#ifndef ISA_X86_X86_H
#define ISA_X86_X86_H

#include "base/base.h"

#define FLAG_CF	  0x00000001u
#define FLAG_R1	  0x00000002u /* reads as one */
#define FLAG_PF	  0x00000004u
#define FLAG_AF	  0x00000010u
#define FLAG_ZF	  0x00000040u
#define FLAG_SF	  0x00000080u
#define FLAG_TF	  0x00000100u
#define FLAG_IF	  0x00000200u
#define FLAG_DF	  0x00000400u
#define FLAG_OF	  0x00000800u
#define FLAG_IOPL 0x00003000u
#define FLAG_NT	  0x00004000u
#define FLAG_RF	  0x00010000u
#define FLAG_VM	  0x00020000u
#define FLAG_AC	  0x00040000u
#define FLAG_VIF  0x00080000u
#define FLAG_VIP  0x00100000u
#define FLAG_ID	  0x00200000u
#define FLAGS_STATUS (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

#define CR0_PE BIT64(0)
#define CR0_MP BIT64(1)
#define CR0_EM BIT64(2)
#define CR0_TS BIT64(3)
#define CR0_ET BIT64(4)
#define CR0_NE BIT64(5)
#define CR0_WP BIT64(16)
#define CR0_AM BIT64(18)
#define CR0_NW BIT64(29)
#define CR0_CD BIT64(30)
#define CR0_PG BIT64(31)

#define CR4_VME	       BIT64(0)
#define CR4_PVI	       BIT64(1)
#define CR4_TSD	       BIT64(2)
#define CR4_DE	       BIT64(3)
#define CR4_PSE	       BIT64(4)
#define CR4_PAE	       BIT64(5)
#define CR4_MCE	       BIT64(6)
#define CR4_PGE	       BIT64(7)
#define CR4_PCE	       BIT64(8)
#define CR4_OSFXSR     BIT64(9)
#define CR4_OSXMMEXCPT BIT64(10)
#define CR4_UMIP       BIT64(11)
#define CR4_LA57       BIT64(12)
#define CR4_FSGSBASE   BIT64(16)
#define CR4_PCIDE      BIT64(17)
#define CR4_OSXSAVE    BIT64(18)
#define CR4_SMEP       BIT64(20)
#define CR4_SMAP       BIT64(21)

#define EFER_SCE   BIT64(0)
#define EFER_LME   BIT64(8)
#define EFER_LMA   BIT64(10)
#define EFER_NXE   BIT64(11)
#define EFER_FFXSR BIT64(14)

enum x86_vector {
	X86_DE, X86_DB, X86_NMI, X86_BP, X86_OF, X86_BR, X86_UD, X86_NM, X86_DF,
	X86_TS = 10, X86_NP, X86_SS, X86_GP, X86_PF, X86_MF = 16, X86_AC, X86_MC, X86_XM
};

#define PF_P	 0x01u
#define PF_W	 0x02u
#define PF_U	 0x04u
#define PF_RSVD	 0x08u
#define PF_FETCH 0x10u

#define MSR_TSC		      0x10
#define MSR_APIC_BASE	      0x1b
#define MSR_FEATURE_CONTROL   0x3a
#define MSR_TSC_ADJUST	      0x3b
#define MSR_SPEC_CTRL	      0x48
#define MSR_PRED_CMD	      0x49
#define MSR_BIOS_SIGN_ID      0x8b
#define MSR_MTRRCAP	      0xfe
#define MSR_ARCH_CAPABILITIES 0x10a
#define MSR_SYSENTER_CS	      0x174
#define MSR_SYSENTER_ESP      0x175
#define MSR_SYSENTER_EIP      0x176
#define MSR_MCG_CAP	      0x179
#define MSR_MCG_STATUS	      0x17a
#define MSR_MCG_CTL	      0x17b
#define MSR_MISC_ENABLE	      0x1a0
#define MSR_DEBUGCTL	      0x1d9
#define MSR_MTRR_BASE0	      0x200
#define MSR_MTRR_FIX64K	      0x250
#define MSR_MTRR_FIX16K_80000 0x258
#define MSR_MTRR_FIX16K_A0000 0x259
#define MSR_MTRR_FIX4K_C0000  0x268
#define MSR_PAT		      0x277
#define MSR_MTRR_DEF_TYPE     0x2ff
#define MSR_MC0_CTL	      0x400
#define MSR_TSC_DEADLINE      0x6e0
#define MSR_X2APIC	      0x800 /* .. 0x8ff */
#define MSR_XSS		      0xda0
#define MSR_KVM_WALL_CLOCK_NEW 0x4b564d00
#define MSR_KVM_SYSTEM_TIME_NEW 0x4b564d01
#define MSR_KVM_ASYNC_PF_EN   0x4b564d02
#define MSR_KVM_STEAL_TIME    0x4b564d03
#define MSR_KVM_PV_EOI_EN     0x4b564d04
#define MSR_KVM_POLL_CONTROL  0x4b564d05
#define MSR_KVM_ASYNC_PF_INT  0x4b564d06
#define MSR_EFER	      0xc0000080
#define MSR_STAR	      0xc0000081
#define MSR_LSTAR	      0xc0000082
#define MSR_CSTAR	      0xc0000083
#define MSR_SFMASK	      0xc0000084
#define MSR_FS_BASE	      0xc0000100
#define MSR_GS_BASE	      0xc0000101
#define MSR_KERNEL_GS_BASE    0xc0000102
#define MSR_TSC_AUX	      0xc0000103

#endif

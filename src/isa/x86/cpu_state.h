/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The architectural state of an x86-64 logical processor, the same for every engine. Engines fill
 * and take it by get_state/set_state, so that snapshots move between them.
 * Source: Intel SDM vol. 3, AMD APM vol. 2.
 */
#ifndef ISA_X86_CPU_STATE_H
#define ISA_X86_CPU_STATE_H

#include "base/base.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_NR };

/* attr: bytes 5 and 6 (high nibble) of a descriptor, as in VMX/SVM: see SEG_* below. */
struct x86_seg {
	uint64_t base;
	uint32_t limit; /* in bytes, inclusive, after granularity */
	uint16_t sel;
	uint16_t attr;
};
#define SEG_TYPE     0x000f
#define SEG_S	     0x0010 /* code or data */
#define SEG_DPL_SHIFT 5
#define SEG_DPL	     0x0060
#define SEG_P	     0x0080
#define SEG_AVL	     0x0100
#define SEG_L	     0x0200
#define SEG_DB	     0x0400
#define SEG_G	     0x0800
#define SEG_UNUSABLE 0x1000 /* a null selector was loaded */

struct x86_dtable {
	uint64_t base;
	uint16_t limit;
};

enum x86_mp_state { MP_RUNNABLE, MP_HALTED, MP_WAIT_SIPI, MP_SHUTDOWN };

/* What kind of event is being delivered; numbered as in VMX and SVM. */
enum x86_event_type {
	X86_EVENT_INTR = 0,
	X86_EVENT_NMI = 2,
	X86_EVENT_EXCEPTION = 3,
	X86_EVENT_SOFT = 4, /* INT n */
};

#define X86_NR_MTRR_VAR 8

struct cpu_state {
	uint64_t gpr[16];
	uint64_t rip, rflags;
	struct x86_seg seg[SEG_NR], ldtr, tr;
	struct x86_dtable gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8, xcr0, xss;
	uint64_t pdpte[4]; /* of PAE paging, where has_pdptes: as the processor loaded them */
	bool has_pdptes;
	uint32_t pkru;
	uint64_t dr[4], dr6, dr7;
	/* x87 as in FXSAVE, and vectors as ZMM */
	uint16_t fcw, fsw, fop;
	uint8_t ftw; /* abridged: 1 = valid */
	uint64_t fip, fdp;
	uint16_t fcs, fds;
	uint32_t mxcsr;
	uint8_t st[8][16]; /* ST(i), 10 bytes used */
	uint8_t vec[32][64] __attribute__((aligned(64)));
	uint64_t k[8];
	/* MSRs */
	uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t tsc_offset, tsc_adjust, tsc_aux;
	uint64_t apic_base, pat, misc_enable, spec_ctrl, debugctl, smbase, feature_control;
	uint64_t mtrr_def_type, mtrr_fixed[11];
	uint64_t mtrr_base[X86_NR_MTRR_VAR], mtrr_mask[X86_NR_MTRR_VAR];
	uint64_t mcg_status, mcg_ctl, mc_ctl[4], mc_status[4], mc_addr[4], mc_misc[4];
	uint64_t amd_hwcr, amd_syscfg, amd_de_cfg, amd_top_mem[2];
	/* KVM's paravirtual MSRs. Setting a clock, time or count has it written to guest memory. */
	uint64_t pv_system_time, pv_wall_clock, pv_steal_time, pv_eoi, pv_poll_control;
	uint64_t pv_async_pf, pv_async_pf_int;
	/* what is in flight */
	uint8_t mp_state;
	bool sti_shadow, mov_ss_shadow, nmi_masked, in_smm;
	bool nmi_pending, smi_pending;
	bool init_pending;	/* held back by SMM, or not seen yet */
	bool sipi_pending;	/* came behind an INIT that is done */
	uint8_t sipi_vector;
	bool wake_pending; /* the next HLT ends at once (PV unhalt) */
	bool event_injected; /* an exception or interrupt whose delivery has begun */
	uint8_t event_vector, event_type;
	bool event_has_error;
	uint32_t event_error;
};

#endif

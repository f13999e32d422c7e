/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of struct cpu_state, and what every engine may take for granted of one that was
 * loaded: reserved bits are clear, addresses are canonical, modes are possible. What the CPU model
 * allows beyond that is the engine's to check. Intel SDM vol. 3, chapter 2; AMD APM vol. 2, 3.1.
 */
#include "base/base.h"
#include "arch/x86/board.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/x86.h"

#define CR0_KNOWN                                                                                  \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
	 CR0_PG)
#define RFLAGS_KNOWN 0x3f7fd7u
#define XCR0_X87     1u
#define XCR0_SSE     2u
#define XCR0_AVX     4u
#define XCR0_AVX512  0xe0u
#define SEG_ATTR     0x1fffu

/* 57 bits: whether the guest uses all of them is the engine's knowledge. */
static bool canonical(uint64_t addr)
{
	return (uint64_t)((int64_t)(addr << 7) >> 7) == addr;
}

static bool memory_types_ok(uint64_t types, bool pat)
{
	for (unsigned i = 0; i < 64; i += 8) {
		unsigned t = types >> i & 0xff;

		if (t > 7 || t == 2 || t == 3 || (t == 7 && !pat))
			return false;
	}
	return true;
}

static int check_control(const struct cpu_state *s, struct err *e)
{
	if (s->cr0 & ~CR0_KNOWN || ((s->cr0 & CR0_PG) && !(s->cr0 & CR0_PE)) ||
	    ((s->cr0 & CR0_NW) && !(s->cr0 & CR0_CD)))
		return err_set(e, EINVAL, "cpu: field 'cr0' is %#" PRIx64, s->cr0);
	if ((s->efer & EFER_LMA) &&
	    (!(s->cr0 & CR0_PG) || !(s->cr4 & CR4_PAE) || !(s->efer & EFER_LME)))
		return err_set(e, EINVAL, "cpu: field 'efer' has LMA without LME, PG and PAE");
	if ((s->efer & EFER_LME) && (s->cr0 & CR0_PG) && !(s->efer & EFER_LMA))
		return err_set(e, EINVAL, "cpu: field 'efer' lacks LMA, with LME and PG");
	if (s->cr8 > 15)
		return err_set(e, EINVAL, "cpu: field 'cr8' is %#" PRIx64, s->cr8);
	if (!(s->xcr0 & XCR0_X87) || (s->xcr0 & (XCR0_SSE | XCR0_AVX)) == XCR0_AVX ||
	    ((s->xcr0 & XCR0_AVX512) &&
	     (s->xcr0 & (XCR0_AVX512 | XCR0_AVX)) != (XCR0_AVX512 | XCR0_AVX)))
		return err_set(e, EINVAL, "cpu: field 'xcr0' is %#" PRIx64, s->xcr0);
	if ((s->dr6 | s->dr7) >> 32)
		return err_set(e, EINVAL, "cpu: field 'dr6' or 'dr7' is wider than 32 bits");
	return 0;
}

static int check_addresses(const struct cpu_state *s, struct err *e)
{
	const uint64_t linear[] = {
		s->rip,	    s->gdtr.base,	 s->idtr.base,	      s->ldtr.base,
		s->tr.base, s->seg[SEG_FS].base, s->seg[SEG_GS].base, s->lstar,
		s->cstar,   s->kernel_gs_base,	 s->sysenter_esp,     s->sysenter_eip
	};

	for (size_t i = 0; i < ARRAY_SIZE(linear); i++)
		if (!canonical(linear[i]))
			return err_set(e, EINVAL, "cpu: address %#" PRIx64 " is not canonical",
				       linear[i]);
	return 0;
}

static int check_events(const struct cpu_state *s, struct err *e)
{
	if (s->mp_state > MP_SHUTDOWN)
		return err_set(e, EINVAL, "cpu: field 'mp_state' is %u", s->mp_state);
	if (s->event_type != X86_EVENT_INTR && s->event_type != X86_EVENT_NMI &&
	    s->event_type != X86_EVENT_EXCEPTION && s->event_type != X86_EVENT_SOFT)
		return err_set(e, EINVAL, "cpu: field 'event_type' is %u", s->event_type);
	if (s->event_injected && s->event_type == X86_EVENT_EXCEPTION && s->event_vector > 31)
		return err_set(e, EINVAL, "cpu: field 'event_vector' is %u", s->event_vector);
	return 0;
}

static int check_cpu(void *obj, struct err *e)
{
	const struct cpu_state *s = obj;
	int ret = check_control(s, e);

	if (ret == 0)
		ret = check_addresses(s, e);
	if (ret == 0)
		ret = check_events(s, e);
	if (ret < 0)
		return ret;
	if ((s->rflags & ~(uint64_t)RFLAGS_KNOWN) || !(s->rflags & FLAG_R1))
		return err_set(e, EINVAL, "cpu: field 'rflags' is %#" PRIx64, s->rflags);
	if (!memory_types_ok(s->pat, true))
		return err_set(e, EINVAL, "cpu: field 'pat' is %#" PRIx64, s->pat);
	for (size_t i = 0; i < ARRAY_SIZE(s->mtrr_fixed); i++)
		if (!memory_types_ok(s->mtrr_fixed[i], false))
			return err_set(e, EINVAL, "cpu: field 'mtrr_fixed' %zu is %#" PRIx64, i,
				       s->mtrr_fixed[i]);
	return 0;
}

static int check_seg(void *obj, struct err *e)
{
	const struct x86_seg *g = obj;

	return g->attr & ~SEG_ATTR ? err_set(e, EINVAL, "segment: field 'attr' is %#x", g->attr)
				   : 0;
}

#define S struct x86_seg
static const struct state_desc seg_state = {
	.name = "segment",
	.struct_name = "x86_seg",
	.version = 1,
	.post_load = check_seg,
	.fields = (const struct state_field[]){ ST_U64(S, base), ST_U32(S, limit), ST_U16(S, sel),
						ST_U16(S, attr), ST_END },
};
#undef S

#define S struct x86_dtable
static const struct state_desc dtable_state = {
	.name = "descriptor-table",
	.struct_name = "x86_dtable",
	.version = 1,
	.fields = (const struct state_field[]){ ST_U64(S, base), ST_U16(S, limit), ST_END },
};
#undef S

/* tsc_offset is against the TSC of the host that saved: arch_state_apply() moves it. */
#define S struct cpu_state
const struct state_desc x86_cpu_state = {
	.name = "cpu",
	.struct_name = "cpu_state",
	.version = 1,
	.post_load = check_cpu,
	.fields = (const struct state_field[]){ ST_U64A(S, gpr),
						ST_U64(S, rip),
						ST_U64(S, rflags),
						ST_SUBA(S, seg, &seg_state),
						ST_SUB(S, ldtr, &seg_state),
						ST_SUB(S, tr, &seg_state),
						ST_SUB(S, gdtr, &dtable_state),
						ST_SUB(S, idtr, &dtable_state),
						ST_U64(S, cr0),
						ST_U64(S, cr2),
						ST_U64(S, cr3),
						ST_U64(S, cr4),
						ST_U64(S, cr8),
						ST_U64(S, xcr0),
						ST_U64(S, xss),
						ST_U64A(S, pdpte),
						ST_BOOL(S, has_pdptes),
						ST_U32(S, pkru),
						ST_U64A(S, dr),
						ST_U64(S, dr6),
						ST_U64(S, dr7),
						ST_U16(S, fcw),
						ST_U16(S, fsw),
						ST_U16(S, fop),
						ST_U8(S, ftw),
						ST_U64(S, fip),
						ST_U64(S, fdp),
						ST_U16(S, fcs),
						ST_U16(S, fds),
						ST_U32(S, mxcsr),
						ST_U8AA(S, st),
						ST_U8AA(S, vec),
						ST_U64A(S, k),
						ST_U64(S, efer),
						ST_U64(S, star),
						ST_U64(S, lstar),
						ST_U64(S, cstar),
						ST_U64(S, sfmask),
						ST_U64(S, kernel_gs_base),
						ST_U64(S, sysenter_cs),
						ST_U64(S, sysenter_esp),
						ST_U64(S, sysenter_eip),
						ST_U64(S, tsc_offset),
						ST_U64(S, tsc_adjust),
						ST_U64(S, tsc_aux),
						ST_U64(S, apic_base),
						ST_U64(S, pat),
						ST_U64(S, misc_enable),
						ST_U64(S, spec_ctrl),
						ST_U64(S, debugctl),
						ST_U64(S, smbase),
						ST_U64(S, feature_control),
						ST_U64(S, mtrr_def_type),
						ST_U64A(S, mtrr_fixed),
						ST_U64A(S, mtrr_base),
						ST_U64A(S, mtrr_mask),
						ST_U64(S, mcg_status),
						ST_U64(S, mcg_ctl),
						ST_U64A(S, mc_ctl),
						ST_U64A(S, mc_status),
						ST_U64A(S, mc_addr),
						ST_U64A(S, mc_misc),
						ST_U64(S, amd_hwcr),
						ST_U64(S, amd_syscfg),
						ST_U64(S, amd_de_cfg),
						ST_U64A(S, amd_top_mem),
						ST_U64(S, pv_system_time),
						ST_U64(S, pv_wall_clock),
						ST_U64(S, pv_steal_time),
						ST_U64(S, pv_eoi),
						ST_U64(S, pv_poll_control),
						ST_U64(S, pv_async_pf),
						ST_U64(S, pv_async_pf_int),
						ST_U8(S, mp_state),
						ST_BOOL(S, sti_shadow),
						ST_BOOL(S, mov_ss_shadow),
						ST_BOOL(S, nmi_masked),
						ST_BOOL(S, in_smm),
						ST_BOOL(S, nmi_pending),
						ST_BOOL(S, smi_pending),
						ST_BOOL(S, init_pending),
						ST_BOOL(S, sipi_pending),
						ST_U8(S, sipi_vector),
						ST_BOOL(S, wake_pending),
						ST_BOOL(S, event_injected),
						ST_U8(S, event_vector),
						ST_U8(S, event_type),
						ST_BOOL(S, event_has_error),
						ST_U32(S, event_error),
						ST_END },
};
#undef S

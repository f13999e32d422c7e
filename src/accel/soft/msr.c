/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model-specific registers: those that are plain state, those with rules, those that read as a
 * constant, and the board's (local APIC, paravirtual) behind vcpu_ops. Unknown ones are #GP and
 * logged. Intel SDM vol. 4, AMD APM vol. 2 appendix A, AMD processor references; Linux
 * Documentation/virt/kvm/x86/msr.rst. On the vCPU's thread.
 */
#include "accel/soft/soft_vm.h"
#include "accel/soft/sys.h"
#include "base/log.h"
#include "isa/x86/mce.h"
#include "isa/x86/msr.h"
#include <x86intrin.h>

#define AMD_ONLY	0xc0010000 /* and above */
#define MSR_HWCR	0xc0010015
#define HWCR_MCI_STATUS BIT64(18)
#define HWCR_TSC_P0	BIT64(24)
#define EFER_AIBRSE	BIT64(21)

uint64_t cpu_tsc(const struct soft_cpu *c)
{
	return __rdtsc() + c->s.tsc_offset;
}

/* Plain 64-bit members of cpu_state. */
enum msr_rule { RULE_MASK /* bits outside mask: #GP */, RULE_CANONICAL, RULE_TRUNCATE };
struct msr_field {
	uint32_t msr;
	uint16_t offset;
	uint8_t feature;
	uint8_t rule;
	uint64_t mask;
};
#define FIELD(msr, member, feature, rule, mask) \
	{ msr, offsetof(struct cpu_state, member), feature, rule, mask }
#define ANY UINT64_MAX
static const struct msr_field fields[] = {
	FIELD(MSR_SYSENTER_CS, sysenter_cs, X86F_SEP, RULE_TRUNCATE, 0xffffffff),
	FIELD(MSR_SYSENTER_ESP, sysenter_esp, X86F_SEP, RULE_CANONICAL, ANY),
	FIELD(MSR_SYSENTER_EIP, sysenter_eip, X86F_SEP, RULE_CANONICAL, ANY),
	FIELD(MSR_STAR, star, X86F_SYSCALL, RULE_MASK, ANY),
	FIELD(MSR_LSTAR, lstar, X86F_LM, RULE_CANONICAL, ANY),
	FIELD(MSR_CSTAR, cstar, X86F_LM, RULE_CANONICAL, ANY),
	FIELD(MSR_SFMASK, sfmask, X86F_LM, RULE_TRUNCATE, 0xffffffff),
	FIELD(MSR_KERNEL_GS_BASE, kernel_gs_base, X86F_LM, RULE_CANONICAL, ANY),
	FIELD(MSR_TSC_AUX, tsc_aux, X86F_RDTSCP, RULE_MASK, 0xffffffff),
	FIELD(MSR_MISC_ENABLE, misc_enable, X86F_NONE, RULE_TRUNCATE, ANY),
	FIELD(MSR_SPEC_CTRL, spec_ctrl, X86F_SPEC_CTRL, RULE_MASK, 0x407),
	FIELD(MSR_DEBUGCTL, debugctl, X86F_NONE, RULE_TRUNCATE, 0),
	FIELD(MSR_MCG_STATUS, mcg_status, X86F_MCE, RULE_MASK, 7),
	FIELD(MSR_MCG_CTL, mcg_ctl, X86F_MCE, RULE_MASK, ANY),
	FIELD(MSR_XSS, xss, X86F_XSAVES, RULE_MASK, 0),
	FIELD(0xc0010010, amd_syscfg, X86F_NONE, RULE_TRUNCATE, 0x3f70000), /* SYSCFG */
	FIELD(0xc001001a, amd_top_mem[0], X86F_NONE, RULE_TRUNCATE, 0xffffff800000),
	FIELD(0xc001001d, amd_top_mem[1], X86F_NONE, RULE_TRUNCATE, 0xffffff800000),
};

static uint64_t *field_at(struct soft_cpu *c, const struct msr_field *f)
{
	return (uint64_t *)((char *)&c->s + f->offset);
}

static const struct msr_field *find_field(const struct soft_cpu *c, uint32_t msr)
{
	if (msr >= AMD_ONLY && !cpu_is_amd(c))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (fields[i].msr == msr && cpu_has(c, fields[i].feature))
			return &fields[i];
	return NULL;
}

static bool write_field(struct soft_cpu *c, const struct msr_field *f, uint64_t val)
{
	switch ((enum msr_rule)f->rule) {
	case RULE_MASK:
		if (val & ~f->mask)
			return false;
		break;
	case RULE_CANONICAL:
		if (!canonical(c, val))
			return false;
		break;
	case RULE_TRUNCATE:
		val &= f->mask;
		break;
	}
	*field_at(c, f) = val;
	return true;
}

static bool write_efer(struct soft_cpu *c, uint64_t val)
{
	uint64_t allowed = EFER_SCE | EFER_LME | EFER_LMA, old = c->s.efer;

	if (cpu_has(c, X86F_NX))
		allowed |= EFER_NXE;
	if (cpu_has(c, X86F_FXSR_OPT))
		allowed |= EFER_FFXSR;
	if (cpu_has(c, X86F_AUTO_IBRS))
		allowed |= EFER_AIBRSE;
	if (val & ~allowed || ((val ^ old) & EFER_LME && c->s.cr0 & CR0_PG))
		return false;
	c->s.efer = (val & ~EFER_LMA) | (old & EFER_LMA);
	if ((val ^ old) & EFER_NXE)
		mmu_flush(c, true, TLB_WHY_MODE);
	cpu_mode_changed(c);
	return true;
}

static bool memory_type_ok(unsigned t)
{
	return t == 0 || t == 1 || t == 4 || t == 5 || t == 6;
}

static bool write_pat(struct soft_cpu *c, uint64_t val)
{
	for (unsigned i = 0; i < 64; i += 8) {
		unsigned t = val >> i & 0xff;

		if (!memory_type_ok(t) && t != 7)
			return false;
	}
	c->s.pat = val;
	return true;
}

/* The member behind an MTRR's number, or NULL. */
static uint64_t *mtrr_at(struct soft_cpu *c, uint32_t msr)
{
	if (msr >= MSR_MTRR_BASE0 && msr < MSR_MTRR_BASE0 + 2 * X86_NR_MTRR_VAR) {
		unsigned i = (msr - MSR_MTRR_BASE0) / 2;

		return msr & 1 ? &c->s.mtrr_mask[i] : &c->s.mtrr_base[i];
	}
	if (msr == MSR_MTRR_FIX64K)
		return &c->s.mtrr_fixed[0];
	if (msr == MSR_MTRR_FIX16K_80000 || msr == MSR_MTRR_FIX16K_A0000)
		return &c->s.mtrr_fixed[1 + msr - MSR_MTRR_FIX16K_80000];
	if (msr >= MSR_MTRR_FIX4K_C0000 && msr < MSR_MTRR_FIX4K_C0000 + 8)
		return &c->s.mtrr_fixed[3 + msr - MSR_MTRR_FIX4K_C0000];
	return msr == MSR_MTRR_DEF_TYPE ? &c->s.mtrr_def_type : NULL;
}

static bool write_mtrr(struct soft_cpu *c, uint32_t msr, uint64_t *at, uint64_t val)
{
	uint64_t above = UINT64_MAX << c->vm->model->phys_bits;

	if (msr == MSR_MTRR_DEF_TYPE) {
		if (val & ~0xcffull || !memory_type_ok(val & 0xff))
			return false;
	} else if (msr >= MSR_MTRR_FIX64K) {
		for (unsigned i = 0; i < 64; i += 8)
			if (!memory_type_ok(val >> i & 0xff))
				return false;
	} else if (msr & 1) {
		if (val & (above | 0x7ff))
			return false;
	} else if (val & (above | 0xf00) || !memory_type_ok(val & 0xff)) {
		return false;
	}
	*at = val;
	return true;
}

static uint64_t *mc_at(struct soft_cpu *c, uint32_t msr)
{
	unsigned bank = (msr - MSR_MC0_CTL) / 4;

	if (msr < MSR_MC0_CTL || bank >= MC_BANKS)
		return NULL;
	switch (msr & 3) {
	case 0:
		return &c->s.mc_ctl[bank];
	case 1:
		return &c->s.mc_status[bank];
	case 2:
		return &c->s.mc_addr[bank];
	default:
		return &c->s.mc_misc[bank];
	}
}

static bool write_mc(struct soft_cpu *c, uint32_t msr, uint64_t *at, uint64_t val)
{
	/* only zero may be written to status and what goes with it, but for injection tests */
	if (msr & 3 && val && !(c->s.amd_hwcr & HWCR_MCI_STATUS))
		return false;
	*at = val;
	return true;
}

/* What this CPU is not vulnerable to, so that an Intel kernel builds no useless defences. */
#define ARCH_CAP_SAFE                                                                              \
	(BIT64(0) /* RDCL_NO */ | BIT64(1) /* IBRS_ALL */ | BIT64(3) /* SKIP_L1DFL */ |            \
	 BIT64(4) /* SSB_NO */ | BIT64(5) /* MDS_NO */ | BIT64(6) /* PSCHANGE_MC_NO */ |           \
	 BIT64(8) /* TAA_NO */ | BIT64(13) /* SBDR_SSDP_NO */ | BIT64(14) /* FBSDP_NO */ |         \
	 BIT64(15) /* PSDP_NO */ | BIT64(20) /* BHI_NO */ | BIT64(24) /* PBRSB_NO */ |             \
	 BIT64(26) /* GDS_NO */ | BIT64(27) /* RFDS_NO */ | BIT64(62) /* ITS_NO */)

static bool ops_read(struct soft_cpu *c, uint32_t msr, uint64_t *val, bool *ok)
{
	const struct vcpu_ops *ops = c->vcpu->ops;
	int r = ops && ops->read_msr ? ops->read_msr(c->vcpu, msr, val) : -ENOENT;

	*ok = r == 0;
	return r != -ENOENT;
}

static bool ops_write(struct soft_cpu *c, uint32_t msr, uint64_t val, bool *ok)
{
	const struct vcpu_ops *ops = c->vcpu->ops;
	int r = ops && ops->write_msr ? ops->write_msr(c->vcpu, msr, val) : -ENOENT;

	*ok = r == 0;
	return r != -ENOENT;
}

/*
 * The board's clocks run on the guest's TSC; what it made from the old one - the instant of an armed
 * deadline, the PV clock's page - it makes anew when the register is written again.
 */
static void move_tsc(struct soft_cpu *c, uint64_t delta)
{
	static const uint32_t derived[] = { MSR_TSC_DEADLINE, MSR_KVM_SYSTEM_TIME_NEW };
	uint64_t val;
	bool ok;

	c->s.tsc_offset += delta;
	atomic_store_explicit(&c->vcpu->tsc_offset, c->s.tsc_offset, memory_order_relaxed);
	for (size_t i = 0; i < ARRAY_SIZE(derived); i++) {
		val = 0;
		if (ops_read(c, derived[i], &val, &ok) && ok && val)
			ops_write(c, derived[i], val, &ok);
	}
}

static bool apic_base_ok(const struct soft_cpu *c, uint64_t val)
{
	if (val >> c->vm->model->phys_bits || val & 0x2ff)
		return false;
	return !(val & BIT64(10)) || cpu_has(c, X86F_X2APIC);
}

/* Of the board's registers, those that the CPU model hides. */
static bool hidden(const struct soft_cpu *c, uint32_t msr)
{
	return msr == MSR_TSC_DEADLINE && !cpu_has(c, X86F_TSC_DEADLINE);
}

static bool unknown(struct soft_cpu *c, uint32_t msr, const char *how)
{
	if (log_allow(&c->msr_log))
		log_debug("vcpu%u: %s of unknown MSR %#x: #GP", c->vcpu->index, how, msr);
	return false;
}

/* Registers with rules of their own. -1: not one of them, 0: #GP, 1: done. */
static int read_special(struct soft_cpu *c, uint32_t msr, uint64_t *val)
{
	bool amd = cpu_is_amd(c);

	switch (msr) {
	case MSR_TSC:
		*val = cpu_tsc(c);
		return 1;
	case MSR_TSC_ADJUST:
		*val = c->s.tsc_adjust;
		return cpu_has(c, X86F_TSC_ADJUST);
	case MSR_APIC_BASE:
		*val = c->s.apic_base;
		return 1;
	case MSR_FEATURE_CONTROL:
		*val = c->s.feature_control;
		return !amd;
	case MSR_MTRRCAP:
		*val = X86_NR_MTRR_VAR | BIT64(8) | BIT64(10); /* fixed ranges, write-combining */
		return cpu_has(c, X86F_MTRR);
	case MSR_PAT:
		*val = c->s.pat;
		return 1;
	case MSR_ARCH_CAPABILITIES:
		*val = ARCH_CAP_SAFE;
		return cpu_has(c, X86F_ARCH_CAP);
	case MSR_MCG_CAP:
		*val = x86_mcg_cap(c->vm->model);
		return cpu_has(c, X86F_MCE);
	case MSR_EFER:
		*val = c->s.efer;
		return 1;
	case MSR_FS_BASE:
		*val = c->s.seg[SEG_FS].base;
		return 1;
	case MSR_GS_BASE:
		*val = c->s.seg[SEG_GS].base;
		return 1;
	case MSR_HWCR:
		*val = c->s.amd_hwcr | HWCR_TSC_P0;
		return amd;
	case 0xc0011029: /* DE_CFG: LFENCE serializes */
		*val = c->s.amd_de_cfg | 2;
		return amd;
	case 0xc0010111: /* SMBASE */
		*val = c->s.smbase;
		return amd && c->s.in_smm;
	default:
		return -1;
	}
}

bool msr_read(struct soft_cpu *c, uint32_t msr, uint64_t *val)
{
	const struct msr_field *f;
	const struct x86_msr_const *k;
	uint64_t *at;
	bool ok;
	int r;

	*val = 0;
	if (hidden(c, msr))
		return unknown(c, msr, "read");
	if (ops_read(c, msr, val, &ok))
		return ok;
	r = read_special(c, msr, val);
	if (r >= 0)
		return r;
	f = find_field(c, msr);
	at = f ? field_at(c, f) : mtrr_at(c, msr);
	if (!at)
		at = mc_at(c, msr);
	if (at) {
		*val = *at;
		return true;
	}
	k = x86_msr_const(c->vm->model->vendor, msr);
	if (!k)
		return unknown(c, msr, "read");
	*val = k->value;
	return true;
}

static void write_tsc(struct soft_cpu *c, uint64_t val)
{
	uint64_t delta = val - cpu_tsc(c);

	move_tsc(c, delta);
	c->s.tsc_adjust += delta;
}

static int write_base(struct soft_cpu *c, unsigned seg, uint64_t val)
{
	if (!canonical(c, val))
		return 0;
	seg_set_base(c, seg, val);
	return 1;
}

static int write_special(struct soft_cpu *c, uint32_t msr, uint64_t val)
{
	bool amd = cpu_is_amd(c);

	switch (msr) {
	case MSR_TSC:
		write_tsc(c, val);
		return 1;
	case MSR_TSC_ADJUST:
		if (!cpu_has(c, X86F_TSC_ADJUST))
			return 0;
		move_tsc(c, val - c->s.tsc_adjust);
		c->s.tsc_adjust = val;
		return 1;
	case MSR_APIC_BASE:
		c->s.apic_base = val;
		return 1;
	case MSR_FEATURE_CONTROL:
		if (amd || c->s.feature_control & 1)
			return 0;
		c->s.feature_control = val;
		return 1;
	case MSR_PRED_CMD:
		return !(val & ~1ull) && (amd || cpu_has(c, X86F_SPEC_CTRL));
	case MSR_MTRRCAP:
	case MSR_ARCH_CAPABILITIES:
	case MSR_MCG_CAP:
		return 0;
	case MSR_PAT:
		return write_pat(c, val);
	case MSR_EFER:
		return write_efer(c, val);
	case MSR_FS_BASE:
		return write_base(c, SEG_FS, val);
	case MSR_GS_BASE:
		return write_base(c, SEG_GS, val);
	case MSR_HWCR:
		c->s.amd_hwcr = val & HWCR_MCI_STATUS;
		return amd;
	case 0xc0011029:
		c->s.amd_de_cfg = val;
		return amd;
	case 0xc0010111:
		return 0; /* SMBASE moves through the save area */
	default:
		return -1;
	}
}

bool msr_write(struct soft_cpu *c, uint32_t msr, uint64_t val)
{
	const struct msr_field *f;
	const struct x86_msr_const *k;
	uint64_t *at;
	bool ok;
	int r;

	if (hidden(c, msr))
		return unknown(c, msr, "write");
	if (msr == MSR_APIC_BASE && !apic_base_ok(c, val))
		return false;
	if (ops_write(c, msr, val, &ok)) {
		if (ok && msr == MSR_APIC_BASE)
			c->s.apic_base = val;
		return ok;
	}
	r = write_special(c, msr, val);
	if (r >= 0)
		return r;
	f = find_field(c, msr);
	if (f)
		return write_field(c, f, val);
	at = mtrr_at(c, msr);
	if (at)
		return write_mtrr(c, msr, at, val);
	at = mc_at(c, msr);
	if (at)
		return write_mc(c, msr, at, val);
	k = x86_msr_const(c->vm->model->vendor, msr);
	if (!k)
		return unknown(c, msr, "write");
	return !k->read_only;
}

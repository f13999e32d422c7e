/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSRs of a KVM guest: those that are members of cpu_state, in and out, and the filter that brings
 * the board's to us. Control thread, or the vCPU's own. Source: api.rst 4.18, 4.97; Intel SDM
 * vol. 4, AMD APM vol. 2 appendix A.
 */
#include "base/base.h"
#include "accel/kvm/kvm_int.h"
#include "base/log.h"
#include "isa/x86/mce.h"
#include "isa/x86/msr.h"
#include "isa/x86/x86.h"
#include <linux/kvm_para.h>

/* #syscalls start: ioctl(KVM_ENABLE_CAP) ioctl(KVM_X86_SET_MSR_FILTER) ioctl(KVM_X86_SETUP_MCE) */
/* #syscalls vcpu: ioctl(KVM_X86_SET_MCE) */
/* #syscalls control vcpu: ioctl(KVM_GET_MSRS) ioctl(KVM_SET_MSRS) */

#define MSR_FLUSH_CMD 0x10bu
#define MSR_SYSCFG    0xc0010010u
#define MSR_HWCR      0xc0010015u
#define MSR_DE_CFG    0xc0011029u

struct msr_row {
	uint32_t msr;
	uint16_t offset;
	uint64_t initial; /* what it is where the host lacks it */
};
#define ROW(msr, member, initial)                                \
	{                                                        \
		msr, offsetof(struct cpu_state, member), initial \
	}
#define VAR(i)                                          \
	ROW(MSR_MTRR_BASE0 + 2 * (i), mtrr_base[i], 0), \
		ROW(MSR_MTRR_BASE0 + 2 * (i) + 1, mtrr_mask[i], 0)
#define BANK(i)                                                                                    \
	ROW(MSR_MC0_CTL + 4 * (i), mc_ctl[i], 0), ROW(MSR_MC0_CTL + 4 * (i) + 1, mc_status[i], 0), \
		ROW(MSR_MC0_CTL + 4 * (i) + 2, mc_addr[i], 0),                                     \
		ROW(MSR_MC0_CTL + 4 * (i) + 3, mc_misc[i], 0)

static const struct msr_row rows[] = {
	ROW(MSR_SYSENTER_CS, sysenter_cs, 0),
	ROW(MSR_SYSENTER_ESP, sysenter_esp, 0),
	ROW(MSR_SYSENTER_EIP, sysenter_eip, 0),
	ROW(MSR_STAR, star, 0),
	ROW(MSR_LSTAR, lstar, 0),
	ROW(MSR_CSTAR, cstar, 0),
	ROW(MSR_SFMASK, sfmask, 0),
	ROW(MSR_KERNEL_GS_BASE, kernel_gs_base, 0),
	ROW(MSR_TSC_AUX, tsc_aux, 0),
	ROW(MSR_TSC_ADJUST, tsc_adjust, 0),
	ROW(MSR_PAT, pat, 0x0007040600070406ull),
	ROW(MSR_MISC_ENABLE, misc_enable, 1),
	ROW(MSR_SPEC_CTRL, spec_ctrl, 0),
	ROW(MSR_DEBUGCTL, debugctl, 0),
	ROW(MSR_XSS, xss, 0),
	ROW(MSR_FEATURE_CONTROL, feature_control, 0),
	ROW(MSR_MTRR_DEF_TYPE, mtrr_def_type, 0),
	ROW(MSR_MTRR_FIX64K, mtrr_fixed[0], 0),
	ROW(MSR_MTRR_FIX16K_80000, mtrr_fixed[1], 0),
	ROW(MSR_MTRR_FIX16K_A0000, mtrr_fixed[2], 0),
	ROW(MSR_MTRR_FIX4K_C0000, mtrr_fixed[3], 0),
	ROW(MSR_MTRR_FIX4K_C0000 + 1, mtrr_fixed[4], 0),
	ROW(MSR_MTRR_FIX4K_C0000 + 2, mtrr_fixed[5], 0),
	ROW(MSR_MTRR_FIX4K_C0000 + 3, mtrr_fixed[6], 0),
	ROW(MSR_MTRR_FIX4K_C0000 + 4, mtrr_fixed[7], 0),
	ROW(MSR_MTRR_FIX4K_C0000 + 5, mtrr_fixed[8], 0),
	ROW(MSR_MTRR_FIX4K_C0000 + 6, mtrr_fixed[9], 0),
	ROW(MSR_MTRR_FIX4K_C0000 + 7, mtrr_fixed[10], 0),
	VAR(0),
	VAR(1),
	VAR(2),
	VAR(3),
	VAR(4),
	VAR(5),
	VAR(6),
	VAR(7),
	ROW(MSR_MCG_STATUS, mcg_status, 0),
	ROW(MSR_MCG_CTL, mcg_ctl, 0),
	BANK(0),
	BANK(1),
	BANK(2),
	BANK(3),
	ROW(MSR_HWCR, amd_hwcr, 0),
	ROW(MSR_DE_CFG, amd_de_cfg, 0),
	ROW(MSR_KVM_WALL_CLOCK_NEW, pv_wall_clock, 0),
	ROW(MSR_KVM_SYSTEM_TIME_NEW, pv_system_time, 0),
	ROW(MSR_KVM_STEAL_TIME, pv_steal_time, 0),
	ROW(MSR_KVM_PV_EOI_EN, pv_eoi, 0),
	ROW(MSR_KVM_POLL_CONTROL, pv_poll_control, 1),
	ROW(MSR_KVM_ASYNC_PF_EN, pv_async_pf, 0),
	ROW(MSR_KVM_ASYNC_PF_INT, pv_async_pf_int, 0),
};

static uint64_t *member(const struct cpu_state *s, const struct msr_row *row)
{
	return (uint64_t *)((uintptr_t)s + row->offset);
}

/*
 * KVM_GET_MSRS stops at the first MSR that this host or this CPU model does not have; the rest goes
 * on behind it, and what is not there reads as if it had never been written.
 */
int kvm_msrs_get(struct kvm_vcpu *c, struct cpu_state *s)
{
	autofree struct kvm_msrs *m =
		xcalloc(1, sizeof(*m) + ARRAY_SIZE(rows) * sizeof(m->entries[0]));

	for (unsigned first = 0; first < ARRAY_SIZE(rows); first++) {
		int n;

		m->nmsrs = 0;
		for (unsigned i = first; i < ARRAY_SIZE(rows); i++)
			m->entries[m->nmsrs++].index = rows[i].msr;
		n = kvm_ioctl(c->fd, KVM_GET_MSRS, m);
		if (n < 0)
			return n;
		for (int i = 0; i < n; i++)
			*member(s, &rows[first + (unsigned)i]) = m->entries[i].data;
		first += (unsigned)n;
		if (first < ARRAY_SIZE(rows))
			*member(s, &rows[first]) = rows[first].initial;
	}
	return 0;
}

/* KVM stops at the first that it refuses, and says how far it came. */
static int set_all(struct kvm_vcpu *c, const struct kvm_msrs *m, struct err *e)
{
	int n = m->nmsrs ? kvm_ioctl(c->fd, KVM_SET_MSRS, m) : 0;

	if (n < 0)
		return err_set_errno(e, -n, "KVM does not take the vCPU's MSRs (KVM_SET_MSRS)");
	if ((unsigned)n == m->nmsrs)
		return 0;
	return err_set(e, EINVAL,
		       "vCPU state: MSR %#x = %#" PRIx64 " is not to be had under this host's "
		       "KVM with CPU model '%s'",
		       m->entries[n].index, (uint64_t)m->entries[n].data, c->kv->model.name);
}

/* Only what differs is written: the host's log gets a line for each write that KVM ignores. */
int kvm_msrs_set(struct kvm_vcpu *c, const struct cpu_state *s, struct err *e)
{
	autofree struct kvm_msrs *m =
		xcalloc(1, sizeof(*m) + ARRAY_SIZE(rows) * sizeof(m->entries[0]));
	struct cpu_state now;
	int r = kvm_msrs_get(c, &now);

	if (r < 0)
		return err_set_errno(e, -r, "KVM does not tell the vCPU's MSRs (KVM_GET_MSRS)");
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t val = *member(s, &rows[i]);

		if (val != *member(&now, &rows[i]))
			m->entries[m->nmsrs++] =
				(struct kvm_msr_entry){ .index = rows[i].msr, .data = val };
	}
	return set_all(c, m, e);
}

/* A feature's register is the vCPU's for good when it has run; this one guests write. */
void kvm_msrs_keep(struct kvm_vcpu *c, struct cpu_state *s)
{
	struct cpu_state now;

	if (c->left && kvm_msrs_get(c, &now) == 0)
		s->amd_de_cfg = now.amd_de_cfg;
}

/* What a host or a model lacks was never on, so refusals do not matter. */
void kvm_msrs_reset(struct kvm_vcpu *c)
{
	static const struct kvm_msr_entry off[] = {
		{ .index = MSR_KVM_SYSTEM_TIME }, { .index = MSR_KVM_SYSTEM_TIME_NEW },
		{ .index = MSR_KVM_STEAL_TIME },  { .index = MSR_KVM_ASYNC_PF_EN },
		{ .index = MSR_KVM_PV_EOI_EN },	  { .index = MSR_KVM_POLL_CONTROL, .data = 1 },
	};
	autofree struct kvm_msrs *m = xcalloc(1, sizeof(*m) + sizeof(m->entries[0]));

	for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
		m->nmsrs = 1;
		m->entries[0] = off[i];
		kvm_ioctl(c->fd, KVM_SET_MSRS, m);
	}
}

/* ---- the filter ---- */

/* What KVM keeps that is no member of cpu_state's rows: time, paging, commands, capabilities. */
static const uint32_t kept[] = {
	MSR_TSC,       MSR_EFER,    MSR_FS_BASE,	   MSR_GS_BASE,
	MSR_MTRRCAP,   MSR_MCG_CAP, MSR_ARCH_CAPABILITIES, MSR_PRED_CMD,
	MSR_FLUSH_CMD, MSR_SYSCFG,  MSR_KVM_WALL_CLOCK,	   MSR_KVM_SYSTEM_TIME,
};

/*
 * Stretches of numbers with a bit for each register that KVM may carry out itself; what is in none
 * of them comes to us. From 800h on are the x2APIC's, which no filter touches.
 */
static const struct {
	uint32_t base, n;
} stretches[] = {
	{ 0, 0x800 },	       { 0xd00, 0x100 },       { MSR_KVM_WALL_CLOCK_NEW, 0x40 },
	{ 0xc0000000, 0x400 }, { 0xc0010000, 0x2000 },
};
#define NR_STRETCHES ARRAY_SIZE(stretches)

static void set_allowed(uint8_t *bits[NR_STRETCHES], uint32_t msr, bool allowed)
{
	for (size_t i = 0; i < NR_STRETCHES; i++) {
		uint32_t n = msr - stretches[i].base;

		if (n < stretches[i].n && allowed)
			bits[i][n / 8] |= (uint8_t)(1u << n % 8);
		else if (n < stretches[i].n)
			bits[i][n / 8] &= (uint8_t) ~(1u << n % 8);
	}
}

/*
 * With the board's own controllers the APIC's base and its deadline are the board's; without the
 * filter KVM would swallow them.
 */
static void choose_allowed(const struct kvm_vm *kv, uint8_t *bits[NR_STRETCHES])
{
	for (size_t i = 0; i < NR_STRETCHES; i++)
		memset(bits[i], kv->model.passthrough ? 0xff : 0, stretches[i].n / 8);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		set_allowed(bits, rows[i].msr, true);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		set_allowed(bits, kept[i], true);
	for (uint32_t msr = MSR_KVM_WALL_CLOCK_NEW; msr < MSR_KVM_WALL_CLOCK_NEW + 0x40; msr++)
		set_allowed(bits, msr, true);
	set_allowed(bits, MSR_APIC_BASE, kv->irqchip);
	set_allowed(bits, MSR_TSC_DEADLINE, kv->irqchip);
}

static int set_filter(struct kvm_vm *kv)
{
	static_assert(NR_STRETCHES <= KVM_MSR_FILTER_MAX_RANGES, "KVM takes no more");
	struct kvm_msr_filter f = { .flags = kv->model.passthrough ? KVM_MSR_FILTER_DEFAULT_ALLOW
								   : KVM_MSR_FILTER_DEFAULT_DENY };
	uint8_t *bits[NR_STRETCHES];
	int r;

	for (size_t i = 0; i < NR_STRETCHES; i++) {
		bits[i] = xcalloc(stretches[i].n / 8, 1);
		f.ranges[i] = (struct kvm_msr_filter_range){
			.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			.nmsrs = stretches[i].n,
			.base = stretches[i].base,
			.bitmap = bits[i],
		};
	}
	choose_allowed(kv, bits);
	r = kvm_ioctl(kv->fd, KVM_X86_SET_MSR_FILTER, &f);
	for (size_t i = 0; i < NR_STRETCHES; i++)
		free(bits[i]);
	return r;
}

/*
 * Guests get the registers of the CPU model from KVM and all others from us, so that they find the
 * same on each engine, and what they try is counted.
 */
int kvm_msr_filter(struct kvm_vm *kv, struct err *e)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args = { KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
			  KVM_MSR_EXIT_REASON_FILTER },
	};
	int r = kvm_ioctl(kv->fd, KVM_ENABLE_CAP, &cap);

	if (r < 0)
		return err_set_errno(e, -r, "KVM does not give MSR accesses to user space");
	r = set_filter(kv);
	if (r < 0)
		return err_set_errno(e, -r, "KVM refuses the MSR filter");
	return 0;
}

/* As many banks as the state has. */
int kvm_msr_vcpu(struct kvm_vcpu *c, struct err *e)
{
	uint64_t cap = x86_mcg_cap(&c->kv->model);
	int r = kvm_ioctl(c->fd, KVM_X86_SETUP_MCE, &cap);

	return r < 0 ? err_set_errno(e, -r, "KVM refuses %u banks of machine checks",
				     (unsigned)(cap & 0xff))
		     : 0;
}

int kvm_inject_mce(struct vcpu *v, const struct x86_mce *m)
{
	const struct kvm_x86_mce mce = {
		.status = m->status,
		.addr = m->addr,
		.misc = m->misc,
		.mcg_status = m->mcg_status,
		.bank = (uint8_t)m->bank,
	};
	int r = kvm_ioctl(kvm_vcpu(v)->fd, KVM_X86_SET_MCE, &mce);

	if (r >= 0 && (m->status & MCI_STATUS_UC))
		kvm_vcpu(v)->mp_state = MP_RUNNABLE; /* an exception ends a halt */
	return r;
}

/* ---- what comes to us ---- */

static bool refuse(struct kvm_vcpu *c, bool write)
{
	if (log_allow(&c->msr_log))
		log_debug("vcpu%u: %s of unknown MSR %#x: #GP", c->vcpu->index,
			  write ? "write" : "read", c->run->msr.index);
	return false;
}

bool kvm_msr_exit(struct kvm_vcpu *c, bool write, uint64_t *val)
{
	const struct vcpu_ops *ops = c->vcpu->ops;
	const struct kvm_run *run = c->run;
	const struct x86_msr_const *k;
	int r = -ENOENT;

	if (!c->kv->irqchip && ops->write_msr && ops->read_msr)
		r = write ? ops->write_msr(c->vcpu, run->msr.index, *val)
			  : ops->read_msr(c->vcpu, run->msr.index, val);
	if (r != -ENOENT)
		return r == 0;
	/* KVM has it, and does not take this value. */
	if (run->msr.reason == KVM_MSR_EXIT_REASON_INVAL)
		return refuse(c, write);
	k = x86_msr_const(c->kv->model.vendor, run->msr.index);
	if (!k)
		return refuse(c, write);
	if (!write)
		*val = k->value;
	return !write || !k->read_only;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole state of a KVM vCPU to and from cpu_state. The vCPU stands still, or it is its own
 * thread, with no access half done. Source: api.rst 4.1x (regs), 4.31 (events), 4.33 (debug
 * registers), 4.42 (XSAVE), 4.44 (XCRs); Intel SDM vol. 1, 13.4 (layout of the XSAVE area).
 */
#include "base/base.h"
#include "accel/kvm/kvm_int.h"
#include "base/bytes.h"
#include "isa/x86/reset.h"
#include "isa/x86/x86.h"
#include <cpuid.h>

/* #syscalls control vcpu: ioctl(KVM_GET_NESTED_STATE) ioctl(KVM_SET_NESTED_STATE)
 * ioctl(KVM_GET_DEBUGREGS) ioctl(KVM_GET_DEVICE_ATTR) ioctl(KVM_HAS_DEVICE_ATTR)
 * ioctl(KVM_GET_REGS)
 * ioctl(KVM_GET_SREGS) ioctl(KVM_GET_VCPU_EVENTS) ioctl(KVM_GET_XCRS) ioctl(KVM_GET_XSAVE)
 * ioctl(KVM_GET_XSAVE2) ioctl(KVM_SET_DEBUGREGS) ioctl(KVM_SET_DEVICE_ATTR) ioctl(KVM_SET_REGS)
 * ioctl(KVM_GET_SREGS2) ioctl(KVM_SET_SREGS2)
 * ioctl(KVM_SET_SREGS) ioctl(KVM_SET_VCPU_EVENTS) ioctl(KVM_SET_XCRS) ioctl(KVM_SET_XSAVE) */

#define XSAVE_BV    512u /* offset of XSTATE_BV */
#define COMP_YMM    2u
#define COMP_OPMASK 5u
#define COMP_ZMM_HI 6u
#define COMP_ZMM_16 7u
#define COMP_PKRU   9u

/* ---- segments and control registers ---- */

static struct x86_seg seg_from(const struct kvm_segment *k)
{
	struct x86_seg s = { .base = k->base, .limit = k->limit, .sel = k->selector };

	s.attr = (uint16_t)(k->type | k->dpl << SEG_DPL_SHIFT | (k->s ? SEG_S : 0) |
			    (k->present ? SEG_P : 0) | (k->avl ? SEG_AVL : 0) | (k->l ? SEG_L : 0) |
			    (k->db ? SEG_DB : 0) | (k->g ? SEG_G : 0));
	if (k->unusable)
		s.attr = (uint16_t)((s.attr & ~SEG_P) | SEG_UNUSABLE);
	return s;
}

static struct kvm_segment seg_to(const struct x86_seg *s)
{
	bool unusable = s->attr & SEG_UNUSABLE || !(s->attr & SEG_P);

	return (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->sel,
		.type = s->attr & SEG_TYPE,
		.present = !unusable,
		.dpl = (s->attr & SEG_DPL) >> SEG_DPL_SHIFT,
		.db = !!(s->attr & SEG_DB),
		.s = !!(s->attr & SEG_S),
		.l = !!(s->attr & SEG_L),
		.g = !!(s->attr & SEG_G),
		.avl = !!(s->attr & SEG_AVL),
		.unusable = unusable,
	};
}

/* Where cpu_state and kvm_sregs keep the same segment. */
static struct kvm_segment *sreg(struct kvm_sregs2 *k, unsigned n)
{
	struct kvm_segment *const all[SEG_NR] = { &k->es, &k->cs, &k->ss, &k->ds, &k->fs, &k->gs };

	return all[n];
}

/* Before Linux 5.14 the same words come without PDPTEs: KVM reads these from memory then. */
#define SREGS_BOTH offsetof(struct kvm_sregs, interrupt_bitmap)
_Static_assert(SREGS_BOTH == offsetof(struct kvm_sregs2, flags), "the layouts begin alike");

static int sregs_ioctl(struct kvm_vcpu *c, bool set, struct kvm_sregs2 *k)
{
	struct kvm_sregs old = { .cr0 = 0 };
	int r;

	if (c->kv->has_sregs2) {
		r = kvm_ioctl(c->fd, set ? KVM_SET_SREGS2 : KVM_GET_SREGS2, k);
		if (r != -EINVAL || kvm_cap(c->kv, KVM_CAP_SREGS2) > 0)
			return r;
		c->kv->has_sregs2 = false; /* KVM's word for a request that it does not know */
	}
	if (set)
		memcpy(&old, k, SREGS_BOTH);
	r = kvm_ioctl(c->fd, set ? KVM_SET_SREGS : KVM_GET_SREGS, &old);
	if (!set)
		memcpy(k, &old, SREGS_BOTH);
	return r;
}

static int get_sregs(struct kvm_vcpu *c, struct cpu_state *s)
{
	struct kvm_sregs2 k = { .cr0 = 0 };
	int r = sregs_ioctl(c, false, &k);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < SEG_NR; i++)
		s->seg[i] = seg_from(sreg(&k, i));
	s->ldtr = seg_from(&k.ldt);
	s->tr = seg_from(&k.tr);
	s->gdtr = (struct x86_dtable){ k.gdt.base, k.gdt.limit };
	s->idtr = (struct x86_dtable){ k.idt.base, k.idt.limit };
	s->cr0 = k.cr0;
	s->cr2 = k.cr2;
	s->cr3 = k.cr3;
	s->cr4 = k.cr4;
	s->cr8 = k.cr8;
	s->efer = k.efer;
	s->apic_base = k.apic_base;
	s->has_pdptes = k.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;
	for (unsigned i = 0; i < 4; i++)
		s->pdpte[i] = k.pdptrs[i];
	return 0;
}

static int set_sregs(struct kvm_vcpu *c, const struct cpu_state *s, struct err *e)
{
	struct kvm_sregs2 k = { .cr0 = s->cr0 };
	int r;

	for (unsigned i = 0; i < SEG_NR; i++)
		*sreg(&k, i) = seg_to(&s->seg[i]);
	k.ldt = seg_to(&s->ldtr);
	k.tr = seg_to(&s->tr);
	k.gdt = (struct kvm_dtable){ .base = s->gdtr.base, .limit = s->gdtr.limit };
	k.idt = (struct kvm_dtable){ .base = s->idtr.base, .limit = s->idtr.limit };
	k.cr2 = s->cr2;
	k.cr3 = s->cr3;
	k.cr4 = s->cr4;
	k.cr8 = s->cr8;
	k.efer = s->efer;
	k.apic_base = s->apic_base;
	if (s->has_pdptes) {
		k.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
		for (unsigned i = 0; i < 4; i++)
			k.pdptrs[i] = s->pdpte[i];
	}
	r = sregs_ioctl(c, true, &k);
	if (r < 0)
		return err_set_errno(e, -r,
				     "KVM refuses the segments and control registers (CR0 %#" PRIx64
				     ", CR4 %#" PRIx64 ", EFER %#" PRIx64 ")",
				     s->cr0, s->cr4, s->efer);
	return 0;
}

static int get_regs(struct kvm_vcpu *c, struct cpu_state *s)
{
	struct kvm_regs k = { .rax = 0 };
	int r = kvm_ioctl(c->fd, KVM_GET_REGS, &k);
	const uint64_t gpr[16] = { k.rax, k.rcx, k.rdx, k.rbx, k.rsp, k.rbp, k.rsi, k.rdi,
				   k.r8,  k.r9,	 k.r10, k.r11, k.r12, k.r13, k.r14, k.r15 };

	if (r < 0)
		return r;
	memcpy(s->gpr, gpr, sizeof(gpr));
	s->rip = k.rip;
	s->rflags = k.rflags;
	return 0;
}

static int set_regs(struct kvm_vcpu *c, const struct cpu_state *s, struct err *e)
{
	const uint64_t *g = s->gpr;
	struct kvm_regs k = {
		.rax = g[RAX],
		.rcx = g[RCX],
		.rdx = g[RDX],
		.rbx = g[RBX],
		.rsp = g[RSP],
		.rbp = g[RBP],
		.rsi = g[RSI],
		.rdi = g[RDI],
		.r8 = g[R8],
		.r9 = g[R9],
		.r10 = g[R10],
		.r11 = g[R11],
		.r12 = g[R12],
		.r13 = g[R13],
		.r14 = g[R14],
		.r15 = g[R15],
		.rip = s->rip,
		.rflags = s->rflags,
	};
	int r = kvm_ioctl(c->fd, KVM_SET_REGS, &k);

	return r < 0 ? err_set_errno(e, -r, "KVM refuses the registers (KVM_SET_REGS)") : 0;
}

/* ---- x87, vectors ---- */

/* Where a component lies in the standard format; false when the area has no room for it. */
static bool component(const struct kvm_vcpu *c, unsigned n, uint8_t **at, uint32_t *size)
{
	uint32_t r[4] = { 0 };

	if (!__get_cpuid_count(0xd, n, &r[0], &r[1], &r[2], &r[3]) || !r[0] ||
	    r[0] + r[1] > c->kv->xsave_size || !(c->kv->model.xcr0 >> n & 1))
		return false;
	*size = r[0];
	*at = (uint8_t *)c->xsave + r[1];
	return true;
}

/* Copies one part of all vectors: to_state out of the area, else into it. */
static void vectors(struct cpu_state *s, unsigned first, unsigned count, unsigned off, unsigned len,
		    uint8_t *area, bool to_state)
{
	for (unsigned i = 0; i < count; i++) {
		uint8_t *reg = s->vec[first + i] + off, *mem = area + (size_t)i * len;

		memcpy(to_state ? reg : mem, to_state ? mem : reg, len);
	}
}

static void extended(struct kvm_vcpu *c, struct cpu_state *s, bool to_state)
{
	uint32_t size;
	uint8_t *at;

	vectors(s, 0, 16, 0, 16, (uint8_t *)c->xsave + 160, to_state);
	if (component(c, COMP_YMM, &at, &size))
		vectors(s, 0, 16, 16, 16, at, to_state);
	if (component(c, COMP_OPMASK, &at, &size))
		memcpy(to_state ? (void *)s->k : (void *)at, to_state ? (void *)at : (void *)s->k,
		       sizeof(s->k));
	if (component(c, COMP_ZMM_HI, &at, &size))
		vectors(s, 0, 16, 32, 32, at, to_state);
	if (component(c, COMP_ZMM_16, &at, &size))
		vectors(s, 16, 16, 0, 64, at, to_state);
	if (component(c, COMP_PKRU, &at, &size))
		memcpy(to_state ? (void *)&s->pkru : (void *)at,
		       to_state ? (void *)at : (void *)&s->pkru, sizeof(s->pkru));
}

static int get_xsave(struct kvm_vcpu *c, struct cpu_state *s)
{
	bool big = c->kv->xsave_size > sizeof(struct kvm_xsave);
	const uint8_t *x = c->xsave;
	int r = kvm_ioctl(c->fd, big ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, c->xsave);

	if (r < 0)
		return r;
	s->fcw = ld_le16(x);
	s->fsw = ld_le16(x + 2);
	s->ftw = x[4];
	s->fop = ld_le16(x + 6);
	s->fip = ld_le64(x + 8);
	s->fdp = ld_le64(x + 16);
	s->mxcsr = ld_le32(x + 24);
	for (unsigned i = 0; i < 8; i++)
		memcpy(s->st[i], x + 32 + 16 * i, 16);
	extended(c, s, true);
	return 0;
}

static int set_xsave(struct kvm_vcpu *c, const struct cpu_state *from, struct err *e)
{
	struct cpu_state copy = *from, *s = &copy; /* extended() goes both ways */
	uint8_t *x = c->xsave;
	int r;

	memset(x, 0, c->kv->xsave_size);
	st_le16(x, s->fcw);
	st_le16(x + 2, s->fsw);
	x[4] = s->ftw;
	st_le16(x + 6, s->fop);
	st_le64(x + 8, s->fip);
	st_le64(x + 16, s->fdp);
	st_le32(x + 24, s->mxcsr);
	for (unsigned i = 0; i < 8; i++)
		memcpy(x + 32 + 16 * i, s->st[i], 16);
	extended(c, s, false);
	st_le64(x + XSAVE_BV, c->kv->model.xcr0 | 3);
	r = kvm_ioctl(c->fd, KVM_SET_XSAVE, x);
	return r < 0 ? err_set_errno(e, -r,
				     "KVM refuses the x87 and vector registers (KVM_SET_XSAVE): "
				     "XCR0 or MXCSR may not fit this host's processor")
		     : 0;
}

static int get_xcrs(struct kvm_vcpu *c, struct cpu_state *s)
{
	struct kvm_xcrs k = { .nr_xcrs = 0 };
	int r;

	s->xcr0 = 1;
	if (!c->kv->model.xcr0)
		return 0;
	r = kvm_ioctl(c->fd, KVM_GET_XCRS, &k);
	for (unsigned i = 0; r >= 0 && i < k.nr_xcrs && i < ARRAY_SIZE(k.xcrs); i++)
		if (k.xcrs[i].xcr == 0)
			s->xcr0 = k.xcrs[i].value;
	return r < 0 ? r : 0;
}

static int set_xcrs(struct kvm_vcpu *c, const struct cpu_state *s, struct err *e)
{
	struct kvm_xcrs k = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = s->xcr0 } } };
	int r = c->kv->model.xcr0 ? kvm_ioctl(c->fd, KVM_SET_XCRS, &k) : 0;

	return r < 0 ? err_set_errno(
			       e, -r,
			       "KVM refuses XCR0 %#" PRIx64
			       " (KVM_SET_XCRS): this host's processor or the CPU model lacks a component",
			       s->xcr0)
		     : 0;
}

/* ---- debug registers, events, time ---- */

static int get_debug(struct kvm_vcpu *c, struct cpu_state *s)
{
	struct kvm_debugregs k = { .dr6 = 0 };
	int r = kvm_ioctl(c->fd, KVM_GET_DEBUGREGS, &k);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < 4; i++)
		s->dr[i] = k.db[i];
	s->dr6 = k.dr6;
	s->dr7 = k.dr7;
	return 0;
}

static int set_debug(struct kvm_vcpu *c, const struct cpu_state *s, struct err *e)
{
	struct kvm_debugregs k = { .dr6 = s->dr6, .dr7 = s->dr7 };
	int r;

	for (unsigned i = 0; i < 4; i++)
		k.db[i] = s->dr[i];
	r = kvm_ioctl(c->fd, KVM_SET_DEBUGREGS, &k);
	return r < 0 ? err_set_errno(
			       e, -r,
			       "KVM refuses the debug registers (KVM_SET_DEBUGREGS; DR6 %#" PRIx64
			       ", DR7 %#" PRIx64 ")",
			       s->dr6, s->dr7)
		     : 0;
}

static void set_event(struct cpu_state *s, enum x86_event_type type, uint8_t vector)
{
	s->event_injected = true;
	s->event_type = (uint8_t)type;
	s->event_vector = vector;
}

static int get_events(struct kvm_vcpu *c, struct cpu_state *s)
{
	struct kvm_vcpu_events k = { .flags = 0 };
	int r = kvm_ioctl(c->fd, KVM_GET_VCPU_EVENTS, &k);

	if (r < 0)
		return r;
	s->event_injected = s->event_has_error = false;
	if (k.exception.injected) {
		set_event(s, X86_EVENT_EXCEPTION, k.exception.nr);
		s->event_has_error = k.exception.has_error_code;
		s->event_error = k.exception.error_code;
	} else if (k.interrupt.injected) {
		set_event(s, k.interrupt.soft ? X86_EVENT_SOFT : X86_EVENT_INTR, k.interrupt.nr);
	} else if (k.nmi.injected) {
		set_event(s, X86_EVENT_NMI, X86_NMI);
	}
	s->sti_shadow = k.interrupt.shadow & KVM_X86_SHADOW_INT_STI;
	s->mov_ss_shadow = k.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS;
	s->nmi_masked = k.nmi.masked;
	s->nmi_pending = k.nmi.pending;
	s->in_smm = k.smi.smm;
	s->smi_pending = k.smi.pending;
	s->init_pending = k.smi.latched_init;
	return 0;
}

static int set_events(struct kvm_vcpu *c, const struct cpu_state *s, struct err *e)
{
	bool asks = s->in_smm || s->smi_pending || c->told_smm || c->kv->smm_memory;
	bool smm = asks && kvm_cap(c->kv, KVM_CAP_X86_SMM) > 0;
	struct kvm_vcpu_events k = {
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
			 (smm ? KVM_VCPUEVENT_VALID_SMM : 0u),
		.nmi.masked = s->nmi_masked,
		.nmi.pending = s->nmi_pending,
		.smi.smm = s->in_smm,
		.smi.pending = s->smi_pending,
		.smi.latched_init = s->in_smm && s->init_pending && c->kv->irqchip,
	};
	int r;

	if (s->in_smm && !smm)
		return err_set(e, EINVAL,
			       "this host's KVM has no system management mode, in which the "
			       "vCPU is");
	c->told_smm = smm;
	r = s->in_smm ? kvm_mem_smm(c->kv) : 0;
	if (r < 0)
		return err_set_errno(e, -r, "KVM refuses memory for system management mode");
	k.interrupt.shadow = (s->sti_shadow ? KVM_X86_SHADOW_INT_STI : 0) |
			     (s->mov_ss_shadow ? KVM_X86_SHADOW_INT_MOV_SS : 0);
	if (s->event_injected && s->event_type == X86_EVENT_EXCEPTION) {
		k.exception.injected = 1;
		k.exception.nr = s->event_vector;
		k.exception.has_error_code = s->event_has_error;
		k.exception.error_code = s->event_error;
	} else if (s->event_injected && s->event_type == X86_EVENT_NMI) {
		k.nmi.injected = 1;
	} else if (s->event_injected) {
		k.interrupt.injected = 1;
		k.interrupt.nr = s->event_vector;
		k.interrupt.soft = s->event_type == X86_EVENT_SOFT;
	}
	r = kvm_ioctl(c->fd, KVM_SET_VCPU_EVENTS, &k);
	return r < 0 ? err_set_errno(
			       e, -r,
			       "KVM refuses the events on their way to the vCPU (KVM_SET_VCPU_EVENTS)")
		     : 0;
}

int kvm_tsc_offset(struct kvm_vcpu *c, unsigned long request, uint64_t *offset)
{
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
					.attr = KVM_VCPU_TSC_OFFSET,
					.addr = (uintptr_t)offset };
	int r = c->kv->has_tsc_offset ? kvm_ioctl(c->fd, request, &attr) : 0;

	if (r >= 0 || kvm_ioctl(c->fd, KVM_HAS_DEVICE_ATTR, &attr) == 0)
		return r;
	c->kv->has_tsc_offset = false; /* Linux before 5.16 */
	return 0;
}

/* ---- all of it ---- */

void kvm_power_on(struct vcpu *v, struct cpu_state *s)
{
	uint32_t id[4];

	kvm_cpuid_leaf(v, 1, 0, id);
	x86_power_on(s, id[0], v->index == 0);
}

int kvm_read_state(struct vcpu *v, struct cpu_state *s)
{
	struct kvm_vcpu *c = kvm_vcpu(v);
	int (*const part[])(struct kvm_vcpu *, struct cpu_state *) = {
		get_regs,  get_sregs,	 get_xsave,  get_xcrs,
		get_debug, kvm_msrs_get, get_events, kvm_get_mp_state_of,
	};
	int r = 0;

	if (!c->touched) {
		kvm_power_on(v, s);
		return 0;
	}
	memset(s, 0, sizeof(*s));
	s->smbase = 0x30000;
	for (size_t i = 0; i < ARRAY_SIZE(part) && r >= 0; i++)
		r = part[i](c, s);
	if (!c->kv->irqchip && v->ops && v->ops->get_tpr)
		s->cr8 = v->ops->get_tpr(v);
	return r < 0 ? r : kvm_tsc_offset(c, KVM_GET_DEVICE_ATTR, &s->tsc_offset);
}

/* Debug registers, events and mp-state of a boot processor, as KVM makes a vCPU. */
static bool is_as_made(const struct kvm_vcpu *c, const struct cpu_state *s)
{
	struct cpu_state on;

	if (c->touched || c->vcpu->index != 0 || c->kv->smm_memory)
		return false;
	kvm_power_on(c->vcpu, &on);
	return !memcmp(s->dr, on.dr, sizeof(on.dr)) && s->dr6 == on.dr6 && s->dr7 == on.dr7 &&
	       s->mp_state == on.mp_state && !s->event_injected && !s->sti_shadow &&
	       !s->mov_ss_shadow && !s->nmi_masked && !s->nmi_pending && !s->in_smm &&
	       !s->smi_pending;
}

int kvm_write_state(struct vcpu *v, const struct cpu_state *s, struct err *e)
{
	struct kvm_vcpu *c = kvm_vcpu(v);
	/* XCR0 before the vectors; MSRs behind CR4 and EFER; events last, others clear them. */
	int (*const part[])(struct kvm_vcpu *, const struct cpu_state *, struct err *) = {
		set_regs,     set_sregs, set_xcrs,   set_xsave,
		kvm_msrs_set, set_debug, set_events, kvm_set_mp_state_of,
	};
	size_t n = ARRAY_SIZE(part) - (is_as_made(c, s) ? 3 : 0);
	uint64_t offset = s->tsc_offset;
	int r = 0;

	if (s->mp_state > MP_SHUTDOWN)
		return err_set(e, EINVAL, "vCPU state: mp_state %u is unknown", s->mp_state);
	c->touched = true;
	for (size_t i = 0; i < n && r >= 0; i++)
		r = part[i](c, s, e);
	if (r < 0)
		return err_prefix(e, "vCPU %u: ", v->index);
	r = kvm_tsc_offset(c, KVM_SET_DEVICE_ATTR, &offset);
	if (r < 0)
		return err_set_errno(e, -r, "vCPU %u: KVM does not set the TSC's offset", v->index);
	atomic_store(&v->tsc_offset, offset);
	/* KVM writes these when KVM_RUN ends, and the next interrupt is decided before that. */
	c->run->if_flag = !!(s->rflags & FLAG_IF);
	c->run->ready_for_interrupt_injection = c->run->if_flag && !s->event_injected &&
						!s->sti_shadow && !s->mov_ss_shadow;
	c->run->request_interrupt_window = 0;
	c->run->flags =
		(uint16_t)((c->run->flags & ~KVM_RUN_X86_SMM) | (s->in_smm ? KVM_RUN_X86_SMM : 0));
	if (!c->kv->irqchip && v->ops && v->ops->set_tpr)
		v->ops->set_tpr(v, s->cr8 & 15);
	return 0;
}

/* ---- as core asks for it: with what is on its way to the vCPU ---- */

int kvm_get_state(struct vcpu *v, struct cpu_state *s)
{
	struct kvm_vcpu *c = kvm_vcpu(v);
	bool touched = c->touched;
	int r = kvm_read_state(v, s);

	if (r < 0)
		return r;
	accel_get_events(v, s);
	/* KVM's own controllers do not tell whether a wake-up came ahead of its HLT: perhaps. */
	if (c->kv->irqchip && touched)
		s->wake_pending |= kvm_has_pv_unhalt(v);
	return 0;
}

/* KVM's own local APICs take no INIT and no SIPI from us: their effect is what they take. */
static void do_start_up(struct vcpu *v, struct cpu_state *s)
{
	uint32_t id[4];

	if (s->init_pending && !s->in_smm) {
		kvm_cpuid_leaf(v, 1, 0, id);
		x86_init(s, id[0]);
	}
	if (s->sipi_pending && s->mp_state == MP_WAIT_SIPI)
		x86_sipi(s, s->sipi_vector);
	s->sipi_pending = false;
}

int kvm_set_state(struct vcpu *v, const struct cpu_state *from, struct err *e)
{
	struct kvm_vcpu *c = kvm_vcpu(v);
	struct cpu_state s = *from;
	bool wake = s.wake_pending;
	int r;

	if (c->kv->irqchip)
		do_start_up(v, &s);
	r = kvm_write_state(v, &s, e);
	if (r < 0)
		return r;
	/* These are in KVM's hands now, and the rest in vcpu->events if the local APIC is ours. */
	s.nmi_pending = s.smi_pending = false;
	if (c->kv->irqchip) {
		s.init_pending = s.wake_pending = false;
		if (wake)
			kvm_pv_wake(v);
	}
	accel_set_events(v, &s);
	return 0;
}

/* ---- a guest that runs guests ---- */

/* Whether it does: else there is nothing that cpu_state does not say. */
static bool nested_in_use(const struct kvm_nested_state *n)
{
	if (n->flags & (KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_RUN_PENDING))
		return true;
	if (n->format == KVM_STATE_NESTED_FORMAT_VMX)
		return n->hdr.vmx.vmxon_pa != UINT64_MAX;
	return !(n->flags & KVM_STATE_NESTED_GIF_SET);
}

int kvm_get_extra(struct vcpu *v, void *buf, size_t cap)
{
	struct kvm_nested_state *n = buf;
	int size = kvm_cap(kvm_vcpu(v)->kv, KVM_CAP_NESTED_STATE), r;

	if (size <= 0)
		return 0;
	if ((size_t)size > cap)
		return -E2BIG;
	memset(n, 0, sizeof(*n));
	n->size = (uint32_t)size;
	r = kvm_ioctl(kvm_vcpu(v)->fd, KVM_GET_NESTED_STATE, n);
	if (r < 0)
		return r;
	return nested_in_use(n) ? (int)n->size : 0;
}

int kvm_set_extra(struct vcpu *v, const void *buf, size_t len, struct err *e)
{
	const struct kvm_nested_state *n = buf;
	int r;

	if (len < sizeof(*n) || n->size != len)
		return err_set(
			e, EINVAL,
			"vCPU %u: nested virtualisation's state of %zu bytes says that it has "
			"another size",
			v->index, len);
	r = kvm_ioctl(kvm_vcpu(v)->fd, KVM_SET_NESTED_STATE, n);
	if (r < 0)
		return err_set_errno(
			e, -r,
			"vCPU %u: KVM refuses the state of the guest's own guests "
			"(KVM_SET_NESTED_STATE): the CPU model has to offer svm or vmx "
			"as it did, on a host of the same vendor",
			v->index);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a KVM guest's CPUID says: the same CPU model tables as on the soft engine, within what
 * KVM_GET_SUPPORTED_CPUID allows on this host. Control thread.
 * Source: api.rst 4.46, 4.103; Linux Documentation/virt/kvm/x86/cpuid.rst for the leaves from
 * 40000000h.
 */
#include "base/base.h"
#include "accel/kvm/kvm_int.h"
#include <linux/kvm_para.h>

/* #syscalls start: ioctl(KVM_GET_SUPPORTED_CPUID) ioctl(KVM_SET_CPUID2) */

#define LEAF_KVM_FEATURES 0x40000001u
#define MAX_SUBLEAVES	  64u

static void supported_leaf(const struct x86_cpu_source *src, uint32_t leaf, uint32_t sub,
			   uint32_t r[4])
{
	const struct kvm_cpuid2 *c = container_of(src, struct kvm_vm, source)->supported;

	memset(r, 0, 16);
	for (uint32_t i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *n = &c->entries[i];

		if (n->function != leaf ||
		    (n->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX && n->index != sub))
			continue;
		r[0] = n->eax;
		r[1] = n->ebx;
		r[2] = n->ecx;
		r[3] = n->edx;
		break;
	}
	if (leaf == 1) /* not of the processor: who runs the APIC has these, whatever KVM says */
		r[2] |= BIT32(21) | BIT32(24) | BIT32(31);
	if (leaf == 6)
		r[0] |= BIT32(2); /* ARAT: the timer is software */
}

static struct kvm_cpuid2 *new_list(void)
{
	struct kvm_cpuid2 *l;

	l = xcalloc(1, sizeof(*l) + KVM_MAX_CPUID * sizeof(l->entries[0]));
	return l;
}

static int get_supported(struct kvm_vm *kv, struct err *e)
{
	int r;

	kv->supported = new_list();
	kv->supported->nent = KVM_MAX_CPUID;
	r = kvm_ioctl(kv->sys_fd, KVM_GET_SUPPORTED_CPUID, kv->supported);
	if (r < 0)
		return err_set_errno(e, -r, "KVM does not say which CPUID it supports");
	return 0;
}

int kvm_cpuid_init(struct kvm_vm *kv, const char *model, struct err *e)
{
	int r = get_supported(kv, e);

	if (r)
		return r;
	kv->source = (struct x86_cpu_source){ .leaf = supported_leaf,
					      .hardware = true,
					      .name = "KVM on this host" };
	return x86_model_parse(&kv->model, model, &kv->source, e);
}

const struct x86_cpu_model *kvm_cpuid_model(const struct vm *vm, const struct x86_cpu_source **src)
{
	const struct kvm_vm *kv = vm->accel_state;

	*src = &kv->source;
	return &kv->model;
}

/* Paravirtual features that KVM carries out by itself, with or without its own APICs. */
#define PV_WITHOUT_APIC                                                      \
	(BIT32(KVM_FEATURE_CLOCKSOURCE) | BIT32(KVM_FEATURE_NOP_IO_DELAY) |  \
	 BIT32(KVM_FEATURE_CLOCKSOURCE2) | BIT32(KVM_FEATURE_STEAL_TIME) |   \
	 BIT32(KVM_FEATURE_PV_TLB_FLUSH) | BIT32(KVM_FEATURE_POLL_CONTROL) | \
	 BIT32(KVM_FEATURE_PV_SCHED_YIELD) | BIT32(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT))
#define PV_WITH_APIC                                                                  \
	(PV_WITHOUT_APIC | BIT32(KVM_FEATURE_PV_EOI) | BIT32(KVM_FEATURE_PV_UNHALT) | \
	 BIT32(KVM_FEATURE_PV_SEND_IPI))

void kvm_cpuid_leaf(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
	const struct kvm_vm *kv = v->vm->accel_state;
	const struct vm_conf *conf = v->vm->conf;
	struct x86_cpuid_env env = {
		.model = &kv->model,
		.apic_id = v->apic_id,
		.xcr0 = 1,
		.misc_enable = 1,
		.tsc_khz = v->vm->tsc_khz,
	};
	uint32_t can[4];

	if (conf)
		env.topo = (struct x86_topology){ conf->sockets, conf->dies, conf->cores,
						  conf->threads };
	x86_cpuid(&env, leaf, subleaf, r);
	if (v->ops && v->ops->cpuid)
		v->ops->cpuid(v, leaf, subleaf, r);
	if (leaf == LEAF_KVM_FEATURES && kv->model.show_kvm) {
		supported_leaf(&kv->source, leaf, 0, can);
		r[0] = can[0] & (kv->irqchip ? PV_WITH_APIC : PV_WITHOUT_APIC);
		r[1] = r[2] = r[3] = 0;
	}
}

bool kvm_has_pv_unhalt(struct vcpu *v)
{
	uint32_t r[4];

	kvm_cpuid_leaf(v, LEAF_KVM_FEATURES, 0, r);
	return r[0] & BIT32(KVM_FEATURE_PV_UNHALT);
}

/* False: no answer there, so no further subleaf either. */
static bool add_leaf(struct kvm_cpuid2 *l, struct vcpu *v, uint32_t leaf, uint32_t sub,
		     bool indexed)
{
	struct kvm_cpuid_entry2 *n = &l->entries[l->nent];
	uint32_t r[4];

	if (l->nent == KVM_MAX_CPUID)
		return false;
	kvm_cpuid_leaf(v, leaf, sub, r);
	*n = (struct kvm_cpuid_entry2){ .function = leaf,
					.index = sub,
					.flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
					.eax = r[0],
					.ebx = r[1],
					.ecx = r[2],
					.edx = r[3] };
	l->nent++;
	return r[0] | r[1] | (r[2] & ~0xffu) | (leaf == 0xb || leaf == 0x1f ? 0 : r[3]);
}

static bool is_indexed(uint32_t leaf)
{
	return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x1f ||
	       leaf == 0x8000001d;
}

static void add_leaves(struct kvm_cpuid2 *l, struct vcpu *v, uint32_t leaf)
{
	if (!is_indexed(leaf)) {
		add_leaf(l, v, leaf, 0, false);
		return;
	}
	for (uint32_t sub = 0; sub < MAX_SUBLEAVES; sub++) {
		bool more = add_leaf(l, v, leaf, sub, true);

		/* XSAVE components are a sparse set, the others are lists with an end. */
		if (!more && leaf == 0xd && sub > 1)
			l->nent--;
		else if (!more && leaf != 0xd && leaf != 7)
			break;
		if (leaf == 7 && sub == 2)
			break;
	}
}

int kvm_cpuid_vcpu(struct kvm_vcpu *c, struct err *e)
{
	static const uint32_t first[] = { 0, 0x40000000, 0x80000000 };
	autofree struct kvm_cpuid2 *l = new_list();
	int ret;

	for (size_t i = 0; i < ARRAY_SIZE(first); i++) {
		uint32_t r[4];

		kvm_cpuid_leaf(c->vcpu, first[i], 0, r);
		if (r[0] < first[i])
			continue;
		for (uint32_t leaf = first[i]; leaf <= MIN(r[0], first[i] + 0x40); leaf++)
			add_leaves(l, c->vcpu, leaf);
	}
	ret = kvm_ioctl(c->fd, KVM_SET_CPUID2, l);
	if (ret < 0)
		return err_set_errno(e, -ret, "KVM refuses the CPUID of model '%s' (%u leaves)",
				     c->kv->model.name, l->nent);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A saved x86 machine: the objects that are neither devices nor RAM, and how they go out of the
 * engine and back in (core/arch.h). A vCPU's state is collected into a struct beside it, so that
 * saving and loading never see an engine.
 *
 * Threads: control thread with every vCPU at a stand.
 */
#include "base/base.h"
#include "arch/x86/board.h"
#include "core/accel.h"
#include "core/arch.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/cpuid.h"
#include <stdio.h>

static int no_memory(struct err *e)
{
	return err_set(e, ENOMEM, "no memory for the state of a processor");
}

static struct cpu_state *saved_of(struct x86_vcpu *x)
{
	if (!x->saved)
		x->saved = aligned_alloc(64, align_up(sizeof(*x->saved), 64));
	return x->saved;
}

int arch_state_collect(struct vm *vm, struct err *e)
{
	int ret = arch_state_pull(vm, e);

	for (unsigned i = 0; i < vm->nr_vcpus && ret == 0; i++) {
		struct vcpu *v = vm->vcpus[i];
		struct cpu_state *s = saved_of(x86_vcpu(v));

		if (!s)
			return no_memory(e);
		memset(s, 0, sizeof(*s));
		ret = vm->accel->get_state(v, s);
		if (ret < 0)
			return err_set_errno(e, -ret, "cannot read the state of CPU %u", i);
	}
	return ret;
}

void arch_state_release(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		free(take_ptr(x86_vcpu(vm->vcpus[i])->saved));
}

static int visit_cpu(struct vcpu *v, arch_state_fn *fn, void *arg, struct err *e)
{
	struct x86_vcpu *x = x86_vcpu(v);
	struct cpu_state *s = saved_of(x);
	char id[24];
	int ret;

	if (!s)
		return no_memory(e);
	snprintf(id, sizeof(id), "cpu%u", v->index);
	ret = fn(arg, id, &x86_cpu_state, s, e);
	if (ret < 0)
		return ret;
	snprintf(id, sizeof(id), "lapic%u", v->index);
	return fn(arg, id, &lapic_state, &x->lapic, e);
}

int arch_state_visit(struct vm *vm, arch_state_fn *fn, void *arg, struct err *e)
{
	struct x86_board *b = x86_board(vm);
	int ret = fn(arg, "gsi", &x86_gsi_state, &b->gsi, e);

	if (ret == 0)
		ret = fn(arg, "pv", &pv_vm_state, &b->pv, e);
	for (unsigned i = 0; i < vm->nr_vcpus && ret == 0; i++)
		ret = visit_cpu(vm->vcpus[i], fn, arg, e);
	return ret;
}

int arch_state_apply(struct vm *vm, uint64_t ns, uint64_t tsc, struct err *e)
{
	struct x86_board *b = x86_board(vm);

	b->bus.tsc_khz = vm->tsc_khz;
	state_shift(&pv_vm_state, &b->pv, ns, tsc);
	for (unsigned i = 0; i < vm->nr_vcpus; i++) {
		struct vcpu *v = vm->vcpus[i];
		struct cpu_state *s = x86_vcpu(v)->saved;
		int ret;

		state_shift(&lapic_state, &x86_vcpu(v)->lapic, ns, tsc);
		s->tsc_offset -= tsc;
		ret = vm->accel->set_state(v, s, e);
		if (ret < 0)
			return err_prefix(e, "state of cpu%u: ", i);
	}
	return arch_state_push(vm, e);
}

void arch_time_moved(struct vm *vm, uint64_t ns, uint64_t tsc)
{
	state_shift(&pv_vm_state, &x86_board(vm)->pv, ns, tsc);
	for (unsigned i = 0; i < vm->nr_vcpus; i++) {
		state_shift(&lapic_state, &x86_vcpu(vm->vcpus[i])->lapic, ns, tsc);
		/* What a local APIC has due is the vCPU's deadline. */
		atomic_store(&vm->vcpus[i]->deadline_ns,
			     x86_vcpu(vm->vcpus[i])->lapic.timer_due_ns);
	}
}

/* ---- what the machine is ---- */

static char *feature_words(struct vcpu *v)
{
	static const struct {
		const char *name;
		uint32_t leaf;
		uint8_t sub, reg, bit;
	} all[] = {
#define X(id, n, l, s, r, b) { n, l, s, r, b },
		X86_FEATURES(X)
#undef X
	};
	char *words = xstrdup("");

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		uint32_t r[4] = { 0 };
		char *longer;

		v->vm->accel->cpuid(v, all[i].leaf, all[i].sub, r);
		if (!(r[all[i].reg] >> all[i].bit & 1))
			continue;
		longer = xasprintf("%s%s%s", words, *words ? " " : "", all[i].name);
		free(words);
		words = longer;
	}
	return words;
}

static void tell(void (*fn)(void *, const char *, const char *), void *arg, const char *key,
		 char *val_take)
{
	fn(arg, key, val_take);
	free(val_take);
}

void arch_describe(struct vm *vm, void (*fn)(void *arg, const char *key, const char *val),
		   void *arg)
{
	struct vcpu *v = vm->vcpus[0];
	void (*cpuid)(struct vcpu *, uint32_t, uint32_t, uint32_t[4]) = vm->accel->cpuid;
	uint32_t r[4] = { 0 };

	fn(arg, "machine", x86_board(vm)->type->name);
	cpuid(v, 0, 0, r);
	tell(fn, arg, "cpu-vendor",
	     xasprintf("%.4s%.4s%.4s", (char *)&r[1], (char *)&r[3], (char *)&r[2]));
	cpuid(v, 1, 0, r);
	tell(fn, arg, "cpu-signature", xasprintf("%#" PRIx32, r[0]));
	cpuid(v, 0x80000008, 0, r);
	tell(fn, arg, "cpu-addresses", xasprintf("%u %u", r[0] & 0xff, r[0] >> 8 & 0xff));
	cpuid(v, 0xd, 0, r);
	tell(fn, arg, "cpu-xcr0", xasprintf("%#" PRIx64, (uint64_t)r[3] << 32 | r[0]));
	tell(fn, arg, "cpu-features", feature_words(v));
}

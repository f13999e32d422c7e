/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x86 answers to what there is to ask about CPU models (core/arch.h): the tables of
 * isa/x86/cpuid.h within what the VM's engine can give. Control thread, no state.
 */
#include "base/base.h"
#include "core/accel.h"
#include "core/arch.h"
#include "core/vm.h"
#include "isa/x86/cpuid.h"

const char arch_cpu_type_suffix[] = "x86_64-cpu";

#define NAME_LEN 32

/* As QEMU names properties: '-' only. */
static const char *property_name(const char *feature, char name[NAME_LEN])
{
	size_t n = 0;

	for (; n < NAME_LEN - 1 && feature[n]; n++)
		name[n] = feature[n] == '_' ? '-' : feature[n];
	name[n] = '\0';
	return name;
}

const char *arch_cpu_model(unsigned i, const char **what)
{
	return x86_model_name(i, what);
}

bool arch_cpu_model_fixed(unsigned i)
{
	return x86_model_fixed(i);
}

struct missing {
	void (*fn)(void *arg, const char *feature);
	void *arg;
};

static void tell_missing(void *arg, const char *feature)
{
	const struct missing *m = arg;
	char name[NAME_LEN];

	m->fn(m->arg, property_name(feature, name));
}

void arch_cpu_missing(const struct vm *vm, unsigned i, void (*fn)(void *arg, const char *feature),
		      void *arg)
{
	const struct x86_cpu_source *src;
	struct missing m = { fn, arg };

	vm->accel->model(vm, &src);
	x86_model_missing(i, src, tell_missing, &m);
}

int arch_cpu_features(const struct vm *vm, const char *text,
		      void (*fn)(void *arg, const char *feature, bool on), void *arg, struct err *e)
{
	const struct x86_cpu_source *src;
	const struct x86_cpu_model *m = vm->accel->model(vm, &src);
	struct x86_cpu_model other;
	const char *feature;

	if (text) {
		int r = x86_model_parse(&other, text, src, e);

		if (r < 0)
			return r;
		m = &other;
	}
	for (unsigned f = 1; (feature = x86_feature_name(f)); f++) {
		char name[NAME_LEN];

		fn(arg, property_name(feature, name), x86_model_has(m, f));
	}
	return 0;
}

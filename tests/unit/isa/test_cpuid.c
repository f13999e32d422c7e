/* SPDX-License-Identifier: Apache-2.0 */
/* CPU models, their parser, and the CPUID leaves computed from them. */
#include "base/base.h"
#include "isa/x86/cpuid.h"
#include <cpuid.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void parse_ok(struct x86_cpu_model *m, const char *text)
{
	struct err e = { 0 };

	if (x86_model_parse(m, text, NULL, &e))
		fail_msg("%s: %s", text, e.msg);
}

static void parse_bad(const char *text, const char *needle)
{
	struct x86_cpu_model m;
	struct err e = { 0 };

	assert_int_equal(x86_model_parse(&m, text, NULL, &e), -EINVAL);
	if (!strstr(e.msg, needle))
		fail_msg("%s: '%s' lacks '%s'", text, e.msg, needle);
}

/* A host whose CPUID has every bit but those of AVX2 and SHA (leaf 7). */
static void no_leaf_7(const struct x86_cpu_source *src, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	memset(r, leaf == 7 ? 0 : 0xff, 16);
}

static void test_lacking(void **state)
{
	const struct x86_cpu_source src = { .leaf = no_leaf_7, .hardware = true, .name = "this test" };
	struct x86_cpu_model m;
	struct err e = { 0 };

	assert_int_equal(x86_model_parse(&m, "default,check=off", &src, &e), 0);
	assert_true(x86_model_has(&m, X86F_AVX));
	assert_false(x86_model_has(&m, X86F_AVX2));
	assert_true(m.hardware);
	assert_int_equal(x86_model_parse(&m, "default,enforce", &src, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "this test lacks:"));
	assert_non_null(strstr(e.msg, "avx2"));
	assert_int_equal(x86_model_parse(&m, "max,enforce", &src, &e), 0);
	assert_int_equal(x86_model_parse(&m, "x86-64-v2,enforce", &src, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "tsc_adjust"));
	assert_int_equal(x86_model_parse(&m, "x86-64-v2,-tsc_adjust,enforce", &src, &e), 0);
	assert_int_equal(x86_model_parse(&m, "x86-64-v3", &src, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "this test does not have"));
	assert_int_equal(x86_model_parse(&m, "default,+avx2", &src, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "this test does not have"));
}

/* A host with AVX-512, protection keys, SVM, and bits that nobody here knows the names of. */
static void big_host(const struct x86_cpu_source *src, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	static const uint32_t sizes[10][3] = { [2] = { 256, 576, 0 },	[5] = { 64, 1088, 0 },
					       [6] = { 512, 1152, 0 },	[7] = { 1024, 1664, 0 },
					       [9] = { 8, 2688, 2 } };

	memset(r, leaf < 0x80000000 || leaf == 0x80000001 ? 0xff : 0, 16);
	if (leaf == 0xd && sub > 1) {
		memset(r, 0, 16);
		memcpy(r, sizes[sub < 10 ? sub : 0], 12);
	}
	if (leaf == 0x8000000a)
		r[0] = 1, r[3] = 0x4711;
}

static void test_host(void **state)
{
	const struct x86_cpu_source src = { .leaf = big_host, .hardware = true, .name = "a test" };
	struct x86_cpu_model m;
	struct x86_cpuid_env v = { .model = &m, .xcr0 = 0x2e7 };
	struct err e = { 0 };
	uint32_t r[4];

	assert_int_equal(x86_model_parse(&m, "host,migratable=off,enforce", &src, &e), 0);
	assert_true(x86_model_has(&m, X86F_AVX512F));
	assert_int_equal(m.xcr0, 0x2e7);
	x86_cpuid(&v, 7, 0, r);
	assert_int_equal(r[0], 2); /* subleaves 1 and 2 */
	assert_true(r[1] & BIT32(16) && r[1] & BIT32(6)); /* AVX-512, FDP_EXCPTN_ONLY: no name */
	assert_false(r[1] & BIT32(14));			  /* MPX: its state is not kept */
	assert_false(r[3] & BIT32(24));			  /* AMX as well */
	x86_cpuid(&v, 7, 2, r);
	assert_int_equal(r[3], UINT32_MAX);
	x86_cpuid(&v, 1, 0, r);
	assert_false(r[2] & BIT32(27)); /* OSXSAVE is CR4's */
	x86_cpuid(&v, 0xd, 0, r);
	assert_int_equal(r[0], 0x2e7);
	assert_int_equal(r[1], 2696);
	assert_int_equal(r[2], 2696);
	x86_cpuid(&v, 0xd, 1, r);
	assert_int_equal(r[1], 576 + 256 + 64 + 512 + 1024 + 8);
	x86_cpuid(&v, 0xd, 9, r);
	assert_int_equal(r[0], 8);
	assert_int_equal(r[1], 2688);
	assert_int_equal(r[2], 2);
	/* Taken away by name, with what stands on it. */
	assert_int_equal(x86_model_parse(&m, "host,-avx512f,pku=off,-svm", &src, &e), 0);
	assert_int_equal(m.xcr0, 7);
	assert_false(x86_model_has(&m, X86F_AVX512BW));
	x86_cpuid(&v, 7, 0, r);
	assert_false(r[1] & (BIT32(16) | BIT32(30)));
	assert_false(r[2] & BIT32(3));
	/* By name on another model; not at all on an engine that interprets. */
	assert_int_equal(x86_model_parse(&m, "default,+avx512f,+pku", &src, &e), 0);
	assert_int_equal(m.xcr0, 0x2e7);
	assert_false(m.passthrough);
	parse_bad("max,+pku", "does not have it");
	parse_ok(&m, "host,migratable=on");
	/* where the engine can do what the host has: with all three components, as the host lays them out */
	assert_int_equal(m.xcr0 & 0xe0, x86_model_has(&m, X86F_AVX512F) ? 0xe0 : 0);
	for (unsigned n = 5; n <= 7; n++) {
		struct x86_xsave_part part;

		assert_int_equal(x86_model_xsave(&m, n, &part), x86_model_has(&m, X86F_AVX512F));
	}
	assert_false(m.passthrough);
}

static void env_init(struct x86_cpuid_env *v, const struct x86_cpu_model *m)
{
	memset(v, 0, sizeof(*v));
	v->model = m;
	v->topo = (struct x86_topology){ 1, 1, 1, 1 };
	v->tsc_khz = 2000000;
	v->xcr0 = 1;
}

static void test_models(void **state)
{
	struct x86_cpu_model m;

	parse_ok(&m, "x86-64-v2");
	assert_true(x86_model_has(&m, X86F_SSE42));
	assert_true(x86_model_has(&m, X86F_NONE));
	assert_false(x86_model_has(&m, X86F_AVX));
	assert_false(x86_model_has(&m, X86F_XSAVE));
	assert_int_equal(m.xcr0, 0);
	parse_ok(&m, "qemu64");
	assert_false(x86_model_has(&m, X86F_SSE42));
	parse_ok(&m, "default");
	assert_true(x86_model_has(&m, X86F_SMEP));
	assert_true(x86_model_has(&m, X86F_FSGSBASE));
	assert_false(x86_model_has(&m, X86F_LA57));
	assert_int_equal(m.lin_bits, 48);
	parse_ok(&m, "max");
	assert_true(x86_model_has(&m, X86F_LA57));
	assert_int_equal(m.lin_bits, 57);
	assert_false(x86_model_has(&m, X86F_MONITOR));
}

static void lacks_all(const struct x86_cpu_source *src, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	memset(r, 0, 16);
}

static void count(void *arg, const char *feature)
{
	unsigned *n = arg;

	assert_non_null(feature);
	++*n;
}

/* base and the features of a model are that model; what a source lacks is said by name. */
static void test_base(void **state)
{
	const struct x86_cpu_source nothing = { .leaf = lacks_all, .name = "nothing" };
	struct x86_cpu_model m, b;
	char text[4000] = "base";
	unsigned n = 0;

	parse_ok(&m, "x86-64-v2");
	for (unsigned f = 1; x86_feature_name(f); f++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), ",%s=%s",
			 x86_feature_name(f), x86_model_has(&m, f) ? "on" : "off");
	parse_ok(&b, text);
	assert_memory_equal(b.feat, m.feat, sizeof(m.feat));
	parse_bad("base", "cannot do without");
	for (unsigned i = 0; x86_model_name(i, NULL); i++)
		if (!strcmp(x86_model_name(i, NULL), "base"))
			x86_model_missing(i, &nothing, count, &n);
	x86_model_missing(1000, &nothing, count, &n);
	assert_int_equal(n, 0);
	x86_model_missing(0, &nothing, count, &n);
	assert_true(n >= 20);
}

static void test_host_bound(void **state)
{
	struct x86_cpu_model m;
	unsigned a, b, c, d;

	__cpuid_count(7, 0, a, b, c, d);
	parse_ok(&m, "default");
	assert_int_equal(x86_model_has(&m, X86F_ADX), b >> 19 & 1);
	assert_int_equal(x86_model_has(&m, X86F_SHA), b >> 29 & 1);
	/* these run on the host: a model must not have them where the host has not */
	assert_int_equal(x86_model_has(&m, X86F_RDSEED), b >> 18 & 1);
	parse_ok(&m, "x86-64-v2");
	assert_false(x86_model_has(&m, X86F_RDRAND));
	parse_ok(&m, "max");
	__cpuid(1, a, b, c, d);
	assert_int_equal(x86_model_has(&m, X86F_RDRAND), c >> 30 & 1);
	__cpuid(0, a, b, c, d);
	assert_memory_equal(m.vendor_id, &b, 4);
}

static void test_features(void **state)
{
	struct x86_cpu_model m;

	parse_ok(&m, "default,-smep,+la57,umip=off,phys-bits=40,kvm=off");
	assert_false(x86_model_has(&m, X86F_SMEP));
	assert_false(x86_model_has(&m, X86F_UMIP));
	assert_true(x86_model_has(&m, X86F_LA57));
	assert_int_equal(m.phys_bits, 40);
	assert_false(m.show_kvm);
	/* spelling */
	parse_ok(&m, "x86_64_v2,-sse4-1,-tsc_deadline");
	assert_false(x86_model_has(&m, X86F_SSE41));
	assert_false(x86_model_has(&m, X86F_SSE42)); /* stands on sse4.1 */
	assert_false(x86_model_has(&m, X86F_TSC_DEADLINE));
	/* what stands on something taken away goes too */
	parse_ok(&m, "default,-xsave");
	assert_false(x86_model_has(&m, X86F_AVX2));
	assert_int_equal(m.xcr0, 0);
	parse_ok(&m, "default,family=6,model=94,stepping=3,model-id=Test CPU");
	assert_int_equal(m.model, 94);
	assert_string_equal(m.brand, "Test CPU");
}

static void test_errors(void **state)
{
	char big[6000];

	parse_bad("defalt", "did you mean 'default'");
	parse_bad("default,+smepp", "did you mean 'smep'");
	parse_bad("default,smep=maybe", "on or off");
	parse_bad("default,phys-bits=99", "36 to 52");
	parse_bad("default,-lm", "cannot do without");
	parse_bad("default,-pcid,+invpcid", "add +pcid");
	parse_bad("default,pmu=on", "no performance counters");
	parse_bad("", "no name");
	parse_bad("xyzzyxyzzy", "not found");
	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	parse_bad(big, "longer");
}

static void test_names(void **state)
{
	const char *what;
	unsigned n = 0;

	for (; x86_model_name(n, &what); n++)
		assert_non_null(what);
	assert_true(n >= 5);
	for (n = 1; n < X86F_NR; n++)
		assert_non_null(x86_feature_name(n));
	assert_null(x86_feature_name(X86F_NR));
	assert_null(x86_feature_name(0));
}

static void test_leaf_basic(void **state)
{
	struct x86_cpu_model m;
	struct x86_cpuid_env v;
	uint32_t r[4], max;

	parse_ok(&m, "default");
	env_init(&v, &m);
	x86_cpuid(&v, 0, 0, r);
	max = r[0];
	assert_true(max >= 0xd);
	x86_cpuid(&v, 1, 0, r);
	assert_false(r[2] & BIT32(27)); /* OSXSAVE follows CR4 */
	assert_true(r[2] & BIT32(31));
	assert_true(r[3] & 1);
	v.cr4 = BIT64(18);
	x86_cpuid(&v, 1, 0, r);
	assert_int_equal(!!(r[2] & BIT32(27)), x86_model_has(&m, X86F_XSAVE));
	x86_cpuid(&v, 7, 0, r);
	assert_true(r[1] & 1); /* fsgsbase */
	x86_cpuid(&v, 0x80000001, 0, r);
	assert_true(r[3] & BIT32(29));
	assert_true(r[3] & BIT32(20));
	x86_cpuid(&v, 0x80000008, 0, r);
	assert_int_equal(r[0] & 0xffff, 46 | 48 << 8);
	/* MISC_ENABLE.LIMIT_CPUID */
	v.misc_enable = BIT64(22);
	x86_cpuid(&v, 0, 0, r);
	assert_int_equal(r[0], 3);
	/* out of range: AMD zeros, Intel the highest leaf */
	v.misc_enable = 0;
	m.vendor = X86_VENDOR_AMD;
	x86_cpuid(&v, 0x1000, 0, r);
	assert_int_equal(r[0] | r[1] | r[2] | r[3], 0);
	m.vendor = X86_VENDOR_INTEL;
	v.apic_id = 5;
	x86_cpuid(&v, 0x90000000, 0, r);
	assert_int_equal(r[3], 5); /* as leaf 0x1f */
}

static void test_hypervisor(void **state)
{
	struct x86_cpu_model m;
	struct x86_cpuid_env v;
	uint32_t r[4];

	parse_ok(&m, "default");
	env_init(&v, &m);
	x86_cpuid(&v, 0x40000000, 0, r);
	assert_memory_equal(&r[1], "KVMKVMKVM\0\0\0", 12);
	x86_cpuid(&v, 0x40000010, 0, r);
	assert_int_equal(r[0], 2000000);
	parse_ok(&m, "default,kvm=off");
	x86_cpuid(&v, 0x40000000, 0, r);
	assert_int_equal(r[1], 0);
}

static void test_xsave(void **state)
{
	struct x86_cpu_model m;
	struct x86_cpuid_env v;
	uint32_t r[4];

	parse_ok(&m, "default");
	m.feat[X86F_XSAVEC / 64] |= BIT64(X86F_XSAVEC % 64);
	m.xcr0 = 7;
	env_init(&v, &m);
	v.xcr0 = 1;
	x86_cpuid(&v, 0xd, 0, r);
	assert_int_equal(r[0], 7);
	assert_int_equal(r[1], 576);
	assert_int_equal(r[2], 832);
	v.xcr0 = 7;
	x86_cpuid(&v, 0xd, 0, r);
	assert_int_equal(r[1], 832);
	x86_cpuid(&v, 0xd, 1, r);
	assert_int_equal(r[1], 832);
	x86_cpuid(&v, 0xd, 2, r);
	assert_int_equal(r[0], 256);
	assert_int_equal(r[1], 576);
	x86_cpuid(&v, 0xd, 3, r);
	assert_int_equal(r[0] | r[1], 0);
	assert_int_equal(x86_xsave_size(3, true), 576);
	assert_int_equal(x86_xsave_size(BIT64(60) | 4, false), 832);
}

static void test_topology(void **state)
{
	struct x86_topology t = { .sockets = 2, .dies = 1, .cores = 3, .threads = 2 };
	static const uint32_t want[] = { 0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13 };
	struct x86_cpu_model m;
	struct x86_cpuid_env v;
	uint32_t r[4];

	for (unsigned i = 0; i < ARRAY_SIZE(want); i++)
		assert_int_equal(x86_apic_id(&t, i), want[i]);
	t = (struct x86_topology){ 0, 0, 0, 0 };
	assert_int_equal(x86_apic_id(&t, 3), 3);
	parse_ok(&m, "default");
	env_init(&v, &m);
	v.topo = (struct x86_topology){ 1, 2, 4, 2 };
	v.apic_id = 13;
	x86_cpuid(&v, 0xb, 0, r);
	assert_int_equal(r[0], 1);
	assert_int_equal(r[1], 2);
	assert_int_equal(r[2], 0x100);
	assert_int_equal(r[3], 13);
	x86_cpuid(&v, 0xb, 1, r);
	assert_int_equal(r[0], 4);
	assert_int_equal(r[1], 16);
	x86_cpuid(&v, 0xb, 2, r);
	assert_int_equal(r[1], 0);
	assert_int_equal(r[2], 2);
	m.vendor = X86_VENDOR_INTEL;
	x86_cpuid(&v, 0x1f, 1, r);
	assert_int_equal(r[0], 3);
	assert_int_equal(r[1], 8);
	x86_cpuid(&v, 0x1f, 2, r);
	assert_int_equal(r[2], 0x502);
	x86_cpuid(&v, 4, 3, r);
	assert_int_equal(r[0] >> 14 & 0xfff, 7);
	m.vendor = X86_VENDOR_AMD;
	m.feat[X86F_TOPOEXT / 64] |= BIT64(X86F_TOPOEXT % 64);
	x86_cpuid(&v, 0x8000001d, 3, r);
	assert_int_equal(r[0] >> 14 & 0xfff, 7);
	assert_int_equal((r[1] >> 22) + 1, 16);
	x86_cpuid(&v, 0x8000001e, 0, r);
	assert_int_equal(r[1], 0x106); /* core 6, 2 threads */
	x86_cpuid(&v, 1, 0, r);
	assert_int_equal(r[1] >> 16, 13 << 8 | 16);
	assert_true(r[3] & BIT32(28));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_models),	   cmocka_unit_test(test_base),
			   cmocka_unit_test(test_host_bound),
		cmocka_unit_test(test_features),   cmocka_unit_test(test_errors),
		cmocka_unit_test(test_names),	   cmocka_unit_test(test_leaf_basic),
		cmocka_unit_test(test_hypervisor), cmocka_unit_test(test_xsave),
		cmocka_unit_test(test_topology),   cmocka_unit_test(test_lacking),
		cmocka_unit_test(test_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

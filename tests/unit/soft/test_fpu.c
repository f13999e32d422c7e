/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cpu-truth, which is 64-bit user code, cannot see of floating point: who may use it in which
 * mode, unmasked exceptions with CR4.OSXMMEXCPT off, environments of 16 and 32-bit code.
 */
#include "soft_vm.h"
#include "accel/soft/fpu.h"
#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct tvm *t;

static int make(void **state)
{
	if (t)
		tvm_free(t);
	t = tvm_new(1, NULL);
	return 0;
}

static int drop(void **state)
{
	t = tvm_free(t);
	return 0;
}

static void prepare(unsigned bits, const void *code, size_t len, struct cpu_state *s)
{
	tvm_setup(t, 0, bits, TVM_CODE);
	tvm_put(t, TVM_CODE, code, len);
	tvm_get(t, 0, s);
	s->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	s->cr0 = (s->cr0 & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE;
	s->xcr0 = 7;
	s->mxcsr = MXCSR_INIT;
	s->fcw = 0x37f;
	s->fsw = 0;
	s->ftw = 0;
}

static int run(const struct cpu_state *s)
{
	tvm_set(t, 0, s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	return tvm_vector(t, 0);
}

static void test_who_may(void **state)
{
	static const struct {
		const char *what;
		uint8_t code[8];
		int ts, em, ts_no_mp, no_osfxsr, no_osxsave, no_avx;
	} rows[] = {
		{"movaps", {0x0f, 0x28, 0xc1}, X86_NM, X86_UD, X86_NM, X86_UD, -1, -1},
		{"fld1", {0xd9, 0xe8}, X86_NM, X86_NM, X86_NM, -1, -1, -1},
		{"emms", {0x0f, 0x77}, X86_NM, X86_UD, X86_NM, -1, -1, -1},
		{"paddb mm", {0x0f, 0xfc, 0xc1}, X86_NM, X86_UD, X86_NM, -1, -1, -1},
		{"fwait", {0x9b}, X86_NM, -1, -1, -1, -1, -1},
		{"vaddps", {0xc5, 0xf4, 0x58, 0xc2}, X86_NM, -1, X86_NM, -1, X86_UD, X86_UD},
		{"vzeroupper", {0xc5, 0xf8, 0x77}, X86_NM, -1, X86_NM, -1, X86_UD, X86_UD},
		{"popcnt", {0xf3, 0x0f, 0xb8, 0xc1}, -1, -1, -1, -1, -1, -1},
		{"andn", {0xc4, 0xe2, 0x70, 0xf2, 0xc2}, -1, -1, -1, -1, -1, -1},
		{"fxsave", {0x0f, 0xae, 0x03}, X86_NM, X86_NM, X86_NM, -1, -1, -1},
		{"xsave", {0x0f, 0xae, 0x23}, X86_NM, -1, X86_NM, -1, X86_UD, -1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (unsigned k = 0; k < 6; k++) {
			const int want[6] = {rows[i].ts, rows[i].em, rows[i].ts_no_mp,
					     rows[i].no_osfxsr, rows[i].no_osxsave, rows[i].no_avx};
			uint8_t code[9];
			struct cpu_state s;

			/* none of them has a zero byte in it */
			memcpy(code, rows[i].code, 8);
			code[strnlen((const char *)code, 8)] = 0xf4;
			prepare(64, code, 9, &s);
			s.gpr[RBX] = TVM_DATA;
			s.cr0 |= k == 0 || k == 2 ? CR0_TS : k == 1 ? CR0_EM : 0;
			s.cr0 &= k == 2 ? ~CR0_MP : ~0ull;
			s.cr4 &= k == 3 ? ~CR4_OSFXSR : k == 4 ? ~CR4_OSXSAVE : ~0ull;
			s.xcr0 = k == 5 ? 3 : 7;
			if (run(&s) != want[k])
				fail_msg("%s, condition %u: vector %d, not %d", rows[i].what, k,
					 tvm_vector(t, 0), want[k]);
		}
	}
}

/* 1/0 with the exception unmasked: flags as on the processor, nothing written. */
static void test_simd_exception(void **state)
{
	static const uint8_t code[] = {0xf3, 0x0f, 0x5e, 0xc1, 0xf4}; /* divss xmm0, xmm1 */

	for (unsigned osxmm = 0; osxmm < 2; osxmm++) {
		struct cpu_state s;

		make(state); /* here: the runner has put its handler of SIGFPE over a fixture's */
		prepare(64, code, sizeof(code), &s);
		s.cr4 = osxmm ? s.cr4 | CR4_OSXMMEXCPT : s.cr4 & ~CR4_OSXMMEXCPT;
		s.mxcsr = 0;
		memset(s.vec, 0, sizeof(s.vec));
		st_le32(s.vec[0], 0x3f800000);
		assert_int_equal(run(&s), osxmm ? X86_XM : X86_UD);
		tvm_get(t, 0, &s);
		assert_int_equal(s.mxcsr, 4);
		assert_int_equal(ld_le32(s.vec[0]), 0x3f800000);
	}
}

/* A pending unmasked exception is raised by the next waiting instruction. */
static void test_x87_exception(void **state)
{
	/* fld1; fldz; fdivp (pends); fnstsw ax; fld1 (#MF) */
	static const uint8_t code[] = {0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0xdf, 0xe0, 0xd9, 0xe8, 0xf4};
	struct cpu_state s;

	make(state);
	prepare(64, code, sizeof(code), &s);
	s.fcw = 0x37b;
	assert_int_equal(run(&s), X86_MF);
	tvm_get(t, 0, &s);
	assert_int_equal(s.gpr[RAX] & 0x80ff, 0x8084);
	assert_int_equal(s.fip, TVM_CODE + 4);
	assert_int_equal(s.fop, 0x6f9);
}

static void test_env_protected(void **state)
{
	/* fninit; fld1; fnstenv [TVM_DATA], and the same with 66 */
	static const uint8_t wide[] = {0xdb, 0xe3, 0xd9, 0xe8, 0xd9, 0x35, 0, 0, 0x10, 0, 0xf4};
	static const uint8_t narrow[] = {0xdb, 0xe3, 0xd9, 0xe8, 0x66, 0xd9, 0x35, 0, 0, 0x10, 0, 0xf4};
	const uint8_t *m = tvm_mem(t, TVM_DATA);
	struct cpu_state s;

	prepare(32, wide, sizeof(wide), &s);
	assert_int_equal(run(&s), -1);
	assert_int_equal(ld_le32(m), 0xffff037f);
	assert_int_equal(ld_le32(m + 4), 0xffff3800);
	assert_int_equal(ld_le32(m + 8), 0xffff3fff);
	assert_int_equal(ld_le32(m + 12), TVM_CODE + 2);
	assert_int_equal(ld_le32(m + 16), 0x01e80000 | s.seg[SEG_CS].sel);
	memset(tvm_mem(t, TVM_DATA), 0xaa, 28);
	prepare(32, narrow, sizeof(narrow), &s);
	assert_int_equal(run(&s), -1);
	assert_int_equal(ld_le16(m), 0x37f);
	assert_int_equal(ld_le16(m + 4), 0x3fff);
	assert_int_equal(ld_le16(m + 6), (TVM_CODE + 2) & 0xffff);
	assert_int_equal(ld_le16(m + 8), s.seg[SEG_CS].sel);
	assert_int_equal(ld_le16(m + 14), 0xaaaa);
}

static void test_env_real(void **state)
{
	/* fninit; fld1; fnstenv [0x2000]; fldenv [0x2000]; hlt */
	static const uint8_t code[] = {0xdb, 0xe3, 0xd9, 0xe8, 0xd9, 0x36, 0,
				       0x20, 0xd9, 0x26, 0, 0x20, 0xf4};
	struct cpu_state s;
	const uint8_t *m;
	uint32_t fip;

	prepare(16, code, sizeof(code), &s);
	assert_int_equal(run(&s), -1);
	m = tvm_mem(t, s.seg[SEG_DS].base + 0x2000);
	fip = (uint32_t)(s.seg[SEG_CS].sel << 4) + (uint16_t)(s.rip + 2);
	assert_int_equal(ld_le16(m + 6), fip & 0xffff);
	assert_int_equal(ld_le16(m + 8), 0x1e8 | (fip >> 16) << 12);
	tvm_get(t, 0, &s);
	assert_int_equal(s.fip, fip);
	assert_int_equal(s.fop, 0x1e8);
}

/* 32-bit code has eight XMM registers; the image keeps what is behind them. */
static void test_fxsave32(void **state)
{
	static const uint8_t code[] = {0x0f, 0xae, 0x03, 0x0f, 0xae, 0x0b, 0xf4};
	uint8_t *m = tvm_mem(t, TVM_DATA);
	struct cpu_state s, after;

	memset(m, 0xaa, FXSAVE_SIZE);
	prepare(32, code, sizeof(code), &s);
	s.gpr[RBX] = TVM_DATA;
	for (unsigned i = 0; i < 16; i++)
		memset(s.vec[i], (int)i + 1, 32);
	assert_int_equal(run(&s), -1);
	assert_int_equal(m[160 + 16 * 7], 8);
	assert_int_equal(m[160 + 16 * 8], 0xaa);
	assert_int_equal(ld_le32(m + 28), MXCSR_MASK);
	tvm_get(t, 0, &after);
	assert_memory_equal(after.vec, s.vec, sizeof(s.vec));
	/* a reserved bit of MXCSR */
	s.gpr[RBX] = TVM_DATA;
	prepare(32, code + 3, 4, &s);
	s.gpr[RBX] = TVM_DATA;
	st_le32(m + 24, 0x10000);
	assert_int_equal(run(&s), X86_GP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_who_may, make, drop),
		cmocka_unit_test_teardown(test_simd_exception, drop),
		cmocka_unit_test_teardown(test_x87_exception, drop),
		cmocka_unit_test_setup_teardown(test_env_protected, make, drop),
		cmocka_unit_test_setup_teardown(test_env_real, make, drop),
		cmocka_unit_test_setup_teardown(test_fxsave32, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The interpreter core: short programs in 16, 32 and 64 bits, and how runs end. */
#include "soft_vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct tvm *t;

static int make(void **state)
{
	t = tvm_new(1, NULL);
	return 0;
}

static int drop(void **state)
{
	t = tvm_free(t);
	return 0;
}

#define RUN(bits, ...)                                                          \
	do {                                                                    \
		static const uint8_t code_[] = { __VA_ARGS__ };                 \
		assert_int_equal(tvm_exec(t, bits, code_, sizeof(code_)), VCPU_EXIT_INTR); \
	} while (0)

static uint64_t reg(unsigned n)
{
	return tvm_cpu(t, 0)->r[n];
}

static void test_mov_add(void **state)
{
	/* mov rax, 5; mov ecx, -1; add rax, rcx; hlt */
	RUN(64, 0x48, 0xc7, 0xc0, 5, 0, 0, 0, 0xb9, 0xff, 0xff, 0xff, 0xff, 0x48, 0x01, 0xc8, 0xf4);
	assert_int_equal(reg(RAX), 0x100000004);
	assert_int_equal(tvm_cpu(t, 0)->s.mp_state, MP_HALTED);
	assert_int_equal(tvm_cpu(t, 0)->rip, TVM_CODE + 16);
}

static void test_loop(void **state)
{
	/* xor eax, eax; mov ecx, 1000; 1: add eax, ecx; dec ecx; jnz 1b; hlt */
	RUN(64, 0x31, 0xc0, 0xb9, 0xe8, 3, 0, 0, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa, 0xf4);
	assert_int_equal(reg(RAX), 500500);
	/* 16 bits: xor ax, ax; mov cx, 100; 1: add ax, cx; loop 1b; hlt */
	RUN(16, 0x31, 0xc0, 0xb9, 100, 0, 0x01, 0xc8, 0xe2, 0xfc, 0xf4);
	assert_int_equal(reg(RAX), 5050);
	/* 32 bits: xor eax, eax; mov ecx, 10; 1: add eax, ecx; dec ecx (0x49); jnz; hlt */
	RUN(32, 0x31, 0xc0, 0xb9, 10, 0, 0, 0, 0x01, 0xc8, 0x49, 0x75, 0xfb, 0xf4);
	assert_int_equal(reg(RAX), 55);
}

static void test_stack_call(void **state)
{
	/* push 7; call +2; jmp +3 (to hlt); pop rbx; push rbx; ret ... : f: mov eax, 9; ret */
	RUN(64, 0x6a, 7, 0xe8, 2, 0, 0, 0, 0x5b, 0xf4, 0xb8, 9, 0, 0, 0, 0xc3);
	assert_int_equal(reg(RAX), 9);
	assert_int_equal(reg(RBX), 7);
	assert_int_equal(reg(RSP), TVM_STACK);
}

static void test_fault_vector(void **state)
{
	/* xor ecx, ecx; div ecx */
	RUN(64, 0x31, 0xc9, 0xf7, 0xf1);
	assert_int_equal(tvm_vector(t, 0), X86_DE);
	assert_int_equal(tvm_frame(t, 0, 0), TVM_CODE + 2);
	/* ud2 */
	RUN(32, 0x0f, 0x0b);
	assert_int_equal(tvm_vector(t, 0), X86_UD);
	/* int 0x21 in real mode */
	RUN(16, 0xcd, 0x21);
	assert_int_equal(tvm_vector(t, 0), 0x21);
}

static void test_page_fault(void **state)
{
	/* mov rax, [0xffff800000000000] is canonical and unmapped: 48 a1 imm64 */
	RUN(64, 0x48, 0xa1, 0, 0, 0, 0, 0, 0x80, 0xff, 0xff);
	assert_int_equal(tvm_vector(t, 0), X86_PF);
	assert_int_equal(tvm_frame(t, 0, 0), 0); /* not present, read, supervisor */
	assert_int_equal(tvm_cpu(t, 0)->s.cr2, 0xffff800000000000ull);
	/* not canonical: #GP(0) */
	RUN(64, 0x48, 0xa1, 0, 0, 0, 0, 0, 0, 0xff, 0x7f);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
}

static void test_triple_fault(void **state)
{
	struct cpu_state s;
	static const uint8_t ud[] = { 0x0f, 0x0b };

	tvm_put(t, TVM_CODE, ud, sizeof(ud));
	tvm_setup(t, 0, 64, TVM_CODE);
	tvm_get(t, 0, &s);
	s.idtr.limit = 0;
	tvm_set(t, 0, &s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_SHUTDOWN);
}

static void test_rep_movs(void **state)
{
	uint8_t *src = tvm_mem(t, TVM_DATA), *dst = tvm_mem(t, TVM_DATA + 0x10003);

	for (unsigned i = 0; i < 10000; i++)
		src[i] = (uint8_t)(i * 7 + 1);
	/* mov esi, DATA; mov edi, DATA+0x10003; mov ecx, 10000; rep movsb; hlt */
	RUN(64, 0xbe, 0, 0, 0x10, 0, 0xbf, 3, 0, 0x11, 0, 0xb9, 0x10, 0x27, 0, 0, 0xf3, 0xa4, 0xf4);
	assert_memory_equal(src, dst, 10000);
	assert_int_equal(reg(RCX), 0);
	assert_int_equal(reg(RSI), TVM_DATA + 10000);
	assert_int_equal(reg(RDI), TVM_DATA + 0x10003 + 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mov_add),	    cmocka_unit_test(test_loop),
		cmocka_unit_test(test_stack_call),  cmocka_unit_test(test_fault_vector),
		cmocka_unit_test(test_page_fault),  cmocka_unit_test(test_triple_fault),
		cmocka_unit_test(test_rep_movs),
	};

	return cmocka_run_group_tests(tests, make, drop);
}

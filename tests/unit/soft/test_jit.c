/* SPDX-License-Identifier: Apache-2.0 */
/* Loops that run as host code: what must end them, and what must be seen from them. */
#include "guest_asm.h"

#include "accel/soft/jit/code.h"

GUEST_MACHINE(2);

/*
 * A slot of the software TLB that is empty again matches nothing: not the last page either, whose slot
 * this page has too.
 */
GUEST(empty_slot, "mov $0x1ff000, %esi\nxor %r8d, %r8d\n"
		  "1: mov $40, %ecx\n"
		  "2: mov (%rsi), %rax\ndec %ecx\njnz 2b\n"
		  "test %r8d, %r8d\njnz 3f\ninc %r8d\n"
		  "mov %cr3, %rax\nmov %rax, %cr3\nmov $-16, %rsi\njmp 1b\n3: hlt\n");

static void test_empty_slot(void **state)
{
	struct cpu_state s;

	EXEC_GUEST(t, 64, empty_slot);
	assert_true(c->n.made > 0);
	assert_int_equal(tvm_vector(t, 0), X86_PF);
	tvm_get(t, 0, &s);
	assert_int_equal(s.cr2, UINT64_MAX - 15);
}

/* The host's own exception in a division is the guest's. */
GUEST(division, "mov $100, %ecx\nxor %ebx, %ebx\n"
		"1: mov $1000, %eax\nxor %edx, %edx\ninc %ebx\ndiv %rcx\ndec %ecx\njmp 1b\n");

static void test_division(void **state)
{
	EXEC_GUEST(t, 64, division);
	assert_true(c->n.made > 0);
	assert_int_equal(tvm_vector(t, 0), X86_DE);
	assert_int_equal(c->r[RBX], 101);
	assert_int_equal(c->r[RAX], 1000);
}

/* Each turn of the loop changes an instruction of the loop. */
GUEST(patched_loop, "lea 2f+1(%rip), %rdi\nmov $200, %ecx\nxor %ebx, %ebx\n"
		    "1: mov %cl, (%rdi)\n2: mov $0, %eax\nadd %eax, %ebx\ndec %ecx\njnz 1b\nhlt\n");

static void test_patched_loop(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, patched_loop), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RBX], 200 * 201 / 2);
}

/* The return address is stored over code. */
GUEST(call_over_code, "mov $50, %ecx\nxor %ebx, %ebx\nmov %rsp, %rbp\n"
		      "1: lea 9f+8(%rip), %rsp\ncall 2f\nadd 9f(%rip), %ebx\ndec %ecx\njnz 1b\n"
		      "mov %rbp, %rsp\nhlt\n2: inc %ebx\nret\n.balign 8\n9: .quad 0\n");

static void test_call_over_code(void **state)
{
	uint32_t ret;

	assert_int_equal(EXEC_GUEST(t, 64, call_over_code), VCPU_EXIT_INTR);
	ret = TVM_CODE + 5 + 2 + 3 + 7 + 5; /* behind the call */
	assert_int_equal((uint32_t)c->r[RBX], 50 + 50 * ret);
}

/* Flags across memory operands: each is read behind a load, a store and a push. */
GUEST(flags_live, "mov $100, %ecx\nxor %ebx, %ebx\nlea 9f(%rip), %rdi\n"
		  "1: cmp $50, %ecx\nmov (%rdi), %rax\nmov %rax, (%rdi)\npush %rax\npop %rdx\n"
		  "jb 2f\ninc %ebx\n2: stc\nmov (%rdi), %rax\nadc $0, %ebx\n"
		  "clc\ndecl (%rdi)\nsbb $0, %ebx\ndec %ecx\njnz 1b\nhlt\n.balign 8\n9: .quad 0\n");

static void test_flags_live(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, flags_live), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RBX], 51 + 100);
}

/* What is not canonical faults as the branch, with the stack as it was. */
GUEST(bad_return, "mov $40, %ecx\nmov %rsp, %rbp\nlea 2f(%rip), %rdx\n"
		  "1: push %rdx\nret\n2: dec %ecx\njnz 1b\n"
		  "mov $1, %ecx\nmov %ecx, %eax\nshl $63, %rax\nmov %rax, %rdx\njmp 1b\n");

static void test_bad_return(void **state)
{
	EXEC_GUEST(t, 64, bad_return);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	assert_int_equal(tvm_frame(t, 0, 1), TVM_CODE + 5 + 3 + 7 + 1); /* RIP: of RET */
	assert_int_equal(tvm_frame(t, 0, 4), c->r[RBP] - 8);		 /* RSP: before it */
}

/* Over 2 GiB from the page's start, where there is no memory: all ones are no instruction. */
GUEST(far_jump, "mov $40, %ecx\n1: dec %ecx\njz 2f\njmp 1b\n.org far_jump+0xff0\n2: .byte 0xe9\n.long 0x7fffffff\n");

static void test_far_jump(void **state)
{
	EXEC_GUEST(t, 64, far_jump);
	assert_int_equal(tvm_vector(t, 0), X86_UD);
	assert_int_equal(tvm_frame(t, 0, 0), TVM_CODE + 0xff5 + 0x7fffffffull);
}

/* No room is left for code of a block that is decoded: it is refused, and there is room for what comes next. */
GUEST(simple_loop, "mov $100, %ecx\nxor %ebx, %ebx\n1: add %rcx, %rbx\ndec %ecx\njnz 1b\nhlt\n");

static void test_full(void **state)
{
	struct jit *j = c->jit;
	struct block *b;

	for (unsigned part = 0; part < 2; part++) {
		PUT_GUEST(t, TVM_CODE, simple_loop);
		tvm_setup(t, 0, 64, TVM_CODE);
		b = block_find(c);
		if (part)
			j->cold = j->ahead_cold = JIT_CODE_SIZE;
		else
			j->used = j->ahead = JIT_COLD;
		assert_false(jit_make(c, b));
		assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
		assert_int_equal(c->r[RBX], 5050);
		assert_int_equal(EXEC_GUEST(t, 64, far_jump), VCPU_EXIT_INTR);
		assert_true(j->used < MIB(1) && j->cold < JIT_COLD + MIB(1));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_empty_slot, make, drop),
		cmocka_unit_test_setup_teardown(test_division, make, drop),
		cmocka_unit_test_setup_teardown(test_patched_loop, make, drop),
		cmocka_unit_test_setup_teardown(test_call_over_code, make, drop),
		cmocka_unit_test_setup_teardown(test_flags_live, make, drop),
		cmocka_unit_test_setup_teardown(test_bad_return, make, drop),
		cmocka_unit_test_setup_teardown(test_far_jump, make, drop),
		cmocka_unit_test_setup_teardown(test_full, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

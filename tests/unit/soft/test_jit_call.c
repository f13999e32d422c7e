/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls and returns in host code, which are the host's: returns to elsewhere than the call said, to code
 * that has changed meanwhile, deeper than the host's stack, and without an end.
 */
#include "guest_asm.h"

#include <pthread.h>
#include <unistd.h>

GUEST_MACHINE(1);

/* 20,000 deep, some times; each level adds to a sum on its way back. */
GUEST(deep, "mov $0x600000, %esp\nxor %ebx, %ebx\nmov $20, %ecx\n"
	    "1: mov $20000, %edi\ncall 2f\ndec %ecx\njnz 1b\nhlt\n"
	    "2: push %rdi\ndec %edi\njz 3f\ncall 2b\n3: pop %rdi\nadd %rdi, %rbx\nret\n");

static void test_deep(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, deep), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_true(c->n.made > 0);
	assert_int_equal(c->r[RBX], 20ull * 20000 * 20001 / 2);
	assert_int_equal(c->r[RSP], 0x600000);
}

/* A callee returns behind its caller's next instruction each third time, or two levels up. */
GUEST(elsewhere, "xor %ebx, %ebx\nmov $3000, %ecx\n"
		 "1: call 2f\ninc %ebx\nnop\ncall 4f\nadd $16, %ebx\n6: dec %ecx\njnz 1b\nhlt\n"
		 "2: imul $0x55555556, %ecx, %eax\ncmp $0x55555556, %eax\nja 3f\naddq $2, (%rsp)\n3: ret\n"
		 "4: call 5f\nadd $0x1000, %ebx\nret\n"
		 "5: test $7, %cl\njnz 3b\nadd $8, %rsp\nlea 6b(%rip), %rax\nmov %rax, (%rsp)\nret\n");

static void test_elsewhere(void **state)
{
	uint32_t sum = 0;

	for (uint32_t i = 3000; i; i--) {
		sum += i * 0x55555556u > 0x55555556u;
		if (i & 7)
			sum += 0x1000 + 16;
	}
	assert_int_equal(EXEC_GUEST(t, 64, elsewhere), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal((uint32_t)c->r[RBX], sum);
}

/* A call that is a jump (as retpolines are), a return that is a call, and a stack that is another. */
GUEST(unpaired, "xor %ebx, %ebx\nmov $2000, %ecx\nmov %rsp, %rbp\nmov $0x500000, %esi\n"
		"1: lea 3f(%rip), %rax\ncall 2f\nud2\n2: mov %rax, (%rsp)\nret\n"
		"3: inc %ebx\nlea 4f(%rip), %rdx\npush %rdx\nlea 5f(%rip), %rax\npush %rax\nret\n"
		"4: add $16, %ebx\ncall 6f\nadd $256, %ebx\ncmp $0x500000, %rsp\njae 7f\nmov %rsp, %rsi\nmov %rbp, %rsp\n"
		"7: dec %ecx\njnz 1b\nhlt\n5: ret\n"
		"6: pop %rax\nlea -8(%rsi), %rsp\nmov %rax, (%rsp)\nret\n");

static void test_unpaired(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, unpaired), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RBX], 2000 * (1 + 16 + 256));
}

/* What is called changes the instruction behind the call: by a store, by a string, and two levels deep. */
GUEST(changed, "xor %ebx, %ebx\nmov $300, %ebp\nlea 9f(%rip), %r8\n"
	       "1: call 2f\n7: mov $0, %eax\nadd %rax, %rbx\ncall 3f\n8: mov $0, %eax\nadd %rax, %rbx\n"
	       "dec %ebp\njnz 1b\nhlt\n"
	       "2: mov %ebp, 7b+1(%rip)\nret\n"
	       "3: call 4f\nret\n"
	       "4: mov %ebp, (%r8)\nmov %r8, %rsi\nlea 8b+1(%rip), %rdi\nmov $4, %ecx\ncld\nrep movsb\nret\n"
	       ".balign 4096\n9: .long 0\n");

static void test_changed(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, changed), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RBX], 300 * 301);
}

/* The page of the caller becomes another one while what it called runs. */
GUEST(moved, "mov $0x400ff0, %edi\ncall *%rdi\nhlt\n");
GUEST(moved_caller, "mov $0x5010, %esi\nmov $0x4000e7, %eax\nmov $500, %ecx\n"
		    "1: mov $0x800000, %edx\ncall *%rdx\ninc %ebx\ndec %ecx\njnz 1b\nret\n");
GUEST(moved_other, "mov $0x5010, %esi\nmov $0x4000e7, %eax\nmov $500, %ecx\n"
		   "1: mov $0x800000, %edx\ncall *%rdx\nadd $16, %bl\nnop\nloop 1b\nret\n");
GUEST(moved_callee, "xor $0x200000, %eax\nmov %rax, (%rsi)\ninvlpg (%rdi)\nret\n");

static void test_moved(void **state)
{
	unsigned sum = 0;

	PUT_GUEST(t, TVM_CODE, moved);
	PUT_GUEST(t, 0x400ff0, moved_caller);
	PUT_GUEST(t, 0x600ff0, moved_other);
	PUT_GUEST(t, 0x800000, moved_callee);
	tvm_setup(t, 0, 64, TVM_CODE);
	c->r[RBX] = 0;
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	for (unsigned i = 0; i < 500; i++)
		sum += i & 1 ? 1 : 16;
	assert_int_equal((uint8_t)c->r[RBX], (uint8_t)sum);
	assert_int_equal(c->r[RCX], 0);
}

/* The return address is the first of the next page. */
GUEST(page_end, "xor %ebx, %ebx\nmov $500, %ecx\nmov $0x400ffb, %edi\nmovb $0xe8, (%rdi)\n"
		"movl $0x100, 1(%rdi)\nmovl $0xc3c3ff, 5(%rdi)\nmovb $0xc3, 0x105(%rdi)\n"
		"1: call *%rdi\ndec %ecx\njnz 1b\nhlt\n");

static void test_page_end(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, page_end), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RBX], 500);
}

/* No jump goes back here, and it would take 2^60 returns: an interrupt must get in. */
GUEST(tree, "sti\n.rept 60\ncall 1f\ncall 1f\nret\n1:\n.endr\nret\n");

static int get_intr(struct vcpu *v)
{
	return 0x40;
}

static void *later(void *arg)
{
	usleep(50000);
	vcpu_kick(arg, VCPU_EV_INTR);
	return NULL;
}

static void test_tree(void **state)
{
	pthread_t th;

	t->ops.get_intr = get_intr;
	assert_int_equal(pthread_create(&th, NULL, later, t->v[0]), 0);
	alarm(60);
	assert_int_equal(EXEC_GUEST(t, 64, tree), VCPU_EXIT_INTR);
	alarm(0);
	pthread_join(th, NULL);
	assert_int_equal(tvm_vector(t, 0), 0x40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_deep, make, drop),
		cmocka_unit_test_setup_teardown(test_elsewhere, make, drop),
		cmocka_unit_test_setup_teardown(test_unpaired, make, drop),
		cmocka_unit_test_setup_teardown(test_changed, make, drop),
		cmocka_unit_test_setup_teardown(test_moved, make, drop),
		cmocka_unit_test_setup_teardown(test_page_end, make, drop),
		cmocka_unit_test_setup_teardown(test_tree, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

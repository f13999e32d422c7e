/* SPDX-License-Identifier: Apache-2.0 */
/* Lockstep finds host code that does something else than the interpreter: each test makes some wrong. */
#include "guest_asm.h"

#include "accel/soft/jit/code.h"
#include "accel/soft/jit/lockstep.h"
#include "core/conf.h"

static struct vm_conf conf = { .cpus = 1, .lockstep = true };
static struct tvm *t;
static struct soft_cpu *c;

static int make(void **state)
{
	t = tvm_new_conf(&accel_soft, &conf);
	c = tvm_cpu(t, 0);
	jit_set_hot(c->jit, 0); /* most of what is here runs once */
	return 0;
}

static int drop(void **state)
{
	t = tvm_free(t);
	return 0;
}

/* Changes the last of four bytes where they are in host code, which must be once. */
static void break_code(const uint8_t bytes[4])
{
	unsigned found = 0;

	for (size_t i = c->jit->first; i + 4 <= c->jit->used; i++) {
		if (memcmp(c->jit->rw + i, bytes, 4))
			continue;
		c->jit->rw[i + 3] ^= 1;
		c->jit->reused = true;
		found++;
	}
	assert_int_equal(found, 1);
}

/* The code in memory runs again: what it is translated to already must be found to be wrong. */
static void expect_found(const uint8_t bytes[4], const char *what)
{
	uint64_t compared = lockstep_compared(c->lockstep);

	assert_true(compared > 0);
	assert_false(lockstep_failed(c->lockstep));
	break_code(bytes);
	tvm_setup(t, 0, 64, TVM_CODE);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_FAIL);
	assert_true(lockstep_failed(c->lockstep));
	assert_non_null(strstr(t->v[0]->fail, what));
}

GUEST(right, "mov $100, %ecx\nlea 9f(%rip), %rdi\nfninit\njmp 1f\n"
	     "1: mov %ecx, %eax\nmull (%rdi)\nadc %edx, (%rdi)\npush %rax\ncall 2f\npop %rdx\n"
	     "movd %edx, %xmm1\npaddd %xmm1, %xmm0\nmovd %xmm0, 8(%rdi)\nfldpi\nfld1\nfaddp\nfstpt 16(%rdi)\n"
	     "dec %ecx\njnz 1b\nhlt\n2: mov (%rsp), %rbx\nret\n"
	     ".balign 16\n9: .fill 32, 1, 0x5a\n");

static void test_right(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, right), VCPU_EXIT_INTR);
	assert_true(lockstep_compared(c->lockstep) > 30);
	assert_false(lockstep_failed(c->lockstep));
}

/* Of 32 bits, with GS somewhere and accesses that come to another page. */
GUEST_BITS(32, right32, "mov $100, %ecx\nmov $0x201ff8, %edi\nfninit\njmp 1f\n"
			"1: mov %ecx, %eax\nmull (%edi)\nadc %edx, (%edi)\npush %eax\ncall 2f\npop %edx\n"
			"movd %edx, %xmm1\npaddd %xmm1, %xmm0\nmovd %xmm0, 4(%edi)\nfldpi\nfld1\nfaddp\n"
			"fstps 8(%edi)\nmov %eax, %gs:-8\nadd %gs:-8, %eax\nmov 0x200000, %eax\npushf\npopl 12(%edi)\n"
			"inc %ebx\ndec %ecx\njnz 1b\nhlt\n2: push %ebp\nmov %esp, %ebp\nmov %eax, -4(%ebp)\n"
			"mov -4(%ebp), %ebx\nleave\nret\n");

static void test_right32(void **state)
{
	struct cpu_state s;

	PUT_GUEST(t, TVM_CODE, right32);
	tvm_setup(t, 0, 32, TVM_CODE);
	tvm_get(t, 0, &s);
	s.seg[SEG_GS].base = 0x203000;
	tvm_set(t, 0, &s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_true(lockstep_compared(c->lockstep) > 30);
	assert_false(lockstep_failed(c->lockstep));
}

GUEST(number, "mov $3, %ecx\njmp 1f\n1: add $0x12345678, %ebx\ndec %ecx\njnz 1b\nhlt\n");

GUEST_BITS(32, stored32, "mov $0x200000, %edi\nmovl $0, (%edi)\njmp 1f\n1: movl $0x12345678, (%edi)\nhlt\n");

static void test_found32(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 32, stored32), VCPU_EXIT_INTR);
	assert_true(lockstep_compared(c->lockstep) > 0);
	break_code((const uint8_t[]){ 0x78, 0x56, 0x34, 0x12 });
	tvm_setup(t, 0, 32, TVM_CODE);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_FAIL);
	assert_non_null(strstr(t->v[0]->fail, "memory at 0x200003"));
}

static void test_register(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, number), VCPU_EXIT_INTR);
	expect_found((const uint8_t[]){ 0x78, 0x56, 0x34, 0x12 }, "RBX");
}

GUEST(stored, "mov $0x200000, %edi\nmovl $0, (%rdi)\njmp 1f\n1: movl $0x12345678, (%rdi)\nhlt\n");

static void test_memory(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, stored), VCPU_EXIT_INTR);
	expect_found((const uint8_t[]){ 0x78, 0x56, 0x34, 0x12 }, "memory at 0x200003");
}

GUEST(compared, "mov $0x12345678, %eax\njmp 1f\n1: cmp $0x12345678, %eax\npushf\nhlt\n");

static void test_flags(void **state)
{
	static const uint8_t cmp[] = { 0x81, 0xf8, 0x78, 0x56 }; /* or its short form */

	assert_int_equal(EXEC_GUEST(t, 64, compared), VCPU_EXIT_INTR);
	expect_found(memmem(c->jit->rw, c->jit->used, cmp, 4) ? cmp :
			     (const uint8_t[]){ 0x3d, 0x78, 0x56, 0x34 }, "flags");
}

GUEST(shifted, "pcmpeqd %xmm1, %xmm1\npsrld $17, %xmm1\nhlt\n");

static void test_vector(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, shifted), VCPU_EXIT_INTR);
	expect_found((const uint8_t[]){ 0x0f, 0x72, 0xd1, 17 }, "vector register 1");
}

GUEST(x87, "fninit\njmp 1f\n1: fldz\nfld1\nhlt\n");

static void test_x87(void **state)
{
	static const uint8_t fld1[] = { 0xd9, 0xe8 }; /* made FLDL2T */
	uint8_t *at;

	assert_int_equal(EXEC_GUEST(t, 64, x87), VCPU_EXIT_INTR);
	at = memmem(c->jit->rw + c->jit->first, c->jit->used - c->jit->first, fld1, 2);
	assert_non_null(at);
	expect_found((const uint8_t[]){ at[-2], at[-1], at[0], at[1] }, "x87 register");
}

/* A branch that goes the other way. */
GUEST(branch, "mov $0x11223344, %eax\ncmp $0x11223344, %eax\njz 1f\nhlt\n1: nop\nhlt\n");

static void test_branch(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, branch), VCPU_EXIT_INTR);
	expect_found((const uint8_t[]){ 0x22, 0x11, 0x0f, 0x84 }, "RIP");
}

/* A block that goes on behind a branch that is not taken, but for the last time. */
GUEST(longer, "mov $9, %ecx\njmp 1f\n1: cmp $2, %ecx\nje 2f\nadd $0x12345678, %ebx\ndec %ecx\njnz 1b\n2: hlt\n");

static unsigned longest_block(void)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < c->jit->nr_spans; i++)
		nr = MAX(nr, jit_id_block(c->blocks, c->jit->spans[i].id)->nr);
	return nr;
}

static void test_longer(void **state)
{
	jit_set_hot(c->jit, 2);
	assert_int_equal(EXEC_GUEST(t, 64, longer), VCPU_EXIT_INTR);
	assert_int_equal(longest_block(), 5);
	expect_found((const uint8_t[]){ 0x78, 0x56, 0x34, 0x12 }, "RBX");
}

/* The branch inside it goes the other way. */
static void test_longer_branch(void **state)
{
	jit_set_hot(c->jit, 2);
	assert_int_equal(EXEC_GUEST(t, 64, longer), VCPU_EXIT_INTR);
	assert_int_equal(longest_block(), 5);
	expect_found((const uint8_t[]){ 0xf9, 0x02, 0x0f, 0x84 }, "R");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_right, make, drop),
		cmocka_unit_test_setup_teardown(test_right32, make, drop),
		cmocka_unit_test_setup_teardown(test_found32, make, drop),
		cmocka_unit_test_setup_teardown(test_register, make, drop),
		cmocka_unit_test_setup_teardown(test_memory, make, drop),
		cmocka_unit_test_setup_teardown(test_longer, make, drop),
		cmocka_unit_test_setup_teardown(test_longer_branch, make, drop),
		cmocka_unit_test_setup_teardown(test_flags, make, drop),
		cmocka_unit_test_setup_teardown(test_vector, make, drop),
		cmocka_unit_test_setup_teardown(test_x87, make, drop),
		cmocka_unit_test_setup_teardown(test_branch, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops that much time is spent in, some turns of which are one piece of host code: over the ends of pages, to
 * a fault, out in any turn, and over their own page's code.
 */
#include "guest_asm.h"

GUEST_MACHINE(1);

#define SOURCE 0x400000
#define TARGET 0x600000

/* RCX bytes, one by one. */
GUEST(copied, "1: mov (%rsi), %al\nmov %al, (%rdi)\ninc %rsi\nadd $1, %rdi\ndec %rcx\njnz 1b\nhlt\n");

static void run_copy(uint64_t from, uint64_t to, size_t size)
{
	uint8_t *a = tvm_mem(t, from), *b = tvm_mem(t, to);

	for (size_t i = 0; i < size; i++)
		a[i] = (uint8_t)(i * 7 + from);
	memset(b - 8, 0, size + 16);
	PUT_GUEST(t, TVM_CODE, copied);
	tvm_setup(t, 0, 64, TVM_CODE);
	c->r[RSI] = from;
	c->r[RDI] = to;
	c->r[RCX] = size;
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_memory_equal(a, b, size);
	for (unsigned i = 1; i <= 8; i++)
		assert_int_equal(b[-(int)i] | b[size + i - 1], 0);
	assert_int_equal(c->r[RSI], from + size);
	assert_int_equal(c->r[RCX], 0);
}

static void test_copied(void **state)
{
	run_copy(SOURCE, TARGET + 8, MIB(1));
	for (unsigned i = 1; i < 40; i++)
		run_copy(SOURCE + 0x1000 - i, TARGET + 0x1000 - i * 3 % 17, 0x1000 + i);
}

/* Overlapping: each turn reads what the one before it, or one of four, has written. */
static void test_overlap(void **state)
{
	for (unsigned distance = 1; distance < 6; distance++) {
		uint8_t *a = tvm_mem(t, SOURCE);

		for (unsigned i = 0; i < distance; i++)
			a[i] = (uint8_t)(i + 1);
		PUT_GUEST(t, TVM_CODE, copied);
		tvm_setup(t, 0, 64, TVM_CODE);
		c->r[RSI] = SOURCE;
		c->r[RDI] = SOURCE + distance;
		c->r[RCX] = 200000;
		assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
		for (unsigned i = 0; i < 200000; i++)
			assert_int_equal(a[i + distance], i % distance + 1);
	}
}

/* Out of the middle by its first jump, with flags that are read there, from strings of all lengths. */
GUEST(lengths, "xor %ebx, %ebx\nmov $20000, %r9d\n"
	       "0: mov %r9d, %edx\nand $31, %edx\nlea 0x400ff0, %rdi\nsub %rdx, %rdi\n"
	       "mov $0x400ff0, %esi\n"
	       "1: cmp $1, %rdx\nsbb $0, %r8d\ncmpb $0, (%rdi)\nje 2f\nadd $1, %rdi\nadd $-1, %rdx\njmp 1b\n"
	       "2: cmp %rsi, %rdi\njne 3f\nadd %edx, %ebx\nadd $3, %ebx\n3: dec %r9d\njnz 0b\nhlt\n");

static void test_lengths(void **state)
{
	memset(tvm_mem(t, SOURCE + 0xf00), 1, 0xf0);
	*(uint8_t *)tvm_mem(t, SOURCE + 0xff0) = 0;
	PUT_GUEST(t, TVM_CODE, lengths);
	tvm_setup(t, 0, 64, TVM_CODE);
	c->r[R8] = 0;
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal((uint32_t)c->r[RBX], 3 * 20000);
	assert_int_equal((uint32_t)c->r[R8], (uint32_t)-20000);
}

/* Up to a page that is not there: the turns in front of the fault are done, and nothing of those behind. */
static void test_to_fault(void **state)
{
	struct cpu_state s;

	for (unsigned i = 0; i < 8; i++) {
		const uint64_t end = SOURCE + MIB(2), from = end - 100000 - i;
		uint64_t *pde = tvm_mem(t, 0x5018), old;

		memset(tvm_mem(t, from), 5, end - from);
		memset(tvm_mem(t, 0x800000), 0, 100100);
		PUT_GUEST(t, TVM_CODE, copied);
		tvm_setup(t, 0, 64, TVM_CODE);
		old = *pde;
		*pde = 0;
		c->r[RSI] = from;
		c->r[RDI] = 0x800000;
		c->r[RCX] = 200000;
		assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
		*pde = old;
		assert_int_equal(tvm_vector(t, 0), X86_PF);
		tvm_get(t, 0, &s);
		assert_int_equal(s.cr2, end);
		assert_int_equal(s.gpr[RSI], end);
		assert_int_equal(s.gpr[RDI], 0x800000 + 100000 + i);
		assert_int_equal(s.gpr[RCX], 200000 - 100000 - i);
		assert_int_equal(*(uint8_t *)tvm_mem(t, 0x800000 + 99999 + i), 5);
		assert_int_equal(*(uint8_t *)tvm_mem(t, 0x800000 + 100000 + i), 0);
	}
}

/* It stores into its own page, and on into the next one. */
GUEST(own_page, "mov $4000, %ecx\nxor %ebx, %ebx\nlea 2f(%rip), %rdi\nmov %rcx, %rdx\n"
		   "1: add $1, %ebx\n3: mov %dl, -1(%rdi,%rdx)\nsub $1, %rdx\ncmp $-2, %rdx\njg 1b\n"
		   "mov $100, %edx\ndec %ecx\njmp 4f\n.org own_page+0x800\n2: .skip 4096\n4: hlt\n");

static void test_own_page(void **state)
{
	const uint8_t *code = tvm_mem(t, TVM_CODE + 0x800);

	assert_int_equal(EXEC_GUEST(t, 64, own_page), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RBX], 4002);
	for (unsigned i = 1; i <= 3999; i++)
		assert_int_equal(code[i - 1], (uint8_t)i);
}

/* A turn changes the next one: the immediate that it adds. */
GUEST(next_turn, "xor %ebx, %ebx\nmov $30000, %ecx\nlea 1f+1(%rip), %rdi\n"
		 "1: mov $0, %eax\nadd %rax, %rbx\nmov %ecx, %edx\nand $0x7f, %edx\njnz 2f\nmov %ecx, (%rdi)\n"
		 "2: dec %ecx\njnz 1b\nhlt\n");

static void test_next_turn(void **state)
{
	uint64_t sum = 0, add = 0;

	for (unsigned i = 30000; i; i--) {
		sum += add;
		if (!(i & 0x7f))
			add = i;
	}
	assert_int_equal(EXEC_GUEST(t, 64, next_turn), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RBX], sum);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_copied, make, drop),
		cmocka_unit_test_setup_teardown(test_overlap, make, drop),
		cmocka_unit_test_setup_teardown(test_lengths, make, drop),
		cmocka_unit_test_setup_teardown(test_to_fault, make, drop),
		cmocka_unit_test_setup_teardown(test_own_page, make, drop),
		cmocka_unit_test_setup_teardown(test_next_turn, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

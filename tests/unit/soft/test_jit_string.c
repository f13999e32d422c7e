/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REP STOS and REP MOVS in host code (jit/xstring.c): up to a page's end and beyond, none at all, downwards, over
 * code, and into a hole with a count whose bytes do not fit 64 bits.
 */
#include "guest_asm.h"

#include "accel/soft/jit/code.h"

#define PDE(lin) (TVM_PML4 + 0x2000 + 8 * ((lin) >> 21)) /* of the 2 MiB pages */
#define PAGE	 0x400000
#define OTHER	 0x600000

GUEST_MACHINE(1);

/* Physical pages that follow each other are not those of linear ones: PAGE and OTHER change places. */
static void exchange(void)
{
	uint64_t *page = tvm_mem(t, PDE(PAGE)), *other = tvm_mem(t, PDE(OTHER)), was = *page;

	*page = *other;
	*other = was;
}

static uint8_t *at(uint64_t lin)
{
	return tvm_mem(t, lin ^ PAGE ^ OTHER);
}

/* Up to 15 words from each address before the end of PAGE on, then 7 bytes of that to elsewhere. Flags stay. */
GUEST(over_end, "mov $0x5fffc0, %ebx\nmov $128, %edx\nxor %r8d, %r8d\nxor %r9d, %r9d\n"
		"1: mov %rbx, %rdi\nmov %edx, %ecx\nand $15, %ecx\nmov %rdx, %rax\ncmp $64, %edx\n"
		"rep stosq\nadc $0, %r8d\nadd %rdi, %r9\nadd %rcx, %r9\nadd -8(%rdi), %r9\n"
		"mov %rbx, %rsi\nlea 0x800(%rbx), %rdi\nmov $7, %ecx\nrep movsb\nadd %rsi, %r9\nadd %rdi, %r9\n"
		"inc %rbx\ndec %edx\njnz 1b\nhlt\n");

/* mem: what is from 0x5fffc0 - 8 on. */
static uint64_t expect_over_end(uint8_t *mem)
{
	uint64_t sum = 0, last;

	for (uint64_t i = 128, lin = 0x5fffc0; i; i--, lin++) {
		uint8_t *p = mem + 8 + (lin - 0x5fffc0);

		for (unsigned n = 0; n < (i & 15); n++)
			memcpy(p + 8 * n, &i, 8);
		memcpy(&last, p + 8 * (i & 15) - 8, 8);
		memcpy(p + 0x800, p, 7);
		sum += last + lin + 8 * (i & 15) + lin + 7 + lin + 0x800 + 7;
	}
	return sum;
}

static void test_over_end(void **state)
{
	uint8_t mem[0x1000] = { 0 };
	uint64_t sum = expect_over_end(mem);

	PUT_GUEST(t, TVM_CODE, over_end);
	tvm_setup(t, 0, 64, TVM_CODE);
	exchange();
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_true(c->n.made > 0);
	assert_int_equal(c->r[R8], 63);
	assert_int_equal(c->r[R9], sum);
	for (unsigned i = 0; i < sizeof(mem); i++)
		assert_int_equal(*at(0x5fffc0 - 8 + i), mem[i]);
}

/* Downwards, and what overlaps: each byte is the one before it. */
GUEST(down, "mov $60, %edx\n1: mov $0x400100, %edi\nmov $5, %ecx\nmov %edx, %eax\nstd\nrep stosb\ncld\n"
	    "mov $0x400200, %esi\nmovb $9, (%rsi)\nlea 1(%rsi), %rdi\nmov $50, %ecx\nrep movsb\n"
	    "dec %edx\njnz 1b\nhlt\n");

static void test_down(void **state)
{
	static const uint8_t low[8] = { 0, 1, 1, 1, 1, 1, 0, 0 };
	const uint8_t *mem = tvm_mem(t, PAGE);

	assert_int_equal(EXEC_GUEST(t, 64, down), VCPU_EXIT_INTR);
	assert_memory_equal(mem + 0xfb, low, 8);
	for (unsigned i = 0; i < 51; i++)
		assert_int_equal(mem[0x200 + i], 9);
	assert_int_equal(mem[0x200 + 51], 0);
}

/* A function is written anew before each call: "mov $n, %eax; ret" with another n. */
GUEST(over_code, "mov $100, %edx\nxor %ebx, %ebx\n"
		 "1: lea 2f(%rip), %rsi\nmov %edx, 1(%rsi)\nmov $0x400040, %edi\nmov %rdi, %rbp\nmov $6, %ecx\n"
		 "rep movsb\ncall *%rbp\nadd %rax, %rbx\ndec %edx\njnz 1b\nhlt\n.skip 4096, 0xcc\n"
		 "2: .byte 0xb8, 0, 0, 0, 0, 0xc3\n");

static void test_over_code(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, over_code), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RBX], 100 * 101 / 2);
}

/* The last time as many words as have 8 bytes, cut to 64 bits: up to the hole. With none a hole does no harm. */
GUEST(hole, "mov $60, %edx\nxor %eax, %eax\n"
	    "1: mov $0x600010, %edi\nxor %ecx, %ecx\nrep stosq\nmov $0x5fff00, %edi\nmov $3, %ecx\ncmp $1, %edx\n"
	    "jne 2f\nmovabs $0x2000000000000001, %rcx\nmov $7, %eax\n2: rep stosq\ndec %edx\njnz 1b\nhlt\n");

static void test_hole(void **state)
{
	struct cpu_state s;

	PUT_GUEST(t, TVM_CODE, hole);
	tvm_setup(t, 0, 64, TVM_CODE);
	*(uint64_t *)tvm_mem(t, PDE(OTHER)) = 0;
	tvm_run(t, 0);
	assert_int_equal(tvm_vector(t, 0), X86_PF);
	tvm_get(t, 0, &s);
	assert_int_equal(s.cr2, OTHER);
	assert_int_equal(c->r[RDI], OTHER);
	assert_int_equal(c->r[RCX], 0x2000000000000001 - 32);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(((uint64_t *)tvm_mem(t, 0x5fff00))[i], 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_over_end, make, drop),
		cmocka_unit_test_setup_teardown(test_down, make, drop),
		cmocka_unit_test_setup_teardown(test_over_code, make, drop),
		cmocka_unit_test_setup_teardown(test_hole, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

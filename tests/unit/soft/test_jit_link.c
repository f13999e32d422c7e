/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jumps and calls to other pages, which know where they went last: the page behind the address becomes
 * another one, in all ways that a mapping may change, or its code does; and jumps to many places.
 */
#include "base/bytes.h"
#include "guest_asm.h"

GUEST_MACHINE(1);

#define TABLE	0xa000	   /* page table for 2 MiB from LINEAR on */
#define LINEAR	0x40400000 /* of the caller; no large pages are near. Behind it is the one or the other of */
#define CALLER	0x400000
#define ONE	0x700000
#define OTHER	0x701000
#define ROUNDS	3000
#define EVERY	8 /* rounds until it is the other one */

/* R8D: how the mapping changes. */
GUEST(links, "0: mov $3000, %ecx\nxor %ebx, %ebx\nmov $0xa008, %esi\nlea 0b+0x1000(%rip), %rdx\n"
	     "1: call 0b+0x1000\ncall *%rdx\nlea 2f(%rip), %rbp\njmp 0b+0x1010\n"
	     "2: lea 3f(%rip), %rbp\nlea 0x10(%rdx), %rax\njmp *%rax\n"
	     "3: test $7, %cl\njnz 4f\nxorq $0x1000, (%rsi)\ncall 5f\n"
	     "4: dec %ecx\njnz 1b\nhlt\n"
	     "5: dec %r8d\njz 6f\ndec %r8d\njz 7f\n" /* 3: with global pages */
	     "mov %cr4, %rax\nxor $0x80, %al\nmov %rax, %cr4\nxor $0x80, %al\nmov %rax, %cr4\nmov $3, %r8d\nret\n"
	     "6: invlpg (%rdx)\nmov $1, %r8d\nret\n"
	     "7: mov %cr3, %rax\nmov %rax, %cr3\nmov $2, %r8d\nret\n");
GUEST(links_one, "add $1, %ebx\nret\n.org links_one+16\nadd $2, %ebx\njmp *%rbp\n");
GUEST(links_other, "add $0x1000, %ebx\nret\n.org links_other+16\nadd $0x2000, %ebx\njmp *%rbp\n");

static void map_pages(uint64_t flags)
{
	uint64_t *table = tvm_mem(t, TABLE);

	memset(table, 0, 0x1000);
	table[0] = CALLER | flags;
	table[1] = ONE | flags;
	*(uint64_t *)tvm_mem(t, 0x6010) = TABLE | 7;
}

static void run_links(unsigned how, uint64_t flags)
{
	unsigned sum = 0, add = 1;
	struct cpu_state s;

	PUT_GUEST(t, CALLER, links);
	PUT_GUEST(t, ONE, links_one);
	PUT_GUEST(t, OTHER, links_other);
	tvm_setup(t, 0, 64, LINEAR);
	map_pages(flags);
	tvm_get(t, 0, &s);
	s.cr4 |= CR4_PGE;
	s.gpr[R8] = how;
	tvm_set(t, 0, &s);
	for (unsigned i = ROUNDS; i; i--) {
		sum += 6 * add;
		if (i % EVERY == 0)
			add = add == 1 ? 0x1000 : 1;
	}
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal((uint32_t)c->r[RBX], sum);
	assert_true(c->n.linked > 0);
}

static void test_invlpg(void **state)
{
	run_links(1, 7);
}

static void test_invlpg_global(void **state)
{
	run_links(1, 0x107);
}

static void test_cr3(void **state)
{
	run_links(2, 7);
}

static void test_pge(void **state)
{
	run_links(3, 0x107);
}

/* One page at two addresses, and behind each of them is another one. */
GUEST(twice, "0: mov $1000, %ecx\nxor %ebx, %ebx\nlea 0b+0x1000(%rip), %rsi\nlea 0x2000(%rsi), %rdi\n"
	     "1: call *%rsi\ncall *%rdi\ndec %ecx\njnz 1b\nhlt\n");
GUEST(twice_caller, "call twice_caller+0x1000\nret\n");

static void test_twice(void **state)
{
	static const uint32_t pages[] = { CALLER, 0x500000, ONE, 0x500000, OTHER };

	PUT_GUEST(t, CALLER, twice);
	PUT_GUEST(t, 0x500000, twice_caller);
	PUT_GUEST(t, ONE, links_one);
	PUT_GUEST(t, OTHER, links_other);
	tvm_setup(t, 0, 64, LINEAR);
	map_pages(7);
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		((uint64_t *)tvm_mem(t, TABLE))[i] = pages[i] | 7;
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal((uint32_t)c->r[RBX], 1000 * 0x1001);
}

/*
 * One jump, first to a page that is global, then to one that is not, and which CR3 makes another one: that must
 * not be kept as the first one is.
 */
GUEST(both, "0: mov $600, %ecx\nxor %ebx, %ebx\nmov $0xa010, %esi\nlea 0b+0x1010(%rip), %rdx\n"
	    "lea 2f(%rip), %rbp\n"
	    "1: jmp *%rdx\n"
	    "2: cmp $300, %ecx\nja 3f\nlea 0b+0x2010(%rip), %rdx\n"
	    "test $63, %cl\njnz 3f\nxorq $0x1000, (%rsi)\nmov %cr3, %rax\nmov %rax, %cr3\n"
	    "3: dec %ecx\njnz 1b\nhlt\n");

static void test_global_then_local(void **state)
{
	unsigned sum = 0, add = 2;
	struct cpu_state s;
	uint64_t *table;

	PUT_GUEST(t, CALLER, both);
	PUT_GUEST(t, 0x500000, links_one);
	PUT_GUEST(t, ONE, links_one);
	PUT_GUEST(t, OTHER, links_other);
	tvm_setup(t, 0, 64, LINEAR);
	map_pages(7);
	table = tvm_mem(t, TABLE);
	table[1] = 0x500000 | 0x107;
	table[2] = ONE | 7;
	tvm_get(t, 0, &s);
	s.cr4 |= CR4_PGE;
	tvm_set(t, 0, &s);
	for (unsigned i = 600; i; i--) {
		sum += add;
		if (i <= 300 && i % 64 == 0)
			add = add == 2 ? 0x2000 : 2;
	}
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal((uint32_t)c->r[RBX], sum);
}

/* The code that is jumped to changes, by a store from the page that jumps there. */
GUEST(written, "0: mov $2000, %ecx\nxor %ebx, %ebx\nlea 0b+0x1000(%rip), %rdx\n"
	       "1: call 0b+0x1000\nadd %eax, %ebx\ncall *%rdx\nadd %eax, %ebx\ntest $15, %cl\njnz 2f\n"
	       "mov %ecx, 1(%rdx)\n2: dec %ecx\njnz 1b\nhlt\n.org written+0x1000\nmov $7, %eax\nret\n");

static void test_written(void **state)
{
	unsigned sum = 0, add = 7;

	for (unsigned i = 2000; i; i--) {
		sum += 2 * add;
		if (i % 16 == 0)
			add = i;
	}
	assert_int_equal(EXEC_GUEST(t, 64, written), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal((uint32_t)c->r[RBX], sum);
}

/*
 * To many places, three of its own page and seldom, or often, one of another, with flags that some of them read;
 * those of the page change places now and then.
 */
GUEST(wanders, "0: mov $20000, %ecx\nxor %ebx, %ebx\nlea 9f(%rip), %rsi\n"
	       "1: mov %ecx, %eax\nimul $0x9e3779b1, %eax\nshr $28, %eax\nlea (%rsi,%rax,8), %rdi\n"
	       "mov (%rdi), %rdx\ncmp $8, %eax\njmp *%rdx\n"
	       "2: adc $0, %ebx\n3: add $0x10, %ebx\n4: add $0x100, %ebx\n"
	       "5: test $0x3ff, %ecx\njnz 6f\nmov (%rsi), %rax\nxchg %rax, 8(%rsi)\nmov %rax, (%rsi)\n"
	       "6: dec %ecx\njnz 1b\nhlt\n"
	       ".balign 8\n9: .skip 128\nwanders_at: .quad 2b-0b, 3b-0b, 4b-0b, 8f-0b\n"
	       ".org wanders+0x1000\n8: sbb $0, %ebx\njmp 5b\n");
extern const uint64_t wanders_at[];

static unsigned went(unsigned place, unsigned n)
{
	switch (place) {
	case 0:
		return 0x110 + (n < 8);
	case 1:
		return 0x110;
	case 2:
		return 0x100;
	default:
		return -(unsigned)(n < 8);
	}
}

static void run_wanders(const uint8_t *places)
{
	uint8_t place[16];
	unsigned sum = 0;
	uint8_t *table;

	memcpy(place, places, sizeof(place));
	PUT_GUEST(t, TVM_CODE, wanders);
	table = tvm_mem(t, TVM_CODE + (uintptr_t)wanders_at - (uintptr_t)wanders - 128);
	for (unsigned i = 0; i < 16; i++)
		st_le64(table + 8 * i, TVM_CODE + ld_le64((const uint8_t *)(wanders_at + place[i])));
	for (uint32_t i = 20000; i; i--) {
		unsigned n = i * 0x9e3779b1u >> 28, first = place[0];

		sum += went(place[n], n);
		if (!(i & 0x3ff)) {
			place[0] = place[1];
			place[1] = (uint8_t)first;
		}
	}
	tvm_setup(t, 0, 64, TVM_CODE);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal((uint32_t)c->r[RBX], sum);
}

static void test_wanders_near(void **state)
{
	run_wanders((const uint8_t[16]){ 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 3 });
}

static void test_wanders_far(void **state)
{
	run_wanders((const uint8_t[16]){ 0, 1, 3, 3, 1, 2, 3, 1, 2, 0, 3, 3, 3, 1, 2, 3 });
}

/* Where no code can be, the jump faults that has been somewhere so often. */
GUEST(nowhere, "mov $300, %ecx\nlea 2f(%rip), %rdx\n1: jmp *%rdx\n2: dec %ecx\njnz 1b\n"
	       "mov $1, %ecx\nmov %ecx, %edx\nshl $63, %rdx\njmp 1b\n");

static void test_nowhere(void **state)
{
	EXEC_GUEST(t, 64, nowhere);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	assert_int_equal(tvm_frame(t, 0, 1), TVM_CODE + 5 + 7);
}

/* More of them than are kept: the code goes, and the guest goes on. */
GUEST(many, "0: mov $4, %ebx\n1: lea 0b+0x1000(%rip), %rdx\nmov $1000, %ecx\n2: call *%rdx\nadd $0x1000, %rdx\n"
	    "dec %ecx\njnz 2b\ndec %ebx\njnz 1b\nhlt\n");
GUEST(many_page, "1: .rept 100\nlea 2f(%rip), %rax\njmp *%rax\n2:\n.endr\nincl %esi\nret\n");

static void test_many(void **state)
{
	for (unsigned i = 0; i < 1000; i++)
		PUT_GUEST(t, CALLER + 0x1000 * (i + 1), many_page);
	PUT_GUEST(t, CALLER, many);
	tvm_setup(t, 0, 64, CALLER);
	c->r[RSI] = 0;
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal((uint32_t)c->r[RSI], 4000);
	assert_true(c->n.code_flushes[CODE_WHY_HOST] > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_invlpg, make, drop),
		cmocka_unit_test_setup_teardown(test_invlpg_global, make, drop),
		cmocka_unit_test_setup_teardown(test_cr3, make, drop),
		cmocka_unit_test_setup_teardown(test_pge, make, drop),
		cmocka_unit_test_setup_teardown(test_twice, make, drop),
		cmocka_unit_test_setup_teardown(test_global_then_local, make, drop),
		cmocka_unit_test_setup_teardown(test_written, make, drop),
		cmocka_unit_test_setup_teardown(test_wanders_near, make, drop),
		cmocka_unit_test_setup_teardown(test_wanders_far, make, drop),
		cmocka_unit_test_setup_teardown(test_nowhere, make, drop),
		cmocka_unit_test_setup_teardown(test_many, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory operands of host code that runs many times: what a place in it remembers of the page it used
 * last (jit/xspot.c) may not outlive a change of the mapping, of rights, or of what is in the page.
 */
#include "guest_asm.h"

#include "accel/soft/jit/code.h"

#define PDE(lin) (TVM_PML4 + 0x2000 + 8 * ((lin) >> 21)) /* of the 2 MiB pages */
#define PAGE	 0x400000
#define OTHER	 0x600000

GUEST_MACHINE(2);

/* Loads of 1 to 16 bytes at every distance from the end of a page, by one place in the code each. */
GUEST(crossing, "mov $0x400fe8, %esi\nxor %ebx, %ebx\nxor %r12d, %r12d\nmov $48, %ecx\n"
		"1: movzbl 3(%rsi), %eax\nadd %rax, %rbx\nmovzwl (%rsi), %eax\nadd %rax, %rbx\n"
		"mov -4(%rsi), %eax\nadd %rax, %rbx\nadd (%rsi,%r12,4), %rbx\n"
		"movups 8(%rsi), %xmm0\nmovq %xmm0, %rax\nadd %rax, %rbx\n"
		"mov %rbx, 0x1000(%rsi)\nadd 0x1000(%rsi), %rbx\n"
		"inc %rsi\ndec %ecx\njnz 1b\nhlt\n");

static uint64_t crossing_sum(const uint8_t *mem)
{
	uint64_t sum = 0, v;

	for (const uint8_t *p = mem + 0xfe8; p < mem + 0xfe8 + 48; p++) {
		memcpy(&v, p, 8);
		sum += p[3] + (v & 0xffff) + v;
		memcpy(&v, p - 4, 8);
		sum += (uint32_t)v;
		memcpy(&v, p + 8, 8);
		sum += v;
		sum *= 2;
	}
	return sum;
}

static void test_crossing(void **state)
{
	uint8_t *mem = tvm_mem(t, PAGE);

	for (unsigned i = 0; i < 0x1400; i++)
		mem[i] = (uint8_t)(i * 37 + 11);
	assert_int_equal(EXEC_GUEST(t, 64, crossing), VCPU_EXIT_INTR);
	assert_true(c->n.made > 0);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RBX], crossing_sum(mem));
}

/* An instruction in two pages, come to from its own page: it reads flags, and leaves others. */
GUEST(over_end, "xor %ebx, %ebx\nxor %edx, %edx\nmov $2000, %ecx\njmp 1f\n"
		".skip 0xffd - 9 - (. - over_end), 0xcc\n"
		"1: cmp $500, %ecx\njmp 2f\n0: .byte 0xcc\n2: adc $0x1000001, %rbx\nadc $0, %edx\n"
		"dec %ecx\njnz 1b\nhlt\n");

static void test_over_end(void **state)
{
	uint64_t left;

	assert_int_equal(over_end[0xffd], 0x48);
	assert_int_equal(EXEC_GUEST(t, 64, over_end), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RBX], 2000 * 0x1000001ull + 499);
	assert_int_equal(c->r[RDX], 0);
	/* and it stays in host code */
	left = c->n.leaves[JIT_LINK] + c->n.leaves[JIT_RIP] + c->n.leaves[JIT_BAIL];
	assert_true(left < 100);
}

/* A loop that runs for long is made a second time, in the middle of it, with flags that live on. */
GUEST(long_loop, "mov $0x400000, %esi\nxor %ebx, %ebx\nmov $600000, %ecx\n"
		 "1: adc (%rsi), %rbx\nlea 8(%rsi), %rsi\nsub $1, %ecx\njz 3f\n"
		 "test $0xff8, %esi\njnz 2f\nmov $0x400000, %esi\n2: cmp %ecx, %ebx\njmp 1b\n3: hlt\n");

static uint64_t long_sum(const uint8_t *mem)
{
	uint64_t sum = 0, v, cf = 0;

	for (uint32_t i = 0, left = 600000; left; i = (i + 8) & 0xff8) {
		memcpy(&v, mem + i, 8);
		sum += v + cf;
		left--;
		cf = (uint32_t)sum < left;
	}
	return sum;
}

static void test_long_loop(void **state)
{
	uint8_t *mem = tvm_mem(t, PAGE);

	for (unsigned i = 0; i < 0x1000; i++)
		mem[i] = (uint8_t)(i * 29 + 7);
	assert_int_equal(EXEC_GUEST(t, 64, long_loop), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_true(c->n.looped > 0 && c->n.looped < 8);
	assert_int_equal(c->r[RBX], long_sum(mem));
}

/* An access that is in another page each time has no spot for long, and the loop's code is made without. */
GUEST(roaming, "mov $0x400000, %esi\nxor %ebx, %ebx\nmov $600000, %ecx\n"
	       "1: add (%rsi), %rbx\nadd $1, %rbx\nxor $0x1000, %esi\nadd 8(%rsi), %rbx\n"
	       "dec %ecx\njnz 1b\nhlt\n");

static void test_roaming(void **state)
{
	*(uint64_t *)tvm_mem(t, PAGE) = 3;
	*(uint64_t *)tvm_mem(t, PAGE + 8) = 10;
	*(uint64_t *)tvm_mem(t, PAGE + 0x1000) = 5;
	*(uint64_t *)tvm_mem(t, PAGE + 0x1008) = 100;
	assert_int_equal(EXEC_GUEST(t, 64, roaming), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RBX], 300000ull * (3 + 5 + 10 + 100 + 2));
	assert_true(c->n.looped > 0);
	assert_true(c->n.spot_fills < 1000);
}

/* Registers that change places in a loop are back at each way out of it; so are those of a block that faults. */
GUEST(places, "mov $0x1111, %r12d\nmov $0x2222, %r13d\nmov $0x3333, %r14d\nmov $0x4444, %ebx\n"
	      "mov $0x5555, %edi\nmov $0x6666, %ebp\nmov $0x400000, %esi\nmov $1, %r8d\nmov $2, %r9d\n"
	      "mov $3, %r10d\nmov $4, %r11d\nmov $5, %r15d\nmov $200000, %ecx\n"
	      "1: add (%rsi), %r8\nlea (%r8,%r9,2), %r9\nxor %r9, %r10\nrol $7, %r10\nadd %r10, %r11\n"
	      "mov %r11, %r15\nadd %r15, %r8\nmov %r8, 0x4000(%rsi)\nadd $0x208, %esi\nand $0x403ff8, %esi\n"
	      "dec %ecx\njnz 1b\nmov $1, %esi\nror $1, %rsi\nadd %r8, %r8\nadd %r9, %r9\nadd %r10, %r10\n"
	      "add %r8, %r9\nadd %r9, %r10\nadd %r10, %r8\nmov (%rsi), %rax\nadd %r8, %r9\nhlt\n");

static void test_places(void **state)
{
	uint64_t r8 = 1, r9 = 2, r10 = 3, r11 = 4;
	uint8_t *mem = tvm_mem(t, PAGE);
	uint32_t at = 0;

	for (unsigned i = 0; i < 0x4000; i++)
		mem[i] = (uint8_t)(i * 31 + 5);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t v;

		memcpy(&v, mem + at, 8);
		r8 += v;
		r9 = r8 + r9 * 2;
		r10 ^= r9;
		r10 = r10 << 7 | r10 >> 57;
		r11 += r10;
		r8 += r11;
		at = (at + 0x208) & 0x3ff8;
	}
	assert_int_equal(EXEC_GUEST(t, 64, places), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	r9 = 2 * r8 + 2 * r9;
	r10 = r9 + 2 * r10;
	assert_int_equal(c->r[R9], r9);
	assert_int_equal(c->r[R10], r10);
	assert_int_equal(c->r[R8], 2 * r8 + r10);
	assert_int_equal(c->r[R11], r11);
	assert_int_equal(c->r[R15], r11);
	assert_int_equal(c->r[R12], 0x1111);
	assert_int_equal(c->r[R13], 0x2222);
	assert_int_equal(c->r[R14], 0x3333);
	assert_int_equal(c->r[RBX], 0x4444);
	assert_int_equal(c->r[RDI], 0x5555);
	assert_int_equal(c->r[RBP], 0x6666);
}

/* The same when a store in between leaves host code, as there is code in the page. */
GUEST(places_code, "mov $0x3333, %r14d\nmov $1, %r8d\nmov $2, %r9d\nmov $3, %r10d\nmov $3000, %ecx\n"
		   "1: add %rcx, %r8\nadd %r8, %r9\nadd %r9, %r10\nxor %r10, %r8\nadd %r8, %r9\n"
		   "mov %cl, 2f(%rip)\nadd %r8, %r10\nadd %r9, %r8\ndec %ecx\njnz 1b\nhlt\n.skip 1024, 0xcc\n2: .byte 0\n");

static void test_places_code(void **state)
{
	uint64_t r8 = 1, r9 = 2, r10 = 3;

	for (unsigned i = 3000; i; i--) {
		r8 += i;
		r9 += r8;
		r10 += r9;
		r8 ^= r10;
		r9 += r8;
		r10 += r8;
		r8 += r9;
	}
	assert_int_equal(EXEC_GUEST(t, 64, places_code), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[R8], r8);
	assert_int_equal(c->r[R9], r9);
	assert_int_equal(c->r[R10], r10);
	assert_int_equal(c->r[R14], 0x3333);
	assert_true(c->n.leaves[JIT_STORED] > 2900);
}

/* Accesses that share a look, by registers whose distance is known; then they are in two pages. */
GUEST(shared, "mov $0x400fc0, %edi\nxor %ebx, %ebx\nmov $80, %ecx\n"
	      "1: lea 8(%rdi), %rsi\nmov %rdi, %rdx\nadd $16, %rdx\n"
	      "mov %rcx, (%rdi)\nmov %rcx, (%rsi)\nmovl $5, 4(%rsi)\nmov %ecx, (%rdx)\n"
	      "mov 8(%rsi), %eax\nadd 8(%rdi), %rax\nadd -16(%rdx), %rax\nadd %rax, %rbx\n"
	      "inc %rdi\ndec %ecx\njnz 1b\nhlt\n");

static void test_shared(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, shared), VCPU_EXIT_INTR);
	assert_true(c->n.made > 0);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RBX], 3 * 80 * 81 / 2 + 80 * (5ull << 32));
}

/* The stack goes over a page's end, by eights and, in the second turn, not aligned. */
GUEST(stack_over, "xor %ebx, %ebx\nmov %rsp, %rbp\nmov $0x401010, %edi\nmov $30, %ecx\n"
		  "1: mov $32, %edx\nmov %rdi, %rsp\n2: push %rdx\ncall 3f\npop %rax\nadd %rax, %rbx\n"
		  "pushq $7\npushq (%rsp)\npop %rax\nadd %rax, %rbx\nsub 4(%rsp), %bl\n"
		  "dec %edx\njnz 2b\ndec %rdi\ndec %ecx\njnz 1b\nmov %rbp, %rsp\nhlt\n"
		  "3: push %rbp\nmov %rsp, %rbp\nadd 16(%rsp), %rbx\nleave\nret\n");

static void test_stack_over(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, stack_over), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RBX], 30 * (2 * 32 * 33 / 2 + 32 * 7));
}

/* The page of a loop's loads and stores becomes another one, each turn. */
GUEST(remapped, "mov $0x400000, %esi\nmov $0x5010, %edi\nmov $0x4000e7, %eax\nmov $100, %ecx\n"
		"1: mov (%rsi), %rdx\nadd %rdx, %rbx\nincq (%rsi)\nincq (%rsi)\n"
		"xor $0x200000, %eax\nmov %rax, (%rdi)\ninvlpg (%rsi)\nadd (%rsi), %rbx\n"
		"dec %ecx\njnz 1b\nhlt\n");

static void test_remapped(void **state)
{
	uint64_t *a = tvm_mem(t, PAGE), *b = tvm_mem(t, OTHER), sum = 0, v[2] = { 5, 1000 };

	assert_int_equal(PDE(PAGE), 0x5010);
	*a = v[0];
	*b = v[1];
	for (unsigned i = 0; i < 100; i++) {
		sum += v[i & 1];
		v[i & 1] += 2;
		sum += v[~i & 1];
	}
	PUT_GUEST(t, TVM_CODE, remapped);
	tvm_setup(t, 0, 64, TVM_CODE);
	c->r[RBX] = 0;
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RBX], sum);
	assert_int_equal(*a, v[0]);
	assert_int_equal(*b, v[1]);
}

/* It goes, behind an access and in front of another; what is behind the fault is not done. */
GUEST(unmapped, "mov $0x400000, %esi\nmov $0x5010, %edi\nmov $50, %ecx\nxor %ebx, %ebx\n"
		"1: mov %rcx, (%rsi)\ninc %ebx\ncmp $1, %ecx\njne 2f\nmov %rbx, %rax\n"
		"xor %eax, %eax\nmov %rax, (%rdi)\ninvlpg (%rsi)\n"
		"2: mov %rbx, 24(%rdi)\nmov %rcx, 8(%rsi)\n"
		"inc %ebx\ndec %ecx\njnz 1b\nhlt\n");

static void test_unmapped(void **state)
{
	struct cpu_state s;
	uint64_t *a = tvm_mem(t, PAGE);

	EXEC_GUEST(t, 64, unmapped);
	assert_int_equal(tvm_vector(t, 0), X86_PF);
	tvm_get(t, 0, &s);
	assert_int_equal(s.cr2, PAGE + 8);
	assert_int_equal(c->r[RBX], 99);
	assert_int_equal(a[0], 1);
	assert_int_equal(a[1], 2);
	assert_int_equal(*(uint64_t *)tvm_mem(t, PDE(PAGE) + 24), 99);
}

/* A place that stores to a page finds code in it from the first call on. */
GUEST(data_to_code, "mov $0x400000, %edi\nmov $0xc3, %edx\nxor %ebx, %ebx\nmov $100, %ecx\n"
		    "1: movb $0xb8, (%rdi)\nmov %ecx, 1(%rdi)\nmov %dl, 5(%rdi)\n"
		    "cmp $60, %ecx\nja 2f\ncall *%rdi\nadd %rax, %rbx\n"
		    "2: dec %ecx\njnz 1b\nhlt\n");

static void test_data_to_code(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, data_to_code), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RBX], 60 * 61 / 2);
}

/* The supervisor's stack is not the user's, though both have the same RSP. */
GUEST(to_user, "mov $0x401000, %esp\nmov $50, %ecx\n1: push %rcx\npop %rax\ndec %ecx\njnz 1b\n"
	       "push $0x2b\npush $0x401000\npush $2\npush $0x33\nlea 2f(%rip), %rax\npush %rax\niretq\n"
	       "2: mov $50, %ecx\nmov %rsp, %rbp\nmov $0x300800, %esp\n"
	       "3: push %rcx\npop %rax\ndec %ecx\njnz 3b\nmov %rbp, %rsp\n"
	       "mov $2, %ecx\njmp 3b\n");

static void test_rights(void **state)
{
	struct cpu_state s;
	uint64_t *pde = tvm_mem(t, PDE(PAGE));

	PUT_GUEST(t, TVM_CODE, to_user);
	tvm_setup(t, 0, 64, TVM_CODE);
	*pde &= ~4ull;
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), X86_PF);
	assert_int_equal(tvm_frame(t, 0, 0), 7);
	tvm_get(t, 0, &s);
	assert_int_equal(s.cr2, 0x400ff8);
}

/* EFLAGS.AC makes accesses checked that went through before. */
GUEST(aligned, "mov $0x400001, %esi\nmov $60, %ecx\n"
	       "1: mov (%rsi), %eax\ncmp $3, %ecx\njne 2f\npushfq\norl $0x40000, (%rsp)\npopfq\n"
	       "2: dec %ecx\njnz 1b\nhlt\n");

static void test_alignment(void **state)
{
	struct cpu_state s;

	PUT_GUEST(t, TVM_CODE, aligned);
	tvm_setup_user(t, 0, 64, TVM_CODE);
	tvm_get(t, 0, &s);
	s.cr0 |= CR0_AM;
	tvm_set(t, 0, &s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), X86_AC);
	assert_int_equal(c->r[RCX], 2);
}

/* Under SMAP the same code may and may not, by EFLAGS.AC. */
GUEST(smap, "mov $0x400000, %esi\nmov $60, %ecx\n"
	    "1: stac\nmov (%rsi), %eax\ncmp $3, %ecx\njne 2f\nclac\ncall 3f\n"
	    "2: call 3f\ndec %ecx\njnz 1b\nhlt\n3: mov (%rsi), %rdx\nret\n");

static void test_smap(void **state)
{
	struct cpu_state s;
	uint64_t *pde = tvm_mem(t, PDE(0));

	PUT_GUEST(t, TVM_CODE, smap);
	tvm_setup(t, 0, 64, TVM_CODE);
	*pde &= ~4ull;
	tvm_get(t, 0, &s);
	s.cr4 |= CR4_SMAP;
	tvm_set(t, 0, &s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), X86_PF);
	assert_int_equal(c->r[RCX], 3);
}

/*
 * Two pages in turn, until the place is settled without a spot; then code is in one of them, changed by
 * the same places, and then the pages go.
 */
GUEST(restless, "mov $0x400000, %edi\nmov $0x5010, %r9d\nxor %ebx, %ebx\nmov $2000, %ecx\nxor %r10d, %r10d\n"
		"1: xor $0x1000, %edi\nmovb $0xb8, (%rdi)\nmov %ecx, 1(%rdi,%r10,8)\nmovb $0xc3, 5(%rdi)\n"
		"xor %ecx, (%rdi,%r10)\nxor %ecx, (%rdi,%r10)\nlock incl 0x800(%rdi)\n"
		"cmp $200, %ecx\nja 2f\ncall *%rdi\nadd %rax, %rbx\n"
		"2: dec %ecx\njnz 1b\nmov (%r9), %rax\nmov %rcx, (%r9)\ninvlpg (%rdi)\n"
		"mov $1, %ecx\njmp 1b\n");

static void test_restless(void **state)
{
	struct cpu_state s;
	uint8_t *mem = tvm_mem(t, PAGE);

	EXEC_GUEST(t, 64, restless);
	assert_int_equal(tvm_vector(t, 0), X86_PF);
	tvm_get(t, 0, &s);
	assert_int_equal(s.cr2, 0x401000);
	assert_int_equal(c->r[RBX], 200 * 201 / 2);
	assert_int_equal(mem[0x800] | mem[0x801] << 8, 1000);
	assert_int_equal(mem[0x1800] | mem[0x1801] << 8, 1000);
}

/* The same at a page's end: what crosses it is no place's business. */
GUEST(restless_edge, "mov $0x400ff9, %edi\nxor %ebx, %ebx\nmov $3000, %ecx\n"
		    "1: xor $0x1000, %edi\nmov %rcx, (%rdi)\nadd (%rdi), %rbx\nmov %rcx, -1(%rdi)\n"
		    "add -1(%rdi), %rbx\nxor $0x1001, %edi\nadd (%rdi), %rbx\nxor $0x1001, %edi\n"
		    "dec %ecx\njnz 1b\nhlt\n");

static void test_restless_edge(void **state)
{
	uint8_t *mem = tvm_mem(t, PAGE);
	uint64_t sum = 0, v;
	unsigned at = 0xff9;

	memset(mem, 0, 0x3000);
	assert_int_equal(EXEC_GUEST(t, 64, restless_edge), VCPU_EXIT_INTR);
	memset(mem, 0, 0x3000);
	for (uint64_t i = 3000; i; i--) {
		at ^= 0x1000;
		memcpy(mem + at - 1, &i, 8);
		sum += 2 * i;
		memcpy(mem + at, &i, 8);
		memcpy(mem + at - 1, &i, 8);
		memcpy(&v, mem + (at ^ 0x1001), 8);
		sum += v;
	}
	assert_int_equal(c->r[RBX], sum);
}

/* What 160 places remember, each of its own page: none where it would be taken for what is written all the time. */
GUEST(many_places, "mov $0x400000, %eax\nmov $100, %ecx\n1:\n.set page, 0x400000\n"
		   ".rept 160\nadd page(%rip), %ebx\n.set page, page + 0x1000\n.endr\ndec %ecx\njnz 1b\nhlt\n");

static void test_aliases(void **state)
{
	unsigned found = 0;

	assert_int_equal(EXEC_GUEST(t, 64, many_places), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	for (uint32_t at = c->spots_used; at; found++) {
		size_t offset = ENV_AT + at;

		assert_false(cpu_is_alias(offset));
		assert_false(cpu_is_alias(offset + sizeof(struct spot) - 1));
		at = c->spot_infos[(offset - offsetof(struct soft_cpu, spots)) / sizeof(struct spot)].next;
	}
	assert_true(found >= 160);
}

/* Flags that are left undefined are what this processor leaves: most of them are as they were. */
#define NOTE_FLAGS "lahf\nmovzbl %ah, %eax\nshl $8, %r8\nor %rax, %r8\n"
#define UNDEFINED                                                                    \
	"xor %r8d, %r8d\n"                                                           \
	"or $-1, %edx\nimul $3, (%rdi), %edx\n" NOTE_FLAGS                           \
	"xor %edx, %edx\nimul $3, (%rdi), %edx\n" NOTE_FLAGS                         \
	"mov $5, %eax\nor $-1, %edx\nmull (%rdi)\n" NOTE_FLAGS                       \
	"mov $5, %eax\nxor %edx, %edx\nmull (%rdi)\n" NOTE_FLAGS                     \
	"or $-1, %edx\nbt $1, %edi\n" NOTE_FLAGS "xor %edx, %edx\nbt $1, %edi\n" NOTE_FLAGS
__asm__(".text\nundefined_here:\n" UNDEFINED "mov %r8, %rax\nret\n");
uint64_t undefined_here(const uint32_t *value);
GUEST(undefined, "mov $0x400000, %edi\nmov $100, %ecx\n1:\n" UNDEFINED "dec %ecx\njnz 1b\nhlt\n");

static void test_undefined(void **state)
{
	static const uint32_t values[] = { 7, 0, 0x80000000, 0x12345678, UINT32_MAX };

	for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
		memcpy(tvm_mem(t, PAGE), &values[i], 4);
		assert_int_equal(EXEC_GUEST(t, 64, undefined), VCPU_EXIT_INTR);
		assert_int_equal(tvm_vector(t, 0), -1);
		assert_int_equal(c->r[R8], undefined_here(&values[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_crossing, make, drop),
		cmocka_unit_test_setup_teardown(test_over_end, make, drop),
		cmocka_unit_test_setup_teardown(test_long_loop, make, drop),
		cmocka_unit_test_setup_teardown(test_roaming, make, drop),
		cmocka_unit_test_setup_teardown(test_places, make, drop),
		cmocka_unit_test_setup_teardown(test_places_code, make, drop),
		cmocka_unit_test_setup_teardown(test_shared, make, drop),
		cmocka_unit_test_setup_teardown(test_stack_over, make, drop),
		cmocka_unit_test_setup_teardown(test_remapped, make, drop),
		cmocka_unit_test_setup_teardown(test_unmapped, make, drop),
		cmocka_unit_test_setup_teardown(test_data_to_code, make, drop),
		cmocka_unit_test_setup_teardown(test_rights, make, drop),
		cmocka_unit_test_setup_teardown(test_alignment, make, drop),
		cmocka_unit_test_setup_teardown(test_smap, make, drop),
		cmocka_unit_test_setup_teardown(test_restless, make, drop),
		cmocka_unit_test_setup_teardown(test_restless_edge, make, drop),
		cmocka_unit_test_setup_teardown(test_aliases, make, drop),
		cmocka_unit_test_setup_teardown(test_undefined, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

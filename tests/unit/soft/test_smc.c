/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that changes while it is decoded: by the guest's own stores (also into the block that
 * executes), by other vCPUs, by devices, through another mapping; and the cache's limits.
 */
#include "guest_asm.h"

#include "accel/soft/block.h"

GUEST_MACHINE(2);

/* The store changes the instruction right behind it, in the same block. */
GUEST(next_insn, "lea 1f(%rip), %rdi\n"
		 "mov $0x11, %eax\n"
		 "movb $0x77, 1(%rdi)\n" /* mov $0x22 -> mov $0x77 */
		 "1: mov $0x22, %ecx\n"
		 "hlt\n");

static void test_next_insn(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, next_insn), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RCX], 0x77);
	assert_int_equal(c->r[RAX], 0x11);
}

/* The same by a string instruction, by a locked one, by a push, and across a line. */
GUEST(by_stos, "lea 1f+1(%rip), %rdi\nmov $4, %ecx\nmov $0x5a, %al\nrep stosb\n"
	       "1: mov $0x22222222, %edx\nhlt\n");
GUEST(by_movs, "lea 1f+1(%rip), %rdi\nlea 2f(%rip), %rsi\nmov $4, %ecx\nrep movsb\n"
	       "1: mov $0x22222222, %edx\nhlt\n2: .long 0x5a5a5a5a\n");
GUEST(by_xchg, "lea 1f+1(%rip), %rdi\nmov $0x5a5a5a5a, %eax\nxchg %eax, (%rdi)\n"
	       "1: mov $0x22222222, %edx\nhlt\n");
GUEST(by_lock, "lea 1f+1(%rip), %rdi\nlock addl $0x38383838, (%rdi)\n"
	       "1: mov $0x22222222, %edx\nhlt\n");
GUEST(by_push, "lea 1f+9(%rip), %rsp\nmovabs $0x909090f45a5a5a5a, %rax\npush %rax\n"
	       "1: mov $0x22222222, %edx\nhlt\n.byte 0x90,0x90,0x90,0x90\n");
GUEST(by_sse, "lea 1f+1(%rip), %rdi\nmov $0x5a5a5a5a, %eax\nmovd %eax, %xmm0\nmovd %xmm0, (%rdi)\n"
	      "1: mov $0x22222222, %edx\nhlt\n");

static void test_ways_to_store(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, by_stos), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RDX], 0x5a5a5a5a);
	assert_int_equal(EXEC_GUEST(t, 64, by_movs), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RDX], 0x5a5a5a5a);
	assert_int_equal(EXEC_GUEST(t, 64, by_xchg), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RDX], 0x5a5a5a5a);
	assert_int_equal(EXEC_GUEST(t, 64, by_lock), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RDX], 0x5a5a5a5a);
	assert_int_equal(EXEC_GUEST(t, 64, by_sse), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RDX], 0x5a5a5a5a);
	/* the push writes 1 + 1 .. 1 + 9: the immediate, and a HLT behind it */
	assert_int_equal(EXEC_GUEST(t, 64, by_push), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RDX], 0x5a5a5a5a);
}

/* A function that is rewritten between calls, many times: each call runs the newest. */
GUEST(rewrite, "xor %esi, %esi\n"
	       "xor %ebx, %ebx\n"
	       "lea 2f(%rip), %rdi\n"
	       "1: mov %ebx, 1(%rdi)\n"
	       "call 2f\n"
	       "add %eax, %esi\n"
	       "inc %ebx\n"
	       "cmp $1000, %ebx\n"
	       "jne 1b\n"
	       "hlt\n"
	       ".balign 256\n"
	       "2: mov $0, %eax\n"
	       "ret\n");

static void test_rewrite(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, rewrite), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RSI], 499500);
	assert_int_equal(tvm_vector(t, 0), -1);
}

/* A loop whose body changes itself in its last round: the block is entered from its own end. */
GUEST(self_loop, "mov $10, %ecx\n"
		 "xor %eax, %eax\n"
		 "1: add $1, %eax\n"
		 "cmp $5, %ecx\n"
		 "jne 2f\n"
		 "movb $100, 1b+2(%rip)\n"
		 "2: dec %ecx\n"
		 "jnz 1b\n"
		 "hlt\n");

static void test_self_loop(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, self_loop), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RAX], 6 + 4 * 100);
}

/* Device memory writes (DMA) between two runs of the same code. */
GUEST(dma_target, "mov $1, %eax\nhlt\n");

static void test_dma(void **state)
{
	static const uint8_t two = 2;

	assert_int_equal(EXEC_GUEST(t, 64, dma_target), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RAX], 1);
	assert_int_equal(mem_write(t->vm.map, TVM_CODE + 1, &two, 1), 0);
	tvm_setup(t, 0, 64, TVM_CODE);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RAX], 2);
}

/* An instruction over two pages: either half may change. */
static void test_crossing_insn(void **state)
{
	static const uint8_t code[] = { 0xb8, 1, 2, 3, 4, 0xf4 }; /* mov eax, 0x04030201; hlt */
	static const uint8_t byte = 0x99;
	uint64_t at = TVM_CODE + 0x1000 - 3;

	tvm_put(t, at, code, sizeof(code));
	tvm_setup(t, 0, 64, at);
	tvm_run(t, 0);
	assert_int_equal(c->r[RAX], 0x04030201);
	tvm_put(t, at + 4, &byte, 1);
	tvm_setup(t, 0, 64, at);
	tvm_run(t, 0);
	assert_int_equal(c->r[RAX], 0x99030201);
	tvm_put(t, at + 1, &byte, 1);
	tvm_setup(t, 0, 64, at);
	tvm_run(t, 0);
	assert_int_equal(c->r[RAX], 0x99030299);
}

/* The second page of a crossing instruction is mapped elsewhere: same first page, other code. */
static void test_crossing_remap(void **state)
{
	static const uint8_t head[] = { 0xb8, 1, 2 }, tail_a[] = { 3, 4, 0xf4 },
			     tail_b[] = { 5, 6, 0xf4 };
	uint64_t tab = 0x200000, pt = 0x203000, va = 0x40000000, a;
	struct cpu_state s;

	tvm_put(t, 0x300000 + 0xffd, head, 3);
	tvm_put(t, 0x302000, tail_a, 3);
	tvm_put(t, 0x305000, tail_b, 3);
	for (unsigned round = 0; round < 4; round++) {
		tvm_setup(t, 0, 64, va + 0xffd);
		memcpy(tvm_mem(t, tab), tvm_mem(t, TVM_PML4), 0x2000);
		a = (tab + 0x1000) | 7;
		tvm_put(t, tab, &a, 8);
		a = (tab + 0x2000) | 7;
		tvm_put(t, tab + 0x1008, &a, 8);
		a = pt | 7;
		tvm_put(t, tab + 0x2000, &a, 8);
		a = 0x300000 | 7;
		tvm_put(t, pt, &a, 8);
		a = (round & 1 ? 0x305000 : 0x302000) | 7;
		tvm_put(t, pt + 8, &a, 8);
		tvm_get(t, 0, &s);
		s.cr3 = tab;
		tvm_set(t, 0, &s);
		tvm_run(t, 0);
		assert_int_equal(c->r[RAX], round & 1 ? 0x06050201 : 0x04030201);
	}
}

/* vCPU 1 patches what vCPU 0 spins in: it sees it soon, and never something in between. */
GUEST(spin, "xor %eax, %eax\n"
	    "1: .byte 0xeb, 0x00\n" /* jmp +0; the patch makes it jmp to the hlt */
	    "inc %eax\n"
	    "mov %eax, 0x400000\n" /* on a busy host it may begin late: the patcher waits for it */
	    "jmp 1b\n"
	    "hlt\n");
GUEST(patcher, "0: cmpl $0, 0x400000\nje 0b\nmov $3000000, %ecx\n1: dec %ecx\njnz 1b\n"
	       "movb $11, 0x10003\nhlt\n");

static void test_cross_modify(void **state)
{
	PUT_GUEST(t, TVM_CODE, spin);
	PUT_GUEST(t, TVM_CODE + 0x4000, patcher);
	tvm_setup(t, 0, 64, TVM_CODE);
	tvm_setup(t, 1, 64, TVM_CODE + 0x4000);
	tvm_run_all(t);
	assert_int_equal(t->exit[0], VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_true(c->r[RAX] > 0);
	assert_int_equal(c->rip, TVM_CODE + GUEST_SIZE(spin));
}

/* The same bytes in different modes are different instructions. */
static void test_modes(void **state)
{
	static const uint8_t code[] = { 0xb8, 0x05, 0x00, 0x40, 0x40, 0xf4, 0xf4 };

	/* 64: mov eax, 0x40400005; 16: mov ax, 5; inc ax; inc ax */
	for (unsigned i = 0; i < 3; i++) {
		tvm_exec(t, 64, code, sizeof(code));
		assert_int_equal(c->r[RAX], 0x40400005);
		tvm_exec(t, 16, code, sizeof(code));
		assert_int_equal(c->r[RAX], 7);
	}
}

/* More code than the cache holds. */
static void test_overflow(void **state)
{
	uint64_t flushes = c->blocks->flushes, at = 0x400000, end = 0xc00000;

	/* each 8 bytes: inc eax; jmp to the next */
	for (uint64_t p = at; p < end; p += 8) {
		static const uint8_t link[] = { 0xff, 0xc0, 0xeb, 4 };

		memcpy(tvm_mem(t, p), link, sizeof(link));
	}
	*(uint8_t *)tvm_mem(t, end) = 0xf4;
	ram_written(t->ram, at, end + 1 - at);
	tvm_setup(t, 0, 64, at);
	c->r[RAX] = 0;
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RAX], (end - at) / 8);
	assert_true(c->blocks->flushes > flushes);
}

/* More forms of one instruction than there is room for host code: the last runs as the first did. */
static void test_many_forms(void **state)
{
	uint8_t *p = tvm_mem(t, 0x400000), *start = p;

	for (unsigned i = 0; i < 1u << 16; i++) { /* PSHUFW, PALIGNR: registers, immediate, REX.W */
		uint8_t code[7] = { (uint8_t)(0x40 | (i >> 11 & 8)), 0x0f, 0x70 };
		unsigned n = 3;

		if (i >> 15) {
			code[2] = 0x3a;
			code[n++] = 0x0f;
		}
		code[n++] = (uint8_t)(0xc0 | (i >> 8 & 0x3f));
		code[n++] = (uint8_t)i;
		memcpy(p, code, n);
		p += n;
	}
	*p++ = 0xf4;
	ram_written(t->ram, 0x400000, (uint64_t)(p - start));
	tvm_setup(t, 0, 64, 0x400000);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->rip, 0x400000 + (uint64_t)(p - start));
}

/*
 * Another processor changes the bytes of an instruction while it is decoded and encoded for the
 * host: what runs is what was decoded. (A HLT of the host in its stead would come back as #GP.)
 */
GUEST(torn, "addps %xmm0, %xmm0\nhlt\n");

static _Atomic bool tearing;

static void *tear(void *byte)
{
	volatile uint8_t *p = byte;

	while (atomic_load_explicit(&tearing, memory_order_relaxed)) {
		*p = 0xf4; /* HLT */
		asm volatile("mfence");
		*p = 0x0f;
		asm volatile("mfence");
	}
	return NULL;
}

static void test_torn(void **state)
{
	pthread_t th;

	PUT_GUEST(t, TVM_CODE, torn);
	tvm_setup(t, 0, 64, TVM_CODE);
	atomic_store(&tearing, true);
	assert_int_equal(pthread_create(&th, NULL, tear, tvm_mem(t, TVM_CODE)), 0);
	for (unsigned i = 0; i < 100000; i++) {
		ram_written(t->ram, TVM_CODE, 1);
		c->rip = TVM_CODE;
		c->s.mp_state = MP_RUNNABLE;
		if (tvm_run(t, 0) != VCPU_EXIT_INTR || tvm_vector(t, 0) >= 0)
			break;
	}
	atomic_store(&tearing, false);
	pthread_join(th, NULL);
	assert_int_equal(tvm_vector(t, 0), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_next_insn),     cmocka_unit_test(test_ways_to_store),
		cmocka_unit_test(test_rewrite),	      cmocka_unit_test(test_self_loop),
		cmocka_unit_test(test_dma),	      cmocka_unit_test(test_crossing_insn),
		cmocka_unit_test(test_crossing_remap), cmocka_unit_test(test_cross_modify),
		cmocka_unit_test(test_modes),	      cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_many_forms),    cmocka_unit_test(test_torn),
	};

	return cmocka_run_group_tests(tests, make, drop);
}

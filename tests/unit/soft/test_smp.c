/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several vCPUs on one memory: locked instructions, also across lines and pages; x86 memory order
 * (litmus tests); page tables marked by two walkers; interrupts between vCPUs; INIT and SIPI.
 */
#include "guest_asm.h"

#include "base/clock.h"

#define N 4
#define COUNT 50000

static struct tvm *t;

static int make(void **state)
{
	t = tvm_new(N, NULL);
	return 0;
}

static int drop(void **state)
{
	t = tvm_free(t);
	return 0;
}

/* The same code on every vCPU; rdi = TVM_DATA, esi = index, ecx = rounds. */
static void run_everywhere(const uint8_t *code, size_t len, uint64_t data, uint32_t rounds)
{
	memset(tvm_mem(t, TVM_DATA), 0, 0x4000);
	tvm_put(t, TVM_CODE, code, len);
	for (unsigned i = 0; i < t->n; i++) {
		struct soft_cpu *c = tvm_cpu(t, i);

		tvm_setup(t, i, 64, TVM_CODE);
		c->r[RDI] = data;
		c->r[RSI] = i;
		c->r[RCX] = rounds;
	}
	tvm_run_all(t);
	for (unsigned i = 0; i < t->n; i++) {
		assert_int_equal(t->exit[i], VCPU_EXIT_INTR);
		assert_int_equal(tvm_vector(t, i), -1);
	}
}
#define EVERYWHERE(name, data, rounds) run_everywhere(name, GUEST_SIZE(name), data, rounds)

static uint64_t value(uint64_t gpa)
{
	uint64_t v;

	memcpy(&v, tvm_mem(t, gpa), 8);
	return v;
}

GUEST(lock_inc, "1: lock incq (%rdi)\ndec %ecx\njnz 1b\nhlt\n");
GUEST(lock_xadd, "1: mov $3, %eax\nlock xadd %rax, (%rdi)\ndec %ecx\njnz 1b\nhlt\n");
GUEST(lock_cas, "1: mov (%rdi), %rax\n2: lea 1(%rax), %rbx\nlock cmpxchg %rbx, (%rdi)\njnz 2b\n"
		"dec %ecx\njnz 1b\nhlt\n");
GUEST(lock_adc, "1: stc\nlock adcl $0, (%rdi)\ndec %ecx\njnz 1b\nhlt\n");
GUEST(xchg_lock, "1: mov $1, %eax\n2: xchg %eax, 64(%rdi)\ntest %eax, %eax\njz 3f\npause\njmp 2b\n"
		 "3: incq (%rdi)\nmovl $0, 64(%rdi)\ndec %ecx\njnz 1b\nhlt\n");
GUEST(bts_lock, "1: lock btsl $7, 64(%rdi)\njnc 3f\npause\njmp 1b\n"
		"3: incq (%rdi)\nlock btrl $7, 64(%rdi)\ndec %ecx\njnz 1b\nhlt\n");
GUEST(cas16, "1: mov (%rdi), %rax\nmov 8(%rdi), %rdx\n"
	     "2: lea 1(%rax), %rbx\npush %rcx\nlea 1(%rdx), %rcx\n"
	     "lock cmpxchg16b (%rdi)\npop %rcx\njnz 2b\ndec %ecx\njnz 1b\nhlt\n");

static void test_locked(void **state)
{
	EVERYWHERE(lock_inc, TVM_DATA, COUNT);
	assert_int_equal(value(TVM_DATA), N * COUNT);
	EVERYWHERE(lock_xadd, TVM_DATA, COUNT);
	assert_int_equal(value(TVM_DATA), 3 * N * COUNT);
	EVERYWHERE(lock_cas, TVM_DATA, COUNT);
	assert_int_equal(value(TVM_DATA), N * COUNT);
	EVERYWHERE(lock_adc, TVM_DATA, COUNT);
	assert_int_equal(value(TVM_DATA), N * COUNT);
	EVERYWHERE(bts_lock, TVM_DATA, 500);
	assert_int_equal(value(TVM_DATA), N * 500);
	EVERYWHERE(xchg_lock, TVM_DATA, 500);
	assert_int_equal(value(TVM_DATA), N * 500);
	EVERYWHERE(cas16, TVM_DATA, COUNT);
	assert_int_equal(value(TVM_DATA), N * COUNT);
	assert_int_equal(value(TVM_DATA + 8), N * COUNT);
}

/* Across a cache line and across a page, where the world is stopped. */
static void test_locked_crossing(void **state)
{
	EVERYWHERE(lock_inc, TVM_DATA + 60, 200);
	assert_int_equal(value(TVM_DATA + 60), N * 200);
	EVERYWHERE(lock_inc, TVM_DATA + 0xffd, 200);
	assert_int_equal(value(TVM_DATA + 0xffd), N * 200);
	EVERYWHERE(lock_cas, TVM_DATA + 0xffd, 200);
	assert_int_equal(value(TVM_DATA + 0xffd), N * 200);
}

/*
 * Litmus, on vCPUs 0 and 1. Each round both meet at a barrier (a locked counter), then race.
 * rdi = data: 0 counter, 64 x, 128 y; results by index behind 0x1000.
 */
#define MEET "lock incl (%rdi)\nlea (,%rbx,2), %eax\n9: cmp %eax, (%rdi)\njb 9b\n"

/* Message passing: y is written after x; who sees y sees x. rdx counts violations. */
GUEST(mp, "xor %edx, %edx\nxor %ebx, %ebx\n"
	  "1: inc %ebx\n" MEET
	  "test %esi, %esi\njnz 2f\n"
	  "mov %ebx, 64(%rdi)\nmov %ebx, 128(%rdi)\njmp 3f\n"
	  "2: mov 128(%rdi), %r8d\nmov 64(%rdi), %r9d\n"
	  "cmp %ebx, %r8d\njne 3f\ncmp %ebx, %r9d\nje 3f\ninc %edx\n"
	  "3: dec %ecx\njnz 1b\nhlt\n");

/* Store buffering with a fence: not both may read the old value. Each stores what it saw. */
GUEST(sb_fence, "xor %ebx, %ebx\n"
		"1: inc %ebx\n" MEET
		"test %esi, %esi\njnz 2f\n"
		"mov %ebx, 64(%rdi)\nmfence\nmov 128(%rdi), %r8d\nmov %r8d, 0x1000(%rdi,%rbx,8)\njmp 3f\n"
		"2: mov %ebx, 128(%rdi)\nlock addl $0, -8(%rsp)\nmov 64(%rdi), %r8d\n"
		"mov %r8d, 0x1004(%rdi,%rbx,8)\n"
		"3: dec %ecx\njnz 1b\nhlt\n");

static void two_cpus(const uint8_t *code, size_t len, uint32_t rounds)
{
	t->n = 2;
	run_everywhere(code, len, TVM_DATA, rounds);
	t->n = N;
}

static void test_litmus(void **state)
{
	const uint32_t rounds = 400;
	const uint32_t *seen = tvm_mem(t, TVM_DATA + 0x1000);

	two_cpus(mp, GUEST_SIZE(mp), rounds);
	assert_int_equal(tvm_cpu(t, 1)->r[RDX], 0);
	two_cpus(sb_fence, GUEST_SIZE(sb_fence), rounds);
	for (uint32_t i = 1; i <= rounds; i++) {
		assert_true(seen[2 * i] == i || seen[2 * i + 1] == i);
	}
}

/* All vCPUs touch the same fresh pages through the same tables: A and D bits all end up set. */
GUEST(touch, "mov $0x40000000, %ebx\nmov $512, %ecx\n"
	     "1: movb $1, (%rbx,%rsi)\nadd $4096, %rbx\ndec %ecx\njnz 1b\nhlt\n");

static void test_shared_tables(void **state)
{
	uint64_t tab = 0x200000, *pt = tvm_mem(t, tab + 0x3000), *m = tvm_mem(t, tab);
	struct cpu_state s;

	memset(m, 0, 0x4000);
	m[0] = (tab + 0x1000) | 7;
	m[512] = TVM_PML4 + 0x2000 + 7;
	m[513] = (tab + 0x2000) | 7;
	m[1024] = (tab + 0x3000) | 7;
	for (unsigned i = 0; i < 512; i++)
		pt[i] = (0x400000 + i * 0x1000ull) | 7;
	PUT_GUEST(t, TVM_CODE, touch);
	for (unsigned i = 0; i < N; i++) {
		tvm_setup(t, i, 64, TVM_CODE);
		tvm_get(t, i, &s);
		s.cr3 = tab;
		s.gpr[RSI] = i;
		tvm_set(t, i, &s);
	}
	tvm_run_all(t);
	for (unsigned i = 0; i < 512; i++) {
		assert_int_equal(pt[i] & 0xfff, 0x67);
		assert_int_equal(*(uint32_t *)tvm_mem(t, 0x400000 + i * 0x1000ull), 0x01010101);
	}
	assert_int_equal(m[0] & 0x60, 0x20);
}

/*
 * Who waits in WAIT_SIPI starts where the SIPI says; INIT and SIPI may come together. An NMI and an
 * SMI in front of the INIT are gone with it.
 */
GUEST_BITS(16, ap_code, "mov $0x1234, %ax\nmov %ax, %cs:0x80\nhlt\n");

static void test_init_sipi(void **state)
{
	struct cpu_state s;

	PUT_GUEST(t, 0x20000, ap_code);
	tvm_put(t, 8, &(uint32_t){ TVM_HANDLERS + 2 }, 4);
	*(uint8_t *)tvm_mem(t, TVM_HANDLERS + 2) = 0xf4;
	for (unsigned round = 0; round < 2; round++) {
		*(uint16_t *)tvm_mem(t, 0x20080) = 0;
		accel_soft.reset(t->v[1], false);
		assert_int_equal(tvm_cpu(t, 1)->s.mp_state, MP_WAIT_SIPI);
		if (!round) { /* from the middle of 64-bit code */
			tvm_setup(t, 1, 64, TVM_CODE);
			tvm_get(t, 1, &s);
			assert_int_equal(s.mp_state, MP_RUNNABLE);
		}
		atomic_store(&t->v[1]->sipi_vector, 0x20);
		atomic_fetch_or(&t->v[1]->events, VCPU_EV_SIPI | (round ? 0 : VCPU_EV_INIT |
									   VCPU_EV_NMI |
									   VCPU_EV_SMI));
		assert_int_equal(tvm_run(t, 1), VCPU_EXIT_INTR);
		assert_int_equal(*(uint16_t *)tvm_mem(t, 0x20080), 0x1234);
		assert_int_equal(tvm_cpu(t, 1)->s.seg[SEG_CS].sel, 0x2000);
		assert_int_equal(tvm_cpu(t, 1)->s.seg[SEG_CS].base, 0x20000);
	}
	/* a SIPI to who runs is dropped */
	PUT_GUEST(t, TVM_CODE, lock_inc);
	tvm_setup(t, 0, 64, TVM_CODE);
	tvm_cpu(t, 0)->r[RDI] = TVM_DATA;
	tvm_cpu(t, 0)->r[RCX] = 10;
	atomic_fetch_or(&t->v[0]->events, VCPU_EV_SIPI);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_cpu(t, 0)->rip, TVM_CODE + GUEST_SIZE(lock_inc));
	assert_int_equal(vcpu_events(t->v[0]) & VCPU_EV_SIPI, 0);
}

/*
 * A kick ends the HLT that follows it, once: a guest's spinlock looks, then halts, and the kick may
 * come in between.
 */
GUEST(wait_code, "xor %eax, %eax\ncli\ninc %eax\nhlt\ninc %eax\nhlt\ninc %eax\nhlt\n");

static void test_kick_before_halt(void **state)
{
	PUT_GUEST(t, TVM_CODE, wait_code);
	for (unsigned kicks = 0; kicks < 2; kicks++) {
		tvm_setup(t, 0, 64, TVM_CODE);
		if (kicks)
			vcpu_kick(t->v[0], VCPU_EV_WAKE);
		assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
		assert_int_equal(tvm_cpu(t, 0)->r[RAX], 1 + kicks);
	}
}

/* An interrupt waits for IF, and for one more instruction behind STI; HLT is ended by it. */
GUEST(sti_shadow, "xor %eax, %eax\ninc %eax\nsti\ninc %eax\ninc %eax\nhlt\n");

static void test_interrupt(void **state)
{
	struct soft_cpu *c = tvm_cpu(t, 0);

	PUT_GUEST(t, TVM_CODE, sti_shadow);
	tvm_setup(t, 0, 64, TVM_CODE);
	atomic_store(&t->intr[0], 0x41 + 1);
	atomic_fetch_or(&t->v[0]->events, VCPU_EV_INTR);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), 0x41);
	assert_int_equal(c->r[RAX], 2);
	assert_int_equal(tvm_frame(t, 0, 0), TVM_CODE + 7); /* behind one inc */
	assert_true(tvm_frame(t, 0, 2) & FLAG_IF);
	assert_false(cpu_rflags(c) & FLAG_IF);
	/* NMI does not wait; a second one is masked until IRET */
	PUT_GUEST(t, TVM_CODE, sti_shadow);
	tvm_setup(t, 0, 64, TVM_CODE);
	atomic_fetch_or(&t->v[0]->events, VCPU_EV_NMI);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), X86_NMI);
	assert_int_equal(tvm_frame(t, 0, 0), TVM_CODE);
	atomic_fetch_or(&t->v[0]->events, VCPU_EV_NMI);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_true(vcpu_events(t->v[0]) & VCPU_EV_NMI);
	vcpu_clear(t->v[0], VCPU_EV_NMI);
}

/* A sleeping vCPU is woken by another thread's interrupt. */
static void *wake_later(void *arg)
{
	struct timespec ts = { 0, 20000000 };

	nanosleep(&ts, NULL);
	atomic_store(&t->intr[0], 0x50 + 1);
	t->keep_halted = false;
	vcpu_kick(t->v[0], VCPU_EV_INTR);
	return NULL;
}

GUEST(sti_hlt, "sti\nhlt\ncli\nhlt\n");

static void test_wake(void **state)
{
	pthread_t th;

	PUT_GUEST(t, TVM_CODE, sti_hlt);
	tvm_setup(t, 0, 64, TVM_CODE);
	t->keep_halted = true;
	assert_int_equal(pthread_create(&th, NULL, wake_later, NULL), 0);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	pthread_join(th, NULL);
	t->keep_halted = false;
	assert_int_equal(tvm_vector(t, 0), 0x50);
	assert_int_equal(tvm_frame(t, 0, 0), TVM_CODE + 2);
}

/* Timers fire while the guest spins, at full speed and one instruction a block. */
GUEST(spin_for_ever, "1: jmp 1b\n");
static unsigned fired;

static void on_timer(struct vcpu *v)
{
	fired++;
	vcpu_kick(v, VCPU_EV_REQ);
}

static void test_timer(void **state)
{
	struct cpu_state s;

	t->ops.timer = on_timer;
	PUT_GUEST(t, TVM_CODE, spin_for_ever);
	for (unsigned slow = 0; slow < 2; slow++) {
		tvm_setup(t, 0, 64, TVM_CODE);
		tvm_get(t, 0, &s);
		s.dr[0] = TVM_DATA; /* a breakpoint elsewhere */
		s.dr7 |= slow;
		tvm_set(t, 0, &s);
		for (unsigned i = 0; i < 3; i++) {
			fired = 0;
			atomic_store(&t->v[0]->deadline_ns, clock_now_ns() + 1000000);
			assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
			assert_int_equal(fired, 1);
			assert_int_equal(tvm_cpu(t, 0)->rip, TVM_CODE);
		}
	}
	t->ops.timer = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_locked),	       cmocka_unit_test(test_locked_crossing),
		cmocka_unit_test(test_litmus),	       cmocka_unit_test(test_shared_tables),
		cmocka_unit_test(test_init_sipi),      cmocka_unit_test(test_interrupt),
		cmocka_unit_test(test_kick_before_halt),
		cmocka_unit_test(test_wake),	       cmocka_unit_test(test_timer),
	};

	return cmocka_run_group_tests(tests, make, drop);
}

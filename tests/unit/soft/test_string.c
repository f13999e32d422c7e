/* SPDX-License-Identifier: Apache-2.0 */
/*
 * String instructions: directions, sizes, overlap, address sizes that wrap, faults and interrupts
 * in the middle, end conditions.
 */
#include "base/base.h"

#include "accel/soft/soft_vm.h"
#include "base/bytes.h"
#include "guest_asm.h"

GUEST_MACHINE(1);

static uint8_t *data(uint64_t off)
{
	return (uint8_t *)tvm_mem(t, TVM_DATA) + off;
}

static void pattern(uint64_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data(off)[i] = (uint8_t)(i * 13 + (i >> 8) * 5 + 1);
}

/* Runs a one-instruction guest with rsi, rdi (offsets in the data), rcx, rax. */
static void run_one(const uint8_t *code, size_t len, uint64_t si, uint64_t di, uint64_t cx,
		    uint64_t ax)
{
	tvm_put(t, TVM_CODE, code, len);
	tvm_setup(t, 0, 64, TVM_CODE);
	c->r[RSI] = TVM_DATA + si;
	c->r[RDI] = TVM_DATA + di;
	c->r[RCX] = cx;
	c->r[RAX] = ax;
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
}
#define ONE(name, si, di, cx, ax) run_one(name, GUEST_SIZE(name), si, di, cx, ax)

GUEST(movsb_g, "rep movsb\nhlt\n");
GUEST(movsw_g, "rep movsw\nhlt\n");
GUEST(movsl_g, "rep movsl\nhlt\n");
GUEST(movsq_g, "rep movsq\nhlt\n");
GUEST(movsb_down, "std\nrep movsb\nhlt\n");
GUEST(movsq_down, "std\nrep movsq\nhlt\n");
GUEST(movs_one, "movsl\nhlt\n");
GUEST(movs_a32, "addr32 rep movsb\nhlt\n");

/* What the definition says: element by element, in order. */
static void reference_movs(uint8_t *dst, const uint8_t *src, size_t n, size_t size, int step)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t v = 0;

		memcpy(&v, src + (ptrdiff_t)(i * size) * step, size);
		memcpy(dst + (ptrdiff_t)(i * size) * step, &v, size);
	}
}

static void check_movs(const uint8_t *code, size_t len, size_t size, size_t from, size_t to,
		       size_t n)
{
	static uint8_t want[0x8000];

	pattern(0, sizeof(want));
	memcpy(want, data(0), sizeof(want));
	reference_movs(want + to, want + from, n, size, 1);
	run_one(code, len, from, to, n, 0);
	assert_memory_equal(want, data(0), sizeof(want));
	assert_int_equal(c->r[RCX], 0);
	assert_int_equal(c->r[RSI], TVM_DATA + from + n * size);
	assert_int_equal(c->r[RDI], TVM_DATA + to + n * size);
}

static void test_movs_up(void **state)
{
	static const struct {
		const uint8_t *code, *end;
		unsigned size;
	} g[] = { { movsb_g, movsb_g_end, 1 },
		  { movsw_g, movsw_g_end, 2 },
		  { movsl_g, movsl_g_end, 4 },
		  { movsq_g, movsq_g_end, 8 } };

	for (unsigned i = 0; i < ARRAY_SIZE(g); i++) {
		size_t len = (size_t)(g[i].end - g[i].code), n = 0x2800 / g[i].size;

		check_movs(g[i].code, len, g[i].size, 0, 0x4000, n);
		check_movs(g[i].code, len, g[i].size, 3, 0x4ff9, n); /* elements cross pages */
		check_movs(g[i].code, len, g[i].size, 0x100, 0x101, n); /* overlap: a pattern fill */
		check_movs(g[i].code, len, g[i].size, 0x100, 0x105, n);
		check_movs(g[i].code, len, g[i].size, 0x105, 0x100, n);
		check_movs(g[i].code, len, g[i].size, 0x100, 0x1100, n);
		check_movs(g[i].code, len, g[i].size, 8, 16, 0);
		check_movs(g[i].code, len, g[i].size, 8, 0x4000, 1);
	}
}

static void test_movs_down(void **state)
{
	static uint8_t want[0x4000];

	pattern(0, sizeof(want));
	memcpy(want, data(0), sizeof(want));
	reference_movs(want + 0x3002, want + 0x3000, 0x2000, 1, -1);
	ONE(movsb_down, 0x3000, 0x3002, 0x2000, 0);
	assert_memory_equal(want, data(0), sizeof(want));
	assert_int_equal(c->r[RSI], TVM_DATA + 0x1000);
	assert_int_equal(c->r[RDI], TVM_DATA + 0x1002);
	reference_movs(want + 0x3003, want + 0x3000, 0x300, 8, -1);
	ONE(movsq_down, 0x3000, 0x3003, 0x300, 0);
	assert_memory_equal(want, data(0), sizeof(want));
	assert_int_equal(c->r[RSI], TVM_DATA + 0x3000 - 0x1800);
	ONE(movs_one, 0, 0x100, 77, 0);
	assert_memory_equal(data(0), data(0x100), 4);
	assert_int_equal(c->r[RCX], 77);
}

/* 32-bit address registers: upper halves are cleared when they move, kept for a zero count. */
/* A count of 0 leaves the upper halves on AMD's processors; Intel's clear them. */
static void test_address_size(void **state)
{
	bool amd = cpu_is_amd(c);

	pattern(0, 64);
	tvm_put(t, TVM_CODE, movs_a32, GUEST_SIZE(movs_a32));
	for (unsigned count = 0; count < 2; count++) {
		tvm_setup(t, 0, 64, TVM_CODE);
		c->r[RSI] = 0xdead00000000ull | TVM_DATA;
		c->r[RDI] = 0xbeef00000000ull | (TVM_DATA + 0x100);
		c->r[RCX] = 0x700000000ull | (count ? 5 : 0);
		tvm_run(t, 0);
		assert_int_equal(tvm_vector(t, 0), -1);
		assert_int_equal((uint32_t)c->r[RSI], TVM_DATA + (count ? 5 : 0));
		assert_int_equal(c->r[RSI] >> 32, count || !amd ? 0 : 0xdead);
		assert_int_equal(c->r[RDI] >> 32, count || !amd ? 0 : 0xbeef);
		assert_int_equal(c->r[RCX], count || !amd ? 0 : 0x700000000ull);
	}
	assert_memory_equal(data(0), data(0x100), 5);
}

GUEST(stosb_g, "rep stosb\nhlt\n");
GUEST(stosl_g, "rep stosl\nhlt\n");
GUEST(stosq_down, "std\nrep stosq\nhlt\n");
GUEST(lods_g, "rep lodsw\nhlt\n");

static void test_stos_lods(void **state)
{
	memset(data(0), 0, 0x4000);
	ONE(stosb_g, 0, 5, 0x2345, 0x1a7);
	assert_int_equal(data(4)[0], 0);
	assert_int_equal(data(5)[0], 0xa7);
	assert_int_equal(data(5 + 0x2344)[0], 0xa7);
	assert_int_equal(data(5 + 0x2345)[0], 0);
	assert_int_equal(c->r[RDI], TVM_DATA + 5 + 0x2345);
	ONE(stosl_g, 0, 0xffe, 3, 0x11223344);
	assert_int_equal((uint32_t)ld_le32(data(0x1002)), 0x11223344);
	ONE(stosq_down, 0, 0x1000, 2, 0x8877665544332211ull);
	assert_int_equal(ld_le64(data(0xff8)), 0x8877665544332211ull);
	assert_int_equal(c->r[RDI], TVM_DATA + 0xff0);
	st_le16(data(6), 0xcafe);
	ONE(lods_g, 0, 0, 4, 0x1234567812345678ull);
	assert_int_equal(c->r[RAX], 0x123456781234cafeull);
	assert_int_equal(c->r[RSI], TVM_DATA + 8);
}

GUEST(repe_cmpsb, "repe cmpsb\nhlt\n");
GUEST(repne_scasb, "repne scasb\nhlt\n");
GUEST(repe_scasl, "repe scasl\nhlt\n");
GUEST(cmpsq_one, "cmpsq\nhlt\n");

static void test_compare(void **state)
{
	pattern(0, 0x3000);
	memcpy(data(0x4000), data(0), 0x3000);
	data(0x4000)[0x1234]++;
	ONE(repe_cmpsb, 0, 0x4000, 0x3000, 0);
	assert_int_equal(c->r[RCX], 0x3000 - 0x1235);
	assert_int_equal(c->r[RSI], TVM_DATA + 0x1235);
	assert_false(c->fl & FL_ZF);
	ONE(repe_cmpsb, 0, 0x4000, 0x1234, 0);
	assert_int_equal(c->r[RCX], 0);
	assert_true(c->fl & FL_ZF);
	memset(data(0), 'x', 0x2000);
	data(0x1fff)[0] = 0;
	ONE(repne_scasb, 0, 0, UINT64_MAX, 0);
	assert_int_equal(~c->r[RCX], 0x2000);
	assert_true(c->fl & FL_ZF);
	st_le32(data(0x40), 1);
	ONE(repe_scasl, 0, 0, 0x100, 0x78787878);
	assert_int_equal(c->r[RDI], TVM_DATA + 0x44);
	assert_false(c->fl & (FL_ZF | FL_CF));
	/* a zero count changes no flag */
	ONE(repe_cmpsb, 0, 0x4000, 0, 0);
	assert_int_equal(fl_to_flags(c->fl), 0);
	st_le64(data(0), 1);
	st_le64(data(8), 2);
	ONE(cmpsq_one, 0, 8, 0, 0);
	assert_true(c->fl & FL_CF);
}

/* A fault in the middle leaves what was done, registers at the element that faulted. */
static void test_fault(void **state)
{
	struct cpu_state s;
	uint64_t *pd = tvm_mem(t, TVM_PML4 + 0x2000);

	pattern(0, 0x100);
	PUT_GUEST(t, TVM_CODE, movsb_g);
	tvm_setup(t, 0, 64, TVM_CODE);
	pd[3] = 0; /* 6..8 MiB */
	tvm_get(t, 0, &s);
	s.gpr[RSI] = TVM_DATA;
	s.gpr[RDI] = 0x600000 - 0x30;
	s.gpr[RCX] = 0x100;
	tvm_set(t, 0, &s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), X86_PF);
	assert_int_equal(c->s.cr2, 0x600000);
	assert_int_equal(tvm_frame(t, 0, 0), PF_W);
	assert_int_equal(tvm_frame(t, 0, 1), TVM_CODE);
	assert_int_equal(c->r[RCX], 0x100 - 0x30);
	assert_int_equal(c->r[RSI], TVM_DATA + 0x30);
	assert_int_equal(c->r[RDI], 0x600000);
	assert_memory_equal(data(0), tvm_mem(t, 0x600000 - 0x30), 0x30);
}

/* An interrupt in the middle: rip at the instruction, so that IRET goes on with the rest. */
GUEST(long_copy, "sti\nrep movsb\nhlt\n");

static void *interrupt_later(void *arg)
{
	struct timespec ts = { 0, 5000000 };

	nanosleep(&ts, NULL);
	atomic_store(&t->intr[0], 0x60 + 1);
	vcpu_kick(t->v[0], VCPU_EV_INTR);
	return NULL;
}

static void test_interrupted(void **state)
{
	pthread_t th;

	PUT_GUEST(t, TVM_CODE, long_copy);
	tvm_setup(t, 0, 64, TVM_CODE);
	/* overlap by one makes the host's copy slow: it lasts long enough to be caught */
	c->r[RSI] = TVM_DATA;
	c->r[RDI] = TVM_DATA + 1;
	c->r[RCX] = 0xe00000;
	for (unsigned tries = 0; tries < 3; tries++) {
		assert_int_equal(pthread_create(&th, NULL, interrupt_later, NULL), 0);
		tvm_run(t, 0);
		pthread_join(th, NULL);
		if (tvm_vector(t, 0) == 0x60)
			break;
	}
	assert_int_equal(tvm_vector(t, 0), 0x60);
	assert_int_equal(c->r[RSI], TVM_DATA + 0xe00000 - c->r[RCX]);
	assert_int_equal(c->r[RDI], c->r[RSI] + 1);
	if (c->r[RCX])
		assert_int_equal(tvm_frame(t, 0, 0), TVM_CODE + 1);
	else
		assert_true(tvm_frame(t, 0, 0) >= TVM_CODE + 3);
}

/* 16 bits: SI wraps within its segment, the prefix chooses the source's segment. */
GUEST_BITS(16, wrap16, "mov $0x2000, %ax\nmov %ax, %ds\nmov $0x3000, %ax\nmov %ax, %fs\n"
		       "mov $0x4000, %ax\nmov %ax, %es\n"
		       "mov $0xfffe, %si\nxor %di, %di\nmov $4, %cx\nrep movsb\n"
		       "mov $0x10, %si\nmov $2, %cx\nrep movsb %fs:(%si), %es:(%di)\nhlt\n");

static void test_16bit(void **state)
{
	uint8_t *ds = tvm_mem(t, 0x20000), *fs = tvm_mem(t, 0x30000), *es = tvm_mem(t, 0x40000);
	static const uint8_t want[] = { 1, 2, 3, 4, 5, 6 };

	memset(es, 0, 16);
	ds[0xfffe] = 1;
	ds[0xffff] = 2;
	ds[0] = 3;
	ds[1] = 4;
	fs[0x10] = 5;
	fs[0x11] = 6;
	EXEC_GUEST(t, 16, wrap16);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_memory_equal(es, want, sizeof(want));
	assert_int_equal(c->r[RDI] & 0xffff, 6);
}

/* Segment limits in protected mode: the element that does not fit faults, those before are done. */
GUEST_BITS(32, limit32, "mov $0x100000, %esi\nxor %edi, %edi\nmov $0x100, %ecx\nrep movsb\nhlt\n");

static void test_limit(void **state)
{
	struct cpu_state s;

	PUT_GUEST(t, TVM_CODE, limit32);
	tvm_setup(t, 0, 32, TVM_CODE);
	tvm_get(t, 0, &s);
	s.seg[SEG_ES].base = 0x140000;
	s.seg[SEG_ES].limit = 0x7f;
	s.seg[SEG_ES].attr &= ~SEG_G;
	tvm_set(t, 0, &s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	assert_int_equal(c->r[RCX], 0x80);
	assert_int_equal(c->r[RDI], 0x80);
}

/* Single-step sees every element. */
GUEST(step_rep, "pushfq\norl $0x100, (%rsp)\npopfq\nrep stosb\nhlt\n");

static void test_single_step(void **state)
{
	PUT_GUEST(t, TVM_CODE, step_rep);
	tvm_setup(t, 0, 64, TVM_CODE);
	c->r[RDI] = TVM_DATA;
	c->r[RCX] = 3;
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), X86_DB);
	assert_int_equal(c->r[RCX], 2);
	assert_int_equal(tvm_frame(t, 0, 0), TVM_CODE + 9);
	assert_true(c->s.dr6 & BIT64(14));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_movs_up),	    cmocka_unit_test(test_movs_down),
		cmocka_unit_test(test_address_size), cmocka_unit_test(test_stos_lods),
		cmocka_unit_test(test_compare),	    cmocka_unit_test(test_fault),
		cmocka_unit_test(test_interrupted), cmocka_unit_test(test_16bit),
		cmocka_unit_test(test_limit),	    cmocka_unit_test(test_single_step),
	};

	return cmocka_run_group_tests(tests, make, drop);
}

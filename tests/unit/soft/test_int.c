/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Integer instructions where a register-only comparison with the host does not reach: stack and
 * control flow in all modes, decimal adjustment, bit strings in memory, wide exchanges, division
 * limits, address arithmetic.
 */
#include "guest_asm.h"

GUEST_MACHINE(1);

static uint64_t mem64(uint64_t gpa)
{
	uint64_t v;

	memcpy(&v, tvm_mem(t, gpa), 8);
	return v;
}

#define RUN(bits, name)                                                        \
	do {                                                                   \
		assert_int_equal(EXEC_GUEST(t, bits, name), VCPU_EXIT_INTR);   \
		assert_int_equal(tvm_vector(t, 0), -1);                        \
	} while (0)

GUEST(stack64, "mov $0x1111222233334444, %rax\npush %rax\npushw $0x5566\npush $-2\n"
	       "push %rsp\npop %rbx\n"	    /* the value before the push */
	       "popw 6(%rsp)\n"		    /* address after the pop */
	       "mov 4(%rsp), %rcx\n"
	       "add $6, %rsp\npopw %dx\npop %rsi\n"
	       "push %rsi\npop (%rsp)\nhlt\n");

static void test_stack64(void **state)
{
	RUN(64, stack64);
	assert_int_equal(c->r[RBX], TVM_STACK - 18);
	/* popw stores 0xfffe at new rsp (sp+2) + 6 = over the word 0x5566 */
	assert_int_equal(c->r[RDX] & 0xffff, 0xfffe);
	assert_int_equal(c->r[RSI], 0x1111222233334444ull);
	assert_int_equal(c->r[RSP], TVM_STACK);
}

GUEST(enter_leave, "mov $0xabcd, %ebp\nenter $0x20, $0\nmov %rbp, %rax\nmov %rsp, %rbx\nleave\n"
		   "mov %rsp, %rcx\nmov %rbp, %rdx\n"
		   "mov $0x90000, %ebp\nenter $0x10, $3\nmov %rsp, %rsi\nmov %rbp, %rdi\nhlt\n");

static void test_enter(void **state)
{
	static const uint64_t outer[2] = { 0x1234, 0x5678 }; /* frames of levels 2 and 1 */

	tvm_put(t, 0x90000 - 16, outer, sizeof(outer));
	RUN(64, enter_leave);
	assert_int_equal(c->r[RAX], TVM_STACK - 8);
	assert_int_equal(c->r[RBX], TVM_STACK - 8 - 0x20);
	assert_int_equal(c->r[RCX], TVM_STACK);
	assert_int_equal(c->r[RDX], 0xabcd);
	assert_int_equal(c->r[RDI], TVM_STACK - 8);
	assert_int_equal(c->r[RSI], TVM_STACK - 8 - 24 - 0x10);
	assert_int_equal(mem64(TVM_STACK - 8), 0x90000);
	assert_int_equal(mem64(TVM_STACK - 16), 0x5678);
	assert_int_equal(mem64(TVM_STACK - 24), 0x1234);
	assert_int_equal(mem64(TVM_STACK - 32), TVM_STACK - 8);
}

GUEST_BITS(32, pusha32, "mov $1, %eax\nmov $2, %ecx\nmov $3, %edx\nmov $4, %ebx\nmov $6, %ebp\n"
			"mov $7, %esi\nmov $8, %edi\npusha\n"
			"xor %eax, %eax\nxor %ecx, %ecx\nxor %ebp, %ebp\nxor %edi, %edi\n"
			"mov 12(%esp), %edx\nmov %edx, 0x100000\npopa\nhlt\n");
GUEST_BITS(16, pusha16, "mov $0x1111, %ax\nmov $0x8888, %di\npusha\nmov %sp, %bp\n"
			"mov (%bp), %bx\nmov 14(%bp), %cx\nadd $16, %sp\nhlt\n");

static void test_pusha(void **state)
{
	RUN(32, pusha32);
	assert_int_equal(c->r[RAX], 1);
	assert_int_equal(c->r[RDX], 3);
	assert_int_equal(c->r[RBP], 6);
	assert_int_equal(c->r[RDI], 8);
	assert_int_equal(c->r[RSP], TVM_STACK);
	assert_int_equal(*(uint32_t *)tvm_mem(t, TVM_DATA), TVM_STACK);
	RUN(16, pusha16);
	assert_int_equal(c->r[RBX] & 0xffff, 0x8888);
	assert_int_equal(c->r[RCX] & 0xffff, 0x1111);
}

/* SP wraps within 64 KiB in 16-bit mode; upper half of ESP stays. */
GUEST_BITS(16, sp_wrap, "movl $0x12340002, %esp\npush $0x77\npush $0x99\nmov %esp, %eax\n"
			"pop %bx\npop %cx\nhlt\n");

static void test_sp_wrap(void **state)
{
	RUN(16, sp_wrap);
	assert_int_equal(c->r[RAX], 0x1234fffe);
	assert_int_equal(c->r[RBX] & 0xffff, 0x99);
	assert_int_equal(c->r[RCX] & 0xffff, 0x77);
	assert_int_equal(*(uint16_t *)tvm_mem(t, 0xfffe), 0x99);
	assert_int_equal(*(uint16_t *)tvm_mem(t, 0), 0x77);
}

GUEST(calls, "xor %eax, %eax\nlea f1(%rip), %rbx\ncall *%rbx\n"
	     "lea f2(%rip), %rcx\nmov %rcx, 0x100000\ncall *0x100000\n"
	     "push $0x55\npush $0x66\ncall f3\n"
	     "mov %rsp, %rdx\nlea 1f(%rip), %rsi\njmp *%rsi\nhlt\n1: inc %eax\nhlt\n"
	     "f1: add $1, %eax\nret\nf2: add $0x10, %eax\nret\nf3: add $0x100, %eax\nret $16\n");

static void test_calls(void **state)
{
	RUN(64, calls);
	assert_int_equal(c->r[RAX], 0x112);
	assert_int_equal(c->r[RDX], TVM_STACK);
}

/* A return or jump to an address that is not canonical faults before anything changed. */
GUEST(bad_ret, "movabs $0x800000000000, %rax\npush %rax\nret\n");
GUEST(bad_jmp, "movabs $0x800000000000, %rax\njmp *%rax\n");

static void test_bad_target(void **state)
{
	EXEC_GUEST(t, 64, bad_ret);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	assert_int_equal(tvm_frame(t, 0, 1), TVM_CODE + 11);
	assert_int_equal(tvm_frame(t, 0, 4), TVM_STACK - 8);
	EXEC_GUEST(t, 64, bad_jmp);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	assert_int_equal(tvm_frame(t, 0, 1), TVM_CODE + 10);
}

GUEST(loops, "mov $5, %ecx\nxor %eax, %eax\n1: inc %eax\nloop 1b\n"
	     "movabs $0x100000003, %rcx\n2: inc %eax\naddr32 loop 2b\nmov %rcx, %rdx\n"
	     "mov $9, %ecx\n3: inc %eax\ncmp $10, %eax\nloopne 3b\nmov %ecx, %esi\n"
	     "movabs $0x100000000, %rcx\njecxz 4f\nhlt\n4: jrcxz 5f\nmov $0x77, %bl\n5: hlt\n");

static void test_loops(void **state)
{
	RUN(64, loops);
	assert_int_equal(c->r[RDX], 0);
	assert_int_equal(c->r[RAX], 10);
	assert_int_equal(c->r[RSI], 7);
	assert_int_equal(c->r[RBX] & 0xff, 0x77);
}

/* Conditions: every SETcc after CMP of pairs, against C. */
GUEST(conds, "cmp %rsi, %rax\nseto (%rdi)\nsetno 1(%rdi)\nsetb 2(%rdi)\nsetae 3(%rdi)\n"
	     "sete 4(%rdi)\nsetne 5(%rdi)\nsetbe 6(%rdi)\nseta 7(%rdi)\nsets 8(%rdi)\nsetns 9(%rdi)\n"
	     "setp 10(%rdi)\nsetnp 11(%rdi)\nsetl 12(%rdi)\nsetge 13(%rdi)\nsetle 14(%rdi)\n"
	     "setg 15(%rdi)\nhlt\n");

static void test_conditions(void **state)
{
	static const int64_t v[] = { 0, 1, -1, INT64_MAX, INT64_MIN, 3, -3, 0x80 };

	for (unsigned i = 0; i < ARRAY_SIZE(v) * ARRAY_SIZE(v); i++) {
		int64_t a = v[i % ARRAY_SIZE(v)], b = v[i / ARRAY_SIZE(v)], d;
		bool of = __builtin_sub_overflow(a, b, &d);
		const bool want[16] = { of, !of, (uint64_t)a < (uint64_t)b, (uint64_t)a >= (uint64_t)b,
					a == b, a != b, (uint64_t)a <= (uint64_t)b,
					(uint64_t)a > (uint64_t)b, d < 0, d >= 0,
					!__builtin_parity((uint8_t)d), __builtin_parity((uint8_t)d),
					a < b, a >= b, a <= b, a > b };

		PUT_GUEST(t, TVM_CODE, conds);
		tvm_setup(t, 0, 64, TVM_CODE);
		c->r[RAX] = (uint64_t)a;
		c->r[RSI] = (uint64_t)b;
		c->r[RDI] = TVM_DATA;
		tvm_run(t, 0);
		for (unsigned k = 0; k < 16; k++)
			assert_int_equal(((uint8_t *)tvm_mem(t, TVM_DATA))[k], want[k]);
	}
}

/* Jcc uses the same conditions. */
GUEST(jccs, "xor %ebx, %ebx\nxor %eax, %eax\ncmp $1, %eax\n"
	    "jo 9f\nlea 1(%rbx), %ebx\njb 1f\nhlt\n1: lea 1(%rbx), %ebx\njae 9f\nje 9f\njne 2f\nhlt\n2: ja 9f\njbe 3f\nhlt\n"
	    "3: js 4f\nhlt\n4: jns 9f\njge 9f\njl 5f\nhlt\n5: jg 9f\njle 6f\nhlt\n6: jnp 9f\njp 7f\nhlt\n"
	    "7: jno 8f\nhlt\n8: lea 1(%rbx), %ebx\nhlt\n9: mov $99, %ebx\nhlt\n");

static void test_jcc(void **state)
{
	RUN(64, jccs);
	assert_int_equal(c->r[RBX], 3);
}

/* Decimal adjustment: packed addition and subtraction of all pairs of digits. */
GUEST_BITS(32, daa_g, "add %bl, %al\ndaa\nsetc %ch\nhlt\n");
GUEST_BITS(32, das_g, "sub %bl, %al\ndas\nsetc %ch\nhlt\n");
GUEST_BITS(32, aaa_g, "add %bl, %al\naaa\nhlt\n");
GUEST_BITS(32, aas_g, "sub %bl, %al\naas\nhlt\n");
GUEST_BITS(32, aam_g, "aam\nhlt\n");
GUEST_BITS(32, aad_g, "aad\nhlt\n");
GUEST_BITS(32, aam0_g, ".byte 0xd4, 0\nhlt\n");

static void run32(const uint8_t *code, size_t len, uint32_t ax, uint32_t bx)
{
	tvm_put(t, TVM_CODE, code, len);
	tvm_setup(t, 0, 32, TVM_CODE);
	c->r[RAX] = ax;
	c->r[RBX] = bx;
	tvm_run(t, 0);
}
#define RUN32(name, ax, bx) run32(name, GUEST_SIZE(name), ax, bx)

static uint8_t bcd(unsigned v)
{
	return (uint8_t)((v / 10 % 10) << 4 | v % 10);
}

static void test_decimal(void **state)
{
	for (unsigned a = 0; a < 100; a += 7) {
		for (unsigned b = 0; b < 100; b += 3) {
			RUN32(daa_g, bcd(a), bcd(b));
			assert_int_equal(c->r[RAX] & 0xff, bcd(a + b));
			assert_int_equal(c->r[RCX] >> 8 & 1, a + b > 99);
			RUN32(das_g, bcd(a), bcd(b));
			assert_int_equal(c->r[RAX] & 0xff, bcd(a + 100 - b));
			assert_int_equal(c->r[RCX] >> 8 & 1, a < b);
		}
	}
	RUN32(aaa_g, 0x0208, 9);
	assert_int_equal(c->r[RAX] & 0xffff, 0x0307);
	assert_true((c->fl & (FL_CF | FL_AF)) == (FL_CF | FL_AF));
	RUN32(aaa_g, 0x0203, 4);
	assert_int_equal(c->r[RAX] & 0xffff, 0x0207);
	assert_false(c->fl & (FL_CF | FL_AF));
	RUN32(aas_g, 0x0203, 5);
	assert_int_equal(c->r[RAX] & 0xffff, 0x0108);
	assert_true(c->fl & FL_CF);
	RUN32(aam_g, 0x33ff00 | 79, 0);
	assert_int_equal(c->r[RAX], 0x330709);
	RUN32(aad_g, 0x330709, 0);
	assert_int_equal(c->r[RAX], 0x330000 | 79);
	RUN32(aam0_g, 1, 0);
	assert_int_equal(tvm_vector(t, 0), X86_DE);
}

/* Bit strings: negative and far offsets; immediate offsets stay in the operand. */
GUEST(bits, "mov $0x100100, %edi\nmov $-1, %rax\nbts %rax, (%rdi)\nmov $130, %eax\nbtsl %eax, (%rdi)\n"
	    "mov $-64, %eax\nbtcl %eax, (%rdi)\nbtsq $65, (%rdi)\nmov $0xffef, %ax\nbtsw %ax, (%rdi)\n"
	    "bt $1, %rax\nlock btrq $1, (%rdi)\nsetc %bl\nhlt\n");

static void test_bit_strings(void **state)
{
	memset(tvm_mem(t, TVM_DATA), 0, 0x200);
	RUN(64, bits);
	/* -1: top bit before; and -17 as 16 bits: bit 15 of the word 4 bytes in front */
	assert_int_equal(mem64(TVM_DATA + 0xf8), 0x8000800000000001ull & ~0ull);
	assert_int_equal(mem64(TVM_DATA + 0x110), 4);
	assert_int_equal(mem64(TVM_DATA + 0x100), 0);
	assert_int_equal(c->r[RBX] & 0xff, 1);
}

GUEST(cx8, "mov $0x100000, %edi\nmov $0x11, %eax\nmov $0x22, %edx\nmov $0x33, %ebx\nmov $0x44, %ecx\n"
	   "lock cmpxchg8b (%rdi)\nsetz %sil\ncmpxchg8b (%rdi)\nsetz %r8b\nhlt\n");
GUEST(cx16_bad, "mov $0x100008, %edi\nlock cmpxchg16b (%rdi)\nhlt\n");

static void test_wide_exchange(void **state)
{
	static const uint64_t v = 0x2200000011ull;

	tvm_put(t, TVM_DATA, &v, 8);
	RUN(64, cx8);
	assert_int_equal(mem64(TVM_DATA), 0x4400000033ull);
	assert_int_equal(c->r[RSI] & 1, 1);
	assert_int_equal(c->r[R8] & 1, 0);
	assert_int_equal(c->r[RAX], 0x33);
	assert_int_equal(c->r[RDX], 0x44);
	EXEC_GUEST(t, 64, cx16_bad);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
}

/* Division at its limits. */
GUEST(div64, "div %rbx\nhlt\n");
GUEST(idiv64, "idiv %rbx\nhlt\n");
GUEST(idiv32, "idiv %ebx\nhlt\n");
GUEST(idiv8, "idiv %bl\nhlt\n");

static int divide(const uint8_t *code, size_t len, uint64_t hi, uint64_t lo, uint64_t by)
{
	tvm_put(t, TVM_CODE, code, len);
	tvm_setup(t, 0, 64, TVM_CODE);
	c->r[RAX] = lo;
	c->r[RDX] = hi;
	c->r[RBX] = by;
	tvm_run(t, 0);
	return tvm_vector(t, 0);
}
#define DIVIDE(name, hi, lo, by) divide(name, GUEST_SIZE(name), hi, lo, by)

static void test_divide(void **state)
{
	assert_int_equal(DIVIDE(div64, 4, 0, 5), -1);
	assert_int_equal(c->r[RAX], 0xccccccccccccccccull);
	assert_int_equal(c->r[RDX], 4);
	assert_int_equal(DIVIDE(div64, 5, 0, 5), X86_DE);
	assert_int_equal(DIVIDE(div64, 0, 1, 0), X86_DE);
	assert_int_equal(DIVIDE(idiv64, UINT64_MAX, BIT64(63), 1), -1);
	assert_int_equal(c->r[RAX], BIT64(63));
	assert_int_equal(DIVIDE(idiv64, UINT64_MAX, BIT64(63), UINT64_MAX), X86_DE);
	assert_int_equal(DIVIDE(idiv64, 0, BIT64(63), 1), X86_DE);
	assert_int_equal(DIVIDE(idiv64, 0, BIT64(63), UINT64_MAX), -1);
	assert_int_equal(c->r[RAX], BIT64(63));
	assert_int_equal(DIVIDE(idiv64, BIT64(63), 0, UINT64_MAX), X86_DE);
	assert_int_equal(DIVIDE(idiv64, BIT64(62), 0, BIT64(63)), -1); /* -2^63 just fits */
	assert_int_equal(c->r[RAX], BIT64(63));
	assert_int_equal(DIVIDE(idiv64, BIT64(62), 0, BIT64(62)), X86_DE);
	assert_int_equal(DIVIDE(idiv32, 0xffffffff, 0x80000000, 0xffffffff), X86_DE);
	assert_int_equal(DIVIDE(idiv32, 0xffffffff, (uint32_t)-7, 2), -1);
	assert_int_equal(c->r[RAX], (uint32_t)-3);
	assert_int_equal(c->r[RDX], (uint32_t)-1);
	assert_int_equal(DIVIDE(idiv8, 0, 0xff80, 0xff), X86_DE);
	assert_int_equal(DIVIDE(idiv8, 0, 0xff80, 1), -1);
	assert_int_equal(c->r[RAX] & 0xffff, 0x0080);
	assert_int_equal(DIVIDE(idiv8, 0, 0x7fff, 0x80), X86_DE);
}

/* Addresses: 16- and 32-bit forms wrap, FS and GS add their base, RIP-relative in a long block. */
GUEST_BITS(16, ea16, "mov $0xffff, %bx\nmov $3, %si\nmovb $0x5a, (%bx,%si)\nlea 5(%bx,%si), %ax\n"
		     "mov $0x10, %bp\nmovb $0x6b, (%bp)\nhlt\n");
GUEST(ea64_g, "mov $0xffffffff, %ebx\nmov $0x100005, %esi\nmov $1, %eax\n"
	      "movb $0x11, -4(%ebx,%esi)\nlea -4(%ebx,%esi), %rcx\nlea -4(%rbx,%rsi,8), %edx\n"
	      "nop\nnop\nnop\nnop\nmovq $0x77, 1f(%rip)\nmov 1f(%rip), %r8\n"
	      "mov %fs:8, %r9\nmov %gs:(%rax,%rax,4), %r10b\nhlt\n1: .quad 0\n");

static void test_addresses(void **state)
{
	static const uint64_t v = 0x1122334455667788ull;
	struct cpu_state s;

	RUN(16, ea16);
	assert_int_equal(*(uint8_t *)tvm_mem(t, 2), 0x5a);
	assert_int_equal(c->r[RAX] & 0xffff, 7);
	assert_int_equal(*(uint8_t *)tvm_mem(t, 0x10), 0x6b);
	PUT_GUEST(t, TVM_CODE, ea64_g);
	tvm_put(t, TVM_DATA + 0x108, &v, 8);
	tvm_setup(t, 0, 64, TVM_CODE);
	tvm_get(t, 0, &s);
	s.seg[SEG_FS].base = TVM_DATA + 0x100;
	s.seg[SEG_GS].base = TVM_DATA + 0x108 - 5 + 1;
	tvm_set(t, 0, &s);
	tvm_run(t, 0);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(*(uint8_t *)tvm_mem(t, 0x100000), 0x11);
	assert_int_equal(c->r[RCX], 0x100000);
	assert_int_equal(c->r[RDX], (uint32_t)(0xffffffff + 0x100005 * 8 - 4));
	assert_int_equal(c->r[R8], 0x77);
	assert_int_equal(c->r[R9], v);
	assert_int_equal(c->r[R10] & 0xff, 0x77);
}

/* Real mode: 64 KiB limits. */
GUEST_BITS(16, over_limit, "mov $0xffff, %bx\nmov (%bx), %ax\nhlt\n");
GUEST_BITS(32, bound_g, "movl $5, 0x100000\nmovl $9, 0x100004\nmov $9, %eax\nbound %eax, 0x100000\n"
			"mov $10, %eax\nbound %eax, 0x100000\nhlt\n");

static void test_limits(void **state)
{
	EXEC_GUEST(t, 16, over_limit);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	EXEC_GUEST(t, 32, bound_g);
	assert_int_equal(tvm_vector(t, 0), X86_BR);
	assert_int_equal(tvm_frame(t, 0, 0), TVM_CODE + GUEST_SIZE(bound_g) - 7);
}

GUEST(misc_g, "mov $0x12345678, %eax\nbswap %eax\nmov %eax, %ebx\nmov $0x80, %al\ncbw\ncwde\ncdqe\n"
	      "cqo\nmov %rax, %rsi\nmov $0x100000, %edi\nmovb $0x42, 0x85(%rdi)\nmov %rdi, %rbx\n"
	      "mov $0x85, %al\nxlat\nmovzbl %al, %ecx\nstc\nlahf\nmovzbl %ah, %ebp\nhlt\n");

static void test_misc(void **state)
{
	RUN(64, misc_g);
	assert_int_equal(c->r[RSI], (uint64_t)-128);
	assert_int_equal(c->r[RDX], UINT64_MAX);
	assert_int_equal(c->r[RCX], 0x42);
	assert_int_equal(c->r[RBP], FLAG_CF | FLAG_R1);
	assert_int_equal(c->r[RBX], 0x100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stack64),	    cmocka_unit_test(test_enter),
		cmocka_unit_test(test_pusha),	    cmocka_unit_test(test_sp_wrap),
		cmocka_unit_test(test_calls),	    cmocka_unit_test(test_bad_target),
		cmocka_unit_test(test_loops),	    cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_jcc),	    cmocka_unit_test(test_decimal),
		cmocka_unit_test(test_bit_strings), cmocka_unit_test(test_wide_exchange),
		cmocka_unit_test(test_divide),	    cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_limits),	    cmocka_unit_test(test_misc),
	};

	return cmocka_run_group_tests(tests, make, drop);
}

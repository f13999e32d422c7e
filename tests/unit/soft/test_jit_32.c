/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 32-bit protected-mode code as host code: what is encoded or addressed in another way there, segments that
 * are not flat any more, and ways between modes. Loops run long enough to be translated; with SOFT_HOT=0 all is.
 */
#include "guest_asm.h"

#include "accel/soft/decode/insn.h"
#include "accel/soft/jit/jit.h"
#include "base/bytes.h"
#include "isa/x86/cpuid.h"

GUEST_MACHINE(1);

static uint32_t word_at(uint64_t gpa)
{
	return ld_le32(tvm_mem(t, gpa));
}

/* Whether the interpreter did one of these for host code. */
static bool stepped(const uint16_t *mns, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (c->n.left[mns[i]])
			return true;
	return false;
}
#define STEPPED(...) stepped((const uint16_t[]){ __VA_ARGS__ }, sizeof((uint16_t[]){ __VA_ARGS__ }) / 2)

/* INC and DEC of all registers by one byte; on 16 bits too. */
GUEST_BITS(32, counts, "mov $100, %ecx\nxor %eax, %eax\nxor %edx, %edx\nxor %ebx, %ebx\nxor %ebp, %ebp\n"
		       "mov $0xffff, %esi\nmov $0xffffffff, %edi\nmov $0x70000, %esp\n"
		       "1: inc %eax\ninc %edx\ninc %ebx\ndec %ebx\ndec %ebp\ninc %si\ninc %edi\ninc %esp\n"
		       "inc %esp\ndec %esp\ndec %ecx\njnz 1b\nhlt\n");

static void test_counts(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 32, counts), VCPU_EXIT_INTR);
	assert_true(c->n.made > 0);
	assert_false(STEPPED(MN_INC, MN_DEC));
	assert_int_equal(c->r[RAX], 100);
	assert_int_equal(c->r[RDX], 100);
	assert_int_equal(c->r[RBX], 0);
	assert_int_equal(c->r[RBP], (uint32_t)-100);
	assert_int_equal(c->r[RSI], 99);
	assert_int_equal(c->r[RDI], 99);
	assert_int_equal(c->r[RSP], 0x70000 + 100);
}

/* Calls in three ways, frames, all sorts of pushes; the flags stay through them. */
GUEST_BITS(32, calls, "mov $100, %ecx\nxor %ebx, %ebx\nmov $3f-calls+0x10000, %edi\nmovl $3f-calls+0x10000, 0x100000\n"
		      "1: push $-5\npush %ecx\npush %esp\npushl 4(%esp)\npushf\ncall 2f\ncall *%edi\n"
		      "call *0x100000\npop %eax\npop %eax\npop %edx\nsub %esp, %edx\nadd %edx, %ebx\n"
		      "pop %ecx\npop %edx\nadd %edx, %ebx\ndec %ecx\njnz 1b\nhlt\n"
		      "2: push %ebp\nmov %esp, %ebp\nsub $0x20, %esp\nmov %ecx, -8(%ebp)\nadd -8(%ebp), %ebx\n"
		      "call 3f\nleave\nret\n3: inc %ebx\nstc\njc 4f\nud2\n4: ret\n");

static void test_calls(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 32, calls), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_true(c->n.made > 0);
	assert_false(STEPPED(MN_PUSH, MN_POP, MN_CALL, MN_RET, MN_LEAVE, MN_PUSHF, MN_JCC));
	/* PUSH ESP: 0 from where it points to; 3 calls, ECX, -5 */
	assert_int_equal(c->r[RBX], 100 * 101 / 2 + 100 * (3 + 0 - 5));
	assert_int_equal(c->r[RSP], TVM_STACK);
}

/* The same at CPL 3, where places in host code keep pages. */
static void test_calls_user(void **state)
{
	struct cpu_state s;

	PUT_GUEST(t, TVM_CODE, calls);
	tvm_setup_user(t, 0, 32, TVM_CODE);
	tvm_get(t, 0, &s);
	s.gpr[RSP] = 0x70004; /* pushes come to another page */
	tvm_set(t, 0, &s);
	tvm_run(t, 0);
	assert_int_equal(tvm_vector(t, 0), X86_GP); /* HLT */
	assert_int_equal(c->r[RBX], 100 * 101 / 2 + 100 * (3 + 0 - 5));
}

/* To another page and back, by what is there in a table, and with parameters that the callee takes away. */
GUEST_BITS(32, far_calls, "mov $100, %ecx\nxor %ebx, %ebx\nmovl $3f-far_calls+0x10000, 0x100000\n"
			  "movl $4f-far_calls+0x10000, 0x100004\n"
			  "1: push $5\npush %ecx\ncall 2f\nmov %ecx, %eax\nand $1, %eax\njmp *0x100000(,%eax,4)\n"
			  "3: add $7, %ebx\n5: dec %ecx\njnz 1b\nhlt\n"
			  ".org far_calls+0x1800\n2: mov 4(%esp), %eax\nadd 8(%esp), %eax\nadd %eax, %ebx\nret $8\n"
			  "4: inc %ebx\njmp 5b\n");

static void test_far_calls(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 32, far_calls), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_false(STEPPED(MN_CALL, MN_RET, MN_JMP));
	assert_int_equal(c->r[RBX], 100 * 101 / 2 + 100 * 5 + 50 * 7 + 50);
	assert_int_equal(c->r[RSP], TVM_STACK);
}

/* AH to BH, loaded, stored and added to; their own register is the address. */
GUEST_BITS(32, highs, "mov $100, %ecx\nmov $0x100000, %ebx\nxor %edx, %edx\n"
		      "1: mov %cl, %ah\nmov %ah, (%ebx)\nmov (%ebx), %dh\nadd %dh, 1(%ebx)\nadd %bh, 2(%ebx)\n"
		      "xchg %ah, 3(%ebx)\nmov (%ebx), %bh\nmov $0, %bh\ndec %ecx\njnz 1b\nhlt\n");

static void test_highs(void **state)
{
	memset(tvm_mem(t, TVM_DATA), 0, 0x1000);
	assert_int_equal(EXEC_GUEST(t, 32, highs), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_false(STEPPED(MN_MOV, MN_ADD, MN_XCHG));
	assert_int_equal(word_at(TVM_DATA), 1 | (5050 & 255) << 8 | 0 << 16 | 1 << 24);
	assert_int_equal(c->r[RAX], 2 << 8);
	assert_int_equal(c->r[RDX], 1 << 8);
	assert_int_equal(c->r[RBX], 0x100000);
}

/* Addresses are sums of 32 bits, also those of accesses that are looked up together. */
GUEST_BITS(32, wraps, "mov $100, %ecx\nxor %ebp, %ebp\nmov $0xfffffff0, %ebx\nmov $0x80000000, %esi\n"
		      "1: mov %ecx, 0x100010(%ebx)\nmov 0x100010(%ebx), %eax\nadd 0x100000, %eax\n"
		      "add 0x100000(%esi,%esi), %eax\nadd %eax, %ebp\nmov %ebp, 0x100014(%ebx)\n"
		      "mov %ebp, 0x100018(%ebx)\nlea -0x7fffffff(%esi,%ebx,2), %edx\ndec %ecx\njnz 1b\nhlt\n");

static void test_wraps(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 32, wraps), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_true(c->n.leaves[JIT_BAIL] <= 1); /* HLT */
	assert_int_equal(c->r[RBP], 3 * 100 * 101 / 2);
	assert_int_equal(word_at(0x100004), 3 * 100 * 101 / 2);
	assert_int_equal(word_at(0x100008), 3 * 100 * 101 / 2);
	assert_int_equal(c->r[RDX], (uint32_t)(0x80000000u + 2 * 0xfffffff0u - 0x7fffffffu));
}

/* A stack at the top of the address space, where nothing is. */
GUEST_BITS(32, stack_wraps, "mov $100, %ecx\n1: mov $4, %esp\npush %ecx\npush %ecx\nmov %esp, %ebx\n"
			    "mov $-4, %esp\npop %eax\nmov %esp, %edx\ndec %ecx\njnz 1b\nhlt\n");

static void test_stack_wraps(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 32, stack_wraps), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RBX], 0xfffffffc);
	assert_int_equal(c->r[RDX], 0);
}

/* By GS with any base, and offsets below 0; FS is null. */
GUEST_BITS(32, by_gs, "mov $100, %ecx\nxor %ebx, %ebx\nmov $8, %esi\n"
		      "1: mov %ecx, %gs:-4\nadd %gs:0xfffffffc, %ebx\nadd %gs:-12(%esi), %ebx\n"
		      "mov %gs:0, %eax\nmov 4(%eax), %eax\nmov %eax, %gs:4(%esi)\nmov %gs:4(%esi), %edx\n"
		      "dec %ecx\njnz 1b\nmov %fs:(%esi), %eax\nhlt\n");

static void run_gs(unsigned bits, uint64_t base)
{
	struct cpu_state s;

	PUT_GUEST(t, TVM_CODE, by_gs);
	tvm_setup(t, 0, bits, TVM_CODE);
	tvm_get(t, 0, &s);
	s.seg[SEG_GS].base = base;
	s.seg[SEG_FS] = (struct x86_seg){ .attr = SEG_UNUSABLE };
	tvm_set(t, 0, &s);
	st_le32(tvm_mem(t, 0x100ff8), 0x100ff8);
	st_le32(tvm_mem(t, 0x100ffc), 77);
	tvm_run(t, 0);
}

static void test_by_gs(void **state)
{
	run_gs(32, 0x100ff8);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	assert_true(c->n.leaves[JIT_BAIL] <= 3); /* over the page's end */
	assert_int_equal(c->r[RBX], 2 * 100 * 101 / 2);
	assert_int_equal(c->r[RDX], 77);
	assert_int_equal(word_at(0x100ff4), 1);
	assert_int_equal(word_at(0x101004), 77);
}

/* Accesses over the end of a page, by what is looked up alone, together, and by the stack. */
GUEST_BITS(32, crossing, "mov $100, %ecx\nmov $0x100ffe, %ebx\nxor %ebp, %ebp\n"
			 "1: mov %ecx, (%ebx)\nadd (%ebx), %ebp\nmov %ecx, 2(%ebx)\nadd 2(%ebx), %ebp\n"
			 "mov %esp, %edx\nlea 4(%ebx), %esp\npush %ecx\npush %ecx\npop %eax\nadd %eax, %ebp\n"
			 "pop %eax\nadd %eax, %ebp\nmov %edx, %esp\ndec %ecx\njnz 1b\nhlt\n");

static void test_crossing(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 32, crossing), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RBP], 4 * 100 * 101 / 2);
	assert_int_equal(c->r[RSP], TVM_STACK);
}

/* Each turn of the loop changes an instruction of the loop; then a return address is stored over code. */
GUEST_BITS(32, patches, "mov $200, %ecx\nxor %ebx, %ebx\nmov %esp, %ebp\n"
			"1: mov %cl, 2f+1-patches+0x10000\n2: mov $0, %eax\nadd %eax, %ebx\ndec %ecx\njnz 1b\n"
			"mov $50, %ecx\n1: mov $9f+4-patches+0x10000, %esp\ncall 2f\nadd 9f-patches+0x10000, %ebx\ndec %ecx\njnz 1b\n"
			"mov %ebp, %esp\nhlt\n2: ret\n.balign 4\n9: .long 0\n");

static void test_patches(void **state)
{
	const uint8_t *call = memmem(patches, GUEST_SIZE(patches), "\x03\x1d", 2); /* add 9f, %ebx */
	uint32_t back = TVM_CODE + (uint32_t)(call - patches);

	assert_int_equal(EXEC_GUEST(t, 32, patches), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal((uint32_t)c->r[RBX], 200 * 201 / 2 + 50 * back);
}

/* ---- segments that are not flat ---- */

#define SEL_SPARE 0x48

/* In the 51st turn a segment becomes what is at SEL_SPARE; then it is accessed at offset ESI. */
#define TURNS(load, access)                                                                    \
	"mov $50, %ecx\nmov $0x48, %edi\nmov $2, %ebx\nmov $0x100000, %edx\n"                  \
	"1: " access "\ndec %ecx\njnz 1b\n" load "\nmov %esi, %edx\n"          \
	"mov $50, %ecx\ndec %ebx\njnz 1b\nhlt\n"

GUEST_BITS(32, ds_read, TURNS("mov %edi, %ds", "mov (%edx), %eax"));
GUEST_BITS(32, ds_write, TURNS("mov %edi, %ds", "mov %ecx, (%edx)"));
GUEST_BITS(32, es_write, TURNS("push %edi\npop %es", "mov %ecx, %es:(%edx)"));
GUEST_BITS(32, gs_read, TURNS("mov %edi, %gs", "mov %gs:(%edx), %eax"));
GUEST_BITS(32, ss_read, TURNS("mov %edi, %ss", "mov %ss:(%edx), %eax"));
GUEST_BITS(32, ss_push, TURNS("mov %edi, %ss", "lea 4(%edx), %esp\npush %ecx"));

static void run_segment(const uint8_t *code, size_t size, uint64_t desc, uint32_t offset)
{
	struct cpu_state s;

	tvm_put(t, TVM_CODE, code, size);
	tvm_setup(t, 0, 32, TVM_CODE);
	tvm_put(t, TVM_GDT + SEL_SPARE, &desc, 8);
	tvm_get(t, 0, &s);
	/* Whether code is for flat segments does not show by these then. */
	s.seg[SEG_FS] = (struct x86_seg){ .attr = SEG_UNUSABLE };
	if (code != gs_read)
		s.seg[SEG_GS] = s.seg[SEG_FS];
	s.gpr[RSI] = offset;
	tvm_set(t, 0, &s);
	memset(tvm_mem(t, TVM_DATA), 0, 0x1000);
	st_le32(tvm_mem(t, TVM_DATA + 0x100), 0x12345678);
	tvm_run(t, 0);
}
#define RUN_SEGMENT(name, desc, offset) run_segment(name, GUEST_SIZE(name), desc, offset)

#define DESC_DATA(base, limit, type) \
	((uint64_t)(limit) | (uint64_t)(base) << 16 | (uint64_t)(0x90 | (type)) << 40 | 0x40ull << 48)
#define FLAT_DESC(type) (0xcf00000000ffffull | (uint64_t)(0x90 | (type)) << 40)

static void test_limits(void **state)
{
	const uint64_t small = DESC_DATA(0x100000, 0xfff, 3);

	RUN_SEGMENT(ds_read, small, 0x100);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RAX], 0x12345678);
	RUN_SEGMENT(ds_read, small, 0xffd);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	RUN_SEGMENT(ds_write, small, 0x1000);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	RUN_SEGMENT(es_write, small, 0xffd);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	RUN_SEGMENT(es_write, small, 0x200);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(word_at(TVM_DATA + 0x200), 1);
	RUN_SEGMENT(gs_read, small, 0x100);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RAX], 0x12345678);
	RUN_SEGMENT(gs_read, small, 0x1000);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	RUN_SEGMENT(ss_read, small, 0x100);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RAX], 0x12345678);
}

/* A stack beyond its limit, on which no exception can be delivered either. */
static void test_stack_limit(void **state)
{
	RUN_SEGMENT(ss_push, DESC_DATA(0x100000, 0xfff, 3), 0x800);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(word_at(TVM_DATA + 0x800), 1);
	PUT_GUEST(t, TVM_CODE, ss_push);
	RUN_SEGMENT(ss_push, DESC_DATA(0x100000, 0xfff, 3), 0x2000);
	assert_int_equal(c->s.mp_state, MP_SHUTDOWN);
}

static void test_kinds(void **state)
{
	RUN_SEGMENT(ds_write, FLAT_DESC(3), TVM_DATA + 0x10);
	assert_int_equal(tvm_vector(t, 0), -1);
	RUN_SEGMENT(ds_write, FLAT_DESC(1), TVM_DATA + 0x10); /* read only */
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	RUN_SEGMENT(ds_read, FLAT_DESC(1), TVM_DATA + 0x100);
	assert_int_equal(c->r[RAX], 0x12345678);
	RUN_SEGMENT(ds_read, FLAT_DESC(9), TVM_DATA + 0x100); /* code that is not to be read: at the load */
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	RUN_SEGMENT(ds_read, FLAT_DESC(7), TVM_DATA + 0x100); /* expand-down of nothing */
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	RUN_SEGMENT(es_write, FLAT_DESC(1), TVM_DATA + 0x10);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	RUN_SEGMENT(gs_read, 0, TVM_DATA); /* not present: at the load */
	assert_int_equal(tvm_vector(t, 0), X86_GP);
}

/* Nobody stores by CS; ours is readable. */
GUEST_BITS(32, by_cs, "mov $50, %ecx\n1: mov %cs:0x100100, %eax\ndec %ecx\njnz 1b\nmov %eax, %cs:0x100104\nhlt\n");

static void test_by_cs(void **state)
{
	st_le32(tvm_mem(t, 0x100100), 0x55aa);
	EXEC_GUEST(t, 32, by_cs);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	assert_int_equal(c->r[RAX], 0x55aa);
}

/* ---- modes ---- */

/* 64-bit code and 32-bit code by turns: upper halves count in one of them only. */
GUEST(both, "mov $100, %r12d\nmov $0x7700100000, %rbx\nxor %ebp, %ebp\n"
	    "1: pushq $8\nlea 2f(%rip), %rax\npush %rax\nlretq\n"
	    ".code32\n2: mov (%ebx), %eax\ninc %eax\nmov %eax, (%ebx)\nmov %ebx, %edx\npush %eax\ncall 3f\n"
	    "pop %eax\nadd %eax, %ebp\nljmp $0x18, $4f-both+0x10000\n3: ret\n"
	    ".code64\n4: mov %rbx, %rcx\nshr $32, %rcx\ncmp $0x77, %ecx\njne 5f\n"
	    "shr $32, %rdx\njnz 5f\ndec %r12d\njnz 1b\nhlt\n5: ud2\n");

static void test_both(void **state)
{
	memset(tvm_mem(t, TVM_DATA), 0, 0x1000);
	assert_int_equal(EXEC_GUEST(t, 64, both), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RBP], 100 * 101 / 2);
	assert_int_equal(c->r[RSP], TVM_STACK);
}

/* Upper halves that 64-bit code left are in no address, target or result. */
GUEST(upper, "mov $100, %r12d\nxor %r13d, %r13d\nmov $0x1122334400000000, %r14\nmov $0x100000, %edi\n"
	     "lea 2f(%rip), %rax\nmov %eax, (%rdi)\nmovw $8, 4(%rdi)\n"
	     "1: lea 0x80000(%r14), %rsp\nlea 0x100010(%r14), %rbx\nlea 3f(%rip), %rsi\nor %r14, %rsi\n"
	     "lea 7(%r14), %rax\nlea 9(%r14), %rdx\nljmp *(%rdi)\n"
	     ".code32\n2: push %eax\npush %edx\ncall *%esi\npop %ecx\nmov %ecx, (%ebx)\npop %ecx\nadd %ecx, (%ebx)\n"
	     "lea (%ebx), %ebp\nmov (%ebp), %ebp\nljmp $0x18, $4f-upper+0x10000\n3: ret\n"
	     ".code64\n4: add %rbp, %r13\nmov $0x80000, %ecx\ncmp %rcx, %rsp\njne 5f\n"
	     "lea 7(%r14), %rcx\ncmp %rcx, %rax\njne 5f\ndec %r12d\njnz 1b\nhlt\n5: ud2\n");

static void test_upper(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, upper), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[13], 100 * 16);
	assert_int_equal(c->n.leaves[JIT_BAIL], 0);
}

/* The same bytes mean something else in each mode: DEC and INC here, a REX prefix there. */
GUEST(same_bytes, "mov $50, %r12d\nxor %r13d, %r13d\nmov $1, %eax\n"
		  "1: pushq $8\nlea 2f(%rip), %rcx\npush %rcx\nlretq\n"
		  "2: .byte 0x48, 0x01, 0xc0\n" /* add %rax, %rax; dec %eax, add %eax, %eax */
		  "mov $0x99, %edx\n"
		  ".code32\nmov %cs, %ecx\ncmp $8, %ecx\njne 3f\nljmp $0x18, $2b-same_bytes+0x10000\n"
		  ".code64\n3: and $0xff, %eax\nor $2, %eax\nadd %eax, %r13d\ndec %r12d\njnz 1b\nhlt\n");

static void test_same_bytes(void **state)
{
	uint32_t eax = 1, sum = 0;

	assert_int_equal(EXEC_GUEST(t, 64, same_bytes), VCPU_EXIT_INTR);
	for (unsigned i = 0; i < 50; i++) {
		eax = 2 * (eax - 1);
		eax = ((2 * eax) & 0xff) | 2;
		sum += eax;
	}
	assert_int_equal(c->r[13], sum);
}

/* ---- interrupts ---- */

#define IRQ 0x40
static unsigned irqs;

static int get_intr(struct vcpu *v)
{
	if (irqs++ >= 200)
		return -1;
	assert_true(c->rflags & FLAG_IF);
	vcpu_kick(v, VCPU_EV_INTR);
	return IRQ;
}

GUEST_BITS(32, irq_handler32, "incl 0x100180\nandl $~0x200, 8(%esp)\niret\n");
GUEST_BITS(32, sti_loop, "mov $50, %ecx\nxor %ebx, %ebx\n1: sti\ninc %ebx\ncli\npush %ecx\npopl 0x100184\n"
			 "dec %ecx\njnz 1b\nhlt\n");

static void test_interrupts(void **state)
{
	const uint64_t h = TVM_CODE + 0x800;
	const uint64_t gate = (h & 0xffff) | TVM_SEL_CODE32 << 16 | 0x8eull << 40 | h >> 16 << 48;

	memset(tvm_mem(t, TVM_DATA), 0, 0x1000);
	PUT_GUEST(t, TVM_CODE, sti_loop);
	PUT_GUEST(t, h, irq_handler32);
	tvm_setup(t, 0, 32, TVM_CODE);
	tvm_put(t, TVM_IDT + 8 * IRQ, &gate, 8);
	t->ops.get_intr = get_intr;
	irqs = 0;
	vcpu_kick(t->v[0], VCPU_EV_INTR);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(irqs, 50);
	assert_int_equal(word_at(0x100180), 50);
	assert_int_equal(word_at(0x100184), 1);
	assert_int_equal(c->r[RBX], 50);
}

/* TF is set in a loop that host code was in. */
GUEST_BITS(32, traps, "mov $60, %ecx\nxor %ebx, %ebx\n1: pushf\npop %eax\ncmp $10, %ecx\njne 2f\nor $0x100, %eax\n"
		      "2: push %eax\npopf\ninc %ebx\ndec %ecx\njnz 1b\nhlt\n");

static void test_single_step(void **state)
{
	EXEC_GUEST(t, 32, traps);
	assert_int_equal(tvm_vector(t, 0), X86_DB);
	assert_int_equal(c->r[RBX], 51);
	assert_int_equal(c->r[RCX], 10);
}

/* The host's own exception in a division is the guest's. */
GUEST_BITS(32, divides, "mov $100, %ecx\nxor %ebx, %ebx\n"
			"1: mov $1000, %eax\nxor %edx, %edx\ninc %ebx\ndiv %ecx\ndec %ecx\njmp 1b\n");

static void test_division(void **state)
{
	EXEC_GUEST(t, 32, divides);
	assert_int_equal(tvm_vector(t, 0), X86_DE);
	assert_int_equal(c->r[RBX], 101);
	assert_int_equal(c->r[RAX], 1000);
}

/* VZEROUPPER is for eight registers only. */
GUEST_BITS(32, zeroes, "mov $60, %ecx\n1: vpaddd %ymm0, %ymm1, %ymm2\nvzeroupper\npaddd %xmm1, %xmm3\n"
		       "dec %ecx\njnz 1b\nhlt\n");

static void test_vzeroupper(void **state)
{
	struct cpu_state s;

	if (!cpu_has(c, X86F_AVX2))
		return;
	PUT_GUEST(t, TVM_CODE, zeroes);
	tvm_setup(t, 0, 32, TVM_CODE);
	tvm_get(t, 0, &s);
	s.cr4 |= CR4_OSXSAVE;
	s.xcr0 = 7;
	for (unsigned i = 0; i < 16; i++)
		memset(s.vec[i], (int)i + 1, 32);
	tvm_set(t, 0, &s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	tvm_get(t, 0, &s);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(s.vec[i][31], i < 8 ? 0 : i + 1);
	assert_int_equal(s.vec[0][0], 1);
	assert_int_equal(s.vec[2][0], 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_counts, make, drop),
		cmocka_unit_test_setup_teardown(test_calls, make, drop),
		cmocka_unit_test_setup_teardown(test_calls_user, make, drop),
		cmocka_unit_test_setup_teardown(test_far_calls, make, drop),
		cmocka_unit_test_setup_teardown(test_highs, make, drop),
		cmocka_unit_test_setup_teardown(test_wraps, make, drop),
		cmocka_unit_test_setup_teardown(test_stack_wraps, make, drop),
		cmocka_unit_test_setup_teardown(test_by_gs, make, drop),
		cmocka_unit_test_setup_teardown(test_crossing, make, drop),
		cmocka_unit_test_setup_teardown(test_patches, make, drop),
		cmocka_unit_test_setup_teardown(test_limits, make, drop),
		cmocka_unit_test_setup_teardown(test_stack_limit, make, drop),
		cmocka_unit_test_setup_teardown(test_kinds, make, drop),
		cmocka_unit_test_setup_teardown(test_by_cs, make, drop),
		cmocka_unit_test_setup_teardown(test_both, make, drop),
		cmocka_unit_test_setup_teardown(test_upper, make, drop),
		cmocka_unit_test_setup_teardown(test_same_bytes, make, drop),
		cmocka_unit_test_setup_teardown(test_interrupts, make, drop),
		cmocka_unit_test_setup_teardown(test_single_step, make, drop),
		cmocka_unit_test_setup_teardown(test_division, make, drop),
		cmocka_unit_test_setup_teardown(test_vzeroupper, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

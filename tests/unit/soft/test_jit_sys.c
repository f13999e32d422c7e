/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System instructions among translated code: ways into a kernel and back, where interrupts get in, what
 * faults. Loops run long enough for host code; with SOFT_HOT=0 all is host code.
 */
#include "guest_asm.h"

#include "accel/soft/fpu.h"
#include "accel/soft/soft_vm.h"
#include "base/bytes.h"

GUEST_MACHINE(1);

/* Interrupts of vector 0x40, one after the other: where they were taken. */
#define IRQ	 0x40
#define MAX_IRQS 200
static unsigned irqs;
static uint64_t irq_at[MAX_IRQS];

static int get_intr(struct vcpu *v)
{
	if (irqs == MAX_IRQS)
		return -1;
	assert_true(c->rflags & FLAG_IF);
	irq_at[irqs++] = c->rip;
	vcpu_kick(v, VCPU_EV_INTR);
	return IRQ;
}

/* Counts, and goes back with IF clear: else the next one would be taken there. */
GUEST(irq_handler, "incl 0x100180\nandl $~0x200, 16(%rsp)\niretq\n");

/* A gate of 64 bits to code at TVM_CODE + 0x800. */
static void put_handler(unsigned vector)
{
	const uint64_t h = TVM_CODE + 0x800;
	const uint64_t gate[2] = { (h & 0xffff) | TVM_SEL_CODE64 << 16 | 0x8eull << 40 |
					   h >> 16 << 48, 0 };

	tvm_put(t, TVM_IDT + 16ull * vector, gate, sizeof(gate));
}

static uint32_t count(uint64_t gpa)
{
	return ld_le32(tvm_mem(t, gpa));
}

/* Runs code at TVM_CODE with an interrupt always pending. */
static void run_irqs(const uint8_t *code, size_t size)
{
	memset(tvm_mem(t, TVM_DATA), 0, 0x1000);
	tvm_put(t, TVM_CODE, code, size);
	PUT_GUEST(t, TVM_CODE + 0x800, irq_handler);
	tvm_setup(t, 0, 64, TVM_CODE);
	put_handler(IRQ);
	t->ops.get_intr = get_intr;
	irqs = 0;
	vcpu_kick(t->v[0], VCPU_EV_INTR);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(count(TVM_DATA + 0x180), irqs);
}
#define RUN_IRQS(name) run_irqs(name, GUEST_SIZE(name))

/* In each turn one interrupt, n of them, at the same place. */
static void check_irqs(unsigned n, uint64_t at)
{
	assert_int_equal(irqs, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(irq_at[i], at);
}

/* Behind the instruction that follows STI, wherever that goes. */
GUEST(sti_nop, "mov $50, %ecx\n1: sti\nnop\ncli\ndec %ecx\njnz 1b\nhlt\n");
GUEST(sti_jmp, "mov $50, %ecx\n1: sti\njmp 2f\nud2\n2: cli\ndec %ecx\njnz 1b\nhlt\n");
GUEST(sti_jcc, "mov $50, %ecx\nxor %eax, %eax\n1: test %eax, %eax\nsti\njz 2f\nud2\n"
	       "2: cli\ndec %ecx\njnz 1b\nhlt\n");
GUEST(sti_call, "mov $50, %ecx\n1: sti\ncall 2f\nud2\n2: cli\npop %rax\ndec %ecx\njnz 1b\nhlt\n");
GUEST(sti_ret, "mov $50, %ecx\nlea 2f(%rip), %rax\n1: push %rax\nsti\nret\nud2\n"
	       "2: cli\ndec %ecx\njnz 1b\nhlt\n");
GUEST(sti_step, "mov $50, %ecx\n1: sti\nsidt 0x100200\ncli\ndec %ecx\njnz 1b\nhlt\n");
GUEST(sti_sti, "mov $50, %ecx\n1: sti\nsti\ncli\ndec %ecx\njnz 1b\nhlt\n");
GUEST(sti_cli, "mov $50, %ecx\n1: sti\ncli\nnop\ndec %ecx\njnz 1b\nhlt\n");
GUEST(sti_page, "mov $50, %ecx\njmp 1f\n.org sti_page+0xfff\n1: sti\nnop\ncli\ndec %ecx\njnz 1b\nhlt\n");

static void test_sti(void **state)
{
	RUN_IRQS(sti_nop);
	check_irqs(50, TVM_CODE + 5 + 2);
	RUN_IRQS(sti_jmp);
	check_irqs(50, TVM_CODE + 5 + 1 + 2 + 2);
	RUN_IRQS(sti_jcc);
	check_irqs(50, TVM_CODE + 5 + 2 + 2 + 1 + 2 + 2);
	RUN_IRQS(sti_call);
	check_irqs(50, TVM_CODE + 5 + 1 + 5 + 2);
	RUN_IRQS(sti_ret);
	check_irqs(50, TVM_CODE + 5 + 7 + 1 + 1 + 1 + 2);
	RUN_IRQS(sti_step);
	check_irqs(50, TVM_CODE + 5 + 1 + 8);
	RUN_IRQS(sti_sti);
	check_irqs(50, TVM_CODE + 5 + 2);
	RUN_IRQS(sti_cli);
	check_irqs(0, 0);
}

/* STI at the end of its page: the instruction behind it is in another block. */
static void test_sti_page(void **state)
{
	tvm_put(t, TVM_CODE + 0x1000, sti_page, GUEST_SIZE(sti_page));
	memset(tvm_mem(t, TVM_DATA), 0, 0x1000);
	PUT_GUEST(t, TVM_CODE + 0x800, irq_handler);
	tvm_setup(t, 0, 64, TVM_CODE + 0x1000);
	put_handler(IRQ);
	t->ops.get_intr = get_intr;
	irqs = 0;
	vcpu_kick(t->v[0], VCPU_EV_INTR);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	check_irqs(50, TVM_CODE + 0x2001);
}

/* POPF and IRETQ let in at once, STI and HLT are one. */
GUEST(popf_if, "mov $50, %ecx\n1: pushf\norl $0x200, (%rsp)\npopf\ncli\ndec %ecx\njnz 1b\nhlt\n");
GUEST(iret_if, "mov $50, %ecx\n1: mov %rsp, %rax\nmov %ss, %edx\npush %rdx\npush %rax\npush $0x202\n"
	       "push $0x18\nlea 2f(%rip), %rbx\npush %rbx\niretq\nud2\n2: cli\ndec %ecx\njnz 1b\nhlt\n");
GUEST(mov_ss, "mov $50, %ecx\nmov %ss, %eax\n1: mov %eax, %ss\nsti\nnop\nmov %eax, %ss\ncli\n"
	      "dec %ecx\njnz 1b\nhlt\n");

static void test_other_ways(void **state)
{
	RUN_IRQS(popf_if);
	check_irqs(50, TVM_CODE + 5 + 1 + 7 + 1);
	RUN_IRQS(iret_if);
	check_irqs(50, TVM_CODE + 5 + 3 + 2 + 1 + 1 + 5 + 2 + 7 + 1 + 2 + 2);
	/* the shadow of the second MOV SS covers CLI */
	RUN_IRQS(mov_ss);
	check_irqs(50, TVM_CODE + 5 + 2 + 2 + 1 + 1);
}

/* ---- a kernel and a program ---- */

/* The program's part; RAX 0 ends. The kernel counts at its GS, and looks at its flags. */
GUEST(kernel, "1: lea 9f(%rip), %rcx\nmov $0x203, %r11d\nsysretq\n"
	      ".org kernel+0x40\n" /* + 0x40: LSTAR */
	      "swapgs\nincq %gs:0\npushfq\npop %rdx\nor %rdx, %gs:8\nbtc $0, %edx\nswapgs\n"
	      "test %eax, %eax\njz 2f\nsysretq\n2: hlt\n"
	      ".org kernel+0x80\n" /* + 0x80 */
	      "9: mov $100, %eax\nxor %ebx, %ebx\nmov %esp, %r9d\n"
	      "3: incq %gs:0\nstd\nstc\nsyscall\nadc $0, %ebx\ncld\nclc\nsyscall\nadc $0, %ebx\n"
	      "dec %eax\njmp 4f\n4: test %eax, %eax\njnz 3b\nsyscall\n");

static void setup_kernel(const uint8_t *code, size_t size)
{
	struct cpu_state s;

	memset(tvm_mem(t, TVM_DATA), 0, 0x1000);
	tvm_put(t, TVM_CODE, code, size);
	tvm_setup(t, 0, 64, TVM_CODE);
	tvm_get(t, 0, &s);
	s.star = (uint64_t)TVM_SEL_CODE64 << 32 | 0x20ull << 48;
	s.lstar = TVM_CODE + 0x40;
	s.sfmask = FLAG_TF | FLAG_IF | FLAG_DF | FLAG_AC;
	s.seg[SEG_GS].base = TVM_DATA + 0x100;
	s.kernel_gs_base = TVM_DATA + 0x200;
	tvm_set(t, 0, &s);
}
#define SETUP_KERNEL(name) setup_kernel(name, GUEST_SIZE(name))

static void test_syscalls(void **state)
{
	struct cpu_state s;

	SETUP_KERNEL(kernel);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(count(TVM_DATA + 0x100), 100);
	assert_int_equal(count(TVM_DATA + 0x200), 201);
	assert_int_equal(count(TVM_DATA + 0x208) & (FLAG_IF | FLAG_DF | FLAG_TF), 0);
	assert_int_equal(c->r[RBX], 100);
	assert_int_equal(c->cpl, 0);
	tvm_get(t, 0, &s);
	assert_int_equal(s.seg[SEG_CS].sel, TVM_SEL_CODE64);
	assert_int_equal(s.seg[SEG_SS].sel, TVM_SEL_CODE64 + 8);
	assert_int_equal(s.seg[SEG_GS].base, TVM_DATA + 0x100);
	assert_int_equal(s.kernel_gs_base, TVM_DATA + 0x200);
}

/* SYSRET lets interrupts in, at the program's next instruction. */
static void test_sysret_irq(void **state)
{
	SETUP_KERNEL(kernel);
	PUT_GUEST(t, TVM_CODE + 0x800, irq_handler);
	put_handler(IRQ);
	t->ops.get_intr = get_intr;
	irqs = 0;
	vcpu_kick(t->v[0], VCPU_EV_INTR);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(irqs, 1);
	assert_int_equal(irq_at[0], TVM_CODE + 0x80);
	assert_int_equal(c->r[RBX], 100);
}

/* A program steps itself through system calls, which are one step, and runs freely again. */
GUEST(stepping, "1: lea 9f(%rip), %rcx\nmov $0x202, %r11d\nsysretq\n"
		".org stepping+0x40\ntest %eax, %eax\njz 2f\nnop\nnop\nsysretq\n2: hlt\n"
		".org stepping+0x80\n9: mov $60, %eax\n3: pushf\norl $0x100, (%rsp)\npopf\n"
		"nop\nsyscall\nnop\n" /* 2 traps: none behind SYSCALL and SYSRET */
		"pushf\nandl $~0x100, (%rsp)\npopf\n" /* 3 more */
		"dec %eax\njnz 3b\nsyscall\n");

static void test_stepping(void **state)
{
	SETUP_KERNEL(stepping);
	PUT_GUEST(t, TVM_CODE + 0x800, irq_handler);
	put_handler(X86_DB);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(count(TVM_DATA + 0x180), 60 * 5);
	assert_false(c->slow);
}

/* ---- what faults, in code that has run well before ---- */

/* The kernel of these takes SCE away when RAX is 1, and goes back to an address in RDX when it is 2. */
#define BAD_KERNEL(name)                                                                          \
	"lea 9f(%rip), %rcx\nmov $0x202, %r11d\nsysretq\n.org " name "+0x40\n"                \
	"mov %rcx, %r8\ncmp $1, %eax\nje 2f\ncmp $2, %eax\ncmove %rdx, %rcx\n5: sysretq\n"      \
	"2: mov $0xc0000080, %ecx\nrdmsr\nand $~1, %eax\nwrmsr\nmov %r8, %rcx\npushq $0x2b\n"   \
	"push %rbx\npush %r11\npushq $0x33\npush %rcx\niretq\n.org " name "+0x80\n9: mov %rsp, %rbx\n"

GUEST(no_sce, BAD_KERNEL("no_sce") "mov $50, %r9d\n1: xor %eax, %eax\ncmp $1, %r9d\nsete %al\nsyscall\n"
			 "dec %r9d\njmp 1b\n");
GUEST(bad_rcx, BAD_KERNEL("bad_rcx") "mov $50, %r9d\nmov $1, %edx\nshl $47, %rdx\n"
			  "1: xor %eax, %eax\ncmp $1, %r9d\nsete %al\nadd %eax, %eax\nsyscall\n"
			  "dec %r9d\njmp 1b\n");
GUEST(user_swapgs, BAD_KERNEL("user_swapgs") "mov $50, %r9d\n1: xor %eax, %eax\nsyscall\ndec %r9d\njnz 1b\nswapgs\n");
GUEST(user_stac, BAD_KERNEL("user_stac") "mov $50, %r9d\n1: xor %eax, %eax\nsyscall\ndec %r9d\njnz 1b\nstac\n");
GUEST(user_cli, BAD_KERNEL("user_cli") "mov $50, %r9d\n1: xor %eax, %eax\nsyscall\ndec %r9d\njnz 1b\ncli\n");
GUEST(user_sti, BAD_KERNEL("user_sti") "mov $50, %r9d\n1: xor %eax, %eax\nsyscall\ndec %r9d\njnz 1b\nsti\nnop\n");
GUEST(user_cr, BAD_KERNEL("user_cr") "mov $50, %r9d\n1: xor %eax, %eax\nsyscall\ndec %r9d\njnz 1b\n"
			  "mov %rax, %cr3\n");
GUEST(user_tsc, BAD_KERNEL("user_tsc") "mov $50, %r9d\n1: rdtsc\nxor %eax, %eax\nsyscall\ndec %r9d\njmp 1b\n");

static int vector_of(const uint8_t *code, size_t size, uint64_t cr4)
{
	struct cpu_state s;

	setup_kernel(code, size);
	tvm_get(t, 0, &s);
	s.cr4 |= cr4;
	tvm_set(t, 0, &s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	return tvm_vector(t, 0);
}
#define VECTOR_OF(name) vector_of(name, GUEST_SIZE(name), 0)

static void test_faults(void **state)
{
	assert_int_equal(VECTOR_OF(no_sce), X86_UD);
	assert_int_equal(c->r[R9], 0);
	assert_int_equal(VECTOR_OF(user_swapgs), X86_GP);
	assert_int_equal(VECTOR_OF(user_stac), X86_UD);
	assert_int_equal(VECTOR_OF(user_cli), X86_GP);
	assert_int_equal(VECTOR_OF(user_sti), X86_GP);
	assert_int_equal(VECTOR_OF(user_cr), X86_GP);
	assert_int_equal(vector_of(user_tsc, GUEST_SIZE(user_tsc), CR4_TSD), X86_GP);
	assert_int_equal(c->r[R9], 50);
}

/* Intel's processors fault in the kernel, AMD's in the program. */
static void test_bad_sysret(void **state)
{
	uint64_t rip;

	assert_int_equal(VECTOR_OF(bad_rcx), X86_GP);
	assert_int_equal(c->r[R9], 1);
	rip = tvm_frame(t, 0, 1);
	if (cpu_is_amd(c))
		assert_int_equal(rip, BIT64(47));
	else
		assert_int_equal(rip, TVM_CODE + 0x40 + 3 + 3 + 2 + 3 + 4);
	assert_int_equal(tvm_frame(t, 0, 2) & 3, cpu_is_amd(c) ? 3 : 0);
}

/* ---- instructions by the interpreter's handler: what is in the host's registers survives ---- */

GUEST(state_lives, "mov $100, %ecx\nxor %ebx, %ebx\npxor %xmm1, %xmm1\nfninit\nfldz\n"
		   "1: movq %rcx, %xmm0\nfld1\nsidt 0x100200\npaddq %xmm0, %xmm1\nfaddp\n"
		   "cmp $50, %ecx\nsidt 0x100200\njae 2f\ninc %ebx\n2: dec %ecx\njnz 1b\n"
		   "movq %xmm1, %rax\nfistpll 0x100300\nhlt\n");
GUEST(upper_lives, "mov $100, %ecx\nvpcmpeqd %ymm3, %ymm3, %ymm3\nvpxor %ymm2, %ymm2, %ymm2\n"
		   "1: sidt 0x100200\nvpsubq %ymm3, %ymm2, %ymm2\ndec %ecx\njnz 1b\n"
		   "vextracti128 $1, %ymm2, %xmm0\nvmovq %xmm0, %rax\nhlt\n");

static void test_state(void **state)
{
	struct cpu_state s;

	assert_int_equal(EXEC_GUEST(t, 64, state_lives), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RAX], 5050);
	assert_int_equal(c->r[RBX], 49);
	assert_int_equal(count(TVM_DATA + 0x300), 100);
	if (!cpu_has(c, X86F_AVX2))
		return;
	tvm_put(t, TVM_CODE, upper_lives, GUEST_SIZE(upper_lives));
	tvm_setup(t, 0, 64, TVM_CODE);
	tvm_get(t, 0, &s);
	s.cr4 |= CR4_OSXSAVE;
	s.xcr0 = 7;
	tvm_set(t, 0, &s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RAX], 100);
}

/* With a count of zero the flags stay those of the instruction before. */
GUEST(no_count, "mov $100, %r8d\nxor %ebx, %ebx\n1: mov $0, %ecx\ncmp %eax, %eax\nrepe cmpsb\nsetz %dl\n"
		"movzx %dl, %edx\nadd %edx, %ebx\ntest %r8d, %r8d\nrepne scasb\nsetz %dl\n"
		"add %dl, %bh\ndec %r8d\njnz 1b\nhlt\n");

static void test_no_count(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, no_count), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RBX], 100);
}

/* A string instruction, and PUSHF, store over code of their own block. */
GUEST(string_over_code, "mov $100, %r8d\nxor %ebx, %ebx\n"
			"1: mov %r8d, 0x100000\nlea 2f+1(%rip), %rdi\nmov $0x100000, %esi\nmov $1, %ecx\n"
			"rep movsb\n2: mov $0, %eax\nadd %eax, %ebx\ndec %r8d\njnz 1b\nhlt\n");
GUEST(pushf_over_code, "mov $50, %ecx\nxor %ebx, %ebx\nmov %rsp, %rbp\nlea 9f+8(%rip), %rdx\n"
		       "1: mov %rdx, %rsp\nxor %eax, %eax\nstc\npushf\nadd 9f(%rip), %ebx\ndec %ecx\njnz 1b\n"
		       "mov %rbp, %rsp\nhlt\n.balign 8\n9: .quad 0\n");

static void test_over_code(void **state)
{
	assert_int_equal(EXEC_GUEST(t, 64, string_over_code), VCPU_EXIT_INTR);
	assert_int_equal(c->r[RBX], 5050);
	assert_int_equal(EXEC_GUEST(t, 64, pushf_over_code), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RBX], 50 * (FLAG_CF | FLAG_R1 | FLAG_PF | FLAG_ZF));
}

/*
 * Accesses that miss in the software TLB, each turn anew, with flags and vector registers alive; and those
 * that cross into a page which misses.
 */
GUEST(misses, "mov $100, %ecx\nxor %ebx, %ebx\nxor %eax, %eax\npxor %xmm1, %xmm1\n"
	      "movq %rcx, %xmm2\n"
	      "1: mov %cr3, %rdx\nmov %rdx, %cr3\nmov $0x400000, %esi\nmov $3, %edx\n"
	      "2: paddq %xmm2, %xmm1\nstc\nmov %rdx, (%rsi)\nadc (%rsi), %rax\nstc\n"
	      "adc 0xffc(%rsi), %ebx\nadd 0xffc(%rsi), %rbx\nadd $0x1000, %rsi\ndec %edx\njnz 2b\n"
	      "dec %ecx\njnz 1b\nmovq %xmm1, %rdx\nhlt\n");
/* Into a page that is not there. */
GUEST(miss_fault, "mov $40, %ecx\n1: mov $0x400000, %esi\nmov (%rsi), %rax\ndec %ecx\njnz 1b\n"
		  "mov $-1, %ecx\nshl $20, %rsi\njmp 2f\n2: mov $5, %ecx\n3: mov (%rsi), %rax\n"
		  "mov $0x400000, %esi\nloop 3b\nmov $1, %esi\nshl $40, %rsi\nmov $1, %ecx\njmp 3b\n");

static void test_misses(void **state)
{
	struct cpu_state s;

	memset(tvm_mem(t, 0x400000), 0, 0x5000);
	assert_int_equal(EXEC_GUEST(t, 64, misses), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RAX], 100 * (3 + 2 + 1 + 3));
	assert_int_equal(c->r[RDX], 100 * 3 * 100);
	assert_int_equal((uint32_t)c->r[RBX], 300);
	EXEC_GUEST(t, 64, miss_fault);
	assert_int_equal(tvm_vector(t, 0), X86_PF);
	tvm_get(t, 0, &s);
	assert_int_equal(s.cr2, 0x400000ull << 20);
}

/* The interpreter's instructions of all kinds between others: one bit string faults in the end. */
GUEST(alone, "mov $100, %r8d\nxor %ebx, %ebx\nmov $0x100300, %edi\nmov %rsp, %r11\n"
	     "1: mov %r8d, %eax\nlock btsl %eax, (%rdi)\nadc $0, %ebx\nbtl %eax, (%rdi)\nadc $0, %ebx\n"
	     "push %r11\npop %rsp\npushw $7\npopw %dx\nmov $3, %ecx\n2: inc %ebx\nloop 2b\n"
	     "dec %r8d\njnz 1b\n"
	     "mov $1, %eax\nshl $46, %rax\nmov $1, %r8d\n3: btq %rax, (%rdi)\nadc $0, %ebx\n"
	     "dec %r8d\njns 3b\nhlt\n");

static void test_alone(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		memset(tvm_mem(t, TVM_DATA), 0, 0x1000);
		EXEC_GUEST(t, 64, alone);
		assert_int_equal(tvm_vector(t, 0), X86_PF);
		assert_int_equal(c->r[RBX], 100 + 300);
		assert_int_equal(tvm_frame(t, 0, 4), TVM_STACK);
	}
}

/* ---- address spaces with a PCID ---- */

/* A script: what the program does, or has the kernel do, before it looks at a page and runs code there. */
enum { OP_END, OP_CR3, OP_INVLPG, OP_INVPCID, OP_STORE };
struct op {
	uint64_t op, arg, a, b; /* b, of INVPCID: linear address; a: PCID */
	unsigned seen;		/* the number of the page that is there then */
};

GUEST(spaces, "lea 9f(%rip), %rcx\nmov $2, %r11d\nsysretq\n.org spaces+0x40\n"
	      "cmp $1, %eax\njne 2f\nmov %rdx, %cr3\nsysretq\n"
	      "2: cmp $2, %eax\njne 3f\ninvlpg (%rdx)\nsysretq\n"
	      "3: cmp $3, %eax\njne 4f\ninvpcid 16(%rsi), %rdx\nsysretq\n4: hlt\n"
	      ".org spaces+0x80\n9: mov $0x110000, %esi\nmov $0x120000, %edi\n"
	      "5: mov (%rsi), %rax\nmov 8(%rsi), %rdx\ncmp $4, %eax\njne 6f\n"
	      "mov 16(%rsi), %rbx\nmov %rbx, (%rdx)\njmp 7f\n6: syscall\n"
	      "7: mov $0x40400010, %ecx\ncall *%rcx\nadd 0x40400000, %eax\nmov %eax, (%rdi)\n"
	      "add $4, %rdi\nadd $32, %rsi\njmp 5b\n");

#define SPACE	  0x200000u /* tables of space k from here + 0x10000 * k */
#define KEEP	  BIT64(63)
#define CR3_OF(k) (SPACE + 0x10000u * (k) + (k))
#define PTE_OF(k) (SPACE + 0x10000u * (k) + 0x3000)
#define PAGE_NR(n) ((0x400000u + 0x200000u * (n)) | 7)

static void put_qword(uint64_t gpa, uint64_t v)
{
	tvm_put(t, gpa, &v, 8);
}

/*
 * Identity in the first GiB by large pages, and at 40400000h page n: it holds n, and code that returns 16 n.
 * (INVLPG near large pages drops all.)
 */
static void put_space(unsigned k, unsigned n)
{
	uint64_t at = SPACE + 0x10000ull * k;

	put_qword(at, (at + 0x1000) | 7);
	put_qword(at + 0x1000, (at + 0x2000) | 7);
	for (uint64_t i = 0; i < 512; i++) {
		put_qword(at + 0x2000 + 8 * i, i << 21 | 0x87);
		put_qword(at + 0x3000 + 8 * i, 0);
		put_qword(at + 0x4000 + 8 * i, 0);
	}
	put_qword(at + 0x1008, (at + 0x4000) | 7);
	put_qword(at + 0x4010, (at + 0x3000) | 7);
	put_qword(PTE_OF(k), PAGE_NR(n));
}

static void put_page(unsigned n)
{
	const uint8_t code[] = { 0xb8, (uint8_t)(16 * n), 0, 0, 0, 0xc3 }; /* mov eax, 16 n; ret */
	uint64_t at = 0x400000 + 0x200000ull * n;

	put_qword(at, n);
	tvm_put(t, at + 0x10, code, sizeof(code));
}

#define TURNS 12

static void test_spaces(void **state)
{
	static const struct op ops[] = {
		/* each has its own, also from the second time on */
		{ OP_CR3, CR3_OF(1), 0, 0, 1 }, { OP_CR3, CR3_OF(2), 0, 0, 2 },
		{ OP_CR3, CR3_OF(1) | KEEP, 0, 0, 1 }, { OP_CR3, CR3_OF(2) | KEEP, 0, 0, 2 },
		/* what is kept is what was there; INVLPG is for this one */
		{ OP_STORE, PTE_OF(1), PAGE_NR(3), 0, 2 }, { OP_CR3, CR3_OF(1) | KEEP, 0, 0, 1 },
		{ OP_CR3, CR3_OF(2) | KEEP, 0, 0, 2 }, { OP_INVLPG, 0x40400000, 0, 0, 2 },
		{ OP_CR3, CR3_OF(1) | KEEP, 0, 0, 1 }, { OP_INVLPG, 0x40400000, 0, 0, 3 },
		/* not kept */
		{ OP_CR3, CR3_OF(2) | KEEP, 0, 0, 2 }, { OP_STORE, PTE_OF(1), PAGE_NR(1), 0, 2 },
		{ OP_CR3, CR3_OF(1), 0, 0, 1 },
		/* INVPCID from another one, of an address, of all, of all there are */
		{ OP_CR3, CR3_OF(2) | KEEP, 0, 0, 2 }, { OP_STORE, PTE_OF(1), PAGE_NR(3), 0, 2 },
		{ OP_INVPCID, 0, 1, 0x40400000, 2 }, { OP_CR3, CR3_OF(1) | KEEP, 0, 0, 3 },
		{ OP_CR3, CR3_OF(2) | KEEP, 0, 0, 2 }, { OP_STORE, PTE_OF(1), PAGE_NR(1), 0, 2 },
		{ OP_INVPCID, 1, 1, 0, 2 }, { OP_CR3, CR3_OF(1) | KEEP, 0, 0, 1 },
		{ OP_CR3, CR3_OF(2) | KEEP, 0, 0, 2 }, { OP_STORE, PTE_OF(1), PAGE_NR(3), 0, 2 },
		{ OP_INVPCID, 3, 0, 0, 2 }, { OP_CR3, CR3_OF(1) | KEEP, 0, 0, 3 },
		{ OP_CR3, CR3_OF(2) | KEEP, 0, 0, 2 }, { OP_STORE, PTE_OF(1), PAGE_NR(1), 0, 2 },
		{ OP_INVPCID, 2, 0, 0, 2 }, { OP_CR3, CR3_OF(1) | KEEP, 0, 0, 1 },
		/* of the current one */
		{ OP_STORE, PTE_OF(1), PAGE_NR(3), 0, 1 }, { OP_INVPCID, 1, 1, 0, 3 },
		{ OP_STORE, PTE_OF(1), PAGE_NR(1), 0, 3 }, { OP_INVPCID, 0, 1, 0x40400000, 1 },
		/* more than are kept */
		{ OP_CR3, CR3_OF(3), 0, 0, 2 }, { OP_CR3, CR3_OF(4), 0, 0, 3 },
		{ OP_CR3, CR3_OF(5), 0, 0, 1 }, { OP_CR3, CR3_OF(6), 0, 0, 2 },
		{ OP_CR3, CR3_OF(1) | KEEP, 0, 0, 1 }, { OP_CR3, CR3_OF(6) | KEEP, 0, 0, 2 },
		{ OP_CR3, CR3_OF(4) | KEEP, 0, 0, 3 },
	};
	static const uint8_t seen_in[] = { 0, 1, 2, 2, 3, 1, 2 };
	struct cpu_state s;

	SETUP_KERNEL(spaces);
	for (unsigned k = 1; k <= 6; k++)
		put_space(k, seen_in[k]);
	for (unsigned n = 1; n <= 3; n++)
		put_page(n);
	memset(tvm_mem(t, 0x110000), 0, 0x10000);
	for (unsigned i = 0; i < TURNS * ARRAY_SIZE(ops); i++)
		tvm_put(t, 0x110000 + 32ull * i, &ops[i % ARRAY_SIZE(ops)], 32);
	tvm_get(t, 0, &s);
	s.cr3 = CR3_OF(1);
	s.cr4 |= CR4_PCIDE;
	tvm_set(t, 0, &s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	for (unsigned i = 0; i < TURNS * ARRAY_SIZE(ops); i++)
		if (count(0x120000 + 4ull * i) != 17 * ops[i % ARRAY_SIZE(ops)].seen)
			fail_msg("operation %u: %#x", i, count(0x120000 + 4ull * i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sti, make, drop),
		cmocka_unit_test_setup_teardown(test_sti_page, make, drop),
		cmocka_unit_test_setup_teardown(test_other_ways, make, drop),
		cmocka_unit_test_setup_teardown(test_syscalls, make, drop),
		cmocka_unit_test_setup_teardown(test_sysret_irq, make, drop),
		cmocka_unit_test_setup_teardown(test_stepping, make, drop),
		cmocka_unit_test_setup_teardown(test_faults, make, drop),
		cmocka_unit_test_setup_teardown(test_bad_sysret, make, drop),
		cmocka_unit_test_setup_teardown(test_state, make, drop),
		cmocka_unit_test_setup_teardown(test_no_count, make, drop),
		cmocka_unit_test_setup_teardown(test_over_code, make, drop),
		cmocka_unit_test_setup_teardown(test_misses, make, drop),
		cmocka_unit_test_setup_teardown(test_alone, make, drop),
		cmocka_unit_test_setup_teardown(test_spaces, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

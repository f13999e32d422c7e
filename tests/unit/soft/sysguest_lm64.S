/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that start in 64-bit mode, CPL 0, identity-mapped. Included by sysguest_common.S. */
	.code64

/* Exceptions at the same privilege: vectors, error codes, RIP of faults and traps. */
GUEST lm_faults
	RESUME 1f
	ud2
1:	RESUME 2f
	movabsq $0x8000000000000000, %rbx
	movl (%rbx), %eax		/* #GP(0) */
2:	RESUME 3f
	movq %rbx, %rbp
	movl (%rbp), %eax		/* by way of the stack: #SS(0) */
3:	RESUME 4f
	movl $0x1234, %eax
	movl %eax, %ds			/* #GP(0x1234): beyond the GDT */
4:	RESUME 5f
	movl $SG_ABSENT, %eax
	movl %eax, %es			/* #NP(0x60) */
5:	RESUME 6f
	movl $SG_XONLY, %eax
	movl %eax, %es			/* #GP(0x78) */
6:	RESUME 7f
	int $0x35
7:	RESUME 8f
	int3
8:	RESUME 9f
	int $0x99			/* beyond the IDT: #GP(0x99 * 8 + 2) */
9:	RESUME 10f
	xorl %eax, %eax
	movl %eax, %ss			/* null SS: fine at CPL 0 */
	LOG $1
10:	RESUME 11f
	movl $3, %eax
	movl %eax, %ss			/* RPL 3: #GP(0) */
11:	EXIT

/* Page faults: error codes and CR2. The harness maps parts of SG_PAGE differently. */
.macro PFTEST insn:vararg
	RESUME 55f
	\insn
	LOG $0
	jmp 56f
55:	movq %cr2, %rax
	outl %eax, $0x80
56:
.endm
GUEST lm_paging
	PFTEST movl SG_PAGE, %ebx		/* present */
	PFTEST movl SG_PAGE + 0x1000, %ebx	/* absent */
	PFTEST movl %ebx, SG_PAGE + 0x1004
	PFTEST movl %ebx, SG_PAGE + 0x2000	/* read-only, WP */
	PFTEST movl SG_PAGE + 0x2ffe, %ebx	/* crosses into an absent page */
	PFTEST movl SG_PAGE + 0x4000, %ebx	/* reserved bit */
	RESUME 57f
	movl $SG_PAGE + 0x5000, %eax
	jmp *%rax				/* NX */
57:	movq %cr2, %rax
	outl %eax, $0x80
	movq %cr0, %rax				/* without WP a supervisor may write */
	andl $~0x10000, %eax
	movq %rax, %cr0
	PFTEST movl %ebx, SG_PAGE + 0x2000
	/* accessed and dirty */
	movl SG_PAGE + 0x6000, %ebx
	movl SG_PT + 6 * 8, %eax
	andl $0x60, %eax
	outl %eax, $0x80
	movl %ebx, SG_PAGE + 0x6000
	movl SG_PT + 6 * 8, %eax
	andl $0x60, %eax
	outl %eax, $0x80
	/* a changed entry is seen behind INVLPG */
	movl $0x700d5eed, SG_PAGE + 0x8000
	movl $SG_PAGE + 0x8007, SG_PT + 7 * 8
	invlpg SG_PAGE + 0x7000
	LOG SG_PAGE + 0x7000
	EXIT

/* SMEP, SMAP with STAC and CLAC: SG_PAGE + 0xa000 is a supervisor page, the rest user pages. */
GUEST lm_smap
	movl $SG_PAGE + 0xa000, %ebx
	movq %cr4, %rax
	orl $(1 << 20 | 1 << 21), %eax
	movl $0xc3, SG_SCRATCH
	movq %rax, %cr4		/* code itself lies in pages the harness made supervisor */
	PFTEST movl SG_PAGE, %ebx
	stac
	PFTEST movl SG_PAGE, %ebx
	clac
	PFTEST movl %ebx, SG_PAGE
	PFTEST movl SG_PAGE + 0xa000, %ebx
	RESUME 1f
	movl $SG_PAGE, %eax
	call *%rax		/* SMEP */
1:	EXIT

/* SYSCALL and SYSRET with all that they set. */
GUEST lm_syscall
	movl $0xc0000081, %ecx		/* STAR: kernel 0x18, user base 0x23 */
	xorl %eax, %eax
	movl $0x00230018, %edx
	wrmsr
	movl $0xc0000082, %ecx
	movl $A(sys_entry), %eax
	xorl %edx, %edx
	wrmsr
	movl $0xc0000084, %ecx
	movl $0x200, %eax
	wrmsr
	movl $A(sys_user), %ecx
	movl $0x3202, %r11d		/* IOPL 3, so that the user may log */
	sysretq
sys_user:
	movl %cs, %eax
	outl %eax, $0x80
	movl %ss, %eax
	outl %eax, $0x80
	stc
	syscall
	.globl sys_back
sys_back:
	EXIT
sys_entry:
	movl %cs, %eax
	outl %eax, $0x80
	movl %ss, %eax
	outl %eax, $0x80
	LOG %ecx			/* sys_back */
	LOG %r11d
	movl $SG_STACK, %esp
	pushfq
	popq %rax
	outl %eax, $0x80
	sysretq

/* A round trip to ring 3 by IRET, and in again by INT: stack switch and frame. */
GUEST lm_iret
	pushq $SG_UDATA32
	pushq $SG_STACK3
	pushq $0x3202
	pushq $SG_UCODE64
	pushq $A(1f)
	iretq
1:	movl %cs, %eax
	outl %eax, $0x80
	RESUME 2f
	int $0x31
2:	LOG %esp
	RESUME 3f
	cli				/* IOPL 3: allowed */
	LOG $2
3:	RESUME 4f
	hlt				/* #GP(0) in ring 3 */
4:	RESUME 5f
	movq %cr0, %rax
5:	RESUME 6f
	int $0x20			/* gate of DPL 0: #GP(0x20 * 8 + 2) */
6:	RESUME 7f
	movl $SG_DATA32, %eax
	movl %eax, %ds			/* #GP(0x10) */
7:	RESUME 8f
	movl $SG_UDATA32, %eax
	movl %eax, %ss
	LOG $3
8:	RESUME 9f
	rdmsr
9:	EXIT

/* NT with IRET is #GP in long mode; IRET to a non-canonical RIP, to a wrong CS, to a null SS. */
.macro FRAME ss, rsp, flags, cs, rip
	pushq $\ss
	pushq $\rsp
	pushq $\flags
	pushq $\cs
	pushq $\rip
.endm
GUEST lm_iret_bad
	pushq $0x4002
	popfq
	RESUME 1f
	iretq
1:	pushq $2
	popfq
	movl $SG_STACK, %esp
	FRAME SG_UDATA32, SG_STACK3, 2, SG_UCODE64, 0
	movabsq $0x8000000000000000, %rax
	movq %rax, (%rsp)
	RESUME 2f
	iretq
2:	movl $SG_STACK, %esp
	FRAME SG_UDATA32, SG_STACK3, 2, SG_DATA32, 0
	RESUME 3f
	iretq
3:	movl $SG_STACK, %esp
	FRAME 0, SG_STACK3, 2, SG_UCODE64, 0
	RESUME 4f
	iretq
4:	movl $SG_STACK, %esp
	FRAME 0, SG_STACK, 2, SG_CODE64, A(5f)	/* null SS for ring 0: fine */
	iretq
5:	EXIT

/* Vector 0x21 has IST1: the frame lies there, aligned. */
GUEST lm_ist
	movl $SG_STACK - 4, %esp
	movl $0x21 * 16 + SG_IDT, %ebx
	movb $1, 4(%rbx)
	movw $A(1f), (%rbx)
	int $0x21
	LOG %esp
	EXIT
1:	LOG %esp
	movl 24(%rsp), %eax		/* the old RSP */
	outl %eax, $0x80
	iretq

/* #PF whose gate is absent is a double fault. */
GUEST lm_double
	movb $0x0e, SG_IDT + 14 * 16 + 5
	movl SG_PAGE + 0x1000, %ebx
	EXIT

/* #GP in the delivery of #UD is just #GP: benign first. */
GUEST lm_benign
	movb $0x0e, SG_IDT + 6 * 16 + 5
	ud2
	EXIT

GUEST lm_triple
	pushq $0
	pushw $0
	lidt (%rsp)
	ud2
	EXIT

/* Single-step: one #DB behind each instruction; the one that sets TF does not count. */
GUEST lm_step
	movw $A(step_handler), SG_IDT + 16
	pushfq
	orl $0x100, (%rsp)
	popfq
	nop			/* 1 */
	movl $5, %ecx		/* 2 */
	pushfq			/* 3 */
	andl $~0x100, (%rsp)	/* 4 */
	popfq			/* 5: TF was set before it */
	nop
	LOG SG_SCRATCH
	movq %dr6, %rax
	outl %eax, $0x80
	EXIT
step_handler:
	incl SG_SCRATCH
	iretq

/* MOV SS holds the trap back for one instruction; INT n takes its own away. */
GUEST lm_step_shadow
	movw $A(step_handler), SG_IDT + 16
	movw $A(step_int), SG_IDT + 0x22 * 16
	movl $SG_DATA32, %ebx
	pushfq
	orl $0x100, (%rsp)
	popfq
	movl %ebx, %ss		/* none */
	nop			/* 1 */
	int $0x22		/* none */
	pushfq			/* 2 */
	andl $~0x100, (%rsp)	/* 3 */
	popfq			/* 4 */
	LOG SG_SCRATCH
	EXIT
step_int:
	iretq

/* Breakpoints: code (a fault, once thanks to RF), data write and access (traps), GD. */
GUEST lm_breakpoints
	movw $A(bp_handler), SG_IDT + 16
	movl $A(1f), %eax
	movq %rax, %dr0
	movl $SG_SCRATCH, %eax
	movq %rax, %dr1
	movl $SG_SCRATCH + 4, %eax
	movq %rax, %dr2
	/* L0 exec, L1 write 4, L2 access 2 */
	movl $(0x400 | 1 | 4 | 0x10 | 0xd << 20 | 0x7 << 24), %eax
	movq %rax, %dr7
	nop
1:	nop				/* #DB, DR6.B0 */
	movl SG_SCRATCH, %eax		/* a read: none */
	movl $1, SG_SCRATCH		/* B1 */
	movb $1, SG_SCRATCH + 3		/* B1 */
	movw SG_SCRATCH + 4, %ax	/* B2 */
	movb SG_SCRATCH + 6, %al	/* none */
	movl $0x2400, %eax		/* GD */
	movq %rax, %dr7
	RESUME 2f
	movw $A(sg_stub_db), SG_IDT + 16
	movq %dr0, %rax			/* #DB, BD; nothing read */
2:	movq %dr7, %rax			/* GD is off in the handler and stays so */
	outl %eax, $0x80
	movq %dr6, %rax
	outl %eax, $0x80
	movl $0x400, %eax
	movq %rax, %dr7
	/* CR4.DE: DR4 is #UD, else DR6 */
	movq %dr4, %rax
	movq %cr4, %rax
	orl $8, %eax
	movq %rax, %cr4
	RESUME 3f
	.byte 0x0f, 0x21, 0xe0		/* mov %dr4, %rax */
3:	EXIT
bp_handler:
	pushq %rax
	movq %dr6, %rax
	outl %eax, $0x80
	testb $1, %al
	jz 1f
	orl $0x10000, 24(%rsp)		/* RF: go on past the code breakpoint */
1:	movl $0, %eax
	movq %rax, %dr6
	popq %rax
	iretq
	.set sg_stub_db, sg_stubs64 + 16

/* Control registers: each wrong value is #GP(0) and changes nothing. */
.macro BADCR cr, val
	RESUME 66f
	movabsq $\val, %rax
	movq %rax, \cr
	LOG $0
66:
.endm
GUEST lm_cr
	BADCR %cr0, 0x100000031		/* reserved */
	BADCR %cr0, 0x80000030		/* PG without PE */
	BADCR %cr0, 0xa0000031		/* NW without CD */
	BADCR %cr0, 0x31		/* PG off in 64-bit code */
	BADCR %cr4, 0			/* PAE off in long mode */
	BADCR %cr4, 0x1020		/* LA57 on in long mode */
	BADCR %cr4, 0x80000020		/* reserved */
	BADCR %cr3, 0x8000000000040000	/* reserved without PCIDE */
	BADCR %cr8, 16
	RESUME 1f
	.byte 0x0f, 0x22, 0xc8		/* mov %rax, %cr1: #UD */
1:	movl $5, %eax
	movq %rax, %cr8
	movq %cr8, %rax
	outl %eax, $0x80
	movq %cr4, %rax
	btsl $17, %eax			/* PCIDE with CR3[11:0] = 0 */
	movq %rax, %cr4
	movl $SG_PML4 + 3, %eax
	btsq $63, %rax
	movq %rax, %cr3
	movq %cr3, %rax
	outl %eax, $0x80
	RESUME 2f
	movl $4, %ebx
	invpcid SG_SCRATCH, %rbx	/* type 4: #GP */
2:	RESUME 3f
	movl $2, %ebx
	invpcid SG_SCRATCH, %rbx
	LOG $7
3:	smsw %eax
	outl %eax, $0x80
	EXIT

GUEST lm_xcr
	RESUME 1f
	xorl %ecx, %ecx
	xgetbv				/* #UD without OSXSAVE */
1:	movq %cr4, %rax
	btsl $18, %eax
	movq %rax, %cr4
	movl $1, %eax
	cpuid
	btl $27, %ecx
	setc %al
	movzbl %al, %eax
	outl %eax, $0x80
	xorl %ecx, %ecx
	xgetbv
	outl %eax, $0x80
	RESUME 2f
	xorl %edx, %edx
	movl $6, %eax
	xsetbv				/* without x87: #GP */
2:	RESUME 3f
	movl $5, %eax
	xsetbv				/* AVX without SSE: #GP */
3:	movl $3, %eax
	xsetbv
	xgetbv
	outl %eax, $0x80
	EXIT

/* MSRs: unknown, non-canonical, wrong types; bases and SWAPGS; TSC_ADJUST moves the TSC. */
.macro BADMSR msr, lo, hi
	RESUME 66f
	movl $\msr, %ecx
	movl $\lo, %eax
	movl $\hi, %edx
	wrmsr
	LOG $0
66:
.endm
GUEST lm_msr
	RESUME 1f
	movl $0x12345, %ecx
	rdmsr
1:	BADMSR 0xc0000082, 0, 0x80000000	/* LSTAR */
	BADMSR 0xc0000080, 0x80, 0		/* EFER reserved */
	BADMSR 0xc0000080, 0, 0			/* EFER.LME off with paging */
	BADMSR 0x277, 0x02, 0			/* PAT type 2 */
	BADMSR 0x2ff, 0x03, 0			/* MTRR type 3 */
	BADMSR 0x201, 0x400, 0			/* MTRR mask reserved */
	BADMSR 0xfe, 0, 0			/* MTRRCAP is read-only */
	BADMSR 0x401, 1, 0			/* MC0_STATUS */
	BADMSR 0xc0000103, 0, 1			/* TSC_AUX upper half */
	movl $0xc0000101, %ecx
	movl $0x5678, %eax
	xorl %edx, %edx
	wrmsr
	movl $0xc0000102, %ecx
	movl $0x9abc, %eax
	wrmsr
	swapgs
	movl $0xc0000101, %ecx
	rdmsr
	outl %eax, $0x80
	movl $SG_SCRATCH, %eax
	movl $0xc0000100, %ecx
	wrmsr
	movl $0x600df00d, %fs:0
	LOG SG_SCRATCH
	RESUME 2f
	rdfsbase %rax				/* #UD without CR4.FSGSBASE */
2:	movq %cr4, %rax
	btsl $16, %eax
	movq %rax, %cr4
	rdfsbase %rax
	outl %eax, $0x80
	movl $SG_SCRATCH + 4, %ebx
	wrgsbase %rbx
	movl $0x77, %gs:(0)
	LOG SG_SCRATCH + 4
	movl $0xc0000103, %ecx
	movl $0x42, %eax
	xorl %edx, %edx
	wrmsr
	rdpid %rax
	outl %eax, $0x80
	rdtscp
	LOG %ecx
	/* TSC_ADJUST += 2^40: the TSC jumps by about as much */
	rdtsc
	movl %edx, %ebx
	movl $0x3b, %ecx
	xorl %eax, %eax
	movl $0x100, %edx
	wrmsr
	rdtsc
	subl %ebx, %edx
	shrl $8, %edx
	LOG %edx
	movl $0x10, %ecx		/* writing the TSC shows in TSC_ADJUST */
	xorl %eax, %eax
	xorl %edx, %edx
	wrmsr
	movl $0x3b, %ecx
	rdmsr
	testl %edx, %edx
	setnz %al
	movzbl %al, %eax
	outl %eax, $0x80
	rdtsc
	LOG %edx
	EXIT

/* A 64-bit call gate from ring 3 to ring 0 and back by far return. */
GUEST lm_callgate
	movw $A(gate_code), SG_GDT + SG_CALLGATE
	movw $SG_CODE64, SG_GDT + SG_CALLGATE + 2
	movw $0xec00, SG_GDT + SG_CALLGATE + 4
	movl $0, SG_GDT + SG_CALLGATE + 6
	movl $0, SG_GDT + SG_CALLGATE + 10
	movw $0, SG_GDT + SG_CALLGATE + 14
	FRAME SG_UDATA32, SG_STACK3, 0x3202, SG_UCODE64, A(1f)
	iretq
1:	movl $0, SG_SCRATCH
	movl $SG_CALLGATE, SG_SCRATCH + 4
	lcall *SG_SCRATCH
	LOG %esp
	movl %cs, %eax
	outl %eax, $0x80
	EXIT
gate_code:
	LOG %esp
	movl %cs, %eax
	outl %eax, $0x80
	movl 24(%rsp), %eax		/* the caller's SS */
	outl %eax, $0x80
	lretq

/* Down to compatibility mode and up again. */
GUEST lm_compat
	movl $A(compat), SG_SCRATCH
	movl $SG_CODE32, SG_SCRATCH + 4
	ljmp *SG_SCRATCH
	.code32
compat:
	movl $SG_DATA32, %eax
	movl %eax, %ss
	movl $-1, %eax
	incl %eax
	outl %eax, $0x80
	RESUME 1f
	movl $0x12345678, %ebx
	movl %ebx, %gs:0x8000(%ebx)	/* mapped: only 1 GiB is, so #PF */
1:	movl %cs, %eax
	outl %eax, $0x80
	ljmp $SG_CODE64, $A(2f)
	.code64
2:	movl %cs, %eax
	outl %eax, $0x80
	EXIT

/* Interrupts: the shadow of STI, HLT, NMI inside its own handler held back until IRET. */
GUEST lm_irq
	movw $A(irq_handler), SG_IDT + 0x25 * 16
	movw $A(nmi_handler), SG_IDT + 2 * 16
	movl $0x25, %eax
	cli
	outl %eax, $0x90
	LOG $1
	sti
	LOG $2				/* one instruction of it, then the interrupt */
	movl $0x25, %eax
	cli
	outl %eax, $0x90
	sti
	hlt
	LOG $3
	xorl %eax, %eax
	outl %eax, $0x91		/* NMI */
	LOG $4
	EXIT
irq_handler:
	pushq %rax
	LOG $0x25
	popq %rax
	iretq
nmi_handler:
	pushq %rax
	incl SG_SCRATCH
	LOG SG_SCRATCH
	cmpl $1, SG_SCRATCH
	jne 1f
	xorl %eax, %eax
	outl %eax, $0x91
	LOG $0x99			/* before the second NMI */
1:	popq %rax
	iretq

/* An SMI out of 64-bit mode; the handler at SMBASE + 0x8000 is smm_handler, copied there. */
GUEST lm_smm
	movl $0x11, %ebx
	movq $-1, %r15
	movl $1, %eax
	outl %eax, $0x91
	LOG %ebx
	LOG %r15d
	RESUME 1f
	rsm				/* outside SMM: #UD */
1:	movl $1, %eax
	outl %eax, $0x91		/* SMBASE has moved: the handler is the same, its log differs */
	LOG $9
	EXIT

/* Hypercalls, UMIP, VERR family in long mode. */
GUEST lm_misc
	movl $7, %eax
	movl $1, %ebx
	movl $2, %ecx
	movl $3, %edx
	movl $4, %esi
	vmcall
	outl %eax, $0x80
	movl $SG_CODE64, %ebx
	lar %ebx, %eax
	outl %eax, $0x80
	movl $SG_TSS_SEL, %ebx
	lsl %ebx, %eax
	outl %eax, $0x80
	movq %cr4, %rax
	btsl $11, %eax
	movq %rax, %cr4
	FRAME SG_UDATA32, SG_STACK3, 0x3202, SG_UCODE64, A(1f)
	iretq
1:	RESUME 2f
	sgdt SG_SCRATCH
2:	RESUME 3f
	str %eax
3:	vmcall				/* ring 3: -EPERM */
	outl %eax, $0x80
	RESUME 4f
	sysenter
4:	EXIT

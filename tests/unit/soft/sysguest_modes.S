/* SPDX-License-Identifier: Apache-2.0 */
/* Guests about modes: 5-level paging, vendors' system calls, virtual-8086, SMM. */
	.code32

/* Long mode with five levels, from protected mode; then non-canonical has 57 bits. */
GUEST mode_la57
	movl $0x1020, %eax
	movl %eax, %cr4
	movl $SG_PML5, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
	movl $A(idtr64), %ebx
	lidt (%ebx)
	ljmp $SG_CODE64, $A(1f)
	.balign 8
idtr64:	.word 1023
	.long SG_IDT, 0
	.code64
1:	movl $0x57, SG_PAGE
	LOG SG_PAGE
	RESUME 2f
	movabsq $0x0080000000000000, %rbx	/* canonical with 57 bits, not mapped: #PF */
	movl (%rbx), %eax
2:	RESUME 3f
	shlq $1, %rbx				/* not canonical: #GP */
	movl (%rbx), %eax
3:	EXIT

/* SYSENTER and SYSEXIT in long mode: Intel only. The harness sets the vendor. */
GUEST mode_sysenter64
	movl $0x174, %ecx
	xorl %edx, %edx
	movl $SG_CODE64, %eax
	wrmsr
	movl $0x175, %ecx
	movl $SG_STACK0, %eax
	wrmsr
	movl $0x176, %ecx
	movl $A(2f), %eax
	wrmsr
	movl $A(1f), %edx
	movl $SG_STACK3, %ecx
	pushq $0x3202
	popfq
	.byte 0x48, 0x0f, 0x35 /* sysexit to 64-bit code */
1:	movl %cs, %eax
	outl %eax, $0x80
	movl %ss, %eax
	outl %eax, $0x80
	LOG %esp
	sysenter
2:	movl %cs, %eax
	outl %eax, $0x80
	LOG %esp
	pushfq
	popq %rax
	andl $0x200, %eax
	outl %eax, $0x80
	/* SYSRET to a non-canonical RCX: Intel faults here, in ring 0 */
	movl $SG_DATA32, %eax
	movl %eax, %ss			/* what SYSENTER left is no selector of this GDT */
	movabsq $0x8000000000000000, %rcx
	movl $2, %r11d
	RESUME 3f
	sysretq
3:	movl %cs, %eax
	outl %eax, $0x80
	EXIT

/* SYSCALL out of compatibility mode: AMD by CSTAR, Intel #UD. */
GUEST mode_syscall32
	movl $0xc0000081, %ecx
	xorl %eax, %eax
	movl $0x00230018, %edx
	wrmsr
	movl $0xc0000083, %ecx
	movl $A(2f), %eax
	xorl %edx, %edx
	wrmsr
	movl $A(1f), %ecx
	movl $0x3002, %r11d
	sysretl
	.code32
1:	movl %cs, %eax
	outl %eax, $0x80
	movl $SG_UDATA32, %eax
	movl %eax, %ds
	RESUME 3f
	syscall
	.code64
2:	movl %cs, %eax
	outl %eax, $0x80
	LOG %ecx
3:	EXIT
	.globl mode_syscall32_next
	.set mode_syscall32_next, 2b

/* Virtual-8086 mode at IOPL 3: INT goes to the IDT, IRET and POPF change IF, far transfers. */
	.code32
GUEST mode_v86_iopl3
	movw $A(v86_int31), SG_IDT + 0x31 * 8
	movl $A(v86_end), SG_SCRATCH
	movb $0, SG_TSS + 0x1000 + 0x10
	movb $0x0f, SG_TSS + 0x1000 + 0xf4 / 8
	pushl $0
	pushl $0
	pushl $0
	pushl $0
	pushl $0
	pushl $SG_STACK - 0x200
	pushl $0x23202
	pushl $0
	pushl $A(1f)
	iretl
	.code16
1:	int $0x31
	cli
	pushf
	popw %ax
	movzwl %ax, %eax
	outl %eax, $0x80
	pushw $0x3202
	popf
	pushf
	popw %ax
	movzwl %ax, %eax
	outl %eax, $0x80
	lcall $0x800, $(A(2f) - 0x8000)
	pushw $0x3002
	pushw $0x800
	pushw $(A(3f) - 0x8000)
	iretw
2:	movw %cs, %ax
	movzwl %ax, %eax
	outl %eax, $0x80
	lretw
3:	movw %cs, %ax
	movzwl %ax, %eax
	outl %eax, $0x80
	EXIT
	.code32
v86_int31:
	LOG %esp
	movl 8(%esp), %eax		/* EFLAGS */
	outl %eax, $0x80
	movl 12(%esp), %eax		/* ESP of the program */
	outl %eax, $0x80
	iretl
v86_end:

/* An SMI in HLT: the handler sees it, RSM goes back into HLT; then an interrupt ends it. */
	.code64
GUEST mode_smm_halt
	movw $A(2f), SG_IDT + 0x25 * 16
	movl $1, %eax
	cli
	outl %eax, $0x91		/* the SMI; the handler raises the interrupt */
	sti
	hlt
	LOG $3
	EXIT
2:	LOG $0x25
	iretq

	.code16
	.globl smm_irq, smm_irq_end, smm_nmi, smm_nmi_end, smm_bad, smm_bad_end
	.globl smm_bad_cr4, smm_bad_cr4_end
smm_irq:
	LOG $1
	movl $0x25, %eax
	outl %eax, $0x90
	rsm
smm_irq_end:
/* NMIs are held back in SMM; and 32-bit code runs there too. */
smm_nmi:
	xorl %eax, %eax
	outl %eax, $0x91
	LOG $1
	rsm
smm_nmi_end:
/* Paging without protection in the saved CR0: shutdown. */
smm_bad:
	.byte 0x2e
	movl $0x80000000, 0xff58
	rsm
smm_bad_end:
/* CR4 bits that MOV CR4 would refuse: shutdown. */
smm_bad_cr4:
	.byte 0x2e
	movl $0x2020, 0xff48
	rsm
smm_bad_cr4_end:

	.code64
GUEST mode_smm_nmi
	movw $A(1f), SG_IDT + 2 * 16
	movl $1, %eax
	outl %eax, $0x91
	LOG $3
	EXIT
1:	LOG $2
	iretq

/* A page fault in a system structure: the GDT lies in an absent page. */
GUEST mode_gdt_fault
	movl $A(2f), %ebx
	lgdt (%rbx)
	RESUME 1f
	movl $SG_RODATA, %eax
	movl %eax, %es
1:	movl $A(3f), %ebx		/* the handler's IRET needs the real one: see below */
	EXIT
	.balign 8
2:	.word SG_GDT_LIMIT
	.quad SG_PAGE + 0x1000
3:

/* Long mode cannot be entered with a 16-bit TSS in TR. */
	.code32
GUEST mode_lm_tss16
	movl $SG_TSS16_SEL, %eax
	ltr %ax
	movl %cr4, %eax
	orl $0x20, %eax
	movl %eax, %cr4
	movl $SG_PML4, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x100, %eax
	wrmsr
	RESUME 1f
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
	LOG $0
1:	EXIT
	.code64

/* PCIDs: INVPCID of one address and of a context, global pages survive a CR3 write. */
GUEST mode_pcid
	movq %cr4, %rax
	orl $(1 << 17 | 1 << 7), %eax
	movq %rax, %cr4
	movl $0x11, SG_PAGE + 0x1000
	movl $0x22, SG_PAGE + 0x2000
	LOG SG_PAGE + 0x1000
	movl $SG_PAGE + 0x2007, SG_PT + 8	/* remap page 1 to page 2 */
	movl $0, SG_SCRATCH
	movl $0, SG_SCRATCH + 4
	movl $SG_PAGE + 0x1000, SG_SCRATCH + 8
	movl $0, SG_SCRATCH + 12
	xorl %eax, %eax
	invpcid SG_SCRATCH, %rax
	LOG SG_PAGE + 0x1000
	movl $SG_PAGE + 0x1007, SG_PT + 8
	movl $1, %eax
	invpcid SG_SCRATCH, %rax
	LOG SG_PAGE + 0x1000
	RESUME 1f
	movl $0x1000, SG_SCRATCH		/* PCID beyond 12 bits */
	invpcid SG_SCRATCH, %rax
1:	RESUME 1f
	movl $3, %eax				/* reserved also where no PCID is looked at */
	invpcid SG_SCRATCH, %rax
1:	EXIT

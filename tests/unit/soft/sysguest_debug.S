/* SPDX-License-Identifier: Apache-2.0 */
/* Guests about debug exceptions and events beside other things: HLT, REP, shadows, GD, tasks. */
	.code64

/* Single-step over HLT: the trap ends it. */
GUEST debug_hlt
	movw $A(step_handler), SG_IDT + 16
	pushfq
	orl $0x100, (%rsp)
	popfq
	hlt			/* 1 */
	pushfq			/* 2 */
	andl $~0x100, (%rsp)	/* 3 */
	popfq			/* 4 */
	LOG SG_SCRATCH
	EXIT

/* A code breakpoint on REP MOVS hits once; a data breakpoint in the middle is a trap between two
 * elements, with RF in the pushed image because the instruction goes on. */
GUEST debug_rep
	movw $A(rep_handler), SG_IDT + 16
	movl $A(1f), %eax
	movq %rax, %dr0
	movl $SG_SCRATCH + 2, %eax
	movq %rax, %dr1
	movl $(0x400 | 1 | 4 | 1 << 20), %eax	/* L0 exec, L1 write 1 */
	movq %rax, %dr7
	movl $A(debug_rep), %esi
	movl $SG_SCRATCH, %edi
	movl $4, %ecx
1:	rep movsb
	LOG %ecx
	EXIT
rep_handler:
	pushq %rax
	movq %dr6, %rax
	outl %eax, $0x80
	movl 24(%rsp), %eax
	andl $0x10000, %eax
	outl %eax, $0x80
	LOG %ecx
	movq %dr6, %rax
	testb $1, %al
	jz 2f
	orl $0x10000, 24(%rsp)
2:	xorl %eax, %eax
	movq %rax, %dr6
	popq %rax
	iretq

/* The same for OUTS with a port breakpoint. */
GUEST debug_rep_outs
	movw $A(rep_handler), SG_IDT + 16
	movq %cr4, %rax
	orl $8, %eax
	movq %rax, %cr4
	movl $A(1f), %eax
	movq %rax, %dr0
	movl $0x300, %eax
	movq %rax, %dr1
	movl $(0x400 | 1 | 4 | 2 << 20), %eax	/* L0 exec, L1 port */
	movq %rax, %dr7
	movl $A(debug_rep), %esi
	movl $0x300, %edx
	movl $2, %ecx
1:	rep outsb
	LOG %ecx
	EXIT

/* A code breakpoint behind MOV SS does not hit: the handler would have no stack yet. */
GUEST debug_mov_ss
	movw $A(rep_handler), SG_IDT + 16
	movl $A(1f), %eax
	movq %rax, %dr0
	movl $0x401, %eax
	movq %rax, %dr7
	movl $SG_DATA32, %ebx
	movl %ebx, %ss
1:	nop
	LOG $2
	EXIT

/* STI and HLT are one: what comes in between must not let the interrupt in front of the HLT. */
GUEST debug_sti_hlt
	movw $A(2f), SG_IDT + 2 * 16
	movw $A(3f), SG_IDT + 0x25 * 16
	LOG $1
	outl %eax, $0xf4		/* the test goes on at the next label */
GUEST debug_sti_hlt_at
	hlt				/* in the shadow of an STI */
	LOG $3
	EXIT
2:	LOG $2
	iretq
3:	LOG $0x25
	iretq

/* ICEBP comes to the #DB handler, which may touch the debug registers whatever GD said. */
GUEST debug_icebp
	movw $A(1f), SG_IDT + 16
	movl $0x2400, %eax
	movq %rax, %dr7
	.byte 0xf1
	LOG $2
	EXIT
1:	movq %dr7, %rax
	outl %eax, $0x80
	iretq

/* The T flag of a TSS: #DB before the new task's first instruction. */
	.code32
GUEST debug_task
	movw $A(1f), SG_IDT + 8
	BUILD_TSS2 2f
	movl $1, SG_TSS2 + 100
	movl $0x2400, %eax
	movl %eax, %dr7
	ljmp $SG_TSS2_SEL, $0
1:	movl %dr6, %eax
	outl %eax, $0x80
	movl (%esp), %eax
	subl $A(2f), %eax
	outl %eax, $0x80
	str %eax
	outl %eax, $0x80
	iretl
2:	LOG $2
	EXIT

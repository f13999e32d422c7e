/* SPDX-License-Identifier: Apache-2.0 */
/* Guests about 16-bit gates and tasks, LDTs, faults in deliveries, ports. See sysguest_common.S. */
	.code32

/* A 16-bit interrupt gate and a 16-bit call gate out of 32-bit code. */
GUEST gate_int16
	movw $A(1f), SG_IDT + 0x23 * 8
	movb $0x86, SG_IDT + 0x23 * 8 + 5
	pushl $0xd2
	popfl
	int $0x23
	LOG %esp
	movw $A(2f), SG_GDT + SG_CALLGATE
	movw $SG_CODE32, SG_GDT + SG_CALLGATE + 2
	movl $0x8400, SG_GDT + SG_CALLGATE + 4
	lcall $SG_CALLGATE, $0
	LOG %esp
	/* a 16-bit far call and return by operand size */
	movw $A(3f), SG_SCRATCH
	movw $SG_CODE32, SG_SCRATCH + 2
	lcallw *SG_SCRATCH
	LOG $3
	EXIT
1:	LOG %esp
	movzwl 4(%esp), %eax
	outl %eax, $0x80		/* FLAGS */
	iretw
2:	LOG %esp
	movzwl 2(%esp), %eax
	outl %eax, $0x80
	lretw
3:	LOG %esp
	lretw

/* A 16-bit TSS: switch to it and back. */
GUEST gate_tss16
	movw $A(1f), SG_TSS16 + 14
	movw $2, SG_TSS16 + 16
	movw $0xccc, SG_TSS16 + 20		/* CX */
	movw $SG_STACK - 0x400, SG_TSS16 + 26	/* SP */
	movw $SG_DATA32, SG_TSS16 + 34
	movw $SG_CODE32, SG_TSS16 + 36
	movw $SG_DATA32, SG_TSS16 + 38
	movw $SG_DATA32, SG_TSS16 + 40
	movw $0, SG_TSS16 + 42
	movl $0x12345678, %ebx
	lcall $SG_TSS16_SEL, $0
	LOG %ebx
	movzwl SG_TSS16 + 14, %eax		/* where it would go on */
	subl $A(2f), %eax
	outl %eax, $0x80
	EXIT
1:	movzwl %cx, %eax
	outl %eax, $0x80
	movl %fs, %eax				/* a 286 TSS has none: null */
	outl %eax, $0x80
	str %eax
	outl %eax, $0x80
	iretl
2:

/* LDT: loading, using, the null LDT, an absent one. */
GUEST gate_ldt
	movl $0x0000ffff, SG_LDT + 8
	movl $0x00cf9200, SG_LDT + 12
	movl $SG_LDT_SEL, %eax
	lldt %ax
	sldt %eax
	outl %eax, $0x80
	movl $0x0c, %eax
	movl %eax, %es
	movl $0x1dd, %es:SG_SCRATCH
	LOG SG_SCRATCH
	RESUME 1f
	movl $0x1004, %eax
	movl %eax, %es			/* beyond the LDT */
1:	xorl %eax, %eax
	lldt %ax
	RESUME 2f
	movl $0x0c, %eax
	movl %eax, %es			/* none now */
2:	movb $0x02, SG_GDT + SG_LDT_SEL + 5
	RESUME 3f
	movl $SG_LDT_SEL, %eax
	lldt %ax			/* #NP */
3:	RESUME 4f
	movl $SG_DATA32, %eax
	lldt %ax			/* not an LDT */
4:	RESUME 5f
	movl $SG_TSS_SEL, %eax
	ltr %ax				/* busy: #GP */
5:	movl $SG_TSS2_SEL, %eax
	ltr %ax
	movzbl SG_GDT + SG_TSS2_SEL + 5, %eax
	outl %eax, $0x80
	EXIT

/* What happens while an exception is delivered: contributory pairs are double faults. */
GUEST gate_df_gp_np
	movb $0x0e, SG_IDT + 13 * 8 + 5		/* #GP's gate absent: #NP on #GP */
	movl $SG_RODATA, %eax
	movl %eax, %es
	movl %eax, %es:0
	EXIT
GUEST gate_int_np
	movb $0x0e, SG_IDT + 0x24 * 8 + 5	/* INT n: just #NP, EXT clear */
	RESUME 1f
	int $0x24
1:	movw $SG_ABSENT, SG_IDT + 0x24 * 8 + 2	/* code segment absent: not code, #GP */
	movb $0x8e, SG_IDT + 0x24 * 8 + 5
	RESUME 2f
	int $0x24
2:	movw $0, SG_IDT + 0x24 * 8 + 2		/* null: #GP(0) */
	RESUME 3f
	int $0x24
3:	movb $0x80, SG_IDT + 0x24 * 8 + 5	/* no gate type */
	RESUME 4f
	int $0x24
4:	movw $SG_CODE32, SG_IDT + 6 * 8 + 2
	movw $0, SG_IDT + 6 * 8 + 2		/* the same for an exception: EXT set */
	RESUME 5f
	ud2
5:	EXIT

/* The inner stack is bad: #TS with its selector; too small: #SS. */
.macro RING3 label, flags=0x3202
	pushl $SG_UDATA32
	pushl $SG_STACK3
	pushl $\flags
	pushl $SG_UCODE32
	pushl $A(\label)
	iretl
.endm
GUEST gate_bad_stack
	movl $SG_TSS2, %esi
	/* faults of ring 3 would need the bad stack too: let #TS and #SS have a task */
	movl $A(bad_stack_task), SG_TSS2 + 32
	movl $2, SG_TSS2 + 36
	movl $SG_STACK - 0x400, SG_TSS2 + 56
	movl $SG_DATA32, SG_TSS2 + 72
	movl $SG_CODE32, SG_TSS2 + 76
	movl $SG_DATA32, SG_TSS2 + 80
	movl $SG_DATA32, SG_TSS2 + 84
	movl $(SG_TSS2_SEL << 16), SG_IDT + 10 * 8
	movl $0x8500, SG_IDT + 10 * 8 + 4
	movl $(SG_TSS2_SEL << 16), SG_IDT + 12 * 8
	movl $0x8500, SG_IDT + 12 * 8 + 4
	movl $SG_RODATA, SG_TSS + 8
	RING3 1f
1:	int $0x32			/* SS0 is not writable: #TS(0x68) */
2:	int $0x32			/* SS0 null: #TS(0) */
3:	int $0x32			/* ESP0 beyond its limit: #SS(0xb0) */
	EXIT
bad_stack_task:
	popl %eax
	outl %eax, $0x80
	movzwl SG_TSS + 76, %eax	/* CS of ring 3 */
	outl %eax, $0x80
	addl $2, SG_TSS + 32
	cmpl $0, SG_TSS + 8
	je 4f
	movl $0, SG_TSS + 8
	jmp 5f
4:	movl $SG_SMALL, SG_TSS + 8
	movl $0x104, SG_TSS + 4
5:	iretl
	jmp bad_stack_task		/* the next #TS or #SS starts here */

/* Far return from ring 0 to ring 3, and to ring 1 and down again by its own INT. */
GUEST gate_retf
	pushl $SG_UDATA32
	pushl $SG_STACK3
	pushl $SG_UCODE32
	pushl $A(1f)
	pushl $0x3002
	popfl
	lretl
1:	movl %cs, %eax
	outl %eax, $0x80
	LOG %esp
	movl $SG_UDATA32, %eax
	movl %eax, %ds
	RESUME 2f
	pushl $SG_DATA32
	pushl $0
	pushl $SG_CODE32
	pushl $0
	lretl				/* to more privilege: #GP */
2:	EXIT

/* Strings of ports; a breakpoint on a port. */
GUEST gate_ports
	movl $A(port_data), %esi
	movl $3, %ecx
	movl $0x80, %edx
	cld
	rep outsl
	LOG %ecx
	movl $SG_SCRATCH, %edi
	movl $2, %ecx
	movl $0x300, %edx
	rep insw
	LOG SG_SCRATCH
	subl $SG_SCRATCH, %edi
	LOG %edi
	std
	movl $SG_SCRATCH + 8, %edi
	insb
	movl %edi, %eax
	subl $SG_SCRATCH, %eax
	outl %eax, $0x80
	cld
	inb $0x41, %al
	movzbl %al, %eax
	outl %eax, $0x80
	movl %cr4, %eax
	orl $8, %eax
	movl %eax, %cr4
	movl $0x301, %eax
	movl %eax, %dr0
	movl $(0x400 | 2 | 2 << 16), %eax	/* G0, I/O, one byte */
	movl %eax, %dr7
	RESUME 1f
	movl $0x300, %edx
	outb %al, %dx
	outw %ax, %dx			/* covers 0x301 */
	LOG $0				/* skipped: the trap goes on at 1 */
1:	movl %dr6, %eax
	movl $0x400, %ebx
	movl %ebx, %dr7
	outl %eax, $0x80
	EXIT
port_data:
	.long 0x101, 0x202, 0x303

/* What a model without the features does: all #UD. */
.macro UDTEST insn:vararg
	RESUME 44f
	\insn
	LOG $0
44:
.endm
	.code64
GUEST gate_hidden
	UDTEST stac
	UDTEST rdrand %eax
	UDTEST rdseed %eax
	UDTEST rdtscp
	UDTEST rdpid %rax
	UDTEST invpcid SG_SCRATCH, %rax
	UDTEST rdfsbase %rax
	UDTEST xgetbv
	UDTEST monitor
	UDTEST adcx %eax, %eax
	UDTEST vaddps %xmm0, %xmm0, %xmm0
	UDTEST andn %eax, %eax, %eax
	EXIT

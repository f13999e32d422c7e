/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that start in 32-bit protected mode, CPL 0, flat, no paging. See sysguest_common.S. */
	.code32

/* Loads and uses of segments. */
.macro BADLOAD seg, sel:vararg
	RESUME 66f
	movl $\sel, %eax
	movl %eax, \seg
	LOG $0
66:
.endm
GUEST pm_segments
	BADLOAD %ds, SG_ABSENT		/* #NP */
	BADLOAD %ss, SG_ABSENT - 0	/* not writable data that is present: #SS */
	BADLOAD %ss, SG_RODATA		/* #GP */
	BADLOAD %ss, 0			/* #GP(0) */
	BADLOAD %ss, SG_DATA32 + 3	/* RPL: #GP */
	BADLOAD %es, SG_XONLY		/* #GP */
	BADLOAD %es, 0x4c		/* LDT, there is none: #GP(0x4c) */
	BADLOAD %es, 0xe0		/* beyond the GDT */
	BADLOAD %es, SG_TSS_SEL		/* a system descriptor */
	RESUME 1f
	movl $SG_RODATA, %eax
	movl %eax, %es
	movl %es:SG_SCRATCH, %ebx
	movl %ebx, %es:SG_SCRATCH	/* #GP(0) */
1:	movl $SG_SMALL, %eax
	movl %eax, %es
	RESUME 2f
	movl %es:0xfc, %ebx
	LOG $1
	movl %es:0xfd, %ebx		/* over the limit */
2:	movl $SG_DOWN, %eax
	movl %eax, %es
	RESUME 3f
	movl %es:0x1000, %ebx
	LOG $2
	movl %es:0xfff, %ebx		/* below an expand-down segment */
3:	xorl %eax, %eax
	movl %eax, %es
	RESUME 4f
	movl %es:0, %ebx		/* null: #GP(0) */
4:	movl $SG_XONLY, %eax		/* accessed bit: was clear, loading sets it */
	movl $SG_DATA16, %eax
	movl %eax, %fs
	movzbl SG_GDT + SG_DATA16 + 5, %eax
	outl %eax, $0x80
	/* a far pointer; a 16-bit stack wraps at 64 KiB */
	movl $0x11223344, SG_SCRATCH
	movw $SG_DATA32, SG_SCRATCH + 4
	lgs SG_SCRATCH, %ebx
	LOG %ebx
	movl %gs, %eax
	outl %eax, $0x80
	movl $SG_SMALL, %eax
	movl %eax, %ss
	movl $0x102, %esp
	RESUME 5f
	jmp 6f
5:
6:	movl $SG_DATA32, %eax
	movl %eax, %ss
	movl $SG_STACK, %esp
	EXIT

/* VERR, VERW, LAR, LSL, ARPL. */
.macro ZF
	setz %al
	movzbl %al, %eax
	outl %eax, $0x80
.endm
GUEST pm_verify
	movl $SG_RODATA, %ebx
	verr %bx
	ZF
	verw %bx
	ZF
	movl $SG_XONLY, %ebx
	verr %bx
	ZF
	movl $0xe0, %ebx
	verr %bx
	ZF
	movl $SG_DATA32 + 3, %ebx	/* RPL 3 > DPL 0 */
	verw %bx
	ZF
	movl $SG_CODE32, %ebx
	lar %ebx, %eax
	outl %eax, $0x80
	movl $SG_CODE32, %ebx
	lsl %ebx, %eax
	outl %eax, $0x80
	movl $SG_TASKGATE, %ebx
	movl $0x55, %eax
	lsl %ebx, %eax			/* not for gates */
	ZF
	movl $0x10, %ecx
	movl $0x13, %edx
	arpl %dx, %cx
	ZF
	LOG %ecx
	arpl %dx, %cx
	ZF
	EXIT

/* Ring 3 by IRET, a 32-bit call gate with two parameters, far return with release. */
.macro TO_RING3 label, flags=0x3002
	pushl $SG_UDATA32
	pushl $SG_STACK3
	pushl $\flags
	pushl $SG_UCODE32
	pushl $A(\label)
	iretl
.endm
GUEST pm_callgate
	movw $A(pm_gate), SG_GDT + SG_CALLGATE
	movw $SG_CODE32, SG_GDT + SG_CALLGATE + 2
	movl $0xec02, SG_GDT + SG_CALLGATE + 4
	TO_RING3 1f
1:	movl $SG_UDATA32, %eax
	movl %eax, %ds
	pushl $0xaaaa
	pushl $0xbbbb
	lcall $SG_CALLGATE + 3, $0
	LOG %esp
	movl %ds, %eax
	outl %eax, $0x80
	movl $SG_UDATA32, %eax
	movl %eax, %ds
	RESUME 2f
	lcall $SG_CODE32, $A(pm_gate)	/* directly: #GP */
2:	RESUME 3f
	lcall $SG_TSS_SEL, $0		/* DPL: #GP */
3:	lcall $SG_CONFORM + 3, $A(4f)	/* conforming code runs at ring 3 */
	EXIT
4:	movl %cs, %eax
	outl %eax, $0x80
	lretl
pm_gate:
	LOG %esp
	LOG 8(%esp)
	LOG 12(%esp)
	movl %ss, %eax
	outl %eax, $0x80
	movl $SG_DATA32, %eax
	movl %eax, %ds			/* too privileged for ring 3: null behind the return */
	lretl $8

/* Ring 3: what it may not, the I/O bitmap, INT into ring 0, and ring 1 by a conforming path. */
GUEST pm_ring3
	movb $0x0f, SG_TSS + 0x1000 + 0xf4 / 8		/* open 0xf4..0xf7 */
	movb $0xf0, SG_TSS + 0x1000 + 0x80 / 8		/* open 0x80..0x83 */
	TO_RING3 1f, 0x0202
1:	movl $SG_UDATA32, %eax
	movl %eax, %ds
	movl $0x321, %eax
	outl %eax, $0x80		/* through the bitmap */
	RESUME 2f
	outb %al, $0x84			/* #GP(0) */
2:	RESUME 3f
	outl %eax, $0x82		/* half of it closed */
3:	RESUME 4f
	cli				/* IOPL 0: #GP(0) */
4:	pushfl
	popl %eax
	outl %eax, $0x80
	pushl $0x3002			/* POPF cannot change IOPL or IF here */
	popfl
	pushfl
	popl %eax
	outl %eax, $0x80
	RESUME 5f
	int $0x32
5:	LOG %esp
	RESUME 6f
	lgdt SG_SCRATCH
6:	EXIT

/* Tasks: JMP, CALL with NT and back link, IRET, an interrupt through a task gate. */
.macro BUILD_TSS2 entry
	movl $A(\entry), SG_TSS2 + 32
	movl $2, SG_TSS2 + 36
	movl $0x1000, SG_TSS2 + 56		/* ESP */
	movl $0xec0ec0, SG_TSS2 + 44		/* ECX */
	movl $SG_DATA32, SG_TSS2 + 72
	movl $SG_CODE32, SG_TSS2 + 76
	movl $SG_DATA32, SG_TSS2 + 80
	movl $SG_DATA32, SG_TSS2 + 84
	movl $0, SG_TSS2 + 88
	movl $0, SG_TSS2 + 92
	movl $0, SG_TSS2 + 96
	movl $SG_STACK - 0x400, SG_TSS2 + 56
.endm
GUEST pm_task
	BUILD_TSS2 task_b
	movl $0x5e1f, %ebx
	lcall $SG_TSS2_SEL, $0
	LOG %ebx				/* ours again */
	movzbl SG_GDT + SG_TSS2_SEL + 5, %eax
	outl %eax, $0x80			/* available again */
	str %eax
	outl %eax, $0x80
	clts
	BUILD_TSS2 task_c
	RESUME 1f
	ljmp $SG_TSS_SEL, $0			/* busy: #GP(0x38) */
1:	ljmp $SG_TSS2_SEL, $0
	LOG $0xee				/* task_c jumps back here */
	/* an interrupt through the task gate: vector 0x2f */
	BUILD_TSS2 task_d
	movl $(SG_TSS2_SEL << 16), SG_IDT + 0x2f * 8
	movl $0xe500, SG_IDT + 0x2f * 8 + 4
	int $0x2f
	LOG $0xff
	/* #NP through a task gate: the error code is on the new stack */
	BUILD_TSS2 task_e
	movl $(SG_TSS2_SEL << 16), SG_IDT + 11 * 8
	movl $0xe500, SG_IDT + 11 * 8 + 4
	movl $SG_ABSENT, %eax
	movl %eax, %es
	LOG $0xabc
	EXIT
	.globl task_b
task_b:
	LOG %ecx
	pushfl
	popl %eax
	outl %eax, $0x80			/* NT */
	movzwl SG_TSS2, %eax
	outl %eax, $0x80			/* the link */
	movl %cr0, %eax
	andl $8, %eax
	outl %eax, $0x80			/* TS */
	iretl
task_c:
	movl SG_TSS + 32, %eax			/* where the old task goes on */
	pushfl
	popl %eax
	outl %eax, $0x80			/* no NT */
	ljmp $SG_TSS_SEL, $0
task_d:
	LOG $0xd
	iretl
task_e:
	popl %eax
	outl %eax, $0x80
	movl SG_TSS + 36, %eax			/* RF: the load is to be done again */
	andl $0x10000, %eax
	outl %eax, $0x80
	movw $SG_DATA32, SG_TSS + 72		/* mend ES, skip the bad load */
	addl $2, SG_TSS + 32
	iretl

/* A task whose TSS has a bad SS: #TS in the new task. */
GUEST pm_task_bad
	BUILD_TSS2 task_b
	movl $SG_RODATA, SG_TSS2 + 80
	/* the new task has no stack: #TS comes through a task gate, back to this one */
	movl $(SG_TSS_SEL << 16), SG_IDT + 10 * 8
	movl $0x8500, SG_IDT + 10 * 8 + 4
	ljmp $SG_TSS2_SEL, $0
	popl %eax				/* the error code */
	outl %eax, $0x80
	pushfl
	popl %eax
	outl %eax, $0x80			/* nested */
	movzwl SG_TSS, %eax
	outl %eax, $0x80			/* in the task that failed */
	LOG SG_TSS2 + 32
	EXIT

/* Virtual-8086 mode. The monitor's #GP handler logs and skips two bytes. */
.macro TO_V86 label, flags
	pushl $0		/* GS */
	pushl $0
	pushl $0
	pushl $0		/* ES */
	pushl $0		/* SS */
	pushl $SG_STACK - 0x200
	pushl $\flags
	pushl $0		/* CS */
	pushl $A(\label)
	iretl
.endm
	.macro V86_MONITOR
	movw $A(v86_gp), SG_IDT + 13 * 8
	movw $SG_STACK, SG_TSS + 4
	movw $0, SG_TSS + 6
	.endm
GUEST pm_v86
	V86_MONITOR
	movl $A(v86_int), SG_SCRATCH + 0x20
	movb $0, SG_TSS + 0x1000 + 0x10		/* ports 0x80.. */
	TO_V86 1f, 0x20002
	.code16
1:	movw $0x1234, %ax
	movw %ax, %es
	movl %es, %eax
	outl %eax, $0x80
	int $0x44		/* IOPL 0: #GP */
	cli			/* one byte: padded, the monitor skips two */
	nop
	pushf
	nop
	movw $0x5a5a, %ax
	outl %eax, $0x80
	int3			/* through the IDT; not IOPL-sensitive */
	hlt
	.code32
v86_int:
v86_gp:
	pushl %eax
	movl %ss:4(%esp), %eax	/* error code */
	outl %eax, $0x80
	movl %ss:16(%esp), %eax	/* EFLAGS */
	andl $0x20000, %eax
	outl %eax, $0x80
	movl %ds, %eax		/* null */
	outl %eax, $0x80
	addl $2, %ss:8(%esp)
	popl %eax
	addl $4, %esp
	iretl

/* The same with CR4.VME: INT goes through the 8086 IVT, CLI and STI to VIF. */
GUEST pm_vme
	movl %cr4, %eax
	orl $1, %eax
	movl %eax, %cr4
	V86_MONITOR
	movl $0, SG_TSS + 0x1000 - 32 + 8	/* vectors 0x40..0x5f: redirected */
	movb $0, SG_TSS + 0x1000 + 0x10
	movb $0x0f, SG_TSS + 0x1000 + 0xf4 / 8
	movl $A(vme_int), 0x44 * 4
	TO_V86 1f, 0x20202
	.code16
1:	sti
	int $0x44
	pushf
	popw %ax
	movzwl %ax, %eax
	outl %eax, $0x80	/* VIF shows as IF */
	cli
	pushf
	popw %ax
	movzwl %ax, %eax
	outl %eax, $0x80
	EXIT
vme_int:
	movw $0x4444, %ax
	movzwl %ax, %eax
	outl %eax, $0x80
	pushf
	popw %ax
	movzwl %ax, %eax
	outl %eax, $0x80	/* IF (VIF) cleared */
	iretw
	.code32

/* SYSENTER and SYSEXIT in protected mode. */
GUEST pm_sysenter
	movl $0x174, %ecx
	xorl %edx, %edx
	movl $SG_CODE32, %eax
	wrmsr
	movl $0x175, %ecx
	movl $SG_STACK0, %eax
	wrmsr
	movl $0x176, %ecx
	movl $A(enter), %eax
	wrmsr
	/* SYSEXIT goes to 0x18 and 0x20: its descriptors are not read, the selectors are */
	movl $A(1f), %edx
	movl $SG_STACK3, %ecx
	pushl $0x3002
	popfl
	sysexit
1:	movl %cs, %eax
	outl %eax, $0x80
	movl %ss, %eax
	outl %eax, $0x80
	LOG %esp
	sysenter
enter:
	movl %cs, %eax
	outl %eax, $0x80
	LOG %esp
	movl $0x174, %ecx
	xorl %eax, %eax
	xorl %edx, %edx
	wrmsr
	RESUME 2f
	sysenter		/* null CS: #GP(0) */
2:	EXIT

/* PAE paging: a reserved bit in a PDPTE is #GP at MOV CR3. */
GUEST pm_pae
	movl $0x50000 + 0x1000 + 1, 0x50000	/* PDPT */
	movl $0, 0x50004
	movl $0, 0x50008
	movl $0, 0x5000c
	movl $0, 0x50010
	movl $0, 0x50018
	movl $0x83, 0x51000			/* 0..2 MiB */
	movl $0, 0x51004
	movl $0x2000e7, 0x51008
	movl $0x80000000, 0x5100c		/* 2..4 MiB, NX */
	movl $0xc0000080, %ecx
	movl $0x800, %eax
	xorl %edx, %edx
	wrmsr
	movl $0x20, %eax
	movl %eax, %cr4
	movl $0x50000, %eax
	movl %eax, %cr3
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
	movl $0xfeed, SG_PAGE
	LOG SG_PAGE
	RESUME 1f
	ljmp $SG_CODE32, $SG_PAGE		/* NX: #PF(0x11) */
1:	RESUME 2f
	movl 0x400000, %eax			/* absent: #PF(0) */
2:	movl $0x51007, 0x50000			/* reserved bits 1 and 2 */
	RESUME 3f
	movl $0x50000, %eax
	movl %eax, %cr3				/* #GP(0) */
3:	LOG SG_PAGE				/* the old PDPTEs are still in force */
	EXIT

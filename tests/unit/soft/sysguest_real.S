/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that start in real mode at 0:SG_ORG. See sysguest_common.S. */
	.code16

/* INT, IRET, faults through the IVT, limit checks, far calls. */
GUEST real_ints
	movl $A(1f), 0x60 * 4
	movl $A(ud_handler), 6 * 4
	movl $A(gp_handler), 13 * 4
	movw $SG_STACK, %sp
	stc
	int $0x60
	setc %al
	movzbl %al, %eax
	outl %eax, $0x80
	ud2
2:	movzwl %sp, %eax
	outl %eax, $0x80
	movw $0xffff, %bx
	movw (%bx), %ax			/* over the limit: #GP */
3:	lcall $0x800, $(A(4f) - 0x8000)	/* the same place by another segment */
	movw %cs, %ax
	movzwl %ax, %eax
	outl %eax, $0x80
	EXIT
4:	movw %cs, %ax
	movzwl %ax, %eax
	outl %eax, $0x80
	lretw
1:	LOG $0x60
	pushf
	popw %ax
	movzwl %ax, %eax
	outl %eax, $0x80
	iretw
ud_handler:
	movw %sp, %bp
	movzwl (%bp), %eax
	subl $A(2b), %eax
	outl %eax, $0x80
	addw $2, (%bp)			/* behind UD2 */
	iretw
gp_handler:
	LOG $0xd
	movw %sp, %bp
	addw $2, (%bp)
	iretw

/* From reset state to protected, to long mode, and the way a boot loader makes big real mode. */
	.balign 8
real_gdtr:
	.word SG_GDT_LIMIT
	.long SG_GDT
GUEST real_to_long
	cli
	lgdt A(real_gdtr)
	movl %cr0, %eax
	orb $1, %al
	movl %eax, %cr0
	movw $SG_DATA32, %bx
	movw %bx, %ds
	andb $0xfe, %al			/* unreal: the 4 GiB limit stays with DS */
	movl %eax, %cr0
	xorw %bx, %bx
	movw %bx, %ds
	movl $0x345678, %esi
	movl $0xb16, (%esi)
	LOG (%esi)
	movl %cr0, %eax
	orb $1, %al
	movl %eax, %cr0
	ljmpl $SG_CODE32, $A(1f)
	.code32
1:	movl $SG_DATA32, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	LOG $0x32
	movl $0x20, %eax
	movl %eax, %cr4
	movl $SG_PML4, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
	rdmsr
	outl %eax, $0x80		/* LMA */
	ljmp $SG_CODE64, $A(2f)
	.code64
2:	movabsq $0x123456789, %rax
	shrq $32, %rax
	outl %eax, $0x80
	/* and back down */
	movl $A(3f), SG_SCRATCH
	movl $SG_CODE32, SG_SCRATCH + 4
	ljmp *SG_SCRATCH
	.code32
3:	movl %cr0, %eax
	andl $0x7fffffff, %eax
	movl %eax, %cr0
	movl $0xc0000080, %ecx
	rdmsr
	outl %eax, $0x80		/* LMA gone */
	ljmp $SG_CODE16, $A(4f)
	.code16
4:	movw $SG_DATA16, %ax
	movw %ax, %ss
	movw %ax, %ds
	movl %cr0, %eax
	andb $0xfe, %al
	movl %eax, %cr0
	ljmp $0, $A(5f)
5:	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	LOG $0x16
	EXIT

/* The SMI handler: logs, looks at the save area, changes RBX in it, moves SMBASE. */
	.globl smm_handler, smm_handler_end
smm_handler:
	movw %cs, %ax
	movzwl %ax, %eax
	outl %eax, $0x80
	.byte 0x2e			/* CS: relative to SMBASE */
	movl 0xfefc, %eax		/* revision */
	outl %eax, $0x80
	movl %cr0, %eax
	andl $0x80000001, %eax
	outl %eax, $0x80
	.byte 0x2e
	movl $0x77, 0xffe0		/* RBX */
	.byte 0x2e
	movl $0x60000, 0xff00		/* SMBASE */
	rsm
smm_handler_end:

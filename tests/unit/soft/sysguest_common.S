/* SPDX-License-Identifier: Apache-2.0 */
/* Guests of the system architecture; sysguest.h says what they run on. */
#include "sysguest_asm.h"

	.section .rodata
	.balign 16
	.globl sg_base
sg_base:

/* ---- exception stubs: vector and error code on the stack, 16 bytes each ---- */
	.code32
	.balign 16
	.globl sg_stubs32
sg_stubs32:
	.set vec, 0
	.rept 64
	.balign 16
	.if vec == 8 || (vec >= 10 && vec <= 14) || vec == 17
	.else
	pushl $0
	.endif
	pushl $vec
	jmp common32
	.set vec, vec + 1
	.endr
common32:
	pushl %eax
	pushl %ebx
	pushl %ds
	movl $SG_DATA32, %eax
	movl %eax, %ds
	movl 12(%esp), %eax
	shll $16, %eax
	movw 16(%esp), %ax
	orl $SG_EXC, %eax
	outl %eax, $0x80
	movl SG_RESUME, %ebx
	testl %ebx, %ebx
	jz 1f
	movl %ebx, 20(%esp)
	movl $0, SG_RESUME
	popl %ds
	popl %ebx
	popl %eax
	addl $8, %esp
	iretl
1:	EXIT

	.code64
	.balign 16
	.globl sg_stubs64
sg_stubs64:
	.set vec, 0
	.rept 64
	.balign 16
	.if vec == 8 || (vec >= 10 && vec <= 14) || vec == 17
	.else
	pushq $0
	.endif
	pushq $vec
	jmp common64
	.set vec, vec + 1
	.endr
common64:
	pushq %rax
	pushq %rbx
	movl 16(%rsp), %eax
	shll $16, %eax
	movw 24(%rsp), %ax
	orl $SG_EXC, %eax
	outl %eax, $0x80
	movl SG_RESUME, %ebx
	testl %ebx, %ebx
	jz 1f
	movq %rbx, 32(%rsp)
	movl $0, SG_RESUME
	popq %rbx
	popq %rax
	addq $16, %rsp
	iretq
1:	EXIT

#include "sysguest_lm64.S"
#include "sysguest_pm32.S"
#include "sysguest_real.S"
#include "sysguest_gates.S"
#include "sysguest_modes.S"
#include "sysguest_debug.S"

	.globl sg_end
sg_end:
	.section .note.GNU-stack, "", @progbits

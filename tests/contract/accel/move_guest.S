/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of test_move.c: 32 bits, flat, no paging. Copied to MOVE_CODE. Writes to port 0x600: the
 * number of an interrupt that came, or MOVE_STOP: stand still here. To 0x604: a register's value.
 */
#include "move_guest.h"

	.section .rodata
	.code32
	.balign 16
	.globl move_guest, move_guest_end, move_pic, move_apic, move_x2apic, move_oneshot
move_guest:

/* One stub of 16 bytes for each vector; the test's IDT points to them. */
	.set vec, 0
	.rept 256
	.balign 16
	pushl %eax
	movl $vec, %eax
	jmp common
	.set vec, vec + 1
	.endr
	.balign 16
common:
	pushl %edx
	pushl %ecx
	movw $0x600, %dx
	outl %eax, %dx
	cmpl $0x40, %eax
	jae 1f
	movb $0x20, %al
	outb %al, $0x20
	jmp 9f
1:	cmpl $0, MOVE_X2APIC
	jne 2f
	movl $0, 0xfee000b0
	jmp 9f
2:	movl $0x80b, %ecx
	xorl %eax, %eax
	xorl %edx, %edx
	wrmsr
9:	popl %ecx
	popl %edx
	popl %eax
	iretl

.macro PUTB port, val
	movb $\val, %al
	.if \port > 255
	movw $\port, %dx
	outb %al, %dx
	.else
	outb %al, $\port
	.endif
.endm
.macro IOAPIC reg, val
	movl $\reg, 0xfec00000
	movl $\val, 0xfec00010
.endm
.macro LAPIC off, val
	movl $\val, 0xfee00000 + \off
.endm
.macro SETMSR msr, low
	movl $\msr, %ecx
	movl $\low, %eax
	xorl %edx, %edx
	wrmsr
.endm
.macro STOP
	movw $0x600, %dx
	movl $MOVE_STOP, %eax
	outl %eax, %dx
.endm
.macro TELL from:vararg
	movl \from, %eax
	movw $0x604, %dx
	outl %eax, %dx
.endm
.macro TELLB port
	xorl %eax, %eax
	.if \port > 255
	movw $\port, %dx
	inb %dx, %al
	.else
	inb $\port, %al
	.endif
	movw $0x604, %dx
	outl %eax, %dx
.endm
.macro TELLMSR msr
	movl $\msr, %ecx
	rdmsr
	movw $0x604, %dx
	outl %eax, %dx
.endm

/* The PICs in the middle of their work: line 4 asks, ICW3 and 4 of the second are still to come. */
move_pic:
	PUTB 0x20, 0x11
	PUTB 0x21, 0x30
	PUTB 0x21, 0x04
	PUTB 0x21, 0x01
	PUTB 0xa0, 0x11
	PUTB 0xa1, 0x38
	PUTB 0x21, 0xeb
	PUTB 0x4d1, 0x0c
	LAPIC 0xf0, 0x1ff
	LAPIC 0x350, 0x700
	STOP
	PUTB 0xa1, 0x02
	PUTB 0xa1, 0x01
	PUTB 0xa1, 0xfe
	TELLB 0x20
	TELLB 0x21
	TELLB 0xa1
	TELLB 0x4d1
	sti
1:	hlt
	jmp 1b

/* Local APIC and IOAPIC: a level and an edge asked for, the timer runs, paravirtual pages are set. */
move_apic:
	IOAPIC 0x38, 0x8041
	IOAPIC 0x39, 0
	IOAPIC 0x1a, 0x42
	IOAPIC 0x1b, 0
	LAPIC 0xf0, 0x1ff
	LAPIC 0xd0, 0x01000000
	LAPIC 0x80, 0x10
	LAPIC 0x350, 0x10700
	LAPIC 0x3e0, 0xb
	LAPIC 0x320, 0x20050
	LAPIC 0x380, 200000000
	SETMSR 0x4b564d01, MOVE_CLOCK + 1
	SETMSR 0x4b564d03, MOVE_STEAL + 1
	STOP
	TELL 0xfee000f0
	TELL 0xfee000d0
	TELL 0xfee00080
	TELL 0xfee00350
	TELL 0xfee003e0
	TELL 0xfee00320
	TELL 0xfee00380
	movl $0x38, 0xfec00000
	TELL 0xfec00010
	movl $0x1a, 0xfec00000
	TELL 0xfec00010
	TELLMSR 0x4b564d01
	TELLMSR 0x4b564d03
	sti
1:	hlt
	jmp 1b

/* The other mode, and the other timer. */
move_x2apic:
	movl $1, MOVE_X2APIC
	SETMSR 0x1b, 0xfee00900
	SETMSR 0x1b, 0xfee00d00
	SETMSR 0x80f, 0x1ff
	SETMSR 0x832, 0x40051
	rdtsc
	addl $300000000, %eax
	adcl $0, %edx
	movl $0x6e0, %ecx
	wrmsr
	STOP
	TELLMSR 0x1b
	TELLMSR 0x80d
	TELLMSR 0x80f
	TELLMSR 0x832
	sti
1:	hlt
	jmp 1b

/* A timer that has run out stays silent; one that runs goes off once. */
move_oneshot:
	LAPIC 0xf0, 0x1ff
	LAPIC 0x3e0, 0xb
	LAPIC 0x320, 0x52
	LAPIC 0x380, 100000000
	STOP
	sti
1:	hlt
	jmp 1b
move_guest_end:

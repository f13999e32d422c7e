/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest for tests of monitors, in a few hundred bytes: it says what happens to it, and does what
 * it is told, on COM1.
 *
 * Says: "ready" and a line end when it starts, B for the power button, N for an NMI.
 * Is told: p power off, r reset, t triple fault, c report a panic, k report a crash kernel, s
 * report a shutdown (pvpanic), i stop all interrupts and halt, w start an ib700 that goes off at
 * once, W an i6300esb in slot 5 that takes two seconds, T the chipset's that takes five, with
 * NO_REBOOT cleared; all else it sends back. It counts
 * at guest address 0x1100000 (64 bits) as long as it runs.
 */
	.set COM1, 0x3f8
	.set PM, 0x600
	.set COUNTER, 0x1100000
	.set IDT, 0x1101000

	.text
	.globl _start
_start:
	cli
	lea stack_top(%rip), %rsp
	/* vector 2, at IDT + 32 */
	lea nmi(%rip), %rax
	mov $IDT + 32, %edi
	mov %ax, (%rdi)
	mov %cs, %cx
	mov %cx, 2(%rdi)
	movw $0x8e00, 4(%rdi)
	shr $16, %rax
	mov %ax, 6(%rdi)
	shr $16, %rax
	mov %eax, 8(%rdi)
	movl $0, 12(%rdi)
	lidt idtr(%rip)
	lea hello(%rip), %rsi
1:	lodsb
	test %al, %al
	jz loop
	call put
	jmp 1b

loop:
	incq COUNTER
	pause
	mov $PM, %edx
	inw %dx, %ax
	test $0x100, %ax
	jz 1f
	mov $0x100, %ax /* write one to clear */
	outw %ax, %dx
	mov $'B', %al
	call put
1:	mov $COM1 + 5, %edx
	inb %dx, %al
	test $1, %al
	jz loop
	mov $COM1, %edx
	inb %dx, %al
	cmp $'p', %al
	je power_off
	cmp $'r', %al
	je reset
	cmp $'t', %al
	je triple_fault
	cmp $'c', %al
	je panic
	cmp $'k', %al
	je crash
	cmp $'s', %al
	je shutdown
	cmp $'i', %al
	je idle
	cmp $'w', %al
	je ib700
	cmp $'W', %al
	je i6300esb
	cmp $'T', %al
	je tco
	call put
	jmp loop

power_off:
	mov $PM + 4, %edx
	mov $0x2000, %eax
	outw %ax, %dx
	jmp loop
reset:
	mov $0xcf9, %edx
	mov $6, %al
	outb %al, %dx
	jmp loop
triple_fault:
	lidt nothing(%rip)
	ud2
panic:
	mov $1, %al
	jmp 1f
crash:
	mov $2, %al
	jmp 1f
shutdown:
	mov $4, %al
1:	mov $0x505, %edx
	outb %al, %dx
	jmp loop
ib700:
	mov $0x443, %edx
	mov $15, %al
	outb %al, %dx
	jmp loop
i6300esb:
	mov $0x80002860, %eax /* its configuration register: 1 MHz, no interrupt */
	call pci
	mov $7, %eax
	outw %ax, %dx
	mov $0x80002868, %eax /* its lock register: enabled */
	call pci
	mov $2, %al
	outb %al, %dx
	jmp loop
tco:
	mov $0xfed1f410, %eax /* GCS */
	movl $0, (%rax)
	mov $PM + 0x68, %edx /* TCO1_CNT: not halted; the shortest count is what reset sets */
	xor %eax, %eax
	outw %ax, %dx
	jmp loop
pci:
	mov $0xcf8, %edx
	outl %eax, %dx
	mov $0xcfc, %edx
	ret
idle:
	hlt
	jmp idle

/* al to COM1; rdx and rax are lost */
put:
	mov %eax, %ebx
	mov $COM1 + 5, %edx
1:	inb %dx, %al
	test $0x20, %al
	jz 1b
	mov $COM1, %edx
	mov %ebx, %eax
	outb %al, %dx
	ret

nmi:
	push %rax
	push %rbx
	push %rdx
	mov $'N', %al
	call put
	pop %rdx
	pop %rbx
	pop %rax
	iretq

hello:
	.asciz "ready\n"
	.balign 8
idtr:
	.word 0x2f
	.quad IDT
nothing:
	.word 0
	.quad 0
	.balign 16
	.space 1024
stack_top:

/* SPDX-License-Identifier: Apache-2.0 */
/* Macros of the guests. A(label) is a label's address in the guest. */
#include "sysguest.h"
#define A(x) ((x) - sg_base + SG_ORG)

.macro LOG value
	movl \value, %eax
	outl %eax, $0x80
.endm
.macro EXIT
	outl %eax, $0xf4
77:	hlt
	jmp 77b
.endm
/* the next exception goes on at label */
.macro RESUME label
	movl $A(\label), SG_RESUME
.endm
/* the same where there is no flat DS: real mode and 16-bit code, DS = 0 */
.macro GUEST name
	.globl \name
\name:
.endm

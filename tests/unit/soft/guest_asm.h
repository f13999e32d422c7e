/* SPDX-License-Identifier: Apache-2.0 */
/* Guest code written in the test itself: GUEST(name, "asm") makes name and name_end. */
#ifndef SOFT_GUEST_ASM_H
#define SOFT_GUEST_ASM_H

#include "soft_vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define GUEST_BITS(bits, name, text)                                           \
	extern const uint8_t name[], name##_end[];                             \
	asm(".pushsection .rodata\n\t.code" #bits "\n" #name ":\n" text        \
	    "\n" #name "_end:\n\t.code64\n\t.popsection\n")
#define GUEST(name, text) GUEST_BITS(64, name, text)

#define GUEST_SIZE(name) ((size_t)(name##_end - name))
#define PUT_GUEST(t, gpa, name) tvm_put(t, gpa, name, GUEST_SIZE(name))
#define EXEC_GUEST(t, bits, name) tvm_exec(t, bits, name, GUEST_SIZE(name))

/* A machine t for each test, and c, the first of its vCPUs: make() and drop() are setup and teardown. */
#define GUEST_MACHINE(vcpus)                                                   \
	static struct tvm *t;                                                  \
	static struct soft_cpu *c;                                             \
	static int make(void **state)                                          \
	{                                                                      \
		t = tvm_new(vcpus, NULL);                                      \
		c = tvm_cpu(t, 0);                                             \
		return 0;                                                      \
	}                                                                      \
	static int drop(void **state)                                          \
	{                                                                      \
		t = tvm_free(t);                                               \
		return 0;                                                      \
	}                                                                      \
	_Static_assert(vcpus, "takes the semicolon")

#endif

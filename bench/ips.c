/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions per second of the soft engine's interpreter on short loops, on CPU time of this
 * thread. usage: bench-ips [name]
 */
#include "accel/soft/jit/jit.h"
#include "soft_vm.h"

#include "base/clock.h"
#include <stdio.h>

#define ROUNDS 20000000u

struct loop_code {
	const char *name, *what;
	uint8_t code[64];
	unsigned len;
	uint32_t count; /* into ecx */
};

/* Each ends with dec ecx; jnz; hlt. r8 = data, rsp = stack. */
static const struct loop_code loops[] = {
	{ "alu",
	  "8 register operations",
	  { 0x48, 0x01, 0xd8, 0x48, 0x31, 0xc3, 0x48, 0xff, 0xc0, 0x48,
	    0x29, 0xc2, 0x48, 0x09, 0xd6, 0x48, 0x89, 0xf7, 0x48, 0x21,
	    0xfe, 0x48, 0x8d, 0x1c, 0x47, 0xff, 0xc9, 0x75, 0xe3, 0xf4 },
	  30,
	  ROUNDS / 8 },
	{ "memory",
	  "load, add to memory, store, load",
	  { 0x49, 0x8b, 0x00, 0x49, 0x01, 0x40, 0x08, 0x49, 0x89, 0x40,
	    0x10, 0x41, 0x8b, 0x50, 0x18, 0xff, 0xc9, 0x75, 0xed, 0xf4 },
	  20,
	  ROUNDS / 4 },
	{ "tight", "dec, jnz", { 0xff, 0xc9, 0x75, 0xfc, 0xf4 }, 5, ROUNDS },
	{ "call",
	  "call, push, pop, ret",
	  { 0xe8, 5, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf7, 0xf4, 0x50, 0x58, 0xc3 },
	  13,
	  ROUNDS / 4 },
	{ "sieve",
	  "byte store with index, compare, branch",
	  { 0x31, 0xc0, 0x41, 0xc6, 0x04, 0x00, 1,    0x83, 0xc0, 7,	0x3d,
	    0,	  0,	4,    0,    0x72, 0xf1, 0xff, 0xc9, 0x75, 0xeb, 0xf4 },
	  22,
	  ROUNDS / 100000 },
};

static void bench(struct tvm *t, const struct loop_code *l)
{
	struct soft_cpu *c = tvm_cpu(t, 0);
	uint64_t t0, ns, n;

	tvm_put(t, TVM_CODE, l->code, l->len);
	tvm_setup(t, 0, 64, TVM_CODE);
	c->r[RCX] = l->count;
	c->r[R8] = TVM_DATA;
	jit_set_hot(c->jit, JIT_NEVER);
	n = c->insns;
	t0 = clock_ns_of(CLOCK_THREAD_CPUTIME_ID);
	tvm_run(t, 0);
	ns = clock_ns_of(CLOCK_THREAD_CPUTIME_ID) - t0;
	n = c->insns - n;
	printf("%-8s %7.1f M/s  (%s)\n", l->name, (double)n * 1e3 / (double)ns, l->what);
}

int main(int argc, char **argv)
{
	struct tvm *t = tvm_new(1, NULL);

	for (size_t i = 0; i < ARRAY_SIZE(loops); i++) {
		if (argc < 2 || !strcmp(argv[1], loops[i].name))
			bench(t, &loops[i]);
	}
	t = tvm_free(t);
	return 0;
}

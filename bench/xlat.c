/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How quickly the soft engine decodes and translates, and how much host code comes of it: of its own
 * program text, one block after the other, until the code memory is full. By the TSC, as a look at this
 * thread's CPU time takes half as long as a block does.
 */
#include "accel/soft/jit/code.h"
#include "soft_vm.h"

#include "base/clock.h"
#include <stdio.h>
#include <x86intrin.h>

/* The program's text: from the C library's start on, to what the linker says. */
extern const uint8_t _start[], etext[]; /* NOLINT(bugprone-reserved-identifier) */

struct counts {
	uint64_t insns, blocks, refused, guest_bytes, decode_cycles;
};

/* Of one block; more is the host's doing. */
#define MOST_CYCLES 100000

/* The block at rip; how long it is in the guest. */
static unsigned one(struct soft_cpu *c, uint64_t rip, struct counts *n)
{
	uint64_t start = __rdtsc();
	struct block *b;

	c->rip = rip;
	b = block_find(c);
	start = __rdtsc() - start;
	n->decode_cycles += start < MOST_CYCLES ? start : 0;
	if (!jit_make(c, b)) {
		n->refused++;
		return b->bytes;
	}
	n->blocks++;
	n->insns += b->nr;
	n->guest_bytes += b->bytes;
	return b->bytes;
}

int main(void)
{
	struct tvm *t = tvm_new(1, NULL);
	struct soft_cpu *c = tvm_cpu(t, 0);
	size_t len = MIN((size_t)(etext - _start), TVM_RAM - TVM_DATA);
	struct counts n = { 0 };
	uint64_t ns, cycles;
	double mhz, made;
	size_t first;

	tvm_put(t, TVM_DATA, _start, len);
	tvm_setup(t, 0, 64, TVM_DATA);
	jit_make(c, block_find(c)); /* the routines */
	first = c->jit->used;
	made = (double)c->n.make_cycles;
	ns = clock_now_ns();
	cycles = __rdtsc();
	for (size_t at = 0; at < len && jit_has_room(c);)
		at += MAX(one(c, TVM_DATA + at, &n), 1);
	mhz = (double)(__rdtsc() - cycles) * 1e3 / (double)(clock_now_ns() - ns);
	made = (double)c->n.make_cycles - made;
	printf("decoded at %.2f M/s, translated at %.2f M guest instructions/s or %.1f MB/s; %.1f host bytes for one "
	       "of the guest, %.1f instructions a block (%llu blocks, %llu refused)\n",
	       (double)n.insns * mhz / (double)n.decode_cycles, (double)n.insns * mhz / made,
	       (double)n.guest_bytes * mhz / made, (double)(c->jit->used - first) / (double)n.guest_bytes,
	       (double)n.insns / (double)n.blocks, (unsigned long long)n.blocks,
	       (unsigned long long)n.refused);
	t = tvm_free(t);
	return 0;
}

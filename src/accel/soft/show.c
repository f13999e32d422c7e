/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine's counters say, for people: "info jit". The first lines are QEMU's, as far as the
 * words mean the same here. Control thread; vCPUs are asked between two instructions.
 */
#include "accel/soft/engine.h"

#include "accel/soft/block.h"
#include "accel/soft/fpu.h"
#include "accel/soft/jit/code.h"
#include "accel/soft/soft_vm.h"
#include "base/clock.h"
#include "core/vm.h"
#include <time.h>

#define TOP 10 /* instructions that are named */

struct totals {
	struct soft_counts n;
	uint64_t insns, cpu_ns;
	/* bytes: of vCPUs' structures, decoded code, host code, single instructions' host code */
	uint64_t cpus, decoded, host, thunks;
	uint64_t blocks; /* with host code, now */
	unsigned vcpus;
};

static void add_vcpu(struct vcpu *v, void *arg)
{
	const struct soft_cpu *c = v->engine;
	const uint64_t *from = (const uint64_t *)&c->n;
	struct totals *t = arg;
	uint64_t *to = (uint64_t *)&t->n;
	struct timespec ts;

	_Static_assert(!(sizeof(c->n) % sizeof(*to)), "nothing but uint64_t");
	for (size_t i = 0; i < sizeof(c->n) / sizeof(*to); i++)
		to[i] += from[i];
	if (v == vcpu_current() && clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) == 0)
		t->cpu_ns += (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
	t->insns += c->insns;
	t->cpus += sizeof(*c) + sizeof(*c->blocks) + sizeof(*c->fpu);
	t->decoded += block_cache_bytes(c->blocks);
	t->host += jit_bytes(c->jit);
	t->thunks += thunks_bytes(c->fpu->thunks);
	t->blocks += jit_blocks(c->jit);
	t->vcpus++;
}

static double share(uint64_t part, uint64_t all)
{
	return all ? 100 * (double)part / (double)all : 0;
}

static double mean(uint64_t sum, uint64_t n)
{
	return n ? (double)sum / (double)n : 0;
}

static uint64_t sum(const uint64_t *v, size_t n)
{
	uint64_t s = 0;

	for (size_t i = 0; i < n; i++)
		s += v[i];
	return s;
}

/* "LABEL total (name n, name n)", of those that are not zero. */
static void show_parts(FILE *out, const char *label, const uint64_t *v, const char *const *names,
		       size_t n)
{
	const char *sep = " (";

	fprintf(out, "%-19s %" PRIu64, label, sum(v, n));
	for (size_t i = 0; i < n; i++) {
		if (!v[i])
			continue;
		fprintf(out, "%s%s %" PRIu64, sep, names[i], v[i]);
		sep = ", ";
	}
	fprintf(out, "%s\n", *sep == ',' ? ")" : "");
}

static void show_buffers(FILE *out, const struct totals *t)
{
	const struct soft_counts *n = &t->n;

	fprintf(out, "Translation buffer state:\n");
	fprintf(out, "gen code size       %" PRIu64 "/%" PRIu64 "\n", t->host,
		(uint64_t)t->vcpus * JIT_CODE_SIZE);
	fprintf(out, "TB count            %" PRIu64 "\n", t->blocks);
	fprintf(out, "TB avg target size  %.0f bytes, %.1f instructions\n",
		mean(n->made_guest, n->made), mean(n->made_insns, n->made));
	fprintf(out, "TB avg host size    %.0f bytes (expansion ratio: %.1f)\n",
		mean(n->made_host, n->made), mean(n->made_host, n->made_guest));
	fprintf(out, "direct jump count   %" PRIu64 " (chained: %" PRIu64 ", %.0f%%)\n", n->jumps,
		n->patched, share(n->patched, n->jumps));
	fprintf(out, "links to pages      %" PRIu64 "\n", n->linked);
}

static void show_flushes(FILE *out, const struct soft_counts *n)
{
	static const char *const tlb[TLB_WHYS] = {
		[TLB_WHY_CR3] = "CR3",	 [TLB_WHY_INVPCID] = "INVPCID",
		[TLB_WHY_MODE] = "mode", [TLB_WHY_LARGE] = "INVLPG of a large page",
		[TLB_WHY_MAP] = "map",	 [TLB_WHY_STATE] = "state",
		[TLB_WHY_IDLE] = "idle",
	};
	static const char *const code[CODE_WHYS] = {
		[CODE_WHY_DECODED] = "room for decoded code",
		[CODE_WHY_HOST] = "room for host code",
		[CODE_WHY_THUNKS] = "room for single instructions",
		[CODE_WHY_IDLE] = "idle",
		[CODE_WHY_LOG] = "log",
	};

	fprintf(out, "\nStatistics:\n");
	show_parts(out, "TB flush count", n->code_flushes, code, CODE_WHYS);
	fprintf(out, "TB invalidate count %" PRIu64 "\n", n->voided);
	show_parts(out, "TLB flushes", n->tlb_flushes, tlb, TLB_WHYS);
	fprintf(out, "TLB page flushes    %" PRIu64 "\n", n->invlpg);
	show_parts(out, "TLB fills", n->fills, (const char *const[]){ "read", "write", "execute" },
		   3);
	fprintf(out, "site cache fills    %" PRIu64 "\n", n->spot_fills);
	fprintf(out, "stepped over        %" PRIu64 " (access to two pages, a device or none)\n",
		n->stepped_over);
}

/* Cycles of the host's, as a part of the vCPUs' time. */
static double cycles_share(const struct vm *vm, const struct totals *t, uint64_t cycles)
{
	double ns = (double)cycles * 1e6 / (double)MAX(vm->tsc_khz, 1u);

	return t->cpu_ns ? MIN(100 * ns / (double)t->cpu_ns, 100.0) : 0;
}

static void show_shares(FILE *out, const struct vm *vm, const struct totals *t)
{
	const struct soft_counts *n = &t->n;
	double making = cycles_share(vm, t, n->make_cycles);
	double host = MIN(cycles_share(vm, t, n->sampled * JIT_SAMPLE), 100 - making);

	fprintf(out, "\nProcessor time of %u vCPU%s: %.3f s\n", t->vcpus, t->vcpus == 1 ? "" : "s",
		(double)t->cpu_ns / 1e9);
	fprintf(out, "translated code     %.1f%% (from one way in of %d; with what it calls)\n",
		host, JIT_SAMPLE);
	fprintf(out,
		"translating         %.1f%% (%" PRIu64 " blocks, %.1f us each; %" PRIu64
		" of loops again; %" PRIu64 " refused)\n",
		making, n->made,
		mean(n->make_cycles, n->made + n->refused) * 1e3 / (double)MAX(vm->tsc_khz, 1u),
		n->looped, n->refused);
	fprintf(out,
		"interpreter, rest   %.1f%% (%" PRIu64 " instructions; %" PRIu64
		" blocks decoded, %" PRIu64 " instructions)\n",
		MAX(100 - host - making, 0.0), t->insns, n->decoded, n->decoded_insns);
}

/* Why translated code was left, and for which instructions that it does not know. */
static void show_leaves(FILE *out, const struct soft_counts *n)
{
	const uint64_t why[] = {
		n->leaves[JIT_RIP],
		n->leaves[JIT_LINK],
		n->leaves[JIT_POLL],
		n->unknown,
		n->leaves[JIT_BAIL] - n->unknown,
		n->leaves[JIT_STORED],
		n->leaves[JIT_VEC],
	};
	static const char *const names[] = {
		"cold code",	      "jump to chain", "event or clock",   "instruction",
		"TLB miss or device", "store to code", "vector registers",
	};
	autofree uint64_t *left = xnew_n(uint64_t, MN_NR);

	fprintf(out, "\n");
	show_parts(out, "left host code", why, names, ARRAY_SIZE(why));
	fprintf(out, "interpreted there   %" PRIu64 " instructions that are not translated\n",
		sum(n->left, MN_NR));
	memcpy(left, n->left, sizeof(n->left));
	for (unsigned k = 0; k < TOP; k++) {
		unsigned most = 0;

		for (unsigned i = 1; i < MN_NR; i++)
			if (left[i] > left[most])
				most = i;
		if (!left[most])
			break;
		fprintf(out, "  %-17s %" PRIu64 " (%.1f%%)\n", mn_names[most], left[most],
			share(left[most], sum(n->left, MN_NR)));
		left[most] = 0;
	}
}

static void show_memory(FILE *out, const struct vm *vm, const struct totals *t)
{
	uint64_t pages = vm->ram ? vm->ram->size >> RAM_PAGE_SHIFT : 0;

	fprintf(out, "\nMemory in use, KiB:\n");
	fprintf(out, "decoded code        %" PRIu64 "\n", t->decoded >> 10);
	fprintf(out, "host code           %" PRIu64 "\n", t->host >> 10);
	fprintf(out, "single instructions %" PRIu64 "\n", t->thunks >> 10);
	fprintf(out, "vCPUs with TLBs     %" PRIu64 " at most\n", t->cpus >> 10);
	fprintf(out, "code watch          %" PRIu64 " at most\n",
		pages * (sizeof(*vm->ram->watch) + sizeof(*vm->ram->gen)) >> 10);
}

void soft_show_jit(struct vm *vm, FILE *out)
{
	autofree struct totals *t = xnew(struct totals);

	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		vm_run_on(vm->vcpus[i], add_vcpu, t);
	show_buffers(out, t);
	show_flushes(out, &t->n);
	show_shares(out, vm, t);
	show_leaves(out, &t->n);
	show_memory(out, vm, t);
}

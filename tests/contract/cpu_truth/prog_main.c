/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prog-truth [--cases N] [--seed S] [--prog P] [--bits 32]
 *
 * Each random program is run from several states by the interpreter, by the translator (some of its blocks
 * warm, some cold) and by the processor. A case is one such state. A program depends on the seed and its
 * number only; of one that is run differently as much as possible is replaced by NOPs before it is shown.
 * The number of cases is also taken from HANOK_TRUTH_CASES.
 */
#include "prog.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/jit/jit.h"
#include "base/bytes.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/x86.h"

#include <stdio.h>
#include <time.h>

#define STATES	 6
#define MEM_SIZE 0x3000

struct options {
	uint64_t cases, seed, prog;
	unsigned bits;
	bool one;
};

struct totals {
	uint64_t cases, faults, insns, strayed, unsteady, failed;
};

/* How one way of running it came out. */
struct outcome {
	const char *who;
	struct truth_state s;
	struct truth_result r;
	uint8_t mem[MEM_SIZE];
};

static uint8_t *host_mem, *soft_mem;

static void fill(struct rng *r, uint8_t *mem)
{
	for (unsigned i = 0; i < MEM_SIZE; i += 8)
		st_le64(mem + i, rng_u64(r));
}

/* A fault that the host has too, and from which it comes back. */
static bool is_tame(const struct truth_result *r)
{
	return r->vector != X86_PF || r->cr2 - SCRATCH < SCRATCH_SIZE + 0x1000 || r->cr2 >> 47;
}

/* Where the interpreter's fault is beside the processor's: the instruction's operation; else 0. */
static unsigned faulting_op(const struct prog *p, const struct outcome *a, const struct outcome *b)
{
	struct insn in;
	uint64_t at = a->s.rip - p->at;

	if (a->r.vector < 0 || strcmp(b->who, "processor") != 0 || at >= p->len ||
	    decode_insn(p->bytes + at, p->len - at, p->bits, &in) <= 0)
		return 0;
	return in.op;
}

/*
 * What a faulting instruction has done already is the processor's own affair where it is of x87 or MMX, or a
 * conversion that sets flags in MXCSR (level.c).
 */
static bool half_done(unsigned op)
{
	return op && (op_descs[op].cls == OPC_MMX || op_descs[op].cls == OPC_X87 ||
		      op_descs[op].mn == MN_VCVTPS2PH);
}

/* CMPS reads two operands, in an order that is not specified (main.c). */
static bool either_operand(unsigned op, const struct outcome *a, const struct outcome *b)
{
	uint64_t si = a->s.gpr[RSI], di = a->s.gpr[RDI];

	return op_descs[op].mn == MN_CMPS && truth_explains(&a->r, si, di) && truth_explains(&b->r, si, di);
}

static bool same_x87(const struct outcome *a, const struct outcome *b)
{
	return a->s.fcw == b->s.fcw && a->s.fsw == b->s.fsw && a->s.ftw == b->s.ftw &&
	       !memcmp(a->s.st, b->s.st, sizeof(a->s.st));
}

/* a is the interpreter's. */
static const char *differ(const struct prog *p, const struct outcome *a, const struct outcome *b)
{
	uint64_t flags = (FLAGS_STATUS | FLAG_DF) & ~(uint64_t)a->r.undefined;
	bool far = a->r.cr2 >> 47; /* Linux does not tell what is there */
	unsigned op = faulting_op(p, a, b);
	bool half = half_done(op), either = either_operand(op, a, b);

	if (a->r.vector != b->r.vector && !either)
		return "exception";
	if (a->r.vector == X86_PF && !either &&
	    (a->r.cr2 != b->r.cr2 || (!far && a->r.error != b->r.error)))
		return "page fault";
	if (memcmp(a->s.gpr, b->s.gpr, sizeof(a->s.gpr)) != 0)
		return "general registers";
	if (a->s.rip != b->s.rip)
		return "rip";
	/* At a fault nobody needs to have kept those that are not read any more. */
	if (a->r.vector < 0 && ((a->s.rflags ^ b->s.rflags) & flags))
		return "flags";
	if (a->s.mxcsr != b->s.mxcsr && !half)
		return "mxcsr";
	if (memcmp(a->s.vec, b->s.vec, sizeof(a->s.vec)) != 0)
		return "vectors";
	if (!same_x87(a, b) && !half)
		return "x87";
	return !half && memcmp(a->mem, b->mem, MEM_SIZE) != 0 ? "memory" : NULL;
}

static bool run_soft(const struct prog *p, unsigned hot, const struct truth_state *from,
		     const uint8_t *mem, struct outcome *o)
{
	bool done;

	o->who = hot == JIT_NEVER ? "interpreter" : "translator";
	o->s = *from;
	memcpy(soft_mem, mem, MEM_SIZE);
	done = soft_run_prog(p, hot, &o->s, &o->r);
	memcpy(o->mem, soft_mem, MEM_SIZE);
	return done;
}

static void run_host(const struct prog *p, const struct truth_state *from, const uint8_t *mem,
		     struct outcome *o)
{
	o->who = "processor";
	o->s = *from;
	memcpy(host_mem, mem, MEM_SIZE);
	host_run_prog(p, &o->s, &o->r);
	memcpy(o->mem, host_mem, MEM_SIZE);
}

static void print_pair(const char *name, uint64_t a, uint64_t b)
{
	if (a != b)
		printf("  %-8s %016" PRIx64 "  %016" PRIx64 "\n", name, a, b);
}

static void print_bytes(const char *name, unsigned n, const uint8_t *a, const uint8_t *b, unsigned size)
{
	char text[16];

	for (unsigned i = 0; i < size; i += 8) {
		snprintf(text, sizeof(text), "%s%u+%u", name, n, i);
		print_pair(text, ld_le64(a + i), ld_le64(b + i));
	}
}

static void print_outcomes(const struct outcome *a, const struct outcome *b)
{
	static const char *const names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					     "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
	char text[20];

	printf("  %-8s %-16s  %s\n", "", a->who, b->who);
	print_pair("vector", (uint64_t)a->r.vector, (uint64_t)b->r.vector);
	print_pair("cr2", a->r.cr2, b->r.cr2);
	for (unsigned i = 0; i < 16; i++)
		print_pair(names[i], a->s.gpr[i], b->s.gpr[i]);
	print_pair("rip", a->s.rip, b->s.rip);
	print_pair("rflags", a->s.rflags, b->s.rflags);
	print_pair("mxcsr", a->s.mxcsr, b->s.mxcsr);
	print_pair("fsw", a->s.fsw, b->s.fsw);
	print_pair("ftw", a->s.ftw, b->s.ftw);
	for (unsigned i = 0; i < 32; i++)
		print_bytes("zmm", i, a->s.vec[i], b->s.vec[i], 64);
	for (unsigned i = 0; i < 8; i++)
		print_bytes("st", i, a->s.st[i], b->s.st[i], 16);
	for (unsigned i = 0; i < MEM_SIZE; i += 8) {
		snprintf(text, sizeof(text), "%lx", SCRATCH_DATA + i);
		print_pair(text, ld_le64(a->mem + i), ld_le64(b->mem + i));
	}
}

/* What a case found: NULL, or in which respect two of three outcomes differ. */
static const char *run_case(const struct prog *p, const struct truth_state *from, const uint8_t *mem,
			    unsigned hot, struct totals *t, bool print)
{
	static struct outcome slow, fast, real;
	const char *what;

	t->cases++;
	if (!run_soft(p, JIT_NEVER, from, mem, &slow)) {
		t->strayed++;
		return NULL;
	}
	t->faults += slow.r.vector >= 0;
	if (!run_soft(p, hot, from, mem, &fast))
		return "it does not end";
	what = differ(p, &slow, &fast);
	if (print && what)
		print_outcomes(&slow, &fast);
	if (what || !is_tame(&slow.r))
		return what;
	run_host(p, from, mem, &real);
	what = differ(p, &slow, &real);
	if (print && what)
		print_outcomes(&slow, &real);
	return what;
}

static const char *run_prog(const struct prog *p, struct rng r, struct totals *t, bool print)
{
	static const uint8_t hots[] = { 0, 0, 1, 3 };
	static uint8_t mem[MEM_SIZE];
	unsigned hot = hots[rng_below(&r, ARRAY_SIZE(hots))];
	struct truth_state s;

	soft_prog(p);
	host_prog(p);
	for (unsigned i = 0; i < STATES; i++) {
		const char *what;

		prog_state(&r, p, &s);
		fill(&r, mem);
		what = run_case(p, &s, mem, hot, t, print);
		if (what)
			return what;
	}
	return NULL;
}

/* Takes out what is not needed for the two to differ. */
static void minimise(struct prog *p, struct rng r)
{
	struct totals t = { 0 };

	for (unsigned i = p->nr; i-- > 0;) {
		struct prog less = *p;

		memset(less.bytes + less.item[i].at, 0x90, less.item[i].len);
		if (run_prog(&less, r, &t, false) && !t.strayed)
			*p = less;
		t.strayed = 0;
	}
}

static void try_prog(const struct options *o, uint64_t nr, struct totals *t)
{
	struct rng r = { .state = o->seed * 0x9e3779b97f4a7c15u + nr * 0xd1b54a32d192ed03u };
	struct prog p;
	const char *what;

	if (!prog_gen(&r, o->bits, &p))
		return;
	t->insns += p.nr;
	if (o->one)
		prog_print(&p);
	what = run_prog(&p, r, t, false);
	if (!what)
		return;
	if (!run_prog(&p, r, t, false)) { /* a host that is a guest itself: see main.c */
		t->unsteady++;
		return;
	}
	t->failed++;
	printf("--seed %" PRIu64 " --prog %" PRIu64 ": MISMATCH in %s\n", o->seed, nr, what);
	minimise(&p, r);
	prog_print(&p);
	run_prog(&p, r, t, true);
}

static int parse(struct options *o, int argc, char **argv)
{
	const char *env = getenv("HANOK_TRUTH_CASES");

	*o = (struct options){ .cases = env ? strtoull(env, NULL, 0) : 100000, .seed = 1, .bits = 64 };
	for (int i = 1; i + 1 < argc; i += 2) {
		const char *a = argv[i], *v = argv[i + 1];

		if (!strcmp(a, "--cases"))
			o->cases = strtoull(v, NULL, 0);
		else if (!strcmp(a, "--seed"))
			o->seed = strtoull(v, NULL, 0);
		else if (!strcmp(a, "--prog"))
			o->prog = strtoull(v, NULL, 0), o->one = true;
		else if (!strcmp(a, "--bits"))
			o->bits = (unsigned)strtoul(v, NULL, 0);
		else
			return -1;
	}
	return argc % 2 && (o->bits == 64 || o->bits == 32) ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct totals t = { 0 };
	struct options o;
	clock_t start;

	if (parse(&o, argc, argv)) {
		fprintf(stderr, "usage: %s [--cases N] [--seed S] [--prog P] [--bits 32]\n", argv[0]);
		return 2;
	}
	if (host_init() || soft_init()) {
		fprintf(stderr, "prog-truth: cannot set up\n");
		return 77;
	}
	host_find_components();
	if (!host_prog_bits(o.bits) || !soft_prog_bits(o.bits)) {
		fprintf(stderr, "prog-truth: the host does not run 32-bit code\n");
		return 77;
	}
	host_mem = host_scratch();
	soft_mem = soft_scratch();
	setvbuf(stdout, NULL, _IOLBF, 0);
	start = clock();
	for (uint64_t n = o.prog; t.cases < o.cases && t.failed < 5; n++) {
		try_prog(&o, n, &t);
		if (o.one)
			break;
	}
	printf("%" PRIu64 " cases of programs with %" PRIu64 " instructions, %" PRIu64 " exceptions, %" PRIu64
	       " that strayed, seed %" PRIu64 ", %.1f s; failed %" PRIu64 ", unsteady %" PRIu64
	       "; host code was entered %" PRIu64 " times\n",
	       t.cases, t.insns, t.faults, t.strayed, o.seed, (double)(clock() - start) / CLOCKS_PER_SEC,
	       t.failed, t.unsteady, soft_translated());
	return !soft_translated() || t.failed || t.unsteady > 3 + t.cases / 100000 ||
	       t.strayed > t.cases / 50;
}

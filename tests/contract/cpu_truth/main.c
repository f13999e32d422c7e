/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu-truth [--cases N] [--seed S] [--group G] [--op NAME] [--keep-going N]
 *
 * Cases come in groups of one instruction with several states; a group depends on the seed and its
 * number only, so that --seed and --group repeat a mismatch. The number of cases is also taken from
 * HANOK_TRUTH_CASES.
 */
#include "truth.h"
#include "base/bytes.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/x86.h"

#include <stdio.h>
#include <time.h>

#define STATES	 8
#define MEM_SIZE 0x3000

struct options {
	uint64_t cases, seed, group;
	bool one_group;
	const char *op;
	bool jit;
	unsigned keep_going;
};

struct totals {
	uint64_t cases, faults, unsteady;
	uint64_t per_class[OPC_FPSTATE + 1];
	uint8_t seen[OP_NR], failed[OP_NR];
};

static uint8_t *host_mem, *soft_mem;

static void fill_memory(struct rng *r)
{
	uint64_t x = rng_u64(r) | 1;

	for (unsigned i = 0; i < MEM_SIZE; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		st_le64(host_mem + i, x);
	}
	memcpy(soft_mem, host_mem, MEM_SIZE);
}

static void same(uint64_t lin, unsigned off, unsigned n)
{
	if (lin + off - SCRATCH_DATA + n <= MEM_SIZE && lin + off >= SCRATCH_DATA)
		memcpy(host_mem + (lin + off - SCRATCH_DATA), soft_mem + (lin + off - SCRATCH_DATA), n);
}

/*
 * What processors differ in. AMD's keep the x87 pointers only while an unmasked exception is
 * pending, and may have a misaligned-SSE mode, a bit in MXCSR_MASK.
 */
static void level_images(const struct truth_case *c, const struct truth_state *h)
{
	bool pointers = h->fsw & 0x80, wide = c->in.opsize != 2;

	switch (op_descs[c->in.op].mn) {
	case MN_FXSAVE:
	case MN_XSAVE:
	case MN_XSAVEC:
	case MN_XSAVEOPT:
		same(c->to, 28, 4);
		if (!pointers)
			same(c->to, 6, 18);
		break;
	case MN_FNSTENV:
	case MN_FNSAVE:
		same(c->to, wide ? 12 : 6, wide ? 16 : 8);
		break;
	default:
		break;
	}
}

/* Of addresses that are the kernel's Linux does not tell what is there. */
static uint32_t error_code(const struct truth_result *r)
{
	return r->vector == X86_PF && r->cr2 >> 47 ? r->error | PF_P : r->error;
}

/* Which byte of a save area or of a masked operand faults first is the processor's own affair. */
static bool any_byte(const struct truth_case *c, const struct truth_result *r)
{
	if (r->vector != X86_PF)
		return false;
	switch (op_descs[c->in.op].mn) {
	case MN_FNSTENV:
	case MN_FLDENV:
	case MN_FNSAVE:
	case MN_FRSTOR:
	case MN_MASKMOVQ:
	case MN_MASKMOVDQU:
	case MN_VMASKMOVDQU:
		return r->cr2 - c->to < 1024 || op_descs[c->in.op].cls == OPC_MMX;
	default:
		return op_descs[c->in.op].cls == OPC_FPSTATE && r->cr2 - c->to < 4096;
	}
}

/*
 * CMPS reads two operands, in an order that is not specified: where both fault, Zen 4 tells of the
 * second and Zen 5 of the first.
 */
static bool either_operand(const struct truth_case *c, const struct truth_state *h,
			   const struct truth_result *hr, const struct truth_result *sr)
{
	uint64_t si = h->gpr[RSI], di = h->gpr[RDI];

	return op_descs[c->in.op].mn == MN_CMPS && truth_explains(hr, si, di) && truth_explains(sr, si, di);
}

static const char *compare(const struct truth_case *c, const struct truth_state *h,
			   const struct truth_result *hr, const struct truth_state *s,
			   const struct truth_result *sr)
{
	uint64_t flags = (FLAGS_STATUS | FLAG_DF) & ~(uint64_t)op_descs[c->in.op].flags_u;
	bool told = any_byte(c, hr) || either_operand(c, h, hr, sr);

	if (hr->vector != sr->vector && !either_operand(c, h, hr, sr))
		return "exception";
	if (hr->vector >= 0 && !told && error_code(hr) != error_code(sr))
		return "error code";
	if (hr->vector == X86_PF && !told && hr->cr2 != sr->cr2)
		return "cr2";
	/* The translator does not keep flags over a fault that nobody reads any more. */
	if (hr->vector >= 0 && !soft_translated())
		flags = FLAGS_STATUS | FLAG_DF;
	if (memcmp(h->gpr, s->gpr, sizeof(h->gpr)) != 0)
		return "general registers";
	if (h->rip != s->rip)
		return "rip";
	if ((h->rflags ^ s->rflags) & flags)
		return "flags";
	if (h->mxcsr != s->mxcsr)
		return "mxcsr";
	if (memcmp(h->vec, s->vec, sizeof(h->vec)) != 0)
		return "vectors";
	if (memcmp(h->k, s->k, sizeof(h->k)) != 0)
		return "masks";
	if (h->fcw != s->fcw || h->fsw != s->fsw || h->ftw != s->ftw)
		return "x87 control";
	if (memcmp(h->st, s->st, sizeof(h->st)) != 0)
		return "x87 registers";
	/* a host that was interrupted here may have lost the upper halves of the pointers */
	if (c->touches_fp && (h->fsw & 0x80) &&
	    ((uint32_t)h->fip != (uint32_t)s->fip || (uint32_t)h->fdp != (uint32_t)s->fdp ||
	     h->fop != s->fop))
		return "x87 pointers";
	if (memcmp(host_mem, soft_mem, MEM_SIZE) != 0)
		return "memory";
	return NULL;
}

static void report_memory(void)
{
	unsigned shown = 0;

	for (unsigned i = 0; i < MEM_SIZE && shown < 8; i += 8) {
		if (ld_le64(host_mem + i) == ld_le64(soft_mem + i))
			continue;
		printf("* [%lx]  host %016" PRIx64 "  soft %016" PRIx64 "\n", SCRATCH_DATA + i,
		       ld_le64(host_mem + i), ld_le64(soft_mem + i));
		shown++;
	}
}

static bool run_state(struct truth_case *c, struct truth_state *base, struct rng *r,
		      struct totals *t, bool print)
{
	struct truth_state before, soft;
	struct truth_result hr, sr;
	const struct truth_memory m = { host_mem, soft_mem };
	const char *what;

	gen_operands(r, c, base, host_mem, soft_mem);
	before = soft = *base;
	host_run(c, base, &hr);
	soft_run_case(c, &soft, &sr);
	level_images(c, base);
	level_case(c, &before, base, &hr, &soft, &sr, &m);
	what = compare(c, base, &hr, &soft, &sr);
	t->cases++;
	t->per_class[op_descs[c->in.op].cls]++;
	t->faults += hr.vector >= 0;
	if (!what)
		return true;
	if (print) {
		report(c, &before, base, &hr, &soft, &sr, what);
		report_memory();
	}
	return false;
}

/* False: a mismatch. */
static bool run_group(const struct options *o, uint64_t group, struct totals *t, unsigned *op,
		      bool print)
{
	struct rng r = {.state = o->seed * 0x9e3779b97f4a7c15u + group * 0xd1b54a32d192ed03u};
	struct truth_case c = {.len = 0};
	struct truth_state s;

	do {
		*op = 1 + rng_below(&r, OP_NR - 1);
	} while (!gen_wanted(*op, 64) || !soft_has(*op) ||
		 (o->op && strcmp(op_name(*op), o->op) != 0));
	if (!gen_case(&r, *op, &c))
		return true;
	t->seen[*op] = 1;
	soft_code(&c);
	host_code(&c);
	fill_memory(&r);
	gen_state(&r, &s);
	for (unsigned i = 0; i < STATES; i++)
		if (!run_state(&c, &s, &r, t, print))
			return false;
	return true;
}

/*
 * A group that fails is run again: the engine does the same each time, but a host that is itself a
 * guest has been seen to give a wrong answer once in a million when it was interrupted.
 */
static void try_group(const struct options *o, uint64_t group, struct totals *t)
{
	unsigned op;

	if (run_group(o, group, t, &op, false) || t->failed[op])
		return;
	if (run_group(o, group, t, &op, false)) {
		t->unsteady++;
		return;
	}
	printf("--seed %" PRIu64 " --group %" PRIu64 "\n", o->seed, group);
	run_group(o, group, t, &op, true);
	t->failed[op] = 1;
}

static int parse(struct options *o, int argc, char **argv)
{
	const char *env = getenv("HANOK_TRUTH_CASES");

	*o = (struct options){.cases = env ? strtoull(env, NULL, 0) : 200000, .seed = 1,
			      .keep_going = 20};
	for (int i = 1; i + 1 < argc; i += 2) {
		const char *a = argv[i], *v = argv[i + 1];

		if (!strcmp(a, "--cases"))
			o->cases = strtoull(v, NULL, 0);
		else if (!strcmp(a, "--seed"))
			o->seed = strtoull(v, NULL, 0);
		else if (!strcmp(a, "--group"))
			o->group = strtoull(v, NULL, 0), o->one_group = true;
		else if (!strcmp(a, "--op"))
			o->op = v;
		else if (!strcmp(a, "--jit"))
			o->jit = strtoul(v, NULL, 0);
		else if (!strcmp(a, "--keep-going"))
			o->keep_going = (unsigned)strtoul(v, NULL, 0);
		else
			return -1;
	}
	return argc % 2 ? 0 : -1;
}

static unsigned count(const uint8_t *set)
{
	unsigned n = 0;

	for (unsigned i = 0; i < OP_NR; i++)
		n += set[i];
	return n;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static struct totals t;
	struct options o;
	double start;
	unsigned wanted = 0;

	if (parse(&o, argc, argv)) {
		fprintf(stderr, "usage: %s [--cases N] [--seed S] [--group G] [--op NAME] "
				"[--keep-going N] [--jit 0|1]\n", argv[0]);
		return 2;
	}
	if (host_init() || soft_init()) {
		fprintf(stderr, "cpu-truth: cannot set up\n");
		return 77;
	}
	if (o.jit)
		soft_jit();
	host_find_components();
	host_mem = host_scratch();
	soft_mem = soft_scratch();
	for (unsigned op = 1; op < OP_NR; op++)
		wanted += gen_wanted(op, 64) && soft_has(op) &&
			  (!o.op || strcmp(op_name(op), o.op) == 0);
	if (!wanted) {
		fprintf(stderr, "cpu-truth: no operation is named %s\n", o.op);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	start = seconds();
	for (uint64_t g = o.group; t.cases < o.cases && count(t.failed) <= o.keep_going; g++) {
		try_group(&o, g, &t);
		if (o.one_group)
			break;
	}
	printf("%" PRIu64 " cases, %" PRIu64 " exceptions, seed %" PRIu64 ", %.1f s; operations: "
	       "%u of %u, failed %u, unsteady %" PRIu64 "; int %" PRIu64 " x87 %" PRIu64
	       " mmx %" PRIu64 " sse %" PRIu64 " avx %" PRIu64 " bmi %" PRIu64 " evex %" PRIu64 " fpstate %" PRIu64 "\n",
	       t.cases, t.faults, o.seed, seconds() - start, count(t.seen), wanted, count(t.failed),
	       t.unsteady, t.per_class[OPC_INT], t.per_class[OPC_X87], t.per_class[OPC_MMX],
	       t.per_class[OPC_SSE], t.per_class[OPC_AVX], t.per_class[OPC_BMI],
	       t.per_class[OPC_EVEX], t.per_class[OPC_FPSTATE]);
	if (o.jit)
		printf("%" PRIu64 " instructions were translated\n", soft_translated());
	return (o.jit && !soft_translated()) || count(t.failed) || t.unsteady > 3 + t.cases / 100000 ? 1 : 0;
}

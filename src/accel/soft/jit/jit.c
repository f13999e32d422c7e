/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The translator's memory, and running what it made (jit.h). Code memory has two mappings, one writable and
 * one executable. vCPU thread.
 */
#include "accel/soft/decode/decode.h"
#include "accel/soft/fpu.h"
#include "accel/soft/jit/code.h"
#include "accel/soft/jit/lockstep.h"
#include "accel/soft/mmu.h"
#include "base/clock.h"
#include "core/vm.h"

#include <cpuid.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

#define HOT 2 /* struct jit's hot, usually */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* <linux/mman.h>; Linux 6.1 */
#endif

static uint8_t *map_aligned(int fd, int prot)
{
	uint8_t *at = map_large(JIT_CODE_SIZE, PROT_NONE);

	return at ? mmap(at, JIT_CODE_SIZE, prot, MAP_SHARED | MAP_FIXED, fd, 0) : MAP_FAILED;
}

static void map_file(struct jit *j)
{
	autoclose int fd = memfd_create("hanok-code", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)JIT_CODE_SIZE) < 0)
		return;
	j->rw = map_aligned(fd, PROT_READ | PROT_WRITE);
	j->rx = map_aligned(fd, PROT_READ | PROT_EXEC);
}

/* The same without a file's name: perf(1) looks into its map of a process for no other memory. */
static void map_nameless(struct jit *j)
{
	j->rw = mmap(NULL, JIT_CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (j->rw == MAP_FAILED)
		return;
	j->rx = mremap(j->rw, 0, JIT_CODE_SIZE, MREMAP_MAYMOVE); /* size 0: a second one */
	if (j->rx != MAP_FAILED && mprotect(j->rx, JIT_CODE_SIZE, PROT_READ | PROT_EXEC) < 0) {
		munmap(j->rx, JIT_CODE_SIZE);
		j->rx = MAP_FAILED;
	}
}

struct jit *jit_new(struct jit_perf *perf, struct err *e)
{
	struct jit *j = xnew(struct jit);

	j->rw = j->rx = MAP_FAILED;
	j->spans = MAP_FAILED;
	j->perf = perf;
	j->bmi2 = __builtin_cpu_supports("bmi2");
	j->hot = HOT;
	j->nr_spots = STACK_SPOTS;
	j->sample = 1;
	j->cold = j->ahead_cold = JIT_COLD;
	if (perf)
		map_nameless(j);
	else
		map_file(j);
	j->spans = mmap(NULL, JIT_SPANS * sizeof(*j->spans), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (j->rw != MAP_FAILED && j->rx != MAP_FAILED && j->spans != MAP_FAILED)
		return j;
	err_set_errno(e, errno, "soft: cannot map memory for host code (is /dev/shm or tmpfs mounted "
		      "noexec, or memfd_create(2) forbidden?)");
	return jit_free(j);
}

struct jit *jit_free(struct jit *j)
{
	if (!j)
		return NULL;
	if (j->rw != MAP_FAILED)
		munmap(j->rw, JIT_CODE_SIZE);
	if (j->rx != MAP_FAILED)
		munmap(j->rx, JIT_CODE_SIZE);
	if (j->spans != MAP_FAILED)
		munmap(j->spans, JIT_SPANS * sizeof(*j->spans));
	free(j);
	return NULL;
}

void jit_flush(struct soft_cpu *c, bool release)
{
	struct jit *j = c->jit;

	spots_drop(c);
	links_reset(c);
	if (!j->used)
		return;
	j->cold = JIT_COLD;
	if (release) {
		madvise(j->rw, JIT_CODE_SIZE, MADV_REMOVE);
		madvise(j->spans, JIT_SPANS * sizeof(*j->spans), MADV_DONTNEED);
		zero_and_release(c->spots, sizeof(c->spots));
		zero_and_release(c->links, sizeof(c->links));
		zero_and_release(c->link_infos, sizeof(c->link_infos));
		links_reset(c);
		j->used = j->first = j->ahead = 0;
		j->ahead_cold = JIT_COLD;
	}
	j->used = j->first;
	j->nr_spans = 0;
	j->nr_spots = STACK_SPOTS;
	j->reused = true;
}

const void *jit_cold(struct jit *j)
{
	if (!j->used)
		jit_put_routines(j);
	return j->rx + (j->go.cold - j->rw);
}

/* Where in the code memory it is. */
static uint32_t jit_offset(const struct jit *j, const void *code)
{
	return (uint32_t)((const uint8_t *)code - j->rx);
}

bool jit_has_room(const struct soft_cpu *c)
{
	const struct jit *j = c->jit;

	return j->used + JIT_BLOCK_ROOM <= JIT_COLD && j->cold + JIT_BLOCK_ROOM <= JIT_CODE_SIZE &&
	       j->nr_spans < JIT_SPANS && j->nr_spots + 4 * LONG_MAX <= SPOTS &&
	       c->nr_links + LINKS_ROOM <= LINKS;
}

size_t jit_bytes(const struct jit *j)
{
	return j->used + (j->cold - JIT_COLD) + j->nr_spans * sizeof(*j->spans);
}

unsigned jit_blocks(const struct jit *j)
{
	return j->nr_spans;
}

/* For code written through another mapping than it runs in (Intel SDM vol. 3, 9.1.3). */
static void serialize(struct jit *j)
{
	unsigned r[4];

	if (j->reused)
		__cpuid(0, r[0], r[1], r[2], r[3]);
	j->reused = false;
}

/* Of what never takes as long as this, if the host does not take the processor away meanwhile. */
#define MOST_CYCLES BIT64(21)

static uint64_t cycles_since(uint64_t start)
{
	uint64_t took = __rdtsc() - start;

	return took < MOST_CYCLES ? took : 0;
}

/*
 * In large pages: a compiler runs through more code than the host's TLB has small ones for, and those take
 * the host ten times as long. What is empty cannot be put together. Linux 6.1 and later can; nothing depends
 * on it.
 */
static bool take_large(const struct jit *j, size_t from)
{
	size_t at = align_down(from, LARGE_PAGE);

	__atomic_fetch_or(&j->rw[from], 0, __ATOMIC_RELAXED);
	return !madvise(j->rw + at, LARGE_PAGE, MADV_COLLAPSE) &&
	       !madvise(j->rx + at, LARGE_PAGE, MADV_COLLAPSE);
}

#define SMALL_UP_TO KIB(256) /* a vCPU that does nothing needs no more */

/* A fault for each page would cost more than what is put there. Of the part from first to end; from < end. */
static size_t reach(const struct jit *j, size_t from, size_t first, size_t end)
{
	size_t to;

	if (from - first >= SMALL_UP_TO && take_large(j, from))
		return align_down(from, LARGE_PAGE) + LARGE_PAGE;
	to = first + take_ahead(j->rw + first, from - first, end - first);
	madvise(j->rx + from, to - from, MADV_POPULATE_READ);
	return to;
}

static void reach_ahead(struct jit *j)
{
	if (j->used + JIT_BLOCK_ROOM > j->ahead)
		j->ahead = reach(j, j->ahead, 0, JIT_COLD);
	if (j->cold + JIT_BLOCK_ROOM > j->ahead_cold)
		j->ahead_cold = reach(j, j->ahead_cold, JIT_COLD, JIT_CODE_SIZE);
}

bool jit_make(struct soft_cpu *c, struct block *b)
{
	struct jit *j = c->jit;

	uint64_t start = __rdtsc();
	bool done;

	if (!j->used)
		jit_put_routines(j);
	done = jit_has_room(c);
	if (done) {
		reach_ahead(j);
		done = jit_translate(c, j, b, c->rip);
	}
	c->n.refused += !done;
	c->n.make_cycles += cycles_since(start);
	return done;
}

void jit_set_hot(struct jit *j, unsigned runs)
{
	j->hot = MIN(runs, JIT_NEVER);
	j->eager = true;
}

bool jit_wants(struct soft_cpu *c, struct block *b)
{
	const unsigned hot = c->jit->hot;

	if (b->code)
		return true;
	if (b->runs > hot || ++b->runs <= hot)
		return false;
	return c->flat && !c->slow && b->kept && jit_make(c, b);
}

/* Now and then: how long it stays, for who asks what translated code has of the time. */
CALLS_MADE_CODE static __attribute__((noinline)) unsigned enter_timed(struct soft_cpu *c, const void *code,
								       jit_enter_fn fn)
{
	uint64_t start = __rdtsc();
	unsigned why;

	c->jit->sample = JIT_SAMPLE; /* first: a fault does not come back */
	why = fn(c, code);
	c->n.sampled += cycles_since(start);
	return why;
}

CALLS_MADE_CODE static enum jit_exit enter(struct soft_cpu *c, const void *code)
{
	struct jit *j = c->jit;
	jit_enter_fn fn = (jit_enter_fn)(void *)(j->rx + (j->go.enter - j->rw));
	unsigned why;

	c->poll += !c->poll; /* what counts down from 0 never ends, nor would calls on the stack */
	why = unlikely(!--j->sample) ? enter_timed(c, code, fn) : fn(c, code);

	c->n.leaves[why]++;
	return (enum jit_exit)why;
}

/* The jump cache then finds the way without us. */
static void note_code(struct soft_cpu *c, const struct block *b)
{
	unsigned i = jump_index(c->rip);

	if (c->blocks->jump_block[i] == b)
		c->blocks->jump[i].code = b->code;
}

/* The last span that begins at or before an offset. */
static const struct jit_span *find_span(const struct jit *j, size_t off)
{
	unsigned lo = 0, hi = j->nr_spans;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (j->spans[mid].start <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? &j->spans[lo - 1] : NULL;
}

struct block *jit_whole(struct soft_cpu *c, const struct block *b)
{
	return jit_id_block(c->blocks, find_span(c->jit, jit_offset(c->jit, b->code))->id);
}

/* The same linear page may be another physical one by now: a jump between blocks knows of one only. */
static bool in_page_of(struct soft_cpu *c, uint32_t site, const struct block *b)
{
	const struct jit_span *s = find_span(c->jit, site);

	return s && !((jit_id_block(c->blocks, s->id)->gpa ^ b->gpa) & PAGE_ADDR);
}

/* A jump within a page whose target has code by now goes there from here on. */
static struct block *follow_link(struct soft_cpu *c)
{
	struct jit *j = c->jit;
	uint32_t site = c->jr.site;
	uint64_t flushes = c->blocks->flushes;
	struct block *b = block_find(c);

	if (!jit_wants(c, b) || c->blocks->flushes != flushes)
		return b->code ? b : NULL;
	if (!in_page_of(c, site, b))
		return b;
	c->n.patched++;
	as_patch(j->rw + site, jit_writable(j, b->code) + b->skip);
	return b;
}

/* The rest of the block is the interpreter's, from in on. Returns what jit_run() does. */
static bool run_rest(struct soft_cpu *c, struct block *b, const struct insn *in)
{
	c->jr.lull_until = 0; /* it may set a timer */
	c->blk = b;
	c->insns += (uint64_t)(&b->in[b->nr] - in);
	do {
		c->cur = in;
		in = in->fn(c, in);
	} while (in);
	if (c->cur < &b->in[b->nr - 1]) /* a branch inside it */
		c->insns -= (uint64_t)(&b->in[b->nr - 1] - c->cur);
	c->cur = NULL;
	return !b->check || cpu_settle(c);
}

/* A spot may be found to be no use where the interpreter takes over. */
static void settle(struct soft_cpu *c)
{
	if (likely(!c->jr.restless))
		return;
	jit_settle(c, c->jr.restless, c->hc.id);
	c->jr.restless = 0;
}

static bool run_bailed(struct soft_cpu *c)
{
	struct block *b = jit_id_block(c->blocks, c->hc.id);
	const struct insn *in = &b->in[jit_id_insn(c->hc.id)];

	if (jit_id_insn(c->hc.id) == b->left) {
		c->n.unknown++;
		c->n.left[op_descs[in->op].mn]++;
	}
	settle(c);
	return run_rest(c, b, in);
}

/* A call's store is done, but the call is not. */
static void finish_call(struct soft_cpu *c, const struct insn *in)
{
	c->rip = op_descs[in->op].operand[0].kind == OPK_REL ? cpu_next_rip(c) + in->imm :
							       c->call_target;
	if (in->opsize == 4)
		c->rip = (uint32_t)c->rip;
}

static bool run_stored(struct soft_cpu *c)
{
	struct block *b = jit_id_block(c->blocks, c->hc.id);
	const struct insn *in = &b->in[jit_id_insn(c->hc.id)];

	c->blk = b;
	c->cur = in;
	mmu_wrote(c, c->jr.lin, c->jr.stored);
	if (op_descs[in->op].mn == MN_CALL) {
		finish_call(c, in);
		c->cur = NULL;
		return true;
	}
	return run_rest(c, b, in + 1);
}

typedef uint64_t vec128 __attribute__((vector_size(16)));

/* What is not zero of bytes from to end of vector registers 0 to 15. */
static bool any_upper(const struct soft_cpu *c, size_t from, size_t end)
{
	vec128 bits = { 0, 0 }, v;

	for (unsigned i = 0; i < 16; i++) {
		for (size_t at = from; at < end; at += sizeof(v)) {
			memcpy(&v, &c->s.vec[i][at], sizeof(v));
			bits |= v;
		}
	}
	return bits[0] | bits[1];
}

static bool upper_halves(const struct soft_cpu *c)
{
	return any_upper(c, 16, 32);
}

/* Bits that VEX instructions clear and old SSE instructions keep. */
static bool upper_zmm(const struct soft_cpu *c)
{
	return (c->s.xcr0 & 0xe0) && any_upper(c, 32, 64);
}

void jit_vecs_lent(struct soft_cpu *c)
{
	if (c->hc.vec_live == JIT_VEC_XMM && upper_halves(c))
		c->hc.vec_live = JIT_VEC_YMM;
	else if (c->hc.vec_live == JIT_VEC_ZMM_LOW && (upper_halves(c) || upper_zmm(c)))
		c->hc.vec_live = JIT_VEC_ZMM;
}

/*
 * Vectors, or x87, go to the host's registers. Vectors not with exceptions that the host would raise: of x87
 * they come in front of an instruction, as in the guest.
 */
static bool load_state(struct soft_cpu *c)
{
	const struct insn *in = &jit_id_block(c->blocks, c->hc.id)->in[jit_id_insn(c->hc.id)];

	if (op_descs[in->op].cls == OPC_X87) {
		fpu_require(c, FPN_X87);
		return true;
	}
	if (op_descs[in->op].cls == OPC_MMX || op_descs[in->op].mn == MN_EMMS) {
		fpu_require(c, FPN_MMX);
		return true;
	}
	if (fpu_denied(c, FPN_SSE_MX) >= 0)
		return false;
	fpu_require(c, FPN_SSE_MX);
	if ((fpu_mxcsr(c) & MXCSR_MASKS) != MXCSR_MASKS)
		return false;
	c->hc.vec_live = upper_halves(c) ? JIT_VEC_YMM : JIT_VEC_XMM;
	if (upper_zmm(c))
		c->hc.vec_live = JIT_VEC_ZMM;
	else if (op_descs[in->op].cls == OPC_EVEX)
		c->hc.vec_live = c->hc.vec_live == JIT_VEC_XMM ? JIT_VEC_ZMM_LOW : JIT_VEC_ZMM;
	return true;
}

/* A branch to where no code can be faults as the branch. */
static bool bad_target(struct soft_cpu *c)
{
	uint32_t id = c->hc.id;
	const struct insn *in;

	if (likely(mmu_canonical(c, c->rip)) || id == JIT_NO_ID)
		return false;
	in = &jit_id_block(c->blocks, id)->in[jit_id_insn(id)];
	if (op_descs[in->op].mn == MN_RET)
		c->r[RSP] -= 8 + (in->flags & INSN_IMM ? in->imm & 0xffff : 0);
	else if (op_descs[in->op].mn == MN_CALL)
		c->r[RSP] += 8;
	return true;
}

static bool run(struct soft_cpu *c, struct block *b, bool once)
{
	const void *code = b->code;

	c->jr.alone = once;
	c->r[R_PC] = c->rip & PAGE_ADDR;
	serialize(c->jit);
	for (;;) {
		switch (enter(c, code)) {
		case JIT_RIP:
			if (bad_target(c))
				return run_bailed(c);
			return true;
		case JIT_LINK:
			if (once)
				return true;
			b = follow_link(c);
			if (!b)
				return true;
			code = b->code;
			serialize(c->jit);
			continue;
		case JIT_POLL:
			c->jr.polled = c->rip;
			return false;
		case JIT_BAIL:
			return run_bailed(c);
		case JIT_STORED:
			return run_stored(c);
		case JIT_VEC:
			if (!load_state(c))
				return run_bailed(c);
			code = c->jr.resume;
			continue;
		}
	}
}

/* How many instructions are done with a store to code. */
static unsigned stored(struct soft_cpu *c, struct block *b)
{
	const struct insn *in = &b->in[jit_id_insn(c->hc.id)];

	c->blk = b;
	c->cur = in;
	if (op_descs[in->op].mn == MN_CALL)
		finish_call(c, in);
	else
		c->rip = cpu_next_rip(c);
	c->cur = NULL;
	return jit_id_insn(c->hc.id) + 1;
}

unsigned jit_try(struct soft_cpu *c, struct block *b)
{
	const void *code = b->code;

	c->jr.alone = true;
	c->r[R_PC] = c->rip & PAGE_ADDR;
	serialize(c->jit);
	for (;;) {
		switch (enter(c, code)) {
		case JIT_RIP:
			return bad_target(c) ? jit_id_insn(c->hc.id) : b->nr;
		case JIT_LINK:
		case JIT_POLL:
			return b->nr;
		case JIT_BAIL:
			c->jr.restless = 0; /* it will be again when it counts */
			return jit_id_insn(c->hc.id);
		case JIT_STORED:
			return stored(c, b);
		case JIT_VEC:
			if (!load_state(c))
				return jit_id_insn(c->hc.id);
			code = c->jr.resume;
			continue;
		}
	}
}

/*
 * How long the clock is not looked at, if no timer is due before, and how often poll may begin anew in that
 * time at most: pairs of calls are on the stack until host code is left (xflow.c).
 */
#define LULL_NS 20000
#define LULLS	8

void jit_begin_lull(struct soft_cpu *c)
{
	uint64_t due = atomic_load_explicit(&c->vcpu->deadline_ns, memory_order_relaxed), ns = LULL_NS;

	if (due != UINT64_MAX) {
		uint64_t now = clock_now_ns();

		ns = due > now ? MIN(ns, due - now) : 0;
	}
	c->jr.lulls = LULLS;
	c->jr.lull_until = __rdtsc() + ns * c->vcpu->vm->tsc_khz / 1000000;
}

bool jit_run(struct soft_cpu *c, struct block *b)
{
	if (unlikely(c->lockstep))
		return lockstep_run(c, b);
	if (c->jr.polled == c->rip)
		jit_sample(c, b);
	note_code(c, b);
	return run(c, b, false);
}

bool jit_run_once(struct soft_cpu *c, struct block *b)
{
	return run(c, b, true);
}

const void *jit_trap(struct soft_cpu *c, uintptr_t pc, uint64_t rflags, uint32_t *id)
{
	const struct jit *j = c->jit;
	size_t off = pc - (uintptr_t)j->rx;
	const struct jit_span *s = off < JIT_CODE_SIZE ? find_span(j, off) : NULL;
	const uint16_t *pcs;
	unsigned i = 0;

	if (!s || off >= s->pcs)
		return NULL;
	pcs = (const uint16_t *)(const void *)(j->rw + s->pcs);
	off -= s->start;
	while (i + 1 < LONG_MAX && (pcs[i] & 0x7fff) <= off)
		i++;
	if (pcs[i] & 0x8000)
		c->fl = flags_to_fl(rflags);
	*id = s->id | i;
	return j->rx + (j->go.exit_bail - j->rw);
}

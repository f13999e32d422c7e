/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding, decoding and dropping blocks (block.h).
 *
 * Memory is one mapping: the hash, and an arena. Blocks are cut off the arena's front, void ones are
 * left where they are, and when it is full everything goes. That happens only between blocks. vCPU
 * thread only.
 */
#include "accel/soft/block.h"

#include "accel/soft/decode/decode.h"
#include "accel/soft/fpu.h"
#include "accel/soft/jit/jit.h"
#include "accel/soft/jit/lockstep.h"
#include "accel/soft/mmu.h"
#include "accel/soft/tell.h"
#include <sys/mman.h>

#define ARENA_SIZE MIB(160)
#define HASH_BITS  19
#define HASH_SIZE  (sizeof(struct block *) << HASH_BITS)
#define CODE_SIZE  (HASH_SIZE + ARENA_SIZE)
#define CACHE_SIZE align_up(sizeof(struct block_cache), 4096)
#define TRIM_ABOVE KIB(256) /* less is not worth decoding anew */

#define BLOCK_BYTES(n, code) \
	(offsetof(struct block, in) + (size_t)((n) + 1) * sizeof(struct insn) + (code))
#define MAX_INSN_LEN   15
#define CODE_BYTES     (BLOCK_MAX * 8) /* of guest code in a block, at most; what is watched */

/*
 * What finds blocks is used all over, as the guest goes through its code: in the host's large pages it takes
 * a few entries of its TLB, and not thousands. Only advice.
 */
static uint8_t *map_cache(void)
{
	uint8_t *at = map_large(CACHE_SIZE + CODE_SIZE, PROT_READ | PROT_WRITE);

	if (at)
		madvise(at, CACHE_SIZE + HASH_SIZE, MADV_HUGEPAGE);
	return at;
}

struct block_cache *block_cache_new(struct err *e)
{
	uint8_t *mem = map_cache();
	struct block_cache *bc = (void *)mem;

	if (!mem) {
		err_set_errno(e, errno, "no memory for a vCPU's decoded code");
		return NULL;
	}
	bc->hash = (void *)(mem + CACHE_SIZE);
	bc->arena = mem + CACHE_SIZE + HASH_SIZE;
	return bc;
}

struct block_cache *block_cache_free(struct block_cache *bc)
{
	if (bc)
		munmap(bc, CACHE_SIZE + CODE_SIZE);
	return NULL;
}

size_t block_cache_bytes(const struct block_cache *bc)
{
	return bc->used + HASH_SIZE;
}

void block_cache_flush(struct soft_cpu *c, enum code_why why)
{
	struct block_cache *bc = c->blocks;

	jit_flush(c, false);
	memset(bc->jump, 0, sizeof(bc->jump));
	memset(bc->jump_block, 0, sizeof(bc->jump_block));
	memset(bc->hash, 0, HASH_SIZE);
	bc->used = 0;
	bc->flushes++;
	c->n.code_flushes[why]++;
}

bool block_cache_trim(struct soft_cpu *c)
{
	struct block_cache *bc = c->blocks;

	if (bc->used < TRIM_ABOVE)
		return false;
	jit_flush(c, true);
	zero_and_release(bc->jump, sizeof(bc->jump));
	zero_and_release(bc->jump_block, sizeof(bc->jump_block));
	zero_and_release(bc->hash, CODE_SIZE);
	bc->used = bc->ahead = 0;
	bc->flushes++;
	c->n.code_flushes[CODE_WHY_IDLE]++;
	return true;
}

/* Room for the largest block, and for the host code of its instructions. */
static struct block *arena_block(struct soft_cpu *c)
{
	struct block_cache *bc = c->blocks;
	bool room = thunks_have_room(c->fpu->thunks, BLOCK_MAX);

	if (!room)
		block_cache_flush(c, CODE_WHY_THUNKS);
	else if (!jit_has_room(c))
		block_cache_flush(c, CODE_WHY_HOST);
	else if (bc->used + BLOCK_BYTES(BLOCK_MAX, CODE_BYTES) > ARENA_SIZE)
		block_cache_flush(c, CODE_WHY_DECODED);
	if (!room)
		thunks_flush(c->fpu->thunks);
	return (struct block *)(bc->arena + bc->used);
}

#define INDEX_ABOVE MIB(1) /* of decoded code: then there will be more, and what finds it is used all over */

static void arena_keep(struct block_cache *bc, const struct block *b)
{
	size_t ahead = bc->ahead;

	bc->used += align_up(BLOCK_BYTES(b->nr, b->bytes), _Alignof(struct block));
	if (likely(bc->used + BLOCK_BYTES(LONG_MAX, LONG_MAX * MAX_INSN_LEN) <= ahead))
		return;
	bc->ahead = take_ahead(bc->arena, ahead, ARENA_SIZE);
	if (ahead < INDEX_ABOVE && bc->ahead >= INDEX_ABOVE)
		madvise(bc, CACHE_SIZE + HASH_SIZE, MADV_POPULATE_WRITE);
}

/* Blocks of a page are beside each other: who looks for one looks for others. */
static struct block **hash_head(struct block_cache *bc, uint64_t gpa, uint32_t key)
{
	uint64_t h = (gpa >> 12 ^ (uint64_t)key << 40) * 0x9e3779b97f4a7c15ull;

	return &bc->hash[((h >> (64 - HASH_BITS)) + ((gpa & PAGE_OFF) >> 3)) % BIT32(HASH_BITS)];
}

/* Code that is decoded now: where its bytes are. */
struct fetch {
	struct mmu_page pg[2]; /* second page only when the first instruction crosses */
	uint8_t *bytes;	       /* the code: in the page, or in buf */
	unsigned avail;
	uint8_t buf[2 * MAX_INSN_LEN + 2];
	bool cacheable;
	bool crosses;
};

/* Code in device memory: read byte by byte, up to what one instruction needs. */
static void fetch_io(struct soft_cpu *c, const struct mmu_page *pg, uint8_t *to, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t v = 0;

		map_access(c->map, MAP_MEM, pg->gpa + i, &v, 1, false);
		to[i] = (uint8_t)v;
	}
}

static void fetch_part(struct soft_cpu *c, const struct mmu_page *pg, uint8_t *to, unsigned n)
{
	if (pg->host)
		memcpy(to, pg->host, n);
	else
		fetch_io(c, pg, to, n);
}

static enum tlb_priv fetch_priv(const struct soft_cpu *c)
{
	return c->cpl == 3 ? TLB_USER : TLB_SUPER;
}

static void fetch_first(struct soft_cpu *c, uint64_t lin, struct fetch *f)
{
	unsigned left = 0x1000 - (unsigned)(lin & PAGE_OFF);

	mmu_xlat(c, lin, TLB_EXEC, fetch_priv(c), &f->pg[0]);
	f->crosses = false;
	f->cacheable = f->pg[0].host != NULL;
	if (f->cacheable) {
		f->bytes = f->pg[0].host;
		f->avail = left;
	} else {
		f->avail = MIN(left, (unsigned)MAX_INSN_LEN);
		fetch_io(c, &f->pg[0], f->buf, f->avail);
		f->bytes = f->buf;
	}
}

static uint64_t next_page(struct soft_cpu *c, uint64_t lin)
{
	uint64_t next = (lin & PAGE_ADDR) + 0x1000;

	if (!(c->s.efer & EFER_LMA))
		next = (uint32_t)next;
	else if (!mmu_canonical(c, next))
		cpu_raise_err(c, X86_GP, 0);
	return next;
}

/* The first instruction goes on in the next page. */
static void fetch_second(struct soft_cpu *c, uint64_t lin, struct fetch *f)
{
	mmu_xlat(c, next_page(c, lin), TLB_EXEC, fetch_priv(c), &f->pg[1]);
	f->crosses = true;
	f->cacheable = f->cacheable && f->pg[1].host;
}

static void copy_crossing(struct soft_cpu *c, uint64_t lin, struct fetch *f)
{
	unsigned left = 0x1000 - (unsigned)(lin & PAGE_OFF);

	fetch_part(c, &f->pg[0], f->buf, left);
	fetch_part(c, &f->pg[1], f->buf + left, MAX_INSN_LEN + 1);
	f->bytes = f->buf;
	f->avail = left + MAX_INSN_LEN + 1;
}

static _Atomic uint32_t no_gen; /* for blocks that are never kept: always 0 */

/*
 * Each new watch stops the other threads for a moment. Where code has seldom been written over, there is
 * likely to be code all over the page, and all of it is watched; elsewhere what is asked for. Kernels patch
 * most of their pages a few times when they start.
 */
#define SELDOM 16

static uint32_t watch_page(const struct mmu_page *pg, uint64_t len, _Atomic uint32_t **at)
{
	uint64_t off = pg->rb_off;

	*at = &pg->rb->gen[off >> RAM_PAGE_SHIFT];
	if (atomic_load_explicit(*at, memory_order_relaxed) < SELDOM) {
		off = align_down(off, RAM_PAGE_SIZE);
		len = RAM_PAGE_SIZE;
	}
	return ram_watch(pg->rb, off, len);
}

static void watch_code(struct fetch *f, struct block *b)
{
	b->gen_at = b->gen2_at = &no_gen;
	b->gen = b->gen2 = 0;
	b->crosses = false;
	if (!f->cacheable)
		return;
	/* How long the block gets is not known before: watch what it can reach. */
	b->gen = watch_page(&f->pg[0], MIN(0x1000 - (f->pg[0].rb_off & PAGE_OFF),
					   (uint64_t)CODE_BYTES), &b->gen_at);
	b->gen2_at = b->gen_at;
	b->gen2 = b->gen;
	if (f->crosses) {
		b->gen2 = watch_page(&f->pg[1], MAX_INSN_LEN + 1, &b->gen2_at);
		b->gpa2 = f->pg[1].gpa;
		b->crosses = true;
	}
}

static void special_insn(struct insn *in, unsigned off, insn_fn fn)
{
	memset(in, 0, sizeof(*in));
	in->fn = fn;
	in->flags = INSN_END;
	in->next = (uint16_t)off;
	in->base = in->index = R_OFF(R_ZERO);
	in->seg = SEG_NONE;
}

static void finish_insn(struct soft_cpu *c, struct insn *in, unsigned off, const uint8_t *bytes)
{
	in->next = (uint16_t)(off + in->len);
	if (in->flags & INSN_RIPREL)
		in->disp += in->next;
	bind_insn(c, in, bytes);
}

/*
 * The code as it is now: other vCPUs and devices may write to it at any time, and what is decoded,
 * bound and encoded for the host must be the same bytes. Behind watch_code(): a change that comes
 * after the copy voids the block.
 */
static unsigned copy_code(const struct fetch *f, uint8_t *code, unsigned size)
{
	unsigned n = MIN(f->avail, size);

	memcpy(code, f->bytes, n);
	atomic_signal_fence(memory_order_seq_cst); /* no second look at the source */
	return n;
}

static bool is_sti(const struct insn *in)
{
	return op_descs[in->op].mn == MN_STI;
}

/*
 * Decodes the code at lin into b until it is full. max: instructions. Returns false when the first
 * instruction needs bytes of the next page.
 */
static bool decode_block(struct soft_cpu *c, uint64_t lin, const struct fetch *f, struct block *b,
			 unsigned max)
{
	uint8_t code[CODE_BYTES];
	unsigned off = 0, n = 0, avail = copy_code(f, code, sizeof(code));
	unsigned start = (unsigned)(lin & PAGE_OFF);

	b->check = false;
	b->kept = false;
	b->looped = false;
	memset(b->roams, 0, sizeof(b->roams));
	b->roamed = false;
	b->wanders = false;
	memset(b->near, 0, sizeof(b->near));
	b->runs = 0;
	b->code = NULL;
	while (n < max) {
		struct insn *in = &b->in[n];
		int len;

		if (n && off >= sizeof(code) - MAX_INSN_LEN)
			break;
		len = decode_insn(code + off, avail - off, c->code_bits, in);
		if (len == DECODE_MORE) {
			if (!n)
				return false;
			break;
		}
		if (n && unlikely(c->lockstep) && len > 0 && lockstep_alone(in))
			break;
		n++;
		if (len < 0) {
			special_insn(in, start + off, len == DECODE_LONG ? exec_gp0 : exec_ud);
			break;
		}
		finish_insn(c, in, start + off, code + off);
		off += (unsigned)len;
		if (in->flags & INSN_END) {
			b->check = op_descs[in->op].cls != OPC_INT;
			break;
		}
		if (unlikely(c->lockstep) && lockstep_alone(in))
			break;
		if (n > 1 && is_sti(in - 1))
			break; /* here an interrupt may come again */
	}
	if (is_sti(&b->in[n - 1])) {
		b->in[n - 1].flags |= INSN_END;
		b->check = true;
	}
	b->nr = (uint16_t)n;
	b->bytes = (uint16_t)off;
	c->n.decoded++;
	c->n.decoded_insns += n;
	special_insn(&b->in[n], start + off, exec_leave);
	memcpy(&b->in[n + 1], code, off);
	return true;
}

/* Code segment limit (not 64-bit mode): how many bytes from rip on may be executed. */
static uint64_t limit_left(const struct soft_cpu *c)
{
	if (c->code_bits == 64)
		return UINT64_MAX;
	if (c->rip > c->s.seg[SEG_CS].limit)
		return 0;
	return c->s.seg[SEG_CS].limit - c->rip + 1;
}

static void check_fetch(struct soft_cpu *c, uint64_t lin)
{
	if (c->code_bits == 64 ? !mmu_canonical(c, lin) : !limit_left(c))
		cpu_raise_err(c, X86_GP, 0);
}

static struct block *make_block(struct soft_cpu *c, uint64_t lin)
{
	struct block_cache *bc = c->blocks;
	struct block *b = arena_block(c), **head;
	unsigned max = c->slow ? 1 : BLOCK_MAX;
	struct fetch f;

	fetch_first(c, lin, &f);
	watch_code(&f, b);
	if (!f.cacheable)
		max = 1;
	if (!decode_block(c, lin, &f, b, max)) {
		fetch_second(c, lin, &f);
		watch_code(&f, b);
		copy_crossing(c, lin, &f);
		decode_block(c, lin, &f, b, 1);
	}
	b->gpa = f.pg[0].gpa;
	b->key = c->mode_key;
	if (unlikely(log_is_on(LOG_IN_ASM)))
		tell_decoded(c, b, lin);
	if (!f.cacheable || b->bytes > limit_left(c))
		return b; /* used once: its place in the arena stays free */
	arena_keep(bc, b);
	b->kept = true;
	head = hash_head(bc, b->gpa, b->key);
	b->hash_next = *head;
	*head = b;
	return b;
}

/* A cached block that begins at gpa; void ones are taken out of the chain. */
static struct block *lookup(struct soft_cpu *c, uint64_t gpa)
{
	struct block **at = hash_head(c->blocks, gpa, c->mode_key), *b;

	while ((b = *at)) {
		if (!block_valid(b)) {
			*at = b->hash_next;
			c->n.voided++;
			continue;
		}
		if (b->gpa == gpa && b->key == c->mode_key)
			return b;
		at = &b->hash_next;
	}
	return NULL;
}

struct block *block_known(struct soft_cpu *c, const struct block *b, unsigned off)
{
	uint64_t gpa = (b->gpa & PAGE_ADDR) | off;
	struct block *o = *hash_head(c->blocks, gpa, b->key);

	for (; o; o = o->hash_next)
		if (o->gpa == gpa && o->key == b->key && !o->crosses && o->gen == b->gen)
			return o;
	return NULL;
}

struct block *block_join(struct soft_cpu *c, const struct block *const *parts, unsigned n)
{
	struct block_cache *bc = c->blocks;
	struct block *b = (struct block *)(bc->arena + bc->used);
	const struct block *last = parts[n - 1];
	uint8_t *code;

	if (bc->used + BLOCK_BYTES(LONG_MAX, LONG_MAX * MAX_INSN_LEN) > ARENA_SIZE)
		return NULL;
	*b = *parts[0];
	b->nr = b->bytes = 0;
	for (unsigned i = 0; i < n; i++) {
		memcpy(&b->in[b->nr], parts[i]->in, parts[i]->nr * sizeof(b->in[0]));
		b->nr += parts[i]->nr;
		b->bytes += parts[i]->bytes;
	}
	b->in[b->nr] = last->in[last->nr];
	b->check = last->check;
	code = (uint8_t *)&b->in[b->nr + 1];
	for (unsigned i = 0; i < n; i++)
		code = mempcpy(code, block_bytes(parts[i]), parts[i]->bytes);
	arena_keep(bc, b);
	return b;
}

/* The limit ends inside the block: execute what fits, one instruction at a time. */
static struct block *limited_block(struct soft_cpu *c, uint64_t lin)
{
	struct block *b = arena_block(c);
	struct fetch f;

	fetch_first(c, lin, &f);
	watch_code(&f, b);
	if (!decode_block(c, lin, &f, b, 1)) {
		fetch_second(c, lin, &f);
		watch_code(&f, b);
		copy_crossing(c, lin, &f);
		decode_block(c, lin, &f, b, 1);
	}
	if (b->bytes > limit_left(c))
		cpu_raise_err(c, X86_GP, 0);
	return b;
}

/* Physical address of the code at lin, and whether its mapping is global. */
static uint64_t fetch_gpa(struct soft_cpu *c, uint64_t lin, bool *global)
{
	const struct tlb_entry *e = tlb_slot(&c->tlbs[tlb_array(c, fetch_priv(c))], TLB_EXEC, lin);
	struct mmu_page pg;

	if (unlikely(e->tag != (lin & PAGE_ADDR))) {
		mmu_xlat(c, lin, TLB_EXEC, fetch_priv(c), &pg);
		if (e->tag != (lin & PAGE_ADDR)) { /* not plain memory */
			*global = false;
			return pg.gpa;
		}
	}
	*global = tlb_more(e)->gpa & TLBE_GLOBAL;
	return (tlb_more(e)->gpa & PAGE_ADDR) | (lin & PAGE_OFF);
}

/* A crossing block is right only where its second page is mapped behind the first; global: both are. */
static bool second_page_fits(struct soft_cpu *c, const struct block *b, uint64_t lin, bool *global)
{
	bool second;

	if (!b->crosses)
		return true;
	if (fetch_gpa(c, next_page(c, lin), &second) != b->gpa2)
		return false;
	*global &= second;
	return true;
}

static void jump_note(struct soft_cpu *c, struct block *b, uint64_t lin, bool global)
{
	unsigned i = jump_index(lin);
	struct jump_entry *j = &c->blocks->jump[i];

	jump_page_note(c, lin);
	if (b->crosses)
		jump_page_note(c, lin + 0x1000);
	j->lin = lin;
	j->stamp = global ? c->stamp_global : c->stamp;
	j->gen_at = b->gen_at;
	j->gen = b->gen;
	/* Lockstep, and who wants to hear of each block, have them run one by one. */
	j->code = b->code && !c->lockstep && !c->telling ? b->code : jit_cold(c->jit);
	j->page = lin & PAGE_ADDR;
	c->blocks->jump_block[i] = b;
}

/* Behind it, code may be of a block that goes on in another page. */
#define LAST_WHOLE (0x1000 - MAX_INSN_LEN)

bool jump_renew(struct soft_cpu *c, uint64_t lin)
{
	struct jump_entry *j = &c->blocks->jump[jump_index(lin)];
	const struct tlb_entry *e;
	bool global;

	if (j->lin != lin || (uint32_t)j->stamp != c->mode_key || (lin & PAGE_OFF) > LAST_WHOLE)
		return false;
	fetch_gpa(c, lin, &global);
	e = tlb_slot(&c->tlbs[tlb_array(c, fetch_priv(c))], TLB_EXEC, lin);
	if (e->tag != (lin & PAGE_ADDR) || tlb_more(e)->gen_at != j->gen_at ||
	    atomic_load_explicit(j->gen_at, memory_order_relaxed) != j->gen)
		return false;
	jump_page_note(c, lin);
	j->stamp = global ? c->stamp_global : c->stamp;
	return true;
}

void jump_drop_page(struct soft_cpu *c, uint64_t lin)
{
	const uint64_t first = (lin & PAGE_ADDR) - MAX_INSN_LEN; /* of a block that goes on in the page */

	for (unsigned i = 0; i < 0x1000 + MAX_INSN_LEN; i++) {
		struct jump_entry *j = &c->blocks->jump[jump_index(first + i)];

		if (j->lin == first + i)
			j->stamp = 0;
	}
}

struct block *block_find_slow(struct soft_cpu *c, uint64_t lin)
{
	struct block *b;
	bool global;
	uint64_t gpa;

	if (!(c->s.efer & EFER_LMA))
		lin = (uint32_t)lin;
	b = jump_find(c->blocks, lin, c->stamp_global);
	if (b)
		return b;
	if (c->flat && jump_renew(c, lin))
		return c->blocks->jump_block[jump_index(lin)];
	check_fetch(c, lin);
	gpa = fetch_gpa(c, lin, &global);
	b = lookup(c, gpa);
	if (!b || !second_page_fits(c, b, lin, &global)) {
		b = make_block(c, lin);
		second_page_fits(c, b, lin, &global);
	}
	if (b->bytes > limit_left(c))
		return limited_block(c, lin);
	if (b->gen_at != &no_gen)
		jump_note(c, b, lin, global);
	return b;
}

void block_check_current(struct soft_cpu *c)
{
	struct block *b = c->blk;

	if (!b || !c->cur || block_valid(b))
		return;
	for (unsigned i = (unsigned)(c->cur - b->in) + 1; i <= b->nr; i++)
		b->in[i].fn = exec_leave;
}

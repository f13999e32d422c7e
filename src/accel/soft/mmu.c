/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear memory, the slow path: TLB misses, accesses that cross a page, devices and ROM, data
 * breakpoints, alignment checks. Intel SDM vol. 3 chapters 4 and 6, AMD APM vol. 2 chapter 5.
 *
 * A fault leaves by cpu_raise*() before anything was written: an access that crosses pages
 * translates both before it touches either. vCPU thread only.
 */
#include "accel/soft/mmu.h"

/* How an access came about: its privilege and what it must check. */
struct how {
	enum tlb_priv priv;
	bool stack; /* non-canonical is #SS */
	bool sys;   /* implicit: no alignment check, no data breakpoint */
};

enum tlb_priv mmu_priv(const struct soft_cpu *c)
{
	if (c->cpl == 3)
		return TLB_USER;
	return c->smap_lifted ? TLB_SUPER_AC : TLB_SUPER;
}

bool mmu_canonical(const struct soft_cpu *c, uint64_t lin)
{
	unsigned drop = c->s.cr4 & CR4_LA57 ? 7 : 16;

	return (uint64_t)((int64_t)(lin << drop) >> drop) == lin;
}

bool mmu_insn_uses_stack(const struct soft_cpu *c)
{
	const struct insn *in = c->cur;

	if (!in)
		return false;
	if (in->flags & INSN_MEM)
		return in->seg == SEG_NONE && (in->base == R_OFF(RSP) || in->base == R_OFF(RBP));
	return false;
}

static _Noreturn void raise_non_canonical(struct soft_cpu *c, const struct how *how)
{
	if (how->stack || (!how->sys && mmu_insn_uses_stack(c)))
		cpu_raise_err(c, X86_SS, 0);
	cpu_raise_err(c, X86_GP, 0);
}

/* The region piece that holds gpa, as host memory where the access may use it as such. */
static const struct map_range *find_memory(struct soft_cpu *c, enum tlb_kind kind,
					   struct mmu_page *pg)
{
	const struct map_range *r = map_find(map_view(c->map), MAP_MEM, pg->gpa);
	const struct map_region *reg;

	pg->host = NULL;
	pg->rb = NULL;
	if (!r || r->region->kind == MAP_IO)
		return NULL;
	reg = r->region;
	if (reg->kind == MAP_ROM && kind == TLB_WRITE)
		return NULL;
	pg->rb = reg->rb;
	pg->rb_off = reg->rb_off + (pg->gpa - reg->addr);
	pg->host = pg->rb->host + pg->rb_off;
	return r;
}

/* A page of which only a part is this memory (a region ends in it) cannot be in the TLB. */
static bool whole_page(const struct map_range *r, const struct mmu_page *pg)
{
	uint64_t page = pg->gpa & PAGE_ADDR;

	return r->first <= page && r->last >= page + PAGE_OFF &&
	       !((pg->rb_off - (pg->gpa & PAGE_OFF)) & PAGE_OFF);
}

static void fill_from_walk(struct soft_cpu *c, uint64_t lin, enum tlb_kind kind, enum tlb_priv priv,
			   const struct walk *w, struct mmu_page *pg)
{
	const struct map_range *r;

	pg->gpa = w->gpa;
	r = find_memory(c, kind, pg);
	if (!r || !whole_page(r, pg))
		return;
	if (unlikely(c->has_watch) && kind != TLB_EXEC && debug_page_watched(c, lin))
		return;
	tlb_fill(c, kind, priv, lin, w, pg);
	/* A page that was written can be read; a dirty one that may be written needs no walk. */
	if (kind == TLB_WRITE)
		tlb_fill(c, TLB_READ, priv, lin, w, pg);
	else if (kind == TLB_READ && w->dirty && w->writable && r->region->kind == MAP_RAM)
		tlb_fill(c, TLB_WRITE, priv, lin, w, pg);
}

static void page_from_tlb(const struct tlb_entry *e, uint64_t lin, struct soft_cpu *c,
			  enum tlb_kind kind, struct mmu_page *pg)
{
	pg->gpa = (tlb_more(e)->gpa & PAGE_ADDR) | (lin & PAGE_OFF);
	find_memory(c, kind, pg);
}

void mmu_xlat(struct soft_cpu *c, uint64_t lin, enum tlb_kind kind, enum tlb_priv priv,
	      struct mmu_page *pg)
{
	const struct tlb_entry *e = tlb_slot(&c->tlbs[tlb_array(c, priv)], kind, lin);
	struct walk w;
	int code;

	if (e->tag == (lin & PAGE_ADDR)) {
		page_from_tlb(e, lin, c, kind, pg);
		return;
	}
	code = walk_pages(c, lin, kind, priv, true, &w);
	if (code >= 0)
		cpu_raise_pf(c, lin, (uint32_t)code);
	fill_from_walk(c, lin, kind, priv, &w, pg);
}

bool mmu_fill(struct soft_cpu *c, uint64_t lin, enum tlb_kind kind)
{
	enum tlb_priv priv = mmu_priv(c);
	struct mmu_page pg;
	struct walk w;

	/* Another array than what is filled: alignment is checked, or it is not for real (lockstep). */
	if (c->tlb != &c->tlbs[tlb_array(c, priv)] ||
	    ((c->s.efer & EFER_LMA) && !mmu_canonical(c, lin)) ||
	    walk_pages(c, lin, kind, priv, true, &w) >= 0)
		return false;
	fill_from_walk(c, lin, kind, priv, &w, &pg);
	return tlb_slot(c->tlb, kind, lin)->tag == (lin & PAGE_ADDR);
}

static void check_linear(struct soft_cpu *c, uint64_t lin, unsigned size, const struct how *how)
{
	if (c->s.efer & EFER_LMA && unlikely(!mmu_canonical(c, lin) ||
					     !mmu_canonical(c, lin + size - 1)))
		raise_non_canonical(c, how);
	if (unlikely(c->align_check) && !how->sys && (lin & (size - 1)))
		cpu_raise_err(c, X86_AC, 0);
}

/* In legacy modes linear addresses wrap at 4 GiB. */
static uint64_t wrap_linear(const struct soft_cpu *c, uint64_t lin)
{
	return c->s.efer & EFER_LMA ? lin : (uint32_t)lin;
}

static uint64_t page_load(struct soft_cpu *c, const struct mmu_page *pg, unsigned size)
{
	uint64_t v = 0;

	if (!pg->host) {
		cpu_access(c, MAP_MEM, pg->gpa, &v, size, false);
		return v;
	}
	switch (size) {
	case 1:
		return *(gmem8 *)pg->host;
	case 2:
		return *(gmem16 *)pg->host;
	case 4:
		return *(gmem32 *)pg->host;
	case 8:
		return *(gmem64 *)pg->host;
	default:
		memcpy(&v, pg->host, size); /* part of an access that crosses pages: 3, 5, 6, 7 */
		return v;
	}
}

/* The executing block's code changed: what follows in it must be decoded anew. */
static void page_wrote(struct soft_cpu *c, const struct mmu_page *pg, unsigned size)
{
	ram_written(pg->rb, pg->rb_off, size);
	block_check_current(c);
}

static void page_store(struct soft_cpu *c, const struct mmu_page *pg, uint64_t v, unsigned size)
{
	if (!pg->host) {
		cpu_access(c, MAP_MEM, pg->gpa, &v, size, true);
		return;
	}
	switch (size) {
	case 1:
		*(gmem8 *)pg->host = (uint8_t)v;
		break;
	case 2:
		*(gmem16 *)pg->host = (uint16_t)v;
		break;
	case 4:
		*(gmem32 *)pg->host = (uint32_t)v;
		break;
	case 8:
		*(gmem64 *)pg->host = v;
		break;
	default:
		memcpy(pg->host, &v, size);
		break;
	}
	page_wrote(c, pg, size);
}

/* Devices are accessed in powers of two; the parts of a crossing access may have other sizes. */
static uint64_t part_load(struct soft_cpu *c, const struct mmu_page *pg, unsigned size)
{
	struct mmu_page b = *pg;
	uint64_t v = 0;

	if (pg->host || is_pow2(size))
		return page_load(c, pg, size);
	for (unsigned i = 0; i < size; i++, b.gpa++)
		v |= page_load(c, &b, 1) << (8 * i);
	return v;
}

static void part_store(struct soft_cpu *c, const struct mmu_page *pg, uint64_t v, unsigned size)
{
	struct mmu_page b = *pg;

	if (pg->host || is_pow2(size)) {
		page_store(c, pg, v, size);
		return;
	}
	for (unsigned i = 0; i < size; i++, b.gpa++)
		page_store(c, &b, (v >> (8 * i)) & 0xff, 1);
}

static uint64_t load_how(struct soft_cpu *c, uint64_t lin, unsigned size, const struct how *how)
{
	unsigned first = 0x1000 - (unsigned)(lin & PAGE_OFF);
	struct mmu_page a, b;
	uint64_t v;

	check_linear(c, lin, size, how);
	lin = wrap_linear(c, lin);
	mmu_xlat(c, lin, TLB_READ, how->priv, &a);
	if (likely(size <= first)) {
		v = page_load(c, &a, size);
	} else {
		mmu_xlat(c, wrap_linear(c, lin + first), TLB_READ, how->priv, &b);
		v = part_load(c, &a, first) | part_load(c, &b, size - first) << (8 * first);
	}
	if (unlikely(c->has_watch) && !how->sys)
		debug_access(c, lin, size, false);
	return v;
}

static void store_how(struct soft_cpu *c, uint64_t lin, uint64_t v, unsigned size,
		      const struct how *how)
{
	unsigned first = 0x1000 - (unsigned)(lin & PAGE_OFF);
	struct mmu_page a, b;

	check_linear(c, lin, size, how);
	lin = wrap_linear(c, lin);
	mmu_xlat(c, lin, TLB_WRITE, how->priv, &a);
	if (likely(size <= first)) {
		page_store(c, &a, v, size);
	} else {
		mmu_xlat(c, wrap_linear(c, lin + first), TLB_WRITE, how->priv, &b);
		part_store(c, &a, v, first);
		part_store(c, &b, v >> (8 * first), size - first);
	}
	if (unlikely(c->has_watch) && !how->sys)
		debug_access(c, lin, size, true);
}

uint64_t mmu_ld_slow(struct soft_cpu *c, uint64_t lin, unsigned size)
{
	const struct how how = { .priv = mmu_priv(c) };

	return load_how(c, lin, size, &how);
}

void mmu_st_slow(struct soft_cpu *c, uint64_t lin, uint64_t val, unsigned size)
{
	const struct how how = { .priv = mmu_priv(c) };

	store_how(c, lin, val, size, &how);
}

uint64_t mmu_ld_stack(struct soft_cpu *c, uint64_t lin, unsigned size)
{
	const struct how how = { .priv = mmu_priv(c), .stack = true };

	return load_how(c, lin, size, &how);
}

void mmu_st_stack(struct soft_cpu *c, uint64_t lin, uint64_t val, unsigned size)
{
	const struct how how = { .priv = mmu_priv(c), .stack = true };

	store_how(c, lin, val, size, &how);
}

uint64_t mmu_ld_sys(struct soft_cpu *c, uint64_t lin, unsigned size)
{
	const struct how how = { .priv = TLB_SUPER, .sys = true };

	return load_how(c, lin, size, &how);
}

void mmu_st_sys(struct soft_cpu *c, uint64_t lin, uint64_t val, unsigned size)
{
	const struct how how = { .priv = TLB_SUPER, .sys = true };

	store_how(c, lin, val, size, &how);
}

void mmu_probe(struct soft_cpu *c, uint64_t lin, unsigned size, bool write)
{
	const struct how how = { .priv = mmu_priv(c) };
	enum tlb_kind kind = write ? TLB_WRITE : TLB_READ;
	unsigned first = 0x1000 - (unsigned)(lin & PAGE_OFF);
	struct mmu_page pg;

	/* Bulk accesses (over 8 bytes) have alignment rules of their own. */
	if (size <= 8)
		check_linear(c, lin, size, &how);
	else if ((c->s.efer & EFER_LMA) &&
		 (!mmu_canonical(c, lin) || !mmu_canonical(c, lin + size - 1)))
		raise_non_canonical(c, &how);
	lin = wrap_linear(c, lin);
	mmu_xlat(c, lin, kind, how.priv, &pg);
	for (unsigned done = first; done < size; done += 0x1000)
		mmu_xlat(c, wrap_linear(c, lin + done), kind, how.priv, &pg);
}

void mmu_probe_write(struct soft_cpu *c, uint64_t lin, unsigned size)
{
	mmu_probe(c, lin, size, true);
}

/* Device memory in pieces of up to 8 aligned bytes. */
static void io_bulk(struct soft_cpu *c, uint64_t gpa, uint8_t *data, unsigned len, bool write)
{
	while (len) {
		unsigned n = 8;
		uint64_t v = 0;

		while (n > len || (gpa & (n - 1)))
			n >>= 1;
		if (write)
			memcpy(&v, data, n);
		cpu_access(c, MAP_MEM, gpa, &v, n, write);
		if (!write)
			memcpy(data, &v, n);
		gpa += n;
		data += n;
		len -= n;
	}
}

static void bulk(struct soft_cpu *c, uint64_t lin, uint8_t *data, unsigned len, bool write)
{
	unsigned done = 0;

	mmu_probe(c, lin, len, write);
	while (done < len) {
		uint64_t at = wrap_linear(c, lin + done);
		unsigned n = MIN(len - done, 0x1000 - (unsigned)(at & PAGE_OFF));
		struct mmu_page pg;

		mmu_xlat(c, at, write ? TLB_WRITE : TLB_READ, mmu_priv(c), &pg);
		if (!pg.host) {
			io_bulk(c, pg.gpa, data + done, n, write);
		} else if (write) {
			memcpy(pg.host, data + done, n);
			page_wrote(c, &pg, n);
		} else {
			memcpy(data + done, pg.host, n);
		}
		done += n;
	}
	if (unlikely(c->has_watch))
		debug_access(c, lin, len, write);
}

void mmu_read(struct soft_cpu *c, uint64_t lin, void *to, unsigned len)
{
	bulk(c, lin, to, len, false);
}

void mmu_write(struct soft_cpu *c, uint64_t lin, const void *from, unsigned len)
{
	bulk(c, lin, (void *)(uintptr_t)from, len, true);
}

void *mmu_ptr_slow(struct soft_cpu *c, uint64_t lin, unsigned size, bool write)
{
	const struct how how = { .priv = mmu_priv(c) };
	enum tlb_kind kind = write ? TLB_WRITE : TLB_READ;
	struct mmu_page pg;

	if (size <= 8)
		check_linear(c, lin, size, &how);
	else if ((c->s.efer & EFER_LMA) &&
		 (!mmu_canonical(c, lin) || !mmu_canonical(c, lin + size - 1)))
		raise_non_canonical(c, &how);
	lin = wrap_linear(c, lin);
	if ((lin & PAGE_OFF) + size > 0x1000) {
		mmu_probe(c, lin, size, write);
		return NULL;
	}
	mmu_xlat(c, lin, kind, how.priv, &pg);
	if (unlikely(c->has_watch) && debug_page_watched(c, lin))
		return NULL;
	return pg.host;
}

void *mmu_ptr(struct soft_cpu *c, uint64_t lin, unsigned size, bool write)
{
	const struct tlb_entry *e = tlb_slot(c->tlb, write ? TLB_WRITE : TLB_READ, lin);

	if (tlb_hit(e, lin, size))
		return (void *)(uintptr_t)(lin + e->addend);
	return mmu_ptr_slow(c, lin, size, write);
}

void mmu_wrote(struct soft_cpu *c, uint64_t lin, unsigned size)
{
	const struct tlb_entry *e = tlb_slot(c->tlb, TLB_WRITE, lin);
	struct mmu_page pg;

	if (tlb_hit(e, lin, size)) {
		mmu_stored(c, e, lin, size);
		return;
	}
	mmu_xlat(c, wrap_linear(c, lin), TLB_WRITE, mmu_priv(c), &pg);
	if (pg.host)
		page_wrote(c, &pg, size);
}

void mmu_code_write(struct soft_cpu *c, const struct tlb_entry *e, uint64_t lin, unsigned size)
{
	uint64_t lines = atomic_load_explicit(tlb_more(e)->watch, memory_order_relaxed);
	unsigned first = (unsigned)(lin & PAGE_OFF) >> 6;
	unsigned last = (unsigned)((lin & PAGE_OFF) + size - 1) >> 6;
	struct mmu_page pg;

	if (!((lines >> first) & (UINT64_MAX >> (63 - (last - first)))))
		return;
	page_from_tlb(e, lin, c, TLB_WRITE, &pg);
	if (pg.host)
		page_wrote(c, &pg, size);
}

bool mmu_translate_debug(struct soft_cpu *c, uint64_t lin, uint64_t *gpa)
{
	struct walk w;

	if ((c->s.efer & EFER_LMA) && !mmu_canonical(c, lin))
		return false;
	/* Reads by a supervisor that ignores SMAP see every mapped page. */
	if (walk_pages(c, wrap_linear(c, lin), TLB_READ, TLB_SUPER_AC, false, &w) >= 0)
		return false;
	*gpa = w.gpa;
	return true;
}

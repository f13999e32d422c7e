/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page walks: 32-bit with PSE and PSE-36, PAE, 4-level and 5-level paging, with NX, WP, SMEP and
 * SMAP. Intel SDM vol. 3 chapter 4, AMD APM vol. 2 chapter 5.
 *
 * Page tables are shared with other vCPUs and with devices that write memory, so each entry is
 * read once, whole, and its A and D bits are set by compare-and-exchange against what was read;
 * when that fails the walk starts again. vCPU thread only.
 */
#include "accel/soft/mmu.h"
#include "accel/soft/soft_vm.h"
#include "isa/x86/cpuid.h"

#define PTE_P	 BIT64(0)
#define PTE_W	 BIT64(1)
#define PTE_U	 BIT64(2)
#define PTE_A	 BIT64(5)
#define PTE_D	 BIT64(6)
#define PTE_PS	 BIT64(7)
#define PTE_G	 BIT64(8)
#define PTE_NX	 BIT64(63)

/* Retries of a walk whose entries another processor keeps changing. */
#define MAX_RETRIES 64

static uint64_t phys_mask(const struct soft_cpu *c)
{
	return BIT64(cpu_phys_bits(c)) - 1;
}

/* What cached translations depend on besides the tables. */
uint64_t paging_key(const struct soft_cpu *c)
{
	const uint64_t cr4 = CR4_PSE | CR4_PAE | CR4_PGE | CR4_LA57 | CR4_SMEP | CR4_SMAP |
			     CR4_PCIDE;

	return (c->s.cr0 & (CR0_PG | CR0_WP)) | (c->s.cr4 & cr4) << 1 |
	       (c->s.efer & (EFER_NXE | EFER_LMA)) << 40;
}

/* Host address of a table entry, or NULL when it does not lie in RAM. */
static uint8_t *entry_host(struct soft_cpu *c, uint64_t gpa)
{
	const struct map_range *r;
	const struct map_region *reg;

	if (likely(gpa >= c->walk_ram.first && gpa + 7 <= c->walk_ram.last))
		return c->walk_ram.host + (gpa - c->walk_ram.first);
	r = map_find(map_view(c->map), MAP_MEM, gpa);
	if (!r || r->region->kind == MAP_IO || gpa + 7 > r->last)
		return NULL;
	reg = r->region;
	if (reg->kind == MAP_ROM)
		return reg->rb->host + reg->rb_off + (gpa - reg->addr);
	c->walk_ram.first = r->first;
	c->walk_ram.last = r->last;
	c->walk_ram.rb = reg->rb;
	c->walk_ram.rb_off = reg->rb_off + (r->first - reg->addr);
	c->walk_ram.host = reg->rb->host + c->walk_ram.rb_off;
	return c->walk_ram.host + (gpa - r->first);
}

static uint64_t read_entry(struct soft_cpu *c, uint64_t gpa, unsigned size)
{
	uint8_t *p = entry_host(c, gpa);
	uint64_t v = 0;

	if (likely(p != NULL)) {
		if (size == 8)
			return __atomic_load_n((uint64_t *)p, __ATOMIC_RELAXED);
		return __atomic_load_n((uint32_t *)p, __ATOMIC_RELAXED);
	}
	map_access(c->map, MAP_MEM, gpa, &v, size, false);
	return v;
}

/* Sets bits in an entry that had the value old. False when it changed meanwhile. */
static bool set_entry_bits(struct soft_cpu *c, uint64_t gpa, unsigned size, uint64_t old,
			   uint64_t bits)
{
	uint8_t *p = entry_host(c, gpa);
	uint32_t old32 = (uint32_t)old;

	if (!p || p < c->walk_ram.host ||
	    p >= c->walk_ram.host + (c->walk_ram.last - c->walk_ram.first + 1))
		return true; /* ROM or a device: cannot be marked */
	if (size == 8) {
		if (!__atomic_compare_exchange_n((uint64_t *)p, &old, old | bits, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			return false;
	} else if (!__atomic_compare_exchange_n((uint32_t *)p, &old32, old32 | (uint32_t)bits,
						false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
		return false;
	}
	ram_written(c->walk_ram.rb, c->walk_ram.rb_off + (uint64_t)(p - c->walk_ram.host), size);
	return true;
}

/* One level of a walk, remembered for the A/D update. */
struct step {
	uint64_t gpa, val;
};

struct walker {
	struct soft_cpu *c;
	uint64_t lin;
	enum tlb_kind kind;
	bool user;
	unsigned nr, size; /* steps; bytes of an entry */
	struct step step[5];
	uint64_t allow; /* PTE_W and PTE_U of all levels, PTE_NX of any */
	unsigned shift; /* of the page found */
	uint64_t frame;
};

static int fault_code(const struct walker *w, unsigned code)
{
	const struct cpu_state *s = &w->c->s;
	bool nx_on = (s->cr4 & CR4_PAE) && (s->efer & EFER_NXE);

	if (w->kind == TLB_WRITE)
		code |= PF_W;
	if (w->user)
		code |= PF_U;
	if (w->kind == TLB_EXEC && (nx_on || (s->cr4 & CR4_SMEP)))
		code |= PF_FETCH;
	return (int)code;
}

static void note_step(struct walker *w, uint64_t gpa, uint64_t val)
{
	w->step[w->nr].gpa = gpa;
	w->step[w->nr].val = val;
	w->nr++;
	w->allow &= val | ~(PTE_W | PTE_U);
	w->allow |= val & PTE_NX;
}

/* 32-bit paging. */
static int walk_32(struct walker *w)
{
	struct soft_cpu *c = w->c;
	uint64_t gpa = (c->s.cr3 & 0xfffff000u) + ((w->lin >> 22) & 0x3ff) * 4;
	uint64_t pde = read_entry(c, gpa, 4), pte;

	w->size = 4;
	if (!(pde & PTE_P))
		return fault_code(w, 0);
	note_step(w, gpa, pde);
	if ((pde & PTE_PS) && (c->s.cr4 & CR4_PSE)) {
		unsigned phys = MIN(cpu_phys_bits(c), 40u);
		uint64_t high = (pde >> 13) & 0x1ff; /* bits 39:32 and the reserved bit 21 */

		if (high >> (phys - 32))
			return fault_code(w, PF_P | PF_RSVD);
		w->shift = 22;
		w->frame = (pde & 0xffc00000u) | high << 32;
		return -1;
	}
	gpa = (pde & 0xfffff000u) + ((w->lin >> 12) & 0x3ff) * 4;
	pte = read_entry(c, gpa, 4);
	if (!(pte & PTE_P))
		return fault_code(w, 0);
	note_step(w, gpa, pte);
	w->shift = 12;
	w->frame = pte & 0xfffff000u;
	return -1;
}

/* Bits that must be clear in an 8-byte entry. large: it maps a page of 2^shift bytes. */
static uint64_t reserved_bits(const struct soft_cpu *c, unsigned level, bool large, unsigned shift)
{
	uint64_t rsvd = ~phys_mask(c) & 0x000ffffffffff000ull;

	if (!(c->s.efer & EFER_NXE))
		rsvd |= PTE_NX;
	if (!(c->s.efer & EFER_LMA))
		rsvd |= 0x7ff0000000000000ull; /* PAE: 62:52 */
	if (large)
		rsvd |= (BIT64(shift) - 1) & ~0x1fffull; /* bit 12 is PAT */
	if (level >= 4)
		rsvd |= PTE_PS;
	if (level == 3 && !cpu_has(c, X86F_PDPE1GB))
		rsvd |= PTE_PS;
	return rsvd;
}

/* The levels from `level` down to 1 of the 8-byte formats; table is the table's address. */
static int walk_64(struct walker *w, unsigned level, uint64_t table)
{
	struct soft_cpu *c = w->c;

	w->size = 8;
	for (;; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		uint64_t gpa = table + ((w->lin >> shift) & 0x1ff) * 8;
		uint64_t e = read_entry(c, gpa, 8);
		bool large;

		if (!(e & PTE_P))
			return fault_code(w, 0);
		large = level == 1 || ((e & PTE_PS) && level <= 3);
		if (e & reserved_bits(c, level, large && level > 1, shift))
			return fault_code(w, PF_P | PF_RSVD);
		note_step(w, gpa, e);
		if (large) {
			w->shift = shift;
			w->frame = e & 0x000ffffffffff000ull & ~(BIT64(shift) - 1);
			return -1;
		}
		table = e & 0x000ffffffffff000ull;
	}
}

static int walk_pae(struct walker *w)
{
	uint64_t pdpte = w->c->pdpte[(w->lin >> 30) & 3];

	if (!(pdpte & PTE_P))
		return fault_code(w, 0);
	return walk_64(w, 2, pdpte & phys_mask(w->c) & PAGE_ADDR);
}

/* Whether the rights found permit the access. */
static bool permitted(const struct walker *w, enum tlb_priv priv)
{
	const struct cpu_state *s = &w->c->s;
	bool user_page = w->allow & PTE_U, nx = w->allow & PTE_NX, writable = w->allow & PTE_W;

	if (w->user)
		return user_page && (w->kind != TLB_WRITE || writable) &&
		       (w->kind != TLB_EXEC || !nx);
	switch (w->kind) {
	case TLB_EXEC:
		return !nx && !(user_page && (s->cr4 & CR4_SMEP));
	case TLB_WRITE:
		if (!writable && (s->cr0 & CR0_WP))
			return false;
		break;
	default:
		break;
	}
	return !(user_page && (s->cr4 & CR4_SMAP) && priv == TLB_SUPER);
}

/* A in every entry used, D in the last for a write. False: an entry changed, walk again. */
static bool mark_steps(const struct walker *w)
{
	for (unsigned i = 0; i < w->nr; i++) {
		const struct step *st = &w->step[i];
		uint64_t bits = PTE_A;

		if (i == w->nr - 1 && w->kind == TLB_WRITE)
			bits |= PTE_D;
		if ((st->val & bits) != bits &&
		    !set_entry_bits(w->c, st->gpa, w->size, st->val, bits))
			return false;
	}
	return true;
}

static int walk_once(struct walker *w)
{
	struct soft_cpu *c = w->c;
	uint64_t root = c->s.cr3 & phys_mask(c) & PAGE_ADDR;

	w->nr = 0;
	w->allow = PTE_W | PTE_U;
	if (c->s.efer & EFER_LMA)
		return walk_64(w, c->s.cr4 & CR4_LA57 ? 5 : 4, root);
	if (c->s.cr4 & CR4_PAE)
		return walk_pae(w);
	return walk_32(w);
}

static void fill_result(const struct walker *w, struct walk *out)
{
	const struct step *last = &w->step[w->nr - 1];

	out->gpa = w->frame | (w->lin & (BIT64(w->shift) - 1));
	out->large = w->shift > 12;
	out->global = (last->val & PTE_G) && (w->c->s.cr4 & CR4_PGE);
	out->dirty = (last->val & PTE_D) || w->kind == TLB_WRITE;
	out->writable = (w->allow & PTE_W) || (!w->user && !(w->c->s.cr0 & CR0_WP));
}

int walk_pages(struct soft_cpu *c, uint64_t lin, enum tlb_kind kind, enum tlb_priv priv, bool set_ad,
	       struct walk *out)
{
	struct walker w = { .c = c, .lin = lin, .kind = kind, .user = priv == TLB_USER };

	if (!(c->s.cr0 & CR0_PG)) {
		*out = (struct walk){ .gpa = lin, .global = true, .large = false, .dirty = true,
				      .writable = true };
		return -1;
	}
	for (unsigned tries = 0; tries < MAX_RETRIES; tries++) {
		int code = walk_once(&w);

		if (code >= 0)
			return code;
		if (!permitted(&w, priv))
			return fault_code(&w, PF_P);
		if (!set_ad || mark_steps(&w))
			break;
	}
	/* Out of retries the page is used as found; the bits are set by a later walk. */
	fill_result(&w, out);
	return -1;
}

bool mmu_load_pdptes(struct soft_cpu *c, uint64_t cr3)
{
	uint64_t e[4], rsvd = (~phys_mask(c) & PAGE_ADDR) | 0x1e6;

	for (unsigned i = 0; i < 4; i++) {
		e[i] = read_entry(c, (cr3 & 0xffffffe0u) + i * 8, 8);
		if ((e[i] & PTE_P) && (e[i] & rsvd))
			return false;
	}
	memcpy(c->pdpte, e, sizeof(e));
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page tables of a guest as a debugger walks them: without an engine, without marking anything,
 * and without the processor's checks. 32-bit, PAE, 4-level and 5-level paging; Intel SDM vol. 3
 * chapter 4.
 *
 * The guest runs meanwhile and may have made the tables to hurt: each is read once, the number of
 * tables that a listing visits is bounded. Any reader of the map. State: none.
 */
#include "base/base.h"
#include "arch/x86/show.h"
#include "base/bytes.h"
#include "isa/x86/x86.h"

#define PTE_P	 BIT64(0)
#define PTE_W	 BIT64(1)
#define PTE_U	 BIT64(2)
#define PTE_PWT	 BIT64(3)
#define PTE_PCD	 BIT64(4)
#define PTE_A	 BIT64(5)
#define PTE_D	 BIT64(6)
#define PTE_PS	 BIT64(7)
#define PTE_G	 BIT64(8)
#define PTE_NX	 BIT64(63)
#define PTE_ADDR 0x000ffffffffff000ull

void paging_of(struct paging *p, struct map *map, const struct cpu_state *s)
{
	*p = (struct paging){ .map = map, .entry = 8, .root = s->cr3 & PTE_ADDR };
	if (!(s->cr0 & CR0_PG))
		return;
	p->nx = s->efer & EFER_NXE;
	p->pse = true;
	if (s->efer & EFER_LMA) {
		p->levels = s->cr4 & CR4_LA57 ? 5 : 4;
		return;
	}
	if (!(s->cr4 & CR4_PAE)) {
		p->levels = 2;
		p->entry = 4;
		p->root = s->cr3 & 0xfffff000u;
		p->pse = s->cr4 & CR4_PSE;
		return;
	}
	p->levels = 3;
	for (unsigned i = 0; i < 4; i++) {
		uint8_t raw[8] = { 0 };

		if (s->has_pdptes)
			p->pdpte[i] = s->pdpte[i];
		else if (mem_read(map, (s->cr3 & 0xffffffe0u) + i * 8, raw, 8) == 0)
			p->pdpte[i] = ld_le64(raw);
	}
}

/* What of a linear address an entry of that level stands for. */
static unsigned level_shift(const struct paging *p, unsigned level)
{
	return 12 + (level - 1) * (p->entry == 4 ? 10 : 9);
}

static bool is_leaf(const struct paging *p, unsigned level, uint64_t pte)
{
	return level == 1 ||
	       ((pte & PTE_PS) && p->pse && level <= (p->entry == 4 || p->levels == 3 ? 2u : 3u));
}

static uint64_t leaf_addr(const struct paging *p, unsigned level, uint64_t pte)
{
	uint64_t size = BIT64(level_shift(p, level));

	if (p->entry == 4 && level == 2) /* PSE-36 */
		return (pte & 0xffc00000u) | (pte >> 13 & 0xff) << 32;
	return pte & PTE_ADDR & ~(size - 1);
}

static int read_entry(const struct paging *p, uint64_t table, unsigned index, uint64_t *pte)
{
	uint8_t raw[8] = { 0 };

	if (mem_read(p->map, table + (uint64_t)index * p->entry, raw, p->entry) < 0)
		return -EFAULT;
	*pte = ld_le64(raw);
	return 0;
}

int paging_find(const struct paging *p, uint64_t addr, uint64_t *gpa, uint64_t *run)
{
	uint64_t table = p->root, pte = 0, size;
	unsigned level = p->levels;

	if (!level) {
		*gpa = addr;
		*run = UINT64_MAX - addr;
		return 0;
	}
	if (p->levels < 4 && addr > UINT32_MAX)
		return -EFAULT;
	if (p->levels >= 4) {
		unsigned unused = 64 - level_shift(p, p->levels + 1);

		if ((uint64_t)((int64_t)(addr << unused) >> unused) != addr)
			return -EFAULT;
	}
	for (;; level--) {
		unsigned bits = p->entry == 4 ? 10 : 9;
		unsigned index = (unsigned)(addr >> level_shift(p, level)) & ((1u << bits) - 1);

		if (level == 3 && p->levels == 3)
			pte = p->pdpte[index & 3];
		else if (read_entry(p, table, index, &pte) < 0)
			return -EFAULT;
		if (!(pte & PTE_P))
			return -EFAULT;
		if (is_leaf(p, level, pte))
			break;
		table = pte & PTE_ADDR;
	}
	size = BIT64(level_shift(p, level));
	*gpa = leaf_addr(p, level, pte) | (addr & (size - 1));
	*run = size - (addr & (size - 1));
	return 0;
}

/* ---- all that the tables lead to ---- */

#define RIGHTS (PTE_P | PTE_W | PTE_U)

struct walk {
	const struct paging *p;
	unsigned *tables; /* that may follow */
	paging_fn *fn;
	void *arg;
	uint8_t table[6][4096]; /* of the level under way; [0] is not used */
};

static uint64_t extend(const struct paging *p, uint64_t addr)
{
	unsigned unused = 64 - level_shift(p, p->levels + 1);

	return p->levels < 4 ? addr : (uint64_t)((int64_t)(addr << unused) >> unused);
}

static int walk_table(struct walk *w, unsigned level, uint64_t table, uint64_t addr,
		      uint64_t rights);

static int walk_entry(struct walk *w, unsigned level, uint64_t pte, uint64_t addr, uint64_t rights)
{
	const struct paging *p = w->p;
	/* PAE's uppermost entries have no rights. */
	bool bare = level == 3 && p->levels == 3;
	struct paging_leaf leaf;

	if (!(pte & PTE_P))
		return 0;
	if (!bare)
		rights &= pte & RIGHTS;
	if (!is_leaf(p, level, pte))
		return walk_table(w, level - 1, pte & PTE_ADDR, addr, rights);
	leaf = (struct paging_leaf){ .addr = extend(p, addr),
				     .gpa = leaf_addr(p, level, pte),
				     .size = BIT64(level_shift(p, level)),
				     .pte = pte,
				     .rights = rights,
				     .level = level };
	return w->fn(w->arg, &leaf);
}

/* As deep as there are levels. */
static int walk_table(struct walk *w, unsigned level, uint64_t table, uint64_t addr,
		      uint64_t rights)
{
	const struct paging *p = w->p;
	uint8_t *raw = w->table[level];
	int ret = 0;

	if (!*w->tables)
		return -E2BIG;
	--*w->tables;
	if (mem_read(p->map, table, raw, 4096) < 0)
		return 0;
	for (unsigned i = 0; ret == 0 && i < 4096 / p->entry; i++)
		ret = walk_entry(w, level,
				 p->entry == 4 ? ld_le32(raw + i * 4) : ld_le64(raw + i * 8),
				 addr | (uint64_t)i << level_shift(p, level), rights);
	return ret;
}

int paging_walk(const struct paging *p, unsigned *tables, paging_fn *fn, void *arg)
{
	autofree struct walk *w = xnew(struct walk);
	int ret = 0;

	w->p = p;
	w->tables = tables;
	w->fn = fn;
	w->arg = arg;
	if (p->levels > 3 || p->levels == 2)
		return walk_table(w, p->levels, p->root, 0, RIGHTS);
	for (unsigned i = 0; p->levels && ret == 0 && i < 4; i++)
		ret = walk_entry(w, 3, p->pdpte[i], (uint64_t)i << 30, RIGHTS);
	return ret;
}

/* ---- listings ---- */

struct listing {
	FILE *out;
	unsigned lines;
	/* the range that is growing */
	uint64_t start, end, rights;
	bool open;
};

static int say_page(void *arg, const struct paging_leaf *leaf)
{
	static const struct {
		uint64_t bit;
		char letter;
	} flags[] = { { PTE_NX, 'X' },	{ PTE_G, 'G' }, { PTE_PS, 'P' },
		      { PTE_D, 'D' },	{ PTE_A, 'A' }, { PTE_PCD, 'C' },
		      { PTE_PWT, 'T' }, { PTE_U, 'U' }, { PTE_W, 'W' } };
	struct listing *l = arg;
	uint64_t pte = leaf->level == 1 ? leaf->pte & ~PTE_PS /* PAT */ : leaf->pte;

	if (l->lines++ == PAGING_MAX_LINES)
		return -E2BIG;
	fprintf(l->out, "%016" PRIx64 ": %016" PRIx64 " ", leaf->addr, leaf->gpa);
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		fputc(pte & flags[i].bit ? flags[i].letter : '-', l->out);
	fputc('\n', l->out);
	return 0;
}

static void end_range(struct listing *l)
{
	if (!l->open)
		return;
	fprintf(l->out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n", l->start, l->end,
		l->end - l->start, l->rights & PTE_U ? 'u' : '-', l->rights & PTE_W ? 'w' : '-');
	l->open = false;
}

static int add_range(void *arg, const struct paging_leaf *leaf)
{
	struct listing *l = arg;

	if (!l->open || l->end != leaf->addr || l->rights != leaf->rights) {
		end_range(l);
		if (l->lines++ == PAGING_MAX_LINES)
			return -E2BIG;
		l->start = leaf->addr;
		l->rights = leaf->rights;
		l->open = true;
	}
	l->end = leaf->addr + leaf->size;
	return 0;
}

static void list(const struct paging *p, FILE *out, paging_fn *fn)
{
	struct listing l = { .out = out };
	unsigned tables = PAGING_MAX_TABLES;
	int ret;

	if (!p->levels) {
		fprintf(out, "PG disabled\n");
		return;
	}
	ret = paging_walk(p, &tables, fn, &l);
	end_range(&l);
	if (ret < 0)
		fprintf(out, "... and more: this listing ends after %u tables or %u lines\n",
			PAGING_MAX_TABLES, PAGING_MAX_LINES);
}

void show_tlb(const struct paging *p, FILE *out)
{
	list(p, out, say_page);
}

void show_mem(const struct paging *p, FILE *out)
{
	list(p, out, add_range);
}

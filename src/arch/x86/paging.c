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

/* ---- listings ---- */

struct listing {
	const struct paging *p;
	FILE *out;
	bool ranges; /* info mem; else info tlb */
	unsigned tables, lines;
	/* the range that is growing */
	uint64_t start, end, rights;
	bool open;
	uint8_t table[6][4096]; /* of the level under way; [0] is not used */
};

#define RIGHTS (PTE_P | PTE_W | PTE_U)

static bool full(const struct listing *l)
{
	return l->tables >= PAGING_MAX_TABLES || l->lines >= PAGING_MAX_LINES;
}

static void say_page(struct listing *l, uint64_t addr, uint64_t gpa, uint64_t pte, unsigned level)
{
	static const struct {
		uint64_t bit;
		char letter;
	} flags[] = { { PTE_NX, 'X' },	{ PTE_G, 'G' }, { PTE_PS, 'P' },
		      { PTE_D, 'D' },	{ PTE_A, 'A' }, { PTE_PCD, 'C' },
		      { PTE_PWT, 'T' }, { PTE_U, 'U' }, { PTE_W, 'W' } };

	if (level == 1)
		pte &= ~PTE_PS; /* PAT */
	fprintf(l->out, "%016" PRIx64 ": %016" PRIx64 " ", addr, gpa);
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		fputc(pte & flags[i].bit ? flags[i].letter : '-', l->out);
	fputc('\n', l->out);
	l->lines++;
}

static void end_range(struct listing *l)
{
	if (!l->open)
		return;
	fprintf(l->out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n", l->start, l->end,
		l->end - l->start, l->rights & PTE_U ? 'u' : '-', l->rights & PTE_W ? 'w' : '-');
	l->open = false;
	l->lines++;
}

static void add_range(struct listing *l, uint64_t addr, uint64_t size, uint64_t rights)
{
	if (!l->open || l->end != addr || l->rights != rights) {
		end_range(l);
		l->start = addr;
		l->rights = rights;
		l->open = true;
	}
	l->end = addr + size;
}

static uint64_t extend(const struct paging *p, uint64_t addr)
{
	unsigned unused = 64 - level_shift(p, p->levels + 1);

	return p->levels < 4 ? addr : (uint64_t)((int64_t)(addr << unused) >> unused);
}

static void list_table(struct listing *l, unsigned level, uint64_t table, uint64_t addr,
		       uint64_t rights);

static void list_entry(struct listing *l, unsigned level, uint64_t pte, uint64_t addr,
		       uint64_t rights)
{
	const struct paging *p = l->p;
	uint64_t size = BIT64(level_shift(p, level));
	/* PAE's uppermost entries have no rights. */
	bool bare = level == 3 && p->levels == 3;

	if (!(pte & PTE_P))
		return;
	if (!bare)
		rights &= pte & RIGHTS;
	if (!is_leaf(p, level, pte))
		list_table(l, level - 1, pte & PTE_ADDR, addr, rights);
	else if (l->ranges)
		add_range(l, extend(p, addr), size, rights);
	else
		say_page(l, extend(p, addr), leaf_addr(p, level, pte), pte, level);
}

/* As deep as there are levels. */
static void list_table(struct listing *l, unsigned level, uint64_t table, uint64_t addr,
		       uint64_t rights)
{
	const struct paging *p = l->p;
	uint8_t *raw = l->table[level];

	if (full(l))
		return;
	l->tables++;
	if (mem_read(p->map, table, raw, 4096) < 0)
		return;
	for (unsigned i = 0; i < 4096 / p->entry && !full(l); i++)
		list_entry(l, level, p->entry == 4 ? ld_le32(raw + i * 4) : ld_le64(raw + i * 8),
			   addr | (uint64_t)i << level_shift(p, level), rights);
}

static void list(const struct paging *p, FILE *out, bool ranges)
{
	autofree struct listing *l = xnew(struct listing);

	l->p = p;
	l->out = out;
	l->ranges = ranges;
	if (!p->levels) {
		fprintf(out, "PG disabled\n");
		return;
	}
	if (p->levels == 3) {
		for (unsigned i = 0; i < 4; i++)
			list_entry(l, 3, p->pdpte[i], (uint64_t)i << 30, RIGHTS);
	} else {
		list_table(l, p->levels, p->root, 0, RIGHTS);
	}
	end_range(l);
	if (full(l))
		fprintf(out, "... and more: this listing ends after %u tables or %u lines\n",
			PAGING_MAX_TABLES, PAGING_MAX_LINES);
}

void show_tlb(const struct paging *p, FILE *out)
{
	list(p, out, false);
}

void show_mem(const struct paging *p, FILE *out)
{
	list(p, out, true);
}

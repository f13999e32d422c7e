/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By which addresses the segments of a core file are known: those of physical memory, or those that
 * the guest's page tables give it. The same memory may have several; tables that vCPUs share are
 * walked for each of them, as the parts that processes have are not shared.
 *
 * The guest has made the tables: how many are looked at, and how many segments come of them, has a
 * limit. Any one thread. State: none.
 */
#include "base/base.h"
#include "core/arch.h"
#include "migr/dump_core.h"

#define MAX_TABLES (1u << 20)

struct mapper {
	struct dump_core *c;
	size_t cap;
	const atomic_bool *cancel;
};

static int add(struct mapper *m, struct dump_load l)
{
	struct dump_core *c = m->c;
	struct dump_load *last = c->nr_loads ? &c->loads[c->nr_loads - 1] : NULL;

	if (last && last->addr + last->len == l.addr && last->gpa + last->len == l.gpa) {
		last->len += l.len;
		return 0;
	}
	if (c->nr_loads == DUMP_MAX_LOADS)
		return -ENOBUFS;
	if (!c->loads || c->nr_loads == m->cap) {
		m->cap = m->cap ? 2 * m->cap : 64;
		c->loads = xrealloc(c->loads, m->cap, sizeof(*c->loads));
	}
	c->loads[c->nr_loads++] = l;
	return 0;
}

/* What of it is memory that is dumped. */
static int add_page(void *arg, uint64_t addr, uint64_t gpa, uint64_t len)
{
	struct mapper *m = arg;
	int ret = atomic_load(m->cancel) ? -ECANCELED : 0;

	for (size_t i = 0; ret == 0 && i < m->c->n && m->c->pieces[i].gpa < gpa + len; i++) {
		const struct dump_piece *p = &m->c->pieces[i];
		uint64_t from = MAX(p->gpa, gpa), end = MIN(p->gpa + p->len, gpa + len);

		if (from < end)
			ret = add(m, (struct dump_load){ addr + (from - gpa), from, end - from });
	}
	return ret;
}

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_distance(const void *a, const void *b)
{
	const struct dump_load *x = a, *y = b;

	return compare(x->addr - x->gpa, y->addr - y->gpa) ?: compare(x->addr, y->addr);
}

/* As the order of segments is. */
static int by_address(const void *a, const void *b)
{
	const struct dump_load *x = a, *y = b;

	return compare(x->addr, y->addr) ?: compare(x->gpa, y->gpa);
}

/* What several vCPUs' tables say is said once. */
static void join(struct dump_core *c)
{
	size_t n = 0;

	if (!c->nr_loads)
		return;
	qsort(c->loads, c->nr_loads, sizeof(*c->loads), by_distance);
	for (size_t i = 0; i < c->nr_loads; i++) {
		struct dump_load l = c->loads[i], *last = n ? &c->loads[n - 1] : NULL;

		/* Compared by gpa, which does not come round to 0. */
		if (last && last->addr - last->gpa == l.addr - l.gpa && l.gpa >= last->gpa &&
		    l.gpa - last->gpa <= last->len)
			last->len = MAX(last->len, l.gpa - last->gpa + l.len);
		else
			c->loads[n++] = l;
	}
	c->nr_loads = n;
	qsort(c->loads, n, sizeof(*c->loads), by_address);
}

static int walk_all(struct mapper *m, struct err *e)
{
	unsigned tables = MAX_TABLES;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < m->c->nr_spaces; i++)
		ret = arch_space_walk(&m->c->spaces[i], &tables, add_page, m);
	if (ret == -ECANCELED)
		return err_set(e, ECANCELED, "cancelled");
	if (ret == -E2BIG)
		return err_set(e, E2BIG,
			       "the guest has more than %u page tables: dump it without paging",
			       MAX_TABLES);
	if (ret < 0)
		return err_set(e, -ret,
			       "the guest's page tables cut its memory into more than %u segments: "
			       "dump it without paging",
			       DUMP_MAX_LOADS);
	join(m->c);
	if (!m->c->nr_loads)
		return err_set(e, EINVAL,
			       "the guest's page tables lead to none of this memory: dump it "
			       "without paging");
	return 0;
}

int dump_core_map(struct dump_core *c, const atomic_bool *cancel, struct err *e)
{
	struct mapper m = { .c = c, .cancel = cancel };

	if (c->nr_spaces)
		return walk_all(&m, e);
	for (size_t i = 0; i < c->n; i++)
		(void)add(&m, (struct dump_load){ c->pieces[i].gpa, c->pieces[i].gpa,
						  c->pieces[i].len });
	return 0;
}

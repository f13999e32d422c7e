/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes into a dump of a machine: its pieces of memory, and the vCPUs' registers. Control
 * thread. State: none that is saved.
 */
#include "base/base.h"
#include "migr/dump_core.h"
#include "core/arch.h"
#include "core/vm.h"
#include "mem/map.h"

/* Where p and what is asked for meet; false: nowhere. */
static bool clip(struct dump_piece *p, uint64_t first, uint64_t len)
{
	uint64_t from = MAX(p->gpa, first), to = MIN(p->gpa + p->len - 1, first + (len - 1));

	if (!len)
		return true;
	if (from > to)
		return false;
	p->off += from - p->gpa;
	p->gpa = from;
	p->len = to - from + 1;
	return true;
}

static void add_piece(struct dump_core *c, struct dump_piece p)
{
	struct dump_piece *last = c->n ? &c->pieces[c->n - 1] : NULL;

	if (last && last->gpa + last->len == p.gpa && last->rb == p.rb &&
	    last->off + last->len == p.off)
		last->len += p.len;
	else
		c->pieces[c->n++] = p;
}

/* Those of all vCPUs that have paging on: what they have in common, they have twice. */
static int find_spaces(struct dump_core *c, struct vm *vm, struct err *e)
{
	c->spaces = xnew_n(struct arch_space, vm->nr_vcpus);
	for (unsigned i = 0; i < vm->nr_vcpus; i++) {
		struct arch_space *a = &c->spaces[c->nr_spaces];

		if (arch_space_of(vm->vcpus[i], a, e) < 0)
			return -EIO;
		/* Idle ones often share all. */
		if (arch_space_paged(a) && (!c->nr_spaces || memcmp(a, a - 1, sizeof(*a)) != 0))
			c->nr_spaces++;
	}
	return 0;
}

int dump_core_init(struct dump_core *c, struct vm *vm, uint64_t first, uint64_t len, bool paging,
		   struct err *e)
{
	const struct map_view *view = map_view(vm->map);

	*c = (struct dump_core){ .pieces = xnew_n(struct dump_piece, view->n[MAP_MEM] + 1),
				 .nr_cpus = vm->nr_vcpus };
	for (size_t i = 0; i < view->n[MAP_MEM]; i++) {
		const struct map_range *r = &view->range[MAP_MEM][i];
		struct dump_piece p = { .gpa = r->first,
					.len = r->last - r->first + 1,
					.rb = r->region->rb,
					.off = r->region->rb_off + (r->first - r->addr) };

		if (r->region->kind != MAP_IO && clip(&p, first, len))
			add_piece(c, p);
	}
	if (!c->n)
		return err_set(e, EINVAL, "the guest has no memory there");
	if (paging && find_spaces(c, vm, e) < 0)
		return -EIO;
	return arch_core_notes(vm, &c->notes, &c->notes_len, e);
}

void dump_core_fini(struct dump_core *c)
{
	free(c->pieces);
	free(c->notes);
	free(c->spaces);
	free(c->loads);
	*c = (struct dump_core){ .n = 0 };
}

uint64_t dump_core_bytes(const struct dump_core *c)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < c->n; i++)
		sum += c->pieces[i].len;
	return sum;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting exits (exits.h), and the report.
 *
 * The tables are those of Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and
 * Top-k Elements in Data Streams" (space-saving), one for each set of a hash table so that an exit
 * looks at four entries: a new key takes the place of the rarest, and its count, which is so too
 * high by at most what it inherited. A guest that makes exits with ever new keys moves entries
 * around and allocates nothing.
 *
 * Readers copy an entry and look at its version before and after; one that keeps moving is left
 * out of the report.
 */
#include "base/base.h"
#include "base/clock.h"
#include "core/exits.h"
#include "core/vm.h"
#include <stdio.h>

#define READ_TRIES 16
#define CODE_LINES 20

static const char *const names[EXIT_NR] = {
	[EXIT_PORT_READ] = "port-read",
	[EXIT_PORT_WRITE] = "port-write",
	[EXIT_MMIO_READ] = "mmio-read",
	[EXIT_MMIO_WRITE] = "mmio-write",
	[EXIT_RDMSR] = "rdmsr",
	[EXIT_WRMSR] = "wrmsr",
	[EXIT_RDMSR_REFUSED] = "rdmsr-refused",
	[EXIT_WRMSR_REFUSED] = "wrmsr-refused",
	[EXIT_CPUID] = "cpuid",
	[EXIT_HALT] = "halt",
	[EXIT_HYPERCALL] = "hypercall",
	[EXIT_KICK] = "kick",
	[EXIT_IRQ_WINDOW] = "irq-window",
	[EXIT_EOI] = "eoi",
	[EXIT_DIRTY_RING] = "dirty-ring",
	[EXIT_OTHER] = "other",
};

const char *exit_reason_name(enum exit_reason reason)
{
	return names[reason];
}

/* ---- counting ---- */

static uint64_t get(const _Atomic uint64_t *at)
{
	return atomic_load_explicit(at, memory_order_relaxed);
}

static void put(_Atomic uint64_t *at, uint64_t val)
{
	atomic_store_explicit(at, val, memory_order_relaxed);
}

static void add(_Atomic uint64_t *at, uint64_t val)
{
	put(at, get(at) + val);
}

static unsigned set_of(enum exit_reason reason, uint64_t where, uint64_t rip, unsigned sets)
{
	uint64_t h = (where ^ rip * 0xff51afd7ed558ccdull ^ reason) * 0x9e3779b97f4a7c15ull;

	return (unsigned)(h >> 32) & (sets - 1);
}

static void move_in(struct exit_entry *e, enum exit_reason reason, uint64_t where, uint64_t rip)
{
	uint32_t version = atomic_load_explicit(&e->version, memory_order_relaxed);

	atomic_store_explicit(&e->version, version + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&e->reason, reason, memory_order_relaxed);
	put(&e->where, where);
	put(&e->rip, rip);
	put(&e->inherited, get(&e->count));
	/* Costs differ between reasons, so those of the key before are not carried over. */
	put(&e->cycles, 0);
	atomic_store_explicit(&e->version, version + 2, memory_order_release);
}

static void count_in(struct exit_entry *set, enum exit_reason reason, uint64_t where, uint64_t rip,
		     uint64_t cycles)
{
	struct exit_entry *e = set;

	for (unsigned i = 0; i < EXIT_WAYS; i++) {
		if (get(&set[i].where) == where && get(&set[i].rip) == rip &&
		    atomic_load_explicit(&set[i].reason, memory_order_relaxed) == reason &&
		    get(&set[i].count)) {
			e = &set[i];
			goto found;
		}
		if (get(&set[i].count) < get(&e->count))
			e = &set[i];
	}
	move_in(e, reason, where, rip);
found:
	add(&e->count, 1);
	add(&e->cycles, cycles);
}

void exits_note(struct exits *x, enum exit_reason reason, uint64_t where, uint64_t rip,
		uint64_t cycles)
{
	add(&x->by_reason[reason].count, 1);
	add(&x->by_reason[reason].emulate, cycles);
	count_in(x->by_source[set_of(reason, where, 0, EXIT_SOURCE_SETS)], reason, where, 0,
		 cycles);
	count_in(x->by_code[set_of(reason, where, rip, EXIT_CODE_SETS)], reason, where, rip,
		 cycles);
}

/* ---- collecting ---- */

struct copy {
	enum exit_reason reason;
	uint64_t where, rip, count, cycles, inherited;
};

static bool read_entry(const struct exit_entry *e, struct copy *out)
{
	for (unsigned i = 0; i < READ_TRIES; i++) {
		uint32_t before = atomic_load_explicit(&e->version, memory_order_acquire);

		*out = (struct copy){ atomic_load_explicit(&e->reason, memory_order_relaxed),
				      get(&e->where),
				      get(&e->rip),
				      get(&e->count),
				      get(&e->cycles),
				      get(&e->inherited) };
		atomic_thread_fence(memory_order_acquire);
		if (!(before & 1) &&
		    atomic_load_explicit(&e->version, memory_order_relaxed) == before)
			return out->count;
	}
	return false;
}

static bool is_port(enum exit_reason reason)
{
	return reason == EXIT_PORT_READ || reason == EXIT_PORT_WRITE;
}

static bool is_mmio(enum exit_reason reason)
{
	return reason == EXIT_MMIO_READ || reason == EXIT_MMIO_WRITE;
}

/* Registers of one device are one row; everything else is its number. */
static void name_source(struct vm *vm, struct exit_row *row, uint64_t where)
{
	const struct map_range *r = NULL;

	row->first = row->last = where;
	if (is_port(row->reason) || is_mmio(row->reason))
		r = map_find(map_view(vm->map), is_port(row->reason) ? MAP_PIO : MAP_MEM, where);
	if (!r)
		return;
	snprintf(row->name, sizeof(row->name), "%s", r->region->name ?: "?");
	row->first = r->addr;
	row->last = r->addr + (r->region->size - 1);
}

static int by_key(const void *a, const void *b)
{
	const struct exit_row *x = a, *y = b;
	const uint64_t key[][2] = { { x->reason, y->reason },
				    { x->first, y->first },
				    { x->last, y->last },
				    { x->rip, y->rip } };

	for (size_t i = 0; i < ARRAY_SIZE(key); i++)
		if (key[i][0] != key[i][1])
			return key[i][0] < key[i][1] ? -1 : 1;
	return 0;
}

struct rows {
	struct exit_row *row;
	size_t n;
};

static void merge_rows(struct rows *all)
{
	size_t n = 0;

	qsort(all->row, all->n, sizeof(*all->row), by_key);
	for (size_t i = 0; i < all->n; i++) {
		const struct exit_row *from = &all->row[i];
		struct exit_row *to = n ? &all->row[n - 1] : NULL;

		if (!to || by_key(to, from)) {
			all->row[n++] = *from;
			continue;
		}
		to->count += from->count;
		to->inherited += from->inherited;
		to->emulate += from->emulate;
		if (from->trip && (!to->trip || from->trip < to->trip))
			to->trip = from->trip;
	}
	all->n = n;
}

static void add_reasons(struct rows *all, const struct exits *x)
{
	for (unsigned i = 0; i < EXIT_NR; i++) {
		struct exit_row row = { .reason = i,
					.count = get(&x->by_reason[i].count),
					.emulate = get(&x->by_reason[i].emulate),
					.trip = get(&x->by_reason[i].trip) };

		if (row.count)
			all->row[all->n++] = row;
	}
}

static void add_entries(struct rows *all, struct vm *vm, const struct exits *x,
			const struct exit_entry *e, size_t n, bool code)
{
	for (size_t i = 0; i < n; i++) {
		struct exit_row row = { 0 };
		struct copy c;

		if (!read_entry(&e[i], &c))
			continue;
		row.reason = c.reason;
		row.count = c.count;
		row.inherited = c.inherited;
		row.trip = get(&x->by_reason[c.reason].trip);
		/* What was inherited cost about as much each. */
		row.emulate = c.cycles / (c.count - c.inherited ?: 1) * c.count;
		row.rip = code ? c.rip : 0;
		name_source(vm, &row, c.where);
		all->row[all->n++] = row;
	}
}

static int by_cost(const void *a, const void *b)
{
	const struct exit_row *x = a, *y = b;

	return x->cost == y->cost ? 0 : x->cost < y->cost ? 1 : -1;
}

struct exit_row *exits_collect(struct vm *vm, enum exits_by by, size_t *n)
{
	static const size_t rows_of_vcpu[] = { EXIT_NR, EXIT_SOURCE_SETS * EXIT_WAYS,
					       EXIT_CODE_SETS * EXIT_WAYS };
	struct rows all = { .row = xcalloc(vm->nr_vcpus * rows_of_vcpu[by] + 1, sizeof(*all.row)) };

	for (unsigned i = 0; i < vm->nr_vcpus; i++) {
		const struct exits *x = &vm->vcpus[i]->exits;

		if (by == EXITS_BY_REASON)
			add_reasons(&all, x);
		else if (by == EXITS_BY_SOURCE)
			add_entries(&all, vm, x, x->by_source[0], rows_of_vcpu[by], false);
		else
			add_entries(&all, vm, x, x->by_code[0], rows_of_vcpu[by], true);
	}
	merge_rows(&all);
	for (size_t i = 0; i < all.n; i++)
		all.row[i].cost = all.row[i].emulate + all.row[i].count * all.row[i].trip;
	qsort(all.row, all.n, sizeof(*all.row), by_cost);
	*n = all.n;
	return all.row;
}

uint64_t exits_elapsed_ns(const struct vm *vm)
{
	return vm->nr_vcpus ? clock_now_ns() - vm->vcpus[0]->exits.since_ns : 0;
}

/* ---- the report ---- */

static void print_costs(FILE *f, const struct vm *vm, const struct exit_row *r, double seconds)
{
	double per_us = (double)(vm->tsc_khz ?: 1) / 1000, rate = (double)r->count / seconds;

	fprintf(f, "%-14s %12" PRIu64 " %10.1f %8" PRIu64 " %10.0f %9.3f%%", names[r->reason],
		r->count, rate, r->trip, (double)r->emulate / (double)r->count,
		(double)r->cost / per_us / 1e6 / seconds * 100);
}

static void print_source(FILE *f, const struct exit_row *r)
{
	if (is_port(r->reason) || is_mmio(r->reason))
		fprintf(f, "  %#" PRIx64 "-%#" PRIx64 " %s", r->first, r->last,
			r->name[0] ? r->name : "(nothing there)");
	else if (r->reason == EXIT_CPUID)
		fprintf(f, "  leaf %#" PRIx64, r->first);
	else if (r->reason >= EXIT_RDMSR && r->reason <= EXIT_WRMSR_REFUSED)
		fprintf(f, "  msr %#" PRIx64, r->first);
	else if (r->reason == EXIT_HYPERCALL)
		fprintf(f, "  number %" PRIu64, r->first);
}

static void print_section(FILE *f, struct vm *vm, enum exits_by by, size_t max, double seconds)
{
	size_t n;
	autofree struct exit_row *row = exits_collect(vm, by, &n);

	for (size_t i = 0; i < n && i < max; i++) {
		print_costs(f, vm, &row[i], seconds);
		if (by != EXITS_BY_REASON)
			print_source(f, &row[i]);
		if (by == EXITS_BY_CODE)
			fprintf(f, "  rip %#" PRIx64, row[i].rip);
		fputc('\n', f);
	}
	if (n > max)
		fprintf(f, "(and %zu more)\n", n - max);
}

char *exits_format(struct vm *vm, uint64_t elapsed_ns)
{
	static const char columns[] = "reason                count     rate/s exit+ent"
				      "    emulate       load\n";
	double seconds = (double)MAX(elapsed_ns, 1u) / 1e9;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return xstrdup("");
	fprintf(f,
		"Exits in %.1f s; costs in cycles (%" PRIu64 " MHz), load = rate * (exit + emulate"
		" + entry)\n%s",
		seconds, vm->tsc_khz / 1000, columns);
	print_section(f, vm, EXITS_BY_REASON, SIZE_MAX, seconds);
	fprintf(f, "\nby device or register\n%s", columns);
	print_section(f, vm, EXITS_BY_SOURCE, SIZE_MAX, seconds);
	fprintf(f, "\nby guest code\n%s", columns);
	print_section(f, vm, EXITS_BY_CODE, CODE_LINES, seconds);
	fclose(f);
	return text;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Counting exits: what is counted, what is bounded, how it is told (core/exits.h). */
#include "cmocka_all.h"
#include "base/clock.h"
#include "core/exits.h"
#include "core/vm.h"
#include <pthread.h>

static struct {
	struct vm vm;
	struct vcpu v[2], *vcpus[2];
	struct map_region uart, disk;
} * m;

static struct exits *x;

static uint64_t no_read(void *opaque, uint64_t off, unsigned size)
{
	return 0;
}

static void no_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
}

static int setup(void **state)
{
	static const struct io_ops ops = { no_read, no_write, 1, 4 };
	struct err e = { 0 };

	m = xcalloc(1, sizeof(*m));
	m->vcpus[0] = &m->v[0];
	m->vcpus[1] = &m->v[1];
	m->vm = (struct vm){
		.map = map_new(&e), .vcpus = m->vcpus, .nr_vcpus = 2, .tsc_khz = 2000000
	};
	m->uart = (struct map_region){
		.name = "uart", .space = MAP_PIO, .addr = 0x3f8, .size = 8, .ops = &ops
	};
	m->disk = (struct map_region){
		.name = "disk", .addr = 0xfe000000, .size = 0x1000, .ops = &ops
	};
	assert_int_equal(map_add(m->vm.map, &m->uart, &e), 0);
	assert_int_equal(map_add(m->vm.map, &m->disk, &e), 0);
	x = &m->v[0].exits;
	return 0;
}

static int teardown(void **state)
{
	map_del(m->vm.map, &m->uart);
	map_del(m->vm.map, &m->disk);
	map_free(m->vm.map);
	free(m);
	return 0;
}

static void reasons_by_cost(void **state)
{
	autofree struct exit_row *r = NULL;
	size_t n;

	for (unsigned i = 0; i < 10; i++)
		exits_note(x, EXIT_PORT_WRITE, 0x3f8, 0x1000, 7);
	exits_note_trip(x, EXIT_PORT_WRITE, 900);
	exits_note_trip(x, EXIT_PORT_WRITE, 100);
	exits_note_trip(x, EXIT_PORT_WRITE, 500);
	exits_note(x, EXIT_MMIO_READ, 0xfe000010, 0x1000, 5000);
	exits_note(&m->v[1].exits, EXIT_PORT_WRITE, 0x3f8, 0x1000, 8);
	r = exits_collect(&m->vm, EXITS_BY_REASON, &n);
	assert_int_equal(n, 2);
	assert_int_equal(r[0].reason, EXIT_MMIO_READ);
	assert_int_equal(r[0].cost, 5000);
	assert_int_equal(r[1].reason, EXIT_PORT_WRITE);
	assert_int_equal(r[1].count, 11);
	assert_int_equal(r[1].emulate, 78);
	assert_int_equal(r[1].trip, 100); /* the least */
	assert_int_equal(r[1].cost, 78 + 11 * 100);
}

/* Registers of one device are one row; what nobody claims and MSRs stand for themselves. */
static void devices(void **state)
{
	autofree struct exit_row *r = NULL;
	size_t n;

	exits_note(x, EXIT_PORT_WRITE, 0x3f8, 0x1000, 100);
	exits_note(x, EXIT_PORT_WRITE, 0x3fd, 0x1010, 100);
	exits_note(&m->v[1].exits, EXIT_PORT_WRITE, 0x3fb, 0x1020, 100);
	exits_note(x, EXIT_MMIO_WRITE, 0xfe000ffc, 0x1030, 50);
	exits_note(x, EXIT_PORT_WRITE, 0x80, 0x1040, 20);
	exits_note(x, EXIT_RDMSR_REFUSED, 0x1234, 0x1050, 10);
	r = exits_collect(&m->vm, EXITS_BY_SOURCE, &n);
	assert_int_equal(n, 4);
	assert_string_equal(r[0].name, "uart");
	assert_int_equal(r[0].first, 0x3f8);
	assert_int_equal(r[0].last, 0x3ff);
	assert_int_equal(r[0].count, 3);
	assert_int_equal(r[0].emulate, 300);
	assert_string_equal(r[1].name, "disk");
	assert_string_equal(r[2].name, "");
	assert_int_equal(r[2].first, 0x80);
	assert_int_equal(r[3].reason, EXIT_RDMSR_REFUSED);
	assert_int_equal(r[3].first, 0x1234);
}

static void guest_code(void **state)
{
	autofree struct exit_row *r = NULL;
	size_t n;

	exits_note(x, EXIT_PORT_WRITE, 0x3f8, 0xffffffff81000010, 10);
	exits_note(x, EXIT_PORT_WRITE, 0x3f9, 0xffffffff81000010, 10);
	exits_note(x, EXIT_PORT_WRITE, 0x3f8, 0xffffffff81000020, 10);
	r = exits_collect(&m->vm, EXITS_BY_CODE, &n);
	assert_int_equal(n, 2);
	assert_int_equal(r[0].rip, 0xffffffff81000010);
	assert_int_equal(r[0].count, 2);
	assert_string_equal(r[0].name, "uart");
	assert_int_equal(r[1].count, 1);
}

/* A guest that never does the same twice neither grows anything nor hides what is frequent. */
static void hostile_guest(void **state)
{
	autofree struct exit_row *r = NULL;
	uint64_t total = 0;
	size_t n;

	for (uint64_t i = 0; i < 200000; i++) {
		exits_note(x, EXIT_MMIO_READ, 0x100000000 + i * 64, i * 16, 10);
		exits_note(x, EXIT_MMIO_READ, 0xfe000000, 0x1000, 1000);
	}
	r = exits_collect(&m->vm, EXITS_BY_SOURCE, &n);
	assert_in_range(n, 1, EXIT_SOURCE_SETS * EXIT_WAYS);
	assert_string_equal(r[0].name, "disk");
	assert_int_equal(r[0].count - r[0].inherited, 200000);
	/* Each exit is counted once, whoever it is put down to. */
	for (size_t i = 0; i < n; i++)
		total += r[i].count;
	assert_int_equal(total, 400000);
}

static _Atomic bool stop;

static void *noisy(void *arg)
{
	for (uint64_t i = 0; !atomic_load(&stop); i++)
		exits_note(x, i & 1 ? EXIT_RDMSR : EXIT_MMIO_READ, i & 1 ? i : i << 32, i, 3);
	return NULL;
}

/* While others are replaced, a reader never sees one's number with another's reason. */
static void read_while_counting(void **state)
{
	pthread_t th;

	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&th, NULL, noisy, NULL), 0);
	for (unsigned i = 0; i < 200; i++) {
		autofree struct exit_row *r = NULL;
		size_t n;

		r = exits_collect(&m->vm, EXITS_BY_CODE, &n);
		for (size_t k = 0; k < n; k++) {
			assert_true(r[k].reason == EXIT_RDMSR || r[k].reason == EXIT_MMIO_READ);
			assert_int_equal(r[k].first,
					 r[k].reason == EXIT_RDMSR ? r[k].rip : r[k].rip << 32);
		}
	}
	atomic_store(&stop, true);
	pthread_join(th, NULL);
}

static void report(void **state)
{
	autofree char *text = NULL;

	for (unsigned i = 0; i < 2000; i++)
		exits_note(x, EXIT_PORT_WRITE, 0x3f8, 0xabc0, 400);
	exits_note_trip(x, EXIT_PORT_WRITE, 600);
	exits_note(x, EXIT_WRMSR_REFUSED, 0x4711, 0xdef0, 10);
	exits_note(x, EXIT_PORT_READ, 0x60, 0xdef4, 10);
	text = exits_format(&m->vm, 2 * NS_PER_SEC);
	/* 1000 a second at 1000 cycles each are 0.05 % of a processor of 2 GHz. */
	assert_non_null(strstr(text,
			       "port-write             2000     1000.0      600        400     "
			       "0.050%"));
	assert_non_null(strstr(text, "0x3f8-0x3ff uart"));
	assert_non_null(strstr(text, "msr 0x4711"));
	assert_non_null(strstr(text, "(nothing there)"));
	assert_non_null(strstr(text, "rip 0xabc0"));
}

static void reasons_have_names(void **state)
{
	for (unsigned i = 0; i < EXIT_NR; i++)
		assert_non_null(exit_reason_name(i));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(reasons_by_cost),	T(devices), T(guest_code),	   T(hostile_guest),
		T(read_while_counting), T(report),  T(reasons_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

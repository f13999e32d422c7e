/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF core files by the guest's own addresses: what several vCPUs' tables have in common and what
 * not, memory with holes, more segments than an ELF header can count, tables without end.
 */
#include "cmocka_all.h"
#include "arch/x86/show.h"
#include "base/base.h"
#include "base/bytes.h"
#include "isa/x86/x86.h"
#include "migr/dump_core.h"
#include <elf.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAM_SIZE MIB(4)
#define HOLE	 0x200000ull /* the page here is no memory */
#define PRESENT	 3u

struct guest {
	struct map *map;
	struct ram_block *ram;
	struct map_region low, high;
	struct dump_core c;
	atomic_bool cancel;
	struct err e;
};

static void add_ram(struct guest *g, struct map_region *r, uint64_t addr, uint64_t end)
{
	struct dump_piece *p = &g->c.pieces[g->c.n++];

	*r = (struct map_region){ .name = "ram",
				  .kind = MAP_RAM,
				  .addr = addr,
				  .size = end - addr,
				  .rb = g->ram,
				  .rb_off = addr };
	assert_int_equal(map_add(g->map, r, &g->e), 0);
	*p = (struct dump_piece){ .gpa = addr, .len = end - addr, .rb = g->ram, .off = addr };
}

static int setup(void **state)
{
	struct guest *g = xnew(struct guest);

	g->map = map_new(&g->e);
	g->ram = ram_new("ram", RAM_SIZE, &g->e);
	g->c.pieces = xnew_n(struct dump_piece, 2);
	g->c.spaces = xnew_n(struct arch_space, 2);
	g->c.notes = xnew_n(uint8_t, 16);
	g->c.notes_len = 16;
	add_ram(g, &g->low, 0, HOLE);
	add_ram(g, &g->high, HOLE + 0x1000, RAM_SIZE);
	for (uint64_t at = 0; at < RAM_SIZE; at += 8)
		st_le64(g->ram->host + at, at < 0x40000 ? 0 : at);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct guest *g = *state;

	dump_core_fini(&g->c);
	map_del(g->map, &g->low);
	map_del(g->map, &g->high);
	map_free(g->map);
	ram_free(g->ram);
	free(g);
	return 0;
}

static void set(struct guest *g, uint64_t table, unsigned index, uint64_t pte)
{
	st_le64(g->ram->host + table + index * 8, pte | PRESENT);
}

static void add_space(struct guest *g, uint64_t cr3)
{
	struct cpu_state *s = aligned_alloc(64, align_up(sizeof(*s), 64));
	struct paging p;

	memset(s, 0, sizeof(*s));
	s->cr0 = CR0_PE | CR0_PG;
	s->cr3 = cr3;
	s->cr4 = CR4_PAE;
	s->efer = EFER_LME | EFER_LMA;
	paging_of(&p, g->map, s);
	memcpy(g->c.spaces[g->c.nr_spaces++].word, &p, sizeof(p));
	free(s);
}

static int map(struct guest *g)
{
	g->e = (struct err){ 0 };
	return dump_core_map(&g->c, &g->cancel, &g->e);
}

static void check_loads(struct guest *g, const struct dump_load *want, size_t n)
{
	assert_int_equal(map(g), 0);
	assert_int_equal(g->c.nr_loads, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(g->c.loads[i].addr, want[i].addr);
		assert_int_equal(g->c.loads[i].gpa, want[i].gpa);
		assert_int_equal(g->c.loads[i].len, want[i].len);
	}
}

/* The file, by its addresses, against the guest's memory. */
static void check_file(struct guest *g)
{
	int fd = memfd_create("core", MFD_CLOEXEC);
	_Atomic uint64_t done = 0;
	struct migr_stream s;
	const Elf64_Ehdr *eh;
	const Elf64_Phdr *ph;
	struct stat st;
	uint8_t *file;
	size_t n;

	assert_int_equal(stream_init_take(&s, fd, &g->e), 0);
	assert_int_equal(dump_elf_write(&g->c, &s, &done, &g->e), 0);
	assert_int_equal(done, RAM_SIZE - 0x1000);
	assert_int_equal(fstat(fd, &st), 0);
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(file != MAP_FAILED);
	eh = (void *)file;
	ph = (void *)(file + eh->e_phoff);
	n = eh->e_phnum;
	if (n == PN_XNUM) {
		assert_int_equal(eh->e_shnum, 1);
		n = ((const Elf64_Shdr *)(file + eh->e_shoff))->sh_info;
		assert_int_equal(ph[0].p_offset, eh->e_shoff + sizeof(Elf64_Shdr));
	} else {
		assert_int_equal(eh->e_shoff, 0);
	}
	assert_int_equal(n, 1 + g->c.nr_loads);
	assert_int_equal(ph[0].p_type, PT_NOTE);
	assert_memory_equal(file + ph[0].p_offset, g->c.notes, 16);
	for (size_t i = 1; i < n; i++) {
		assert_true(i == 1 || ph[i].p_vaddr >= ph[i - 1].p_vaddr);
		assert_true(ph[i].p_offset + ph[i].p_filesz <= (uint64_t)st.st_size);
		assert_memory_equal(file + ph[i].p_offset, g->ram->host + ph[i].p_paddr,
				    ph[i].p_filesz);
	}
	munmap(file, (size_t)st.st_size);
	stream_fini(&s);
}

static void test_physical(void **state)
{
	struct guest *g = *state;

	check_loads(
		g,
		(struct dump_load[]){ { 0, 0, HOLE },
				      { HOLE + 0x1000, HOLE + 0x1000, RAM_SIZE - HOLE - 0x1000 } },
		2);
	check_file(g);
}

/* Two processes, one kernel that has memory at two places. */
static void test_two_spaces(void **state)
{
	struct guest *g = *state;
	uint64_t kernel = 0xffffff8000000000;

	set(g, 0x1000, 0, 0x3000); /* the first's lower half */
	set(g, 0x2000, 0, 0x4000); /* the second's */
	set(g, 0x1000, 511, 0x5000);
	set(g, 0x2000, 511, 0x5000);
	set(g, 0x5000, 0, 0x6000);
	set(g, 0x6000, 0, 0x000080);   /* 2 MiB, from 0 */
	set(g, 0x6000, 1, 0x200080);   /* and on, with the hole in it */
	set(g, 0x6000, 2, 0x400080);   /* no memory at all */
	set(g, 0x6000, 3, 0x100000);   /* a table */
	set(g, 0x100000, 511, 0x7000); /* the same memory once more */
	set(g, 0x3000, 0, 0x8000);
	set(g, 0x8000, 0, 0x9000);
	set(g, 0x9000, 0, 0x50000);
	set(g, 0x9000, 1, 0x52000);
	set(g, 0x4000, 0, 0xa000);
	set(g, 0xa000, 0, 0xb000);
	set(g, 0xb000, 0, 0x60000);
	set(g, 0xb000, 1, 0x52000);
	add_space(g, 0x1000);
	add_space(g, 0x2000);
	check_loads(g,
		    (struct dump_load[]){
			    { 0, 0x50000, 0x1000 },
			    { 0, 0x60000, 0x1000 },
			    { 0x1000, 0x52000, 0x1000 },
			    { kernel, 0, HOLE },
			    { kernel + HOLE + 0x1000, HOLE + 0x1000, RAM_SIZE - HOLE - 0x1000 },
			    { kernel + 0x7ff000, 0x7000, 0x1000 } },
		    6);
	check_file(g);
}

/* So many pages in turns: each a segment, more than 16 bits count. */
static void test_many(void **state)
{
	struct guest *g = *state;

	set(g, 0x1000, 0, 0x2000);
	set(g, 0x2000, 0, 0x3000);
	for (unsigned i = 0; i < 150; i++)
		set(g, 0x3000, i, 0x4000);
	for (unsigned i = 0; i < 512; i++)
		set(g, 0x4000, i, i % 2 ? 0x50000 : 0x52000);
	add_space(g, 0x1000);
	assert_int_equal(map(g), 0);
	assert_int_equal(g->c.nr_loads, 150 * 512);
	check_file(g);
}

static void test_endless(void **state)
{
	struct guest *g = *state;

	for (unsigned i = 0; i < 512; i++)
		set(g, 0x1000, i, 0x1000);
	add_space(g, 0x1000);
	assert_int_equal(map(g), -ENOBUFS);
	assert_non_null(strstr(g->e.msg, "without paging"));

	/* Such that lead to nothing. */
	g->c.nr_loads = 0;
	set(g, 0x1000, 0, 0x3000);
	for (unsigned i = 0; i < 512; i++) {
		set(g, 0x1000, i, 0x3000);
		set(g, 0x3000, i, 0x4000);
		set(g, 0x4000, i, 0x5000);
	}
	assert_int_equal(map(g), -E2BIG);
	assert_non_null(strstr(g->e.msg, "without paging"));
	atomic_store(&g->cancel, true);
	set(g, 0x5000, 0, 0x50000);
	assert_int_equal(map(g), -ECANCELED);
}

static void test_nowhere(void **state)
{
	struct guest *g = *state;

	set(g, 0x1000, 0, 0x2000);
	set(g, 0x2000, 0, 0x40000080); /* 1 GiB of no memory */
	add_space(g, 0x1000);
	assert_int_equal(map(g), -EINVAL);
	assert_non_null(strstr(g->e.msg, "without paging"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_physical, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_spaces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_endless, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nowhere, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Page tables as people are shown them, friendly ones and hostile ones; registers as text. */
#include "arch/x86/show.h"
#include "base/base.h"
#include "base/bytes.h"
#include "cmocka_all.h"
#include "isa/x86/x86.h"
#include <stdlib.h>

#define RAM_SIZE MIB(4)

struct machine {
	struct map *map;
	struct ram_block *ram;
	struct map_region region;
	struct cpu_state *s;
};

static int setup(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct err e = { 0 };

	m->map = map_new(&e);
	m->ram = ram_new("ram", RAM_SIZE, &e);
	m->region = (struct map_region){
		.name = "ram", .kind = MAP_RAM, .size = RAM_SIZE, .rb = m->ram
	};
	assert_int_equal(map_add(m->map, &m->region, &e), 0);
	m->s = aligned_alloc(64, align_up(sizeof(*m->s), 64));
	memset(m->s, 0, sizeof(*m->s));
	m->s->cr0 = CR0_PE | CR0_PG;
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	map_del(m->map, &m->region);
	map_free(m->map);
	ram_free(m->ram);
	free(m->s);
	free(m);
	return 0;
}

static void set(struct machine *m, uint64_t table, unsigned index, uint64_t pte)
{
	st_le64(m->ram->host + table + index * 8, pte);
}

static char *text_of(struct machine *m, void (*show)(const struct paging *, FILE *))
{
	struct paging p;
	size_t len;
	char *text;
	FILE *out = open_memstream(&text, &len);

	paging_of(&p, m->map, m->s);
	show(&p, out);
	fclose(out);
	return text;
}

static int find(struct machine *m, uint64_t addr, uint64_t *gpa, uint64_t *run)
{
	struct paging p;

	paging_of(&p, m->map, m->s);
	return paging_find(&p, addr, gpa, run);
}

static void four_levels(struct machine *m)
{
	m->s->cr3 = 0x1000;
	m->s->cr4 = CR4_PAE;
	m->s->efer = EFER_LME | EFER_LMA | EFER_NXE;
	set(m, 0x1000, 511, 0x2007); /* the upper half */
	set(m, 0x2000, 0, 0x3007);
	set(m, 0x3000, 0, 0x4007);
	set(m, 0x3000, 1, 0x2000e3 | BIT64(63)); /* 2 MiB */
	set(m, 0x4000, 0, 0x5067);
	set(m, 0x4000, 1, 0x6001);
}

static void test_long_mode(void **state)
{
	struct machine *m = *state;
	autofree char *tlb = NULL, *mem = NULL;
	uint64_t gpa, run;

	four_levels(m);
	tlb = text_of(m, show_tlb);
	mem = text_of(m, show_mem);
	assert_string_equal(tlb, "ffffff8000000000: 0000000000005000 ---DA--UW\n"
				 "ffffff8000001000: 0000000000006000 ---------\n"
				 "ffffff8000200000: 0000000000200000 X-PDA---W\n");
	assert_string_equal(mem, "ffffff8000000000-ffffff8000001000 0000000000001000 urw\n"
				 "ffffff8000001000-ffffff8000002000 0000000000001000 -r-\n"
				 "ffffff8000200000-ffffff8000400000 0000000000200000 -rw\n");
	assert_int_equal(find(m, 0xffffff8000001234, &gpa, &run), 0);
	assert_int_equal(gpa, 0x6234);
	assert_int_equal(run, 0x1000 - 0x234);
	assert_int_equal(find(m, 0xffffff8000212345, &gpa, &run), 0);
	assert_int_equal(gpa, 0x212345);
	assert_int_equal(find(m, 0xffffff8000003000, &gpa, &run), -EFAULT);
	assert_int_equal(find(m, 0x0000ff8000001234, &gpa, &run), -EFAULT); /* not canonical */
}

static void test_32_bit(void **state)
{
	struct machine *m = *state;
	uint64_t gpa, run;

	m->s->cr3 = 0x1000;
	m->s->cr4 = CR4_PSE;
	st_le32(m->ram->host + 0x1000 + 4 * 768, 0x00000083 | 1u << 13); /* PSE-36: 4 GiB */
	st_le32(m->ram->host + 0x1000, 0x2003);
	st_le32(m->ram->host + 0x2000 + 4, 0x3003);
	assert_int_equal(find(m, 0x1abc, &gpa, &run), 0);
	assert_int_equal(gpa, 0x3abc);
	assert_int_equal(find(m, 0xc0001000, &gpa, &run), 0);
	assert_int_equal(gpa, BIT64(32) + 0x1000);
	assert_int_equal(run, MIB(4) - 0x1000);
	assert_int_equal(find(m, BIT64(32) + 0x1abc, &gpa, &run), -EFAULT);
}

static void test_pae(void **state)
{
	struct machine *m = *state;
	autofree char *mem = NULL;
	uint64_t gpa, run;

	m->s->cr3 = 0x1020;
	m->s->cr4 = CR4_PAE;
	st_le64(m->ram->host + 0x1020 + 8 * 3, 0x2001);
	set(m, 0x2000, 1, 0x2000e3);
	assert_int_equal(find(m, 0xc0200010, &gpa, &run), 0);
	assert_int_equal(gpa, 0x200010);
	mem = text_of(m, show_mem);
	assert_string_equal(mem, "00000000c0200000-00000000c0400000 0000000000200000 -rw\n");
}

/* One page that is every table: 2^36 pages. */
static void test_endless(void **state)
{
	struct machine *m = *state;
	autofree char *tlb = NULL, *mem = NULL;

	four_levels(m);
	for (unsigned i = 0; i < 512; i++)
		set(m, 0x1000, i, 0x1003);
	tlb = text_of(m, show_tlb);
	mem = text_of(m, show_mem);
	assert_non_null(strstr(tlb, "... and more"));
	assert_non_null(strstr(mem, "... and more"));
	assert_true(strlen(tlb) < (PAGING_MAX_LINES + 2) * 48);
}

/* Tables where there is no memory, or a device. */
static void test_nowhere(void **state)
{
	struct machine *m = *state;
	autofree char *tlb = NULL;
	uint64_t gpa, run;

	four_levels(m);
	set(m, 0x1000, 511, 0x000ffffffffff007);
	tlb = text_of(m, show_tlb);
	assert_string_equal(tlb, "");
	assert_int_equal(find(m, 0xffffff8000001234, &gpa, &run), -EFAULT);
	m->s->cr3 = RAM_SIZE;
	assert_int_equal(find(m, 0, &gpa, &run), -EFAULT);
	m->s->cr0 = CR0_PE;
	assert_int_equal(find(m, 0x1234, &gpa, &run), 0);
	assert_int_equal(gpa, 0x1234);
}

static void test_registers(void **state)
{
	struct machine *m = *state;
	size_t len;
	autofree char *text = NULL;
	FILE *out = open_memstream(&text, &len);

	m->s->fsw = 5 << 11;
	m->s->st[0][0] = 0xab; /* ST(0) is register 5 */
	m->s->st[0][8] = 0xff;
	m->s->rflags = FLAG_R1 | FLAG_ZF | FLAG_CF;
	m->s->xcr0 = 7;
	m->s->vec[15][31] = 0x12;
	m->s->seg[SEG_CS].attr = SEG_P | SEG_S | 0xb | SEG_DB | SEG_G;
	m->s->tr.attr = SEG_P | 0xb;
	show_registers(out, m->s);
	fclose(out);
	assert_non_null(strstr(text, "RFL=00000043 [---Z--C]"));
	assert_non_null(strstr(text, "[ST=5]"));
	assert_non_null(strstr(text, "FPR5=00000000000000ab 00ff\n"));
	assert_non_null(strstr(text, "YMM15=1200000000000000 0000000000000000 "));
	assert_non_null(strstr(text, "00c09b00 DPL=0 CS32 [-RA]\n"));
	assert_non_null(strstr(text, "00008b00 DPL=0 TSS32-busy\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_long_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(test_32_bit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pae, setup, teardown),
		cmocka_unit_test_setup_teardown(test_endless, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nowhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kdump files of memory that no board lays out: pieces that begin and end inside pages, that share
 * one, that lie further apart than a block of the bitmaps reaches, memory that the host never gave.
 * The file is taken apart by a reader of its own.
 */
#include "cmocka_all.h"
#include "base/base.h"
#include "base/bytes.h"
#include "mem/map.h"
#include "migr/dump_core.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define PAGE 4096u
#define AWAY (5ull << 30) /* a bit of another block of the bitmaps */

static struct ram_block *block;
static uint8_t notes[5000]; /* more than one block of the file */

/* Byte for byte what the guest has there. */
static uint8_t guest_byte(const struct dump_core *c, uint64_t gpa)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct dump_piece *p = &c->pieces[i];

		if (p->gpa <= gpa && gpa - p->gpa < p->len)
			return p->rb->host[p->off + gpa - p->gpa];
	}
	return 0;
}

static bool guest_has(const struct dump_core *c, uint64_t frame)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct dump_piece *p = &c->pieces[i];

		if (p->gpa < (frame + 1) * PAGE && p->gpa + p->len > frame * PAGE)
			return true;
	}
	return false;
}

static void check_page(const struct dump_core *c, const uint8_t *file, size_t len,
		       const uint8_t *desc, uint64_t frame)
{
	uint64_t off = ld_le64(desc);
	uint32_t size = ld_le32(desc + 8), packed = ld_le32(desc + 12);
	uint8_t page[PAGE];
	uLongf out = PAGE;

	assert_true(off <= len && size <= len - off);
	if (packed)
		assert_int_equal(uncompress(page, &out, file + off, size), Z_OK);
	else
		memcpy(page, file + off, PAGE);
	assert_true(packed ? size < PAGE : size == PAGE);
	assert_int_equal(out, PAGE);
	for (unsigned i = 0; i < PAGE; i++)
		assert_int_equal(page[i], guest_byte(c, frame * PAGE + i));
}

static void check_file(const struct dump_core *c, const uint8_t *file, size_t len)
{
	uint32_t sub = ld_le32(file + 432), bitmaps = ld_le32(file + 436);
	uint64_t frames = ld_le64(file + PAGE + 96), pages = 0;
	const uint8_t *bits = file + (1 + sub) * PAGE, *desc = bits + bitmaps * PAGE;
	const struct dump_piece *last = &c->pieces[c->n - 1];

	assert_memory_equal(file, "KDUMP   ", 8);
	assert_int_equal(frames, (last->gpa + last->len + PAGE - 1) / PAGE);
	assert_int_equal(ld_le64(file + PAGE + 56), c->notes_len);
	assert_memory_equal(file + ld_le64(file + PAGE + 48), c->notes, c->notes_len);
	assert_memory_equal(bits, bits + bitmaps / 2 * PAGE, bitmaps / 2 * PAGE);
	for (uint64_t i = 0; i < bitmaps / 2 * PAGE * 8; i++) {
		bool set = bits[i / 8] >> (i % 8) & 1;

		assert_int_equal(set, guest_has(c, i));
		if (set)
			check_page(c, file, len, desc + 24 * pages++, i);
	}
	assert_int_equal(pages * PAGE, dump_kdump_bytes(c));
}

static void write_and_check(const struct dump_core *c, unsigned skip)
{
	int fd = memfd_create("kdump", MFD_CLOEXEC);
	struct err e = { 0 };
	struct migr_stream s;
	_Atomic uint64_t done = 0;
	struct stat st;
	uint8_t *file;

	assert_true(fd >= 0);
	assert_int_equal(lseek(fd, skip, SEEK_SET), skip);
	assert_int_equal(stream_init_take(&s, fd, &e), 0);
	if (dump_kdump_write(c, false, &s, &done, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(done, dump_kdump_bytes(c));
	assert_int_equal(fstat(fd, &st), 0);
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(file != MAP_FAILED);
	check_file(c, file + skip, (size_t)st.st_size - skip);
	munmap(file, (size_t)st.st_size);
	stream_fini(&s);
}

static void odd_pieces(void **state)
{
	struct dump_piece all[] = {
		/* not from the beginning of a page */
		{ .gpa = 0x123, .len = PAGE, .off = 0x123 },
		/* shares the second page with it, and is less than one */
		{ .gpa = 0x1200, .len = 0x100, .off = 0x9000 },
		{ .gpa = 0x1300, .len = 0x3000, .off = 0x9100 },
		/* a hole of pages, then whole ones of which most were never touched */
		{ .gpa = 0x10000, .len = 0x40000, .off = 0x20000 },
		{ .gpa = AWAY, .len = 2 * PAGE, .off = 0x5000 },
		{ .gpa = AWAY + 3 * PAGE - 1, .len = 1, .off = 0 },
	};
	struct dump_core c = { .notes = notes, .notes_len = sizeof(notes), .nr_cpus = 3 };

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		all[i].rb = block;
	for (size_t first = 0; first < ARRAY_SIZE(all); first++)
		for (size_t end = first + 1; end <= ARRAY_SIZE(all); end++) {
			c.pieces = all + first;
			c.n = end - first;
			write_and_check(&c, first ? 0 : 512);
		}
}

static void no_order(void **state)
{
	struct dump_piece p = { .len = PAGE, .rb = block };
	struct dump_core c = { .pieces = &p, .n = 1, .notes = notes, .notes_len = 16 };
	_Atomic uint64_t done = 0;
	struct migr_stream s;
	struct err e = { 0 };
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(stream_init_take(&s, fds[1], &e), 0);
	assert_int_equal(dump_kdump_write(&c, false, &s, &done, &e), -ESPIPE);
	stream_fini(&s);
	close(fds[0]);

	fds[0] = memfd_create("append", MFD_CLOEXEC);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_APPEND), 0);
	assert_int_equal(stream_init_take(&s, fds[0], &e), 0);
	assert_int_equal(dump_kdump_write(&c, false, &s, &done, &e), -ESPIPE);
	stream_fini(&s);
	assert_int_equal(done, 0);
}

static int setup(void **state)
{
	struct err e = { 0 };
	uint32_t x = 1;

	block = ram_new_with("kdump", 0x80000, &(struct ram_options){ .share = true }, &e);
	if (!block)
		fail_msg("%s", e.msg);
	for (unsigned i = 0; i < 0x24000; i++) {
		x = x * 1103515245 + 12345;
		/* noise, then text, then pages that were written with zeroes */
		block->host[i] = i < 0x8000    ? (uint8_t)(x >> 16)
				 : i < 0x22000 ? (uint8_t)(i / 100)
					       : 0;
	}
	block->host[0x3f800] = 1;
	for (unsigned i = 0; i < sizeof(notes); i++)
		notes[i] = (uint8_t)(i * 7);
	return 0;
}

static int teardown(void **state)
{
	block = ram_free(block);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(odd_pieces),
		cmocka_unit_test(no_order),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's memory in kdump's compressed format, version 6, as makedumpfile, crash and drgn read
 * it: headers with the vCPUs' registers, a bit for each page that is there (twice), a descriptor
 * for each of these, and the pages themselves, each packed by zlib where that makes it smaller.
 *
 * The descriptors say how long each page became, and stand in front of them: the file is not made
 * from its beginning to its end. A pipe takes it "flattened": pieces, each behind where in the
 * file it belongs.
 *
 * Source: makedumpfile, IMPLEMENTATION, diskdump_mod.h and makedumpfile.h (struct
 * makedumpfile_header); what QEMU writes. State: none that is saved.
 */
#include "base/base.h"
#include "base/bytes.h"
#include "mem/map.h"
#include "migr/dump_core.h"
#include <zlib.h>

#define PAGE	      4096u
#define STEP	      (64u << 10)
#define NO_PAGE	      UINT64_MAX
#define BITS	      (PAGE * 8u) /* of one block of the bitmaps */
#define VERSION	      6u
#define PACKED_ZLIB   1u
#define WITHOUT_ZEROS 1u /* a dump level: pages of zeroes are not kept one by one */
#define FLAT_HEAD_LEN 4096u
#define FLAT_TYPE     1u
#define FLAT_VERSION  1u

/* struct disk_dump_header of x86-64 */
struct main_header {
	char signature[8];
	uint32_t version;
	char sysname[65], nodename[65], release[65], kernel[65], machine[65], domain[65];
	uint64_t timestamp[2]; /* seconds, microseconds */
	uint32_t status, block_size;
	uint32_t sub_blocks, bitmap_blocks; /* both bitmaps together */
	uint32_t max_frames;		    /* the low part of the sub header's */
	uint32_t ram_blocks, device_blocks, written_blocks, current_cpu, nr_cpus;
};
static_assert(offsetof(struct main_header, status) == 424 && sizeof(struct main_header) == 464,
	      "disk_dump_header");

/* struct kdump_sub_header; the notes follow it */
struct sub_header {
	uint64_t phys_base; /* crash finds it by the notes */
	uint32_t dump_level, split;
	uint64_t first_frame, end_frame;
	uint64_t info_off, info_len;
	uint64_t notes_off, notes_len;
	uint64_t erased_off, erased_len;
	uint64_t first_frame_64, end_frame_64, max_frames;
};
static_assert(sizeof(struct sub_header) == 104, "kdump_sub_header");

/* struct page_desc */
struct page_desc {
	uint64_t off;
	uint32_t len, packed;
	uint64_t page_flags;
};
static_assert(sizeof(struct page_desc) == 24, "page_desc");

/* A part of the file that grows. */
struct lane {
	uint64_t off; /* of buf in the file */
	size_t len;
	uint8_t buf[STEP];
};

struct kdump {
	const struct dump_core *core;
	struct migr_stream *s;
	bool flat;
	uint64_t base;	 /* not flat: where the file begins */
	uint64_t frames; /* the highest page and one */
	uint64_t sub_blocks, bitmap_blocks;
	struct lane front, back;
	z_stream z;
	uint64_t empty; /* nothing in the piece's block up to here */
	uint8_t page[PAGE], packed[PAGE];
};

/* ---- the file ---- */

static int put(struct kdump *k, uint64_t off, const void *p, size_t len, struct err *e)
{
	uint8_t head[16];
	struct iovec iov[] = { { head, sizeof(head) }, { (void *)p, len } };
	int ret;

	if (k->flat) {
		st_be64(head, off);
		st_be64(head + 8, len);
		return stream_writev(k->s, iov, ARRAY_SIZE(iov), e);
	}
	ret = stream_seek(k->s, k->base + off, e);
	return ret < 0 ? ret : stream_write(k->s, p, len, e);
}

static int flat_begin(struct kdump *k, struct err *e)
{
	uint8_t head[FLAT_HEAD_LEN] = "makedumpfile";

	st_be64(head + 16, FLAT_TYPE);
	st_be64(head + 24, FLAT_VERSION);
	return stream_write(k->s, head, sizeof(head), e);
}

static int flat_end(struct kdump *k, struct err *e)
{
	uint8_t end[16];

	memset(end, 0xff, sizeof(end));
	return stream_write(k->s, end, sizeof(end), e);
}

static int lane_flush(struct kdump *k, struct lane *l, struct err *e)
{
	int ret = l->len ? put(k, l->off, l->buf, l->len, e) : 0;

	l->off += l->len;
	l->len = 0;
	return ret;
}

static int lane_add(struct kdump *k, struct lane *l, const void *p, size_t len, struct err *e)
{
	int ret = l->len + len > sizeof(l->buf) ? lane_flush(k, l, e) : 0;

	if (ret < 0)
		return ret;
	memcpy(l->buf + l->len, p, len);
	l->len += len;
	return 0;
}

static int flush_both(struct kdump *k, struct err *e)
{
	int ret = lane_flush(k, &k->front, e);

	return ret < 0 ? ret : lane_flush(k, &k->back, e);
}

/* ---- which pages there are ---- */

static uint64_t first_frame(const struct dump_piece *p)
{
	return p->gpa / PAGE;
}

static uint64_t last_frame(const struct dump_piece *p)
{
	return (p->gpa + p->len - 1) / PAGE;
}

/* The first page from frame on of which something is there; *i: the piece that it begins in. */
static uint64_t next_frame(const struct dump_core *c, size_t *i, uint64_t frame)
{
	for (; *i < c->n; ++*i)
		if (frame <= last_frame(&c->pieces[*i]))
			return MAX(frame, first_frame(&c->pieces[*i]));
	return NO_PAGE;
}

uint64_t dump_kdump_bytes(const struct dump_core *c)
{
	uint64_t next = 0, pages = 0;

	for (size_t i = 0; i < c->n; i++) {
		uint64_t from = MAX(next, first_frame(&c->pieces[i]));

		next = last_frame(&c->pieces[i]) + 1;
		pages += next - from;
	}
	return pages * PAGE;
}

/* ---- the parts ---- */

static int write_headers(struct kdump *k, struct err *e)
{
	const struct dump_core *c = k->core;
	size_t len = (1 + k->sub_blocks) * PAGE;
	autofree uint8_t *head = xnew_n(uint8_t, len);
	struct main_header *h = (void *)head;
	struct sub_header *sub = (void *)(head + PAGE);

	*h = (struct main_header){
		.signature = { 'K', 'D', 'U', 'M', 'P', ' ', ' ', ' ' },
		.version = VERSION,
		/* Nobody knows which, but libkdumpfile (drgn) takes no machine without a system. */
		.sysname = "Linux",
		.nodename = "?",
		.release = "?",
		.kernel = "?",
		.machine = "x86_64",
		.status = PACKED_ZLIB,
		.block_size = PAGE,
		.sub_blocks = (uint32_t)k->sub_blocks,
		.bitmap_blocks = (uint32_t)(2 * k->bitmap_blocks),
		.max_frames = (uint32_t)MIN(k->frames, (uint64_t)UINT32_MAX),
		.nr_cpus = c->nr_cpus,
	};
	*sub = (struct sub_header){
		.dump_level = WITHOUT_ZEROS,
		.notes_off = PAGE + sizeof(*sub),
		.notes_len = c->notes_len,
		.max_frames = k->frames,
	};
	memcpy(sub + 1, c->notes, c->notes_len);
	return put(k, 0, head, len, e);
}

/* The bits of a block that begins with first. */
static void find_bits(const struct dump_core *c, uint64_t first, uint8_t *bits)
{
	memset(bits, 0, PAGE);
	for (size_t i = 0; i < c->n; i++) {
		uint64_t from = MAX(first_frame(&c->pieces[i]), first);
		uint64_t to = MIN(last_frame(&c->pieces[i]), first + BITS - 1);

		for (; from <= to; from++)
			bits[(from - first) / 8] |= (uint8_t)(1u << from % 8);
	}
}

/* The pages that the machine has, and those that the file has: the same. */
static int write_bitmaps(struct kdump *k, struct err *e)
{
	k->front.off = (1 + k->sub_blocks) * PAGE;
	k->back.off = k->front.off + k->bitmap_blocks * PAGE;
	for (uint64_t i = 0; i < k->bitmap_blocks; i++) {
		int ret;

		find_bits(k->core, i * BITS, k->page);
		ret = lane_add(k, &k->front, k->page, PAGE, e);
		if (ret == 0)
			ret = lane_add(k, &k->back, k->page, PAGE, e);
		if (ret < 0)
			return ret;
	}
	return flush_both(k, e);
}

/* A page that more than one piece, or not all of one, has a part in. */
static const uint8_t *compose(struct kdump *k, size_t i, uint64_t addr)
{
	const struct dump_core *c = k->core;

	memset(k->page, 0, PAGE);
	for (; i < c->n && c->pieces[i].gpa < addr + PAGE; i++) {
		const struct dump_piece *p = &c->pieces[i];
		uint64_t from = MAX(p->gpa, addr), end = MIN(p->gpa + p->len, addr + PAGE);

		memcpy(k->page + (from - addr), p->rb->host + p->off + (from - p->gpa), end - from);
	}
	return k->page;
}

/* A page that begins in piece i. NULL: it is zero. */
static const uint8_t *find_page(struct kdump *k, size_t i, uint64_t frame)
{
	const struct dump_piece *p = &k->core->pieces[i];
	uint64_t addr = frame * PAGE, off = p->off + (addr - p->gpa);
	const uint8_t *page;

	if (addr < p->gpa || addr + PAGE > p->gpa + p->len) {
		page = compose(k, i, addr);
		return is_zero(page, PAGE) ? NULL : page;
	}
	/* What was never touched stays so. */
	if (off % STEP == 0)
		k->empty = ram_next_data(p->rb, off);
	page = p->rb->host + off;
	return off + PAGE <= k->empty || is_zero(page, PAGE) ? NULL : page;
}

/* Into k->packed; 0: it does not become smaller. */
static uint32_t pack(struct kdump *k, const uint8_t *page)
{
	z_stream *z = &k->z;

	if (deflateReset(z) != Z_OK)
		return 0;
	z->next_in = (uint8_t *)page;
	z->avail_in = PAGE;
	z->next_out = k->packed;
	z->avail_out = PAGE - 1;
	return deflate(z, Z_FINISH) == Z_STREAM_END ? (uint32_t)z->total_out : 0;
}

static int write_page(struct kdump *k, const uint8_t *page, uint64_t zero_off, struct err *e)
{
	struct page_desc d = { .off = zero_off, .len = PAGE };
	int ret = 0;

	if (page) {
		uint32_t len = pack(k, page);

		d = (struct page_desc){ .off = k->back.off + k->back.len,
					.len = len ?: PAGE,
					.packed = len ? PACKED_ZLIB : 0 };
		ret = lane_add(k, &k->back, len ? k->packed : page, d.len, e);
	}
	return ret < 0 ? ret : lane_add(k, &k->front, &d, sizeof(d), e);
}

static int write_pages(struct kdump *k, _Atomic uint64_t *done, struct err *e)
{
	const struct dump_core *c = k->core;
	uint64_t descs = (1 + k->sub_blocks + 2 * k->bitmap_blocks) * PAGE;
	uint64_t zero = descs + dump_kdump_bytes(c) / PAGE * sizeof(struct page_desc);
	size_t i = 0, last = 0;
	int ret;

	k->front.off = descs;
	k->back.off = zero;
	memset(k->page, 0, PAGE);
	ret = lane_add(k, &k->back, k->page, PAGE, e);
	for (uint64_t at = next_frame(c, &i, 0); ret == 0 && at != NO_PAGE;
	     at = next_frame(c, &i, at + 1)) {
		if (i != last)
			k->empty = 0;
		last = i;
		ret = write_page(k, find_page(k, i, at), zero, e);
		atomic_fetch_add(done, PAGE);
	}
	return ret < 0 ? ret : flush_both(k, e);
}

int dump_kdump_write(const struct dump_core *c, bool flat, struct migr_stream *s,
		     _Atomic uint64_t *done, struct err *e)
{
	autofree struct kdump *k = xnew(struct kdump);
	int ret = flat ? 0 : stream_tell(s, &k->base, e);

	if (ret < 0)
		return ret;
	k->core = c;
	k->s = s;
	k->flat = flat;
	k->frames = last_frame(&c->pieces[c->n - 1]) + 1;
	k->sub_blocks = align_up(sizeof(struct sub_header) + c->notes_len, PAGE) / PAGE;
	k->bitmap_blocks = align_up(k->frames, BITS) / BITS;
	if (deflateInit(&k->z, Z_BEST_SPEED) != Z_OK)
		return err_set(e, ENOMEM, "zlib cannot start");
	if (flat)
		ret = flat_begin(k, e);
	if (ret == 0)
		ret = write_headers(k, e);
	if (ret == 0)
		ret = write_bitmaps(k, e);
	if (ret == 0)
		ret = write_pages(k, done, e);
	if (ret == 0 && flat)
		ret = flat_end(k, e);
	deflateEnd(&k->z);
	return ret;
}

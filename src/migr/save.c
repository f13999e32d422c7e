/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a machine: header and state (small, made at once on the control thread), then RAM
 * (large, by a worker while the machine stands still). Format: format.h, docs/state.md.
 */
#include "base/base.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "core/accel.h"
#include "core/arch.h"
#include "core/dev.h"
#include "core/vm.h"
#include "migr/clock_state.h"
#include "migr/desc.h"
#include "migr/format.h"

static void put(struct state_buf *b, const void *p, size_t n)
{
	if (b->cap - b->len < n) {
		b->cap = MAX(b->cap * 2, b->len + n + 4096);
		b->data = xrealloc(b->data, b->cap, 1);
	}
	memcpy(b->data + b->len, p, n);
	b->len += n;
}

void section_encode(uint8_t *head, enum fmt_section kind, uint64_t len, uint32_t crc)
{
	st_le32(head, FMT_SECTION_MAGIC);
	st_le32(head + 4, (uint32_t)kind);
	st_le64(head + 8, len);
	st_le32(head + 16, crc);
	st_le32(head + 20, 0);
	st_le32(head + 24, crc32c(0, head, 24));
}

static void put_header(struct state_buf *b, struct vm *vm, const char *run_state)
{
	uint8_t head[FMT_HEADER_LEN] = FMT_MAGIC, crc[4];
	struct migr_text text = { 0 };

	desc_machine(vm, run_state, &text);
	st_le32(head + 8, FMT_VERSION);
	put(b, head, sizeof(head));
	text_encode(&text, b);
	st_le32(b->data + 12, (uint32_t)(b->len - FMT_HEADER_LEN));
	st_le32(crc, crc32c(0, b->data, b->len));
	put(b, crc, sizeof(crc));
	text_fini(&text);
}

static int put_object(void *arg, const char *id, const struct state_desc *d, void *obj,
		      struct err *e)
{
	state_save(arg, id, d, obj);
	return 0;
}

static void put_devices(struct vm *vm, struct state_buf *b)
{
	autofree struct dev **all = NULL;
	size_t n = dev_list(vm, &all);

	for (size_t i = 0; i < n; i++) {
		pthread_mutex_lock(&all[i]->lock);
		if (all[i]->type->state)
			state_save(b, all[i]->path, all[i]->type->state, all[i]);
		pthread_mutex_unlock(&all[i]->lock);
	}
}

/* The objects, in the order in which load_apply() wants them. */
static int put_objects(struct vm *vm, struct state_buf *b, struct err *e)
{
	struct clock_state clock = { .host_ns = vm->stopped_ns,
				     .host_tsc = vm->stopped_tsc,
				     .wall_ns = clock_ns_of(CLOCK_REALTIME),
				     .tsc_khz = vm->tsc_khz };
	int ret = arch_state_collect(vm, e);

	state_save(b, "clock", &clock_state, &clock);
	if (ret == 0)
		ret = arch_state_visit(vm, put_object, b, e);
	if (ret == 0)
		put_devices(vm, b);
	arch_state_release(vm);
	return ret;
}

int save_state(struct vm *vm, const char *run_state, struct state_buf *out, struct err *e)
{
	uint8_t head[FMT_SECTION_LEN] = { 0 };
	size_t at;
	int ret;

	put_header(out, vm, run_state);
	at = out->len;
	put(out, head, sizeof(head));
	ret = put_objects(vm, out, e);
	if (ret < 0)
		return ret;
	section_encode(out->data + at, FMT_STATE, out->len - at - FMT_SECTION_LEN,
		       crc32c(0, out->data + at + FMT_SECTION_LEN,
			      out->len - at - FMT_SECTION_LEN));
	return 0;
}

/* ---- RAM ---- */

struct chunk {
	uint8_t head[FMT_PAGE];
	struct iovec iov[1 + FMT_CHUNK_PAGES]; /* head, then runs of pages */
	unsigned niov, pages;
	uint32_t crc;
};

static void chunk_add_page(struct chunk *c, unsigned bit, uint8_t *page)
{
	struct iovec *last = &c->iov[c->niov - 1];

	c->head[CHUNK_MAP + bit / 8] |= (uint8_t)(1u << bit % 8);
	c->crc = crc32c(c->crc, page, FMT_PAGE);
	c->pages++;
	if (c->niov > 1 && (uint8_t *)last->iov_base + last->iov_len == page)
		last->iov_len += FMT_PAGE;
	else
		c->iov[c->niov++] = (struct iovec){ page, FMT_PAGE };
}

static int chunk_write(struct chunk *c, struct migr_stream *s, uint32_t block, uint64_t first,
		       struct err *e)
{
	st_le32(c->head + CHUNK_MAGIC, FMT_CHUNK_MAGIC);
	st_le32(c->head + CHUNK_BLOCK, block);
	st_le32(c->head + CHUNK_PAGES, c->pages);
	st_le64(c->head + CHUNK_FIRST, first);
	st_le32(c->head + CHUNK_DATA_CRC, c->crc);
	st_le32(c->head + CHUNK_CRC, crc32c(0, c->head, FMT_PAGE));
	return stream_writev(s, c->iov, c->niov, e);
}

static void chunk_begin(struct chunk *c)
{
	memset(c->head, 0, sizeof(c->head));
	c->iov[0] = (struct iovec){ c->head, FMT_PAGE };
	c->niov = 1;
	c->pages = 0;
	c->crc = 0;
}

static int save_chunk(struct ram_block *rb, uint64_t first, struct chunk *c, struct migr_stream *s,
		      struct ram_count *count, struct err *e)
{
	uint64_t pages = MIN((uint64_t)FMT_CHUNK_PAGES, rb->size / FMT_PAGE - first);
	int ret = 0;

	chunk_begin(c);
	for (unsigned i = 0; i < pages; i++) {
		uint8_t *page = rb->host + (first + i) * FMT_PAGE;

		if (!is_zero(page, FMT_PAGE))
			chunk_add_page(c, i, page);
	}
	if (c->pages)
		ret = chunk_write(c, s, 0, first, e);
	atomic_fetch_add(&count->done, pages * FMT_PAGE);
	atomic_fetch_add(&count->normal, c->pages);
	atomic_fetch_add(&count->zero, pages - c->pages);
	return ret;
}

static int save_block(struct ram_block *rb, struct chunk *c, struct migr_stream *s,
		      struct ram_count *count, struct err *e)
{
	uint64_t page = 0;

	while (page < rb->size / FMT_PAGE) {
		/* What was never touched reads as zeroes: not looking keeps it untouched. */
		uint64_t next = align_down(ram_next_data(rb, page * FMT_PAGE),
					   (uint64_t)FMT_CHUNK_PAGES * FMT_PAGE) /
				FMT_PAGE;
		int ret;

		if (next > page) {
			next = MIN(next, rb->size / FMT_PAGE);
			atomic_fetch_add(&count->done, (next - page) * FMT_PAGE);
			atomic_fetch_add(&count->zero, next - page);
			page = next;
			continue;
		}
		ret = save_chunk(rb, page, c, s, count, e);
		if (ret < 0)
			return ret;
		page += FMT_CHUNK_PAGES;
	}
	return 0;
}

static int pad_to_page(struct migr_stream *s, struct err *e)
{
	static const uint8_t zeroes[FMT_PAGE];
	uint64_t pos = atomic_load(&s->pos);

	return stream_write(s, zeroes, align_up(pos, FMT_PAGE) - pos, e);
}

int save_ram(struct vm *vm, struct migr_stream *s, struct ram_count *count, struct err *e)
{
	autofree struct chunk *c = xnew(struct chunk);
	uint8_t head[FMT_SECTION_LEN];
	int ret;

	atomic_store(&count->total, vm->ram->size);
	section_encode(head, FMT_RAM, 0, 0);
	ret = stream_write(s, head, sizeof(head), e);
	if (ret == 0)
		ret = pad_to_page(s, e);
	if (ret == 0)
		ret = save_block(vm->ram, c, s, count, e);
	if (ret < 0)
		return ret;
	chunk_begin(c);
	ret = chunk_write(c, s, 0, 0, e);
	if (ret < 0)
		return ret;
	section_encode(head, FMT_END, atomic_load(&s->pos), 0);
	return stream_write(s, head, sizeof(head), e);
}

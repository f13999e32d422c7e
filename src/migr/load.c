/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a machine. The stream may come from anyone: each part is checked against its checksum
 * and against this machine before it is used, sizes are bounded by the machine, never by the
 * stream, and RAM's chunks must ascend, so that no page is written twice. Format: format.h.
 */
#include "base/base.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "core/arch.h"
#include "core/dev.h"
#include "core/vm.h"
#include "migr/clock_state.h"
#include "migr/format.h"

#define READ_STEP KIB(256) /* memory is taken as the bytes come */

void load_fini(struct load *l)
{
	text_fini(&l->text);
	free(take_ptr(l->state));
	l->state_len = 0;
}

static int damaged(const char *what, uint64_t at, struct err *e)
{
	return err_set(e, EINVAL, "the saved machine is damaged: %s (at byte %" PRIu64 ")", what,
		       at);
}

/* len bytes in steps, so that a false length costs no memory. */
static int read_growing(struct migr_stream *s, uint64_t len, uint8_t **out, struct err *e)
{
	uint8_t *buf = NULL;
	uint64_t have = 0;
	int ret = 0;

	while (have < len && ret == 0) {
		uint64_t n = MIN(len - have, READ_STEP);

		buf = xrealloc(buf, have + n, 1);
		ret = stream_read(s, buf + have, n, e);
		have += n;
	}
	if (ret < 0)
		free(take_ptr(buf));
	*out = buf;
	return ret;
}

int load_head(struct migr_stream *s, struct migr_text *out, struct err *e)
{
	uint8_t head[FMT_HEADER_LEN], crc[4];
	autofree uint8_t *text = NULL;
	uint32_t len, version;
	int ret = stream_read(s, head, sizeof(head), e);

	if (ret < 0)
		return ret;
	if (memcmp(head, FMT_MAGIC, 8) != 0)
		return err_set(e, EINVAL, "this is no machine that hanok saved");
	version = ld_le32(head + 8);
	len = ld_le32(head + 12);
	if (version != FMT_VERSION)
		return err_set(e, EINVAL,
			       "the saved machine has format version %" PRIu32
			       ", this hanok knows %u; load it with the version that saved it",
			       version, FMT_VERSION);
	if (len > MIGR_TEXT_MAX)
		return damaged("its header is too long", 12, e);
	ret = read_growing(s, len, &text, e);
	if (ret == 0)
		ret = stream_read(s, crc, sizeof(crc), e);
	if (ret < 0)
		return ret;
	if (crc32c(crc32c(0, head, sizeof(head)), text, len) != ld_le32(crc))
		return damaged("the header's checksum is wrong", FMT_HEADER_LEN, e);
	return text_decode(out, text, len, e);
}

int section_read(struct migr_stream *s, enum fmt_section want, uint64_t *len, uint32_t *crc,
		 struct err *e)
{
	static const char *const names[] = {
		[FMT_STATE] = "state", [FMT_RAM] = "RAM", [FMT_END] = "end"
	};
	uint64_t at = atomic_load(&s->pos);
	uint8_t head[FMT_SECTION_LEN];
	int ret = stream_read(s, head, sizeof(head), e);

	*len = *crc = 0;
	if (ret < 0)
		return ret;
	if (ld_le32(head) != FMT_SECTION_MAGIC || crc32c(0, head, 24) != ld_le32(head + 24))
		return damaged("no section begins here", at, e);
	if (ld_le32(head + 4) != (uint32_t)want || ld_le32(head + 20))
		return err_set(e, EINVAL,
			       "the saved machine is damaged: another section than '%s' (at byte "
			       "%" PRIu64 ")",
			       names[want], at);
	*len = ld_le64(head + 8);
	*crc = ld_le32(head + 16);
	return 0;
}

int load_state_section(struct migr_stream *s, struct load *l, struct err *e)
{
	uint64_t len, at = atomic_load(&s->pos);
	uint32_t crc;
	int ret = section_read(s, FMT_STATE, &len, &crc, e);

	if (ret < 0)
		return ret;
	if (len > FMT_STATE_MAX)
		return damaged("the state section is too long", at, e);
	ret = read_growing(s, len, &l->state, e);
	if (ret < 0)
		return ret;
	l->state_len = len;
	return crc32c(0, l->state, len) == crc
		       ? 0
		       : damaged("the state section's checksum is wrong", at, e);
}

/* ---- RAM ---- */

static int skip_padding(struct migr_stream *s, struct err *e)
{
	uint8_t pad[FMT_PAGE];
	uint64_t pos = atomic_load(&s->pos);
	size_t n = align_up(pos, FMT_PAGE) - pos;
	int ret = stream_read(s, pad, n, e);

	for (size_t i = 0; i < n && ret == 0; i++)
		if (pad[i])
			return damaged("its padding is not empty", pos + i, e);
	return ret;
}

/* The head of a chunk, checked; *next is the first page that may come. */
static int check_chunk(const uint8_t *head, const struct ram_block *rb, uint64_t next, uint64_t at,
		       struct err *e)
{
	uint64_t first = ld_le64(head + CHUNK_FIRST), pages = rb->size / FMT_PAGE, count = 0;
	uint8_t zeroed[FMT_PAGE];

	memcpy(zeroed, head, FMT_PAGE);
	st_le32(zeroed + CHUNK_CRC, 0);
	if (ld_le32(head + CHUNK_MAGIC) != FMT_CHUNK_MAGIC ||
	    crc32c(0, zeroed, FMT_PAGE) != ld_le32(head + CHUNK_CRC))
		return damaged("no RAM chunk begins here", at, e);
	for (unsigned i = 0; i < FMT_CHUNK_PAGES; i++) {
		if (!(head[CHUNK_MAP + i / 8] >> (i % 8) & 1))
			continue;
		count++;
		if (first >= pages || i >= pages - first)
			return damaged("a RAM chunk reaches behind the memory", at, e);
	}
	if (count != ld_le32(head + CHUNK_PAGES))
		return damaged("a RAM chunk has another number of pages than it says", at, e);
	if (count && (first % FMT_CHUNK_PAGES || first < next || ld_le32(head + CHUNK_BLOCK)))
		return damaged("a RAM chunk is out of order", at, e);
	return 0;
}

/* The pages of one chunk, run by run, straight into the guest's memory. */
static int read_pages(struct migr_stream *s, const uint8_t *head, struct ram_block *rb,
		      struct err *e)
{
	uint64_t first = ld_le64(head + CHUNK_FIRST), at = atomic_load(&s->pos);
	uint32_t crc = 0;

	for (unsigned i = 0, n; i < FMT_CHUNK_PAGES; i += n) {
		uint64_t off = (first + i) * FMT_PAGE;
		int ret;

		for (n = 0; i + n < FMT_CHUNK_PAGES &&
			    (head[CHUNK_MAP + (i + n) / 8] >> ((i + n) % 8) & 1);)
			n++;
		if (!n) {
			n = 1;
			continue;
		}
		ret = stream_read(s, rb->host + off, (size_t)n * FMT_PAGE, e);
		if (ret < 0)
			return ret;
		crc = crc32c(crc, rb->host + off, (size_t)n * FMT_PAGE);
		ram_written(rb, off, (uint64_t)n * FMT_PAGE);
	}
	return crc == ld_le32(head + CHUNK_DATA_CRC) ? 0
						     : damaged("RAM's checksum is wrong", at, e);
}

static int load_chunks(struct ram_block *rb, struct migr_stream *s, struct ram_count *count,
		       struct err *e)
{
	uint8_t head[FMT_PAGE];
	uint64_t next = 0;

	for (;;) {
		uint64_t at = atomic_load(&s->pos), pages;
		int ret = stream_read(s, head, sizeof(head), e);

		if (ret == 0)
			ret = check_chunk(head, rb, next, at, e);
		pages = ld_le32(head + CHUNK_PAGES);
		if (ret < 0 || !pages)
			return ret;
		ret = read_pages(s, head, rb, e);
		if (ret < 0)
			return ret;
		next = ld_le64(head + CHUNK_FIRST) + FMT_CHUNK_PAGES;
		atomic_fetch_add(&count->normal, pages);
		atomic_store(&count->done, MIN(next * FMT_PAGE, rb->size));
	}
}

int load_ram(struct vm *vm, struct migr_stream *s, struct ram_count *count, struct err *e)
{
	uint64_t len, at;
	uint32_t crc;
	int ret = section_read(s, FMT_RAM, &len, &crc, e);

	atomic_store(&count->total, vm->ram->size);
	if (ret == 0 && (len || crc))
		ret = damaged("the RAM section has a length", atomic_load(&s->pos), e);
	if (ret == 0)
		ret = skip_padding(s, e);
	if (ret == 0)
		ret = ram_discard(vm->ram, e);
	if (ret == 0)
		ret = load_chunks(vm->ram, s, count, e);
	if (ret < 0)
		return ret;
	at = atomic_load(&s->pos);
	ret = section_read(s, FMT_END, &len, &crc, e);
	if (ret == 0 && (len != at || crc))
		return damaged("its end is elsewhere", at, e);
	atomic_store(&count->zero, vm->ram->size / FMT_PAGE - atomic_load(&count->normal));
	return ret;
}

/* ---- state ---- */

static int clock_check(void *obj, struct err *e)
{
	const struct clock_state *c = obj;

	/* As the description's comparison has it; here so that nothing divides by it. */
	return c->tsc_khz && c->tsc_khz < UINT32_MAX
		       ? 0
		       : err_set(e, EINVAL, "clock: field 'tsc_khz' is %" PRIu64, c->tsc_khz);
}

#define S struct clock_state
const struct state_desc clock_state = {
	.name = "clock",
	.struct_name = "clock_state",
	.version = 1,
	.post_load = clock_check,
	.fields = (const struct state_field[]){ ST_U64(S, host_ns), ST_U64(S, host_tsc),
						ST_U64(S, wall_ns), ST_U64(S, tsc_khz), ST_END },
};
#undef S

struct cursor {
	const uint8_t *pos, *end;
};

static int take_object(void *arg, const char *id, const struct state_desc *d, void *obj,
		       struct err *e)
{
	struct cursor *c = arg;

	return state_load(&c->pos, c->end, id, d, obj, e);
}

static int load_devices(struct vm *vm, struct cursor *c, uint64_t ns, uint64_t tsc, struct err *e)
{
	autofree struct dev **all = NULL;
	size_t n = dev_list(vm, &all);
	int ret = 0;

	for (size_t i = 0; i < n && ret == 0; i++) {
		struct dev *d = all[i];

		if (!d->type->state)
			continue;
		pthread_mutex_lock(&d->lock);
		ret = state_load(&c->pos, c->end, d->path, d->type->state, d, e);
		if (ret == 0)
			state_shift(d->type->state, d, ns, tsc);
		pthread_mutex_unlock(&d->lock);
	}
	return ret;
}

/* The description's was compared with this machine's (desc_check()). */
static int check_rate(const struct clock_state *c, const struct migr_text *text, struct err *e)
{
	const char *said = text_get(text, "tsc-khz");

	if (said && strtoull(said, NULL, 10) == c->tsc_khz)
		return 0;
	return err_set(e, EINVAL,
		       "clock: the time stamp counter runs at %" PRIu64
		       " kHz here, at %.20s kHz in the description of the saved machine",
		       c->tsc_khz, said ? said : "no");
}

int load_apply(struct vm *vm, const struct load *l, struct err *e)
{
	struct cursor c = { l->state, l->state + l->state_len };
	struct clock_state clock;
	uint64_t ns, tsc;
	int ret = take_object(&c, "clock", &clock_state, &clock, e);

	if (ret == 0)
		ret = check_rate(&clock, &l->text, e);
	if (ret < 0)
		return ret;
	vm_time_stops(vm);
	vm->tsc_khz = clock.tsc_khz;
	ns = vm->stopped_ns - clock.host_ns;
	tsc = vm->stopped_tsc - clock.host_tsc;
	ret = arch_state_visit(vm, take_object, &c, e);
	if (ret == 0)
		ret = load_devices(vm, &c, ns, tsc, e);
	if (ret == 0 && c.pos != c.end)
		ret = err_set(e, EINVAL,
			      "the saved machine has %td bytes of state more than this one knows",
			      c.end - c.pos);
	if (ret == 0)
		ret = arch_state_apply(vm, ns, tsc, e);
	arch_state_release(vm);
	return ret;
}

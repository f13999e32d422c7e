/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompression of kernel payloads through the formats' libraries (see unpack.h). The output is
 * one anonymous mapping of the size that the kernel's build noted behind the stream, so a lying
 * stream ends in "does not fit", not in memory. Any thread; no state.
 */
#include "base/base.h"

#include "base/bytes.h"
#include "fw/unpack.h"
#include <lz4.h>
#include <lzma.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

/* The mapping begins with this, so that unpack_free() knows its size; data follows a page on. */
struct unpack_head {
	size_t mapped;
};
#define HEAD_SIZE 4096

struct job {
	const uint8_t *in;
	size_t in_len;
	uint8_t *out;
	size_t cap, len;
};

static int no_fit(const struct job *job, struct err *e)
{
	return err_set(e, EINVAL, "the payload unpacks to more than the %zu bytes it says",
		       job->cap);
}

static int damaged(const char *format, struct err *e)
{
	return err_set(e, EINVAL, "the %s payload is damaged or cut short", format);
}

static int run_gzip(struct job *job, struct err *e)
{
	z_stream z = { .next_in = (uint8_t *)(uintptr_t)job->in,
		       .avail_in = (uInt)job->in_len,
		       .next_out = job->out,
		       .avail_out = (uInt)job->cap };
	int r;

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return err_set(e, ENOMEM, "zlib cannot start");
	r = inflate(&z, Z_FINISH);
	job->len = job->cap - z.avail_out;
	inflateEnd(&z);
	if (r == Z_STREAM_END)
		return 0;
	return r == Z_BUF_ERROR && !z.avail_out ? no_fit(job, e) : damaged("gzip", e);
}

static int run_lzma(struct job *job, bool alone, struct err *e)
{
	lzma_stream s = LZMA_STREAM_INIT;
	uint64_t memory = MIB(192);
	lzma_ret r = alone ? lzma_alone_decoder(&s, memory) : lzma_stream_decoder(&s, memory, 0);

	if (r != LZMA_OK)
		return err_set(e, ENOMEM, "liblzma cannot start");
	s.next_in = job->in;
	s.avail_in = job->in_len;
	s.next_out = job->out;
	s.avail_out = job->cap;
	do {
		r = lzma_code(&s, LZMA_RUN);
	} while (r == LZMA_OK && s.avail_out && s.avail_in);
	job->len = job->cap - s.avail_out;
	lzma_end(&s);
	/* Old lzma streams have no end mark: the size that the build noted is the end. */
	if (r == LZMA_STREAM_END || (alone && r == LZMA_OK && job->len == job->cap))
		return 0;
	return r == LZMA_OK && job->len == job->cap ? no_fit(job, e)
						    : damaged(alone ? "lzma" : "xz", e);
}

static int run_zstd(struct job *job, struct err *e)
{
	ZSTD_DStream *s = ZSTD_createDStream();
	ZSTD_inBuffer in = { .src = job->in, .size = job->in_len };
	ZSTD_outBuffer out = { .dst = job->out, .size = job->cap };
	size_t r;

	if (!s)
		return err_set(e, ENOMEM, "zstd cannot start");
	ZSTD_DCtx_setParameter(s, ZSTD_d_windowLogMax, 27);
	do {
		size_t before_in = in.pos, before_out = out.pos;

		r = ZSTD_decompressStream(s, &out, &in);
		if (in.pos == before_in && out.pos == before_out)
			break;
	} while (r && !ZSTD_isError(r));
	ZSTD_freeDStream(s);
	job->len = out.pos;
	if (!r)
		return 0;
	return !ZSTD_isError(r) && out.pos == out.size ? no_fit(job, e) : damaged("zstd", e);
}

/* Legacy frames: blocks of { le32 compressed size, data }, each at most 8 MiB unpacked. */
static int run_lz4(struct job *job, struct err *e)
{
	size_t pos = 4;

	while (job->in_len - pos > 4) {
		uint32_t n = ld_le32(job->in + pos);
		size_t room = MIN(job->cap - job->len, (size_t)MIB(8));
		int r;

		pos += 4;
		if (!n || n > job->in_len - pos || n > MIB(9))
			return damaged("lz4", e);
		r = LZ4_decompress_safe((const char *)job->in + pos, (char *)job->out + job->len,
					(int)n, (int)room);
		if (r <= 0)
			return damaged("lz4", e);
		job->len += (size_t)r;
		pos += n;
	}
	return job->len ? 0 : damaged("lz4", e);
}

enum format { UNKNOWN, GZIP, XZ, LZMA, ZSTD, LZ4 };

static enum format format_of(const uint8_t *in, size_t len)
{
	static const struct {
		enum format format;
		uint8_t n, magic[6];
	} table[] = {
		{ GZIP, 2, { 0x1f, 0x8b } },
		{ XZ, 6, { 0xfd, '7', 'z', 'X', 'Z', 0 } },
		{ LZMA, 3, { 0x5d, 0, 0 } },
		{ ZSTD, 4, { 0x28, 0xb5, 0x2f, 0xfd } },
		{ LZ4, 4, { 0x02, 0x21, 0x4c, 0x18 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (len > 8 && !memcmp(in, table[i].magic, table[i].n))
			return table[i].format;
	return UNKNOWN;
}

static int run(enum format format, struct job *job, struct err *e)
{
	switch (format) {
	case GZIP:
		return run_gzip(job, e);
	case XZ:
		return run_lzma(job, false, e);
	case LZMA:
		return run_lzma(job, true, e);
	case ZSTD:
		return run_zstd(job, e);
	default:
		return run_lz4(job, e);
	}
}

int unpack(const uint8_t *in, size_t in_len, uint8_t **out, size_t *out_len, struct err *e)
{
	enum format format = format_of(in, in_len);
	struct job job = { .in = in, .in_len = in_len };
	struct unpack_head *head;
	size_t mapped;
	int r;

	if (format == UNKNOWN)
		return -ENOTSUP;
	/* gzip ends with the size anyway; for the others the kernel's build appends it. */
	job.cap = ld_le32(in + in_len - 4);
	if (!job.cap || job.cap > UNPACK_MAX)
		return err_set(
			e, EINVAL,
			"the payload says it unpacks to %zu bytes; at most %llu are accepted",
			job.cap, (unsigned long long)UNPACK_MAX);
	mapped = HEAD_SIZE + align_up(job.cap, 4096);
	head = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (head == MAP_FAILED)
		return err_set_errno(e, errno, "memory to unpack the kernel");
	/* Written once from end to end: huge pages save a fault for each 4 KiB. Only advice. */
	madvise(head, mapped, MADV_HUGEPAGE);
	head->mapped = mapped;
	job.out = (uint8_t *)head + HEAD_SIZE;
	r = run(format, &job, e);
	if (r < 0) {
		munmap(head, mapped);
		return r;
	}
	*out = job.out;
	*out_len = job.len;
	return 0;
}

void unpack_free(uint8_t *out)
{
	if (out)
		munmap(out - HEAD_SIZE, ((struct unpack_head *)(void *)(out - HEAD_SIZE))->mapped);
}

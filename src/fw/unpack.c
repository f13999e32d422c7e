/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompression of kernel payloads through the formats' libraries (see unpack.h), piece by piece:
 * all of a kernel would be some ten thousand pages of the host's, for a moment. The build noted its
 * size behind the stream, so a lying stream ends in "does not fit", not in memory. Any thread; no
 * state.
 */
#include "base/base.h"

#include "base/bytes.h"
#include "fw/unpack.h"
#include <lz4.h>
#include <lzma.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

/* As much as a block of LZ4's unpacks to. */
#define PIECE MIB(8)

struct job {
	const uint8_t *in;
	size_t in_len;
	uint8_t *piece;
	size_t room; /* of piece */
	size_t cap, len;
	unpack_put_fn put;
	void *arg;
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

/* How much may come next: one byte more than there is to be, to see when there is. */
static size_t room(const struct job *job)
{
	return MIN(job->room, job->cap + 1 - job->len);
}

/* n more bytes are in job->piece. Returns what job->put does. */
static int put(struct job *job, size_t n, struct err *e)
{
	size_t at = job->len;

	if (n > job->cap - at)
		return no_fit(job, e);
	job->len += n;
	return n ? job->put(job->arg, job->piece, n, at, e) : 0;
}

static int run_gzip(struct job *job, struct err *e)
{
	z_stream z = { .next_in = (uint8_t *)(uintptr_t)job->in, .avail_in = (uInt)job->in_len };
	int r, ret;

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return err_set(e, ENOMEM, "zlib cannot start");
	do {
		size_t n = room(job);

		z.next_out = job->piece;
		z.avail_out = (uInt)n;
		r = inflate(&z, Z_NO_FLUSH);
		ret = put(job, n - z.avail_out, e);
	} while (!ret && r == Z_OK);
	inflateEnd(&z);
	return ret || r == Z_STREAM_END ? ret : damaged("gzip", e);
}

static int run_lzma(struct job *job, bool alone, struct err *e)
{
	lzma_stream s = LZMA_STREAM_INIT;
	uint64_t memory = MIB(192);
	lzma_ret r = alone ? lzma_alone_decoder(&s, memory) : lzma_stream_decoder(&s, memory, 0);
	int ret;

	if (r != LZMA_OK)
		return err_set(e, ENOMEM, "liblzma cannot start");
	s.next_in = job->in;
	s.avail_in = job->in_len;
	do {
		/* Old lzma streams have no end mark: the size that the build noted is the end. */
		size_t n = alone ? MIN(job->room, job->cap - job->len) : room(job);

		s.next_out = job->piece;
		s.avail_out = n;
		do {
			r = lzma_code(&s, LZMA_RUN);
		} while (r == LZMA_OK && s.avail_out && s.avail_in);
		ret = put(job, n - s.avail_out, e);
	} while (!ret && r == LZMA_OK && !s.avail_out && job->len < job->cap + !alone);
	lzma_end(&s);
	if (ret || r == LZMA_STREAM_END || (alone && r == LZMA_OK && job->len == job->cap))
		return ret;
	return damaged(alone ? "lzma" : "xz", e);
}

static int run_zstd(struct job *job, struct err *e)
{
	ZSTD_DStream *s = ZSTD_createDStream();
	ZSTD_inBuffer in = { .src = job->in, .size = job->in_len };
	size_t r;
	int ret;

	if (!s)
		return err_set(e, ENOMEM, "zstd cannot start");
	ZSTD_DCtx_setParameter(s, ZSTD_d_windowLogMax, 27);
	do {
		ZSTD_outBuffer out = { .dst = job->piece, .size = room(job) };
		size_t before = in.pos;

		r = ZSTD_decompressStream(s, &out, &in);
		ret = put(job, out.pos, e);
		if (in.pos == before && !out.pos)
			break;
	} while (!ret && r && !ZSTD_isError(r));
	ZSTD_freeDStream(s);
	return ret || !r ? ret : damaged("zstd", e);
}

/* Legacy frames: blocks of { le32 compressed size, data }, each at most 8 MiB unpacked. */
static int run_lz4(struct job *job, struct err *e)
{
	size_t pos = 4;
	int ret = 0;

	while (!ret && job->in_len - pos > 4) {
		uint32_t n = ld_le32(job->in + pos);
		const char *in = (const char *)job->in + pos + 4;
		char *out = (char *)job->piece;
		int most = (int)MIN(job->room, job->cap - job->len), r;

		pos += 4;
		if (!n || n > job->in_len - pos || n > MIB(9))
			return damaged("lz4", e);
		if (job->room < PIECE)
			r = LZ4_decompress_safe_partial(in, out, (int)n, most, most);
		else
			r = LZ4_decompress_safe(in, out, (int)n, most);
		if (r <= 0)
			return damaged("lz4", e);
		ret = put(job, (size_t)r, e);
		pos += n;
	}
	return ret || job->len ? ret : damaged("lz4", e);
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

static int unpack_to(struct job *job, struct err *e)
{
	enum format format = format_of(job->in, job->in_len);

	if (format == UNKNOWN)
		return -ENOTSUP;
	/* gzip ends with the size anyway; for the others the kernel's build appends it. */
	job->cap = ld_le32(job->in + job->in_len - 4);
	if (!job->cap || job->cap > UNPACK_MAX)
		return err_set(
			e, EINVAL,
			"the payload says it unpacks to %zu bytes; at most %llu are accepted",
			job->cap, (unsigned long long)UNPACK_MAX);
	return run(format, job, e);
}

int unpack(const uint8_t *in, size_t in_len, unpack_put_fn to, void *arg, struct err *e)
{
	struct job job = { .in = in, .in_len = in_len, .room = PIECE, .put = to, .arg = arg };
	int r;

	job.piece = map_large(PIECE, PROT_READ | PROT_WRITE);
	if (!job.piece)
		return err_set_errno(e, errno, "memory to unpack the kernel");
	/* Huge pages save a fault for each 4 KiB. Only advice. */
	madvise(job.piece, PIECE, MADV_HUGEPAGE);
	r = unpack_to(&job, e);
	munmap(job.piece, PIECE);
	return MIN(r, 0);
}

static int put_head(void *arg, const uint8_t *data, size_t len, size_t at, struct err *e)
{
	return 1;
}

ssize_t unpack_head(const uint8_t *in, size_t in_len, uint8_t *out, size_t size, size_t *total,
		    struct err *e)
{
	struct job job = { .in = in, .in_len = in_len, .piece = out, .room = size, .put = put_head };
	int r = unpack_to(&job, e);

	*total = job.cap;
	return r < 0 ? r : (ssize_t)job.len;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacks a compressed kernel payload with the format's own library: gzip, xz, lzma, zstd, lz4
 * (legacy frames, as the kernel's build makes them). Input is hostile; output is bounded.
 */
#ifndef FW_UNPACK_H
#define FW_UNPACK_H

#include "base/base.h"
#include <sys/types.h>

/* What a kernel may unpack to. */
#define UNPACK_MAX MIB(1024)

/*
 * Gets data[0..len), which are the bytes from at on; each piece follows the one before it. Returns
 * 0, or what ends it: > 0 when that is enough, negative with e set.
 */
typedef int (*unpack_put_fn)(void *arg, const uint8_t *data, size_t len, size_t at, struct err *e);

/*
 * Unpacks in[0..in_len) in pieces of up to 8 MiB, which to gets with arg.
 * The kernel's build appends the unpacked size to the stream; what lies behind the stream's own
 * end is ignored. -ENOTSUP for a format that is not known (lzo, bzip2, uncompressed);
 * -EINVAL with e set for a stream that is damaged or unpacks to more than it says or than
 * UNPACK_MAX.
 */
int unpack(const uint8_t *in, size_t in_len, unpack_put_fn to, void *arg, struct err *e) MUST_CHECK;
/*
 * The same for its first bytes, size at most: returns how many. total: how many there are to be of
 * all. What is damaged behind them is not seen.
 */
ssize_t unpack_head(const uint8_t *in, size_t in_len, uint8_t *out, size_t size, size_t *total,
		    struct err *e) MUST_CHECK;

#endif

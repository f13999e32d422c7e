/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacks a compressed kernel payload with the format's own library: gzip, xz, lzma, zstd, lz4
 * (legacy frames, as the kernel's build makes them). Input is hostile; output is bounded.
 */
#ifndef FW_UNPACK_H
#define FW_UNPACK_H

#include "base/base.h"

/* What a kernel may unpack to. */
#define UNPACK_MAX MIB(1024)

/*
 * Unpacks in[0..in_len) into memory of its own, which the caller gives back with unpack_free().
 * The kernel's build appends the unpacked size to the stream; what lies behind the stream's own
 * end is ignored. -ENOTSUP for a format that is not known (lzo, bzip2, uncompressed);
 * -EINVAL with e set for a stream that is damaged or unpacks to more than UNPACK_MAX.
 */
int unpack(const uint8_t *in, size_t in_len, uint8_t **out, size_t *out_len,
	   struct err *e) MUST_CHECK;
void unpack_free(uint8_t *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the bzImage reader, the unpacking of its payload, and the ELF reader behind it. */
#include "base/base.h"

#include "base/bytes.h"
#include "fw/bzimage.h"
#include "fw/elf.h"
#include "fw/unpack.h"
#include "unpack_all.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_payload(const uint8_t *p, size_t n)
{
	struct elf_kernel k;
	struct err e = { 0 };
	uint8_t *out, head[4096];
	size_t len, total;
	ssize_t have;

	/* Real ones may be large; here that only costs time. */
	if (n < 4 || ld_le32(p + n - 4) > MIB(4))
		return;
	have = unpack_head(p, n, head, sizeof(head), &total, &e);
	assert(have <= (ssize_t)sizeof(head));
	if (have > 0 && elf_parse_head(head, (size_t)have, total, &k, &e) == 0)
		assert(k.nr_segs);
	if (unpack_all(p, n, &out, &len, &e) < 0)
		return;
	assert(len <= ld_le32(p + n - 4));
	if (elf_parse(out, len, &k, &e) == 0)
		assert(k.nr_segs);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bzimage b;
	struct err e = { 0 };

	try_payload(data, size);
	if (bzimage_parse(data, size, &b, &e) < 0) {
		assert(e.msg[0]);
		return 0;
	}
	assert(b.code_off <= size && b.code_len <= size - b.code_off);
	assert(b.payload_off <= size && b.payload_len <= size - b.payload_off);
	assert(b.header_len <= BZ_HEADER_MAX && b.code_len <= b.init_size);
	try_payload(data + b.payload_off, b.payload_len);
	return 0;
}

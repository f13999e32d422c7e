/* SPDX-License-Identifier: Apache-2.0 */
/* Small kernel images made from their specifications, for the tests of the loaders. */
#ifndef TESTS_FW_IMAGES_H
#define TESTS_FW_IMAGES_H

#include "base/base.h"

#include "base/bytes.h"
#include <lz4hc.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#define ELF_IMAGE_LEN 0x3000u
#define ELF_TEXT      0x1000000ull /* 16 MiB, where Linux links itself */
#define ELF_DATA      0x1200000ull
#define ELF_BSS	      0x5000u /* of the data segment, behind its bytes */
#define ELF_ENTRY     (ELF_TEXT + 0x40)
#define ELF_PVH_ENTRY (ELF_TEXT + 0x80)

static inline void image_phdr(uint8_t *p, uint32_t type, uint64_t off, uint64_t paddr,
			      uint64_t filesz, uint64_t memsz)
{
	st_le32(p, type);
	st_le32(p + 4, 7);
	st_le64(p + 8, off);
	st_le64(p + 16, 0xffffffff80000000ull + paddr);
	st_le64(p + 24, paddr);
	st_le64(p + 32, filesz);
	st_le64(p + 40, memsz);
	st_le64(p + 48, 0x200000);
}

/* A vmlinux of two segments (ELF_IMAGE_LEN bytes); with a PVH note when pvh. */
static inline void image_elf(uint8_t *d, bool pvh)
{
	memset(d, 0, ELF_IMAGE_LEN);
	memcpy(d, "\177ELF\2\1\1", 7);
	st_le16(d + 16, 2);  /* ET_EXEC */
	st_le16(d + 18, 62); /* x86-64 */
	st_le32(d + 20, 1);
	st_le64(d + 24, ELF_ENTRY);
	st_le64(d + 32, 64); /* program headers */
	st_le16(d + 52, 64);
	st_le16(d + 54, 56);
	st_le16(d + 56, pvh ? 3 : 2);
	image_phdr(d + 64, 1, 0x1000, ELF_TEXT, 0x1000, 0x1000);
	image_phdr(d + 120, 1, 0x2000, ELF_DATA, 0x1000, 0x1000 + ELF_BSS);
	for (unsigned i = 0; i < 0x2000; i++)
		d[0x1000 + i] = (uint8_t)(i * 31 + (i >> 8));
	if (!pvh)
		return;
	image_phdr(d + 176, 4, 0x200, 0, 40, 40);
	st_le32(d + 0x200, 4); /* a note of somebody else first */
	st_le32(d + 0x204, 0);
	st_le32(d + 0x208, 1);
	memcpy(d + 0x20c, "GNU", 4);
	st_le32(d + 0x210, 4);
	st_le32(d + 0x214, 8);
	st_le32(d + 0x218, 18); /* XEN_ELFNOTE_PHYS32_ENTRY */
	memcpy(d + 0x21c, "Xen", 4);
	st_le64(d + 0x220, ELF_PVH_ENTRY);
}

enum image_format { IMAGE_GZIP, IMAGE_XZ, IMAGE_LZMA, IMAGE_ZSTD, IMAGE_LZ4, IMAGE_FORMATS };

static inline size_t image_gzip(const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	z_stream z = { .next_in = (uint8_t *)(uintptr_t)in,
		       .avail_in = (uInt)n,
		       .next_out = out,
		       .avail_out = (uInt)cap };

	if (deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
	    deflate(&z, Z_FINISH) != Z_STREAM_END)
		return 0;
	deflateEnd(&z);
	return cap - z.avail_out; /* its last four bytes are the size */
}

static inline size_t image_xz(const uint8_t *in, size_t n, uint8_t *out, size_t cap, bool alone)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_options_lzma options;
	lzma_ret r;

	lzma_lzma_preset(&options, 6);
	r = alone ? lzma_alone_encoder(&s, &options) : lzma_easy_encoder(&s, 6, LZMA_CHECK_CRC32);
	s.next_in = in;
	s.avail_in = n;
	s.next_out = out;
	s.avail_out = cap;
	if (r != LZMA_OK || lzma_code(&s, LZMA_FINISH) != LZMA_STREAM_END)
		return 0;
	lzma_end(&s);
	return cap - s.avail_out;
}

static inline size_t image_lz4(const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	int len = LZ4_compress_HC((const char *)in, (char *)out + 8, (int)n, (int)cap - 8, 9);

	memcpy(out, "\x02\x21\x4c\x18", 4);
	st_le32(out + 4, (uint32_t)len);
	return len > 0 ? (size_t)len + 8 : 0;
}

/* A payload as the kernel's build makes it: the stream, and the unpacked size behind it. */
static inline size_t image_pack(enum image_format f, const uint8_t *in, size_t n, uint8_t *out,
				size_t cap)
{
	size_t len;

	switch (f) {
	case IMAGE_GZIP:
		return image_gzip(in, n, out, cap);
	case IMAGE_XZ:
		len = image_xz(in, n, out, cap - 4, false);
		break;
	case IMAGE_LZMA:
		len = image_xz(in, n, out, cap - 4, true);
		break;
	case IMAGE_ZSTD:
		len = ZSTD_compress(out, cap - 4, in, n, 19);
		break;
	default:
		len = image_lz4(in, n, out, cap - 4);
		break;
	}
	st_le32(out + len, (uint32_t)n);
	return len + 4;
}

#define BZ_SETUP_SECTS 4u
#define BZ_CODE_OFF    ((BZ_SETUP_SECTS + 1) * 512)
#define BZ_PAYLOAD_OFF 0x400u /* from the code */
#define BZ_INIT_SIZE   0x400000u

/* A bzImage around a payload; returns its length. */
static inline size_t image_bzimage(uint8_t *d, size_t cap, const uint8_t *payload, size_t n)
{
	size_t len = BZ_CODE_OFF + BZ_PAYLOAD_OFF + n;

	if (len > cap)
		return 0;
	memset(d, 0, len);
	d[0x1f1] = BZ_SETUP_SECTS;
	st_le16(d + 0x1fe, 0xaa55);
	d[0x200] = 0xeb;
	d[0x201] = 0x6a;
	memcpy(d + 0x202, "HdrS", 4);
	st_le16(d + 0x206, 0x020f);
	d[0x211] = 1; /* LOADED_HIGH */
	st_le32(d + 0x22c, 0x7fffffff);
	st_le32(d + 0x230, 0x200000);
	d[0x234] = 1;		 /* relocatable */
	st_le16(d + 0x236, 0x3); /* 64-bit entry, may lie above 4 GiB */
	st_le32(d + 0x238, 2047);
	st_le32(d + 0x248, BZ_PAYLOAD_OFF);
	st_le32(d + 0x24c, (uint32_t)n);
	st_le64(d + 0x258, ELF_TEXT);
	st_le32(d + 0x260, BZ_INIT_SIZE);
	for (unsigned i = 0; i < BZ_PAYLOAD_OFF; i++)
		d[BZ_CODE_OFF + i] = (uint8_t)(0x90 + i);
	memcpy(d + BZ_CODE_OFF + BZ_PAYLOAD_OFF, payload, n);
	return len;
}

#endif

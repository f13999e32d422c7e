/* SPDX-License-Identifier: Apache-2.0 */
/* Reading kernel images: what is right is found, what is wrong is refused with its reason. */
#include "cmocka_all.h"

#include "fw/bzimage.h"
#include "fw/elf.h"
#include "fw/unpack.h"
#include "unpack_all.h"
#include "images.h"

/* A copy of exact size, so that the address sanitizer sees a read behind it. */
static uint8_t *exact(const uint8_t *d, size_t n)
{
	return memcpy(xcalloc(n, 1), d, n);
}

/* ---- ELF ---- */

static void elf_good(void **state)
{
	uint8_t d[ELF_IMAGE_LEN];
	struct elf_kernel k;
	struct err e = { 0 };

	image_elf(d, false);
	assert_true(elf_is(d, sizeof(d)));
	assert_int_equal(elf_parse(d, sizeof(d), &k, &e), 0);
	assert_int_equal(k.nr_segs, 2);
	assert_int_equal(k.first, ELF_TEXT);
	assert_int_equal(k.end, ELF_DATA + 0x1000 + ELF_BSS);
	assert_int_equal(k.entry, ELF_ENTRY);
	assert_int_equal(k.pvh_entry, 0);
	assert_int_equal(k.seg[1].off, 0x2000);
	assert_int_equal(k.seg[1].filesz, 0x1000);
	image_elf(d, true);
	assert_int_equal(elf_parse(d, sizeof(d), &k, &e), 0);
	assert_int_equal(k.pvh_entry, ELF_PVH_ENTRY);
}

static void elf_wrong(void **state)
{
	static const struct {
		unsigned off, size;
		uint64_t val;
		const char *text;
	} t[] = {
		{ 0, 1, 0x7e, "not a 64-bit" },
		{ 4, 1, 1, "not a 64-bit" },   /* 32-bit */
		{ 5, 1, 2, "not a 64-bit" },   /* big-endian */
		{ 18, 2, 183, "machine 183" }, /* AArch64 */
		{ 16, 2, 1, "no kernel" },     /* an object file */
		{ 54, 2, 32, "no kernel" },    /* header size */
		{ 56, 2, 0, "no kernel" },
		{ 56, 2, 0xffff, "no kernel" },
		{ 32, 8, ELF_IMAGE_LEN - 60, "outside the file" },
		{ 32, 8, UINT64_MAX, "outside the file" },
		{ 64 + 8, 8, ELF_IMAGE_LEN, "outside the file" }, /* segment data */
		{ 64 + 32, 8, UINT64_MAX, "outside the file" },
		{ 64 + 40, 8, 0xfff, "more bytes in the file" },
		{ 64 + 40, 8, UINT64_MAX, "absurd" },
		{ 64 + 24, 8, UINT64_MAX - 0xfff, "absurd" },
		{ 64 + 24, 8, ELF_DATA + 0x1000, "overlap" },
		{ 24, 8, ELF_TEXT - 1, "entry point" },
		{ 24, 8, ELF_DATA + 0x1000, "entry point" }, /* in .bss */
	};
	uint8_t d[ELF_IMAGE_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct elf_kernel k;
		struct err e = { 0 };

		image_elf(d, false);
		st_le(d + t[i].off, t[i].val, t[i].size);
		assert_int_equal(elf_parse(d, sizeof(d), &k, &e), -EINVAL);
		if (!strstr(e.msg, t[i].text))
			fail_msg("case %zu: '%s' lacks '%s'", i, e.msg, t[i].text);
	}
}

static void elf_lying_notes(void **state)
{
	uint8_t d[ELF_IMAGE_LEN];
	struct elf_kernel k;
	struct err e = { 0 };

	image_elf(d, true);
	st_le32(d + 0x210, UINT32_MAX); /* a name that leaves the file: the notes end there */
	assert_int_equal(elf_parse(d, sizeof(d), &k, &e), 0);
	assert_int_equal(k.pvh_entry, 0);
	image_elf(d, true);
	st_le64(d + 0x220, 0x12345); /* an entry outside the segments is none */
	assert_int_equal(elf_parse(d, sizeof(d), &k, &e), 0);
	assert_int_equal(k.pvh_entry, 0);
}

/* What every accepted image must keep to; placing relies on it. */
static void check_elf(const struct elf_kernel *k, size_t len)
{
	assert_true(k->nr_segs > 0 && k->nr_segs <= ELF_MAX_SEGS);
	for (unsigned i = 0; i < k->nr_segs; i++) {
		const struct elf_seg *s = &k->seg[i];

		assert_true(s->off <= len && s->filesz <= len - s->off && s->filesz <= s->memsz);
		assert_true(s->paddr >= k->first && s->paddr + s->memsz <= k->end);
	}
}

static void elf_truncations_and_flips(void **state)
{
	uint8_t d[ELF_IMAGE_LEN];
	struct elf_kernel k;

	image_elf(d, true);
	for (size_t n = 0; n < sizeof(d); n += n < 0x300 ? 1 : 97) {
		autofree uint8_t *cut = exact(d, n);
		struct err e = { 0 };

		assert_int_equal(elf_parse(cut, n, &k, &e), -EINVAL);
		assert_true(e.msg[0]);
	}
	for (size_t bit = 0; bit < 0x300 * 8; bit++) {
		struct err e = { 0 };

		d[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (elf_parse(d, sizeof(d), &k, &e) == 0)
			check_elf(&k, sizeof(d));
		d[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/* ---- payloads ---- */

/* The beginning alone, of one piece and of all. */
static void heads(const uint8_t *packed, size_t n, const uint8_t *d)
{
	static const size_t sizes[] = { 64, 1000, ELF_IMAGE_LEN };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		autofree uint8_t *head = xcalloc(1, sizes[i]);
		struct err e = { 0 };
		size_t total;

		assert_int_equal(unpack_head(packed, n, head, sizes[i], &total, &e), sizes[i]);
		assert_int_equal(total, ELF_IMAGE_LEN);
		assert_memory_equal(head, d, sizes[i]);
	}
}

static void unpacks_each_format(void **state)
{
	uint8_t d[ELF_IMAGE_LEN], packed[2 * ELF_IMAGE_LEN];

	image_elf(d, false);
	for (enum image_format f = 0; f < IMAGE_FORMATS; f++) {
		size_t n = image_pack(f, d, sizeof(d), packed, sizeof(packed)), len;
		struct err e = { 0 };
		uint8_t *out;

		assert_true(n > 100);
		if (unpack_all(packed, n, &out, &len, &e) < 0)
			fail_msg("format %d: %s", f, e.msg);
		assert_int_equal(len, sizeof(d));
		assert_memory_equal(out, d, len);
		free(out);
		heads(packed, n, d);
	}
}

/* More than comes in one piece. Blocks of LZ4's are pieces anyway: image_pack() makes one. */
static void unpacks_in_pieces(void **state)
{
	const size_t size = MIB(20) + 12345;
	autofree uint8_t *d = xcalloc(1, size), *packed = xcalloc(1, size);

	for (size_t i = 0; i < size; i += 8)
		d[i] = (uint8_t)(i >> 12);
	for (enum image_format f = 0; f < IMAGE_FORMATS; f++) {
		struct err e = { 0 };
		uint8_t *out;
		size_t n, len;

		if (f == IMAGE_LZ4)
			continue;
		n = image_pack(f, d, size, packed, size);
		assert_true(n > 100);
		if (unpack_all(packed, n, &out, &len, &e) < 0)
			fail_msg("format %d: %s", f, e.msg);
		assert_int_equal(len, size);
		assert_memory_equal(out, d, len);
		free(out);
		st_le32(packed + n - 4, (uint32_t)size - 1);
		if (f != IMAGE_LZMA)
			assert_int_equal(unpack_all(packed, n, &out, &len, &e), -EINVAL);
	}
}

static void unpack_refuses(void **state)
{
	uint8_t d[ELF_IMAGE_LEN], packed[2 * ELF_IMAGE_LEN];

	image_elf(d, false);
	for (enum image_format f = 0; f < IMAGE_FORMATS; f++) {
		size_t n = image_pack(f, d, sizeof(d), packed, sizeof(packed)), len;
		uint32_t size = ld_le32(packed + n - 4);
		uint8_t *out;
		struct err e = { 0 };

		st_le32(packed + n - 4, (uint32_t)UNPACK_MAX + 1);
		assert_int_equal(unpack_all(packed, n, &out, &len, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "at most"));
		st_le32(packed + n - 4, 0);
		assert_int_equal(unpack_all(packed, n, &out, &len, &e), -EINVAL);
		st_le32(packed + n - 4, size / 2); /* a bomb: more than it says */
		if (f != IMAGE_LZMA)		   /* which ends where it is told to */
			assert_int_equal(unpack_all(packed, n, &out, &len, &e), -EINVAL);
	}
	{
		uint8_t *out;
		size_t len;
		struct err e = { 0 };

		memset(packed, 0x55, 100);
		assert_int_equal(unpack_all(packed, 100, &out, &len, &e), -ENOTSUP);
		memcpy(packed, "\x1f\x8b", 2);
		for (size_t n = 0; n <= 8; n++)
			assert_int_equal(unpack_all(packed, n, &out, &len, &e), -ENOTSUP);
	}
}

static void unpack_survives_damage(void **state)
{
	uint8_t d[ELF_IMAGE_LEN], packed[2 * ELF_IMAGE_LEN];

	image_elf(d, false);
	for (enum image_format f = 0; f < IMAGE_FORMATS; f++) {
		size_t n = image_pack(f, d, sizeof(d), packed, sizeof(packed)), len;
		uint8_t *out;

		for (size_t bit = 0; bit < (n - 4) * 8; bit += bit < 400 ? 1 : 131) {
			struct err e = { 0 };

			packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (unpack_all(packed, n, &out, &len, &e) == 0) {
				assert_true(len <= ELF_IMAGE_LEN);
				free(out);
			}
			packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		for (size_t cut = 9; cut < n - 8; cut += 53) {
			autofree uint8_t *copy = exact(packed, cut);
			struct err e = { 0 };

			st_le32(copy + cut - 4, ELF_IMAGE_LEN);
			if (unpack_all(copy, cut, &out, &len, &e) == 0) {
				/* raw streams without a frame may end anywhere, but not early and
				 * full */
				assert_true(len < ELF_IMAGE_LEN || f == IMAGE_LZMA);
				free(out);
			}
		}
	}
}

/* ---- bzImage ---- */

static uint8_t bz[4 * ELF_IMAGE_LEN];

static size_t make_bz(void)
{
	uint8_t d[ELF_IMAGE_LEN], packed[2 * ELF_IMAGE_LEN];
	size_t n;

	image_elf(d, false);
	n = image_pack(IMAGE_ZSTD, d, sizeof(d), packed, sizeof(packed));
	return image_bzimage(bz, sizeof(bz), packed, n);
}

static void bzimage_good(void **state)
{
	size_t len = make_bz();
	struct bzimage b;
	struct err e = { 0 };

	assert_true(bzimage_is(bz, len));
	assert_int_equal(bzimage_parse(bz, len, &b, &e), 0);
	assert_int_equal(b.version, 0x020f);
	assert_int_equal(b.code_off, BZ_CODE_OFF);
	assert_int_equal(b.code_len, len - BZ_CODE_OFF);
	assert_int_equal(b.payload_off, BZ_CODE_OFF + BZ_PAYLOAD_OFF);
	assert_int_equal(b.payload_off + b.payload_len, len);
	assert_int_equal(b.pref_address, ELF_TEXT);
	assert_int_equal(b.init_size, BZ_INIT_SIZE);
	assert_int_equal(b.cmdline_size, 2047);
	assert_true(b.relocatable && b.above_4g);
	assert_int_equal(b.header_len, 0x202 + 0x6a - 0x1f1);
	assert_memory_equal(b.header, bz + 0x1f1, b.header_len);
	bz[0x1f1] = 0; /* means 4 */
	assert_int_equal(bzimage_parse(bz, len, &b, &e), 0);
	assert_int_equal(b.code_off, BZ_CODE_OFF);
	bz[0x201] = 0xff; /* a header of the future: cut to what the zero page has room for */
	assert_int_equal(bzimage_parse(bz, len, &b, &e), 0);
	assert_int_equal(b.header_len, BZ_HEADER_MAX);
}

static void bzimage_wrong(void **state)
{
	static const struct {
		unsigned off, size;
		uint64_t val;
		const char *text;
	} t[] = {
		{ 0x1fe, 2, 0x55aa, "not a Linux bzImage" },
		{ 0x202, 4, 0, "not a Linux bzImage" },
		{ 0x206, 2, 0x020b, "too old" },
		{ 0x236, 2, 2, "no 64-bit entry" },
		{ 0x258, 8, 0x1000, "absurd" },
		{ 0x258, 8, UINT64_MAX, "absurd" },
		{ 0x260, 4, 0, "absurd" },
		{ 0x260, 4, 0xffffffff, "absurd" },
		{ 0x260, 4, 0x100, "larger than the memory" },
		{ 0x1f1, 1, 0xff, "cut short" },
		{ 0x248, 4, 0xffffffff, "cut short" },
		{ 0x24c, 4, 0xffffffff, "cut short" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		size_t len = make_bz();
		struct bzimage b;
		struct err e = { 0 };

		st_le(bz + t[i].off, t[i].val, t[i].size);
		assert_int_equal(bzimage_parse(bz, len, &b, &e), -EINVAL);
		if (!strstr(e.msg, t[i].text))
			fail_msg("case %zu: '%s' lacks '%s'", i, e.msg, t[i].text);
	}
}

static void bzimage_truncations_and_flips(void **state)
{
	size_t len = make_bz();
	struct bzimage b;

	for (size_t n = 0; n < len; n += n < BZ_CODE_OFF + 0x410 ? 1 : 61) {
		autofree uint8_t *cut = exact(bz, n);
		struct err e = { 0 };

		assert_int_equal(bzimage_parse(cut, n, &b, &e), -EINVAL);
	}
	for (size_t bit = 0x1f0 * 8; bit < 0x290 * 8; bit++) {
		struct err e = { 0 };

		bz[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (bzimage_parse(bz, len, &b, &e) == 0) {
			assert_true(b.code_off + b.code_len <= len);
			assert_true(b.payload_off + b.payload_len <= len);
			assert_true(b.header_len <= BZ_HEADER_MAX);
			assert_true(b.code_len <= b.init_size);
		}
		bz[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(elf_good),
		cmocka_unit_test(elf_wrong),
		cmocka_unit_test(elf_lying_notes),
		cmocka_unit_test(elf_truncations_and_flips),
		cmocka_unit_test(unpacks_each_format),
		cmocka_unit_test(unpacks_in_pieces),
		cmocka_unit_test(unpack_refuses),
		cmocka_unit_test(unpack_survives_damage),
		cmocka_unit_test(bzimage_good),
		cmocka_unit_test(bzimage_wrong),
		cmocka_unit_test(bzimage_truncations_and_flips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

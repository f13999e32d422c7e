/* SPDX-License-Identifier: Apache-2.0 */
/* The AML writer (see aml.h). Source: ACPI 6.4, sections 20.2 and 6.4. Any thread; no state. */
#include "base/base.h"

#include "base/bytes.h"
#include "fw/aml.h"

#define OP_ZERO	      0x00
#define OP_ONE	      0x01
#define OP_NAME	      0x08
#define OP_BYTE	      0x0a
#define OP_WORD	      0x0b
#define OP_DWORD      0x0c
#define OP_STRING     0x0d
#define OP_QWORD      0x0e
#define OP_SCOPE      0x10
#define OP_BUFFER     0x11
#define OP_PACKAGE    0x12
#define OP_METHOD     0x14
#define OP_DUAL_NAME  0x2e
#define OP_MULTI_NAME 0x2f
#define OP_EXT	      0x5b
#define EXT_DEVICE    0x82

void aml_fini(struct aml *a)
{
	free(a->data);
	memset(a, 0, sizeof(*a));
}

void aml_bytes(struct aml *a, const void *data, size_t len)
{
	if (a->cap - a->len < len) {
		a->cap = (a->cap + len) * 2;
		a->data = xrealloc(a->data, a->cap, 1);
	}
	memcpy(a->data + a->len, data, len);
	a->len += len;
}

void aml_byte(struct aml *a, uint8_t v)
{
	aml_bytes(a, &v, 1);
}

void aml_path(struct aml *a, const char *path)
{
	size_t segs;

	if (*path == '\\') {
		aml_byte(a, '\\');
		path++;
	}
	segs = (strlen(path) + 1) / 5;
	if (segs == 2) {
		aml_byte(a, OP_DUAL_NAME);
	} else if (segs > 2) {
		aml_byte(a, OP_MULTI_NAME);
		aml_byte(a, (uint8_t)segs);
	}
	for (size_t i = 0; i < segs; i++)
		aml_bytes(a, path + i * 5, 4);
}

void aml_int(struct aml *a, uint64_t v)
{
	uint8_t b[9];

	st_le64(b + 1, v);
	if (v <= 1) {
		aml_byte(a, v ? OP_ONE : OP_ZERO);
		return;
	}
	b[0] = v <= UINT8_MAX	 ? OP_BYTE
	       : v <= UINT16_MAX ? OP_WORD
	       : v <= UINT32_MAX ? OP_DWORD
				 : OP_QWORD;
	aml_bytes(a, b, 1 + (v <= UINT8_MAX ? 1 : v <= UINT16_MAX ? 2 : v <= UINT32_MAX ? 4 : 8));
}

void aml_string(struct aml *a, const char *s)
{
	aml_byte(a, OP_STRING);
	aml_bytes(a, s, strlen(s) + 1);
}

static unsigned hex(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A' + 10);
}

/* Three letters of five bits, then four hex digits, big-endian (section 19.3.4). */
void aml_eisaid(struct aml *a, const char *id)
{
	uint32_t v = (uint32_t)(id[0] - 0x40) << 26 | (uint32_t)(id[1] - 0x40) << 21 |
		     (uint32_t)(id[2] - 0x40) << 16 | hex(id[3]) << 12 | hex(id[4]) << 8 |
		     hex(id[5]) << 4 | hex(id[6]);
	uint8_t b[5] = { OP_DWORD };

	st_be32(b + 1, v);
	aml_bytes(a, b, sizeof(b));
}

/* Constructs with a PkgLength: remember where it goes, insert it on closing. */
static void open_here(struct aml *a)
{
	assert(a->depth < AML_DEPTH);
	a->open[a->depth++] = a->len;
}

void aml_close(struct aml *a)
{
	size_t at, n, body;
	uint8_t b[4];

	assert(a->depth > 0);
	at = a->open[--a->depth];
	body = a->len - at;
	/* The length counts its own bytes: one up to 63, else the low nibble and 1 to 3 more. */
	n = body + 1 <= 0x3f ? 1 : body + 2 <= 0xfff ? 2 : body + 3 <= 0xfffff ? 3 : 4;
	body += n;
	if (n == 1) {
		b[0] = (uint8_t)body;
	} else {
		b[0] = (uint8_t)((n - 1) << 6 | (body & 0xf));
		for (size_t i = 1; i < n; i++)
			b[i] = (uint8_t)(body >> (8 * i - 4));
	}
	aml_bytes(a, b, n);
	memmove(a->data + at + n, a->data + at, a->len - n - at);
	memcpy(a->data + at, b, n);
}

void aml_scope(struct aml *a, const char *path)
{
	aml_byte(a, OP_SCOPE);
	open_here(a);
	aml_path(a, path);
}

void aml_device(struct aml *a, const char *name)
{
	aml_byte(a, OP_EXT);
	aml_byte(a, EXT_DEVICE);
	open_here(a);
	aml_path(a, name);
}

void aml_method(struct aml *a, const char *name, unsigned args)
{
	aml_byte(a, OP_METHOD);
	open_here(a);
	aml_path(a, name);
	aml_byte(a, (uint8_t)args);
}

void aml_package(struct aml *a, uint8_t elements)
{
	aml_byte(a, OP_PACKAGE);
	open_here(a);
	aml_byte(a, elements);
}

void aml_name(struct aml *a, const char *seg)
{
	aml_byte(a, OP_NAME);
	aml_path(a, seg);
}

void aml_name_int(struct aml *a, const char *seg, uint64_t v)
{
	aml_name(a, seg);
	aml_int(a, v);
}

void aml_name_eisaid(struct aml *a, const char *seg, const char *id)
{
	aml_name(a, seg);
	aml_eisaid(a, id);
}

void aml_name_string(struct aml *a, const char *seg, const char *text)
{
	aml_name(a, seg);
	aml_string(a, text);
}

/* A buffer's own length stands behind its PkgLength; two bytes of word constant are enough. */
void aml_crs_open(struct aml *a)
{
	static const uint8_t size[3] = { OP_WORD, 0, 0 };

	aml_name(a, "_CRS");
	aml_byte(a, OP_BUFFER);
	open_here(a);
	aml_bytes(a, size, sizeof(size));
}

void aml_crs_close(struct aml *a)
{
	static const uint8_t end_tag[2] = { 0x79, 0 };
	size_t at = a->open[a->depth - 1];

	aml_bytes(a, end_tag, sizeof(end_tag));
	st_le16(a->data + at + 1, (uint16_t)(a->len - at - 3));
	aml_close(a);
}

void aml_res_io(struct aml *a, uint16_t base, uint8_t len)
{
	uint8_t b[8] = { 0x47, 1 };

	st_le16(b + 2, base);
	st_le16(b + 4, base);
	b[6] = 1;
	b[7] = len;
	aml_bytes(a, b, sizeof(b));
}

/* Edge, active high, exclusive: the short form without flags. */
void aml_res_irq(struct aml *a, unsigned irq)
{
	uint8_t b[3] = { 0x22 };

	st_le16(b + 1, (uint16_t)(1u << irq));
	aml_bytes(a, b, sizeof(b));
}

/* Extended interrupt descriptor (section 6.4.3.6): consumer, level, high, shared. */
void aml_res_gsi(struct aml *a, uint32_t gsi)
{
	uint8_t b[9] = { 0x89, 6, 0, 0x09, 1 };

	st_le32(b + 5, gsi);
	aml_bytes(a, b, sizeof(b));
}

void aml_res_mem32_fixed(struct aml *a, uint32_t base, uint32_t len)
{
	uint8_t b[12] = { 0x86, 9, 0, 1 };

	st_le32(b + 4, base);
	st_le32(b + 8, len);
	aml_bytes(a, b, sizeof(b));
}

/* Address space descriptors (section 6.4.3.5): minimum and maximum fixed, producer. */
#define SPACE_FIXED 0x0c
enum { SPACE_MEM, SPACE_IO, SPACE_BUS };

static void word_space(struct aml *a, uint8_t type, uint8_t flags, uint16_t first, uint16_t last)
{
	uint8_t b[16] = { 0x88, 13, 0, type, SPACE_FIXED, flags };

	st_le16(b + 8, first);
	st_le16(b + 10, last);
	st_le16(b + 14, (uint16_t)(last - first + 1));
	aml_bytes(a, b, sizeof(b));
}

void aml_res_bus(struct aml *a, uint16_t first, uint16_t last)
{
	word_space(a, SPACE_BUS, 0, first, last);
}

void aml_res_io_window(struct aml *a, uint16_t first, uint16_t last)
{
	word_space(a, SPACE_IO, 3, first, last);
}

void aml_res_mem32_window(struct aml *a, uint32_t first, uint32_t last, bool cacheable)
{
	uint8_t b[26] = { 0x87, 23, 0, SPACE_MEM, SPACE_FIXED, cacheable ? 3 : 1 };

	st_le32(b + 10, first);
	st_le32(b + 14, last);
	st_le32(b + 22, last - first + 1);
	aml_bytes(a, b, sizeof(b));
}

void aml_res_mem64_window(struct aml *a, uint64_t first, uint64_t last)
{
	uint8_t b[46] = { 0x8a, 43, 0, SPACE_MEM, SPACE_FIXED, 3 };

	st_le64(b + 14, first);
	st_le64(b + 22, last);
	st_le64(b + 38, last - first + 1);
	aml_bytes(a, b, sizeof(b));
}

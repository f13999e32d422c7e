/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMBIOS: entry point and types 0, 1, 3, 4, 16, 17, 19, 32, 127. Source: DSP0134 3.6.
 * Any thread; no state.
 */
#include "base/base.h"

#include "base/bytes.h"
#include "fw/smbios.h"

#define ENTRY_LEN 24

struct sm {
	uint8_t *data;
	size_t len, cap;
	uint16_t handle;
	size_t max; /* largest structure */
};

static void put(struct sm *s, const void *p, size_t n)
{
	if (s->cap - s->len < n) {
		s->cap = (s->cap + n) * 2;
		s->data = xrealloc(s->data, s->cap, 1);
	}
	if (n)
		memcpy(s->data + s->len, p, n);
	s->len += n;
}

/* One structure: body begins at offset 4; strings (NULL-terminated list) are numbered from 1. */
static uint16_t structure(struct sm *s, uint8_t type, const uint8_t *body, uint8_t len,
			  const char *const *strings)
{
	size_t at = s->len;
	uint8_t head[4] = { type, (uint8_t)(len + 4) };
	uint16_t handle = (uint16_t)((type << 8) + s->handle++);

	st_le16(head + 2, handle);
	put(s, head, sizeof(head));
	put(s, body, len);
	for (size_t i = 0; strings && strings[i]; i++)
		put(s, strings[i], strlen(strings[i]) + 1);
	put(s, "\0", strings && strings[0] ? 1 : 2);
	s->max = MAX(s->max, s->len - at);
	return handle;
}

static void bios_info(struct sm *s)
{
	static const char *const strings[] = { "hanok", HANOK_VERSION, "01/01/2026", NULL };
	uint8_t b[22] = { 0 };

	b[0] = 1;
	b[1] = 2;
	st_le16(b + 2, 0xe800);
	b[4] = 3;
	st_le64(b + 6, BIT64(3)); /* characteristics are not supported */
	b[15] = 0x14;		  /* extension 2: virtual machine, targeted content */
	b[16] = b[17] = b[18] = b[19] = 0xff;
	structure(s, 0, b, sizeof(b), strings);
}

static void system_info(struct sm *s, const struct fw_board *board)
{
	static const char *const strings[] = { "hanok", "Standard PC (Q35 + ICH9)", "pc-q35",
					       NULL };
	uint8_t b[23] = { 0 };
	const uint8_t *u = board->uuid;

	b[0] = 1;
	b[1] = 2;
	b[2] = 3;
	if (u) {
		/* The first three fields are little-endian since 2.6. */
		st_le32(b + 4, ld_be32(u));
		st_le16(b + 8, ld_be16(u + 4));
		st_le16(b + 10, ld_be16(u + 6));
		memcpy(b + 12, u + 8, 8);
	}
	b[20] = 6; /* wake-up: power switch */
	structure(s, 1, b, sizeof(b), strings);
}

static void chassis(struct sm *s)
{
	static const char *const strings[] = { "hanok", NULL };
	uint8_t b[18] = { 1, 1 };

	b[5] = b[6] = b[7] = 3; /* safe */
	b[8] = 2;		/* security: unknown */
	structure(s, 3, b, sizeof(b), strings);
}

static void processor(struct sm *s, const struct fw_board *board, unsigned socket)
{
	char name[16] = "CPU 0";
	const char *strings[] = { name, board->cpu_vendor ?: "unknown",
				  board->cpu_name ?: "unknown", NULL };
	unsigned cores = board->cores_per_socket ?: 1,
		 threads = cores * (board->threads_per_core ?: 1);
	uint8_t b[44] = { 0 };

	name[4] = (char)('0' + socket % 10);
	b[0] = 1;     /* socket */
	b[1] = 3;     /* central processor */
	b[2] = 2;     /* family: unknown */
	b[3] = 2;     /* manufacturer */
	b[12] = 3;    /* version */
	b[20] = 0x41; /* populated, enabled */
	b[21] = 1;    /* upgrade: other */
	st_le16(b + 22, 0xffff);
	st_le16(b + 24, 0xffff);
	st_le16(b + 26, 0xffff);
	b[31] = b[32] = (uint8_t)MIN(cores, 255u);
	b[33] = (uint8_t)MIN(threads, 255u);
	st_le16(b + 34, 0x000c); /* 64-bit, multi-core */
	st_le16(b + 36, 2);
	st_le16(b + 38, (uint16_t)cores);
	st_le16(b + 40, (uint16_t)cores);
	st_le16(b + 42, (uint16_t)threads);
	structure(s, 4, b, sizeof(b), strings);
}

static void memory(struct sm *s, const struct fw_board *board)
{
	static const char *const strings[] = { "DIMM 0", NULL };
	uint64_t size = board->low_end + board->high_size;
	uint8_t a[19] = { 0 }, d[36] = { 0 }, m[27] = { 0 };
	uint16_t array;

	a[0] = 1; /* other */
	a[1] = 3; /* system memory */
	a[2] = 6; /* multi-bit ECC */
	st_le32(a + 3, 0x80000000u);
	st_le16(a + 7, 0xfffe);
	st_le16(a + 9, 1);
	st_le64(a + 11, size);
	array = structure(s, 16, a, sizeof(a), NULL);

	st_le16(d, array);
	st_le16(d + 2, 0xfffe);
	st_le16(d + 4, 64);
	st_le16(d + 6, 64);
	st_le16(d + 8, size >> 20 < 0x7fff ? (uint16_t)(size >> 20) : 0x7fff);
	d[10] = 9; /* DIMM */
	d[12] = 1;
	d[14] = 7; /* RAM */
	st_le16(d + 15, 2);
	if (size >> 20 >= 0x7fff)
		st_le32(d + 24, (uint32_t)(size >> 20));
	structure(s, 17, d, sizeof(d), strings);

	/* 0xffffffff: the 64-bit fields hold. The array is described as one contiguous run. */
	st_le32(m, 0xffffffffu);
	st_le32(m + 4, 0xffffffffu);
	st_le16(m + 8, array);
	m[10] = 1;
	st_le64(m + 11, 0);
	st_le64(m + 19, (board->high_size ? GIB(4) + board->high_size : board->low_end) - 1);
	structure(s, 19, m, sizeof(m), NULL);
}

static void entry_point(uint8_t *p, uint64_t table, size_t len)
{
	uint8_t sum = 0;

	memcpy(p, "_SM3_", 5);
	p[6] = ENTRY_LEN;
	p[7] = 3;
	p[8] = 6;
	p[10] = 1;
	st_le32(p + 12, (uint32_t)len);
	st_le64(p + 16, table);
	for (unsigned i = 0; i < ENTRY_LEN; i++)
		sum = (uint8_t)(sum + p[i]);
	p[5] = (uint8_t)-sum;
}

int smbios_build(const struct fw_board *board, uint64_t base, size_t limit, struct fw_blob *out,
		 struct err *e)
{
	static const uint8_t zero[32], boot[16];
	struct sm s = { 0 };

	put(&s, zero, 32);
	bios_info(&s);
	system_info(&s, board);
	chassis(&s);
	for (unsigned i = 0; i < MAX(board->sockets, 1u); i++)
		processor(&s, board, i);
	memory(&s, board);
	structure(&s, 32, boot, 7, NULL); /* boot status: no error */
	structure(&s, 127, NULL, 0, NULL);
	entry_point(s.data, base + 32, s.len - 32);
	if (s.len > limit) {
		free(s.data);
		return err_set(e, ENOSPC, "the SMBIOS tables have %zu bytes, %zu fit", s.len,
			       limit);
	}
	*out = (struct fw_blob){ .addr = base, .data = s.data, .len = s.len };
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader over untrusted bytes that never leaves them: a read past the end gives 0 and sets bad,
 * which stays. Check bad once, after a group of reads.
 */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include "base/bytes.h"
#include <stdbool.h>
#include <stddef.h>

struct cursor {
	const uint8_t *data;
	size_t len, pos;
	bool bad;
};

static inline struct cursor cursor_of(const void *data, size_t len)
{
	return (struct cursor){ .data = data, .len = len };
}

/* The next n bytes, or NULL (and bad). */
static inline const uint8_t *rd_bytes(struct cursor *c, size_t n)
{
	const uint8_t *p;

	if (c->bad || n > c->len - c->pos) {
		c->bad = true;
		return NULL;
	}
	p = c->data + c->pos;
	c->pos += n;
	return p;
}

static inline void rd_seek(struct cursor *c, uint64_t pos)
{
	if (pos > c->len)
		c->bad = true;
	else
		c->pos = (size_t)pos;
}

static inline uint8_t rd_u8(struct cursor *c)
{
	const uint8_t *p = rd_bytes(c, 1);

	return p ? *p : 0;
}

static inline uint16_t rd_le16(struct cursor *c)
{
	const uint8_t *p = rd_bytes(c, 2);

	return p ? ld_le16(p) : 0;
}

static inline uint32_t rd_le32(struct cursor *c)
{
	const uint8_t *p = rd_bytes(c, 4);

	return p ? ld_le32(p) : 0;
}

static inline uint64_t rd_le64(struct cursor *c)
{
	const uint8_t *p = rd_bytes(c, 8);

	return p ? ld_le64(p) : 0;
}

#endif

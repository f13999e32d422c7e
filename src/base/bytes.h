/* SPDX-License-Identifier: Apache-2.0 */
/* Little- and big-endian loads and stores at any alignment, for wire and firmware formats. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define BYTES_ACCESSORS_(bits)                                    \
	static inline uint##bits##_t ld_le##bits(const void *p)   \
	{                                                         \
		uint##bits##_t v;                                 \
		memcpy(&v, p, sizeof(v));                         \
		return le##bits##toh(v);                          \
	}                                                         \
	static inline void st_le##bits(void *p, uint##bits##_t v) \
	{                                                         \
		v = htole##bits(v);                               \
		memcpy(p, &v, sizeof(v));                         \
	}                                                         \
	static inline uint##bits##_t ld_be##bits(const void *p)   \
	{                                                         \
		uint##bits##_t v;                                 \
		memcpy(&v, p, sizeof(v));                         \
		return be##bits##toh(v);                          \
	}                                                         \
	static inline void st_be##bits(void *p, uint##bits##_t v) \
	{                                                         \
		v = htobe##bits(v);                               \
		memcpy(p, &v, sizeof(v));                         \
	}

BYTES_ACCESSORS_(16)
BYTES_ACCESSORS_(32)
BYTES_ACCESSORS_(64)

/* Whether len bytes are all zero; len: 16 or a larger multiple of 8. */
static inline bool is_zero(const void *p, size_t len)
{
	/* Most memory that is not zero shows it at once. */
	if (ld_le64(p) || ld_le64((const uint8_t *)p + len / 16 * 8))
		return false;
	return !memcmp(p, (const uint8_t *)p + 8, len - 8);
}

/* A little-endian value of size 1, 2, 4 or 8 bytes, zero-extended; other sizes give 0. */
static inline uint64_t ld_le(const void *p, unsigned size)
{
	switch (size) {
	case 1:
		return *(const uint8_t *)p;
	case 2:
		return ld_le16(p);
	case 4:
		return ld_le32(p);
	case 8:
		return ld_le64(p);
	default:
		return 0;
	}
}

static inline void st_le(void *p, uint64_t v, unsigned size)
{
	switch (size) {
	case 1:
		*(uint8_t *)p = (uint8_t)v;
		break;
	case 2:
		st_le16(p, (uint16_t)v);
		break;
	case 4:
		st_le32(p, (uint32_t)v);
		break;
	case 8:
		st_le64(p, v);
		break;
	default:
		break;
	}
}

#endif

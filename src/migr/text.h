/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header's text: pairs of key and value, in order, a key possibly several times. What the
 * machine is (desc.c) and the words it was started with.
 */
#ifndef MIGR_TEXT_H
#define MIGR_TEXT_H

#include "base/base.h"
#include "core/state.h"

#define MIGR_TEXT_MAX  MIB(1) /* bytes in a stream */
#define MIGR_PAIRS_MAX 8192u

struct migr_pair {
	char *key, *val;
};

struct migr_text {
	struct migr_pair *pair;
	size_t n, room;
};

void text_fini(struct migr_text *);
void text_add(struct migr_text *, const char *key, const char *val);
void text_addf(struct migr_text *, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The first value of key, or NULL. */
const char *text_get(const struct migr_text *, const char *key);

/* u16 length and bytes of the key, u32 length and bytes of the value, for each pair. */
void text_encode(const struct migr_text *, struct state_buf *out);
/* Hostile: no NUL bytes, keys of printable ASCII, bounded numbers. */
int text_decode(struct migr_text *, const uint8_t *, size_t, struct err *e) MUST_CHECK;

#endif

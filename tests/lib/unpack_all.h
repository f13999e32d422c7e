/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel's payload unpacked in one piece of memory, for who wants to look at all of it. */
#ifndef TEST_UNPACK_ALL_H
#define TEST_UNPACK_ALL_H

#include "base/base.h"
#include "fw/unpack.h"

struct unpacked {
	uint8_t *out;
	size_t len;
};

static inline int keep_piece_(void *arg, const uint8_t *data, size_t len, size_t at, struct err *e)
{
	struct unpacked *u = arg;

	if (at != u->len)
		return err_set(e, EPROTO, "a piece from %zu on behind %zu bytes", at, u->len);
	u->out = xrealloc(u->out, 1, at + len);
	memcpy(u->out + at, data, len);
	u->len += len;
	return 0;
}

/* As unpack(): *out is to be freed, and NULL when that fails. */
static inline int unpack_all(const uint8_t *in, size_t n, uint8_t **out, size_t *len, struct err *e)
{
	struct unpacked u = { NULL, 0 };
	int r = unpack(in, n, keep_piece_, &u, e);

	if (r < 0)
		free(u.out);
	*out = r < 0 ? NULL : u.out;
	*len = u.len;
	return r;
}

#endif

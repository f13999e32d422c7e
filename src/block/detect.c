/* SPDX-License-Identifier: Apache-2.0 */
/* detect-zeroes: whether a write has anything but zeroes. Any thread; no state. */
#include "block/block_int.h"

/* A buffer is zero when its first byte is, and each byte equals the one in front of it. */
static bool zero(const uint8_t *p, size_t len)
{
	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

bool blk_all_zero(const struct blk_req *r)
{
	for (unsigned i = 0; i < r->niov; i++)
		if (!zero(r->iov[i].iov_base, r->iov[i].iov_len))
			return false;
	return true;
}

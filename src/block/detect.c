/* SPDX-License-Identifier: Apache-2.0 */
/*
 * detect-zeroes: a write of nothing but zeroes takes no space, the file is told so instead. Any
 * thread; no state.
 */
#include "block/block_int.h"

/*
 * A guest may send gigabytes of one page. Whoever submits, a loop's thread with others to serve,
 * looks at so much; the rest is for a worker, who would have had to write it.
 */
#define LOOK KIB(64)

/* A buffer is zero when its first byte is, and each byte equals the one in front of it. */
static bool zero(const uint8_t *p, size_t len)
{
	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

/* Whether the first max bytes are. */
static bool begins_with_zeroes(const struct blk_req *r, uint64_t max)
{
	for (unsigned i = 0; i < r->niov && max; i++) {
		size_t len = MIN((uint64_t)r->iov[i].iov_len, max);

		if (!zero(r->iov[i].iov_base, len))
			return false;
		max -= len;
	}
	return true;
}

static void make_zero(struct blk_req *r, enum blk_detect detect)
{
	BLK_ZEROES(r) = r->unmap ? 1 : 2;
	r->op = BLK_ZERO;
	r->unmap = detect == BLK_DETECT_UNMAP;
}

void blk_detect(struct blk_req *r, enum blk_detect detect)
{
	if (detect == BLK_DETECT_OFF || r->op != BLK_WRITE || BLK_SCAN(r) ||
	    !begins_with_zeroes(r, LOOK))
		return;
	if (r->len > LOOK)
		BLK_SCAN(r) = detect;
	else
		make_zero(r, detect);
}

void blk_detect_rest(struct blk_req *r)
{
	if (BLK_SCAN(r) && begins_with_zeroes(r, r->len))
		make_zero(r, (enum blk_detect)BLK_SCAN(r));
}

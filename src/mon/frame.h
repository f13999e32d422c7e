/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON values out of a stream of bytes: several in one read, one over several reads. Strings may be
 * in single quotes, as QEMU takes them from people and shell scripts. Size and depth
 * are bounded; after a bad text the stream goes on behind it, or behind the end of its line.
 */
#ifndef MON_FRAME_H
#define MON_FRAME_H

#include "base/base.h"
#include <jansson.h>

#define FRAME_MAX_SIZE	(1u << 20)
#define FRAME_MAX_DEPTH 64u

struct frame {
	char *buf;
	size_t len, cap;
	uint64_t base;	/* stream offset of buf[0] */
	size_t scanned; /* what of buf was looked at */
	unsigned depth;
	uint64_t objects; /* a bit a level: { or [ */
	char quote;	  /* that began the string that we are in, or 0 */
	bool escaped;	  /* the next byte of it is as it is */
	bool single;	  /* strings of the value are in single quotes */
	bool skipping;	  /* the rest of a bad line */
};

void frame_init(struct frame *);
void frame_fini(struct frame *);
void frame_put(struct frame *, const void *data, size_t len);
/*
 * The next value: 1 and *out (a new reference), its stream offsets [*start, *end); 0: not all of it
 * is there yet; -EINVAL: a text that is none, e says why; call again.
 */
int frame_next(struct frame *, json_t **out, uint64_t *start, uint64_t *end,
	       struct err *e) MUST_CHECK;
/* Whether nothing of a further value is there yet. */
bool frame_is_blank(const struct frame *);

#endif

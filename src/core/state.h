/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State tables: what of a struct is saved, in one declaration that the engine here reads and
 * writes, that tests round-trip, and that CI compares with the struct's members in DWARF.
 *
 * Every member of a struct with a table is listed: as state (ST_U8 ... ST_BYTES), as ST_HOST
 * (host handles, configuration that the front end gives again) or as ST_DERIVED (rebuilt in
 * post_load). A stream is named fields with kinds and lengths, so it can be extended; each object
 * carries its version and a CRC-32C. Loading treats the stream as hostile. See docs/state.md.
 */
#ifndef CORE_STATE_H
#define CORE_STATE_H

#include "base/base.h"

enum state_kind {
	STATE_END,
	STATE_U8,
	STATE_U16,
	STATE_U32,
	STATE_U64,
	STATE_BOOL,
	STATE_BYTES,  /* fixed array of u8, stored as is */
	STATE_SUB,    /* nested struct(s) with a table of their own */
	STATE_SUBS,   /* pointer to an array of such structs; the object fixed their number */
	STATE_HOST,   /* not state */
	STATE_DERIVED, /* not state, rebuilt by post_load */
	STATE_NS,  /* u64: a CLOCK_MONOTONIC of the host, in ns; UINT64_MAX = never */
	STATE_TSC, /* u64: a time stamp counter of the host */
};

struct state_desc;

struct state_field {
	const char *name;
	enum state_kind kind;
	uint32_t offset;
	uint32_t elem;	/* bytes of one element */
	uint32_t count; /* elements; 1 for a scalar */
	uint32_t count_at; /* STATE_SUBS: offset of the uint32_t that holds the number */
	uint32_t since; /* version that brought it; absent in an older stream is fine */
	const struct state_desc *sub;
};

struct state_desc {
	const char *name;
	const char *struct_name; /* for the coverage check */
	uint32_t version;
	const struct state_field *fields;
	/* The stream is hostile: check indices, sizes and modes here. 0 or -errno with e set. */
	int (*post_load)(void *obj, struct err *e);
	void (*pre_save)(void *obj); /* optional: bring members up to date */
	/* Optional: before the first field is read. Without post_load behind it the load has failed. */
	void (*pre_load)(void *obj);
};

#define ST_TYPE_(type, member, ctype) \
	(sizeof(char[_Generic(((type *)0)->member, ctype: 1, volatile ctype: 1, default: -1)]))
#define ST_SCALAR_(type, member, ctype, k)                                              \
	{ .name = #member, .kind = (k), .offset = offsetof(type, member),               \
	  .elem = (uint32_t)sizeof(ctype) * (uint32_t)ST_TYPE_(type, member, ctype), .count = 1 }
#define ST_ARRAY_(type, member, ctype, k)                                               \
	{ .name = #member, .kind = (k), .offset = offsetof(type, member),               \
	  .elem = (uint32_t)sizeof(ctype) *                                             \
		  (uint32_t)sizeof(char[_Generic(&((type *)0)->member[0], ctype *: 1, default: -1)]), \
	  .count = sizeof(((type *)0)->member) / sizeof(ctype) }

/* A type mismatch between the table and the struct does not compile. */
#define ST_U8(type, m)	 ST_SCALAR_(type, m, uint8_t, STATE_U8)
#define ST_U16(type, m)	 ST_SCALAR_(type, m, uint16_t, STATE_U16)
#define ST_U32(type, m)	 ST_SCALAR_(type, m, uint32_t, STATE_U32)
#define ST_U64(type, m)	 ST_SCALAR_(type, m, uint64_t, STATE_U64)
/* Moments of the host: see state_shift(). */
#define ST_NS(type, m)	 ST_SCALAR_(type, m, uint64_t, STATE_NS)
#define ST_TSC(type, m)	 ST_SCALAR_(type, m, uint64_t, STATE_TSC)
#define ST_BOOL(type, m) ST_SCALAR_(type, m, bool, STATE_BOOL)
#define ST_U8A(type, m)	 ST_ARRAY_(type, m, uint8_t, STATE_BYTES)
/* An array of byte arrays. */
#define ST_U8AA(type, m)                                                                \
	{ .name = #m, .kind = STATE_BYTES, .offset = offsetof(type, m),                 \
	  .elem = (uint32_t)sizeof(char[_Generic(&((type *)0)->m[0][0], uint8_t *: 1,  \
						default: -1)]),                         \
	  .count = sizeof(((type *)0)->m) }
#define ST_U16A(type, m) ST_ARRAY_(type, m, uint16_t, STATE_U16)
#define ST_U32A(type, m) ST_ARRAY_(type, m, uint32_t, STATE_U32)
#define ST_U64A(type, m) ST_ARRAY_(type, m, uint64_t, STATE_U64)
#define ST_BOOLA(type, m) ST_ARRAY_(type, m, bool, STATE_BOOL)
#define ST_SUB(type, m, d)                                                              \
	{ .name = #m, .kind = STATE_SUB, .offset = offsetof(type, m),                   \
	  .elem = sizeof(((type *)0)->m), .count = 1, .sub = (d) }
#define ST_SUBA(type, m, d)                                                             \
	{ .name = #m, .kind = STATE_SUB, .offset = offsetof(type, m),                   \
	  .elem = sizeof(((type *)0)->m[0]),                                            \
	  .count = sizeof(((type *)0)->m) / sizeof(((type *)0)->m[0]), .sub = (d) }
/* m points to nr (a uint32_t member) structs that exist before a load; a stream with another
 * number is refused. */
#define ST_SUBS(type, m, nr, d)                                                         \
	{ .name = #m, .kind = STATE_SUBS, .offset = offsetof(type, m),                  \
	  .elem = sizeof(((type *)0)->m[0]), .count = 1,                                \
	  .count_at = offsetof(type, nr) +                                              \
		      0 * sizeof(char[_Generic(((type *)0)->nr, uint32_t: 1, default: -1)]), \
	  .sub = (d) }
#define ST_HOST(type, m) \
	{ .name = #m, .kind = STATE_HOST, .offset = offsetof(type, m),                  \
	  .elem = sizeof(((type *)0)->m), .count = 1 }
#define ST_DERIVED(type, m) \
	{ .name = #m, .kind = STATE_DERIVED, .offset = offsetof(type, m),               \
	  .elem = sizeof(((type *)0)->m), .count = 1 }
#define ST_END { .kind = STATE_END }

/*
 * Moves every moment in obj: the guest's time stood still while the host's clocks ran on by so much
 * (modulo 2^64, so a negative number works too), or it goes on where they read otherwise.
 */
void state_shift(const struct state_desc *, void *obj, uint64_t ns, uint64_t tsc);

/* A growing byte buffer that a save writes to. */
struct state_buf {
	uint8_t *data;
	size_t len, cap;
};
void state_buf_fini(struct state_buf *);

/* Appends object obj, described by d, under the name id ("uart0"), to out. */
void state_save(struct state_buf *out, const char *id, const struct state_desc *d, void *obj);

/*
 * Reads one object from [*pos, end), which must be id of type d, into obj; advances *pos.
 * On error obj may be half-filled: the caller resets it or gives the VM up. -errno with e set.
 */
int state_load(const uint8_t **pos, const uint8_t *end, const char *id, const struct state_desc *d,
	       void *obj, struct err *e) MUST_CHECK;

#endif

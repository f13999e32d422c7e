/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of devices and objects as tables: name, kind, place in a struct, default and limits.
 * Control thread.
 */
#ifndef CORE_PROP_H
#define CORE_PROP_H

#include "base/base.h"
#include "core/conf.h"

enum prop_kind {
	PROP_END,
	PROP_BOOL,
	PROP_U8,
	PROP_U16,
	PROP_U32,
	PROP_U64,
	PROP_SIZE,
	PROP_STR,
	PROP_ONOFFAUTO
};

/* PROP_ONOFFAUTO is kept in a uint8_t. */
enum prop_onoffauto { PROP_AUTO, PROP_ON, PROP_OFF };

/*
 * One property of a device or object: the only parser of their options, and what "TYPE,help"
 * prints.
 */
struct prop {
	const char *name;
	enum prop_kind kind;
	uint32_t offset; /* in the owner's struct; PROP_STR: char *, of props_free() */
	uint64_t def, min, max;
	const char *def_str;
	const char *help;
};

#define PROP_UINT(n, type, m, k, d, lo, hi, h)                                                  \
	{                                                                                       \
		.name = (n), .kind = (k), .offset = offsetof(type, m), .def = (d), .min = (lo), \
		.max = (hi), .help = (h)                                                        \
	}
#define PROP_STRING(n, type, m, d, h)                                                       \
	{                                                                                   \
		.name = (n), .kind = PROP_STR, .offset = offsetof(type, m), .def_str = (d), \
		.help = (h)                                                                 \
	}
#define PROP_FLAG(n, type, m, d, h)                                                                \
	{                                                                                          \
		.name = (n), .kind = PROP_BOOL, .offset = offsetof(type, m), .def = (d), .max = 1, \
		.help = (h)                                                                        \
	}
#define PROPS_END                \
	{                        \
		.kind = PROP_END \
	}

/* Sets every property of base from node's keys; node NULL or a key absent: the default. */
int props_set(void *base, const struct prop *props, struct conf_node *node,
	      struct err *e) MUST_CHECK;
void props_free(void *base, const struct prop *props); /* the strings */
/* The names of props and of more[] (n of them), NULL-terminated; the array is the caller's. */
const char **props_names(const struct prop *props, const char *const *more, size_t n);
/* -EINVAL when node has a key that is none of known[]: says which, and the nearest. */
int props_check_known(const struct conf_node *node, const char *const *known, const char *help,
		      struct err *e) MUST_CHECK;

#endif

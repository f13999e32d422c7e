/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's option syntax, of which there are two: JSON, and "key=value": comma separated, ",," for a
 * literal comma, a key alone means key=on ("nokey" alone means key=off), and the first part may
 * stand without its key.
 */
#ifndef CORE_KEYVAL_H
#define CORE_KEYVAL_H

#include "base/base.h"

struct keyval {
	char *key, *val;
};

struct keyvals {
	struct keyval *kv;
	size_t n;
};

/*
 * Parses text. implied is the key of a first part that has no "=" (NULL: it is a flag like any
 * other). Fails on an empty key or a key given as "=value". kvs is the caller's to free.
 */
int keyvals_parse(struct keyvals *kvs, const char *text, const char *implied,
		  struct err *e) MUST_CHECK;
/* The same, or the members of a JSON object when text begins with '{' (a nested one's as "a.b"). */
int keyvals_parse_any(struct keyvals *kvs, const char *text, const char *implied,
		      struct err *e) MUST_CHECK;
/* The members of obj, which has to be an object: true is "on", null is "". */
struct json_t;
int keyvals_from_json(struct keyvals *kvs, const struct json_t *obj, struct err *e) MUST_CHECK;
void keyvals_fini(struct keyvals *);
/* Gives node all of them, as conf_set_option(). */
struct conf_node;
void keyvals_put(const struct keyvals *, struct conf_node *);

/* Adds one behind the others. */
void keyvals_add(struct keyvals *, const char *key, const char *val);
/* A letter, then letters, digits and -._ */
bool is_identifier(const char *);
/* "id", when it is there, has to be an identifier. */
int keyvals_check_id(const struct keyvals *, struct err *e) MUST_CHECK;

/* The last value of key, or NULL. */
const char *keyvals_get(const struct keyvals *, const char *key);
/* Removes key and returns its last value (the caller's to free), or NULL. */
char *keyvals_take(struct keyvals *, const char *key);
/* on/off/yes/no/true/false; -EINVAL otherwise. */
int parse_onoff(const char *key, const char *val, bool *out, struct err *e) MUST_CHECK;

/* A key and the values it takes; vals NULL = any. */
struct keyval_rule {
	const char *key;
	const char *const *vals; /* NULL-terminated */
};
extern const char *const keyval_onoff[];
/*
 * Each key has to be one of rules[] (ends with a NULL key) with one of its values. The message
 * names the nearest key, or the values.
 */
int keyvals_check(const struct keyvals *, const struct keyval_rule *rules,
		  struct err *e) MUST_CHECK;

#endif

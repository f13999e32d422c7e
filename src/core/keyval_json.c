/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options in JSON, as QEMU takes them beside key=value: an object becomes the same flat list of
 * keys, with dots between the levels and numbers for an array's members ("addr.path", "in.0").
 * The text may come from another user's process: jansson bounds its depth, here it is bounded
 * again. No state.
 */
#include "base/base.h"
#include "core/keyval.h"
#include <jansson.h>
#include <stdio.h>

#define DEPTH_MAX 8u
#define KEY_MAX	  256u

static int flatten(struct keyvals *kvs, const char *key, const json_t *val, unsigned depth,
		   struct err *e);

/* The name of a member, below prefix ("" = at the top). */
static int join(char **out, const char *prefix, const char *name, struct err *e)
{
	if (!*name || strlen(prefix) + strlen(name) + 1 > KEY_MAX)
		return err_set(e, EINVAL, "JSON: '%s' has a key that is %s", *prefix ? prefix : "{",
			       *name ? "too long" : "empty");
	*out = xasprintf("%s%s%s", prefix, *prefix ? "." : "", name);
	return 0;
}

static int flatten_object(struct keyvals *kvs, const char *prefix, const json_t *obj,
			  unsigned depth, struct err *e)
{
	json_t *o = (json_t *)obj; /* jansson's iterators are not const; nothing is changed */

	for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
		autofree char *key = NULL;
		int r = join(&key, prefix, json_object_iter_key(it), e);

		if (!r)
			r = flatten(kvs, key, json_object_iter_value(it), depth, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int flatten_array(struct keyvals *kvs, const char *prefix, const json_t *array,
			 unsigned depth, struct err *e)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		autofree char *key = xasprintf("%s.%zu", prefix, i);
		int r = flatten(kvs, key, json_array_get(array, i), depth, e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int flatten(struct keyvals *kvs, const char *key, const json_t *val, unsigned depth,
		   struct err *e)
{
	char text[32];

	if (!depth)
		return err_set(e, EINVAL, "JSON: '%s' is nested deeper than %u levels", key,
			       DEPTH_MAX);
	switch (json_typeof(val)) {
	case JSON_OBJECT:
		return flatten_object(kvs, key, val, depth - 1, e);
	case JSON_ARRAY:
		return flatten_array(kvs, key, val, depth - 1, e);
	case JSON_STRING:
		keyvals_add(kvs, key, json_string_value(val));
		return 0;
	case JSON_INTEGER:
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(val));
		keyvals_add(kvs, key, text);
		return 0;
	case JSON_TRUE:
	case JSON_FALSE:
		keyvals_add(kvs, key, json_is_true(val) ? "on" : "off");
		return 0;
	case JSON_NULL:
		keyvals_add(kvs, key, "");
		return 0;
	case JSON_REAL:
	default:
		return err_set(e, EINVAL, "JSON: '%s' is a fraction; nothing here takes one", key);
	}
}

int keyvals_from_json(struct keyvals *kvs, const struct json_t *obj, struct err *e)
{
	int r;

	memset(kvs, 0, sizeof(*kvs));
	if (!json_is_object(obj))
		return err_set(e, EINVAL, "JSON: an object is needed: {\"key\": value, ...}");
	r = flatten_object(kvs, "", obj, DEPTH_MAX, e);
	if (!r)
		r = keyvals_check_id(kvs, e);
	if (r < 0)
		keyvals_fini(kvs);
	return r;
}

static int parse_json(struct keyvals *kvs, const char *text, struct err *e)
{
	json_error_t why;
	json_t *obj = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	int r;

	memset(kvs, 0, sizeof(*kvs));
	if (!obj)
		return err_set(e, EINVAL, "JSON, line %d, column %d: %s", why.line, why.column,
			       why.text);
	r = keyvals_from_json(kvs, obj, e);
	json_decref(obj);
	return r;
}

int keyvals_parse_any(struct keyvals *kvs, const char *text, const char *implied, struct err *e)
{
	return text[strspn(text, " \t\r\n")] == '{' ? parse_json(kvs, text, e)
						    : keyvals_parse(kvs, text, implied, e);
}

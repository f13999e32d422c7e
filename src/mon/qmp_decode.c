/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON values against the schema's tables (qmp_type.h): arguments into C structs, and the same walk
 * without a struct for replies and events. The input is hostile in the first case: its depth was
 * bounded by whoever parsed it, and types nest no deeper than it does. Control thread. State: none.
 */
#include "base/base.h"
#include "core/conf.h"
#include "mon/qmp_type.h"
#include <stdio.h>

struct qmp_block {
	struct qmp_block *next;
	max_align_t data[];
};

void *qmp_arena_alloc(struct qmp_arena *a, size_t n, size_t size)
{
	struct qmp_block *b;

	if (n && size > (SIZE_MAX / 2) / n)
		abort(); /* sizes come from tables, n from a text of bounded length */
	b = xcalloc(1, sizeof(*b) + n * size);
	b->next = a->blocks;
	a->blocks = b;
	return b->data;
}

void qmp_arena_fini(struct qmp_arena *a)
{
	while (a->blocks) {
		struct qmp_block *b = a->blocks;

		a->blocks = b->next;
		free(b);
	}
}

/* Where the walk is, for messages; a list through the stack. */
struct place {
	const struct place *up;
	const char *name;
	size_t index; /* when name is NULL */
};

struct walk {
	struct qmp_arena *arena; /* NULL: only check */
	struct err *e;
};

static int read_value(struct walk *w, const struct qmp_type *t, json_t *json, void *out,
		      const struct place *at);

static void put_place(const struct place *at, char *buf, size_t size)
{
	size_t n;

	if (!at)
		return;
	put_place(at->up, buf, size);
	n = strlen(buf);
	if (!at->name)
		snprintf(buf + n, size - n, "[%zu]", at->index);
	else
		snprintf(buf + n, size - n, "%s%.60s", n ? "." : "", at->name);
}

#define PLACE(buf, at)      \
	char buf[200] = ""; \
	put_place(at, buf, sizeof(buf))

static int wrong_type(struct walk *w, const struct qmp_type *t, const struct place *at)
{
	PLACE(name, at);
	return err_set(w->e, EINVAL, "Invalid parameter type for '%s', expected: %s", name,
		       t->name);
}

static int read_int(struct walk *w, const struct qmp_type *t, json_t *json, void *out,
		    const struct place *at)
{
	int64_t v = json_integer_value(json);
	PLACE(name, at);

	if (!json_is_integer(json))
		return wrong_type(w, t, at);
	if (v < t->min || v > (int64_t)t->max)
		return err_set(w->e, ERANGE,
			       "Parameter '%s' expects a number from %" PRId64 " to %" PRIu64
			       ", not %" PRId64,
			       name, t->min, t->max, v);
	if (out)
		*(int64_t *)out = v;
	return 0;
}

static int read_uint(struct walk *w, const struct qmp_type *t, json_t *json, void *out,
		     const struct place *at)
{
	int64_t v = json_integer_value(json);
	PLACE(name, at);

	if (!json_is_integer(json))
		return wrong_type(w, t, at);
	if (v < 0 || (uint64_t)v > t->max)
		return err_set(w->e, ERANGE,
			       "Parameter '%s' expects a number from 0 to %" PRIu64
			       ", not %" PRId64,
			       name, t->max, v);
	if (out)
		*(uint64_t *)out = (uint64_t)v;
	return 0;
}

static int read_enum(struct walk *w, const struct qmp_type *t, json_t *json, void *out,
		     const struct place *at)
{
	const char *text = json_string_value(json), *near;
	const char *names[64];
	PLACE(name, at);

	if (!text)
		return wrong_type(w, t, at);
	for (unsigned i = 0; i < t->n; i++) {
		if (strcmp(text, t->names[i]) != 0)
			continue;
		if (out)
			*(unsigned *)out = i;
		return 0;
	}
	for (unsigned i = 0; i < MIN(t->n, 63u); i++)
		names[i] = t->names[i];
	names[MIN(t->n, 63u)] = NULL;
	near = nearest_word(text, names);
	return err_set(w->e, EINVAL, "Parameter '%s' does not accept value '%.100s'%s%s%s", name,
		       text, near ? " (did you mean '" : "", near ?: "", near ? "'?)" : "");
}

static int read_array(struct walk *w, const struct qmp_type *t, json_t *json, void *out,
		      const struct place *at)
{
	struct {
		size_t n;
		uint8_t *v;
	} *list = out;
	const struct qmp_type *elem = t->elem;
	bool by_pointer = elem->kind == QMP_STRUCT || elem->kind == QMP_ALTERNATE;
	size_t size = by_pointer ? sizeof(void *) : elem->size, n = json_array_size(json);

	if (!json_is_array(json))
		return wrong_type(w, t, at);
	if (list) {
		list->n = n;
		list->v = qmp_arena_alloc(w->arena, n, size);
	}
	for (size_t i = 0; i < n; i++) {
		struct place here = { .up = at, .index = i };
		int ret = read_value(w, elem, json_array_get(json, i),
				     list ? list->v + i * size : NULL, &here);

		if (ret < 0)
			return ret;
	}
	return 0;
}

static const struct qmp_member *member_of(const struct qmp_type *t, const char *name)
{
	for (unsigned i = 0; i < t->n; i++)
		if (!strcmp(t->members[i].name, name))
			return &t->members[i];
	return NULL;
}

/* The first member of json that neither t nor its branch knows. */
static int check_unknown(struct walk *w, const struct qmp_type *t, const struct qmp_type *branch,
			 json_t *json, const struct place *at)
{
	const char *key, *near;
	const char *names[64];
	unsigned n = 0;
	json_t *val;

	json_object_foreach(json, key, val)
	{
		struct place here = { .up = at, .name = key };
		PLACE(name, &here);

		if (member_of(t, key) || (branch && member_of(branch, key)))
			continue;
		for (unsigned i = 0; i < t->n && n < 63; i++)
			names[n++] = t->members[i].name;
		for (unsigned i = 0; branch && i < branch->n && n < 63; i++)
			names[n++] = branch->members[i].name;
		names[n] = NULL;
		near = nearest_word(key, names);
		return err_set(w->e, EINVAL, "Parameter '%s' is unexpected%s%s%s", name,
			       near ? " (did you mean '" : "", near ?: "", near ? "'?)" : "");
	}
	return 0;
}

static int read_members(struct walk *w, const struct qmp_type *t, json_t *json, uint8_t *out,
			const struct place *at)
{
	for (unsigned i = 0; i < t->n; i++) {
		const struct qmp_member *m = &t->members[i];
		struct place here = { .up = at, .name = m->name };
		json_t *val = json_object_get(json, m->name);
		int ret;
		PLACE(name, &here);

		if (!val && m->optional)
			continue;
		if (!val)
			return err_set(w->e, EINVAL, "Parameter '%s' is missing", name);
		ret = read_value(w, m->type, val, out ? out + m->off : NULL, &here);
		if (ret < 0)
			return ret;
		if (out && m->has_off >= 0)
			*(bool *)(out + m->has_off) = true;
	}
	return 0;
}

/* The branch that the tag chooses, or NULL; the tag was read and is a value of its enum. */
static const struct qmp_type *branch_of(const struct qmp_type *t, json_t *json)
{
	const struct qmp_member *tag;
	const char *text;

	if (t->tag < 0)
		return NULL;
	tag = &t->members[t->tag];
	text = json_string_value(json_object_get(json, tag->name));
	for (unsigned i = 0; text && i < tag->type->n; i++)
		if (!strcmp(text, tag->type->names[i]))
			return t->branches[i];
	return NULL;
}

/* Into a struct that is there already (out, or NULL). */
static int read_object(struct walk *w, const struct qmp_type *t, json_t *json, uint8_t *out,
		       const struct place *at)
{
	const struct qmp_type *branch = NULL;
	uint8_t *in_branch = NULL;
	int ret;

	if (!json_is_object(json))
		return wrong_type(w, t, at);
	ret = read_members(w, t, json, out, at);
	if (ret == 0)
		branch = branch_of(t, json);
	if (branch && out) {
		in_branch = qmp_arena_alloc(w->arena, 1, branch->size);
		*(void **)(out + t->branch_off) = in_branch;
	}
	/* A branch that is a union itself is not in use; its members would be refused. */
	if (branch)
		ret = read_members(w, branch, json, in_branch, at);
	return ret < 0 ? ret : check_unknown(w, t, branch, json, at);
}

static bool fits(const struct qmp_type *t, json_t *json)
{
	switch (t->kind) {
	case QMP_STR:
	case QMP_ENUM:
		return json_is_string(json);
	case QMP_INT:
	case QMP_UINT:
		return json_is_integer(json);
	case QMP_NUMBER:
		return json_is_number(json);
	case QMP_BOOL:
		return json_is_boolean(json);
	case QMP_NULL:
		return json_is_null(json);
	case QMP_STRUCT:
		return json_is_object(json);
	case QMP_ARRAY:
		return json_is_array(json);
	case QMP_ANY:
		return true;
	case QMP_ALTERNATE:
	default:
		return false;
	}
}

static int read_alternate(struct walk *w, const struct qmp_type *t, json_t *json, uint8_t *out,
			  const struct place *at)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (!fits(t->branches[i], json))
			continue;
		if (out)
			*(unsigned *)out = i;
		return read_value(w, t->branches[i], json, out ? out + t->branch_off : NULL, at);
	}
	return wrong_type(w, t, at);
}

/* Structs and alternates are reached through a pointer at out. */
static uint8_t *new_target(struct walk *w, const struct qmp_type *t, void *out)
{
	uint8_t *target;

	if (!out)
		return NULL;
	target = qmp_arena_alloc(w->arena, 1, t->size);
	*(void **)out = target;
	return target;
}

static int read_value(struct walk *w, const struct qmp_type *t, json_t *json, void *out,
		      const struct place *at)
{
	switch (t->kind) {
	case QMP_INT:
		return read_int(w, t, json, out, at);
	case QMP_UINT:
		return read_uint(w, t, json, out, at);
	case QMP_ENUM:
		return read_enum(w, t, json, out, at);
	case QMP_ARRAY:
		return read_array(w, t, json, out, at);
	case QMP_STRUCT:
		return read_object(w, t, json, new_target(w, t, out), at);
	case QMP_ALTERNATE:
		return read_alternate(w, t, json, new_target(w, t, out), at);
	case QMP_STR:
	case QMP_NUMBER:
	case QMP_BOOL:
	case QMP_NULL:
	case QMP_ANY:
	default:
		break;
	}
	if (!fits(t, json))
		return wrong_type(w, t, at);
	if (!out)
		return 0;
	if (t->kind == QMP_STR)
		*(const char **)out = json_string_value(json);
	else if (t->kind == QMP_NUMBER)
		*(double *)out = json_number_value(json);
	else if (t->kind == QMP_ANY)
		*(json_t **)out = json;
	else
		*(bool *)out = json_is_true(json) || t->kind == QMP_NULL;
	return 0;
}

int qmp_decode(const struct qmp_type *t, json_t *json, struct qmp_arena *arena, const void **out,
	       struct err *e)
{
	struct walk w = { .arena = arena, .e = e };
	uint8_t *target = qmp_arena_alloc(arena, 1, MAX(t->size, sizeof(void *)));

	*out = target;
	return t->kind == QMP_STRUCT ? read_object(&w, t, json, target, NULL)
				     : read_value(&w, t, json, target, NULL);
}

int qmp_check(const struct qmp_type *t, json_t *json, struct err *e)
{
	struct walk w = { .e = e };

	return read_value(&w, t, json, NULL, NULL);
}

/* ---- names ---- */

const struct qmp_command *qmp_command_find(const char *name)
{
	size_t lo = 0, hi = qmp_nr_commands;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int order = strcmp(name, qmp_commands[mid].name);

		if (!order)
			return &qmp_commands[mid];
		if (order < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct qmp_event_type *qmp_event_find(const char *name)
{
	for (size_t i = 0; i < qmp_nr_events; i++)
		if (!strcmp(name, qmp_events[i].name))
			return &qmp_events[i];
	return NULL;
}

const char *qmp_command_near(const char *name)
{
	const char *names[512];
	size_t n = MIN(qmp_nr_commands, ARRAY_SIZE(names) - 1);

	for (size_t i = 0; i < n; i++)
		names[i] = qmp_commands[i].name;
	names[n] = NULL;
	return nearest_word(name, names);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Types of the schema as tables (schema/gen.py fills them), and what walks them: arguments from
 * JSON to C structs, replies and events against what the schema says of them.
 */
#ifndef MON_QMP_TYPE_H
#define MON_QMP_TYPE_H

#include "base/base.h"
#include <jansson.h>

struct mon_cmd;

/* In C: const char *, int64_t, uint64_t, double, bool, bool, json_t *, an enum, a pointer to the
 * struct (twice), { size_t n; T *v }. Strings and values belong to the JSON text. */
enum qmp_kind {
	QMP_STR,
	QMP_INT,
	QMP_UINT,
	QMP_NUMBER,
	QMP_BOOL,
	QMP_NULL,
	QMP_ANY,
	QMP_ENUM,
	QMP_STRUCT,
	QMP_ALTERNATE,
	QMP_ARRAY
};

struct qmp_member;

struct qmp_type {
	enum qmp_kind kind;
	const char *name; /* what JSON calls it, for messages */
	size_t size;	  /* of the struct, or of a simple value */
	int64_t min;
	uint64_t max;
	const char *const *names;	  /* enum: n of them */
	const struct qmp_member *members; /* struct: n of them */
	unsigned n;
	int tag; /* of a struct with branches: the member that chooses; -1 */
	const struct qmp_type *const *branches;
	size_t branch_off;
	const struct qmp_type *elem; /* array */
};

struct qmp_member {
	const char *name;
	const struct qmp_type *type;
	uint32_t off;
	int32_t has_off; /* of the bool that says whether it is there; -1: none */
	bool optional;
};

struct qmp_command {
	const char *name;
	json_t *(*call)(struct mon_cmd *, const void *args, struct err *);
	const struct qmp_type *takes; /* NULL: no arguments */
	const struct qmp_type *gives; /* NULL: nothing, or not to be checked */
	bool oob;
};

struct qmp_event_type {
	const char *name;
	const struct qmp_type *gives;
	unsigned limit_ms;     /* at most one in that time; 0: all */
	const char *limit_key; /* ... for each value of this member */
};

extern const struct qmp_command qmp_commands[]; /* sorted by name */
extern const size_t qmp_nr_commands;
extern const struct qmp_event_type qmp_events[]; /* sorted by name */
extern const size_t qmp_nr_events;
extern const char qmp_schema_json[];

const struct qmp_command *qmp_command_find(const char *name);
const struct qmp_event_type *qmp_event_find(const char *name);
/* The command nearest to name by spelling, or NULL. */
const char *qmp_command_near(const char *name);

/* What decoding allocated; freed at once. */
struct qmp_arena {
	struct qmp_block *blocks;
};
void *qmp_arena_alloc(struct qmp_arena *, size_t n, size_t size); /* zeroed */
void qmp_arena_fini(struct qmp_arena *);

/*
 * Reads json (an object; NULL = an empty one) as t: *out is the struct. Everything is checked; the
 * message names the argument ("a.b[0]") as QEMU's do. Valid while json and the arena are.
 */
int qmp_decode(const struct qmp_type *t, json_t *json, struct qmp_arena *, const void **out,
	       struct err *e) MUST_CHECK;
/* 0 when json is what t describes; else e says where it is not. */
int qmp_check(const struct qmp_type *t, json_t *json, struct err *e) MUST_CHECK;

#endif

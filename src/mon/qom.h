/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine as QEMU's object model shows it: types in a tree by derivation, objects in a tree of
 * paths. Nothing is kept: types come from the tables of devices, objects, CPU models, boards and
 * engines, objects from the VM's own lists. src/mon/ only; control thread.
 */
#ifndef MON_QOM_H
#define MON_QOM_H

#include "base/base.h"
#include <jansson.h>

struct arch_machine;
struct backend;
struct dev;
struct dev_type;
struct obj_type;
struct vcpu;
struct vm;

/* ---- types ---- */

enum qom_type_kind {
	QOM_T_PLAIN, /* known by name and parent alone */
	QOM_T_DEVICE,
	QOM_T_OBJECT,
	QOM_T_MACHINE,
	QOM_T_CPU
};

struct qom_type {
	char *name;
	const char *parent; /* NULL: of "object" itself */
	enum qom_type_kind kind;
	bool abstract;
	union {
		const struct dev_type *dev;
		const struct obj_type *obj;
		const struct arch_machine *machine;
		unsigned cpu; /* of arch_cpu_model() */
	};
};

struct qom_types {
	struct qom_type *t;
	size_t n;
};

void qom_types_init(struct qom_types *, struct vm *);
void qom_types_fini(struct qom_types *);
const struct qom_type *qom_type_find(const struct qom_types *, const char *name);
/* Whether type is ancestor, or derives from it. */
bool qom_type_is(const struct qom_types *, const struct qom_type *, const char *ancestor);

/* What the properties of a type are: a list of ObjectPropertyInfo. options: those of -device. */
json_t *qom_type_props(struct vm *, const struct qom_type *, bool options);

/* ---- objects ---- */

enum qom_kind {
	QOM_ROOT,
	QOM_MACHINE,
	QOM_PERIPHERAL, /* devices with an id */
	QOM_ANON,	/* the user's without one */
	QOM_UNATTACHED, /* CPUs and the board's own devices */
	QOM_OBJECTS,	/* -object */
	QOM_CHARDEVS,
	QOM_DEV,
	QOM_VIRTIO, /* what is behind a transport */
	QOM_CPU,
	QOM_BACKEND /* an -object or a chardev */
};

struct qom {
	enum qom_kind kind;
	union {
		struct dev *dev; /* QOM_DEV, QOM_VIRTIO */
		struct vcpu *cpu;
		struct backend *backend;
	};
};

/* Finds path: "/machine/...", or the end of one path only. -ENOENT or -EINVAL with e set. */
int qom_find(struct vm *, const char *path, struct qom *out, struct err *e) MUST_CHECK;
/* Calls fn for every object below o; stops when it returns true, which becomes the result. */
bool qom_children(struct vm *, const struct qom *o,
		  bool (*fn)(void *arg, const char *name, const struct qom *), void *arg);
/* The object's type. The caller frees. */
char *qom_type_of(struct vm *, const struct qom *);
/* The device's absolute path. The caller frees. */
char *qom_dev_path(struct vm *, struct dev *);
char *qom_cpu_path(const struct vcpu *);

/* A property: *type is its type (static or of arg's life), get returns a new reference. */
struct qom_prop {
	const char *name, *type, *help;
	json_t *value; /* borrowed; NULL: not asked for */
};
/*
 * Calls fn for each property of o but its children; stops when it returns true. values: with their
 * values.
 */
bool qom_props(struct vm *, const struct qom *o, bool values,
	       bool (*fn)(void *arg, const struct qom_prop *), void *arg);
/* Sets one; e->cls as QEMU has it. */
int qom_set(struct vm *, const struct qom *o, const char *prop, json_t *val, struct err *e);

/* ---- properties of tables, for both ---- */
struct prop;
const char *qom_prop_type(const struct prop *);
json_t *qom_prop_value(const struct prop *, const void *base);
json_t *qom_prop_default(const struct prop *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qom-list and its relatives (qom.h has the model). Source: QEMU's QAPI documentation of qom and
 * qdev. Control thread; no state.
 */
#include "base/base.h"
#include "core/dev.h"
#include "mon/cmd.h"
#include "mon/qom.h"

static int no_type(const char *what, const char *name, struct err *e)
{
	int r = err_set(e, ENOENT, "%s '%s' not found", what, name);

	if (e)
		e->cls = ERR_DEVICE_NOT_FOUND;
	return r;
}

json_t *qmp_qom_list_types(struct mon_cmd *c, const struct qmp_qom_list_types_args *a,
			   struct err *e)
{
	json_t *list = json_array();
	struct qom_types ts;

	qom_types_init(&ts, c->vm);
	for (size_t i = 0; i < ts.n; i++) {
		const struct qom_type *t = &ts.t[i];
		json_t *o;

		if (t->abstract && !(a->has_abstract && a->abstract))
			continue;
		if (a->implements && !qom_type_is(&ts, t, a->implements))
			continue;
		o = json_pack("{s:s}", "name", t->name);
		if (t->parent)
			json_object_set_new(o, "parent", json_string(t->parent));
		if (t->abstract)
			json_object_set_new(o, "abstract", json_true());
		json_array_append_new(list, o);
	}
	qom_types_fini(&ts);
	return list;
}

static json_t *type_props(struct mon_cmd *c, const char *name, bool device, struct err *e)
{
	const struct qom_type *t;
	struct qom_types ts;
	json_t *list = NULL;

	qom_types_init(&ts, c->vm);
	t = qom_type_find(&ts, name);
	if (!t)
		no_type(device ? "Device" : "Class", name, e);
	else if (device && !qom_type_is(&ts, t, "device"))
		err_set(e, EINVAL,
			"Parameter 'typename' expects a non-abstract device type: '%s' is none, "
			"qom-list-properties knows it",
			name);
	else
		list = qom_type_props(c->vm, t, device && t->kind == QOM_T_DEVICE);
	qom_types_fini(&ts);
	return list;
}

json_t *qmp_qom_list_properties(struct mon_cmd *c, const struct qmp_qom_list_properties_args *a,
				struct err *e)
{
	return type_props(c, a->typename, false, e);
}

json_t *qmp_device_list_properties(struct mon_cmd *c,
				   const struct qmp_device_list_properties_args *a, struct err *e)
{
	return type_props(c, a->typename, true, e);
}

/* ---- objects ---- */

struct listing {
	struct vm *vm;
	json_t *list;
	bool values;
};

static bool list_prop(void *arg, const struct qom_prop *p)
{
	struct listing *l = arg;
	json_t *o = json_pack("{s:s, s:s}", "name", p->name, "type", p->type);

	if (l->values)
		json_object_set(o, "value", p->value);
	else if (p->help)
		json_object_set_new(o, "description", json_string(p->help));
	json_array_append_new(l->list, o);
	return false;
}

static bool list_child(void *arg, const char *name, const struct qom *o)
{
	struct listing *l = arg;
	autofree char *type = qom_type_of(l->vm, o);
	autofree char *text = xasprintf("child<%s>", type);

	json_array_append_new(l->list, json_pack("{s:s, s:s}", "name", name, "type", text));
	return false;
}

static json_t *list_object(struct vm *vm, const char *path, bool values, struct err *e)
{
	struct listing l = { .vm = vm, .values = values };
	struct qom o;

	if (qom_find(vm, path, &o, e) < 0)
		return NULL;
	l.list = json_array();
	qom_props(vm, &o, values, list_prop, &l);
	qom_children(vm, &o, list_child, &l);
	return l.list;
}

json_t *qmp_qom_list(struct mon_cmd *c, const struct qmp_qom_list_args *a, struct err *e)
{
	return list_object(c->vm, a->path, false, e);
}

json_t *qmp_qom_list_get(struct mon_cmd *c, const struct qmp_qom_list_get_args *a, struct err *e)
{
	json_t *all = json_array();

	for (size_t i = 0; i < a->paths.n; i++) {
		json_t *list = list_object(c->vm, a->paths.v[i], true, e);

		if (!list) {
			json_decref(all);
			return NULL;
		}
		json_array_append_new(all, json_pack("{s:o}", "properties", list));
	}
	return all;
}

struct getting {
	const char *name;
	json_t *value;
};

static bool get_prop(void *arg, const struct qom_prop *p)
{
	struct getting *g = arg;

	if (strcmp(p->name, g->name) != 0)
		return false;
	g->value = json_incref(p->value);
	return true;
}

/* A live property by itself: why it has no value now is said. */
static json_t *get_attr(struct dev *d, const char *name, bool *there, struct err *e)
{
	for (const struct dev_attr *a = d->type->attrs; a && a->name; a++)
		if (!strcmp(a->name, name)) {
			*there = true;
			return a->get(d, e);
		}
	return NULL;
}

json_t *qmp_qom_get(struct mon_cmd *c, const struct qmp_qom_get_args *a, struct err *e)
{
	struct getting g = { .name = a->property };
	bool there = false;
	struct qom o;

	if (qom_find(c->vm, a->path, &o, e) < 0)
		return NULL;
	if (o.kind == QOM_DEV)
		g.value = get_attr(o.dev, a->property, &there, e);
	if (there)
		return g.value;
	if (!qom_props(c->vm, &o, true, get_prop, &g)) {
		autofree char *type = qom_type_of(c->vm, &o);

		err_set(e, ENOENT, "Property '%s.%s' not found", type, a->property);
		return NULL;
	}
	return g.value;
}

int qmp_qom_set(struct mon_cmd *c, const struct qmp_qom_set_args *a, struct err *e)
{
	struct qom o;
	int r = qom_find(c->vm, a->path, &o, e);

	return r < 0 ? r : qom_set(c->vm, &o, a->property, a->value, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Objects (object.h): the table of types, making them and finding them. Control thread. */
#include "base/base.h"
#include "core/backend.h"
#include "core/object.h"
#include "core/object_int.h"
#include "core/vm.h"

const struct obj_type *const obj_types[] = {
	&obj_iothread,	  &obj_memory_file, &obj_memory_memfd, &obj_memory_ram,
	&obj_rng_builtin, &obj_rng_random,  &obj_secret,       NULL,
};

const struct obj_type *obj_type_find(const char *name)
{
	for (const struct obj_type *const *t = obj_types; *t; t++) {
		if (!strcmp((*t)->name, name))
			return *t;
	}
	return NULL;
}

int obj_type_unknown(const char *name, struct err *e)
{
	const char *names[ARRAY_SIZE(obj_types)];
	const char *near;
	size_t n = 0;

	for (; obj_types[n]; n++)
		names[n] = obj_types[n]->name;
	names[n] = NULL;
	near = nearest_word(name, names);
	return err_set(e, ENOENT, "there is no object type '%s'%s%s%s; -object help lists them",
		       name, near ? " (did you mean '" : "", near ?: "", near ? "'?)" : "");
}

static void free_object(void *end)
{
	struct obj *o = end;

	if (o->type->fini)
		o->type->fini(o);
	props_free(o, o->type->props);
	free(o->id);
	free(o);
}

static int set_up(struct obj *o, struct conf_node *node, struct err *e)
{
	const char *const *more = o->type->more_keys;
	autofree char *help = xasprintf("-object %s,help", o->type->name);
	autofree const char **known = NULL;
	size_t n = 0;
	int ret;

	while (more && more[n])
		n++;
	known = props_names(o->type->props, more, n);
	ret = more ? 0 : props_check_known(node, known, help, e);
	if (!ret)
		ret = props_set(o, o->type->props, node, e);
	if (!ret && o->type->init)
		ret = o->type->init(o, node, e);
	return ret < 0 ? ret : conf_check_unused(node, known, e);
}

int obj_create(struct vm *vm, struct conf_node *node, struct err *e)
{
	const struct obj_type *type = node->type ? obj_type_find(node->type) : NULL;
	struct obj *o;
	int ret;

	if (!type)
		return obj_type_unknown(node->type ?: "", e);
	if (!node->id)
		return err_set(e, EINVAL, "an id is missing: -object %s,id=ID", type->name);
	o = xcalloc(1, type->size);
	o->type = type;
	o->vm = vm;
	o->id = xstrdup(node->id);
	ret = set_up(o, node, e);
	if (ret < 0) {
		free_object(o);
		return ret;
	}
	return backend_add_take(vm, BACKEND_OBJECT, node->id, o, free_object, e);
}

struct obj *obj_find(struct vm *vm, const char *id, const struct obj_type *type, struct err *e)
{
	struct obj *o = backend_find(vm, BACKEND_OBJECT, id);

	if (!o)
		err_set(e, ENOENT, "there is no object '%s'; -object %s,id=%s makes one", id,
			type ? type->name : "TYPE", id);
	else if (type && o->type != type)
		err_set(e, EINVAL, "object '%s' is a %s; a %s is needed", id, o->type->name,
			type->name);
	else
		return o;
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices (dev.h): making them from configuration nodes, their properties, reset and removal.
 * Control thread, but for dev_guest_error().
 */
#include "base/base.h"
#include "base/log.h"
#include "core/dev.h"
#include "core/vm.h"
#include <stdarg.h>
#include <stdio.h>

/* Keys of every -device that bus code reads during init. */
static const char *const bus_keys[] = { "acpi-index",	 "addr",   "bus",    "id",
					"multifunction", "rombar", "romfile" };

/* ---- properties ---- */

/* All keys that a device of this type may have; the caller's to free. */
static const char **known_keys(const struct dev *d)
{
	return props_names(d->type->props, bus_keys, ARRAY_SIZE(bus_keys));
}

/* Before init: a misspelt key is the cause of what init would miss. */
static int check_known(const struct dev *d, const struct conf_node *node, struct err *e)
{
	autofree const char **known = known_keys(d);
	autofree char *help = xasprintf("-device %s,help", d->type->name);

	return props_check_known(node, known, help, e);
}

/* After it: keys that are known, but not to this bus. */
static int check_unused(const struct dev *d, const struct conf_node *node, struct err *e)
{
	autofree const char **known = known_keys(d);

	return conf_check_unused(node, known, e);
}

/* ---- making and removing ---- */

static char *make_path(struct vm *vm, const struct dev_type *type, const char *id)
{
	unsigned n = 0;

	if (id)
		return xstrdup(id);
	for (;; n++) {
		char *path = xasprintf("%s.%u", type->name, n);
		bool taken = false;

		for (struct dev *d = vm->devs; d && !taken; d = d->next)
			taken = !strcmp(d->path, path);
		if (!taken)
			return path;
		free(path);
	}
}

static struct dev *dev_alloc(struct vm *vm, const struct dev_type *type, const char *id)
{
	struct dev *d = xcalloc(1, type->size);
	pthread_mutexattr_t attr;

	d->type = type;
	d->vm = vm;
	d->id = id ? xstrdup(id) : NULL;
	d->path = make_path(vm, type, id);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&d->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	return d;
}

/* fini has run, or init never did. */
static void dev_release(struct dev *d)
{
	/* Another thread may still be inside one of its registers by an older view of the map. */
	if (d->vm->map)
		map_synchronize(d->vm->map);
	props_free(d, d->type->props);
	pthread_mutex_destroy(&d->lock);
	free(d->id);
	free(d->path);
	free(d);
}

static int dev_init(struct dev *d, struct conf_node *node, struct err *e)
{
	int ret;

	d->node = node;
	ret = d->type->init ? d->type->init(d, e) : 0;
	d->node = NULL;
	if (ret == 0 && node)
		ret = check_unused(d, node, e);
	if (ret < 0) {
		if (d->type->fini)
			d->type->fini(d);
		dev_release(d);
		return ret;
	}
	d->next = d->vm->devs;
	d->vm->devs = d;
	return 0;
}

static int explain_type(const struct conf_node *node, struct err *e)
{
	autofree const char **names = NULL;
	const char *near;
	size_t n = 0;

	while (dev_types[n])
		n++;
	names = xnew_n(const char *, 2 * n + 1);
	n = 0;
	for (const struct dev_type *const *t = dev_types; *t; t++) {
		if ((*t)->internal)
			continue;
		names[n++] = (*t)->name;
		if ((*t)->alias)
			names[n++] = (*t)->alias;
	}
	near = nearest_word(node->type ? node->type : "", names);
	if (near)
		return err_set(e, ENOENT, "%s: there is no device '%s'; did you mean '%s'?",
			       node->where, node->type ? node->type : "", near);
	return err_set(e, ENOENT, "%s: there is no device '%s'; '-device help' lists them",
		       node->where, node->type ? node->type : "");
}

static bool has_key(const struct conf_node *node, const char *key)
{
	const struct conf_kv *kv = node->kv;

	while (kv && strcmp(kv->key, key))
		kv = kv->next;
	return kv;
}

static bool is_global_of(const struct conf_node *g, const struct dev_type *type)
{
	return g->kind == CONF_GLOBAL && !strcmp(g->type, type->name);
}

/* What -global says of the type, where node says nothing itself; the last one counts. */
static void set_globals(const struct dev_type *type, struct conf_node *node)
{
	for (struct conf_node *g = node->conf ? node->conf->nodes : NULL; g; g = g->next) {
		if (!is_global_of(g, type))
			continue;
		for (struct conf_kv *kv = g->kv; kv; kv = kv->next) {
			const struct conf_node *later = g->next;

			while (later && !(is_global_of(later, type) && has_key(later, kv->key)))
				later = later->next;
			if (!later && !has_key(node, kv->key))
				conf_set(node, kv->key, kv->val);
		}
	}
}

int dev_create(struct vm *vm, struct conf_node *node, struct dev **out, struct err *e)
{
	const struct dev_type *type = node->type ? dev_type_find_on(vm, node->type) : NULL;
	struct dev *d;
	int ret;

	if (!type || type->internal)
		return explain_type(node, e);
	if (node->id && dev_find(vm, node->id))
		return err_set(e, EEXIST, "%s: the id '%s' is in use already", node->where,
			       node->id);
	set_globals(type, node);
	d = dev_alloc(vm, type, node->id);
	d->user = true;
	ret = check_known(d, node, e);
	if (ret == 0)
		ret = props_set(d, d->type->props, node, e);
	if (ret < 0) {
		dev_release(d);
		return ret;
	}
	ret = dev_init(d, node, e);
	if (ret < 0 && e && strncmp(e->msg, node->where, strlen(node->where)) != 0)
		return err_prefix(e, "%s: ", node->where);
	if (ret == 0 && out)
		*out = d;
	return ret;
}

int dev_create_internal(struct vm *vm, const struct dev_type *type, const char *id,
			void (*prepare)(struct dev *, void *), void *arg, struct dev **out,
			struct err *e)
{
	struct dev *d;
	int ret;

	if (id && dev_find(vm, id))
		return err_set(e, EEXIST, "the device id '%s' is in use already", id);
	d = dev_alloc(vm, type, id);
	ret = props_set(d, d->type->props, NULL, e);
	if (ret < 0) {
		dev_release(d);
		return ret;
	}
	if (prepare)
		prepare(d, arg);
	ret = dev_init(d, NULL, e);
	if (ret == 0 && out)
		*out = d;
	return ret;
}

void dev_destroy(struct dev *d)
{
	for (struct dev **p = &d->vm->devs; *p; p = &(*p)->next) {
		if (*p == d) {
			*p = d->next;
			break;
		}
	}
	if (d->type->fini)
		d->type->fini(d);
	dev_release(d);
}

struct dev *dev_find(struct vm *vm, const char *id)
{
	for (struct dev *d = vm->devs; d; d = d->next) {
		if (d->id && !strcmp(d->id, id))
			return d;
	}
	return NULL;
}

size_t dev_list(struct vm *vm, struct dev ***out)
{
	size_t n = 0, i;

	for (struct dev *d = vm->devs; d; d = d->next)
		n++;
	*out = xnew_n(struct dev *, n + 1);
	i = n;
	for (struct dev *d = vm->devs; d; d = d->next)
		(*out)[--i] = d;
	return n;
}

void dev_reset_all(struct vm *vm)
{
	autofree struct dev **all = NULL;
	size_t n = dev_list(vm, &all);

	for (size_t i = 0; i < n; i++) {
		if (all[i]->type->reset)
			all[i]->type->reset(all[i]);
	}
}

bool dev_type_non_transitional(const struct dev_type *t)
{
	return t->bus == DEV_BUS_PCI && !strncmp(t->name, "virtio-", 7);
}

static bool is_called(const struct dev_type *t, const char *name)
{
	size_t len = strlen(t->name);

	if (t->alias && !strcmp(t->alias, name))
		return true;
	return !strncmp(name, t->name, len) &&
	       (!name[len] ||
		(dev_type_non_transitional(t) && !strcmp(name + len, "-non-transitional")));
}

const struct dev_type *dev_type_find(const char *name)
{
	for (const struct dev_type *const *t = dev_types; *t; t++) {
		if (is_called(*t, name))
			return *t;
	}
	return NULL;
}

const struct dev_type *dev_type_find_on(const struct vm *vm, const char *name)
{
	const struct dev_type *found = dev_type_find(name);

	if (!found || !strcmp(found->name, name) || !vm->virtio_bus)
		return found;
	for (const struct dev_type *const *t = dev_types; *t; t++) {
		if ((*t)->bus == vm->virtio_bus && (*t)->alias && !strcmp((*t)->alias, name))
			return *t;
	}
	return found;
}

void dev_guest_error(struct dev *d, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	atomic_fetch_add_explicit(&d->guest_errors, 1, memory_order_relaxed);
	if (!log_allow(&d->guest_error_limit))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_debug("%s: guest error: %s", d->path, text);
}

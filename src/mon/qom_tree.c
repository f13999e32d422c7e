/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of QEMU's object model (qom.h): the VM's devices, CPUs and back ends under the paths that
 * QEMU gives them. Control thread; no state.
 */
#include "base/base.h"
#include "core/arch.h"
#include "core/backend.h"
#include "core/dev.h"
#include "core/object.h"
#include "core/vm.h"
#include "mon/qom.h"
#include "virtio/virtio.h"
#include <stdio.h>

typedef bool child_fn(void *arg, const char *name, const struct qom *);

/* ---- children ---- */

/* Which of /machine's folders d is in. */
static enum qom_kind folder_of(const struct dev *d)
{
	return !d->user ? QOM_UNATTACHED : d->id ? QOM_PERIPHERAL : QOM_ANON;
}

static bool each_dev(struct vm *vm, enum qom_kind folder, unsigned first, child_fn *fn, void *arg)
{
	autofree struct dev **all = NULL;
	size_t n = dev_list(vm, &all);
	bool stop = false;

	for (size_t i = 0; i < n && !stop; i++) {
		struct qom o = { .kind = QOM_DEV, .dev = all[i] };
		char name[32];

		if (folder_of(all[i]) != folder)
			continue;
		snprintf(name, sizeof(name), "device[%u]", first++);
		stop = fn(arg, folder == QOM_PERIPHERAL ? all[i]->id : name, &o);
	}
	return stop;
}

static bool each_cpu(struct vm *vm, child_fn *fn, void *arg)
{
	bool stop = false;

	for (unsigned i = 0; i < vm->nr_vcpus && !stop; i++) {
		struct qom o = { .kind = QOM_CPU, .cpu = vm->vcpus[i] };
		char name[32];

		snprintf(name, sizeof(name), "device[%u]", i);
		stop = fn(arg, name, &o);
	}
	return stop;
}

static bool each_backend(struct vm *vm, enum backend_kind kind, child_fn *fn, void *arg)
{
	bool stop = false;

	for (struct backend *b = vm->backends; b && !stop; b = b->next) {
		struct qom o = { .kind = QOM_BACKEND, .backend = b };

		if (b->kind == kind)
			stop = fn(arg, b->id, &o);
	}
	return stop;
}

static bool each_folder(child_fn *fn, void *arg, const enum qom_kind *kinds,
			const char *const *names, size_t n)
{
	bool stop = false;

	for (size_t i = 0; i < n && !stop; i++)
		stop = fn(arg, names[i], &(struct qom){ .kind = kinds[i] });
	return stop;
}

bool qom_children(struct vm *vm, const struct qom *o, child_fn *fn, void *arg)
{
	static const enum qom_kind root[] = { QOM_MACHINE, QOM_OBJECTS, QOM_CHARDEVS };
	static const char *const root_names[] = { "machine", "objects", "chardevs" };
	static const enum qom_kind machine[] = { QOM_PERIPHERAL, QOM_ANON, QOM_UNATTACHED };
	static const char *const machine_names[] = { "peripheral", "peripheral-anon",
						     "unattached" };

	switch (o->kind) {
	case QOM_ROOT:
		return each_folder(fn, arg, root, root_names, ARRAY_SIZE(root));
	case QOM_MACHINE:
		return each_folder(fn, arg, machine, machine_names, ARRAY_SIZE(machine));
	case QOM_PERIPHERAL:
	case QOM_ANON:
		return each_dev(vm, o->kind, 0, fn, arg);
	case QOM_UNATTACHED:
		return each_cpu(vm, fn, arg) || each_dev(vm, o->kind, vm->nr_vcpus, fn, arg);
	case QOM_OBJECTS:
		return each_backend(vm, BACKEND_OBJECT, fn, arg);
	case QOM_CHARDEVS:
		return each_backend(vm, BACKEND_CHAR, fn, arg);
	case QOM_DEV:
		return virtio_of(o->dev) && o->dev->type->bus == DEV_BUS_PCI &&
		       fn(arg, "virtio-backend",
			  &(struct qom){ .kind = QOM_VIRTIO, .dev = o->dev });
	default:
		return false;
	}
}

/* ---- paths ---- */

struct step {
	const char *name;
	size_t len;
	struct qom found;
};

static bool match_step(void *arg, const char *name, const struct qom *o)
{
	struct step *s = arg;

	if (strlen(name) != s->len || memcmp(name, s->name, s->len) != 0)
		return false;
	s->found = *o;
	return true;
}

/* Walks path (without a leading '/') down from *at; false when it leads nowhere. */
static bool walk(struct vm *vm, const char *path, struct qom *at)
{
	while (*path) {
		struct step s = { .name = path, .len = strcspn(path, "/") };

		if (s.len && !qom_children(vm, at, match_step, &s))
			return false;
		if (s.len)
			*at = s.found;
		path += s.len;
		path += strspn(path, "/");
	}
	return true;
}

struct hunt {
	struct vm *vm;
	const char *path;
	unsigned hits;
	struct qom found;
};

static bool hunt_in(void *arg, const char *name, const struct qom *o)
{
	struct hunt *h = arg;
	struct qom at = *o;
	size_t len = strcspn(h->path, "/");

	if (strlen(name) == len && !memcmp(name, h->path, len) &&
	    walk(h->vm, h->path + len + strspn(h->path + len, "/"), &at)) {
		h->found = at;
		h->hits++;
	}
	qom_children(h->vm, o, hunt_in, h);
	return h->hits > 1;
}

int qom_find(struct vm *vm, const char *path, struct qom *out, struct err *e)
{
	struct hunt h = { .vm = vm, .path = path };

	*out = (struct qom){ .kind = QOM_ROOT };
	if (*path == '/') {
		if (walk(vm, path, out))
			return 0;
	} else if (*path) {
		qom_children(vm, out, hunt_in, &h);
		if (h.hits == 1) {
			*out = h.found;
			return 0;
		}
		if (h.hits) {
			return err_set(e, EINVAL, "Path '%s' is ambiguous: begin it with '/'",
				       path);
		}
	}
	err_set(e, ENOENT, "Device '%s' not found", path);
	if (e)
		e->cls = ERR_DEVICE_NOT_FOUND;
	return -ENOENT;
}

/* ---- names ---- */

static char *model_type(const struct vm *vm)
{
	const char *text = vm->conf->cpu ?: "default", *name;
	size_t len = strcspn(text, ",");

	for (unsigned i = 0; (name = arch_cpu_model(i, NULL)); i++)
		if (strlen(name) == len && !strncasecmp(name, text, len))
			return xasprintf("%s-%s", name, arch_cpu_type_suffix);
	return xasprintf("%.*s-%s", (int)len, text, arch_cpu_type_suffix);
}

char *qom_type_of(struct vm *vm, const struct qom *o)
{
	switch (o->kind) {
	case QOM_MACHINE:
		return xasprintf("%s-machine", arch_machine_of(vm)->name);
	case QOM_DEV:
		return xstrdup(o->dev->type->name);
	case QOM_VIRTIO:
		return xasprintf("%s-device", virtio_of(o->dev)->type->name);
	case QOM_CPU:
		return model_type(vm);
	case QOM_BACKEND:
		return o->backend->kind == BACKEND_OBJECT
			       ? xstrdup(((struct obj *)o->backend->end)->type->name)
			       : xstrdup("chardev");
	default:
		return xstrdup("container");
	}
}

struct seek {
	const struct dev *dev;
	char *path;
};

static bool seek_dev(void *arg, const char *name, const struct qom *o)
{
	struct seek *s = arg;

	if (o->kind != QOM_DEV || o->dev != s->dev)
		return false;
	s->path = xstrdup(name);
	return true;
}

char *qom_dev_path(struct vm *vm, struct dev *d)
{
	struct qom folder = { .kind = folder_of(d) };
	struct seek s = { .dev = d };
	const char *dir = folder.kind == QOM_PERIPHERAL ? "peripheral"
			  : folder.kind == QOM_ANON	? "peripheral-anon"
							: "unattached";
	autofree char *name = NULL;

	if (!qom_children(vm, &folder, seek_dev, &s))
		return xstrdup(d->path);
	name = s.path;
	return xasprintf("/machine/%s/%s", dir, name);
}

char *qom_cpu_path(const struct vcpu *v)
{
	return xasprintf("/machine/unattached/device[%u]", v->index);
}

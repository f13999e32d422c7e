/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of objects (qom.h): devices by their type's table and attributes, CPUs by their
 * model's features, -object by their tables. Control thread; no state.
 */
#include "base/base.h"
#include "core/arch.h"
#include "core/backend.h"
#include "core/dev.h"
#include "core/object.h"
#include "core/vm.h"
#include "mon/qom.h"
#include "pci/pci.h"
#include <stdio.h>

struct walk {
	bool values, stop;
	bool (*fn)(void *arg, const struct qom_prop *);
	void *arg;
};

/* val is taken; only looked at where values are asked for. */
static void tell(struct walk *w, const char *name, const char *type, const char *help, json_t *val)
{
	struct qom_prop p = { .name = name, .type = type, .help = help, .value = val };

	if (!w->stop)
		w->stop = w->fn(w->arg, &p);
	json_decref(val);
}

static json_t *if_values(const struct walk *w, json_t *val)
{
	if (w->values)
		return val;
	json_decref(val);
	return NULL;
}

static void tell_str(struct walk *w, const char *name, const char *text)
{
	tell(w, name, "string", NULL, if_values(w, json_string(text ?: "")));
}

static void tell_bool(struct walk *w, const char *name, bool on)
{
	tell(w, name, "bool", NULL, if_values(w, json_boolean(on)));
}

static void tell_int(struct walk *w, const char *name, int64_t val)
{
	tell(w, name, "int", NULL, if_values(w, json_integer(val)));
}

static void tell_table(struct walk *w, const struct prop *props, const void *base)
{
	for (const struct prop *p = props; p && p->kind != PROP_END && !w->stop; p++)
		tell(w, p->name, qom_prop_type(p), p->help, if_values(w, qom_prop_value(p, base)));
}

static void tell_device_common(struct walk *w)
{
	tell_bool(w, "realized", true);
	tell_bool(w, "hotplugged", false);
	tell_bool(w, "hotpluggable", false);
}

static void tell_pci(struct walk *w, const struct dev *d)
{
	const struct pci_dev *p = container_of(d, struct pci_dev, d);
	char addr[16];

	snprintf(addr, sizeof(addr), "%02x.%x", p->devfn >> 3, p->devfn & 7);
	tell(w, "addr", "str", NULL, if_values(w, json_string(addr)));
	tell_bool(w, "multifunction", p->cfg[PCI_HEADER_TYPE] & 0x80);
}

static void tell_dev(struct walk *w, struct dev *d)
{
	tell_device_common(w);
	tell_table(w, d->type->props, d);
	if (d->type->bus == DEV_BUS_PCI)
		tell_pci(w, d);
	for (const struct dev_attr *a = d->type->attrs; a && a->name && !w->stop; a++) {
		struct err e = { 0 };
		json_t *val = w->values ? a->get(d, &e) : NULL;

		if (!w->values || val) /* one that cannot be told now is left out of a list */
			tell(w, a->name, a->type, a->help, val);
	}
}

/* ---- CPUs ---- */

static void tell_feature(void *arg, const char *name, bool on)
{
	tell_bool(arg, name, on);
}

static void tell_cpu(struct walk *w, struct vm *vm, const struct vcpu *v)
{
	const struct vm_conf *c = vm->conf;
	unsigned threads = MAX(c->threads, 1u), cores = MAX(c->cores, 1u), dies = MAX(c->dies, 1u);
	struct err e = { 0 };

	tell_device_common(w);
	tell_int(w, "thread-id", v->index % threads);
	tell_int(w, "core-id", v->index / threads % cores);
	tell_int(w, "die-id", v->index / threads / cores % dies);
	tell_int(w, "socket-id", v->index / threads / cores / dies);
	tell(w, "apic-id", "uint32", NULL, if_values(w, json_integer(v->apic_id)));
	/* A model that needs what the host does not have was refused at the start. */
	tell(w, "unavailable-features", "strList", NULL, if_values(w, json_array()));
	if (arch_cpu_features(vm, NULL, tell_feature, w, &e) < 0)
		return;
}

static void tell_machine(struct walk *w, struct vm *vm)
{
	tell_str(w, "kernel", vm->conf->kernel);
	tell_str(w, "initrd", vm->conf->initrd);
	tell_str(w, "append", vm->conf->append);
}

bool qom_props(struct vm *vm, const struct qom *o, bool values,
	       bool (*fn)(void *arg, const struct qom_prop *), void *arg)
{
	struct walk w = { .values = values, .fn = fn, .arg = arg };
	autofree char *type = qom_type_of(vm, o);

	tell_str(&w, "type", type);
	switch (o->kind) {
	case QOM_MACHINE:
		tell_machine(&w, vm);
		break;
	case QOM_DEV:
		tell_dev(&w, o->dev);
		break;
	case QOM_CPU:
		tell_cpu(&w, vm, o->cpu);
		break;
	case QOM_BACKEND:
		if (o->backend->kind == BACKEND_OBJECT) {
			const struct obj *obj = o->backend->end;

			tell_table(&w, obj->type->props, obj);
		}
		break;
	default:
		break;
	}
	return w.stop;
}

/* ---- setting ---- */

static bool is_named(void *arg, const struct qom_prop *p)
{
	return !strcmp(p->name, arg);
}

int qom_set(struct vm *vm, const struct qom *o, const char *prop, json_t *val, struct err *e)
{
	autofree char *type = qom_type_of(vm, o);
	autofree char *name = xstrdup(prop);

	if (o->kind == QOM_DEV)
		for (const struct dev_attr *a = o->dev->type->attrs; a && a->name; a++)
			if (!strcmp(a->name, prop) && a->set)
				return a->set(o->dev, val, e);
	if (qom_props(vm, o, false, is_named, name))
		return err_set(e, EPERM, "Property '%s.%s' cannot be set in a running machine",
			       type, prop);
	return err_set(e, ENOENT, "Property '%s.%s' not found", type, prop);
}

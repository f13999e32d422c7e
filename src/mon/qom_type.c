/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Types of QEMU's object model (qom.h), gathered from the tables that make things: devices,
 * objects, CPU models, boards, engines. Source for names and parents: QEMU's qom-list-types.
 * Control thread; no state.
 */
#include "base/base.h"

#include "base/log.h"
#include "core/accel.h"
#include "core/arch.h"
#include "core/dev.h"
#include "core/object.h"
#include "core/vm.h"
#include "mon/options.h"
#include "mon/qom.h"
#include <stdio.h>

/* What there are no objects of, and what the types below derive from. */
static const struct {
	const char *name, *parent;
} abstract_types[] = {
	{ "object", NULL },
	{ "container", "object" },
	{ "device", "object" },
	{ "pci-device", "device" },
	{ "isa-device", "device" },
	{ "sys-bus-device", "device" },
	{ "virtio-device", "device" },
	{ "virtio-serial-port", "device" },
	{ "cpu", "device" },
	{ "machine", "object" },
	{ "x86-machine", "machine" },
	{ "generic-pc-machine", "x86-machine" },
	{ "accel", "object" },
	{ "memory-backend", "object" },
	{ "rng-backend", "object" },
	{ "chardev", "object" },
};

static const char *bus_parent(const struct dev_type *t)
{
	switch (t->bus) {
	case DEV_BUS_PCI:
		return "pci-device";
	case DEV_BUS_ISA:
		return "isa-device";
	case DEV_BUS_VIRTIO_MMIO:
		return "virtio-device";
	case DEV_BUS_VIRTIO_SERIAL:
		return "virtio-serial-port";
	case DEV_BUS_BOARD:
	default:
		return "sys-bus-device";
	}
}

static const char *object_parent(const struct obj_type *t)
{
	return !strncmp(t->name, "memory-backend-", 15) ? "memory-backend"
	       : !strncmp(t->name, "rng-", 4)		? "rng-backend"
							: "object";
}

/* name is taken. */
static struct qom_type *add(struct qom_types *ts, char *name, const char *parent,
			    enum qom_type_kind kind)
{
	struct qom_type *t;

	ts->t = xrealloc(ts->t, ts->n + 1, sizeof(*ts->t));
	t = &ts->t[ts->n++];
	*t = (struct qom_type){ .name = name, .parent = parent, .kind = kind };
	return t;
}

static void add_device(struct qom_types *ts, const struct dev_type *t)
{
	if (qom_type_find(ts, t->name))
		return;
	add(ts, xstrdup(t->name), bus_parent(t), QOM_T_DEVICE)->dev = t;
	if (dev_type_non_transitional(t))
		add(ts, xasprintf("%s-non-transitional", t->name), t->name, QOM_T_DEVICE)->dev = t;
}

void qom_types_init(struct qom_types *ts, struct vm *vm)
{
	const struct arch_machine *m;
	const char *cpu;

	*ts = (struct qom_types){ 0 };
	for (size_t i = 0; i < ARRAY_SIZE(abstract_types); i++)
		add(ts, xstrdup(abstract_types[i].name), abstract_types[i].parent, QOM_T_PLAIN)
			->abstract = true;
	add(ts, xstrdup(arch_cpu_type_suffix), "cpu", QOM_T_PLAIN)->abstract = true;
	for (const struct dev_type *const *t = dev_types; *t; t++)
		add_device(ts, *t);
	for (const struct dev_type *const *t = arch_board_types; *t; t++)
		add_device(ts, *t);
	for (struct dev *d = vm->devs; d; d = d->next) /* the board's own */
		add_device(ts, d->type);
	for (const struct obj_type *const *t = obj_types; *t; t++)
		add(ts, xstrdup((*t)->name), object_parent(*t), QOM_T_OBJECT)->obj = *t;
	for (unsigned i = 0; (m = arch_machine_info(i)); i++)
		add(ts, xasprintf("%s-machine", m->name), m->parent, QOM_T_MACHINE)->machine = m;
	for (unsigned i = 0; (cpu = arch_cpu_model(i, NULL)); i++)
		add(ts, xasprintf("%s-%s", cpu, arch_cpu_type_suffix), arch_cpu_type_suffix,
		    QOM_T_CPU)
			->cpu = i;
	for (const struct accel_ops *const *a = accel_engines; *a; a++)
		add(ts, xasprintf("%s-accel", (*a)->alias ?: (*a)->name), "accel", QOM_T_PLAIN);
}

void qom_types_fini(struct qom_types *ts)
{
	for (size_t i = 0; i < ts->n; i++)
		free(ts->t[i].name);
	free(ts->t);
	*ts = (struct qom_types){ 0 };
}

const struct qom_type *qom_type_find(const struct qom_types *ts, const char *name)
{
	for (size_t i = 0; i < ts->n; i++)
		if (!strcmp(ts->t[i].name, name))
			return &ts->t[i];
	return NULL;
}

bool qom_type_is(const struct qom_types *ts, const struct qom_type *t, const char *ancestor)
{
	while (t && strcmp(t->name, ancestor) != 0)
		t = t->parent ? qom_type_find(ts, t->parent) : NULL;
	return t != NULL;
}

/* ---- properties of tables ---- */

const char *qom_prop_type(const struct prop *p)
{
	switch (p->kind) {
	case PROP_BOOL:
		return "bool";
	case PROP_U8:
		return "uint8";
	case PROP_U16:
		return "uint16";
	case PROP_U32:
		return "uint32";
	case PROP_U64:
		return "uint64";
	case PROP_SIZE:
		return "size";
	case PROP_ONOFFAUTO:
		return "OnOffAuto";
	case PROP_STR:
	case PROP_END:
	default:
		return "str";
	}
}

/* JSON has no unsigned numbers of 64 bits; QEMU's clients read them back from signed ones. */
static json_t *number(uint64_t val)
{
	return json_integer((json_int_t)val);
}

static json_t *onoffauto(uint64_t val)
{
	return json_string(val == PROP_ON ? "on" : val == PROP_OFF ? "off" : "auto");
}

json_t *qom_prop_default(const struct prop *p)
{
	switch (p->kind) {
	case PROP_STR:
		return p->def_str ? json_string(p->def_str) : NULL;
	case PROP_BOOL:
		return json_boolean(p->def);
	case PROP_ONOFFAUTO:
		return onoffauto(p->def);
	default:
		return number(p->def);
	}
}

json_t *qom_prop_value(const struct prop *p, const void *base)
{
	const void *at = (const char *)base + p->offset;

	switch (p->kind) {
	case PROP_STR:
		return json_string(*(char *const *)at ?: "");
	case PROP_BOOL:
		return json_boolean(*(const bool *)at);
	case PROP_ONOFFAUTO:
		return onoffauto(*(const uint8_t *)at);
	case PROP_U8:
		return number(*(const uint8_t *)at);
	case PROP_U16:
		return number(*(const uint16_t *)at);
	case PROP_U32:
		return number(*(const uint32_t *)at);
	default:
		return number(*(const uint64_t *)at);
	}
}

static void put(json_t *list, const char *name, const char *type, const char *help, json_t *def)
{
	json_t *o = json_pack("{s:s, s:s}", "name", name, "type", type);

	if (help)
		json_object_set_new(o, "description", json_string(help));
	if (def)
		json_object_set_new(o, "default-value", def);
	json_array_append_new(list, o);
}

static void put_table(json_t *list, const struct prop *props)
{
	for (const struct prop *p = props; p && p->kind != PROP_END; p++)
		put(list, p->name, qom_prop_type(p), p->help, qom_prop_default(p));
}

static void put_attrs(json_t *list, const struct dev_attr *attrs)
{
	for (const struct dev_attr *a = attrs; a && a->name; a++)
		put(list, a->name, a->type, a->help, NULL);
}

static void put_device_common(json_t *list)
{
	put(list, "parent_bus", "link<bus>", NULL, NULL);
	put(list, "realized", "bool", NULL, NULL);
	put(list, "hotplugged", "bool", NULL, NULL);
	put(list, "hotpluggable", "bool", NULL, NULL);
}

static void put_device(json_t *list, const struct dev_type *t, bool options)
{
	if (!options)
		put_device_common(list);
	put_table(list, t->props);
	if (!options)
		put_attrs(list, t->attrs);
	if (t->bus != DEV_BUS_PCI)
		return;
	put(list, "addr", "str", "slot, or slot.function, in hexadecimal", NULL);
	put(list, "multifunction", "bool", "there are more functions in the slot",
	    json_boolean(false));
}

static void put_feature(void *arg, const char *name, bool on)
{
	put(arg, name, "bool", NULL, json_boolean(on));
}

static void put_cpu(struct vm *vm, json_t *list, unsigned model)
{
	struct err e = { 0 };

	put_device_common(list);
	put(list, "unavailable-features", "strList", "what of the model this host does not have",
	    NULL);
	put(list, "migratable", "bool", "without what cannot be saved", json_boolean(true));
	/* A model that does not start here is what it is all the same. */
	if (arch_cpu_features(vm, arch_cpu_model(model, NULL), put_feature, list, &e) < 0 &&
	    arch_cpu_features(vm, NULL, put_feature, list, &e) < 0)
		log_debug("CPU model %s: %s", arch_cpu_model(model, NULL), e.msg);
}

static void put_machine(json_t *list)
{
	for (const struct opt_group *g = opt_groups; g->name; g++) {
		if (strcmp(g->name, "machine") != 0)
			continue;
		for (const struct opt_param *p = g->params; p->name; p++)
			if (strcmp(p->name, "type") != 0) /* every object has it already */
				put(list, p->name, p->type == OPT_BOOL ? "bool" : "string", p->help,
				    NULL);
	}
}

json_t *qom_type_props(struct vm *vm, const struct qom_type *t, bool options)
{
	json_t *list = json_array();

	if (!options)
		put(list, "type", "string", NULL, NULL);
	switch (t->kind) {
	case QOM_T_DEVICE:
		put_device(list, t->dev, options);
		break;
	case QOM_T_OBJECT:
		put_table(list, t->obj->props);
		for (const char *const *k = t->obj->more_keys; k && *k; k++)
			put(list, *k, "string", NULL, NULL);
		break;
	case QOM_T_CPU:
		put_cpu(vm, list, t->cpu);
		break;
	case QOM_T_MACHINE:
		put_machine(list);
		break;
	case QOM_T_PLAIN:
	default:
		if (strstr(t->name, "machine"))
			put_machine(list);
		break;
	}
	return list;
}

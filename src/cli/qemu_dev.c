/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's -device, -netdev and -nic, translated to nodes of the configuration.
 * Control thread, start-up only.
 */
#include "base/base.h"

#include "cli/qemu_opts.h"
#include "core/dev.h"
#include <stdio.h>

static const char *const netdev_types[] = { "user", "tap", NULL };

bool qemu_wants_help(const char *arg)
{
	return !strcmp(arg, "help") || !strcmp(arg, "?");
}

static const char *prop_kind_name(enum prop_kind kind)
{
	switch (kind) {
	case PROP_BOOL:
		return "bool";
	case PROP_STR:
		return "str";
	case PROP_SIZE:
		return "size";
	case PROP_ONOFFAUTO:
		return "OnOffAuto";
	default:
		return "uint";
	}
}

static const char *bus_name(enum dev_bus bus)
{
	return bus == DEV_BUS_PCI	    ? "PCI"
	       : bus == DEV_BUS_ISA	    ? "ISA"
	       : bus == DEV_BUS_VIRTIO_MMIO ? "virtio-bus"
					    : "System";
}

static void list_devices(void)
{
	for (size_t i = 0; dev_types[i]; i++) {
		const struct dev_type *t = dev_types[i];

		if (t->internal)
			continue;
		printf("name \"%s\", bus %s", t->name, bus_name(t->bus));
		if (t->alias)
			printf(", alias \"%s\"", t->alias);
		printf(", desc \"%s\"\n", t->help ? t->help : "");
	}
}

void qemu_device_help(const char *type)
{
	const struct dev_type *t = type ? dev_type_find(type) : NULL;

	if (!t) {
		list_devices();
		return;
	}
	printf("%s options:\n", t->name);
	qemu_props_help(t->props);
}

void qemu_props_help(const struct prop *props)
{
	for (const struct prop *p = props; p && p->kind != PROP_END; p++)
		printf("  %s=<%s>%*s - %s\n", p->name, prop_kind_name(p->kind),
		       (int)MAX(0,
				22 - (int)strlen(p->name) - (int)strlen(prop_kind_name(p->kind))),
		       "", p->help ? p->help : "");
}

static int unknown_device(const char *type, struct err *e)
{
	const char *names[256];
	size_t n = 0;
	const char *near;

	for (size_t i = 0; dev_types[i] && n < ARRAY_SIZE(names) - 1; i++)
		if (!dev_types[i]->internal)
			names[n++] = dev_types[i]->name;
	names[n] = NULL;
	near = nearest_word(type, names);
	return err_set(e, ENODEV, "there is no device '%s'%s%s%s; -device help lists what there is",
		       type, near ? " (did you mean '" : "", near ?: "", near ? "'?)" : "");
}

int qemu_opt_device(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	struct keyvals kvs;
	autofree char *type = NULL;
	int r;

	if (qemu_wants_help(arg)) {
		list_devices();
		line->help_shown = true;
		return 0;
	}
	r = keyvals_parse_any(&kvs, arg, "driver", e);
	if (r < 0)
		return r;
	type = keyvals_take(&kvs, "driver");
	if (!type)
		r = err_set(e, EINVAL, "say which device: -device TYPE,...");
	else if (!dev_type_find(type) || dev_type_find(type)->internal)
		r = unknown_device(type, e);
	if (!r && (keyvals_get(&kvs, "help") || keyvals_get(&kvs, "?"))) {
		qemu_device_help(type);
		line->help_shown = true;
	} else if (!r) {
		front_add_node(line->conf, CONF_DEVICE, type, &kvs, where);
	}
	keyvals_fini(&kvs);
	return r;
}

static int check_netdev_type(const char *type, struct err *e)
{
	const char *near;

	for (size_t i = 0; netdev_types[i]; i++)
		if (!strcmp(type, netdev_types[i]))
			return 0;
	near = nearest_word(type, netdev_types);
	return err_set(e, EINVAL,
		       "network back end '%s' is not known%s%s%s; there are user and tap", type,
		       near ? " (did you mean '" : "", near ?: "", near ? "'?)" : "");
}

static void list_netdevs(struct qemu_line *line)
{
	puts("Available netdev backend types:\nuser\ntap");
	line->help_shown = true;
}

int qemu_opt_netdev(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	struct keyvals kvs;
	autofree char *type = NULL;
	int r;

	if (qemu_wants_help(arg)) {
		list_netdevs(line);
		return 0;
	}
	r = keyvals_parse_any(&kvs, arg, "type", e);
	if (r < 0)
		return r;
	type = keyvals_take(&kvs, "type");
	r = type ? check_netdev_type(type, e) : err_set(e, EINVAL, "say which: -netdev user,id=ID");
	if (!r && !keyvals_get(&kvs, "id"))
		r = err_set(e, EINVAL, "an id is missing: -netdev %s,id=ID", type);
	if (!r)
		front_add_node(line->conf, CONF_NETDEV, type, &kvs, where);
	keyvals_fini(&kvs);
	return r;
}

static const char *nic_model(const char *model, struct err *e)
{
	static const char *const models[] = { "virtio-net-pci", "virtio-net-device", "virtio-net" };

	if (!model || !strcmp(model, "virtio"))
		return "virtio-net"; /* where the board has it */
	for (size_t i = 0; i < ARRAY_SIZE(models); i++)
		if (!strcmp(model, models[i]))
			return models[i];
	err_set(e, ENODEV, "NIC model '%s' is not here yet: say model=virtio-net-pci", model);
	return NULL;
}

/* A back end of type from the rest of kvs, and a NIC of model on it. */
static int add_nic(struct qemu_line *line, const char *type, const char *model, const char *mac,
		   struct keyvals *kvs, const char *where, struct err *e)
{
	autofree char *made = NULL;
	const char *driver;
	struct conf_node *end;
	int r = check_netdev_type(type, e);

	if (r < 0)
		return r;
	if (model && qemu_wants_help(model)) {
		puts("Available NIC models:\nvirtio-net-pci");
		line->help_shown = true;
		return 0;
	}
	driver = nic_model(model, e);
	if (!driver)
		return -ENODEV;
	made = xasprintf("nic%u", line->nr_nic++);
	end = front_add_node(line->conf, CONF_NETDEV, type, kvs, where);
	if (!end->id)
		end->id = take_ptr(made);
	front_add_nic(line->conf, driver, end->id, mac, where);
	return 0;
}

int qemu_opt_nic(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	struct keyvals kvs;
	autofree char *type = NULL, *model = NULL, *mac = NULL;
	int r;

	if (qemu_wants_help(arg)) {
		list_netdevs(line);
		return 0;
	}
	r = keyvals_parse(&kvs, arg, "type", e);
	if (r < 0)
		return r;
	type = keyvals_take(&kvs, "type");
	model = keyvals_take(&kvs, "model");
	mac = keyvals_take(&kvs, "mac");
	if (!type)
		r = err_set(e, EINVAL, "say which: -nic user, -nic tap,ifname=... or -nic none");
	else if (strcmp(type, "none"))
		r = add_nic(line, type, model, mac, &kvs, where, e);
	keyvals_fini(&kvs);
	return r;
}

int qemu_opt_net(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	bool nic = !strcmp(arg, "nic") || !strncmp(arg, "nic,", 4);
	char **slot = nic ? &line->net_nic : &line->net_end;

	if (qemu_wants_help(arg)) {
		list_netdevs(line);
		return 0;
	}
	if (!strcmp(arg, "none"))
		return 0;
	if (*slot)
		return err_set(
			e, ENOTSUP,
			"one -net nic and one back end are joined; say -nic for more than that");
	*slot = xstrdup(arg);
	return 0;
}

int qemu_join_net(struct qemu_line *line, struct err *e)
{
	const char *nic = line->net_nic, *end = line->net_end;
	autofree char *where = xasprintf("-net %s", end ?: nic ?: "");
	autofree char *type = NULL, *model = NULL, *mac = NULL;
	struct keyvals kvs, card;
	int r;

	if (!nic && !end)
		return 0;
	if (!nic || !end)
		return err_set(e, EINVAL, "%s: %s is missing: say -nic %s,... for both in one",
			       where, nic ? "the back end (-net user)" : "the card (-net nic)",
			       end ?: "user");
	r = keyvals_parse(&card, nic, "type", e);
	if (r < 0)
		return err_prefix(e, "-net %s: ", nic);
	free(keyvals_take(&card, "type"));
	model = keyvals_take(&card, "model");
	mac = keyvals_take(&card, "macaddr");
	r = card.n ? err_set(e, EINVAL, "'%s' is not known; say model or macaddr", card.kv[0].key)
		   : keyvals_parse(&kvs, end, "type", e);
	keyvals_fini(&card);
	if (r < 0)
		return err_prefix(e, "-net %s: ", nic);
	type = keyvals_take(&kvs, "type");
	r = type ? add_nic(line, type, model, mac, &kvs, where, e)
		 : err_set(e, EINVAL, "say -net user");
	keyvals_fini(&kvs);
	return r < 0 ? err_prefix(e, "%s: ", where) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's -global: defaults for the properties of devices that come after, and of chips of the
 * board, of which those are known that say what this board does anyhow. Control thread, start-up
 * only.
 */
#include "base/base.h"

#include "cli/qemu_opts.h"
#include "core/dev.h"

static const char *const policies[] = { "delay", "discard", NULL };
static const char *const rtc_policies[] = { "discard", "slew", NULL };
static const char *const on[] = { "1", "on", "true", NULL };
static const char *const off[] = { "0", "off", "false", NULL };
static const char *const onoff[] = { "1", "on", "true", "0", "off", "false", NULL };

/* Of the board: vals NULL = any value, as it has no bearing here. */
static const struct {
	const char *driver, *prop;
	const char *const *vals;
	const char *why; /* when the value is another one */
} board[] = {
	{ "ICH9-LPC", "disable_s3", on, "there is no sleep state S3" },
	{ "ICH9-LPC", "disable_s4", on, "there is no sleep state S4" },
	{ "ICH9-LPC", "noreboot", onoff, "say on or off" },
	{ "ICH9-LPC", "acpi-pci-hotplug-with-bridge-support", off, "there is no ACPI hot-plug" },
	{ "PIIX4_PM", "disable_s3", NULL, NULL }, /* of another board */
	{ "PIIX4_PM", "disable_s4", NULL, NULL },
	{ "kvm-pit", "lost_tick_policy", policies, "say delay or discard" },
	{ "mc146818rtc", "lost_tick_policy", rtc_policies, "say discard or slew" },
	{ "mch", "extended-tseg-mbytes", NULL, NULL },	  /* of SMM, which is off */
	{ "q35-pcihost", "pci-hole64-size", NULL, NULL }, /* the hole is what devices need */
	{ "virtio-blk-pci", "scsi", off, "virtio's SCSI commands are not here" },
};

static bool is_one_of(const char *word, const char *const *words)
{
	while (*words && strcasecmp(*words, word))
		words++;
	return *words;
}

/* 1: it is one of the board's and fits. */
static int check_board(const char *driver, const char *prop, const char *val, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(board); i++) {
		if (strcmp(board[i].driver, driver) || strcmp(board[i].prop, prop))
			continue;
		if (!board[i].vals || is_one_of(val, board[i].vals))
			return 1;
		return err_set(e, ENOTSUP, "%s.%s=%s: %s", driver, prop, val, board[i].why);
	}
	return 0;
}

static int unknown_driver(const char *driver, struct err *e)
{
	const char *names[300], *near;
	size_t n = 0;

	for (size_t i = 0; dev_types[i] && n < 256; i++)
		names[n++] = dev_types[i]->name;
	for (size_t i = 0; i < ARRAY_SIZE(board); i++)
		names[n++] = board[i].driver;
	names[n] = NULL;
	near = nearest_word(driver, names);
	return err_set(e, ENODEV, "there is no device '%s'%s%s%s", driver,
		       near ? "; did you mean '" : "", near ?: "", near ? "'?" : "");
}

static bool is_bus_prop(const char *prop)
{
	static const char *const keys[] = { "addr", "bus", "multifunction", "romfile", NULL };

	return is_one_of(prop, keys);
}

static int check_prop(const struct dev_type *t, const char *prop, struct err *e)
{
	autofree const char **names = props_names(t->props, NULL, 0);
	const char *near;

	if (is_one_of(prop, names) || is_bus_prop(prop))
		return 0;
	near = nearest_word(prop, names);
	return err_set(e, EINVAL, "%s has no property '%s'%s%s%s; -device %s,help lists them",
		       t->name, prop, near ? ", did you mean '" : "", near ?: "", near ? "'?" : "",
		       t->name);
}

static int set_global(struct qemu_line *line, const char *driver, const char *prop, const char *val,
		      const char *where, struct err *e)
{
	const struct dev_type *t = dev_type_find(driver);
	int r = check_board(driver, prop, val, e);

	if (r > 0 && !strcmp(prop, "noreboot"))
		line->conf->tco_no_reboot = is_one_of(val, on);
	if (r)
		return MIN(r, 0);
	if (!t || t->internal) {
		for (size_t i = 0; i < ARRAY_SIZE(board); i++)
			if (!strcmp(board[i].driver, driver))
				return err_set(e, ENOTSUP, "%s has no property '%s' here", driver,
					       prop);
		return unknown_driver(driver, e);
	}
	r = check_prop(t, prop, e);
	if (!r)
		conf_set(conf_add(line->conf, CONF_GLOBAL, t->name, NULL, where), prop, val);
	return r;
}

/* DRIVER.PROP=VALUE, or driver=,property=,value= */
int qemu_opt_global(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	static const struct keyval_rule rules[] = {
		{ "driver", NULL }, { "property", NULL }, { "value", NULL }, { NULL, NULL }
	};
	autofree char *short_form = xstrdup(arg);
	char *eq = strchr(short_form, '='), *dot;
	const char *driver, *prop, *val;
	struct keyvals kvs;
	int r;

	if (eq) {
		*eq = '\0';
		dot = strrchr(short_form, '.');
		if (dot) {
			*dot = '\0';
			return set_global(line, short_form, dot + 1, eq + 1, where, e);
		}
	}
	r = keyvals_parse(&kvs, arg, NULL, e);
	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	driver = keyvals_get(&kvs, "driver");
	prop = keyvals_get(&kvs, "property");
	val = keyvals_get(&kvs, "value");
	if (!r && (!driver || !prop || !val))
		r = err_set(e, EINVAL, "say DRIVER.PROPERTY=VALUE");
	if (!r)
		r = set_global(line, driver, prop, val, where, e);
	keyvals_fini(&kvs);
	return r;
}

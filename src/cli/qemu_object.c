/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's -object, and the options that are short for a memory back end. Control thread, start-up
 * only.
 */
#include "base/base.h"

#include "cli/qemu_opts.h"
#include "core/object.h"
#include <stdio.h>

static void list_objects(void)
{
	puts("List of user creatable objects:");
	for (const struct obj_type *const *t = obj_types; *t; t++)
		printf("  %-24s %s\n", (*t)->name, (*t)->help);
}

static void object_help(const struct obj_type *t)
{
	printf("%s options:\n", t->name);
	qemu_props_help(t->props);
	for (size_t i = 0; t->more_keys && t->more_keys[i]; i++)
		printf("  %s=<list>\n", t->more_keys[i]);
}

/* Newer QEMUs make monitors with -object too: the id, chardev and pretty of -mon. */
static int add_monitor(struct qemu_line *line, struct keyvals *kvs, const char *mode,
		       const char *where, struct err *e)
{
	static const struct keyval_rule rules[] = {
		{ "id", NULL }, { "chardev", NULL }, { "pretty", keyval_onoff }, { NULL, NULL }
	};
	const char *id = keyvals_get(kvs, "id"), *pretty = keyvals_get(kvs, "pretty");
	struct conf_node *node;
	int r = keyvals_check(kvs, rules, e);

	if (r < 0)
		return r;
	if (!keyvals_get(kvs, "chardev"))
		return err_set(e, EINVAL, "chardev= is missing: which one does the monitor use?");
	if (conf_find(line->conf, CONF_MONITOR, id))
		return err_set(e, EEXIST, "there is a monitor '%s' already", id);
	node = qemu_add_monitor(line, keyvals_get(kvs, "chardev"), mode,
				pretty && !strcmp(pretty, "on"), where);
	node->id = xstrdup(id);
	return 0;
}

static int add_object(struct qemu_line *line, const char *type, struct keyvals *kvs,
		      const char *where, struct err *e)
{
	const struct obj_type *t = obj_type_find(type);
	const char *id = keyvals_get(kvs, "id");

	if (t && (keyvals_get(kvs, "help") || keyvals_get(kvs, "?"))) {
		object_help(t);
		line->help_shown = true;
		return 0;
	}
	if (!id)
		return err_set(e, EINVAL, "an id is missing: -object %s,id=ID", type);
	if (!strcmp(type, "monitor-qmp") || !strcmp(type, "monitor-hmp"))
		return add_monitor(line, kvs, type[8] == 'q' ? "control" : "readline", where, e);
	if (!t)
		return obj_type_unknown(type, e);
	if (conf_find(line->conf, CONF_OBJECT, id))
		return err_set(e, EEXIST, "there is an object '%s' already", id);
	front_add_node(line->conf, CONF_OBJECT, type, kvs, where);
	return 0;
}

int qemu_opt_object(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	autofree char *type = NULL;
	struct keyvals kvs;
	int r;

	if (qemu_wants_help(arg)) {
		list_objects();
		line->help_shown = true;
		return 0;
	}
	r = keyvals_parse_any(&kvs, arg, "qom-type", e);
	if (r < 0)
		return r;
	type = keyvals_take(&kvs, "qom-type");
	r = type ? add_object(line, type, &kvs, where, e)
		 : err_set(e, EINVAL, "say which type: -object TYPE,id=ID");
	keyvals_fini(&kvs);
	return r;
}

int qemu_opt_mem_path(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	front_set(&line->conf->mem_path, arg);
	return 0;
}

int qemu_opt_mem_prealloc(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	line->conf->mem_prealloc = true;
	return 0;
}

int qemu_opt_overcommit(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	static const char *const locks[] = { "on", "off", "on-fault", NULL };
	static const struct keyval_rule rules[] = { { "mem-lock", locks },
						    { "cpu-pm", keyval_onoff },
						    { NULL, NULL } };
	const char *lock, *pm;
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, arg, NULL, e);

	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	lock = keyvals_get(&kvs, "mem-lock");
	pm = keyvals_get(&kvs, "cpu-pm");
	if (!r && pm)
		line->conf->cpu_pm = !strcmp(pm, "on");
	if (!r && lock)
		line->conf->mem_lock = !strcmp(lock, "on")	   ? MEM_LOCK_ALL
				       : !strcmp(lock, "on-fault") ? MEM_LOCK_TOUCHED
								   : MEM_LOCK_NONE;
	keyvals_fini(&kvs);
	return r;
}

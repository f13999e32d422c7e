/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's -mon, -monitor and -qmp: each becomes a CONF_MONITOR node on a chardev. -add-fd, which
 * hands descriptors to chardevs and disks. Control thread, start-up only.
 */
#include "base/base.h"

#include "cli/qemu_opts.h"
#include "core/fdset.h"
#include <ctype.h>
#include <unistd.h>

struct conf_node *qemu_add_monitor(struct qemu_line *line, const char *chardev, const char *mode,
				   bool pretty, const char *where)
{
	struct conf_node *node = conf_add(line->conf, CONF_MONITOR, NULL, NULL, where);

	conf_set(node, "chardev", chardev);
	conf_set(node, "mode", mode);
	if (pretty)
		conf_set(node, "pretty", "on");
	line->monitor_given = true;
	return node;
}

int qemu_opt_mon(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	static const char *const modes[] = { "control", "readline", NULL };
	static const struct keyval_rule rules[] = { { "chardev", NULL },
						    { "id", NULL },
						    { "mode", modes },
						    { "pretty", keyval_onoff },
						    { NULL, NULL } };
	const char *chardev, *mode, *id, *pretty;
	struct conf_node *node;
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, arg, "chardev", e);

	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	chardev = keyvals_get(&kvs, "chardev");
	mode = keyvals_get(&kvs, "mode") ?: "readline";
	id = keyvals_get(&kvs, "id");
	pretty = keyvals_get(&kvs, "pretty");
	if (!r && !chardev)
		r = err_set(e, EINVAL, "which chardev? -mon chardev=ID,mode=%s", mode);
	if (!r && id && conf_find(line->conf, CONF_MONITOR, id))
		r = err_set(e, EEXIST, "there is a monitor '%s' already", id);
	if (!r) {
		node = qemu_add_monitor(line, chardev, mode, pretty && !strcmp(pretty, "on"),
					where);
		node->id = id ? xstrdup(id) : NULL;
	}
	keyvals_fini(&kvs);
	return r;
}

static int add_by_spec(struct qemu_line *line, const char *spec, const char *mode, bool pretty,
		       const char *where, struct err *e)
{
	autofree char *label = xasprintf("compat_monitor%u", line->nr_monitor);
	const char *id;
	int r;

	line->monitor_given = true;
	if (!strcmp(spec, "none"))
		return 0;
	if (!strncmp(spec, "mon:", 4))
		return err_set(e, EINVAL, "'%s': mon: puts a monitor on a -serial; here say '%s'",
			       spec, spec + 4);
	r = qemu_add_chardev_spec(line, spec, label, where, &id, e);
	line->nr_monitor++;
	if (!r)
		qemu_add_monitor(line, id, mode, pretty, where);
	return r;
}

int qemu_opt_monitor(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	return add_by_spec(line, arg, "readline", false, where, e);
}

int qemu_opt_qmp(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	return add_by_spec(line, arg, "control", false, where, e);
}

int qemu_opt_qmp_pretty(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	return add_by_spec(line, arg, "control", true, where, e);
}

static int get_number(const struct keyvals *kvs, const char *key, int64_t max, int64_t *out,
		      struct err *e)
{
	const char *text = keyvals_get(kvs, key);
	char *end;

	if (!text)
		return err_set(e, EINVAL, "%s= is missing: -add-fd set=N,fd=M", key);
	errno = 0;
	*out = strtoll(text, &end, 10);
	if (errno || !isdigit((unsigned char)*text) || *end || *out > max)
		return err_set(e, EINVAL, "%s=%s: a number from 0 to %" PRId64 " is needed", key,
			       text, max);
	return 0;
}

int qemu_opt_add_fd(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	static const struct keyval_rule rules[] = {
		{ "set", NULL }, { "fd", NULL }, { "opaque", NULL }, { NULL, NULL }
	};
	int64_t set = 0, fd = 0;
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, arg, NULL, e);

	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	if (!r)
		r = get_number(&kvs, "set", INT64_MAX, &set, e);
	if (!r)
		r = get_number(&kvs, "fd", INT32_MAX, &fd, e);
	if (!r && fd <= STDERR_FILENO)
		r = err_set(e, EINVAL,
			    "fd=%" PRId64 ": 0, 1 and 2 are standard input, output and error", fd);
	if (!r && !line->parse_only &&
	    fdset_add_take(line->conf, set, (int)fd, keyvals_get(&kvs, "opaque"), e) < 0)
		r = -EBADF;
	keyvals_fini(&kvs);
	return r;
}

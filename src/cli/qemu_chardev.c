/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's -chardev and -serial: both become CONF_CHARDEV nodes (stdio, file, null, socket, pty).
 * Control thread, start-up only.
 */
#include "base/base.h"

#include "cli/qemu_opts.h"
#include <stdio.h>

static const char *const chardev_types[] = { "null", "stdio", "file", "socket", "pty", NULL };

static int check_type(const char *type, struct err *e)
{
	const char *near;

	for (size_t i = 0; chardev_types[i]; i++)
		if (!strcmp(type, chardev_types[i]))
			return 0;
	near = nearest_word(type, chardev_types);
	return err_set(e, EINVAL,
		       "character device '%s' is not known%s%s%s; there are null, stdio, "
		       "file, socket and pty",
		       type, near ? " (did you mean '" : "", near ?: "", near ? "'?)" : "");
}

int qemu_opt_chardev(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	struct keyvals kvs;
	autofree char *type = NULL;
	int r;

	if (qemu_wants_help(arg)) {
		puts("Available chardev backend types:");
		for (size_t i = 0; chardev_types[i]; i++)
			printf("  %s\n", chardev_types[i]);
		line->help_shown = true;
		return 0;
	}
	r = keyvals_parse(&kvs, arg, "backend", e);
	if (r < 0)
		return r;
	type = keyvals_take(&kvs, "backend");
	r = type ? check_type(type, e) : err_set(e, EINVAL, "say which kind: -chardev stdio,id=ID");
	if (!r && !keyvals_get(&kvs, "id"))
		r = err_set(e, EINVAL, "an id is missing: -chardev %s,id=ID", type);
	if (!r && conf_find(line->conf, CONF_CHARDEV, keyvals_get(&kvs, "id")))
		r = err_set(e, EEXIST, "there is a chardev '%s' already", keyvals_get(&kvs, "id"));
	/* Multiplexing with a monitor has no meaning without one; accepted so that lines work. */
	free(keyvals_take(&kvs, "mux"));
	if (!r)
		front_add_node(line->conf, CONF_CHARDEV, type, &kvs, where);
	keyvals_fini(&kvs);
	return r;
}

static struct conf_node *new_chardev(struct qemu_line *line, const char *type, const char *where)
{
	autofree char *id = xasprintf("serial-chardev%u", line->nr_chardev++);

	return conf_add(line->conf, CONF_CHARDEV, type, id, where);
}

/* "unix:PATH,opts" and "tcp:HOST:PORT,opts": the part behind the scheme. */
static int add_socket(struct qemu_line *line, const char *spec, bool is_unix, const char *where,
		      const char **id, struct err *e)
{
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, spec, "address", e);
	struct conf_node *node;
	autofree char *address = NULL;

	if (r < 0)
		return r;
	address = keyvals_take(&kvs, "address");
	if (!address || !*address) {
		keyvals_fini(&kvs);
		return err_set(e, EINVAL,
			       "'%s': an address comes first: unix:PATH or tcp:HOST:PORT", spec);
	}
	node = new_chardev(line, "socket", where);
	if (is_unix) {
		conf_set(node, "path", address);
	} else {
		char *port = strrchr(address, ':');

		if (!port) {
			keyvals_fini(&kvs);
			return err_set(e, EINVAL, "tcp:%s: say tcp:HOST:PORT", address);
		}
		*port++ = '\0';
		conf_set(node, "host", address);
		conf_set(node, "port", port);
	}
	for (size_t i = 0; i < kvs.n; i++)
		conf_set(node, kvs.kv[i].key, kvs.kv[i].val);
	keyvals_fini(&kvs);
	*id = node->id;
	return 0;
}

int qemu_add_chardev_spec(struct qemu_line *line, const char *spec, const char *where,
			  const char **id, struct err *e)
{
	struct conf_node *node;

	if (!strncmp(spec, "mon:", 4))
		spec += 4;
	if (!strncmp(spec, "chardev:", 8)) {
		node = conf_find(line->conf, CONF_CHARDEV, spec + 8);
		if (!node)
			return err_set(e, ENOENT, "there is no chardev '%s'", spec + 8);
		*id = node->id;
		return 0;
	}
	if (!strncmp(spec, "unix:", 5))
		return add_socket(line, spec + 5, true, where, id, e);
	if (!strncmp(spec, "tcp:", 4))
		return add_socket(line, spec + 4, false, where, id, e);
	if (!strncmp(spec, "file:", 5)) {
		node = new_chardev(line, "file", where);
		conf_set(node, "path", spec + 5);
		*id = node->id;
		return 0;
	}
	if (check_type(spec, e) < 0)
		return err_prefix(e, "'%s': ", spec);
	if (!strcmp(spec, "file") || !strcmp(spec, "socket"))
		return err_set(e, EINVAL,
			       "'%s' needs an address: file:PATH, unix:PATH or tcp:HOST:PORT",
			       spec);
	*id = new_chardev(line, spec, where)->id;
	return 0;
}

int qemu_opt_serial(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	const char *id = NULL;
	int r;

	line->serial_given = true;
	if (line->nr_serial == ARRAY_SIZE(line->conf->serial))
		return err_set(e, EINVAL, "there are only %zu serial ports",
			       ARRAY_SIZE(line->conf->serial));
	if (!strcmp(arg, "none")) {
		line->nr_serial++;
		return 0;
	}
	r = qemu_add_chardev_spec(line, arg, where, &id, e);
	if (r < 0)
		return r;
	front_set(&line->conf->serial[line->nr_serial++], id);
	return 0;
}

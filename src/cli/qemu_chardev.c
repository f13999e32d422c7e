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
	if (!r)
		front_add_node(line->conf, CONF_CHARDEV, type, &kvs, where);
	keyvals_fini(&kvs);
	return r;
}

/* "HOST:PORT" in address (changed) to the node's keys. */
static int set_tcp(struct conf_node *node, char *address, struct err *e)
{
	char *port = strrchr(address, ':');

	if (!port)
		return err_set(e, EINVAL, "tcp:%s: say tcp:HOST:PORT", address);
	*port++ = '\0';
	if (*address == '[' && address[1] && address[strlen(address) - 1] == ']') { /* IPv6 */
		address[strlen(address) - 1] = '\0';
		address++;
	}
	conf_set(node, "host", address);
	conf_set(node, "port", port);
	return 0;
}

/* "unix:PATH,opts", "unix:fd=N,opts" and "tcp:HOST:PORT,opts": the part behind the scheme. */
static int add_socket(struct qemu_line *line, const char *spec, bool is_unix, const char *label,
		      const char *where, const char **id, struct err *e)
{
	/* "fd=N" and other keys in front leave no room for an address without a key. */
	bool has_fd = is_unix && !strncmp(spec, "fd=", 3);
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, spec, has_fd ? NULL : "address", e);
	struct conf_node *node;
	autofree char *address = NULL;

	if (r < 0)
		return r;
	address = keyvals_take(&kvs, "address");
	if (!has_fd && (!address || !*address)) {
		keyvals_fini(&kvs);
		return err_set(e, EINVAL,
			       "'%s': an address comes first: unix:PATH or tcp:HOST:PORT", spec);
	}
	node = conf_add(line->conf, CONF_CHARDEV, "socket", label, where);
	if (is_unix && address)
		conf_set(node, "path", address);
	else if (!is_unix)
		r = set_tcp(node, address, e);
	for (size_t i = 0; i < kvs.n; i++)
		conf_set(node, kvs.kv[i].key, kvs.kv[i].val);
	keyvals_fini(&kvs);
	*id = node->id;
	return r;
}

int qemu_add_chardev_spec(struct qemu_line *line, const char *spec, const char *label,
			  const char *where, const char **id, struct err *e)
{
	struct conf_node *node;

	if (!strncmp(spec, "chardev:", 8)) {
		*id = spec + 8; /* the chardev may come later on the line */
		return 0;
	}
	if (conf_find(line->conf, CONF_CHARDEV, label))
		return err_set(e, EEXIST,
			       "the chardev for it is called '%s', as another is already", label);
	if (!strncmp(spec, "unix:", 5))
		return add_socket(line, spec + 5, true, label, where, id, e);
	if (!strncmp(spec, "tcp:", 4))
		return add_socket(line, spec + 4, false, label, where, id, e);
	if (!strncmp(spec, "file:", 5)) {
		node = conf_add(line->conf, CONF_CHARDEV, "file", label, where);
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
	*id = conf_add(line->conf, CONF_CHARDEV, spec, label, where)->id;
	return 0;
}

/* "mon:SPEC": the port and a monitor share the chardev; Ctrl-A c goes from one to the other. */
static int add_muxed(struct qemu_line *line, const char *spec, const char *label, const char *where,
		     const char **id, struct err *e)
{
	int r = qemu_add_chardev_spec(line, spec, label, where, id, e);
	struct conf_node *node;

	if (r < 0)
		return r;
	node = conf_find(line->conf, CONF_CHARDEV, *id);
	if (node && strncmp(spec, "chardev:", 8))
		conf_set(node, "mux", "on");
	qemu_add_monitor(line, *id, "readline", false, where);
	return 0;
}

/* Adds a -serial; spec is not "none". */
int qemu_add_serial(struct qemu_line *line, const char *spec, const char *where, struct err *e)
{
	autofree char *label = xasprintf("serial%u", line->nr_serial);
	const char *id = NULL;
	int r;

	if (!strncmp(spec, "mon:", 4))
		r = add_muxed(line, spec + 4, label, where, &id, e);
	else
		r = qemu_add_chardev_spec(line, spec, label, where, &id, e);
	if (!r)
		front_set(&line->conf->serial[line->nr_serial++], id);
	return r;
}

int qemu_opt_serial(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	line->serial_given = true;
	if (line->nr_serial == ARRAY_SIZE(line->conf->serial))
		return err_set(e, EINVAL, "there are only %zu serial ports",
			       ARRAY_SIZE(line->conf->serial));
	if (!strcmp(arg, "none")) {
		line->nr_serial++;
		return 0;
	}
	return qemu_add_serial(line, arg, where, e);
}

static int missing_chardev(struct vm_conf *conf, const char *id, struct err *e)
{
	const char *names[64], *near;
	size_t n = 0;

	for (struct conf_node *c = conf->nodes; c && n < ARRAY_SIZE(names) - 1; c = c->next)
		if (c->kind == CONF_CHARDEV && c->id)
			names[n++] = c->id;
	names[n] = NULL;
	near = nearest_word(id, names);
	return err_set(e, ENOENT, "there is no chardev '%s'%s%s%s", id,
		       near ? "; did you mean '" : "", near ?: "", near ? "'?" : "");
}

int qemu_check_chardevs(struct qemu_line *line, struct err *e)
{
	struct vm_conf *conf = line->conf;

	for (size_t i = 0; i < ARRAY_SIZE(conf->serial); i++)
		if (conf->serial[i] && !conf_find(conf, CONF_CHARDEV, conf->serial[i]))
			return missing_chardev(conf, conf->serial[i], e) < 0
				       ? err_prefix(e, "-serial chardev:%s: ", conf->serial[i])
				       : 0;
	for (struct conf_node *n = conf->nodes; n; n = n->next) {
		const char *id = n->kind == CONF_MONITOR ? conf_get(n, "chardev") : NULL;

		if (id && !conf_find(conf, CONF_CHARDEV, id))
			return missing_chardev(conf, id, e) < 0 ? err_prefix(e, "%s: ", n->where)
								: 0;
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * -readconfig: options from a file, in sections like
 *
 *	[device "net0"]
 *	  driver = "virtio-net-pci"
 *	  netdev = "hostnet0"
 *
 * each of which is one option: its group, its id and its keys. Lines that begin with # are
 * comments. Control thread, start-up only.
 */
#include "base/base.h"

#include "cli/qemu_opts.h"
#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_MAX MIB(1)

/* The option of each group, where its name is another. */
static const struct {
	const char *group, *option;
} groups[] = {
	{ "accel", "accel" },
	{ "action", "action" },
	{ "add-fd", "add-fd" },
	{ "boot-opts", "boot" },
	{ "chardev", "chardev" },
	{ "device", "device" },
	{ "drive", "drive" },
	{ "global", "global" },
	{ "machine", "machine" },
	{ "memory", "m" },
	{ "mon", "mon" },
	{ "msg", "msg" },
	{ "name", "name" },
	{ "netdev", "netdev" },
	{ "numa", "numa" },
	{ "object", "object" },
	{ "overcommit", "overcommit" },
	{ "rtc", "rtc" },
	{ "run-with", "run-with" },
	{ "sandbox", "sandbox" },
	{ "smp-opts", "smp" },
};

struct section {
	const char *option; /* NULL: none is open */
	char *group, *id, *arg;
	unsigned row;
};

struct config {
	struct qemu_line *line;
	const char *name;
	struct section s;
	unsigned row;
};

static int unknown_group(const char *group, struct err *e)
{
	const char *names[ARRAY_SIZE(groups) + 1], *near;

	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		names[i] = groups[i].group;
	names[ARRAY_SIZE(groups)] = NULL;
	near = nearest_word(group, names);
	return err_set(e, EINVAL, "there is no group '%s'%s%s%s", group,
		       near ? "; did you mean '" : "", near ?: "", near ? "'?" : "");
}

/* Adds key=val with commas doubled, as the option's own parser reads them. */
static void add(struct section *s, const char *key, const char *val)
{
	autofree char *escaped = xcalloc(2 * strlen(val) + 1, 1);
	char *longer, *p = escaped;

	for (; *val; *p++ = *val++)
		if (*val == ',')
			*p++ = ',';
	longer = xasprintf("%s%s%s=%s", s->arg ?: "", s->arg ? "," : "", key, escaped);
	free(s->arg);
	s->arg = longer;
}

/* The section is complete: carries its option out. */
static int finish(struct config *c, struct err *e)
{
	struct section *s = &c->s;
	autofree char *where = NULL;
	int r = 0;

	if (s->option) {
		where = xasprintf("%s:%u: [%s]", c->name, s->row, s->group);
		if (!s->arg)
			r = err_set(e, EINVAL, "%s: the section is empty", where);
		else if (qemu_find_opt(s->option)->fn(c->line, s->arg, where, e) < 0)
			r = err_prefix(e, "%s: ", where);
	}
	free(take_ptr(s->group));
	free(take_ptr(s->id));
	free(take_ptr(s->arg));
	s->option = NULL;
	return r;
}

/* Takes "text" in quotes off *p; NULL when there is none. */
static char *take_quoted(char **p)
{
	char *first = *p, *end = *first == '"' ? strchr(first + 1, '"') : NULL;

	if (!end)
		return NULL;
	*end = '\0';
	*p = end + 1;
	return first + 1;
}

static char *skip_blanks(char *p)
{
	return p + strspn(p, " \t\r");
}

/* [group] or [group "id"] */
static int begin(struct config *c, char *p, struct err *e)
{
	char *group, *id = NULL, *end;
	int r = finish(c, e);

	if (r < 0)
		return r;
	group = p = skip_blanks(p + 1);
	end = p + strcspn(p, " \t]");
	p = skip_blanks(end);
	if (*p == '"')
		id = take_quoted(&p);
	p = skip_blanks(p);
	if (*p != ']' || *skip_blanks(p + 1) || end == group)
		return err_set(e, EINVAL, "%s:%u: say [group] or [group \"id\"]", c->name, c->row);
	*end = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		if (!strcmp(groups[i].group, group))
			c->s.option = groups[i].option;
	if (!c->s.option)
		return unknown_group(group, e) < 0 ? err_prefix(e, "%s:%u: ", c->name, c->row) : 0;
	c->s.group = xstrdup(group);
	c->s.row = c->row;
	if (id)
		add(&c->s, "id", id);
	return 0;
}

/* key = "value" */
static int key_value(struct config *c, char *p, struct err *e)
{
	char *key = p, *end = p + strcspn(p, " \t="), *val;

	p = skip_blanks(end);
	if (*p == '=' && end > key) {
		p = skip_blanks(p + 1);
		*end = '\0';
		val = take_quoted(&p);
		if (val && !*skip_blanks(p)) {
			if (!c->s.option)
				return err_set(e, EINVAL,
					       "%s:%u: '%s' stands in front of all sections",
					       c->name, c->row, key);
			add(&c->s, key, val);
			return 0;
		}
	}
	return err_set(e, EINVAL, "%s:%u: say key = \"value\"", c->name, c->row);
}

int qemu_read_config(struct qemu_line *line, char *text, const char *name, struct err *e)
{
	struct config c = { .line = line, .name = name };
	int r = 0;

	for (char *next = text; next && !r;) {
		char *p = skip_blanks(next);

		c.row++;
		next = strchr(p, '\n');
		if (next)
			*next++ = '\0';
		if (*p == '[')
			r = begin(&c, p, e);
		else if (*p && *p != '#')
			r = key_value(&c, p, e);
	}
	if (r < 0)
		c.s.option = NULL; /* not carried out, only freed */
	return finish(&c, e) < 0 ? -EINVAL : r;
}

int qemu_opt_readconfig(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	autofree char *text = NULL;
	autoclose int fd = -1;
	size_t have = 0;
	ssize_t n;

	if (line->parse_only)
		return 0;
	fd = open(arg, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_set_errno(e, errno, "cannot open '%s'", arg);
	text = xcalloc(CONFIG_MAX + 1, 1);
	while (have < CONFIG_MAX && (n = read(fd, text + have, CONFIG_MAX - have)) != 0) {
		if (n < 0 && errno != EINTR)
			return err_set_errno(e, errno, "cannot read '%s'", arg);
		have += n > 0 ? (size_t)n : 0;
	}
	if (have == CONFIG_MAX)
		return err_set(e, EFBIG, "'%s' is larger than %" PRIu64 " bytes", arg,
			       (uint64_t)CONFIG_MAX);
	return qemu_read_config(line, text, arg, e);
}

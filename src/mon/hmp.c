/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The human monitor's commands: a line is split after the schema's tables, checked, and called;
 * what it says is text. The line may come from anybody who can reach a monitor, and is treated as
 * hostile. Control thread. State: none.
 */
#include "base/base.h"
#include "base/trace.h"
#include "core/conf.h"
#include "mon/hmp_arg.h"
#include "mon/mon_int.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#define MAX_OUT (16u << 20)

static void put(struct hmp *h, const char *text, size_t len)
{
	if (!len || h->out_len + len > MAX_OUT)
		return;
	if (h->out_len + len + 1 > h->out_cap) {
		h->out_cap = MAX(h->out_len + len + 1, 2 * h->out_cap);
		h->out = xrealloc(h->out, h->out_cap, 1);
	}
	memcpy(h->out + h->out_len, text, len);
	h->out_len += len;
	h->out[h->out_len] = '\0';
}

void hmp_printf(struct hmp *h, const char *fmt, ...)
{
	autofree char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n > 0)
		put(h, text, (size_t)n);
}

void hmp_error(struct hmp *h, const struct err *e)
{
	hmp_printf(h, "Error: %s\n", e->msg);
}

json_t *hmp_qmp(struct hmp *h, const char *name, json_t *args)
{
	struct err e = { 0 };
	json_t *ret = mon_run(h, name, args, &e);

	json_decref(args);
	if (!ret)
		hmp_error(h, &e);
	return ret;
}

void hmp_fini(struct hmp *h)
{
	free(take_ptr(h->out));
	h->out_len = h->out_cap = 0;
}

/* ---- which command ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Length of name when line begins with its words, blanks between them; else 0. */
static size_t matches(const char *name, const char *line)
{
	const char *p = line;

	for (; *name; name++) {
		if (*name != ' ') {
			if (*p++ != *name)
				return 0;
			continue;
		}
		if (!is_blank(*p))
			return 0;
		while (is_blank(*p))
			p++;
	}
	return *p && !is_blank(*p) && *p != '/' ? 0 : (size_t)(p - line);
}

/* The command with the most words; *len = what of line names it. */
static const struct hmp_command *find(const char *line, size_t *len)
{
	const struct hmp_command *found = NULL;

	*len = 0;
	for (size_t i = 0; i < hmp_nr_commands; i++) {
		const struct hmp_command *c = &hmp_commands[i];
		size_t n = matches(c->name, line);

		if (!n && c->alias)
			n = matches(c->alias, line);
		if (n > *len) {
			*len = n;
			found = c;
		}
	}
	return found;
}

/* ---- a line ---- */

static void call(struct hmp *h, const struct hmp_command *c, const char *rest)
{
	autofree void *args = c->args ? xcalloc(1, c->args_size) : NULL;
	struct qmp_arena arena = { 0 };
	struct err e = { 0 };

	if (hmp_read_args(h, c, rest, args, &arena, &e) < 0)
		hmp_printf(h, "%s: %s\nTry \"help %s\" for more information\n", c->name, e.msg,
			   c->name);
	else if (c->qmp)
		json_decref(hmp_qmp(h, c->qmp, NULL));
	else
		c->call(h, args);
	qmp_arena_fini(&arena);
}

static void unknown(struct hmp *h, const char *line)
{
	size_t n = strcspn(line, " \t/");
	autofree char *word = xasprintf("%.*s", (int)MIN(n, (size_t)64), line);
	const char *names[256];
	unsigned k = 0;
	const char *near;

	for (size_t i = 0; i < hmp_nr_commands && k < ARRAY_SIZE(names) - 1; i++)
		if (!strchr(hmp_commands[i].name, ' '))
			names[k++] = hmp_commands[i].name;
	names[k] = NULL;
	near = nearest_word(word, names);
	hmp_printf(h, "unknown command: '%s'%s%s%s\n", word, near ? "; did you mean '" : "",
		   near ?: "", near ? "'?" : "");
}

void hmp_run_line(struct hmp *h, const char *line)
{
	const struct hmp_command *c;
	size_t len;

	trace_handle_hmp_command(line);
	while (isspace((unsigned char)*line))
		line++;
	if (!*line || *line == '#')
		return;
	c = find(line, &len);
	if (c)
		call(h, c, line + len);
	else
		unknown(h, line);
}

char *mon_run_hmp(struct mon *m, const char *line, unsigned cpu)
{
	struct hmp h = { .mon = m, .vm = m->vm, .cpu = cpu };

	hmp_run_line(&h, line);
	return h.out ?: xstrdup("");
}

/* ---- help ---- */

static void describe(struct hmp *h, const struct hmp_command *c)
{
	hmp_printf(h, "%s%s%s%s%s -- %s\n", c->name, c->alias ? "|" : "", c->alias ?: "",
		   *c->usage ? " " : "", c->usage, c->help);
}

static void describe_below(struct hmp *h, const char *prefix)
{
	size_t n = strlen(prefix);

	for (size_t i = 0; i < hmp_nr_commands; i++)
		if (!strncmp(hmp_commands[i].name, prefix, n) && hmp_commands[i].name[n] == ' ')
			describe(h, &hmp_commands[i]);
}

void hmp_help(struct hmp *h, const struct hmp_help_args *a)
{
	const struct hmp_command *c;
	size_t len;

	if (!a->name) {
		for (size_t i = 0; i < hmp_nr_commands; i++)
			if (!strchr(hmp_commands[i].name, ' '))
				describe(h, &hmp_commands[i]);
		return;
	}
	c = find(a->name, &len);
	if (!c) {
		unknown(h, a->name);
		return;
	}
	describe(h, c);
	describe_below(h, c->name);
}

void hmp_info(struct hmp *h, const struct hmp_info_args *a)
{
	if (a->item)
		hmp_printf(h, "info: there is no '%.64s'; these there are:\n", a->item);
	describe_below(h, "info");
}

/* ---- completion ---- */

static void complete_name(const char *line, void (*found)(void *, const char *), void *arg)
{
	size_t n = strlen(line);
	size_t head = n; /* where the last word begins */

	while (head && !is_blank(line[head - 1]))
		head--;
	for (size_t i = 0; i < hmp_nr_commands; i++) {
		const char *name = hmp_commands[i].name;
		char word[64];

		if (strncmp(name, line, n) != 0)
			continue;
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(name + head, " "), name + head);
		if (*word)
			found(arg, word);
	}
}

static void complete_backend(struct mon *m, int kind, const char *prefix,
			     void (*found)(void *, const char *), void *arg)
{
	for (struct conf_node *n = m->vm->conf->nodes; n; n = n->next)
		if ((int)n->kind == kind && n->id && !strncmp(n->id, prefix, strlen(prefix)))
			found(arg, n->id);
}

static void complete_trace_event(const char *prefix, void (*found)(void *, const char *), void *arg)
{
	for (unsigned i = 0; i < TRACE_NR; i++)
		if (!strncmp(trace_name((enum trace_id)i), prefix, strlen(prefix)))
			found(arg, trace_name((enum trace_id)i));
}

/* words: "a|b|c" */
static void complete_word(const char *words, const char *prefix,
			  void (*found)(void *, const char *), void *arg)
{
	autofree char *copy = xstrdup(words);
	char *save = NULL;

	for (char *w = strtok_r(copy, "|", &save); w; w = strtok_r(NULL, "|", &save))
		if (!strncmp(w, prefix, strlen(prefix)))
			found(arg, w);
}

void hmp_complete(struct mon *m, const char *line, void (*found)(void *, const char *), void *arg)
{
	const struct hmp_command *c;
	const struct hmp_arg *a;
	const char *word = NULL;
	size_t len;

	while (is_blank(*line))
		line++;
	complete_name(line, found, arg);
	c = find(line, &len);
	if (!c || !c->args || !is_blank(line[len]))
		return;
	line += len;
	for (a = c->args; a->name; a++) {
		if (a->kind == HMP_FLAG)
			continue;
		while (is_blank(*line))
			line++;
		word = line;
		line += strcspn(line, " \t");
		if (!*line)
			break;
	}
	if (!a->name)
		return;
	if (!strcmp(a->complete, "help"))
		complete_name(word, found, arg);
	else if (!strcmp(a->complete, "chardev"))
		complete_backend(m, CONF_CHARDEV, word, found, arg);
	else if (!strcmp(a->complete, "block"))
		complete_backend(m, CONF_DRIVE, word, found, arg);
	else if (!strcmp(a->complete, "device"))
		complete_backend(m, CONF_DEVICE, word, found, arg);
	else if (!strcmp(a->complete, "netdev"))
		complete_backend(m, CONF_NETDEV, word, found, arg);
	else if (!strcmp(a->complete, "object"))
		complete_backend(m, CONF_OBJECT, word, found, arg);
	else if (!strcmp(a->complete, "trace-event"))
		complete_trace_event(word, found, arg);
	else if (strchr(a->complete, '|'))
		complete_word(a->complete, word, found, arg);
}

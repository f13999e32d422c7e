/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's options about the process rather than the machine: its log, its life in the background,
 * its sandbox, what is done when something happens to the guest. Control thread, start-up only.
 */
#include "base/base.h"
#include "base/log.h"
#include "base/trace.h"
#include "cli/qemu_opts.h"
#include <ctype.h>
#include <stdio.h>

static bool is_on(const struct keyvals *kvs, const char *key)
{
	const char *val = keyvals_get(kvs, key);

	return val && !strcmp(val, "on");
}

int qemu_opt_daemonize(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	line->conf->daemonize = true;
	return 0;
}

int qemu_opt_perfmap(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	line->conf->perf_map = true;
	return 0;
}

int qemu_opt_jitdump(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	line->conf->jit_dump = true;
	return 0;
}

int qemu_opt_pidfile(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	front_set(&line->conf->pidfile, arg);
	return 0;
}

/* ---- messages ---- */

int qemu_opt_msg(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	static const struct keyval_rule rules[] = { { "timestamp", keyval_onoff },
						    { "guest-name", keyval_onoff },
						    { NULL, NULL } };
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, arg, NULL, e);

	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	if (!r) {
		line->conf->log_timestamp = is_on(&kvs, "timestamp");
		line->conf->log_guest_name = is_on(&kvs, "guest-name");
	}
	keyvals_fini(&kvs);
	return r;
}

int qemu_opt_log_file(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	front_set(&line->conf->log_file, arg);
	return 0;
}

static void trace_word(struct vm_conf *conf, const char *word)
{
	char *all = xasprintf("%s%s\n", conf->trace ?: "", word);

	free(conf->trace);
	conf->trace = all;
}

/* Each line of the file is a word; empty ones, and what begins with #, are not. */
static int trace_events_file(struct vm_conf *conf, const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	int r = 0;

	if (!f)
		return err_set_errno(e, errno, "-trace events=%s: cannot open the file", path);
	while (getline(&line, &size, f) >= 0) {
		char *word = line + strspn(line, " \t");

		word[strcspn(word, " \t\r\n")] = '\0';
		if (*word && *word != '#')
			trace_word(conf, word);
	}
	if (ferror(f))
		r = err_set_errno(e, errno, "-trace events=%s: cannot read the file", path);
	free(line);
	fclose(f);
	return r;
}

static void list_trace_events(struct qemu_line *line)
{
	for (unsigned i = 0; i < TRACE_NR; i++)
		puts(trace_name((enum trace_id)i));
	line->help_shown = true;
}

int qemu_opt_trace(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	static const struct keyval_rule rules[] = {
		{ "enable", NULL }, { "events", NULL }, { "file", NULL }, { NULL, NULL }
	};
	struct keyvals kvs;
	const char *val;
	int r;

	if (qemu_wants_help(arg)) {
		list_trace_events(line);
		return 0;
	}
	r = keyvals_parse(&kvs, arg, "enable", e);
	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	val = r ? NULL : keyvals_get(&kvs, "enable");
	if (val)
		trace_word(line->conf, val);
	val = r ? NULL : keyvals_get(&kvs, "events");
	if (val)
		r = trace_events_file(line->conf, val, e);
	val = r ? NULL : keyvals_get(&kvs, "file");
	if (val)
		front_set(&line->conf->trace_file, val);
	keyvals_fini(&kvs);
	return r;
}

static void log_help(void)
{
	puts("Log items (comma separated):");
	for (const struct log_item *i = log_items; i->name; i++)
		printf("%-15s %s\n", i->name, i->help);
	printf("%-15s %s\n", "trace:PATTERN",
	       "the same as -trace PATTERN; trace:help lists the events");
}

static int log_item(struct vm_conf *conf, const char *name, struct err *e)
{
	const char *names[16] = { NULL }, *near;

	for (size_t i = 0; i + 1 < ARRAY_SIZE(names) && log_items[i].name; i++) {
		names[i] = log_items[i].name;
		if (strcmp(name, names[i]) != 0)
			continue;
		conf->log_level = MAX(conf->log_level, (int)log_items[i].level);
		conf->log_engine |= log_items[i].engine;
		return 0;
	}
	near = nearest_word(name, names);
	return err_set(e, EINVAL, "log item '%s' is not known%s%s%s; -d help lists them", name,
		       near ? " (did you mean '" : "", near ?: "", near ? "'?)" : "");
}

int qemu_opt_log(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	autofree char *copy = xstrdup(arg);
	char *save = NULL;

	if (qemu_wants_help(arg)) {
		log_help();
		line->help_shown = true;
		return 0;
	}
	for (char *name = strtok_r(copy, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		int r = 0;

		if (strncmp(name, "trace:", 6) != 0)
			r = log_item(line->conf, name, e);
		else if (qemu_wants_help(name + 6))
			list_trace_events(line);
		else
			trace_word(line->conf, name + 6);

		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- what is done when something happens ---- */

static const char *const reboot_words[] = { "reset", "shutdown", NULL };
static const char *const shutdown_words[] = { "poweroff", "pause", NULL };
static const char *const panic_words[] = { "pause", "shutdown", "exit-failure", "none", NULL };
static const char *const watchdog_words[] = { "reset", "shutdown", "poweroff",	 "pause",
					      "debug", "none",	   "inject-nmi", NULL };

static unsigned index_of(const char *word, const char *const *words)
{
	unsigned i = 0;

	while (words[i + 1] && strcmp(words[i], word))
		i++;
	return i;
}

int qemu_opt_action(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	static const struct keyval_rule rules[] = { { "reboot", reboot_words },
						    { "shutdown", shutdown_words },
						    { "panic", panic_words },
						    { "watchdog", watchdog_words },
						    { NULL, NULL } };
	struct vm_conf *conf = line->conf;
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, arg, NULL, e);

	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	for (size_t i = 0; !r && i < kvs.n; i++) {
		const char *key = kvs.kv[i].key, *val = kvs.kv[i].val;

		if (*key == 'r')
			conf->no_reboot = index_of(val, reboot_words) == 1;
		else if (*key == 's')
			conf->no_shutdown = index_of(val, shutdown_words) == 1;
		else if (*key == 'p')
			conf->panic_action = index_of(val, panic_words);
		else
			conf->watchdog_action = index_of(val, watchdog_words);
	}
	keyvals_fini(&kvs);
	return r;
}

int qemu_opt_watchdog_action(struct qemu_line *line, const char *arg, const char *where,
			     struct err *e)
{
	autofree char *as_action = xasprintf("watchdog=%s", arg);

	return qemu_opt_action(line, as_action, where, e);
}

/* ---- sandbox, user, folder ---- */

int qemu_opt_sandbox(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	return front_parse_sandbox(line->conf, arg, e);
}

int qemu_opt_run_with(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	static const struct keyval_rule rules[] = { { "async-teardown", keyval_onoff },
						    { "chroot", NULL },
						    { "user", NULL },
						    { NULL, NULL } };
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, arg, NULL, e);

	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	if (!r && is_on(&kvs, "async-teardown"))
		r = err_set(e, ENOTSUP,
			    "async-teardown=on is not here: the host frees memory at the end as "
			    "fast as it can");
	if (!r && keyvals_get(&kvs, "chroot"))
		front_set(&line->conf->chroot, keyvals_get(&kvs, "chroot"));
	if (!r && keyvals_get(&kvs, "user"))
		front_set(&line->conf->user, keyvals_get(&kvs, "user"));
	keyvals_fini(&kvs);
	return r;
}

/* ---- what is taken because it asks for what is so anyhow ---- */

int qemu_opt_audiodev(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	struct keyvals kvs;
	const char *driver;
	int r;

	if (qemu_wants_help(arg)) {
		puts("Available audio drivers:\nnone");
		line->help_shown = true;
		return 0;
	}
	r = keyvals_parse_any(&kvs, arg, "driver", e);
	if (r < 0)
		return r;
	driver = keyvals_get(&kvs, "driver");
	if (!driver || !keyvals_get(&kvs, "id"))
		r = err_set(e, EINVAL, "say -audiodev none,id=ID");
	else if (strcmp(driver, "none"))
		r = err_set(e, ENOTSUP, "audio driver '%s' is not here: only none", driver);
	keyvals_fini(&kvs);
	return r;
}

int qemu_opt_numa(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	static const char *const types[] = { "node", NULL }, *const ids[] = { "0", NULL };
	static const struct keyval_rule rules[] = { { "type", types },
						    { "nodeid", ids },
						    { "cpus", NULL },
						    { "memdev", NULL },
						    { NULL, NULL } };
	const char *memdev;
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, arg, "type", e);

	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	if (r < 0)
		r = err_prefix(e, "the guest has one NUMA node, with all CPUs and memory: ");
	memdev = keyvals_get(&kvs, "memdev");
	if (!r && line->numa_given)
		r = err_set(e, ENOTSUP, "the guest has one NUMA node, with all CPUs and memory");
	if (!r && memdev)
		front_set(&line->conf->mem_backend, memdev);
	if (!r && keyvals_get(&kvs, "cpus"))
		front_set(&line->numa_cpus, keyvals_get(&kvs, "cpus"));
	line->numa_given = true;
	keyvals_fini(&kvs);
	return r;
}

int qemu_opt_parallel(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	return strcmp(arg, "none") ? err_set(e, ENOTSUP, "there is no parallel port: say none") : 0;
}

int qemu_opt_echr(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = isdigit((unsigned char)*arg) ? strtoul(arg, &end, 0) : 0;
	if (!n || n > 31 || *end || errno)
		return err_set(e, EINVAL,
			       "'%s': the number of a control key, from 1 (Ctrl-A) to 31", arg);
	line->conf->escape_key = (uint8_t)n;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about the monitor itself and what it talks to: schema/control.json. Control thread. */
#include "base/base.h"
#include "base/log.h"
#include "core/accel.h"
#include "core/arch.h"
#include "core/conf.h"
#include "mon/mon_int.h"
#include <stdio.h>

int qmp_qmp_capabilities(struct mon_cmd *c, const struct qmp_qmp_capabilities_args *a,
			 struct err *e)
{
	return mon_qmp_negotiate(c->session, a->enable.n > 0, e);
}

json_t *qmp_query_version(struct mon_cmd *c, struct err *e)
{
	return json_pack("{s:{s:i,s:i,s:i},s:s}", "qemu", "micro", MON_QEMU_MICRO, "minor",
			 MON_QEMU_MINOR, "major", MON_QEMU_MAJOR, "package", MON_PACKAGE);
}

json_t *qmp_query_commands(struct mon_cmd *c, struct err *e)
{
	json_t *list = json_array();

	for (size_t i = 0; i < qmp_nr_commands; i++)
		json_array_append_new(list, json_pack("{s:s}", "name", qmp_commands[i].name));
	return list;
}

json_t *qmp_query_qmp_schema(struct mon_cmd *c, struct err *e)
{
	return json_loads(qmp_schema_json, 0, NULL);
}

json_t *qmp_query_name(struct mon_cmd *c, struct err *e)
{
	return c->vm->conf->name ? json_pack("{s:o}", "name", mon_text(c->vm->conf->name))
				 : json_object();
}

json_t *qmp_query_uuid(struct mon_cmd *c, struct err *e)
{
	const uint8_t *u = c->vm->conf->uuid;
	char text[37];

	snprintf(text, sizeof(text),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
		 u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		 u[15]);
	return json_pack("{s:s}", "UUID", text);
}

/* QEMU's name of an engine. */
static const char *public_name(const struct accel_ops *a)
{
	return a->alias ?: a->name;
}

static bool works_here(const struct accel_ops *a)
{
	struct err e = { 0 };

	return !a->probe || a->probe(&e) == 0;
}

json_t *qmp_query_kvm(struct mon_cmd *c, struct err *e)
{
	bool enabled = !strcmp(public_name(c->vm->accel), "kvm"), present = enabled;

	for (const struct accel_ops *const *a = accel_engines; *a && !present; a++)
		present = !strcmp((*a)->name, "kvm") && works_here(*a);
	return json_pack("{s:b,s:b}", "enabled", enabled, "present", present);
}

json_t *qmp_query_accelerators(struct mon_cmd *c, struct err *e)
{
	json_t *present = json_array();

	for (const struct accel_ops *const *a = accel_engines; *a; a++) {
		if (*a == c->vm->accel || works_here(*a))
			json_array_append_new(present, json_string(public_name(*a)));
	}
	return json_pack("{s:s,s:o}", "enabled", public_name(c->vm->accel), "present", present);
}

json_t *qmp_query_target(struct mon_cmd *c, struct err *e)
{
	return json_pack("{s:s}", "arch", arch_name);
}

/* Lines end as on a terminal, as QEMU has it. */
static char *with_crlf(const char *text)
{
	char *out = xcalloc(2 * strlen(text) + 1, 1), *p = out;

	for (; *text; text++) {
		if (*text == '\n')
			*p++ = '\r';
		*p++ = *text;
	}
	return out;
}

json_t *qmp_human_monitor_command(struct mon_cmd *c, const struct qmp_human_monitor_command_args *a,
				  struct err *e)
{
	autofree char *text = NULL, *crlf = NULL;

	if (a->has_cpu_index && (a->cpu_index < 0 || a->cpu_index >= c->vm->nr_vcpus)) {
		err_set(e, EINVAL, "Parameter 'cpu-index' expects a CPU number, 0 to %u",
			c->vm->nr_vcpus ? c->vm->nr_vcpus - 1 : 0);
		return NULL;
	}
	text = mon_run_hmp(c->mon, a->command_line, (unsigned)a->cpu_index);
	crlf = with_crlf(text);
	return mon_text(crlf);
}

/* ---- HMP ---- */

void hmp_info_version(struct hmp *h)
{
	hmp_printf(h, "%d.%d.%d%s\n", MON_QEMU_MAJOR, MON_QEMU_MINOR, MON_QEMU_MICRO,
		   " (" MON_PACKAGE ")");
}

void hmp_info_name(struct hmp *h)
{
	if (h->vm->conf->name)
		hmp_printf(h, "%s\n", h->vm->conf->name);
}

void hmp_info_uuid(struct hmp *h)
{
	json_t *r = hmp_qmp(h, "query-uuid", NULL);

	if (r)
		hmp_printf(h, "%s\n", json_string_value(json_object_get(r, "UUID")));
	json_decref(r);
}

void hmp_info_kvm(struct hmp *h)
{
	json_t *r = hmp_qmp(h, "query-kvm", NULL);
	bool present = json_is_true(json_object_get(r, "present"));
	bool enabled = json_is_true(json_object_get(r, "enabled"));

	hmp_printf(h, "kvm support: %s\n",
		   enabled   ? "enabled"
		   : present ? "disabled"
			     : "not compiled or not to be had here");
	json_decref(r);
	hmp_print_stats(h);
}

static void list_log_items(struct hmp *h, const char *wrong)
{
	if (strcmp(wrong, "help") != 0)
		hmp_printf(h, "Error: log: there is no item '%.64s'\n", wrong);
	hmp_printf(h, "Log items (comma separated):\n%-15s %s\n", "none", "the same as error");
	for (const struct log_item *i = log_items; i->name; i++)
		hmp_printf(h, "%-15s %s\n", i->name, i->help);
	hmp_printf(h, "%-15s %s\n", "trace:PATTERN", "the same as trace-event PATTERN on");
}

/* As -d trace:PATTERN, where a dash in front switches off. */
static void log_trace(struct hmp *h, const char *pattern)
{
	bool on = *pattern != '-';
	const struct hmp_trace_event_args args = { .name = on ? pattern : pattern + 1,
						   .state = on };

	hmp_trace_event(h, &args);
}

/* On its way into the guest again it sees what is wanted. */
static void engine_looks(struct vcpu *v, void *arg)
{
}

void hmp_log(struct hmp *h, const struct hmp_log_args *a)
{
	autofree char *copy = xstrdup(a->items);
	enum log_level level = LOG_LEVEL_ERROR;
	uint32_t engine = 0;
	char *save = NULL;

	for (char *w = strtok_r(copy, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
		const struct log_item *i = log_items;

		if (!strcmp(w, "none"))
			continue;
		if (!strncmp(w, "trace:", 6)) {
			log_trace(h, w + 6);
			continue;
		}
		while (i->name && strcmp(i->name, w) != 0)
			i++;
		if (!i->name) {
			list_log_items(h, w);
			return;
		}
		level = MAX(level, i->level);
		engine |= i->engine;
	}
	log_set_level(level);
	log_set_engine(engine);
	for (unsigned n = 0; n < h->vm->nr_vcpus; n++)
		vm_run_on(h->vm->vcpus[n], engine_looks, NULL);
}

void hmp_cpu(struct hmp *h, const struct hmp_cpu_args *a)
{
	if (a->index < 0 || a->index >= h->vm->nr_vcpus)
		hmp_printf(h, "Error: there is no CPU %" PRId64 "\n", a->index);
	else
		h->cpu = (unsigned)a->index;
}

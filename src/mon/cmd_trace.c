/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace events: schema/trace.json. Source: QEMU's QAPI documentation of trace, and its trace/qmp.c
 * for what is an error: an unknown name is, a pattern that nothing matches is not. Control thread;
 * no state.
 */
#include "base/base.h"
#include "base/trace.h"
#include "mon/cmd.h"

/* A plain name has to be an event's. */
static int check_name(const char *name, struct err *e)
{
	const char *names[TRACE_NR + 1] = { NULL }, *near;

	if (trace_is_pattern(name))
		return 0;
	for (unsigned i = 0; i < TRACE_NR; i++) {
		names[i] = trace_name((enum trace_id)i);
		if (!strcmp(names[i], name))
			return 0;
	}
	near = nearest_word(name, names);
	return err_set(e, ENOENT, "unknown event \"%s\"%s%s%s", name,
		       near ? " (did you mean \"" : "", near ?: "", near ? "\"?)" : "");
}

json_t *qmp_trace_event_get_state(struct mon_cmd *c, const struct qmp_trace_event_get_state_args *a,
				  struct err *e)
{
	json_t *list;

	if (check_name(a->name, e) < 0)
		return NULL;
	list = json_array();
	for (unsigned i = 0; i < TRACE_NR; i++) {
		enum trace_id id = (enum trace_id)i;

		if (trace_match(id, a->name))
			json_array_append_new(
				list, json_pack("{s:s, s:s}", "name", trace_name(id), "state",
						trace_is_on(id) ? "enabled" : "disabled"));
	}
	return list;
}

int qmp_trace_event_set_state(struct mon_cmd *c, const struct qmp_trace_event_set_state_args *a,
			      struct err *e)
{
	int r = check_name(a->name, e);

	if (r == 0)
		trace_set(a->name, a->enable);
	return r;
}

/* ---- HMP ---- */

void hmp_trace_event(struct hmp *h, const struct hmp_trace_event_args *a)
{
	json_decref(
		hmp_qmp(h, "trace-event-set-state",
			json_pack("{s:o, s:b}", "name", mon_text(a->name), "enable", a->state)));
}

void hmp_info_trace_events(struct hmp *h, const struct hmp_info_trace_events_args *a)
{
	json_t *list = hmp_qmp(h, "trace-event-get-state",
			       json_pack("{s:o}", "name", mon_text(a->name ?: "*")));
	json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		const char *state = json_string_value(json_object_get(o, "state"));

		hmp_printf(h, "%s : state %d\n", json_string_value(json_object_get(o, "name")),
			   !strcmp(state, "enabled"));
	}
	json_decref(list);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: what happens to the VM (core/event.h) in QMP's words, with a time, and not more often
 * than the schema allows. Of those that come too fast the newest is sent when the time is over.
 * Control thread. State: none.
 */
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/trace.h"
#include "mon/mon_int.h"

#define MAX_LIMITS 64u /* sources that are counted apart; the rest is dropped while they are full */

/* One kind of event of one source that was sent a moment ago. */
struct mon_limit {
	struct mon *mon;
	const struct qmp_event_type *type;
	char *key;    /* or NULL */
	json_t *held; /* came in the meantime, or NULL */
	struct loop_timer timer;
	struct mon_limit *next;
};

static json_t *stamp(const char *name, json_t *data)
{
	uint64_t us = clock_ns_of(CLOCK_REALTIME) / NS_PER_US;
	json_t *ev = json_pack("{s:{s:I,s:I},s:s}", "timestamp", "seconds",
			       (json_int_t)(us / 1000000), "microseconds",
			       (json_int_t)(us % 1000000), "event", name);

	if (data)
		json_object_set_new(ev, "data", data);
	return ev;
}

static void send(struct mon *m, json_t *ev)
{
	trace_monitor_protocol_event_emit(json_string_value(json_object_get(ev, "event")));
	mon_qmp_send_event(m, ev);
	json_decref(ev);
}

static void free_limit(struct mon *m, struct mon_limit *l)
{
	struct mon_limit **p = &m->limits;

	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	loop_disarm(m->vm->loop, &l->timer);
	json_decref(l->held);
	free(l->key);
	free(l);
}

static void arm(struct mon_limit *l)
{
	loop_arm(l->mon->vm->loop, &l->timer, clock_now_ns() + l->type->limit_ms * NS_PER_MS);
}

static void time_over(struct loop_timer *t)
{
	struct mon_limit *l = container_of(t, struct mon_limit, timer);

	if (!l->held) {
		free_limit(l->mon, l);
		return;
	}
	send(l->mon, take_ptr(l->held));
	arm(l);
}

/* True when ev (taken then) is not to be sent now. */
static bool hold(struct mon *m, const struct qmp_event_type *type, const char *key, json_t *ev)
{
	struct mon_limit *l;
	unsigned n = 0;

	for (l = m->limits; l; l = l->next, n++) {
		if (l->type != type || strcmp(l->key ?: "", key ?: "") != 0)
			continue;
		json_decref(l->held);
		l->held = ev;
		trace_monitor_protocol_event_queue(type->name, type->limit_ms);
		return true;
	}
	if (n >= MAX_LIMITS) {
		json_decref(ev);
		return true;
	}
	l = xnew(struct mon_limit);
	l->mon = m;
	l->type = type;
	l->key = key ? xstrdup(key) : NULL;
	l->timer.fn = time_over;
	l->next = m->limits;
	m->limits = l;
	arm(l);
	return false;
}

void mon_event(struct mon *m, const char *name, json_t *data)
{
	const struct qmp_event_type *type = qmp_event_find(name);
	const char *key;
	struct err e = { 0 };
	json_t *ev;

	if (!type) {
		log_error("monitor: event %s is not in the schema", name);
		json_decref(data);
		return;
	}
	if (type->gives && qmp_check(type->gives, data, &e) < 0)
		log_error("monitor: event %s is not what the schema says: %s", name, e.msg);
	key = type->limit_key ? json_string_value(json_object_get(data, type->limit_key)) : NULL;
	ev = stamp(name, data);
	if (!type->limit_ms || !hold(m, type, key, ev))
		send(m, ev);
}

void mon_event_fini(struct mon *m)
{
	while (m->limits)
		free_limit(m, m->limits);
}

static json_t *cause_data(const struct vm_event *ev)
{
	return json_pack("{s:b,s:s}", "guest", vm_cause_by_guest(ev->cause), "reason",
			 vm_cause_name(ev->cause));
}

/* Clients have to ask for these; a person who waits for the end has. */
static void hear_migration(struct mon *m, const struct vm_event *ev)
{
	bool pass = ev->kind == VM_EV_MIGRATION_PASS;

	if (migr_cap_get(migr_of(m->vm), MIGR_CAP_EVENTS) && pass)
		mon_event(m, "MIGRATION_PASS", json_pack("{s:I}", "pass", (json_int_t)ev->value));
	else if (migr_cap_get(migr_of(m->vm), MIGR_CAP_EVENTS))
		mon_event(m, "MIGRATION", json_pack("{s:s}", "status", ev->name));
	if (!pass)
		mon_migration_told(m);
}

void mon_hear(struct vm_observer *o, const struct vm_event *ev)
{
	struct mon *m = container_of(o, struct mon, observer);

	if (!m->qmps)
		return; /* nobody hears it */
	switch (ev->kind) {
	case VM_EV_STOP:
		mon_event(m, "STOP", NULL);
		break;
	case VM_EV_RESUME:
		mon_event(m, "RESUME", NULL);
		break;
	case VM_EV_RESET:
		mon_event(m, "RESET", cause_data(ev));
		break;
	case VM_EV_SHUTDOWN:
		mon_event(m, "SHUTDOWN", cause_data(ev));
		break;
	case VM_EV_POWERDOWN:
		mon_event(m, "POWERDOWN", NULL);
		break;
	case VM_EV_GUEST_PANICKED:
		mon_event(m, "GUEST_PANICKED", json_pack("{s:s}", "action", ev->name));
		break;
	case VM_EV_GUEST_CRASHLOADED:
		mon_event(m, "GUEST_CRASHLOADED", json_pack("{s:s}", "action", ev->name));
		break;
	case VM_EV_GUEST_PVSHUTDOWN:
		mon_event(m, "GUEST_PVSHUTDOWN", NULL);
		break;
	case VM_EV_WATCHDOG:
		mon_event(m, "WATCHDOG", json_pack("{s:s}", "action", ev->name));
		break;
	case VM_EV_RTC_CHANGE:
		mon_event(m, "RTC_CHANGE",
			  json_pack("{s:I,s:s}", "offset", (json_int_t)ev->value, "qom-path",
				    ev->path));
		break;
	case VM_EV_BALLOON_CHANGE:
		mon_event(m, "BALLOON_CHANGE", json_pack("{s:I}", "actual", (json_int_t)ev->value));
		break;
	case VM_EV_VSERPORT_CHANGE:
		mon_event(m, "VSERPORT_CHANGE",
			  json_pack("{s:o,s:b}", "id", mon_text(ev->name), "open", ev->value != 0));
		break;
	case VM_EV_MEMORY_FAILURE:
		mon_event(m, "MEMORY_FAILURE",
			  json_pack("{s:s,s:s,s:{s:b,s:b}}", "recipient", ev->path, "action",
				    ev->name, "flags", "action-required",
				    (ev->value & VM_MEMORY_REQUIRED) != 0, "recursive",
				    (ev->value & VM_MEMORY_RECURSIVE) != 0));
		break;
	case VM_EV_MIGRATION:
	case VM_EV_MIGRATION_PASS:
		hear_migration(m, ev);
		break;
	default:
		break;
	}
}

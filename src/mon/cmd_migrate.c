/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that save the machine and load one: schema/migrate.json. The jobs are migr's
 * (migr/migr.h), which tells what happens as events. Control thread. State: none.
 */
#include "base/base.h"
#include "core/conf.h"
#include "migr/migr.h"
#include "mon/mon_int.h"

#define PAGE 4096u

/* ---- QMP ---- */

int qmp_migrate(struct mon_cmd *c, const struct qmp_migrate_args *a, struct err *e)
{
	struct mon_migr_fds n = mon_migr_fds(c->mon);

	if (a->has_resume && a->resume)
		return err_set(e, ENOTSUP, "there is no migration to resume");
	return migr_save(migr_of(c->vm), a->uri, &n.fds, e);
}

int qmp_migrate_incoming(struct mon_cmd *c, const struct qmp_migrate_incoming_args *a,
			 struct err *e)
{
	struct mon_migr_fds n = mon_migr_fds(c->mon);

	return migr_load(migr_of(c->vm), a->uri, &n.fds, !a->has_exit_on_error || a->exit_on_error,
			 e);
}

int qmp_migrate_cancel(struct mon_cmd *c, struct err *e)
{
	migr_cancel(migr_of(c->vm));
	return 0;
}

int qmp_migrate_continue(struct mon_cmd *c, const struct qmp_migrate_continue_args *a,
			 struct err *e)
{
	if (a->state != QMP_MIGRATION_STATUS_PRE_SWITCHOVER)
		return err_set(e, EINVAL, "only pre-switchover is a state to go on from");
	return migr_continue(migr_of(c->vm), e);
}

static json_t *ram_stats(const struct migr_info *i)
{
	uint64_t ms = MAX(i->total_ms, (uint64_t)1);
	uint64_t normal = i->normal_pages * PAGE;
	json_int_t bytes = (json_int_t)normal;

	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:i,s:f,s:i,s:i,s:i,s:i,s:I,s:i,s:I,s:i,s:i}",
			 "transferred", (json_int_t)i->transferred, "remaining",
			 (json_int_t)i->ram_remaining, "total", (json_int_t)i->ram_total,
			 "duplicate", (json_int_t)i->zero_pages, "normal",
			 (json_int_t)i->normal_pages, "normal-bytes", bytes, "dirty-pages-rate", 0,
			 "mbps", (double)i->transferred * 8 / 1000 / (double)ms, "dirty-sync-count",
			 (int)i->passes, "postcopy-requests", 0, "page-size", (int)PAGE,
			 "multifd-bytes", 0, "pages-per-second",
			 (json_int_t)((i->normal_pages + i->zero_pages) * 1000 / ms),
			 "precopy-bytes", 0, "downtime-bytes", (json_int_t)i->transferred,
			 "postcopy-bytes", 0, "dirty-sync-missed-zero-copy", 0);
}

json_t *qmp_query_migrate(struct mon_cmd *c, struct err *e)
{
	json_t *r = json_object();
	struct migr_info i;

	migr_get_info(migr_of(c->vm), &i);
	if (i.status == MIGR_NONE)
		return r;
	json_object_set_new(r, "status", json_string(migr_status_name(i.status)));
	if (i.error)
		json_object_set_new(r, "error-desc", json_string(i.error));
	if (i.incoming)
		return r;
	json_object_set_new(r, "total-time", json_integer((json_int_t)i.total_ms));
	json_object_set_new(r, "setup-time", json_integer((json_int_t)i.setup_ms));
	json_object_set_new(r, i.status == MIGR_COMPLETED ? "downtime" : "expected-downtime",
			    json_integer((json_int_t)i.downtime_ms));
	json_object_set_new(r, "ram", ram_stats(&i));
	return r;
}

int qmp_migrate_set_capabilities(struct mon_cmd *c,
				 const struct qmp_migrate_set_capabilities_args *a, struct err *e)
{
	for (size_t i = 0; i < a->capabilities.n; i++) {
		int ret = migr_cap_set(migr_of(c->vm),
				       (enum migr_cap)a->capabilities.v[i]->capability,
				       a->capabilities.v[i]->state, e);

		if (ret < 0)
			return ret;
	}
	return 0;
}

static_assert((int)MIGR_CAP_EVENTS == (int)QMP_MIGRATION_CAPABILITY_EVENTS, "the schema's order");
static_assert((int)MIGR_CAP_PAUSE_BEFORE_SWITCHOVER ==
		      (int)QMP_MIGRATION_CAPABILITY_PAUSE_BEFORE_SWITCHOVER,
	      "the schema's order");

json_t *qmp_query_migrate_capabilities(struct mon_cmd *c, struct err *e)
{
	json_t *r = json_array();

	for (enum migr_cap i = 0; i < MIGR_NR_CAPS; i++)
		json_array_append_new(r, json_pack("{s:s,s:b}", "capability", migr_cap_name(i),
						   "state", migr_cap_get(migr_of(c->vm), i)));
	return r;
}

int qmp_migrate_set_parameters(struct mon_cmd *c, const struct qmp_migrate_set_parameters_args *a,
			       struct err *e)
{
	struct migr_params p = migr_get_params(migr_of(c->vm));

	if (a->has_max_bandwidth)
		p.max_bandwidth = a->max_bandwidth;
	if (a->has_downtime_limit)
		p.downtime_limit_ms = a->downtime_limit;
	migr_set_params(migr_of(c->vm), &p);
	return 0;
}

json_t *qmp_query_migrate_parameters(struct mon_cmd *c, struct err *e)
{
	struct migr_params p = migr_get_params(migr_of(c->vm));

	return json_pack("{s:I,s:I}", "max-bandwidth",
			 (json_int_t)MIN(p.max_bandwidth, (uint64_t)INT64_MAX), "downtime-limit",
			 (json_int_t)MIN(p.downtime_limit_ms, (uint64_t)INT64_MAX));
}

/* ---- HMP ---- */

/* Whether something goes on that needs no word of a person's. */
static bool under_way(enum migr_status s)
{
	return s == MIGR_SETUP || s == MIGR_ACTIVE || s == MIGR_DEVICE || s == MIGR_CANCELLING;
}

void mon_migration_told(struct mon *m)
{
	struct err e = { 0 };
	struct migr_info i;

	migr_get_info(migr_of(m->vm), &i);
	if (!m->saver || under_way(i.status))
		return;
	if (i.status == MIGR_FAILED)
		err_set(&e, EIO, "%s", i.error ?: "the machine is not saved");
	mon_finish(take_ptr(m->saver), NULL, &e);
}

/* As in QEMU: without -d the line ends when the machine is saved, so that "quit" may follow. */
void hmp_migrate(struct hmp *h, const struct hmp_migrate_args *a)
{
	json_t *ret = hmp_qmp(h, "migrate", json_pack("{s:o}", "uri", mon_text(a->uri)));

	if (ret && !a->d && !h->mon->saver) {
		h->mon->saver = hmp_defer(h);
		if (!h->mon->saver)
			hmp_printf(h, "terminal does not allow synchronous migration, continuing "
				      "detached\n");
		else
			mon_migration_told(h->mon); /* it may be over */
	}
	json_decref(ret);
}

void hmp_migrate_continue(struct hmp *h, const struct hmp_migrate_continue_args *a)
{
	json_decref(
		hmp_qmp(h, "migrate-continue", json_pack("{s:o}", "state", mon_text(a->state))));
}

void hmp_migrate_incoming(struct hmp *h, const struct hmp_migrate_incoming_args *a)
{
	json_decref(
		hmp_qmp(h, "migrate-incoming",
			json_pack("{s:o,s:b}", "uri", mon_text(a->uri), "exit-on-error", false)));
}

void hmp_migrate_set_capability(struct hmp *h, const struct hmp_migrate_set_capability_args *a)
{
	json_decref(hmp_qmp(h, "migrate-set-capabilities",
			    json_pack("{s:[{s:o,s:b}]}", "capabilities", "capability",
				      mon_text(a->capability), "state", a->state)));
}

/* Sizes are in MiB unless they say otherwise; times are plain numbers of milliseconds. */
void hmp_migrate_set_parameter(struct hmp *h, const struct hmp_migrate_set_parameter_args *a)
{
	bool size = !strcmp(a->parameter, "max-bandwidth");
	json_t *args = json_object();
	struct err e = { 0 };
	uint64_t val = 0;

	if (parse_size(a->value, size ? MIB(1) : 1, &val, &e) < 0 || val > INT64_MAX) {
		hmp_printf(h, "Error: '%.64s' is no value of '%.64s'%s%s\n", a->value, a->parameter,
			   e.code ? ": " : "", e.code ? e.msg : "");
		json_decref(args);
		return;
	}
	if (json_object_set_new(args, a->parameter, json_integer((json_int_t)val)) < 0) {
		hmp_printf(h, "Error: the parameter's name is no UTF-8\n");
		json_decref(args);
		return;
	}
	json_decref(hmp_qmp(h, "migrate-set-parameters", args));
}

void hmp_info_migrate(struct hmp *h)
{
	struct migr_info i;

	migr_get_info(migr_of(h->vm), &i);
	if (i.status == MIGR_NONE) {
		hmp_printf(h, "No save or load so far.\n");
		return;
	}
	hmp_printf(h, "Migration status: %s%s\n", migr_status_name(i.status),
		   i.incoming ? " (incoming)" : "");
	if (i.error)
		hmp_printf(h, "error: %s\n", i.error);
	hmp_printf(h, "total time: %" PRIu64 " ms\n", i.total_ms);
	hmp_printf(h, "setup: %" PRIu64 " ms\ndowntime: %" PRIu64 " ms\n", i.setup_ms,
		   i.downtime_ms);
	hmp_printf(h,
		   "transferred ram: %" PRIu64 " kbytes\nremaining ram: %" PRIu64
		   " kbytes\ntotal ram: %" PRIu64 " kbytes\n",
		   i.transferred >> 10, i.ram_remaining >> 10, i.ram_total >> 10);
	hmp_printf(h, "duplicate: %" PRIu64 " pages\nnormal: %" PRIu64 " pages\n", i.zero_pages,
		   i.normal_pages);
}

void hmp_info_migrate_capabilities(struct hmp *h)
{
	for (enum migr_cap i = 0; i < MIGR_NR_CAPS; i++)
		hmp_printf(h, "%s: %s\n", migr_cap_name(i),
			   migr_cap_get(migr_of(h->vm), i) ? "on" : "off");
}

void hmp_info_migrate_parameters(struct hmp *h)
{
	struct migr_params p = migr_get_params(migr_of(h->vm));

	hmp_printf(h, "max-bandwidth: %" PRIu64 " bytes/second%s\n", p.max_bandwidth,
		   p.max_bandwidth ? "" : " (no limit)");
	hmp_printf(h, "downtime-limit: %" PRIu64 " ms\n", p.downtime_limit_ms);
}

/* ---- snapshots inside of images: no driver has them, which is said of the disk as QEMU does ---- */

static void no_snapshots(struct hmp *h)
{
	static const char instead[] = "raw images have no room for snapshots; 'migrate file:PATH' "
				      "saves the machine beside its disks";
	json_t *list = hmp_qmp(h, "query-block", NULL), *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		const json_t *in = json_object_get(o, "inserted");
		const char *device = json_string_value(json_object_get(o, "device"));
		const char *node = json_string_value(json_object_get(in, "node-name"));

		if (json_is_true(json_object_get(in, "ro")))
			continue;
		hmp_printf(h, "Error: Device '%s' is writable but does not support snapshots: %s\n",
			   device && *device ? device : node ?: "", instead);
		break;
	}
	if (i == json_array_size(list))
		hmp_printf(h, "Error: No block device supports snapshots: %s\n", instead);
	json_decref(list);
}

void hmp_savevm(struct hmp *h, const struct hmp_savevm_args *a)
{
	no_snapshots(h);
}

void hmp_loadvm(struct hmp *h, const struct hmp_loadvm_args *a)
{
	no_snapshots(h);
}

void hmp_delvm(struct hmp *h, const struct hmp_delvm_args *a)
{
	no_snapshots(h);
}

void hmp_info_snapshots(struct hmp *h)
{
	hmp_printf(h, "no block device can store vmstate for snapshot\n");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that save the machine and load one: schema/migrate.json. The jobs are migr's
 * (migr/migr.h), which tells what happens as events. Control thread. State: none.
 */
#include "base/base.h"
#include "mon/cmd.h"
#include "migr/migr.h"

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

void hmp_migrate(struct hmp *h, const struct hmp_migrate_args *a)
{
	json_decref(hmp_qmp(h, "migrate", json_pack("{s:s}", "uri", a->uri)));
}

void hmp_migrate_incoming(struct hmp *h, const struct hmp_migrate_incoming_args *a)
{
	json_decref(hmp_qmp(h, "migrate-incoming",
			    json_pack("{s:s,s:b}", "uri", a->uri, "exit-on-error", false)));
}

void hmp_migrate_set_capability(struct hmp *h, const struct hmp_migrate_set_capability_args *a)
{
	json_decref(hmp_qmp(h, "migrate-set-capabilities",
			    json_pack("{s:[{s:s,s:b}]}", "capabilities", "capability",
				      a->capability, "state", a->state)));
}

void hmp_migrate_set_parameter(struct hmp *h, const struct hmp_migrate_set_parameter_args *a)
{
	json_decref(hmp_qmp(h, "migrate-set-parameters",
			    json_pack("{s:I}", a->parameter, (json_int_t)a->value)));
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

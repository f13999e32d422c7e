/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about what a guest costs: schema/perf.json. Control thread; they read counters that the
 * vCPUs go on writing.
 */
#include "base/base.h"
#include "core/accel.h"
#include "core/exits.h"
#include "core/stats.h"
#include "mon/cmd.h"
#include "mon/qom.h"

#define KVM_PROVIDER "kvm"

static_assert((int)STAT_LOG2_HIST == (int)QMP_STATS_TYPE_LOG2_HISTOGRAM, "the schema's order");
static_assert((int)STAT_BYTES == (int)QMP_STATS_UNIT_BYTES + 1, "the schema's order");
static_assert((int)STAT_BOOLEAN == (int)QMP_STATS_UNIT_BOOLEAN + 1, "the schema's order");

/* ---- exits ---- */

static void set_uint(json_t *o, const char *key, uint64_t val)
{
	json_object_set_new(o, key, json_integer((json_int_t)val));
}

static json_t *exit_json(const struct vm *vm, const struct exit_row *r, enum exits_by by,
			 double seconds)
{
	json_t *o = json_pack("{s:s}", "reason", exit_reason_name(r->reason));

	set_uint(o, "count", r->count);
	set_uint(o, "trip", r->trip);
	set_uint(o, "emulate", r->emulate / r->count);
	json_object_set_new(o, "rate", json_real((double)r->count / seconds));
	json_object_set_new(
		o, "load",
		json_real((double)r->cost / seconds / 1e3 / (double)MAX(vm->tsc_khz, 1u)));
	if (by == EXITS_BY_REASON)
		return o;
	if (r->name[0])
		json_object_set_new(o, "device", json_string(r->name));
	set_uint(o, "first", r->first);
	set_uint(o, "last", r->last);
	set_uint(o, "inherited", r->inherited);
	if (by == EXITS_BY_CODE)
		set_uint(o, "rip", r->rip);
	return o;
}

static json_t *exits_json(struct vm *vm, enum exits_by by, double seconds)
{
	size_t n;
	autofree struct exit_row *row = exits_collect(vm, by, &n);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, exit_json(vm, &row[i], by, seconds));
	return list;
}

json_t *qmp_x_exits(struct mon_cmd *c, struct err *e)
{
	uint64_t elapsed = MAX(exits_elapsed_ns(c->vm), 1u);
	double seconds = (double)elapsed / 1e9;
	json_t *o = json_object();

	set_uint(o, "elapsed", elapsed);
	set_uint(o, "tsc-khz", c->vm->tsc_khz);
	json_object_set_new(o, "reasons", exits_json(c->vm, EXITS_BY_REASON, seconds));
	json_object_set_new(o, "sources", exits_json(c->vm, EXITS_BY_SOURCE, seconds));
	json_object_set_new(o, "code", exits_json(c->vm, EXITS_BY_CODE, seconds));
	return o;
}

void hmp_info_exits(struct hmp *h)
{
	autofree char *text = exits_format(h->vm, exits_elapsed_ns(h->vm));

	hmp_printf(h, "%s", text);
}

/* ---- the translator ---- */

json_t *qmp_x_query_jit(struct mon_cmd *c, struct err *e)
{
	autofree char *text = NULL;
	size_t len = 0;
	FILE *out;

	if (!c->vm->accel->show_jit) {
		err_set(e, ENOTSUP,
			"JIT information is only available with accel=tcg: %s runs guest code as it is",
			c->vm->accel->name);
		return NULL;
	}
	out = open_memstream(&text, &len);
	if (!out) {
		err_set(e, ENOMEM, "no memory for what the translator says");
		return NULL;
	}
	c->vm->accel->show_jit(c->vm, out);
	fclose(out);
	return json_pack("{s:o}", "human-readable-text", mon_text(text));
}

void hmp_info_jit(struct hmp *h)
{
	json_t *r = hmp_qmp(h, "x-query-jit", NULL);

	if (r)
		hmp_printf(h, "%s", json_string_value(json_object_get(r, "human-readable-text")));
	json_decref(r);
}

/* ---- the engine's statistics ---- */

/* Of the request for our numbers: whether there is one, and which it names. */
static bool asked(const struct qmp_stats_filter *f, const struct qmp_stats_request **out)
{
	*out = NULL;
	if (!f->has_providers)
		return true;
	for (size_t i = 0; i < f->providers.n; i++)
		if (f->providers.v[i]->provider == QMP_STATS_PROVIDER_KVM)
			*out = f->providers.v[i];
	return *out;
}

static bool named(const struct qmp_stats_request *r, const char *name)
{
	if (!r || !r->has_names)
		return true;
	for (size_t i = 0; i < r->names.n; i++)
		if (!strcmp(r->names.v[i], name))
			return true;
	return false;
}

static json_t *value_json(const struct stat *s)
{
	json_t *list;

	if (s->type != STAT_LINEAR_HIST && s->type != STAT_LOG2_HIST && s->n == 1)
		return s->unit == STAT_BOOLEAN ? json_boolean(s->val[0])
					       : json_integer((json_int_t)s->val[0]);
	list = json_array();
	for (size_t i = 0; i < s->n; i++)
		json_array_append_new(list, json_integer((json_int_t)s->val[i]));
	return list;
}

/* Appends what one vCPU, or with v NULL the VM, has of what is asked for. */
static int add_result(json_t *to, struct vm *vm, struct vcpu *v, const char *path,
		      const struct qmp_stats_request *request, struct err *e)
{
	json_t *values, *o;
	struct stats all;
	int r = stats_read(vm, v, &all, e);

	if (r < 0) {
		stats_fini(&all);
		return r;
	}
	values = json_array();
	for (size_t i = 0; i < all.n; i++)
		if (named(request, all.s[i].name))
			json_array_append_new(values, json_pack("{s:s,s:o}", "name", all.s[i].name,
								"value", value_json(&all.s[i])));
	stats_fini(&all);
	if (!json_array_size(values)) {
		json_decref(values);
		return 0;
	}
	o = json_pack("{s:s,s:o}", "provider", KVM_PROVIDER, "stats", values);
	if (path)
		json_object_set_new(o, "qom-path", json_string(path));
	json_array_append_new(to, o);
	return 0;
}

static bool path_wanted(const struct qmp_stats_vcpu_filter *f, const char *path)
{
	if (!f || !f->has_vcpus)
		return true;
	for (size_t i = 0; i < f->vcpus.n; i++)
		if (!strcmp(f->vcpus.v[i], path))
			return true;
	return false;
}

json_t *qmp_query_stats(struct mon_cmd *c, const struct qmp_stats_filter *a, struct err *e)
{
	const struct qmp_stats_request *request;
	json_t *list = json_array();
	int r = 0;

	if (!asked(a, &request))
		return list;
	if (a->target == QMP_STATS_TARGET_VM)
		r = add_result(list, c->vm, NULL, NULL, request, e);
	for (unsigned i = 0; a->target == QMP_STATS_TARGET_VCPU && i < c->vm->nr_vcpus && !r; i++) {
		autofree char *path = qom_cpu_path(c->vm->vcpus[i]);

		if (path_wanted(a->u.vcpu, path))
			r = add_result(list, c->vm, c->vm->vcpus[i], path, request, e);
	}
	if (r < 0) {
		json_decref(list);
		return NULL;
	}
	return list;
}

static json_t *stat_schema(const struct stat *s)
{
	json_t *o = json_pack("{s:s,s:s,s:i}", "name", s->name, "type",
			      qmp_stats_type_names[s->type], "exponent", s->exponent);

	if (s->unit != STAT_NO_UNIT)
		json_object_set_new(o, "unit", json_string(qmp_stats_unit_names[s->unit - 1]));
	if (s->exponent)
		json_object_set_new(o, "base", json_integer(s->base));
	if (s->type == STAT_LINEAR_HIST)
		set_uint(o, "bucket-size", s->bucket_size);
	return o;
}

static int add_schema(json_t *to, struct vm *vm, struct vcpu *v, struct err *e)
{
	json_t *values = json_array();
	struct stats all;
	int r = stats_read(vm, v, &all, e);

	for (size_t i = 0; !r && i < all.n; i++)
		json_array_append_new(values, stat_schema(&all.s[i]));
	stats_fini(&all);
	if (json_array_size(values))
		json_array_append_new(to, json_pack("{s:s,s:s,s:O}", "provider", KVM_PROVIDER,
						    "target", v ? "vcpu" : "vm", "stats", values));
	json_decref(values);
	return r;
}

json_t *qmp_query_stats_schemas(struct mon_cmd *c, const struct qmp_query_stats_schemas_args *a,
				struct err *e)
{
	json_t *list = json_array();
	int r = add_schema(list, c->vm, NULL, e);

	if (!r && c->vm->nr_vcpus)
		r = add_schema(list, c->vm, c->vm->vcpus[0], e);
	if (r < 0) {
		json_decref(list);
		return NULL;
	}
	return list;
}

void hmp_print_stats(struct hmp *h)
{
	struct err e = { 0 };
	struct stats all;

	for (unsigned i = 0; i <= h->vm->nr_vcpus; i++) {
		struct vcpu *v = i ? h->vm->vcpus[i - 1] : NULL;

		if (stats_read(h->vm, v, &all, &e) < 0)
			hmp_error(h, &e);
		for (size_t k = 0; k < all.n; k++) {
			const struct stat *s = &all.s[k];

			if (s->n != 1 || !s->val[0])
				continue;
			if (v)
				hmp_printf(h, "cpu %u ", v->index);
			hmp_printf(h, "%s: %" PRIu64 "\n", s->name, s->val[0]);
		}
		stats_fini(&all);
	}
}

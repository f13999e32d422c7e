/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the machine is: boards, CPUs and their models, memory, options. Source: QEMU's QAPI
 * documentation of machine and machine-target. Control thread; no state.
 */
#include "base/base.h"
#include "core/arch.h"
#include "core/backend.h"
#include "core/object.h"
#include "core/vm.h"
#include "mon/cmd.h"
#include "mon/options.h"
#include "mon/qom.h"
#include <stdio.h>

/* ---- boards ---- */

json_t *qmp_query_machines(struct mon_cmd *c, struct err *e)
{
	json_t *list = json_array();
	const struct arch_machine *m;

	for (unsigned i = 0; (m = arch_machine_info(i)); i++) {
		json_t *o = json_pack("{s:s, s:I, s:b, s:b, s:b, s:b}", "name", m->name, "cpu-max",
				      (json_int_t)m->cpu_max, "hotpluggable-cpus", 0,
				      "numa-mem-supported", 0, "deprecated", 0, "acpi", m->acpi);

		if (m->alias)
			json_object_set_new(o, "alias", json_string(m->alias));
		if (m->is_default)
			json_object_set_new(o, "is-default", json_true());
		if (m->ram_id)
			json_object_set_new(o, "default-ram-id", json_string(m->ram_id));
		json_array_append_new(list, o);
	}
	return list;
}

/* Boards say in their ACPI tables that there is no S3; a guest cannot ask for it. */
json_t *qmp_query_current_machine(struct mon_cmd *c, struct err *e)
{
	return json_pack("{s:b}", "wakeup-suspend-support", 0);
}

/* ---- CPUs ---- */

static json_t *cpu_place(const struct vm_conf *c, unsigned index)
{
	unsigned threads = MAX(c->threads, 1u), cores = MAX(c->cores, 1u), dies = MAX(c->dies, 1u);
	json_t *o = json_pack("{s:I, s:I, s:I}", "socket-id",
			      (json_int_t)(index / threads / cores / dies), "core-id",
			      (json_int_t)(index / threads % cores), "thread-id",
			      (json_int_t)(index % threads));

	if (dies > 1)
		json_object_set_new(o, "die-id",
				    json_integer((json_int_t)(index / threads / cores % dies)));
	return o;
}

json_t *qmp_query_cpus_fast(struct mon_cmd *c, struct err *e)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < c->vm->nr_vcpus; i++) {
		struct vcpu *v = c->vm->vcpus[i];
		autofree char *path = qom_cpu_path(v);

		json_array_append_new(
			list, json_pack("{s:I, s:s, s:I, s:o, s:s}", "cpu-index", (json_int_t)i,
					"qom-path", path, "thread-id", (json_int_t)vcpu_tid(v),
					"props", cpu_place(c->vm->conf, i), "target", "x86_64"));
	}
	return list;
}

json_t *qmp_query_hotpluggable_cpus(struct mon_cmd *c, struct err *e)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < c->vm->nr_vcpus; i++) {
		const struct qom o = { .kind = QOM_CPU, .cpu = c->vm->vcpus[i] };
		autofree char *path = qom_cpu_path(o.cpu), *type = qom_type_of(c->vm, &o);

		json_array_append_new(list, json_pack("{s:s, s:i, s:o, s:s}", "type", type,
						      "vcpus-count", 1, "props",
						      cpu_place(c->vm->conf, i), "qom-path", path));
	}
	return list;
}

static void add_name(void *arg, const char *feature)
{
	json_array_append_new(arg, json_string(feature));
}

json_t *qmp_query_cpu_definitions(struct mon_cmd *c, struct err *e)
{
	json_t *list = json_array();
	const char *name;

	for (unsigned i = 0; (name = arch_cpu_model(i, NULL)); i++) {
		autofree char *type = xasprintf("%s-%s", name, arch_cpu_type_suffix);
		json_t *missing = json_array();

		arch_cpu_missing(c->vm, i, add_name, missing);
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:b, s:b, s:b, s:o}", "name", name,
						"typename", type, "static", !strcmp(name, "base"),
						"migration-safe", arch_cpu_model_fixed(i),
						"deprecated", 0, "unavailable-features", missing));
	}
	return list;
}

/* The words of -cpu for a CpuModelInfo. The caller frees; NULL with e set. */
static char *model_text(const struct qmp_cpu_model_info *m, struct err *e)
{
	char *text = xstrdup(m->name);
	const char *key;
	json_t *val;

	if (strchr(m->name, ',') || (m->props && !json_is_object(m->props))) {
		err_set(e, EINVAL, "model: a name, and an object as props");
		free(text);
		return NULL;
	}
	json_object_foreach(m->props, key, val)
	{
		autofree char *num = json_is_integer(val)
					     ? xasprintf("%lld", (long long)json_integer_value(val))
					     : NULL;
		const char *word = json_is_true(val)	 ? "on"
				   : json_is_false(val)	 ? "off"
				   : json_is_string(val) ? json_string_value(val)
							 : num;
		char *more;

		if (!word || strpbrk(key, ",=") || strchr(word, ',')) {
			err_set(e, EINVAL,
				"CPU property '%s': a boolean, a number or a word is needed", key);
			free(text);
			return NULL;
		}
		more = xasprintf("%s,%s=%s", text, key, word);
		free(text);
		text = more;
	}
	return text;
}

static void add_feature(void *arg, const char *feature, bool on)
{
	json_object_set_new(arg, feature, json_boolean(on));
}

json_t *qmp_query_cpu_model_expansion(struct mon_cmd *c,
				      const struct qmp_query_cpu_model_expansion_args *a,
				      struct err *e)
{
	autofree char *text = model_text(a->model, e);
	json_t *props = json_object();
	const char *name = a->type == QMP_CPU_MODEL_EXPANSION_TYPE_STATIC ? "base" : a->model->name;

	if (!text || arch_cpu_features(c->vm, text, add_feature, props, e) < 0) {
		json_decref(props);
		return NULL;
	}
	return json_pack("{s:{s:s, s:o}}", "model", "name", name, "props", props);
}

/* ---- memory ---- */

json_t *qmp_query_memory_size_summary(struct mon_cmd *c, struct err *e)
{
	return json_pack("{s:I, s:i}", "base-memory", (json_int_t)c->vm->conf->mem_size,
			 "plugged-memory", 0);
}

/* The member of MemDev that is the object's property of that name. */
static void copy_prop(json_t *o, const struct obj *obj, const char *name)
{
	for (const struct prop *p = obj->type->props; p->kind != PROP_END; p++)
		if (!strcmp(p->name, name))
			json_object_set_new(o, name, qom_prop_value(p, obj));
}

/* What -m, -mem-path and -mem-prealloc made, as the back end that it would be. */
static json_t *own_ram(const struct vm *vm)
{
	const struct vm_conf *conf = vm->conf;

	return json_pack("{s:s, s:I, s:b, s:b, s:b, s:b, s:b, s:[], s:s}", "id",
			 arch_machine_of(vm)->ram_id, "size", (json_int_t)conf->mem_size, "merge",
			 conf->mem_merge, "dump", conf->mem_dump, "prealloc", conf->mem_prealloc,
			 "share", 0, "reserve", 1, "host-nodes", "policy", "default");
}

json_t *qmp_query_memdev(struct mon_cmd *c, struct err *e)
{
	static const char *const members[] = { "size",	"merge",   "dump",  "prealloc",
					       "share", "reserve", "policy" };
	json_t *list = json_array();

	for (struct backend *b = c->vm->backends; b; b = b->next) {
		const struct obj *obj = b->end;
		json_t *o;

		if (b->kind != BACKEND_OBJECT || strncmp(obj->type->name, "memory-backend-", 15))
			continue;
		o = json_pack("{s:s, s:o}", "id", obj->id, "host-nodes", json_array());
		for (size_t i = 0; i < ARRAY_SIZE(members); i++)
			copy_prop(o, obj, members[i]);
		json_array_append_new(list, o);
	}
	if (!c->vm->bare && !c->vm->conf->mem_backend)
		json_array_append_new(list, own_ram(c->vm));
	return list;
}

/* ---- threads ---- */

json_t *qmp_query_iothreads(struct mon_cmd *c, struct err *e)
{
	json_t *list = json_array();

	for (const struct backend *b = c->vm->backends; b; b = b->next) {
		const struct obj *o = b->end;
		const struct obj_iothread *t;

		if (b->kind != BACKEND_OBJECT || o->type != &obj_iothread)
			continue;
		t = container_of(o, const struct obj_iothread, o);
		json_array_append_new(list,
				      json_pack("{s:s,s:I,s:I,s:I,s:I,s:I}", "id", o->id,
						"thread-id", (json_int_t)t->tid, "poll-max-ns",
						(json_int_t)t->poll_max_ns, "poll-grow",
						(json_int_t)t->poll_grow, "poll-shrink",
						(json_int_t)t->poll_shrink, "aio-max-batch",
						(json_int_t)t->aio_max_batch));
	}
	return list;
}

/* ---- options ---- */

static json_t *group_params(const struct opt_group *g)
{
	static const char *const types[] = {
		[OPT_STRING] = "string",
		[OPT_BOOL] = "boolean",
		[OPT_NUMBER] = "number",
		[OPT_SIZE] = "size",
	};
	json_t *list = json_array();

	for (const struct opt_param *p = g->params; p && p->name; p++) {
		json_t *o = json_pack("{s:s, s:s}", "name", p->name, "type", types[p->type]);

		if (p->help)
			json_object_set_new(o, "help", json_string(p->help));
		json_array_append_new(list, o);
	}
	return list;
}

json_t *qmp_query_command_line_options(struct mon_cmd *c,
				       const struct qmp_query_command_line_options_args *a,
				       struct err *e)
{
	json_t *list = json_array();

	for (const struct opt_group *g = opt_groups; g->name; g++)
		if (!a->option || !strcmp(a->option, g->name))
			json_array_append_new(list, json_pack("{s:s, s:o}", "option", g->name,
							      "parameters", group_params(g)));
	if (!a->option || json_array_size(list))
		return list;
	json_decref(list);
	err_set(e, ENOENT, "invalid option name: %s", a->option);
	return NULL;
}

/* ---- TPMs: none yet, and libvirt asks ---- */

json_t *qmp_query_tpm_models(struct mon_cmd *c, struct err *e)
{
	return json_array();
}

json_t *qmp_query_tpm_types(struct mon_cmd *c, struct err *e)
{
	return json_array();
}

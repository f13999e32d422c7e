/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that write guest memory to files: schema/dump.json. The jobs are migr's (migr/dump.h).
 * Control thread. State: none.
 */
#include "base/base.h"
#include "base/log.h"
#include "core/vm.h"
#include "migr/dump.h"
#include "mon/cmd.h"

/* A command whose job is under way. */
struct dump_cmd {
	struct mon *mon;
	struct vm *vm;
	struct mon_later *later; /* NULL: nobody waits */
	bool person;
};

static json_t *dump_result(const struct vm *vm)
{
	static const char *const names[] = { [DUMP_NONE] = "none",
					     [DUMP_ACTIVE] = "active",
					     [DUMP_COMPLETED] = "completed",
					     [DUMP_FAILED] = "failed" };
	struct dump_info i = dump_get_info(vm);

	return json_pack("{s:s,s:I,s:I}", "status", names[i.status], "completed",
			 (json_int_t)i.completed, "total", (json_int_t)i.total);
}

static void written(void *arg, const struct err *e)
{
	struct dump_cmd *d = arg;
	json_t *data = json_pack("{s:o}", "result", dump_result(d->vm));

	if (e->code)
		json_object_set_new(data, "error", mon_text(e->msg));
	mon_event(d->mon, "DUMP_COMPLETED", data);
}

static void ended(void *arg, const struct err *e)
{
	struct dump_cmd *d = arg;

	/* A person's prompt is back long since. */
	if (e->code && (d->person || !d->later))
		log_error("guest memory was not written: %s", e->msg);
	if (d->later)
		mon_finish(d->later, NULL, e);
	free(d);
}

static int start(struct mon_cmd *c, struct dump_request *r, bool wait, struct err *e)
{
	struct mon_migr_fds n = mon_migr_fds(c->mon);
	struct dump_cmd *d = xnew(struct dump_cmd);
	int ret;

	*d = (struct dump_cmd){ .mon = c->mon, .vm = c->vm, .person = !c->session };
	r->written = written;
	r->done = ended;
	r->arg = d;
	ret = dump_start(c->vm, r, &n.fds, e);
	if (ret < 0)
		free(d);
	else if (wait)
		d->later = mon_defer(c);
	return ret;
}

/* ---- QMP ---- */

int qmp_dump_guest_memory(struct mon_cmd *c, const struct qmp_dump_guest_memory_args *a,
			  struct err *e)
{
	static const enum dump_format formats[] = {
		[QMP_DUMP_GUEST_MEMORY_FORMAT_ELF] = DUMP_ELF,
		[QMP_DUMP_GUEST_MEMORY_FORMAT_KDUMP_ZLIB] = DUMP_KDUMP,
		[QMP_DUMP_GUEST_MEMORY_FORMAT_KDUMP_RAW_ZLIB] = DUMP_KDUMP_RAW,
	};
	struct dump_request r = { .what = DUMP_CORE,
				  .uri = a->protocol,
				  .paging = a->paging,
				  .format = a->has_format ? formats[a->format] : DUMP_ELF };

	if (r.format != DUMP_ELF && (a->paging || a->has_begin || a->has_length))
		return err_set(e, EINVAL,
			       "kdump-compressed format doesn't support paging or filter: leave out"
			       " begin and length, or choose format elf");
	if (a->has_begin != a->has_length)
		return err_set(e, EINVAL, "Parameter '%s' is missing",
			       a->has_begin ? "length" : "begin");
	if (a->has_begin && (a->begin < 0 || a->length <= 0 || a->begin > INT64_MAX - a->length))
		return err_set(e, EINVAL, "begin and length are no piece of memory");
	if (strncmp(a->protocol, "file:", 5) != 0 && strncmp(a->protocol, "fd:", 3) != 0)
		return err_set(e, EINVAL, "parameter 'protocol' must start with 'file:' or 'fd:'");
	if (a->has_begin) {
		r.addr = (uint64_t)a->begin;
		r.len = (uint64_t)a->length;
	}
	return start(c, &r, !a->has_detach || !a->detach, e);
}

json_t *qmp_query_dump(struct mon_cmd *c, struct err *e)
{
	return dump_result(c->vm);
}

json_t *qmp_query_dump_guest_memory_capability(struct mon_cmd *c, struct err *e)
{
	json_t *names = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(qmp_dump_guest_memory_format_names); i++)
		json_array_append_new(names, json_string(qmp_dump_guest_memory_format_names[i]));
	return json_pack("{s:o}", "formats", names);
}

static int save_range(struct mon_cmd *c, struct dump_request *r, int64_t size, const char *file,
		      struct err *e)
{
	autofree char *uri = xasprintf("file:%s", file);

	if (size < 0 || (size && r->addr > UINT64_MAX - ((uint64_t)size - 1)))
		return err_set(e, EINVAL, "val and size are no piece of memory");
	r->len = (uint64_t)size;
	r->uri = uri;
	return start(c, r, true, e);
}

int qmp_memsave(struct mon_cmd *c, const struct qmp_memsave_args *a, struct err *e)
{
	struct dump_request r = { .what = DUMP_VIRTUAL, .addr = (uint64_t)a->val };
	int64_t cpu = a->has_cpu_index ? a->cpu_index : 0;

	if (cpu < 0 || cpu >= (int64_t)c->vm->nr_vcpus)
		return err_set(e, EINVAL, "Parameter 'cpu-index' expects a CPU number");
	if (arch_space_of(c->vm->vcpus[cpu], &r.space, e) < 0)
		return -EIO;
	return save_range(c, &r, a->size, a->filename, e);
}

int qmp_pmemsave(struct mon_cmd *c, const struct qmp_pmemsave_args *a, struct err *e)
{
	struct dump_request r = { .what = DUMP_PHYSICAL, .addr = (uint64_t)a->val };

	return save_range(c, &r, a->size, a->filename, e);
}

/* ---- HMP ---- */

void hmp_dump_guest_memory(struct hmp *h, const struct hmp_dump_guest_memory_args *a)
{
	autofree char *uri = xasprintf("file:%s", a->filename);
	const char *format = !a->z ? NULL : a->r ? "kdump-raw-zlib" : "kdump-zlib";
	json_t *args = json_pack("{s:b,s:s,s:b,s:s*}", "paging", a->p, "protocol", uri, "detach",
				 a->d, "format", format);

	if (a->has_begin)
		json_object_set_new(args, "begin", json_integer((json_int_t)a->begin));
	if (a->has_length)
		json_object_set_new(args, "length", json_integer((json_int_t)a->length));
	json_decref(hmp_qmp(h, "dump-guest-memory", args));
}

void hmp_info_dump(struct hmp *h)
{
	struct dump_info i = dump_get_info(h->vm);

	if (i.status == DUMP_NONE) {
		hmp_printf(h, "Status: none\n");
		return;
	}
	hmp_printf(h, "Status: %s\n",
		   i.status == DUMP_ACTIVE	? "active"
		   : i.status == DUMP_COMPLETED ? "completed"
						: "failed");
	hmp_printf(h, "Finished: %.2f %%\n",
		   i.total ? 100 * (double)i.completed / (double)i.total : 0.0);
}

void hmp_memsave(struct hmp *h, const struct hmp_memsave_args *a)
{
	json_decref(hmp_qmp(h, "memsave",
			    json_pack("{s:I,s:I,s:s,s:i}", "val", (json_int_t)a->addr, "size",
				      (json_int_t)a->size, "filename", a->filename, "cpu-index",
				      (int)h->cpu)));
}

void hmp_pmemsave(struct hmp *h, const struct hmp_pmemsave_args *a)
{
	json_decref(hmp_qmp(h, "pmemsave",
			    json_pack("{s:I,s:I,s:s}", "val", (json_int_t)a->addr, "size",
				      (json_int_t)a->size, "filename", a->filename)));
}

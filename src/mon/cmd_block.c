/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks: which device has which node, what the nodes are and what they have done. Source: QEMU's
 * QAPI documentation of block-core. Control thread; no state.
 */
#include "base/base.h"
#include "block/block.h"
#include "core/backend.h"
#include "core/dev.h"
#include "core/vm.h"
#include "mon/cmd.h"
#include "mon/qom.h"
#include "virtio/virtio.h"

/* Names of -drive that its user did not give begin so, as in QEMU. */
static bool is_named_node(struct vm *vm, const struct backend *b)
{
	const struct conf_node *n = conf_find(vm->conf, CONF_DRIVE, b->id);

	return !n || n->type; /* -blockdev, and what the monitor added */
}

static struct dev *user_of(struct vm *vm, const struct backend *b)
{
	for (struct dev *d = vm->devs; d && b->user; d = d->next)
		if (!strcmp(d->path, b->user))
			return d;
	return NULL;
}

/* As QEMU says it: a virtio disk is what stands behind the transport. The caller frees. */
static char *qdev_of(struct vm *vm, struct dev *d)
{
	autofree char *path = qom_dev_path(vm, d);

	return virtio_of(d) && d->type->bus == DEV_BUS_PCI ? xasprintf("%s/virtio-backend", path)
							   : xstrdup(path);
}

static json_t *image_info(const struct blk_node *n, const struct blk_desc *d)
{
	json_t *o = json_pack("{s:s, s:s, s:I, s:b}", "filename", d->filename, "format", d->driver,
			      "virtual-size", (json_int_t)blk_info(n)->size, "dirty-flag", 0);

	json_object_set_new(o, "actual-size", json_integer((json_int_t)blk_allocated(n)));
	return o;
}

static json_t *node_info(struct vm *vm, const struct backend *b)
{
	const struct blk_node *n = b->end;
	struct blk_desc d;
	json_t *o;

	blk_describe(n, &d);
	o = json_pack("{s:s, s:b, s:s, s:i, s:b, s:b, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o}",
		      "file", d.filename, "ro", blk_info(n)->read_only, "drv", d.driver,
		      "backing_file_depth", 0, "active", 1, "encrypted", 0, "detect_zeroes",
		      d.detect_zeroes, "bps", 0, "bps_rd", 0, "bps_wr", 0, "iops", 0, "iops_rd", 0,
		      "iops_wr", 0, "write_threshold", 0, "image", image_info(n, &d));
	json_object_set_new(o, "cache",
			    json_pack("{s:b, s:b, s:b}", "writeback", blk_info(n)->write_cache,
				      "direct", d.direct, "no-flush", d.no_flush));
	if (is_named_node(vm, b))
		json_object_set_new(o, "node-name", json_string(b->id));
	return o;
}

/* Back ends are kept newest first; people and QEMU count from the oldest. */
static size_t list_nodes(struct vm *vm, struct backend ***out)
{
	struct backend **all;
	size_t n = 0, i;

	for (struct backend *b = vm->backends; b; b = b->next)
		n += b->kind == BACKEND_BLOCK;
	all = xnew_n(struct backend *, n + 1);
	i = n;
	for (struct backend *b = vm->backends; b; b = b->next)
		if (b->kind == BACKEND_BLOCK)
			all[--i] = b;
	*out = all;
	return n;
}

json_t *qmp_query_block(struct mon_cmd *c, const struct qmp_query_block_args *a, struct err *e)
{
	autofree struct backend **all = NULL;
	size_t n = list_nodes(c->vm, &all);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		bool named = is_named_node(c->vm, all[i]);
		struct dev *d = user_of(c->vm, all[i]);
		json_t *o;

		if (named && !d)
			continue;
		o = json_pack("{s:s, s:s, s:b, s:b, s:o}", "device", named ? "" : all[i]->id,
			      "type", "unknown", "removable", 0, "locked", 0, "inserted",
			      node_info(c->vm, all[i]));
		if (d) {
			autofree char *qdev = qdev_of(c->vm, d);

			json_object_set_new(o, "qdev", json_string(qdev));
			json_object_set_new(o, "io-status", json_string("ok"));
		}
		json_array_append_new(list, o);
	}
	return list;
}

json_t *qmp_query_named_block_nodes(struct mon_cmd *c,
				    const struct qmp_query_named_block_nodes_args *a, struct err *e)
{
	autofree struct backend **all = NULL;
	size_t n = list_nodes(c->vm, &all);
	json_t *list = json_array();

	for (size_t i = n; i-- > 0;) /* what stands on others first */
		if (is_named_node(c->vm, all[i]))
			json_array_append_new(list, node_info(c->vm, all[i]));
	return list;
}

/* ---- statistics ---- */

static void put_op(json_t *o, const char *op, const struct blk_op_stats *s, bool bytes)
{
	const struct {
		const char *form;
		uint64_t val;
	} all[] = {
		{ "%s_operations", s->done },
		{ "%s_total_time_ns", s->ns },
		{ "failed_%s_operations", s->failed },
		{ "invalid_%s_operations", s->invalid },
		{ "%s_bytes", s->bytes },
		{ "%s_merged", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all) - (bytes ? 0 : 2); i++) {
		size_t head = strcspn(all[i].form, "%");
		autofree char *key =
			xasprintf("%.*s%s%s", (int)head, all[i].form, op, all[i].form + head + 2);

		json_object_set_new(o, key, json_integer((json_int_t)all[i].val));
	}
}

static struct blk_op_stats sum(const struct blk_op_stats *a, const struct blk_op_stats *b)
{
	return (struct blk_op_stats){ a->done + b->done, a->bytes + b->bytes, a->failed + b->failed,
				      a->invalid + b->invalid, a->ns + b->ns };
}

static json_t *stats_info(const struct blk_node *n)
{
	static const struct blk_op_stats none;
	struct blk_stats s;
	struct blk_op_stats wr;
	json_t *o = json_pack("{s:b, s:b, s:[]}", "account_invalid", 1, "account_failed", 1,
			      "timed_stats");

	blk_get_stats(n, &s);
	wr = sum(&s.op[BLK_WRITE], &s.op[BLK_ZERO]); /* as QEMU counts zeroing */
	put_op(o, "rd", &s.op[BLK_READ], true);
	put_op(o, "wr", &wr, true);
	put_op(o, "flush", &s.op[BLK_FLUSH], false);
	put_op(o, "unmap", &s.op[BLK_DISCARD], true);
	put_op(o, "zone_append", &none, true);
	json_object_set_new(o, "wr_highest_offset", json_integer((json_int_t)s.wr_highest));
	if (s.idle_ns)
		json_object_set_new(o, "idle_time_ns", json_integer((json_int_t)s.idle_ns));
	return o;
}

static struct backend *child_of(struct vm *vm, const struct backend *b)
{
	for (struct backend *p = vm->backends; p && b->uses; p = p->next)
		if (p->kind == BACKEND_BLOCK && !strcmp(p->id, b->uses))
			return p;
	return NULL;
}

/* Nodes stand on each other in a chain; each was made after the one below. */
static json_t *node_stats(struct vm *vm, const struct backend *b)
{
	struct backend *below = child_of(vm, b);
	const struct blk_node *n = b->end;
	json_t *o = json_pack("{s:o}", "stats", stats_info(n));

	if (is_named_node(vm, b))
		json_object_set_new(o, "node-name", json_string(b->id));
	if (below)
		json_object_set_new(o, "parent", node_stats(vm, below));
	else if (blk_child(n))
		json_object_set_new(o, "parent",
				    json_pack("{s:o}", "stats", stats_info(blk_child(n))));
	return o;
}

json_t *qmp_query_blockstats(struct mon_cmd *c, const struct qmp_query_blockstats_args *a,
			     struct err *e)
{
	bool nodes = a->has_query_nodes && a->query_nodes;
	autofree struct backend **all = NULL;
	size_t n = list_nodes(c->vm, &all);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		bool named = is_named_node(c->vm, all[i]);
		struct dev *d = user_of(c->vm, all[i]);
		json_t *o;

		if (nodes ? !named : named && !d)
			continue;
		o = node_stats(c->vm, all[i]);
		if (!nodes)
			json_object_set_new(o, "device", json_string(named ? "" : all[i]->id));
		if (!nodes && d) {
			autofree char *qdev = qdev_of(c->vm, d);

			json_object_set_new(o, "qdev", json_string(qdev));
		}
		json_array_append_new(list, o);
	}
	return list;
}

/* ---- jobs: no command starts one yet ---- */

json_t *qmp_query_jobs(struct mon_cmd *c, struct err *e)
{
	return json_array();
}

json_t *qmp_query_block_jobs(struct mon_cmd *c, struct err *e)
{
	return json_array();
}

/* ---- for people ---- */

static const char *str_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key)) ?: "";
}

/* "1.5 GiB": three digits, as qemu-img has it. */
static void say_size(struct hmp *h, long long bytes)
{
	static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
	double n = (double)bytes;
	unsigned i = 0;

	for (; n >= 1000 && i + 1 < ARRAY_SIZE(units); i++)
		n /= 1024;
	hmp_printf(h, "%.3g %sB", n, units[i]);
}

static void say_image(struct hmp *h, const json_t *image)
{
	long long size = json_integer_value(json_object_get(image, "virtual-size"));

	hmp_printf(h, "\nImages:\nimage: %s\nfile format: %s\nvirtual size: ",
		   str_of(image, "filename"), str_of(image, "format"));
	say_size(h, size);
	hmp_printf(h, " (%lld bytes)\ndisk size: ", size);
	say_size(h, json_integer_value(json_object_get(image, "actual-size")));
	hmp_printf(h, "\n");
}

/* One line of what it is, then what is known of it; in: BlockDeviceInfo. */
static void say_node(struct hmp *h, const char *name, const json_t *in, const char *qdev,
		     bool verbose)
{
	const json_t *cache = json_object_get(in, "cache");

	hmp_printf(h, "%s: %s (%s%s)\n", name, str_of(in, "file"), str_of(in, "drv"),
		   json_is_true(json_object_get(in, "ro")) ? ", read-only" : "");
	if (*qdev)
		hmp_printf(h, "    Attached to:      %s\n", qdev);
	hmp_printf(h, "    Cache mode:       %s%s%s\n",
		   json_is_true(json_object_get(cache, "writeback")) ? "writeback" : "writethrough",
		   json_is_true(json_object_get(cache, "direct")) ? ", direct" : "",
		   json_is_true(json_object_get(cache, "no-flush")) ? ", ignore flushes" : "");
	if (verbose)
		say_image(h, json_object_get(in, "image"));
}

void hmp_info_block(struct hmp *h, const struct hmp_info_block_args *a)
{
	json_t *list = hmp_qmp(h, a->n ? "query-named-block-nodes" : "query-block", NULL), *o;
	bool any = false;
	size_t i;

	json_array_foreach(list, i, o)
	{
		const json_t *in = a->n ? o : json_object_get(o, "inserted");
		const char *node = str_of(in, "node-name");
		const char *name = !a->n && *str_of(o, "device") ? str_of(o, "device") : node;

		if (a->device && strcmp(a->device, name) != 0 && strcmp(a->device, node) != 0)
			continue;
		if (any)
			hmp_printf(h, "\n");
		any = true;
		say_node(h, name, in, a->n ? "" : str_of(o, "qdev"), a->v);
	}
	if (a->device && !any)
		hmp_printf(h, "Error: Device '%s' not found\n", a->device);
	json_decref(list);
}

void hmp_info_blockstats(struct hmp *h)
{
	static const char *const keys[] = { "rd_bytes",		  "wr_bytes",
					    "rd_operations",	  "wr_operations",
					    "flush_operations",	  "unmap_operations",
					    "rd_total_time_ns",	  "wr_total_time_ns",
					    "flush_total_time_ns" };
	json_t *list = hmp_qmp(h, "query-blockstats", NULL), *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		json_t *s = json_object_get(o, "stats");

		hmp_printf(h, "%s:",
			   *str_of(o, "device") ? str_of(o, "device") : str_of(o, "node-name"));
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
			hmp_printf(h, " %s=%lld", keys[k],
				   (long long)json_integer_value(json_object_get(s, keys[k])));
		hmp_printf(h, "\n");
	}
	json_decref(list);
}

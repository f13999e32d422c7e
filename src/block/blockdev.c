/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nodes of -blockdev, as far as they are here: the protocols file and host_device (open.c),
 * and the format raw, which is a window of the node it stands on. Source: QEMU's block-core QAPI
 * documentation (BlockdevOptions). Loop's thread; requests are passed down in node.c.
 */
#include "block/block_int.h"

#include <ctype.h>

static const char *const common_keys[] = {
	"read-only",	"auto-read-only", "force-share", "discard", "detect-zeroes",
	"cache.direct", "cache.no-flush", "filename",	 "locking", "aio",
	"file",		"offset",	  "size",	 NULL,
};

static int read_dev_options(struct conf_node *c, struct blk_options *o, struct err *e)
{
	bool force_share = false;
	int ret;

	o->writeback = true;
	if (conf_get(c, "cache") || conf_get(c, "cache.writeback"))
		return err_set(e, EINVAL,
			       "cache and cache.writeback belong to -drive: say cache.direct and "
			       "cache.no-flush here, and write-cache on the device");
	ret = blk_read_common(c, o, e);
	if (!ret)
		ret = conf_get_bool(c, "auto-read-only", &o->auto_read_only, e);
	if (!ret)
		ret = conf_get_bool(c, "force-share", &force_share, e);
	if (ret < 0)
		return ret;
	if (force_share && !o->read_only)
		return err_set(e, EINVAL, "force-share=on needs read-only=on");
	o->lock &= !force_share;
	return 0;
}

static int open_file(struct blk_node *n, struct conf_node *c, struct err *e)
{
	struct blk_options o = { 0 };
	int ret = read_dev_options(c, &o, e);

	if (ret < 0)
		return ret;
	o.file = conf_get(c, "filename");
	if (!o.file || !*o.file)
		return err_set(e, EINVAL, "filename= is missing: which image?");
	ret = conf_check_unused(c, common_keys, e);
	if (!ret)
		ret = blk_file_open(n, &o, e);
	if (ret < 0)
		return ret;
	if (!strcmp(c->type, "host_device") && !n->is_dev)
		return err_set(e, EINVAL, "'%s' is no block device: say driver=file", n->path);
	n->driver = n->is_dev ? "host_device" : "file";
	return 0;
}

/* ---- raw ---- */

/* What an inline child takes from the node around it when it does not say itself. */
static void inherit(struct conf_node *child, struct conf_node *c)
{
	static const char *const keys[] = { "read-only", "force-share", "cache.direct",
					    "cache.no-flush" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *val = conf_get(c, keys[i]);

		if (val && !conf_get(child, keys[i]))
			conf_set(child, keys[i], val);
	}
	if (!conf_get(child, "discard"))
		conf_set(child, "discard", "unmap"); /* the window decides */
}

static int find_child(struct blk_node *n, struct conf_node *c, struct blk_graph *graph,
		      struct err *e)
{
	const char *name = conf_get(c, "file");
	struct conf_node *inline_child = conf_child(c, "file");

	if (!name == !inline_child) {
		conf_node_free(inline_child);
		return err_set(e, EINVAL,
			       "raw stands on one other node: say file=NODE-NAME, or "
			       "file.driver=file,file.filename=PATH");
	}
	if (inline_child) {
		inherit(inline_child, c);
		n->child = blk_open_dev(n->loop, inline_child, graph, e);
		n->owns_child = true;
		conf_node_free(inline_child);
		return n->child ? 0 : err_prefix(e, "file: ");
	}
	n->child = graph->take(graph, name, e);
	return n->child ? 0 : -(e->code ?: EINVAL);
}

/* The child is not written by a window that is read-only, and has to be writable by another. */
static int settle_writing(struct blk_node *n, const struct blk_options *o, struct err *e)
{
	struct blk_node *child = n->child;

	if (!o->read_only && child->info.read_only && !o->auto_read_only)
		return err_set(e, EROFS, "read-only=off is not possible: %s",
			       child->read_only_why ?: "the node below is read-only");
	if (o->read_only && !child->info.read_only && child->auto_read_only && !child->child)
		return blk_file_make_read_only(child, e);
	return 0;
}

static int set_window(struct blk_node *n, struct conf_node *c, struct err *e)
{
	uint64_t all = n->child->info.size, size = UINT64_MAX, mask = n->child->info.sector - 1;

	if (conf_get_size(c, "offset", &n->offset, e) < 0 || conf_get_size(c, "size", &size, e) < 0)
		return -EINVAL;
	if (n->offset > all)
		return err_set(e, EINVAL, "offset=%" PRIu64 " is behind the end of %" PRIu64,
			       n->offset, all);
	if (size == UINT64_MAX)
		size = all - n->offset;
	if (size > all - n->offset || !size)
		return err_set(e, EINVAL,
			       "offset=%" PRIu64 ", size=%" PRIu64 " is not within the %" PRIu64
			       " bytes below",
			       n->offset, size, all);
	if ((n->offset | size) & mask)
		return err_set(e, EINVAL, "offset and size have to be multiples of %u",
			       n->child->info.sector);
	n->info = n->child->info;
	n->info.size = size;
	return 0;
}

static int open_raw(struct blk_node *n, struct conf_node *c, struct blk_graph *graph, struct err *e)
{
	struct blk_options o = { 0 };
	int ret = read_dev_options(c, &o, e);

	if (!ret)
		ret = find_child(n, c, graph, e);
	if (!ret)
		ret = set_window(n, c, e);
	if (!ret)
		ret = conf_check_unused(c, common_keys, e);
	if (!ret)
		ret = settle_writing(n, &o, e);
	if (ret < 0)
		return ret;
	n->driver = "raw";
	n->detect = o.detect;
	n->info.read_only |= o.read_only;
	n->info.can_zero &= !n->info.read_only;
	n->info.can_discard &= o.discard && !n->info.read_only;
	return 0;
}

static int unknown_driver(const char *driver, struct err *e)
{
	static const char *const known[] = { "file", "host_device", "raw", NULL };
	static const char *const later[] = { "qcow2",  "qcow",	  "qed",	  "vmdk",
					     "vdi",    "vpc",	  "vhdx",	  "luks",
					     "nbd",    "null-co", "null-aio",	  "http",
					     "https",  "ssh",	  "rbd",	  "iscsi",
					     "nfs",    "nvme",	  "copy-on-read", "throttle",
					     "quorum", "blkdebug" };
	const char *near;

	for (size_t i = 0; i < ARRAY_SIZE(later); i++)
		if (!strcmp(driver, later[i]))
			return err_set(e, ENOTSUP,
				       "driver '%s' is not here yet: there are file, host_device "
				       "and raw (qemu-img convert -O raw makes an image for them)",
				       driver);
	near = nearest_word(driver, known);
	return err_set(e, EINVAL, "driver '%s' is not known; %s '%s'", driver,
		       near ? "did you mean" : "there are file, host_device and", near ?: "raw");
}

struct blk_node *blk_open_dev(struct loop *loop, struct conf_node *c, struct blk_graph *graph,
			      struct err *e)
{
	struct blk_node *n = blk_node_new(loop, c->conf);
	int ret;

	if (!c->type)
		ret = err_set(e, EINVAL, "driver= is missing: file, host_device or raw");
	else if (!strcmp(c->type, "file") || !strcmp(c->type, "host_device"))
		ret = open_file(n, c, e);
	else if (!strcmp(c->type, "raw"))
		ret = open_raw(n, c, graph, e);
	else
		ret = unknown_driver(c->type, e);
	return ret < 0 ? blk_close(n) : n;
}

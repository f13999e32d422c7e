/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's -drive and -blockdev, translated to CONF_DRIVE nodes: a drive has no type, a block node
 * has its driver. Control thread, start-up only.
 */
#include "base/base.h"

#include "cli/qemu_opts.h"

/* Keys of -drive that say what to build rather than how to open the image. */
struct drive_shape {
	char *interface, *media, *index, *serial;
};

static int check_drive_shape(const struct drive_shape *s, struct err *e)
{
	if (!s->interface)
		return err_set(e, EINVAL,
			       "without if= QEMU means an IDE disk, which is not here yet: "
			       "say if=virtio (or if=none and a -device)");
	if (strcmp(s->interface, "virtio") && strcmp(s->interface, "none"))
		return err_set(e, EINVAL,
			       "if=%s is not here yet: say if=virtio, or if=none and a -device",
			       s->interface);
	if (s->media && strcmp(s->media, "disk"))
		return err_set(e, EINVAL, "media=%s is not here yet: only media=disk", s->media);
	return 0;
}

static void free_shape(struct drive_shape *s)
{
	free(s->interface);
	free(s->media);
	free(s->index);
	free(s->serial);
}

int qemu_opt_drive(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	struct keyvals kvs;
	struct drive_shape s;
	int r = keyvals_parse(&kvs, arg, NULL, e);

	if (r < 0)
		return r;
	s.interface = keyvals_take(&kvs, "if");
	s.media = keyvals_take(&kvs, "media");
	s.index = keyvals_take(&kvs, "index");
	s.serial = keyvals_take(&kvs, "serial");
	r = check_drive_shape(&s, e);
	if (!r && !keyvals_get(&kvs, "file"))
		r = err_set(e, EINVAL, "file= is missing: which image?");
	if (!r) {
		autofree char *made = xasprintf("%s%u", s.interface, line->nr_drive++);
		bool has_id = keyvals_get(&kvs, "id") != NULL;
		struct conf_node *drive = front_add_node(line->conf, CONF_DRIVE, NULL, &kvs, where);

		if (!has_id)
			drive->id = take_ptr(made);
		if (!strcmp(s.interface, "virtio")) {
			struct conf_node *dev = front_add_disk(line->conf, drive->id, where);

			if (s.serial)
				conf_set(dev, "serial", s.serial);
		} else if (s.serial) {
			r = err_set(e, EINVAL, "serial= belongs to the -device when if=none");
		}
	}
	free_shape(&s);
	keyvals_fini(&kvs);
	return r;
}

int qemu_opt_blockdev(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	autofree char *driver = NULL, *name = NULL;
	struct keyvals kvs;
	int r = keyvals_parse_any(&kvs, arg, NULL, e);

	if (r < 0)
		return r;
	driver = keyvals_take(&kvs, "driver");
	name = keyvals_take(&kvs, "node-name");
	if (!driver)
		r = err_set(e, EINVAL, "driver= is missing: file, host_device or raw");
	else if (!name)
		r = err_set(e, EINVAL, "node-name= is missing: what shall -device drive= say?");
	else if (!is_identifier(name))
		r = err_set(e, EINVAL,
			    "node-name '%s' is not an identifier: a letter, then letters, digits, "
			    "'-', '.' or '_'",
			    name);
	else if (conf_find(line->conf, CONF_DRIVE, name))
		r = err_set(e, EEXIST, "there is a drive or node '%s' already", name);
	if (!r) {
		struct conf_node *node =
			front_add_node(line->conf, CONF_DRIVE, driver, &kvs, where);

		free(node->id);
		node->id = take_ptr(name);
	}
	keyvals_fini(&kvs);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back ends that come and go while the machine runs: networks, objects, block nodes. Each becomes a
 * node of the configuration, as one of the command line is, and is opened by the same code.
 * Source: QEMU's QAPI documentation of net, qom and block-core. Control thread.
 */
#include "base/base.h"
#include "core/arch.h"
#include "core/backend.h"
#include "core/keyval.h"
#include "core/object.h"
#include "mon/cmd.h"
#include "net/net.h"
#include <stdio.h>
#include <unistd.h>

struct backend_kind_info {
	enum conf_kind conf;
	enum backend_kind backend;
	const char *type_key, *id_key; /* in JSON */
	const char *command;
	const char *first; /* of key=value text: the key that may be left out */
	/* what QEMU says, and with which class, of one that is not there: around its id */
	const char *before, *behind;
	enum err_class cls;
};

static const struct backend_kind_info nets = { CONF_NETDEV, BACKEND_NET,   "type",
					       "id",	    "netdev_add",  "type",
					       "Device '",  "' not found", ERR_DEVICE_NOT_FOUND };
static const struct backend_kind_info objects = { CONF_OBJECT, BACKEND_OBJECT, "qom-type",
						  "id",	       "object-add",   "qom-type",
						  "object '",  "' not found",  ERR_GENERIC };
static const struct backend_kind_info blocks = { CONF_DRIVE,
						 BACKEND_BLOCK,
						 "driver",
						 "node-name",
						 "blockdev-add",
						 "driver",
						 "Failed to find node with node-name='",
						 "'",
						 ERR_GENERIC };

/* "fd=NAME" of a descriptor that getfd took: what net_open() is given is its number. */
static int put_named_fd(struct mon *mon, struct conf_node *node, struct err *e)
{
	const char *name = node->kind == CONF_NETDEV ? conf_get(node, "fd") : NULL;
	char number[16];
	int fd, r;

	if (!name || (*name >= '0' && *name <= '9'))
		return 0;
	fd = mon_take_named_fd(mon, name, e);
	if (fd < 0)
		return fd;
	r = net_check_tap_fd(fd, e);
	if (r < 0) {
		close(fd);
		return r;
	}
	snprintf(number, sizeof(number), "%d", fd);
	conf_set(node, "fd", number);
	return 0;
}

static int check_names(const struct backend_kind_info *k, struct vm *vm, const char *type,
		       const char *id, struct err *e)
{
	if (!type)
		return err_set(e, EINVAL, "Parameter '%s' is missing", k->type_key);
	if (!id)
		return err_set(e, EINVAL, "Parameter '%s' is missing", k->id_key);
	if (!is_identifier(id))
		return err_set(e, EINVAL,
			       "Parameter '%s' expects an identifier: a letter, then letters, "
			       "digits, '-', '.' or '_'",
			       k->id_key);
	if (conf_find(vm->conf, k->conf, id) || backend_find(vm, k->backend, id))
		return err_set(e, EEXIST, "Duplicate ID '%s'", id);
	return 0;
}

/* kvs is the caller's; type and id are taken out of it. */
static int add(struct mon *mon, struct vm *vm, const struct backend_kind_info *k,
	       struct keyvals *kvs, struct err *e)
{
	autofree char *type = keyvals_take(kvs, k->type_key), *id = keyvals_take(kvs, k->id_key);
	struct conf_node *node;
	int r = check_names(k, vm, type, id, e);

	if (r < 0)
		return r;
	node = conf_add(vm->conf, k->conf, type, id, k->command);
	keyvals_put(kvs, node);
	r = put_named_fd(mon, node, e);
	if (!r)
		r = k->conf == CONF_OBJECT ? obj_create(vm, node, e) : backend_open(vm, node, e);
	if (r < 0)
		conf_remove(node);
	return r;
}

static int add_json(struct mon_cmd *c, const struct backend_kind_info *k, json_t *args,
		    struct err *e)
{
	struct keyvals kvs = { 0 };
	int r = keyvals_from_json(&kvs, args, e);

	if (!r)
		r = add(c->mon, c->vm, k, &kvs, e);
	keyvals_fini(&kvs);
	return r;
}

static int del(struct vm *vm, const struct backend_kind_info *k, const char *id, struct err *e)
{
	struct conf_node *node = conf_find(vm->conf, k->conf, id);
	int r = backend_remove(vm, k->backend, id, e);

	if (r == -ENOENT) {
		autofree char *why = xstrdup(e->msg);

		err_set(e, ENOENT, "%s%.100s%s: %s", k->before, id, k->behind, why);
		e->cls = k->cls;
	}
	if (!r && node)
		conf_remove(node);
	return r;
}

int qmp_netdev_add(struct mon_cmd *c, json_t *args, struct err *e)
{
	return add_json(c, &nets, args, e);
}

int qmp_netdev_del(struct mon_cmd *c, const struct qmp_netdev_del_args *a, struct err *e)
{
	return del(c->vm, &nets, a->id, e);
}

int qmp_object_add(struct mon_cmd *c, json_t *args, struct err *e)
{
	return add_json(c, &objects, args, e);
}

int qmp_object_del(struct mon_cmd *c, const struct qmp_object_del_args *a, struct err *e)
{
	return del(c->vm, &objects, a->id, e);
}

int qmp_blockdev_add(struct mon_cmd *c, json_t *args, struct err *e)
{
	return add_json(c, &blocks, args, e);
}

int qmp_blockdev_del(struct mon_cmd *c, const struct qmp_blockdev_del_args *a, struct err *e)
{
	return del(c->vm, &blocks, a->node_name, e);
}

/* ---- for people ---- */

static void add_text(struct hmp *h, const struct backend_kind_info *k, const char *text)
{
	struct keyvals kvs = { 0 };
	struct err e = { 0 };
	int r = keyvals_parse_any(&kvs, text, k->first, &e);

	if (!r)
		r = add(h->mon, h->vm, k, &kvs, &e);
	keyvals_fini(&kvs);
	if (r < 0)
		hmp_error(h, &e);
}

static void del_id(struct hmp *h, const struct backend_kind_info *k, const char *id)
{
	struct err e = { 0 };

	if (del(h->vm, k, id, &e) < 0)
		hmp_error(h, &e);
}

void hmp_netdev_add(struct hmp *h, const struct hmp_netdev_add_args *a)
{
	add_text(h, &nets, a->netdev);
}

void hmp_netdev_del(struct hmp *h, const struct hmp_netdev_del_args *a)
{
	del_id(h, &nets, a->id);
}

void hmp_object_add(struct hmp *h, const struct hmp_object_add_args *a)
{
	add_text(h, &objects, a->object);
}

void hmp_object_del(struct hmp *h, const struct hmp_object_del_args *a)
{
	del_id(h, &objects, a->id);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens what -drive, -netdev and -chardev describe and hands it to the VM's registry, where
 * devices find it by id (core/arch.h: backend_open). Control thread, start-up.
 */
#include "base/base.h"

#include "block/block.h"
#include "char/char.h"
#include "core/arch.h"
#include "core/backend.h"
#include "core/vm.h"
#include "net/net.h"

static void close_block(void *end)
{
	blk_close(end);
}

static void close_net(void *end)
{
	net_close(end);
}

static void close_char(void *end)
{
	char_close(end);
}

/* Nodes for the raw nodes on them. */
struct graph {
	struct blk_graph g;
	struct vm *vm;
	const char *user;
	char *taken; /* the id, or NULL */
};

static struct blk_node *take_node(struct blk_graph *g, const char *name, struct err *e)
{
	struct graph *graph = container_of(g, struct graph, g);
	autofree char *user = xasprintf("node '%s'", graph->user);
	struct blk_node *n = backend_claim(graph->vm, BACKEND_BLOCK, name, user, e);

	if (n)
		graph->taken = xstrdup(name);
	return n;
}

static int open_blockdev(struct vm *vm, struct conf_node *node, struct err *e)
{
	struct graph graph = { .g.take = take_node, .vm = vm, .user = node->id };
	autofree char *taken = NULL;
	struct blk_node *n = blk_open_dev(vm->loop, node, &graph.g, e);
	int r = n ? backend_add_take(vm, BACKEND_BLOCK, node->id, n, close_block, e) : -EINVAL;

	taken = graph.taken;
	if (taken && !r)
		backend_uses(vm, BACKEND_BLOCK, node->id, taken);
	else if (taken)
		backend_release(vm, BACKEND_BLOCK, taken);
	if (r < 0 && e && strncmp(e->msg, node->where, strlen(node->where)) != 0)
		return err_prefix(e, "%s: ", node->where);
	return r;
}

int backend_open(struct vm *vm, struct conf_node *node, struct err *e)
{
	enum backend_kind kind;
	void (*close)(void *);
	void *end;
	int r;

	switch (node->kind) {
	case CONF_DRIVE:
		if (node->type)
			return open_blockdev(vm, node, e);
		kind = BACKEND_BLOCK;
		close = close_block;
		end = blk_open(vm->loop, node, e);
		if (end)
			blk_confine(end, &vm->conf->sandbox);
		break;
	case CONF_NETDEV:
		kind = BACKEND_NET;
		close = close_net;
		/* passt is a program, which this thread may start no more. */
		if (vm->confined && !strcmp(node->type, "user"))
			return err_set(e, EPERM,
				       "%s: the sandbox starts no programs while the guest runs: "
				       "-sandbox on,spawn=allow lets it",
				       node->where);
		end = net_open(vm->loop, node, e);
		break;
	case CONF_CHARDEV:
		kind = BACKEND_CHAR;
		close = close_char;
		end = char_open(vm->loop, node, e);
		break;
	default:
		return err_set(e, EINVAL, "%s: no back end of this kind exists", node->where);
	}
	if (!end && e && strncmp(e->msg, node->where, strlen(node->where)) != 0)
		return err_prefix(e, "%s: ", node->where);
	if (!end)
		return -EINVAL;
	r = backend_add_take(vm, kind, node->id, end, close, e);
	if (!r && kind == BACKEND_CHAR && char_is_mux(end))
		backend_share(vm, kind, node->id);
	return r;
}

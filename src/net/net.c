/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network ends: the part that all types share. Loop's thread, but net_rx_ready().
 * No state to save: frames in flight on the host's side may be lost, as on any wire.
 */
#include "net/net_int.h"

static void rx_work(struct loop_work *w)
{
	struct net_end *end = container_of(w, struct net_end, rx_work);

	if (end->nic)
		end->ops->rx_resume(end);
}

void net_end_init(struct net_end *end, const struct net_ops *ops, struct loop *loop)
{
	end->ops = ops;
	end->loop = loop;
	end->rx_work.fn = rx_work;
}

struct net_end *net_open(struct loop *loop, struct conf_node *node, struct err *e)
{
	static const char *const types[] = { "user", "tap", NULL };
	const char *near;

	if (node->type && !strcmp(node->type, "user"))
		return net_user_open(loop, node, e);
	if (node->type && !strcmp(node->type, "tap"))
		return net_tap_open(loop, node, e);
	near = node->type ? nearest_word(node->type, types) : NULL;
	err_set(e, EINVAL, "network type '%s' is not known%s%s%s: there are user and tap",
		node->type ? node->type : "", near ? " (did you mean '" : "", near ? near : "",
		near ? "'?)" : "");
	return NULL;
}

struct net_end *net_close(struct net_end *end)
{
	if (end) {
		loop_cancel(end->loop, &end->rx_work);
		end->ops->close(end);
	}
	return NULL;
}

int net_attach(struct net_end *end, struct net_nic *nic, struct err *e)
{
	if (nic && end->nic)
		return err_set(e, EBUSY, "the network back end has a device already");
	end->nic = nic;
	if (nic)
		loop_post(end->loop, &end->rx_work); /* what came before waits */
	return 0;
}

ssize_t net_send(struct net_end *end, const struct iovec *v, unsigned n)
{
	return end->down ? -ENETDOWN : end->ops->send(end, v, n);
}

void net_rx_ready(struct net_end *end)
{
	loop_post(end->loop, &end->rx_work);
}

uint32_t net_offloads(const struct net_end *end)
{
	return end->offloads;
}

int net_set_offload(struct net_end *end, uint32_t guest)
{
	if (guest & ~end->offloads)
		return -EINVAL;
	return end->ops->set_offload ? end->ops->set_offload(end, guest) : 0;
}

bool net_link_up(const struct net_end *end)
{
	return !end->down;
}

void net_end_down(struct net_end *end)
{
	if (end->down)
		return;
	end->down = true;
	if (end->nic && end->nic->link)
		end->nic->link(end->nic, false);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* -object iothread (object.h): its settings. Control thread. State: none. */
#include "base/base.h"
#include "core/object.h"

#define N(name, member, def, max, help) \
	PROP_UINT(name, struct obj_iothread, member, PROP_U64, def, 0, max, help)

static const struct prop props[] = {
	N("poll-max-ns", poll_max_ns, 32768, INT64_MAX, "longest busy wait for work, in ns"),
	N("poll-grow", poll_grow, 0, INT64_MAX, "factor by which a busy wait grows; 0 = 2"),
	N("poll-shrink", poll_shrink, 0, INT64_MAX, "divisor by which it shrinks; 0 = to nothing"),
	N("aio-max-batch", aio_max_batch, 0, INT64_MAX, "requests given to the host at once"),
	N("thread-pool-min", pool_min, 0, INT64_MAX, "worker threads that stay"),
	N("thread-pool-max", pool_max, 64, INT64_MAX, "worker threads at most"),
	PROPS_END,
};

static int check(struct obj *o, struct conf_node *node, struct err *e)
{
	const struct obj_iothread *t = container_of(o, struct obj_iothread, o);

	if (t->pool_min > t->pool_max || !t->pool_max)
		return err_set(e, EINVAL,
			       "thread-pool-max=%" PRIu64 " has to be 1 at least, and not less "
			       "than thread-pool-min=%" PRIu64,
			       t->pool_max, t->pool_min);
	return 0;
}

const struct obj_type obj_iothread = {
	.name = "iothread",
	.help = "a thread for the work of devices",
	.size = sizeof(struct obj_iothread),
	.props = props,
	.init = check,
};

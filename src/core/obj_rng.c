/* SPDX-License-Identifier: Apache-2.0 */
/*
 * -object rng-random and rng-builtin (object.h): a file of the host, or getrandom(2), as the
 * source of a guest's random numbers. Reading any thread. State: none.
 */
#include "base/base.h"
#include "core/fdset.h"
#include "core/object_int.h"
#include "core/vm.h"
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

struct rng {
	struct obj o;
	char *filename;
	int fd; /* -1: getrandom(2) */
};

static const struct prop random_props[] = {
	PROP_STRING("filename", struct rng, filename, "/dev/urandom", "file or device to read"),
	PROPS_END,
};

static int open_source(struct obj *o, struct conf_node *node, struct err *e)
{
	struct rng *r = container_of(o, struct rng, o);

	r->fd = fdset_open(node->conf, r->filename, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0, e);
	return r->fd < 0 ? r->fd : 0;
}

static int use_getrandom(struct obj *o, struct conf_node *node, struct err *e)
{
	container_of(o, struct rng, o)->fd = -1;
	return 0;
}

static void close_source(struct obj *o)
{
	struct rng *r = container_of(o, struct rng, o);

	if (r->fd > 0) /* 0: never opened; main() keeps the real 0 busy */
		close_fd_(&r->fd);
}

ssize_t obj_rng_read(struct obj *o, void *buf, size_t len)
{
	const struct rng *r = container_of(o, struct rng, o);
	ssize_t n;

	do
		n = r->fd < 0 ? getrandom(buf, len, GRND_NONBLOCK) : read(r->fd, buf, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return n || !len ? n : -ENODATA; /* the end of a file is no source */
}

bool obj_is_rng(const struct obj *o)
{
	return o->type == &obj_rng_random || o->type == &obj_rng_builtin;
}

const struct obj_type obj_rng_random = {
	.name = "rng-random",
	.help = "random numbers from a file or device of the host",
	.size = sizeof(struct rng),
	.props = random_props,
	.init = open_source,
	.fini = close_source,
};

const struct obj_type obj_rng_builtin = {
	.name = "rng-builtin",
	.help = "random numbers from the host's getrandom(2)",
	.size = sizeof(struct rng),
	.init = use_getrandom,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simplest character ends: null (output vanishes, no input) and file (output to a file, input
 * from another one if given). Loop's thread. State: none.
 */
#include "base/base.h"
#include "char/char_int.h"
#include "core/fdset.h"
#include <fcntl.h>
#include <unistd.h>

static int null_open(struct char_end *c, struct conf_node *node, struct err *e)
{
	c->sink = true;
	return 0;
}

static const char *const null_keys[] = { NULL };

const struct char_type char_null = { .name = "null", .keys = null_keys, .open = null_open };

static int file_open(struct char_end *c, struct conf_node *node, struct err *e)
{
	const char *path = conf_get(node, "path"), *input = conf_get(node, "input-path");
	bool append = false;
	int ret = conf_get_bool(node, "append", &append, e), in_fd = -1, out_fd;

	if (ret < 0)
		return ret;
	if (!path)
		return err_set(e, EINVAL, "%s: a file needs path=", node->where);
	out_fd = fdset_open(node->conf, path,
			    O_WRONLY | O_CREAT | O_NOCTTY | O_NONBLOCK |
				    (append ? O_APPEND : O_TRUNC),
			    0666, e);
	if (out_fd < 0)
		return err_prefix(e, "%s: output: ", node->where);
	if (input) {
		in_fd = fdset_open(node->conf, input, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0, e);
		if (in_fd < 0) {
			close(out_fd);
			return err_prefix(e, "%s: input: ", node->where);
		}
	}
	char_up_take(c, in_fd, out_fd);
	return 0;
}

/* The end of the input is not the end of the output. */
static void file_lost(struct char_end *c)
{
	if (c->in.fd >= 0) {
		loop_del(c->loop, &c->in);
		close(take_fd(&c->in.fd));
	} else {
		char_down(c);
	}
}

static const char *const file_keys[] = { "path", "input-path", "append", NULL };

const struct char_type char_file = {
	.name = "file", .keys = file_keys, .open = file_open, .lost = file_lost
};

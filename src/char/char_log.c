/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logfile=: a copy of what fronts write to a character end, also while nobody is at its other
 * side. The file may be a pipe whose reader is slow: then the front is refused room and asked
 * again a little later, so that nothing is missing in the log and no thread waits.
 *
 * Threads: any, under the end's lock. State: none.
 */
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "char/char_int.h"
#include "core/fdset.h"
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#define AGAIN_NS (10 * NS_PER_MS)

int char_log_open(struct char_end *c, struct conf_node *node, struct err *e)
{
	const char *path = conf_get(node, "logfile");
	bool append = false;
	int flags = O_WRONLY | O_CREAT | O_NOCTTY;

	if (conf_get_bool(node, "logappend", &append, e) < 0)
		return -EINVAL;
	if (!path)
		return 0;
	flags |= append ? O_APPEND : O_TRUNC;
	c->log_fd = fdset_open(node->conf, path, flags, 0666, e);
	return c->log_fd < 0 ? err_prefix(e, "%s: logfile: ", node->where) : 0;
}

void char_log_close(struct char_end *c)
{
	close_fd_(&c->log_fd);
}

/* With POLLOUT a pipe takes PIPE_BUF bytes at least, so write() does not wait. */
static ssize_t write_ready(int fd, const uint8_t *data, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	if (poll(&p, 1, 0) <= 0)
		return 0;
	len = write(fd, data, MIN(len, (size_t)PIPE_BUF));
	if ((ssize_t)len < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return (ssize_t)len;
}

size_t char_log_some(struct char_end *c, const uint8_t *data, size_t len)
{
	size_t done = 0;

	while (c->log_fd >= 0 && done < len) {
		ssize_t n = write_ready(c->log_fd, data + done, len - done);

		if (n < 0) {
			log_warn("chardev %s: no more is logged: %s", c->id, strerror(errno));
			close(take_fd(&c->log_fd));
			break;
		}
		if (n == 0) {
			loop_arm(c->loop, &c->log_again, clock_now_ns() + AGAIN_NS);
			return done;
		}
		done += (size_t)n;
	}
	return len;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing a saved machine (stream.h). Pipes and sockets are made non-blocking: a
 * writer that a slow reader holds up waits in poll(2) together with the wish to end. Worker thread
 * of a migration; cancel and pace from any.
 */
#include "base/base.h"
#include "base/clock.h"
#include "migr/stream.h"
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* #syscalls migr: poll fdatasync lseek(SEEK_SET) lseek(SEEK_CUR) */

/* #syscalls control migr: fcntl(F_GETFL) fcntl(F_SETFL) fstat newfstatat */

int stream_init_take(struct migr_stream *s, int fd, struct err *e)
{
	struct stat st;
	int flags;

	*s = (struct migr_stream){ .fd = fd, .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	s->paced_ns = clock_now_ns();
	if (s->wake < 0)
		return err_set_errno(e, errno, "no eventfd for a migration");
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st) < 0)
		return err_set_errno(e, errno, "file descriptor %d", fd);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode) &&
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_set_errno(e, errno, "cannot make file descriptor %d non-blocking", fd);
	return 0;
}

void stream_fini(struct migr_stream *s)
{
	close_fd_(&s->fd);
	close_fd_(&s->wake);
	s->fd = s->wake = -1;
}

static void wake(struct migr_stream *s)
{
	uint64_t one = 1;
	ssize_t n;

	do
		n = write(s->wake, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
}

void stream_cancel(struct migr_stream *s)
{
	atomic_store(&s->cancel, true);
	wake(s);
}

void stream_set_pace(struct migr_stream *s, uint64_t max)
{
	atomic_store(&s->max_bytes_per_s, max);
	wake(s);
}

static int cancelled(struct migr_stream *s, struct err *e)
{
	return atomic_load(&s->cancel) ? err_set(e, ECANCELED, "cancelled") : 0;
}

/*
 * Until fd is ready (events 0: only the time), or ms have passed (-1: for ever), or somebody wakes.
 * 1 = ready, 0 = not, or it is cancelled.
 */
static int wait_for(struct migr_stream *s, short events, int ms, struct err *e)
{
	struct pollfd p[2] = { { .fd = s->wake, .events = POLLIN },
			       { .fd = events ? s->fd : -1, .events = events } };
	uint64_t count;
	ssize_t n = 0;
	int ret = poll(p, 2, ms);

	if (ret < 0 && errno != EINTR)
		return err_set_errno(e, errno, "poll");
	if (ret < 0)
		p[0].revents = p[1].revents = 0;
	if (p[0].revents & POLLIN)
		n = read(s->wake, &count, sizeof(count));
	if (n < 0 && errno != EAGAIN)
		return err_set_errno(e, errno, "eventfd");
	ret = cancelled(s, e);
	return ret < 0 ? ret : p[1].revents != 0;
}

int stream_await(struct migr_stream *s, struct err *e)
{
	int ret = cancelled(s, e);

	while (ret == 0)
		ret = wait_for(s, POLLIN, -1, e);
	return MIN(ret, 0);
}

/* Sleeps while the stream is ahead of its pace. */
static int keep_pace(struct migr_stream *s, struct err *e)
{
	for (;;) {
		uint64_t max = atomic_load(&s->max_bytes_per_s), now = clock_now_ns();
		uint64_t done = atomic_load(&s->pos) - s->paced_pos, due;
		int ret;

		if (!max)
			return cancelled(s, e);
		due = s->paced_ns + mul_div_u64(done, NS_PER_SEC, max);
		if (due <= now) {
			/* A pause of the reader is no credit for later. */
			s->paced_ns = now;
			s->paced_pos = atomic_load(&s->pos);
			return cancelled(s, e);
		}
		ret = wait_for(s, 0, (int)MIN((due - now) / NS_PER_MS + 1, (uint64_t)1000), e);
		if (ret < 0)
			return ret;
	}
}

/* Takes n bytes off the front of *iov. */
static void advance(struct iovec **iov, unsigned *n, size_t len)
{
	while (*n && len >= (*iov)->iov_len) {
		len -= (*iov)->iov_len;
		(*iov)++;
		(*n)--;
	}
	if (*n) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + len;
		(*iov)->iov_len -= len;
	}
}

int stream_writev(struct migr_stream *s, struct iovec *iov, unsigned n, struct err *e)
{
	int ret = keep_pace(s, e);

	advance(&iov, &n, 0);
	while (n && ret == 0) {
		ssize_t done = writev(s->fd, iov, (int)MIN(n, (unsigned)IOV_MAX));

		if (done >= 0) {
			atomic_fetch_add(&s->pos, (uint64_t)done);
			advance(&iov, &n, (size_t)done);
			ret = cancelled(s, e);
		} else if (errno == EAGAIN) {
			ret = MIN(wait_for(s, POLLOUT, -1, e), 0);
		} else if (errno != EINTR) {
			ret = err_set_errno(e, errno, "cannot write the machine's state");
		}
	}
	return ret;
}

int stream_write(struct migr_stream *s, const void *p, size_t len, struct err *e)
{
	struct iovec iov = { (void *)p, len };

	return stream_writev(s, &iov, 1, e);
}

int stream_read(struct migr_stream *s, void *to, size_t len, struct err *e)
{
	int ret = cancelled(s, e);

	while (len && ret == 0) {
		ssize_t n = read(s->fd, to, MIN(len, (size_t)MIB(1)));

		if (n > 0) {
			to = (char *)to + n;
			len -= (size_t)n;
			atomic_fetch_add(&s->pos, (uint64_t)n);
			ret = cancelled(s, e);
		} else if (n == 0) {
			ret = err_set(e, EPROTO,
				      "the saved machine ends at byte %" PRIu64
				      ", in the middle: it was not written to its end",
				      atomic_load(&s->pos));
		} else if (errno == EAGAIN) {
			ret = MIN(wait_for(s, POLLIN, -1, e), 0);
		} else if (errno != EINTR) {
			ret = err_set_errno(e, errno, "cannot read the saved machine");
		}
	}
	return ret;
}

int stream_tell(struct migr_stream *s, uint64_t *off, struct err *e)
{
	off_t at = lseek(s->fd, 0, SEEK_CUR);
	int flags = fcntl(s->fd, F_GETFL);

	if (at < 0 || flags < 0 || (flags & O_APPEND))
		return err_set(e, ESPIPE,
			       "only a file can be written out of order, and none that is opened"
			       " to append");
	*off = (uint64_t)at;
	return 0;
}

int stream_seek(struct migr_stream *s, uint64_t off, struct err *e)
{
	if (lseek(s->fd, (off_t)off, SEEK_SET) < 0)
		return err_set_errno(e, errno, "no byte %" PRIu64 " in the file", off);
	return 0;
}

int stream_sync(struct migr_stream *s, struct err *e)
{
	if (fdatasync(s->fd) < 0 && errno != EINVAL && errno != EROFS)
		return err_set_errno(e, errno, "cannot bring the machine's state to the disk");
	return 0;
}

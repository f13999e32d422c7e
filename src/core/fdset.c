/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of inherited or passed file descriptors (fdset.h), after QEMU's -add-fd and add-fd: a
 * management tool opens what this process may not. Control thread. State: none.
 */
#include "base/base.h"
#include "core/fdset.h"
#include <ctype.h>
#include <fcntl.h>
#include <unistd.h>

/* #syscalls control: fcntl openat dup3 */

static struct fdset **find(struct vm_conf *conf, int64_t id)
{
	struct fdset **p = &conf->fdsets;

	while (*p && (*p)->id < id)
		p = &(*p)->next;
	return p;
}

static int64_t lowest_free(const struct vm_conf *conf)
{
	int64_t id = 0;

	for (const struct fdset *s = conf->fdsets; s && s->id == id; s = s->next)
		id++;
	return id;
}

int64_t fdset_add_take(struct vm_conf *conf, int64_t id, int fd, const char *opaque, struct err *e)
{
	struct fdset **at;
	struct fdset_fd *f;

	if (fcntl(fd, F_GETFD) < 0)
		return err_set(e, EBADF, "file descriptor %d is not open", fd);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (id < 0)
		id = lowest_free(conf);
	at = find(conf, id);
	if (!*at || (*at)->id != id) {
		struct fdset *s = xnew(struct fdset);

		s->id = id;
		s->next = *at;
		*at = s;
	}
	f = xnew(struct fdset_fd);
	f->fd = fd;
	f->opaque = opaque ? xstrdup(opaque) : NULL;
	f->next = (*at)->fds;
	(*at)->fds = f;
	return id;
}

static void free_fd(struct fdset_fd *f)
{
	close(f->fd);
	free(f->opaque);
	free(f);
}

/* Closes fd (< 0: all) of s; false when it is not there. */
static bool drop(struct fdset *s, int fd)
{
	bool found = false;

	for (struct fdset_fd **p = &s->fds; *p;) {
		struct fdset_fd *f = *p;

		if (fd >= 0 && f->fd != fd) {
			p = &f->next;
			continue;
		}
		*p = f->next;
		free_fd(f);
		found = true;
	}
	return found;
}

int fdset_remove(struct vm_conf *conf, int64_t id, int fd, struct err *e)
{
	struct fdset **at = find(conf, id), *s = *at;

	if (!s || s->id != id)
		return err_set(e, ENOENT, "File descriptor named 'fdset-id:%" PRId64 "' not found",
			       id);
	if (!drop(s, fd))
		return err_set(e, ENOENT,
			       "File descriptor named 'fdset-id:%" PRId64 ", fd:%d' not found", id,
			       fd);
	if (!s->fds) {
		*at = s->next;
		free(s);
	}
	return 0;
}

void fdset_free_all(struct vm_conf *conf)
{
	while (conf->fdsets) {
		struct fdset *s = conf->fdsets;

		conf->fdsets = s->next;
		drop(s, -1);
		free(s);
	}
}

/* True when path is "/dev/fdset/N". */
static bool is_fdset(const char *path, int64_t *id)
{
	static const char prefix[] = "/dev/fdset/";
	const char *digits = path + strlen(prefix);
	char *end;

	if (strncmp(path, prefix, strlen(prefix)) || !isdigit((unsigned char)*digits))
		return false;
	errno = 0;
	*id = strtoll(digits, &end, 10);
	return !*end && !errno;
}

static bool may(int fd, int flags)
{
	int has = fcntl(fd, F_GETFL), want = flags & O_ACCMODE;

	return has >= 0 && ((has & O_ACCMODE) == want || (has & O_ACCMODE) == O_RDWR);
}

static int copy_of(const struct vm_conf *conf, int64_t id, int flags, struct err *e)
{
	const struct fdset *s = conf->fdsets;

	while (s && s->id != id)
		s = s->next;
	if (!s)
		return err_set(e, ENOENT,
			       "there is no file descriptor set %" PRId64 " (-add-fd makes one)",
			       id);
	for (const struct fdset_fd *f = s->fds; f; f = f->next) {
		int fd;

		if (!may(f->fd, flags))
			continue;
		fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);
		return fd < 0 ? err_set_errno(e, errno, "/dev/fdset/%" PRId64, id) : fd;
	}
	return err_set(e, EACCES, "file descriptor set %" PRId64 " has none that is open for %s",
		       id, (flags & O_ACCMODE) == O_RDONLY ? "reading" : "writing");
}

int fdset_open(const struct vm_conf *conf, const char *path, int flags, mode_t mode, struct err *e)
{
	int64_t id;
	int fd;

	if (conf && is_fdset(path, &id)) {
		fd = copy_of(conf, id, flags, e);
		if (fd < 0)
			errno = -fd;
		return fd;
	}
	fd = open(path, flags | O_CLOEXEC, mode);
	if (fd < 0) {
		int code = errno;

		err_set_errno(e, code, "cannot open '%s'", path);
		errno = code;
		return -code;
	}
	return fd;
}

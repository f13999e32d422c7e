/* SPDX-License-Identifier: Apache-2.0 */
/*
 * -daemonize and -pidfile: the process goes into the background when everything is there that its
 * caller may rely on, and says by its exit code whether that worked. Control thread; before any
 * other thread is made.
 */
#include "base/base.h"

#include "cli/daemon.h"
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* #syscalls control: chdir unlink */

/* The caller's process: ends as the one in the background says, or with 1 when that one died. */
static void wait_for_child(int fd, pid_t child)
{
	uint8_t code = 1;
	ssize_t n;
	int status;

	do
		n = read(fd, &code, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		code = 1;
	waitpid(child, &status, 0); /* the one in between, which is gone by now */
	_exit(code);
}

int daemon_begin(struct daemon *d, struct err *e)
{
	pid_t pid;
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_set_errno(e, errno, "-daemonize: no pipe");
	pid = fork();
	if (pid < 0) {
		close(p[0]);
		close(p[1]);
		return err_set_errno(e, errno, "-daemonize: no process");
	}
	if (pid > 0) {
		close(p[1]);
		wait_for_child(p[0], pid);
	}
	close(p[0]);
	setsid();
	/* Not a session's leader, so that no terminal it opens becomes its own. */
	pid = fork();
	if (pid)
		_exit(pid < 0);
	umask(027);
	d->ready_fd = p[1];
	/* For the end: there may be none in another root. */
	d->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return d->null_fd < 0 ? err_set_errno(e, errno, "-daemonize: /dev/null") : 0;
}

int daemon_ready(struct daemon *d, struct err *e)
{
	uint8_t ok = 0;
	if (chdir("/") < 0)
		return err_set_errno(e, errno, "-daemonize: /");
	/* Whoever waits for the end of these hears it now. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(d->null_fd, fd);
	close(take_fd(&d->null_fd));
	if (write(d->ready_fd, &ok, 1) != 1)
		return err_set_errno(e, errno, "-daemonize: the caller is gone");
	close(take_fd(&d->ready_fd));
	return 0;
}

/* ---- user and folder ---- */

/* NAME, or UID:GID. */
static int find_user(const char *user, uid_t *uid, gid_t *gid, char **name, struct err *e)
{
	const struct passwd *pw = getpwnam(user);
	unsigned u, g;
	char rest;

	if (pw) {
		*uid = pw->pw_uid;
		*gid = pw->pw_gid;
		*name = xstrdup(pw->pw_name);
		return 0;
	}
	if (sscanf(user, "%u:%u%c", &u, &g, &rest) != 2)
		return err_set(e, ENOENT, "user=%s: no such user; say a name or UID:GID", user);
	*uid = u;
	*gid = g;
	return 0;
}

int process_confine(const char *root, const char *user, struct err *e)
{
	autofree char *name = NULL;
	uid_t uid = 0;
	gid_t gid = 0;
	int r = user ? find_user(user, &uid, &gid, &name, e) : 0;

	if (r < 0)
		return r;
	/* Groups are looked up in files, which another root may not have. */
	if (user && (name ? initgroups(name, gid) : setgroups(1, &gid)) < 0)
		return err_set_errno(e, errno, "user=%s: its groups", user);
	if (root && (chroot(root) < 0 || chdir("/") < 0))
		return err_set_errno(e, errno, "chroot=%s", root);
	if (user && (setgid(gid) < 0 || setuid(uid) < 0))
		return err_set_errno(e, errno, "user=%s", user);
	if (user && uid && setuid(0) == 0)
		return err_set(e, EPERM, "user=%s: privileges could be had back", user);
	return 0;
}

/* ---- the file with the process's number ---- */

static int lock_file(int fd)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &fl);
}

/* Still the file of that name? The one who had it may have removed it meanwhile. */
static bool is_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int open_locked(const char *path, struct err *e)
{
	for (;;) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600), code;

		if (fd < 0)
			return err_set_errno(e, errno, "-pidfile: cannot open '%s'", path);
		if (lock_file(fd) == 0 && is_file(fd, path))
			return fd;
		code = errno;
		if (lock_file(fd) < 0) {
			close(fd);
			return code == EAGAIN || code == EACCES
				       ? err_set(e, EBUSY,
						 "-pidfile: '%s' belongs to another process that "
						 "runs",
						 path)
				       : err_set_errno(e, code, "-pidfile: cannot lock '%s'", path);
		}
		close(fd);
	}
}

int pidfile_write(struct pidfile *f, const char *path, struct err *e)
{
	autofree char *text = xasprintf("%d\n", getpid());
	ssize_t len = (ssize_t)strlen(text);

	f->fd = open_locked(path, e);
	if (f->fd < 0)
		return f->fd;
	f->path = realpath(path, NULL);
	if (ftruncate(f->fd, 0) < 0 || write(f->fd, text, (size_t)len) != len)
		return err_set_errno(e, errno, "-pidfile: cannot write '%s'", path);
	return 0;
}

void pidfile_remove(struct pidfile *f)
{
	if (f->path)
		unlink(f->path); /* while it is locked: nobody else has it */
	free(take_ptr(f->path));
	if (f->fd >= 0)
		close(take_fd(&f->fd));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of saved machines: file:, exec:, fd:, unix:, tcp:. Control thread. No state.
 */
#include "base/base.h"
#include "core/conf.h"
#include "migr/chan.h"
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* #syscalls control: fadvise64 */

/* #syscalls migr control: wait4 kill unlink */

extern char **environ;

/* ---- files and descriptors ---- */

static int open_file(struct migr_chan *c, const char *spec, bool out, struct err *e)
{
	const char *offset = strstr(spec, ",offset=");
	autofree char *path = xasprintf("%.*s", offset ? (int)(offset - spec) : -1, spec);
	uint64_t at = 0;
	struct stat st;

	if (offset && parse_size(offset + 8, 1, &at, e) < 0)
		return err_prefix(e, "file:%s: ", spec);
	/* Readable by its owner only: it holds all that the guest has in memory. */
	c->fd = open(path,
		     out ? O_WRONLY | O_CREAT | O_CLOEXEC | (offset ? 0 : O_TRUNC)
			 : O_RDONLY | O_CLOEXEC,
		     0600);
	if (c->fd < 0)
		return err_set_errno(e, errno, "cannot open '%s' for the saved machine", path);
	if (at && lseek(c->fd, (off_t)at, SEEK_SET) < 0)
		return err_set_errno(e, errno, "'%s': offset %" PRIu64, path, at);
	if (!out) {
		posix_fadvise(c->fd, (off_t)at, 0, POSIX_FADV_SEQUENTIAL);
		return 0;
	}
	c->sync = fstat(c->fd, &st) == 0 && S_ISREG(st.st_mode);
	if (c->sync && !offset)
		c->path = take_ptr(path);
	return 0;
}

static int open_fd(struct migr_chan *c, const char *name, struct migr_fds *fds, struct err *e)
{
	char *end;
	long n;

	c->fd = fds ? fds->take(fds, name) : -1;
	if (c->fd >= 0)
		return 0;
	errno = 0;
	n = strtol(name, &end, 10);
	if (errno || end == name || *end || n < 0 || n > INT32_MAX)
		return err_set(
			e, ENOENT,
			"no file descriptor was passed under the name '%s' (getfd), and it is"
			" no number",
			name);
	if (fcntl((int)n, F_GETFD) < 0)
		return err_set_errno(e, errno, "fd:%ld", n);
	c->fd = (int)n;
	return fcntl(c->fd, F_SETFD, FD_CLOEXEC) < 0 ? err_set_errno(e, errno, "fd:%ld", n) : 0;
}

/* ---- commands ---- */

static int spawn_shell(const char *command, int theirs, bool out, pid_t *pid)
{
	const char *argv[] = { "/bin/sh", "-c", command, NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, dfl;
	int ret;

	sigemptyset(&none);
	sigemptyset(&dfl);
	sigaddset(&dfl, SIGPIPE);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&attr);
	ret = posix_spawnattr_setsigmask(&attr, &none);
	if (!ret)
		ret = posix_spawnattr_setsigdefault(&attr, &dfl);
	if (!ret)
		ret = posix_spawnattr_setflags(&attr,
					       POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (!ret)
		ret = posix_spawn_file_actions_adddup2(&fa, theirs, out ? 0 : 1);
	if (!ret)
		ret = posix_spawn(pid, argv[0], &fa, &attr, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return -ret;
}

static int open_exec(struct migr_chan *c, const char *command, bool out, struct err *e)
{
	int fds[2], ret;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set_errno(e, errno, "no pipe for '%s'", command);
	ret = spawn_shell(command, fds[out ? 0 : 1], out, &c->child);
	close(fds[out ? 0 : 1]);
	c->fd = fds[out ? 1 : 0];
	return ret < 0 ? err_set_errno(e, -ret, "cannot run '%s'", command) : 0;
}

/* ---- sockets ---- */

static int join(struct migr_chan *c, int family, const struct sockaddr *addr, socklen_t len,
		bool out, struct err *e)
{
	int one = 1;

	c->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return err_set_errno(e, errno, "no socket");
	if (out)
		return connect(c->fd, addr, len) < 0 ? -errno : 0;
	setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(c->fd, addr, len) < 0 || listen(c->fd, 1) < 0)
		return -errno;
	c->listening = true;
	return 0;
}

static int open_unix(struct migr_chan *c, const char *path, bool out, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int ret;

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(e, ENAMETOOLONG, "unix:%s: the path is too long for a socket", path);
	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	if (!out)
		unlink(path);
	ret = join(c, AF_UNIX, (struct sockaddr *)&addr, sizeof(addr), out, e);
	return ret < 0 ? err_set_errno(e, -ret, "cannot %s unix:%s",
				       out ? "connect to" : "listen on", path)
		       : 0;
}

/* Resolving a name loads libraries and asks servers, so confined takes numbers only. */
static int open_tcp(struct migr_chan *c, const char *spec, bool out, bool confined, struct err *e)
{
	const char *colon = strrchr(spec, ':');
	struct addrinfo hint = { .ai_socktype = SOCK_STREAM, .ai_flags = out ? 0 : AI_PASSIVE };
	struct addrinfo *all = NULL;
	autofree char *host = NULL;
	size_t len;
	int ret;

	if (confined)
		hint.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
	if (!colon)
		return err_set(e, EINVAL, "tcp:%s: say tcp:HOST:PORT", spec);
	len = (size_t)(colon - spec);
	host = spec[0] == '[' && len > 1 && spec[len - 1] == ']'
		       ? xasprintf("%.*s", (int)len - 2, spec + 1)
		       : xasprintf("%.*s", (int)len, spec);
	ret = getaddrinfo(*host ? host : NULL, colon + 1, &hint, &all);
	if (ret)
		return err_set(e, EINVAL, "tcp:%s: %s%s", spec, gai_strerror(ret),
			       confined ? " (under the sandbox addresses and ports are numbers)"
					: "");
	ret = -EADDRNOTAVAIL;
	for (struct addrinfo *a = all; a && ret < 0; a = a->ai_next) {
		close_fd_(&c->fd);
		c->fd = -1;
		ret = join(c, a->ai_family, a->ai_addr, a->ai_addrlen, out, e);
	}
	freeaddrinfo(all);
	return ret < 0 ? err_set_errno(e, -ret, "cannot %s tcp:%s",
				       out ? "connect to" : "listen on", spec)
		       : 0;
}

/* ---- all of them ---- */

int chan_open(struct migr_chan *c, const char *uri, bool out, bool confined, struct migr_fds *fds,
	      struct err *e)
{
	const char *rest = strchr(uri, ':');
	size_t n = rest ? (size_t)(rest - uri) : 0;
	int ret;

	*c = (struct migr_chan){ .fd = -1 };
	if (n == 4 && !strncmp(uri, "file", n))
		ret = open_file(c, rest + 1, out, e);
	else if (n == 2 && !strncmp(uri, "fd", n))
		ret = open_fd(c, rest + 1, fds, e);
	else if (n == 4 && !strncmp(uri, "exec", n))
		ret = confined ? err_set(e, EPERM,
					 "the sandbox starts no commands while the guest runs: "
					 "-sandbox on,spawn=allow lets it")
			       : open_exec(c, rest + 1, out, e);
	else if (n == 4 && !strncmp(uri, "unix", n))
		ret = open_unix(c, rest + 1, out, e);
	else if (n == 3 && !strncmp(uri, "tcp", n))
		ret = open_tcp(c, rest + 1, out, confined, e);
	else
		return err_set(e, EINVAL,
			       "'%s' is no address of a saved machine: say file:PATH, exec:COMMAND,"
			       " fd:N, unix:PATH or tcp:HOST:PORT",
			       uri);
	if (ret < 0)
		chan_abandon(c);
	return ret;
}

static int wait_for_child(struct migr_chan *c)
{
	int status = 0;

	while (c->child && waitpid(c->child, &status, 0) < 0 && errno == EINTR)
		;
	c->child = 0;
	return status;
}

int chan_close(struct migr_chan *c, struct err *e)
{
	int status;

	close_fd_(&c->fd);
	c->fd = -1;
	free(take_ptr(c->path));
	status = wait_for_child(c);
	if (WIFSIGNALED(status))
		return err_set(e, EIO, "the command was ended by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status))
		return err_set(e, EIO, "the command failed with exit code %d", WEXITSTATUS(status));
	return 0;
}

void chan_abandon(struct migr_chan *c)
{
	close_fd_(&c->fd);
	c->fd = -1;
	if (c->child)
		kill(c->child, SIGTERM);
	wait_for_child(c);
	/* Half a machine is of no use, and only in the way. */
	if (c->path)
		unlink(c->path);
	free(take_ptr(c->path));
}

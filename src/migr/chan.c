/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of saved machines: file:, exec:, fd:, unix:, tcp:. Control thread; chan_close() and
 * chan_hang_up() the worker's too. No state.
 */
#include "base/base.h"
#include "base/clock.h"
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
#include <time.h>
#include <unistd.h>

/* #syscalls control: fadvise64 fcntl fstat newfstatat openat lseek socket connect bind listen
 * setsockopt unlink */

/* #syscalls migr control: wait4 kill */

extern char **environ;

#define CHILD_LOOK_MS 5u /* how often a command is asked whether it has ended */

/* ---- files and descriptors ---- */

/* A FIFO can be opened for writing when somebody has it open for reading. */
static int try_fifo(struct migr_chan *c, struct err *e)
{
	c->fd = open(c->fifo, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
	if (c->fd >= 0)
		return 1;
	return errno == ENXIO ? 0 : err_set_errno(e, errno, "cannot open '%s'", c->fifo);
}

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
		     (out ? O_WRONLY | O_CREAT | (offset ? 0 : O_TRUNC) : O_RDONLY) | O_CLOEXEC |
			     O_NONBLOCK,
		     0600);
	if (c->fd < 0 && out && errno == ENXIO && stat(path, &st) == 0 && S_ISFIFO(st.st_mode)) {
		c->fifo = take_ptr(path);
		return 0;
	}
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

static void add_addr(struct migr_chan *c, const void *sa, socklen_t len)
{
	struct chan_addr *a;

	c->addr = xrealloc(c->addr, c->nr_addrs + 1, sizeof(*c->addr));
	a = &c->addr[c->nr_addrs++];
	*a = (struct chan_addr){ .len = MIN(len, (socklen_t)sizeof(a->sa)) };
	memcpy(&a->sa, sa, a->len);
}

static int new_socket(struct migr_chan *c, const struct chan_addr *a)
{
	c->fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return c->fd < 0 ? -errno : 0;
}

/* 1 = connected; 0 = not yet, which connect(2) on the same socket says in its own ways. */
static int try_connect(struct migr_chan *c)
{
	const struct chan_addr *a = &c->addr[c->at];
	int ret = c->fd < 0 ? new_socket(c, a) : 0;

	if (ret < 0)
		return ret;
	if (connect(c->fd, (const struct sockaddr *)&a->sa, a->len) == 0 || errno == EISCONN)
		return 1;
	if (errno == EINPROGRESS || errno == EALREADY || errno == EINTR || errno == EAGAIN)
		return 0;
	ret = -errno;
	close_fd_(&c->fd);
	c->fd = -1;
	return ret;
}

static int try_addresses(struct migr_chan *c, struct err *e)
{
	int ret = -EADDRNOTAVAIL;

	for (; c->at < c->nr_addrs; c->at++) {
		ret = try_connect(c);
		if (ret >= 0)
			return ret;
	}
	return err_set_errno(e, -ret, "cannot connect to %s", c->uri);
}

static int listen_on(struct migr_chan *c, struct err *e)
{
	int ret = -EADDRNOTAVAIL, one = 1;

	for (size_t i = 0; i < c->nr_addrs && ret < 0; i++) {
		const struct chan_addr *a = &c->addr[i];

		close_fd_(&c->fd);
		ret = new_socket(c, a);
		if (ret < 0)
			continue;
		setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(c->fd, (const struct sockaddr *)&a->sa, a->len) < 0 ||
		    listen(c->fd, 1) < 0)
			ret = -errno;
	}
	if (ret < 0)
		return err_set_errno(e, -ret, "cannot listen on %s", c->uri);
	c->listening = true;
	return 0;
}

static int open_unix(struct migr_chan *c, const char *path, bool out, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(e, ENAMETOOLONG, "unix:%s: the path is too long for a socket", path);
	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	add_addr(c, &addr, sizeof(addr));
	if (out)
		return 0;
	unlink(path);
	return listen_on(c, e);
}

/*
 * Resolving a name loads libraries and asks servers, for which the guest and the monitors would
 * wait: numbers only; localhost is what no server need be asked for (RFC 6761).
 */
static int open_tcp(struct migr_chan *c, const char *spec, bool out, struct err *e)
{
	const char *colon = strrchr(spec, ':');
	struct addrinfo hint = { .ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV |
					     (out ? 0 : AI_PASSIVE) };
	struct addrinfo *all = NULL;
	autofree char *host = NULL;
	const char *name;
	size_t len;
	int ret;

	if (!colon)
		return err_set(e, EINVAL, "tcp:%s: say tcp:ADDRESS:PORT", spec);
	len = (size_t)(colon - spec);
	host = spec[0] == '[' && len > 1 && spec[len - 1] == ']'
		       ? xasprintf("%.*s", (int)len - 2, spec + 1)
		       : xasprintf("%.*s", (int)len, spec);
	name = !strcmp(host, "localhost") ? "127.0.0.1" : host;
	ret = getaddrinfo(*name ? name : NULL, colon + 1, &hint, &all);
	if (ret)
		return err_set(e, EINVAL, "tcp:%s: %s (address and port have to be numbers)", spec,
			       gai_strerror(ret));
	for (struct addrinfo *a = all; a; a = a->ai_next)
		add_addr(c, a->ai_addr, a->ai_addrlen);
	freeaddrinfo(all);
	return out ? 0 : listen_on(c, e);
}

/* ---- all of them ---- */

int chan_open(struct migr_chan *c, const char *uri, bool out, bool confined, struct migr_fds *fds,
	      struct err *e)
{
	const char *rest = strchr(uri, ':');
	size_t n = rest ? (size_t)(rest - uri) : 0;
	int ret;

	*c = (struct migr_chan){ .fd = -1, .uri = xstrdup(uri) };
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
		ret = open_tcp(c, rest + 1, out, e);
	else
		ret = err_set(
			e, EINVAL,
			"Parameter 'uri' expects a valid migration protocol: '%s' is none; say "
			"file:PATH, exec:COMMAND, fd:N, unix:PATH or tcp:ADDRESS:PORT",
			uri);
	if (ret == 0)
		ret = chan_settle(c, e);
	if (ret < 0)
		chan_abandon(c);
	return MIN(ret, 0);
}

int chan_settle(struct migr_chan *c, struct err *e)
{
	int ret = 1;

	if (c->settled)
		return 1;
	if (c->fifo)
		ret = try_fifo(c, e);
	else if (c->nr_addrs && !c->listening)
		ret = try_addresses(c, e);
	c->settled = ret == 1;
	return ret;
}

/* Whether the command has ended, within ms of waiting; *status is its own then. */
static bool child_ended(struct migr_chan *c, unsigned ms, const atomic_bool *cancel, int *status)
{
	const struct timespec nap = { .tv_nsec = CHILD_LOOK_MS * NS_PER_MS };

	for (uint64_t until = clock_now_ns() + ms * NS_PER_MS;;) {
		pid_t pid = waitpid(c->child, status, WNOHANG);

		if (pid == c->child || (pid < 0 && errno != EINTR)) {
			c->child = 0;
			return true;
		}
		if (clock_now_ns() >= until || (cancel && atomic_load(cancel)))
			return false;
		nanosleep(&nap, NULL);
	}
}

/* It may clean up; one that does not want to go goes all the same. */
static void end_child(struct migr_chan *c)
{
	int status;

	if (!c->child)
		return;
	kill(c->child, SIGTERM);
	if (child_ended(c, CHAN_GRACE_MS, NULL, &status))
		return;
	kill(c->child, SIGKILL);
	while (waitpid(c->child, &status, 0) < 0 && errno == EINTR)
		;
	c->child = 0;
}

static void forget(struct migr_chan *c)
{
	close_fd_(&c->fd);
	c->fd = -1;
	free(take_ptr(c->uri));
	free(take_ptr(c->fifo));
	free(take_ptr(c->addr));
	c->nr_addrs = c->at = 0;
}

int chan_close(struct migr_chan *c, const atomic_bool *cancel, struct err *e)
{
	int status = 0;

	forget(c);
	while (c->child && !child_ended(c, 1000, cancel, &status))
		if (cancel && atomic_load(cancel)) {
			end_child(c);
			return err_set(e, ECANCELED, "cancelled");
		}
	free(take_ptr(c->path));
	if (WIFSIGNALED(status))
		return err_set(e, EIO, "the command was ended by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status))
		return err_set(e, EIO, "the command failed with exit code %d", WEXITSTATUS(status));
	return 0;
}

void chan_hang_up(struct migr_chan *c)
{
	forget(c);
	end_child(c);
}

void chan_abandon(struct migr_chan *c)
{
	chan_hang_up(c);
	/* Half a machine is of no use, and only in the way. */
	if (c->path)
		unlink(c->path);
	free(take_ptr(c->path));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix and TCP sockets as a character end, as server (one peer at a time) or client.
 *
 * Keys: path=, or host= and port=, or fd= (inherited: a server's listens, a client's is connected);
 * server=on|off, wait=on|off (a server waits for its first peer
 * before the machine starts), reconnect=seconds or reconnect-ms= (a client tries again; without
 * it, one that cannot connect at the start is an error), nodelay=on. Loop's thread. State: none.
 *
 * A name is looked up once, when the end is opened: that loads libraries, reads files and asks
 * servers, which takes long, and which a confined thread may not do.
 */
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "char/char_int.h"
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* #syscalls control io: accept4 getsockopt setsockopt shutdown */
/* #syscalls control: socket connect bind listen unlink getsockname getpeername */

struct socket_kind {
	struct char_end *c;
	char *path, *host, *port; /* path, or host and port */
	char *where;		  /* for messages */
	int fd;			  /* of fd=; -1 = none, or in use */
	bool server, wait, nodelay, made_path;
	bool starved; /* it was said that connections are not taken */
	uint64_t reconnect_ms;
	struct addrinfo *addrs;	   /* of host and port; NULL: path= or fd= */
	struct addrinfo *next;	   /* of addrs: several get their turns; NULL: the first */
	struct loop_fd listener;   /* server; fd -1 = none */
	struct loop_fd connecting; /* client, while a connect is on its way */
	struct loop_timer again;
};

/* ---- a peer ---- */

static int use_peer_take(struct socket_kind *k, int fd, struct err *e)
{
	int one = 1, out, ret;

	if (k->nodelay && k->port)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	out = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (out < 0) {
		ret = err_set_errno(e, errno, "%s: a connection is not taken", k->where);
		close(fd);
		return ret;
	}
	k->starved = false;
	char_up_take(k->c, fd, out);
	return 0;
}

/*
 * Whoever wants to connect waits, or was turned away. Without descriptors the listener would be
 * ready all the time, and nothing could be done about it.
 */
static void listen_later(struct socket_kind *k, const char *why)
{
	loop_del(k->c->loop, &k->listener);
	if (!k->starved)
		log_warn("chardev %s: no connection is taken: %s; trying again each second",
			 k->c->id, why);
	k->starved = true;
	loop_arm(k->c->loop, &k->again, clock_now_ns() + NS_PER_SEC);
}

static void listen_on(struct socket_kind *k)
{
	struct err e;

	if (loop_add(k->c->loop, &k->listener, &e) < 0)
		listen_later(k, e.msg);
}

static void accept_ready(struct loop_fd *f, uint32_t ready)
{
	struct socket_kind *k = container_of(f, struct socket_kind, listener);
	int fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err e;

	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return;
	if (fd < 0) {
		listen_later(k, strerror(errno));
		return;
	}
	loop_del(k->c->loop, f); /* the next peer waits until this one has left */
	if (use_peer_take(k, fd, &e) < 0)
		listen_later(k, e.msg);
}

static void retry_later(struct socket_kind *k)
{
	if (k->reconnect_ms)
		loop_arm(k->c->loop, &k->again, clock_now_ns() + k->reconnect_ms * NS_PER_MS);
}

/*
 * Before the loop runs: waits until fd is ready. The signals that end hanok are blocked by then
 * and wait for the loop; one that is there already, or comes, ends the waiting (-EINTR).
 */
static int wait_ready(int fd, short events)
{
	autoclose int signals = -1;
	struct pollfd p[2] = { { .fd = fd, .events = events }, { .events = POLLIN } };
	sigset_t set;
	int ret;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	p[1].fd = signals; /* -1 is ignored */
	do
		ret = poll(p, ARRAY_SIZE(p), -1);
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return -errno;
	return p[0].revents ? 0 : -EINTR;
}

/* ---- addresses ---- */

static int unix_addr(const struct socket_kind *k, struct sockaddr_un *un, struct err *e)
{
	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	if (strlen(k->path) >= sizeof(un->sun_path))
		return err_set(e, ENAMETOOLONG, "%s: the socket path '%s' is longer than %zu bytes",
			       k->where, k->path, sizeof(un->sun_path) - 1);
	memcpy(un->sun_path, k->path, strlen(k->path) + 1);
	return 0;
}

static int resolve(struct socket_kind *k, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = k->server ? AI_PASSIVE : 0 };
	int ret = getaddrinfo(k->host && *k->host ? k->host : NULL, k->port, &hints, &k->addrs);

	if (ret)
		return err_set(e, EADDRNOTAVAIL,
			       "%s: cannot resolve '%s' port '%s': %s (names are looked up at the "
			       "start only; an address needs no look-up)",
			       k->where, k->host ? k->host : "", k->port, gai_strerror(ret));
	return 0;
}

static int new_socket(const struct socket_kind *k, int family, struct err *e)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? err_set_errno(e, errno, "%s: no socket", k->where) : fd;
}

/* ---- server ---- */

/* A socket file that nobody listens on is left over from before and is replaced. */
static void remove_stale(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)un, sizeof(*un)) < 0 && errno == ECONNREFUSED)
		unlink(un->sun_path);
	close(fd);
}

static int listen_unix(struct socket_kind *k, struct err *e)
{
	struct sockaddr_un un;
	int ret = unix_addr(k, &un, e), fd;

	if (ret < 0)
		return ret;
	remove_stale(&un);
	fd = new_socket(k, AF_UNIX, e);
	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 || listen(fd, 1) < 0) {
		ret = err_set_errno(e, errno, "%s: cannot listen on '%s'", k->where, k->path);
		close(fd);
		return ret;
	}
	k->made_path = true;
	return fd;
}

static int listen_tcp(struct socket_kind *k, struct err *e)
{
	const struct addrinfo *a = k->addrs;
	int fd = new_socket(k, a->ai_family, e), one = 1, ret;

	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 1) < 0) {
		ret = err_set_errno(e, errno, "%s: cannot listen on port %s", k->where, k->port);
		close(fd);
		return ret;
	}
	return fd;
}

static int wait_for_peer(struct socket_kind *k, struct err *e)
{
	int fd, ret;

	log_info("chardev %s: waiting for a connection (wait=off starts without)", k->c->id);
	do {
		ret = wait_ready(k->listener.fd, POLLIN);
		if (ret < 0)
			return ret == -EINTR
				       ? err_set(e, EINTR,
						 "%s: ended by a signal while it waited "
						 "for a connection",
						 k->where)
				       : err_set_errno(e, -ret, "%s: nobody connected", k->where);
		fd = accept4(k->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	} while (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED));
	if (fd < 0)
		return err_set_errno(e, errno, "%s: no connection", k->where);
	return use_peer_take(k, fd, e);
}

/* An inherited socket becomes ours: it has to be a stream that listens, or one that is connected. */
static int take_inherited(struct socket_kind *k, struct err *e)
{
	int type = 0, listens = 0, fd = k->fd;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return err_set_errno(e, errno, "%s: file descriptor %d is no socket", k->where, fd);
	len = sizeof(listens);
	if (type != SOCK_STREAM || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0)
		return err_set(e, EPROTOTYPE, "%s: file descriptor %d is no stream socket",
			       k->where, fd);
	if (k->server && !listens)
		return err_set(e, EINVAL,
			       "%s: socket %d does not listen, as server=on needs; "
			       "server=off is for one that is connected",
			       k->where, fd);
	if (!k->server && listens)
		return err_set(e, EINVAL, "%s: socket %d listens: say server=on", k->where, fd);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return err_set_errno(e, errno, "%s: file descriptor %d", k->where, fd);
	return take_fd(&k->fd);
}

static int start_server(struct socket_kind *k, struct err *e)
{
	if (k->fd >= 0)
		k->listener.fd = take_inherited(k, e);
	else
		k->listener.fd = k->path ? listen_unix(k, e) : listen_tcp(k, e);
	if (k->listener.fd < 0)
		return k->listener.fd;
	return k->wait ? wait_for_peer(k, e) : loop_add(k->c->loop, &k->listener, e);
}

/* ---- client ---- */

/* What became of a connect(): 0 or the errno. */
static int connect_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? errno : error;
}

static void connect_ready(struct loop_fd *f, uint32_t ready)
{
	struct socket_kind *k = container_of(f, struct socket_kind, connecting);
	struct err e;
	int fd;

	loop_del(k->c->loop, f);
	fd = take_fd(&f->fd);
	if (connect_error(fd)) {
		close(fd);
		retry_later(k);
	} else if (use_peer_take(k, fd, &e) < 0) {
		log_warn("%s", e.msg);
		retry_later(k);
	}
}

/* 0 = connected or, for one that tries again, on the way. */
static int connect_to(struct socket_kind *k, const struct sockaddr *sa, socklen_t len,
		      struct err *e)
{
	int fd = new_socket(k, sa->sa_family, e), error;

	if (fd < 0)
		return fd;
	error = connect(fd, sa, len) < 0 ? errno : 0;
	if (error == EINPROGRESS && k->reconnect_ms) {
		k->connecting.fd = fd;
		return loop_add(k->c->loop, &k->connecting, e);
	}
	if (error == EINPROGRESS)
		error = -wait_ready(fd, POLLOUT) ?: connect_error(fd);
	if (!error)
		return use_peer_take(k, fd, e);
	close(fd);
	return err_set_errno(e, error,
			     "%s: cannot connect to '%s%s%s' (reconnect=1 tries again)", k->where,
			     k->path ?: k->host ?: "", k->path ? "" : ":", k->path ? "" : k->port);
}

/* All addresses of a name in turn, or with reconnect= one a try. */
static int connect_tcp(struct socket_kind *k, struct err *e)
{
	const struct addrinfo *a = k->next ?: k->addrs;
	int ret;

	if (k->reconnect_ms) {
		k->next = a->ai_next;
		return connect_to(k, a->ai_addr, a->ai_addrlen, e);
	}
	do
		ret = connect_to(k, a->ai_addr, a->ai_addrlen, e);
	while (ret < 0 && ret != -EINTR && (a = a->ai_next));
	return ret;
}

static int start_client(struct socket_kind *k, struct err *e)
{
	struct sockaddr_un un;
	int ret;

	if (k->fd >= 0) {
		ret = take_inherited(k, e);
		return ret < 0 ? ret : use_peer_take(k, ret, e);
	}
	if (!k->path)
		return connect_tcp(k, e);
	ret = unix_addr(k, &un, e);
	return ret < 0 ? ret : connect_to(k, (struct sockaddr *)&un, sizeof(un), e);
}

static void again(struct loop_timer *t)
{
	struct socket_kind *k = container_of(t, struct socket_kind, again);
	struct err e;

	if (k->server)
		listen_on(k);
	else if (!k->c->up && k->connecting.fd < 0 && start_client(k, &e) < 0)
		retry_later(k);
}

/* ---- the end ---- */

static void socket_lost(struct char_end *c)
{
	struct socket_kind *k = c->kind;

	char_down(c);
	if (k->server)
		listen_on(k);
	else
		retry_later(k);
}

static char *copy_key(struct conf_node *node, const char *key)
{
	const char *val = conf_get(node, key);

	return val ? xstrdup(val) : NULL;
}

static int read_fd(struct socket_kind *k, struct conf_node *node, struct err *e)
{
	uint64_t fd = UINT64_MAX;
	int ret = conf_get_u64(node, "fd", STDERR_FILENO + 1, INT_MAX, &fd, e);

	k->fd = ret == 0 && fd != UINT64_MAX ? (int)fd : -1;
	return ret;
}

static int read_keys(struct socket_kind *k, struct conf_node *node, struct err *e)
{
	uint64_t seconds = 0;
	bool delay = true;
	int ret;

	k->where = xstrdup(node->where ? node->where : "socket");
	k->path = copy_key(node, "path");
	k->host = copy_key(node, "host");
	k->port = copy_key(node, "port");
	ret = read_fd(k, node, e);
	if (ret < 0)
		return ret;
	if (!!k->path + !!k->port + (k->fd >= 0) != 1)
		return err_set(e, EINVAL,
			       "%s: a socket needs path=, or host= and port=, or fd=", k->where);
	if (conf_get_bool(node, "server", &k->server, e) < 0)
		return -EINVAL;
	k->wait = k->server;
	if (conf_get_bool(node, "wait", &k->wait, e) < 0 ||
	    conf_get_bool(node, "nodelay", &k->nodelay, e) < 0 ||
	    conf_get_bool(node, "delay", &delay, e) < 0 ||
	    conf_get_u64(node, "reconnect", 0, 86400, &seconds, e) < 0)
		return -EINVAL;
	k->nodelay |= !delay; /* "nodelay" alone is read as delay=off */
	k->reconnect_ms = seconds * 1000;
	if (conf_get_u64(node, "reconnect-ms", 0, 86400000, &k->reconnect_ms, e) < 0)
		return -EINVAL;
	if ((k->server || k->fd >= 0) && k->reconnect_ms)
		return err_set(e, EINVAL,
			       "%s: reconnect is for clients with an address, not with "
			       "server=on or fd=",
			       k->where);
	return 0;
}

static int socket_open(struct char_end *c, struct conf_node *node, struct err *e)
{
	struct socket_kind *k = xnew(struct socket_kind);
	int ret;

	c->kind = k;
	k->c = c;
	k->fd = -1;
	k->listener = (struct loop_fd){ .fd = -1, .events = EPOLLIN, .fn = accept_ready };
	k->connecting = (struct loop_fd){ .fd = -1, .events = EPOLLOUT, .fn = connect_ready };
	k->again.fn = again;
	ret = read_keys(k, node, e);
	if (ret == 0 && k->port)
		ret = resolve(k, e);
	if (ret < 0)
		return ret;
	if (k->server)
		return start_server(k, e);
	ret = start_client(k, e);
	if (ret < 0 && k->reconnect_ms) {
		retry_later(k);
		return 0;
	}
	return ret;
}

static void socket_close(struct char_end *c)
{
	struct socket_kind *k = c->kind;

	if (!k)
		return;
	loop_disarm(c->loop, &k->again);
	loop_del(c->loop, &k->listener);
	loop_del(c->loop, &k->connecting);
	close_fd_(&k->listener.fd);
	close_fd_(&k->connecting.fd);
	close_fd_(&k->fd);
	if (k->made_path)
		unlink(k->path);
	if (k->addrs)
		freeaddrinfo(k->addrs);
	free(k->path);
	free(k->host);
	free(k->port);
	free(k->where);
	free(take_ptr(c->kind));
}

/* The address of a descriptor, ours or the peer's, as text; the caller's to free. */
static char *name_of(int fd)
{
	union {
		struct sockaddr sa;
		struct sockaddr_un un;
		struct sockaddr_storage any;
	} a = { 0 };
	socklen_t len = sizeof(a);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getsockname(fd, &a.sa, &len) < 0)
		return xstrdup("socket");
	if (a.sa.sa_family == AF_UNIX)
		return xasprintf("unix:%.*s", (int)sizeof(a.un.sun_path), a.un.sun_path);
	if (getnameinfo(&a.sa, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return xstrdup("socket");
	return xasprintf(strchr(host, ':') ? "tcp:[%s]:%s" : "tcp:%s:%s", host, port);
}

static char *socket_describe(const struct char_end *c)
{
	const struct socket_kind *k = c->kind;
	autofree char *name = NULL;

	if (k->path)
		name = xasprintf("unix:%s", k->path);
	else if (k->server)
		name = name_of(k->listener.fd);
	else if (k->port)
		name = xasprintf("tcp:%s:%s", k->host ?: "", k->port);
	else
		name = name_of(c->in.fd);
	return xasprintf("%s%s%s", c->up ? "" : "disconnected:", name,
			 k->server ? ",server=on" : "");
}

static const char *const socket_keys[] = { "path", "host",	"port",		"fd",	   "server",
					   "wait", "reconnect", "reconnect-ms", "nodelay", NULL };

const struct char_type char_socket = {
	.name = "socket",
	.keys = socket_keys,
	.open = socket_open,
	.close = socket_close,
	.lost = socket_lost,
	.describe = socket_describe,
};

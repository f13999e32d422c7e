/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Character ends (char.h): the engine that moves bytes between a front and file descriptors.
 *
 * Input is read only as far as the front has room, and the descriptor leaves the loop meanwhile
 * (a hang-up would wake it for ever). Output goes through a bounded ring that only the loop's
 * thread empties, so writers append under a short lock and never wait for the host.
 *
 * Threads: char_write() and char_accept_input() any; everything else the loop's. State: none; what
 * is in flight to the host belongs to the host.
 */
#include "base/base.h"
#include "base/log.h"
#include "base/trace.h"
#include "char/char_int.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* #syscalls control vcpu io: sendto recvfrom poll ppoll ioctl(FIONREAD) lseek */

#define IN_CHUNK      4096u
#define ROUNDS	      16u /* chunks a wake-up, so that one end cannot keep the loop */
#define CLOSE_WAIT_MS 1000
#define MAX_FDS	      16u /* that one message may carry */

/* ---- output ---- */

/* Appends to the ring, which has room for it. */
static void append(struct char_end *c, const uint8_t *p, size_t len)
{
	if (!c->ring)
		c->ring = xnew_n(uint8_t, CHAR_OUT_SIZE);
	for (size_t done = 0; done < len;) {
		size_t at = (c->head + c->len) % CHAR_OUT_SIZE;
		size_t n = MIN(len - done, CHAR_OUT_SIZE - at);

		memcpy(c->ring + at, p + done, n);
		c->len += n;
		done += n;
	}
}

size_t char_write(struct char_end *c, const void *data, size_t len)
{
	size_t taken = len;
	bool post;

	pthread_mutex_lock(&c->lock);
	if (c->taking)
		taken = MIN(taken, CHAR_OUT_SIZE - c->len);
	taken = char_log_some(c, data, taken);
	post = c->taking && taken;
	if (post)
		append(c, data, taken);
	if (taken < len)
		c->starved = true;
	pthread_mutex_unlock(&c->lock);
	trace_chr_write(c->id, len, taken);
	if (post)
		loop_post(c->loop, &c->work);
	return taken;
}

/* Sockets are not opened again with O_NONBLOCK, and a peer that left must not raise SIGPIPE. */
static ssize_t write_some(int fd, const uint8_t *p, size_t n)
{
	ssize_t ret = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (ret < 0 && errno == ENOTSOCK)
		ret = write(fd, p, n);
	return ret;
}

/* epoll does not know them. */
static bool is_regular(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* The piece at the ring's head; the loop's thread alone removes, so it stays where it is. */
static size_t peek(struct char_end *c, const uint8_t **p)
{
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = MIN(c->len, CHAR_OUT_SIZE - c->head);
	*p = c->ring + c->head;
	pthread_mutex_unlock(&c->lock);
	return n;
}

static void drop_front(struct char_end *c, size_t n)
{
	pthread_mutex_lock(&c->lock);
	c->head = (c->head + n) % CHAR_OUT_SIZE;
	c->len -= n;
	pthread_mutex_unlock(&c->lock);
}

/* 1 = all is out, 0 = the host takes no more now, -1 = the other side is gone. */
static int flush_ring(struct char_end *c)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		const uint8_t *p;
		size_t n = peek(c, &p);
		ssize_t ret;

		if (!n)
			return 1;
		ret = write_some(c->out.fd, p, n);
		if (ret < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (ret < 0 && is_regular(c->out.fd)) { /* a full disk: the guest goes on */
			log_warn("chardev %s: output lost: %s", c->id, strerror(errno));
			drop_front(c, n);
			continue;
		}
		if (ret < 0)
			return -1;
		drop_front(c, (size_t)ret);
	}
	return 0;
}

static void tell_writable(struct char_end *c)
{
	bool tell;

	pthread_mutex_lock(&c->lock);
	tell = c->starved && c->len <= CHAR_OUT_SIZE / 2;
	if (tell)
		c->starved = false;
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; tell && i < c->nr_fronts; i++) {
		if (c->fronts[i]->writable)
			c->fronts[i]->writable(c->fronts[i]);
	}
}

static void lost(struct char_end *c)
{
	if (c->type->lost)
		c->type->lost(c);
	else
		char_down(c);
}

static void flush_out(struct char_end *c)
{
	int ret;

	if (c->out.fd < 0)
		return;
	ret = flush_ring(c);
	if (ret < 0) {
		lost(c);
		return;
	}
	if (ret == 0 && !is_regular(c->out.fd)) {
		struct err e;

		if (!c->out.added && loop_add(c->loop, &c->out, &e) < 0)
			log_warn("chardev %s: %s", c->id, e.msg);
	} else {
		loop_del(c->loop, &c->out);
		if (ret == 0)
			loop_post(c->loop, &c->work);
	}
	tell_writable(c);
}

static void out_ready(struct loop_fd *f, uint32_t ready)
{
	flush_out(container_of(f, struct char_end, out));
}

/* ---- input ---- */

static size_t front_room(const struct char_end *c)
{
	return c->front && c->front->room ? c->front->room(c->front) : 0;
}

/* Hands descriptors that came with len bytes to the front. */
static void pass_fds(struct char_end *c, struct msghdr *msg, size_t len)
{
	for (struct cmsghdr *m = CMSG_FIRSTHDR(msg); m; m = CMSG_NXTHDR(msg, m)) {
		int fds[MAX_FDS];
		size_t n = (m->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_RIGHTS)
			continue;
		n = MIN(n, MAX_FDS);
		memcpy(fds, CMSG_DATA(m), n * sizeof(int));
		if (c->front && c->front->fds) {
			c->front->fds(c->front, fds, n, len);
			continue;
		}
		for (size_t i = 0; i < n; i++)
			close(fds[i]);
	}
}

static ssize_t receive_some(struct char_end *c, uint8_t *buf, size_t len)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { buf, len };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(c->in.fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n >= 0)
		pass_fds(c, &msg, (size_t)n);
	return n;
}

/* Reads once. False: nothing more now. */
static bool read_some(struct char_end *c, size_t room)
{
	uint8_t buf[IN_CHUNK];
	size_t left, max = MIN(room, sizeof(buf));
	ssize_t n = c->takes_fds ? receive_some(c, buf, max) : read(c->in.fd, buf, max);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	trace_chr_read(c->id, n < 0 ? -errno : n);
	if (n <= 0) {
		lost(c);
		return false;
	}
	left = char_keys_filter(c, buf, (size_t)n);
	if (left && c->front)
		c->front->receive(c->front, buf, left);
	return c->in.fd >= 0;
}

/* For input while the front has room; otherwise only to hear when the other side leaves. */
static void watch_in(struct char_end *c)
{
	bool want = c->in.fd >= 0 && front_room(c) > 0;
	uint32_t events = want ? EPOLLIN : EPOLLRDHUP;
	struct err e;

	if (c->in.fd < 0 || c->sync_in || (!want && c->left)) {
		loop_del(c->loop, &c->in);
	} else if (!c->in.added) {
		c->in.events = events;
		if (loop_add(c->loop, &c->in, &e) < 0)
			c->sync_in = true; /* a regular file or /dev/null */
	} else if (c->in.events != events) {
		c->in.events = events;
		loop_mod(c->loop, &c->in);
	}
	if (want && c->sync_in)
		loop_post(c->loop, &c->work);
}

/* The other side left while the front has no room: what it sent before is still for the front. */
static void hung_up(struct char_end *c)
{
	int unread = 0;

	if (ioctl(c->in.fd, FIONREAD, &unread) == 0 && unread > 0)
		c->left = true;
	else
		lost(c);
}

static void in_ready(struct loop_fd *f, uint32_t ready)
{
	struct char_end *c = container_of(f, struct char_end, in);
	size_t room = front_room(c);

	if (room)
		read_some(c, room);
	else if (ready & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		hung_up(c);
	watch_in(c);
}

static void run_work(struct loop_work *w)
{
	struct char_end *c = container_of(w, struct char_end, work);
	size_t room;

	flush_out(c);
	if (c->sync_in && c->in.fd >= 0 && (room = front_room(c)) > 0)
		read_some(c, room);
	watch_in(c);
}

void char_accept_input(struct char_end *c)
{
	loop_post(c->loop, &c->work);
}

/* ---- up and down ---- */

static void tell_connected(struct char_end *c, bool up)
{
	for (unsigned i = 0; i < c->nr_fronts; i++) {
		if (c->fronts[i]->connected)
			c->fronts[i]->connected(c->fronts[i], up);
	}
}

void char_tell_resized(struct char_end *c, unsigned cols, unsigned rows)
{
	for (unsigned i = 0; i < c->nr_fronts; i++) {
		if (c->fronts[i]->resized)
			c->fronts[i]->resized(c->fronts[i], cols, rows);
	}
}

static bool is_unix(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       domain == AF_UNIX;
}

static void set_taking(struct char_end *c, bool up)
{
	pthread_mutex_lock(&c->lock);
	c->taking = up;
	if (!up)
		c->head = c->len = 0;
	pthread_mutex_unlock(&c->lock);
	c->up = up;
}

void char_up_take(struct char_end *c, int in_fd, int out_fd)
{
	c->in.fd = in_fd;
	c->out.fd = out_fd;
	c->left = false;
	c->sync_in = is_regular(in_fd);
	c->takes_fds = is_unix(in_fd);
	trace_chr_opened(c->id);
	set_taking(c, true);
	watch_in(c);
	tell_connected(c, true);
}

static void close_in(struct char_end *c)
{
	loop_del(c->loop, &c->in);
	close_fd_(&c->in.fd);
	c->in.fd = -1;
}

void char_down(struct char_end *c)
{
	bool was_up = c->up;

	close_in(c);
	loop_del(c->loop, &c->out);
	close_fd_(&c->out.fd);
	c->out.fd = -1;
	set_taking(c, false);
	tell_writable(c);
	if (!was_up)
		return;
	trace_chr_closed(c->id);
	tell_connected(c, false);
}

bool char_is_up(const struct char_end *c)
{
	return c->up || c->sink;
}

bool char_size(const struct char_end *c, unsigned *cols, unsigned *rows)
{
	return c->type->size && c->type->size(c, cols, rows);
}

void char_say(struct char_end *c, const char *text)
{
	(void)char_write(c, text, strlen(text));
}

/* ---- ends ---- */

static const struct char_type *const types[] = { &char_stdio, &char_null, &char_file, &char_socket,
						 &char_pty };

const char *char_kind(unsigned i)
{
	return i < ARRAY_SIZE(types) ? types[i]->name : NULL;
}

static const struct char_type *type_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (name && !strcmp(types[i]->name, name))
			return types[i];
	}
	return NULL;
}

/* The log has room again, perhaps; a front that still finds none arms the timer anew. */
static void log_again(struct loop_timer *t)
{
	tell_writable(container_of(t, struct char_end, log_again));
}

struct char_end *char_open(struct loop *loop, struct conf_node *node, struct err *e)
{
	const struct char_type *type = type_find(node->type);
	struct char_end *c;

	if (!type) {
		err_set(e, ENOENT,
			"%s: there is no character device '%s'; there are stdio, file,"
			" null, socket and pty",
			node->where, node->type ? node->type : "");
		return NULL;
	}
	c = xnew(struct char_end);
	c->type = type;
	c->loop = loop;
	c->id = xstrdup(node->id ? node->id : type->name);
	c->in = (struct loop_fd){ .fd = -1, .events = EPOLLIN, .fn = in_ready };
	c->out = (struct loop_fd){ .fd = -1, .events = EPOLLOUT, .fn = out_ready };
	c->work.fn = run_work;
	c->log_fd = -1;
	c->log_again.fn = log_again;
	pthread_mutex_init(&c->lock, NULL);
	if (conf_get_bool(node, "mux", &c->mux, e) < 0 || char_log_open(c, node, e) < 0 ||
	    type->open(c, node, e) < 0 || conf_check_unused(node, type->keys, e) < 0)
		return char_close(c);
	return c;
}

/* Output that waits gets a moment: the last lines of a guest are those one wants to read. */
static void drain(struct char_end *c)
{
	for (int i = 0; i < CLOSE_WAIT_MS / 10 && c->out.fd >= 0; i++) {
		struct pollfd p = { .fd = c->out.fd, .events = POLLOUT };

		if (flush_ring(c) != 0)
			break;
		poll(&p, 1, 10);
	}
}

struct char_end *char_close(struct char_end *c)
{
	if (!c)
		return NULL;
	c->front = NULL;
	c->nr_fronts = 0;
	drain(c);
	char_down(c);
	if (c->type->close)
		c->type->close(c);
	loop_cancel(c->loop, &c->work);
	loop_disarm(c->loop, &c->log_again);
	char_log_close(c);
	pthread_mutex_destroy(&c->lock);
	free(c->ring);
	free(c->id);
	free(c);
	return NULL;
}

const char *char_id(const struct char_end *c)
{
	return c->id;
}

static void set_focus(struct char_end *c, struct char_front *front)
{
	struct char_front *before = c->front;

	if (before == front)
		return;
	c->front = front;
	if (before && before->focused)
		before->focused(before, false);
	if (front && front->focused)
		front->focused(front, true);
	watch_in(c);
}

int char_attach(struct char_end *c, struct char_front *front, struct err *e)
{
	if (c->nr_fronts == (c->mux ? CHAR_FRONTS : 1))
		return err_set(e, EBUSY, "chardev %s has a device already; %s", c->id,
			       c->mux ? "it takes no more" : "give each its own, or say mux=on");
	c->fronts[c->nr_fronts++] = front;
	if (c->nr_fronts == 1)
		set_focus(c, front);
	return 0;
}

void char_detach(struct char_end *c, struct char_front *front)
{
	unsigned i = 0;

	while (i < c->nr_fronts && c->fronts[i] != front)
		i++;
	if (i == c->nr_fronts)
		return;
	memmove(c->fronts + i, c->fronts + i + 1,
		(c->nr_fronts - i - 1) * sizeof(struct char_front *));
	c->nr_fronts--;
	if (c->front == front)
		set_focus(c, c->nr_fronts ? c->fronts[0] : NULL);
}

void char_next_focus(struct char_end *c)
{
	for (unsigned i = 0; i < c->nr_fronts; i++) {
		if (c->fronts[i] == c->front) {
			set_focus(c, c->fronts[(i + 1) % c->nr_fronts]);
			return;
		}
	}
}

bool char_is_mux(const struct char_end *c)
{
	return c->mux;
}

bool char_front_open(const struct char_end *c)
{
	for (unsigned i = 0; i < c->nr_fronts; i++)
		if (!c->fronts[i]->in_use || c->fronts[i]->in_use(c->fronts[i]))
			return true;
	return false;
}

bool char_has_front(const struct char_end *c)
{
	return c->nr_fronts > 0;
}

char *char_describe(const struct char_end *c)
{
	return c->type->describe ? c->type->describe(c) : xstrdup(c->type->name);
}

void char_set_escape(struct char_end *c, struct char_escape *escape)
{
	c->escape = escape;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Character ends against sockets, ptys, pipes and files: bytes both ways, back-pressure both
 * ways, coming and going of the other side, the terminal's state, the keys behind Ctrl-A.
 */
#include "cmocka_all.h"

#include "base/clock.h"
#include "char/char.h"
#include "core/fdset.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

struct rig {
	struct loop *loop;
	struct vm_conf *conf;
	struct char_end *c;
	struct char_front front;
	struct char_escape escape;
	size_t room;
	uint8_t got[1 << 20];
	size_t got_len;
	unsigned writable, ups, downs, breaks, quits;
	char dir[32];
};

static size_t room(struct char_front *f)
{
	return container_of(f, struct rig, front)->room;
}

static void receive(struct char_front *f, const uint8_t *data, size_t len)
{
	struct rig *r = container_of(f, struct rig, front);

	assert_true(len <= r->room);
	assert_true(r->got_len + len <= sizeof(r->got));
	memcpy(r->got + r->got_len, data, len);
	r->got_len += len;
	r->room -= len;
}

static void writable(struct char_front *f)
{
	container_of(f, struct rig, front)->writable++;
}

static void connected(struct char_front *f, bool up)
{
	struct rig *r = container_of(f, struct rig, front);

	*(up ? &r->ups : &r->downs) += 1;
}

static void got_break(struct char_front *f)
{
	container_of(f, struct rig, front)->breaks++;
}

static void quit(struct char_escape *e)
{
	container_of(e, struct rig, escape)->quits++;
}

static int setup(void **state)
{
	struct rig *r = xnew(struct rig);
	struct err e;

	r->loop = loop_new(&e);
	r->conf = vm_conf_new();
	r->front = (struct char_front){ room, receive, writable, connected, got_break, NULL, NULL };
	r->escape.quit = quit;
	strcpy(r->dir, "/tmp/hanok-char-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	char_close(r->c);
	loop_free(r->loop);
	vm_conf_free(r->conf);
	rmdir(r->dir);
	free(r);
	return 0;
}

static struct conf_node *node_of(struct rig *r, const char *type, const char *const *kv)
{
	struct conf_node *n = conf_add(r->conf, CONF_CHARDEV, type, "c0", "-chardev");

	for (; kv && *kv; kv += 2)
		conf_set(n, kv[0], kv[1]);
	return n;
}

#define KV(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void open_end(struct rig *r, const char *type, const char *const *kv)
{
	struct err e = { 0 };

	r->c = char_open(r->loop, node_of(r, type, kv), &e);
	if (!r->c)
		fail_msg("%s", e.msg);
	assert_int_equal(char_attach(r->c, &r->front, &e), 0);
}

static void spin(struct rig *r)
{
	for (unsigned i = 0; i < 6; i++)
		loop_once(r->loop, i < 3 ? 2 : 0);
}

static char *path_in(struct rig *r, const char *name)
{
	return xasprintf("%s/%s", r->dir, name);
}

static int join(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(un.sun_path, path);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		close(fd);
		return -1;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

/* ---- null and file ---- */

static void null_end(void **state)
{
	struct rig *r = *state;
	struct char_front other = r->front;
	struct err e;

	open_end(r, "null", NULL);
	assert_int_equal(char_write(r->c, "abc", 3), 3);
	assert_true(char_is_up(r->c));
	assert_string_equal(char_id(r->c), "c0");
	assert_int_equal(char_attach(r->c, &other, &e), -EBUSY);
	char_detach(r->c, &other); /* not the one that is there */
	assert_int_equal(char_attach(r->c, &other, &e), -EBUSY);
	char_detach(r->c, &r->front);
	assert_false(char_has_front(r->c));
	assert_int_equal(char_attach(r->c, &other, &e), 0);
}

static void file_end(void **state)
{
	struct rig *r = *state;
	autofree char *out = path_in(r, "out"), *in = path_in(r, "in");
	char buf[32] = { 0 };
	int fd = open(in, O_WRONLY | O_CREAT, 0600);

	assert_int_equal(write(fd, "from the file", 13), 13);
	close(fd);
	open_end(r, "file", KV("path", out, "input-path", in));
	assert_int_equal(char_write(r->c, "line\n", 5), 5);
	r->room = 5;
	char_accept_input(r->c);
	spin(r);
	assert_int_equal(r->got_len, 5);
	r->room = 100;
	char_accept_input(r->c);
	spin(r);
	assert_int_equal(r->got_len, 13);
	assert_memory_equal(r->got, "from the file", 13);
	/* The end of the input does not end the output; closing flushes. */
	assert_int_equal(char_write(r->c, "more\n", 5), 5);
	r->c = char_close(r->c);
	fd = open(out, O_RDONLY);
	assert_int_equal(read(fd, buf, sizeof(buf)), 10);
	assert_string_equal(buf, "line\nmore\n");
	close(fd);
	open_end(r, "file", KV("path", out, "append", "on"));
	assert_int_equal(char_write(r->c, "!", 1), 1);
	r->c = char_close(r->c);
	fd = open(out, O_RDONLY);
	assert_int_equal(read(fd, buf, sizeof(buf)), 11);
	close(fd);
	unlink(in);
	unlink(out);
}

static void refusals(void **state)
{
	struct rig *r = *state;
	static const struct {
		const char *type, *kv[5], *word;
	} cases[] = {
		{ "telnet", { NULL }, "telnet" },
		{ "file", { NULL }, "path=" },
		{ "file", { "path", "/no/such/folder/x" }, "No such file" },
		{ "file", { "path", "/dev/null", "pathh", "x" }, "pathh" },
		{ "file", { "path", "/dev/null", "append", "maybe" }, "append" },
		{ "socket", { NULL }, "path=" },
		{ "socket", { "path", "/no/such/socket" }, "cannot connect" },
		{ "socket", { "path", "/no/such/folder/x", "server", "on" }, "cannot listen" },
		{ "socket", { "host", "localhost" }, "port=" },
		{ "socket", { "host", "no such", "port", "1" }, "at the start only" },
		{ "null", { "x", "y" }, "x" },
		{ "null", { "logfile", "/no/such/folder/x" }, "logfile" },
		{ "file", { "path", "/dev/fdset/3" }, "set 3" },
		{ "socket", { "fd", "1000", "server", "on" }, "no socket" },
		{ "socket", { "fd", "1" }, "outside" },
		{ "socket", { "fd", "9", "path", "/x" }, "or fd=" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = { 0 };

		if (char_open(r->loop, node_of(r, cases[i].type, cases[i].kv), &e))
			fail_msg("case %zu was accepted", i);
		if (!strstr(e.msg, cases[i].word))
			fail_msg("case %zu: '%s' lacks '%s'", i, e.msg, cases[i].word);
	}
}

/* ---- logs ---- */

static void expect_file(const char *path, const char *want)
{
	char buf[256] = { 0 };
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_true(read(fd, buf, sizeof(buf) - 1) >= 0);
	assert_string_equal(buf, want);
	close(fd);
}

/* A log has what nobody else took, and what others took as well; logappend keeps what was there. */
static void logfile(void **state)
{
	struct rig *r = *state;
	autofree char *log = path_in(r, "log"), *out = path_in(r, "out");

	open_end(r, "null", KV("logfile", log));
	assert_int_equal(char_write(r->c, "one\n", 4), 4);
	r->c = char_close(r->c);
	expect_file(log, "one\n");
	open_end(r, "file", KV("path", out, "logfile", log, "logappend", "on"));
	assert_int_equal(char_write(r->c, "two\n", 4), 4);
	r->c = char_close(r->c);
	expect_file(log, "one\ntwo\n");
	expect_file(out, "two\n");
	open_end(r, "null", KV("logfile", log));
	r->c = char_close(r->c);
	expect_file(log, "");
	unlink(log);
	unlink(out);
}

/* A log whose reader is slow holds the front back, and nothing is missing in it. */
static void slow_log(void **state)
{
	struct rig *r = *state;
	static uint8_t block[3000];
	size_t wrote = 0, got = 0;
	struct err e;
	int p[2];
	ssize_t n;

	assert_int_equal(pipe(p), 0);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	fcntl(p[1], F_SETPIPE_SZ, 4096);
	assert_int_equal(fdset_add_take(r->conf, 7, p[1], NULL, &e), 7);
	open_end(r, "null", KV("logfile", "/dev/fdset/7"));
	for (unsigned i = 0; i < 100; i++) {
		size_t taken = char_write(r->c, block, sizeof(block));

		wrote += taken;
		if (taken < sizeof(block))
			break;
	}
	assert_true(wrote < 100 * sizeof(block));
	assert_int_equal(r->writable, 0);
	while ((n = read(p[0], block, sizeof(block))) > 0)
		got += (size_t)n;
	assert_int_equal(got, wrote);
	while (!r->writable) /* the timer of the log */
		loop_once(r->loop, -1);
	assert_true(char_write(r->c, block, 100) == 100);
	r->c = char_close(r->c);
	close(p[0]);
}

/* ---- several fronts ---- */

struct second {
	struct char_front front;
	char got[32];
	unsigned focus, blur;
};

static size_t second_room(struct char_front *f)
{
	return sizeof(((struct second *)0)->got) - 1;
}

static void second_receive(struct char_front *f, const uint8_t *data, size_t len)
{
	strncat(container_of(f, struct second, front)->got, (const char *)data, len);
}

static void second_focused(struct char_front *f, bool has)
{
	struct second *s = container_of(f, struct second, front);

	*(has ? &s->focus : &s->blur) += 1;
}

static void muxed(void **state)
{
	struct rig *r = *state;
	autofree char *path = path_in(r, "sock");
	struct second s = { .front = { .room = second_room,
				       .receive = second_receive,
				       .focused = second_focused } };
	struct err e;
	char buf[64];
	int fd;

	open_end(r, "socket", KV("path", path, "server", "on", "wait", "off", "mux", "on"));
	assert_true(char_is_mux(r->c));
	char_set_escape(r->c, &r->escape);
	assert_int_equal(char_attach(r->c, &s.front, &e), 0);
	r->room = 100;
	fd = join(path);
	spin(r);
	assert_int_equal(write(fd, "ab\001ccd\001\001\001cef\001x", 14), 14);
	spin(r);
	assert_int_equal(r->got_len, 4);
	assert_memory_equal(r->got, "abef", 4);
	assert_string_equal(s.got, "cd\001");
	assert_int_equal(s.focus, 1);
	assert_int_equal(s.blur, 1);
	assert_int_equal(r->quits, 1);
	assert_int_equal(char_write(r->c, "out", 3), 3);
	spin(r);
	assert_int_equal(read(fd, buf, sizeof(buf)), 3);
	/* The focus goes to one that is there. */
	char_detach(r->c, &r->front);
	assert_int_equal(s.focus, 2);
	close(fd);
	spin(r);
	char_detach(r->c, &s.front);
}

/* ---- sockets ---- */

static void server_end(void **state)
{
	struct rig *r = *state;
	autofree char *path = path_in(r, "sock");
	struct stat st;
	char buf[16];
	int fd;

	open_end(r, "socket", KV("path", path, "server", "on", "wait", "off"));
	assert_false(char_is_up(r->c));
	assert_int_equal(char_write(r->c, "lost", 4), 4); /* nobody there */
	r->room = 100;
	for (unsigned round = 1; round <= 3; round++) {
		fd = join(path);
		assert_true(fd >= 0);
		spin(r);
		assert_int_equal(r->ups, round);
		assert_int_equal(char_write(r->c, "to", 2), 2);
		assert_int_equal(write(fd, "from", 4), 4);
		spin(r);
		assert_int_equal(read(fd, buf, sizeof(buf)), 2);
		assert_int_equal(r->got_len, 4 * round);
		close(fd);
		spin(r);
		assert_int_equal(r->downs, round);
	}
	r->c = char_close(r->c);
	assert_int_equal(stat(path, &st), -1); /* gone with its server */
}

/* As a management tool starts a VM: it listens, and has connected, before the VM is there. */
static void inherited_listener(void **state)
{
	struct rig *r = *state;
	autofree char *path = path_in(r, "sock"), *text = NULL, *said = NULL, *want = NULL;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), peer;
	struct stat st;

	strcpy(un.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, 1), 0);
	peer = join(path);
	assert_int_equal(write(peer, "early", 5), 5);
	text = xasprintf("%d", fd);
	r->room = 100;
	open_end(r, "socket", KV("fd", text, "server", "on", "wait", "off"));
	said = char_describe(r->c);
	want = xasprintf("disconnected:unix:%s,server=on", path);
	assert_string_equal(said, want);
	spin(r);
	assert_int_equal(r->got_len, 5);
	close(peer);
	spin(r);
	peer = join(path);
	assert_int_equal(write(peer, "again", 5), 5);
	spin(r);
	spin(r);
	assert_int_equal(r->got_len, 10);
	close(peer);
	r->c = char_close(r->c);
	assert_int_equal(stat(path, &st), 0); /* whoever made it removes it */
	assert_true(fcntl(fd, F_GETFD) < 0);
	unlink(path);
}

static void inherited_connected(void **state)
{
	struct rig *r = *state;
	autofree char *text = NULL;
	struct err e = { 0 };
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	text = xasprintf("%d", sv[1]);
	assert_null(char_open(
		r->loop, node_of(r, "socket", KV("fd", text, "server", "on", "wait", "off")), &e));
	assert_non_null(strstr(e.msg, "does not listen"));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	free(text);
	text = xasprintf("%d", sv[1]);
	r->room = 100;
	open_end(r, "socket", KV("fd", text));
	assert_int_equal(write(sv[0], "hi", 2), 2);
	spin(r);
	assert_int_equal(r->got_len, 2);
	close(sv[0]);
	spin(r);
	assert_int_equal(r->downs, 1);
}

/* A second peer waits until the first has left. */
static void one_peer_at_a_time(void **state)
{
	struct rig *r = *state;
	autofree char *path = path_in(r, "sock");
	int a, b;

	open_end(r, "socket", KV("path", path, "server", "on", "wait", "off"));
	r->room = 100;
	a = join(path);
	b = join(path);
	spin(r);
	assert_int_equal(r->ups, 1);
	assert_int_equal(write(b, "b", 1), 1);
	spin(r);
	assert_int_equal(r->got_len, 0);
	close(a);
	spin(r);
	spin(r);
	assert_int_equal(r->ups, 2);
	assert_int_equal(r->got_len, 1);
	close(b);
}

/* What was sent before the peer left arrives, whenever the front has room. */
static void last_words(void **state)
{
	struct rig *r = *state;
	autofree char *path = path_in(r, "sock");
	int fd;

	open_end(r, "socket", KV("path", path, "server", "on", "wait", "off"));
	fd = join(path);
	spin(r);
	assert_int_equal(write(fd, "bye", 3), 3);
	close(fd);
	spin(r);
	assert_int_equal(r->downs, 0);
	r->room = 2;
	char_accept_input(r->c);
	spin(r);
	assert_int_equal(r->got_len, 2);
	assert_int_equal(r->downs, 0);
	r->room = 9;
	char_accept_input(r->c);
	spin(r);
	assert_int_equal(r->got_len, 3);
	assert_int_equal(r->downs, 1);
	/* One that leaves without a word is noticed without room too. */
	r->room = 0;
	fd = join(path);
	spin(r);
	assert_int_equal(r->ups, 2);
	close(fd);
	spin(r);
	assert_int_equal(r->downs, 2);
}

static void backpressure(void **state)
{
	struct rig *r = *state;
	autofree char *path = path_in(r, "sock");
	static uint8_t block[100000];
	size_t taken = 0, got = 0, n;
	unsigned told;
	uint8_t buf[4096];
	ssize_t ret;
	int fd;

	open_end(r, "socket", KV("path", path, "server", "on", "wait", "off"));
	fd = join(path);
	spin(r);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i * 13 + (i >> 8));
	do { /* until socket and ring are full */
		n = char_write(r->c, block + taken % sizeof(block),
			       sizeof(block) - taken % sizeof(block));
		taken += n;
		spin(r);
	} while (n);
	told = r->writable;
	while (got < taken) {
		ret = read(fd, buf, sizeof(buf));
		if (ret < 0) {
			spin(r);
			continue;
		}
		assert_true(ret > 0);
		for (ssize_t i = 0; i < ret; i++, got++)
			assert_int_equal(buf[i], block[got % sizeof(block)]);
	}
	spin(r);
	assert_int_equal(r->writable, told + 1);
	assert_int_equal(char_write(r->c, "x", 1), 1);
	close(fd);
}

/* Nobody is told of room in vain when the peer leaves a full ring behind. */
static void leaves_full(void **state)
{
	struct rig *r = *state;
	autofree char *path = path_in(r, "sock");
	static uint8_t block[65536];
	int fd;

	open_end(r, "socket", KV("path", path, "server", "on", "wait", "off"));
	fd = join(path);
	spin(r);
	while (char_write(r->c, block, sizeof(block)))
		spin(r);
	close(fd);
	spin(r);
	assert_int_equal(r->downs, 1);
	assert_int_equal(r->writable, 1);
	assert_int_equal(char_write(r->c, block, 100), 100); /* dropped, not stuck */
}

static void client_end(void **state)
{
	struct rig *r = *state;
	autofree char *path = path_in(r, "sock");
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd;
	uint64_t end;

	strcpy(un.sun_path, path);
	/* Nobody listens yet: it tries again. */
	open_end(r, "socket", KV("path", path, "reconnect-ms", "20"));
	spin(r);
	assert_int_equal(r->ups, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(listener, 1), 0);
	for (end = clock_now_ns() + 2 * NS_PER_SEC; !r->ups && clock_now_ns() < end;)
		loop_once(r->loop, 10);
	assert_int_equal(r->ups, 1);
	fd = accept(listener, NULL, NULL);
	close(fd);
	r->room = 10;
	char_accept_input(r->c);
	for (end = clock_now_ns() + 2 * NS_PER_SEC; r->ups < 2 && clock_now_ns() < end;)
		loop_once(r->loop, 10);
	assert_int_equal(r->ups, 2);
	close(listener);
	unlink(path);
}

static void *join_later(void *arg)
{
	int fd;

	usleep(50000);
	fd = join(arg);
	return (void *)(intptr_t)fd;
}

static void server_waits(void **state)
{
	struct rig *r = *state;
	autofree char *path = path_in(r, "sock");
	pthread_t thread;
	void *fd;

	pthread_create(&thread, NULL, join_later, path);
	open_end(r, "socket", KV("path", path, "server", "on"));
	assert_true(char_is_up(r->c));
	pthread_join(thread, &fd);
	close((int)(intptr_t)fd);
}

/* A signal that ends hanok waits for the loop, which does not run yet: it ends the waiting. */
static void server_waits_until_signal(void **state)
{
	struct rig *r = *state;
	autofree char *path = path_in(r, "sock");
	struct err e = { 0 };
	sigset_t set, old;
	int got;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	assert_int_equal(kill(getpid(), SIGTERM), 0);
	assert_null(char_open(r->loop, node_of(r, "socket", KV("path", path, "server", "on")), &e));
	assert_non_null(strstr(e.msg, "ended by a signal"));
	assert_int_equal(sigwait(&set, &got), 0); /* still there for the loop */
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	assert_int_equal(access(path, F_OK), -1);
}

/* Nobody listens: an error at the start, unless told to try again. */
static void tcp_refused(void **state)
{
	struct rig *r = *state;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(in);
	struct err e = { 0 };
	char port[16];

	/* bound, so that nobody else gets it, but not listening */
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	snprintf(port, sizeof(port), "%u", ntohs(in.sin_port));
	assert_null(char_open(r->loop, node_of(r, "socket", KV("host", "127.0.0.1", "port", port)),
			      &e));
	assert_non_null(strstr(e.msg, port));
	assert_non_null(strstr(e.msg, "refused"));
	/* A name that has another address, where nobody ever listens, gets to the good one too. */
	open_end(r, "socket", KV("host", "localhost", "port", port, "reconnect-ms", "20"));
	assert_false(char_is_up(r->c));
	assert_int_equal(listen(fd, 1), 0);
	for (unsigned i = 0; i < 100 && !r->ups; i++)
		loop_once(r->loop, 20);
	assert_int_equal(r->ups, 1);
	close(fd);
}

static void tcp_ends(void **state)
{
	struct rig *r = *state, *other;
	char port[16];
	struct err e = { 0 };
	void *p;

	snprintf(port, sizeof(port), "%d", 20000 + getpid() % 20000);
	open_end(r, "socket", KV("host", "127.0.0.1", "port", port, "server", "on", "wait", "off"));
	setup(&p);
	other = p;
	other->c = char_open(r->loop,
			     node_of(other, "socket",
				     KV("host", "127.0.0.1", "port", port, "nodelay", "on")),
			     &e);
	assert_non_null(other->c);
	assert_int_equal(char_attach(other->c, &other->front, &e), 0);
	spin(r);
	r->room = 10;
	char_accept_input(r->c);
	assert_int_equal(char_write(other->c, "tcp", 3), 3);
	spin(r);
	spin(r);
	assert_int_equal(r->got_len, 3);
	other->c = char_close(other->c);
	teardown(&p);
}

static void limit_fds(rlim_t n)
{
	struct rlimit l;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &l), 0);
	l.rlim_cur = n;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
}

static unsigned rounds_for(struct rig *r, unsigned ms)
{
	uint64_t until = clock_now_ns() + ms * NS_PER_MS;
	unsigned n = 0;

	for (; clock_now_ns() < until && !r->ups; n++)
		loop_once(r->loop, 50);
	return n;
}

/* None for the connection, or one for it and none for its copy: the loop rests, and tries again. */
static void a_server_without_descriptors(void **state)
{
	struct rig *r = *state;
	autofree char *path = path_in(r, "few.sock");
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct rlimit before;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	open_end(r, "socket", KV("path", path, "server", "on", "wait", "off"));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (int spare = 0; spare < 2; spare++) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0), next = dup(fd);
		char byte;

		assert_int_equal(close(next), 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
		limit_fds((rlim_t)(next + spare));
		assert_true(rounds_for(r, 300) < 30);
		assert_int_equal(r->ups, 0);
		limit_fds(before.rlim_cur);
		if (spare) { /* that one was turned away */
			assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
			close(fd);
			fd = socket(AF_UNIX, SOCK_STREAM, 0);
			assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
		}
		rounds_for(r, 5000);
		assert_int_equal(r->ups, 1);
		close(fd);
		spin(r);
		assert_false(char_is_up(r->c));
		r->ups = 0;
	}
}

/* A socket file of a server that died is replaced; one that is served is not. */
static void stale_socket(void **state)
{
	struct rig *r = *state;
	autofree char *path = path_in(r, "sock");
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct err e;

	strcpy(un.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd);
	open_end(r, "socket", KV("path", path, "server", "on", "wait", "off"));
	assert_null(char_open(r->loop,
			      node_of(r, "socket", KV("path", path, "server", "on", "wait", "off")),
			      &e));
	fd = join(path);
	assert_true(fd >= 0);
	close(fd);
}

/* ---- writers on other threads ---- */

struct writer {
	struct rig *r;
	uint8_t tag;
};

static void *write_much(void *arg)
{
	struct writer *w = arg;
	uint8_t block[64];

	memset(block, w->tag, sizeof(block));
	for (unsigned i = 0; i < 2000; i++) {
		for (size_t done = 0; done < sizeof(block);)
			done += char_write(w->r->c, block + done, sizeof(block) - done);
	}
	return NULL;
}

static void many_writers(void **state)
{
	struct rig *r = *state;
	autofree char *path = path_in(r, "sock");
	struct writer w[3] = { { r, 1 }, { r, 2 }, { r, 3 } };
	size_t count[4] = { 0 }, all = 0;
	pthread_t thread[3];
	uint8_t buf[8192];
	int fd;

	open_end(r, "socket", KV("path", path, "server", "on", "wait", "off"));
	fd = join(path);
	spin(r);
	for (unsigned i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, write_much, &w[i]);
	while (all < 3 * 2000 * 64) {
		ssize_t n;

		loop_once(r->loop, 1);
		while ((n = read(fd, buf, sizeof(buf))) > 0) {
			for (ssize_t i = 0; i < n; i++)
				count[buf[i] & 3]++;
			all += (size_t)n;
		}
	}
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(count[i + 1], 2000 * 64);
	}
	close(fd);
}

/* ---- pty ---- */

static void pty_end(void **state)
{
	struct rig *r = *state;
	char line[160] = { 0 }, name[64], buf[16];
	int err_pipe[2], saved = dup(2), fd;
	uint64_t end;

	assert_int_equal(pipe(err_pipe), 0);
	fflush(stderr);
	dup2(err_pipe[1], 2);
	open_end(r, "pty", NULL);
	fflush(stderr);
	dup2(saved, 2);
	assert_true(read(err_pipe[0], line, sizeof(line) - 1) > 0);
	assert_int_equal(sscanf(line, "char device redirected to %63s (label c0)", name), 1);
	assert_false(char_is_up(r->c));
	assert_int_equal(char_write(r->c, "lost", 4), 4);
	fd = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
	assert_true(fd >= 0);
	for (end = clock_now_ns() + 2 * NS_PER_SEC; !r->ups && clock_now_ns() < end;)
		loop_once(r->loop, 10);
	assert_int_equal(r->ups, 1);
	r->room = 10;
	char_accept_input(r->c);
	assert_int_equal(write(fd, "in\n", 3), 3);
	assert_int_equal(char_write(r->c, "out\n", 4), 4);
	spin(r);
	assert_int_equal(r->got_len, 3);
	assert_memory_equal(r->got, "in\n", 3); /* raw: nothing is translated */
	assert_int_equal(read(fd, buf, sizeof(buf)), 4);
	assert_memory_equal(buf, "out\n", 4);
	close(fd);
	spin(r);
	assert_int_equal(r->downs, 1);
	close(err_pipe[0]);
	close(err_pipe[1]);
	close(saved);
}

/* ---- stdio ---- */

/* Runs fn with a pty as its standard input and output; the test holds the other side. */
static pid_t on_terminal(struct rig *r, int *master, void (*fn)(struct rig *))
{
	pid_t pid = forkpty(master, NULL, NULL, &(struct winsize){ 24, 80, 0, 0 });

	if (pid)
		return pid;
	alarm(20);
	fn(r);
	_exit(0);
}

static bool is_raw(int fd)
{
	struct termios t;

	return tcgetattr(fd, &t) == 0 && !(t.c_lflag & (ICANON | ECHO | ISIG));
}

static void wait_for(int fd, const char *text)
{
	char buf[4096] = { 0 };
	size_t n = 0;

	while (!strstr(buf, text)) {
		ssize_t ret = read(fd, buf + n, sizeof(buf) - 1 - n);

		if (ret <= 0)
			fail_msg("'%s' did not come; got '%s'", text, buf);
		n += (size_t)ret;
	}
}

static void session(struct rig *r)
{
	unsigned cols, rows;

	r->room = 1000;
	open_end(r, "stdio", NULL);
	char_set_escape(r->c, &r->escape);
	if (!is_raw(0) || !char_size(r->c, &cols, &rows) || cols != 80 || rows != 24)
		_exit(1);
	(void)char_write(r->c, "ready\n", 6);
	while (!r->quits)
		loop_once(r->loop, 100);
	if (r->got_len != 3 || memcmp(r->got, "a\1\3", 3) || r->breaks != 1)
		_exit(2);
	r->c = char_close(r->c);
	_exit(is_raw(0) ? 3 : 42);
}

static void terminal_keys(void **state)
{
	struct rig *r = *state;
	int master, status;
	pid_t pid = on_terminal(r, &master, session);

	wait_for(master, "ready");
	assert_int_equal(write(master, "a\1\1\1b\3\1h", 8), 8);
	wait_for(master, "Ctrl-A x");
	assert_int_equal(write(master, "\1zz\1x", 5), 5);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 2); /* the z behind "\1z" came too */
	close(master);
	pid = on_terminal(r, &master, session);
	wait_for(master, "ready");
	assert_int_equal(write(master, "a\1\1\1b\3\1x", 8), 8);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 42);
	close(master);
}

/* Stopped like a shell's job: the terminal is the shell's meanwhile, and ours again afterwards. */
static void terminal_job_control(void **state)
{
	struct rig *r = *state;
	int master, status;
	pid_t pid = on_terminal(r, &master, session);

	wait_for(master, "ready");
	assert_true(is_raw(master));
	assert_int_equal(kill(pid, SIGTSTP), 0);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	assert_false(is_raw(master));
	assert_int_equal(kill(pid, SIGCONT), 0);
	for (unsigned i = 0; i < 200 && !is_raw(master); i++)
		usleep(20000);
	assert_true(is_raw(master));
	assert_int_equal(write(master, "a\1\1\1b\3\1x", 8), 8);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 42);
	close(master);
}

static void restore_by_hand(struct rig *r)
{
	open_end(r, "stdio", NULL);
	if (!is_raw(0))
		_exit(1);
	char_restore_terminal();
	char_restore_terminal();
	_exit(is_raw(0) ? 2 : 42);
}

static void terminal_restored(void **state)
{
	struct rig *r = *state;
	int master, status;
	pid_t pid = on_terminal(r, &master, restore_by_hand);

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 42);
	close(master);
}

static void fail_at_start(struct rig *r)
{
	signal(SIGABRT, SIG_DFL); /* the test runner's handlers, which would stay */
	signal(SIGSEGV, SIG_DFL);
	char_guard_terminal();
	open_end(r, "stdio", NULL);
	(void)char_write(r->c, "ready", 5);
	loop_once(r->loop, 100);
	if (is_raw(0))
		raise(r->room ? SIGSEGV : SIGABRT);
	_exit(1);
}

/* A failed assertion or a stray pointer leaves no raw terminal behind. */
static void terminal_after_crash(void **state)
{
	struct rig *r = *state;
	int master, status;
	pid_t pid;

	for (r->room = 0; r->room < 2; r->room++) {
		pid = on_terminal(r, &master, fail_at_start);
		wait_for(master, "ready");
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), r->room ? SIGSEGV : SIGABRT);
		assert_false(is_raw(master));
		close(master);
	}
}

/* There is one standard input, terminal or not. */
static void stdio_once(void **state)
{
	struct rig *r = *state;
	struct err e = { 0 };

	open_end(r, "stdio", NULL);
	assert_null(char_open(r->loop, node_of(r, "stdio", NULL), &e));
	assert_non_null(strstr(e.msg, "in use"));
	r->c = char_close(r->c);
	open_end(r, "stdio", NULL);
}

/* On pipes: input ends, output goes on; Ctrl-A without an escape is a byte. */
static void on_pipes(struct rig *r)
{
	r->room = 1000;
	open_end(r, "stdio", NULL);
	for (unsigned i = 0; i < 50 && r->got_len < 3; i++)
		loop_once(r->loop, 20);
	if (r->got_len != 3 || memcmp(r->got, "\1xy", 3))
		_exit(1);
	(void)char_write(r->c, "still here", 10);
	r->c = char_close(r->c);
	_exit(42);
}

static void stdio_pipes(void **state)
{
	struct rig *r = *state;
	int in[2], out[2], status, flags;
	char buf[32] = { 0 };
	pid_t pid;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (!pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		on_pipes(r);
	}
	assert_int_equal(write(in[1], "\1xy", 3), 3);
	close(in[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 42);
	flags = fcntl(out[1], F_GETFL);
	assert_false(flags & O_NONBLOCK); /* what we share with others is as it was */
	close(out[1]);
	assert_int_equal(read(out[0], buf, sizeof(buf)), 10);
	assert_string_equal(buf, "still here");
	close(in[0]);
	close(out[0]);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(null_end),
		T(file_end),
		T(refusals),
		T(logfile),
		T(slow_log),
		T(muxed),
		T(server_end),
		T(inherited_listener),
		T(inherited_connected),
		T(one_peer_at_a_time),
		T(last_words),
		T(backpressure),
		T(leaves_full),
		T(client_end),
		T(server_waits),
		T(server_waits_until_signal),
		T(tcp_refused),
		T(tcp_ends),
		T(a_server_without_descriptors),
		T(stale_socket),
		T(many_writers),
		T(pty_end),
		T(terminal_keys),
		T(terminal_restored),
		T(terminal_job_control),
		T(terminal_after_crash),
		T(stdio_once),
		T(stdio_pipes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

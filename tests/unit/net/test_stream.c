/* SPDX-License-Identifier: Apache-2.0 */
/* Framing on a stream socket: both directions, in pieces of any size, with a full guest, a full
 * socket, nonsense and a peer that goes away. */
#include "base/base.h"

#include "frames.h"
#include "net/net_int.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct fix {
	struct loop *loop;
	struct net_end *end;
	int peer;
	struct test_nic nic;
};

static int setup(void **state)
{
	struct fix *f = xnew(struct fix);
	struct err e;
	int fds[2];

	f->loop = loop_new(&e);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	f->peer = fds[1];
	f->end = net_stream_new_take(f->loop, fds[0], &e);
	assert_non_null(f->end);
	test_nic_init(&f->nic);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	net_close(f->end);
	if (f->peer >= 0)
		close(f->peer);
	loop_free(f->loop);
	free(f);
	return 0;
}

static void attach(struct fix *f)
{
	struct err e;

	assert_int_equal(net_attach(f->end, &f->nic.nic, &e), 0);
}

static void spin(struct fix *f)
{
	for (int i = 0; i < 20; i++)
		loop_once(f->loop, 0);
}

static void put_frame(uint8_t *buf, size_t *len, size_t n, uint8_t fill)
{
	st_be32(buf + *len, (uint32_t)n);
	memset(buf + *len + 4, fill, n);
	*len += 4 + n;
}

static void test_byte_by_byte(void **state)
{
	struct fix *f = *state;
	uint8_t buf[512];
	size_t len = 0;

	attach(f);
	put_frame(buf, &len, 60, 1);
	put_frame(buf, &len, 5, 2); /* too short for Ethernet: dropped */
	put_frame(buf, &len, 0, 2);
	put_frame(buf, &len, 100, 3);
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(write(f->peer, buf + i, 1), 1);
		loop_once(f->loop, 10);
		assert_int_equal(f->nic.frames, i < 63 ? 0 : i < len - 1 ? 1 : 2);
	}
	assert_int_equal(f->nic.got_len, 100 + NET_HDR_LEN);
	for (unsigned i = 0; i < NET_HDR_LEN; i++)
		assert_int_equal(f->nic.got[i], 0);
	assert_int_equal(f->nic.got[NET_HDR_LEN + 99], 3);
}

static void test_burst(void **state)
{
	struct fix *f = *state;
	static uint8_t buf[200 * 64];
	size_t len = 0;

	for (unsigned i = 0; i < 200; i++)
		put_frame(buf, &len, 60, i);
	assert_int_equal(write(f->peer, buf, len), len);
	spin(f);
	assert_int_equal(f->nic.frames, 0); /* nobody there yet: it waits */
	attach(f);
	loop_once(f->loop, 0);
	assert_true(f->nic.frames <= 2 * NET_RX_BUDGET); /* others get their turn */
	spin(f);
	assert_int_equal(f->nic.frames, 200);
	assert_int_equal(f->nic.got[NET_HDR_LEN], 199);
}

static void test_guest_full(void **state)
{
	struct fix *f = *state;
	uint8_t buf[256];
	size_t len = 0;

	attach(f);
	f->nic.full = true;
	put_frame(buf, &len, 60, 1);
	put_frame(buf, &len, 60, 2);
	assert_int_equal(write(f->peer, buf, len), len);
	spin(f);
	assert_int_equal(f->nic.frames, 0);
	f->nic.full = false;
	spin(f);
	assert_int_equal(f->nic.frames, 0); /* not before it is told */
	net_rx_ready(f->end);
	spin(f);
	assert_int_equal(f->nic.frames, 2);
}

static void test_nonsense_length(void **state)
{
	struct fix *f = *state;
	uint8_t len[4];

	attach(f);
	st_be32(len, NET_MAX_FRAME);
	assert_int_equal(write(f->peer, len, 4), 4);
	spin(f);
	assert_int_equal(f->nic.downs, 1);
	assert_false(net_link_up(f->end));
	assert_int_equal(net_send(f->end, &(struct iovec){ f->nic.got, 100 }, 1), -ENETDOWN);
}

static void test_peer_gone(void **state)
{
	struct fix *f = *state;

	attach(f);
	f->nic.full = true;
	close(f->peer);
	f->peer = -1;
	spin(f);
	assert_int_equal(f->nic.downs, 1);
}

static void test_largest(void **state)
{
	struct fix *f = *state;
	static uint8_t buf[2 * (NET_MAX_FRAME + 4)];
	size_t len = 0, done = 0;

	attach(f);
	put_frame(buf, &len, NET_MAX_FRAME - NET_HDR_LEN, 1);
	put_frame(buf, &len, NET_MAX_FRAME - NET_HDR_LEN, 2);
	while (done < len) {
		ssize_t ret = send(f->peer, buf + done, len - done, MSG_DONTWAIT);

		if (ret > 0)
			done += ret;
		loop_once(f->loop, 0);
	}
	spin(f);
	assert_int_equal(f->nic.frames, 2);
	assert_int_equal(f->nic.got_len, NET_MAX_FRAME);
	assert_int_equal(f->nic.got[NET_MAX_FRAME - 1], 2);
}

static void test_send(void **state)
{
	struct fix *f = *state;
	uint8_t hdr[NET_HDR_LEN + 3], rest[97], got[128];
	struct iovec v[3] = { { hdr, 5 }, { hdr + 5, NET_HDR_LEN - 2 }, { rest, 97 } };

	memset(hdr, 0xff, NET_HDR_LEN);
	memset(hdr + NET_HDR_LEN, 7, 3);
	memset(rest, 8, 97);
	assert_int_equal(net_send(f->end, v, 3), 112);
	assert_int_equal(read(f->peer, got, sizeof(got)), 104);
	assert_int_equal(ld_be32(got), 100);
	assert_int_equal(got[4], 7);
	assert_int_equal(got[6], 7);
	assert_int_equal(got[7], 8);
	assert_int_equal(got[103], 8);
	assert_int_equal(net_send(f->end, v, 2), -EMSGSIZE); /* 3 bytes are no frame */
	assert_int_equal(net_send(f->end, v, 1), -EMSGSIZE);
}

/* A slow reader: no frame is lost or torn that net_send() has taken. */
static void test_send_backpressure(void **state)
{
	struct fix *f = *state;
	static uint8_t frame[NET_HDR_LEN + 1500], buf[4096];
	struct iovec v = { frame, sizeof(frame) };
	unsigned sent = 0, got = 0, fill = 0, again = 0;
	uint8_t now[1504];

	attach(f);
	while (got < 2000) {
		while (sent < 2000) {
			memset(frame + NET_HDR_LEN, sent & 0xff, 1500);
			if (net_send(f->end, &v, 1) == -EAGAIN) {
				again++;
				break;
			}
			sent++;
		}
		for (int round = 0; round < 30; round++) {
			ssize_t ret = recv(f->peer, buf, 1000 + (got & 63), MSG_DONTWAIT);

			for (ssize_t i = 0; i < ret; i++) {
				now[fill++] = buf[i];
				if (fill < sizeof(now))
					continue;
				assert_int_equal(ld_be32(now), 1500);
				assert_int_equal(now[4], got & 0xff);
				assert_int_equal(now[1503], got & 0xff);
				got++;
				fill = 0;
			}
		}
		loop_once(f->loop, 0);
	}
	assert_true(again > 0);
	assert_true(f->nic.writable > 0);
	assert_int_equal(sent, 2000);
}

static void test_attach(void **state)
{
	struct fix *f = *state;
	struct test_nic *other = xnew(struct test_nic);
	struct err e;

	attach(f);
	assert_int_equal(net_attach(f->end, &other->nic, &e), -EBUSY);
	assert_int_equal(net_attach(f->end, NULL, &e), 0);
	assert_int_equal(net_attach(f->end, &f->nic.nic, &e), 0);
	assert_int_equal(net_offloads(f->end), 0);
	assert_int_equal(net_set_offload(f->end, 0), 0);
	assert_int_equal(net_set_offload(f->end, NET_OFF_CSUM), -EINVAL);
	free(other);
}

/* ---- options ---- */

static void hostfwd(const char *text, const char *want, bool want_udp)
{
	char out[80];
	bool udp;
	struct err e;
	int ret = net_hostfwd_spec(text, "10.0.2.15", &udp, out, sizeof(out), &e);

	if (!want) {
		assert_int_equal(ret, -EINVAL);
		assert_non_null(strstr(e.msg, text));
		return;
	}
	assert_int_equal(ret, 0);
	assert_string_equal(out, want);
	assert_int_equal(udp, want_udp);
}

static void test_hostfwd(void **state)
{
	hostfwd("tcp::2222-:22", "2222:22", false);
	hostfwd("::2222-:22", "2222:22", false);
	hostfwd("udp::53-:5353", "53:5353", true);
	hostfwd("tcp:127.0.0.1:8080-10.0.2.15:80", "127.0.0.1/8080:80", false);
	hostfwd("tcp:127.0.0.1:8080-10.0.2.16:80", NULL, false);
	hostfwd("tcp::2222", NULL, false);
	hostfwd("tcp::2222-:", NULL, false);
	hostfwd("tcp::0-:22", NULL, false);
	hostfwd("tcp::65536-:22", NULL, false);
	hostfwd("tcp::22-:22x", NULL, false);
	hostfwd("tcp::-1-:22", NULL, false);
	hostfwd("icmp::22-:22", NULL, false);
	hostfwd("tcp:localhost:22-:22", NULL, false);
	hostfwd("tcp:1.2.3.4.5.6.7.8.9.10.11.12:22-:22", NULL, false);
	hostfwd("", NULL, false);
}

static int open_conf(struct fix *f, const char *type, const char *key, const char *val,
		     struct err *e)
{
	struct vm_conf *conf = vm_conf_new();
	struct conf_node *c = conf_add(conf, CONF_NETDEV, type, "n", "test");
	struct net_end *end;

	if (key)
		conf_set(c, key, val);
	end = net_open(f->loop, c, e);
	vm_conf_free(conf);
	net_close(end);
	return end ? 0 : -e->code;
}

static void test_bad_conf(void **state)
{
	struct fix *f = *state;
	struct err e;

	assert_int_equal(open_conf(f, "usr", NULL, NULL, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "'user'"));
	assert_int_equal(open_conf(f, "user", "net", "banana", &e), -EINVAL);
	assert_int_equal(open_conf(f, "user", "net", "10.0.0.0/31", &e), -EINVAL);
	assert_int_equal(open_conf(f, "user", "host", "10.9.9.9", &e), -EINVAL);
	assert_int_equal(open_conf(f, "user", "restrict", "on", &e), -ENOTSUP);
	assert_int_equal(open_conf(f, "user", "hostfwd", "x", &e), -EINVAL);
	assert_int_equal(open_conf(f, "user", "mtu", "1", &e), -EINVAL);
	assert_int_equal(open_conf(f, "user", "smb", "/", &e), -EINVAL);
	assert_int_equal(open_conf(f, "tap", "ifname", "a-name-that-is-too-long", &e), -EINVAL);
	assert_int_equal(open_conf(f, "tap", "fd", "0", &e) < 0, true);
	assert_int_equal(open_conf(f, "tap", "vhost", "on", &e), -ENOTSUP);
	assert_int_equal(open_conf(f, "tap", "queues", "4", &e), -EINVAL);
}

static void test_no_passt(void **state)
{
	struct fix *f = *state;
	autofree char *path = xstrdup(getenv("PATH") ?: "");
	struct err e;

	setenv("PATH", "/nonexistent", 1);
	assert_int_equal(open_conf(f, "user", NULL, NULL, &e), -ENOENT);
	setenv("PATH", path, 1);
	assert_non_null(strstr(e.msg, "apt install passt"));
}

static void test_run_program(void **state)
{
	const char *ok[] = { "true", NULL }, *bad[] = { "sh", "-c", "echo why >&2; exit 3", NULL };
	const char *fd[] = { "sh", "-c", "echo hello >&3", NULL };
	const char *loud[] = { "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do echo $i >&2; done",
			       NULL };
	char text[8], got[16];
	int fds[2];

	assert_int_equal(net_run_program(ok, -1, text, sizeof(text)), 0);
	assert_string_equal(text, "");
	assert_int_equal(net_run_program(bad, -1, text, sizeof(text)), -ECHILD);
	assert_string_equal(text, "why\n");
	assert_int_equal(net_run_program(loud, -1, text, sizeof(text)), 0);
	assert_string_equal(text, "\n7\n8\n9\n"); /* the end of it */
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(net_run_program(fd, fds[1], text, sizeof(text)), 0);
	assert_int_equal(read(fds[0], got, sizeof(got)), 6);
	assert_memory_equal(got, "hello\n", 6);
	close(fds[0]);
	close(fds[1]);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_byte_by_byte),
		T(test_burst),
		T(test_guest_full),
		T(test_nonsense_length),
		T(test_peer_gone),
		T(test_largest),
		T(test_send),
		T(test_send_backpressure),
		T(test_attach),
		T(test_bad_conf),
		T(test_no_passt),
		cmocka_unit_test(test_hostfwd),
		cmocka_unit_test(test_run_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

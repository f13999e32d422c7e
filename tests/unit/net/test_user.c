/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User networking with the real passt: ARP and DHCP, UDP and TCP to a server on the host, a port
 * forwarded to the guest; with the machine's network, and in an empty network namespace, where
 * passt finds no interface to imitate. Skipped where passt is not installed.
 */
#include "base/base.h"

#include "frames.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define GUEST	0x0a00020fu
#define GATEWAY 0x0a000202u

struct fix {
	struct loop *loop;
	struct net_end *end;
	struct test_nic nic;
	uint8_t gw_mac[6];
};

static bool have_passt(void)
{
	return system("command -v passt >/dev/null 2>&1") == 0;
}

static struct net_end *open_user(struct fix *f, const char *key, const char *val, struct err *e)
{
	struct vm_conf *conf = vm_conf_new();
	struct conf_node *c = conf_add(conf, CONF_NETDEV, "user", "n", "test");
	struct net_end *end;

	if (key)
		conf_set(c, key, val);
	end = net_open(f->loop, c, e);
	vm_conf_free(conf);
	return end;
}

static void fix_open(struct fix *f, const char *key, const char *val)
{
	struct err e = { 0 };

	memset(f, 0, sizeof(*f));
	f->loop = loop_new(&e);
	f->end = open_user(f, key, val, &e);
	if (!f->end)
		fail_msg("%s", e.msg);
	test_nic_init(&f->nic);
	assert_int_equal(net_attach(f->end, &f->nic.nic, &e), 0);
}

static void fix_close(struct fix *f)
{
	net_close(f->end);
	loop_free(f->loop);
}

static void send_frame(struct fix *f, uint8_t *frame, size_t len)
{
	struct iovec v = { frame, len };

	assert_int_equal(net_send(f->end, &v, 1), len);
}

/* Waits for a frame that match() likes. */
static bool await(struct fix *f, bool (*match)(struct test_nic *, const uint8_t *, size_t))
{
	f->nic.match = match;
	f->nic.got_len = 0;
	for (int i = 0; i < 100 && !f->nic.got_len; i++)
		loop_once(f->loop, 20);
	return f->nic.got_len;
}

static bool is_arp_reply(struct test_nic *t, const uint8_t *f, size_t len)
{
	f += NET_HDR_LEN;
	return len >= NET_HDR_LEN + 42 && ld_be16(f + 12) == 0x0806 && ld_be16(f + 20) == 2;
}

static bool is_dhcp_offer(struct test_nic *t, const uint8_t *f, size_t len)
{
	f += NET_HDR_LEN + 14;
	return len >= NET_HDR_LEN + 14 + 28 + 240 && f[9] == 17 && ld_be16(f + 22) == 68;
}

static bool is_udp(struct test_nic *t, const uint8_t *f, size_t len)
{
	f += NET_HDR_LEN + 14;
	return len > NET_HDR_LEN + 14 + 28 && f[9] == 17 && ld_be16(f + 22) == t->want;
}

static bool is_tcp(struct test_nic *t, const uint8_t *f, size_t len)
{
	f += NET_HDR_LEN + 14;
	return len >= NET_HDR_LEN + 14 + 40 && ld_be16(f - 2) == 0x0800 && f[9] == 6 &&
	       ld_be16(f + 22) == t->want;
}

static void do_arp(struct fix *f)
{
	uint8_t frame[2048];

	send_frame(f, frame, build_arp(frame, GATEWAY, GUEST));
	assert_true(await(f, is_arp_reply));
	assert_int_equal(ld_be32(f->nic.got + NET_HDR_LEN + 28), GATEWAY);
	memcpy(f->gw_mac, f->nic.got + NET_HDR_LEN + 22, 6);
}

static void do_dhcp(struct fix *f)
{
	uint8_t frame[2048], *bootp = f->nic.got + NET_HDR_LEN + 14 + 28;

	send_frame(f, frame, build_dhcp_discover(frame));
	assert_true(await(f, is_dhcp_offer));
	assert_int_equal(bootp[0], 2);
	assert_int_equal(ld_be32(bootp + 4), 0x12345678);
	assert_int_equal(ld_be32(bootp + 16), GUEST);
}

static int server(int type, uint16_t *port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (void *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(fd, (void *)&sa, &len), 0);
	*port = ntohs(sa.sin_port);
	return fd;
}

/* The guest's datagram to the gateway's address reaches the host, and the answer comes back. */
static void do_udp_echo(struct fix *f)
{
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	struct timeval patience = { .tv_sec = 3 };
	uint8_t frame[2048];
	char buf[64];
	uint16_t port;
	int fd = server(SOCK_DGRAM, &port);
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	send_frame(f, frame, build_udp(frame, f->gw_mac, GUEST, GATEWAY, 40000, port, "marco", 5));
	n = recvfrom(fd, buf, sizeof(buf), 0, (void *)&from, &from_len);
	assert_int_equal(n, 5);
	assert_memory_equal(buf, "marco", 5);
	assert_int_equal(sendto(fd, "polo", 4, 0, (void *)&from, from_len), 4);
	f->nic.want = 40000;
	assert_true(await(f, is_udp));
	assert_memory_equal(f->nic.got + NET_HDR_LEN + 14 + 28, "polo", 4);
	close(fd);
}

static void do_tcp_connect(struct fix *f)
{
	uint8_t frame[2048], *tcp = f->nic.got + NET_HDR_LEN + 34;
	uint16_t port;
	int fd = server(SOCK_STREAM, &port);

	assert_int_equal(listen(fd, 1), 0);
	send_frame(f, frame, build_tcp_syn(frame, f->gw_mac, GUEST, GATEWAY, 40001, port));
	f->nic.want = 40001;
	assert_true(await(f, is_tcp));
	assert_int_equal(tcp[13] & 0x3f, 0x12); /* SYN, ACK */
	assert_int_equal(ld_be32(tcp + 8), 1001);
	close(fd);
}

static void whole_conversation(void)
{
	struct fix *f = xnew(struct fix);

	fix_open(f, NULL, NULL);
	do_arp(f);
	do_dhcp(f);
	do_udp_echo(f);
	do_tcp_connect(f);
	fix_close(f);
	free(f);
}

static void test_user(void **state)
{
	if (!have_passt())
		skip();
	whole_conversation();
}

static void lo_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	close(fd);
}

/* In a child: the test process keeps its network. */
static void test_user_without_network(void **state)
{
	int status;
	pid_t pid;

	if (!have_passt())
		skip();
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
			_exit(77);
		lo_up();
		whole_conversation();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

/* A port of the host, forwarded: a connection there arrives in the guest as a SYN. */
static void test_hostfwd(void **state)
{
	struct fix *f = xnew(struct fix);
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct fix other = { 0 };
	struct err e = { 0 };
	char spec[64];
	uint16_t port;
	int fd;

	if (!have_passt()) {
		free(f);
		skip();
	}
	close(server(SOCK_STREAM, &port)); /* a port that is free now */
	snprintf(spec, sizeof(spec), "tcp:127.0.0.1:%u-:22", port);
	fix_open(f, "hostfwd", spec);
	do_arp(f);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	sa.sin_port = htons(port);
	assert_int_equal(connect(fd, (void *)&sa, sizeof(sa)), -1);
	assert_int_equal(errno, EINPROGRESS);
	f->nic.want = 22;
	assert_true(await(f, is_tcp));
	assert_int_equal(f->nic.got[NET_HDR_LEN + 34 + 13] & 0x3f, 0x02);
	close(fd);

	other.loop = f->loop; /* the port is taken: a second one has to say so */
	other.end = open_user(&other, "hostfwd", spec, &e);
	assert_null(other.end);
	assert_non_null(strstr(e.msg, "passt did not start"));
	fix_close(f);
	free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_user),
		cmocka_unit_test(test_user_without_network),
		cmocka_unit_test(test_hostfwd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

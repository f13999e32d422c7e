/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real tap in a network namespace of the test's own: the host's kernel answers ARP and UDP that
 * the "guest" sends. Skipped where neither root nor user namespaces allow that.
 */
#include "base/base.h"

#include "frames.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HOST_IP	 0x0a090001u
#define GUEST_IP 0x0a090002u

struct fix {
	struct loop *loop;
	struct net_end *end;
	struct test_nic nic;
};

static struct net_end *open_tap(struct fix *f, const char *const *kv, struct err *e)
{
	struct vm_conf *conf = vm_conf_new();
	struct conf_node *c = conf_add(conf, CONF_NETDEV, "tap", "n", "test");
	struct net_end *end;

	for (; kv[0]; kv += 2)
		conf_set(c, kv[0], kv[1]);
	end = net_open(f->loop, c, e);
	vm_conf_free(conf);
	return end;
}

#define OPEN(f, ...) open_tap((f), (const char *const[]){ __VA_ARGS__, NULL }, &e)

static void host_up(const char *ifname)
{
	struct ifreq ifr = { 0 };
	struct sockaddr_in *sa = (void *)&ifr.ifr_addr;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strcpy(ifr.ifr_name, ifname);
	sa->sin_family = AF_INET;
	sa->sin_addr.s_addr = htonl(HOST_IP);
	assert_int_equal(ioctl(fd, SIOCSIFADDR, &ifr), 0);
	sa->sin_addr.s_addr = htonl(0xffffff00);
	assert_int_equal(ioctl(fd, SIOCSIFNETMASK, &ifr), 0);
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	close(fd);
}

static bool usable(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static int setup(void **state)
{
	struct fix *f = xnew(struct fix);
	struct err e;

	f->loop = loop_new(&e);
	test_nic_init(&f->nic);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	net_close(f->end);
	loop_free(f->loop);
	free(f);
	return 0;
}

static bool is_arp_reply(struct test_nic *t, const uint8_t *f, size_t len)
{
	return len >= NET_HDR_LEN + 42 && ld_be16(f + NET_HDR_LEN + 12) == 0x0806 &&
	       ld_be16(f + NET_HDR_LEN + 20) == 2;
}

static bool is_udp(struct test_nic *t, const uint8_t *f, size_t len)
{
	f += NET_HDR_LEN + 14;
	return len > NET_HDR_LEN + 42 && ld_be16(f - 2) == 0x0800 && f[9] == 17 &&
	       ld_be16(f + 22) == 4444;
}

static bool await(struct fix *f, bool (*match)(struct test_nic *, const uint8_t *, size_t))
{
	f->nic.match = match;
	f->nic.got_len = 0;
	for (int i = 0; i < 100 && !f->nic.got_len; i++)
		loop_once(f->loop, 20);
	return f->nic.got_len;
}

static void arp(struct fix *f)
{
	uint8_t frame[128];
	struct iovec v = { frame, build_arp(frame, HOST_IP, GUEST_IP) };

	assert_int_equal(net_send(f->end, &v, 1) > 0, true);
	assert_true(await(f, is_arp_reply));
	assert_int_equal(ld_be32(f->nic.got + NET_HDR_LEN + 28), HOST_IP);
}

static void attach_up(struct fix *f, const char *ifname)
{
	struct err e;

	assert_int_equal(net_attach(f->end, &f->nic.nic, &e), 0);
	host_up(ifname);
}

static void test_by_name(void **state)
{
	struct fix *f = *state;
	struct err e;

	f->end = OPEN(f, "ifname", "hktap0", "script", "no");
	assert_non_null(f->end);
	attach_up(f, "hktap0");
	arp(f);
}

/* Without the vnet header frames look the same to the NIC, and no offload is promised. */
static void test_no_header(void **state)
{
	struct fix *f = *state;
	struct err e;

	f->end = OPEN(f, "ifname", "hktap1", "vnet_hdr", "off");
	assert_non_null(f->end);
	assert_int_equal(net_offloads(f->end), 0);
	attach_up(f, "hktap1");
	arp(f);
}

static void test_by_fd(void **state)
{
	struct fix *f = *state;
	struct ifreq ifr = { .ifr_name = "hktap2",
			     .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR);
	struct err e;
	char num[16];

	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	snprintf(num, sizeof(num), "%d", fd);
	f->end = OPEN(f, "fd", num);
	assert_non_null(f->end);
	attach_up(f, "hktap2");
	arp(f);
}

static void udp_to_guest(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(4444),
				  .sin_addr.s_addr = htonl(GUEST_IP) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(sendto(fd, "hello", 5, 0, (void *)&sa, sizeof(sa)), 5);
	close(fd);
}

/*
 * With checksum offload taken the kernel leaves a checksum to us (NEEDS_CSUM in the header);
 * without, it is complete. The guest's ARP request made us known to the host before.
 */
static void test_offload(void **state)
{
	struct fix *f = *state;
	struct err e;

	f->end = OPEN(f, "ifname", "hktap3");
	assert_non_null(f->end);
	assert_true(net_offloads(f->end) & NET_OFF_CSUM);
	assert_true(net_offloads(f->end) & NET_OFF_TSO4);
	attach_up(f, "hktap3");
	arp(f);
	udp_to_guest();
	assert_true(await(f, is_udp));
	assert_int_equal(f->nic.got[0] & 1, 0);
	assert_int_equal(net_set_offload(f->end, NET_OFF_CSUM | NET_OFF_TSO4 | NET_OFF_TSO6), 0);
	udp_to_guest();
	assert_true(await(f, is_udp));
	assert_int_equal(f->nic.got[0] & 1, 1);
}

static void test_backpressure(void **state)
{
	struct fix *f = *state;
	struct err e;
	unsigned before;

	f->end = OPEN(f, "ifname", "hktap4");
	attach_up(f, "hktap4");
	arp(f);
	f->nic.full = true;
	for (int i = 0; i < 5; i++)
		udp_to_guest();
	for (int i = 0; i < 10; i++)
		loop_once(f->loop, 5);
	before = f->nic.frames;
	f->nic.full = false;
	net_rx_ready(f->end);
	assert_true(await(f, is_udp));
	for (int i = 0; i < 10; i++)
		loop_once(f->loop, 5);
	assert_true(f->nic.frames - before >= 5);
}

static void test_scripts(void **state)
{
	struct fix *f = *state;
	char path[] = "tap-script.XXXXXX", self[64];
	int fd = mkstemp(path);
	struct err e;

	assert_true(fd >= 0);
	assert_true(dprintf(fd, "#!/bin/sh\necho \"$1\" >> %s.log\n", path) > 0);
	assert_int_equal(fchmod(fd, 0700), 0);
	close(fd);
	snprintf(self, sizeof(self), "./%s", path);
	f->end = OPEN(f, "ifname", "hktap5", "script", self, "downscript", self);
	assert_non_null(f->end);
	f->end = net_close(f->end);
	assert_null(OPEN(f, "ifname", "hktap5", "script", "/bin/false"));
	assert_non_null(strstr(e.msg, "/bin/false"));
	snprintf(self, sizeof(self), "%s.log", path);
	fd = open(self, O_RDONLY);
	assert_int_equal(read(fd, self, 14), 14);
	assert_memory_equal(self, "hktap5\nhktap5\n", 14);
	close(fd);
	unlink(path);
	snprintf(self, sizeof(self), "%s.log", path);
	unlink(self);
}

static void test_refused(void **state)
{
	struct fix *f = *state;
	struct err e;

	f->end = OPEN(f, "ifname", "hktap6");
	assert_non_null(f->end);
	assert_null(OPEN(f, "ifname", "hktap6")); /* busy */
	assert_non_null(strstr(e.msg, "hktap6"));
	assert_null(OPEN(f, "ifname", "lo"));			   /* no tap */
	assert_null(OPEN(f, "ifname", "hktap7", "create", "off")); /* a typing error makes none */
	assert_non_null(strstr(e.msg, "there is no tap device 'hktap7'"));
	assert_int_equal(if_nametoindex("hktap7"), 0);
	assert_null(OPEN(f, "fd", "1", "ifname", "x"));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_by_name),      T(test_no_header), T(test_by_fd),	  T(test_offload),
		T(test_backpressure), T(test_scripts),	 T(test_refused),
	};

	if (!usable()) {
		printf("no right to make a network namespace and a tap: skipped\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface of the host: one read or write is one frame. With the kernel's vnet header
 * (always asked for) checksum and segmentation offloads reach the guest. Loop's thread.
 * Source: the kernel's Documentation/networking/tuntap.rst and <linux/if_tun.h>.
 */
#include "net/net_int.h"

#include "base/log.h"
#include "base/uapi.h"
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* #syscalls control vcpu io: ioctl(TUNSETOFFLOAD) */
/* #syscalls control: ioctl(TUNSETIFF) ioctl(TUNGETIFF) ioctl(TUNSETVNETHDRSZ) */

#define IOV_MAX_TX 64

struct net_tap {
	struct net_end end; /* first */
	struct loop_fd io;
	bool vnet_hdr, rx_blocked, tx_blocked;
	size_t rx_len; /* of a frame that the guest had no room for */
	char *downscript;
	char ifname[IFNAMSIZ];
	uint8_t *rx; /* NET_MAX_FRAME: header and frame */
};

static struct net_tap *tap_of(struct net_end *end)
{
	return container_of(end, struct net_tap, end);
}

static void set_events(struct net_tap *t)
{
	uint32_t want = 0;

	if (t->end.down)
		return;
	if (!t->rx_blocked && t->end.nic)
		want |= EPOLLIN;
	if (t->tx_blocked)
		want |= EPOLLOUT;
	if (want != t->io.events) {
		t->io.events = want;
		loop_mod(t->end.loop, &t->io);
	}
}

static void tap_lost(struct net_tap *t, int code)
{
	log_error("tap %s: %s; the guest's network is gone until a restart", t->ifname,
		  strerror(code));
	loop_del(t->end.loop, &t->io);
	net_end_down(&t->end);
}

/* Reads the next frame to rx. Its length with the header, 0 = none, or -errno. */
static ssize_t read_frame(struct net_tap *t)
{
	size_t skip = t->vnet_hdr ? 0 : NET_HDR_LEN;
	ssize_t ret = read(t->io.fd, t->rx + skip, NET_MAX_FRAME - skip);

	if (ret < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return ret + (ssize_t)skip;
}

static bool give(struct net_tap *t)
{
	struct iovec v = { t->rx, t->rx_len };

	if (t->rx_len <= NET_HDR_LEN)
		t->rx_len = 0;
	if (!t->rx_len)
		return true;
	if (!t->end.nic || !t->end.nic->receive(t->end.nic, &v, 1)) {
		t->rx_blocked = true;
		return false;
	}
	t->rx_len = 0;
	return true;
}

static void receive_some(struct net_tap *t)
{
	for (unsigned n = 0; n < NET_RX_BUDGET && give(t); n++) {
		ssize_t ret = read_frame(t);

		if (ret < 0)
			return tap_lost(t, (int)-ret);
		if (ret == 0)
			return;
		t->rx_len = ret;
	}
	if (t->rx_len && !t->rx_blocked)
		give(t);
}

static void tap_rx_resume(struct net_end *end)
{
	struct net_tap *t = tap_of(end);

	if (end->down)
		return;
	t->rx_blocked = false;
	give(t);
	set_events(t); /* the rest comes from the loop */
}

static ssize_t tap_send(struct net_end *end, const struct iovec *v, unsigned n)
{
	struct net_tap *t = tap_of(end);
	struct iovec out[IOV_MAX_TX];
	size_t skip = t->vnet_hdr ? 0 : NET_HDR_LEN;
	unsigned nout = 0;
	ssize_t ret;

	for (unsigned i = 0; i < n; i++) {
		size_t cut = MIN(skip, v[i].iov_len);

		skip -= cut;
		if (cut == v[i].iov_len)
			continue;
		if (nout == IOV_MAX_TX)
			return -EMSGSIZE;
		out[nout++] = (struct iovec){ (char *)v[i].iov_base + cut, v[i].iov_len - cut };
	}
	do
		ret = writev(t->io.fd, out, nout);
	while (ret < 0 && errno == EINTR);
	if (ret >= 0)
		return ret;
	ret = -errno;
	if (ret == -EAGAIN) {
		t->tx_blocked = true;
		set_events(t);
	}
	return ret;
}

static void on_ready(struct loop_fd *io, uint32_t ready)
{
	struct net_tap *t = container_of(io, struct net_tap, io);

	if ((ready & EPOLLOUT) && t->tx_blocked) {
		t->tx_blocked = false;
		if (t->end.nic && t->end.nic->writable)
			t->end.nic->writable(t->end.nic);
	}
	if (ready & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
		if (t->rx_blocked && (ready & (EPOLLERR | EPOLLHUP)))
			tap_lost(t, EIO);
		else if (!t->rx_blocked)
			receive_some(t);
	}
	set_events(t);
}

/* ---- offloads ---- */

static unsigned kernel_bits(uint32_t off)
{
	unsigned f = 0;

	if (off & NET_OFF_CSUM)
		f |= TUN_F_CSUM;
	if (off & NET_OFF_TSO4)
		f |= TUN_F_TSO4;
	if (off & NET_OFF_TSO6)
		f |= TUN_F_TSO6;
	if (off & NET_OFF_ECN)
		f |= TUN_F_TSO_ECN;
	if (off & NET_OFF_UFO)
		f |= TUN_F_UFO;
	if (off & NET_OFF_USO)
		f |= HK_TUN_F_USO4 | HK_TUN_F_USO6;
	return f;
}

static int tap_set_offload(struct net_end *end, uint32_t guest)
{
	/* The kernel knows segmentation only together with checksums. */
	unsigned f = guest & NET_OFF_CSUM ? kernel_bits(guest) : 0;

	if (!tap_of(end)->vnet_hdr)
		return 0;
	return ioctl(tap_of(end)->io.fd, TUNSETOFFLOAD, (unsigned long)f) < 0 ? -errno : 0;
}

static void probe_offloads(struct net_tap *t)
{
	static const uint32_t sets[] = {
		NET_OFF_CSUM | NET_OFF_TSO4 | NET_OFF_TSO6 | NET_OFF_ECN | NET_OFF_USO,
		NET_OFF_CSUM | NET_OFF_TSO4 | NET_OFF_TSO6 | NET_OFF_ECN,
		NET_OFF_CSUM,
	};

	if (!t->vnet_hdr)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(sets) && !t->end.offloads; i++)
		if (tap_set_offload(&t->end, sets[i]) == 0)
			t->end.offloads = sets[i];
	tap_set_offload(&t->end, 0); /* until a driver says what it takes */
}

/* ---- opening ---- */

static void tap_close(struct net_end *end)
{
	struct net_tap *t = tap_of(end);

	loop_del(end->loop, &t->io);
	if (t->downscript) {
		const char *argv[] = { t->downscript, t->ifname, NULL };
		char text[256];

		if (net_run_program(argv, -1, text, sizeof(text)) < 0)
			log_warn("tap %s: downscript %s failed", t->ifname, t->downscript);
	}
	if (t->io.fd >= 0)
		close(t->io.fd);
	free(t->downscript);
	free(t->rx);
	free(t);
}

static int open_by_name(struct net_tap *t, const char *name, bool vnet_hdr, struct err *e)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };

	if (name && strlen(name) >= IFNAMSIZ)
		return err_set(e, EINVAL, "ifname=%s is longer than %d characters", name,
			       IFNAMSIZ - 1);
	t->io.fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (t->io.fd < 0)
		return err_set_errno(e, errno,
				     "cannot open /dev/net/tun (is the module tun loaded?)");
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name ? name : "tap%d");
	if (vnet_hdr)
		ifr.ifr_flags |= IFF_VNET_HDR;
	if (ioctl(t->io.fd, TUNSETIFF, &ifr) < 0) {
		if (errno != EPERM)
			return err_set_errno(e, errno, "cannot use tap %s", ifr.ifr_name);
		return err_set(e, EPERM,
			       "no right to use tap %s: make it beforehand as root "
			       "(ip tuntap add dev %s mode tap user $USER; ip link set %s up)",
			       ifr.ifr_name, ifr.ifr_name, ifr.ifr_name);
	}
	t->vnet_hdr = vnet_hdr;
	memcpy(t->ifname, ifr.ifr_name, IFNAMSIZ);
	return 0;
}

static int check_fd(int fd, struct ifreq *ifr, struct err *e)
{
	if (ioctl(fd, TUNGETIFF, ifr) < 0)
		return err_set_errno(e, errno, "fd=%d is no tap", fd);
	if (!(ifr->ifr_flags & IFF_TAP) || !(ifr->ifr_flags & IFF_NO_PI))
		return err_set(e, EINVAL, "fd=%d: it must be a tap opened with IFF_NO_PI", fd);
	return 0;
}

int net_check_tap_fd(int fd, struct err *e)
{
	struct ifreq ifr = { 0 };

	return check_fd(fd, &ifr, e);
}

static int use_fd(struct net_tap *t, int fd, struct err *e)
{
	struct ifreq ifr = { 0 };
	int ret = check_fd(fd, &ifr, e);

	if (ret < 0)
		return ret;
	t->io.fd = fd;
	t->vnet_hdr = ifr.ifr_flags & IFF_VNET_HDR;
	memcpy(t->ifname, ifr.ifr_name, IFNAMSIZ - 1);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return err_set_errno(e, errno, "fd=%d", fd);
	return 0;
}

static int set_header(struct net_tap *t, struct err *e)
{
	int len = NET_HDR_LEN;

	if (t->vnet_hdr && ioctl(t->io.fd, TUNSETVNETHDRSZ, &len) < 0)
		return err_set_errno(e, errno, "tap %s: cannot set the header size", t->ifname);
	return 0;
}

static int run_script(struct net_tap *t, const char *script, struct err *e)
{
	const char *argv[] = { script, t->ifname, NULL };
	char text[256];
	int ret;

	if (!script || !*script || !strcmp(script, "no"))
		return 0;
	ret = net_run_program(argv, -1, text, sizeof(text));
	if (ret == -ECHILD)
		return err_set(e, ECHILD, "script %s failed for tap %s", script, t->ifname);
	return ret < 0 ? err_set_errno(e, -ret, "cannot run script %s", script) : 0;
}

static int refuse_unsupported(struct conf_node *c, struct err *e)
{
	uint64_t queues = 1;
	bool vhost = false;
	int ret = conf_get_u64(c, "queues", 1, 1, &queues, e);

	if (!ret)
		ret = conf_get_bool(c, "vhost", &vhost, e);
	if (!ret && vhost)
		ret = err_set(e, ENOTSUP, "vhost=on is not supported: leave it away");
	return ret;
}

/* TUNSETIFF makes an interface that is not there, when allowed to: a typing error would do. */
static int check_exists(const char *name, struct err *e)
{
	if (name && if_nametoindex(name))
		return 0;
	return err_set(e, ENODEV,
		       "there is no tap device '%s': make it as root first (ip tuntap add dev %s "
		       "mode tap user $USER; ip link set %s up)",
		       name ?: "", name ?: "tap0", name ?: "tap0");
}

static int tap_open(struct net_tap *t, struct conf_node *c, struct err *e)
{
	static const char *const known[] = { "ifname", "fd",	"script", "downscript", "vnet_hdr",
					     "queues", "vhost", "create", NULL };
	const char *name = conf_get(c, "ifname"), *script = conf_get(c, "script");
	const char *down = conf_get(c, "downscript");
	bool vnet_hdr = true, create = true, by_fd = conf_get(c, "fd") != NULL;
	uint64_t fd = 0;
	int ret = conf_get_u64(c, "fd", 0, INT32_MAX, &fd, e);

	if (!ret)
		ret = conf_get_bool(c, "vnet_hdr", &vnet_hdr, e);
	if (!ret)
		ret = conf_get_bool(c, "create", &create, e);
	if (!ret)
		ret = refuse_unsupported(c, e);
	if (!ret)
		ret = conf_check_unused(c, known, e);
	if (!ret && by_fd && (name || script || down))
		ret = err_set(e, EINVAL, "ifname=, script= and downscript= do not go with fd=");
	if (!ret && !create && !by_fd)
		ret = check_exists(name, e);
	if (!ret)
		ret = by_fd ? use_fd(t, (int)fd, e) : open_by_name(t, name, vnet_hdr, e);
	if (!ret)
		ret = set_header(t, e);
	if (!ret)
		ret = run_script(t, script, e);
	if (ret < 0)
		return ret;
	if (down && *down && strcmp(down, "no") != 0)
		t->downscript = xstrdup(down);
	probe_offloads(t);
	return loop_add(t->end.loop, &t->io, e);
}

struct net_end *net_tap_open(struct loop *loop, struct conf_node *c, struct err *e)
{
	static const struct net_ops ops = {
		.send = tap_send,
		.rx_resume = tap_rx_resume,
		.set_offload = tap_set_offload,
		.close = tap_close,
	};
	struct net_tap *t = xnew(struct net_tap);

	net_end_init(&t->end, &ops, loop);
	t->rx = xnew_n(uint8_t, NET_MAX_FRAME);
	t->io.fd = -1;
	t->io.fn = on_ready;
	if (tap_open(t, c, e) < 0) {
		tap_close(&t->end);
		return NULL;
	}
	return &t->end;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User networking: starts passt (a process of its own, confined by itself) and speaks to it on a
 * socket pair. passt answers ARP and DHCP and maps the guest's TCP, UDP and pings to sockets of
 * the host; it ends when our side of the socket is closed. It is never restarted.
 *
 * The guest sees what QEMU's user network shows: 10.0.2.15/24, gateway 10.0.2.2, which is also the
 * host's loopback, name service at 10.0.2.3. Control thread, start-up only.
 */
#include "net/net_int.h"

#include <arpa/inet.h>
#include <net/route.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FORWARDS 64
#define MAX_ARGS     (24 + 2 * MAX_FORWARDS)

struct user_conf {
	char guest[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN], dns[INET_ADDRSTRLEN];
	char bits[4], mtu[8];
	bool ipv6;
	unsigned nfwd;
	struct {
		bool udp;
		char spec[80];
	} fwd[MAX_FORWARDS];
};

static const char *const known[] = {
	"net", "host", "dhcpstart", "dns", "ipv4", "ipv6", "hostfwd", "mtu", "restrict", NULL,
};

/* Is there a default route? Without one passt finds no interface to take as a template. */
static bool have_default_route(void)
{
	FILE *f = fopen("/proc/net/route", "re");
	char line[256];
	bool found = false;

	if (!f)
		return true; /* let passt find out */
	while (!found && fgets(line, sizeof(line), f)) {
		char *p = line +
			  strcspn(line, "\t "); /* behind the name; the heading has no number */
		unsigned long dest = strtoul(p, &p, 16);
		unsigned long gateway UNUSED = strtoul(p, &p, 16), flags = strtoul(p, &p, 16);

		found = dest == 0 && (flags & RTF_UP);
	}
	fclose(f);
	return found;
}

/* ---- options ---- */

static int bad(struct err *e, const char *key, const char *val, const char *want)
{
	return err_set(e, EINVAL, "%s=%s is not valid: %s", key, val, want);
}

static void put_addr(char out[INET_ADDRSTRLEN], uint32_t addr)
{
	struct in_addr in = { htonl(addr) };

	inet_ntop(AF_INET, &in, out, INET_ADDRSTRLEN);
}

/* An address of the guest's network, given in full. */
static int get_addr(struct conf_node *c, const char *key, uint32_t base, uint32_t mask,
		    char out[INET_ADDRSTRLEN], struct err *e)
{
	const char *val = conf_get(c, key);
	struct in_addr in;

	if (!val)
		return 0;
	if (inet_pton(AF_INET, val, &in) != 1)
		return bad(e, key, val, "an IPv4 address is wanted");
	if ((ntohl(in.s_addr) & mask) != base)
		return bad(e, key, val, "it is outside of the guest's network (net=)");
	put_addr(out, ntohl(in.s_addr));
	return 0;
}

/* "10.0.2.0/24"; the other addresses follow from it as they do in QEMU. */
static int get_net(struct conf_node *c, struct user_conf *u, uint32_t *base, uint32_t *mask,
		   struct err *e)
{
	const char *val = conf_get(c, "net");
	unsigned bits = 24;
	struct in_addr in;

	*base = 0x0a000200;
	if (val) {
		size_t len = strcspn(val, "/");
		char addr[INET_ADDRSTRLEN] = "", *end = (char *)val + len;

		if (*end) {
			const char *text = end + 1;

			bits = (unsigned)strtoul(text, &end, 10);
			if (end == text)
				bits = 0;
		}
		if (len < sizeof(addr))
			memcpy(addr, val, len);
		if (*end || bits < 8 || bits > 28 || inet_pton(AF_INET, addr, &in) != 1)
			return bad(e, "net", val,
				   "an IPv4 network such as 10.0.2.0/24 is wanted, "
				   "with 8 to 28 bits");
		*base = ntohl(in.s_addr);
	}
	*mask = ~0u << (32 - bits);
	*base &= *mask;
	snprintf(u->bits, sizeof(u->bits), "%u", bits);
	put_addr(u->gateway, *base + 2);
	put_addr(u->dns, *base + 3);
	put_addr(u->guest, *base + (bits == 28 ? 14 : 15));
	return 0;
}

static bool parse_port(const char *s, const char **end, unsigned *port)
{
	char *stop;
	unsigned long v = strtoul(s, &stop, 10);

	*end = stop;
	*port = (unsigned)v;
	return stop != s && *s >= '0' && *s <= '9' && v >= 1 && v <= 65535;
}

/* "[addr]:port" up to stop; addr empty when absent. */
static const char *parse_host_port(const char *s, char addr[INET_ADDRSTRLEN], unsigned *port)
{
	const char *colon = strchr(s, ':'), *end;
	size_t len = colon ? (size_t)(colon - s) : 0;
	struct in_addr in;

	if (!colon || len >= INET_ADDRSTRLEN)
		return NULL;
	memcpy(addr, s, len);
	addr[len] = '\0';
	if (len && inet_pton(AF_INET, addr, &in) != 1)
		return NULL;
	return parse_port(colon + 1, &end, port) ? end : NULL;
}

int net_hostfwd_spec(const char *text, const char *guest_addr, bool *udp, char *out, size_t size,
		     struct err *e)
{
	static const char want[] = "tcp:[host address]:port-[guest address]:port is wanted, "
				   "for example tcp::2222-:22";
	char host[INET_ADDRSTRLEN], guest[INET_ADDRSTRLEN];
	unsigned from, to;
	const char *p = text;

	*udp = !strncmp(p, "udp:", 4);
	if (*udp || !strncmp(p, "tcp:", 4))
		p += 4;
	else if (*p == ':')
		p++; /* QEMU: tcp is the default, the colon stays */
	else
		return bad(e, "hostfwd", text, want);
	p = parse_host_port(p, host, &from);
	if (!p || *p != '-')
		return bad(e, "hostfwd", text, want);
	p = parse_host_port(p + 1, guest, &to);
	if (!p || *p)
		return bad(e, "hostfwd", text, want);
	if (guest[0] && strcmp(guest, guest_addr) != 0 && strcmp(guest, "0.0.0.0") != 0)
		return err_set(e, EINVAL,
			       "hostfwd=%s: the guest's address is %s (dhcpstart= "
			       "changes it)",
			       text, guest_addr);
	snprintf(out, size, "%s%s%u:%u", host, host[0] ? "/" : "", from, to);
	return 0;
}

static int get_forwards(struct conf_node *c, struct user_conf *u, struct err *e)
{
	for (struct conf_kv *kv = c->kv; kv; kv = kv->next) {
		int ret;

		if (strcmp(kv->key, "hostfwd") != 0)
			continue;
		kv->used = true;
		if (u->nfwd == MAX_FORWARDS)
			return err_set(e, E2BIG, "more than %d hostfwd=", MAX_FORWARDS);
		ret = net_hostfwd_spec(kv->val, u->guest, &u->fwd[u->nfwd].udp,
				       u->fwd[u->nfwd].spec, sizeof(u->fwd[0].spec), e);
		if (ret < 0)
			return ret;
		u->nfwd++;
	}
	return 0;
}

static int get_conf(struct conf_node *c, struct user_conf *u, struct err *e)
{
	uint64_t mtu = 0;
	uint32_t base = 0, mask = 0;
	bool ipv4 = true, closed = false;
	int ret = get_net(c, u, &base, &mask, e);

	if (!ret)
		ret = get_addr(c, "host", base, mask, u->gateway, e);
	if (!ret)
		ret = get_addr(c, "dhcpstart", base, mask, u->guest, e);
	if (!ret)
		ret = get_addr(c, "dns", base, mask, u->dns, e);
	if (!ret)
		ret = get_forwards(c, u, e);
	if (!ret)
		ret = conf_get_u64(c, "mtu", 576, 65520, &mtu, e);
	if (!ret)
		ret = conf_get_bool(c, "ipv4", &ipv4, e);
	if (!ret)
		ret = conf_get_bool(c, "ipv6", &u->ipv6, e);
	if (!ret)
		ret = conf_get_bool(c, "restrict", &closed, e);
	if (!ret && !ipv4)
		ret = err_set(e, ENOTSUP, "ipv4=off is not supported");
	if (!ret && closed)
		ret = err_set(e, ENOTSUP,
			      "restrict=on is not supported: passt cannot keep a guest "
			      "off the host's network");
	if (!ret && mtu)
		snprintf(u->mtu, sizeof(u->mtu), "%u", (unsigned)mtu);
	return ret ? ret : conf_check_unused(c, known, e);
}

/* ---- starting ---- */

static void build_args(const struct user_conf *u, const char *argv[MAX_ARGS])
{
	unsigned n = 0;
	bool udp = false;

	/* The long forms where they say more; all are there in the passt of Debian 12. */
	argv[n++] = "passt";
	argv[n++] = "-q";
	argv[n++] = "--fd";
	argv[n++] = "3";
	argv[n++] = "-a";
	argv[n++] = u->guest;
	argv[n++] = "-n";
	argv[n++] = u->bits;
	argv[n++] = "-g";
	argv[n++] = u->gateway;
	argv[n++] = "--dns-forward";
	argv[n++] = u->dns;
	argv[n++] = "-M";
	argv[n++] = "52:55:0a:00:02:02";
	if (!u->ipv6)
		argv[n++] = "-4";
	if (u->mtu[0]) {
		argv[n++] = "-m";
		argv[n++] = u->mtu;
	}
	if (!have_default_route()) {
		argv[n++] = "-i";
		argv[n++] = "lo";
	}
	for (unsigned i = 0; i < u->nfwd; i++) {
		argv[n++] = u->fwd[i].udp ? "-u" : "-t";
		argv[n++] = u->fwd[i].spec;
		udp |= u->fwd[i].udp;
	}
	if (!udp) { /* else passt forwards the UDP ports of the same numbers, too */
		argv[n++] = "-u";
		argv[n++] = "none";
	}
	argv[n] = NULL;
}

/* Of what passt wrote: its last line that says something, in place. */
static const char *last_words(char *text)
{
	const char *best = "it gave no reason";

	for (char *line = strtok_r(text, "\n", &text); line; line = strtok_r(NULL, "\n", &text)) {
		while (*line == ' ')
			line++;
		for (char *p = line; *p; p++)
			if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
				*p = '?';
		if (*line && !strstr(line, "to syslog") && !strstr(line, "run as root"))
			best = line;
	}
	return best;
}

static int start_passt(const struct user_conf *u, int fd, struct err *e)
{
	const char *argv[MAX_ARGS];
	char text[512];
	int ret;

	build_args(u, argv);
	ret = net_run_program(argv, fd, text, sizeof(text));
	if (ret == -ENOENT)
		return err_set(e, ENOENT,
			       "user networking needs the program passt, which is not "
			       "installed: apt install passt");
	if (ret == -ECHILD)
		return err_set(e, ECHILD, "passt did not start: %s", last_words(text));
	if (ret < 0)
		return err_set_errno(e, -ret, "cannot run passt");
	return 0;
}

struct net_end *net_user_open(struct loop *loop, struct conf_node *c, struct err *e)
{
	struct user_conf *u = xnew(struct user_conf);
	autofree void *freed UNUSED = u;
	autoclose int mine = -1, theirs = -1;
	int fds[2];

	if (get_conf(c, u, e) < 0)
		return NULL;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		err_set_errno(e, errno, "cannot make a socket pair for passt");
		return NULL;
	}
	mine = fds[0];
	theirs = fds[1];
	if (start_passt(u, theirs, e) < 0)
		return NULL;
	return net_stream_new_take(loop, take_fd(&mine), e);
}

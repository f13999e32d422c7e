/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet frames on a stream socket, each behind its length in 4 bytes, big-endian: what passt
 * speaks, and QEMU's stream back end.
 *
 * Receiving: one buffer that holds at least one frame of the largest size; while the guest has no
 * room the socket is not read, so its own flow control holds the other side. Sending: a frame
 * that the socket takes only in part is kept, and the NIC waits until the rest is out.
 * Loop's thread.
 */
#include "net/net_int.h"

#include "base/bytes.h"
#include "base/log.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/* #syscalls control vcpu io: sendmsg recvmsg */

#define LEN_BYTES  4u
#define FRAME_MIN  14u /* an Ethernet header */
#define FRAME_MAX  (NET_MAX_FRAME - NET_HDR_LEN)
#define RX_SIZE	   KIB(128)
#define IOV_EXTRA  2 /* entries in front of the frame's own */
#define IOV_MAX_TX 64

struct net_stream {
	struct net_end end; /* first */
	struct loop_fd io;
	bool rx_blocked;
	size_t rx_head, rx_tail; /* of rx: read so far, filled so far */
	size_t tx_head, tx_tail; /* of tx: the rest of a frame under way */
	uint8_t *rx, tx[LEN_BYTES + FRAME_MAX];
};

static struct net_stream *stream_of(struct net_end *end)
{
	return container_of(end, struct net_stream, end);
}

static void set_events(struct net_stream *s)
{
	uint32_t want = 0;

	if (s->end.down)
		return;
	if (!s->rx_blocked && s->end.nic)
		want |= EPOLLIN;
	if (s->tx_head < s->tx_tail)
		want |= EPOLLOUT;
	if (want != s->io.events) {
		s->io.events = want;
		loop_mod(s->end.loop, &s->io);
	}
}

static void stream_lost(struct net_stream *s, const char *why)
{
	if (s->end.down)
		return;
	log_error("user networking ended: %s; the guest's network is gone until a restart", why);
	loop_del(s->end.loop, &s->io);
	s->tx_head = s->tx_tail = 0;
	net_end_down(&s->end);
}

/* ---- to the guest ---- */

/* Gives the frame at rx_head to the NIC. 1 = gone, 0 = not complete or no room, -1 = nonsense. */
static int deliver_one(struct net_stream *s)
{
	static const uint8_t no_offload[NET_HDR_LEN];
	size_t have = s->rx_tail - s->rx_head;
	struct iovec v[2];
	uint32_t len;

	if (have < LEN_BYTES)
		return 0;
	len = ld_be32(s->rx + s->rx_head);
	if (len > FRAME_MAX)
		return -1;
	if (have - LEN_BYTES < len)
		return 0;
	if (len >= FRAME_MIN) {
		v[0] = (struct iovec){ (void *)no_offload, NET_HDR_LEN };
		v[1] = (struct iovec){ s->rx + s->rx_head + LEN_BYTES, len };
		if (!s->end.nic || !s->end.nic->receive(s->end.nic, v, 2)) {
			s->rx_blocked = true;
			return 0;
		}
	}
	s->rx_head += LEN_BYTES + len;
	return 1;
}

static void deliver(struct net_stream *s)
{
	int ret = 1;

	for (unsigned n = 0; ret > 0 && n < NET_RX_BUDGET; n++)
		ret = deliver_one(s);
	if (ret > 0) /* budget used up: the rest in the next round */
		net_rx_ready(&s->end);
	if (ret < 0)
		stream_lost(s, "passt sent a frame of impossible length");
	if (s->rx_head == s->rx_tail)
		s->rx_head = s->rx_tail = 0;
}

static void make_room(struct net_stream *s)
{
	if (s->rx_head && RX_SIZE - s->rx_tail < LEN_BYTES + FRAME_MAX) {
		memmove(s->rx, s->rx + s->rx_head, s->rx_tail - s->rx_head);
		s->rx_tail -= s->rx_head;
		s->rx_head = 0;
	}
}

static void read_some(struct net_stream *s)
{
	ssize_t ret;

	make_room(s);
	if (s->rx_tail == RX_SIZE) /* whole frames wait in there */
		return deliver(s);
	ret = recv(s->io.fd, s->rx + s->rx_tail, RX_SIZE - s->rx_tail, MSG_DONTWAIT);
	if (ret < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (ret <= 0) {
		stream_lost(s, ret ? strerror(errno) : "passt has ended");
		return;
	}
	s->rx_tail += ret;
	deliver(s);
}

static void stream_rx_resume(struct net_end *end)
{
	struct net_stream *s = stream_of(end);

	if (end->down)
		return;
	s->rx_blocked = false;
	deliver(s);
	set_events(s);
}

/* ---- from the guest ---- */

static void flush_tx(struct net_stream *s)
{
	while (s->tx_head < s->tx_tail) {
		ssize_t ret = send(s->io.fd, s->tx + s->tx_head, s->tx_tail - s->tx_head,
				   MSG_DONTWAIT | MSG_NOSIGNAL);

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret < 0 && errno == EAGAIN)
			return;
		if (ret < 0)
			return stream_lost(s, strerror(errno));
		s->tx_head += ret;
	}
	s->tx_head = s->tx_tail = 0;
	if (s->end.nic && s->end.nic->writable)
		s->end.nic->writable(s->end.nic);
}

/* Keeps what the socket did not take: bytes from done on of length word and frame. */
static void keep_rest(struct net_stream *s, const struct iovec *v, unsigned n, size_t done)
{
	s->tx_head = s->tx_tail = 0;
	for (unsigned i = 0; i < n; i++) {
		size_t skip = MIN(done, v[i].iov_len);

		memcpy(s->tx + s->tx_tail, (char *)v[i].iov_base + skip, v[i].iov_len - skip);
		s->tx_tail += v[i].iov_len - skip;
		done -= skip;
	}
}

/* The frame without the offload header, behind out[0]. Its length, or -errno. */
static ssize_t frame_of(const struct iovec *v, unsigned n, struct iovec *out, unsigned *nout)
{
	size_t skip = NET_HDR_LEN, len = 0;

	*nout = 1;
	for (unsigned i = 0; i < n; i++) {
		size_t cut = MIN(skip, v[i].iov_len);

		skip -= cut;
		if (cut == v[i].iov_len)
			continue;
		if (*nout == IOV_MAX_TX)
			return -EMSGSIZE;
		out[*nout].iov_base = (char *)v[i].iov_base + cut;
		out[(*nout)++].iov_len = v[i].iov_len - cut;
		len += v[i].iov_len - cut;
	}
	return len < FRAME_MIN || len > FRAME_MAX ? -EMSGSIZE : (ssize_t)len;
}

static ssize_t stream_send(struct net_end *end, const struct iovec *v, unsigned n)
{
	struct net_stream *s = stream_of(end);
	struct iovec out[IOV_MAX_TX];
	struct msghdr msg = { .msg_iov = out };
	uint8_t len_be[LEN_BYTES];
	unsigned nout;
	ssize_t len = frame_of(v, n, out, &nout), ret;

	if (len < 0)
		return len;
	if (s->tx_head < s->tx_tail)
		return -EAGAIN;
	st_be32(len_be, (uint32_t)len);
	out[0] = (struct iovec){ len_be, LEN_BYTES };
	msg.msg_iovlen = nout;
	do
		ret = sendmsg(s->io.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (ret < 0 && errno == EINTR);
	if (ret < 0 && errno != EAGAIN) {
		ret = -errno;
		stream_lost(s, strerror((int)-ret));
		return ret;
	}
	if (ret < (ssize_t)(LEN_BYTES + len)) {
		keep_rest(s, out, nout, ret < 0 ? 0 : ret);
		set_events(s);
	}
	return len + NET_HDR_LEN;
}

/* ---- */

static void on_ready(struct loop_fd *io, uint32_t ready)
{
	struct net_stream *s = container_of(io, struct net_stream, io);

	if (ready & EPOLLOUT)
		flush_tx(s);
	if (!s->end.down && (ready & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
		if (s->rx_blocked && (ready & (EPOLLHUP | EPOLLERR)))
			stream_lost(s, "passt has ended");
		else if (!s->rx_blocked)
			read_some(s);
	}
	set_events(s);
}

static void stream_close(struct net_end *end)
{
	struct net_stream *s = stream_of(end);

	loop_del(end->loop, &s->io);
	close(s->io.fd);
	free(s->rx);
	free(s);
}

struct net_end *net_stream_new_take(struct loop *loop, int fd, struct err *e)
{
	static const struct net_ops ops = {
		.send = stream_send,
		.rx_resume = stream_rx_resume,
		.close = stream_close,
	};
	struct net_stream *s = xnew(struct net_stream);

	net_end_init(&s->end, &ops, loop);
	s->rx = xnew_n(uint8_t, RX_SIZE);
	s->io.fd = fd;
	s->io.fn = on_ready;
	s->io.events = 0; /* nothing before there is a NIC */
	if (loop_add(loop, &s->io, e) < 0) {
		stream_close(&s->end);
		return NULL;
	}
	return &s->end;
}

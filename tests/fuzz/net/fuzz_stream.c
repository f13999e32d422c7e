/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what comes in on a stream end: the input in pieces as its first byte says. Whatever it
 * is, frames that reach the NIC have a sensible length, and their sum is at most what came in.
 */
#include "base/base.h"

#include "base/log.h"
#include "net/net_int.h"
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sink {
	struct net_nic nic;
	size_t bytes;
	unsigned calls, refuse;
};

static bool receive(struct net_nic *nic, const struct iovec *v, unsigned n)
{
	struct sink *s = container_of(nic, struct sink, nic);
	size_t len = 0;

	if (s->refuse && ++s->calls % s->refuse == 0)
		return false;
	for (unsigned i = 0; i < n; i++)
		len += v[i].iov_len;
	assert(len >= NET_HDR_LEN + 14 && len <= NET_MAX_FRAME);
	s->bytes += len - NET_HDR_LEN + 4;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sink s = { .nic = { .receive = receive } };
	struct loop *loop;
	struct net_end *end;
	struct err e;
	size_t piece;
	int fds[2];

	if (size < 2 || size > 65536)
		return 0;
	log_set_level((enum log_level) - 1) /* below all */;
	piece = 1 + data[0] * 16u;
	s.refuse = data[1] % 8 == 1 ? 0 : data[1] % 8; /* never for ever */
	loop = loop_new(&e);
	if (!loop || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	end = net_stream_new_take(loop, fds[0], &e);
	if (net_attach(end, &s.nic, &e) < 0)
		abort();
	for (size_t at = 2; at < size && net_link_up(end);) {
		ssize_t ret =
			send(fds[1], data + at, MIN(piece, size - at), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (ret > 0)
			at += ret;
		loop_once(loop, 0);
		net_rx_ready(end);
	}
	for (int i = 0; i < 4; i++)
		loop_once(loop, 0);
	assert(s.bytes <= size);
	net_close(end);
	close(fds[1]);
	loop_free(loop);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio network device: frames from the guest. VIRTIO 1.2 section 5.1.6.2.
 *
 * The header is copied and checked once; the frame goes to the end straight from guest RAM. What
 * the end cannot take now goes back to the ring until it is writable again. A frame that breaks a
 * rule of its content is dropped, as a switch would. Loop's thread, under virtio_net.lock.
 */
#include "virtio/virtio_net.h"

#include "base/bytes.h"
#include "base/trace.h"

#define BUDGET	   256u /* frames before others have their turn */
#define MAX_PIECES 60u	/* more are put together first */
#define ETH_MIN	   14u

enum {
	H_FLAGS = 0,
	H_GSO = 1,
	H_HDR_LEN = 2,
	H_GSO_SIZE = 4,
	H_CSUM_START = 6,
	H_CSUM_OFF = 8,
	H_NUM = 10
};
enum { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_UDP = 3, GSO_TCPV6 = 4, GSO_UDP_L4 = 5, GSO_ECN = 0x80 };
#define F_NEEDS_CSUM 1u

/* May this driver ask for that segmentation? */
static bool gso_allowed(const struct virtio *v, uint8_t type)
{
	if ((type & GSO_ECN) && !virtio_has(v, VNET_F_HOST_ECN))
		return false;
	switch (type & ~GSO_ECN) {
	case GSO_TCPV4:
		return virtio_has(v, VNET_F_HOST_TSO4);
	case GSO_TCPV6:
		return virtio_has(v, VNET_F_HOST_TSO6);
	case GSO_UDP:
		return virtio_has(v, VNET_F_HOST_UFO);
	case GSO_UDP_L4:
		return virtio_has(v, VNET_F_HOST_USO);
	default:
		return false;
	}
}

/* Makes the header fit for the end; len is the frame's. False: drop it. */
static bool check_header(const struct virtio *v, uint8_t h[NET_HDR_LEN], uint64_t len)
{
	bool csum = h[H_FLAGS] & F_NEEDS_CSUM;

	st_le16(h + H_NUM, 0);
	h[H_FLAGS] &= F_NEEDS_CSUM;
	if (csum && (!virtio_has(v, VNET_F_CSUM) ||
		     (uint64_t)ld_le16(h + H_CSUM_START) + ld_le16(h + H_CSUM_OFF) + 2 > len))
		return false;
	if (h[H_GSO] == GSO_NONE) {
		if (!csum)
			memset(h, 0, NET_HDR_LEN);
		st_le16(h + H_GSO_SIZE, 0);
		return true;
	}
	return csum && gso_allowed(v, h[H_GSO]) && ld_le16(h + H_GSO_SIZE) &&
	       ld_le16(h + H_HDR_LEN) <= len;
}

/* The frame behind its header, to out[1..]; NULL out[0]. Number of entries, 0 = too many. */
static unsigned frame_pieces(const struct vq_chain *c, struct iovec *out)
{
	size_t skip = NET_HDR_LEN;
	unsigned n = 1;

	for (unsigned i = 0; i < c->out_n; i++) {
		size_t cut = MIN(skip, c->iov[i].iov_len);

		skip -= cut;
		if (cut == c->iov[i].iov_len)
			continue;
		if (n == MAX_PIECES)
			return 0;
		out[n++] =
			(struct iovec){ (char *)c->iov[i].iov_base + cut, c->iov[i].iov_len - cut };
	}
	return n;
}

/* Bytes sent, or -errno: only -EAGAIN means that the frame is still to be sent. */
static ssize_t send_chain(struct virtio_net *n, const struct vq_chain *c)
{
	struct iovec out[MAX_PIECES];
	uint8_t hdr[NET_HDR_LEN];
	uint64_t len = c->out_len - NET_HDR_LEN;
	unsigned pieces;

	if (len < ETH_MIN || c->out_len > NET_MAX_FRAME)
		return -EMSGSIZE;
	iov_to_buf(c->iov, c->out_n, 0, hdr, sizeof(hdr));
	if (!check_header(&n->v, hdr, len))
		return -EINVAL;
	pieces = frame_pieces(c, out);
	if (!pieces) {
		iov_to_buf(c->iov, c->out_n, NET_HDR_LEN, n->linear, len);
		out[1] = (struct iovec){ n->linear, len };
		pieces = 2;
	}
	out[0] = (struct iovec){ hdr, sizeof(hdr) };
	return net_send(n->end, out, pieces);
}

/* One frame. 1 = gone, 0 = nothing more to do now. */
static int transmit_one(struct virtio_net *n, struct vq *vq)
{
	struct vq_chain c = { .iov = n->scratch };
	ssize_t ret;

	if (vq_pop(vq, &c) <= 0)
		return 0;
	if (c.in_n || c.out_len < NET_HDR_LEN) {
		virtio_break(&n->v, "frame of %" PRIu64 " readable and %" PRIu64 " writable bytes",
			     c.out_len, c.in_len);
		return 0;
	}
	ret = send_chain(n, &c);
	trace_virtio_net_tx(n->v.dev->path, c.out_len - NET_HDR_LEN, ret);
	if (ret == -EAGAIN) {
		vq_unpop(vq, &c);
		n->tx_blocked = true;
		return 0;
	}
	vq_push(vq, &c, 0);
	return 1;
}

bool vnet_transmit(struct virtio_net *n)
{
	struct vq *vq = virtio_vq(&n->v, VNET_TX);
	unsigned sent = 0;

	if (!n->running || n->queue[VNET_TX].stopped || n->tx_blocked)
		return false;
	while (sent < BUDGET && transmit_one(n, vq))
		sent++;
	if (sent)
		vq_notify(vq);
	return sent == BUDGET;
}

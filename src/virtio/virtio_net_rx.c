/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio network device: frames for the guest. VIRTIO 1.2 section 5.1.6.4.
 *
 * A frame goes to one buffer, or with MRG_RXBUF to as many as it needs (up to VNET_RX_CHAINS).
 * Without buffers it stays at the end, which stops reading until the driver kicks. Loop's thread.
 */
#include "virtio/virtio_net.h"

#include "base/bytes.h"
#include "base/trace.h"

#define HDR_FLAGS	0u
#define HDR_GSO_TYPE	1u
#define HDR_NUM_BUFFERS 10u
#define F_NEEDS_CSUM	1u
#define F_DATA_VALID	2u
#define ETH_MIN		14u
#define ETH_VLAN	18u

/* Sums up what was written where, to be returned together. */
struct rx {
	struct virtio_net *n;
	struct vq *vq;
	unsigned chains, segs; /* taken */
	uint32_t wrote[VNET_RX_CHAINS];
	uint64_t room;
};

static void give_back(struct rx *rx)
{
	while (rx->chains)
		vq_unpop(rx->vq, &rx->n->rx_chain[--rx->chains]);
}

/* Takes one more buffer. 1, 0 = none, -1 = broken or too many. */
static int take_chain(struct rx *rx)
{
	struct vq_chain *c = &rx->n->rx_chain[rx->chains];
	int ret;

	if (rx->chains == VNET_RX_CHAINS || rx->segs > VQ_MAX_SEGS)
		return -1;
	*c = (struct vq_chain){ .iov = rx->n->rx_iov + rx->segs };
	ret = vq_pop(rx->vq, c);
	if (ret <= 0)
		return ret;
	if (c->out_n || c->in_len < (rx->chains ? 1 : NET_HDR_LEN)) {
		virtio_break(&rx->n->v, "receive buffer of %" PRIu64 " writable bytes", c->in_len);
		return -1;
	}
	rx->segs += c->in_n;
	rx->room += c->in_len;
	rx->chains++;
	return 1;
}

/* Enough buffers for len bytes. 1, 0 = none left, -1 = the frame cannot be delivered. */
static int take_buffers(struct rx *rx, uint64_t len)
{
	bool merge = virtio_has(&rx->n->v, VNET_F_MRG_RXBUF);
	int ret;

	do {
		ret = take_chain(rx);
		if (ret <= 0)
			return ret;
	} while (rx->room < len && merge);
	return rx->room >= len ? 1 : -1;
}

/* The header as this driver may see it. */
static void make_header(const struct virtio_net *n, uint8_t hdr[NET_HDR_LEN], unsigned buffers)
{
	if (!(n->guest_offloads & BIT64(VNET_F_GUEST_CSUM)))
		memset(hdr, 0, NET_HDR_LEN);
	hdr[HDR_FLAGS] &= F_NEEDS_CSUM | F_DATA_VALID;
	st_le16(hdr + HDR_NUM_BUFFERS, (uint16_t)buffers);
}

/* Spreads len bytes at p over the buffers, from byte `at` of all of them. */
static void spread(struct rx *rx, uint64_t at, const uint8_t *p, size_t len)
{
	uint64_t start = 0;

	for (unsigned i = 0; i < rx->chains && len; i++) {
		struct vq_chain *c = &rx->n->rx_chain[i];

		if (at < start + c->in_len) {
			size_t done = iov_from_buf(c->iov, c->in_n, at - start, p, len);

			rx->wrote[i] = (uint32_t)(at - start + done);
			at += done;
			p += done;
			len -= done;
		}
		start += c->in_len;
	}
}

static void put_frame(struct rx *rx, const struct iovec *v, unsigned nv)
{
	uint8_t hdr[NET_HDR_LEN];
	size_t skip = NET_HDR_LEN;
	uint64_t at = NET_HDR_LEN;

	iov_to_buf(v, nv, 0, hdr, sizeof(hdr));
	make_header(rx->n, hdr, rx->chains);
	spread(rx, 0, hdr, sizeof(hdr));
	for (unsigned i = 0; i < nv; i++) {
		size_t cut = MIN(skip, v[i].iov_len);

		spread(rx, at, (const uint8_t *)v[i].iov_base + cut, v[i].iov_len - cut);
		at += v[i].iov_len - cut;
		skip -= cut;
	}
	for (unsigned i = 0; i < rx->chains; i++)
		vq_push(rx->vq, &rx->n->rx_chain[i], rx->wrote[i]);
	vq_notify(rx->vq);
}

static bool deliver(struct virtio_net *n, const struct iovec *v, unsigned nv, uint64_t len)
{
	struct rx rx = { .n = n, .vq = virtio_vq(&n->v, VNET_RX) };
	int ret;

	if (!vq_enabled(rx.vq))
		return true;
	ret = take_buffers(&rx, len);
	if (ret > 0) {
		put_frame(&rx, v, nv);
		return true;
	}
	give_back(&rx);
	return ret < 0; /* lost: it fits nowhere */
}

bool vnet_receive(struct net_nic *nic, const struct iovec *v, unsigned nv)
{
	struct virtio_net *n = container_of(nic, struct virtio_net, nic);
	uint8_t eth[ETH_VLAN] = { 0 };
	uint64_t len = 0;
	bool taken = true;

	for (unsigned i = 0; i < nv; i++)
		len += v[i].iov_len;
	if (len < NET_HDR_LEN + ETH_MIN || len > NET_MAX_FRAME)
		return true;
	iov_to_buf(v, nv, NET_HDR_LEN, eth, sizeof(eth));
	pthread_mutex_lock(&n->lock);
	if (!n->running || n->queue[VNET_RX].stopped) /* no driver: lost; paused: kept */
		taken = !(__atomic_load_n(&n->v.status, __ATOMIC_ACQUIRE) & 4);
	else if (vnet_filter_wants(&n->filter, eth))
		taken = deliver(n, v, nv, len);
	trace_virtio_net_rx(n->v.dev->path, len - NET_HDR_LEN, taken);
	pthread_mutex_unlock(&n->lock);
	return taken;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network ends: a frame source and sink on the host (tap; user = a passt process) that a NIC
 * device is connected to. Frames carry a virtio-net header of NET_HDR_LEN bytes in front
 * (struct virtio_net_hdr_v1, VIRTIO 1.2 section 5.1.6), zeroed where the end has no offloads.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include "base/base.h"
#include "core/conf.h"
#include "loop/loop.h"
#include <sys/uio.h>

#define NET_HDR_LEN   12
#define NET_MAX_FRAME (65535 + 14 + 4 + NET_HDR_LEN)

/* Offloads an end can take from / give to the guest (bits for net_offload) */
#define NET_OFF_CSUM 1u /* partial checksums */
#define NET_OFF_TSO4 2u
#define NET_OFF_TSO6 4u
#define NET_OFF_ECN  8u
#define NET_OFF_UFO  16u
#define NET_OFF_USO  32u

struct net_end;

/* The NIC's side, called on the loop's thread. */
struct net_nic {
	/* A frame (header first) for the guest. False = no buffer: it is kept by the end, which
	 * stops reading until net_rx_ready(). */
	bool (*receive)(struct net_nic *, const struct iovec *, unsigned n);
	void (*link)(struct net_nic *, bool up);
	void (*writable)(struct net_nic *); /* net_send() works again after -EAGAIN */
};

/* Opens the end of node (CONF_NETDEV: tap, user). NULL with e set on failure. */
struct net_end *net_open(struct loop *, struct conf_node *node, struct err *e);
struct net_end *net_close(struct net_end *);
/* What the key fd= of a tap has to be; net_open() takes one that is, and leaves others open. */
int net_check_tap_fd(int fd, struct err *e) MUST_CHECK;
/* One NIC an end; NULL detaches. -EBUSY when taken. Loop's thread. */
int net_attach(struct net_end *, struct net_nic *, struct err *e);
/*
 * Sends one frame (header first). Bytes sent, or -EAGAIN (full: again after writable()), or -errno:
 * the frame is lost, as on a wire. Never half a frame. Loop's thread.
 */
ssize_t net_send(struct net_end *, const struct iovec *, unsigned n);
/* The guest has receive buffers (again). Any thread. */
void net_rx_ready(struct net_end *);
uint32_t net_offloads(const struct net_end *);	       /* what the end supports */
int net_set_offload(struct net_end *, uint32_t guest); /* what the guest can receive */
bool net_link_up(const struct net_end *);

#endif

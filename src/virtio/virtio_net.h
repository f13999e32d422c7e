/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio network device: what its files and its tests share. VIRTIO 1.2 section 5.1. */
#ifndef VIRTIO_VIRTIO_NET_H
#define VIRTIO_VIRTIO_NET_H

#include "net/net.h"
#include "virtio/virtio.h"

#define VNET_MAC_LEN	6
#define VNET_MAX_MACS	64 /* of the filter table, unicast and multicast together */
#define VNET_VLAN_WORDS 64 /* 4096 bits */
#define VNET_RX_CHAINS	64 /* buffers that one received frame may take */

enum { VNET_RX, VNET_TX, VNET_CTRL, VNET_QUEUES };

/* Feature bits, 5.1.3 */
enum {
	VNET_F_CSUM = 0,
	VNET_F_GUEST_CSUM = 1,
	VNET_F_CTRL_GUEST_OFFLOADS = 2,
	VNET_F_MTU = 3,
	VNET_F_MAC = 5,
	VNET_F_GUEST_TSO4 = 7,
	VNET_F_GUEST_TSO6 = 8,
	VNET_F_GUEST_ECN = 9,
	VNET_F_GUEST_UFO = 10,
	VNET_F_HOST_TSO4 = 11,
	VNET_F_HOST_TSO6 = 12,
	VNET_F_HOST_ECN = 13,
	VNET_F_HOST_UFO = 14,
	VNET_F_MRG_RXBUF = 15,
	VNET_F_STATUS = 16,
	VNET_F_CTRL_VQ = 17,
	VNET_F_CTRL_RX = 18,
	VNET_F_CTRL_VLAN = 19,
	VNET_F_CTRL_RX_EXTRA = 20,
	VNET_F_CTRL_MAC_ADDR = 23,
	VNET_F_GUEST_USO4 = 54,
	VNET_F_GUEST_USO6 = 55,
	VNET_F_HOST_USO = 56,
};

/* Configuration space, 5.1.4 */
enum {
	VNET_CFG_MAC = 0,
	VNET_CFG_STATUS = 6,
	VNET_CFG_PAIRS = 8,
	VNET_CFG_MTU = 10,
	VNET_CFG_LEN = 12
};
#define VNET_STATUS_LINK_UP 1u

/* What the driver wants to receive (virtio_net_ctrl.c). State. */
struct vnet_filter {
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	bool overflow_uni, overflow_multi; /* more addresses than fit: take all */
	bool vlan_on;
	uint8_t mac[VNET_MAC_LEN];
	uint8_t table[VNET_MAX_MACS * VNET_MAC_LEN];
	uint32_t nr_uni, nr_multi; /* unicast first */
	uint64_t vlan[VNET_VLAN_WORDS];
};

struct vnet_queue {
	struct virtio_net *n;
	struct loop_work work;
	bool stopped; /* by RING_RESET, until the next kick */
};

struct virtio_net {
	struct virtio v; /* first */
	/* properties */
	char *netdev, *mac_text;
	uint16_t rx_size, tx_size;
	uint16_t host_mtu;
	uint32_t bootindex;
	bool p_csum, p_guest_csum, p_tso, p_guest_tso, p_mrg_rxbuf, p_ctrl_vq, p_ctrl_rx,
		p_ctrl_vlan, p_ctrl_mac, p_status, p_mq;
	/* state */
	struct vnet_filter filter;
	uint64_t guest_offloads; /* feature bits in force: those negotiated, less by control */
	/* host */
	struct net_end *end;
	struct net_nic nic;
	struct vnet_queue queue[VNET_QUEUES];
	struct loop_work link_work;
	uint8_t own_mac[VNET_MAC_LEN];
	pthread_mutex_t lock; /* of the rings and the state; inside dev->lock */
	bool running, tx_blocked;
	struct iovec *scratch; /* VQ_MAX_SEGS: transmit and control */
	struct iovec *rx_iov;  /* 2 * VQ_MAX_SEGS: buffers of one received frame */
	struct vq_chain rx_chain[VNET_RX_CHAINS];
	uint8_t *linear; /* NET_MAX_FRAME: a frame in too many pieces */
};

/* virtio_net_rx.c. Loop's thread. False: no buffers. */
bool vnet_receive(struct net_nic *, const struct iovec *, unsigned);
/* virtio_net_tx.c. Takes what the ring has, up to a budget. True: there may be more. Lock held. */
bool vnet_transmit(struct virtio_net *);
/* virtio_net_ctrl.c. Lock and dev->lock held. */
bool vnet_control(struct virtio_net *);
void vnet_filter_reset(struct virtio_net *);
bool vnet_filter_wants(const struct vnet_filter *, const uint8_t eth[18]);
/* virtio_net.c: tells the end what guest_offloads says. */
void vnet_apply_offloads(struct virtio_net *);
/* Bits that CTRL_GUEST_OFFLOADS may switch, of those negotiated. */
uint64_t vnet_guest_offload_bits(const struct virtio_net *);

extern const struct state_desc vnet_filter_state;
extern const struct dev_type virtio_net_pci_type, virtio_net_mmio_type;

#endif

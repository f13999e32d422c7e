/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio network device between a driver and a network end. VIRTIO 1.2 section 5.1.
 *
 * One pair of queues and the control queue. Offloads are offered as far as the end has them.
 * Not modelled: several queue pairs, RSS, hash reports, announcements.
 *
 * Threads: kicks, on any vCPU thread, only post work; rings, control commands and the end are
 * served on the control loop. stop() takes the lock and so knows that nobody is in the rings.
 * Lock order: dev->lock, virtio_net.lock.
 *
 * State: the rings', the receive filter, the offloads in force.
 */
#include "virtio/virtio_net.h"
#include "virtio/virtio_dev.h"

#include "base/bytes.h"
#include "core/backend.h"
#include "core/vm.h"
#include <ctype.h>

#define CTRL_SIZE 64u /* entries of the control queue */

static struct virtio_net *net_of(struct virtio *v)
{
	return container_of(v, struct virtio_net, v);
}

/* ---- offloads ---- */

/* Feature bits of both directions and the end's offload they need. */
static const struct {
	uint8_t guest, host;
	uint32_t off;
} offload_map[] = {
	{ VNET_F_GUEST_TSO4, VNET_F_HOST_TSO4, NET_OFF_TSO4 },
	{ VNET_F_GUEST_TSO6, VNET_F_HOST_TSO6, NET_OFF_TSO6 },
	{ VNET_F_GUEST_ECN, VNET_F_HOST_ECN, NET_OFF_ECN },
	{ VNET_F_GUEST_UFO, VNET_F_HOST_UFO, NET_OFF_UFO },
	{ VNET_F_GUEST_USO4, VNET_F_HOST_USO, NET_OFF_USO },
	{ VNET_F_GUEST_USO6, VNET_F_HOST_USO, NET_OFF_USO },
};

static uint64_t offload_features(const struct virtio_net *n)
{
	uint32_t have = net_offloads(n->end);
	uint64_t f = 0;

	if (!(have & NET_OFF_CSUM))
		return 0;
	if (n->p_csum)
		f |= BIT64(VNET_F_CSUM);
	if (n->p_guest_csum)
		f |= BIT64(VNET_F_GUEST_CSUM) | BIT64(VNET_F_CTRL_GUEST_OFFLOADS);
	for (unsigned i = 0; i < ARRAY_SIZE(offload_map); i++) {
		if (!(have & offload_map[i].off))
			continue;
		if (n->p_csum && n->p_tso)
			f |= BIT64(offload_map[i].host);
		if (n->p_guest_csum && n->p_guest_tso)
			f |= BIT64(offload_map[i].guest);
	}
	return f;
}

uint64_t vnet_guest_offload_bits(const struct virtio_net *n)
{
	uint64_t bits = BIT64(VNET_F_GUEST_CSUM);

	for (unsigned i = 0; i < ARRAY_SIZE(offload_map); i++)
		bits |= BIT64(offload_map[i].guest);
	return n->v.features & bits;
}

void vnet_apply_offloads(struct virtio_net *n)
{
	uint64_t f = n->guest_offloads;
	uint32_t off = 0;

	if (f & BIT64(VNET_F_GUEST_CSUM))
		off |= NET_OFF_CSUM;
	for (unsigned i = 0; i < ARRAY_SIZE(offload_map); i++)
		if (f >> offload_map[i].guest & 1)
			off |= offload_map[i].off;
	/* Both halves or none: the end has one switch. */
	if (!(f >> VNET_F_GUEST_USO4 & f >> VNET_F_GUEST_USO6 & 1))
		off &= ~NET_OFF_USO;
	(void)net_set_offload(n->end, off & NET_OFF_CSUM ? off : 0);
}

/* ---- virtio's callbacks ---- */

static uint64_t features(struct virtio *v)
{
	const struct virtio_net *n = net_of(v);
	uint64_t f = BIT64(VNET_F_MAC) | offload_features(n);

	if (n->p_mrg_rxbuf)
		f |= BIT64(VNET_F_MRG_RXBUF);
	if (n->p_status)
		f |= BIT64(VNET_F_STATUS);
	if (n->host_mtu)
		f |= BIT64(VNET_F_MTU);
	if (!n->p_ctrl_vq)
		return f & ~BIT64(VNET_F_CTRL_GUEST_OFFLOADS);
	f |= BIT64(VNET_F_CTRL_VQ);
	if (n->p_ctrl_rx)
		f |= BIT64(VNET_F_CTRL_RX) | BIT64(VNET_F_CTRL_RX_EXTRA);
	if (n->p_ctrl_vlan)
		f |= BIT64(VNET_F_CTRL_VLAN);
	if (n->p_ctrl_mac)
		f |= BIT64(VNET_F_CTRL_MAC_ADDR);
	return f;
}

static int start(struct virtio *v, struct err *e)
{
	struct virtio_net *n = net_of(v);

	pthread_mutex_lock(&n->lock);
	n->running = true;
	n->tx_blocked = false;
	n->filter.vlan_on = virtio_has(v, VNET_F_CTRL_VLAN);
	n->guest_offloads &= vnet_guest_offload_bits(n);
	vnet_apply_offloads(n);
	for (unsigned i = 0; i < v->nr_vqs; i++)
		n->queue[i].stopped = false;
	pthread_mutex_unlock(&n->lock);
	for (unsigned i = 0; i < v->nr_vqs; i++)
		loop_post(v->vm->loop, &n->queue[i].work);
	return 0;
}

static void stop(struct virtio *v)
{
	struct virtio_net *n = net_of(v);

	pthread_mutex_lock(&n->lock);
	n->running = false;
	pthread_mutex_unlock(&n->lock);
}

/* A reset by the driver, not a pause: what the driver had set is gone. */
static uint16_t queue_size(const struct virtio *v, unsigned n)
{
	const struct virtio_net *s = container_of(v, const struct virtio_net, v);

	return n == VNET_RX ? s->rx_size : n == VNET_TX ? s->tx_size : CTRL_SIZE;
}

static void driver_reset(struct virtio *v)
{
	struct virtio_net *n = net_of(v);

	pthread_mutex_lock(&n->lock);
	vnet_filter_reset(n);
	n->guest_offloads = UINT64_MAX; /* start() leaves what was negotiated */
	pthread_mutex_unlock(&n->lock);
}

static void queue_reset(struct virtio *v, unsigned q)
{
	struct virtio_net *n = net_of(v);

	pthread_mutex_lock(&n->lock);
	n->queue[q].stopped = true;
	pthread_mutex_unlock(&n->lock);
}

static void kick(struct virtio *v, unsigned q)
{
	struct virtio_net *n = net_of(v);

	if (unlikely(n->queue[q].stopped)) {
		pthread_mutex_lock(&n->lock);
		n->queue[q].stopped = false;
		pthread_mutex_unlock(&n->lock);
	}
	loop_post(v->vm->loop, &n->queue[q].work);
}

static int net_init(struct virtio *, struct err *e);
static int net_plugged(struct virtio *, struct err *e);
static void net_unplug(struct virtio *);
static void net_fini(struct virtio *);

static const struct virtio_type net_virtio_type = {
	.name = "virtio-net",
	.id = 1,
	.pci_class = 0x020000,
	.init = net_init,
	.plugged = net_plugged,
	.unplug = net_unplug,
	.fini = net_fini,
	.features = features,
	.start = start,
	.stop = stop,
	.reset = driver_reset,
	.queue_size = queue_size,
	.kick = kick,
	.queue_reset = queue_reset,
};

/* ---- work on the loop ---- */

static void rx_work(struct loop_work *w)
{
	net_rx_ready(container_of(w, struct vnet_queue, work)->n->end);
}

static void tx_work(struct loop_work *w)
{
	struct virtio_net *n = container_of(w, struct vnet_queue, work)->n;
	bool more;

	pthread_mutex_lock(&n->lock);
	more = vnet_transmit(n);
	pthread_mutex_unlock(&n->lock);
	if (more)
		loop_post(n->v.vm->loop, w);
}

static void ctrl_work(struct loop_work *w)
{
	struct virtio_net *n = container_of(w, struct vnet_queue, work)->n;
	bool more;

	pthread_mutex_lock(&n->v.dev->lock); /* it may change the MAC in cfg[] */
	pthread_mutex_lock(&n->lock);
	more = vnet_control(n);
	pthread_mutex_unlock(&n->lock);
	pthread_mutex_unlock(&n->v.dev->lock);
	if (more)
		loop_post(n->v.vm->loop, w);
}

static void writable(struct net_nic *nic)
{
	struct virtio_net *n = container_of(nic, struct virtio_net, nic);

	pthread_mutex_lock(&n->lock);
	n->tx_blocked = false;
	pthread_mutex_unlock(&n->lock);
	loop_post(n->v.vm->loop, &n->queue[VNET_TX].work);
}

/* May come from inside net_send(), with the lock held: the rest follows by itself. */
static void link_changed(struct net_nic *nic, bool up)
{
	struct virtio_net *n = container_of(nic, struct virtio_net, nic);

	loop_post(n->v.vm->loop, &n->link_work);
}

static void link_work(struct loop_work *w)
{
	struct virtio_net *n = container_of(w, struct virtio_net, link_work);
	struct virtio *v = &n->v;

	pthread_mutex_lock(&n->v.dev->lock);
	st_le16(v->cfg + VNET_CFG_STATUS, net_link_up(n->end) ? VNET_STATUS_LINK_UP : 0);
	if (virtio_has(v, VNET_F_STATUS))
		virtio_cfg_changed(v);
	pthread_mutex_unlock(&n->v.dev->lock);
}

/* ---- making one ---- */

static int parse_mac(const char *text, uint8_t mac[VNET_MAC_LEN])
{
	for (unsigned i = 0; i < VNET_MAC_LEN; i++) {
		const char *p = text + 3 * i;

		if (!isxdigit((unsigned char)p[0]) || !isxdigit((unsigned char)p[1]) ||
		    p[2] != (i < VNET_MAC_LEN - 1 ? ':' : '\0'))
			return -EINVAL;
		mac[i] = (uint8_t)strtoul(p, NULL, 16);
	}
	return mac[0] & 1 ? -EINVAL : 0;
}

static bool mac_taken(const struct vm *vm, const uint8_t mac[VNET_MAC_LEN])
{
	for (struct dev *d = vm->devs; d; d = d->next) {
		struct virtio *v = virtio_of(d);

		if (v && v->type == &net_virtio_type &&
		    !memcmp(net_of(v)->own_mac, mac, VNET_MAC_LEN))
			return true;
	}
	return false;
}

/* 52:54:00:12:34:56 and up, as QEMU's users know it. */
static int choose_mac(struct virtio_net *n, struct err *e)
{
	static const uint8_t first[VNET_MAC_LEN] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
	uint8_t mac[VNET_MAC_LEN];

	if (n->mac_text && parse_mac(n->mac_text, n->own_mac) < 0)
		return err_set(e, EINVAL,
			       "mac=%s: a unicast address such as 52:54:00:12:34:56 is "
			       "wanted",
			       n->mac_text);
	if (n->mac_text)
		return 0;
	memcpy(mac, first, sizeof(mac));
	while (mac_taken(n->v.dev->vm, mac))
		mac[5]++; /* fewer devices than addresses */
	memcpy(n->own_mac, mac, sizeof(mac));
	/* Whoever asks for the property is told what it is. */
	n->mac_text = xasprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
				mac[4], mac[5]);
	return 0;
}

static int check_options(struct virtio_net *n, struct err *e)
{
	if (n->p_mq)
		return err_set(e, ENOTSUP, "mq=on is not supported");
	if (!is_pow2(n->rx_size) || !is_pow2(n->tx_size))
		return err_set(e, EINVAL,
			       "rx_queue_size and tx_queue_size are powers of "
			       "two");
	if (n->host_mtu && n->host_mtu < 68)
		return err_set(e, EINVAL, "host_mtu=%u is less than 68", n->host_mtu);
	return choose_mac(n, e);
}

static void set_up(struct virtio_net *n)
{
	static void (*const work[VNET_QUEUES])(struct loop_work *) = { rx_work, tx_work,
								       ctrl_work };

	n->scratch = xnew_n(struct iovec, VQ_MAX_SEGS);
	n->rx_iov = xnew_n(struct iovec, 2 * VQ_MAX_SEGS);
	n->linear = xnew_n(uint8_t, NET_MAX_FRAME);
	for (unsigned i = 0; i < VNET_QUEUES; i++)
		n->queue[i] = (struct vnet_queue){ .n = n, .work.fn = work[i] };
	n->link_work.fn = link_work;
	n->nic = (struct net_nic){ .receive = vnet_receive,
				   .link = link_changed,
				   .writable = writable };
}

static void fill_config(struct virtio_net *n)
{
	struct virtio *v = &n->v;

	st_le16(v->cfg + VNET_CFG_STATUS, net_link_up(n->end) ? VNET_STATUS_LINK_UP : 0);
	st_le16(v->cfg + VNET_CFG_PAIRS, 1);
	st_le16(v->cfg + VNET_CFG_MTU, n->host_mtu);
	v->cfg_len = VNET_CFG_LEN;
}

static int net_init(struct virtio *v, struct err *e)
{
	struct virtio_net *n = net_of(v);
	struct dev *d = v->dev;
	int ret;

	pthread_mutex_init(&n->lock, NULL);
	if (!n->netdev)
		return err_set(e, EINVAL, "%s: no network: say netdev=ID, with the id of a -netdev",
			       d->path);
	n->end = backend_claim(d->vm, BACKEND_NET, n->netdev, d->path, e);
	if (!n->end)
		return -e->code;
	ret = check_options(n, e);
	if (ret < 0)
		return err_prefix(e, "%s: ", d->path);
	set_up(n);
	fill_config(n);
	v->nr_vqs = n->p_ctrl_vq ? VNET_QUEUES : VNET_CTRL;
	v->vq_size = MAX(n->rx_size, n->tx_size); /* not less than CTRL_SIZE */
	driver_reset(v);
	return 0;
}

static int net_plugged(struct virtio *v, struct err *e)
{
	struct virtio_net *n = net_of(v);

	return net_attach(n->end, &n->nic, e);
}

static void net_unplug(struct virtio *v)
{
	struct virtio_net *n = net_of(v);

	if (n->end)
		net_attach(n->end, NULL, NULL);
}

static void net_fini(struct virtio *v)
{
	struct virtio_net *n = net_of(v);
	struct dev *d = v->dev;

	for (unsigned i = 0; i < VNET_QUEUES; i++)
		if (n->queue[i].n)
			loop_cancel(d->vm->loop, &n->queue[i].work);
	loop_cancel(d->vm->loop, &n->link_work);
	if (n->end)
		backend_release(d->vm, BACKEND_NET, n->netdev);
	free(n->scratch);
	free(n->rx_iov);
	free(n->linear);
	pthread_mutex_destroy(&n->lock);
}

#define NET_PROPS(type)                                                                            \
	PROP_STRING("netdev", type, x.netdev, NULL, "id of the -netdev"),                          \
		PROP_STRING("mac", type, x.mac_text, NULL, "default 52:54:00:12:34:56 and up"),    \
		PROP_UINT("rx_queue_size", type, x.rx_size, PROP_U16, 256, 64, VQ_MAX_SIZE,        \
			  "entries of the receive queue"),                                         \
		PROP_UINT("tx_queue_size", type, x.tx_size, PROP_U16, 256, 64, VQ_MAX_SIZE,        \
			  "entries of the transmit queue"),                                        \
		PROP_UINT("host_mtu", type, x.host_mtu, PROP_U16, 0, 0, 65535,                     \
			  "MTU to tell the guest; 0 = none"),                                      \
		PROP_FLAG("csum", type, x.p_csum, 1, "take frames without checksums"),             \
		PROP_FLAG("guest_csum", type, x.p_guest_csum, 1, "give frames without checksums"), \
		PROP_FLAG("gso", type, x.p_tso, 1, "take large segments"),                         \
		PROP_FLAG("guest_gso", type, x.p_guest_tso, 1, "give large segments"),             \
		PROP_FLAG("mrg_rxbuf", type, x.p_mrg_rxbuf, 1, "merge receive buffers"),           \
		PROP_FLAG("status", type, x.p_status, 1, "offer the link status"),                 \
		PROP_FLAG("ctrl_vq", type, x.p_ctrl_vq, 1, "offer the control queue"),             \
		PROP_FLAG("ctrl_rx", type, x.p_ctrl_rx, 1, "offer receive modes"),                 \
		PROP_FLAG("ctrl_vlan", type, x.p_ctrl_vlan, 1, "offer VLAN filtering"),            \
		PROP_FLAG("ctrl_mac_addr", type, x.p_ctrl_mac, 1, "let the guest set its MAC"),    \
		PROP_FLAG("mq", type, x.p_mq, 0, "several queue pairs: not there yet"),            \
		PROP_UINT("bootindex", type, x.bootindex, PROP_U32, UINT32_MAX, 0, UINT32_MAX,     \
			  "boot order for firmware; direct kernel boot does not look at it"),

/* Status and MTU are those of the end and configuration that are there now. */
static int net_post_load(void *obj, struct err *e)
{
	struct virtio_net *n = obj;

	fill_config(n);
	memcpy(n->v.cfg + VNET_CFG_MAC, n->filter.mac, VNET_MAC_LEN);
	return 0;
}

static const struct state_desc net_state = {
	.name = "virtio-net",
	.struct_name = "virtio_net",
	.version = 1,
	.post_load = net_post_load,
	.fields =
		(const struct state_field[]){
			ST_SUB(struct virtio_net, v, &virtio_state),
			ST_HOST(struct virtio_net, netdev),
			ST_HOST(struct virtio_net, mac_text),
			ST_HOST(struct virtio_net, rx_size),
			ST_HOST(struct virtio_net, tx_size),
			ST_HOST(struct virtio_net, host_mtu),
			ST_HOST(struct virtio_net, bootindex),
			ST_HOST(struct virtio_net, p_csum),
			ST_HOST(struct virtio_net, p_guest_csum),
			ST_HOST(struct virtio_net, p_tso),
			ST_HOST(struct virtio_net, p_guest_tso),
			ST_HOST(struct virtio_net, p_mrg_rxbuf),
			ST_HOST(struct virtio_net, p_ctrl_vq),
			ST_HOST(struct virtio_net, p_ctrl_rx),
			ST_HOST(struct virtio_net, p_ctrl_vlan),
			ST_HOST(struct virtio_net, p_ctrl_mac),
			ST_HOST(struct virtio_net, p_status),
			ST_HOST(struct virtio_net, p_mq),
			ST_SUB(struct virtio_net, filter, &vnet_filter_state),
			ST_U64(struct virtio_net, guest_offloads),
			ST_HOST(struct virtio_net, end),
			ST_HOST(struct virtio_net, nic),
			ST_HOST(struct virtio_net, queue),
			ST_HOST(struct virtio_net, link_work),
			ST_HOST(struct virtio_net, own_mac),
			ST_HOST(struct virtio_net, lock),
			ST_DERIVED(struct virtio_net, running),
			ST_DERIVED(struct virtio_net, tx_blocked),
			ST_HOST(struct virtio_net, scratch),
			ST_HOST(struct virtio_net, rx_iov),
			ST_HOST(struct virtio_net, rx_chain),
			ST_HOST(struct virtio_net, linear),
			ST_END,
		},
};

VIRTIO_DEVICE(virtio_net, net_virtio_type, net_state, NET_PROPS, "virtio-net",
	      "virtio network device");

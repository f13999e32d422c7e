/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Console device with multiple ports: queues, control messages, configuration. VIRTIO 1.2
 * section 5.3. Ports and their data are in virtio_console_port.c.
 *
 * What the driver has to be told is kept as flags of each port, not as a queue of messages, so
 * that a driver which offers no buffers cannot make it grow.
 *
 * Threads: vCPUs and the control loop, under the device's lock. State: console_state.
 */
#include "base/base.h"
#include "base/bytes.h"
#include "base/trace.h"
#include "core/vm.h"
#include "virtio/virtio_console.h"
#include "virtio/virtio_dev.h"

#define F_SIZE	    0
#define F_MULTIPORT 1
#define F_EMERG	    2

#define CFG_COLS      0u
#define CFG_ROWS      2u
#define CFG_MAX_PORTS 4u
#define CFG_EMERG     8u
#define CFG_LEN	      12u

#define CTRL_RX	     2u /* to the driver */
#define CTRL_TX	     3u
#define CTRL_LEN     8u
#define CTRL_BUDGET  256u
#define CLASS_SERIAL 0x078000

enum control {
	DEVICE_READY,
	PORT_ADD,
	PORT_REMOVE,
	PORT_READY,
	CONSOLE_PORT,
	RESIZE,
	PORT_OPEN,
	PORT_NAME
};

static struct virtio_console *console_of(struct virtio *v)
{
	return container_of(v, struct virtio_console, v);
}

static bool multiport(const struct virtio_console *vc)
{
	return virtio_has(&vc->v, F_MULTIPORT);
}

static unsigned rx_index(unsigned port)
{
	return port ? 2 * port + 2 : 0;
}

struct vq *console_rx_queue(struct console_port *p)
{
	return virtio_vq(&p->vc->v, rx_index(p->nr));
}

struct vq *console_tx_queue(struct console_port *p)
{
	return virtio_vq(&p->vc->v, rx_index(p->nr) + 1);
}

/* ---- to the driver ---- */

static size_t make_message(struct console_port *p, unsigned bit, uint8_t *msg)
{
	const uint8_t *cfg = p->vc->v.cfg;
	uint16_t event = 0, value = 1;
	size_t len = CTRL_LEN;

	switch (bit) {
	case TODO_ADD:
		event = PORT_ADD;
		break;
	case TODO_CONSOLE:
		event = CONSOLE_PORT;
		break;
	case TODO_RESIZE: /* rows come behind columns here too (5.3.6.2) */
		event = RESIZE;
		memcpy(msg + CTRL_LEN, cfg + CFG_COLS, 4);
		len += 4;
		break;
	case TODO_NAME:
		event = PORT_NAME;
		len += strlen(strncpy((char *)msg + CTRL_LEN, p->name, 64));
		break;
	default:
		event = PORT_OPEN;
		value = p->host_open;
		break;
	}
	trace_virtio_serial_send_control_event(p->nr, event, value);
	st_le32(msg, p->nr);
	st_le16(msg + 4, event);
	st_le16(msg + 6, value);
	return len;
}

/* False: the driver has no buffer now. */
static bool send_message(struct virtio_console *vc, const uint8_t *msg, size_t len)
{
	struct vq *vq = virtio_vq(&vc->v, CTRL_RX);
	struct vq_chain c = { .iov = vc->iov };

	if (vq_pop(vq, &c) <= 0)
		return false;
	len = iov_from_buf(c.iov + c.out_n, c.in_n, 0, msg, len);
	vq_push(vq, &c, (uint32_t)len);
	return true;
}

void console_send_control(struct virtio_console *vc)
{
	if (!vc->v.started || !multiport(vc))
		return;
	for (unsigned i = 0; i < vc->max_ports; i++) {
		struct console_port *p = &vc->port[i];

		while (p->todo) {
			uint8_t msg[CTRL_LEN + 64 + 1] = { 0 };
			unsigned bit = p->todo & -(unsigned)p->todo;

			if (!send_message(vc, msg, make_message(p, bit, msg))) {
				vq_notify(virtio_vq(&vc->v, CTRL_RX));
				return;
			}
			p->todo &= (uint8_t)~bit;
		}
	}
	vq_notify(virtio_vq(&vc->v, CTRL_RX));
}

/* ---- from the driver ---- */

static void port_ready(struct console_port *p, bool ok)
{
	const uint8_t *cfg = p->vc->v.cfg;

	p->guest_ready = ok;
	if (!ok)
		return;
	p->host_open = p->console || !p->end || char_is_up(p->end);
	p->todo |= (p->console ? TODO_CONSOLE : 0) | (p->name ? TODO_NAME : 0) |
		   (p->console && ld_le16(cfg + CFG_COLS) ? TODO_RESIZE : 0) |
		   (p->host_open ? TODO_OPEN : 0);
}

static void handle_message(struct virtio_console *vc, const uint8_t *msg)
{
	uint32_t id = ld_le32(msg);
	uint16_t event = ld_le16(msg + 4), value = ld_le16(msg + 6);
	struct console_port *p = id < vc->max_ports ? &vc->port[id] : NULL;

	trace_virtio_serial_handle_control_message(id, event, value);
	if (event == DEVICE_READY) {
		for (unsigned i = 0; value && i < vc->max_ports; i++)
			vc->port[i].todo |= vc->port[i].present ? TODO_ADD : 0;
		return;
	}
	if (!p || !p->present) {
		dev_guest_error(vc->v.dev, "control message %u for port %" PRIu32, event, id);
		return;
	}
	if (event == PORT_READY) {
		port_ready(p, value != 0);
	} else if (event == PORT_OPEN) {
		console_port_set_open(p, value != 0);
	} else {
		dev_guest_error(vc->v.dev, "control message %u", event);
	}
}

static void take_control(struct virtio_console *vc)
{
	struct vq *vq = virtio_vq(&vc->v, CTRL_TX);
	struct vq_chain c = { .iov = vc->iov };
	unsigned budget = CTRL_BUDGET;

	while (budget && vq_pop(vq, &c) > 0) {
		uint8_t msg[CTRL_LEN];

		if (iov_to_buf(c.iov, c.out_n, 0, msg, CTRL_LEN) == CTRL_LEN)
			handle_message(vc, msg);
		vq_push(vq, &c, 0);
		budget--;
	}
	vq_notify(vq);
	if (!budget)
		loop_post(vc->v.vm->loop, &vc->more);
	console_send_control(vc);
}

static void console_kick(struct virtio *v, unsigned n)
{
	struct virtio_console *vc = console_of(v);
	struct console_port *p;

	if (n == CTRL_RX) {
		console_send_control(vc);
		return;
	}
	if (n == CTRL_TX) {
		if (multiport(vc))
			take_control(vc);
		return;
	}
	p = &vc->port[n < 2 ? 0 : n / 2 - 1];
	if (n & 1)
		console_port_send(p);
	else
		console_port_kick_rx(p);
}

static void serve_more(struct loop_work *w)
{
	struct virtio_console *vc = container_of(w, struct virtio_console, more);

	pthread_mutex_lock(&vc->v.dev->lock);
	if (vc->v.started) {
		if (multiport(vc))
			take_control(vc);
		for (unsigned i = 0; i < vc->max_ports; i++)
			console_port_send(&vc->port[i]);
	}
	pthread_mutex_unlock(&vc->v.dev->lock);
}

/* ---- the device ---- */

static uint64_t console_features(struct virtio *v)
{
	return BIT64(F_SIZE) | BIT64(F_MULTIPORT) | BIT64(F_EMERG);
}

static void console_reset(struct virtio *v)
{
	struct virtio_console *vc = console_of(v);

	for (unsigned i = 0; i < vc->max_ports; i++) {
		struct console_port *p = &vc->port[i];

		console_port_set_open(p, false);
		p->host_open = p->guest_ready = p->tx_blocked = false;
		p->todo = 0;
		p->tx_off = 0;
	}
	st_le32(v->cfg + CFG_EMERG, 0);
}

/* The chain that was half out is gone: the next one begins at its beginning. */
static void console_queue_reset(struct virtio *v, unsigned n)
{
	if (n == CTRL_RX || n == CTRL_TX || !(n & 1))
		return;
	console_of(v)->port[n < 2 ? 0 : n / 2 - 1].tx_off = 0;
}

/* A byte for the console from a guest that has no queues (yet, or any more). */
static void console_cfg_written(struct virtio *v, unsigned off, unsigned len)
{
	struct console_port *p = &console_of(v)->port[0];

	if (off == CFG_EMERG && p->end)
		(void)char_write(p->end, v->cfg + CFG_EMERG, 1);
}

static int console_init(struct virtio *, struct err *e);
static void console_fini(struct virtio *);
static void console_resume(struct virtio *);

static const struct virtio_type console_virtio = {
	.name = "virtio-console",
	.id = 3,
	.pci_class = CLASS_SERIAL,
	.init = console_init,
	.fini = console_fini,
	.resume = console_resume,
	.features = console_features,
	.reset = console_reset,
	.kick = console_kick,
	.kick_in_place = true,
	.queue_reset = console_queue_reset,
	.cfg_written = console_cfg_written,
};

struct virtio_console *console_of_dev(struct dev *d)
{
	struct virtio *v = virtio_of(d);

	return v && v->type == &console_virtio ? console_of(v) : NULL;
}

static int console_init(struct virtio *v, struct err *e)
{
	struct virtio_console *vc = console_of(v);

	vc->more.fn = serve_more;
	for (unsigned i = 0; i < CONSOLE_MAX_PORTS; i++) {
		vc->port[i].vc = vc;
		vc->port[i].nr = i;
	}
	v->nr_vqs = 2 * (vc->max_ports + 1);
	v->vq_size = 128;
	v->cfg_len = CFG_LEN;
	st_le32(v->cfg + CFG_MAX_PORTS, vc->max_ports);
	memset(v->cfg_wmask + CFG_EMERG, 0xff, 4);
	/* Queues are many and idle: one vector a port is what drivers make use of. */
	v->vectors = vc->max_ports + 1;
	return 0;
}

static void console_fini(struct virtio *v)
{
	loop_cancel(v->dev->vm->loop, &console_of(v)->more);
}

static void console_resume(struct virtio *v)
{
	struct virtio_console *vc = console_of(v);

	for (unsigned i = 0; i < vc->max_ports; i++)
		vc->port[i].tx_blocked = false;
}

static int console_post_load(void *obj, struct err *e)
{
	struct virtio_console *vc = obj;

	for (unsigned i = 0; i < CONSOLE_MAX_PORTS; i++) {
		struct console_port *p = &vc->port[i];
		unsigned known = TODO_ADD | TODO_OPEN | (p->name ? TODO_NAME : 0) |
				 (p->console ? TODO_CONSOLE | TODO_RESIZE : 0);

		if ((p->todo & ~known) || (p->todo && !p->present))
			return err_set(e, EINVAL, "port %u has messages %#x to send", i, p->todo);
	}
	if (ld_le32(vc->v.cfg + CFG_MAX_PORTS) != vc->max_ports)
		return err_set(e, EINVAL, "the device had %" PRIu32 " ports, here are %" PRIu32,
			       ld_le32(vc->v.cfg + CFG_MAX_PORTS), vc->max_ports);
	return 0;
}

#define CONSOLE_PROPS(type)                                                       \
	PROP_UINT("max_ports", type, x.max_ports, PROP_U32, CONSOLE_MAX_PORTS, 1, \
		  CONSOLE_MAX_PORTS, "places for ports"),

static const struct state_desc port_state = {
	.name = "console-port",
	.struct_name = "console_port",
	.version = 1,
	.fields =
		(const struct state_field[]){
			ST_HOST(struct console_port, vc),
			ST_HOST(struct console_port, nr),
			ST_HOST(struct console_port, present),
			ST_HOST(struct console_port, console),
			ST_HOST(struct console_port, name),
			ST_HOST(struct console_port, id),
			ST_HOST(struct console_port, end),
			ST_HOST(struct console_port, front),
			ST_BOOL(struct console_port, host_open),
			ST_BOOL(struct console_port, guest_open),
			ST_BOOL(struct console_port, guest_ready),
			ST_U8(struct console_port, todo),
			ST_U32(struct console_port, tx_off),
			ST_DERIVED(struct console_port, tx_blocked),
			ST_END,
		},
};

static const struct state_desc console_state = {
	.name = "virtio-console",
	.struct_name = "virtio_console",
	.version = 1,
	.post_load = console_post_load,
	.fields =
		(const struct state_field[]){
			ST_SUB(struct virtio_console, v, &virtio_state),
			ST_HOST(struct virtio_console, max_ports),
			ST_SUBA(struct virtio_console, port, &port_state),
			ST_HOST(struct virtio_console, more),
			ST_HOST(struct virtio_console, iov),
			ST_END,
		},
};

VIRTIO_DEVICE(virtio_console, console_virtio, console_state, CONSOLE_PROPS, "virtio-serial",
	      "console device: ports are virtconsole and virtserialport");

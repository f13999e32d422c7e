/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of the console device: the data between their queues and a character end, and the two
 * device types that make one. VIRTIO 1.2 section 5.3.6.
 *
 * A chain that the end does not take at once goes back to its ring with a note how much of it is
 * out (tx_off), so nothing is in flight between two kicks.
 *
 * Threads: vCPUs (kicks) and the control loop (the end's calls), under the console's lock.
 * State: part of the console's (console_port).
 */
#include "base/base.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/trace.h"
#include "core/backend.h"
#include "core/event.h"
#include "core/vm.h"
#include "virtio/virtio_console.h"

#define TX_BUDGET     (256u << 10) /* bytes a kick */
#define TX_CHAIN_COST 64u
#define CFG_COLS      0u
#define CFG_ROWS      2u

static pthread_mutex_t *lock_of(struct console_port *p)
{
	return &p->vc->v.dev->lock;
}

/* ---- guest to host ---- */

static void set_blocked(struct console_port *p, bool blocked)
{
	if (p->tx_blocked != blocked)
		trace_virtio_serial_throttle_port(p->nr, blocked);
	p->tx_blocked = blocked;
}

/* Writes from byte tx_off on; true when all of the chain is out. */
static bool send_chain(struct console_port *p, const struct vq_chain *c)
{
	uint64_t skip = p->tx_off;

	for (unsigned i = 0; i < c->out_n && p->end; i++) {
		const struct iovec *v = &c->iov[i];
		size_t n;

		if (skip >= v->iov_len) {
			skip -= v->iov_len;
			continue;
		}
		n = char_write(p->end, (const uint8_t *)v->iov_base + skip, v->iov_len - skip);
		trace_virtio_console_flush_buf(p->nr, v->iov_len - skip, n);
		p->tx_off += (uint32_t)n;
		if (n < v->iov_len - skip)
			return false;
		skip = 0;
	}
	p->tx_off = 0;
	return true;
}

void console_port_send(struct console_port *p)
{
	struct virtio_console *vc = p->vc;
	struct vq *vq = console_tx_queue(p);
	struct vq_chain c = { .iov = vc->iov };
	uint64_t done = 0;

	if (!vc->v.started || p->tx_blocked)
		return;
	while (done < TX_BUDGET && vq_pop(vq, &c) > 0) {
		if (!send_chain(p, &c)) {
			vq_unpop(vq, &c);
			set_blocked(p, true);
			break;
		}
		done += c.out_len + TX_CHAIN_COST;
		vq_push(vq, &c, 0);
	}
	vq_notify(vq);
	if (done >= TX_BUDGET)
		loop_post(vc->v.vm->loop, &vc->more);
}

static void front_writable(struct char_front *f)
{
	struct console_port *p = container_of(f, struct console_port, front);

	pthread_mutex_lock(lock_of(p));
	set_blocked(p, false);
	console_port_send(p);
	pthread_mutex_unlock(lock_of(p));
}

/* ---- host to guest ---- */

void console_port_kick_rx(struct console_port *p)
{
	if (p->end)
		char_accept_input(p->end);
}

void console_port_set_open(struct console_port *p, bool open)
{
	struct vm_event ev = { .kind = VM_EV_VSERPORT_CHANGE, .value = open };

	if (p->guest_open == open)
		return;
	p->guest_open = open;
	if (open)
		console_port_kick_rx(p);
	if (!p->id)
		return;
	strncpy(ev.name, p->id, sizeof(ev.name) - 1);
	vm_tell(p->vc->v.vm, &ev);
}

static bool front_in_use(struct char_front *f)
{
	struct console_port *p = container_of(f, struct console_port, front);
	bool open;

	pthread_mutex_lock(lock_of(p));
	open = p->console || p->guest_open;
	pthread_mutex_unlock(lock_of(p));
	return open;
}

static bool guest_listens(const struct console_port *p)
{
	const struct virtio *v = &p->vc->v;

	return v->started && (p->guest_open || !virtio_has(v, 1 /* MULTIPORT */));
}

/* The size of the next receive buffer: what receive() can surely place. */
static size_t front_room(struct char_front *f)
{
	struct console_port *p = container_of(f, struct console_port, front);
	struct vq_chain c = { .iov = p->vc->iov };
	size_t room = 0;

	pthread_mutex_lock(lock_of(p));
	if (guest_listens(p) && vq_pop(console_rx_queue(p), &c) > 0) {
		room = (size_t)c.in_len;
		vq_unpop(console_rx_queue(p), &c);
	}
	pthread_mutex_unlock(lock_of(p));
	return room;
}

static void front_receive(struct char_front *f, const uint8_t *data, size_t len)
{
	struct console_port *p = container_of(f, struct console_port, front);
	struct vq_chain c = { .iov = p->vc->iov };
	struct vq *vq = console_rx_queue(p);

	trace_virtio_console_chr_read(p->nr, len);
	pthread_mutex_lock(lock_of(p));
	while (len && guest_listens(p) && vq_pop(vq, &c) > 0) {
		size_t n = iov_from_buf(c.iov + c.out_n, c.in_n, 0, data, len);

		vq_push(vq, &c, (uint32_t)n);
		data += n;
		len -= n;
		if (!n) /* the driver made it smaller meanwhile: its loss */
			break;
	}
	vq_notify(vq);
	pthread_mutex_unlock(lock_of(p));
}

static void front_connected(struct char_front *f, bool up)
{
	struct console_port *p = container_of(f, struct console_port, front);

	pthread_mutex_lock(lock_of(p));
	if (!p->console && p->guest_ready && p->host_open != up) {
		p->host_open = up;
		p->todo |= TODO_OPEN;
		console_send_control(p->vc);
	}
	pthread_mutex_unlock(lock_of(p));
}

/* The console's terminal changed its size: port 0 has it in the configuration space too. */
static void front_resized(struct char_front *f, unsigned cols, unsigned rows)
{
	struct console_port *p = container_of(f, struct console_port, front);
	struct virtio *v = &p->vc->v;

	pthread_mutex_lock(lock_of(p));
	if (p->console &&
	    (ld_le16(v->cfg + CFG_COLS) != cols || ld_le16(v->cfg + CFG_ROWS) != rows)) {
		st_le16(v->cfg + CFG_COLS, (uint16_t)cols);
		st_le16(v->cfg + CFG_ROWS, (uint16_t)rows);
		virtio_cfg_changed(v);
		if (p->guest_ready)
			p->todo |= TODO_RESIZE;
		console_send_control(p->vc);
	}
	pthread_mutex_unlock(lock_of(p));
}

/* ---- the port devices ---- */

struct port_dev {
	struct dev d;		    /* first */
	char *chardev, *name, *bus; /* properties */
	uint32_t nr;		    /* property; NR_ANY = the first free one */
	struct console_port *port;
	bool claimed;
};

#define NR_ANY UINT32_MAX

struct console_port *console_take_place(struct virtio_console *vc, int nr, bool console,
					struct err *e)
{
	/* Port 0 is the console's: drivers without MULTIPORT know only that one. */
	unsigned first = nr >= 0 ? (unsigned)nr : !console;

	for (unsigned i = first; i < vc->max_ports; i++) {
		struct console_port *p = &vc->port[i];

		if (!p->present && (i || console)) {
			p->present = true;
			p->console = console;
			return p;
		}
		if (nr >= 0)
			break;
	}
	if (nr >= 0)
		err_set(e, EBUSY, "port %d of %s is taken or out of range%s", nr, vc->v.dev->path,
			nr || console ? "" : "; 0 is for a virtconsole");
	else
		err_set(e, ENOSPC,
			"%s has no free port; give it more with max_ports=", vc->v.dev->path);
	return NULL;
}

/* bus=: "id.0" of a virtio-serial device, or the first one made. */
static struct virtio_console *find_console(struct port_dev *s, struct err *e)
{
	size_t len = s->bus ? strcspn(s->bus, ".") : 0;
	struct dev *found = NULL;

	for (struct dev *d = s->d.vm->devs; d; d = d->next) {
		if (!console_of_dev(d))
			continue;
		if (s->bus && (!d->id || strlen(d->id) != len || memcmp(d->id, s->bus, len)))
			continue;
		found = d;
	}
	if (!found) {
		err_set(e, ENODEV, "%s: there is no %s%s%s; write -device virtio-serial in front",
			s->d.path, s->bus ? "bus '" : "virtio-serial device", s->bus ? s->bus : "",
			s->bus ? "'" : "");
		return NULL;
	}
	return console_of_dev(found);
}

static int attach_end(struct port_dev *s, struct err *e)
{
	struct console_port *p = s->port;
	struct char_end *end;
	unsigned cols, rows;
	int ret;

	p->front = (struct char_front){ .room = front_room,
					.receive = front_receive,
					.writable = front_writable,
					.connected = front_connected,
					.resized = front_resized,
					.in_use = front_in_use };
	if (!s->chardev)
		return 0;
	end = backend_claim(s->d.vm, BACKEND_CHAR, s->chardev, s->d.path, e);
	if (!end)
		return -EINVAL;
	s->claimed = true;
	ret = char_attach(end, &p->front, e);
	if (ret < 0)
		return ret;
	p->end = end;
	if (char_size(end, &cols, &rows))
		front_resized(&p->front, cols, rows);
	return 0;
}

static int port_init(struct dev *d, struct err *e)
{
	struct port_dev *s = container_of(d, struct port_dev, d);
	struct virtio_console *vc = find_console(s, e);
	int nr = s->nr == NR_ANY ? -1 : (int)MIN(s->nr, 1000u);

	if (!vc)
		return -ENODEV;
	if (s->name && strlen(s->name) > 63)
		return err_set(e, ENAMETOOLONG, "%s: a port's name has at most 63 bytes", d->path);
	s->port = console_take_place(vc, nr, d->type == &virtconsole_type, e);
	if (!s->port)
		return -EBUSY;
	s->port->name = s->name;
	s->port->id = d->id;
	return attach_end(s, e);
}

static void port_fini(struct dev *d)
{
	struct port_dev *s = container_of(d, struct port_dev, d);
	struct console_port *p = s->port;

	if (!p)
		return;
	if (p->end)
		char_detach(p->end, &p->front);
	if (s->claimed)
		backend_release(d->vm, BACKEND_CHAR, s->chardev);
	pthread_mutex_lock(lock_of(p));
	p->end = NULL;
	p->name = p->id = NULL;
	p->present = p->console = false;
	p->todo = 0;
	pthread_mutex_unlock(lock_of(p));
}

static const struct prop port_props[] = {
	PROP_STRING("chardev", struct port_dev, chardev, NULL, "id of the character device"),
	PROP_STRING("name", struct port_dev, name, NULL, "what the guest calls the port"),
	PROP_STRING("bus", struct port_dev, bus, NULL, "\"id.0\" of a virtio-serial device"),
	PROP_UINT("nr", struct port_dev, nr, PROP_U32, NR_ANY, 0, 0, "place of the port"), PROPS_END
};

const struct dev_type virtconsole_type = {
	.name = "virtconsole",
	.bus = DEV_BUS_VIRTIO_SERIAL,
	.help = "a console (hvc) in the guest",
	.size = sizeof(struct port_dev),
	.props = port_props,
	.init = port_init,
	.fini = port_fini,
};

const struct dev_type virtserialport_type = {
	.name = "virtserialport",
	.bus = DEV_BUS_VIRTIO_SERIAL,
	.help = "a byte stream with a name in the guest",
	.size = sizeof(struct port_dev),
	.props = port_props,
	.init = port_init,
	.fini = port_fini,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console device and its ports (virtio_console.c, virtio_console_port.c): inside of both.
 *
 * The device (virtio-serial-pci) has MULTIPORT and a fixed number of port places; each
 * virtconsole or virtserialport takes one and joins it to a character end.
 */
#ifndef VIRTIO_VIRTIO_CONSOLE_H
#define VIRTIO_VIRTIO_CONSOLE_H

#include "base/base.h"
#include "char/char.h"
#include "virtio/virtio.h"

#define CONSOLE_MAX_PORTS 31

/* Control messages a port has to send, in this order. */
#define TODO_ADD     1u
#define TODO_CONSOLE 2u
#define TODO_RESIZE  4u
#define TODO_NAME    8u
#define TODO_OPEN    16u

struct virtio_console;

struct console_port {
	struct virtio_console *vc;
	unsigned nr;
	bool present; /* a port device sits here */
	bool console;
	const char *name; /* or NULL */
	const char *id;	  /* of the port device, or NULL */
	struct char_end *end;
	struct char_front front;
	/* state */
	bool host_open;	 /* as last told to the driver */
	bool guest_open; /* a program in the guest has it open */
	bool guest_ready;
	uint8_t todo;
	uint32_t tx_off; /* bytes of the first chain of the transmit queue that are out */
	bool tx_blocked; /* until the end takes more */
};

struct virtio_console {
	struct virtio v;    /* first */
	uint32_t max_ports; /* property */
	struct console_port port[CONSOLE_MAX_PORTS];
	struct loop_work more; /* transmit work left behind by a kick */
	struct iovec iov[VQ_MAX_SEGS];
};

/* Under the device's lock. */
void console_port_kick_rx(struct console_port *);
void console_port_set_open(struct console_port *, bool open); /* the guest's word */
void console_port_send(struct console_port *);		      /* moves what the guest transmitted */
void console_send_control(struct virtio_console *);	      /* as far as the driver has buffers */
struct vq *console_rx_queue(struct console_port *);
struct vq *console_tx_queue(struct console_port *);

/* Puts a port in place nr (-1 = the first free one); NULL with e set when there is none. */
struct console_port *console_take_place(struct virtio_console *, int nr, bool console,
					struct err *e);

/* The console device that d is, or NULL. */
struct virtio_console *console_of_dev(struct dev *d);

extern const struct dev_type virtio_console_pci_type, virtio_console_mmio_type, virtconsole_type,
	virtserialport_type;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* 16550A UART and the PC's COM ports. See uart16550.c. */
#ifndef DEV_UART16550_H
#define DEV_UART16550_H

#include "base/base.h"
#include "char/char.h"
#include "core/dev.h"
#include "core/irq.h"
#include "loop/loop.h"
#include "mem/map.h"

#define UART_FIFO 16u
#define UART_FCR  2u
#define UART_ANY  4u /* index: any free port */

struct uart_fifo {
	uint8_t data[UART_FIFO];
	uint8_t head, len;
};

struct uart {
	struct irq irq;
	/* Output: how many bytes were taken now; the rest waits for uart_writable(). */
	size_t (*send)(void *opaque, const uint8_t *data, size_t len);
	/* The receiver has room again. */
	void (*accept)(void *opaque);
	void *opaque;
	uint8_t ier, lcr, mcr, lsr, msr, scr, fcr;
	uint16_t divisor;
	bool thr_pending; /* the THRE interrupt is due: not read in IIR nor ended by a write yet */
	bool timeout;	  /* received bytes below the trigger level that nobody read in time */
	bool level;	  /* of irq as last set */
	struct uart_fifo rx, tx;
};

extern const struct state_desc uart_fifo_state, uart_state;

/* The chip; not locked. reg 0..7. */
void uart_reset(struct uart *);
uint8_t uart_read(struct uart *, unsigned reg);
void uart_write(struct uart *, unsigned reg, uint8_t val);
/* From the line: how many bytes uart_receive() takes, the bytes, a break, output can go on. */
size_t uart_room(const struct uart *);
void uart_receive(struct uart *, const uint8_t *data, size_t len);
void uart_break(struct uart *);
void uart_writable(struct uart *);
/* Four character times have passed without traffic: raises the time-out interrupt. */
void uart_idle(struct uart *);
/* Whether uart_idle() is wanted, and after how many ns. */
uint64_t uart_idle_ns(const struct uart *);

/* One COM port. */
struct uart_dev {
	struct dev d;
	struct uart chip;
	struct char_front front;
	struct char_end *end; /* NULL: nothing connected */
	struct loop_timer idle;
	bool paused; /* takes no input: what is saved is what there is */
	struct map_region region;
	char *chardev;
	uint8_t index; /* 0 = COM1 */
};
extern const struct dev_type uart_dev_type;

/* I/O port and ISA interrupt of COM(index + 1). */
uint16_t uart_com_port(unsigned index);
unsigned uart_com_irq(unsigned index);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16550A UART: National Semiconductor PC16550D datasheet; COM1 to COM4 of a PC.
 *
 * Bytes have no length in time: what the guest writes goes to the character end at once, and the
 * transmitter is empty again unless the end takes no more. Then the bytes stay in the FIFO, and
 * THRE comes when the end is writable. The THRE interrupt is raised and cleared as in the chip:
 * set when the transmitter empties or IER.ETBEI is set while it is empty, cleared by reading it in
 * IIR or by writing THR.
 * Not modelled: baud rate timing, parity and framing errors, DMA mode.
 *
 * Threads: the chip is not locked; the device locks dev->lock (registers on vCPU threads, the
 * character end and the time-out on the control loop).
 */
#include "base/base.h"
#include "dev/uart16550.h"
#include "base/clock.h"

enum { REG_DATA, REG_IER, REG_IIR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_RX	 0x01u
#define IER_THRE 0x02u
#define IER_LINE 0x04u
#define IER_MSR	 0x08u

#define IIR_NONE    0x01u
#define IIR_MSR	    0x00u
#define IIR_THRE    0x02u
#define IIR_RX	    0x04u
#define IIR_LINE    0x06u
#define IIR_TIMEOUT 0x0cu
#define IIR_FIFO    0xc0u

#define FCR_ENABLE   0x01u
#define FCR_CLEAR_RX 0x02u
#define FCR_CLEAR_TX 0x04u
#define FCR_DMA	     0x08u
#define FCR_TRIGGER  0xc0u

#define LCR_BREAK 0x40u
#define LCR_DLAB  0x80u

#define MCR_DTR	 0x01u
#define MCR_RTS	 0x02u
#define MCR_OUT1 0x04u
#define MCR_OUT2 0x08u
#define MCR_LOOP 0x10u

#define LSR_DR	   0x01u
#define LSR_OE	   0x02u
#define LSR_BI	   0x10u
#define LSR_THRE   0x20u
#define LSR_TEMT   0x40u
#define LSR_ERRORS 0x1eu

#define MSR_DELTA 0x0fu
#define MSR_TERI  0x04u
#define MSR_CTS	  0x10u
#define MSR_DSR	  0x20u
#define MSR_RI	  0x40u
#define MSR_DCD	  0x80u

static unsigned fifo_size(const struct uart *u)
{
	return u->fcr & FCR_ENABLE ? UART_FIFO : 1;
}

static void fifo_put(struct uart_fifo *f, uint8_t v)
{
	f->data[(f->head + f->len++) % UART_FIFO] = v;
}

static uint8_t fifo_get(struct uart_fifo *f)
{
	uint8_t v = f->data[f->head];

	f->head = (f->head + 1) % UART_FIFO;
	f->len--;
	return v;
}

static unsigned trigger(const struct uart *u)
{
	static const uint8_t level[4] = { 1, 4, 8, 14 };

	return u->fcr & FCR_ENABLE ? level[u->fcr >> 6] : 1;
}

/* What IIR shows: the pending interrupt of highest priority. */
static uint8_t pending(const struct uart *u)
{
	if ((u->ier & IER_LINE) && (u->lsr & LSR_ERRORS))
		return IIR_LINE;
	if ((u->ier & IER_RX) && u->rx.len >= trigger(u))
		return IIR_RX;
	if ((u->ier & IER_RX) && u->timeout && u->rx.len)
		return IIR_TIMEOUT;
	if ((u->ier & IER_THRE) && u->thr_pending)
		return IIR_THRE;
	if ((u->ier & IER_MSR) && (u->msr & MSR_DELTA))
		return IIR_MSR;
	return IIR_NONE;
}

static void update_irq(struct uart *u)
{
	/* OUT2 gates the interrupt on a PC's serial port. In loop-back OUT2 is disconnected. */
	bool level = pending(u) != IIR_NONE && (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	if (level != u->level) {
		u->level = level;
		irq_set(&u->irq, level);
	}
}

static void set_modem_status(struct uart *u)
{
	uint8_t old = u->msr & 0xf0, now = MSR_CTS | MSR_DSR | MSR_DCD;

	if (u->mcr & MCR_LOOP)
		now = (uint8_t)((u->mcr & MCR_RTS ? MSR_CTS : 0) |
				(u->mcr & MCR_DTR ? MSR_DSR : 0) |
				(u->mcr & MCR_OUT1 ? MSR_RI : 0) |
				(u->mcr & MCR_OUT2 ? MSR_DCD : 0));
	u->msr = (uint8_t)(now | (u->msr & MSR_DELTA) |
			   (((old ^ now) >> 4) & (MSR_DELTA & ~MSR_TERI)) |
			   ((old & ~now & MSR_RI) >> 4));
}

void uart_reset(struct uart *u)
{
	u->ier = 0;
	u->lcr = 0;
	u->mcr = 0;
	u->fcr = 0;
	u->lsr = LSR_THRE | LSR_TEMT;
	u->msr = MSR_CTS | MSR_DSR | MSR_DCD;
	u->scr = 0;
	u->divisor = 12;
	u->thr_pending = false;
	u->timeout = false;
	u->rx = (struct uart_fifo){ 0 };
	u->tx = (struct uart_fifo){ 0 };
	update_irq(u);
}

/* Gives the line what is in the transmit FIFO. */
static void drain(struct uart *u)
{
	while (u->tx.len) {
		size_t run = MIN((size_t)u->tx.len, (size_t)(UART_FIFO - u->tx.head));
		size_t n = u->send ? u->send(u->opaque, &u->tx.data[u->tx.head], run) : run;

		n = MIN(n, run);
		u->tx.head = (uint8_t)((u->tx.head + n) % UART_FIFO);
		u->tx.len = (uint8_t)(u->tx.len - n);
		if (n < run)
			return;
	}
	if (!(u->lsr & LSR_THRE)) {
		u->lsr |= LSR_THRE | LSR_TEMT;
		u->thr_pending = true;
	}
}

static void receive_one(struct uart *u, uint8_t v)
{
	if (u->rx.len >= fifo_size(u)) {
		u->lsr |= LSR_OE;
		return;
	}
	fifo_put(&u->rx, v);
	u->lsr |= LSR_DR;
	u->timeout = false;
}

static void write_thr(struct uart *u, uint8_t val)
{
	u->thr_pending = false;
	if (u->mcr & MCR_LOOP) {
		receive_one(u, val);
		u->thr_pending = true;
		return;
	}
	u->lsr &= (uint8_t) ~(LSR_THRE | LSR_TEMT);
	/* A guest that does not look at THRE overwrites, as in the chip. */
	if (u->tx.len >= fifo_size(u))
		fifo_get(&u->tx);
	fifo_put(&u->tx, val);
	drain(u);
}

static uint8_t read_rbr(struct uart *u)
{
	bool was_full = u->rx.len >= fifo_size(u);
	uint8_t v = 0;

	u->timeout = false;
	if (!u->rx.len)
		return 0;
	v = fifo_get(&u->rx);
	if (!u->rx.len)
		u->lsr &= (uint8_t)~LSR_DR;
	if ((was_full || !u->rx.len) && u->accept)
		u->accept(u->opaque);
	return v;
}

static void write_fcr(struct uart *u, uint8_t val)
{
	bool toggled = (u->fcr ^ val) & FCR_ENABLE;

	if (toggled || (val & FCR_CLEAR_RX)) {
		u->rx = (struct uart_fifo){ 0 };
		u->lsr &= (uint8_t)~LSR_DR;
		u->timeout = false;
		if (u->accept)
			u->accept(u->opaque);
	}
	if (toggled || (val & FCR_CLEAR_TX)) {
		u->tx = (struct uart_fifo){ 0 };
		drain(u);
	}
	/* Without the enable bit the others cannot be programmed. */
	u->fcr = val & FCR_ENABLE ? val & (FCR_ENABLE | FCR_DMA | FCR_TRIGGER) : 0;
}

static void write_mcr(struct uart *u, uint8_t val)
{
	bool was_loop = u->mcr & MCR_LOOP;

	u->mcr = val & 0x1f;
	set_modem_status(u);
	/* The serial input is connected again: what waited there may come. */
	if (was_loop && !(u->mcr & MCR_LOOP) && u->accept)
		u->accept(u->opaque);
}

static void write_ier(struct uart *u, uint8_t val)
{
	uint8_t rise = val & (uint8_t)~u->ier;

	u->ier = val & 0x0f;
	if ((rise & IER_THRE) && (u->lsr & LSR_THRE))
		u->thr_pending = true;
}

static uint8_t read_iir(struct uart *u)
{
	uint8_t v = pending(u);

	if (v == IIR_THRE)
		u->thr_pending = false;
	return (uint8_t)(v | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0));
}

static uint8_t read_reg(struct uart *u, unsigned reg)
{
	bool dlab = u->lcr & LCR_DLAB;
	uint8_t v;

	switch (reg) {
	case REG_DATA:
		return dlab ? (uint8_t)u->divisor : read_rbr(u);
	case REG_IER:
		return dlab ? (uint8_t)(u->divisor >> 8) : u->ier;
	case REG_IIR:
		return read_iir(u);
	case REG_LCR:
		return u->lcr;
	case REG_MCR:
		return u->mcr;
	case REG_LSR:
		v = u->lsr;
		u->lsr &= (uint8_t)~LSR_ERRORS;
		return v;
	case REG_MSR:
		v = u->msr;
		u->msr &= 0xf0;
		return v;
	default:
		return u->scr;
	}
}

uint8_t uart_read(struct uart *u, unsigned reg)
{
	uint8_t v = read_reg(u, reg & 7);

	update_irq(u);
	return v;
}

void uart_write(struct uart *u, unsigned reg, uint8_t val)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (reg & 7) {
	case REG_DATA:
		if (dlab)
			u->divisor = (u->divisor & 0xff00) | val;
		else
			write_thr(u, val);
		break;
	case REG_IER:
		if (dlab)
			u->divisor = (uint16_t)((u->divisor & 0xff) | val << 8);
		else
			write_ier(u, val);
		break;
	case REG_IIR:
		write_fcr(u, val);
		break;
	case REG_LCR:
		u->lcr = val;
		break;
	case REG_MCR:
		write_mcr(u, val);
		break;
	case REG_SCR:
		u->scr = val;
		break;
	default: /* LSR and MSR: factory tests */
		break;
	}
	update_irq(u);
}

size_t uart_room(const struct uart *u)
{
	/* In loop-back the serial input is disconnected. */
	if (u->mcr & MCR_LOOP)
		return 0;
	return fifo_size(u) - MIN((unsigned)u->rx.len, fifo_size(u));
}

void uart_receive(struct uart *u, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		receive_one(u, data[i]);
	update_irq(u);
}

void uart_break(struct uart *u)
{
	receive_one(u, 0);
	u->lsr |= LSR_BI;
	update_irq(u);
}

void uart_writable(struct uart *u)
{
	drain(u);
	update_irq(u);
}

uint64_t uart_idle_ns(const struct uart *u)
{
	uint64_t divisor = u->divisor ? u->divisor : 1;

	if (!u->rx.len || u->timeout || u->rx.len >= trigger(u))
		return 0;
	/* Four characters of ten bits at 115200 / divisor baud. */
	return 40 * NS_PER_SEC / 115200 * divisor;
}

void uart_idle(struct uart *u)
{
	if (u->rx.len)
		u->timeout = true;
	update_irq(u);
}

static int fifo_check(void *obj, struct err *e)
{
	struct uart_fifo *f = obj;

	if (f->head >= UART_FIFO || f->len > UART_FIFO)
		return err_set(e, EINVAL, "uart: FIFO of %u bytes at %u", f->len, f->head);
	return 0;
}

#define S struct uart_fifo
const struct state_desc uart_fifo_state = {
	.name = "uart-fifo",
	.struct_name = "uart_fifo",
	.version = 1,
	.post_load = fifo_check,
	.fields = (const struct state_field[]){ ST_U8A(S, data), ST_U8(S, head), ST_U8(S, len),
						ST_END },
};
#undef S

static int uart_check(void *obj, struct err *e)
{
	struct uart *u = obj;

	if (u->ier > 0x0f || u->mcr > 0x1f || (!(u->fcr & FCR_ENABLE) && u->fcr) ||
	    u->rx.len > fifo_size(u) || u->tx.len > fifo_size(u))
		return err_set(e, EINVAL, "uart: impossible register values");
	return 0;
}

#define S struct uart
const struct state_desc uart_state = {
	.name = "uart",
	.struct_name = "uart",
	.version = 1,
	.post_load = uart_check,
	.fields =
		(const struct state_field[]){
			ST_HOST(S, irq), ST_HOST(S, send), ST_HOST(S, accept), ST_HOST(S, opaque),
			ST_U8(S, ier), ST_U8(S, lcr), ST_U8(S, mcr), ST_U8(S, lsr), ST_U8(S, msr),
			ST_U8(S, scr), ST_U8(S, fcr), ST_U16(S, divisor), ST_BOOL(S, thr_pending),
			ST_BOOL(S, timeout), ST_BOOL(S, level), ST_SUB(S, rx, &uart_fifo_state),
			ST_SUB(S, tx, &uart_fifo_state), ST_END },
};
#undef S

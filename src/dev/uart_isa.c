/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COM1 to COM4: a 16550A (uart16550.c) on its ISA ports, joined to a character end.
 *
 * Threads: registers on vCPU threads under dev->lock; the end's calls and the receive time-out on
 * the control loop, which take the lock themselves.
 */
#include "base/base.h"
#include "dev/uart16550.h"
#include "base/clock.h"
#include "base/trace.h"
#include "core/arch.h"
#include "core/backend.h"
#include "core/vm.h"

static const struct {
	uint16_t port;
	uint8_t irq;
} com[4] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };

uint16_t uart_com_port(unsigned index)
{
	return com[index & 3].port;
}

unsigned uart_com_irq(unsigned index)
{
	return com[index & 3].irq;
}

/* Under dev->lock: (re)starts the time-out of received bytes. */
static void watch_idle(struct uart_dev *s)
{
	uint64_t ns = uart_idle_ns(&s->chip);

	if (ns)
		loop_arm(s->d.vm->loop, &s->idle, clock_now_ns() + ns);
}

static uint64_t reg_read(void *opaque, uint64_t off, unsigned size)
{
	struct uart_dev *s = opaque;
	uint8_t v = uart_read(&s->chip, (unsigned)off);

	trace_serial_read((unsigned)off, v);
	if (!off)
		watch_idle(s);
	return v;
}

static void reg_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct uart_dev *s = opaque;

	trace_serial_write((unsigned)off, (uint8_t)val);
	uart_write(&s->chip, (unsigned)off, (uint8_t)val);
	/* A higher trigger level leaves bytes to the time-out that had been enough for an
	 * interrupt. */
	if (off == UART_FCR)
		watch_idle(s);
}

static const struct io_ops reg_ops = { reg_read, reg_write, 1, 1 };

static size_t chip_send(void *opaque, const uint8_t *data, size_t len)
{
	struct uart_dev *s = opaque;

	return s->end ? char_write(s->end, data, len) : len;
}

static void chip_accept(void *opaque)
{
	struct uart_dev *s = opaque;

	if (s->end)
		char_accept_input(s->end);
}

static size_t front_room(struct char_front *f)
{
	struct uart_dev *s = container_of(f, struct uart_dev, front);
	size_t n;

	pthread_mutex_lock(&s->d.lock);
	n = s->paused ? 0 : uart_room(&s->chip);
	pthread_mutex_unlock(&s->d.lock);
	return n;
}

static void front_receive(struct char_front *f, const uint8_t *data, size_t len)
{
	struct uart_dev *s = container_of(f, struct uart_dev, front);

	pthread_mutex_lock(&s->d.lock);
	uart_receive(&s->chip, data, len);
	watch_idle(s);
	pthread_mutex_unlock(&s->d.lock);
}

static void front_writable(struct char_front *f)
{
	struct uart_dev *s = container_of(f, struct uart_dev, front);

	pthread_mutex_lock(&s->d.lock);
	uart_writable(&s->chip);
	pthread_mutex_unlock(&s->d.lock);
}

static void front_break(struct char_front *f)
{
	struct uart_dev *s = container_of(f, struct uart_dev, front);

	pthread_mutex_lock(&s->d.lock);
	uart_break(&s->chip);
	pthread_mutex_unlock(&s->d.lock);
}

static void idle_fired(struct loop_timer *t)
{
	struct uart_dev *s = container_of(t, struct uart_dev, idle);

	pthread_mutex_lock(&s->d.lock);
	uart_idle(&s->chip);
	pthread_mutex_unlock(&s->d.lock);
}

/* Takes the first COM port that no other device has, or the one that was asked for. */
static int choose_port(struct uart_dev *s, struct err *e)
{
	bool taken[4] = { false };
	unsigned i = s->index;

	for (struct dev *d = s->d.vm->devs; d; d = d->next)
		if (d->type == &uart_dev_type && d != &s->d)
			taken[container_of(d, struct uart_dev, d)->index & 3] = true;
	if (i == UART_ANY)
		for (i = 0; i < 4 && taken[i]; i++)
			;
	if (i >= 4)
		return err_set(e, EBUSY, "%s: all four serial ports are taken", s->d.path);
	if (taken[i])
		return err_set(e, EBUSY, "%s: COM%u (index=%u) is there already", s->d.path, i + 1,
			       i);
	s->index = (uint8_t)i;
	return 0;
}

static int dev_init(struct dev *d, struct err *e)
{
	struct uart_dev *s = container_of(d, struct uart_dev, d);
	int r = choose_port(s, e);

	if (r)
		return r;
	s->idle.fn = idle_fired;
	s->chip.send = chip_send;
	s->chip.accept = chip_accept;
	s->chip.opaque = s;
	s->front = (struct char_front){ .room = front_room,
					.receive = front_receive,
					.writable = front_writable,
					.brk = front_break };
	s->chip.irq = arch_isa_irq(d->vm, com[s->index & 3].irq);
	uart_reset(&s->chip);
	if (s->chardev) {
		struct char_end *end = backend_claim(d->vm, BACKEND_CHAR, s->chardev, d->path, e);

		if (!end)
			return -EINVAL;
		r = char_attach(end, &s->front, e);
		if (r) {
			backend_release(d->vm, BACKEND_CHAR, s->chardev);
			return r;
		}
		s->end = end;
	}
	s->region = (struct map_region){ .name = "serial",
					 .space = MAP_PIO,
					 .kind = MAP_IO,
					 .addr = com[s->index & 3].port,
					 .size = 8,
					 .ops = &reg_ops,
					 .opaque = s,
					 .lock = &d->lock };
	return map_add(d->vm->map, &s->region, e);
}

static void dev_fini(struct dev *d)
{
	struct uart_dev *s = container_of(d, struct uart_dev, d);

	if (s->region.added)
		map_del(d->vm->map, &s->region);
	loop_disarm(d->vm->loop, &s->idle);
	if (s->end) {
		char_detach(s->end, &s->front);
		backend_release(d->vm, BACKEND_CHAR, s->chardev);
		s->end = NULL;
	}
}

static void dev_reset(struct dev *d)
{
	struct uart_dev *s = container_of(d, struct uart_dev, d);

	pthread_mutex_lock(&d->lock);
	uart_reset(&s->chip);
	pthread_mutex_unlock(&d->lock);
	chip_accept(s);
}

static void dev_pause(struct dev *d)
{
	struct uart_dev *s = container_of(d, struct uart_dev, d);

	pthread_mutex_lock(&d->lock);
	s->paused = true;
	loop_disarm(d->vm->loop, &s->idle);
	pthread_mutex_unlock(&d->lock);
}

/* What a FIFO holds goes out now, and what it has room for comes in. */
static void dev_resume(struct dev *d)
{
	struct uart_dev *s = container_of(d, struct uart_dev, d);

	pthread_mutex_lock(&d->lock);
	s->paused = false;
	uart_writable(&s->chip);
	watch_idle(s);
	pthread_mutex_unlock(&d->lock);
	chip_accept(s);
}

static const struct prop props[] = {
	PROP_STRING("chardev", struct uart_dev, chardev, NULL, "character device to connect"),
	PROP_UINT("index", struct uart_dev, index, PROP_U8, UART_ANY, 0, UART_ANY,
		  "which port: 0 is COM1; default: the first free one"),
	PROPS_END,
};

#define S struct uart_dev
static const struct state_desc dev_state = {
	.name = "isa-serial",
	.struct_name = "uart_dev",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, d), ST_SUB(S, chip, &uart_state),
						ST_HOST(S, front), ST_HOST(S, end),
						ST_HOST(S, idle), ST_DERIVED(S, paused),
						ST_HOST(S, region), ST_HOST(S, chardev),
						ST_HOST(S, index), ST_END },
};
#undef S

const struct dev_type uart_dev_type = {
	.name = "isa-serial",
	.bus = DEV_BUS_ISA,
	.help = "16550A serial port",
	.size = sizeof(struct uart_dev),
	.props = props,
	.state = &dev_state,
	.init = dev_init,
	.fini = dev_fini,
	.reset = dev_reset,
	.pause = dev_pause,
	.resume = dev_resume,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* 16550A: registers, FIFOs, interrupts by priority, loop-back, slow line, device, state. */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "dev/uart16550.h"
#include "core/backend.h"
#include <fcntl.h>
#include <unistd.h>

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

struct rig {
	struct uart u;
	struct fm_line line;
	uint8_t got[256];
	size_t n, takes; /* takes: how many bytes the line takes from now on */
	unsigned accepts;
};

static size_t line_send(void *opaque, const uint8_t *data, size_t len)
{
	struct rig *r = opaque;
	size_t n = MIN(len, r->takes);

	assert_true(r->n + n <= sizeof(r->got));
	memcpy(r->got + r->n, data, n);
	r->n += n;
	r->takes -= n;
	return n;
}

static void line_accept(void *opaque)
{
	struct rig *r = opaque;

	r->accepts++;
}

static int setup(void **state)
{
	struct rig *r = xnew(struct rig);

	r->takes = SIZE_MAX;
	r->u.irq = fm_irq(&r->line);
	r->u.send = line_send;
	r->u.accept = line_accept;
	r->u.opaque = r;
	uart_reset(&r->u);
	uart_write(&r->u, MCR, 0x0b);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void receive(struct rig *r, const char *text)
{
	uart_receive(&r->u, (const uint8_t *)text, strlen(text));
}

static void test_registers(void **state)
{
	struct rig *r = *state;

	uart_write(&r->u, SCR, 0x5a);
	assert_int_equal(uart_read(&r->u, SCR), 0x5a);
	uart_write(&r->u, LCR, 0x83);
	uart_write(&r->u, DATA, 0x34);
	uart_write(&r->u, IER, 0x12);
	assert_int_equal(r->u.divisor, 0x1234);
	assert_int_equal(uart_read(&r->u, DATA), 0x34);
	assert_int_equal(uart_read(&r->u, IER), 0x12);
	uart_write(&r->u, LCR, 0x03);
	assert_int_equal(uart_read(&r->u, LCR), 0x03);
	uart_write(&r->u, IER, 0xff);
	assert_int_equal(uart_read(&r->u, IER), 0x0f);
	assert_int_equal(uart_read(&r->u, LSR), 0x60);
	uart_write(&r->u, LSR, 0xff);
	assert_int_equal(uart_read(&r->u, LSR), 0x60);
	assert_int_equal(uart_read(&r->u, IIR) & 0xc0, 0);
	uart_write(&r->u, IIR, 0x01);
	assert_int_equal(uart_read(&r->u, IIR) & 0xc0, 0xc0); /* a 16550A */
	assert_int_equal(r->n, 0);
}

static void test_transmit(void **state)
{
	struct rig *r = *state;

	for (const char *p = "hello"; *p; p++) {
		assert_true(uart_read(&r->u, LSR) & 0x20);
		uart_write(&r->u, DATA, (uint8_t)*p);
	}
	assert_int_equal(r->n, 5);
	assert_memory_equal(r->got, "hello", 5);
}

static void test_thre_interrupt(void **state)
{
	struct rig *r = *state;

	uart_write(&r->u, IER, 2); /* at once: the transmitter is empty */
	assert_int_equal(r->line.level, 1);
	assert_int_equal(uart_read(&r->u, IIR), 2);
	assert_int_equal(r->line.level, 0); /* reading it ends it */
	assert_int_equal(uart_read(&r->u, IIR), 1);
	uart_write(&r->u, DATA, 'x');
	assert_int_equal(r->line.level, 1);
	uart_write(&r->u, IER, 0);
	assert_int_equal(r->line.level, 0);
	uart_write(&r->u, IER, 2);
	assert_int_equal(r->line.level, 1);
	/* OUT2 gates the line. */
	uart_write(&r->u, MCR, 0x03);
	assert_int_equal(r->line.level, 0);
}

static void test_slow_line(void **state)
{
	struct rig *r = *state;

	uart_write(&r->u, IIR, 0x01);
	uart_write(&r->u, IER, 2);
	uart_read(&r->u, IIR);
	r->takes = 1;
	uart_write(&r->u, DATA, 'a');
	uart_read(&r->u, IIR);
	uart_write(&r->u, DATA, 'b');
	uart_write(&r->u, DATA, 'c');
	assert_int_equal(r->n, 1);
	assert_int_equal(uart_read(&r->u, LSR) & 0x60, 0);
	assert_int_equal(r->line.level, 0);
	for (unsigned i = 0; i < 20; i++) /* overruns its FIFO: the oldest go */
		uart_write(&r->u, DATA, (uint8_t)('A' + i));
	r->takes = SIZE_MAX;
	uart_writable(&r->u);
	assert_int_equal(r->n, 17);
	assert_memory_equal(r->got + 1, "EFGHIJKLMNOPQRST", 16);
	assert_int_equal(uart_read(&r->u, LSR) & 0x60, 0x60);
	assert_int_equal(r->line.level, 1);
	/* Clearing the FIFO drops what waits. */
	r->takes = 0;
	uart_write(&r->u, DATA, 'z');
	uart_write(&r->u, IIR, 0x05);
	assert_int_equal(uart_read(&r->u, LSR) & 0x60, 0x60);
}

static void test_receive(void **state)
{
	struct rig *r = *state;

	assert_int_equal(uart_room(&r->u), 1); /* no FIFO yet */
	uart_write(&r->u, IER, 1);
	receive(r, "q");
	assert_int_equal(uart_room(&r->u), 0);
	assert_int_equal(r->line.level, 1);
	assert_int_equal(uart_read(&r->u, IIR), 4);
	receive(r, "w"); /* nobody asked: overrun */
	uart_write(&r->u, IER, 5);
	assert_int_equal(uart_read(&r->u, IIR), 6);
	assert_int_equal(uart_read(&r->u, LSR) & 3, 3);
	assert_int_equal(uart_read(&r->u, LSR) & 3, 1);
	r->accepts = 0;
	assert_int_equal(uart_read(&r->u, DATA), 'q');
	assert_int_equal(r->accepts, 1);
	assert_int_equal(r->line.level, 0);
	assert_int_equal(uart_read(&r->u, LSR) & 1, 0);
	assert_int_equal(uart_read(&r->u, DATA), 0);
}

static void test_fifo_trigger_and_timeout(void **state)
{
	struct rig *r = *state;

	uart_write(&r->u, IIR, 0x81); /* at 8 */
	uart_write(&r->u, IER, 1);
	receive(r, "1234567");
	assert_int_equal(r->line.level, 0);
	assert_true(uart_idle_ns(&r->u) > 0);
	uart_idle(&r->u);
	assert_int_equal(uart_read(&r->u, IIR), 0xcc);
	assert_int_equal(uart_idle_ns(&r->u), 0);
	assert_int_equal(uart_read(&r->u, DATA), '1');
	assert_int_equal(r->line.level, 0); /* traffic ends it */
	receive(r, "89");
	assert_int_equal(uart_read(&r->u, IIR), 0xc4);
	assert_int_equal(uart_room(&r->u), 8);
	receive(r, "abcdefgh");
	assert_int_equal(uart_room(&r->u), 0);
	for (const char *p = "23456789abcdefgh"; *p; p++)
		assert_int_equal(uart_read(&r->u, DATA), *p);
	assert_int_equal(uart_idle_ns(&r->u), 0);
	receive(r, "x");
	uart_write(&r->u, IIR, 0x03); /* clears the receiver */
	assert_int_equal(uart_read(&r->u, LSR) & 1, 0);
}

static void test_break(void **state)
{
	struct rig *r = *state;

	uart_write(&r->u, IER, 4);
	uart_break(&r->u);
	assert_int_equal(uart_read(&r->u, IIR), 6);
	assert_int_equal(uart_read(&r->u, LSR) & 0x11, 0x11);
	assert_int_equal(uart_read(&r->u, DATA), 0);
}

static void test_loopback(void **state)
{
	struct rig *r = *state;

	uart_write(&r->u, MCR, 0x10);
	assert_int_equal(uart_read(&r->u, MSR) & 0xf0, 0);
	uart_write(&r->u, MCR, 0x1a);			      /* RTS, OUT2 */
	assert_int_equal(uart_read(&r->u, MSR), 0x90 | 0x09); /* CTS, DCD and their deltas */
	assert_int_equal(uart_read(&r->u, MSR), 0x90);
	uart_write(&r->u, MCR, 0x15); /* DTR, OUT1 */
	assert_int_equal(uart_read(&r->u, MSR) & 0xf0, 0x60);
	uart_write(&r->u, MCR, 0x11); /* RI falls: TERI */
	assert_true(uart_read(&r->u, MSR) & 0x04);
	uart_write(&r->u, DATA, 0x42);
	assert_int_equal(r->n, 0);
	assert_int_equal(uart_read(&r->u, DATA), 0x42);
	assert_int_equal(uart_room(&r->u), 0);
	uart_write(&r->u, IER, 8);
	r->accepts = 0;
	uart_write(&r->u, MCR, 0x0b);
	assert_int_equal(r->accepts, 1);    /* the input is connected again */
	assert_int_equal(r->line.level, 1); /* the deltas of leaving it */
	assert_int_equal(uart_read(&r->u, IIR), 0);
	uart_read(&r->u, MSR);
	assert_int_equal(r->line.level, 0);
}

static void test_state(void **state)
{
	struct rig *r = *state;
	struct uart other = { 0 };

	uart_write(&r->u, IIR, 0x01);
	receive(r, "abc");
	uart_reset(&other);
	assert_true(fm_round_trip(&uart_state, &r->u, &other));
	assert_int_equal(uart_read(&other, DATA), 'a');
	r->u.rx.head = 16;
	assert_false(fm_round_trip(&uart_state, &r->u, &other));
	r->u.rx.head = 0;
	r->u.rx.len = 17;
	assert_false(fm_round_trip(&uart_state, &r->u, &other));
	r->u.rx.len = 2;
	r->u.fcr = 0; /* two bytes without a FIFO */
	assert_false(fm_round_trip(&uart_state, &r->u, &other));
}

static void close_end(void *end)
{
	char_close(end);
}

static void test_device(void **state)
{
	struct fm *m = fm_new(0, 0, false);
	struct conf_node *n = conf_add(m->vm.conf, CONF_CHARDEV, "file", "c0", "-chardev file");
	struct conf_node *dn = conf_add(m->vm.conf, CONF_DEVICE, "isa-serial", "s0", "-device");
	char path[] = "/tmp/hanok-uart-XXXXXX", got[8] = { 0 };
	int fd = mkstemp(path);
	struct fm_line line = { 0 };
	struct err e = { 0 };
	struct char_end *end;
	struct dev *d, *second;

	conf_set(n, "path", path);
	end = char_open(m->vm.loop, n, &e);
	if (!end)
		fail_msg("%s", e.msg);
	assert_int_equal(backend_add_take(&m->vm, BACKEND_CHAR, "c0", end, close_end, &e), 0);
	conf_set(dn, "chardev", "c0");
	conf_set(dn, "index", "1");
	if (dev_create(&m->vm, dn, &d, &e))
		fail_msg("%s", e.msg);
	container_of(d, struct uart_dev, d)->chip.irq = fm_irq(&line);
	/* The end is taken. */
	dn = conf_add(m->vm.conf, CONF_DEVICE, "isa-serial", "s1", "-device");
	conf_set(dn, "chardev", "c0");
	assert_true(dev_create(&m->vm, dn, &second, &e) < 0);
	assert_non_null(strstr(e.msg, "c0"));
	/* So is the port; without a wish it is the first free one. */
	dn = conf_add(m->vm.conf, CONF_DEVICE, "isa-serial", "s2", "-device");
	conf_set(dn, "index", "1");
	assert_true(dev_create(&m->vm, dn, &second, &e) < 0);
	assert_non_null(strstr(e.msg, "COM2"));
	dn = conf_add(m->vm.conf, CONF_DEVICE, "isa-serial", "s3", "-device");
	assert_int_equal(dev_create(&m->vm, dn, &second, &e), 0);
	assert_int_equal(container_of(second, struct uart_dev, d)->index, 0);
	dev_destroy(second);
	for (const char *p = "host"; *p; p++)
		fm_out(m, uart_com_port(1), (uint8_t)*p, 1);
	loop_once(m->vm.loop, 0);
	fm_out(m, (uint16_t)(uart_com_port(1) + SCR), 0x77, 1);
	assert_int_equal(fm_in(m, (uint16_t)(uart_com_port(1) + SCR), 1), 0x77);
	assert_int_equal(fm_in(m, uart_com_port(0), 1), 0xff);
	/* Input from the loop's side raises the line, and so does its time-out. */
	fm_out(m, (uint16_t)(uart_com_port(1) + IIR), 0xc1, 1);
	fm_out(m, (uint16_t)(uart_com_port(1) + IER), 1, 1);
	fm_out(m, (uint16_t)(uart_com_port(1) + MCR), 8, 1);
	container_of(d, struct uart_dev, d)
		->front.receive(&container_of(d, struct uart_dev, d)->front, (const uint8_t *)"k",
				1);
	for (unsigned i = 0; i < 100 && !line.level; i++)
		loop_once(m->vm.loop, 20);
	assert_int_equal(line.level, 1);
	/* A byte that was enough, and no longer is when the trigger level rises, times out too. */
	fm_in(m, uart_com_port(1), 1);
	fm_out(m, (uint16_t)(uart_com_port(1) + IIR), 0x01, 1);
	container_of(d, struct uart_dev, d)
		->front.receive(&container_of(d, struct uart_dev, d)->front, (const uint8_t *)"l",
				1);
	assert_int_equal(line.level, 1);
	fm_out(m, (uint16_t)(uart_com_port(1) + IIR), 0x81, 1);
	assert_int_equal(line.level, 0);
	for (unsigned i = 0; i < 100 && !line.level; i++)
		loop_once(m->vm.loop, 20);
	assert_int_equal(line.level, 1);
	d->type->reset(d);
	assert_int_equal(line.level, 0);
	dev_destroy(d);
	backend_close_all(&m->vm);
	assert_int_equal(pread(fd, got, sizeof(got), 0), 4);
	assert_string_equal(got, "host");
	close(fd);
	unlink(path);
	fm_free(m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_registers), T(test_transmit), T(test_thre_interrupt),
		T(test_slow_line), T(test_receive),  T(test_fifo_trigger_and_timeout),
		T(test_break),	   T(test_loopback), T(test_state),
		T(test_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

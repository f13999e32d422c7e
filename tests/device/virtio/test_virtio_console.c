/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console device with its ports, between a driver model and socket ends: announcement of
 * ports, open and close from both sides, data both ways with back-pressure, size, state.
 */
#include "cmocka_all.h"

#include "base/bytes.h"
#include "char/char.h"
#include "core/backend.h"
#include "core/event.h"
#include "virtio/virtio_console.h"
#include "virtio_driver.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

const struct dev_type *const dev_types[] = { &virtio_console_pci_type, &virtconsole_type,
					     &virtserialport_type, NULL };

enum { READY, ADD, REMOVE, PORT_READY, CONSOLE, RESIZE, OPEN, NAME };

#define MULTIPORT BIT64(1)

struct rig {
	struct vdrv_vm *t;
	struct dev *dev;
	struct vdrv d;
	struct char_end *end[2]; /* unix sockets "c0", "c1" */
	int peer[2];
	char path[2][64];
};

static void close_end(void *end)
{
	char_close(end);
}

static void make_end(struct rig *r, unsigned i)
{
	struct conf_node *node;
	char id[8];
	struct err e = { 0 };

	snprintf(id, sizeof(id), "c%u", i);
	snprintf(r->path[i], sizeof(r->path[i]), "/tmp/hanok-t-%d-%u", getpid(), i);
	node = conf_add(r->t->vm.conf, CONF_CHARDEV, "socket", id, "-chardev");
	conf_set(node, "path", r->path[i]);
	conf_set(node, "server", "on");
	conf_set(node, "wait", "off");
	r->end[i] = char_open(r->t->vm.loop, node, &e);
	if (!r->end[i] ||
	    backend_add_take(&r->t->vm, BACKEND_CHAR, id, r->end[i], close_end, &e) < 0)
		fail_msg("%s", e.msg);
	r->peer[i] = -1;
}

static void spin(struct rig *r)
{
	for (unsigned i = 0; i < 8; i++)
		loop_once(r->t->vm.loop, i < 4 ? 1 : 0);
}

static void join(struct rig *r, unsigned i)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	strcpy(un.sun_path, r->path[i]);
	r->peer[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(r->peer[i], (struct sockaddr *)&un, sizeof(un)), 0);
	spin(r);
}

static int setup(void **state)
{
	struct rig *r = xnew(struct rig);

	r->t = vdrv_vm_new();
	make_end(r, 0);
	make_end(r, 1);
	r->dev = vdrv_make(r->t, "virtio-serial-pci,max_ports=4");
	*state = r;
	return 0;
}

/* The port types are no PCI devices; the rest of vdrv_make() does no harm. */
static void with_ports(struct rig *r)
{
	vdrv_make(r->t, "virtconsole,chardev=c0");
	vdrv_make(r->t, "virtserialport,chardev=c1,name=org.test.0");
}

static int teardown(void **state)
{
	struct rig *r = *state;

	for (unsigned i = 0; i < 2; i++)
		close(r->peer[i]);
	while (r->t->vm.devs)
		dev_destroy(r->t->vm.devs);
	backend_close_all(&r->t->vm);
	vdrv_vm_free(r->t);
	free(r);
	return 0;
}

/* ---- driver ---- */

#define CELL(q, i) (MIB(16) + KIB(64) * (q) + 1024 * (i))

static void offer(struct rig *r, unsigned q, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++) {
		struct dbuf b = { CELL(q, i), len };

		assert_true(dring_add(&r->d.q[q], &b, 0, 1, false, i));
	}
	vdrv_kick(&r->d, q);
}

static void send_bytes(struct rig *r, unsigned q, const void *data, uint32_t len)
{
	static unsigned at;
	struct dbuf b = { MIB(24) + KIB(128) * (at++ % 16), len };

	memcpy(vdrv_mem(r->t, b.gpa), data, len);
	assert_true(dring_add(&r->d.q[q], &b, 1, 0, false, 0));
	vdrv_kick(&r->d, q);
}

static void control(struct rig *r, uint32_t id, uint16_t event, uint16_t value)
{
	uint8_t msg[8];
	uint32_t token, len;

	st_le32(msg, id);
	st_le16(msg + 4, event);
	st_le16(msg + 6, value);
	send_bytes(r, 3, msg, 8);
	assert_true(dring_used(&r->d.q[3], &token, &len));
}

/* The next message must be this one. */
static void expect(struct rig *r, uint32_t id, uint16_t event, uint16_t value, const char *text)
{
	uint32_t token, len;
	const uint8_t *m;

	if (!dring_used(&r->d.q[2], &token, &len))
		fail_msg("no message, event %u of port %u expected", event, id);
	m = vdrv_mem(r->t, CELL(2, token));
	assert_int_equal(ld_le32(m), id);
	assert_int_equal(ld_le16(m + 4), event);
	assert_int_equal(ld_le16(m + 6), value);
	assert_int_equal(len, 8 + (text ? strlen(text) : 0));
	if (text)
		assert_memory_equal(m + 8, text, strlen(text));
}

static void expect_silence(struct rig *r)
{
	assert_false(dring_has_used(&r->d.q[2]));
}

static void start(struct rig *r, uint64_t features)
{
	vdrv_start(&r->d, r->t, r->dev, features, 10);
	if (features & MULTIPORT)
		offer(r, 2, 32, 128);
}

static size_t take(struct rig *r, unsigned i, char *buf, size_t size)
{
	ssize_t n = 0, all = 0;

	for (unsigned tries = 0; tries < 20 && (size_t)all < size; tries++) {
		spin(r);
		n = read(r->peer[i], buf + all, size - (size_t)all);
		if (n > 0)
			all += n;
		else if (all)
			break;
	}
	return (size_t)all;
}

/* ---- tests ---- */

static void announcement(void **state)
{
	struct rig *r = *state;

	with_ports(r);
	start(r, MULTIPORT);
	expect_silence(r);
	control(r, 0, READY, 1);
	expect(r, 0, ADD, 1, NULL);
	expect(r, 1, ADD, 1, NULL);
	expect_silence(r);
	control(r, 0, PORT_READY, 1);
	expect(r, 0, CONSOLE, 1, NULL);
	expect(r, 0, OPEN, 1, NULL);
	control(r, 1, PORT_READY, 1); /* nobody at the socket: not open */
	expect(r, 1, NAME, 1, "org.test.0");
	expect_silence(r);
	join(r, 1);
	expect(r, 1, OPEN, 1, NULL);
	close(r->peer[1]);
	r->peer[1] = -1;
	spin(r);
	expect(r, 1, OPEN, 0, NULL);
	expect_silence(r);
	/* Ports that do not exist, and messages that a driver does not send. */
	control(r, 2, PORT_READY, 1);
	control(r, 0xffffffff, OPEN, 1);
	control(r, 0, NAME, 1);
	expect_silence(r);
	assert_int_equal(vdrv_status(&r->d), 15);
	assert_int_equal(vdrv_rd(&r->d, r->d.cfg + 4, 4), 4);
}

/* Messages wait as flags while the driver has no buffers. */
static void no_buffers(void **state)
{
	struct rig *r = *state;

	with_ports(r);
	vdrv_start(&r->d, r->t, r->dev, MULTIPORT, 10);
	for (unsigned i = 0; i < 1000; i++) {
		control(r, 0, READY, 1);
		control(r, 0, PORT_READY, 1);
	}
	offer(r, 2, 8, 128);
	expect(r, 0, ADD, 1, NULL);
	expect(r, 0, CONSOLE, 1, NULL);
	expect(r, 0, OPEN, 1, NULL);
	expect(r, 1, ADD, 1, NULL);
	expect_silence(r);
}

static void data_both_ways(void **state)
{
	struct rig *r = *state;
	uint32_t token, len;
	char buf[64];

	with_ports(r);
	start(r, MULTIPORT);
	join(r, 0);
	control(r, 0, PORT_READY, 1);
	control(r, 0, OPEN, 1);
	send_bytes(r, 1, "hello", 5);
	assert_int_equal(take(r, 0, buf, 5), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_true(dring_used(&r->d.q[1], &token, &len));
	/* To the guest: only as much as it has buffers for; the rest stays with the host. */
	assert_int_equal(write(r->peer[0], "0123456789", 10), 10);
	spin(r);
	assert_false(dring_has_used(&r->d.q[0]));
	offer(r, 0, 1, 4);
	spin(r);
	assert_true(dring_used(&r->d.q[0], &token, &len));
	assert_int_equal(len, 4);
	assert_memory_equal(vdrv_mem(r->t, CELL(0, 0)), "0123", 4);
	offer(r, 0, 3, 4);
	spin(r);
	assert_true(dring_used(&r->d.q[0], &token, &len));
	assert_true(dring_used(&r->d.q[0], &token, &len));
	assert_int_equal(len, 2);
	assert_memory_equal(vdrv_mem(r->t, CELL(0, 1)), "89", 2);
	assert_false(dring_has_used(&r->d.q[0]));
}

static void closed_port_gets_nothing(void **state)
{
	struct rig *r = *state;
	uint32_t token, len;

	with_ports(r);
	start(r, MULTIPORT);
	join(r, 1);
	control(r, 1, PORT_READY, 1);
	offer(r, 4, 4, 16);
	assert_int_equal(write(r->peer[1], "abc", 3), 3);
	spin(r);
	assert_false(dring_has_used(&r->d.q[4]));
	control(r, 1, OPEN, 1);
	spin(r);
	assert_true(dring_used(&r->d.q[4], &token, &len));
	assert_int_equal(len, 3);
	control(r, 1, OPEN, 0);
	assert_int_equal(write(r->peer[1], "def", 3), 3);
	spin(r);
	assert_false(dring_has_used(&r->d.q[4]));
}

/* A host that does not read stops the guest, which loses nothing. */
struct ear {
	struct vm_observer o;
	char text[200];
};

static void hear(struct vm_observer *o, const struct vm_event *ev)
{
	struct ear *ear = container_of(o, struct ear, o);

	if (ev->kind == VM_EV_VSERPORT_CHANGE)
		snprintf(ear->text + strlen(ear->text), sizeof(ear->text) - strlen(ear->text),
			 "%s=%d ", ev->name, (int)ev->value);
}

/* Who looks from outside sees whether the guest has a port open, and hears when that changes. */
static void open_is_told(void **state)
{
	struct rig *r = *state;
	struct ear ear = { .o.fn = hear };

	vdrv_make(r->t, "virtserialport,chardev=c1,id=port1");
	vm_observe(&r->t->vm, &ear.o);
	assert_false(char_front_open(r->end[0])); /* has no front at all */
	start(r, MULTIPORT);
	control(r, 0, READY, 1);
	control(r, 1, PORT_READY, 1);
	assert_false(char_front_open(r->end[1]));
	control(r, 1, OPEN, 1);
	control(r, 1, OPEN, 1);
	assert_true(char_front_open(r->end[1]));
	control(r, 1, OPEN, 0);
	assert_false(char_front_open(r->end[1]));
	control(r, 1, OPEN, 1);
	r->dev->type->reset(r->dev);
	assert_false(char_front_open(r->end[1]));
	assert_string_equal(ear.text, "port1=1 port1=0 port1=1 port1=0 ");
	vm_unobserve(&r->t->vm, &ear.o);
}

static void backpressure(void **state)
{
	struct rig *r = *state;
	size_t sent = 0, got = 0;
	uint32_t token, len;
	static char block[65536], back[65536];
	unsigned refused = 0;

	with_ports(r);
	start(r, MULTIPORT);
	join(r, 0);
	control(r, 0, OPEN, 1);
	for (unsigned i = 0; i < 12; i++) {
		for (unsigned b = 0; b < sizeof(block); b++)
			block[b] = (char)(i * 31 + b * 7 + (b >> 8));
		send_bytes(r, 1, block, sizeof(block));
		sent += sizeof(block);
		spin(r);
		while (dring_used(&r->d.q[1], &token, &len))
			;
		refused += r->d.q[1].free_slots < r->d.q[1].size;
	}
	assert_true(refused > 0); /* the socket buffer is smaller than what we sent */
	while (got < sent) {
		size_t n = take(r, 0, back, sizeof(back) - got % sizeof(back)), i = got / 65536;

		if (!n)
			break;
		for (size_t k = 0; k < n; k++) {
			size_t b = (got + k) % 65536;

			assert_int_equal((uint8_t)back[k], (uint8_t)(i * 31 + b * 7 + (b >> 8)));
		}
		got += n;
	}
	assert_int_equal(got, sent);
	spin(r);
	while (dring_used(&r->d.q[1], &token, &len))
		;
	assert_int_equal(r->d.q[1].free_slots, r->d.q[1].size);
}

/* A reset of the queue drops the chain that is half out; the next one comes whole. */
static void queue_reset_forgets_the_half(void **state)
{
	struct rig *r = *state;
	static char block[65536], back[65536];
	size_t n, last = 0;

	with_ports(r);
	start(r, MULTIPORT | BIT64(VIRTIO_F_RING_RESET));
	join(r, 0);
	control(r, 0, OPEN, 1);
	for (unsigned i = 0; i < 12; i++) {
		send_bytes(r, 1, block, sizeof(block));
		spin(r);
	}
	assert_true(console_of_dev(r->dev)->port[0].tx_off > 0);
	vdrv_wr(&r->d, r->d.common + 0x16, 1, 2);
	vdrv_wr(&r->d, r->d.common + 0x3a, 1, 2);
	vdrv_queue(&r->d, 1, 0);
	while ((n = take(r, 0, back, sizeof(back))))
		last = n;
	assert_true(last > 0);
	send_bytes(r, 1, "hello", 5);
	assert_int_equal(take(r, 0, back, 5), 5);
	assert_memory_equal(back, "hello", 5);
}

/* Drivers of old know one port and no control queues. */
static void without_multiport(void **state)
{
	struct rig *r = *state;
	uint32_t token, len;
	char buf[8];

	with_ports(r);
	start(r, 0);
	join(r, 0);
	offer(r, 0, 1, 16);
	assert_int_equal(write(r->peer[0], "xy", 2), 2);
	spin(r);
	assert_true(dring_used(&r->d.q[0], &token, &len));
	assert_int_equal(len, 2);
	send_bytes(r, 1, "ok", 2);
	assert_int_equal(take(r, 0, buf, 2), 2);
}

static void emergency_write(void **state)
{
	struct rig *r = *state;
	char buf[4];

	with_ports(r);
	vdrv_open(&r->d, r->t, r->dev);
	join(r, 0);
	vdrv_wr(&r->d, r->d.cfg + 8, 'E', 4); /* before anything is set up */
	assert_int_equal(take(r, 0, buf, 1), 1);
	assert_int_equal(buf[0], 'E');
}

static void size_changes(void **state)
{
	struct rig *r = *state;
	struct virtio_console *vc = console_of_dev(r->dev);
	uint32_t token, len;
	unsigned irqs;

	with_ports(r);
	start(r, MULTIPORT);
	control(r, 0, PORT_READY, 1);
	expect(r, 0, CONSOLE, 1, NULL);
	expect(r, 0, OPEN, 1, NULL);
	irqs = r->t->msi[0];
	vc->port[0].front.resized(&vc->port[0].front, 132, 43);
	assert_int_equal(r->t->msi[0], irqs + 1);
	assert_int_equal(vdrv_rd(&r->d, r->d.cfg, 2), 132);
	assert_int_equal(vdrv_rd(&r->d, r->d.cfg + 2, 2), 43);
	assert_true(dring_used(&r->d.q[2], &token, &len));
	assert_int_equal(len, 12);
	assert_memory_equal(vdrv_mem(r->t, CELL(2, token)), "\0\0\0\0\5\0\1\0\x84\0\x2b\0", 12);
}

static void places(void **state)
{
	struct rig *r = *state;
	struct err e = { 0 };

	assert_null(vdrv_try_make(r->t, "virtserialport,nr=0", &e));
	assert_non_null(strstr(e.msg, "virtconsole"));
	assert_null(vdrv_try_make(r->t, "virtserialport,nr=4", &e));
	assert_null(vdrv_try_make(r->t, "virtconsole,bus=other.0", &e));
	assert_null(vdrv_try_make(r->t, "virtconsole,chardev=nope", &e));
	vdrv_make(r->t, "virtserialport,nr=2");
	assert_null(vdrv_try_make(r->t, "virtserialport,nr=2", &e));
	vdrv_make(r->t, "virtserialport"); /* 1 */
	vdrv_make(r->t, "virtserialport"); /* 3 */
	assert_null(vdrv_try_make(r->t, "virtserialport", &e));
	assert_non_null(strstr(e.msg, "max_ports"));
	vdrv_make(r->t, "virtconsole"); /* 0 */
}

static void migration(void **state)
{
	struct rig *r = *state;
	struct vdrv_vm *t2 = vdrv_vm_new();
	struct dev *dev2 = vdrv_make(t2, "virtio-serial-pci,max_ports=4");
	struct virtio_console *vc2 = console_of_dev(dev2);
	uint32_t token, len;

	with_ports(r);
	vdrv_make(t2, "virtconsole");
	vdrv_make(t2, "virtserialport,name=org.test.0");
	vdrv_start(&r->d, r->t, r->dev, MULTIPORT, 10);
	control(r, 0, READY, 1); /* messages wait: they come along */
	control(r, 0, OPEN, 1);
	vdrv_migrate(r->t, r->dev, t2, dev2);
	assert_true(vc2->port[0].guest_open);
	assert_false(vc2->port[1].guest_open);
	for (unsigned i = 0; i < 10; i++)
		r->d.q[i].t = t2;
	r->d.t = t2;
	for (unsigned i = 0; i < 4; i++) {
		struct dbuf b = { CELL(2, i), 128 };

		assert_true(dring_add(&r->d.q[2], &b, 0, 1, false, i));
	}
	vdrv_kick(&r->d, 2);
	assert_true(dring_used(&r->d.q[2], &token, &len));
	assert_int_equal(ld_le16((uint8_t *)vdrv_mem(t2, CELL(2, 0)) + 4), ADD);
	assert_true(dring_used(&r->d.q[2], &token, &len));
	assert_int_equal(ld_le32(vdrv_mem(t2, CELL(2, 1))), 1);
	vdrv_vm_free(t2);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(announcement),
		T(no_buffers),
		T(data_both_ways),
		T(closed_port_gets_nothing),
		T(open_is_told),
		T(backpressure),
		T(without_multiport),
		T(queue_reset_forgets_the_half),
		T(emergency_write),
		T(size_changes),
		T(places),
		T(migration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

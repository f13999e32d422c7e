/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device: fills what it is given, no more, and never holds a thread for long. */
#include "cmocka_all.h"

#include "core/backend.h"
#include "core/object.h"
#include "virtio_driver.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

extern const struct dev_type virtio_rng_pci_type;
const struct dev_type *const dev_types[] = { &virtio_rng_pci_type, NULL };

static void fills_buffers(void **state)
{
	static const uint64_t features[] = { 0,
					     BIT64(VIRTIO_F_EVENT_IDX) |
						     BIT64(VIRTIO_F_INDIRECT_DESC),
					     BIT64(VIRTIO_F_RING_PACKED) };

	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		struct vdrv_vm *t = vdrv_vm_new();
		struct dbuf b[2] = { { MIB(16) + 16, 100 }, { MIB(17), 28 } };
		unsigned ones = 0;
		struct vdrv d;
		uint32_t token, len;

		vdrv_start(&d, t, vdrv_make(t, "virtio-rng,packed=on"), features[i], 1);
		assert_true(dring_add(&d.q[0], b, 0, 2, features[i] & BIT64(28), 7));
		assert_true(dring_kick_needed(&d.q[0]));
		vdrv_kick(&d, 0);
		assert_true(dring_used(&d.q[0], &token, &len));
		assert_int_equal(token, 7);
		assert_int_equal(len, 128);
		assert_int_equal(t->msi[1], 1);
		for (unsigned n = 0; n < 100; n++)
			ones += (unsigned)__builtin_popcount(*(uint8_t *)vdrv_mem(t, b[0].gpa + n));
		assert_in_range(ones, 250, 550); /* 400 of 800 expected; this is 10 sigma */
		assert_int_equal(*(uint8_t *)vdrv_mem(t, b[0].gpa - 1), 0);
		assert_int_equal(*(uint8_t *)vdrv_mem(t, b[0].gpa + 100), 0);
		assert_int_equal(*(uint8_t *)vdrv_mem(t, b[1].gpa + 28), 0);
		vdrv_vm_free(t);
	}
}

static void odd_chains(void **state)
{
	struct vdrv_vm *t = vdrv_vm_new();
	struct dbuf out = { MIB(16), 64 }, huge = { MIB(16), (uint32_t)MIB(8) };
	struct vdrv d;
	uint32_t token, len;

	vdrv_start(&d, t, vdrv_make(t, "virtio-rng-pci"), 0, 1);
	assert_true(dring_add(&d.q[0], &out, 1, 0, false, 1)); /* nothing to write into */
	assert_true(dring_add(&d.q[0], &huge, 0, 1, false, 2));
	vdrv_kick(&d, 0);
	assert_true(dring_used(&d.q[0], &token, &len));
	assert_int_equal(len, 0);
	assert_true(dring_used(&d.q[0], &token, &len));
	assert_in_range(len, 1, 4096); /* partial, but something */
	vdrv_vm_free(t);
}

/* A full ring is more than one kick's budget; the loop does the rest. */
static void budget(void **state)
{
	struct vdrv_vm *t = vdrv_vm_new();
	struct dbuf b = { MIB(16), 4096 };
	struct vdrv d;
	uint32_t token, len, got = 0;

	vdrv_start(&d, t, vdrv_make(t, "virtio-rng-pci"), 0, 1);
	while (dring_add(&d.q[0], &b, 0, 1, false, 0))
		;
	vdrv_kick(&d, 0);
	while (dring_used(&d.q[0], &token, &len))
		got++;
	assert_int_equal(got, 16); /* 64 KiB */
	for (unsigned i = 0; i < 10 && got < 64; i++) {
		loop_once(t->vm.loop, 10);
		while (dring_used(&d.q[0], &token, &len))
			got++;
	}
	assert_int_equal(got, 64);
	/* Work that waits when the device goes must not run. */
	while (dring_add(&d.q[0], &b, 0, 1, false, 0))
		;
	vdrv_kick(&d, 0);
	dev_destroy(t->vm.devs);
	loop_once(t->vm.loop, 0);
	vdrv_vm_free(t);
}

static void add_source(struct vdrv_vm *t, const char *type, const char *filename)
{
	struct vm_conf *conf = vm_conf_new();
	struct conf_node *n = conf_add(conf, CONF_OBJECT, type, "src", "-object");
	struct err e = { 0 };

	if (filename)
		conf_set(n, "filename", filename);
	if (obj_create(&t->vm, n, &e) < 0)
		fail_msg("%s", e.msg);
	vm_conf_free(conf);
}

/* An object has the say: its bytes reach the guest, and while it has none the chain waits. */
static void from_an_object(void **state)
{
	struct vdrv_vm *t = vdrv_vm_new();
	struct dbuf b = { MIB(16), 64 };
	struct vdrv d;
	uint32_t token, len;
	int fd;

	assert_int_equal(mkfifo("rng-test.fifo", 0600), 0);
	fd = open("rng-test.fifo", O_RDWR);
	add_source(t, "rng-random", "rng-test.fifo");
	vdrv_start(&d, t, vdrv_make(t, "virtio-rng-pci,rng=src"), 0, 1);
	assert_true(dring_add(&d.q[0], &b, 0, 1, false, 1));
	vdrv_kick(&d, 0);
	assert_false(dring_used(&d.q[0], &token, &len));
	assert_int_equal(write(fd, "xxxx", 4), 4);
	while (!dring_used(&d.q[0], &token, &len))
		loop_once(t->vm.loop, -1);
	assert_int_equal(len, 4);
	assert_memory_equal(vdrv_mem(t, b.gpa), "xxxx", 4);
	dev_destroy(t->vm.devs);
	backend_close_all(&t->vm);
	vdrv_vm_free(t);
	close(fd);
	unlink("rng-test.fifo");
}

/* max-bytes in a period of milliseconds, and not more. */
static void quota(void **state)
{
	struct vdrv_vm *t = vdrv_vm_new();
	struct dbuf b = { MIB(16), 64 };
	struct vdrv d;
	uint32_t token, len;

	add_source(t, "rng-builtin", NULL);
	vdrv_start(&d, t, vdrv_make(t, "virtio-rng-pci,rng=src,max-bytes=100,period=3600000"), 0,
		   1);
	for (uint32_t i = 0; i < 3; i++)
		assert_true(dring_add(&d.q[0], &b, 0, 1, false, i));
	vdrv_kick(&d, 0);
	assert_true(dring_used(&d.q[0], &token, &len));
	assert_int_equal(len, 64);
	assert_true(dring_used(&d.q[0], &token, &len));
	assert_int_equal(len, 36);
	assert_false(dring_used(&d.q[0], &token, &len));
	dev_destroy(t->vm.devs);
	backend_close_all(&t->vm);
	vdrv_vm_free(t);
}

static void migrates(void **state)
{
	struct vdrv_vm *t = vdrv_vm_new(), *t2 = vdrv_vm_new();
	struct dev *d1 = vdrv_make(t, "virtio-rng-pci"), *d2 = vdrv_make(t2, "virtio-rng-pci");
	struct dbuf b = { MIB(16), 64 };
	struct vdrv d;
	uint32_t token, len;

	vdrv_start(&d, t, d1, BIT64(VIRTIO_F_EVENT_IDX), 1);
	for (uint32_t i = 0; i < 100; i++) {
		assert_true(dring_add(&d.q[0], &b, 0, 1, false, i));
		assert_true(dring_kick_needed(&d.q[0]));
		if (i == 50) { /* it is available, and its kick gets lost on the way */
			vdrv_migrate(t, d1, t2, d2);
			d.t = d.q[0].t = t2;
		} else {
			vdrv_kick(&d, 0);
		}
		assert_true(dring_used(&d.q[0], &token, &len));
		assert_int_equal(token, i);
	}
	vdrv_vm_free(t);
	vdrv_vm_free(t2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fills_buffers),  cmocka_unit_test(odd_chains),
		cmocka_unit_test(budget),	  cmocka_unit_test(migrates),
		cmocka_unit_test(from_an_object), cmocka_unit_test(quota),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

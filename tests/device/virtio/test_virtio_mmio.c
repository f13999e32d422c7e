/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mapped-register transport by its registers: discovery, negotiation, queues that work, the
 * level of the interrupt, queues taken back, wrong widths, places, state.
 */
#include "cmocka_all.h"

#include "base/bytes.h"
#include "core/state.h"
#include "rng.h"
#include "virtio/virtio_dev.h"
#include "virtio/vq_int.h"
#include "virtio_driver.h"

#define BASE 0xfeb00000u
#define SIZE 256u
#define DESC 0x10000u
#define ANEW 0x20000u

extern const struct dev_type virtio_rng_pci_type, virtio_rng_mmio_type;
const struct dev_type *const dev_types[] = { &virtio_rng_pci_type, &virtio_rng_mmio_type, NULL };

struct rig {
	struct vdrv_vm *t;
	struct virtio_mmio_bus bus;
	struct dev *dev;
	int level[4];
	unsigned rises[4];
	bool ack_first; /* a vCPU takes the interrupt back just before the line rises */
};

static void wr(struct rig *r, uint32_t off, uint32_t v);

static void line_set(void *opaque, int n, int level)
{
	struct rig *r = opaque;

	if (level && r->ack_first) {
		r->ack_first = false;
		wr(r, 0x064, 3);
	}
	if (level && !r->level[n])
		r->rises[n]++;
	r->level[n] = level;
}

static struct irq line_of(void *opaque, unsigned slot)
{
	return (struct irq){ .set = line_set, .opaque = opaque, .n = (int)(slot & 3) };
}

static struct rig *rig_new(void)
{
	struct rig *r = xnew(struct rig);

	r->t = vdrv_vm_new();
	r->bus = (struct virtio_mmio_bus){
		.base = BASE, .nr_slots = 4, .line = line_of, .opaque = r
	};
	r->t->vm.virtio_mmio = &r->bus;
	r->t->vm.virtio_bus = DEV_BUS_VIRTIO_MMIO;
	r->dev = vdrv_make(r->t, "virtio-rng,in_order=on");
	return r;
}

static void rig_free(struct rig *r)
{
	vdrv_vm_free(r->t);
	free(r);
}

static int setup(void **state)
{
	*state = rig_new();
	return 0;
}

static int teardown(void **state)
{
	rig_free(*state);
	return 0;
}

static uint32_t rd(struct rig *r, uint32_t off)
{
	uint32_t v = 0;

	map_access(r->t->vm.map, MAP_MEM, BASE + off, &v, 4, false);
	return v;
}

static void wr(struct rig *r, uint32_t off, uint32_t v)
{
	map_access(r->t->vm.map, MAP_MEM, BASE + off, &v, 4, true);
}

static struct virtio *virtio(struct rig *r)
{
	return virtio_of(r->dev);
}

/* Negotiates VERSION_1 alone; false when FEATURES_OK was not kept. */
static bool negotiate(struct rig *r, uint32_t low)
{
	wr(r, 0x070, 0);
	wr(r, 0x070, 3);
	wr(r, 0x024, 0);
	wr(r, 0x020, low);
	wr(r, 0x024, 1);
	wr(r, 0x020, 1);
	wr(r, 0x070, 11);
	return rd(r, 0x070) & 8;
}

static void set_queue(struct rig *r, uint32_t at, uint32_t size)
{
	wr(r, 0x030, 0);
	wr(r, 0x038, size);
	wr(r, 0x080, at);
	wr(r, 0x084, 0);
	wr(r, 0x090, at + 0x4000);
	wr(r, 0x094, 0);
	wr(r, 0x0a0, at + 0x8000);
	wr(r, 0x0a4, 0);
	wr(r, 0x044, 1);
}

static void start(struct rig *r)
{
	assert_true(negotiate(r, 0));
	set_queue(r, DESC, 64);
	assert_int_equal(rd(r, 0x044), 1);
	wr(r, 0x070, 15);
}

/* Makes one buffer of 16 bytes available in entry n and kicks. */
static void ask(struct rig *r, uint32_t at, uint16_t n)
{
	uint8_t *d = vdrv_mem(r->t, at + 16u * (n % 64)), *a = vdrv_mem(r->t, at + 0x4000);

	st_le64(d, 0x40000 + 16u * n);
	st_le32(d + 8, 16);
	st_le16(d + 12, 2); /* the device writes */
	st_le16(a + 4 + 2 * (n % 64), n % 64);
	st_le16(a + 2, (uint16_t)(n + 1));
	wr(r, 0x050, 0);
}

static uint16_t used(struct rig *r, uint32_t at)
{
	return ld_le16((uint8_t *)vdrv_mem(r->t, at + 0x8000) + 2);
}

static void discovery(void **state)
{
	struct rig *r = *state;

	assert_int_equal(rd(r, 0x000), 0x74726976);
	assert_int_equal(rd(r, 0x004), 2);
	assert_int_equal(rd(r, 0x008), 4);
	wr(r, 0x014, 1);
	assert_int_equal(rd(r, 0x010) & 1, 1); /* VERSION_1 */
	wr(r, 0x014, 2);
	assert_int_equal(rd(r, 0x010), 0);
	wr(r, 0x030, 0);
	assert_int_equal(rd(r, 0x034), 64);
	wr(r, 0x030, 1);
	assert_int_equal(rd(r, 0x034), 0);
	wr(r, 0x0ac, 0);
	assert_int_equal(rd(r, 0x0b0), UINT32_MAX); /* no shared memory */
	assert_int_equal(rd(r, 0x0b4), UINT32_MAX);
	assert_int_equal(rd(r, 0x100), 0); /* no configuration */
}

static void wrong_widths(void **state)
{
	struct rig *r = *state;
	uint16_t half = 0xffff;

	map_access(r->t->vm.map, MAP_MEM, BASE, &half, 2, false);
	assert_int_equal(half, 0);
	half = 3;
	map_access(r->t->vm.map, MAP_MEM, BASE + 0x070, &half, 2, true);
	assert_int_equal(rd(r, 0x070), 0);
	wr(r, 0x0f8, 1); /* no register */
	assert_true(r->dev->guest_errors >= 3);
}

static void negotiation(void **state)
{
	struct rig *r = *state;

	assert_false(negotiate(r, 1)); /* not offered */
	wr(r, 0x070, 0);
	wr(r, 0x070, 3);
	wr(r, 0x044, 1); /* too early */
	assert_int_equal(rd(r, 0x044), 0);
	start(r);
	wr(r, 0x080, 0x5000); /* frozen */
	assert_int_equal(virtio(r)->vqs[0].desc, DESC);
	wr(r, 0x070, 0);
	assert_int_equal(rd(r, 0x044), 0);
	assert_int_equal(virtio(r)->vqs[0].desc, 0);
}

static void sizes(void **state)
{
	static const uint32_t bad[] = { 0, 3, 128, 0x10040, UINT32_MAX };
	struct rig *r = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(negotiate(r, 0));
		set_queue(r, DESC, bad[i]);
		assert_int_equal(rd(r, 0x044), 0);
		assert_true(rd(r, 0x070) & 0x40); /* NEEDS_RESET */
	}
	start(r);
	assert_false(rd(r, 0x070) & 0x40);
}

static void interrupts(void **state)
{
	struct rig *r = *state;

	start(r);
	ask(r, DESC, 0);
	assert_int_equal(used(r, DESC), 1);
	assert_int_equal(r->level[0], 1);
	assert_int_equal(rd(r, 0x060), 1);
	ask(r, DESC, 1);
	assert_int_equal(r->rises[0], 1); /* up already */
	virtio_cfg_changed(virtio(r));
	assert_int_equal(rd(r, 0x060), 3);
	wr(r, 0x064, 1);
	assert_int_equal(r->level[0], 1); /* the other one */
	wr(r, 0x064, 2);
	assert_int_equal(r->level[0], 0);
	ask(r, DESC, 2);
	assert_int_equal(r->rises[0], 2);
	wr(r, 0x070, 0);
	assert_int_equal(r->level[0], 0);
	assert_int_equal(rd(r, 0x060), 0);
	wr(r, 0x050, 0); /* a kick of a device that was reset */
	wr(r, 0x050, 0xffff);
	assert_int_equal(r->level[0], 0);
}

/* QueueReady = 0 takes a queue back; another one in its place begins at its beginning. */
static void queue_taken_back(void **state)
{
	struct rig *r = *state;

	start(r);
	ask(r, DESC, 0);
	ask(r, DESC, 1);
	wr(r, 0x044, 0);
	assert_int_equal(rd(r, 0x044), 0);
	ask(r, DESC, 2);
	assert_int_equal(used(r, DESC), 2);
	set_queue(r, ANEW, 64);
	ask(r, ANEW, 0);
	assert_int_equal(used(r, ANEW), 1);
	assert_false(rd(r, 0x070) & 0x40);
}

static void pause_and_go_on(void **state)
{
	struct rig *r = *state;

	start(r);
	r->dev->type->pause(r->dev);
	ask(r, DESC, 0);
	assert_int_equal(used(r, DESC), 0);
	r->dev->type->resume(r->dev);
	assert_int_equal(used(r, DESC), 1);
	r->dev->type->reset(r->dev);
	assert_int_equal(rd(r, 0x070), 0);
	assert_int_equal(r->level[0], 0);
}

static void places(void **state)
{
	struct rig *r = *state;
	struct err e = { 0 };

	assert_ptr_equal(r->bus.slot[0]->v, virtio(r));
	vdrv_make(r->t, "virtio-rng-device,bus=virtio-mmio-bus.2");
	assert_non_null(r->bus.slot[2]);
	assert_null(vdrv_try_make(r->t, "virtio-rng-device,bus=virtio-mmio-bus.2", &e));
	assert_non_null(strstr(e.msg, "taken"));
	assert_null(vdrv_try_make(r->t, "virtio-rng-device,bus=virtio-mmio-bus.4", &e));
	assert_non_null(strstr(e.msg, "virtio-mmio-bus.0"));
	assert_null(vdrv_try_make(r->t, "virtio-rng-device,bus=pcie.0", &e));
	assert_null(vdrv_try_make(r->t, "virtio-rng-device,force-legacy=on", &e));
	assert_non_null(strstr(e.msg, "legacy"));
	vdrv_make(r->t, "virtio-rng");
	vdrv_make(r->t, "virtio-rng");
	assert_null(vdrv_try_make(r->t, "virtio-rng", &e));
	assert_non_null(strstr(e.msg, "all 4 places"));
	/* On a machine that prefers PCI the plain name is that. */
	r->t->vm.virtio_bus = 0;
	assert_ptr_equal(vdrv_make(r->t, "virtio-rng")->type, &virtio_rng_pci_type);
	r->t->vm.virtio_mmio = NULL;
	assert_null(vdrv_try_make(r->t, "virtio-rng-device", &e));
	assert_non_null(strstr(e.msg, "-pci"));
	r->t->vm.virtio_mmio = &r->bus;
}

static void migration(void **state)
{
	struct rig *r = *state, *s = rig_new();

	start(r);
	ask(r, DESC, 0);
	wr(r, 0x014, 1);
	vdrv_migrate(r->t, r->dev, s->t, s->dev);
	assert_int_equal(s->level[0], 1); /* the interrupt that nobody acknowledged */
	assert_int_equal(rd(s, 0x060), 1);
	assert_int_equal(rd(s, 0x070), 15);
	assert_int_equal(rd(s, 0x044), 1);
	ask(s, DESC, 1);
	assert_int_equal(used(s, DESC), 2);
	rig_free(s);
}

static void bad_state(void **state)
{
	struct rig *r = *state, *s = rig_new();
	struct state_buf buf = { 0 };
	struct err e = { 0 };
	const uint8_t *pos;

	container_of(r->dev, struct virtio_mmio, d)->isr = 4;
	state_save(&buf, "d", r->dev->type->state, r->dev);
	pos = buf.data;
	assert_true(state_load(&pos, buf.data + buf.len, "d", s->dev->type->state, s->dev, &e) < 0);
	assert_non_null(strstr(e.msg, "interrupt status"));
	state_buf_fini(&buf);
	container_of(r->dev, struct virtio_mmio, d)->isr = 0;
	rig_free(s);
}

/* Nobody would ever take back a line that is up with an empty InterruptStatus. */
static void raised_while_acknowledged(void **state)
{
	struct rig *r = *state;

	start(r);
	r->ack_first = true;
	virtio(r)->notify(virtio(r), 0);
	assert_false(r->ack_first);
	assert_int_equal(rd(r, 0x060), 0);
	assert_int_equal(r->level[0], 0);
	virtio(r)->notify(virtio(r), 0);
	assert_int_equal(rd(r, 0x060), 1);
	assert_int_equal(r->level[0], 1);
	wr(r, 0x064, 1);
	assert_int_equal(r->level[0], 0);
}

static void random_accesses(void **state)
{
	struct rig *r = *state;
	struct rng g = { .state = 7 };

	for (unsigned i = 0; i < 200000; i++) {
		uint32_t off = (uint32_t)rng_u64(&g) & 0x1ff, v = (uint32_t)rng_u64(&g);
		unsigned size = 1u << (rng_u64(&g) % 3);

		if (i % 64 == 0)
			start(r);
		map_access(r->t->vm.map, MAP_MEM, BASE + off % (0x200 - size), &v, size,
			   rng_u64(&g) & 1);
		if (i % 16 == 0)
			loop_once(r->t->vm.loop, 0);
	}
	start(r); /* still good */
	memset(vdrv_mem(r->t, DESC), 0, 0x10000);
	ask(r, DESC, 0);
	assert_int_equal(used(r, DESC), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(discovery),	    T(wrong_widths),	T(negotiation),
		T(sizes),	    T(interrupts),	T(queue_taken_back),
		T(pause_and_go_on), T(places),		T(migration),
		T(bad_state),	    T(random_accesses), T(raised_while_acknowledged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The balloon: pages really go back to the host and come as zeroes, whatever a driver says of
 * pages that are none; targets and what the guest made of them; statistics; free page reporting.
 */
#include "cmocka_all.h"

#include "base/bytes.h"
#include "core/event.h"
#include "virtio/virtio_balloon.h"
#include "virtio_driver.h"
#include <jansson.h>
#include <sys/mman.h>

extern const struct dev_type virtio_balloon_pci_type;
const struct dev_type *const dev_types[] = { &virtio_balloon_pci_type, NULL };

#define STATS_VQ  BIT64(1)
#define OOM	  BIT64(2)
#define REPORTING BIT64(5)
#define PFNS	  MIB(1) /* where lists of page numbers lie */

struct rig {
	struct vdrv_vm *t;
	struct vdrv d;
	struct dev *dev;
	struct vm_observer obs;
	unsigned changes;
	int64_t told;
};

static void on_event(struct vm_observer *o, const struct vm_event *ev)
{
	struct rig *r = container_of(o, struct rig, obs);

	if (ev->kind != VM_EV_BALLOON_CHANGE)
		return;
	r->changes++;
	r->told = ev->value;
}

static struct rig *rig_new(const char *line, uint64_t features, unsigned queues)
{
	struct rig *r = xnew(struct rig);

	r->t = vdrv_vm_new();
	r->t->vm.control = pthread_self();
	r->dev = vdrv_make(r->t, line);
	vdrv_start(&r->d, r->t, r->dev, features, queues);
	r->obs.fn = on_event;
	vm_observe(&r->t->vm, &r->obs);
	return r;
}

static void rig_free(struct rig *r)
{
	vm_unobserve(&r->t->vm, &r->obs);
	vdrv_vm_free(r->t);
	free(r);
}

static uint64_t host_bytes(struct rig *r)
{
	const struct ram_block *rb = r->t->vm.ram;
	autofree unsigned char *there = xcalloc(1, rb->size >> RAM_PAGE_SHIFT);
	uint64_t n = 0;

	assert_int_equal(mincore(rb->host, rb->size, there), 0);
	for (uint64_t i = 0; i < rb->size >> RAM_PAGE_SHIFT; i++)
		n += there[i] & 1;
	return n << RAM_PAGE_SHIFT;
}

/* Sends n page numbers through queue q and waits for it. */
static void send_pfns(struct rig *r, unsigned q, const uint32_t *pfn, unsigned n)
{
	struct dbuf b = { PFNS, 4 * n };
	uint32_t token, len;

	for (unsigned i = 0; i < n; i++)
		st_le32(vdrv_mem(r->t, PFNS + 4 * i), pfn[i]);
	assert_true(dring_add(&r->d.q[q], &b, 1, 0, false, 1));
	vdrv_kick(&r->d, q);
	assert_true(vdrv_wait_used(&r->d, q, 2000));
	assert_true(dring_used(&r->d.q[q], &token, &len));
	assert_int_equal(len, 0);
}

static void inflates(void **state)
{
	struct rig *r = rig_new("virtio-balloon-pci", 0, 2);
	uint32_t pfn[600], gen;
	uint64_t before;

	memset(vdrv_mem(r->t, MIB(8)), 0x55, MIB(4));
	gen = ram_watch(r->t->vm.ram, MIB(8), 64);
	before = host_bytes(r);
	for (unsigned i = 0; i < 512; i++) /* every other page, from the top */
		pfn[i] = (uint32_t)((MIB(12) >> 12) - 2 - 2 * i);
	send_pfns(r, 0, pfn, 512);
	assert_true(host_bytes(r) <= before - MIB(2) + 4096);
	for (unsigned i = 0; i < 512; i++) {
		assert_int_equal(*(uint8_t *)vdrv_mem(r->t, (uint64_t)pfn[i] << 12), 0);
		assert_int_equal(*(uint8_t *)vdrv_mem(r->t, ((uint64_t)pfn[i] << 12) + 4096), 0x55);
	}
	/* Code that an engine kept from there is void. */
	assert_int_not_equal(ram_watch(r->t->vm.ram, MIB(8), 64), gen);
	/* Out of the balloon again: nothing to do but to be told. */
	send_pfns(r, 1, pfn, 512);
	memset(vdrv_mem(r->t, (uint64_t)pfn[3] << 12), 1, 4096);
	rig_free(r);
}

static void pages_that_are_none(void **state)
{
	struct rig *r = rig_new("virtio-balloon-pci", 0, 2);
	uint32_t pfn[6] = {
		UINT32_MAX, 0, UINT32_MAX, (uint32_t)(VDRV_RAM >> 12), 0x100000, 0x2000
	};
	struct dbuf odd[3] = { { PFNS, 3 }, { PFNS, 64 }, { PFNS, (uint32_t)MIB(16) } };
	uint32_t token, len;

	memset(vdrv_mem(r->t, MIB(31)), 0x55, MIB(1));
	pfn[1] = (uint32_t)(MIB(31) >> 12);
	send_pfns(r, 0, pfn, 6);
	assert_int_equal(*(uint8_t *)vdrv_mem(r->t, MIB(31)), 0); /* the one among them that is */
	assert_int_equal(*(uint8_t *)vdrv_mem(r->t, MIB(31) + 4096), 0x55);
	assert_true(r->dev->guest_errors >= 3);
	/* Part of a number, a buffer to write into, and more than anyone needs. */
	memset(vdrv_mem(r->t, PFNS), 0xff, 4096);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(dring_add(&r->d.q[0], &odd[i], i != 1, i == 1, false, i));
		vdrv_kick(&r->d, 0);
		assert_true(vdrv_wait_used(&r->d, 0, 2000));
		assert_true(dring_used(&r->d.q[0], &token, &len));
		assert_int_equal(token, i);
	}
	assert_int_equal(vdrv_status(&r->d) & 0x40, 0);
	rig_free(r);
}

/* More than the budget of a kick: the loop does the rest. */
static void budget(void **state)
{
	struct rig *r = rig_new("virtio-balloon-pci", 0, 2);
	struct dbuf b = { PFNS, 4 * 4096 };
	unsigned got = 0;
	uint32_t token, len;

	for (unsigned i = 0; i < 4096; i++)
		st_le32(vdrv_mem(r->t, PFNS + 4 * i), (uint32_t)((MIB(8) >> 12) + i));
	for (unsigned i = 0; i < 6; i++)
		assert_true(dring_add(&r->d.q[0], &b, 1, 0, false, i));
	vdrv_kick(&r->d, 0);
	while (dring_used(&r->d.q[0], &token, &len))
		got++;
	assert_int_equal(got, 4);
	dev_reset_all(&r->t->vm); /* work that waits finds nothing to do */
	loop_once(r->t->vm.loop, 0);
	rig_free(r);
	r = rig_new("virtio-balloon-pci", 0, 2);
	for (unsigned i = 0; i < 4096; i++)
		st_le32(vdrv_mem(r->t, PFNS + 4 * i), (uint32_t)((MIB(8) >> 12) + i));
	for (unsigned i = 0; i < 6; i++)
		assert_true(dring_add(&r->d.q[0], &b, 1, 0, false, i));
	vdrv_kick(&r->d, 0);
	got = 0;
	for (unsigned i = 0; i < 10 && got < 6; i++) {
		loop_once(r->t->vm.loop, 10);
		while (dring_used(&r->d.q[0], &token, &len))
			got++;
	}
	assert_int_equal(got, 6);
	rig_free(r);
}

static void targets(void **state)
{
	struct rig *r = rig_new("virtio-balloon-pci,deflate-on-oom=on", OOM, 2);
	struct err e = { 0 };
	uint64_t actual;
	unsigned before = r->t->msi[0];

	assert_int_equal(balloon_set_target(&r->t->vm, MIB(24), &e), 0);
	assert_int_equal(vdrv_rd(&r->d, r->d.cfg, 4), MIB(8) >> 12);
	assert_int_equal(r->t->msi[0], before + 1);
	assert_int_equal(balloon_get_actual(&r->t->vm, &actual, &e), 0);
	assert_int_equal(actual, VDRV_RAM); /* the guest has not come around to it */
	vdrv_wr(&r->d, r->d.cfg + 4, MIB(8) >> 12, 4);
	assert_int_equal(balloon_get_actual(&r->t->vm, &actual, &e), 0);
	assert_int_equal(actual, MIB(24));
	loop_once(r->t->vm.loop, 0);
	assert_int_equal(r->changes, 1);
	assert_int_equal(r->told, MIB(24));
	vdrv_wr(&r->d, r->d.cfg, 1, 4); /* the target is not the driver's */
	assert_int_equal(vdrv_rd(&r->d, r->d.cfg, 4), MIB(8) >> 12);
	vdrv_wr(&r->d, r->d.cfg + 4, UINT32_MAX, 4); /* more than there is */
	assert_int_equal(balloon_get_actual(&r->t->vm, &actual, &e), 0);
	assert_int_equal(actual, 0);
	assert_int_equal(balloon_set_target(&r->t->vm, UINT64_MAX, &e), 0);
	assert_int_equal(vdrv_rd(&r->d, r->d.cfg, 4), 0);
	assert_int_equal(balloon_set_target(&r->t->vm, 0, &e), -EINVAL);
	/* A guest that starts again has its memory. */
	dev_reset_all(&r->t->vm);
	assert_int_equal(balloon_get_actual(&r->t->vm, &actual, &e), 0);
	assert_int_equal(actual, VDRV_RAM);
	assert_null(vdrv_try_make(r->t, "virtio-balloon", &e));
	assert_non_null(strstr(e.msg, "one balloon"));
	dev_destroy(r->dev);
	assert_int_equal(balloon_set_target(&r->t->vm, MIB(1), &e), -ENODEV);
	assert_int_equal(balloon_get_actual(&r->t->vm, &actual, &e), -ENODEV);
	rig_free(r);
}

/* ---- statistics ---- */

static const struct dev_attr *attr(const char *name)
{
	const struct dev_attr *a = virtio_balloon_pci_type.attrs;

	while (a->name && strcmp(a->name, name))
		a++;
	assert_non_null(a->name);
	return a;
}

static json_int_t stat_of(struct rig *r, const char *name)
{
	struct err e = { 0 };
	json_t *all = attr("guest-stats")->get(r->dev, &e);
	json_t *v = json_object_get(json_object_get(all, "stats"), name);
	json_int_t n = v ? json_integer_value(v) : -1;

	assert_true(json_is_integer(json_object_get(all, "last-update")));
	json_decref(all);
	return n;
}

static int poll_every(struct rig *r, json_int_t s)
{
	struct err e = { 0 };
	json_t *v = json_integer(s), *now;
	int ret = attr("guest-stats-polling-interval")->set(r->dev, v, &e);

	json_decref(v);
	assert_true(ret == 0 || e.msg[0]);
	now = attr("guest-stats-polling-interval")->get(r->dev, &e);
	if (ret == 0)
		assert_int_equal(json_integer_value(now), s);
	json_decref(now);
	return ret;
}

static void put_stats(struct rig *r, uint64_t value)
{
	static const uint16_t tags[] = { 4, 5, 999, 15 };
	struct dbuf b = { PFNS, 10 * ARRAY_SIZE(tags) };

	for (unsigned i = 0; i < ARRAY_SIZE(tags); i++) {
		st_le16(vdrv_mem(r->t, PFNS + 10 * i), tags[i]);
		st_le64(vdrv_mem(r->t, PFNS + 10 * i + 2), value + i);
	}
	assert_true(dring_add(&r->d.q[2], &b, 1, 0, false, 5));
	if (dring_kick_needed(&r->d.q[2]))
		vdrv_kick(&r->d, 2);
}

static void statistics(void **state)
{
	static const uint64_t rings[] = { 0, BIT64(VIRTIO_F_EVENT_IDX),
					  BIT64(VIRTIO_F_RING_PACKED) };

	for (size_t i = 0; i < ARRAY_SIZE(rings); i++) {
		struct rig *r = rig_new("virtio-balloon-pci,packed=on", STATS_VQ | rings[i], 3);
		uint32_t token, len;

		assert_int_equal(stat_of(r, "stat-free-memory"), -1);
		put_stats(r, 1000);
		assert_int_equal(stat_of(r, "stat-free-memory"), 1000);
		assert_int_equal(stat_of(r, "stat-total-memory"), 1001);
		assert_int_equal(stat_of(r, "stat-direct-reclaims"), 1003);
		assert_int_equal(stat_of(r, "stat-swap-in"), -1);
		assert_false(dring_has_used(&r->d.q[2])); /* the device keeps the buffer */
		/* Asking at once, and then each second. */
		for (uint64_t round = 2; round < 4; round++) {
			if (round == 2)
				assert_int_equal(poll_every(r, 1), 0);
			assert_true(vdrv_wait_used(&r->d, 2, 5000));
			assert_true(dring_used(&r->d.q[2], &token, &len));
			assert_int_equal(token, 5);
			put_stats(r, 1000 * round);
			assert_int_equal(stat_of(r, "stat-free-memory"), 1000 * round);
		}
		assert_int_equal(poll_every(r, 0), 0);
		put_stats(r, UINT64_MAX - 1); /* no such number in JSON for us */
		assert_int_equal(poll_every(r, -1), -EINVAL);
		assert_int_equal(poll_every(r, (json_int_t)UINT32_MAX + 1), -EINVAL);
		rig_free(r);
	}
}

/* ---- free page reporting ---- */

static void reports(struct rig *r, unsigned q)
{
	struct dbuf b[2] = { { MIB(16), (uint32_t)MIB(4) }, { MIB(24) + 100, 8192 } };
	uint32_t token, len;
	uint64_t before;

	memset(vdrv_mem(r->t, MIB(16)), 0x55, MIB(4));
	memset(vdrv_mem(r->t, MIB(24)), 0x55, MIB(1));
	before = host_bytes(r);
	assert_true(dring_add(&r->d.q[q], b, 0, 2, false, 9));
	vdrv_kick(&r->d, q);
	assert_true(vdrv_wait_used(&r->d, q, 2000));
	assert_true(dring_used(&r->d.q[q], &token, &len));
	assert_int_equal(token, 9);
	assert_true(host_bytes(r) <= before - MIB(4));
	assert_int_equal(*(uint8_t *)vdrv_mem(r->t, MIB(18)), 0);
	/* Only whole pages. */
	assert_int_equal(*(uint8_t *)vdrv_mem(r->t, MIB(24) + 200), 0x55);
	assert_int_equal(*(uint8_t *)vdrv_mem(r->t, MIB(24) + 4096), 0);
	assert_int_equal(*(uint8_t *)vdrv_mem(r->t, MIB(24) + 8192), 0x55);
}

static void reporting(void **state)
{
	struct rig *r =
		rig_new("virtio-balloon-pci,free-page-reporting=on", STATS_VQ | REPORTING, 4);

	assert_true(vdrv_offered(&r->d) & REPORTING);
	reports(r, 3);
	rig_free(r);
	/* Without statistics its queue is the third. */
	r = rig_new("virtio-balloon-pci,free-page-reporting=on", REPORTING, 3);
	reports(r, 2);
	rig_free(r);
	r = rig_new("virtio-balloon-pci", 0, 2);
	assert_int_equal(vdrv_offered(&r->d) & (REPORTING | OOM), 0);
	rig_free(r);
}

static void migrates(void **state)
{
	struct rig *a = rig_new("virtio-balloon-pci", STATS_VQ, 3);
	struct rig *b = rig_new("virtio-balloon-pci", STATS_VQ, 3);
	struct err e = { 0 };
	uint64_t actual;
	uint32_t pfn = (uint32_t)(MIB(9) >> 12), token, len;

	put_stats(a, 77);
	vdrv_wr(&a->d, a->d.cfg + 4, 100, 4);
	vdrv_migrate(a->t, a->dev, b->t, b->dev);
	a->d.t = b->t; /* the driver went along */
	for (unsigned i = 0; i < 3; i++)
		a->d.q[i].t = b->t;
	b->d = a->d;
	assert_int_equal(balloon_get_actual(&b->t->vm, &actual, &e), 0);
	assert_int_equal(actual, VDRV_RAM - 100 * 4096);
	assert_int_equal(stat_of(b, "stat-free-memory"), 77);
	assert_int_equal(poll_every(b, 60), 0); /* the buffer is still the device's to give back */
	assert_true(dring_used(&b->d.q[2], &token, &len));
	send_pfns(b, 0, &pfn, 1);
	rig_free(a);
	rig_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inflates),   cmocka_unit_test(pages_that_are_none),
		cmocka_unit_test(budget),     cmocka_unit_test(targets),
		cmocka_unit_test(statistics), cmocka_unit_test(reporting),
		cmocka_unit_test(migrates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

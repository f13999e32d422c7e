/* SPDX-License-Identifier: Apache-2.0 */
/* The microvm board: what is there and what is not, event device, interrupts, PCI by ECAM. */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "arch/x86/board.h"
#include "base/bytes.h"
#include "dev/ged.h"
#include "virtio/virtio_mmio.h"

#define GED	0xfea00000u
#define VIRTIO	0xfeb00000u
#define ECAM	0xe0000000u
#define GED_GSI 9u

static struct fm *board(uint64_t ram, bool pcie)
{
	struct fm *m = fm_new(2, ram, false);
	struct err e = { 0 };

	m->board = true;
	free(m->vm.conf->machine);
	m->vm.conf->machine = xstrdup("microvm");
	m->vm.conf->pcie = pcie;
	if (arch_board_init(&m->vm, &e))
		fail_msg("%s", e.msg);
	dev_reset_all(&m->vm);
	return m;
}

static int setup(void **state)
{
	*state = board(MIB(64), false);
	return 0;
}

static int teardown(void **state)
{
	fm_free(*state);
	return 0;
}

static const struct map_region *region_at(struct fm *m, enum map_space space, uint64_t at)
{
	const struct map_range *r = map_find(map_view(m->vm.map), space, at);

	return r ? r->region : NULL;
}

/* Ports of chips that the board is free of: PICs, PIT, keyboard, CMOS, PCI configuration. */
static void nothing_to_probe(void **state)
{
	static const uint16_t ports[] = { 0x20, 0x21, 0x40, 0x43,  0x60,  0x61,	 0x64,
					  0x70, 0x71, 0xa0, 0xcf8, 0xcfc, 0xcf9, 0x3f8 };
	struct fm *m = *state;

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
		if (region_at(m, MAP_PIO, ports[i]))
			fail_msg("there is something at port %#x", ports[i]);
	assert_null(region_at(m, MAP_MEM, ECAM));
	assert_null(region_at(m, MAP_MEM, VIRTIO));
	assert_non_null(region_at(m, MAP_MEM, 0xfec00000)); /* IOAPIC */
	assert_non_null(region_at(m, MAP_MEM, 0xfee00000));
}

static void memory_map(void **state)
{
	struct fm *m = board(0xc0000000, false);

	assert_int_equal(region_at(m, MAP_MEM, 0xbfffffff)->kind, MAP_RAM);
	assert_null(region_at(m, MAP_MEM, 0xc0000000));
	assert_null(region_at(m, MAP_MEM, GIB(4)));
	fm_free(m);
	m = board(0xc0001000, false);
	assert_int_equal(region_at(m, MAP_MEM, 0xbfffffff)->kind, MAP_RAM);
	assert_int_equal(region_at(m, MAP_MEM, GIB(4))->kind, MAP_RAM);
	fm_free(m);
}

static bool ioapic_line(struct fm *m, unsigned pin)
{
	return x86_board(&m->vm)->ioapic->chip.line >> pin & 1;
}

static void power_button(void **state)
{
	struct fm *m = *state;

	arch_board_power_button(&m->vm);
	assert_true(ioapic_line(m, GED_GSI));
	assert_int_equal(fm_ld(m, GED, 1), 0); /* not a selector's width: nothing is taken */
	assert_true(ioapic_line(m, GED_GSI));
	assert_int_equal(fm_ld(m, GED, 4), GED_POWER_BUTTON);
	assert_false(ioapic_line(m, GED_GSI));
	assert_int_equal(fm_ld(m, GED, 4), 0);
	arch_board_power_button(&m->vm);
	dev_reset_all(&m->vm);
	assert_false(ioapic_line(m, GED_GSI));
	assert_int_equal(fm_ld(m, GED, 4), 0);
}

static void sleep_and_reset(void **state)
{
	struct fm *m = *state;

	fm_st(m, GED + GED_SLEEP_CONTROL, GED_S5_TYP << 2, 1); /* without SLP_EN */
	fm_st(m, GED + GED_SLEEP_CONTROL, 3 << 2 | 0x20, 1);   /* S3, which is not there */
	fm_st(m, GED + GED_RESET, 0x41, 1);
	fm_st(m, GED + GED_RESET, GED_RESET_VALUE, 4);
	assert_int_equal(fm_ld(m, GED + GED_SLEEP_STATUS, 1), 0);
	assert_int_equal(atomic_load(&m->vm.requests), 0);
	fm_st(m, GED + GED_RESET, GED_RESET_VALUE, 1);
	assert_int_not_equal(atomic_exchange(&m->vm.requests, 0), 0);
	fm_st(m, GED + GED_SLEEP_CONTROL, GED_S5_TYP << 2 | 0x20, 1);
	assert_int_not_equal(atomic_exchange(&m->vm.requests, 0), 0);
}

/* Every place has a line that works, the first ones each its own. */
static void virtio_lines(void **state)
{
	struct fm *m = *state;
	struct virtio_mmio_bus *bus = m->vm.virtio_mmio;
	uint32_t seen = 0;

	for (unsigned i = 0; i < bus->nr_slots; i++) {
		struct irq irq = bus->line(bus->opaque, i);
		uint32_t before = x86_board(&m->vm)->ioapic->chip.line, now;

		irq_set(&irq, 1);
		now = x86_board(&m->vm)->ioapic->chip.line & ~before;
		assert_true(is_pow2(now));
		assert_int_equal(now & BIT32(GED_GSI), 0);
		if (i < 17)
			assert_int_equal(seen & now, 0);
		seen |= now;
		irq_set(&irq, 0);
		assert_int_equal(x86_board(&m->vm)->ioapic->chip.line, before);
	}
}

/* A line that a device and a PCI pin share is up while one of them holds it. */
static void shared_line(void **state)
{
	struct fm *m = board(MIB(64), true);
	struct x86_board *b = x86_board(&m->vm);
	unsigned gsi = 16 + gsi_pci_pirq(1, 0);
	struct irq irq = gsi_line(b, gsi);

	gsi_pci_intx(b, 1 << 3, 0, 1);
	irq_set(&irq, 1);
	gsi_pci_intx(b, 1 << 3, 0, 0);
	assert_true(ioapic_line(m, gsi));
	irq_set(&irq, 0);
	assert_false(ioapic_line(m, gsi));
	fm_free(m);
}

static void pci_by_ecam(void **state)
{
	struct fm *m = board(MIB(64), true);
	struct x86_board *b = x86_board(&m->vm);
	struct pci_window w;

	assert_int_equal(fm_ld(m, ECAM, 4), 0x00081b36);
	assert_int_equal(fm_ld(m, ECAM + (1 << 15), 4), 0xffffffff);
	assert_null(region_at(m, MAP_PIO, 0xcf8));
	board_describe(b, &w);
	assert_true(b->fwb.hw_reduced);
	assert_int_equal(b->fwb.ecam_base, ECAM);
	assert_int_equal(w.mem32_base, 0xc0000000);
	assert_true(w.mem32_base + w.mem32_size <= ECAM);
	assert_int_equal(w.io_size, 0);
	fm_free(m);
}

static void ged_state(void **state)
{
	struct fm *m = *state, *other = board(MIB(64), false);
	struct ged_dev *a = x86_board(&m->vm)->ged, *o = x86_board(&other->vm)->ged;

	arch_board_power_button(&m->vm);
	assert_true(fm_round_trip(ged_dev_type.state, a, o));
	assert_true(ioapic_line(other, GED_GSI));
	a->pending = 0x80;
	assert_false(fm_round_trip(ged_dev_type.state, a, o));
	fm_free(other);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(nothing_to_probe),
		cmocka_unit_test(memory_map),
		T(power_button),
		T(sleep_and_reset),
		T(virtio_lines),
		cmocka_unit_test(shared_line),
		cmocka_unit_test(pci_by_ecam),
		T(ged_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

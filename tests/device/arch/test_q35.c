/* SPDX-License-Identifier: Apache-2.0 */
/* The q35 board: memory map, interrupt routing, configuration space, PM block, reset, serial. */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "arch/x86/board.h"
#include "arch/x86/mch.h"
#include "base/bytes.h"
#include "dev/acpi_pm.h"
#include "isa/x86/x86.h"

static struct fm *board(unsigned cpus, uint64_t ram)
{
	struct fm *m = fm_new(cpus, ram, false);
	struct err e = { 0 };

	m->board = true;
	if (arch_board_init(&m->vm, &e))
		fail_msg("%s", e.msg);
	dev_reset_all(&m->vm);
	q35_board.firmware_defaults(x86_board(&m->vm));
	return m;
}

static int setup(void **state)
{
	*state = board(2, MIB(64));
	return 0;
}

static int teardown(void **state)
{
	fm_free(*state);
	return 0;
}

static const struct map_region *region_at(struct fm *m, uint64_t gpa)
{
	const struct map_range *r = map_find(map_view(m->vm.map), MAP_MEM, gpa);

	return r ? r->region : NULL;
}

static uint64_t ram_off(struct fm *m, uint64_t gpa)
{
	const struct map_region *r = region_at(m, gpa);

	return r && r->kind == MAP_RAM ? gpa - r->addr + r->rb_off : UINT64_MAX;
}

static void test_memory_map(void **state)
{
	struct fm *m = board(1, MIB(64)), *big;

	assert_int_equal(ram_off(m, 0), 0);
	assert_int_equal(ram_off(m, 0x9ffff), 0x9ffff);
	assert_null(region_at(m, 0xa0000));
	assert_null(region_at(m, 0xbffff));
	assert_int_equal(ram_off(m, 0xc0000), 0xc0000);
	assert_int_equal(ram_off(m, MIB(64) - 1), MIB(64) - 1);
	assert_null(region_at(m, MIB(64)));
	assert_null(region_at(m, GIB(4)));
	fm_free(m);

	big = board(1, 0xb0000000); /* all of it below */
	assert_int_equal(ram_off(big, 0xafffffff), 0xafffffff);
	assert_null(region_at(big, GIB(4)));
	fm_free(big);

	big = board(1, 0xb0001000); /* split at 2 GiB */
	assert_int_equal(ram_off(big, 0x7fffffff), 0x7fffffff);
	assert_null(region_at(big, 0x80000000));
	assert_int_equal(ram_off(big, GIB(4)), 0x80000000);
	assert_int_equal(ram_off(big, GIB(4) + 0x30000fff), 0xb0000fff);
	assert_null(region_at(big, GIB(4) + 0x30001000));
	fm_free(big);
}

static void test_refusals(void **state)
{
	struct fm *m = fm_new(1, MIB(1) / 2, false);
	struct err e = { 0 };

	m->board = true;
	assert_true(arch_board_init(&m->vm, &e) < 0);
	assert_non_null(strstr(e.msg, "1 MiB to 1 TiB"));
	fm_free(m);
	/* The fake CPU has 40 bits of addresses: with the hole there is room for 1022 GiB. */
	m = board(1, GIB(1022));
	assert_int_equal(ram_off(m, BIT64(40) - 1), GIB(1022) - 1);
	fm_free(m);
	m = fm_new(1, GIB(1024), false);
	m->board = true;
	assert_true(arch_board_init(&m->vm, &e) < 0);
	assert_non_null(strstr(e.msg, "phys-bits"));
	free(m->vm.conf->machine);
	m->vm.conf->machine = xstrdup("q53");
	assert_int_equal(arch_board_init(&m->vm, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "q53"));
	fm_free(m);
}

static void test_describe(void **state)
{
	struct fm *m = *state;
	struct x86_board *b = x86_board(&m->vm);
	struct pci_window w;

	board_describe(b, &w);
	assert_int_equal(b->fwb.low_end, MIB(64));
	assert_int_equal(b->fwb.high_size, 0);
	assert_int_equal(b->fwb.pm_base, 0x600);
	assert_int_equal(b->fwb.cpus, 2);
	assert_int_equal(b->fwb.apic_ids[1], 1);
	assert_int_equal(w.mem32_base, 0xc0000000);
	assert_int_equal(w.mem32_base + w.mem32_size, IOAPIC_BASE);
	assert_true(w.mem64_base >= GIB(4) && w.mem64_base + w.mem64_size <= BIT64(40));
	/* Slots below 25 share PIRQ E to H, the chipset's own A to D. */
	assert_int_equal(b->fwb.pci_gsi(1, 0), 21);
	assert_int_equal(b->fwb.pci_gsi(4, 3), 23);
	assert_int_equal(b->fwb.pci_gsi(31, 1), 16);
	assert_int_equal(b->fwb.pvpanic_port, 0);
	conf_set(conf_add(m->vm.conf, CONF_DEVICE, "pvpanic", NULL, "-device"), "ioport", "0x510");
	board_describe(b, &w);
	assert_int_equal(b->fwb.pvpanic_port, 0x510);
}

static uint32_t cfg(struct fm *m, unsigned slot, unsigned off, unsigned size)
{
	fm_out(m, 0xcf8, 0x80000000 | slot << 11 | (off & 0xfc), 4);
	return fm_in(m, (uint16_t)(0xcfc + (off & 3)), size);
}

static void test_config_space(void **state)
{
	struct fm *m = *state;

	assert_int_equal(cfg(m, 0, 0, 4), 0x29c08086);
	assert_int_equal(cfg(m, 31, 2, 2), 0x2918);
	assert_int_equal(cfg(m, 31, 0xb, 1), 0x06);
	assert_int_equal(cfg(m, 5, 0, 4), 0xffffffff);
	assert_int_equal(fm_ld(m, ECAM_BASE, 4), 0x29c08086);
	assert_int_equal(fm_ld(m, ECAM_BASE + (31u << 15) + 2, 2), 0x2918);
	assert_int_equal(fm_ld(m, ECAM_BASE + (200u << 20), 4), 0xffffffff);
	/* Not enabled: nobody answers. Other widths at 0xcf8 are not the address. */
	fm_out(m, 0xcf8, 0x0000f800, 4);
	assert_int_equal(fm_in(m, 0xcfc, 4), 0xffffffff);
	fm_out(m, 0xcf8, 0x80, 1);
	assert_int_equal(fm_in(m, 0xcf8, 4), 0x0000f800);
	/* PCIEXBAR moves the window. */
	fm_out(m, 0xcf8, 0x80000060, 4);
	fm_out(m, 0xcfc, 0xe0000001, 4);
	assert_int_equal(fm_ld(m, 0xe0000000, 4), 0x29c08086);
	assert_int_equal(fm_ld(m, ECAM_BASE, 4), 0xffffffff);
	fm_out(m, 0xcfc, 0xe0000000, 4);
	assert_int_equal(fm_ld(m, 0xe0000000, 4), 0xffffffff);
}

static void unmask(struct fm *m, unsigned pin, uint32_t low)
{
	fm_st(m, IOAPIC_BASE, 0x11 + 2 * pin, 4);
	fm_st(m, IOAPIC_BASE + 0x10, 1u << 24, 4);
	fm_st(m, IOAPIC_BASE, 0x10 + 2 * pin, 4);
	fm_st(m, IOAPIC_BASE + 0x10, low, 4);
}

static struct lapic *lapic(struct fm *m, unsigned n)
{
	return &x86_vcpu(m->v[n])->lapic;
}

static void test_isa_lines(void **state)
{
	struct fm *m = *state;
	struct irq a = arch_isa_irq(&m->vm, 4), b = arch_isa_irq(&m->vm, 4);
	struct irq pit = arch_isa_irq(&m->vm, 0);

	lapic_mmio_write(lapic(m, 1), LAPIC_SVR, 0x1ff);
	unmask(m, 4, REDIR_LEVEL | 0x44);
	unmask(m, 2, 0x42);
	irq_set(&a, 1);
	assert_int_equal(lapic_get_intr(lapic(m, 1)), 0x44);
	irq_set(&b, 1);
	irq_set(&a, 0); /* the other source still holds it */
	lapic_eoi(lapic(m, 1));
	assert_int_equal(lapic_get_intr(lapic(m, 1)), 0x44);
	irq_set(&b, 0);
	lapic_eoi(lapic(m, 1));
	assert_int_equal(lapic_get_intr(lapic(m, 1)), -1);
	fm_out(m, 0x43, 0x30, 1); /* mode 0: the PIT lets go of its line */
	irq_set(&pit, 1);	  /* input 2 of the IOAPIC */
	assert_int_equal(lapic_get_intr(lapic(m, 1)), 0x42);
	/* And the PIC saw all of them; its output is at the boot CPU. */
	assert_true(x86_board(&m->vm)->pic->chip.pic[0].irr & 0x11);
	assert_int_equal(lapic(m, 0)->lint0 & LINT0_LINE, LINT0_LINE);
}

static void test_pci_lines(void **state)
{
	struct fm *m = *state;
	struct x86_board *b = x86_board(&m->vm);
	struct i8259 *slave = &b->pic->chip.pic[1];

	lapic_mmio_write(lapic(m, 1), LAPIC_SVR, 0x1ff);
	unmask(m, 21, REDIR_LEVEL | 0x51);
	gsi_pci_intx(b, PCI_DEVFN(1, 0), 0, 1);
	gsi_pci_intx(b, PCI_DEVFN(1, 0), 0, 1); /* twice is once */
	gsi_pci_intx(b, PCI_DEVFN(5, 0), 0, 1); /* shares it */
	assert_int_equal(lapic_get_intr(lapic(m, 1)), 0x51);
	assert_true(slave->irr & 1u << 2); /* IRQ 10, as PIRQF is routed */
	gsi_pci_intx(b, PCI_DEVFN(1, 0), 0, 0);
	lapic_eoi(lapic(m, 1));
	assert_int_equal(lapic_get_intr(lapic(m, 1)), 0x51);
	gsi_pci_intx(b, PCI_DEVFN(5, 0), 0, 0);
	lapic_eoi(lapic(m, 1));
	assert_int_equal(lapic_get_intr(lapic(m, 1)), -1);
	assert_false(slave->irr & 1u << 2);
	/* Routing registers: PIRQF (0x69) to IRQ 5, then off, then to a reserved one. */
	gsi_pci_intx(b, PCI_DEVFN(1, 0), 0, 1);
	cfg(m, 31, 0x68, 4);
	fm_out(m, 0xcfd, 0x05, 1);
	assert_true(b->pic->chip.pic[0].line & 1u << 5);
	assert_false(slave->line & 1u << 2);
	fm_out(m, 0xcfd, 0x80, 1);
	assert_false(b->pic->chip.pic[0].line & 1u << 5);
	fm_out(m, 0xcfd, 0x08, 1);
	assert_false(slave->line & 1);
}

static void test_msi(void **state)
{
	struct fm *m = *state;
	struct msi msi = { .addr = 0xfee01000, .data = 0x4061 };

	lapic_mmio_write(lapic(m, 0), LAPIC_SVR, 0x1ff);
	lapic_mmio_write(lapic(m, 1), LAPIC_SVR, 0x1ff);
	m->vm.msi.send(m->vm.msi.opaque, &msi);
	assert_int_equal(lapic_get_intr(lapic(m, 1)), 0x61);
	assert_int_equal(lapic_irr_top(lapic(m, 0)), -1);
	msi.addr = 0xfeeff000; /* broadcast */
	m->vm.msi.send(m->vm.msi.opaque, &msi);
	assert_int_equal(lapic_irr_top(lapic(m, 0)), 0x61);
	msi.addr = 0x1000; /* memory, not an interrupt */
	msi.data = 0x77;
	m->vm.msi.send(m->vm.msi.opaque, &msi);
	assert_int_not_equal(lapic_irr_top(lapic(m, 0)), 0x77);
	msi.addr = 0x1fee01000;
	m->vm.msi.send(m->vm.msi.opaque, &msi);
	assert_int_not_equal(lapic_irr_top(lapic(m, 1)), 0x77);
}

static void test_pm_block(void **state)
{
	struct fm *m = *state;

	assert_int_equal(fm_in(m, 0x604, 2) & 1, 1); /* SCI_EN */
	assert_int_not_equal(fm_in(m, 0x608, 4), 0xffffffff);
	/* PMBASE moves it; ACPI_CTRL switches it off. */
	cfg(m, 31, 0x40, 4);
	fm_out(m, 0xcfc, 0x0b00, 4);
	assert_int_equal(fm_in(m, 0xb04, 2) & 1, 1);
	assert_int_equal(fm_in(m, 0x604, 2), 0xffff);
	cfg(m, 31, 0x44, 4);
	fm_out(m, 0xcfc, 0, 1);
	assert_int_equal(fm_in(m, 0xb04, 2), 0xffff);
}

static unsigned request_kind(struct fm *m)
{
	return atomic_load(&m->vm.requests) >> 24;
}

/* An NMI from outside goes to LINT1, as far as the guest lets it through. */
static void test_nmi_input(void **state)
{
	struct fm *m = *state;

	assert_true(arch_takes_nmi(m->v[0])); /* nobody has switched the APIC on */
	lapic_mmio_write(lapic(m, 0), LAPIC_SVR, 0x1ff);
	assert_false(arch_takes_nmi(m->v[0])); /* masked, as a reset leaves it */
	lapic_mmio_write(lapic(m, 0), LAPIC_LVT_LINT1, APIC_DM_NMI << 8);
	assert_true(arch_takes_nmi(m->v[0]));
	lapic_mmio_write(lapic(m, 0), LAPIC_LVT_LINT1, APIC_DM_FIXED << 8 | 0x31);
	assert_false(arch_takes_nmi(m->v[0]));
	assert_true(arch_takes_nmi(m->v[1]));
	vm_inject_nmi(&m->vm);
	assert_false(vcpu_events(m->v[0]) & VCPU_EV_NMI);
	assert_true(vcpu_events(m->v[1]) & VCPU_EV_NMI);
}

/* GCS in the root complex registers switches the watchdog's effect. */
static void test_rcba(void **state)
{
	struct fm *m = *state;
	struct x86_board *b = x86_board(&m->vm);

	assert_int_equal(fm_ld(m, RCBA_BASE + RCBA_GCS, 4), 0x20);
	assert_true(b->pm->chip.tco_no_reboot);
	fm_st(m, RCBA_BASE + RCBA_GCS, 0xffffffdf, 4);
	assert_int_equal(fm_ld(m, RCBA_BASE + RCBA_GCS, 4), 0);
	assert_false(b->pm->chip.tco_no_reboot);
	fm_st(m, RCBA_BASE + RCBA_GCS + 1, 0xff, 1);
	assert_int_equal(fm_ld(m, RCBA_BASE + RCBA_GCS, 1), 0);
	assert_int_equal(fm_ld(m, RCBA_BASE + 0x3404, 4), 0); /* no HPET */
	cfg(m, 31, 0xf0, 4);
	fm_out(m, 0xcfc, 0, 4); /* not decoded */
	assert_int_equal(fm_ld(m, RCBA_BASE + RCBA_GCS, 4), 0xffffffff);
	fm_out(m, 0xcfc, 0xd0000001, 4);
	assert_int_equal(fm_ld(m, 0xd0000000 + RCBA_GCS, 4), 0);
	dev_reset_all(&m->vm);
	assert_true(b->pm->chip.tco_no_reboot);
}

static void test_power_off(void **state)
{
	struct fm *m = *state;

	fm_out(m, 0x604, 1 << 10 | 1 << 13, 2); /* S3: not offered */
	assert_int_equal(request_kind(m), 0);
	fm_out(m, 0x604, 0 << 10 | 1 << 13, 2);
	assert_int_equal(request_kind(m), 2);
}

static void test_reset_port(void **state)
{
	struct fm *m = *state;

	fm_out(m, 0xcf9, 0x02, 1);
	assert_int_equal(request_kind(m), 0);
	assert_int_equal(fm_in(m, 0xcf9, 1), 2);
	fm_out(m, 0xcf9, 0x06, 1);
	assert_int_equal(request_kind(m), 1);
}

static void test_button(void **state)
{
	struct fm *m = *state;

	lapic_mmio_write(lapic(m, 1), LAPIC_SVR, 0x1ff);
	unmask(m, 9, REDIR_LEVEL | 0x59);
	fm_out(m, 0x602, 0x100, 2);
	acpi_pm_dev_button(x86_board(&m->vm)->pm);
	assert_int_equal(lapic_get_intr(lapic(m, 1)), 0x59);
	assert_true(fm_in(m, 0x600, 2) & 0x100);
	fm_out(m, 0x600, 0x100, 2);
	lapic_eoi(lapic(m, 1));
	assert_int_equal(lapic_get_intr(lapic(m, 1)), -1);
}

/* The local APIC's page is the one of the vCPU that accesses it. */
static void touch_page(struct vcpu *v, void *arg)
{
	uint32_t *id = arg, val = 0x1ff;

	map_access(v->vm->map, MAP_MEM, LAPIC_DEFAULT_BASE + 0x20, id, 4, false);
	map_access(v->vm->map, MAP_MEM, LAPIC_DEFAULT_BASE + 0xf0, &val, 4, true);
}

static void test_lapic_page(void **state)
{
	struct fm *m = *state;
	struct err e = { 0 };
	uint32_t id = 0;

	assert_int_equal(vcpu_start_thread(m->v[1], &e), 0);
	vm_run_on(m->v[1], touch_page, &id);
	assert_int_equal(id, 1u << 24);
	assert_int_equal(lapic(m, 1)->svr, 0x1ff);
	assert_int_equal(lapic(m, 0)->svr, 0xff);
	/* Nobody's thread: nothing there. */
	assert_int_equal(fm_ld(m, LAPIC_DEFAULT_BASE + 0x20, 4), 0xffffffff);
}

static void test_reset(void **state)
{
	struct fm *m = *state;
	struct x86_board *b = x86_board(&m->vm);

	lapic_mmio_write(lapic(m, 1), LAPIC_SVR, 0x1ff);
	fm_out(m, 0x21, 0x55, 1);
	fm_out(m, 0xcf8, 0x80000060, 4);
	fm_out(m, 0xcfc, 0xe0000001, 4);
	dev_reset_all(&m->vm);
	x86_vcpu_reset(m->v[1]);
	q35_board.firmware_defaults(b);
	assert_int_equal(lapic(m, 1)->svr, 0xff);
	assert_int_equal(fm_in(m, 0x21, 1), 0);
	assert_int_equal(fm_ld(m, ECAM_BASE, 4), 0x29c08086);
	assert_int_equal(fm_ld(m, 0xe0000000, 4), 0xffffffff);
}

static void test_device_states(void **state)
{
	struct fm *m = *state, *other = board(2, MIB(64));
	struct dev *a = m->vm.devs, *b = other->vm.devs;

	for (; a && b; a = a->next, b = b->next) {
		assert_ptr_equal(a->type, b->type);
		if (!fm_round_trip(a->type->state, a, b))
			fail_msg("%s does not survive a round trip", a->path);
	}
	assert_true(!a && !b);
	gsi_pci_intx(x86_board(&m->vm), PCI_DEVFN(3, 0), 1, 1);
	assert_true(fm_round_trip(&x86_gsi_state, &x86_board(&m->vm)->gsi,
				  &x86_board(&other->vm)->gsi));
	assert_int_equal(x86_board(&other->vm)->gsi.pin_level[PCI_DEVFN(3, 0)], 2);
	x86_board(&m->vm)->gsi.pirq_sources[0]++; /* held up by nobody */
	assert_false(fm_round_trip(&x86_gsi_state, &x86_board(&m->vm)->gsi,
				   &x86_board(&other->vm)->gsi));
	fm_free(other);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_map),
		cmocka_unit_test(test_refusals),
		T(test_describe),
		T(test_config_space),
		T(test_isa_lines),
		T(test_pci_lines),
		T(test_msi),
		T(test_pm_block),
		T(test_rcba),
		T(test_nmi_input),
		T(test_power_off),
		T(test_reset_port),
		T(test_button),
		T(test_lapic_page),
		T(test_reset),
		T(test_device_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

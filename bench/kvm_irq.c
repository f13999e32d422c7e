/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an MSI-X interrupt of a PCI function costs under KVM, from pci_msix_fire() to the local APIC
 * of a vCPU that is not running: sent by the board (KVM_SIGNAL_MSI) and by an eventfd, and what it
 * takes to begin with an eventfd, to change its message and to end. Run by bench/kvm.py in L1.
 */
#include "fake_machine.h"

#include "base/clock.h"
#include "core/accel.h"
#include "isa/x86/irqchip.h"
#include "isa/x86/x86.h"
#include "pci/pci.h"
#include "sandbox/sandbox.h"
#include <stdio.h>
#include <stdlib.h>

#define SENDS	10000u
#define ROUNDS	6u
#define CHANGES 200u

static int must(int r, const char *what, const struct err *e)
{
	if (r >= 0)
		return r;
	fprintf(stderr, "kvm_irq: %s: %s\n", what, e->msg);
	exit(1);
}

/* The local APIC takes messages once it is enabled. */
static void enable_apic(struct fm *m)
{
	struct x86_lapic_regs regs;
	struct err e = { 0 };

	must(m->vm.irqchip->get_lapic(m->v[0], &regs), "local APIC", &e);
	regs.reg[0xf] |= 0x100;
	must(m->vm.irqchip->set_lapic(m->v[0], &regs, &e), "local APIC", &e);
}

static struct pci_dev *make_device(struct fm *m)
{
	struct conf_node *node = conf_add(m->vm.conf, CONF_DEVICE, "virtio-rng-pci", NULL, "bench");
	struct err e = { 0 };
	struct dev *dev;
	struct pci_dev *d;

	must(dev_create(&m->vm, node, &dev, &e), "device", &e);
	d = container_of(dev, struct pci_dev, d);
	pci_cfg_write(d->bus, 0, d->devfn, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
	pci_cfg_write(d->bus, 0, d->devfn, d->cap_msix + 2u, 0x8000, 2);
	pci_msix_write(d, 0, 0xfee00000, 8);
	pci_msix_write(d, 8, 0x60, 8);
	return d;
}

/* Nanoseconds each. */
static double fires(struct pci_dev *d, unsigned n)
{
	uint64_t from = clock_now_ns();

	for (unsigned i = 0; i < n; i++)
		pci_msix_fire(d, 0);
	return (double)(clock_now_ns() - from) / n;
}

static double changes(struct pci_dev *d)
{
	uint64_t from = clock_now_ns();

	for (unsigned i = 0; i < CHANGES; i++) {
		pci_msix_write(d, 8, 0x60 + (i & 1), 4);
		pci_msix_fire(d, 0);
	}
	return (double)(clock_now_ns() - from) / CHANGES;
}

static double begins(struct pci_dev *d, double *end)
{
	uint64_t from = clock_now_ns(), closing = 0;

	for (unsigned i = 0; i < CHANGES; i++) {
		uint64_t at;

		pci_msix_fire(d, 0);
		at = clock_now_ns();
		pci_msix_resume(d);
		closing += clock_now_ns() - at;
	}
	*end = (double)closing / CHANGES;
	return (double)(clock_now_ns() - from - closing) / CHANGES;
}

int main(void)
{
	const struct accel_ops *kvm = accel_engines[0];
	const struct sandbox_conf sandbox = { .on = true };
	double board = 1e9, eventfd = 1e9, change, begin, end;
	struct err e = { 0 };
	struct pci_dev *d;
	struct fm *m;

	must(kvm->probe(&e), kvm->name, &e);
	m = fm_new_on(kvm, "default,-xsave", FM_ON, 1, MIB(16));
	must(arch_board_init(&m->vm, &e), "board", &e);
	m->board = true;
	kvm->reset(m->v[0], false);
	kvm->reset_irqchip(&m->vm);
	enable_apic(m);
	d = make_device(m);
	/* The filter of system calls is part of what each costs. */
	must(sandbox_enter(&sandbox, SANDBOX_CONTROL, &e), "sandbox", &e);
	/* The kernel has other things to do as well: the least of some rounds. */
	for (unsigned i = 0; i < ROUNDS; i++) {
		pci_msix_pause(d);
		board = MIN(board, fires(d, SENDS));
		pci_msix_resume(d);
		fires(d, 1);
		eventfd = MIN(eventfd, fires(d, SENDS));
	}
	change = changes(d);
	pci_msix_resume(d);
	begin = begins(d, &end);
	printf("irq board=%.0f eventfd=%.0f begin=%.0f change=%.0f end=%.0f\n", board, eventfd,
	       begin, change, end);
	fm_free(m);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the microvm board by its register pages: event device, virtio transports with an entropy
 * device behind them whose rings the input writes too, ECAM, IOAPIC, local APICs.
 */
#include "base/base.h"
#include "fuzz_input.h"
#include "arch/x86/board.h"
#include "fake_machine.h"
#include "virtio/virtio_mmio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void access(struct fm *m, struct fuzz_input *in)
{
	static const uint32_t pages[8] = { 0xfeb00000, 0xfeb00000,  0xfeb00200,		0xfea00000,
					   0xfea00200, IOAPIC_BASE, LAPIC_DEFAULT_BASE, 0xe0000000 };
	uint8_t op = fuzz_u8(in);
	uint64_t addr = pages[op >> 2 & 7] + (fuzz_u16(in) & 0x1ff), val = fuzz_u32(in);
	unsigned size = 1u << (op & 3);

	if (op & 0x40) { /* into the first MiB: descriptors and rings */
		fm_st(m, (fuzz_u16(in) & 0xfff) * 4u, val, 4);
		return;
	}
	if (op & 0x80)
		fm_st(m, addr, val, size);
	else
		fm_ld(m, addr, size);
}

static struct fm *machine(void)
{
	struct fm *m = fm_new(2, MIB(2), false);
	struct conf_node *node;
	struct err e;

	m->board = true;
	free(m->vm.conf->machine);
	m->vm.conf->machine = xstrdup("microvm");
	m->vm.conf->pcie = true;
	if (arch_board_init(&m->vm, &e))
		__builtin_trap();
	node = conf_add(m->vm.conf, CONF_DEVICE, "virtio-rng-device", NULL, "fuzz");
	conf_set(node, "packed", "on");
	if (dev_create(&m->vm, node, NULL, &e))
		__builtin_trap();
	dev_reset_all(&m->vm);
	return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, data + size };
	struct fm *m = machine(), *other;
	struct dev *a, *b;

	while (fuzz_more(&in)) {
		access(m, &in);
		loop_once(m->vm.loop, 0);
	}
	for (struct dev *d = m->vm.devs; d; d = d->next)
		if (d->type->pause)
			d->type->pause(d);
	other = machine();
	for (a = m->vm.devs, b = other->vm.devs; a && b; a = a->next, b = b->next)
		fuzz_check_state(a->type->state, a, b);
	fm_free(other);
	fm_free(m);
	return 0;
}

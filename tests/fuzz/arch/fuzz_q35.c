/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the whole board by ports, register pages and configuration space. */
#include "base/base.h"
#include "fuzz_input.h"
#include "arch/x86/board.h"
#include "arch/x86/mch.h"
#include "fake_machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void access(struct fm *m, struct fuzz_input *in)
{
	static const uint16_t near[8] = { 0x00, 0x20, 0x40, 0x60, 0x70, 0x600, 0xcf8, 0xa0 };
	static const uint32_t pages[8] = { ECAM_BASE,		ECAM_BASE + 0xf8000, IOAPIC_BASE,
					   LAPIC_DEFAULT_BASE,	RCBA_BASE + 0x3000,  ECAM_BASE,
					   ECAM_BASE + 0xf8000, IOAPIC_BASE };
	uint8_t op = fuzz_u8(in);
	unsigned size = 1u << (op & 3);
	uint64_t addr, val = fuzz_u32(in);

	if (op & 4) {
		addr = pages[op >> 3 & 7] + (fuzz_u16(in) & 0xfff);
		if (op & 0x80)
			fm_st(m, addr, val, size);
		else
			fm_ld(m, addr, size);
		return;
	}
	addr = op & 0x40 ? fuzz_u16(in) : near[op >> 3 & 7] + (fuzz_u8(in) & 31u);
	if (op & 0x80)
		fm_out(m, (uint16_t)addr, (uint32_t)val, MIN(size, 4u));
	else
		fm_in(m, (uint16_t)addr, MIN(size, 4u));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, data + size };
	struct fm *m = fm_new(2, MIB(2), false), *other;
	struct dev *a, *b;
	struct err e;

	m->board = true;
	if (arch_board_init(&m->vm, &e))
		__builtin_trap();
	dev_reset_all(&m->vm);
	q35_board.firmware_defaults(x86_board(&m->vm));
	while (fuzz_more(&in))
		access(m, &in);
	other = fm_new(2, MIB(2), false);
	other->board = true;
	if (arch_board_init(&other->vm, &e))
		__builtin_trap();
	dev_reset_all(&other->vm); /* as before each load */
	for (a = m->vm.devs, b = other->vm.devs; a && b; a = a->next, b = b->next)
		fuzz_check_state(a->type->state, a, b);
	fm_free(other);
	fm_free(m);
	return 0;
}

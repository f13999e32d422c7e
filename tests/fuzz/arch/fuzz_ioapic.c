/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the IOAPIC: registers, lines, EOIs. */
#include "base/base.h"
#include "fuzz_input.h"
#include "arch/x86/ioapic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned take(void *opaque, const struct apic_msg *m)
{
	if (m->mode > 7)
		__builtin_trap();
	return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, data + size };
	struct ioapic s = { .send = take }, other = { .send = take };

	ioapic_reset(&s);
	while (fuzz_more(&in)) {
		uint8_t op = fuzz_u8(&in);

		switch (op & 3) {
		case 0:
			ioapic_write(&s, op & 0x70, fuzz_u32(&in));
			break;
		case 1:
			ioapic_read(&s, op & 0x70);
			break;
		case 2:
			ioapic_set(&s, op >> 3, op >> 2 & 1);
			break;
		default:
			ioapic_eoi(&s, fuzz_u8(&in));
		}
	}
	fuzz_check_state(&ioapic_state, &s, &other);
	return 0;
}

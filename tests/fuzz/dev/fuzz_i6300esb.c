/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the 6300ESB's watchdog: registers and time; its timer must always move on. */
#include "base/base.h"
#include "fuzz_input.h"
#include "dev/i6300esb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, data + size };
	struct i6300esb s = { 0 }, other = { 0 };
	uint64_t now = 1000000000, next;

	i6300esb_reset(&s);
	while (fuzz_more(&in)) {
		uint8_t op = fuzz_u8(&in);
		unsigned width = 1u << (op >> 3 & 3) % 3, reg = (op >> 5) * 2 & ~(width - 1);

		switch (op & 7) {
		case 0:
			i6300esb_set_config(&s, fuzz_u16(&in));
			break;
		case 1:
			i6300esb_set_lock(&s, fuzz_u8(&in), now);
			break;
		case 2:
			i6300esb_write(&s, 0x0c, 0x80, width, now);
			i6300esb_write(&s, 0x0c, 0x86, width, now);
			break;
		case 3:
			i6300esb_write(&s, reg, fuzz_u32(&in), width, now);
			break;
		case 4:
			i6300esb_reset(&s);
			break;
		case 5:
			now += fuzz_ns(&in);
			break;
		case 6:
			if (s.deadline_ns != UINT64_MAX)
				now = MAX(now, s.deadline_ns);
			break;
		default:
			i6300esb_read(&s, reg, width);
		}
		next = i6300esb_update(&s, now);
		if (next <= now || s.preload[0] > 0xfffff || s.preload[1] > 0xfffff)
			__builtin_trap();
	}
	fuzz_check_state(&i6300esb_state, &s, &other);
	return 0;
}

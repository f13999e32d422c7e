/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the real-time clock: ports and time. */
#include "base/base.h"
#include "fuzz_input.h"
#include "dev/rtc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, data + size };
	struct rtc s = { 0 }, other = { 0 };
	uint64_t wall = 1795385625000000000ull, wait;

	rtc_init(&s, 0, wall);
	while (fuzz_more(&in)) {
		uint8_t op = fuzz_u8(&in);

		if (op & 0x20)
			wall += fuzz_ns(&in);
		if (op & 2)
			rtc_write(&s, (op & 1) | (op >> 1 & 2), fuzz_u8(&in), wall);
		else
			rtc_read(&s, (op & 1) | (op >> 1 & 2), wall);
		wait = rtc_update(&s, wall);
		if (!wait)
			__builtin_trap();
		if ((op & 0x80) && wait != UINT64_MAX)
			wall += wait;
		if ((op & 0x5c) == 0x5c)
			rtc_reset(&s, wall);
	}
	fuzz_check_state(&rtc_state, &s, &other);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the 8254: ports and time; its timer must always move on. */
#include "base/base.h"
#include "fuzz_input.h"
#include "dev/i8254.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, data + size };
	struct i8254 s = { 0 }, other = { 0 };
	uint64_t now = 1000000000, next;

	i8254_reset(&s, now);
	while (fuzz_more(&in)) {
		uint8_t op = fuzz_u8(&in);
		unsigned port = op & 0x10 ? 0x61 : 0x40 + (op & 3);

		if (op & 0x20)
			now += fuzz_ns(&in);
		if (op & 0x40)
			i8254_write(&s, port, fuzz_u8(&in), now);
		else
			i8254_read(&s, port, now);
		next = i8254_update(&s, now);
		if (next <= now)
			__builtin_trap();
		if ((op & 0x80) && next != UINT64_MAX)
			now = next;
	}
	fuzz_check_state(&i8254_state, &s, &other);
	return 0;
}

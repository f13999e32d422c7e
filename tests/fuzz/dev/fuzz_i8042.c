/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the keyboard controller. */
#include "base/base.h"
#include "fuzz_input.h"
#include "dev/i8042.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned ports[4] = { 0x60, 0x64, 0x92, 0x64 };
	struct fuzz_input in = { data, data + size };
	struct i8042 s = { 0 }, other = { 0 };

	i8042_reset(&s);
	while (fuzz_more(&in)) {
		uint8_t op = fuzz_u8(&in);

		if (op & 4)
			i8042_write(&s, ports[op & 3], fuzz_u8(&in));
		else
			i8042_read(&s, ports[op & 3]);
	}
	fuzz_check_state(&i8042_state, &s, &other);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the 8259 pair: ports, lines, acknowledge cycles. */
#include "base/base.h"
#include "fuzz_input.h"
#include "arch/x86/i8259.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned ports[8] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x20, 0xa0 };
	struct fuzz_input in = { data, data + size };
	struct i8259_pair s = { 0 }, other = { 0 };

	i8259_reset(&s);
	i8259_reset(&other);
	while (fuzz_more(&in)) {
		uint8_t op = fuzz_u8(&in);
		int vector;

		switch (op >> 6) {
		case 0:
			i8259_write(&s, ports[op & 7], fuzz_u8(&in));
			break;
		case 1:
			i8259_read(&s, ports[op & 7]);
			break;
		case 2:
			i8259_set(&s, op & 31, op >> 5 & 1);
			break;
		default:
			vector = i8259_ack(&s);
			if (vector < 0 || vector > 255)
				__builtin_trap();
		}
	}
	fuzz_check_state(&i8259_pair_state, &s, &other);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of the decoder: single encodings with the expected fields, and the generated ones. */
#include "base/base.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/decode/decode_tbl.h"
#include "insn_gen.h"
#include "isa/x86/cpu_state.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* Every operation has an encoding in some mode, and its generator finds it. */
static void test_every_op_can_be_generated(void **state)
{
	struct rng r = { 1 };
	unsigned missing = 0;

	for (unsigned op = 1; op < OP_NR; op++) {
		uint8_t b[15];
		size_t n = insn_gen(op, 64, 0, &r, b) + insn_gen(op, 32, 0, &r, b) +
			   insn_gen(op, 16, 0, &r, b);

		if (!n) {
			print_error("no encoding of op %u %s\n", op, op_descs[op].name);
			missing++;
		}
	}
	assert_int_equal(missing, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_op_can_be_generated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completeness: every operation of the decode table that the CPU model shows has a handler, in each
 * mode in which it decodes; what the model hides has none, but for TZCNT and LZCNT.
 */
#include "soft_vm.h"
#include "accel/soft/block.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/exec.h"
#include "insn_gen.h"
#include "isa/x86/cpuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct tvm *t;

static bool raises_ud_by_design(unsigned mn)
{
	return mn == MN_UD0 || mn == MN_UD1 || mn == MN_UD2;
}

/* Binds one random instruction of an operation; false when it would be #UD. */
static bool bound(unsigned op, unsigned bits, struct rng *r, bool *exists)
{
	struct soft_cpu *c = tvm_cpu(t, 0);
	struct insn in;
	uint8_t b[15];

	*exists = insn_gen(op, bits, 0, r, b) && decode_insn(b, sizeof(b), bits, &in) > 0;
	if (!*exists)
		return false;
	bind_insn(c, &in, b);
	return in.fn && in.fn != exec_ud;
}

static void check_mode(unsigned bits)
{
	struct rng r = { bits };
	struct soft_cpu *c;
	unsigned missing = 0, seen = 0;

	tvm_setup(t, 0, bits, TVM_CODE);
	c = tvm_cpu(t, 0);
	for (unsigned op = 1; op < OP_NR; op++) {
		const struct op_desc *d = &op_descs[op];
		bool exists, has = bound(op, bits, &r, &exists);
		bool shown = cpu_has(c, d->feature) || op_without_feature(op);
		bool real = bits == 16 && (d->attr & OPA_PE);

		if (!exists || raises_ud_by_design(d->mn))
			continue;
		seen++;
		if (has != (shown && !real)) {
			print_error("%u bit, op %u %s: %s\n", bits, op, op_name(op),
				    has ? "is bound though hidden" : "has no handler");
			missing++;
		}
	}
	assert_int_equal(missing, 0);
	assert_true(seen > OP_NR / 2);
}

static void test_all_ops_bound(void **state)
{
	t = tvm_new(1, *state);
	check_mode(64);
	check_mode(32);
	check_mode(16);
	t = tvm_free(t);
}

static void test_hidden_tzcnt(void **state)
{
	static const uint8_t tzcnt[15] = { 0xf3, 0x0f, 0xbc, 0xc1 };
	struct insn in;

	t = tvm_new(1, "x86-64-v2");
	tvm_setup(t, 0, 64, TVM_CODE);
	assert_int_equal(decode_insn(tzcnt, 15, 64, &in), 4);
	assert_int_equal(op_descs[in.op].mn, MN_TZCNT);
	bind_insn(tvm_cpu(t, 0), &in, tzcnt);
	assert_int_equal(op_descs[in.op].mn, MN_BSF);
	assert_ptr_not_equal(in.fn, exec_ud);
	t = tvm_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_all_ops_bound, (void *)"max"),
		cmocka_unit_test_prestate(test_all_ops_bound, (void *)"x86-64-v3"),
		cmocka_unit_test_prestate(test_all_ops_bound, (void *)"x86-64-v2"),
		cmocka_unit_test(test_hidden_tzcnt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes through the decoder: the first selects the mode, the rest is a stream of code. Whatever
 * it says must hold together: lengths, register offsets, no dependence on bytes behind the
 * instruction, DECODE_MORE for each shorter piece that does not already show #UD.
 */
#include "base/base.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/decode/decode_tbl.h"
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond)                                                              \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			__builtin_trap();                                          \
		}                                                                  \
	} while (0)

static void check_fields(const struct insn *in, int len)
{
	const struct op_desc *op = &op_descs[in->op];
	const unsigned regs = op->cls == OPC_EVEX ? 32 : 16; /* vectors; others: insn_gprs() */
	unsigned read, written;

	REQUIRE(in->op > 0 && in->op < OP_NR);
	REQUIRE(len >= 1 && len <= 15 && in->len == len);
	REQUIRE(in->reg / 8 < regs && in->reg % 8 <= 1);
	REQUIRE(in->rm / 8 < regs && in->rm % 8 <= 1);
	REQUIRE(in->base % 8 == 0 && in->base / 8 < R_NR);
	REQUIRE(in->index % 8 == 0 && in->index / 8 <= R_ZERO);
	REQUIRE(in->index != R_OFF(4));
	REQUIRE(in->scale < 4 && in->seg <= SEG_NONE && in->cc < 16 && in->vvvv < regs);
	REQUIRE(in->reg_n < regs && in->rm_n < regs && in->vidx < regs);
	REQUIRE(op->mn > 0 && op->mn < MN_NR && op->nr_operands <= 5);
	REQUIRE(!(in->flags & INSN_LOCK) || (op->attr & OPA_LOCKABLE));
	REQUIRE(__builtin_popcount(in->flags & (INSN_A16 | INSN_A32 | INSN_A64)) == 1);
	REQUIRE(insn_mem_size(in) <= 576);
	insn_gprs(in, &read, &written);
	REQUIRE(!((read | written) & ~0xffffu));
}

/* Only the bytes of the instruction count. */
static void check_prefixes(const uint8_t *p, int len, unsigned bits, const struct insn *full)
{
	struct insn in;

	for (int n = 0; n < len; n++)
		REQUIRE(decode_insn(p, n, bits, &in) == DECODE_MORE);
	REQUIRE(decode_insn(p, len, bits, &in) == len);
	REQUIRE(!memcmp(&in, full, sizeof(in)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	unsigned bits = 16u << (data[0] % 3);

	for (size_t at = 1; at < size;) {
		struct insn in;
		int len = decode_insn(data + at, size - at, bits, &in);

		if (len < 0) {
			REQUIRE(len == DECODE_UD || len == DECODE_MORE || len == DECODE_LONG);
			REQUIRE(len != DECODE_LONG || size - at >= 15);
			REQUIRE(len != DECODE_MORE || size - at < 15);
			at++;
			continue;
		}
		REQUIRE((size_t)len <= size - at);
		check_fields(&in, len);
		check_prefixes(data + at, len, bits, &in);
		at += len;
	}
	return 0;
}

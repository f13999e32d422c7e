/* SPDX-License-Identifier: Apache-2.0 */
/* What thunk.c and thunk_evex.c share: the buffer that a thunk is put together in, and common pieces. */
#ifndef SOFT_THUNK_INT_H
#define SOFT_THUNK_INT_H

#include "accel/soft/fpu.h"
#include "base/bytes.h"

#define THUNK_MAX 192

/* Host registers */
enum { H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI, H_R8, H_R9, H_R10, H_R11 };

struct code {
	uint8_t b[THUNK_MAX];
	unsigned n;
};

static inline void put(struct code *c, unsigned n, const uint8_t *bytes)
{
	if (c->n + n <= sizeof(c->b))
		memcpy(c->b + c->n, bytes, n);
	c->n += n;
}
#define PUT(c, ...)                                              \
	do {                                                     \
		const uint8_t put_[] = {__VA_ARGS__};            \
		put(c, sizeof(put_), put_);                      \
	} while (0)

static inline void put_disp32(struct code *c, size_t disp)
{
	uint8_t b[4];

	st_le32(b, (uint32_t)disp);
	put(c, 4, b);
}

/* mov r64, [ptr] and back; ptr is one of the low eight but rsp and rbp */
static inline void put_gpr(struct code *c, unsigned reg, unsigned ptr, bool store)
{
	PUT(c, (uint8_t)(0x48 | (reg & 8 ? 4 : 0)), store ? 0x89 : 0x8b,
	    (uint8_t)((reg & 7) << 3 | ptr));
}

/* vmovups zmm, [ptr] and back; one of the low eight */
static inline void put_zmm(struct code *c, unsigned zmm, unsigned ptr, bool store)
{
	PUT(c, 0x62, 0xf1, 0x7c, 0x48, store ? 0x11 : 0x10, (uint8_t)(zmm << 3 | ptr));
}

/* To soft_cpu.fl; clobbers RAX. */
static inline void put_flags_out(struct code *c)
{
	PUT(c, 0x9f, 0x0f, 0x90, 0xc0, 0x0f, 0xb7, 0xc0); /* lahf; seto al; movzx eax, ax */
	PUT(c, 0x41, 0x89, 0x80);			   /* mov [r8 + fl], eax */
	put_disp32(c, offsetof(struct soft_cpu, fl));
}

/* thunk_evex.c, for class OPC_EVEX. The instruction with the operands of thunks; returns its length. */
unsigned thunk_evex_encode(const struct insn *, const uint8_t *bytes, unsigned bits, uint8_t out[15]);
/* The whole thunk around it. */
void thunk_evex(struct code *, const struct op_desc *, const uint8_t *insn, unsigned len);

#endif

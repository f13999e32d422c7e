/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Integer operations with their flags, as the host's own instructions: the flags, also those that
 * the manuals leave undefined, come from LAHF and SETO. EAX holds soft_cpu.fl at the asm's borders.
 */
#ifndef SOFT_HOSTOPS_H
#define SOFT_HOSTOPS_H

#include "accel/soft/cpu.h"

#define FL_OUT "\n\tlahf\n\tseto %%al"
#define FL_IN  "addb $0x7f, %%al\n\tsahf\n\t" /* OF from AL 0 or 1, then the rest from AH */
#define FL_IN_C "sahf\n\t"		      /* all but OF */

/* a = a op b; flags written only. */
#define HOST_BINARY(name, op, bits, sfx, k)                                              \
	static inline uint##bits##_t name##bits(uint32_t *fl, uint##bits##_t a,          \
						uint##bits##_t b)                        \
	{                                                                                \
		uint32_t f;                                                              \
                                                                                         \
		asm(op sfx " %" k "[b], %" k "[a]" FL_OUT                                \
		    : [a] "+&q"(a), "=&a"(f)                                             \
		    : [b] "q"(b)                                                         \
		    : "cc");                                                             \
		*fl = (uint16_t)f;                                                       \
		return a;                                                                \
	}
/* a = a op b with the carry flag read. */
#define HOST_BINARY_C(name, op, bits, sfx, k)                                            \
	static inline uint##bits##_t name##bits(uint32_t *fl, uint##bits##_t a,          \
						uint##bits##_t b)                        \
	{                                                                                \
		uint32_t f = *fl;                                                        \
                                                                                         \
		asm(FL_IN_C op sfx " %" k "[b], %" k "[a]" FL_OUT                        \
		    : [a] "+&q"(a), "+&a"(f)                                             \
		    : [b] "q"(b)                                                         \
		    : "cc");                                                             \
		*fl = (uint16_t)f;                                                       \
		return a;                                                                \
	}
/* Flags of a op b only. */
#define HOST_COMPARE(name, op, bits, sfx, k)                                             \
	static inline void name##bits(uint32_t *fl, uint##bits##_t a, uint##bits##_t b)  \
	{                                                                                \
		uint32_t f;                                                              \
                                                                                         \
		asm(op sfx " %" k "[b], %" k "[a]" FL_OUT                                \
		    : "=&a"(f)                                                           \
		    : [a] "q"(a), [b] "q"(b)                                             \
		    : "cc");                                                             \
		*fl = (uint16_t)f;                                                       \
	}
/* a = op a; flags that op leaves alone are kept. */
#define HOST_UNARY(name, op, bits, sfx, k)                                               \
	static inline uint##bits##_t name##bits(uint32_t *fl, uint##bits##_t a)          \
	{                                                                                \
		uint32_t f = *fl;                                                        \
                                                                                         \
		asm(FL_IN op sfx " %" k "[a]" FL_OUT : [a] "+&q"(a), "+&a"(f) : : "cc"); \
		*fl = (uint16_t)f;                                                       \
		return a;                                                                \
	}
/* a = a op cl; all flags are inputs, for counts of 0 and what rotates keep. */
#define HOST_SHIFT(name, op, bits, sfx, k)                                               \
	static inline uint##bits##_t name##bits(uint32_t *fl, uint##bits##_t a,          \
						uint8_t count)                           \
	{                                                                                \
		uint32_t f = *fl;                                                        \
                                                                                         \
		asm(FL_IN op sfx " %%cl, %" k "[a]" FL_OUT                               \
		    : [a] "+&q"(a), "+&a"(f)                                             \
		    : "c"(count)                                                         \
		    : "cc");                                                             \
		*fl = (uint16_t)f;                                                       \
		return a;                                                                \
	}
/* Double shifts. */
#define HOST_SHIFT2(name, op, bits, sfx, k)                                              \
	static inline uint##bits##_t name##bits(uint32_t *fl, uint##bits##_t a,          \
						uint##bits##_t b, uint8_t count)         \
	{                                                                                \
		uint32_t f = *fl;                                                        \
                                                                                         \
		asm(FL_IN op sfx " %%cl, %" k "[b], %" k "[a]" FL_OUT                    \
		    : [a] "+&r"(a), "+&a"(f)                                             \
		    : [b] "r"(b), "c"(count)                                             \
		    : "cc");                                                             \
		*fl = (uint16_t)f;                                                       \
		return a;                                                                \
	}
/* a = a op b with all flags as inputs: bit tests, IMUL. */
#define HOST_BINARY_F(name, op, bits, sfx, k)                                            \
	static inline uint##bits##_t name##bits(uint32_t *fl, uint##bits##_t a,          \
						uint##bits##_t b)                        \
	{                                                                                \
		uint32_t f = *fl;                                                        \
                                                                                         \
		asm(FL_IN op sfx " %" k "[b], %" k "[a]" FL_OUT                          \
		    : [a] "+&r"(a), "+&a"(f)                                             \
		    : [b] "r"(b)                                                         \
		    : "cc");                                                             \
		*fl = (uint16_t)f;                                                       \
		return a;                                                                \
	}

#define HOST_ALL(kind, name, op)   \
	kind(name, op, 8, "b", "b") \
	HOST_WIDE(kind, name, op)
#define HOST_WIDE(kind, name, op)    \
	kind(name, op, 16, "w", "w") \
	kind(name, op, 32, "l", "k") \
	kind(name, op, 64, "q", "q")

HOST_ALL(HOST_BINARY, op_add_, "add")
HOST_ALL(HOST_BINARY, op_or_, "or")
HOST_ALL(HOST_BINARY, op_and_, "and")
HOST_ALL(HOST_BINARY, op_sub_, "sub")
HOST_ALL(HOST_BINARY, op_xor_, "xor")
HOST_ALL(HOST_BINARY_C, op_adc_, "adc")
HOST_ALL(HOST_BINARY_C, op_sbb_, "sbb")
HOST_ALL(HOST_COMPARE, op_cmp_, "cmp")
HOST_ALL(HOST_COMPARE, op_test_, "test")
HOST_ALL(HOST_UNARY, op_inc_, "inc")
HOST_ALL(HOST_UNARY, op_dec_, "dec")
HOST_ALL(HOST_UNARY, op_neg_, "neg")
HOST_ALL(HOST_SHIFT, op_rol_, "rol")
HOST_ALL(HOST_SHIFT, op_ror_, "ror")
HOST_ALL(HOST_SHIFT, op_rcl_, "rcl")
HOST_ALL(HOST_SHIFT, op_rcr_, "rcr")
HOST_ALL(HOST_SHIFT, op_shl_, "shl")
HOST_ALL(HOST_SHIFT, op_shr_, "shr")
HOST_ALL(HOST_SHIFT, op_sar_, "sar")
HOST_WIDE(HOST_SHIFT2, op_shld_, "shld")
HOST_WIDE(HOST_SHIFT2, op_shrd_, "shrd")
HOST_WIDE(HOST_BINARY_F, op_bt_, "bt")
HOST_WIDE(HOST_BINARY_F, op_bts_, "bts")
HOST_WIDE(HOST_BINARY_F, op_btr_, "btr")
HOST_WIDE(HOST_BINARY_F, op_btc_, "btc")
HOST_WIDE(HOST_BINARY_F, op_imul_, "imul")

#endif

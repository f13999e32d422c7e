/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting x86-64 host instructions together, byte by byte (Intel SDM vol. 2, 2.1 and 2.2). Only the few
 * that the translator needs around the guest's own. A buffer that is full swallows what comes and says so.
 */
#ifndef SOFT_JIT_ASM_H
#define SOFT_JIT_ASM_H

#include "base/base.h"
#include "base/bytes.h"

enum hreg {
	H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI,
	H_R8, H_R9, H_R10, H_R11, H_R12, H_R13, H_R14, H_R15,
};

struct as {
	uint8_t *p, *end; /* in the writable mapping */
	bool full;
};

static inline void as_byte(struct as *a, unsigned b)
{
	if (unlikely(a->p == a->end))
		a->full = true;
	else
		*a->p++ = (uint8_t)b;
}

static inline void as_bytes(struct as *a, const uint8_t *b, unsigned n)
{
	if (unlikely((size_t)(a->end - a->p) < n)) {
		a->full = true;
		return;
	}
	memcpy(a->p, b, n);
	a->p += n;
}

#define AS(a, ...)                                            \
	do {                                                  \
		const uint8_t as_[] = { __VA_ARGS__ };        \
		as_bytes(a, as_, sizeof(as_));                \
	} while (0)

static inline void as_u32(struct as *a, uint32_t v)
{
	uint8_t b[4];

	st_le32(b, v);
	as_bytes(a, b, 4);
}

static inline unsigned as_rex(bool w, unsigned reg, unsigned index, unsigned base)
{
	return 0x40u | (w ? 8 : 0) | (reg >> 1 & 4) | (index >> 2 & 2) | (base >> 3 & 1);
}

/* op reg, rm between registers; 64 bits wide when w. Opcodes above 0xff are of map 0F. */
static inline void as_rr(struct as *a, bool w, unsigned op, unsigned reg, unsigned rm)
{
	unsigned rex = as_rex(w, reg, 0, rm);

	if (rex != 0x40)
		as_byte(a, rex);
	if (op > 0xff)
		as_byte(a, 0x0f);
	as_byte(a, op & 0xff);
	as_byte(a, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* ModRM, SIB and displacement for [base + disp]. */
static inline void as_mem(struct as *a, unsigned reg, unsigned base, int32_t disp)
{
	unsigned mod = !disp && (base & 7) != 5 ? 0 : disp == (int8_t)disp ? 1 : 2;

	as_byte(a, mod << 6 | (reg & 7) << 3 | (base & 7));
	if ((base & 7) == 4)
		as_byte(a, 0x24);
	if (mod == 1)
		as_byte(a, (uint8_t)disp);
	else if (mod == 2)
		as_u32(a, (uint32_t)disp);
}

/* op reg, [base + disp], or the other way round, as the opcode says. */
static inline void as_rm(struct as *a, bool w, unsigned op, unsigned reg, unsigned base, int32_t disp)
{
	unsigned rex = as_rex(w, reg, 0, base);

	if (rex != 0x40)
		as_byte(a, rex);
	if (op > 0xff)
		as_byte(a, 0x0f);
	as_byte(a, op & 0xff);
	as_mem(a, reg, base, disp);
}

/* An address: [base + disp], or with index >= 0 [base + index + disp]. */
struct as_addr {
	int base, index;
	int32_t disp;
};

/* ModRM, SIB and displacement for one. */
static inline void as_modrm(struct as *a, unsigned reg, const struct as_addr *m)
{
	unsigned b = (unsigned)m->base & 7;
	unsigned mod = !m->disp && b != 5 ? 0 : m->disp == (int8_t)m->disp ? 1 : 2;

	if (m->index < 0) {
		as_mem(a, reg, (unsigned)m->base, m->disp);
		return;
	}
	as_byte(a, mod << 6 | (reg & 7) << 3 | 4);
	as_byte(a, ((unsigned)m->index & 7) << 3 | b);
	if (mod == 1)
		as_byte(a, (uint8_t)m->disp);
	else if (mod == 2)
		as_u32(a, (uint32_t)m->disp);
}

static inline unsigned as_rex_at(bool w, unsigned reg, const struct as_addr *m)
{
	return as_rex(w, reg, m->index < 0 ? 0 : (unsigned)m->index, (unsigned)m->base);
}

/* as_rm() with any address. */
static inline void as_at(struct as *a, bool w, unsigned op, unsigned reg, const struct as_addr *m)
{
	unsigned rex = as_rex_at(w, reg, m);

	if (rex != 0x40)
		as_byte(a, rex);
	if (op > 0xff)
		as_byte(a, 0x0f);
	as_byte(a, op & 0xff);
	as_modrm(a, reg, m);
}

#define AS_LOAD	 0x8b /* mov reg, [m] */
#define AS_STORE 0x89 /* mov [m], reg */
#define AS_LEA	 0x8d

static inline void as_mov(struct as *a, unsigned to, unsigned from)
{
	as_rr(a, true, AS_LOAD, to, from);
}

/* lea reg, [base + index << scale + disp]; without base or index: negative numbers. */
static inline void as_lea(struct as *a, bool w, unsigned reg, int base, int index, unsigned scale,
			  int32_t disp)
{
	unsigned b = base < 0 ? 5 : (unsigned)base, x = index < 0 ? 4 : (unsigned)index;
	unsigned mod = base < 0 ? 0 : !disp && (b & 7) != 5 ? 0 : disp == (int8_t)disp ? 1 : 2;
	unsigned rex = as_rex(w, reg, index < 0 ? 0 : x, base < 0 ? 0 : b);

	if (base >= 0 && index < 0 && !disp) {
		as_rr(a, w, AS_LOAD, reg, b);
		return;
	}
	if (base >= 0 && index < 0) {
		as_rm(a, w, AS_LEA, reg, b, disp);
		return;
	}
	if (rex != 0x40)
		as_byte(a, rex);
	as_byte(a, AS_LEA);
	as_byte(a, mod << 6 | (reg & 7) << 3 | 4);
	as_byte(a, scale << 6 | (x & 7) << 3 | (b & 7));
	if (mod == 1)
		as_byte(a, (uint8_t)disp);
	else if (mod == 2 || base < 0)
		as_u32(a, (uint32_t)disp);
}

/* A group 1 operation (0 ADD, 4 AND, 5 SUB, 7 CMP) with an immediate. */
static inline void as_alu_imm(struct as *a, bool w, unsigned op, unsigned reg, int32_t imm)
{
	bool small = imm == (int8_t)imm;
	unsigned rex = as_rex(w, 0, 0, reg);

	if (rex != 0x40)
		as_byte(a, rex);
	as_byte(a, small ? 0x83 : 0x81);
	as_byte(a, 0xc0 | op << 3 | (reg & 7));
	if (small)
		as_byte(a, (uint8_t)imm);
	else
		as_u32(a, (uint32_t)imm);
}

static inline void as_mov_imm32(struct as *a, unsigned reg, uint32_t v)
{
	if (reg & 8)
		as_byte(a, 0x41);
	as_byte(a, 0xb8 | (reg & 7));
	as_u32(a, v);
}

/* mov dword [base + disp], imm32 */
static inline void as_store_imm32(struct as *a, unsigned base, int32_t disp, uint32_t v)
{
	as_rm(a, false, 0xc7, 0, base, disp);
	as_u32(a, v);
}

static inline void as_mov_imm64(struct as *a, unsigned reg, uint64_t v)
{
	as_byte(a, as_rex(true, 0, 0, reg));
	as_byte(a, 0xb8 | (reg & 7));
	as_u32(a, (uint32_t)v);
	as_u32(a, (uint32_t)(v >> 32));
}

/* Jumps: a place of four bytes, to be filled in by as_patch(). */
static inline uint8_t *as_jmp(struct as *a)
{
	as_byte(a, 0xe9);
	as_u32(a, 0);
	return a->p - 4;
}

static inline uint8_t *as_jcc(struct as *a, unsigned cc)
{
	AS(a, 0x0f, (uint8_t)(0x80 | cc));
	as_u32(a, 0);
	return a->p - 4;
}

/* place: a displacement of 32 bits that ends where it is counted from. */
static inline void as_patch(uint8_t *place, const uint8_t *target)
{
	st_le32(place, (uint32_t)(target - (place + 4)));
}

static inline void as_call(struct as *a, const uint8_t *target)
{
	as_byte(a, 0xe8);
	as_u32(a, 0);
	if (!a->full)
		as_patch(a->p - 4, target);
}

static inline void as_jmp_to(struct as *a, const uint8_t *target)
{
	uint8_t *place = as_jmp(a);

	if (!a->full)
		as_patch(place, target);
}

enum { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE,
       CC_LE, CC_G };

#endif

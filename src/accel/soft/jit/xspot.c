/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory operands by spots: what one place in host code last looked up in the software TLB is kept for
 * it alone. So the look at the next access is short, its branch is predicted, and, where the address is
 * a register, nothing of it is in the way of the access: three quarters of all accesses are to the page
 * of the last one. Accesses by way of RSP share one spot for loads and one for stores.
 *
 * A spot is a copy of a TLB entry that outlives it: whatever takes entries away for their contents
 * takes all spots (spots_drop()). Not for supervisor code under SMAP, whose rights change with EFLAGS.AC.
 * vCPU thread.
 */
#include "accel/soft/jit/xlat.h"
#include "accel/soft/mmu.h"

#define SPOT_OFF(at, field) ((at) + (int32_t)offsetof(struct spot, field))

void spots_drop(struct soft_cpu *c)
{
	uint32_t at = c->spots_used;

	while (at) {
		struct spot *s = (struct spot *)(void *)((char *)c + at);

		s->limit = 0;
		at = s->next;
	}
	c->spots_used = 0;
}

static bool has_spots(const struct xlat *x)
{
	return x->c->cpl == 3 || !(x->c->s.cr4 & CR4_SMAP);
}

/* Offset in soft_cpu of a spot for accesses of size bytes. */
static int32_t spot_offset(struct xlat *x, struct spot *s, unsigned size)
{
	s->full = 0x1000 - size + 1;
	return (int32_t)((char *)s - (char *)x->c);
}

static int32_t new_spot(struct xlat *x, unsigned size)
{
	struct soft_cpu *c = x->c;

	if (x->j->nr_spots == SPOTS) {
		x->a.full = true; /* cannot be, by jit_has_room() */
		return OFF(spots);
	}
	return spot_offset(x, &c->spots[x->j->nr_spots++], size);
}

/* By way of RSP, up to 8 bytes. */
static int32_t stack_spot(struct xlat *x, bool write)
{
	return spot_offset(x, &x->c->stack_spots[x->c->cpl == 3][write], 8);
}

/*
 * EA is the address without s->disp, if that is in the spot's base. Leaves in EA the offset in the page,
 * and in ENT what the spot has to add.
 */
static void put_check(struct xlat *x, const struct stub *access, unsigned align)
{
	struct as *a = &x->a;
	struct stub *s;

	as_rm(a, true, 0x2b, EA, ENV, SPOT_OFF(access->spot, base));
	as_rm(a, true, 0x3b, EA, ENV, SPOT_OFF(access->spot, limit));
	s = x_stub(x, STUB_SPOT, NULL);
	s->spot = access->spot;
	s->off = access->off;
	s->base = access->base;
	s->fold = access->fold;
	s->size = access->size;
	s->write = access->write;
	s->flat = access->flat;
	s->place = as_jcc(a, CC_AE);
	s->back = a->p;
	if (align) {
		AS(a, 0x41, 0xf6, 0xc6, (uint8_t)align); /* test r14b, mask */
		x_stub(x, STUB_BAIL, as_jcc(a, CC_NE));
	}
	as_rm(a, true, AS_LOAD, ENT, ENV, SPOT_OFF(access->spot, add));
	x->spot = access->spot;
	x->fold = access->fold;
	x->host_ok = false;
}

void x_reach_reg(struct xlat *x, unsigned base, int32_t disp, unsigned size, bool write)
{
	struct stub s = { .base = (uint8_t)base, .off = disp, .size = (uint8_t)size, .write = write,
			  .flat = true };

	x_keep_flags(x, x->live[x->i]);
	if (!has_spots(x)) {
		as_lea(&x->a, true, EA, (int)base, -1, 0, disp);
		x_check(x, size, write, 0);
		return;
	}
	if (base == H_R12 && size <= 8) {
		s.spot = stack_spot(x, write);
		as_lea(&x->a, true, EA, (int)base, -1, 0, disp);
	} else {
		s.spot = new_spot(x, size);
		s.fold = disp;
		as_mov(&x->a, EA, base);
	}
	put_check(x, &s, 0);
	x->at = (struct as_addr){ (int)base, ENT, disp };
}

void x_reach(struct xlat *x, unsigned size, bool write, unsigned align)
{
	const struct insn *in = x_insn(x);
	unsigned base = in->base / 8;
	struct stub s = { .base = NO_BASE, .size = (uint8_t)size, .write = write };

	if (!align && in->index / 8 == R_ZERO && in->seg == SEG_NONE && base < R_PC &&
	    host_reg(base) >= 0) {
		x_reach_reg(x, (unsigned)host_reg(base), in->disp, size, write);
		return;
	}
	x_keep_flags(x, x->live[x->i]);
	x_ea(x);
	if (!has_spots(x)) {
		x_check(x, size, write, align);
		return;
	}
	s.spot = new_spot(x, size);
	put_check(x, &s, align);
	x->at = (struct as_addr){ EA, ENT, 0 };
}

void x_stub_spot(struct xlat *x, const struct stub *s)
{
	struct as *a = &x->a;
	uint8_t *fail[2];

	if (s->base == NO_BASE)
		x_ea(x);
	else
		as_lea(a, true, EA, s->base, -1, 0, s->off);
	as_mov(a, T, EA);
	as_alu_imm(a, false, 4, T, 0xfff);
	as_alu_imm(a, false, 7, T, (int32_t)(0x1000 - s->size));
	fail[0] = as_jcc(a, CC_A);
	as_lea(a, true, ENT, ENV, -1, 0, s->spot);
	AS(a, 0x49, 0xc7, 0xc3); /* mov r11, simm32 */
	as_u32(a, (uint32_t)s->fold);
	as_call(a, x->j->go.fill[s->write][s->flat]);
	fail[1] = as_jcc(a, CC_NE);
	as_jmp_to(a, s->back);
	as_patch(fail[0], a->p);
	as_patch(fail[1], a->p);
	x_put_bail(x);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A block on its way to host code: what xlat.c, xmem.c, xflow.c and xinsn.c share. */
#ifndef SOFT_JIT_XLAT_H
#define SOFT_JIT_XLAT_H

#include "accel/soft/jit/code.h"
#include "accel/soft/jit/form.h"

/* Code that is out of the way, behind the block. */
enum stub_kind {
	STUB_BAIL,  /* the interpreter goes on with instruction i */
	STUB_STORED, /* a store of instruction i was to a watched line */
	STUB_STORED_RCX, /* the same, with flags live in the host's and RCX in hc.tmp */
	STUB_STORED_STRING, /* by REP; EA: where on the host, T: how far the guest's address is from it */
	STUB_STEP_OVER, /* x_step_over() */
	STUB_VEC,   /* vector registers or the x87 state are not loaded */
	STUB_LINK,  /* a direct jump to page offset off, to be patched */
	STUB_POLL,  /* something has to be looked at, in front of page offset off */
	STUB_MISS,  /* an address is not in the software TLB */
	STUB_SPOT,  /* the software TLB has to be asked */
	STUB_STALE, /* what was called is back at EA, but code has changed */
	STUB_CHANGED, /* code of the block has changed */
	STUB_LOOKUP_POLL, /* as STUB_POLL, in front of EA */
	STUB_UNPAIRED, /* RET is not to where the last CALL was */
	STUB_FAR, /* another page's code at page offset off has to be found */
	STUB_FAR_POLL, /* as STUB_POLL, in front of it */
	STUB_WAY, /* the jump cache has to be looked at, as EA is not where it went last; off: its link */
	STUB_LOOKUP, /* the jump cache has to be looked at again, with all that is right for EA */
	STUB_EXIT,  /* the rest of an exit to page offset off */
	STUB_CAREFUL, /* accesses from instruction i on cannot share a look */
};

struct stub {
	uint8_t kind, i;
	bool host_ok, env_ok, moved; /* of struct xlat, as they were there */
	int32_t off;
	uint8_t *place; /* the jump to it */
	uint8_t *place2; /* STUB_FAR, STUB_WAY: another one */
	uint32_t site; /* of the same: offset in the code memory */
	uint8_t *back;	/* of all that comes back: where it goes on */
	bool write; /* STUB_MISS, STUB_SPOT */
	bool call, known; /* STUB_LOOKUP: it comes back; the instruction faults if no code can be there */
	bool flat;  /* STUB_SPOT: it adds to an address, else to an offset in the page */
	/*
	 * Of a share. STUB_STORED: from off on behind the access's address; STUB_MISS: the first access is
	 * off behind the address.
	 */
	bool shared;
	uint8_t size;	  /* STUB_STORED: bytes that were stored */
	uint8_t base;	  /* as in its spot_info */
	int32_t spot, fold; /* its offset from ENV; what is not in the address looked at */
};

#define NO_BASE	 0xff
#define NO_GUEST 0xff

#define MAX_STUBS (LONG_MAX * 8 + 8)

/* Accesses that are looked up together (xshare.c). */
struct share {
	uint16_t base, index; /* the values that are in these registers */
	uint8_t scale, seg;
	bool write; /* what was looked up: memory to write to */
	bool open;  /* it was */
	uint8_t left; /* accesses that come yet */
	uint8_t first; /* instruction of the first, which looks */
	uint8_t last;
	uint8_t nr;   /* accesses */
	uint8_t slot; /* of soft_cpu.hc.shares, or NO_SLOT: they are looked up one by one */
	bool stack;    /* that is not its operand, but what it does with the stack */
	uint8_t early; /* the instruction in front of which it can be looked up as well, or NOT_EARLY */
	int32_t lo, hi; /* bytes that are accessed, from the base on */
};

#define NOT_EARLY  0xff
#define NO_SLOT	   0xff
#define CANDIDATES 32

/* One of them. */
struct member {
	struct share *share; /* NULL: of none */
	int32_t off;
};

/* A guest register in the home of another one, which is in memory (xhome.c). */
struct move {
	uint8_t in, out;
};
#define MAX_MOVES 5 /* so many have none */

/*
 * Status flags are in the host's EFLAGS (host_ok), in c->fl (env_ok), in both, or nowhere when nobody
 * reads them any more. live[i]: those that are read before they are written, from instruction i on.
 */
enum { VEC_NONE, VEC_SOME, VEC_ALL };

struct xlat {
	struct as a;
	struct soft_cpu *c;
	struct jit *j;
	struct block *b;
	const uint8_t *bytes; /* the block's code */
	unsigned i;	      /* the instruction in hand */
	unsigned due;	      /* the same; while that is looked up early, the one in front of which it is */
	uint8_t *start;
	bool host_ok, env_ok;
	uint8_t vec_ok; /* vector registers are loaded from here on; VEC_ALL: all of AVX-512 too */
	bool x87_ok; /* the x87 state is the guest's */
	unsigned nr_stubs;
	struct as_addr at; /* the host's address of the operand, as x_check() and x_reach() found it */
	int32_t spot, fold; /* as in its stub; 0: without a spot, ENT is the TLB entry and EA the address */
	int home[R_NR]; /* of each guest register: the host's, or -1: in soft_cpu.r[] */
	struct move moves[MAX_MOVES];
	uint8_t nr_moves;
	bool moved;    /* they are, here */
	uint8_t *body; /* behind the block's head, where they are */
	bool op_flags; /* what host_ok was when the instruction's operation was put */
	struct share *ent; /* what this one adds is in ENT */
	/* Guest registers that T and EA are copies of, or NO_GUEST; while nothing was put behind held_at. */
	uint8_t held[2];
	const uint8_t *held_at;
	struct share *now; /* the access in hand is this one's; else NULL */
	int32_t off;	   /* where in it, and how many bytes */
	uint8_t size;
	/* Stores in a row of which the watch is not looked at yet: the next one, or 0; these bytes. */
	uint8_t run_next;
	int32_t run_lo, run_hi;
	unsigned nr_shares; /* in l->shares */
	uint64_t early[2];  /* a bit for each instruction in front of which some are looked up */
	bool careful; /* what is accessed leaves its page, or there is code in it */
	bool knows_behind; /* l->behind is filled in */
	struct xlat_lists *l;
};

/* Where an instruction's code ends, and what is known there. */
struct behind {
	uint8_t *at;
	uint8_t held[2];
	bool x87_ok;
};

/* What is too much to be zeroed for each block. */
struct xlat_lists {
	struct behind behind[LONG_MAX];
	struct share shares[CANDIDATES];
	struct member operand[LONG_MAX], stacked[LONG_MAX]; /* accesses of each instruction */
	uint16_t pcs[LONG_MAX];
	uint16_t from[LONG_MAX]; /* where in the block's bytes each instruction's are */
	uint16_t live[LONG_MAX + 1];
	struct stub stubs[MAX_STUBS];
};

#define FLAGS_ALL ((uint16_t)FLAGS_STATUS)

static inline const struct insn *x_insn(const struct xlat *x)
{
	return &x->b->in[x->i];
}

/* The encoding of an instruction of the block. */
static inline const uint8_t *x_bytes(const struct xlat *x, const struct insn *in)
{
	return x->bytes + x->l->from[in - x->b->in];
}

/*
 * Whether the code is of 64 bits, and what is pushed, in bytes. Else it is 32-bit code with flat segments
 * (soft_cpu.flat): there each sum that is an address is cut to 32 bits, so it is always put together in a
 * register of its own.
 */
static inline bool x_wide(const struct xlat *x)
{
	return x->c->code_bits == 64;
}
static inline int32_t x_word(const struct xlat *x)
{
	return x_wide(x) ? 8 : 4;
}

/*
 * Whether its memory operand, if any, is addressed with all bits of addresses and without segment checks. By
 * CS no 32-bit code can store.
 */
static inline bool x_plain_address(const struct xlat *x, const struct insn *in)
{
	if (!(in->flags & INSN_MEM))
		return true;
	if (x_wide(x))
		return !(in->flags & (INSN_A32 | INSN_A16 | INSN_SEGCK));
	return !(in->flags & INSN_A16) && (x->c->flat_segs >> in->seg & 1);
}

/* The segment whose base its address has, or SEG_NONE: that of the others is 0. */
static inline unsigned x_seg(const struct insn *in)
{
	return in->seg < SEG_FS ? SEG_NONE : in->seg;
}

/* As jit_id(): the instruction in hand. */
static inline uint32_t x_id(const struct xlat *x)
{
	return jit_id(x->c->blocks, x->b, x->i);
}

/* The registers of x->held. */
static inline unsigned x_holder(unsigned i)
{
	return i ? EA : T;
}

/* Whether it branches to a place that is known, and which page offset that is (of any page). */
static inline bool x_is_direct(const struct insn *in)
{
	return op_descs[in->op].operand[0].kind == OPK_REL && in->opsize >= 4;
}
static inline int32_t x_direct_target(const struct insn *in)
{
	return (int32_t)((int64_t)in->imm + in->next);
}

/* Whether it is not the block's last instruction. */
static inline bool x_is_inside(const struct xlat *x, unsigned i)
{
	return i + 1u < x->b->nr;
}

struct stub *x_stub(struct xlat *, enum stub_kind, uint8_t *place);

/* xmem.c */
/* Before flags are clobbered that are read later: puts them in c->fl. */
void x_keep_flags(struct xlat *, unsigned live);
/* Gets them back. */
void x_need_flags(struct xlat *);
/* The host register of a guest's, loaded into scratch when it has none. */
unsigned x_reg(struct xlat *, unsigned guest, unsigned scratch);
/* EA = linear address of the instruction's memory operand. Flags may be clobbered: keep them before. */
void x_ea(struct xlat *);
/* The same for another instruction and register; w: 64 bits of it. T may be clobbered. */
void x_ea_to(struct xlat *, const struct insn *, unsigned to, bool w);
/*
 * Makes EA from a linear address the host's, for an access of size bytes, with ENT the TLB entry; or
 * leaves to the interpreter. align: mask of address bits that must be clear. Clobbers T and flags, which
 * have been kept. x->at is [EA].
 */
void x_check(struct xlat *, unsigned size, bool write, unsigned align);
/* Leaves to the interpreter when one of the bits is set in EA. */
void x_check_align(struct xlat *, unsigned align);
/*
 * Its first part: ENT as for x_check(), EA stays. When x->now is to be opened, EA and size are those of its
 * whole range.
 */
void x_find_entry(struct xlat *, unsigned size, bool write);
/* Its second. */
void x_add_entry(struct xlat *, bool write);
void x_stub_miss(struct xlat *, const struct stub *);
/* Out of the way: the interpreter does the instruction, and the block goes on behind it, if it can. */
void x_step_over(struct xlat *);
/* Behind a store: leaves when code is there. EA and ENT as they were left, or T and ENT are clobbered. */
void x_stored(struct xlat *);

/* xhome.c */
/* Whether the block's last instruction goes back to its first. */
bool x_is_loop(const struct xlat *x);
/* Who changes places in this block. hot: it is for a loop. */
void x_find_homes(struct xlat *, bool hot);
/* Whether they have, at this place in the code: x->home says where registers are. */
void x_set_moved(struct xlat *, bool moved);
/* To where the block has them; and back, if they are there, which is returned. Flags stay. */
void x_move_in(struct xlat *);
bool x_move_out(struct xlat *);
/* Calls a routine that comes back, with registers where they always are. */
void x_call(struct xlat *, const uint8_t *routine);

/* xspot.c */
/*
 * x->at = the instruction's memory operand, for an access of size bytes; or leaves to the interpreter.
 * Keeps flags that are live. Clobbers EA, ENT and T, of which x->at may need the first two.
 */
void x_reach(struct xlat *, unsigned size, bool write, unsigned align);
/* The same for a word at [host register + disp], of an instruction that uses the stack. */
void x_reach_stack(struct xlat *, unsigned base, int32_t disp, bool write);
/* x->now, which is s, is looked up by the instruction in hand, and opened. */
void x_look(struct xlat *, struct share *s);
void x_stub_spot(struct xlat *, const struct stub *);

/* xshare.c */
/* Finds accesses that can share a look; in front of all code. */
void x_find_shares(struct xlat *);
/*
 * The share of an access that now comes, if it has a use for it, which is x->now then: either open, or to be
 * opened by a look for this access with flags kept. NULL: it is alone.
 */
struct share *x_share(struct xlat *, const struct member *, unsigned size, bool write);
/* Looks that are better done in front of the instruction in hand than where they are needed. */
void x_look_early(struct xlat *x);
/* Whether there are any at the block's beginning. */
bool x_looks_first(const struct xlat *x);
/* How far the first byte of its range is from the access in hand; and all of it. */
static inline int32_t x_range_from(const struct xlat *x)
{
	return x->now->lo - x->off;
}
static inline unsigned x_range_size(const struct xlat *x)
{
	return (unsigned)(x->now->hi - x->now->lo);
}
/*
 * Behind that look, which was for the whole range. ENT is the TLB entry, or with x->spot what it adds.
 * seg: segment of the address, or SEG_NONE.
 */
void x_open_share(struct xlat *, struct share *, unsigned seg);
/* x->at = the access in hand, of an open share: at [host register + disp]; the instruction's operand. */
void x_shared_stack(struct xlat *, struct share *, unsigned base, int32_t disp);
void x_shared_operand(struct xlat *, struct share *, unsigned align);
/* Behind a store of x->now. True: the next store's look will do; else T is the watch. */
bool x_stored_share(struct xlat *);
/* EA = linear address of the access that was made, and s->off. */
void x_stored_linear(struct xlat *, const struct stub *);
/* What was looked up may be wrong from here on. */
void x_close_shares(struct xlat *);
void x_stub_careful(struct xlat *);

/* xmem.c */
/* Vector registers are the guest's from here on; all: also those of AVX-512, and masks. */
void x_need_vec(struct xlat *, bool all);

/* xinsn.c */
/* Whether it is an integer instruction that stays what it is. */
bool x_is_int(unsigned mn);
/* Whether instruction i is one that x_general() copies, and that neither looks at anything else nor traps. */
bool x_is_native(const struct xlat *, unsigned i);
/* false: it is the interpreter's, and nothing was put that matters. */
bool x_general(struct xlat *);
/* Status flags are where the instruction left them. */
void x_flags_done(struct xlat *);

/* xfpu.c; the same */
bool x_is_mxcsr(const struct insn *);
bool x_mxcsr(struct xlat *);
bool x_is_x87(const struct insn *);
bool x_x87(struct xlat *);
bool x_emms(struct xlat *);
/* The x87 state, or MMX's, is the host's from here on. */
void x_need_x87(struct xlat *);

/* xlink.c: to other pages, with flags kept */
/* To page offset off, which is in another page; call: what is called comes back behind it. */
void x_go_far(struct xlat *, int32_t off, bool call);
/* To the address in EA, which the instruction has from its operand: it faults if no code can be there. */
void x_go_to(struct xlat *, bool call);
/* The same by the jump cache in any case; known: from its operand. */
void x_lookup(struct xlat *, bool call, bool known);
void x_stub_far(struct xlat *, const struct stub *);
void x_stub_far_poll(struct xlat *, const struct stub *);
void x_stub_way(struct xlat *, const struct stub *);
void x_stub_lookup(struct xlat *, const struct stub *);

/* xstring.c; the same */
bool x_string(struct xlat *);
void x_stub_stored_string(struct xlat *);

/* xsys.c; the same. x_sys_inline(): neither flags nor anything else is looked at. */
bool x_sys(struct xlat *);
bool x_sys_inline(const struct xlat *, const struct insn *);
/* By the interpreter's handler. False: the block ends here. */
bool x_step(struct xlat *);
/* Whether an interrupt may have been let in by the last instruction but one. */
bool x_behind_sti(const struct xlat *);

/* xflow.c */
/* Pushes what is in hc.tmp. */
void x_push_tmp(struct xlat *);
/* What ends a block, or part of one. False: it is the interpreter's. */
bool x_branch(struct xlat *);
bool x_is_branch(const struct insn *);
/* push, pop, leave */
bool x_stack(struct xlat *);
/* To page offset off, wherever that is. */
void x_exit(struct xlat *, int32_t off);
/* To the instruction itself by the jump cache, with flags in the host's. */
void x_go_to_itself(struct xlat *);
/* EA = the page's address + off. */
void x_page_address(struct xlat *, int32_t off);
/* Looks whether a page's generation is what it was. */
void x_put_gen_check(struct xlat *, const _Atomic uint32_t *gen_at, uint32_t gen, enum stub_kind changed);
/* Flags that are read behind the block, by where it goes. */
uint16_t x_live_out(struct xlat *);
/* The same where instruction i branches. */
uint16_t x_live_aside(struct xlat *, unsigned i);
/* Ways back of loops, which add stubs; then all other stubs, which do not. */
void x_put_exits(struct xlat *);
/* Where poll has come to 0: goes back when nothing is due. */
void x_stub_lull(struct xlat *, const struct stub *);
void x_put_stubs(struct xlat *);
/* The interpreter's from here on. The second: flags have been kept. */
void x_bail(struct xlat *);
void x_put_bail(struct xlat *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vCPU of the soft engine counts for "info jit" (show.c). Only where something slow happens
 * anyhow: decoding, translating, patching, leaving host code, filling and flushing. vCPU thread;
 * others ask it with vm_run_on().
 */
#ifndef SOFT_COUNTS_H
#define SOFT_COUNTS_H

#include "accel/soft/decode/insn.h"
#include <stdint.h>

/* Why host code came back. */
enum jit_exit {
	JIT_RIP,    /* c->rip is right; nothing known about what is there */
	JIT_LINK,   /* as JIT_RIP, and the jump at jr.site can be patched if code is there */
	JIT_POLL,   /* c->rip is right; events or the clock have to be looked at */
	JIT_BAIL,   /* instruction hc.id is the interpreter's */
	JIT_STORED, /* instruction hc.id stored at jr.lin, where code is, and is done */
	JIT_VEC,    /* goes on at jr.resume with vector registers loaded, or else as JIT_BAIL */
};
#define JIT_EXITS (JIT_VEC + 1)

/* Why translations of addresses were dropped. */
enum tlb_why {
	TLB_WHY_CR3,
	TLB_WHY_INVPCID,
	TLB_WHY_MODE,  /* CR0, CR4, EFER, segments' limits, breakpoints */
	TLB_WHY_LARGE, /* INVLPG of a large page: everything goes */
	TLB_WHY_MAP,   /* what is where in the machine, or a paravirtual request */
	TLB_WHY_STATE, /* reset, SMM, registers set from outside */
	TLB_WHY_IDLE,
	TLB_WHYS
};

/* Why all decoded and translated code was dropped. */
enum code_why {
	CODE_WHY_DECODED, /* no room for decoded code; */
	CODE_WHY_HOST,	  /* for translated code; */
	CODE_WHY_THUNKS,  /* for single instructions in host code */
	CODE_WHY_IDLE,
	CODE_WHY_LOG, /* blocks are told one by one from here on, or no more */
	CODE_WHYS
};

/* Of one vCPU since its birth. Nothing but uint64_t, so that they can be added up. */
struct soft_counts {
	uint64_t decoded, decoded_insns;
	uint64_t voided; /* blocks found to be of code that was written since */
	/* blocks; instructions; bytes of guest code; bytes of host code with what is beside it */
	uint64_t made, made_insns, made_guest, made_host;
	uint64_t refused; /* blocks that T1 can do nothing with */
	uint64_t looped;  /* made a second time, as loops */
	uint64_t make_cycles;
	uint64_t linked; /* jumps to other pages that were told where they went */
	uint64_t jumps, patched; /* direct ones within pages: made; now going there without us */
	uint64_t leaves[JIT_EXITS];
	/* Cycles in host code, of one in JIT_SAMPLE ways in. */
	uint64_t sampled;
	/* Instructions that T1 does not know: of leaves[JIT_BAIL]; and all, called ones too, by mnemonic. */
	uint64_t unknown, left[MN_NR];
	uint64_t fills[3]; /* of the TLB, by enum tlb_kind */
	uint64_t spot_fills; /* of places in host code that keep a page (xspot.c), from the TLB */
	uint64_t stepped_over; /* instructions whose access was not in one page, or of none */
	uint64_t invlpg;
	uint64_t events; /* that -d int told */
	uint64_t tlb_flushes[TLB_WHYS], code_flushes[CODE_WHYS];
};

#define JIT_SAMPLE 61 /* a prime: what guests do again and again has other periods */

#endif

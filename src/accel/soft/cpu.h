/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The soft engine's vCPU, as seen by every file of the engine.
 *
 * Inside a block of decoded instructions the hot state is in r[], fl and the block; rip is brought
 * up to date at block ends and, for a fault, from cur. An instruction that can fault commits
 * nothing before its last faultable access: then cpu_raise() leaves by longjmp and the instruction
 * has not happened.
 */
#ifndef SOFT_CPU_H
#define SOFT_CPU_H

#include "accel/soft/counts.h"
#include "accel/soft/decode/insn.h"
#include "base/base.h"
#include "base/log.h"
#include "core/vcpu.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/x86.h"
#include "mem/map.h"
#include <setjmp.h>

struct ram_block;
struct soft_vm;

/*
 * Status flags as the host's LAHF and SETO give them: AH in bits 15:8 (SF ZF 0 AF 0 PF 1 CF),
 * OF in bit 0. Results of host instructions are kept as they come, so they are exact.
 */
#define FL_OF 0x0001u
#define FL_CF 0x0100u
#define FL_PF 0x0400u
#define FL_AF 0x1000u
#define FL_ZF 0x4000u
#define FL_SF 0x8000u

/*
 * Software TLB: direct mapped, one set per access kind, for the current privilege (user or
 * supervisor; a change of CPL or of EFLAGS.AC under SMAP selects another array).
 * Hit: tag == (lin & page mask), host = lin + addend. watch points to the page's word of
 * ram_block.watch, gen_at to its word of ram_block.gen. Pages that need a slow path on each access
 * (MMIO, ROM writes, debug watchpoints) are never entered.
 */
struct tlb_entry {
	uint64_t tag; /* page address, or tlb_no_tag() */
	uint64_t addend;
};
/* The rest of an entry, which a hit has no use for: four of the above are in a cache line. */
struct tlb_more {
	union {
		_Atomic uint64_t *watch;
		_Atomic uint32_t *gen_at; /* TLB_EXEC */
	};
	uint64_t gpa; /* physical page address; bit 0: global, bit 1: part of a large page */
};
#define TLB_BITS 12
#define TLB_SIZE (1u << TLB_BITS)
/*
 * The tag of an empty slot (by its index). It must match nothing in two ways. The interpreter compares it
 * with a page's address: so it is none. The translator takes the address as in this page when the two
 * differ in the low 12 bits only: so it has another index than its slot.
 */
#define TLB_NO_TAG	UINT64_MAX
#define TLB_NO_TAG_LAST (UINT64_MAX ^ BIT64(12))
static inline uint64_t tlb_no_tag(unsigned index)
{
	return index == TLB_SIZE - 1 ? TLB_NO_TAG_LAST : TLB_NO_TAG;
}
enum tlb_kind { TLB_READ, TLB_WRITE, TLB_EXEC, TLB_KINDS };
enum tlb_priv { TLB_SUPER, TLB_SUPER_AC /* SMAP lifted */, TLB_USER, TLB_PRIVS };
/* User code has an array for each of some address spaces (PCIDs), from TLB_USER on. */
#define TLB_CONTEXTS 4
#define TLB_ARRAYS   (TLB_USER + TLB_CONTEXTS)
#define TLB_NONE     TLB_ARRAYS /* the index of one that stays empty */

struct soft_tlb {
	struct tlb_entry e[TLB_KINDS][TLB_SIZE];
	struct tlb_more more[TLB_KINDS][TLB_SIZE];
};
static inline struct tlb_more *tlb_more(const struct tlb_entry *e)
{
	_Static_assert(sizeof(struct tlb_more) == sizeof(struct tlb_entry), "one index for both");
	return (struct tlb_more *)((uintptr_t)e + offsetof(struct soft_tlb, more));
}

/*
 * What one place in host code (jit/xspot.c) keeps of the TLB entry it used last. It is a hit when the
 * address less base is below limit; the host's address is then add more than the address, or than that
 * difference, as the place wants it.
 */
struct spot {
	uint64_t base, add;
	uint64_t limit; /* 0: empty */
	_Atomic uint64_t *watch;
};
/* What is not looked at when it is a hit. */
struct spot_info {
	uint32_t full; /* what limit is when it is not empty */
	uint32_t next; /* in use: offset from ENV (jit/code.h) of the next spot that is; 0: the last */
	/* Offsets in the code memory: the place (0: it stays as it is), and where the access is due. */
	uint32_t place, back;
	uint32_t missed, score; /* soft_cpu.poll at the last miss; how often they came soon */
	int32_t disp;		/* the access: [base + disp], or the instruction's operand */
	uint8_t base, insn; /* insn: of the block */
	bool write : 1, moved : 1, hot : 1, shared : 1; /* moved: struct xlat's; hot: struct block's looped */
	uint8_t off; /* shared: where the access is from there on; full is for all of them */
};
#define NEAR 3 /* places in its own page that a jump may be known to go to */
/*
 * Where a jump of host code to another page went last (jit/xlink.c): it is valid while the word at gen_at is
 * what the jump has in its code. from: the page that it is from, or its target's address.
 */
struct link {
	uint64_t from;
	const _Atomic uint32_t *gen_at; /* of the target's page, or soft_cpu.no_gen */
};
/* What is not looked at when it is a hit. */
struct link_info {
	const _Atomic uint32_t *to; /* to, distance, key: what jumps have it, if more than one may */
	int32_t distance;
	uint32_t key;	    /* mode_key */
	uint16_t hash_next; /* with the same hash; 0: the last */
	uint16_t next;	    /* in use; 0: the last */
	bool global;	    /* in use: which list it is in */
	/* Of a link that only one jump has: */
	uint32_t lookup;     /* offset in the code memory: the same by the jump cache */
	uint32_t misses;     /* so many more until C hears of one */
	uint32_t missed;     /* soft_cpu.poll at the last one that it heard of */
	uint8_t wait;	     /* what misses was then */
	uint8_t score, far;  /* how many came soon; that were to another page */
	uint16_t near[NEAR]; /* other places in the page, as in struct block */
};
#define NO_LINK	       0u /* the first one: it is never in use */
#define LINKS	       0x10000u
#define LINK_HASH_BITS 15
/* Accesses of a block that are looked up together: so many sorts of them at a time; in code that is hot. */
#define FEW_SHARES  4
#define MAX_SHARES  8
#define SPOTS	    0x40000u
/* What poll begins at: blocks between two looks at events; a few times that at the clock (jit/jit.h). */
#define POLL_BLOCKS 2048u
#define JIT_SAMPLES 128u /* looks at the clock that are remembered, to find loops */
#define JUMP_PAGES  BIT32(15)
#define STACK_SPOTS 8u /* the first: of accesses by way of RSP, 4 * 32 bits + 2 * supervisor + write */
/* What was found for accesses that are looked up together (jit/xshare.c). */
struct share_look {
	uint64_t add;
	_Atomic uint64_t *watch;
};

struct soft_cpu {
	/* hot, up to spots: written all the time. See cpu_is_alias(). */
	struct share_look more_shares[MAX_SHARES - FEW_SHARES];
	uint64_t call_target; /* of host code's call, while the return address is pushed */
	_Alignas(64) uint64_t r[R_NR];
	uint32_t fl; /* FL_*; the upper half is anything */
	uint32_t poll; /* countdown to vcpu_poll() */
	struct soft_tlb *tlb; /* of the current privilege: &tlbs[tlb_array()] */
	/*
	 * From r[8] to here, and the first two of spots, host code of the translator reaches with a byte of
	 * displacement (jit/code.h). What it keeps for itself:
	 */
	struct {
		uint64_t tmp;
		uint32_t id;	  /* of an instruction, for C */
		uint8_t vec_live; /* JIT_VEC_*: vector registers are in the host's, s.vec is stale */
		struct share_look shares[FEW_SHARES]; /* of the block that runs; the rest is in more_shares */
	} hc;
	_Alignas(64) struct spot spots[SPOTS]; /* of places in host code */
	struct link links[LINKS]; /* of jumps in host code */
	struct link_info link_infos[LINKS];
	_Atomic uint32_t no_gen; /* no page's generation */

	const struct insn *cur; /* executing now; for faults and traps */
	uint64_t segbase[SEG_NR + 1]; /* [SEG_NONE] = 0; in 64-bit mode only FS and GS are used */
	struct vcpu *vcpu;
	struct map *map;

	/* current mode, derived from s by cpu_mode_changed() */
	uint8_t code_bits; /* 16, 32, 64: CS.L / CS.D */
	uint8_t cpl;
	uint8_t stack_bits; /* 16, 32, 64 */
	bool long_mode;	   /* EFER.LMA */
	bool slow;	   /* single-step, breakpoints: one instruction a block, all checks */
	bool flat;	   /* 64-bit code, or 32-bit code whose CS, SS, DS and ES are all of memory */
	uint8_t flat_segs; /* bit SEG_*: accesses of 32-bit code by it need no look at the segment */
	uint32_t mode_key; /* what decoding depends on; part of a block's identity */

	uint64_t rip; /* valid between blocks; in a block: R_PC + cur->next - cur->len */
	uint64_t rflags; /* all but the status bits, which are in fl; bit 1 set */

	/*
	 * Everything else architectural. gpr, rip, rflags, cr8 and (see fpu.h) x87 in s are stale
	 * while running; cpu_sync_out() / cpu_sync_in() copy.
	 */
	struct cpu_state s;

	/* pending fault for the longjmp */
	jmp_buf on_fault;
	struct {
		uint8_t vector;
		bool has_error, is_soft_int;
		uint32_t error;
	} fault;

	struct soft_vm *vm; /* shared between the VM's vCPUs: CPU model, stop-the-world lock */
	struct soft_tlb tlbs[TLB_ARRAYS + 1];
	struct block_cache *blocks;
	struct fpu *fpu; /* native x87 and thunks: fpu.h */
	struct jit *jit;
	struct lockstep *lockstep; /* compares host code with the interpreter; or NULL */
	/* What host code of the translator leaves for C, and the other way round (jit/). */
	struct {
		bool alone; /* one block runs, and who asked for it looks for the next one */
		uint32_t site, stored; /* stored: bytes, from lin on */
		uint32_t restless; /* offset of a spot that is no use; 0: none */
		uint64_t lin;
		const void *resume;
		struct insn *stopped; /* step.c: has another handler just now */
		insn_fn stopped_fn;
		uint64_t stack; /* the host's: where returns without a call are found */
		uint64_t polled; /* c->rip at the last JIT_POLL */
		const struct block *sampled[JIT_SAMPLES]; /* which blocks those were in */
		unsigned nr_sampled;
		uint32_t lulls; /* so many times poll may begin again */
		uint64_t lull_until; /* before this TSC, with no event to be taken */
	} jr;
	uint32_t spots_used;	       /* the first; a list */
	uint16_t links_local, links_global; /* of links, as link_info.next; of targets in global pages */
	unsigned nr_links;
	uint16_t link_hash[1u << LINK_HASH_BITS];
	uint64_t insns;	 /* executed by the interpreter */

	/* run.c, block.c: the block that executes; what a jump cache entry must match */
	struct block *blk;
	uint64_t stamp;	  /* TLB generation << 32 | mode_key */
	uint64_t stamp_global; /* the same for global pages, which survive local flushes */
	uint64_t stamps; /* the last local generation that there was */
	struct tlb_context {
		uint64_t used;	/* when it was switched to last; 0: of no address space */
		uint64_t stamp; /* its generation, when not current; 0: none is left */
		uint16_t pcid;
	} contexts[TLB_CONTEXTS];
	unsigned context; /* the current one */
	uint64_t context_uses;
	uint64_t jump_pages[JUMP_PAGES / 64]; /* those that the jump cache may know, by jump_page_bit() */
	uint64_t unmapped; /* so many times one of them was */
	uint64_t large_seen; /* tlb.c: where there were large pages since a full flush */
	uint32_t telling; /* LOG_BLOCKS: run.c comes by between all blocks, and host code knows no next one */
	uint32_t ev_mask; /* events that matter now (no VCPU_EV_INTR while IF is clear) */
	/* mmu.c */
	uint64_t pdpte[4]; /* of PAE paging: mmu_load_pdptes() */
	uint64_t paging_key; /* what CR0, CR4, EFER said when the TLBs were filled */
	uint64_t cs_base_seen;
	uint32_t cs_limit_seen;
	bool align_check; /* CR0.AM, EFLAGS.AC, CPL 3 */
	bool smap_lifted; /* EFLAGS.AC at CPL < 3 */
	bool has_watch;	  /* DR7 has data breakpoints on: set by cpu_mode_changed() */
	struct soft_tlb_log *tlb_log;
	struct {
		uint64_t first, last; /* physical range that host_delta is for; first > last: none */
		uint8_t *host;
		struct ram_block *rb;
		uint64_t rb_off;
	} walk_ram; /* where page tables were found last */
	/* run.c: stop-the-world */
	bool in_guest, exclusive;
	/* debug.c */
	uint64_t dr6_pending; /* hits of data breakpoints by the current instruction */
	struct log_limit msr_log; /* msr.c: unknown registers */
	bool no_step;	      /* the instruction took its single-step trap along (INT n) */
	struct soft_counts n;
	struct {
		uint64_t since, asleep; /* run.c: asleep so long since then; nanoseconds */
		unsigned times;		/* so often in a row it and its machine were idle */
		uint64_t looks;		/* of all vCPUs, then */
	} idle;

	struct spot_info spot_infos[SPOTS];
	_Atomic uint64_t looks; /* at the clock, one in some tens of microseconds of work; for all threads */
};

/*
 * Whether the field at this offset has the low 12 bits of its address in common with what host code
 * writes all the time. Processors first go by these alone when they look for the store that a load
 * depends on: such a load waits for stores that it has nothing to do with.
 */
static inline bool cpu_is_alias(size_t offset)
{
	return offset % 4096 < offsetof(struct soft_cpu, spots);
}

/* The first element from n on, of an array at this offset, that is none. */
static inline unsigned cpu_apart(size_t array, size_t size, unsigned n)
{
	while (cpu_is_alias(array + n * size))
		n++;
	return n;
}

static inline struct soft_cpu *soft_cpu(struct vcpu *v)
{
	return v->engine;
}

/* GPR accessors by byte offset (insn.reg, insn.rm). A 32-bit write clears the upper half. */
#define R8(c, off)  (*(uint8_t *)((char *)(c)->r + (off)))
#define R16(c, off) (*(uint16_t *)((char *)(c)->r + (off)))
#define R32(c, off) (*(uint32_t *)((char *)(c)->r + (off)))
#define R64(c, off) (*(uint64_t *)((char *)(c)->r + (off)))

/* flags.c-free conversions */
static inline uint32_t fl_to_flags(uint32_t fl)
{
	return ((fl >> 8) & (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF)) | ((fl & FL_OF) << 11);
}
static inline uint32_t flags_to_fl(uint64_t flags)
{
	return (uint32_t)((flags & (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF)) << 8) |
	       (uint32_t)((flags >> 11) & 1);
}
static inline uint64_t cpu_rflags(const struct soft_cpu *c)
{
	return c->rflags | fl_to_flags(c->fl);
}

/* RIP of the instruction that executes now, and of the one behind it. */
static inline uint64_t cpu_cur_rip(const struct soft_cpu *c)
{
	return c->r[R_PC] + c->cur->next - c->cur->len;
}
static inline uint64_t cpu_next_rip(const struct soft_cpu *c)
{
	return c->r[R_PC] + c->cur->next;
}

/*
 * What would be an exit on an engine that leaves the guest for it: counted (core/exits.h). start:
 * __rdtsc() before what it took. The instruction may not have faulted meanwhile.
 */
void cpu_note_exit(struct soft_cpu *, enum exit_reason, uint64_t where, uint64_t start);
/* An access to registers of a device: map_access(), counted. */
void cpu_access(struct soft_cpu *, enum map_space, uint64_t addr, void *data, unsigned size,
		bool write);

/* run.c: leave the instruction with an exception. rip of the fault is the current instruction. */
_Noreturn void cpu_raise(struct soft_cpu *, unsigned vector);
_Noreturn void cpu_raise_err(struct soft_cpu *, unsigned vector, uint32_t error);
/* #PF: sets CR2. */
_Noreturn void cpu_raise_pf(struct soft_cpu *, uint64_t lin, uint32_t error);

/*
 * mmu.c: linear memory. All fault by longjmp. Accesses of any alignment, also across pages; a
 * fault on the second page leaves the first unwritten. ld/st use the current privilege;
 * the _sys forms are implicit supervisor accesses (descriptor tables, TSS, delivery stack).
 * size 1, 2, 4, 8.
 */
uint64_t mmu_ld_slow(struct soft_cpu *, uint64_t lin, unsigned size);
void mmu_st_slow(struct soft_cpu *, uint64_t lin, uint64_t val, unsigned size);
uint64_t mmu_ld_sys(struct soft_cpu *, uint64_t lin, unsigned size);
void mmu_st_sys(struct soft_cpu *, uint64_t lin, uint64_t val, unsigned size);
/* Raises what a store (or read-modify-write) to [lin, lin+size) would; else returns. */
void mmu_probe_write(struct soft_cpu *, uint64_t lin, unsigned size);
/* Bulk copies for vectors and save areas; all-or-nothing as to faults. */
void mmu_read(struct soft_cpu *, uint64_t lin, void *to, unsigned len);
void mmu_write(struct soft_cpu *, uint64_t lin, const void *from, unsigned len);
/*
 * Host address of [lin, lin+size) when it is plain RAM in one page and may be accessed so;
 * NULL when it is not (MMIO, crossing). Faults are raised. After storing through it call
 * mmu_wrote().
 */
void *mmu_ptr(struct soft_cpu *, uint64_t lin, unsigned size, bool write);
void mmu_wrote(struct soft_cpu *, uint64_t lin, unsigned size);
/*
 * Reads the four PDPTEs of PAE paging from cr3: false (nothing changed) when one has a reserved
 * bit, which is #GP(0) for MOV CR3 and friends. To be called by those when CR0.PG and CR4.PAE are
 * set and EFER.LMA is not.
 */
bool mmu_load_pdptes(struct soft_cpu *, uint64_t cr3);
/* INVLPG, CR3 and CR4 writes, PV flush. (CR0, CR4.P*, EFER.NXE: cpu_mode_changed() flushes.) */
void mmu_flush_page(struct soft_cpu *, uint64_t lin);
void mmu_flush(struct soft_cpu *, bool global_too, enum tlb_why);
/*
 * To the address space of a PCID: what is known of it, if anything, is valid. The others: what is known of
 * an address space (also the current one), or of all but the current one, is not, unless it is global.
 */
void mmu_switch(struct soft_cpu *, unsigned pcid);
void mmu_forget(struct soft_cpu *, unsigned pcid);
void mmu_forget_others(struct soft_cpu *);
/* Translates without a fault and without A/D updates, for debuggers: false when unmapped. */
bool mmu_translate_debug(struct soft_cpu *, uint64_t lin, uint64_t *gpa);

/* cpu.c: recomputes code_bits, cpl, tlb, segbase, mode_key, slow after any change of segments,
 * CR0/CR4/EFER, EFLAGS.VM/TF/AC, DR7. */
void cpu_mode_changed(struct soft_cpu *);
/* The same when nothing but CS, SS, bases and RFLAGS changed. */
void cpu_ring_changed(struct soft_cpu *);
void cpu_sync_out(struct soft_cpu *); /* hot fields and x87 -> s */
void cpu_sync_in(struct soft_cpu *);  /* s -> hot fields */
/* Sets all of RFLAGS (checks are the caller's). */
void cpu_set_rflags(struct soft_cpu *, uint64_t rflags);

/* Effective address -> linear address with all segment checks of an access of size bytes. */
uint64_t seg_linear(struct soft_cpu *, unsigned seg, uint64_t ea, unsigned size, bool write);

/*
 * Stack accesses relative to SS:rSP by size; size 2, 4, 8. stk_push() and stk_pop() move rSP by
 * size after the access succeeded (stack_bits wide). exec_stack.c
 */
void stk_push(struct soft_cpu *, uint64_t val, unsigned size);
uint64_t stk_pop(struct soft_cpu *, unsigned size);

/*
 * run.c: behind an instruction that may have changed what the run loop looks at: whether the guest may go
 * on without that, but for pending events. Brings ev_mask up to date.
 */
bool cpu_settle(struct soft_cpu *);

/*
 * run.c: all other vCPUs of the VM stand between instructions from begin to end. For atomic
 * operations that no host instruction can do (page-crossing, MMIO). Nothing in between may fault.
 */
void cpu_exclusive_begin(struct soft_cpu *);
void cpu_exclusive_end(struct soft_cpu *);

/*
 * debug.c. In c->slow mode run.c calls debug_fetch() before each instruction (instruction
 * breakpoints: raises #DB as a fault unless RF is set or MOV SS was in front) and debug_trap()
 * behind it: tf says whether EFLAGS.TF was set before the instruction. It raises #DB as a trap (rip
 * is already the next) when tf or dr6_pending say so. With has_watch every data access of a page
 * that debug_page_watched() goes through the slow path, which reports it to debug_access() (that
 * sets dr6_pending).
 */
void debug_fetch(struct soft_cpu *, uint64_t lin);
void debug_trap(struct soft_cpu *, bool tf);
bool debug_page_watched(const struct soft_cpu *, uint64_t lin);
void debug_access(struct soft_cpu *, uint64_t lin, unsigned size, bool write);

/* smm.c: takes an SMI: saves state to SMRAM and enters SMM. */
void smm_enter(struct soft_cpu *);

/* fpstate.c: x87 and vectors between s and what runs natively (for get_state/set_state). */
void fpu_sync_out(struct soft_cpu *);
void fpu_sync_in(struct soft_cpu *);
struct fpu *fpu_new(struct soft_cpu *, struct err *e);
struct fpu *fpu_free(struct fpu *); /* returns NULL */

/* CPUID as the guest sees it: the model and what the board puts in. */
void cpu_cpuid(struct soft_cpu *, uint32_t leaf, uint32_t subleaf, uint32_t r[4]);
/* Whether the CPU model shows a feature (enum x86_feature). */
bool cpu_has(const struct soft_cpu *, unsigned feature);
/* Physical and linear address width of the model. */
unsigned cpu_phys_bits(const struct soft_cpu *);

/*
 * Binding: which handler executes a decoded instruction. Each file of handlers has one function
 * that knows its mnemonics and returns NULL for the rest; raw bytes are for native thunks.
 */
insn_fn bind_int(struct soft_cpu *, struct insn *);    /* exec_*.c: OPC_INT */
insn_fn bind_sys(struct soft_cpu *, struct insn *);    /* sys_*.c: OPC_SYS */
insn_fn bind_native(struct soft_cpu *, struct insn *, const uint8_t *bytes); /* native.c */
insn_fn bind_fpstate(struct soft_cpu *, struct insn *); /* fpstate.c: OPC_FPSTATE */

/* excp.c: delivers cpu->fault (vector, error) as an exception; handles double and triple fault:
 * returns false for shutdown. rip is the value to push. */
bool excp_deliver(struct soft_cpu *);
/* Delivers an external interrupt or NMI. */
bool excp_interrupt(struct soft_cpu *, unsigned vector);
/* Ends the delivery that s.event_injected speaks of; false: shutdown. */
bool excp_reinject(struct soft_cpu *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the system architecture share: descriptors, stacks under construction, event
 * delivery, control registers, MSRs. All on the vCPU's thread; whatever can fault does so by
 * longjmp before it has changed anything.
 */
#ifndef SOFT_SYS_H
#define SOFT_SYS_H

#include "accel/soft/cpu.h"
#include "isa/x86/cpuid.h"

/* A descriptor of GDT or LDT as found in memory. */
struct desc {
	uint64_t lin; /* where it is */
	uint32_t lo, hi;
};
#define DESC_A	   BIT32(8)
#define DESC_RW	   BIT32(9)  /* readable code, writable data */
#define DESC_CE	   BIT32(10) /* conforming code, expand-down data */
#define DESC_CODE  BIT32(11)
#define DESC_S	   BIT32(12)
#define DESC_P	   BIT32(15)
#define DESC_L	   BIT32(21)
#define DESC_DB	   BIT32(22)
#define DESC_G	   BIT32(23)
#define DESC_BUSY  BIT32(9) /* of a TSS */

enum desc_sys_type {
	DT_TSS16 = 1, DT_LDT = 2, DT_TSS16_BUSY = 3, DT_CALL16 = 4, DT_TASK = 5, DT_INT16 = 6,
	DT_TRAP16 = 7, DT_TSS32 = 9, DT_TSS32_BUSY = 11, DT_CALL32 = 12, DT_INT32 = 14,
	DT_TRAP32 = 15,
};

static inline unsigned desc_type(const struct desc *d)
{
	return d->hi >> 8 & 15;
}
static inline unsigned desc_dpl(const struct desc *d)
{
	return d->hi >> 13 & 3;
}
static inline bool desc_is_code(const struct desc *d)
{
	return (d->hi & (DESC_S | DESC_CODE)) == (DESC_S | DESC_CODE);
}
static inline bool desc_is_writable_data(const struct desc *d)
{
	return (d->hi & (DESC_S | DESC_CODE | DESC_RW)) == (DESC_S | DESC_RW);
}
static inline bool sel_null(uint16_t sel)
{
	return !(sel & ~3);
}

static inline bool in_v86(const struct soft_cpu *c)
{
	return c->rflags & FLAG_VM;
}
static inline bool in_protected(const struct soft_cpu *c)
{
	return c->s.cr0 & CR0_PE;
}
/* Segments are real-mode segments: real or virtual-8086 mode. */
static inline bool real_segs(const struct soft_cpu *c)
{
	return !in_protected(c) || in_v86(c);
}
static inline unsigned cpu_iopl(const struct soft_cpu *c)
{
	return c->rflags >> 12 & 3;
}
static inline bool canonical(const struct soft_cpu *c, uint64_t lin)
{
	unsigned bits = c->s.cr4 & CR4_LA57 ? 57 : 48;
	int64_t sext = (int64_t)(lin << (64 - bits)) >> (64 - bits);

	return (uint64_t)sext == lin;
}

/* seg.c */

/* Reads sel's descriptor; false when sel is beyond its table (or there is no LDT). */
bool desc_read(struct soft_cpu *, uint16_t sel, struct desc *d);
/* The same, raising vector(sel | ext) when there is none. */
void desc_fetch(struct soft_cpu *, uint16_t sel, struct desc *d, unsigned vector, unsigned ext);
/* The upper half of the base of a 16-byte system descriptor in long mode, else 0. */
uint32_t desc_base_hi(struct soft_cpu *, uint16_t sel, const struct desc *d);
void desc_set_accessed(struct soft_cpu *, struct desc *d);
struct x86_seg seg_of_desc(uint16_t sel, const struct desc *d);
/* Real-mode and v86-mode contents for sel. */
struct x86_seg seg_real(const struct soft_cpu *, unsigned seg, uint16_t sel);
/* MOV, POP, LxS to a data or stack segment register, in any mode, with all checks. */
void seg_load(struct soft_cpu *, unsigned seg, uint16_t sel);
/*
 * Checks sel for SS at privilege cpl; in a far return to 64-bit code a null one may be right.
 * Wrong ones raise vector (#GP, #TS); absent ones #SS.
 */
struct x86_seg seg_check_ss(struct soft_cpu *, uint16_t sel, unsigned cpl, bool null_ok,
			    unsigned vector, unsigned ext);
/* SS with a null selector, as long mode has it for cpl. */
struct x86_seg seg_null_ss(uint16_t sel, unsigned cpl);
/* DS, ES, FS, GS that are too privileged for the new CPL become null. */
void seg_drop_privileged(struct soft_cpu *, unsigned cpl);
void seg_set_base(struct soft_cpu *, unsigned seg, uint64_t base);
/* LLDT and LTR: sel with all checks. */
void seg_load_ldt(struct soft_cpu *, uint16_t sel);
void seg_load_tr(struct soft_cpu *, uint16_t sel);

/* A stack that is being pushed to before it becomes SS:rSP. */
struct stack {
	const struct x86_seg *ss;
	uint64_t sp;
	uint8_t bits;	/* 16, 32, 64: which part of rSP moves */
	bool super;	/* implicit supervisor accesses, else current privilege */
	uint16_t error; /* of the #SS when it overflows */
};
void stack_push(struct soft_cpu *, struct stack *, uint64_t val, unsigned size);
/* Reads at SS:rSP + off of the current stack. */
uint64_t stack_peek(struct soft_cpu *, unsigned off, unsigned size);
/* New value of RSP: the bits that move from sp, the rest kept. */
uint64_t stack_merge(uint64_t old, uint64_t sp, unsigned bits);
/* SS:rSP for privilege cpl (< 3) out of the TSS, checked; not for long mode. */
struct x86_seg tss_stack(struct soft_cpu *, unsigned cpl, uint64_t *sp, unsigned ext);
/* Quadword of the 64-bit TSS: RSPn (0..2), or ISTn as 3 + n; canonical. */
uint64_t tss_stack64(struct soft_cpu *, unsigned n, unsigned ext);

/* excp.c */

enum event_kind {
	EVENT_EXCEPTION, /* of the processor: EXT set */
	EVENT_EXTERNAL,	 /* interrupt, NMI */
	EVENT_INT_N,	 /* INT n: gate DPL is checked, v86 rules */
	EVENT_INT_SHORT, /* INT3, INTO: gate DPL is checked */
	EVENT_INT1,	 /* ICEBP: no check, EXT set */
};
struct event {
	enum event_kind kind;
	uint8_t vector;
	bool has_error;
	uint32_t error;
	uint64_t rip; /* to push */
};
/* Delivers without double-fault rules; faults by longjmp. */
void event_deliver(struct soft_cpu *, const struct event *);

/* task.c */
enum task_how { TASK_JMP, TASK_CALL, TASK_IRET, TASK_EVENT };
struct task_switch {
	enum task_how how;
	uint16_t sel;
	unsigned ext;  /* EXT bit for error codes */
	uint64_t rip;  /* to save in the old TSS */
	bool has_error; /* to push on the new stack */
	uint32_t error;
	uint32_t rf; /* FLAG_RF: to be set in the flags of the old TSS */
};
/* d: the descriptor of a TSS, already checked to be one and available (busy for IRET). */
void task_switch(struct soft_cpu *, const struct task_switch *, struct desc *d);
/* Follows a task gate (already checked for privilege and presence). */
void task_gate(struct soft_cpu *, struct task_switch *, const struct desc *gate);

/* sys_ctl.c: control registers; #GP(0) for what must not be. */
void cr0_write(struct soft_cpu *, uint64_t val);
void cr3_write(struct soft_cpu *, uint64_t val);
void cr4_write(struct soft_cpu *, uint64_t val);
/* The bits of CR4 that the CPU model has. */
uint64_t cr4_allowed(const struct soft_cpu *);

/* msr.c: false = #GP(0). */
bool msr_read(struct soft_cpu *, uint32_t msr, uint64_t *val);
bool msr_write(struct soft_cpu *, uint32_t msr, uint64_t val);
uint64_t cpu_tsc(const struct soft_cpu *);

/* smm.c: RSM; what is wrong in the save area is a shutdown. */
void smm_leave(struct soft_cpu *);

/* debug.c */
#define DR6_BD BIT64(13)
#define DR6_BS BIT64(14)
#define DR6_BT BIT64(15)
#define DR7_GD BIT64(13)
/* Sets DR6 and raises #DB. */
_Noreturn void debug_raise(struct soft_cpu *, uint64_t dr6_bits);
/* I/O breakpoints: adds to dr6_pending. */
void debug_io(struct soft_cpu *, uint16_t port, unsigned size);
static inline bool debug_has_code_bp(const struct soft_cpu *c)
{
	for (unsigned i = 0; i < 4; i++)
		if (c->s.dr7 >> (2 * i) & 3 && !(c->s.dr7 >> (16 + 4 * i) & 3))
			return true;
	return false;
}

/* Handlers' helpers */

/* Ends the block behind the current instruction. */
static inline const struct insn *sys_end(struct soft_cpu *c)
{
	uint64_t rip = cpu_next_rip(c);

	if (c->code_bits != 64)
		rip = (uint32_t)rip;
	c->rip = rip;
	return NULL;
}
static inline void need_cpl0(struct soft_cpu *c)
{
	if (unlikely(c->cpl))
		cpu_raise_err(c, X86_GP, 0);
}
static inline uint64_t sys_ea(const struct soft_cpu *c, const struct insn *in)
{
	uint64_t ea = R64(c, in->base) + (R64(c, in->index) << in->scale) + (uint64_t)(int64_t)in->disp;

	if (in->flags & INSN_A16)
		return (uint16_t)ea;
	return in->flags & INSN_A32 ? (uint32_t)ea : ea;
}
static inline uint64_t sys_lin(struct soft_cpu *c, const struct insn *in, unsigned off,
			       unsigned size, bool write)
{
	return seg_linear(c, in->seg, sys_ea(c, in) + off, size, write);
}
/* The r/m operand of 2, 4 or 8 bytes. */
static inline uint64_t sys_read_rm(struct soft_cpu *c, const struct insn *in, unsigned size)
{
	if (in->flags & INSN_MEM)
		return mmu_ld_slow(c, sys_lin(c, in, 0, size, false), size);
	return size == 2 ? R16(c, in->rm) : size == 4 ? R32(c, in->rm) : R64(c, in->rm);
}
static inline void sys_set_reg(struct soft_cpu *c, uint8_t off, uint64_t val, unsigned size)
{
	if (size == 1)
		R8(c, off) = (uint8_t)val;
	else if (size == 2)
		R16(c, off) = (uint16_t)val;
	else
		R64(c, off) = size == 4 ? (uint32_t)val : val;
}

/* One table a file: mnemonic -> handler; sys.c joins them. NULL = not ours. */
insn_fn bind_sys_seg(const struct insn *, unsigned mn);
insn_fn bind_sys_far(const struct insn *, unsigned mn);
insn_fn bind_sys_ctl(const struct insn *, unsigned mn);
insn_fn bind_sys_flags(const struct insn *, unsigned mn);
insn_fn bind_sys_io(const struct insn *, unsigned mn);
insn_fn bind_sys_call(const struct insn *, unsigned mn);
insn_fn bind_sys_msr(const struct insn *, unsigned mn);

#endif

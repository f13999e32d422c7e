/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's side: one vCPU in 64-bit user mode with page tables of its own; instructions are
 * decoded, bound and called as a block of one would be.
 */
#include "truth.h"
#include "accel/accel.h"
#include "accel/soft/block.h"
#include "accel/soft/cpu.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/fpu.h"
#include "accel/soft/jit/jit.h"
#include "accel/soft/soft_vm.h"
#include "base/bytes.h"
#include "core/vm.h"
#include "isa/x86/cpuid.h"
#include "mem/ram.h"
#include "prog.h"

#include <stdio.h>

#define RAM_SIZE 0x40000u
#define AT_PML4	 0x1000u
#define AT_PDPT	 0x2000u
#define AT_PD	 0x3000u
#define AT_PT0	 0x4000u /* of the scratch region */
#define AT_PT1	 0x5000u /* of the code page */
#define AT_DATA	 0x10000u
#define AT_CODE	 0x20000u

#define PTE_USER_RW 7u
#define PTE_USER_RO 5u

static struct vm vm;
static struct vcpu vcpu;
static struct vcpu *vcpus[1] = {&vcpu};
static struct ram_block *rb;
static struct map_region ram_region;
static struct soft_cpu *cpu;
static struct block *blk;
static bool jit;
static uint64_t translated;

void soft_jit(void)
{
	jit = true;
}

uint64_t soft_translated(void)
{
	return translated;
}

static void pte(unsigned table, uint64_t lin, unsigned shift, uint64_t val)
{
	st_le64(rb->host + table + 8 * (lin >> shift & 511), val);
}

static void make_tables(void)
{
	pte(AT_PML4, 0, 39, AT_PDPT | PTE_USER_RW);
	pte(AT_PDPT, 0, 30, AT_PD | PTE_USER_RW);
	pte(AT_PD, SCRATCH, 21, AT_PT0 | PTE_USER_RW);
	pte(AT_PD, CODE, 21, AT_PT1 | PTE_USER_RW);
	for (unsigned i = 0; i < 3; i++)
		pte(AT_PT0, SCRATCH_DATA + 0x1000 * i, 12,
		    (AT_DATA + 0x1000 * i) | (i < SCRATCH_RW ? PTE_USER_RW : PTE_USER_RO));
	for (unsigned i = 0; i < PROG_PAGES; i++)
		pte(AT_PT1, CODE + 0x1000 * i, 12, (AT_CODE + 0x1000 * i) | PTE_USER_RW);
}

static void initial_state(struct cpu_state *s)
{
	s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	s->cr3 = AT_PML4;
	s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE;
	s->xcr0 = truth_zmm() ? 0xe7 : 7;
	s->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	s->rflags = FLAG_R1 | FLAG_IF;
	for (unsigned i = 0; i < SEG_NR; i++)
		s->seg[i] = (struct x86_seg){.limit = UINT32_MAX, .sel = 0x2b,
					     .attr = SEG_P | SEG_S | SEG_DPL | SEG_G | SEG_DB | 3};
	s->seg[SEG_CS].sel = 0x33;
	s->seg[SEG_CS].attr = SEG_P | SEG_S | SEG_DPL | SEG_G | SEG_L | 0xb;
	s->mp_state = MP_RUNNABLE;
}

int soft_init(void)
{
	struct err e = {0};
	struct cpu_state s;

	vm.map = map_new(&e);
	rb = ram_new("ram", RAM_SIZE, &e);
	if (!vm.map || !rb)
		goto fail;
	ram_region = (struct map_region){.name = "ram", .space = MAP_MEM, .kind = MAP_RAM,
					 .size = RAM_SIZE, .rb = rb};
	vm.vcpus = vcpus;
	vm.nr_vcpus = 1;
	vcpu.vm = &vm;
	if (map_add(vm.map, &ram_region, &e) || accel_soft.vm_init(&vm, "max", &e) ||
	    accel_soft.vcpu_init(&vcpu, &e))
		goto fail;
	cpu = vcpu.engine;
	make_tables();
	accel_soft.get_state(&vcpu, &s);
	initial_state(&s);
	if (accel_soft.set_state(&vcpu, &s, &e))
		goto fail;
	fpu_enter(cpu);
	cpu->vm->running = 1; /* as run() does; stop-the-world counts on it */
	cpu->in_guest = true;
	/* Where the cache would put its first one: host code says where its block is. */
	blk = (struct block *)cpu->blocks->arena;
	blk->nr = 1;
	blk->gen_at = blk->gen2_at = &rb->gen[AT_CODE >> RAM_PAGE_SHIFT];
	blk->gen = blk->gen2 = atomic_load(blk->gen_at);
	return 0;
fail:
	fprintf(stderr, "cpu-truth: %s\n", e.msg);
	return -1;
}

uint8_t *soft_scratch(void)
{
	return rb->host + AT_DATA;
}

bool soft_has(unsigned op)
{
	return cpu_has(cpu, op_descs[op].feature);
}

bool truth_zmm(void)
{
	return cpu_has(cpu, X86F_AVX512F);
}

void soft_code(const struct truth_case *c)
{
	struct insn *in = &blk->in[0];

	/* The block is ours and not of the cache, so making room is too. */
	if (!thunks_have_room(cpu->fpu->thunks, 1))
		thunks_flush(cpu->fpu->thunks);
	*in = c->in;
	in->next = (uint16_t)((c->rip & 0xfff) + in->len);
	if (in->flags & INSN_RIPREL)
		in->disp += in->next;
	bind_insn(cpu, in, c->bytes);
	in[1] = (struct insn){.fn = exec_leave, .next = in->next};
	memcpy(&in[2], c->bytes, in->len);
	if (!jit)
		return;
	jit_flush(cpu, false);
	blk->code = NULL;
	translated += jit_make(cpu, blk);
}

static void load(const struct truth_state *s)
{
	struct cpu_state *t = &cpu->s;

	memcpy(cpu->r, s->gpr, sizeof(s->gpr));
	cpu->r[R_ZERO] = 0;
	cpu->rip = s->rip;
	cpu->r[R_PC] = s->rip & ~(uint64_t)0xfff;
	cpu_set_rflags(cpu, s->rflags);
	t->fcw = s->fcw;
	t->fsw = s->fsw;
	t->ftw = s->ftw;
	t->fop = s->fop;
	t->fip = s->fip;
	t->fdp = s->fdp;
	t->fcs = t->fds = 0;
	t->mxcsr = s->mxcsr;
	memcpy(t->st, s->st, sizeof(s->st));
	memcpy(t->vec, s->vec, sizeof(t->vec));
	memcpy(t->k, s->k, sizeof(t->k));
	fpu_sync_in(cpu);
}

static void store(struct truth_state *s)
{
	const struct cpu_state *t = &cpu->s;

	fpu_sync_out(cpu);
	memcpy(s->gpr, cpu->r, sizeof(s->gpr));
	s->rip = cpu->rip;
	s->rflags = cpu_rflags(cpu) & ~(uint64_t)FLAG_RF;
	s->fcw = t->fcw;
	s->fsw = t->fsw;
	s->ftw = t->ftw;
	s->fop = t->fop;
	s->fip = t->fip;
	s->fdp = t->fdp;
	s->mxcsr = t->mxcsr;
	for (unsigned i = 0; i < 8; i++)
		memcpy(s->st[i], t->st[i], 10);
	memcpy(s->vec, t->vec, sizeof(s->vec));
	memcpy(s->k, t->k, sizeof(s->k));
}

/* Repeated string instructions may come back to be called again. */
static void execute(const struct truth_case *c)
{
	do {
		const struct insn *in = &blk->in[0];

		if (blk->code) {
			cpu->poll = 100;
			jit_run_once(cpu, blk);
			continue;
		}
		while (in) {
			cpu->cur = in;
			in = in->fn(cpu, in);
		}
	} while (cpu->rip == c->rip && (c->in.flags & (INSN_REP | INSN_REPNE)));
}

void soft_run_case(const struct truth_case *c, struct truth_state *s, struct truth_result *r)
{
	load(s);
	cpu->blk = blk;
	r->vector = -1;
	r->error = 0;
	r->cr2 = 0;
	if (_setjmp(cpu->on_fault)) {
		if (cpu->exclusive)
			cpu_exclusive_end(cpu);
		jit_unstop(cpu);
		r->vector = cpu->fault.vector;
		r->error = cpu->fault.has_error ? cpu->fault.error : 0;
		r->cr2 = r->vector == X86_PF ? cpu->s.cr2 : 0;
		cpu->rip = c->rip;
	} else {
		execute(c);
	}
	cpu->cur = NULL;
	store(s);
}

/* ---- programs ---- */

bool soft_prog_bits(unsigned bits)
{
	struct x86_seg *seg = cpu->s.seg;

	if (bits == 64)
		return true;
	seg[SEG_CS].sel = 0x23;
	seg[SEG_CS].attr = SEG_P | SEG_S | SEG_DPL | SEG_G | SEG_DB | 0xb;
	seg[SEG_FS] = (struct x86_seg){ .attr = SEG_UNUSABLE };
	seg[SEG_GS].base = PROG_GS;
	cpu_mode_changed(cpu);
	return true;
}

void soft_prog(const struct prog *p)
{
	uint64_t at = AT_CODE + (p->at - CODE);

	memcpy(rb->host + at, p->bytes, p->len);
	ram_written(rb, at, p->len);
}

/* Notes what is undefined behind it: on which way the program ends, a store may have changed. */
static void interpret(struct block *b, struct truth_result *r)
{
	const struct insn *in = b->in;

	cpu->blk = b;
	cpu->r[R_PC] = cpu->rip - (b->gpa & 0xfff);
	do {
		cpu->cur = in;
		in = in->fn(cpu, in);
	} while (in);
	cpu->cur = NULL;
	for (unsigned i = 0; i < b->nr; i++)
		r->undefined = (uint16_t)op_undefined(&op_descs[b->in[i].op], r->undefined);
}

/* As the run loop does. Out of line of setjmp(). */
static __attribute__((noinline)) bool run_blocks(const struct prog *p, unsigned hot,
						       struct truth_result *r)
{
	unsigned budget = 20000;

	while (cpu->rip != PROG_EXIT && budget--) {
		struct block *b;

		if (!prog_begins(p, cpu->rip))
			return false; /* a return address was overwritten */
		b = block_find(cpu);
		if (hot == JIT_NEVER || !jit_wants(cpu, b)) {
			interpret(b, r);
			continue;
		}
		translated++;
		cpu->poll = 20000;
		jit_run(cpu, b);
	}
	return cpu->rip == PROG_EXIT;
}

bool soft_run_prog(const struct prog *p, unsigned hot, struct truth_state *s, struct truth_result *r)
{
	volatile bool done = true; /* kept over setjmp() */

	jit_set_hot(cpu->jit, hot);
	load(s);
	cpu->cur = NULL;
	*r = (struct truth_result){ .vector = -1 };
	if (_setjmp(cpu->on_fault)) {
		if (cpu->exclusive)
			cpu_exclusive_end(cpu);
		jit_unstop(cpu);
		if (!cpu->cur) { /* host code went where no program is, or where this one ends */
			done = cpu->rip == PROG_EXIT;
			goto out;
		}
		r->vector = cpu->fault.vector;
		r->error = cpu->fault.has_error ? cpu->fault.error : 0;
		r->cr2 = r->vector == X86_PF ? cpu->s.cr2 : 0;
		cpu->rip = cpu_cur_rip(cpu);
	} else {
		done = run_blocks(p, hot, r);
	}
	if (memcmp(rb->host + AT_CODE + (p->at - CODE), p->bytes, p->len)) { /* an address was overwritten */
		soft_prog(p);
		done = false;
	}
out:
	cpu->cur = NULL;
	store(s);
	return done;
}

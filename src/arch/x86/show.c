/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's registers as text, in the form that QEMU's "info registers" has and scripts read.
 * Source: that output. Control thread; the vCPU is asked between two instructions. State: none.
 */
#include "base/base.h"
#include "arch/x86/show.h"
#include "isa/x86/x86.h"

#define XCR0_AVX    BIT64(2)
#define XCR0_AVX512 (BIT64(5) | BIT64(6) | BIT64(7))

static void say_general(FILE *out, const struct cpu_state *s)
{
	static const struct {
		const char *name;
		unsigned gpr;
	} order[] = {
		{ "RAX", RAX }, { "RBX", RBX }, { "RCX", RCX }, { "RDX", RDX },
		{ "RSI", RSI }, { "RDI", RDI }, { "RBP", RBP }, { "RSP", RSP },
		{ "R8 ", R8 },	{ "R9 ", R9 },	{ "R10", R10 }, { "R11", R11 },
		{ "R12", R12 }, { "R13", R13 }, { "R14", R14 }, { "R15", R15 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		fprintf(out, "%s=%016" PRIx64 "%c", order[i].name, s->gpr[order[i].gpr],
			i % 4 == 3 ? '\n' : ' ');
}

static void say_flags(FILE *out, const struct cpu_state *s)
{
	static const struct {
		uint32_t bit;
		char letter;
	} flags[] = { { FLAG_DF, 'D' }, { FLAG_OF, 'O' }, { FLAG_SF, 'S' }, { FLAG_ZF, 'Z' },
		      { FLAG_AF, 'A' }, { FLAG_PF, 'P' }, { FLAG_CF, 'C' } };

	fprintf(out, "RIP=%016" PRIx64 " RFL=%08x [", s->rip, (unsigned)s->rflags);
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		fputc(s->rflags & flags[i].bit ? flags[i].letter : '-', out);
	fprintf(out, "] CPL=%d II=%d A20=1 SMM=%d HLT=%d\n",
		(s->seg[SEG_SS].attr & SEG_DPL) >> SEG_DPL_SHIFT, s->sti_shadow || s->mov_ss_shadow,
		s->in_smm, s->mp_state == MP_HALTED);
}

static const char *system_type(unsigned type, bool lma)
{
	static const char *const names[2][16] = {
		{ "Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate",
		  "IntGate16", "TrapGate16", "Reserved", "TSS32-avl", "Reserved", "TSS32-busy",
		  "CallGate32", "Reserved", "IntGate32", "TrapGate32" },
		{ "<hiword>", "Reserved", "LDT", "Reserved", "Reserved", "Reserved", "Reserved",
		  "Reserved", "Reserved", "TSS64-avl", "Reserved", "TSS64-busy", "CallGate64",
		  "Reserved", "IntGate64", "TrapGate64" },
	};

	return names[lma][type & 15];
}

static void say_segment(FILE *out, const char *name, const struct x86_seg *g, bool lma)
{
	unsigned type = g->attr & SEG_TYPE;
	bool present = (g->attr & SEG_P) && !(g->attr & SEG_UNUSABLE);

	/* The middle of the descriptor's upper half. */
	fprintf(out, "%-3s=%04x %016" PRIx64 " %08x %08x", name, g->sel, g->base, g->limit,
		g->attr & SEG_UNUSABLE ? 0u : (g->attr & 0xffu) << 8 | (g->attr >> 8 & 0xfu) << 20);
	if (!present) {
		fputc('\n', out);
		return;
	}
	fprintf(out, " DPL=%d ", (g->attr & SEG_DPL) >> SEG_DPL_SHIFT);
	if (!(g->attr & SEG_S))
		fprintf(out, "%s\n", system_type(type, lma));
	else if (type & 8)
		fprintf(out, "%s [%c%c%c]\n",
			g->attr & SEG_L	   ? "CS64"
			: g->attr & SEG_DB ? "CS32"
					   : "CS16",
			type & 4 ? 'C' : '-', type & 2 ? 'R' : '-', type & 1 ? 'A' : '-');
	else
		fprintf(out, "%s [%c%c%c]\n", g->attr & SEG_DB || lma ? "DS  " : "DS16",
			type & 4 ? 'E' : '-', type & 2 ? 'W' : '-', type & 1 ? 'A' : '-');
}

static void say_control(FILE *out, const struct cpu_state *s)
{
	fprintf(out, "GDT=     %016" PRIx64 " %08x\nIDT=     %016" PRIx64 " %08x\n", s->gdtr.base,
		s->gdtr.limit, s->idtr.base, s->idtr.limit);
	fprintf(out, "CR0=%08x CR2=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%08x\n", (unsigned)s->cr0,
		s->cr2, s->cr3, (unsigned)s->cr4);
	for (unsigned i = 0; i < 4; i++)
		fprintf(out, "DR%u=%016" PRIx64 "%c", i, s->dr[i], i == 3 ? '\n' : ' ');
	fprintf(out, "DR6=%016" PRIx64 " DR7=%016" PRIx64 "\nEFER=%016" PRIx64 "\n", s->dr6, s->dr7,
		s->efer);
}

/* Quadwords of a vector register, the highest first. */
static void say_vectors(FILE *out, const struct cpu_state *s, const char *name, unsigned regs,
			unsigned quads)
{
	for (unsigned i = 0; i < regs; i++) {
		fprintf(out, "%s%02u=", name, i);
		for (unsigned q = quads; q-- > 0;) {
			uint64_t v;

			memcpy(&v, s->vec[i] + q * 8, 8);
			fprintf(out, "%016" PRIx64 "%s", v, q ? " " : "");
		}
		fputc(quads == 2 && !(i & 1) ? ' ' : '\n', out);
	}
}

static void say_fpu(FILE *out, const struct cpu_state *s)
{
	unsigned top = s->fsw >> 11 & 7;

	fprintf(out, "FCW=%04x FSW=%04x [ST=%u] FTW=%02x MXCSR=%08x\n", s->fcw, s->fsw, top, s->ftw,
		s->mxcsr);
	for (unsigned i = 0; i < 8; i++) {
		const uint8_t *st = s->st[(i - top) & 7];
		uint64_t mantissa;
		uint16_t exponent;

		memcpy(&mantissa, st, 8);
		memcpy(&exponent, st + 8, 2);
		fprintf(out, "FPR%u=%016" PRIx64 " %04x%c", i, mantissa, exponent,
			i & 1 ? '\n' : ' ');
	}
	if ((s->xcr0 & XCR0_AVX512) == XCR0_AVX512) {
		for (unsigned i = 0; i < 8; i++)
			fprintf(out, "Opmask%02u=%016" PRIx64 "%c", i, s->k[i], i & 1 ? '\n' : ' ');
		say_vectors(out, s, "ZMM", 32, 8);
	} else if (s->xcr0 & XCR0_AVX) {
		say_vectors(out, s, "YMM", 16, 4);
	} else {
		say_vectors(out, s, "XMM", 16, 2);
	}
}

void show_registers(FILE *out, const struct cpu_state *s)
{
	static const struct {
		const char *name;
		unsigned seg;
	} segs[] = { { "ES", SEG_ES }, { "CS", SEG_CS }, { "SS", SEG_SS },
		     { "DS", SEG_DS }, { "FS", SEG_FS }, { "GS", SEG_GS } };
	bool lma = s->efer & EFER_LMA;

	say_general(out, s);
	say_flags(out, s);
	for (unsigned i = 0; i < ARRAY_SIZE(segs); i++)
		say_segment(out, segs[i].name, &s->seg[segs[i].seg], lma);
	say_segment(out, "LDT", &s->ldtr, lma);
	say_segment(out, "TR", &s->tr, lma);
	say_control(out, s);
	say_fpu(out, s);
}

/* ---- on the way from core (core/arch.h) ---- */

int arch_show(struct vcpu *v, enum arch_view view, FILE *out, struct err *e)
{
	autofree struct cpu_state *s = NULL;
	struct paging p;

	switch (view) {
	case ARCH_SHOW_LAPIC:
		return show_lapic(v, out, e);
	case ARCH_SHOW_CHIPS:
		return show_chips(v->vm, out, e);
	case ARCH_SHOW_LINES:
		show_lines(v->vm, out);
		return 0;
	case ARCH_SHOW_REGISTERS:
	case ARCH_SHOW_TLB:
	case ARCH_SHOW_MEM:
	default:
		break;
	}
	s = x86_ask_state(v, e);
	if (!s)
		return -EIO;
	if (view == ARCH_SHOW_REGISTERS) {
		show_registers(out, s);
		return 0;
	}
	paging_of(&p, v->vm->map, s);
	if (view == ARCH_SHOW_TLB)
		show_tlb(&p, out);
	else
		show_mem(&p, out);
	return 0;
}

static_assert(sizeof(struct paging) <= sizeof(struct arch_space), "core's is large enough");

int arch_space_of(struct vcpu *v, struct arch_space *a, struct err *e)
{
	autofree struct cpu_state *s = x86_ask_state(v, e);
	struct paging p;

	if (!s)
		return -EIO;
	paging_of(&p, v->vm->map, s);
	memcpy(a->word, &p, sizeof(p));
	return 0;
}

int arch_space_find(const struct arch_space *a, uint64_t addr, uint64_t *gpa, uint64_t *run)
{
	struct paging p;

	memcpy(&p, a->word, sizeof(p));
	return paging_find(&p, addr, gpa, run);
}

bool arch_space_paged(const struct arch_space *a)
{
	struct paging p;

	memcpy(&p, a->word, sizeof(p));
	return p.levels > 0;
}

struct space_walk {
	arch_space_fn *fn;
	void *arg;
};

static int space_page(void *arg, const struct paging_leaf *leaf)
{
	struct space_walk *w = arg;

	return w->fn(w->arg, leaf->addr, leaf->gpa, leaf->size);
}

int arch_space_walk(const struct arch_space *a, unsigned *tables, arch_space_fn *fn, void *arg)
{
	struct space_walk w = { fn, arg };
	struct paging p;

	memcpy(&p, a->word, sizeof(p));
	return paging_walk(&p, tables, space_page, &w);
}

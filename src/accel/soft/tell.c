/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's lines in the log (tell.h). Each entry is one write. Without libcapstone guest code
 * is its bytes and the decoder's names, and host code its bytes, as QEMU has it for objdump. vCPU
 * thread.
 */
#include "accel/soft/tell.h"

#include "accel/soft/mmu.h"
#include <stdio.h>
#ifdef HAVE_CAPSTONE
#include <capstone/capstone.h>
#endif

struct text {
	FILE *f;
	char *s;
	size_t len;
};

static bool begin(struct text *t)
{
	t->s = NULL;
	t->f = open_memstream(&t->s, &t->len);
	return t->f;
}

static void end(struct text *t)
{
	fclose(t->f);
	log_text(t->s, t->len);
	free(t->s);
}

/* ---- registers ---- */

static void put_segment(FILE *f, const char *name, const struct x86_seg *s)
{
	fprintf(f, "%-3s=%04x %016" PRIx64 " %08x %08x\n", name, s->sel, s->base, s->limit,
		(unsigned)s->attr << 8);
}

static void put_registers(FILE *f, const struct soft_cpu *c, uint64_t rip)
{
	static const char *const name[] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
					    "R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15" };
	static const char *const seg[] = { [SEG_ES] = "ES", [SEG_CS] = "CS", [SEG_SS] = "SS",
					   [SEG_DS] = "DS", [SEG_FS] = "FS", [SEG_GS] = "GS" };
	static const uint8_t order[] = { RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP,
					 R8,  R9,  R10, R11, R12, R13, R14, R15 };

	for (unsigned i = 0; i < 16; i++)
		fprintf(f, "%s=%016" PRIx64 "%c", name[order[i]], c->r[order[i]],
			i % 4 == 3 ? '\n' : ' ');
	fprintf(f, "RIP=%016" PRIx64 " RFL=%08x CPL=%u SMM=%d HLT=%d\n", rip,
		(unsigned)cpu_rflags(c), c->cpl, c->s.in_smm, c->s.mp_state == MP_HALTED);
	for (unsigned i = 0; i < ARRAY_SIZE(seg); i++)
		put_segment(f, seg[i], &c->s.seg[i]);
	put_segment(f, "LDT", &c->s.ldtr);
	put_segment(f, "TR", &c->s.tr);
	fprintf(f, "GDT=     %016" PRIx64 " %08x\nIDT=     %016" PRIx64 " %08x\n", c->s.gdtr.base,
		c->s.gdtr.limit, c->s.idtr.base, c->s.idtr.limit);
	fprintf(f, "CR0=%08x CR2=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%08x EFER=%016" PRIx64 "\n",
		(unsigned)c->s.cr0, c->s.cr2, c->s.cr3, (unsigned)c->s.cr4, c->s.efer);
}

/* QEMU's line, with the vCPU's own count. */
void tell_event(struct soft_cpu *c, unsigned vector, uint32_t error, bool soft_int, uint64_t rip)
{
	struct text t;

	if (!begin(&t))
		return;
	fprintf(t.f,
		"%6" PRIu64 ": v=%02x e=%04x i=%d cpl=%u IP=%04x:%016" PRIx64 " pc=%016" PRIx64
		" SP=%04x:%016" PRIx64 " %s=%016" PRIx64 "\n",
		c->n.events++, vector, error, soft_int, c->cpl, c->s.seg[SEG_CS].sel, rip,
		rip + c->segbase[SEG_CS], c->s.seg[SEG_SS].sel, c->r[RSP],
		vector == X86_PF ? "CR2" : "env->regs[R_EAX]",
		vector == X86_PF ? c->s.cr2 : c->r[RAX]);
	put_registers(t.f, c, rip);
	end(&t);
}

/* ---- code ---- */

static void put_bytes(FILE *f, const uint8_t *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fprintf(f, "%02x ", p[i]);
}

#ifdef HAVE_CAPSTONE
/* One instruction after the other; false: not to be had. */
static bool disassemble(FILE *f, const uint8_t *p, size_t n, uint64_t addr, unsigned bits)
{
	cs_mode mode = bits == 64 ? CS_MODE_64 : bits == 32 ? CS_MODE_32 : CS_MODE_16;
	cs_insn *in = NULL;
	size_t nr;
	csh cs;

	if (cs_open(CS_ARCH_X86, mode, &cs) != CS_ERR_OK)
		return false;
	cs_option(cs, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
	cs_option(cs, CS_OPT_SKIPDATA, CS_OPT_ON);
	nr = cs_disasm(cs, p, n, addr, 0, &in);
	for (size_t i = 0; i < nr; i++) {
		fprintf(f, "0x%016" PRIx64 ":  ", in[i].address);
		put_bytes(f, in[i].bytes, in[i].size);
		fprintf(f, "%*s%s %s\n", in[i].size < 8 ? 24 - 3 * in[i].size : 0, "",
			in[i].mnemonic, in[i].op_str);
	}
	cs_free(in, nr);
	cs_close(&cs);
	return nr;
}
#else
static bool disassemble(FILE *f, const uint8_t *p, size_t n, uint64_t addr, unsigned bits)
{
	return false;
}
#endif

static void put_decoded(FILE *f, const struct block *b, uint64_t lin)
{
	const uint8_t *p = block_bytes(b);

	for (unsigned i = 0; i < b->nr; i++) {
		unsigned len = b->in[i].len;

		fprintf(f, "0x%016" PRIx64 ":  ", lin);
		put_bytes(f, p, len);
		fprintf(f, "%*s%s\n", len < 8 ? 24 - 3 * (int)len : 0, "", op_name(b->in[i].op));
		lin += len;
		p += len;
	}
}

void tell_decoded(const struct soft_cpu *c, const struct block *b, uint64_t lin)
{
	struct text t;

	if (!begin(&t))
		return;
	fprintf(t.f, "----------------\nIN: \n");
	if (!disassemble(t.f, block_bytes(b), b->bytes, lin, c->code_bits))
		put_decoded(t.f, b, lin);
	fprintf(t.f, "\n");
	end(&t);
}

void tell_made(const struct block *b, size_t size)
{
	const uint8_t *p = (const uint8_t *)b->code + MIN(b->skip, 0);
	struct text t;

	if (!begin(&t))
		return;
	fprintf(t.f, "OUT: [size=%zu]\n", size);
	if (!disassemble(t.f, p, size, (uintptr_t)p, 64)) {
		for (size_t i = 0; i < size; i++)
			fprintf(t.f, "%s%02x", i % 32 ? "" : i ? "\nOBJD-H: " : "OBJD-H: ", p[i]);
		fprintf(t.f, "\n");
	}
	fprintf(t.f, "\n");
	end(&t);
}

void tell_run(struct soft_cpu *c, const struct block *b)
{
	struct text t;

	if (!log_is_on(LOG_EXEC | LOG_CPU) || !begin(&t))
		return;
	if (log_is_on(LOG_EXEC))
		fprintf(t.f, "Trace %u: %p [%08" PRIx64 "/%016" PRIx64 "/%08x/%08x]\n",
			c->vcpu->index, b->code, c->segbase[SEG_CS], c->rip, c->mode_key, b->bytes);
	if (log_is_on(LOG_CPU))
		put_registers(t.f, c, c->rip);
	end(&t);
}

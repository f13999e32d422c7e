/* SPDX-License-Identifier: Apache-2.0 */
/* What a mismatch looks like. Disassembly by Zydis. */
#include "truth.h"
#include "isa/x86/x86.h"
#include "prog.h"
#include "base/bytes.h"

#include <Zydis/Zydis.h>
#include <stdio.h>

static const char *const gpr_names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					  "r8",	 "r9",	"r10", "r11", "r12", "r13", "r14", "r15"};

static void disassemble(const struct truth_case *c, ZydisMachineMode mode)
{
	ZydisDisassembledInstruction d;

	if (ZYAN_SUCCESS(ZydisDisassembleIntel(mode, c->rip, c->bytes, c->len,
					       &d)))
		printf("%s   [", d.text);
	else
		printf("(%s)   [", op_name(c->in.op));
	for (unsigned i = 0; i < c->len; i++)
		printf("%s%02x", i ? " " : "", c->bytes[i]);
	printf("]\n");
}

static void line(const char *name, uint64_t before, uint64_t host, uint64_t soft)
{
	printf("%c %-7s %016" PRIx64 "  host %016" PRIx64 "  soft %016" PRIx64 "\n",
	       host == soft ? ' ' : '*', name, before, host, soft);
}

static void bytes_line(const char *name, unsigned n, const uint8_t *before, const uint8_t *host,
		       const uint8_t *soft, unsigned size, bool always)
{
	const uint8_t *all[3] = {before, host, soft};
	static const char *const who[3] = {"before", "host", "soft"};
	bool differ = memcmp(host, soft, size) != 0;

	if (!differ && !always)
		return;
	for (unsigned k = 0; k < 3; k++) {
		printf("%c %s%-5u %-6s ", differ ? '*' : ' ', name, n, who[k]);
		for (unsigned i = size; i-- > 0;)
			printf("%02x%s", all[k][i], i % 8 == 0 ? " " : "");
		printf("\n");
	}
}

static bool uses(const struct insn *in, unsigned reg)
{
	return in->base == R_OFF(reg) || in->index == R_OFF(reg) || in->reg / 8 == (int)reg ||
	       in->rm / 8 == (int)reg || reg < 3;
}

bool truth_explains(const struct truth_result *r, uint64_t a, uint64_t b)
{
	if (r->vector == X86_PF)
		return (uint32_t)(r->cr2 - a) < 8 || (uint32_t)(r->cr2 - b) < 8;
	return r->vector == X86_GP && ((a + (1ull << 47)) >> 48 || (b + (1ull << 47)) >> 48);
}

void report(const struct truth_case *c, const struct truth_state *b, const struct truth_state *h,
	    const struct truth_result *hr, const struct truth_state *s,
	    const struct truth_result *sr, const char *what)
{
	printf("MISMATCH in %s: ", what);
	disassemble(c, ZYDIS_MACHINE_MODE_LONG_64);
	printf("  exception: host %d error %#x cr2 %#" PRIx64 ", soft %d error %#x cr2 %#" PRIx64 "\n",
	       hr->vector, hr->error, hr->cr2, sr->vector, sr->error, sr->cr2);
	for (unsigned i = 0; i < 16; i++)
		if (h->gpr[i] != s->gpr[i] || b->gpr[i] != h->gpr[i] || uses(&c->in, i))
			line(gpr_names[i], b->gpr[i], h->gpr[i], s->gpr[i]);
	line("rip", b->rip, h->rip, s->rip);
	line("rflags", b->rflags, h->rflags, s->rflags);
	line("mxcsr", b->mxcsr, h->mxcsr, s->mxcsr);
	if (op_descs[c->in.op].cls < OPC_X87)
		return;
	line("fcw", b->fcw, h->fcw, s->fcw);
	line("fsw", b->fsw, h->fsw, s->fsw);
	line("ftw", b->ftw, h->ftw, s->ftw);
	line("fop", b->fop, h->fop, s->fop);
	line("fip", b->fip, h->fip, s->fip);
	line("fdp", b->fdp, h->fdp, s->fdp);
	for (unsigned i = 0; i < 8; i++)
		bytes_line("st", i, b->st[i], h->st[i], s->st[i], 10, c->touches_fp);
	for (unsigned i = 0; i < 8; i++)
		if (h->k[i] != s->k[i] || i == (c->in.evex & EVEX_MASK))
			line("k", b->k[i], h->k[i], s->k[i]);
	for (unsigned i = 0; i < 32; i++)
		bytes_line("zmm", i, b->vec[i], h->vec[i], s->vec[i], 64,
			   i == c->in.reg_n || i == c->in.rm_n || i == c->in.vvvv);
}

void prog_print(const struct prog *p)
{
	static const char *const what[] = { "pointers", "", "", "index", "counter" };
	const uint8_t regs[] = { p->pointer[0], p->pointer[1], p->pointer[2], p->index, p->counter };

	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		printf("%s %s%s", what[i], gpr_names[regs[i]], i == 4 ? "\n" : "");
	for (unsigned i = 0; i < p->nr; i++) {
		struct truth_case c = { .rip = p->at + p->item[i].at, .len = p->item[i].len };

		memcpy(c.bytes, p->bytes + p->item[i].at, c.len);
		if (c.bytes[0] == 0x90)
			continue;
		printf("  %" PRIx64 ":  ", c.rip);
		disassemble(&c, p->bits == 64 ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LONG_COMPAT_32);
	}
}

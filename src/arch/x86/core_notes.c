/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vCPUs' registers as notes of an ELF core file: NT_PRSTATUS, which every reader of core files
 * knows, and QEMU's own note with the system registers, by which crash finds the kernel's page
 * tables and where KASLR has put it. Source: Linux, include/uapi/linux/elfcore.h and
 * arch/x86/include/asm/user_64.h; QEMU, target/i386/arch_dump.c (version 1 of its note).
 * Control thread. State: none.
 */
#include "base/base.h"
#include "arch/x86/show.h"
#include "core/arch.h"
#include <elf.h>

#define NT_QEMU 0 /* of the name "QEMU" */

struct prstatus {
	uint32_t signo, code, error;
	uint16_t cursig, pad;
	uint64_t pending, held;
	uint32_t pid, ppid, pgrp, sid;
	uint64_t times[8];
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax;
	uint64_t rip, cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
	uint32_t fpvalid, end;
};
static_assert(sizeof(struct prstatus) == 336, "elf_prstatus of x86-64");

struct qemu_segment {
	uint32_t selector, limit, flags, pad;
	uint64_t base;
};

struct qemu_cpu {
	uint32_t version, size;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8_15[8], rip, rflags;
	struct qemu_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
	uint64_t cr[5];
	uint64_t kernel_gs_base;
};
static_assert(sizeof(struct qemu_cpu) == 440, "QEMU's note, version 1");

static struct prstatus prstatus_of(const struct cpu_state *s, uint32_t id)
{
	const uint64_t *g = s->gpr;

	return (struct prstatus){
		.pid = id,
		.r15 = g[R15],
		.r14 = g[R14],
		.r13 = g[R13],
		.r12 = g[R12],
		.rbp = g[RBP],
		.rbx = g[RBX],
		.r11 = g[R11],
		.r10 = g[R10],
		.r9 = g[R9],
		.r8 = g[R8],
		.rax = g[RAX],
		.rcx = g[RCX],
		.rdx = g[RDX],
		.rsi = g[RSI],
		.rdi = g[RDI],
		.rip = s->rip,
		.eflags = s->rflags,
		.rsp = g[RSP],
		.cs = s->seg[SEG_CS].sel,
		.ss = s->seg[SEG_SS].sel,
		.ds = s->seg[SEG_DS].sel,
		.es = s->seg[SEG_ES].sel,
		.fs = s->seg[SEG_FS].sel,
		.gs = s->seg[SEG_GS].sel,
		.fs_base = s->seg[SEG_FS].base,
		.gs_base = s->seg[SEG_GS].base,
	};
}

/* The flags are the upper half of a descriptor without its parts of base and limit. */
static struct qemu_segment segment_of(const struct x86_seg *g)
{
	return (struct qemu_segment){
		.selector = g->sel,
		.limit = g->limit,
		.flags = g->attr & SEG_UNUSABLE
				 ? 0u
				 : (g->attr & 0xffu) << 8 | (g->attr >> 8 & 0xfu) << 20,
		.base = g->base,
	};
}

static struct qemu_cpu qemu_cpu_of(const struct cpu_state *s)
{
	const uint64_t *g = s->gpr;
	struct qemu_cpu q = {
		.version = 1,
		.size = sizeof(q),
		.rax = g[RAX],
		.rbx = g[RBX],
		.rcx = g[RCX],
		.rdx = g[RDX],
		.rsi = g[RSI],
		.rdi = g[RDI],
		.rsp = g[RSP],
		.rbp = g[RBP],
		.rip = s->rip,
		.rflags = s->rflags,
		.cs = segment_of(&s->seg[SEG_CS]),
		.ds = segment_of(&s->seg[SEG_DS]),
		.es = segment_of(&s->seg[SEG_ES]),
		.fs = segment_of(&s->seg[SEG_FS]),
		.gs = segment_of(&s->seg[SEG_GS]),
		.ss = segment_of(&s->seg[SEG_SS]),
		.ldt = segment_of(&s->ldtr),
		.tr = segment_of(&s->tr),
		.gdt = { .base = s->gdtr.base, .limit = s->gdtr.limit },
		.idt = { .base = s->idtr.base, .limit = s->idtr.limit },
		.cr = { s->cr0, 0, s->cr2, s->cr3, s->cr4 },
		.kernel_gs_base = s->kernel_gs_base,
	};

	memcpy(q.r8_15, &g[R8], sizeof(q.r8_15));
	return q;
}

static uint8_t *put_note(uint8_t *at, const char *name, uint32_t type, const void *desc, size_t len)
{
	Elf64_Nhdr head = { .n_namesz = (Elf64_Word)strlen(name) + 1,
			    .n_descsz = (Elf64_Word)len,
			    .n_type = type };

	memcpy(at, &head, sizeof(head));
	at += sizeof(head);
	memcpy(at, name, head.n_namesz);
	at += align_up(head.n_namesz, 4u);
	memcpy(at, desc, len);
	return at + align_up(len, (size_t)4);
}

#define NOTE_LEN(type) (sizeof(Elf64_Nhdr) + 8 + sizeof(type)) /* names of 5 to 8 bytes */

/* As QEMU has them: first what everybody reads, of all vCPUs. */
int arch_core_notes(struct vm *vm, uint8_t **notes, size_t *len, struct err *e)
{
	uint8_t *common, *own;

	*len = (NOTE_LEN(struct prstatus) + NOTE_LEN(struct qemu_cpu)) * vm->nr_vcpus;
	common = *notes = xnew_n(uint8_t, *len);
	own = common + NOTE_LEN(struct prstatus) * vm->nr_vcpus;
	for (unsigned i = 0; i < vm->nr_vcpus; i++) {
		autofree struct cpu_state *s = x86_ask_state(vm->vcpus[i], e);
		struct prstatus p;
		struct qemu_cpu q;

		if (!s)
			return -EIO;
		p = prstatus_of(s, i + 1);
		q = qemu_cpu_of(s);
		common = put_note(common, "CORE", NT_PRSTATUS, &p, sizeof(p));
		own = put_note(own, "QEMU", NT_QEMU, &q, sizeof(q));
	}
	return 0;
}

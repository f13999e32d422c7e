/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bare machine for guests of the system architecture: 64 MiB of RAM, one vCPU, a log port and
 * an exit port. The assembly (sysguest_*.S) is loaded at SG_ORG; the harness builds the tables
 * and sets the mode, so that each guest only does what it is about.
 *
 * OUT 0x80 logs a doubleword, OUT 0xf4 ends the run. An exception logs
 * SG_EXC | vector << 16 | error code, and goes on where the doubleword at SG_RESUME says
 * (0: ends the run).
 */
#ifndef TESTS_SOFT_SYSGUEST_H
#define TESTS_SOFT_SYSGUEST_H

#define SG_GDT	      0x1000
#define SG_IDT	      0x2000
#define SG_TSS	      0x3000
#define SG_TSS2	      0x4400
#define SG_LDT	      0x5000
#define SG_TSS16	      0x5400
#define SG_VARS	      0x5800
#define SG_RESUME     0x5800 /* where exceptions go on */
#define SG_SCRATCH    0x5810
#define SG_STACK      0x7800 /* the guest's own */
#define SG_ORG	      0x8000
#define SG_STACK0     0x20000 /* ring 0, of the TSS */
#define SG_STACK1     0x24000
#define SG_STACK3     0x30000
#define SG_IST	      0x38000
#define SG_PML4	      0x40000 /* and tables behind; identity, 2 MiB pages, user */
#define SG_PAGE	      0x200000 /* one area mapped by 4 KiB pages: its table is at SG_PT */
#define SG_PT	      0x44000
#define SG_PML5	      0x45000 /* its first entry is SG_PML4 */

#define SG_CODE32     0x08
#define SG_DATA32     0x10
#define SG_CODE64     0x18
#define SG_UCODE32    0x23
#define SG_UDATA32    0x2b
#define SG_UCODE64    0x33
#define SG_TSS_SEL    0x38
#define SG_LDT_SEL    0x48
#define SG_CONFORM    0x58
#define SG_ABSENT     0x60
#define SG_RODATA     0x68
#define SG_DOWN	      0x70 /* expand-down, limit 0xfff */
#define SG_XONLY      0x78
#define SG_CALLGATE   0x80
#define SG_TASKGATE   0x90
#define SG_TSS2_SEL   0x98
#define SG_CODE16     0xa0
#define SG_DATA16     0xa8
#define SG_SMALL      0xb0 /* data, limit 0xff */
#define SG_CODE32_1   0xb8 /* ring 1 */
#define SG_DATA32_1   0xc0
#define SG_TSS16_SEL  0xc8
#define SG_UCODE16    0xd3
#define SG_UDATA16    0xdb
#define SG_GDT_LIMIT  0xdf

#define SG_EXC	      0x40000000

#ifndef __ASSEMBLER__
#include "base/base.h"
#include "accel/soft/soft_vm.h"
#include "accel/soft/sys.h"
#include "accel/accel.h"
#include "core/conf.h"
#include "core/vm.h"
#include "isa/x86/cpuid.h"

struct guest {
	struct vm vm;
	struct vcpu vcpu;
	struct vcpu_ops ops;
	struct soft_cpu *c;
	struct ram_block *ram;
	struct map_region ram_region, port_region;
	uint32_t log[256];
	unsigned nr;
	int irq; /* vector to deliver, -1: none */
	uint64_t hyper[5];
	bool finished;
};

enum guest_mode { SG_REAL, SG_PM32, SG_LM64 };

/* cpu: a model string, NULL for "max". */
void guest_init(struct guest *, const char *cpu);
void guest_fini(struct guest *);
/* Loads [image, end) at SG_ORG, sets tables and mode, and rip to entry (a symbol of the image). */
void guest_enter(struct guest *, const void *image, const void *end, const void *entry,
		 enum guest_mode);
enum vcpu_exit guest_run(struct guest *);
void guest_write(struct guest *, uint64_t gpa, const void *, size_t);
uint64_t guest_read(struct guest *, uint64_t gpa, unsigned size);
/* A 64-bit IDT for a guest that gets to 64-bit mode by itself. */
void guest_idt64(struct guest *);
void guest_set_gdt(struct guest *, unsigned sel, uint64_t raw);
/* Runs to the end and compares the log. */
void guest_expect(struct guest *, const uint32_t *want, unsigned n);
#define GUEST_EXPECT(g, ...)                                                     \
	do {                                                                     \
		static const uint32_t want_[] = { __VA_ARGS__ };                 \
		guest_expect(g, want_, ARRAY_SIZE(want_));                       \
	} while (0)
#define EXC(vector, error) (SG_EXC | (vector) << 16 | ((error) & 0xffff))
#endif

#endif

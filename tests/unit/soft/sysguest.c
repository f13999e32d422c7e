/* SPDX-License-Identifier: Apache-2.0 */
/* The machine of sysguest.h. */
#include "sysguest.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

#define RAM_SIZE MIB(64)

extern const char sg_base[], sg_stubs32[], sg_stubs64[];

static void port_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct guest *g = opaque;

	if (off == 0x80) {
		if (g->nr < ARRAY_SIZE(g->log))
			g->log[g->nr++] = (uint32_t)val;
	} else if (off == 0xf4) {
		g->finished = true;
		vcpu_kick(&g->vcpu, VCPU_EV_REQ);
	} else if (off == 0x90) { /* raise an interrupt */
		g->irq = (int)(val & 0xff);
		vcpu_kick(&g->vcpu, VCPU_EV_INTR);
	} else if (off == 0x91) {
		vcpu_kick(&g->vcpu, val ? VCPU_EV_SMI : VCPU_EV_NMI);
	}
}

static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
	return 0x11223344u + (uint32_t)off;
}

static const struct io_ops port_ops = { port_read, port_write, 1, 4 };

static int get_intr(struct vcpu *v)
{
	struct guest *g = v->ops_opaque;
	int irq = g->irq;

	g->irq = -1;
	return irq;
}

static bool has_intr(struct vcpu *v)
{
	return ((struct guest *)v->ops_opaque)->irq >= 0;
}

static uint64_t hypercall(struct vcpu *v, uint64_t nr, const uint64_t arg[4], bool wide)
{
	struct guest *g = v->ops_opaque;

	g->hyper[0] = nr;
	memcpy(g->hyper + 1, arg, 4 * sizeof(*arg));
	return 0x1234;
}

static void must(int r, const struct err *e)
{
	if (r)
		fail_msg("%s", e->msg);
}

void guest_init(struct guest *g, const char *cpu)
{
	struct err e = { 0 };

	memset(g, 0, sizeof(*g));
	g->irq = -1;
	g->vm.conf = vm_conf_new();
	g->vm.map = map_new(&e);
	g->ram = ram_new("ram", RAM_SIZE, &e);
	assert_non_null(g->vm.map);
	assert_non_null(g->ram);
	g->ram_region = (struct map_region){ .name = "ram", .space = MAP_MEM, .kind = MAP_RAM,
					     .size = RAM_SIZE, .rb = g->ram };
	must(map_add(g->vm.map, &g->ram_region, &e), &e);
	g->port_region = (struct map_region){ .name = "ports", .space = MAP_PIO, .kind = MAP_IO,
					      .size = 0x10000, .ops = &port_ops, .opaque = g };
	must(map_add(g->vm.map, &g->port_region, &e), &e);
	g->vm.nr_vcpus = 1;
	must(accel_soft.vm_init(&g->vm, cpu ? cpu : "max", &e), &e);
	g->ops = (struct vcpu_ops){ .get_intr = get_intr, .has_intr = has_intr,
				    .hypercall = hypercall };
	g->vcpu.vm = &g->vm;
	g->vcpu.ops = &g->ops;
	g->vcpu.ops_opaque = g;
	atomic_store(&g->vcpu.deadline_ns, UINT64_MAX);
	must(accel_soft.vcpu_init(&g->vcpu, &e), &e);
	g->c = soft_cpu(&g->vcpu);
	qsbr_register(map_qsbr(g->vm.map), &g->vcpu.reader);
	qsbr_online(&g->vcpu.reader);
}

void guest_fini(struct guest *g)
{
	accel_soft.vcpu_fini(&g->vcpu);
	accel_soft.vm_fini(&g->vm);
	qsbr_offline(&g->vcpu.reader);
	qsbr_unregister(&g->vcpu.reader);
	map_free(g->vm.map);
	ram_free(g->ram);
	vm_conf_free(g->vm.conf);
}

void guest_write(struct guest *g, uint64_t gpa, const void *p, size_t n)
{
	assert_true(gpa + n <= RAM_SIZE);
	memcpy(g->ram->host + gpa, p, n);
	ram_written(g->ram, gpa, n);
}

static void put(struct guest *g, uint64_t gpa, uint64_t val, unsigned size)
{
	guest_write(g, gpa, &val, size);
}

uint64_t guest_read(struct guest *g, uint64_t gpa, unsigned size)
{
	uint64_t val = 0;

	memcpy(&val, g->ram->host + gpa, size);
	return val;
}

void guest_set_gdt(struct guest *g, unsigned sel, uint64_t raw)
{
	put(g, SG_GDT + (sel & ~7u), raw, 8);
}

/* access: byte 5; flags: G, D, L, AVL as the high nibble of byte 6 */
static uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
	       (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 |
	       (uint64_t)(base >> 24) << 56;
}

static void build_gdt(struct guest *g)
{
	static const struct {
		uint16_t sel;
		uint32_t base, limit;
		uint8_t access, flags;
	} t[] = {
		{ SG_CODE32, 0, 0xfffff, 0x9b, 0xc },	{ SG_DATA32, 0, 0xfffff, 0x93, 0xc },
		{ SG_CODE64, 0, 0xfffff, 0x9b, 0xa },	{ SG_UCODE32, 0, 0xfffff, 0xfb, 0xc },
		{ SG_UDATA32, 0, 0xfffff, 0xf3, 0xc },	{ SG_UCODE64, 0, 0xfffff, 0xfb, 0xa },
		{ SG_TSS_SEL, SG_TSS, 0x12ff, 0x89, 0 }, { SG_LDT_SEL, SG_LDT, 0xff, 0x82, 0 },
		{ SG_CONFORM, 0, 0xfffff, 0x9e, 0xc },	{ SG_ABSENT, 0, 0xfffff, 0x12, 0xc },
		{ SG_RODATA, 0, 0xfffff, 0x91, 0xc },	{ SG_DOWN, 0, 0xfff, 0x96, 0x4 },
		{ SG_XONLY, 0, 0xfffff, 0x98, 0xc },	{ SG_TSS2_SEL, SG_TSS2, 0x67, 0x89, 0 },
		{ SG_CODE16, 0, 0xffff, 0x9a, 0 },	{ SG_DATA16, 0, 0xffff, 0x92, 0 },
		{ SG_SMALL, 0, 0xff, 0x92, 4 },		{ SG_CODE32_1, 0, 0xfffff, 0xba, 0xc },
		{ SG_DATA32_1, 0, 0xfffff, 0xb2, 0xc }, { SG_TSS16_SEL, SG_TSS16, 0x2b, 0x81, 0 },
		{ SG_UCODE16, 0, 0xffff, 0xfa, 0 },	{ SG_UDATA16, 0, 0xffff, 0xf2, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		guest_set_gdt(g, t[i].sel, descriptor(t[i].base, t[i].limit, t[i].access,
						      t[i].flags));
	put(g, SG_GDT + SG_TSS_SEL + 8, 0, 8);
	put(g, SG_GDT + SG_TASKGATE, (uint64_t)SG_TSS2_SEL << 16 | 0xe5ull << 40, 8);
}

static uint32_t at(const char *symbol)
{
	return (uint32_t)(symbol - sg_base) + SG_ORG;
}

static void build_idt(struct guest *g, bool lm)
{
	for (unsigned i = 0; i < 64; i++) {
		uint64_t off = at(lm ? sg_stubs64 : sg_stubs32) + 16 * i;
		unsigned dpl = i == 3 || i == 4 || i >= 0x30 ? 3 : 0;
		uint64_t gate = (off & 0xffff) | (uint64_t)(lm ? SG_CODE64 : SG_CODE32) << 16 |
				(uint64_t)(0x8e | dpl << 5) << 40 | (off >> 16) << 48;

		put(g, SG_IDT + (lm ? 16 : 8) * i, gate, 8);
		if (lm)
			put(g, SG_IDT + 16 * i + 8, 0, 8);
	}
}

void guest_idt64(struct guest *g)
{
	build_idt(g, true);
	ram_written(g->ram, SG_IDT, 1024);
}

static void build_pages(struct guest *g)
{
	put(g, SG_PML5, SG_PML4 | 7, 8);
	put(g, SG_PML4, (SG_PML4 + 0x1000) | 7, 8);
	put(g, SG_PML4 + 0x1000, (SG_PML4 + 0x2000) | 7, 8);
	for (unsigned i = 0; i < 512; i++) {
		put(g, SG_PML4 + 0x2000 + 8 * i, MIB(2) * i | 0x87, 8);
		put(g, SG_PT + 8 * i, (SG_PAGE + 4096ull * i) | 7, 8);
	}
	put(g, SG_PML4 + 0x2000 + 8, SG_PT | 7, 8);
}

static void build_tss(struct guest *g, bool lm)
{
	if (lm) {
		put(g, SG_TSS + 4, SG_STACK0, 8);
		put(g, SG_TSS + 12, SG_STACK1, 8);
		put(g, SG_TSS + 36, SG_IST, 8);
	} else {
		put(g, SG_TSS + 4, SG_STACK0, 4);
		put(g, SG_TSS + 8, SG_DATA32, 4);
		put(g, SG_TSS + 12, SG_STACK1, 4);
		put(g, SG_TSS + 16, SG_DATA32_1 | 1, 4);
	}
	put(g, SG_TSS + 102, 0x1000, 2); /* the I/O bitmap's offset */
	memset(g->ram->host + SG_TSS + 0x1000, 0xff, 0x300);
}

static struct x86_seg segment(unsigned sel, unsigned access, unsigned flags)
{
	return (struct x86_seg){ .limit = 0xffffffff, .sel = (uint16_t)sel,
				 .attr = (uint16_t)(access | flags << 8) };
}

static void set_protected(struct cpu_state *s, bool lm)
{
	for (unsigned i = 0; i < SEG_NR; i++)
		s->seg[i] = segment(SG_DATA32, 0x93, 0xc);
	s->seg[SEG_CS] = lm ? segment(SG_CODE64, 0x9b, 0xa) : segment(SG_CODE32, 0x9b, 0xc);
	s->gdtr = (struct x86_dtable){ SG_GDT, SG_GDT_LIMIT };
	s->idtr = (struct x86_dtable){ SG_IDT, lm ? 1023 : 511 };
	s->tr = (struct x86_seg){ .base = SG_TSS, .limit = 0x12ff, .sel = SG_TSS_SEL,
				  .attr = 0x8b };
	s->ldtr = (struct x86_seg){ .attr = SEG_UNUSABLE };
	s->cr0 = CR0_PE | CR0_ET | CR0_NE;
	if (lm) {
		s->cr0 |= CR0_PG | CR0_WP;
		s->cr3 = SG_PML4;
		s->cr4 = CR4_PAE;
		s->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
	}
}

void guest_enter(struct guest *g, const void *image, const void *end, const void *entry,
		 enum guest_mode mode)
{
	struct cpu_state *s = aligned_alloc(64, align_up(sizeof(*s), 64));
	struct err e = { 0 };

	memset(g->ram->host, 0, SG_ORG);
	guest_write(g, SG_ORG, image, (size_t)((const char *)end - (const char *)image));
	build_gdt(g);
	build_tss(g, mode == SG_LM64);
	build_pages(g);
	if (mode != SG_REAL)
		build_idt(g, mode == SG_LM64);
	ram_written(g->ram, 0, MIB(1));
	g->nr = 0;
	g->finished = false;
	accel_soft.reset(&g->vcpu, false);
	must(accel_soft.get_state(&g->vcpu, s), &e);
	s->rip = at(entry);
	s->gpr[RSP] = SG_STACK;
	s->seg[SEG_CS].base = s->seg[SEG_CS].sel = 0;
	s->cr0 &= ~(CR0_CD | CR0_NW);
	s->mp_state = MP_RUNNABLE;
	if (mode != SG_REAL)
		set_protected(s, mode == SG_LM64);
	if (mode == SG_LM64) /* for LTR'd state: busy in memory too */
		put(g, SG_GDT + SG_TSS_SEL, descriptor(SG_TSS, 0x12ff, 0x8b, 0), 8);
	else
		put(g, SG_GDT + SG_TSS_SEL, descriptor(SG_TSS, 0x12ff, mode ? 0x8b : 0x89, 0), 8);
	must(accel_soft.set_state(&g->vcpu, s, &e), &e);
	free(s);
}

enum vcpu_exit guest_run(struct guest *g)
{
	enum vcpu_exit why;

	alarm(20); /* a guest that hangs ends the test program */
	vcpu_clear(&g->vcpu, VCPU_EV_REQ);
	why = accel_soft.run(&g->vcpu);
	alarm(0);
	return why;
}

void guest_expect(struct guest *g, const uint32_t *want, unsigned n)
{
	enum vcpu_exit why = guest_run(g);

	for (unsigned i = 0; i < MAX(n, g->nr); i++) {
		uint32_t a = i < g->nr ? g->log[i] : 0xdeadbeef;
		uint32_t b = i < n ? want[i] : 0xdeadbeef;

		if (a == b)
			continue;
		for (unsigned j = 0; j < g->nr; j++)
			print_message("  log[%u] = %#x\n", j, g->log[j]);
		fail_msg("log[%u] is %#x, should be %#x; rip %#" PRIx64, i, a, b, g->c->rip);
	}
	assert_int_equal(why, VCPU_EXIT_INTR);
	assert_true(g->finished);
}

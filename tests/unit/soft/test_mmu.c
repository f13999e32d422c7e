/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page walks: every paging mode, every right, error codes, A and D bits, reserved bits, large and
 * global pages, flushes; accesses across pages and into devices.
 */
#include "guest_asm.h"

#include "accel/soft/mmu.h"

/* Tables of the test, behind TVM_DATA. */
#define TAB  0x200000ull
#define PAGE 0x300000ull /* pages that are mapped */
#define VA   0x40000000ull

GUEST_MACHINE(1);

static void put64(uint64_t gpa, uint64_t v)
{
	memcpy(tvm_mem(t, gpa), &v, 8);
}

static void put32(uint64_t gpa, uint32_t v)
{
	memcpy(tvm_mem(t, gpa), &v, 4);
}

static uint64_t get64(uint64_t gpa)
{
	uint64_t v;

	memcpy(&v, tvm_mem(t, gpa), 8);
	return v;
}

/* Walk VA as the guest's instruction would; the error code, or -1. */
static int walk(uint64_t lin, enum tlb_kind kind, enum tlb_priv priv, struct walk *w)
{
	struct walk dummy;

	return walk_pages(c, lin, kind, priv, true, w ? w : &dummy);
}

/* 4-level: VA -> PAGE with the given entries' bits; level entries at fixed places. */
static void map4(uint64_t pml4e, uint64_t pdpte, uint64_t pde, uint64_t pte)
{
	struct cpu_state s;

	tvm_setup(t, 0, 64, TVM_CODE);
	memset(tvm_mem(t, TAB), 0, 0x8000);
	put64(TAB + 0, (TAB + 0x1000) | pml4e);
	put64(TAB + 0x1000 + 1 * 8, (TAB + 0x2000) | pdpte);
	put64(TAB + 0x2000, (TAB + 0x3000) | pde);
	put64(TAB + 0x3000, PAGE | pte);
	tvm_get(t, 0, &s);
	s.cr3 = TAB;
	tvm_set(t, 0, &s);
}

static void set_cr(uint64_t cr0_clear, uint64_t cr4_set, uint64_t efer_clear)
{
	struct cpu_state s;

	tvm_get(t, 0, &s);
	s.cr0 &= ~cr0_clear;
	s.cr4 |= cr4_set;
	s.efer &= ~efer_clear;
	tvm_set(t, 0, &s);
}

#define NX BIT64(63)

static void test_rights_4level(void **state)
{
	struct walk w;

	map4(7, 7, 7, 7);
	assert_int_equal(walk(VA + 0x123, TLB_WRITE, TLB_USER, &w), -1);
	assert_int_equal(w.gpa, PAGE + 0x123);
	assert_int_equal(walk(VA, TLB_EXEC, TLB_USER, NULL), -1);
	/* a right that one level lacks is lacking */
	for (unsigned level = 0; level < 4; level++) {
		uint64_t e[4] = { 7, 7, 7, 7 };

		e[level] = 5;
		map4(e[0], e[1], e[2], e[3]);
		assert_int_equal(walk(VA, TLB_READ, TLB_USER, NULL), -1);
		assert_int_equal(walk(VA, TLB_WRITE, TLB_USER, NULL), PF_P | PF_W | PF_U);
		assert_int_equal(walk(VA, TLB_WRITE, TLB_SUPER, NULL), PF_P | PF_W);
		set_cr(CR0_WP, 0, 0);
		assert_int_equal(walk(VA, TLB_WRITE, TLB_SUPER, NULL), -1);
		assert_int_equal(walk(VA, TLB_WRITE, TLB_USER, NULL), PF_P | PF_W | PF_U);
		e[level] = 3;
		map4(e[0], e[1], e[2], e[3]);
		assert_int_equal(walk(VA, TLB_READ, TLB_USER, NULL), PF_P | PF_U);
		assert_int_equal(walk(VA, TLB_WRITE, TLB_SUPER, NULL), -1);
		e[level] = 7 | NX;
		map4(e[0], e[1], e[2], e[3]);
		assert_int_equal(walk(VA, TLB_EXEC, TLB_USER, NULL), PF_P | PF_U | PF_FETCH);
		assert_int_equal(walk(VA, TLB_EXEC, TLB_SUPER, NULL), PF_P | PF_FETCH);
		assert_int_equal(walk(VA, TLB_READ, TLB_USER, NULL), -1);
		e[level] = 6;
		map4(e[0], e[1], e[2], e[3]);
		assert_int_equal(walk(VA, TLB_READ, TLB_USER, NULL), PF_U);
		assert_int_equal(walk(VA, TLB_EXEC, TLB_SUPER, NULL), PF_FETCH);
	}
}

static void test_smep_smap(void **state)
{
	map4(7, 7, 7, 7);
	set_cr(0, CR4_SMEP | CR4_SMAP, 0);
	assert_int_equal(walk(VA, TLB_EXEC, TLB_SUPER, NULL), PF_P | PF_FETCH);
	assert_int_equal(walk(VA, TLB_READ, TLB_SUPER, NULL), PF_P);
	assert_int_equal(walk(VA, TLB_WRITE, TLB_SUPER, NULL), PF_P | PF_W);
	assert_int_equal(walk(VA, TLB_WRITE, TLB_SUPER_AC, NULL), -1);
	assert_int_equal(walk(VA, TLB_EXEC, TLB_USER, NULL), -1);
	map4(7, 7, 7, 3); /* a supervisor page is not concerned */
	set_cr(0, CR4_SMEP | CR4_SMAP, 0);
	assert_int_equal(walk(VA, TLB_EXEC, TLB_SUPER, NULL), -1);
	assert_int_equal(walk(VA, TLB_READ, TLB_SUPER, NULL), -1);
}

static void test_accessed_dirty(void **state)
{
	map4(7, 7, 7, 7);
	assert_int_equal(walk(VA, TLB_READ, TLB_USER, NULL), -1);
	assert_int_equal(get64(TAB) & 0x60, 0x20);
	assert_int_equal(get64(TAB + 0x1008) & 0x60, 0x20);
	assert_int_equal(get64(TAB + 0x2000) & 0x60, 0x20);
	assert_int_equal(get64(TAB + 0x3000) & 0x60, 0x20);
	assert_int_equal(walk(VA, TLB_WRITE, TLB_USER, NULL), -1);
	assert_int_equal(get64(TAB + 0x2000) & 0x60, 0x20);
	assert_int_equal(get64(TAB + 0x3000) & 0x60, 0x60);
	/* a faulting access marks nothing, a debugger's neither */
	map4(7, 7, 7, 5);
	assert_true(walk(VA, TLB_WRITE, TLB_USER, NULL) > 0);
	assert_int_equal(get64(TAB + 0x3000) & 0x60, 0);
	{
		uint64_t gpa;

		assert_true(mmu_translate_debug(c, VA + 5, &gpa));
		assert_int_equal(gpa, PAGE + 5);
		assert_int_equal(get64(TAB) & 0x60, 0);
		assert_false(mmu_translate_debug(c, VA + 0x1000, &gpa));
		assert_false(mmu_translate_debug(c, 0x800000000000ull, &gpa));
	}
}

static void test_reserved(void **state)
{
	uint64_t high = BIT64(cpu_phys_bits(c));
	struct walk w;

	map4(7, 7, 7, 7 | high);
	assert_int_equal(walk(VA, TLB_READ, TLB_USER, NULL), PF_P | PF_U | PF_RSVD);
	map4(7 | high, 7, 7, 7);
	assert_int_equal(walk(VA, TLB_WRITE, TLB_SUPER, NULL), PF_P | PF_W | PF_RSVD);
	map4(7 | 0x80, 7, 7, 7); /* PS in a PML4E */
	assert_int_equal(walk(VA, TLB_READ, TLB_SUPER, NULL), PF_P | PF_RSVD);
	map4(7, 7, 7, 7 | NX); /* NX while EFER.NXE is clear */
	set_cr(0, 0, EFER_NXE);
	assert_int_equal(walk(VA, TLB_READ, TLB_SUPER, NULL), PF_P | PF_RSVD);
	/* bit 7 of a PTE is PAT, bits 52..62 are free */
	map4(7, 7, 7, 7 | 0x80 | 0x7ff0000000000000ull);
	assert_int_equal(walk(VA, TLB_READ, TLB_SUPER, &w), -1);
	assert_int_equal(w.gpa, PAGE);
}

static void test_large(void **state)
{
	struct walk w;

	map4(7, 7, 7, 7);
	put64(TAB + 0x2000, 0x00a00000 | 0x87);
	assert_int_equal(walk(VA + 0x12345, TLB_WRITE, TLB_USER, &w), -1);
	assert_int_equal(w.gpa, 0x00a12345);
	assert_true(w.large);
	assert_int_equal(get64(TAB + 0x2000) & 0x60, 0x60);
	put64(TAB + 0x2000, 0x00a00000 | 0x1087); /* PAT bit 12 */
	assert_int_equal(walk(VA, TLB_READ, TLB_USER, NULL), -1);
	put64(TAB + 0x2000, 0x00a00000 | 0x2087); /* reserved bit 13 */
	assert_int_equal(walk(VA, TLB_READ, TLB_USER, NULL), PF_P | PF_U | PF_RSVD);
	/* 1 GiB */
	put64(TAB + 0x1008, 0x87);
	assert_int_equal(walk(VA + 0x2345678, TLB_READ, TLB_USER, &w), -1);
	assert_int_equal(w.gpa, 0x2345678);
	put64(TAB + 0x1008, 0x200087);
	assert_int_equal(walk(VA, TLB_READ, TLB_USER, NULL), PF_P | PF_U | PF_RSVD);
}

static void test_la57(void **state)
{
	uint64_t va = 18ull << 48 | VA; /* PML5 index 18 */
	struct cpu_state s;
	struct walk w;

	map4(7, 7, 7, 7);
	put64(TAB + 0x4000 + 18 * 8, TAB | 7);
	tvm_get(t, 0, &s);
	s.cr3 = TAB + 0x4000;
	s.cr4 |= CR4_LA57;
	tvm_set(t, 0, &s);
	assert_true(mmu_canonical(c, va));
	assert_false(mmu_canonical(c, 0x0100000000000000ull));
	assert_int_equal(walk(va + 9, TLB_READ, TLB_USER, &w), -1);
	assert_int_equal(w.gpa, PAGE + 9);
	assert_int_equal(walk(VA, TLB_READ, TLB_USER, NULL), PF_U);
}

static void set_mode32(uint64_t cr3, uint64_t cr4, uint64_t efer)
{
	struct cpu_state s;

	tvm_setup(t, 0, 32, TVM_CODE);
	tvm_get(t, 0, &s);
	s.cr3 = cr3;
	s.cr4 = cr4;
	s.efer = efer;
	s.cr0 |= CR0_PG | CR0_WP;
	tvm_set(t, 0, &s);
}

static void test_32bit(void **state)
{
	struct walk w;

	memset(tvm_mem(t, TAB), 0, 0x8000);
	put32(TAB + (VA >> 22) * 4, (TAB + 0x1000) | 7);
	put32(TAB + 0x1000 + 3 * 4, PAGE | 5);
	put32(TAB + (VA >> 22) * 4 + 4, 0x00800000 | 0x87);
	set_mode32(TAB, CR4_PSE, 0);
	assert_int_equal(walk(VA + 0x3abc, TLB_READ, TLB_USER, &w), -1);
	assert_int_equal(w.gpa, PAGE + 0xabc);
	assert_int_equal(walk(VA + 0x3abc, TLB_WRITE, TLB_USER, NULL), PF_P | PF_W | PF_U);
	/* no NX, no SMEP: the fetch bit stays clear */
	assert_int_equal(walk(VA, TLB_EXEC, TLB_USER, NULL), PF_U);
	assert_int_equal(walk(VA + 0x400000 + 0x54321, TLB_WRITE, TLB_USER, &w), -1);
	assert_int_equal(w.gpa, 0x00854321);
	assert_true(w.large);
	/* PSE-36: bits 20:13 are address bits 39:32; 21 is reserved */
	put32(TAB + (VA >> 22) * 4 + 4, 0x00800000 | 0x87 | 3 << 13);
	assert_int_equal(walk(VA + 0x400000, TLB_READ, TLB_USER, &w), -1);
	assert_int_equal(w.gpa, 0x300800000ull);
	put32(TAB + (VA >> 22) * 4 + 4, 0x00800000 | 0x87 | 1 << 21);
	assert_int_equal(walk(VA + 0x400000, TLB_READ, TLB_USER, NULL), PF_P | PF_U | PF_RSVD);
	/* without PSE the bit means nothing */
	put32(TAB + (VA >> 22) * 4 + 4, (TAB + 0x1000) | 0x87);
	set_mode32(TAB, 0, 0);
	assert_int_equal(walk(VA + 0x403000, TLB_READ, TLB_USER, &w), -1);
	assert_int_equal(w.gpa, PAGE);
}

static void test_pae(void **state)
{
	struct walk w;

	memset(tvm_mem(t, TAB), 0, 0x8000);
	put64(TAB + 8, (TAB + 0x1000) | 1); /* PDPTE 1: VA */
	put64(TAB + 0x1000, (TAB + 0x2000) | 7);
	put64(TAB + 0x1008, 0x00a00000 | 0x87);
	put64(TAB + 0x2000 + 8, PAGE | 7 | NX);
	set_mode32(TAB, CR4_PAE, EFER_NXE);
	assert_int_equal(walk(VA + 0x1010, TLB_WRITE, TLB_USER, &w), -1);
	assert_int_equal(w.gpa, PAGE + 0x10);
	assert_int_equal(walk(VA + 0x1000, TLB_EXEC, TLB_USER, NULL), PF_P | PF_U | PF_FETCH);
	assert_int_equal(walk(VA + 0x200000 + 0x777, TLB_READ, TLB_USER, &w), -1);
	assert_int_equal(w.gpa, 0x00a00777);
	assert_int_equal(walk(0x80000000, TLB_READ, TLB_USER, NULL), PF_U);
	/* PDPTEs are loaded with CR3, not walked */
	put64(TAB + 8, 0);
	assert_int_equal(walk(VA + 0x1010, TLB_READ, TLB_USER, NULL), -1);
	assert_true(mmu_load_pdptes(c, TAB));
	assert_int_equal(walk(VA + 0x1010, TLB_READ, TLB_USER, NULL), PF_U);
	put64(TAB + 16, 3); /* bit 1 is reserved */
	assert_false(mmu_load_pdptes(c, TAB));
	/* bits 52..62 of the other entries are reserved too */
	put64(TAB + 8, (TAB + 0x1000) | 1);
	put64(TAB + 16, 0);
	put64(TAB + 0x1000, (TAB + 0x2000) | 7 | BIT64(60));
	assert_true(mmu_load_pdptes(c, TAB));
	assert_int_equal(walk(VA + 0x1000, TLB_READ, TLB_USER, NULL), PF_P | PF_U | PF_RSVD);
}

/* A store over two pages of which the second is read-only writes nothing and reports it. */
GUEST(cross_store, "mov $0x1122334455667788, %rax\n"
		   "mov $0x40000ffd, %ebx\n"
		   "mov %rax, (%rbx)\n"
		   "hlt\n");

static void map_code(void)
{
	/* low 2 MiB for code, stack and tables of the machine */
	put64(TAB + 0x1000, (TAB + 0x5000) | 7);
	put64(TAB + 0x5000, 0x87);
	put64(TAB + 0x5008, 0x200087);
}

static void test_crossing(void **state)
{
	struct cpu_state s;
	uint8_t *page = tvm_mem(t, PAGE);

	PUT_GUEST(t, TVM_CODE, cross_store);
	map4(7, 7, 7, 7);
	map_code();
	put64(TAB + 0x3008, (PAGE + 0x5000) | 5);
	memset(page, 0xee, 0x8000);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), X86_PF);
	assert_int_equal(tvm_frame(t, 0, 0), PF_P | PF_W);
	assert_int_equal(c->s.cr2, VA + 0x1000);
	assert_int_equal(page[0xffd], 0xee);
	assert_int_equal(tvm_frame(t, 0, 1), TVM_CODE + 15);
	/* and with both writable it lands on two pages that are apart */
	map4(7, 7, 7, 7);
	map_code();
	put64(TAB + 0x3008, (PAGE + 0x5000) | 7);
	tvm_get(t, 0, &s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(page[0xffd], 0x88);
	assert_int_equal(page[0xfff], 0x66);
	assert_int_equal(page[0x1000], 0xee);
	assert_int_equal(page[0x5000], 0x55);
	assert_int_equal(page[0x5004], 0x11);
	assert_int_equal(page[0x5005], 0xee);
}

/* The TLB keeps what INVLPG and CR3 do not drop, and drops what they do. */
GUEST(flush_code, "mov $0x40000000, %ebx\n"
		  "mov $0x203000, %esi\n" /* the PTE */
		  "mov (%rbx), %al\n"
		  "movabs $0x305007, %rcx\n"
		  "mov %rcx, (%rsi)\n"
		  "invlpg (%rbx)\n"
		  "mov (%rbx), %ah\n"
		  "movabs $0x300107, %rcx\n" /* global */
		  "mov %rcx, (%rsi)\n"
		  "invlpg (%rbx)\n"
		  "mov (%rbx), %dl\n"
		  "movabs $0x305107, %rcx\n"
		  "mov %rcx, (%rsi)\n"
		  "mov %cr3, %r8\n"
		  "mov %r8, %cr3\n"
		  "mov (%rbx), %dh\n" /* still the old page */
		  "mov %cr4, %r8\n"
		  "mov %r8, %r9\n"
		  "xor $0x80, %r8\n"
		  "mov %r8, %cr4\n"
		  "mov %r9, %cr4\n"
		  "mov (%rbx), %bl\n"
		  "hlt\n");

static void test_flush(void **state)
{
	struct cpu_state s;

	PUT_GUEST(t, TVM_CODE, flush_code);
	map4(7, 7, 7, 7);
	map_code();
	tvm_get(t, 0, &s);
	s.cr4 |= CR4_PGE;
	tvm_set(t, 0, &s);
	*(uint8_t *)tvm_mem(t, PAGE) = 0xa1;
	*(uint8_t *)tvm_mem(t, PAGE + 0x5000) = 0xb2;
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RAX] & 0xffff, 0xb2a1);
	assert_int_equal(c->r[RDX] & 0xffff, 0xa1a1);
	assert_int_equal(c->r[RBX] & 0xff, 0xb2);
}

/* A device: sees sizes and values; code that runs from it. */
static uint64_t dev_last, dev_off;
static unsigned dev_size;
static const uint8_t dev_code[8] = { 0xb8, 0x44, 0x33, 0x22, 0x11, 0xff, 0xe3, 0x90 };

static uint64_t dev_read(void *opaque, uint64_t off, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)dev_code[(off + i) & 7] << (8 * i);
	return v;
}

static void dev_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	dev_off = off;
	dev_last = val;
	dev_size = size;
}

GUEST(dev_guest, "mov $0xf0000000, %ecx\n"
		 "mov (%rcx), %rsi\n"
		 "movl $0x12345678, 0x10(%rcx)\n"
		 "lea 1f(%rip), %rbx\n"
		 "jmp *%rcx\n"
		 "1: hlt\n");

static void test_device(void **state)
{
	static const struct io_ops ops = { .read = dev_read, .write = dev_write };
	struct map_region dev = { .name = "dev", .space = MAP_MEM, .kind = MAP_IO,
				  .addr = 0xf0000000, .size = 0x1000, .ops = &ops };
	struct err e = { 0 };

	assert_int_equal(map_add(t->vm.map, &dev, &e), 0);
	assert_int_equal(EXEC_GUEST(t, 64, dev_guest), VCPU_EXIT_INTR);
	map_del(t->vm.map, &dev);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(c->r[RSI], 0x90e3ff11223344b8ull);
	assert_int_equal(c->r[RAX], 0x11223344);
	assert_int_equal(dev_last, 0x12345678);
	assert_int_equal(dev_off, 0x10);
	assert_int_equal(dev_size, 4);
}

/*
 * Unused slots are zero: page 0, and what wraps around into it, must not take them for theirs; nor
 * after the memory was given back.
 */
GUEST(zero_page, "xor %ecx, %ecx\nmov (%rcx), %rax\nhlt\n");
GUEST(wraps_to_zero, "mov $-4, %rcx\nmov (%rcx), %rax\nhlt\n");

static void test_unused_slots(void **state)
{
	put64(0, 0x1122334455667788);
	for (unsigned trimmed = 0; trimmed < 2; trimmed++) {
		EXEC_GUEST(t, 64, wraps_to_zero);
		assert_int_equal(tvm_vector(t, 0), X86_PF);
		EXEC_GUEST(t, 64, zero_page);
		assert_int_equal(tvm_vector(t, 0), -1);
		assert_int_equal(c->r[RAX], 0x1122334455667788);
		mmu_trim(c);
		for (unsigned p = 0; p < TLB_PRIVS; p++)
			for (unsigned k = 0; k < TLB_KINDS; k++)
				for (unsigned i = 0; i < TLB_SIZE; i++)
					assert_true(!c->tlbs[p].e[k][i].tag ||
						    c->tlbs[p].e[k][i].tag == tlb_no_tag(i));
	}
}

/* Unaligned accesses at CPL 3 with EFLAGS.AC and CR0.AM. */
GUEST(align_guest, "mov $0x100001, %ebx\n"
		   "pushfq\n"
		   "orl $0x40000, (%rsp)\n"
		   "mov (%rbx), %cl\n"
		   "mov (%rbx), %eax\n"
		   "popfq\n"
		   "mov (%rbx), %dl\n" /* bytes are always aligned */
		   "mov (%rbx), %ax\n"
		   "hlt\n");

static void test_alignment(void **state)
{
	struct cpu_state s;

	PUT_GUEST(t, TVM_CODE, align_guest);
	tvm_setup_user(t, 0, 64, TVM_CODE);
	tvm_get(t, 0, &s);
	s.cr0 |= CR0_AM;
	tvm_set(t, 0, &s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), X86_AC);
	assert_int_equal(tvm_frame(t, 0, 0), 0);
	assert_int_equal(tvm_frame(t, 0, 1), TVM_CODE + (uint64_t)(align_guest_end - align_guest) - 4);
}

/* Stack accesses that are not canonical are #SS, others #GP. */
GUEST(stack_nc, "movabs $0x800000000000, %rsp\nsub $0, %rsp\npush %rax\nhlt\n");
GUEST(rbp_nc, "movabs $0x1000000000000, %rbp\nmov (%rbp), %eax\nhlt\n");
GUEST(sys_rbp_nc, "movabs $0x1000000000000, %rbp\nsgdt (%rbp)\nhlt\n");
GUEST(rax_nc, "movabs $0x1000000000000, %rax\nmov (%rax), %eax\nhlt\n");

static void test_non_canonical(void **state)
{
	EXEC_GUEST(t, 64, rbp_nc);
	assert_int_equal(tvm_vector(t, 0), X86_SS);
	EXEC_GUEST(t, 64, rax_nc);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	EXEC_GUEST(t, 64, sys_rbp_nc);
	assert_int_equal(tvm_vector(t, 0), X86_SS);
	/* rsp - 8 is canonical but not mapped: #PF there, and then a double fault for want of a
	 * stack, and then the end */
	assert_int_equal(EXEC_GUEST(t, 64, stack_nc), VCPU_EXIT_SHUTDOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rights_4level), cmocka_unit_test(test_smep_smap),
		cmocka_unit_test(test_accessed_dirty), cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_large),	       cmocka_unit_test(test_la57),
		cmocka_unit_test(test_32bit),	       cmocka_unit_test(test_pae),
		cmocka_unit_test(test_crossing),       cmocka_unit_test(test_flush),
		cmocka_unit_test(test_device),	       cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_unused_slots),
		cmocka_unit_test(test_non_canonical),
	};

	return cmocka_run_group_tests(tests, make, drop);
}

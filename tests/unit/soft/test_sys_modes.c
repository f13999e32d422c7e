/* SPDX-License-Identifier: Apache-2.0 */
/* Guests of sysguest_modes.S: paging modes, vendors, virtual-8086 mode, SMM. */
#include "sysguest.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

extern const char sg_base[], sg_end[];

static struct guest g;

static int setup(void **state)
{
	guest_init(&g, "max");
	return 0;
}

static int teardown(void **state)
{
	guest_fini(&g);
	return 0;
}

#define ENTER(sym, mode)                                    \
	do {                                                \
		extern const char sym[];                    \
		guest_enter(&g, sg_base, sg_end, sym, mode); \
	} while (0)
#define AT(sym) ((uint32_t)((sym) - sg_base) + SG_ORG)

static void test_la57(void **state)
{
	ENTER(mode_la57, SG_PM32);
	guest_idt64(&g);
	GUEST_EXPECT(&g, 0x57, EXC(14, 0), EXC(13, 0));
}

static void test_sysenter64(void **state)
{
	g.c->vm->model->vendor = X86_VENDOR_INTEL;
	ENTER(mode_sysenter64, SG_LM64);
	GUEST_EXPECT(&g, (SG_CODE64 + 32) | 3, (SG_CODE64 + 40) | 3, SG_STACK3, SG_CODE64,
		     SG_STACK0, 0, EXC(13, 0), SG_CODE64);
}

static void test_syscall32(void **state)
{
	extern const char mode_syscall32_next[];

	g.c->vm->model->vendor = X86_VENDOR_INTEL;
	ENTER(mode_syscall32, SG_LM64);
	GUEST_EXPECT(&g, SG_UCODE32, EXC(6, 0));
	g.c->vm->model->vendor = X86_VENDOR_AMD;
	ENTER(mode_syscall32, SG_LM64);
	assert_int_equal(guest_run(&g), VCPU_EXIT_INTR);
	assert_int_equal(g.nr, 3);
	assert_int_equal(g.log[0], SG_UCODE32);
	assert_int_equal(g.log[1], SG_CODE64);
	assert_int_equal(g.log[2], AT(mode_syscall32_next));
}

static void test_v86_iopl3(void **state)
{
	ENTER(mode_v86_iopl3, SG_PM32);
	GUEST_EXPECT(&g, SG_STACK0 - 36, 0x23202, SG_STACK - 0x200, 0x3002, 0x3202, 0x800, 0x800);
}

static void load_smm(const char *from, const char *to)
{
	guest_write(&g, 0x30000 + 0x8000, from, (size_t)(to - from));
}

static void test_smm(void **state)
{
	extern const char smm_irq[], smm_irq_end[], smm_nmi[], smm_nmi_end[];
	extern const char smm_bad[], smm_bad_end[], smm_bad_cr4[], smm_bad_cr4_end[];

	ENTER(mode_smm_halt, SG_LM64);
	load_smm(smm_irq, smm_irq_end);
	GUEST_EXPECT(&g, 1, 0x25, 3);
	ENTER(mode_smm_nmi, SG_LM64);
	load_smm(smm_nmi, smm_nmi_end);
	GUEST_EXPECT(&g, 1, 2, 3);
	ENTER(mode_smm_nmi, SG_LM64);
	load_smm(smm_bad, smm_bad_end);
	assert_int_equal(guest_run(&g), VCPU_EXIT_SHUTDOWN);
	assert_int_equal(g.nr, 0);
	ENTER(mode_smm_nmi, SG_LM64);
	load_smm(smm_bad_cr4, smm_bad_cr4_end);
	assert_int_equal(guest_run(&g), VCPU_EXIT_SHUTDOWN);
	assert_int_equal(g.nr, 0);
}

/* The SMI comes while the processor sleeps: RSM goes back to sleep. */
static void test_smm_in_halt(void **state)
{
	extern const char smm_irq[], smm_irq_end[];

	ENTER(mode_smm_halt, SG_LM64);
	load_smm(smm_irq, smm_irq_end);
	g.c->s.mp_state = MP_HALTED;
	g.c->rflags |= FLAG_IF;
	vcpu_kick(&g.vcpu, VCPU_EV_SMI);
	/* first the SMI, its interrupt wakes, then the guest's own SMI and what follows */
	GUEST_EXPECT(&g, 1, EXC(0x25, 0));
}

static void test_gdt_fault(void **state)
{
	ENTER(mode_gdt_fault, SG_LM64);
	guest_write(&g, SG_PT + 8, &(uint64_t){ 0 }, 8);
	/* the delivery of the #PF needs the GDT as well: double, then triple fault */
	assert_int_equal(guest_run(&g), VCPU_EXIT_SHUTDOWN);
	assert_int_equal(g.c->s.cr2, SG_PAGE + 0x1000 + SG_CODE64);
}

static void test_lm_tss16(void **state)
{
	ENTER(mode_lm_tss16, SG_PM32);
	GUEST_EXPECT(&g, EXC(13, 0));
}

static void test_pcid(void **state)
{
	ENTER(mode_pcid, SG_LM64);
	GUEST_EXPECT(&g, 0x11, 0x22, 0x11, EXC(13, 0), EXC(13, 0));
}

/* CR3 and EFER bits that are wrong in a state from outside are refused, the rest goes in. */
static void test_state_roundtrip(void **state)
{
	static struct cpu_state a, b;
	struct err e = { 0 };

	ENTER(mode_pcid, SG_LM64);
	assert_int_equal(accel_soft.get_state(&g.vcpu, &a), 0);
	a.gpr[R9] = 0x1122334455667788;
	a.kernel_gs_base = 0x99;
	a.rflags |= FLAG_CF | FLAG_OF;
	assert_int_equal(accel_soft.set_state(&g.vcpu, &a, &e), 0);
	assert_int_equal(accel_soft.get_state(&g.vcpu, &b), 0);
	assert_memory_equal(a.gpr, b.gpr, sizeof(a.gpr));
	assert_int_equal(a.rflags, b.rflags);
	assert_int_equal(b.kernel_gs_base, 0x99);
	a.mxcsr = 0x10000; /* the host would fault on it */
	assert_int_not_equal(accel_soft.set_state(&g.vcpu, &a, &e), 0);
	a.mxcsr = 0x1f80;
	a.cr0 &= ~CR0_PE;
	assert_int_not_equal(accel_soft.set_state(&g.vcpu, &a, &e), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_la57),	  T(test_sysenter64), T(test_syscall32), T(test_v86_iopl3),
		T(test_smm),	  T(test_smm_in_halt), T(test_gdt_fault), T(test_pcid),
		T(test_state_roundtrip), T(test_lm_tss16),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Small assembly guests, one per topic of the system architecture (sysguest_*.S). */
#include "sysguest.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

extern const char sg_base[], sg_end[], smm_handler[], smm_handler_end[];

/* The address of a symbol of the image, for logs that have one. */
#define AT(sym) ((uint32_t)((sym) - sg_base) + SG_ORG)

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

static void test_lm_faults(void **state)
{
	ENTER(lm_faults, SG_LM64);
	GUEST_EXPECT(&g, EXC(6, 0), EXC(13, 0), EXC(12, 0), EXC(13, 0x1234), EXC(11, SG_ABSENT),
		     EXC(13, SG_XONLY), EXC(0x35, 0), EXC(3, 0), EXC(13, 0x99 * 8 + 2), 1,
		     EXC(13, 0));
}

static void set_pte(unsigned i, uint64_t pte)
{
	guest_write(&g, SG_PT + 8 * i, &pte, 8);
}

static void test_lm_paging(void **state)
{
	ENTER(lm_paging, SG_LM64);
	set_pte(1, 0);
	set_pte(2, (SG_PAGE + 0x2000) | 5);
	set_pte(3, 0);
	set_pte(4, (SG_PAGE + 0x4000) | 7 | BIT64(51));
	set_pte(5, (SG_PAGE + 0x5000) | 7 | BIT64(63));
	set_pte(6, (SG_PAGE + 0x6000) | 7);
	GUEST_EXPECT(&g, 0, EXC(14, 0), SG_PAGE + 0x1000, EXC(14, 2), SG_PAGE + 0x1004,
		     EXC(14, 3), SG_PAGE + 0x2000, EXC(14, 0), SG_PAGE + 0x3000, EXC(14, 9),
		     SG_PAGE + 0x4000, EXC(14, 0x11), SG_PAGE + 0x5000, 0, 0x20, 0x60, 0x700d5eed);
}

static void test_lm_smap(void **state)
{
	uint64_t pde = 0x83; /* the code's own 2 MiB: supervisor */

	ENTER(lm_smap, SG_LM64);
	guest_write(&g, SG_PML4 + 0x2000, &pde, 8);
	set_pte(10, (SG_PAGE + 0xa000) | 3);
	GUEST_EXPECT(&g, EXC(14, 1), SG_PAGE, 0, EXC(14, 3), SG_PAGE, 0, EXC(14, 0x11));
}

static void test_lm_syscall(void **state)
{
	extern const char sys_back[];

	ENTER(lm_syscall, SG_LM64);
	assert_int_equal(guest_run(&g), VCPU_EXIT_INTR);
	assert_int_equal(g.nr, 7);
	assert_int_equal(g.log[0], SG_UCODE64);
	assert_int_equal(g.log[1], SG_UDATA32);
	assert_int_equal(g.log[2], SG_CODE64);
	assert_int_equal(g.log[3], SG_CODE64 + 8);
	assert_int_equal(g.log[4], AT(sys_back));
	assert_int_equal(g.log[5], 0x3203); /* IOPL, IF, CF */
	assert_int_equal(g.log[6], 0x3003); /* IF masked */
}

static void test_lm_iret(void **state)
{
	ENTER(lm_iret, SG_LM64);
	GUEST_EXPECT(&g, SG_UCODE64, EXC(0x31, 0), SG_STACK3, 2, EXC(13, 0), EXC(13, 0),
		     EXC(13, 0x20 * 8 + 2), EXC(13, SG_DATA32), 3, EXC(13, 0));
}

static void test_lm_iret_bad(void **state)
{
	ENTER(lm_iret_bad, SG_LM64);
	GUEST_EXPECT(&g, EXC(13, 0), EXC(13, 0), EXC(13, SG_DATA32), EXC(13, 0));
}

static void test_lm_ist(void **state)
{
	ENTER(lm_ist, SG_LM64);
	GUEST_EXPECT(&g, SG_IST - 40, SG_STACK - 4, SG_STACK - 4);
}

static void test_lm_double(void **state)
{
	ENTER(lm_double, SG_LM64);
	set_pte(1, 0);
	GUEST_EXPECT(&g, EXC(8, 0));
	ENTER(lm_benign, SG_LM64);
	GUEST_EXPECT(&g, EXC(11, 6 * 8 + 3));
}

static void test_lm_triple(void **state)
{
	ENTER(lm_triple, SG_LM64);
	assert_int_equal(guest_run(&g), VCPU_EXIT_SHUTDOWN);
	assert_int_equal(g.nr, 0);
	assert_false(g.finished);
}

static void test_lm_step(void **state)
{
	ENTER(lm_step, SG_LM64);
	GUEST_EXPECT(&g, 5, 0xffff4ff0);
	ENTER(lm_step_shadow, SG_LM64);
	GUEST_EXPECT(&g, 4);
}

static void test_lm_breakpoints(void **state)
{
	ENTER(lm_breakpoints, SG_LM64);
	GUEST_EXPECT(&g, 0xffff0ff1, 0xffff0ff2, 0xffff0ff2, 0xffff0ff4, EXC(1, 0), 0x400,
		     0xffff2ff0, EXC(6, 0));
}

static void test_lm_cr(void **state)
{
	ENTER(lm_cr, SG_LM64);
	GUEST_EXPECT(&g, EXC(13, 0), EXC(13, 0), EXC(13, 0), EXC(13, 0), EXC(13, 0), EXC(13, 0),
		     EXC(13, 0), EXC(13, 0), EXC(13, 0), EXC(6, 0), 5, SG_PML4 + 3, EXC(13, 0), 7,
		     0x80010031);
}

static void test_lm_xcr(void **state)
{
	ENTER(lm_xcr, SG_LM64);
	GUEST_EXPECT(&g, EXC(6, 0), 1, 1, EXC(13, 0), EXC(13, 0), 3);
}

static void test_lm_msr(void **state)
{
	ENTER(lm_msr, SG_LM64);
	GUEST_EXPECT(&g, EXC(13, 0), EXC(13, 0), EXC(13, 0), EXC(13, 0), EXC(13, 0), EXC(13, 0),
		     EXC(13, 0), EXC(13, 0), EXC(13, 0), EXC(13, 0), 0x9abc, 0x600df00d, EXC(6, 0),
		     SG_SCRATCH, 0x77, 0x42, 0x42, 1, 1, 0);
}

static void test_lm_callgate(void **state)
{
	ENTER(lm_callgate, SG_LM64);
	GUEST_EXPECT(&g, SG_STACK0 - 32, SG_CODE64, SG_UDATA32, SG_STACK3, SG_UCODE64);
}

static void test_lm_compat(void **state)
{
	ENTER(lm_compat, SG_LM64);
	GUEST_EXPECT(&g, 0, SG_CODE32, SG_CODE64);
}

static void test_lm_irq(void **state)
{
	ENTER(lm_irq, SG_LM64);
	GUEST_EXPECT(&g, 1, 0x25, 2, 0x25, 3, 1, 0x99, 2, 4);
}

static void test_lm_smm(void **state)
{
	size_t n = (size_t)(smm_handler_end - smm_handler);

	ENTER(lm_smm, SG_LM64);
	guest_write(&g, 0x30000 + 0x8000, smm_handler, n);
	guest_write(&g, 0x60000 + 0x8000, smm_handler, n);
	GUEST_EXPECT(&g, 0x3000, 0x20064, 0, 0x77, 0xffffffff, EXC(6, 0), 0x6000, 0x20064, 0, 9);
	assert_false(g.c->s.in_smm);
	assert_int_equal(g.c->s.smbase, 0x60000);
}

static void test_lm_misc(void **state)
{
	bool amd = g.c->vm->model->vendor == X86_VENDOR_AMD;

	ENTER(lm_misc, SG_LM64);
	if (amd)
		GUEST_EXPECT(&g, 0x1234, 0xa09b00, 0x12ff, EXC(13, 0), EXC(13, 0), 0xffffffff,
			     EXC(6, 0));
	else
		GUEST_EXPECT(&g, 0x1234, 0xa09b00, 0x12ff, EXC(13, 0), EXC(13, 0), 0xffffffff,
			     EXC(13, 0));
	assert_int_equal(g.hyper[0], 7);
	assert_int_equal(g.hyper[1], 1);
	assert_int_equal(g.hyper[4], 4);
}

static void test_pm_segments(void **state)
{
	ENTER(pm_segments, SG_PM32);
	guest_set_gdt(&g, SG_ABSENT, 0x00cf12000000ffff);
	GUEST_EXPECT(&g, EXC(11, SG_ABSENT), EXC(12, SG_ABSENT), EXC(13, SG_RODATA), EXC(13, 0),
		     EXC(13, SG_DATA32), EXC(13, SG_XONLY), EXC(13, 0x4c), EXC(13, 0xe0),
		     EXC(13, SG_TSS_SEL), EXC(13, 0), 1, EXC(13, 0), 2, EXC(13, 0), EXC(13, 0),
		     0x93, 0x11223344, SG_DATA32);
}

static void test_pm_verify(void **state)
{
	ENTER(pm_verify, SG_PM32);
	GUEST_EXPECT(&g, 1, 0, 0, 0, 0, 0xc09b00, 0xffffffff, 0, 1, 0x13, 0);
}

static void test_pm_callgate(void **state)
{
	ENTER(pm_callgate, SG_PM32);
	GUEST_EXPECT(&g, SG_STACK0 - 24, 0xbbbb, 0xaaaa, SG_DATA32, SG_STACK3, 0,
		     EXC(13, SG_CODE32), EXC(13, SG_TSS_SEL), SG_CONFORM + 3);
}

static void test_pm_ring3(void **state)
{
	ENTER(pm_ring3, SG_PM32);
	GUEST_EXPECT(&g, 0x321, EXC(13, 0), EXC(13, 0), EXC(13, 0), 0x202, 0x202, EXC(0x32, 0),
		     SG_STACK3, EXC(13, 0));
}

static void test_pm_task(void **state)
{
	extern const char task_b[];

	ENTER(pm_task, SG_PM32);
	GUEST_EXPECT(&g, 0xec0ec0, 0x4002, SG_TSS_SEL, 8, 0x5e1f, 0x89, SG_TSS_SEL,
		     EXC(13, SG_TSS_SEL), 2, 0xee, 0xd, 0xff, SG_ABSENT, 0x10000, 0xabc);
	ENTER(pm_task_bad, SG_PM32);
	assert_int_equal(guest_run(&g), VCPU_EXIT_INTR);
	assert_int_equal(g.nr, 4);
	assert_int_equal(g.log[0], SG_RODATA);
	assert_int_equal(g.log[1], 0x4002);
	assert_int_equal(g.log[2], SG_TSS2_SEL);
	assert_int_equal(g.log[3], AT(task_b)); /* before its first instruction */
}

static void test_pm_v86(void **state)
{
	ENTER(pm_v86, SG_PM32);
	GUEST_EXPECT(&g, 0x1234, 0, 0x20000, 0, 0, 0x20000, 0, 0, 0x20000, 0, 0x5a5a, EXC(3, 0));
}

static void test_pm_vme(void **state)
{
	ENTER(pm_vme, SG_PM32);
	GUEST_EXPECT(&g, 0x4444, 0x3002, 0x3202, 0x3002);
}

static void test_pm_sysenter(void **state)
{
	ENTER(pm_sysenter, SG_PM32);
	GUEST_EXPECT(&g, 0x18 | 3, 0x20 | 3, SG_STACK3, SG_CODE32, SG_STACK0, EXC(13, 0));
}

static void test_pm_pae(void **state)
{
	ENTER(pm_pae, SG_PM32);
	GUEST_EXPECT(&g, 0xfeed, EXC(14, 0x11), EXC(14, 0), EXC(13, 0), 0xfeed);
}

static void test_real_ints(void **state)
{
	ENTER(real_ints, SG_REAL);
	GUEST_EXPECT(&g, 0x60, 3, 1, 0xfffffffe, SG_STACK, 0xd, 0x800, 0);
}

static void test_real_to_long(void **state)
{
	ENTER(real_to_long, SG_REAL);
	GUEST_EXPECT(&g, 0xb16, 0x32, 0x500, 1, 0x100, 0x16);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_lm_faults),   T(test_lm_paging),	  T(test_lm_smap),
		T(test_lm_syscall),  T(test_lm_iret),	  T(test_lm_iret_bad),
		T(test_lm_ist),	     T(test_lm_double),	  T(test_lm_triple),
		T(test_lm_step),     T(test_lm_breakpoints), T(test_lm_cr),
		T(test_lm_xcr),	     T(test_lm_msr),	  T(test_lm_callgate),
		T(test_lm_compat),   T(test_lm_irq),	  T(test_lm_smm),
		T(test_lm_misc),     T(test_pm_segments), T(test_pm_verify),
		T(test_pm_callgate), T(test_pm_ring3),	  T(test_pm_task),
		T(test_pm_v86),	     T(test_pm_vme),	  T(test_pm_sysenter),
		T(test_pm_pae),	     T(test_real_ints),	  T(test_real_to_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Guests of sysguest_debug.S: debug exceptions and events beside HLT, REP, shadows, GD and tasks. */
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

static void test_hlt(void **state)
{
	ENTER(debug_hlt, SG_LM64);
	GUEST_EXPECT(&g, 4);
}

static void test_rep(void **state)
{
	ENTER(debug_rep, SG_LM64);
	/* DR6, RF as pushed, elements left */
	GUEST_EXPECT(&g, 0xffff0ff1, 0, 4, 0xffff0ff2, 0x10000, 1, 0);
	ENTER(debug_rep_outs, SG_LM64);
	GUEST_EXPECT(&g, 0xffff0ff1, 0, 2, 0xffff0ff2, 0x10000, 1, 0xffff0ff2, 0, 0, 0);
}

static void test_icebp(void **state)
{
	ENTER(debug_icebp, SG_LM64);
	GUEST_EXPECT(&g, 0x400, 2);
}

static void test_mov_ss(void **state)
{
	ENTER(debug_mov_ss, SG_LM64);
	GUEST_EXPECT(&g, 2);
}

static void test_sti_hlt(void **state)
{
	static const uint8_t rsm[] = { 0x0f, 0xaa };
	extern const char debug_sti_hlt_at[];

	for (unsigned smi = 0; smi < 2; smi++) {
		ENTER(debug_sti_hlt, SG_LM64);
		guest_write(&g, 0x30000 + 0x8000, rsm, sizeof(rsm));
		/* the gates, then as if the STI had just been */
		GUEST_EXPECT(&g, 1);
		g.nr = 0;
		g.finished = false;
		g.c->rip = (uint64_t)(debug_sti_hlt_at - sg_base) + SG_ORG;
		g.c->rflags |= FLAG_IF;
		g.c->s.sti_shadow = true;
		g.irq = 0x25;
		vcpu_kick(&g.vcpu, VCPU_EV_INTR | (smi ? VCPU_EV_SMI : VCPU_EV_NMI));
		if (smi)
			GUEST_EXPECT(&g, 0x25, 3);
		else
			GUEST_EXPECT(&g, 2, 0x25, 3);
	}
}

static void test_task(void **state)
{
	ENTER(debug_task, SG_PM32);
	GUEST_EXPECT(&g, 0xffff8ff0, 0, SG_TSS2_SEL, 2);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_rep), T(test_icebp), T(test_task), T(test_mov_ss), T(test_sti_hlt), T(test_hlt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

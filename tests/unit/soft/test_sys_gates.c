/* SPDX-License-Identifier: Apache-2.0 */
/* Guests of sysguest_gates.S: 16-bit gates and tasks, LDTs, faults in deliveries, ports. */
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

static void test_int16(void **state)
{
	ENTER(gate_int16, SG_PM32);
	GUEST_EXPECT(&g, SG_STACK - 6, 0xd2, SG_STACK, SG_STACK - 4, SG_CODE32, SG_STACK,
		     SG_STACK - 4, 3);
}

static void test_tss16(void **state)
{
	ENTER(gate_tss16, SG_PM32);
	GUEST_EXPECT(&g, 0xccc, 0, SG_TSS16_SEL, 0x12345678, 0);
}

static void test_ldt(void **state)
{
	ENTER(gate_ldt, SG_PM32);
	GUEST_EXPECT(&g, SG_LDT_SEL, 0x1dd, EXC(13, 0x1004), EXC(13, 0x0c), EXC(11, SG_LDT_SEL),
		     EXC(13, SG_DATA32), EXC(13, SG_TSS_SEL), 0x8b);
}

static void test_double(void **state)
{
	ENTER(gate_df_gp_np, SG_PM32);
	GUEST_EXPECT(&g, EXC(8, 0));
	ENTER(gate_int_np, SG_PM32);
	GUEST_EXPECT(&g, EXC(11, 0x24 * 8 + 2), EXC(13, SG_ABSENT), EXC(13, 0),
		     EXC(13, 0x24 * 8 + 2), EXC(13, 1));
}

static void test_bad_stack(void **state)
{
	ENTER(gate_bad_stack, SG_PM32);
	GUEST_EXPECT(&g, SG_RODATA, SG_UCODE32, 0, SG_UCODE32, SG_SMALL, SG_UCODE32);
}

static void test_retf(void **state)
{
	ENTER(gate_retf, SG_PM32);
	GUEST_EXPECT(&g, SG_UCODE32, SG_STACK3, EXC(13, SG_CODE32));
}

static void test_ports(void **state)
{
	ENTER(gate_ports, SG_PM32);
	GUEST_EXPECT(&g, 0x101, 0x202, 0x303, 0, 0x36443644, 4, 7, 0x85, EXC(1, 0), 0xffff0ff1);
}

static void test_hidden(void **state)
{
	guest_fini(&g);
	guest_init(&g, "qemu64,-rdtscp");
	ENTER(gate_hidden, SG_LM64);
	GUEST_EXPECT(&g, EXC(6, 0), EXC(6, 0), EXC(6, 0), EXC(6, 0), EXC(6, 0), EXC(6, 0),
		     EXC(6, 0), EXC(6, 0), EXC(6, 0), EXC(6, 0), EXC(6, 0), EXC(6, 0));
}

/* Every register that some kernel or firmware touches, for both vendors, by the functions. */
static void test_msr_tables(void **state)
{
	static const uint32_t both[] = { MSR_TSC, MSR_APIC_BASE, MSR_MTRRCAP, MSR_PAT, MSR_EFER,
					 MSR_STAR, MSR_MCG_CAP, 0x400, 0x40f, 0x200, 0x20f, 0x250,
					 0x258, 0x259, 0x268, 0x26f, MSR_MTRR_DEF_TYPE,
					 MSR_MISC_ENABLE, MSR_DEBUGCTL, MSR_BIOS_SIGN_ID };
	static const uint32_t amd[] = { 0xc0010015, 0xc0010010, 0xc0011029, 0xc0010004, 0xc0010201,
					0xc0010055, 0xc0010140, 0xc0010114, 0xc001001a };
	static const uint32_t intel[] = { MSR_FEATURE_CONTROL, MSR_ARCH_CAPABILITIES,
					  MSR_SPEC_CTRL, 0x17, 0xce, 0x140, 0x1b0 };
	struct x86_cpu_model *m = g.c->vm->model;
	uint64_t val;

	for (unsigned vendor = 0; vendor < 2; vendor++) {
		m->vendor = vendor;
		m->feat[X86F_ARCH_CAP / 64] |= BIT64(X86F_ARCH_CAP % 64);
		m->feat[X86F_SPEC_CTRL / 64] |= BIT64(X86F_SPEC_CTRL % 64);
		for (size_t i = 0; i < ARRAY_SIZE(both); i++)
			assert_true(msr_read(g.c, both[i], &val));
		for (size_t i = 0; i < ARRAY_SIZE(amd); i++)
			assert_int_equal(msr_read(g.c, amd[i], &val), vendor == X86_VENDOR_AMD);
		for (size_t i = 0; i < 2; i++)
			assert_int_equal(msr_read(g.c, intel[i], &val),
					 i == 1 || vendor == X86_VENDOR_INTEL);
		for (size_t i = 3; i < ARRAY_SIZE(intel); i++)
			assert_int_equal(msr_read(g.c, intel[i], &val),
					 vendor == X86_VENDOR_INTEL);
		assert_false(msr_read(g.c, 0x410, &val));
		assert_false(msr_read(g.c, 0x210, &val));
		assert_false(msr_read(g.c, 0xdeadbeef, &val));
	}
}

static void test_msr_writes(void **state)
{
	uint64_t val;

	g.c->vm->model->vendor = X86_VENDOR_INTEL;
	/* FEATURE_CONTROL locks itself */
	assert_true(msr_write(g.c, MSR_FEATURE_CONTROL, 5));
	assert_false(msr_write(g.c, MSR_FEATURE_CONTROL, 0));
	assert_true(msr_read(g.c, MSR_FEATURE_CONTROL, &val));
	assert_int_equal(val, 5);
	assert_true(msr_write(g.c, 0x200, 0x80000006));
	assert_true(msr_read(g.c, 0x200, &val));
	assert_int_equal(val, 0x80000006);
	assert_true(msr_write(g.c, 0x26f, 0x0606060606060606ull));
	assert_false(msr_write(g.c, 0x26f, 0x0206060606060606ull));
	assert_true(msr_write(g.c, MSR_PAT, 0x0007010600070106ull));
	assert_true(msr_write(g.c, 0x401, 0));
	assert_false(msr_write(g.c, 0x401, BIT64(63)));
	assert_false(msr_write(g.c, MSR_APIC_BASE, BIT64(60)));
	assert_true(msr_write(g.c, MSR_APIC_BASE, 0xfee00d00));
	/* AMD: machine-check injection by HWCR */
	g.c->vm->model->vendor = X86_VENDOR_AMD;
	assert_true(msr_write(g.c, 0xc0010015, BIT64(18)));
	assert_true(msr_write(g.c, 0x401, BIT64(63)));
	assert_true(msr_read(g.c, 0x401, &val));
	assert_true(val == BIT64(63));
	assert_true(msr_write(g.c, 0xc0010004, 1)); /* K7 counters: nothing sticks */
	assert_true(msr_read(g.c, 0xc0010004, &val));
	assert_int_equal(val, 0);
	assert_false(msr_write(g.c, 0xc0010131, 1)); /* read-only */
}

/* A board that takes what it is given: what the CPU model hides must not get so far. */
static uint64_t board_reg[2]; /* TSC_DEADLINE, SYSTEM_TIME */
static unsigned board_writes;

static int board_index(uint32_t msr)
{
	return msr == MSR_TSC_DEADLINE ? 0 : msr == MSR_KVM_SYSTEM_TIME_NEW ? 1 : -1;
}

static int board_read(struct vcpu *v, uint32_t msr, uint64_t *val)
{
	if (board_index(msr) < 0)
		return -ENOENT;
	*val = board_reg[board_index(msr)];
	return 0;
}

static int board_write(struct vcpu *v, uint32_t msr, uint64_t val)
{
	if (msr == MSR_APIC_BASE)
		return 0;
	if (board_index(msr) < 0)
		return -ENOENT;
	board_reg[board_index(msr)] = val;
	board_writes++;
	return 0;
}

static void show(unsigned feature, bool on)
{
	struct x86_cpu_model *m = g.c->vm->model;

	m->feat[feature / 64] &= ~BIT64(feature % 64);
	if (on)
		m->feat[feature / 64] |= BIT64(feature % 64);
}

static void test_msr_hidden(void **state)
{
	uint64_t val;

	g.ops.read_msr = board_read;
	g.ops.write_msr = board_write;
	assert_true(msr_write(g.c, MSR_APIC_BASE, 0xfee00d00));
	assert_false(msr_write(g.c, MSR_APIC_BASE, BIT64(50) | 0xd00));
	assert_true(msr_write(g.c, MSR_TSC_DEADLINE, 5));
	show(X86F_X2APIC, false);
	show(X86F_TSC_DEADLINE, false);
	assert_false(msr_write(g.c, MSR_APIC_BASE, 0xfee00d00));
	assert_true(msr_write(g.c, MSR_APIC_BASE, 0xfee00900));
	assert_false(msr_write(g.c, MSR_TSC_DEADLINE, 5));
	assert_false(msr_read(g.c, MSR_TSC_DEADLINE, &val));
}

/* A TSC that jumps takes along what the board made from it. */
static void test_tsc_moves(void **state)
{
	g.ops.read_msr = board_read;
	g.ops.write_msr = board_write;
	board_reg[0] = 0;
	board_reg[1] = 0x5001;
	board_writes = 0;
	assert_true(msr_write(g.c, MSR_TSC, 1000));
	assert_int_equal(board_writes, 1);
	board_reg[0] = 123;
	assert_true(msr_write(g.c, MSR_TSC_ADJUST, 0));
	assert_int_equal(board_writes, 3);
	assert_int_equal(board_reg[0], 123);
	assert_int_equal(board_reg[1], 0x5001);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_int16),	   T(test_tss16),  T(test_ldt),	   T(test_double),
		T(test_bad_stack), T(test_retf),   T(test_ports),  T(test_hidden),
		T(test_msr_tables), T(test_msr_writes),
		T(test_msr_hidden),  T(test_tsc_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

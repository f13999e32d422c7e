/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What core/accel.h promises, on a machine without a board:
 *
 *	t-accel ENGINE
 *
 * Exit code 77 (skipped) when the host cannot run the engine.
 */
#include "cmocka_all.h"
#include "soft_vm.h"
#include "base/clock.h"
#include "core/arch.h"
#include "core/dirty.h"
#include "core/stats.h"
#include "isa/x86/mce.h"
#include "isa/x86/x86.h"
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const struct accel_ops *accel;
static struct tvm *t;

static int setup(void **state)
{
	t = tvm_new_on(accel, 2, "qemu64");
	return 0;
}

static int teardown(void **state)
{
	t = tvm_free(t);
	return 0;
}

#define EXEC(bits, ...)                                         \
	({                                                      \
		static const uint8_t code_[] = { __VA_ARGS__ }; \
		tvm_exec(t, bits, code_, sizeof(code_));        \
	})

static struct cpu_state now(unsigned i)
{
	struct cpu_state s;

	tvm_get(t, i, &s);
	return s;
}

/* ---- registers of a device ---- */

static struct {
	uint64_t off, val;
	unsigned size, reads, writes;
} seen;

static uint64_t dev_read(void *opaque, uint64_t off, unsigned size)
{
	seen.off = off;
	seen.size = size;
	seen.reads++;
	return 0x1122334455667788ull;
}

static void dev_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	seen.off = off;
	seen.val = val;
	seen.size = size;
	seen.writes++;
}

static const struct io_ops dev_ops = { dev_read, dev_write, 1, 8 };

static void map_dev(struct map_region *r, enum map_space space, uint64_t addr, uint64_t size)
{
	struct err e = { 0 };

	*r = (struct map_region){
		.name = "dev", .space = space, .addr = addr, .size = size, .ops = &dev_ops
	};
	assert_int_equal(map_add(t->vm.map, r, &e), 0);
	memset(&seen, 0, sizeof(seen));
}

static void ports(void **state)
{
	struct map_region r;

	map_dev(&r, MAP_PIO, 0xe0, 16);
	/* mov $0x41,%al; out %al,$0xe9; in $0xe4,%eax; hlt */
	assert_int_equal(EXEC(32, 0xb0, 0x41, 0xe6, 0xe9, 0xe5, 0xe4, 0xf4), VCPU_EXIT_INTR);
	assert_int_equal(seen.writes, 1);
	assert_int_equal(seen.val, 0x41);
	assert_int_equal(seen.reads, 1);
	assert_int_equal(seen.off, 4);
	assert_int_equal(seen.size, 4);
	assert_int_equal(now(0).gpr[RAX], 0x55667788);
	map_del(t->vm.map, &r);
}

/* mov $data,%esi; mov $4,%ecx; mov $0xe9,%edx; cld; rep outsb; hlt */
static void string_to_port(void **state)
{
	struct map_region r;

	map_dev(&r, MAP_PIO, 0xe9, 1);
	tvm_put(t, TVM_DATA, "abcd", 4);
	EXEC(32, 0xbe, 0, 0, 0x10, 0, 0xb9, 4, 0, 0, 0, 0xba, 0xe9, 0, 0, 0, 0xfc, 0xf3, 0x6e,
	     0xf4);
	assert_int_equal(seen.writes, 4);
	assert_int_equal(seen.val, 'd');
	assert_int_equal(now(0).gpr[RSI], TVM_DATA + 4);
	assert_int_equal(now(0).gpr[RCX], 0);
	map_del(t->vm.map, &r);
}

static void registers(void **state)
{
	struct map_region r;

	map_dev(&r, MAP_MEM, 0xf0000000, 0x1000);
	/* mov $0xf0000010,%ebx; mov %rbx,(%rbx); mov (%rbx),%rcx; movzwl 2(%rbx),%edx; hlt */
	EXEC(64, 0xbb, 0x10, 0, 0, 0xf0, 0x48, 0x89, 0x1b, 0x48, 0x8b, 0x0b, 0x0f, 0xb7, 0x53, 2,
	     0xf4);
	assert_int_equal(seen.writes, 1);
	assert_int_equal(seen.val, 0xf0000010);
	assert_int_equal(seen.reads, 2);
	assert_int_equal(seen.off, 0x12);
	assert_int_equal(seen.size, 2);
	assert_int_equal(now(0).gpr[RCX], 0x1122334455667788ull);
	assert_int_equal(now(0).gpr[RDX], 0x7788);
	map_del(t->vm.map, &r);
}

/* ---- exits are counted ---- */

static bool find_row(enum exits_by by, enum exit_reason reason, struct exit_row *out)
{
	size_t n;
	autofree struct exit_row *rows = exits_collect(&t->vm, by, &n);

	for (size_t i = 0; i < n; i++)
		if (rows[i].reason == reason) {
			*out = rows[i];
			return true;
		}
	return false;
}

static void exits(void **state)
{
	struct map_region r, p;
	struct exit_row row;

	map_dev(&p, MAP_PIO, 0xe0, 16);
	map_dev(&r, MAP_MEM, 0xf0000000, 0x1000);
	/* mov $5,%ecx; 1: out %al,$0xe9; loop 1b; mov $0xf0000010,%ebx; mov (%rbx),%edx;
	 * mov $0x9999,%ecx; rdmsr */
	EXEC(64, 0xb9, 5, 0, 0, 0, 0xe6, 0xe9, 0xe2, 0xfc, 0xbb, 0x10, 0, 0, 0xf0, 0x8b, 0x13, 0xb9,
	     0x99, 0x99, 0, 0, 0x0f, 0x32, 0xf4);
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	assert_true(find_row(EXITS_BY_REASON, EXIT_PORT_WRITE, &row));
	assert_int_equal(row.count, 5);
	assert_true(row.emulate > 0);
	assert_true(!strcmp(accel->name, "soft") || row.trip);
	assert_true(find_row(EXITS_BY_SOURCE, EXIT_PORT_WRITE, &row));
	assert_string_equal(row.name, "dev");
	assert_int_equal(row.first, 0xe0);
	assert_int_equal(row.last, 0xef);
	assert_true(find_row(EXITS_BY_CODE, EXIT_PORT_WRITE, &row));
	assert_int_equal(row.count, 5);
	assert_in_range(row.rip, TVM_CODE + 5, TVM_CODE + 7); /* it, or the one behind it */
	assert_true(find_row(EXITS_BY_SOURCE, EXIT_MMIO_READ, &row));
	assert_int_equal(row.first, 0xf0000000);
	assert_int_equal(row.count, 1);
	assert_true(find_row(EXITS_BY_CODE, EXIT_MMIO_READ, &row));
	assert_in_range(row.rip, TVM_CODE + 14, TVM_CODE + 16);
	assert_true(find_row(EXITS_BY_SOURCE, EXIT_RDMSR_REFUSED, &row));
	assert_int_equal(row.first, 0x9999);
	assert_true(find_row(EXITS_BY_REASON, EXIT_HALT, &row));
	map_del(t->vm.map, &r);
	map_del(t->vm.map, &p);
}

/* How many times the guest's loop of 100 writes at 0xf0000010 rang, and reached the device. */
static void ring(int fd, uint64_t *rang, unsigned *wrote)
{
	seen.writes = 0;
	*rang = 0;
	/* mov $100,%ecx; mov $5,%eax; 1: mov %eax,0xf0000010; loop 1b; hlt */
	EXEC(32, 0xb9, 100, 0, 0, 0, 0xb8, 5, 0, 0, 0, 0xa3, 0x10, 0, 0, 0xf0, 0xe2, 0xf9, 0xf4);
	if (read(fd, rang, sizeof(*rang)) < 0)
		*rang = 0;
	*wrote = seen.writes;
}

/* A doorbell is a signal where the engine can, and else a write like any other: none is lost. */
static void doorbells(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct map_doorbell bell = { .off = 0x10, .fd = fd },
			    five = { .off = 0x10, .size = 4, .match = true, .val = 5, .fd = fd };
	struct err e = { 0 };
	struct map_region r;
	uint64_t rang;
	unsigned wrote;

	map_dev(&r, MAP_MEM, 0xf0000000, 0x1000);
	map_set_doorbells(t->vm.map, &r, &bell, 1);
	ring(fd, &rang, &wrote);
	assert_int_equal(rang, accel->doorbells ? 100 : 0);
	assert_int_equal(rang + wrote, 100);
	map_set_doorbells(t->vm.map, &r, &five, 1);
	ring(fd, &rang, &wrote);
	assert_int_equal(rang, accel->doorbells ? 100 : 0);
	assert_int_equal(rang + wrote, 100);
	five.val = 6; /* in an array of its own, as the old one is looked at until this returns */
	map_set_doorbells(t->vm.map, &r, NULL, 0);
	map_set_doorbells(t->vm.map, &r, &five, 1);
	ring(fd, &rang, &wrote);
	assert_int_equal(wrote, 100);
	/* They move with their region, and what comes to lie there has its writes for itself. */
	map_set_doorbells(t->vm.map, &r, &bell, 1);
	assert_int_equal(map_move(t->vm.map, &r, 0xf0001000, &e), 0);
	ring(fd, &rang, &wrote);
	assert_int_equal(rang + wrote, 0);
	assert_int_equal(map_move(t->vm.map, &r, 0xf0000000, &e), 0);
	ring(fd, &rang, &wrote);
	assert_int_equal(rang, accel->doorbells ? 100 : 0);
	map_set_doorbells(t->vm.map, &r, NULL, 0);
	ring(fd, &rang, &wrote);
	assert_int_equal(wrote, 100);
	map_del(t->vm.map, &r);
	map_dev(&r, MAP_PIO, 0x5000, 0x20);
	map_set_doorbells(t->vm.map, &r, &bell, 1);
	/* mov $0x5010,%dx; out %al,(%dx); hlt */
	EXEC(64, 0x66, 0xba, 0x10, 0x50, 0xee, 0xf4);
	assert_int_equal(read(fd, &rang, sizeof(rang)), accel->doorbells ? sizeof(rang) : -1);
	map_del(t->vm.map, &r);
	close(fd);
}

/* ---- memory follows the map ---- */

static void check_memory(struct ram_block *rb)
{
	struct err e = { 0 };
	struct map_region r = { .name = "more",
				.space = MAP_MEM,
				.kind = MAP_RAM,
				.addr = MIB(32),
				.size = MIB(1),
				.rb = rb };
	/* mov $0x2000000,%ebx; mov (%rbx),%ecx; movl $7,(%rbx); hlt */
	static const uint8_t code[] = { 0xbb, 0, 0, 0, 2, 0x8b, 0x0b, 0xc7, 3, 7, 0, 0, 0, 0xf4 };

	tvm_exec(t, 64, code, sizeof(code));
	assert_int_equal(now(0).gpr[RCX], 0xffffffff); /* nothing there */
	assert_int_equal(map_add(t->vm.map, &r, &e), 0);
	memcpy(rb->host, "\x78\x56\x34\x12", 4);
	tvm_exec(t, 64, code, sizeof(code));
	assert_int_equal(now(0).gpr[RCX], 0x12345678);
	assert_int_equal(rb->host[0], 7);
	assert_int_equal(map_move(t->vm.map, &r, MIB(64), &e), 0);
	tvm_exec(t, 64, code, sizeof(code));
	assert_int_equal(now(0).gpr[RCX], 0xffffffff);
	map_del(t->vm.map, &r);

	memcpy(rb->host, "\x78\x56\x34\x12", 4);
	r.kind = MAP_ROM;
	r.addr = MIB(32);
	assert_int_equal(map_add(t->vm.map, &r, &e), 0);
	tvm_exec(t, 64, code, sizeof(code));
	tvm_exec(t, 64, code, sizeof(code));
	assert_int_equal(now(0).gpr[RCX], 0x12345678); /* read, not written */
	map_del(t->vm.map, &r);
	map_synchronize(t->vm.map);
	ram_free(rb);
}

static void memory(void **state)
{
	struct err e = { 0 };

	check_memory(ram_new("more", MIB(1), &e));
}

/* A piece of RAM that changes hands under code that runs: nobody sees it gone in between. */
static void *replace_memory(void *arg)
{
	struct map_region r = { .name = "rom",
				.space = MAP_MEM,
				.kind = MAP_ROM,
				.addr = MIB(8),
				.size = KIB(64),
				.prio = 1,
				.rb = t->ram,
				.rb_off = MIB(8) };
	struct err e = { 0 };

	for (unsigned i = 0; i < 100; i++) {
		if (map_add(t->vm.map, &r, &e))
			break;
		map_del(t->vm.map, &r);
	}
	*(volatile uint32_t *)tvm_mem(t, TVM_DATA) = 1;
	return NULL;
}

static void memory_under_code(void **state)
{
	/* 1: incl 0x100004; cmpl $0,0x100000; je 1b; hlt */
	static const uint8_t code[] = { 0xff, 0x05, 4,	  0, 0x10, 0,	 0x83, 0x3d,
					0,    0,    0x10, 0, 0,	   0x74, 0xf1, 0xf4 };
	pthread_t th;

	memset(tvm_mem(t, TVM_DATA), 0, 4);
	tvm_put(t, TVM_CODE, code, sizeof(code));
	tvm_setup(t, 0, 32, TVM_CODE);
	assert_int_equal(pthread_create(&th, NULL, replace_memory, NULL), 0);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	pthread_join(th, NULL);
	assert_int_equal(now(0).rip, TVM_CODE + sizeof(code));
	assert_string_equal(t->v[0]->fail, "");
}

/* ---- exceptions and interrupts ---- */

static void exceptions(void **state)
{
	assert_int_equal(EXEC(64, 0x0f, 0x0b), VCPU_EXIT_INTR); /* ud2 */
	assert_int_equal(tvm_vector(t, 0), X86_UD);
	EXEC(64, 0x48, 0xb8, 0, 0, 0, 0, 1, 0, 0, 0, 0x8b,
	     0); /* mov $0x100000000,%rax; mov (%rax),%eax */
	assert_int_equal(tvm_vector(t, 0), X86_PF);
	assert_int_equal(now(0).cr2, 0x100000000);
	EXEC(16, 0xcd, 0x21); /* int $0x21 */
	assert_int_equal(tvm_vector(t, 0), 0x21);
}

static void triple_fault(void **state)
{
	/* lidt of an empty table (at TVM_DATA), ud2 */
	tvm_put(t, TVM_DATA, "\0\0\0\0\0\0\0\0\0\0", 10);
	assert_int_equal(EXEC(64, 0x0f, 0x01, 0x1c, 0x25, 0, 0, 0x10, 0, 0x0f, 0x0b),
			 VCPU_EXIT_SHUTDOWN);
}

static void interrupts(void **state)
{
	/* sti; nop; 1: jmp 1b */
	atomic_store(&t->intr[0], 0x51 + 1);
	vcpu_kick(t->v[0], VCPU_EV_INTR);
	assert_int_equal(EXEC(64, 0xfb, 0x90, 0xeb, 0xfe), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), 0x51);
	/* masked: stays, until the guest takes it behind the loop. mov $1000,%ecx; 1: loop 1b; sti;
	 * nop; hlt */
	atomic_store(&t->intr[0], 0x52 + 1);
	vcpu_kick(t->v[0], VCPU_EV_INTR);
	EXEC(64, 0xb9, 0xe8, 3, 0, 0, 0xe2, 0xfe, 0xfb, 0x90, 0xf4);
	assert_int_equal(tvm_vector(t, 0), 0x52);
	assert_int_equal(now(0).gpr[RCX], 0);
	vcpu_kick(t->v[0], VCPU_EV_NMI);
	EXEC(64, 0xeb, 0xfe);
	assert_int_equal(tvm_vector(t, 0), X86_NMI);
}

/* cli; 1: hlt; jmp 1b, with an interrupt that is masked: sleeps, and stops when told. */
static void masked_halt(void **state)
{
	atomic_store(&t->intr[0], 0x51 + 1);
	vcpu_kick(t->v[0], VCPU_EV_INTR);
	assert_int_equal(EXEC(64, 0xfa, 0xf4, 0xeb, 0xfd), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), -1);
	atomic_store(&t->intr[0], 0);
}

/* ---- model-specific registers ---- */

static uint64_t msr_written;

static int on_read_msr(struct vcpu *v, uint32_t msr, uint64_t *val)
{
	if (msr == 0x802) {
		*val = 0x123456789ull;
		return 0;
	}
	return msr == 0x80b ? -EINVAL : -ENOENT;
}

static int on_write_msr(struct vcpu *v, uint32_t msr, uint64_t val)
{
	if (msr != 0x808)
		return -ENOENT;
	msr_written = val;
	return 0;
}

static void msrs(void **state)
{
	t->ops.read_msr = on_read_msr;
	t->ops.write_msr = on_write_msr;
	/* mov $0x808,%ecx; mov $5,%eax; mov $6,%edx; wrmsr; mov $0x802,%ecx; rdmsr; hlt */
	EXEC(64, 0xb9, 8, 8, 0, 0, 0xb8, 5, 0, 0, 0, 0xba, 6, 0, 0, 0, 0x0f, 0x30, 0xb9, 2, 8, 0, 0,
	     0x0f, 0x32, 0xf4);
	assert_int_equal(tvm_vector(t, 0), -1);
	assert_int_equal(msr_written, 0x600000005ull);
	assert_int_equal(now(0).gpr[RAX], 0x23456789);
	assert_int_equal(now(0).gpr[RDX], 1);
	EXEC(64, 0xb9, 0xb, 8, 0, 0, 0x0f, 0x32, 0xf4); /* refused by the board */
	assert_int_equal(tvm_vector(t, 0), X86_GP);
	EXEC(64, 0xb9, 0x99, 0x99, 0, 0, 0x0f, 0x32, 0xf4); /* nobody's */
	assert_int_equal(tvm_vector(t, 0), X86_GP);
}

/* What RDMSR gives; false: #GP. */
static bool rdmsr(uint32_t msr, uint64_t *val)
{
	uint8_t code[] = { 0xb9, 0, 0, 0, 0, 0x0f, 0x32, 0xf4 }; /* mov $msr,%ecx; rdmsr; hlt */
	struct cpu_state s;

	memcpy(code + 1, &msr, 4);
	tvm_exec(t, 64, code, sizeof(code));
	s = now(0);
	*val = s.gpr[RDX] << 32 | (uint32_t)s.gpr[RAX];
	return tvm_vector(t, 0) != X86_GP;
}

/* A guest finds the same registers on each engine, whatever KVM knows beside them. */
static void same_msrs(void **state)
{
	static const uint32_t nobodys[] = { 0x186,	0xc1,	    0x345,	0x480,	   0x1234,
					    0xc0000300, 0xc0012345, 0x40000000, 0xdeadbeef };
	struct exit_row row;
	uint32_t id[4];
	uint64_t val;

	for (size_t i = 0; i < ARRAY_SIZE(nobodys); i++)
		assert_false(rdmsr(nobodys[i], &val));
	assert_true(find_row(EXITS_BY_REASON, EXIT_RDMSR_REFUSED, &row));
	assert_int_equal(row.count, ARRAY_SIZE(nobodys));
	accel->cpuid(t->v[0], 0, 0, id);
	assert_true(rdmsr(MSR_MCG_CAP, &val));
	assert_int_equal(val, 0x104 | (id[1] == 0x756e6547 ? MCG_SER_P : 0)); /* "Genu" */
	assert_true(rdmsr(MSR_PAT, &val));
	assert_int_equal(val, 0x0007040600070406ull);
	if (id[1] == 0x68747541) { /* "Auth": VM_CR says that SVM is off */
		assert_true(rdmsr(0xc0010114, &val));
		assert_int_equal(val, 0x10);
		assert_true(rdmsr(0x8b, &val));
		assert_int_equal(val, 0x01000065);
	} else { /* TEMPERATURE_TARGET, CORE_THREAD_COUNT */
		assert_true(rdmsr(0x1a2, &val));
		assert_int_equal(val, 100 << 16);
		assert_true(rdmsr(0x35, &val));
		assert_int_equal(val, 0x10001);
	}
}

/* ---- being told to stop, and time ---- */

static void *kick_later(void *arg)
{
	struct timespec ts = { .tv_nsec = 20000000 };

	nanosleep(&ts, NULL);
	vcpu_kick(t->v[0], VCPU_EV_REQ);
	return NULL;
}

static void kick(void **state)
{
	pthread_t th;

	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(pthread_create(&th, NULL, kick_later, NULL), 0);
		assert_int_equal(EXEC(64, 0xeb, 0xfe), VCPU_EXIT_INTR);
		pthread_join(th, NULL);
		assert_int_equal(now(0).rip, TVM_CODE);
	}
}

static void on_timer(struct vcpu *v)
{
	vcpu_kick(v, VCPU_EV_REQ);
}

static void deadline(void **state)
{
	uint64_t start = clock_now_ns();

	t->ops.timer = on_timer;
	atomic_store(&t->v[0]->deadline_ns, start + 10 * NS_PER_MS);
	EXEC(64, 0xeb, 0xfe);
	assert_true(clock_now_ns() - start >= 10 * NS_PER_MS);
	t->keep_halted = true;
	start = clock_now_ns();
	atomic_store(&t->v[0]->deadline_ns, start + 10 * NS_PER_MS);
	EXEC(64, 0xfb, 0xf4); /* sti; hlt */
	assert_true(clock_now_ns() - start >= 10 * NS_PER_MS);
	assert_int_equal(atomic_load(&t->v[0]->deadline_ns), UINT64_MAX);
	t->keep_halted = false;
}

/* Whether a vCPU takes interrupts is said by its new state, not by the last one that ran. */
static void interrupts_follow_state(void **state)
{
	struct cpu_state s;

	EXEC(64, 0xfb, 0xf4); /* sti; hlt */
	atomic_store(&t->intr[0], 0x51 + 1);
	vcpu_kick(t->v[0], VCPU_EV_INTR);
	EXEC(64, 0x90, 0xf4); /* nop; hlt, with IF clear */
	assert_int_equal(tvm_vector(t, 0), -1);

	tvm_setup(t, 0, 64, TVM_CODE);
	tvm_get(t, 0, &s);
	s.rflags |= FLAG_IF;
	s.mp_state = MP_HALTED;
	tvm_set(t, 0, &s);
	vcpu_kick(t->v[0], VCPU_EV_INTR);
	t->ops.timer = on_timer;
	t->keep_halted = true;
	atomic_store(&t->v[0]->deadline_ns, clock_now_ns() + 500 * NS_PER_MS);
	tvm_run(t, 0);
	t->keep_halted = false;
	assert_int_equal(tvm_vector(t, 0), 0x51);
}

/* ---- starting processors ---- */

static void start_up(void **state)
{
	struct cpu_state s;

	accel->reset(t->v[1], false);
	s = now(1);
	assert_int_equal(s.mp_state, MP_WAIT_SIPI);
	assert_int_equal(s.rip, 0xfff0);
	assert_int_equal(s.seg[SEG_CS].base, 0xffff0000);
	/* at 8000:0: mov $0x77,%al; hlt */
	tvm_put(t, 0x8000, "\xb0\x77\xf4", 3);
	vcpu_kick(t->v[1], VCPU_EV_INIT);
	atomic_store(&t->v[1]->sipi_vector, 8);
	vcpu_kick(t->v[1], VCPU_EV_SIPI);
	assert_int_equal(tvm_run(t, 1), VCPU_EXIT_INTR);
	s = now(1);
	assert_int_equal(s.gpr[RAX] & 0xff, 0x77);
	assert_int_equal(s.seg[SEG_CS].sel, 0x800);
	assert_int_equal(s.seg[SEG_CS].base, 0x8000);
}

/* INIT waits for the end of system management mode, and is part of the state while it does. */
static void init_in_smm(void **state)
{
	/* in $0xe9,%al; in $0xe9,%al; hlt */
	static const uint8_t code[] = { 0xe4, 0xe9, 0xe4, 0xe9, 0xf4 };
	struct cpu_state s;

	tvm_put(t, TVM_CODE, code, sizeof(code));
	tvm_setup(t, 0, 32, TVM_CODE);
	s = now(0);
	s.in_smm = true;
	tvm_set(t, 0, &s);
	vcpu_kick(t->v[0], VCPU_EV_INIT);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	s = now(0);
	assert_int_equal(s.rip, TVM_CODE + sizeof(code));
	assert_true(s.in_smm);
	assert_true(s.init_pending);
	/* Out of it, the INIT is taken; the other processors wait for a SIPI behind it. */
	s.in_smm = false;
	s.mp_state = MP_RUNNABLE;
	tvm_setup(t, 1, 32, TVM_CODE);
	s.apic_base = now(1).apic_base;
	tvm_set(t, 1, &s);
	assert_int_equal(tvm_run(t, 1), VCPU_EXIT_INTR);
	assert_int_equal(now(1).seg[SEG_CS].base, 0xffff0000);
	assert_int_equal(now(1).mp_state, MP_WAIT_SIPI);
	assert_false(now(1).init_pending);
}

/* ---- state ---- */

static void fill(struct cpu_state *s)
{
	for (unsigned i = 0; i < 16; i++) {
		s->gpr[i] = 0x0101010101010101ull * (i + 1);
		memset(s->vec[i], (int)i + 1, 16);
	}
	for (unsigned i = 0; i < 8; i++)
		memset(s->st[i], (int)i + 0x40, 10);
	for (unsigned i = 0; i < 4; i++)
		s->dr[i] = 0x1000 * (i + 1);
	s->fcw = 0x37f;
	s->fsw = 0x3800;
	s->ftw = 0xff;
	s->mxcsr = 0x1fa0;
	s->dr6 = 0xffff0ff1;
	s->dr7 = 0x500;
	s->rflags = FLAG_R1 | FLAG_CF | FLAG_DF | FLAG_IF | FLAG_ID;
	s->rip = 0xffffffff81234567ull;
	s->cr2 = 0x123456789000ull;
	s->star = 0x0023001000000000ull;
	s->lstar = 0xffffffff81000000ull;
	s->sfmask = 0x47700;
	s->kernel_gs_base = 0xffff888000000000ull;
	s->seg[SEG_FS].base = 0x7f0011223344ull;
	s->seg[SEG_GS].base = 0xffff888012345678ull;
	s->sysenter_cs = 0x10;
	/* 32 bits: more there are on Intel's processors only */
	s->sysenter_esp = 0xc0001000;
	s->sysenter_eip = 0xc1800000;
	s->pat = 0x0407050600070106ull;
	s->nmi_masked = true;
	s->mtrr_def_type = 0xc06;
	s->mtrr_base[0] = 0xb0000000;
	s->mtrr_mask[0] = 0xfff0000800ull;
	s->mtrr_fixed[3] = 0x0606060606060606ull;
}

#define SAME(m) assert_memory_equal(&a.m, &b.m, sizeof(a.m))

/* What is on its way to a vCPU that stands still. */
static void events_survive(void **state)
{
	uint8_t buf[ACCEL_EXTRA_MAX];
	struct cpu_state a, b;

	tvm_setup(t, 1, 64, TVM_CODE);
	tvm_get(t, 1, &a);
	a.nmi_pending = a.smi_pending = a.init_pending = a.sipi_pending = true;
	a.sipi_vector = 0x12;
	a.mp_state = MP_SHUTDOWN;
	a.event_injected = a.event_has_error = true;
	a.event_type = X86_EVENT_EXCEPTION;
	a.event_vector = X86_PF;
	a.event_error = 3;
	tvm_set(t, 1, &a);
	tvm_get(t, 1, &b);
	assert_true(b.nmi_pending && b.smi_pending && b.init_pending && b.sipi_pending);
	assert_int_equal(b.sipi_vector, 0x12);
	assert_int_equal(b.mp_state, MP_SHUTDOWN);
	assert_true(b.event_injected && b.event_has_error);
	assert_int_equal(b.event_vector, X86_PF);
	assert_int_equal(b.event_error, 3);
	assert_int_equal(vcpu_events(t->v[1]) & VCPU_EV_INIT, VCPU_EV_INIT);
	/* and what is not any more is gone */
	a.nmi_pending = a.smi_pending = a.init_pending = a.sipi_pending = false;
	a.event_injected = false;
	tvm_set(t, 1, &a);
	tvm_get(t, 1, &b);
	assert_false(b.nmi_pending || b.smi_pending || b.init_pending || b.sipi_pending ||
		     b.event_injected);
	assert_int_equal(tvm_run(t, 1), VCPU_EXIT_SHUTDOWN);
	/* A guest without guests has nothing that another engine could not take. */
	if (accel->get_extra)
		assert_int_equal(accel->get_extra(t->v[1], buf, sizeof(buf)), 0);
}

/* A #PF whose delivery another engine had begun arrives with its error code. */
static void delivery_goes_on(void **state)
{
	struct cpu_state s;

	tvm_setup(t, 0, 64, TVM_CODE);
	tvm_get(t, 0, &s);
	s.event_injected = s.event_has_error = true;
	s.event_type = X86_EVENT_EXCEPTION;
	s.event_vector = X86_PF;
	s.event_error = 2;
	tvm_set(t, 0, &s);
	tvm_run(t, 0);
	assert_int_equal(tvm_vector(t, 0), X86_PF);
	s = now(0);
	assert_int_equal(*(uint64_t *)tvm_mem(t, s.gpr[RSP]), 2);
	assert_int_equal(*(uint64_t *)tvm_mem(t, s.gpr[RSP] + 8), TVM_CODE);
}

/* PAE paging goes by the PDPTEs that were loaded, not by those in memory. */
static void pdptes_survive(void **state)
{
	struct cpu_state a, b;

	tvm_setup(t, 0, 32, TVM_CODE);
	tvm_get(t, 0, &a);
	a.cr3 = TVM_DATA;
	memset(tvm_mem(t, TVM_DATA), 0, 32);
	a.has_pdptes = true;
	a.pdpte[0] = (TVM_PML4 + 0x2000) | 1;
	a.pdpte[3] = (TVM_PML4 + 0x5000) | 1;
	a.cr0 |= CR0_PG;
	tvm_set(t, 0, &a);
	tvm_get(t, 0, &b);
	if (!b.has_pdptes)
		skip(); /* a KVM before Linux 5.14, or one on AMD: it reads them from memory */
	SAME(pdpte);
}

static void state_survives(void **state)
{
	struct cpu_state a, b;

	tvm_setup(t, 0, 64, TVM_CODE);
	tvm_get(t, 0, &a);
	fill(&a);
	tvm_set(t, 0, &a);
	tvm_get(t, 0, &b);
	SAME(gpr);
	SAME(rip);
	SAME(rflags);
	for (unsigned i = 0; i < SEG_NR; i++) {
		SAME(seg[i].base);
		SAME(seg[i].limit);
		SAME(seg[i].sel);
		SAME(seg[i].attr);
	}
	SAME(gdtr.base);
	SAME(gdtr.limit);
	SAME(idtr.base);
	SAME(tr.base);
	SAME(tr.sel);
	SAME(cr0);
	SAME(cr2);
	SAME(cr3);
	SAME(cr4);
	SAME(efer);
	SAME(dr);
	SAME(dr6);
	SAME(dr7);
	SAME(fcw);
	SAME(fsw);
	SAME(ftw);
	SAME(mxcsr);
	for (unsigned i = 0; i < 8; i++)
		assert_memory_equal(a.st[i], b.st[i], 10);
	for (unsigned i = 0; i < 16; i++)
		assert_memory_equal(a.vec[i], b.vec[i], 16);
	SAME(star);
	SAME(lstar);
	SAME(sfmask);
	SAME(kernel_gs_base);
	SAME(sysenter_cs);
	SAME(sysenter_esp);
	SAME(sysenter_eip);
	SAME(pat);
	SAME(mtrr_def_type);
	SAME(mtrr_base);
	SAME(mtrr_mask);
	SAME(mtrr_fixed);
	SAME(nmi_masked);
	SAME(mp_state);
}

static void bad_state_is_refused(void **state)
{
	struct err e = { 0 };
	struct cpu_state s;

	tvm_setup(t, 0, 64, TVM_CODE);
	tvm_get(t, 0, &s);
	s.mp_state = 99;
	assert_true(accel->set_state(t->v[0], &s, &e) < 0);
	assert_non_null(strstr(e.msg, "99"));
	tvm_get(t, 0, &s);
	s.cr0 = CR0_PG;
	assert_true(accel->set_state(t->v[0], &s, &e) < 0);
}

static void same_cpuid(uint32_t leaf, uint32_t sub)
{
	/* cpuid; hlt */
	static const uint8_t code[] = { 0x0f, 0xa2, 0xf4 };
	struct cpu_state s;
	uint32_t r[4];

	tvm_put(t, TVM_CODE, code, sizeof(code));
	tvm_setup(t, 0, 64, TVM_CODE);
	tvm_get(t, 0, &s);
	s.gpr[RAX] = leaf;
	s.gpr[RCX] = sub;
	tvm_set(t, 0, &s);
	tvm_run(t, 0);
	accel->cpuid(t->v[0], leaf, sub, r);
	s = now(0);
	assert_int_equal(s.gpr[RAX], r[0]);
	assert_int_equal(s.gpr[RBX], r[1]);
	assert_int_equal(s.gpr[RCX], r[2]);
	assert_int_equal(s.gpr[RDX], r[3]);
}

/* The guest's CPUID is what the engine tells the board. */
static void cpuid(void **state)
{
	static const uint32_t leaves[] = { 0, 1, 7, 0x80000000, 0x80000001, 0x80000008 };

	for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++)
		same_cpuid(leaves[i], 0);
}

/* All that the engine has, and the guest is told all of it. */
static void host_model(void **state)
{
	static const uint32_t leaves[][2] = {
		{ 1, 0 },	   { 7, 0 },	      { 7, 1 },		 { 7, 2 },
		{ 0xd, 0 },	   { 0xd, 1 },	      { 0xd, 2 },	 { 0xd, 5 },
		{ 0xd, 7 },	   { 0xd, 9 },	      { 0x80000001, 0 }, { 0x80000007, 0 },
		{ 0x80000008, 0 }, { 0x8000000a, 0 }, { 0x80000021, 0 },
	};
	struct cpu_state s;
	uint32_t r[4];

	tvm_free(t);
	t = tvm_new_on(accel, 2, "host,migratable=off");
	for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++)
		same_cpuid(leaves[i][0], leaves[i][1]);
	/* An area of the size that CPUID tells holds what it tells of. */
	accel->cpuid(t->v[0], 0xd, 0, r);
	tvm_setup(t, 0, 64, TVM_CODE);
	tvm_get(t, 0, &s);
	s.xcr0 = r[0];
	s.vec[3][20] = 0x5a;
	tvm_set(t, 0, &s);
	tvm_get(t, 0, &s);
	assert_int_equal(s.xcr0, r[0]);
	assert_int_equal(s.vec[3][20], r[0] & 4 ? 0x5a : 0);
	tvm_free(t);
	t = tvm_new_on(accel, 2, "host,-avx,-xsaveopt");
	accel->cpuid(t->v[0], 1, 0, r);
	assert_false(r[2] & BIT32(28));
	same_cpuid(1, 0);
}

/* ---- dirty pages ---- */

static uint64_t dirty[TVM_RAM / 4096 / 64];

static uint64_t fetch(void)
{
	struct err e = { 0 };
	uint64_t n = 0;

	memset(dirty, 0, sizeof(dirty));
	assert_int_equal(dirty_fetch(&t->vm, t->ram, dirty, &n, &e), 0);
	return n;
}

static bool is_dirty(uint64_t gpa)
{
	return dirty[gpa >> 18] >> (gpa >> 12 & 63) & 1;
}

/* mov $0x200000,%ebx; movb $7,(%rbx); movb $7,0x5001(%rbx); hlt */
static const uint8_t two_stores[] = { 0xbb, 0,	  0, 0x20, 0, 0xc6, 3, 7,
				      0xc6, 0x83, 1, 0x50, 0, 0,    7, 0xf4 };

static void dirty_pages(void **state)
{
	struct err e = { 0 };
	uint64_t val = 1;

	tvm_exec(t, 64, two_stores, sizeof(two_stores));
	assert_int_equal(dirty_start(&t->vm, &e), 0);
	assert_int_equal(fetch(), 0);
	for (unsigned i = 0; i < 3; i++) {
		tvm_exec(t, 64, two_stores, sizeof(two_stores)); /* and its set-up */
		assert_true(fetch() >= 2);
		assert_true(is_dirty(0x200000));
		assert_true(is_dirty(0x205000));
		assert_false(is_dirty(0x201000));
		assert_false(is_dirty(0x300000));
		assert_int_equal(fetch(), 0);
	}
	assert_int_equal(mem_write(t->vm.map, 0x300ffc, &val, 8), 0); /* a device */
	assert_int_equal(fetch(), 2);
	assert_true(is_dirty(0x300000));
	assert_true(is_dirty(0x301000));
	dirty_stop(&t->vm);
	tvm_exec(t, 64, two_stores, sizeof(two_stores));
	assert_int_equal(dirty_start(&t->vm, &e), 0);
	assert_int_equal(fetch(), 0);
	tvm_exec(t, 64, two_stores, sizeof(two_stores));
	fetch();
	assert_true(is_dirty(0x200000));
	dirty_stop(&t->vm);
}

/* The guest writes to more pages than a ring has entries. */
#define TOUCHED 3000
static void touch_pages(void)
{
	/* mov $0x100000,%ebx; mov $3000,%ecx; 1: movb $7,(%rbx); add $0x1000,%ebx; loop 1b; hlt */
	EXEC(64, 0xbb, 0, 0, 0x10, 0, 0xb9, TOUCHED & 0xff, TOUCHED >> 8, 0, 0, 0xc6, 3, 7, 0x81,
	     0xc3, 0, 0x10, 0, 0, 0xe2, 0xf5, 0xf4);
	assert_int_equal(now(0).gpr[RCX], 0);
}

static void many_dirty_pages(void)
{
	struct err e = { 0 };

	assert_int_equal(dirty_start(&t->vm, &e), 0);
	touch_pages();
	assert_true(fetch() >= TOUCHED);
	for (uint64_t gpa = 0x100000; gpa < 0x100000 + TOUCHED * 4096; gpa += 4096)
		assert_true(is_dirty(gpa));
	assert_false(is_dirty(0x100000 + TOUCHED * 4096));
	assert_int_equal(fetch(), 0);
	dirty_stop(&t->vm);
}

static void dirty_much(void **state)
{
	many_dirty_pages();
}

/* The map changes while pages are logged: what was written where it no longer is counts as well. */
static void dirty_and_map(void **state)
{
	struct err e = { 0 };

	assert_int_equal(dirty_start(&t->vm, &e), 0);
	tvm_exec(t, 64, two_stores, sizeof(two_stores));
	map_del(t->vm.map, &t->ram_region);
	assert_int_equal(map_add(t->vm.map, &t->ram_region, &e), 0);
	fetch();
	assert_true(is_dirty(0x200000));
	assert_true(is_dirty(0x205000));
	tvm_exec(t, 64, two_stores, sizeof(two_stores));
	fetch();
	assert_true(is_dirty(0x200000));
	assert_false(is_dirty(0x201000));
	dirty_stop(&t->vm);
}

/* On an engine without rings the same by its own means. */
static void dirty_ring(void **state)
{
	struct vm_conf *conf = vm_conf_new();
	struct err e = { 0 };
	struct exit_row row;

	conf->cpus = conf->cores = 2;
	conf->no_irqchip = true;
	conf->dirty_ring_size = 1024;
	free(conf->cpu);
	conf->cpu = xstrdup("qemu64");
	if (tvm_try_conf(accel, conf, &e) == -ENOTSUP) {
		printf("skipped: %s\n", e.msg);
		vm_conf_free(conf);
		skip();
	}
	tvm_free(t);
	t = tvm_new_conf(accel, conf);
	many_dirty_pages();
	assert_int_equal(find_row(EXITS_BY_REASON, EXIT_DIRTY_RING, &row),
			 !strcmp(accel->name, "kvm"));
	dirty_pages(state);
	dirty_and_map(state);
	tvm_free(t);
	vm_conf_free(conf);
	t = tvm_new_on(accel, 2, "qemu64");
}

/* ---- memory that the engine makes ---- */

/* A page at two addresses: writes at one are read at the other, whichever of them goes first. */
static void check_alias(void)
{
	struct map_region r = { .name = "alias",
				.space = MAP_MEM,
				.kind = MAP_RAM,
				.addr = GIB(3),
				.size = MIB(1),
				.rb = t->ram,
				.rb_off = TVM_DATA };
	struct err e = { 0 };

	assert_int_equal(map_add(t->vm.map, &r, &e), 0);
	/* mov $0xc0000000,%ebx; movl $7,(%rbx); mov 0x100000,%ecx; movl $9,0x100004; mov
	 * 4(%rbx),%edx; hlt */
	EXEC(32, 0xbb, 0, 0, 0, 0xc0, 0xc7, 3, 7, 0, 0, 0, 0x8b, 0x0d, 0, 0, 0x10, 0, 0xc7, 5, 4, 0,
	     0x10, 0, 9, 0, 0, 0, 0x8b, 0x53, 4, 0xf4);
	assert_int_equal(now(0).gpr[RCX], 7);
	assert_int_equal(now(0).gpr[RDX], 9);
	map_del(t->vm.map, &r);
}

/* How many of the guest's pages are in this process's page tables. */
static unsigned mapped_pages(uint64_t gpa, unsigned n)
{
	FILE *f = fopen("/proc/self/pagemap", "re");
	unsigned count = 0;
	uint64_t entry;

	assert_non_null(f);
	assert_int_equal(fseek(f, (long)((uintptr_t)tvm_mem(t, gpa) / 4096 * 8), SEEK_SET), 0);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(fread(&entry, sizeof(entry), 1, f), 1);
		count += entry >> 63;
	}
	fclose(f);
	return count;
}

/* KVM has the pages from the file itself, but while it logs: then it goes by the page tables. */
static void check_binding(void)
{
	const uint64_t gpa = 0x100000;
	struct err e = { 0 };

	assert_int_equal(ram_next_data(t->ram, gpa), TVM_RAM);
	touch_pages();
	assert_int_equal(ram_next_data(t->ram, gpa), gpa);
	assert_int_equal(mapped_pages(gpa, TOUCHED), 0);
	assert_int_equal(dirty_start(&t->vm, &e), 0);
	touch_pages();
	assert_int_equal(mapped_pages(gpa, TOUCHED), TOUCHED);
	dirty_stop(&t->vm);
}

static void engine_memory(void **state)
{
	struct ram_options o = { .from_engine = true };
	struct err e = { 0 };

	if (!accel->memory_fd)
		skip();
	o.engine_fd = accel->memory_fd(&t->vm, MIB(1), &e);
	if (o.engine_fd == -ENOTSUP) {
		assert_non_null(strstr(e.msg, "6.18"));
		skip();
	}
	check_memory(ram_new_with("more", MIB(1), &o, &e));
	assert_int_equal(accel->memory_fd(&t->vm, 5, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "5 bytes"));
	tvm_free(t);
	t = tvm_new_engines(accel, 2, "qemu64");
	check_binding();
	check_alias();
	memory_under_code(state);
	many_dirty_pages();
	dirty_pages(state);
	dirty_and_map(state);
	check_alias();
	/* What is given back reads as zeroes. */
	*(uint32_t *)tvm_mem(t, TVM_DATA) = 1;
	ram_give_back(t->ram, TVM_DATA, 4096);
	EXEC(32, 0x8b, 0x0d, 0, 0, 0x10, 0, 0xf4); /* mov 0x100000,%ecx; hlt */
	assert_int_equal(now(0).gpr[RCX], 0);
	init_in_smm(state);
}

/* ---- machine checks ---- */

/* On the way to nop; hlt, with machine checks switched on, or not. */
static void ready_for_checks(bool on)
{
	static const uint8_t code[] = { 0x90, 0xf4 };
	struct cpu_state s;

	tvm_put(t, TVM_CODE, code, sizeof(code));
	tvm_setup(t, 0, 64, TVM_CODE);
	tvm_get(t, 0, &s);
	s.cr4 = on ? s.cr4 | CR4_MCE : s.cr4 & ~CR4_MCE;
	s.mcg_ctl = UINT64_MAX;
	s.mcg_status = 0;
	for (unsigned i = 0; i < MC_BANKS; i++) {
		s.mc_ctl[i] = UINT64_MAX;
		s.mc_status[i] = 0;
	}
	tvm_set(t, 0, &s);
}

static const struct x86_cpu_model *model_of_guest(void)
{
	const struct x86_cpu_source *src;

	return accel->model(&t->vm, &src);
}

static void machine_checks(void **state)
{
	const uint64_t gpa = 0x123000;
	bool intel = model_of_guest()->vendor == X86_VENDOR_INTEL, again;
	struct cpu_state s;

	/* What the guest needs now is an exception at once, in a bank that says where. */
	ready_for_checks(true);
	assert_int_equal(arch_memory_lost(t->v[0], gpa, true, &again), ARCH_MCE_INJECTED);
	assert_false(again);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), X86_MC);
	s = now(0);
	assert_int_equal(s.mcg_status, MCG_STATUS_RIPV | MCG_STATUS_EIPV | MCG_STATUS_MCIP);
	assert_int_equal(s.mc_addr[2], gpa);
	assert_int_equal(s.mc_misc[2], 0x8c);
	assert_int_equal(s.mc_status[2] >> 48, intel ? 0xbd80 : 0xbc00);
	/* In the middle of one: what can wait does, what cannot is the end of this guest. */
	assert_int_equal(arch_memory_lost(t->v[0], gpa, false, &again), ARCH_MCE_IGNORED);
	assert_true(again);
	assert_int_equal(arch_memory_lost(t->v[0], gpa, true, &again), ARCH_MCE_RESET);
	/* A guest that has no handler yet. */
	ready_for_checks(false);
	assert_int_equal(arch_memory_lost(t->v[0], gpa, true, &again), ARCH_MCE_RESET);
	assert_false(again);
	/* What nobody has needed: told at once on Intel's processors, found in the bank on AMD's. */
	ready_for_checks(true);
	assert_int_equal(arch_memory_lost(t->v[0], gpa, false, &again), ARCH_MCE_INJECTED);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), intel ? X86_MC : -1);
	s = now(0);
	assert_int_equal(s.mc_addr[2], gpa);
	assert_true(s.mc_status[2] & MCI_STATUS_VAL);
	assert_int_equal(!(s.mc_status[2] & MCI_STATUS_DEFERRED), intel);
	/* The other processors of an Intel machine, once each. */
	ready_for_checks(true);
	arch_memory_lost_elsewhere(t->v[0]);
	arch_memory_lost_elsewhere(t->v[0]);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	assert_int_equal(tvm_vector(t, 0), X86_MC);
	assert_int_equal(now(0).mc_status[1], MCI_STATUS_VAL | MCI_STATUS_UC);
}

/* ---- time ---- */

/* What the guest reads, in the code that is there already. */
static uint64_t guest_tsc(void)
{
	struct cpu_state s = now(0);

	s.rip = TVM_CODE;
	s.mp_state = MP_RUNNABLE;
	tvm_set(t, 0, &s);
	assert_int_equal(tvm_run(t, 0), VCPU_EXIT_INTR);
	return now(0).gpr[RAX];
}

/* Two times that went by, in ns; what is read one after the other is never quite the same. */
static void assert_near(uint64_t a, uint64_t b)
{
	const uint64_t some = 20 * NS_PER_MS;

	if (a - b + some > 2 * some)
		fail_msg("%" PRIu64 " ns and %" PRIu64 " ns", a, b);
}

static void time_stands_still(void **state)
{
	const uint64_t tsc = BIT64(44), ns = 1000 * NS_PER_SEC;
	struct err e = { 0 };
	uint64_t before, after, clock[2] = { 0 }, at[2] = { 0 }, khz = host_tsc_khz(0);

	t->vm.tsc_khz = khz;
	/* rdtsc; shl $32,%rdx; or %rdx,%rax; hlt */
	EXEC(64, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xf4);
	before = guest_tsc();
	assert_true(guest_tsc() - before < BIT64(40));
	/* As it was ten seconds ago. */
	at[0] = host_tsc() - 10000 * khz;
	if (accel->set_clock && accel->set_clock(&t->vm, 2 * ns, at[0], &e) < 0)
		fail_msg("%s", e.msg);
	if (accel->get_clock) {
		assert_int_equal(accel->get_clock(&t->vm, &clock[0], &at[1]), 0);
		assert_near(clock[0] - 2 * ns, mul_div_u64(at[1] - at[0], 1000000, khz));
		at[0] = at[1];
	}
	accel->hold_time(&t->vm, ns, tsc);
	if (accel->get_clock) {
		assert_int_equal(accel->get_clock(&t->vm, &clock[1], &at[1]), 0);
		assert_near(clock[1] - clock[0] + ns, mul_div_u64(at[1] - at[0], 1000000, khz));
	}
	after = guest_tsc();
	assert_true(after - before + tsc < BIT64(40));
}

/* ---- the engine's own numbers ---- */

static void statistics(void **state)
{
	struct err e = { 0 };
	struct stats all;
	bool has_exits = false;

	EXEC(64, 0xe4, 0xe9, 0xf4); /* in $0xe9,%al; hlt */
	assert_int_equal(stats_read(&t->vm, t->v[0], &all, &e), 0);
	for (size_t i = 0; i < all.n; i++)
		if (!strcmp(all.s[i].name, "exits")) {
			has_exits = true;
			assert_int_equal(all.s[i].n, 1);
			assert_true(all.s[i].val[0] > 0);
		}
	stats_fini(&all);
	assert_int_equal(has_exits, !strcmp(accel->name, "kvm"));
	assert_int_equal(stats_read(&t->vm, NULL, &all, &e), 0);
	assert_int_equal(all.n > 0, !strcmp(accel->name, "kvm"));
	stats_fini(&all);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		T(ports),
		T(string_to_port),
		T(registers),
		T(memory),
		T(exceptions),
		T(triple_fault),
		T(interrupts),
		T(masked_halt),
		T(msrs),
		T(kick),
		T(deadline),
		T(start_up),
		T(state_survives),
		T(bad_state_is_refused),
		T(cpuid),
		T(interrupts_follow_state),
		T(exits),
		T(memory_under_code),
		T(init_in_smm),
		T(doorbells),
		T(events_survive),
		T(delivery_goes_on),
		T(pdptes_survive),
		T(dirty_pages),
		T(dirty_much),
		T(dirty_and_map),
		T(dirty_ring),
		T(engine_memory),
		T(machine_checks),
		T(statistics),
		T(time_stands_still),
		T(same_msrs),
		T(host_model),
	};
	struct err e = { 0 };

	for (const struct accel_ops *const *a = accel_engines; argc == 2 && *a; a++)
		if (!strcmp((*a)->name, argv[1]))
			accel = *a;
	if (!accel) {
		fprintf(stderr, "usage: t-accel ENGINE\n");
		return 2;
	}
	if (accel->probe(&e) < 0) {
		printf("skipped: %s\n", e.msg);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine that is saved on one engine goes on on another, with its interrupt controllers, timers and
 * paravirtual clock in the middle of their work:
 *
 *	t-move FROM TO
 *
 * FROM and TO are engines; "kvm-off" is kvm with the board's interrupt controllers, "kvm-split" with
 * local APICs of its own. Exit code 77
 * (skipped) when the host cannot run one.
 */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "move_guest.h"
#include "arch/x86/board.h"
#include "base/bytes.h"
#include "core/accel.h"
#include "isa/x86/irqchip.h"
#include "isa/x86/x86.h"
#include <semaphore.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

extern const uint8_t move_guest[], move_guest_end[], move_pic[], move_apic[], move_x2apic[],
	move_oneshot[];

struct kind {
	const struct accel_ops *accel;
	bool no_irqchip, split;
};
static struct kind from, to;

struct machine {
	struct fm *m;
	struct map_region port;
	sem_t stopped;
	unsigned came[256]; /* interrupts, by vector */
	uint8_t want[2];    /* stop when both have come */
	uint32_t told[16];
	unsigned nr_told;
};

/* ---- one machine ---- */

static void stop(struct machine *x)
{
	vcpu_want(x->m->v[0], VCPU_STOPPED);
	sem_post(&x->stopped);
}

static void on_interrupt(struct machine *x, uint8_t vector)
{
	x->came[vector]++;
	if (vector == 0x41) /* the device is served, and lowers its line */
		gsi_pci_intx(x->m->vm.board, 0, 0, 0);
	if (x->want[0] && x->came[x->want[0]] && x->came[x->want[1]])
		stop(x);
}

static void port_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct machine *x = opaque;

	if (off && x->nr_told < ARRAY_SIZE(x->told))
		x->told[x->nr_told++] = (uint32_t)val;
	else if (!off && val == MOVE_STOP)
		stop(x);
	else if (!off)
		on_interrupt(x, (uint8_t)val);
}

static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
	return UINT64_MAX;
}

static const struct io_ops port_ops = { port_read, port_write, 4, 4 };

static void must(int r, const struct err *e)
{
	if (r)
		fail_msg("%s", e->msg);
}

static struct machine *machine_new(const struct kind *k)
{
	struct machine *x = xnew(struct machine);
	struct err e = { 0 };

	sem_init(&x->stopped, 0, 0);
	x->m = fm_new_on(k->accel, "default,-xsave",
			 k->no_irqchip ? FM_OFF : k->split ? FM_SPLIT : FM_ON, 1, MIB(16));
	x->port = (struct map_region){ .name = "test", .space = MAP_PIO, .addr = 0x600, .size = 8,
				       .ops = &port_ops, .opaque = x };
	must(map_add(x->m->vm.map, &x->port, &e), &e);
	must(arch_board_init(&x->m->vm, &e), &e);
	x->m->board = true;
	k->accel->reset(x->m->v[0], false);
	if (x->m->vm.irqchip)
		k->accel->reset_irqchip(&x->m->vm);
	dev_reset_all(&x->m->vm);
	x86_vcpu_reset(x->m->v[0]);
	must(vcpu_start_thread(x->m->v[0], &e), &e);
	return x;
}

static void machine_free(struct machine *x)
{
	map_del(x->m->vm.map, &x->port);
	fm_free(x->m);
	sem_destroy(&x->stopped);
	free(x);
}

/* Until the guest says stop, or what was wanted has come. */
static void run(struct machine *x)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 60;
	vcpu_want(x->m->v[0], VCPU_RUNNING);
	if (sem_timedwait(&x->stopped, &ts))
		fail_msg("the guest did not get there (%s)", x->m->v[0]->fail);
	vcpu_want(x->m->v[0], VCPU_STOPPED);
	vcpu_wait_stopped(x->m->v[0]);
}

static struct x86_seg flat(uint16_t sel, uint16_t type)
{
	return (struct x86_seg){ .sel = sel, .limit = UINT32_MAX,
				 .attr = (uint16_t)(SEG_P | SEG_S | SEG_G | SEG_DB | type) };
}

static void place(struct machine *x, const uint8_t *entry)
{
	static const uint64_t gdt[] = { 0, 0x00cf9b000000ffffull, 0x00cf93000000ffffull };
	uint8_t *ram = x->m->vm.ram->host;
	struct cpu_state s;
	struct err e = { 0 };

	memcpy(ram + MOVE_CODE, move_guest, (size_t)(move_guest_end - move_guest));
	memcpy(ram + MOVE_GDT, gdt, sizeof(gdt));
	for (unsigned v = 0; v < 256; v++) {
		st_le32(ram + MOVE_IDT + 8 * v, (MOVE_CODE + 16 * v) | 8u << 16);
		st_le32(ram + MOVE_IDT + 8 * v + 4, 0x8e00);
		ram[MOVE_IDT + 8 * v + 6] = MOVE_CODE >> 16;
	}
	ram_written(x->m->vm.ram, 0, MIB(1));
	must(x->m->vm.accel->get_state(x->m->v[0], &s), &e);
	for (unsigned i = 0; i < SEG_NR; i++)
		s.seg[i] = flat(0x10, 3);
	s.seg[SEG_CS] = flat(0x08, 0xb);
	s.gdtr = (struct x86_dtable){ MOVE_GDT, sizeof(gdt) - 1 };
	s.idtr = (struct x86_dtable){ MOVE_IDT, 0x7ff };
	s.cr0 = CR0_PE | CR0_ET | CR0_NE;
	s.rip = MOVE_CODE + (uint64_t)(entry - move_guest);
	s.gpr[RSP] = MOVE_STACK;
	must(x->m->vm.accel->set_state(x->m->v[0], &s, &e), &e);
}

/* ---- from one to the other ---- */

static void copy(const char *id, const struct state_desc *d, void *a, void *b)
{
	struct state_buf buf = { 0 };
	struct err e = { 0 };
	const uint8_t *pos;

	state_save(&buf, id, d, a);
	pos = buf.data;
	must(state_load(&pos, buf.data + buf.len, id, d, b, &e), &e);
	state_buf_fini(&buf);
}

static void move(struct machine *a, struct machine *b)
{
	struct vm *va = &a->m->vm, *vb = &b->m->vm;
	struct x86_board *ba = va->board, *bb = vb->board;
	struct cpu_state s;
	struct err e = { 0 };

	must(arch_state_pull(va, &e), &e);
	must(va->accel->get_state(a->m->v[0], &s), &e);
	memcpy(vb->ram->host, va->ram->host, va->ram->size);
	ram_written(vb->ram, 0, vb->ram->size);
	copy("gsi", &x86_gsi_state, &ba->gsi, &bb->gsi);
	copy("pv", &pv_vm_state, &ba->pv, &bb->pv);
	copy("lapic", &lapic_state, &x86_vcpu(a->m->v[0])->lapic, &x86_vcpu(b->m->v[0])->lapic);
	copy("ioapic", ioapic_dev_type.state, ba->ioapic, bb->ioapic);
	copy("pic", pic_dev_type.state, ba->pic, bb->pic);
	must(vb->accel->set_state(b->m->v[0], &s, &e), &e);
	must(arch_state_push(vb, &e), &e);
}

static struct machine *start(const uint8_t *entry)
{
	struct machine *a = machine_new(&from);

	place(a, entry);
	run(a);
	return a;
}

static struct machine *go_on(struct machine *a, uint8_t want1, uint8_t want2)
{
	struct machine *b = machine_new(&to);

	b->want[0] = want1;
	b->want[1] = want2;
	move(a, b);
	machine_free(a);
	run(b);
	return b;
}

/* ---- what has to hold ---- */

static void pics(void **state)
{
	struct machine *a = start(move_pic), *b;
	struct irq line4 = gsi_line(a->m->vm.board, 4);
	struct irq line10 = gsi_line(a->m->vm.board, 10);

	irq_set(&line4, 1);
	irq_set(&line4, 0); /* an edge that is latched */
	irq_set(&line10, 1);
	b = go_on(a, 0x34, 0x34);
	assert_int_equal(b->came[0x34], 1);
	assert_int_equal(b->nr_told, 4);
	assert_int_equal(b->told[0] & 0x10, 0x10);
	assert_int_equal(b->told[1], 0xeb);
	assert_int_equal(b->told[2], 0xfe);
	assert_int_equal(b->told[3], 0x0c);
	/* line 10 is up still: it was masked */
	assert_int_equal(x86_board(&b->m->vm)->gsi.pic_level & BIT32(10), BIT32(10));
	machine_free(b);
}

static uint64_t guest_clock(struct machine *x)
{
	const uint8_t *t = (const uint8_t *)x->m->vm.ram->host + MOVE_CLOCK;
	uint64_t tsc = __rdtsc() + atomic_load(&x->m->v[0]->tsc_offset), delta = tsc - ld_le64(t + 8);
	int8_t shift = (int8_t)t[28];

	assert_int_equal(ld_le32(t) & 1, 0);
	delta = shift >= 0 ? delta << shift : delta >> -shift;
	return ld_le64(t + 16) + (uint64_t)((unsigned __int128)delta * ld_le32(t + 24) >> 32);
}

static void apics(void **state)
{
	static const uint32_t told[] = { 0x1ff, 0x01000000, 0x10, 0x10700, 0xb, 0x20050, 200000000,
					 0xc041, 0x42, MOVE_CLOCK + 1, MOVE_STEAL + 1 };
	struct machine *a = start(move_apic), *b;
	struct irq line5 = gsi_line(a->m->vm.board, 5);
	const struct lapic *l = &x86_vcpu(a->m->v[0])->lapic;
	uint8_t *steal = (uint8_t *)a->m->vm.ram->host + MOVE_STEAL;
	struct err e = { 0 };
	uint64_t clock;

	irq_set(&line5, 1);
	irq_set(&line5, 0);
	gsi_pci_intx(a->m->vm.board, 0, 0, 1); /* GSI 20 */
	clock = guest_clock(a);
	st_le64(steal, 7777777777ull);
	must(arch_state_pull(&a->m->vm, &e), &e);
	assert_int_equal(l->irr[2] & 6, 6); /* 0x41, 0x42 */
	assert_int_equal(l->tmr[2] & 6, 2);
	assert_true(l->timer_due_ns != UINT64_MAX);
	assert_int_equal(x86_board(&a->m->vm)->ioapic->chip.line & ~BIT32(GSI_PIT_PIN), BIT32(20));

	b = go_on(a, 0x41, 0x50);
	assert_int_equal(b->came[0x41], 1);
	assert_int_equal(b->came[0x42], 1);
	assert_int_equal(b->nr_told, ARRAY_SIZE(told));
	for (unsigned i = 0; i < ARRAY_SIZE(told); i++)
		assert_int_equal(b->told[i], told[i]);
	assert_true(guest_clock(b) >= clock);
	assert_true(guest_clock(b) - clock < 60 * 1000000000ull);
	assert_true(ld_le64((uint8_t *)b->m->vm.ram->host + MOVE_STEAL) >= 7777777777ull);
	machine_free(b);
}

static void x2apic(void **state)
{
	struct machine *b = go_on(start(move_x2apic), 0x51, 0x51);

	assert_int_equal(b->came[0x51], 1);
	assert_int_equal(b->told[0], 0xfee00d00);
	assert_int_equal(b->told[1], 1);
	assert_int_equal(b->told[2], 0x1ff);
	assert_int_equal(b->told[3], 0x40051);
	machine_free(b);
}

static void oneshot(void **state)
{
	struct machine *b = go_on(start(move_oneshot), 0x52, 0x52);

	assert_int_equal(b->came[0x52], 1);
	machine_free(b);
}

/* What was on its way arrives once: an interrupt whose delivery had begun, and an NMI behind it. */
static void events(void **state)
{
	struct machine *a = start(move_oneshot), *b = machine_new(&to);
	struct cpu_state s;
	struct err e = { 0 };

	must(arch_state_pull(&a->m->vm, &e), &e);
	must(from.accel->get_state(a->m->v[0], &s), &e);
	s.rflags |= FLAG_IF;
	s.event_injected = true;
	s.event_type = X86_EVENT_INTR;
	s.event_vector = 0x77;
	s.nmi_pending = true;
	must(from.accel->set_state(a->m->v[0], &s, &e), &e);
	b->want[0] = 0x77;
	b->want[1] = 2;
	move(a, b);
	run(b);
	assert_int_equal(b->came[0x77], 1);
	assert_int_equal(b->came[2], 1);
	machine_free(a);
	machine_free(b);
}

static bool one_irqfd_only(void)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	uname(&u);
	sscanf(u.release, "%u.%u", &major, &minor);
	return major > 6 || (major == 6 && minor >= 17);
}

/* An eventfd is an interrupt for whoever signals it, and of one machine only. */
static void eventfds(void **state)
{
	static const struct msi msi = { .addr = 0xfee00000, .data = 0x61 };
	struct machine *a = start(move_oneshot), *b;
	const struct accel_irqchip *chip = a->m->vm.irqchip;
	struct err e = { 0 };
	int fd, id, other;

	if (!chip || !chip->irqfd_add) {
		machine_free(a);
		skip();
	}
	b = machine_new(&from);
	fd = eventfd(0, EFD_CLOEXEC);
	id = chip->irqfd_add(&a->m->vm, fd, "net0, vector 1", &msi, &e);
	assert_true(id >= 0);
	assert_int_equal(chip->irqfd_add(&a->m->vm, fd, "disk0", &msi, &e), -EBUSY);
	assert_non_null(strstr(e.msg, "net0, vector 1"));
	assert_non_null(strstr(e.msg, "disk0"));
	other = chip->irqfd_add(&b->m->vm, fd, "disk1", &msi, &e);
	if (one_irqfd_only()) {
		assert_int_equal(other, -EBUSY);
		assert_non_null(strstr(e.msg, "another virtual machine"));
		assert_non_null(strstr(e.msg, "an eventfd of its own"));
	} else if (other >= 0) {
		chip->irqfd_del(&b->m->vm, other);
	}
	assert_int_equal(eventfd_write(fd, 1), 0);
	a->want[0] = a->want[1] = 0x61;
	run(a);
	assert_int_equal(a->came[0x61], 1);
	must(chip->irqfd_set(&a->m->vm, id, &(struct msi){ .addr = 0xfee00000, .data = 0x62 }, &e), &e);
	assert_int_equal(eventfd_write(fd, 1), 0);
	a->want[0] = a->want[1] = 0x62;
	run(a);
	/* Let go of, it is free for the other machine. */
	chip->irqfd_del(&a->m->vm, id);
	other = chip->irqfd_add(&b->m->vm, fd, "disk1", &msi, &e);
	assert_true(other >= 0);
	chip->irqfd_del(&b->m->vm, other);
	close(fd);
	machine_free(a);
	machine_free(b);
}

/*
 * What was signalled before the eventfd is let go of can be saved then, also what KVM does not send
 * at once: a message to all.
 */
static void eventfds_arrive(void **state)
{
	struct machine *a = start(move_oneshot);
	const struct accel_irqchip *chip = a->m->vm.irqchip;
	struct err e = { 0 };
	int fd, id;

	if (!chip || !chip->irqfd_add) {
		machine_free(a);
		skip();
	}
	fd = eventfd(0, EFD_CLOEXEC);
	for (unsigned vector = 0x80; vector < 0xe0; vector++) {
		struct msi all = { .addr = 0xfeeff000, .data = vector };
		struct x86_lapic_regs regs;

		id = chip->irqfd_add(&a->m->vm, fd, "net0, vector 1", &all, &e);
		assert_true(id >= 0);
		assert_int_equal(eventfd_write(fd, 1), 0);
		chip->irqfd_del(&a->m->vm, id);
		must(chip->get_lapic(a->m->v[0], &regs), &e);
		assert_true(regs.reg[0x20 + vector / 32] >> (vector & 31) & 1); /* IRR */
	}
	close(fd);
	machine_free(a);
}

/* A message that goes elsewhere than to local APICs is none that an eventfd may send. */
static void eventfds_of_interrupts_only(void **state)
{
	static const struct msi good = { .addr = 0xfee00000, .data = 0x61 },
				bad[] = { { .addr = 0xfed00000, .data = 0x61 },
					  { .addr = 0x1fee00000, .data = 0x61 } };
	struct machine *a = start(move_oneshot);
	const struct accel_irqchip *chip = a->m->vm.irqchip;
	struct err e = { 0 };
	int fd, id;

	if (!chip || !chip->irqfd_add) {
		machine_free(a);
		skip();
	}
	fd = eventfd(0, EFD_CLOEXEC);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(chip->irqfd_add(&a->m->vm, fd, "net0", &bad[i], &e), -EINVAL);
	id = chip->irqfd_add(&a->m->vm, fd, "net0", &good, &e);
	assert_true(id >= 0);
	assert_int_equal(chip->irqfd_set(&a->m->vm, id, &bad[0], &e), -EINVAL);
	assert_non_null(strstr(e.msg, "0xfed00000"));
	assert_int_equal(eventfd_write(fd, 1), 0); /* it is what it was */
	a->want[0] = a->want[1] = 0x61;
	run(a);
	chip->irqfd_del(&a->m->vm, id);
	close(fd);
	machine_free(a);
}

static bool find(const char *name, struct kind *k)
{
	k->no_irqchip = !strcmp(name, "kvm-off");
	k->split = !strcmp(name, "kvm-split");
	for (const struct accel_ops *const *a = accel_engines; *a; a++)
		if (!strcmp((*a)->name, !strncmp(name, "kvm", 3) ? "kvm" : name))
			k->accel = *a;
	return k->accel;
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(pics),	   cmocka_unit_test(apics),  cmocka_unit_test(x2apic),
		cmocka_unit_test(oneshot), cmocka_unit_test(events),
		cmocka_unit_test(eventfds), cmocka_unit_test(eventfds_arrive),
		cmocka_unit_test(eventfds_of_interrupts_only),
	};
	struct err e = { 0 };

	if (argc != 3 || !find(argv[1], &from) || !find(argv[2], &to)) {
		fprintf(stderr, "usage: t-move FROM TO\n");
		return 2;
	}
	if (from.accel->probe(&e) < 0 || to.accel->probe(&e) < 0) {
		printf("skipped: %s\n", e.msg);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

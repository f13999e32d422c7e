/* SPDX-License-Identifier: Apache-2.0 */
/* See soft_vm.h. Stands in for core/vm.c: no board is linked in. */
#include "soft_vm.h"
#include "accel/soft/fpu.h"
#include "accel/soft/jit/jit.h"

#include "isa/x86/x86.h"
#include "mem/map.h"
#include <stdio.h>

/* What core/vcpu.c would ask of a whole machine; linking these keeps core/vm.c out. */
void vm_request_reset(struct vm *vm, enum vm_cause cause)
{
	vm->cause = cause;
}

void vm_request_shutdown(struct vm *vm, enum vm_cause cause)
{
	vm->cause = cause;
}

void vm_request_exit(struct vm *vm, int exit_code, enum vm_cause cause)
{
	vm->exit_code = exit_code;
	vm->cause = cause;
}

static _Noreturn void die(const char *what, const struct err *e)
{
	fprintf(stderr, "soft_vm: %s: %s\n", what, e->msg);
	exit(1);
}

static struct tvm *tvm_of(struct vcpu *v)
{
	return v->ops_opaque;
}

static void on_halt(struct vcpu *v, bool asleep)
{
	if (asleep && !tvm_of(v)->keep_halted)
		vcpu_kick(v, VCPU_EV_REQ);
}

static int on_get_intr(struct vcpu *v)
{
	return atomic_exchange(&tvm_of(v)->intr[v->index], 0) - 1;
}

static bool on_has_intr(struct vcpu *v)
{
	return atomic_load(&tvm_of(v)->intr[v->index]) != 0;
}

static void make_cpu(struct tvm *t, unsigned i)
{
	const char *hot = getenv("SOFT_HOT");
	struct err e = { 0 };
	struct vcpu *v = xnew(struct vcpu);

	v->vm = &t->vm;
	v->index = i;
	v->apic_id = i;
	atomic_init(&v->deadline_ns, UINT64_MAX);
	v->ops = &t->ops;
	v->ops_opaque = t;
	t->v[i] = v;
	if (t->vm.accel->vcpu_init(v, &e))
		die("vcpu_init", &e);
	/* Tests run again with code translated sooner than usual. */
	if (hot && t->vm.accel == &accel_soft)
		jit_set_hot(soft_cpu(v)->jit, (unsigned)strtoul(hot, NULL, 0));
}

struct tvm *tvm_new(unsigned cpus, const char *model)
{
	return tvm_new_on(&accel_soft, cpus, model);
}

static void make_ram(struct tvm *t, bool engines)
{
	struct ram_options o = { .from_engine = engines };
	struct err e = { 0 };

	if (engines)
		o.engine_fd = t->vm.accel->memory_fd(&t->vm, TVM_RAM, &e);
	if (engines && o.engine_fd < 0)
		die("memory of the engine", &e);
	t->ram = ram_new_with("ram", TVM_RAM, &o, &e);
	if (!t->ram)
		die("memory", &e);
	t->ram_region = (struct map_region){ .name = "ram", .space = MAP_MEM, .kind = MAP_RAM,
					     .size = TVM_RAM, .rb = t->ram };
	if (map_add(t->vm.map, &t->ram_region, &e))
		die("map", &e);
	t->vm.ram = t->ram;
}

static struct tvm *make(const struct accel_ops *accel, unsigned cpus, const char *model,
			struct vm_conf *conf, bool engines)
{
	struct tvm *t = xnew(struct tvm);
	struct err e = { 0 };

	t->n = cpus;
	t->vm.conf = conf;
	t->vm.map = map_new(&e);
	t->vm.nr_vcpus = cpus;
	t->vm.vcpus = t->v;
	t->vm.accel = accel;
	t->ops = (struct vcpu_ops){ .halt = on_halt, .get_intr = on_get_intr,
				    .has_intr = on_has_intr };
	if (!t->vm.map || accel->vm_init(&t->vm, model ? model : "max", &e))
		die("vm_init", &e);
	make_ram(t, engines);
	for (unsigned i = 0; i < cpus; i++)
		make_cpu(t, i);
	return t;
}

struct tvm *tvm_new_on(const struct accel_ops *accel, unsigned cpus, const char *model)
{
	return make(accel, cpus, model, NULL, false);
}

struct tvm *tvm_new_engines(const struct accel_ops *accel, unsigned cpus, const char *model)
{
	return make(accel, cpus, model, NULL, true);
}

struct tvm *tvm_new_conf(const struct accel_ops *accel, struct vm_conf *conf)
{
	return make(accel, conf->cpus, conf->cpu, conf, false);
}

int tvm_try_conf(const struct accel_ops *accel, struct vm_conf *conf, struct err *e)
{
	struct vm vm = { .conf = conf, .nr_vcpus = conf->cpus, .accel = accel, .map = map_new(e) };
	int ret = vm.map ? accel->vm_init(&vm, conf->cpu, e) : -ENOMEM;

	if (ret == 0)
		accel->vm_fini(&vm);
	map_free(vm.map);
	return ret;
}

struct tvm *tvm_free(struct tvm *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		t->vm.accel->vcpu_fini(t->v[i]);
		free(t->v[i]);
	}
	t->vm.accel->vm_fini(&t->vm);
	map_del(t->vm.map, &t->ram_region);
	map_free(t->vm.map);
	ram_free(t->ram);
	free(t);
	return NULL;
}

void *tvm_mem(struct tvm *t, uint64_t gpa)
{
	return t->ram->host + gpa;
}

void tvm_put(struct tvm *t, uint64_t gpa, const void *data, size_t len)
{
	memcpy(tvm_mem(t, gpa), data, len);
	ram_written(t->ram, gpa, len);
}

static void put64(struct tvm *t, uint64_t gpa, uint64_t v)
{
	tvm_put(t, gpa, &v, 8);
}

static uint64_t descriptor(uint32_t base, uint32_t limit20, uint32_t attr)
{
	return (uint64_t)(base >> 24) << 56 | (uint64_t)(attr >> 8 & 0xf) << 52 |
	       (uint64_t)(limit20 >> 16) << 48 | (uint64_t)(attr & 0xff) << 40 |
	       (uint64_t)(base & 0xffffff) << 16 | (limit20 & 0xffff);
}

static void write_gdt(struct tvm *t, bool tss64)
{
	const uint64_t gdt[] = {
		0,
		descriptor(0, 0xfffff, 0xc9b),	    /* 08: code 32 */
		descriptor(0, 0xfffff, 0xc93),	    /* 10: data */
		descriptor(0, 0xfffff, 0xa9b),	    /* 18: code 64 */
		descriptor(0, 0xfffff, 0xcfb),	    /* 20: user code 32 */
		descriptor(0, 0xfffff, 0xcf3),	    /* 28: user data */
		descriptor(0, 0xfffff, 0xafb),	    /* 30: user code 64 */
		descriptor(TVM_TSS, 0x67, 0x08b),   /* 38: TSS, busy */
		0,
	};

	tvm_put(t, TVM_GDT, gdt, sizeof(gdt));
}

static void write_idt(struct tvm *t, unsigned bits)
{
	for (unsigned v = 0; v < 256; v++) {
		uint64_t h = TVM_HANDLERS + v;

		*(uint8_t *)tvm_mem(t, h) = 0xf4;
		if (bits == 64) {
			put64(t, TVM_IDT + v * 16, (h & 0xffff) | TVM_SEL_CODE64 << 16 |
							   0x8eull << 40);
			put64(t, TVM_IDT + v * 16 + 8, 0);
		} else if (bits == 32) {
			put64(t, TVM_IDT + v * 8, (h & 0xffff) | TVM_SEL_CODE32 << 16 |
							  0x8eull << 40);
		} else {
			uint32_t ivt = (uint32_t)h;

			tvm_put(t, v * 4, &ivt, 4);
		}
	}
	ram_written(t->ram, TVM_HANDLERS, 256);
}

static void write_page_tables(struct tvm *t)
{
	put64(t, TVM_PML4, (TVM_PML4 + 0x1000) | 7);
	for (uint64_t i = 0; i < 4; i++)
		put64(t, TVM_PML4 + 0x1000 + i * 8, (TVM_PML4 + 0x2000 + i * 0x1000) | 7);
	for (uint64_t i = 0; i < 2048; i++)
		put64(t, TVM_PML4 + 0x2000 + i * 8, i << 21 | 0x87);
}

static void write_tss(struct tvm *t, unsigned bits, uint64_t sp)
{
	memset(tvm_mem(t, TVM_TSS), 0, 0x68);
	if (bits == 64) {
		put64(t, TVM_TSS + 4, sp); /* RSP0 */
	} else {
		const uint32_t esp0[2] = { (uint32_t)sp, TVM_SEL_DATA };

		tvm_put(t, TVM_TSS + 4, esp0, sizeof(esp0));
	}
}

static struct x86_seg flat(uint16_t sel, uint16_t attr)
{
	return (struct x86_seg){ .sel = sel, .limit = 0xffffffff, .attr = attr };
}

static void protected_state(struct cpu_state *s, unsigned bits, bool user)
{
	unsigned dpl = user ? 3 << SEG_DPL_SHIFT : 0;
	uint16_t code = (uint16_t)(SEG_P | SEG_S | SEG_G | 0xb | dpl |
				   (bits == 64 ? SEG_L : SEG_DB));
	uint16_t data = (uint16_t)(SEG_P | SEG_S | SEG_G | SEG_DB | 3 | dpl);
	uint16_t cs = bits == 64 ? TVM_SEL_CODE64 : TVM_SEL_CODE32;

	if (user)
		cs = bits == 64 ? TVM_SEL_UCODE64 : TVM_SEL_UCODE32;
	for (unsigned i = 0; i < SEG_NR; i++)
		s->seg[i] = flat(user ? TVM_SEL_UDATA : TVM_SEL_DATA, data);
	s->seg[SEG_CS] = flat(cs, code);
	s->gdtr = (struct x86_dtable){ TVM_GDT, 0x4f };
	s->idtr = (struct x86_dtable){ TVM_IDT, bits == 64 ? 0xfff : 0x7ff };
	s->tr = (struct x86_seg){ .sel = TVM_SEL_TSS, .base = TVM_TSS, .limit = 0x67,
				  .attr = SEG_P | 0xb };
	s->ldtr = (struct x86_seg){ .attr = SEG_UNUSABLE };
	s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_MP;
	s->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_PAE;
	if (bits == 64) {
		s->cr0 |= CR0_PG | CR0_WP;
		s->cr3 = TVM_PML4;
		s->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
	}
}

static void setup(struct tvm *t, unsigned i, unsigned bits, uint64_t rip, bool user)
{
	uint64_t sp = TVM_STACK - i * 0x1000ull;
	struct cpu_state s;

	t->vm.accel->reset(t->v[i], false);
	tvm_get(t, i, &s);
	write_idt(t, bits);
	if (bits == 16) {
		for (unsigned k = 0; k < SEG_NR; k++)
			s.seg[k] = (struct x86_seg){ .limit = 0xffff, .attr = 0x93 };
		s.seg[SEG_CS].attr = 0x9b;
		s.seg[SEG_CS].sel = (uint16_t)(rip >> 4 & 0xf000);
		s.seg[SEG_CS].base = (uint64_t)s.seg[SEG_CS].sel << 4;
		s.idtr = (struct x86_dtable){ 0, 0x3ff };
		rip -= s.seg[SEG_CS].base;
		sp = 0xfff0 - i * 0x1000ull;
	} else {
		write_gdt(t, bits == 64);
		write_page_tables(t);
		write_tss(t, bits, sp - 0x8000);
		protected_state(&s, bits, user);
	}
	s.rip = rip;
	s.gpr[RSP] = sp;
	s.rflags = FLAG_R1;
	s.mp_state = MP_RUNNABLE;
	tvm_set(t, i, &s);
}

void tvm_setup(struct tvm *t, unsigned i, unsigned bits, uint64_t rip)
{
	setup(t, i, bits, rip, false);
}

void tvm_setup_user(struct tvm *t, unsigned i, unsigned bits, uint64_t rip)
{
	setup(t, i, bits, rip, true);
}

void tvm_get(struct tvm *t, unsigned i, struct cpu_state *s)
{
	t->vm.accel->get_state(t->v[i], s);
}

void tvm_set(struct tvm *t, unsigned i, const struct cpu_state *s)
{
	struct err e = { 0 };

	if (t->vm.accel->set_state(t->v[i], s, &e))
		die("set_state", &e);
}

enum vcpu_exit tvm_run(struct tvm *t, unsigned i)
{
	struct err e = { 0 };

	/* The runner puts its handler of SIGFPE over ours for each test. */
	if (t->vm.accel == &accel_soft && fpu_catch_traps(&e))
		die("handlers", &e);
	struct vcpu *v = t->v[i];

	vcpu_clear(v, VCPU_EV_REQ);
	qsbr_register(map_qsbr(t->vm.map), &v->reader);
	qsbr_online(&v->reader);
	t->exit[i] = t->vm.accel->run(v);
	qsbr_offline(&v->reader);
	qsbr_unregister(&v->reader);
	return t->exit[i];
}

static void *run_thread(void *arg)
{
	struct vcpu *v = arg;

	tvm_run(tvm_of(v), v->index);
	return NULL;
}

void tvm_run_all(struct tvm *t)
{
	pthread_t th[TVM_MAX_CPUS];

	for (unsigned i = 0; i < t->n; i++) {
		if (pthread_create(&th[i], NULL, run_thread, t->v[i])) {
			perror("pthread_create");
			exit(1);
		}
	}
	for (unsigned i = 0; i < t->n; i++)
		pthread_join(th[i], NULL);
}

enum vcpu_exit tvm_exec(struct tvm *t, unsigned bits, const void *code, size_t len)
{
	tvm_put(t, TVM_CODE, code, len);
	tvm_setup(t, 0, bits, TVM_CODE);
	return tvm_run(t, 0);
}

int tvm_vector(struct tvm *t, unsigned i)
{
	struct cpu_state s;
	uint64_t lin;

	tvm_get(t, i, &s);
	lin = s.rip - 1 + s.seg[SEG_CS].base;
	return lin >= TVM_HANDLERS && lin < TVM_HANDLERS + 256 ? (int)(lin - TVM_HANDLERS) : -1;
}

uint64_t tvm_frame(struct tvm *t, unsigned i, unsigned slot)
{
	const struct soft_cpu *c = tvm_cpu(t, i);
	unsigned size = c->code_bits / 8;
	uint64_t v = 0;

	memcpy(&v, tvm_mem(t, c->r[RSP] + c->segbase[SEG_SS] + (uint64_t)slot * size), size);
	return v;
}

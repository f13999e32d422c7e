/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_machine.h. */
#include "base/base.h"
#include "fake_machine.h"
#include "core/accel.h"
#include <stdio.h>

static struct fm *fm_of(struct vcpu *v)
{
	return container_of(v->vm, struct fm, vm);
}

static int get_state(struct vcpu *v, struct cpu_state *s)
{
	memcpy(s, fm_of(v)->state[v->index], sizeof(*s));
	return 0;
}

static int set_state(struct vcpu *v, const struct cpu_state *s, struct err *e)
{
	memcpy(fm_of(v)->state[v->index], s, sizeof(*s));
	return 0;
}

static void cpuid(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
	r[0] = leaf == 0x80000008 ? 40 : 0;
	r[1] = r[2] = r[3] = 0;
}

static void reset(struct vcpu *v, bool init)
{
	memset(fm_of(v)->state[v->index], 0, sizeof(struct cpu_state));
}

static const struct accel_ops engine = {
	.name = "none", .get_state = get_state, .set_state = set_state, .reset = reset, .cpuid = cpuid,
};

static void must(bool ok, const char *what, const struct err *e)
{
	if (ok)
		return;
	fprintf(stderr, "fake machine: %s: %s\n", what, e->msg);
	abort();
}

static struct fm *make_base(unsigned cpus, uint64_t ram)
{
	struct fm *m = xnew(struct fm);
	struct err e = {0};

	m->vm.conf = vm_conf_new();
	m->vm.conf->cpus = cpus ? cpus : 1;
	m->vm.conf->cores = m->vm.conf->cpus;
	m->vm.conf->mem_size = ram;
	m->vm.loop = loop_new(&e);
	must(m->vm.loop, "loop", &e);
	m->vm.map = map_new(&e);
	must(m->vm.map, "map", &e);
	qsbr_register(map_qsbr(m->vm.map), &m->vm.reader);
	m->vm.tsc_khz = 2000000;
	m->vm.accel = &engine;
	if (ram)
		m->vm.ram = ram_new("ram", ram, &e);
	must(!ram || m->vm.ram, "ram", &e);
	return m;
}

static void make_cpus(struct fm *m, unsigned cpus)
{
	struct err e = {0};

	m->vm.vcpus = m->v;
	for (unsigned i = 0; i < cpus; i++) {
		m->state[i] = aligned_alloc(64, align_up(sizeof(struct cpu_state), 64));
		memset(m->state[i], 0, sizeof(struct cpu_state));
		m->v[i] = vcpu_new(&m->vm, i, &e);
		m->vm.nr_vcpus++;
		must(!arch_vcpu_init(m->v[i], &e), "vcpu", &e);
		if (m->engine)
			must(!m->vm.accel->vcpu_init(m->v[i], &e), "engine's vcpu", &e);
	}
}

struct fm *fm_new(unsigned cpus, uint64_t ram, bool map_ram)
{
	struct fm *m = make_base(cpus, ram);
	struct err e = {0};

	if (ram && map_ram) {
		m->ram_region = (struct map_region){.name = "ram", .space = MAP_MEM,
						    .kind = MAP_RAM, .size = ram,
						    .rb = m->vm.ram};
		must(!map_add(m->vm.map, &m->ram_region, &e), "map", &e);
	}
	make_cpus(m, cpus);
	return m;
}

struct fm *fm_new_on(const struct accel_ops *accel, const char *model, enum fm_chips chips, unsigned cpus,
		     uint64_t ram)
{
	struct fm *m = make_base(cpus, ram);
	struct err e = {0};

	m->vm.tsc_khz = host_tsc_khz(0);
	m->vm.conf->no_irqchip = chips == FM_OFF;
	m->vm.conf->split_irqchip = chips == FM_SPLIT;
	m->engine = true;
	m->vm.accel = accel;
	must(!accel->vm_init(&m->vm, model, &e), accel->name, &e);
	make_cpus(m, cpus);
	return m;
}

void fm_free(struct fm *m)
{
	while (m->vm.devs)
		dev_destroy(m->vm.devs);
	if (m->board)
		arch_board_fini(&m->vm);
	for (unsigned i = 0; i < m->vm.nr_vcpus; i++) {
		vcpu_end_thread(m->v[i]);
		if (m->engine)
			m->vm.accel->vcpu_fini(m->v[i]);
		arch_vcpu_fini(m->v[i]);
		vcpu_free(m->v[i]);
		free(m->state[i]);
	}
	if (m->engine)
		m->vm.accel->vm_fini(&m->vm);
	qsbr_unregister(&m->vm.reader);
	map_free(m->vm.map);
	ram_free(m->vm.ram);
	loop_free(m->vm.loop);
	vm_conf_free(m->vm.conf);
	free(m);
}

static void resave(struct dev *d)
{
	const struct state_desc *t = d->type->state;
	struct state_buf a = {0}, b = {0};
	struct err e = {0};
	const uint8_t *pos;

	if (d->type->pause)
		d->type->pause(d);
	pthread_mutex_lock(&d->lock);
	state_save(&a, d->path, t, d);
	pos = a.data;
	must(!state_load(&pos, a.data + a.len, d->path, t, d, &e), d->path, &e);
	state_save(&b, d->path, t, d);
	must(a.len == b.len && !memcmp(a.data, b.data, a.len), "loading changed the device", &e);
	pthread_mutex_unlock(&d->lock);
	if (d->type->resume)
		d->type->resume(d);
	state_buf_fini(&a);
	state_buf_fini(&b);
}

void fm_resave(struct fm *m)
{
	for (struct dev *d = m->vm.devs; d; d = d->next) {
		if (!d->type->state)
			continue;
		resave(d);
		m->saves++;
	}
}

uint32_t fm_in(struct fm *m, uint16_t port, unsigned size)
{
	uint32_t v = 0;

	map_access(m->vm.map, MAP_PIO, port, &v, size, false);
	return v;
}

void fm_out(struct fm *m, uint16_t port, uint32_t val, unsigned size)
{
	map_access(m->vm.map, MAP_PIO, port, &val, size, true);
	fm_resave(m);
}

uint64_t fm_ld(struct fm *m, uint64_t gpa, unsigned size)
{
	uint64_t v = 0;

	map_access(m->vm.map, MAP_MEM, gpa, &v, size, false);
	return v;
}

void fm_st(struct fm *m, uint64_t gpa, uint64_t val, unsigned size)
{
	map_access(m->vm.map, MAP_MEM, gpa, &val, size, true);
	fm_resave(m);
}

static void line_set(void *opaque, int n, int level)
{
	struct fm_line *l = opaque;

	if (level && !l->level)
		l->rises++;
	if (!level && l->level)
		l->falls++;
	l->level = level;
}

struct irq fm_irq(struct fm_line *l)
{
	return (struct irq){.set = line_set, .opaque = l};
}

static int load(const struct state_desc *d, void *obj, const uint8_t *data, size_t len)
{
	struct err e = {0};
	const uint8_t *pos = data;

	return state_load(&pos, data + len, "it", d, obj, &e);
}

/* Every truncation and every single bit flip of a is refused. */
static bool refuses_damage(const struct state_desc *d, struct state_buf *a, void *other)
{
	for (size_t n = 0; n < a->len; n++)
		if (!load(d, other, a->data, n))
			return false;
	for (size_t n = 0; n < a->len * 8; n++) {
		a->data[n / 8] ^= (uint8_t)(1u << n % 8);
		if (!load(d, other, a->data, a->len))
			return false; /* the checksum finds every single flip */
		a->data[n / 8] ^= (uint8_t)(1u << n % 8);
	}
	return true;
}

bool fm_round_trip(const struct state_desc *d, void *obj, void *other)
{
	struct state_buf a = {0}, b = {0};
	bool ok;

	state_save(&a, "it", d, obj);
	ok = refuses_damage(d, &a, other) && !load(d, other, a.data, a.len);
	if (ok) {
		state_save(&b, "it", d, other);
		ok = a.len == b.len && !memcmp(a.data, b.data, a.len);
	}
	state_buf_fini(&a);
	state_buf_fini(&b);
	return ok;
}

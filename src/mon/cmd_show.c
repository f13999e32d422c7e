/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people ask of the machine's insides: HMP's info commands of schema/show.json, in forms like
 * QEMU's. Control thread, vCPUs run and are asked between two instructions. State: none.
 */
#include "base/base.h"
#include "core/arch.h"
#include "core/backend.h"
#include "core/dev.h"
#include "mon/cmd.h"
#include "mon/qom.h"
#include "pci/pci.h"

/* ---- CPUs and interrupts ---- */

void hmp_info_cpus(struct hmp *h)
{
	for (unsigned i = 0; i < h->vm->nr_vcpus; i++)
		hmp_printf(h, "%c CPU #%u: thread_id=%d\n", i == h->cpu ? '*' : ' ', i,
			   (int)vcpu_tid(h->vm->vcpus[i]));
}

static void show_cpu(struct hmp *h, int64_t cpu, enum arch_view view)
{
	autofree char *text = NULL;
	struct err e = { 0 };
	size_t len = 0;
	FILE *out;
	int ret;

	if (cpu < 0 || cpu >= h->vm->nr_vcpus) {
		hmp_printf(h, "Error: there is no CPU %" PRId64 "\n", cpu);
		return;
	}
	out = open_memstream(&text, &len);
	if (!out)
		return;
	ret = arch_show(h->vm->vcpus[cpu], view, out, &e);
	fclose(out);
	if (ret < 0)
		hmp_error(h, &e);
	else
		hmp_printf(h, "%s", text);
}

void hmp_info_registers(struct hmp *h, const struct hmp_info_registers_args *a)
{
	unsigned n = a->a ? h->vm->nr_vcpus : 1;

	for (unsigned i = 0; i < n; i++) {
		int64_t cpu = a->a ? i : a->has_vcpu ? a->vcpu : h->cpu;

		if (cpu >= 0 && cpu < h->vm->nr_vcpus)
			hmp_printf(h, "%sCPU#%" PRId64 "\n", i ? "\n" : "", cpu);
		show_cpu(h, cpu, ARCH_SHOW_REGISTERS);
	}
}

void hmp_info_lapic(struct hmp *h, const struct hmp_info_lapic_args *a)
{
	show_cpu(h, a->has_vcpu ? a->vcpu : h->cpu, ARCH_SHOW_LAPIC);
}

void hmp_info_pic(struct hmp *h)
{
	show_cpu(h, 0, ARCH_SHOW_CHIPS);
}

void hmp_info_irq(struct hmp *h)
{
	show_cpu(h, 0, ARCH_SHOW_LINES);
}

void hmp_info_tlb(struct hmp *h)
{
	show_cpu(h, h->cpu, ARCH_SHOW_TLB);
}

void hmp_info_mem(struct hmp *h)
{
	show_cpu(h, h->cpu, ARCH_SHOW_MEM);
}

void hmp_sendkey(struct hmp *h, const struct hmp_sendkey_args *a)
{
	hmp_printf(h,
		   "Error: no keys '%.64s': this machine has no keyboard; a guest with a serial "
		   "console takes text there\n",
		   a->keys);
}

/* ---- the map ---- */

static void say_space(struct hmp *h, const struct map_view *v, enum map_space space)
{
	static const char *const kinds[] = {
		[MAP_IO] = "i/o", [MAP_RAM] = "ram", [MAP_ROM] = "rom"
	};

	for (size_t i = 0; i < v->n[space]; i++) {
		const struct map_range *r = &v->range[space][i];
		const struct map_region *g = r->region;
		uint64_t off = r->first - r->addr;

		hmp_printf(h, "  %016" PRIx64 "-%016" PRIx64 " (prio %d, %s): %s", r->first,
			   r->last, g->prio, kinds[g->kind], g->name);
		if (off)
			hmp_printf(h, " @%016" PRIx64, off);
		if (g->nr_doorbells)
			hmp_printf(h, " [%u doorbells]", g->nr_doorbells);
		hmp_printf(h, "\n");
	}
}

void hmp_info_mtree(struct hmp *h, const struct hmp_info_mtree_args *a)
{
	const struct map_view *v = map_view(h->vm->map);

	hmp_printf(h, "address-space: memory\n");
	say_space(h, v, MAP_MEM);
	hmp_printf(h, "\naddress-space: I/O\n");
	say_space(h, v, MAP_PIO);
}

/* ---- devices ---- */

struct tree {
	struct hmp *h;
	bool brief;
};

static void say_props(const struct tree *t, const struct dev *d, int indent)
{
	for (const struct prop *p = d->type->props; p && p->kind != PROP_END; p++) {
		json_t *val = qom_prop_value(p, d);
		autofree char *text = val ? json_dumps(val, JSON_ENCODE_ANY) : NULL;

		hmp_printf(t->h, "%*s%s = %s", indent, "", p->name, text ?: "\"\"");
		if (json_is_integer(val))
			hmp_printf(t->h, " (%#llx)", (long long)json_integer_value(val));
		hmp_printf(t->h, "\n");
		json_decref(val);
	}
}

static void say_dev(const struct tree *t, const struct dev *d, int indent)
{
	hmp_printf(t->h, "%*sdev: %s, id \"%s\"\n", indent, "", d->type->name, d->id ?: "");
	if (!t->brief)
		say_props(t, d, indent + 2);
}

static void say_bus(const struct tree *t, const char *name, const char *type, int indent)
{
	hmp_printf(t->h, "%*sbus: %s\n%*stype %s\n", indent, "", name, indent + 2, "", type);
}

static void say_pci_bus(const struct tree *t, struct pci_bus *bus, const char *name, int indent)
{
	say_bus(t, name, "PCIE", indent);
	for (unsigned devfn = 0; devfn < 256; devfn++) {
		struct pci_dev *p = pci_bus_dev_find(bus, (uint8_t)devfn);

		if (!p)
			continue;
		say_dev(t, &p->d, indent + 2);
		if (!t->brief)
			hmp_printf(t->h, "%*saddr = %02x.%x\n", indent + 4, "", devfn >> 3,
				   devfn & 7);
		if (p->secondary) /* as deep as buses may nest: numbers end at 255 */
			say_pci_bus(t, p->secondary, p->d.id ?: p->d.path, indent + 4);
	}
}

/* The devices of a bus without places. */
static void say_plain_bus(const struct tree *t, enum dev_bus bus, const char *name,
			  const char *type, int indent)
{
	autofree struct dev **all = NULL;
	size_t n = dev_list(t->h->vm, &all);
	bool any = bus == DEV_BUS_BOARD;

	for (size_t i = 0; i < n; i++)
		any |= all[i]->type->bus == bus;
	if (!any)
		return;
	say_bus(t, name, type, indent);
	for (size_t i = 0; i < n; i++)
		if (all[i]->type->bus == bus)
			say_dev(t, all[i], indent + 2);
}

void hmp_info_qtree(struct hmp *h, const struct hmp_info_qtree_args *a)
{
	const struct tree t = { .h = h, .brief = a->b };
	struct pci_bus *pci = h->vm->bare ? NULL : pci_bus_of(h->vm);

	say_plain_bus(&t, DEV_BUS_BOARD, "main-system-bus", "System", 0);
	if (pci)
		say_pci_bus(&t, pci, "pcie.0", 2);
	say_plain_bus(&t, DEV_BUS_ISA, "isa.0", "ISA", 2);
	say_plain_bus(&t, DEV_BUS_VIRTIO_MMIO, "virtio-mmio-bus", "virtio-mmio-bus", 2);
	say_plain_bus(&t, DEV_BUS_VIRTIO_SERIAL, "virtio-serial-bus", "virtio-serial-bus", 2);
}

/* ---- network ---- */

/* The device at path that uses a network end. */
static void say_nic(struct hmp *h, const char *path)
{
	const struct dev *d = h->vm->devs;

	while (d && strcmp(d->path, path) != 0)
		d = d->next;
	hmp_printf(h, "%s: index=0,type=nic,model=%s", path, d ? d->type->name : "?");
	for (const struct prop *p = d ? d->type->props : NULL; p && p->kind != PROP_END; p++) {
		json_t *val = strcmp(p->name, "mac") ? NULL : qom_prop_value(p, d);

		if (val)
			hmp_printf(h, ",macaddr=%s", json_string_value(val));
		json_decref(val);
	}
	hmp_printf(h, "\n");
}

void hmp_info_network(struct hmp *h)
{
	for (const struct backend *b = h->vm->backends; b; b = b->next) {
		const struct conf_node *n;

		if (b->kind != BACKEND_NET)
			continue;
		n = conf_find(h->vm->conf, CONF_NETDEV, b->id);
		if (b->user)
			say_nic(h, b->user);
		hmp_printf(h, "%s%s: index=0,type=%s", b->user ? " \\ " : "", b->id,
			   n && n->type ? n->type : "?");
		for (const struct conf_kv *kv = n ? n->kv : NULL; kv; kv = kv->next)
			hmp_printf(h, ",%s=%s", kv->key, kv->val);
		hmp_printf(h, "%s\n", b->user ? "" : " (nobody uses it)");
	}
}

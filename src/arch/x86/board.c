/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every x86 board has: RAM around the holes, local APICs and IOAPIC, serial ports, and what
 *the firmware's tables say of those.
 *
 *	0			RAM
 *	a0000 - bffff		VGA window: nothing
 *	c0000			RAM up to low_end
 *	fec00000		IOAPIC
 *	fee00000		local APICs
 *	100000000		RAM above 4 GiB
 *
 * Threads: control thread; the local APIC page is read and written by vCPU threads, each its own.
 */
#include "base/base.h"
#include "arch/x86/board.h"
#include "core/accel.h"
#include "dev/uart16550.h"

#define VGA_FIRST   0xa0000u
#define VGA_END	    0xc0000u
#define PCI64_ALIGN GIB(1)
#define PCI64_SIZE  GIB(64)
#define RAM_MAX	    (1024 * GIB(1))

static uint64_t lapic_page_read(void *opaque, uint64_t off, unsigned size)
{
	struct vcpu *v = vcpu_current();

	if (!v || (off & 0xf))
		return UINT64_MAX;
	pv_eoi_sync(v);
	return lapic_mmio_read(&x86_vcpu(v)->lapic, (unsigned)(off >> 4));
}

static void lapic_page_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct vcpu *v = vcpu_current();

	if (!v || (off & 0xf))
		return;
	pv_eoi_sync(v);
	lapic_mmio_write(&x86_vcpu(v)->lapic, (unsigned)(off >> 4), (uint32_t)val);
}

static const struct io_ops lapic_page_ops = { lapic_page_read, lapic_page_write, 4, 4 };

static int map_ram(struct x86_board *b, struct map_region *r, const char *name, uint64_t gpa,
		   uint64_t off, uint64_t end, struct err *e)
{
	uint64_t size = b->vm->ram->size;

	if (end > size)
		end = size;
	if (off >= end)
		return 0;
	*r = (struct map_region){ .name = name,
				  .space = MAP_MEM,
				  .kind = MAP_RAM,
				  .addr = gpa,
				  .size = end - off,
				  .rb = b->vm->ram,
				  .rb_off = off };
	return map_add(b->vm->map, r, e);
}

uint64_t board_phys_end(struct x86_board *b)
{
	uint32_t r[4] = { 0 };

	if (b->vm->accel && b->vm->accel->cpuid)
		b->vm->accel->cpuid(b->vm->vcpus[0], 0x80000008, 0, r);
	return BIT64((r[0] & 0xff) >= 36 && (r[0] & 0xff) <= 52 ? r[0] & 0xff : 36);
}

/* Low and high part of the memory, or why there is no place for it. */
static int split_memory(struct x86_board *b, struct err *e)
{
	uint64_t size = b->vm->ram->size, end = board_phys_end(b);

	if (size < MIB(1) || size > RAM_MAX)
		return err_set(e, EINVAL,
			       "the %s board takes 1 MiB to 1 TiB of memory, not %" PRIu64 " MiB",
			       b->type->name, size >> 20);
	b->low_end = size <= b->type->low_max ? size : b->type->low_split;
	b->high_size = size - b->low_end;
	if (b->high_size && GIB(4) + b->high_size > end)
		return err_set(e, EINVAL,
			       "%" PRIu64 " MiB of memory end at %#" PRIx64
			       ", behind what the guest's CPU can address (%#" PRIx64
			       "): give it less, or a CPU with a larger phys-bits",
			       size >> 20, GIB(4) + b->high_size, end);
	return 0;
}

static int memory_map(struct x86_board *b, struct err *e)
{
	int r = split_memory(b, e);

	if (!r)
		r = map_ram(b, &b->ram_low, "ram-low", 0, 0, VGA_FIRST, e);
	if (!r)
		r = map_ram(b, &b->ram_mid, "ram", VGA_END, VGA_END, b->low_end, e);
	if (!r)
		r = map_ram(b, &b->ram_high, "ram-high", GIB(4), b->low_end, UINT64_MAX, e);
	if (r)
		return r;
	b->lapic_page = (struct map_region){ .name = "lapic",
					     .space = MAP_MEM,
					     .kind = MAP_IO,
					     .addr = LAPIC_DEFAULT_BASE,
					     .size = LAPIC_PAGE_SIZE,
					     .ops = &lapic_page_ops,
					     .opaque = b };
	return map_add(b->vm->map, &b->lapic_page, e);
}

/* The IOAPIC's message as one that devices write: SDM vol. 3, 11.11. */
static struct msi ioapic_msi(const struct apic_msg *m)
{
	return (struct msi){ .addr = 0xfee00000 | (m->dest & 0xff) << 12 | (m->logical ? 4u : 0u),
			     .data = m->vector | (uint32_t)m->mode << 8 |
				     (m->level ? BIT32(15) | BIT32(14) : 0u) };
}

static unsigned ioapic_send(void *opaque, const struct apic_msg *m)
{
	struct x86_board *b = opaque;
	struct msi msi = ioapic_msi(m);

	if (!b->vm->irqchip)
		return apic_bus_send(&b->bus, m);
	b->vm->irqchip->send_msi(b->vm, &msi);
	return 1;
}

static void ioapic_rewired(void *opaque, unsigned pin, const struct apic_msg *m)
{
	struct x86_board *b = opaque;
	struct msi msi = ioapic_msi(m);

	if (b->vm->irqchip && b->vm->irqchip->set_ioapic_route)
		b->vm->irqchip->set_ioapic_route(b->vm, pin, &msi);
}

static void prepare_ioapic(struct dev *d, void *arg)
{
	struct ioapic_dev *s = container_of(d, struct ioapic_dev, d);

	s->chip.send = ioapic_send;
	s->chip.rewired = ioapic_rewired;
	s->chip.opaque = arg;
}

static void prepare_uart(struct dev *d, void *arg)
{
	struct uart_dev *s = container_of(d, struct uart_dev, d);
	unsigned *index = arg;

	s->index = (uint8_t)*index;
	free(s->chardev);
	s->chardev = xstrdup(d->vm->conf->serial[*index]);
}

struct dev *board_make(struct x86_board *b, const struct dev_type *type,
		       void (*prepare)(struct dev *, void *), struct err *e)
{
	struct dev *d = NULL;

	return dev_create_internal(b->vm, type, NULL, prepare, b, &d, e) ? NULL : d;
}

static int serial_ports(struct x86_board *b, struct err *e)
{
	for (unsigned i = 0; i < ARRAY_SIZE(b->vm->conf->serial); i++) {
		struct dev *d;
		int r;

		if (!b->vm->conf->serial[i] || b->vm->conf->no_serial)
			continue;
		r = dev_create_internal(b->vm, &uart_dev_type, NULL, prepare_uart, &i, &d, e);
		if (r)
			return r;
	}
	return 0;
}

/* The order matters for saved machines: controllers before what raises lines. */
int board_init(struct x86_board *b, struct err *e)
{
	struct dev *d;
	int r = memory_map(b, e);

	b->vm->msi = (struct msi_sink){ .send = x86_msi_send, .opaque = b };
	if (r)
		return r;
	d = board_make(b, &ioapic_dev_type, prepare_ioapic, e);
	if (!d)
		return -EINVAL;
	b->ioapic = container_of(d, struct ioapic_dev, d);
	r = b->type->init(b, e);
	return r ? r : serial_ports(b, e);
}

void board_fini(struct x86_board *b)
{
	struct map_region *all[] = { &b->ram_low, &b->ram_mid, &b->ram_high, &b->lapic_page };

	b->pci = pci_bus_free(b->pci);
	if (b->type && b->type->fini)
		b->type->fini(b);
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i]->added)
			map_del(b->vm->map, all[i]);
}

/* The tables name the panic port only when the user asked for the device. */
static uint16_t pvpanic_port(const struct vm_conf *c)
{
	for (const struct conf_node *n = c->nodes; n; n = n->next) {
		if (n->kind != CONF_DEVICE || !n->type || strcmp(n->type, "pvpanic"))
			continue;
		for (const struct conf_kv *kv = n->kv; kv; kv = kv->next)
			if (!strcmp(kv->key, "ioport"))
				return (uint16_t)strtoul(kv->val, NULL, 0);
		return 0x505;
	}
	return 0;
}

static uint8_t pci_gsi(unsigned slot, unsigned pin)
{
	return (uint8_t)(16 + gsi_pci_pirq(slot, pin));
}

static void describe_cpus(struct x86_board *b, struct fw_board *f)
{
	const struct vm_conf *c = b->vm->conf;
	uint32_t r[4] = { 0 };

	f->cpus = b->vm->nr_vcpus;
	f->apic_ids = b->apic_ids;
	f->sockets = c->sockets ? c->sockets : 1;
	f->cores_per_socket = MAX(c->cores, 1u) * MAX(c->dies, 1u);
	f->threads_per_core = c->threads ? c->threads : 1;
	if (b->vm->accel && b->vm->accel->cpuid) {
		b->vm->accel->cpuid(b->vm->vcpus[0], 0, 0, r);
		memcpy(b->cpu_vendor, &r[1], 4);
		memcpy(b->cpu_vendor + 4, &r[3], 4);
		memcpy(b->cpu_vendor + 8, &r[2], 4);
		for (unsigned i = 0; i < 3; i++) {
			b->vm->accel->cpuid(b->vm->vcpus[0], 0x80000002 + i, 0, r);
			memcpy(b->cpu_name + i * 16, r, 16);
		}
	}
	f->cpu_vendor = b->cpu_vendor;
	f->cpu_name = b->cpu_name;
}

void board_pci64_window(struct x86_board *b, struct fw_board *f)
{
	uint64_t end = board_phys_end(b);

	f->pci_mem64_base = align_up(GIB(4) + b->high_size, PCI64_ALIGN);
	f->pci_mem64_size = f->pci_mem64_base < end ? MIN(PCI64_SIZE, end - f->pci_mem64_base) : 0;
}

void board_describe(struct x86_board *b, struct pci_window *w)
{
	const struct vm_conf *c = b->vm->conf;
	struct fw_board *f = &b->fwb;

	f->low_end = b->low_end;
	f->high_size = b->high_size;
	f->pci_gsi = pci_gsi;
	f->lapic_base = LAPIC_DEFAULT_BASE;
	f->ioapic_base = IOAPIC_BASE;
	f->ioapic_id = 0;
	f->pvpanic_port = pvpanic_port(c);
	f->name = c->name;
	f->uuid = c->has_uuid ? c->uuid : NULL;
	describe_cpus(b, f);
	for (const struct dev *d = b->vm->devs; d; d = d->next)
		if (d->type == &uart_dev_type)
			f->com[container_of(d, const struct uart_dev, d)->index & 3] = true;
	b->type->describe(b, f);
	*w = (struct pci_window){ .io_base = f->pci_io_base,
				  .io_size = f->pci_io_size,
				  .mem32_base = f->pci_mem32_base,
				  .mem32_size = f->pci_mem32_size,
				  .mem64_base = f->pci_mem64_base,
				  .mem64_size = f->pci_mem64_size };
}

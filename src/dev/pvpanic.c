/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pvpanic: the guest says in one byte that it panicked, that its crash kernel takes over, or that
 * it shuts down; a read gives what it may say. A port (described in the DSDT as QEMU0001), or the
 * memory BAR of a PCI function. QEMU docs/specs/pvpanic.rst.
 *
 * Threads: any vCPU; no state beyond what is set at start, so no lock is taken.
 */
#include "base/base.h"
#include "core/event.h"
#include "core/vm.h"
#include "pci/pci.h"

#define PANICKED     0x01u
#define CRASH_LOADED 0x02u
#define SHUTDOWN     0x04u
#define ALL_EVENTS   (PANICKED | CRASH_LOADED | SHUTDOWN)

/* What both forms have. */
struct pvpanic {
	struct vm *vm;
	struct log_limit log; /* the guest may report as often as it likes */
	uint8_t events;
};

static uint64_t pvpanic_read(void *opaque, uint64_t off, unsigned size)
{
	struct pvpanic *s = opaque;

	return s->events;
}

/* Of several at once the worst counts. */
static void pvpanic_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct pvpanic *s = opaque;

	val &= s->events;
	if (val & PANICKED) {
		vm_request_shutdown(s->vm, VM_CAUSE_GUEST_PANIC);
	} else if (val & CRASH_LOADED) {
		vm_tell_name(s->vm, VM_EV_GUEST_CRASHLOADED, "run");
		if (log_allow(&s->log))
			log_info("the guest panicked and starts its crash kernel");
	} else if (val & SHUTDOWN) {
		vm_tell_name(s->vm, VM_EV_GUEST_PVSHUTDOWN, NULL);
		vm_request_shutdown(s->vm, VM_CAUSE_GUEST_SHUTDOWN);
	}
}

static const struct io_ops pvpanic_ops = { pvpanic_read, pvpanic_write, 1, 1 };

#define S struct pvpanic
static const struct state_desc pvpanic_state = {
	.name = "pvpanic-events",
	.struct_name = "pvpanic",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, vm), ST_HOST(S, log), ST_HOST(S, events),
						ST_END },
};
#undef S

#define PVPANIC_EVENTS(type)                                                                     \
	PROP_UINT("events", type, core.events, PROP_U8, ALL_EVENTS, 0, ALL_EVENTS,               \
		  "what the guest may report: 1 a panic, 2 that its crash kernel starts, 4 that" \
		  " it shuts down")

/* ---- the port ---- */

struct pvpanic_isa {
	struct dev d;
	struct pvpanic core;
	struct map_region region;
	uint32_t ioport;
};

static int isa_init(struct dev *d, struct err *e)
{
	struct pvpanic_isa *s = container_of(d, struct pvpanic_isa, d);

	s->core.vm = d->vm;
	s->region = (struct map_region){ .name = "pvpanic",
					 .space = MAP_PIO,
					 .kind = MAP_IO,
					 .addr = s->ioport,
					 .size = 1,
					 .ops = &pvpanic_ops,
					 .opaque = &s->core };
	return map_add(d->vm->map, &s->region, e);
}

static void isa_fini(struct dev *d)
{
	struct pvpanic_isa *s = container_of(d, struct pvpanic_isa, d);

	if (s->region.added)
		map_del(d->vm->map, &s->region);
}

#define S struct pvpanic_isa
static const struct prop isa_props[] = {
	PROP_UINT("ioport", S, ioport, PROP_U32, 0x505, 0, 0xffff, "its port"),
	PVPANIC_EVENTS(S),
	PROPS_END,
};

static const struct state_desc isa_state = {
	.name = "pvpanic",
	.struct_name = "pvpanic_isa",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, d), ST_SUB(S, core, &pvpanic_state),
						ST_HOST(S, region), ST_HOST(S, ioport), ST_END },
};
#undef S

extern const struct dev_type pvpanic_dev_type, pvpanic_pci_dev_type;
const struct dev_type pvpanic_dev_type = {
	.name = "pvpanic",
	.bus = DEV_BUS_ISA,
	.help = "port by which the guest reports its panic",
	.size = sizeof(struct pvpanic_isa),
	.props = isa_props,
	.state = &isa_state,
	.init = isa_init,
	.fini = isa_fini,
};

/* ---- the PCI function ---- */

struct pvpanic_pci {
	struct pci_dev p; /* first */
	struct pvpanic core;
};

static int pci_init(struct dev *d, struct err *e)
{
	static const struct pci_id id = { .vendor = 0x1b36,
					  .device = 0x0011,
					  .subvendor = 0x1af4,
					  .subdevice = 0x1100,
					  .class_rev = 0x08800001 };
	struct pvpanic_pci *s = container_of(d, struct pvpanic_pci, p.d);
	struct pci_bus *bus = pci_bus_of(d->vm);
	int r;

	if (!bus)
		return err_set(e, ENODEV, "%s: this machine has no PCI bus; there is pvpanic",
			       d->path);
	r = pci_dev_attach(bus, &s->p, &id, e);
	if (r < 0)
		return r;
	s->core.vm = d->vm;
	s->p.bar[0].region.ops = &pvpanic_ops;
	s->p.bar[0].region.opaque = &s->core;
	return pci_add_bar(&s->p, 0, PCI_BAR_MEM32, 4096, false, e);
}

static void pci_fini(struct dev *d)
{
	pci_dev_detach(&container_of(d, struct pvpanic_pci, p.d)->p);
}

static void pci_reset(struct dev *d)
{
	pthread_mutex_lock(&d->lock);
	pci_dev_reset(&container_of(d, struct pvpanic_pci, p.d)->p);
	pthread_mutex_unlock(&d->lock);
}

#define S struct pvpanic_pci
static const struct prop pci_props[] = { PVPANIC_EVENTS(S), PROPS_END };

static const struct state_desc pci_state = {
	.name = "pvpanic-pci",
	.struct_name = "pvpanic_pci",
	.version = 1,
	.fields = (const struct state_field[]){ ST_SUB(S, p, &pci_dev_state),
						ST_SUB(S, core, &pvpanic_state), ST_END },
};
#undef S

const struct dev_type pvpanic_pci_dev_type = {
	.name = "pvpanic-pci",
	.bus = DEV_BUS_PCI,
	.help = "PCI function by which the guest reports its panic",
	.size = sizeof(struct pvpanic_pci),
	.props = pci_props,
	.state = &pci_state,
	.init = pci_init,
	.fini = pci_fini,
	.reset = pci_reset,
};

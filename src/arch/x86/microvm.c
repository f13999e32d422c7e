/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The microvm board: what a Linux guest needs and no more. Virtio over mapped registers, ACPI
 * (hardware-reduced, version 6.4 section 4.1) instead of probing, no PIT, PIC, CMOS clock or
 * keyboard controller; PCI Express by ECAM alone where it is asked for (pcie=on). Addresses are
 * those of QEMU's machine of the same name. Beside what board.c lists:
 *
 *	c0000000 - dfffffff	PCI, 32 bit		(pcie=on)
 *	e0000000		ECAM, 256 buses		(pcie=on)
 *	fea00000		generic event device
 *	feb00000		virtio devices, 512 bytes each
 *	behind high RAM		PCI, 64 bit		(pcie=on)
 *
 * Each virtio device has an interrupt input of its own as long as there are some: 16 to 23, and
 * those low ones that no serial port has. PCI pins share 20 to 23.
 *
 * Threads: control thread.
 */
#include "base/base.h"
#include "arch/x86/board.h"
#include "core/accel.h"
#include "dev/ged.h"
#include "virtio/virtio_mmio.h"

#define PCI32_FIRST 0xc0000000u
#define PCI32_SIZE  0x20000000u
#define ECAM_BASE   0xe0000000u
#define ECAM_BUSES  256u
#define GED_BASE    0xfea00000u
#define GED_GSI	    9u
#define VIRTIO_BASE 0xfeb00000u

static const uint8_t virtio_gsi[] = { 16, 17, 18, 19, 20, 21, 22, 23, 5,
				      6,  7,  10, 11, 12, 13, 14, 15 };

/* The function at 00:00.0 that shows a host bridge, as QEMU's generic one. */
struct host_bridge {
	struct pci_dev p;
	struct x86_board *board;
	struct map_region ecam;
};

struct microvm {
	struct virtio_mmio_bus virtio;
	struct fw_mmio place[VIRTIO_MMIO_SLOTS_MAX];
};

static unsigned slot_gsi(unsigned slot)
{
	return virtio_gsi[slot % ARRAY_SIZE(virtio_gsi)];
}

static struct irq slot_line(void *opaque, unsigned slot)
{
	return gsi_line(opaque, slot_gsi(slot));
}

/* ---- PCI ---- */

static int bridge_init(struct dev *d, struct err *e)
{
	static const struct pci_id id = { .vendor = 0x1b36,
					  .device = 0x0008,
					  .subvendor = 0x1af4,
					  .subdevice = 0x1100,
					  .class_rev = 0x06000000 };
	struct host_bridge *s = container_of(d, struct host_bridge, p.d);
	int r;

	s->p.addr = PCI_DEVFN(0, 0);
	r = pci_dev_attach(s->board->pci, &s->p, &id, e);
	if (r)
		return r;
	s->ecam = (struct map_region){ .name = "pcie-ecam",
				       .space = MAP_MEM,
				       .kind = MAP_IO,
				       .addr = ECAM_BASE,
				       .size = (uint64_t)ECAM_BUSES << 20,
				       .ops = &pci_ecam_ops,
				       .opaque = s->board->pci };
	return map_add(d->vm->map, &s->ecam, e);
}

static void bridge_fini(struct dev *d)
{
	struct host_bridge *s = container_of(d, struct host_bridge, p.d);

	if (s->ecam.added)
		map_del(d->vm->map, &s->ecam);
	pci_dev_detach(&s->p);
}

static void bridge_reset(struct dev *d)
{
	pci_dev_reset(container_of(d, struct pci_dev, d));
}

#define S struct host_bridge
static const struct state_desc bridge_state = {
	.name = "gpex-root",
	.struct_name = "host_bridge",
	.version = 1,
	.fields = (const struct state_field[]){ ST_SUB(S, p, &pci_dev_state), ST_HOST(S, board),
						ST_HOST(S, ecam), ST_END },
};
#undef S

static const struct dev_type bridge_type = {
	.name = "gpex-root",
	.bus = DEV_BUS_PCI,
	.help = "generic PCI Express host bridge",
	.size = sizeof(struct host_bridge),
	.state = &bridge_state,
	.internal = true,
	.init = bridge_init,
	.fini = bridge_fini,
	.reset = bridge_reset,
};

static void prepare_bridge(struct dev *d, void *arg)
{
	container_of(d, struct host_bridge, p.d)->board = arg;
}

/* ---- the board ---- */

static void prepare_ged(struct dev *d, void *arg)
{
	struct ged_dev *s = container_of(d, struct ged_dev, d);

	s->region.addr = GED_BASE;
	s->irq = gsi_line(arg, GED_GSI);
}

static int microvm_init(struct x86_board *b, struct err *e)
{
	struct dev *d = board_make(b, &ged_dev_type, prepare_ged, e);

	if (!d)
		return -EINVAL;
	b->ged = container_of(d, struct ged_dev, d);
	b->microvm = xnew(struct microvm);
	b->microvm->virtio = (struct virtio_mmio_bus){ .base = VIRTIO_BASE,
						       .nr_slots = VIRTIO_MMIO_SLOTS_MAX,
						       .line = slot_line,
						       .opaque = b };
	b->vm->virtio_mmio = &b->microvm->virtio;
	b->vm->virtio_bus = DEV_BUS_VIRTIO_MMIO;
	if (!b->vm->conf->pcie)
		return 0;
	b->pci = pci_bus_new(b->vm, gsi_pci_intx, b);
	return board_make(b, &bridge_type, prepare_bridge, e) ? 0 : -EINVAL;
}

static void microvm_fini(struct x86_board *b)
{
	b->vm->virtio_mmio = NULL;
	free(take_ptr(b->microvm));
}

static void describe_virtio(struct microvm *m, struct fw_board *f)
{
	f->nr_virtio = 0;
	f->virtio = m->place;
	for (unsigned i = 0; i < m->virtio.nr_slots; i++)
		if (m->virtio.slot[i])
			m->place[f->nr_virtio++] = (struct fw_mmio){
				.base = (uint32_t)(m->virtio.base + i * VIRTIO_MMIO_SIZE),
				.len = VIRTIO_MMIO_SIZE,
				.gsi = slot_gsi(i),
			};
}

static void microvm_describe(struct x86_board *b, struct fw_board *f)
{
	f->hw_reduced = true;
	f->ged = (struct fw_mmio){ .base = GED_BASE, .len = GED_SIZE, .gsi = GED_GSI };
	f->ged_power_button = GED_POWER_BUTTON;
	f->sleep_control = GED_BASE + GED_SLEEP_CONTROL;
	f->sleep_status = GED_BASE + GED_SLEEP_STATUS;
	f->reset_reg = GED_BASE + GED_RESET;
	f->reset_value = GED_RESET_VALUE;
	f->s5_typ = GED_S5_TYP;
	describe_virtio(b->microvm, f);
	if (!b->pci)
		return;
	f->ecam_base = ECAM_BASE;
	f->ecam_buses = ECAM_BUSES;
	f->pci_mem32_base = PCI32_FIRST;
	f->pci_mem32_size = PCI32_SIZE;
	board_pci64_window(b, f);
}

static void microvm_power_button(struct x86_board *b)
{
	ged_dev_button(b->ged);
}

/* Whether the user says something of that: "pci=" at the start of a word. */
static bool has_word(const char *text, const char *word)
{
	for (const char *at = text; (at = strstr(at, word)); at++)
		if (at == text || at[-1] == ' ')
			return true;
	return false;
}

/*
 * What ACPI has no word for: that there is no PCI and that there are so many serial ports. A kernel
 * that is not told looks for them by ports, a hundred and more exits. And Linux need not try its
 * ciphers out at each start, which is a third of what it executes up to init (it does so in FIPS
 * mode all the same). auto-kernel-cmdline=off keeps the arguments as they are.
 */
static char *microvm_append(struct x86_board *b, const char *user)
{
	const char *pci = b->pci || has_word(user, "pci=") ? "" : " pci=off";
	const char *tests = has_word(user, "cryptomgr.") ? "" : " cryptomgr.notests";
	autofree char *uarts = xstrdup("");
	unsigned n = 0;

	for (unsigned i = 0; i < FW_NR_COM; i++)
		if (b->fwb.com[i])
			n = i + 1;
	if (b->vm->conf->no_auto_append)
		return xstrdup(user);
	if (!has_word(user, "8250.nr_uarts=")) {
		free(uarts);
		uarts = xasprintf(" 8250.nr_uarts=%u", n);
	}
	return xasprintf("%s%s%s%s", user, pci, tests, uarts);
}

const struct x86_board_type microvm_board = {
	.name = "microvm",
	.help = "minimal: virtio-mmio and ACPI, PCI Express with pcie=on",
	.info = { .name = "microvm",
		  .help = "minimal: virtio-mmio and ACPI",
		  .parent = "x86-machine",
		  .cpu_max = X86_MAX_VCPUS,
		  .acpi = true,
		  .ram_id = "microvm.ram" },
	.low_max = PCI32_FIRST,
	.low_split = PCI32_FIRST,
	.uncached = { { PCI32_FIRST, GIB(1) } },
	.init = microvm_init,
	.fini = microvm_fini,
	.describe = microvm_describe,
	.power_button = microvm_power_button,
	.append = microvm_append,
};

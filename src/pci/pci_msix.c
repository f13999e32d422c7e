/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts of a PCI function: MSI-X and INTx.
 * PCI Local Bus 3.0 sections 6.8.2 (MSI-X) and 6.2.2 (INTx disable and status).
 *
 * A vector that sends has an eventfd in the engine for it (core/msi_route.h). What may be sent is
 * decided here, behind the lock, so that a masked vector's eventfd is not signalled and its pending
 * bit is exact. An eventfd may send a moment after it was signalled, on a thread of the kernel's:
 * while the machine stands still, and may be saved, there are none.
 *
 * Threads: any. irq_lock guards the table, the pending bits, the enable bits derived from the
 * configuration space, and INTx; it is a leaf but for the interrupt controllers' own locks.
 */
#include "base/base.h"
#include "base/trace.h"
#include "pci/pci_int.h"

#define ENTRY_SIZE 16u

/* ---- MSI-X ---- */

int pci_add_msix(struct pci_dev *d, unsigned n, unsigned bar, uint32_t table_off, uint32_t pba_off,
		 struct err *e)
{
	uint8_t data[10];
	int at;

	if (!n || n > PCI_MSIX_MAX || bar >= PCI_NR_BARS || d->bar[bar].kind == PCI_BAR_NONE ||
	    d->bar[bar].kind == PCI_BAR_IO || (table_off & 7) || (pba_off & 7) ||
	    table_off + (uint64_t)n * ENTRY_SIZE > d->bar[bar].size ||
	    pba_off + align_up(n, 64) / 8 > d->bar[bar].size)
		return err_set(e, EINVAL, "%s: %u MSI-X vectors do not fit BAR %u", d->d.path, n,
			       bar);
	st_le16(data, (uint16_t)(n - 1));
	st_le32(data + 2, table_off | bar);
	st_le32(data + 6, pba_off | bar);
	at = pci_add_cap(d, PCI_CAP_ID_MSIX, data, 12);
	if (at < 0)
		return err_set(e, ENOSPC, "%s: no room for the MSI-X capability", d->d.path);
	st_le16(d->wmask + at + 2, MSIX_CTRL_ENABLE | MSIX_CTRL_MASK);
	d->cap_msix = (uint16_t)at;
	d->msix = xnew_n(struct pci_msix_entry, n);
	d->nr_msix = n;
	d->msix_bar = bar;
	d->msix_table_off = table_off;
	d->msix_pba_off = pba_off;
	pci_msix_reset(d);
	return 0;
}

static uint64_t bar_read(void *opaque, uint64_t off, unsigned size)
{
	return pci_msix_read(opaque, off, size);
}

static void bar_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	pci_msix_write(opaque, off, val, size);
}

static const struct io_ops msix_bar_ops = {
	.read = bar_read, .write = bar_write, .min = 4, .max = 8
};

int pci_add_msix_bar(struct pci_dev *d, unsigned n, unsigned bar, struct err *e)
{
	uint64_t table = align_up((uint64_t)n * ENTRY_SIZE, 2048);
	uint64_t size = 4096;
	int ret;

	if (!n || n > PCI_MSIX_MAX || bar >= PCI_NR_BARS)
		return err_set(e, EINVAL, "%s: %u MSI-X vectors; 1 to %u are possible", d->d.path,
			       n, PCI_MSIX_MAX);
	while (size < table + 2048)
		size *= 2;
	d->bar[bar].region.ops = &msix_bar_ops;
	d->bar[bar].region.opaque = d;
	d->bar[bar].region.lock = &d->d.lock;
	ret = pci_add_bar(d, bar, PCI_BAR_MEM32, size, false, e);
	return ret < 0 ? ret : pci_add_msix(d, n, bar, 0, (uint32_t)table, e);
}

bool pci_msix_covers(const struct pci_dev *d, unsigned bar, uint64_t off)
{
	if (!d->nr_msix || bar != d->msix_bar)
		return false;
	return (off >= d->msix_table_off && off < d->msix_table_off + d->nr_msix * ENTRY_SIZE) ||
	       (off >= d->msix_pba_off && off < d->msix_pba_off + align_up(d->nr_msix, 64) / 8);
}

static bool may_send(const struct pci_dev *d, const struct pci_msix_entry *m)
{
	return d->msix_enabled && !d->msix_masked && !(m->ctrl & PCI_MSIX_MASKED) &&
	       (pci_command(d) & PCI_COMMAND_MASTER) && d->upstream_master;
}

static void send(struct pci_dev *d, struct pci_msix_entry *m)
{
	struct msi msi = { .addr = m->addr,
			   .data = m->data,
			   .devid = (uint32_t)pci_bus_number(d->bus) << 8 | d->devfn };
	struct vm *vm = d->d.vm;

	if (!d->msix_paused)
		msi_route_send(&m->route, vm, &msi, d->d.path, (unsigned)(m - d->msix));
	else if (vm->msi.send)
		vm->msi.send(vm->msi.opaque, &msi);
}

static void send_pending(struct pci_dev *d, struct pci_msix_entry *m)
{
	if (m->pending && may_send(d, m)) {
		m->pending = false;
		send(d, m);
	}
}

/* The dword of table or PBA at off. */
static uint32_t read_dword(const struct pci_dev *d, uint64_t off)
{
	uint64_t i;
	uint32_t v = 0;

	if (off - d->msix_table_off < (uint64_t)d->nr_msix * ENTRY_SIZE) {
		const struct pci_msix_entry *m = &d->msix[(off - d->msix_table_off) / ENTRY_SIZE];

		switch (off & 12) {
		case 0:
			return (uint32_t)m->addr;
		case 4:
			return (uint32_t)(m->addr >> 32);
		case 8:
			return m->data;
		default:
			return m->ctrl;
		}
	}
	i = (off - d->msix_pba_off) * 8;
	if (off < d->msix_pba_off || i >= d->nr_msix)
		return 0;
	for (unsigned b = 0; b < 32 && i + b < d->nr_msix; b++)
		v |= (uint32_t)d->msix[i + b].pending << b;
	return v;
}

uint64_t pci_msix_read(struct pci_dev *d, uint64_t off, unsigned size)
{
	uint64_t v;

	pthread_mutex_lock(&d->irq_lock);
	v = read_dword(d, off & ~3ull);
	if (size == 8)
		v |= (uint64_t)read_dword(d, (off & ~3ull) + 4) << 32;
	pthread_mutex_unlock(&d->irq_lock);
	v >>= 8 * (off & 3);
	return size < 8 ? v & (BIT64(8 * size) - 1) : v;
}

static void write_dword(struct pci_dev *d, uint64_t off, uint32_t val)
{
	struct pci_msix_entry *m;

	if (off - d->msix_table_off >= (uint64_t)d->nr_msix * ENTRY_SIZE)
		return; /* the PBA is read-only */
	m = &d->msix[(off - d->msix_table_off) / ENTRY_SIZE];
	switch (off & 12) {
	case 0:
		m->addr = (m->addr & ~0xffffffffull) | (val & ~3u);
		break;
	case 4:
		m->addr = (uint32_t)m->addr | (uint64_t)val << 32;
		break;
	case 8:
		m->data = val;
		break;
	default:
		m->ctrl = val & PCI_MSIX_MASKED;
		send_pending(d, m);
		break;
	}
}

void pci_msix_write(struct pci_dev *d, uint64_t off, uint64_t val, unsigned size)
{
	/* Others than aligned dwords and qwords are undefined (6.8.2): ignored. */
	if ((size != 4 && size != 8) || (off & 3))
		return;
	pthread_mutex_lock(&d->irq_lock);
	write_dword(d, off, (uint32_t)val);
	if (size == 8)
		write_dword(d, off + 4, (uint32_t)(val >> 32));
	pthread_mutex_unlock(&d->irq_lock);
}

void pci_msix_fire(struct pci_dev *d, unsigned vector)
{
	pthread_mutex_lock(&d->irq_lock);
	if (vector < d->nr_msix && d->msix_enabled) {
		bool now = may_send(d, &d->msix[vector]);

		trace_msix_notify(d->d.path, vector, now);
		if (now)
			send(d, &d->msix[vector]);
		else
			d->msix[vector].pending = true;
	}
	pthread_mutex_unlock(&d->irq_lock);
}

bool pci_msix_on(const struct pci_dev *d)
{
	return __atomic_load_n(&d->msix_enabled, __ATOMIC_ACQUIRE);
}

void pci_msix_update(struct pci_dev *d)
{
	uint16_t ctrl;

	if (!d->cap_msix)
		return;
	pthread_mutex_lock(&d->irq_lock);
	ctrl = ld_le16(d->cfg + d->cap_msix + 2);
	__atomic_store_n(&d->msix_enabled, (ctrl & MSIX_CTRL_ENABLE) != 0, __ATOMIC_RELEASE);
	d->msix_masked = ctrl & MSIX_CTRL_MASK;
	trace_msix_write_config(d->d.path, d->msix_enabled, d->msix_masked);
	for (uint32_t i = 0; i < d->nr_msix; i++)
		send_pending(d, &d->msix[i]);
	pthread_mutex_unlock(&d->irq_lock);
}

void pci_msix_reset(struct pci_dev *d)
{
	if (!d->cap_msix)
		return;
	pthread_mutex_lock(&d->irq_lock);
	for (uint32_t i = 0; i < d->nr_msix; i++)
		d->msix[i] = (struct pci_msix_entry){ .ctrl = PCI_MSIX_MASKED,
						      .route = d->msix[i].route };
	st_le16(d->cfg + d->cap_msix + 2, (uint16_t)(d->nr_msix - 1));
	d->msix_enabled = false;
	d->msix_masked = false;
	pthread_mutex_unlock(&d->irq_lock);
}

static void set_paused(struct pci_dev *d, bool paused)
{
	pthread_mutex_lock(&d->irq_lock);
	d->msix_paused = paused;
	for (uint32_t i = 0; i < d->nr_msix; i++)
		msi_route_close(&d->msix[i].route, d->d.vm);
	pthread_mutex_unlock(&d->irq_lock);
}

void pci_msix_pause(struct pci_dev *d)
{
	set_paused(d, true);
}

void pci_msix_resume(struct pci_dev *d)
{
	set_paused(d, false);
}

/* ---- INTx ---- */

static void update_intx(struct pci_dev *d)
{
	bool out = d->intx_level && !(pci_command(d) & PCI_COMMAND_INTX_OFF) && !d->msix_enabled;

	if (d->intx_level)
		d->cfg[PCI_STATUS] |= PCI_STATUS_INTX;
	else
		d->cfg[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
	if (out == d->intx_out || !d->cfg[PCI_INT_PIN])
		return;
	d->intx_out = out;
	/* A bridge's own pin and those it passes on are one line above it. */
	pci_bus_intx(d->secondary ?: d->bus, d->secondary ? 0 : d->devfn,
		     (d->cfg[PCI_INT_PIN] - 1u) & 3, out);
}

void pci_intx_update(struct pci_dev *d)
{
	pthread_mutex_lock(&d->irq_lock);
	update_intx(d);
	pthread_mutex_unlock(&d->irq_lock);
}

void pci_intx(struct pci_dev *d, int level)
{
	pthread_mutex_lock(&d->irq_lock);
	d->intx_level = level != 0;
	update_intx(d);
	pthread_mutex_unlock(&d->irq_lock);
}

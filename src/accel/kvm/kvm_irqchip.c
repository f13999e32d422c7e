/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's own interrupt controllers: local APICs, IOAPIC and the pair of 8259s. What a guest does
 * with them stays in the kernel, and so do its halts. Lines have numbers of ours (GSIs): the
 * IOAPIC's pins first, the PICs' lines behind them, so that the board decides what is wired to
 * which. With kernel-irqchip=split only the local APICs are KVM's: the board's IOAPIC sends
 * messages, and a route for each of its pins says which ends of interrupts it has to be told.
 * Eventfds that are interrupts have routes behind the lines.
 *
 * Any thread, routes under routes_lock, a leaf. Source: api.rst 4.24 to 4.26 (creation,
 * lines), 4.52 (routing), 4.71 (messages), 4.75 (irqfd), 7.5 (KVM_CAP_SPLIT_IRQCHIP).
 */
#include "base/base.h"
#include "accel/kvm/kvm_int.h"
#include "base/log.h"
#include "base/trace.h"
#include "isa/x86/irqchip.h"
#include <stdio.h>

/* #syscalls start: ioctl(KVM_CREATE_IRQCHIP) ioctl(KVM_ENABLE_CAP) */
/* #syscalls control vcpu io: ioctl(KVM_SET_GSI_ROUTING) ioctl(KVM_IRQFD) */
/* #syscalls control vcpu: ioctl(KVM_GET_MP_STATE) ioctl(KVM_SET_MP_STATE) */
/* #syscalls control vcpu io: ioctl(KVM_IRQ_LINE) ioctl(KVM_SIGNAL_MSI) */

#define NR_PINS X86_IOAPIC_PINS
#define GSI_PIC NR_PINS /* GSI of the PICs' line 0 */
#define NR_GSI	(GSI_PIC + 16)

static void set_line(struct vm *vm, unsigned gsi, int level)
{
	const struct kvm_vm *kv = vm->accel_state;
	struct kvm_irq_level line = { .irq = gsi, .level = (uint32_t)level };
	int r = kvm_ioctl(kv->fd, KVM_IRQ_LINE, &line);

	if (r < 0)
		log_warn("KVM does not set interrupt line %u to %d (KVM_IRQ_LINE: %s)", gsi, level,
			 strerror(-r));
}

static void set_ioapic(struct vm *vm, unsigned pin, int level)
{
	set_line(vm, pin, level);
}

static void set_pic(struct vm *vm, unsigned line, int level)
{
	set_line(vm, GSI_PIC + line, level);
}

/* A message to nobody is no error: it returns 0, and on hardware it vanishes too. */
static void send_msi(struct vm *vm, const struct msi *msi)
{
	const struct kvm_vm *kv = vm->accel_state;
	struct kvm_msi m = { .address_lo = (uint32_t)msi->addr,
			     .address_hi = (uint32_t)(msi->addr >> 32),
			     .data = msi->data };

	kvm_ioctl(kv->fd, KVM_SIGNAL_MSI, &m);
}

/* What the hypercall "kick this CPU" sends: the delivery mode that is reserved elsewhere. */
void kvm_pv_wake(struct vcpu *v)
{
	const struct msi wake = { .addr = 0xfee00000 | v->apic_id << 12, .data = 3u << 8 };

	send_msi(v->vm, &wake);
}

/* ---- which line or eventfd is what: one table a VM ---- */

static void fixed_route(struct kvm_irq_routing_entry *n, unsigned gsi)
{
	unsigned line = gsi - GSI_PIC;

	n->type = KVM_IRQ_ROUTING_IRQCHIP;
	n->u.irqchip.irqchip = gsi < GSI_PIC ? KVM_IRQCHIP_IOAPIC
			       : line < 8    ? KVM_IRQCHIP_PIC_MASTER
					     : KVM_IRQCHIP_PIC_SLAVE;
	n->u.irqchip.pin = gsi < GSI_PIC ? gsi : line & 7;
}

/* Under routes_lock. */
static int write_routes(struct kvm_vm *kv)
{
	autofree struct kvm_irq_routing *t =
		xcalloc(1, sizeof(*t) + kv->nr_routes * sizeof(t->entries[0]));

	for (unsigned gsi = 0; gsi < kv->nr_routes; gsi++) {
		const struct kvm_route *r = &kv->routes[gsi];
		bool fixed = gsi < NR_GSI && !kv->split;
		struct kvm_irq_routing_entry *n = &t->entries[t->nr];

		if (!fixed && !r->used)
			continue;
		t->nr++;
		n->gsi = gsi;
		if (fixed) {
			fixed_route(n, gsi);
			continue;
		}
		n->type = KVM_IRQ_ROUTING_MSI;
		n->u.msi.address_lo = (uint32_t)r->msi.addr;
		n->u.msi.address_hi = (uint32_t)(r->msi.addr >> 32);
		n->u.msi.data = r->msi.data;
	}
	trace_kvm_irqchip_commit_routes(t->nr);
	return kvm_ioctl(kv->fd, KVM_SET_GSI_ROUTING, t);
}

static void set_ioapic_route(struct vm *vm, unsigned pin, const struct msi *msi)
{
	struct kvm_vm *kv = vm->accel_state;
	struct kvm_route *route = &kv->routes[pin];
	int r = 0;

	pthread_mutex_lock(&kv->routes_lock);
	if (!route->used || route->msi.addr != msi->addr || route->msi.data != msi->data) {
		route->used = true;
		route->msi = *msi;
		r = write_routes(kv);
	}
	pthread_mutex_unlock(&kv->routes_lock);
	if (r < 0)
		log_warn("KVM does not take the route of IOAPIC pin %u (KVM_SET_GSI_ROUTING: %s): "
			 "the end of its level-triggered interrupts is not told",
			 pin, strerror(-r));
}

/* ---- eventfds that are interrupts ---- */

static int tell_irqfd(struct kvm_vm *kv, unsigned gsi, bool add)
{
	struct kvm_irqfd k = { .fd = (uint32_t)kv->routes[gsi].fd,
			       .gsi = gsi,
			       .flags = add ? 0 : KVM_IRQFD_FLAG_DEASSIGN };

	return kvm_ioctl(kv->fd, KVM_IRQFD, &k);
}

/*
 * KVM looks at no more of an address than a local APIC would, and would take any for that of an
 * interrupt.
 */
static int check_address(const struct msi *msi, const char *user, struct err *e)
{
	return msi->addr >> 20 != 0xfee
		       ? err_set(e, EINVAL,
				 "the message of %s is no interrupt: its address is %#" PRIx64
				 ", and those of interrupts begin at 0xfee00000",
				 user, msi->addr)
		       : 0;
}

/* The number of a free route behind the lines, or that of one with this eventfd and *taken set. */
static unsigned find_route(struct kvm_vm *kv, int fd, bool *taken)
{
	unsigned unused = kv->nr_routes;

	*taken = false;
	for (unsigned gsi = NR_GSI; gsi < kv->nr_routes; gsi++) {
		if (kv->routes[gsi].used && kv->routes[gsi].fd == fd) {
			*taken = true;
			return gsi;
		}
		if (!kv->routes[gsi].used)
			unused = MIN(unused, gsi);
	}
	return unused;
}

static int add_irqfd(struct kvm_vm *kv, int fd, const char *user, const struct msi *msi,
		     struct err *e)
{
	bool taken;
	unsigned gsi = find_route(kv, fd, &taken);
	int max = kvm_cap(kv, KVM_CAP_IRQ_ROUTING), r = check_address(msi, user, e);

	if (r < 0)
		return r;
	if (taken)
		return err_set(e, EBUSY,
			       "eventfd %d of %s is the interrupt of %s already: each needs one "
			       "of its own",
			       fd, user, kv->routes[gsi].user);
	if (max > 0 && gsi >= (unsigned)max)
		return err_set(e, ENOSPC,
			       "%s: KVM has room for %d interrupt routes, and all are taken", user,
			       max);
	if (gsi == kv->nr_routes) {
		kv->routes = xrealloc(kv->routes, gsi + 1, sizeof(*kv->routes));
		kv->nr_routes++;
	}
	kv->routes[gsi] = (struct kvm_route){ .used = true, .msi = *msi, .fd = fd };
	snprintf(kv->routes[gsi].user, sizeof(kv->routes[gsi].user), "%s", user);
	trace_kvm_irqchip_add_msi_route(user, gsi);
	r = write_routes(kv);
	if (r >= 0)
		r = tell_irqfd(kv, gsi, true);
	if (r >= 0)
		return (int)gsi;
	kv->routes[gsi].used = false;
	if (r == -EBUSY)
		return err_set(
			e, EBUSY,
			"eventfd %d of %s is the interrupt of another virtual machine or "
			"device already (KVM_IRQFD: %s): since Linux 6.17 one eventfd is one "
			"interrupt, over all processes; give each an eventfd of its own",
			fd, user, strerror(-r));
	return err_set_errno(
		e, -r, "KVM does not take eventfd %d as an interrupt of %s (KVM_IRQFD)", fd, user);
}

static int irqfd_add(struct vm *vm, int fd, const char *user, const struct msi *msi, struct err *e)
{
	struct kvm_vm *kv = vm->accel_state;
	int r;

	pthread_mutex_lock(&kv->routes_lock);
	r = add_irqfd(kv, fd, user, msi, e);
	pthread_mutex_unlock(&kv->routes_lock);
	return r;
}

static int irqfd_set(struct vm *vm, int id, const struct msi *msi, struct err *e)
{
	struct kvm_vm *kv = vm->accel_state;
	int r;

	trace_kvm_irqchip_update_msi_route((unsigned)id);
	pthread_mutex_lock(&kv->routes_lock);
	r = check_address(msi, kv->routes[id].user, e);
	if (r < 0) {
		pthread_mutex_unlock(&kv->routes_lock);
		return r;
	}
	kv->routes[id].msi = *msi;
	r = write_routes(kv);
	pthread_mutex_unlock(&kv->routes_lock);
	return r < 0 ? err_set_errno(e, -r,
				     "KVM does not take the message of %s (address %#" PRIx64
				     ", data %#x; KVM_SET_GSI_ROUTING)",
				     kv->routes[id].user, msi->addr, msi->data)
		     : 0;
}

static void irqfd_del(struct vm *vm, int id)
{
	struct kvm_vm *kv = vm->accel_state;
	int r;

	trace_kvm_irqchip_release_virq((unsigned)id);
	pthread_mutex_lock(&kv->routes_lock);
	r = tell_irqfd(kv, (unsigned)id, false);
	/* Nobody signals the route any more: KVM's table loses it when it is next written. */
	kv->routes[id].used = false;
	pthread_mutex_unlock(&kv->routes_lock);
	if (r < 0)
		log_warn("KVM does not let go of the interrupt of %s (KVM_IRQFD: %s)",
			 kv->routes[id].user, strerror(-r));
}

/* ---- which controllers there are ---- */

static const struct accel_irqchip irqchip = {
	.set_ioapic = set_ioapic,
	.set_pic = set_pic,
	.send_msi = send_msi,
	.set_elcr = kvm_chips_set_elcr,
	.irqfd_add = irqfd_add,
	.irqfd_set = irqfd_set,
	.irqfd_del = irqfd_del,
	.get_lapic = kvm_lapic_get,
	.set_lapic = kvm_lapic_set,
	.get_chips = kvm_chips_get,
	.set_chips = kvm_chips_set,
};

static const struct accel_irqchip split_irqchip = {
	.send_msi = send_msi,
	.set_ioapic_route = set_ioapic_route,
	.irqfd_add = irqfd_add,
	.irqfd_set = irqfd_set,
	.irqfd_del = irqfd_del,
	.get_lapic = kvm_lapic_get,
	.set_lapic = kvm_lapic_set,
};

static int create(struct kvm_vm *kv, struct err *e)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { NR_PINS } };
	int r;

	if (!kv->split) {
		r = kvm_ioctl(kv->fd, KVM_CREATE_IRQCHIP, NULL);
		return r < 0 ? err_set_errno(e, -r,
					     "KVM makes no interrupt controllers "
					     "(KVM_CREATE_IRQCHIP): try kernel-irqchip=off")
			     : 0;
	}
	r = kvm_ioctl(kv->fd, KVM_ENABLE_CAP, &cap);
	return r < 0 ? err_set_errno(e, -r,
				     "KVM makes no local APICs alone (KVM_CAP_SPLIT_IRQCHIP): use "
				     "kernel-irqchip=on or off")
		     : 0;
}

int kvm_irqchip_init(struct kvm_vm *kv, struct err *e)
{
	int r;

	kv->split = kv->vm->conf->split_irqchip;
	r = create(kv, e);
	if (r)
		return r;
	kv->nr_routes = NR_GSI;
	kv->routes = xnew_n(struct kvm_route, NR_GSI);
	r = write_routes(kv);
	if (r < 0)
		return err_set_errno(e, -r,
				     "KVM refuses the wiring of %u interrupt lines "
				     "(KVM_SET_GSI_ROUTING)",
				     NR_GSI);
	kv->irqchip = true;
	kv->vm->irqchip = kv->split ? &split_irqchip : &irqchip;
	return 0;
}

/* ---- running, halted, waiting: KVM's word for it ---- */

int kvm_get_mp_state_of(struct kvm_vcpu *c, struct cpu_state *s)
{
	struct kvm_mp_state mp = { 0 };
	int r;

	s->mp_state = (uint8_t)c->mp_state;
	if (!c->kv->irqchip || c->mp_state == MP_SHUTDOWN)
		return 0;
	r = kvm_ioctl(c->fd, KVM_GET_MP_STATE, &mp);
	switch (mp.mp_state) {
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
		s->mp_state = MP_WAIT_SIPI;
		break;
	case KVM_MP_STATE_HALTED:
		s->mp_state = MP_HALTED;
		break;
	default:
		s->mp_state = MP_RUNNABLE;
		break;
	}
	return r;
}

int kvm_set_mp_state_of(struct kvm_vcpu *c, const struct cpu_state *s, struct err *e)
{
	static const uint32_t words[] = { [MP_RUNNABLE] = KVM_MP_STATE_RUNNABLE,
					  [MP_HALTED] = KVM_MP_STATE_HALTED,
					  [MP_WAIT_SIPI] = KVM_MP_STATE_INIT_RECEIVED,
					  [MP_SHUTDOWN] = KVM_MP_STATE_RUNNABLE };
	struct kvm_mp_state mp = { .mp_state = words[s->mp_state & 3] };
	int r;

	c->mp_state = (enum x86_mp_state)s->mp_state;
	if (c->kv->irqchip && c->mp_state != MP_SHUTDOWN)
		c->mp_state = MP_RUNNABLE;
	if (!c->kv->irqchip)
		return 0;
	r = kvm_ioctl(c->fd, KVM_SET_MP_STATE, &mp);
	return r < 0 ? err_set_errno(
			       e, -r,
			       "KVM does not let the vCPU run, halt or wait (KVM_SET_MP_STATE %u)",
			       mp.mp_state)
		     : 0;
}

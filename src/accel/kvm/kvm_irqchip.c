/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's own interrupt controllers: local APICs, IOAPIC and the pair of 8259s. What a guest does
 * with them stays in the kernel, and so do its halts. Lines have numbers of ours (GSIs): the
 * IOAPIC's pins first, the PICs' lines behind them, so that the board decides what is wired to
 * which. Source: api.rst 4.24 to 4.26 (creation, lines), 4.52 (routing), 4.71 (messages).
 */
#include "base/base.h"
#include "accel/kvm/kvm_int.h"
#include "base/log.h"
#include "isa/x86/irqchip.h"

#define NR_PINS X86_IOAPIC_PINS
#define GSI_PIC NR_PINS /* GSI of the PICs' line 0 */
#define NR_GSI	(GSI_PIC + 16)

static void set_line(struct vm *vm, unsigned gsi, int level)
{
	const struct kvm_vm *kv = vm->accel_state;
	struct kvm_irq_level line = { .irq = gsi, .level = (uint32_t)level };
	int r = kvm_ioctl(kv->fd, KVM_IRQ_LINE, &line);

	if (r < 0)
		log_warn("KVM does not set interrupt line %u: %s", gsi, strerror(-r));
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

static const struct accel_irqchip irqchip = {
	.set_ioapic = set_ioapic,
	.set_pic = set_pic,
	.send_msi = send_msi,
	.set_elcr = kvm_chips_set_elcr,
	.get_lapic = kvm_lapic_get,
	.set_lapic = kvm_lapic_set,
	.get_chips = kvm_chips_get,
	.set_chips = kvm_chips_set,
};

static int set_routes(struct kvm_vm *kv, struct err *e)
{
	autofree struct kvm_irq_routing *t = NULL;
	int r;

	t = xcalloc(1, sizeof(*t) + NR_GSI * sizeof(t->entries[0]));
	for (unsigned i = 0; i < NR_GSI; i++) {
		unsigned line = i - GSI_PIC;
		struct kvm_irq_routing_entry *n = &t->entries[t->nr++];

		*n = (struct kvm_irq_routing_entry){ .gsi = i, .type = KVM_IRQ_ROUTING_IRQCHIP };
		n->u.irqchip.irqchip = i < GSI_PIC ? KVM_IRQCHIP_IOAPIC
				       : line < 8  ? KVM_IRQCHIP_PIC_MASTER
						   : KVM_IRQCHIP_PIC_SLAVE;
		n->u.irqchip.pin = i < GSI_PIC ? i : line & 7;
	}
	r = kvm_ioctl(kv->fd, KVM_SET_GSI_ROUTING, t);
	return r < 0 ? err_set_errno(e, -r, "KVM refuses the wiring of %u interrupt lines", NR_GSI)
		     : 0;
}

int kvm_irqchip_init(struct kvm_vm *kv, struct err *e)
{
	int r = kvm_ioctl(kv->fd, KVM_CREATE_IRQCHIP, NULL);

	if (r < 0)
		return err_set_errno(e, -r, "KVM makes no interrupt controllers");
	r = set_routes(kv, e);
	if (r)
		return r;
	kv->irqchip = true;
	kv->vm->irqchip = &irqchip;
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
	return r < 0 ? err_set_errno(e, -r, "KVM_SET_MP_STATE") : 0;
}

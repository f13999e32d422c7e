/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events that are on their way to a vCPU (vcpu->events) as part of its saved state. Its thread
 * stands still, and so does everybody who sends.
 */
#include "base/base.h"
#include "accel/accel.h"
#include "core/vcpu.h"
#include "isa/x86/cpu_state.h"

#define SAVED (VCPU_EV_NMI | VCPU_EV_SMI | VCPU_EV_INIT | VCPU_EV_SIPI | VCPU_EV_WAKE)

void accel_get_events(const struct vcpu *v, struct cpu_state *s)
{
	uint32_t ev = vcpu_events(v);

	s->nmi_pending |= !!(ev & VCPU_EV_NMI);
	s->smi_pending |= !!(ev & VCPU_EV_SMI);
	s->init_pending |= !!(ev & VCPU_EV_INIT);
	s->sipi_pending = ev & VCPU_EV_SIPI;
	s->sipi_vector = (uint8_t)atomic_load(&v->sipi_vector);
	s->wake_pending |= !!(ev & VCPU_EV_WAKE);
}

void accel_set_events(struct vcpu *v, const struct cpu_state *s)
{
	uint32_t ev = (s->nmi_pending ? VCPU_EV_NMI : 0) | (s->smi_pending ? VCPU_EV_SMI : 0) |
		      (s->init_pending ? VCPU_EV_INIT : 0) | (s->sipi_pending ? VCPU_EV_SIPI : 0) |
		      (s->wake_pending ? VCPU_EV_WAKE : 0);

	vcpu_clear(v, SAVED & ~ev);
	atomic_store(&v->sipi_vector, s->sipi_vector);
	if (ev)
		vcpu_kick(v, ev);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Power-on, INIT and start-up IPI (reset.h). No threads, no state. */
#include "base/base.h"
#include "isa/x86/reset.h"
#include "isa/x86/x86.h"

#define APIC_BASE_BSP BIT64(8)

static struct x86_seg real_segment(unsigned type)
{
	return (struct x86_seg){ .limit = 0xffff, .attr = (uint16_t)(SEG_P | SEG_S | type) };
}

static void reset_segments(struct cpu_state *s)
{
	for (unsigned i = 0; i < SEG_NR; i++)
		s->seg[i] = real_segment(3);
	s->seg[SEG_CS] = real_segment(0xb);
	s->seg[SEG_CS].sel = 0xf000;
	s->seg[SEG_CS].base = 0xffff0000;
	s->ldtr = (struct x86_seg){ .limit = 0xffff, .attr = SEG_P | 2 };
	s->tr = (struct x86_seg){ .limit = 0xffff, .attr = SEG_P | 0xb };
	s->gdtr = s->idtr = (struct x86_dtable){ .limit = 0xffff };
}

void x86_power_on(struct cpu_state *s, uint32_t signature, bool bsp)
{
	memset(s, 0, sizeof(*s));
	s->gpr[RDX] = signature;
	s->rip = 0xfff0;
	s->rflags = FLAG_R1;
	reset_segments(s);
	s->cr0 = CR0_CD | CR0_NW | CR0_ET;
	s->dr6 = 0xffff0ff0;
	s->dr7 = 0x400;
	s->xcr0 = 1;
	s->fcw = 0x40;
	s->ftw = 0xff; /* all +0.0, valid */
	s->mxcsr = 0x1f80;
	s->pat = 0x0007040600070406ull;
	s->apic_base = 0xfee00000 | BIT64(11) | (bsp ? APIC_BASE_BSP : 0);
	s->smbase = 0x30000;
	s->misc_enable = 1;
	s->pv_poll_control = 1;
	s->mp_state = bsp ? MP_RUNNABLE : MP_WAIT_SIPI;
}

void x86_init(struct cpu_state *s, uint32_t signature)
{
	struct cpu_state old = *s, now;

	x86_power_on(&now, signature, old.apic_base & APIC_BASE_BSP);
	memcpy(s->gpr, now.gpr, sizeof(s->gpr));
	memcpy(s->seg, now.seg, sizeof(s->seg));
	memcpy(s->dr, now.dr, sizeof(s->dr));
	s->rip = now.rip;
	s->rflags = now.rflags;
	s->ldtr = now.ldtr;
	s->tr = now.tr;
	s->gdtr = now.gdtr;
	s->idtr = now.idtr;
	s->cr0 = now.cr0 | (old.cr0 & (CR0_CD | CR0_NW));
	s->cr2 = s->cr3 = s->cr4 = s->cr8 = 0;
	s->dr6 = now.dr6;
	s->dr7 = now.dr7;
	s->efer = 0;
	s->sti_shadow = s->mov_ss_shadow = s->nmi_masked = false;
	s->nmi_pending = s->smi_pending = s->event_injected = false;
	s->init_pending = s->wake_pending = s->has_pdptes = false;
	s->mp_state = now.mp_state;
}

void x86_sipi(struct cpu_state *s, uint8_t vector)
{
	s->seg[SEG_CS].sel = (uint16_t)(vector << 8);
	s->seg[SEG_CS].base = (uint64_t)vector << 12;
	s->rip = 0;
	s->mp_state = MP_RUNNABLE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System-management mode: entry on an SMI, the save-state map, RSM. The map is AMD64's (revision
 * 0x20064) for either vendor, which is what PC firmware for virtual machines expects. AMD APM
 * vol. 2 chapter 10. On the vCPU's thread. SMRAM is reached through the physical address map.
 */
#include "accel/soft/soft_vm.h"
#include "accel/soft/sys.h"
#include "base/bytes.h"
#include "mem/map.h"

#define SAVE_BASE 0xfe00 /* of the area, from SMBASE */
#define SAVE_SIZE 0x200
#define ENTRY_IP  0x8000
#define REVISION  0x00020064

/* Offsets in the area, as in the manual but for the leading 0xfe00. */
enum save_offset {
	SAVE_ES = 0x000, SAVE_CS = 0x010, SAVE_SS = 0x020, SAVE_DS = 0x030, SAVE_FS = 0x040,
	SAVE_GS = 0x050, SAVE_GDTR = 0x060, SAVE_LDTR = 0x070, SAVE_IDTR = 0x080, SAVE_TR = 0x090,
	SAVE_IO_RESTART = 0x0c8, SAVE_AUTO_HALT = 0x0c9, SAVE_NMI_MASK = 0x0ca,
	SAVE_EFER = 0x0d0, SAVE_REVISION = 0x0fc, SAVE_SMBASE = 0x100, SAVE_CR4 = 0x148,
	SAVE_CR3 = 0x150, SAVE_CR0 = 0x158, SAVE_DR7 = 0x160, SAVE_DR6 = 0x168,
	SAVE_RFLAGS = 0x170, SAVE_RIP = 0x178, SAVE_R15 = 0x180,
};

/* gpr[] in the order of the map, from SAVE_R15 upwards */
static const uint8_t gpr_order[16] = { R15, R14, R13, R12, R11, R10, R9, R8,
				       RDI, RSI, RBP, RSP, RBX, RDX, RCX, RAX };

/* The area goes to and from memory in whole; it is RAM, or reads as ones. */
static void save_area(struct soft_cpu *c, uint8_t *area, bool write)
{
	uint64_t at = (uint32_t)c->s.smbase + SAVE_BASE;

	for (unsigned i = 0; i < SAVE_SIZE; i += 8)
		map_access(c->map, MAP_MEM, at + i, area + i, 8, write);
}

static void put_seg(uint8_t *p, const struct x86_seg *s)
{
	uint16_t attr = s->attr & 0xfff;

	if (s->attr & SEG_UNUSABLE)
		attr &= (uint16_t)~SEG_P;
	st_le16(p, s->sel);
	st_le16(p + 2, attr);
	st_le32(p + 4, s->limit);
	st_le64(p + 8, s->base);
}

static void get_seg(const uint8_t *p, struct x86_seg *s)
{
	s->sel = ld_le16(p);
	s->attr = ld_le16(p + 2) & 0xfff;
	s->limit = ld_le32(p + 4);
	s->base = ld_le64(p + 8);
	if (!(s->attr & SEG_P))
		s->attr |= SEG_UNUSABLE;
}

static void put_state(struct soft_cpu *c, uint8_t *a)
{
	for (unsigned i = 0; i < SEG_NR; i++)
		put_seg(a + SAVE_ES + 16 * i, &c->s.seg[i]);
	put_seg(a + SAVE_LDTR, &c->s.ldtr);
	put_seg(a + SAVE_TR, &c->s.tr);
	st_le16(a + SAVE_GDTR + 4, c->s.gdtr.limit);
	st_le64(a + SAVE_GDTR + 8, c->s.gdtr.base);
	st_le16(a + SAVE_IDTR + 4, c->s.idtr.limit);
	st_le64(a + SAVE_IDTR + 8, c->s.idtr.base);
	a[SAVE_AUTO_HALT] = c->s.mp_state == MP_HALTED;
	a[SAVE_NMI_MASK] = c->s.nmi_masked;
	st_le64(a + SAVE_EFER, c->s.efer);
	st_le32(a + SAVE_REVISION, REVISION);
	st_le32(a + SAVE_SMBASE, (uint32_t)c->s.smbase);
	st_le64(a + SAVE_CR4, c->s.cr4);
	st_le64(a + SAVE_CR3, c->s.cr3);
	st_le64(a + SAVE_CR0, c->s.cr0);
	st_le64(a + SAVE_DR7, c->s.dr7);
	st_le64(a + SAVE_DR6, c->s.dr6);
	st_le64(a + SAVE_RFLAGS, cpu_rflags(c));
	st_le64(a + SAVE_RIP, c->rip);
	for (unsigned i = 0; i < 16; i++)
		st_le64(a + SAVE_R15 + 8 * i, c->r[gpr_order[i]]);
}

static void set_flags(struct soft_cpu *c, uint64_t flags)
{
	c->fl = flags_to_fl(flags);
	c->rflags = (flags & ~(uint64_t)FLAGS_STATUS) | FLAG_R1;
}

/* Flat 4 GiB segments with 16-bit code at SMBASE + 0x8000. */
static void enter_handler(struct soft_cpu *c)
{
	uint32_t smbase = (uint32_t)c->s.smbase;

	for (unsigned i = 0; i < SEG_NR; i++)
		c->s.seg[i] = (struct x86_seg){ .limit = 0xffffffff,
						.attr = SEG_P | SEG_S | SEG_G | 3 };
	c->s.seg[SEG_CS].base = smbase;
	c->s.seg[SEG_CS].sel = (uint16_t)(smbase >> 4);
	c->s.cr0 &= ~(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
	c->s.cr4 = 0;
	c->s.efer = 0;
	c->s.dr7 = 0x400;
	set_flags(c, FLAG_R1);
	c->rip = ENTRY_IP;
	c->s.in_smm = true;
	c->s.nmi_masked = true;
	c->s.sti_shadow = c->s.mov_ss_shadow = false;
	c->s.mp_state = MP_RUNNABLE;
	c->dr6_pending = 0;
	mmu_flush(c, true, TLB_WHY_STATE);
	cpu_mode_changed(c);
}

void smm_enter(struct soft_cpu *c)
{
	uint8_t area[SAVE_SIZE];

	c->s.in_smm = true; /* SMRAM opens before the first byte is stored */
	save_area(c, area, false);
	put_state(c, area);
	save_area(c, area, true);
	enter_handler(c);
}

/* RSM into a state that cannot be is a shutdown. */
static bool state_sane(const struct soft_cpu *c, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	if (cr0 >> 32 || (cr0 & CR0_PG && !(cr0 & CR0_PE)) || (cr0 & CR0_NW && !(cr0 & CR0_CD)))
		return false;
	if (!(efer & EFER_LMA) != !(efer & EFER_LME && cr0 & CR0_PG))
		return false;
	if (cr4 & ~cr4_allowed(c) || (efer & EFER_LMA && !(cr4 & CR4_PAE)))
		return false;
	return !(cr4 & CR4_PCIDE && !(efer & EFER_LMA));
}

static void get_segments(struct soft_cpu *c, const uint8_t *a)
{
	for (unsigned i = 0; i < SEG_NR; i++)
		get_seg(a + SAVE_ES + 16 * i, &c->s.seg[i]);
	get_seg(a + SAVE_LDTR, &c->s.ldtr);
	get_seg(a + SAVE_TR, &c->s.tr);
	c->s.gdtr.limit = ld_le16(a + SAVE_GDTR + 4);
	c->s.gdtr.base = ld_le64(a + SAVE_GDTR + 8);
	c->s.idtr.limit = ld_le16(a + SAVE_IDTR + 4);
	c->s.idtr.base = ld_le64(a + SAVE_IDTR + 8);
}

void smm_leave(struct soft_cpu *c)
{
	uint8_t a[SAVE_SIZE];
	uint64_t cr0, cr4, efer;

	save_area(c, a, false);
	cr0 = ld_le64(a + SAVE_CR0);
	cr4 = ld_le64(a + SAVE_CR4);
	efer = ld_le64(a + SAVE_EFER) & (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_FFXSR |
					 BIT64(21));
	if (!state_sane(c, cr0, cr4, efer)) {
		c->s.mp_state = MP_SHUTDOWN;
		return;
	}
	get_segments(c, a);
	c->s.cr0 = cr0 | CR0_ET;
	c->s.cr3 = ld_le64(a + SAVE_CR3);
	c->s.cr4 = cr4;
	c->s.efer = efer;
	c->s.dr7 = (ld_le64(a + SAVE_DR7) & 0xffff2bff) | 0x400;
	c->s.dr6 = ld_le64(a + SAVE_DR6);
	/* virtual-8086 mode does not exist in long mode */
	set_flags(c, ld_le64(a + SAVE_RFLAGS) & (efer & EFER_LMA ? 0x3d7fd7 : 0x3f7fd7));
	c->rip = ld_le64(a + SAVE_RIP);
	for (unsigned i = 0; i < 16; i++)
		c->r[gpr_order[i]] = ld_le64(a + SAVE_R15 + 8 * i);
	c->s.smbase = ld_le32(a + SAVE_SMBASE);
	c->s.in_smm = false;
	c->s.nmi_masked = a[SAVE_NMI_MASK] & 1;
	if (a[SAVE_AUTO_HALT] & 1)
		c->s.mp_state = MP_HALTED;
	mmu_flush(c, true, TLB_WHY_STATE);
	cpu_mode_changed(c);
	if (c->s.cr0 & CR0_PG && c->s.cr4 & CR4_PAE && !(c->s.efer & EFER_LMA) &&
	    !mmu_load_pdptes(c, c->s.cr3))
		c->s.mp_state = MP_SHUTDOWN;
}

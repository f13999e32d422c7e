/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI fixed hardware of an ICH9: PM1 event and control, PM timer, GPE0, SMI registers, TCO as
 * registers, and the APM ports. ACPI 6.4 chapter 4.8; ICH9 datasheet 13.8 and 13.9.
 *
 * Sleeping state S5 ends the machine; S3 and S4 are not offered by the tables and do nothing.
 * The TCO watchdog counts ticks of 0.6 s: its first end notes a timeout (and sends an SMI where
 * that is on), a second one without the first being cleared is the machine's watchdog action,
 * unless the chipset says NO_REBOOT. It is halted at reset, as firmware leaves it; what it noted of
 * a second timeout outlives the reset.
 *
 * Threads: the chip is not locked; the device locks dev->lock (registers on vCPU threads, the
 * carry of the timer and the button on the control loop).
 */
#include "base/base.h"
#include "dev/acpi_pm.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "core/arch.h"
#include "core/vm.h"

#define PM1_STS 0x00u
#define PM1_EN	0x02u
#define PM1_CNT 0x04u
#define PM_TMR	0x08u
#define SMI_EN	0x30u
#define SMI_STS 0x34u
#define TCO	0x60u

#define STS_TMR	    BIT32(0)
#define STS_GBL	    BIT32(5)
#define STS_PWRBTN  BIT32(8)
#define STS_WAK	    BIT32(15)
#define PM1_STS_W1C 0xcf31u
#define PM1_EN_MASK 0x4721u

#define CNT_SCI_EN  BIT32(0)
#define CNT_GBL_RLS BIT32(2)
#define CNT_SLP_EN  BIT32(13)
#define CNT_MASK    0x1c07u

#define SMI_GBL	    BIT32(0)
#define SMI_APMC    BIT32(5)
#define SMI_TCO	    BIT32(13)
#define APM_ENABLE  0x02u
#define APM_DISABLE 0x03u

#define TCO_RLD	      0x00u
#define TCO1_STS      0x04u
#define TCO2_STS      0x06u
#define TCO1_CNT      0x08u
#define TCO_TMR	      0x12u
#define TCO1_CNT_HALT 0x08u /* in its high byte, as is the next */
#define TCO1_CNT_LOCK 0x10u
#define TCO1_TIMEOUT  0x08u
#define TCO2_SECOND   0x02u /* timeout */
#define TCO2_BOOT     0x04u /* since the last boot */
#define TCO_TICK_NS   (600 * NS_PER_MS)
#define TCO_TMR_MASK  0x03ffu
#define TCO_TMR_MIN   4u /* less is not to be written (13.9.10) */

static uint64_t pm_ticks(const struct acpi_pm *p, uint64_t now)
{
	return mul_div_u64(now > p->timer_ns ? now - p->timer_ns : 0, ACPI_PM_TIMER_HZ, NS_PER_SEC);
}

uint32_t acpi_pm_timer(const struct acpi_pm *p, uint64_t now)
{
	return (uint32_t)pm_ticks(p, now) & 0xffffff;
}

static void update_sci(struct acpi_pm *p)
{
	bool level = p->pm1_sts & p->pm1_en & PM1_EN_MASK;

	for (unsigned i = 0; i < sizeof(p->gpe_sts); i++)
		level |= (p->gpe_sts[i] & p->gpe_en[i]) != 0;
	level = level && (p->pm1_cnt & CNT_SCI_EN);
	if (level != p->level) {
		p->level = level;
		irq_set(&p->sci, level);
	}
}

static void send_smi(struct acpi_pm *p, uint32_t cause)
{
	if ((p->smi_en & (SMI_GBL | cause)) != (SMI_GBL | cause))
		return;
	p->smi_sts |= cause;
	if (p->smi)
		p->smi(p->opaque);
}

/* ---- TCO ---- */

static uint16_t tco_preset(const struct acpi_pm *p)
{
	return (uint16_t)MAX(ld_le16(p->tco + TCO_TMR) & TCO_TMR_MASK, TCO_TMR_MIN);
}

static bool tco_halted(const struct acpi_pm *p)
{
	return p->tco[TCO1_CNT + 1] & TCO1_CNT_HALT;
}

static uint16_t tco_count(const struct acpi_pm *p, uint64_t now)
{
	if (p->tco_end_ns == UINT64_MAX)
		return p->tco_left;
	if (now >= p->tco_end_ns)
		return 0;
	return (uint16_t)MIN((p->tco_end_ns - now + TCO_TICK_NS - 1) / TCO_TICK_NS,
			     (uint64_t)TCO_TMR_MASK);
}

static void tco_set_count(struct acpi_pm *p, uint16_t ticks, uint64_t now)
{
	p->tco_left = ticks;
	p->tco_end_ns = tco_halted(p) ? UINT64_MAX : now + ticks * TCO_TICK_NS;
}

static void tco_update(struct acpi_pm *p, uint64_t now)
{
	bool second = p->tco[TCO1_STS] & TCO1_TIMEOUT;

	if (now < p->tco_end_ns)
		return;
	p->tco[TCO1_STS] |= TCO1_TIMEOUT;
	tco_set_count(p, tco_preset(p), now);
	if (second)
		p->tco[TCO2_STS] |= TCO2_SECOND | TCO2_BOOT;
	if (second && !p->tco_no_reboot) {
		/* A guest that survives this starts it again by a reload. */
		p->tco_end_ns = UINT64_MAX;
		if (p->tco_expired)
			p->tco_expired(p->opaque);
		return;
	}
	send_smi(p, SMI_TCO);
}

uint64_t acpi_pm_update(struct acpi_pm *p, uint64_t now)
{
	uint64_t ticks = pm_ticks(p, now), carry;
	uint32_t toggles = (uint32_t)(ticks >> 23);

	tco_update(p, now);
	if (toggles != p->timer_toggles) {
		p->timer_toggles = toggles;
		p->pm1_sts |= STS_TMR;
		update_sci(p);
	}
	if (!(p->pm1_en & STS_TMR))
		return p->tco_end_ns;
	carry = p->timer_ns + 1 +
		mul_div_u64(((ticks >> 23) + 1) << 23, NS_PER_SEC, ACPI_PM_TIMER_HZ);
	return MIN(carry, p->tco_end_ns);
}

void acpi_pm_reset(struct acpi_pm *p, uint64_t now)
{
	uint8_t noted = p->tco[TCO2_STS] & (TCO2_SECOND | TCO2_BOOT);

	p->pm1_sts = 0;
	p->pm1_en = 0;
	p->pm1_cnt = 0;
	p->smi_en = 0;
	p->smi_sts = 0;
	memset(p->gpe_sts, 0, sizeof(p->gpe_sts));
	memset(p->gpe_en, 0, sizeof(p->gpe_en));
	memset(p->tco, 0, sizeof(p->tco));
	st_le16(p->tco + TCO_TMR, 4);
	p->tco[TCO1_CNT + 1] = TCO1_CNT_HALT;
	p->tco[TCO2_STS] = noted;
	tco_set_count(p, tco_preset(p), now);
	p->apm_cnt = 0;
	p->apm_sts = 0;
	p->timer_ns = now;
	p->timer_toggles = 0;
	update_sci(p);
}

static void go_to_sleep(struct acpi_pm *p, unsigned type)
{
	if ((type == ACPI_PM_S5_TYP || type == 7) && p->power_off)
		p->power_off(p->opaque);
}

/* A byte of a register whose bits are cleared by ones. */
static void w1c16(uint16_t *reg, unsigned byte, uint8_t val, uint16_t mask)
{
	*reg = (uint16_t)(*reg & ~((unsigned)val << (byte * 8) & mask));
}

static void set16(uint16_t *reg, unsigned byte, uint8_t val, uint16_t mask)
{
	unsigned v = (*reg & ~(0xffu << (byte * 8))) | (unsigned)val << (byte * 8);

	*reg = (uint16_t)(v & mask);
}

static void write_cnt(struct acpi_pm *p, unsigned byte, uint8_t val)
{
	set16(&p->pm1_cnt, byte, val, CNT_MASK);
	if (byte == 0 && (val & CNT_GBL_RLS))
		p->smi_sts |= BIT32(2);
	if (byte == 1 && (val & CNT_SLP_EN >> 8))
		go_to_sleep(p, p->pm1_cnt >> 10 & 7);
}

static uint8_t tco_read(const struct acpi_pm *p, unsigned off, uint64_t now)
{
	switch (off) {
	case TCO_RLD ... TCO_RLD + 1:
		return (uint8_t)(tco_count(p, now) >> (off - TCO_RLD) * 8);
	default:
		return p->tco[off];
	}
}

static void tco_write(struct acpi_pm *p, unsigned off, uint8_t val, uint64_t now)
{
	uint16_t count = tco_count(p, now);
	bool was_halted = tco_halted(p);

	switch (off) {
	case TCO_RLD:
	case TCO_RLD + 1:
		tco_set_count(p, tco_preset(p), now);
		break;
	case TCO1_STS:
	case TCO1_STS + 1:
	case TCO2_STS:
	case TCO2_STS + 1:
		p->tco[off] &= (uint8_t)~val;
		break;
	case TCO1_CNT + 1:
		p->tco[off] = val | (p->tco[off] & TCO1_CNT_LOCK);
		if (was_halted != tco_halted(p))
			tco_set_count(p, count, now);
		break;
	case TCO_TMR + 1:
		p->tco[off] = val & (TCO_TMR_MASK >> 8);
		break;
	default:
		p->tco[off] = val;
	}
}

static uint8_t read_gpe(const struct acpi_pm *p, unsigned off)
{
	return off < 8 ? p->gpe_sts[off] : p->gpe_en[off - 8];
}

uint8_t acpi_pm_read(struct acpi_pm *p, unsigned off, uint64_t now)
{
	acpi_pm_update(p, now);
	switch (off) {
	case PM1_STS ... PM1_STS + 1:
		return (uint8_t)(p->pm1_sts >> (off - PM1_STS) * 8);
	case PM1_EN ... PM1_EN + 1:
		return (uint8_t)(p->pm1_en >> (off - PM1_EN) * 8);
	case PM1_CNT ... PM1_CNT + 1:
		return (uint8_t)(p->pm1_cnt >> (off - PM1_CNT) * 8);
	case PM_TMR ... PM_TMR + 3:
		return (uint8_t)(acpi_pm_timer(p, now) >> (off - PM_TMR) * 8);
	case ACPI_PM_GPE0_OFF ... ACPI_PM_GPE0_OFF + ACPI_PM_GPE0_LEN - 1:
		return read_gpe(p, off - ACPI_PM_GPE0_OFF);
	case SMI_EN ... SMI_EN + 3:
		return (uint8_t)(p->smi_en >> (off - SMI_EN) * 8);
	case SMI_STS ... SMI_STS + 3:
		return (uint8_t)(p->smi_sts >> (off - SMI_STS) * 8);
	case TCO ... TCO + 0x1f:
		return tco_read(p, off - TCO, now);
	default:
		return 0;
	}
}

void acpi_pm_write(struct acpi_pm *p, unsigned off, uint8_t val, uint64_t now)
{
	unsigned shift;

	acpi_pm_update(p, now);
	switch (off) {
	case PM1_STS ... PM1_STS + 1:
		w1c16(&p->pm1_sts, off - PM1_STS, val, PM1_STS_W1C);
		break;
	case PM1_EN ... PM1_EN + 1:
		set16(&p->pm1_en, off - PM1_EN, val, PM1_EN_MASK);
		break;
	case PM1_CNT ... PM1_CNT + 1:
		write_cnt(p, off - PM1_CNT, val);
		break;
	case ACPI_PM_GPE0_OFF ... ACPI_PM_GPE0_OFF + 7:
		p->gpe_sts[off - ACPI_PM_GPE0_OFF] &= (uint8_t)~val;
		break;
	case ACPI_PM_GPE0_OFF + 8 ... ACPI_PM_GPE0_OFF + 15:
		p->gpe_en[off - ACPI_PM_GPE0_OFF - 8] = val;
		break;
	case SMI_EN ... SMI_EN + 3:
		shift = (off - SMI_EN) * 8;
		p->smi_en = (p->smi_en & ~(0xffu << shift)) | (uint32_t)val << shift;
		break;
	case SMI_STS ... SMI_STS + 3:
		p->smi_sts &= ~((uint32_t)val << (off - SMI_STS) * 8);
		break;
	case TCO ... TCO + 0x1f:
		tco_write(p, off - TCO, val, now);
		break;
	default:
		break;
	}
	update_sci(p);
}

void acpi_pm_apm_write(struct acpi_pm *p, unsigned off, uint8_t val)
{
	if (off) {
		p->apm_sts = val;
		return;
	}
	p->apm_cnt = val;
	/* What a firmware's SMI handler would do; with one, its SMI comes on top. */
	if (val == APM_ENABLE)
		p->pm1_cnt |= CNT_SCI_EN;
	else if (val == APM_DISABLE)
		p->pm1_cnt &= (uint16_t)~CNT_SCI_EN;
	update_sci(p);
	send_smi(p, SMI_APMC);
}

void acpi_pm_button(struct acpi_pm *p)
{
	p->pm1_sts |= STS_PWRBTN;
	update_sci(p);
}

void acpi_pm_gpe(struct acpi_pm *p, unsigned n)
{
	if (n < sizeof(p->gpe_sts) * 8)
		p->gpe_sts[n / 8] |= (uint8_t)(1u << n % 8);
	update_sci(p);
}

static int pm_check(void *obj, struct err *e)
{
	struct acpi_pm *p = obj;

	if ((p->pm1_en & ~PM1_EN_MASK) || (p->pm1_cnt & ~CNT_MASK))
		return err_set(e, EINVAL, "acpi-pm: reserved register bits are set");
	if (p->tco_left > TCO_TMR_MASK || (tco_halted(p) && p->tco_end_ns != UINT64_MAX))
		return err_set(e, EINVAL, "acpi-pm: impossible count of the watchdog");
	return 0;
}

#define S struct acpi_pm
const struct state_desc acpi_pm_state = {
	.name = "acpi-pm",
	.struct_name = "acpi_pm",
	.version = 2,
	.post_load = pm_check,
	.fields = (const struct state_field[]){ ST_HOST(S, sci),
						ST_HOST(S, power_off),
						ST_HOST(S, smi),
						ST_HOST(S, tco_expired),
						ST_HOST(S, opaque),
						ST_DERIVED(S, tco_no_reboot),
						ST_U16(S, pm1_sts),
						ST_U16(S, pm1_en),
						ST_U16(S, pm1_cnt),
						ST_U32(S, smi_en),
						ST_U32(S, smi_sts),
						ST_U8A(S, gpe_sts),
						ST_U8A(S, gpe_en),
						ST_U8A(S, tco),
						ST_U8(S, apm_cnt),
						ST_U8(S, apm_sts),
						ST_NS(S, timer_ns),
						ST_U32(S, timer_toggles),
						ST_BOOL(S, level),
						{ .name = "tco_end_ns",
						  .kind = STATE_NS,
						  .offset = offsetof(S, tco_end_ns),
						  .elem = sizeof(uint64_t),
						  .count = 1,
						  .since = 2 },
						{ .name = "tco_left",
						  .kind = STATE_U16,
						  .offset = offsetof(S, tco_left),
						  .elem = sizeof(uint16_t),
						  .count = 1,
						  .since = 2 },
						ST_END },
};
#undef S

/* ---- the device ---- */

/* Under dev->lock. */
static void rearm(struct acpi_pm_dev *s, uint64_t now)
{
	uint64_t next = acpi_pm_update(&s->chip, now);

	if (next != UINT64_MAX)
		loop_arm(s->d.vm->loop, &s->timer, next);
	else
		loop_disarm(s->d.vm->loop, &s->timer);
}

static void timer_fired(struct loop_timer *t)
{
	struct acpi_pm_dev *s = container_of(t, struct acpi_pm_dev, timer);

	pthread_mutex_lock(&s->d.lock);
	rearm(s, clock_now_ns());
	pthread_mutex_unlock(&s->d.lock);
}

/* Wider accesses are atomic: one time for all bytes. */
static uint64_t pm_read(void *opaque, uint64_t off, unsigned size)
{
	struct acpi_pm_dev *s = opaque;
	uint64_t now = clock_now_ns(), v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)acpi_pm_read(&s->chip, (unsigned)off + i, now) << i * 8;
	return v;
}

static void pm_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct acpi_pm_dev *s = opaque;
	uint64_t now = clock_now_ns();
	bool timer_wanted = s->chip.pm1_en & STS_TMR;
	uint64_t tco_end = s->chip.tco_end_ns;

	for (unsigned i = 0; i < size; i++)
		acpi_pm_write(&s->chip, (unsigned)off + i, (uint8_t)(val >> i * 8), now);
	if (timer_wanted != (s->chip.pm1_en & STS_TMR) || tco_end != s->chip.tco_end_ns)
		rearm(s, now);
}

static uint64_t apm_read(void *opaque, uint64_t off, unsigned size)
{
	struct acpi_pm_dev *s = opaque;

	return off ? s->chip.apm_sts : s->chip.apm_cnt;
}

static void apm_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct acpi_pm_dev *s = opaque;

	acpi_pm_apm_write(&s->chip, (unsigned)off, (uint8_t)val);
}

static const struct io_ops pm_ops = { pm_read, pm_write, 1, 4 };
static const struct io_ops apm_ops = { apm_read, apm_write, 1, 1 };

static void power_off(void *opaque)
{
	struct acpi_pm_dev *s = opaque;

	vm_request_shutdown(s->d.vm, VM_CAUSE_GUEST_SHUTDOWN);
}

static void tco_expired(void *opaque)
{
	struct acpi_pm_dev *s = opaque;

	vm_watchdog_expired(s->d.vm);
}

void acpi_pm_dev_no_reboot(struct acpi_pm_dev *s, bool no_reboot)
{
	pthread_mutex_lock(&s->d.lock);
	s->chip.tco_no_reboot = no_reboot;
	pthread_mutex_unlock(&s->d.lock);
}

int acpi_pm_dev_place(struct acpi_pm_dev *s, uint16_t base, struct err *e)
{
	if (!base) {
		if (s->region.added)
			map_del(s->d.vm->map, &s->region);
		return 0;
	}
	return map_move(s->d.vm->map, &s->region, base, e);
}

void acpi_pm_dev_acpi_mode(struct acpi_pm_dev *s)
{
	pthread_mutex_lock(&s->d.lock);
	s->chip.pm1_cnt |= CNT_SCI_EN;
	update_sci(&s->chip);
	pthread_mutex_unlock(&s->d.lock);
}

void acpi_pm_dev_button(struct acpi_pm_dev *s)
{
	pthread_mutex_lock(&s->d.lock);
	acpi_pm_button(&s->chip);
	pthread_mutex_unlock(&s->d.lock);
}

static int dev_init(struct dev *d, struct err *e)
{
	struct acpi_pm_dev *s = container_of(d, struct acpi_pm_dev, d);

	s->timer.fn = timer_fired;
	s->chip.sci = arch_isa_irq(d->vm, 9);
	s->chip.power_off = power_off;
	s->chip.tco_expired = tco_expired;
	s->chip.opaque = s;
	acpi_pm_reset(&s->chip, clock_now_ns());
	s->region = (struct map_region){ .name = "acpi-pm",
					 .space = MAP_PIO,
					 .kind = MAP_IO,
					 .size = ACPI_PM_SIZE,
					 .ops = &pm_ops,
					 .opaque = s,
					 .lock = &d->lock };
	s->apm = (struct map_region){ .name = "apm",
				      .space = MAP_PIO,
				      .kind = MAP_IO,
				      .addr = 0xb2,
				      .size = 2,
				      .ops = &apm_ops,
				      .opaque = s,
				      .lock = &d->lock };
	return map_add(d->vm->map, &s->apm, e);
}

static void dev_fini(struct dev *d)
{
	struct acpi_pm_dev *s = container_of(d, struct acpi_pm_dev, d);

	loop_disarm(d->vm->loop, &s->timer);
	if (s->region.added)
		map_del(d->vm->map, &s->region);
	if (s->apm.added)
		map_del(d->vm->map, &s->apm);
}

static void dev_reset(struct dev *d)
{
	struct acpi_pm_dev *s = container_of(d, struct acpi_pm_dev, d);

	pthread_mutex_lock(&d->lock);
	loop_disarm(d->vm->loop, &s->timer);
	acpi_pm_reset(&s->chip, clock_now_ns());
	pthread_mutex_unlock(&d->lock);
}

static void dev_pause(struct dev *d)
{
	loop_disarm(d->vm->loop, &container_of(d, struct acpi_pm_dev, d)->timer);
}

static void dev_resume(struct dev *d)
{
	pthread_mutex_lock(&d->lock);
	rearm(container_of(d, struct acpi_pm_dev, d), clock_now_ns());
	pthread_mutex_unlock(&d->lock);
}

#define S struct acpi_pm_dev
static const struct state_desc dev_state = {
	.name = "acpi-pm-dev",
	.struct_name = "acpi_pm_dev",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, d), ST_SUB(S, chip, &acpi_pm_state),
						ST_HOST(S, timer), ST_HOST(S, region),
						ST_HOST(S, apm), ST_END },
};
#undef S

const struct dev_type acpi_pm_dev_type = {
	.name = "ich9-pm",
	.bus = DEV_BUS_ISA,
	.help = "ACPI power management registers",
	.size = sizeof(struct acpi_pm_dev),
	.state = &dev_state,
	.internal = true,
	.init = dev_init,
	.fini = dev_fini,
	.reset = dev_reset,
	.pause = dev_pause,
	.resume = dev_resume,
};

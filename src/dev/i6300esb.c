/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watchdog timer of the Intel 6300ESB I/O controller hub, a PCI function of its own. Intel 6300ESB
 * datasheet (300641), chapter 16 (watchdog timer).
 *
 * Two counters run one after the other; each has a preload value of 20 bits and counts the PCI
 * clock divided by 2^15 or 2^5. The end of the first can interrupt, that of the second drives the
 * output, for which the machine's watchdog action stands. In free running mode only the second
 * counts, over and over. The memory registers take one write behind each sequence 80h, 86h; the
 * lock register keeps itself once it is locked.
 *
 * The interrupt of the first stage (an input of an I/O APIC that no board here has, or an SMI) is
 * only its status bit, as in QEMU. When the output goes off the timer is disabled and not locked
 * any more, so that a guest that survives it (pause, inject-nmi, none) can start it anew.
 *
 * Threads: the chip is not locked; the device runs under dev->lock (registers on vCPU threads, the
 * timer on the control loop).
 */
#include "base/base.h"
#include "dev/i6300esb.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "core/vm.h"

#define PCI_HZ 33000000u
/* Counts shorter than this are spread: a guest must get somewhere in between. */
#define MIN_STAGE_NS (10 * NS_PER_MS)

#define REG_PRELOAD1  0x00u
#define REG_PRELOAD2  0x04u
#define REG_INTERRUPT 0x08u
#define REG_RELOAD    0x0cu
#define PRELOAD_MASK  0xfffffu

#define CONFIG_INT_TYPE	  0x0003u
#define CONFIG_INT_OFF	  0x0003u
#define CONFIG_FAST	  0x0004u /* divides by 2^5 */
#define CONFIG_OUTPUT_OFF 0x0020u
#define CONFIG_MASK	  0x0027u

#define LOCK_LOCK     0x01u
#define LOCK_ENABLE   0x02u
#define LOCK_FREE_RUN 0x04u
#define LOCK_MASK     0x07u

#define UNLOCK1	       0x80u
#define UNLOCK2	       0x86u
#define RELOAD_RELOAD  0x0100u
#define RELOAD_TIMEOUT 0x0200u
/* Linux before 3.12 looks for the timeout in this bit, and clears it there. */
#define RELOAD_TIMEOUT_OLD 0x1000u

void i6300esb_reset(struct i6300esb *s)
{
	s->preload[0] = s->preload[1] = PRELOAD_MASK;
	s->config = 0;
	s->lock = 0;
	s->unlocking = 0;
	s->stage = 0;
	s->interrupt = false;
	s->deadline_ns = UINT64_MAX;
}

static void start_stage(struct i6300esb *s, uint8_t stage, uint64_t now)
{
	uint64_t clocks = (uint64_t)s->preload[stage] << (s->config & CONFIG_FAST ? 5 : 15);

	s->stage = stage;
	s->deadline_ns = now + MAX(mul_div_u64(clocks, NS_PER_SEC, PCI_HZ), MIN_STAGE_NS);
}

static void reload(struct i6300esb *s, uint64_t now)
{
	if (s->lock & LOCK_ENABLE)
		start_stage(s, s->lock & LOCK_FREE_RUN ? 1 : 0, now);
}

static void second_stage_over(struct i6300esb *s, uint64_t now)
{
	bool free_run = s->lock & LOCK_FREE_RUN;

	s->deadline_ns = UINT64_MAX;
	if (!(s->config & CONFIG_OUTPUT_OFF)) {
		s->timed_out = true;
		if (!free_run)
			s->lock = 0;
		if (s->expired)
			s->expired(s->opaque);
	}
	if (free_run)
		start_stage(s, 1, now);
}

uint64_t i6300esb_update(struct i6300esb *s, uint64_t now)
{
	if (now < s->deadline_ns)
		return s->deadline_ns;
	if (s->stage == 0) {
		if ((s->config & CONFIG_INT_TYPE) != CONFIG_INT_OFF)
			s->interrupt = true;
		start_stage(s, 1, now);
	} else {
		second_stage_over(s, now);
	}
	return s->deadline_ns;
}

static uint32_t reg_value(const struct i6300esb *s, unsigned reg)
{
	switch (reg) {
	case REG_PRELOAD1:
		return s->preload[0];
	case REG_PRELOAD2:
		return s->preload[1];
	case REG_INTERRUPT:
		return s->interrupt;
	case REG_RELOAD:
		return s->timed_out ? RELOAD_TIMEOUT | RELOAD_TIMEOUT_OLD : 0;
	default:
		return 0;
	}
}

uint32_t i6300esb_read(const struct i6300esb *s, unsigned off, unsigned size)
{
	return reg_value(s, off & ~3u) >> (off & 3) * 8;
}

/* What a write of a part of the register makes of all of it. */
static uint32_t merge(uint32_t old, unsigned off, uint32_t val, unsigned size)
{
	uint32_t mask = size == 4 ? UINT32_MAX : (1u << size * 8) - 1;
	unsigned shift = (off & 3) * 8;

	return (old & ~(mask << shift)) | (val & mask) << shift;
}

static void write_reload(struct i6300esb *s, uint32_t val, uint64_t now)
{
	if (val & (RELOAD_TIMEOUT | RELOAD_TIMEOUT_OLD))
		s->timed_out = false;
	if (val & RELOAD_RELOAD)
		reload(s, now);
}

void i6300esb_write(struct i6300esb *s, unsigned off, uint32_t val, unsigned size, uint64_t now)
{
	bool open = s->unlocking == 2;

	if (off == REG_RELOAD && (val == UNLOCK1 || (val == UNLOCK2 && s->unlocking == 1))) {
		s->unlocking = val == UNLOCK1 ? 1 : 2;
		return;
	}
	s->unlocking = 0;
	if (!open)
		return;
	switch (off & ~3u) {
	case REG_PRELOAD1:
		s->preload[0] = merge(s->preload[0], off, val, size) & PRELOAD_MASK;
		break;
	case REG_PRELOAD2:
		s->preload[1] = merge(s->preload[1], off, val, size) & PRELOAD_MASK;
		break;
	case REG_INTERRUPT:
		if (merge(0, off, val, size) & 1)
			s->interrupt = false;
		break;
	case REG_RELOAD:
		write_reload(s, merge(0, off, val, size), now);
		break;
	default:
		break;
	}
}

void i6300esb_set_config(struct i6300esb *s, uint16_t val)
{
	s->config = val & CONFIG_MASK;
}

void i6300esb_set_lock(struct i6300esb *s, uint8_t val, uint64_t now)
{
	bool was_on = s->lock & LOCK_ENABLE;

	if (s->lock & LOCK_LOCK)
		return;
	s->lock = val & LOCK_MASK;
	if (!(s->lock & LOCK_ENABLE))
		s->deadline_ns = UINT64_MAX;
	else if (!was_on)
		reload(s, now);
}

static int chip_check(void *obj, struct err *e)
{
	struct i6300esb *s = obj;

	if (s->preload[0] > PRELOAD_MASK || s->preload[1] > PRELOAD_MASK ||
	    (s->config & ~CONFIG_MASK) || (s->lock & ~LOCK_MASK) || s->unlocking > 2 ||
	    s->stage > 1 || (!(s->lock & LOCK_ENABLE) && s->deadline_ns != UINT64_MAX))
		return err_set(e, EINVAL, "i6300esb: impossible state of the watchdog");
	return 0;
}

#define S struct i6300esb
const struct state_desc i6300esb_state = {
	.name = "i6300esb",
	.struct_name = "i6300esb",
	.version = 1,
	.post_load = chip_check,
	.fields = (const struct state_field[]){ ST_HOST(S, expired), ST_HOST(S, opaque),
						ST_U32A(S, preload), ST_U16(S, config),
						ST_U8(S, lock), ST_U8(S, unlocking),
						ST_U8(S, stage), ST_BOOL(S, interrupt),
						ST_BOOL(S, timed_out), ST_NS(S, deadline_ns),
						ST_END },
};
#undef S

/* ---- the device ---- */

struct i6300esb_dev {
	struct pci_dev p; /* first */
	struct i6300esb chip;
	struct loop_timer timer;
};

static struct i6300esb_dev *of(struct dev *d)
{
	return container_of(d, struct i6300esb_dev, p.d);
}

/* Under dev->lock. */
static void rearm(struct i6300esb_dev *s, uint64_t now)
{
	uint64_t next = i6300esb_update(&s->chip, now);

	if (next == UINT64_MAX)
		loop_disarm(s->p.d.vm->loop, &s->timer);
	else
		loop_arm(s->p.d.vm->loop, &s->timer, next);
}

/* Configuration space shows what the chip holds: it may have refused what was written. */
static void show(struct i6300esb_dev *s)
{
	st_le16(s->p.cfg + I6300ESB_CONFIG, s->chip.config);
	s->p.cfg[I6300ESB_LOCK] = s->chip.lock;
}

static void expired(void *opaque)
{
	struct i6300esb_dev *s = opaque;

	show(s);
	vm_watchdog_expired(s->p.d.vm);
}

static void timer_fired(struct loop_timer *t)
{
	struct i6300esb_dev *s = container_of(t, struct i6300esb_dev, timer);

	pthread_mutex_lock(&s->p.d.lock);
	rearm(s, clock_now_ns());
	pthread_mutex_unlock(&s->p.d.lock);
}

static uint64_t esb_read(void *opaque, uint64_t off, unsigned size)
{
	struct i6300esb_dev *s = opaque;

	return i6300esb_read(&s->chip, (unsigned)off, size);
}

static void esb_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct i6300esb_dev *s = opaque;
	uint64_t now = clock_now_ns();

	i6300esb_write(&s->chip, (unsigned)off, (uint32_t)val, size, now);
	rearm(s, now);
}

static const struct io_ops esb_ops = { esb_read, esb_write, 1, 4 };

static void cfg_written(struct pci_dev *p, uint32_t off, unsigned size, uint32_t val)
{
	struct i6300esb_dev *s = container_of(p, struct i6300esb_dev, p);
	uint64_t now = clock_now_ns();

	if (off >= I6300ESB_LOCK + 1 || off + size <= I6300ESB_CONFIG)
		return;
	i6300esb_set_config(&s->chip, ld_le16(p->cfg + I6300ESB_CONFIG));
	i6300esb_set_lock(&s->chip, p->cfg[I6300ESB_LOCK], now);
	show(s);
	rearm(s, now);
}

static int dev_init(struct dev *d, struct err *e)
{
	static const struct pci_id id = { .vendor = 0x8086,
					  .device = 0x25ab,
					  .subvendor = 0x1af4,
					  .subdevice = 0x1100,
					  .class_rev = 0x08800000 };
	struct i6300esb_dev *s = of(d);
	struct pci_bus *bus = pci_bus_of(d->vm);
	int r;

	if (!bus)
		return err_set(e, ENODEV, "%s: this machine has no PCI bus", d->path);
	r = pci_dev_attach(bus, &s->p, &id, e);
	if (r < 0)
		return r;
	s->timer.fn = timer_fired;
	s->chip.expired = expired;
	s->chip.opaque = s;
	i6300esb_reset(&s->chip);
	s->p.cfg_written = cfg_written;
	st_le16(s->p.wmask + I6300ESB_CONFIG, CONFIG_MASK);
	s->p.wmask[I6300ESB_LOCK] = LOCK_MASK;
	s->p.bar[0].region.ops = &esb_ops;
	s->p.bar[0].region.opaque = s;
	s->p.bar[0].region.lock = &d->lock;
	return pci_add_bar(&s->p, 0, PCI_BAR_MEM32, 4096, false, e);
}

static void dev_fini(struct dev *d)
{
	loop_disarm(d->vm->loop, &of(d)->timer);
	pci_dev_detach(&of(d)->p);
}

static void dev_reset(struct dev *d)
{
	struct i6300esb_dev *s = of(d);

	pthread_mutex_lock(&d->lock);
	pci_dev_reset(&s->p);
	i6300esb_reset(&s->chip);
	show(s);
	rearm(s, clock_now_ns());
	pthread_mutex_unlock(&d->lock);
}

static void dev_pause(struct dev *d)
{
	loop_disarm(d->vm->loop, &of(d)->timer);
}

static void dev_resume(struct dev *d)
{
	pthread_mutex_lock(&d->lock);
	rearm(of(d), clock_now_ns());
	pthread_mutex_unlock(&d->lock);
}

static int dev_post_load(void *obj, struct err *e)
{
	show(obj);
	return 0;
}

#define S struct i6300esb_dev
static const struct state_desc dev_state = {
	.name = "i6300esb-dev",
	.struct_name = "i6300esb_dev",
	.version = 1,
	.post_load = dev_post_load,
	.fields = (const struct state_field[]){ ST_SUB(S, p, &pci_dev_state),
						ST_SUB(S, chip, &i6300esb_state), ST_HOST(S, timer),
						ST_END },
};
#undef S

const struct dev_type i6300esb_dev_type = {
	.name = "i6300esb",
	.bus = DEV_BUS_PCI,
	.help = "watchdog of the Intel 6300ESB; -watchdog-action says what it does",
	.size = sizeof(struct i6300esb_dev),
	.state = &dev_state,
	.init = dev_init,
	.fini = dev_fini,
	.reset = dev_reset,
	.pause = dev_pause,
	.resume = dev_resume,
};

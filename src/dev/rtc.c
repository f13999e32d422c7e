/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MC146818A real-time clock and CMOS RAM on ports 0x70 and 0x71, and the ICH9's second bank of
 * RAM on 0x72 and 0x73. Motorola MC146818A data sheet; ICH9 datasheet 13.6;
 * the places of sizes in CMOS are those of the PC's BIOS.
 *
 * The time is the host's plus an offset: nothing runs while nobody looks, but a timer while an
 * interrupt is enabled. The update-in-progress flag is up for the last 244 us of each second, so
 * that a guest which waits for it sees it fall, and one that reads without it set has its time.
 * Not modelled: daylight saving, square-wave output.
 *
 * Threads: the chip is not locked; the device runs under dev->lock (registers on vCPU threads, the
 * timer on the control loop).
 */
#include "base/base.h"
#include "dev/rtc.h"
#include "base/clock.h"
#include "core/arch.h"
#include "core/vm.h"
#include <stdio.h>
#include <time.h>

enum {
	SECONDS,
	SECONDS_ALARM,
	MINUTES,
	MINUTES_ALARM,
	HOURS,
	HOURS_ALARM,
	WEEKDAY,
	DAY,
	MONTH,
	YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D
};

#define A_UIP	  0x80u
#define A_DIVIDER 0x70u
#define A_RUN	  0x20u
#define A_RATE	  0x0fu
#define B_SET	  0x80u
#define B_PIE	  0x40u
#define B_AIE	  0x20u
#define B_UIE	  0x10u
#define B_BINARY  0x04u
#define B_24H	  0x02u
#define C_IRQF	  0x80u
#define C_PF	  0x40u
#define C_AF	  0x20u
#define C_UF	  0x10u
#define D_VALID	  0x80u
#define HOUR_PM	  0x80u
#define ALARM_ANY 0xc0u /* both top bits: matches every value */

#define UIP_NS	 (244 * NS_PER_US)
#define BANK	 128u
#define CLOCK_HZ 32768u
#define DAY_S	 86400u

static bool running(const struct rtc *s)
{
	return (s->cmos[REG_A] & A_DIVIDER) == A_RUN && !(s->cmos[REG_B] & B_SET);
}

static uint64_t guest_ns(const struct rtc *s, uint64_t wall)
{
	int64_t t = (int64_t)(wall + s->offset_ns);

	return t > 0 ? (uint64_t)t : 0;
}

/* ---- time to registers and back ---- */

static uint8_t encode(const struct rtc *s, unsigned v)
{
	return (uint8_t)(s->cmos[REG_B] & B_BINARY ? v : v / 10 % 10 << 4 | v % 10);
}

static unsigned decode(const struct rtc *s, uint8_t v)
{
	return s->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t encode_hour(const struct rtc *s, unsigned h)
{
	if (s->cmos[REG_B] & B_24H)
		return encode(s, h);
	return (uint8_t)(encode(s, h % 12 ? h % 12 : 12) | (h >= 12 ? HOUR_PM : 0));
}

static unsigned decode_hour(const struct rtc *s, uint8_t v)
{
	unsigned h;

	if (s->cmos[REG_B] & B_24H)
		return decode(s, v);
	h = decode(s, v & 0x7f) % 12;
	return v & HOUR_PM ? h + 12 : h;
}

static void time_to_regs(struct rtc *s, uint64_t second)
{
	time_t t = (time_t)second;
	struct tm tm;

	if (!gmtime_r(&t, &tm))
		return;
	s->cmos[SECONDS] = encode(s, (unsigned)tm.tm_sec);
	s->cmos[MINUTES] = encode(s, (unsigned)tm.tm_min);
	s->cmos[HOURS] = encode_hour(s, (unsigned)tm.tm_hour);
	s->cmos[WEEKDAY] = encode(s, (unsigned)tm.tm_wday + 1);
	s->cmos[DAY] = encode(s, (unsigned)tm.tm_mday);
	s->cmos[MONTH] = encode(s, (unsigned)tm.tm_mon + 1);
	s->cmos[YEAR] = encode(s, (unsigned)tm.tm_year % 100);
	s->cmos[RTC_CENTURY] = encode(s, ((unsigned)tm.tm_year + 1900) / 100);
}

static void regs_to_time(struct rtc *s, uint64_t wall)
{
	struct tm tm = {
		.tm_sec = (int)decode(s, s->cmos[SECONDS]),
		.tm_min = (int)decode(s, s->cmos[MINUTES]),
		.tm_hour = (int)decode_hour(s, s->cmos[HOURS]),
		.tm_mday = (int)decode(s, s->cmos[DAY]),
		.tm_mon = (int)decode(s, s->cmos[MONTH]) - 1,
		.tm_year = (int)(decode(s, s->cmos[RTC_CENTURY]) * 100 + decode(s, s->cmos[YEAR])) -
			   1900,
	};
	time_t t = timegm(&tm);
	uint64_t fraction = guest_ns(s, wall) % NS_PER_SEC;

	if (t < 0)
		t = 0;
	/* The divider chain keeps its phase. */
	s->offset_ns = (uint64_t)t * NS_PER_SEC + fraction - wall;
	s->second = (uint64_t)t;
	s->periodic = 0;
}

/* ---- interrupts ---- */

static void update_irq(struct rtc *s)
{
	/* Flags PF, AF, UF and enables PIE, AIE, UIE have the same places. */
	bool level = s->cmos[REG_C] & s->cmos[REG_B] & (C_PF | C_AF | C_UF);

	if (level)
		s->cmos[REG_C] |= C_IRQF;
	else
		s->cmos[REG_C] &= (uint8_t)~C_IRQF;
	if (level != s->level) {
		s->level = level;
		irq_set(&s->irq, level);
	}
}

static bool alarm_part(const struct rtc *s, uint8_t reg, unsigned value, bool hour)
{
	if ((reg & ALARM_ANY) == ALARM_ANY)
		return true;
	return (hour ? decode_hour(s, reg) : decode(s, reg)) == value;
}

static bool alarm_at(const struct rtc *s, uint64_t second)
{
	unsigned t = (unsigned)(second % DAY_S);

	return alarm_part(s, s->cmos[SECONDS_ALARM], t % 60, false) &&
	       alarm_part(s, s->cmos[MINUTES_ALARM], t / 60 % 60, false) &&
	       alarm_part(s, s->cmos[HOURS_ALARM], t / 3600, true);
}

/* Ticks of the 32 kHz clock between periodic interrupts; 0 = off. */
static unsigned period_ticks(const struct rtc *s)
{
	unsigned rate = s->cmos[REG_A] & A_RATE;

	if (!rate)
		return 0;
	return 1u << ((rate < 3 ? rate + 7 : rate) - 1);
}

static uint64_t periods(const struct rtc *s, uint64_t t)
{
	unsigned ticks = period_ticks(s);

	return ticks ? mul_div_u64(t, CLOCK_HZ, NS_PER_SEC * ticks) : 0;
}

static void note_seconds(struct rtc *s, uint64_t now)
{
	/* A day covers every alarm there is. */
	uint64_t from = now - s->second > DAY_S ? now - DAY_S : s->second;

	s->cmos[REG_C] |= C_UF;
	for (uint64_t t = from + 1; t <= now && !(s->cmos[REG_C] & C_AF); t++)
		if (alarm_at(s, t))
			s->cmos[REG_C] |= C_AF;
}

uint64_t rtc_update(struct rtc *s, uint64_t wall)
{
	uint64_t t = guest_ns(s, wall), now = t / NS_PER_SEC, n, wait = UINT64_MAX, edge;

	if (!running(s)) {
		update_irq(s);
		return UINT64_MAX;
	}
	if (now > s->second)
		note_seconds(s, now);
	s->second = now;
	n = periods(s, t);
	if (n != s->periodic && s->periodic)
		s->cmos[REG_C] |= C_PF;
	s->periodic = n;
	update_irq(s);
	if (s->cmos[REG_B] & (B_UIE | B_AIE))
		wait = NS_PER_SEC - t % NS_PER_SEC;
	if ((s->cmos[REG_B] & B_PIE) && period_ticks(s)) {
		edge = mul_div_u64((n + 1) * period_ticks(s), NS_PER_SEC, CLOCK_HZ) + 1;
		wait = MIN(wait, edge > t ? edge - t : 1);
	}
	return wait;
}

/* ---- registers ---- */

static uint8_t read_a(const struct rtc *s, uint64_t wall)
{
	bool uip = running(s) && guest_ns(s, wall) % NS_PER_SEC >= NS_PER_SEC - UIP_NS;

	return (uint8_t)((s->cmos[REG_A] & ~A_UIP) | (uip ? A_UIP : 0));
}

uint8_t rtc_read(struct rtc *s, unsigned port, uint64_t wall)
{
	uint8_t v;

	if (!(port & 1))
		return 0xff; /* the indices are write only */
	if (port == 3)
		return s->cmos[BANK + s->index2];
	rtc_update(s, wall);
	switch (s->index) {
	case SECONDS:
	case MINUTES:
	case HOURS:
	case WEEKDAY ... YEAR:
	case RTC_CENTURY:
		if (running(s))
			time_to_regs(s, s->second);
		return s->cmos[s->index];
	case REG_A:
		return read_a(s, wall);
	case REG_C:
		v = s->cmos[REG_C];
		s->cmos[REG_C] = 0;
		update_irq(s);
		return v;
	default:
		return s->cmos[s->index];
	}
}

static void write_time(struct rtc *s, uint8_t val, uint64_t wall)
{
	if (running(s))
		time_to_regs(s, s->second);
	s->cmos[s->index] = val;
	if (running(s))
		regs_to_time(s, wall);
}

static void write_b(struct rtc *s, uint8_t val, uint64_t wall)
{
	bool was = running(s);

	if (was)
		time_to_regs(s, s->second); /* what it stops at, in the old format */
	if (val & B_SET)
		val &= (uint8_t)~B_UIE;
	s->cmos[REG_B] = val;
	if (!was && running(s))
		regs_to_time(s, wall);
}

static void write_a(struct rtc *s, uint8_t val, uint64_t wall)
{
	bool was = running(s);

	if (was)
		time_to_regs(s, s->second);
	s->cmos[REG_A] = val & (uint8_t)~A_UIP;
	s->periodic = periods(s, guest_ns(s, wall));
	if (!was && running(s))
		regs_to_time(s, wall);
}

void rtc_write(struct rtc *s, unsigned port, uint8_t val, uint64_t wall)
{
	if (!port) {
		s->index = val & 0x7f; /* bit 7 masks NMI */
		return;
	}
	if (port == 2) {
		s->index2 = val & 0x7f;
		return;
	}
	if (port == 3) {
		s->cmos[BANK + s->index2] = val;
		return;
	}
	rtc_update(s, wall);
	switch (s->index) {
	case SECONDS:
	case MINUTES:
	case HOURS:
	case WEEKDAY ... YEAR:
	case RTC_CENTURY:
		write_time(s, val, wall);
		break;
	case REG_A:
		write_a(s, val, wall);
		break;
	case REG_B:
		write_b(s, val, wall);
		break;
	case REG_C:
	case REG_D:
		break;
	default:
		s->cmos[s->index] = val;
	}
	update_irq(s);
}

void rtc_init(struct rtc *s, int64_t offset_ns, uint64_t wall)
{
	memset(s->cmos, 0, sizeof(s->cmos));
	s->index = 0;
	s->index2 = 0;
	s->offset_ns = (uint64_t)offset_ns;
	s->cmos[REG_A] = A_RUN | 6;
	s->cmos[REG_B] = B_24H;
	s->cmos[REG_D] = D_VALID;
	s->second = guest_ns(s, wall) / NS_PER_SEC;
	s->periodic = 0;
	s->level = false;
	time_to_regs(s, s->second);
}

/* The clock has a battery: only interrupts go. */
void rtc_reset(struct rtc *s, uint64_t wall)
{
	rtc_update(s, wall);
	s->cmos[REG_B] &= (uint8_t) ~(B_PIE | B_AIE | B_UIE);
	s->cmos[REG_C] = 0;
	s->index = 0;
	s->index2 = 0;
	update_irq(s);
}

int rtc_base_offset(const char *base, uint64_t wall, int64_t *offset_ns, struct err *e)
{
	time_t now = (time_t)(wall / NS_PER_SEC);
	struct tm tm = { 0 };
	char end = 0;
	int n;

	if (!base || !strcmp(base, "utc")) {
		*offset_ns = 0;
		return 0;
	}
	if (!strcmp(base, "localtime")) {
		localtime_r(&now, &tm);
		*offset_ns = (int64_t)tm.tm_gmtoff * (int64_t)NS_PER_SEC;
		return 0;
	}
	n = sscanf(base, "%4d-%2d-%2dT%2d:%2d:%2d%c", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
		   &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end);
	if ((n != 3 && n != 6) || (n == 3 && strlen(base) > 10) || tm.tm_year < 1970 ||
	    tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
	    tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return err_set(e, EINVAL,
			       "-rtc base=%s is no date: use utc, localtime, 2030-01-31 or "
			       "2030-01-31T12:00:00",
			       base);
	tm.tm_year -= 1900;
	tm.tm_mon--;
	*offset_ns = ((int64_t)timegm(&tm) - (int64_t)now) * (int64_t)NS_PER_SEC;
	return 0;
}

static int rtc_check(void *obj, struct err *e)
{
	struct rtc *s = obj;

	if (s->index >= BANK || s->index2 >= BANK || s->second > (uint64_t)INT64_MAX / NS_PER_SEC)
		return err_set(e, EINVAL, "rtc: index %u or time out of range", s->index);
	return 0;
}

#define S struct rtc
const struct state_desc rtc_state = {
	.name = "rtc",
	.struct_name = "rtc",
	.version = 1,
	.post_load = rtc_check,
	.fields = (const struct state_field[]){ ST_HOST(S, irq), ST_U8(S, index), ST_U8(S, index2),
						ST_U8A(S, cmos), ST_U64(S, offset_ns),
						ST_U64(S, second), ST_U64(S, periodic),
						ST_BOOL(S, level), ST_END },
};
#undef S

/* ---- the device ---- */

/* Under dev->lock. */
static void rearm(struct rtc_dev *s)
{
	uint64_t wait = rtc_update(&s->chip, clock_ns_of(CLOCK_REALTIME));

	if (wait == UINT64_MAX)
		loop_disarm(s->d.vm->loop, &s->timer);
	else
		loop_arm(s->d.vm->loop, &s->timer, clock_now_ns() + wait);
}

static void timer_fired(struct loop_timer *t)
{
	struct rtc_dev *s = container_of(t, struct rtc_dev, timer);

	pthread_mutex_lock(&s->d.lock);
	rearm(s);
	pthread_mutex_unlock(&s->d.lock);
}

static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
	struct rtc_dev *s = opaque;

	return rtc_read(&s->chip, (unsigned)off, clock_ns_of(CLOCK_REALTIME));
}

static void port_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct rtc_dev *s = opaque;

	rtc_write(&s->chip, (unsigned)off, (uint8_t)val, clock_ns_of(CLOCK_REALTIME));
	if (off == 1)
		rearm(s);
}

static const struct io_ops port_ops = { port_read, port_write, 1, 1 };

static void put16(uint8_t *cmos, unsigned at, uint64_t v)
{
	v = MIN(v, (uint64_t)0xffff);
	cmos[at] = (uint8_t)v;
	cmos[at + 1] = (uint8_t)(v >> 8);
}

void rtc_dev_set_memory(struct rtc_dev *s, uint64_t low, uint64_t high, unsigned cpus)
{
	uint8_t *c = s->chip.cmos;
	uint64_t ext_kib = low > MIB(1) ? MIN((low - MIB(1)) >> 10, (uint64_t)0xffff) : 0;

	put16(c, 0x15, 640);
	put16(c, 0x17, ext_kib);
	put16(c, 0x30, ext_kib);
	put16(c, 0x34, low > MIB(16) ? (low - MIB(16)) >> 16 : 0);
	c[0x5b] = (uint8_t)(high >> 16);
	c[0x5c] = (uint8_t)(high >> 24);
	c[0x5d] = (uint8_t)(high >> 32);
	c[0x5f] = (uint8_t)(cpus - 1);
	c[0x14] = 0x02; /* equipment: coprocessor, no display, no diskette */
	c[0x3d] = 0x02; /* boot from the first hard disk */
}

static int dev_init(struct dev *d, struct err *e)
{
	struct rtc_dev *s = container_of(d, struct rtc_dev, d);
	uint64_t wall = clock_ns_of(CLOCK_REALTIME);
	int64_t offset = 0;
	int r = rtc_base_offset(d->vm->conf ? d->vm->conf->rtc_base : NULL, wall, &offset, e);

	if (r)
		return r;
	s->timer.fn = timer_fired;
	s->chip.irq = arch_isa_irq(d->vm, 8);
	rtc_init(&s->chip, offset, wall);
	s->region = (struct map_region){ .name = "rtc",
					 .space = MAP_PIO,
					 .kind = MAP_IO,
					 .addr = 0x70,
					 .size = 4,
					 .ops = &port_ops,
					 .opaque = s,
					 .lock = &d->lock };
	return map_add(d->vm->map, &s->region, e);
}

static void dev_fini(struct dev *d)
{
	struct rtc_dev *s = container_of(d, struct rtc_dev, d);

	loop_disarm(d->vm->loop, &s->timer);
	if (s->region.added)
		map_del(d->vm->map, &s->region);
}

static void dev_reset(struct dev *d)
{
	struct rtc_dev *s = container_of(d, struct rtc_dev, d);

	pthread_mutex_lock(&d->lock);
	rtc_reset(&s->chip, clock_ns_of(CLOCK_REALTIME));
	rearm(s);
	pthread_mutex_unlock(&d->lock);
}

static void dev_pause(struct dev *d)
{
	struct rtc_dev *s = container_of(d, struct rtc_dev, d);

	loop_disarm(d->vm->loop, &s->timer);
}

static void dev_resume(struct dev *d)
{
	struct rtc_dev *s = container_of(d, struct rtc_dev, d);

	pthread_mutex_lock(&d->lock);
	rearm(s);
	pthread_mutex_unlock(&d->lock);
}

#define S struct rtc_dev
static const struct state_desc dev_state = {
	.name = "rtc-dev",
	.struct_name = "rtc_dev",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, d), ST_SUB(S, chip, &rtc_state),
						ST_HOST(S, timer), ST_HOST(S, region), ST_END },
};
#undef S

const struct dev_type rtc_dev_type = {
	.name = "mc146818rtc",
	.bus = DEV_BUS_ISA,
	.help = "real-time clock and CMOS memory",
	.size = sizeof(struct rtc_dev),
	.state = &dev_state,
	.internal = true,
	.init = dev_init,
	.fini = dev_fini,
	.reset = dev_reset,
	.pause = dev_pause,
	.resume = dev_resume,
};

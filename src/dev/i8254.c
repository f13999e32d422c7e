/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 8254 programmable interval timer with port 0x61 of a PC (gate of channel 2, speaker, refresh).
 * Intel 8254 datasheet; ICH9 datasheet 13.7.1 (NMI_SC).
 *
 * The counters are functions of time: nothing runs while nobody looks, but a timer for the edges
 * of channel 0. Modelled: all six modes, BCD, read-back, latches, both byte orders. Reads between
 * the ticks of one count see the count; loading takes effect at once instead of at the next tick.
 *
 * Threads: the chip is not locked; the device runs under dev->lock (register accesses on vCPU
 * threads, the timer on the control loop).
 */
#include "base/base.h"
#include "dev/i8254.h"
#include "base/clock.h"
#include "core/arch.h"
#include "core/vm.h"

/* Edges of channel 0 closer than this are spread: a guest must get somewhere in between. */
#define MIN_EDGE_NS (100 * NS_PER_US)
#define REFRESH_NS  15085u /* half period of the refresh toggle, bit 4 of port 0x61 */

static uint64_t ticks_of(uint64_t ns)
{
	return mul_div_u64(ns, PIT_HZ, NS_PER_SEC);
}

/* First ns at which n ticks are over. */
static uint64_t ns_of(uint64_t ticks)
{
	return mul_div_u64(ticks, NS_PER_SEC, PIT_HZ) + 1;
}

static bool gate_stops(const struct pit_channel *c)
{
	return c->mode == 0 || c->mode == 4;
}

static uint64_t elapsed(const struct pit_channel *c, uint64_t now)
{
	if (gate_stops(c) && !c->gate)
		return c->frozen;
	return c->frozen + ticks_of(now > c->start_ns ? now - c->start_ns : 0);
}

/* Periodic modes with a closed gate do not count and hold OUT high. */
static bool stopped(const struct pit_channel *c)
{
	return !c->loaded || ((c->mode == 2 || c->mode == 3) && !c->gate);
}

static uint16_t to_register(const struct pit_channel *c, uint64_t v)
{
	uint16_t r = 0;

	if (!c->bcd)
		return (uint16_t)v;
	v %= 10000;
	for (unsigned shift = 0; shift < 16; shift += 4, v /= 10)
		r |= (uint16_t)(v % 10 << shift);
	return r;
}

static uint32_t from_register(const struct pit_channel *c, uint16_t r)
{
	uint32_t v = 0;

	if (!c->bcd)
		return r ? r : 0x10000;
	for (int shift = 12; shift >= 0; shift -= 4)
		v = v * 10 + (r >> shift & 0xf);
	/* Digits above nine are undefined; the most there is will do. */
	return v && v < 10000 ? v : 10000;
}

static uint16_t current_count(const struct pit_channel *c, uint64_t now)
{
	uint64_t wrap = c->bcd ? 10000 : 0x10000, t, half;

	if (stopped(c))
		return to_register(c, c->count);
	t = elapsed(c, now);
	switch (c->mode) {
	case 2:
		return to_register(c, c->count - t % c->count);
	case 3: /* counts down by two, twice a period */
		half = t * 2 % c->count;
		return to_register(c, (c->count - half) & ~1ull);
	default: /* runs on after the end */
		return to_register(c, (c->count + wrap - t % wrap) % wrap);
	}
}

bool i8254_out(const struct pit_channel *c, uint64_t now)
{
	uint64_t t;

	if (stopped(c))
		return c->mode != 0;
	t = elapsed(c, now);
	switch (c->mode) {
	case 0:
		return t >= c->count;
	case 1: /* low from the trigger on; start_ns 0 = never triggered */
		return !c->start_ns || t >= c->count;
	case 2:
		return t % c->count != c->count - 1 || c->count == 1;
	case 3:
		return t % c->count < (c->count + 1) / 2;
	default: /* 4, 5: low for one tick at the end */
		return t != c->count || (c->mode == 5 && !c->start_ns);
	}
}

/* The tick after t at which OUT next changes, of short low pulses their end; 0 = never. */
static uint64_t next_edge(const struct pit_channel *c, uint64_t t)
{
	uint64_t base, mid;

	switch (c->mode) {
	case 0:
	case 1:
		return t < c->count ? c->count : 0;
	case 2:
		return t - t % c->count + c->count;
	case 3:
		base = t - t % c->count;
		mid = base + (c->count + 1) / 2;
		return t < mid ? mid : base + c->count;
	default:
		return t <= c->count ? c->count + 1 : 0;
	}
}

uint64_t i8254_update(struct i8254 *s, uint64_t now)
{
	struct pit_channel *c = &s->ch[0];
	bool level = i8254_out(c, now);
	uint64_t edge;

	if (level != s->out_level) {
		s->out_level = level;
		irq_set(&s->out, level);
	}
	if (stopped(c) || (gate_stops(c) && !c->gate) ||
	    ((c->mode == 1 || c->mode == 5) && !c->start_ns))
		return UINT64_MAX;
	edge = next_edge(c, elapsed(c, now));
	if (!edge)
		return UINT64_MAX;
	edge = edge > c->frozen ? c->start_ns + ns_of(edge - c->frozen) : now;
	return edge < now + MIN_EDGE_NS && c->count < ticks_of(MIN_EDGE_NS) ? now + MIN_EDGE_NS
									    : edge;
}

static void load(struct pit_channel *c, uint16_t reg, uint64_t now)
{
	bool running = c->loaded;

	c->count = from_register(c, reg);
	if (c->mode == 2 && c->count == 1)
		c->count = 2; /* one is illegal in mode 2 */
	c->loaded = true;
	/* Modes 1 and 5 wait for the gate; periodic ones would go on to the end of the period. */
	if (c->mode == 1 || c->mode == 5) {
		if (!running)
			c->start_ns = 0;
		return;
	}
	c->start_ns = now;
	c->frozen = 0;
}

static void write_count(struct pit_channel *c, uint8_t val, uint64_t now)
{
	switch (c->access) {
	case 1:
		load(c, val, now);
		break;
	case 2:
		load(c, (uint16_t)(val << 8), now);
		break;
	default:
		if (!c->write_high) {
			c->write_low = val;
			if (c->mode == 0)
				c->loaded = false; /* the first byte stops the count */
		} else {
			load(c, (uint16_t)(val << 8 | c->write_low), now);
		}
		c->write_high = !c->write_high;
	}
}

static uint8_t read_count(struct pit_channel *c, uint64_t now)
{
	uint16_t v;
	bool high;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	v = c->count_latched ? c->latch : current_count(c, now);
	high = c->access == 2 || (c->access == 3 && c->read_high);
	if (c->access == 3)
		c->read_high = !c->read_high;
	if (c->count_latched)
		c->count_latched--;
	return (uint8_t)(high ? v >> 8 : v);
}

static void latch_count(struct pit_channel *c, uint64_t now)
{
	if (c->count_latched)
		return;
	c->latch = current_count(c, now);
	c->count_latched = c->access == 3 ? 2 : 1;
	c->read_high = false;
}

static void latch_status(struct pit_channel *c, uint64_t now)
{
	if (c->status_latched)
		return;
	c->status = (uint8_t)(i8254_out(c, now) << 7 | !c->loaded << 6 | c->access << 4 |
			      c->mode << 1 | c->bcd);
	c->status_latched = true;
}

static void write_control(struct i8254 *s, uint8_t val, uint64_t now)
{
	unsigned n = val >> 6;
	struct pit_channel *c;

	if (n == 3) { /* read-back */
		for (unsigned i = 0; i < 3; i++) {
			if (!(val >> (i + 1) & 1))
				continue;
			if (!(val & 0x20))
				latch_count(&s->ch[i], now);
			if (!(val & 0x10))
				latch_status(&s->ch[i], now);
		}
		return;
	}
	c = &s->ch[n];
	if (!(val & 0x30)) {
		latch_count(c, now);
		return;
	}
	c->access = val >> 4 & 3;
	c->mode = val >> 1 & 7;
	if (c->mode > 5)
		c->mode &= 3;
	c->bcd = val & 1;
	c->count = from_register(c, 0); /* one that fits the mode, until it is written */
	c->loaded = false;
	c->write_high = false;
	c->read_high = false;
	c->count_latched = 0;
	c->status_latched = false;
	c->start_ns = 0;
	c->frozen = 0;
}

static void set_gate(struct pit_channel *c, bool gate, uint64_t now)
{
	if (gate == c->gate)
		return;
	if (gate_stops(c)) {
		if (!gate)
			c->frozen = elapsed(c, now);
		else
			c->start_ns = now;
	} else if (gate) { /* a trigger */
		c->start_ns = now;
		c->frozen = 0;
	}
	c->gate = gate;
}

uint8_t i8254_read(struct i8254 *s, unsigned port, uint64_t now)
{
	if (port == 0x61)
		return (uint8_t)(s->speaker | (now / REFRESH_NS & 1) << 4 |
				 i8254_out(&s->ch[2], now) << 5);
	return port < 0x43 ? read_count(&s->ch[port & 3], now) : 0;
}

void i8254_write(struct i8254 *s, unsigned port, uint8_t val, uint64_t now)
{
	if (port == 0x61) {
		s->speaker = val & 0x0f;
		set_gate(&s->ch[2], val & 1, now);
	} else if (port == 0x43) {
		write_control(s, val, now);
	} else {
		write_count(&s->ch[port & 3], val, now);
	}
}

void i8254_reset(struct i8254 *s, uint64_t now)
{
	for (unsigned i = 0; i < 3; i++)
		s->ch[i] = (struct pit_channel){
			.mode = 3, .access = 3, .gate = i != 2, .count = 0x10000
		};
	s->speaker = 0;
	i8254_update(s, now);
}

static int channel_check(void *obj, struct err *e)
{
	struct pit_channel *c = obj;

	if (c->mode > 5 || c->access < 1 || c->access > 3 || c->count_latched > 2 || !c->count ||
	    c->count > (c->bcd ? 10000u : 0x10000u) || (c->mode == 2 && c->count < 2))
		return err_set(e, EINVAL, "pit: impossible channel state");
	return 0;
}

#define S struct pit_channel
const struct state_desc pit_channel_state = {
	.name = "pit-channel",
	.struct_name = "pit_channel",
	.version = 1,
	.post_load = channel_check,
	.fields = (const struct state_field[]){ ST_U8(S, mode), ST_U8(S, access), ST_BOOL(S, bcd),
						ST_BOOL(S, gate), ST_BOOL(S, loaded),
						ST_BOOL(S, write_high), ST_BOOL(S, read_high),
						ST_U8(S, write_low), ST_U8(S, count_latched),
						ST_BOOL(S, status_latched), ST_U8(S, status),
						ST_U16(S, latch), ST_U32(S, count),
						ST_NS(S, start_ns), ST_U64(S, frozen), ST_END },
};
#undef S

#define S struct i8254
const struct state_desc i8254_state = {
	.name = "i8254",
	.struct_name = "i8254",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, out), ST_SUBA(S, ch, &pit_channel_state),
						ST_BOOL(S, out_level), ST_U8(S, speaker), ST_END },
};
#undef S

/* Under dev->lock. */
static void rearm(struct pit_dev *s, uint64_t now)
{
	uint64_t next = i8254_update(&s->chip, now);

	if (next == UINT64_MAX)
		loop_disarm(s->d.vm->loop, &s->timer);
	else
		loop_arm(s->d.vm->loop, &s->timer, next);
}

static void timer_fired(struct loop_timer *t)
{
	struct pit_dev *s = container_of(t, struct pit_dev, timer);

	pthread_mutex_lock(&s->d.lock);
	if (s->chip.ch[0].mode == 2 || s->chip.ch[0].mode >= 4) {
		/* The low tick may be over by the time we run: the edge happened all the same. */
		s->chip.out_level = false;
		irq_set(&s->chip.out, 0);
	}
	rearm(s, clock_now_ns());
	pthread_mutex_unlock(&s->d.lock);
}

static uint64_t pit_read(void *opaque, uint64_t off, unsigned size)
{
	struct pit_dev *s = opaque;

	return i8254_read(&s->chip, 0x40 + (unsigned)off, clock_now_ns());
}

static void pit_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct pit_dev *s = opaque;
	uint64_t now = clock_now_ns();

	i8254_write(&s->chip, 0x40 + (unsigned)off, (uint8_t)val, now);
	rearm(s, now);
}

static uint64_t speaker_read(void *opaque, uint64_t off, unsigned size)
{
	struct pit_dev *s = opaque;

	return i8254_read(&s->chip, 0x61, clock_now_ns());
}

static void speaker_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct pit_dev *s = opaque;

	i8254_write(&s->chip, 0x61, (uint8_t)val, clock_now_ns());
}

static const struct io_ops pit_ops = { pit_read, pit_write, 1, 1 };
static const struct io_ops speaker_ops = { speaker_read, speaker_write, 1, 1 };

static int dev_init(struct dev *d, struct err *e)
{
	struct pit_dev *s = container_of(d, struct pit_dev, d);
	int r;

	s->timer.fn = timer_fired;
	s->chip.out = arch_isa_irq(d->vm, 0);
	i8254_reset(&s->chip, clock_now_ns());
	s->region[0] = (struct map_region){ .name = "pit",
					    .space = MAP_PIO,
					    .kind = MAP_IO,
					    .addr = 0x40,
					    .size = 4,
					    .ops = &pit_ops,
					    .opaque = s,
					    .lock = &d->lock };
	s->region[1] = (struct map_region){ .name = "speaker",
					    .space = MAP_PIO,
					    .kind = MAP_IO,
					    .addr = 0x61,
					    .size = 1,
					    .ops = &speaker_ops,
					    .opaque = s,
					    .lock = &d->lock };
	r = map_add(d->vm->map, &s->region[0], e);
	return r ? r : map_add(d->vm->map, &s->region[1], e);
}

static void dev_fini(struct dev *d)
{
	struct pit_dev *s = container_of(d, struct pit_dev, d);

	loop_disarm(d->vm->loop, &s->timer);
	for (unsigned i = 0; i < 2; i++)
		if (s->region[i].added)
			map_del(d->vm->map, &s->region[i]);
}

static void dev_reset(struct dev *d)
{
	struct pit_dev *s = container_of(d, struct pit_dev, d);
	uint64_t now = clock_now_ns();

	pthread_mutex_lock(&d->lock);
	i8254_reset(&s->chip, now);
	rearm(s, now);
	pthread_mutex_unlock(&d->lock);
}

static void dev_pause(struct dev *d)
{
	struct pit_dev *s = container_of(d, struct pit_dev, d);

	loop_disarm(d->vm->loop, &s->timer);
}

static void dev_resume(struct dev *d)
{
	struct pit_dev *s = container_of(d, struct pit_dev, d);

	pthread_mutex_lock(&d->lock);
	rearm(s, clock_now_ns());
	pthread_mutex_unlock(&d->lock);
}

#define S struct pit_dev
static const struct state_desc dev_state = {
	.name = "pit-dev",
	.struct_name = "pit_dev",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, d), ST_SUB(S, chip, &i8254_state),
						ST_HOST(S, timer), ST_HOST(S, region), ST_END },
};
#undef S

const struct dev_type pit_dev_type = {
	.name = "isa-pit",
	.bus = DEV_BUS_ISA,
	.help = "8254 interval timer and speaker port",
	.size = sizeof(struct pit_dev),
	.state = &dev_state,
	.internal = true,
	.init = dev_init,
	.fini = dev_fini,
	.reset = dev_reset,
	.pause = dev_pause,
	.resume = dev_resume,
};

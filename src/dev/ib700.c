/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watchdog of iBase's IB700 board: two ports. iBase IB700 user's manual, "Watchdog Timer
 * Configuration": any write to 0x441 stops it; one to 0x443 starts it, with 30 seconds less two for
 * each step of the low four bits (0 = 30 s, 15 = at once). The machine's watchdog action says what
 * happens at the end.
 *
 * Threads: under dev->lock (ports on vCPU threads, the timer on the control loop).
 */
#include "base/base.h"
#include "base/clock.h"
#include "core/dev.h"
#include "core/vm.h"

#define PORT_STOP  0x441u
#define PORT_START 0x443u
#define MAX_SEC	   30u
/* "At once" leaves the guest time to get somewhere before it does it again. */
#define MIN_NS (10 * NS_PER_MS)

struct ib700_dev {
	struct dev d;
	struct map_region stop, start;
	struct loop_timer timer;
	uint64_t deadline_ns; /* UINT64_MAX = it stands still */
};

/* Under dev->lock. */
static void set_deadline(struct ib700_dev *s, uint64_t when_ns)
{
	s->deadline_ns = when_ns;
	if (when_ns == UINT64_MAX)
		loop_disarm(s->d.vm->loop, &s->timer);
	else
		loop_arm(s->d.vm->loop, &s->timer, when_ns);
}

static void timer_fired(struct loop_timer *t)
{
	struct ib700_dev *s = container_of(t, struct ib700_dev, timer);

	pthread_mutex_lock(&s->d.lock);
	if (clock_now_ns() < s->deadline_ns) { /* it was moved meanwhile */
		set_deadline(s, s->deadline_ns);
	} else {
		set_deadline(s, UINT64_MAX);
		vm_watchdog_expired(s->d.vm);
	}
	pthread_mutex_unlock(&s->d.lock);
}

static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
	return 0xff; /* write only */
}

static void stop_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	set_deadline(opaque, UINT64_MAX);
}

static void start_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	uint64_t ns = (MAX_SEC - 2 * (val & 0xf)) * NS_PER_SEC;

	set_deadline(opaque, clock_now_ns() + MAX(ns, MIN_NS));
}

static const struct io_ops stop_ops = { port_read, stop_write, 1, 1 };
static const struct io_ops start_ops = { port_read, start_write, 1, 1 };

static int ib700_init(struct dev *d, struct err *e)
{
	struct ib700_dev *s = container_of(d, struct ib700_dev, d);
	int r;

	s->timer.fn = timer_fired;
	s->deadline_ns = UINT64_MAX;
	s->stop = (struct map_region){ .name = "ib700-stop",
				       .space = MAP_PIO,
				       .kind = MAP_IO,
				       .addr = PORT_STOP,
				       .size = 1,
				       .ops = &stop_ops,
				       .opaque = s,
				       .lock = &d->lock };
	s->start = s->stop;
	s->start.name = "ib700-start";
	s->start.addr = PORT_START;
	s->start.ops = &start_ops;
	r = map_add(d->vm->map, &s->stop, e);
	return r ? r : map_add(d->vm->map, &s->start, e);
}

static void ib700_fini(struct dev *d)
{
	struct ib700_dev *s = container_of(d, struct ib700_dev, d);

	loop_disarm(d->vm->loop, &s->timer);
	if (s->stop.added)
		map_del(d->vm->map, &s->stop);
	if (s->start.added)
		map_del(d->vm->map, &s->start);
}

static void ib700_reset(struct dev *d)
{
	pthread_mutex_lock(&d->lock);
	set_deadline(container_of(d, struct ib700_dev, d), UINT64_MAX);
	pthread_mutex_unlock(&d->lock);
}

static void ib700_pause(struct dev *d)
{
	loop_disarm(d->vm->loop, &container_of(d, struct ib700_dev, d)->timer);
}

static void ib700_resume(struct dev *d)
{
	struct ib700_dev *s = container_of(d, struct ib700_dev, d);

	pthread_mutex_lock(&d->lock);
	set_deadline(s, s->deadline_ns);
	pthread_mutex_unlock(&d->lock);
}

#define S struct ib700_dev
static const struct state_desc ib700_state = {
	.name = "ib700",
	.struct_name = "ib700_dev",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, d), ST_HOST(S, stop), ST_HOST(S, start),
						ST_HOST(S, timer), ST_NS(S, deadline_ns), ST_END },
};
#undef S

extern const struct dev_type ib700_dev_type;
const struct dev_type ib700_dev_type = {
	.name = "ib700",
	.bus = DEV_BUS_ISA,
	.help = "watchdog of the iBase 700; -watchdog-action says what it does",
	.size = sizeof(struct ib700_dev),
	.state = &ib700_state,
	.init = ib700_init,
	.fini = ib700_fini,
	.reset = ib700_reset,
	.pause = ib700_pause,
	.resume = ib700_resume,
};

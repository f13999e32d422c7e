/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local APIC timer: one-shot, periodic, TSC deadline. Intel SDM vol. 3, 10.5.4.
 *
 * Time is CLOCK_MONOTONIC; the timer's input is one tick a ns before the divider. The vCPU's
 * deadline_ns carries what is due; core calls lapic_timer() on the vCPU's thread.
 */
#include "base/base.h"
#include "arch/x86/lapic.h"
#include "base/clock.h"

/* A periodic timer is not served more often than this: a guest must get somewhere in between. */
#define MIN_PERIOD_NS (100 * NS_PER_US)

static uint32_t timer_mode(const struct lapic *l)
{
	return l->lvt[0] & LVT_TIMER_MODE;
}

/* Divider: bits 0, 1 and 3 of the register; 0b111 divides by one. */
static unsigned div_shift(const struct lapic *l)
{
	unsigned v = (l->timer_div & 3) | (l->timer_div >> 1 & 4);

	return (v + 1) & 7;
}

static void set_due(struct lapic *l, uint64_t when_ns)
{
	l->timer_due_ns = when_ns;
	atomic_store_explicit(&l->vcpu->deadline_ns, when_ns, memory_order_release);
}

void lapic_timer_stop(struct lapic *l)
{
	set_due(l, UINT64_MAX);
}

static uint64_t count_ns(const struct lapic *l)
{
	return (uint64_t)l->timer_init << div_shift(l);
}

static uint64_t period_ns(const struct lapic *l)
{
	uint64_t ns = count_ns(l);

	return timer_mode(l) == LVT_TIMER_PERIODIC && ns < MIN_PERIOD_NS ? MIN_PERIOD_NS : ns;
}

void lapic_timer_start(struct lapic *l)
{
	if (timer_mode(l) == LVT_TIMER_DEADLINE)
		return;
	if (!l->timer_init) {
		lapic_timer_stop(l);
		return;
	}
	l->timer_start_ns = l->bus->now_ns();
	set_due(l, l->timer_start_ns + period_ns(l));
}

uint32_t lapic_timer_count(struct lapic *l)
{
	uint64_t gone, total;

	if (timer_mode(l) == LVT_TIMER_DEADLINE || l->timer_due_ns == UINT64_MAX)
		return 0;
	gone = l->bus->now_ns() - l->timer_start_ns;
	total = period_ns(l);
	if (gone >= total) {
		if (timer_mode(l) == LVT_TIMER_ONESHOT)
			return 0;
		gone %= total;
	}
	/* A stretched period counts down from the initial count all the same. */
	return (uint32_t)(l->timer_init - mul_div_u64(l->timer_init, gone, total));
}

static void fire(struct lapic *l)
{
	if (!(l->lvt[0] & LVT_MASKED))
		lapic_deliver(l, APIC_DM_FIXED, l->lvt[0] & LVT_VECTOR, false);
}

void lapic_timer_set_deadline(struct lapic *l, uint64_t deadline)
{
	uint64_t now;

	/* SDM: writes are ignored in the other modes. */
	if (timer_mode(l) != LVT_TIMER_DEADLINE)
		return;
	l->tsc_deadline = deadline;
	if (!deadline) {
		lapic_timer_stop(l);
		return;
	}
	now = l->bus->tsc(l->vcpu);
	if (deadline <= now) {
		l->tsc_deadline = 0;
		lapic_timer_stop(l);
		fire(l);
		return;
	}
	/* Rounded up, so that the guest never finds its deadline still ahead. A delta beyond
	 * 2^62 is centuries: for ever. */
	if (deadline - now > BIT64(62))
		set_due(l, UINT64_MAX - 1);
	else
		set_due(l, l->bus->now_ns() + 1 +
				   mul_div_u64(deadline - now, 1000000, l->bus->tsc_khz));
}

void lapic_timer_lvt_written(struct lapic *l, uint32_t old)
{
	uint32_t mode = timer_mode(l), old_mode = old & LVT_TIMER_MODE;

	if (mode == old_mode)
		return;
	if (mode == LVT_TIMER_DEADLINE || old_mode == LVT_TIMER_DEADLINE) {
		l->tsc_deadline = 0;
		l->timer_init = 0;
		lapic_timer_stop(l);
	}
}

void lapic_timer(struct lapic *l)
{
	uint64_t now = l->bus->now_ns(), period;

	if (l->timer_due_ns == UINT64_MAX)
		return;
	if (now < l->timer_due_ns) { /* early: core has disarmed it */
		set_due(l, l->timer_due_ns);
		return;
	}
	if (timer_mode(l) == LVT_TIMER_PERIODIC && l->timer_init) {
		/* Ticks that were missed are not made up for. */
		period = period_ns(l);
		l->timer_start_ns = now - (now - l->timer_start_ns) % period;
		set_due(l, l->timer_start_ns + period);
	} else {
		l->tsc_deadline = 0;
		lapic_timer_stop(l);
	}
	fire(l);
}

/* Only the struct: lapic_timer_resume() arms it. */
void lapic_timer_set_count(struct lapic *l, uint32_t count)
{
	uint64_t total = period_ns(l);

	l->timer_start_ns = 0;
	l->timer_due_ns = UINT64_MAX;
	if (timer_mode(l) == LVT_TIMER_DEADLINE || !l->timer_init)
		return;
	l->timer_due_ns =
		l->bus->now_ns() + mul_div_u64(total, MIN(count, l->timer_init), l->timer_init);
	l->timer_start_ns = l->timer_due_ns - total;
}

void lapic_timer_resume(struct lapic *l)
{
	if (timer_mode(l) == LVT_TIMER_DEADLINE && l->tsc_deadline)
		lapic_timer_set_deadline(l, l->tsc_deadline);
	else
		set_due(l, l->timer_due_ns);
}

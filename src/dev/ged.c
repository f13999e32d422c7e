/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hardware-reduced ACPI has in place of fixed hardware: a generic event device for the power
 * button, and registers for sleep and reset. ACPI 6.4 sections 4.1, 4.8.3.6, 4.8.3.7 and 5.6.9; the
 * selector and the layout are the board's own, told to the guest by its tables (fw/dsdt.c).
 *
 * The interrupt is a level: up while an event waits. S5 ends the machine; other states are not
 * offered and do nothing.
 *
 * Threads: registers under dev->lock on vCPU threads; the button on any.
 */
#include "base/base.h"
#include "dev/ged.h"
#include "core/vm.h"

#define SLP_EN	       BIT32(5)
#define SLP_TYP(value) ((value) >> 2 & 7u)

static uint64_t ged_read(void *opaque, uint64_t off, unsigned size)
{
	struct ged_dev *s = opaque;
	uint32_t events;

	if (off != GED_SELECTOR || size != 4)
		return 0; /* WAK_STS stays clear: there is no sleep to wake from */
	events = s->pending;
	s->pending = 0;
	irq_set(&s->irq, 0);
	return events;
}

static void ged_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct ged_dev *s = opaque;

	if (size != 1)
		return;
	if (off == GED_SLEEP_CONTROL && (val & SLP_EN) && SLP_TYP(val) == GED_S5_TYP)
		vm_request_shutdown(s->d.vm, VM_CAUSE_GUEST_SHUTDOWN);
	else if (off == GED_RESET && val == GED_RESET_VALUE)
		vm_request_reset(s->d.vm, VM_CAUSE_GUEST_RESET);
}

static const struct io_ops ged_ops = { ged_read, ged_write, 1, 4 };

void ged_dev_button(struct ged_dev *s)
{
	pthread_mutex_lock(&s->d.lock);
	s->pending |= GED_POWER_BUTTON;
	irq_set(&s->irq, 1);
	pthread_mutex_unlock(&s->d.lock);
}

static int ged_init(struct dev *d, struct err *e)
{
	struct ged_dev *s = container_of(d, struct ged_dev, d);
	uint64_t addr = s->region.addr;

	s->region = (struct map_region){ .name = "acpi-ged",
					 .space = MAP_MEM,
					 .kind = MAP_IO,
					 .addr = addr,
					 .size = GED_SIZE,
					 .ops = &ged_ops,
					 .opaque = s,
					 .lock = &d->lock };
	return map_add(d->vm->map, &s->region, e);
}

static void ged_fini(struct dev *d)
{
	struct ged_dev *s = container_of(d, struct ged_dev, d);

	if (s->region.added)
		map_del(d->vm->map, &s->region);
}

static void ged_reset(struct dev *d)
{
	struct ged_dev *s = container_of(d, struct ged_dev, d);

	pthread_mutex_lock(&d->lock);
	s->pending = 0;
	irq_set(&s->irq, 0);
	pthread_mutex_unlock(&d->lock);
}

static int ged_post_load(void *obj, struct err *e)
{
	struct ged_dev *s = obj;

	if (s->pending & ~GED_POWER_BUTTON)
		return err_set(e, EINVAL, "acpi-ged: events %#x are not possible", s->pending);
	irq_set(&s->irq, s->pending != 0);
	return 0;
}

#define S struct ged_dev
static const struct state_desc ged_state = {
	.name = "acpi-ged",
	.struct_name = "ged_dev",
	.version = 1,
	.post_load = ged_post_load,
	.fields = (const struct state_field[]){ ST_HOST(S, d), ST_HOST(S, region), ST_HOST(S, irq),
						ST_U32(S, pending), ST_END },
};
#undef S

const struct dev_type ged_dev_type = {
	.name = "acpi-ged",
	.bus = DEV_BUS_BOARD,
	.help = "ACPI generic event device: power button, sleep, reset",
	.size = sizeof(struct ged_dev),
	.state = &ged_state,
	.internal = true,
	.init = ged_init,
	.fini = ged_fini,
	.reset = ged_reset,
};

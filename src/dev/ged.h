/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI generic event device of a hardware-reduced board. See ged.c. */
#ifndef DEV_GED_H
#define DEV_GED_H

#include "base/base.h"
#include "core/dev.h"
#include "core/irq.h"
#include "mem/map.h"

#define GED_SIZE	  0x1000u
#define GED_SELECTOR	  0x000u /* 32 bits: the events there are; reading takes them back */
#define GED_SLEEP_CONTROL 0x200u
#define GED_SLEEP_STATUS  0x201u
#define GED_RESET	  0x202u
#define GED_RESET_VALUE	  0x42u
#define GED_S5_TYP	  5u

#define GED_POWER_BUTTON 2u /* an event in the selector; QEMU has the same */

struct ged_dev {
	struct dev d;
	struct map_region region;
	struct irq irq; /* a level; the maker sets it, and region.addr */
	uint32_t pending;
};
extern const struct dev_type ged_dev_type;

/* The user pressed the power button. Any thread. */
void ged_dev_button(struct ged_dev *);

#endif

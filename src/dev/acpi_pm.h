/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI power management registers of an ICH9. See acpi_pm.c. */
#ifndef DEV_ACPI_PM_H
#define DEV_ACPI_PM_H

#include "base/base.h"
#include "core/dev.h"
#include "core/irq.h"
#include "loop/loop.h"
#include "mem/map.h"

#define ACPI_PM_SIZE	 0x80u
#define ACPI_PM_TIMER_HZ 3579545u
#define ACPI_PM_GPE0_OFF 0x20u
#define ACPI_PM_GPE0_LEN 16u
/* SLP_TYP values that mean power-off: QEMU's tables and firmware say 0, the ICH9 itself 7. */
#define ACPI_PM_S5_TYP 0u

struct acpi_pm {
	struct irq sci;
	void (*power_off)(void *opaque);
	void (*smi)(void *opaque);
	void (*tco_expired)(void *opaque); /* the watchdog went off; or NULL */
	void *opaque;
	uint16_t pm1_sts, pm1_en, pm1_cnt;
	uint32_t smi_en, smi_sts;
	uint8_t gpe_sts[8], gpe_en[8];
	uint8_t tco[0x20];   /* registers as written; a reload of the count is in the next two */
	uint64_t tco_end_ns; /* when the count is over; UINT64_MAX = it stands still, */
	uint16_t tco_left;   /* with so many ticks to go */
	bool tco_no_reboot;  /* going off has no effect */
	uint8_t apm_cnt, apm_sts; /* ports 0xb2, 0xb3 */
	uint64_t timer_ns;	  /* when the timer stood at zero */
	uint32_t timer_toggles;	  /* of bit 23 up to now, as last noted for TMR_STS */
	bool level;		  /* of sci */
};

extern const struct state_desc acpi_pm_state;

/* The chip; not locked. now is CLOCK_MONOTONIC in ns; off within the PM block. */
void acpi_pm_reset(struct acpi_pm *, uint64_t now);
uint8_t acpi_pm_read(struct acpi_pm *, unsigned off, uint64_t now);
void acpi_pm_write(struct acpi_pm *, unsigned off, uint8_t val, uint64_t now);
uint32_t acpi_pm_timer(const struct acpi_pm *, uint64_t now);
void acpi_pm_apm_write(struct acpi_pm *, unsigned off, uint8_t val);
/* The user pressed the power button. */
void acpi_pm_button(struct acpi_pm *);
/* A general-purpose event. */
void acpi_pm_gpe(struct acpi_pm *, unsigned n);
/* Notes a carry of the timer; returns when to call again, UINT64_MAX = no need. */
uint64_t acpi_pm_update(struct acpi_pm *, uint64_t now);

struct acpi_pm_dev {
	struct dev d;
	struct acpi_pm chip;
	struct loop_timer timer;
	struct map_region region, apm;
};
extern const struct dev_type acpi_pm_dev_type;
/* Where the block decodes (PMBASE), 0 = nowhere. */
int acpi_pm_dev_place(struct acpi_pm_dev *, uint16_t base, struct err *e);
/* Whether the watchdog's end has no effect (NO_REBOOT of the chipset). */
void acpi_pm_dev_no_reboot(struct acpi_pm_dev *, bool no_reboot);
/* SCI_EN, as firmware without an SMI handler sets it. */
void acpi_pm_dev_acpi_mode(struct acpi_pm_dev *);
/* Any thread. */
void acpi_pm_dev_button(struct acpi_pm_dev *);

#endif

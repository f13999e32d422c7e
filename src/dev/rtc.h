/* SPDX-License-Identifier: Apache-2.0 */
/* MC146818 real-time clock with a PC's CMOS memory. See rtc.c. */
#ifndef DEV_RTC_H
#define DEV_RTC_H

#include "base/base.h"
#include "core/dev.h"
#include "core/irq.h"
#include "loop/loop.h"
#include "mem/map.h"

#define RTC_CMOS_SIZE 256u /* two banks of 128 */
#define RTC_CENTURY   0x32u

struct rtc {
	struct irq irq;
	uint8_t index;
	uint8_t index2;		     /* of the second bank */
	uint8_t cmos[RTC_CMOS_SIZE]; /* 0..13 are the clock's registers */
	uint64_t offset_ns; /* the clock shows CLOCK_REALTIME + this (modulo 2^64), as UTC */
	uint64_t second;    /* the last one that was noted */
	uint64_t periodic;  /* periods up to now, as last noted */
	bool level;	    /* of irq */
};

extern const struct state_desc rtc_state;

/* The chip; not locked. wall is CLOCK_REALTIME in ns. */
void rtc_init(struct rtc *, int64_t offset_ns, uint64_t wall);
void rtc_reset(struct rtc *, uint64_t wall);
/* port: 0 = index, 1 = data; 2, 3 = of the second bank. */
uint8_t rtc_read(struct rtc *, unsigned port, uint64_t wall);
void rtc_write(struct rtc *, unsigned port, uint8_t val, uint64_t wall);
/* Notes what has happened up to wall. Returns ns until it must be called again; UINT64_MAX = never.
 */
uint64_t rtc_update(struct rtc *, uint64_t wall);

/*
 * The offset for -rtc base=: "utc" (NULL), "localtime", or a date "2030-01-31" with optional
 * "T12:00:00".
 */
int rtc_base_offset(const char *base, uint64_t wall, int64_t *offset_ns, struct err *e) MUST_CHECK;

struct rtc_dev {
	struct dev d;
	struct rtc chip;
	struct loop_timer timer;
	struct map_region region;
};
extern const struct dev_type rtc_dev_type;
/* CMOS bytes that firmware of a PC expects about memory and processors. */
void rtc_dev_set_memory(struct rtc_dev *, uint64_t low, uint64_t high, unsigned cpus);

#endif

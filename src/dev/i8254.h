/* SPDX-License-Identifier: Apache-2.0 */
/* 8254 interval timer and the PC's speaker port. See i8254.c. */
#ifndef DEV_I8254_H
#define DEV_I8254_H

#include "base/base.h"
#include "core/dev.h"
#include "core/irq.h"
#include "loop/loop.h"
#include "mem/map.h"

#define PIT_HZ 1193182u

struct pit_channel {
	uint8_t mode;	/* 0..5 */
	uint8_t access; /* 1 = low byte, 2 = high byte, 3 = low then high */
	bool bcd;
	bool gate;
	bool loaded;	       /* a count was written since the mode was */
	bool write_high;       /* the next write is the high byte */
	bool read_high;	       /* the next read is the high byte */
	uint8_t write_low;     /* low byte kept until the high one comes */
	uint8_t count_latched; /* bytes left to read: 0, 1 or 2 */
	bool status_latched;
	uint8_t status;
	uint16_t latch;
	uint32_t count;	   /* initial count, 1..65536 (10000 in BCD) */
	uint64_t start_ns; /* when counting began */
	uint64_t frozen;   /* ticks done when the gate closed (modes 0 and 4) */
};

struct i8254 {
	struct irq out; /* OUT of channel 0 */
	struct pit_channel ch[3];
	bool out_level;	 /* of channel 0 as last given to out */
	uint8_t speaker; /* port 0x61 bits 0..3 */
};

extern const struct state_desc pit_channel_state, i8254_state;

/* The chip; not locked. now is CLOCK_MONOTONIC in ns. port: 0x40..0x43, 0x61. */
void i8254_reset(struct i8254 *, uint64_t now);
uint8_t i8254_read(struct i8254 *, unsigned port, uint64_t now);
void i8254_write(struct i8254 *, unsigned port, uint8_t val, uint64_t now);
bool i8254_out(const struct pit_channel *, uint64_t now);
/* Drives out to what it is at now. Returns when OUT of channel 0 next changes; UINT64_MAX = not. */
uint64_t i8254_update(struct i8254 *, uint64_t now);

struct pit_dev {
	struct dev d;
	struct i8254 chip;
	struct loop_timer timer;
	struct map_region region[2];
};
extern const struct dev_type pit_dev_type;

#endif

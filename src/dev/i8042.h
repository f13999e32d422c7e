/* SPDX-License-Identifier: Apache-2.0 */
/* Keyboard controller without a keyboard, and port 0x92. See i8042.c. */
#ifndef DEV_I8042_H
#define DEV_I8042_H

#include "base/base.h"
#include "core/dev.h"
#include "core/irq.h"
#include "mem/map.h"

struct i8042 {
	struct irq irq[2]; /* keyboard 1, mouse 12 */
	void (*reset_line)(void *opaque);
	void *opaque;
	uint8_t mode;	/* command byte */
	uint8_t status; /* SYS, CMD */
	uint8_t outport;
	uint8_t command; /* waits for its data byte; 0 = none */
	uint8_t data;	 /* output buffer */
	uint8_t source;	 /* STATUS bits that go with data */
	bool full;
	bool level[2];
};

extern const struct state_desc i8042_state;

/* The chip; not locked. port: 0x60, 0x64, 0x92. */
void i8042_reset(struct i8042 *);
uint8_t i8042_read(struct i8042 *, unsigned port);
void i8042_write(struct i8042 *, unsigned port, uint8_t val);

struct i8042_dev {
	struct dev d;
	struct i8042 chip;
	struct map_region region[3];
};
extern const struct dev_type i8042_dev_type;

#endif

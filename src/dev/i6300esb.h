/* SPDX-License-Identifier: Apache-2.0 */
/* Watchdog timer of the Intel 6300ESB. See i6300esb.c. */
#ifndef DEV_I6300ESB_H
#define DEV_I6300ESB_H

#include "base/base.h"
#include "core/dev.h"
#include "loop/loop.h"
#include "pci/pci.h"

#define I6300ESB_CONFIG 0x60u /* configuration space: 16 bits */
#define I6300ESB_LOCK	0x68u /* configuration space: 8 bits */

struct i6300esb {
	void (*expired)(void *opaque); /* the output goes off; may be NULL */
	void *opaque;
	uint32_t preload[2]; /* 20 bits each */
	uint16_t config;
	uint8_t lock;
	uint8_t unlocking;    /* how much of the sequence 80h, 86h was written: 0, 1 or 2 */
	uint8_t stage;	      /* the counter that runs: 0 or 1 */
	bool interrupt;	      /* its status bit */
	bool timed_out;	      /* the watchdog went off; a reset does not clear it */
	uint64_t deadline_ns; /* end of the stage; UINT64_MAX = it stands still */
};

extern const struct state_desc i6300esb_state;

/* The chip; not locked. now is CLOCK_MONOTONIC in ns. */
void i6300esb_reset(struct i6300esb *);
/* Memory registers: off in the BAR, size 1, 2 or 4. */
uint32_t i6300esb_read(const struct i6300esb *, unsigned off, unsigned size);
void i6300esb_write(struct i6300esb *, unsigned off, uint32_t val, unsigned size, uint64_t now);
void i6300esb_set_config(struct i6300esb *, uint16_t val);
void i6300esb_set_lock(struct i6300esb *, uint8_t val, uint64_t now);
/* Does what is due by now. Returns when the next stage ends, behind now; UINT64_MAX = never. */
uint64_t i6300esb_update(struct i6300esb *, uint64_t now);

extern const struct dev_type i6300esb_dev_type;

#endif

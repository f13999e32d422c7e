/* SPDX-License-Identifier: Apache-2.0 */
/* The pair of 8259A interrupt controllers of a PC. See i8259.c. */
#ifndef ARCH_X86_I8259_H
#define ARCH_X86_I8259_H

#include "base/base.h"
#include "core/dev.h"
#include "core/irq.h"
#include "isa/x86/irqchip.h"
#include "mem/map.h"

struct i8259 {
	uint8_t line; /* levels of the inputs */
	uint8_t irr, imr, isr;
	uint8_t elcr;	      /* 1 = level triggered */
	uint8_t elcr_mask;    /* wiring: which may be level */
	uint8_t priority_add; /* input of highest priority */
	uint8_t vector_base;
	uint8_t init_state; /* 0 = ready; next ICW expected: 2, 3, 4 */
	bool init4;	    /* ICW1 says that ICW4 comes */
	bool single;	    /* ICW1: no cascade */
	bool ltim;	    /* ICW1: all inputs level triggered */
	bool read_isr, poll, special_mask, auto_eoi, rotate_on_auto_eoi;
	bool special_fully_nested;
	bool output; /* INT */
};

struct i8259_pair {
	struct irq out;	     /* INTR of the master */
	struct i8259 pic[2]; /* 0 = master, 1 = slave on its input 2 */
};

extern const struct state_desc i8259_state, i8259_pair_state;

/* The chips; not locked. */
void i8259_reset(struct i8259_pair *);
/* port: 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 */
uint8_t i8259_read(struct i8259_pair *, unsigned port);
void i8259_write(struct i8259_pair *, unsigned port, uint8_t val);
void i8259_set(struct i8259_pair *, unsigned irq, int level); /* 0..15 */
int i8259_ack(struct i8259_pair *); /* interrupt acknowledge cycle: the vector */
/* All registers at once; setting tells nobody, i8259_resume() sets the output line. */
void i8259_get_regs(const struct i8259_pair *, struct x86_pic_regs r[2]);
void i8259_set_regs(struct i8259_pair *, const struct x86_pic_regs r[2]);
void i8259_resume(struct i8259_pair *);

/* The device: both on their ports, under its lock. */
struct pic_dev {
	struct dev d;
	struct i8259_pair chip;
	struct map_region region[3];
};
extern const struct dev_type pic_dev_type;
/* Any thread. */
void pic_dev_set(struct pic_dev *, unsigned irq, int level);
int pic_dev_ack(struct pic_dev *);
/* Edge/level registers of both, a bit per line, as firmware sets them. */
void pic_dev_set_elcr(struct pic_dev *, unsigned lines);

#endif

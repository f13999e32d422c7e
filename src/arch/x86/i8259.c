/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two 8259A programmable interrupt controllers in cascade, with the edge/level control registers
 * of the ICH9. Intel 8259A datasheet; ICH9 datasheet 13.4.
 *
 * Modelled: 8086 mode, edge and level inputs, fixed, rotating and specific priority, special
 * mask, special fully nested and polled modes, automatic EOI, buffered mode as a bit without
 * effect. Not modelled: the 8080's CALL sequence.
 *
 * Threads: the chips are not locked; the device locks dev->lock.
 */
#include "base/base.h"
#include "base/trace.h"
#include "arch/x86/i8259.h"
#include "core/vm.h"

#define CASCADE 2u

/* Position of the highest-priority bit of mask, counted from the input that leads; 8 = none. */
static unsigned priority_of(const struct i8259 *p, uint8_t mask)
{
	uint8_t turned = (uint8_t)(mask >> p->priority_add | mask << (8 - p->priority_add));

	return turned ? (unsigned)__builtin_ctz(turned) : 8;
}

/* The input to serve now, or -1. */
static int request(const struct i8259 *p, bool master)
{
	uint8_t mask = p->irr & (uint8_t)~p->imr, in_service = p->isr;
	unsigned want = priority_of(p, mask), busy;

	if (want == 8)
		return -1;
	if (p->special_mask)
		in_service &= (uint8_t)~p->imr;
	/* Special fully nested: the slave may interrupt its own service routine. */
	if (master && p->special_fully_nested)
		in_service &= (uint8_t) ~(1u << CASCADE);
	busy = priority_of(p, in_service);
	return want < busy ? (int)((want + p->priority_add) & 7) : -1;
}

static void set_input(struct i8259 *p, unsigned n, int level)
{
	uint8_t bit = (uint8_t)(1u << n);
	bool is_level = p->ltim || (p->elcr & bit);

	if (level) {
		if (is_level || !(p->line & bit))
			p->irr |= bit;
		p->line |= bit;
	} else {
		/* A latched edge stays: the chip would answer it with its spurious vector, which
		 * is of no use to guests whose devices pulse their lines. */
		if (is_level)
			p->irr &= (uint8_t)~bit;
		p->line &= (uint8_t)~bit;
	}
}

/* The slave's output is wired to the master and is never latched. */
static void set_cascade(struct i8259 *m, bool level)
{
	uint8_t bit = 1u << CASCADE;

	m->line = level ? m->line | bit : m->line & (uint8_t)~bit;
	m->irr = level ? m->irr | bit : m->irr & (uint8_t)~bit;
}

static void update(struct i8259_pair *s)
{
	struct i8259 *m = &s->pic[0], *sl = &s->pic[1];
	bool was = m->output;

	sl->output = request(sl, false) >= 0;
	set_cascade(m, sl->output);
	m->output = request(m, true) >= 0;
	if (m->output != was)
		irq_set(&s->out, m->output);
}

/* Acknowledge cycle of one chip. */
static void take(struct i8259 *p, unsigned n)
{
	uint8_t bit = (uint8_t)(1u << n);

	if (!(p->ltim || (p->elcr & bit)))
		p->irr &= (uint8_t)~bit;
	if (!p->auto_eoi)
		p->isr |= bit;
	else if (p->rotate_on_auto_eoi)
		p->priority_add = (n + 1) & 7;
}

int i8259_ack(struct i8259_pair *s)
{
	struct i8259 *m = &s->pic[0], *sl = &s->pic[1];
	int n = request(m, true), n2, irq = 7, vector;

	if (n < 0) {
		vector = m->vector_base + 7; /* spurious */
	} else if (n == CASCADE && !m->single) {
		n2 = request(sl, false);
		if (n2 >= 0)
			take(sl, (unsigned)n2);
		else
			n2 = 7;
		irq = 8 + n2;
		vector = sl->vector_base + n2;
		take(m, CASCADE);
	} else {
		take(m, (unsigned)n);
		irq = n;
		vector = m->vector_base + n;
	}
	trace_pic_interrupt((unsigned)irq, vector);
	update(s);
	return vector;
}

static void init_chip(struct i8259 *p)
{
	uint8_t line = p->line, elcr = p->elcr, elcr_mask = p->elcr_mask;
	bool output = p->output;

	*p = (struct i8259){ .line = line, .elcr = elcr, .elcr_mask = elcr_mask, .output = output };
}

void i8259_reset(struct i8259_pair *s)
{
	for (unsigned i = 0; i < 2; i++) {
		init_chip(&s->pic[i]);
		s->pic[i].elcr = 0;
		s->pic[i].irr = 0;
	}
	s->pic[0].elcr_mask = 0xf8;
	s->pic[1].elcr_mask = 0xde;
	s->pic[0].vector_base = 0x08;
	s->pic[1].vector_base = 0x70;
	update(s);
}

static void write_icw1(struct i8259 *p, uint8_t val)
{
	init_chip(p);
	p->init_state = 2;
	p->init4 = val & 1;
	p->single = val & 2;
	p->ltim = val & 8;
	/* The edge sense is cleared: a line that is high must fall first. Level inputs ask on. */
	p->irr = p->line & (p->ltim ? 0xff : p->elcr);
}

static void write_ocw3(struct i8259 *p, uint8_t val)
{
	if (val & 4)
		p->poll = true;
	if (val & 2)
		p->read_isr = val & 1;
	if (val & 0x40)
		p->special_mask = val >> 5 & 1;
}

static void end_of_interrupt(struct i8259 *p, uint8_t val, bool rotate)
{
	unsigned pos;

	if (val & 0x40) { /* specific */
		p->isr &= (uint8_t) ~(1u << (val & 7));
		if (rotate)
			p->priority_add = (val + 1) & 7;
		return;
	}
	pos = priority_of(p, p->special_mask ? p->isr & (uint8_t)~p->imr : p->isr);
	if (pos == 8)
		return;
	pos = (pos + p->priority_add) & 7;
	p->isr &= (uint8_t) ~(1u << pos);
	if (rotate)
		p->priority_add = (pos + 1) & 7;
}

static void write_ocw2(struct i8259 *p, uint8_t val)
{
	switch (val >> 5) {
	case 0:
	case 4:
		p->rotate_on_auto_eoi = val >> 7;
		break;
	case 1:
	case 3:
		end_of_interrupt(p, val, false);
		break;
	case 5:
	case 7:
		end_of_interrupt(p, val, true);
		break;
	case 6:
		p->priority_add = (val + 1) & 7;
		break;
	default:
		break;
	}
}

static void write_command(struct i8259 *p, uint8_t val)
{
	if (val & 0x10)
		write_icw1(p, val);
	else if (val & 8)
		write_ocw3(p, val);
	else
		write_ocw2(p, val);
}

static void write_data(struct i8259 *p, uint8_t val)
{
	switch (p->init_state) {
	case 2:
		p->vector_base = val & 0xf8;
		p->init_state = p->single ? (p->init4 ? 4 : 0) : 3;
		break;
	case 3: /* the cascade is wired */
		p->init_state = p->init4 ? 4 : 0;
		break;
	case 4:
		p->special_fully_nested = val >> 4 & 1;
		p->auto_eoi = val >> 1 & 1;
		p->init_state = 0;
		break;
	default:
		p->imr = val;
	}
}

/* A poll is an acknowledge by read: bit 7 says that there was a request. */
static uint8_t read_poll(struct i8259 *p, bool master)
{
	int n = request(p, master);

	p->poll = false;
	if (n < 0)
		return 0;
	take(p, (unsigned)n);
	return (uint8_t)(0x80 | n);
}

static uint8_t read_reg(struct i8259_pair *s, unsigned port)
{
	struct i8259 *p = &s->pic[port >> 7 & 1];
	uint8_t val;

	if (port == 0x4d0 || port == 0x4d1)
		return s->pic[port & 1].elcr;
	if (p->poll) {
		val = read_poll(p, p == &s->pic[0]);
		update(s);
		return val;
	}
	if (port & 1)
		return p->imr;
	return p->read_isr ? p->isr : p->irr;
}

/* The ports of the second chip are A0, A1 and 4D1. */
static bool is_master(unsigned port)
{
	return port >= 0x4d0 ? port == 0x4d0 : !(port & 0x80);
}

uint8_t i8259_read(struct i8259_pair *s, unsigned port)
{
	uint8_t val = read_reg(s, port);

	trace_pic_ioport_read(is_master(port), port, val);
	return val;
}

void i8259_write(struct i8259_pair *s, unsigned port, uint8_t val)
{
	struct i8259 *p = &s->pic[port >> 7 & 1];

	trace_pic_ioport_write(is_master(port), port, val);
	if (port == 0x4d0 || port == 0x4d1) {
		p = &s->pic[port & 1];
		p->elcr = val & p->elcr_mask;
		/* A line that is high now asks on as a level. */
		p->irr |= p->line & p->elcr;
	} else if (port & 1) {
		write_data(p, val);
	} else {
		write_command(p, val);
	}
	update(s);
}

void i8259_set(struct i8259_pair *s, unsigned irq, int level)
{
	if (irq > 15 || irq == CASCADE)
		return;
	trace_pic_set_irq(irq < 8, irq & 7, level);
	set_input(&s->pic[irq >> 3], irq & 7, level);
	update(s);
}

void i8259_get_regs(const struct i8259_pair *s, struct x86_pic_regs r[2])
{
	for (unsigned i = 0; i < 2; i++) {
		const struct i8259 *p = &s->pic[i];

		r[i] = (struct x86_pic_regs){
			.line = p->line,
			.irr = p->irr,
			.imr = p->imr,
			.isr = p->isr,
			.elcr = p->ltim ? 0xff : p->elcr,
			.priority_add = p->priority_add,
			.vector_base = p->vector_base,
			.init_state = p->init_state,
			.init4 = p->init4,
			.read_isr = p->read_isr,
			.poll = p->poll,
			.special_mask = p->special_mask,
			.auto_eoi = p->auto_eoi,
			.rotate_on_auto_eoi = p->rotate_on_auto_eoi,
			.special_fully_nested = p->special_fully_nested,
		};
	}
}

void i8259_set_regs(struct i8259_pair *s, const struct x86_pic_regs r[2])
{
	for (unsigned i = 0; i < 2; i++) {
		struct i8259 *p = &s->pic[i];
		bool output = p->output;

		*p = (struct i8259){
			.line = r[i].line,
			.irr = r[i].irr,
			.imr = r[i].imr,
			.isr = r[i].isr,
			.elcr = r[i].elcr & p->elcr_mask,
			.elcr_mask = p->elcr_mask,
			.priority_add = r[i].priority_add & 7,
			.vector_base = r[i].vector_base & 0xf8,
			.init_state = r[i].init_state,
			.init4 = r[i].init4,
			.read_isr = r[i].read_isr,
			.poll = r[i].poll,
			.special_mask = r[i].special_mask,
			.auto_eoi = r[i].auto_eoi,
			.rotate_on_auto_eoi = r[i].rotate_on_auto_eoi,
			.special_fully_nested = r[i].special_fully_nested,
			.output = output,
		};
	}
}

void i8259_resume(struct i8259_pair *s)
{
	update(s);
	irq_set(&s->out, s->pic[0].output);
}

static int chip_check(void *obj, struct err *e)
{
	struct i8259 *p = obj;

	if (p->priority_add > 7 || p->init_state > 4 || p->init_state == 1 ||
	    (p->vector_base & 7) || (p->elcr & ~p->elcr_mask))
		return err_set(e, EINVAL, "i8259: impossible register values");
	return 0;
}

#define S struct i8259
const struct state_desc i8259_state = {
	.name = "i8259",
	.struct_name = "i8259",
	.version = 1,
	.post_load = chip_check,
	.fields = (const struct state_field[]){ ST_U8(S, line),
						ST_U8(S, irr),
						ST_U8(S, imr),
						ST_U8(S, isr),
						ST_U8(S, elcr),
						ST_HOST(S, elcr_mask),
						ST_U8(S, priority_add),
						ST_U8(S, vector_base),
						ST_U8(S, init_state),
						ST_BOOL(S, init4),
						ST_BOOL(S, single),
						ST_BOOL(S, ltim),
						ST_BOOL(S, read_isr),
						ST_BOOL(S, poll),
						ST_BOOL(S, special_mask),
						ST_BOOL(S, auto_eoi),
						ST_BOOL(S, rotate_on_auto_eoi),
						ST_BOOL(S, special_fully_nested),
						ST_BOOL(S, output),
						ST_END },
};
#undef S

#define S struct i8259_pair
const struct state_desc i8259_pair_state = {
	.name = "i8259-pair",
	.struct_name = "i8259_pair",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, out), ST_SUBA(S, pic, &i8259_state),
						ST_END },
};
#undef S

static uint64_t port_read(struct pic_dev *s, unsigned base, uint64_t off)
{
	return i8259_read(&s->chip, base + (unsigned)off);
}

#define PORT_OPS(name, base)                                                              \
	static uint64_t name##_read(void *opaque, uint64_t off, unsigned size)            \
	{                                                                                 \
		return port_read(opaque, base, off);                                      \
	}                                                                                 \
	static void name##_write(void *opaque, uint64_t off, uint64_t val, unsigned size) \
	{                                                                                 \
		struct pic_dev *s = opaque;                                               \
		i8259_write(&s->chip, base + (unsigned)off, (uint8_t)val);                \
	}                                                                                 \
	static const struct io_ops name##_ops = { name##_read, name##_write, 1, 1 };

PORT_OPS(master, 0x20)
PORT_OPS(slave, 0xa0)
PORT_OPS(elcr, 0x4d0)

void pic_dev_set(struct pic_dev *s, unsigned irq, int level)
{
	pthread_mutex_lock(&s->d.lock);
	i8259_set(&s->chip, irq, level);
	pthread_mutex_unlock(&s->d.lock);
}

int pic_dev_ack(struct pic_dev *s)
{
	int vector;

	pthread_mutex_lock(&s->d.lock);
	vector = i8259_ack(&s->chip);
	pthread_mutex_unlock(&s->d.lock);
	return vector;
}

void pic_dev_set_elcr(struct pic_dev *s, unsigned lines)
{
	pthread_mutex_lock(&s->d.lock);
	i8259_write(&s->chip, 0x4d0, (uint8_t)lines);
	i8259_write(&s->chip, 0x4d1, (uint8_t)(lines >> 8));
	pthread_mutex_unlock(&s->d.lock);
}

static int dev_init(struct dev *d, struct err *e)
{
	static const struct {
		const char *name;
		uint16_t port;
		const struct io_ops *ops;
	} at[3] = { { "pic0", 0x20, &master_ops },
		    { "pic1", 0xa0, &slave_ops },
		    { "elcr", 0x4d0, &elcr_ops } };
	struct pic_dev *s = container_of(d, struct pic_dev, d);
	int r;

	i8259_reset(&s->chip);
	for (unsigned i = 0; i < 3; i++) {
		s->region[i] = (struct map_region){ .name = at[i].name,
						    .space = MAP_PIO,
						    .kind = MAP_IO,
						    .addr = at[i].port,
						    .size = 2,
						    .ops = at[i].ops,
						    .opaque = s,
						    .lock = &d->lock };
		r = map_add(d->vm->map, &s->region[i], e);
		if (r)
			return r;
	}
	return 0;
}

static void dev_fini(struct dev *d)
{
	struct pic_dev *s = container_of(d, struct pic_dev, d);

	for (unsigned i = 0; i < 3; i++)
		if (s->region[i].added)
			map_del(d->vm->map, &s->region[i]);
}

static void dev_reset(struct dev *d)
{
	struct pic_dev *s = container_of(d, struct pic_dev, d);

	pthread_mutex_lock(&d->lock);
	i8259_reset(&s->chip);
	pthread_mutex_unlock(&d->lock);
}

#define S struct pic_dev
static const struct state_desc dev_state = {
	.name = "pic-dev",
	.struct_name = "pic_dev",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, d), ST_SUB(S, chip, &i8259_pair_state),
						ST_HOST(S, region), ST_END },
};
#undef S

const struct dev_type pic_dev_type = {
	.name = "isa-pic",
	.bus = DEV_BUS_ISA,
	.help = "two 8259A interrupt controllers",
	.size = sizeof(struct pic_dev),
	.state = &dev_state,
	.internal = true,
	.init = dev_init,
	.fini = dev_fini,
	.reset = dev_reset,
};

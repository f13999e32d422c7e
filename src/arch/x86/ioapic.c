/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O APIC: Intel 82093AA datasheet, and the EOI register of version 0x20 (ICH9 datasheet 13.5).
 *
 * A level-triggered input that was delivered sets remote IRR and waits for the EOI of its vector;
 * when the input is still high then, it is sent again. Pins are active high here: the polarity
 * bit is kept and has no meaning, as devices speak levels (core/irq.h).
 *
 * Threads: the chip is not locked; the device locks dev->lock, a leaf but for the LAPICs, which
 * take no lock.
 */
#include "base/base.h"
#include "base/trace.h"
#include "arch/x86/ioapic.h"
#include "core/vm.h"

#define IOAPIC_VERSION (0x20u | (IOAPIC_PINS - 1) << 16)
#define REG_SELECT     0x00
#define REG_WINDOW     0x10
#define REG_EOI	       0x40
#define REDIR_WRITABLE 0xff0000000001afffull

void ioapic_reset(struct ioapic *s)
{
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		s->redir[i] = REDIR_MASKED;
	s->irr = 0;
	s->line = 0;
	s->select = 0;
	s->id = 0;
}

static struct apic_msg message(uint64_t e)
{
	uint32_t dest = (uint32_t)(e >> REDIR_DEST_SHIFT);

	return (struct apic_msg){
		.dest = dest == 0xff ? APIC_DEST_ALL : dest,
		.vector = e & REDIR_VECTOR,
		.mode = e >> REDIR_MODE_SHIFT & 7,
		.logical = e & REDIR_LOGICAL,
		.level = e & REDIR_LEVEL,
	};
}

static void send(struct ioapic *s, unsigned pin)
{
	struct apic_msg m = message(s->redir[pin]);

	s->send(s->opaque, &m);
}

/* A masked pin keeps what it was sent as: that may be in service still. */
static void rewire(struct ioapic *s, unsigned pin)
{
	struct apic_msg m = message(s->redir[pin]);

	if (s->rewired && !(s->redir[pin] & REDIR_MASKED))
		s->rewired(s->opaque, pin, &m);
}

static void service(struct ioapic *s, unsigned pin)
{
	uint64_t e = s->redir[pin];

	if (!(s->irr & BIT32(pin)) || (e & REDIR_MASKED))
		return;
	if (e & REDIR_LEVEL) {
		if (e & REDIR_REMOTE_IRR)
			return;
		s->redir[pin] = e | REDIR_REMOTE_IRR;
	} else {
		s->irr &= ~BIT32(pin);
	}
	send(s, pin);
}

void ioapic_set(struct ioapic *s, unsigned pin, int level)
{
	uint32_t bit, old = s->line;

	if (pin >= IOAPIC_PINS)
		return;
	trace_ioapic_set_irq(pin, level);
	bit = BIT32(pin);
	s->line = level ? old | bit : old & ~bit;
	if (s->redir[pin] & REDIR_LEVEL) {
		s->irr = level ? s->irr | bit : s->irr & ~bit;
	} else {
		/* An edge on a masked input is lost, as in the chip. */
		if (!level || (old & bit) || (s->redir[pin] & REDIR_MASKED))
			return;
		s->irr |= bit;
	}
	service(s, pin);
}

static void end_pin(struct ioapic *s, unsigned pin)
{
	s->redir[pin] &= ~REDIR_REMOTE_IRR;
	service(s, pin);
}

void ioapic_eoi(struct ioapic *s, unsigned vector)
{
	trace_ioapic_eoi_broadcast(vector);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t e = s->redir[pin];

		if ((e & REDIR_VECTOR) == vector && (e & REDIR_LEVEL) && (e & REDIR_REMOTE_IRR))
			end_pin(s, pin);
	}
}

static void write_redir(struct ioapic *s, unsigned pin, bool high, uint32_t val)
{
	uint64_t e = s->redir[pin], keep = ~REDIR_WRITABLE;
	uint32_t bit = BIT32(pin);
	bool was_level = e & REDIR_LEVEL;

	if (high)
		e = (e & 0xffffffff) | ((uint64_t)val << 32 & REDIR_WRITABLE);
	else
		e = (e & (keep | 0xffffffff00000000ull)) | (val & REDIR_WRITABLE);
	if (!(e & REDIR_LEVEL)) {
		e &= ~REDIR_REMOTE_IRR;
		if (was_level)
			s->irr &= ~bit;
	} else {
		s->irr = s->line & bit ? s->irr | bit : s->irr & ~bit;
	}
	s->redir[pin] = e;
	rewire(s, pin);
	service(s, pin);
}

uint32_t ioapic_read(struct ioapic *s, uint64_t off)
{
	unsigned reg = s->select, pin = (reg - 0x10) / 2;

	if (off == REG_SELECT)
		return reg;
	if (off != REG_WINDOW)
		return 0;
	switch (reg) {
	case 0: /* id */
	case 2: /* arbitration id */
		return (uint32_t)s->id << 24;
	case 1:
		return IOAPIC_VERSION;
	default:
		if (reg < 0x10 || pin >= IOAPIC_PINS)
			return 0;
		return (uint32_t)(s->redir[pin] >> (reg & 1 ? 32 : 0));
	}
}

void ioapic_write(struct ioapic *s, uint64_t off, uint32_t val)
{
	unsigned reg = s->select, pin = (reg - 0x10) / 2;

	switch (off) {
	case REG_SELECT:
		s->select = (uint8_t)val;
		break;
	case REG_WINDOW:
		if (reg == 0)
			s->id = val >> 24 & 0xf;
		else if (reg >= 0x10 && pin < IOAPIC_PINS)
			write_redir(s, pin, reg & 1, val);
		break;
	case REG_EOI:
		ioapic_eoi(s, val & 0xff);
		break;
	default:
		break;
	}
}

void ioapic_get_regs(const struct ioapic *s, struct x86_ioapic_regs *r)
{
	*r = (struct x86_ioapic_regs){ .line = s->line, .select = s->select, .id = s->id };
	memcpy(r->redir, s->redir, sizeof(r->redir));
}

void ioapic_set_regs(struct ioapic *s, const struct x86_ioapic_regs *r)
{
	s->line = r->line;
	s->irr = 0;
	s->select = r->select;
	s->id = r->id & 0xf;
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		s->redir[i] = r->redir[i] & (REDIR_WRITABLE | REDIR_REMOTE_IRR);
		if (s->redir[i] & REDIR_LEVEL)
			s->irr |= s->line & BIT32(i);
	}
}

void ioapic_resume(struct ioapic *s)
{
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		rewire(s, i);
		service(s, i);
	}
}

static int ioapic_check(void *obj, struct err *e)
{
	struct ioapic *s = obj;

	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		if (s->redir[i] & ~(REDIR_WRITABLE | REDIR_REMOTE_IRR | REDIR_PENDING))
			return err_set(e, EINVAL, "ioapic: redirection entry %u has reserved bits",
				       i);
	if (s->line >> IOAPIC_PINS || s->irr >> IOAPIC_PINS || s->id > 15)
		return err_set(e, EINVAL, "ioapic: more lines than the %u there are", IOAPIC_PINS);
	return 0;
}

#define S struct ioapic
const struct state_desc ioapic_state = {
	.name = "ioapic",
	.struct_name = "ioapic",
	.version = 1,
	.post_load = ioapic_check,
	.fields = (const struct state_field[]){ ST_HOST(S, send), ST_HOST(S, rewired),
						ST_HOST(S, opaque), ST_U64A(S, redir),
						ST_U32(S, line), ST_U32(S, irr), ST_U8(S, select),
						ST_U8(S, id), ST_END },
};
#undef S

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
	struct ioapic_dev *s = opaque;
	uint32_t val = ioapic_read(&s->chip, off);

	trace_ioapic_mem_read((unsigned)off, s->chip.select, val);
	return val;
}

static void mmio_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct ioapic_dev *s = opaque;

	trace_ioapic_mem_write((unsigned)off, s->chip.select, (uint32_t)val);
	ioapic_write(&s->chip, off, (uint32_t)val);
}

static const struct io_ops mmio_ops = { mmio_read, mmio_write, 4, 4 };

void ioapic_dev_set(struct ioapic_dev *s, unsigned pin, int level)
{
	pthread_mutex_lock(&s->d.lock);
	ioapic_set(&s->chip, pin, level);
	pthread_mutex_unlock(&s->d.lock);
}

void ioapic_dev_eoi(struct ioapic_dev *s, unsigned vector)
{
	pthread_mutex_lock(&s->d.lock);
	ioapic_eoi(&s->chip, vector);
	pthread_mutex_unlock(&s->d.lock);
}

static int dev_init(struct dev *d, struct err *e)
{
	struct ioapic_dev *s = container_of(d, struct ioapic_dev, d);

	ioapic_reset(&s->chip);
	s->region = (struct map_region){ .name = "ioapic",
					 .space = MAP_MEM,
					 .kind = MAP_IO,
					 .addr = IOAPIC_BASE,
					 .size = IOAPIC_PAGE_SIZE,
					 .ops = &mmio_ops,
					 .opaque = s,
					 .lock = &d->lock };
	return map_add(d->vm->map, &s->region, e);
}

static void dev_fini(struct dev *d)
{
	struct ioapic_dev *s = container_of(d, struct ioapic_dev, d);

	if (s->region.added)
		map_del(d->vm->map, &s->region);
}

static void dev_reset(struct dev *d)
{
	struct ioapic_dev *s = container_of(d, struct ioapic_dev, d);
	uint32_t line;

	/* Inputs are what the devices hold them at. */
	pthread_mutex_lock(&d->lock);
	line = s->chip.line;
	ioapic_reset(&s->chip);
	s->chip.line = line;
	pthread_mutex_unlock(&d->lock);
}

#define S struct ioapic_dev
static const struct state_desc dev_state = {
	.name = "ioapic-dev",
	.struct_name = "ioapic_dev",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, d), ST_SUB(S, chip, &ioapic_state),
						ST_HOST(S, region), ST_END },
};
#undef S

const struct dev_type ioapic_dev_type = {
	.name = "ioapic",
	.bus = DEV_BUS_BOARD,
	.help = "I/O APIC with 24 inputs",
	.size = sizeof(struct ioapic_dev),
	.state = &dev_state,
	.internal = true,
	.init = dev_init,
	.fini = dev_fini,
	.reset = dev_reset,
};

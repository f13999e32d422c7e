/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 8042 keyboard controller as a PC's guests probe and use it without devices behind it: self
 * test, command byte, output port with A20 and reset, and port 0x92. IBM PS/2 hardware interface
 * technical reference.
 *
 * A byte for a device that is not there is answered as the controller does when nothing clocks it
 * out: 0xfe with the time-out bit, so that probes end at once. A20 is kept as a bit: the address
 * line is always open.
 *
 * Threads: the chip is not locked; the device locks dev->lock.
 */
#include "base/base.h"
#include "dev/i8042.h"
#include "core/arch.h"
#include "core/vm.h"

#define ST_OBF	   0x01u
#define ST_SYS	   0x04u
#define ST_CMD	   0x08u
#define ST_UNLOCK  0x10u
#define ST_AUX	   0x20u
#define ST_TIMEOUT 0x40u

#define MODE_KBD_INT 0x01u
#define MODE_AUX_INT 0x02u
#define MODE_SYS     0x04u
#define MODE_NO_KBD  0x10u
#define MODE_NO_AUX  0x20u

#define OUT_RESET 0x01u /* low = reset */
#define OUT_A20	  0x02u
#define OUT_OBF	  0x10u
#define OUT_AUX	  0x20u

#define RESEND 0xfe

static void update_irq(struct i8042 *s)
{
	bool aux = s->source & ST_AUX;
	bool level[2] = { s->full && !aux && (s->mode & MODE_KBD_INT),
			  s->full && aux && (s->mode & MODE_AUX_INT) };

	for (unsigned i = 0; i < 2; i++)
		if (level[i] != s->level[i]) {
			s->level[i] = level[i];
			irq_set(&s->irq[i], level[i]);
		}
}

void i8042_reset(struct i8042 *s)
{
	s->mode = MODE_KBD_INT | MODE_AUX_INT;
	s->status = ST_CMD | ST_UNLOCK;
	s->outport = OUT_RESET | OUT_A20 | 0xcc;
	s->command = 0;
	s->data = 0;
	s->source = 0;
	s->full = false;
	update_irq(s);
}

static void reply(struct i8042 *s, uint8_t val, uint8_t source)
{
	s->data = val;
	s->source = source;
	s->full = true;
}

static void write_outport(struct i8042 *s, uint8_t val)
{
	s->outport = val;
	if (!(val & OUT_RESET) && s->reset_line)
		s->reset_line(s->opaque);
}

static void command(struct i8042 *s, uint8_t cmd)
{
	s->command = 0;
	switch (cmd) {
	case 0x20:
		reply(s, s->mode, 0);
		break;
	case 0x60: /* command byte */
	case 0xd1: /* output port */
	case 0xd2: /* as if from the keyboard */
	case 0xd3: /* as if from the mouse */
	case 0xd4: /* to the mouse */
		s->command = cmd;
		break;
	case 0xa7:
		s->mode |= MODE_NO_AUX;
		break;
	case 0xa8:
		s->mode &= (uint8_t)~MODE_NO_AUX;
		break;
	case 0xa9: /* interface tests: no error */
	case 0xab:
		reply(s, 0, 0);
		break;
	case 0xaa:
		s->status |= ST_SYS;
		reply(s, 0x55, 0);
		break;
	case 0xad:
		s->mode |= MODE_NO_KBD;
		break;
	case 0xae:
		s->mode &= (uint8_t)~MODE_NO_KBD;
		break;
	case 0xc0:
		reply(s, 0x80, 0);
		break;
	case 0xd0:
		reply(s, (uint8_t)(s->outport | (s->full ? OUT_OBF : 0)), 0);
		break;
	case 0xdd:
		s->outport &= (uint8_t)~OUT_A20;
		break;
	case 0xdf:
		s->outport |= OUT_A20;
		break;
	case 0xf0 ... 0xff: /* pulses the output lines whose bit is clear */
		if (!(cmd & 1) && s->reset_line)
			s->reset_line(s->opaque);
		break;
	default:
		break;
	}
}

static void data(struct i8042 *s, uint8_t val)
{
	uint8_t cmd = s->command;

	s->command = 0;
	switch (cmd) {
	case 0x60:
		s->mode = val;
		s->status = (uint8_t)((s->status & ~ST_SYS) | (val & MODE_SYS ? ST_SYS : 0));
		break;
	case 0xd1:
		write_outport(s, val);
		break;
	case 0xd2:
		reply(s, val, 0);
		break;
	case 0xd3:
		reply(s, val, ST_AUX);
		break;
	case 0xd4:
		reply(s, RESEND, ST_AUX | ST_TIMEOUT);
		break;
	default:
		reply(s, RESEND, ST_TIMEOUT);
	}
}

uint8_t i8042_read(struct i8042 *s, unsigned port)
{
	uint8_t v;

	switch (port) {
	case 0x64:
		return (uint8_t)(s->status | (s->full ? ST_OBF | s->source : 0));
	case 0x92:
		return s->outport & OUT_A20;
	default:
		v = s->data;
		s->full = false;
		update_irq(s);
		return v;
	}
}

void i8042_write(struct i8042 *s, unsigned port, uint8_t val)
{
	switch (port) {
	case 0x64:
		s->status |= ST_CMD;
		command(s, val);
		break;
	case 0x92:
		s->outport = (uint8_t)((s->outport & ~OUT_A20) | (val & OUT_A20));
		if ((val & 1) && s->reset_line)
			s->reset_line(s->opaque);
		break;
	default:
		s->status &= (uint8_t)~ST_CMD;
		data(s, val);
	}
	update_irq(s);
}

static int i8042_check(void *obj, struct err *e)
{
	struct i8042 *s = obj;

	if (s->source & ~(ST_AUX | ST_TIMEOUT) || s->status & ~(ST_SYS | ST_CMD | ST_UNLOCK))
		return err_set(e, EINVAL, "i8042: impossible status");
	return 0;
}

#define S struct i8042
const struct state_desc i8042_state = {
	.name = "i8042",
	.struct_name = "i8042",
	.version = 1,
	.post_load = i8042_check,
	.fields = (const struct state_field[]){ ST_HOST(S, irq), ST_HOST(S, reset_line),
						ST_HOST(S, opaque), ST_U8(S, mode),
						ST_U8(S, status), ST_U8(S, outport),
						ST_U8(S, command), ST_U8(S, data), ST_U8(S, source),
						ST_BOOL(S, full), ST_BOOLA(S, level), ST_END },
};
#undef S

#define PORT(name, port)                                                                  \
	static uint64_t name##_read(void *opaque, uint64_t off, unsigned size)            \
	{                                                                                 \
		struct i8042_dev *s = opaque;                                             \
		return i8042_read(&s->chip, port);                                        \
	}                                                                                 \
	static void name##_write(void *opaque, uint64_t off, uint64_t val, unsigned size) \
	{                                                                                 \
		struct i8042_dev *s = opaque;                                             \
		i8042_write(&s->chip, port, (uint8_t)val);                                \
	}                                                                                 \
	static const struct io_ops name##_ops = { name##_read, name##_write, 1, 1 };

PORT(data, 0x60)
PORT(command, 0x64)
PORT(system, 0x92)

static void reset_machine(void *opaque)
{
	struct i8042_dev *s = opaque;

	vm_request_reset(s->d.vm, VM_CAUSE_GUEST_RESET);
}

static int dev_init(struct dev *d, struct err *e)
{
	static const struct {
		const char *name;
		uint16_t port;
		const struct io_ops *ops;
	} at[3] = { { "i8042-data", 0x60, &data_ops },
		    { "i8042-command", 0x64, &command_ops },
		    { "port92", 0x92, &system_ops } };
	struct i8042_dev *s = container_of(d, struct i8042_dev, d);
	int r = 0;

	s->chip.irq[0] = arch_isa_irq(d->vm, 1);
	s->chip.irq[1] = arch_isa_irq(d->vm, 12);
	s->chip.reset_line = reset_machine;
	s->chip.opaque = s;
	i8042_reset(&s->chip);
	for (unsigned i = 0; i < 3 && !r; i++) {
		s->region[i] = (struct map_region){ .name = at[i].name,
						    .space = MAP_PIO,
						    .kind = MAP_IO,
						    .addr = at[i].port,
						    .size = 1,
						    .ops = at[i].ops,
						    .opaque = s,
						    .lock = &d->lock };
		r = map_add(d->vm->map, &s->region[i], e);
	}
	return r;
}

static void dev_fini(struct dev *d)
{
	struct i8042_dev *s = container_of(d, struct i8042_dev, d);

	for (unsigned i = 0; i < 3; i++)
		if (s->region[i].added)
			map_del(d->vm->map, &s->region[i]);
}

static void dev_reset(struct dev *d)
{
	struct i8042_dev *s = container_of(d, struct i8042_dev, d);

	pthread_mutex_lock(&d->lock);
	i8042_reset(&s->chip);
	pthread_mutex_unlock(&d->lock);
}

#define S struct i8042_dev
static const struct state_desc dev_state = {
	.name = "i8042-dev",
	.struct_name = "i8042_dev",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, d), ST_SUB(S, chip, &i8042_state),
						ST_HOST(S, region), ST_END },
};
#undef S

const struct dev_type i8042_dev_type = {
	.name = "i8042",
	.bus = DEV_BUS_ISA,
	.help = "keyboard controller",
	.size = sizeof(struct i8042_dev),
	.state = &dev_state,
	.internal = true,
	.init = dev_init,
	.fini = dev_fini,
	.reset = dev_reset,
};

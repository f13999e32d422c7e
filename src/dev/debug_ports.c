/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports through which a guest talks to whoever runs it: isa-debugcon (a byte to a character end;
 * 0xe9, or 0x402 for firmware) and isa-debug-exit (ends hanok with an exit code).
 *
 * Threads: any vCPU; no state beyond what is set at start, so debugcon and exit take no lock.
 */
#include "base/base.h"
#include "char/char.h"
#include "core/backend.h"
#include "core/dev.h"
#include "core/vm.h"

static void del_region(struct dev *d, struct map_region *r)
{
	if (r->added)
		map_del(d->vm->map, r);
}

/* ---- isa-debugcon ---- */

struct debugcon {
	struct dev d;
	struct char_end *end;
	struct char_front front;
	struct map_region region;
	char *chardev;
	uint32_t iobase, readback;
};

static uint64_t debugcon_read(void *opaque, uint64_t off, unsigned size)
{
	struct debugcon *s = opaque;

	return s->readback;
}

static void debugcon_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct debugcon *s = opaque;
	uint8_t byte = (uint8_t)val;

	/* There is no way to say "not now": what the end does not take is lost. */
	if (s->end)
		char_write(s->end, &byte, 1);
}

static const struct io_ops debugcon_ops = { debugcon_read, debugcon_write, 1, 1 };

static size_t no_room(struct char_front *f)
{
	return 0;
}

static void no_receive(struct char_front *f, const uint8_t *data, size_t len)
{
}

static int debugcon_init(struct dev *d, struct err *e)
{
	struct debugcon *s = container_of(d, struct debugcon, d);
	int r;

	s->front = (struct char_front){ .room = no_room, .receive = no_receive };
	if (s->chardev) {
		struct char_end *end = backend_claim(d->vm, BACKEND_CHAR, s->chardev, d->path, e);

		if (!end)
			return -EINVAL;
		r = char_attach(end, &s->front, e);
		if (r) {
			backend_release(d->vm, BACKEND_CHAR, s->chardev);
			return r;
		}
		s->end = end;
	}
	s->region = (struct map_region){ .name = "debugcon",
					 .space = MAP_PIO,
					 .kind = MAP_IO,
					 .addr = s->iobase,
					 .size = 1,
					 .ops = &debugcon_ops,
					 .opaque = s };
	return map_add(d->vm->map, &s->region, e);
}

static void debugcon_fini(struct dev *d)
{
	struct debugcon *s = container_of(d, struct debugcon, d);

	del_region(d, &s->region);
	if (!s->end)
		return;
	char_detach(s->end, &s->front);
	backend_release(d->vm, BACKEND_CHAR, s->chardev);
	s->end = NULL;
}

static const struct prop debugcon_props[] = {
	PROP_STRING("chardev", struct debugcon, chardev, NULL, "character device to connect"),
	PROP_UINT("iobase", struct debugcon, iobase, PROP_U32, 0xe9, 0, 0xffff, "its port"),
	PROP_UINT("readback", struct debugcon, readback, PROP_U32, 0xe9, 0, 0xff,
		  "what a read gives"),
	PROPS_END,
};

#define S struct debugcon
static const struct state_desc debugcon_state = {
	.name = "isa-debugcon",
	.struct_name = "debugcon",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, d), ST_HOST(S, end), ST_HOST(S, front),
						ST_HOST(S, region), ST_HOST(S, chardev),
						ST_HOST(S, iobase), ST_HOST(S, readback), ST_END },
};
#undef S

extern const struct dev_type debugcon_dev_type;
const struct dev_type debugcon_dev_type = {
	.name = "isa-debugcon",
	.bus = DEV_BUS_ISA,
	.help = "debug console port",
	.size = sizeof(struct debugcon),
	.props = debugcon_props,
	.state = &debugcon_state,
	.init = debugcon_init,
	.fini = debugcon_fini,
};

/* ---- isa-debug-exit ---- */

struct debug_exit {
	struct dev d;
	struct map_region region;
	uint32_t iobase, iosize;
};

static uint64_t exit_read(void *opaque, uint64_t off, unsigned size)
{
	return 0;
}

static void exit_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct debug_exit *s = opaque;

	/* Never 0, which means that the guest powered off. */
	vm_request_exit(s->d.vm, (int)((val << 1 | 1) & 0xff), VM_CAUSE_DEBUG_EXIT);
}

static const struct io_ops exit_ops = { exit_read, exit_write, 1, 4 };

static int exit_init(struct dev *d, struct err *e)
{
	struct debug_exit *s = container_of(d, struct debug_exit, d);

	s->region = (struct map_region){ .name = "debug-exit",
					 .space = MAP_PIO,
					 .kind = MAP_IO,
					 .addr = s->iobase,
					 .size = s->iosize,
					 .ops = &exit_ops,
					 .opaque = s };
	return map_add(d->vm->map, &s->region, e);
}

static void exit_fini(struct dev *d)
{
	del_region(d, &container_of(d, struct debug_exit, d)->region);
}

static const struct prop exit_props[] = {
	PROP_UINT("iobase", struct debug_exit, iobase, PROP_U32, 0x501, 0, 0xfff0, "its port"),
	PROP_UINT("iosize", struct debug_exit, iosize, PROP_U32, 2, 1, 4, "ports it takes"),
	PROPS_END,
};

#define S struct debug_exit
static const struct state_desc exit_state = {
	.name = "isa-debug-exit",
	.struct_name = "debug_exit",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(S, d), ST_HOST(S, region),
						ST_HOST(S, iobase), ST_HOST(S, iosize), ST_END },
};
#undef S

extern const struct dev_type debug_exit_dev_type;
const struct dev_type debug_exit_dev_type = {
	.name = "isa-debug-exit",
	.bus = DEV_BUS_ISA,
	.help = "port whose writes end the process: exit code value * 2 + 1",
	.size = sizeof(struct debug_exit),
	.props = exit_props,
	.state = &exit_state,
	.init = exit_init,
	.fini = exit_fini,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the ports through which a guest talks to whoever runs it, and their neighbours. */
#include "fake_machine.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fm *machine(void)
{
	static const char *const types[] = { "isa-debugcon", "isa-debug-exit", "pvpanic", "ib700" };
	struct fm *m = fm_new(0, 0, false);

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct conf_node *n = conf_add(m->vm.conf, CONF_DEVICE, types[i], NULL, "-device");
		struct err e = { 0 };
		struct dev *d;

		if (i < 2)
			conf_set(n, "iobase", i ? "0xf4" : "0xe9");
		if (dev_create(&m->vm, n, &d, &e))
			__builtin_trap();
	}
	return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t ports[] = { 0xe9, 0xf4, 0x505, 0xe7, 0xf2, 0x504, 0x441, 0x442 };
	struct fuzz_input in = { data, data + size };
	struct fm *m = machine();

	while (fuzz_more(&in)) {
		uint8_t op = fuzz_u8(&in);
		uint16_t port = (uint16_t)(ports[(op & 15) % ARRAY_SIZE(ports)] + (op >> 4 & 1));
		unsigned width = 1u << (op >> 5 & 3) % 3;

		if (op & 0x80)
			fm_out(m, port, fuzz_u32(&in), width);
		else
			fm_in(m, port, width);
	}
	for (struct dev *d = m->vm.devs; d; d = d->next)
		fuzz_check_state(d->type->state, d, d);
	fm_free(m);
	return 0;
}

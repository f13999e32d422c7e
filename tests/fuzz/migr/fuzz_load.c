/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A saved machine from somebody who knows the checksums: bytes of any object are changed and its
 * checksum made right again, and the machine takes it or refuses it. What it takes it must also be
 * able to run for a moment, to save again, and to be reset from.
 *
 * Input: the header's text when the first byte is odd; else changes, each a number of an object
 * (u8), a place in it (u16) and the new byte.
 */
#include "fuzz_input.h"
#include "base/crc32c.h"
#include "core/dev.h"
#include "migr/desc.h"
#include "migr/format.h"
#include "migr/machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vm *vm;
static struct state_buf whole; /* header and state of the machine after its reset */
static size_t state_at;

static void set_up(void)
{
	char *kernel = machine_kernel();
	struct vm_conf *c = machine_conf(kernel, 1, "defer");
	struct err e = { 0 };
	static const char *const types[] = { "virtio-rng-pci", "virtio-serial-pci", "pvpanic" };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		conf_add(c, CONF_DEVICE, types[i], NULL, types[i]);
	vm = vm_new_take(c, &e);
	if (!vm || vm_start(vm, &e) < 0 || save_state(vm, "paused", &whole, &e) < 0)
		abort();
	state_at = FMT_HEADER_LEN + ld_le32(whole.data + 12) + 4 + FMT_SECTION_LEN;
	unlink(kernel);
	free(kernel);
}

/* The n-th object of the state: its start, and where the next one begins. */
static uint8_t *object(uint8_t *p, uint8_t *end, unsigned n, size_t *len)
{
	for (;; n--) {
		*len = 8 + (size_t)ld_le32(p + 4) + 4;
		if (!n || p + *len >= end)
			return p;
		p += *len;
	}
}

static void run_for_a_moment(void)
{
	struct err e = { 0 };
	struct state_buf again = { 0 };

	vm_resume(vm);
	for (int i = 0; i < 3; i++)
		loop_once(vm->loop, 0);
	vm_pause(vm);
	if (save_state(vm, "paused", &again, &e) < 0)
		abort();
	state_buf_fini(&again);
}

static void changed_state(struct fuzz_input *in)
{
	struct load l = { .state_len = whole.len - state_at };
	struct err e = { 0 };

	l.state = malloc(l.state_len);
	memcpy(l.state, whole.data + state_at, l.state_len);
	for (int i = 0; i < 32 && fuzz_more(in); i++) {
		size_t len;
		uint8_t *o = object(l.state, l.state + l.state_len, fuzz_u8(in) % 64, &len);
		size_t at = fuzz_u16(in) % (len - 12);

		o[8 + at] = fuzz_u8(in);
		st_le32(o + len - 4, crc32c(0, o, len - 4));
	}
	if (load_apply(vm, &l, &e) == 0)
		run_for_a_moment();
	else if (!e.msg[0])
		abort();
	load_fini(&l);
	if (vm_reset_machine(vm, &e) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, data + size };

	if (!vm)
		set_up();
	if (fuzz_u8(&in) & 1) {
		struct migr_text saved = { 0 }, here = { 0 };
		struct err e = { 0 };

		desc_machine(vm, "", &here);
		if (text_decode(&saved, in.p, (size_t)(in.end - in.p), &e) == 0 &&
		    desc_check(&saved, &here, &e) == 0 && !text_get(&saved, "machine"))
			abort();
		text_fini(&saved);
		text_fini(&here);
		return 0;
	}
	changed_state(&in);
	return 0;
}

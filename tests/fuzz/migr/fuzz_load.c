/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A saved machine from somebody who knows the checksums: bytes of any object are changed and its
 * checksum made right again, and the machine takes it or refuses it. What it takes it must also be
 * able to run for a moment, to save again, and to be reset from.
 *
 * Input, by the first byte modulo 4: 1, 3 the header's text; 0 changes, each a number of an object
 * (u8), a place in it (u16) and the new byte; 2 memory behind that state: chunks, each a number of
 * pages (u8, 0 ends them), a block (u8), a first page (u16) and a byte that fills the map, and then
 * what is written over anywhere: places (u32) and bytes.
 */
#include "fuzz_input.h"
#include "base/crc32c.h"
#include "core/dev.h"
#include "migr/desc.h"
#include "migr/format.h"
#include "migr/machine.h"
#include <sys/mman.h>

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

static void put(int fd, const void *p, size_t n)
{
	if (write(fd, p, n) != (ssize_t)n)
		abort();
}

/* A chunk whose checksums are right; false: it was the last. */
static bool put_chunk(int fd, struct fuzz_input *in)
{
	static const uint8_t page[FMT_PAGE] = { 1 };
	uint8_t head[FMT_PAGE] = { 0 };
	unsigned pages = fuzz_more(in) ? fuzz_u8(in) % 8 : 0;
	uint32_t crc = 0;

	st_le32(head + CHUNK_MAGIC, FMT_CHUNK_MAGIC);
	st_le32(head + CHUNK_PAGES, pages);
	if (pages) {
		st_le32(head + CHUNK_BLOCK, fuzz_u8(in) == 0xff);
		st_le64(head + CHUNK_FIRST, (uint64_t)fuzz_u16(in) * 64);
		head[CHUNK_MAP + fuzz_u8(in) % (FMT_CHUNK_PAGES / 8)] = (uint8_t)(BIT32(pages) - 1);
	}
	for (unsigned i = 0; i < pages; i++)
		crc = crc32c(crc, page, FMT_PAGE);
	st_le32(head + CHUNK_DATA_CRC, crc);
	st_le32(head + CHUNK_CRC, crc32c(0, head, FMT_PAGE));
	put(fd, head, FMT_PAGE);
	for (unsigned i = 0; i < pages; i++)
		put(fd, page, FMT_PAGE);
	return pages;
}

static void changed_memory(struct fuzz_input *in)
{
	static const uint8_t zeroes[FMT_PAGE];
	int fd = memfd_create("saved", MFD_CLOEXEC);
	uint8_t head[FMT_SECTION_LEN];
	struct ram_count count = { 0 };
	struct load l = { .state = NULL };
	struct migr_stream s;
	struct err e = { 0 };
	off_t len;

	put(fd, whole.data, whole.len);
	section_encode(head, FMT_RAM, 0, 0);
	put(fd, head, sizeof(head));
	put(fd, zeroes, -(whole.len + sizeof(head)) % FMT_PAGE);
	while (put_chunk(fd, in))
		;
	len = lseek(fd, 0, SEEK_CUR);
	section_encode(head, FMT_END, (uint64_t)len, 0);
	put(fd, head, sizeof(head));
	for (int i = 0; i < 16 && fuzz_more(in); i++) {
		off_t at = fuzz_u32(in) % (len + FMT_SECTION_LEN);
		uint8_t byte = fuzz_u8(in);

		if (pwrite(fd, &byte, 1, at) != 1)
			abort();
	}
	if (lseek(fd, 0, SEEK_SET) < 0 || stream_init_take(&s, fd, &e) < 0)
		abort();
	if ((load_head(&s, &l.text, &e) < 0 || load_state_section(&s, &l, &e) < 0 ||
	     load_ram(vm, &s, &count, &e) < 0) &&
	    !e.msg[0])
		abort();
	load_fini(&l);
	stream_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, data + size };
	unsigned kind;

	if (!vm)
		set_up();
	kind = fuzz_u8(&in) & 3;
	if (kind & 1) {
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
	if (kind)
		changed_memory(&in);
	else
		changed_state(&in);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Direct boot: what lies in guest memory and in the boot CPU, at power-on and after a reset. */
#include "cmocka_all.h"

#include "base/bytes.h"
#include "core/lease.h"
#include "core/vm.h"
#include "fw/boot.h"
#include "images.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/x86.h"
#include "test_board.h"
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RAM_SIZE MIB(64)

static const uint8_t bz_filler[8192];

/* A guest with RAM at 0, and image files in a folder of its own. */
static struct fixture {
	char dir[64];
	char *kernel, *initrd;
	uint32_t ids[4];
	struct fw_board board;
	struct ram_block *ram;
	struct map_region low;
	struct vm vm;
} fx;

static void write_file(const char *path, const uint8_t *d, size_t n)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(d, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	struct err e = { 0 };

	memset(&fx, 0, sizeof(fx));
	strcpy(fx.dir, "/tmp/hanok-test-XXXXXX");
	assert_non_null(mkdtemp(fx.dir));
	fx.kernel = xasprintf("%s/kernel", fx.dir);
	fx.initrd = xasprintf("%s/initrd", fx.dir);
	fx.board = test_board(ARRAY_SIZE(fx.ids), fx.ids);
	for (unsigned i = 0; i < ARRAY_SIZE(fx.ids); i++)
		fx.ids[i] = i;
	fx.board.low_end = RAM_SIZE;
	fx.board.high_size = 0;
	fx.ram = ram_new("ram", RAM_SIZE, &e);
	fx.vm.map = map_new(&e);
	fx.low = (struct map_region){
		.name = "ram", .kind = MAP_RAM, .size = RAM_SIZE, .rb = fx.ram
	};
	return map_add(fx.vm.map, &fx.low, &e);
}

static int teardown(void **state)
{
	map_free(fx.vm.map);
	ram_free(fx.ram);
	unlink(fx.kernel);
	unlink(fx.initrd);
	rmdir(fx.dir);
	free(fx.kernel);
	free(fx.initrd);
	return 0;
}

static void make_elf(bool pvh)
{
	uint8_t d[ELF_IMAGE_LEN];

	image_elf(d, pvh);
	write_file(fx.kernel, d, sizeof(d));
}

/* A bzImage whose payload is the test ELF packed by f, or n raw bytes when f is none. */
static void make_bz(int f)
{
	uint8_t d[ELF_IMAGE_LEN], packed[2 * ELF_IMAGE_LEN], bz[4 * ELF_IMAGE_LEN];
	size_t n = 256;

	image_elf(d, false);
	if (f < IMAGE_FORMATS)
		n = image_pack((enum image_format)f, d, sizeof(d), packed, sizeof(packed));
	else
		memset(packed, 0x42, n);
	write_file(fx.kernel, bz, image_bzimage(bz, sizeof(bz), packed, n));
}

static struct fw_boot *open_boot(const char *initrd, const char *append)
{
	struct err e = { 0 };
	struct fw_boot *b = fw_boot_new(fx.kernel, initrd, append, &fx.board, &e);

	if (!b)
		fail_msg("%s", e.msg);
	return b;
}

static void place(struct fw_boot *b, struct cpu_state *s)
{
	struct err e = { 0 };

	memset(s, 0, sizeof(*s));
	if (fw_boot_place(b, &fx.vm, s, &e) < 0)
		fail_msg("%s", e.msg);
}

static const uint8_t *ram(uint64_t gpa)
{
	return fx.ram->host + gpa;
}

static void expect_elf_in_ram(void)
{
	uint8_t d[ELF_IMAGE_LEN];

	image_elf(d, false);
	assert_memory_equal(ram(ELF_TEXT), d + 0x1000, 0x1000);
	assert_memory_equal(ram(ELF_DATA), d + 0x2000, 0x1000);
	for (unsigned i = 0; i < ELF_BSS; i++)
		assert_int_equal(ram(ELF_DATA + 0x1000)[i], 0);
}

/* The zero page is a legal one: magic, command line, memory map without overlaps, RSDP. */
static void expect_zero_page(uint64_t zp, const char *append)
{
	uint64_t last = 0, total = 0;
	unsigned n = ram(zp)[0x1e8];

	assert_memory_equal(ram(zp) + 0x202, "HdrS", 4);
	assert_int_equal(ld_le16(ram(zp) + 0x1fe), 0xaa55);
	assert_int_equal(ram(zp)[0x210], 0xff);
	assert_string_equal((const char *)ram(ld_le32(ram(zp) + 0x228)), append);
	assert_true(n >= 3 && n <= 128);
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *p = ram(zp) + 0x2d0 + i * 20;

		assert_true(ld_le64(p) >= last || ld_le32(p + 16) == 2);
		if (ld_le32(p + 16) == 1) {
			last = ld_le64(p) + ld_le64(p + 8);
			total += ld_le64(p + 8);
			assert_true(last <= RAM_SIZE);
		}
	}
	assert_true(total > RAM_SIZE - MIB(1));
	assert_memory_equal(ram(ld_le64(ram(zp) + 0x70)), "RSD PTR ", 8);
}

/* Walks the guest's page tables; the identity map must cover the kernel and the zero page. */
static uint64_t translate(const struct cpu_state *s, uint64_t va)
{
	uint64_t table = s->cr3 & ~0xfffull;

	for (int level = 3; level >= 0; level--) {
		uint64_t entry = ld_le64(ram(table) + 8 * (va >> (12 + 9 * level) & 511));
		uint64_t page = 1ull << (12 + 9 * level);

		assert_true(entry & 1);
		if (level == 0 || entry & 0x80)
			return (entry & ~(page - 1) & 0xffffffffff000ull) | (va & (page - 1));
		table = entry & 0xffffffffff000ull;
	}
	return UINT64_MAX;
}

static void expect_64bit_cpu(const struct cpu_state *s, uint64_t entry)
{
	assert_int_equal(s->rip, entry);
	assert_true(s->cr0 & CR0_PE && s->cr0 & CR0_PG && s->cr4 & CR4_PAE);
	assert_true(s->efer & EFER_LME && s->efer & EFER_LMA);
	assert_true(s->seg[SEG_CS].attr & SEG_L && !(s->seg[SEG_CS].attr & SEG_DB));
	assert_int_equal(s->seg[SEG_CS].sel, 0x10);
	assert_int_equal(s->seg[SEG_DS].sel, 0x18);
	assert_int_equal(s->rflags & 0x200, 0); /* interrupts off */
	assert_int_equal(translate(s, entry), entry);
	assert_int_equal(translate(s, s->gpr[RSI]), s->gpr[RSI]);
	/* the descriptors in memory say the same */
	assert_int_equal(ld_le64(ram(s->gdtr.base) + 0x10) >> 53 & 1, 1);
}

static void vmlinux_by_64bit_entry(void **state)
{
	struct cpu_state s;
	struct fw_boot *b;

	make_elf(false);
	b = open_boot(NULL, "console=ttyS0 panic=-1");
	place(b, &s);
	expect_elf_in_ram();
	expect_zero_page(s.gpr[RSI], "console=ttyS0 panic=-1");
	expect_64bit_cpu(&s, ELF_ENTRY);
	fw_boot_free(b);
	assert_null(fw_boot_free(NULL));
}

static void vmlinux_by_pvh(void **state)
{
	uint8_t rd[5000];
	struct cpu_state s;
	struct fw_boot *b;
	const uint8_t *info;

	make_elf(true);
	memset(rd, 0xcd, sizeof(rd));
	write_file(fx.initrd, rd, sizeof(rd));
	b = open_boot(fx.initrd, "quiet");
	place(b, &s);
	assert_int_equal(s.rip, ELF_PVH_ENTRY);
	assert_int_equal(s.cr0 & (CR0_PE | CR0_PG), CR0_PE);
	assert_true(s.seg[SEG_CS].attr & SEG_DB && !(s.seg[SEG_CS].attr & SEG_L));
	assert_int_equal(s.seg[SEG_CS].limit, UINT32_MAX);
	info = ram(s.gpr[RBX]);
	assert_int_equal(ld_le32(info), 0x336ec578);
	assert_int_equal(ld_le32(info + 12), 1); /* one module: the initrd */
	assert_memory_equal(ram(ld_le64(ram(ld_le64(info + 16)))), rd, sizeof(rd));
	assert_string_equal((const char *)ram(ld_le64(info + 24)), "quiet");
	assert_memory_equal(ram(ld_le64(info + 32)), "RSD PTR ", 8);
	assert_true(ld_le32(info + 48) >= 3);
	fw_boot_free(b);
}

static void bzimage_unpacked_by_us(void **state)
{
	for (int f = 0; f < IMAGE_FORMATS; f++) {
		struct cpu_state s;
		struct fw_boot *b;

		memset(fx.ram->host, 0, RAM_SIZE);
		make_bz(f);
		b = open_boot(NULL, "x");
		place(b, &s);
		expect_elf_in_ram();
		expect_64bit_cpu(&s, ELF_ENTRY);
		expect_zero_page(s.gpr[RSI], "x");
		/* its own header, not a made-up one */
		assert_int_equal(ld_le16(ram(s.gpr[RSI]) + 0x206), 0x020f);
		fw_boot_free(b);
	}
}

static void bzimage_left_to_the_guest(void **state)
{
	struct cpu_state s;
	struct fw_boot *b;

	make_bz(IMAGE_FORMATS); /* a format nobody knows */
	b = open_boot(NULL, "");
	place(b, &s);
	assert_int_equal(ram(ELF_TEXT)[5], 0x95);
	assert_int_equal(ram(ELF_TEXT + BZ_PAYLOAD_OFF)[0], 0x42);
	expect_64bit_cpu(&s, ELF_TEXT + 0x200);
	fw_boot_free(b);
}

static void initrd_is_high_and_whole(void **state)
{
	size_t n = 3 * 4096 + 17;
	autofree uint8_t *rd = xcalloc(n, 1);
	struct cpu_state s;
	struct fw_boot *b;
	uint64_t at;

	for (size_t i = 0; i < n; i++)
		rd[i] = (uint8_t)(i * 13);
	write_file(fx.initrd, rd, n);
	make_bz(IMAGE_XZ);
	b = open_boot(fx.initrd, NULL);
	place(b, &s);
	at = ld_le32(ram(s.gpr[RSI]) + 0x218);
	assert_int_equal(ld_le32(ram(s.gpr[RSI]) + 0x21c), n);
	assert_int_equal(at % 4096, 0);
	assert_true(at + n <= RAM_SIZE && at >= ELF_TEXT + BZ_INIT_SIZE);
	assert_memory_equal(ram(at), rd, n);
	fw_boot_free(b);
}

static void reset_places_everything_again(void **state)
{
	struct cpu_state s, again;
	struct fw_boot *b;

	make_bz(IMAGE_GZIP);
	b = open_boot(NULL, "a=b");
	for (int i = 0; i < 3; i++) {
		place(b, &s);
		memset(fx.ram->host, 0xee, RAM_SIZE); /* the guest leaves a mess */
	}
	place(b, &again);
	expect_elf_in_ram(); /* the .bss too */
	expect_zero_page(again.gpr[RSI], "a=b");
	assert_int_equal(s.rip, again.rip);
	fw_boot_free(b);
}

/* What the FADT promises, the board's chips do: a 24-bit timer, a fixed power button, a reset. */
static void fadt_fits_the_chips(void **state)
{
	struct cpu_state s = { 0 };
	const uint8_t *t = NULL;
	struct fw_boot *b;

	make_elf(false);
	b = open_boot(NULL, "");
	place(b, &s);
	for (uint64_t at = 0xe0000; at < 0xf0000 && !t; at += 16)
		if (!memcmp(ram(at), "FACP", 4))
			t = ram(at);
	assert_non_null(t);
	assert_int_equal(ld_le32(t + 112), BIT32(0) | BIT32(2) | BIT32(5) | BIT32(10));
	assert_int_equal(ld_le32(t + 76), fx.board.pm_base + 8u);
	assert_int_equal(ld_le64(t + 120), fx.board.reset_port);
	assert_int_equal(t[128], fx.board.reset_value);
	fw_boot_free(b);
}

/* Guests restart the machine through it: a jump to code that ends in a triple fault. */
static void firmwares_first_instruction_restarts(void **state)
{
	static const uint8_t jump[] = { 0xea, 0x00, 0xff, 0x00, 0xf0 };
	static const uint8_t code[] = { 0x2e, 0x0f, 0x01, 0x1e, 0x07, 0xff, 0xcc, 0, 0, 0, 0, 0, 0 };
	struct cpu_state s = { 0 };
	struct fw_boot *b;

	make_elf(false);
	b = open_boot(NULL, "");
	place(b, &s);
	assert_memory_equal(ram(0xffff0), jump, sizeof(jump));
	assert_memory_equal(ram(0xfff00), code, sizeof(code));
	memset((void *)(uintptr_t)ram(0xfff00), 0x37, 0x100); /* the guest's doing */
	place(b, &s);
	assert_memory_equal(ram(0xffff0), jump, sizeof(jump));
	assert_memory_equal(ram(0xfff00), code, sizeof(code));
	fw_boot_free(b);
}

static void changed_file_is_refused_at_reset(void **state)
{
	struct cpu_state s = { 0 };
	struct err e = { 0 };
	struct fw_boot *b;

	make_bz(IMAGE_GZIP);
	b = open_boot(NULL, "");
	place(b, &s);
	write_file(fx.kernel, (const uint8_t *)"not a kernel any more, but of some length", 41);
	assert_true(fw_boot_place(b, &fx.vm, &s, &e) < 0);
	assert_non_null(strstr(e.msg, fx.kernel));
	fw_boot_free(b);
}

/* Shorter than they were: reading what is no longer there would end the process. */
static void truncated_file_is_refused_at_reset(void **state)
{
	struct cpu_state s = { 0 };

	for (int i = 0; i < 2; i++) {
		struct err e = { 0 };
		struct fw_boot *b;

		make_elf(false);
		write_file(fx.initrd, bz_filler, sizeof(bz_filler));
		b = open_boot(fx.initrd, "");
		place(b, &s);
		assert_int_equal(truncate(i ? fx.initrd : fx.kernel, 100), 0);
		assert_true(fw_boot_place(b, &fx.vm, &s, &e) < 0);
		assert_non_null(strstr(e.msg, i ? fx.initrd : fx.kernel));
		fw_boot_free(b);
	}
}

/* A vmlinux whose text is long enough to be mapped, with an odd end that is copied. */
#define LONG_TEXT 0x20010u
static void make_long_elf(uint8_t *text)
{
	size_t len = 0x1000 + LONG_TEXT;
	autofree uint8_t *d = xcalloc(1, len);

	image_elf(d, false);
	st_le64(d + 64 + 32, LONG_TEXT);
	st_le64(d + 64 + 40, LONG_TEXT);
	for (size_t i = ELF_IMAGE_LEN; i < len; i++)
		d[i] = (uint8_t)(i * 7 + (i >> 12));
	memcpy(text, d + 0x1000, LONG_TEXT);
	write_file(fx.kernel, d, len);
}

static bool child_may_write(pid_t child)
{
	int status = -1;

	return waitpid(child, &status, WNOHANG) == child && WIFEXITED(status) &&
	       !WEXITSTATUS(status);
}

/*
 * The kernel is a view of its file, at a reset anew; who wants to truncate the file waits until the
 * machine has copies.
 */
static void kernel_without_a_copy(void **state)
{
	autofree uint8_t *text = xcalloc(1, LONG_TEXT);
	struct cpu_state s = { 0 };
	struct err e = { 0 };
	struct timespec patience = { .tv_nsec = 50000000 };
	struct fw_boot *b;
	siginfo_t info;
	bool done = false;
	sigset_t set;
	pid_t child;

	sigemptyset(&set);
	sigaddset(&set, lease_signal());
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	fx.vm.ram = fx.ram;
	make_long_elf(text);
	b = open_boot(NULL, "");
	place(b, &s);
	if (!fx.ram->file_map[0].len) { /* a file system without leases */
		fw_boot_free(b);
		skip();
	}
	assert_int_equal(fx.ram->file_map[0].off, ELF_TEXT);
	assert_int_equal(fx.ram->file_map[0].len, LONG_TEXT & ~0xfffu);
	assert_memory_equal(ram(ELF_TEXT), text, LONG_TEXT);
	memset(fx.ram->host + ELF_TEXT + 0x3000, 0xee, 0x5000); /* the guest */
	place(b, &s);
	assert_memory_equal(ram(ELF_TEXT), text, LONG_TEXT);
	fx.ram->host[ELF_TEXT + 0x3000] = 0xee;
	text[0x3000] = 0xee;
	child = fork();
	if (!child)
		_exit(truncate(fx.kernel, 0) != 0);
	for (unsigned i = 0; i < 400 && !done; i++) {
		if (sigtimedwait(&set, &info, &patience) == lease_signal())
			lease_signalled(&fx.vm, info.si_fd);
		done = child_may_write(child);
	}
	assert_true(done);
	assert_memory_equal(ram(ELF_TEXT), text, LONG_TEXT);
	assert_true(fw_boot_place(b, &fx.vm, &s, &e) < 0);
	assert_non_null(strstr(e.msg, "changed"));
	fw_boot_free(b);
}

static void expect_refusal(const char *kernel, const char *initrd, const char *append,
			   const char *text)
{
	struct err e = { 0 };

	assert_null(fw_boot_new(kernel, initrd, append, &fx.board, &e));
	if (!strstr(e.msg, text))
		fail_msg("'%s' lacks '%s'", e.msg, text);
}

static void refusals_name_their_reason(void **state)
{
	char longer[4096];

	expect_refusal("/nonexistent/vmlinuz", NULL, "", "/nonexistent/vmlinuz");
	expect_refusal("/dev/null", NULL, "", "regular file");
	unlink(fx.kernel);
	assert_int_equal(mkfifo(fx.kernel, 0600), 0);
	expect_refusal(fx.kernel, NULL, "", "regular file");
	unlink(fx.kernel);
	write_file(fx.kernel, (const uint8_t *)"", 0);
	expect_refusal(fx.kernel, NULL, "", "empty");
	write_file(fx.kernel, (const uint8_t *)"#!/bin/sh\n", 10);
	expect_refusal(fx.kernel, NULL, "", "neither a bzImage nor an ELF");
	make_bz(IMAGE_ZSTD);
	expect_refusal(fx.kernel, "/nonexistent/initrd", "", "/nonexistent/initrd");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	expect_refusal(fx.kernel, NULL, longer, "kernel arguments");
	fx.board.low_end = MIB(18);
	expect_refusal(fx.kernel, NULL, "", "give it more");
	fx.board.low_end = ELF_TEXT + BZ_INIT_SIZE + 4096;
	write_file(fx.initrd, bz_filler, sizeof(bz_filler));
	expect_refusal(fx.kernel, fx.initrd, "", "does not fit");
}

/* Each cut of a whole image is refused before anything is placed. */
static void truncated_kernels(void **state)
{
	struct stat st;

	make_bz(IMAGE_ZSTD);
	assert_int_equal(stat(fx.kernel, &st), 0);
	for (off_t n = st.st_size - 1; n > 0; n -= n > 8000 ? 401 : 1009) {
		struct err e = { 0 };

		assert_int_equal(truncate(fx.kernel, n), 0);
		assert_null(fw_boot_new(fx.kernel, NULL, "", &fx.board, &e));
		assert_true(e.msg[0]);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(vmlinux_by_64bit_entry),
		T(vmlinux_by_pvh),
		T(bzimage_unpacked_by_us),
		T(bzimage_left_to_the_guest),
		T(initrd_is_high_and_whole),
		T(reset_places_everything_again),
		T(fadt_fits_the_chips),
		T(firmwares_first_instruction_restarts),
		T(changed_file_is_refused_at_reset),
		T(truncated_file_is_refused_at_reset),
		T(kernel_without_a_copy),
		T(refusals_name_their_reason),
		T(truncated_kernels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole q35 machine on the soft engine with a guest of a few bytes, for tests of saving: vCPU 0
 * counts at COUNT and notes in TSC_BACK when its time stamp counter went backwards.
 */
#ifndef TESTS_MIGR_MACHINE_H
#define TESTS_MIGR_MACHINE_H

#include "base/clock.h"
#include "core/event.h"
#include "core/vm.h"
#include "fw/images.h"
#include "migr/migr.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define GUEST_DATA 0x1800000ull
#define COUNT	   GUEST_DATA
#define TSC_LAST   (GUEST_DATA + 8)
#define TSC_BACK   (GUEST_DATA + 16)
#define GUEST_RAM  MIB(32)

static const uint8_t guest_code[] = {
	0x48, 0xc7, 0xc3, 0x00, 0x00, 0x80, 0x01, /* mov rbx, GUEST_DATA */
	0x48, 0xff, 0x03,			  /* 1: inc qword [rbx] */
	0x0f, 0x31,				  /* rdtsc */
	0x48, 0xc1, 0xe2, 0x20,			  /* shl rdx, 32 */
	0x48, 0x09, 0xd0,			  /* or rax, rdx */
	0x48, 0x3b, 0x43, 0x08,			  /* cmp rax, [rbx + 8] */
	0x73, 0x04,				  /* jae 2f */
	0x48, 0xff, 0x43, 0x10,			  /* inc qword [rbx + 16] */
	0x48, 0x89, 0x43, 0x08,			  /* 2: mov [rbx + 8], rax */
	0xeb, 0xe4,				  /* jmp 1b */
};

/* Writes the guest's kernel to a new file; the path is the caller's to unlink and free. */
static inline char *machine_kernel(void)
{
	char *path = xstrdup("/tmp/hanok-migr.XXXXXX");
	uint8_t image[ELF_IMAGE_LEN];
	int fd = mkstemp(path);

	image_elf(image, false);
	memcpy(image + 0x1000 + (ELF_ENTRY - ELF_TEXT), guest_code, sizeof(guest_code));
	if (fd < 0 || write(fd, image, sizeof(image)) != sizeof(image))
		abort();
	close(fd);
	return path;
}

static inline struct vm_conf *machine_conf(const char *kernel, unsigned cpus, const char *incoming)
{
	struct vm_conf *c = vm_conf_new();

	c->accel = xstrdup("soft");
	c->mem_size = GUEST_RAM;
	c->cpus = c->cores = cpus;
	c->kernel = xstrdup(kernel);
	c->incoming = incoming ? xstrdup(incoming) : NULL;
	return c;
}

static inline uint64_t machine_word(struct vm *vm, uint64_t gpa)
{
	return __atomic_load_n((uint64_t *)(void *)(vm->ram->host + gpa), __ATOMIC_RELAXED);
}

#endif

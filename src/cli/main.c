/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the process starts: by the name it is called with and its first word, picks the front end.
 */
#include "base/base.h"

#include "base/log.h"
#include "cli/front.h"
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

static const char help[] =
	"hanok " HANOK_VERSION " - runs virtual machines, with or without /dev/kvm\n"
	"\n"
	"  hanok run --kernel FILE [options] [-- kernel arguments]\n"
	"      Boots a Linux kernel with its console on this terminal.\n"
	"      hanok run --help tells the rest.\n"
	"\n"
	"  hanok qemu [options]\n"
	"      Takes QEMU's options, as the binary does under the name qemu-system-x86_64.\n"
	"      hanok qemu -help lists those that it knows.\n"
	"\n"
	"  hanok save NAME FILE, hanok restore FILE\n"
	"      Saves a running machine to a file and ends it; goes on from one.\n"
	"\n"
	"  hanok --version, hanok --help\n"
	"\n"
	"The machine is a q35 PC or a microvm with virtio devices. It runs on KVM where that works;\n"
	"elsewhere hanok's soft engine interprets its CPU, without privileges or hardware support.\n"
	"Exit code: 0 when the guest powered off, 1 on an error, the guest's own with "
	"isa-debug-exit.\n"
	"\n"
	"First boot:  make demo   (in hanok's source tree)\n"
	"Manual:      man hanok\n";

static bool called_as_qemu(const char *path)
{
	const char *name = strrchr(path, '/');

	name = name ? name + 1 : path;
	return !strncmp(name, "qemu-system-", 12) || !strcmp(name, "qemu-kvm") ||
	       !strcmp(name, "kvm");
}

static int unknown_word(const char *word)
{
	static const char *const words[] = { "run",  "qemu",   "save",	    "restore",
					     "help", "--help", "--version", NULL };
	const char *near = nearest_word(word, words);

	log_error("'%s' is no command%s%s%s; see hanok --help", word,
		  near ? " (did you mean '" : "", near ?: "", near ? "'?)" : "");
	return 1;
}

/*
 * Few pages rather than few calls: a zeroed array of four pages or more comes fresh from the kernel
 * and costs only what is touched of it, and threads share one heap.
 */
static void set_up_heap(void)
{
	mallopt(M_MMAP_THRESHOLD, 4 * 4096);
	mallopt(M_TOP_PAD, 48 * 4096); /* what fits the top of the heap is never mapped alone */
	mallopt(M_ARENA_MAX, 1);
}

/*
 * A caller may have closed 0, 1 or 2. The next file opened would get that number, and a message
 * meant for a person would land in a disk image: /dev/null takes the places that are free.
 */
static void fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	fill_standard_fds();
	set_up_heap();
	if (argc > 0 && called_as_qemu(argv[0])) {
		log_set_name("qemu-system-x86_64");
		return qemu_main(argc, argv);
	}
	if (argc < 2) {
		fputs(help, stderr);
		return 1;
	}
	if (!strcmp(argv[1], "run"))
		return run_main(argc - 1, argv + 1);
	if (!strcmp(argv[1], "save"))
		return save_main(argc - 1, argv + 1);
	if (!strcmp(argv[1], "restore"))
		return restore_main(argc - 1, argv + 1);
	if (!strcmp(argv[1], "qemu"))
		return qemu_main(argc - 1, argv + 1);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		fputs(help, stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V") ||
	    !strcmp(argv[1], "version")) {
		puts("hanok " HANOK_VERSION);
		return 0;
	}
	return unknown_word(argv[1]);
}

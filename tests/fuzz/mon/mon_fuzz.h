/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For targets that feed a monitor: what it is told to do must not reach the host. Commands open
 * files for writing, start programs and make connections; the kernel forbids this process all of
 * it (Landlock) but in the build directory, where the fuzzer keeps its findings.
 */
#ifndef TESTS_FUZZ_MON_FUZZ_H
#define TESTS_FUZZ_MON_FUZZ_H

#include "migr/migr.h"
#include "mon_vm.h"
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Bits of Linux 5.13, the first that has it: write, execute, remove, make. */
#define FUZZ_FS_READS	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FUZZ_FS_CHANGES (((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1) & ~(uint64_t)FUZZ_FS_READS)

/* No program can be started, so none that looks symbols up: addr2line helps. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "symbolize=0";
}

static void allow_changes(int rules, const char *path)
{
	struct landlock_path_beneath_attr at = {
		.allowed_access = FUZZ_FS_CHANGES & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE,
		.parent_fd = open(path, O_PATH | O_CLOEXEC),
	};

	if (at.parent_fd < 0 ||
	    syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &at, 0) < 0) {
		perror(path);
		exit(1);
	}
	close(at.parent_fd);
}

/* The build directory is the one of the four folders above the program. */
static void lock_up(void)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = FUZZ_FS_CHANGES };
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(uint64_t), 0);

	if (rules < 0 || n < 0) {
		fprintf(stderr,
			"this target needs Landlock (Linux 5.13), which keeps it from writing "
			"files and starting programs\n");
		exit(1);
	}
	path[n] = '\0';
	for (int up = 0; up < 4; up++)
		*strrchr(path, '/') = '\0';
	allow_changes(rules, path);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_landlock_restrict_self, rules, 0) < 0) {
		perror("landlock");
		exit(1);
	}
	close(rules);
}

/* A machine is kept for some inputs, as making one takes longer than most of them. */
#define FUZZ_INPUTS_A_MACHINE 64u

struct fuzz_machine {
	struct vm *vm;
	struct mon *mon;
	int client;
	unsigned inputs;
};

static void fuzz_begin(struct fuzz_machine *f, const char *mode)
{
	char id[16];

	if (!f->vm)
		f->vm = mon_vm_new("q35", 2);
	snprintf(id, sizeof(id), "c%u", f->inputs++);
	f->mon = mon_new(f->vm);
	f->client = mon_vm_client(f->vm, f->mon, id, mode);
}

static void fuzz_end(struct fuzz_machine *f)
{
	close(f->client);
	migr_end(f->vm);
	mon_free(f->mon);
	if (!f->vm->ended && f->inputs < FUZZ_INPUTS_A_MACHINE)
		return;
	f->vm = vm_free(f->vm);
	f->inputs = 0;
}

#endif

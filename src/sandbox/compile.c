/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tool of the build: turns the rules that gen.py collected into BPF programs, with libseccomp,
 * and prints them as C. So a filter costs nothing to make when a VM starts, and the binary needs
 * no library for it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/futex.h>
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "base/uapi.h"

static const struct rule {
	const char *role, *text;
	int call;
	uint32_t action;
	unsigned args;
	struct scmp_arg_cmp arg;
} rules[] = {
#include "rules.inc"
};

static void die(const char *what, const char *role, int ret)
{
	fprintf(stderr, "%s for role %s: %s\n", what, role, strerror(-ret));
	exit(1);
}

static void print_program(const char *role, int fd)
{
	static struct sock_filter insn[BPF_MAXINSNS];
	ssize_t got = pread(fd, insn, sizeof(insn), 0);

	if (got <= 0)
		die("reading the program", role, -errno);
	printf("static const struct sock_filter filter_%s[] = {\n", role);
	for (size_t i = 0; i < (size_t)got / sizeof(insn[0]); i++)
		printf("\t{ 0x%x, %u, %u, 0x%x },\n", insn[i].code, insn[i].jt, insn[i].jf,
		       insn[i].k);
	printf("};\n\n");
}

static void compile(const char *role)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	FILE *to = tmpfile();
	int ret;

	if (!ctx || !to)
		die("seccomp_init", role, -ENOMEM);
	/* A binary tree over the numbers instead of a list: half of the calls of a guest are few. */
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const struct rule *r = &rules[i];

		if (strcmp(r->role, role))
			continue;
		ret = seccomp_rule_add_array(ctx, r->action, r->call, r->args, &r->arg);
		if (ret < 0)
			die(r->text, role, ret);
	}
	ret = seccomp_export_bpf(ctx, fileno(to));
	if (ret < 0)
		die("seccomp_export_bpf", role, ret);
	print_program(role, fileno(to));
	fclose(to);
	seccomp_release(ctx);
}

int main(int argc, char **argv)
{
	printf("/* Made by src/sandbox/compile.c; nothing to edit here. */\n"
	       "#include <linux/filter.h>\n\n");
	for (int i = 1; i < argc; i++)
		compile(argv[i]);
	return 0;
}

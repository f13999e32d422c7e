/* SPDX-License-Identifier: Apache-2.0 */
/* A machine with monitors in this process (mon_vm.h). */
#include "mon_vm.h"
#include "base/bytes.h"
#include "char/char.h"
#include "core/backend.h"
#include "migr/migr.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static _Noreturn void give_up(const struct err *e)
{
	fprintf(stderr, "mon_vm: %s\n", e->msg);
	exit(1);
}

/* A kernel that halts, in a file without a name; returns its descriptor. */
static int halting_kernel(void)
{
	static const uint8_t code[] = { 0xf4, 0xeb, 0xfd }; /* hlt; jmp back */
	uint8_t elf[0x1000 + sizeof(code)] = { 0x7f, 'E', 'L', 'F', 2, 1, 1 };
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	st_le16(elf + 16, 2);  /* ET_EXEC */
	st_le16(elf + 18, 62); /* x86-64 */
	st_le32(elf + 20, 1);
	st_le64(elf + 24, 0x100000); /* entry */
	st_le64(elf + 32, 64);	     /* program headers */
	st_le16(elf + 52, 64);
	st_le16(elf + 54, 56);
	st_le16(elf + 56, 1);
	st_le32(elf + 64, 1); /* PT_LOAD */
	st_le64(elf + 64 + 8, 0x1000);
	st_le64(elf + 64 + 16, 0x100000);
	st_le64(elf + 64 + 24, 0x100000);
	st_le64(elf + 64 + 32, sizeof(code));
	st_le64(elf + 64 + 40, sizeof(code));
	memcpy(elf + 0x1000, code, sizeof(code));
	if (fd < 0 || write(fd, elf, sizeof(elf)) != (ssize_t)sizeof(elf))
		exit(1);
	return fd;
}

struct vm *mon_vm_new(const char *machine, unsigned cpus)
{
	autoclose int kernel = halting_kernel();
	struct vm_conf *c = vm_conf_new();
	struct err e = { 0 };
	struct vm *vm;

	free(c->machine);
	c->machine = xstrdup(machine);
	c->accel = xstrdup("soft");
	c->cpus = c->cores = cpus;
	c->mem_size = MIB(16);
	c->kernel = xasprintf("/proc/self/fd/%d", kernel);
	c->start_paused = true;
	vm = vm_new_take(c, &e);
	if (!vm)
		give_up(&e);
	return vm;
}

void mon_vm_free(struct vm *vm, struct mon *mon)
{
	migr_end(vm);
	mon_free(mon);
	vm_free(vm);
}

static void close_char(void *end)
{
	char_close(end);
}

int mon_vm_client(struct vm *vm, struct mon *mon, const char *id, const char *mode)
{
	struct conf_node *c = conf_add(vm->conf, CONF_CHARDEV, "socket", id, "a test");
	struct conf_node *m = conf_add(vm->conf, CONF_MONITOR, NULL, NULL, "a test");
	char number[16];
	struct char_end *end;
	struct err e = { 0 };
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
		exit(1);
	fcntl(fd[0], F_SETFL, O_NONBLOCK);
	snprintf(number, sizeof(number), "%d", fd[1]);
	conf_set(c, "fd", number);
	conf_set(m, "chardev", id);
	conf_set(m, "mode", mode);
	end = char_open(vm->loop, c, &e);
	if (!end || backend_add_take(vm, BACKEND_CHAR, id, end, close_char, &e) < 0 ||
	    mon_open(mon, m, &e) < 0)
		give_up(&e);
	return fd[0];
}

void mon_vm_run(struct vm *vm, int ms)
{
	/* A round may leave work for the next. */
	for (int i = 0; i < 8; i++)
		loop_once(vm->loop, 0);
	if (ms)
		loop_once(vm->loop, ms);
}

char *mon_vm_read(struct vm *vm, int fd)
{
	char *text = xcalloc(1, 1);
	size_t len = 0;

	for (;;) {
		char buf[65536];
		ssize_t n;

		mon_vm_run(vm, 0);
		n = read(fd, buf, sizeof(buf));
		if (n <= 0)
			return text;
		text = xrealloc(text, len + (size_t)n + 1, 1);
		memcpy(text + len, buf, (size_t)n);
		len += (size_t)n;
		text[len] = '\0';
	}
}

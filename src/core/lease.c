/* SPDX-License-Identifier: Apache-2.0 */
/* See lease.h. Control thread. State: none of the machine's. */
#include "base/base.h"

#include "core/lease.h"
#include "core/vm.h"
#include <fcntl.h>
#include <signal.h>

/* #syscalls control: fcntl */

int lease_signal(void)
{
	return SIGRTMIN + 1;
}

bool lease_take(struct lease *l, struct vm *vm, int fd)
{
	if (fcntl(fd, F_SETSIG, lease_signal()) < 0 || fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
		return false;
	l->vm = vm;
	l->fd = fd;
	l->held = true;
	l->next = vm->leases;
	vm->leases = l;
	return true;
}

void lease_give_back(struct lease *l)
{
	struct lease **p;

	if (!l->held)
		return;
	for (p = &l->vm->leases; *p != l; p = &(*p)->next)
		;
	*p = l->next;
	l->held = false;
	fcntl(l->fd, F_SETLEASE, F_UNLCK);
}

void lease_signalled(struct vm *vm, int fd)
{
	struct lease *l = vm->leases;

	while (l && l->fd != fd)
		l = l->next;
	if (l)
		l->broken(l);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See msi_route.h. */
#include "base/base.h"
#include "core/accel.h"
#include "core/msi_route.h"
#include "core/vm.h"
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void open_route(struct msi_route *r, struct vm *vm, const struct msi *msi, const char *dev,
		       unsigned vector)
{
	struct err e = { 0 };
	char user[64];

	r->kind = MSI_ROUTE_BOARD;
	r->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (r->fd < 0) {
		log_debug("%s, vector %u: no eventfd (%s); the board sends its messages", dev,
			  vector, strerror(errno));
		return;
	}
	snprintf(user, sizeof(user), "%s, vector %u", dev, vector);
	r->id = vm->irqchip->irqfd_add(vm, r->fd, user, msi, &e);
	if (r->id < 0) {
		log_debug("%s; the board sends its messages", e.msg);
		close(r->fd);
		return;
	}
	r->msi = *msi;
	r->kind = MSI_ROUTE_EVENTFD;
}

static void set_message(struct msi_route *r, struct vm *vm, const struct msi *msi)
{
	struct err e = { 0 };

	if (r->msi.addr == msi->addr && r->msi.data == msi->data && r->msi.devid == msi->devid)
		return;
	if (vm->irqchip->irqfd_set(vm, r->id, msi, &e) < 0) {
		log_debug("%s; the board sends its messages", e.msg);
		msi_route_close(r, vm);
		r->kind = MSI_ROUTE_BOARD;
	}
	r->msi = *msi;
}

static bool signal_route(const struct msi_route *r)
{
	const uint64_t one = 1;

	return write(r->fd, &one, sizeof(one)) == (ssize_t)sizeof(one);
}

void msi_route_send(struct msi_route *r, struct vm *vm, const struct msi *msi, const char *dev,
		    unsigned vector)
{
	if (r->kind == MSI_ROUTE_UNUSED && vm->irqchip && vm->irqchip->irqfd_add)
		open_route(r, vm, msi, dev, vector);
	if (r->kind == MSI_ROUTE_EVENTFD)
		set_message(r, vm, msi);
	if (r->kind == MSI_ROUTE_EVENTFD && signal_route(r))
		return;
	if (vm->msi.send)
		vm->msi.send(vm->msi.opaque, msi);
}

void msi_route_close(struct msi_route *r, struct vm *vm)
{
	if (r->kind == MSI_ROUTE_EVENTFD) {
		vm->irqchip->irqfd_del(vm, r->id);
		close(r->fd);
	}
	*r = (struct msi_route){ .kind = MSI_ROUTE_UNUSED };
}

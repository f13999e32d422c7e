/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a VM, for those who want to know (the monitor; tests): run states, and what
 * devices and back ends have to tell.
 *
 * Observers are called on the control thread, in the order in which things happened. An event is
 * seen before the call that causes it returns when that call is made on the control thread; from
 * other threads it follows soon. A guest can cause events at any rate: the queue between threads
 * is bounded, a full one keeps the newest of each kind and name.
 */
#ifndef CORE_EVENT_H
#define CORE_EVENT_H

#include "base/base.h"
#include "core/vm.h"

enum vm_event_kind {
	VM_EV_STOP,
	VM_EV_RESUME,
	VM_EV_RESET,	/* cause */
	VM_EV_SHUTDOWN, /* cause */
	VM_EV_POWERDOWN,
	VM_EV_GUEST_PANICKED,	 /* name: "pause", "poweroff" or "run" */
	VM_EV_GUEST_CRASHLOADED, /* name */
	VM_EV_GUEST_PVSHUTDOWN,
	VM_EV_WATCHDOG,	       /* name: what is done */
	VM_EV_RTC_CHANGE,      /* value: seconds off the host's clock; path: the device */
	VM_EV_BALLOON_CHANGE,  /* value: guest memory in bytes */
	VM_EV_VSERPORT_CHANGE, /* name: id of the port, value: open */
	VM_EV_MIGRATION,       /* name: status */
	VM_EV_MIGRATION_PASS,  /* value: which pass */
	VM_EV_MEMORY_FAILURE,  /* path: recipient, name: action, value: VM_MEMORY_ bits */
};

#define VM_MEMORY_REQUIRED  1 /* somebody needs what is lost */
#define VM_MEMORY_RECURSIVE 2 /* while the guest was dealing with another one */

struct vm_event {
	enum vm_event_kind kind;
	enum vm_cause cause;
	int64_t value;
	char name[64];
	char path[128];
};

struct vm_observer {
	void (*fn)(struct vm_observer *, const struct vm_event *);
	struct vm_observer *next;
};

/* Control thread; an observer may leave inside its own call. */
void vm_observe(struct vm *, struct vm_observer *);
void vm_unobserve(struct vm *, struct vm_observer *);

/* Tells every observer. Any thread; ev is copied. */
void vm_tell(struct vm *, const struct vm_event *ev);
/* The same for an event of only a kind and a name (NULL: none). */
void vm_tell_name(struct vm *, enum vm_event_kind, const char *name);

/* For core/vm.c. */
struct vm_event_queue *vm_event_queue_new(struct vm *);
void vm_event_queue_free(struct vm *);

#endif

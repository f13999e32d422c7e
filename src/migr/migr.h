/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving a machine to a stream and loading one: the jobs behind QEMU's migrate and
 * migrate-incoming, hanok save and hanok restore. A VM has at most one at a time.
 *
 * The machine stands still meanwhile. Small state is made and taken in on the control thread, RAM
 * is moved by a worker, so that a slow reader at the other end of a pipe holds nobody up.
 * Everything here is for the control thread. What happens is told as events (VM_EV_MIGRATION,
 * VM_EV_MIGRATION_PASS, STOP and RESUME; core/event.h).
 */
#ifndef MIGR_MIGR_H
#define MIGR_MIGR_H

#include "base/base.h"

struct vm;
struct migr;

/* QEMU's words are in migr_status_name(). */
enum migr_status {
	MIGR_NONE,
	MIGR_SETUP,
	MIGR_CANCELLING,
	MIGR_CANCELLED,
	MIGR_ACTIVE,
	MIGR_PRE_SWITCHOVER,
	MIGR_DEVICE,
	MIGR_COMPLETED,
	MIGR_FAILED,
};

struct migr_info {
	enum migr_status status;
	bool incoming;
	uint64_t setup_ms, total_ms, downtime_ms;
	uint64_t ram_total, ram_remaining, transferred; /* bytes */
	uint64_t zero_pages, normal_pages;
	unsigned passes;
	const char *error; /* why it failed, or NULL; valid until the next job */
};

/* What may be switched on or off, and numbers that may be set, by QEMU's names. */
enum migr_cap { MIGR_CAP_EVENTS, MIGR_CAP_PAUSE_BEFORE_SWITCHOVER, MIGR_NR_CAPS };

struct migr_params {
	uint64_t max_bandwidth;	    /* bytes a second; 0 = as fast as it goes */
	uint64_t downtime_limit_ms; /* kept for whoever asks: the machine stands still anyway */
};

/* The VM's own, made at the first call; ended by migr_end(), before vm_free(). */
struct migr *migr_of(struct vm *);
void migr_end(struct vm *);

/*
 * Where a stream goes to or comes from, in QEMU's words: "file:PATH[,offset=N]", "exec:COMMAND",
 * "fd:N", "unix:PATH", "tcp:ADDRESS:PORT". named_fd (getfd; may be NULL) gives the descriptor of a
 * name, which is then the job's, or -1.
 */
struct migr_fds {
	int (*take)(struct migr_fds *, const char *name);
};
/*
 * Saves the machine: the guest stops now. 0 when it has begun; how it ends is told by events. After
 * an error later on the guest runs on as before.
 */
int migr_save(struct migr *, const char *uri, struct migr_fds *named_fd, struct err *e) MUST_CHECK;
/* Loads one into this machine, which waits for it (VM_INMIGRATE). exit_on_error: ends the VM then. */
int migr_load(struct migr *, const char *uri, struct migr_fds *named_fd, bool exit_on_error,
	      struct err *e) MUST_CHECK;
/* 0 also when there is nothing to cancel. */
void migr_cancel(struct migr *);
/* Goes on behind MIGR_PRE_SWITCHOVER. */
int migr_continue(struct migr *, struct err *e) MUST_CHECK;

void migr_get_info(struct migr *, struct migr_info *);
const char *migr_status_name(enum migr_status);

const char *migr_cap_name(enum migr_cap); /* "events" */
bool migr_cap_get(struct migr *, enum migr_cap);
int migr_cap_set(struct migr *, enum migr_cap, bool on, struct err *e) MUST_CHECK;
struct migr_params migr_get_params(struct migr *);
void migr_set_params(struct migr *, const struct migr_params *);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The host's clocks at the moment at which the saved guest's time stands still. */
#ifndef MIGR_CLOCK_STATE_H
#define MIGR_CLOCK_STATE_H

#include "core/state.h"

struct clock_state {
	uint64_t host_ns, host_tsc; /* CLOCK_MONOTONIC, time stamp counter */
	uint64_t wall_ns;	    /* CLOCK_REALTIME, when it was saved: for people */
	uint64_t tsc_khz;	    /* what the guest takes the counter's rate for */
};

extern const struct state_desc clock_state;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine for device tests, built by hand: map, loop, RAM, configuration, vCPUs with the real
 * architecture hooks and an engine that only keeps a processor state. And recorders for interrupt
 * lines, and a round trip for state tables.
 */
#ifndef TESTS_LIB_FAKE_MACHINE_H
#define TESTS_LIB_FAKE_MACHINE_H

#include "core/arch.h"
#include "core/dev.h"
#include "core/vm.h"
#include "isa/x86/cpu_state.h"

#define FM_MAX_CPUS 8

struct fm {
	struct vm vm;
	struct map_region ram_region;
	struct vcpu *v[FM_MAX_CPUS];
	struct cpu_state *state[FM_MAX_CPUS];
	bool board; /* arch_board_init() was called */
	unsigned long saves; /* fm_resave() of a device */
	bool engine; /* a real one */
};

/* cpus 0..8; ram bytes of RAM, at 0 unless the board maps it. Never NULL. */
struct fm *fm_new(unsigned cpus, uint64_t ram, bool map_ram);
/*
 * The same on a real engine, which works here; the board, to be made by the test, maps the RAM.
 * Its interrupt controllers: the engine's, the board's, or the engine's local APICs alone.
 */
enum fm_chips { FM_ON, FM_OFF, FM_SPLIT };
struct fm *fm_new_on(const struct accel_ops *, const char *model, enum fm_chips, unsigned cpus,
		     uint64_t ram);
void fm_free(struct fm *); /* also destroys devices and board */

/* Port and memory accesses as a vCPU makes them. */
uint32_t fm_in(struct fm *, uint16_t port, unsigned size);
void fm_out(struct fm *, uint16_t port, uint32_t val, unsigned size);
uint64_t fm_ld(struct fm *, uint64_t gpa, unsigned size);
void fm_st(struct fm *, uint64_t gpa, uint64_t val, unsigned size);

/*
 * Saves every device as it is now and loads that into it again, which must change nothing: the two
 * forms of its state are the same. Called behind each write above, so that a device test saves in
 * the middle of everything that it does. Ends the test when it does not hold.
 */
void fm_resave(struct fm *);

/* Whoever holds a line remembers what it saw. */
struct fm_line {
	int level;
	unsigned rises, falls;
};
struct irq fm_irq(struct fm_line *);

/*
 * Saves obj, loads the result into other (same type, prepared by the test), saves that and
 * compares. Also: every truncation, and every flipped bit in the stream must be refused or give
 * an object that can be saved. Returns whether all held.
 */
bool fm_round_trip(const struct state_desc *, void *obj, void *other);

#endif

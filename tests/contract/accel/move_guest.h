/* SPDX-License-Identifier: Apache-2.0 */
/* What test_move.c and its guest agree on: places in memory and a word. */
#ifndef TESTS_CONTRACT_ACCEL_MOVE_GUEST_H
#define TESTS_CONTRACT_ACCEL_MOVE_GUEST_H

#define MOVE_GDT    0x1000
#define MOVE_IDT    0x2000
#define MOVE_CLOCK  0x3000
#define MOVE_STEAL  0x4000
#define MOVE_X2APIC 0x5000 /* not 0: EOIs are MSR writes */
#define MOVE_STACK  0x9000
#define MOVE_CODE   0x10000
#define MOVE_STOP   0x10000

#endif

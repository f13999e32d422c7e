/* SPDX-License-Identifier: Apache-2.0 */
/* Q35 memory controller hub and ICH9 LPC bridge. See mch.c, lpc.c. */
#ifndef ARCH_X86_MCH_H
#define ARCH_X86_MCH_H

#include "base/base.h"
#include "arch/x86/board.h"

#define ECAM_BASE 0xb0000000u
#define ECAM_SIZE MIB(256)
#define PM_BASE	  0x600u
#define RCBA_BASE 0xfed1c000u
#define RCBA_SIZE 0x4000u
#define RCBA_GCS  0x3410u

struct mch {
	struct pci_dev p;
	struct x86_board *board;
	struct map_region ecam, cf8;
	uint32_t config_address;
};
extern const struct dev_type mch_type;
/* Sets what a firmware would: ECAM at ECAM_BASE. */
void mch_firmware_defaults(struct mch *);

struct lpc {
	struct pci_dev p;
	struct x86_board *board;
	struct map_region rcba; /* root complex registers, of which GCS is there */
	uint8_t reset_control;
	uint32_t gcs;	      /* general control and status */
	uint8_t no_s3, no_s4; /* properties: sleep states are not offered */
	bool no_reboot;	      /* property: the strap that takes the watchdog's effect away */
};
extern const struct dev_type lpc_type;
/* PMBASE, ACPI enable, PIRQ routing, as a firmware would. */
void lpc_firmware_defaults(struct lpc *);

/* Port 0xcf9, which lies inside the PCI ports: reset control. */
void lpc_reset_control_write(struct lpc *, uint8_t val);

#endif

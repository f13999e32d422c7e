/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel interfaces that are newer than the headers of Debian 12 (Linux 6.1), by number, each with
 * its source and the Linux that brought it. Names are the kernel's with HK_ in front, so that newer
 * headers do not clash.
 */
#ifndef BASE_UAPI_H
#define BASE_UAPI_H

/* TUNSETOFFLOAD: segmentation of UDP. include/uapi/linux/if_tun.h, Linux 6.2. */
#define HK_TUN_F_USO4 0x20u
#define HK_TUN_F_USO6 0x40u

#endif

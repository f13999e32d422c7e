/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel interfaces that are newer than the headers of Debian 12 (Linux 6.1), by number, each with
 * its source and the Linux that brought it. Names are the kernel's with HK_ in front, so that newer
 * headers do not clash.
 */
#ifndef BASE_UAPI_H
#define BASE_UAPI_H

#include <stdint.h>
#include <sys/ioctl.h>

/* TUNSETOFFLOAD: segmentation of UDP. include/uapi/linux/if_tun.h, Linux 6.2. */
#define HK_TUN_F_USO4 0x20u
#define HK_TUN_F_USO6 0x40u

/* Landlock beyond ABI 1. include/uapi/linux/landlock.h; Linux 5.19, 6.2, 6.10 and 6.7 (network). */
#define HK_LANDLOCK_ACCESS_FS_REFER	   (1ULL << 13)
#define HK_LANDLOCK_ACCESS_FS_TRUNCATE	   (1ULL << 14)
#define HK_LANDLOCK_ACCESS_FS_IOCTL_DEV	   (1ULL << 15)
#define HK_LANDLOCK_ACCESS_NET_BIND_TCP	   (1ULL << 0)
#define HK_LANDLOCK_ACCESS_NET_CONNECT_TCP (1ULL << 1)

struct hk_landlock_ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
};

/*
 * guest_memfd: include/uapi/linux/kvm.h. Linux 6.8; 6.18 has the flags, which let memory be
 * mapped and begin as the host's too.
 */
#define HK_KVM_CAP_GUEST_MEMFD_FLAGS   244
#define HK_KVM_GUEST_MEMFD_MMAP	       (1ULL << 0)
#define HK_KVM_GUEST_MEMFD_INIT_SHARED (1ULL << 1)
#define HK_KVM_MEM_GUEST_MEMFD	       (1U << 2)
#define HK_KVM_SET_USER_MEMORY_REGION2 _IOW(0xae, 0x49, struct hk_kvm_memory_region2)
#define HK_KVM_CREATE_GUEST_MEMFD      _IOWR(0xae, 0xd4, struct hk_kvm_create_guest_memfd)

struct hk_kvm_memory_region2 {
	uint32_t slot, flags;
	uint64_t guest_phys_addr, memory_size, userspace_addr, guest_memfd_offset;
	uint32_t guest_memfd, pad1;
	uint64_t pad2[14];
};

/* KVM_RUN failed for memory at a guest address; what struct kvm_run has for it. Linux 6.8. */
#define HK_KVM_EXIT_MEMORY_FAULT 39

struct hk_kvm_memory_fault {
	uint64_t flags, gpa, size;
};

struct hk_kvm_create_guest_memfd {
	uint64_t size, flags, reserved[6];
};

#endif

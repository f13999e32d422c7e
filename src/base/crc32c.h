/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli, RFC 3720 appendix B.4). */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of n bytes; crc is 0, or the result for what stood before them. */
uint32_t crc32c(uint32_t crc, const void *data, size_t n);

#endif

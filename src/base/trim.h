/* SPDX-License-Identifier: Apache-2.0 */
/* See trim.c. */
#ifndef BASE_TRIM_H
#define BASE_TRIM_H

/* To be called once the start is over: code pages that are in use come back by themselves. */
void trim_text(void);

#endif

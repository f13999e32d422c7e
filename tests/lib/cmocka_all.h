/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka and the headers that it wants in front of itself. */
#ifndef TESTS_LIB_CMOCKA_ALL_H
#define TESTS_LIB_CMOCKA_ALL_H

#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#endif

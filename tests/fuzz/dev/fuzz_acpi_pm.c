/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the ACPI PM block: registers and time. */
#include "base/base.h"
#include "fuzz_input.h"
#include "dev/acpi_pm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, data + size };
	struct acpi_pm s = { 0 }, other = { 0 };
	uint64_t now = 1000000000, next;

	acpi_pm_reset(&s, now);
	while (fuzz_more(&in)) {
		uint8_t op = fuzz_u8(&in), reg = fuzz_u8(&in);

		now += fuzz_ns(&in);
		switch (op & 7) {
		case 0:
		case 1:
		case 2:
			acpi_pm_write(&s, reg & 0x7f, fuzz_u8(&in), now);
			break;
		case 3:
			acpi_pm_apm_write(&s, reg & 1, fuzz_u8(&in));
			break;
		case 4:
			acpi_pm_button(&s);
			break;
		case 5:
			acpi_pm_gpe(&s, reg);
			break;
		default:
			acpi_pm_read(&s, reg & 0x7f, now);
		}
		next = acpi_pm_update(&s, now);
		if (next <= now || acpi_pm_timer(&s, now) >= 1u << 24)
			__builtin_trap();
	}
	fuzz_check_state(&acpi_pm_state, &s, &other);
	return 0;
}

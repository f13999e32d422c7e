/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of a person at the human monitor, against a whole machine whose vCPUs do not run: the line
 * editor, completion, arguments, every command.
 */
#include "base/base.h"

#include "base/log.h"
#include "mon_fuzz.h"
#include "mon_vm.h"
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_level((enum log_level) - 1);
	lock_up();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_machine f;

	if (!size || size > 4096)
		return 0;
	fuzz_begin(&f, "readline");
	if (write(f.client, data, size) != (ssize_t)size)
		abort();
	free(mon_vm_read(f.vm, f.client));
	if (!f.vm->ended && write(f.client, "\r", 1) != 1)
		abort();
	free(mon_vm_read(f.vm, f.client));
	fuzz_end(&f);
	return 0;
}

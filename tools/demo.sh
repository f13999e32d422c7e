#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Boots this Debian's own cloud kernel in hanok: a shell on a terminal; without one the guest
# reports its kernel, CPU, disk and network and powers off.
#
#	tools/demo.sh BUILDDIR
set -eu
build=$1
here=$(cd "$(dirname "$0")" && pwd)
guest=$build/guest/native
"$here/guest_kernel.sh" native "$guest"
initrd=$guest/initrd.cpio
[ "$initrd" -nt "$here/guest/init" ] || "$here/guest_initrd.sh" "$guest" "$initrd"
disk=$(mktemp "${TMPDIR:-/tmp}/hanok-demo.XXXXXX")
trap 'rm -f "$disk"' EXIT
truncate -s 64M "$disk"

if [ -t 0 ] && [ -t 1 ]; then
	what=shell
	echo "Booting Linux $(cat "$guest/version"); the console follows. Ctrl-A x ends, Ctrl-A h helps."
else
	what=demo
	echo "Booting Linux $(cat "$guest/version"); no terminal, so the guest reports and powers off."
fi
# Not exec: the disk goes away afterwards.
"$build/hanok" run --kernel "$guest/vmlinuz" --initrd "$initrd" --disk "$disk" --net user --cpus 2 \
	--memory 512M -- quiet hanok.do=$what

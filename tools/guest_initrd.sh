#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the initramfs of the demo and test guests: a static busybox, the virtio modules of one
# kernel, and tools/guest/init.
#
#	tools/guest_initrd.sh KERNELDIR OUT.cpio [MODULE...]
#
# KERNELDIR is what tools/guest_kernel.sh made; MODULEs are loaded too.
set -eu
kernel=$1 out=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
version=$(cat "$kernel/version")
busybox=$(command -v busybox) || { echo "guest_initrd.sh: needs busybox-static" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/modules" "$work/etc" "$work/dev" "$work/usr" "$work/lib"
cp "$busybox" "$work/bin/busybox"
cp "$here/guest/init" "$work/init"
cp "$here/guest/udhcpc.script" "$work/udhcpc.script"
chmod 755 "$work/init" "$work/udhcpc.script"

# Modules in load order, each once; compressed ones are unpacked here, not in the guest.
: >"$work/modules.order"
for module in virtio_pci virtio_mmio virtio_blk virtio_net virtio_console virtio-rng virtio_balloon button evdev af_packet i6300esb pvpanic-mmio pvpanic-pci "$@"; do
	PATH=$PATH:/sbin:/usr/sbin modprobe -d "$kernel/root" -S "$version" --show-depends "$module" 2>/dev/null || :
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r path; do
	name=$(basename "$path")
	case $name in
	*.xz) name=${name%.xz}; xz -dc "$path" >"$work/modules/$name" ;;
	*.zst) name=${name%.zst}; zstd -dqc "$path" >"$work/modules/$name" ;;
	*) cp "$path" "$work/modules/$name" ;;
	esac
	echo "$name" >>"$work/modules.order"
done
mkdir -p "$(dirname "$out")"
(cd "$work" && find . | LC_ALL=C sort | cpio -o -H newc --quiet) >"$out.tmp"
mv "$out.tmp" "$out"

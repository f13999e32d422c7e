#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages of the named groups that are missing, and says so.
#
#	tools/need.sh GROUP...
#
# Silent and without network when everything is there.
set -eu

# The compiler's run-time library package carries clang's major version in its name.
clang_rt() {
	major=$(apt-cache depends clang 2>/dev/null | sed -n 's/^ *Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
	echo "libclang-rt-${major:-14}-dev"
}

packages() {
	case $1 in
	build) echo gcc libc6-dev meson ninja-build pkg-config python3 liburing-dev libzstd-dev liblzma-dev zlib1g-dev liblz4-dev libjansson-dev libseccomp-dev ;;
	demo) echo busybox-static cpio kmod xz-utils zstd passt ca-certificates ;;
	check) echo libcmocka-dev libzydis-dev acpica-tools iproute2 binutils makedumpfile ;;
	gates) echo clang lld clang-tidy clang-format cppcheck dwarves "$(clang_rt)" ;;
	image) echo mmdebstrap e2fsprogs util-linux ;;
	bench) echo qemu-system-x86 ;;
	libvirt) echo libvirt-daemon libvirt-clients libvirt-daemon-driver-qemu util-linux ;;
	fresh) echo debootstrap git ;;
	*) echo "need.sh: unknown group $1" >&2; exit 2 ;;
	esac
}

missing() {
	for p in "$@"; do
		dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -q '^installed$' || echo "$p"
	done
}

all=$(for group in "$@"; do packages "$group"; done)
want=$(missing $all)
[ -z "$want" ] && exit 0

command -v apt-get >/dev/null || { echo "need.sh: please install:" $want >&2; exit 1; }
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing with apt:" $want
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get -qq update
# A group may name a package by a list that only the update brought.
want=$(missing $(for group in "$@"; do packages "$group"; done))
$sudo apt-get -qq -y --no-install-recommends install $want >/dev/null

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes what `make bench` and the program tests run in: a Debian with compilers, interpreters and so on.
#
#	bench/image.sh BUILDDIR [qemu]
#
# Leaves in BUILDDIR/bench: root (the system as a folder), root.img (the same as an ext4 image), initrd.cpio (the
# test guests' with what finds its root), and with "qemu" that (of Debian's backports, unpacked, where it can be had).
# Does nothing when all is newer than what it is made of; a second run needs no network. Needs root, or sudo.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tools=$here/../tools
mkdir -p "$1/bench"
build=$(cd "$1" && pwd)
out=$build/bench
kernel=$build/guest/native
packages=systemd-sysv,udev,kmod,iproute2,gcc,libc6-dev,make,libssl-dev,openssl,python3,libpython3.11-testsuite
packages=$packages,lua5.4,sqlite3,xz-utils,zstd,gzip,stress-ng,libstb-dev,nodejs,openjdk-17-jdk-headless

sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo

mirror() {
	apt-get indextargets --format '$(SITE) $(COMPONENT) $(LABEL)' 'Created-By: Packages' |
		awk '$2 == "main" && $3 == "Debian" { print $1; exit }'
}

# Debian 12 whatever this machine is: figures of different machines are of the same programs.
make_root() {
	echo "bench: installing Debian 12 with compilers and interpreters into $out/root (some minutes)" >&2
	$sudo rm -rf --one-file-system "$out/root" "$out/root.new"
	$sudo mmdebstrap --quiet --variant=minbase --include="$packages" bookworm "$out/root.new" "$(mirror)"
	$sudo rm -rf "$out/root.new/var/cache/apt" "$out/root.new/var/lib/apt/lists" "$out/root.new/usr/share/doc"
	$sudo mv "$out/root.new" "$out/root"
}

# The kernels, built by the compiler that is there, and the data of the compressors.
fill_root() {
	$sudo mkdir -p "$out/root/bench/src"
	$sudo cp "$here"/guest/* "$out/root/bench/src/"
	$sudo chroot "$out/root" sh -euc '
		cd /bench/src
		chmod 755 expected.sh
		for name in agent integer fp system crypto strings; do
			case $name in crypto) libs=-lcrypto ;; strings) libs= ;; *) libs="-static -lm" ;; esac
			gcc -O2 -Wall -Wextra -Wno-unused-parameter -Werror -pthread -o ../$name $name.c $libs
		done
		install -m 755 init ../init
		[ -e ../rsa.pem ] || openssl genrsa -out ../rsa.pem 2048 2>/dev/null
		cat $(find /usr/lib/python3.11 -maxdepth 1 -name "*.py" | LC_ALL=C sort) /usr/bin/openssl |
			head -c 8000000 >../data
		echo bench >/etc/hostname
		systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer'
	$sudo unshare --mount --propagation private sh -euc "mount --rbind /dev '$out/root/dev'
		mount -t proc proc '$out/root/proc'; mount -t tmpfs tmp '$out/root/tmp'
		chroot '$out/root' /bench/src/expected.sh"
}

make_image() {
	$sudo rm -f "$out/root.img"
	truncate -s 3G "$out/root.img.new"
	$sudo /sbin/mkfs.ext4 -q -d "$out/root" "$out/root.img.new"
	mv "$out/root.img.new" "$out/root.img"
}

# The newest QEMU that this Debian offers, beside the installed one, which stays as it is.
make_qemu() {
	apt=$out/apt
	mkdir -p "$apt/none" "$apt/lists/partial" "$apt/cache/archives/partial" "$out/qemu"
	keys=/usr/share/keyrings/debian-archive-keyring.gpg
	suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
	for s in "$suite" "$suite-backports"; do echo "deb [signed-by=$keys] $(mirror) $s main"; done >"$apt/sources.list"
	cat >"$apt/apt.conf" <<END
Dir::State "$apt";
Dir::State::status "/var/lib/dpkg/status";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/none";
Dir::Etc::preferencesparts "$apt/none";
Acquire::Languages "none";
APT::Sandbox::User "root";
END
	export APT_CONFIG="$apt/apt.conf"
	if apt-get -qq update && $sudo env APT_CONFIG="$APT_CONFIG" apt-get -qq -y --no-install-recommends \
		-t "$suite-backports" --download-only install qemu-system-x86; then
		for deb in "$apt"/cache/archives/*.deb; do
			[ ! -e "$deb" ] || dpkg -x "$deb" "$out/qemu"
		done
	else
		echo "bench: no QEMU of $suite-backports to be had; the installed one it is" >&2
	fi
	unset APT_CONFIG
	$sudo rm -rf "$apt"
}

"$tools/guest_kernel.sh" native "$kernel"
if [ ! -e "$out/initrd.cpio" ] || [ "$tools/guest/init" -nt "$out/initrd.cpio" ]; then
	"$tools/guest_initrd.sh" "$kernel" "$out/initrd.cpio" overlay
fi
[ -d "$out/root" ] || make_root
newest=$(ls -t "$here"/guest/* "$here/image.sh" "$out/root.img" 2>/dev/null | head -n 1)
if [ "$newest" != "$out/root.img" ]; then
	fill_root
	make_image
fi
[ "${2-}" != qemu ] || [ -d "$out/qemu" ] || make_qemu

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a minimal Debian of a suite with its libvirt, for check.py --suite.
#
#	tools/libvirt/suite.sh SUITE OUTDIR
#
# Needs root. The mirror is this machine's own. Does nothing when OUTDIR is complete already.
set -eu
suite=$1 out=$2
[ -f "$out/.complete" ] && exit 0
[ "$(id -u)" = 0 ] || { echo "suite.sh: debootstrap needs root" >&2; exit 1; }
site=$(apt-get indextargets --format '$(SITE) $(COMPONENT) $(LABEL)' 'Created-By: Packages' |
	awk '$2 == "main" && $3 == "Debian" { print $1; exit }')
rm -rf --one-file-system "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
echo "suite.sh: debootstrap of $suite" >&2
debootstrap --variant=minbase --include=ca-certificates "$suite" "$out" "$site" >"$out.log" 2>&1 ||
	{ tail -n 20 "$out.log" >&2; exit 1; }
# What a proxy or a certificate of this machine's apt needs, the new system needs too.
cp -r /etc/apt/apt.conf.d/. "$out/etc/apt/apt.conf.d/" 2>/dev/null || :
[ -d /usr/local/share/ca-certificates ] && cp -r /usr/local/share/ca-certificates "$out/usr/local/share/"
cp /etc/resolv.conf /etc/hosts "$out/etc/" 2>/dev/null || :
# Services are not to be started while packages are unpacked.
printf '#!/bin/sh\nexit 101\n' >"$out/usr/sbin/policy-rc.d"
chmod 755 "$out/usr/sbin/policy-rc.d"
echo "suite.sh: libvirt of $suite" >&2
unshare --mount --propagation private sh -euc '
	mount --rbind /dev "$1/dev"
	mount -t proc proc "$1/proc"
	exec chroot "$1" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		sh -euc "apt-get -qq update; apt-get -qq -y --no-install-recommends install python3 mount \
			libvirt-daemon libvirt-clients libvirt-daemon-driver-qemu passt"' sh "$out" >>"$out.log" 2>&1 ||
	{ tail -n 20 "$out.log" >&2; exit 1; }
touch "$out/.complete"

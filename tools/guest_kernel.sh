#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fetches Debian's unmodified cloud kernel and the modules a test guest needs.
#
#	tools/guest_kernel.sh SUITE OUTDIR
#
# SUITE is "native" (the suite of this machine), or a suite name such as bookworm, trixie or
# trixie-backports, read through a private apt configuration whose mirror is this machine's own.
# bookworm-i386 has a 32-bit kernel, which is none for clouds.
# Leaves OUTDIR/vmlinuz, OUTDIR/version and OUTDIR/root (the unpacked packages).
# Does nothing when OUTDIR/version is there, so a second run needs no network.
set -eu
suite=$1 out=$2
[ -f "$out/version" ] && exit 0
mkdir -p "$out"
out=$(cd "$out" && pwd)

# The first binary index of this machine that carries "main" tells the mirror.
mirror() {
	apt-get indextargets --format '$(SITE) $(COMPONENT) $(LABEL)' 'Created-By: Packages' |
		awk '$2 == "main" && $3 == "Debian" { print $1; exit }'
}

native_suite() {
	. /etc/os-release
	echo "$VERSION_CODENAME"
}

arch=amd64 flavour=cloud-amd64
case $suite in *-i386) arch=i386 flavour=686-pae suite=${suite%-i386} ;; esac
[ "$suite" = native ] && suite=$(native_suite)
site=$(mirror)
[ -n "$site" ] || site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1)
[ -n "$site" ] || { echo "guest_kernel.sh: no Debian mirror in this machine's apt configuration" >&2; exit 1; }

apt=$out/apt
mkdir -p "$apt/none" "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/etc"
: >"$apt/status"
cat >"$apt/sources.list" <<END
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $suite main
END
cat >"$apt/apt.conf" <<END
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/none";
Dir::Etc::preferencesparts "$apt/none";
Acquire::Languages "none";
APT::Architecture "$arch";
APT::Sandbox::User "root";
END
export APT_CONFIG="$apt/apt.conf"
echo "guest_kernel.sh: reading the package list of $suite" >&2
apt-get -qq update
depends() {
	apt-cache depends -o APT::Install-Recommends=false "$1" |
		sed -n 's/^ *Depends: \(linux-[a-z]*-[0-9].*'"$flavour"'\)$/\1/p' | head -n 1
}
meta=linux-image-$flavour
image=$(depends "$meta")
[ -n "$image" ] || { echo "guest_kernel.sh: $suite has no kernel $meta" >&2; exit 1; }
version=${image#linux-image-}
# Newer kernels come in two packages: linux-binary-V and linux-modules-V.
packages=$image
for p in "linux-binary-$version" "linux-modules-$version"; do
	[ -n "$(apt-cache madison "$p")" ] && packages="$packages $p"
done
echo "guest_kernel.sh: fetching $packages" >&2
pin=""
for p in $packages; do
	v=$(apt-cache madison "$p" | awk -F'|' 'NR == 1 { gsub(/ /, "", $2); print $2 }')
	pin="$pin $p=$v"
done
(cd "$out" && apt-get -qq download $pin)
rm -rf "$out/root"
mkdir "$out/root"
for deb in "$out"/*.deb; do
	dpkg -x "$deb" "$out/root"
done
cp "$(find "$out/root" -type f -name "vmlinuz*" | head -n 1)" "$out/vmlinuz"
[ -d "$out/root/lib/modules" ] || { mkdir -p "$out/root/lib" && ln -s ../usr/lib/modules "$out/root/lib/modules"; }
PATH=$PATH:/sbin:/usr/sbin depmod -b "$out/root" "$version" 2>/dev/null
rm -rf "$apt" "$out"/*.deb
echo "$version" >"$out/version"

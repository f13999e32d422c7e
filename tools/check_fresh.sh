#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Shows that nothing installed by hand is needed: in a new minimal Debian of each suite
# (debootstrap into a folder, which becomes the root) a clone of this repository passes make demo and the fast
# part of make check.
#
#	tools/check_fresh.sh SUITE...
#
# Needs root. The mirror is this machine's own.
set -eu
top=$(git rev-parse --show-toplevel)
[ "$(id -u)" = 0 ] || { echo "check_fresh.sh: debootstrap and mounts need root" >&2; exit 1; }
site=$(apt-get indextargets --format '$(SITE) $(COMPONENT) $(LABEL)' 'Created-By: Packages' |
	awk '$2 == "main" && $3 == "Debian" { print $1; exit }')

# Runs a shell command in the new system. A mount namespace of its own and pivot_root rather than
# chroot(2): the kernel lets no chrooted process make a user namespace, which passt needs; and the
# mounts go away by themselves.
enter() {
	root=$1 command=$2 unshare --mount --propagation private sh -euc '
		mount --bind "$root" "$root"
		cd "$root"
		mount --rbind /dev dev
		mount -t proc proc proc
		mkdir -p .old
		pivot_root . .old
		cd /
		umount -l .old
		exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 sh -c "$command"'
}

one() {
	suite=$1
	root=$(mktemp -d "${TMPDIR:-/tmp}/hanok-fresh.XXXXXX")
	chmod 755 "$root"
	echo "== $suite: debootstrap"
	debootstrap --variant=minbase --include=ca-certificates,git,make "$suite" "$root" "$site" >"$root.log" 2>&1 ||
		{ tail -n 20 "$root.log"; return 1; }
	# What a proxy or a certificate of this machine's apt needs, the new system needs too.
	cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/" 2>/dev/null || :
	[ -d /usr/local/share/ca-certificates ] && cp -r /usr/local/share/ca-certificates "$root/usr/local/share/"
	cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || :
	cp /etc/hosts "$root/etc/hosts" 2>/dev/null || :
	git clone -q "$top" "$root/root/hanok"
	status=0
	enter "$root" 'cd /root/hanok && make demo </dev/null && make check-fast </dev/null' || status=$?
	if [ $status = 0 ]; then
		echo "== $suite: passed"
		rm -rf --one-file-system "$root" "$root.log"
	else
		echo "== $suite: FAILED (left in $root)"
	fi
	return $status
}

failed=0
for suite in "$@"; do
	one "$suite" || failed=1
done
exit $failed

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a shell script in a machine with a real /dev/kvm: Debian's kernel under QEMU's TCG, which
# emulates AMD's virtualisation, and tap devices. Needs no /dev/kvm here.
#
#	tools/kvm/l1.sh KERNELDIR JOB [FILE...]
#
# KERNELDIR is what tools/guest_kernel.sh made. JOB runs as root under busybox; each FILE lies
# beside it in /, with the libraries that it needs. The exit code is JOB's.
# L1_CPUS, L1_MEMORY (MiB) and L1_TIMEOUT (s) change the defaults; L1_ICOUNT=1 makes L1's clock count
# instructions, one a nanosecond, so that times there depend on nothing else; L1_SEED is its randomness. Of more than one CPU know that
# QEMU 7.2 sometimes runs stale code where one CPU changes that of another: L1 then dies of an int3.
set -eu
kernel=$1 job=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
version=$(cat "$kernel/version")
work=$(mktemp -d "${TMPDIR:-/tmp}/hanok-l1.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/modules"
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$here/l1_init" "$root/init"
cp "$job" "$root/job"
chmod 755 "$root/init"
for file in "$@"; do
	cp -L "$file" "$root/"
	# The loader and the libraries, where the program looks for them.
	ldd "$file" 2>/dev/null | grep -o '/[^ ]*' | sort -u | while read -r lib; do
		mkdir -p "$root$(dirname "$lib")"
		cp -L "$lib" "$root$lib"
	done
done
# Without the loader's cache each program looks through a dozen folders, as none does elsewhere.
mkdir -p "$root/etc"
cp -rL /etc/ld.so.conf /etc/ld.so.conf.d "$root/etc/"
PATH=$PATH:/sbin:/usr/sbin ldconfig -r "$root"
: >"$root/modules.order"
PATH=$PATH:/sbin:/usr/sbin modprobe -d "$kernel/root" -S "$version" --show-depends -a kvm-amd tun |
	sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r path; do
	name=$(basename "$path" .xz)
	case $path in
	*.xz) xz -dc "$path" >"$root/modules/$name" ;;
	*) cp "$path" "$root/modules/$name" ;;
	esac
	echo "$name" >>"$root/modules.order"
done
(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet) >"$work/initrd"

if [ -n "${L1_ICOUNT:-}" ]; then
	clock="-accel tcg,thread=single -icount shift=0,sleep=off -seed ${L1_SEED:-1} -rtc base=2026-01-01,clock=vm"
else
	clock="-accel tcg,thread=multi"
fi
# QEMU before 10.1 changes a CPU's interrupt_request without its lock when a nested guest is left, and so
# loses an interrupt now and then. When that is the one-shot timer of L1's only CPU, nothing happens there
# ever again, unless another interrupt makes its APIC look: a byte at the serial port does. It is XON,
# which the terminal takes for itself and does not echo. With L1_ICOUNT timers run on the CPU's own
# thread, and a byte would come at another time in each run.
kick() {
	while [ -z "${L1_ICOUNT:-}" ] && sleep 1; do
		printf '\021' || break
	done
}

# shellcheck disable=SC2086
kick 2>/dev/null | timeout "${L1_TIMEOUT:-1200}" qemu-system-x86_64 $clock -machine q35 -cpu max \
	-smp "${L1_CPUS:-1}" -m "${L1_MEMORY:-2048}" -nodefaults -no-user-config -nographic -no-reboot \
	-kernel "$kernel/vmlinuz" -initrd "$work/initrd" -serial stdio \
	-append "console=ttyS0 quiet panic=-1 mitigations=off" | sed -u 's/\r//g' |
	tee "$work/log" || :
code=$(sed -n 's/^l1: the job ended with exit code \([0-9]*\)$/\1/p' "$work/log")
[ -n "$code" ] || { echo "l1.sh: L1 did not finish its job" >&2; exit 1; }
exit "$code"

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the engine's contract suite and Debian guests under a real KVM.

    tools/kvm/check.py BUILDDIR [PART...]

The KVM is that of Debian's newest kernel in a machine that QEMU emulates (l1.sh), so this needs no
/dev/kvm, and none that is there is used. A PART is a pattern of names (`microvm*`); without one it is all
but `many-*`, each of which saves and goes on a hundred times.
Each group of parts has a machine of its own, as many at once as there are CPUs. What a failed part printed
is shown; all that L1 printed is in BUILDDIR/check-kvm. The last line is "N passed, N failed, N skipped".
"""
import concurrent.futures
import fnmatch
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.dirname(HERE)
sys.path.insert(0, TOOLS)
import trace_doc  # noqa: E402
from check import fetch_guests  # noqa: E402

L1_SUITE = "trixie-backports"

# QEMU before 9 lets a nested guest's XSETBV through without telling KVM: so no XSAVE there.
GUEST = ("timeout 240 /hanok qemu -accel kvm,kernel-irqchip=%s -cpu default,-xsave -m 256M -nographic -kernel /vmlinuz "
         "-initrd /initrd.cpio")

# name, whose interrupt controllers are KVM's, vCPUs, what the guest's init does, more options, what its
# console has to show
DISK = "-drive file=/disk.img,if=virtio,format=raw"
IOTHREAD = ("-object iothread,id=t0 -drive file=/disk.img,if=none,id=d0,format=raw "
            "-device virtio-blk-pci,drive=d0,iothread=t0")
GUEST_MEMFD = "-object memory-backend-memfd,id=m,size=%dM,guest-memfd=on -machine memory-backend=m"
FINE = ["guest: disk .*read back and equal", "guest: kernel-errors 0", "guest: done"]
GUESTS = [
    ("boot-1", "on", 1, "check", DISK, FINE),
    ("boot-4", "on", 4, "check", DISK, FINE + ["guest: cpus 4"]),
    ("reboot-2", "on", 2, "reboot", "-no-reboot", ["guest: rebooting"]),
    ("panic-1", "on", 1, "panic", "-no-reboot", ["Kernel panic"]),
    ("host-1", "on", 1, "check", DISK + " -cpu host,-xsave,migratable=off", FINE),
    ("iothread-2", "on", 2, "check", IOTHREAD, FINE),
    ("iothread-split", "split", 1, "check", IOTHREAD, FINE),
    ("split-1", "split", 1, "check", DISK, FINE),
    ("split-4", "split", 4, "check", DISK, FINE + ["guest: cpus 4"]),
    ("own-chips-2", "off", 2, "check", DISK, FINE + ["guest: cpus 2"]),
    ("guest-memfd-2", "on", 2, "check", f"{DISK} {GUEST_MEMFD % 256}", FINE + ["guest: cpus 2"]),
    ("microvm-1", "on", 1, "check", f"-M microvm {DISK}", FINE),
    ("microvm-4", "on", 4, "check", f"-M microvm,pcie=on {DISK} -device virtio-rng-pci", FINE + ["guest: cpus 4"]),
    ("microvm-own-2", "off", 2, "check", f"-M microvm {DISK}", FINE + ["guest: cpus 2"]),
    ("microvm-reboot", "on", 2, "reboot", "-M microvm -no-reboot", ["guest: rebooting"]),
    ("microvm-panic", "on", 1, "panic", "-M microvm -no-reboot", ["Kernel panic"]),
]
# Machines that go on on another engine than they were saved on.
MOVES = [("kvm", "kvm"), ("kvm", "soft"), ("soft", "kvm"), ("kvm", "kvm-off"), ("kvm-off", "kvm"),
         ("kvm", "kvm-split"), ("kvm-split", "kvm"), ("kvm-split", "soft"), ("soft", "kvm-split")]


# The monitor on a small guest that asks its ports again and again: name, -accel and -cpu, what it is told,
# what it has to say.
MONITOR = ("(sleep 5; {words} sleep 1; echo quit) | timeout 60 /hanok qemu -accel {accel} -display none -nodefaults "
           "-m 64 -kernel /qmp-guest.elf -serial null -monitor stdio")
MONITORS = [
    ("exits", "kvm,dirty-ring-size=4096,halt-poll-ns=50000", ["info kvm", "info exits"],
     [r"kvm support: enabled", r"cpu 0 io_exits: \d{3}", r"port-read +\d{3}.*0x3f8-0x3ff.*rip 0x10000"]),
]


# The small guest halts for good; with cpu-pm=on KVM does not hear of it, and the machine can still be ended.
HALTS = ("(sleep 5; printf i; sleep 1; printf '\\001c'; sleep 1; echo info kvm; sleep 1; echo quit) | "
         "timeout 60 /hanok qemu -accel kvm{more} -display none -nodefaults -m 64 -kernel /qmp-guest.elf "
         "-serial mon:stdio && echo ended")
IRQCHIPS = ["on", "split", "off"]
ASLEEP = r"cpu 0 halt_exits: \d+"

# Both watchdogs of the small guest go off, and each time it says that the NMI came.
WATCHDOGS = ("(sleep 5; printf w; sleep 3; printf W; sleep 6; printf p) | timeout 60 /hanok qemu -accel kvm "
             "-display none -nodefaults -m 64 -kernel /qmp-guest.elf -serial stdio -device ib700 "
             "-device i6300esb,addr=5 -watchdog-action inject-nmi && echo")


# A Debian guest that works (tools/guest/init), saved again and again, each time to go on on the next of these
# engines: name, vCPUs, more options, engines. It fetches over a tap device from a web server of L1.
SAVES = [("save-4", 4, "", ["kvm", "soft", "kvm", "kvm"]),
         ("save-split", 1, "", ["kvm,kernel-irqchip=split", "soft", "kvm"]),
         ("save-own-chips", 2, "", ["kvm,kernel-irqchip=off", "soft", "kvm"]),
         ("save-guest-memfd", 1, GUEST_MEMFD % 192, ["kvm", "kvm"])]
# A hundred in a row take up to an hour, so only who names them gets them.
MANY = [("many-1", 1, "", ["kvm"] * 101),
        ("many-4", 4, "", ["kvm"] * 101),
        ("many-mixed", 2, "", ["kvm", "soft"] * 50 + ["kvm"])]
MANY_TIMEOUT = "5000"
SAVE_SCRIPT = r'''
# The features of the CPU that an engine gives, out of a machine saved before it ran.
features() {
	rm -f /q /saved
	timeout 60 /hanok qemu -S -accel $1 -cpu default,-xsave -m 192M -display none -nodefaults -kernel /vmlinuz \
		-qmp unix:/q,server=on,wait=off 2>/dev/null &
	until [ -S /q ]; do sleep 1; done
	/hanok save --qmp /q /saved 2>/dev/null
	wait $!
	head -c 4000 /saved | tr -c ' -~' '\n' | grep '^fpu '
}

# A model that both engines have: what the soft one does beyond KVM is left out.
common_cpu() {
	cpu=default,-xsave
	have=" $(features kvm) "
	for f in $(features soft); do
		case $have in
		*" $f "* | *"$f "*) ;;
		*) cpu=$cpu,-$f ;;
		esac
	done
	echo "CPU model: $cpu"
}

network() {
	[ ! -e /sys/class/net/tap0 ] || return 0
	tunctl -t tap0 >/dev/null
	ip addr add 10.0.2.2/24 dev tap0
	ip link set tap0 up
	mkdir -p /www /var/lib/misc
	dd if=/dev/urandom of=/www/file bs=100k count=1 2>/dev/null
	httpd -h /www
	printf 'start 10.0.2.15\nend 10.0.2.15\ninterface tap0\nlease_file /leases\npidfile /udhcpd.pid\n' >/udhcpd.conf
	: >/leases
	udhcpd /udhcpd.conf
}

# Whether memory, disk and network counted on since this process has the guest.
got_on() {
	sed -n 's/.*guest: tick [0-9]* memory \([0-9]*\) disk \([0-9]*\) net \([0-9]*\) .*/\1 \2 \3/p' /log |
		awk 'NR == 1 { m = $1; d = $2; n = $3 } END { exit !($1 > m && $2 > d && $3 > n) }'
}

moves() {
	cpus=$1 options=$2
	shift 2
	network
	rm -f /saved /in /q
	mkfifo /in
	exec 3<>/in
	n=0
	for accel in "$@"; do
		if [ $n = 0 ]; then
			timeout 500 /hanok qemu -accel $accel -cpu $cpu -smp $cpus -m 192M $options -nographic -nodefaults \
				-serial stdio -kernel /vmlinuz -initrd /initrd.cpio -drive file=/disk.img,if=virtio,format=raw \
				-nic tap,ifname=tap0,script=no,downscript=no,model=virtio-net-pci \
				-append 'console=ttyS0 quiet panic=-1 hanok.do=work hanok.fetch=10.0.2.2/file' \
				-qmp unix:/q,server=on,wait=off <&3 >/log 2>&1 &
		else
			/hanok save --qmp /q /saved || return 1
			wait $pid || return 1
			timeout 500 /hanok restore --accel $accel /saved <&3 >/log 2>&1 &
		fi
		pid=$!
		i=0
		# Each of its works has to get on here.
		until [ "$(grep -c 'guest: tick' /log)" -gt 2 ] && got_on; do
			sleep 1
			i=$((i + 1))
			kill -0 $pid 2>/dev/null && [ $i -lt 300 ] || { cat /log; return 1; }
		done
		echo "on $accel: $(grep 'guest: tick' /log | tail -n 1)"
		n=$((n + 1))
	done
	echo stop >&3
	wait $pid
	code=$?
	cat /log
	return $code
}'''


# A test program with all trace events on (tests/lib/trace_to.c), and which of KVM's there were.
TRACED = ("(TRACE_TO=/trace {program} </dev/null; code=$?; cut -d' ' -f1 /trace | grep ^kvm_ | sort -u; rm /trace; "
          "exit $code)")


def kvm_events(irqchip):
    """Those that have to occur: of interrupts with KVM's controllers, or the others."""
    names = [e.name for e in trace_doc.read(f"{os.path.dirname(TOOLS)}/src/base/trace.def")]
    return [f"^{name}$" for name in names if name.startswith("kvm_") and name.startswith("kvm_irqchip_") == irqchip]


# A guest loses a page (tests/contract/accel/lost.c): it is told early, told again when it needs the page, and
# has another one behind a reset. Name, engine, memory, what has to be shown. The kernel is L1's own: not
# all of Debian's have machine checks.
LOST_EVENT = r'MEMORY_FAILURE", "data": {"recipient": "guest", "action": "inject", "flags": {"action-required": '
LOST_TOLD = [LOST_EVENT + "false", LOST_EVENT + "true", r"1 page of the guest's memory cannot be read",
             "lost: 1 of 16 pages[^$]*lost: 0 of 16 pages", "action-required.*false[^$]*RESET[^$]*guest-shutdown"]
LOSSES = [("lost-file", "kvm", "memory-backend-file,mem-path=/dev/shm/ram,share=on", LOST_TOLD),
          ("lost-guest-memfd", "kvm", "memory-backend-memfd,guest-memfd=on", LOST_TOLD),
          ("lost-soft", "soft", "memory-backend-file,mem-path=/dev/shm/ram,share=on",
           [LOST_EVENT + "false", "hanok: error: guest memory at offset 0x.* is lost, and hanok needs it"])]
LOST_SCRIPT = r'''
mkdir -p /lostroot/dev
cp /lost /lostroot/lost
(cd /lostroot && mknod dev/console c 5 1 && mknod dev/ttyS1 c 4 65 && find . | cpio -o -H newc) >/lost.cpio 2>/dev/null

lost() {
	accel=$1 memory=$2 which=/dev/shm/ram
	rm -f /in /qmp /console /said /dev/shm/ram
	mkfifo /in
	exec 3<>/in
	echo '{"execute": "qmp_capabilities"}' >&3
	/hanok qemu -accel $accel -cpu default,-xsave -smp 2 -m 128M -nodefaults -display none -serial file:/console \
		-serial file:/said -qmp stdio -object $memory,id=m,size=128M -machine memory-backend=m -kernel /vmlinuz-l1 \
		-initrd /lost.cpio -append 'console=ttyS0 quiet panic=-1 rdinit=/lost' <&3 >/qmp 2>&1 &
	pid=$!
	(sleep 500; kill -9 $pid) 2>/dev/null &
	guard=$!
	case $memory in
	*guest-memfd*) which=$pid ;;
	esac
	/lost ready $which && /lost poison $which || kill $pid
	sleep 2
	if [ $accel = soft ]; then
		/lost go $which &
		waiter=$!
		wait $pid
		kill $waiter
	else
		/lost go $which &&
			echo '{"execute": "migrate", "arguments": {"uri": "file:/saved"}}' >&3 &&
			/lost forget $which &&
			echo '{"execute": "system_reset"}' >&3 &&
			/lost go $which && /lost off $which || kill $pid
		wait $pid
	fi
	kill $guard
	cat /qmp /console /said
}'''


def all_parts():
    """Group, name, command, what it has to show. The longest group stands first."""
    parts = []
    for name, cpus, options, engines in SAVES + MANY:
        parts.append((name, name, f"moves {cpus} '{options}' {' '.join(engines)} </dev/null",
                      ["guest: failures 0", "guest: kernel-errors 0", "guest: done"]))
    for name, chips, cpus, do, options, wanted in GUESTS:
        group = "microvm" if name.startswith("microvm") else "pc"
        parts.append((group, name, f"{GUEST % chips} -smp {cpus} {options} -append "
                      f"'console=ttyS0 quiet panic=-1 hanok.do={do}' </dev/null", wanted))
    parts.append(("engine", "accel-kvm", TRACED.format(program="/t-accel kvm"),
                  ["PASSED", r"OK \] dirty_ring", r"OK \] engine_memory"] + kvm_events(False)))
    for one, other in MOVES:
        wanted = ["PASSED"] + (kvm_events(True) if one == other == "kvm" else [])
        parts.append(("engine", f"{one}-to-{other}", TRACED.format(program=f"/t-move {one} {other}"), wanted))
    for name, accel, words, wanted in MONITORS:
        words = "".join(f"echo '{w}'; " for w in words)
        parts.append(("engine", name, MONITOR.format(accel=accel, words=words), wanted))
    parts.append(("engine", "halts", HALTS.format(more=""), ["ready", ASLEEP, "ended"]))
    for chips in IRQCHIPS:
        parts.append(("engine", f"cpu-pm-{chips}", HALTS.format(more=f",kernel-irqchip={chips} -overcommit cpu-pm=on"),
                      ["ready", r"kvm support: enabled", rf"\A(?!(.|\n)*{ASLEEP})", "\nended"]))


    for name, accel, memory, wanted in LOSSES:
        parts.append(("lost", name, f"lost {accel} {memory} </dev/null", wanted))
    parts.append(("engine", "watchdogs", WATCHDOGS, ["ready", "NN"]))
    return parts


def job_text(parts):
    """The script that runs in L1: each part between lines that say its name, its exit code and its seconds."""
    lines = ["dd if=/dev/zero of=/disk.img bs=1M count=64 2>/dev/null",
             "now() { cut -d. -f1 /proc/uptime; }"]
    if any(command.startswith("moves") for _, _, command, _ in parts):
        lines += [SAVE_SCRIPT, "common_cpu"]
    if any(command.startswith("lost") for _, _, command, _ in parts):
        lines.append(LOST_SCRIPT)
    for _, name, command, _ in parts:
        lines.append(f"echo 'part {name}'; from=$(now)\n{command} 2>&1\n"
                     f"echo \"end {name} $? $(($(now) - from))\"\n"
                     # A call that the sandbox forbids is told of in the kernel's log.
                     "dmesg -c | grep type=1326")
    return "\n".join(lines) + "\n"


def verdict(text, name, wanted):
    """What is wrong with part `name`, or None; what it printed; the seconds it took."""
    found = re.search(rf"^part {name}$(.*?)^end {name} (\d+) (\d+)$(.*?)(?=^part |\Z)", text, re.M | re.S)
    if not found:
        begun = re.search(rf"^part {name}$.*", text, re.M | re.S)
        return "did not end", begun.group(0) if begun else text[-3000:], 0
    said, code, seconds, behind = found.groups()
    problem = None
    if code != "0":
        problem = f"exit code {code}"
    elif "type=1326" in behind:
        problem = "the sandbox forbade a call"
    for pattern in wanted:
        if not problem and not re.search(pattern, said, re.M):
            problem = f"'{pattern}' is missing"
    return problem, said + behind, int(seconds)


def run_group(build, group, parts):
    """Runs the parts of one group in a machine; returns (passed, failed)."""
    guest = f"{build}/guest/native"
    log = f"{build}/check-kvm/{group}"
    job = f"{log}.sh"
    files = [f"{build}/hanok", f"{build}/tests/contract/accel/t-accel", f"{build}/tests/contract/accel/t-move",
             f"{build}/tests/contract/accel/lost", f"{build}/tests/contract/qmp/qmp-guest.elf", f"{guest}/vmlinuz",
             f"{guest}/initrd.cpio", f"{build}/check-kvm/vmlinuz-l1"]
    with open(job, "w") as out:
        out.write(job_text(parts))
    env = os.environ if not group.startswith("many-") else {"L1_TIMEOUT": MANY_TIMEOUT, **os.environ}
    with open(log, "w") as out:
        subprocess.run([f"{HERE}/l1.sh", f"{build}/guest/{L1_SUITE}", job, *files], stdout=out,
                       stderr=subprocess.STDOUT, env=env)
    with open(log, errors="replace") as text:
        text = text.read().replace("\r", "")
    failed = 0
    for _, name, _, wanted in parts:
        problem, said, seconds = verdict(text, name, wanted)
        failed += problem is not None
        print(f"{said}\n{name:<16} FAILED: {problem}" if problem else f"{name:<16} OK {seconds:>4} s", flush=True)
    return len(parts) - failed, failed


def main():
    build = sys.argv[1]
    parts = [p for p in all_parts() if any(fnmatch.fnmatch(p[1], x) for x in sys.argv[2:]) or
             not sys.argv[2:] and not p[1].startswith("many-")]
    if not parts:
        sys.exit(f"no part is called {' or '.join(sys.argv[2:])}; there are {', '.join(p[1] for p in all_parts())}")
    fetch_guests(build, [L1_SUITE, "native"])
    os.makedirs(f"{build}/check-kvm", exist_ok=True)
    shutil.copyfile(f"{build}/guest/{L1_SUITE}/vmlinuz", f"{build}/check-kvm/vmlinuz-l1")
    groups = {}
    for part in parts:
        groups.setdefault(part[0], []).append(part)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda item: run_group(build, *item), groups.items()))
    failed = sum(f for _, f in results)
    print(f"{sum(p for p, _ in results)} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

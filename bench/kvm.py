#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a start costs under KVM, hanok's microvm beside QEMU's machines, and an interrupt; for docs/measurements.md.

    bench/kvm.py BUILDDIR [hanok|qemu]...

Runs in L1 (tools/kvm/l1.sh) whose clock counts instructions, one a nanosecond: figures depend on
nothing else that the machine does. The guest is Debian's newest cloud kernel, uncompressed, with an
init of a few instructions. What does not come to its end in BENCH_TIMEOUT seconds (default 1800) is
left out and said.
"""
import os
import re
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
sys.path[:0] = [f"{TOP}/tools", HERE]
from check import fetch_guests  # noqa: E402
from run import tiny_kernel  # noqa: E402

SUITE = "trixie-backports"
FIRMWARE = ["bios-256k.bin", "bios-microvm.bin", "pvh.bin", "linuxboot_dma.bin", "kvmvapic.bin"]
# QEMU before 9 lets a nested guest's XSETBV through without telling KVM: so no XSAVE there.
COMMON = "-m 256M -nodefaults -display none -chardev stdio,id=c -device isa-debugcon,iobase=0xe9,chardev=c"
LINUX = "-kernel /vmlinux -initrd /init.cpio"
SERIAL = "-serial file:/serial.log"
QUIET = "quiet mitigations=off"
HANOK = f"/hanok qemu -accel kvm -cpu default,-xsave {COMMON}"
QEMU = f"/qemu-system-x86_64 -L / -accel kvm -cpu host,-xsave {COMMON}"

# name, who, command, kernel arguments
STARTS = [
    ("hanok-tiny-warm", "hanok", f"{HANOK} -M microvm -kernel /tiny", ""),
    ("hanok-tiny", "hanok", f"{HANOK} -M microvm -kernel /tiny", ""),
    ("hanok-microvm", "hanok", f"{HANOK} -M microvm {LINUX} {SERIAL}", f"console=ttyS0 {QUIET}"),
    ("hanok-microvm-no-serial", "hanok", f"{HANOK} -M microvm,isa-serial=off {LINUX}", QUIET),
    ("hanok-q35", "hanok", f"{HANOK} -M q35 {LINUX} {SERIAL}", f"console=ttyS0 {QUIET}"),
    ("qemu-tiny", "qemu", f"{QEMU} -M microvm -kernel /tiny", ""),
    ("qemu-microvm", "qemu", f"{QEMU} -M microvm,pit=off,pic=off,rtc=off {LINUX} {SERIAL}",
     f"console=ttyS0 {QUIET}"),
    ("qemu-q35", "qemu", f"{QEMU} -M q35 {LINUX} {SERIAL}", f"console=ttyS0 {QUIET}"),
]


def unpack_kernel(vmlinuz, out):
    """The ELF inside a bzImage whose payload is zstd (Documentation/arch/x86/boot.rst)."""
    with open(vmlinuz, "rb") as image:
        data = image.read()
    off, length = struct.unpack_from("<II", data, 0x248)
    start = ((data[0x1f1] or 4) + 1) * 512 + off
    # The length of the output stands behind the stream, which zstd says is no zstd.
    done = subprocess.run(["zstd", "-dcq"], input=data[start:start + length], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
    with open(out, "wb") as elf:
        elf.write(done.stdout)


def make_initrd(init, work):
    root = f"{work}/initrd"
    os.makedirs(root)
    subprocess.run(["cp", init, f"{root}/init"], check=True)
    with open(f"{work}/init.cpio", "wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=b"init\n", stdout=out, cwd=root, check=True)


def job_text(who):
    """The script that runs in L1."""
    lines = ["mount -t tracefs none /sys/kernel/tracing", "T=/sys/kernel/tracing/events",
             "trace() { for e in kvm/kvm_userspace_exit raw_syscalls/sys_enter; do",
             "case $e in kvm*) k=reason;; *) k=common_pid;; esac",
             "echo \"${1}hist:keys=$k\" >$T/$e/trigger; done; }"]
    for name, by, command, append in STARTS:
        if by not in who:
            continue
        lines += ["trace", f"/kvm_launch {name} {command} -append '{append}' 2>/dev/null",
                  f"sed 's/^/{name} exit /' $T/kvm/kvm_userspace_exit/hist",
                  f"sed 's/^/{name} call /' $T/raw_syscalls/sys_enter/hist", "trace !"]
    if "hanok" in who:
        lines.append("/kvm_irq")
    return "\n".join(lines) + "\n"


def run_l1(build, work, who):
    files = [f"{build}/hanok", f"{build}/bench/kvm_launch", f"{build}/bench/kvm_irq", f"{work}/vmlinux",
             f"{work}/init.cpio", f"{work}/tiny"]
    if "qemu" in who:
        files.append(subprocess.run(["which", "qemu-system-x86_64"], stdout=subprocess.PIPE, text=True,
                                    check=True).stdout.strip())
        for name in FIRMWARE:
            for folder in ("/usr/share/seabios", "/usr/share/qemu"):
                if os.path.exists(f"{folder}/{name}"):
                    files.append(f"{folder}/{name}")
                    break
    with open(f"{work}/job", "w") as job:
        job.write(job_text(who))
    env = dict(os.environ, L1_ICOUNT="1", L1_MEMORY="3072", L1_TIMEOUT=os.environ.get("BENCH_TIMEOUT", "1800"))
    proc = subprocess.run([f"{TOP}/tools/kvm/l1.sh", f"{build}/guest/{SUITE}", f"{work}/job"] + files, env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return proc.stdout.decode(errors="replace").replace("\r", "")


def figures(text, name):
    """What the launcher and the trace say of one start, or None when it did not come to its end."""
    said = re.search(rf"^launch {name} ok=1 ns=(\d+)(.*?) cpu=(\d+) beside=(\d+) threads=(\d+)", text, re.M)
    if not said:
        return None
    tasks = re.findall(r"task=(\d+)", said.group(2))
    exits = re.findall(rf"^{name} exit .*reason: +(\d+) .*hitcount: +(\d+)", text, re.M)
    calls = re.findall(rf"^{name} call .*common_pid: +(\d+) .*hitcount: +(\d+)", text, re.M)
    return {"instructions": int(said.group(1)), "cpu": int(said.group(3)), "beside": int(said.group(4)),
            "threads": int(said.group(5)), "exits": sum(int(n) for _, n in exits),
            "calls": sum(int(n) for pid, n in calls if pid in tasks)}


def show(text, who):
    print(f"{'start':<26}{'to init, G insn':>16}{'user-space exits':>18}{'beside RAM, MiB':>17}{'threads':>9}")
    complete = True
    for name, by, _, _ in STARTS:
        if by not in who or name.endswith("warm"):
            continue
        f = figures(text, name)
        complete &= f is not None
        if not f:
            print(f"{name:<26}{'did not finish':>16}")
        elif name.endswith("tiny"):
            print(f"{name:<26}exec to the first guest instruction: {f['cpu'] / 1e6:.2f} M insn of CPU, "
                  f"{f['calls']} system calls to the end of the process")
        else:
            print(f"{name:<26}{f['instructions'] / 1e9:>16.3f}{f['exits']:>18}{f['beside'] / 1024:>17.2f}"
                  f"{f['threads']:>9}")
    irq = re.search(r"^irq board=(\d+) eventfd=(\d+) begin=(\d+) change=(\d+) end=(\d+)", text, re.M)
    if irq:
        board, eventfd, begin, change, end = map(int, irq.groups())
        print(f"an MSI-X interrupt, instructions: {eventfd} by eventfd, {board} by KVM_SIGNAL_MSI "
              f"({eventfd / board:.2f}); the first {begin}, one with a new message {change}, the end {end}")
    return complete and ("hanok" not in who or irq is not None)


def main():
    build = os.path.abspath(sys.argv[1])
    who = sys.argv[2:] or ["hanok", "qemu"]
    fetch_guests(build, [SUITE])
    with tempfile.TemporaryDirectory(prefix="hanok-bench.") as work:
        unpack_kernel(f"{build}/guest/{SUITE}/vmlinuz", f"{work}/vmlinux")
        make_initrd(f"{build}/bench/kvm_init", work)
        tiny_kernel(f"{work}/tiny")
        text = run_l1(build, work, who)
    if os.environ.get("BENCH_LOG"):
        with open(os.environ["BENCH_LOG"], "w") as log:
            log.write(text)
    return 0 if show(text, who) else 1


if __name__ == "__main__":
    sys.exit(main())

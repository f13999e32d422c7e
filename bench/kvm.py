#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a start costs under KVM, hanok's microvm beside QEMU's machines, and an interrupt; for docs/measurements.md.

    bench/kvm.py BUILDDIR [NAME]...

Names begin those of the rows: hanok, qemu, hanok-microvm, irq... Each start has a machine of its own,
L1 (tools/kvm/l1.sh), whose clock counts instructions, one a nanosecond: figures depend on nothing
else that the machine does. The guest is Debian's newest cloud kernel, uncompressed, with an init of
a few instructions, and arguments that suit the board. QEMU 7.2 with -icount lets one nested start
in a few hang (an interrupt comes to a guest's guest that has switched them off): what has not ended
after BENCH_CPU seconds of CPU (default 120, several times what it needs) is tried again with another
seed. A row that misses its goal says so; the exit code is that of the measuring. BENCH_LOG keeps
what the machines said.
"""
import os
import re
import resource
import shutil
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
COMMON = "-m 256M -nodefaults -display none -chardev file,id=c,path=/proc/self/fd/1 -device isa-debugcon,iobase=0xe9,chardev=c"
LINUX = "-kernel /vmlinux -initrd /init.cpio"
SERIAL = "-serial file:/proc/self/fd/1"
ARGS = "quiet mitigations=off"
# What hanok's microvm adds by itself.
TUNED = f"{ARGS} cryptomgr.notests pci=off 8250.nr_uarts="
HANOK = f"/hanok qemu -accel kvm -cpu default,-xsave {COMMON}"
QEMU = f"/qemu-system-x86_64 -L / -accel kvm -cpu host,-xsave {COMMON}"
LEAN = "microvm,pit=off,pic=off,rtc=off"

# name, command, kernel arguments, goals
STARTS = [
    ("hanok-tiny", f"{HANOK} -M microvm -kernel /tiny", "", {"calls": 120, "cpu": 1.5e6}),
    ("hanok-microvm", f"{HANOK} -M microvm {LINUX} {SERIAL}", f"console=ttyS0 {ARGS}",
     {"instructions": 1.09e9, "exits": 300, "beside": 2048, "calls": 120}),
    ("hanok-microvm-no-serial", f"{HANOK} -M microvm,isa-serial=off {LINUX}", ARGS,
     {"instructions": 1.09e9, "exits": 50, "beside": 2048, "calls": 120}),
    ("hanok-q35", f"{HANOK} -M q35 {LINUX} {SERIAL}", f"console=ttyS0 {ARGS} cryptomgr.notests", {}),
    ("qemu-tiny", f"{QEMU} -M microvm -kernel /tiny", "", {}),
    ("qemu-microvm", f"{QEMU} -M {LEAN} {LINUX} {SERIAL}", f"console=ttyS0 {TUNED}1", {}),
    ("qemu-microvm-no-serial", f"{QEMU} -M {LEAN},isa-serial=off {LINUX}", f"{TUNED}0", {}),
    ("qemu-q35", f"{QEMU} -M q35 {LINUX} {SERIAL}", f"console=ttyS0 {ARGS} cryptomgr.notests", {}),
]
COLUMNS = [("instructions", "to init, G insn", 1e9), ("exits", "user-space exits", 1),
           ("beside", "beside RAM, MiB", 1024), ("calls", "calls to KVM_RUN", 1),
           ("cpu", "CPU to KVM_RUN, M insn", 1e6)]


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


def job_text(command, append, tiny):
    """The script that runs in L1. What a small guest costs is taken when all is warm and nothing is
    traced; calls are counted in a run of their own, from exec to the first entry of a guest."""
    launch = f"{command} -append '{append}' 2>/launch.err || cat /launch.err"
    lines = ["mount -t tracefs none /sys/kernel/tracing", "T=/sys/kernel/tracing/events"]
    if tiny:
        lines += [f"/kvm_launch warm {launch}", f"/kvm_launch start {launch}"]
    else:
        lines += ["echo hist:keys=reason >$T/kvm/kvm_userspace_exit/trigger",
                  f"/kvm_launch start $T/kvm/kvm_userspace_exit/hist {launch}"]
    lines += ["echo '!hist:keys=reason' >$T/kvm/kvm_userspace_exit/trigger",
              "echo hist:keys=id.syscall:pause >$T/raw_syscalls/sys_enter/trigger",
              f"echo 'enable_hist:raw_syscalls:sys_enter if filename == \"{command.split()[0]}\"'"
              " >$T/sched/sched_process_exec/trigger",
              "echo disable_hist:raw_syscalls:sys_enter >$T/kvm/kvm_entry/trigger",
              f"/kvm_launch count $T/raw_syscalls/sys_enter/hist {launch}"]
    return "\n".join(lines) + "\n"


def l1_files(build, work, name):
    files = [f"{build}/bench/kvm_launch", f"{work}/vmlinux", f"{work}/init.cpio", f"{work}/tiny"]
    if name.startswith("hanok"):
        return files + [f"{build}/hanok"]
    files.append(shutil.which("qemu-system-x86_64"))
    for firmware in FIRMWARE:
        for folder in ("/usr/share/seabios", "/usr/share/qemu"):
            if os.path.exists(f"{folder}/{firmware}"):
                files.append(f"{folder}/{firmware}")
                break
    return files


def run_l1(build, work, name, job_text, files, seed):
    with open(f"{work}/job", "w") as job:
        job.write(job_text)
    env = dict(os.environ, L1_ICOUNT="1", L1_SEED=str(seed), L1_MEMORY="3072")
    cpu = int(os.environ.get("BENCH_CPU", "120"))
    proc = subprocess.run([f"{TOP}/tools/kvm/l1.sh", f"{build}/guest/{SUITE}", f"{work}/job"] + files, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu)))
    text = proc.stdout.decode(errors="replace").replace("\r", "")
    if os.environ.get("BENCH_LOG"):
        with open(os.environ["BENCH_LOG"], "a") as log:
            log.write(f"==== {name}, seed {seed}\n{text}")
    return text


def hits(text, name):
    return sum(int(n) for n in re.findall(rf"^hist {name} .*hitcount: +(\d+)", text, re.M))


def figures(text, tiny):
    """What the launcher and the trace say of one start, or None when it did not come to its end."""
    said = re.search(r"^launch start ok=1 ns=(\d+) cpu=(\d+) beside=(\d+)", text, re.M)
    if not said or not re.search(r"^launch count ok=1", text, re.M):
        return None
    found = {"instructions": int(said.group(1)), "beside": int(said.group(3)), "calls": hits(text, "count")}
    if tiny:
        return {"calls": found["calls"], "cpu": int(said.group(2))}
    found["exits"] = hits(text, "start")
    return found


def show(name, found, goals):
    row = f"{name:<25}"
    for key, title, unit in COLUMNS:
        value = "" if key not in found else f"{found[key] / unit:.{3 if unit == 1e9 else 2 if unit > 1 else 0}f}"
        row += f"{value:>{len(title) + 2}}"
    missed = [f"{title} over its goal of {goals[key] / unit:.4g}" for key, title, unit in COLUMNS
              if key in goals and found[key] > goals[key]]
    print(row + "   " + (", ".join(missed) if missed else "meets its goals" if goals else ""), flush=True)


def ratios(all_found):
    """hanok's figure over that of QEMU's machine of the same name, in the same L1."""
    for name, found in all_found.items():
        other = all_found.get(name.replace("hanok", "qemu"))
        if name.startswith("hanok") and other:
            parts = [f"{title} {found[key] / other[key]:.3f}" for key, title, _ in COLUMNS
                     if key in found and other.get(key)]
            print(f"{name} / {name.replace('hanok', 'qemu')}: " + ", ".join(parts))


def tried(what):
    """The first of a few seeds' results that is one."""
    found = None
    for seed in range(1, 5):
        found = found or what(seed)
    return found


def interrupts(build, work):
    """What a virtio device's interrupt costs, by each way."""
    irq = tried(lambda seed: re.search(r"^irq board=(\d+) eventfd=(\d+) begin=(\d+) change=(\d+) end=(\d+)",
                                       run_l1(build, work, "irq", "/kvm_irq\n", [f"{build}/bench/kvm_irq"], seed), re.M))
    if irq:
        board, eventfd, begin, change, end = map(int, irq.groups())
        print(f"an MSI-X interrupt, instructions: {eventfd} by eventfd, {board} by KVM_SIGNAL_MSI "
              f"({eventfd / board:.2f}); the first {begin}, one with a new message {change}, the end {end}")
    return irq is not None


def main():
    build = os.path.abspath(sys.argv[1])
    names = tuple(sys.argv[2:]) or ("",)
    starts = [s for s in STARTS if s[0].startswith(names)]
    all_found = {}
    fetch_guests(build, [SUITE])
    print(f"{'start':<25}" + "".join(f"  {title}" for _, title, _ in COLUMNS), flush=True)
    with tempfile.TemporaryDirectory(prefix="hanok-bench.") as work:
        unpack_kernel(f"{build}/guest/{SUITE}/vmlinuz", f"{work}/vmlinux")
        make_initrd(f"{build}/bench/kvm_init", work)
        tiny_kernel(f"{work}/tiny")
        for name, command, append, goals in starts:
            tiny = name.endswith("tiny")
            found = tried(lambda seed: figures(run_l1(build, work, name, job_text(command, append, tiny),
                                                      l1_files(build, work, name), seed), tiny))
            if found:
                all_found[name] = found
                show(name, found, goals)
            else:
                print(f"{name:<25}did not finish", flush=True)
        ratios(all_found)
        complete = len(all_found) == len(starts)
        return 0 if (not "irq".startswith(names) or interrupts(build, work)) and complete else 1


if __name__ == "__main__":
    sys.exit(main())

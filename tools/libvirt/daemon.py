# SPDX-License-Identifier: Apache-2.0
"""virtlogd and libvirtd of a test's own, in a mount namespace that the caller made, and virsh."""
import glob
import os
import re
import signal
import stat
import subprocess
import time

from domain import Failure, expect, until

# Where libvirt was built to have its files; the namespace sees empty folders there.
FOLDERS = ["/etc/libvirt", "/run/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt"]

# A disk's lock or a process's group needs nothing of a system that is not there (cgroups, AppArmor).
QEMU_CONF = """\
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = [ ]
stdio_handler = "logd"
max_core = 0
"""

LIBVIRTD_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
log_level = 3
log_filters = "1:qemu.qemu_monitor 1:qemu.qemu_capabilities"
log_outputs = "1:file:%s"
"""


def mount_dev(work):
    """A /dev without kvm: libvirtd probes anew at every turn when it finds one that emulators refuse."""
    dev = os.path.join(work, "dev")
    os.mkdir(dev)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "dev", dev], check=True)
    os.mkdir(os.path.join(dev, "net"))
    for name in [*os.listdir("/dev"), "net/tun"]:
        path, source = os.path.join(dev, name), os.path.join("/dev", name)
        if os.path.islink(source):
            os.symlink(os.readlink(source), path)
        elif not os.path.exists(source) or name == "kvm":
            continue
        elif stat.S_ISCHR(os.stat(source).st_mode):
            os.mknod(path, os.stat(source).st_mode, os.stat(source).st_rdev)
            os.chmod(path, os.stat(source).st_mode & 0o7777)
        elif os.path.ismount(source):
            os.mkdir(path)
            subprocess.run(["mount", "--rbind", source, path], check=True)
    # Nothing of the real /dev is to be in reach below work, which is deleted in the end, nor below
    # the new one, where libvirtd would find its mounts.
    old = dev + "-old"
    os.mkdir(old)
    subprocess.run(["mount", "--move", "/dev", old], check=True)
    subprocess.run(["mount", "--move", dev, "/dev"], check=True)
    subprocess.run(["umount", "-l", old], check=True)
    os.rmdir(old)
    os.rmdir(dev)


def mount_folders(work):
    for folder in FOLDERS:
        made = os.path.isdir(folder)
        if not made:
            os.makedirs(folder)
        source = os.path.join(work, "lib" + folder.replace("/", "-"))
        os.makedirs(source, mode=0o755)
        subprocess.run(["mount", "--bind", source, folder], check=True)
    # Debian's libvirtd insists on the account that libvirt-daemon-system makes, even unused.
    for path, lines in (("/etc/passwd", ["libvirt-qemu:x:64055:64055::/nonexistent:/bin/false"]),
                        ("/etc/group", ["libvirt-qemu:x:64055:", "kvm:x:64056:"])):
        with open(path) as file:
            text = file.read()
        missing = [line for line in lines if not re.search(rf"(?m)^{line.split(':')[0]}:", text)]
        if missing:
            copy = os.path.join(work, os.path.basename(path))
            with open(copy, "w") as file:
                file.write("\n".join([text.rstrip(), *missing, ""]))
            subprocess.run(["mount", "--bind", copy, path], check=True)


class Daemons:
    def __init__(self, work, emulator, kvm):
        self.work, self.kvm = work, kvm
        self.log = os.path.join(work, "libvirtd.log")
        self.event_log = os.path.join(work, "events.txt")
        self.procs = {}
        # The first emulator that libvirtd finds by name is the one under test.
        path = os.path.join(work, "bin")
        os.mkdir(path)
        self.found_emulator = os.path.join(path, "qemu-system-x86_64")
        os.symlink(emulator, self.found_emulator)
        self.env = {"PATH": f"{path}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": work,
                    "XDG_CONFIG_HOME": work, "XDG_CACHE_HOME": work, "XDG_RUNTIME_DIR": work}

    def start(self):
        if not self.kvm:
            mount_dev(self.work)
        mount_folders(self.work)
        with open("/etc/libvirt/qemu.conf", "w") as conf:
            conf.write(QEMU_CONF)
        with open("/etc/libvirt/libvirtd.conf", "w") as conf:
            conf.write(LIBVIRTD_CONF % self.log)
        with open("/etc/libvirt/virtlogd.conf", "w") as conf:
            conf.write(f'log_outputs = "3:file:{self.work}/virtlogd.log"\n')
        self.spawn("virtlogd", "virtlogd", "-f", "/etc/libvirt/virtlogd.conf")
        self.wait_socket("virtlogd", "/run/libvirt/virtlogd-sock")
        self.start_libvirtd()

    def start_libvirtd(self):
        self.spawn("libvirtd", "libvirtd", "-f", "/etc/libvirt/libvirtd.conf")
        self.wait_socket("libvirtd", "/run/libvirt/libvirt-sock")
        until(lambda: self.virsh("version", ok=None) is not None, "libvirtd does not answer", 120)
        with open(self.event_log, "ab") as out:
            self.procs["events"] = subprocess.Popen(["virsh", "-q", "event", "--all", "--loop"], env=self.env,
                                                    stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def spawn(self, name, *command):
        out = open(os.path.join(self.work, f"{name}.out"), "ab")
        # Their own place for the pid file is the real /run.
        command = [*command, "-p", os.path.join(self.work, f"{name}.pid")]
        self.procs[name] = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def wait_socket(self, name, path):
        def there():
            expect(self.procs[name].poll() is None, f"{name} ended: {self.out_of(name)}")
            return os.path.exists(path)

        until(there, f"{name} does not listen", 60)

    def out_of(self, name):
        with open(os.path.join(self.work, f"{name}.out"), errors="replace") as out:
            return out.read()

    def restart_libvirtd(self):
        for name in ("events", "libvirtd"):
            self.end(name)
        self.start_libvirtd()

    def end(self, name):
        proc = self.procs.pop(name, None)
        if proc is None:
            return
        proc.terminate()
        try:
            proc.wait(20)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.wait()

    def stop(self):
        """All domains, then the daemons."""
        if "libvirtd" in self.procs and self.procs["libvirtd"].poll() is None:
            for name in (self.virsh("list", "--name", ok=None) or "").split():
                self.virsh("destroy", name, ok=None)
        for path in glob.glob("/run/libvirt/qemu/*.pid"):
            with open(path) as file:
                text = file.read().strip()
            if text.isdigit():
                try:
                    os.kill(int(text), signal.SIGKILL)
                except OSError:
                    pass
        for name in ("events", "libvirtd", "virtlogd"):
            self.end(name)
        time.sleep(0.1)
        for folder in FOLDERS:
            subprocess.run(["umount", "-l", folder], stderr=subprocess.DEVNULL)

    def virsh(self, *words, ok=True):
        """
        Output of a virsh command that must succeed (ok=True) or fail (ok=False, its message); with
        ok=None the output, or None when it failed.
        """
        proc = subprocess.run(["virsh", "-q", *words], env=self.env, stdin=subprocess.DEVNULL, timeout=180,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if ok is None:
            return proc.stdout.decode() if proc.returncode == 0 else None
        message = proc.stderr.decode(errors="replace").strip()
        if (proc.returncode == 0) != ok:
            raise Failure(f"virsh {' '.join(words)}: {'worked' if not ok else message}")
        return proc.stdout.decode(errors="replace") if ok else message

    def events(self):
        with open(self.event_log, errors="replace") as log:
            return log.read()

    def pid_of(self, name):
        with open(f"/run/libvirt/qemu/{name}.pid") as file:
            return int(file.read())

    def show_logs(self, console):
        """What a person needs after a failure."""
        logs = [self.log, self.event_log] + glob.glob(f"{self.work}/lib-var-log-libvirt/qemu/*.log")
        for path in logs:
            if os.path.exists(path):
                with open(path, errors="replace") as file:
                    lines = [line for line in file if "PROBE" not in line and ": debug :" not in line]
                print(f"--- {path}")
                print("".join(line[:400].rstrip() + "\n" for line in lines[-60:]), end="")
        if console is not None:
            print("--- console")
            print(console.tail())

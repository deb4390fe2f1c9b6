"""Runs the tests under other C libraries, Pythons and kernels. Slow; not part of `make test`.

    scripts/guests.py root trixie DIR              a root directory with Debian 13 and this checkout
    scripts/guests.py test DIR [pytest's options]  the tests in that directory, on this kernel
    scripts/guests.py boot DIR bookworm [options]  the same under the kernel of Debian 12, in qemu

Needs root, debootstrap, and for `boot` qemu-system-x86, e2fsprogs, kmod and busybox-static.
Nothing is changed outside DIR, its disk image (DIR.ext4) and the kernels beside it
(DIR/../kernels). Where the processor can't virtualize, kernels are emulated, ten to twenty times
slower: raise --time-limit.
"""

from __future__ import annotations

import argparse
import gzip
import lzma
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = """
    binutils bubblewrap ca-certificates clang e2fsprogs file g++ gcc gdb git iproute2 libc6-dev lld
    llvm make procps python3 python3-dev python3-venv strace util-linux valgrind zstd
""".split()
INSTALL = f"""
export DEBIAN_FRONTEND=noninteractive
# The lists of sid are valid for a week, by a clock that may be wrong.
apt-get -o Acquire::Check-Valid-Until=false update -qq
get="apt-get install -y -qq --no-install-recommends"
$get {" ".join(PACKAGES)} >/dev/null || exit 1
version=$(apt-cache depends clang | sed -n 's/.*Depends: clang-\\([0-9]*\\)$/\\1/p')
$get libclang-rt-$version-dev >/dev/null
"""
CHECKOUT = "/procmem"
# The shell stays, as PID 1: it waits for orphans, which pytest would not.
PYTEST = f"cd {CHECKOUT} && .venv/bin/python -m pytest -p no:cacheprovider"

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PIP_ROOT_USER_ACTION": "ignore",
}
MOUNTS = """
mount -t proc proc /proc
mount -t sysfs sysfs /sys 2>/dev/null
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
[ -e /dev/stdout ] || { ln -s fd/0 /dev/stdin; ln -s fd/1 /dev/stdout; ln -s fd/2 /dev/stderr; }
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
"""
MODULES = (
    "virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "crc32c-intel",
    # For tests: ends of Unix sockets, and somewhere to swap to.
    "unix_diag", "zram",
)  # fmt: skip

INIT_RAMFS = """#!/busybox sh
/busybox mkdir -p /proc /dev /root
/busybox mount -t devtmpfs devtmpfs /dev
for module in $(/busybox cat /modules); do /busybox insmod "/$module"; done
n=0
until /busybox mount -t ext4 /dev/vda /root 2>/dev/null; do
    n=$((n + 1))
    [ $n -lt 100 ] || { echo "no root disk"; /busybox poweroff -f; }
    /busybox sleep 0.1
done
/busybox cp /guest /root/sbin/procmem-init
exec /busybox switch_root /root /sbin/procmem-init
"""
INIT = f"""#!/bin/sh
export {" ".join(f"{name}={value}" for name, value in ENVIRONMENT.items())}
exec </dev/null
{MOUNTS}
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for controller in cpu memory pids; do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
ip link set lo up
echo "guest: $(uname -r), $(getconf GNU_LIBC_VERSION)"
(@COMMAND@)
echo "guest: status $?"
echo 1 >/proc/sys/kernel/sysrq
sync
echo o >/proc/sysrq-trigger
sleep 60
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("root", help="make or refresh a root directory")
    made.add_argument("suite", help="bookworm, trixie, sid ...")
    made.add_argument("directory", type=Path)
    made.add_argument("--python", default="python3", help="in the root directory (python3)")
    for name, help_ in (("test", "on this kernel"), ("boot", "under another kernel")):
        ran = commands.add_parser(name, help=f"run the tests {help_}")
        ran.add_argument("directory", type=Path)
        if name == "boot":
            ran.add_argument("suite", help="whose kernel: bullseye, bookworm, trixie, sid ...")
            ran.add_argument("--memory", default="3G")
            ran.add_argument("--cpus", type=int, default=2)
            ran.add_argument("--append", default="", help="to the kernel's command line")
        ran.add_argument("--run", help="a command of sh instead of pytest, in the checkout")
        ran.add_argument("--time-limit", type=int, default=7200, metavar="SECONDS")
    options, rest = parser.parse_known_args()
    directory = options.directory.resolve()
    if options.command == "root":
        if rest:
            parser.error(f"unknown: {' '.join(rest)}")
        make_root(options.suite, directory, options.python)
        return 0
    command = f"cd {CHECKOUT} && {options.run}" if options.run else f"{PYTEST} {shlex.join(rest)}"
    if options.command == "test":
        return inside(directory, command, options.time_limit)
    kernel, modules = fetch_kernel(options.suite, directory.parent / "kernels")
    return boot(directory, kernel, modules, command, options)


# ---- a root directory ------------------------------------------------------------


def make_root(suite: str, directory: Path, python: str) -> None:
    """Debian of one suite with what the tests need, this checkout and its .venv."""
    directory.with_name(directory.name + ".ext4").unlink(missing_ok=True)
    if not (directory / "etc/debian_version").exists():
        # Old suites are signed by keys that newer systems have dropped, and the reverse.
        run("debootstrap", "--variant=minbase", suite, directory, mirror())
    shutil.copy("/etc/resolv.conf", directory / "etc/resolv.conf")
    inside(directory, INSTALL, check=True)
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    if certificates.exists():  # a proxy's, perhaps
        shutil.copy(certificates, directory / certificates.relative_to("/"))
    copy_checkout(directory / CHECKOUT.lstrip("/"))
    inside(directory, f"cd {CHECKOUT} && make --no-print-directory PYTHON={python} .venv/.can-test",
           check=True)  # fmt: skip


def copy_checkout(place: Path) -> None:
    """The files that git knows, as they are now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    names = [
        name for name in listed.split(b"\0") if name and os.path.lexists(ROOT / os.fsdecode(name))
    ]
    place.mkdir(exist_ok=True)
    for old in sorted(place.rglob("*"), reverse=True):
        inner = old.relative_to(place)
        kept = inner.parts[0] == ".venv" or inner.suffix == ".so" or old.name in BUILT
        # What pip installed there: the version is read from it.
        kept = kept or inner.parts[0].endswith(".egg-info")
        if not kept and not old.is_dir() and os.fsencode(inner) not in set(names):
            old.unlink()
    packed = subprocess.run(
        ["tar", "-c", "--null", "-T", "-"], cwd=ROOT, input=b"\0".join(names),
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    subprocess.run(["tar", "-x", "-C", place, "--no-same-owner"], input=packed.stdout, check=True)


BUILT = {"specimen", "specimen_libc", "jail", "_native.c"}


def inside(
    directory: Path, command: str, time_limit: int | None = None, *, check: bool = False
) -> int:
    """Runs a command of sh there, in mount, PID and IPC namespaces of its own."""
    place = shlex.quote(str(directory))
    prepared = f"mount -t proc proc /proc; mount -t tmpfs -o mode=1777 tmpfs /tmp\n{command}"
    script = f"""
# So that / is a mount; what is mounted here ends with the namespace.
mount --bind {place} {place} && cd {place} || exit
mount --rbind /dev dev && mount --make-rslave dev
mount -t sysfs sysfs sys; mount --rbind /sys/fs/cgroup sys/fs/cgroup
exec chroot . /bin/sh -c {shlex.quote(prepared)}
"""
    try:
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "sh", "-c", script],
            env=ENVIRONMENT, check=check, timeout=time_limit, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        print(f"guests: stopped after {time_limit} s", file=sys.stderr)
        return 124
    return done.returncode


# ---- a kernel ------------------------------------------------------------------


def fetch_kernel(suite: str, place: Path) -> tuple[Path, Path]:
    """The newest linux-image-amd64 of a suite: the kernel, and the directory of its modules."""
    place.mkdir(exist_ok=True)
    index = lzma.decompress(fetch(f"dists/{suite}/main/binary-amd64/Packages.xz")).decode()
    packages = {}
    for paragraph in index.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.split("\n") if ": " in line[:60])
        if "Package" in fields:
            packages[fields["Package"]] = fields
    name = next(
        word.strip().split(" ")[0]
        for word in packages["linux-image-amd64"]["Depends"].split(",")
        if word.strip().startswith("linux-image-")
    )
    there = place / name
    if not there.exists():
        wanted = [name]
        # Newer packages keep modules in others, which they depend on.
        wanted += [
            word.strip().split(" ")[0]
            for word in packages[name]["Depends"].split(",")
            if word.strip().startswith(("linux-modules-", "linux-binary-"))
        ]
        with tempfile.TemporaryDirectory(dir=place) as temporary:
            for package in wanted:
                file = Path(temporary, package + ".deb")
                file.write_bytes(fetch(packages[package]["Filename"]))
                run("dpkg-deb", "-x", file, Path(temporary, "files"))
            Path(temporary, "files").rename(there)
    (kernel,) = there.glob("boot/vmlinuz-*")
    (modules,) = [
        found for pattern in ("lib/modules/*", "usr/lib/modules/*") for found in there.glob(pattern)
    ]
    return kernel, modules


def mirror() -> str:
    """The first archive that apt is set up with here."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    if not listed:
        raise SystemExit("apt-get knows no archive: run apt-get update first")
    return listed[0].rstrip("/")


def fetch(path: str) -> bytes:
    with urllib.request.urlopen(f"{mirror()}/{path}") as answer:  # noqa: S310 - apt's own archive
        return bytes(answer.read())


def write_initramfs(path: Path, modules: Path, script: str) -> None:
    """busybox, and the modules that the root disk and the tests need."""
    run("depmod", "-b", modules.parent.parent.parent, modules.name)
    files = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path_there, _, others = line.partition(":")
        files[Path(path_there).name.split(".")[0].replace("-", "_")] = path_there, others.split()
    order: list[str] = []
    for name in MODULES:
        found, needs = files.get(name.replace("-", "_"), ("", []))
        order += [one for one in (*reversed(needs), found) if one and one not in order]
    with gzip.open(path, "wb", compresslevel=1) as out:
        archive = Archive(out)
        archive.add("busybox", 0o100755, Path("/bin/busybox").read_bytes())
        archive.add("init", 0o100755, INIT_RAMFS.encode())
        plain = [Path(file).name.removesuffix(".xz").removesuffix(".zst") for file in order]
        archive.add("guest", 0o100755, script.encode())
        archive.add("modules", 0o100644, " ".join(plain).encode())
        for file, name in zip(order, plain, strict=True):
            archive.add(name, 0o100644, unpacked(modules / file))
        archive.add("TRAILER!!!", 0, b"")


def unpacked(file: Path) -> bytes:
    if file.suffix == ".xz":
        return lzma.decompress(file.read_bytes())
    if file.suffix == ".zst":
        return subprocess.run(["zstd", "-dc", file], stdout=subprocess.PIPE, check=True).stdout
    return file.read_bytes()


class Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


class Archive:
    """cpio as the kernel reads it (Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self, out: Writable) -> None:
        self._out = out
        self._inode = 0

    def add(self, name: str, mode: int, data: bytes) -> None:
        self._inode += 1
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields)
        for part in (head + name.encode() + b"\0", data):
            self._out.write(part + b"\0" * (-len(part) % 4))


def boot(
    directory: Path, kernel: Path, modules: Path, command: str, options: argparse.Namespace
) -> int:
    """Boots it with a copy of the directory as its disk; the status of the command."""
    image = image_of(directory)
    with tempfile.TemporaryDirectory(dir=directory.parent) as temporary:
        initramfs = Path(temporary, "initramfs")
        write_initramfs(initramfs, modules, INIT.replace("@COMMAND@", command))
        hardware = has_virtualization()
        machine = [
            "timeout", str(options.time_limit), "qemu-system-x86_64",
            "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
            "-m", options.memory, "-smp", str(options.cpus),
            *(["-accel", "kvm", "-cpu", "host"] if hardware else ["-cpu", "max,la57=off"]),
            "-kernel", kernel, "-initrd", initramfs, "-device", "virtio-rng-pci",
            # What the guest writes is thrown away.
            "-drive", f"file={image},if=virtio,format=raw,cache=unsafe,snapshot=on",
            "-append", f"console=ttyS0 panic=-1 quiet no_timer_check {options.append}",
        ]  # fmt: skip
        status = 125
        with subprocess.Popen(
            machine,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "TMPDIR": temporary},
        ) as guest:
            for line in guest.stdout or ():
                print(line.rstrip("\r\n"), flush=True)
                if line.startswith("guest: status "):
                    status = int(line.split()[-1])
    if status == 125:
        print("guests: the guest ended without a result", file=sys.stderr)
    return status


def image_of(directory: Path) -> Path:
    """An ext4 file system with the directory's files, made once."""
    image = directory.with_name(directory.name + ".ext4")
    if not image.exists():
        used = subprocess.run(["du", "-sm", directory], stdout=subprocess.PIPE, check=True).stdout
        size = int(used.split()[0]) * 5 // 4 + 2048
        run("mke2fs", "-q", "-t", "ext4", "-d", directory, image, f"{size}M")
    return image


def has_virtualization() -> bool:
    """Whether KVM can run a kernel that knows nothing of it: by hardware, and not by tricks."""
    flags = set(Path("/proc/cpuinfo").read_text(encoding="ascii").split())
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and bool(flags & {"vmx", "svm"})


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())

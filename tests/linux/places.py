"""Restricted container environments, prepared by shell scripts that run as root inside the namespaces of a Run."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from cohabit.reactor.processes import cgroup
from linux.run import AT_MOST_SECONDS, REPOSITORY

NO_PROC = "mount -t tmpfs none /proc"
READ_ONLY = "mount --bind / /mnt; mount -o remount,bind,ro /mnt; mount --rbind /proc /mnt/proc; cd /mnt\n"


def new_tmp(mode: str) -> str:
    """A script that mounts a tmpfs with this mode over /tmp.

    A repository below /tmp stays at its path. -n: where /run is read-only, mount(8) cannot record the mount there.
    """
    mount = f"mount -t tmpfs -o mode={mode} none /tmp\n"
    if not REPOSITORY.startswith("/tmp/"):
        return mount
    return f"mount -n --bind {REPOSITORY} /mnt\n{mount}mkdir -p {REPOSITORY}\nmount -n --move /mnt {REPOSITORY}\n"


# A tmpfs over /dev with the usual devices and an empty /dev/termination-log.
TERMINATION_LOG = """
mount -t tmpfs none /mnt
for device in null zero tty random urandom; do touch /mnt/$device; mount --bind /dev/$device /mnt/$device; done
ln -s /proc/self/fd /mnt/fd
touch /mnt/termination-log
mount --rbind /mnt /dev
"""

UNPRIVILEGED = ("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "--no-new-privs")
NO_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")

# Docker's default set. It contains neither CAP_SYS_PTRACE nor CAP_SYS_RESOURCE nor CAP_SYS_ADMIN.
_DOCKER = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod"
DOCKER_CAPABILITIES = (
    "setpriv",
    "--bounding-set=-all,+" + f"{_DOCKER},audit_write,setfcap".replace(",", ",+"),
    "--inh-caps=-all",
)

# Hides cgroup version 2, because in most containers no cgroup can be created.
NO_CGROUPS = "for mount in $(grep -- '- cgroup2' /proc/self/mountinfo | cut -d' ' -f5); do umount -l $mount; done"


def open_to_all(*paths: str) -> str:
    """Return a script that lets every user reach the interpreter, the repository and these paths.

    A parent directory that other users cannot enter (/root, pytest's) is covered by an empty one, which contains only
    these paths.
    """
    wanted: dict[str, set[str]] = {}
    prefixes = {os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix), REPOSITORY}
    for path in sorted({*prefixes, *paths}):
        closed = _closed_above(path)
        if closed:
            wanted.setdefault(closed, set()).add(path)
    lines = ["mount -t tmpfs none /mnt"]
    for number, (closed, inside) in enumerate(wanted.items()):
        spots = {path: f"/mnt/{number}-{index}" for index, path in enumerate(sorted(inside))}
        lines += [f"mkdir {spot}; mount --bind '{path}' {spot}" for path, spot in spots.items()]
        lines.append(f"mount -t tmpfs -o mode=755 none '{closed}'")
        lines += [f"mkdir -p '{path}'; mount --bind {spot} '{path}'" for path, spot in spots.items()]
    return "\n".join([*lines, 'cd "$PWD"'])


def _closed_above(path: str) -> str:
    """The topmost directory above a path that other users cannot enter, or ""."""
    parts = path.split("/")
    for length in range(2, len(parts)):
        directory = "/".join(parts[:length])
        if not os.stat(directory).st_mode & 0o001:
            return directory
    return ""


@contextlib.contextmanager
def cgroup_box() -> Iterator[str]:
    """Give the directory of a new cgroup (version 2), "" if none can be created. Its processes end with the block."""
    directory = ""
    for base, _ in cgroup.places():
        with contextlib.suppress(OSError):
            directory = os.path.join(base, f"cohabit-tests-{os.getpid()}")
            os.mkdir(directory)
            break
        directory = ""
    yield directory
    if not directory:
        return
    with contextlib.suppress(OSError), open(f"{directory}/cgroup.kill", "w", encoding="ascii") as file:
        file.write("1")
    deadline = time.monotonic() + AT_MOST_SECONDS
    while not removed(directory):
        assert time.monotonic() < deadline, f"a process is left in {directory}"


def removed(directory: str) -> bool:
    """Remove a cgroup and its empty descendants. Returns whether nothing is left."""
    for one, _, _ in os.walk(directory, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(one)
    return not os.path.exists(directory)

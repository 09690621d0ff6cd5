"""Collect facts about the current container from Linux; no other module of the doctor does.

It is fast, leaves no changes and works for every user: what cannot be read is unknown. Sources: proc(5), cgroups(7),
memory.rst of cgroup v1 and cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import secrets
import socket
import stat
import time
from itertools import pairwise
from typing import TYPE_CHECKING

from cohabit import paths
from cohabit.control import RUNTIME_DIR
from cohabit.doctor import known
from cohabit.doctor.container_checks import Facts, is_cohabit, named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HOSTS_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO: the initial pid namespace
_CGROUPS = "/sys/fs/cgroup"
_READ = 65_536
_REAP_SECONDS = 0.05


def collect(environ: Mapping[str, str]) -> Facts:
    """Return the facts about the current container."""
    own_proc = _proc_is_ours()
    process_1 = _command_line(1) if own_proc else ()
    memory = _controller_directory("memory")
    pids = _controller_directory("pids")
    supervisor = _supervisor() if own_proc else 0
    writable, tried = _places(environ)
    if supervisor and _owner(supervisor) != os.geteuid():
        writable = tried  # the supervisor's permissions matter, not ours
    return Facts(
        contained=_is_contained(environ, process_1),
        is_process_1=os.getpid() == 1,
        process_1=process_1,
        supervisor=supervisor,
        file=_file(supervisor or (1 if is_cohabit(process_1) else 0)),
        zombies=_zombies() if own_proc else 0,
        proc_is_ours=own_proc,
        can_adopt=importlib.util.find_spec("_ctypes") is not None,
        uid=os.geteuid(),
        variables=dict(environ),
        files=tuple(file for platform in known.PLATFORMS for file in platform.files if os.path.exists(file)),
        writable=writable,
        tried=tried,
        capabilities=_capabilities(),
        cgroups_are_ours=os.path.exists(f"{_CGROUPS}/cgroup.procs") and os.access(_CGROUPS, os.W_OK),
        memory_limit=_number(memory, "memory.max", "memory.limit_in_bytes"),
        memory_group=_flag(memory, "memory.oom.group"),
        oom_kill_disabled="oom_kill_disable 1" in _read(f"{memory}/memory.oom_control"),
        process_limit=_limit(pids),
        descriptors=_finite(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        shm_bytes=_shm_bytes(),
    )


# --- processes -------------------------------------------------------------------------------------------


def _is_contained(environ: Mapping[str, str], process_1: tuple[str, ...]) -> bool:
    """Whether this is a container: known files or variables, or a pid namespace that is not the initial one."""
    if any(os.path.exists(file) for platform in known.PLATFORMS for file in platform.files):
        return True
    if any(name in environ for platform in known.PLATFORMS for name in platform.variables) or "container" in environ:
        return True
    try:
        return os.readlink("/proc/self/ns/pid") != _HOSTS_PID_NAMESPACE
    except OSError:
        return named(process_1)[0] != "systemd"


def _proc_is_ours() -> bool:
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _command_line(pid: int) -> tuple[str, ...]:
    """The arguments of a process; its comm if they are empty or hidden; () if the process does not exist."""
    arguments = _read(f"/proc/{pid}/cmdline").split("\0")
    if arguments[-1] == "":
        del arguments[-1]
    name = _read(f"/proc/{pid}/comm").strip()
    return tuple(arguments) if arguments and arguments[0] else (name,) if name else ()


def _pids() -> Iterator[int]:
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    yield from (int(name) for name in names if name.isdecimal())


def _supervisor() -> int:
    """The lowest process id of a running cohabit other than this process; 0 if there is none."""
    return next((pid for pid in sorted(_pids()) if pid != os.getpid() and is_cohabit(_command_line(pid))), 0)


def _owner(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def _file(pid: int) -> str:
    """The argument of -f of a running cohabit, resolved in its working directory; "" if there is none."""
    arguments = _command_line(pid) if pid else ()
    arguments = arguments[: arguments.index("--")] if "--" in arguments else arguments
    given = [following for word, following in pairwise(arguments) if word in ("-f", "--file")]
    given += [word.partition("=")[2] for word in arguments if word.startswith("--file=")]
    if not given or given[0] == "-":
        return ""
    try:
        return os.path.join(os.readlink(f"/proc/{pid}/cwd"), given[0])
    except OSError:
        return given[0] if given[0].startswith("/") else ""


def _zombies() -> int:
    """The number of zombie children of process 1 that are not reaped within 50 ms."""
    before = set(_dead())
    if before:
        time.sleep(_REAP_SECONDS)
    return len(before.intersection(_dead())) if before else 0


def _dead() -> Iterator[int]:
    for pid in _pids():
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if fields[:2] == ["Z", "1"]:
            yield pid


def _capabilities() -> int | None:
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return None


# --- directories -----------------------------------------------------------------------------------------


def _places(environ: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(usable locations of cohabit's runtime directory, all that it tries), in the order of reactor/rundir.py."""
    chosen = environ.get(RUNTIME_DIR, "")
    if chosen:
        tried: tuple[str, ...] = (chosen,)
    else:
        tried = ("/run/cohabit", "/var/run/cohabit", "/tmp", "/dev/shm")  # noqa: S108 - only tested
    return tuple(place for place in tried if _takes_socket(place)), tried


def _takes_socket(place: str) -> bool:
    """Whether a directory with a socket can be created there; both are removed again."""
    base = place
    while not os.path.isdir(base) and base not in ("/", ""):
        base = os.path.dirname(base)
    directory = f"{base}/cohabit-doctor-{secrets.token_hex(8)}"
    try:
        with paths.locate(directory) as found:
            if not found.keeps:
                return False
        os.mkdir(directory, 0o700)
    except OSError:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as trial:
            trial.bind(f"{directory}/s")
        os.unlink(f"{directory}/s")
    except OSError:
        return False
    finally:
        os.rmdir(directory)
    return True


def _shm_bytes() -> int | None:
    try:
        if not stat.S_ISDIR(os.stat("/dev/shm").st_mode):  # noqa: S108 - not used as a temporary directory
            return 0
        if not os.path.ismount("/dev/shm"):  # noqa: S108 - same
            return None  # a directory on the container's disk, without a limit of its own
        size = os.statvfs("/dev/shm")  # noqa: S108 - same
    except FileNotFoundError:
        return 0
    except OSError:
        return None
    return (size.f_blocks * size.f_frsize) or None


# --- cgroups ---------------------------------------------------------------------------------------------


def _controller_directory(controller: str) -> str:
    """The directory of a controller's files for this container; "" if there is none."""
    for line in _read("/proc/self/cgroup").splitlines():
        _, names, path = (*line.split(":", 2), "", "")[:3]
        if controller in names.split(","):
            return _first(f"{_CGROUPS}/{controller}", path)
    if os.path.exists(f"{_CGROUPS}/cgroup.controllers"):
        own_proc = _read("/proc/self/cgroup").partition("0::")[2].splitlines()[:1]
        return _first(_CGROUPS, own_proc[0] if own_proc else "")
    return ""


def _first(mount: str, path: str) -> str:
    """The directory of our cgroup; without a cgroup namespace the path is the host's, and our cgroup is the mount."""
    below = f"{mount}{path}".rstrip("/")
    return below if ".." not in path and os.path.isdir(below) else mount


def _number(directory: str, *names: str) -> int | None:
    """The number in the first file that exists; "max" is 1 << 62."""
    for name in names:
        text = _read(f"{directory}/{name}").strip() if directory else ""
        if text:
            return (1 << 62) if text == "max" else int(text) if text.isdecimal() else None
    return None


def _limit(directory: str) -> int | None:
    found = _number(directory, "pids.max")
    return None if found is None or found == 1 << 62 else found


def _flag(directory: str, name: str) -> bool | None:
    found = _number(directory, name)
    return None if found is None else bool(found)


def _finite(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY else limit


def _read(path: str) -> str:
    """The first 64 KiB of a file; "" if it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(_READ).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""

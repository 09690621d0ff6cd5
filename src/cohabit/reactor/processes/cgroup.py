"""A cgroup for each process tree, if the kernel lets us create cgroups. A process cannot leave its tree then.

We create one directory in our own cgroup (so every limit of the container still holds), with one directory per tree.
A child enters its cgroup between fork and exec: it writes "0" into `cgroup.procs`. Its descendants start there, and one
write to `cgroup.kill` (Linux 5.14) kills all of them at once. No controller is enabled, so the rule against processes
in inner cgroups does not apply.

Most containers see their cgroup read-only, or not at all. Then there are no cgroups, no warning is logged, and the
other evidence of tree.py is used alone. It is used in addition if there are cgroups, because a service with enough
rights can move its processes elsewhere (a Docker engine does). Membership does not show whether a process has ended:
some kernels list a process for a moment after it was reaped. So this module does not answer whether a tree is still
running. Sources: cgroups(7), the kernel's cgroup-v2.rst, proc_pid_mountinfo(5).
"""

from __future__ import annotations

from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

_TRIES = 10  # for an unused name: others in this cgroup may be in other PID namespaces and have our pid
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class Cgroups:
    """Our directory, created when the first tree needs it, and the cgroups in it.

    directory: its mounted path, "/sys/fs/cgroup/cohabit-1-123"; None before the first attempt, "" if it cannot be
    created. path: its name in /proc/PID/cgroup.
    """

    def __init__(self) -> None:
        self.directory: str | None = None
        self.path = ""
        self._made: dict[str, str] = {}  # name of a directory -> the key of its tree

    def _make(self) -> str:
        """Create our directory if a child of ours can enter it; returns its path or ""."""
        ours = proc.read_process(os.getpid()) if proc.is_ours() else None
        if ours is None:
            return ""
        for base, path in places():
            for number in range(_TRIES):
                name = f"cohabit-{ours.pid}-{ours.start}" + (f"-{number}" if number else "")
                directory = f"{base}/{name}"
                try:
                    os.mkdir(directory, 0o755)
                except FileExistsError:
                    continue
                except OSError:
                    break
                if _can_be_entered(base, directory):
                    self.path = f"{path}/{name}"
                    return directory
                _remove(directory)
                break
        return ""

    # --- for re-execution ----------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for from_plain."""
        return {"directory": self.directory, "path": self.path, "made": self._made}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Restore the cgroups that to_plain returned."""
        cgroups = cls()
        cgroups.directory, cgroups.path, cgroups._made = plain["directory"], plain["path"], plain["made"]
        return cgroups

    # --- members -------------------------------------------------------------------------------------

    def entrance(self, key: str) -> str:
        """Return the file into which a child of this tree writes "0"; "" if there are no cgroups.

        The child also creates the directory: that takes 0.4 ms, and children do it in parallel.
        """
        if self.directory is None:
            self.directory = self._make()
        if not self.directory:
            return ""
        name = encode(key)
        self._made[name] = key
        return f"{self.directory}/{name}/cgroup.procs"

    def owner(self, pid: int) -> str | None:
        """Return the tree whose cgroup, or a cgroup below it, contains a process; None if no cgroup of ours does."""
        if not self._made:
            return None
        return self._made.get(proc.cgroup(pid).removeprefix(self.path + "/").partition("/")[0])

    def members(self, key: str) -> list[int]:
        """Return the processes in the tree's cgroup and below, except ourselves and those that we cannot see."""
        if encode(key) not in self._made:
            return []
        found: dict[int, None] = {}  # a process may move between two reads
        for directory in _with_all_below(f"{self.directory}/{encode(key)}"):
            found.update((int(pid), None) for pid in proc.read(f"{directory}/cgroup.procs").split())
        found.pop(0, None)  # a process of a PID namespace that is not below ours
        found.pop(os.getpid(), None)
        return list(found)

    def freeze(self, key: str, *, frozen: bool) -> bool:
        """Stop the processes in the tree's cgroup and below, or let them continue (Linux 5.2)."""
        return self._write_control(key, "cgroup.freeze", b"1" if frozen else b"0")

    def kill(self, key: str) -> bool:
        """Send SIGKILL to the tree's cgroup and below, atomically; False without a cgroup or before Linux 5.14."""
        return self._write_control(key, "cgroup.kill", b"1")

    def _write_control(self, key: str, file: str, value: bytes) -> bool:
        directory = f"/{encode(key)}"
        # A process that may write there can have moved us into its own cgroup; then this would apply to us too.
        if directory[1:] not in self._made or f"{proc.cgroup('self')}/".startswith(f"{self.path}{directory}/"):
            return False
        return _write(f"{self.directory}{directory}/{file}", value)

    # --- removing ------------------------------------------------------------------------------------

    def remove(self, key: str) -> None:
        """Remove the cgroup of a tree that has ended, with everything below it. The next run gets a new one."""
        if encode(key) in self._made and _remove(f"{self.directory}/{encode(key)}"):
            del self._made[encode(key)]

    def close(self) -> None:
        """Remove everything. A cgroup that is still in use stays, and ends with the container's own cgroup."""
        if self.directory and _remove(self.directory):
            self.directory = None
        self._made.clear()


def encode(key: str) -> str:
    """Encode a key as a directory name, or for an environment variable: letters, digits, _ and - stay, the rest is %XX.

    The dot is encoded too: all names of the kernel's own files contain a dot, so a directory never collides with one.
    """
    raw = key.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in raw)


def decode(name: str) -> str | None:
    """Return the key that `encode` was given; None if `encode` did not produce this name."""
    first, *others = name.split("%")
    try:
        raw = first.encode("ascii") + b"".join(bytes.fromhex(part[:2]) + part[2:].encode("ascii") for part in others)
    except ValueError:  # UnicodeError is one
        return None
    key = raw.decode("utf-8", "surrogateescape")
    return key if encode(key) == name else None


def delegated() -> bool:
    """Whether the manager of our cgroup lets us divide it (systemd's Delegate=).

    In a container, process 1 may. On a host another manager owns the tree, and must not find cgroups in it that it did
    not create (systemd, "The New Control Group Interfaces"). It permits them with an extended attribute of the
    directory.
    """
    for base, _ in places():
        for name in ("user.delegate", "trusted.delegate"):
            try:
                if os.getxattr(base, name) == b"1":
                    return True
            except OSError:
                continue
    return False


def places(controller: str = "") -> list[tuple[str, str]]:
    """Return where our own cgroup is mounted: (directory, path without a trailing slash), the newest mount first.

    Without a controller, the cgroup of version 2; with a controller, its cgroup of version 1.
    """
    ours = proc.cgroup("self", controller)
    found = []
    for line in proc.read("/proc/self/mountinfo").decode("utf-8", "surrogateescape").splitlines():
        fields, _, kind = line.partition(" - ")
        if not _shows(kind, controller) or not ours:
            continue
        root, point = (proc.unescape(field) for field in fields.split(" ")[3:5])
        root = root.rstrip("/")
        if f"{ours}/".startswith(root + "/") and "/.." not in ours:
            found.append((point + ours[len(root) :].rstrip("/"), ours.rstrip("/")))
    return found[::-1]


def _shows(kind: str, controller: str) -> bool:
    """Whether a mount is the hierarchy. kind: type, source and options, the last fields of its line in mountinfo."""
    fields = kind.split(" ")
    return fields[0] == "cgroup" and controller in fields[-1].split(",") if controller else fields[0] == "cgroup2"


def _can_be_entered(base: str, directory: str) -> bool:
    """Whether a process can move there from `base`: both must be writable, and the cgroup must not be threaded."""
    return proc.read(f"{directory}/cgroup.type").strip() == b"domain" and all(
        os.access(f"{place}/cgroup.procs", os.W_OK) for place in (base, directory)
    )


def _with_all_below(directory: str) -> list[str]:
    """Return a directory and all directories below it, parents first."""
    found = [directory]
    for one in found:
        try:
            with os.scandir(one) as entries:
                found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            pass  # gone meanwhile
    return found


def _remove(directory: str) -> bool:
    """Remove a directory and those below it that contain no process; False if it still exists."""
    for one in reversed(_with_all_below(directory)):
        try:
            os.rmdir(one)
        except OSError:
            continue
    return not os.access(directory, os.F_OK)


def _write(path: str, data: bytes) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, data)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True

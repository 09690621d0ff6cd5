"""A cgroup for each process tree, where the kernel lets us make some: then nobody can leave his family.

Ours are one directory, made inside the cgroup in which we are ourselves (so every limit of the container still
holds), with one directory per tree. A child enters its own between fork and exec by writing "0" into
`cgroup.procs`; its descendants are born there, and one write to `cgroup.kill` (Linux 5.14) ends them all at once.
No controller is enabled, so the rule against processes in inner cgroups does not concern us.

Containers usually see their cgroup read-only, or see none; then there are no cgroups, without a word, and
tree.py's rules of /proc do alone. Where they can be made those rules go on to hold as well, since a service with
enough rights can move its processes elsewhere (a Docker engine does). A cgroup says who is where, but not
reliably who has just died: some kernels list a process for a moment after it was waited for. So whether a tree
still lives is not asked here. Sources: cgroups(7), the kernel's cgroup-v2.rst, proc_pid_mountinfo(5).
"""

from __future__ import annotations

from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

_TRIES = 10  # for a name that nobody has: others in this cgroup may be in PID namespaces of their own
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class Cgroups:
    """Our directory, made when the first tree needs one, and what is in it.

    directory: where it is mounted, "/sys/fs/cgroup/cohabit-1-123"; path: what /proc/PID/cgroup calls it. None: not
    tried yet; "": none can be made.
    """

    def __init__(self) -> None:
        self.directory: str | None = None
        self.path = ""
        self._made: dict[str, str] = {}  # name of a directory -> the key of its tree

    def _make(self) -> str:
        """Our directory, where one can be made and a child of ours could enter it; else ""."""
        ours = proc.look(os.getpid()) if proc.is_ours() else None
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
        """What the next life has to know."""
        return {"directory": self.directory, "path": self.path, "made": self._made}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """The same cgroups again."""
        again = cls()
        again.directory, again.path, again._made = plain["directory"], plain["path"], plain["made"]
        return again

    # --- who is where --------------------------------------------------------------------------------

    def entrance(self, key: str) -> str:
        """The file into which a child of this tree writes "0"; "" if there are no cgroups.

        The child makes the directory, too: that takes 0.4 ms, and children have them side by side.
        """
        if self.directory is None:
            self.directory = self._make()
        if not self.directory:
            return ""
        name = encode(key)
        self._made[name] = key
        return f"{self.directory}/{name}/cgroup.procs"

    def owner(self, pid: int) -> str | None:
        """The tree in whose cgroup, or in one below it, a process is; None if in none of ours."""
        if not self._made:
            return None
        return self._made.get(proc.cgroup(pid).removeprefix(self.path + "/").partition("/")[0])

    def members(self, key: str) -> list[int]:
        """Everybody in the tree's cgroup and in those that it made below. Never ourselves, nor what we cannot see."""
        if encode(key) not in self._made:
            return []
        found: dict[int, None] = {}  # a process may move while we look
        for directory in _with_all_below(f"{self.directory}/{encode(key)}"):
            found.update((int(word), None) for word in proc.read(f"{directory}/cgroup.procs").split())
        found.pop(0, None)  # of a PID namespace that is not below ours
        found.pop(os.getpid(), None)
        return list(found)

    def freeze(self, key: str, *, frozen: bool) -> bool:
        """Stop everybody in the tree's cgroup and below, or let them go on (Linux 5.2)."""
        return self._order(key, "cgroup.freeze", b"1" if frozen else b"0")

    def kill(self, key: str) -> bool:
        """SIGKILL to everybody in the tree's cgroup and below, at once; False if it has none, or the kernel cannot."""
        return self._order(key, "cgroup.kill", b"1")

    def _order(self, key: str, file: str, word: bytes) -> bool:
        directory = f"/{encode(key)}"
        # Who may write there can have put us into its own cgroup; the order would hold for us too.
        if directory[1:] not in self._made or f"{proc.cgroup('self')}/".startswith(f"{self.path}{directory}/"):
            return False
        return _write(f"{self.directory}{directory}/{file}", word)

    # --- taking away ---------------------------------------------------------------------------------

    def remove(self, key: str) -> None:
        """The tree is gone: so is its cgroup, with what it changed there and made below; its next life begins anew."""
        if encode(key) in self._made and _remove(f"{self.directory}/{encode(key)}"):
            del self._made[encode(key)]

    def close(self) -> None:
        """Take everything away; what is still in use stays, and goes with the container's own cgroup."""
        if self.directory and _remove(self.directory):
            self.directory = None
        self._made.clear()


def encode(key: str) -> str:
    """A key as the name of a directory, or as a word of an environment: what is not a letter, a digit, _ or - is %XX.

    The dot too: so it never meets a name of the kernel's own, all of which have one.
    """
    raw = key.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in raw)


def decode(name: str) -> str | None:
    """What `encode` was given, None if it was nothing of `encode`'s."""
    first, *others = name.split("%")
    try:
        raw = first.encode("ascii") + b"".join(bytes.fromhex(part[:2]) + part[2:].encode("ascii") for part in others)
    except ValueError:  # UnicodeError is one
        return None
    key = raw.decode("utf-8", "surrogateescape")
    return key if encode(key) == name else None


def delegated() -> bool:
    """Whether whoever manages the cgroup that we are in lets us divide it (systemd's Delegate=).

    In a container process 1 may. On a host the tree has another master, who must not find things in it that he did not
    make (systemd, "The New Control Group Interfaces"); his word is an extended attribute of the directory.
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
    """Where our own cgroup is mounted: (directory, path without a slash at its end), the newest first.

    The one of version 2; or, with a controller, the one of version 1 that this controller is in.
    """
    ours = proc.cgroup("self", controller)
    found = []
    for line in proc.read("/proc/self/mountinfo").decode("utf-8", "surrogateescape").splitlines():
        fields, _, kind = line.partition(" - ")
        if not _shows(kind, controller) or not ours:
            continue
        root, point = (_unescape(word) for word in fields.split(" ")[3:5])
        root = root.rstrip("/")
        if f"{ours}/".startswith(root + "/") and "/.." not in ours:
            found.append((point + ours[len(root) :].rstrip("/"), ours.rstrip("/")))
    return found[::-1]


def _shows(kind: str, controller: str) -> bool:
    """Whether a mount is the hierarchy. kind: type, source and options, the end of its line in mountinfo."""
    words = kind.split(" ")
    return words[0] == "cgroup" and controller in words[-1].split(",") if controller else words[0] == "cgroup2"


def _unescape(word: str) -> str:
    r"""A word of mountinfo, where space, tab, newline and backslash are \ooo."""
    for character in " \t\n\\":
        word = word.replace(f"\\{ord(character):03o}", character)
    return word


def _can_be_entered(base: str, directory: str) -> bool:
    """Whether a process can move there from `base`: that takes the right to write in both, and no cgroup of threads."""
    return proc.read(f"{directory}/cgroup.type").strip() == b"domain" and all(
        os.access(f"{place}/cgroup.procs", os.W_OK) for place in (base, directory)
    )


def _with_all_below(directory: str) -> list[str]:
    """A directory and those in it, each before what is below it."""
    found = [directory]
    for one in found:
        try:
            with os.scandir(one) as entries:
                found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            pass  # gone meanwhile
    return found


def _remove(directory: str) -> bool:
    """Take away a directory with all below, as far as nobody is there; False if somebody is."""
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

"""Sockets that we open and hand to services (systemd.socket(5)), and keep while services come and go.

They are open before anything starts, so a client may connect before the service is there, and waits in the
queue of the kernel while it is started anew: nobody is refused. Rules are systemd's: address reuse for
streams, a stale socket file gives way, missing folders of one are made, its mode is 0666 unless written. A
file that another process listens on, or that is no socket, stays. Replicas share a service's sockets.

A Plan is prepared as a whole: if one address is not to be had, nothing has changed.
"""

from __future__ import annotations

import _socket
import _stat as stat

from cohabit.plan.record import from_plain, to_plain
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from cohabit.plan.model import Plan, Socket

    Address: TypeAlias = tuple[str, str, str, int]

_FAMILIES = {"inet": _socket.AF_INET, "inet6": _socket.AF_INET6, "unix": _socket.AF_UNIX}
_KINDS = {"stream": _socket.SOCK_STREAM, "dgram": _socket.SOCK_DGRAM}
_MODE = 0o666  # systemd's SocketMode=
_FOLDER_MODE = 0o755
_EPERM, _EACCES, _EEXIST, _EADDRINUSE, _EADDRNOTAVAIL, _EAFNOSUPPORT = 1, 13, 17, 98, 99, 97
_WHY = {
    _EADDRINUSE: "somebody listens there already (stop that, or choose another address)",
    _EADDRNOTAVAIL: "no interface here has this address (0.0.0.0 stands for all)",
    _EAFNOSUPPORT: "there is no such network here (is IPv6 switched off?)",
}
_FIRST_FREE_PORT = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


class _Open:
    """An open socket. file: device and inode of its file, to know it again; () without one."""

    __slots__ = ("described", "file", "socket")

    def __init__(self, described: Socket, socket: _socket.socket, file: tuple[int, ...]) -> None:
        self.described = described
        self.socket = socket
        self.file = file


class Sockets:
    """All sockets of the Plan, by their addresses."""

    def __init__(self) -> None:
        self._open: dict[Address, _Open] = {}
        self._of: dict[str, list[tuple[Address, str]]] = {}

    def prepare(self, plan: Plan) -> list[str]:
        """Open what is new, keep what is there, close what is gone; problems, and then all is as before."""
        wanted = {_address(one): one for service in plan.services.values() for one in service.sockets}
        owners = {_address(one): each.service or name for name, each in plan.services.items() for one in each.sockets}
        opened: dict[Address, _Open] = {}
        problems: list[str] = []
        for address, described in wanted.items():
            if address not in self._open:
                try:
                    opened[address] = _listen(described)
                except OSError as error:
                    where = _in_words(described)
                    problems.append(f"{owners[address]}: cannot listen on {where}: {_why(described, error)}")
        if problems:
            for one in opened.values():
                _close(one)
            return problems
        for address in self._open.keys() - wanted.keys():
            _close(self._open.pop(address))
        for address, one in self._open.items():
            _change(one, wanted[address])
        self._open.update(opened)
        self._of = {
            name: [(_address(one), one.name) for one in service.sockets] for name, service in plan.services.items()
        }
        return []

    def descriptors(self, service: str) -> tuple[int, ...]:
        """The sockets of a service (or one of its replicas), as they are numbered here."""
        return tuple(self._open[address].socket.fileno() for address, _ in self._of.get(service, ()))

    def names(self, service: str) -> tuple[str, ...]:
        """What LISTEN_FDNAMES says of them."""
        return tuple(name for _, name in self._of.get(service, ()))

    def close(self) -> None:
        """At the very end: the files go, too."""
        for one in self._open.values():
            _close(one)
        self._open.clear()
        self._of.clear()

    # --- crossing a re-execution ---------------------------------------------------------------------

    def inheritable(self) -> list[int]:
        """What must stay open across the exec."""
        return [one.socket.fileno() for one in self._open.values()]

    def to_plain(self) -> dict[str, Any]:
        """Everything, with the descriptors' numbers."""
        sockets = [(to_plain(one.described), one.socket.fileno(), one.file) for one in self._open.values()]
        return {"sockets": sockets, "of": self._of}

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called; the descriptors are still open under their numbers."""
        for described, fd, file in plain["sockets"]:
            one = from_plain(described)
            os.set_inheritable(fd, False)
            socket = _socket.socket(_FAMILIES[one.family], _KINDS[one.kind], 0, fd)
            self._open[_address(one)] = _Open(one, socket, file)
        self._of = plain["of"]


def _address(one: Socket) -> Address:
    """What makes a socket the same; how long its queue is and whose its file may change."""
    return one.family, one.kind, one.address, one.port


def _in_words(one: Socket) -> str:
    """An address as people write it."""
    kind = "" if one.kind == "stream" else "unixgram:" if one.family == "unix" else "udp:"
    if one.family == "unix":
        return f"{kind}{one.address}"
    return f"{kind}[{one.address}]:{one.port}" if one.family == "inet6" else f"{kind}{one.address}:{one.port}"


def _why(one: Socket, error: OSError) -> str:
    if error.errno in (_EACCES, _EPERM) and one.family != "unix":
        hint = f"ports below {_first_free_port()} need root or CAP_NET_BIND_SERVICE"
        return f"permission denied ({hint}: choose a higher one, or set the sysctl net.ipv4.ip_unprivileged_port_start)"
    if error.errno == _EPERM:
        return "its file cannot be given to that user or group (this needs root: CAP_CHOWN)"
    if error.errno == _EACCES:
        return f"permission denied: {error.filename or 'its folder'} is not ours to write to (choose another path)"
    return _WHY.get(error.errno or 0) or str(error.strerror or error)


def _first_free_port() -> int:
    """The first port that everybody may listen on."""
    try:
        with open(_FIRST_FREE_PORT, "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 1024


def _listen(one: Socket) -> _Open:
    """Open a socket; raises OSError."""
    socket = _socket.socket(_FAMILIES[one.family], _KINDS[one.kind])
    file: tuple[int, ...] = ()
    try:
        if one.family == "unix":
            file = _bind_file(socket, one)
        else:
            if one.kind == "stream":
                socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            socket.bind((one.address, one.port))
        if one.kind == "stream":
            socket.listen(one.backlog)
    except OSError:
        _close(_Open(one, socket, file))
        raise
    return _Open(one, socket, file)


def _bind_file(socket: _socket.socket, one: Socket) -> tuple[int, ...]:
    """Bind to a path, or to a name without a file (@name, unix(7)); returns device and inode."""
    path = one.address
    if path.startswith("@"):
        socket.bind("\0" + path[1:])
        return ()
    _make_folders(path)
    _remove_stale(path, one)
    before = os.umask(0o777)  # nobody comes in before its owner and mode are right
    try:
        socket.bind(path)
    finally:
        os.umask(before)
    found = os.stat(path)
    file = found.st_dev, found.st_ino
    try:
        _set_owner_and_mode(one)
    except OSError:
        _remove(path, file)
        raise
    return file


def _make_folders(path: str) -> None:
    """Every folder above a path that is not there."""
    parts = path.split("/")
    for depth in range(2, len(parts)):
        folder = "/".join(parts[:depth])
        try:
            os.stat(folder)
        except FileNotFoundError:
            os.mkdir(folder, _FOLDER_MODE)


def _remove_stale(path: str, one: Socket) -> None:
    """A socket that nobody listens on is left over from a former life. Raises OSError for anything else."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(_EEXIST, "there is a file, and it is no socket (remove it, or choose another path)")
    asking = _socket.socket(_socket.AF_UNIX, _KINDS[one.kind])
    try:
        asking.setblocking(False)
        asking.connect(path)
    except ConnectionRefusedError:
        os.unlink(path)
    except OSError:
        return  # somebody is there, or it is of another kind: bind will say that it is in use
    finally:
        asking.close()


def _set_owner_and_mode(one: Socket) -> None:
    if one.uid is not None or one.gid is not None:
        os.chown(one.address, -1 if one.uid is None else one.uid, -1 if one.gid is None else one.gid)
    os.chmod(one.address, _MODE if one.mode is None else one.mode)


def _change(one: _Open, wanted: Socket) -> None:
    """What a reload may change of a socket that stays."""
    if wanted.kind == "stream" and wanted.backlog != one.described.backlog:
        one.socket.listen(wanted.backlog)
    if one.file and _owner(wanted) != _owner(one.described):
        _set_owner_and_mode(wanted)
    one.described = wanted


def _owner(one: Socket) -> tuple[int | None, ...]:
    return one.mode, one.uid, one.gid


def _close(one: _Open) -> None:
    one.socket.close()
    if one.file:
        _remove(one.described.address, one.file)


def _remove(path: str, file: tuple[int, ...]) -> None:
    """Remove a socket's file, if it still is the one that we made."""
    try:
        found = os.lstat(path)
        if (found.st_dev, found.st_ino) == tuple(file):
            os.unlink(path)
    except OSError:
        return

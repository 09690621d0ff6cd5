"""Sockets that we open and pass to services (systemd.socket(5)), and keep open while services restart.

They are open before anything starts. So a client can connect before the service is running, and waits in the kernel's
queue during a restart: no connection is refused. The rules are systemd's: address reuse for streams, a stale socket
file is replaced, missing directories are created, the default mode is 0666. A file that another process listens on,
or that is not a socket, stays. Replicas share a service's sockets.

The directory of a socket's file often belongs to the service, which can replace the file by a link or another file at
any moment. So the file gets its mode at its creation, and its owner through a descriptor of it, after a check that it
is our file (paths.py); no link is followed. Clients see the caller of listen(2) as their peer (SO_PEERCRED). A child
with the service's user makes that call. Otherwise a service could offer its clients a socket that seems to be
process 1's.

A Plan is prepared as a whole: if one address is not available, nothing changes.

A socket of the family "pair" listens nowhere. Over its other end, which stays here, the service gets what is passed on
to it: messages with descriptors. They wait in the kernel while the service is down.
"""

from __future__ import annotations

import _socket
import _stat as stat
import errno
import sys

from cohabit import paths
from cohabit.plan.record import from_plain, to_plain
from cohabit.reactor.linux import os
from cohabit.reactor.processes import one_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from cohabit.paths import Place
    from cohabit.plan.model import Credentials, Plan, Service, Socket

    Address: TypeAlias = tuple[str, str, str, int]

_PAIR = "pair"
_FAMILIES = {"inet": _socket.AF_INET, "inet6": _socket.AF_INET6, "unix": _socket.AF_UNIX, _PAIR: _socket.AF_UNIX}
_KINDS = {"stream": _socket.SOCK_STREAM, "dgram": _socket.SOCK_DGRAM, "seqpacket": _socket.SOCK_SEQPACKET}
_MODE = 0o666  # systemd's SocketMode=
_FOLDER_MODE = 0o755
_WHY = {
    errno.EADDRINUSE: "the address is in use (stop the process that uses it, or choose another address)",
    errno.EADDRNOTAVAIL: "no interface has this address (use 0.0.0.0 for all interfaces)",
    errno.EAFNOSUPPORT: "this address family is not available (check whether IPv6 is disabled)",
}
_REPLACED = "its file was replaced (remove the file, and restart the container)"
_FIRST_FREE_PORT = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


class _OpenSocket:
    """An open socket. file: device and inode of its file, to recognise it; () without a file.

    listener: uid of the user with which listen(2) was called; -1 if that is not known.
    other: our end of a pair, None for any other socket.
    """

    __slots__ = ("described", "file", "listener", "other", "socket")

    def __init__(self, described: Socket, socket: _socket.socket, file: tuple[int, ...]) -> None:
        self.described = described
        self.socket = socket
        self.file = file
        self.listener = -1
        self.other: _socket.socket | None = None


class Sockets:
    """All sockets of the Plan, by their addresses."""

    def __init__(self) -> None:
        self._open: dict[Address, _OpenSocket] = {}
        self._of: dict[str, list[tuple[Address, str]]] = {}

    def prepare(self, plan: Plan) -> list[str]:
        """Open new sockets, keep existing ones, close the others. Returns problems: then nothing has changed."""
        wanted = {_address(one): one for service in plan.services.values() for one in service.sockets}
        owners = {_address(one): each for each in plan.services.values() for one in each.sockets}
        opened: dict[Address, _OpenSocket] = {}
        changed: list[tuple[_OpenSocket, Socket]] = []
        problems: list[str] = []
        for address, described in wanted.items():
            owner = owners[address]
            try:
                if address in self._open:
                    one = self._open[address]
                    changed.append((one, one.described))
                    _change(one, described, owner.user)
                else:
                    opened[address] = _listen(described, owner.user)
            except OSError as error:
                problems.append(_problem(owner, described, error, kept=address in self._open))
        if problems:
            for one in opened.values():
                _close(one)
            for one, before in changed:
                _change_back(one, before)
            return problems
        for address in self._open.keys() - wanted.keys():
            _close(self._open.pop(address))
        self._open.update(opened)
        self._of = {
            name: [(_address(one), one.name) for one in service.sockets] for name, service in plan.services.items()
        }
        return []

    def descriptors(self, service: str) -> tuple[int, ...]:
        """Return the sockets of a service (or of one of its replicas), as our descriptors."""
        return tuple(self._open[address].socket.fileno() for address, _ in self._of.get(service, ()))

    def names(self, service: str) -> tuple[str, ...]:
        """Return the names of a service's sockets, for LISTEN_FDNAMES."""
        return tuple(name for _, name in self._of.get(service, ()))

    def pass_on(self, service: str, data: bytes, fds: tuple[int, ...]) -> None:
        """Send a message with descriptors to a service with a pair. Raises OSError: EAGAIN if it reads too slowly."""
        for address, _ in self._of.get(service, ()):
            other = self._open[address].other
            if other is not None:
                ancillary = (
                    _socket.SOL_SOCKET,
                    _socket.SCM_RIGHTS,
                    b"".join(fd.to_bytes(4, sys.byteorder) for fd in fds),
                )
                other.sendmsg([data], [ancillary], _socket.MSG_NOSIGNAL)
                return
        raise OSError(errno.ENOTCONN, f"{service} is not there")

    def close(self) -> None:
        """At the very end: close all sockets and remove their files."""
        for one in self._open.values():
            _close(one)
        self._open.clear()
        self._of.clear()

    # --- re-execution --------------------------------------------------------------------------------

    def inheritable(self) -> list[int]:
        """Return the descriptors that must stay open across the exec."""
        ours = [one.other.fileno() for one in self._open.values() if one.other is not None]
        return [one.socket.fileno() for one in self._open.values()] + ours

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for restore, with the descriptors' numbers."""
        sockets = [
            (to_plain(one.described), one.socket.fileno(), one.file, one.other.fileno() if one.other else -1)
            for one in self._open.values()
        ]
        return {"sockets": sockets, "of": self._of}

    def restore(self, plain: dict[str, Any]) -> None:
        """Restore what to_plain returned. The descriptors are still open under their numbers."""
        for described, fd, file, other in plain["sockets"]:
            one = from_plain(described)
            os.set_inheritable(fd, False)
            socket = _socket.socket(_FAMILIES[one.family], _KINDS[one.kind], 0, fd)
            opened = self._open[_address(one)] = _OpenSocket(one, socket, file)
            if other >= 0:
                os.set_inheritable(other, False)
                opened.other = _socket.socket(_FAMILIES[one.family], _KINDS[one.kind], 0, other)
        self._of = plain["of"]


def _address(one: Socket) -> Address:
    """The identity of a socket. The length of its queue and the owner of its file may change."""
    return one.family, one.kind, one.address, one.port


def _describe(one: Socket) -> str:
    """Return an address as it is written in the file."""
    kind = "" if one.kind == "stream" else "unixgram:" if one.family == "unix" else "udp:"
    if one.family == "unix":
        return f"{kind}{one.address}"
    return f"{kind}[{one.address}]:{one.port}" if one.family == "inet6" else f"{kind}{one.address}:{one.port}"


def _problem(owner: Service, one: Socket, error: OSError, *, kept: bool) -> str:
    what = f"cannot change {_describe(one)}" if kept else f"cannot listen on {_describe(one)}"
    return f"{owner.service or owner.name}: {what}: {_why(one, error)}"


def _why(one: Socket, error: OSError) -> str:
    if error.errno and error.strerror != os.strerror(error.errno):
        return str(error.strerror or error)
    if error.errno in (errno.EACCES, errno.EPERM) and one.family != "unix":
        hint = f"ports below {_first_free_port()} need root or CAP_NET_BIND_SERVICE"
        return f"permission denied ({hint}: choose a higher one, or set the sysctl net.ipv4.ip_unprivileged_port_start)"
    if error.errno == errno.EPERM:
        return "cannot change the owner of its file (this needs root: CAP_CHOWN)"
    if error.errno == errno.EACCES:
        return f"permission denied: {error.filename or 'its directory'} is not writable for us (choose another path)"
    return _WHY.get(error.errno or 0) or str(error.strerror or error)


def _first_free_port() -> int:
    """Return the first port that needs no privileges."""
    try:
        with open(_FIRST_FREE_PORT, "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 1024


def _listen(one: Socket, user: Credentials | None) -> _OpenSocket:
    """Open a socket. Raises OSError."""
    if one.family == _PAIR:
        return _open_pair(one)
    opened = _OpenSocket(one, _socket.socket(_FAMILIES[one.family], _KINDS[one.kind]), ())
    socket = opened.socket
    try:
        if one.family == "unix":
            opened.file = _bind_file(socket, one)
        else:
            if one.kind == "stream":
                socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            socket.bind((one.address, one.port))
        _take_connections(opened, one, user)
    except OSError:
        _close(opened)
        raise
    return opened


def _open_pair(one: Socket) -> _OpenSocket:
    ours, theirs = _socket.socketpair(_FAMILIES[one.family], _KINDS[one.kind])
    opened = _OpenSocket(one, theirs, ())
    opened.other = ours
    ours.setblocking(False)
    return opened


def _take_connections(opened: _OpenSocket, one: Socket, user: Credentials | None) -> None:
    """Call listen(2); for a unix socket, with the service's user and not as process 1. Raises OSError."""
    if one.kind != "stream":
        return
    if one.family == "unix":
        one_call.in_child(lambda: opened.socket.listen(one.backlog), user)
    else:
        opened.socket.listen(one.backlog)
    opened.listener = _uid(user)


def _uid(user: Credentials | None) -> int:
    return user.uid if user is not None else os.geteuid()


def _bind_file(socket: _socket.socket, one: Socket) -> tuple[int, ...]:
    """Bind to a path, or to a name without a file (@name, unix(7)); returns device and inode."""
    path = one.address
    if path.startswith("@"):
        socket.bind("\0" + path[1:])
        return ()
    with paths.locate(path, directory_mode=_FOLDER_MODE, follow=False) as place:
        _remove_stale(place, one)
        before = os.umask(~_mode(one) & 0o777)
        try:
            socket.bind(path if place.fixed else place.kernel_path())
        finally:
            os.umask(before)
        entry, file = _find(place)
        try:
            _check_file(place, os.fstat(entry), one)
            if one.uid is not None or one.gid is not None:
                _give(_through(place, entry), one, file)
        finally:
            os.close(entry)
    return file


def _give(path: str, one: Socket, file: tuple[int, ...]) -> None:
    """Change the owner of the new file, or remove the file. Raises OSError."""
    try:
        os.chown(path, *_owners(one))
    except OSError:
        _remove(one.address, file)
        raise


def _check_file(place: Place, status: os.stat_result, one: Socket) -> None:
    """Raise OSError if our file was replaced by another one."""
    ours = (os.geteuid(), 1, stat.S_IFSOCK | _mode(one))
    if not place.private and (status.st_uid, status.st_nlink, status.st_mode) != ours:
        raise OSError(
            errno.EPERM, f"its file was replaced or changed: {place.weak} (let only root write that directory)"
        )


def _find(place: Place) -> tuple[int, tuple[int, ...]]:
    """Return a descriptor of the file itself, with its device and inode. Raises OSError."""
    entry = place.open(os.O_PATH)
    status = os.fstat(entry)
    return entry, (status.st_dev, status.st_ino)


def _through(place: Place, entry: int) -> str:
    """Return a path to the open file: in a directory that others can write, its name may now be another file's."""
    return place.path if place.private else f"/proc/self/fd/{entry}"


def _remove_stale(place: Place, one: Socket) -> None:
    """Remove a socket that no process listens on: a previous cohabit left it. Raises OSError if it is anything else."""
    found = place.look()
    if found is None:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(errno.EEXIST, "the file exists and is not a socket (remove it, or choose another path)")
    entry = place.open(os.O_PATH)
    probe = _socket.socket(_socket.AF_UNIX, _KINDS[one.kind])
    try:
        probe.setblocking(False)
        probe.connect(one.address if place.private else f"/proc/self/fd/{entry}")
    except ConnectionRefusedError:
        place.unlink()
    except OSError:
        return  # a process listens, or its kind differs: bind reports that it is in use
    finally:
        probe.close()
        os.close(entry)


def _mode(one: Socket) -> int:
    return _MODE if one.mode is None else one.mode


def _owners(one: Socket) -> tuple[int, int]:
    return -1 if one.uid is None else one.uid, -1 if one.gid is None else one.gid


def _change(one: _OpenSocket, wanted: Socket, user: Credentials | None) -> None:
    """Apply what a reload may change of an open socket. Raises OSError: then the socket is unchanged."""
    if wanted.backlog != one.described.backlog or one.listener != _uid(user):
        _take_connections(one, wanted, user)
    if one.file and _owner(wanted) != _owner(one.described):
        _set_owner_and_mode(wanted, one.file)
    one.described = wanted


def _change_back(one: _OpenSocket, before: Socket) -> None:
    """Undo a change after a reload that failed. The next reload sets its listener again."""
    if one.file and _owner(one.described) != _owner(before):
        try:
            _set_owner_and_mode(before, one.file)
        except OSError:
            pass  # its file was removed or replaced
    one.described = before
    one.listener = -1


def _set_owner_and_mode(one: Socket, file: tuple[int, ...]) -> None:
    """Raises OSError if the file is not the one that we created."""
    with paths.locate(one.address, follow=False) as place:
        entry, found = _find(place)
        try:
            if found != tuple(file):
                raise OSError(errno.EPERM, _REPLACED)
            path = _through(place, entry)
            if one.uid is not None or one.gid is not None:
                os.chown(path, *_owners(one))
            os.chmod(path, _mode(one))
        finally:
            os.close(entry)


def _owner(one: Socket) -> tuple[int | None, ...]:
    return one.mode, one.uid, one.gid


def _close(one: _OpenSocket) -> None:
    one.socket.close()
    if one.other is not None:
        one.other.close()
    if one.file:
        _remove(one.described.address, one.file)


def _remove(path: str, file: tuple[int, ...]) -> None:
    """Remove a socket's file, if it is still the one that we created."""
    try:
        with paths.locate(path, follow=False) as place:
            found = place.look()
            if found is not None and (found.st_dev, found.st_ino) == tuple(file):
                place.unlink()
    except OSError:
        return

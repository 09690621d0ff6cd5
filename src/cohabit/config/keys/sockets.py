"""A service's `sockets` -> plan.model.Socket: addresses similar to systemd's, as a string or as a map.

    8080   127.0.0.1:8080   [::1]:8080   udp:53   /run/app.sock   @app   unixgram:/run/log.sock

A port alone means all interfaces, including IPv6 if it is available. reactor/sockets.py opens the sockets.
"""

from __future__ import annotations

import _socket
import os
import re
from typing import TYPE_CHECKING

from cohabit.config.values.address import tcp_probe
from cohabit.config.values.user import group_id, identity
from cohabit.lazy_pattern import lazy_pattern
from cohabit.plan.draft import Diagnostic
from cohabit.plan.model import Socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cohabit.config.keys.resources import SocketKeys
    from cohabit.plan.draft import Draft
    from cohabit.plan.model import Plan, Service

_NETWORKS = {
    "tcp": ("inet", "stream"),
    "udp": ("inet", "dgram"),
    "unix": ("unix", "stream"),
    "unixgram": ("unix", "dgram"),
}
_LONGEST_PATH = 107  # bytes: sun_path of unix(7) with its final zero
_LONGEST_NAME = 255
_NAME = lazy_pattern(r"[ -9;-~]+", re.ASCII)  # FileDescriptorName= of systemd.socket(5): ASCII, no control, no colon
FIRST = 3  # SD_LISTEN_FDS_START


def read_sockets(
    written: Iterable[str | SocketKeys], service: str, report: Callable[[str], None]
) -> tuple[Socket, ...]:
    """The sockets of a service, in order. report(text) receives each error."""
    found: list[Socket] = []
    for entry in written:
        try:
            found.append(_short(entry, service) if isinstance(entry, str) else _long(entry, service))
        except (ValueError, LookupError) as error:
            report(str(error.args[0]))
    return tuple(found)


def listen_address(one: Socket) -> str:
    """The address in the form that the file uses."""
    if one.family == "unix":
        return one.address if one.kind == "stream" else f"unixgram:{one.address}"
    host = f"[{one.address}]" if one.family == "inet6" else one.address
    return f"{host}:{one.port}" if one.kind == "stream" else f"udp:{host}:{one.port}"


def check_sockets(plan: Plan, draft: Draft) -> Iterator[Diagnostic]:
    """Diagnostics for addresses that are used twice, and for sockets whose descriptor a probe of kind fd uses."""
    owners: dict[tuple[str, str], str] = {}
    for service in {one.service: one for one in plan.services.values()}.values():
        item = draft.services[service.service]
        for one in service.sockets:
            address = listen_address(one)
            owner = owners.get((one.kind, address))
            owners.setdefault((one.kind, address), service.service)
            if owner == service.service:
                text = f"services.{service.service}.sockets: {address} is listed twice (remove one of them)"
                yield Diagnostic(item.place("sockets"), text)
            elif owner is not None:
                text = (
                    f"services.{service.service}.sockets: {owner} already listens on {address} (choose another address)"
                )
                yield Diagnostic(item.place("sockets"), text)
        yield from _taken_descriptor(service, draft)


def _taken_descriptor(service: Service, draft: Draft) -> Iterator[Diagnostic]:
    last = FIRST + len(service.sockets) - 1
    if service.sockets and service.probe and service.probe.kind == "fd" and service.probe.fd <= last:
        text = f"descriptor {service.probe.fd} is used by its sockets, {FIRST} to {last} (write [FD, {last + 1}])"
        location = draft.services[service.service].place("healthcheck")
        yield Diagnostic(location, f"services.{service.service}.healthcheck.test: {text}")


def _short(written: str, name: str) -> Socket:
    family, kind, address, port = _parse(written)
    return Socket(name, family, kind, address, port)


def _long(keys: SocketKeys, service: str) -> Socket:
    one = _short(keys.listen, service if keys.name is None else keys.name)
    if not one.name or len(one.name) > _LONGEST_NAME or not _NAME.fullmatch(one.name):
        raise ValueError(
            f"{one.name[:40]!r} is not a valid socket name (at most {_LONGEST_NAME} ASCII characters, no colon)"
        )
    if one.family != "unix" or one.address.startswith("@"):
        for key in ("mode", "user", "group"):
            if getattr(keys, key) is not None:
                raise ValueError(
                    f"{key} is only valid for the file of a unix socket, not for {keys.listen[:60]!r} (remove it)"
                )
    elif keys.user:
        owner = identity(keys.user)
        one = one.replace(uid=owner.uid, gid=owner.gid)
    if keys.group:
        one = one.replace(gid=group_id(keys.group))
    if keys.backlog is not None:
        one = one.replace(backlog=int(keys.backlog))
    return one if keys.mode is None else one.replace(mode=int(keys.mode))


def _parse(text: str) -> tuple[str, str, str, int]:
    """Family, kind, address and port. ValueError: not an address."""
    network, colon, rest = text.partition(":")
    known = colon and network in _NETWORKS
    family, kind = _NETWORKS[network if known else "unix" if text.startswith(("/", "@")) else "tcp"]
    address = rest if known else text
    if family == "unix":
        return family, kind, _path(address, text), 0
    if address.startswith(("/", "@")):
        raise ValueError(f"{text[:60]!r} is a path, not a port (write unix:, or unixgram: for datagrams)")
    if address.isascii() and address.isdecimal():
        probe = tcp_probe(address)
        return (*(("inet6", kind, "::") if _has_ipv6() else ("inet", kind, "0.0.0.0")), probe.port)  # noqa: S104 - intended
    try:
        probe = tcp_probe(address)
    except ValueError as error:
        raise ValueError(f"{error} (write 8080, 127.0.0.1:8080, [::1]:8080, udp:53 or /run/x.sock)") from error
    return "inet6" if ":" in probe.host else "inet", kind, probe.host, probe.port


def _path(path: str, text: str) -> str:
    if not path.startswith(("/", "@")) or len(path) == 1:
        raise ValueError(f"expected an absolute path or @name, got {text[:60]!r}")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ValueError(f"{path[:60]!r} is too long for a socket (at most {_LONGEST_PATH} bytes)")
    return path


def _has_ipv6() -> bool:
    """Whether an IPv6 socket can be bound: many containers have no IPv6."""
    try:
        socket = _socket.socket(_socket.AF_INET6, _socket.SOCK_DGRAM)
    except OSError:
        return False
    try:
        socket.bind(("::", 0))
    except OSError:
        return False
    finally:
        socket.close()
    return True

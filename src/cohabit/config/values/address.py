"""Addresses of probes (5432, localhost:5432, http://127.0.0.1:8080/ready) and of syslog servers. Pure.

A unix socket is written as its path; HTTP over a unix socket as unix:/run/x.sock:/ready (nginx's syntax). A probe runs
in process 1, which must not wait for a name server: the host is an IP address or localhost.
"""

from __future__ import annotations

import _socket
import os
import re

from cohabit.lazy_pattern import lazy_pattern
from cohabit.plan.model import Probe

_LOCALHOST = "127.0.0.1"
_HTTP_PORT = 80
_LAST_PORT = 65_535
_TIMEOUT_SECONDS = 5.0  # enough for a connection inside one container
SYSLOG_ADDRESS = "unix:///dev/log"
_SYSLOG_PORT = 514
_LONGEST_SOCKET_PATH = 107  # bytes: sun_path of unix(7) with its final zero
_HOST_PORT = lazy_pattern(r"(?:(\[[^\]]*\]|[^:\[\]]*):)?([0-9]+)", re.ASCII)
_URL = lazy_pattern(r"http://(\[[^\]/?#]*\]|[^:/?#\[\]]*)(?::([0-9]*))?(/[^#]*)?(?:#.*)?", re.ASCII | re.IGNORECASE)
_UNIX_URL = lazy_pattern(r"(?:http://)?unix:([^:]*)(?::(/[^#]*)?)?(?:#.*)?", re.ASCII | re.IGNORECASE)

_SYSLOG_URL = lazy_pattern(
    r"(udp|tcp)://(?:\[([^\]]*)\]|([a-z0-9](?:[a-z0-9._-]{,252})))(?::([0-9]+))?/?", re.ASCII | re.IGNORECASE
)


def syslog_format(address: str) -> str:
    """The default format for an address: /dev/log expects that of syslog(3)."""
    return "rfc3164" if address == SYSLOG_ADDRESS else "rfc5424"


def tcp_probe(text: str) -> Probe:
    """Probe of "port" or "host:port". Raises ValueError."""
    found = _HOST_PORT.fullmatch(text)
    if not found:
        raise ValueError(f"expected host:port, got {text[:60]!r}")
    host = _LOCALHOST if found[1] is None else _host(found[1], text)
    return Probe("tcp", host, _port(found[2]), timeout_seconds=_TIMEOUT_SECONDS)


def unix_probe(text: str) -> Probe:
    """Probe of the path of a unix socket. Raises ValueError."""
    return Probe("unix", socket=_socket_path(text), timeout_seconds=_TIMEOUT_SECONDS)


def http_probe(text: str) -> Probe:
    """Probe of "http://host:port/path" or "unix:/run/x.sock:/path". Raises ValueError."""
    if text[:8].lower() == "https://":
        raise ValueError("https is not supported (write http://, or probe the port with TCP)")
    printable = all(ord(" ") < ord(letter) < 0x7F for letter in text)  # noqa: PLR2004 - DEL
    if printable and (found := _UNIX_URL.fullmatch(text)):
        socket = _socket_path(found[1])
        return Probe("http", path=found[2] or "/", socket=socket, timeout_seconds=_TIMEOUT_SECONDS)
    if not printable or not (found := _URL.fullmatch(text)):
        raise ValueError(f"expected http://host:port/path, got {text[:60]!r}")
    host, port = _host(found[1], text), _port(found[2] or str(_HTTP_PORT))
    return Probe("http", host, port, found[3] or "/", timeout_seconds=_TIMEOUT_SECONDS)


def syslog_address(text: str) -> str:
    """The address "udp://host" with its port; the host may be a name. Raises ValueError."""
    scheme, slashes, path = text.partition("://")
    if slashes and scheme.lower() in ("unix", "unixgram"):
        return f"{scheme.lower()}://{_socket_path(path)}"
    found = _SYSLOG_URL.fullmatch(text)
    if not found:
        known = "unix:///dev/log, unixgram:///run/log.sock, udp://host:514, tcp://host:514; TLS is not supported"
        raise ValueError(f"{text[:60]!r} is not a syslog address (write {known})")
    host = found[3]
    if host is None:
        try:
            _socket.inet_pton(_socket.AF_INET6, found[2])
        except (OSError, ValueError) as error:
            raise ValueError(f"{found[2][:60]!r} in {text[:60]!r} is not an IPv6 address") from error
        host = f"[{found[2]}]"
    return f"{found[1].lower()}://{host}:{_port(found[4] or str(_SYSLOG_PORT))}"


def _socket_path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"expected the absolute path of a socket, got {path[:60]!r}")
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise ValueError(f"{path[:60]!r} is too long for a socket (at most {_LONGEST_SOCKET_PATH} bytes)")
    return path


def _host(written: str, text: str) -> str:
    host = written.strip("[]")
    if host.lower() == "localhost":
        return _LOCALHOST
    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, host)
        except OSError:
            continue
        return host
    raise ValueError(f"the host {host[:60]!r} of {text[:60]!r} is neither an IP address nor localhost")


def _port(digits: str) -> int:
    port = int(digits) if len(digits) <= len(str(_LAST_PORT)) else 0
    if not 0 < port <= _LAST_PORT:
        raise ValueError(f"port {digits[:20]} is out of range (write 1 to {_LAST_PORT})")
    return port

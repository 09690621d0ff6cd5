"""Addresses of probes as people write them: 5432, localhost:5432, [::1]:5432, http://127.0.0.1:8080/ready.

Pure. A probe runs in process 1, which cannot wait for a name server: a host is an IP address or localhost.
"""

from __future__ import annotations

import _socket
import re

from cohabit.plan.model import Probe

_LOCALHOST = "127.0.0.1"
_HTTP_PORT = 80
_LAST_PORT = 65_535
_HOST_PORT = re.compile(r"(?:(\[[^\]]*\]|[^:\[\]]*):)?([0-9]+)", re.ASCII)
_URL = re.compile(r"http://(\[[^\]/?#]*\]|[^:/?#\[\]]*)(?::([0-9]*))?(/[^#]*)?(?:#.*)?", re.ASCII | re.IGNORECASE)


def tcp_probe(text: str) -> Probe:
    """Probe of "port" or "host:port"; ValueError if it is none."""
    found = _HOST_PORT.fullmatch(text)
    if not found:
        raise ValueError(f"expected host:port, got {text[:60]!r}")
    host = _LOCALHOST if found[1] is None else _host(found[1], text)
    return Probe("tcp", host, _port(found[2]))


def http_probe(text: str) -> Probe:
    """Probe of "http://host:port/path"; ValueError if it is none."""
    if text[:8].lower() == "https://":
        raise ValueError("https cannot be probed (write http://, or probe the port with TCP)")
    found = _URL.fullmatch(text)
    if not found or any(ord(letter) <= ord(" ") or ord(letter) >= 0x7F for letter in text):  # noqa: PLR2004 - DEL
        raise ValueError(f"expected http://host:port/path, got {text[:60]!r}")
    return Probe("http", _host(found[1], text), _port(found[2] or str(_HTTP_PORT)), found[3] or "/")


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
        raise ValueError(f"there is no port {digits[:20]} (ports go from 1 to {_LAST_PORT})")
    return port

"""config/values/address.py: addresses of probes and of syslog servers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.config.values.address import http_probe, tcp_probe, unix_probe
from cohabit.plan.model import Probe


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("5432", "127.0.0.1", 5432),
        ("localhost:5432", "127.0.0.1", 5432),
        ("LocalHost:1", "127.0.0.1", 1),
        ("10.0.0.7:65535", "10.0.0.7", 65535),
        ("[::1]:5432", "::1", 5432),
    ],
)
def test_a_tcp_address_is_a_port_or_host_and_port(text: str, host: str, port: int) -> None:
    assert tcp_probe(text) == Probe("tcp", host, port, timeout_seconds=5.0)


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("http://localhost", "127.0.0.1", 80, "/"),
        ("http://127.0.0.1:8080/ready?full=1", "127.0.0.1", 8080, "/ready?full=1"),
        ("HTTP://[::1]:8080/a#b", "::1", 8080, "/a"),
    ],
)
def test_an_http_address_is_a_url(text: str, host: str, port: int, path: str) -> None:
    assert http_probe(text) == Probe("http", host, port, path, timeout_seconds=5.0)


@pytest.mark.parametrize(
    ("text", "socket", "path"),
    [
        ("unix:/run/x.sock:/ready?a=b:c", "/run/x.sock", "/ready?a=b:c"),
        ("unix:/run/x.sock", "/run/x.sock", "/"),
        ("http://unix:/run/x.sock:/", "/run/x.sock", "/"),
    ],
)
def test_an_http_address_may_name_a_unix_socket(text: str, socket: str, path: str) -> None:
    """Nginx's syntax, with or without the scheme."""
    assert http_probe(text) == Probe("http", path=path, socket=socket, timeout_seconds=5.0)


def test_a_unix_socket_is_an_absolute_path_of_at_most_107_bytes() -> None:
    """sun_path of unix(7) holds 107 bytes and a zero."""
    assert unix_probe("/run/a b:c") == Probe("unix", socket="/run/a b:c", timeout_seconds=5.0)
    assert unix_probe("/" + "é" * 53).socket == "/" + "é" * 53
    for text in ("", "run/x", "/" + "é" * 53 + "a"):
        with pytest.raises(ValueError, match=r"absolute path of a socket|too long for a socket"):
            unix_probe(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected host:port, got ''"),
        ("localhost", "expected host:port, got 'localhost'"),
        ("db:5432", "the host 'db' of 'db:5432' is neither an IP address nor localhost"),
        (":5432", "the host '' of ':5432' is neither an IP address nor localhost"),
        ("::1:5432", "expected host:port, got '::1:5432'"),
        ("localhost:0", "port 0 is out of range (write 1 to 65535)"),
        ("localhost:65536", "port 65536 is out of range (write 1 to 65535)"),
        ("localhost:" + "9" * 5000, "port 99999999999999999999 is out of range (write 1 to 65535)"),
    ],
)
def test_an_invalid_address_is_reported(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        tcp_probe(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("https://localhost/", "https is not supported (write http://, or probe the port with TCP)"),
        ("localhost:80", "expected http://host:port/path, got 'localhost:80'"),
        ("http://localhost/a b", "expected http://host:port/path, got 'http://localhost/a b'"),
        ("http://localhost/\r\nX: y", "expected http://host:port/path, got 'http://localhost/\\r\\nX: y'"),
        ("http://app/", "the host 'app' of 'http://app/' is neither an IP address nor localhost"),
    ],
)
def test_an_invalid_url_is_reported(text: str, why: str) -> None:
    """No character that could split a request line is accepted."""
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        http_probe(text)


@given(st.text() | st.from_regex(r"(http://)?[a-z0-9.\[\]:]*:[0-9]*(/.*)?", fullmatch=True))
def test_every_text_is_an_address_or_raises_value_error(text: str) -> None:
    for read in (tcp_probe, http_probe):
        try:
            probe = read(text)
        except ValueError:
            continue
        assert 0 < probe.port < 65536

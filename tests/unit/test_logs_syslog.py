"""reactor/logs/syslog_format.py: frames of RFC 5424 that any receiver can parse, with the whole line in them.

The receiver here follows the grammar of the RFC; real sockets are in tests/linux/test_syslog_sink.py.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cohabit.reactor.logs.formats import Origin
from cohabit.reactor.logs.syslog_format import BYTES_MAX, Syslog, frame, halves
from cohabit.tasks import resolve

NOW_NS = 1_700_000_000_123_456_789
DAEMON = 3
# The grammar of RFC 5424, 6; STRUCTURED-DATA is NILVALUE only
GRAMMAR = re.compile(
    rb"<(?P<pri>[1-9]?\d|1\d\d)>1 (?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) (?P<host>[!-~]{1,255}) "
    rb"(?P<app>[!-~]{1,48}) (?P<pid>[!-~]{1,128}) (?P<id>[!-~]{1,32}) -(?: (?P<text>.*))?",
    re.DOTALL,
)


class Message(NamedTuple):
    """A parsed message."""

    facility: int
    severity: int
    time: str
    host: str
    app: str
    pid: str
    id: str
    text: bytes
    length: int


def parsed(data: bytes | memoryview) -> list[Message]:
    """All messages of an octet-counted stream that ends with a whole frame."""
    rest, found = bytes(data), []
    while rest:
        count, _, rest = rest.partition(b" ")
        assert count.isdigit()
        assert not count.startswith(b"0")
        message, rest = rest[: int(count)], rest[int(count) :]
        assert len(message) == int(count)
        match = GRAMMAR.fullmatch(message)
        assert match is not None, message
        when, host, app, pid, name = (match[name].decode() for name in ("time", "host", "app", "pid", "id"))
        facility, severity = divmod(int(match["pri"]), 8)
        found.append(Message(facility, severity, when, host, app, pid, name, match["text"] or b"", len(message)))
    return found


def syslog(stream: str = "stdout", tag: str = "", **more: Any) -> Syslog:
    return Syslog(Origin(more.pop("name", "web"), stream, **more), more.pop("facility", DAEMON), tag)


def test_a_line_becomes_a_message_with_all_rfc_5424_fields() -> None:
    """Time in microseconds (UTC), host, service, pid and stream are in their fields; the line is the message."""
    (message,) = parsed(syslog(pid=42).lines(b"hello  world \n", NOW_NS))
    host = re.sub("[^!-~]", "_", os.uname().nodename)
    assert message[:-1] == (DAEMON, 6, "2023-11-14T22:13:20.123456Z", host, "web", "42", "stdout", b"hello  world ")


def test_a_tag_replaces_the_name_and_an_unknown_pid_is_a_dash() -> None:
    (message,) = parsed(syslog(tag="shop").lines(b"x\n", NOW_NS))
    assert (message.app, message.pid) == ("shop", "-")


def test_the_pid_may_be_set_later() -> None:
    """The format may be created before the process."""
    origin = Origin("web", "stdout")
    form = Syslog(origin, DAEMON)
    origin.pid = 7
    assert parsed(form.lines(b"x\n", NOW_NS))[0].pid == "7"


@pytest.mark.parametrize(
    ("stream", "line", "severity"),
    [
        ("stdout", b"hello", 6), ("stderr", b"hello", 3), ("stderr", b"INFO hello", 6), ("stdout", b"[error] no", 3),
        ("stdout", b"level=warning msg=x", 4), ("stderr", b"DEBUG: x", 7), ("stdout", b"\x1b[31mFATAL\x1b[0m x", 2),
        ("stdout", b"<1>x", 1), ("stdout", b"[emerg] x", 0), ("stderr", b"NOTICE: x", 5),
    ],
)  # fmt: skip
def test_the_severity_is_the_lines_level_or_the_default_of_the_stream(stream: str, line: bytes, severity: int) -> None:
    """For a multiline record, the first line counts."""
    form = syslog(stream)
    assert parsed(form.lines(line + b"\n", NOW_NS))[0].severity == severity
    assert parsed(form.records([line + b"\nCRITICAL: more"], NOW_NS))[0].severity == severity


@pytest.mark.parametrize(("level", "severity"), [("info", 6), ("warning", 4), ("error", 3)])
def test_own_messages_have_their_level(level: str, severity: int) -> None:
    (message,) = parsed(syslog("stderr", name="cohabit").message(level, b"web: started", NOW_NS))
    assert (message.severity, message.text) == (severity, b"web: started")


@pytest.mark.parametrize("facility", range(24))
def test_every_facility_has_its_priority(facility: int) -> None:
    (message,) = parsed(Syslog(Origin("web", "stdout"), facility).lines(b"x\n", NOW_NS))
    assert (message.facility, message.severity) == (facility, 6)


def test_names_are_made_valid_for_the_header() -> None:
    """Spaces and other scripts are replaced, and the length is limited."""
    (message,) = parsed(syslog(tag="my täg " + "x" * 100).lines(b"x\n", NOW_NS))
    assert message.app == ("my_t_g_" + "x" * 41)


@given(
    some.lists(some.binary(max_size=80).filter(lambda line: b"\n" not in line and not line.endswith(b"\r")), min_size=1)
)
def test_any_bytes_of_a_line_are_the_message(lines: list[bytes]) -> None:
    """NUL, control characters, invalid UTF-8 and empty lines are unchanged, one message each, in order."""
    frames = syslog().lines(b"".join(line + b"\n" for line in lines), NOW_NS)
    assert [message.text for message in parsed(frames)] == lines


def test_crlf_is_not_part_of_the_message() -> None:
    assert [m.text for m in parsed(syslog().lines(b"a\r\nb\rc\r\n", NOW_NS))] == [b"a", b"b\rc"]
    assert [m.text for m in parsed(syslog().records([b"a\r\nb\r"], NOW_NS))] == [b"a\nb"]


def test_a_multiline_record_is_one_message() -> None:
    frames = syslog().records([b"Traceback:\n  here\nValueError", b"", b"next"], NOW_NS)
    assert [message.text for message in parsed(frames)] == [b"Traceback:\n  here\nValueError", b"", b"next"]


@given(some.text("aä€😀\0", min_size=1, max_size=7), some.booleans())
def test_a_long_line_is_split_between_characters(text: str, as_record: bool) -> None:
    """Each message is within the limit and valid UTF-8, and together they are the line."""
    line = text.encode() * 20_000
    form = syslog()
    messages = parsed(form.records([b"x", line], NOW_NS) if as_record else form.lines(b"x\n" + line + b"\n", NOW_NS))
    assert b"".join(message.text for message in messages) == b"x" + line
    assert max(message.length for message in messages) <= BYTES_MAX
    for message in messages:
        message.text.decode()
    total = sum(len(message.text) for message in messages)
    assert len(messages) <= 2 + total // (BYTES_MAX - 400)


def test_a_megabyte_of_invalid_utf_8_is_split() -> None:
    """Continuation bytes without a character do not prevent splitting."""
    line = b"\x80" * 1_048_576
    messages = parsed(syslog().lines(line + b"\n", NOW_NS))
    assert b"".join(message.text for message in messages) == line
    assert max(message.length for message in messages) == BYTES_MAX


def test_a_line_of_the_maximal_length_is_one_message() -> None:
    """One byte more makes two."""
    size_max = BYTES_MAX - parsed(syslog().lines(b"\n", NOW_NS))[0].length
    assert len(parsed(syslog().lines(b"x" * size_max + b"\n", NOW_NS))) == 1
    assert len(parsed(syslog().lines(b"x" * (size_max + 1) + b"\n", NOW_NS))) == 2


def test_both_halves_of_a_message_have_its_header() -> None:
    """A message that a transport refuses as too long is sent in two, until it cannot be split."""
    (message,) = parsed(syslog().lines("ä€ b ".encode() * 50 + b"\n", NOW_NS))
    first, second = halves(syslog().lines("ä€ b ".encode() * 50 + b"\n", NOW_NS).partition(b" ")[2])
    parts = parsed(frame(first) + frame(second))
    assert b"".join(part.text for part in parts) == message.text
    assert max(part.length for part in parts) < message.length - 100
    for part in parts:
        part.text.decode()
        assert part._replace(text=b"", length=0) == message._replace(text=b"", length=0)
    assert halves(syslog().lines(b"x\n", NOW_NS).partition(b" ")[2]) == ()


@pytest.mark.parametrize("length", range(40))
def test_halves_returns_two_messages_or_none(length: int) -> None:
    """Never one, which would be refused again forever."""
    message = syslog().lines(b"x" * length + b"\n", NOW_NS).partition(b" ")[2]
    parts = halves(message)
    assert len(parts) == (2 if length > 8 else 0)
    assert all(len(part) < len(message) for part in parts)


def test_the_local_format_is_that_of_syslog_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local time without a zone, and the name with the pid if it is known. Long lines are split."""
    monkeypatch.setenv("TZ", "XXX-5")
    time.tzset()
    try:
        form = Syslog(Origin("web", "stdout", pid=42), DAEMON, local=True)
        assert form.lines(b"WARN x: y\n", NOW_NS) == b"38 <28>Nov 15 03:13:20 web[42]: WARN x: y"
        form = Syslog(Origin("web", "stderr"), DAEMON, "a:b", local=True)
        assert form.lines(b"x\n", NOW_NS + 20 * 86_400 * 1_000_000_000) == b"26 <27>Dec  5 03:13:20 a:b: x"
        message = form.lines(b"x: " * 10 + b"\n", NOW_NS).partition(b" ")[2]
        first, second = halves(message)
        head = b"<27>Nov 15 03:13:20 a:b: "
        assert first.removeprefix(head) + second.removeprefix(head) == b"x: " * 10
    finally:
        monkeypatch.undo()
        time.tzset()


# --- tasks/resolve.py --------------------------------------------------------------------------------------


def test_the_resolver_prints_one_address_per_line() -> None:
    """Address, port and scope, all numeric."""
    assert resolve.answer("127.0.0.1", "514", "udp") == ("127.0.0.1 514 0\n", 0)
    assert resolve.answer("::1", "601", "tcp") == ("::1 601 0\n", 0)
    assert resolve.answer("fe80::1%lo", "601", "tcp") == ("fe80::1 601 1\n", 0)


def test_an_unknown_name_gives_a_reason() -> None:
    text, code = resolve.answer("a..b", "514", "tcp")
    assert (text[:1], text[-1:], text.count("\n"), code) == ("!", "\n", 1, 1)


def test_an_answer_fits_one_atomic_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses a name has: lines beyond PIPE_BUF are left out."""
    many = [(2, 1, 6, "", (f"10.0.{number // 256}.{number % 256}", 514)) for number in range(1000)] * 2
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: many)
    text, code = resolve.answer("many", "514", "tcp")
    assert (len(text) <= 4096, text[-1], code) == (True, "\n", 0)
    assert len(set(text.splitlines())) == text.count("\n") > 200

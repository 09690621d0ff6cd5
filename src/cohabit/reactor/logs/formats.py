"""Formats: how lines are written. Raw and Prefix are here; json_format.py, logfmt.py and syslog_format.py have others.

A format belongs to one stream of one service. It turns whole lines, many at a time, into bytes; it does no I/O and
reads no clock. The common case takes few calls into the interpreter's C code, whatever the number of lines.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Format(Protocol):
        """Formats lines, records and messages of cohabit itself. now_ns: Unix nanoseconds.

        lines: at least one, each with its newline. records: without their last newlines, and newlines may be inside.
        message: without a newline at its end; level: "info", "warning" or "error". Each method returns what is to be
        written, which ends with a newline (syslog: a whole frame).
        """

        def lines(self, data: bytes, now_ns: int) -> bytes | memoryview:
            """Format whole lines."""

        def records(self, records: list[bytes], now_ns: int) -> bytes | memoryview:
            """Format records of one or more lines each."""

        def unfinished(self, data: bytes, now_ns: int, /) -> bytes:
            """Format the beginning of a line, whose rest follows as it is; b"" if the format has whole records only."""

        def message(self, level: str, text: bytes, now_ns: int) -> bytes | memoryview:
            """Format one message of cohabit itself."""


class Origin:
    """The source of output. name: the instance ("web-2"); service: the key in the file; replica: 0 for none.

    stream: "stdout" or "stderr"; pid: the process that was started with it, 0 if unknown.
    """

    __slots__ = ("name", "pid", "replica", "service", "stream")

    def __init__(self, name: str, stream: str, service: str = "", replica: int = 0, pid: int = 0) -> None:
        self.name = name
        self.stream = stream
        self.service = service or name
        self.replica = replica
        self.pid = pid


class Raw:
    """Bytes as they are."""

    def lines(self, data: bytes, _now_ns: int) -> bytes:
        """Format whole lines."""
        return data

    def records(self, records: list[bytes], _now_ns: int) -> bytes:
        """Format records of one or more lines each."""
        return b"".join(record + b"\n" for record in records)

    def unfinished(self, data: bytes, _now_ns: int) -> bytes:
        """Format the beginning of a line."""
        return data

    def message(self, _level: str, text: bytes, _now_ns: int) -> bytes:
        """Format one message of cohabit itself."""
        return text + b"\n"


class Prefix:
    """The format for people, `web    | line`. label: what precedes each line. timestamps: the time follows it."""

    def __init__(self, label: bytes, *, timestamps: bool) -> None:
        self._label = label
        self._timestamps = timestamps

    def _before(self, now_ns: int) -> bytes:
        return b"%b%b " % (self._label, rfc3339(now_ns)) if self._timestamps else self._label

    def lines(self, data: bytes, now_ns: int) -> memoryview:
        """Format whole lines."""
        before = self._before(now_ns)
        return memoryview(before + data.replace(b"\n", b"\n" + before))[: -len(before)] if before else memoryview(data)

    def unfinished(self, data: bytes, now_ns: int) -> bytes:
        """Format the beginning of a line."""
        return self._before(now_ns) + data

    def records(self, records: list[bytes], now_ns: int) -> memoryview:
        """Format records of one or more lines each."""
        return self.lines(b"\n".join(records) + b"\n", now_ns)

    def message(self, _level: str, text: bytes, now_ns: int) -> memoryview:
        """Format one message of cohabit itself."""
        return self.lines(text + b"\n", now_ns)


def rfc3339(now_ns: int) -> bytes:
    """The time as 2024-11-24T12:00:00.123456789Z."""
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    moment = time.gmtime(seconds)
    return b"%04d-%02d-%02dT%02d:%02d:%02d.%09dZ" % (*moment[:6], nanoseconds)

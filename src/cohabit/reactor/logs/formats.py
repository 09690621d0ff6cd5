"""How lines are written: as they are, or each behind its service's name. json_format.py and logfmt.py are others.

A format belongs to one stream of one service. It gets whole lines, many at a time, and gives bytes; it knows neither
pipes nor the clock. The common case is made in few calls of the interpreter's own C, whatever the number of lines.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Format(Protocol):
        """lines: each with its newline, at least one. records: without theirs; they may have newlines inside.

        message: words of our own, without a newline at their end; level: "info", "warning", "error". now_ns: Unix
        nanoseconds. Each returns what is to be written, which ends with a newline (syslog: a whole frame).
        """

        def lines(self, data: bytes, now_ns: int) -> bytes | memoryview:
            """Whole lines."""

        def records(self, records: list[bytes], now_ns: int) -> bytes | memoryview:
            """Records of one or more lines each."""

        def message(self, level: str, text: bytes, now_ns: int) -> bytes | memoryview:
            """One message of our own."""


class Origin:
    """Whose output it is. name: the instance's ("web-2"); service: the key in the file; replica: 0 for none.

    stream: "stdout" or "stderr"; pid: of the process that was started with it, 0 where that is not known.
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
        """Whole lines."""
        return data

    def records(self, records: list[bytes], _now_ns: int) -> bytes:
        """Records of one or more lines each."""
        return b"".join(record + b"\n" for record in records)

    def message(self, _level: str, text: bytes, _now_ns: int) -> bytes:
        """One message of our own."""
        return text + b"\n"


class Prefix:
    """For people: `web    | line`. label: what stands in front of each line."""

    def __init__(self, label: bytes) -> None:
        self._label = label
        self._between = b"\n" + label

    def lines(self, data: bytes, _now_ns: int) -> memoryview:
        """Whole lines."""
        label = self._label
        return memoryview(label + data.replace(b"\n", self._between))[: -len(label)] if label else memoryview(data)

    def records(self, records: list[bytes], now_ns: int) -> memoryview:
        """Records of one or more lines each."""
        return self.lines(b"\n".join(records) + b"\n", now_ns)

    def message(self, _level: str, text: bytes, now_ns: int) -> memoryview:
        """One message of our own."""
        return self.lines(text + b"\n", now_ns)

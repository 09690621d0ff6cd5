"""The syslog format: messages of RFC 5424, each with its length in front (octet counting, RFC 6587 3.4.1).

A Format (formats.py), used by syslog.py. Since each message is counted, its text is unchanged: newlines of a record,
NUL, invalid UTF-8. A message has at most BYTES_MAX bytes; longer records become several messages.
"""

from __future__ import annotations

import time

from cohabit.reactor.linux import os
from cohabit.reactor.logs.formats import rfc3339
from cohabit.reactor.logs.level import level_of, level_of_coloured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.reactor.logs.formats import Origin

# A message with its header. rsyslog accepts 8,096 by default and mishandles more (measured with 8.2302: over TCP the
# rest is discarded, over a unix stream each byte of it becomes a message). Other servers accept more, and the size fits
# a UDP datagram. RFC 5424 6.1 requires receivers to accept 2,048 only, which would split long tracebacks.
BYTES_MAX = 8000

_SEVERITIES = {
    b"emergency": 0, b"alert": 1, b"critical": 2, b"fatal": 2, b"error": 3, b"warning": 4, b"notice": 5, b"info": 6,
    b"debug": 7, b"trace": 7,
}  # fmt: skip
_HEADER_FIELDS = 7
_HOSTNAME_MAX, _APP_NAME_MAX = 255, 48  # RFC 5424, 6
_TO_MICROSECONDS = len("2024-11-24T12:00:00.123456")  # the most that RFC 5424 allows
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_CONTINUES_MASK, _CONTINUES = 0xC0, 0x80  # UTF-8: a byte that continues a character
_CHARACTER_MAX = 4


class Syslog:
    """The format of one stream of one service.

    facility: a number of syslog(3); tag: the APP-NAME, "" for the instance's name. local: the format of syslog(3) for
    /dev/log, `<30>Nov 24 12:00:00 web[42]: ...` in local time, which is all that most programs behind /dev/log read.

    The severity is the level that the line shows, otherwise informational for stdout and error for stderr, as in
    Docker's driver. LF or CR LF ends a line and is not part of the message. The origin's pid is read in each call.
    """

    def __init__(self, origin: Origin, facility: int, tag: str = "", *, local: bool = False) -> None:
        self._origin = origin
        self._local = local
        self._host = _header_name(os.uname().nodename, _HOSTNAME_MAX).encode()
        self._app = _header_name(tag or origin.name, _APP_NAME_MAX).encode()
        self._stream = origin.stream.encode()
        form = b"<%d>" if local else b"<%d>1 "
        self._priorities = {level: form % (facility * 8 + severity) for level, severity in _SEVERITIES.items()}
        self._priorities[b""] = self._priorities[b"error" if origin.stream == "stderr" else b"info"]

    def lines(self, data: bytes, now_ns: int) -> bytes:
        """Format whole lines."""
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        header_tail, priorities = self._header_tail(now_ns), self._priorities
        find_level = level_of_coloured if b"\x1b" in data else level_of
        lines = data.split(b"\n")
        lines.pop()
        messages = [priorities[find_level(line)] + header_tail + line for line in lines]
        if max(map(len, messages)) <= BYTES_MAX:
            return b"".join([b"%d %b" % (len(message), message) for message in messages])
        return b"".join([_framed(priorities[find_level(line)] + header_tail, line) for line in lines])

    def records(self, records: list[bytes], now_ns: int) -> bytes:
        """Format records of one or more lines each. Newlines inside are part of the message."""
        header_tail, priorities = self._header_tail(now_ns), self._priorities
        whole = [record.replace(b"\r\n", b"\n").removesuffix(b"\r") for record in records]
        levels = [level_of_coloured(record.partition(b"\n")[0]) for record in whole]
        return b"".join(
            [_framed(priorities[level] + header_tail, record) for level, record in zip(levels, whole, strict=True)]
        )

    def unfinished(self, _data: bytes, _now_ns: int) -> bytes:
        """Nothing: a record is whole."""
        return b""

    def message(self, level: str, text: bytes, now_ns: int) -> bytes:
        """Format one message of cohabit itself."""
        return _framed(self._priorities[level.encode()] + self._header_tail(now_ns), text)

    def _header_tail(self, now_ns: int) -> bytes:
        """The header after the priority."""
        process = self._origin.pid
        if self._local:
            moment = time.localtime(now_ns // 1_000_000_000)
            date = b"%b %2d %02d:%02d:%02d" % (_MONTHS[moment[1] - 1], *moment[2:6])
            return b"%b %b[%d]: " % (date, self._app, process) if process else b"%b %b: " % (date, self._app)
        date = rfc3339(now_ns)[:_TO_MICROSECONDS]
        return b"%bZ %b %b %b %b - " % (date, self._host, self._app, b"%d" % process if process else b"-", self._stream)


def frame(message: bytes) -> bytes:
    """A message with its length in front."""
    return b"%d %b" % (len(message), message)


def frame_end(frames: bytes, start: int) -> tuple[int, int]:
    """(start, end) of the message in the frame that starts there."""
    begin = frames.index(b" ", start) + 1
    return begin, begin + int(frames[start : begin - 1])


def halves(message: bytes) -> tuple[bytes, ...]:
    """Two messages for one that is too long for a transport; () if it cannot be split."""
    begin = message.index(b">") + 1
    if message.startswith(b"1 ", begin):
        begin = len(message) - len(message.split(b" ", _HEADER_FIELDS)[_HEADER_FIELDS])
    else:
        begin = message.index(b": ", begin) + 2
    head, text = message[:begin], message[begin:]
    if len(text) <= 2 * _CHARACTER_MAX:
        return ()
    return tuple(head + part for part in _parts(text, len(text) // 2 + _CHARACTER_MAX))


def _framed(head: bytes, text: bytes) -> bytes:
    return b"".join([frame(head + part) for part in _parts(text, BYTES_MAX - len(head))])


def _parts(text: bytes, bytes_max: int) -> Iterator[bytes]:
    """The text in parts. UTF-8 characters are not split where possible."""
    start = 0
    while len(text) - start > bytes_max:
        end = start + bytes_max
        for back in range(_CHARACTER_MAX):
            if text[end - back] & _CONTINUES_MASK != _CONTINUES:
                end -= back
                break
        yield text[start:end]
        start = end
    yield text[start:]


def _header_name(text: str, length_max: int) -> str:
    """Printable ASCII without spaces (RFC 5424, 6), "-" if empty."""
    return "".join(letter if "!" <= letter <= "~" else "_" for letter in text[:length_max]) or "-"

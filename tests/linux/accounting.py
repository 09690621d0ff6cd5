"""Account for every byte that programs/numbered.py wrote: undo the format of each driver and compare.

A channel is everything received from one stream of one service, keyed by (name, 1 or 2). The channels_of... functions
undo a format. Writers knows what each service was expected to write and what it wrote.
"""

import fcntl
import glob
import gzip
import json
import os
import re
import termios
from typing import Any, Final, NamedTuple

from linux.programs.numbered import NOTE, PIECE_MAX, numbered, tag_of, tail
from linux.run import program

Channels = dict[tuple[str, int], bytearray]

RECORD_MAX: Final = 16_384  # of json and logfmt, with the newline: Docker splits lines of 16 KiB
SYSLOG_FULL: Final = 7_990  # a message of this length continues in the next one
_STREAMS: Final = {"stdout": 1, "stderr": 2}
_PREFIX: Final = re.compile(rb"([a-z0-9-]+) *\| ?(.*)", re.DOTALL)
_LOGFMT: Final = re.compile(
    rb'time=\S+ service=(\S+) stream=(\S+)(?: pid=\d+)?(?: level=\w+)? msg="([^"\\]*(?:\\.[^"\\]*)*)"'
    rb"(?: partial_message=true partial_id=(\S+) partial_ordinal=(\d+) partial_last=(\w+))?"
)
_TAGGED: Final = re.compile(rb"\w+:([a-z0-9-]+):([oe]) ")
_ESCAPED: Final = re.compile(rb"\\x([0-9a-f]{2})")
_BYTES: Final = {b"%02x" % byte: bytes([byte]) for byte in range(256)}
_DROPPED: Final = re.compile(rb"[a-z]+: (\d+) lines \((\d+) bytes\) dropped")
_SYSLOG: Final = re.compile(rb"<\d+>1 \S+ \S+ (\S+) \S+ (\S+) - (.*)", re.DOTALL)
_LOCAL_SYSLOG: Final = re.compile(rb"<\d+>\w{3} [ \d]\d [\d:]{8} (\S+?)(?:\[\d+\])?: (.*)", re.DOTALL)


class Writers:
    """Services that write numbered lines on demand. They run in `directory`. Call close() at the end."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.commands: dict[str, tuple[int, set[str]]] = {}
        self._gates: dict[str, int] = {}

    def service(self, name: str, logging: Any, *options: str, bytes_max: int = 200_000, **more: Any) -> dict[str, Any]:
        """A service of this name. The options are those of numbered.py."""
        self.commands[name] = (bytes_max, set(options))
        path = os.path.join(self.directory, f"{name}.go")
        os.mkfifo(path)
        self._gates[name] = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        command = program("numbered.py", name, str(bytes_max), *options)
        return {"command": command, "logging": logging, "restart": "always", **more}

    def close(self) -> None:
        """Close the named pipes."""
        for fd in self._gates.values():
            os.close(fd)

    def give(self, rounds: int, *names: str) -> None:
        """Make the services write this many rounds."""
        for name in names or self._gates:
            os.write(self._gates[name], b"." * rounds)

    def idle(self) -> list[str]:
        """The services that have no round left to begin."""
        return [
            name for name, fd in self._gates.items() if not fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4).strip(b"\0")
        ]

    def runs(self, name: str) -> list[str]:
        """The runs of a service so far, in order. Each is followed by the process that it left behind."""
        paths = glob.glob(os.path.join(self.directory, f"{name}.*.note"))
        found = [os.path.basename(path).split(".")[1] for path in paths]
        return sorted(found, key=lambda run: (int(run.removeprefix("left")), run.startswith("left")))

    def note(self, name: str, run: str) -> tuple[int, ...]:
        """Bytes written to stdout, number of lines before its tail + 1 or 0, and the same for stderr."""
        with open(os.path.join(self.directory, f"{name}.{run}.note"), "rb") as file:
            data = file.read()
        return NOTE.unpack(data) if data else (0, 0, 0, 0)

    def sent(self, name: str) -> int:
        """How many bytes a service has written so far, according to its notes."""
        notes = [self.note(name, run) for run in self.runs(name)]
        return sum(note[0] + note[2] for note in notes)

    def size(self, name: str, lines: int) -> int:
        """How many bytes the first lines of a service's stdout have in its first run."""
        texts = numbered(tag_of(name, "0", 1), self.commands[name][0])
        return sum(len(next(texts)) for _ in range(lines))

    def expected(self, name: str, run: str, stream: int, size: int) -> bytes:
        """The first `size` bytes of a stream of a run, or all of it if the run ended before."""
        tag = tag_of(name, run, stream)
        lines_before_tail = self.note(name, run)[2 * stream - 1] - 1
        data = bytearray()
        for number, line in enumerate(numbered(tag, self.commands[name][0])):
            if number == lines_before_tail:
                data += tail(tag)
                break
            data += line
            if len(data) >= size:
                break
        return bytes(data[:size])

    def check(self, channels: Channels, name: str, *, finished: bool = True, loses_cr: bool = False) -> None:
        """Check that every byte of a service is in its channels, in order, once, and nothing else.

        finished: an unfinished last line got a newline when its pipe was closed. loses_cr: except after a final CR.
        """
        for stream in (1, 2) if "err" in self.commands[name][1] else (1,):
            received = bytes(channels.get((name, stream), b""))
            at = 0
            runs = self.runs(name)
            assert runs
            for run, following in zip(runs, [*runs[1:], ""], strict=True):
                at = self._check_run(received, at, (name, run, stream), loses_cr=loses_cr)
                ends_open = at > 0 and received[at - 1 : at] != b"\n"
                if finished and ends_open and following != f"left{run}":
                    assert received[at : at + 1] == b"\n", _around((name, run, stream), received, at, b"\n")
                    at += 1
            assert at == len(received), _around((name, "the end", stream), received, at, b"")

    def _check_run(self, received: bytes, at: int, what: tuple[str, str, int], *, loses_cr: bool) -> int:
        """Where a run's part of a channel ends. At most one write of a run is missing from its note."""
        name, run, stream = what
        sent = self.note(name, run)[2 * stream - 2]
        expected = self.expected(name, run, stream, sent + PIECE_MAX)
        length = _common(received, at, expected)
        if loses_cr and length == sent - 1 and expected[length : length + 1] == b"\r":
            return at + length
        assert length >= sent, _around(what, received, at + length, expected[length : length + 80])
        return at + length


def _common(received: bytes, at: int, expected: bytes) -> int:
    """How many bytes of `expected` are found there."""
    low, high = 0, min(len(expected), len(received) - at)
    while low < high:
        middle = (low + high + 1) // 2
        if received[at + low : at + middle] == expected[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _around(what: tuple[str, str, int], received: bytes, at: int, expected: bytes) -> str:
    before, found = received[max(0, at - 200) : at], received[at : at + 200]
    where = " ".join(map(str, what))
    return f"{where}, byte {at} of {len(received)}: after {before!r} {found!r}, not {expected!r}"


# --- dropped lines ---------------------------------------------------------------------------------------


class Drops(NamedTuple):
    """The reports of dropped lines: how many reports, lines and bytes."""

    times: int
    lines: int
    size: int


def check_drops(writers: Writers, name: str, channel: bytes, lines: int) -> Drops:
    """Check that each of the first lines of a service's first run is there, or is reported as dropped in its place."""
    texts = numbered(tag_of(name, "0", 1), writers.commands[name][0])
    expected = [next(texts)[:-1] for _ in range(lines)]
    at = times = dropped = size = 0
    for line in channel.split(b"\n")[:-1]:
        report = _DROPPED.search(line)
        if report:
            count = int(report[1])
            assert sum(len(each) + 1 for each in expected[at : at + count]) == int(report[2])
            at, times, dropped, size = at + count, times + 1, dropped + count, size + int(report[2])
        else:
            assert line == expected[at]
            at += 1
    assert at == lines
    return Drops(times, dropped, size)


def lines_accounted_for(data: bytes | bytearray) -> int:
    """How many lines are there or are reported as dropped, in any format with one record per line."""
    report = _DROPPED.findall(data)
    return data.count(b"\n") - len(report) + sum(int(count) for count, _ in report)


# --- undoing formats -------------------------------------------------------------------------------------


def structured_text(text: str) -> bytes:
    r"""The bytes of a message in JSON or logfmt. \xNN stands for a byte, unless the service wrote it itself."""
    data = text.encode()
    return _ESCAPED.sub(lambda match: _BYTES[match[1]], data) if b"\\" in data else data


class Parts:
    """Split records: the parts of each so far by id, and the number of the next part."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[str, int]] = {}

    def joined(self, partial_id: str, ordinal: int, text: str, *, last: bool) -> str | None:
        """The whole text once the last part is there, None before. The parts arrive in order."""
        before, expected = self._begun.pop(partial_id, ("", 1))
        assert expected == ordinal
        if last:
            return before + text
        self._begun[partial_id] = (before + text, ordinal + 1)
        return None

    def end(self) -> None:
        """Check that each split record had its last part."""
        assert not self._begun


def channels_of_lines(channels: Channels, data: bytes, stream: int) -> None:
    """Whole lines in the formats prefix, json and logfmt, also mixed. stream: for formats that do not name it."""
    parts = Parts()
    assert data[-1:] in (b"", b"\n"), data[-200:]
    for line in data.split(b"\n")[:-1]:
        record = _json(line) or _logfmt(line)
        if record is None:
            match = _PREFIX.fullmatch(line)
            assert match, line[:200]
            channels.setdefault((match[1].decode(), stream), bytearray()).extend(match[2] + b"\n")
            continue
        assert len(line) + 1 < RECORD_MAX
        service, kind, message, *part = record
        text = parts.joined(part[0], int(part[1]), message, last=part[2] in (True, "true")) if part else message
        if text is not None:
            channels.setdefault((service, _STREAMS[kind]), bytearray()).extend(structured_text(text) + b"\n")
    parts.end()


def _json(line: bytes) -> list[Any] | None:
    """Service, stream, message and, for a part, its id, its number and whether it is the last."""
    if not line.startswith(b"{"):
        return None
    fields = json.loads(line)
    names = ["service", "stream", "message"]
    if "partial_message" in fields:
        names += ["partial_id", "partial_ordinal", "partial_last"]
    return [fields[name] for name in names]


def _logfmt(line: bytes) -> list[Any] | None:
    """The same for logfmt."""
    match = _LOGFMT.fullmatch(line)
    if not match:
        return None
    service, kind, message, *part = (each.decode() for each in match.groups() if each is not None)
    return [service, kind, json.loads(f'"{message}"', strict=False), *part]


def channels_by_tag(channels: Channels, data: bytes, stream: int) -> None:
    """Whole raw lines, which name their own service and stream. Other lines are ignored."""
    for line in data.split(b"\n")[:-1]:
        match = _TAGGED.match(line)
        if match:
            assert match[2] == b"-oe"[stream : stream + 1]
            channels.setdefault((match[1].decode(), stream), bytearray()).extend(line + b"\n")


def channels_of_syslog(channels: Channels, messages: list[bytes], *, lines: bool) -> None:
    """Messages of RFC 5424 or syslog(3). lines: from a unix stream, where control bytes are written as #NNN."""
    goes_on: dict[tuple[str, int], bool] = {}
    for message in messages:
        match = _SYSLOG.fullmatch(message)
        local = None if match else _LOCAL_SYSLOG.fullmatch(message)
        assert match or local, message[:200]
        key = (match[1].decode(), _STREAMS[match[2].decode()]) if match else (local[1].decode(), 1)  # type: ignore[index]
        text = match[3] if match else local[2]  # type: ignore[index]
        if lines:
            text = text.replace(b"#000", b"\0").replace(b"#012", b"\n")
        channel = channels.setdefault(key, bytearray())
        if channel and not goes_on[key]:
            channel += b"\n"
        channel += text
        goes_on[key] = len(message) >= SYSLOG_FULL
    for channel in channels.values():
        channel.extend(b"\n")


def file_with_rotated(path: str) -> bytes:
    """The contents of a log file and its rotated predecessors, oldest first.

    No log file is an empty one: after a crash between the rename and the creation of the next file there is none.
    """
    numbers = {
        int(name.removeprefix(f"{path}.").removesuffix(".gz")): name
        for name in glob.glob(f"{glob.escape(path)}.*")
        if name.removeprefix(f"{path}.").removesuffix(".gz").isdecimal()
    }
    data = b""
    for number in sorted(numbers, reverse=True):
        opener = gzip.open if numbers[number].endswith(".gz") else open
        with opener(numbers[number], "rb") as file:
            data += file.read()
    if os.path.exists(path):
        with open(path, "rb") as file:
            data += file.read()
    return data

"""`cohabit logs`: the output of the services, from the memory of process 1 and, with -f, as it is written.

Both streams go to stdout, in the form of the container's log (`name  | line`). The body of the answer consists of
records, not of JSON: a header line `SERVICE STREAM UNIXTIME LENGTH`, then LENGTH bytes of whole lines. The last line
may be unfinished; then the next record of that stream begins with its rest.
"""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime

from cohabit.cli import client
from cohabit.cli.options import Command, Option
from cohabit.client import DROPPED
from cohabit.client.client import log_records, stream_options
from cohabit.errors import UsageError
from cohabit.plan.model import OWN_NAME, PREFIX_COLOURS
from cohabit.reactor.linux import os
from cohabit.units import parse_duration, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from cohabit.client import LogRecord

    _Writer = tuple[Callable[[LogRecord], None], Callable[[], None]]  # for each record, and after the last one
    from cohabit.reactor.signals import InheritedSignals

FOLLOW = Option(("-f", "--follow"), "continue with new ones until the container ends")
SINCE = Option(("--since",), "show only what is newer: 10m, 2024-05-01T12:00:00Z, or Unix seconds", "TIME")
UNTIL = Option(("--until",), "show only what is older, in the forms of --since", "TIME")

COMMAND = Command(
    "logs",
    "[-f] [-n N] [--since TIME] [--until TIME] [-t] [SERVICE...]",
    "Show the output of services, as far as process 1 keeps it.",
    (
        FOLLOW,
        Option(("-n", "--tail"), "show only the last N lines of each service (default: all)", "N"),
        SINCE,
        UNTIL,
        Option(("-t", "--timestamps"), "print the time (UTC) before each line"),
        Option(("--no-log-prefix",), "do not print the service's name before each line"),
        Option(("--no-color",), "do not colour the names on a terminal (also: NO_COLOR=1)"),
        Option(("--index",), "the number of the replica: --index 2 web is web-2", "N"),
        *client.ALWAYS,
    ),
    details=(
        "cohabit keeps the last lines of each service: 64 KiB of each, 4 MiB in total. The complete output is where "
        "the logging driver of the service writes it, by default in the container's log (docker logs). Without a "
        "SERVICE, cohabit's own messages are included; the name `cohabit` selects only them.\n\n"
        "A reader that is too slow does not delay the services: part of the output is left out, and its size is "
        "reported. On a terminal, control characters other than colours are shown as escapes, so no service can move "
        "the cursor or imitate another one. In files and pipes every byte is unchanged.\n\n"
        "With --json, each line is an object: time (Unix seconds), service, stream (stdout, stderr), message. Where "
        'output was left out, the stream is "dropped" and the message is the number of bytes.'
    ),
    exit_codes=(("0", "done, or the container has ended"), *client.EXIT_CODES),
    examples=(
        ("cohabit logs -f web", "the kept output of web, then new output"),
        ("cohabit logs -n 20 -t", "the last 20 lines of each service, with times"),
        ("cohabit logs --since 10m --json | jq .message", "the messages of the last 10 minutes"),
    ),
)
# The only control sequences that a service may send to a terminal: colours (ECMA-48, SGR).
_COLOUR = re.compile(r"(\x1b\[[0-9;:]*m)")
_SPACES = "\t\u00a0\u202f\u2009\u3000\u200d"  # not printable for str.isprintable, harmless on a terminal


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, print, return the exit code."""
    values, services = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    services = replica("logs", services, values["index"])
    since, until = parse_times("logs", values)
    tail = _tail(values)
    request = [*services, *stream_options(since, None if until else tail, follow=values["follow"])]
    inherited.restore()
    write, end = json_writer() if values["json"] else _text_writer(values, services)
    answer = client.connect(COMMAND, values).checked("logs", request, streaming=True)
    while not (values["follow"] or answer.ended):
        answer.receive()  # all of it first: a pager may read more slowly than the server waits
    for record in _before(until, tail, log_records(answer)) if until else log_records(answer):
        write(record)
    end()
    return 0


def _before(until: float, tail: int | None, records: Iterable[LogRecord]) -> list[LogRecord]:
    """The records up to a time; of each service the last `tail` lines."""
    kept: list[LogRecord] = []
    left: dict[str, int] = {}
    for record in reversed([record for record in records if record.time <= until]):
        if record.stream == DROPPED:
            kept.append(record)
            continue
        lines = record.data.splitlines(keepends=True)
        room = left.get(record.service, len(lines) if tail is None else tail)
        if lines[len(lines) - min(room, len(lines)) :]:
            kept.append(record.replace(data=b"".join(lines[len(lines) - min(room, len(lines)) :])))
        if tail is not None:
            left[record.service] = max(room - len(lines), 0)
    return kept[::-1]


def _tail(values: dict[str, Any]) -> int | None:
    if values["tail"] in (None, "all", "-1"):
        return None
    if not values["tail"].isdecimal():
        raise UsageError(f"cannot logs: --tail {values['tail']!r} is not a number of lines (write --tail 20)")
    return int(values["tail"])


def replica(command: str, services: list[str], index: str | None) -> list[str]:
    """The instances that --index names, of these services. Raises UsageError."""
    if index is None:
        return services
    if not index.isdecimal() or not services:
        why = f"{index!r} is not the number of a replica" if services else "no service is named"
        raise UsageError(f"cannot {command}: --index: {why} (write --index 1 SERVICE)")
    return [f"{service}-{int(index)}" for service in services]


def parse_times(command: str, values: dict[str, Any]) -> tuple[float | None, float | None]:
    """Unix seconds of --since and --until, None if they are not given. Raises UsageError."""
    since, until = (_parse_time(command, f"--{name}", values[name]) for name in ("since", "until"))
    if values["follow"] and until is not None:
        raise UsageError(f"cannot {command}: --follow and --until exclude each other (leave one out)")
    return since, until


def _parse_time(command: str, option: str, text: str | None) -> float | None:
    """Unix seconds of "10m" (ago), an RFC 3339 time, or Unix seconds. Raises UsageError."""
    if text is None:
        return None
    try:
        if text.replace(".", "", 1).isdecimal():
            return float(text)
        if text[:1].isdecimal() and text[4:5] == "-":
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return time.time() - parse_duration(text)
    except (ValueError, OverflowError):
        raise UsageError(
            f"cannot {command}: {option} {text!r} is not a time (write 10m, 2024-05-01T12:00:00Z, or Unix seconds)"
        ) from None


def timestamp(moment: float) -> str:
    """Unix seconds as an RFC 3339 time, like `docker logs -t`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def json_writer() -> _Writer:
    """Write each line as an object, an unfinished one with its rest or at the end."""
    unfinished: dict[tuple[str, str], LogRecord] = {}

    def write(record: LogRecord) -> None:
        if record.stream == DROPPED:
            write_line(record, record.data)
            return
        key = (record.service, record.stream)
        begun = unfinished.pop(key, None)
        whole, newline, rest = ((begun.data if begun else b"") + record.data).rpartition(b"\n")
        if rest:
            unfinished[key] = record.replace(data=rest)
        for line in whole.split(b"\n") if newline else ():
            write_line(record, line)

    def write_line(record: LogRecord, line: bytes) -> None:
        message = line.decode("utf-8", "replace")
        entry = {"time": record.time, "service": record.service, "stream": record.stream, "message": message}
        client.write(json.dumps(entry) + "\n")

    def end() -> None:
        for record in unfinished.values():
            write_line(record, record.data)

    return write, end


def _text_writer(values: dict[str, Any], services: list[str]) -> _Writer:
    """Write each record with the prefix of the container's log; with colours on a terminal.

    An unfinished line is written without a newline. If another stream's record comes before its rest, it is ended.
    """
    names: list[str] = []
    if not values["no_log_prefix"]:
        names = [service.name for service in client.connect(COMMAND, values).status().services]
    shown = [name for name in names if name in services or name.rpartition("-")[0] in services]
    width = max(map(len, shown if services else [*names, OWN_NAME]), default=0)
    colour, escape = client.uses_colour() and not values["no_color"], os.isatty(1)

    def prefix(service: str) -> bytes:
        if values["no_log_prefix"]:
            return b""
        label = f"{service:{width}} | "
        number = names.index(service) if service in names else 0
        return (f"\x1b[{PREFIX_COLOURS[number % len(PREFIX_COLOURS)]}m{label}\x1b[0m" if colour else label).encode()

    open_line: tuple[str, str] | None = None
    interrupted: set[tuple[str, str]] = set()

    def write(record: LogRecord) -> None:
        nonlocal open_line
        key = (record.service, record.stream)
        before, goes_on = b"", open_line == key
        if open_line is not None and not goes_on:
            before = b"\n"
            interrupted.add(open_line)
        open_line = None
        if record.stream == DROPPED:
            client.write(before)
            client.print_dropped(int(record.data))
            return
        start = prefix(record.service) + (f"{timestamp(record.time)} ".encode() if values["timestamps"] else b"")
        lines = record.data.split(b"\n")
        last = lines.pop()
        if key in interrupted:
            interrupted.remove(key)
            del lines[: lines[:1] == [b""]]  # only the newline was left
        open_line = key if last else None
        shown = [b"%b%b\n" % (start, escape_line(line) if escape else line) for line in lines]
        if last:
            shown.append(start + (escape_line(last) if escape else last))
        client.write(before + b"".join(shown).removeprefix(start if goes_on else b""))

    def end() -> None:
        if open_line is not None:
            client.write(b"\n")

    return write, end


def escape_line(line: bytes) -> bytes:
    """A line without its newline, for a terminal; colours are reset at its end."""
    if line.isascii() and line.replace(b"\t", b"").decode().isprintable():
        return line
    pieces = _COLOUR.split(line.decode("utf-8", "backslashreplace").removesuffix("\r"))
    shown = [piece if index % 2 else _escape(piece) for index, piece in enumerate(pieces)]
    return ("".join(shown) + ("\x1b[0m" if len(pieces) > 1 else "")).encode()


def _escape(text: str) -> str:
    """Escape what a terminal interprets: controls (C0, C1) and marks that change the direction of writing."""
    return printable(text, kept=_SPACES)

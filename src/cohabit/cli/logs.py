"""`cohabit logs`: what the services have written, from the memory of process 1, and on as they write.

Everything goes to stdout, in the form that the container's own log has (`name  | line`). The body of the answer is
records, not JSON: a header line `SERVICE STREAM UNIXTIME LENGTH`, and so many bytes of whole lines.
"""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime

from cohabit.cli import client
from cohabit.cli.options import Command, Option
from cohabit.errors import UsageError
from cohabit.reactor.linux import os
from cohabit.units import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from cohabit.cli.connection import Answer
    from cohabit.reactor.signals import InheritedSignals

    Record = tuple[str, str, float, bytes]

FOLLOW = Option(("-f", "--follow"), "go on with what comes, until the container ends")

COMMAND = Command(
    "logs",
    "[-f] [-n N] [--since TIME] [-t] [SERVICE...]",
    "Show what services have written: all that is remembered, or its end.",
    (
        FOLLOW,
        Option(("-n", "--tail"), "only the last N lines of each service (default: all)", "N"),
        Option(("--since",), "only what is younger: 10m, 2024-05-01T12:00:00Z, or Unix seconds", "TIME"),
        Option(("-t", "--timestamps"), "put the time in front of each line (UTC)"),
        Option(("--no-prefix",), "leave out the name in front of each line"),
        *client.ALWAYS,
    ),
    details=(
        "cohabit remembers the last lines of each service; the container's log (docker logs) has them all. A reader "
        "that is too slow for what is written does not slow the services down: it is told how much it has missed. On a "
        "terminal no service can move the cursor or pass for another: control characters other than colours are shown "
        "as escapes. Into files and pipes every byte goes as it is.\n\n"
        "With --json each line is an object: time (Unix seconds), service, stream (stdout, stderr), message; where "
        'something was missed, the stream is "dropped" and the message its number of bytes.'
    ),
    exits=(("0", "done, or the container has ended"), *client.EXITS),
    examples=(
        ("cohabit logs -f web", "what web writes from now on, after all that is remembered"),
        ("cohabit logs -n 20 -t", "the last 20 lines of each service, with times"),
        ("cohabit logs --since 10m --json | jq .message", "for programs"),
    ),
)
# What a service may do to a terminal: colours (ECMA-48, SGR), and nothing else.
_COLOUR = re.compile(r"(\x1b\[[0-9;:]*m)")
_SPACES = "\t\u00a0\u202f\u2009\u3000\u200d"  # not printable to Python, harmless on a terminal
_OURS = "cohabit"  # whose own lines come along where no service is named
_COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")  # as in the container's log


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, print, return the exit code."""
    values, services = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    request = [*services, *_limits(values)]
    given.restore()
    write = _as_json if values["json"] else _for_people(values, services)
    answer = client.body(COMMAND, values, "logs", request, streams=True)
    while not (values["follow"] or answer.ended):
        answer.receive()  # all of it first: who pages through it may take longer than the server waits
    for record in _records(answer):
        write(record)
    return 0


def _limits(values: dict[str, Any]) -> Iterator[str]:
    """The options of the request."""
    if values["tail"] not in (None, "all"):
        if not values["tail"].isdecimal():
            raise UsageError(f"cannot logs: --tail {values['tail']!r} is no number of lines (write --tail 20)")
        yield f"tail={values['tail']}"
    if values["since"] is not None:
        yield f"since={parse_since('logs', values['since']):.6f}"
    if values["follow"]:
        yield "follow=yes"


def parse_since(verb: str, text: str) -> float:
    """Unix seconds of "10m" (ago), an RFC 3339 time, or Unix seconds. Raises UsageError."""
    try:
        if text.replace(".", "", 1).isdecimal():
            return float(text)
        if text[:1].isdecimal() and text[4:5] == "-":
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return time.time() - parse_duration(text)
    except (ValueError, OverflowError):
        raise UsageError(
            f"cannot {verb}: --since {text!r} is no time (write 10m, 2024-05-01T12:00:00Z, or Unix seconds)"
        ) from None


def timestamp(moment: float) -> str:
    """Unix seconds as RFC 3339, as `docker logs -t` shows them."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _records(answer: Answer) -> Iterator[Record]:
    """(service, stream, Unix seconds, bytes) as they come."""
    for header in answer.lines():
        service, stream, moment, length = header.decode("utf-8", "replace").split(" ")
        yield service, stream, float(moment), answer.read(int(length))


def _as_json(record: Record) -> None:
    service, stream, moment, data = record
    for line in data.removesuffix(b"\n").split(b"\n"):
        message = line.decode("utf-8", "replace")
        entry = {"time": moment, "service": service, "stream": stream, "message": message}
        client.write(json.dumps(entry) + "\n")


def _for_people(values: dict[str, Any], services: list[str]) -> Callable[[Record], None]:
    """What writes a record with the prefix that its service has in the container's log, colours on a terminal."""
    names: list[str] = []
    if not values["no_prefix"]:
        names = [service["name"] for service in client.status(COMMAND, values)[1]]
    shown = [name for name in names if name in services or name.rpartition("-")[0] in services]
    width = max(map(len, shown if services else [*names, _OURS]), default=0)
    colour, harmless = client.shows_colour(), os.isatty(1)

    def prefix(service: str) -> bytes:
        if values["no_prefix"]:
            return b""
        label = f"{service:{width}} | "
        number = names.index(service) if service in names else 0
        return (f"\x1b[{_COLOURS[number % len(_COLOURS)]}m{label}\x1b[0m" if colour else label).encode()

    def write(record: Record) -> None:
        service, stream, moment, data = record
        if stream == "dropped":
            client.write(f"cohabit: {data.decode()} bytes were missed: what reads this is too slow\n", 2)
            return
        start = prefix(service) + (f"{timestamp(moment)} ".encode() if values["timestamps"] else b"")
        lines = data.removesuffix(b"\n").split(b"\n")
        client.write(b"".join(b"%b%b\n" % (start, _harmless(line) if harmless else line) for line in lines))

    return write


def _harmless(line: bytes) -> bytes:
    """A line for a terminal; colours that are left on end with it."""
    if line.isascii() and line.replace(b"\t", b"").decode().isprintable():
        return line
    pieces = _COLOUR.split(line.decode("utf-8", "backslashreplace").removesuffix("\r"))
    shown = [piece if index % 2 else _escaped(piece) for index, piece in enumerate(pieces)]
    return ("".join(shown) + ("\x1b[0m" if len(pieces) > 1 else "")).encode()


def _escaped(text: str) -> str:
    """Without anything that a terminal obeys: controls (C0, C1), and marks that turn the direction of reading."""
    return "".join(one if one.isprintable() or one in _SPACES else ascii(one)[1:-1] for one in text)

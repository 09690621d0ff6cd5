"""Reads the line of a request and writes the lines of an answer (docs/reference/control.md).

A request is a list of arguments, so that process 1 parses nothing that could be nested, long or ambiguous. An answer is
one line with an exit code and a text, which a shell can read, followed by JSON. The encoder is the C part of the
standard library's json: the Python part would cost process 1 7 ms and import a regular expression engine.
"""

from __future__ import annotations

import _json

from cohabit.errors import EXIT_USAGE
from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.engine.events import Event

VERSION = 2
REQUEST_BYTES_MAX = 65_536
_GREETING = f"cohabit/{VERSION}"


class RequestError(Exception):
    """A request that is refused. The text is for people; code is the exit code for the client."""

    def __init__(self, text: str, code: int = EXIT_USAGE) -> None:
        super().__init__(text)
        self.code = code


class Request(Record):
    """One request. options: the arguments that contain "="; names: the other arguments."""

    command: str
    options: dict[str, str] = {}  # noqa: RUF012 - a record's default is never changed
    names: tuple[str, ...] = ()


class Answer(Record):
    """One answer. code: exit code for the client; text: the reason, one line; body: objects, one per line.

    after_close: events for the engine once the client has closed the connection, because they may end the client.
    """

    code: int
    text: str
    body: tuple[dict[str, Any], ...] = ()
    after_close: tuple[Event, ...] = ()


def parse(line: bytes) -> Request:
    """Parse the line of a request, given without its newline. Raises RequestError."""
    try:
        greeting, *arguments = line.decode().split(" ")
    except UnicodeDecodeError:
        raise RequestError("cannot read the request: it is not UTF-8") from None
    if greeting != _GREETING:
        why = f"it does not begin with {_GREETING} (is the client from another version?)"
        raise RequestError(f"cannot read the request: {why}")
    arguments = [argument for argument in arguments if argument]
    if not arguments:
        raise RequestError(f"cannot read the request: no command follows {_GREETING}")
    command, *rest = arguments
    options = dict(argument.split("=", 1) for argument in rest if "=" in argument)
    return Request(command, options, tuple(argument for argument in rest if "=" not in argument))


def head(code: int, text: str) -> bytes:
    """Return the first line of an answer. A newline becomes "; ", and unprintable characters are escaped."""
    shown = text.replace("\n", "; ")
    if not shown.isprintable():  # checked as a whole: one character at a time takes a tenth of a second per MiB
        shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in shown)
    return f"{code} {shown}\n".encode("utf-8", "replace")


def line(value: dict[str, Any]) -> bytes:
    """Return one object of a body as a line of JSON. Bytes that are not UTF-8 are escaped as in PEP 383."""
    return "".join((*_encode(value, 0), "\n")).encode("ascii")


def record(service: str, stream: str, moment: float, data: bytes) -> bytes:
    """Return a piece of a log: a header line, then the bytes. moment: Unix seconds."""
    return f"{service} {stream} {moment:.6f} {len(data)}\n".encode() + data


def encode(answer: Answer) -> bytes:
    """Return a whole answer: its first line and its body."""
    return head(answer.code, answer.text) + b"".join(map(line, answer.body))


def _refuse(value: object) -> None:
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


# The arguments that json.encoder passes: markers, default, string encoder, indent, ": ", ", ", sort, skip, NaN.
_encode = _json.make_encoder(None, _refuse, _json.encode_basestring_ascii, None, ": ", ", ", False, False, False)

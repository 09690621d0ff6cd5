"""The protocol's two lines: a request read, an answer written (docs/reference/control.md).

A request is words, so that process 1 has nothing to parse that could be deep, long or ambiguous; an answer is one
line with an exit code and a reason, which a shell can read, and JSON behind it. The encoder is the C part of the
standard library's json, whose Python part would cost process 1 7 ms and a regular expression engine.
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
    """The request cannot be answered: a sentence for people, and the exit code for a client."""

    def __init__(self, text: str, code: int = EXIT_USAGE) -> None:
        super().__init__(text)
        self.code = code


class Request(Record):
    """One request. options: the words with "=" in them, names: the others."""

    verb: str
    options: dict[str, str] = {}  # noqa: RUF012 - a record's default is never changed
    names: tuple[str, ...] = ()


class Answer(Record):
    """One answer. code: the exit code that a client should end with; text: why, one line; body: one object a line.

    then: facts for the engine when the client has gone, which they might end.
    """

    code: int
    text: str
    body: tuple[dict[str, Any], ...] = ()
    then: tuple[Event, ...] = ()


def parse(line: bytes) -> Request:
    """A request from its line, without the newline. Raises RequestError."""
    try:
        words = line.decode().split(" ")
    except UnicodeDecodeError:
        raise RequestError("cannot read the request: it is not UTF-8") from None
    if words[0] != _GREETING:
        raise RequestError(f"cannot read the request: it does not begin with {_GREETING} (another version's client?)")
    words = [word for word in words[1:] if word]
    if not words:
        raise RequestError(f"cannot read the request: there is no verb behind {_GREETING}")
    options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    return Request(words[0], options, tuple(word for word in words[1:] if "=" not in word))


def head(code: int, text: str) -> bytes:
    """The first line of an answer."""
    shown = text.replace("\n", "; ")
    if not shown.isprintable():  # at once: one by one costs a tenth of a second for a MiB
        shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in shown)
    return f"{code} {shown}\n".encode("utf-8", "replace")


def line(value: dict[str, Any]) -> bytes:
    """One object of a body, as a line of JSON; what is no text (bytes of a file's name) is escaped as PEP 383 does."""
    return "".join((*_encode(value, 0), "\n")).encode("ascii")


def record(service: str, stream: str, moment: float, data: bytes) -> bytes:
    """A piece of a log: a header line, then the bytes. moment: Unix seconds."""
    return f"{service} {stream} {moment:.6f} {len(data)}\n".encode() + data


def encode(answer: Answer) -> bytes:
    """A whole answer."""
    return head(answer.code, answer.text) + b"".join(map(line, answer.body))


def _refuse(value: object) -> None:
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


# As json.encoder makes its own: (markers, default, string encoder, indent, ": ", ", ", sort, skip, NaN).
_encode = _json.make_encoder(None, _refuse, _json.encode_basestring_ascii, None, ": ", ", ", False, False, False)

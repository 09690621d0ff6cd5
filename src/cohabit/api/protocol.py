"""Reads the line of a request and writes the lines of an answer (docs/reference/control.md).

A request is a list of arguments, so that process 1 parses nothing that could be nested, long or ambiguous. An answer is
one line with an exit code, an error code and a text, which a shell can read, followed by JSON. The answer to a request
with an id comes in chunks that carry the id, so that several requests can share a connection. The encoder is the C part
of the standard library's json: the Python part would cost process 1 7 ms and import a regular expression engine.
"""

from __future__ import annotations

import _json

from cohabit import __version__
from cohabit.control import BY_EXIT_CODE, GREETING, GREETING_PREFIX, OK, VERSION, VERSION_MISMATCH
from cohabit.errors import EXIT_USAGE
from cohabit.plan.record import Record
from cohabit.units import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.engine.events import Event

_ID_DIGITS_MAX = 9


class RequestError(Exception):
    """A request that is refused. The text is for people; code is the exit code for the client, error the error code."""

    def __init__(self, text: str, code: int = EXIT_USAGE, error: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.error = error


class Request(Record):
    """One request. options: the arguments that contain "="; names: the other arguments."""

    command: str
    options: dict[str, str] = {}  # noqa: RUF012 - a record's default is never changed
    names: tuple[str, ...] = ()


class Answer(Record):
    """One answer. code: exit code for the client; text: the reason, one line; body: objects, one per line.

    after_close: events for the engine once the client has closed the connection, because they may end the client.
    error: the error code; "" for the usual one of the exit code.
    """

    code: int
    text: str
    body: tuple[dict[str, Any] | Record, ...] = ()
    after_close: tuple[Event, ...] = ()
    error: str = ""


def parse(line: bytes) -> Request:
    """Parse the line of a request, given without its newline. Raises RequestError."""
    try:
        greeting, *arguments = line.decode().split(" ")
    except UnicodeDecodeError:
        raise RequestError("cannot read the request: it is not UTF-8") from None
    if greeting != GREETING:
        raise _wrong_greeting(greeting)
    arguments = [argument for argument in arguments if argument]
    if arguments and arguments[0].startswith("#"):
        del arguments[0]
    if not arguments:
        raise RequestError(f"cannot read the request: no command follows {GREETING}")
    command, *rest = arguments
    options = dict(argument.split("=", 1) for argument in rest if "=" in argument)
    return Request(command, options, tuple(argument for argument in rest if "=" not in argument))


def request_id(line: bytes) -> int | None:
    """Return the id of a request, None if it has none. Raises RequestError for an id that is not a number."""
    greeting, _, rest = line.partition(b" ")
    if greeting != GREETING.encode() or not rest.startswith(b"#"):
        return None
    digits = rest[1:].partition(b" ")[0]
    if not digits.isdigit() or len(digits) > _ID_DIGITS_MAX:
        raise RequestError(f"cannot read the request: its id is not a number of 1 to {_ID_DIGITS_MAX} digits")
    return int(digits)


def _wrong_greeting(greeting: str) -> RequestError:
    number = greeting.removeprefix(GREETING_PREFIX)
    if number == greeting or not number.isdecimal() or len(number) > _ID_DIGITS_MAX:
        return RequestError(f"cannot read the request: it does not begin with {GREETING}")
    versions = f"another version of the protocol ({int(number)}) than cohabit {__version__} ({VERSION})"
    if int(number) > VERSION:
        older = "cohabit is older (replace it by the installed program: cohabit reexec)"
    else:
        older = "the client is older (use the program that belongs to the running cohabit)"
    text = f"cannot read the request: the client speaks {versions}: {older}"
    return RequestError(text, EXIT_USAGE, VERSION_MISMATCH)


def head(code: int, text: str, error: str = "") -> bytes:
    """Return the first line of an answer. A newline becomes "; ", and unprintable characters are escaped.

    error: the error code, "" for the usual one of the exit code.
    """
    shown = printable(text.replace("\n", "; "))
    return f"{code} {error or BY_EXIT_CODE.get(code, OK)} {shown}\n".encode("utf-8", "replace")


def chunk(number: int, data: bytes) -> bytes:
    """Return a piece of the answer to the request with this id. A piece without data ends the answer."""
    return b"#%d %d\n%b" % (number, len(data), data)


def line(value: dict[str, Any] | Record) -> bytes:
    """Return one object of a body as a line of JSON. Bytes that are not UTF-8 are escaped as in PEP 383."""
    return "".join((*_encode(value, 0), "\n")).encode("ascii")


def record(service: str, stream: str, moment: float, data: bytes) -> bytes:
    """Return a piece of a log: a header line, then the bytes. moment: Unix seconds."""
    return f"{service} {stream} {moment:.6f} {len(data)}\n".encode() + data


def encode(answer: Answer) -> bytes:
    """Return a whole answer: its first line and its body."""
    return head(answer.code, answer.text, answer.error) + b"".join(map(line, answer.body))


def _fields(value: object) -> dict[str, Any]:
    if isinstance(value, Record):
        return value.__dict__
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


# The arguments that json.encoder passes: markers, default, string encoder, indent, ": ", ", ", sort, skip, NaN.
_encode = _json.make_encoder(None, _fields, _json.encode_basestring_ascii, None, ": ", ", ", False, False, False)

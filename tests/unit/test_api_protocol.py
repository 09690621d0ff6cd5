"""api/protocol.py: parsing a request and encoding an answer."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cohabit.api import protocol
from cohabit.api.protocol import Answer, Request, RequestError

_VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"cohabit/2 ps", Request("ps")),
        (b"cohabit/2 stop web db", Request("stop", {}, ("web", "db"))),
        (b"cohabit/2 logs tail=5 web since=", Request("logs", {"tail": "5", "since": ""}, ("web",))),
        (b"cohabit/2 scale web=2=3", Request("scale", {"web": "2=3"})),
        (b"cohabit/2  stop   web ", Request("stop", {}, ("web",))),
    ],
)
def test_a_request_is_a_list_of_arguments(line: bytes, expected: Request) -> None:
    """Arguments with "=" are options, the others are names."""
    assert protocol.parse(line) == expected


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"", "does not begin with cohabit/2"),
        (b"GET / HTTP/1.1\r", "does not begin with cohabit/2"),
        (b"cohabit/1 ps", "another version"),
        (b"cohabit/2", "no command follows"),
        (b"cohabit/2  ", "no command follows"),
        (b"cohabit/2 stop \xff", "not UTF-8"),
    ],
)
def test_an_invalid_request_is_refused(line: bytes, text: str) -> None:
    """A line that is not a request raises an error with a reason and the usage exit code."""
    with pytest.raises(RequestError, match=text) as caught:
        protocol.parse(line)
    assert caught.value.code == 64


@given(some.binary(max_size=200))
def test_any_bytes_are_a_request_or_an_error(line: bytes) -> None:
    """Any line is parsed or refused; nothing else is raised."""
    for data in (line, b"cohabit/2 " + line):
        with contextlib.suppress(RequestError):
            protocol.parse(data)


@given(some.integers(0, 255), some.text(), some.lists(some.dictionaries(some.text(), _VALUES), max_size=3))
def test_an_answer_is_one_line_and_objects(code: int, text: str, body: list[dict[str, Any]]) -> None:
    """The first line is code and text, and each further line is an object, whatever they contain."""
    head, *lines, rest = protocol.encode(Answer(code, text, tuple(body))).split(b"\n")
    assert rest == b""
    assert head.split(b" ")[0] == b"%d" % code
    assert head.decode().isprintable()
    assert [json.loads(line) for line in lines] == body


def test_bytes_that_are_not_utf8_survive() -> None:
    """An environment may hold any bytes; they are escaped as in PEP 383."""
    value = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert json.loads(protocol.line({"a": value})) == {"a": value}

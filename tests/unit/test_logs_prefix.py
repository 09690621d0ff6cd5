"""The driver prefix: name, colour and time before each line."""

from __future__ import annotations

import os
import pty
import re
import tty
from typing import TYPE_CHECKING

import pytest

from cohabit.plan.model import COLOUR, NAME, TIME, Logging
from cohabit.reactor.logs import formats
from cohabit.reactor.logs.sink import Sink
from cohabit.reactor.poller import Poller
from unit.output_story import new_output, writing

if TYPE_CHECKING:
    from collections.abc import Iterator

MOMENT_NS = 1_732_449_600_123_456_789
TIMESTAMP = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z "
COLOURED = rb"\x1b\[\d+mweb     \| \x1b\[0m"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a pseudo-terminal that changes no byte."""
    ends = pty.openpty()
    tty.setraw(ends[1])
    yield ends
    for fd in ends:
        os.close(fd)


def _shown(ends: tuple[int, int], before: tuple[str, ...]) -> bytes:
    """What a service and cohabit write to the terminal."""
    poller = Poller()
    output = new_output(poller, Sink(ends[1]), Sink(ends[1]))
    output.name_services(["web"], (Logging(before=before),))
    ends_of_service = output.reader.open(writing("web", Logging(before=before)), None)[0]
    os.write(ends_of_service[0], b"one\ntwo\n")
    for each in ends_of_service:
        os.close(each)
    output.finish(lambda: 1.0)
    output.say("info", "cohabit", "own")
    output.reader._sources.close()
    poller.close()
    shown = b""
    while not shown.endswith(b"own\n"):  # a terminal passes bytes on a little later
        shown += os.read(ends[0], 65_536)
    return shown


@pytest.mark.parametrize(
    ("before", "line", "own"),
    [
        ((NAME, COLOUR), COLOURED, rb"\x1b\[\d+mcohabit \| \x1b\[0m"),
        ((NAME,), rb"web     \| ", rb"cohabit \| "),
        ((NAME, COLOUR, TIME), COLOURED + TIMESTAMP, rb"\x1b\[\d+mcohabit \| \x1b\[0m" + TIMESTAMP),
        ((TIME,), TIMESTAMP, TIMESTAMP),
    ],
)
def test_a_line_has_what_is_wanted(
    before: tuple[str, ...], line: bytes, own: bytes, terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal; own messages have the same."""
    monkeypatch.setattr("cohabit.reactor.logs.destinations.environment", dict)
    shown = _shown(terminal, before)
    assert re.fullmatch(line + b"one\n" + line + b"two\n" + own + b"own\n", shown)


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "xterm"}, True)],
)
def test_colours_follow_the_environment(
    variables: dict[str, str], coloured: bool, terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR counts unless it is empty (no-color.org)."""
    monkeypatch.setattr("cohabit.reactor.logs.destinations.environment", lambda: variables)
    assert (b"\x1b" in _shown(terminal, (NAME, COLOUR))) is coloured


def test_the_beginning_of_a_line_has_its_time() -> None:
    """Its rest follows without another one."""
    form = formats.Prefix(b"web | ", timestamps=True)
    begun = b"web | 2024-11-24T12:00:00.123456789Z Name: "
    assert form.unfinished(b"Name: ", MOMENT_NS) == begun
    assert bytes(form.records([b"a", b"b"], MOMENT_NS)).count(b"2024-11-24T12:00:00.123456789Z ") == 2

"""reactor/logs/unfinished.py: an unfinished line is shown after a silence, and neither torn nor doubled."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cohabit.plan.model import Logging
from cohabit.reactor.logs import unfinished
from cohabit.reactor.logs.destination import BLOCKED
from unit.test_output_trouble import OutputLoop, fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class QuietLoop(OutputLoop):
    """A turn with its timers is a silence. write(silence=False) only reads what the service has written."""

    def write(self, fd: int, data: bytes, *, silence: bool = True) -> bytes:
        """A service writes, and is silent then. Returns what has come out."""
        os.write(fd, data)
        self.poller.wait(0)
        if silence:
            self.poller.run_timers(time.monotonic())
        return self.read()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[QuietLoop]:
    """A loop in which any silence is long enough."""
    monkeypatch.setattr(unfinished, "SILENCE_SECONDS", 0.0)
    one = QuietLoop()
    yield one
    one.close()


@pytest.mark.parametrize("mode", [Logging(), Logging(blocking=False)])
def test_a_line_goes_on_where_it_was_shown(loop: QuietLoop, mode: Logging) -> None:
    """In parts, each written once; the next line has its prefix again."""
    one = loop.open("one", mode)
    assert loop.write(one, b"first\npass", silence=False) == b"one     | first\n"
    assert loop.write(one, b"word: ") == b"one     | password: "
    assert loop.write(one, b"10%\r") == b"10%\r"
    assert loop.write(one, b"done\nsecond\nth") == b"done\none     | second\none     | th"
    assert loop.write(one, b"ird\n") == b"ird\n"
    assert loop.poller.deadline() is None


@pytest.mark.parametrize(
    ("begun", "rest"),
    [
        ("é".encode()[:1], "é".encode()[1:]),
        ("漢".encode()[:2], "漢".encode()[2:]),
        ("😀".encode()[:3], "😀".encode()[3:]),
        (b"\x1b", b"[0m"),
        (b"\x1b[", b"K"),
        (b"\x1b[38;5;1", b"96m"),
    ],
)
def test_no_character_is_torn(loop: QuietLoop, begun: bytes, rest: bytes) -> None:
    """Nor an escape sequence: what begins one is shown when it is complete."""
    one = loop.open("one")
    assert loop.write(one, "漢 \x1b[1m".encode() + begun) == "one     | 漢 \x1b[1m".encode()
    assert loop.write(one, rest) == begun + rest
    assert loop.write(one, begun) == b""
    assert loop.write(one, b"\n") == begun + b"\n"


@pytest.mark.parametrize("end", [b"\x80\x80", b"\xc3\xa9", b"\x1b[0m", b"\x1bM", b"\x80"])
def test_what_begins_no_character_is_shown(loop: QuietLoop, end: bytes) -> None:
    """A complete one, and bytes that are no UTF-8."""
    one = loop.open("one")
    assert loop.write(one, b"a" + end) == b"one     | a" + end


def test_the_timer_exists_only_while_a_line_is_unfinished(loop: QuietLoop) -> None:
    """Whole lines set none, and a line that is shown has none."""
    one = loop.open("one")
    loop.write(one, b"whole\n", silence=False)
    assert loop.poller.deadline() is None
    loop.write(one, b"half", silence=False)
    assert loop.poller.deadline() is not None
    loop.write(one, b" a line\n", silence=False)
    assert loop.poller.deadline() is not None
    loop.turn()
    assert loop.poller.deadline() is None


def test_a_line_whose_rest_is_there_is_not_unfinished(loop: QuietLoop) -> None:
    """Process 1 was slow to read it, not the service to write it."""
    one = loop.open("one")
    os.write(one, b"be")
    loop.poller.wait(0)
    os.write(one, b"gun\n")
    loop.poller.run_timers(time.monotonic())
    assert loop.read() == b""
    loop.poller.wait(0)
    assert loop.read() == b"one     | begun\n"


def test_a_line_that_is_interrupted_goes_on_in_another_one(loop: QuietLoop) -> None:
    """What comes between begins a line: of another service, or a message of cohabit; its newline alone is dropped."""
    one, two = loop.open("one"), loop.open("two")
    assert loop.write(one, b"start...") == b"one     | start..."
    assert loop.write(two, b"x") == b"\ntwo     | x"
    assert loop.write(one, b"half") == b"\none     | half"
    assert loop.write(two, b"y\n") == b"\ntwo     | y\n"
    assert loop.write(one, b"done\n") == b"one     | done\n"
    assert loop.write(one, b"end") == b"one     | end"
    assert loop.write(two, b"z\n") == b"\ntwo     | z\n"
    assert loop.write(one, b"\nnext\n") == b"one     | next\n"


def test_raw_bytes_begin_a_line(loop: QuietLoop) -> None:
    """Also those that are moved in the kernel."""
    one, two = loop.open("one"), loop.open("two", "raw")
    loop.write(one, b"start...")
    assert loop.write(two, b"raw\n") == b"\nraw\n"


def test_lines_of_several_lines_and_records_are_whole(loop: QuietLoop) -> None:
    """Json and logfmt wait for the end of the line."""
    for driver in ("json", "logfmt"):
        one = loop.open("one", driver)
        assert loop.write(one, b"start...") == b""
        assert loop.write(one, b"done\n").count(b"start...done") == 1


def test_a_destination_that_is_blocked_shows_nothing(loop: QuietLoop) -> None:
    """Nothing is lost: the line is whole when it can be written."""
    one, two = loop.open("one"), loop.open("two")
    stdout, out = loop.output.destinations.containers["stdout"], b""

    def blocked() -> bool:
        fill(two, b"x" * 99 + b"\n", 100_000)
        loop.turn()
        return stdout.state == BLOCKED

    while not blocked():
        pass
    os.write(one, b"start...")
    loop.turn()

    def written() -> bool:
        nonlocal out
        out += loop.read()
        return b"one     | start..." in out

    loop.until(written)
    os.write(one, b"done\n")
    loop.until(lambda: written() and b"done\n" in out)
    assert b"one     | start...done\n" in out


def test_a_reexecution_in_a_line(loop: QuietLoop) -> None:
    """The line goes on, and a message is not put into it."""
    one = loop.open("one")
    loop.write(one, b"start...")
    loop.reexecute()
    assert loop.write(one, b"half...") == b"half..."
    loop.reexecute()
    two = loop.open("two")
    assert loop.write(two, b"x\n") == b"\ntwo     | x\n"
    assert loop.write(one, b"done\n") == b"one     | done\n"


def test_an_end_that_may_begin_a_secret_is_not_shown(loop: QuietLoop, tmp_path: Path) -> None:
    """It is masked when the secret is complete, and shown when it is another word."""
    (tmp_path / "secret").write_text("swordfish")
    loop.output.hide([f"{tmp_path}/secret"])
    one = loop.open("one")
    assert loop.write(one, b"a sword") == b"one     | a "
    assert loop.output.last_lines("one", 9) == [b"a "]
    assert loop.write(one, b"fish, a sword") == b"***, a "
    assert loop.write(one, b" of iron") == b"sword of iron"
    assert loop.write(one, b"\n") == b"\n"
    assert loop.output.last_lines("one", 9) == [b"a ***, a sword of iron"]


@pytest.mark.parametrize(
    ("secrets", "parts", "masked"),
    [
        ("admin\nadmin123", (b"as admin", b"123, admin"), [b"as ", b"***, "]),
        ("cret\nsecret-key", (b"a secret", b"-key."), [b"a ", b"***."]),
        ("abcd1234\n1234wxyz", (b"a abcd1234", b"."), [b"a ", b"***."]),
    ],
)
def test_a_secret_that_begins_with_another_is_not_shown_in_parts(
    loop: QuietLoop, tmp_path: Path, secrets: str, parts: tuple[bytes, ...], masked: list[bytes]
) -> None:
    """Nor one that has another inside, or overlaps with it."""
    (tmp_path / "secret").write_text(secrets)
    loop.output.hide([f"{tmp_path}/secret"])
    one = loop.open("one")
    assert [loop.write(one, part).removeprefix(b"one     | ") for part in parts] == masked


def test_clients_and_the_last_lines_have_it(loop: QuietLoop) -> None:
    """The last lines at once; clients that follow get each part once."""
    got: list[tuple[str, str, bytes]] = []
    one = loop.open("one")
    loop.output.router.follow(lambda name, stream, _time, data: got.append((name, stream, data)))
    loop.write(one, b"a\nb", silence=False)
    assert loop.output.last_lines("one", 9) == [b"a", b"b"]
    assert loop.output.last_lines("one", 1) == [b"b"]
    assert loop.output.unfinished("one") == [("stdout", b"b")]
    assert loop.output.unfinished("one", shown=True) == []
    loop.turn()
    assert loop.output.unfinished("one", shown=True) == [("stdout", b"b")]
    loop.write(one, b"c")
    loop.write(one, b"d\n")
    assert got == [("one", "stdout", data) for data in (b"a\n", b"b", b"c", b"d\n")]
    assert loop.output.last_lines("one", 9) == [b"a", b"bcd"]


def test_a_long_line_in_parts(loop: QuietLoop) -> None:
    """It is cut at 1 MiB as without a silence; what was shown is not written again."""
    one, out = loop.open("one"), b""
    for _ in range(40):
        out += loop.write(one, b"x" * 32_768)
    assert out.replace(b"one     | ", b"").replace(b"\n", b"") == b"x" * (40 * 32_768)
    assert out.count(b"\n") == 1


_texts = some.sampled_from([b"a", b"bc\n", b"\n", b"d\ne", b"f\n\ng\n", b"h\r"])
_steps = some.lists(some.tuples(some.sampled_from(["one", "two"]), _texts, some.booleans()), max_size=20)


@given(steps=_steps)
def test_every_byte_is_written_once(steps: list[tuple[str, bytes, bool]]) -> None:
    """Whatever is written in which order, with silences anywhere; lines of two services are never mixed."""
    before, unfinished.SILENCE_SECONDS = unfinished.SILENCE_SECONDS, 0.0
    loop = QuietLoop()
    try:
        ends = {name: loop.open(name) for name in ("one", "two")}
        out, written = b"", {"one": b"", "two": b""}
        for name, text, silence in steps:
            out += loop.write(ends[name], text, silence=silence)
            written[name] += text
        loop.output.finish(lambda: 1.0)
        out += loop.read()
    finally:
        loop.close()
        unfinished.SILENCE_SECONDS = before
    shown = {"one": b"", "two": b""}
    for line in out.split(b"\n")[:-1]:
        label, separator, text = line.partition(b"     | ")
        assert separator
        shown[label.decode()] += text
    assert shown == {name: text.replace(b"\n", b"") for name, text in written.items()}
    assert out == b"" or out.endswith(b"\n")
    if len({name for name, _, _ in steps}) == 1:
        (name,) = {name for name, _, _ in steps}
        whole = written[name] if written[name].endswith(b"\n") else written[name] + b"\n"
        assert out == b"".join(name.encode() + b"     | " + line + b"\n" for line in whole.split(b"\n")[:-1])

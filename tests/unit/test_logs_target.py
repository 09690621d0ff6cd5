"""reactor/logs/target.py: blocking targets wait; non-blocking ones drop lines and report it where they are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cohabit.reactor.logs.destination import BLOCKED, LOST, OPEN, Destination
from cohabit.reactor.logs.formats import Raw
from cohabit.reactor.logs.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable

NOTICE = "! "


class FakeSink:
    """A sink that accepts so many bytes, and no more until its room grows."""

    fd = -1
    retry_at: float | None = None
    lost = problem = ""
    byte_stream = True

    def __init__(self, room: int = 0) -> None:
        self.room = room
        self.pending = b""
        self.taken = b""

    @property
    def blocked(self) -> bool:
        """Whether bytes are pending."""
        return bool(self.pending)

    @property
    def pending_bytes(self) -> int:
        """How many bytes are pending."""
        return len(self.pending)

    def write(self, data: bytes | memoryview) -> None:
        """Accept what fits."""
        self.pending += bytes(data)
        self.flush()

    def flush(self) -> None:
        """Accept what fits of what is pending."""
        count = min(self.room, len(self.pending))
        self.taken += self.pending[:count]
        self.pending = self.pending[count:]
        self.room -= count

    def drain(self, _: Callable[[], float]) -> None:
        """Accept what fits."""
        self.flush()

    def to_plain(self) -> Any:
        """Not used."""

    def restore(self, plain: Any) -> None:
        """Not used."""


class Timers:
    """A poller that only remembers the timer. when: None if none is set."""

    when: float | None = None

    def add(self, *_: Any) -> None:
        """Nothing is ever ready."""

    def remove(self, _: int) -> None:
        """Nothing is ever ready."""

    def call_at(self, _: Any, when: float | None, __: Any) -> None:
        """Set the timer."""
        self.when = when

    def cancel(self, _: Any) -> None:
        """Cancel the timer."""
        self.when = None


def destination_of(sink: FakeSink) -> Destination:
    """A destination whose resume() the test calls."""
    poller: Any = Timers()
    return Destination(poller, sink, "")


def notice(text: str) -> bytes:
    """The notice about dropped lines."""
    return f"{NOTICE}{text}\n".encode()


def targets_with(room: int, *limits: int | None) -> tuple[FakeSink, Destination, list[Target]]:
    """A sink with that much room, and targets that buffer so many bytes each; None: blocking."""
    sink = FakeSink(room)
    destination = destination_of(sink)
    return sink, destination, [Target(Raw(), destination, limit, notice) for limit in limits]


def test_a_blocking_target_writes_everything_and_must_wait() -> None:
    """What it was given is written eventually."""
    sink, destination, (target,) = targets_with(3, None)
    target.lines(b"12345\n", 0)
    assert (sink.taken, sink.pending, target.must_wait, destination.has_pending) == (b"123", b"45\n", True, True)
    sink.room = 9
    destination.resume()
    assert (sink.taken, target.must_wait, destination.has_pending) == (b"12345\n", False, False)


def test_dropped_lines_are_counted_and_reported_in_their_place() -> None:
    """Lines and bytes, before the next line that is written."""
    sink, destination, (target,) = targets_with(0, 8)
    for line in (b"first\n", b"a\n", b"lost 1\n", b"lost 2\nlost 3\n", b"b\n"):
        target.lines(line, 0)
    assert not target.must_wait
    assert target.buffered_bytes <= 8 + 60
    sink.room = 1000
    while destination.has_pending:
        destination.resume()
    target.lines(b"later\n", 0)
    expected = b"3 lines (21 bytes) dropped: the buffer was full"
    assert sink.taken == b"first\na\n! " + expected + b"\nb\nlater\n"


def test_dropped_lines_are_reported_without_a_further_line() -> None:
    sink, destination, (target,) = targets_with(0, 5)
    target.lines(b"12345\n", 0)  # goes to the sink itself, which had nothing pending
    target.lines(b"67890\n", 0)
    assert destination.has_pending
    sink.room = 1000
    while destination.has_pending:
        destination.resume()
    assert sink.taken == b"12345\n! 1 lines (6 bytes) dropped: the buffer was full\n"


@given(
    some.lists(some.tuples(some.integers(0, 2), some.integers(0, 40)), max_size=80), some.integers(0, 60),
)  # fmt: skip
def test_lines_are_in_order_and_every_missing_one_is_counted(steps: list[tuple[int, int]], limit: int) -> None:
    """However the reader behaves: each stream's lines are in order, and missing ones are reported in their place."""
    sink, destination, targets = targets_with(0, limit, limit)
    written = [0, 0]
    for index, room in steps:
        if index < 2:
            targets[index].lines(b"%d:%06d\n" % (index, written[index]), 0)
            written[index] += 1
        else:
            sink.room += room
            destination.resume()
    sink.room = 1_000_000
    while destination.has_pending:
        destination.resume()
    dropped = 0
    seen: list[list[int]] = [[], []]
    for line in sink.taken.splitlines():
        if line.startswith(NOTICE.encode()):
            dropped += int(line.split()[1])
        else:
            name, number = line.split(b":")
            seen[int(name)].append(int(number))
    assert all(numbers == sorted(set(numbers)) for numbers in seen)
    assert len(seen[0]) + len(seen[1]) + dropped == sum(written)


def test_neither_mode_starves_the_other() -> None:
    """With a slow reader, blocking targets may write after each non-blocking one."""
    sink = FakeSink()
    turns: list[bool] = []

    def write() -> None:
        turns[-1] = destination.state == OPEN
        if turns[-1]:
            blocking.lines(b"w\n", 0)

    destination = destination_of(sink)
    non_blocking, blocking = [Target(Raw(), destination, limit, notice) for limit in (1000, None)]
    destination.held.streams["one"] = write
    blocking.lines(b"w\n", 0)
    for _ in range(9):
        non_blocking.lines(b"kept\n", 0)
    for _ in range(40):
        sink.room += 5
        turns.append(False)
        destination.resume()
    assert True in turns
    assert b"kept" in sink.taken


def test_buffered_lines_survive_a_reexecution() -> None:
    """With the count of dropped lines. to_plain() changes nothing."""
    sink, _, (target,) = targets_with(0, 6)
    for line in (b"pending\n", b"kept\n", b"lost\n"):
        target.lines(line, 0)
    plain = target.to_plain()
    assert target.to_plain() == plain
    other_sink, destination, (restored,) = targets_with(0, 6)
    other_sink.write(sink.pending)
    restored.restore(plain)
    assert destination.buffered({restored}) == b""
    other_sink.room = 1000
    while destination.has_pending:
        destination.resume()
    assert other_sink.taken == b"pending\nkept\n! 1 lines (5 bytes) dropped: the buffer was full\n"


@pytest.mark.parametrize("fd", [-1, 7])
def test_a_large_buffer_is_written_in_turns(fd: int) -> None:
    """Without a descriptor to wait for, the rest is due at once. Small writes are stored together."""
    sink, destination, (target,) = targets_with(0, 1 << 24)
    sink.fd = fd
    for _ in range(400_000):
        target.lines(b"a line of some length\n", 0)
    assert len(target.buffered) < 200
    sink.room = 1 << 30
    destination.resume()
    turns = 1
    while destination.has_pending:
        assert destination._poller.when == (0.0 if fd < 0 else None)  # type: ignore[attr-defined]
        destination.resume()
        turns += 1
    assert turns > 5
    assert len(sink.taken) == 400_000 * 22


def test_saving_for_a_reexecution_changes_nothing() -> None:
    """The notice is included, and the target continues if the re-execution fails."""
    sink, destination, (target,) = targets_with(0, 6)
    for line in (b"pending\n", b"kept\n", b"lost\n"):
        target.lines(line, 0)
    expected = b"kept\n! 1 lines (5 bytes) dropped: the buffer was full\n"
    assert destination.buffered(set()) == expected
    assert destination.buffered(set()) == expected
    sink.room = 1000
    while destination.has_pending:
        destination.resume()
    assert sink.taken == b"pending\n" + expected


@pytest.mark.parametrize("bare", [False, True])
def test_own_messages_are_bare_only_in_the_prefix_format(bare: bool) -> None:
    """Other formats format them."""

    class Shouting(Raw):
        def message(self, level: str, text: bytes, _now_ns: int) -> bytes:
            return level.upper().encode() + b" " + text + b"\n"

    sink = FakeSink(100)
    Target(Shouting(), destination_of(sink), 100, notice).message("info", b"so", 0, bare=bare)
    assert sink.taken == b"INFO so\n"


def test_a_destination_has_one_state() -> None:
    """BLOCKED while the sink holds something or splice(2) has found no room, LOST when it is closed for good."""
    sink, destination, (target,) = targets_with(0, None)
    states = [destination.state]
    target.lines(b"line\n", 0)
    states.append(destination.state)
    sink.room = 5
    destination.resume()
    states.append(destination.state)
    destination.wait_for_room()
    states += [destination.state, str(target.must_wait)]
    destination.resume()
    states.append(destination.state)
    sink.lost = "no reader"
    states += [destination.state, str(target.must_wait)]
    assert states == [OPEN, BLOCKED, OPEN, BLOCKED, "True", OPEN, LOST, "False"]


def test_exactly_the_streams_that_are_held_up_are_resumed_in_order() -> None:
    """Not one that is closed meanwhile, and none before the sink accepts output again."""
    sink = FakeSink()
    destination = destination_of(sink)
    held = destination.held.streams
    resumed: list[str] = []

    def resume(name: str) -> None:
        if destination.state == OPEN:
            resumed.append(name)
            held.pop("closed", None)

    destination.write(b"line\n")
    held.update({"b": lambda: resume("b"), "a": lambda: resume("a"), "closed": lambda: resume("closed")})
    destination.resume()
    assert resumed == []
    sink.room = 5
    destination.resume()
    assert resumed == ["b", "a"]

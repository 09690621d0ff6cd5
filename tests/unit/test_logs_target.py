"""reactor/logs/target.py: who waits, who drops, and that whoever drops says so where it is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cohabit.reactor.logs.formats import Raw
from cohabit.reactor.logs.target import Destination, Target

if TYPE_CHECKING:
    from collections.abc import Callable

LOST = "! "


class Bucket:
    """A sink that takes so many bytes and then no more until somebody makes room."""

    fd = -1
    retry_at: float | None = None
    lost = ""

    def __init__(self, room: int = 0) -> None:
        self.room = room
        self.pending = b""
        self.taken = b""

    @property
    def blocked(self) -> bool:
        """Something is pending."""
        return bool(self.pending)

    @property
    def pending_bytes(self) -> int:
        """How much."""
        return len(self.pending)

    def write(self, data: bytes | memoryview) -> None:
        """Take what fits."""
        self.pending += bytes(data)
        self.flush()

    def flush(self) -> None:
        """The same with what is pending."""
        fits = min(self.room, len(self.pending))
        self.taken += self.pending[:fits]
        self.pending = self.pending[fits:]
        self.room -= fits

    def drain(self, _: Callable[[], float]) -> None:
        """Somebody reads."""
        self.flush()

    def to_plain(self) -> Any:
        """Not needed here."""

    def restore(self, plain: Any) -> None:
        """Neither."""


def notice(text: str) -> bytes:
    """What is said about what was dropped."""
    return f"{LOST}{text}\n".encode()


def ways(room: int, *limits: int | None) -> tuple[Bucket, Destination, list[Target]]:
    """A sink with that much room, and targets that keep so much of what does not fit."""
    sink = Bucket(room)
    destination = Destination(sink)
    return sink, destination, [Target(Raw(), destination, limit, notice) for limit in limits]


def test_who_is_to_wait_writes_and_waits() -> None:
    """What was given is taken sooner or later; who would give more is told to wait."""
    sink, destination, (target,) = ways(3, None)
    target.lines(b"12345\n", 0)
    assert (sink.taken, sink.pending, target.must_wait, destination.busy) == (b"123", b"45\n", True, True)
    sink.room = 9
    assert destination.resume() in {True, False}
    assert (sink.taken, target.must_wait, destination.busy) == (b"12345\n", False, False)


def test_what_does_not_fit_is_dropped_counted_and_told_in_its_place() -> None:
    """Lines and bytes; before the next line that gets through."""
    sink, destination, (target,) = ways(0, 8)
    for line in (b"first\n", b"a\n", b"lost 1\n", b"lost 2\nlost 3\n", b"b\n"):
        target.lines(line, 0)
    assert not target.must_wait
    assert target.kept_bytes <= 8 + 60
    sink.room = 1000
    while destination.busy:
        destination.resume()
    target.lines(b"later\n", 0)
    told = b"3 lines (21 bytes) dropped: nobody took them in time"
    assert sink.taken == b"first\na\n! " + told + b"\nb\nlater\n"


def test_it_is_told_also_when_nothing_follows() -> None:
    """Nobody has to write another line for that."""
    sink, destination, (target,) = ways(0, 5)
    target.lines(b"12345\n", 0)  # goes to the sink itself, which had nothing pending
    target.lines(b"67890\n", 0)
    assert destination.busy
    sink.room = 1000
    while destination.busy:
        destination.resume()
    assert sink.taken == b"12345\n! 1 lines (6 bytes) dropped: nobody took them in time\n"


@given(
    some.lists(some.tuples(some.integers(0, 2), some.integers(0, 40)), max_size=80), some.integers(0, 60),
)  # fmt: skip
def test_nothing_is_lost_uncounted_torn_or_out_of_order(steps: list[tuple[int, int]], limit: int) -> None:
    """Whatever the reader does: of each stream the lines come in order, and those missing are told, where they are."""
    sink, destination, targets = ways(0, limit, limit)
    written = [0, 0]
    for who, room in steps:
        if who < 2:
            targets[who].lines(b"%d:%06d\n" % (who, written[who]), 0)
            written[who] += 1
        else:
            sink.room += room
            destination.resume()
    sink.room = 1_000_000
    while destination.busy:
        destination.resume()
    dropped = 0
    seen: list[list[int]] = [[], []]
    for line in sink.taken.splitlines():
        if line.startswith(LOST.encode()):
            dropped += int(line.split()[1])
        else:
            name, number = line.split(b":")
            seen[int(name)].append(int(number))
    assert all(numbers == sorted(set(numbers)) for numbers in seen)
    assert len(seen[0]) + len(seen[1]) + dropped == sum(written)


def test_neither_who_keeps_nor_who_waits_starves() -> None:
    """With a slow reader they have their turns: after each one that was served, those who wait may write."""
    sink, destination, (keeps, waits) = ways(0, 1000, None)
    waits.lines(b"w\n", 0)
    for _ in range(9):
        keeps.lines(b"kept\n", 0)
    turns = []
    for _ in range(40):
        sink.room += 5
        turns.append(destination.resume())
        if turns[-1]:
            waits.lines(b"w\n", 0)
    assert True in turns
    assert b"kept" in sink.taken


def test_what_is_kept_crosses_a_reexecution() -> None:
    """With the count of what was dropped; and to_plain changes nothing."""
    sink, _, (target,) = ways(0, 6)
    for line in (b"pending\n", b"kept\n", b"lost\n"):
        target.lines(line, 0)
    plain = target.to_plain()
    assert target.to_plain() == plain
    after, destination, (next_one,) = ways(0, 6)
    after.write(sink.pending)
    next_one.restore(plain)
    assert destination.kept({next_one}) == b""
    after.room = 1000
    while destination.busy:
        destination.resume()
    assert after.taken == b"pending\nkept\n! 1 lines (5 bytes) dropped: nobody took them in time\n"


@pytest.mark.parametrize("fd", [-1, 7])
def test_much_that_is_kept_goes_out_in_turns(fd: int) -> None:
    """So that others have theirs; where no descriptor tells of room, the rest is due at once. Small writes are one."""
    sink, destination, (target,) = ways(0, 1 << 24)
    sink.fd = fd
    for _ in range(400_000):
        target.lines(b"a line of some length\n", 0)
    assert len(target.kept) < 200
    sink.room = 1 << 30
    destination.resume()
    turns = 1
    while destination.busy:
        assert destination.retry_at == (0.0 if fd < 0 else None)
        destination.resume()
        turns += 1
    assert turns > 5
    assert len(sink.taken) == 400_000 * 22


def test_what_is_kept_is_known_for_a_reexecution_and_stays() -> None:
    """The words on what is missing come with it; where nothing comes of the re-execution, nothing has changed."""
    sink, destination, (target,) = ways(0, 6)
    for line in (b"pending\n", b"kept\n", b"lost\n"):
        target.lines(line, 0)
    expected = b"kept\n! 1 lines (5 bytes) dropped: nobody took them in time\n"
    assert destination.kept(set()) == expected
    assert destination.kept(set()) == expected
    sink.room = 1000
    while destination.busy:
        destination.resume()
    assert sink.taken == b"pending\n" + expected


@pytest.mark.parametrize("bare", [False, True])
def test_our_own_words_stand_as_they_are_only_for_people(bare: bool) -> None:
    """A target in another form writes them in that."""

    class Shouting(Raw):
        def message(self, level: str, text: bytes, _now_ns: int) -> bytes:
            return level.upper().encode() + b" " + text + b"\n"

    sink = Bucket(100)
    Target(Shouting(), Destination(sink), 100, notice).message("info", b"so", 0, bare=bare)
    assert sink.taken == b"INFO so\n"

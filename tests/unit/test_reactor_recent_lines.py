"""The memory of the last lines: bounded whatever comes, and what is there is the very end of what was written."""

import marshal
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohabit.reactor.logs import recent_lines
from cohabit.reactor.logs.recent_lines import OURSELVES, RecentLines

SHARE = 4096
_SLACK = SHARE // 8  # so much is given up at once

_line = st.builds(lambda size, byte: bytes([byte]) * size, st.integers(0, 300), st.sampled_from(b"abc\0\r\xff"))
_long = st.builds(lambda size: b"x" * size, st.integers(3000, 10_000))
_piece = st.tuples(st.sampled_from(["stdout", "stderr"]), st.lists(_line | _long, min_size=1, max_size=60))
_pieces = st.lists(_piece, max_size=40)


def _small() -> RecentLines:
    """A memory in which each service has the smallest share."""
    small = RecentLines()
    small.name_services([f"s{number}" for number in range(2000)])
    return small


def _join(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _fill(small: RecentLines, pieces: list[tuple[str, list[bytes]]]) -> list[tuple[str, bytes]]:
    """Keep them all, at second 0, 1, 2…; returns (stream, line) in the order in which they came."""
    for number, (stream, lines) in enumerate(pieces):
        small.keep("s1", stream, _join(lines), float(number))
    return [(stream, line) for stream, lines in pieces for line in lines]


def _lines(records: list[tuple[float, str, bytes]]) -> list[tuple[str, bytes]]:
    assert all(data.endswith(b"\n") for _, _, data in records)
    return [(stream, line) for _, stream, data in records for line in data[:-1].split(b"\n")]


@given(_pieces)
@settings(max_examples=300)
def test_bounded_and_the_very_end(pieces: list[tuple[str, list[bytes]]]) -> None:
    """Of any lines in any pieces the last ones are there, as many as fit, whole but for one that is too long."""
    small = _small()
    written = _fill(small, pieces)
    found = _lines(small.records("s1"))
    sizes = [len(data) + 128 for _, _, data in small.records("s1")]
    assert sum(sizes) <= SHARE
    if not found:
        assert not written
        return
    assert found[1:] == written[len(written) - len(found) + 1 :]
    stream, line = written[-len(found)]
    assert found[0][0] == stream
    assert line.endswith(found[0][1])
    assert found[0][1] == line or len(line) + 128 >= SHARE - _SLACK
    if len(found) < len(written):
        before = written[-len(found) - 1][1]
        assert sum(sizes) + len(before) + 1 + 128 >= SHARE - _SLACK - 128


@given(_pieces, st.integers(0, 9))
def test_tail(pieces: list[tuple[str, list[bytes]]], count: int) -> None:
    """The last lines of all that is remembered, whichever pieces they came in."""
    small = _small()
    _fill(small, pieces)
    every = _lines(small.records("s1"))
    assert _lines(small.records("s1", count)) == every[max(0, len(every) - count) :]
    assert small.last_lines("s1", count) == [line for _, line in every[max(0, len(every) - count) :]]


@given(_pieces, st.floats(-1, 50), st.integers(0, 9))
def test_since(pieces: list[tuple[str, list[bytes]]], since: float, count: int) -> None:
    """What was read at that moment or later; with a tail, the last lines of that."""
    small = _small()
    _fill(small, pieces)
    every = [record for record in small.records("s1") if record[0] >= since]
    assert small.records("s1", None, since) == every
    lines = _lines(every)
    assert _lines(small.records("s1", count, since)) == lines[max(0, len(lines) - count) :]


@given(_pieces)
def test_the_order_of_each_stream_is_kept(pieces: list[tuple[str, list[bytes]]]) -> None:
    """Records come in the order of their reading, each stream's lines in the order of their writing."""
    small = _small()
    written = _fill(small, pieces)
    records = small.records("s1")
    assert [moment for moment, _, _ in records] == sorted(moment for moment, _, _ in records)
    for stream in ("stdout", "stderr"):
        found = [line for kind, line in _lines(records)[1:] if kind == stream]
        assert found == [line for kind, line in written if kind == stream][-len(found) or len(written) :]


def test_a_tail_cuts_the_piece_in_which_it_begins() -> None:
    """Two lines of a piece of three, and all of the next one."""
    small = _small()
    small.keep("s1", "stdout", b"a\n\nc\n", 1.0)
    small.keep("s1", "stderr", b"d\n", 2.0)
    assert small.records("s1", 3) == [(1.0, "stdout", b"\nc\n"), (2.0, "stderr", b"d\n")]
    assert small.records("s1", 0) == []


def test_a_clock_that_was_set_back_hides_nothing() -> None:
    """An earlier piece with a later time is found as well."""
    small = _small()
    for moment, line in ((50.0, b"a\n"), (10.0, b"b\n"), (60.0, b"c\n")):
        small.keep("s1", "stdout", line, moment)
    assert small.last_lines("s1", 9) == [b"a", b"b", b"c"]
    assert [data for _, _, data in small.records("s1", None, 40.0)] == [b"a\n", b"c\n"]


@pytest.mark.parametrize(
    ("services", "share"), [(1, 65_536), (60, 65_536), (63, 65_536), (99, 41_943), (1023, 4096), (5000, 4096)]
)
def test_shares(services: int, share: int) -> None:
    """64 KiB each, together with our own messages no more than 4 MiB, but never less than 4 KiB."""
    shared = RecentLines()
    shared.name_services([f"s{number}" for number in range(services)])
    for _ in range(1000):
        shared.keep("s0", "stdout", b"x" * 99 + b"\n", 0.0)
    size = sum(len(data) + 128 for _, _, data in shared.records("s0"))
    assert share * 7 // 8 - 228 <= size <= share


def test_python_needs_no_more_than_is_counted() -> None:
    """Many tiny pieces take what is counted for them, not what their bytes are."""
    small = _small()
    for number in range(2000):
        small.keep("s1", "stdout", b"%d\n" % number, number + 0.5)
    records = small.records("s1")
    real = sum(sys.getsizeof(part) for record in records for part in (record, record[0], record[2])) + 8 * len(records)
    assert real <= SHARE * 5 // 4


def test_a_share_that_becomes_smaller_is_cut() -> None:
    """With a reload that brings many services, those that are there give room at once."""
    shared = RecentLines()
    shared.name_services(["web"])
    shared.keep("web", "stdout", b"x" * 9 + b"\n", 1.0)
    for number in range(600):
        shared.keep("web", "stdout", b"%099d\n" % number, 2.0)
    shared.name_services(["web", *(f"s{number}" for number in range(2000))])
    lines = shared.last_lines("web", 1000)
    assert len(lines) * 228 <= SHARE
    assert lines[-1] == b"%099d" % 599


def test_what_is_forgotten_stays_so() -> None:
    """Of a service that is gone nothing is kept, also if something of it still writes; ours is never gone."""
    shared = RecentLines()
    shared.keep(OURSELVES, "stderr", b"before there is a Plan\n", 1.0)
    shared.name_services(["web"])
    shared.keep("web", "stdout", b"a\n", 1.0)
    for name in ("web", "nobody", OURSELVES):
        shared.forget(name)
        shared.keep("web", "stdout", b"b\n", 1.0)
    assert shared.records("web") == []
    assert shared.last_lines("web", 5) == []
    assert shared.last_lines(OURSELVES, 5) == [b"before there is a Plan"]


def test_a_service_that_is_not_in_the_plan_any_more_is_there_until_it_is_forgotten() -> None:
    """While it stops, a service that was taken from the file is still remembered."""
    shared = RecentLines()
    shared.name_services(["web"])
    shared.name_services(["db"])
    shared.keep("web", "stdout", b"the end\n", 1.0)
    assert shared.last_lines("web", 1) == [b"the end"]


@given(_pieces)
def test_a_reexecution_changes_nothing(pieces: list[tuple[str, list[bytes]]]) -> None:
    """What is written down as plain values and read again is the same, and has the same bound."""
    small = _small()
    _fill(small, pieces)
    again = RecentLines()
    again.restore(marshal.loads(marshal.dumps(small.to_plain())))  # noqa: S302 - our own
    assert again.records("s1") == small.records("s1")
    for each in (small, again):
        each.keep("s1", "stdout", b"y" * 1000 + b"\n", 99.0)
    assert again.to_plain() == small.to_plain()


def test_a_flood_leaves_one_piece() -> None:
    """A read as large as a share makes room for itself; at its start is a whole line."""
    shared = RecentLines()
    shared.name_services(["web"])
    piece = b"".join(b"%015d\n" % number for number in range(4096))
    assert len(piece) == recent_lines._SHARE_MAX
    for moment in (0.0, 1.0, 2.0):
        shared.keep("web", "stdout", piece, moment)
    ((last, _, data),) = shared.records("web")
    assert last == 2.0
    assert piece.endswith(data)
    assert len(data) % 16 == 0

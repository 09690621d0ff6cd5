"""The last lines of services: bounded in size, and always the end of what was written."""

import marshal
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.plan.model import OWN_NAME
from cohabit.reactor.logs import recent_lines
from cohabit.reactor.logs.recent_lines import _BUFFER_SIZE_MIN, _TOTAL_SIZE, RecentLines

SIZE_MAX = 4096
_SLACK = SIZE_MAX // 8  # cut at once

# A few pieces are several times what is held. A line is one number: its size and its byte.
_line = st.integers(0, 300 * 6 - 1).map(lambda number: b"abc\0\r\xff"[number % 6 : number % 6 + 1] * (number // 6))
_long = st.integers(3000, 10_000).map(lambda size: b"x" * size)
_short = st.integers(1, 60).map(lambda count: [b"%d" % number for number in range(count)])  # many lines in one piece
_piece = st.tuples(st.sampled_from(["stdout", "stderr"]), st.lists(_line | _long, min_size=1, max_size=12) | _short)
_pieces = st.lists(_piece, max_size=15)


def _small() -> RecentLines:
    """RecentLines in which each service has the smallest size."""
    small = RecentLines()
    small.name_services([f"s{number}" for number in range(_TOTAL_SIZE // _BUFFER_SIZE_MIN)])
    return small


def _join(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _fill(small: RecentLines, pieces: list[tuple[str, list[bytes]]]) -> list[tuple[str, bytes]]:
    """Record all, at seconds 0, 1, 2...; returns (stream, line) in order."""
    for number, (stream, lines) in enumerate(pieces):
        small.append("s1", stream, _join(lines), float(number))
    return [(stream, line) for stream, lines in pieces for line in lines]


def _lines(records: list[tuple[float, str, bytes]]) -> list[tuple[str, bytes]]:
    assert all(data.endswith(b"\n") for _, _, data in records)
    return [(stream, line) for _, stream, data in records for line in data[:-1].split(b"\n")]


@given(_pieces)
def test_it_holds_as_many_of_the_last_lines_as_fit(pieces: list[tuple[str, list[bytes]]]) -> None:
    """Whole, except one that is too long."""
    small = _small()
    written = _fill(small, pieces)
    found = _lines(small.records("s1"))
    sizes = [len(data) + 128 for _, _, data in small.records("s1")]
    assert sum(sizes) <= SIZE_MAX
    if not found:
        assert not written
        return
    assert found[1:] == written[len(written) - len(found) + 1 :]
    stream, line = written[-len(found)]
    assert found[0][0] == stream
    assert line.endswith(found[0][1])
    assert found[0][1] == line or len(line) + 128 >= SIZE_MAX - _SLACK
    if len(found) < len(written):
        before = written[-len(found) - 1][1]
        assert sum(sizes) + len(before) + 1 + 128 >= SIZE_MAX - _SLACK - 128


@given(_pieces, st.integers(0, 9))
def test_a_tail_is_the_last_lines(pieces: list[tuple[str, list[bytes]]], count: int) -> None:
    """Whatever pieces they are in."""
    small = _small()
    _fill(small, pieces)
    every = _lines(small.records("s1"))
    assert _lines(small.records("s1", count)) == every[max(0, len(every) - count) :]
    assert small.last_lines("s1", count) == [line for _, line in every[max(0, len(every) - count) :]]


@given(_pieces, st.floats(-1, 50), st.integers(0, 9))
def test_since_selects_by_time(pieces: list[tuple[str, list[bytes]]], since: float, count: int) -> None:
    """What was read at that time or later; with a tail, the last lines of it."""
    small = _small()
    _fill(small, pieces)
    every = [record for record in small.records("s1") if record[0] >= since]
    assert small.records("s1", None, since) == every
    lines = _lines(every)
    assert _lines(small.records("s1", count, since)) == lines[max(0, len(lines) - count) :]


@given(_pieces)
def test_the_order_of_each_stream_is_kept(pieces: list[tuple[str, list[bytes]]]) -> None:
    """Records are in the order of the reads, lines in the order in which they were written."""
    small = _small()
    written = _fill(small, pieces)
    records = small.records("s1")
    assert [moment for moment, _, _ in records] == sorted(moment for moment, _, _ in records)
    for stream in ("stdout", "stderr"):
        found = [line for kind, line in _lines(records)[1:] if kind == stream]
        assert found == [line for kind, line in written if kind == stream][-len(found) or len(written) :]


def test_a_tail_may_begin_inside_a_piece() -> None:
    """Two lines of a piece of three, and all of the next one."""
    small = _small()
    small.append("s1", "stdout", b"a\n\nc\n", 1.0)
    small.append("s1", "stderr", b"d\n", 2.0)
    assert small.records("s1", 3) == [(1.0, "stdout", b"\nc\n"), (2.0, "stderr", b"d\n")]
    assert small.records("s1", 0) == []


def test_since_works_when_the_clock_was_set_back() -> None:
    """An earlier piece with a later time is found too."""
    small = _small()
    for moment, line in ((50.0, b"a\n"), (10.0, b"b\n"), (60.0, b"c\n")):
        small.append("s1", "stdout", line, moment)
    assert small.last_lines("s1", 9) == [b"a", b"b", b"c"]
    assert [data for _, _, data in small.records("s1", None, 40.0)] == [b"a\n", b"c\n"]


@pytest.mark.parametrize(
    ("services", "size_max"), [(1, 65_536), (60, 65_536), (63, 65_536), (99, 41_943), (1023, 4096), (5000, 4096)]
)
def test_services_share_the_total_size_equally(services: int, size_max: int) -> None:
    """64 KiB each, 4 MiB together with own messages, and at least 4 KiB each."""
    recent = RecentLines()
    recent.name_services([f"s{number}" for number in range(services)])
    for _ in range(1000):
        recent.append("s0", "stdout", b"x" * 99 + b"\n", 0.0)
    size = sum(len(data) + 128 for _, _, data in recent.records("s0"))
    assert size_max * 7 // 8 - 228 <= size <= size_max


def test_the_memory_of_small_pieces_is_counted() -> None:
    """Python's overhead is counted, not only the bytes."""
    small = _small()
    for number in range(2000):
        small.append("s1", "stdout", b"%d\n" % number, number + 0.5)
    records = small.records("s1")
    real = sum(sys.getsizeof(part) for record in records for part in (record, record[0], record[2])) + 8 * len(records)
    assert real <= SIZE_MAX * 5 // 4


def test_lines_are_cut_when_services_are_added() -> None:
    """After a reload with many new services, the others are cut at once."""
    recent = RecentLines()
    recent.name_services(["web"])
    recent.append("web", "stdout", b"x" * 9 + b"\n", 1.0)
    for number in range(600):
        recent.append("web", "stdout", b"%099d\n" % number, 2.0)
    recent.name_services(["web", *(f"s{number}" for number in range(2000))])
    lines = recent.last_lines("web", 1000)
    assert len(lines) * 228 <= SIZE_MAX
    assert lines[-1] == b"%099d" % 599


def test_a_forgotten_service_is_not_recorded_again() -> None:
    """Even if it still writes. Own messages are never forgotten."""
    recent = RecentLines()
    recent.append(OWN_NAME, "stderr", b"before the first plan\n", 1.0)
    recent.name_services(["web"])
    recent.append("web", "stdout", b"a\n", 1.0)
    for name in ("web", "unknown", OWN_NAME):
        recent.forget(name)
        recent.append("web", "stdout", b"b\n", 1.0)
    assert recent.records("web") == []
    assert recent.last_lines("web", 5) == []
    assert recent.last_lines(OWN_NAME, 5) == [b"before the first plan"]


def test_a_removed_service_is_recorded_until_it_is_forgotten() -> None:
    """A service that was removed from the file is recorded while it stops."""
    recent = RecentLines()
    recent.name_services(["web"])
    recent.name_services(["db"])
    recent.append("web", "stdout", b"the end\n", 1.0)
    assert recent.last_lines("web", 1) == [b"the end"]


@given(_pieces)
def test_a_reexecution_changes_nothing(pieces: list[tuple[str, list[bytes]]]) -> None:
    """The restored lines are the same, and so is their limit."""
    small = _small()
    _fill(small, pieces)
    restored = RecentLines()
    restored.restore(marshal.loads(marshal.dumps(small.to_plain())))  # noqa: S302 - own data
    assert restored.records("s1") == small.records("s1")
    for each in (small, restored):
        each.append("s1", "stdout", b"y" * 1000 + b"\n", 99.0)
    assert restored.to_plain() == small.to_plain()


def test_a_large_read_leaves_one_piece() -> None:
    """A read of the maximal size replaces what was held; it is cut at the start of a line."""
    recent = RecentLines()
    recent.name_services(["web"])
    piece = b"".join(b"%015d\n" % number for number in range(4096))
    assert len(piece) == recent_lines._BUFFER_SIZE_MAX
    for moment in (0.0, 1.0, 2.0):
        recent.append("web", "stdout", piece, moment)
    ((last, _, data),) = recent.records("web")
    assert last == 2.0
    assert piece.endswith(data)
    assert len(data) % 16 == 0


def test_the_last_lines_are_those_of_one_run() -> None:
    """The last run, or the one before it; `logs` has all."""
    lines = RecentLines()
    lines.name_services(["web"])
    lines.begin_run("web", 1.0)
    for run in (b"a", b"b", b"c"):
        lines.append("web", "stdout", run + b"1\n" + run + b"2\n", 2.0)
        lines.append("web", "stderr", run + b"3\n", 2.0)
        if run != b"c":
            lines.begin_run("web", 3.0)
    assert lines.last_lines("web", 9) == [b"c1", b"c2", b"c3"]
    assert lines.last_lines("web", 2, runs_before=1) == [b"b2", b"b3"]
    assert lines.last_lines("web", 0) == []
    assert b"".join(piece for _, _, piece in lines.records("web", 4)) == b"b3\nc1\nc2\nc3\n"
    lines.begin_run("web", 4.0)
    assert lines.last_lines("web", 9) == []
    assert lines.last_lines("web", 9, runs_before=1) == [b"c1", b"c2", b"c3"]
    assert lines.last_lines("web", 9, runs_before=9) == lines.last_lines("gone", 9) == []


def test_the_lines_of_post_stop_hooks_do_not_explain_the_end_of_a_run() -> None:
    """They are recorded for `cohabit logs` only."""
    lines = RecentLines()
    lines.name_services(["web"])
    for number in (1, 2):
        lines.begin_run("web", 1.0)
        lines.append("web", "stderr", b"failed %d\n" % number, 2.0)
        lines.end_run("web", 3.0)
        lines.append("web", "stdout", b"a %d\nb\nc\n" % number, 4.0)
    assert lines.last_lines("web", 2) == [b"failed 2"]
    assert lines.last_lines("web", 2, runs_before=1) == [b"failed 1"]
    assert b"".join(piece for _, _, piece in lines.records("web")) == b"failed 1\na 1\nb\nc\nfailed 2\na 2\nb\nc\n"

"""A followed log file: rotation, truncation, deletion, resumption, and what is refused. Real files, no process."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cohabit.plan.model import LogFile
from cohabit.reactor.logs.follower import NEVER_READ, Pipe
from cohabit.tasks import follow, inotify
from cohabit.tasks.followed_file import READ_SIZE, FollowedFile
from cohabit.tasks.inotify import Inotify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Stream:
    """The part of a Stream that a Pipe uses."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.taken = 0


class World:
    """One log file, its pipe, and a follower that can be replaced. got: what was read from the pipe."""

    def __init__(self, directory: Path, *, pipe_size: int = 65_536) -> None:
        self.path = directory / "x.log"
        reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, pipe_size)
        self.stream = Stream(reader)
        stream: Any = self.stream
        self.pipe = Pipe(LogFile(str(self.path)), stream, self.writer, None)
        self.got = b""
        self.warnings: list[str] = []

    def start(self, watcher: Inotify | None = None) -> None:
        """Start a follower where the last one has ended."""
        self.pipe.settle()
        known, _, path = self.pipe.argument().partition(" ")
        self.file = FollowedFile(path, self.writer, 0, follow._positions(known), self._sent)
        self.file.look(watcher)
        self.pipe.positions = self.pipe.positions or {}

    def end(self) -> None:
        """The follower ends at once, as with SIGKILL."""
        for source in self.file.sources:
            os.close(source.fd)

    def _sent(self, message: bytes) -> None:
        kind, _, rest = message.partition(b" ")
        if kind == b"warning":
            self.warnings.append(rest.decode())
            return
        _, *numbers = map(int, rest.split())
        if kind == b"at":
            self.pipe.begin(numbers[0], (numbers[1], numbers[2]), numbers[3])
        else:
            self.pipe.close_file((numbers[0], numbers[1]))

    def read(self, size: int = 1 << 20) -> bytes:
        """Read from the pipe."""
        try:
            data = os.read(self.stream.fd, size)
        except BlockingIOError:
            return b""
        self.stream.taken += len(data)
        self.got += data
        return data

    def lines(self) -> list[str]:
        """All lines so far, after looking at the file."""
        self.file.look(None)
        self.pump()
        return self.got.decode().splitlines()

    def pump(self) -> None:
        """Write all that the files have, and read it."""
        while self.file.pump() or self.file.blocked:
            self.read()
        self.read()

    def append(self, text: str, path: Path | None = None) -> None:
        """Append to the file at the path, or to another one."""
        with (path or self.path).open("a") as file:
            file.write(text)

    def rotate(self) -> Path:
        """Rename it to x.log.1, as logrotate does without `create`."""
        return self.path.rename(self.path.with_name("x.log.1"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.end()
    os.close(world.stream.fd)
    os.close(world.writer)


def test_what_is_there_at_the_start_is_not_shown(world: World) -> None:
    world.append("old\n")
    world.start()
    world.append("new\nunfin")
    assert world.lines() == ["new", "unfin"]
    world.append("ished\n")
    assert world.lines() == ["new", "unfinished"]


def test_a_file_that_appears_later_is_shown_from_its_beginning(world: World) -> None:
    world.start()
    assert world.lines() == []
    world.append("first\n")
    assert world.lines() == ["first"]


def test_after_a_rotation_both_files_are_followed(world: World) -> None:
    """Programs write to the former file until they open the new one. Its lines come between those of the new one."""
    world.append("")
    world.start()
    world.append("a\n")
    former = world.rotate()
    world.append("b\n", former)
    assert world.lines() == ["a", "b"]
    world.append("c\n")
    world.append("d\nunfin", former)
    assert sorted(world.lines()) == ["a", "b", "c", "d"]
    world.append("open")
    world.lines()
    world.append("ished\n", former)
    assert "unfinished" not in world.lines()  # between two parts of a line of the new file
    world.append(" end\n")
    assert sorted(world.lines()) == ["a", "b", "c", "d", "open end", "unfinished"]


def test_an_unfinished_line_of_the_former_file_does_not_hold_up_the_new_one(world: World) -> None:
    world.append("")
    world.start()
    world.append("never ended")
    assert world.lines() == ["never ended"]
    world.rotate()
    world.append("new\n")
    assert world.lines() == ["never ended", "new"]


def test_the_former_file_is_closed_when_it_is_removed_or_at_the_next_rotation(world: World) -> None:
    """An open file keeps its space on the disk."""
    world.append("")
    world.start()
    former = world.rotate()
    world.append("new\n")
    world.append("last\nof it", former)
    former.unlink()
    assert sorted(world.lines()) == ["last", "new", "of it"]
    assert len(world.file.sources) == 1
    world.path.rename(world.path.with_name("x.log.1"))
    world.append("second\n")
    world.lines()
    world.path.rename(world.path.with_name("x.log.2"))
    world.append("third\n")
    assert world.lines()[-2:] == ["second", "third"]
    assert len(world.file.sources) == 2


def test_a_file_that_comes_back_is_not_read_again(world: World) -> None:
    world.append("")
    world.start()
    world.append("a\n")
    world.lines()
    former = world.rotate()
    world.append("b\n")
    world.lines()
    world.path.unlink()
    former.rename(world.path)
    world.append("c\n")
    assert world.lines() == ["a", "b", "c"]


def test_a_truncated_file_is_read_from_its_beginning(world: World) -> None:
    world.append("long line before\n")
    world.start()
    world.append("a\n")
    assert world.lines() == ["a"]
    os.truncate(world.path, 0)
    world.append("b\n")
    assert world.lines() == ["a", "b"]


def test_a_program_that_does_not_append_leaves_no_zeros_after_a_truncation(world: World) -> None:
    """It goes on at its old offset, behind a hole."""
    world.path.touch()
    world.start()
    with world.path.open("wb", buffering=0) as file:
        file.write(b"x" * 10_000 + b"\n")
        world.lines()
        os.truncate(world.path, 0)
        world.lines()
        file.write(b"after\n")
        assert world.lines()[1:] == ["after"]
        file.write(b"binary \0\0 is kept\n")
        assert world.lines()[1:] == ["after", "binary \0\0 is kept"]


def test_a_deleted_file_is_followed_until_there_is_a_new_one(world: World) -> None:
    world.append("")
    world.start()
    with world.path.open("a", buffering=1) as file:
        world.path.unlink()
        file.write("a\n")
        assert world.lines() == ["a"]
        world.append("b\n")
        file.write("c\n")
        assert sorted(world.lines()) == ["a", "b", "c"]
    world.path.unlink()
    world.file.aim()
    world.lines()
    assert world.file.sources == []  # its run has ended


def test_a_full_pipe_stops_the_reading(tmp_path: Path) -> None:
    world = World(tmp_path, pipe_size=4096)
    world.start()
    text = "".join(f"{i}\n" for i in range(100_000))
    world.append(text)
    world.file.look(None)
    assert not world.file.pump()
    assert world.file.blocked
    assert not world.file.has_reached_goal() or world.file.sources[0].goal == 0
    world.pump()
    assert world.got.decode() == text
    os.close(world.stream.fd)
    world.append("more\n")
    assert not world.file.pump()
    assert world.file.closed


def test_reading_up_to_the_end_is_bounded_by_what_is_there(world: World) -> None:
    """A program that goes on writing does not make it endless."""
    world.append("")
    world.start()
    world.append("x" * (40 * READ_SIZE))
    world.file.look(None)
    world.file.aim()
    while not world.file.has_reached_goal():
        world.read()
        world.append("more" * READ_SIZE)
    assert len(world.got) >= 39 * READ_SIZE


@pytest.mark.parametrize("renamed", [False, True])
def test_the_next_follower_goes_on_at_the_same_byte(world: World, *, renamed: bool) -> None:
    """Also in a file that was renamed while none followed it."""
    world.append("old\n")
    world.start()
    world.append("one\nunfin")
    assert world.lines() == ["one", "unfin"]
    world.end()
    if renamed:
        world.append("ished\n", world.rotate())
        world.append("new\n")
    else:
        world.append("ished\nnew\n")
    world.start()
    assert world.lines() == ["one", "unfinished", "new"]
    assert world.warnings == []


def test_lines_that_may_be_missing_are_reported(world: World) -> None:
    world.append("")
    world.start()
    world.append("one\n")
    world.lines()
    world.end()
    world.path.rename(world.path.parent / "kept")
    os.replace(world.path.parent / "kept", world.path.parent.parent / "elsewhere")
    world.append("new\n")
    world.start()
    assert world.lines() == ["one", "new"]
    assert "was removed while nothing followed it" in world.warnings[0]


def test_a_follower_that_has_opened_nothing_leaves_nothing_to_resume(world: World) -> None:
    assert world.pipe.argument().startswith(NEVER_READ)
    world.start()
    world.end()
    world.append("new\n")
    world.start()
    assert world.lines() == ["new"]


# What happens between two looks of a follower: (action, number).
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "former", "rotate", "truncate", "read", "pump", "die"]), st.integers(1, 9)
    ),
    max_size=40,
)


@example(actions=[("write", 1), ("truncate", 1), ("write", 1), ("die", 1)], size=4096)
@example(actions=[*[("write", 1)] * 10, ("rotate", 1), ("former", 8)], size=4096)
@given(actions=ACTIONS, size=st.sampled_from([4096, 65_536]))
def test_each_line_is_read_once(tmp_path_factory: pytest.TempPathFactory, actions: list[Any], size: int) -> None:
    """Whatever happens: rotations, truncations of what was read, full pipes, and followers that are killed."""
    world = World(tmp_path_factory.mktemp("log"), pipe_size=size)
    world.append("before\n")
    world.start()
    written: list[str] = []
    former, rotations = None, 0

    def write(path: Path | None, count: int) -> None:
        for _ in range(count):
            written.append(f"{len(written)} {'x' * (len(written) * 37 % 1500)}")
            world.append(written[-1] + "\n", path)

    for action, number in actions:
        if action == "write":
            write(None, number)
        elif action == "former" and former is not None:
            write(former, number)
        elif action == "rotate":
            world.lines()
            former = world.path.rename(world.path.with_name(f"x.log.{(rotations := rotations + 1)}"))
            write(None, number)
            world.file.look(None)
        elif action == "truncate" and former is None:
            world.lines()
            os.truncate(world.path, 0)
            world.file.pump()
        elif action == "read":
            world.read(number * 100)
        elif action == "pump":
            world.file.pump()
        elif action == "die":
            world.end()
            world.start()
    world.lines()
    world.end()
    os.close(world.stream.fd)
    os.close(world.writer)
    assert sorted(world.got.decode().splitlines()) == sorted(written)
    assert world.warnings == []


# --- what is refused ---------------------------------------------------------------------------------------


def test_a_fifo_is_refused_once_and_the_next_file_is_followed(world: World) -> None:
    os.mkfifo(world.path)
    world.start()
    world.file.look(None)
    assert world.warnings == [f"cannot follow {world.path}: it is not a regular file"]
    world.path.unlink()
    world.append("ok\n")
    assert world.lines() == ["ok"]


def test_what_a_refused_file_had_at_the_start_is_not_shown_later(world: World) -> None:
    """It can be opened later, for example because the service has changed its mode."""
    world.append("old\n")

    def refuse(path: str) -> tuple[int, bool]:
        raise PermissionError(13, "Permission denied", path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cohabit.paths.open_to_read", refuse)
        world.start()
    world.append("new\n")
    assert world.lines() == ["new"]
    assert world.warnings == [f"cannot follow {world.path}: Permission denied"]


def test_shortage_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> tuple[int, bool]:
        raise OSError(24, "Too many open files", path)

    world.append("")
    with monkeypatch.context() as patch:
        patch.setattr("cohabit.paths.open_to_read", refuse)
        world.start()
        assert world.file.degraded
        world.file.look(None)
    assert world.warnings == [f"cannot follow {world.path}: Too many open files"]
    world.lines()
    world.append("now\n")
    assert world.lines() == ["now"]


# --- watching ----------------------------------------------------------------------------------------------


@pytest.fixture
def watcher() -> Iterator[Inotify]:
    watcher = Inotify()
    yield watcher
    watcher.close()


@pytest.mark.parametrize("missing", ["", "a", "a/b/c"])
def test_the_nearest_directory_is_watched(
    world: World, watcher: Inotify, missing: str, until_event: Callable[[Inotify], None]
) -> None:
    world.path = world.path.parent / missing / "x.log"
    world.pipe.file = LogFile(str(world.path))
    world.start(watcher)
    assert not world.file.degraded
    for parent in reversed(world.path.parents):
        if not parent.exists():
            parent.mkdir()
            until_event(watcher)
            world.file.look(watcher)
    world.append("first\n")
    until_event(watcher)
    world.file.look(watcher)
    world.pump()
    world.append("second\n")
    until_event(watcher)
    world.pump()
    assert world.got == b"first\nsecond\n"


@pytest.fixture
def until_event() -> Callable[[Inotify], None]:
    """Check that there is an event; inotify queues it before the system call that causes it returns."""

    def check(watcher: Inotify) -> None:
        assert list(watcher.read())

    return check


def test_without_watches_the_file_is_looked_at(world: World, watcher: Inotify, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Inotify, _path: str, _mask: int) -> int:
        raise OSError(28, "too many watches")

    monkeypatch.setattr(inotify.Inotify, "add", refuse)
    world.append("")
    world.start(watcher)
    world.file.look(watcher)
    assert world.file.degraded
    text = f"cannot watch {world.path.parent}: too many watches (looking at {world.path} every second)"
    assert world.warnings.count(text) == 1

"""A log file: every line is in one file, once, whatever happens to the disk, the names and the writer."""

import gzip
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cohabit import paths
from cohabit.tasks import log_file, rotated_files
from cohabit.tasks.log_file import LogFile

ENOSPC, ESTALE = 28, 116
Ended = Callable[[int], None]


class CrashError(BaseException):
    """The writer ends here."""


class Kernel:
    """The system calls of the sink, with a disk that may be full and a crash at a chosen step.

    room: bytes that the disk still accepts; steps: changes of names until the crash; refused: suffixes of names that
    cannot be changed; stat_fails: a suffix of names for which stat(2) fails. removed: contents of removed files.
    """

    def __init__(self) -> None:
        self.room: int | None = None
        self.steps = -1
        self.refused: str | tuple[str, ...] = ""
        self.stat_fails = ""
        self.refusals = 0
        self.removed: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def stat(self, path: str, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        """Fail with ESTALE, as a network file system may."""
        if self.stat_fails and path.endswith(self.stat_fails):
            raise OSError(ESTALE, os.strerror(ESTALE))
        return os.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    def write(self, fd: int, data: memoryview) -> int:
        """Write as much as there is room for."""
        if self.room is None:
            return os.write(fd, data)
        if not self.room:
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        written = os.write(fd, data[: self.room])
        self.room -= written
        return written

    def rename(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """Never over another file."""
        self._step(source)
        assert not os.path.exists(f"/proc/self/fd/{dst_dir_fd}/{target}"), target
        os.rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def unlink(self, path: str, *, dir_fd: int) -> None:
        """Note the content, unless a copy of it exists."""
        self._step(path)
        whole = f"/proc/self/fd/{dir_fd}/{path}"
        if not path.endswith(".compressing") and not os.path.exists(whole + ".gz"):
            self.removed.append(content(whole))
        os.unlink(path, dir_fd=dir_fd)

    def ftruncate(self, fd: int, size: int) -> None:
        """Note the content."""
        self.removed.append(content(f"/proc/self/fd/{fd}"))
        os.ftruncate(fd, size)

    def _step(self, path: str) -> None:
        if self.refused and path.endswith(self.refused):
            self.refusals += 1
            raise PermissionError(13, "Permission denied")
        if self.steps == 0:
            raise CrashError
        self.steps -= 1


def content(path: str | Path) -> bytes:
    """The content of a log file, compressed or not."""
    data = Path(path).read_bytes()
    return gzip.decompress(data) if str(path).endswith(".gz") else data


class Job:
    """A running compression, with copies of the descriptors it was given."""

    def __init__(self, name: str, source: int, target: int, ended: Ended) -> None:
        self.name = name
        self.stdio = (os.dup(source), os.dup(target))
        self.ended = ended

    def work(self) -> None:
        """Compress."""
        os.write(self.stdio[1], gzip.compress(os.pread(self.stdio[0], 1 << 20, 0)))

    def close(self) -> None:
        """End."""
        for fd in self.stdio:
            os.close(fd)


class Recorded(LogFile):
    """A log file that keeps its stream, as process 1 keeps what is not confirmed."""

    stream = b""
    confirmed: tuple[int, int, int, int] | None = None

    def write(self, data: bytes | memoryview) -> None:
        """Write and keep."""
        self.stream += bytes(data)
        super().write(data)


class Place:
    """A directory with a log file, its writer's part, and the children that compress."""

    def __init__(self, directory: Path, kernel: Kernel) -> None:
        self.directory = directory
        self.path = str(directory / "web.log")
        self.kernel = kernel
        self.said: list[str] = []
        self.jobs: list[Job] = []
        self.rotation = (0, 1, False)
        self.sink = self.opened()

    def opened(self, compress: Any = None, **options: Any) -> Recorded:
        """Open the file, with a record of what is confirmed."""
        sink = Recorded(
            self.path,
            compress=compress or self.compress,
            on_trouble=self.said.append,
            confirm=lambda: setattr(sink, "confirmed", sink.position),
            **options,
        )
        return sink

    def rotate(self, bytes_max: int, files_max: int, *, compress: bool = False) -> Recorded:
        """Set the rotation, of later sinks too. Returns the sink."""
        self.rotation = (bytes_max, files_max, compress)
        self.sink.set_rotation(bytes_max, files_max, compress=compress)
        return self.sink

    def compress(self, name: str, source: int, target: int, ended: Ended) -> None:
        """As the writer."""
        assert not self.jobs, "two at once"
        self.jobs.append(Job(name, source, target, ended))

    def end(self, code: int = 0) -> str:
        """End the child, with half of its work done if it failed. Returns the name of its file."""
        (job,) = self.jobs
        if code:
            os.write(job.stdio[1], b"half")
        else:
            job.work()
        job.close()
        self.jobs.clear()
        job.ended(code)
        return os.path.basename(job.name)

    def fresh(self) -> Recorded:
        """Make a new sink, as in a new container."""
        for job in self.jobs:
            job.close()
        self.jobs.clear()
        self.sink = self.opened()
        return self.rotate(self.rotation[0], self.rotation[1], compress=self.rotation[2])

    def confirm(self) -> None:
        """A second has passed."""
        self.sink.confirmed = self.sink.position

    def replace_writer(self) -> Recorded:
        """The writer dies. The next one gets what it has confirmed, and what follows that in the stream."""
        before = self.sink
        for job in self.jobs:
            job.close()
        self.jobs.clear()
        self.sink = self.opened(resume=before.confirmed)
        start = before.confirmed[0] if before.confirmed else 0
        self.sink.stream, self.sink.confirmed = before.stream[:start], before.confirmed
        self.rotate(self.rotation[0], self.rotation[1], compress=self.rotation[2])
        for line in before.stream[start:].splitlines(keepends=True):
            self.sink.write(line)
        return self.sink

    def names(self) -> dict[str, bytes]:
        """Each file's content by what follows "web.log" in its name, without unfinished compressions."""
        names = [name for name in sorted(os.listdir(self.directory)) if name not in self.unfinished()]
        return {name.removeprefix("web.log"): content(self.directory / name) for name in names}

    def unfinished(self) -> list[str]:
        """The names of unfinished compressions."""
        return [name for name in os.listdir(self.directory) if re.fullmatch(r"web\.log\.\d+\.compressing", name)]

    def close(self) -> None:
        """Close everything."""
        self.sink.close()
        for job in self.jobs:
            job.close()


def patched(patch: pytest.MonkeyPatch) -> Kernel:
    """Replace the sink's system calls."""
    kernel = Kernel()
    patch.setattr(log_file, "os", kernel)
    patch.setattr(rotated_files, "os", kernel)
    patch.setattr(paths, "os", kernel)
    return kernel


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """The replaced system calls."""
    return patched(monkeypatch)


@pytest.fixture
def place(tmp_path: Path, kernel: Kernel) -> Iterator[Place]:
    """A sink in its own directory."""
    place = Place(tmp_path / "log", kernel)
    yield place
    place.close()


def numbered(count: int, start: int = 0, width: int = 9) -> bytes:
    """Lines of width + 1 bytes."""
    return b"".join(b"%0*d\n" % (width, number) for number in range(start, start + count))


class TestOpening:
    """When and what is opened."""

    def test_the_first_write_creates_file_and_directories(self, place: Place) -> None:
        """With the modes that the umask leaves."""
        before = os.umask(0o027)
        try:
            assert not place.directory.exists()
            place.path = str(place.directory / "a" / "b" / "web.log")
            place.fresh().write(b"one\n")
        finally:
            os.umask(before)
        assert content(place.path) == b"one\n"
        assert stat.S_IMODE(os.stat(place.path).st_mode) == 0o640
        assert stat.S_IMODE(place.directory.stat().st_mode) == 0o750

    def test_an_existing_file_is_continued(self, place: Place) -> None:
        """Writing appends to it."""
        place.directory.mkdir()
        (place.directory / "web.log").write_bytes(b"old\n")
        place.sink.write(memoryview(b"new\n"))
        assert content(place.path) == b"old\nnew\n"

    def test_an_unfinished_line_of_an_earlier_run_is_ended(self, place: Place) -> None:
        """Otherwise the first new line would be joined to it."""
        place.directory.mkdir()
        (place.directory / "web.log").write_bytes(b"old\nhal")
        place.sink.write(b"new\n")
        assert (content(place.path), place.sink.pending_bytes) == (b"old\nhal\nnew\n", 0)

    def test_an_unfinished_line_in_a_full_file_is_ended_there(self, place: Place) -> None:
        """The next file begins with the new line."""
        place.directory.mkdir()
        (place.directory / "web.log").write_bytes(b"old\nhalf a line")
        place.rotate(10, 2).write(b"new\n")
        assert place.names() == {"": b"new\n", ".1": b"old\nhalf a line\n"}

    def test_an_unfinished_line_on_a_full_disk_is_ended_later(self, place: Place) -> None:
        """When there is room."""
        place.directory.mkdir()
        (place.directory / "web.log").write_bytes(b"hal")
        place.kernel.room = 0
        place.sink.write(b"new\n")
        place.sink.flush()
        assert (content(place.path), place.sink.blocked) == (b"hal", True)
        place.kernel.room = None
        place.sink.flush()
        assert (content(place.path), place.sink.blocked) == (b"hal\nnew\n", False)

    @pytest.mark.parametrize("kind", ["fifo", "read fifo", "directory", "device"])
    def test_what_is_not_a_regular_file_is_refused(self, place: Place, kind: str) -> None:
        """A FIFO, directory or device is neither written nor waited for; the bytes are written when a file is there."""
        place.directory.mkdir()
        reader = -1
        if kind == "device":
            os.symlink("/dev/null", place.path)
        elif kind == "directory":
            os.mkdir(place.path)
        else:
            os.mkfifo(place.path)
            reader = os.open(place.path, os.O_RDONLY | os.O_NONBLOCK) if kind == "read fifo" else -1
        place.sink.write(b"one\n")
        end = "it is not a regular file (trying again every second; blocking services wait)"
        assert place.said == [f"cannot write {place.path}: {end}"]
        assert place.sink.blocked
        os.rename(place.path, place.path + ".away")
        place.sink.flush()
        assert (place.said[1:], content(place.path)) == ([f"can write {place.path} again"], b"one\n")
        if reader >= 0:
            assert os.read(reader, 10) == b""
            os.close(reader)

    def test_a_fifo_that_appears_during_the_open_does_not_block(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The open does not wait for a reader."""

        def opening(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if flags & os.O_CREAT:
                os.mkfifo(name, dir_fd=dir_fd)
            return os.open(name, flags, mode, dir_fd=dir_fd)

        place.directory.mkdir()
        monkeypatch.setattr(place.kernel, "open", opening, raising=False)
        place.sink.write(b"one\n")
        assert place.sink.blocked
        assert stat.S_ISFIFO(os.stat(place.path).st_mode)

    def test_a_parent_that_is_a_file_is_reported_once(self, place: Place) -> None:
        """With the kernel's text; the bytes stay pending."""
        place.directory.write_bytes(b"")
        for _ in range(3):
            place.sink.write(b"one\n")
            place.sink.flush()
        why = "Not a directory (trying again every second; blocking services wait)"
        assert place.said == [f"cannot write {place.path}: {why}"]
        assert place.sink.pending_bytes == 12


class TestOutside:
    """Changes of the file by other programs."""

    def test_after_a_rename_the_next_line_is_in_the_new_file(self, place: Place) -> None:
        """As with logrotate."""
        place.sink.write(b"one\n")
        os.rename(place.path, place.path + "-moved")
        place.sink.write(b"two\n")
        Path(place.path).rename(place.path + "-moved2")
        Path(place.path).touch()
        place.sink.write(b"three\n")
        assert place.names() == {"": b"three\n", "-moved": b"one\n", "-moved2": b"two\n"}

    def test_copytruncate_restarts_the_size(self, place: Place) -> None:
        """Writing continues at the beginning, and the size counts from there."""
        place.rotate(20, 3).write(numbered(2))
        os.truncate(place.path, 0)
        place.sink.write(numbered(2, 2))
        assert place.names() == {"": numbered(2, 2)}

    def test_a_removed_file_and_directory_are_created_again(self, place: Place) -> None:
        """By the next line."""
        place.sink.write(b"one\n")
        os.unlink(place.path)
        place.directory.rmdir()
        place.sink.write(b"two\n")
        assert place.names() == {"": b"two\n"}

    def test_a_line_is_finished_in_the_renamed_file(self, place: Place) -> None:
        """Later lines go to the new file."""
        place.kernel.room = 15
        place.sink.write(numbered(4))
        os.rename(place.path, place.path + "-moved")
        place.kernel.room = None
        place.sink.flush()
        assert place.names() == {"": numbered(2, 2), "-moved": numbered(2)}

    def test_a_line_is_rewritten_when_its_file_was_removed(self, place: Place) -> None:
        """Its beginning is gone with the file."""
        place.kernel.room = 15
        place.sink.write(numbered(3))
        os.unlink(place.path)
        place.kernel.room = None
        place.sink.flush()
        assert place.names() == {"": numbered(2, 1)}

    def test_a_removed_file_is_closed_by_the_next_attempt(self, place: Place) -> None:
        """Even if the attempt fails; otherwise the disk could never get free space."""
        place.sink.write(b"one\n")
        os.unlink(place.path)
        place.kernel.room = 0
        place.sink.write(b"two\n")
        open_files = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        assert [name for name in open_files if name.startswith(place.path)] == [place.path]


class TestFull:
    """What cannot be written now."""

    def test_a_full_disk_is_retried_without_loss(self, place: Place) -> None:
        """No line is split or doubled, and the problem and its end are reported once each."""
        place.kernel.room = 25
        before = time.monotonic()
        place.sink.write(numbered(5))
        assert place.sink.blocked
        assert place.sink.pending_bytes == 25
        assert place.sink.retry_at is not None
        assert before < place.sink.retry_at - 0.5 < time.monotonic() + 0.5
        place.sink.write(numbered(2, 5))
        place.kernel.room = 7
        place.sink.flush()
        place.sink.flush()
        assert content(place.path) == numbered(7)[:32]
        place.kernel.room = None
        place.sink.flush()
        assert content(place.path) == numbered(7)
        after: tuple[bool, int, float | None] = (place.sink.blocked, place.sink.pending_bytes, place.sink.retry_at)
        assert after == (False, 0, None)
        why = "No space left on device (trying again every second; blocking services wait)"
        assert place.said == [f"cannot write {place.path}: {why}", f"can write {place.path} again"]

    def test_drain_gives_up_a_full_disk(self, place: Place) -> None:
        """After ten attempts; what is lost is known then."""
        place.kernel.room = 4
        place.sink.write(b"one\ntwo\n")
        place.sink.drain()
        assert (place.sink.pending_bytes, content(place.path)) == (4, b"one\n")

    def test_drain_does_not_wait_for_the_retry_time(self, place: Place) -> None:
        """It writes as soon as there is room."""
        place.kernel.room = 0
        place.sink.write(b"one\n")
        place.kernel.room = None
        place.sink.drain()
        assert content(place.path) == b"one\n"


class TestReplacedWriter:
    """The writer died: the next one writes what is missing."""

    def test_what_was_not_confirmed_is_not_written_twice(self, place: Place) -> None:
        """Even in the middle of a line."""
        place.sink.write(numbered(2))
        place.confirm()
        place.kernel.room = 15
        place.sink.write(numbered(3, 2))
        place.kernel.room = None
        place.replace_writer().write(numbered(1, 5))
        assert content(place.path) == numbered(6)

    def test_nothing_confirmed_at_all(self, place: Place) -> None:
        """The file is compared from its beginning."""
        place.sink.write(numbered(3))
        place.replace_writer().write(numbered(1, 3))
        assert content(place.path) == numbered(4)

    def test_another_text_after_the_position_is_kept(self, place: Place) -> None:
        """It is of another program; the stream is written after it."""
        place.sink.write(numbered(1))
        place.confirm()
        Path(place.path).write_bytes(numbered(1) + b"other\n")
        place.replace_writer().write(numbered(1, 1))
        assert content(place.path) == numbered(1) + b"other\n" + numbered(1, 1)

    def test_lines_before_another_text_are_not_written_twice(self, place: Place) -> None:
        """Another program has appended to the file after them; the next writer reads them with later ones."""
        place.sink.write(numbered(1))
        place.confirm()
        place.sink.write(numbered(2, 1))
        with open(place.path, "ab") as file:
            file.write(b"other\n")
        place.opened(resume=place.sink.confirmed).write(numbered(4, 1))
        assert content(place.path) == numbered(3) + b"other\n" + numbered(2, 3)

    def test_a_file_that_was_truncated_by_the_rotation(self, place: Place) -> None:
        """It is the same file, with another end."""
        place.rotate(30, 1).write(numbered(3))
        place.sink.write(numbered(2, 3))
        place.replace_writer()
        assert content(place.path) == numbered(2, 3)

    def test_the_position_is_at_the_end_of_a_line(self, place: Place) -> None:
        """So that a line can be written again as a whole when the file with its beginning is gone."""
        place.kernel.room = 15
        place.sink.write(numbered(2))
        place.confirm()
        status = os.stat(place.path)
        assert place.sink.position == (10, status.st_dev, status.st_ino, 10)
        os.unlink(place.path)
        place.kernel.room = None
        place.replace_writer().flush()
        assert place.names() == {"": numbered(1, 1)}


class TestRotation:
    """What is too large is renamed."""

    def test_files_are_split_between_lines(self, place: Place) -> None:
        """Each file is as full as whole lines allow, up to the number of files."""
        place.rotate(35, 3).write(numbered(2))
        place.sink.write(numbered(8, 2))
        assert place.names() == {"": numbered(1, 9), ".1": numbered(3, 6), ".2": numbered(3, 3)}
        assert place.kernel.removed == [numbered(3)]

    def test_a_file_of_exactly_the_limit_is_not_rotated(self, place: Place) -> None:
        """The limit is inclusive."""
        place.rotate(30, 3).write(numbered(3))
        assert place.names() == {"": numbered(3)}

    def test_a_line_longer_than_the_limit_has_its_own_file(self, place: Place) -> None:
        """The limit never splits a line."""
        place.rotate(30, 5).write(numbered(1) + b"x" * 99 + b"\n" + numbered(1, 1))
        assert place.names() == {"": numbered(1, 1), ".1": b"x" * 99 + b"\n", ".2": numbered(1)}

    def test_bytes_without_a_newline_are_split_between_writes(self, place: Place) -> None:
        """A progress bar that never ends its line does not make the file grow without limit."""
        place.rotate(10, 3)
        for number in range(6):
            place.sink.write(b"%d%%\r " % number)
        assert place.names() == {"": b"4%\r 5%\r ", ".1": b"2%\r 3%\r ", ".2": b"0%\r 1%\r "}

    def test_a_single_file_is_truncated(self, place: Place) -> None:
        """As Docker does with max-file 1."""
        place.rotate(20, 1).write(numbered(5))
        assert place.names() == {"": numbered(1, 4)}

    def test_without_a_limit_the_file_grows(self, place: Place) -> None:
        """max-size 0."""
        place.rotate(0, 3).write(numbered(1000))
        assert place.names() == {"": numbered(1000)}

    def test_a_line_is_finished_before_the_rotation(self, place: Place) -> None:
        """Even if another program has made the file too large."""
        place.kernel.room = 15
        place.rotate(40, 3).write(numbered(3))
        place.kernel.room = None
        with open(place.path, "ab") as other:
            other.write(b"." * 30)
        place.sink.flush()
        assert place.names() == {"": numbered(1, 2), ".1": numbered(1) + b"00000" + b"." * 30 + b"0001\n"}

    def test_other_names_are_not_touched(self, place: Place) -> None:
        """Dates, larger numbers and other suffixes."""
        place.directory.mkdir()
        others = {".20240101": b"a\n", ".9": b"b\n", ".01": b"c\n", ".bak": b"d\n", ".x.compressing": b"e\n"}
        for name, data in others.items():
            Path(place.path + name).write_bytes(data)
        place.rotate(10, 3, compress=True).write(numbered(9))
        assert others.items() <= place.names().items()

    def test_rotation_fills_a_free_number(self, place: Place) -> None:
        """Only newer files move, plain or compressed."""
        place.directory.mkdir()
        for name in (".1", ".2.gz", ".4"):
            Path(place.path + name).write_bytes(gzip.compress(b"gz") if name.endswith("gz") else name.encode())
        place.rotate(10, 6).write(numbered(2))
        assert place.names() == {"": numbered(1, 1), ".1": numbered(1), ".2": b".1", ".3.gz": b"gz", ".4": b".4"}

    def test_a_link_to_the_file_is_kept(self, place: Place) -> None:
        """The rotated files are next to the file that the link leads to."""
        place.directory.mkdir()
        volume = place.directory / "volume"
        volume.mkdir()
        os.symlink(volume / "real", place.path)
        place.rotate(10, 3).write(numbered(2))
        assert {name: content(volume / name) for name in os.listdir(volume)} == {
            "real": numbered(1, 1),
            "real.1": numbered(1),
        }
        assert os.path.islink(place.path)

    def test_a_file_that_cannot_be_rotated_grows(self, place: Place) -> None:
        """In a directory without write permission. The problem and its end are reported once each."""
        place.kernel.refused = "web.log"
        place.rotate(10, 3).write(numbered(2))
        place.sink.write(numbered(1, 2))
        assert place.names() == {"": numbered(3)}
        assert place.kernel.refusals == 1
        place.kernel.refused = ""
        place.sink._rotate_at = 0.0
        place.sink.write(numbered(1, 3))
        assert place.names() == {"": numbered(1, 3), ".1": numbered(3)}
        why = "Permission denied (the file grows; trying again every second)"
        assert place.said == [f"cannot rotate {place.path}: {why}", f"can rotate {place.path} again"]

    @pytest.mark.parametrize("later", ["replaced", "fresh"])
    @pytest.mark.parametrize("steps", range(4))
    def test_a_crash_at_any_step_of_a_rotation_loses_nothing_else(self, place: Place, steps: int, later: str) -> None:
        """Only the oldest file is removed; the next rotation fills the gap."""
        place.rotate(10, 4).write(numbered(4))
        place.kernel.steps = steps
        with pytest.raises(CrashError):
            place.sink.write(numbered(1, 4))
        place.kernel.steps = -1
        if later == "replaced":
            place.replace_writer().flush()
        else:
            place.sink.close()
            place.fresh().write(numbered(1, 4))
        assert place.names() == {"": numbered(1, 4), **{f".{n}": numbered(1, 4 - n) for n in (1, 2, 3)}}
        assert place.kernel.removed == [numbered(1)]


class TestCompression:
    """A child compresses rotated files."""

    def test_one_file_at_a_time_the_oldest_first(self, place: Place) -> None:
        """While numbers change; the copy gets the number that the original has at its end."""
        place.rotate(10, 5, compress=True).write(numbered(2))
        place.sink.write(numbered(2, 2))
        assert place.end() == "web.log.1"  # its name when the compression began
        assert place.end() == "web.log.2"
        place.sink.write(numbered(1, 4))
        assert place.end() == "web.log.1"  # moved to .2 since
        assert place.end() == "web.log.1"
        assert place.jobs == []
        assert place.names() == {"": numbered(1, 4), **{f".{n}.gz": numbered(1, 4 - n) for n in (1, 2, 3, 4)}}
        assert place.kernel.removed == []

    def test_the_copy_has_mode_and_mtime_of_the_original(self, place: Place) -> None:
        """It replaces the original."""
        place.rotate(10, 3, compress=True).write(numbered(1))
        os.chmod(place.path, 0o640)
        place.sink.write(numbered(1, 1))
        source = os.stat(place.path + ".1")
        place.end()
        packed = os.stat(place.path + ".1.gz")
        assert (packed.st_mode, packed.st_mtime_ns) == (source.st_mode, source.st_mtime_ns)

    def test_a_copy_is_not_setuid(self, place: Place) -> None:
        """Another user may own the file and have set that mode."""
        place.rotate(10, 3, compress=True).write(numbered(1))
        os.chmod(place.path, 0o6640)
        place.sink.write(numbered(1, 1))
        place.end()
        assert stat.S_IMODE(os.stat(place.path + ".1.gz").st_mode) == 0o640

    @pytest.mark.parametrize("kind", ["link", "hard link"])
    def test_a_link_in_place_of_the_copy_is_refused(self, place: Place, tmp_path: Path, kind: str) -> None:
        """The file that it leads to keeps its times, mode and content."""
        other = tmp_path / "other"
        other.write_bytes(b"precious")
        os.utime(other, (1, 1))
        place.directory.mkdir(mode=0o777)
        place.directory.chmod(0o777)
        place.rotate(10, 3, compress=True).write(numbered(2))
        (name,) = place.unfinished()
        os.unlink(place.directory / name)
        if kind == "link":
            os.symlink(other, place.directory / name)
        else:
            os.link(other, place.directory / name)
        place.end()
        assert (other.read_bytes(), other.stat().st_mtime_ns, other.stat().st_nlink) == (b"precious", 1_000_000_000, 1)
        assert place.said[0].startswith(f"cannot compress {place.path}.N: it ")

    @pytest.mark.parametrize("kind", ["link", "hard link", "fifo"])
    def test_links_and_fifos_of_others_are_not_compressed(self, place: Place, tmp_path: Path, kind: str) -> None:
        """In a directory that others can change."""
        other = tmp_path / "other"
        other.write_bytes(b"precious")
        place.directory.mkdir()
        place.directory.chmod(0o777)
        old = place.directory / "web.log.1"
        {"link": lambda: old.symlink_to(other), "hard link": lambda: os.link(other, old)}.get(
            kind, lambda: os.mkfifo(old)
        )()
        place.rotate(100, 3, compress=True).write(numbered(1))
        assert (place.jobs, place.unfinished()) == ([], [])
        assert place.said[0].startswith(f"cannot compress {place.path}.N: ")
        assert content(place.path) == numbered(1)

    @pytest.mark.parametrize(
        ("code", "why"), [(ENOSPC, "No space left on device"), (137, "SIGKILL (killed)")], ids=["full disk", "killed"]
    )
    def test_a_failed_compression_leaves_the_file(self, place: Place, code: int, why: str) -> None:
        """Reported once; the next rotation tries again."""
        place.rotate(10, 4, compress=True).write(numbered(2))
        place.end(code)
        assert place.names() == {"": numbered(1, 1), ".1": numbered(1)}
        place.sink.write(numbered(1, 2))
        place.end(code)
        action = "the file stays uncompressed; trying again after the next rotation"
        assert place.said == [f"cannot compress {place.path}.N: {why} ({action})"]
        place.sink.write(numbered(1, 3))
        assert [place.end() for _ in range(3)] == ["web.log.3", "web.log.2", "web.log.1"]
        place.sink.write(numbered(1, 4))
        place.end(code)
        assert place.said == [f"cannot compress {place.path}.N: {why} ({action})"] * 2
        assert place.names() == {
            "": numbered(1, 4),
            ".1": numbered(1, 3),
            **{f".{n}.gz": numbered(1, 4 - n) for n in (2, 3)},
        }

    def test_a_failed_fork_leaves_the_file(self, place: Place) -> None:
        """And no unfinished file."""

        def compress(_name: str, _source: int, _target: int, _ended: Ended) -> None:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        place.sink = place.opened(compress)
        place.rotate(10, 3, compress=True).write(numbered(2))
        assert (place.names(), place.unfinished()) == ({"": numbered(1, 1), ".1": numbered(1)}, [])
        assert "Resource temporarily unavailable" in place.said[0]

    def test_the_copy_of_a_removed_original_is_dropped(self, place: Place) -> None:
        """It was rotated out."""
        place.rotate(10, 2, compress=True).write(numbered(2))
        place.sink.write(numbered(1, 2))
        place.end()
        assert place.names() == {"": numbered(1, 2), ".1": numbered(1, 1)}
        assert place.said == []

    def test_the_copy_of_a_changed_original_is_dropped(self, place: Place) -> None:
        """It is incomplete."""
        place.rotate(10, 3, compress=True).write(numbered(2))
        with open(place.path + ".1", "ab") as other:
            other.write(b"more\n")
        place.end()
        assert place.names() == {"": numbered(1, 1), ".1": numbered(1) + b"more\n"}

    def test_a_later_run_removes_unfinished_files_and_compresses_the_rest(self, place: Place) -> None:
        """All that an earlier run left."""
        place.rotate(10, 5, compress=True).write(numbered(4))
        assert len(place.unfinished()) == 1
        place.sink.close()
        place.fresh()
        place.rotate(20, 5, compress=True).write(numbered(1, 4))
        assert len(place.unfinished()) == 1
        assert [place.end(), place.end(), place.end()] == ["web.log.3", "web.log.2", "web.log.1"]
        assert place.names() == {"": numbered(2, 3), **{f".{n}.gz": numbered(1, 3 - n) for n in (1, 2, 3)}}
        assert (place.jobs, place.unfinished()) == ([], [])

    @pytest.mark.parametrize("refused", [".log.1", ("web.log.1", "web.log.1.gz")], ids=["removal", "undoing too"])
    def test_an_original_that_cannot_be_removed_does_not_stay_twice(
        self, place: Place, refused: str | tuple[str, str]
    ) -> None:
        """The copy is removed; if that fails too, one of them is removed when possible."""
        place.rotate(10, 4, compress=True).write(numbered(2))
        place.kernel.refused = refused
        place.end()
        action = "the file stays uncompressed; trying again after the next rotation"
        assert place.said == [f"cannot compress {place.path}.N: Permission denied ({action})"]
        copies = {} if isinstance(refused, str) else {".1.gz": numbered(1)}
        assert place.names() == {"": numbered(1, 1), ".1": numbered(1), **copies}
        place.kernel.refused = ""
        place.sink.write(numbered(1, 2))
        while place.jobs:
            place.end()
        assert place.names() == {"": numbered(1, 2), ".1.gz": numbered(1, 1), ".2.gz": numbered(1)}
        assert place.unfinished() == []

    def test_a_crash_before_the_original_is_removed_is_repaired(self, place: Place) -> None:
        """The next run removes the duplicate."""
        place.rotate(10, 3, compress=True).write(numbered(2))
        place.kernel.steps = 1
        with pytest.raises(CrashError):
            place.end()
        place.kernel.steps = -1
        assert place.names() == {"": numbered(1, 1), ".1": numbered(1), ".1.gz": numbered(1)}
        place.sink.close()
        place.fresh().write(numbered(1, 2))
        assert place.names() == {"": numbered(1, 2), ".1": numbered(1, 1), ".2.gz": numbered(1)}

    def test_the_next_writer_compresses_again(self, place: Place) -> None:
        """What the compressor of the former one had made is removed."""
        place.rotate(10, 4, compress=True).write(numbered(2))
        place.replace_writer().flush()
        place.sink.write(numbered(1, 2))
        assert len(place.unfinished()) == 1
        place.end()
        assert place.names() == {"": numbered(1, 2), ".1": numbered(1, 1), ".2.gz": numbered(1)}

    @pytest.mark.parametrize("moment", ["opened", "rotated", "a child's end"])
    def test_a_failed_stat_affects_compression_only(self, place: Place, moment: str) -> None:
        """Writing continues."""
        place.rotate(10, 5, compress=True)
        if moment == "opened":
            place.directory.mkdir()
            Path(place.path).write_bytes(numbered(1))
            place.kernel.stat_fails = ".log.4"
            place.rotate(20, 5, compress=True).write(numbered(1, 1))
            assert place.names() == {"": numbered(2)}
        elif moment == "rotated":
            place.sink.write(numbered(1))
            place.kernel.stat_fails = ".log.4"
            place.sink.write(numbered(1, 1))
            assert place.names() == {"": numbered(1, 1), ".1": numbered(1)}
        else:
            place.sink.write(numbered(3))
            place.kernel.stat_fails = ".log.4"
            place.end()
            assert place.names() == {"": numbered(1, 2), ".1": numbered(1, 1), ".2.gz": numbered(1)}
        action = "the file stays uncompressed; trying again after the next rotation"
        assert place.said == [f"cannot compress {place.path}.N: Stale file handle ({action})"]
        assert (place.sink.blocked, place.jobs) == (False, [])

    def test_after_stop_compressing_nothing_is_compressed_or_reported(self, place: Place) -> None:
        """The child's file stays, and the next run compresses it."""
        place.rotate(10, 4, compress=True).write(numbered(2))
        place.sink.stop_compressing()
        place.end(143)
        place.sink.write(numbered(1, 2))
        assert (place.jobs, place.said, place.unfinished()) == ([], [], [])
        assert place.names() == {"": numbered(1, 2), ".1": numbered(1, 1), ".2": numbered(1)}
        place.sink.close()
        place.fresh().write(numbered(1, 3))
        assert [place.end() for _ in range(3)] == ["web.log.2", "web.log.2", "web.log.1"]
        assert [name for name in place.names() if name.endswith(".gz")] == [".1.gz", ".2.gz", ".3.gz"]

    def test_a_compression_finishes_after_close(self, place: Place) -> None:
        """A reload that removes the file lets the child finish and starts no other."""
        place.rotate(10, 4, compress=True).write(numbered(3))
        place.sink.close()
        place.end()
        assert place.names() == {"": numbered(1, 2), ".1": numbered(1, 1), ".2.gz": numbered(1)}
        assert (place.jobs, place.said) == ([], [])

    def test_a_later_sink_ignores_an_earlier_compression(self, place: Place) -> None:
        """Its unfinished copy cannot replace a file."""
        place.rotate(10, 4, compress=True).write(numbered(2))
        first, place.jobs = place.jobs, []
        place.sink.close()
        place.sink = place.opened()
        place.rotate(10, 4, compress=True).write(numbered(1, 2))
        for job in first:
            job.close()
            job.ended(0)
        assert place.names()[".2"] == numbered(1)
        place.end()
        assert place.names()[".2.gz"] == numbered(1)
        assert place.said == []


LINES = st.lists(st.integers(10, 60), min_size=1, max_size=6).map(lambda widths: ("write", widths))
OTHERS = st.sampled_from(
    ["rename", "copytruncate", "remove", "confirm", "replace", "restart", "room", "done", "failed"]
)
FULL = st.integers(0, 90).map(lambda room: ("full", [room]))
STEPS = st.lists(LINES | OTHERS.map(lambda name: (name, list[int]())) | FULL, max_size=40)


class History:
    """What was written, and what was removed."""

    def __init__(self, directory: str, kernel: Kernel, rotation: tuple[int, int, bool]) -> None:
        self.kernel = kernel
        self.place = Place(Path(directory), self.kernel)
        self.place.rotate(rotation[0], rotation[1], compress=rotation[2])
        self.written = b""
        self.count = 0
        self.moved = 0

    def write(self, widths: list[int]) -> None:
        """Write some lines at once."""
        if self.place.sink.blocked:
            return
        data = b"".join(b"%0*d\n" % (width, self.count + number) for number, width in enumerate(widths))
        self.count += len(widths)
        self.written += data
        self.place.sink.write(data)

    def _moved_path(self) -> str:
        self.moved += 1
        return f"{self.place.path}-{self.moved}"

    def rename(self, _: list[int]) -> None:
        """Another program renames the file."""
        self.place.confirm()
        if os.path.exists(self.place.path):
            os.rename(self.place.path, self._moved_path())

    def copytruncate(self, _: list[int]) -> None:
        """Another program copies and truncates the file, not inside a line: that would split the line."""
        self.place.confirm()
        if os.path.exists(self.place.path) and content(self.place.path).endswith(b"\n"):
            Path(self._moved_path()).write_bytes(content(self.place.path))
            os.truncate(self.place.path, 0)

    def remove(self, _: list[int]) -> None:
        """Another program removes the file. An unfinished line does not count: it is written again."""
        self.place.confirm()
        if os.path.exists(self.place.path):
            self.kernel.removed.append(content(self.place.path)[: content(self.place.path).rfind(b"\n") + 1])
            os.unlink(self.place.path)

    def confirm(self, _: list[int]) -> None:
        """A second passes."""
        self.place.confirm()

    def replace(self, _: list[int]) -> None:
        """The writer dies, and another one begins. A line that it began in a renamed file would be written again."""
        moved = (content(f"{self.place.path}-{number + 1}") for number in range(self.moved))
        if all(data.endswith(b"\n") or not data for data in moved):
            self.place.replace_writer().flush()

    def restart(self, _: list[int]) -> None:
        """Start again without state."""
        if not self.place.sink.blocked:
            self.place.sink.close()
            self.place.fresh()

    def full(self, room: list[int]) -> None:
        """The disk becomes full."""
        self.kernel.room = room[0]

    def room(self, _: list[int]) -> None:
        """The disk has room."""
        self.kernel.room = None
        self.place.sink.flush()

    def done(self, _: list[int], code: int = 0) -> None:
        """The child ends."""
        if self.place.jobs:
            self.place.end(code)

    def failed(self, _: list[int]) -> None:
        """The child fails."""
        self.done([], ENOSPC)

    def check(self) -> None:
        """Files and removed files together are what was written; numbers, sizes and count are within the limits."""
        bytes_max, files_max, _ = self.place.rotation
        names = self.place.names()
        own = [name.removesuffix(".gz") for name in names if not name.startswith("-")]
        assert len(own) == len(set(own)) <= files_max, names
        for data in names.values():
            assert len(data) <= bytes_max or data.count(b"\n") == 1
        pieces = [piece for piece in (*names.values(), *self.kernel.removed) if piece]
        assert b"".join(sorted(pieces, key=_first)) == self.written


def _first(piece: Any) -> int:
    return int(piece.partition(b"\n")[0])


def test_nothing_is_written_twice_after_a_truncation(place: Place) -> None:
    """The confirmed position is beyond the end of a truncated file, or later inside what was written since."""
    place.sink.write(numbered(1))
    place.confirm()
    os.truncate(place.path, 0)
    place.sink.write(numbered(1, 1))
    place.replace_writer().flush()
    assert place.names() == {"": numbered(1, 1)}


def test_a_line_begun_in_a_renamed_file_is_written_whole_by_the_next_writer(place: Place) -> None:
    """The next writer knows no file by that name: the beginning of the line stays, and the whole line follows."""
    place.kernel.room = 2
    place.sink.write(numbered(1))
    os.rename(place.path, place.path + "-1")
    place.kernel.room = None
    place.replace_writer().flush()
    assert place.names() == {"-1": numbered(1)[:2], "": numbered(1)}


@given(STEPS, st.tuples(st.integers(1, 150), st.integers(1, 4), st.booleans()))
@example(steps=[("full", [2]), ("write", [10]), ("rename", []), ("replace", [])], rotation=(1, 1, False))
def test_any_sequence_of_events_loses_nothing(
    steps: list[tuple[str, list[int]]], rotation: tuple[int, int, bool]
) -> None:
    """All files from the oldest to the newest contain what was written, once."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        history = History(directory, patched(patch), rotation)
        for name, values in steps:
            getattr(history, name)(values)
        history.room([])
        history.check()
        history.place.close()

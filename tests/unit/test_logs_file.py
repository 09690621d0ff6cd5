"""A file as a destination: every line is in one file and there once, whatever happens to disk, names and us."""

import gzip
import marshal
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit import paths
from cohabit.reactor.logs import file, rotated
from cohabit.reactor.logs.file import FileSink
from cohabit.reactor.processes.child import SpawnSpec

ENOSPC, ESTALE = 28, 116
Ended = Callable[[int, str], None]


class CrashError(BaseException):
    """We end here."""


class Kernel:
    """The system calls of the sink: a disk that may be full, and a moment at which we end.

    room: bytes that the disk still takes; steps: changes of names until the crash; refused: what a name ends with that
    cannot be changed, unseen: that cannot be looked at. gone: what rotated out.
    """

    def __init__(self) -> None:
        self.room: int | None = None
        self.steps = -1
        self.refused: str | tuple[str, ...] = ""
        self.unseen = ""
        self.refusals = 0
        self.gone: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def stat(self, path: str, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        """As a network's file that is gone."""
        if self.unseen and path.endswith(self.unseen):
            raise OSError(ESTALE, os.strerror(ESTALE))
        return os.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    def write(self, fd: int, data: memoryview) -> int:
        """As much as there is room for."""
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
        """What is no copy is gone."""
        self._step(path)
        whole = f"/proc/self/fd/{dir_fd}/{path}"
        if not path.endswith(".compressing") and not os.path.exists(whole + ".gz"):
            self.gone.append(content(whole))
        os.unlink(path, dir_fd=dir_fd)

    def ftruncate(self, fd: int, size: int) -> None:
        """The only file there is."""
        self.gone.append(content(f"/proc/self/fd/{fd}"))
        os.ftruncate(fd, size)

    def _step(self, path: str) -> None:
        if self.refused and path.endswith(self.refused):
            self.refusals += 1
            raise PermissionError(13, "Permission denied")
        if self.steps == 0:
            raise CrashError
        self.steps -= 1


def content(path: str | Path) -> bytes:
    """What a log file holds, compressed or not."""
    data = Path(path).read_bytes()
    return gzip.decompress(data) if str(path).endswith(".gz") else data


class Job:
    """A compression that was launched: it has what its sink gave it."""

    def __init__(self, start: SpawnSpec, ended: Ended) -> None:
        self.name = start.argv[-1]
        self.stdio = tuple(os.dup(fd) for fd in start.stdio[:2])
        self.ended = ended

    def work(self) -> None:
        """Compress."""
        os.write(self.stdio[1], gzip.compress(os.pread(self.stdio[0], 1 << 20, 0)))

    def close(self) -> None:
        """Its end."""
        for fd in self.stdio:
            os.close(fd)


class Place:
    """A directory with a log file, its sink, and the children that compress."""

    def __init__(self, directory: Path, kernel: Kernel) -> None:
        self.directory = directory
        self.path = str(directory / "web.log")
        self.kernel = kernel
        self.said: list[str] = []
        self.jobs: dict[str, Job] = {}
        self.rotation = (0, 1, False)
        self.sink = FileSink(self.path, launch=self.launch, on_trouble=self.said.append)

    def rotate(self, bytes_max: int, files_max: int, *, compress: bool = False) -> FileSink:
        """Set the rotation, of later sinks as well; returns the sink."""
        self.rotation = (bytes_max, files_max, compress)
        self.sink.set_rotation(bytes_max, files_max, compress=compress)
        return self.sink

    def launch(self, key: str, start: SpawnSpec, ended: Ended) -> None:
        """As Children."""
        assert not self.jobs, "two at a time"
        self.jobs[key] = Job(start, ended)

    def end(self, code: int = 0) -> str:
        """The child has ended; returns which file it had. It has done half of its work if it failed."""
        ((key, job),) = self.jobs.items()
        if code:
            os.write(job.stdio[1], b"half")
        else:
            job.work()
        job.close()
        del self.jobs[key]
        job.ended(code, "")
        return os.path.basename(job.name)

    def fresh(self) -> FileSink:
        """A later life, which knows nothing of this one."""
        for job in self.jobs.values():
            job.close()
        self.jobs.clear()
        self.sink = FileSink(self.path, launch=self.launch, on_trouble=self.said.append)
        return self.rotate(self.rotation[0], self.rotation[1], compress=self.rotation[2])

    def reexecute(self) -> FileSink:
        """A later life, which knows all, and whose children live on."""
        plain = marshal.loads(marshal.dumps(self.sink.to_plain()))  # noqa: S302 - our own
        for fd in self.sink.descriptors():
            os.set_inheritable(fd, True)
        jobs, self.jobs = self.jobs, {}
        self.fresh().restore(plain)
        assert not any(os.get_inheritable(fd) for fd in self.sink.descriptors())
        ends = dict(self.sink.tasks())
        assert ends.keys() == jobs.keys()
        for key, job in jobs.items():
            job.ended = ends[key]
        self.jobs = jobs
        return self.sink

    def names(self) -> dict[str, bytes]:
        """Each file with what it holds, by what follows "web.log" in its name; none that a child still writes."""
        names = [name for name in sorted(os.listdir(self.directory)) if name not in self.unfinished()]
        return {name.removeprefix("web.log"): content(self.directory / name) for name in names}

    def unfinished(self) -> list[str]:
        """What children write."""
        return [name for name in os.listdir(self.directory) if re.fullmatch(r"web\.log\.\d+\.compressing", name)]

    def close(self) -> None:
        """Let go of everything."""
        self.sink.close()
        for job in self.jobs.values():
            job.close()


def patched(patch: pytest.MonkeyPatch) -> Kernel:
    """Put another kernel under the sink."""
    kernel = Kernel()
    patch.setattr(file, "os", kernel)
    patch.setattr(rotated, "os", kernel)
    patch.setattr(paths, "os", kernel)
    return kernel


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Give the system calls that the sink makes."""
    return patched(monkeypatch)


@pytest.fixture
def place(tmp_path: Path, kernel: Kernel) -> Iterator[Place]:
    """Give a sink in a directory of its own."""
    place = Place(tmp_path / "log", kernel)
    yield place
    place.close()


def numbered(count: int, start: int = 0, width: int = 9) -> bytes:
    """Lines of width + 1 bytes."""
    return b"".join(b"%0*d\n" % (width, number) for number in range(start, start + count))


class TestOpening:
    """When and what is opened."""

    def test_nothing_is_there_before_the_first_line(self, place: Place) -> None:
        """The file and the directories above it are made by the first write, with the modes that the umask leaves."""
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

    def test_what_is_there_stays(self, place: Place) -> None:
        """A file of an earlier life is continued."""
        place.directory.mkdir()
        (place.directory / "web.log").write_bytes(b"old\n")
        place.sink.write(memoryview(b"new\n"))
        assert content(place.path) == b"old\nnew\n"

    def test_a_line_that_an_earlier_life_began(self, place: Place) -> None:
        """Nobody will end it any more: it is ended, so that it spoils none of ours."""
        place.directory.mkdir()
        (place.directory / "web.log").write_bytes(b"old\nhal")
        place.sink.write(b"new\n")
        assert (content(place.path), place.sink.pending_bytes) == (b"old\nhal\nnew\n", 0)

    def test_a_line_that_an_earlier_life_began_in_a_full_file(self, place: Place) -> None:
        """It is ended in that file, and the one that comes after begins with our line."""
        place.directory.mkdir()
        (place.directory / "web.log").write_bytes(b"old\nhalf a line")
        place.rotate(10, 2).write(b"new\n")
        assert place.names() == {"": b"new\n", ".1": b"old\nhalf a line\n"}

    def test_a_line_that_an_earlier_life_began_on_a_full_disk(self, place: Place) -> None:
        """It is ended when there is room."""
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
    def test_what_is_no_file_is_refused(self, place: Place, kind: str) -> None:
        """No FIFO, directory or device is written to or waited for; the bytes go where a file comes to be."""
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
        assert (place.said[1:], content(place.path)) == ([f"writes {place.path} again"], b"one\n")
        if reader >= 0:
            assert os.read(reader, 10) == b""
            os.close(reader)

    def test_a_fifo_that_comes_at_the_last_moment(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody waits for its reader."""

        def opening(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if flags & os.O_CREAT:
                os.mkfifo(name, dir_fd=dir_fd)
            return os.open(name, flags, mode, dir_fd=dir_fd)

        place.directory.mkdir()
        monkeypatch.setattr(place.kernel, "open", opening, raising=False)
        place.sink.write(b"one\n")
        assert place.sink.blocked
        assert stat.S_ISFIFO(os.stat(place.path).st_mode)

    def test_a_parent_that_is_a_file(self, place: Place) -> None:
        """Is told in the kernel's words, once, and the bytes wait."""
        place.directory.write_bytes(b"")
        for _ in range(3):
            place.sink.write(b"one\n")
            place.sink.flush()
        why = "Not a directory (trying again every second; blocking services wait)"
        assert place.said == [f"cannot write {place.path}: {why}"]
        assert (place.sink.pending_bytes, place.sink.fd, place.sink.lost) == (12, -1, "")


class TestOutside:
    """What others do to the file."""

    def test_renamed_and_created(self, place: Place) -> None:
        """As logrotate does: the next line is in the new file."""
        place.sink.write(b"one\n")
        os.rename(place.path, place.path + "-moved")
        place.sink.write(b"two\n")
        Path(place.path).rename(place.path + "-moved2")
        Path(place.path).touch()
        place.sink.write(b"three\n")
        assert place.names() == {"": b"three\n", "-moved": b"one\n", "-moved2": b"two\n"}

    def test_truncated(self, place: Place) -> None:
        """As logrotate's copytruncate does: writing goes on at the beginning, and the size counts from there."""
        place.rotate(20, 3).write(numbered(2))
        os.truncate(place.path, 0)
        place.sink.write(numbered(2, 2))
        assert place.names() == {"": numbered(2, 2)}

    def test_removed(self, place: Place) -> None:
        """With its directory: both come to be again."""
        place.sink.write(b"one\n")
        os.unlink(place.path)
        place.directory.rmdir()
        place.sink.write(b"two\n")
        assert place.names() == {"": b"two\n"}

    def test_renamed_inside_a_line(self, place: Place) -> None:
        """The rest of a line follows its beginning, what comes then goes to the new file."""
        place.kernel.room = 15
        place.sink.write(numbered(4))
        os.rename(place.path, place.path + "-moved")
        place.kernel.room = None
        place.sink.flush()
        assert place.names() == {"": numbered(2, 2), "-moved": numbered(2)}

    def test_removed_inside_a_line(self, place: Place) -> None:
        """Somebody makes room: the line whose beginning went with the file is written as a whole."""
        place.kernel.room = 15
        place.sink.write(numbered(3))
        os.unlink(place.path)
        place.kernel.room = None
        place.sink.flush()
        assert place.names() == {"": numbered(2, 1)}

    def test_the_disk_is_given_back_what_was_removed(self, place: Place) -> None:
        """A removed file is let go of by the next attempt, even if that fails, or the disk could never have room."""
        place.sink.write(b"one\n")
        os.unlink(place.path)
        place.kernel.room = 0
        place.sink.write(b"two\n")
        open_ones = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        assert [name for name in open_ones if name.startswith(place.path)] == [place.path]


class TestFull:
    """What cannot be written now."""

    def test_waits_and_goes_on_where_it_stopped(self, place: Place) -> None:
        """Nothing is torn or doubled, and it is told once that it began and once that it is over."""
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
        assert place.said == [f"cannot write {place.path}: {why}", f"writes {place.path} again"]

    def test_the_end_does_not_wait_for_ever(self, place: Place) -> None:
        """drain() tries as long as there is time, and what is lost then can be told."""
        place.kernel.room = 4
        place.sink.write(b"one\ntwo\n")
        times = iter([3.0, 0.001, 0.0])
        place.sink.drain(lambda: next(times))
        assert place.sink.pending_bytes == 4
        assert list(times) == []

    def test_the_end_writes_when_there_is_room(self, place: Place) -> None:
        """drain() does not wait for the second to be over."""
        place.kernel.room = 0
        place.sink.write(b"one\n")
        asked: list[float] = []

        def seconds_left() -> float:
            asked.append(1000.0)
            place.kernel.room = None if len(asked) > 1 else 0
            return 1000.0

        place.sink.drain(seconds_left)
        assert content(place.path) == b"one\n"

    def test_crosses_a_reexecution(self, place: Place) -> None:
        """What is pending goes on where it was, in the middle of a line; nothing is written before the next flush()."""
        place.kernel.room = 15
        place.sink.write(numbered(3))
        place.sink.write(numbered(1, 3))
        place.kernel.room = None
        place.reexecute().write(numbered(1, 4))
        assert (place.sink.retry_at, place.sink.pending_bytes) == (0.0, 35)
        place.sink.flush()
        assert (content(place.path), place.sink.retry_at) == (numbered(5), None)
        assert place.said[1:] == [f"writes {place.path} again"]

    def test_a_file_renamed_during_a_reexecution(self, place: Place) -> None:
        """A line that was begun is ended where it began."""
        place.kernel.room = 15
        place.sink.write(numbered(3))
        place.kernel.room = None
        os.rename(place.path, place.path + "-moved")
        place.reexecute().flush()
        assert place.names() == {"": numbered(1, 2), "-moved": numbered(2)}

    def test_nothing_is_written_before_a_new_life_has_begun(self, place: Place) -> None:
        """A write may rotate and launch, which must not be before the loop asks."""
        place.sink.write(b"one\n")
        place.reexecute().write(b"two\n")
        assert (content(place.path), place.sink.retry_at, place.sink.blocked) == (b"one\n", 0.0, True)
        place.sink.flush()
        assert (content(place.path), place.sink.retry_at) == (b"one\ntwo\n", None)


class TestRotation:
    """What is too large gets another name."""

    def test_files_divide_between_lines(self, place: Place) -> None:
        """However much is written at once, each file is as full as whole lines make it, up to so many files."""
        place.rotate(35, 3).write(numbered(2))
        place.sink.write(numbered(8, 2))
        assert place.names() == {"": numbered(1, 9), ".1": numbered(3, 6), ".2": numbered(3, 3)}
        assert place.kernel.gone == [numbered(3)]

    def test_a_file_that_is_just_full_stays(self, place: Place) -> None:
        """The limit itself is allowed."""
        place.rotate(30, 3).write(numbered(3))
        assert place.names() == {"": numbered(3)}

    def test_a_long_line_has_a_file_of_its_own(self, place: Place) -> None:
        """No limit divides a line."""
        place.rotate(30, 5).write(numbered(1) + b"x" * 99 + b"\n" + numbered(1, 1))
        assert place.names() == {"": numbered(1, 1), ".1": b"x" * 99 + b"\n", ".2": numbered(1)}

    def test_bytes_without_a_newline_divide_between_writes(self, place: Place) -> None:
        """A progress bar that never ends its line does not make the file grow for ever."""
        place.rotate(10, 3)
        for number in range(6):
            place.sink.write(b"%d%%\r " % number)
        assert place.names() == {"": b"4%\r 5%\r ", ".1": b"2%\r 3%\r ", ".2": b"0%\r 1%\r "}

    def test_one_file_is_emptied(self, place: Place) -> None:
        """As Docker does with max-file 1."""
        place.rotate(20, 1).write(numbered(5))
        assert place.names() == {"": numbered(1, 4)}

    def test_without_a_limit(self, place: Place) -> None:
        """max-size 0: it grows."""
        place.rotate(0, 3).write(numbered(1000))
        assert place.names() == {"": numbered(1000)}

    def test_a_line_is_finished_before_the_file_is_renamed(self, place: Place) -> None:
        """Even when others have made it too large meanwhile."""
        place.kernel.room = 15
        place.rotate(40, 3).write(numbered(3))
        place.kernel.room = None
        with open(place.path, "ab") as other:
            other.write(b"." * 30)
        place.sink.flush()
        assert place.names() == {"": numbered(1, 2), ".1": numbered(1) + b"00000" + b"." * 30 + b"0001\n"}

    def test_names_of_others_stay(self, place: Place) -> None:
        """Dates, larger numbers and other endings are nobody's business."""
        place.directory.mkdir()
        others = {".20240101": b"a\n", ".9": b"b\n", ".01": b"c\n", ".bak": b"d\n", ".x.compressing": b"e\n"}
        for name, data in others.items():
            Path(place.path + name).write_bytes(data)
        place.rotate(10, 3, compress=True).write(numbered(9))
        assert others.items() <= place.names().items()

    def test_a_free_number_is_filled(self, place: Place) -> None:
        """Only what is younger moves, plain or compressed."""
        place.directory.mkdir()
        for name in (".1", ".2.gz", ".4"):
            Path(place.path + name).write_bytes(gzip.compress(b"gz") if name.endswith("gz") else name.encode())
        place.rotate(10, 6).write(numbered(2))
        assert place.names() == {"": numbered(1, 1), ".1": numbered(1), ".2": b".1", ".3.gz": b"gz", ".4": b".4"}

    def test_a_link_keeps_leading_to_the_file(self, place: Place) -> None:
        """The old ones are beside what the link leads to."""
        place.directory.mkdir()
        elsewhere = place.directory / "volume"
        elsewhere.mkdir()
        os.symlink(elsewhere / "real", place.path)
        place.rotate(10, 3).write(numbered(2))
        assert {name: content(elsewhere / name) for name in os.listdir(elsewhere)} == {
            "real": numbered(1, 1),
            "real.1": numbered(1),
        }
        assert os.path.islink(place.path)

    def test_what_cannot_be_renamed_grows(self, place: Place) -> None:
        """A file in a directory that is not ours to write: told once, and once that it works again."""
        place.kernel.refused = "web.log"
        place.rotate(10, 3).write(numbered(2))
        place.sink.write(numbered(1, 2))
        assert place.names() == {"": numbered(3)}
        assert place.kernel.refusals == 1
        place.kernel.refused = ""
        place.sink._rotate_at = 0.0
        place.sink.write(numbered(1, 3))
        assert place.names() == {"": numbered(1, 3), ".1": numbered(3)}
        why = "Permission denied (it grows; trying again every second)"
        assert place.said == [f"cannot rotate {place.path}: {why}", f"rotates {place.path} again"]

    @pytest.mark.parametrize("later", ["restored", "fresh"])
    @pytest.mark.parametrize("steps", range(4))
    def test_a_crash_at_each_step(self, place: Place, steps: int, later: str) -> None:
        """Only the oldest goes; the next rotation closes the gap."""
        place.rotate(10, 4).write(numbered(4))
        place.kernel.steps = steps
        with pytest.raises(CrashError):
            place.sink.write(numbered(1, 4))
        place.kernel.steps = -1
        if later == "restored":
            place.reexecute().flush()
        else:
            place.sink.close()
            place.fresh().write(numbered(1, 4))
        assert place.names() == {"": numbered(1, 4), **{f".{n}": numbered(1, 4 - n) for n in (1, 2, 3)}}
        assert place.kernel.gone == [numbered(1)]


class TestCompression:
    """What is renamed, a child compresses."""

    def test_one_after_the_other(self, place: Place) -> None:
        """The oldest first, while numbers move on; each gets the number that its source has by then."""
        place.rotate(10, 5, compress=True).write(numbered(2))
        place.sink.write(numbered(2, 2))
        assert place.end() == "web.log.1"  # its name when it began
        assert place.end() == "web.log.2"
        place.sink.write(numbered(1, 4))
        assert place.end() == "web.log.1"  # moved to .2 since
        assert place.end() == "web.log.1"
        assert place.jobs == {}
        assert place.names() == {"": numbered(1, 4), **{f".{n}.gz": numbered(1, 4 - n) for n in (1, 2, 3, 4)}}
        assert place.kernel.gone == []

    def test_takes_after_its_source(self, place: Place) -> None:
        """Mode and time of change are those of the file that it replaces."""
        place.rotate(10, 3, compress=True).write(numbered(1))
        os.chmod(place.path, 0o640)
        place.sink.write(numbered(1, 1))
        source = os.stat(place.path + ".1")
        place.end()
        packed = os.stat(place.path + ".1.gz")
        assert (packed.st_mode, packed.st_mtime_ns) == (source.st_mode, source.st_mtime_ns)

    def test_a_copy_is_not_setuid(self, place: Place) -> None:
        """The file may be another's, who gave it that mode."""
        place.rotate(10, 3, compress=True).write(numbered(1))
        os.chmod(place.path, 0o6640)
        place.sink.write(numbered(1, 1))
        place.end()
        assert stat.S_IMODE(os.stat(place.path + ".1.gz").st_mode) == 0o640

    @pytest.mark.parametrize("kind", ["link", "hard link"])
    def test_what_is_put_in_the_place_of_a_copy(self, place: Place, tmp_path: Path, kind: str) -> None:
        """A link to another file, while the child is at work: that file keeps its times, mode and text."""
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
    def test_what_others_put_there_is_not_compressed(self, place: Place, tmp_path: Path, kind: str) -> None:
        """In a directory that they can change."""
        other = tmp_path / "other"
        other.write_bytes(b"precious")
        place.directory.mkdir()
        place.directory.chmod(0o777)
        old = place.directory / "web.log.1"
        {"link": lambda: old.symlink_to(other), "hard link": lambda: os.link(other, old)}.get(
            kind, lambda: os.mkfifo(old)
        )()
        place.rotate(100, 3, compress=True).write(numbered(1))
        assert (place.jobs, place.unfinished()) == ({}, [])
        assert place.said[0].startswith(f"cannot compress {place.path}.N: ")
        assert content(place.path) == numbered(1)

    @pytest.mark.parametrize(
        ("code", "why"), [(ENOSPC, "No space left on device"), (137, "SIGKILL (killed)")], ids=["full disk", "killed"]
    )
    def test_a_failure_leaves_the_file(self, place: Place, code: int, why: str) -> None:
        """Told once; the next rotation tries again."""
        place.rotate(10, 4, compress=True).write(numbered(2))
        place.end(code)
        assert place.names() == {"": numbered(1, 1), ".1": numbered(1)}
        place.sink.write(numbered(1, 2))
        place.end(code)
        what = "it stays as it is; trying again after the next rotation"
        assert place.said == [f"cannot compress {place.path}.N: {why} ({what})"]
        place.sink.write(numbered(1, 3))
        assert [place.end() for _ in range(3)] == ["web.log.3", "web.log.2", "web.log.1"]
        place.sink.write(numbered(1, 4))
        place.end(code)
        assert place.said == [f"cannot compress {place.path}.N: {why} ({what})"] * 2
        assert place.names() == {
            "": numbered(1, 4),
            ".1": numbered(1, 3),
            **{f".{n}.gz": numbered(1, 4 - n) for n in (2, 3)},
        }

    def test_no_room_for_a_child(self, place: Place) -> None:
        """A fork that fails leaves the file and nothing else."""

        def launch(_key: str, _start: SpawnSpec, _ended: Ended) -> None:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        place.sink = FileSink(place.path, launch=launch, on_trouble=place.said.append)
        place.rotate(10, 3, compress=True).write(numbered(2))
        assert (place.names(), place.unfinished()) == ({"": numbered(1, 1), ".1": numbered(1)}, [])
        assert "Resource temporarily unavailable" in place.said[0]

    def test_a_source_that_rotated_out(self, place: Place) -> None:
        """What was made of it is dropped."""
        place.rotate(10, 2, compress=True).write(numbered(2))
        place.sink.write(numbered(1, 2))
        place.end()
        assert place.names() == {"": numbered(1, 2), ".1": numbered(1, 1)}
        assert place.said == []

    def test_a_source_that_has_changed(self, place: Place) -> None:
        """Somebody wrote to it meanwhile: what was made of it is not the whole."""
        place.rotate(10, 3, compress=True).write(numbered(2))
        with open(place.path + ".1", "ab") as other:
            other.write(b"more\n")
        place.end()
        assert place.names() == {"": numbered(1, 1), ".1": numbered(1) + b"more\n"}

    def test_a_later_life_clears_up(self, place: Place) -> None:
        """What was not finished goes, and all that an earlier life left is compressed."""
        place.rotate(10, 5, compress=True).write(numbered(4))
        assert len(place.unfinished()) == 1
        place.sink.close()
        place.fresh()
        place.rotate(20, 5, compress=True).write(numbered(1, 4))
        assert len(place.unfinished()) == 1
        assert [place.end(), place.end(), place.end()] == ["web.log.3", "web.log.2", "web.log.1"]
        assert place.names() == {"": numbered(2, 3), **{f".{n}.gz": numbered(1, 3 - n) for n in (1, 2, 3)}}
        assert (place.jobs, place.unfinished()) == ({}, [])

    @pytest.mark.parametrize("refused", [".log.1", ("web.log.1", "web.log.1.gz")], ids=["removal", "undoing too"])
    def test_a_file_that_cannot_be_removed_is_not_there_twice(
        self, place: Place, refused: str | tuple[str, str]
    ) -> None:
        """Its copy goes again; where not even that is possible, one of them does when it can."""
        place.rotate(10, 4, compress=True).write(numbered(2))
        place.kernel.refused = refused
        place.end()
        what = "it stays as it is; trying again after the next rotation"
        assert place.said == [f"cannot compress {place.path}.N: Permission denied ({what})"]
        copies = {} if isinstance(refused, str) else {".1.gz": numbered(1)}
        assert place.names() == {"": numbered(1, 1), ".1": numbered(1), **copies}
        place.kernel.refused = ""
        place.sink.write(numbered(1, 2))
        while place.jobs:
            place.end()
        assert place.names() == {"": numbered(1, 2), ".1.gz": numbered(1, 1), ".2.gz": numbered(1)}
        assert place.unfinished() == []

    def test_a_crash_between_the_name_and_the_removal(self, place: Place) -> None:
        """The same content under both names is one file again in the next life."""
        place.rotate(10, 3, compress=True).write(numbered(2))
        place.kernel.steps = 1
        with pytest.raises(CrashError):
            place.end()
        place.kernel.steps = -1
        assert place.names() == {"": numbered(1, 1), ".1": numbered(1), ".1.gz": numbered(1)}
        place.sink.close()
        place.fresh().write(numbered(1, 2))
        assert place.names() == {"": numbered(1, 2), ".1": numbered(1, 1), ".2.gz": numbered(1)}

    def test_goes_on_through_a_reexecution(self, place: Place) -> None:
        """The child lives on and its end is told to the next life."""
        place.rotate(10, 4, compress=True).write(numbered(2))
        place.reexecute().flush()
        place.sink.write(numbered(1, 2))
        place.end()
        assert place.names() == {"": numbered(1, 2), ".1": numbered(1, 1), ".2.gz": numbered(1)}

    @pytest.mark.parametrize("moment", ["opened", "rotated", "a child's end"])
    def test_a_file_that_cannot_be_looked_at(self, place: Place, moment: str) -> None:
        """It is a trouble of the compression, whoever asks for that; what is written is no matter of it."""
        place.rotate(10, 5, compress=True)
        if moment == "opened":
            place.directory.mkdir()
            Path(place.path).write_bytes(numbered(1))
            place.kernel.unseen = ".log.4"
            place.rotate(20, 5, compress=True).write(numbered(1, 1))
            assert place.names() == {"": numbered(2)}
        elif moment == "rotated":
            place.sink.write(numbered(1))
            place.kernel.unseen = ".log.4"
            place.sink.write(numbered(1, 1))
            assert place.names() == {"": numbered(1, 1), ".1": numbered(1)}
        else:
            place.sink.write(numbered(3))
            place.kernel.unseen = ".log.4"
            place.end()
            assert place.names() == {"": numbered(1, 2), ".1": numbered(1, 1), ".2.gz": numbered(1)}
        what = "it stays as it is; trying again after the next rotation"
        assert place.said == [f"cannot compress {place.path}.N: Stale file handle ({what})"]
        assert (place.sink.blocked, place.jobs) == (False, {})

    @pytest.mark.parametrize("life", ["the same", "restored"])
    def test_everybody_has_to_go(self, place: Place, life: str) -> None:
        """The end of the child is silent, its file stays and no other is begun; the next life compresses it."""
        place.rotate(10, 4, compress=True).write(numbered(2))
        place.sink.stop_compressing()
        if life == "restored":
            place.reexecute().flush()
        place.end(143)
        place.sink.write(numbered(1, 2))
        assert (place.jobs, place.said, place.unfinished()) == ({}, [], [])
        assert place.names() == {"": numbered(1, 2), ".1": numbered(1, 1), ".2": numbered(1)}
        place.sink.close()
        place.fresh().write(numbered(1, 3))
        assert [place.end() for _ in range(3)] == ["web.log.2", "web.log.2", "web.log.1"]
        assert [name for name in place.names() if name.endswith(".gz")] == [".1.gz", ".2.gz", ".3.gz"]

    def test_ends_after_the_sink(self, place: Place) -> None:
        """A reload that takes the file out lets the child end and begins no other."""
        place.rotate(10, 4, compress=True).write(numbered(3))
        place.sink.close()
        place.end()
        assert place.names() == {"": numbered(1, 2), ".1": numbered(1, 1), ".2.gz": numbered(1)}
        assert (place.jobs, place.said) == ({}, [])

    def test_a_sink_that_comes_after(self, place: Place) -> None:
        """The child of one that was closed cannot put half of another's work into its place."""
        place.rotate(10, 4, compress=True).write(numbered(2))
        first, place.jobs = dict(place.jobs), {}
        place.sink.close()
        place.sink = FileSink(place.path, launch=place.launch)
        place.rotate(10, 4, compress=True).write(numbered(1, 2))
        for job in first.values():
            job.close()
            job.ended(0, "")
        assert place.names()[".2"] == numbered(1)
        place.end()
        assert place.names()[".2.gz"] == numbered(1)
        assert place.said == []


LINES = st.lists(st.integers(10, 60), min_size=1, max_size=6).map(lambda widths: ("write", widths))
OTHERS = st.sampled_from(["rename", "copytruncate", "remove", "reexecute", "restart", "room", "done", "failed"])
FULL = st.integers(0, 90).map(lambda room: ("full", [room]))
STEPS = st.lists(LINES | OTHERS.map(lambda name: (name, list[int]())) | FULL, max_size=40)


class Story:
    """What was written, and what became of it."""

    def __init__(self, directory: str, kernel: Kernel, rotation: tuple[int, int, bool]) -> None:
        self.kernel = kernel
        self.place = Place(Path(directory), self.kernel)
        self.place.rotate(rotation[0], rotation[1], compress=rotation[2])
        self.written = b""
        self.count = 0
        self.moved = 0

    def write(self, widths: list[int]) -> None:
        """Some lines at once."""
        if self.place.sink.blocked:
            return
        data = b"".join(b"%0*d\n" % (width, self.count + number) for number, width in enumerate(widths))
        self.count += len(widths)
        self.written += data
        self.place.sink.write(data)

    def _away(self) -> str:
        self.moved += 1
        return f"{self.place.path}-{self.moved}"

    def rename(self, _: list[int]) -> None:
        """Outside."""
        if os.path.exists(self.place.path):
            os.rename(self.place.path, self._away())

    def copytruncate(self, _: list[int]) -> None:
        """Outside, not inside a line: that would be divided between the copy and the file."""
        if os.path.exists(self.place.path) and content(self.place.path).endswith(b"\n"):
            Path(self._away()).write_bytes(content(self.place.path))
            os.truncate(self.place.path, 0)

    def remove(self, _: list[int]) -> None:
        """Outside; the beginning of a line does not count, that is written again."""
        if os.path.exists(self.place.path):
            self.kernel.gone.append(content(self.place.path)[: content(self.place.path).rfind(b"\n") + 1])
            os.unlink(self.place.path)

    def reexecute(self, _: list[int]) -> None:
        """All is known."""
        self.place.reexecute().flush()

    def restart(self, _: list[int]) -> None:
        """Nothing is known."""
        if not self.place.sink.blocked:
            self.place.sink.close()
            self.place.fresh()

    def full(self, room: list[int]) -> None:
        """Of the disk."""
        self.kernel.room = room[0]

    def room(self, _: list[int]) -> None:
        """Of the disk."""
        self.kernel.room = None
        self.place.sink.flush()

    def done(self, _: list[int], code: int = 0) -> None:
        """The child."""
        if self.place.jobs:
            self.place.end(code)

    def failed(self, _: list[int]) -> None:
        """The child."""
        self.done([], ENOSPC)

    def check(self) -> None:
        """Everything there and gone makes what was written; no number twice, no file too large, not too many."""
        bytes_max, files_max, _ = self.place.rotation
        names = self.place.names()
        own = [name.removesuffix(".gz") for name in names if not name.startswith("-")]
        assert len(own) == len(set(own)) <= files_max, names
        for data in names.values():
            assert len(data) <= bytes_max or data.count(b"\n") == 1
        pieces = [piece for piece in (*names.values(), *self.kernel.gone) if piece]
        assert b"".join(sorted(pieces, key=_first)) == self.written


def _first(piece: Any) -> int:
    return int(piece.partition(b"\n")[0])


@given(STEPS, st.tuples(st.integers(1, 150), st.integers(1, 4), st.booleans()))
def test_any_story(steps: list[tuple[str, list[int]]], rotation: tuple[int, int, bool]) -> None:
    """Whatever happens in whatever order, all files from the oldest to the newest hold what was written, once."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        story = Story(directory, patched(patch), rotation)
        for name, values in steps:
            getattr(story, name)(values)
        story.room([])
        story.check()
        story.place.close()

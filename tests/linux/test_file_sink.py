"""Log files on the real kernel: a full disk, external renames, removals and truncations, and the compressor.

The writer is a separate process that drives a sink as the loop does: it writes numbered lines while the sink is not
blocked, flushes when due, starts what is launched, and prints the messages.
"""

import errno
import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cohabit.reactor.processes.child import SpawnSpec as Child
from cohabit.reactor.signals import InheritedSignals
from cohabit.tasks.log_file import LogFile
from linux.conftest import Gate, Start
from linux.run import REPOSITORY
from unit.reactor_world import World

SOURCE = os.path.join(REPOSITORY, "src")
COMPRESSOR = (sys.executable, "-I", "-S", os.path.join(SOURCE, "cohabit", "tasks", "compress.py"), "name")

# SOURCE PATH BYTES_MAX FILES_MAX LINES GATE [PAUSE...]: it waits for the gate before the line PAUSE.
WRITER = """
import os, sys, time
sys.path.append(sys.argv[1])
from cohabit.tasks.log_file import LogFile
path, (size, files, lines), gate, pauses = sys.argv[2], map(int, sys.argv[3:6]), sys.argv[6], sys.argv[7:]
sink = LogFile(path, compress=None, on_trouble=lambda text: print("said", text, flush=True))
sink.set_rotation(size, files, compress=False)
for number in range(0, lines, 4):
    if str(number) in pauses:
        print("before", number, flush=True)
        open(gate).readline()
    sink.write(b"".join(b"%099d\\n" % each for each in range(number, number + 4)))
    while sink.blocked:
        time.sleep(max(0.0, sink.retry_at - time.monotonic()))
        sink.flush()
print("done", flush=True)
open(gate).readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give the path of a log file in its own directory."""
    (tmp_path / "log").mkdir()
    return str(tmp_path / "log" / "web.log")


def writer(path: str, gate: Gate, *pauses: int, rotation: tuple[int, int] = (0, 1), lines: int = 400) -> list[str]:
    """Return the command line of the writer."""
    arguments = [SOURCE, path, *map(str, rotation), str(lines), gate.path, *map(str, pauses)]
    return [sys.executable, "-I", "-S", "-c", WRITER, *arguments]


def compressing(world: World) -> Callable[[str, int, int, Callable[[int], None]], None]:
    """Return what starts the compressor, as the writer does."""

    def compress(name: str, source: int, target: int, ended: Callable[[int], None]) -> None:
        start = Child((*COMPRESSOR[:-1], name), dict(os.environ), InheritedSignals((), ()), stdio=(source, target, 2))
        world.launch(name, start, lambda code, _: ended(code))

    return compress


def numbers(*paths: str | Path) -> list[int]:
    """Return the lines of these files."""
    return [int(line) for path in paths for line in Path(path).read_bytes().splitlines()]


def rotated(path: str) -> list[Path]:
    """Return the rotated files, oldest first, and then the file."""
    found = [one for one in Path(path).parent.iterdir() if one.name.startswith("web.log.")]
    return [*sorted(found, key=lambda one: -int(one.name.split(".")[2])), Path(path)]


@pytest.mark.parametrize("rotation", [(0, 1), (10_000, 10)], ids=["one file", "rotated"])
def test_a_full_disk_that_is_freed(start: Start, gate: Gate, path: str, rotation: tuple[int, int]) -> None:
    """Each line is written once and whole, and two messages are printed."""
    directory = os.path.dirname(path)
    mount = f"mount -t tmpfs -o size=64k none {directory}; head -c 40000 /dev/zero > {directory}/filler"
    run = start(*writer(path, gate, rotation=rotation), setup=mount)
    run.until_printed("said")
    assert f"said cannot write {path}: No space left on device (trying again" in run.text
    inside = f"/proc/{run.process_1().pid}/root"
    os.unlink(f"{inside}{directory}/filler")
    run.until_printed("done")
    assert numbers(*rotated(inside + path)) == list(range(400))
    assert run.text.count("said") == 2
    assert f"said can write {path} again" in run.text


def test_a_removed_directory_is_created_again(start: Start, gate: Gate, path: str) -> None:
    """The directory is created again, and later lines are written there."""
    run = start(*writer(path, gate, 200))
    run.until_printed("before 200")
    os.unlink(path)
    os.rmdir(os.path.dirname(path))
    gate.open()
    run.until_printed("done")
    assert numbers(path) == list(range(200, 400))


def test_copied_and_truncated(start: Start, gate: Gate, path: str) -> None:
    """As logrotate's copytruncate: the later lines begin at the start of the file, without a hole."""
    run = start(*writer(path, gate, 200, rotation=(39_000, 2)))
    run.until_printed("before 200")
    assert numbers(path) == list(range(200))
    os.truncate(path, 0)
    gate.open()
    run.until_printed("done")
    assert (numbers(path), os.listdir(os.path.dirname(path))) == (list(range(200, 400)), ["web.log"])


@pytest.mark.parametrize("rotation", [(0, 1), (7000, 10_000)], ids=["one file", "rotated"])
def test_renamed_again_and_again(start: Start, gate: Gate, path: str, rotation: tuple[int, int]) -> None:
    """Lines are written and the sink also rotates: each line is in one file, once, and each file is in order."""
    run = start(*writer(path, gate, rotation=rotation, lines=40_000))
    away = os.path.join(os.path.dirname(path), "away")
    moved: list[str] = []

    def done() -> bool:
        try:
            os.rename(path, f"{away}{len(moved)}")
            moved.append(f"{away}{len(moved)}")
        except FileNotFoundError:
            pass
        return b"done" in run.out

    run.until(done, "the end of writing")
    files = [*map(Path, moved), *(one for one in rotated(path) if one.exists())]
    found = [numbers(one) for one in files]
    everything = sorted(number for lines in found for number in lines)
    assert len(moved) > 1
    assert all(lines == list(range(lines[0], lines[0] + len(lines))) for lines in found if lines)
    assert everything == list(range(40_000))
    assert "said" not in run.text


@pytest.mark.parametrize("after", [1, 2, 5, 9])
def test_killed_while_it_rotates(start: Start, gate: Gate, path: str, after: int) -> None:
    """At any moment: no line in between is missing, and the next run continues."""
    run = start(*writer(path, gate, rotation=(2000, 10), lines=4_000_000))
    run.until(lambda: os.path.exists(f"{path}.{after}"), "files")
    os.kill(run.process_1().pid, signal.SIGKILL)
    run.wait()
    sink = LogFile(path, compress=compressing(World()))
    sink.set_rotation(2000, 10, compress=False)
    before = [line for one in rotated(path) if one.exists() for line in one.read_bytes().splitlines()]
    sink.write(b"".join(b"%099d\n" % number for number in range(60)))
    sink.close()
    whole = [int(line) for line in before if len(line) == 99]
    assert len(before) - len(whole) <= 1
    assert whole == list(range(whole[0], whole[0] + len(whole)))
    assert numbers(*rotated(path)[-4:])[-60:] == list(range(60))


class TestCompressor:
    """tasks/compress.py on real files."""

    @pytest.fixture
    def world(self) -> Iterator[World]:
        """Give the launcher."""
        world = World()
        yield world
        world.close()

    def test_files_become_gzip(self, world: World, path: str) -> None:
        """Rotated files are compressed, oldest first, and other users can read them."""
        sink = LogFile(path, compress=compressing(world), on_trouble=lambda text: world.say("", "", text))
        sink.set_rotation(3_000_000, 3, compress=True)
        lines = b"".join(b"%099d\n" % number for number in range(90_000))
        sink.write(lines)
        world.until(lambda: not world.pids)
        sink.close()
        assert sorted(os.listdir(os.path.dirname(path))) == ["web.log", "web.log.1.gz", "web.log.2.gz"]
        shown = subprocess.run(["gzip", "-dc", f"{path}.2.gz", f"{path}.1.gz"], stdout=subprocess.PIPE, check=True)
        assert shown.stdout + Path(path).read_bytes() == lines
        assert world.said == []

    def test_killed(self, world: World, path: str) -> None:
        """As at the end of the container: the file is unchanged, and no partial file is left."""

        def compress(name: str, _: int, target: int, ended: Callable[[int], None]) -> None:
            compressing(world)(name, endless, target, ended)

        endless, end = os.pipe()
        sink = LogFile(path, compress=compress, on_trouble=lambda text: world.say("", "", text))
        sink.set_rotation(10, 3, compress=True)
        sink.write(b"12345678\n87654321\n")
        (key,) = world.pids
        world.kill(key)
        world.until(lambda: not world.pids)
        for fd in (endless, end):
            os.close(fd)
        sink.close()
        assert sorted(os.listdir(os.path.dirname(path))) == ["web.log", "web.log.1"]
        assert "SIGKILL (killed)" in world.said[0][2]

    def test_has_low_priority(self, world: World, tmp_path: Path) -> None:
        """It has the idle I/O scheduling class and a high nice value."""
        target = tmp_path / "target"
        with target.open("wb") as file:
            child = subprocess.Popen(COMPRESSOR, stdin=subprocess.PIPE, stdout=file)
        world.until(lambda: os.sched_getscheduler(child.pid) == os.SCHED_IDLE)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19
        child.communicate(b"line\n")
        assert (child.returncode, gzip.decompress(target.read_bytes())) == (0, b"line\n")

    @pytest.mark.parametrize("denied", ["nice", "sched_setscheduler"])
    def test_works_without_low_priority(self, tmp_path: Path, denied: str) -> None:
        """Without permission to lower its priority it works as usual, and lowers what it may."""
        target = tmp_path / "target"
        program = f"""
import os, runpy, sys
def deny(*_): raise PermissionError(1, "denied")
os.{denied} = deny
end, os._exit = os._exit, lambda code: end(code or 100 + os.getpriority(0, 0) + 50 * os.sched_getscheduler(0))
runpy.run_path({COMPRESSOR[3]!r}, run_name="__main__")
"""
        with target.open("wb") as file:
            argv = (sys.executable, "-I", "-S", "-c", program)
            code = subprocess.run(argv, input=b"line\n", stdout=file, check=False).returncode
        assert gzip.decompress(target.read_bytes()) == b"line\n"
        assert code == (119 if denied == "sched_setscheduler" else (100 + os.getpriority(0, 0) + 250) % 256)

    def test_exit_code_is_the_errno(self) -> None:
        """The exit code is the errno."""
        with open("/dev/full", "wb") as full:
            assert subprocess.run(COMPRESSOR, input=b"line\n", stdout=full, check=False).returncode == errno.ENOSPC

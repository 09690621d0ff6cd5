"""Output of services into rotated files: throughput, and whether every line is in one of the files.

The writer waits at a FIFO as in logs.py. The time ends when the last line is at the end of the file. The files are in
memory (/dev/shm) if there is room, so that the disk is not measured. Lines are checked in separate runs with small
files, and with so many of them that none is removed.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Sequence

from logs import LINE_BYTES, PUMP_SECONDS, QUICK, Reader, make_gate, open_gate, record_check, writer
from processes import MeasurementError, until
from services import RunningTool, Scope
from supervisors import LOGGERS, Tool, into_files

MEMORY = "/dev/shm"
ROOM_BYTES = 2 << 30
LINES = (1 << 30) // LINE_BYTES
FILE_MIB, FILES = 50, 10  # supervisord's default
CHECKED_LINES = 500_000
CHECKED_MIB, CHECKED_FILES = 5, 20
SILENCE_SECONDS = 5.0
LAST_BYTES = b"xend\n"


def _folder() -> str:
    """Make an empty folder in memory if there is room, otherwise in the default place."""
    try:
        fits = shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    except OSError:
        fits = False
    return tempfile.mkdtemp(prefix="cohabit-bench-", dir=MEMORY if fits else None)


def _files(running: RunningTool) -> list[str]:
    """Return the paths of all log files, oldest first."""
    folder = os.path.join(running.folder, "logs")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    numbered = [name for name in names if name.startswith("a.log.") and name[6:].isdigit()]
    stamped = sorted(name for name in names if name.startswith("@"))
    oldest_first = [*sorted(numbered, key=lambda name: -int(name[6:])), *stamped, "a.log", "current"]
    return [os.path.join(folder, name) for name in oldest_first if name in names]


def _tail(running: RunningTool) -> bytes:
    """Return the last bytes of the current log file, b"" without one."""
    for name in ("a.log", "current"):
        try:
            with open(os.path.join(running.folder, "logs", name), "rb", buffering=0) as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LINE_BYTES))
                return file.read(LINE_BYTES)
        except OSError:
            continue
    return b""


def throughput(scope: Scope, tool: Tool) -> None:
    """Measure the throughput into files, in MB/s of what the service wrote."""
    count = LINES // (QUICK if scope.quick else 1)
    running = RunningTool(tool, scope.paths[tool.program], {}, folder=_folder())
    try:
        gate = make_gate(running.folder)
        running.services = {"a": writer(gate, "lines", count)}
        running.start()
        held, begin = open_gate(running, gate)

        def written() -> bool:
            running.check_alive()
            return _tail(running).endswith(LAST_BYTES)

        moment = until(written, PUMP_SECONDS, "all of the output")
        os.close(held)
        scope.figures.add("file", tool.name, count * LINE_BYTES / (moment - begin) / 1e6)
    except MeasurementError as error:
        scope.figures.note("file", tool.name, str(error))
    finally:
        running.end()


def _wait_written(running: RunningTool, last: bytes) -> None:
    """Wait until the last line is written, or nothing has been written for 5 s: then it is lost."""
    seen, changed = b"", time.monotonic()

    def written() -> bool:
        nonlocal seen, changed
        running.check_alive()
        tail, now = _tail(running), time.monotonic()
        if tail != seen:
            seen, changed = tail, now
        return last in tail or now - changed > SILENCE_SECONDS

    until(written, PUMP_SECONDS, "all of the output")


def _copy(paths: Sequence[str], sink: int) -> int:
    """Copy the files to a pipe, one after the other; return how many end in the middle of a line."""
    split = 0
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            while os.sendfile(sink, file.fileno(), None, 1 << 20):
                pass
            split += size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
    return split


def check_lines(scope: Scope, tool: Tool) -> None:
    """Check every line in all files. A line that is split between two files counts as torn."""
    count = CHECKED_LINES // (QUICK if scope.quick else 1)
    reader = Reader("numbered", count)
    running = RunningTool(tool, scope.paths[tool.program], {}, folder=_folder())
    try:
        gate = make_gate(running.folder)
        running.services = {"a": writer(gate, "numbered", count, "a")}
        running.start()
        held, _ = open_gate(running, gate)
        _wait_written(running, b"a %010d " % (count - 1))
        os.close(held)
        paths = _files(running)
        split = _copy(paths, reader.stdout)
        reader.close()
        record_check(scope, "file-bad", tool, [*reader.line(PUMP_SECONDS, "end of the files"), "split", str(split)])
        scope.figures.notes["file-bad"][tool.name] += f"; {len(paths)} files"
    except MeasurementError as error:
        scope.figures.note("file-bad", tool.name, str(error))
    finally:
        running.end()
        reader.forget()


def measure(scope: Scope, tools: Sequence[Tool]) -> None:
    """Measure throughput round by round, then check the lines once per tool."""
    if not scope.wants("file"):
        return
    known = {"cat", *(tool.name for tool in tools), *(name for name in LOGGERS if name in scope.paths)}
    for _ in range(scope.rounds):
        for tool in into_files(FILE_MIB, FILES):
            if tool.name in known:
                throughput(scope, tool)
    for tool in into_files(CHECKED_MIB, CHECKED_FILES):
        if tool.name in known:
            check_lines(scope, tool)

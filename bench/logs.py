"""Output of services through a tool: throughput, complete lines, and behaviour without a reader.

The writer waits at a FIFO until the tool runs, so that only the copying is timed: from the opening of the FIFO until
the reader, a separate process on the tool's stdout, has everything. Throughput counts the bytes that the service wrote,
without prefixes. Lines are checked in separate runs, which are not timed.
"""

import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass

from install import PYTHON
from processes import MeasurementError, ServiceWatch, until
from report import US
from services import RESTART_SECONDS, START_SECONDS, RunningTool, Scope
from supervisors import CAT, CIRCUS_JSON, S6_LOG, Tool, cohabit_logging

PARTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "parts")
LINE_BYTES = 100
CHECKED_LINES = 500_000
PUMP_SECONDS = 300.0
STALLED_STOP_SECONDS = 30.0
FULL_SECONDS = 0.5
QUICK = 8


NO_JSON = "has no JSON format: its usual output"
JSON_REMARKS = {US: "", "circus": "a custom stream in Python"}


@dataclass(frozen=True)
class Flow:
    """One row: what the service writes, how often, and how large each piece is. counted: what the reader counts.

    logging: the key in cohabit's file, "" for none. peers: whether others are measured. checked: what the reader checks
    in a run that is not timed, "" for no such run. services: the services of that run.
    """

    kind: str
    count: int
    logging: str
    piece_bytes: int = LINE_BYTES
    counted: str = "lines"
    peers: bool = False
    checked: str = ""
    services: tuple[str, ...] = ("a", "b")


_LINES = (1 << 27) // LINE_BYTES
FLOWS = {
    "raw": Flow("blocks", (1 << 30) // 65536, "driver: raw", 65536, "bytes", True, "numbered", ("a",)),
    "prefix": Flow("lines", _LINES, "", peers=True, checked="numbered"),
    "json": Flow("lines", _LINES, "driver: json", peers=True, checked="numbered-json"),
    "json-access": Flow("access", _LINES, "driver: json"),
    "json-levels": Flow("levels", _LINES, "driver: json"),
    "json-objects": Flow("objects", _LINES, "driver: json", checked="numbered-json"),
    "logfmt": Flow("lines", _LINES, "driver: logfmt"),
}
ROWS_OF = {"json": ("json", "json-access", "json-levels", "json-objects")}  # the rows of a name of --only


class Reader:
    """The process that reads a tool's output and reports when it has everything, and what it found."""

    def __init__(self, kind: str, goal: int) -> None:
        source, self.stdout = os.pipe()
        argv = [PYTHON, "-I", "-S", os.path.join(PARTS, "reader.py"), kind, str(goal)]
        self._process = subprocess.Popen(argv, stdin=source, stdout=subprocess.PIPE, start_new_session=True)
        os.close(source)

    def line(self, seconds: float, what: str) -> list[str]:
        """Return the fields of its next line."""
        pipe = self._process.stdout
        if pipe is None or not select.select([pipe], [], [], seconds)[0]:
            raise MeasurementError(f"{what}: not within {seconds:g} s")
        if not (fields := pipe.readline().decode().split()):
            raise MeasurementError(f"{what}: the output ended too early")
        return fields

    def close(self) -> None:
        """Close our end of its input. It reads end of file when the tool has ended, too."""
        if self.stdout >= 0:
            os.close(self.stdout)
            self.stdout = -1

    def forget(self) -> None:
        """Release the pipes of a reader that has ended."""
        self.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()


def writer(gate: str, kind: str, count: int, name: str = "") -> str:
    """Return the command line of a service that writes."""
    return f"{PYTHON} -I -S {os.path.join(PARTS, 'writer.py')} {gate} {kind} {count} {name}".rstrip()


def make_gate(folder: str) -> str:
    """Make the FIFO that writers wait for and return its path."""
    os.mkfifo(path := os.path.join(folder, "gate"))
    return path


def open_gate(running: RunningTool, path: str) -> tuple[int, float]:
    """Wait until a writer waits at the FIFO, then open it; return the descriptor and the time."""
    opened: list[int] = []

    def there() -> bool:
        running.check_alive()
        try:
            opened.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        return bool(opened)

    moment = until(there, START_SECONDS, "start of the writing service")
    return opened[0], moment


def _end_group(running: RunningTool) -> None:
    """Kill what is left in the tool's process group: the shell of the baseline leaves its pipeline."""
    try:
        os.killpg(running.process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _flow(running: RunningTool, reader: Reader, gate: str) -> tuple[float, int]:
    """Run one flow and stop the tool; return the seconds from the opening of the FIFO, and the amount that was read."""
    running.stdout = reader.stdout
    running.start()
    reader.close()
    held, begin = open_gate(running, gate)
    try:
        moment, seen = reader.line(PUMP_SECONDS, "all of the output")
        running.stop()
        _end_group(running)
    finally:
        os.close(held)
    return float(moment) - begin, int(seen)


def throughput(scope: Scope, tool: Tool, measure: str) -> None:
    """Measure the throughput of one tool, in MB/s of what the service wrote."""
    flow = FLOWS[measure]
    count = flow.count // (QUICK if scope.quick else 1)
    piece = 1 if flow.counted == "bytes" else flow.piece_bytes
    reader = Reader(flow.counted, count * flow.piece_bytes // piece)
    running = RunningTool(tool, scope.paths[tool.program], {})
    try:
        gate = make_gate(running.folder)
        running.services = {"a": writer(gate, flow.kind, count)}
        seconds, seen = _flow(running, reader, gate)
        scope.figures.add(measure, tool.name, seen * piece / seconds / 1e6)
    except MeasurementError as error:
        scope.figures.note(measure, tool.name, str(error))
    finally:
        running.end()
        reader.forget()


def record_check(scope: Scope, key: str, tool: Tool, fields: Sequence[str]) -> None:
    """Record the reader's result for numbered lines: the number of lines that are not as they were written."""
    seen = dict(zip(fields[::2], map(int, fields[1::2]), strict=True))
    scope.figures.add(key, tool.name, sum(abs(seen[kind]) for kind in seen if kind != "whole"))
    scope.figures.note(key, tool.name, ", ".join(f"{value:,} {kind}" for kind, value in seen.items()))


def check_lines(scope: Scope, tool: Tool, measure: str) -> None:
    """Check every line: of one service for a raw copy, otherwise of two that write at once."""
    flow, key = FLOWS[measure], f"{measure}-bad"
    count = CHECKED_LINES // (QUICK if scope.quick else 1)
    kind = "numbered-objects" if flow.kind == "objects" else "numbered"
    reader = Reader(flow.checked, count * len(flow.services))
    running = RunningTool(tool, scope.paths[tool.program], {})
    try:
        gate = make_gate(running.folder)
        running.services = {name: writer(gate, kind, count, name) for name in flow.services}
        _flow(running, reader, gate)
        record_check(scope, key, tool, reader.line(PUMP_SECONDS, "end of the output"))
    except MeasurementError as error:
        scope.figures.note(key, tool.name, str(error))
    finally:
        running.end()
        reader.forget()


def _fill(source: int) -> None:
    """Wait until the pipe with this read end is full and stays full."""
    levels = [-1, -2]

    def still() -> bool:
        time.sleep(FULL_SECONDS)
        levels.append(struct.unpack("i", fcntl.ioctl(source, termios.FIONREAD, b"\0" * 4))[0])
        return levels[-1] == levels[-2] > 0

    until(still, START_SECONDS, "a full pipe")


def _stalled(scope: Scope, running: RunningTool, source: int, gate: str) -> None:
    """Let one service flood a pipe without a reader; kill the other service; stop the tool."""
    figures, name = scope.figures, running.tool.name
    running.start()
    watch = ServiceWatch(running.process.pid, "sleep")
    until(lambda: bool(watch.alive()), START_SECONDS, "start")
    held, _ = open_gate(running, gate)
    os.close(held)
    _fill(source)
    before = watch.alive()
    begin = time.monotonic()
    os.kill(next(iter(before)), signal.SIGKILL)
    try:
        again = until(lambda: bool(watch.alive() - before), RESTART_SECONDS, "no restart")
        figures.add("stalled-restart", name, (again - begin) * 1000)
    except MeasurementError as error:
        figures.note("stalled-restart", name, str(error))
    figures.add("stalled-stop", name, running.stop(STALLED_STOP_SECONDS) * 1000)


def stalled(scope: Scope, tool: Tool) -> None:
    """Measure a restart and a stop while the pipe on the tool's stdout is full."""
    source, sink = os.pipe()
    running = RunningTool(tool, scope.paths[tool.program], {}, sink)
    try:
        gate = make_gate(running.folder)
        running.services = {"a": writer(gate, "flood", 0), "b": "sleep 100000"}
        _stalled(scope, running, source, gate)
    except MeasurementError as error:
        scope.figures.note("stalled-stop", tool.name, str(error))
    finally:
        running.end()
        os.close(source)
        os.close(sink)


def _tools(scope: Scope, passing: Sequence[Tool], measure: str) -> list[Tool]:
    """Return the tools of a row: cohabit with the logging of the row, and the peers if they are measured."""
    flow, tools = FLOWS[measure], []
    for tool in passing:
        if tool.name == US:
            tools.append(Tool(US, US, cohabit_logging(flow.logging), passes_output=True) if flow.logging else tool)
        elif flow.peers:
            tools.append(CIRCUS_JSON if measure == "json" and tool.name == "circus" else tool)
    if flow.peers and measure != "raw" and "s6-log" in scope.paths:
        tools.append(S6_LOG)
    return [*tools, CAT] if flow.peers else tools


def _flows(scope: Scope, passing: Sequence[Tool], measure: str) -> None:
    """Measure one row round by round, then check every line once."""
    tools = _tools(scope, passing, measure)
    for _ in range(scope.rounds):
        for tool in tools:
            throughput(scope, tool, measure)
            if measure == "json" and (remark := JSON_REMARKS.get(tool.name, NO_JSON)):
                scope.figures.notes[measure].setdefault(tool.name, remark)
    for tool in tools:
        if FLOWS[measure].checked and (measure != "json" or tool.name in JSON_REMARKS):
            check_lines(scope, tool, measure)


def measure(scope: Scope, tools: Sequence[Tool]) -> None:
    """Measure throughput, check the lines, then measure the stalled reader."""
    passing = [tool for tool in tools if tool.passes_output]
    for name in ("raw", "prefix", "json", "logfmt"):
        for row in ROWS_OF.get(name, (name,)) if scope.wants(name) else ():
            _flows(scope, passing, row)
    if scope.wants("stalled"):
        for _ in range(scope.rounds):
            for tool in passing:
                if tool.name not in scope.figures.notes["stalled-stop"]:
                    stalled(scope, tool)

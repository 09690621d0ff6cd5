"""What services cost that write a line now and then: processor time of the tool, and how late a line arrives.

Each line carries the moment at which it was written, by the monotonic clock that all processes share.
"""

import os
import re
import statistics
import time
from collections.abc import Sequence

from install import CACHE, InstallError, compile_c
from logs import PARTS, Reader
from processes import MeasurementError, ServiceWatch, cpu_seconds, until
from report import US
from services import START_SECONDS, RunningTool, Scope
from supervisors import CAT, S6_LOG, Tool, cohabit_logging

CHATTY = 50
LINE_MICROSECONDS = 1000
LINES_A_SECOND = CHATTY * 1_000_000 // LINE_MICROSECONDS
TOLERANCE = 0.02
SETTLE_SECONDS = 2.0
SECONDS = 10.0
TELLING_SECONDS = 5.0
IDLE_MICROSECONDS = 13_000
WARM_UP_LINES, LATE_LINES = 30, 340
_STAMP = re.compile(rb"(\d{9,}) x")


def _start(running: RunningTool, count: int) -> ServiceWatch:
    """Start a tool and wait until so many writers are exec'd."""
    running.start()
    watch = ServiceWatch(running.process.pid, "paced")

    def all_started() -> bool:
        running.check_alive()
        return len(watch.alive()) >= count

    until(all_started, START_SECONDS, f"start of {count} services")
    return watch


def _told(reader: Reader) -> tuple[float, int]:
    """Return the next thing that a reader of rates says: a moment, and the lines until then."""
    moment, lines = reader.line(TELLING_SECONDS, "output")
    return float(moment), int(lines)


def chatty(scope: Scope, tool: Tool, program: str) -> None:
    """Measure the processor time of everything that is the tool's own while 50 services write lines."""
    reader = Reader("rate", 0)
    services = {f"s{number:02}": f"{program} {LINE_MICROSECONDS}" for number in range(CHATTY)}
    running = RunningTool(tool, scope.paths[tool.program], services, reader.stdout)
    try:
        watch = _start(running, CHATTY)
        reader.close()
        time.sleep(SETTLE_SECONDS)
        own = watch.supervisors()
        while (first := _told(reader))[0] < time.monotonic() - 0.1:  # what it said while we slept
            pass
        before, began = cpu_seconds(own), time.monotonic()
        while (last := _told(reader))[0] < began + SECONDS:
            pass
        used, seconds = cpu_seconds(own) - before, time.monotonic() - began
        rate = (last[1] - first[1]) / (last[0] - first[0])
        scope.figures.add("lines50", tool.name, 100 * used / seconds)
        scope.figures.add("lines50-rate", tool.name, rate)  # no table of its own: the worst round is in the remark
        rate = max(scope.figures.samples["lines50-rate"][tool.name], key=lambda each: abs(each - LINES_A_SECOND))
        short = "" if abs(rate / LINES_A_SECOND - 1) <= TOLERANCE else f", **not {LINES_A_SECOND:,}**"
        scope.figures.note("lines50", tool.name, f"{rate:,.0f} lines/s{short}; {len(own)} processes")
    except MeasurementError as error:
        scope.figures.note("lines50", tool.name, str(error))
    finally:
        running.end()
        reader.forget()


def _latenesses(source: int) -> list[float]:
    """Read lines as they come; return how many milliseconds after its writing each was here, the quickest first."""
    got: list[tuple[bytes, int]] = []
    lines = 0
    while lines < LATE_LINES and (data := os.read(source, 65536)):
        got.append((data, time.monotonic_ns()))
        lines += data.count(b"\n")
    moments: list[float] = []
    rest = b""
    for data, now in got:
        *complete, rest = (rest + data).split(b"\n")
        stamps = filter(None, map(_STAMP.search, complete))
        moments.extend((now - int(stamp[1])) / 1e6 for stamp in stamps)
    if len(moments) <= WARM_UP_LINES:
        raise MeasurementError(f"only {len(moments)} lines came")
    return sorted(moments[WARM_UP_LINES:])


def late(scope: Scope, tool: Tool, program: str) -> None:
    """Measure how late the lines of one service arrive that writes little, in a tool that does nothing else."""
    source, sink = os.pipe()
    services = {"a": f"{program} {IDLE_MICROSECONDS}"}
    running = RunningTool(tool, scope.paths[tool.program], services, sink)
    try:
        _start(running, 1)
        os.close(sink)
        sink = -1
        moments = _latenesses(source)
        scope.figures.add("latency", tool.name, statistics.median(moments))
        note = f"99 % within {moments[len(moments) * 99 // 100]:.2f} ms, {len(moments)} lines a round"
        scope.figures.note("latency", tool.name, note)
    except MeasurementError as error:
        scope.figures.note("latency", tool.name, str(error))
    finally:
        running.end()
        os.close(source)
        if sink >= 0:
            os.close(sink)


def measure(scope: Scope, tools: Sequence[Tool]) -> None:
    """Measure all that was asked for, round by round."""
    if not scope.wants("lines50", "latency"):
        return
    try:
        program = compile_c(os.path.join(PARTS, "paced.c"))
    except InstallError as error:
        scope.figures.note("lines50", US, f"cannot measure: {error} (programs in {CACHE})")
        return
    passing = [tool for tool in tools if tool.passes_output]
    if "s6-log" in scope.paths:
        passing.append(S6_LOG)
    as_json = Tool(f"{US}, json", US, cohabit_logging("driver: json"), passes_output=True)
    for _ in range(scope.rounds):
        for tool in [*passing, *(as_json,) * any(tool.name == US for tool in tools)]:
            if scope.wants("lines50"):
                chatty(scope, tool, program)
        for tool in [*passing, CAT]:
            if scope.wants("latency"):
                late(scope, tool, program)

"""Services that write single lines: the CPU time of the tool, and the latency of a line.

Each line has the time of its write by CLOCK_MONOTONIC, which all processes share.
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

WRITERS = 50
LINE_MICROSECONDS = 1000
LINES_PER_SECOND = WRITERS * 1_000_000 // LINE_MICROSECONDS
TOLERANCE = 0.02
SETTLE_SECONDS = 2.0
SECONDS = 10.0
REPORT_SECONDS = 5.0
IDLE_MICROSECONDS = 13_000
WARM_UP_LINES, LATENCY_LINES = 30, 340
_STAMP = re.compile(rb"(\d{9,}) x")


def _start(running: RunningTool, count: int) -> ServiceWatch:
    """Start a tool and wait until all writers are executing."""
    running.start()
    watch = ServiceWatch(running.process.pid, "paced")

    def all_started() -> bool:
        running.check_alive()
        return len(watch.alive()) >= count

    until(all_started, START_SECONDS, f"start of {count} services")
    return watch


def _next_rate(reader: Reader) -> tuple[float, int]:
    """Return the next report of the reader: a time, and the number of lines until then."""
    moment, lines = reader.line(REPORT_SECONDS, "output")
    return float(moment), int(lines)


def many_writers(scope: Scope, tool: Tool, program: str) -> None:
    """Measure the CPU time of the tool's own processes while 50 services write lines."""
    reader = Reader("rate", 0)
    services = {f"s{number:02}": f"{program} {LINE_MICROSECONDS}" for number in range(WRITERS)}
    running = RunningTool(tool, scope.paths[tool.program], services, reader.stdout)
    try:
        watch = _start(running, WRITERS)
        reader.close()
        time.sleep(SETTLE_SECONDS)
        own = watch.supervisors()
        while (first := _next_rate(reader))[0] < time.monotonic() - 0.1:  # reports from before
            pass
        before, began = cpu_seconds(own), time.monotonic()
        while (last := _next_rate(reader))[0] < began + SECONDS:
            pass
        used, seconds = cpu_seconds(own) - before, time.monotonic() - began
        rate = (last[1] - first[1]) / (last[0] - first[0])
        scope.figures.add("lines50", tool.name, 100 * used / seconds)
        scope.figures.add("lines50-rate", tool.name, rate)  # without a table: the remark has the worst round
        rate = max(scope.figures.samples["lines50-rate"][tool.name], key=lambda each: abs(each - LINES_PER_SECOND))
        short = "" if abs(rate / LINES_PER_SECOND - 1) <= TOLERANCE else f", **not {LINES_PER_SECOND:,}**"
        scope.figures.note("lines50", tool.name, f"{rate:,.0f} lines/s{short}; {len(own)} processes")
    except MeasurementError as error:
        scope.figures.note("lines50", tool.name, str(error))
    finally:
        running.end()
        reader.forget()


def _latencies(source: int) -> list[float]:
    """Read lines as they arrive; return their latencies in ms, sorted."""
    got: list[tuple[bytes, int]] = []
    lines = 0
    while lines < LATENCY_LINES and (data := os.read(source, 65536)):
        got.append((data, time.monotonic_ns()))
        lines += data.count(b"\n")
    moments: list[float] = []
    rest = b""
    for data, now in got:
        *complete, rest = (rest + data).split(b"\n")
        stamps = filter(None, map(_STAMP.search, complete))
        moments.extend((now - int(stamp[1])) / 1e6 for stamp in stamps)
    if len(moments) <= WARM_UP_LINES:
        raise MeasurementError(f"only {len(moments)} lines arrived")
    return sorted(moments[WARM_UP_LINES:])


def latency(scope: Scope, tool: Tool, program: str) -> None:
    """Measure the latency of the lines of one service, without other activity."""
    source, sink = os.pipe()
    services = {"a": f"{program} {IDLE_MICROSECONDS}"}
    running = RunningTool(tool, scope.paths[tool.program], services, sink)
    try:
        _start(running, 1)
        os.close(sink)
        sink = -1
        moments = _latencies(source)
        scope.figures.add("latency", tool.name, statistics.median(moments))
        note = f"99 % within {moments[len(moments) * 99 // 100]:.2f} ms, {len(moments)} lines per round"
        scope.figures.note("latency", tool.name, note)
    except MeasurementError as error:
        scope.figures.note("latency", tool.name, str(error))
    finally:
        running.end()
        os.close(source)
        if sink >= 0:
            os.close(sink)


def measure(scope: Scope, tools: Sequence[Tool]) -> None:
    """Take the selected measurements, round by round."""
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
                many_writers(scope, tool, program)
        for tool in [*passing, CAT]:
            if scope.wants("latency"):
                latency(scope, tool, program)

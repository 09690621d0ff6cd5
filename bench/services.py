"""Each tool with its services: start, memory, idle, restart, stop.

Every round runs every tool once, in turn, so that other load on the machine affects all of them. A tool that fails in a
measurement has a remark in its row; the measurement of the others goes on.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from processes import (
    MeasurementError,
    ServiceWatch,
    context_switches,
    is_gone,
    launch,
    memory_kib,
    sweep,
    until,
    wait_gone,
)
from report import US, Figures
from supervisors import Services, Tool

SERVICES = 50
MANY_SERVICES = 500
RESTARTS = 15
SETTLE_SECONDS = 3.0
IDLE_SECONDS = 20.0
START_SECONDS = 60.0
RESTART_SECONDS = 15.0
QUIET_SECONDS = 6.0  # circus never stops if the signal comes soon after a start or restart
STOP_SECONDS = 90.0
LEFT_SECONDS = 5.0
IN_ONE_RUN = ("start", "memory", "idle", "restart", "stop")


@dataclass(frozen=True)
class Scope:
    """The parameters of a run: figures, paths of programs, selected measurements, number of rounds, small volumes."""

    figures: Figures
    paths: dict[str, str]
    only: frozenset[str]
    rounds: int
    quick: bool

    def wants(self, *names: str) -> bool:
        """Return whether any of these measurements is selected."""
        return any(name in self.only for name in names)


@dataclass
class RunningTool:
    """A tool with its services, in its own folder. `end` kills its processes and removes the folder."""

    tool: Tool
    path: str
    services: Services
    stdout: int | None = None
    folder: str = field(default_factory=lambda: tempfile.mkdtemp(prefix="cohabit-bench-"))

    def start(self) -> None:
        """Write its configuration and start it. `began` is the time before that."""
        argv = [self.path, *self.tool.write(self.folder, self.services)]
        environment = {key: value.format(folder=self.folder) for key, value in self.tool.environment.items()}
        with open(os.path.join(self.folder, "stdout.log"), "ab") as log:
            self.began = time.monotonic()
            self.process = launch(argv, self.folder, environment, log if self.stdout is None else self.stdout)

    def check_alive(self) -> None:
        """Raise MeasurementError with its last line if the tool has ended."""
        if self.process.poll() is not None:
            raise MeasurementError(f"ended with {self.process.returncode}: {self.last_line()}")

    def last_line(self) -> str:
        """Return the last line of the tool's stderr, or else of its stdout."""
        for name in ("stderr.log", "stdout.log"):
            path = os.path.join(self.folder, name)
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = file.read().strip().splitlines()
            if lines:
                return lines[-1]
        return "no output"

    def stop(self, seconds: float = STOP_SECONDS) -> float:
        """Send the stop signal; return the seconds until the tool has ended."""
        begin = time.monotonic()
        self.process.send_signal(self.tool.stop_signal)
        return wait_gone(self.process, seconds, "end after the stop signal") - begin

    def end(self) -> None:
        """Kill all its processes and remove the folder."""
        sweep()
        if hasattr(self, "process"):
            self.process.wait()
        subprocess.run(["rm", "-rf", self.folder], check=False)


def _start(running: RunningTool, watch: ServiceWatch, count: int) -> float:
    """Return the seconds from the start of the tool until all services are executing."""

    def all_started() -> bool:
        running.check_alive()
        return len(watch.alive()) >= count

    return until(all_started, START_SECONDS, f"start of {count} services") - running.began


def _restart(running: RunningTool, watch: ServiceWatch, victim: int) -> float:
    """Kill one service; return the seconds until its next process is executing."""
    before = watch.alive()
    begin = time.monotonic()
    os.kill(victim, signal.SIGKILL)

    def another() -> bool:
        running.check_alive()
        return bool(watch.alive() - before)

    return until(another, RESTART_SECONDS, "restart") - begin


def _stop(figures: Figures, running: RunningTool, watch: ServiceWatch) -> None:
    """Stop the tool; record the time until it and all its services have ended."""
    services = watch.alive()
    begin = time.monotonic()
    running.stop()

    def none_left() -> bool:
        return all(is_gone(pid) for pid in services)

    try:
        gone = until(none_left, LEFT_SECONDS, "end of the services")
        figures.add("stop", running.tool.name, (gone - begin) * 1000)
    except MeasurementError:
        left = sum(not is_gone(pid) for pid in services)
        figures.note("stop", running.tool.name, f"leaves {left} services running")


def _run_tool(scope: Scope, running: RunningTool, number: int) -> None:
    """Run one tool from start to stop and record its figures. number: the round."""
    figures, name = scope.figures, running.tool.name
    running.start()
    watch = ServiceWatch(running.process.pid, "sleep")
    seconds = _start(running, watch, SERVICES)
    if scope.wants("start"):
        figures.add("start", name, seconds * 1000)
    if scope.wants("memory", "idle", "restart"):
        time.sleep(SETTLE_SECONDS)
    if scope.wants("memory"):
        rss, pss = memory_kib(own := watch.supervisors())
        figures.add("rss", name, rss / 1024)
        figures.add("pss", name, pss / 1024)
        if len(own) > 1:
            figures.note("rss", name, f"{len(own)} processes")
    if scope.wants("idle") and number == 0:
        before = context_switches(watch.supervisors())
        time.sleep(IDLE_SECONDS)
        figures.add("idle", name, context_switches(watch.supervisors()) - before)
    if scope.wants("restart") and running.tool.restarts:
        share = -(-RESTARTS // scope.rounds)
        for victim in sorted(watch.alive())[:share]:
            figures.add("restart", name, _restart(running, watch, victim) * 1000)
    if scope.wants("stop"):
        time.sleep(QUIET_SECONDS)
        _stop(figures, running, watch)


def run_tool(scope: Scope, tool: Tool, number: int) -> None:
    """Measure one tool. A failure becomes a remark."""
    services = {f"s{index:02}": "sleep 100000" for index in range(1, SERVICES + 1)}
    running = RunningTool(tool, scope.paths[tool.program], services)
    try:
        _run_tool(scope, running, number)
    except MeasurementError as error:
        for measure in ("start", "restart", "stop"):
            if scope.wants(measure):
                scope.figures.note(measure, tool.name, str(error))
    finally:
        running.end()


def start_many(scope: Scope, tool: Tool) -> None:
    """Measure the start of ten times as many services."""
    services = {f"s{index:03}": "sleep 100000" for index in range(1, MANY_SERVICES + 1)}
    running = RunningTool(tool, scope.paths[tool.program], services)
    try:
        running.start()
        watch = ServiceWatch(running.process.pid, "sleep")
        scope.figures.add("start500", tool.name, _start(running, watch, MANY_SERVICES) * 1000)
    except MeasurementError as error:
        scope.figures.note("start500", tool.name, str(error))
    finally:
        running.end()


def measure(scope: Scope, tools: Sequence[Tool]) -> None:
    """Measure all tools, round by round."""
    for number in range(scope.rounds):
        for tool in tools:
            if scope.wants(*IN_ONE_RUN):
                run_tool(scope, tool, number)
            if scope.wants("start500") and tool.name == US:
                start_many(scope, tool)

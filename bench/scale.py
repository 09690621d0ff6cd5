"""The cost of many services: probes, a long chain of dependencies, a thousand services at once.

No peer has both readiness and probes. Each figure is therefore relative to cohabit itself: a chain to one link of it, a
thousand services to a hundred.
"""

import os
import re
import socket
import threading
import time

from install import CACHE, InstallError, compile_c
from processes import MeasurementError, ServiceWatch, cpu_seconds, until
from report import US
from services import RunningTool, Scope
from supervisors import Services, Tool

PARTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "parts")
PROBED = 500
PROBE_SECONDS = 10.0
CHAIN = 100
LINKS = 20  # per round
FEW, MANY = 100, 1000
AT_MOST_SECONDS = 60.0
_MOMENT = re.compile(r"^(s\d+) +\| (\d+)$", re.MULTILINE)


def _file(folder: str, text: str) -> list[str]:
    path = os.path.join(folder, "cohabit.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write("services:\n" + text)
    return ["up", "-f", path]


def _probed(folder: str, services: Services) -> list[str]:
    check = "healthcheck: {{test: [TCP, '127.0.0.1:{}'], interval: 1s, timeout: 1s}}"
    lines = [f"  {name}: {{command: sleep 100000, {check.format(port)}}}\n" for name, port in services.items()]
    return _file(folder, "".join(lines))


def _chain(folder: str, services: Services) -> list[str]:
    lines = []
    before = ""
    for name, program in services.items():
        wait = f", depends_on: {{{before}: {{condition: service_healthy}}}}" if before else ""
        lines.append(f"  {name}: {{command: [{program}], healthcheck: {{test: [NOTIFY]}}{wait}}}\n")
        before = name
    return _file(folder, "".join(lines))


def _plain(folder: str, services: Services) -> list[str]:
    return _file(folder, "".join(f"  {name}: {{command: {command}}}\n" for name, command in services.items()))


class _Listener:
    """A TCP port that accepts every connection and closes it."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                self.socket.accept()[0].close()
            except OSError:
                return


def _running(scope: Scope, write: object, services: Services) -> RunningTool:
    return RunningTool(Tool(US, US, write), scope.paths[US], services)  # type: ignore[arg-type]


def probes(scope: Scope) -> None:
    """Measure the CPU time of process 1 while each service is probed once a second."""
    listener = _Listener()
    names = {f"s{number:03}": str(listener.port) for number in range(PROBED)}
    running = _running(scope, _probed, names)
    try:
        running.start()
        watch = ServiceWatch(running.process.pid, "sleep")
        until(lambda: len(watch.alive()) >= PROBED, AT_MOST_SECONDS, "start of all services")
        time.sleep(2.0)  # until the first probes have ended
        before, began = cpu_seconds([running.process.pid]), time.monotonic()
        time.sleep(PROBE_SECONDS)
        used = cpu_seconds([running.process.pid]) - before
        scope.figures.add("probes", US, 100 * used / (time.monotonic() - began))
    except MeasurementError as error:
        scope.figures.note("probes", US, str(error))
    finally:
        running.end()
        listener.socket.close()


def _moments(scope: Scope, program: str, count: int) -> list[float]:
    """Return the milliseconds from the exec of the first service of a chain to the exec of each."""
    running = _running(scope, _chain, {f"s{number:03}": program for number in range(count)})
    try:
        running.start()
        log = os.path.join(running.folder, "stdout.log")

        def found() -> list[tuple[str, str]]:
            running.check_alive()
            with open(log, encoding="utf-8") as file:
                return _MOMENT.findall(file.read())

        until(lambda: len(found()) >= count, AT_MOST_SECONDS, "start of the whole chain")
        moments = [int(nanoseconds) / 1e6 for _, nanoseconds in sorted(found())]
        return [moment - moments[0] for moment in moments]
    finally:
        running.end()


def chain(scope: Scope) -> None:
    """Measure a chain of services that wait for READY=1 of the previous one, and single links."""
    try:
        program = compile_c(os.path.join(PARTS, "ready.c"))
        for _ in range(LINKS):
            scope.figures.add("link", US, _moments(scope, program, 2)[1])
        scope.figures.add("chain", US, _moments(scope, program, CHAIN + 1)[CHAIN])
    except (InstallError, MeasurementError) as error:
        scope.figures.note("chain", US, f"{error} (programs in {CACHE})")


def starts(scope: Scope) -> None:
    """Measure the start of few and many services, per service."""
    for measure, count in (("start-few", FEW), ("start-many", MANY)):
        running = _running(scope, _plain, {f"s{number:04}": "sleep 100000" for number in range(count)})
        try:
            running.start()
            watch = ServiceWatch(running.process.pid, "sleep")
            began = running.began
            seconds = until(lambda: len(watch.alive()) >= count, AT_MOST_SECONDS, "start of all services") - began  # noqa: B023
            scope.figures.add(measure, US, seconds * 1000 / count)
        except MeasurementError as error:
            scope.figures.note(measure, US, str(error))
        finally:
            running.end()


def measure(scope: Scope) -> None:
    """Take the selected measurements."""
    for _ in range(scope.rounds):
        for name, act in (("probes", probes), ("chain", chain), ("starts", starts)):
            if scope.wants(name):
                act(scope)

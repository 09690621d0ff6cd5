"""The same supervisord.conf with supervisord and with cohabit: services, XML-RPC and supervisorctl.

Each program writes to fd 1 and ends at TERM. The rows `conf-...` compare only these two; `conf-pss` has all of the
tool's own processes, the gateway included.
"""

import http.client
import os
import socket
import time
import xmlrpc.client
from collections.abc import Callable
from typing import Any

import services
from processes import MeasurementError, ServiceWatch, run_once, until
from report import US, Figures
from services import SERVICES, RunningTool, Scope
from supervisors import Services as Commands
from supervisors import Tool, supervisord

CALLS, STATUSES = 30, 7
_SECONDS = 60.0
_AS_ROWS = ("start", "pss", "idle", "restart", "stop")


def _as_cohabit(folder: str, commands: Commands) -> list[str]:
    """Write the same file, and return the arguments of cohabit."""
    return ["supervisord", *supervisord(folder, commands)]


TOOLS = (
    Tool(US, "cohabit", _as_cohabit, passes_output=True),
    Tool("supervisord", "supervisord", supervisord, passes_output=True),
)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self.path = path

    def connect(self) -> None:
        """Connect to the unix socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(self.path)


class _Transport(xmlrpc.client.Transport):
    """One connection for all calls."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._kept = _Connection(path)

    def make_connection(self, _host: Any) -> http.client.HTTPConnection:
        """Give that connection."""
        return self._kept


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def _ask(scope: Scope, tool: Tool) -> None:
    """Measure requests to a tool with sleeping programs."""
    running = RunningTool(tool, scope.paths[tool.program], {f"s{n:02}": "sleep 100000" for n in range(SERVICES)})
    try:
        running.start()
        watch = ServiceWatch(running.process.pid, "sleep")
        until(lambda: len(watch.alive()) >= SERVICES, _SECONDS, f"start of {SERVICES} programs")
        path = os.path.join(running.folder, "supervisor.sock")
        until(lambda: os.path.exists(path), _SECONDS, "its socket")
        proxy = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_Transport(path))
        if scope.wants("conf-rpc"):
            proxy.supervisor.getAllProcessInfo()
            for _ in range(CALLS):
                scope.figures.add("conf-rpc", tool.name, _timed(proxy.supervisor.getAllProcessInfo))
        if scope.wants("conf-ctl"):
            program = os.path.join(os.path.dirname(scope.paths["supervisord"]), "supervisorctl")
            argv = [program, "-c", os.path.join(running.folder, "supervisord.conf"), "status"]
            for _ in range(STATUSES):
                scope.figures.add("conf-ctl", tool.name, run_once(argv, {}))
    except MeasurementError as error:
        scope.figures.note("conf-rpc", tool.name, str(error))
    finally:
        running.end()


def measure(scope: Scope) -> None:
    """Measure both tools, round by round."""
    if "supervisord" not in scope.paths:
        return
    if scope.wants("conf"):
        apart = Figures()
        inner = Scope(apart, scope.paths, frozenset(services.IN_ONE_RUN), scope.rounds, scope.quick)
        for number in range(scope.rounds):
            for tool in TOOLS:
                services.run_tool(inner, tool, number)
        for row in _AS_ROWS:
            for name, values in apart.samples[row].items():
                for value in values:
                    scope.figures.add(f"conf-{row}", name, value)
            for name, text in apart.notes[row].items():
                scope.figures.note(f"conf-{row}", name, text)
    if scope.wants("conf-rpc", "conf-ctl"):
        for tool in TOOLS:
            _ask(scope, tool)

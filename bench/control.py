"""The cost of requests to a running cohabit: the time of the client, and the memory and time of process 1.

The command is the installed one with its sh script. It finds its socket as in a container; COHABIT_SUPERVISOR names the
supervisor because that is not process 1 here. `ps` is compared with `supervisorctl status`. No peer has a command like
`health`, which is compared with a bare interpreter that sends the same request.
"""

import glob
import os
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence

from install import CACHE, PYTHON
from logs import LINE_BYTES, PUMP_SECONDS, Reader, make_gate, open_gate, writer
from processes import MeasurementError, ServiceWatch, memory_kib, run_once, sweep, until
from report import US
from services import RunningTool, Scope
from supervisors import COHABIT, PEERS, Tool

HEALTH_SERVICES = 5
HEALTH_RUNS = 20  # per round
PS_RUNS = 7
PAUSE_SECONDS = (
    0.25  # a client that sends requests without a pause waits: process 1 gives clients a quarter of its time
)
FEW, MANY = 5, 500
STATUS_SERVICES = 50
REQUESTS, WARM_UP_REQUESTS, COMMANDS = 1000, 200, 50
FOLLOWERS = 50
PACED_LINES, FLOOD_LINES = 50_000, 2_000_000
AT_MOST_SECONDS = 120.0
SETTLE_SECONDS = 2.0

BARE = "python3 -I -S -c pass"
ROUND_TRIP = "python3 -I -S, one round trip"
NO_SH = "cohabit without its sh script"
NO_FOLLOWERS = "no followers"
UNREAD = "50 without a reader"

_ROUND_TRIP_CODE = (
    "import _socket; s = _socket.socket(1, 1); s.connect({!r}); s.sendall(b'cohabit/2 health for=ready\\n')\n"
    "while s.recv(65536): pass"
)


def _running(scope: Scope, tool: Tool, count: int) -> RunningTool:
    """Start a tool with this number of sleeping services; return when all are executing."""
    running = RunningTool(tool, scope.paths[tool.program], {f"s{number:03}": "sleep 100000" for number in range(count)})
    try:
        running.start()
        watch = ServiceWatch(running.process.pid, "sleep")

        def all_started() -> bool:
            running.check_alive()
            return len(watch.alive()) >= count

        until(all_started, AT_MOST_SECONDS, f"start of {count} services")
        time.sleep(SETTLE_SECONDS)
    except MeasurementError:
        running.end()
        raise
    return running


def _end(running: RunningTool) -> None:
    """Stop the tool, so that it removes its socket, then kill what is left."""
    try:
        running.stop()
    except MeasurementError:
        pass
    running.end()


def _client_environment(running: RunningTool) -> dict[str, str]:
    """Return the environment that makes a client choose this cohabit."""
    return {"COHABIT_SUPERVISOR": f"{running.process.pid}-0"}


def _socket_path(running: RunningTool) -> str:
    """Return the path of the control socket on which this cohabit listens."""
    places = ("/run/cohabit/*", "/var/run/cohabit/*", "/tmp/cohabit-*", "/dev/shm/cohabit-*")
    for path in [path for place in places for path in glob.glob(f"{place}/control")]:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(path)
            except OSError:
                continue
            peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            if struct.unpack("3i", peer)[0] == running.process.pid:
                return path
    raise MeasurementError("cannot find its control socket")


# --- health ----------------------------------------------------------------------------------------------


def _health_lines(scope: Scope, running: RunningTool) -> dict[str, list[str]]:
    """Return the compared command lines by row name."""
    program = scope.paths[US]
    lines = {US: [program, "health"]}
    parts = os.path.join(os.path.dirname(os.path.dirname(program)), "lib", "python3*", "*-packages", "cohabit")
    for main in glob.glob(os.path.join(parts, "__main__.py")):
        lines[NO_SH] = [os.path.join(os.path.dirname(program), "python3"), "-I", "-S", main, "health"]
    lines[ROUND_TRIP] = [PYTHON, "-I", "-S", "-c", _ROUND_TRIP_CODE.format(_socket_path(running))]
    lines[BARE] = [PYTHON, "-I", "-S", "-c", "pass"]
    lines["sh -c :"] = ["sh", "-c", ":"]
    return lines


def health(scope: Scope) -> None:
    """Measure `cohabit health` and the programs that it is compared with, in turn."""
    running = _running(scope, COHABIT, HEALTH_SERVICES)
    try:
        lines = _health_lines(scope, running)
        for number in range(HEALTH_RUNS + 2):
            for name, argv in lines.items():
                milliseconds = run_once(argv, _client_environment(running))
                if number >= 2:
                    scope.figures.add("health", name, milliseconds)
    finally:
        _end(running)


# --- ps --------------------------------------------------------------------------------------------------


def _status_line(scope: Scope, tool: Tool, running: RunningTool) -> tuple[list[str], Mapping[str, str]]:
    """Return the command line that shows the status of a tool's services, and its environment."""
    if tool is COHABIT:
        return [scope.paths[US], "ps"], _client_environment(running)
    program = os.path.join(os.path.dirname(scope.paths[tool.program]), "supervisorctl")
    return [program, "-c", os.path.join(running.folder, "supervisord.conf"), "status"], {}


def _ps(scope: Scope, tool: Tool, measure: str, count: int) -> None:
    running = _running(scope, tool, count)
    try:
        argv, environment = _status_line(scope, tool, running)
        run_once(argv, environment)
        for _ in range(PS_RUNS):
            time.sleep(PAUSE_SECONDS)
            scope.figures.add(measure, tool.name, run_once(argv, environment))
    finally:
        if tool is COHABIT:
            _end(running)
        else:
            running.end()


def ps(scope: Scope, tools: Sequence[Tool]) -> None:
    """Measure the status command of each tool, with few and many services."""
    for measure, count in (("ps-few", FEW), ("ps", MANY)):
        for tool in tools:
            try:
                _ps(scope, tool, measure, count)
            except MeasurementError as error:
                scope.figures.note(measure, tool.name, str(error))


def _request(path: str) -> None:
    """Send one request as `ps` does: connect, send a line, read the answer to its end."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(AT_MOST_SECONDS)
        client.connect(path)
        client.sendall(b"cohabit/2 status\n")
        answer = client.recv(65536)
        if not answer.startswith(b"0 "):
            raise MeasurementError(f"answered {answer[:80]!r}")
        while client.recv(65536):
            pass


def ps1000(scope: Scope) -> None:
    """Measure the growth of process 1 after a thousand requests in a row, and the time of each."""
    running = _running(scope, COHABIT, STATUS_SERVICES)
    try:
        path, pid = _socket_path(running), [running.process.pid]
        before = memory_kib(pid)
        for _ in range(WARM_UP_REQUESTS):
            _request(path)
        warm, began = memory_kib(pid), time.monotonic()
        for _ in range(REQUESTS):
            _request(path)
        scope.figures.add("ps-raw", US, (time.monotonic() - began) * 1000 / REQUESTS)
        for _ in range(COMMANDS):
            run_once([scope.paths[US], "ps"], _client_environment(running))
        after = memory_kib(pid)
        scope.figures.add("ps1000", US, after[0] - warm[0])
        memory = [f"{rss:,} / {pss:,}" for rss, pss in (before, warm, after)]
        scope.figures.note("ps1000", US, f"RSS / PSS in KiB: {memory[0]} before, {memory[1]} warm, {memory[2]} after")
    finally:
        _end(running)


# --- followers -------------------------------------------------------------------------------------------


class _Followers:
    """`count` processes `cohabit logs -f`. The stdout of the first `unread` has no reader."""

    def __init__(self, scope: Scope, running: RunningTool, count: int, unread: int) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        descriptors = f"/proc/{running.process.pid}/fd"
        before = len(os.listdir(descriptors))
        for number in range(count):
            stdout = subprocess.PIPE if number < unread else subprocess.DEVNULL
            argv = [scope.paths[US], "logs", "-f"]
            environment = {**os.environ, **_client_environment(running)}
            self.processes.append(subprocess.Popen(argv, env=environment, stdout=stdout, stderr=subprocess.DEVNULL))
        until(lambda: len(os.listdir(descriptors)) >= before + count, AT_MOST_SECONDS, "all followers connected")
        time.sleep(SETTLE_SECONDS)

    def end(self) -> None:
        """Kill all of them."""
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _peak_kib(pid: int) -> int:
    """Return the peak RSS of a process in KiB (VmHWM)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


def _flow(scope: Scope, kind: str, count: int, audience: tuple[int, int]) -> tuple[float, float]:
    """Let a service write numbered lines. audience: the number of followers, and of those without a reader.

    Returns lines per second until all are on the stdout of process 1, and the largest growth of process 1 in MiB.
    """
    reader = Reader("lines", count)
    running = RunningTool(COHABIT, scope.paths[US], {}, reader.stdout)
    followers = None
    try:
        gate = make_gate(running.folder)
        running.services = {"a": writer(gate, kind, count, "a")}
        running.start()
        reader.close()
        watch = ServiceWatch(running.process.pid, os.path.basename(PYTHON))
        until(lambda: bool(watch.alive()), AT_MOST_SECONDS, "start of the writing service")
        time.sleep(SETTLE_SECONDS)
        before = memory_kib([running.process.pid])[0]
        if audience[0]:
            followers = _Followers(scope, running, *audience)
        held, begin = open_gate(running, gate)
        moment, seen = reader.line(PUMP_SECONDS, "all of the output")
        os.close(held)
        grown = _peak_kib(running.process.pid) - before
        return int(seen) / (float(moment) - begin), grown / 1024
    finally:
        if followers:
            followers.end()
        _end(running)
        reader.forget()


def followers(scope: Scope) -> None:
    """Measure a service that writes in bursts and one that writes a flood, with and without followers."""
    half = FOLLOWERS // 2
    share = 10 if scope.quick else 1
    audiences = {NO_FOLLOWERS: (0, 0), US: (FOLLOWERS, half), UNREAD: (FOLLOWERS, FOLLOWERS)}
    for measure, kind, count in (("followers", "paced", PACED_LINES), ("followers-flood", "numbered", FLOOD_LINES)):
        for name, audience in audiences.items():
            rate, grown_mib = _flow(scope, kind, count // share, audience)
            scope.figures.add(measure, name, rate if measure == "followers" else rate * LINE_BYTES / 1e6)
            if measure == "followers-flood":
                scope.figures.add("followers-memory", name, grown_mib)


def measure(scope: Scope) -> None:
    """Take the selected measurements, round by round."""
    peers = [tool for tool in PEERS if tool.name == "supervisord" and tool.program in scope.paths]
    for _ in range(scope.rounds):
        for name, act in (("health", health), ("ps1000", ps1000), ("followers", followers)):
            if not scope.wants(name):
                continue
            try:
                act(scope)
            except MeasurementError as error:
                scope.figures.note(name, US, f"{error} (programs in {CACHE})")
                sweep()
        if scope.wants("ps"):
            ps(scope, [COHABIT, *peers])

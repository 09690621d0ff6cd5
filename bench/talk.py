"""What it costs to talk to a running cohabit: the asker's time, and what process 1 pays for being asked.

The command is the installed one, as a user would type it, sh script and all, and it looks for its socket as in a
container (COHABIT_SUPERVISOR stands in for being process 1). Beside `ps` stands `supervisorctl status`; nobody
else has anything like `health`, so that is held against the bare interpreter doing the same on its own.
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
HEALTH_RUNS = 20  # in a round
PS_RUNS = 7
BREATH_SECONDS = 0.25  # whoever asks again at once waits: process 1 gives a quarter of its time to clients
FEW, MANY = 5, 500
ASKED_SERVICES = 50
REQUESTS, WARM_UP_REQUESTS, COMMANDS = 1000, 200, 50
FOLLOWERS = 50
PACED_LINES, FLOOD_LINES = 50_000, 2_000_000
AT_MOST_SECONDS = 120.0
SETTLE_SECONDS = 2.0

BARE = "python3 -I -S -c pass"
TRIP = "the same and one round trip"
NO_SH = "cohabit without its sh script"
NOBODY = "nobody listens"
DEAF = "50 that never read"

_TRIP_CODE = (
    "import _socket; s = _socket.socket(1, 1); s.connect({!r}); s.sendall(b'cohabit/2 health for=ready\\n')\n"
    "while s.recv(65536): pass"
)


def _running(scope: Scope, tool: Tool, count: int) -> RunningTool:
    """Start a tool with so many services that sleep, and return it when all of them do."""
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
    """Stop in order, so that no socket is left lying around, then make sure of it."""
    try:
        running.stop()
    except MeasurementError:
        pass
    running.end()


def _ours(running: RunningTool) -> dict[str, str]:
    """Return the environment in which a client takes this cohabit for the one that is meant."""
    return {"COHABIT_SUPERVISOR": f"{running.process.pid}-0"}


def _socket_path(running: RunningTool) -> str:
    """Return the path of the control socket of a cohabit: the one at which its process listens."""
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
    raise MeasurementError("it has no control socket")


# --- health ----------------------------------------------------------------------------------------------


def _health_lines(scope: Scope, running: RunningTool) -> dict[str, list[str]]:
    """Return the command lines that are compared, by the names of their rows."""
    program = scope.paths[US]
    lines = {US: [program, "health"]}
    parts = os.path.join(os.path.dirname(os.path.dirname(program)), "lib", "python3*", "*-packages", "cohabit")
    for main in glob.glob(os.path.join(parts, "__main__.py")):
        lines[NO_SH] = [os.path.join(os.path.dirname(program), "python3"), "-I", "-S", main, "health"]
    lines[TRIP] = [PYTHON, "-I", "-S", "-c", _TRIP_CODE.format(_socket_path(running))]
    lines[BARE] = [PYTHON, "-I", "-S", "-c", "pass"]
    lines["sh -c :"] = ["sh", "-c", ":"]
    return lines


def health(scope: Scope) -> None:
    """Measure `cohabit health` and the bare interpreter that asks the same, in turn."""
    running = _running(scope, COHABIT, HEALTH_SERVICES)
    try:
        lines = _health_lines(scope, running)
        for number in range(HEALTH_RUNS + 2):
            for name, argv in lines.items():
                milliseconds = run_once(argv, _ours(running))
                if number >= 2:
                    scope.figures.add("health", name, milliseconds)
    finally:
        _end(running)


# --- ps --------------------------------------------------------------------------------------------------


def _status_line(scope: Scope, tool: Tool, running: RunningTool) -> tuple[list[str], Mapping[str, str]]:
    """Return the command line that asks a tool how its services are, and its environment."""
    if tool is COHABIT:
        return [scope.paths[US], "ps"], _ours(running)
    program = os.path.join(os.path.dirname(scope.paths[tool.program]), "supervisorctl")
    return [program, "-c", os.path.join(running.folder, "supervisord.conf"), "status"], {}


def _ps(scope: Scope, tool: Tool, measure: str, count: int) -> None:
    running = _running(scope, tool, count)
    try:
        argv, environment = _status_line(scope, tool, running)
        run_once(argv, environment)
        for _ in range(PS_RUNS):
            time.sleep(BREATH_SECONDS)
            scope.figures.add(measure, tool.name, run_once(argv, environment))
    finally:
        if tool is COHABIT:
            _end(running)
        else:
            running.end()


def ps(scope: Scope, tools: Sequence[Tool]) -> None:
    """Measure how long each tool takes to tell how its services are: few and many of them."""
    for measure, count in (("ps-few", FEW), ("ps", MANY)):
        for tool in tools:
            try:
                _ps(scope, tool, measure, count)
            except MeasurementError as error:
                scope.figures.note(measure, tool.name, str(error))


def _ask(path: str) -> None:
    """Ask once for everything that `ps` asks for, as it does: a connection, a line, an answer to its end."""
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
    """Measure what process 1 has grown by after a thousand questions in a row, and how fast they are answered."""
    running = _running(scope, COHABIT, ASKED_SERVICES)
    try:
        path, pid = _socket_path(running), [running.process.pid]
        before = memory_kib(pid)
        for _ in range(WARM_UP_REQUESTS):
            _ask(path)
        warm, began = memory_kib(pid), time.monotonic()
        for _ in range(REQUESTS):
            _ask(path)
        scope.figures.add("ps-raw", US, (time.monotonic() - began) * 1000 / REQUESTS)
        for _ in range(COMMANDS):
            run_once([scope.paths[US], "ps"], _ours(running))
        after = memory_kib(pid)
        scope.figures.add("ps1000", US, after[0] - warm[0])
        told = [f"{rss:,} / {pss:,}" for rss, pss in (before, warm, after)]
        scope.figures.note("ps1000", US, f"RSS / PSS in KiB: {told[0]} before, {told[1]} warm, {told[2]} after")
    finally:
        _end(running)


# --- followers -------------------------------------------------------------------------------------------


class _Followers:
    """So many `cohabit logs -f`, of which the first few have a stdout that nobody reads."""

    def __init__(self, scope: Scope, running: RunningTool, count: int, deaf: int) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        descriptors = f"/proc/{running.process.pid}/fd"
        before = len(os.listdir(descriptors))
        for number in range(count):
            stdout = subprocess.PIPE if number < deaf else subprocess.DEVNULL
            argv = [scope.paths[US], "logs", "-f"]
            environment = {**os.environ, **_ours(running)}
            self.processes.append(subprocess.Popen(argv, env=environment, stdout=stdout, stderr=subprocess.DEVNULL))
        until(lambda: len(os.listdir(descriptors)) >= before + count, AT_MOST_SECONDS, "all followers connected")
        time.sleep(SETTLE_SECONDS)

    def end(self) -> None:
        """End all of them."""
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _peak_kib(pid: int) -> int:
    """Return the most memory that a process ever had resident."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


def _flow(scope: Scope, kind: str, count: int, listening: tuple[int, int]) -> tuple[float, float]:
    """Let a service write so many numbered lines while some listen, of whom so many never read.

    Returns lines per second until all are on the stdout of process 1, and by how many MiB that grew at the most.
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
        if listening[0]:
            followers = _Followers(scope, running, *listening)
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
    """Measure a chatty service and a flood, with and without those who listen."""
    half = FOLLOWERS // 2
    share = 10 if scope.quick else 1
    audiences = {NOBODY: (0, 0), US: (FOLLOWERS, half), DEAF: (FOLLOWERS, FOLLOWERS)}
    for measure, kind, count in (("followers", "paced", PACED_LINES), ("followers-flood", "numbered", FLOOD_LINES)):
        for name, listening in audiences.items():
            rate, grown_mib = _flow(scope, kind, count // share, listening)
            scope.figures.add(measure, name, rate if measure == "followers" else rate * LINE_BYTES / 1e6)
            if measure == "followers-flood":
                scope.figures.add("followers-memory", name, grown_mib)


def measure(scope: Scope) -> None:
    """Measure all that was asked for, round by round."""
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

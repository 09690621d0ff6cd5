"""Every byte that services write comes out of each driver, in order, during all kinds of events.

Several services write numbered lines (programs/numbered.py) of 20 bytes to 200 kB, with NUL, invalid UTF-8, CR and
colours, during an internal error, a crash, a restart, a reload, re-executions and the stop. Each leaves a process
behind that writes after its death. The services note what they wrote, and accounting.py compares.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from linux import processes
from linux.accounting import (
    Channels,
    Writers,
    channels_by_tag,
    channels_of_lines,
    channels_of_syslog,
    file_with_rotated,
)
from linux.clients import ask, environment, following
from linux.conftest import Gate, Start
from linux.run import REPOSITORY, Run, program, shell, write_file
from linux.syslogd import Syslogd

SOURCE = os.path.join(REPOSITORY, "src")
REEXECUTE = signal.SIGRTMIN + 25
ROUNDS = 12  # of a writer during one event, enough for its whole duration
EVERYTHING = ("err", "bursts", "tail", "leaves")
SINGLE = ("err", "tail", "leaves")


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    """Give the Writers."""
    writers = Writers(str(tmp_path))
    yield writers
    writers.close()


@pytest.fixture
def through(start: Start, writers: Writers, gate: Gate, tmp_path: Path) -> Callable[..., Run]:
    """Give the function that runs these services through all events to the end."""

    def through(services: dict[str, dict[str, Any]], **options: Any) -> Run:
        options.setdefault("environment", environment(str(tmp_path)))
        trigger = {"command": shell("read x < gate; exit 0"), "essential": False}
        services = {**services, "trigger": trigger, "other": {"command": ["sleep", "1000"]}}
        file = write_file(str(tmp_path), services)
        run = start(*program("driver.py", SOURCE, "executes+step-before:Exited", "up", "-f", file), **options)
        run.until(lambda: all(map(writers.runs, writers.commands)), "all services to run")
        events = Events(run, writers, str(tmp_path))
        events.internal_error(gate)
        first, *_, second = [*writers.commands, *writers.commands]
        events.crash(first)
        events.restart(second)
        events.reload({**services, "other": {"command": ["sleep", "2000"]}})
        if any("inherit" not in str(service["logging"]) for service in services.values() if "logging" in service):
            events.follow()
        for times in (1, 2, 3):
            events.reexecution(times)
        events.flow()
        assert run.stop() == 0
        assert len(writers.runs(first)) >= 3
        assert "Traceback" not in run.text.replace("RuntimeError: planted", "").replace("Traceback", "", 1)
        return run

    return through


class Events:
    """The events of a cohabit whose services write."""

    def __init__(self, run: Run, writers: Writers, directory: str) -> None:
        self.run = run
        self.writers = writers
        self.directory = directory

    def during(self, true: Callable[[], object], what: str) -> None:
        """Wait until the condition holds; meanwhile all services write."""
        left = dict.fromkeys(self.writers.commands, ROUNDS)

        def look() -> bool:
            for name in self.writers.idle():
                if left[name]:
                    left[name] -= 1
                    self.writers.give(1, name)
            return bool(true())

        self.run.until(look, what)

    def flow(self) -> None:
        """All services write."""
        names = list(self.writers.commands)
        before = {name: self.writers.sent(name) for name in names}
        self.during(lambda: all(self.writers.sent(name) > before[name] for name in names), "all services to write")

    def internal_error(self, gate: Gate) -> None:
        """The planted error: afterwards process 1 runs the real program, which has no error."""
        self.flow()
        gate.open()
        self.during(
            lambda: "cohabit-resume" in getattr(processes.find(self.run.pid), "command", ""), "the re-execution"
        )

    def crash(self, name: str) -> None:
        """A crash in the middle of a write."""
        self.flow()
        runs = len(self.writers.runs(name))
        os.kill(self.pid(name), signal.SIGKILL)
        self.during(lambda: len(self.writers.runs(name)) > runs, f"the next run of {name}")

    def pid(self, name: str) -> int:
        """The main process of a service."""
        found = [
            one.pid
            for one in self.run.below("numbered.py")
            if one.parent == self.run.pid and f" {name} " in one.command
        ]
        assert len(found) == 1
        return found[0]

    def restart(self, name: str) -> None:
        """A requested restart."""
        self.flow()
        runs = len(self.writers.runs(name))
        ask(self.run, self.directory, "restart", name, during=self.during)
        self.run.until(lambda: len(self.writers.runs(name)) > runs, f"the next run of {name}")

    def follow(self) -> None:
        """A client follows the logs for a while."""
        self.flow()
        with following(self.directory, "logs", "-f") as out:
            self.during(lambda: os.fstat(out.fileno()).st_size, "it to appear")
            self.flow()

    def reload(self, services: dict[str, dict[str, Any]]) -> None:
        """A reload that changes a service which does not write."""
        self.flow()
        write_file(self.directory, services)
        self.run.signal(signal.SIGHUP)
        self.during(lambda: self.run.below("sleep 2000"), "the changed service")

    def reexecution(self, times: int) -> None:
        """Requested re-executions."""
        self.flow()
        if times == 1:
            ask(self.run, self.directory, "reexec", during=self.during)
        else:
            self.run.signal(REEXECUTE)
        self.during(lambda: self.run.err.count(b"re-executed, version") == times, "the re-execution")


def _container(run: Run) -> Channels:
    """The output on cohabit's stdout and stderr in prefix, json and logfmt."""
    channels: Channels = {}
    channels_of_lines(channels, bytes(run.out), 1)
    channels_of_lines(channels, bytes(run.err), 2)
    return channels


def _on_stdout(driver: str, **options: str) -> dict[str, Any]:
    return {"driver": driver, "options": options}


def _file(path: Path, **options: str) -> dict[str, Any]:
    return {
        "driver": "file",
        "options": {"path": str(path), **{key.replace("_", "-"): options[key] for key in options}},
    }


def _syslog(server: Syslogd) -> dict[str, Any]:
    return {"driver": "syslog", "options": {"syslog-address": server.address}}


def test_prefix_json_and_logfmt(through: Callable[..., Run], writers: Writers) -> None:
    """Three formats on one stdout and one stderr; json and logfmt in records under 16 KiB, split and numbered."""
    services = {
        "web": writers.service("web", _on_stdout("prefix"), *EVERYTHING),
        "api": writers.service("api", _on_stdout("json"), *EVERYTHING),
        "job": writers.service("job", _on_stdout("json"), *SINGLE, bytes_max=20_000),
        "db": writers.service("db", _on_stdout("logfmt"), *EVERYTHING),
    }
    channels = _container(through(services))
    for name in services:
        writers.check(channels, name, loses_cr=name != "web")


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_raw(through: Callable[..., Run], writers: Writers, tmp_path: Path, kind: str) -> None:
    """Unchanged bytes, spliced from pipe to pipe, or copied to a file that does not support splice."""
    services = {"web": writers.service("web", _on_stdout("raw"), "bursts", "tail", "leaves")}
    if kind == "pipe":
        out = bytes(through(services).out)
    else:
        path = tmp_path / "out"
        with open(path, "ab") as file:
            through(services, stdout=file)
        out = path.read_bytes()
    writers.check({("web", 1): bytearray(out)}, "web", finished=False)


def test_inherit(through: Callable[..., Run], writers: Writers) -> None:
    """The container's own descriptors: lines of up to PIPE_BUF are whole, also with concurrent writers."""
    names = ("web", "api", "db")
    services = {name: writers.service(name, _on_stdout("inherit"), "err", "leaves", bytes_max=4000) for name in names}
    run = through(services)
    channels: Channels = {}
    channels_by_tag(channels, bytes(run.out), 1)
    channels_by_tag(channels, bytes(run.err), 2)
    for name in services:
        writers.check(channels, name)


def test_file(through: Callable[..., Run], writers: Writers, tmp_path: Path) -> None:
    """Files in each format, rotated, with and without compression, one of them shared by two services."""
    rotated = {"max_size": "300k", "max_file": "1000"}
    shared = _file(tmp_path / "shared.log", format="json", max_size="0")
    services = {
        "web": writers.service(
            "web", _file(tmp_path / "web.log", compress="true", **rotated), "bursts", "tail", "leaves"
        ),
        "api": writers.service("api", _file(tmp_path / "api.log", format="prefix", **rotated), "tail", "leaves"),
        "job": writers.service("job", shared, *EVERYTHING),
        "log": writers.service("log", shared, *SINGLE, bytes_max=20_000),
        "db": writers.service("db", _file(tmp_path / "db.log", format="logfmt", **rotated), *EVERYTHING),
    }
    run = through(services)
    assert b"web:" not in run.out
    assert (tmp_path / "web.log.2").exists() or (tmp_path / "web.log.2.gz").exists()
    channels: Channels = {("web", 1): bytearray(file_with_rotated(str(tmp_path / "web.log")))}
    for name in ("api", "shared", "db"):
        channels_of_lines(channels, file_with_rotated(str(tmp_path / f"{name}.log")), 1)
    for name in services:
        writers.check(channels, name, loses_cr=name in ("job", "log", "db"))


def test_syslog(through: Callable[..., Run], writers: Writers, tmp_path: Path) -> None:
    """One server per transport; a record longer than a message continues in the next one."""
    kinds = ("tcp", "udp", "unixgram", "unix")
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(Syslogd(kind, str(tmp_path / kind))) for kind in kinds}
        services = {
            "tcp": writers.service("tcp", _syslog(servers["tcp"]), *EVERYTHING, bytes_max=60_000),
            "udp": writers.service("udp", _syslog(servers["udp"]), "tail", "leaves", bytes_max=30_000),
            "unixgram": writers.service("unixgram", _syslog(servers["unixgram"]), *SINGLE, bytes_max=30_000),
            "unix": writers.service("unix", _syslog(servers["unix"]), "bursts", "tail", "leaves", bytes_max=6000),
        }
        through(services)
        for server in servers.values():
            server.finish()
        for kind, server in servers.items():
            channels: Channels = {}
            channels_of_syslog(channels, server.messages, lines=kind == "unix")
            assert {name for name, _ in channels} == {kind}
            writers.check(channels, kind, loses_cr=True)


def test_several_at_once(through: Callable[..., Run], writers: Writers, tmp_path: Path) -> None:
    """The same lines on stdout and in a file, in a file and at a server, in two files."""
    with Syslogd("tcp") as server:
        services = {
            "web": writers.service(
                "web", [_on_stdout("json"), _file(tmp_path / "web.log", format="json")], *EVERYTHING
            ),
            "api": writers.service(
                "api", [_file(tmp_path / "api.log", format="logfmt"), _syslog(server)], *SINGLE, bytes_max=60_000
            ),
            "db": writers.service(
                "db",
                [_on_stdout("prefix"), _file(tmp_path / "db.1.log"), _file(tmp_path / "db.2.log")],
                "bursts",
                "tail",
                "leaves",
            ),
        }
        run = through(services)
        server.finish()
    channels = _container(run)
    writers.check(channels, "web", loses_cr=True)
    writers.check(channels, "db")
    files: Channels = {}
    for name in ("web", "api"):
        channels_of_lines(files, file_with_rotated(str(tmp_path / f"{name}.log")), 1)
        writers.check(files, name, loses_cr=True)
    for number in (1, 2):
        writers.check({("db", 1): bytearray((tmp_path / f"db.{number}.log").read_bytes())}, "db")
    messages: Channels = {}
    channels_of_syslog(messages, server.messages, lines=False)
    writers.check(messages, "api", loses_cr=True)

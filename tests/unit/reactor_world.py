"""A small loop for parts of the reactor: a poller, real children under keys, and a record of events and log lines."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from cohabit.plan.model import Probe, Service
from cohabit.plan.reason_text import text_of
from cohabit.reactor.context import Context
from cohabit.reactor.poller import Poller
from cohabit.reactor.processes import spawn, start_failure
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.signals import InheritedSignals

AT_MOST_SECONDS = 20.0  # a timeout for a loaded machine; a passing test never waits for it


def asked(kind: str, name: str = "web", **probe: Any) -> Service:
    """Return a service with a probe."""
    return Service(name, ("true",), probe=Probe(kind, **probe))


def context_of(poller: Poller, **given: Any) -> Context:
    """Return a context for a part. What is not given is refused or ignored."""
    parts: dict[str, Any] = {
        "emit": _ignore, "log": _ignore, "run_program": _refuse, "kill_program": _ignore,
        "given": InheritedSignals((), ()), "environment": dict(os.environ),
    }  # fmt: skip
    return Context(poller, **(parts | given))


def timers_only() -> Poller:
    """Return a poller that has no descriptor of its own, which would stay open until a garbage collection."""
    poller = Poller()
    poller.close()
    return poller


_UNUSED = Poller()


def sink_context(run_program: Callable[..., None], said: list[str]) -> Context:
    """Return a context for a sink, with a record of its warnings. Nothing waits for its poller."""
    return context_of(_UNUSED, run_program=run_program, log=lambda _level, _service, text: said.append(text))


def _ignore(*_: object) -> None:
    """Nothing to do."""


def _refuse(*_: object) -> None:
    raise OSError(11, "Resource temporarily unavailable")


def ready(poller: Poller) -> list[int]:
    """Return the descriptors that the poller would report now."""
    return [fd for fd, _ in poller._watches.poll(0)]


class World:
    """The loop as its parts see it. facts: events that they sent; said: log lines."""

    def __init__(self) -> None:
        self.poller = Poller()
        self.facts: list[Any] = []
        self.said: list[tuple[str, str, str]] = []
        self.launched: list[str] = []
        self.killed: list[str] = []
        self.pids: dict[str, int] = {}
        self.groups: dict[str, int] = {}
        self.given = InheritedSignals((), ())
        self.context = context_of(
            self.poller,
            emit=self.facts.append, log=self.say, run_program=self.launch, kill_program=self.kill, given=self.given,
        )  # fmt: skip
        self._started: dict[str, tuple[SpawnSpec, int, Callable[[int, str], None]]] = {}

    def launch(
        self, key: str, start: SpawnSpec, ended: Callable[[int, str], None], forked: tuple[int, int] | None = None
    ) -> None:
        """Fork a child, as Children.launch does."""
        assert key not in self.pids, "two children with one key"
        self.launched.append(key)
        pid, errors = forked or spawn.spawn(start)
        self.pids[key] = self.groups[key] = pid
        self._started[key] = start, errors, ended

    def kill(self, key: str) -> None:
        """Kill a child, as Children.kill does; a tree is a process group here."""
        self.killed.append(key)
        try:
            os.killpg(self.groups[key], signal.SIGKILL)
        except ProcessLookupError:
            if key in self.pids:
                os.kill(self.pids[key], signal.SIGKILL)  # not yet the leader of its group

    def describe(self, service: Service, command: tuple[str, ...], stdio: tuple[int, ...]) -> SpawnSpec:
        """Describe a command of a service, as Launcher.describe does."""
        del service
        return SpawnSpec(command, dict(os.environ), self.given, stdio=stdio)

    def say(self, level: str, service: str, text: str) -> None:
        """Record a log line."""
        self.said.append((level, service, text))

    def turn(self) -> None:
        """Wait up to 5 ms for events, and handle them."""
        self.poller.wait(0.005)
        self.reap()

    def reap(self) -> None:
        """Reap the children that have ended, as Children.reap does."""
        for key, pid in list(self.pids.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                del self.pids[key]
                start, errors, ended = self._started.pop(key)
                message = spawn.exec_errors(errors)
                os.close(errors)
                failure = start_failure.exec_failure(start, message) if message else None
                ended(failure.code or 0 if failure else spawn.exit_code(status), text_of(failure))

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until the condition holds."""
        end = time.monotonic() + AT_MOST_SECONDS
        while not condition():
            assert time.monotonic() < end, (self.facts, self.said, self.pids)
            self.turn()

    def idle(self) -> bool:
        """Whether no descriptor is ready."""
        return not ready(self.poller)

    def close(self) -> None:
        """Kill and reap the remaining children."""
        for key, pid in self.pids.items():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(self._started[key][1])
        self.poller.close()

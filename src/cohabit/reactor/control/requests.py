"""What requests need of the reactor: facts that the engine does not know, and the records of streams.

Between the socket (server.py), which knows no words, and the words (doors/), which know no Linux.
"""

from __future__ import annotations

import time

from cohabit.api import commands, protocol, serialisers
from cohabit.plan.model import Credentials
from cohabit.reactor.linux import os
from cohabit.reactor.processes.oom import memory_limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.api.commands import Outcome, Subscription
    from cohabit.engine.supervisor import Supervisor
    from cohabit.plan.model import Service
    from cohabit.reactor.control.server import Control
    from cohabit.reactor.logs.output import Output
    from cohabit.reactor.processes.child import SpawnSpec
    from cohabit.reactor.processes.children import Children


class Requests:
    """Answers for the control socket. started: Unix seconds at which our container began.

    describe(service, command): what a process of it would start with.
    """

    def __init__(
        self,
        engine: Supervisor,
        children: Children,
        output: Output,
        *,
        describe: Callable[[Service, tuple[str, ...]], SpawnSpec],
        replace: Callable[[], None],
        replacing: Callable[[], str | None],
    ) -> None:
        self.engine = engine
        self.started = time.time()
        self.replace = replace
        self.replacing = replacing
        self._children = children
        self._output = output
        self._describe = describe

    def ask(self, line: bytes, trusted: bool, again: bool) -> Outcome:
        """What is to come of a request. again: it was accepted before a re-execution. Raises RequestError."""
        clock = serialisers.Clock(time.time(), time.monotonic())
        return commands.begin(commands.RequestContext(protocol.parse(line), self, clock, trusted=trusted, again=again))

    # --- what verbs look at --------------------------------------------------------------------------

    def facts_of_us(self) -> dict[str, Any]:
        """What is the container's and the engine does not know."""
        return {"pid": os.getpid(), "started": self.started, "memory_limit": memory_limit()}

    def facts_of(self, services: list[str], lines: int) -> dict[str, dict[str, Any]]:
        """By service: its processes that are directly below us, as far as they are known, and its last lines."""
        facts: dict[str, dict[str, Any]] = {name: {"pids": []} for name in services}
        trees = self._children.trees
        for pid, key in (*trees.leaders.items(), *trees.orphans.items()):
            name = key.partition("\0")[0]
            if name in facts:
                facts[name]["pids"].append(pid)
        if lines:
            for name, found in facts.items():
                last = self._output.memory.last_lines(name, lines)
                found["output"] = [line.decode("utf-8", "backslashreplace") for line in last]
        return facts

    def environment_of(self, service: str) -> dict[str, Any]:
        """What a process of the service would find; without the variables that name its supervisor."""
        unit = self.engine.units[service]
        start = self._describe(unit.service, unit.service.command)
        for name in self._children.trees.variables(service):
            start.environment.pop(name, None)
        user = unit.service.user or Credentials(os.geteuid(), os.getegid(), tuple(os.getgroups()))
        return {
            "name": service,
            "command": list(unit.service.command),
            "environment": start.environment,
            "working_dir": start.directory or os.getcwd(),
            "user": {name: _plain(getattr(user, name)) for name in user._fields},
            "secret_files": unit.service.secret_files,
            "umask": unit.service.limits.umask,
        }

    # --- streams -------------------------------------------------------------------------------------

    def backlog(self, following: Subscription) -> list[bytes]:
        """What a stream begins with."""
        if following.kind == "events":
            clock = serialisers.Clock(time.time(), time.monotonic())
            names = set(following.services)
            units = [unit for unit in self.engine.units.values() if unit.name in names]
            every = serialisers.events(self.engine, units, clock, whole=following.every)
            found = [event for event in every if event["time"] >= following.since]
            if following.tail is not None:
                found = found[max(0, len(found) - following.tail) :]
            return [protocol.line(event) for event in found]
        names_of_logs = [*following.services, *(("cohabit",) if following.every else ())]
        pieces = [
            (moment, protocol.record(name, stream, moment, lines))
            for name in names_of_logs
            for moment, stream, lines in self._output.memory.records(name, following.tail, following.since)
        ]
        pieces.sort(key=lambda piece: piece[0])
        return [piece for _, piece in pieces]

    def publish_news(self, control: Control) -> None:
        """What the last step of the engine brought, to whoever listens to events."""
        if self.engine.services.transitions and control.listeners("events"):
            clock = serialisers.Clock(time.time(), time.monotonic())
            for name, moment, what, text, code in self.engine.services.transitions:
                control.publish(
                    "events", name, protocol.line(serialisers.event(name, (moment, what, text, code), clock))
                )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

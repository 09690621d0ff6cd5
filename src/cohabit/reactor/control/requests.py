"""The backend of the control commands: what the engine does not know, and the records of streams.

It connects the socket (server.py), which knows no commands, with the commands (api/), which know no Linux.
"""

from __future__ import annotations

import time

from cohabit.api import commands, protocol, serialisers
from cohabit.api.status import BlockedOutput, ProgramStatus
from cohabit.plan.model import Credentials
from cohabit.reactor.linux import os
from cohabit.reactor.processes.oom import memory_limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    from cohabit.api.commands import Outcome, Subscription
    from cohabit.api.serialisers import Clock
    from cohabit.engine.supervisor import Supervisor
    from cohabit.plan.model import Service
    from cohabit.reactor.context import Context
    from cohabit.reactor.logs.output import Output
    from cohabit.reactor.logs.recent_lines import Piece
    from cohabit.reactor.processes.child import SpawnSpec
    from cohabit.reactor.processes.children import Children

    class Replacement(Protocol):
        """The part of successor.Successor that is used here."""

        @property
        def why(self) -> str | None:
            """The state of the replacement, as `replacing` in Backend."""

        def check(self) -> None:
            """Start the replacement of the running program."""

    class Schedules(Protocol):
        """The part of clock.Clock that is used here."""

        next_due: dict[str, float]


_STALLED_SECONDS = 3.0  # as in api/status.py: a shorter pause is that of a slow reader


class Requests:
    """The Backend of api/commands.py. started: Unix seconds at which cohabit started.

    describe(service, command) returns what a process of the service would start with. clock: knows when jobs are due.
    """

    def __init__(
        self,
        context: Context,
        engine: Supervisor,
        children: Children,
        output: Output,
        successor: Replacement,
        *,
        clock: Schedules,
        describe: Callable[[Service, tuple[str, ...]], SpawnSpec],
    ) -> None:
        self.engine = engine
        self._context = context
        self.started = time.time()
        self._successor = successor
        self._children = children
        self._output = output
        self._describe = describe
        self._clock = clock

    def ask(self, line: bytes, trusted: bool, resumed: bool) -> Outcome:
        """Run the request in this line. resumed: it was accepted before a re-execution. Raises RequestError."""
        clock = serialisers.Clock(time.time(), time.monotonic())
        request = protocol.parse(line)
        return commands.begin(commands.RequestContext(request, self, clock, trusted=trusted, resumed=resumed))

    def to_plain(self) -> float:
        """Return the state: when cohabit started."""
        return self.started

    def restore(self, plain: float) -> None:
        """Continue with the value of to_plain."""
        self.started = plain

    def replace(self) -> None:
        """Start the replacement of the running program."""
        self._successor.check()

    def replacing(self) -> str | None:
        """Return the state of the replacement, as in Backend."""
        return self._successor.why

    # --- details for commands ------------------------------------------------------------------------

    def container_details(self) -> dict[str, Any]:
        """Return `pid`, `started` (Unix seconds), `memory_limit` (bytes, None if there is none) and `programs`."""
        programs = tuple(
            ProgramStatus(name, key.partition("\0")[0], self._children.processes[key].pid)
            for key, name in self._context.side_processes.items()
            if key in self._children.processes
        )
        return {"pid": os.getpid(), "started": self.started, "memory_limit": memory_limit(), "programs": programs}

    def service_details(self, services: list[str], lines: int) -> dict[str, dict[str, Any]]:
        """Return, by service: `pids`, its processes that are our children; `next_run`; its last lines, or None."""
        pids: dict[str, list[int]] = {name: [] for name in services}
        trees = self._children.trees
        for pid, key in (*trees.leaders.items(), *trees.orphans.items()):
            name = key.partition("\0")[0]
            if name in pids:
                pids[name].append(pid)
        return {
            name: {
                "pids": tuple(pids[name]),
                "next_run": self._clock.next_due.get(name),
                **self._last_lines(name, lines),
            }
            for name in services
        }

    def _last_lines(self, service: str, lines: int) -> dict[str, tuple[str, ...] | None]:
        if not lines:
            return {"output": None, "output_before": None}
        last = self._output.last_lines(service, lines)
        before = self._output.recent_lines.last_lines(service, lines, runs_before=1)
        return {
            name: tuple(line.decode("utf-8", "backslashreplace") for line in found)
            for name, found in (("output", last), ("output_before", before))
        }

    def blocked_output(self, clock: Clock) -> dict[str, tuple[BlockedOutput, ...]]:
        """Return, by service, the output that its log destinations do not accept; nothing for the others."""
        found: dict[str, tuple[BlockedOutput, ...]] = {}
        for stream, destination, why in self._output.reader.stalled(_STALLED_SECONDS):
            since = clock.unix(stream.held_since)
            one = BlockedOutput(stream.origin.stream, destination, since, self._output.mask.hide_text(why))
            found[stream.service] = (*found.get(stream.service, ()), one)
        return found

    def environment_of(self, service: str) -> dict[str, Any]:
        """Return what a process of the service would start with, without the tracking variables. Raises KeyError."""
        unit = self.engine.units[service]
        spec = self._describe(unit.spec, unit.spec.command)
        for name in self._children.trees.variables(service):
            spec.environment.pop(name, None)
        user = unit.spec.user or Credentials(os.geteuid(), os.getegid(), tuple(os.getgroups()))
        return {
            "name": service,
            "command": list(unit.spec.command),
            "environment": spec.environment,
            "working_dir": spec.directory or os.getcwd(),
            "user": {name: _plain(getattr(user, name)) for name in user._fields},
            "secret_files": unit.spec.secret_files,
            "umask": unit.spec.limits.umask,
            "ambient": list(unit.spec.limits.ambient) if user.uid != 0 else [],
        }

    # --- streams -------------------------------------------------------------------------------------

    def backlog(self, subscription: Subscription) -> list[bytes]:
        """Return the records with which a stream begins, oldest first."""
        if subscription.kind == "events":
            clock = serialisers.Clock(time.time(), time.monotonic())
            names = set(subscription.services)
            units = [unit for unit in self.engine.units.values() if unit.name in names]
            recorded = serialisers.events(self.engine, units, clock, with_container=subscription.every)
            found = [event for event in recorded if (event.time or 0.0) >= subscription.since]
            if subscription.tail is not None:
                found = found[max(0, len(found) - subscription.tail) :]
            return [protocol.line(event) for event in found]
        sources = [*subscription.services, *(("cohabit",) if subscription.every else ())]
        pieces = [
            (moment, protocol.record(name, stream, moment, lines))
            for name in sources
            for moment, stream, lines in self._pieces(name, subscription)
        ]
        pieces.sort(key=lambda piece: piece[0])
        return [piece for _, piece in pieces]

    def _pieces(self, name: str, subscription: Subscription) -> list[Piece]:
        """The recorded output of a service, then its unfinished lines; for a follower, what is shown of those."""
        now, tail = time.time(), subscription.tail
        unfinished = self._output.unfinished(name, shown=subscription.follow)
        if tail is not None:
            unfinished = unfinished[max(0, len(unfinished) - tail) :]
            tail -= len(unfinished)
        pieces = self._output.recent_lines.records(name, tail, subscription.since)
        return [*pieces, *((now, stream, line) for stream, line in unfinished)]

    def follow(self, subscriptions: list[Subscription], publish: Callable[[str, str, bytes], None]) -> None:
        """Publish the output of these subscriptions from now on, and no other output."""

        def copy(service: str, stream: str, moment: float, lines: bytes) -> None:
            publish("logs", service, protocol.record(service, stream, moment, lines))

        if not subscriptions:
            self._output.router.follow(None)
        elif any(each.every for each in subscriptions):
            self._output.router.follow(copy)
        else:
            self._output.router.follow(copy, frozenset(name for each in subscriptions for name in each.services))

    def transitions(self) -> Iterator[tuple[str, bytes]]:
        """Yield service and record of each transition of the engine's last step."""
        clock = serialisers.Clock(time.time(), time.monotonic())
        for one in self.engine.services.transitions:
            yield one.service, protocol.line(serialisers.event(one.service, one.entry, clock))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

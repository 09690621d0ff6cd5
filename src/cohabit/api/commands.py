"""The commands of the control protocol: what each one requests of the engine, and when it is answered.

A command returns one of three outcomes. An Answer is sent at once. A PendingReply has events for the engine, and is
polled until it gives an answer: first after these events, then when a service that it concerns has had a transition
(conditions.py: affected). A Subscription opens a stream that lasts as long as the
client stays connected. The reactor carries the outcomes out (reactor/control/).
"""

from __future__ import annotations

from cohabit import __version__, control
from cohabit.api import serialisers
from cohabit.api.conditions import liveness, readiness, started, unreachable, whether_ended, whether_ready
from cohabit.api.protocol import Answer, RequestError
from cohabit.engine import requests
from cohabit.engine.container import LOADING, UP
from cohabit.engine.events import ReloadRequested, Requested, StopRequested
from cohabit.engine.machine import BACKOFF, STOPPED
from cohabit.errors import EXIT_NO_PERMISSION, EXIT_SYSTEM, EXIT_USAGE
from cohabit.nearest import did_you_mean
from cohabit.plan.reason_text import text_of
from cohabit.plan.record import Record
from cohabit.units import parse_replicas, parse_signal, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any, Protocol, TypeAlias

    from cohabit.api.protocol import Request
    from cohabit.api.serialisers import Clock
    from cohabit.api.status import BlockedOutput
    from cohabit.engine.events import Event
    from cohabit.engine.supervisor import Supervisor
    from cohabit.engine.unit import Unit

    class Backend(Protocol):
        """What the commands need of the reactor."""

        engine: Supervisor

        def container_details(self) -> dict[str, Any]:
            """Return what the engine does not know of the container: `pid`, `started`, `memory_limit`, `programs`."""

        def service_details(self, services: list[str], lines: int) -> dict[str, dict[str, Any]]:
            """Return, by service, `pids`, `next_run`, `output` and `output_before`: last lines, None if lines is 0."""

        def blocked_output(self, clock: Clock, /) -> dict[str, tuple[BlockedOutput, ...]]:
            """Return, by service, the output that its log destinations do not accept; nothing for the others."""

        def environment_of(self, service: str) -> dict[str, Any]:
            """Return what a process of the service would start with. Raises KeyError."""

        def replace(self) -> None:
            """Start to replace the running program with the installed one."""

        def replacing(self) -> str | None:
            """Return None while the installed program is being checked, "" if it takes over, else why it cannot."""

    Outcome: TypeAlias = "Answer | PendingReply | Subscription"

SIGKILL, SIGTERM = 9, 15
_LINES_MAX = 10_000
_NAMES_MAX = 10  # in an error message
# Commands of the command line that mean all services without names; supervisorctl has `all` for that.
_ALL_WITHOUT_NAMES = ("status", "logs", "events", "health", requests.START, requests.STOP, requests.RESTART)


class PendingReply(Record):
    """A reply that is sent later. events: for the engine, fed first; poll: returns None until there is an answer.

    services: those that it concerns, () for the container only, None for all services.
    """

    events: tuple[Event, ...]
    services: tuple[str, ...] | None
    poll: Callable[[], Answer | None]


class Subscription(Record):
    """A stream. kind: "events" or "logs"; services: the instances; tail: lines or events at most, None for all.

    every: no service was named, so the stream also has the container's own records and those of later services.
    since: Unix seconds; follow: the stream goes on with new records.
    """

    kind: str
    services: tuple[str, ...]
    every: bool
    tail: int | None
    since: float
    follow: bool


class RequestContext:
    """One request, with all that is needed to answer it.

    trusted: the client is root or the user of process 1. resumed: the request was accepted before a re-execution, so
    its events have been fed to the engine already.
    """

    def __init__(
        self, request: Request, backend: Backend, clock: Clock, *, trusted: bool, resumed: bool = False
    ) -> None:
        self.request = request
        self.backend = backend
        self.engine = backend.engine
        self.clock = clock
        self.trusted = trusted
        self.resumed = resumed

    def option(self, name: str, allowed: tuple[str, ...]) -> str:
        """Return the value of an option, by default the first one allowed. Raises RequestError."""
        value = self.request.options.get(name, allowed[0])
        if value not in allowed:
            hint = did_you_mean(value, allowed) or f" (allowed: {', '.join(allowed)})"
            raise self.error(f"unknown value {name}={value}{hint}")
        return value

    def number(self, name: str, default: float | None) -> float | None:
        """Return the value of a numeric option, 0 or more. Raises RequestError."""
        text = self.request.options.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise self.error(f"{name}={text} is not a non-negative number")
        return value

    def units(self, *, all_if_none: bool) -> list[Unit]:
        """Return the named services with all their replicas. Raises RequestError."""
        # A name that is given a thousand times must not cost more than one that is given once.
        units, names = self.engine.units, dict.fromkeys(self.request.names)
        if not names:
            if not all_if_none:
                raise self.error("no service is named")
            return list(units.values())
        if self.engine.phase == LOADING:
            raise self.error("the file is still being read", 1, control.LOADING)
        found: dict[str, Unit] = {}
        for name in names:
            matching = [unit for unit in units.values() if name in (unit.name, unit.spec.service)]
            if not matching and self.engine.reading.scale.get(name) == 0:
                raise self.error(f"{name} is scaled to 0 (cohabit scale {name}=1)", 1, control.NOT_RUNNING)
            if not matching:
                known = {unit.spec.service or unit.name for unit in units.values()} | set(units)
                hint = did_you_mean(name, known) or _list_names(sorted(known))
                if name == "all" and self.request.command in _ALL_WITHOUT_NAMES:
                    hint = " (for all services: leave it out)"
                raise self.error(f"there is no service {name!r}{hint}", error=control.UNKNOWN_SERVICE)
            found.update({unit.name: unit for unit in matching})
        return list(found.values())

    def error(self, why: str, code: int = EXIT_USAGE, error: str = "") -> RequestError:
        """Return the error "cannot COMMAND: why"; code is its exit code, error its error code."""
        return RequestError(f"cannot {self.request.command}: {why}", code, error)


def _list_names(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else ""
    return f" (there are: {', '.join(names[:_NAMES_MAX])}{more})"


def begin(context: RequestContext) -> Outcome:
    """Run the command of a request. Raises RequestError."""
    command = COMMANDS.get(context.request.command)
    if command is None:
        hint = did_you_mean(context.request.command, COMMANDS)
        raise context.error(f"there is no such command{hint}", error=control.UNKNOWN_COMMAND)
    return command(context)


# --- queries -------------------------------------------------------------------------------------------


def _version(context: RequestContext) -> Answer:
    pid = context.backend.container_details()["pid"]
    return Answer(0, f"cohabit {__version__}", ({"version": __version__, "protocol": control.VERSION, "pid": pid},))


def _status(context: RequestContext) -> Answer:
    units = _by_service(context.units(all_if_none=True))
    lines = int(context.number("output", 0) or 0)
    engine, clock = context.engine, context.clock
    blocked = context.backend.blocked_output(clock)
    ready = readiness(engine, list(engine.units.values()), blocked, clock.now, named=False)
    around = context.backend.container_details()
    container = serialisers.container(
        engine, clock, ready=ready.code == 0, version=__version__, protocol=control.VERSION, **around
    )
    details = context.backend.service_details([unit.name for unit in units], min(lines, _LINES_MAX))
    services = (
        serialisers.service(engine, unit, clock, blocked_output=blocked.get(unit.name, ()), **details[unit.name])
        for unit in units
    )
    return Answer(0, "", (container, *services))


def _by_service(units: list[Unit]) -> list[Unit]:
    """The units in their order; instances that were added later stand with their service."""
    first: dict[str, int] = {}
    for index, unit in enumerate(units):
        first.setdefault(unit.spec.service or unit.name, index)
    return sorted(units, key=lambda unit: (first[unit.spec.service or unit.name], unit.spec.replica))


def _health(context: RequestContext) -> Answer:
    purpose = context.option("for", ("ready", "live"))
    named = bool(context.request.names)
    units = context.units(all_if_none=True)
    if purpose == "live":
        return liveness(context.engine, units)
    clock = context.clock
    return readiness(context.engine, units, context.backend.blocked_output(clock), clock.now, named=named)


def _service(context: RequestContext) -> Answer:
    if not context.trusted:
        text = "cannot exec: only root and the user of cohabit may read the environment of a service"
        raise RequestError(text, EXIT_NO_PERMISSION)
    units = context.units(all_if_none=False)
    if len(units) != 1:
        raise context.error(f"more than one instance is named (name one of {', '.join(unit.name for unit in units)})")
    return Answer(0, "", (context.backend.environment_of(units[0].name),))


# --- changes -------------------------------------------------------------------------------------------


def _act(context: RequestContext) -> Outcome:
    """For start, stop and restart."""
    action = context.request.command
    if action == requests.START and (inactive := _inactive(context)):
        return _start_inactive(context, inactive)
    units = context.units(all_if_none=False)
    _must_be_up(context)
    names = tuple(unit.name for unit in units)
    if action == requests.START and (paused := [unit.name for unit in units if unit.paused]):
        have = f"{', '.join(paused)} {'is' if len(paused) == 1 else 'are'} paused"
        raise context.error(f"{have} (to continue: cohabit unpause {' '.join(paused)})", 1, control.FAILED)
    grace = None if action == requests.START else context.number("grace", None)
    events = (Requested(action, names, grace_seconds=grace),)
    if context.option("wait", ("yes", "no")) == "no":
        return PendingReply(events, names, lambda: Answer(0, f"{action} requested: {', '.join(names)}"))
    if action != requests.STOP:
        return PendingReply(events, names, lambda: started(context.engine, names))
    dead = () if context.resumed else tuple(unit.name for unit in units if unit.at_rest)
    return PendingReply(events, names, lambda: whether_ended(context.engine, names, dead=dead))


def _matching(context: RequestContext) -> list[str]:
    names = set(context.request.names)
    return [unit.name for unit in context.engine.units.values() if names & {unit.name, unit.spec.service}]


def _inactive(context: RequestContext) -> dict[str, int | None]:
    """The named services that take part from now on: {} if there are none, or if another is unknown.

    They are in the file, and do not take part yet, or only because another one depends on them.
    """
    plan, units = context.engine.plan, context.engine.units.values()
    joined = plan.joined if plan is not None else ()
    known = {name for unit in units for name in (unit.name, unit.spec.service)}.difference(joined)
    missing: dict[str, int | None] = {name: None for name in context.request.names if name not in known}
    return missing if plan is not None and missing.keys() <= {*plan.inactive, *joined} else {}


def _start_inactive(context: RequestContext, inactive: dict[str, int | None]) -> PendingReply:
    """Start services that do not take part yet, by a reload with them, and the other named ones."""
    reload = _reload_with(context, inactive)
    events = (Requested(requests.START, tuple(_matching(context))), *reload.events)

    def poll() -> Answer | None:
        answer = reload.poll()
        if answer is None or answer.code:
            return answer
        names = tuple(_matching(context))
        if context.option("wait", ("yes", "no")) == "no":
            return Answer(0, f"start requested: {', '.join(names)}")
        return started(context.engine, names)

    return PendingReply(events, None, poll)


def _kill(context: RequestContext) -> Outcome:
    units = context.units(all_if_none=False)
    _must_be_up(context)
    number = _signal(context, "KILL")
    names = tuple(unit.name for unit in units)
    if number == SIGKILL and context.option("only", ("all", "main")) == "all":
        if not context.resumed:
            names = tuple(unit.name for unit in units if _may_run(unit))
        if not names:
            dead = ", ".join(unit.name for unit in units)
            raise context.error(f"{dead} {'is' if len(units) == 1 else 'are'} not running", 1, control.NOT_RUNNING)
        return PendingReply((Requested(requests.KILL, names),), names, lambda: whether_ended(context.engine, names))
    alive = [unit.name for unit in units if unit.run.main_alive]
    if not alive and not context.resumed:
        have = "has" if len(names) == 1 else "have"
        raise context.error(f"{', '.join(names)} {have} no main process", 1, control.NOT_RUNNING)

    def poll() -> Answer:
        return _refusals(context, alive) or Answer(0, f"{signal_name(number)} sent to {', '.join(alive)}")

    return PendingReply((Requested(requests.SIGNAL, names, number),), names, poll)


def _pause(context: RequestContext) -> Outcome:
    """For pause and unpause."""
    action = context.request.command
    units = context.units(all_if_none=False)
    _must_be_up(context)
    names = tuple(unit.name for unit in units)
    if not context.resumed:
        for unit in units:
            if action == requests.PAUSE and (unit.paused or not unit.command_runs):
                what = "is paused already" if unit.paused else "is not running"
                raise context.error(f"{unit.name} {what}", 1, control.FAILED if unit.paused else control.NOT_RUNNING)
            if action == requests.UNPAUSE and not unit.paused:
                raise context.error(f"{unit.name} is not paused", 1, control.FAILED)

    def poll() -> Answer:
        done = "paused" if action == requests.PAUSE else "unpaused"
        return _refusals(context, names) or Answer(0, f"{done}: {', '.join(names)}")

    return PendingReply((Requested(action, names),), names, poll)


def _refusals(context: RequestContext, names: Collection[str]) -> Answer | None:
    """The answer if the kernel did not permit a signal to one of these services."""
    units = [context.engine.units[name] for name in names if name in context.engine.units]
    refused = [f"{unit.name}: {text_of(unit.signal_refused)}" for unit in units if unit.signal_refused]
    return Answer(1, "; ".join(refused)) if refused else None


def _may_run(unit: Unit) -> bool:
    """Whether it runs, or starts without a further request."""
    return not unit.at_rest or unit.state == BACKOFF or (unit.desired and unit.state == STOPPED)


def _signal(context: RequestContext, default: str) -> int:
    try:
        return parse_signal(context.request.options.get("signal", default))
    except ValueError as error:
        raise context.error(str(error)) from None


def _scale(context: RequestContext) -> Outcome:
    numbers: dict[str, int | None] = {}
    for name, text in context.request.options.items():
        try:
            numbers[name] = parse_replicas(text)
        except ValueError as error:
            raise context.error(f"{name}={text}: {error} (write {name}=3)") from None
    if not numbers:
        raise context.error("no service is named (write web=3)")
    return _reload_with(context, numbers)


def _reload(context: RequestContext) -> Outcome:
    return _reload_with(context, {})


def _reload_with(context: RequestContext, scale: dict[str, int | None]) -> PendingReply:
    _must_be_up(context)
    engine = context.engine
    # A reading in progress may have begun before the file changed, so the one after it is awaited. After a re-execution
    # the reading in progress is the requested one.
    until = engine.reading.count + int(engine.reading.in_progress) + int(not context.resumed)
    before = {unit.name for unit in engine.units.values() if unit.unreachable}

    def poll() -> Answer | None:
        if engine.phase != UP:
            text = f"cannot {context.request.command}: everything is being stopped"
            return Answer(1, text, error=control.STOPPING)
        if engine.reading.count < until:
            return None
        lines = engine.reading.messages
        body = tuple({"text": text} for text in lines)
        if not engine.reading.code:
            refused = [unit for name, unit in engine.units.items() if unit.unreachable and name not in before]
            return unreachable(refused).replace(body=body) if refused else Answer(0, "done", body)
        why = lines[0] if len(lines) == 1 else f"{len(lines)} problems"
        return Answer(engine.reading.code, f"cannot {context.request.command}: {why} (nothing was changed)", body)

    return PendingReply((ReloadRequested(scale),), (), poll)


def _reexec(context: RequestContext) -> Outcome:
    if context.resumed:
        return Answer(0, "re-executed")
    context.backend.replace()

    def poll() -> Answer | None:
        why = context.backend.replacing()
        if why is None:
            return None
        return Answer(EXIT_SYSTEM, why) if why else Answer(0, "the installed program takes over")

    return PendingReply((), (), poll)


def _down(context: RequestContext) -> Outcome:
    if context.engine.phase not in (UP, LOADING):
        return Answer(0, "everything is being stopped already")
    stop = StopRequested(SIGTERM, "cohabit down", context.number("grace", None))
    # A client inside the container is ended by the stop, so it has to get its exit code before.
    return Answer(0, "stopping everything", after_close=(stop,))


def _wait(context: RequestContext) -> Outcome:
    engine = context.engine
    named = tuple(unit.name for unit in context.units(all_if_none=True)) if context.request.names else ()
    if context.option("for", ("ready", "exit")) == "exit":
        return PendingReply(
            (), named or None, lambda: whether_ended(engine, named or tuple(engine.units), by_itself=True)
        )
    # Without names, services that were stopped by request or wait for their schedule are not awaited.
    return PendingReply(
        (),
        named or None,
        lambda: whether_ready(engine, named or [name for name, unit in engine.units.items() if unit.desired]),
    )


def _must_be_up(context: RequestContext) -> None:
    """Raise RequestError while the file is being read and once the stop has begun."""
    if context.resumed:
        return
    if context.engine.phase == LOADING:
        raise context.error("the file is still being read", 1, control.LOADING)
    if context.engine.phase != UP:
        raise context.error("everything is being stopped", 1, control.STOPPING)


# --- streams -------------------------------------------------------------------------------------------


def _subscribe(context: RequestContext) -> Outcome:
    """For events and logs."""
    own = context.request.command == "logs" and context.request.names == ("cohabit",)
    units = [] if own else context.units(all_if_none=True)
    tail = context.number("tail", None)
    return Subscription(
        context.request.command,
        ("cohabit",) if own else tuple(unit.name for unit in units),
        not context.request.names,
        None if tail is None else int(tail),
        context.number("since", 0.0) or 0.0,
        context.option("follow", ("no", "yes")) == "yes",
    )


COMMANDS: dict[str, Callable[[RequestContext], Outcome]] = {
    "version": _version,
    "status": _status,
    "health": _health,
    "service": _service,
    "start": _act,
    "stop": _act,
    "restart": _act,
    "kill": _kill,
    "pause": _pause,
    "unpause": _pause,
    "scale": _scale,
    "reload": _reload,
    "reexec": _reexec,
    "down": _down,
    "wait": _wait,
    "events": _subscribe,
    "logs": _subscribe,
}

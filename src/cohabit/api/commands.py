"""The verbs: what a request asks of the engine, and when it is answered.

A verb looks and answers at once (Answer), or hands facts to the engine and waits for what becomes of them (Waiting), or
opens a stream that goes on for as long as somebody listens (Following). Here is what they mean; the reactor carries
out: it feeds the facts, asks a Waiting again after each step of the engine, and keeps the streams.
"""

from __future__ import annotations

from cohabit import __version__
from cohabit.api import serialisers
from cohabit.api.conditions import alive, started, well, whether_ended, whether_ready
from cohabit.api.protocol import VERSION, Answer, RequestError
from cohabit.engine import requests
from cohabit.engine.events import ReloadRequested, Requested, StopRequested
from cohabit.engine.supervisor import LOADING, UP
from cohabit.errors import EXIT_NO_PERMISSION, EXIT_SYSTEM
from cohabit.plan.nearest import did_you_mean
from cohabit.plan.record import Record
from cohabit.units import parse_signal, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeAlias

    from cohabit.api.protocol import Request
    from cohabit.api.serialisers import Clock
    from cohabit.engine.events import Event
    from cohabit.engine.supervisor import Supervisor
    from cohabit.engine.unit import Unit

    class Backend(Protocol):
        """What is asked of whoever holds the engine."""

        engine: Supervisor

        def facts_of_us(self) -> dict[str, Any]:
            """Our pid, when we started, the memory limit: what is the container's and the engine does not know."""

        def facts_of(self, services: list[str], lines: int) -> dict[str, dict[str, Any]]:
            """By service: its processes, and its last lines if there shall be any."""

        def environment_of(self, service: str) -> dict[str, Any]:
            """What a process of the service would find. Raises KeyError."""

        def replace(self) -> None:
            """Have our program replaced."""

        def replacing(self) -> str | None:
            """None while the successor is being checked; "" when it is to take over, else why it cannot."""

    Outcome: TypeAlias = "Answer | PendingReply | Subscription"

SIGKILL, SIGTERM = 9, 15
_MOST_LINES = 10_000
_MOST_NAMES = 10  # in an error


class PendingReply(Record):
    """facts: for the engine, first. done(): the answer, None as long as there is none."""

    facts: tuple[Event, ...]
    done: Callable[[], Answer | None]


class Subscription(Record):
    """A stream. kind: "events" or "logs"; services: whose; tail: most lines of each, None for all that is remembered.

    since: Unix seconds; on: whether it goes on with what comes.
    """

    kind: str
    services: tuple[str, ...]
    every: bool
    tail: int | None
    since: float
    on: bool


class RequestContext:
    """One request, with all that is needed to answer it.

    trusted: from root or our own user. again: its facts are with the engine already, and a re-execution came between.
    """

    def __init__(self, request: Request, house: Backend, clock: Clock, *, trusted: bool, again: bool = False) -> None:
        self.request = request
        self.house = house
        self.engine = house.engine
        self.clock = clock
        self.trusted = trusted
        self.resumed = again

    def option(self, name: str, allowed: tuple[str, ...]) -> str:
        """The value of an option, the first one allowed if it is not given. Raises RequestError."""
        value = self.request.options.get(name, allowed[0])
        if value not in allowed:
            raise self.wrong(f"{name}={value} is unknown{did_you_mean(value, allowed)}")
        return value

    def number(self, name: str, default: float | None) -> float | None:
        """The value of an option that is a number. Raises RequestError."""
        text = self.request.options.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise self.wrong(f"{name}={text} is no number from 0 on")
        return value

    def units(self, *, all_if_none: bool) -> list[Unit]:
        """The services that are named, with all their replicas. Raises RequestError."""
        # One name a thousand times is no more work than once.
        units, names = self.engine.units, dict.fromkeys(self.request.names)
        if not names:
            if not all_if_none:
                raise self.wrong("no service is named")
            return list(units.values())
        if self.engine.phase == LOADING:
            raise RequestError(f"cannot {self.request.verb}: the file is still being read", 1)
        found: dict[str, Unit] = {}
        for name in names:
            matching = [unit for unit in units.values() if name in (unit.name, unit.service.service)]
            if not matching and self.engine.scale.get(name) == 0:
                raise RequestError(f"cannot {self.request.verb}: {name} is scaled to 0 (cohabit scale {name}=1)", 1)
            if not matching:
                known = {unit.service.service or unit.name for unit in units.values()} | set(units)
                there = did_you_mean(name, known) or _there_are(sorted(known))
                raise self.wrong(f"there is no service {name!r}{there}")
            found.update({unit.name: unit for unit in matching})
        return list(found.values())

    def wrong(self, why: str) -> RequestError:
        """What is wrong with the request."""
        return RequestError(f"cannot {self.request.verb}: {why}")


def _there_are(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f" (there are: {', '.join(names[:_MOST_NAMES])}{more})"


def begin(asked: RequestContext) -> Outcome:
    """What is to be done for a request. Raises RequestError."""
    verb = COMMANDS.get(asked.request.verb)
    if verb is None:
        near = did_you_mean(asked.request.verb, COMMANDS)
        raise RequestError(f"cannot {asked.request.verb}: there is no such request{near}")
    return verb(asked)


# --- looking -------------------------------------------------------------------------------------------


def _version(asked: RequestContext) -> Answer:
    pid = asked.house.facts_of_us()["pid"]
    return Answer(0, f"cohabit {__version__}", ({"version": __version__, "protocol": VERSION, "pid": pid},))


def _status(asked: RequestContext) -> Answer:
    units = asked.units(all_if_none=True)
    lines = int(asked.number("output", 0) or 0)
    us = {"version": __version__, "protocol": VERSION, **asked.house.facts_of_us()}
    ready = well(asked.engine, list(asked.engine.units.values()), named=False)
    body = [us | serialisers.container(asked.engine, asked.clock) | {"ready": ready.code == 0}]
    more = asked.house.facts_of([unit.name for unit in units], min(lines, _MOST_LINES))
    body += [serialisers.service(asked.engine, unit, asked.clock) | more[unit.name] for unit in units]
    return Answer(0, "", tuple(body))


def _health(asked: RequestContext) -> Answer:
    purpose = asked.option("for", ("ready", "live"))
    named = bool(asked.request.names)
    units = asked.units(all_if_none=True)
    if purpose == "live":
        return alive(asked.engine, units)
    return well(asked.engine, units, named=named)


def _service(asked: RequestContext) -> Answer:
    if not asked.trusted:
        text = "cannot exec: what is in a service's environment is for root and our own user only"
        raise RequestError(text, EXIT_NO_PERMISSION)
    units = asked.units(all_if_none=False)
    if len(units) != 1:
        names = ", ".join(unit.name for unit in units)
        raise asked.wrong(f"there are several of it: name one of {names}")
    return Answer(0, "", (asked.house.environment_of(units[0].name),))


# --- acting --------------------------------------------------------------------------------------------


def _act(asked: RequestContext) -> Outcome:
    """start, stop and restart."""
    action = asked.request.verb
    units = asked.units(all_if_none=False)
    _must_be_up(asked)
    names = tuple(unit.name for unit in units)
    facts = (Requested(action, names),)
    if asked.option("wait", ("yes", "no")) == "no":
        return PendingReply(facts, lambda: Answer(0, f"{action} asked for: {', '.join(names)}"))
    judge = whether_ended if action == requests.STOP else started
    return PendingReply(facts, lambda: judge(asked.engine, names))


def _kill(asked: RequestContext) -> Outcome:
    units = asked.units(all_if_none=False)
    _must_be_up(asked)
    number = _signal(asked, "KILL")
    names = tuple(unit.name for unit in units)
    if number == SIGKILL:
        return PendingReply((Requested(requests.KILL, names),), lambda: whether_ended(asked.engine, names))
    idle = [unit.name for unit in units if not unit.main_alive]
    if len(idle) == len(units) and not asked.resumed:
        raise RequestError(f"cannot {asked.request.verb}: {', '.join(idle)} has no process now", 1)
    told = ", ".join(name for name in names if name not in idle)
    fact = Requested(requests.SIGNAL, names, number)
    return PendingReply((fact,), lambda: Answer(0, f"{signal_name(number)} sent to {told}"))


def _signal(asked: RequestContext, default: str) -> int:
    try:
        return parse_signal(asked.request.options.get("signal", default))
    except ValueError as error:
        raise asked.wrong(str(error)) from None


def _scale(asked: RequestContext) -> Outcome:
    numbers: dict[str, int] = {}
    for name, text in asked.request.options.items():
        if not text.isdecimal() or len(text) > 6:  # noqa: PLR2004 - more than anybody can run
            raise asked.wrong(f"{name}={text}: {text!r} is no number of replicas (write {name}=3)")
        numbers[name] = int(text)
    if not numbers:
        raise asked.wrong("no service is named (write web=3)")
    return _read_again(asked, numbers)


def _reload(asked: RequestContext) -> Outcome:
    return _read_again(asked, {})


def _read_again(asked: RequestContext, scale: dict[str, int]) -> Outcome:
    _must_be_up(asked)
    engine = asked.engine
    # What is being read now may have been read too early; after a re-execution only one thing can be meant.
    until = engine.reads + (int(engine.reading) if asked.resumed else 1 + int(engine.reading))

    def done() -> Answer | None:
        if engine.phase != UP:
            return Answer(1, f"cannot {asked.request.verb}: everything is being stopped")
        if engine.reads < until:
            return None
        told = engine.read_told
        body = tuple({"text": text} for text in told)
        if not engine.read_code:
            return Answer(0, "done", body)
        why = told[0] if len(told) == 1 else f"{len(told)} problems"
        return Answer(engine.read_code, f"cannot {asked.request.verb}: {why} (nothing was changed)", body)

    return PendingReply((ReloadRequested(scale),), done)


def _reexec(asked: RequestContext) -> Outcome:
    if asked.resumed:
        return Answer(0, "re-executed")
    asked.house.replace()

    def done() -> Answer | None:
        why = asked.house.replacing()
        if why is None:
            return None
        return Answer(EXIT_SYSTEM, why) if why else Answer(0, "the program that is installed now takes over")

    return PendingReply((), done)


def _down(asked: RequestContext) -> Outcome:
    if asked.engine.phase not in (UP, LOADING):
        return Answer(0, "everything is being stopped already")
    # A client inside the container ends with it: its exit code is to come before.
    return Answer(0, "stopping everything", then=(StopRequested(SIGTERM, "cohabit down"),))


def _wait(asked: RequestContext) -> Outcome:
    engine = asked.engine
    named = tuple(unit.name for unit in asked.units(all_if_none=True)) if asked.request.names else ()
    if asked.option("for", ("ready", "exit")) == "exit":
        return PendingReply((), lambda: whether_ended(engine, named or tuple(engine.units), by_itself=True))
    # Of all, whoever is down, by request or until his time comes, is not waited for.
    return PendingReply(
        (), lambda: whether_ready(engine, named or [name for name, unit in engine.units.items() if unit.want_up])
    )


def _must_be_up(asked: RequestContext) -> None:
    """Nothing is asked of a house that is not, or not any more. Raises RequestError."""
    if asked.resumed:
        return
    if asked.engine.phase == LOADING:
        raise RequestError(f"cannot {asked.request.verb}: the file is still being read", 1)
    if asked.engine.phase != UP:
        raise RequestError(f"cannot {asked.request.verb}: everything is being stopped", 1)


# --- listening -----------------------------------------------------------------------------------------


def _follow(asked: RequestContext) -> Outcome:
    """For `events` and `logs`."""
    own = asked.request.verb == "logs" and asked.request.names == ("cohabit",)
    units = [] if own else asked.units(all_if_none=True)
    tail = asked.number("tail", None)
    return Subscription(
        asked.request.verb,
        ("cohabit",) if own else tuple(unit.name for unit in units),
        not asked.request.names,
        None if tail is None else int(tail),
        asked.number("since", 0.0) or 0.0,
        asked.option("follow", ("no", "yes")) == "yes",
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
    "scale": _scale,
    "reload": _reload,
    "reexec": _reexec,
    "down": _down,
    "wait": _wait,
    "events": _follow,
    "logs": _follow,
}

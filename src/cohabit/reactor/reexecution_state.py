"""What process 1 hands to its next program, or to its next loop: written down as plain values, and taken over again.

The fact or the effect that was being dealt with is still in its queue; it is tried again, unless it was dealt with
after all. When it has failed again, it is dropped, and the engine gets an event for what is missing then. How a
re-execution is done, and what leads to one, is handover.py's.
"""

from __future__ import annotations

from cohabit.engine import effects, events, machine
from cohabit.engine.supervisor import DONE, LOADING, UP
from cohabit.errors import EXIT_BUG, EXIT_SYSTEM
from cohabit.plan.model import PRE_START
from cohabit.plan.record import from_plain, to_plain
from cohabit.reactor.linux import os
from cohabit.reactor.loop import STATE_VERSION, Loop
from cohabit.reactor.processes.children import HOOK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.reactor.health.log_match import LogMatches
    from cohabit.reactor.logs.multiline_assembler import MultilineAssembler

SECOND = 2  # internal error within a minute: what met it is dropped, and everything stops in order
_SHORTAGES = 3  # so often a fact or an effect is tried that the machine has no room for
# What writes itself down, and is restored in this order; the children come last.
_PARTS = ("output", "joiners", "sockets", "notify", "notification_fds", "log_matches", "clock")


def write_down(loop: Loop) -> dict[str, Any]:
    """Everything that the next one needs. All signals must be blocked: those that have come are pending again then."""
    for number in loop.arrived():
        os.kill(os.getpid(), number)
    wanted = loop.engine.wanted if loop.stepping else loop.effects
    return {
        "version": STATE_VERSION,
        "asked": loop.replace,
        "stopping": loop.engine.phase not in (LOADING, UP)
        or any(isinstance(fact, events.StopRequested) for fact in loop.facts),
        "checking": loop.successor is None,
        "mask": sorted(loop.given.mask),
        "ignored": sorted(loop.given.ignored),
        "request": loop.request,
        "quiet": loop.quiet,
        "wake_up": loop.wake_up,
        "descriptors": descriptors(loop),
        "errors_at": loop.errors_at,
        "shortages_at": loop.shortages_at,
        "facts": to_plain(loop.facts),
        "effects": to_plain([*wanted, *loop.starts.refused()]),
        "stepping": loop.stepping,
        "plan": to_plain(loop.engine.plan),
        "engine": loop.engine.to_plain(),
        "limits": loop.starts.limits,
        "children": loop.children.to_plain(),
        "control": loop.control.to_plain(),
        "started": loop.requests.started,
        **{name: getattr(loop, name).to_plain() for name in _PARTS},
    }


def descriptors(loop: Loop) -> list[int]:
    """What must stay open across the exec."""
    watched = (loop.notify, loop.notification_fds, loop.log_matches)
    parts = (loop.output, loop.joiners, loop.children, *watched, loop.control)
    kept = [fd for part in parts for fd in part.descriptors()] + loop.sockets.inheritable()
    return [*kept, *loop.wake_up]


def restore(loop: Loop, plain: dict[str, Any]) -> None:
    """Have a new loop go on where `write_down` was called."""
    loop.errors_at, loop.shortages_at = plain["errors_at"], plain["shortages_at"]
    loop.facts.extend(from_plain(plain["facts"]))
    loop.effects.extend(from_plain(plain["effects"]))
    loop.engine.restore(from_plain(plain["plan"]), plain["engine"])
    loop.starts.limits = plain["limits"]
    loop.starts.hides = loop.engine.plan is not None and loop.engine.plan.mask
    for name in _PARTS:
        getattr(loop, name).restore(plain[name])
    tasks = loop.output.destinations.tasks() | _ended(loop.joiners) | _ended(loop.log_matches)
    loop.children.restore(plain["children"], tasks)
    services = {name: unit.service for name, unit in loop.engine.units.items()}
    loop.children.attach_services(services, loop.starts.describe)
    if loop.engine.plan is not None and loop.engine.phase == UP:
        loop.set_schedules(loop.engine.plan)
    _drop_what_failed(loop, stepping=plain["stepping"])
    if loop.engine.reading and loop.engine.phase in (LOADING, UP) and not _will_be_read(loop):
        loop.loader.start(loop.request, loop.engine.scale)
    _reconcile(loop)
    loop.requests.started = plain["started"]
    loop.control.restore(plain["control"])
    loop.opening.resume()
    if len(loop.errors_at) >= SECOND:
        loop.facts.insert(0, events.Broken("internal errors keep coming (see above): stopping everything"))


def _will_be_read(loop: Loop) -> bool:
    """Whether the file's reading is to begin by itself, or its outcome is there."""
    begins = any(isinstance(effect, effects.Load) for effect in loop.effects)
    return begins or any(isinstance(fact, (events.Loaded, events.LoadFailed)) for fact in loop.facts)


def _ended(part: MultilineAssembler | LogMatches) -> dict[str, Callable[[int, str], None]]:
    """For each side program that is still running: the callback for its end."""

    def of(key: str) -> Callable[[int, str], None]:
        return lambda code, why: part.ended(key, code, why)

    return {key: of(key) for key in part.tasks()}


def _drop_what_failed(loop: Loop, *, stepping: bool) -> None:
    """The fact or the effect that met the error, if it was dealt with all the same or is to blame."""
    again = len(loop.errors_at) >= SECOND or len(loop.shortages_at) >= _SHORTAGES
    if stepping:
        if again or not _is_news(loop, loop.facts[0]):
            del loop.facts[0]
    elif loop.effects and (again or not _is_to_do(loop, loop.effects[0])):
        del loop.effects[0]


def _is_news(loop: Loop, fact: Event) -> bool:
    """Whether the engine has still to hear of it."""
    unit = loop.engine.units.get(getattr(fact, "service", ""))
    match fact:
        case events.StopRequested():
            return not loop.engine.requested
        case _ if unit is None:
            return not hasattr(fact, "service")
        case events.Spawned():
            return unit.state != machine.RUNNING
        case events.SpawnFailed():
            return not unit.at_rest
        case events.Exited():
            return unit.main_alive or unit.state == machine.RUNNING
        case events.TreeGone():
            return unit.state == machine.STOPPING
        case events.HookEnded():
            return unit.hook_stage != ""
        case events.Loaded() | events.LoadFailed():
            return loop.engine.reading
    return True


def _is_to_do(loop: Loop, effect: Effect) -> bool:
    """Whether carrying it out once more does no harm."""
    match effect:
        case effects.Spawn(service):
            return service.name not in loop.children.processes  # never two of one
        case effects.RunHook(service):
            return service.name + HOOK not in loop.children.processes
        case effects.Report():
            return False
    return True


def _reconcile(loop: Loop) -> None:
    """A service that should have a process and has none was lost with the error: say so to the engine."""
    spoken_of = {getattr(fact, "service", None) for fact in loop.facts}
    starting = (effects.Spawn, effects.RunHook)
    spoken_of |= {effect.service.name for effect in loop.effects if isinstance(effect, starting)}
    if loop.engine.phase == DONE and not any(isinstance(effect, effects.Exit) for effect in loop.effects):
        loop.effects.append(effects.Exit(EXIT_BUG, "an internal error at the very end"))
    for name, unit in loop.engine.units.items():
        if unit.at_rest or name in spoken_of or loop.children.knows(name):
            continue
        if unit.hook_stage == PRE_START and unit.state in (machine.STARTING, machine.STOPPING):
            loop.facts.append(events.HookEnded(name, EXIT_SYSTEM, "was lost in an internal error"))
        elif unit.state == machine.STARTING:
            loop.facts.append(events.SpawnFailed(name, "an internal error came in between", EXIT_SYSTEM))
        elif unit.state == machine.RUNNING or unit.main_alive:
            loop.facts.append(events.Exited(name, EXIT_SYSTEM))
        else:
            loop.facts.append(events.TreeGone(name))

"""The state that crosses a re-execution: converted to plain values, and restored from them.

The event or effect that was being processed is still in its queue. It is processed again, unless it had been processed
already. If it fails again, it is dropped, and the engine gets an event for the missing outcome. reexecution.py decides
when and how a re-execution takes place.
"""

from __future__ import annotations

from cohabit.engine import effects, events
from cohabit.engine.container import DONE, LOADING, UP
from cohabit.engine.recovery import is_pending, lost_outcome
from cohabit.errors import EXIT_BUG
from cohabit.plan.reason import INTERNAL_ERROR, Reason
from cohabit.plan.record import from_plain, to_plain
from cohabit.reactor.crossing import Crossing
from cohabit.reactor.linux import os
from cohabit.reactor.processes.started import HOOK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.engine.effects import Effect
    from cohabit.reactor.loop import Loop

SECOND = 2  # internal error within a minute: its event or effect is dropped, and everything stops in order
_SHORTAGES = 3  # attempts to process an event or effect during a shortage


def table(loop: Loop) -> tuple[Crossing, ...]:
    """What crosses, in the order of loading. What comes after the children needs the engine to agree with them."""
    parts = loop.parts
    output, multiline, probes = parts.output, parts.output.router.multiline, parts.passive_probes
    return (
        Crossing("loop", lambda: _save_loop(loop), lambda plain: _load_loop(loop, plain)),
        Crossing("engine", lambda: _save_engine(loop), lambda plain: _load_engine(loop, plain)),
        Crossing("launcher", parts.launcher.to_plain, parts.launcher.restore),
        Crossing(
            "output",
            output.to_plain,
            output.restore,
            descriptors=output.descriptors,
            tasks=output.tasks,
        ),
        Crossing(
            "multiline",
            multiline.to_plain,
            multiline.restore,
            descriptors=multiline.descriptors,
            tasks=multiline.tasks,
        ),
        Crossing("sockets", parts.sockets.to_plain, parts.sockets.restore, descriptors=parts.sockets.inheritable),
        Crossing(
            "passive_probes",
            probes.to_plain,
            probes.restore,
            descriptors=probes.descriptors,
            tasks=probes.log_matches.tasks,
        ),
        Crossing("clock", parts.clock.to_plain, parts.clock.restore),
        Crossing(
            "children",
            parts.children.to_plain,
            lambda plain: _load_children(loop, plain),
            descriptors=parts.children.descriptors,
        ),
        Crossing("requests", parts.requests.to_plain, parts.requests.restore),
        Crossing("control", parts.control.to_plain, parts.control.restore, descriptors=parts.control.descriptors),
    )


def write_down(loop: Loop) -> dict[str, Any]:
    """The whole state as plain values. All signals must be blocked; those that have arrived become pending again.

    Beside the states of `table`, it has what the next program needs before it has a loop.
    """
    for number in loop.signals.read() | loop.forwarding.early:
        os.kill(os.getpid(), number)
    successor = loop.parts.successor
    return {
        "asked": successor.accepted,
        "stopping": loop.engine.phase not in (LOADING, UP)
        or any(isinstance(fact, events.StopRequested) for fact in loop.facts),
        "checking": successor.why is None,
        "mask": sorted(loop.given.mask),
        "ignored": sorted(loop.given.ignored),
        "request": loop.request,
        "quiet": loop.quiet,
        "wake_up": loop.signals.ends,
        "descriptors": descriptors(loop),
        **{part.name: part.save() for part in table(loop)},
    }


def descriptors(loop: Loop) -> list[int]:
    """The descriptors that must stay open over the exec."""
    return [fd for part in table(loop) for fd in part.descriptors()] + [*loop.signals.ends]


def restore(loop: Loop, plain: dict[str, Any]) -> None:
    """Restore a new loop from the values of `write_down`."""
    for part in table(loop):
        if part.name == "requests":
            _agree(loop, stepping=plain["loop"]["stepping"])
        part.load(plain[part.name])
    loop.parts.opening.resume()
    if len(loop.errors_at) >= SECOND:
        loop.facts.insert(0, events.Broken("internal errors keep coming (see above): stopping everything"))


def _agree(loop: Loop, *, stepping: bool) -> None:
    """Drop what failed, and report to the engine what was lost with the error. The parts with processes are loaded."""
    if loop.engine.plan is not None and loop.engine.phase == UP:
        loop.parts.clock.set_plan(loop.engine.plan)
        loop.parts.file_watch.set_plan(loop.engine.plan, resumed=True)
    _drop_what_failed(loop, stepping=stepping)
    if loop.engine.reading.in_progress and loop.engine.phase in (LOADING, UP) and not _will_be_read(loop):
        loop.parts.loader.start(loop.request, loop.engine.reading.scale)
    _reconcile(loop)


# --- parts that do not save themselves -----------------------------------------------------------------


def _save_loop(loop: Loop) -> dict[str, Any]:
    wanted = loop.engine.wanted if loop.stepping else loop.effects
    return {
        "errors_at": loop.errors_at,
        "shortages_at": loop.shortages_at,
        "facts": to_plain(loop.facts),
        "effects": to_plain([*wanted, *loop.parts.launcher.refused()]),
        "stepping": loop.stepping,
    }


def _load_loop(loop: Loop, plain: dict[str, Any]) -> None:
    loop.errors_at, loop.shortages_at = plain["errors_at"], plain["shortages_at"]
    loop.facts.extend(from_plain(plain["facts"]))
    loop.effects.extend(from_plain(plain["effects"]))


def _save_engine(loop: Loop) -> tuple[Any, dict[str, Any]]:
    return to_plain(loop.engine.plan), loop.engine.to_plain()


def _load_engine(loop: Loop, plain: tuple[Any, dict[str, Any]]) -> None:
    loop.engine.restore(from_plain(plain[0]), plain[1])


def _load_children(loop: Loop, plain: dict[str, Any]) -> None:
    """The other parts are loaded already, and know which of their children continue."""
    tasks = {key: ended for part in table(loop) for key, ended in part.tasks().items()}
    loop.parts.children.restore(plain, tasks)
    services = {name: unit.spec for name, unit in loop.engine.units.items()}
    loop.parts.children.attach_services(services, loop.parts.launcher.describe)


# --- what failed, and what was lost with it ----------------------------------------------------------------


def _will_be_read(loop: Loop) -> bool:
    """Whether a read of the file is requested already, or its outcome is queued."""
    begins = any(isinstance(effect, effects.Load) for effect in loop.effects)
    return begins or any(isinstance(fact, (events.Loaded, events.LoadFailed)) for fact in loop.facts)


def _drop_what_failed(loop: Loop, *, stepping: bool) -> None:
    """Drop the event or effect of the error, if it was processed already or has failed again."""
    again = len(loop.errors_at) >= SECOND or len(loop.shortages_at) >= _SHORTAGES
    if stepping:
        if again or not is_pending(loop.engine, loop.facts[0]):
            del loop.facts[0]
    elif loop.effects and (again or not _is_to_do(loop, loop.effects[0])):
        del loop.effects[0]


def _is_to_do(loop: Loop, effect: Effect) -> bool:
    """Whether it can be carried out once more."""
    match effect:
        case effects.Spawn(service):
            return service.name not in loop.parts.children.processes  # never two of one
        case effects.RunHook(service):
            return service.name + HOOK not in loop.parts.children.processes
        case effects.Report():
            return False
    return True


def _reconcile(loop: Loop) -> None:
    """Report to the engine each service that should have a process and lost it with the error."""
    spoken_of = {getattr(fact, "service", None) for fact in loop.facts}
    starting = (effects.Spawn, effects.RunHook)
    spoken_of |= {effect.service.name for effect in loop.effects if isinstance(effect, starting)}
    if loop.engine.phase == DONE and not any(isinstance(effect, effects.Exit) for effect in loop.effects):
        loop.effects.append(effects.Exit(EXIT_BUG, Reason(INTERNAL_ERROR, detail="an internal error at the very end")))
    for name, unit in loop.engine.units.items():
        if name not in spoken_of and not loop.parts.children.knows(name):
            outcome = lost_outcome(unit)
            loop.facts += [outcome] if outcome is not None else []

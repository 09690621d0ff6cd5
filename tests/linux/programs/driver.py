"""driver.py SOURCE PLANT VERB [WORD...]: cohabit with one error planted; there is no second one.

PLANT is one of: step-before:EVENT, step-after:EVENT (the engine's step fails at this event, before or after its
work), effect:NAME, effect-after:NAME (carrying out this effect fails, before or after its work), reap (looking
after children fails once "trigger" has died; reap:loader: the loader), lost (what is handed over is rubbish), exec
(there is no interpreter any more). In front of it may stand, each with a +: TIMES (that many errors came before),
signal:NUMBER (the signal comes right before the error), executes (the program is executed again, as after many errors,
instead of a loop rebuilt in this process).
"""

import os
import sys
import time
from typing import Any

source, plant = sys.argv[1:3]
sys.path.append(source)
sys.argv = [os.path.join(source, "cohabit", "__main__.py"), *sys.argv[3:]]

from cohabit.cli import main as front  # noqa: E402 - the path to it had to be made first
from cohabit.engine.supervisor import Supervisor  # noqa: E402
from cohabit.reactor import reexecution  # noqa: E402
from cohabit.reactor.loop import Loop  # noqa: E402
from cohabit.reactor.processes.tree import Trees  # noqa: E402

*before, plant = plant.split("+")
kind, _, name = plant.partition(":")


def fail() -> None:
    """The planted error."""
    planted.clear()
    for word in before:
        if word.startswith("signal:"):
            os.kill(os.getpid(), int(word.partition(":")[2]))
    if is_exec:
        sys.executable = "/no/such/interpreter"
    raise RuntimeError("planted")


def step(self: Supervisor, event: Any, now: float) -> Any:
    """The engine's step, and the error."""
    here = planted and type(event).__name__ == name and getattr(event, "service", "trigger") == "trigger"
    if here and kind == "step-before":
        fail()
    effects = real_step(self, event, now)
    if here and kind == "step-after":
        fail()
    return effects


def perform(self: Loop, effect: Any) -> None:
    """The loop's carrying out of an effect, or the error."""
    service = getattr(effect, "service", "trigger")
    named = getattr(service, "name", service) in ("trigger", "")
    here = planted and named and type(effect).__name__ == name
    if here and kind == "effect":
        fail()
    real_perform(self, effect)
    if here and kind == "effect-after":
        fail()


def with_orphans(self: Trees) -> set[str]:
    """A look at the orphans, or the error: something has just been reaped and nobody told."""
    who = "\0loader" if name == "loader" else "trigger"
    if planted and who in self.sessions.trees() and who not in self.leaders.values():
        fail()
    return real_look(self)


def run(loop: Loop, programs: int = 0) -> int | bytes:
    """The loop's run in the light of earlier errors."""
    loop.errors_at = [time.monotonic()] * errors
    return real_run(loop, programs)


is_exec = False
planted = [plant]
real_step, real_perform, real_look, real_run = Supervisor.step, Loop._perform, Trees.keys_with_orphans, reexecution.run
if kind.startswith("step"):
    Supervisor.step = step  # type: ignore[method-assign]
elif kind in ("effect", "effect-after"):
    Loop._perform = perform  # type: ignore[method-assign]
elif kind == "reap":
    Trees.keys_with_orphans = with_orphans  # type: ignore[method-assign]
elif kind in ("lost", "exec"):
    is_exec = kind == "exec"
    kind, name = "step-before", "Exited"
    Supervisor.step = step  # type: ignore[method-assign]
    if not is_exec:
        Supervisor.to_plain = lambda self: {"units": None}  # type: ignore[method-assign]  # noqa: ARG005
errors = sum(int(word) for word in before if word.isdecimal())
if errors:
    reexecution.run = run
if "executes" in before or is_exec:
    reexecution._FORMER_MAX = 0
front.main()

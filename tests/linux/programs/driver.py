"""driver.py SOURCE PLANT VERB [WORD...]: cohabit with one error planted, of which its next life knows nothing.

PLANT is one of: step-before:EVENT, step-after:EVENT (the engine's step fails at this event, before or after its
work), effect:NAME, effect-after:NAME (carrying out this effect fails, before or after its work), reap (looking
after children fails once "trigger" has died; reap:loader: the loader), TIMES+PLANT (that many errors came before),
once+PLANT (there is no second one, even if the next loop is in this process),
signal:NUMBER+PLANT (the signal comes right before the error), lost (what is handed over is rubbish), exec (there is
no interpreter any more).
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
from cohabit.reactor import handover  # noqa: E402
from cohabit.reactor.loop import Loop  # noqa: E402
from cohabit.reactor.processes.tree import Trees  # noqa: E402

before, _, plant = plant.rpartition("+")
kind, _, name = plant.partition(":")


def fail() -> None:
    """The planted error."""
    if before == "once":
        planted.clear()
    if before.startswith("signal:"):
        os.kill(os.getpid(), int(before.partition(":")[2]))
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
    here = type(effect).__name__ == name and getattr(service, "name", service) in ("trigger", "")
    if here and kind == "effect":
        fail()
    real_perform(self, effect)
    if here and kind == "effect-after":
        fail()


def with_orphans(self: Trees) -> set[str]:
    """A look at the orphans, or the error: something has just been reaped and nobody told."""
    who = "\0loader" if name == "loader" else "trigger"
    if who in self.sessions.trees() and who not in self.leaders.values():
        fail()
    return real_look(self)


def run(loop: Loop) -> int:
    """The loop's run in the light of earlier errors."""
    loop.errors_at = [time.monotonic()] * int(before)
    return real_run(loop)


is_exec = False
planted = [plant]
real_step, real_perform, real_look, real_run = Supervisor.step, Loop._perform, Trees.with_orphans, handover.run
if kind.startswith("step"):
    Supervisor.step = step  # type: ignore[method-assign]
elif kind in ("effect", "effect-after"):
    Loop._perform = perform  # type: ignore[method-assign]
elif kind == "reap":
    Trees.with_orphans = with_orphans  # type: ignore[method-assign]
elif kind in ("lost", "exec"):
    is_exec = kind == "exec"
    kind, name = "step-before", "Exited"
    Supervisor.step = step  # type: ignore[method-assign]
    if not is_exec:
        Supervisor.to_plain = lambda self: {"units": None}  # type: ignore[method-assign]  # noqa: ARG005
if before.isdecimal():
    handover.run = run
front.main()

"""round_trip.py SOURCE COMMAND [ARGUMENT...]: cohabit that saves its state once more as soon as it has restored it.

An error is planted at the first end of the service `trigger`. When the loop is rebuilt from the saved state, this
program saves the state of the new loop, and prints what is not the same, and the parts that have a state.
"""

import marshal
import os
import sys
from typing import Any

source = sys.argv[1]
sys.path.append(source)
sys.argv = [os.path.join(source, "cohabit", "__main__.py"), *sys.argv[2:]]

from cohabit.cli import main as front  # noqa: E402 - its path was not known before
from cohabit.engine.supervisor import Supervisor  # noqa: E402
from cohabit.reactor import crossing, reexecution, reexecution_state  # noqa: E402


def step(self: Supervisor, event: Any, now: float) -> Any:
    """The engine's step, or the error."""
    if planted and type(event).__name__ == "Exited" and event.service == "trigger":
        planted.clear()
        raise RuntimeError("planted")
    return real_step(self, event, now)


def build(given: Any, data: bytes) -> Any:
    """Rebuild the loop, and compare."""
    loop = real_build(given, data)
    before = marshal.loads(data)  # noqa: S302 - made above
    after = marshal.loads(marshal.dumps(reexecution_state.write_down(loop)))  # noqa: S302
    for state in (before, after):
        state["loop"]["stepping"] = False  # the step is over
        state["children"]["processes"].sort()
    for name in crossing.VERSIONS:
        compare(name, before[name], after[name])
    print("compared", *(name for name in crossing.VERSIONS if before[name]), flush=True)
    return loop


def compare(path: str, one: Any, other: Any) -> None:
    """Print each difference."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            compare(f"{path}.{key!r}", one[key], other[key])
    elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            compare(f"{path}[{number}]", left, right)
    elif one != other:
        print("different", path, ascii(one)[:200], ascii(other)[:200], flush=True)


planted = ["error"]
real_step, real_build = Supervisor.step, reexecution._build
Supervisor.step = step  # type: ignore[method-assign]
reexecution._build = build
front.main()

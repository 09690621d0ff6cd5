"""What an init costs: the burst of orphans, and one `true` around nothing.

Each burst runs in a PID namespace of its own with the init as its process 1, where 20,000 orphans hang
directly below it. Both need nothing of the tools that keep services running.
"""

import os
import subprocess
from collections.abc import Sequence

from install import PYTHON, InstallError, compile_c
from processes import MeasurementError, run_once, sweep
from report import US
from services import Scope

PARTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "parts")
INITS = {US: ["init", "--"], "tini": ["-s", "--"], "dumb-init": ["--"]}
ORPHANS = 20_000
BURST_SECONDS = 150.0
OVERHEAD_RUNS = 60
WARM_UP_RUNS = 5
NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--")


def commands(scope: Scope) -> dict[str, list[str]]:
    """Return the start of the command line of each init that is here."""
    return {name: [scope.paths[name], *words] for name, words in INITS.items() if name in scope.paths}


def _burst(argv: Sequence[str]) -> float:
    """Run one burst and return its milliseconds."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=BURST_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"not all made and reaped within {BURST_SECONDS:g} s") from None
    finally:
        sweep()
    if done.returncode != 0:
        line = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise MeasurementError(f"ended with {done.returncode}: {line}")
    return int(done.stdout) / 1000


def orphans(scope: Scope) -> None:
    """Measure bursts, round by round."""
    try:
        program = compile_c(os.path.join(PARTS, "orphans.c"))
    except InstallError as error:
        scope.figures.note("orphans", US, f"cannot measure: {error}")
        return
    count = ORPHANS // (10 if scope.quick else 1)
    for _ in range(scope.rounds):
        for name, argv in commands(scope).items():
            try:
                scope.figures.add("orphans", name, _burst([*NAMESPACE, *argv, program, str(count)]))
            except MeasurementError as error:
                scope.figures.note("orphans", name, str(error))


def overhead(scope: Scope) -> None:
    """Measure `true` below each init, plain, and the interpreter that does nothing, in turn."""
    lines = {name: [*argv, "true"] for name, argv in commands(scope).items()}
    lines["plain exec"] = ["true"]
    lines["python3 -I -S -c pass"] = [PYTHON, "-I", "-S", "-c", "pass"]
    for number in range(WARM_UP_RUNS + OVERHEAD_RUNS):
        for name in list(lines):
            try:
                milliseconds = run_once(lines[name])
            except MeasurementError as error:
                scope.figures.note("init", name, str(error))
                del lines[name]
                continue
            if number >= WARM_UP_RUNS:
                scope.figures.add("init", name, milliseconds)

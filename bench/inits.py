"""The cost of an init: a burst of orphans, and a run of `true`.

Each burst runs in its own PID namespace with the init as process 1 and 20,000 orphans as its children.
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
    """Return the command line of each available init, without its command."""
    return {name: [scope.paths[name], *words] for name, words in INITS.items() if name in scope.paths}


def _burst(argv: Sequence[str]) -> float:
    """Run one burst and return its milliseconds."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=BURST_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"orphans not created and reaped within {BURST_SECONDS:g} s") from None
    finally:
        sweep()
    if done.returncode != 0:
        line = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise MeasurementError(f"ended with {done.returncode}: {line}")
    return int(done.stdout) / 1000


def orphans(scope: Scope) -> None:
    """Measure bursts of orphans, round by round."""
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
    """Measure `true` under each init, `true` alone, and an interpreter that does nothing, in turn."""
    lines = {name: [*argv, "true"] for name, argv in commands(scope).items()}
    lines["true alone"] = ["true"]
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

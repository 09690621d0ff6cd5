"""The ownership test: `python tests/linux/ownership.py --trees 1000`, or one scenario: `--seed 17`.

Each seed is a scenario (ownership_scenario.py) in one of eight modes: with and without cgroups, with Docker's
capabilities and with all, as process 1 and not. Scenarios run until the number of process trees is reached. The seed of
a failed scenario is printed. Exit code 1 if any failed.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Final, NamedTuple

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from linux import ownership_shapes as shapes
from linux import ownership_signals, places, processes
from linux.ownership_scenario import MODES, REPLICATED, Mode, Scenario
from linux.ownership_shapes import OUTSIDE

AGAIN: Final = "python tests/linux/ownership.py"
OPERATIONS: Final = 14
_REPLICAS = 3


class Done(NamedTuple):
    """The outcome of a scenario."""

    mode: str
    trees: int
    signals: int


def run(seed: int, box: str, operations: int = OPERATIONS) -> Done:
    """Run one scenario. Raises on failure."""
    with (
        tempfile.TemporaryDirectory(prefix="cohabit-ownership-") as directory,
        Scenario(seed, mode(seed), directory, box, trace=ownership_signals.available()) as scenario,
    ):
        with scenario.affecting("start", scenario.services):
            scenario.until(
                lambda: all(scenario.count(name) for name, runs in scenario.running.items() if runs), "the start"
            )
        for _ in range(operations):
            scenario.rng.choice(CHOICES)(scenario)
        done = Done(str(scenario), scenario.trees, scenario.trace.signals if scenario.trace else 0)
        scenario.stop()
        return done


def mode(seed: int) -> Mode:
    """The mode of a seed's scenario."""
    return MODES[seed % len(MODES)]


# --- operations ------------------------------------------------------------------------------------------


def _some(scenario: Scenario, *, most: int, kinds: tuple[str, ...] = ()) -> list[str]:
    names = [
        name for name, kind in scenario.services.items() if scenario.running[name] and (not kinds or kind.main in kinds)
    ]
    return scenario.rng.sample(names, min(len(names), scenario.rng.randint(1, most)))


def crash(scenario: Scenario) -> None:
    """Several main processes are killed at the same moment, during other operations."""
    names = _some(scenario, most=3)
    others = [name for name in _some(scenario, most=2) if name not in names]
    with scenario.affecting("crash and restart", names + others):
        before = scenario.counts(names + others)
        mains = scenario.mains(names)
        scenario.run.signal(signal.SIGSTOP)
        for pid in mains:
            os.kill(pid, signal.SIGKILL)
        # Process 1 may reap one of them before it stops.
        scenario.until(lambda: all(getattr(processes.find(pid), "state", "Z") == "Z" for pid in mains), "zombies")
        if scenario.rng.random() < 0.5:
            _from_outside(scenario)
        if others and scenario.rng.random() < 0.7:
            client = scenario.running_client("restart", *others)
            with client:
                scenario.run.signal(signal.SIGCONT)
            scenario.gone(*others, since=before)
            scenario.until_counted(before, others)
        scenario.run.signal(signal.SIGCONT)
        scenario.until_counted(before, names)
        scenario.gone(*names, since=before)


def exits(scenario: Scenario) -> None:
    """Main processes end by themselves, with 0."""
    names = _some(scenario, most=2, kinds=("exits",))
    with scenario.affecting("exit", names):
        before = scenario.counts(names)
        for name in names:
            scenario.open_gate(name)
        scenario.until_counted(before, names)
        scenario.gone(*names, since=before)


def stop(scenario: Scenario) -> None:
    """`stop` of some services: when it has ended, none of their processes is left. Then `start`."""
    names = _some(scenario, most=3)
    with scenario.affecting("stop", names):
        scenario.run_client("stop", *names)
        scenario.gone(*names)
        scenario.running.update(dict.fromkeys(names, False))
    if scenario.rng.random() < 0.3:
        scenario.rng.choice([probes, exec_, reload, reexec])(scenario)
    with scenario.affecting("start", names):
        before = scenario.counts(names)
        scenario.run_client("start", *names)
        scenario.running.update(dict.fromkeys(names, True))
        scenario.until_counted(before, names)


def restart(scenario: Scenario) -> None:
    """`restart` of some services: when it has ended, no process of the previous instances is left."""
    names = _some(scenario, most=3)
    with scenario.affecting("restart", names):
        before = scenario.counts(names)
        scenario.run_client("restart", *names)
        scenario.gone(*names, since=before)
        scenario.until_counted(before, names)


def reload(scenario: Scenario) -> None:
    """A reload that changes nothing."""
    with scenario.affecting("reload"):
        scenario.run_client("reload")


def change(scenario: Scenario) -> None:
    """A reload that changes one service."""
    name = scenario.rng.choice([name for name in scenario.services if not name.startswith(REPLICATED)])
    with scenario.affecting("change", [name]):
        before = scenario.counts([name])
        scenario.versions[name] += 1
        scenario.write()
        scenario.run_client("reload")
        scenario.running[name] = True
        scenario.until_counted(before, [name])
        scenario.gone(name, since=before)


def reexec(scenario: Scenario) -> None:
    """A re-execution."""
    with scenario.affecting("reexec"):
        scenario.run_client("reexec")


def scale(scenario: Scenario) -> None:
    """A different number of replicas."""
    number = scenario.rng.randint(1, _REPLICAS)
    names = [f"{REPLICATED}-{i}" for i in range(1, _REPLICAS + 1)]
    changed = [name for name in names if (int(name[-1]) <= number) != scenario.running[name]]
    with scenario.affecting("scale", changed):
        before = scenario.counts(changed)
        scenario.run_client("scale", f"{REPLICATED}={number}")
        scenario.running.update({name: int(name[-1]) <= number for name in names})
        scenario.until_counted(before, [name for name in changed if scenario.running[name]])


def exec_(scenario: Scenario) -> None:
    """Processes from outside, as `docker exec` starts them, some with the environment of a service."""
    with scenario.affecting("docker exec"):
        for _ in range(scenario.rng.randint(1, 3)):
            _from_outside(scenario)


def end_one(scenario: Scenario) -> None:
    """Processes other than main processes end."""
    with scenario.affecting("end processes"):
        ends = [one for one in scenario.present if one.leaf and one.owner < shapes.PROBE]
        ends += [one for one in scenario.present if one.owner == OUTSIDE]
        for one in scenario.rng.sample(sorted(ends), min(len(ends), 3)):
            scenario.end(one)


def probes(scenario: Scenario) -> None:
    """Probes run, twice each."""
    with scenario.affecting("probes"):
        names = [f"{name}-probe" for name, kind in scenario.services.items() if kind.probe and scenario.running[name]]
        before = {name: scenario.count(name) for name in names}
        scenario.until(lambda: all(scenario.count(name) >= before[name] + 2 for name in names), "probes")


CHOICES: Final[list[Callable[[Scenario], None]]] = [
    *(crash, crash, crash, restart, restart, stop, stop, exits, exits),
    *(reload, change, reexec, scale, scale, exec_, end_one, probes),
]


def _from_outside(scenario: Scenario) -> None:
    scenario.outside_instances += 1
    script = shapes.outside(scenario.rng, scenario.outside_instances)
    variables = {"PATH": os.environ["PATH"]}
    mains = scenario.mains([name for name, runs in scenario.running.items() if runs])
    if mains and scenario.rng.random() < 0.5:
        variables |= _environment(scenario.rng.choice(mains))
    enter = f"echo 0 > {scenario.box}/cgroup.procs\n" if scenario.mode.cgroups else ""
    command = ["nsenter", "--target", str(scenario.run.pid), "--pid", "--mount", "--", "sh", "-c", script.text]
    subprocess.run(
        ["sh", "-c", f'{enter}exec "$@"', "sh", *command],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    scenario.outside.update(dict.fromkeys(script.tokens, True))


def _environment(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            items = file.read().decode("latin-1").split("\0")
    except OSError:
        return {}
    return dict(item.split("=", 1) for item in items if "=" in item)


# --- main ------------------------------------------------------------------------------------------------


def main() -> int:
    """Run the scenarios; return the exit code."""
    parser = argparse.ArgumentParser(description="Random process trees, whose owners are known, under cohabit.")
    parser.add_argument("--trees", type=int, default=1000, help="how many process trees (default: 1000)")
    parser.add_argument("--first", type=int, help="the first seed (default: by the time)")
    parser.add_argument("--seed", type=int, help="one scenario only")
    arguments = parser.parse_args()
    first = arguments.seed if arguments.seed is not None else arguments.first
    first = int(time.time()) if first is None else first
    began = time.monotonic()
    trees = signals = scenarios = failed = 0
    with places.cgroup_box() as box:
        while trees < arguments.trees and not (scenarios and arguments.seed is not None):
            seed = first + scenarios
            scenarios += 1
            if mode(seed).cgroups and not box:
                print(f"seed {seed}: not run, no cgroup can be made here", flush=True)
                continue
            try:
                done = run(seed, box)
            except Exception as error:  # noqa: BLE001 - the other scenarios still run
                failed += 1
                trees += 1
                print(f"seed {seed} failed (again: {AGAIN} --seed {seed})\n{error}\n", flush=True)
                continue
            trees, signals = trees + done.trees, signals + done.signals
            print(f"seed {seed}: {done.trees} process trees, {done.signals} traced signals; {done.mode}", flush=True)
    seconds = time.monotonic() - began
    print(
        f"{trees} process trees in {scenarios} scenarios in {seconds:.0f} s: {failed} failed, {signals} signals traced"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

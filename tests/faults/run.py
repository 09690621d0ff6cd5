"""Try many seeded faults: `python tests/faults/run.py 1000`; one: `--seed 47`, or `--inject stop:clone:EAGAIN:1:once`.

A seed that fails is printed with its injection and all output; the exit code is then 1. Needs root and strace(1). Runs
one after the other; `--jobs 2` runs two at a time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections import Counter
from multiprocessing.pool import ThreadPool

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from faults.injection import MODES, STAGES, Injection, Profiles
from faults.story import one, profile, replay

_SHOWN = 5


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description="Let system calls of process 1 fail, and check that it continues.")
    parser.add_argument("runs", nargs="?", type=int, default=1000, help="number of runs (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="run this seed only")
    parser.add_argument("--inject", help="run this injection only")
    parser.add_argument("--jobs", type=int, default=1, help="number of runs at a time (default: 1)")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no run after this time")
    options = parser.parse_args()
    if os.geteuid() or not shutil.which("strace"):
        print("cannot let system calls fail: this needs root and strace (apt-get install strace)", file=sys.stderr)
        return 69
    if options.inject:
        wrong = replay(Injection.parse(options.inject))
        print(wrong or "passed")
        return bool(wrong)
    profiles = {(stage, mode): profile(stage, mode) for stage in STAGES for mode in MODES}
    seeds = [options.seed] if options.seed is not None else list(range(options.first, options.first + options.runs))
    return _many(seeds, profiles, options)


def _many(seeds: list[int], profiles: Profiles, options: argparse.Namespace) -> int:
    began = time.monotonic()
    outcomes: Counter[str] = Counter()
    failed: list[tuple[int, str, str]] = []

    def run(seed: int) -> None:
        if time.monotonic() - began > options.seconds:
            return
        injection, wrong = one(seed, profiles)
        kind = "passed" if not wrong else "no interpreter" if wrong.startswith("no interpreter") else "failed"
        outcomes[kind] += 1
        if kind != "passed":
            print(f"seed {seed} ({injection}): {wrong.splitlines()[0]}", flush=True)
        if kind == "failed":
            failed.append((seed, injection, wrong))

    with ThreadPool(options.jobs) as pool:
        pool.map(run, seeds, chunksize=1)
    for seed, injection, wrong in failed[:_SHOWN]:
        print(f"\n=== seed {seed} ({injection})\n{wrong}")
    print(
        f"{sum(outcomes.values())} runs in {time.monotonic() - began:.0f} s: {outcomes['passed']} passed, "
        f"{len(failed)} failed, in {outcomes['no interpreter']} the interpreter could not start after an exec"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

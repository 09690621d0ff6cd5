"""Try many seeded faults: `python tests/faults/run.py 1000`; one: `--seed 47`, or `--inject stop:clone:EAGAIN:1:once`.

A seed that fails is printed with what was injected and all that was written; the exit code is 1 then. Needs root and
strace(1). One run after the other; `--jobs 2` for several side by side.
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
    parser = argparse.ArgumentParser(description="Let system calls of process 1 fail, and see that it goes on.")
    parser.add_argument("runs", nargs="?", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="one run only")
    parser.add_argument("--inject", help="one run with this injection")
    parser.add_argument("--jobs", type=int, default=1, help="how many side by side (default: 1)")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no further run after so long")
    words = parser.parse_args()
    if os.geteuid() or not shutil.which("strace"):
        print("cannot let system calls fail: this needs root and strace (apt-get install strace)", file=sys.stderr)
        return 69
    if words.inject:
        wrong = replay(Injection.parse(words.inject))
        print(wrong or "all is well")
        return bool(wrong)
    profiles = {(stage, mode): profile(stage, mode) for stage in STAGES for mode in MODES}
    seeds = [words.seed] if words.seed is not None else list(range(words.first, words.first + words.runs))
    return _many(seeds, profiles, words)


def _many(seeds: list[int], profiles: Profiles, words: argparse.Namespace) -> int:
    began = time.monotonic()
    outcomes: Counter[str] = Counter()
    failed: list[tuple[int, str, str]] = []

    def run(seed: int) -> None:
        if time.monotonic() - began > words.seconds:
            return
        injection, wrong = one(seed, profiles)
        kind = "well" if not wrong else "beyond us" if wrong.startswith("beyond us") else "failed"
        outcomes[kind] += 1
        if kind != "well":
            print(f"seed {seed} ({injection}): {wrong.splitlines()[0]}", flush=True)
        if kind == "failed":
            failed.append((seed, injection, wrong))

    with ThreadPool(words.jobs) as pool:
        pool.map(run, seeds, chunksize=1)
    for seed, injection, wrong in failed[:_SHOWN]:
        print(f"\n=== seed {seed} ({injection})\n{wrong}")
    print(
        f"{sum(outcomes.values())} runs in {time.monotonic() - began:.0f} s: {outcomes['well']} went well, "
        f"{len(failed)} failed, in {outcomes['beyond us']} the interpreter had no room to start after an exec"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

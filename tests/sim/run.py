"""Try many seeded worlds: `python tests/sim/run.py 100000`, or one: `--seed 4711`, `--ownership-seed 4711`.

For every ten worlds of the engine there is one of process attribution (ownership_world.py).

A seed that fails is printed with its trace. Add it to kept_seeds.txt when the engine is fixed: every run replays these
seeds. The exit code is 1 if any seed failed. Uses all cores.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from multiprocessing import Pool

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from sim.seeds import kept_seeds, ownership_trace, ownership_verdict, trace, verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CHUNK = 100
_TRACES_MAX = 3
_ENGINE_WORLDS = 10  # for one of ownership


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description="Run the engine in seeded worlds, verified by checkers.")
    parser.add_argument("seeds", nargs="?", type=int, default=1000, help="how many worlds to try (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="run one world and print its trace")
    parser.add_argument("--ownership-seed", type=int, help="run one world of processes and print its trace")
    arguments = parser.parse_args()
    if arguments.ownership_seed is not None:
        print(ownership_trace(arguments.ownership_seed))
        return 1 if ownership_verdict(arguments.ownership_seed) else 0
    if arguments.seed is not None:
        print(trace(arguments.seed))
        return 1 if verdict(arguments.seed) else 0
    engine = [*kept_seeds(), *range(arguments.first, arguments.first + arguments.seeds)]
    ownership = range(arguments.first, arguments.first + max(1, arguments.seeds // _ENGINE_WORLDS))
    failed = _many("worlds", engine, _try, trace, "--seed")
    failed |= _many("worlds of processes", ownership, _try_ownership, ownership_trace, "--ownership-seed")
    return failed


def _many(
    what: str, todo: Sequence[int], attempt: Callable[[int], tuple[int, str]], show: Callable[[int], str], option: str
) -> int:
    began = time.monotonic()
    done = 0
    failed: list[tuple[int, str]] = []
    with Pool(os.cpu_count()) as pool:
        for seed, failure in pool.imap_unordered(attempt, todo, chunksize=_CHUNK):
            done += 1
            if failure:
                failed.append((seed, failure))
                print(f"seed {seed}: {failure}", file=sys.stderr)
            if done % 10_000 == 0:
                print(f"{done} {what}, {done / (time.monotonic() - began):.0f}/s, {len(failed)} failed")
    for seed, _ in sorted(failed)[:_TRACES_MAX]:
        print(f"\n--- seed {seed} (again: python tests/sim/run.py {option} {seed})\n{show(seed)}", file=sys.stderr)
    seconds = time.monotonic() - began
    print(f"{done} {what} in {seconds:.1f} s ({done / seconds:.0f}/s): {len(failed)} failed")
    return 1 if failed else 0


def _try(seed: int) -> tuple[int, str]:
    return seed, verdict(seed)


def _try_ownership(seed: int) -> tuple[int, str]:
    return seed, ownership_verdict(seed)


if __name__ == "__main__":
    sys.exit(main())

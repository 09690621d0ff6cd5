"""Try many seeded worlds: `python tests/sim/run.py 100000`, or one: `--seed 4711`.

A seed that fails is printed with its story; put it into kept_seeds.txt once the engine is mended, so that it
is replayed for ever. Exit code 1 if any failed. Uses every core.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from multiprocessing import Pool

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from sim.story import kept_seeds, story, verdict

_CHUNK = 100
_STORIES_AT_MOST = 3


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description="Run the engine in seeded worlds under the eyes of the judges.")
    parser.add_argument("seeds", nargs="?", type=int, default=1000, help="how many worlds to try (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="one world only, with its whole story")
    words = parser.parse_args()
    if words.seed is not None:
        print(story(words.seed))
        return 1 if verdict(words.seed) else 0
    return _many(range(words.first, words.first + words.seeds))


def _many(seeds: range) -> int:
    began = time.monotonic()
    done = 0
    failed: list[tuple[int, str]] = []
    todo = [*kept_seeds(), *seeds]
    with Pool(os.cpu_count()) as pool:
        for seed, failure in pool.imap_unordered(_try, todo, chunksize=_CHUNK):
            done += 1
            if failure:
                failed.append((seed, failure))
                print(f"seed {seed}: {failure}", file=sys.stderr)
            if done % 10_000 == 0:
                print(f"{done} worlds, {done / (time.monotonic() - began):.0f}/s, {len(failed)} failed")
    for seed, _ in sorted(failed)[:_STORIES_AT_MOST]:
        print(f"\n--- seed {seed} (again: python tests/sim/run.py --seed {seed})\n{story(seed)}", file=sys.stderr)
    seconds = time.monotonic() - began
    print(f"{done} worlds in {seconds:.1f} s ({done / seconds:.0f}/s): {len(failed)} failed")
    return 1 if failed else 0


def _try(seed: int) -> tuple[int, str]:
    return seed, verdict(seed)


if __name__ == "__main__":
    sys.exit(main())

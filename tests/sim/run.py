"""Try many seeded worlds: `python tests/sim/run.py 100000`, or one: `--seed 4711`, `--ownership-seed 4711`.

For ten worlds of the engine there is one of the attribution of processes (ownership_world.py).

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

from sim.story import kept_seeds, ownership_story, ownership_verdict, story, verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CHUNK = 100
_STORIES_AT_MOST = 3
_ENGINE_WORLDS = 10  # for one of ownership


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description="Run the engine in seeded worlds under the eyes of the judges.")
    parser.add_argument("seeds", nargs="?", type=int, default=1000, help="how many worlds to try (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seed", type=int, help="one world only, with its whole story")
    parser.add_argument("--ownership-seed", type=int, help="one world of processes only, with its whole story")
    words = parser.parse_args()
    if words.ownership_seed is not None:
        print(ownership_story(words.ownership_seed))
        return 1 if ownership_verdict(words.ownership_seed) else 0
    if words.seed is not None:
        print(story(words.seed))
        return 1 if verdict(words.seed) else 0
    engine = [*kept_seeds(), *range(words.first, words.first + words.seeds)]
    ownership = range(words.first, words.first + max(1, words.seeds // _ENGINE_WORLDS))
    failed = _many("worlds", engine, _try, story, "--seed")
    failed |= _many("worlds of processes", ownership, _try_ownership, ownership_story, "--ownership-seed")
    return failed


def _many(
    what: str, todo: Sequence[int], attempt: Callable[[int], tuple[int, str]], tell: Callable[[int], str], option: str
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
    for seed, _ in sorted(failed)[:_STORIES_AT_MOST]:
        print(f"\n--- seed {seed} (again: python tests/sim/run.py {option} {seed})\n{tell(seed)}", file=sys.stderr)
    seconds = time.monotonic() - began
    print(f"{done} {what} in {seconds:.1f} s ({done / seconds:.0f}/s): {len(failed)} failed")
    return 1 if failed else 0


def _try(seed: int) -> tuple[int, str]:
    return seed, verdict(seed)


def _try_ownership(seed: int) -> tuple[int, str]:
    return seed, ownership_verdict(seed)


if __name__ == "__main__":
    sys.exit(main())

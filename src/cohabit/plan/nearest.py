"""The nearest known word to a misspelt one, for "did you mean".

difflib would do, but costs several milliseconds of import for these lines. Pure.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 64  # nobody misspells a longer word; a file full of them must not cost time


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word with the fewest edits to `word`, if a third of its letters or fewer differ."""
    if len(word) > _LONGEST:
        return None
    best, best_edits = None, max(1, len(word) // 3) + 1
    for candidate in known:
        if abs(len(candidate) - len(word)) < best_edits:
            edits = _edits(word.lower(), candidate.lower())
            if edits < best_edits:
                best, best_edits = candidate, edits
    return best


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Text to put behind a message, ` (did you mean 'always'?)`; empty if no known word is near."""
    found = nearest(word, known)
    return f" (did you mean {found!r}?)" if found else ""


def _edits(left: str, right: str) -> int:
    """How many letters must be added, dropped, changed or swapped with their neighbour."""
    older: list[int] = []
    above = list(range(len(right) + 1))
    for i in range(len(left)):
        row = [i + 1]
        for j in range(len(right)):
            cost = min(above[j + 1] + 1, row[j] + 1, above[j] + (left[i] != right[j]))
            if i and j and left[i] == right[j - 1] and left[i - 1] == right[j]:
                cost = min(cost, older[j - 1] + 1)
            row.append(cost)
        older, above = above, row
    return above[-1]

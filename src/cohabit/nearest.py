"""The known name nearest to a misspelt one, for "did you mean". Pure.

difflib can do this, but its import takes several milliseconds.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SHORT = 3  # up to this length, one other letter makes another name
_LENGTH_MAX = 64  # longer input is not a misspelt name, and a file full of it must not take long


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name with the fewest edits to `name`, or None if more than a third of its letters differ.

    A short name (`cp`, `dbg`) is only a misspelt one if letters of it are missing, swapped or doubled, or if one of
    its three letters is another one.
    """
    if len(name) > _LENGTH_MAX:
        return None
    best, best_edits = None, max(1, len(name) // 3) + 1
    for candidate in known:
        if abs(len(candidate) - len(name)) < best_edits:
            edits = _edits(name.lower(), candidate.lower())
            if edits < best_edits and (len(name) > _SHORT or _is_misspelt(name.lower(), candidate.lower())):
                best, best_edits = candidate, edits
    return best


def _is_misspelt(name: str, candidate: str) -> bool:
    """Whether a short name has only letters of the candidate, some missing or doubled; or one other of three."""
    rest = [letter for at, letter in enumerate(name) if name[at - 1 : at] != letter]
    same = all(rest.count(letter) <= candidate.count(letter) for letter in rest)
    return same or len(name) == len(candidate) == _SHORT


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message, ` (did you mean 'always'?)`; "" if no known name is near."""
    found = nearest(name, known)
    return f" (did you mean {found!r}?)" if found else ""


def _edits(left: str, right: str) -> int:
    """The number of letters to add, drop, change, or swap with the next one."""
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

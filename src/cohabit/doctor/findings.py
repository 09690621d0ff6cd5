"""Findings of the doctor, as values; formats.py prints them. Pure.

error: a certain failure. warning: a failure in a situation that will occur. hint: a likely failure, or a better way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cohabit.plan.draft import SourceLocation

ERROR, WARNING, HINT = "error", "warning", "hint"
LEVELS = (ERROR, WARNING, HINT)
NONE = "none"


class Finding(Record):
    """One problem.

    rule: a key of rules.py: RULES. place: in a file, or SourceLocation("container"). service: its name, "" if none.
    what: the problem; why: its consequence or reason; do: the line to write or the step to take, of several lines if it
    is a file.
    """

    rule: str
    level: str
    place: SourceLocation
    what: str
    why: str
    do: str
    service: str = ""


def in_order(findings: Iterable[Finding], ignored: Iterable[str] = ()) -> list[Finding]:
    """Sort by level, the most severe first, then by place; remove duplicates, and those of the rules `ignored`."""
    left = set(ignored)
    return sorted(
        (one for one in dict.fromkeys(findings) if one.rule not in left),
        key=lambda one: (LEVELS.index(one.level), one.place.file, one.place.line, one.service),
    )


def exit_code(findings: Sequence[Finding], threshold: str) -> int:
    """Return 1 if there is a finding of the level `threshold` or of a more severe one (NONE: never), else 0."""
    bad = LEVELS[: LEVELS.index(threshold) + 1] if threshold != NONE else ()
    return int(any(one.level in bad for one in findings))

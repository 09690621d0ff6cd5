"""Findings of the doctor, their text and JSON form, and the exit code. Pure.

error: a certain failure. warning: a failure in a situation that will occur. hint: a likely failure, or a better way.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.plan.draft import SourceLocation

ERROR, WARNING, HINT = "error", "warning", "hint"
LEVELS = (ERROR, WARNING, HINT)
_FIRST_COLUMN = 8


class Finding(Record):
    """One problem.

    place: in a file, or SourceLocation("container"). service: its name, "" if none. what: the problem; why: its
    consequence or reason; do: the line to write or the step to take.
    """

    level: str
    place: SourceLocation
    what: str
    why: str
    do: str
    service: str = ""


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Sort by level, the most severe first, then by place; remove duplicates."""
    return sorted(
        dict.fromkeys(findings), key=lambda one: (LEVELS.index(one.level), one.place.file, one.place.line, one.service)
    )


def as_text(finding: Finding) -> str:
    """Format a finding as three lines."""
    whose = f"{finding.service}: " if finding.service else ""
    return (
        f"{finding.level:{_FIRST_COLUMN}}{finding.place}: {whose}{finding.what}\n"
        f"{'':{_FIRST_COLUMN}}why: {finding.why}\n"
        f"{'':{_FIRST_COLUMN}}do:  {finding.do}\n"
    )


def as_json(finding: Finding) -> str:
    """Format a finding as a JSON object on one line."""
    return json.dumps({**vars(finding), "place": str(finding.place)}) + "\n"


def summary(looked_at: Sequence[str], findings: Sequence[Finding]) -> str:
    """Return the last line: "Dockerfile, cohabit.yaml: 2 errors, 1 hint"."""
    counts = {level: sum(one.level == level for one in findings) for level in LEVELS}
    words = [f"{count} {level}{'s' if count > 1 else ''}" for level, count in counts.items() if count]
    return f"{', '.join(looked_at)}: {', '.join(words) or 'no problems'}\n"


def exit_code(findings: Sequence[Finding], *, strict: bool) -> int:
    """Return 1 if there is an error (strict: or a warning), else 0."""
    bad = (ERROR, WARNING) if strict else (ERROR,)
    return int(any(one.level in bad for one in findings))

"""What the doctor says: one finding, how it is shown, and what the exit code is. Pure.

error: it will go wrong. warning: it goes wrong where something happens that will happen. hint: it is likely, or there
is a better way. A finding that needs a "perhaps" in its first line is a hint.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

ERROR, WARNING, HINT = "error", "warning", "hint"
LEVELS = (ERROR, WARNING, HINT)
_FIRST_COLUMN = 8


class Finding(Record):
    """One thing that is wrong.

    place: "Dockerfile:12", "cohabit.yaml:7" or "container". service: whose it is, "" for the whole. what: the thing;
    why: what comes of it; do: the line to write, or the step to take.
    """

    level: str
    place: str
    what: str
    why: str
    do: str
    service: str = ""


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """The gravest first, then by place; each only once."""
    return sorted(dict.fromkeys(findings), key=lambda one: (LEVELS.index(one.level), *_by_line(one.place), one.service))


def _by_line(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    return (file, int(line)) if file and line.isdecimal() else (place, 0)


def as_text(finding: Finding) -> str:
    """Three short lines."""
    whose = f"{finding.service}: " if finding.service else ""
    return (
        f"{finding.level:{_FIRST_COLUMN}}{finding.place}: {whose}{finding.what}\n"
        f"{'':{_FIRST_COLUMN}}why: {finding.why}\n"
        f"{'':{_FIRST_COLUMN}}do:  {finding.do}\n"
    )


def as_json(finding: Finding) -> str:
    """One object on one line."""
    return json.dumps(dict(finding.__dict__.items())) + "\n"


def summary(looked_at: Sequence[str], findings: Sequence[Finding]) -> str:
    """The last line: "Dockerfile, cohabit.yaml: 2 errors, 1 hint"."""
    counts = {level: sum(one.level == level for one in findings) for level in LEVELS}
    words = [f"{count} {level}{'s' if count > 1 else ''}" for level, count in counts.items() if count]
    return f"{', '.join(looked_at)}: {', '.join(words) or 'fine'}\n"


def exit_code(findings: Sequence[Finding], *, strict: bool) -> int:
    """1 when there is an error (strict: or a warning), else 0."""
    bad = (ERROR, WARNING) if strict else (ERROR,)
    return int(any(one.level in bad for one in findings))

"""Print findings: text for people, JSON lines, SARIF 2.1.0, and GitHub's workflow commands. Pure.

Sources: docs.oasis-open.org/sarif/sarif/v2.1.0; docs.github.com, "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cohabit import __version__
from cohabit.doctor.findings import ERROR, HINT, LEVELS, WARNING
from cohabit.doctor.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.doctor.findings import Finding

TEXT, JSON, SARIF, GITHUB = "text", "json", "sarif", "github"
FORMATS = (TEXT, JSON, SARIF, GITHUB)
_FIRST_COLUMN = 8
_DO = "\n" + " " * (_FIRST_COLUMN + 5)
_SARIF_LEVELS = {ERROR: "error", WARNING: "warning", HINT: "note"}
_GITHUB_LEVELS = {ERROR: "error", WARNING: "warning", HINT: "notice"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def printed(findings: Sequence[Finding], examined: Sequence[str], form: str) -> str:
    """Return the findings in one of FORMATS. examined: the names of what was examined."""
    if form == JSON:
        return "".join(json.dumps(as_values(one)) + "\n" for one in findings)
    if form == SARIF:
        return json.dumps(as_sarif(findings), indent=2) + "\n"
    if form == GITHUB:
        return "".join(map(as_github, findings))
    return "".join(map(as_text, findings)) + summary(examined, findings)


def as_text(finding: Finding) -> str:
    """Format a finding as three lines, more if a file is proposed."""
    do = finding.do.replace("\n", _DO)
    return (
        f"{finding.level:{_FIRST_COLUMN}}{finding.place}: {_what(finding)} [{finding.rule}]\n"
        f"{'':{_FIRST_COLUMN}}why: {finding.why}\n"
        f"{'':{_FIRST_COLUMN}}do:  {do}\n"
    )


def as_values(finding: Finding) -> dict[str, object]:
    """Return a finding as plain values."""
    place = finding.place
    return {**vars(finding), "place": str(place), "file": place.file, "line": place.line}


def as_sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return a SARIF log with one run. The container itself is a logical location; it has no file."""
    rules = sorted({one.rule for one in findings})
    driver = {
        "name": "cohabit doctor",
        "version": __version__,
        "rules": [{"id": rule, "shortDescription": {"text": RULES[rule]}} for rule in rules],
    }
    results = [
        {
            "ruleId": one.rule,
            "ruleIndex": rules.index(one.rule),
            "level": _SARIF_LEVELS[one.level],
            "message": {"text": f"{_what(one)}: {one.why}\n{one.do}"},
            "locations": [_location(one)],
        }
        for one in findings
    ]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _location(finding: Finding) -> dict[str, Any]:
    place = finding.place
    if not _is_file(finding):
        return {"logicalLocations": [{"name": place.file}]}
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(place.file)}}
    if place.line:
        physical["region"] = {"startLine": place.line}
    return {"physicalLocation": physical}


def _uri(path: str) -> str:
    """A path as a URI reference: relative ones belong to the repository."""
    return f"file://{quote(path)}" if path.startswith("/") else quote(path)


def _is_file(finding: Finding) -> bool:
    return finding.place.file not in ("container", "standard input", "command line")


def as_github(finding: Finding) -> str:
    """Format a finding as a workflow command, which GitHub shows as an annotation of the line."""
    properties = {"title": finding.rule}
    if _is_file(finding):
        properties = {
            "file": finding.place.file,
            **({"line": str(finding.place.line)} if finding.place.line else {}),
            **properties,
        }
    shown = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
    text = _escaped(f"{_what(finding)}\nwhy: {finding.why}\ndo: {finding.do}", "")
    return f"::{_GITHUB_LEVELS[finding.level]} {shown}::{text}\n"


def _escaped(text: str, more: str) -> str:
    """A value of a workflow command; property values escape `:` and `,` too."""
    for letter in "%\r\n" + more:
        text = text.replace(letter, f"%{ord(letter):02X}")
    return text


def _what(finding: Finding) -> str:
    return f"{finding.service}: {finding.what}" if finding.service else finding.what


def summary(looked_at: Sequence[str], findings: Sequence[Finding]) -> str:
    """Return the last line: "Dockerfile, cohabit.yaml: 2 errors, 1 hint"."""
    counts = {level: sum(one.level == level for one in findings) for level in LEVELS}
    words = [f"{count} {level}{'s' if count > 1 else ''}" for level, count in counts.items() if count]
    return f"{', '.join(looked_at)}: {', '.join(words) or 'no problems'}\n"

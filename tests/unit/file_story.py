"""Helpers of tests that write a cohabit file and read it.

The file is in the working directory, so a test that uses them needs the fixture `here` (conftest.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.config.readers.registry import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.plan.draft import Draft
    from cohabit.plan.model import Service

ENVIRON = {"HOME": "/root", "TOKEN": "t0", "EMPTY": "", "YES": "yes", "GRACE": "3s"}


def draft(text: str, name: str = "cohabit.yaml", *, environ: Mapping[str, str] = ENVIRON) -> Draft:
    """The Draft of a file with this text."""
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    return read({"files": [name]}, environ)


def reported(text: str) -> list[str]:
    """All diagnostics of a file with this text, without the file's name."""
    return [str(diagnostic).removeprefix("cohabit.yaml:") for diagnostic in draft(text).problems]


def service(keys: str, *, warnings: int = 0) -> Service:
    """The service with these keys and a command. warnings: the expected number of warnings."""
    made = draft(f"services:\n  web: {{command: [x], {keys}}}\n")
    assert [diagnostic.warning for diagnostic in made.problems] == [True] * warnings
    return made.services["web"].service


def reported_once(keys: str) -> str:
    """The only diagnostic of a service with these keys, without line and path."""
    diagnostics = reported(f"services:\n  web: {{command: [x], {keys}}}\n")
    assert len(diagnostics) == 1, diagnostics
    return diagnostics[0].removeprefix("2: ").removeprefix("services.web.")

"""How tests write a cohabit file and ask what was understood of it.

A file stands in the working directory, so a test that uses these has the fixture `here` (conftest.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.config.compose import read

if TYPE_CHECKING:
    from cohabit.plan.draft import Draft
    from cohabit.plan.model import Service

ENVIRON = {"HOME": "/root", "TOKEN": "t0", "EMPTY": "", "YES": "yes", "GRACE": "3s"}


def draft(text: str, name: str = "cohabit.yaml") -> Draft:
    """What was understood of a file with this text."""
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    return read({"files": [name]}, ENVIRON)


def told(text: str) -> list[str]:
    """All problems and warnings, without the file's name."""
    return [str(problem).removeprefix("cohabit.yaml:") for problem in draft(text).problems]


def service(keys: str, *, warnings: int = 0) -> Service:
    """The service whose keys these are; `command` is added."""
    made = draft(f"services:\n  web: {{command: [x], {keys}}}\n")
    assert [problem.warning for problem in made.problems] == [True] * warnings
    return made.services["web"].service


def complaint(keys: str) -> str:
    """The one problem of a service with these keys, all in line 2."""
    problems = told(f"services:\n  web: {{command: [x], {keys}}}\n")
    assert len(problems) == 1, problems
    return problems[0].removeprefix("2: ").removeprefix("services.web.")

"""`command` and `entrypoint` -> argv: a list as it is, a string split as in Compose (quotes, but no shell). Pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol

    class Report(Protocol):
        """A function that receives diagnostics."""

        def __call__(self, text: str, *, warning: bool = False) -> None:
            """Add one diagnostic."""


_SHELL_OPERATORS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1", "2>"})


def split_command(written: str | list[str] | None, report: Report) -> list[str] | None:
    """argv; None for a string that cannot be split, which is reported."""
    if not isinstance(written, str):
        return written or []
    try:
        arguments = shlex.split(written)
    except ValueError:
        report(f"a quote is not closed in {written[:60]!r}")
        return None
    for argument in arguments:
        if argument in _SHELL_OPERATORS:
            text = f'{argument!r} is passed as an argument: the command has no shell (write ["sh", "-c", "…"])'
            report(text, warning=True)
    return arguments

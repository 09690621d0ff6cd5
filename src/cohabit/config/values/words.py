"""A command as people write it -> its words: a list as it is, a string as Compose splits it (quotes count, no shell).

Pure; what is wrong is told to `tell`.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol

    class Tell(Protocol):
        """Somebody to tell."""

        def __call__(self, text: str, *, warning: bool = False) -> None:
            """Note what is wrong."""


_SHELL_WORDS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1", "2>"})


def command_words(written: str | list[str] | None, tell: Tell) -> list[str] | None:
    """The words, None for a string that cannot be read."""
    if not isinstance(written, str):
        return written or []
    try:
        words = shlex.split(written)
    except ValueError:
        tell(f"a quote is never closed in {written[:60]!r}")
        return None
    for word in words:
        if word in _SHELL_WORDS:
            tell(f'{word!r} is passed as an argument: no shell reads this (write ["sh", "-c", "…"])', warning=True)
    return words

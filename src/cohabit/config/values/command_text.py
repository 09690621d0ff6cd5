r"""`command` and `entrypoint` -> argv: a list as it is, a string split as Compose splits it. Pure.

Compose splits with the rules of the Go package shellwords, which knows quotes but is not a shell:

    \x                 outside of single quotes: the character x, also for \n and \.
    'a b'  "a b"       one word, or a part of one
    $(a b)  `a b`      one word, as it is; a parenthesis without $ before it is an error
    ; & | < >          outside of quotes: the command ends before it, and the rest is ignored
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol

    class Report(Protocol):
        """A function that receives diagnostics."""

        def __call__(self, text: str, *, warning: bool = False) -> None:
            """Add one diagnostic."""


_ENDS_COMMAND = frozenset(";&|<>")
_SPACES = frozenset(" \t\r\n")
_OTHER_QUOTE = {"'": '"', '"': "'"}
_NAMES = {"'": "a quote", '"': "a quote", "`": "`", "(": "a parenthesis"}
_SHELLS = frozenset({"ash", "bash", "busybox", "dash", "fish", "ksh", "sh", "su", "zsh"})
_WRITE_SHELL = 'write ["sh", "-c", "…"]'


def split_command(written: str | list[str] | None, report: Report) -> list[str] | None:
    """argv; None for a string that cannot be split, which is reported."""
    if not isinstance(written, str):
        arguments = written or []
    else:
        try:
            arguments, rest = _split(written)
        except ValueError as error:
            report(f"{error} in {written[:60]!r}")
            return None
        if rest:
            text = f"ends before {rest[0]!r}, as in Compose: the command has no shell, and the rest is ignored"
            report(f"{text} ({_WRITE_SHELL})", warning=True)
        if any(argument.startswith("\n") for argument in arguments):
            text = "a backslash at the end of a line does not continue it: it puts the line break into an argument"
            report(f"{text} (remove the backslash, and write >- for a text of several lines)", warning=True)
    _check_substitution(arguments, report)
    return arguments


def _check_substitution(arguments: list[str], report: Report) -> None:
    """Warn of $(…) in a command without a shell."""
    if any("$(" in argument for argument in arguments):
        names = {posixpath.basename(argument) for argument in arguments}
        if names.isdisjoint(_SHELLS):
            report(f"$(…) is passed as it is: the command has no shell ({_WRITE_SHELL})", warning=True)


def _split(text: str) -> tuple[list[str], str]:
    """The words, and the text from an operator of a shell on. ValueError: what is wrong.

    Quotes inside of `…` are quotes, but not inside of $(…).
    """
    words: list[str] = []
    word: str | None = None
    within: set[str] = set()  # what is open: ' " ` or ( for $(
    escaped = False
    for i, letter in enumerate(text):
        if escaped:
            word, escaped = (word or "") + letter, False
        elif letter == "\\" and "'" not in within:
            escaped = True
        elif letter in _SPACES and not within:
            words += [] if word is None else [word]
            word = None
        elif letter in _OTHER_QUOTE and within.isdisjoint(_OTHER_QUOTE[letter] + "("):
            within ^= {letter}
            word = word or ""
        elif letter in _ENDS_COMMAND and not within:
            if letter == ">" and (word or "")[:1].isdecimal():
                word = None  # the number of a descriptor
            return [*words, *([] if word is None else [word])], text[i:]
        else:
            within ^= _opened_or_closed(letter, within, word or "")
            word = (word or "") + letter
    if within or escaped:
        raise ValueError("a backslash at the end" if escaped else f"{_NAMES[min(within)]} is not closed")
    return [*words, *([] if word is None else [word])], ""


def _opened_or_closed(letter: str, within: set[str], word: str) -> set[str]:
    """What a letter opens or closes that stays a part of the word."""
    if letter == "`" and within.isdisjoint("'\"("):
        return {"`"}
    if letter not in "()" or not within.isdisjoint("'\"`"):
        return set()
    if letter == "(" and ("(" in within or not word.endswith("$")):
        raise ValueError("( without quotes is not valid")
    return {"("}

"""Expand variables as `docker build` does: $NAME, ${NAME}, ${NAME:-word}, ${NAME:+word}. Pure.

A variable that is not set remains as written, since its value may come from the build. So the result contains a `$`
where a value is not known. Quotes are removed. Nothing is expanded in single quotes or after the escape character.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_BRACED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-+?])(.*))?", re.ASCII | re.DOTALL)
_DEEPEST = 20
_LONGEST = 10_000  # limits the memory for variables that refer to themselves


def expand(text: str, variables: dict[str, str], escape: str = "\\", depth: int = 0) -> str:
    """Return the text with its variables expanded."""
    if depth > _DEEPEST or len(text) > _LONGEST:
        return text
    done: list[str] = []
    quote = ""
    at = 0
    while at < len(text):
        letter = text[at]
        if letter == escape and quote != "'" and at + 1 < len(text):
            done.append(text[at + 1])
            at += 2
        elif letter == quote:
            quote = ""
            at += 1
        elif letter in "'\"" and not quote:
            quote = letter
            at += 1
        elif letter == "$" and quote != "'":
            value, at = _variable(text, at, variables, escape, depth)
            done.append(value)
        else:
            done.append(letter)
            at += 1
    return "".join(done)[:_LONGEST]


def _variable(text: str, dollar: int, variables: dict[str, str], escape: str, depth: int) -> tuple[str, int]:
    """The value of the variable at this `$`, and the index after it."""
    if name := _NAME.match(text, dollar + 1):
        return variables.get(name[0], f"${name[0]}"), name.end()
    end = _closing_brace(text, dollar)
    found = _BRACED.fullmatch(text[dollar + 2 : end]) if text[dollar + 1 : dollar + 2] == "{" and end > 0 else None
    if not found:
        return "$", dollar + 1
    name_, operator, word = found[1], found[2] or "", found[3] or ""
    value = variables.get(name_)
    there = value is not None and (bool(value) or not operator.startswith(":"))
    if operator.endswith("+"):
        return (expand(word, variables, escape, depth + 1) if there else ""), end + 1
    if there:
        return value or "", end + 1
    if operator.endswith("-"):
        return expand(word, variables, escape, depth + 1), end + 1
    return text[dollar : end + 1], end + 1


def _closing_brace(text: str, dollar: int) -> int:
    """The index of the brace that closes the `${` at this index; -1 if there is none."""
    depth = 0
    for at in range(dollar + 1, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at
    return -1

"""Interpolation of variables, as in Compose (compose-spec 12-interpolation.md). Pure.

$NAME, ${NAME}; ${NAME:-text} and ${NAME-text} for a default, :? and ? for a required variable, :+ and + for a
replacement. With the colon, an empty value counts as not set. The text may contain variables and pairs of braces, and
is expanded only if it is used. $$ is a literal $, and so is a $ that none of these forms follows, such as that of $1.

Messages give the position of an error and quote nothing: the text after a $ may be part of a password.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cohabit.lazy_pattern import lazy_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT_DEPTH = 20
LIMIT_LENGTH = 131_072  # MAX_ARG_STRLEN: the kernel's limit for an argument or a variable
_NAME = lazy_pattern(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OPERATOR = lazy_pattern(r":?[-?+]")
_NEXT_BRACE = lazy_pattern(r"\$\$|\$?\{|\}")
_VARIABLE = lazy_pattern(r"\$\$|\$\{?([A-Za-z_][A-Za-z0-9_]*)", re.ASCII)
# A $( that is neither part of $$ nor of ${: a shell would run the command in it.
_SUBSTITUTION = lazy_pattern(r"(?<!\$)(?:\$\$)*\$\(")


class InterpolationError(ValueError):
    """The text contains an invalid `${`, or a required variable is not set."""


class MissingVariableError(InterpolationError):
    """The required variable `name` is not set. message: the text after :?, not expanded."""

    def __init__(self, name: str, why: str, message: str) -> None:
        super().__init__(f"the variable {name} {why}: {message}" if message else f"the variable {name} {why}")
        self.name = name
        self.anonymous = f"a required variable in it {why}"


class _BracesError(Exception):
    """The text between ${ and } is invalid."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint


def expand(text: str, lookup: Callable[[str], str | None], unset: list[str], depth: int = 0) -> str:
    """The text with its variables expanded. Names that are not set and have no default are appended to `unset`."""
    if "$" not in text:
        return text
    if depth > LIMIT_DEPTH:
        raise InterpolationError(f"variables nested more than {LIMIT_DEPTH} levels deep")
    done: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        done.append(text[at:dollar])
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            done.append("$")
            at = dollar + 2
        elif following == "{":
            end = _closing_brace(text, dollar)
            try:
                done.append(_braced(text[dollar + 2 : end], lookup, unset, depth))
            except _BracesError as error:
                raise InterpolationError(f"${{…}} {error} at character {dollar + 1}{error.hint}") from None
            at = end + 1
        elif name := _NAME.match(text, dollar + 1):
            done.append(_plain(name[0], lookup, unset))
            at = name.end()
        else:
            done.append("$")
            at = dollar + 1
    done.append(text[at:])
    if sum(map(len, done)) > LIMIT_LENGTH:
        raise InterpolationError(f"longer than {LIMIT_LENGTH:,} characters after interpolation")
    return "".join(done)


def _plain(name: str, lookup: Callable[[str], str | None], unset: list[str]) -> str:
    value = lookup(name)
    if value is None:
        unset.append(name)
        return ""
    return value


def _braced(inner: str, lookup: Callable[[str], str | None], unset: list[str], depth: int) -> str:
    """Value of the expression between ${ and }."""
    name = _NAME.match(inner)
    if not name:
        raise _BracesError("without a variable name", " (write $$ for a literal $)")
    if name.end() == len(inner):
        return _plain(inner, lookup, unset)
    operator = _OPERATOR.match(inner, name.end())
    if not operator:
        raise _BracesError("of an unknown form", " (write ${NAME}, with :- - :? ? :+ or + after the name)")
    alternative = inner[operator.end() :]
    value = lookup(name[0])
    filled = value is not None and (value != "" or ":" not in operator[0])
    kind = operator[0][-1]
    if kind == "+":
        return expand(alternative, lookup, unset, depth + 1) if filled else ""
    if filled and value is not None:
        return value
    if kind == "-":
        return expand(alternative, lookup, unset, depth + 1)
    why = "is empty" if value == "" else "is not set"
    raise MissingVariableError(name[0], why, alternative)


def uses(text: str, depth: int = 0) -> Iterator[tuple[str, str, str]]:
    """The variables of a text in their order, also those in defaults: (name, "-" "?" "+" or "", the text after it).

    Raises InterpolationError.
    """
    if depth > LIMIT_DEPTH:
        raise InterpolationError(f"variables nested more than {LIMIT_DEPTH} levels deep")
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        at = dollar + 1 + text.startswith("$", dollar + 1)
        braced = text.startswith("{", dollar + 1)
        name = _NAME.match(text, dollar + 1 + braced)
        if not (braced and name):
            if name:
                yield name[0], "", ""
            continue
        end = _closing_brace(text, dollar)
        at = end + 1
        operator = _OPERATOR.match(text, name.end())
        alternative = text[operator.end() : end] if operator else ""
        yield name[0], operator[0][-1] if operator else "", alternative
        yield from uses(alternative, depth + 1)


def names(text: str) -> list[str]:
    """The names of the variables in a text, before interpolation."""
    return list(dict.fromkeys(found[1] for found in _VARIABLE.finditer(text) if found[1]))


def has_substitution(text: str) -> bool:
    """Whether a text, before interpolation, contains `$(`, which stays as it is: no shell runs."""
    return "$(" in text and _SUBSTITUTION.search(text) is not None


def _closing_brace(text: str, opening: int) -> int:
    """Offset of the } that closes the ${ at `opening`; nested pairs are skipped.

    A { without a $ counts, too, so that a default may be JSON; if it has no }, only ${ counts.
    """
    for counted in (("{", "${"), ("${",)):
        depth = 0
        for token in _NEXT_BRACE.finditer(text, opening):
            depth += (token[0] in counted) - (token[0] == "}")
            if depth == 0 and token[0] == "}":
                return token.start()
    raise InterpolationError(f"${{ without }} at character {opening + 1}")

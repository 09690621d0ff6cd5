r"""Files of variables, with Compose's rules for env_file and .env (compose-spec 05-services.md, env_file). Pure.

NAME=value             # a comment: a # after a space that follows the value; variables are expanded
NAME="value\n$OTHER"    escapes and variables are expanded; may span several lines
NAME='literal'         literal; may span several lines
NAME                   the value from the environment; omitted if it is not set
export NAME=value, NAME: value, blank lines and lines that begin with #
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from cohabit.config.values.interpolate import MissingVariableError, expand, has_substitution

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LITERAL = "write $$ for a literal $"
LIMIT_TOTAL = 4 << 20  # characters: variables that contain variables can grow exponentially

_NOTHING: Mapping[str, str | None] = {}
_BLANK = re.compile(r"(?:[ \t\r\n\f\v]|#[^\n]*)*")
_NAME = re.compile(r"(?:export[ \t]+)?([\w.\[\]-]+)[ \t]*(=|:|(?=\r?\n|\r?$))")
_SPACES = re.compile(r"[ \t]*")
_UNQUOTED = re.compile(r"[^\n]*")
_SINGLE = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_REST_OF_LINE = re.compile(r"[ \t\r]*(?:#[^\n]*)?(?=\n|\Z)")
_COMMENT = " #"
_ESCAPE = re.compile(r"\\(0[0-3][0-7]{2}|.)", re.DOTALL)
_ESCAPES = {
    **{letter: chr(code) for code, letter in enumerate("abtnvfr", start=7)},
    "\\": "\\",
    '"': '"',
    "$": "$$",
}


class Variables(NamedTuple):
    """The content of a file of variables.

    diagnostics, warnings: (line, text) pairs. They quote no part of a value, not even the name after a $ in one.
    """

    values: dict[str, str]
    warnings: list[tuple[int, str]]
    diagnostics: list[tuple[int, str]]


def parse(text: str, lookup: Callable[[str], str | None], fallback: Mapping[str, str | None] = _NOTHING) -> Variables:
    """Variables of the text. lookup: the environment, which takes precedence over earlier lines of the file.

    fallback: variables that values may refer to if neither has them.
    """
    found = Variables({}, [], [])

    def known(name: str) -> str | None:
        value = lookup(name)
        if value is None:
            value = found.values.get(name)
        return fallback.get(name) if value is None else value

    total, line, counted = 0, 1, 0
    at = _end_of(_BLANK, text, 0)
    while at < len(text) and total <= LIMIT_TOTAL:
        line, counted = line + text.count("\n", counted, at), at
        try:
            warnings: list[str] = []
            name, value, at = _statement(text, at, known, warnings)
            found.warnings.extend((line, warning) for warning in warnings)
            if value is not None:
                found.values[name] = value
                total += len(value)
        except ValueError as error:
            found.diagnostics.append((line, str(error)))
            at = _end_of(_UNQUOTED, text, at)
        at = _end_of(_BLANK, text, at)
    if total > LIMIT_TOTAL:
        found.diagnostics.append((0, "its variables are larger than 4 MiB after interpolation"))
    return found


def parse_raw(text: str, lookup: Callable[[str], str | None]) -> Variables:
    """Variables of a file with `format: raw`, as in `docker run --env-file`: no quotes, no interpolation."""
    found = Variables({}, [], [])
    for number, written in enumerate(text.split("\n"), start=1):
        line = written.removesuffix("\r").lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        inherited = value if equals else lookup(name)
        if not name or " " in name:
            found.diagnostics.append((number, "expected NAME=value"))
        elif inherited is not None:
            found.values[name] = inherited
    return found


def _statement(
    text: str, at: int, lookup: Callable[[str], str | None], warnings: list[str]
) -> tuple[str, str | None, int]:
    """Name, value (None: not set) and end of the statement at `at`. Raises ValueError."""
    found = _NAME.match(text, at)
    if not found:
        raise ValueError("expected NAME=value")  # the text is not quoted: it may be part of a secret
    name, at = found[1], found.end()
    if not found[2]:
        return name, lookup(name), _end_of(_UNQUOTED, text, at)
    at = _end_of(_SPACES, text, at)
    try:
        if text.startswith(("'", '"'), at):
            value, end = _quoted(text, at)
        else:
            end = _end_of(_UNQUOTED, text, at)
            value = text[at:end].partition(_COMMENT)[0].strip()
        if not text.startswith("'", at):
            missing: list[str] = []
            if has_substitution(value):
                warnings.append(f"{name}: $(…) in it stays as it is: no shell runs")
            value = expand(value, lookup, missing)
            if missing:
                warnings.append(f"{name}: a variable in it is not set: replaced by an empty string ({LITERAL})")
    except MissingVariableError as error:
        raise ValueError(f"{name}: {error.anonymous}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return name, value, end


def _quoted(text: str, at: int) -> tuple[str, int]:
    """The text in the quotes at `at`, with escapes but not variables expanded, and the end of the statement."""
    quote = text[at]
    found = (_SINGLE if quote == "'" else _DOUBLE).match(text, at)
    if not found:
        raise ValueError(f"the quote {quote} is not closed")
    rest = _REST_OF_LINE.match(text, found.end())
    if not rest:
        raise ValueError(f"text after the closing quote {quote}")
    inner = found[1].replace("\r\n", "\n")
    return inner.replace("\\'", "'") if quote == "'" else _ESCAPE.sub(_unescape, inner), rest.end()


def _unescape(escape: re.Match[str]) -> str:
    if len(escape[1]) > 1:
        return chr(int(escape[1], 8))
    return _ESCAPES.get(escape[1], escape[0])


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at

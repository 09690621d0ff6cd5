"""Variables in what people wrote, as Compose puts them in (compose-spec 12-interpolation.md). Pure.

$NAME, ${NAME}; ${NAME:-word} and ${NAME-word} for a default, :? and ? for "must be there", :+ and + for a
replacement; the colon means "or empty". A word may hold variables itself and is looked at only when it is
needed. $$ is a plain $.

No message quotes the text, not even what stands behind a $: it may be the rest of a password. It says where that is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_DEPTH = 20
LIMIT_LENGTH = 131_072  # MAX_ARG_STRLEN: the kernel takes no longer argument or variable
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OPERATOR = re.compile(r":?[-?+]")
_NEXT_BRACE = re.compile(r"\$\$|\$\{|\}")


class InterpolationError(ValueError):
    """The text holds a `$` that means nothing, or a variable that must be set is not."""


class MissingVariableError(InterpolationError):
    """A variable that must be set is not. word: what its writer wants said then, variables in it as they are."""

    def __init__(self, name: str, why: str, word: str) -> None:
        super().__init__(f"the variable {name} {why}: {word}" if word else f"the variable {name} {why}")
        self.anonymous = f"a variable in it {why}, and must be"


class _BracesError(Exception):
    """What stands between ${ and } is wrong."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint


def expand(text: str, lookup: Callable[[str], str | None], unset: list[str], depth: int = 0) -> str:
    """The text with its variables put in; names that were neither set nor had a default go to `unset`."""
    if "$" not in text:
        return text
    if depth > LIMIT_DEPTH:
        raise InterpolationError(f"variables nested more than {LIMIT_DEPTH} deep")
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
                raise InterpolationError(f"a ${{…}} that {error}, at character {dollar + 1}{error.hint}") from None
            at = end + 1
        elif name := _NAME.match(text, dollar + 1):
            done.append(_plain(name[0], lookup, unset))
            at = name.end()
        else:
            raise InterpolationError(f"a $ that names no variable, at character {dollar + 1} (write $$ for $)")
    done.append(text[at:])
    if sum(map(len, done)) > LIMIT_LENGTH:
        raise InterpolationError(f"longer than {LIMIT_LENGTH:,} characters once its variables are put in")
    return "".join(done)


def _plain(name: str, lookup: Callable[[str], str | None], unset: list[str]) -> str:
    value = lookup(name)
    if value is None:
        unset.append(name)
        return ""
    return value


def _braced(inner: str, lookup: Callable[[str], str | None], unset: list[str], depth: int) -> str:
    """Value of what stands between ${ and }."""
    name = _NAME.match(inner)
    if not name:
        raise _BracesError("names no variable", " (write $$ for a plain $)")
    if name.end() == len(inner):
        return _plain(inner, lookup, unset)
    operator = _OPERATOR.match(inner, name.end())
    if not operator:
        raise _BracesError("is no known form", " (there are ${NAME}, and :- - :? ? :+ + behind the name)")
    word = inner[operator.end() :]
    value = lookup(name[0])
    filled = value is not None and (value != "" or ":" not in operator[0])
    kind = operator[0][-1]
    if kind == "+":
        return expand(word, lookup, unset, depth + 1) if filled else ""
    if filled and value is not None:
        return value
    if kind == "-":
        return expand(word, lookup, unset, depth + 1)
    why = "is empty" if value == "" else "is not set"
    raise MissingVariableError(name[0], why, word)


def _closing_brace(text: str, opening: int) -> int:
    """Offset of the } that ends the ${ at `opening`; the nested ones in between are skipped."""
    depth = 0
    for token in _NEXT_BRACE.finditer(text, opening):
        depth += (token[0] == "${") - (token[0] == "}")
        if depth == 0 and token[0] == "}":
            return token.start()
    raise InterpolationError(f"a ${{ without its }}, at character {opening + 1}")

"""Split a command line into shell words and operators, and find what requires a shell. Pure.

config/values/shell.py decides what is run. This module only examines; nested quotes and $( ) are approximated.
"""

from __future__ import annotations

import re

from cohabit.plan.record import Record

_QUOTES = "'\""
_OPERATOR = re.compile(r"&&|\|\||\|&|;;|[;|&\n]")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=", re.ASCII)


class Word(Record):
    """One word and its position.

    text: without its quotes. bare: the characters that a shell interprets: quoted characters are NUL, except those
    that are expanded in double quotes.
    """

    text: str
    bare: str
    start: int
    end: int


class Command(Record):
    """The words before an operator, and the operator: "&&", "||", ";", "|", "&", a newline, "" at the end."""

    words: tuple[Word, ...]
    operator: str
    at: int

    @property
    def argv(self) -> tuple[str, ...]:
        """Its words without leading assignments and `exec`."""
        texts = [word.text for word in self.words]
        while texts and (_ASSIGNMENT.match(texts[0]) or texts[0] == "exec"):
            del texts[0]
        return tuple(texts)


def commands(text: str) -> list[Command]:
    """Return the commands of a text, in order; never raises."""
    scan = _Scan(text)
    found: list[Command] = []
    words: list[Word] = []
    for item in scan.items:
        if isinstance(item, Word):
            words.append(item)
            continue
        if words or item[0] in ("&", "|"):
            found.append(Command(tuple(words), item[0], item[1]))
        words = []
    if words:
        found.append(Command(tuple(words), "", len(text)))
    return found


class _Scan:
    """A scanner; items: Words, and operators as (text, index)."""

    def __init__(self, text: str) -> None:
        self.items: list[Word | tuple[str, int]] = []
        self._text, self._bare, self._start = "", "", -1
        at = 0
        while at < len(text):
            letter = text[at]
            if letter in _QUOTES:
                at = self._quoted(text, at)
            elif letter == "\\" and at + 1 < len(text):
                if text[at + 1] != "\n":
                    self._put(text[at + 1], "\0", at)
                at += 2
            elif letter in " \t\r":
                self._end(at)
                at += 1
            elif letter == "#" and self._start < 0:
                end = text.find("\n", at)
                at = end if end >= 0 else len(text)
            elif (found := _OPERATOR.match(text, at)) and not self._redirects(text, at):
                self._end(at)
                self.items.append((found[0], at))
                at = found.end()
            else:
                self._put(letter, letter, at)
                at += 1
        self._end(len(text))

    def _redirects(self, text: str, at: int) -> bool:
        """Whether this & belongs to `>&`, `<&` or `&>`, or this | to `>|`."""
        return self._bare.endswith((">", "<")) or (text[at] == "&" and text[at + 1 : at + 2] == ">")

    def _quoted(self, text: str, at: int) -> int:
        quote = text[at]
        end = text.find(quote, at + 1)
        while quote == '"' and end > 0 and text[end - 1] == "\\":
            end = text.find(quote, end + 1)
        end = end if end >= 0 else len(text)
        inside = text[at + 1 : end]
        expanded = inside if quote == '"' else ""
        self._put(
            inside, "".join(one if one in "$`(" or one.isalnum() or one in "_{" else "\0" for one in expanded), at
        )
        self._bare = self._bare or "\0"
        return end + 1

    def _put(self, text: str, bare: str, at: int) -> None:
        if self._start < 0:
            self._start = at
        self._text += text
        self._bare += bare

    def _end(self, at: int) -> None:
        if self._start >= 0:
            self.items.append(Word(self._text, self._bare, self._start, at))
        self._text, self._bare, self._start = "", "", -1


# --- what requires a shell ------------------------------------------------------------------------------

_ONLY_SHELL = frozenset(
    {
        "cd",
        "export",
        "source",
        ".",
        "exec",
        "eval",
        "set",
        "unset",
        "trap",
        "ulimit",
        "umask",
        "alias",
        "wait",
        "type",
        "shift",
        "if",
        "for",
        "while",
        "case",
    }
)
_REDIRECTION = re.compile(r"\d*(?:>>?|<<?<?)|&>>?")
_EXPANSION = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_]|\()|`")
_GLOB = re.compile(r"(?:^|/)[^\0/=]*\*[^\0/=]*\.\w|[\w.-]/[^\0=]*\*|^\*\.\w")


def needs_shell(text: str) -> tuple[str, bool]:
    """Return (the part of a command string that requires a shell, whether that is certain); ("", False) if none.

    A `&` or `;` inside a word is ignored: it may be part of a URL.
    """
    found = commands(text)
    for command in found:
        if command.operator and _stands_alone(text, command):
            return repr(command.operator)[1:-1], True
    words = [word for command in found for word in command.words]
    if words and _ASSIGNMENT.match(words[0].bare):
        return words[0].text, True
    if words and words[0].text in _ONLY_SHELL:
        return words[0].text, True
    for word in words[1:]:
        if redirection := _REDIRECTION.match(word.bare):
            return redirection[0], True
    for word in words:
        if expansion := _EXPANSION.search(word.bare):
            return word.text if word.text.startswith(expansion[0][0]) else expansion[0], True
    for word in words[1:]:
        if _GLOB.search(word.bare) or word.bare.startswith("~/"):
            return word.text, False
    return "", False


def _stands_alone(text: str, command: Command) -> bool:
    """Whether the operator is surrounded by spaces or the end of the text."""
    before, after = text[: command.at], text[command.at + len(command.operator) :]
    long = len(command.operator) > 1 or command.operator == "\n"
    return (long or not before or before[-1].isspace() or command.operator == ";") and (not after or after[0].isspace())

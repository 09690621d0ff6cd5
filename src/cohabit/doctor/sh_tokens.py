"""Split a shell script into words, operators and redirections. Pure.

The rules are those of POSIX XCU 2.2, 2.3 and 2.7.4, with bash's $'…', here-strings, arrays, extended patterns, (( ))
and process substitution. What stands inside $( ), ${ } and `…` remains as written. A quote, a substitution or a
here-document that is not closed raises UnparsedError: then the script cannot be judged.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

WORD, OPERATOR, REDIRECTION = "word", "operator", "redirection"
_BLANK = " \t\r"
_ENDS_WORD = " \t\r\n;&|<>()"
_OPERATORS = re.compile(r";;&|;;|;&|&&|\|\||\|&|[;&|()\n]")
_REDIRECTION = re.compile(r"(?:\d+|\{[A-Za-z_]\w*\})?(?:&>>?|<<<|<<-?|>>|>\||<>|[<>]&|[<>])")
_EXTENDED_PATTERN = "@?*+!"
_EXPANDS = "*?[~"
_DEEPEST = 60
_DOUBLE_BRACKETS_MAX = 500  # each is read twice


class UnparsedError(Exception):
    """The text is not a script of sh or bash as far as this module knows them. line: where; why: the reason."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line
        self.why = why


class Word(Record):
    """One word. text: without its quotes. quoted: a part of it is in quotes. plain: the shell expands nothing in it."""

    text: str
    quoted: bool = False
    plain: bool = True


class Token(Record):
    """A word, an operator (a newline, too) or a redirection, and its place in the text."""

    kind: str
    word: Word
    start: int
    end: int
    line: int


def tokens(text: str) -> list[Token]:
    """Return the tokens of a script. Raises UnparsedError."""
    return list(_Scan(text).tokens())


class _Scan:
    """A position in a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._depth = 0
        self._double_brackets = 0
        self._documents: list[tuple[str, bool]] = []  # here-documents that begin after this line: (end, with tabs)

    def tokens(self) -> Iterator[Token]:
        """The tokens, in order."""
        text = self._text
        while self._at < len(text):
            start, letter = self._at, text[self._at]
            if letter in _BLANK:
                self._at += 1
            elif letter == "#":
                end = text.find("\n", start)
                self._at = end if end >= 0 else len(text)
            elif letter == "\\" and text[start + 1 : start + 2] == "\n":
                self._at += 2
            elif text.startswith("((", start) and (end := self._arithmetic_end(start)):
                self._at = end
                yield self._token(WORD, Word(text[start:end], plain=False), start)
            elif text[start : start + 2] in ("<(", ">("):
                yield self._token(WORD, self._word(), start)
            elif found := _REDIRECTION.match(text, start):
                yield self._redirection(found)
            elif found := _OPERATORS.match(text, start):
                self._at = found.end()
                yield self._token(OPERATOR, Word(found[0]), start)
                if found[0] == "\n":
                    self._skip_documents()
            else:
                yield self._token(WORD, self._word(), start)
        if self._documents:
            raise self._error(len(text) - 1, f"the here-document {self._documents[0][0]} has no end")

    def _token(self, kind: str, word: Word, start: int) -> Token:
        return Token(kind, word, start, self._at, self._line(start))

    def _line(self, at: int) -> int:
        return bisect_right(self._starts, at)

    def _error(self, at: int, why: str) -> UnparsedError:
        return UnparsedError(self._line(at), why)

    # --- redirections ---

    def _redirection(self, found: re.Match[str]) -> Token:
        """An operator of redirection with its target; that of a here-document is read after the line."""
        start = self._at
        self._at = found.end()
        while self._text[self._at : self._at + 1] in (" ", "\t"):
            self._at += 1
        target = self._word()
        kind = found[0].lstrip("0123456789")
        if kind in ("<<", "<<-"):
            self._documents.append((target.text, kind == "<<-"))
        return self._token(REDIRECTION, Word(found[0] + target.text, plain=target.plain), start)

    def _skip_documents(self) -> None:
        for mark, tabs in self._documents:
            at = self._at
            while True:
                if at >= len(self._text):
                    raise self._error(self._at, f"the here-document {mark} has no end")
                end = self._text.find("\n", at)
                end = end if end >= 0 else len(self._text)
                line = self._text[at:end].removesuffix("\r")
                at = end + 1
                if (line.lstrip("\t") if tabs else line) == mark:
                    break
            self._at = min(at, len(self._text))
        self._documents = []

    # --- words ---

    def _word(self) -> Word:
        text, done, quoted, plain = self._text, "", False, True
        while self._at < len(text):
            start, letter = self._at, text[self._at]
            if text[start : start + 2] in ("<(", ">(") and not done:
                self._at = self._closing(start + 1, ")") + 1
                done, plain = text[start : self._at], False
            elif letter == "(" and done and not quoted and (done[-1] == "=" or done[-1] in _EXTENDED_PATTERN):
                self._at = self._closing(start, ")") + 1
                done, plain = done + text[start : self._at], False
            elif letter in _ENDS_WORD:
                break
            elif letter == "'":
                end = text.find("'", start + 1)
                if end < 0:
                    raise self._error(start, "a quote is not closed")
                done, quoted, self._at = done + text[start + 1 : end], True, end + 1
            elif letter == '"':
                self._at = self._double_end(start)
                inside = text[start + 1 : self._at - 1]
                plain = plain and not re.search(r"(?<!\\)[$`]", inside)
                done, quoted = done + re.sub(r'\\([$`"\\\n])', _unescaped, inside), True
            elif letter == "\\":
                self._at += 2
                done, quoted = done + text[start + 1 : start + 2].strip("\n"), True
            elif letter in "$`":
                self._at = self._expansion_end(start)
                done, plain = done + text[start : self._at], False
            else:
                plain = plain and letter not in _EXPANDS
                done, self._at = done + letter, start + 1
        return Word(done, quoted, plain)

    def _expansion_end(self, at: int) -> int:
        """The index after the expansion that begins at this `$` or backquote."""
        text = self._text
        if text[at] == "`":
            end = at + 1
            while end < len(text) and text[end] != "`":
                end += 2 if text[end] == "\\" else 1
            if end >= len(text):
                raise self._error(at, "a ` is not closed")
            return end + 1
        following = text[at + 1 : at + 2]
        if following in ("(", "{"):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise self._error(at, "the substitutions are nested too deeply")
            end = self._closing(at + 1, ")" if following == "(" else "}") + 1
            self._depth -= 1
            return end
        if following == "'":
            end = at + 2
            while end < len(text) and text[end] != "'":
                end += 2 if text[end] == "\\" else 1
            if end >= len(text):
                raise self._error(at, "a quote is not closed")
            return end + 1
        found = re.compile(r"[A-Za-z_]\w*|[0-9@*#?$!-]", re.ASCII).match(text, at + 1)
        return found.end() if found else at + 1

    def _closing(self, at: int, close: str) -> int:
        """The index of the bracket that closes the one at this index; quotes and nested ones are skipped."""
        text, opening, depth, start = self._text, self._text[at], 0, at
        while at < len(text):
            letter = text[at]
            if letter == "\\":
                at += 1
            elif letter == "'" and close == ")":
                at = text.find("'", at + 1)
                if at < 0:
                    break
            elif letter == '"':
                at = self._double_end(at) - 1
            elif letter == "`" or (letter == "$" and text[at + 1 : at + 2] in ("(", "{", "'")):
                at = self._expansion_end(at) - 1
            elif letter == opening:
                depth += 1
            elif letter == close:
                depth -= 1
                if depth == 0:
                    return at
            at += 1
        raise self._error(start, f"a {opening} is not closed")

    def _double_end(self, at: int) -> int:
        """The index after the double quote that closes the one at this index."""
        text, start = self._text, at
        at += 1
        while at < len(text) and text[at] != '"':
            if text[at] == "`" or (text[at] == "$" and text[at + 1 : at + 2] in ("(", "{")):
                at = self._expansion_end(at)
            else:
                at += 2 if text[at] == "\\" else 1
        if at >= len(text):
            raise self._error(start, "a quote is not closed")
        return at + 1

    def _arithmetic_end(self, at: int) -> int:
        """The index after `((…))`; 0 if these are two brackets of subshells."""
        self._double_brackets += 1
        if self._double_brackets > _DOUBLE_BRACKETS_MAX:
            raise self._error(at, "there are too many brackets")
        end = self._closing(at, ")")
        inner = self._closing(at + 1, ")")
        return end + 1 if inner == end - 1 else 0


def _unescaped(found: re.Match[str]) -> str:
    return "" if found[1] == "\n" else found[1]

"""A shell command as one string -> argv, without a shell process where possible. Pure.

There are three results. In doubt the later one is chosen; the meaning of the command never changes:

    words and quotes only        the words themselves
    a simple command that needs  /bin/sh -c "exec …", with exec after leading assignments: the shell expands,
    the shell ($VAR, *, >, A=1)  redirects, and becomes the program
    everything else (; & |       /bin/sh -c STRING, exactly as written
    newline, if, cd, comments)

The rules are those of POSIX's shell command language (XCU 2.2, 2.3).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cohabit.lazy_pattern import lazy_pattern

SHELL = "/bin/sh"
# Reserved words of POSIX and of the shells installed as sh. A command that begins with one is not a simple command.
_RESERVED = """
    ! [[ ]] { } case coproc do done elif else esac fi for function if in select then time until while
"""
# Builtins of shells. Some also exist as programs (echo, test) that may behave differently: the builtin is used.
_BUILTINS = """
    . : [ alias bg bind break builtin caller cd command compgen complete compopt continue declare dirs disown
    echo enable eval exec exit export false fc fg getopts hash help history jobs kill let local logout mapfile
    popd printf pushd pwd read readarray readonly return set shift shopt source suspend test times trap true
    type typeset ulimit umask unalias unset wait
"""
_BUILTIN_NAMES = frozenset(_BUILTINS.split())
_RESERVED_WORDS = frozenset(_RESERVED.split())
_ASSIGNMENT = lazy_pattern(r"[A-Za-z_][A-Za-z0-9_]*\+?=", re.ASCII)
_VARIABLE = lazy_pattern(
    r"""\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*(?::?[-=?+][^'"\\`${}]*)?\})""", re.ASCII
)
_BLANKS = " \t\n"
_ENDS_WORD = " \t"
_COMPOUND = "\n;&|()"
_REDIRECTION = "<>"
_EXPANDS = "$`"
_QUOTES = "'\"\\"
_PATTERN = "*?[]{}~!^"  # braces: bash expands them even as sh
_DOUBLE_ESCAPES = '$`"\\'


class Command(NamedTuple):
    """argv to execute, and the name of the program; "sh" if only the shell can determine it."""

    argv: tuple[str, ...]
    program: str


class _Word:
    """One word of a text.

    start: its offset. assigns: it is a leading NAME=value. text: the word without quotes. plain: the shell would not
    expand it. quoted: a part of it is in quotes.
    """

    def __init__(self, start: int, *, assigns: bool) -> None:
        self.start = start
        self.assigns = assigns
        self.text = ""
        self.plain = True
        self.quoted = False


def parse(written: str) -> Command:
    """The Command of a string. ValueError: it is empty, or a quote is not closed."""
    text = written.strip(_BLANKS)
    if not text:
        raise ValueError("the command is empty")
    scan = _Scan(text)
    command = next((word for word in scan.words if not word.assigns), None)
    if not scan.simple or command is None or not command.plain or not command.text:
        return Command((SHELL, "-c", written), "sh")
    if command.text in _BUILTIN_NAMES or (command.text in _RESERVED_WORDS and not command.quoted):
        return Command((SHELL, "-c", written), command.text if command.text in _BUILTIN_NAMES else "sh")
    if command.text.startswith(("-", "%")):  # an option of exec, a job of bash
        return Command((SHELL, "-c", written), "sh")
    if scan.redirects or any(word.assigns or not word.plain for word in scan.words):
        return Command((SHELL, "-c", f"{text[: command.start]}exec {text[command.start :]}"), command.text)
    return Command(tuple(word.text for word in scan.words), command.text)


class _Scan:
    """The words of a text, read character by character.

    words: all words. simple: the text is certainly one simple command. redirects: it has redirections.
    Scanning ends at a here-document or a $( ), because quotes have another meaning there.
    """

    def __init__(self, text: str) -> None:
        self.words: list[_Word] = []
        self.simple = True
        self.redirects = False
        self._text = text
        self._at = 0
        self._word: _Word | None = None
        while self._at < len(text):
            letter = text[self._at]
            if letter in _ENDS_WORD:
                self._end_word()
                self._at += 1
            elif letter in _REDIRECTION:
                self._redirection()
            elif letter == "#" and self._word is None:
                self._end_scan()
            elif letter in _COMPOUND:
                self._end_word()
                self.simple = False
                self._at += 1
            else:
                self._letter(letter)
        self._end_word()

    def _end_scan(self) -> None:
        """End the scan: the rest of the text is not understood."""
        self.simple = False
        self._at = len(self._text)

    def _letter(self, letter: str) -> None:
        """One character of a word, or a quoted or expanded part of it."""
        if self._word is None:
            assigns = all(word.assigns for word in self.words) and _ASSIGNMENT.match(self._text, self._at)
            self._word = _Word(self._at, assigns=bool(assigns))
        word = self._word
        if letter in _EXPANDS:
            self._expansion(word)
            return
        word.quoted = word.quoted or letter in _QUOTES
        if letter == "'":
            end = self._text.find("'", self._at + 1)
            if end < 0:
                raise ValueError("the quote ' is not closed")
            word.text += self._text[self._at + 1 : end]
            self._at = end + 1
        elif letter == '"':
            self._double_quotes(word)
        elif letter == "\\":
            following = self._text[self._at + 1 : self._at + 2]
            self.simple = self.simple and following not in ("", "\n")
            word.text += following
            self._at += 2
        else:
            word.plain = word.plain and letter not in _PATTERN
            word.text += letter
            self._at += 1

    def _double_quotes(self, word: _Word) -> None:
        """A part in double quotes: a backslash escapes only some characters; $ and ` expand."""
        self._at += 1
        while self._text[self._at : self._at + 1] != '"':
            letter = self._text[self._at : self._at + 1]
            if not letter:
                if self.simple:
                    raise ValueError('the quote " is not closed')
                return
            if letter in _EXPANDS:
                self._expansion(word)
                continue
            following = self._text[self._at + 1 : self._at + 2]
            if letter == "\\" and following == "\n":
                self._end_scan()
                return
            if letter == "\\" and following and following in _DOUBLE_ESCAPES:
                letter = following
                self._at += 1
            word.text += letter
            self._at += 1
        self._at += 1

    def _expansion(self, word: _Word) -> None:
        """The shell expands `$NAME` and `${NAME:-word}`; anything else, such as $( ), ends the scan."""
        word.plain = False
        found = _VARIABLE.match(self._text, self._at)
        if found:
            self._at = found.end()
        else:
            self._end_scan()

    def _redirection(self) -> None:
        """`>`, `2>&1` and similar. One before the command's name, or a here-document, ends the scan."""
        if self._word is not None and self._word.text.isdecimal() and not self._word.quoted:
            self._word = None  # the 2 of 2> is not a word of the command
        self._end_word()
        self.redirects = True
        if all(word.assigns for word in self.words) or self._text.startswith("<<", self._at):
            self._end_scan()
            return
        self._at += 1
        if self._text[self._at : self._at + 1] in (">", "&", "|"):
            self._at += 1

    def _end_word(self) -> None:
        if self._word is not None:
            self.words.append(self._word)
            self._word = None

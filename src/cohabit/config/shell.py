"""One string that a person typed as a shell command -> argv, with no shell left standing where that can be.

Three outcomes, from the least shell to the most; in doubt the later one, never another meaning:

    words and quotes only        the words themselves
    a simple command that needs  /bin/sh -c "exec …", exec behind leading assignments: the shell expands,
    the shell ($VAR, *, >, A=1)  redirects, and becomes the program
    all else (; & | newline, if  /bin/sh -c STRING, exactly as written
    and friends, cd, comments)

Rules are POSIX's shell command language (XCU 2.2, 2.3); pure.
"""

from __future__ import annotations

import re

from cohabit.plan.record import Record

SHELL = "/bin/sh"
# Reserved words of POSIX and of the shells that pose as sh; a command that begins with one is no simple command.
_RESERVED = frozenset("! [[ ]] { } case coproc do done elif else esac fi for function if in select then time until while".split())
# What a shell does by itself. Those that are programs as well (echo, test) may differ from them: the shell's counts.
_BUILTINS = frozenset(
    ". : [ alias bg bind break builtin caller cd command compgen complete compopt continue declare dirs disown echo "
    "enable eval exec exit export false fc fg getopts hash help history jobs kill let local logout mapfile popd "
    "printf pushd pwd read readarray readonly return set shift shopt source suspend test times trap true type "
    "typeset ulimit umask unalias unset wait".split()
)
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=", re.ASCII)
_ENDS_WORD = " \t"
_COMPOUND = "\n;&|()"
_REDIRECTION = "<>"
_EXPANDS = "$`"
_PATTERN = "*?[]{}~"  # braces: bash expands them even as sh
_DOUBLE_ESCAPES = '$`"\\'


class Command(Record):
    """argv to execute, and the program that it names; "sh" if only the shell knows."""

    argv: tuple[str, ...]
    program: str


class _Word:
    """One word of the text. text: without its quotes; plain: the shell would not change it."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.text = ""
        self.plain = True
        self.quoted = False  # begins with, or holds, quoted letters
        self.assigns = False


def parse(written: str) -> Command:
    """The Command of a string; ValueError if it is empty or a quote is never closed."""
    text = written.strip(" \t\n")
    if not text:
        raise ValueError("the command is empty")
    words, simple, redirects = _Scanner(text).scan()
    command = next((word for word in words if not word.assigns), None)
    whole = Command((SHELL, "-c", written), "sh")
    if not simple or command is None or not command.plain or not command.text:
        return whole
    if not command.quoted and (command.text in _RESERVED or command.text in _BUILTINS):
        return whole.replace(program=command.text) if command.text in _BUILTINS else whole
    if command.quoted and command.text in _BUILTINS:
        return whole
    if all(word.plain and not word.assigns for word in words) and not redirects:
        return Command(tuple(word.text for word in words), command.text)
    return Command((SHELL, "-c", f"{text[: command.start]}exec {text[command.start :]}"), command.text)


class _Scanner:
    """Reads a command letter by letter; gives up (not simple) as soon as it might be more than one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.words: list[_Word] = []
        self.word: _Word | None = None
        self.simple = True
        self.redirects = False
        self.in_command = False  # a word that is no assignment has been read

    def scan(self) -> tuple[list[_Word], bool, bool]:
        """The words, whether the text is one simple command, and whether it redirects."""
        while self.at < len(self.text):
            letter = self.text[self.at]
            if letter in _ENDS_WORD:
                self.end_word()
                self.at += 1
            elif letter in _REDIRECTION:
                self.redirection()
            elif letter in _COMPOUND or (letter == "#" and self.word is None):
                self.simple = False
                self.at += 1
            else:
                self.letter(letter)
        self.end_word()
        return self.words, self.simple, self.redirects

    def letter(self, letter: str) -> None:
        """One letter of a word, or a quoted piece of it."""
        if self.word is None:
            found = None if self.in_command else _ASSIGNMENT.match(self.text, self.at)
            self.word = _Word(self.at)
            self.word.assigns = bool(found)
        word = self.word
        if letter == "'":
            word.quoted = True
            end = self.closing("'", self.at + 1)
            word.text += self.text[self.at + 1 : end]
            self.at = end + 1
        elif letter == '"':
            word.quoted = True
            self.double_quotes(word)
        elif letter == "\\":
            word.quoted = True
            following = self.text[self.at + 1 : self.at + 2]
            self.simple = self.simple and following not in ("", "\n")
            word.text += following
            self.at += 2
        else:
            word.plain = word.plain and letter not in _EXPANDS and letter not in _PATTERN
            word.text += letter
            self.at += 1

    def double_quotes(self, word: _Word) -> None:
        """A piece in double quotes: a backslash counts before some letters only, $ and ` expand."""
        at = self.at + 1
        while self.text[at : at + 1] != '"':
            letter = self.text[at : at + 1]
            if not letter:
                raise ValueError('the quote " is never closed')
            if letter == "\\" and self.text[at + 1 : at + 2] in tuple(_DOUBLE_ESCAPES):
                at += 1
                letter = self.text[at]
            elif letter == "\\" and self.text[at + 1 : at + 2] == "\n":
                self.simple = False
            elif letter in _EXPANDS:
                word.plain = False
                # What $( ) and ` ` hold may have quotes of its own, which this scanner does not follow.
                self.simple = self.simple and letter != "`" and self.text[at + 1 : at + 2] not in ("(", "{")
            word.text += letter
            at += 1
        self.at = at + 1

    def redirection(self) -> None:
        """`>`, `2>&1` and the like, behind the command's name; before it, or with a here-document, in doubt."""
        number = self.word is not None and self.word.text.isdecimal() and not self.word.quoted
        if number and self.word:
            self.word = None  # 2> is no word of the command
        self.end_word()
        self.redirects = True
        if not self.in_command or self.text.startswith("<<", self.at):
            self.simple = False
        self.at += 1
        if self.text[self.at : self.at + 1] in tuple("<>&|"):
            self.at += 1

    def end_word(self) -> None:
        if self.word is not None:
            self.in_command = self.in_command or not self.word.assigns
            self.words.append(self.word)
            self.word = None

    def closing(self, quote: str, at: int) -> int:
        end = self.text.find(quote, at)
        if end < 0:
            raise ValueError(f"the quote {quote} is never closed")
        return end

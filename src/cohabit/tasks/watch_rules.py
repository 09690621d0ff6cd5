"""The rules of develop.watch: which files they are about. A part of the watcher (watcher.py). Pure.

Patterns are those of `.dockerignore`, as moby's patternmatcher reads them, which Compose uses: `*` and `?` match within
one name, `**` any number of directories, `[a-z]` one character; a backslash makes the next character literal. A pattern
that matches a directory matches what is in it. The last pattern that matches decides; one with `!` makes an exception.
"""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What editors and version control write beside the files: ignored as in Compose (pkg/watch, ephemeral.go). The last two
# are what Python itself writes when a service starts; outside of a container nothing does that.
IGNORED = (
    *("**/.git", "**/.idea", "**/*___jb_old___", "**/*___jb_tmp___", "**/.#*", "**/#*#", "**/4913", "**/*~"),
    *("**/.*.swp", "**/.*.swx", "**/.*.swo", "**/.*.swn", "**/__pycache__", "**/*.pyc"),
)


class Patterns:
    """Patterns, relative to a directory. root: it, for patterns that are absolute paths."""

    def __init__(self, patterns: Iterable[str], root: str) -> None:
        self._patterns: list[tuple[bool, re.Pattern[str]]] = []  # whether it makes an exception
        for written in patterns:
            text = written.strip()
            excepts = text.startswith("!")
            path = os.path.normpath(text[excepts:].strip())
            if text[excepts:].strip() and path != ".":
                path = path.removeprefix(f"{root.rstrip('/')}/").lstrip("/")
                self._patterns.append((excepts, re.compile("".join(_regex(path)), re.DOTALL)))
        self.has_exceptions = any(excepts for excepts, _ in self._patterns)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def match(self, path: str) -> bool:
        """Whether they match a relative path, or one of its parents."""
        names = path.split("/")
        whole = ["/".join(names[:end]) for end in range(len(names), 0, -1)]
        matched = False
        for excepts, pattern in self._patterns:
            if excepts == matched and any(pattern.fullmatch(one) for one in whole):
                matched = not excepts
        return matched


def _regex(pattern: str) -> Iterator[str]:
    """The parts of the regular expression for a pattern."""
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "*" and pattern[at : at + 1] == "*":
            at += 2 if pattern[at + 1 : at + 2] == "/" else 1
            yield "(?:.*/)?" if at < len(pattern) else ".*"
        elif letter == "*":
            yield "[^/]*"
        elif letter == "?":
            yield "[^/]"
        elif letter == "[" and (end := pattern.find("]", at + 1)) > 0:
            inner = pattern[at:end]
            yield "(?!/)[" + ("^" if inner[0] == "^" else "") + re.sub(r"([\[&~|])", r"\\\1", inner.lstrip("^")) + "]"
            at = end + 1
        elif letter == "\\" and at < len(pattern):
            yield re.escape(pattern[at])
            at += 1
        else:
            yield re.escape(letter)


class Rule:
    """One rule. group: the number of the service in reports. root: the absolute path that is watched."""

    def __init__(self, group: int, root: str, ignore: Iterable[str], include: Iterable[str]) -> None:
        self.group = group
        self.root = root
        self._below = f"{root.rstrip('/')}/"
        self._ignored = Patterns(IGNORED, "/")
        self._own = Patterns(ignore, root)
        self._include = Patterns(include, root)

    def concerns(self, path: str, *, is_directory: bool) -> bool:
        """Whether a change of this path counts."""
        if path == self.root:
            return not is_directory
        relative = self._relative(path)
        if not relative or self._ignored.match(relative) or self._own.match(relative):
            return False
        return not self._include or self._include.match(relative)

    def enters(self, directory: str) -> bool:
        """Whether changes in a directory can count."""
        if directory == self.root:
            return True
        relative = self._relative(directory)
        if not relative or self._ignored.match(relative):
            return False
        return self._own.has_exceptions or not self._own.match(relative)

    def leads(self, path: str) -> bool:
        """Whether the root is at this path or below it, so that it appears and disappears with it."""
        return path == self.root or self.root.startswith(f"{path.rstrip('/')}/")

    def _relative(self, path: str) -> str:
        """The path from the root, "" if it is not below it."""
        return path.removeprefix(self._below) if path.startswith(self._below) else ""

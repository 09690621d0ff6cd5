"""Secrets hidden in output: each text of one is replaced by asterisks, wherever it stands in a line.

A secret of several lines (a key in PEM form) is hidden line by line. What is shorter than four bytes is not hidden: it
would take half the log with it, and tell by its gaps what it is. A secret that somebody writes in another form (base64,
percent signs) is not known again.
"""

from __future__ import annotations

from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MASKED = b"***"
SHORTEST = 4  # as in config/load.py
_SIZE_MAX = 65_536


class Mask:
    """The texts to be hidden, the longest first: one may begin with another."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []

    @property
    def longest(self) -> int:
        """Bytes of the longest text, 0 if there is none."""
        return len(self.texts[0]) if self.texts else 0

    def learn(self, paths: Iterable[str]) -> list[str]:
        """Read the texts of secrets; what was known stays known. Returns what went wrong, for people."""
        found = set(self.texts)
        problems = []
        for path in paths:
            try:
                data = _read(path)
            except OSError as error:
                problems.append(f"cannot hide the secret in {path}: {error.strerror}")
                continue
            texts = {line.strip() for line in data.splitlines()} - {b""}
            long = {text for text in texts if len(text) >= SHORTEST}
            found |= long
            if len(data) > _SIZE_MAX:
                problems.append(f"the secret in {path} is hidden in part: it is longer than {_SIZE_MAX} bytes")
            elif texts and not long:
                problems.append(f"the secret in {path} is not hidden: it is shorter than {SHORTEST} bytes")
        self.texts = sorted(found, key=lambda text: (-len(text), text))
        return problems

    def forget(self) -> None:
        """Nothing is hidden any more."""
        self.texts = []

    def hide(self, data: bytes) -> bytes:
        """The same without the texts."""
        for text in self.texts:
            if text in data:
                data = data.replace(text, MASKED)
        return data


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(fd, _SIZE_MAX + 1)
    finally:
        os.close(fd)

"""Secrets hidden in output: each text of one is replaced by asterisks, wherever it stands in a line.

A secret of several lines (a key in PEM form) is hidden line by line. What is shorter than four bytes is not hidden: it
would take half the log with it, and tell by its gaps what it is. As JSON escapes it a secret is known again, in another
form (base64, percent signs) it is not.

So process 1 holds the texts of secrets, each as long as a service of the file has it. A file is read only if whoever
can change its path might read it anyway (paths.py): else a service could learn from what is hidden what is in a file
of root.
"""

from __future__ import annotations

from cohabit import paths
from cohabit.reactor.linux import os
from cohabit.reactor.logs.escape import escape
from cohabit.reactor.shortage import is_shortage

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
        self._by_path: dict[str, set[bytes]] = {}

    @property
    def longest(self) -> int:
        """Bytes of the longest text, 0 if there is none."""
        return len(self.texts[0]) if self.texts else 0

    def learn(self, files: Iterable[str]) -> list[str]:
        """Read the texts of secrets; what was known stays known. Returns what went wrong, for people.

        Raises OSError when the machine has no room for that now: whoever starts a service does so later.
        """
        problems = []
        for path in files:
            try:
                data = _read(path)
            except OSError as error:
                if is_shortage(error):
                    raise
                problems.append(f"cannot hide the secret in {path}: {error.strerror}")
                continue
            texts = {line.strip() for line in data.splitlines()} - {b""}
            texts |= {escape(text) for text in texts}  # as JSON has it between quotes
            long = {text for text in texts if len(text) >= SHORTEST}
            self._by_path.setdefault(path, set()).update(long)
            if len(data) > _SIZE_MAX:
                problems.append(f"the secret in {path} is hidden in part: it is longer than {_SIZE_MAX} bytes")
            elif texts and not long:
                problems.append(f"the secret in {path} is not hidden: it is shorter than {SHORTEST} bytes")
        self._sort()
        return problems

    def keep(self, files: Iterable[str]) -> None:
        """Forget the texts of all other files, which no service has any more."""
        kept = set(files)
        self._by_path = {path: texts for path, texts in self._by_path.items() if path in kept}
        self._sort()

    def forget(self) -> None:
        """Nothing is hidden any more."""
        self.keep(())

    def _sort(self) -> None:
        found = set().union(*self._by_path.values())
        self.texts = sorted(found, key=lambda text: (-len(text), text))

    def to_plain(self) -> dict[str, list[bytes]]:
        """By file, for restore."""
        return {path: sorted(texts) for path, texts in self._by_path.items()}

    def restore(self, plain: dict[str, list[bytes]]) -> None:
        """Take over where to_plain was called."""
        self._by_path = {path: set(texts) for path, texts in plain.items()}
        self._sort()

    def hide_text(self, text: str) -> str:
        """The same for words that somebody else wrote: a probe's output, a reason."""
        data = text.encode("utf-8", "surrogateescape")
        hidden = self.hide(data)
        return text if hidden is data else hidden.decode("utf-8", "surrogateescape")

    def hide(self, data: bytes) -> bytes:
        """The same without the texts."""
        for text in self.texts:
            if text in data:
                data = data.replace(text, MASKED)
        return data


def _read(path: str) -> bytes:
    """At most so much of it. Raises OSError."""
    fd, _ = paths.open_to_read(path)
    try:
        data = os.read(fd, _SIZE_MAX + 1)
        while len(data) <= _SIZE_MAX and (more := os.read(fd, _SIZE_MAX + 1 - len(data))):
            data += more
        return data
    finally:
        os.close(fd)

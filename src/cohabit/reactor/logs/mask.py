"""Masking of secrets in output: each text of a secret is replaced by ***, anywhere in a line.

A secret of several lines (a PEM key) is masked line by line. A text of less than four bytes is not masked: it would
match in most lines, and the gaps would reveal it. A secret as JSON escapes it is masked too; in other forms (base64,
percent-encoding) it is not.

Process 1 holds the texts of a secret as long as a service of the plan has it. A file is read only if every user who
can change its path could read it anyway (paths.py): otherwise a service could learn from masked output what a file of
root contains.
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
LENGTH_MIN = 4  # as in config/load.py
_SIZE_MAX = 65_536


class Mask:
    """The texts to mask, the longest first, since one may begin with another."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self._by_path: dict[str, set[bytes]] = {}

    def learn(self, files: Iterable[str]) -> list[str]:
        """Read the texts of these secret files; texts read before stay. Returns warnings.

        Raises OSError when the system is short of resources; the caller tries again later.
        """
        problems = []
        for path in files:
            try:
                data = _read(path)
            except OSError as error:
                if is_shortage(error):
                    raise
                problems.append(f"cannot mask the secret in {path}: {error.strerror}")
                continue
            texts = {line.strip() for line in data.splitlines()} - {b""}
            texts |= {escape(text) for text in texts}  # as JSON escapes it
            long_enough = {text for text in texts if len(text) >= LENGTH_MIN}
            self._by_path.setdefault(path, set()).update(long_enough)
            if len(data) > _SIZE_MAX:
                problems.append(f"the secret in {path} is masked in part: it is longer than {_SIZE_MAX} bytes")
            elif texts and not long_enough:
                problems.append(f"the secret in {path} is not masked: it is shorter than {LENGTH_MIN} bytes")
        self._sort()
        return problems

    def keep(self, files: Iterable[str]) -> None:
        """Forget the texts of all other files."""
        kept = set(files)
        self._by_path = {path: texts for path, texts in self._by_path.items() if path in kept}
        self._sort()

    def forget(self) -> None:
        """Mask nothing any more."""
        self.keep(())

    def _sort(self) -> None:
        found = set().union(*self._by_path.values())
        self.texts = sorted(found, key=lambda text: (-len(text), text))

    def to_plain(self) -> dict[str, list[bytes]]:
        """The texts by file, for restore()."""
        return {path: sorted(texts) for path, texts in self._by_path.items()}

    def restore(self, plain: dict[str, list[bytes]]) -> None:
        """Take over the state from to_plain()."""
        self._by_path = {path: set(texts) for path, texts in plain.items()}
        self._sort()

    def settled(self, data: bytes) -> int:
        """How many bytes of the data can be masked now: what follows them may be the beginning of a secret.

        A secret may begin with another one, or inside it. So the data is searched before it is masked, and one that
        reaches over the boundary is not cut.
        """
        end = len(data) - self._begun(data)
        for text in self.texts if end < len(data) else ():
            at = data.find(text, max(0, end - len(text) + 1), end + len(text) - 1)
            end = at if at >= 0 else end
        return end

    def _begun(self, data: bytes) -> int:
        """How many bytes at the end of the data may be the beginning of a secret; 0 for none."""
        tails = (range(min(len(text) - 1, len(data)), 0, -1) for text in self.texts)
        found = (
            next((size for size in sizes if data.endswith(text[:size])), 0)
            for text, sizes in zip(self.texts, tails, strict=True)
        )
        return max(found, default=0)

    def hide_text(self, text: str) -> str:
        """hide() for text that another program wrote: a probe's output, a reason."""
        data = text.encode("utf-8", "surrogateescape")
        hidden = self.hide(data)
        return text if hidden is data else hidden.decode("utf-8", "surrogateescape")

    def hide(self, data: bytes) -> bytes:
        """The data with all texts masked; the same object if there are none in it."""
        for text in self.texts:
            if text in data:
                data = data.replace(text, MASKED)
        return data


def _read(path: str) -> bytes:
    """The file's first bytes, one more than the limit. Raises OSError."""
    fd, _ = paths.open_to_read(path)
    try:
        data = os.read(fd, _SIZE_MAX + 1)
        while len(data) <= _SIZE_MAX and (more := os.read(fd, _SIZE_MAX + 1 - len(data))):
            data += more
        return data
    finally:
        os.close(fd)

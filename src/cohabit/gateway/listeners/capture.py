"""Capture mode: what a process writes between two tokens is an event, and not part of its log."""

from __future__ import annotations

BEGIN, END = b"<!--XSUPERVISOR:BEGIN-->", b"<!--XSUPERVISOR:END-->"


class Capture:
    """One stream of one process. bytes_max: of what is captured; its end is kept (stdout_capture_maxbytes)."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._data = b""
        self._captured: bytes | None = None  # None outside of the tokens

    def received(self, data: bytes) -> list[bytes]:
        """What came; returns the captured texts that are complete."""
        self._data += data
        found: list[bytes] = []
        while True:
            token = BEGIN if self._captured is None else END
            before, at, rest = self._data.partition(token)
            if not at:
                break
            if self._captured is None:
                self._captured = b""
            else:
                found.append(self._kept(before))
                self._captured = None
            self._data = rest
        keep = _beginning(self._data, token)
        if self._captured is not None:
            self._captured = self._kept(self._data[: len(self._data) - keep])
        self._data = self._data[len(self._data) - keep :]
        return found

    def _kept(self, data: bytes) -> bytes:
        return ((self._captured or b"") + data)[-self._bytes_max :]


def _beginning(data: bytes, token: bytes) -> int:
    """How many of the last bytes may be the beginning of a token."""
    for size in range(min(len(data), len(token) - 1), 0, -1):
        if token.startswith(data[-size:]):
            return size
    return 0

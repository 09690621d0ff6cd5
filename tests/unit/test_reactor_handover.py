"""What of a re-execution cannot be brought about on the real kernel (tests/linux/test_reexecution.py)."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from cohabit.reactor import handover, linux, pid1, signals


class World(SimpleNamespace):
    """A loop that holds one pipe and has just been sent signals."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fd, self.other = os.pipe()
        self.given_back: list[set[int]] = []
        self.said: list[str] = []
        super().__init__(signalled=self.given_back.append, say=lambda _level, _name, text: self.said.append(text))
        monkeypatch.setattr(signals, "block_all", frozenset)
        monkeypatch.setattr(handover, "_to_plain", lambda _: {"signals": [1, 15]})
        monkeypatch.setattr(handover, "_descriptors", lambda _: [self.fd])
        monkeypatch.setattr(pid1, "start_again", self._start_again)

    def _start_again(self, words: list[str]) -> None:
        assert os.get_inheritable(self.fd)
        assert os.get_inheritable(int(words[0].partition("=")[2]))
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self.fd)
        os.close(self.other)


def test_an_exec_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signals that had arrived are given back, no descriptor is left open, and none can be inherited."""
    before = len(os.listdir("/proc/self/fd"))
    world: Any = World(monkeypatch)
    with pytest.raises(FileNotFoundError):
        handover.reexecute(world)
    assert world.given_back == [{1, 15}]
    assert not os.get_inheritable(world.fd)
    world.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_machine_without_room_loses_no_signal_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to write the state into: the same."""
    world: Any = World(monkeypatch)

    def refuse(name: str, flags: int) -> int:
        raise OSError(errno.EMFILE, f"{name} {flags}")

    monkeypatch.setattr(linux.os, "memfd_create", refuse)
    with pytest.raises(OSError, match="cohabit-state"):
        handover.reexecute(world)
    assert world.given_back == [{1, 15}]
    world.close()


def test_a_replacement_that_fails_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same program runs again, and says why."""
    world: Any = World(monkeypatch)
    codes = iter([None, 3])
    world.run = lambda: next(codes)
    assert handover.run(world) == 3
    assert world.said == ["cannot re-execute: No such file or directory (nothing was changed)"]
    world.close()

"""The first loader: it is started without the loop, which takes it over."""

import errno
import marshal
import os
from pathlib import Path
from typing import NoReturn

import pytest

from cohabit.program import packed
from cohabit.reactor import first_loader
from cohabit.reactor.processes import spawn
from cohabit.reactor.side_process import SideProcess
from cohabit.reactor.signals import InheritedSignals
from unit.reactor_world import World

KEY = "\0first"


class Taken:
    """A first loader of this request, taken over by a loop. ends: how it has ended."""

    def __init__(self, request: str) -> None:
        self.world = World()
        self.answer = b""
        self.ends: list[tuple[int, str]] = []
        started = first_loader.start(self.world.given, request)
        assert started is not None
        self.process = SideProcess(
            self.world.context, "loader", KEY, self._read, lambda code, why: self.ends.append((code, why))
        )
        self.process.take_over(started)

    def _read(self, data: bytes) -> None:
        self.answer += data

    def wait(self) -> "Taken":
        """Wait for its end."""
        self.world.until(lambda: self.ends)
        self.world.close()
        return self


def test_the_loop_gets_its_whole_answer(tmp_path: Path) -> None:
    """Although it may have ended long before the loop exists."""
    path = tmp_path / "cohabit.yaml"
    path.write_text("services: {web: {command: sleep 1}}\n")
    before = set(os.listdir("/proc/self/fd"))
    taken = Taken(packed({"files": [str(path)], "services": [], "command": []})).wait()
    assert taken.ends == [(0, "")]
    answer = marshal.loads(taken.answer)  # noqa: S302 - from our own loader
    assert answer["problems"] == []
    assert answer["plan"] is not None
    assert set(os.listdir("/proc/self/fd")) == before


def test_it_is_listed_as_a_side_program() -> None:
    """For `cohabit top`; and it can be killed."""
    taken = Taken(packed({}))
    assert taken.world.context.side_processes == {KEY: "loader"}
    taken.process.kill()
    assert taken.wait().world.context.side_processes == {}


def test_a_failed_exec_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its reason, as of any side program."""
    monkeypatch.setattr(first_loader, "arguments", lambda _request: ("/no/such/program",))
    assert Taken(packed({})).wait().ends == [(127, "'/no/such/program' does not exist")]


@pytest.mark.parametrize(("module", "call"), [(os, "pipe2"), (os, "set_blocking"), (spawn, "spawn")])
def test_without_room_the_loop_starts_it_later(monkeypatch: pytest.MonkeyPatch, module: object, call: str) -> None:
    """No descriptor stays open."""

    def refuse(*_arguments: object, **_options: object) -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    target = vars(first_loader)["os"] if module is os else module
    before = set(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(target, call, refuse)
        assert first_loader.start(InheritedSignals((), ()), packed({})) is None
    assert set(os.listdir("/proc/self/fd")) == before

"""reactor/processes/signaller.py: which processes get a signal, and what is reported if it is not permitted."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from cohabit.engine.events import SignalRefused, Swept
from cohabit.plan.model import Service
from cohabit.plan.reason import SIGNAL_REFUSED
from cohabit.plan.reason_text import text_of
from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc
from cohabit.reactor.processes.signaller import Signaller
from cohabit.reactor.processes.started import HOOK, Process


class Stub:
    """Stands for Children, Trees and DaemonSearch: one service, `web`, with these processes.

    refusing: processes that may not be signalled. killed: what kill(2) was called with.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *pids: int, kill_mode: str = "mixed") -> None:
        self.daemons = self.trees = self
        self.services = {"web": Service("web", ("x",), kill_mode=kill_mode)}
        self.processes = {"web": Process("web", pids[0], -1, None, None)}
        self.leaders = {pids[0]: "web"}
        self.living = list(pids)
        self.refusing: set[int] = set()
        self.killed: list[tuple[int, int]] = []
        self.reaped = False
        self.events: list[Any] = []
        self.said: list[str] = []
        self.reported = 0
        monkeypatch.setattr(os, "kill", self._kill)
        monkeypatch.setattr(proc, "users", lambda _: {33})
        monkeypatch.setattr(proc, "name", lambda pid: f"name{pid}")
        self.signaller = Signaller(self)  # type: ignore[arg-type]

    def _kill(self, pid: int, number: int) -> None:
        if pid in self.refusing:
            raise PermissionError(1, "Operation not permitted")
        self.killed.append((pid, number))

    def emit(self, event: Any) -> None:
        """Record it."""
        self.events.append(event)

    def say(self, _level: str, _service: str, text: str) -> None:
        """Record it."""
        self.said.append(text)

    def give_up(self, _name: str) -> bool:
        """No daemon is searched."""
        return False

    def is_running(self, _process: Process) -> bool:
        """Whether it was not reaped."""
        return not self.reaped

    def report_ended(self) -> None:
        """Count it."""
        self.reported += 1

    def reap(self) -> None:
        """Nothing has ended."""

    def members(self, _key: str) -> list[int]:
        """All processes."""
        return self.living

    def everything(self) -> list[proc.Process]:
        """All processes."""
        return [proc.Process(pid, 1, pid) for pid in self.living]

    def signal(self, _key: str, number: int) -> list[int]:
        """As Trees.signal."""
        return [pid for pid in self.living if proc.send(pid, number) == proc.REFUSED]

    def signal_all(self, number: int) -> list[int]:
        """As Trees.signal_all."""
        return self.signal("", number)


def test_a_process_that_was_reaped_is_not_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is reported later, and its pid may be another process's by now: it is reported at once instead."""
    stub = Stub(monkeypatch, 7)
    stub.reaped = True
    stub.signaller.to_main("web", signal.SIGTERM)
    stub.signaller.to_tree("web", signal.SIGTERM)
    assert stub.killed == []
    assert stub.reported == 2


def test_the_stop_signal_is_followed_by_cont(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process must get it, too; another signal continues nothing."""
    stub = Stub(monkeypatch, 7)
    stub.signaller.to_main("web", signal.SIGHUP)
    stub.signaller.to_main("web", signal.SIGTERM)
    assert stub.killed == [(7, signal.SIGHUP), (7, signal.SIGTERM), (7, signal.SIGCONT)]
    assert stub.processes["web"].stop_requested


def test_a_refused_signal_is_reported_with_the_process_and_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event has the reason; nothing is claimed to be sent."""
    stub = Stub(monkeypatch, 7)
    stub.refusing = {7}
    stub.signaller.to_main("web", signal.SIGTERM)
    (event,) = stub.events
    assert isinstance(event, SignalRefused)
    assert (event.service, event.cause.kind, event.cause.signal) == ("web", SIGNAL_REFUSED, signal.SIGTERM)
    assert text_of(event.cause).startswith("SIGTERM could not be sent to process 7 (name7) of user 33: not permitted")


@pytest.mark.parametrize(
    ("number", "refusing", "reported"),
    [
        (signal.SIGTERM, {8}, False),  # the other one got it, and may end the rest
        (signal.SIGTERM, {7, 8}, True),
        (signal.SIGKILL, {8}, True),
    ],
)
def test_a_tree_that_is_refused_in_part(
    monkeypatch: pytest.MonkeyPatch, number: int, refusing: set[int], reported: bool
) -> None:
    """A stop signal is refused if no process got it, SIGKILL if one did not."""
    stub = Stub(monkeypatch, 7, 8)
    stub.refusing = refusing
    stub.signaller.to_tree("web", number)
    assert [isinstance(event, SignalRefused) for event in stub.events] == [True] * reported


@pytest.mark.parametrize(
    ("pids", "kill_mode", "asked", "said"),
    [
        ((7, 8), "mixed", True, 1),
        ((7, 8), "control-group", True, 0),
        ((7,), "mixed", True, 0),
        ((7, 8), "mixed", False, 0),
    ],
)
def test_a_kill_after_a_stop_names_those_that_were_not_asked(
    monkeypatch: pytest.MonkeyPatch, pids: tuple[int, ...], kill_mode: str, asked: bool, said: int
) -> None:
    """Only after a stop that went to the main process only, and only if there are others."""
    stub = Stub(monkeypatch, *pids, kill_mode=kill_mode)
    if asked:
        stub.signaller.to_main("web", signal.SIGTERM)
    stub.signaller.to_tree("web", signal.SIGKILL)
    assert len(stub.said) == said
    assert all("process 8 (name8)" in text and "kill_mode: control-group" in text for text in stub.said)


def test_the_sweep_does_not_wait_for_what_it_may_not_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Swept comes at once if no other process is left; a refusal that was reported before is not logged again."""
    stub = Stub(monkeypatch, 7, 8)
    stub.refusing = {7}
    stub.signaller.to_main("web", signal.SIGTERM)
    stub.signaller.to_all(signal.SIGTERM)
    assert not any(isinstance(event, Swept) for event in stub.events)
    stub.living = [7]
    assert stub.signaller.only_unreachable()
    stub.signaller.to_all(signal.SIGKILL)
    assert isinstance(stub.events[-1], Swept)
    assert stub.said == []


def test_a_hook_gets_the_signal_before_there_is_a_main_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as a pre_start hook runs, it is the process to stop."""
    stub = Stub(monkeypatch, 7)
    stub.processes = {"web" + HOOK: Process("web" + HOOK, 9, -1, None, None)}
    stub.signaller.to_main("web", signal.SIGTERM)
    assert stub.killed[0] == (9, signal.SIGTERM)

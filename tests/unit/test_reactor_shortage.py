"""What the machine refuses, part by part: nothing leaks, nothing is blocked for good, and it is tried again."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.engine import effects
from cohabit.plan.model import Hook, Service
from cohabit.reactor import launcher, linux, loop, signals
from cohabit.reactor.control import client, listener, server
from cohabit.reactor.control.opening import Opening
from cohabit.reactor.launcher import REFUSED_SECONDS, Launcher
from cohabit.reactor.logs import mask, sink, stream, tap
from cohabit.reactor.processes import children, spawn, trial
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.shortage import ERRNOS, is_shortage
from cohabit.reactor.signals import InheritedSignals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def no_room(number: int = errno.EMFILE) -> Callable[..., Any]:
    """A system call that fails."""

    def refuse(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return refuse


def descriptors() -> int:
    """How many are open."""
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("number", sorted(ERRNOS))
def test_what_a_shortage_is(number: int) -> None:
    """The kernel's words for it, and the interpreter's; a missing file or a right is none."""
    assert is_shortage(OSError(number, ""))
    assert is_shortage(MemoryError())
    assert not is_shortage(OSError(errno.ENOENT, ""))
    assert not is_shortage(PermissionError(errno.EACCES, ""))
    assert not is_shortage(ValueError())


# --- forking ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", ["fork", "close"])
def test_signals_are_never_left_blocked(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Whatever fails after they were blocked for a fork."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    opened, told = os.pipe()
    real = os.close
    if failing == "close":
        monkeypatch.setattr(linux.os, "fork", lambda: 4711)
    monkeypatch.setattr(linux.os, failing, no_room(errno.EAGAIN))
    with pytest.raises(OSError, match="unavailable"):
        spawn.fork(SpawnSpec(("true",), {}, InheritedSignals((), ())), told)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    real(opened)
    if failing == "close":
        real(told)


def test_a_child_s_pipe_is_watched_before_there_is_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not any more, nor open, when the fork fails."""
    seen: list[str] = []
    epoll = SimpleNamespace(
        register=lambda fd, _: seen.append(f"register {fd}"), unregister=lambda fd: seen.append(f"unregister {fd}")
    )
    ours = children.Children(epoll, print, print, print)

    def fork(_: SpawnSpec, told: int) -> int:
        seen.append("fork")
        os.close(told)
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(spawn, "fork", fork)
    before = descriptors()
    with pytest.raises(OSError, match="unavailable"):
        ours.start_main(Service("web", ("true",)), SpawnSpec(("true",), {}, InheritedSignals((), ())))
    assert [word.partition(" ")[0] for word in seen] == ["register", "fork", "unregister"]
    assert seen[0].split()[1] == seen[2].split()[1]
    assert (descriptors(), ours.processes) == (before, {})


@pytest.mark.parametrize(("command", "well"), [("exit 0", True), ("exit 3", False), ("exec sleep 1000", False)])
def test_a_program_is_tried(monkeypatch: pytest.MonkeyPatch, command: str, well: bool) -> None:
    """It exits with 0, or with another code, or not in time. It is always reaped."""
    started: list[int] = []
    spawned = spawn.spawn

    def record(start: SpawnSpec) -> tuple[int, int]:
        pid, errors = spawned(start)
        started.append(pid)
        return pid, errors

    monkeypatch.setattr(spawn, "spawn", record)
    before = signals.block_all()
    try:
        start = SpawnSpec(("sh", "-c", command), dict(os.environ), InheritedSignals((), ()))
        assert trial.ends_well(start, 20.0 if "sleep" not in command else 0.05) is well
    finally:
        signals.set_mask(before)
    (pid,) = started
    with pytest.raises(ChildProcessError):  # only this one: the test process may have other children
        os.waitpid(pid, os.WNOHANG)


def test_a_program_that_cannot_be_forked_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is an answer, and no error."""
    monkeypatch.setattr(spawn, "spawn", no_room(errno.EAGAIN))
    assert not trial.ends_well(SpawnSpec(("true",), {}, InheritedSignals((), ())), 1.0)


# --- starting services --------------------------------------------------------------------------------


class Machine:
    """Starts on a machine that refuses so many forks; now: the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refusals: int, number: int = errno.EAGAIN) -> None:
        self.now = 100.0
        self.refusals, self.number = refusals, number
        self.started: list[str] = []
        self.failed: list[tuple[str, str, int]] = []
        self.said: list[str] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        parts: Any = SimpleNamespace(
            start_main=lambda service, _: self._fork(service.name),
            start_hook=lambda service, _: self._fork(f"hook of {service.name}"),
            never_ran=lambda *words: self.failed.append(words),
            hook_never_ran=lambda *words: self.failed.append(words),
            trees=SimpleNamespace(variables=lambda _: {}),
        )
        output: Any = SimpleNamespace(open=lambda *_: ([os.dup(0), os.dup(0)], []))
        self.starts = Launcher(
            InheritedSignals((), ()), {}, parts, output, lambda _level, name, text: self.said.append(f"{name}: {text}")
        )
        nothing: Any = SimpleNamespace(names=lambda _: (), descriptors=lambda _: (), close=lambda _: None)
        self.starts.sockets = self.starts.notification_fds = self.starts.log_matches = nothing

    def _say(self, _level: str, name: str, text: str) -> None:
        self.said.append(f"{name}: {text}")

    def _fork(self, name: str) -> int:
        if self.refusals:
            self.refusals -= 1
            raise OSError(self.number, os.strerror(self.number))
        self.started.append(name)
        return 4711

    def wait(self) -> None:
        """Until the next attempt."""
        at = self.starts.deadline()
        assert at is not None
        assert at > self.now
        self.starts.due((self.now + at) / 2)  # too early: nothing
        self.now = at
        self.starts.due(at)


WEB = Service("web", ("true",), pre_start=(Hook(("true",)),), pre_stop=(Hook(("true",)),))


def test_a_start_that_is_refused_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With pauses that double; said once; nothing stays open in between."""
    machine = Machine(monkeypatch, 3)
    machine.starts.start(WEB)
    before = descriptors()
    for _ in range(3):
        assert machine.started == []
        machine.wait()
    assert (machine.started, machine.failed, machine.starts.deadline()) == (["web"], [], None)
    assert machine.now == pytest.approx(100.7)
    assert len(machine.said) == 1
    assert "web: cannot be started yet: the system has no room for another process" in machine.said[0]
    assert descriptors() == before


def test_a_hook_that_is_refused_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same."""
    machine = Machine(monkeypatch, 1)
    machine.starts.run_hook(WEB, "pre_start", 0)
    assert machine.starts.refused() == [effects.RunHook(WEB, "pre_start", 0)]
    machine.wait()
    assert (machine.started, machine.failed, machine.starts.refused()) == (["hook of web"], [], [])
    assert "web: cannot run its pre_start hook yet" in machine.said[0]


@pytest.mark.parametrize(
    ("stage", "seconds"), [("", REFUSED_SECONDS), ("pre_start", REFUSED_SECONDS), ("pre_stop", 1.0)]
)
def test_in_the_end_it_has_failed(monkeypatch: pytest.MonkeyPatch, stage: str, seconds: float) -> None:
    """For a bounded time; a hook before a stop leaves the rest of its grace to the service."""
    machine = Machine(monkeypatch, 10_000)
    if stage:
        machine.starts.run_hook(WEB, stage, 0)
    else:
        machine.starts.start(WEB)
    while not machine.failed:
        machine.wait()
    assert machine.now == pytest.approx(100 + seconds)
    ((name, why, code),) = machine.failed
    assert (name, code, machine.starts.deadline()) == ("web", 71, None)
    assert "no room" in why


@pytest.mark.parametrize(
    ("number", "ends"), [(0, True), (signals.TERM, True), (signals.KILL, True), (signals.HUP, False)]
)
def test_a_stop_ends_the_wait(monkeypatch: pytest.MonkeyPatch, number: int, ends: bool) -> None:
    """At once, since the engine waits for an answer; another signal does not."""
    machine = Machine(monkeypatch, 10_000)
    machine.starts.start(WEB)
    machine.starts.give_up("other")
    machine.starts.give_up("web", number)
    assert bool(machine.failed) == ends
    assert (machine.starts.deadline() is None) == ends


def test_what_is_wrong_for_good_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No directory for a socket, say."""
    machine = Machine(monkeypatch, 1, errno.EROFS)
    machine.starts.start(WEB)
    assert (machine.failed, machine.starts.deadline()) == ([("web", "Read-only file system", 71)], None)


def test_dev_null_is_opened_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop begins without a descriptor of its own."""
    monkeypatch.setattr(launcher.os, "open", no_room())  # type: ignore[attr-defined]
    machine = Machine(monkeypatch, 0)
    machine.starts.start(WEB)
    assert machine.starts.refused() == [effects.Spawn(WEB)]
    monkeypatch.undo()
    machine.starts.due(machine.now + 1000)
    assert machine.started == ["web"]


# --- the control socket -------------------------------------------------------------------------------


def test_the_control_socket_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less and less often; said once that it is missing, and once that it is there."""
    now, said, results = 100.0, [], [errno.EMFILE] * 8
    monkeypatch.setattr(time, "monotonic", lambda: now)
    control = SimpleNamespace(is_open=False)

    def bind() -> None:
        if results:
            no_room(results.pop())()
        control.is_open = True

    control.open = bind
    opening = Opening(control, lambda _level, _name, text: said.append(text))
    opening.begin()
    pauses = []
    while (at := opening.deadline()) is not None:
        opening.due(at - 0.001)
        pauses.append(at - now)
        now = at
        opening.due(at)
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])
    assert control.is_open
    assert len(said) == 2
    assert "Too many open files" in said[0]
    assert said[1] == "the control socket is open now"


@pytest.mark.parametrize("is_open", [True, False])
def test_the_control_socket_after_a_reexecution(is_open: bool) -> None:
    """It crossed it, or is still tried for."""
    opening = Opening(SimpleNamespace(is_open=is_open, open=no_room()), print)
    opening.resume()
    assert (opening.deadline() is None) is is_open


@pytest.mark.parametrize("failing", ["credentials", "accept"])
def test_a_client_that_there_is_no_room_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failing: str) -> None:
    """One that was accepted is closed; else it stays in the kernel's queue, and nobody spins."""
    directory: Any = SimpleNamespace(make=lambda: str(tmp_path), path=str(tmp_path))
    epoll = select.epoll()
    control = server.Control(
        epoll, directory, ask=no_room(), feed=print, backlog=no_room(), is_followed=lambda: None
    )  # fmt: skip
    control.open()
    (opened,) = control.descriptors()
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(tmp_path / "control"))
        before = descriptors()
        if failing == "credentials":
            monkeypatch.setattr(server, "peer_uid", no_room(errno.ENOBUFS))
        else:
            monkeypatch.setattr(listener.socket, "socket", no_room())  # type: ignore[attr-defined]
        control.handle(opened)
        assert (descriptors(), control.descriptors()) == (before, [opened])
        if failing == "accept":
            assert epoll.poll(0) == []
            assert control.deadline() is not None
        monkeypatch.undo()
    control.close()
    epoll.close()


def test_a_client_that_cannot_be_told_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is hung up on all the same."""
    monkeypatch.setattr(client.socket, "socket", no_room(errno.ENOBUFS))  # type: ignore[attr-defined]
    client.Client(0, trusted=True, until=None).end()


# --- output and signals -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.ENOSPC, errno.ENOBUFS])
def test_output_waits_for_memory(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A pipe has no memory for one more page: nothing is lost, and it is not gone."""
    reader, writer = os.pipe()
    told: list[str] = []
    ours = sink.Sink(writer)
    ours.on_full = told.append
    real = os.write
    monkeypatch.setattr(linux.os, "write", no_room(number))
    ours.write(b"line\n")
    assert (ours.lost, ours.blocked, ours.retry_at is None) == ("", True, False)
    monkeypatch.setattr(linux.os, "write", real)
    ours.flush()
    assert os.read(reader, 100) == b"line\n"
    assert [bool(text) for text in told] == [True, False]
    for fd in (reader, writer):
        os.close(fd)


def test_a_hung_up_terminal_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO is no shortage there."""
    ours = sink.Sink(1)
    monkeypatch.setattr(linux.os, "write", no_room(errno.EIO))
    ours.write(b"line\n")
    assert ours.lost


def test_less_is_read_where_there_is_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The buffer of a big read cannot be had; what is in the pipe stays there until then."""
    reader, writer = os.pipe()
    os.write(writer, b"line\n")
    real = os.read

    def read(fd: int, size: int) -> bytes:
        if size > 4096:
            raise MemoryError
        return real(fd, size)

    monkeypatch.setattr(linux.os, "read", read)
    assert stream.Stream(SimpleNamespace(), reader, ()).read() == b"line\n"  # type: ignore[arg-type]
    for fd in (reader, writer):
        os.close(fd)


def test_a_matcher_s_pipe_waits_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it could not be given is kept; what a dead one could not is not."""
    reader, writer = os.pipe()
    epoll = select.epoll()
    ours = tap.Tap(epoll, writer)
    real = os.write
    monkeypatch.setattr(linux.os, "write", no_room(errno.ENOMEM))
    ours.feed(3, b"data")
    assert bytes(ours.pending) == b"3 4\ndata"
    monkeypatch.setattr(linux.os, "write", real)
    ours.flush()
    assert os.read(reader, 100) == b"3 4\ndata"
    assert not ours.pending
    monkeypatch.setattr(linux.os, "write", no_room(errno.EPIPE))
    ours.feed(3, b"data")
    assert not ours.pending
    ours.close()
    os.close(reader)
    epoll.close()


def test_a_secret_that_cannot_be_read_now_is_not_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever starts a service that has it must wait: else its text would be in the log."""
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    ours = mask.Mask()
    monkeypatch.setattr(mask, "_read", no_room())
    with pytest.raises(OSError, match="Too many open files"):
        ours.learn([str(secret)])
    monkeypatch.setattr(mask, "_read", no_room(errno.EACCES))
    assert len(ours.learn([str(secret)])) == 1


def test_a_signal_whose_byte_was_lost_is_seen_at_the_next_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one whose byte was not lost is seen once."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    monkeypatch.setattr(signals, "noted", set())
    ours: Any = SimpleNamespace(_woken=reader)
    os.write(writer, bytes([15]))
    signals._note(15, None)
    signals._note(17, None)
    assert loop.Loop.arrived(ours) == {15, 17}
    assert loop.Loop.arrived(ours) == set()
    os.write(writer, bytes([15]))
    assert loop.Loop.arrived(ours) == {15}
    for fd in (reader, writer):
        os.close(fd)

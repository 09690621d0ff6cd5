"""Shortages, part by part: no descriptor is leaked, nothing stays blocked, and the work is retried."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.engine import effects
from cohabit.plan.model import Hook, Service
from cohabit.plan.reason_text import text_of
from cohabit.reactor import launcher, linux, signals
from cohabit.reactor.control import accepting, client, listener, server
from cohabit.reactor.control.listener import Opening
from cohabit.reactor.launcher import REFUSED_SECONDS, Launcher
from cohabit.reactor.logs import mask, sink, stream
from cohabit.reactor.poller import Poller
from cohabit.reactor.processes import children, spawn, trial
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.shortage import ERRNOS, is_shortage
from cohabit.reactor.side_process import Input
from cohabit.reactor.signal_pipe import SignalPipe
from cohabit.reactor.signals import InheritedSignals
from unit.reactor_world import context_of, ready, timers_only

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cohabit.plan.reason import Reason


def no_room(number: int = errno.EMFILE) -> Callable[..., Any]:
    """Return a system call that fails with this errno."""

    def refuse(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return refuse


def descriptors() -> int:
    """Return the number of open descriptors."""
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("number", sorted(ERRNOS))
def test_shortages_are_recognised(number: int) -> None:
    """Errors of the kernel and of the interpreter; not a missing file or a missing permission."""
    assert is_shortage(OSError(number, ""))
    assert is_shortage(MemoryError())
    assert not is_shortage(OSError(errno.ENOENT, ""))
    assert not is_shortage(PermissionError(errno.EACCES, ""))
    assert not is_shortage(ValueError())


# --- forking ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", ["fork", "close"])
def test_failed_fork_restores_the_signal_mask(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Whichever call fails after the signals were blocked for a fork."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    opened, writer = os.pipe()
    real = os.close
    if failing == "close":
        monkeypatch.setattr(linux.os, "fork", lambda: 4711)
    monkeypatch.setattr(linux.os, failing, no_room(errno.EAGAIN))
    with pytest.raises(OSError, match="unavailable"):
        spawn.fork(SpawnSpec(("true",), {}, InheritedSignals((), ())), writer)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    real(opened)
    if failing == "close":
        real(writer)


def test_error_pipe_is_registered_before_the_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the fork fails, it is unregistered and closed."""
    seen: list[str] = []

    def add(fd: int, _mask: int, _callback: object, *, first: bool) -> None:
        assert first, "a start is reported before the readiness that it leads to"
        seen.append(f"add {fd}")

    poller: Any = SimpleNamespace(add=add, remove=lambda fd: seen.append(f"remove {fd}"))
    ours = children.Children(poller, print, print, lambda *_: True)

    def fork(_: SpawnSpec, writer: int) -> int:
        seen.append("fork")
        os.close(writer)
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(spawn, "fork", fork)
    before = descriptors()
    with pytest.raises(OSError, match="unavailable"):
        ours.start_main(Service("web", ("true",)), SpawnSpec(("true",), {}, InheritedSignals((), ())))
    assert [call.partition(" ")[0] for call in seen] == ["add", "fork", "remove"]
    assert seen[0].split()[1] == seen[2].split()[1]
    assert (descriptors(), ours.processes) == (before, {})


@pytest.mark.parametrize(("command", "expected"), [("exit 0", True), ("exit 3", False), ("exec sleep 1000", False)])
def test_trial_accepts_exit_code_0_in_time_only(monkeypatch: pytest.MonkeyPatch, command: str, expected: bool) -> None:
    """The program exits with 0, or with another code, or not in time. It is always reaped."""
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
        assert trial.ends_well(start, 20.0 if "sleep" not in command else 0.05) is expected
    finally:
        signals.set_mask(before)
    (pid,) = started
    with pytest.raises(ChildProcessError):  # only this one: the test process may have other children
        os.waitpid(pid, os.WNOHANG)


def test_trial_without_room_for_a_process_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is False, not an exception."""
    monkeypatch.setattr(spawn, "spawn", no_room(errno.EAGAIN))
    assert not trial.ends_well(SpawnSpec(("true",), {}, InheritedSignals((), ())), 1.0)


# --- starting services --------------------------------------------------------------------------------


class Machine:
    """Starts on a machine that refuses this many forks. now: its time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refusals: int, number: int = errno.EAGAIN) -> None:
        self.now = 100.0
        self.refusals, self.number = refusals, number
        self.started: list[str] = []
        self.failed: list[tuple[str, str, int]] = []
        self.said: list[str] = []
        self.lingering = {"web"}  # what a hook left behind
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        parts: Any = SimpleNamespace(
            start_main=lambda service, _: self._fork(service.name),
            start_hook=lambda service, _: self._fork(f"hook of {service.name}"),
            report_start_failure=self._failed,
            report_hook_failure=self._failed,
            trees=SimpleNamespace(variables=lambda _: {}),
            processes={},
            daemons=SimpleNamespace(until={}),
            lingering=self.lingering,
        )
        output: Any = SimpleNamespace(
            reader=SimpleNamespace(open=lambda *_: ([os.dup(0), os.dup(0)], [])),
            recent_lines=SimpleNamespace(begin_run=lambda *_: None),
            followers=SimpleNamespace(follow=lambda *_: True, cancel=lambda _: None),
        )
        self.poller = timers_only()
        nothing: Any = SimpleNamespace(
            names=lambda _: (), descriptors=lambda _: (), prepare=lambda *_: None, close=lambda _: None
        )
        self.starts = Launcher(
            context_of(self.poller, log=self._say), {}, parts, output, sockets=nothing, passive_probes=nothing
        )

    def _failed(self, name: str, reason: Reason) -> None:
        self.failed.append((name, text_of(reason), reason.code or 0))

    def _say(self, _level: str, name: str, text: str) -> None:
        self.said.append(f"{name}: {text}")

    def _fork(self, name: str) -> int:
        if self.refusals:
            self.refusals -= 1
            raise OSError(self.number, os.strerror(self.number))
        self.started.append(name)
        return 4711

    def wait(self) -> None:
        """Let the time pass until the next attempt."""
        at = self.poller.deadline()
        assert at is not None
        assert at > self.now
        self.poller.run_timers((self.now + at) / 2)  # too early: nothing
        self.now = at
        self.poller.run_timers(at)


WEB = Service("web", ("true",), pre_start=(Hook(("true",)),), pre_stop=(Hook(("true",)),))


def test_refused_start_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses double. One line is logged. No descriptor stays open meanwhile."""
    machine = Machine(monkeypatch, 3)
    machine.starts.start(WEB)
    before = descriptors()
    for _ in range(3):
        assert machine.started == []
        machine.wait()
    assert (machine.started, machine.failed, machine.poller.deadline()) == (["web"], [], None)
    assert machine.now == pytest.approx(100.7)
    assert len(machine.said) == 1
    assert "web: cannot be started yet: the system has no room for another process" in machine.said[0]
    assert descriptors() == before


def test_refused_hook_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a refused start."""
    machine = Machine(monkeypatch, 1)
    machine.starts.run_hook(effects.RunHook(WEB, "pre_start", 0))
    assert machine.starts.refused() == [effects.RunHook(WEB, "pre_start", 0)]
    assert machine.lingering == set()  # else its end would be reported during the start
    machine.wait()
    assert (machine.started, machine.failed, machine.starts.refused()) == (["hook of web"], [], [])
    assert "web: cannot run its pre_start hook yet" in machine.said[0]


@pytest.mark.parametrize(
    ("stage", "seconds"), [("", REFUSED_SECONDS), ("pre_start", REFUSED_SECONDS), ("pre_stop", 1.0)]
)
def test_refused_start_fails_after_a_timeout(monkeypatch: pytest.MonkeyPatch, stage: str, seconds: float) -> None:
    """A pre_stop hook has a shorter timeout: the rest of the grace period is for the service."""
    machine = Machine(monkeypatch, 10_000)
    if stage:
        machine.starts.run_hook(effects.RunHook(WEB, stage, 0))
    else:
        machine.starts.start(WEB)
    while not machine.failed:
        machine.wait()
    assert machine.now == pytest.approx(100 + seconds)
    ((name, why, code),) = machine.failed
    assert (name, code, machine.poller.deadline()) == ("web", 71, None)
    assert "no room" in why


@pytest.mark.parametrize(
    ("number", "ends"), [(0, True), (signals.TERM, True), (signals.KILL, True), (signals.HUP, False)]
)
def test_stop_ends_the_retries(monkeypatch: pytest.MonkeyPatch, number: int, ends: bool) -> None:
    """At once, because the engine waits for the result; another signal does not."""
    machine = Machine(monkeypatch, 10_000)
    machine.starts.start(WEB)
    machine.starts.give_up("other")
    machine.starts.give_up("web", number)
    assert bool(machine.failed) == ends
    assert (machine.poller.deadline() is None) == ends


def test_permanent_error_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example, if there is no directory for a socket."""
    machine = Machine(monkeypatch, 1, errno.EROFS)
    machine.starts.start(WEB)
    assert (machine.failed, machine.poller.deadline()) == ([("web", "Read-only file system", 71)], None)


def test_dev_null_is_opened_when_it_is_first_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop begins without a descriptor of its own."""
    monkeypatch.setattr(launcher.os, "open", no_room())  # type: ignore[attr-defined]
    machine = Machine(monkeypatch, 0)
    machine.starts.start(WEB)
    assert machine.starts.refused() == [effects.Spawn(WEB)]
    monkeypatch.undo()
    machine.poller.run_timers(machine.now + 1000)
    assert machine.started == ["web"]


# --- the control socket -------------------------------------------------------------------------------


def test_control_socket_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """With longer and longer pauses. One line is logged when it fails, and one when it succeeds."""
    now, said, results = 100.0, [], [errno.EMFILE] * 8
    monkeypatch.setattr(time, "monotonic", lambda: now)
    control = SimpleNamespace(is_open=False)

    def bind() -> None:
        if results:
            no_room(results.pop())()
        control.is_open = True

    control.open = bind
    poller = timers_only()
    opening = Opening(context_of(poller, log=lambda _level, _name, text: said.append(text)), control)
    opening.begin()
    pauses = []
    while (at := poller.deadline()) is not None:
        poller.run_timers(at - 0.001)
        pauses.append(at - now)
        now = at
        poller.run_timers(at)
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])
    assert control.is_open
    assert len(said) == 2
    assert "Too many open files" in said[0]
    assert said[1] == "the control socket is open now"


@pytest.mark.parametrize("is_open", [True, False])
def test_control_socket_is_retried_after_a_re_execution(is_open: bool) -> None:
    """Only if it was not open before."""
    poller = timers_only()
    Opening(context_of(poller), SimpleNamespace(is_open=is_open, open=no_room())).resume()
    assert (poller.deadline() is None) is is_open


@pytest.mark.parametrize("failing", ["credentials", "accept"])
def test_client_without_room_is_closed_or_left_in_the_queue(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failing: str
) -> None:
    """An accepted client is closed. Otherwise it stays in the kernel's queue, and the loop does not spin."""
    directory: Any = SimpleNamespace(make=lambda: str(tmp_path), path=str(tmp_path))
    poller = Poller()
    nothing: Any = SimpleNamespace(ask=no_room(), backlog=no_room(), follow=lambda *_: None)
    control = server.Control(context_of(poller), directory, nothing)
    control.accepting.open()
    (opened,) = control.descriptors()
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(str(tmp_path / "control"))
        before = descriptors()
        if failing == "credentials":
            monkeypatch.setattr(accepting, "peer_uid", no_room(errno.ENOBUFS))
        else:
            monkeypatch.setattr(listener.socket, "socket", no_room())  # type: ignore[attr-defined]
        poller.wait()
        assert (descriptors(), control.descriptors()) == (before, [opened])
        if failing == "accept":
            assert ready(poller) == []
            assert poller.deadline() is not None
        monkeypatch.undo()
    control.close()
    poller.close()


def test_client_without_memory_for_the_last_answer_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is shut down without it."""
    monkeypatch.setattr(client.socket, "socket", no_room(errno.ENOBUFS))  # type: ignore[attr-defined]
    client.Client(0, trusted=True).end()


# --- output and signals -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.ENOSPC, errno.ENOBUFS])
def test_output_is_kept_until_there_is_memory(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A pipe has no memory for another page: no output is lost, and the sink stays usable."""
    reader, writer = os.pipe()
    messages: list[str] = []
    ours = sink.Sink(writer)
    ours.on_full = messages.append
    real = os.write
    monkeypatch.setattr(linux.os, "write", no_room(number))
    ours.write(b"line\n")
    assert (ours.lost, ours.blocked, ours.retry_at is None) == ("", True, False)
    monkeypatch.setattr(linux.os, "write", real)
    ours.flush()
    assert os.read(reader, 100) == b"line\n"
    assert [bool(text) for text in messages] == [True, False]
    for fd in (reader, writer):
        os.close(fd)


def test_hung_up_terminal_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO is not a shortage there."""
    ours = sink.Sink(1)
    monkeypatch.setattr(linux.os, "write", no_room(errno.EIO))
    ours.write(b"line\n")
    assert ours.lost


def test_small_read_replaces_a_large_one_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no memory for a large buffer. What is left in the pipe stays there."""
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


def test_data_for_a_side_program_is_kept_until_there_is_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data for a program that has ended is dropped."""
    reader, writer = os.pipe()
    poller = Poller()
    os.set_blocking(writer, False)
    ours = Input(poller, writer)
    real = os.write
    monkeypatch.setattr(linux.os, "write", no_room(errno.ENOMEM))
    ours.write(b"data")
    assert bytes(ours.pending) == b"data"
    monkeypatch.setattr(linux.os, "write", real)
    ours.flush()
    assert os.read(reader, 100) == b"data"
    assert not ours.pending
    monkeypatch.setattr(linux.os, "write", no_room(errno.EPIPE))
    ours.write(b"data")
    assert not ours.pending
    ours.close()
    os.close(reader)
    poller.close()


def test_secret_that_cannot_be_read_now_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The start of its service must wait: otherwise the text could appear in the log."""
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    ours = mask.Mask()
    monkeypatch.setattr(mask, "_read", no_room())
    with pytest.raises(OSError, match="Too many open files"):
        ours.learn([str(secret)])
    monkeypatch.setattr(mask, "_read", no_room(errno.EACCES))
    assert len(ours.learn([str(secret)])) == 1


def test_signal_without_its_byte_is_seen_at_the_next_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal whose byte was not lost is seen once."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    monkeypatch.setattr(signals, "noted", set())
    monkeypatch.setattr(signals, "listen", lambda *_: frozenset())
    poller = Poller()
    ours = SignalPipe(poller, (reader, writer))
    assert ours.take() == set()
    os.write(writer, bytes([15]))
    signals._note(15, None)
    signals._note(17, None)
    assert ours.take() == {15, 17}
    assert ours.take() == set()
    os.write(writer, bytes([15]))
    assert ours.take() == set()
    poller.wait()
    assert ours.take() == {15}
    poller.close()
    for fd in (reader, writer):
        os.close(fd)

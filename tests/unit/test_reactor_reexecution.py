"""What of a re-execution cannot be brought about on the real kernel (tests/linux/test_reexecution.py)."""

from __future__ import annotations

import errno
import marshal
import os
import resource
from types import SimpleNamespace
from typing import Any

import pytest

from cohabit.reactor import linux, reexecution, reexecution_state, signals
from cohabit.reactor.processes import proc


class World(SimpleNamespace):
    """A loop that holds one pipe and has just been sent signals."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fd, self.other = os.pipe()
        self.said: list[str] = []
        super().__init__(parts=SimpleNamespace(successor=SimpleNamespace(refuse=self.said.append)))
        monkeypatch.setattr(signals, "block_all", frozenset)
        monkeypatch.setattr(reexecution_state, "write_down", lambda _: {"descriptors": [self.fd], "stopping": False})
        monkeypatch.setattr(reexecution, "start_again", self._start_again)
        monkeypatch.setattr(reexecution, "_interpreter_was_replaced", lambda: True)
        monkeypatch.setattr(reexecution, "_former", [])

    def _start_again(self, words: list[str]) -> None:
        assert os.get_inheritable(self.fd)
        assert os.get_inheritable(int(words[0].partition("=")[2]))
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self.fd)
        os.close(self.other)


def test_an_exec_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor is left open, and none can be inherited."""
    before = len(os.listdir("/proc/self/fd"))
    world: Any = World(monkeypatch)
    with pytest.raises(FileNotFoundError):
        reexecution.reexecute(world)
    assert not os.get_inheritable(world.fd)
    world.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_machine_without_room_changes_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to write the state into: the same."""
    world: Any = World(monkeypatch)

    def refuse(name: str, flags: int) -> int:
        raise OSError(errno.EMFILE, f"{name} {flags}")

    monkeypatch.setattr(linux.os, "memfd_create", refuse)
    with pytest.raises(OSError, match="cohabit-state"):
        reexecution.reexecute(world)
    assert not os.get_inheritable(world.fd)
    world.close()


def test_a_replacement_that_fails_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same program runs again, and says why."""
    world: Any = World(monkeypatch)
    codes = iter([None, 3])
    world.run = lambda: next(codes)
    assert reexecution.run(world) == 3
    assert world.said == ["No such file or directory"]
    world.close()


@pytest.mark.parametrize(("programs", "replaced"), [(0, False), (2, False), (3, False), (0, True)])
def test_the_program_is_executed_only_where_it_must_be(
    monkeypatch: pytest.MonkeyPatch, programs: int, replaced: bool
) -> None:
    """With the same interpreter, its state goes to the installed modules in this process."""
    world: Any = World(monkeypatch)
    monkeypatch.setattr(reexecution, "_interpreter_was_replaced", lambda: replaced)
    codes = iter([None, 3])
    world.run = lambda: next(codes)
    result = reexecution.run(world, programs)
    if replaced or programs == 3:
        assert result == 3  # the exec failed, as it is planted here, so the same program goes on
    else:
        assert isinstance(result, bytes)
        assert marshal.loads(result) == {"descriptors": [world.fd], "stopping": False}  # noqa: S302 - made above
        assert world in reexecution._former  # its descriptors are not closed by collecting it
    world.close()


@pytest.mark.parametrize(
    ("running", "installed", "replaced"),
    [
        ((1, 2), (1, 2), False),
        ((1, 2), (1, 3), True),
        ((1, 2), (4, 2), True),
        ((1, 2), None, True),
        (None, (1, 2), True),
    ],
)
def test_a_replaced_interpreter_is_seen(
    monkeypatch: pytest.MonkeyPatch, running: object, installed: object, replaced: bool
) -> None:
    """By device and inode. Where it is not known, an exec is right in both cases."""

    def status(path: str) -> SimpleNamespace:
        found = running if path == "/proc/self/exe" else installed
        if not isinstance(found, tuple):
            raise FileNotFoundError(path)
        return SimpleNamespace(st_dev=found[0], st_ino=found[1])

    monkeypatch.setattr(linux.os, "stat", status)
    assert reexecution._interpreter_was_replaced() is replaced


@pytest.mark.parametrize("data", [b"", marshal.dumps({"mask": ()})])
def test_a_state_that_cannot_be_used_ends_every_process(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Also without an exec, nothing is raised to the caller: the services would be killed without TERM."""
    ended: list[object] = []

    def end_everything(error: object, *_: object) -> int:
        ended.append(error)
        return 70

    monkeypatch.setattr(reexecution, "end_everything", end_everything)
    assert reexecution.go_on(data, 0, "") == 70
    assert len(ended) == 1


def test_a_shortage_does_not_lead_to_an_exec(monkeypatch: pytest.MonkeyPatch) -> None:
    """The re-execution is refused instead."""

    def status(_: str) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(linux.os, "stat", status)
    with pytest.raises(OSError, match="Cannot allocate"):
        reexecution._interpreter_was_replaced()


def test_a_program_that_could_not_open_a_file_is_not_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exec cannot be undone: with hardly a descriptor left the new program would end at its first library."""
    world: Any = World(monkeypatch)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20, 20))
    monkeypatch.setattr(reexecution, "start_again", lambda _: pytest.fail("executed"))
    with pytest.raises(OSError, match="20 descriptors are not enough"):
        reexecution.reexecute(world)
    world.close()


class Scarce:
    """A loop that can be built after so many attempts; it opens a descriptor first."""

    left = 2
    opened: list[int] = []  # noqa: RUF012 - of all of them

    def __init__(self, *words: object, **options: object) -> None:
        del words, options
        self.opened.append(os.dup(0))
        if Scarce.left:
            Scarce.left -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_loop_is_built_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt begins with the same state and closes what the one before has opened, and nothing that crosses."""
    kept, other = os.pipe()
    restored: list[list[int]] = []
    waits: list[float] = []

    def restore(_: object, plain: dict[str, Any]) -> None:
        restored.append(plain["facts"].copy())
        plain["facts"].clear()
        if len(restored) == 1:
            raise MemoryError

    def wait(seconds: float) -> float:
        waits.append(seconds)
        return 2 * seconds

    def close_all_but(numbers: set[int]) -> None:
        assert numbers == {kept}
        for fd in Scarce.opened:
            os.close(fd)
        Scarce.opened.clear()

    monkeypatch.setattr(reexecution, "Loop", Scarce)
    monkeypatch.setattr(reexecution_state, "restore", restore)
    monkeypatch.setattr(reexecution, "_close_all_but", close_all_but)
    monkeypatch.setattr(proc, "reserved", set)
    monkeypatch.setattr(reexecution, "_wait", wait)
    plain = {"descriptors": [kept], "request": "", "quiet": False, "wake_up": (1, 2), "facts": [1, 2]}
    plain["stopping"] = False
    loop = reexecution._build(signals.InheritedSignals((), ()), marshal.dumps(plain))
    assert isinstance(loop, Scarce)
    assert restored == [[1, 2], [1, 2]]
    assert len(waits) == 3
    assert len(Scarce.opened) == 1
    for fd in (kept, other, *Scarce.opened):
        os.close(fd)
    Scarce.opened.clear()


@pytest.mark.parametrize("stopping", [True, False])
def test_a_requested_stop_does_not_wait_for_room_for_ever(monkeypatch: pytest.MonkeyPatch, stopping: bool) -> None:
    """It may have been requested before, or while the loop waits; then the shortage is raised after some seconds."""
    now = [100.0]
    waits: list[float] = []

    def wait(seconds: float) -> float:
        waits.append(seconds)
        now[0] += seconds
        return min(2 * seconds, 1.0)

    monkeypatch.setattr(reexecution, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(reexecution, "_close_all_but", lambda _: None)
    monkeypatch.setattr(reexecution, "_wait", wait)
    monkeypatch.setattr(reexecution, "Loop", Scarce)
    monkeypatch.setattr(proc, "reserved", set)
    monkeypatch.setattr(reexecution, "_former", [])
    monkeypatch.setattr(signals, "pending", lambda numbers: numbers == signals.STOP_SIGNALS and len(waits) >= 10)
    monkeypatch.setattr(Scarce, "left", 1000)
    plain = {"descriptors": [], "request": "", "quiet": False, "wake_up": (1, 2), "stopping": stopping}
    with pytest.raises(OSError, match="Too many open"):
        reexecution._build(signals.InheritedSignals((), ()), marshal.dumps(plain))
    assert now[0] < 110.0 if stopping else len(waits) >= 10
    assert 3.0 <= now[0] - 100.0 < 15.0
    for fd in Scarce.opened:
        os.close(fd)
    Scarce.opened.clear()


def test_only_what_an_exec_would_close_is_closed() -> None:
    """In a process of its own: what is inheritable, the standard ones and what crosses stay open."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            kept, gone = os.pipe()
            theirs = os.dup(0)
            os.set_inheritable(theirs, True)
            reexecution._close_all_but({kept})
            for fd in (0, 1, 2, kept, theirs):
                os.fstat(fd)
            try:
                os.fstat(gone)
            except OSError:
                code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_shortage_is_not_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leads to a new loop in this process, without an exec, is said once, and is not counted as an error."""
    built: list[bytes] = []
    said: list[str] = []
    loop: Any = SimpleNamespace(
        errors_at=[], shortages_at=[], given=None, say=lambda _level, _name, text: said.append(text)
    )
    plain = {"descriptors": [], "stopping": False, "asked": False, "checking": False}

    def build(_: object, data: bytes) -> Any:
        built.append(data)
        return loop

    monkeypatch.setattr(reexecution_state, "write_down", lambda _: plain)
    monkeypatch.setattr(reexecution, "_wait", lambda seconds: seconds)
    monkeypatch.setattr(reexecution, "_build", build)
    monkeypatch.setattr(reexecution, "start_again", lambda _: pytest.fail("executed"))
    for _ in range(5):
        assert reexecution._recover(loop, OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))) is loop
    assert len(built) == 5
    assert loop.errors_at == []
    assert len(said) == 1
    assert said[0].startswith("Cannot allocate memory: waiting")


@pytest.mark.parametrize(("former", "works"), [(0, True), (100, True), (100, False)])
def test_an_error_leads_to_a_new_loop(monkeypatch: pytest.MonkeyPatch, former: int, works: bool) -> None:
    """In this process; after many errors by an exec, unless the program does not start or the exec fails."""
    tried: list[str] = []
    said: list[str] = []
    loop: Any = SimpleNamespace(
        errors_at=[], shortages_at=[], given=None, say=lambda _level, _name, text: said.append(text)
    )
    plain = {"descriptors": [], "stopping": False, "asked": False, "checking": False}

    def start_again(_: list[str]) -> None:
        tried.append("exec")
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(reexecution_state, "write_down", lambda _: plain)
    monkeypatch.setattr(reexecution, "_former", [None] * former)
    monkeypatch.setattr(reexecution, "ends_well", lambda _start, _seconds: works)
    monkeypatch.setattr(reexecution, "_build", lambda _given, _data: loop)
    monkeypatch.setattr(reexecution, "start_again", start_again)
    goes_on = reexecution._recover(loop, RuntimeError("planted")) is loop
    assert goes_on
    assert tried == (["exec"] if works and former else [])
    assert len(loop.errors_at) == 1
    assert "planted" in said[0]
    assert said[-1].startswith("recovered")

"""Re-execution in place: process 1 continues with a rebuilt loop or another program; pid, children and pipes stay.

The container ends with process 1, so an internal error must not end it. The state is converted to plain values
(reexecution_state.py), from which a new loop is built. There are three ways:

- Internal error or shortage: the loop is rebuilt in this process. Each former loop stays in memory. After _FORMER_MAX
  of them the program is executed instead, if a trial in a child succeeds.
- `cohabit reexec`: the installed modules are imported into this process (cli/upgrade.py), after the same trial.
- The interpreter was replaced, or _PROGRAMS_MAX programs have run in this process: exec. The state is passed in a memfd
  (marshal: both ends are the same interpreter version). The exec keeps the pid, the children, inheritable descriptors
  and pending signals.

An exec cannot be undone: if the new program has no memory for its libraries, the container ends. Hence it is the
exception. Without room for a new loop, the next program waits: its state is in memory, its children and pipes remain.

After a second internal error within a minute, the event or effect that caused it is dropped, and everything stops in
order with code 70. After a third: last_resort.py. Shortages do not count as errors.
"""

from __future__ import annotations

import errno
import marshal
import resource
import sys
import time

from cohabit import __version__
from cohabit.errors import EXIT_SYSTEM
from cohabit.program import program
from cohabit.reactor import crossing, reexecution_state, shortage, signals
from cohabit.reactor.last_resort import end_everything, traceback_of
from cohabit.reactor.linux import os, python_environment
from cohabit.reactor.loop import Loop
from cohabit.reactor.processes import proc
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.processes.tree import Trees
from cohabit.reactor.processes.trial import ends_well
from cohabit.reactor.signals import InheritedSignals
from cohabit.reactor.successor import successor_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

OPTION, STOPPING = "cohabit-resume", "cohabit-stopping"  # for __main__.py, which has no state yet
_WINDOW_SECONDS = 60.0
_THIRD = 3
_TRIAL_SECONDS = 5.0
_KIND, _DIRECTORY = 0o170000, 0o040000  # inode(7)
_SPARE = 24  # descriptors that an interpreter and its libraries need to start, and we to go on
_FIRST_WAIT_SECONDS = 0.05  # for room; doubling, up to shortage.RETRY_SECONDS
_FD_MAX = 65_536
_FORMER_MAX = 8  # some hundred KiB each
_PROGRAMS_MAX = 3  # 2.6 MiB each
_STOP_SECONDS = 3.0  # how long a requested stop waits for room to build the loop that carries it out

# Former loops of this process. Garbage collection of their objects would close descriptors.
_former: list[object] = []


def run(loop: Loop, programs: int = 0) -> int | bytes:
    """Run the loop; an internal error leads to a new one, in this process or after an exec.

    programs: how many others have run in this process. Returns the exit code; or the state with which the program that
    is installed now goes on in this process (cli/upgrade.py).
    """
    while True:
        try:
            code = loop.run()
            if code is not None:
                return code
            state = _replace(loop, programs)
            if state is not None:
                _former.append(loop)
                return state
        except Exception as error:  # noqa: BLE001 - whatever it is, the services must not pay for it
            signals.block_all()
            again = _recover(loop, error)
            if isinstance(again, int):
                return again
            loop = again


def takes_over(versions: str) -> int:
    """Exit code 0 if this program can go on with what a program with these versions of the states holds."""
    return 0 if versions == crossing.versions() else EXIT_SYSTEM


def resume(given: InheritedSignals, fd: int) -> int | bytes:
    """After an exec: continue with the state of the former program in this memfd. Returns as `run`."""
    del given
    try:
        data = _read_all(fd)
    except Exception as error:  # noqa: BLE001 - without a state, all that is left is to end every process
        return end_everything(error, Trees(""), None)
    return go_on(data, 0, "")


def go_on(data: bytes, programs: int, why_not: str) -> int | bytes:
    """Continue with the state of the former program; programs: as in `run`, and so is the result.

    why_not: why this is not the installed program (its import failed), or "".
    """
    plain = None
    try:
        plain = marshal.loads(data)  # noqa: S302 - from our own former program
        loop = _build(InheritedSignals(plain["mask"], plain["ignored"]), data)
    except Exception as error:  # noqa: BLE001 - as in resume
        return end_everything(error, Trees(""), plain)
    if why_not:
        loop.parts.successor.refuse(why_not)
    elif plain["asked"]:
        loop.say("info", "", f"re-executed, version {__version__}")
    return run(loop, programs)


# --- the exec ----------------------------------------------------------------------------------------


def _replace(loop: Loop, programs: int) -> bytes | None:
    """Replace the program, as requested. Returns the state for a program in this process; None where that fails."""
    try:
        if programs >= _PROGRAMS_MAX or _interpreter_was_replaced():
            reexecute(loop)
        signals.block_all()
        return marshal.dumps(reexecution_state.write_down(loop))
    except OSError as error:
        loop.parts.successor.refuse(error.strerror or str(error))
        return None


def _interpreter_was_replaced() -> bool:
    """Whether another interpreter is installed where ours was started from. Raises OSError for want of room."""
    try:
        running, installed = os.stat("/proc/self/exe"), os.stat(program("cohabit")[0])
    except OSError as error:
        if shortage.is_shortage(error):
            raise
        return True  # it is not known, and an exec is right in both cases
    return (running.st_dev, running.st_ino) != (installed.st_dev, installed.st_ino)


def reexecute(loop: Loop) -> NoReturn:
    """Replace the program of this process. Raises OSError when the exec fails: then nothing was lost."""
    signals.block_all()
    plain = reexecution_state.write_down(loop)
    _execute(plain)


def _execute(plain: dict[str, Any]) -> NoReturn:
    """Raises OSError; then every descriptor is as before."""
    kept = plain["descriptors"]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if 0 <= limit < len(kept) + _SPARE:
        raise OSError(errno.EMFILE, f"{limit} descriptors are not enough for another program (raise ulimit -n)")
    _look_at_program()
    fd = -1
    try:
        fd = _store(plain)
        for each in kept:
            os.set_inheritable(each, True)
        start_again([f"{OPTION}={fd}", *([STOPPING] if plain["stopping"] else [])])
    except OSError:
        for each in kept:
            os.set_inheritable(each, False)
        if fd >= 0:
            os.close(fd)
        raise


def start_again(extra: list[str]) -> NoReturn:
    """Replace this program by itself, isolated, with more -X options. Raises OSError if that fails."""
    options: tuple[str, ...] = ()
    for name, value in sys._xoptions.items():
        if name.startswith("cohabit-") and name not in ("cohabit-resume", "cohabit-stopping", "cohabit-mask"):
            options += ("-X", f"{name}={value}")
    for each in extra:
        options += ("-X", each)
    argv = program("cohabit", *sys.argv[1:], options=options)
    os.execve(argv[0], argv, python_environment())


def _look_at_program() -> None:
    """Do once what an interpreter begins with: our limits are not those of the child that tried. Raises OSError."""
    for path in (program("cohabit")[0], *sys.path):
        if os.access(path, os.F_OK):  # sys.path also has a zip file that does not exist
            status = os.stat(path)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if status.st_mode & _KIND == _DIRECTORY:
                    os.listdir(fd)
            finally:
                os.close(fd)


def _store(plain: dict[str, Any]) -> int:
    """A descriptor from which the next program reads this. Raises OSError."""
    fd = os.memfd_create("cohabit-state", 0)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(marshal.dumps(plain))
        os.lseek(fd, 0, 0)
    except OSError:
        os.close(fd)
        raise
    return fd


def _read_all(fd: int) -> bytes:
    """What _store has written, however little memory there is at first."""
    pause = _FIRST_WAIT_SECONDS
    while True:
        try:
            os.lseek(fd, 0, 0)
            with open(fd, "rb", closefd=False) as file:
                data = file.read()
        except (OSError, MemoryError) as error:
            if not shortage.is_shortage(error):
                raise
            pause = _wait(pause)
        else:
            os.close(fd)
            return data


# --- after an error ----------------------------------------------------------------------------------


def _recover(loop: Loop, error: Exception) -> Loop | int:
    """A loop that goes on; or the exit code, when everything had to be ended. All signals are blocked."""
    now = time.monotonic()
    scarce = shortage.is_shortage(error)
    loop.errors_at, loop.shortages_at = (
        [moment for moment in moments if now - moment < _WINDOW_SECONDS]
        for moments in (loop.errors_at, loop.shortages_at)
    )
    (loop.shortages_at if scarce else loop.errors_at).append(now)
    plain = None
    unlogged: Exception | None = None
    try:
        if not scarce:
            loop.say("error", "", f"an internal error, please report it:\n{traceback_of(error)}")
        elif len(loop.shortages_at) == 1:
            loop.say("warning", "", f"{shortage.words(error)}: waiting for it to be over ({shortage.WHAT_TO_DO})")
        plain = reexecution_state.write_down(loop)
        if len(loop.errors_at) < _THIRD:
            return _go_on(loop, plain, scarce=scarce)
    except Exception as another:  # noqa: BLE001 - then the last resort
        unlogged = another
    return end_everything(unlogged, loop.parts.children.trees, plain or _output_of(loop))


def _output_of(loop: Loop) -> dict[str, Any] | None:
    """The part of the state that no line may be lost from, if it at least can be written down."""
    try:
        return {"output": loop.parts.output.to_plain()}
    except Exception:  # noqa: BLE001 - it is what is broken
        return None


def _go_on(loop: Loop, plain: dict[str, Any], *, scarce: bool) -> Loop:
    """In this process with another loop, or with another program."""
    if scarce:
        pause = _FIRST_WAIT_SECONDS * 2.0 ** len(loop.shortages_at)
        _wait(min(pause, shortage.RETRY_SECONDS))
    elif len(_former) >= _FORMER_MAX and _program_starts(loop):
        try:
            _execute(plain)
        except OSError as error:
            loop.say("warning", "", f"cannot re-execute: {error.strerror} (going on without)")
    data = marshal.dumps(plain)
    _former.append(loop)
    again = _build(loop.given, data)
    if plain["asked"] or plain["checking"]:
        again.parts.successor.refuse("an error came in between")
    if not scarce:
        again.say("info", "", "recovered from the internal error: process 1 continues with a rebuilt state")
    return again


def _program_starts(loop: Loop) -> bool:
    return ends_well(SpawnSpec(successor_command(), python_environment(), loop.given), _TRIAL_SECONDS)


def _build(given: InheritedSignals, data: bytes) -> Loop:
    """A loop from what was written down, as soon as there is room for it.

    A first attempt may have opened something, and changed what it read: each begins with the same bytes, and with no
    descriptor of ours but those that cross. Raises the shortage when a stop is requested and there is no room for
    _STOP_SECONDS more: then the last resort carries the stop out.
    """
    pause, stop_at = _FIRST_WAIT_SECONDS, 0.0
    while True:
        try:
            plain = marshal.loads(data)  # noqa: S302 - our own
            if plain["stopping"]:
                stop_at = stop_at or time.monotonic() + _STOP_SECONDS
            _close_all_but({*plain["descriptors"]} | proc.reserved())
            loop = Loop.__new__(Loop)
            _former.append(loop)  # before it has opened anything
            loop.__init__(  # type: ignore[misc]
                given, plain["request"], quiet=plain["quiet"], wake_up=tuple(plain["wake_up"])
            )
            reexecution_state.restore(loop, plain)
        except (OSError, MemoryError) as error:
            now = time.monotonic()
            if not shortage.is_shortage(error) or 0.0 < stop_at <= now:
                raise
            pause = _wait(pause)
            if not stop_at and signals.pending(signals.STOP_SIGNALS):
                stop_at = now + _STOP_SECONDS
        else:
            _former.pop()
            return loop


def _wait(seconds: float) -> float:
    """Wait for room; a request to stop ends that, and stays pending. Returns how long to wait the next time."""
    got = signals.wait_for(signals.STOP_SIGNALS, seconds)
    if got is not None:
        os.kill(os.getpid(), got.si_signo)
        time.sleep(_FIRST_WAIT_SECONDS)  # what is pending would end each wait at once
    return min(2 * seconds, shortage.RETRY_SECONDS)


def _close_all_but(kept: set[int]) -> None:
    """What an exec would close: each descriptor that is not inheritable. The standard ones stay."""
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # no /proc, or no room to look at it
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        numbers = list(range(_FD_MAX if limit < 0 else min(limit, _FD_MAX)))
    for fd in numbers:
        try:
            if fd > 2 and fd not in kept and not os.get_inheritable(fd):  # noqa: PLR2004 - stdin, stdout, stderr
                os.close(fd)
        except OSError:
            continue

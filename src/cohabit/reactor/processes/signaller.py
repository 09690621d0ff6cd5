"""Signals to services and, at the end, to everything; and what the kernel does not permit.

kill(2) permits a signal to a process of our own user, and with CAP_KILL to any. A service may run as another user:
its `user:`, or a program that becomes root by itself. If process 1 has no CAP_KILL then, no signal arrives, SIGKILL
included. The engine gets SignalRefused: nothing is reported as sent, and no end is waited for that was never asked for.
"""

from __future__ import annotations

from cohabit.engine.events import SignalRefused, Swept
from cohabit.plan.file_words import word
from cohabit.plan.model import CONTROL_GROUP
from cohabit.plan.reason import SIGNAL_REFUSED, Reason
from cohabit.plan.reason_text import text_of
from cohabit.reactor import signals
from cohabit.reactor.processes import proc
from cohabit.reactor.processes.proc import REFUSED, send
from cohabit.reactor.processes.started import HOOK
from cohabit.units import signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cohabit.reactor.processes.started import Children, Process

_LISTED_MAX = 5  # processes in one message


class Signaller:
    """Sends signals. unreachable: the pids that the final sweep could not signal."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self.sweeping = False  # everything is ended, and Swept reports that no child is left
        self.unreachable: set[int] = set()
        self._reported: set[int] = set()

    def to_main(self, name: str, number: int) -> None:
        """Send a signal to the main process, or to the hook that runs before there is one.

        After the stop signal, CONT is sent: a stopped process must receive the stop signal too, as with systemd.
        """
        ends = self._ends(name, number)
        if ends and self._children.daemons.give_up(name):
            return
        process = self._children.processes.get(name) or self._children.processes.get(name + HOOK)
        if process is None or not self._note(process, ends=ends):
            return
        continued = (signals.CONT,) if ends and number != signals.KILL else ()
        if send(process.pid, number, *continued) == REFUSED:
            self._refused(name, number, [process.pid])

    def to_tree(self, name: str, number: int) -> None:
        """Send a signal to all processes of a service, in any session or process group."""
        ends = self._ends(name, number)
        if ends and number != signals.KILL:
            self._children.daemons.give_up(name)
        process = self._children.processes.get(name)
        asked_before = process is not None and process.stop_requested
        if process is not None and not self._note(process, ends=ends):
            return
        if number == signals.KILL and asked_before:
            self._say_who_was_not_asked(name)
        refused = self._children.trees.signal(name, number)
        if refused and (number == signals.KILL or set(refused) >= set(self._children.trees.members(name))):
            self._refused(name, number, refused)

    def pause(self, name: str) -> None:
        """Stop all processes of a service. If one may not be signalled, they all continue."""
        refused = self._children.trees.signal(name, signals.STOP)
        if refused:
            self._children.trees.signal(name, signals.CONT)
            self._refused(name, signals.STOP, refused)

    def to_all(self, number: int) -> None:
        """The final sweep: send a signal to every remaining process. Swept follows when none is left that got it."""
        children = self._children
        self.sweeping = True
        refused = children.trees.signal_all(number)
        self.unreachable = set(refused)
        new = [pid for pid in refused if pid not in self._reported]
        self._reported.update(new)
        if new:
            children.say("error", "", text_of(_reason(number, new)))
        children.reap()
        if self.only_unreachable():
            children.emit(Swept())

    def only_unreachable(self) -> bool:
        """Whether no process under us is running except those that we may not signal. False if there is none."""
        if not self.unreachable:
            return False
        living = {process.pid for process in self._children.trees.everything() if process.lives}
        return bool(living) and living <= self.unreachable

    def _ends(self, name: str, number: int) -> bool:
        service = self._children.services.get(name)
        return service is None or number in (signals.KILL, service.stop_signal)

    def _note(self, process: Process, *, ends: bool) -> bool:
        """Note that a process is signalled; False if it has ended, and its end is reported now."""
        process.signalled = True
        process.stop_requested = process.stop_requested or ends
        if self._children.is_running(process):
            return True
        self._children.report_ended()
        return False

    def _say_who_was_not_asked(self, name: str) -> None:
        """A kill follows a stop in which only the main process got the stop signal: say who did not get it."""
        children = self._children
        service = children.services.get(name)
        if service is None or service.kill_mode == CONTROL_GROUP:
            return
        leaders = children.trees.leaders
        others = [pid for pid in children.trees.members(name) if leaders.get(pid) != name]
        if others:
            children.say(
                "warning",
                name,
                f"{signal_name(service.stop_signal)} was sent to its main process only; also killing {_list(others)} "
                f"({word('signal to all', supervisord=service.startup is not None)} sends it to all processes of the "
                "service)",
            )

    def _refused(self, name: str, number: int, pids: Collection[int]) -> None:
        self._reported.update(pids)
        self._children.emit(SignalRefused(name, _reason(number, pids)))


def _reason(number: int, pids: Collection[int]) -> Reason:
    """Why a signal was not sent to these processes."""
    users = sorted({user for pid in pids for user in proc.users(pid)})
    plural = "s" if len(users) != 1 else ""
    detail = f"{_list(list(pids))} of user{plural} {', '.join(map(str, users)) or '?'}"
    return Reason(SIGNAL_REFUSED, signal=number, detail=detail)


def _list(pids: list[int]) -> str:
    names = [f"{pid} ({proc.name(pid) or 'gone'})" for pid in pids[:_LISTED_MAX]]
    what = "process" if len(pids) == 1 else "processes"
    return f"{what} {', '.join(names)}" + (", …" if len(pids) > _LISTED_MAX else "")

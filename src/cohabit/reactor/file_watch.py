"""The watcher's side in process 1: one child for all rules of develop.watch. It runs only with `up --watch`.

A change that it reports is the same request as `cohabit restart`, with the changed file as its cause. If the child
ends, it is started again, and reports what was modified since its last report. It reads directories and does nothing
else, so it has no other capabilities.
"""

from __future__ import annotations

import marshal
import time

from cohabit.engine import requests
from cohabit.engine.events import Requested
from cohabit.plan.reason import FILES_CHANGED, Reason
from cohabit.program import program
from cohabit.reactor.processes import privileges, start_failure
from cohabit.reactor.side_process import SideProcess
from cohabit.units import describe_exit, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Plan
    from cohabit.reactor.context import Context

    Rules = list[tuple[int, str, tuple[str, ...], tuple[str, ...]]]

KEY = "\0watcher"  # key of the child; not a valid service name
_MARSHAL_VERSION = 2
_SIZE_DIGITS = 8  # tasks/watcher.py
_READ_FILES = frozenset({1, 2})  # CAP_DAC_OVERRIDE, which Docker gives, and CAP_DAC_READ_SEARCH: capabilities(7)
_NOT_NEEDED = tuple(number for number in range(64) if number not in _READ_FILES)
_STEPS = (
    ("drop its capabilities", lambda: privileges.drop(_NOT_NEEDED)),
    ("forbid it new privileges", privileges.forbid_new),
)
# So many restarts, each so soon after the one before, are logged: the service may write the files itself.
_SOON_SECONDS, _MANY = 10.0, 5
_UNSEEN_SECONDS = 2.0  # the most that a re-execution takes


class FileWatch:
    """All rules. Changes for a service are the event Requested, for all its instances."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._groups: list[tuple[str, ...]] = []  # the instances of each service with rules
        self._rules: Rules = []
        self._child = SideProcess(context, "watcher", KEY, self._handle_output, self._ended)
        self._child.steps = _STEPS
        self._partial = b""
        self._unwanted = False  # killed by us, because the rules have changed
        self._since = 0.0  # Unix seconds: what was modified later is not reported yet
        self._repeats: dict[int, tuple[float, int]] = {}  # by group: when it was restarted last, how often in a row

    def set_plan(self, plan: Plan, *, resumed: bool = False) -> None:
        """Use the rules of this Plan from now on. resumed: those of the former program, after a re-execution."""
        names: dict[str, list[str]] = {}
        rules: Rules = []
        for service in plan.services.values() if plan.watches else ():
            found = [rule for rule in service.watch if rule.watched]
            if found and service.service not in names:
                rules += [(len(names), rule.watched, rule.ignore, rule.include) for rule in found]
            if found:
                names.setdefault(service.service, []).append(service.name)
        self._groups = [tuple(instances) for instances in names.values()]
        if rules != self._rules:
            self._since = time.time() - (_UNSEEN_SECONDS if resumed else 0.0)
            self._set(rules)

    def stop(self) -> None:
        """Watch no more."""
        self._set([])

    def _set(self, rules: Rules) -> None:
        self._rules = rules
        self._repeats = {}
        self._child.reset()
        if self._child.running:
            self._unwanted = True
            self._child.kill()
        elif rules:
            self._start()

    # --- the child -----------------------------------------------------------------------------------

    def _start(self) -> None:
        self._unwanted = False
        try:
            self._child.start(program("watcher"))
        except OSError as error:
            self._failed(f"cannot be started: {start_failure.no_room(error)}")
            return
        request = marshal.dumps((self._since, self._rules), _MARSHAL_VERSION)
        self._child.input.write(b"%0*d" % (_SIZE_DIGITS, len(request)) + request)

    def _ended(self, code: int, why: str) -> None:
        self._partial = b""
        if not self._rules:
            return
        if self._unwanted:
            self._start()
            return
        self._failed(f"cannot be started: {why}" if why else f"ended with {describe_exit(code)}")

    def _failed(self, how: str) -> None:
        delay = format_duration(self._child.start_later(self._start))
        text = f"the watcher of files {how} (restarting it in {delay}; changes until then are noticed then)"
        self._context.log("warning", "", text)

    def _handle_output(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines if not self._unwanted else ():
            self._handle_line(line.decode("utf-8", "replace"))

    def _handle_line(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        if kind == "changed":
            group, number, path = rest.split(" ", 2)
            self._changed(int(group), int(number) - 1, path)
        elif kind == "watching":
            services = ", ".join(name for instances in self._groups for name in instances)
            directories = "1 directory" if rest == "1" else f"{rest} directories"
            self._context.log("info", "", f"watching {directories}: changes of files restart {services}")
        else:
            self._context.log("warning", "", f"up --watch: {rest}")

    def _changed(self, group: int, others: int, path: str) -> None:
        self._since = time.time()
        now, services = time.monotonic(), self._groups[group]
        last, times = self._repeats.get(group, (now, 0))
        times = times + 1 if now - last < _SOON_SECONDS else 1
        self._repeats[group] = now, times
        if times == _MANY:
            name = ", ".join(services)
            text = f"{name}: restarted {times} times in a row for changes of files, the last of {path}"
            hint = "if the service writes it, name it in `ignore` of develop.watch"
            self._context.log("warning", "", f"{text} ({hint})")
        more = f"{others} other{'s' if others != 1 else ''}" if others else ""
        cause = Reason(FILES_CHANGED, path=path, detail=more)
        self._context.emit(Requested(requests.RESTART, services, cause=cause))

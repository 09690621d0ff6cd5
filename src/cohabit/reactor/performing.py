"""Carries out the engine's effects with the parts of process 1."""

from __future__ import annotations

import time

from cohabit.engine import effects
from cohabit.plan.reason_text import text_of
from cohabit.reactor import signals
from cohabit.reactor.health import notify
from cohabit.reactor.linux import environment
from cohabit.reactor.logs.exit_reason import LINES_MAX, exit_reason_text, write_termination_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.supervisor import Supervisor
    from cohabit.plan.model import Plan
    from cohabit.plan.reason import Reason
    from cohabit.reactor.parts import Parts

_LAST_SECONDS = 0.1  # for the line that reports discarded output
_DRAIN_SECONDS = 1.0  # at the end, for the reader of our stdout; longer if the total is not used up


class Performer:
    """request: what the loader is to read. exit_code: None until the engine has ended the container."""

    def __init__(self, parts: Parts, engine: Supervisor, request: str) -> None:
        self._parts = parts
        self._engine = engine
        self._request = request
        self._log = parts.context.log
        self._supervisor_socket = environment().get("NOTIFY_SOCKET", "")  # of the supervisor of process 1
        self.exit_code: int | None = None

    def perform(self, effect: Effect) -> None:
        """Carry out one effect."""
        parts = self._parts
        match effect:
            case effects.Spawn(service):
                parts.launcher.start(service)
            case effects.RunHook():
                parts.launcher.run_hook(effect)
            case effects.Signal(name, number):
                parts.launcher.give_up(name, number)
                parts.children.signaller.to_main(name, number)
            case effects.SignalTree(name, number):
                parts.launcher.give_up(name)
                parts.children.signaller.to_tree(name, number)
            case effects.Pause(name):
                parts.children.signaller.pause(name)
            case effects.Unpause(name):
                parts.children.trees.signal(name, signals.CONT)
            case effects.Ask(service):
                parts.probes.ask(service, time.monotonic())
            case effects.StopAsking(name):
                parts.probes.stop(name)
                parts.passive_probes.close(name)
            case effects.Sweep(number):
                parts.clock.set([])
                parts.output.followers.close()
                parts.file_watch.stop()
                parts.output.router.multiline.close()
                # Without /proc, the sweep waits for every child.
                parts.output.destinations.writers.stop(end=not parts.children.trees.has_proc)
                parts.children.signaller.to_all(number)
            case effects.Report(level, name, text, transition):
                if not (transition and self._engine.plan is not None and self._engine.plan.main_log):
                    self._log(level, name, text)
            case effects.Prepare(plan):
                self._prepare(plan)
            case effects.Load(scale, required):
                parts.loader.start(self._request, scale, required)
            case effects.Forget(name):
                parts.children.forget(name)
                parts.passive_probes.notify.close(name)
                parts.output.forget(name)
                parts.output.mask.keep(_secret_paths(self._engine.plan))
            case effects.AllReady():
                notify.notify_supervisor(self._supervisor_socket, "READY=1\nSTATUS=all services are ready")
            case effects.Exit(code, reason, cause):
                self._exit(code, reason, cause)

    def _prepare(self, plan: Plan) -> None:
        output = self._parts.output
        output.name_services(list(plan.services), plan.logging)
        self._parts.launcher.hides = plan.mask
        if plan.mask:
            try:
                problems = output.hide(_secret_paths(plan))
            except OSError as error:  # no room now: the start of each service reads its own secrets again
                problems = [f"cannot hide the secrets yet: {error.strerror} (no service starts before they are read)"]
            for problem in problems:
                self._log("warning", "", problem)
        else:
            output.mask.forget()
        self._parts.launcher.make_room(sum(1 + len(each.log_files) for each in plan.services.values()))
        self._parts.launcher.warn_of_users(plan)
        self._parts.control.accepting.group = plan.control_gid
        self._parts.clock.set_plan(plan)
        self._parts.file_watch.set_plan(plan)

    def _exit(self, code: int, reason: Reason | None, cause: str) -> None:
        parts, output = self._parts, self._parts.output
        parts.loader.abandon()
        text = ""
        if reason is not None:
            recent = output.recent_lines
            last_lines = output.last_lines(cause, LINES_MAX) or recent.last_lines(cause, LINES_MAX, runs_before=1)
            text = exit_reason_text(text_of(reason), code, cause, last_lines if code else [])
            text = output.mask.hide_text(text)
            self._log("info" if code == 0 else "error", "", text)
            write_termination_log(text)
        deadline = max(time.monotonic() + _DRAIN_SECONDS, self._engine.ending.drain_until)
        unread = output.finish(lambda: max(0.0, deadline - time.monotonic()))
        if unread:
            lost = f"{unread} bytes of output were discarded: they were not read in time{output.what_refuses()}"
            write_termination_log(f"{text}\n{lost}")
            self._log("warning", "", lost)
            output.finish(lambda: max(_LAST_SECONDS, deadline - time.monotonic()))
        parts.control.close()
        parts.sockets.close()
        parts.directory.remove()
        parts.children.trees.close()
        self.exit_code = code


def _secret_paths(plan: Plan | None) -> dict[str, None]:
    """Return the paths of the secrets to hide, each once."""
    services = plan.services.values() if plan and plan.mask else ()
    return dict.fromkeys(path for service in services for path in service.secret_paths())

"""The parts of process 1, each made from the ones before it. Each owns its descriptors, timers and state."""

from __future__ import annotations

from cohabit.control import RUNTIME_DIR
from cohabit.reactor.clock import Clock
from cohabit.reactor.context import Context
from cohabit.reactor.control.listener import Opening
from cohabit.reactor.control.requests import Requests
from cohabit.reactor.control.server import Control
from cohabit.reactor.file_watch import FileWatch
from cohabit.reactor.health.passive_probes import PassiveProbes
from cohabit.reactor.health.probes import Probes
from cohabit.reactor.launcher import Launcher
from cohabit.reactor.linux import python_environment, services_environment
from cohabit.reactor.loader import Loader
from cohabit.reactor.logs.output import Output
from cohabit.reactor.logs.sink import Sink
from cohabit.reactor.processes.children import Children
from cohabit.reactor.rundir import RuntimeDirectory
from cohabit.reactor.sockets import Sockets
from cohabit.reactor.successor import Successor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.engine.events import Event
    from cohabit.engine.supervisor import Supervisor
    from cohabit.reactor.context import Log
    from cohabit.reactor.poller import Poller
    from cohabit.reactor.signals import InheritedSignals


class Parts:
    """The parts by name."""

    def __init__(
        self,
        poller: Poller,
        engine: Supervisor,
        given: InheritedSignals,
        emit: Callable[[Event], None],
        log: Log,
    ) -> None:
        variables = services_environment()
        self.children = Children(poller, emit, log, self._drain)
        self.context = context = Context(
            poller, emit, log,
            run_program=self.children.launch, kill_program=self.children.kill,
            given=given, environment=python_environment(variables),
        )  # fmt: skip
        self.output = Output(context, *_own_output(log), report_ended=self.children.report_ended)
        self.sockets = Sockets()
        self.directory = RuntimeDirectory(given=variables.get(RUNTIME_DIR, ""))
        self.passive_probes = PassiveProbes(context, self.directory, self.children, self.output)
        self.launcher = Launcher(
            context, variables, self.children, self.output, sockets=self.sockets, passive_probes=self.passive_probes
        )
        self.loader = Loader(context, self.sockets, self.output)
        self.probes = Probes(context, self.launcher.describe)
        self.clock = Clock(context)
        self.file_watch = FileWatch(context)
        self.successor = Successor(context, self._decided)
        self.requests = Requests(
            context, engine, self.children, self.output, self.successor,
            clock=self.clock, describe=self.launcher.describe,
        )  # fmt: skip
        self.control = Control(context, self.directory, self.requests)
        self.opening = Opening(context, self.control.accepting)

    def _drain(self, service: str, whole: bool) -> bool:
        """Read what an ended service has left: the output is made after the children, and used later."""
        if whole and not self.output.followers.has_read(service):
            return False
        self.output.reader.drain_service(service)
        return True

    def _decided(self) -> None:
        """Have `cohabit reexec` answered: the control socket is made after the successor, and used later."""
        self.control.waiters.wake_all()


def _own_output(log: Log) -> tuple[Sink, Sink]:
    """The sinks of our stdout and stderr: the same one twice if both lead to the same file."""

    def on_lost(why: str) -> None:
        log("warning", "", f"our stdout is closed: {why} (output is discarded from now on)")

    stdout, stderr = Sink(1, on_lost=on_lost, on_full=_on_full("stdout", log)), Sink(2, on_full=_on_full("stderr", log))
    return stdout, stdout if stderr.identity == stdout.identity else stderr


def _on_full(stream: str, log: Log) -> Callable[[str], None]:
    def on_full(why: str) -> None:
        text = f"cannot write to our {stream}: {why} (trying again every second; blocking services wait)"
        log("warning", "", text if why else f"our {stream} can be written again")

    return on_full

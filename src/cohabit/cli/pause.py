"""`cohabit pause`, and what `unpause` shares with it: like `docker pause`, for services."""

from __future__ import annotations

from cohabit.cli import client
from cohabit.cli.options import Command
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "pause",
    "[SERVICE...]",
    "Pause services, without names all that run: none of their processes runs until `cohabit unpause`.",
    client.ALWAYS,
    details=(
        "All processes of a service are stopped, with its cgroup where cohabit has one, otherwise with SIGSTOP. It "
        "keeps its state and stays ready. Meanwhile its probe does not run, and no time passes for its start_period "
        "and its watchdog. `stop`, `restart`, `kill` and the stop of the container end the pause."
    ),
    exit_codes=client.DONE,
    examples=(("cohabit pause worker", "it takes no more jobs; cohabit unpause worker continues it"),),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, return the exit code."""
    return run(inherited, COMMAND, arguments)


def run(inherited: InheritedSignals, command: Command, arguments: list[str]) -> int:
    """Run `pause` or `unpause`. Returns the exit code."""
    values, services = command.parse(arguments)
    if values["help"]:
        return command.show_help()
    inherited.restore()
    cohabit = client.connect(command, values)
    if not services:
        pausing = command.name == "pause"
        running = [each for each in cohabit.status().services if each.command_runs]
        services = [each.name for each in running if each.paused != pausing]
        if not services:
            raise UsageError(f"cannot {command.name}: no service {'runs' if pausing else 'is paused'} (see cohabit ps)")
    return client.print_result(values, cohabit.request(command.name, services))

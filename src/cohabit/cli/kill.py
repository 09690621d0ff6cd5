"""`cohabit kill`: like `docker kill`, for services."""

from __future__ import annotations

from cohabit.cli import client
from cohabit.cli.options import Command, Option
from cohabit.cli.start import all_services
from cohabit.client.client import signal_option
from cohabit.units import parse_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "kill",
    "[-s SIGNAL] [SERVICE...]",
    "Kill services, without names all: send SIGKILL to all their processes; or send another signal.",
    (Option(("-s", "--signal"), "send this signal instead, to the main process only", "SIGNAL"), *client.ALWAYS),
    details=(
        "A killed service stays down, like a stopped one (`cohabit help stop`). If the process ends because of another "
        "signal, the restart policy applies as usual."
    ),
    exit_codes=client.DONE,
    examples=(
        ("cohabit kill web", "at once, without a grace period"),
        ("cohabit kill -s HUP nginx", "like `cohabit signal HUP nginx`; also: cohabit kill -HUP nginx"),
    ),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, return the exit code."""
    values, services = COMMAND.parse(_translate_signals(arguments))
    if values["help"]:
        return COMMAND.show_help()
    inherited.restore()
    return send(COMMAND, values, values["signal"] or "KILL", services)


def _translate_signals(arguments: list[str]) -> list[str]:
    """Replace `-9` and `-HUP`, as kill(1) accepts them, by `--signal=...`; no option of `kill` has such a name."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    translated = [f"--signal={argument[1:]}" if _is_signal(argument) else argument for argument in arguments[:end]]
    return translated + arguments[end:]


def _is_signal(argument: str) -> bool:
    if argument[:1] != "-":
        return False
    try:
        parse_signal(argument[1:])
    except ValueError:
        return False
    return True


def send(command: Command, values: dict[str, Any], signal: str, services: list[str]) -> int:
    """Send a signal, given as text, to services; returns the exit code."""
    cohabit = client.connect(command, values)
    option = signal_option(cohabit, signal)
    names = services or all_services(cohabit, command)
    return client.print_result(values, cohabit.request("kill", [*names, option]))

"""`cohabit kill`: as `docker kill` does, for services."""

from __future__ import annotations

from cohabit.cli import client
from cohabit.cli.options import Command, Option
from cohabit.cli.start import ALL, names
from cohabit.errors import UsageError
from cohabit.units import parse_signal, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "kill",
    "[-s SIGNAL] SERVICE...",
    "Kill services: SIGKILL to every process that they have started; or send another signal.",
    (Option(("-s", "--signal"), "another signal, sent to the main process only", "SIGNAL"), ALL, *client.ALWAYS),
    details=(
        "After SIGKILL the services stay down until somebody starts them. Another signal changes nothing else: what "
        "its process makes of it is treated as always, restarts included."
    ),
    exits=client.DONE,
    examples=(
        ("cohabit kill web", "at once, without any grace"),
        ("cohabit kill -s HUP nginx", "as `cohabit signal`; so is `kill -HUP nginx`"),
    ),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    values, services = COMMAND.parse(_as_kill_1(words))
    if values["help"]:
        return COMMAND.show_help()
    given.restore()
    return send(COMMAND, values, values["signal"] or "KILL", services)


def _as_kill_1(words: list[str]) -> list[str]:
    """`-9` and `-HUP`, as people type it for kill(1), as `--signal`: nothing else here is called so."""
    end = words.index("--") if "--" in words else len(words)
    return [f"--signal={word[1:]}" if _is_signal(word) else word for word in words[:end]] + words[end:]


def _is_signal(word: str) -> bool:
    if word[:1] != "-":
        return False
    try:
        parse_signal(word[1:])
    except ValueError:
        return False
    return True


def send(verb: Command, values: dict[str, Any], signal: str, services: list[str]) -> int:
    """A signal, as somebody wrote it, to services; the exit code."""
    try:
        name = signal_name(parse_signal(signal))
    except ValueError as error:
        raise UsageError(f"cannot {verb.name}: {error}") from error
    words = [*names(verb, values, services), f"signal={name.removeprefix('SIG')}"]
    return client.tell(verb, values, client.ask(verb, values, "kill", words))

"""`cohabit completion bash|zsh|fish`: a script that makes the shell complete verbs, options and what they take.

Made from the same tables as the help. What services there are is asked of the running cohabit at each Tab, in
silence. The three shells' own halves are in completion_bash.py, completion_zsh.py and completion_fish.py.
"""

from __future__ import annotations

import re

from cohabit.cli import client, load
from cohabit.cli.main import COMMANDS
from cohabit.cli.options import HELP, Command, Option
from cohabit.errors import UsageError
from cohabit.plan.nearest import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

SHELLS = ("bash", "zsh", "fish")

COMMAND = Command(
    "completion",
    "bash|zsh|fish",
    "Print a script that makes a shell complete verbs, options, services and signals.",
    (),
    exits=(("0", "done"), ("64", "there is no script for that shell")),
    examples=(
        ("source <(cohabit completion bash)", "for this shell; in ~/.bashrc for every one"),
        ("cohabit completion bash > /etc/bash_completion.d/cohabit", "for everybody"),
        ("source <(cohabit completion zsh)", "zsh, behind compinit in ~/.zshrc"),
        ("cohabit completion fish > ~/.config/fish/completions/cohabit.fish", "fish"),
    ),
)

SIGNALS = ("TERM", "HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "CONT", "STOP", "WINCH", "ALRM", "ABRT", "PIPE")
# What an argument can be, as it stands in a usage; anything else is not completed.
KINDS = ("SERVICE", "SERVICE=N", "SIGNAL", "COMMAND", "FILE", "DOCKERFILE", "PATH", "DIR", "USER", "VERB")


class Row:
    """What completion has to know of a verb. takes: the kinds of its arguments, the last one again and again."""

    def __init__(self, name: str, summary: str, verb: Command) -> None:
        self.name = name
        self.summary = summary
        self.options: tuple[Option, ...] = (*verb.options, HELP)
        self.takes = kinds(verb.usage)
        self.intermixed = verb.intermixed


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, print, return the exit code."""
    values, shells = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    if len(shells) > 1:
        raise UsageError(f"cannot completion: {' and '.join(shells)} at once are too much (name one shell)")
    if shells[:1] == [] or shells[0] not in SHELLS:
        word = shells[0] if shells else ""
        hint = did_you_mean(word, SHELLS) if word else ""
        among = f": {', '.join(SHELLS)}"
        raise UsageError(f"cannot completion: say for which shell{hint or among}")
    given.restore()
    client.write(script(shells[0]))
    return 0


def script(shell: str) -> str:
    """The whole script for a shell."""
    rows = [Row(name, summary, load(f"cohabit.cli.{name}").COMMAND) for name, summary in COMMANDS.items()]
    return script_of(shell, rows)


def script_of(shell: str, rows: list[Row]) -> str:
    """The same for these verbs only."""
    made: str = load(f"cohabit.cli.completion_{shell}").script(rows, SIGNALS)
    return made


def kinds(usage: str) -> list[str]:
    """The kinds of arguments that a usage names: "[-f FILE] [SERVICE...]" -> ["SERVICE"]."""
    words = re.findall(r"[A-Za-z|=]+", re.sub(r"\[-[^\[\]]*\]", "", usage))
    return [word for word in words if word in KINDS or "|" in word]
